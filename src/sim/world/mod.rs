//! The virtual-time world: many real nodes, one clock, one seeded generator. It hands inputs to machines, does what they want, and
//! tells its owner what they said. It must not know scenarios, and has no rules of the protocol. Source: spec/simulation.md.

mod actor;
pub mod behaviour;
mod checks;
pub mod draw;
mod faults;
mod known;
mod log;
mod pipe;
mod queue;
#[cfg(test)]
mod tests;
mod wires;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use rand::SeedableRng;
use rand::rngs::ChaCha20Rng;

use self::actor::{Actor, Did, Identity, Mind, State, Told};
pub use self::behaviour::Mask;
pub use self::checks::{Breach, Checks, Sizes};
pub use self::faults::{BREAK_WITHIN, Faults};
use self::known::{Known, token_solution};
pub use self::log::Log;
use self::pipe::Pipes;
use self::queue::{Event, Queue};
use super::internet::Internet;
use crate::crypto::hash::blake3;
use crate::crypto::keys::{DhSecret, IdentitySecret, NodeKey};
use crate::dht::store::MemoryStore;
use crate::keyspace::Id;
use crate::limits::{HOPS_CLIENT_MIN, LINK_SILENCE_MAX, MEMBERS_MAX, STAGGER_MAX, STORE_BYTES_MAX, STORE_VALUES_MAX};
use crate::link::{DownReason, Timing};
use crate::membership::guards::Guards;
use crate::membership::members::Members;
use crate::membership::prefix_rule::PrefixRule;
use crate::membership::second_hops::SecondHops;
use crate::node::io::Input;
use crate::node::{
    ClientCommand, ClientConfig, ClientEvent, ClientNode, Effect, Kept, Relay, RelayCommand, RelayConfig, RelayEvent,
    Sight,
};
use crate::record::VerifiedValue;
use crate::time::{Duration, Instant, Now, UnixTime};
use crate::wire::address::Address;
use crate::wire::contact::Contact;
use crate::wire::descriptor::VerifiedDescriptor;
use crate::wire::network::Network;

/// Where the wall clock of a world begins.
pub const START: UnixTime = UnixTime(1_800_000_000);
/// Jobs, store operations and steps that one input of a node may cause; more would be an endless loop.
const EFFECTS_MAX: usize = 4_000_000;

/// A node of the world.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct NodeNo(pub u32);

/// How often a node was started.
pub(super) type Life = u32;
/// Nodes on the same side of a partition.
pub type Group = u8;

/// Whether links are encrypted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ciphers {
    /// By real link machines, every frame.
    Real,
    /// Cells pass as they are, in as many frames at the same times; who is at the other end is the world's word.
    Tokens,
}

/// What a world is made of.
#[derive(Clone, Debug)]
pub struct Options {
    /// Everything random follows from it.
    pub seed: u64,
    /// Whether links are encrypted.
    pub ciphers: Ciphers,
    /// Latency and bandwidth.
    pub internet: Internet,
    /// Whether nodes tell what they see.
    pub witness: bool,
    /// Deadlines of real links.
    pub timing: Timing,
    /// Hops of clients' paths.
    pub hops: usize,
    /// How many bootstraps nodes are configured with: the first relays.
    pub bootstraps: usize,
    /// Whether addresses keep nodes apart.
    pub rule: PrefixRule,
}

impl Options {
    /// A world of this seed and internet, with tokens for links.
    #[must_use]
    pub fn new(seed: u64, internet: Internet) -> Self {
        Self {
            seed,
            ciphers: Ciphers::Tokens,
            internet,
            witness: false,
            timing: Timing::default(),
            hops: HOPS_CLIENT_MIN,
            bootstraps: 5,
            rule: PrefixRule::Distinct,
        }
    }
}

/// How a node stops.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stop {
    /// The process ends: who is linked to it learns at once, who dials it is refused.
    Crash,
    /// The host is gone: nobody learns, and dials wait.
    Silent,
}

/// What a node said.
#[derive(Debug)]
pub enum Said {
    /// A client.
    Client(ClientEvent),
    /// A relay.
    Relay(RelayEvent),
}

/// Something that a node said.
#[derive(Debug)]
pub struct Heard {
    /// When.
    pub at: Instant,
    /// Which.
    pub node: NodeNo,
    /// What.
    pub said: Said,
}

/// What was counted over a run.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counts {
    /// Events of the queue.
    pub events: u64,
    /// Frames sent, handshakes among them.
    pub frames: u64,
    /// Frames that carried a part of a question or an answer.
    pub ask_frames: u64,
    /// Dials.
    pub dials: u64,
    /// Of them, those that failed.
    pub dials_failed: u64,
}

/// The world.
pub struct World {
    options: Options,
    network: Network,
    now: Instant,
    queue: Queue,
    actors: Vec<Actor>,
    by_address: BTreeMap<Address, NodeNo>,
    by_key: BTreeMap<NodeKey, NodeNo>,
    pipes: Pipes,
    known: Known,
    /// The faults in force.
    pub faults: Faults,
    rng: ChaCha20Rng,
    heard: VecDeque<Heard>,
    /// What nodes saw, as long as nobody takes it.
    sights: Vec<(Instant, NodeNo, Sight)>,
    /// The checks that are always on.
    pub checks: Checks,
    counts: Counts,
    log: Log,
}

impl World {
    /// An empty world.
    #[must_use]
    pub fn new(options: Options) -> Self {
        let network = Network::named("bauta sim", 0);
        Self {
            rng: ChaCha20Rng::seed_from_u64(options.seed),
            options,
            network,
            now: Instant::ZERO,
            queue: Queue::default(),
            actors: Vec::new(),
            by_address: BTreeMap::new(),
            by_key: BTreeMap::new(),
            pipes: Pipes::default(),
            known: Known::default(),
            faults: Faults::default(),
            heard: VecDeque::new(),
            sights: Vec::new(),
            checks: Checks::default(),
            counts: Counts::default(),
            log: Log::default(),
        }
    }

    /// The time.
    #[must_use]
    pub fn now(&self) -> Instant {
        self.now
    }

    /// The time by the wall.
    #[must_use]
    pub fn unix(&self) -> UnixTime {
        UnixTime(START.0 + self.now.as_micros() / 1_000_000)
    }

    /// The network of all its nodes.
    #[must_use]
    pub fn network(&self) -> Network {
        self.network
    }

    /// What was counted.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Hash of everything that nodes were told, and when.
    #[must_use]
    pub fn digest(&self) -> u64 {
        self.log.digest()
    }

    /// The generator of the world, for a scenario's own draws.
    pub fn rng(&mut self) -> &mut ChaCha20Rng {
        &mut self.rng
    }

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
            store: MemoryStore::new(STORE_VALUES_MAX, STORE_BYTES_MAX),
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
        });
        no
    }

    /// An address whose /16 nobody has, for the first fifty thousand; then one whose /24 nobody has, mostly.
    fn free_address(&self) -> Address {
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
            issued_before: identity.issued,
            rule: self.options.rule,
            witness: self.options.witness,
        };
        Some(Relay::new(config, self.seeded(no, actor.life), self.now_of(actor)))
    }

    /// Starts a client; with `knowing` it has a sample of guards and a membership from before, as after a first run.
    pub fn start_client(&mut self, no: NodeNo, knowing: Option<&Members>) {
        let rule = self.options.rule;
        let mut rng = self.seeded(no, u32::MAX);
        let unix = self.unix();
        let Some(actor) = self.actors.get_mut(index(no)) else { return };
        if let Some(members) = knowing.filter(|_| actor.kept.guards.guards.is_empty()) {
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
            stored: knowing.into_iter().flat_map(|members| members.iter().cloned()).collect(),
            witness: self.options.witness,
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

    /// Ends a node's process or host; with the disk what it stored goes too.
    pub fn stop(&mut self, no: NodeNo, how: Stop, keeps_disk: bool) {
        let Some(actor) = self.actors.get_mut(index(no)) else { return };
        actor.state = if how == Stop::Crash { State::Down } else { State::Silent };
        actor.mind = None;
        actor.shown = None;
        actor.wake = None;
        let links = core::mem::take(&mut actor.links);
        if !keeps_disk {
            actor.store = MemoryStore::new(STORE_VALUES_MAX, STORE_BYTES_MAX);
        }
        for (pipe, side) in links.into_values() {
            self.leave(pipe, side, how);
        }
    }

    /// Everything until then, or until a node says something.
    pub fn run(&mut self, until: Instant) -> Option<Heard> {
        loop {
            if let Some(heard) = self.heard.pop_front() {
                return Some(heard);
            }
            let Some((at, event)) = self.queue.next_by(until) else {
                self.now = self.now.max(until);
                return None;
            };
            self.now = self.now.max(at);
            self.counts.events += 1;
            self.happen(event);
        }
    }

    /// Runs for so long; what nodes say meanwhile is thrown away.
    pub fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        while self.run(until).is_some() {}
    }

    /// Gives a client a command.
    pub fn command(&mut self, no: NodeNo, command: ClientCommand) {
        self.tell(no, Told::Client(command));
    }

    /// Gives a relay a command.
    pub fn command_relay(&mut self, no: NodeNo, command: RelayCommand) {
        self.tell(no, Told::Relay(command));
    }

    /// Puts a behaviour around a relay.
    pub fn mask(&mut self, no: NodeNo, mask: Box<dyn Mask>) {
        if let Some(actor) = self.actors.get_mut(index(no)) {
            actor.mask = Some(mask);
        }
    }

    /// Puts a node on a side of partitions.
    pub fn set_group(&mut self, no: NodeNo, group: Group) {
        if let Some(actor) = self.actors.get_mut(index(no)) {
            actor.group = group;
        }
    }

    /// Sets a node's wall clock wrong by so many seconds.
    pub fn set_skew(&mut self, no: NodeNo, seconds: i64) {
        if let Some(actor) = self.actors.get_mut(index(no)) {
            actor.skew_s = seconds;
        }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Wake { node, life } => {
                let now = self.now;
                let Some(actor) = self.actors.get_mut(index(node)) else { return };
                if actor.life == life && actor.wake.is_some_and(|at| at <= now) {
                    actor.wake = None;
                    self.tell(node, Told::Io(Input::Timeout));
                }
            }
            Event::DialFailed { node, life, link, reason } => {
                if self.actor(node).is_some_and(|actor| actor.life == life) {
                    self.counts.dials_failed += 1;
                    self.tell(node, Told::Io(Input::LinkDown { link, reason }));
                }
            }
            Event::Connected { pipe } => self.on_connected(pipe),
            Event::Frame { pipe, to, frame } => self.on_frame(pipe, to, frame),
            Event::Down { pipe, to, reason } => self.on_down(pipe, to, reason),
            Event::Silence { pipe, to } => self.on_silence(pipe, to),
            Event::Break { pipe } => self.break_link(pipe),
            Event::LinkTimer { pipe, side } => self.on_link_timer(pipe, side),
        }
    }

    /// Hands a node what it is told, and does what it wants.
    fn tell(&mut self, no: NodeNo, told: Told) {
        let at = self.now;
        let Some(actor) = self.actors.get_mut(index(no)) else { return };
        let now = now_of(at, actor);
        let told = match (told, &mut actor.mask) {
            (Told::Io(input), Some(mask)) => match mask.hear(now, input) {
                Some(input) => Told::Io(input),
                None => return,
            },
            (told, _) => told,
        };
        if let Told::Io(input) = &told {
            self.log.input(at, no.0, input);
        }
        let Some(mind) = actor.mind.as_mut() else { return };
        mind.handle(now, told);
        self.settle(no);
    }

    /// Does everything that a node wants, and what follows from it.
    fn settle(&mut self, no: NodeNo) {
        let Some(mut mind) = self.actors.get_mut(index(no)).and_then(|actor| actor.mind.take()) else { return };
        let life = self.actor(no).map_or(0, |actor| actor.life);
        for _ in 0..EFFECTS_MAX {
            let Some(did) = mind.poll() else { break };
            self.effect(no, did, &mut mind);
        }
        let wanted = mind.poll_timeout();
        let Some(actor) = self.actors.get_mut(index(no)) else { return };
        actor.mind = Some(mind);
        if let Some(at) = wanted.filter(|at| actor.wake.is_none_or(|planned| *at < planned)) {
            let at = at.max(self.now);
            actor.wake = Some(at);
            self.queue.plan(at, Event::Wake { node: no, life });
        }
    }

    fn effect(&mut self, no: NodeNo, did: Did, mind: &mut Mind) {
        let at = self.now;
        let Some(actor) = self.actors.get_mut(index(no)) else { return };
        let now = now_of(at, actor);
        match did {
            Did::Relay(Effect::Io(output)) | Did::Client(Effect::Io(output)) => {
                let mut said = Vec::new();
                match &mut actor.mask {
                    Some(mask) => mask.say(now, output, &mut said),
                    None => said.push(output),
                }
                said.into_iter().for_each(|output| self.act(no, output, mind));
            }
            Did::Relay(Effect::Store { id, op }) | Did::Client(Effect::Store { id, op }) => {
                let result = actor.apply(now, op);
                mind.handle_stored(now, id, result);
            }
            Did::Relay(Effect::Work { id, job }) | Did::Client(Effect::Work { id, job }) => {
                let done = self.known.work(job, &mut actor.rng);
                mind.handle_worked(now, id, done);
            }
            Did::Relay(Effect::Event(event)) => self.on_relay_event(no, event),
            Did::Client(Effect::Event(event)) => self.on_client_event(no, now, event, mind),
        }
    }

    fn on_relay_event(&mut self, no: NodeNo, event: RelayEvent) {
        match event {
            RelayEvent::Sight(sight) => self.on_sight(no, sight),
            RelayEvent::Issued(number) => {
                let actor = self.actors.get_mut(index(no));
                if let Some(identity) = actor.and_then(|actor| actor.identity.as_mut()) {
                    identity.issued = number;
                }
            }
            RelayEvent::Members(_) => (),
            event => self.heard.push_back(Heard { at: self.now, node: no, said: Said::Relay(event) }),
        }
    }

    fn on_client_event(&mut self, no: NodeNo, now: Now, event: ClientEvent, mind: &mut Mind) {
        match event {
            ClientEvent::Sight(sight) => self.on_sight(no, sight),
            ClientEvent::Keep(kept) => {
                if let Some(actor) = self.actors.get_mut(index(no)) {
                    actor.kept = kept;
                }
                mind.handle(now, Told::Client(ClientCommand::Kept(None)));
            }
            event => self.heard.push_back(Heard { at: self.now, node: no, said: Said::Client(event) }),
        }
    }

    fn on_sight(&mut self, no: NodeNo, sight: Sight) {
        self.checks.sight(no, &sight);
        self.sights.push((self.now, no, sight));
    }

    /// What nodes saw since this was last asked.
    pub fn take_sights(&mut self) -> Vec<(Instant, NodeNo, Sight)> {
        core::mem::take(&mut self.sights)
    }

    // ---- looking ----

    fn actor(&self, no: NodeNo) -> Option<&Actor> {
        self.actors.get(index(no))
    }

    fn now_of(&self, actor: &Actor) -> Now {
        now_of(self.now, actor)
    }

    /// All relays, running or not.
    #[must_use]
    pub fn relays(&self) -> Vec<NodeNo> {
        let numbered = (0..).map(NodeNo).zip(&self.actors);
        numbered.filter(|(_, actor)| actor.is_relay()).map(|(no, _)| no).collect()
    }

    /// Whether a node runs.
    #[must_use]
    pub fn is_up(&self, no: NodeNo) -> bool {
        self.actor(no).is_some_and(|actor| actor.state == State::Up)
    }

    /// The key of a relay.
    #[must_use]
    pub fn key_of(&self, no: NodeNo) -> Option<NodeKey> {
        self.actor(no)?.key()
    }

    /// The relay of a key.
    #[must_use]
    pub fn by_key(&self, key: &NodeKey) -> Option<NodeNo> {
        self.by_key.get(key).copied()
    }

    /// A node's address.
    #[must_use]
    pub fn address_of(&self, no: NodeNo) -> Option<Address> {
        self.actor(no).map(|actor| actor.address)
    }

    /// The descriptor that a running relay shows.
    #[must_use]
    pub fn descriptor_of(&self, no: NodeNo) -> Option<&VerifiedDescriptor> {
        self.actor(no)?.shown.as_ref()
    }

    /// What a relay holds.
    pub fn held(&self, no: NodeNo) -> impl Iterator<Item = &VerifiedValue> {
        self.actor(no).into_iter().flat_map(|actor| actor.store.iter())
    }

    /// Frames that a node has sent, handshakes among them.
    #[must_use]
    pub fn frames_sent(&self, no: NodeNo) -> u64 {
        self.actor(no).map_or(0, |actor| actor.sent_frames)
    }

    /// Links that a node has open.
    #[must_use]
    pub fn links_of(&self, no: NodeNo) -> usize {
        self.actor(no).map_or(0, |actor| actor.links.len())
    }

    /// What a client keeps on disk.
    #[must_use]
    pub fn kept_of(&self, no: NodeNo) -> Option<&Kept> {
        self.actor(no).map(|actor| &actor.kept)
    }

    /// All running relays, as whoever knows all of them knows them.
    #[must_use]
    pub fn members(&self) -> Members {
        let mut members = Members::new(MEMBERS_MAX).with_rule(self.options.rule);
        let unix = self.unix();
        for shown in self.actors.iter().filter_map(|actor| actor.shown.clone()) {
            members.merge(shown, unix);
        }
        members
    }

    /// The contacts of the bootstraps.
    #[must_use]
    pub fn bootstraps(&self) -> Vec<Contact> {
        let relays = self.actors.iter().filter_map(|actor| actor.identity.as_ref().map(|identity| (actor, identity)));
        let first = relays.take(self.options.bootstraps);
        first
            .map(|(actor, identity)| Contact {
                id: identity.solution.id(&identity.secret.public()),
                link_key: identity.link.public(),
                address: actor.address,
            })
            .collect()
    }

    /// Events that are planned, and connections that are open.
    #[must_use]
    pub fn load(&self) -> (usize, usize) {
        (self.queue.len(), self.pipes.len())
    }
}

fn now_of(at: Instant, actor: &Actor) -> Now {
    let unix = START.0 + at.as_micros() / 1_000_000;
    Now { instant: at, unix: UnixTime(unix.saturating_add_signed(actor.skew_s)) }
}

fn index(no: NodeNo) -> usize {
    usize::try_from(no.0).unwrap_or(usize::MAX)
}

/// A link that hears nothing is dead after this time.
const SILENCE: Duration = LINK_SILENCE_MAX;

/// Why a link that broke ended, as both ends learn.
const BROKEN: DownReason = DownReason::Closed;
