//! How much of what a content of some length is made of: levels, groups, chunks of content and of parity. Only arithmetic.
//! Source: spec/content.md §2.1 and §2.4.

use core::ops::Range;

use crate::limits::{CHUNK_LEN, CONTENT_LEVELS_MAX, FILE_LEN_MAX, GROUP_CHUNKS, GROUP_PARITY, ROOT_HASHES_MAX};

/// Chunks of parity for 1, 2, … chunks of content in a group: the least number with which at most 2 of 100,000 such groups are
/// lost when each chunk is with a chance of one in four, and from 21 on 2 of 1,000,000; at 32 two more, so that full groups fill
/// whole batches (spec/content.md §2.4).
const PARITY: [u8; 2 * GROUP_CHUNKS - 1] = [
    7, 9, 10, 11, 12, 13, 14, 15, 16, 16, 17, 18, 19, 19, 20, 21, 21, 22, 23, 23, 27, 27, 28, 29, 29, 30, 31, 31, 32,
    32, 33, 36, 34, 35, 35, 36, 37, 37, 38, 38, 39, 39, 40, 41, 41, 42, 42, 43, 43, 44, 45, 45, 46, 46, 47, 47, 48, 48,
    49, 49, 50, 50, 51,
];

/// Bytes of a hash.
pub(super) const HASH_LEN: u64 = 32;
const GROUP: u64 = to_u64(GROUP_CHUNKS);
const GROUP_ALL: u64 = to_u64(GROUP_CHUNKS + GROUP_PARITY);
const CHUNK: u64 = to_u64(CHUNK_LEN);

/// One level: a run of bytes, cut into chunks and these into groups.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Level {
    /// Bytes of content.
    pub len: u64,
    /// Chunks of content, those that only fill up among them.
    pub data: u64,
}

/// One group of a level.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Group {
    /// Number of its first chunk of content.
    pub first_data: u64,
    /// Index of its first chunk among all chunks of the level.
    pub first_index: u64,
    /// Chunks of content.
    pub data: usize,
    /// Chunks of parity.
    pub parity: usize,
}

/// All levels of a content, itself first.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Layout {
    levels: Vec<Level>,
}

/// What a reader wants of one level.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Wanted {
    /// Which level, 0 for the content.
    pub number: u8,
    /// What it is.
    pub level: Level,
    /// Chunks of content to ask for.
    pub chunks: Range<u64>,
    /// The bytes that are wanted of them.
    pub bytes: Range<u64>,
}

/// Longer than [`FILE_LEN_MAX`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("content has at most {FILE_LEN_MAX} bytes")]
pub struct TooLong;

impl Layout {
    /// Of a content of so many bytes that does not stand in its root.
    ///
    /// # Errors
    /// [`TooLong`].
    pub fn of(len: u64) -> Result<Self, TooLong> {
        if len > FILE_LEN_MAX {
            return Err(TooLong);
        }
        let mut levels = vec![Level { len, data: padded(len.div_ceil(CHUNK).max(1)) }];
        while let Some(last) = levels.last().filter(|last| !last.is_top()) {
            let next = last.above();
            levels.push(next);
        }
        if levels.len() > CONTENT_LEVELS_MAX { Err(TooLong) } else { Ok(Self { levels }) }
    }

    /// The levels, content first, the one whose hashes stand in the root last.
    #[must_use]
    pub fn levels(&self) -> &[Level] {
        &self.levels
    }

    /// Hashes in the root.
    #[must_use]
    pub fn root_hashes(&self) -> usize {
        self.levels.last().map_or(0, |top| to_usize(top.chunks()))
    }

    /// What these bytes of a level, 0 for the content, take of it and of each level above, the lowest first; and the bytes of hashes
    /// that they take of the root.
    #[must_use]
    pub fn wanted(&self, lowest: u8, bytes: &Range<u64>) -> (Vec<Wanted>, Range<u64>) {
        let (mut wanted, mut bytes) = (Vec::new(), bytes.clone());
        for (number, level) in (0_u8..).zip(&self.levels).skip(usize::from(lowest)) {
            let chunks = level.chunks_of(&bytes);
            let above = level.hashes_of(&chunks);
            wanted.push(Wanted { number, level: *level, chunks, bytes });
            bytes = above;
        }
        (wanted, bytes)
    }

    /// Chunks of all levels: what is stored.
    #[must_use]
    pub fn chunks(&self) -> u64 {
        self.levels.iter().map(Level::chunks).sum()
    }
}

impl Level {
    /// The level that holds this one's hashes.
    #[must_use]
    pub fn above(&self) -> Self {
        let len = self.chunks() * HASH_LEN;
        Self { len, data: len.div_ceil(CHUNK) }
    }

    /// Whether its hashes stand in the root.
    #[must_use]
    pub fn is_top(&self) -> bool {
        self.chunks() <= to_u64(ROOT_HASHES_MAX)
    }

    /// Groups. All but the last have [`GROUP_CHUNKS`] chunks of content, the last up to one less than twice as many.
    #[must_use]
    pub fn groups(&self) -> u64 {
        (self.data / GROUP).max(1)
    }

    /// Chunks of content and of parity.
    #[must_use]
    pub fn chunks(&self) -> u64 {
        let last = self.group(self.groups() - 1);
        last.first_index + to_u64(last.data + last.parity)
    }

    /// A group by its number, below [`Self::groups`].
    #[must_use]
    pub fn group(&self, number: u64) -> Group {
        let first_data = number * GROUP;
        let is_last = number + 1 >= self.groups();
        let data = if is_last { to_usize(self.data.saturating_sub(first_data)) } else { GROUP_CHUNKS };
        Group { first_data, first_index: number * GROUP_ALL, data, parity: parity_for(data) }
    }

    /// The group in which a chunk of content is.
    #[must_use]
    pub fn group_of(&self, chunk: u64) -> u64 {
        (chunk / GROUP).min(self.groups() - 1)
    }

    /// Bytes of content in a chunk: fewer in the last, none in those that fill up.
    #[must_use]
    pub fn len_in(&self, chunk: u64) -> usize {
        to_usize(self.len.saturating_sub(chunk.saturating_mul(CHUNK)).min(CHUNK))
    }

    /// The chunks of content in which these bytes are, and as many after them, where there are some, as hide how many they are
    /// (§2.1); those before the end when there are none after.
    #[must_use]
    pub fn chunks_of(&self, bytes: &Range<u64>) -> Range<u64> {
        let end = bytes.end.min(self.len).div_ceil(CHUNK);
        let start = (bytes.start / CHUNK).min(end);
        if start == end {
            return start..end;
        }
        let count = padded(end - start).min(self.data);
        let start = start.min(self.data - count);
        start..start + count
    }

    /// The bytes of the level above that hold the hashes of the groups of these chunks.
    #[must_use]
    pub fn hashes_of(&self, chunks: &Range<u64>) -> Range<u64> {
        if chunks.is_empty() {
            return 0..0;
        }
        let (first, last) = (self.group(self.group_of(chunks.start)), self.group(self.group_of(chunks.end - 1)));
        let end = last.first_index + to_u64(last.data + last.parity);
        first.first_index * HASH_LEN..end * HASH_LEN
    }
}

/// Chunks of parity for so many of content, 1 to one less than twice [`GROUP_CHUNKS`]; for others the nearest of these.
#[must_use]
pub fn parity_for(data: usize) -> usize {
    let at = data.clamp(1, PARITY.len()) - 1;
    PARITY.get(at).map_or(GROUP_PARITY, |parity| usize::from(*parity))
}

/// So many chunks are filled up to so many: of the bits of the number only as many as its size has digits may be set (Padmé: Nikitin
/// and others, "Reducing Metadata Leakage from Encrypted Files", PETS 2019). At most an eighth more.
#[must_use]
pub fn padded(chunks: u64) -> u64 {
    let Some(exponent) = chunks.checked_ilog2().filter(|exponent| *exponent > 0) else { return chunks };
    let kept = exponent.ilog2() + 1;
    let unit = 1 << exponent.saturating_sub(kept);
    chunks.next_multiple_of(unit)
}

const fn to_u64(number: usize) -> u64 {
    // Every target has at most 64 bits.
    #[expect(clippy::as_conversions, reason = "widening; `From` is not const")]
    let number = number as u64;
    number
}

pub(super) fn to_usize(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Chance that fewer than `data` of `all` chunks are left when each is lost with a chance of one in four.
    fn lost(data: usize, all: usize) -> f64 {
        let mut term = 0.25_f64.powi(i32::try_from(all).unwrap());
        let mut sum = 0.0;
        for left in 0..data {
            sum += term;
            let number = |number: usize| f64::from(u32::try_from(number).unwrap());
            term *= 3.0 * number(all - left) / number(left + 1);
        }
        sum
    }

    // [CONT-W-008]
    #[test]
    fn parity_is_the_least_with_which_few_enough_groups_are_lost() {
        for data in 1..2 * GROUP_CHUNKS {
            let aim = if data <= 20 { 2e-5 } else { 2e-6 };
            let least = (0..).find(|parity| lost(data, data + parity) <= aim).unwrap();
            let full = data == GROUP_CHUNKS;
            assert_eq!(parity_for(data), if full { least.next_multiple_of(4) } else { least }, "{data}");
        }
        assert_eq!(parity_for(GROUP_CHUNKS), GROUP_PARITY);
        assert_eq!((GROUP_CHUNKS + GROUP_PARITY) % crate::limits::BATCH_CHUNKS, 0);
    }

    #[test]
    fn storage_stays_below_six_times_the_content_from_a_mebibyte_on() {
        for chunks in (16..2_000).chain((1..200).map(|step| step * 5_003)).chain([1 << 20]) {
            let stored = 2 * Layout::of(chunks * CHUNK).unwrap().chunks();
            assert!(stored < 6 * chunks, "{chunks} chunks: {stored}");
        }
    }

    // [CONT-W-002]
    #[test]
    fn few_lengths_remain_and_each_is_an_eighth_longer_at_most() {
        let mut seen = std::collections::BTreeSet::new();
        for chunks in 1..=10_000_u64 {
            let filled = padded(chunks);
            assert!(filled >= chunks && filled <= chunks + chunks / 8, "{chunks}");
            assert_eq!(padded(filled), filled);
            seen.insert(filled);
        }
        assert_eq!(seen.len(), 128);
        assert_eq!([1, 2, 3, 5, 8, 9, 17, 33, 1_000].map(padded), [1, 2, 3, 5, 8, 10, 18, 36, 1_024]);
    }

    // [CONT-W-007]
    #[test]
    fn the_longest_content_has_no_more_levels_than_there_may_be_and_one_byte_more_is_refused() {
        let layout = Layout::of(FILE_LEN_MAX).unwrap();
        assert_eq!(layout.levels().len(), CONTENT_LEVELS_MAX);
        assert!(layout.levels().iter().all(|level| u32::try_from(level.chunks()).is_ok()));
        assert_eq!(Layout::of(FILE_LEN_MAX + 1), Err(TooLong));
        assert_eq!(Layout::of(0).unwrap().root_hashes(), 8);
        assert_eq!(Layout::of(7 * CHUNK).unwrap().root_hashes(), ROOT_HASHES_MAX);
        assert_eq!(Layout::of(7 * CHUNK + 1).unwrap().levels().len(), 2);
    }

    proptest! {
        // [CONT-W-003]
        #[test]
        fn groups_cover_their_level_without_gaps(len in 0..=FILE_LEN_MAX, at in any::<u64>()) {
            for level in Layout::of(len).unwrap().levels() {
                let number = at % level.groups();
                let group = level.group(number);
                prop_assert!(group.data >= 1 && group.data < 2 * GROUP_CHUNKS);
                if number + 1 < level.groups() {
                    let next = level.group(number + 1);
                    prop_assert_eq!(next.first_data, group.first_data + to_u64(group.data));
                    prop_assert_eq!(next.first_index, group.first_index + to_u64(group.data + group.parity));
                } else {
                    prop_assert_eq!(group.first_data + to_u64(group.data), level.data);
                }
                let chunk = at % level.data;
                let its = level.group(level.group_of(chunk));
                prop_assert!((its.first_data..its.first_data + to_u64(its.data)).contains(&chunk));
            }
        }

        // [CONT-W-023]
        #[test]
        fn a_range_is_in_the_chunks_that_are_got_for_it(len in 1..=FILE_LEN_MAX, a in any::<u64>(), b in any::<u64>()) {
            let level = Layout::of(len).unwrap().levels()[0];
            let (start, end) = ((a % len).min(b % len), (a % len).max(b % len) + 1);
            let chunks = level.chunks_of(&(start..end));
            prop_assert!(chunks.start * CHUNK <= start && chunks.end * CHUNK >= end && chunks.end <= level.data);
            prop_assert_eq!(padded(chunks.end - chunks.start).min(level.data), chunks.end - chunks.start);
            prop_assert!(level.hashes_of(&chunks).end <= level.above().len);
        }
    }
}
