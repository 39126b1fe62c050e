//! How a client enters: membership from bootstraps, guards by their rule, circuits only once a guard is in use.
//! Source: spec/membership.md §2.3, §5.

use std::collections::{BTreeMap, BTreeSet};

use super::agreement::{Agreement, Judged, Told, Unsettled, agree};
use super::stored::Stored;
use super::{ClientEvent, ClientNode, Joined, Kept, Pending};
use crate::crypto::keys::{DhKey, NodeKey};
use crate::crypto::random_bytes;
use crate::limits::{
    ABSENT_PERCENT_MAX, ABSENT_STEP, ABSENT_WINDOW, ASK_TIMEOUT, BOOTSTRAPS_AGREE_MIN, BOOTSTRAPS_ASKED, JOIN_TIME_MAX,
    JOIN_TIMEOUT, MEMBER_LIFE_S, MEMBERS_FRESH_FOR, MEMBERS_MAX, MEMBERS_PAGE_MAX,
};
use crate::membership::guards::{GuardOutcome, Guards};
use crate::membership::members::Members;
use crate::membership::second_hops::SecondHops;
use crate::node::asks::{AskId, Heard};
use crate::node::io::{DownReason, LinkId, Output};
use crate::node::links::Reach;
use crate::node::silence::Doubt;
use crate::node::sizes::TableSize;
use crate::node::work::Job;
use crate::request::Failure;
use crate::time::{Duration, Instant, Now, earlier};
use crate::wire::cell::Cell;
use crate::wire::contact::Contact;
use crate::wire::message::{Answer, Ask};

/// How far the client has come.
#[derive(Default)]
pub(super) struct Entry {
    /// Bootstraps that are being asked, by link key.
    sources: BTreeMap<DhKey, Source>,
    /// When bootstraps were last begun to be asked.
    begun: Instant,
    /// When whoever has not told all counts as failed.
    deadline: Instant,
    /// Checks of descriptors under way.
    checking: usize,
    /// When a membership last came.
    members_at: Option<Instant>,
    /// When it is asked for anew, at a random time of its own.
    pub(super) refresh_at: Option<Instant>,
    /// States given out to be kept and not yet confirmed.
    keeps_open: usize,
    /// Whether a sample was drawn and the state directory holds it: before that no guard is dialled.
    confirmed: bool,
    /// Whether too few bootstraps told what they know.
    failed: bool,
    in_use: Option<NodeKey>,
    /// As long as the membership is the one from disk.
    pub(super) stored: Option<Stored>,
    /// What the bootstraps said, until it is told.
    joined: Joined,
    /// Whom any of them told of, until the membership is there.
    told: BTreeSet<NodeKey>,
    /// Whether the members were, when they came, all of the network.
    pub(super) is_whole: bool,
    unsettled: Unsettled,
    /// The most members that there were, by step of the client's time, within [`ABSENT_WINDOW`].
    most: BTreeMap<u64, usize>,
}

impl Entry {
    pub(super) fn sizes(&self) -> [TableSize; 4] {
        let told = self.sources.values().map(|source| source.told.descriptors.len()).max().unwrap_or(0);
        [
            ("bootstraps that are asked", self.sources.len(), BOOTSTRAPS_ASKED),
            // A page may reach over the end.
            ("descriptors that one told", told, MEMBERS_MAX + MEMBERS_PAGE_MAX),
            ("members told of", self.told.len(), BOOTSTRAPS_ASKED * (MEMBERS_MAX + MEMBERS_PAGE_MAX)),
            ("steps with their most members", self.most.len(), ABSENT_STEPS_MAX),
        ]
    }
}

/// What one bootstrap told.
struct Source {
    told: Told,
    state: SourceState,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum SourceState {
    Asking,
    Whole,
    Failed,
}

/// Steps of a window, and the one that it begins in.
const ABSENT_STEPS_MAX: usize = 25;

/// Descriptors checked in one job.
const CHECKED_AT_ONCE: usize = 32;

impl ClientNode {
    /// Enters with the membership on disk, if there is one and it has every guard and second hop that is pinned: bootstraps then
    /// do not learn that a client starts. Nothing is ever drawn from it. Otherwise joins.
    pub(super) fn start_entry(&mut self, now: Now) {
        let mut stored = core::mem::take(&mut self.config.stored).with_rule(self.config.rule);
        stored.expire(now.unix);
        (self.members, self.judged) = (stored.clone(), stored.clone());
        self.note_bootstraps(stored.iter());
        if self.members.is_empty() || self.sample_would_change(now) {
            self.members = Members::default().with_rule(self.config.rule);
            self.judged = Members::default().with_rule(self.config.rule);
            return self.join(now);
        }
        self.entry.stored = Some(Stored::default());
        // Nothing else is kept.
        self.entry.is_whole = true;
        self.note_most(now);
        self.entry.members_at = Some(now.instant);
        self.schedule_refresh(now, MEMBERS_FRESH_FOR);
        self.sample(now);
    }

    fn sample_would_change(&mut self, now: Now) -> bool {
        let (rule, kept, ours) = (self.config.rule, &self.config.kept, &self.config.ours);
        let (mut guards, mut hops) = (Guards::new(kept.guards.clone()), SecondHops::new(kept.second_hops.clone()));
        let filled = guards.fill(&self.members, rule, now.unix, ours, &mut self.rng);
        let is_whole = guards.ordered().iter().all(|key| self.members.get(key).is_some());
        filled || !is_whole || hops.refill(&self.members, rule, now.unix, &guards.ordered(), ours, &mut self.rng)
    }

    /// Asks some bootstraps for the membership.
    pub(super) fn join(&mut self, now: Now) {
        if self.is_joining() {
            return;
        }
        self.entry.failed = false;
        (self.entry.begun, self.entry.deadline) = (now.instant, now.instant + JOIN_TIME_MAX);
        let mut left = self.config.bootstraps.clone();
        let mut asked = Vec::new();
        while !left.is_empty() && asked.len() < BOOTSTRAPS_ASKED {
            let drawn = usize::from(u16::from_be_bytes(random_bytes(&mut self.rng))) % left.len();
            asked.push(left.swap_remove(drawn));
        }
        self.effects.event(ClientEvent::Asking { bootstraps: asked.len() });
        for bootstrap in &asked {
            let source = Source { told: Told::default(), state: SourceState::Asking };
            self.entry.sources.insert(bootstrap.link_key, source);
        }
        for bootstrap in asked {
            self.pull(now, bootstrap, None);
        }
        self.agree_if_ended(now);
    }

    pub(super) fn is_joining(&self) -> bool {
        !self.entry.sources.is_empty() || self.entry.checking > 0
    }

    /// An operation needs a way in. A client that has one never asks bootstraps because of an operation: they see its address, and
    /// would learn when it looks something up.
    pub(super) fn join_if_outside(&mut self, now: Now) {
        if self.entry.members_at.is_none() && !self.entry.unsettled.is_waiting() {
            self.join(now);
        }
    }

    /// Bootstraps are asked after half to one and a half times the mean, drawn anew each time.
    pub(super) fn schedule_refresh(&mut self, now: Now, mean: Duration) {
        let [drawn] = random_bytes::<1>(&mut self.rng);
        self.entry.refresh_at = Some(now.instant + mean / 2 + mean * u32::from(drawn) / 256);
    }

    /// The bootstraps have not settled: soon, and ever more rarely.
    fn ask_again(&mut self, now: Now) {
        let mean = self.entry.unsettled.pause();
        self.schedule_refresh(now, mean);
    }

    fn refresh_if_due(&mut self, now: Now) {
        if self.entry.refresh_at.is_some_and(|at| at <= now.instant) {
            // Whether it succeeds or not, the next one has a time of its own.
            self.schedule_refresh(now, MEMBERS_FRESH_FOR);
            self.join(now);
        }
    }

    fn pull(&mut self, now: Now, from: Contact, after: Option<NodeKey>) {
        let ask = AskId(self.next_id());
        self.pulls.insert(ask, (from, after));
        let question = Ask::Members { after };
        match self.links.reach(now.instant, from.link_key, from.address) {
            (Reach::Up(link), _) => self.start_ask(now, link, ask, &question.encode()),
            (Reach::Dialling(link), dial) => {
                dial.into_iter().for_each(|dial| self.effects.io(dial));
                if !self.asks.wait(now.instant, link, ask, &question) {
                    self.pull_failed(now, ask);
                }
            }
            (Reach::Refused, _) => self.pull_failed(now, ask),
        }
    }

    pub(super) fn start_ask(&mut self, now: Now, link: LinkId, ask: AskId, message: &[u8]) {
        let Some(circuit) = self.links.open_circuit(now.instant, link, &mut self.rng) else {
            return self.pull_failed(now, ask);
        };
        match self.asks.start(now.instant, link, circuit, ask, message) {
            // Pages have a time of their own, and of signs of life it is known that they are awaited.
            Some(cells) => cells.into_iter().for_each(|cell| self.effects.send(link, cell)),
            None => {
                self.links.close_circuit(link, circuit);
                self.pull_failed(now, ask);
            }
        }
    }

    /// Links that are silent although something is awaited of them. The guard learns from the question what it knows: that nothing
    /// came back on a circuit for a while.
    pub(super) fn mind_silence(&mut self, now: Now) {
        for doubt in self.links.silence.doubts(now.instant) {
            match doubt {
                Doubt::Ask(link) => {
                    let ask = AskId(self.next_id());
                    self.start_ask(now, link, ask, &Ask::sign_of_life().encode());
                }
                Doubt::GiveUp(link) => {
                    self.effects.io(Output::Close { link, reason: DownReason::Silent });
                    self.on_link_down(now, link, DownReason::Silent);
                }
            }
        }
    }

    pub(super) fn on_answer_cell(&mut self, now: Now, link: LinkId, cell: &Cell) {
        match self.asks.on_answer(now.instant, link, cell) {
            Heard::Nothing => (),
            Heard::Answer(ask, answer) => {
                self.links.close_circuit(link, cell.circuit());
                self.on_page(now, ask, *answer);
            }
            Heard::Broken(ask) => {
                self.pull_failed(now, ask);
                self.effects.io(Output::Close { link, reason: DownReason::Protocol });
                self.on_link_down(now, link, DownReason::Protocol);
            }
        }
    }

    fn on_page(&mut self, now: Now, ask: AskId, answer: Answer) {
        let Some((from, after)) = self.pulls.remove(&ask) else { return };
        let Some(source) = self.entry.sources.get_mut(&from.link_key) else { return };
        let page = match answer {
            Answer::Members { descriptors, more, settled } => {
                Answer::page_end(&descriptors, more, after).map(|last| (descriptors, (more, settled), last))
            }
            _ => None,
        };
        let has_room = |page: &[_]| source.told.descriptors.len() + page.len() <= MEMBERS_MAX;
        let Some((descriptors, (more, settled), last)) = page.filter(|(page, ..)| has_room(page)) else {
            return self.source_ended(now, &from.link_key, SourceState::Failed);
        };
        source.told.descriptors.extend(descriptors);
        source.told.settled = settled;
        if more {
            self.pull(now, from, last);
        } else {
            self.source_ended(now, &from.link_key, SourceState::Whole);
        }
    }

    pub(super) fn pull_failed(&mut self, now: Now, ask: AskId) {
        if let Some((from, _)) = self.pulls.remove(&ask) {
            self.source_ended(now, &from.link_key, SourceState::Failed);
        }
    }

    fn source_ended(&mut self, now: Now, link_key: &DhKey, state: SourceState) {
        if let Some(source) = self.entry.sources.get_mut(link_key) {
            source.state = state;
        }
        let whole = self.entry.sources.values().filter(|source| source.state == SourceState::Whole).count();
        if state == SourceState::Whole && whole == self.needed() {
            // As slow as these were the others may be, and not much slower; but who chooses guards for months waits for a third word.
            let least = if self.guards.ordered().is_empty() { JOIN_TIMEOUT } else { ASK_TIMEOUT };
            let rest = self.entry.begun.until(now.instant).clamp(least, JOIN_TIMEOUT);
            self.entry.deadline = self.entry.deadline.min(now.instant + rest);
        }
        self.agree_if_ended(now);
    }

    /// So many bootstraps have to tell alike.
    fn needed(&self) -> usize {
        BOOTSTRAPS_AGREE_MIN.min(self.config.bootstraps.len())
    }

    /// Once all bootstraps have ended, or the time is over: takes what enough of them say alike.
    fn agree_if_ended(&mut self, now: Now) {
        let is_late = now.instant >= self.entry.deadline;
        let is_open = self.entry.sources.values().any(|source| source.state == SourceState::Asking);
        if is_open && !is_late {
            return;
        }
        self.pulls.clear();
        let sources = core::mem::take(&mut self.entry.sources);
        self.entry.joined = Joined { asked: sources.len(), ..Joined::default() };
        let needed = self.needed();
        let whole = sources.into_values().filter(|one| one.state == SourceState::Whole);
        let whole: Vec<Told> = whole.map(|source| source.told).collect();
        self.entry.joined.whole = whole.len();
        let agreed = (needed > 0 && whole.len() >= needed).then(|| agree(&whole, needed));
        let judged = match (agreed, self.entry.members_at) {
            (agreed, None) => self.entry.unsettled.judge(now.instant, agreed),
            (agreed, Some(_)) => agreed.map_or(Judged::Failed, Judged::Take),
        };
        match judged {
            Judged::Take(agreement) => self.take(now, agreement),
            // Guards are drawn from what they tell.
            Judged::AskAgain => self.ask_again(now),
            Judged::Failed => self.join_failed(now),
        }
    }

    fn take(&mut self, now: Now, Agreement { told, keys, agreed, descriptors, settled }: Agreement) {
        (self.entry.joined.told, self.entry.joined.agreed, self.entry.joined.settled) = (told, agreed, settled);
        self.entry.told = keys;
        let wanted = self.wanted_of(descriptors);
        let (network, unix) = (self.config.network, now.unix);
        for batch in wanted.chunks(CHECKED_AT_ONCE) {
            self.entry.checking += 1;
            let job = Job::CheckDescriptors { network, descriptors: batch.to_vec(), now: unix };
            self.work(Pending::Members, job);
        }
        if wanted.is_empty() {
            self.joined(now);
        }
    }

    pub(super) fn on_members_checked(&mut self, now: Now) {
        self.entry.checking = self.entry.checking.saturating_sub(1);
        if self.entry.checking == 0 {
            self.joined(now);
        }
    }

    /// The membership is here, whole and checked: only now guards are drawn from it.
    fn joined(&mut self, now: Now) {
        self.members.expire(now.unix);
        self.judged.expire(now.unix);
        // One that is stalled must not leave the others to say who is gone.
        if self.entry.joined.settled && self.entry.joined.whole == self.entry.joined.asked {
            self.drop_absent(now);
        }
        if self.members.is_empty() {
            return self.join_failed(now);
        }
        self.entry.members_at = Some(now.instant);
        self.entry.stored = None;
        self.entry.unsettled.end_wait();
        if self.entry.joined.settled {
            self.entry.is_whole = true;
        }
        let pause = if self.entry.is_whole { MEMBERS_FRESH_FOR } else { self.entry.unsettled.pause() };
        self.schedule_refresh(now, pause);
        let members = self.members.iter().cloned().collect();
        self.effects.event(ClientEvent::Joined(Joined { members, ..self.entry.joined.clone() }));
        self.sample(now);
        self.leave_bootstraps(now);
    }

    /// Of whom none of the bootstraps that told all has told is gone, and no hop is made of it. One that tells of it is enough for
    /// it to stay: else two bad ones could take relays away. Guards and second hops end by rules of their own, so that nobody
    /// makes this client draw new ones. Where most were to go, at once or little by little, it is likelier that the bootstraps have just
    /// started, or lie.
    fn drop_absent(&mut self, now: Now) {
        let told = core::mem::take(&mut self.entry.told);
        // What relays would have forgotten signs nothing any more: kept for the day, the dead would be most of those judged by.
        let is_late = |issued: u32| now.unix.0 > u64::from(issued) + MEMBER_LIFE_S;
        self.judged.retain(|member| told.contains(&member.key) || !is_late(member.issued));
        let pinned: Vec<NodeKey> = self.guards.ordered().into_iter().chain(self.second_hops.keys()).collect();
        let left = self.members.iter().filter(|member| told.contains(&member.key)).count();
        if left * 100 >= self.note_most(now) * (100 - ABSENT_PERCENT_MAX) {
            self.members.retain(|member| told.contains(&member.key) || pinned.contains(&member.key));
        }
    }

    /// Takes note of how many members there are now; the most of the window.
    fn note_most(&mut self, now: Now) -> usize {
        let step = |time: Duration| time.as_secs() / ABSENT_STEP.as_secs();
        let (this, steps) = (step(Instant::ZERO.until(now.instant)), step(ABSENT_WINDOW));
        let most = self.entry.most.entry(this).or_insert(0);
        *most = self.members.len().max(*most);
        self.entry.most.retain(|then, _| then + steps >= this);
        self.entry.most.values().copied().max().unwrap_or(0)
    }

    /// What is held already stays in use: a client that is in is not thrown out by bootstraps that fail.
    fn join_failed(&mut self, now: Now) {
        self.entry.failed = true;
        self.entry.unsettled.end_wait();
        if self.entry.members_at.is_none() {
            // The next operation asks.
            self.entry.refresh_at = None;
        } else if !self.entry.is_whole {
            self.ask_again(now);
        }
        if let Some(stored) = &mut self.entry.stored {
            (stored.is_doubted, stored.is_all_there_is) = (false, true);
        }
        self.effects.event(ClientEvent::Joined(self.entry.joined.clone()));
    }

    /// Fills guards and second hops from the fresh membership; the state directory has the last word on them.
    fn sample(&mut self, now: Now) {
        let rule = self.config.rule;
        let ours = &self.config.ours;
        let changed = self.guards.fill(&self.members, rule, now.unix, ours, &mut self.rng);
        let guards = self.guards.ordered();
        let refilled = self.second_hops.refill(&self.members, rule, now.unix, &guards, ours, &mut self.rng);
        if changed || refilled {
            self.entry.confirmed = false;
            self.keep();
        } else {
            self.entry.confirmed = self.entry.keeps_open == 0;
        }
    }

    /// States are confirmed in the order in which they were given out.
    pub(super) fn on_kept(&mut self, now: Now, kept: Option<Kept>) {
        self.entry.keeps_open = self.entry.keeps_open.saturating_sub(1);
        if let Some(kept) = kept {
            // Another process of this client was first: its sample is the sample.
            let counted = self.guards.state();
            self.guards = Guards::new(kept.guards.clone());
            self.guards.count_as(&counted);
            self.second_hops = SecondHops::new(kept.second_hops.clone());
            self.config.kept = kept;
            return self.sample(now);
        }
        self.entry.confirmed = self.entry.keeps_open == 0 && self.entry.members_at.is_some();
    }

    /// Bootstraps have told what they know; only the guard's link stays.
    fn leave_bootstraps(&mut self, now: Now) {
        let guards = self.guards.ordered();
        let bootstraps: Vec<LinkId> =
            self.config.bootstraps.iter().filter_map(|one| self.links.link_to(&one.link_key)).collect();
        for link in bootstraps {
            let is_guard = self
                .links
                .peer(link)
                .and_then(|peer| peer.descriptor.as_ref())
                .is_some_and(|relay| guards.first() == Some(&relay.key));
            if !is_guard {
                self.effects.io(Output::Close { link, reason: DownReason::Closed });
                self.on_link_down(now, link, DownReason::Closed);
            }
        }
    }

    pub(super) fn guard_of_link_key(&self, link_key: &DhKey) -> Option<NodeKey> {
        let is_it = |key: &NodeKey| self.members.get(key).is_some_and(|member| member.link_key == *link_key);
        self.guards.ordered().into_iter().find(is_it)
    }

    pub(super) fn note_keep(&mut self) {
        self.entry.keeps_open += 1;
    }

    pub(super) fn is_ready(&self) -> bool {
        self.entry.in_use.is_some()
    }

    /// The guard, while circuits may be built.
    pub(super) fn guard_in_use(&self) -> Option<NodeKey> {
        self.entry.in_use
    }

    pub(super) fn entry_timeout(&self) -> Option<Instant> {
        let guards = if self.entry.confirmed { self.guards.poll_timeout() } else { None };
        let join = (!self.entry.sources.is_empty()).then_some(self.entry.deadline);
        earlier(earlier(guards, join), self.entry.refresh_at)
    }

    /// Dials guards by their rule, and tells the operations when there is no way in.
    pub(super) fn enter(&mut self, now: Now) {
        self.refresh_if_due(now);
        if !self.entry.sources.is_empty() {
            self.agree_if_ended(now);
        }
        if self.entry.confirmed {
            self.dial_guards(now);
            match self.guards.outcome() {
                GuardOutcome::InUse(guard) => self.use_guard(guard),
                GuardOutcome::Waiting => self.entry.in_use = None,
                GuardOutcome::Unreachable if self.is_joining() => self.entry.in_use = None,
                GuardOutcome::Unreachable | GuardOutcome::PrivacyFloor if self.doubt_stored_at_once(now) => {
                    self.entry.in_use = None
                }
                GuardOutcome::Unreachable => self.no_way_in(now, Failure::Unreachable),
                GuardOutcome::PrivacyFloor => self.no_way_in(now, Failure::GuardsGone),
            }
        } else if self.entry.failed {
            self.no_way_in(now, Failure::Unreachable);
        }
    }

    fn dial_guards(&mut self, now: Now) {
        while let Some(guard) = self.guards.next_dial(now.instant) {
            let Some((link_key, address)) = self.members.get(&guard).map(|one| (one.link_key, one.address)) else {
                self.guards.on_dial_failed(&guard, now.instant);
                continue;
            };
            match self.links.reach(now.instant, link_key, address) {
                (Reach::Up(_), _) => {
                    if self.guards.on_link_up(&guard, now.instant) {
                        self.keep();
                    }
                }
                (Reach::Dialling(_), dial) => dial.into_iter().for_each(|dial| self.effects.io(dial)),
                (Reach::Refused, _) => {
                    if self.guards.on_dial_failed(&guard, now.instant) {
                        self.keep();
                    }
                }
            }
        }
    }

    fn use_guard(&mut self, guard: NodeKey) {
        if self.entry.in_use == Some(guard) {
            return;
        }
        if let Some(before) = self.entry.in_use.and_then(|before| self.members.get(&before)) {
            self.links.unpin(&before.link_key);
        }
        if let Some(member) = self.members.get(&guard) {
            self.links.pin(member.link_key);
        }
        self.entry.in_use = Some(guard);
        self.effects.event(ClientEvent::Ready { guard, members: self.members.len() });
    }

    fn no_way_in(&mut self, now: Now, why: Failure) {
        self.entry.in_use = None;
        self.fail_due(now, why);
    }
}
