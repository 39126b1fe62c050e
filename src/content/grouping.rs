//! What a publisher makes of bytes: groups of chunks as they come, sealed chunks of a group, and the bytes of the level above. Pure;
//! memory for two groups, however long the content. Source: spec/content.md §2.

use std::collections::VecDeque;

use super::chunk::{ChunkAt, ChunkRefused, PublicationSecret, seal_chunk};
use super::layout::{Group, padded, parity_for};
use super::parity::{ParityRefused, protect};
use crate::limits::{CHUNK_LEN, GROUP_CHUNKS, GROUP_PARITY};
use crate::request::SealedChunk;

/// Why a group is not sealed: faults of the caller.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SealingRefused {
    /// A chunk.
    #[error(transparent)]
    Chunk(#[from] ChunkRefused),
    /// A group.
    #[error(transparent)]
    Parity(#[from] ParityRefused),
}

/// Takes the chunks of a level one by one, of which the number need not be known, and gives them out by groups.
#[derive(Debug, Default)]
pub struct Grouping {
    waiting: VecDeque<Vec<u8>>,
    taken: u64,
    /// Chunks that fill up, which are still to be made; known at the end.
    filling: u64,
    ended: bool,
    given: u64,
}

/// The chunks of content of one group, each whole.
#[derive(Debug)]
pub struct GroupContent {
    /// Which.
    pub group: Group,
    chunks: Vec<Vec<u8>>,
}

impl Grouping {
    /// Takes the next chunk, at most [`CHUNK_LEN`] bytes, fewer in the last one only; zeros fill it up.
    pub fn push(&mut self, mut chunk: Vec<u8>) {
        chunk.resize(CHUNK_LEN, 0);
        self.waiting.push_back(chunk);
        self.taken += 1;
    }

    /// Nothing more comes. `hides_len`: chunks of zeros follow, so that the number of chunks says less (§2.1).
    pub fn end(&mut self, hides_len: bool) {
        let taken = self.taken.max(1);
        self.filling = if hides_len { padded(taken) } else { taken } - self.taken;
        self.ended = true;
    }

    /// The next group, if it is whole.
    pub fn next_group(&mut self) -> Option<GroupContent> {
        // A group of its own must be left behind a full one.
        while self.filling > 0 && self.waiting.len() < 2 * GROUP_CHUNKS {
            self.waiting.push_back(vec![0; CHUNK_LEN]);
            self.filling -= 1;
        }
        let waiting = self.waiting.len();
        let data = match (waiting >= 2 * GROUP_CHUNKS, self.ended) {
            (true, _) => GROUP_CHUNKS,
            (false, true) if waiting > 0 => waiting,
            _ => return None,
        };
        let number = self.given;
        self.given += 1;
        let at = |size: usize| number * u64::try_from(size).unwrap_or(u64::MAX);
        let (first_data, first_index) = (at(GROUP_CHUNKS), at(GROUP_CHUNKS + GROUP_PARITY));
        let group = Group { first_data, first_index, data, parity: parity_for(data) };
        Some(GroupContent { group, chunks: self.waiting.drain(..data).collect() })
    }
}

impl GroupContent {
    /// The content of a group that was read: as many chunks as it has of content, each whole.
    #[must_use]
    pub fn new(group: Group, chunks: Vec<Vec<u8>>) -> Self {
        Self { group, chunks }
    }

    /// Adds parity and seals all chunks of the group, in their order.
    ///
    /// # Errors
    /// [`SealingRefused`].
    pub fn seal(&self, secret: &PublicationSecret, level: u8) -> Result<Vec<SealedChunk>, SealingRefused> {
        let parity = protect(&self.chunks, self.group.parity)?;
        let mut sealed = Vec::with_capacity(self.chunks.len() + parity.len());
        for (index, chunk) in (self.group.first_index..).zip(self.chunks.iter().chain(&parity)) {
            let index = u32::try_from(index).map_err(|_| ChunkRefused::Length)?;
            sealed.push(seal_chunk(secret, ChunkAt { level, index }, chunk)?);
        }
        Ok(sealed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::content::layout::Layout;

    #[test]
    fn groups_come_as_the_layout_has_them_and_few_chunks_wait() {
        for count in [0_u64, 1, 7, 31, 32, 33, 63, 64, 65, 96, 100, 127, 128, 129, 200, 1_000] {
            let mut grouping = Grouping::default();
            let mut groups = Vec::new();
            for number in 0..count {
                grouping.push(vec![number.to_le_bytes()[0]; CHUNK_LEN]);
                groups.extend(grouping.next_group().map(|content| content.group));
                assert!(grouping.waiting.len() < 2 * GROUP_CHUNKS);
            }
            grouping.end(true);
            while let Some(content) = grouping.next_group() {
                groups.push(content.group);
            }
            let level = Layout::of(count * 65_536).unwrap().levels()[0];
            let expected: Vec<Group> = (0..level.groups()).map(|number| level.group(number)).collect();
            assert_eq!(groups, expected, "{count}");
        }
    }
}
