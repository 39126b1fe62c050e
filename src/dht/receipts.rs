//! What a client makes of the receipts for a value that it stored: how many holders, by the members that it knows itself.
//! Source: spec/evidence.md §4.

use std::collections::BTreeMap;

use super::effort::enough_for;
use super::evidence::Added;
use super::lookup::Claim;
use super::neighbourhood::Neighbourhood;
use crate::crypto::keys::NodeKey;
use crate::keyspace::Location;
use crate::limits::{EFFORT_MAX, EXPIRY_MAX_S, EXPIRY_STEP_S, RECEIPT_SIGNERS_REACH};
use crate::membership::members::Members;
use crate::time::UnixTime;
use crate::wire::network::Network;
use crate::wire::record::ValueKind;
use crate::wire::statement::{Operation, Question, Statement, Verdict};

/// The receipts for one value at one location, over all answers of one operation.
#[derive(Debug)]
pub struct Receipts {
    kind: ValueKind,
    neighbourhood: Neighbourhood,
    value: Claim,
    answers: BTreeMap<NodeKey, StoreAnswer>,
}

/// What a signer said last.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum StoreAnswer {
    Stored,
    Conflict(Claim),
    Full,
    /// It asks for this effort.
    Unpaid(u8),
    Refused,
}

impl Receipts {
    /// Begins with the members that the client knows before it stores the value of this sequence number and digest.
    #[must_use]
    pub fn new(kind: ValueKind, location: Location, value: Claim, members: &Members) -> Self {
        Self {
            kind,
            // Never all of the holders: an exit could have invented them.
            neighbourhood: Neighbourhood::new(location, members, kind.holders() / 2),
            value,
            answers: BTreeMap::new(),
        }
    }

    /// Takes the answer of one exit to one store. What a signer says last holds.
    pub fn add(
        &mut self,
        network: &Network,
        question: &Question,
        statements: &[Statement],
        members: &Members,
        now: UnixTime,
    ) -> Added {
        let awaited = (members, RECEIPT_SIGNERS_REACH);
        let mut valid = 0;
        if question.operation == Operation::Store {
            for statement in self.neighbourhood.believed(network, question, statements, awaited, now) {
                if let Some(answer) = self.answer(statement, now) {
                    self.answers.insert(statement.signer, answer);
                    valid += 1;
                }
            }
        }
        Added { valid, refused: statements.len() - valid }
    }

    /// Holders that keep this very value by their signed word.
    #[must_use]
    pub fn stored(&self) -> usize {
        self.count(|answer| answer == StoreAnswer::Stored)
    }

    /// Holders that there can be: [`ValueKind::holders`], or fewer where fewer members are known.
    #[must_use]
    pub fn wanted(&self, members: &Members) -> usize {
        self.neighbourhood.closest(members, self.kind.holders(), |_| false).len()
    }

    /// Holders that keep another value instead.
    #[must_use]
    pub fn conflicts(&self) -> usize {
        self.conflicting().count()
    }

    /// The newest value that is kept instead, if it is newer than the one to store.
    #[must_use]
    pub fn newer(&self) -> Option<Claim> {
        self.newest_conflict().filter(|held| *held > self.value)
    }

    /// The newest value that is kept instead, newer or only not the expected one; seq 0 for none held at all.
    #[must_use]
    pub fn newest_conflict(&self) -> Option<Claim> {
        self.conflicting().max()
    }

    /// Members that have no room.
    #[must_use]
    pub fn full(&self) -> usize {
        self.count(|answer| answer == StoreAnswer::Full)
    }

    /// The least effort with which those that ask for more would be enough, with those that keep it; where too few have answered, the
    /// least that any of them asks for. `None` where nobody asks.
    #[must_use]
    pub fn effort_wanted(&self) -> Option<u8> {
        let efforts: Vec<u8> = self.answers.values().filter_map(|answer| answer.effort()).collect();
        let least = efforts.iter().copied().min();
        enough_for(efforts, self.kind.priced_for().saturating_sub(self.stored())).or(least)
    }

    /// Where it was stored.
    #[must_use]
    pub fn location(&self) -> Location {
        self.neighbourhood.location()
    }

    /// What the statement says of a store of this value; `None` when it is about something else.
    fn answer(&self, statement: &Statement, now: UnixTime) -> Option<StoreAnswer> {
        let about = (statement.seq, statement.digest);
        match statement.verdict {
            Verdict::Stored if self.is_covered_by(about, now) => Some(StoreAnswer::Stored),
            // The very chunk, until before what was asked for: whoever handed it on has shortened its time. Or until after what anybody
            // may keep it for, which is no storer's word either.
            Verdict::Stored if self.kind == ValueKind::Hashed && about.1 == self.value.1 => Some(StoreAnswer::Refused),
            Verdict::Conflict if about != self.value => Some(StoreAnswer::Conflict(about)),
            Verdict::Full => Some(StoreAnswer::Full),
            // Off the ladder it asks for what nobody can pay.
            Verdict::Unpaid => {
                let effort = u8::try_from(statement.seq).ok().filter(|effort| (1..=EFFORT_MAX).contains(effort));
                Some(effort.map_or(StoreAnswer::Refused, StoreAnswer::Unpaid))
            }
            Verdict::NotCloseEnough | Verdict::Invalid => Some(StoreAnswer::Refused),
            Verdict::Stored | Verdict::Conflict | Verdict::Absent | Verdict::Present => None,
        }
    }

    /// A record is this very one; of a chunk the step at which it ends may be later, for whoever holds it longer keeps it so.
    fn is_covered_by(&self, (seq, digest): Claim, now: UnixTime) -> bool {
        let last = now.0.saturating_add(EXPIRY_MAX_S) / EXPIRY_STEP_S;
        let is_longer = self.kind == ValueKind::Hashed && seq > self.value.0 && seq <= last;
        digest == self.value.1 && (seq == self.value.0 || is_longer)
    }

    fn conflicting(&self) -> impl Iterator<Item = Claim> {
        self.answers.values().filter_map(|answer| match answer {
            StoreAnswer::Conflict(held) => Some(*held),
            StoreAnswer::Stored | StoreAnswer::Full | StoreAnswer::Unpaid(_) | StoreAnswer::Refused => None,
        })
    }

    fn count(&self, which: impl Fn(StoreAnswer) -> bool) -> usize {
        self.answers.values().filter(|answer| which(**answer)).count()
    }
}

impl StoreAnswer {
    fn effort(self) -> Option<u8> {
        match self {
            Self::Unpaid(effort) => Some(effort),
            Self::Stored | Self::Conflict(_) | Self::Full | Self::Refused => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keyspace::Id;
    use crate::limits::{HOLDERS, RECEIPT_NEWCOMERS_MAX};
    use crate::membership::fixture::{ISSUED, members_of, network, relay, secret};
    use crate::wire::statement::{Nonce, Saying};

    const LOCATION: Location = Id([0x33; 20]);
    const VALUE: Claim = (7, [7; 32]);

    fn nearest_of(relays: u32) -> Vec<u32> {
        let mut numbers: Vec<u32> = (0..relays).collect();
        numbers.sort_by_key(|number| relay(*number).id().distance(&LOCATION));
        numbers
    }

    fn question(operation: Operation) -> Question {
        Question { nonce: Nonce([1; 16]), operation, location: LOCATION }
    }

    fn said(number: u32, verdict: Verdict, (seq, digest): Claim) -> Statement {
        let saying = Saying { verdict, seq, digest, relays_estimate: 30 };
        Statement::sign(&network(), &secret(number), &question(Operation::Store), &saying, ISSUED)
    }

    fn added(receipts: &mut Receipts, members: &Members, statements: &[Statement]) -> Added {
        receipts.add(&network(), &question(Operation::Store), statements, members, ISSUED)
    }

    fn check(name: &str, statements: impl FnOnce(&[u32]) -> Vec<Statement>, stored: usize) {
        let (members, near) = (members_of((0..60).map(relay)), nearest_of(60));
        let mut receipts = Receipts::new(ValueKind::Signed, LOCATION, VALUE, &members);
        added(&mut receipts, &members, &statements(&near));
        assert_eq!((receipts.stored(), receipts.wanted(&members)), (stored, HOLDERS), "{name}");
    }

    fn stored(numbers: &[u32]) -> Vec<Statement> {
        numbers.iter().map(|number| said(*number, Verdict::Stored, VALUE)).collect()
    }

    // [EVID-R-016] [EVID-R-017] [EVID-R-018]
    #[test]
    fn receipts_count_by_distinct_members_near_the_location_for_this_very_value() {
        check("the five closest", |near| stored(&near[..5]), 5);
        check("the dead shift the set outwards", |near| stored(&near[3..8]), 5);
        check("members whom no reader asks", |near| stored(&near[8..13]), 0);
        check("one signer twice", |near| stored(&[near[0], near[0]]), 1);
        check("strangers", |_| stored(&[998, 999]), 0);
        check("another value", |near| vec![said(near[0], Verdict::Stored, (7, [8; 32]))], 0);
        check("an answer to a find", |near| vec![said(near[0], Verdict::Present, VALUE)], 0);
        check(
            "a forged one",
            |near| {
                let mut forged = stored(&near[..1]);
                forged[0].signature.0[3] ^= 1;
                forged
            },
            0,
        );
    }

    // [EVID-R-016] [EVID-R-017]
    #[test]
    fn of_a_chunk_a_receipt_counts_when_it_is_kept_until_the_step_asked_for_or_later() {
        let (members, near) = (members_of((0..60).map(relay)), nearest_of(60));
        let digest = VALUE.1;
        let until = |step: u64| {
            near[..2].iter().map(|number| said(*number, Verdict::Stored, (step, digest))).collect::<Vec<_>>()
        };
        let last = (ISSUED.0 + EXPIRY_MAX_S) / EXPIRY_STEP_S;
        let steps = [(VALUE.0 - 1, 0), (0, 0), (VALUE.0, 2), (VALUE.0 + 1, 2), (last, 2), (last + 1, 0), (u64::MAX, 0)];
        for (step, stored) in steps {
            let mut receipts = Receipts::new(ValueKind::Hashed, LOCATION, VALUE, &members);
            added(&mut receipts, &members, &until(step));
            assert_eq!(receipts.stored(), stored, "{step}");
        }
        // What is said last holds: one that has given up the later copy does not keep it as long as was asked.
        let mut receipts = Receipts::new(ValueKind::Hashed, LOCATION, VALUE, &members);
        added(&mut receipts, &members, &until(VALUE.0));
        added(&mut receipts, &members, &until(VALUE.0 - 1));
        assert_eq!(receipts.stored(), 0);
        // Of a record the number is its own: a later one is another value.
        check("a record of a later number", |near| vec![said(near[0], Verdict::Stored, (VALUE.0 + 1, digest))], 0);
    }

    // [EVID-R-016]
    #[test]
    fn receipts_signed_for_a_find_do_not_count() {
        let (members, near) = (members_of((0..60).map(relay)), nearest_of(60));
        let mut receipts = Receipts::new(ValueKind::Signed, LOCATION, VALUE, &members);
        let saying = Saying { verdict: Verdict::Stored, seq: VALUE.0, digest: VALUE.1, relays_estimate: 1 };
        let find = question(Operation::Find);
        let statement = Statement::sign(&network(), &secret(near[0]), &find, &saying, ISSUED);
        let refused = Added { valid: 0, refused: 1 };
        assert_eq!(receipts.add(&network(), &find, core::slice::from_ref(&statement), &members, ISSUED), refused);
        assert_eq!(added(&mut receipts, &members, &[statement]), refused);
    }

    #[test]
    fn a_newer_value_held_elsewhere_is_reported_and_an_older_one_only_as_a_conflict() {
        let (members, near) = (members_of((0..60).map(relay)), nearest_of(60));
        for (held, newer) in [((9, [1; 32]), true), ((3, [1; 32]), false)] {
            let mut receipts = Receipts::new(ValueKind::Signed, LOCATION, VALUE, &members);
            added(
                &mut receipts,
                &members,
                &[said(near[0], Verdict::Conflict, held), said(near[1], Verdict::Full, VALUE)],
            );
            assert_eq!((receipts.conflicts(), receipts.full(), receipts.stored()), (1, 1, 0));
            assert_eq!(receipts.newest_conflict(), Some(held));
            assert_eq!(receipts.newer(), newer.then_some(held));
        }
    }

    // [EVID-R-017]
    #[test]
    fn what_a_signer_says_last_holds() {
        let (members, near) = (members_of((0..60).map(relay)), nearest_of(60));
        let mut receipts = Receipts::new(ValueKind::Signed, LOCATION, VALUE, &members);
        added(&mut receipts, &members, &[said(near[0], Verdict::Full, VALUE)]);
        added(&mut receipts, &members, &stored(&near[..1]));
        assert_eq!((receipts.stored(), receipts.full()), (1, 0));
        added(&mut receipts, &members, &[said(near[0], Verdict::Conflict, (9, [1; 32]))]);
        assert_eq!((receipts.stored(), receipts.conflicts()), (0, 1));
    }

    // [DHT-W-044]
    #[test]
    fn the_effort_that_is_wanted_is_the_least_with_which_there_are_holders_enough() {
        let (members, near) = (members_of((0..60).map(relay)), nearest_of(60));
        let asks = |at: usize, effort: u64| said(near[at], Verdict::Unpaid, (effort, [0; 32]));
        let keeps = |at: usize| said(near[at], Verdict::Stored, VALUE);
        for (statements, wanted) in [
            (vec![keeps(0)], None),
            (vec![asks(0, 1), asks(1, 1), asks(2, 1), asks(3, 1), asks(4, 1), asks(5, 3)], Some(1)),
            (vec![asks(0, 3), asks(1, 2), asks(2, 2)], Some(2)),
            (vec![keeps(0), keeps(1), keeps(2), asks(3, 3), asks(4, 1), asks(5, 2)], Some(2)),
            (vec![asks(0, 0), asks(1, u64::from(EFFORT_MAX) + 1), asks(2, u64::MAX)], None),
            (vec![said(near[20], Verdict::Unpaid, (3, [0; 32]))], None),
        ] {
            let mut receipts = Receipts::new(ValueKind::Signed, LOCATION, VALUE, &members);
            added(&mut receipts, &members, &statements);
            assert_eq!(receipts.effort_wanted(), wanted, "{statements:?}");
        }
    }

    // [EVID-R-007]
    #[test]
    fn relays_that_an_exit_introduces_are_never_all_the_holders() {
        let near = nearest_of(60);
        let mut members = members_of(near[10..].iter().map(|number| relay(*number)));
        let mut receipts = Receipts::new(ValueKind::Signed, LOCATION, VALUE, &members);
        for number in &near[..10] {
            members.merge(relay(*number), ISSUED);
        }
        added(&mut receipts, &members, &stored(&near[..10]));
        assert_eq!(receipts.stored(), RECEIPT_NEWCOMERS_MAX);
    }

    #[test]
    fn in_a_small_network_fewer_holders_are_wanted() {
        let members = members_of((0..3).map(relay));
        assert_eq!(Receipts::new(ValueKind::Signed, LOCATION, VALUE, &members).wanted(&members), 3);
    }
}
