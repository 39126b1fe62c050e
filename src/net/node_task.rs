//! THE owner loop of a node: drains what the machine wants, waits for one input, steps. It never waits while it drains.
//!
//! It must not know what cells, jobs, commands or store operations mean. No await stands between reading the clock and
//! the machine's step. What finds no room waits in bounded queues; while those are full, no input is taken that could
//! make more: nothing is dropped but events that nobody listens to.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::sleep_until;

use super::config::{AnyStore, LinkIdentity, ShellConfig};
use super::counts::Counts;
use super::link_shell::LinkShell;
use super::link_task::{LinkTask, Showing};
use super::listener::{Accepted, listen};
use super::pool::Task;
use super::runtime::Runtime;
use super::store_lanes::StoreLanes;
use crate::crypto::CryptoRng;
use crate::crypto::keys::DhKey;
use crate::limits::{
    ACCEPTED_MAX, HANDSHAKES_PENDING_MAX, INBOUND_LINKS_PER_PREFIX_MAX, INBOX_EVENTS_MAX, LINK_QUEUE_CELLS_MAX,
    NODE_EVENTS_MAX, STORE_OPS_MAX, WORK_JOBS_MAX,
};
use crate::link::DownReason;
use crate::node::io::{Input, LinkId, Output};
use crate::node::machine::{Machine, MachineInput, MachineOutput};
use crate::time::Instant;
use crate::wire::address::{Address, Prefix};
use crate::wire::cell::Cell;
use crate::wire::descriptor::SignedDescriptor;

/// Inputs handled before the owner looks at everything else again.
const BATCH: usize = 32;

/// A link's task as the owner sees it.
struct LinkEnd {
    cells: mpsc::Sender<Cell>,
    abort: AbortHandle,
    /// Whether the machine knows of it: it dialled, or was told.
    known: bool,
    /// Of an accepted one: whence.
    from: Option<Prefix>,
}

/// The owner of one node.
pub(super) struct Owner<M: Machine> {
    machine: M,
    shell: Arc<LinkShell>,
    identity: LinkIdentity,
    descriptor: Option<SignedDescriptor>,
    counts: Arc<Counts>,
    links: BTreeMap<LinkId, LinkEnd>,
    /// Accepted links whose handshake is not done; the first is the oldest.
    pending: BTreeSet<LinkId>,
    next_accepted: u64,
    /// Every task of the node: none outlives it.
    tasks: JoinSet<()>,
    /// What the owner itself has to tell the machine.
    own: VecDeque<Input>,
    /// Jobs and events that found no room.
    jobs: VecDeque<(u64, M::Job)>,
    store: StoreLanes<M>,
    events: VecDeque<M::Event>,
    working: usize,
    channels: Channels<M>,
}

/// The receiving ends, and the senders of what is answered.
struct Channels<M: Machine> {
    inbox: mpsc::Receiver<Input>,
    accepted: mpsc::Receiver<Accepted>,
    commands: mpsc::Receiver<M::Command>,
    commands_open: bool,
    events: mpsc::Sender<M::Event>,
    /// Senders of `accepted`, `done`, kept so that the channels stay open.
    accepted_in: mpsc::Sender<Accepted>,
    done_in: mpsc::Sender<(u64, M::Done)>,
    done: mpsc::Receiver<(u64, M::Done)>,
    stored: mpsc::Receiver<(u64, M::StoreResult)>,
    listener: Option<tokio::net::TcpListener>,
}

/// Why the owner woke.
enum Wake<M: Machine> {
    Input(MachineInput<M>),
    Link(Input),
    Accepted(Accepted),
    Room,
    CommandsClosed,
    Stop,
}

impl<M: Machine> Owner<M> {
    pub(super) fn new(
        runtime: Arc<Runtime>,
        machine: M,
        config: ShellConfig,
        counts: Arc<Counts>,
        (commands, events): (mpsc::Receiver<M::Command>, mpsc::Sender<M::Event>),
        store: AnyStore<M>,
    ) -> Self {
        let (inbox_in, inbox) = mpsc::channel(INBOX_EVENTS_MAX);
        let (accepted_in, accepted) = mpsc::channel(ACCEPTED_MAX);
        let (done_in, done) = mpsc::channel(WORK_JOBS_MAX);
        let (stored_in, stored) = mpsc::channel(STORE_OPS_MAX);
        let mut tasks = JoinSet::new();
        let shell = LinkShell {
            runtime,
            network: config.network,
            bind_ip: config.bind_ip,
            limits: config.limits,
            tap: config.tap,
            inbox: inbox_in,
        };
        let channels = Channels {
            inbox,
            accepted,
            commands,
            commands_open: true,
            events,
            accepted_in,
            done_in,
            done,
            stored,
            listener: config.listener,
        };
        Self {
            machine,
            shell: Arc::new(shell),
            identity: config.identity,
            descriptor: None,
            counts,
            links: BTreeMap::new(),
            pending: BTreeSet::new(),
            next_accepted: 1,
            store: StoreLanes::start(store, stored_in, &mut tasks),
            tasks,
            own: VecDeque::new(),
            jobs: VecDeque::new(),
            events: VecDeque::new(),
            working: 0,
            channels,
        }
    }

    /// Runs until it is stopped; then ends every task and waits for their end.
    pub(super) async fn run(mut self, mut stopped: oneshot::Receiver<()>) {
        if let Some(listener) = self.channels.listener.take() {
            let runtime = Arc::clone(&self.shell.runtime);
            let accepted = self.channels.accepted_in.clone();
            self.tasks.spawn(listen(listener, runtime, accepted, Arc::clone(&self.counts)));
        }
        loop {
            self.drain();
            while let Some(ended) = self.tasks.try_join_next() {
                if ended.is_err_and(|error| error.is_panic()) {
                    tracing::error!(
                        "a task of this node ended in a fault of the program; please report it, with the lines above"
                    );
                }
            }
            match self.wake(&mut stopped).await {
                Wake::Stop => break,
                Wake::Input(input) => self.step(input),
                Wake::Link(input) => self.take_batch(input),
                Wake::Accepted(accepted) => self.accept(accepted),
                Wake::CommandsClosed => self.channels.commands_open = false,
                Wake::Room => {}
            }
        }
        self.links.clear();
        self.tasks.shutdown().await;
    }

    async fn wake(&mut self, stopped: &mut oneshot::Receiver<()>) -> Wake<M> {
        let clock = self.shell.runtime.clock;
        let at = clock.deadline(self.machine.poll_timeout().unwrap_or(Instant::from_micros(u64::MAX)));
        let takes_inputs = self.jobs.len() < WORK_JOBS_MAX && self.store.has_room();
        let takes_commands = takes_inputs && self.events.is_empty() && self.channels.commands_open;
        let wants_pool = !self.jobs.is_empty() && self.working < WORK_JOBS_MAX;
        let is_short = self.jobs.front().is_some_and(|(_, job)| M::is_short(job));
        let (runtime, channels) = (&self.shell.runtime, &mut self.channels);
        tokio::select! {
            _ = stopped => Wake::Stop,
            Some((id, done)) = channels.done.recv() => {
                self.working -= 1;
                Wake::Input(MachineInput::Worked { id, done })
            }
            Some((id, result)) = channels.stored.recv() => Wake::Input(MachineInput::Stored { id, result }),
            Some(input) = channels.inbox.recv(), if takes_inputs => Wake::Link(input),
            Some(accepted) = channels.accepted.recv(), if takes_inputs => Wake::Accepted(accepted),
            command = channels.commands.recv(), if takes_commands => {
                command.map_or(Wake::CommandsClosed, |command| Wake::Input(MachineInput::Command(command)))
            }
            _ = runtime.pool.reserve(), if wants_pool && !is_short => Wake::Room,
            () = runtime.quick_pool.wait_for_place(), if wants_pool && is_short => Wake::Room,
            _ = channels.events.reserve(), if !self.events.is_empty() => Wake::Room,
            () = sleep_until(at) => Wake::Input(MachineInput::Node(Input::Timeout)),
        }
    }

    fn step(&mut self, input: MachineInput<M>) {
        self.machine.handle(self.shell.runtime.clock.now(), input);
    }

    /// One event of a link and what else is there already, up to [`BATCH`].
    fn take_batch(&mut self, first: Input) {
        self.take_link(first);
        for _ in 1..BATCH {
            self.drain();
            if self.jobs.len() >= WORK_JOBS_MAX || !self.store.has_room() {
                return;
            }
            let Ok(next) = self.channels.inbox.try_recv() else { return };
            self.take_link(next);
        }
    }

    /// One event of a link's task. Links that the owner has closed are not heard any more.
    fn take_link(&mut self, input: Input) {
        match &input {
            Input::Timeout => {}
            Input::LinkUp { link, .. } => {
                self.pending.remove(link);
                let Some(end) = self.links.get_mut(link) else { return };
                end.known = true;
            }
            Input::LinkDown { link, reason } => {
                self.pending.remove(link);
                let Some(end) = self.links.remove(link) else { return };
                self.counts.add(*reason);
                if !end.known {
                    return;
                }
            }
            Input::Cell { link, .. } => {
                if !self.links.contains_key(link) {
                    return;
                }
            }
        }
        self.step(MachineInput::Node(input));
    }

    /// Everything that the machine wants, and what follows from it.
    fn drain(&mut self) {
        loop {
            while let Some(output) = self.machine.poll_output() {
                self.act(output);
            }
            let refused = self.store.poll_refused().map(|(id, result)| MachineInput::Stored { id, result });
            match refused.or_else(|| self.own.pop_front().map(MachineInput::Node)) {
                Some(input) => self.step(input),
                None => break,
            }
        }
        self.start_jobs();
        self.store.start_waiting();
        self.give_events();
    }

    fn act(&mut self, output: MachineOutput<M>) {
        match output {
            MachineOutput::Node(Output::Send { link, cell }) => self.send(link, cell),
            MachineOutput::Node(Output::Dial { link, address, link_key }) => self.dial(link, address, link_key),
            MachineOutput::Node(Output::Close { link, reason }) => self.close(link, reason),
            MachineOutput::Node(Output::Descriptor(own)) => self.descriptor = Some(own.to_signed()),
            MachineOutput::Store { id, op } => self.store.ask(id, op),
            MachineOutput::Work { id, job } => self.jobs.push_back((id, job)),
            MachineOutput::Event(event) => {
                if self.events.len() < NODE_EVENTS_MAX {
                    self.events.push_back(event);
                    self.give_events();
                } else {
                    self.counts.add_lost_event();
                }
            }
        }
    }

    fn send(&mut self, link: LinkId, cell: Cell) {
        let Some(end) = self.links.get(&link) else { return };
        // A closed queue belongs to a task whose last word is on its way.
        if let Err(mpsc::error::TrySendError::Full(_)) = end.cells.try_send(cell) {
            end.abort.abort();
            self.links.remove(&link);
            self.refuse(link, DownReason::Limit);
        }
    }

    /// The task writes what waits and ends; its last words are not heard.
    fn close(&mut self, link: LinkId, reason: DownReason) {
        if self.links.remove(&link).is_some() {
            self.counts.add(reason);
        }
    }

    fn refuse(&mut self, link: LinkId, reason: DownReason) {
        self.counts.add(reason);
        self.own.push_back(Input::LinkDown { link, reason });
    }

    fn dial(&mut self, link: LinkId, address: Address, link_key: DhKey) {
        let showing: Showing = match (&self.identity, &self.descriptor) {
            (LinkIdentity::Client, _) => None,
            (LinkIdentity::Relay { secret }, Some(descriptor)) => Some((secret.clone(), descriptor.clone())),
            // A relay without a descriptor would look like a client that has a name.
            (LinkIdentity::Relay { .. }, None) => return self.refuse(link, DownReason::Unreachable),
        };
        let Some(permit) = self.shell.runtime.take_link() else { return self.refuse(link, DownReason::Limit) };
        let (cells_in, cells) = mpsc::channel(LINK_QUEUE_CELLS_MAX);
        let task = LinkTask { id: link, shell: Arc::clone(&self.shell), cells, permit };
        let abort = self.tasks.spawn(task.dial(showing, address, link_key));
        self.links.insert(link, LinkEnd { cells: cells_in, abort, known: true, from: None });
    }

    fn accept(&mut self, Accepted { stream, from, permit }: Accepted) {
        let (LinkIdentity::Relay { secret }, Some(shown)) = (&self.identity, &self.descriptor) else {
            self.counts.add(DownReason::Limit);
            return;
        };
        let prefix = Address(from).narrow_prefix();
        if self.links.values().filter(|end| end.from == Some(prefix)).count() >= INBOUND_LINKS_PER_PREFIX_MAX {
            self.counts.add(DownReason::Limit);
            return;
        }
        // The oldest goes: an honest handshake takes milliseconds, one that holds its place does not.
        let oldest = if self.pending.len() >= HANDSHAKES_PENDING_MAX { self.pending.pop_first() } else { None };
        if let Some(end) = oldest.and_then(|oldest| self.links.remove(&oldest)) {
            end.abort.abort();
            self.counts.add(DownReason::Limit);
        }
        let id = LinkId(self.next_accepted);
        self.next_accepted += 2;
        let (cells_in, cells) = mpsc::channel(LINK_QUEUE_CELLS_MAX);
        let task = LinkTask { id, shell: Arc::clone(&self.shell), cells, permit };
        let abort = self.tasks.spawn(task.accept(secret.clone(), shown.clone(), stream, from));
        self.links.insert(id, LinkEnd { cells: cells_in, abort, known: false, from: Some(prefix) });
        self.pending.insert(id);
    }

    /// Gives waiting jobs to the pools, while these have places and the node may have more under way.
    fn start_jobs(&mut self) {
        let runtime = Arc::clone(&self.shell.runtime);
        while self.working < WORK_JOBS_MAX {
            let Some((_, next)) = self.jobs.front() else { return };
            if M::is_short(next) {
                let Some(place) = runtime.quick_pool.try_reserve() else { return };
                if let Some(task) = self.next_task() {
                    place.send(task);
                }
            } else {
                let Some(place) = runtime.pool.try_reserve() else { return };
                if let Some(task) = self.next_task() {
                    place.send(task);
                }
            }
        }
    }

    fn next_task(&mut self) -> Option<Task> {
        let (id, job) = self.jobs.pop_front()?;
        let done = self.channels.done_in.clone();
        self.working += 1;
        Some(Box::new(move |rng: &mut dyn CryptoRng, puzzles| {
            // Never full: it has room for every job under way. Closed when the node is gone.
            let _ = done.try_send((id, M::run_job(job, rng, puzzles)));
        }))
    }

    fn give_events(&mut self) {
        loop {
            match self.channels.events.try_reserve() {
                Ok(place) => match self.events.pop_front() {
                    Some(event) => place.send(event),
                    None => return,
                },
                Err(mpsc::error::TrySendError::Full(())) => return,
                Err(mpsc::error::TrySendError::Closed(())) => {
                    // Nobody listens.
                    self.events.clear();
                    return;
                }
            }
        }
    }
}
