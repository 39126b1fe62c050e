//! Content through chunks and back: cut, grouped, protected and sealed, level upon level; then any range of any level is read, in any order of
//! answers, with chunks that do not come, and with names that an author gave to chunks that do not open, that stand in each other's place, or
//! that are another parity than that of their group. Each chunk that comes fits its name: whoever asks the network checks that before, so what
//! fits no name never comes here. What comes out is what was put in, each chunk once; nothing is asked for that need not be. It ends: with
//! everything, or, as soon as a count of each group by itself says so and not before, as given up, for the reason that there is.
//!
//! The contents have up to 64 chunks, in two groups, and two levels: a third begins with more than half a GiB.

use core::ops::Range;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;

use bauta::content::{
    ChunkAt, Fetch, FetchBatch, FetchRefused, Group, Grouping, Layout, Level, Piece, PublicationSecret, Wanted,
    open_chunk, protect, rebuild, seal_chunk,
};
use bauta::crypto::hash::blake3;
use bauta::limits::{BATCH_CHUNKS, CHUNK_LEN, CHUNK_TRIES_MAX};

use super::fetch_model::{Named, Reading, Whose};
use super::script::Script;

const CHUNKS_MAX: usize = 3;
/// Of one group and two levels, and of two groups and two levels: made once.
const LARGE: [usize; 2] = [7 * CHUNK_LEN + 5, 60 * CHUNK_LEN + 17];
const UNDER_WAY_MAX: usize = 8;

/// What may be wrong between the house and the oracle.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// A chunk in another's place is taken for it.
    Swapped,
    /// It is given up although more may come.
    GivenUpEarly,
    /// It is never given up.
    NeverGivenUp,
    /// Nothing is asked for any more once a chunk has not come.
    Stalled,
    /// Chunks of all groups are counted for one.
    CountedTogether,
    /// What does not open is said not to have come.
    AnotherReason,
    /// More is read than the range.
    AllRead,
    /// Another level is read.
    AnotherLevel,
    /// A chunk is given out twice.
    GivenTwice,
    /// What was there before is asked for.
    AskedAgain,
}

impl Fault {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Swapped,
        Self::GivenUpEarly,
        Self::NeverGivenUp,
        Self::Stalled,
        Self::CountedTogether,
        Self::AnotherReason,
        Self::AllRead,
        Self::AnotherLevel,
        Self::GivenTwice,
        Self::AskedAgain,
    ];
}

/// One level of what was published.
struct Shelf {
    number: u8,
    level: Level,
    content: Vec<u8>,
    /// Name and bytes, by index.
    chunks: Vec<([u8; 32], Vec<u8>)>,
}

struct Published {
    secret: PublicationSecret,
    layout: Layout,
    shelves: Vec<Shelf>,
}

fn publish(len: usize, fill: u8) -> Published {
    let secret = PublicationSecret::from_bytes([fill; 32]);
    let layout = Layout::of(u64::try_from(len).expect("small")).expect("short");
    let mut content: Vec<u8> = (0..len).map(|at| fill ^ (at / 7 + at / CHUNK_LEN).to_le_bytes()[0]).collect();
    let mut shelves: Vec<Shelf> = Vec::new();
    for (number, level) in (0..).zip(layout.levels()) {
        assert_eq!(u64::try_from(content.len()), Ok(level.len));
        let (mut grouping, mut chunks) = (Grouping::default(), Vec::new());
        content.chunks(CHUNK_LEN).for_each(|chunk| grouping.push(chunk.to_vec()));
        grouping.end(number == 0);
        while let Some(group) = grouping.next_group() {
            let sealed = group.seal(&secret, number).expect("whole chunks");
            chunks.extend(sealed.into_iter().map(|one| (one.hash, one.bytes)));
        }
        assert_eq!(u64::try_from(chunks.len()), Ok(level.chunks()));
        for (index, (hash, bytes)) in (0..).zip(&chunks) {
            assert_eq!(*hash, blake3(&[bytes]));
            assert!(open_chunk(&secret, ChunkAt { level: number, index }, bytes.clone()).is_ok());
            assert!(open_chunk(&secret, ChunkAt { level: number + 1, index }, bytes.clone()).is_err());
            assert!(open_chunk(&secret, ChunkAt { level: number, index: index + 1 }, bytes.clone()).is_err());
        }
        let hashes = chunks.iter().flat_map(|(hash, _)| *hash).collect();
        let content = core::mem::replace(&mut content, hashes);
        shelves.push(Shelf { number, level: *level, content, chunks });
    }
    assert_eq!(shelves.last().map(|top| top.chunks.len()), Some(layout.root_hashes()));
    Published { secret, layout, shelves }
}

fn large(at: usize) -> &'static Published {
    static MADE: [OnceLock<Published>; LARGE.len()] = [const { OnceLock::new() }; LARGE.len()];
    MADE[at].get_or_init(|| publish(LARGE[at], 5))
}

/// Any so many chunks of a group as there are of content bring it back.
fn parity(script: &mut Script<'_>) {
    let (data, extra) = (1 + script.below(4), 1 + script.below(4));
    let content: Vec<Vec<u8>> = (0..data).map(|_| vec![script.byte(); CHUNK_LEN]).collect();
    let parity = protect(&content, extra).expect("whole chunks");
    assert_eq!(parity.len(), extra);
    let all: Vec<&Vec<u8>> = content.iter().chain(&parity).collect();
    let there = script.byte();
    let left: Vec<Option<&[u8]>> =
        all.iter().enumerate().map(|(at, chunk)| (there >> at & 1 != 0).then_some(&chunk[..])).collect();
    let enough = left.iter().flatten().count() >= data;
    match rebuild(&left, data) {
        Ok(back) => {
            assert!(enough);
            assert!(back.iter().all(|(at, chunk)| content[*at] == *chunk));
            assert_eq!(back.len(), left[..data].iter().filter(|one| one.is_none()).count());
        }
        Err(_) => assert!(!enough),
    }
}

impl Shelf {
    fn part(&self, chunk: u64) -> &[u8] {
        let start = usize::try_from(chunk).expect("few") * CHUNK_LEN;
        let end = (start + CHUNK_LEN).min(self.content.len());
        &self.content[start.min(end)..end]
    }

    fn group_at(&self, index: usize) -> Group {
        let groups = (0..self.level.groups()).map(|number| self.level.group(number));
        groups.take_while(|group| group.first_index <= u64::try_from(index).expect("few")).last().expect("the first")
    }

    /// What its author named, some of it wrongly: each time chunks of one kind, in a row.
    fn named(&self, script: &mut Script<'_>, secret: &PublicationSecret) -> Vec<Named> {
        let good = |(at, (hash, _)): (usize, &([u8; 32], Vec<u8>))| Named::right(*hash, at);
        let mut named: Vec<Named> = self.chunks.iter().enumerate().map(good).collect();
        for _ in 0..script.below(4) {
            let (kind, first) = (script.byte(), script.below(named.len()));
            let row = first..(first + 1 + script.below(64)).min(named.len());
            match kind % 4 {
                0 => named[row].iter_mut().for_each(|one| one.is_gone = true),
                1 => {
                    let whose: Vec<(Whose, [u8; 32])> =
                        named[row.clone()].iter().rev().map(|one| (one.whose.clone(), one.hash)).collect();
                    named[row].iter_mut().zip(whose).for_each(|(one, (whose, hash))| one.bring(whose, hash));
                }
                2 => row.for_each(|at| {
                    let mut bytes = self.chunks[at].1.clone();
                    script.change(&mut bytes);
                    named[at].bring(Whose::Nobodys(bytes.clone()), blake3(&[&bytes]));
                }),
                _ => row.for_each(|at| {
                    let (group, index) = (self.group_at(at), u32::try_from(at).expect("few"));
                    if at >= usize::try_from(group.first_index).expect("few") + group.data {
                        let at_place = ChunkAt { level: self.number, index };
                        let sealed = seal_chunk(secret, at_place, &[kind; CHUNK_LEN]).expect("whole");
                        named[at].bring(Whose::Falsely(at, sealed.bytes), sealed.hash);
                    }
                }),
            }
        }
        named
    }

    fn bytes<'a>(&'a self, whose: &'a Whose) -> &'a [u8] {
        match whose {
            Whose::Of(at) => &self.chunks[*at].1,
            Whose::Nobodys(bytes) | Whose::Falsely(_, bytes) => bytes,
        }
    }
}

/// One level as it is read.
struct Play<'a> {
    shelf: &'a Shelf,
    fetch: Fetch,
    model: Reading,
    got: BTreeMap<u64, Vec<u8>>,
    fault: Option<Fault>,
}

impl Play<'_> {
    fn has(&self, fault: Fault) -> bool {
        self.fault == Some(fault)
    }

    /// What an earlier transfer has left, some of it changed.
    fn take(&mut self, script: &mut Script<'_>, chunks: &Range<u64>) {
        let had = script.u16();
        for chunk in chunks.clone().take(16).filter(|chunk| had >> (chunk - chunks.start) & 1 != 0) {
            let mut bytes = self.shelf.part(chunk).to_vec();
            let is_whole = script.byte() & 3 != 3 || bytes.is_empty();
            if !is_whole {
                script.change(&mut bytes);
            }
            let is_good = is_whole && self.model.is_rightly_named(chunk);
            let is_taken = if self.has(Fault::AskedAgain) { is_good } else { self.fetch.take(chunk, &bytes) };
            assert_eq!(is_taken, is_good, "what was there");
            if is_good {
                self.model.has(chunk);
                self.got.insert(chunk, bytes);
            }
        }
        assert!(!self.fetch.take(chunks.end, self.shelf.part(chunks.end)), "nobody wants it");
    }

    fn ask(&mut self, under_way: &mut Vec<FetchBatch>, at_once: usize) {
        while under_way.len() < at_once
            && !(self.has(Fault::Stalled) && self.model.has_missed())
            && let Some(batch) = self.fetch.next_batch()
        {
            assert!((1..=BATCH_CHUNKS).contains(&batch.hashes.len()));
            batch.hashes.iter().for_each(|hash| self.model.ask(hash));
            under_way.push(batch);
        }
    }

    /// Everything that is asked for is answered. Whether all has come; else it was given up.
    fn run(&mut self, script: &mut Script<'_>) -> bool {
        let at_once = 1 + script.below(UNDER_WAY_MAX);
        let mut under_way: Vec<FetchBatch> = Vec::new();
        for _ in 0..=CHUNK_TRIES_MAX * self.shelf.chunks.len() {
            self.ask(&mut under_way, at_once);
            if under_way.is_empty() {
                assert!(self.fetch.is_done() && self.model.is_whole(), "it stands still");
                return true;
            }
            let batch = under_way.swap_remove(script.below(under_way.len()));
            let lot = script.byte();
            let comes = |(at, hash): (usize, &[u8; 32])| {
                lot >> (2 * at) & 3 != 3 && !self.model.named(hash).expect("it was asked for").is_gone
            };
            let answers: Vec<bool> = batch.hashes.iter().enumerate().map(comes).collect();
            if !self.hear(&batch, &answers) {
                return false;
            }
        }
        panic!("it does not end");
    }

    /// A batch ends. Whether it goes on.
    fn hear(&mut self, batch: &FetchBatch, answers: &[bool]) -> bool {
        let bytes_of = |(hash, comes): (&[u8; 32], &bool)| {
            comes.then(|| self.shelf.bytes(&self.model.named(hash).expect("it was asked for").whose).to_vec())
        };
        let mut chunks: Vec<Option<Vec<u8>>> = batch.hashes.iter().zip(answers).map(bytes_of).collect();
        if self.has(Fault::Swapped) {
            chunks.reverse();
        }
        let touched = self.model.hear(batch.hashes.iter().zip(answers.iter().copied()));
        let told = self.fetch.on_batch(batch.id, chunks);
        let told = self.spoilt(told);
        let mut given = BTreeSet::new();
        let mut pieces: Vec<Piece> = core::iter::from_fn(|| self.fetch.poll_piece()).collect();
        if self.has(Fault::GivenTwice) {
            pieces.extend(pieces.clone());
        }
        for piece in pieces {
            assert_eq!(piece.bytes, self.shelf.part(piece.chunk));
            given.insert(piece.chunk);
            assert!(self.got.insert(piece.chunk, piece.bytes).is_none(), "given out once");
        }
        let expected = self.model.judge(touched, told);
        if told.is_ok() {
            let named = expected.into_iter().filter(|chunk| !self.shelf.part(*chunk).is_empty());
            assert_eq!(given, named.collect(), "given out as soon as it can be");
            assert_eq!(self.fetch.progress(), self.model.progress());
        }
        told.is_ok()
    }

    fn spoilt(&self, told: Result<(), FetchRefused>) -> Result<(), FetchRefused> {
        match (self.fault, told) {
            (Some(Fault::GivenUpEarly), Ok(())) => Err(FetchRefused::TooFew { group: 0, have: 0, need: 1 }),
            (Some(Fault::NeverGivenUp), Err(_)) => Ok(()),
            (Some(Fault::CountedTogether), Err(FetchRefused::TooFew { group, need, .. })) => {
                Err(FetchRefused::TooFew { group, have: self.model.all_here(), need })
            }
            (Some(Fault::AnotherReason), Err(FetchRefused::Damaged { group })) => {
                Err(FetchRefused::TooFew { group, have: 0, need: 1 })
            }
            (_, told) => told,
        }
    }
}

/// Reads what is wanted of one level, by these names. Its bytes, unless it was given up.
fn read(
    script: &mut Script<'_>,
    published: &Published,
    wanted: &Wanted,
    hashes: &[[u8; 32]],
    fault: Option<Fault>,
) -> Option<Vec<u8>> {
    let shelf = &published.shelves[usize::from(wanted.number)];
    let at = |byte: u64| usize::try_from(byte).expect("few");
    let needed = wanted.level.hashes_of(&wanted.chunks);
    let needed = at(needed.start / 32)..at(needed.end / 32);
    assert_eq!(wanted.level, shelf.level);
    assert!(shelf.chunks[needed.clone()].iter().map(|(hash, _)| hash).eq(hashes), "other names came from above");
    let named = shelf.named(script, &published.secret);
    let names = |of: Range<usize>| named[of].iter().map(|one| one.hash).collect::<Vec<_>>();
    let (number, chunks) = (wanted.number, wanted.chunks.clone());
    let number = if fault == Some(Fault::AnotherLevel) { number ^ 1 } else { number };
    let (names, asked) = match fault {
        Some(Fault::AllRead) => (names(0..named.len()), 0..shelf.level.data),
        _ => (names(needed.clone()), chunks.clone()),
    };
    let fetch = Fetch::new(published.secret.clone(), (number, shelf.level), names, asked);
    let model = Reading::new(shelf.level, named, needed, chunks.clone());
    let mut play = Play { shelf, fetch, model, got: BTreeMap::new(), fault };
    play.take(script, &chunks);
    let is_whole = play.run(script);
    // All that was wanted, and so all of the bytes that lie in it.
    let all: Vec<u8> = play.got.into_values().flatten().collect();
    let start = chunks.start * u64::try_from(CHUNK_LEN).expect("small");
    let (from, to) = (at(wanted.bytes.start), at(wanted.bytes.end.min(shelf.level.len)));
    is_whole.then(|| {
        let all = if from < to { &all[from - at(start)..to - at(start)] } else { &[] };
        assert_eq!(all, &shelf.content[from.min(to)..to]);
        all.to_vec()
    })
}

/// Checks one input. With `fault`, as it would be where a chunk in another's place is taken for it.
pub fn check(data: &[u8], fault: bool) {
    check_with(data, fault.then_some(Fault::Swapped));
}

/// Checks one input, with this fault between the house and the oracle.
pub fn check_with(data: &[u8], fault: Option<Fault>) {
    let mut script = Script::new(data);
    let kind = script.byte() & 3;
    let small;
    let published = match kind {
        3 => return parity(&mut script),
        0 => {
            let len = 1 + (usize::from(script.u16()) * 4) % (CHUNKS_MAX * CHUNK_LEN);
            small = publish(len, script.byte());
            &small
        }
        _ => large(usize::from(kind) - 1),
    };
    let lowest = script.below(published.shelves.len());
    let len = published.shelves[lowest].level.len;
    // A share of what there is, from its begin to its end.
    let share = |of: u64, by: u16| of * u64::from(by) / u64::from(u16::MAX);
    let range = match script.byte() & 1 {
        0 => 0..len,
        _ => {
            let start = share(len, script.u16());
            start..start + share(len - start, script.u16())
        }
    };
    let lowest = u8::try_from(lowest).expect("few");
    let (mut wanted, of_root) = published.layout.wanted(lowest, &range);
    let top = published.shelves.last().expect("at least one");
    let cut = |bytes: &Range<u64>| {
        let at = |byte: u64| usize::try_from(byte / 32).expect("few");
        top.chunks[at(bytes.start)..at(bytes.end)].iter().map(|(hash, _)| *hash).collect::<Vec<_>>()
    };
    let mut hashes = cut(&of_root);
    while let Some(next) = wanted.pop() {
        let Some(bytes) = read(&mut script, published, &next, &hashes, fault) else { return };
        hashes = bytes.as_chunks::<32>().0.to_vec();
    }
}
