//! Who is in the world: relays and clients are made, and start. It must not know what they do then.

use std::collections::BTreeMap;
use std::sync::Arc;

use rand::SeedableRng;
use rand::rngs::ChaCha20Rng;

use super::actor::{Actor, Identity, Mind, State};
use super::known::token_solution;
use super::{Knowing, Life, NodeNo, Repairs, World, index};
use crate::crypto::hash::blake3;
use crate::crypto::keys::{DhSecret, IdentitySecret, NodeKey};
use crate::crypto::puzzle::Solution;
use crate::dht::store::MemoryStore;
use crate::keyspace::Id;
use crate::limits::{MEMBERS_MAX, STAGGER_MAX, STORE_BYTES, STORE_VALUES};
use crate::membership::guards::Guards;
use crate::membership::members::Members;
use crate::membership::second_hops::SecondHops;
use crate::node::{ClientConfig, ClientNode, Kept, Relay, RelayConfig};
use crate::time::Instant;
use crate::wire::address::Address;

impl World {
    /// Adds a relay with an address of its own /16 as long as there are any; it does not run yet.
    pub fn add_relay(&mut self) -> NodeNo {
        let address = self.free_address();
        self.add_relay_at(address)
    }

    /// Adds a relay at this address.
    pub fn add_relay_at(&mut self, address: Address) -> NodeNo {
        let secret = IdentitySecret::generate(&mut self.rng);
        self.add_relay_as(address, secret, 0)
    }

    /// Adds a relay of this identity, whose puzzle is solved at this counter.
    pub fn add_relay_as(&mut self, address: Address, secret: IdentitySecret, counter: u32) -> NodeNo {
        let key = secret.public();
        let solution = token_solution(&key, counter);
        let link = DhSecret::generate(&mut self.rng);
        self.checks.relay_key(link.public());
        let no = self.add(address, Some(Identity { secret: Arc::new(secret), solution, link, issued: 0 }));
        self.by_key.insert(key, no);
        self.by_address.insert(address, no);
        no
    }

    /// The id that a relay of this key has with this counter: a Sybil tries many.
    #[must_use]
    pub fn id_of(key: &NodeKey, counter: u32) -> Id {
        token_solution(key, counter).id(key)
    }

    /// What solves the puzzle of a world for this key, at this counter.
    #[must_use]
    pub fn solution_of(key: &NodeKey, counter: u32) -> Solution {
        token_solution(key, counter)
    }

    /// Adds a client, behind an address that nobody can connect to; it does not run yet.
    pub fn add_client(&mut self) -> NodeNo {
        let address = self.free_address();
        self.add(address, None)
    }

    fn add(&mut self, address: Address, identity: Option<Identity>) -> NodeNo {
        let no = NodeNo(u32::try_from(self.actors.len()).unwrap_or(u32::MAX));
        self.actors.push(Actor {
            address,
            identity,
            state: State::Down,
            life: 0,
            mind: None,
            mask: None,
            store: MemoryStore::new(STORE_VALUES, STORE_BYTES),
            kept: Kept::default(),
            shown: None,
            links: BTreeMap::new(),
            next_accepted: 1,
            wake: None,
            rng: ChaCha20Rng::from_seed(blake3(&[&self.options.seed.to_le_bytes(), b"pool", &no.0.to_le_bytes()])),
            uplink_free: Instant::ZERO,
            skew_s: 0,
            group: 0,
            sent_frames: 0,
            links_most: 0,
            repaired: Repairs::default(),
        });
        no
    }

    /// An address whose /16 nobody has, for the first fifty thousand; then one whose /24 nobody has, mostly.
    #[must_use]
    pub fn free_address(&self) -> Address {
        let number = u32::try_from(self.actors.len()).unwrap_or(u32::MAX);
        // An odd factor: a permutation of the /16s.
        let wide = number.wrapping_mul(40_503) & 0xffff;
        let [high, low] = [(wide >> 8) & 0xff, wide & 0xff].map(|part| u8::try_from(part).unwrap_or(0));
        let [_, turn, third, fourth] = (number >> 16).wrapping_mul(7).wrapping_add(0x0001_0101).to_be_bytes();
        Address(([high, low, third.wrapping_add(turn), fourth], 7_000).into())
    }

    /// Starts all relays that do not run, each knowing all: as if they had run for long. Bootstraps are the first ones.
    pub fn start_all_knowing(&mut self) {
        let stopped: Vec<NodeNo> = self
            .relays()
            .into_iter()
            .filter(|no| self.actor(*no).is_some_and(|actor| actor.state != State::Up))
            .collect();
        // A relay's descriptor follows from its seed: made once to be told of, and once more to run with what all told.
        let told: Vec<_> = stopped.iter().filter_map(|no| self.make_relay(*no, Members::new(MEMBERS_MAX))).collect();
        let mut members = self.members();
        let unix = self.unix();
        for relay in &told {
            members.merge(relay.descriptor().clone(), unix);
        }
        drop(told);
        for no in stopped {
            self.start_relay(no, members.clone());
        }
    }

    /// Starts a relay that knows its bootstraps alone, or nothing more than what its disk has.
    pub fn start_relay(&mut self, no: NodeNo, stored: Members) {
        if let Some(relay) = self.make_relay(no, stored)
            && let Some(actor) = self.actors.get_mut(index(no))
        {
            actor.life += 1;
            actor.state = State::Up;
            actor.mind = Some(Mind::Relay(Box::new(relay)));
            self.settle(no);
        }
    }

    fn make_relay(&self, no: NodeNo, stored: Members) -> Option<Relay> {
        let actor = self.actor(no)?;
        let identity = actor.identity.as_ref()?;
        let config = RelayConfig {
            network: self.network,
            identity: Arc::clone(&identity.secret),
            solution: identity.solution,
            link_key: identity.link.public(),
            address: actor.address,
            family: [0; 8],
            bootstraps: self.bootstraps(),
            stored,
            issued_before: identity.issued,
            rule: self.options.rule,
            repair: self.options.repair,
            witness: true,
        };
        Some(Relay::new(config, self.seeded(no, actor.life), self.now_of(actor)))
    }

    /// Starts a client with what it has from an earlier run.
    pub fn start_client(&mut self, no: NodeNo, knowing: Knowing<'_>) {
        let rule = self.options.rule;
        let mut rng = self.seeded(no, u32::MAX);
        let unix = self.unix();
        let Some(actor) = self.actors.get_mut(index(no)) else { return };
        let (sampled, stored) = match knowing {
            Knowing::Nothing => (None, None),
            Knowing::Guards(members) => (Some(members), None),
            Knowing::All(members) => (Some(members), Some(members)),
        };
        if let Some(members) = sampled.filter(|_| actor.kept.guards.guards.is_empty()) {
            let mut guards = Guards::new(actor.kept.guards.clone());
            guards.fill(members, rule, unix, &[], &mut rng);
            let mut hops = SecondHops::new(actor.kept.second_hops.clone());
            hops.refill(members, rule, unix, &guards.ordered(), &[], &mut rng);
            actor.kept = Kept { guards: guards.state(), second_hops: hops.state() };
        }
        let config = ClientConfig {
            network: self.network,
            kept: actor.kept.clone(),
            bootstraps: self.bootstraps(),
            hops: self.options.hops,
            rule,
            stagger: STAGGER_MAX,
            ours: Vec::new(),
            stored: stored.cloned().unwrap_or_else(|| Members::new(MEMBERS_MAX)),
            witness: true,
        };
        let Some(actor) = self.actor(no) else { return };
        let client = ClientNode::new(config, self.seeded(no, actor.life), self.now_of(actor));
        if let Some(actor) = self.actors.get_mut(index(no)) {
            actor.life += 1;
            actor.state = State::Up;
            actor.mind = Some(Mind::Client(Box::new(client)));
            self.settle(no);
        }
    }

    fn seeded(&self, no: NodeNo, life: Life) -> ChaCha20Rng {
        let seed = [&self.options.seed.to_le_bytes()[..], b"node", &no.0.to_le_bytes(), &life.to_le_bytes()];
        ChaCha20Rng::from_seed(blake3(&seed))
    }
}
