//! One publication: groups are sealed as there is room, batches go out four at a time, level by level, the root last.
//! Source: spec/content.md §6.

use std::collections::{BTreeMap, VecDeque};

use rand::rngs::ChaCha20Rng;

use super::{File, Stand, StoredGroup, Wish, is_passing};
use crate::content::{
    Body, Chunks, ContentKind, FileName, GroupContent, Grouping, Layout, Level, Root, SealingRefused,
};
use crate::limits::{BATCH_CHUNKS, CHUNK_LEN, CHUNK_TRIES_MAX, TRANSFER_CIRCUITS_MAX};
use crate::node::Operation;
use crate::request::{Outcome, Refused, SealedChunk};
use crate::sim::stage::Ending;
use crate::time::UnixTime;
use crate::wire::network::Network;
use crate::wire::record::{ChunkName, Expiry};

/// Four chunks of one group.
struct Batch {
    chunks: Vec<SealedChunk>,
    tries: usize,
}

/// What a publication is made with.
pub struct Making<'a> {
    /// The network.
    pub network: &'a Network,
    /// The time by the wall.
    pub now: UnixTime,
    /// Seconds that everything is kept.
    pub life_s: u64,
    /// For what is sealed.
    pub rng: &'a mut ChaCha20Rng,
}

/// The machine.
pub struct Publishing {
    /// Levels that are still to be cut, the present one first.
    levels: VecDeque<Level>,
    number: u8,
    grouping: Grouping,
    /// Chunks of content that were cut of the present level.
    cut: u64,
    /// The bytes of a level above the content.
    above: Vec<u8>,
    /// Of the chunks of the present level, as they are sealed; of the top level at the end.
    hashes: Vec<[u8; 32]>,
    ready: VecDeque<Batch>,
    under_way: BTreeMap<u64, Batch>,
    next: u64,
    /// Chunks with fewer receipts than asked for.
    partly: usize,
    root: Option<u64>,
    root_tries: usize,
    over: Option<Ending>,
}

impl Publishing {
    /// Of a file that does not stand in its root; `None` for one that is too long.
    #[must_use]
    pub fn new(file: &File) -> Option<Self> {
        Some(Self {
            levels: Layout::of(file.len).ok()?.levels().iter().copied().collect(),
            number: 0,
            grouping: Grouping::default(),
            cut: 0,
            above: Vec::new(),
            hashes: Vec::new(),
            ready: VecDeque::new(),
            under_way: BTreeMap::new(),
            next: 0,
            partly: 0,
            root: None,
            root_tries: 0,
            over: None,
        })
    }

    /// What to do next; `None` when enough is under way, or it is over.
    pub fn next(&mut self, file: &mut File, making: &mut Making<'_>) -> Option<Wish> {
        if self.over.is_some() || self.root.is_some() || self.under_way.len() >= TRANSFER_CIRCUITS_MAX {
            return None;
        }
        while self.ready.is_empty() && !self.levels.is_empty() {
            if self.cut_on(file).is_err() {
                self.over = Some(Ending::Damaged);
                return None;
            }
        }
        let id = self.next;
        if let Some(batch) = self.ready.pop_front() {
            self.next += 1;
            let expiry = Expiry::at_least(UnixTime(making.now.0 + making.life_s));
            let operation = Operation::ChunkPut { chunks: batch.chunks.clone(), expiry };
            self.under_way.insert(id, batch);
            return Some((id, operation));
        }
        if !self.under_way.is_empty() {
            return None;
        }
        if self.partly > 0 {
            self.over = Some(Ending::Partly);
            return None;
        }
        let Some(payload) = self.payload(file) else {
            self.over = Some(Ending::Damaged);
            return None;
        };
        self.next += 1;
        self.root = Some(id);
        self.root_tries += 1;
        Some((id, file.root.put_payload(making.network, (making.now, making.life_s), &payload, making.rng)))
    }

    /// One of its operations has ended.
    pub fn on_outcome(&mut self, id: u64, outcome: &Outcome) -> Stand {
        if self.root == Some(id) {
            // As whoever gives the command again: its chunks are stored, its root is put anew.
            let again = self.root_tries < CHUNK_TRIES_MAX && is_passing(outcome, is_short);
            (self.root, self.over) = if again { (None, None) } else { (Some(id), Some(Ending::of(outcome))) };
        } else if let Some(batch) = self.under_way.remove(&id) {
            self.on_batch(batch, outcome);
        }
        self.over.map_or(Stand::UnderWay, Stand::Over)
    }

    /// Whether all chunks are stored and its root is, at least in part: it can be read then.
    #[must_use]
    pub fn can_be_read(&self) -> bool {
        self.root.is_some() && matches!(self.over, Some(Ending::Done | Ending::Partly))
    }

    /// Whether it came to an end that no operation brought.
    #[must_use]
    pub fn stand(&self) -> Stand {
        self.over.map_or(Stand::UnderWay, Stand::Over)
    }

    fn on_batch(&mut self, mut batch: Batch, outcome: &Outcome) {
        batch.tries += 1;
        match &outcome.result {
            Ok(_) => (),
            Err(_) if batch.tries < CHUNK_TRIES_MAX && is_passing(outcome, is_short) => self.ready.push_front(batch),
            Err(Refused::Partly { .. } | Refused::Unpaid { .. } | Refused::Full | Refused::NotSolved) => {
                self.partly += batch.chunks.len()
            }
            Err(_) => self.over = Some(Ending::of(outcome)),
        }
    }

    /// One chunk more of the present level, and the groups that are whole then.
    fn cut_on(&mut self, file: &mut File) -> Result<(), SealingRefused> {
        let bytes = match self.number {
            0 => file.chunk(self.cut),
            _ => self
                .above
                .chunks(CHUNK_LEN)
                .nth(usize::try_from(self.cut).unwrap_or(usize::MAX))
                .unwrap_or_default()
                .to_vec(),
        };
        let is_over = bytes.len() < CHUNK_LEN;
        if !bytes.is_empty() {
            self.grouping.push(bytes);
            self.cut += 1;
        }
        if is_over {
            self.grouping.end(self.number == 0);
        }
        while let Some(group) = self.grouping.next_group() {
            self.seal(file, &group)?;
        }
        if is_over {
            self.climb();
        }
        Ok(())
    }

    fn seal(&mut self, file: &mut File, group: &GroupContent) -> Result<(), SealingRefused> {
        let sealed = group.seal(&file.secret, self.number)?;
        let place = |chunk: &SealedChunk| ChunkName { hash: chunk.hash, index: 0 }.location();
        file.groups.push(StoredGroup { data: group.group.data, chunks: sealed.iter().map(place).collect() });
        self.hashes.extend(sealed.iter().map(|chunk| chunk.hash));
        let mut sealed = sealed.into_iter();
        loop {
            let chunks: Vec<SealedChunk> = sealed.by_ref().take(BATCH_CHUNKS).collect();
            if chunks.is_empty() {
                return Ok(());
            }
            self.ready.push_back(Batch { chunks, tries: 0 });
        }
    }

    /// The level is cut: the next one is that of its hashes, if there is one.
    fn climb(&mut self) {
        self.levels.pop_front();
        if self.levels.is_empty() {
            return;
        }
        self.above = core::mem::take(&mut self.hashes).concat();
        (self.grouping, self.cut) = (Grouping::default(), 0);
        self.number += 1;
    }

    fn payload(&self, file: &File) -> Option<Vec<u8>> {
        let chunks = Chunks { len: file.len, secret: file.secret.clone(), hashes: self.hashes.clone() };
        let name = FileName::new("file").ok()?;
        Root { name, kind: ContentKind::File, body: Body::Chunks(chunks) }.encode().ok()
    }
}

/// Fewer copies than asked for, or none.
fn is_short(refused: &Refused) -> bool {
    matches!(
        refused,
        Refused::Partly { .. } | Refused::Unpaid { .. } | Refused::Full | Refused::NotSolved | Refused::Unreachable
    )
}
