//! Which chunks of a level a reader asks for, four at a time, and what it makes of those that come: content, in chunks. When some
//! do not come others of their group bring them back. Pure: it knows no circuits. Source: spec/content.md §6.

use core::ops::Range;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::chunk::{ChunkAt, PublicationSecret, open_chunk, seal_chunk};
use super::layout::{Group, Level, to_usize};
use super::parity::rebuild;
use crate::limits::{BATCH_CHUNKS, CHUNK_LEN, CHUNK_TRIES_MAX, TRANSFER_GROUPS_MAX};

/// Why a level cannot be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum FetchRefused {
    /// Too few chunks of a group came.
    #[error("too few chunks came: {have} of the {need} that bring group {group} back")]
    TooFew {
        /// Which group of its level, from 0.
        group: u64,
        /// Chunks that came.
        have: usize,
        /// Chunks that it takes.
        need: usize,
    },
    /// What came does not hold together, although its author signed it.
    #[error("damaged: the chunks of group {group} do not hold together")]
    Damaged {
        /// Which group of its level, from 0.
        group: u64,
    },
}

/// Up to four chunks to ask for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FetchBatch {
    /// To name it by when it has ended.
    pub id: u64,
    /// What is asked for.
    pub hashes: Vec<[u8; 32]>,
}

/// Some bytes of content.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Piece {
    /// Which chunk of content.
    pub chunk: u64,
    /// Its bytes; fewer than a chunk has in the last one.
    pub bytes: Vec<u8>,
}

#[derive(Debug)]
enum Slot {
    /// Not asked for, or so many times in vain.
    Open(usize),
    /// Asked for, after so many times in vain.
    Asked(usize),
    /// Its bytes, opened.
    Here(Vec<u8>),
    /// It came, and does not open.
    Damaged,
}

impl Slot {
    fn bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Here(bytes) => Some(bytes),
            Self::Open(_) | Self::Asked(_) | Self::Damaged => None,
        }
    }
}

/// A group of which chunks are wanted.
struct OpenGroup {
    shape: Group,
    slots: Vec<Slot>,
    /// Places of wanted chunks of content that have not been given out.
    wanted: BTreeSet<usize>,
    /// Something did not come: any chunks of it will do, as many as it has of content.
    rebuilding: bool,
}

/// The machine.
pub struct Fetch {
    secret: PublicationSecret,
    number: u8,
    level: Level,
    /// Of the chunks from `first_index` on.
    hashes: Vec<[u8; 32]>,
    first_index: u64,
    wanted: Range<u64>,
    /// Chunks that the caller has already.
    had: BTreeSet<u64>,
    next_group: u64,
    open: BTreeMap<u64, OpenGroup>,
    asked: BTreeMap<u64, Vec<(u64, usize)>>,
    next_id: u64,
    ready: VecDeque<Piece>,
    done: u64,
}

impl Fetch {
    /// Reads the chunks `wanted` of level `number`; `hashes` are those of all chunks of their groups ([`Level::hashes_of`]).
    #[must_use]
    pub fn new(
        secret: PublicationSecret,
        (number, level): (u8, Level),
        hashes: Vec<[u8; 32]>,
        wanted: Range<u64>,
    ) -> Self {
        let first = level.group_of(wanted.start);
        Self {
            secret,
            number,
            level,
            hashes,
            first_index: level.group(first).first_index,
            wanted,
            had: BTreeSet::new(),
            next_group: first,
            open: BTreeMap::new(),
            asked: BTreeMap::new(),
            next_id: 0,
            ready: VecDeque::new(),
            done: 0,
        }
    }

    /// Before anything is asked for: bytes of a chunk of content that an earlier transfer has left. Whether they are what the author
    /// named; then the chunk is neither asked for nor given out.
    pub fn take(&mut self, chunk: u64, bytes: &[u8]) -> bool {
        if !self.wanted.contains(&chunk) || bytes.len() != self.level.len_in(chunk) {
            return false;
        }
        let group = self.level.group(self.level.group_of(chunk));
        let index = group.first_index + (chunk - group.first_data);
        let mut content = bytes.to_vec();
        content.resize(CHUNK_LEN, 0);
        let at = ChunkAt { level: self.number, index: u32::try_from(index).unwrap_or(u32::MAX) };
        let hash = index.checked_sub(self.first_index).and_then(|at| self.hashes.get(to_usize(at)));
        let is_it = seal_chunk(&self.secret, at, &content).is_ok_and(|sealed| Some(&sealed.hash) == hash);
        if is_it && self.had.insert(chunk) {
            self.done += 1;
        }
        is_it
    }

    /// What to ask for next; `None` when enough is under way, or all has come.
    pub fn next_batch(&mut self) -> Option<FetchBatch> {
        let mut picked = self.pick(|group| group.needed());
        while picked.len() < BATCH_CHUNKS && self.open_group() {
            picked.extend(self.pick_up_to(BATCH_CHUNKS - picked.len(), |group| group.needed()));
        }
        if picked.is_empty() {
            return None;
        }
        // A batch takes as long with four as with one: room that is left is used for what may be missing next.
        let spare = BATCH_CHUNKS - picked.len();
        picked.extend(self.pick_up_to(spare, |group| if group.rebuilding { group.slots.len() } else { 0 }));
        let hash = |(group, place): &(u64, usize)| {
            let index = self.open.get(group)?.shape.first_index + u64::try_from(*place).ok()?;
            self.hashes.get(to_usize(index.checked_sub(self.first_index)?)).copied()
        };
        let hashes: Option<Vec<[u8; 32]>> = picked.iter().map(hash).collect();
        // The caller gave fewer hashes than the groups have: nothing may be asked for that nobody named.
        let hashes = hashes?;
        let id = self.next_id;
        self.next_id += 1;
        self.asked.insert(id, picked);
        Some(FetchBatch { id, hashes })
    }

    /// A batch has ended: what came, `None` for each that did not. Each fits its hash.
    ///
    /// # Errors
    /// [`FetchRefused`]: nothing more will come of it.
    pub fn on_batch(&mut self, id: u64, chunks: Vec<Option<Vec<u8>>>) -> Result<(), FetchRefused> {
        let Some(asked) = self.asked.remove(&id) else { return Ok(()) };
        let chunks = chunks.into_iter().map(Some).chain(core::iter::repeat(None));
        let mut touched = BTreeSet::new();
        for ((number, place), bytes) in asked.into_iter().zip(chunks) {
            let Some(group) = self.open.get_mut(&number) else { continue };
            touched.insert(number);
            let index = group.shape.first_index + u64::try_from(place).unwrap_or(u64::MAX);
            let at = ChunkAt { level: self.number, index: u32::try_from(index).unwrap_or(u32::MAX) };
            let Some(slot) = group.slots.get_mut(place) else { continue };
            *slot = match (bytes.flatten().map(|bytes| open_chunk(&self.secret, at, bytes)), &*slot) {
                (Some(Ok(content)), _) => Slot::Here(content),
                (Some(Err(_)), _) => Slot::Damaged,
                (None, Slot::Asked(tries)) => Slot::Open(tries + 1),
                (None, _) => Slot::Open(1),
            };
            group.rebuilding |= !matches!(slot, Slot::Here(_));
        }
        touched.into_iter().try_for_each(|number| self.advance(number))
    }

    /// The next chunk of content, in no order.
    pub fn poll_piece(&mut self) -> Option<Piece> {
        self.ready.pop_front()
    }

    /// Wanted chunks that have come or were there, and all of them.
    #[must_use]
    pub fn progress(&self) -> (u64, u64) {
        (self.done, self.wanted.end - self.wanted.start)
    }

    /// Whether everything that is wanted has been given out.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.open.is_empty() && self.ready.is_empty() && self.next_group > self.last_group()
    }

    fn last_group(&self) -> u64 {
        self.level.group_of(self.wanted.end.saturating_sub(1))
    }

    /// Begins the next group, if there is room and one left.
    fn open_group(&mut self) -> bool {
        // Counted from the oldest: what comes after one that is wanting must not pile up behind it.
        let reach = to_usize(self.next_group - self.open.keys().next().copied().unwrap_or(self.next_group));
        if reach >= TRANSFER_GROUPS_MAX {
            return false;
        }
        while self.next_group <= self.last_group() {
            let number = self.next_group;
            self.next_group += 1;
            let shape = self.level.group(number);
            let is_wanted = |place: &usize| {
                let chunk = shape.first_data + u64::try_from(*place).unwrap_or(u64::MAX);
                self.wanted.contains(&chunk) && !self.had.contains(&chunk)
            };
            let wanted: BTreeSet<usize> = (0..shape.data).filter(is_wanted).collect();
            if !wanted.is_empty() {
                let slots = (0..shape.data + shape.parity).map(|_| Slot::Open(0)).collect();
                self.open.insert(number, OpenGroup { shape, slots, wanted, rebuilding: false });
                return true;
            }
        }
        false
    }

    fn pick(&mut self, room: impl Fn(&OpenGroup) -> usize) -> Vec<(u64, usize)> {
        self.pick_up_to(BATCH_CHUNKS, room)
    }

    /// Marks as asked, oldest group first, at most as many of each as `room` says.
    fn pick_up_to(&mut self, most: usize, room: impl Fn(&OpenGroup) -> usize) -> Vec<(u64, usize)> {
        let mut picked = Vec::new();
        for (number, group) in &mut self.open {
            let take = room(group).min(most - picked.len());
            picked.extend(group.take(take).into_iter().map(|place| (*number, place)));
        }
        picked
    }

    /// Gives out what can be given out of a group, and forgets it when that is all.
    fn advance(&mut self, number: u64) -> Result<(), FetchRefused> {
        let Some(group) = self.open.get_mut(&number) else { return Ok(()) };
        if group.rebuilding && group.here() >= group.shape.data {
            let first = to_usize(group.shape.first_index.saturating_sub(self.first_index));
            let hashes = self.hashes.get(first..).unwrap_or_default();
            group.rebuild(&self.secret, self.number, hashes).ok_or(FetchRefused::Damaged { group: number })?;
        }
        let here = |place: &usize| matches!(group.slots.get(*place), Some(Slot::Here(_)));
        let given: Vec<usize> = group.wanted.iter().copied().filter(here).collect();
        for place in given {
            let Some(Slot::Here(content)) = group.slots.get(place) else { continue };
            group.wanted.remove(&place);
            self.done += 1;
            let chunk = group.shape.first_data + u64::try_from(place).unwrap_or(u64::MAX);
            let (bytes, rest) = content.split_at_checked(self.level.len_in(chunk)).unwrap_or((content, &[]));
            if rest.iter().any(|byte| *byte != 0) {
                return Err(FetchRefused::Damaged { group: number });
            }
            if !bytes.is_empty() {
                self.ready.push_back(Piece { chunk, bytes: bytes.to_vec() });
            }
        }
        if group.wanted.is_empty() {
            self.open.remove(&number);
            return Ok(());
        }
        let need = group.shape.data;
        let (have, possible) = (group.here(), group.possible());
        if have + possible >= need {
            return Ok(());
        }
        let is_damaged = group.slots.iter().any(|slot| matches!(slot, Slot::Damaged));
        Err(if is_damaged {
            FetchRefused::Damaged { group: number }
        } else {
            FetchRefused::TooFew { group: number, have, need }
        })
    }
}

impl OpenGroup {
    fn here(&self) -> usize {
        self.slots.iter().filter(|slot| matches!(slot, Slot::Here(_))).count()
    }

    /// Chunks that may still come.
    fn possible(&self) -> usize {
        let is_possible = |slot: &&Slot| match slot {
            Slot::Open(tries) => *tries < CHUNK_TRIES_MAX,
            Slot::Asked(_) => true,
            Slot::Here(_) | Slot::Damaged => false,
        };
        self.slots.iter().filter(is_possible).count()
    }

    /// How many more have to be asked for now.
    fn needed(&self) -> usize {
        if self.rebuilding {
            let asked = self.slots.iter().filter(|slot| matches!(slot, Slot::Asked(_))).count();
            return self.shape.data.saturating_sub(self.here() + asked);
        }
        let is_open = |place: &&usize| matches!(self.slots.get(**place), Some(Slot::Open(_)));
        self.wanted.iter().filter(is_open).count()
    }

    /// Marks up to so many as asked: what was asked for least often, wanted ones and content before parity.
    fn take(&mut self, most: usize) -> Vec<usize> {
        let open = |(place, slot): (usize, &Slot)| match slot {
            Slot::Open(tries) if *tries < CHUNK_TRIES_MAX && (self.rebuilding || self.wanted.contains(&place)) => {
                Some((*tries, !self.wanted.contains(&place), place))
            }
            _ => None,
        };
        let mut places: Vec<(usize, bool, usize)> = self.slots.iter().enumerate().filter_map(open).collect();
        places.sort_unstable();
        places.truncate(most);
        for (tries, _, place) in &places {
            if let Some(slot) = self.slots.get_mut(*place) {
                *slot = Slot::Asked(*tries);
            }
        }
        places.into_iter().map(|(_, _, place)| place).collect()
    }

    /// Makes what is missing of the content from what is here. `None`: it is not what its author named by these hashes, so the
    /// parity was wrong.
    fn rebuild(&mut self, secret: &PublicationSecret, level: u8, hashes: &[[u8; 32]]) -> Option<()> {
        let have: Vec<Option<&[u8]>> = self.slots.iter().map(Slot::bytes).collect();
        for (place, bytes) in rebuild(&have, self.shape.data).ok()? {
            let index = u32::try_from(self.shape.first_index).ok()?.checked_add(u32::try_from(place).ok()?)?;
            let sealed = seal_chunk(secret, ChunkAt { level, index }, &bytes).ok()?;
            if hashes.get(place) != Some(&sealed.hash) {
                return None;
            }
            *self.slots.get_mut(place)? = Slot::Here(bytes);
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::content::grouping::Grouping;
    use crate::content::layout::Layout;
    use crate::request::SealedChunk;

    struct Published {
        content: Vec<u8>,
        level: Level,
        secret: PublicationSecret,
        chunks: Vec<SealedChunk>,
    }

    fn publish(len: usize) -> Published {
        let content: Vec<u8> = (0..len).map(|at| (at / 3 + at / 65_536).to_le_bytes()[0]).collect();
        let secret = PublicationSecret::from_bytes([5; 32]);
        let (mut grouping, mut chunks) = (Grouping::default(), Vec::new());
        for chunk in content.chunks(CHUNK_LEN) {
            grouping.push(chunk.to_vec());
        }
        grouping.end(true);
        while let Some(group) = grouping.next_group() {
            chunks.extend(group.seal(&secret, 0).unwrap());
        }
        let level = Layout::of(len.try_into().unwrap()).unwrap().levels()[0];
        assert_eq!(chunks.len(), usize::try_from(level.chunks()).unwrap());
        Published { content, level, secret, chunks }
    }

    impl Published {
        fn fetch(&self, bytes: Range<u64>) -> Fetch {
            let wanted = self.level.chunks_of(&bytes);
            let hashes = self.level.hashes_of(&wanted);
            let hashes = to_usize(hashes.start / 32)..to_usize(hashes.end / 32);
            let hashes = self.chunks[hashes].iter().map(|chunk| chunk.hash).collect();
            Fetch::new(self.secret.clone(), (0, self.level), hashes, wanted)
        }

        /// Plays it to its end; `answer` says whether a chunk comes at the n-th time that it is asked for.
        fn play(
            &self,
            mut fetch: Fetch,
            answer: impl Fn(usize, usize) -> bool,
        ) -> (BTreeMap<u64, Vec<u8>>, usize, Result<(), FetchRefused>) {
            let (mut pieces, mut asked, mut times) = (BTreeMap::new(), 0, BTreeMap::new());
            let mut under_way = VecDeque::new();
            loop {
                while under_way.len() < 4
                    && let Some(batch) = fetch.next_batch()
                {
                    assert!((1..=BATCH_CHUNKS).contains(&batch.hashes.len()));
                    asked += batch.hashes.len();
                    under_way.push_back(batch);
                }
                assert!(fetch.open.len() <= TRANSFER_GROUPS_MAX);
                // The latest first: batches end in any order.
                let Some(batch) = under_way.pop_back() else { break };
                let come = |hash: &[u8; 32]| {
                    let index = self.chunks.iter().position(|chunk| chunk.hash == *hash).unwrap();
                    let time = times.entry(index).or_insert(0);
                    *time += 1;
                    assert!(*time <= CHUNK_TRIES_MAX);
                    answer(index, *time).then(|| self.chunks[index].bytes.clone())
                };
                let chunks = batch.hashes.iter().map(come).collect();
                let result = fetch.on_batch(batch.id, chunks);
                while let Some(piece) = fetch.poll_piece() {
                    assert!(pieces.insert(piece.chunk, piece.bytes).is_none(), "given out once");
                }
                if result.is_err() {
                    return (pieces, asked, result);
                }
            }
            assert!(fetch.is_done());
            (pieces, asked, Ok(()))
        }

        fn whole(&self) -> Range<u64> {
            0..self.level.len
        }
    }

    // [CONT-W-023] [CONT-W-024]
    #[test]
    fn what_comes_at_once_is_asked_for_once_and_no_parity_with_it() {
        for len in [1, 65_536, 65_537, 40 * 65_536, 100 * 65_536 - 7] {
            let published = publish(len);
            let (pieces, asked, result) = published.play(published.fetch(published.whole()), |_, _| true);
            assert_eq!(result, Ok(()));
            assert_eq!(pieces.into_values().collect::<Vec<_>>().concat(), published.content);
            assert_eq!(asked, to_usize(published.level.data), "the chunks that fill up, too");
        }
    }

    // [CONT-W-023] [CONT-R-027]
    #[test]
    fn a_range_asks_for_its_chunks_alone_and_what_is_there_is_not_asked_for() {
        let published = publish(200 * 65_536);
        let range = 70 * 65_536 + 5..72 * 65_536;
        let (pieces, asked, result) = published.play(published.fetch(range), |_, _| true);
        assert_eq!((result, asked, pieces.keys().copied().collect::<Vec<_>>()), (Ok(()), 2, vec![70, 71]));
        let mut fetch = published.fetch(published.whole());
        for (number, chunk) in (0..150).zip(published.content.chunks(CHUNK_LEN)) {
            assert!(!fetch.take(number, &chunk[1..]) && !fetch.take(number + 1, &[9; CHUNK_LEN]));
            assert!(fetch.take(number, chunk));
        }
        assert_eq!(fetch.progress(), (150, published.level.data));
        let (pieces, asked, result) = published.play(fetch, |_, _| true);
        assert_eq!((result, asked), (Ok(()), to_usize(published.level.data) - 150));
        assert_eq!(pieces.keys().copied().collect::<Vec<_>>(), (150..200).collect::<Vec<_>>());
    }

    // [CONT-R-025]
    #[test]
    fn one_chunk_too_few_in_a_group_ends_it_by_number_and_a_late_one_does_not() {
        let published = publish(70 * 65_536);
        let group = published.level.group(1);
        let start = to_usize(group.first_index);
        let left = |count: usize| move |index: usize, _: usize| index < start || index < start + count;
        let fetch = || published.fetch(published.whole());
        let (_, _, result) = published.play(fetch(), left(group.data - 1));
        let (have, need) = (group.data - 1, group.data);
        assert_eq!(result, Err(FetchRefused::TooFew { group: 1, have, need }));
        let late = |index: usize, time: usize| index < start + need - 1 || (index == start + need && time == 3);
        assert_eq!(published.play(fetch(), late).2, Ok(()));
    }

    // [CONT-R-006] [CONT-R-025] [CONT-R-026]
    #[test]
    fn wrong_parity_chunks_that_do_not_open_and_bytes_behind_the_end_are_damaged() {
        let mut published = publish(10 * 65_536);
        let all = |_: usize, _: usize| true;
        let wrong = |published: &mut Published, index: usize, at: u32, content: Vec<u8>| {
            published.chunks[index] = seal_chunk(&published.secret, ChunkAt { level: 0, index: at }, &content).unwrap();
        };
        let parity = published.chunks[10].clone();
        wrong(&mut published, 10, 10, vec![1; CHUNK_LEN]);
        let fetch = published.fetch(published.whole());
        let (_, _, result) = published.play(fetch, |index, _| index > 0 && index < 11);
        assert_eq!(result, Err(FetchRefused::Damaged { group: 0 }));
        published.chunks[10] = parity;
        let first = published.content[..CHUNK_LEN].to_vec();
        wrong(&mut published, 3, 4, first);
        let fetch = published.fetch(published.whole());
        let refused = Err(FetchRefused::Damaged { group: 0 });
        assert_eq!(published.play(fetch, all).2, refused, "its hash fits: that is its author's doing");
        let mut published = publish(10 * 65_536 - 1);
        wrong(&mut published, 9, 9, vec![1; CHUNK_LEN]);
        let fetch = published.fetch(published.whole());
        assert_eq!(published.play(fetch, all).2, Err(FetchRefused::Damaged { group: 0 }));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(12))]
        // [CONT-W-024]
        #[test]
        fn content_comes_back_as_long_as_enough_of_each_group_is_left(len in 1_usize..5_000_000, seed in any::<u64>()) {
            let published = publish(len);
            let coin = |index: usize, time: usize| {
                crate::crypto::hash::blake3(&[&seed.to_be_bytes(), &index.to_be_bytes(), &time.to_be_bytes()])[0]
            };
            // A third is gone, and of the others one answer in four does not come.
            let come = |index: usize, time: usize| coin(index, 0) % 3 != 0 && coin(index, time) % 4 != 0;
            let fetch = published.fetch(published.whole());
            let (pieces, _, result) = published.play(fetch, come);
            let is_left = |index: usize| (1..=CHUNK_TRIES_MAX).any(|time| come(index, time));
            let enough = (0..published.level.groups()).all(|number| {
                let group = published.level.group(number);
                let start = to_usize(group.first_index);
                (start..start + group.data + group.parity).filter(|index| is_left(*index)).count() >= group.data
            });
            prop_assert_eq!(result.is_ok(), enough);
            if enough {
                prop_assert_eq!(pieces.into_values().collect::<Vec<_>>().concat(), published.content);
            }
        }
    }
}
