//! One file read whole: its root, then level by level from the top, each chunk of content held against what was published.
//! Source: spec/content.md §6.

use std::collections::{BTreeMap, BTreeSet};

use super::{File, Stand, Wish, is_passing};
use crate::content::{Body, Fetch, FetchRefused, Layout, PublicationSecret, Root, Wanted};
use crate::limits::{CHUNK_LEN, CHUNK_TRIES_MAX, READ_CIRCUITS_MAX};
use crate::node::Operation;
use crate::request::{Consistency, Outcome, Refused, Success};
use crate::sim::stage::Ending;

/// The level that is read now.
struct Present {
    number: u8,
    fetch: Fetch,
    /// Operations under way, with their batches.
    under_way: BTreeMap<u64, u64>,
    /// What came of a level of hashes, by chunk.
    came: BTreeMap<u64, Vec<u8>>,
}

/// The machine.
pub struct Reading {
    root: Option<u64>,
    root_tries: usize,
    secret: Option<PublicationSecret>,
    /// Levels that are still to be read, the next one last.
    wanted: Vec<Wanted>,
    present: Option<Present>,
    next: u64,
    /// Chunks asked for.
    asked: usize,
    /// Chunks of content that came and were right.
    right: BTreeSet<u64>,
}

impl Reading {
    /// Of a file that was published.
    #[must_use]
    pub fn new() -> Self {
        let (root, secret, present) = (None, None, None);
        Self { root, root_tries: 0, secret, wanted: Vec::new(), present, next: 0, asked: 0, right: BTreeSet::new() }
    }

    /// Chunks that were asked for so far, each time counted.
    #[must_use]
    pub fn asked(&self) -> usize {
        self.asked
    }

    /// What to do next; `None` when enough is under way.
    pub fn next(&mut self, file: &File) -> Option<Wish> {
        let id = self.next;
        if self.root.is_none() {
            self.root = Some(id);
            self.root_tries += 1;
            self.next += 1;
            return Some((id, file.root.get(Consistency::Quorum, 0)));
        }
        let present = self.present.as_mut().filter(|present| present.under_way.len() < READ_CIRCUITS_MAX)?;
        let batch = present.fetch.next_batch()?;
        self.next += 1;
        present.under_way.insert(id, batch.id);
        self.asked += batch.hashes.len();
        Some((id, Operation::ChunkGet { hashes: batch.hashes }))
    }

    /// One of its operations has ended.
    pub fn on_outcome(&mut self, id: u64, outcome: Outcome, file: &File) -> Stand {
        let result = if self.root == Some(id) { self.on_root(outcome, file) } else { self.on_batch(id, outcome, file) };
        match result {
            Err(ending) => Stand::Over(ending),
            Ok(()) if self.is_over() && self.is_whole(file) => Stand::Over(Ending::Done),
            // Not what was published, although everything proved itself.
            Ok(()) if self.is_over() => Stand::Over(Ending::Damaged),
            Ok(()) => Stand::UnderWay,
        }
    }

    fn is_over(&self) -> bool {
        self.wanted.is_empty() && self.present.as_ref().is_some_and(|present| present.fetch.is_done())
    }

    /// Every chunk in which there is content has come, and was right.
    fn is_whole(&self, file: &File) -> bool {
        let chunks = file.len.div_ceil(u64::try_from(CHUNK_LEN).unwrap_or(u64::MAX));
        u64::try_from(self.right.len()) == Ok(chunks)
    }

    fn on_root(&mut self, outcome: Outcome, file: &File) -> Result<(), Ending> {
        // As whoever gives the command again.
        let is_unreachable = is_passing(&outcome, |refused| matches!(refused, Refused::Unreachable));
        if is_unreachable && self.root_tries < CHUNK_TRIES_MAX {
            self.root = None;
            return Ok(());
        }
        let ending = Ending::of(&outcome);
        let Ok(Success::Record { record, .. }) = outcome.result else { return Err(ending) };
        let root = file.root.payload(&record).and_then(|payload| Root::decode(&payload).ok());
        let Some(Body::Chunks(chunks)) = root.map(|root| root.body) else { return Err(Ending::Damaged) };
        let layout = Layout::of(chunks.len).map_err(|_| Ending::Damaged)?;
        self.wanted = layout.wanted(0, &(0..chunks.len)).0;
        self.secret = Some(chunks.secret);
        self.descend(chunks.hashes);
        Ok(())
    }

    /// Begins the next level down, of which these are the hashes.
    fn descend(&mut self, hashes: Vec<[u8; 32]>) {
        let Some((Wanted { number, level, chunks, .. }, secret)) = self.wanted.pop().zip(self.secret.clone()) else {
            return;
        };
        let fetch = Fetch::new(secret, (number, level), hashes, chunks);
        self.present = Some(Present { number, fetch, under_way: BTreeMap::new(), came: BTreeMap::new() });
    }

    fn on_batch(&mut self, id: u64, outcome: Outcome, file: &File) -> Result<(), Ending> {
        // What was asked for beside the last of a level may come after its end.
        let Some(present) = &mut self.present else { return Ok(()) };
        let Some(batch) = present.under_way.remove(&id) else { return Ok(()) };
        let is_missing = is_passing(&outcome, |refused| matches!(refused, Refused::Unreachable | Refused::Damaged));
        let ending = Ending::of(&outcome);
        let chunks = match outcome.result {
            Ok(Success::Chunks(chunks)) => chunks,
            _ if is_missing => Vec::new(),
            _ => return Err(ending),
        };
        present.fetch.on_batch(batch, chunks).map_err(|refused| match refused {
            FetchRefused::TooFew { .. } => Ending::Unreachable,
            FetchRefused::Damaged { .. } => Ending::Damaged,
        })?;
        while let Some(piece) = present.fetch.poll_piece() {
            if present.number > 0 {
                present.came.insert(piece.chunk, piece.bytes);
            } else if piece.bytes == file.chunk(piece.chunk) {
                self.right.insert(piece.chunk);
            }
        }
        if present.number > 0 && present.fetch.is_done() {
            let bytes = core::mem::take(&mut present.came).into_values().collect::<Vec<_>>().concat();
            self.descend(bytes.as_chunks::<32>().0.to_vec());
        }
        Ok(())
    }
}

impl Default for Reading {
    fn default() -> Self {
        Self::new()
    }
}
