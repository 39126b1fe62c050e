//! Lookups that a relay makes at its operator's wish, under its own name: nobody is hidden by them. It must not know clients;
//! an exit's errands are `exit.rs`. Source: spec/dht.md §6.

use super::exit::ErrandOwner;
use super::{Relay, RelayEvent};
use crate::crypto::random_bytes;
use crate::dht::errand::{Purpose, Report};
use crate::keyspace::Location;
use crate::limits::OWN_LOOKUPS_MAX;
use crate::time::Now;
use crate::wire::record::ValueKind;
use crate::wire::statement::{Nonce, Operation, Question, Statement};

/// Whether the relay is about to end.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) enum Drain {
    #[default]
    No,
    Draining,
    Told,
}

/// What a relay's operator asks of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum RelayCommand {
    /// Look a location up, as an exit does. The nodes that are asked see this relay; an operator who wants to know something for
    /// itself uses a client. Ends in [`RelayEvent::Looked`].
    Look {
        /// Its number, the operator's choice.
        id: u64,
        /// Where.
        location: Location,
        /// What.
        kind: ValueKind,
    },
    /// Take no new circuits, and tell once those that there are have ended: [`RelayEvent::Drained`]. There is no way back.
    Drain,
}

/// What came of [`RelayCommand::Look`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Looked {
    /// What the nodes were asked, for whoever checks what they said.
    pub question: Question,
    /// The sequence number of a value that was found and checked; 0 for hashed ones.
    pub seq: Option<u64>,
    /// What the closest nodes said, closest first. Nobody has checked them.
    pub statements: Vec<Statement>,
}

impl Relay {
    /// Takes a command.
    pub fn handle_command(&mut self, now: Now, command: RelayCommand) {
        match command {
            RelayCommand::Look { id, location, kind } => self.look(now, id, (location, kind)),
            RelayCommand::Drain => self.drain = Drain::Draining,
        }
        self.handle_time(now);
    }

    fn look(&mut self, now: Now, id: u64, (location, kind): (Location, ValueKind)) {
        if self.errands.of_operator() >= OWN_LOOKUPS_MAX {
            self.effects.event(RelayEvent::Looked { id, looked: None });
        } else {
            let question = Question { nonce: Nonce(random_bytes(&mut self.rng)), operation: Operation::Find, location };
            let owner = ErrandOwner::Operator(id, question);
            self.begin_errand(now, owner, (location, kind), question.nonce, Purpose::Find { digest: None });
        }
    }

    /// Whoever builds a circuit now takes another relay; cells of those that are open go on.
    pub(super) fn takes_circuits(&self) -> bool {
        self.drain == Drain::No
    }

    pub(super) fn tell_drained(&mut self) {
        if self.drain == Drain::Draining && self.circuits.is_empty() {
            self.drain = Drain::Told;
            self.effects.event(RelayEvent::Drained);
        }
    }

    pub(super) fn tell_looked(&mut self, id: u64, question: Question, report: Report) {
        let seq = report.value.map(|value| value.seq());
        let looked = Some(Looked { question, seq, statements: report.statements });
        self.effects.event(RelayEvent::Looked { id, looked });
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rand::SeedableRng;
    use rand::rngs::ChaCha20Rng;

    use super::*;
    use crate::crypto::keys::DhKey;
    use crate::crypto::puzzle::Solution;
    use crate::dht::repair::RepairTiming;
    use crate::keyspace::Id;
    use crate::limits::EXIT_TIMEOUT;
    use crate::membership::fixture::{ISSUED, network, relay, secret};
    use crate::membership::members::Members;
    use crate::membership::prefix_rule::PrefixRule;
    use crate::node::effects::Effect;
    use crate::node::io::{Input, LinkId, Output, Peer};
    use crate::node::relay::RelayConfig;
    use crate::time::Instant;
    use crate::wire::cell::{Cell, CircuitId, Command};

    const START: Now = Now { instant: Instant::ZERO, unix: ISSUED };

    fn started() -> Relay {
        started_with(Members::default())
    }

    fn started_with(stored: Members) -> Relay {
        let own = relay(1);
        let config = RelayConfig {
            network: network(),
            identity: Arc::new(secret(1)),
            solution: Solution { counter: 0, y: [0; 32] },
            link_key: own.link_key,
            address: own.address,
            family: [0; 8],
            bootstraps: Vec::new(),
            stored,
            issued_before: 0,
            rule: PrefixRule::Distinct,
            repair: RepairTiming::default(),
            witness: false,
        };
        Relay::new(config, ChaCha20Rng::seed_from_u64(1), START)
    }

    fn told(relay: &mut Relay) -> Vec<(u64, Option<Looked>)> {
        let effects = core::iter::from_fn(|| relay.poll_effect());
        effects
            .filter_map(|effect| match effect {
                Effect::Event(RelayEvent::Looked { id, looked }) => Some((id, looked)),
                _ => None,
            })
            .collect()
    }

    #[test]
    fn a_relay_that_starts_with_a_membership_is_as_if_it_had_been_told_of_it_and_leaves_that_of_others_alone() {
        let mut stored = Members::default();
        stored.merge_all((2..40).map(crate::membership::fixture::relay), ISSUED);
        let (mut with, mut told_of) = (started_with(stored.clone()), started());
        told_of.on_descriptors(START, stored.iter().cloned().collect());
        assert!(with.members.iter().eq(told_of.members.iter()));
        assert_eq!((with.members.len(), stored.len()), (39, 38), "itself too");
        let last_count = |relay: &mut Relay| {
            let counts = core::iter::from_fn(|| relay.poll_effect()).filter_map(|effect| match effect {
                Effect::Event(RelayEvent::Members(count)) => Some(count),
                _ => None,
            });
            counts.last()
        };
        assert_eq!((last_count(&mut with), last_count(&mut told_of)), (Some(39), Some(39)));
    }

    #[test]
    fn lookups_of_the_operator_are_capped_and_each_ends_by_an_exits_time() {
        let mut relay = started();
        let look = |id| RelayCommand::Look { id, location: Id([7; 20]), kind: ValueKind::Signed };
        let most = u64::try_from(OWN_LOOKUPS_MAX).unwrap();
        (0..most).for_each(|id| relay.handle_command(START, look(id)));
        assert_eq!(told(&mut relay), []);
        relay.handle_command(START, look(most));
        assert_eq!(told(&mut relay), [(most, None)]);
        // Its own store is never answered here, so that each lookup waits to its end.
        relay.handle(Now { instant: Instant::ZERO + EXIT_TIMEOUT, unix: ISSUED }, Input::Timeout);
        let ended = told(&mut relay);
        assert!(ended.len() == OWN_LOOKUPS_MAX && ended.iter().all(|(_, looked)| looked.is_some()));
        relay.handle_command(START, look(0));
        assert_eq!(told(&mut relay), [], "there is room again");
    }

    #[test]
    fn a_relay_that_drains_takes_no_circuit_and_tells_when_the_last_has_ended() {
        let mut relay = started();
        let (link, address) = (LinkId(1), super::super::Address("127.9.0.1:9".parse().unwrap()));
        let peer = Peer { link_key: DhKey([9; 32]), descriptor: None, address, dialled: false };
        relay.handle(START, Input::LinkUp { link, peer: Box::new(peer) });
        let send = |relay: &mut Relay, circuit, command| {
            relay.handle(START, Input::Cell { link, cell: Cell::new(CircuitId(circuit), command) });
            let effects: Vec<_> = core::iter::from_fn(|| relay.poll_effect()).collect();
            let is_destroy = |effect: &Effect<RelayEvent>| match effect {
                Effect::Io(Output::Send { cell, .. }) => cell.command() == Command::Destroy,
                _ => false,
            };
            let is_drained = |effect: &Effect<RelayEvent>| matches!(effect, Effect::Event(RelayEvent::Drained));
            (effects.iter().any(is_destroy), effects.iter().any(is_drained))
        };
        let first = 0x8000_0001;
        assert_eq!(send(&mut relay, first, Command::Build), (false, false));
        relay.handle_command(START, RelayCommand::Drain);
        assert_eq!(send(&mut relay, first + 1, Command::Build), (true, false), "refused, while one is open");
        assert!(send(&mut relay, first, Command::Destroy).1);
        assert_eq!(send(&mut relay, first + 2, Command::Build), (true, false), "told once");
    }
}
