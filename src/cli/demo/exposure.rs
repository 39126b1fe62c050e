//! Who saw what in the demo, from what every node noted itself; and whether that is as little as promised.

use std::collections::{BTreeMap, BTreeSet};

use super::Check;
use crate::cli::local::LocalNetwork;
use crate::client::Client;
use crate::crypto::keys::{DhKey, NodeKey};
use crate::keyspace::Location;
use crate::membership::prefix_rule::PrefixRule;
use crate::node::Sight;
use crate::wire::contact::Contact;

/// What one relay saw.
#[derive(Clone, Default)]
pub(super) struct Saw {
    /// Links to clients: it knows their addresses.
    pub(super) clients: usize,
    /// Circuits that it passed on, cells of one size, content and ends unknown.
    pub(super) passed: usize,
    /// Requests that came out of the onion here.
    pub(super) exited: usize,
    /// Finds and stores that other relays asked of it.
    pub(super) asked: usize,
    /// Locations that it can name from the last two.
    pub(super) locations: BTreeSet<Location>,
    /// Encrypted values that it holds.
    pub(super) values: usize,
    /// Whether it still runs.
    pub(super) runs: bool,
    /// Whether a request or question came to it straight from a client: must never be.
    pub(super) joined: bool,
}

/// What a client did.
pub(super) struct Did {
    pub(super) paths: Vec<Vec<Contact>>,
    pub(super) peers: BTreeSet<NodeKey>,
    pub(super) guards: Vec<NodeKey>,
    /// Guards that it may have met: those, and the ones before them in its ordered sample.
    reached: Vec<NodeKey>,
}

/// All of it.
pub(super) struct Exposure {
    pub(super) relays: Vec<Saw>,
    pub(super) clients: Vec<Did>,
    asked_by_others: bool,
    complete: bool,
}

impl Exposure {
    /// Collects what all nodes noted.
    pub(super) fn gather(network: &LocalNetwork, clients: Vec<Did>) -> Self {
        let link_keys: BTreeMap<DhKey, NodeKey> =
            network.relays.iter().map(|relay| (relay.contact.link_key, relay.key)).collect();
        let all: Vec<(NodeKey, Vec<Sight>)> = network.relays.iter().map(|relay| (relay.key, relay.sights())).collect();
        // A holder that looks after its copies asks other holders in its own name, for no client.
        let askers: BTreeSet<(NodeKey, Location)> = all
            .iter()
            .flat_map(|(key, sights)| sights.iter().map(move |sight| (key, sight)))
            .filter_map(|(key, sight)| match sight {
                Sight::Exited { location, .. } | Sight::Repairs { location } => Some((*key, *location)),
                _ => None,
            })
            .collect();
        let asked_by_others = all.iter().flat_map(|(_, sights)| sights).any(|sight| match sight {
            Sight::Asked { relay, location, .. } => relay.is_none_or(|relay| !askers.contains(&(relay, *location))),
            _ => false,
        });
        let relays = network
            .relays
            .iter()
            .zip(&all)
            .map(|(relay, (_, sights))| {
                let mut saw = Saw { values: relay.values(), runs: relay.is_running(), ..Saw::default() };
                sights.iter().for_each(|sight| saw.note(sight, &link_keys));
                saw
            })
            .collect();
        let lost = network.relays.iter().filter_map(|relay| relay.control()).any(|control| control.events_lost() > 0);
        Self { relays, clients, asked_by_others, complete: !lost }
    }

    /// What must hold of them.
    pub(super) fn checks(&self, network: &LocalNetwork) -> Vec<Check> {
        let bootstraps: BTreeSet<NodeKey> =
            network.relays.iter().take(network.bootstraps().len()).map(|r| r.key).collect();
        let mut paths = self.clients.iter().flat_map(|client| &client.paths);
        let peers_fit =
            |did: &Did| did.peers.iter().all(|peer| bootstraps.contains(peer) || did.reached.contains(peer));
        let was_asked = self.relays.iter().any(|saw| saw.asked > 0) && self.relays.iter().any(|saw| saw.exited > 0);
        vec![
            Check {
                what: "every path had three distinct hops in different /16s",
                held: paths.all(|path| is_strong(path, network.rule))
                    && self.clients.iter().all(|c| !c.paths.is_empty()),
            },
            Check {
                what: "each client met nobody but bootstraps and its guard, or the guard's confirmed replacement",
                held: self.clients.iter().all(|did| !did.guards.is_empty() && peers_fit(did)),
            },
            Check {
                what: "every find and store reached a storer from an exit, or another holder",
                held: !self.asked_by_others && was_asked,
            },
            Check {
                what: "no request came straight from a client: nobody can join who asked and what for",
                held: self.relays.iter().all(|saw| !saw.joined),
            },
            Check { what: "nothing that a node noted was lost", held: self.complete },
        ]
    }
}

impl Saw {
    fn note(&mut self, sight: &Sight, relays: &BTreeMap<DhKey, NodeKey>) {
        match sight {
            Sight::Link { relay, .. } => self.clients += usize::from(relay.is_none()),
            Sight::Passed { .. } => self.passed += 1,
            Sight::Exited { from, location, .. } => {
                self.exited += 1;
                self.locations.insert(*location);
                self.joined |= !relays.contains_key(from);
            }
            Sight::Repairs { location } => drop(self.locations.insert(*location)),
            Sight::Asked { from, relay, location, .. } => {
                self.asked += 1;
                self.locations.insert(*location);
                self.joined |= relay.is_none() || !relays.contains_key(from);
            }
        }
    }
}

impl Did {
    pub(super) fn of(client: &Client) -> Self {
        let peer = |sight: &Sight| match sight {
            Sight::Link { relay, .. } => *relay,
            _ => None,
        };
        let peers = client.sights().iter().filter_map(peer).collect();
        Self { paths: client.paths(), peers, guards: client.guards_used(), reached: guards_reached(client) }
    }
}

/// The ordered sample as far as it was gone through: a guard that answered and was stopped before its turn came was met too.
fn guards_reached(client: &Client) -> Vec<NodeKey> {
    let (used, mut sample) = (client.guards_used(), client.guard_sample());
    let reached = sample.iter().rposition(|guard| used.contains(guard)).map_or(0, |last| last + 1);
    sample.truncate(reached);
    sample.extend(used);
    sample
}

fn is_strong(path: &[Contact], rule: PrefixRule) -> bool {
    let ids: BTreeSet<_> = path.iter().map(|hop| hop.id).collect();
    let prefixes: BTreeSet<_> = path.iter().map(|hop| hop.address.wide_prefix()).collect();
    path.len() == 3 && ids.len() == 3 && (prefixes.len() == 3 || rule == PrefixRule::RelaxedForOneHost)
}
