//! What is to be played and looked for in a run, and what came of it. It must not know links.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use tokio::sync::Notify;

use super::{Needs, PLAYS, Play, SIGHTS, Sight, Sought};
use crate::conform::{Finding, Judged, Unproven, Verdict};
use crate::limits::{CONFORM_LOST_MAX, CONFORM_SEEN_MAX};

/// Numbers of two questions or circuits in a row that lie nearer than this were not drawn.
const NEAR: u32 = 256;

/// Which of the things that must never come twice.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Once {
    LinkKey,
    Nonce,
    Ephemeral,
}

/// A play that was given out: which, and which of its acts.
#[derive(Clone, Copy)]
pub(super) struct Turn {
    pub(super) play: &'static Play,
    pub(super) act: usize,
    at: usize,
}

struct Playing {
    play: &'static Play,
    act: usize,
    /// Acts that came to nothing in a row, and the last reason.
    lost: u32,
    why: Option<String>,
    /// How often the act went wrong and right, and how it went wrong last.
    failed: u32,
    passed: u32,
    wrong: Option<String>,
    is_running: bool,
    verdict: Option<Verdict>,
}

#[derive(Default)]
struct Seen {
    times: u64,
    fault: Option<String>,
}

#[derive(Default)]
struct Inner {
    plays: Vec<Playing>,
    sights: BTreeMap<Sight, Seen>,
    once: BTreeSet<(Once, Vec<u8>)>,
    last_number: Option<u32>,
    clients: u64,
    relays: u64,
    news: Vec<Finding>,
    has_begun: bool,
}

/// The board of a run.
pub(super) struct Board {
    inner: RefCell<Inner>,
    chosen: Vec<String>,
    /// Something was decided.
    pub(super) changed: Notify,
}

impl Board {
    pub(super) fn new(rules: &[String]) -> Self {
        let is_chosen = |of: &[&str]| rules.is_empty() || of.iter().any(|rule| rules.iter().any(|one| one == rule));
        let plays = PLAYS.iter().filter(|play| is_chosen(play.rules));
        let playing = |play| Playing {
            play,
            act: 0,
            lost: 0,
            why: None,
            failed: 0,
            passed: 0,
            wrong: None,
            is_running: false,
            verdict: None,
        };
        let plays = plays.map(playing).collect();
        let sights = SIGHTS.iter().filter(|one| is_chosen(one.rules)).map(|one| (one.sight, Seen::default())).collect();
        let inner = RefCell::new(Inner { plays, sights, ..Inner::default() });
        Self { inner, chosen: rules.to_vec(), changed: Notify::new() }
    }

    /// The next act that a link can be used for which has come so far; nobody else gets its play meanwhile.
    pub(super) fn take(&self, needs: Needs) -> Option<Turn> {
        let inner = &mut *self.inner.borrow_mut();
        let is_next = |one: &Playing| one.verdict.is_none() && !one.is_running && one.play.needs == needs;
        let (at, next) = inner.plays.iter_mut().enumerate().find(|(_, one)| is_next(one))?;
        next.is_running = true;
        inner.has_begun = true;
        Some(Turn { play: next.play, act: next.act, at })
    }

    /// Whether something is still to be played that needs this, here or on another link.
    pub(super) fn is_wanted(&self, needs: Needs) -> bool {
        self.inner.borrow().plays.iter().any(|one| one.verdict.is_none() && one.play.needs == needs)
    }

    /// What came of an act. Where it went wrong, two of three decide: a peer that ends by itself ends its links and circuits, too.
    pub(super) fn played(&self, turn: Turn, judged: Judged) {
        let mut inner = self.inner.borrow_mut();
        let Some(playing) = inner.plays.get_mut(turn.at) else { return };
        playing.is_running = false;
        let verdict = match judged {
            Ok(()) if playing.failed > playing.passed => {
                playing.passed += 1;
                None
            }
            Ok(()) => {
                (playing.act, playing.lost, playing.failed, playing.passed) = (playing.act + 1, 0, 0, 0);
                (playing.act == turn.play.acts).then_some(Verdict::Pass)
            }
            Err(Unproven::Wrong(why)) if playing.failed == 0 => {
                (playing.failed, playing.wrong) = (1, Some(why));
                None
            }
            Err(Unproven::NotSeen(why)) if playing.lost < CONFORM_LOST_MAX => {
                (playing.lost, playing.why) = (playing.lost + 1, Some(why));
                None
            }
            // It went wrong, and then never right.
            Err(Unproven::NotSeen(_))
                if playing.failed > playing.passed
                    && let Some(why) = playing.wrong.take() =>
            {
                Some(Verdict::Fail(why))
            }
            Err(unproven) => Some(unproven.verdict()),
        };
        playing.verdict.clone_from(&verdict);
        if let Some(verdict) = verdict {
            inner.news.push(Finding { rules: turn.play.rules, what: turn.play.what, verdict });
        }
        drop(inner);
        self.changed.notify_one();
    }

    /// Something was seen that a rule is about, right or not. The first fault counts.
    pub(super) fn saw(&self, sight: Sight, seen: Result<(), String>) {
        let mut inner = self.inner.borrow_mut();
        let Some(entry) = inner.sights.get_mut(&sight) else { return };
        entry.times += 1;
        let is_new = entry.fault.is_none();
        if let Err(fault) = seen
            && is_new
        {
            entry.fault = Some(fault.clone());
            if let Some(table) = SIGHTS.iter().find(|one| one.sight == sight) {
                inner.news.push(Finding { rules: table.rules, what: table.what, verdict: Verdict::Fail(fault) });
            }
        }
        drop(inner);
        self.changed.notify_one();
    }

    /// Whether this is new, of what must never come twice. Beyond [`CONFORM_SEEN_MAX`] of them nothing is remembered.
    pub(super) fn is_new(&self, what: Once, bytes: &[u8]) -> bool {
        let once = &mut self.inner.borrow_mut().once;
        let entry = (what, bytes.to_vec());
        if once.len() >= CONFORM_SEEN_MAX { !once.contains(&entry) } else { once.insert(entry) }
    }

    /// Whether this number lies apart from the one before it.
    pub(super) fn is_apart(&self, number: u32) -> bool {
        let last = self.inner.borrow_mut().last_number.replace(number);
        last.is_none_or(|last| last.abs_diff(number) >= NEAR)
    }

    /// A peer has said who it is.
    pub(super) fn came(&self, is_relay: bool) {
        let mut inner = self.inner.borrow_mut();
        let count = if is_relay { &mut inner.relays } else { &mut inner.clients };
        *count += 1;
    }

    /// Whether nobody ever did what leads to a verdict.
    pub(super) fn is_empty(&self) -> bool {
        let inner = self.inner.borrow();
        !inner.has_begun && inner.sights.values().all(|seen| seen.times == 0)
    }

    /// What was decided since the last call.
    pub(super) fn news(&self) -> Vec<Finding> {
        core::mem::take(&mut self.inner.borrow_mut().news)
    }

    /// Whether all is decided but what needs a peer that is left in peace.
    pub(super) fn is_done_but_for_quiet(&self) -> bool {
        let inner = self.inner.borrow();
        let is_over = |one: &Playing| one.verdict.is_some() || inner.lacks(one.play.needs).is_some();
        inner.plays.iter().all(is_over) && SIGHTS.iter().all(|one| one.needs == Needs::Quiet || inner.is_seen(one))
    }

    /// Whether all is decided.
    pub(super) fn is_done(&self) -> bool {
        self.is_done_but_for_quiet() && SIGHTS.iter().all(|one| self.inner.borrow().is_seen(one))
    }

    /// Whether nothing was chosen but what needs quiet.
    pub(super) fn is_quiet_alone(&self) -> bool {
        let inner = self.inner.borrow();
        !self.chosen.is_empty() && inner.plays.is_empty() && inner.sights.keys().all(|sight| *sight == Sight::Padding)
    }

    /// All findings, in the order of the tables.
    pub(super) fn findings(&self, has_paths: bool) -> Vec<Finding> {
        let inner = self.inner.borrow();
        let sights = SIGHTS.iter().filter_map(|table| {
            let seen = inner.sights.get(&table.sight)?;
            let verdict = match &seen.fault {
                Some(fault) => Verdict::Fail(fault.clone()),
                None if seen.times >= table.sight.times_min() => Verdict::Pass,
                None => inner.unseen(table.needs, has_paths, None),
            };
            Some(Finding { rules: table.rules, what: table.what, verdict })
        });
        let plays = inner.plays.iter().map(|one| {
            let unseen = || inner.unseen(one.play.needs, has_paths, one.why.as_deref());
            let verdict = one.verdict.clone().unwrap_or_else(unseen);
            Finding { rules: one.play.rules, what: one.play.what, verdict }
        });
        sights.chain(plays).collect()
    }
}

impl Inner {
    /// Why peers like those that came never do what this needs.
    fn lacks(&self, needs: Needs) -> Option<&'static str> {
        match (needs, self.clients, self.relays) {
            (Needs::LinkOfRelay, 1.., 0) => Some("it is a client, and the rule is about relays"),
            (needs, 0, 1..) if needs.is_of_clients() => Some("it is a relay, and the rule is about clients"),
            _ => None,
        }
    }

    /// Whether it was not chosen, is never to be seen, or was seen so often that it says something.
    fn is_seen(&self, table: &Sought) -> bool {
        let seen = self.sights.get(&table.sight);
        seen.is_none_or(|seen| seen.fault.is_some() || seen.times >= table.sight.times_min())
            || self.lacks(table.needs).is_some()
    }

    /// Why nothing came of it.
    fn unseen(&self, needs: Needs, has_paths: bool, why: Option<&str>) -> Verdict {
        if let Some(why) = self.lacks(needs) {
            return Verdict::NotOffered(why.to_owned());
        }
        let reason = match needs {
            Needs::Build | Needs::Store if !has_paths => "one relay makes no path: listen on IPv4 loopback, on Linux",
            Needs::Link | Needs::LinkOfClient | Needs::LinkOfRelay => "too few links came",
            Needs::Ask | Needs::AskOfClient => "too few questions came",
            Needs::Build => "too few circuits came",
            Needs::Unanswered => "too few questions of a relay, or circuits of a client, came",
            Needs::Store => "it stored no chunk: have it publish something that is larger than a record",
            Needs::Quiet => "no link was left in peace for long enough",
        };
        Verdict::NotSeen(why.map_or_else(|| reason.to_owned(), |why| format!("{reason}; the last time: {why}")))
    }
}
