//! The circuits of a client, one run each: path, build packet, reply 0, cells, end. Source: spec/onion.md, spec/requests.md.

use std::collections::{BTreeMap, BTreeSet};

use super::sizes::RUNS_MAX;
use super::{BuiltPath, Carries, ClientEvent, ClientNode, Pending};
use crate::crypto::forget_past;
use crate::crypto::keys::{DhKey, NodeKey};
use crate::limits::{
    BOOTSTRAPS_MAX, CIRCUIT_ANSWER_TIMEOUT, CIRCUIT_DATA_LEN_MAX, CIRCUITS_AT_ONCE_MAX, CIRCUITS_HEDGED_MAX,
    GUARD_FAILURES_IN_ROW_MAX, OPERATIONS_MAX, RETRY_DELAY_MAX,
};
use crate::link::flow::{Receiving, Sending};
use crate::membership::path::{Path, PathRefused, PathTerms, choose};
use crate::node::circuits::End;
use crate::node::deadlines::Deadlines;
use crate::node::io::LinkId;
use crate::node::sizes::TableSize;
use crate::node::work::Job;
use crate::onion::{Building, Circuit, Reply0, build};
use crate::request::{Attempt, AttemptResult, Failure, Request, RequestInput};
use crate::time::{Instant, Now};
use crate::wire::cell::{Cell, CircuitId, Command};
use crate::wire::contact::Contact;
use crate::wire::descriptor::{SignedDescriptor, VerifiedDescriptor};
use crate::wire::onion::{ExitAnswer, ExitRequest};
use crate::wire::record::ValueKind;

/// A circuit that an operation wants, not before its time.
pub(super) struct Due {
    pub(super) operation: u64,
    pub(super) attempt: Attempt,
    /// Whether what it stores was paid for, as far as that is asked.
    pub(super) is_paid: bool,
}

/// A circuit under way.
pub(super) struct Run {
    operation: u64,
    attempt: Attempt,
    guard: NodeKey,
    second_hop: NodeKey,
    exit: NodeKey,
    stage: Stage,
    bytes: Vec<u8>,
    cells: usize,
    to_guard: Sending,
    from_guard: Receiving,
}

/// All of them: by where they are, by operation, by deadline.
#[derive(Default)]
pub(super) struct Runs {
    all: BTreeMap<End, Run>,
    of_operation: BTreeSet<(u64, End)>,
    deadlines: Deadlines<End>,
    /// Circuits of each operation that failed in a row.
    failed_in_row: BTreeMap<u64, usize>,
}

impl Runs {
    pub(super) fn sizes(&self) -> [TableSize; 4] {
        let all = self.all.len();
        [
            ("circuits", all, RUNS_MAX),
            ("circuits of operations", self.of_operation.len(), all),
            ("deadlines of circuits", self.deadlines.len(), all),
            ("operations whose circuits fail", self.failed_in_row.len(), OPERATIONS_MAX),
        ]
    }

    fn insert(&mut self, end: End, run: Run, deadline: Instant) {
        self.of_operation.insert((run.operation, end));
        self.deadlines.set(end, Some(deadline));
        self.all.insert(end, run);
    }

    fn remove(&mut self, end: &End) -> Option<Run> {
        let run = self.all.remove(end)?;
        self.of_operation.remove(&(run.operation, *end));
        self.deadlines.remove(end);
        Some(run)
    }

    /// A circuit on which something came: it has time again.
    fn heard(&mut self, end: End, now: Instant) -> Option<&mut Run> {
        let run = self.all.get_mut(&end)?;
        self.deadlines.set(end, Some(now + CIRCUIT_ANSWER_TIMEOUT));
        Some(run)
    }

    fn of(&self, operation: u64) -> impl Iterator<Item = End> {
        let (first, last) = ((LinkId(0), CircuitId(0)), (LinkId(u64::MAX), CircuitId(u32::MAX)));
        self.of_operation.range((operation, first)..=(operation, last)).map(|(_, end)| *end)
    }

    fn attempts(&self, operation: u64) -> impl Iterator<Item = &Attempt> {
        self.of(operation).filter_map(|end| self.all.get(&end)).map(|run| &run.attempt)
    }

    /// An end of one of its circuits: at one that came to its end the row is over.
    fn note_in_row(&mut self, operation: u64, finished: bool) {
        if finished {
            self.failed_in_row.remove(&operation);
        } else {
            *self.failed_in_row.entry(operation).or_insert(0) += 1;
        }
    }

    fn on_link(&self, link: LinkId) -> Vec<End> {
        self.all.range((link, CircuitId(0))..=(link, CircuitId(u32::MAX))).map(|(end, _)| *end).collect()
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.deadlines.next()
    }
}

enum Stage {
    Building(Box<Building>),
    Open(Box<Circuit>),
    Over,
}

impl ClientNode {
    pub(super) fn start_due(&mut self, now: Now) {
        let Some(guard) = self.guard_in_use() else { return };
        for due in core::mem::take(&mut self.due) {
            if due.attempt.at > now.instant {
                self.due.push(due);
                continue;
            }
            let Some(due) = self.paid(now, due) else { continue };
            if self.must_wait(&due) {
                self.due.push(due);
            } else {
                self.start_run(now, guard, due);
            }
        }
    }

    /// For another circuit of its operation to end, or for a membership that is not doubted.
    fn must_wait(&self, due: &Due) -> bool {
        self.is_doubted_fully() || self.is_at_work_fully(due)
    }

    /// When the next circuit may be started; those that wait for another to end need no timer.
    pub(super) fn due_timeout(&self) -> Option<Instant> {
        self.due.iter().filter(|due| !self.must_wait(due)).map(|due| due.attempt.at).min()
    }

    fn is_at_work_fully(&self, Due { operation, attempt, .. }: &Due) -> bool {
        let at_work = self.runs.of(*operation).count();
        if at_work < CIRCUITS_AT_ONCE_MAX {
            return false;
        }
        // A guard that is doubted has no more of them at once than before.
        let is_doubted = || self.guard_in_use().is_some_and(|guard| self.guards.doubts(&guard).is_some());
        let is_hedging = self.operations.get(operation).is_some_and(Request::is_hedging);
        if !is_hedging || at_work >= CIRCUITS_HEDGED_MAX || is_doubted() {
            return true;
        }
        let place = |attempt: &Attempt| match attempt.request {
            ExitRequest::Find { location, .. } => Some(location),
            _ => None,
        };
        let places: BTreeSet<_> = self.runs.attempts(*operation).chain([attempt]).map(place).collect();
        places.len() > CIRCUITS_AT_ONCE_MAX
    }

    /// No way in: whatever waits for a circuit learns why it gets none.
    pub(super) fn fail_due(&mut self, now: Now, why: Failure) {
        for Due { operation, attempt, .. } in core::mem::take(&mut self.due) {
            self.deliver(now, operation, attempt.id, AttemptResult::Failed { exit: None, why });
        }
    }

    fn start_run(&mut self, now: Now, guard: NodeKey, Due { operation, attempt, is_paid }: Due) {
        let fail = |why| AttemptResult::Failed { exit: None, why };
        let at_work = self.is_at_work(operation);
        let avoid = self.exits_to_avoid(operation);
        let (length, rule, ours) = (self.config.hops, self.config.rule, &self.config.ours);
        let terms = PathTerms { length, rule, ours, now: now.unix, avoid: &avoid };
        let path = match choose(&self.members, &guard, &self.second_hops, &terms, &mut self.rng) {
            Ok(path) => path,
            Err(PathRefused::ExitsUsedUp) if at_work => {
                // In a small network an exit is free again once its circuit has ended.
                let attempt = Attempt { at: now.instant + RETRY_DELAY_MAX, ..attempt };
                return self.due.push(Due { operation, attempt, is_paid });
            }
            Err(refused) => return self.deliver(now, operation, attempt.id, fail(Failure::Path(refused))),
        };
        let link = self.guard_link(now, &guard);
        let request = attempt.request.encode();
        let built = build(&self.config.network, path.hops(), &request, now.unix, &mut self.rng);
        forget_past(&mut self.rng);
        let (Some(link), Ok(built)) = (link, built) else {
            return self.deliver(now, operation, attempt.id, fail(Failure::Destroyed));
        };
        let Some(number) = self.links.open_circuit(now.instant, link, &mut self.rng) else {
            return self.deliver(now, operation, attempt.id, fail(Failure::Destroyed));
        };
        let hops: Vec<Contact> = path.hops().iter().map(Contact::from).collect();
        let carries = Carries::from(&attempt.request);
        self.effects.event(ClientEvent::Path(BuiltPath { operation, hops, carries }));
        self.links.silence.used(now.instant, link);
        self.effects.send(link, Cell::build(number, built.suite, built.hint, built.body));
        self.operation_handle(now, operation, RequestInput::Building { id: attempt.id });
        let run = Run::new(operation, attempt, &path, built.building);
        self.note_circuit();
        self.runs.insert((link, number), run, now.instant + CIRCUIT_ANSWER_TIMEOUT);
    }

    fn is_at_work(&self, operation: u64) -> bool {
        self.runs.of(operation).next().is_some()
    }

    /// No exit sees two locations of one operation: it could join them. And no bootstrap and no guard of the sample is an
    /// exit: they know this client's address, and when it came.
    pub(super) fn exits_to_avoid(&self, operation: u64) -> Vec<NodeKey> {
        let at_work = self.runs.of(operation).filter_map(|end| self.runs.all.get(&end)).map(|run| run.exit);
        let used = self.operations.get(&operation).map(Request::used_exits).unwrap_or_default();
        let is_one = |key: &&NodeKey| self.members.get(key).is_some_and(|member| self.is_bootstrap(&member.link_key));
        let bootstraps = self.bootstrap_keys.iter().filter(is_one).copied();
        // An answer whose signers are being checked is not yet the operation's, but its exit has done its work.
        let checked = self.pending.values().filter_map(|pending| match pending {
            Pending::Signers { operation: of, result: AttemptResult::Answered { exit, .. }, .. }
                if *of == operation =>
            {
                Some(*exit)
            }
            _ => None,
        });
        used.iter().copied().chain(at_work).chain(checked).chain(bootstraps).chain(self.guards.ordered()).collect()
    }

    fn is_bootstrap(&self, key: &DhKey) -> bool {
        self.config.bootstraps.iter().any(|one| one.link_key == *key)
    }

    /// Remembers which of these, that have just entered, are bootstraps, so that nobody looks for them among all members for each circuit.
    pub(super) fn note_bootstraps<'a>(&mut self, entered: impl IntoIterator<Item = &'a VerifiedDescriptor>) {
        let found = entered.into_iter().filter(|one| self.is_bootstrap(&one.link_key)).map(|one| one.key);
        let found: Vec<NodeKey> = found.collect();
        self.bootstrap_keys.extend(found);
        // Whoever names a bootstrap's key is not for ever remembered.
        let members = &self.members;
        if self.bootstrap_keys.len() > BOOTSTRAPS_MAX {
            self.bootstrap_keys.retain(|key| members.get(key).is_some());
        }
    }

    /// The guard's link; one that is too old for new circuits serves until its successor is up.
    fn guard_link(&mut self, now: Now, guard: &NodeKey) -> Option<LinkId> {
        let (link_key, address) = self.members.get(guard).map(|guard| (guard.link_key, guard.address))?;
        let (_, dial) = self.links.reach(now.instant, link_key, address);
        dial.into_iter().for_each(|dial| self.effects.io(dial));
        self.links.link_to(&link_key)
    }

    pub(super) fn on_backward(&mut self, now: Now, link: LinkId, cell: &Cell) {
        let end = (link, cell.circuit());
        let Some(run) = self.runs.heard(end, now.instant) else { return };
        let taken = run.take(cell, &mut self.rng);
        if let Some(count) = run.from_guard.pass() {
            self.effects.send(link, Cell::credit(end.1, count));
        }
        if let Err(failure) = taken {
            return self.end_run(now, end, Some(failure));
        }
        if run.is_complete() {
            return self.end_run(now, end, None);
        }
        self.pump(end);
    }

    pub(super) fn on_credit(&mut self, now: Now, link: LinkId, cell: &Cell) {
        let end = (link, cell.circuit());
        let Some(run) = self.runs.heard(end, now.instant) else { return };
        let granted = cell.credit_count().ok().and_then(|count| run.to_guard.grant(count).ok());
        match granted {
            Some(()) => {
                self.pump(end);
                if self.runs.all.get(&end).is_some_and(Run::is_complete) {
                    self.end_run(now, end, None);
                }
            }
            None => self.end_run(now, end, Some(Failure::Destroyed)),
        }
    }

    fn pump(&mut self, end: (LinkId, CircuitId)) {
        while let Some(cell) = self.runs.all.get_mut(&end).and_then(|run| run.to_guard.pop()) {
            self.effects.send(end.0, cell.on_circuit(end.1));
        }
    }

    pub(super) fn on_destroy(&mut self, now: Now, link: LinkId, cell: &Cell) {
        let end = (link, cell.circuit());
        if self.runs.all.contains_key(&end) {
            // Whoever ended it is not told of its end.
            self.links.close_circuit(end.0, end.1);
            self.end_run(now, end, Some(Failure::Destroyed));
        }
    }

    pub(super) fn fail_late_runs(&mut self, now: Now) {
        self.runs
            .deadlines
            .due(now.instant)
            .into_iter()
            .for_each(|end| self.end_run(now, end, Some(Failure::TimedOut)));
    }

    pub(super) fn fail_runs_on(&mut self, now: Now, link: LinkId) {
        let ends = self.runs.on_link(link);
        // Whoever ends the link instead of its circuits does not thereby stay uncounted; but it is one fault, and links break.
        if let Some(guard) = ends.first().and_then(|end| self.runs.all.get(end)).map(|run| run.guard) {
            self.count_for_guard(now, &guard, false);
        }
        ends.into_iter().for_each(|end| self.end_run(now, end, Some(Failure::Destroyed)));
    }

    pub(super) fn drop_circuits_of(&mut self, operation: u64) {
        self.due.retain(|due| due.operation != operation);
        let ends: Vec<End> = self.runs.of(operation).collect();
        for end in ends {
            self.runs.remove(&end);
            self.close(end);
        }
        self.runs.failed_in_row.remove(&operation);
    }

    fn close(&mut self, end: (LinkId, CircuitId)) {
        if self.links.close_circuit(end.0, end.1) {
            self.effects.destroy(end.0, end.1);
        }
    }

    fn end_run(&mut self, now: Now, end: (LinkId, CircuitId), failure: Option<Failure>) {
        let Some(run) = self.runs.remove(&end) else { return };
        let guard_is_up = self.links.peer(end.0).is_some();
        self.close(end);
        // A first reply alone is no end: a guard would let it pass, and nothing after it.
        self.runs.note_in_row(run.operation, failure.is_none());
        if guard_is_up {
            self.count_for_guard(now, &run.guard, failure.is_none());
        }
        let may_replace = self.guards.doubts(&run.guard).is_none();
        let changed = match failure {
            None => self.second_hops.on_success(&run.second_hop),
            Some(Failure::NotReached) if !self.is_stored() => {
                self.second_hops.on_not_reached(&run.second_hop, &run.exit, may_replace, now.unix)
            }
            // With a membership of yesterday the fault may be ours: an onion key that is no more.
            Some(_) if guard_is_up && !self.is_stored() => {
                self.second_hops.on_failure(&run.second_hop, &run.exit, may_replace, now.unix)
            }
            Some(_) => false,
        };
        if changed {
            let (rule, guards) = (self.config.rule, self.guards.ordered());
            let ours = &self.config.ours;
            self.second_hops.refill(&self.members, rule, now.unix, &guards, ours, &mut self.rng);
            // Counts alone are kept with those of the guards.
            if !self.second_hops.is_kept_but_for_counts(&self.config.kept.second_hops) {
                self.keep();
            }
        }
        if failure.is_some() {
            self.note_failure(now);
        }
        let exit = run.exit;
        let (operation, attempt) = (run.operation, run.attempt.id);
        let result = match failure {
            Some(why) => AttemptResult::Failed { exit: Some(exit), why: self.guard_fails(&run).unwrap_or(why) },
            None => {
                let unknown = self.unknown_signers(&run);
                let result = AttemptResult::Answered { exit, bytes: run.bytes };
                if !unknown.is_empty() {
                    let (network, now) = (self.config.network, now.unix);
                    let pending = Pending::Signers { operation, attempt, result };
                    return self.work(pending, Job::CheckDescriptors { network, descriptors: unknown, now });
                }
                result
            }
        };
        self.deliver(now, operation, attempt, result);
    }

    /// How a circuit ended, or that a link ended with circuits on it, counts for its guard. While the membership from disk is found
    /// wanting, bootstraps having told no better one yet or at all, the fault is likelier ours.
    fn count_for_guard(&mut self, now: Now, guard: &NodeKey, finished: bool) {
        if !self.is_stored_in_doubt() && self.guards.on_circuit(guard, finished, now.unix) {
            self.guards.doubts(guard).into_iter().for_each(|of| self.effects.event(ClientEvent::GuardDoubted(of)));
        }
    }

    /// Why its operation goes on no more: its guard is doubted, and has let as many of its circuits fail in a row as it may.
    fn guard_fails(&self, run: &Run) -> Option<Failure> {
        let failed = self.runs.failed_in_row.get(&run.operation).copied().unwrap_or(0);
        let doubted = self.guards.doubts(&run.guard).filter(|_| failed >= GUARD_FAILURES_IN_ROW_MAX);
        doubted.map(Failure::GuardFails)
    }

    /// Descriptors of signers that this client has not met: they count once checked.
    fn unknown_signers(&self, run: &Run) -> Vec<SignedDescriptor> {
        let answers: Vec<ExitAnswer> = match run.attempt.request {
            ExitRequest::Find { .. } | ExitRequest::Put { .. } => {
                ExitAnswer::decode(&run.bytes, ValueKind::Signed).into_iter().collect()
            }
            ExitRequest::PutChunks { .. } => {
                let slots = run.bytes.chunks(CIRCUIT_DATA_LEN_MAX);
                slots.filter_map(|slot| ExitAnswer::decode(slot, ValueKind::Hashed).ok()).collect()
            }
            ExitRequest::FetchChunks { .. } | ExitRequest::Look { .. } => Vec::new(),
        };
        // Chunks of one batch may have the same holder.
        let unknown: BTreeMap<_, _> = answers
            .into_iter()
            .flat_map(|answer| answer.descriptors)
            .filter(|one| self.judged.wants(one))
            .map(|one| (one.claim(), one))
            .collect();
        unknown.into_values().collect()
    }

    pub(super) fn deliver(&mut self, now: Now, operation: u64, id: u32, result: AttemptResult) {
        self.operation_handle(now, operation, RequestInput::Attempted { id, result });
    }
}

impl Run {
    fn new(operation: u64, attempt: Attempt, path: &Path, building: Building) -> Self {
        Self {
            operation,
            attempt,
            guard: path.guard(),
            second_hop: path.second_hop(),
            exit: path.exit(),
            stage: Stage::Building(Box::new(building)),
            bytes: Vec::new(),
            cells: 0,
            to_guard: Sending::default(),
            from_guard: Receiving::default(),
        }
    }

    /// Opens the next cell of the circuit. Reply 0 first, and once.
    fn take(&mut self, cell: &Cell, rng: &mut dyn crate::crypto::CryptoRng) -> Result<(), Failure> {
        self.from_guard.receive().map_err(|_| Failure::Forged)?;
        match (core::mem::replace(&mut self.stage, Stage::Over), cell.command()) {
            (Stage::Building(building), Command::Reply0) => {
                let (mut circuit, data) = match building.open_reply0(cell.body())? {
                    Reply0::Exit(circuit, data) => (circuit, data),
                    // A guard that says so itself says no more than one that ends the circuit.
                    Reply0::NotReached { hops: 1 } => return Err(Failure::Destroyed),
                    Reply0::NotReached { .. } => return Err(Failure::NotReached),
                };
                self.bytes = data;
                // What comes is known: nothing that is asked for has another length.
                self.bytes.reserve_exact(self.attempt.reply_cells * CIRCUIT_DATA_LEN_MAX);
                for data in core::mem::take(&mut self.attempt.upload) {
                    let mut cell = Cell::new(CircuitId(1), Command::Forward);
                    *cell.body_mut() = circuit.seal_forward(&data, rng)?;
                    self.to_guard.push(cell);
                }
                self.stage = Stage::Open(Box::new(circuit));
                Ok(())
            }
            (Stage::Open(mut circuit), Command::Backward) => {
                self.bytes.extend(circuit.open_backward(cell.body())?);
                self.cells += 1;
                self.stage = Stage::Open(circuit);
                Ok(())
            }
            _ => Err(Failure::Forged),
        }
    }

    fn is_complete(&self) -> bool {
        matches!(self.stage, Stage::Open(_)) && self.cells >= self.attempt.reply_cells && self.to_guard.queued() == 0
    }
}
