//! What is made of the words of holders on the chunks of a content: group by group how many copies there are, and until when. Only
//! counting; it knows neither who was asked nor who answered. Source: spec/content.md §9.

use std::collections::BTreeMap;

use super::layout::{Layout, Level, to_usize};
use crate::limits::CHUNK_HOLDERS;
use crate::request::Sighting;
use crate::wire::record::Expiry;

/// A group of chunks, as far as it was looked at.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GroupAudit {
    /// Its level, 0 for the content.
    pub level: u8,
    /// Which of its level, from 0.
    pub number: u64,
    /// Chunks that bring it back, whichever they are.
    pub needed: usize,
    /// Chunks that it has, of content and of parity.
    pub chunks: usize,
    /// Of them those that were looked for.
    pub looked: usize,
    /// Of these those of which a holder signed to have a copy.
    pub found: usize,
    /// Of these those with too few copies that last for as long as asked for, by index in their level: attested, so that there are no
    /// more, or there are enough that end before.
    pub wanting: Vec<u64>,
    /// Those with too few copies where too few holders answered to say so.
    pub untold: usize,
    /// Copies of the chunk that has fewest.
    pub copies_min: usize,
    /// Copies of the chunk in the middle.
    pub copies_median: usize,
    /// When the first chunk is gone: the last copy of it but one that was seen, or the only one.
    pub first_end: Option<Expiry>,
    /// Until when enough chunks are there, by what was seen now; `None` where not all were looked for, or too few found.
    pub until: Option<Expiry>,
}

impl GroupAudit {
    /// How many chunks more may be lost before the group is; `None` where not all were looked for, or it is lost by what was seen.
    #[must_use]
    pub fn spare(&self) -> Option<usize> {
        if self.looked < self.chunks { None } else { self.found.checked_sub(self.needed) }
    }

    /// Whether too few of its chunks are left, by the word of enough holders.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        self.looked == self.chunks && self.found + self.untold < self.needed
    }
}

/// Takes what was seen of chunks, in any order.
#[derive(Debug)]
pub struct Audited {
    layout: Layout,
    lasting: Option<Expiry>,
    open: BTreeMap<(u8, u64), Vec<(u64, Sighting)>>,
    done: Vec<GroupAudit>,
}

impl Audited {
    /// Nothing was looked for yet. Copies count as there when they last until `lasting`; without it, all do.
    #[must_use]
    pub fn new(layout: Layout, lasting: Option<Expiry>) -> Self {
        Self { layout, lasting, open: BTreeMap::new(), done: Vec::new() }
    }

    /// What was seen of the chunk at this level and index. Each chunk is noted once.
    pub fn note(&mut self, level: u8, index: u64, seen: Sighting) {
        let Some(shape) = self.layout.levels().get(usize::from(level)).copied() else { return };
        let number = shape.group_of_index(index);
        let all = self.open.entry((level, number)).or_default();
        all.push((index, seen));
        let group = shape.group(number);
        // Whole groups are counted at once: what was seen of each chunk is not kept.
        if all.len() == group.data + group.parity
            && let Some(all) = self.open.remove(&(level, number))
        {
            self.done.push(counted((level, &shape), number, all, self.lasting));
        }
    }

    /// All groups of which anything was looked for, the content's first.
    #[must_use]
    pub fn finish(mut self) -> Vec<GroupAudit> {
        for ((level, number), all) in core::mem::take(&mut self.open) {
            if let Some(shape) = self.layout.levels().get(usize::from(level)) {
                self.done.push(counted((level, shape), number, all, self.lasting));
            }
        }
        self.done.sort_unstable_by_key(|group| (group.level, group.number));
        self.done
    }
}

fn counted(
    (level, shape): (u8, &Level),
    number: u64,
    all: Vec<(u64, Sighting)>,
    lasting: Option<Expiry>,
) -> GroupAudit {
    let group = shape.group(number);
    let (mut copies, mut ends, mut wanting, mut untold) = (Vec::new(), Vec::new(), Vec::new(), 0);
    let looked = all.len();
    for (index, seen) in all {
        let (count, long) = (seen.until.len(), seen.until.iter().filter(|end| Some(**end) >= lasting).count());
        copies.push(count);
        ends.extend(end_of(seen.until));
        if long < CHUNK_HOLDERS && (seen.attested || count >= CHUNK_HOLDERS) {
            wanting.push(index);
        } else if long < CHUNK_HOLDERS {
            untold += 1;
        }
    }
    copies.sort_unstable();
    wanting.sort_unstable();
    // What ends last first: as many of them as are needed bring the group back.
    ends.sort_unstable_by(|one, other| other.cmp(one));
    let chunks = group.data + group.parity;
    let until = group.data.checked_sub(1).filter(|_| looked == chunks).and_then(|last| ends.get(last).copied());
    GroupAudit {
        level,
        number,
        needed: group.data,
        chunks,
        looked,
        found: ends.len(),
        wanting,
        untold,
        copies_min: copies.first().copied().unwrap_or(0),
        copies_median: copies.get(looked.saturating_sub(1) / 2).copied().unwrap_or(0),
        first_end: ends.last().copied(),
        until,
    }
}

/// The end of a chunk with copies that end then: the last but one, for the last word may be one liar's.
fn end_of(mut ends: Vec<Expiry>) -> Option<Expiry> {
    ends.sort_unstable();
    ends.pop().map(|last| ends.pop().unwrap_or(last))
}

impl Level {
    /// The group in which the chunk of this index is, content or parity.
    #[must_use]
    pub fn group_of_index(&self, index: u64) -> u64 {
        let full = self.group(0);
        if self.groups() == 1 {
            return 0;
        }
        let size = u64::try_from(full.data + full.parity).unwrap_or(u64::MAX);
        (index / size).min(self.groups() - 1)
    }

    /// Hashes of this level's chunks (32 bytes each) that stand in a piece of the level above at this offset, with the index of each.
    pub fn indexed(offset: u64, bytes: &[u8]) -> impl Iterator<Item = (u64, [u8; 32])> {
        (offset / super::layout::HASH_LEN..).zip(bytes.as_chunks::<32>().0.iter().copied())
    }

    /// As [`Self::chunks`], for what is held in memory.
    #[must_use]
    pub fn chunks_len(&self) -> usize {
        to_usize(self.chunks())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(ends: &[u64], attested: bool) -> Sighting {
        Sighting { until: ends.iter().map(|step| Expiry::of_step(*step).unwrap()).collect(), attested }
    }

    /// One chunk of content and seven of parity.
    fn audited(all: &[(&[u64], bool)]) -> GroupAudit {
        audited_for(None, all)
    }

    fn audited_for(lasting: Option<u64>, all: &[(&[u64], bool)]) -> GroupAudit {
        let mut audited = Audited::new(Layout::of(100).unwrap(), lasting.and_then(Expiry::of_step));
        for (index, (ends, attested)) in (0..).zip(all) {
            audited.note(0, index, seen(ends, *attested));
        }
        let mut groups = audited.finish();
        assert_eq!(groups.len(), 1);
        groups.remove(0)
    }

    // [CONT-R-036]
    #[test]
    fn copies_and_ends_of_a_group_are_counted_and_any_chunk_brings_this_one_back() {
        let whole: &[u64] = &[90, 95];
        let group = audited(&[
            (whole, true),
            (whole, false),
            (&[80], true),
            (&[], true),
            (&[70], false),
            (whole, true),
            (&[99, 60, 60], true),
            (whole, true),
        ]);
        assert_eq!((group.needed, group.chunks, group.looked, group.found), (1, 8, 8, 7));
        assert_eq!((group.wanting.as_slice(), group.untold), (&[2, 3][..], 1));
        assert_eq!((group.copies_min, group.copies_median), (0, 2));
        assert_eq!((group.first_end, group.until), (Expiry::of_step(60), Expiry::of_step(90)));
        assert_eq!((group.spare(), group.is_lost()), (Some(6), false));
    }

    // [CONT-R-035]
    #[test]
    fn copies_that_end_too_early_are_wanting_at_the_step_before_and_not_at_the_one_asked_for() {
        let group = audited_for(Some(90), &[(&[90, 90], true), (&[89, 90], false), (&[90], true), (&[90], false)]);
        assert_eq!((group.wanting.as_slice(), group.untold, group.found), (&[1, 2][..], 1, 4));
    }

    // [CONT-R-035] [CONT-R-036]
    #[test]
    fn a_group_is_lost_when_enough_holders_say_so_and_not_when_they_are_silent() {
        let gone = audited(&[(&[][..], true); 8]);
        assert_eq!((gone.found, gone.spare(), gone.is_lost(), gone.until), (0, None, true, None));
        let silent = audited(&[(&[][..], false); 8]);
        assert_eq!((silent.untold, silent.spare(), silent.is_lost()), (8, None, false));
    }

    #[test]
    fn of_a_group_that_was_sampled_nothing_is_said_of_the_chunks_that_were_not() {
        let group = audited(&[(&[90, 90], true), (&[], true)]);
        assert_eq!((group.looked, group.found, group.spare(), group.until), (2, 1, None, None));
        assert!(!group.is_lost());
    }

    #[test]
    fn every_index_of_every_level_is_in_the_group_that_the_layout_has_it_in() {
        for len in [1, 7 * 65_536, 40 * 65_536, 700 * 65_536] {
            for level in Layout::of(len).unwrap().levels() {
                let mut index = 0;
                for number in 0..level.groups() {
                    let group = level.group(number);
                    for _ in 0..group.data + group.parity {
                        assert_eq!(level.group_of_index(index), number);
                        index += 1;
                    }
                }
                assert_eq!((index, level.chunks_len()), (level.chunks(), usize::try_from(index).unwrap()));
            }
        }
    }
}
