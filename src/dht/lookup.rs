//! One iterative lookup: a pure machine run by the exit. Input: answers, failures, the time. Output: whom to ask.
//! Knows neither values nor signatures. Source: Maymounkov and Mazières, Kademlia (2002); spec/dht.md §3.

use std::collections::{BTreeMap, VecDeque};

use crate::keyspace::{Distance, Id, Location};
use crate::limits::{ALPHA, ASK_TIMEOUT, BUCKET_SIZE, LOOKUP_ASKS_MAX, LOOKUP_CONTACTS_MAX, SIGNERS};
use crate::membership::nearest::Nearest;
use crate::membership::prefix_rule::PrefixRule;
use crate::time::Instant;
use crate::wire::contact::Contact;
use crate::wire::record::ValueKind;

/// Questions that may go to nodes known by hearsay alone: liars never use up what the node's own contacts need.
const HEARSAY_ASKS_MAX: usize = LOOKUP_ASKS_MAX - SIGNERS;
/// The same for questions under way at once.
const HEARSAY_IN_FLIGHT_MAX: usize = ALPHA - 1;
/// Contacts of the node's own that a lookup keeps; hearsay never pushes them out.
const START_CONTACTS_MAX: usize = LOOKUP_CONTACTS_MAX - LOOKUP_ASKS_MAX - BUCKET_SIZE;

/// Sequence number and digest of a value that a node says it has.
pub type Claim = (u64, [u8; 32]);

/// What a lookup is told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum LookupInput {
    /// A node answered.
    Answered {
        /// Which.
        from: Id,
        /// Whom it knows closer.
        contacts: Vec<Contact>,
        /// The value that it says it has.
        says_present: Option<Claim>,
    },
    /// A node is no member, could not be reached, is not who the contact said, or answered nonsense.
    Failed {
        /// Which.
        from: Id,
    },
    /// A deadline may have passed.
    Timeout,
}

/// What a lookup wants done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LookupOutput {
    /// Ask this node.
    Ask(Contact),
    /// The lookup is over.
    Done,
}

/// How broadly a lookup asks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Breadth {
    /// Questions under way at most.
    pub at_once: usize,
    /// So many of the closest live nodes have to answer.
    pub closest: usize,
}

impl Breadth {
    /// All whose word a client asks for, at once.
    pub const SIGNERS: Self = Self { at_once: SIGNERS, closest: SIGNERS };
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    New,
    Asked { deadline: Instant },
    Answered { says_present: Option<Claim> },
    Failed,
}

#[derive(Clone, Debug)]
struct Candidate {
    contact: Contact,
    state: State,
    hearsay: bool,
}

/// A lookup under way.
///
/// Invariant: a candidate that was asked is never forgotten, so nobody is asked twice.
#[derive(Debug)]
pub struct Lookup {
    location: Location,
    kind: ValueKind,
    own: Option<Id>,
    rule: PrefixRule,
    breadth: Breadth,
    deadline: Instant,
    candidates: BTreeMap<Distance, Candidate>,
    outputs: VecDeque<LookupOutput>,
    done: bool,
}

impl Lookup {
    /// Starts at the contacts this node knows itself (members and table); over by `deadline` with whatever it has.
    /// `own` is the id of the node that runs it, which is never asked.
    #[must_use]
    pub fn new(
        location: Location,
        kind: ValueKind,
        own: Option<Id>,
        mut start: Vec<Contact>,
        rule: PrefixRule,
        breadth: Breadth,
        (now, deadline): (Instant, Instant),
    ) -> Self {
        let (candidates, outputs) = (BTreeMap::new(), VecDeque::new());
        let mut lookup = Self { location, kind, own, rule, breadth, deadline, candidates, outputs, done: false };
        start.sort_by_key(|contact| contact.id.distance(&location));
        start.into_iter().take(START_CONTACTS_MAX).for_each(|contact| lookup.learn(contact, false));
        lookup.proceed(now);
        lookup
    }

    /// Fires what is due, then takes one input. An answer of somebody who was not asked, or too late, is dropped.
    pub fn handle(&mut self, now: Instant, input: LookupInput) {
        self.fail_overdue(now);
        match input {
            LookupInput::Answered { from, contacts, says_present } => {
                if self.settle(&from, State::Answered { says_present }) {
                    contacts.into_iter().take(BUCKET_SIZE).for_each(|contact| self.learn(contact, true));
                }
            }
            LookupInput::Failed { from } => {
                self.settle(&from, State::Failed);
            }
            LookupInput::Timeout => (),
        }
        self.proceed(now);
    }

    /// The next thing to do.
    pub fn poll_output(&mut self) -> Option<LookupOutput> {
        self.outputs.pop_front()
    }

    /// When `handle` wants to be called with a timeout; `None` once it is over.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let asks = self.candidates.values().filter_map(|candidate| match candidate.state {
            State::Asked { deadline } => Some(deadline),
            State::New | State::Answered { .. } | State::Failed => None,
        });
        (!self.done).then(|| asks.fold(self.deadline, Instant::min))
    }

    /// Where it looks.
    #[must_use]
    pub fn location(&self) -> Location {
        self.location
    }

    /// What it looks for.
    #[must_use]
    pub fn kind(&self) -> ValueKind {
        self.kind
    }

    /// Whether it is over.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.done
    }

    /// The `count` closest nodes that answered, nearest first, at most two of one narrow prefix.
    #[must_use]
    pub fn closest_answered(&self, count: usize) -> Vec<Contact> {
        self.nearest(count, Candidate::has_answered).into_iter().map(|candidate| candidate.contact).collect()
    }

    /// The newest value that somebody says he has, and the nearest who says so.
    #[must_use]
    pub fn newest_present(&self) -> Option<(Contact, Claim)> {
        let claims = self.candidates.values().rev().filter_map(|candidate| match candidate.state {
            State::Answered { says_present } => Some((candidate.contact, says_present?)),
            State::New | State::Asked { .. } | State::Failed => None,
        });
        claims.max_by_key(|(_, claim)| *claim)
    }

    /// The first word on an id holds: what the node knew itself came before any hearsay.
    fn learn(&mut self, contact: Contact, hearsay: bool) {
        let distance = contact.id.distance(&self.location);
        if self.own == Some(contact.id) || self.candidates.contains_key(&distance) {
            return;
        }
        self.candidates.insert(distance, Candidate { contact, state: State::New, hearsay });
        if self.candidates.len() > LOOKUP_CONTACTS_MAX {
            let mut from_afar = self.candidates.iter().rev();
            let farthest = from_afar.find(|(_, candidate)| candidate.hearsay && candidate.state == State::New);
            let farthest = farthest.map(|(distance, _)| *distance);
            farthest.and_then(|distance| self.candidates.remove(&distance));
        }
    }

    fn fail_overdue(&mut self, now: Instant) {
        for candidate in self.candidates.values_mut() {
            if matches!(candidate.state, State::Asked { deadline } if deadline <= now) {
                candidate.state = State::Failed;
            }
        }
    }

    /// Whether this node was asked and had not answered yet.
    fn settle(&mut self, from: &Id, state: State) -> bool {
        let asked = self.candidates.get_mut(&from.distance(&self.location)).filter(|candidate| candidate.is_asked());
        let Some(candidate) = asked.filter(|_| !self.done) else { return false };
        candidate.state = state;
        true
    }

    fn proceed(&mut self, now: Instant) {
        while !self.done
            && self.deadline > now
            && !self.closest_have_answered()
            && self.in_flight() < self.breadth.at_once
        {
            let Some(next) = self.next_to_ask() else { break };
            self.ask(&next, now);
        }
        let idle = self.in_flight() == 0;
        if !self.done && (idle || self.deadline <= now || self.closest_have_answered()) {
            self.done = true;
            self.outputs.push_back(LookupOutput::Done);
        }
    }

    fn ask(&mut self, whom: &Distance, now: Instant) {
        if let Some(candidate) = self.candidates.get_mut(whom) {
            candidate.state = State::Asked { deadline: now + ASK_TIMEOUT };
            self.outputs.push_back(LookupOutput::Ask(candidate.contact));
        }
    }

    /// The nearest of the closest live nodes that was not asked yet. Hearsay waits where it has had its share.
    fn next_to_ask(&self) -> Option<Distance> {
        if self.count(Candidate::was_asked) >= LOOKUP_ASKS_MAX {
            return None;
        }
        let hearsay_may = self.count(|candidate| candidate.hearsay && candidate.is_asked()) < HEARSAY_IN_FLIGHT_MAX
            && self.count(|candidate| candidate.hearsay && candidate.was_asked()) < HEARSAY_ASKS_MAX;
        let first_new = |among: Vec<&Candidate>| {
            let new = among
                .into_iter()
                .find(|candidate| candidate.state == State::New && (hearsay_may || !candidate.hearsay));
            new.map(|candidate| candidate.contact.id.distance(&self.location))
        };
        let of_all = first_new(self.closest_live());
        // Of a chunk that is wanted no more than hold one.
        let own = self.breadth.at_once.max(self.breadth.closest);
        of_all.or_else(|| first_new(self.nearest(own, |candidate| !candidate.hearsay && candidate.is_live())))
    }

    fn closest_have_answered(&self) -> bool {
        self.closest_live().into_iter().all(Candidate::has_answered)
    }

    fn closest_live(&self) -> Vec<&Candidate> {
        self.nearest(self.breadth.closest, Candidate::is_live)
    }

    fn nearest(&self, count: usize, which: impl Fn(&Candidate) -> bool) -> Vec<&Candidate> {
        let mut nearest = Nearest::new(count, self.rule);
        for (distance, candidate) in &self.candidates {
            if !nearest.reaches(distance) {
                // They come in order of distance.
                break;
            }
            if which(candidate) {
                nearest.offer(*distance, &candidate.contact.address, candidate);
            }
        }
        nearest.into_vec()
    }

    fn in_flight(&self) -> usize {
        self.count(Candidate::is_asked)
    }

    fn count(&self, which: impl Fn(&Candidate) -> bool) -> usize {
        self.candidates.values().filter(|candidate| which(candidate)).count()
    }
}

impl Candidate {
    fn is_live(&self) -> bool {
        self.state != State::Failed
    }

    fn is_asked(&self) -> bool {
        matches!(self.state, State::Asked { .. })
    }

    fn was_asked(&self) -> bool {
        self.state != State::New
    }

    fn has_answered(&self) -> bool {
        matches!(self.state, State::Answered { .. })
    }
}

#[cfg(test)]
mod tests;
