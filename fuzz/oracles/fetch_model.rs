//! What is read of one level, counted group by group (spec/content.md §6): what the oracle of `fetch` compares the house with. It knows names and
//! who bears them, and opens nothing.

use core::ops::Range;
use std::collections::{BTreeMap, BTreeSet};

use bauta::content::{FetchRefused, Group, Level};
use bauta::limits::CHUNK_TRIES_MAX;

/// What comes under a name.
#[derive(Clone)]
pub enum Whose {
    /// The chunk of this index.
    Of(usize),
    /// What opens nowhere.
    Nobodys(Vec<u8>),
    /// What opens in the place of this index, and is not the parity of its group.
    Falsely(usize, Vec<u8>),
}

/// A name that an author gave to a place.
pub struct Named {
    pub hash: [u8; 32],
    pub whose: Whose,
    /// Nobody has it any more.
    pub is_gone: bool,
    is_right: bool,
    index: usize,
}

impl Named {
    /// As it must be.
    pub fn right(hash: [u8; 32], index: usize) -> Self {
        Self { hash, whose: Whose::Of(index), is_gone: false, is_right: true, index }
    }

    /// Another chunk, with its name.
    pub fn bring(&mut self, whose: Whose, hash: [u8; 32]) {
        self.is_right = matches!(whose, Whose::Of(of) if of == self.index);
        (self.whose, self.hash) = (whose, hash);
    }

    fn opens(&self) -> bool {
        self.is_right || self.is_false()
    }

    fn is_false(&self) -> bool {
        matches!(self.whose, Whose::Falsely(of, _) if of == self.index)
    }
}

struct Count {
    shape: Group,
    /// Places that are wanted and have not been given out.
    wanted: BTreeSet<usize>,
    here: BTreeSet<usize>,
    damaged: BTreeSet<usize>,
    under_way: BTreeSet<usize>,
    /// How often each was asked for and did not come.
    vain: BTreeMap<usize, usize>,
    /// One did not come: any will do.
    is_any_good: bool,
}

impl Count {
    /// Those that may still come.
    fn possible(&self) -> usize {
        let all = 0..self.shape.data + self.shape.parity;
        let is_left = |place: &usize| !self.here.contains(place) && !self.damaged.contains(place);
        all.filter(is_left).filter(|place| self.vain.get(place).is_none_or(|times| *times < CHUNK_TRIES_MAX)).count()
    }
}

/// A level as it is read.
pub struct Reading {
    level: Level,
    named: Vec<Named>,
    /// Those whose names the reader has.
    needed: Range<usize>,
    chunks: Range<u64>,
    groups: BTreeMap<u64, Count>,
    done: u64,
}

fn small(number: u64) -> usize {
    usize::try_from(number).expect("few")
}

impl Reading {
    /// These chunks of content, nothing of which has come.
    pub fn new(level: Level, named: Vec<Named>, needed: Range<usize>, chunks: Range<u64>) -> Self {
        let mut groups = BTreeMap::new();
        for chunk in chunks.clone() {
            let number = level.group_of(chunk);
            let count = groups.entry(number).or_insert_with(|| Count {
                shape: level.group(number),
                wanted: BTreeSet::new(),
                here: BTreeSet::new(),
                damaged: BTreeSet::new(),
                under_way: BTreeSet::new(),
                vain: BTreeMap::new(),
                is_any_good: false,
            });
            count.wanted.insert(small(chunk - count.shape.first_data));
        }
        Self { level, named, needed, chunks, groups, done: 0 }
    }

    /// Whether a chunk of content has the name that it must have.
    pub fn is_rightly_named(&self, chunk: u64) -> bool {
        let shape = self.level.group(self.level.group_of(chunk));
        self.named[small(shape.first_index + chunk - shape.first_data)].is_right
    }

    /// This chunk of content is there.
    pub fn has(&mut self, chunk: u64) {
        let count = self.groups.get_mut(&self.level.group_of(chunk)).expect("wanted");
        assert!(count.wanted.remove(&small(chunk - count.shape.first_data)));
        self.done += 1;
    }

    /// Who bears this name.
    pub fn named(&self, hash: &[u8; 32]) -> Option<&Named> {
        self.named[self.needed.clone()].iter().find(|one| one.hash == *hash)
    }

    /// Its group, and its place there.
    fn place_of(&self, hash: &[u8; 32]) -> (u64, usize) {
        let index = self.named(hash).expect("nobody named it").index;
        let groups = self.groups.iter();
        let mut of = groups.filter(|(_, count)| {
            let first = small(count.shape.first_index);
            (first..first + count.shape.data + count.shape.parity).contains(&index)
        });
        let (number, count) = of.next().expect("of a group of which nothing is wanted");
        (*number, index - small(count.shape.first_index))
    }

    /// It is asked for: of a group of which something is wanting, not twice at a time, not too often, and no other chunks than those wanted
    /// as long as these come (CONT-W-024, CONT-R-025).
    pub fn ask(&mut self, hash: &[u8; 32]) {
        let (number, place) = self.place_of(hash);
        let count = self.groups.get_mut(&number).expect("found");
        assert!(count.is_any_good || count.wanted.contains(&place), "it is not wanted");
        assert!(!count.wanted.is_empty() && !count.here.contains(&place) && !count.damaged.contains(&place));
        assert!(count.vain.get(&place).is_none_or(|times| *times < CHUNK_TRIES_MAX), "too often");
        assert!(count.under_way.insert(place), "it is under way");
    }

    /// A batch ended. Groups of which something is wanted still, and to which this says something.
    pub fn hear<'a>(&mut self, answers: impl Iterator<Item = (&'a [u8; 32], bool)>) -> BTreeSet<u64> {
        let mut touched = BTreeSet::new();
        for (hash, comes) in answers {
            let (number, place) = self.place_of(hash);
            let opens = self.named(hash).is_some_and(Named::opens);
            let count = self.groups.get_mut(&number).expect("found");
            if count.wanted.is_empty() {
                continue;
            }
            touched.insert(number);
            count.under_way.remove(&place);
            match (comes, opens) {
                (true, true) => drop(count.here.insert(place)),
                (true, false) => drop(count.damaged.insert(place)),
                (false, _) => *count.vain.entry(place).or_default() += 1,
            }
            count.is_any_good |= !(comes && opens);
        }
        touched
    }

    /// What was said after a batch that touched these groups is what follows from it. Chunks that are to be given out now.
    pub fn judge(&mut self, touched: BTreeSet<u64>, told: Result<(), FetchRefused>) -> BTreeSet<u64> {
        let mut given = BTreeSet::new();
        for number in touched {
            match self.end_of(number, &mut given) {
                None => (),
                Some((expected, true)) if told != Err(expected) => given.extend(self.give(number, true)),
                Some((expected, _)) => {
                    assert_eq!(told, Err(expected));
                    return given;
                }
            }
        }
        assert_eq!(told, Ok(()), "more may come");
        given
    }

    /// What follows for a group: nothing, or its end, and whether that only may be: a false parity may have been left out.
    fn end_of(&mut self, number: u64, given: &mut BTreeSet<u64>) -> Option<(FetchRefused, bool)> {
        let count = &self.groups[&number];
        let (shape, have) = (count.shape, count.here.len());
        let of = |place: usize| &self.named[small(shape.first_index) + place];
        let is_rebuilt = count.is_any_good && have >= shape.data;
        if is_rebuilt {
            let missing: Vec<usize> = (0..shape.data).filter(|place| !count.here.contains(place)).collect();
            let damaged = FetchRefused::Damaged { group: number };
            if missing.iter().any(|place| !of(*place).is_right) {
                return Some((damaged, false));
            }
            if !missing.is_empty() && count.here.iter().any(|place| of(*place).is_false()) {
                return Some((damaged, true));
            }
        }
        given.extend(self.give(number, is_rebuilt));
        let count = &self.groups[&number];
        if count.wanted.is_empty() || have + count.possible() >= shape.data {
            return None;
        }
        let too_few = FetchRefused::TooFew { group: number, have, need: shape.data };
        let refused = if count.damaged.is_empty() { too_few } else { FetchRefused::Damaged { group: number } };
        Some((refused, false))
    }

    /// Gives out what is there of a group, or all that is wanted of it.
    fn give(&mut self, number: u64, all: bool) -> Vec<u64> {
        let count = self.groups.get_mut(&number).expect("found");
        let (given, left) = count.wanted.iter().partition(|place| all || count.here.contains(place));
        count.wanted = left;
        let given: BTreeSet<usize> = given;
        self.done += u64::try_from(given.len()).expect("few");
        given.into_iter().map(|place| count.shape.first_data + u64::try_from(place).expect("few")).collect()
    }

    /// Chunks of content that are there, and all that are wanted.
    pub fn progress(&self) -> (u64, u64) {
        (self.done, self.chunks.end - self.chunks.start)
    }

    /// Whether all is there.
    pub fn is_whole(&self) -> bool {
        self.done == self.chunks.end - self.chunks.start
    }

    /// Whether something was asked for in vain.
    pub fn has_missed(&self) -> bool {
        self.groups.values().any(|count| count.is_any_good)
    }

    /// Chunks that came, of all groups.
    pub fn all_here(&self) -> usize {
        self.groups.values().map(|count| count.here.len()).sum()
    }
}
