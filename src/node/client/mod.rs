//! A client: enters through its guard, builds circuits for operations, never answers anybody. It routes; the rules stand in the
//! rooms below. Source: spec/overview.md §2.

mod agreement;
mod entry;
mod paying;
mod runs;
mod sizes;
mod stored;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use rand::rngs::ChaCha20Rng;

use self::entry::Entry;
use self::paying::Solving;
use self::runs::{Due, Runs};
use super::asks::{AskId, Asks};
use super::deadlines::Deadlines;
use super::effects::{Effect, Effects};
use super::io::{DownReason, Input, LinkId, Output, Peer};
use super::links::Links;
use super::sight::Sight;
use super::work::{Done, Job};
use crate::crypto::keys::NodeKey;
use crate::dht::effort::ToldEfforts;
use crate::limits::{GUARD_COUNTS_KEPT_EVERY, JOIN_TIMEOUT, LOCATIONS, OPERATIONS_MAX};
use crate::membership::guards::{GuardState, Guards};
use crate::membership::members::Members;
use crate::membership::path_bias::GuardCircuits;
use crate::membership::prefix_rule::PrefixRule;
use crate::membership::second_hops::{SecondHopState, SecondHops};
use crate::record::Place;
use crate::request::{
    AttemptResult, ChunkGet, ChunkLook, ChunkPut, Consistency, Context, Counts, Outcome, RecordGet, RecordPut, Refused,
    Request, RequestInput, RequestOutput, SealedChunk,
};
use crate::time::{Duration, Instant, Now, earlier};
use crate::wire::cell::{Cell, Command};
use crate::wire::contact::Contact;
use crate::wire::descriptor::VerifiedDescriptor;
use crate::wire::network::Network;
use crate::wire::onion::ExitRequest;
use crate::wire::record::{Expiry, RecordBytes};

/// What a client is.
pub struct ClientConfig {
    /// The network.
    pub network: Network,
    /// Nodes to start from.
    pub bootstraps: Vec<Contact>,
    /// Relays in a path, at least three.
    pub hops: usize,
    /// Whether addresses keep the hops of a path apart.
    pub rule: PrefixRule,
    /// First circuits of an operation start after a random time below it, at most [`crate::limits::STAGGER_MAX`].
    pub stagger: Duration,
    /// Relays of the same owner: in no path, whatever their role.
    pub ours: Vec<NodeKey>,
    /// Guards and second hops, as the state directory has them.
    pub kept: Kept,
    /// The membership of an earlier process of this user, checked when it was kept; empty for none.
    pub stored: Members,
    /// Whether sights are told: tests, simulations and the demo alone.
    pub witness: bool,
}

impl ClientConfig {
    fn context<'a>(&'a self, members: &'a Members, is_whole: bool, rng: &'a mut ChaCha20Rng) -> Context<'a> {
        Context { network: &self.network, members, is_whole, stagger: self.stagger, rng }
    }
}

/// What of a client outlives the process.
#[derive(Clone, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct Kept {
    /// The ordered sample of guards.
    pub guards: GuardState,
    /// The pinned second hops.
    pub second_hops: SecondHopState,
}

impl Kept {
    /// Whether these are the same guards and second hops in the same state, whatever circuits were counted.
    #[must_use]
    pub fn is_same_but_for_counts(&self, other: &Self) -> bool {
        self.guards.is_same_but_for_counts(&other.guards) && self.second_hops.is_same_but_for_counts(&other.second_hops)
    }
}

/// What a client is asked to do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Operation {
    /// Get a signed value.
    RecordGet {
        /// Its places.
        places: [Place; LOCATIONS],
        /// How many must answer.
        consistency: Consistency,
        /// Nothing older than this is taken.
        seq_min: u64,
    },
    /// Store a signed value.
    RecordPut {
        /// Each record with its place.
        records: Vec<(Place, RecordBytes)>,
        /// Compare-and-swap: the sequence number that must be held, 0 for none.
        expected: Option<u64>,
    },
    /// Get up to four chunks.
    ChunkGet {
        /// Their hashes.
        hashes: Vec<[u8; 32]>,
    },
    /// Store up to four chunks.
    ChunkPut {
        /// The chunks.
        chunks: Vec<SealedChunk>,
        /// When they end.
        expiry: Expiry,
    },
    /// Ask who has up to four chunks, and until when.
    ChunkLook {
        /// Their hashes.
        hashes: Vec<[u8; 32]>,
    },
}

/// A command to a client node.
pub enum ClientCommand {
    /// Start an operation; ends in [`ClientEvent::Done`].
    Start {
        /// Its number, the caller's choice.
        id: u64,
        /// What to do.
        operation: Operation,
        /// It ends within this time.
        timeout: Duration,
    },
    /// Forget an operation; its circuits end, nothing is told.
    Cancel {
        /// Its number.
        id: u64,
    },
    /// The answer to [`ClientEvent::Keep`]. `None`: kept as it was said. `Some`: another process of this client was first, and
    /// this is what the state directory holds.
    Kept(Option<Kept>),
}

/// What a client tells whoever runs it.
#[derive(Clone, PartialEq, Eq)]
pub enum ClientEvent {
    /// A guard is in use: circuits can be built.
    Ready {
        /// The guard.
        guard: NodeKey,
        /// Relays known.
        members: usize,
    },
    /// The state to keep has changed. Answered by [`ClientCommand::Kept`]; no guard is dialled before a first answer.
    Keep(Kept),
    /// So many bootstraps are being asked for the membership: they learn that this client is active.
    Asking {
        /// How many.
        bootstraps: usize,
    },
    /// A membership came from the bootstraps: how, and what is now held.
    Joined(Joined),
    /// A circuit was built for an operation.
    Path(BuiltPath),
    /// From now on the guard in use is doubted: too few circuits through it end whole.
    GuardDoubted(GuardCircuits),
    /// An operation ended.
    Done {
        /// Its number.
        id: u64,
        /// How.
        outcome: Outcome,
    },
    /// It saw something.
    Sight(Sight),
}

/// How a membership came from the bootstraps.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Joined {
    /// Bootstraps that were asked.
    pub asked: usize,
    /// Of them, those that told all they know.
    pub whole: usize,
    /// Descriptors told, each counted once.
    pub told: usize,
    /// Of them, those that enough bootstraps told alike.
    pub agreed: usize,
    /// Whether the bootstraps have settled, so that this is the network: else nothing is attested by it.
    pub settled: bool,
    /// Members held now; empty when too few bootstraps told anything.
    pub members: Vec<VerifiedDescriptor>,
}

/// A circuit that was built.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BuiltPath {
    /// The operation that it is for.
    pub operation: u64,
    /// The hops, guard first.
    pub hops: Vec<Contact>,
    /// What it carries.
    pub carries: Carries,
}

/// What a circuit carries; its exit alone knows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Carries {
    /// A question for the signed value at a location.
    Find,
    /// A signed value to be stored.
    Put,
    /// A question for so many chunks.
    Fetch(usize),
    /// So many chunks to be stored.
    Store(usize),
    /// A question who has so many chunks.
    Look(usize),
}

impl From<&ExitRequest> for Carries {
    fn from(request: &ExitRequest) -> Self {
        match request {
            ExitRequest::Find { .. } => Self::Find,
            ExitRequest::Put { .. } => Self::Put,
            ExitRequest::FetchChunks { chunks, .. } => Self::Fetch(chunks.len()),
            ExitRequest::PutChunks { chunks, .. } => Self::Store(chunks.len()),
            ExitRequest::Look { chunks, .. } => Self::Look(chunks.len()),
        }
    }
}

impl From<Sight> for ClientEvent {
    fn from(sight: Sight) -> Self {
        Self::Sight(sight)
    }
}

enum Pending {
    /// Descriptors of a membership page.
    Members,
    /// Descriptors that came with an answer: the answer waits for them.
    Signers { operation: u64, attempt: u32, result: AttemptResult },
    /// A circuit that is to be paid for.
    Solving(Box<Solving>),
}

/// The machine.
pub struct ClientNode {
    config: ClientConfig,
    rng: ChaCha20Rng,
    /// Relays that bootstraps agree on: paths are made of them alone.
    members: Members,
    /// Those, and signers that answers introduced: evidence is judged by them, and nothing is sent to them.
    judged: Members,
    /// What guards ask for by the word of bootstraps, where they have shown a newer descriptor themselves.
    told_efforts: ToldEfforts,
    /// Keys under which bootstraps were, or are, members.
    bootstrap_keys: BTreeSet<NodeKey>,
    guards: Guards,
    second_hops: SecondHops,
    entry: Entry,
    links: Links,
    asks: Asks,
    pulls: BTreeMap<AskId, (Contact, Option<NodeKey>)>,
    operations: BTreeMap<u64, Request>,
    /// When operations want to hear of the time.
    operation_times: Deadlines<u64>,
    due: Vec<Due>,
    runs: Runs,
    /// When the counts of guards were last given out to be kept.
    counts_kept: Option<Instant>,
    pending: BTreeMap<u64, Pending>,
    next_id: u64,
    effects: Effects<ClientEvent>,
}

impl ClientNode {
    /// A client that starts to join at once.
    #[must_use]
    pub fn new(config: ClientConfig, rng: ChaCha20Rng, now: Now) -> Self {
        let mut client = Self {
            effects: Effects::new(config.witness),
            rng,
            members: Members::default().with_rule(config.rule),
            judged: Members::default().with_rule(config.rule),
            told_efforts: ToldEfforts::new(),
            bootstrap_keys: BTreeSet::new(),
            guards: Guards::new(config.kept.guards.clone()),
            second_hops: SecondHops::new(config.kept.second_hops.clone()),
            entry: Entry::default(),
            links: Links::default(),
            asks: Asks::patient(JOIN_TIMEOUT),
            pulls: BTreeMap::new(),
            operations: BTreeMap::new(),
            operation_times: Deadlines::default(),
            due: Vec::new(),
            runs: Runs::default(),
            counts_kept: None,
            pending: BTreeMap::new(),
            next_id: 0,
            config,
        };
        client.start_entry(now);
        client.handle_time(now);
        client
    }

    /// Takes a command.
    pub fn handle_command(&mut self, now: Now, command: ClientCommand) {
        match command {
            ClientCommand::Start { id, operation, timeout } => self.start(now, id, operation, timeout),
            ClientCommand::Cancel { id } => self.forget_operation(id),
            ClientCommand::Kept(kept) => self.on_kept(now, kept),
        }
        self.handle_time(now);
    }

    /// Takes what happened on links.
    pub fn handle(&mut self, now: Now, input: Input) {
        match input {
            Input::Timeout => (),
            Input::LinkUp { link, peer } => self.on_link_up(now, link, *peer),
            Input::LinkDown { link, reason } => self.on_link_down(now, link, reason),
            Input::Cell { link, cell } => self.on_cell(now, link, cell),
        }
        self.handle_time(now);
    }

    /// Takes what came of work.
    pub fn handle_worked(&mut self, now: Now, id: u64, done: Done) {
        let pending = self.pending.remove(&id);
        let solved = if let Done::Solved(counter) = done { counter } else { None };
        if let Done::Descriptors(descriptors) = done {
            if matches!(pending, Some(Pending::Members)) {
                self.members.merge_all(descriptors.iter().cloned(), now.unix);
                self.note_bootstraps(&descriptors);
            }
            self.judged.merge_all(descriptors, now.unix);
        }
        match pending {
            Some(Pending::Members) => self.on_members_checked(now),
            Some(Pending::Signers { operation, attempt, result }) => self.deliver(now, operation, attempt, result),
            Some(Pending::Solving(solving)) => self.on_solved(*solving, solved),
            None => (),
        }
        self.handle_time(now);
    }

    /// The next thing to do.
    pub fn poll_effect(&mut self) -> Option<Effect<ClientEvent>> {
        self.effects.pop()
    }

    /// When [`Input::Timeout`] is due.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let (operations, runs) = (self.operation_times.next(), self.runs.poll_timeout());
        let due = self.is_ready().then(|| self.due_timeout()).flatten();
        let entry = earlier(self.entry_timeout(), self.asks.poll_timeout());
        let entry = earlier(entry, self.links.silence.poll_timeout());
        earlier(earlier(operations, runs), earlier(due, entry))
    }

    fn next_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    fn work(&mut self, pending: Pending, job: Job) {
        let id = self.next_id();
        self.pending.insert(id, pending);
        self.effects.work(id, job);
    }

    fn start(&mut self, now: Now, id: u64, operation: Operation, timeout: Duration) {
        if self.operations.len() >= OPERATIONS_MAX || self.operations.contains_key(&id) {
            let outcome = Outcome { result: Err(Refused::Unreachable), counts: Counts::default() };
            return self.effects.event(ClientEvent::Done { id, outcome });
        }
        let mut context = self.config.context(&self.judged, self.entry.is_whole, &mut self.rng);
        let at = now.instant;
        let request = match operation {
            Operation::RecordGet { places, consistency, seq_min } => {
                let request = RecordGet::new(places, consistency, seq_min, at, timeout, &mut context);
                Request::RecordGet(Box::new(request))
            }
            Operation::RecordPut { records, expected } => {
                Request::RecordPut(Box::new(RecordPut::new(records, expected, at, timeout, &mut context)))
            }
            Operation::ChunkGet { hashes } => {
                Request::ChunkGet(Box::new(ChunkGet::new(hashes, at, timeout, &mut context)))
            }
            Operation::ChunkPut { chunks, expiry } => {
                Request::ChunkPut(Box::new(ChunkPut::new(chunks, expiry, at, timeout, &mut context)))
            }
            Operation::ChunkLook { hashes } => {
                Request::ChunkLook(Box::new(ChunkLook::new(hashes, at, timeout, &mut context)))
            }
        };
        self.operations.insert(id, request);
        self.drain_operation(now, id);
        self.join_if_outside(now);
    }

    fn operation_handle(&mut self, now: Now, id: u64, input: RequestInput) {
        let mut context = self.config.context(&self.judged, self.entry.is_whole, &mut self.rng);
        if let Some(request) = self.operations.get_mut(&id) {
            request.handle(now, input, &mut context);
            self.drain_operation(now, id);
        }
    }

    fn drain_operation(&mut self, now: Now, id: u64) {
        while let Some(output) = self.operations.get_mut(&id).and_then(Request::poll_output) {
            match output {
                RequestOutput::Attempt(attempt) => {
                    self.due.push(Due { operation: id, attempt: *attempt, is_paid: false });
                }
                RequestOutput::Done(outcome) => {
                    self.forget_operation(id);
                    self.keep_counts(now);
                    self.effects.event(ClientEvent::Done { id, outcome });
                }
            }
        }
        self.operation_times.set(id, self.operations.get(&id).and_then(Request::poll_timeout));
    }

    fn forget_operation(&mut self, id: u64) {
        self.operations.remove(&id);
        self.operation_times.remove(&id);
        self.drop_circuits_of(id);
    }

    fn on_link_up(&mut self, now: Now, link: LinkId, peer: Peer) {
        let (address, key, relay) = (peer.address, peer.link_key, peer.descriptor.clone());
        self.effects.sight(|| Sight::Link { address, key, relay: relay.as_ref().map(|relay| relay.key) });
        self.links.on_up(now.instant, link, peer);
        if let Some(relay) = relay {
            let key = relay.key;
            if self.guards.on_link_up(&key, now.instant) {
                self.keep();
            }
            self.renew_guard(now, relay);
        }
        for (ask, message) in self.asks.on_up(link) {
            self.start_ask(now, link, ask, &message);
        }
    }

    /// A guard that started again has a new onion key, which the bootstraps may not have heard of. It may say so itself: nobody
    /// else opens what is sealed with it. But nothing that shapes paths is taken from its word alone.
    fn renew_guard(&mut self, now: Now, shown: VerifiedDescriptor) {
        let place = |relay: &VerifiedDescriptor| (relay.link_key, relay.address, relay.family);
        let held = self.members.get(&shown.key).filter(|held| place(held) == place(&shown)).cloned();
        let guards = self.guards.ordered();
        if let Some(held) = held.filter(|_| guards.contains(&shown.key)) {
            self.told_efforts.on_shown(&held, &shown);
            self.told_efforts.retain(&guards);
            self.members.merge(shown.clone(), now.unix);
            self.note_bootstraps([&shown]);
        }
    }

    fn on_link_down(&mut self, now: Now, link: LinkId, reason: DownReason) {
        if let Some(again) = self.links.dial_again(now.instant, link, reason) {
            return self.effects.io(again);
        }
        let dialled = self.links.dialled_key(link);
        let peer = self.links.on_down(now.instant, link, reason);
        self.fail_runs_on(now, link);
        for ask in self.asks.on_down(link) {
            self.pull_failed(now, ask);
        }
        let changed = match (peer.and_then(|peer| peer.descriptor), dialled) {
            (Some(relay), _) => self.guards.on_link_down(&relay.key, now.instant),
            // A link that was to replace one which still holds says nothing of the guard.
            (None, Some(link_key)) if self.links.link_to(&link_key).is_some() => false,
            (None, Some(link_key)) => match self.guard_of_link_key(&link_key) {
                Some(guard) => self.guards.on_dial_failed(&guard, now.instant),
                None => false,
            },
            (None, None) => false,
        };
        if changed {
            self.keep();
        }
    }

    fn on_cell(&mut self, now: Now, link: LinkId, cell: Cell) {
        self.links.silence.heard(link);
        match cell.command() {
            Command::Reply0 | Command::Backward => self.on_backward(now, link, &cell),
            Command::Destroy => self.on_destroy(now, link, &cell),
            Command::Credit => self.on_credit(now, link, &cell),
            Command::Answer => self.on_answer_cell(now, link, &cell),
            // A client passes nothing on and answers nobody.
            Command::Build | Command::Forward | Command::Ask => {
                self.effects.io(Output::Close { link, reason: DownReason::Protocol });
                self.on_link_down(now, link, DownReason::Protocol);
            }
            Command::Hello | Command::Padding => (),
        }
    }

    fn handle_time(&mut self, now: Now) {
        let (failed, ends) = self.asks.expire(now.instant);
        ends.into_iter().for_each(|(link, circuit)| {
            self.links.close_circuit(link, circuit);
        });
        failed.into_iter().for_each(|ask| self.pull_failed(now, ask));
        self.mind_silence(now);
        self.enter(now);
        self.fail_late_runs(now);
        self.operation_times
            .due(now.instant)
            .into_iter()
            .for_each(|id| self.operation_handle(now, id, RequestInput::Timeout));
        self.start_due(now);
        for link in self.links.idle(now.instant) {
            self.effects.io(Output::Close { link, reason: DownReason::Closed });
            self.on_link_down(now, link, DownReason::Closed);
        }
    }

    /// Before the end of an operation is told, for the process may end with it; but not each time, as it is a write.
    fn keep_counts(&mut self, now: Now) {
        if self.counts_kept.is_none_or(|at| at.until(now.instant) >= GUARD_COUNTS_KEPT_EVERY) {
            self.counts_kept = Some(now.instant);
            self.keep();
        }
    }

    fn keep(&mut self) {
        let kept = Kept { guards: self.guards.state(), second_hops: self.second_hops.state() };
        if kept != self.config.kept {
            self.config.kept = kept.clone();
            self.note_keep();
            self.effects.event(ClientEvent::Keep(kept));
        }
    }
}

impl core::fmt::Debug for ClientEvent {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Ready { members, .. } => write!(f, "Ready({members} members)"),
            Self::Keep(_) => f.write_str("Keep"),
            Self::Asking { bootstraps } => write!(f, "Asking({bootstraps})"),
            Self::Joined(joined) => write!(f, "Joined({} members)", joined.members.len()),
            Self::Path(path) => write!(f, "Path({}, {} hops)", path.operation, path.hops.len()),
            Self::GuardDoubted(of) => write!(f, "GuardDoubted({} of {})", of.finished, of.begun),
            Self::Done { id, outcome } => write!(f, "Done({id}, {outcome:?})"),
            Self::Sight(sight) => write!(f, "{sight:?}"),
        }
    }
}
