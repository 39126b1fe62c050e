//! Stores a signed value at its three locations and counts receipts. Source: spec/requests.md §6.

use super::attempts::{AttemptResult, Attempts, retry_delay};
use super::{Context, Refused, RequestInput, Success};
use crate::crypto::random_bytes;
use crate::dht::receipts::Receipts;
use crate::keyspace::Location;
use crate::limits::{ANSWERS_PER_PLACE_MAX, HOLDERS, STAGGER_MAX};
use crate::time::{Duration, Instant, Now};
use crate::wire::onion::{ExitAnswer, ExitRequest};
use crate::wire::record::{RecordBytes, ValueKind};
use crate::wire::statement::{Nonce, Operation, Question};

struct Place {
    location: Location,
    record: RecordBytes,
    seq: u64,
    /// Made with the first answer: the members are known by then.
    receipts: Option<Receipts>,
    answers: usize,
}

/// The machine.
pub struct RecordPut {
    places: Vec<Place>,
    expected: Option<u64>,
    pub(super) attempts: Attempts<(usize, Nonce)>,
}

impl RecordPut {
    /// Starts at once: each record with its location. `expected` is the sequence number that must be held now, 0 for none.
    pub fn new(
        records: Vec<(Location, RecordBytes)>,
        expected: Option<u64>,
        now: Instant,
        timeout: Duration,
        context: &mut Context<'_>,
    ) -> Self {
        let place = |(location, record): (Location, RecordBytes)| {
            let seq = record.fields().map_or(0, |fields| fields.seq);
            Place { location, record, seq, receipts: None, answers: 0 }
        };
        let places: Vec<_> = records.into_iter().map(place).collect();
        let mut request = Self { places, expected, attempts: Attempts::new(now + timeout) };
        for at in 0..request.places.len() {
            request.ask(at, now, STAGGER_MAX, context);
        }
        request
    }

    fn ask(&mut self, at: usize, now: Instant, delay: Duration, context: &mut Context<'_>) {
        let Some(place) = self.places.get(at).filter(|place| place.answers < ANSWERS_PER_PLACE_MAX) else { return };
        let nonce = Nonce(random_bytes(context.rng));
        let request = ExitRequest::Put { nonce, expected: self.expected, record: place.record.clone() };
        self.attempts.start((at, nonce), (request, Vec::new(), 1), now, delay, context.rng);
    }

    pub(super) fn handle(&mut self, now: Now, input: RequestInput, context: &mut Context<'_>) {
        if let RequestInput::Attempted { id, result } = input {
            let Some((at, nonce)) = self.attempts.end(id, &result) else { return };
            if let Some(refused) = Attempts::<()>::hopeless(&result) {
                return self.settle(Some(refused));
            }
            if let AttemptResult::Answered { bytes, .. } = result {
                self.on_answer(at, nonce, &bytes, now, context);
            }
            if self.places.get(at).is_some_and(Place::is_wanting) {
                self.ask(at, now.instant, retry_delay(), context);
            }
        }
        if self.attempts.is_over(now.instant) || self.attempts.none_open() {
            self.settle(None);
        }
    }

    fn on_answer(&mut self, at: usize, nonce: Nonce, bytes: &[u8], now: Now, context: &mut Context<'_>) {
        let Some(place) = self.places.get_mut(at) else { return };
        let Ok(answer) = ExitAnswer::decode(bytes, ValueKind::Signed) else {
            self.attempts.counts.invalid += 1;
            return;
        };
        place.answers += 1;
        let question = Question { nonce, operation: Operation::Store, location: place.location };
        let (location, claim) = (place.location, (place.seq, place.record.digest()));
        let receipts = place.receipts.get_or_insert_with(|| Receipts::new(location, claim, context.members));
        let before = receipts.stored();
        receipts.add(context.network, &question, &answer.statements, context.members, now.unix);
        if receipts.stored() > before {
            self.attempts.counts.valid += 1;
        } else {
            self.attempts.counts.empty += 1;
        }
    }

    fn settle(&mut self, refused: Option<Refused>) {
        if self.attempts.is_done() {
            return;
        }
        let copies: Vec<usize> = self.places.iter().map(Place::stored).collect();
        let (stored, asked) = (copies.iter().sum::<usize>(), HOLDERS * copies.len());
        let conflict = self.places.iter().filter_map(Place::conflict).max();
        let result = match conflict {
            _ if stored == asked => Ok(Success::RecordStored { copies }),
            Some(seq) => Err(Refused::Conflict { seq }),
            None if stored == 0 => Err(refused.unwrap_or(Refused::Unreachable)),
            None => Err(Refused::Partly { copies: stored, asked }),
        };
        self.attempts.finish(result);
    }
}

impl Place {
    fn stored(&self) -> usize {
        self.receipts.as_ref().map_or(0, |receipts| receipts.stored().min(HOLDERS))
    }

    /// The sequence number that is kept instead, once more holders say so than keep the record: one alone may lie.
    fn conflict(&self) -> Option<u64> {
        let receipts = self.receipts.as_ref().filter(|receipts| receipts.conflicts() > receipts.stored())?;
        receipts.newest_conflict().map(|(seq, _)| seq)
    }

    fn is_wanting(&self) -> bool {
        self.stored() < HOLDERS && self.conflict().is_none()
    }
}
