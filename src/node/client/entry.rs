//! How a client enters: membership from bootstraps, guards by their rule, circuits only once a guard is in use.
//! Source: spec/membership.md §2.3, §5.

use super::{ClientEvent, ClientNode, Kept, Pending};
use crate::crypto::keys::{DhKey, NodeKey};
use crate::crypto::random_bytes;
use crate::limits::{BOOTSTRAPS_ASKED, JOIN_TIMEOUT, MEMBERS_FRESH_FOR};
use crate::membership::guards::{GuardOutcome, Guards};
use crate::membership::second_hops::SecondHops;
use crate::node::asks::{AskId, Heard};
use crate::node::io::{DownReason, LinkId, Output};
use crate::node::links::Reach;
use crate::node::work::Job;
use crate::request::Failure;
use crate::time::{Instant, Now, earlier};
use crate::wire::cell::Cell;
use crate::wire::contact::Contact;
use crate::wire::message::{Answer, Ask};

/// How far the client has come.
#[derive(Default)]
pub(super) struct Entry {
    /// Pulls and checks not yet ended.
    open: usize,
    /// When they end, whole or not.
    deadline: Instant,
    /// Whether a whole membership came since the pulls began.
    came: bool,
    /// When it last came.
    members_at: Option<Instant>,
    /// Whether the state directory has confirmed the sample: before that no guard is dialled.
    confirmed: bool,
    /// Whether every bootstrap that was asked failed.
    failed: bool,
    in_use: Option<NodeKey>,
}

impl ClientNode {
    /// Asks some bootstraps for the membership.
    pub(super) fn join(&mut self, now: Now) {
        if self.entry.open > 0 {
            return;
        }
        self.entry.failed = false;
        self.entry.came = false;
        let mut left = self.config.bootstraps.clone();
        let mut asked = Vec::new();
        while !left.is_empty() && asked.len() < BOOTSTRAPS_ASKED {
            let drawn = usize::from(u16::from_be_bytes(random_bytes(&mut self.rng))) % left.len();
            asked.push(left.swap_remove(drawn));
        }
        self.entry.open = asked.len();
        self.entry.deadline = now.instant + JOIN_TIMEOUT;
        self.entry.failed = asked.is_empty();
        for bootstrap in asked {
            self.pull(now, bootstrap, None);
        }
    }

    pub(super) fn rejoin_if_needed(&mut self, now: Now) {
        let is_fresh = self.entry.members_at.is_some_and(|at| at.until(now.instant) < MEMBERS_FRESH_FOR);
        if self.entry.failed || !is_fresh {
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
            Some(cells) => cells.into_iter().for_each(|cell| self.effects.send(link, cell)),
            None => self.pull_failed(now, ask),
        }
    }

    pub(super) fn on_answer_cell(&mut self, now: Now, link: LinkId, cell: &Cell) {
        match self.asks.on_answer(link, cell) {
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
        let Answer::Members { descriptors, more } = answer else { return self.pull_ended(now) };
        let Some(last) = Answer::page_end(&descriptors, more, after) else { return self.pull_ended(now) };
        let wanted: Vec<_> = descriptors.into_iter().filter(|one| self.members.wants(one)).collect();
        let (network, unix) = (self.config.network, now.unix);
        if more {
            self.entry.open += 1;
            self.pull(now, from, last);
        } else {
            self.entry.came = true;
        }
        self.work(Pending::Members, Job::CheckDescriptors { network, descriptors: wanted, now: unix });
    }

    pub(super) fn pull_failed(&mut self, now: Now, ask: AskId) {
        if self.pulls.remove(&ask).is_some() {
            self.pull_ended(now);
        }
    }

    pub(super) fn on_members_checked(&mut self, now: Now) {
        self.pull_ended(now);
    }

    fn pull_ended(&mut self, now: Now) {
        self.entry.open = self.entry.open.saturating_sub(1);
        if self.entry.open == 0 {
            self.pulls_ended(now);
        }
    }

    /// A bootstrap that sends page after page, or nothing, does not keep the client out for ever.
    fn end_late_pulls(&mut self, now: Now) {
        if self.entry.open > 0 && now.instant >= self.entry.deadline {
            self.entry.open = 0;
            self.pulls.clear();
            self.pulls_ended(now);
        }
    }

    fn pulls_ended(&mut self, now: Now) {
        if !self.entry.came || self.members.is_empty() {
            self.entry.failed = true;
            return;
        }
        self.entry.members_at = Some(now.instant);
        self.members.expire(now.unix);
        self.sample(now);
        self.leave_bootstraps(now);
    }

    /// Fills guards and second hops from the fresh membership; the state directory has the last word on them.
    fn sample(&mut self, now: Now) {
        let rule = self.config.rule;
        let changed = self.guards.fill(&self.members, rule, now.unix, &[], &mut self.rng);
        let guards = self.guards.ordered();
        let refilled = self.second_hops.refill(&self.members, rule, now.unix, &guards, &[], &mut self.rng);
        if changed || refilled {
            self.entry.confirmed = false;
            self.keep();
        } else {
            self.entry.confirmed = true;
        }
    }

    pub(super) fn on_kept(&mut self, now: Now, kept: Option<Kept>) {
        if let Some(kept) = kept {
            // Another process of this client was first: its sample is the sample.
            self.guards = Guards::new(kept.guards.clone());
            self.second_hops = SecondHops::new(kept.second_hops.clone());
            self.config.kept = kept;
            return self.sample(now);
        }
        self.entry.confirmed = true;
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

    pub(super) fn is_ready(&self) -> bool {
        self.entry.in_use.is_some()
    }

    pub(super) fn guard_in_use(&self) -> Option<NodeKey> {
        self.entry.in_use
    }

    pub(super) fn entry_timeout(&self) -> Option<Instant> {
        let guards = if self.entry.confirmed { self.guards.poll_timeout() } else { None };
        earlier(guards, (self.entry.open > 0).then_some(self.entry.deadline))
    }

    /// Dials guards by their rule, and tells the operations when there is no way in.
    pub(super) fn enter(&mut self, now: Now) {
        self.end_late_pulls(now);
        if self.entry.confirmed {
            self.dial_guards(now);
            match self.guards.outcome() {
                GuardOutcome::InUse(guard) => self.use_guard(guard),
                GuardOutcome::Waiting => self.entry.in_use = None,
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
