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
    at_once: usize,
    deadline: Instant,
    candidates: BTreeMap<Distance, Candidate>,
    outputs: VecDeque<LookupOutput>,
    done: bool,
}

impl Lookup {
    /// Starts at the contacts this node knows itself (members and table); over by `deadline` with whatever it has.
    /// `own` is the id of the node that runs it, which is never asked; `at_once` is how many questions are under way at most.
    #[must_use]
    pub fn new(
        location: Location,
        kind: ValueKind,
        own: Option<Id>,
        mut start: Vec<Contact>,
        rule: PrefixRule,
        at_once: usize,
        (now, deadline): (Instant, Instant),
    ) -> Self {
        let (candidates, outputs) = (BTreeMap::new(), VecDeque::new());
        let mut lookup = Self { location, kind, own, rule, at_once, deadline, candidates, outputs, done: false };
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
        while !self.done && self.deadline > now && !self.closest_have_answered() && self.in_flight() < self.at_once {
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
        of_all.or_else(|| first_new(self.nearest(SIGNERS, |candidate| !candidate.hearsay && candidate.is_live())))
    }

    fn closest_have_answered(&self) -> bool {
        self.closest_live().into_iter().all(Candidate::has_answered)
    }

    fn closest_live(&self) -> Vec<&Candidate> {
        self.nearest(SIGNERS, Candidate::is_live)
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
mod tests {
    use std::collections::BTreeSet;
    use std::sync::LazyLock;

    use proptest::prelude::*;
    use rand::rngs::ChaCha20Rng;
    use rand::{RngExt, SeedableRng};

    use super::*;
    use crate::crypto::keys::DhKey;
    use crate::dht::table::Table;
    use crate::limits::EXIT_TIMEOUT;
    use crate::membership::fixture::relay;
    use crate::time::Duration;
    use crate::wire::address::Address;

    const NODES: u32 = 200;

    static CONTACTS: LazyLock<Vec<Contact>> = LazyLock::new(|| (0..NODES).map(|n| Contact::from(&relay(n))).collect());
    static TABLES: LazyLock<BTreeMap<Id, Table>> = LazyLock::new(|| {
        let relays: Vec<_> = (0..NODES).map(relay).collect();
        let fill = |own: Id| {
            let mut table = Table::new(own);
            for other in &relays {
                table.insert(other.clone());
            }
            (own, table)
        };
        relays.iter().map(|own| fill(own.id())).collect()
    });

    fn at(millis: u64) -> Instant {
        Instant::ZERO + Duration::from_millis(millis)
    }

    fn contact(place: u8, net: u8) -> Contact {
        Contact { id: Id([place; 20]), link_key: DhKey([place; 32]), address: Address(([10, net, 0, 1], 1).into()) }
    }

    fn started(start: Vec<Contact>) -> Lookup {
        started_with(start, ALPHA)
    }

    fn started_with(start: Vec<Contact>, at_once: usize) -> Lookup {
        let (rule, times) = (PrefixRule::Distinct, (at(0), at(0) + EXIT_TIMEOUT));
        Lookup::new(Id([0; 20]), ValueKind::Signed, Some(Id([9; 20])), start, rule, at_once, times)
    }

    fn asked(lookup: &mut Lookup) -> Vec<u8> {
        let outputs = core::iter::from_fn(|| lookup.poll_output());
        outputs
            .filter_map(|output| if let LookupOutput::Ask(whom) = output { Some(whom.id.0[0]) } else { None })
            .collect()
    }

    fn answer(lookup: &mut Lookup, now: Instant, from: u8, contacts: Vec<Contact>) {
        lookup.handle(now, LookupInput::Answered { from: Id([from; 20]), contacts, says_present: None });
    }

    fn nets(places: core::ops::Range<u8>) -> Vec<Contact> {
        places.map(|place| contact(place, place)).collect()
    }

    /// A whole lookup in a world where `reply` says what a node answers, `None` for never. Gives the ids asked, in order.
    fn run(
        lookup: &mut Lookup,
        rng: &mut ChaCha20Rng,
        mut reply: impl FnMut(&Contact) -> Option<Vec<Contact>>,
    ) -> Vec<Id> {
        let (mut now, mut asked, mut pending) = (at(0), Vec::new(), Vec::new());
        for _ in 0..10_000 {
            while let Some(output) = lookup.poll_output() {
                match output {
                    LookupOutput::Done => return asked,
                    LookupOutput::Ask(whom) => {
                        asked.push(whom.id);
                        pending.push((now + Duration::from_millis(rng.random_range(5..200)), whom));
                    }
                }
            }
            assert!(lookup.in_flight() <= lookup.at_once);
            pending.sort();
            let timeout = lookup.poll_timeout().expect("it is not over");
            if pending.first().is_none_or(|(due, _)| *due > timeout) {
                now = timeout;
                lookup.handle(now, LookupInput::Timeout);
                continue;
            }
            let (due, whom) = pending.remove(0);
            now = due;
            let from = whom.id;
            match reply(&whom) {
                Some(contacts) => lookup.handle(now, LookupInput::Answered { from, contacts, says_present: None }),
                None if rng.random() => lookup.handle(now, LookupInput::Failed { from }),
                None => (),
            }
        }
        panic!("a lookup does not end");
    }

    fn ids(contacts: &[Contact]) -> Vec<Id> {
        contacts.iter().map(|contact| contact.id).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn a_lookup_ends_asks_nobody_twice_and_finds_the_eight_closest_that_live(
            place in any::<[u8; 20]>(),
            seed in any::<u64>(),
            is_wide in any::<bool>(),
        ) {
            let (location, mut rng) = (Id(place), ChaCha20Rng::seed_from_u64(seed));
            let dead: BTreeSet<Id> = CONTACTS.iter().filter(|_| rng.random_bool(0.2)).map(|contact| contact.id).collect();
            let mut live: Vec<Contact> = CONTACTS.iter().filter(|contact| !dead.contains(&contact.id)).copied().collect();
            let start = (0..3).map(|_| live[rng.random_range(0..live.len())]).collect();
            let (at_once, times) = (if is_wide { SIGNERS } else { ALPHA }, (at(0), at(60_000)));
            let mut lookup = Lookup::new(location, ValueKind::Signed, None, start, PrefixRule::Distinct, at_once, times);
            let asked = run(&mut lookup, &mut rng, |whom| {
                (!dead.contains(&whom.id)).then(|| TABLES[&whom.id].closest(&location, BUCKET_SIZE))
            });
            prop_assert_eq!(asked.iter().collect::<BTreeSet<_>>().len(), asked.len());
            live.sort_by_key(|contact| contact.id.distance(&location));
            prop_assert_eq!(lookup.closest_answered(SIGNERS), live[..SIGNERS].to_vec());
        }

        /// Liars answer with ever nearer contacts; what they name answers with more, or never.
        #[test]
        fn liars_with_endless_nearer_contacts_neither_prolong_a_lookup_nor_hide_known_nodes(
            seed in any::<u64>(),
            liars in 0..SIGNERS,
            lies_answer in any::<bool>(),
            is_wide in any::<bool>(),
        ) {
            let mut rng = ChaCha20Rng::seed_from_u64(seed);
            let honest = nets(100..108);
            let mut lies = 0_u32;
            let mut lie = || {
                lies += 1;
                let [a, b, c, d] = (u32::MAX - lies).to_be_bytes();
                let mut id = [0; 20];
                id[1..5].copy_from_slice(&[a, b, c, d]);
                Contact { id: Id(id), link_key: DhKey([0; 32]), address: Address(([c, d, 1, 1], 1).into()) }
            };
            let mut lookup = started_with(honest.clone(), if is_wide { SIGNERS } else { ALPHA });
            let asked = run(&mut lookup, &mut rng, |whom| match honest.iter().position(|known| known == whom) {
                Some(at) if at >= liars => Some(Vec::new()),
                None if !lies_answer => None,
                _ => Some((0..BUCKET_SIZE).map(|_| lie()).collect()),
            });
            prop_assert!(asked.len() <= LOOKUP_ASKS_MAX && lookup.candidates.len() <= LOOKUP_CONTACTS_MAX);
            prop_assert_eq!(asked.iter().collect::<BTreeSet<_>>().len(), asked.len());
            // Where the lies answer, they are the closest live nodes, as far as anybody can tell: unlike the signers,
            // whom the client compares with its own members.
            if !lies_answer {
                prop_assert_eq!(lookup.closest_answered(SIGNERS), honest);
            } else if liars > 0 {
                prop_assert_eq!(asked.len(), LOOKUP_ASKS_MAX);
                prop_assert_eq!(lookup.candidates.len(), LOOKUP_CONTACTS_MAX);
                prop_assert!(honest.iter().all(|known| asked.contains(&known.id)));
            }
        }
    }

    #[test]
    fn three_are_asked_at_once_nearest_first_and_the_next_when_one_answers() {
        let mut lookup = started(nets(20..30));
        assert_eq!(asked(&mut lookup), [20, 21, 22]);
        answer(&mut lookup, at(1), 21, nets(15..16));
        assert_eq!(asked(&mut lookup), [15]);
        answer(&mut lookup, at(1), 21, nets(10..11));
        assert!(asked(&mut lookup).is_empty(), "it has answered already");
        lookup.handle(at(2), LookupInput::Failed { from: Id([22; 20]) });
        assert_eq!(asked(&mut lookup), [23]);
    }

    #[test]
    fn where_all_of_the_closest_must_answer_those_known_are_asked_at_once_and_hearsay_two_at_a_time() {
        let mut lookup = started_with(nets(20..40), SIGNERS);
        assert_eq!(asked(&mut lookup), [20, 21, 22, 23, 24, 25, 26, 27]);
        answer(&mut lookup, at(1), 20, nets(10..20));
        answer(&mut lookup, at(1), 21, nets(10..20));
        answer(&mut lookup, at(1), 22, nets(10..20));
        assert_eq!(asked(&mut lookup), [10, 11], "of hearsay two, though there is room for three");
        answer(&mut lookup, at(1), 10, Vec::new());
        assert_eq!(asked(&mut lookup), [12]);
    }

    #[test]
    fn inventions_that_fail_at_once_leave_questions_for_the_known_nodes() {
        let mut lookup = started(nets(100..108));
        assert_eq!(asked(&mut lookup), [100, 101, 102]);
        for (liar, lies) in [(100, 1..21), (101, 21..41), (102, 41..61)] {
            answer(&mut lookup, at(1), liar, nets(lies));
        }
        let mut invented = asked(&mut lookup);
        let mut failed = 0;
        while let Some(lie) = invented.get(failed).copied() {
            failed += 1;
            if lie < 100 {
                lookup.handle(at(1), LookupInput::Failed { from: Id([lie; 20]) });
                invented.extend(asked(&mut lookup));
            }
        }
        assert_eq!(invented.iter().filter(|place| **place < 100).count(), HEARSAY_ASKS_MAX);
        for known in 103..108 {
            invented.extend(asked(&mut lookup));
            assert!(invented.contains(&known), "{known} is asked");
            answer(&mut lookup, at(1), known, Vec::new());
        }
        assert_eq!(ids(&lookup.closest_answered(8)), ids(&nets(100..108)));
    }

    #[test]
    fn the_eight_closest_live_nodes_end_it() {
        let mut lookup = started(nets(20..40));
        for place in 20..28 {
            assert!(!lookup.is_done());
            answer(&mut lookup, at(1), place, Vec::new());
        }
        assert!(lookup.is_done());
        let last = core::iter::from_fn(|| lookup.poll_output()).last();
        assert_eq!((last, lookup.poll_timeout()), (Some(LookupOutput::Done), None));
        assert_eq!(ids(&lookup.closest_answered(99)), ids(&nets(20..28)));
        assert_eq!(started(Vec::new()).poll_output(), Some(LookupOutput::Done));
    }

    #[test]
    fn a_question_fails_at_its_deadline_and_the_answer_after_it_is_dropped() {
        let mut lookup = started(nets(20..24));
        assert_eq!(lookup.poll_timeout(), Some(at(0) + ASK_TIMEOUT));
        lookup.handle(Instant::from_micros((at(0) + ASK_TIMEOUT).as_micros() - 1), LookupInput::Timeout);
        assert_eq!(asked(&mut lookup), [20, 21, 22]);
        answer(&mut lookup, at(0) + ASK_TIMEOUT, 20, nets(10..12));
        assert_eq!(asked(&mut lookup), [23]);
        assert!(lookup.closest_answered(9).is_empty());
    }

    #[test]
    fn at_its_own_deadline_a_lookup_is_over_with_what_it_has() {
        let (rule, times) = (PrefixRule::Distinct, (at(0), at(500)));
        let mut lookup = Lookup::new(Id([0; 20]), ValueKind::Hashed, None, nets(20..24), rule, ALPHA, times);
        answer(&mut lookup, at(1), 20, Vec::new());
        assert_eq!(lookup.poll_timeout(), Some(at(500)));
        lookup.handle(at(500), LookupInput::Timeout);
        assert!(lookup.is_done());
        answer(&mut lookup, at(501), 21, Vec::new());
        assert_eq!(ids(&lookup.closest_answered(9)), [Id([20; 20])]);
    }

    #[test]
    fn the_node_itself_the_unasked_and_a_second_word_on_an_id_change_nothing() {
        let mut lookup = started(nets(20..23));
        let rebound = Contact { address: Address(([10, 99, 0, 1], 2).into()), ..contact(21, 21) };
        answer(&mut lookup, at(1), 77, nets(1..2));
        answer(&mut lookup, at(1), 20, vec![contact(9, 9), rebound]);
        assert_eq!(asked(&mut lookup), [20, 21, 22]);
        answer(&mut lookup, at(1), 21, Vec::new());
        assert_eq!(lookup.closest_answered(9)[1], contact(21, 21));
    }

    #[test]
    fn two_of_one_narrow_prefix_are_asked_and_no_third() {
        let mut lookup = started((20..30).map(|place| contact(place, 1)).collect());
        assert_eq!(asked(&mut lookup), [20, 21]);
        answer(&mut lookup, at(1), 20, Vec::new());
        answer(&mut lookup, at(1), 21, Vec::new());
        assert!(lookup.is_done());
    }

    #[test]
    fn an_answer_with_more_contacts_than_allowed_is_cut() {
        let mut lookup = started(nets(200..201));
        answer(&mut lookup, at(1), 200, nets(10..60));
        assert_eq!(lookup.candidates.len(), 1 + BUCKET_SIZE);
    }

    #[test]
    fn the_newest_claim_wins_and_of_equal_ones_the_nearest_claimant() {
        let mut lookup = started(nets(20..24));
        for (from, seq) in [(20, 1), (22, 5), (21, 5)] {
            let says_present = Some((seq, [0; 32]));
            lookup.handle(at(1), LookupInput::Answered { from: Id([from; 20]), contacts: Vec::new(), says_present });
        }
        assert_eq!(lookup.newest_present(), Some((contact(21, 21), (5, [0; 32]))));
    }
}
