//! A world with a timetable: who starts and stops when, what clients ask, and how each operation ended. What every scenario that
//! runs nodes stands on; it must not know what a scenario wants to show.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::records::Record;
use super::scenario::{Progress, Watch};
use super::world::{Heard, Knowing, NodeNo, Options, Said, Stop, World, draw};
use crate::crypto::keys::NodeKey;
use crate::limits::{GUARDS, MEMBERS_MAX};
use crate::membership::members::Members;
use crate::node::{BuiltPath, ClientCommand, ClientEvent, Operation};
use crate::request::{Consistency, Outcome, Refused, Success};
use crate::time::{Duration, Instant};

/// Events between two words on how far a run has come.
const PROGRESS_EVERY: u64 = 20_000;

/// How an operation ended, as a command tells it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Ending {
    /// Done: exit code 0.
    Done,
    /// Attested absence: 3.
    NotFound,
    /// Too few answered: 4.
    Unreachable,
    /// Nothing proved itself, or only an older value came: 5.
    Damaged,
    /// Something newer is there: 6.
    Conflict,
    /// Fewer copies than asked: 7.
    Partly,
    /// No path as strong as asked, or no guard: 8.
    Privacy,
    /// Not over when the run was.
    Open,
    /// Three dead guards, and no fourth this month: 4 or 8, counted apart.
    GuardsDead,
}

impl Ending {
    /// The name in tables.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::NotFound => "not found",
            Self::Unreachable => "unreachable",
            Self::Damaged => "damaged or older",
            Self::Conflict => "conflict",
            Self::Partly => "partly",
            Self::Privacy => "privacy floor",
            Self::Open => "open",
            Self::GuardsDead => "guards dead",
        }
    }

    pub(super) fn of(outcome: &Outcome) -> Self {
        match &outcome.result {
            Ok(_) => Self::Done,
            Err(Refused::NotFound) => Self::NotFound,
            Err(Refused::Unreachable) => Self::Unreachable,
            Err(Refused::Damaged | Refused::Older { .. }) => Self::Damaged,
            Err(Refused::Conflict { .. }) => Self::Conflict,
            Err(Refused::Partly { .. } | Refused::Unpaid { .. } | Refused::Full | Refused::NotSolved) => Self::Partly,
            Err(Refused::PrivacyFloor(_) | Refused::GuardsGone | Refused::GuardFails(_)) => Self::Privacy,
        }
    }
}

/// What an operation is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Doing {
    /// Stores the next version of a record.
    Put,
    /// Gets a record.
    Get,
}

/// An operation under way.
#[derive(Clone, Copy, Debug)]
struct Open {
    doing: Doing,
    record: usize,
    begun: Instant,
    /// What a put stores.
    seq: u64,
}

/// An operation that is over.
#[derive(Clone, Debug)]
pub struct Ended {
    /// Its number.
    pub id: u64,
    /// Whose.
    pub client: NodeNo,
    /// What for.
    pub doing: Doing,
    /// Which record.
    pub record: usize,
    /// When it began.
    pub begun: Instant,
    /// When it ended.
    pub at: Instant,
    /// How.
    pub ending: Ending,
    /// The number that a get brought or a put was to store, at the author's.
    pub seq: u64,
    /// Copies that a put has receipts for, over all locations.
    pub copies: usize,
}

/// What an operation brought that a scenario began itself ([`Stage::start`]).
#[derive(Debug)]
pub struct Brought {
    /// Whose.
    pub client: NodeNo,
    /// Its number.
    pub id: u64,
    /// How it ended.
    pub outcome: Outcome,
}

/// What is going to happen by the timetable.
#[derive(Clone, Copy, Debug)]
enum Act {
    Start(NodeNo),
    Stop(NodeNo, Stop, bool),
    Ask(NodeNo, Doing, usize, Duration),
    SessionEnds(NodeNo),
    Returns(NodeNo),
}

/// How relays come and go.
#[derive(Clone, Copy, Debug)]
pub struct Churn {
    /// Median session.
    pub session: Duration,
    /// Shape of their Weibull distribution.
    pub shape: f64,
    /// Chance that a relay whose session ended comes back; else another one begins in its place at once.
    pub returns: f64,
    /// Mean time that it is away.
    pub pause: Duration,
    /// Chance that one that comes back has its disk.
    pub disk_kept: f64,
    /// Chance that a session ends without a word, as by loss of power.
    pub silent: f64,
}

/// The stage.
pub struct Stage<'w> {
    /// The world on it.
    pub world: World,
    /// The records that scenarios put and get.
    pub records: Vec<Record>,
    /// What is over.
    pub ended: Vec<Ended>,
    /// Circuits that were built, when and by whom; kept only if asked.
    pub paths: Vec<(Instant, NodeNo, BuiltPath)>,
    /// Whether circuits are kept.
    pub keeps_paths: bool,
    /// Sessions that ended, and relays that began in the place of others.
    pub sessions: (u64, u64),
    consistency: Consistency,
    open: BTreeMap<(NodeNo, u64), Open>,
    /// Operations under way of which the scenario is told.
    started: BTreeSet<(NodeNo, u64)>,
    brought: VecDeque<Brought>,
    ready: BTreeMap<NodeNo, Instant>,
    plan: BTreeMap<(Instant, u64), Act>,
    planned: u64,
    next_operation: u64,
    churn: Option<Churn>,
    watch: &'w mut dyn Watch,
    what: String,
    /// Where this run lies in the whole: begin and end, 0..=1, and the virtual time at its end.
    span: (f64, f64, Instant),
    told_at: u64,
    /// When tables are next held against their caps.
    look_at: Instant,
}

impl<'w> Stage<'w> {
    /// A stage with an empty world.
    pub fn new(options: Options, what: &str, watch: &'w mut dyn Watch) -> Self {
        Self {
            world: World::new(options),
            records: Vec::new(),
            ended: Vec::new(),
            paths: Vec::new(),
            keeps_paths: false,
            sessions: (0, 0),
            consistency: Consistency::Quorum,
            open: BTreeMap::new(),
            started: BTreeSet::new(),
            brought: VecDeque::new(),
            ready: BTreeMap::new(),
            plan: BTreeMap::new(),
            planned: 0,
            next_operation: 0,
            churn: None,
            watch,
            what: what.to_string(),
            span: (0.0, 1.0, Instant::ZERO),
            told_at: 0,
            look_at: Instant::ZERO,
        }
    }

    /// Says where this run lies in the whole scenario, and how long it is.
    pub fn span(&mut self, from: f64, to: f64, length: Duration) {
        self.span = (from, to, Instant::ZERO + length);
    }

    /// How many locations a get needs.
    pub fn set_consistency(&mut self, consistency: Consistency) {
        self.consistency = consistency;
    }

    /// So many relays that know each other, running.
    pub fn settle_relays(&mut self, count: usize) {
        for _ in 0..count {
            self.world.add_relay();
        }
        self.settle_all();
    }

    /// Starts all that is stopped, each relay knowing all others, and lets them meet: bootstraps tell of whom they met alone.
    pub fn settle_all(&mut self) {
        self.world.start_all_knowing();
        self.run(self.world.now() + Duration::from_secs(15));
    }

    /// So many clients that have been there before: they have their samples of guards, and ask bootstraps for the membership now.
    pub fn known_clients(&mut self, count: usize) -> Vec<NodeNo> {
        let members = self.world.members();
        self.clients(count, Knowing::Guards(&members))
    }

    /// So many clients that were there a moment ago: with their guards, and the membership on their disks.
    pub fn settled_clients(&mut self, count: usize) -> Vec<NodeNo> {
        let members = self.world.members();
        self.clients(count, Knowing::All(&members))
    }

    /// So many clients that come for the first time.
    pub fn new_clients(&mut self, count: usize) -> Vec<NodeNo> {
        self.clients(count, Knowing::Nothing)
    }

    fn clients(&mut self, count: usize, knowing: Knowing<'_>) -> Vec<NodeNo> {
        let start = |stage: &mut Self| {
            let no = stage.world.add_client();
            stage.world.start_client(no, knowing);
            no
        };
        (0..count).map(|_| start(self)).collect()
    }

    /// Adds so many records to those that scenarios know.
    pub fn add_records(&mut self, count: usize) {
        for _ in 0..count {
            let record = Record::new(self.world.rng());
            for place in record.iter().flat_map(Record::places) {
                self.world.checks.secret_place(place.location);
            }
            self.records.extend(record);
        }
    }

    /// An operation of a client at a time.
    pub fn plan_ask(&mut self, at: Instant, client: NodeNo, doing: Doing, record: usize, timeout: Duration) {
        self.plan_act(at, Act::Ask(client, doing, record, timeout));
    }

    /// A relay's end at a time.
    pub fn plan_stop(&mut self, at: Instant, no: NodeNo, how: Stop, keeps_disk: bool) {
        self.plan_act(at, Act::Stop(no, how, keeps_disk));
    }

    /// A relay's start at a time.
    pub fn plan_start(&mut self, at: Instant, no: NodeNo) {
        self.plan_act(at, Act::Start(no));
    }

    fn plan_act(&mut self, at: Instant, act: Act) {
        self.planned += 1;
        self.plan.insert((at, self.planned), act);
    }

    /// From now on relays come and go, but for the bootstraps.
    pub fn begin_churn(&mut self, churn: Churn, spared: usize) {
        self.churn = Some(churn);
        for no in self.world.relays().into_iter().skip(spared) {
            self.plan_session(no);
        }
    }

    /// Relays stay as they are.
    pub fn end_churn(&mut self) {
        self.churn = None;
        self.plan.retain(|_, act| !matches!(act, Act::SessionEnds(_) | Act::Returns(_)));
    }

    fn plan_session(&mut self, no: NodeNo) {
        let Some(churn) = self.churn else { return };
        let length = draw::weibull(self.world.rng(), churn.session, churn.shape).max(Duration::from_secs(10));
        self.plan_act(self.world.now() + length, Act::SessionEnds(no));
    }

    fn session_ends(&mut self, no: NodeNo) {
        let Some(churn) = self.churn else { return };
        self.sessions.0 += 1;
        let rng = self.world.rng();
        let how = if draw::chance(rng, churn.silent) { Stop::Silent } else { Stop::Crash };
        let returns = draw::chance(rng, churn.returns);
        let keeps_disk = returns && draw::chance(rng, churn.disk_kept);
        let pause = draw::pause(rng, churn.pause);
        self.world.stop(no, how, keeps_disk);
        if returns {
            return self.plan_act(self.world.now() + pause, Act::Returns(no));
        }
        self.sessions.1 += 1;
        let other = self.world.add_relay();
        self.returns(other);
    }

    fn returns(&mut self, no: NodeNo) {
        self.world.start_relay(no, Members::new(MEMBERS_MAX));
        self.plan_session(no);
    }

    /// Starts an operation now.
    pub fn ask(&mut self, client: NodeNo, doing: Doing, record: usize, timeout: Duration) -> Option<u64> {
        let (begun, now) = (self.world.now(), self.world.unix());
        let (network, consistency) = (self.world.network(), self.consistency);
        let one = self.records.get_mut(record)?;
        let operation: Operation = match doing {
            Doing::Put => one.put(&network, now, RECORD_LIFE_S, self.world.rng()),
            Doing::Get => one.get(consistency, 0),
        };
        let seq = if doing == Doing::Put { one.seq } else { 0 };
        let id = self.next_id();
        self.open.insert((client, id), Open { doing, record, begun, seq });
        self.command(client, id, operation, timeout);
        Some(id)
    }

    /// Starts an operation of which [`Self::run_on`] tells the outcome; its number.
    pub fn start(&mut self, client: NodeNo, operation: Operation, timeout: Duration) -> u64 {
        let id = self.next_id();
        self.started.insert((client, id));
        self.command(client, id, operation, timeout);
        id
    }

    fn next_id(&mut self) -> u64 {
        self.next_operation += 1;
        self.next_operation
    }

    fn command(&mut self, client: NodeNo, id: u64, operation: Operation, timeout: Duration) {
        self.world.checks.begun(client, id, self.world.now() + timeout);
        self.world.command(client, ClientCommand::Start { id, operation, timeout });
    }

    /// Ends a client's process, and what it had under way with it.
    pub fn stop_client(&mut self, client: NodeNo) {
        self.world.stop(client, Stop::Crash, true);
        self.world.checks.gone(client);
        self.open.retain(|(of, _), _| *of != client);
        self.started.retain(|(of, _)| *of != client);
        self.brought.retain(|one| one.client != client);
        self.ready.remove(&client);
    }

    /// Operations that are not over.
    #[must_use]
    pub fn open(&self) -> usize {
        self.open.len()
    }

    /// When a client had its way in, if it has.
    #[must_use]
    pub fn ready_at(&self, client: NodeNo) -> Option<Instant> {
        self.ready.get(&client).copied()
    }

    /// Whether somebody wants the run to end.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.watch.is_stopped()
    }

    /// Everything until then.
    pub fn run(&mut self, until: Instant) {
        while self.run_on(until).is_some() {}
    }

    /// Everything until then, or until an operation of [`Self::start`] has ended.
    pub fn run_on(&mut self, until: Instant) -> Option<Brought> {
        while !self.watch.is_stopped() {
            if let Some(brought) = self.brought.pop_front() {
                return Some(brought);
            }
            let next = self.plan.first_key_value().map(|((at, _), _)| *at).filter(|at| *at <= until);
            let to = next.unwrap_or(until);
            let looks = self.look_at <= to;
            if let Some(heard) = self.world.run(if looks { self.look_at } else { to }) {
                self.hear(heard);
                self.tell_progress();
                continue;
            }
            self.tell_progress();
            if looks {
                self.look_at_tables();
                continue;
            }
            if next.is_none() {
                break;
            }
            if let Some((_, act)) = self.plan.pop_first() {
                self.act(act);
            }
        }
        None
    }

    /// Every minute in small worlds; in large ones so rarely that it costs little.
    fn look_at_tables(&mut self) {
        self.world.check_tables();
        let minutes = match self.world.up() {
            0..=100 => 1,
            101..=1_000 => 10,
            _ => 60,
        };
        self.look_at = self.world.now() + Duration::from_secs(60 * minutes);
    }

    /// Everything until all operations are over, at most until then.
    pub fn run_out(&mut self, until: Instant) {
        let step = Duration::from_millis(500);
        while !self.watch.is_stopped() && self.world.now() < until && (!self.open.is_empty() || self.has_asks()) {
            self.run((self.world.now() + step).min(until));
        }
    }

    fn has_asks(&self) -> bool {
        self.plan.values().any(|act| matches!(act, Act::Ask(..)))
    }

    fn act(&mut self, act: Act) {
        match act {
            Act::Start(no) => self.world.start_relay(no, Members::new(MEMBERS_MAX)),
            Act::Stop(no, how, keeps_disk) => self.world.stop(no, how, keeps_disk),
            Act::Ask(client, doing, record, timeout) => {
                self.ask(client, doing, record, timeout);
            }
            Act::SessionEnds(no) => self.session_ends(no),
            Act::Returns(no) => self.returns(no),
        }
    }

    fn hear(&mut self, Heard { at, node, said }: Heard) {
        match said {
            Said::Client(ClientEvent::Done { id, outcome }) => {
                self.world.checks.ended(node, id, at);
                if self.started.remove(&(node, id)) {
                    return self.brought.push_back(Brought { client: node, id, outcome });
                }
                let Some(open) = self.open.remove(&(node, id)) else { return };
                let ended = self.ended_as(at, (node, id), open, &outcome);
                self.ended.push(ended);
            }
            Said::Client(ClientEvent::Ready { .. }) => {
                self.ready.entry(node).or_insert(at);
            }
            Said::Client(ClientEvent::Path(path)) if self.keeps_paths => self.paths.push((at, node, path)),
            Said::Client(_) | Said::Relay(_) => (),
        }
    }

    fn ended_as(&self, at: Instant, (client, id): (NodeNo, u64), open: Open, outcome: &Outcome) -> Ended {
        let Open { doing, record, begun, seq: put } = open;
        let mut ending = Ending::of(outcome);
        if matches!(ending, Ending::Unreachable | Ending::Privacy) && self.guards_are_dead(client) {
            ending = Ending::GuardsDead;
        }
        let (seq, copies) = match &outcome.result {
            Ok(Success::Record { seq, .. }) => (*seq, 0),
            Ok(Success::RecordStored { copies }) => (put, copies.iter().sum()),
            Err(Refused::Partly { copies, .. }) => (put, *copies),
            _ => (put, 0),
        };
        Ended { id, client, doing, record, begun, at, ending, seq, copies }
    }

    /// Whether no guard of a client's sample runs.
    #[must_use]
    pub fn guards_are_dead(&self, client: NodeNo) -> bool {
        let Some(kept) = self.world.kept_of(client) else { return false };
        let guards = kept.guards.guards.iter().filter_map(|guard| self.world.by_key(&NodeKey(guard.key)));
        let guards: Vec<NodeNo> = guards.collect();
        guards.len() == GUARDS && guards.iter().all(|guard| !self.world.is_up(*guard))
    }

    fn tell_progress(&mut self) {
        let events = self.world.counts().events;
        if events < self.told_at + PROGRESS_EVERY {
            return;
        }
        self.told_at = events;
        let (from, to, end) = self.span;
        let now = self.world.now();
        let done = Instant::ZERO.until(now).as_secs_f64() / Instant::ZERO.until(end).as_secs_f64().max(1e-9);
        let progress = Progress {
            what: self.what.clone(),
            part: from + (to - from) * done.min(1.0),
            virtual_s: Instant::ZERO.until(now).as_secs_f64(),
            events,
        };
        self.watch.progress(progress);
    }
}

/// For how long scenarios store records, seconds.
const RECORD_LIFE_S: u64 = 7 * 86_400;

#[cfg(test)]
mod tests;
