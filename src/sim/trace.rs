//! Lookups put together from what all nodes saw: who asked, over which relays, when at each, and what for. Circuits are followed by
//! their numbers on links, which both ends know. It must not know what anybody makes of it.

use std::collections::BTreeMap;

use super::meter::{Hop, Lookup};
use super::world::{NodeNo, World};
use crate::crypto::keys::DhKey;
use crate::keyspace::Location;
use crate::limits::{EXIT_TIMEOUT, HOPS_MAX};
use crate::node::Sight;
use crate::time::Instant;
use crate::wire::address::Address;
use crate::wire::cell::CircuitId;

/// A circuit that a relay passed on.
struct Passed {
    from: DhKey,
    inward: CircuitId,
    came: Instant,
    left: Instant,
}

/// A request that came out of the onion.
struct Exited {
    at: Instant,
    exit: NodeNo,
    from: DhKey,
    inward: CircuitId,
    location: Location,
    is_store: bool,
}

/// What was seen so far.
#[derive(Default)]
pub struct Trace {
    /// Link keys of relays.
    keys: BTreeMap<NodeNo, DhKey>,
    relays: BTreeMap<DhKey, NodeNo>,
    addresses: BTreeMap<Address, NodeNo>,
    /// Clients have a new key for each link.
    clients: BTreeMap<DhKey, NodeNo>,
    /// By relay, the next one and the circuit's number between them.
    passed: BTreeMap<(NodeNo, DhKey, CircuitId), Passed>,
    exited: Vec<Exited>,
    /// By exit and location.
    asked: BTreeMap<(NodeNo, Location), Vec<(Instant, NodeNo)>>,
}

impl Trace {
    /// A trace of these clients, over the relays that run.
    #[must_use]
    pub fn of(world: &World, clients: &[NodeNo]) -> Self {
        let key = |no: NodeNo| Some((no, world.descriptor_of(no)?.link_key));
        let keys: BTreeMap<NodeNo, DhKey> = world.relays().into_iter().filter_map(key).collect();
        let relays = keys.iter().map(|(no, key)| (*key, *no)).collect();
        let addresses = clients.iter().filter_map(|no| Some((world.address_of(*no)?, *no))).collect();
        Self { keys, relays, addresses, ..Self::default() }
    }

    /// Takes in what nodes saw since it was last asked; unless it is wanted only who is who.
    pub fn take(&mut self, world: &mut World, wanted: bool) {
        for (at, node, sight) in world.take_sights() {
            match sight {
                Sight::Link { address, key, relay: None } => {
                    self.clients.extend(self.addresses.get(&address).map(|client| (key, *client)));
                }
                // Copies between holders are no lookups: the asker is no exit.
                Sight::Link { .. } | Sight::Repairs { .. } => (),
                _ if !wanted => (),
                Sight::Passed { from, to, inward, outward, came } => {
                    self.passed.insert((node, to, outward), Passed { from, inward, came, left: at });
                }
                Sight::Exited { from, inward, location, is_store } => {
                    self.exited.push(Exited { at, exit: node, from, inward, location, is_store });
                }
                Sight::Asked { relay, location, .. } => {
                    if let Some(exit) = relay.and_then(|relay| world.by_key(&relay)) {
                        self.asked.entry((exit, location)).or_default().push((at, node));
                    }
                }
            }
        }
    }

    /// Requests that came out at exits.
    #[must_use]
    pub fn exited(&self) -> usize {
        self.exited.len()
    }

    /// Their lookups, with numbers for places.
    #[must_use]
    pub fn lookups(&self) -> Vec<Lookup> {
        let mut places = BTreeMap::new();
        let lookup = |exited: &Exited| {
            let number = u32::try_from(places.len()).unwrap_or(u32::MAX);
            let location = *places.entry(exited.location).or_insert(number);
            self.lookup(exited, location)
        };
        self.exited.iter().filter_map(lookup).collect()
    }

    /// Back from the exit to the client.
    fn lookup(&self, exited: &Exited, location: u32) -> Option<Lookup> {
        let at = seconds(exited.at);
        let mut hops = vec![Hop { relay: exited.exit.0, came: at, left: at }];
        let (mut here, mut from, mut inward) = (exited.exit, exited.from, exited.inward);
        for _ in 0..HOPS_MAX {
            if let Some(client) = self.clients.get(&from) {
                hops.reverse();
                let asked = self.asked(exited);
                return Some(Lookup { client: client.0, location, is_store: exited.is_store, hops, asked });
            }
            let before = *self.relays.get(&from)?;
            let passed = self.passed.get(&(before, *self.keys.get(&here)?, inward))?;
            hops.push(Hop { relay: before.0, came: seconds(passed.came), left: seconds(passed.left) });
            (here, from, inward) = (before, passed.from, passed.inward);
        }
        None
    }

    /// Each storer once, when first asked.
    fn asked(&self, exited: &Exited) -> Vec<(u32, f64)> {
        let until = exited.at + EXIT_TIMEOUT;
        let asked = self.asked.get(&(exited.exit, exited.location)).into_iter().flatten();
        let mut first = BTreeMap::new();
        for (at, storer) in asked.filter(|(at, _)| (exited.at..=until).contains(at)) {
            first.entry(storer.0).or_insert(seconds(*at));
        }
        first.into_iter().collect()
    }
}

fn seconds(at: Instant) -> f64 {
    Instant::ZERO.until(at).as_secs_f64()
}
