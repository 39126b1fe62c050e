//! The errands of a relay, by number, by the circuit that waits for them, and by when they want to hear of the time.
//! Knows nothing of what an errand does. Source: spec/requests.md.

use std::collections::{BTreeMap, BTreeSet};

use super::exit::ErrandOwner;
use crate::dht::errand::Errand;
use crate::limits::{BATCH_CHUNKS, EXIT_OPERATIONS_MAX, OWN_LOOKUPS_MAX};
use crate::node::circuits::CircuitNo;
use crate::node::deadlines::Deadlines;
use crate::node::sizes::TableSize;
use crate::time::Instant;

/// All of them.
#[derive(Default)]
pub(super) struct Errands {
    all: BTreeMap<u64, (ErrandOwner, Errand)>,
    of_circuit: BTreeSet<(CircuitNo, u64)>,
    times: Deadlines<u64>,
}

impl Errands {
    pub(super) fn sizes(&self) -> [TableSize; 3] {
        let all = self.all.len();
        [
            ("errands", all, EXIT_OPERATIONS_MAX * BATCH_CHUNKS + OWN_LOOKUPS_MAX),
            ("errands of circuits", self.of_circuit.len(), all),
            ("deadlines of errands", self.times.len(), all),
        ]
    }

    pub(super) fn insert(&mut self, id: u64, owner: ErrandOwner, errand: Errand) {
        if let Some(circuit) = owner.circuit() {
            self.of_circuit.insert((circuit, id));
        }
        self.times.set(id, errand.poll_timeout());
        self.all.insert(id, (owner, errand));
    }

    /// An errand to work on; [`Self::note_time`] is due when that is done.
    pub(super) fn get_mut(&mut self, id: u64) -> Option<(ErrandOwner, &mut Errand)> {
        self.all.get_mut(&id).map(|(owner, errand)| (*owner, errand))
    }

    /// Looks when this errand now wants to hear of the time.
    pub(super) fn note_time(&mut self, id: u64) {
        self.times.set(id, self.all.get(&id).and_then(|(_, errand)| errand.poll_timeout()));
    }

    pub(super) fn remove(&mut self, id: u64) {
        self.times.remove(&id);
        if let Some(circuit) = self.all.remove(&id).and_then(|(owner, _)| owner.circuit()) {
            self.of_circuit.remove(&(circuit, id));
        }
    }

    /// Forgets what nobody waits for any more.
    pub(super) fn remove_of(&mut self, circuit: CircuitNo) {
        let ended: Vec<u64> =
            self.of_circuit.extract_if((circuit, 0)..=(circuit, u64::MAX), |_| true).map(|(_, id)| id).collect();
        for id in ended {
            self.remove(id);
        }
    }

    /// How many wait for their operator.
    pub(super) fn of_operator(&self) -> usize {
        self.all.len() - self.of_circuit.len()
    }

    pub(super) fn due(&self, now: Instant) -> Vec<u64> {
        self.times.due(now)
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.times.next()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dht::errand::Purpose;
    use crate::keyspace::Id;
    use crate::limits::EXIT_TIMEOUT;
    use crate::membership::prefix_rule::PrefixRule;
    use crate::time::Duration;
    use crate::wire::record::ValueKind;
    use crate::wire::statement::{Nonce, Operation, Question};

    #[test]
    fn errands_leave_with_their_circuit_alone_and_what_is_due_is_what_a_look_at_all_finds() {
        let mut errands = Errands::default();
        let nonce = Nonce([1; 16]);
        let question = Question { nonce, operation: Operation::Find, location: Id([1; 20]) };
        for id in 0..30_u64 {
            let owner = match id % 3 {
                0 => ErrandOwner::Operator(id, question),
                part => ErrandOwner::Slot(CircuitNo(part), 0),
            };
            let deadline = Instant::from_micros((30 - id) * 1_000);
            let purpose = Purpose::Find { digest: None };
            let times = (Instant::ZERO, deadline);
            let (kind, rule) = (ValueKind::Signed, PrefixRule::Distinct);
            errands.insert(id, owner, Errand::new(Id([1; 20]), kind, nonce, purpose, Vec::new(), rule, times));
        }
        let check = |errands: &Errands| {
            let times = || errands.all.iter().filter_map(|(id, (_, errand))| Some((*id, errand.poll_timeout()?)));
            assert_eq!(errands.poll_timeout(), times().map(|(_, at)| at).min());
            for millis in 0..40 {
                let now = Instant::ZERO + Duration::from_millis(millis);
                let due: Vec<u64> = times().filter(|(_, at)| *at <= now).map(|(id, _)| id).collect();
                assert_eq!(errands.due(now), due);
            }
            let slots = errands.all.values().filter(|(owner, _)| owner.circuit().is_some()).count();
            assert_eq!((errands.of_circuit.len(), errands.of_operator()), (slots, errands.all.len() - slots));
        };
        check(&errands);
        errands.remove_of(CircuitNo(2));
        assert_eq!(errands.all.len(), 20);
        check(&errands);
        for id in [0, 1, 1] {
            errands.remove(id);
            check(&errands);
        }
        let (_, errand) = errands.get_mut(4).unwrap();
        errand.handle(Instant::ZERO + EXIT_TIMEOUT, crate::dht::errand::ErrandInput::Timeout);
        errands.note_time(4);
        check(&errands);
    }
}
