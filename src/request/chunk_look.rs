//! Asks who has up to four chunks, and until when: one circuit at a time, another exit for those of which too few copies were seen.
//! Nothing of the chunks themselves comes. Source: spec/requests.md §10.

use super::attempts::{AttemptResult, Attempts};
use super::{Context, Refused, RequestInput, Sighting, Success};
use crate::crypto::random_bytes;
use crate::dht::evidence::Tally;
use crate::limits::{BATCH_CHUNKS, CHUNK_HOLDERS, EXPIRY_MAX_S, LOOK_ANSWERS_MAX, LOOK_SLOT_LEN};
use crate::time::{Duration, Instant, Now, UnixTime};
use crate::wire::onion::{ExitAnswer, ExitRequest, are_distinct};
use crate::wire::record::{ChunkName, Expiry, ValueKind};
use crate::wire::statement::{Nonce, Operation, Question};

/// What was heard of one chunk.
struct Search {
    name: ChunkName,
    /// Made with the first circuit: the members are known by then.
    tally: Option<Tally>,
    /// Whether the members known then were all there are, as far as bootstraps know.
    is_whole: bool,
    seen: Sighting,
}

/// The machine.
pub struct ChunkLook {
    places: Vec<Search>,
    answers: usize,
    /// Whether anybody who counts said anything.
    told: bool,
    pub(super) attempts: Attempts<(Vec<usize>, Nonce)>,
}

impl ChunkLook {
    /// Starts at once; takes the first four hashes.
    pub fn new(hashes: Vec<[u8; 32]>, now: Instant, timeout: Duration, context: &mut Context<'_>) -> Self {
        let search = |hash| Search {
            name: ChunkName { hash, index: 0 },
            tally: None,
            is_whole: false,
            seen: Sighting::default(),
        };
        let is_sound = hashes.is_empty() || are_distinct(hashes.iter().take(BATCH_CHUNKS));
        let places = hashes.into_iter().take(BATCH_CHUNKS).map(search).collect();
        let mut request = Self { places, answers: 0, told: false, attempts: Attempts::new(now + timeout) };
        if is_sound {
            request.ask(now, context.stagger, context);
        } else {
            // As of a get.
            request.attempts.finish(Err(Refused::Damaged));
        }
        request
    }

    fn ask(&mut self, now: Instant, delay: Duration, context: &mut Context<'_>) {
        let is_wanting = |(_, search): &(usize, &Search)| search.seen.until.len() < CHUNK_HOLDERS;
        let wanting: Vec<(usize, &Search)> = self.places.iter().enumerate().filter(is_wanting).collect();
        if wanting.is_empty() || self.answers >= LOOK_ANSWERS_MAX {
            return;
        }
        let nonce = Nonce(random_bytes(context.rng));
        let chunks = wanting.iter().map(|(_, search)| search.name).collect();
        let asked = wanting.into_iter().map(|(at, _)| at).collect();
        let request = ExitRequest::Look { nonce, chunks };
        self.attempts.start((asked, nonce), (request, Vec::new(), 1), now, delay, context.rng);
    }

    pub(super) fn handle(&mut self, now: Now, input: RequestInput, context: &mut Context<'_>) {
        if matches!(input, RequestInput::Building { .. }) {
            return self.on_building(context);
        }
        if let RequestInput::Attempted { id, result } = input {
            let Some(((asked, nonce), refused)) = self.attempts.end(id, &result) else { return };
            if let Some(refused) = refused {
                return if self.told { self.end() } else { self.attempts.finish(Err(refused)) };
            }
            if let AttemptResult::Answered { bytes, .. } = result {
                self.on_answer(&asked, nonce, &bytes, now.unix, context);
            }
            let delay = self.attempts.retry_delay();
            self.ask(now.instant, delay, context);
        }
        if self.attempts.is_over(now.instant) || self.attempts.none_open() {
            self.end();
        }
    }

    fn on_building(&mut self, context: &Context<'_>) {
        for search in self.places.iter_mut().filter(|search| search.tally.is_none()) {
            search.tally = Some(Tally::new(search.name.location(), context.members));
            search.is_whole = context.is_whole;
        }
    }

    fn on_answer(&mut self, asked: &[usize], nonce: Nonce, bytes: &[u8], now: UnixTime, context: &Context<'_>) {
        self.answers += 1;
        for (slot, (part, at)) in bytes.chunks(LOOK_SLOT_LEN).zip(asked).enumerate() {
            let Some(search) = self.places.get_mut(*at) else { continue };
            let Ok(answer) = ExitAnswer::decode(part, ValueKind::Hashed) else {
                self.attempts.counts.invalid += 1;
                continue;
            };
            if search.on_answer(&answer, nonce.of_slot(slot), now, context) {
                self.told = true;
                self.attempts.counts.valid += 1;
            } else {
                self.attempts.counts.empty += 1;
            }
        }
    }

    fn end(&mut self) {
        let result = if self.told || self.places.is_empty() {
            Ok(Success::ChunksSeen(self.places.iter().map(|search| search.seen.clone()).collect()))
        } else {
            Err(Refused::Unreachable)
        };
        self.attempts.finish(result);
    }
}

impl Search {
    /// Whether anybody who counts said anything.
    fn on_answer(&mut self, answer: &ExitAnswer, nonce: Nonce, now: UnixTime, context: &Context<'_>) -> bool {
        let Some(tally) = &mut self.tally else { return false };
        let question = Question { nonce, operation: Operation::Find, location: self.name.location() };
        let added = tally.add(context.network, &question, &answer.statements, context.members, now);
        let claims = tally.claims(context.members).into_iter();
        let of_it = claims.filter(|(_, digest)| *digest == self.name.hash);
        self.seen.until = of_it.filter_map(|(step, _)| Expiry::of_step(step)).filter(|end| can_be(*end, now)).collect();
        self.seen.attested = self.is_whole && tally.attestation(context.members).attested;
        added.valid > 0
    }
}

/// No storer keeps anything for longer, nor after its end: whoever says so has not got it.
fn can_be(end: Expiry, now: UnixTime) -> bool {
    let end = end.time();
    end > now && end.0 <= now.0.saturating_add(EXPIRY_MAX_S)
}
