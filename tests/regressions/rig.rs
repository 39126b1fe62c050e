//! One relay, a pure machine, with everybody else played by the test: what it sends and whom it dials is written down.

use std::collections::BTreeMap;
use std::sync::Arc;

use bauta::crypto::keys::{DhKey, NodeKey};
use bauta::crypto::puzzle::Solution;
use bauta::dht::repair::RepairTiming;
use bauta::dht::store::MemoryStore;
use bauta::membership::members::Members;
use bauta::membership::prefix_rule::PrefixRule;
use bauta::node::io::{Input, LinkId, Output, Peer};
use bauta::node::machine::Puzzles;
use bauta::node::{Effect, Relay, RelayConfig, work};
use bauta::onion::build;
use bauta::time::{Duration, Instant, Now, UnixTime};
use bauta::wire::address::Address;
use bauta::wire::cell::{Cell, CircuitId};
use bauta::wire::contact::Contact;
use bauta::wire::descriptor::VerifiedDescriptor;
use rand::SeedableRng;
use rand::rngs::ChaCha20Rng;

use super::relays::{ISSUED, described, identity, network, relay};

/// The relay that is looked at.
pub(super) const OWN: u32 = 3;
/// Things that it does for one input, at most: a guard against a test without end.
const EFFECTS_MAX: usize = 10_000;

/// Relays here have not paid for their puzzles.
struct Solved;

impl Puzzles for Solved {
    fn check(&self, _: &Solution, _: &[u8; 32], _: &NodeKey, _: u8) -> bool {
        true
    }
}

pub(super) struct Rig {
    pub(super) relay: Relay,
    store: MemoryStore,
    now: Instant,
    pub(super) sent: Vec<(LinkId, Cell)>,
    /// Every dial, in order; those before `connected` have come to their end.
    pub(super) dialled: Vec<(LinkId, DhKey, Address)>,
    connected: usize,
    /// Who is at the other end.
    pub(super) peers: BTreeMap<LinkId, u32>,
    pub(super) closed: Vec<LinkId>,
    rng: ChaCha20Rng,
    links: u64,
}

impl Rig {
    /// A relay that starts with these members.
    pub(super) fn new(seed: u64, members: impl IntoIterator<Item = VerifiedDescriptor>) -> Self {
        let own = described(OWN, [10, 3, 0, 1]);
        let mut stored = Members::default();
        stored.merge_all(members, ISSUED);
        let config = RelayConfig {
            network: network(),
            identity: Arc::new(identity(OWN)),
            solution: own.solution,
            link_key: own.link_key,
            address: own.address,
            family: [0; 8],
            bootstraps: [0, 1].map(|first| Contact::from(&relay(first))).to_vec(),
            stored,
            issued_before: 0,
            rule: PrefixRule::Distinct,
            repair: RepairTiming::default(),
            witness: false,
        };
        let now = Now { instant: Instant::ZERO, unix: ISSUED };
        let mut rig = Self {
            relay: Relay::new(config, ChaCha20Rng::seed_from_u64(seed), now),
            store: MemoryStore::new(64, 1 << 20),
            now: now.instant,
            sent: Vec::new(),
            dialled: Vec::new(),
            connected: 0,
            peers: BTreeMap::new(),
            closed: Vec::new(),
            rng: ChaCha20Rng::seed_from_u64(seed + 1),
            links: 0,
        };
        rig.drain();
        rig
    }

    pub(super) fn time(&self) -> Now {
        Now { instant: self.now, unix: UnixTime(ISSUED.0 + Instant::ZERO.until(self.now).as_secs()) }
    }

    fn drain(&mut self) {
        let now = self.time();
        for _ in 0..EFFECTS_MAX {
            let Some(effect) = self.relay.poll_effect() else { return };
            match effect {
                Effect::Store { id, op } => {
                    let result = self.store.apply(now.unix, op);
                    self.relay.handle_stored(now, id, result);
                }
                Effect::Work { id, job } => self.relay.handle_worked(now, id, work::run(job, &Solved, &mut self.rng)),
                Effect::Io(Output::Send { link, cell }) => self.sent.push((link, cell)),
                Effect::Io(Output::Dial { link, link_key, address }) => self.dialled.push((link, link_key, address)),
                Effect::Io(Output::Close { link, .. }) => self.closed.push(link),
                Effect::Io(Output::Descriptor(_)) | Effect::Event(_) => (),
            }
        }
        panic!("one input, and no end");
    }

    pub(super) fn handle(&mut self, input: Input) {
        self.relay.handle(self.time(), input);
        self.drain();
        for (name, len, max) in self.relay.sizes() {
            assert!(len <= max, "{name}: {len} of {max}");
        }
    }

    pub(super) fn cell(&mut self, link: LinkId, cell: Cell) {
        self.handle(Input::Cell { link, cell });
    }

    pub(super) fn wait(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(due) = self.relay.poll_timeout().filter(|due| *due <= end) {
            self.now = self.now.max(due);
            self.handle(Input::Timeout);
        }
        self.now = end;
    }

    fn up(&mut self, link: LinkId, peer: Option<VerifiedDescriptor>, dialled: bool) {
        let link_key = peer.as_ref().map_or(DhKey([7; 32]), |shown| shown.link_key);
        let address = relay(9).address;
        let address = peer.as_ref().map_or(address, |shown| shown.address);
        self.handle(Input::LinkUp { link, peer: Box::new(Peer { link_key, descriptor: peer, address, dialled }) });
    }

    /// A link that somebody dialled: a client, or the relay of this number.
    pub(super) fn accept(&mut self, number: Option<u32>) -> LinkId {
        self.links += 1;
        let link = LinkId(2 * self.links + 1);
        self.peers.extend(number.map(|number| (link, number)));
        self.up(link, number.map(relay), false);
        link
    }

    /// All dials that lead to one of these relays do.
    pub(super) fn connect(&mut self, numbers: core::ops::Range<u32>) {
        while let Some((link, key, _)) = self.dialled.get(self.connected).copied() {
            self.connected += 1;
            if let Some(number) = numbers.clone().find(|number| relay(*number).link_key == key) {
                self.peers.insert(link, number);
                self.up(link, Some(relay(number)), true);
            }
        }
    }

    /// A build packet for this relay and those behind it.
    pub(super) fn packet(&mut self, circuit: u32, behind: &[VerifiedDescriptor], request: &[u8]) -> Cell {
        let path: Vec<_> = core::iter::once(self.relay.descriptor()).chain(behind).cloned().collect();
        let built = build(&network(), &path, request, self.time().unix, &mut self.rng).expect("a packet");
        Cell::build(CircuitId(circuit), built.suite, built.hint, built.body)
    }
}
