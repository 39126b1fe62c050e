//! What one value at one place costs its writer, and what was paid for it. It solves nothing: it says what is to be solved.
//! Source: spec/dht.md §8.3.

use crate::crypto::storage_puzzle::StoragePuzzle;
use crate::dht::effort::effort_at;
use crate::dht::receipts::Receipts;
use crate::keyspace::Location;
use crate::membership::members::Members;
use crate::time::UnixTime;
use crate::wire::network::Network;
use crate::wire::payment::Payment;
use crate::wire::record::ValueKind;

/// By what a price is found: nothing that any client has alone.
pub struct Terms<'a> {
    /// The network.
    pub network: &'a Network,
    /// What bootstraps agree on: signers that an exit has introduced set no price.
    pub members: &'a Members,
    /// The client's clock.
    pub now: UnixTime,
}

/// For one value at one place.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Price {
    /// The effort that holders asked for when they had declined; it is followed once.
    named: Option<u8>,
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
        let effort = effort_at(terms.members, kind, &location).max(self.named.unwrap_or(0));
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

    /// Holders have answered: what they ask for is paid for the next circuit, if it is more than was paid, and once.
    pub(super) fn on_answer(&mut self, receipts: &Receipts) {
        let paid = self.payment.map_or(0, |payment| payment.effort);
        if self.named.is_none() {
            self.named = receipts.effort_wanted().filter(|wanted| *wanted > paid);
        }
    }
}
