//! What one value at one place costs its writer, and what was paid for it. It solves nothing: it says what is to be solved.
//! Source: spec/dht.md §8.3.

use super::Refused;
use crate::crypto::storage_puzzle::StoragePuzzle;
use crate::dht::effort::{ToldEfforts, effort_at};
use crate::dht::receipts::Receipts;
use crate::keyspace::Location;
use crate::membership::members::Members;
use crate::time::UnixTime;
use crate::wire::network::Network;
use crate::wire::payment::Payment;
use crate::wire::record::ValueKind;

/// Why nobody keeps what was to be stored, by the signed word of those who declined: work first, for who does it may find room.
pub(super) fn declined<'a>(receipts: impl Iterator<Item = &'a Receipts>) -> Option<Refused> {
    let found = receipts
        .map(|one| (one.effort_wanted(), one.full() > 0))
        .reduce(|one, other| (one.0.max(other.0), one.1 || other.1));
    match found? {
        (Some(effort), _) => Some(Refused::Unpaid { effort }),
        (None, is_full) => is_full.then_some(Refused::Full),
    }
}

/// By what a price is found: nothing that any client has alone.
pub struct Terms<'a> {
    /// The network.
    pub network: &'a Network,
    /// What bootstraps agree on: signers that an exit has introduced set no price.
    pub members: &'a Members,
    /// What relays ask for by the word of others, where their own is newer.
    pub told: &'a ToldEfforts,
    /// The client's clock.
    pub now: UnixTime,
}

/// For one value at one place.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Price {
    /// The greatest effort that holders were found to ask for when they had declined.
    named: u8,
    payment: Option<Payment>,
}

impl Price {
    /// What is to be solved now; `None` where nothing is asked, or what was paid still counts.
    pub(super) fn puzzle(
        &self,
        terms: &Terms<'_>,
        kind: ValueKind,
        location: Location,
        digest: [u8; 32],
    ) -> Option<StoragePuzzle> {
        let effort = effort_at(terms.members, terms.told, kind, &location).max(self.named);
        let is_paid = |paid: &Payment| paid.effort >= effort && paid.is_timely(terms.now);
        if effort == 0 || self.payment.as_ref().is_some_and(is_paid) {
            return None;
        }
        let payment = Payment { effort, hour: Payment::hour_at(terms.now), counter: 0 };
        Some(payment.puzzle(terms.network, location, digest))
    }

    pub(super) fn payment(&self) -> Option<Payment> {
        self.payment
    }

    pub(super) fn on_paid(&mut self, payment: Payment) {
        self.payment = Some(payment);
    }

    /// Holders have answered: what they ask for is paid for the next circuit. It never falls, so that there are no more puzzles than
    /// steps.
    pub(super) fn on_answer(&mut self, receipts: &Receipts) {
        self.named = self.named.max(receipts.effort_wanted().unwrap_or(0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keyspace::Id;
    use crate::membership::fixture::{ISSUED, members_of, network, relay, secret};
    use crate::wire::statement::{Nonce, Operation, Question, Saying, Statement, Verdict};

    #[test]
    fn what_holders_ask_for_when_they_decline_is_followed_as_far_as_later_answers_raise_it() {
        let (location, digest) = (Id([0x33; 20]), [7; 32]);
        let mut near: Vec<u32> = (0..60).collect();
        near.sort_by_key(|number| relay(*number).id().distance(&location));
        let (network, members) = (network(), members_of((0..60).map(relay)));
        let terms = Terms { network: &network, members: &members, told: &ToldEfforts::default(), now: ISSUED };
        let question = Question { nonce: Nonce([1; 16]), operation: Operation::Store, location };
        let mut receipts = Receipts::new(ValueKind::Signed, location, (7, digest), &members);
        let mut price = Price::default();
        let mut asked = |price: &mut Price, answers: &[(usize, u8)]| {
            let statement = |(rank, effort): &(usize, u8)| {
                // Of whom no effort is named, it keeps the value.
                let verdict = if *effort == 0 { Verdict::Stored } else { Verdict::Unpaid };
                let seq = if *effort == 0 { 7 } else { u64::from(*effort) };
                let digest = if *effort == 0 { digest } else { [0; 32] };
                let saying = Saying { verdict, seq, digest, relays_estimate: 60 };
                Statement::sign(&network, &secret(near[*rank]), &question, &saying, ISSUED)
            };
            let statements: Vec<Statement> = answers.iter().map(statement).collect();
            assert_eq!(receipts.add(&network, &question, &statements, &members, ISSUED).refused, 0);
            price.on_answer(&receipts);
            let puzzle = price.puzzle(&terms, ValueKind::Signed, location, digest);
            let effort = puzzle.map(|puzzle| puzzle.effort);
            if let Some(effort) = effort {
                price.on_paid(Payment { effort, hour: Payment::hour_at(ISSUED), counter: 0 });
            }
            effort
        };
        // Too few have answered: one that asks for the most is not followed while another asks for less.
        assert_eq!(asked(&mut price, &[(0, 1), (1, 3)]), Some(1));
        assert_eq!(asked(&mut price, &[(0, 0)]), Some(3), "it alone is left, and was not paid");
        assert_eq!(asked(&mut price, &[(2, 1), (3, 2)]), None, "what was paid is enough for them");
        assert_eq!(asked(&mut price, &[]), None);
    }
}
