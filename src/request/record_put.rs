//! Stores a signed value at its three locations and counts receipts. Source: spec/requests.md §6.

use super::attempts::{AttemptResult, Attempts};
use super::paying::{Price, Terms, declined};
use super::{Context, Refused, RequestInput, Success};
use crate::crypto::random_bytes;
use crate::crypto::storage_puzzle::StoragePuzzle;
use crate::dht::receipts::Receipts;
use crate::limits::{ANSWERS_PER_PLACE_MAX, HOLDERS};
use crate::record::Place;
use crate::time::{Duration, Instant, Now};
use crate::wire::onion::{ExitAnswer, ExitRequest};
use crate::wire::payment::Payment;
use crate::wire::record::{RecordBytes, ValueKind};
use crate::wire::statement::{Nonce, Operation, Question};

struct Target {
    place: Place,
    record: RecordBytes,
    seq: u64,
    /// Made with the first circuit: the members are known by then, and no answer for this location has added to them.
    receipts: Option<Receipts>,
    price: Price,
    answers: usize,
}

/// The machine.
pub struct RecordPut {
    places: Vec<Target>,
    expected: Option<u64>,
    pub(super) attempts: Attempts<(usize, Nonce)>,
}

impl RecordPut {
    /// Starts at once: each record with its place. `expected` is the author's sequence number of what may be replaced, 0 for none.
    pub fn new(
        records: Vec<(Place, RecordBytes)>,
        expected: Option<u64>,
        now: Instant,
        timeout: Duration,
        context: &mut Context<'_>,
    ) -> Self {
        let target = |(place, record): (Place, RecordBytes)| {
            let seq = record.fields().map_or(0, |fields| fields.seq);
            Target { place, record, seq, receipts: None, price: Price::default(), answers: 0 }
        };
        let places: Vec<_> = records.into_iter().map(target).collect();
        let mut request = Self { places, expected, attempts: Attempts::new(now + timeout) };
        for at in 0..request.places.len() {
            request.ask(at, now, context.stagger, context);
        }
        request
    }

    fn ask(&mut self, at: usize, now: Instant, delay: Duration, context: &mut Context<'_>) {
        let Some(target) = self.places.get(at).filter(|target| target.answers < ANSWERS_PER_PLACE_MAX) else { return };
        let nonce = Nonce(random_bytes(context.rng));
        let expected = self.expected.map(|seq| if seq == 0 { 0 } else { target.place.seq_there(seq) });
        let request = ExitRequest::Put { nonce, expected, record: target.record.clone(), payment: None };
        self.attempts.start((at, nonce), (request, Vec::new(), 1), now, delay, context.rng);
    }

    pub(super) fn handle(&mut self, now: Now, input: RequestInput, context: &mut Context<'_>) {
        if let RequestInput::Building { id } = input {
            return self.on_building(id, context);
        }
        if let RequestInput::Attempted { id, result } = input {
            let Some(((at, nonce), refused)) = self.attempts.end(id, &result) else { return };
            if let Some(refused) = refused {
                return self.settle(Some(refused));
            }
            if let AttemptResult::Answered { bytes, .. } = result {
                self.on_answer(at, nonce, &bytes, now, context);
            }
            if self.places.get(at).is_some_and(Target::is_wanting) {
                let delay = self.attempts.retry_delay();
                self.ask(at, now.instant, delay, context);
            }
        }
        if self.attempts.is_over(now.instant) || self.attempts.none_open() {
            self.settle(None);
        }
    }

    fn on_building(&mut self, id: u32, context: &Context<'_>) {
        let Some(target) = self.attempts.what(id).and_then(|(at, _)| self.places.get_mut(*at)) else { return };
        let (location, claim) = (target.place.location, (target.seq, target.record.digest()));
        target.receipts.get_or_insert_with(|| Receipts::new(ValueKind::Signed, location, claim, context.members));
    }

    fn on_answer(&mut self, at: usize, nonce: Nonce, bytes: &[u8], now: Now, context: &mut Context<'_>) {
        let Some(target) = self.places.get_mut(at) else { return };
        let Ok(answer) = ExitAnswer::decode(bytes, ValueKind::Signed) else {
            self.attempts.counts.invalid += 1;
            return;
        };
        target.answers += 1;
        let question = Question { nonce, operation: Operation::Store, location: target.place.location };
        let Some(receipts) = &mut target.receipts else { return };
        let before = receipts.stored();
        receipts.add(context.network, &question, &answer.statements, context.members, now.unix);
        target.price.on_answer(receipts);
        if receipts.stored() > before {
            self.attempts.counts.valid += 1;
        } else {
            self.attempts.counts.empty += 1;
        }
    }

    pub(super) fn puzzles(&self, id: u32, terms: &Terms<'_>) -> Vec<Option<StoragePuzzle>> {
        let target = self.attempts.what(id).and_then(|(at, _)| self.places.get(*at));
        let puzzle = |target: &Target| {
            target.price.puzzle(terms, ValueKind::Signed, target.place.location, target.record.digest())
        };
        target.map(puzzle).into_iter().collect()
    }

    pub(super) fn on_paid(&mut self, id: u32, payments: &[Option<Payment>]) {
        let target = self.attempts.what(id).and_then(|(at, _)| self.places.get_mut(*at));
        if let (Some(target), Some(Some(payment))) = (target, payments.first()) {
            target.price.on_paid(*payment);
        }
    }

    pub(super) fn payments(&self, id: u32) -> Vec<Option<Payment>> {
        let target = self.attempts.what(id).and_then(|(at, _)| self.places.get(*at));
        target.map(|target| target.price.payment()).into_iter().collect()
    }

    fn settle(&mut self, refused: Option<Refused>) {
        if self.attempts.is_done() {
            return;
        }
        let copies: Vec<usize> = self.places.iter().map(Target::stored).collect();
        let (stored, asked) = (copies.iter().sum::<usize>(), HOLDERS * copies.len());
        let conflict = self.places.iter().filter_map(Target::conflict).max();
        let result = match conflict {
            _ if stored == asked => Ok(Success::RecordStored { copies }),
            Some(seq) => Err(Refused::Conflict { seq }),
            None if stored == 0 => {
                let receipts = self.places.iter().filter_map(|target| target.receipts.as_ref());
                Err(refused.or_else(|| declined(receipts)).unwrap_or_else(|| self.attempts.nothing_came()))
            }
            None => Err(Refused::Partly { copies: stored, asked }),
        };
        self.attempts.finish(result);
    }
}

impl Target {
    fn stored(&self) -> usize {
        self.receipts.as_ref().map_or(0, |receipts| receipts.stored().min(HOLDERS))
    }

    /// The sequence number that is kept instead, once more holders say so than keep the record: one alone may lie.
    fn conflict(&self) -> Option<u64> {
        let receipts = self.receipts.as_ref().filter(|receipts| receipts.conflicts() > receipts.stored())?;
        receipts.newest_conflict().map(|(seq, _)| self.place.seq_of(seq).unwrap_or(0))
    }

    fn is_wanting(&self) -> bool {
        self.stored() < HOLDERS && self.conflict().is_none()
    }
}
