//! What holders say of the chunks of a content, in any order, of all chunks or of some: what is made of it group by group is what a count
//! of each group makes of it. A group is there until just then, and lost only by enough words.

use std::collections::BTreeMap;

use bauta::content::{Audited, GroupAudit, Layout, Level};
use bauta::limits::{CHUNK_HOLDERS, CHUNK_LEN};
use bauta::request::Sighting;
use bauta::wire::record::Expiry;

use super::script::Script;

/// Chunks of content: some groups, and with more than a root names a level of hashes.
const CHUNKS_MAX: usize = 400;
const COPIES_MAX: usize = CHUNK_HOLDERS + 2;

fn end(step: u8) -> Expiry {
    Expiry::of_step(1_000 + u64::from(step % 8)).expect("small")
}

fn sighting(script: &mut Script<'_>) -> Sighting {
    let head = script.byte();
    let copies = usize::from(head & 0x0f) % (COPIES_MAX + 1);
    Sighting { until: (0..copies).map(|_| end(script.byte())).collect(), attested: head & 0x80 != 0 }
}

/// When a chunk is gone: where there are two copies and more, repair has until the last but one.
fn gone(seen: &Sighting) -> Option<Expiry> {
    let mut ends = seen.until.clone();
    ends.sort_unstable();
    ends.iter().rev().nth(1).or(ends.last()).copied()
}

fn judge(audit: &GroupAudit, level: &Level, seen: &BTreeMap<u64, Sighting>, lasting: Option<Expiry>) {
    let group = level.group(audit.number);
    let chunks = group.data + group.parity;
    assert_eq!((audit.needed, audit.chunks, audit.looked), (group.data, chunks, seen.len()));
    let ends: Vec<Expiry> = seen.values().filter_map(gone).collect();
    assert_eq!((audit.found, audit.first_end), (ends.len(), ends.iter().min().copied()));
    let lasts = |seen: &Sighting| seen.until.iter().filter(|end| lasting.is_none_or(|wanted| **end >= wanted)).count();
    let few = || seen.iter().filter(|(_, seen)| lasts(seen) < CHUNK_HOLDERS);
    let is_known = |seen: &Sighting| seen.attested || seen.until.len() >= CHUNK_HOLDERS;
    let wanting: Vec<u64> = few().filter(|(_, seen)| is_known(seen)).map(|(index, _)| *index).collect();
    assert_eq!((audit.untold, &audit.wanting), (few().count() - wanting.len(), &wanting));
    let mut copies: Vec<usize> = seen.values().map(|seen| seen.until.len()).collect();
    copies.sort_unstable();
    assert_eq!((audit.copies_min, audit.copies_median), (copies[0], copies[(copies.len() - 1) / 2]));
    let there = |at: Expiry| ends.iter().filter(|end| **end >= at).count();
    match audit.until {
        Some(until) => {
            assert!(there(until) >= group.data && ends.iter().filter(|end| **end > until).count() < group.data);
            assert!(!audit.is_lost() && audit.spare() == Some(ends.len() - group.data));
        }
        None => assert!(seen.len() < chunks || (ends.len() < group.data && audit.spare().is_none())),
    }
    assert_eq!(audit.is_lost(), seen.len() == chunks && ends.len() + audit.untold < group.data);
}

/// Checks one input. With `fault`, as it would be where the last copy that was told of a chunk is left out.
pub fn check(data: &[u8], fault: bool) {
    let mut script = Script::new(data);
    let len = (1 + script.below(CHUNKS_MAX)) * CHUNK_LEN - script.below(CHUNK_LEN);
    let Ok(layout) = Layout::of(u64::try_from(len).expect("small")) else { panic!("{len} bytes are not many") };
    let lasting = Some(script.byte()).filter(|step| step & 0x80 != 0).map(end);
    let mut seen: BTreeMap<(u8, u64), BTreeMap<u64, Sighting>> = BTreeMap::new();
    let (mut told, mut other_way) = (Audited::new(layout.clone(), lasting), Audited::new(layout.clone(), lasting));
    let mut all = Vec::new();
    for (number, level) in (0..).zip(layout.levels()) {
        // All, or about one in so many.
        let part = script.byte() % 4;
        for index in 0..level.chunks() {
            if part == 0 || script.byte().is_multiple_of(part) {
                all.push((number, level.group_of_index(index), index, sighting(&mut script)));
            }
        }
    }
    for (level, group, index, sighting) in &all {
        let mut noted = sighting.clone();
        noted.until.truncate(sighting.until.len() - usize::from(fault && !sighting.until.is_empty()));
        told.note(*level, *index, noted.clone());
        seen.entry((*level, *group)).or_default().insert(*index, sighting.clone());
    }
    let audits = told.finish();
    assert!(audits.iter().map(|audit| (audit.level, audit.number)).eq(seen.keys().copied()));
    for (audit, seen) in audits.iter().zip(seen.values()) {
        judge(audit, &layout.levels()[usize::from(audit.level)], seen, lasting);
    }
    for at in 1..all.len() {
        all.swap(at, script.below(at + 1));
    }
    all.into_iter().for_each(|(level, _, index, sighting)| other_way.note(level, index, sighting));
    assert_eq!(other_way.finish(), audits);
}
