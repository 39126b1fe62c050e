//! The exit of a circuit: one errand per location or chunk, then exactly as many cells back as the request has.
//! Source: spec/requests.md.

use std::collections::BTreeMap;

use super::paying::Handed;
use super::{AskOwner, Pending, Relay};
use crate::dht::errand::{Errand, ErrandInput, ErrandOutput, Purpose, Report};
use crate::keyspace::{Id, Location};
use crate::limits::{
    ANSWER_DESCRIPTORS_MAX, ANSWER_LEN, BATCH_CHUNKS, CIRCUIT_DATA_LEN_MAX, EXIT_OPERATIONS_MAX, EXIT_TIMEOUT, HOLDERS,
    LOOK_SLOT_LEN, REPLY0_DATA_LEN_MAX, SLOT_CELLS, SLOT_LEN,
};
use crate::node::asks::ErrandAsk;
use crate::node::circuits::CircuitNo;
use crate::node::sight::Sight;
use crate::node::work::Job;
use crate::record::VerifiedValue;
use crate::time::Now;
use crate::wire::cell::Command;
use crate::wire::message::Answer;
use crate::wire::onion::{ExitAnswer, ExitRequest};
use crate::wire::payment::Payment;
use crate::wire::record::{ChunkBytes, ChunkName, Expiry, Value, ValueKind};
use crate::wire::statement::{Nonce, Question, Statement};

/// What an exit is doing for one circuit.
pub(super) struct ExitOperation {
    shape: Shape,
    nonce: Nonce,
    /// Answers that are ready, by slot; sent strictly in order.
    ready: BTreeMap<usize, ExitAnswer>,
    sent: usize,
    upload: Option<Upload>,
}

/// What comes back, and in how many cells.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shape {
    /// Reply 0 and one cell.
    Record,
    /// Reply 0, then four slots of 34 cells.
    Fetch,
    /// Reply 0, then, after four slots came, four cells.
    Put,
    /// As of a record, with a part for each of four chunks; once all are known.
    Look,
}

/// Chunks on their way in.
struct Upload {
    expiry: Expiry,
    chunks: Vec<(ChunkName, u32)>,
    payments: Vec<Option<Payment>>,
    cells: usize,
    bytes: Vec<u8>,
}

/// Who waits for an errand.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum ErrandOwner {
    /// A slot of a circuit's request.
    Slot(CircuitNo, usize),
    /// The relay's operator, under this number.
    Operator(u64, Question),
}

impl ErrandOwner {
    /// The circuit that waits, if one does.
    pub(super) fn circuit(self) -> Option<CircuitNo> {
        match self {
            Self::Slot(no, _) => Some(no),
            Self::Operator(..) => None,
        }
    }
}

impl ExitOperation {
    fn is_uploading(&self) -> bool {
        self.upload.as_ref().is_some_and(|upload| upload.cells < SLOT_CELLS * BATCH_CHUNKS)
    }
}

impl Relay {
    pub(super) fn start_exit(&mut self, now: Now, no: CircuitNo, request: &[u8]) {
        let request = ExitRequest::decode(request).ok().filter(|_| self.exits.len() < EXIT_OPERATIONS_MAX);
        let Some(request) = request else { return self.kill_circuit(no) };
        let (shape, nonce) = match &request {
            ExitRequest::Find { nonce, .. } | ExitRequest::Put { nonce, .. } => (Shape::Record, *nonce),
            ExitRequest::FetchChunks { nonce, .. } => (Shape::Fetch, *nonce),
            ExitRequest::PutChunks { nonce, .. } => (Shape::Put, *nonce),
            ExitRequest::Look { nonce, .. } => (Shape::Look, *nonce),
        };
        self.exits.insert(no, ExitOperation { shape, nonce, ready: BTreeMap::new(), sent: 0, upload: None });
        match request {
            ExitRequest::Find { location, .. } => {
                self.start_errand(now, no, 0, (location, ValueKind::Signed), Purpose::Find { digest: None });
            }
            ExitRequest::Put { expected, record, payment, .. } => {
                let pending = Pending::PutChecked { circuit: no, slot: 0, expected, payment };
                let value = Value::Signed(record);
                self.work(pending, Job::CheckValue { network: self.config.network, value, now: now.unix });
            }
            ExitRequest::FetchChunks { chunks, .. } => {
                self.send_backward(no, Command::Reply0, &[]);
                self.start_slots(now, no, &chunks, |name| Purpose::Find { digest: Some(name.hash) });
            }
            ExitRequest::Look { chunks, .. } => {
                self.start_slots(now, no, &chunks, |name| Purpose::Look { digest: name.hash })
            }
            ExitRequest::PutChunks { expiry, chunks, payments, .. } => {
                self.send_backward(no, Command::Reply0, &[]);
                let used = chunks.len();
                if let Some(exit) = self.exits.get_mut(&no) {
                    exit.upload = Some(Upload { expiry, chunks, payments, cells: 0, bytes: Vec::new() });
                }
                self.fill_slots(now, no, used);
            }
        }
    }

    fn start_slots(&mut self, now: Now, no: CircuitNo, chunks: &[ChunkName], purpose: impl Fn(&ChunkName) -> Purpose) {
        for (slot, name) in chunks.iter().enumerate() {
            self.start_errand(now, no, slot, (name.location(), ValueKind::Hashed), purpose(name));
        }
        self.fill_slots(now, no, chunks.len());
    }

    /// Slots that the request leaves empty are answered all the same.
    fn fill_slots(&mut self, now: Now, no: CircuitNo, used: usize) {
        for slot in used..BATCH_CHUNKS {
            self.slot_ready(now, no, slot, ExitAnswer::default());
        }
    }

    pub(super) fn on_exit_data(&mut self, now: Now, no: CircuitNo, data: &[u8]) {
        let Some(upload) = self.exits.get_mut(&no).and_then(|exit| exit.upload.as_mut()) else {
            return self.kill_circuit(no);
        };
        let slot = upload.cells / SLOT_CELLS;
        if slot >= BATCH_CHUNKS || data.len() != CIRCUIT_DATA_LEN_MAX {
            return self.kill_circuit(no);
        }
        upload.cells += 1;
        let is_last = upload.cells == SLOT_CELLS * BATCH_CHUNKS;
        let Some((name, len)) = upload.chunks.get(slot).copied() else {
            if is_last {
                self.send_ready(no);
            }
            return;
        };
        upload.bytes.extend_from_slice(data);
        if !upload.cells.is_multiple_of(SLOT_CELLS) {
            return;
        }
        let mut bytes = core::mem::take(&mut upload.bytes);
        bytes.truncate(usize::try_from(len).unwrap_or(usize::MAX));
        let value = Value::Hashed(ChunkBytes { hash: name.hash, index: name.index, expiry: upload.expiry, bytes });
        let payment = upload.payments.get(slot).copied().flatten();
        let pending = Pending::PutChecked { circuit: no, slot, expected: None, payment };
        self.work(pending, Job::CheckValue { network: self.config.network, value, now: now.unix });
    }

    pub(super) fn on_put_checked(
        &mut self,
        now: Now,
        (no, slot): (CircuitNo, usize),
        expected: Option<u64>,
        payment: Option<Payment>,
        value: Option<Box<VerifiedValue>>,
    ) {
        match (value, payment) {
            (Some(value), None) => self.start_put(now, (no, slot), expected, None, value),
            (Some(value), Some(payment)) => {
                self.on_handed(now, Handed { slot: (no, slot), expected, value, payment });
            }
            // What no storer would keep is answered with no receipt.
            (None, _) => self.slot_ready(now, no, slot, ExitAnswer::default()),
        }
    }

    pub(super) fn on_put_paid(&mut self, now: Now, handed: Handed, holds: bool) {
        let Handed { slot: (no, slot), expected, value, payment } = handed;
        if holds {
            self.start_put(now, (no, slot), expected, Some(payment), value);
        } else {
            self.slot_ready(now, no, slot, ExitAnswer::default());
        }
    }

    fn start_put(
        &mut self,
        now: Now,
        (no, slot): (CircuitNo, usize),
        expected: Option<u64>,
        payment: Option<Payment>,
        value: Box<VerifiedValue>,
    ) {
        let place = (value.location(), value.kind());
        self.start_errand(now, no, slot, place, Purpose::Put { value, expected, payment });
    }

    fn start_errand(
        &mut self,
        now: Now,
        no: CircuitNo,
        slot: usize,
        (location, kind): (Location, ValueKind),
        purpose: Purpose,
    ) {
        let Some(exit) = self.exits.get(&no) else { return };
        let nonce = if exit.shape == Shape::Record { exit.nonce } else { exit.nonce.of_slot(slot) };
        let inward = self.circuits.get_mut(no).map(|circuit| circuit.inward);
        if let Some((from, inward)) = inward.and_then(|(link, number)| Some((self.links.peer(link)?.link_key, number)))
        {
            let is_store = matches!(purpose, Purpose::Put { .. });
            self.effects.sight(|| Sight::Exited { from, inward, location, is_store });
        }
        self.begin_errand(now, ErrandOwner::Slot(no, slot), (location, kind), nonce, purpose);
    }

    pub(super) fn begin_errand(
        &mut self,
        now: Now,
        owner: ErrandOwner,
        (location, kind): (Location, ValueKind),
        nonce: Nonce,
        purpose: Purpose,
    ) {
        let start = self.known_closest(now, &location);
        let deadline = now.instant + EXIT_TIMEOUT;
        let errand = Errand::new(location, kind, nonce, purpose, start, self.config.rule, (now.instant, deadline));
        let id = self.next_id();
        self.errands.insert(id, owner, errand);
        self.drain_errand(now, id);
    }

    /// Does what an errand wants. Answers of our own store come back through here, so one errand is taken out at a time.
    fn drain_errand(&mut self, now: Now, id: u64) {
        while let Some((owner, errand)) = self.errands.get_mut(id) {
            let Some(output) = errand.poll_output() else { return self.errands.note_time(id) };
            match output {
                ErrandOutput::Ask { to, ask } => {
                    self.ask(now, to, AskOwner::Errand(ErrandAsk { errand: id, to: to.id }), ask);
                }
                ErrandOutput::Check { from, value } => {
                    let job = Job::CheckValue { network: self.config.network, value, now: now.unix };
                    self.work(Pending::ErrandChecked { errand: id, from }, job);
                }
                ErrandOutput::Done(report) => {
                    self.errands.remove(id);
                    return match owner {
                        ErrandOwner::Slot(no, slot) => {
                            let answer = self.answer_of(report);
                            self.slot_ready(now, no, slot, answer);
                        }
                        ErrandOwner::Operator(look, question) => self.tell_looked(look, question, report),
                    };
                }
            }
        }
    }

    fn errand_handle(&mut self, now: Now, id: u64, input: ErrandInput) {
        if let Some((_, errand)) = self.errands.get_mut(id) {
            errand.handle(now.instant, input);
            self.drain_errand(now, id);
        }
    }

    pub(super) fn on_errand_answer(&mut self, now: Now, owner: ErrandAsk, answer: Answer) {
        self.errand_handle(now, owner.errand, ErrandInput::Answered { from: owner.to, answer: Box::new(answer) });
    }

    pub(super) fn on_errand_failed(&mut self, now: Now, owner: ErrandAsk) {
        self.errand_handle(now, owner.errand, ErrandInput::Failed { from: owner.to });
    }

    pub(super) fn on_errand_checked(&mut self, now: Now, errand: u64, from: Id, value: Option<Box<VerifiedValue>>) {
        self.errand_handle(now, errand, ErrandInput::Checked { from, value });
    }

    pub(super) fn errands_time(&mut self, now: Now) {
        self.errands.due(now.instant).into_iter().for_each(|id| self.errand_handle(now, id, ErrandInput::Timeout));
    }

    fn answer_of(&self, report: Report) -> ExitAnswer {
        let value = report.value.map(|value| match value.into_value() {
            Value::Signed(record) => record.0.to_vec(),
            Value::Hashed(chunk) => chunk.bytes,
        });
        let descriptors = self.newest_signers(&report.statements);
        ExitAnswer { value, statements: report.statements, descriptors }
    }

    /// Descriptors of the signers that clients are least likely to know.
    fn newest_signers(&self, statements: &[Statement]) -> Vec<crate::wire::descriptor::SignedDescriptor> {
        let mut known: Vec<_> = statements.iter().filter_map(|statement| self.members.get(&statement.signer)).collect();
        known.sort_by_key(|member| core::cmp::Reverse(member.issued));
        known.into_iter().take(ANSWER_DESCRIPTORS_MAX).map(|member| member.to_signed()).collect()
    }

    /// One slot's answer is known.
    fn slot_ready(&mut self, _now: Now, no: CircuitNo, slot: usize, answer: ExitAnswer) {
        let Some(exit) = self.exits.get_mut(&no) else { return };
        exit.ready.insert(slot, answer);
        self.send_ready(no);
    }

    /// All answers that are next in order go out.
    fn send_ready(&mut self, no: CircuitNo) {
        let Some(exit) = self.exits.get_mut(&no) else { return };
        let shape = exit.shape;
        if exit.is_uploading() {
            // All that was announced by the shape comes first: an early answer would say how much of it was needed.
            return;
        }
        if shape == Shape::Look {
            return self.send_looked(no);
        }
        while let Some(exit) = self.exits.get_mut(&no) {
            let next = exit.sent;
            let Some(mut answer) = exit.ready.remove(&next) else { return };
            exit.sent += 1;
            match shape {
                // A cell holds as many receipts as a record should have, and of a chunk those of who declined, too.
                Shape::Put => answer = ExitAnswer { value: None, ..answer }.with_statements_max(HOLDERS),
                // A chunk that fits its hash needs no witness, and a slot has no room for both.
                Shape::Fetch if answer.value.is_some() => answer = answer.with_statements_max(0),
                Shape::Fetch | Shape::Record | Shape::Look => (),
            }
            let len = match shape {
                Shape::Record | Shape::Look => ANSWER_LEN,
                Shape::Fetch => SLOT_LEN,
                Shape::Put => CIRCUIT_DATA_LEN_MAX,
            };
            let Some(bytes) = answer.encode(len) else { return self.kill_circuit(no) };
            self.send_slot(no, shape, &bytes);
            let slots = if shape == Shape::Record { 1 } else { BATCH_CHUNKS };
            if next + 1 == slots {
                // Nothing more is to be done here; what is queued leaves with the circuit's credits.
                self.exits.remove(&no);
            }
        }
    }

    /// What was heard of all chunks of a request, in the cells of a record's answer.
    fn send_looked(&mut self, no: CircuitNo) {
        let Some(exit) = self.exits.get_mut(&no).filter(|exit| exit.ready.len() == BATCH_CHUNKS) else { return };
        let slots = core::mem::take(&mut exit.ready).into_values();
        let slots: Option<Vec<Vec<u8>>> = slots.map(|answer| answer.looked().encode(LOOK_SLOT_LEN)).collect();
        let Some(slots) = slots else { return self.kill_circuit(no) };
        self.send_slot(no, Shape::Record, &slots.concat());
        self.exits.remove(&no);
    }

    fn send_slot(&mut self, no: CircuitNo, shape: Shape, bytes: &[u8]) {
        let mut rest = bytes;
        if let (Shape::Record, Some((head, tail))) = (shape, bytes.split_at_checked(REPLY0_DATA_LEN_MAX)) {
            self.send_backward(no, Command::Reply0, head);
            rest = tail;
        }
        for part in rest.chunks(CIRCUIT_DATA_LEN_MAX) {
            self.send_backward(no, Command::Backward, part);
        }
    }
}
