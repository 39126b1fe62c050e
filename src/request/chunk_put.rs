//! Stores up to four chunks at their locations and counts receipts. Source: spec/requests.md §8.

use super::attempts::{AttemptResult, Attempts};
use super::paying::{Price, Terms, declined};
use super::{Context, Refused, RequestInput, Success};
use crate::crypto::random_bytes;
use crate::crypto::storage_puzzle::StoragePuzzle;
use crate::dht::receipts::Receipts;
use crate::limits::{
    ANSWERS_PER_PLACE_MAX, BATCH_CHUNKS, CHUNK_HOLDERS, CHUNK_LOCATIONS, CIRCUIT_DATA_LEN_MAX, SLOT_LEN,
};
use crate::time::{Duration, Instant, Now};
use crate::wire::onion::{ExitAnswer, ExitRequest};
use crate::wire::payment::Payment;
use crate::wire::record::{ChunkName, Expiry, ValueKind};
use crate::wire::statement::{Nonce, Operation, Question};

/// A chunk's ciphertext and its name.
#[derive(Clone, PartialEq, Eq)]
pub struct SealedChunk {
    /// BLAKE3 of `bytes`.
    pub hash: [u8; 32],
    /// The ciphertext.
    pub bytes: Vec<u8>,
}

impl core::fmt::Debug for SealedChunk {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("SealedChunk(..)")
    }
}

/// What one circuit stores: which location, which chunks, under which nonce.
pub(super) struct Batch {
    index: usize,
    chunks: Vec<usize>,
    nonce: Nonce,
}

/// The machine.
pub struct ChunkPut {
    chunks: Vec<SealedChunk>,
    expiry: Expiry,
    /// By location, then by chunk; made with the first circuit, when the members are known.
    receipts: Vec<Vec<Option<Receipts>>>,
    /// In the same order.
    prices: Vec<Vec<Price>>,
    answers: [usize; CHUNK_LOCATIONS],
    pub(super) attempts: Attempts<Batch>,
}

impl ChunkPut {
    /// Starts at once; takes the first four chunks.
    pub fn new(
        mut chunks: Vec<SealedChunk>,
        expiry: Expiry,
        now: Instant,
        timeout: Duration,
        context: &mut Context<'_>,
    ) -> Self {
        chunks.truncate(BATCH_CHUNKS);
        let receipts = (0..CHUNK_LOCATIONS).map(|_| chunks.iter().map(|_| None).collect()).collect();
        let prices = vec![vec![Price::default(); chunks.len()]; CHUNK_LOCATIONS];
        let attempts = Attempts::new(now + timeout);
        let mut request = Self { chunks, expiry, receipts, prices, answers: [0; CHUNK_LOCATIONS], attempts };
        for index in 0..CHUNK_LOCATIONS {
            request.ask(index, now, context.stagger, context);
        }
        request
    }

    fn ask(&mut self, index: usize, now: Instant, delay: Duration, context: &mut Context<'_>) {
        if self.answers.get(index).is_none_or(|answers| *answers >= ANSWERS_PER_PLACE_MAX) {
            return;
        }
        let Some(receipts) = self.receipts.get(index) else { return };
        let wanting: Vec<usize> =
            receipts.iter().enumerate().filter(|(_, one)| stored(one) < CHUNK_HOLDERS).map(|(at, _)| at).collect();
        if wanting.is_empty() {
            return;
        }
        let nonce = Nonce(random_bytes(context.rng));
        let picked: Vec<&SealedChunk> = wanting.iter().filter_map(|at| self.chunks.get(*at)).collect();
        let named = |chunk: &&SealedChunk| (name(chunk, index), u32::try_from(chunk.bytes.len()).unwrap_or(0));
        let chunks = picked.iter().map(named).collect();
        let upload = upload_cells(&picked);
        let request = ExitRequest::PutChunks { nonce, expiry: self.expiry, chunks, payments: Vec::new() };
        let batch = Batch { index, chunks: wanting, nonce };
        self.attempts.start(batch, (request, upload, BATCH_CHUNKS), now, delay, context.rng);
    }

    pub(super) fn handle(&mut self, now: Now, input: RequestInput, context: &mut Context<'_>) {
        if let RequestInput::Building { id } = input {
            return self.on_building(id, context);
        }
        if let RequestInput::Attempted { id, result } = input {
            let Some((batch, refused)) = self.attempts.end(id, &result) else { return };
            if let Some(refused) = refused {
                return self.settle(Some(refused));
            }
            if let AttemptResult::Answered { bytes, .. } = result {
                self.on_answer(&batch, &bytes, now, context);
            }
            let delay = self.attempts.retry_delay();
            self.ask(batch.index, now.instant, delay, context);
        }
        if self.attempts.is_over(now.instant) || self.attempts.none_open() {
            self.settle(None);
        }
    }

    fn on_building(&mut self, id: u32, context: &Context<'_>) {
        let Some(index) = self.attempts.what(id).map(|batch| batch.index) else { return };
        for (chunk, receipts) in self.chunks.iter().zip(self.receipts.get_mut(index).into_iter().flatten()) {
            let location = name(chunk, index).location();
            let claim = (self.expiry.step(), chunk.hash);
            receipts.get_or_insert_with(|| Receipts::new(ValueKind::Hashed, location, claim, context.members));
        }
    }

    fn on_answer(&mut self, batch: &Batch, bytes: &[u8], now: Now, context: &mut Context<'_>) {
        if let Some(answers) = self.answers.get_mut(batch.index) {
            *answers += 1;
        }
        for (slot, (cell, at)) in bytes.chunks(CIRCUIT_DATA_LEN_MAX).zip(&batch.chunks).enumerate() {
            let receipts = self.receipts.get_mut(batch.index).and_then(|all| all.get_mut(*at));
            let (Some(receipts), Some(chunk)) = (receipts, self.chunks.get(*at)) else { continue };
            let Ok(answer) = ExitAnswer::decode(cell, ValueKind::Hashed) else {
                self.attempts.counts.invalid += 1;
                continue;
            };
            let location = name(chunk, batch.index).location();
            let question = Question { nonce: batch.nonce.of_slot(slot), operation: Operation::Store, location };
            let Some(receipts) = receipts else { continue };
            receipts.add(context.network, &question, &answer.statements, context.members, now.unix);
            if let Some(price) = self.prices.get_mut(batch.index).and_then(|all| all.get_mut(*at)) {
                price.on_answer(receipts);
            }
            if receipts.stored() > 0 {
                self.attempts.counts.valid += 1;
            } else {
                self.attempts.counts.empty += 1;
            }
        }
    }

    pub(super) fn puzzles(&self, id: u32, terms: &Terms<'_>) -> Vec<Option<StoragePuzzle>> {
        let Some(batch) = self.attempts.what(id) else { return Vec::new() };
        let puzzle = |at: &usize| {
            let (chunk, price) = (self.chunks.get(*at)?, self.prices.get(batch.index)?.get(*at)?);
            price.puzzle(terms, ValueKind::Hashed, name(chunk, batch.index).location(), chunk.hash)
        };
        batch.chunks.iter().map(puzzle).collect()
    }

    pub(super) fn on_paid(&mut self, id: u32, payments: &[Option<Payment>]) {
        let Some(batch) = self.attempts.what(id) else { return };
        let Some(prices) = self.prices.get_mut(batch.index) else { return };
        for (at, payment) in batch.chunks.iter().zip(payments) {
            if let (Some(price), Some(payment)) = (prices.get_mut(*at), payment) {
                price.on_paid(*payment);
            }
        }
    }

    pub(super) fn payments(&self, id: u32) -> Vec<Option<Payment>> {
        let Some(batch) = self.attempts.what(id) else { return Vec::new() };
        let payment = |at: &usize| self.prices.get(batch.index)?.get(*at)?.payment();
        batch.chunks.iter().map(payment).collect()
    }

    fn settle(&mut self, refused: Option<Refused>) {
        let asked = CHUNK_HOLDERS * CHUNK_LOCATIONS;
        let copies = |at: usize| -> usize {
            let of = |all: &Vec<Option<Receipts>>| all.get(at).map_or(0, stored);
            self.receipts.iter().map(of).sum()
        };
        let copies_min = (0..self.chunks.len()).map(copies).min().unwrap_or(asked);
        let result = match copies_min {
            all if all == asked => Ok(Success::ChunksStored { copies_min }),
            0 => {
                // Why those have none that have none: of the others something is kept.
                let receipts = self.receipts.iter().flatten().flatten().filter(|receipts| receipts.stored() == 0);
                Err(refused.or_else(|| declined(receipts)).unwrap_or_else(|| self.attempts.nothing_came()))
            }
            copies => Err(Refused::Partly { copies, asked }),
        };
        self.attempts.finish(result);
    }
}

fn stored(receipts: &Option<Receipts>) -> usize {
    receipts.as_ref().map_or(0, |receipts| receipts.stored().min(CHUNK_HOLDERS))
}

fn name(chunk: &SealedChunk, index: usize) -> ChunkName {
    ChunkName { hash: chunk.hash, index: u8::try_from(index).unwrap_or(u8::MAX) }
}

/// Four slots of 34 cells, whatever is in them.
fn upload_cells(chunks: &[&SealedChunk]) -> Vec<Vec<u8>> {
    let mut cells = Vec::new();
    for slot in 0..BATCH_CHUNKS {
        let mut bytes = chunks.get(slot).map(|chunk| chunk.bytes.clone()).unwrap_or_default();
        bytes.resize(SLOT_LEN, 0);
        cells.extend(bytes.chunks(CIRCUIT_DATA_LEN_MAX).map(<[u8]>::to_vec));
    }
    cells
}
