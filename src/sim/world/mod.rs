//! The virtual-time world: many real nodes, one clock, one seeded generator. It hands inputs to machines, does what they want, and
//! tells its owner what they said. It must not know scenarios, and has no rules of the protocol. Source: spec/simulation.md §10.

mod actor;
pub mod behaviour;
mod cast;
mod checks;
pub mod draw;
mod faults;
mod known;
mod log;
mod look;
mod pipe;
mod queue;
#[cfg(test)]
mod tests;
mod wires;

use std::collections::{BTreeMap, VecDeque};

use rand::SeedableRng;
use rand::rngs::ChaCha20Rng;

use self::actor::{Actor, Did, Mind, State, Told};
pub use self::behaviour::{Mask, Neighbour};
pub use self::checks::{Breach, Checks, Sizes};
pub use self::faults::{BREAK_WITHIN, Faults};
use self::known::Known;
pub use self::log::Log;
use self::pipe::Pipes;
use self::queue::{Event, Queue};
use super::internet::Internet;
use crate::crypto::keys::NodeKey;
use crate::dht::repair::RepairTiming;
use crate::dht::store::MemoryStore;
use crate::limits::{HOPS_CLIENT_MIN, LINK_SILENCE_MAX, STORE_BYTES, STORE_VALUES};
use crate::link::{DownReason, Timing};
use crate::membership::members::Members;
use crate::membership::prefix_rule::PrefixRule;
use crate::node::io::Input;
use crate::node::{ClientCommand, ClientEvent, Effect, RelayCommand, RelayEvent, Sight};
use crate::time::{Duration, Instant, Now, UnixTime};
use crate::wire::address::Address;
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
    /// Whether what nodes see is kept until it is taken; checked and counted it is always.
    pub keeps_sights: bool,
    /// Deadlines of real links.
    pub timing: Timing,
    /// Times of repair.
    pub repair: RepairTiming,
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
            keeps_sights: false,
            timing: Timing::default(),
            repair: RepairTiming::default(),
            hops: HOPS_CLIENT_MIN,
            bootstraps: 5,
            rule: PrefixRule::Distinct,
        }
    }
}

/// What a client has from an earlier run.
#[derive(Clone, Copy)]
pub enum Knowing<'m> {
    /// It comes for the first time.
    Nothing,
    /// A sample of guards and second hops, drawn from these.
    Guards(&'m Members),
    /// That, and these as its membership on disk.
    All(&'m Members),
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
    /// Questions that storers were asked, as they tell.
    pub asked: u64,
    /// Requests that came out of onions at exits, as those tell.
    pub exited: u64,
}

/// What relays did to keep copies where they belong.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Repairs {
    /// Places looked after.
    pub checks: u64,
    /// Bytes of cells, questions and copies.
    pub bytes: u64,
    /// Copies that holders were sent or fetched.
    pub copies: u64,
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

    /// Ends a node's process or host; with the disk what it stored goes too.
    pub fn stop(&mut self, no: NodeNo, how: Stop, keeps_disk: bool) {
        let Some(actor) = self.actors.get_mut(index(no)) else { return };
        actor.repaired = actor.repairs();
        actor.state = if how == Stop::Crash { State::Down } else { State::Silent };
        actor.mind = None;
        actor.shown = None;
        actor.wake = None;
        let links = core::mem::take(&mut actor.links);
        if !keeps_disk {
            actor.store = MemoryStore::new(STORE_VALUES, STORE_BYTES);
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

    /// Puts a behaviour around a relay; it is told of the links that there are.
    pub fn mask(&mut self, no: NodeNo, mut mask: Box<dyn Mask>) {
        for (link, neighbour) in self.neighbours(no) {
            mask.meet(link, neighbour);
        }
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
                    // What it was planned for may have come to its end meanwhile.
                    match actor.mind.as_ref().and_then(Mind::poll_timeout) {
                        Some(at) if at > now => self.plan_wake(node, Some(at)),
                        _ => self.tell(node, Told::Io(Input::Timeout)),
                    }
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
        let mut heard = Vec::new();
        match (told, &mut actor.mask) {
            (Told::Io(input), Some(mask)) => {
                mask.hear(now, input, &mut heard);
            }
            (Told::Io(input), None) => heard.push(input),
            (command, _) => {
                if let Some(mind) = actor.mind.as_mut() {
                    mind.handle(now, command);
                }
            }
        }
        for input in heard {
            self.log.input(at, no.0, &input);
            if let Some(mind) = actor.mind.as_mut() {
                mind.handle(now, Told::Io(input));
            }
        }
        self.settle(no);
    }

    /// Does everything that a node wants, and what follows from it.
    fn settle(&mut self, no: NodeNo) {
        let Some(mut mind) = self.actors.get_mut(index(no)).and_then(|actor| actor.mind.take()) else { return };
        for _ in 0..EFFECTS_MAX {
            let Some(did) = mind.poll() else { break };
            self.effect(no, did, &mut mind);
        }
        let wanted = mind.poll_timeout();
        if let Some(actor) = self.actors.get_mut(index(no)) {
            actor.mind = Some(mind);
            self.plan_wake(no, wanted);
        }
    }

    fn plan_wake(&mut self, no: NodeNo, wanted: Option<Instant>) {
        let Some(actor) = self.actors.get_mut(index(no)) else { return };
        if let Some(at) = wanted.filter(|at| actor.wake.is_none_or(|planned| *at < planned)) {
            let at = at.max(self.now);
            actor.wake = Some(at);
            self.queue.plan(at, Event::Wake { node: no, life: actor.life });
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
            RelayEvent::Members(_) | RelayEvent::Writes(_) => (),
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
            event => {
                if let ClientEvent::Path(path) = &event {
                    self.look_at_path(no, path);
                }
                self.heard.push_back(Heard { at: self.now, node: no, said: Said::Client(event) });
            }
        }
    }

    fn on_sight(&mut self, no: NodeNo, sight: Sight) {
        self.checks.sight(no, &sight);
        if let Some(mask) = self.actors.get_mut(index(no)).and_then(|actor| actor.mask.as_mut()) {
            mask.see(&sight);
        }
        match sight {
            Sight::Asked { .. } => self.counts.asked += 1,
            Sight::Exited { .. } => self.counts.exited += 1,
            Sight::Link { .. } | Sight::Passed { .. } | Sight::Repairs { .. } => (),
        }
        if self.options.keeps_sights {
            self.sights.push((self.now, no, sight));
        }
    }

    /// What nodes saw since this was last asked.
    pub fn take_sights(&mut self) -> Vec<(Instant, NodeNo, Sight)> {
        core::mem::take(&mut self.sights)
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
