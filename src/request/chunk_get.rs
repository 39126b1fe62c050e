//! Gets up to four chunks over one circuit at a time, from their other location over another exit when any is missing.
//! Source: spec/requests.md §7.

use super::attempts::{AttemptResult, Attempts};
use super::{Context, Refused, RequestInput, Success};
use crate::crypto::hash::blake3;
use crate::crypto::random_bytes;
use crate::limits::{ANSWERS_PER_PLACE_MAX, BATCH_CHUNKS, CHUNK_LOCATIONS, SLOT_CELLS, SLOT_LEN};
use crate::time::{Duration, Instant, Now};
use crate::wire::onion::{ExitAnswer, ExitRequest};
use crate::wire::record::{ChunkName, ValueKind};
use crate::wire::statement::Nonce;

/// The machine.
pub struct ChunkGet {
    hashes: Vec<[u8; 32]>,
    found: Vec<Option<Vec<u8>>>,
    answers: usize,
    index: usize,
    pub(super) attempts: Attempts<Vec<usize>>,
}

impl ChunkGet {
    /// Starts at once; takes the first four hashes.
    pub fn new(mut hashes: Vec<[u8; 32]>, now: Instant, timeout: Duration, context: &mut Context<'_>) -> Self {
        hashes.truncate(BATCH_CHUNKS);
        let found = hashes.iter().map(|_| None).collect();
        let index = usize::from(random_bytes::<1>(context.rng)[0]) % CHUNK_LOCATIONS;
        let mut request = Self { hashes, found, answers: 0, index, attempts: Attempts::new(now + timeout) };
        request.ask(now, context.stagger, context);
        request
    }

    fn ask(&mut self, now: Instant, delay: Duration, context: &mut Context<'_>) {
        if self.answers >= ANSWERS_PER_PLACE_MAX * CHUNK_LOCATIONS {
            return;
        }
        let index = u8::try_from((self.index + self.answers) % CHUNK_LOCATIONS).unwrap_or(0);
        let missing: Vec<usize> =
            self.found.iter().enumerate().filter(|(_, found)| found.is_none()).map(|(at, _)| at).collect();
        let name = |at: &usize| self.hashes.get(*at).map(|hash| ChunkName { hash: *hash, index });
        let chunks = missing.iter().filter_map(name).collect();
        let request = ExitRequest::FetchChunks { nonce: Nonce(random_bytes(context.rng)), chunks };
        let cells = BATCH_CHUNKS * SLOT_CELLS;
        self.attempts.start(missing, (request, Vec::new(), cells), now, delay, context.rng);
    }

    pub(super) fn handle(&mut self, now: Now, input: RequestInput, context: &mut Context<'_>) {
        if matches!(input, RequestInput::Building { .. }) {
            return;
        }
        if let RequestInput::Attempted { id, result } = input {
            let Some((asked, refused)) = self.attempts.end(id, &result) else { return };
            if let Some(refused) = refused {
                return self.attempts.finish(Err(refused));
            }
            if let AttemptResult::Answered { bytes, .. } = result {
                self.on_answer(&asked, &bytes);
            }
            if self.found.iter().all(Option::is_some) {
                let chunks = core::mem::take(&mut self.found).into_iter().flatten().collect();
                return self.attempts.finish(Ok(Success::Chunks(chunks)));
            }
            let delay = self.attempts.retry_delay();
            self.ask(now.instant, delay, context);
        }
        if self.attempts.is_over(now.instant) || self.attempts.none_open() {
            let counts = self.attempts.counts;
            let is_damaged = counts.invalid > 0 && counts.empty == 0 && counts.timed_out == 0;
            self.attempts.finish(Err(if is_damaged { Refused::Damaged } else { Refused::Unreachable }));
        }
    }

    fn on_answer(&mut self, asked: &[usize], bytes: &[u8]) {
        // The next circuit asks for the other location.
        self.answers += 1;
        for (slot, at) in bytes.chunks(SLOT_LEN).zip(asked) {
            let (Some(hash), Some(found)) = (self.hashes.get(*at), self.found.get_mut(*at)) else { continue };
            match ExitAnswer::decode(slot, ValueKind::Hashed).map(|answer| answer.value) {
                Ok(Some(value)) if blake3(&[&value]) == *hash => {
                    self.attempts.counts.valid += 1;
                    *found = Some(value);
                }
                Ok(None) => self.attempts.counts.empty += 1,
                _ => self.attempts.counts.invalid += 1,
            }
        }
    }
}
