//! Gets up to four chunks: circuits one after the other until an exit answers; what is missing then is told.
//! Source: spec/requests.md §7.

use super::attempts::{AttemptResult, Attempts};
use super::{Context, Refused, RequestInput, Success};
use crate::crypto::hash::blake3;
use crate::crypto::random_bytes;
use crate::limits::{BATCH_CHUNKS, SLOT_CELLS, SLOT_LEN};
use crate::time::{Duration, Instant, Now};
use crate::wire::onion::{ExitAnswer, ExitRequest, are_distinct};
use crate::wire::record::{ChunkName, ValueKind};
use crate::wire::statement::Nonce;

/// The machine.
pub struct ChunkGet {
    hashes: Vec<[u8; 32]>,
    found: Vec<Option<Vec<u8>>>,
    pub(super) attempts: Attempts<()>,
}

impl ChunkGet {
    /// Starts at once; takes the first four hashes.
    pub fn new(mut hashes: Vec<[u8; 32]>, now: Instant, timeout: Duration, context: &mut Context<'_>) -> Self {
        hashes.truncate(BATCH_CHUNKS);
        let found = hashes.iter().map(|_| None).collect();
        let mut request = Self { hashes, found, attempts: Attempts::new(now + timeout) };
        if request.hashes.is_empty() || are_distinct(request.hashes.iter()) {
            request.ask(now, context.stagger, context);
        } else {
            // No two chunks are alike. An exit would refuse the question, and path and guard would be blamed for it.
            request.attempts.finish(Err(Refused::Damaged));
        }
        request
    }

    fn ask(&mut self, now: Instant, delay: Duration, context: &mut Context<'_>) {
        let chunks = self.hashes.iter().map(|hash| ChunkName { hash: *hash, index: 0 }).collect();
        let request = ExitRequest::FetchChunks { nonce: Nonce(random_bytes(context.rng)), chunks };
        let cells = BATCH_CHUNKS * SLOT_CELLS;
        self.attempts.start((), (request, Vec::new(), cells), now, delay, context.rng);
    }

    pub(super) fn handle(&mut self, now: Now, input: RequestInput, context: &mut Context<'_>) {
        if matches!(input, RequestInput::Building { .. }) {
            return;
        }
        if let RequestInput::Attempted { id, result } = input {
            let Some(((), refused)) = self.attempts.end(id, &result) else { return };
            if let Some(refused) = refused {
                return self.attempts.finish(Err(refused));
            }
            if let AttemptResult::Answered { bytes, .. } = result {
                self.on_answer(&bytes);
                return self.end();
            }
            let delay = self.attempts.retry_delay();
            self.ask(now.instant, delay, context);
        }
        if self.attempts.is_over(now.instant) || self.attempts.none_open() {
            self.end();
        }
    }

    /// What has come is given out, as long as it is anything at all.
    fn end(&mut self) {
        let counts = self.attempts.counts;
        if self.found.iter().any(Option::is_some) || self.found.is_empty() {
            let chunks = core::mem::take(&mut self.found);
            return self.attempts.finish(Ok(Success::Chunks(chunks)));
        }
        let is_damaged = counts.invalid > 0 && counts.empty == 0 && counts.timed_out == 0;
        self.attempts.finish(Err(if is_damaged { Refused::Damaged } else { Refused::Unreachable }));
    }

    fn on_answer(&mut self, bytes: &[u8]) {
        for (slot, (hash, found)) in bytes.chunks(SLOT_LEN).zip(self.hashes.iter().zip(&mut self.found)) {
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
