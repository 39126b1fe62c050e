//! Who holds which version of which record, read off a world from outside, against what was acknowledged. It must not know
//! scenarios.

use std::collections::BTreeMap;

use crate::keyspace::{Id, Location};
use crate::limits::{HOLDERS, LOCATIONS};
use crate::record::Place;
use crate::sim::stage::{Doing, Ended, Ending, Stage};
use crate::sim::world::NodeNo;

/// Locations of a record at which somebody must have held it all the time, so that it must be readable.
pub(super) const PLACES_ENOUGH: usize = LOCATIONS - 1;

/// The newest version of each record that was acknowledged as a whole.
pub(super) fn acknowledged_versions(ended: &[Ended]) -> BTreeMap<usize, u64> {
    let mut newest = BTreeMap::new();
    for put in ended.iter().filter(|one| one.doing == Doing::Put && one.ending == Ending::Done) {
        let seq: &mut u64 = newest.entry(put.record).or_default();
        *seq = put.seq.max(*seq);
    }
    newest
}

/// What all running relays hold at one moment.
pub(super) struct Holding {
    by_location: BTreeMap<Location, Vec<(NodeNo, u64)>>,
    relays: Vec<(Id, NodeNo)>,
}

/// How copies stand at the places of records.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Copies {
    /// Places looked at.
    pub(super) places: usize,
    /// Places at which none of the nearest has the newest version.
    pub(super) without: usize,
    /// Copies of it that the nearest lack.
    pub(super) missing: usize,
    /// Older versions that the nearest hold.
    pub(super) older: usize,
    /// Older versions that others hold.
    pub(super) older_elsewhere: usize,
}

impl Holding {
    pub(super) fn of(stage: &Stage<'_>) -> Self {
        let mut by_location: BTreeMap<Location, Vec<(NodeNo, u64)>> = BTreeMap::new();
        let mut relays = Vec::new();
        for no in stage.world.relays().into_iter().filter(|no| stage.world.is_up(*no)) {
            relays.extend(stage.world.descriptor_of(no).map(|shown| (shown.id(), no)));
            for value in stage.world.held(no) {
                by_location.entry(value.location()).or_default().push((no, value.seq()));
            }
        }
        Self { by_location, relays }
    }

    /// Who holds what of a place: relays and versions as their author counts.
    pub(super) fn at(&self, place: &Place) -> impl Iterator<Item = (NodeNo, u64)> {
        let held = self.by_location.get(&place.location).into_iter().flatten();
        held.filter_map(|(no, seq_there)| Some((*no, place.seq_of(*seq_there)?)))
    }

    /// The running relays nearest to a location, as many as hold it.
    fn nearest(&self, location: &Location) -> Vec<NodeNo> {
        let mut all: Vec<_> = self.relays.iter().map(|(id, no)| (id.distance(location), *no)).collect();
        all.sort_unstable_by_key(|(distance, _)| *distance);
        all.into_iter().take(HOLDERS).map(|(_, no)| no).collect()
    }

    /// How copies of these versions stand; what is newer at a place counts there.
    pub(super) fn copies(&self, stage: &Stage<'_>, versions: &BTreeMap<usize, u64>) -> Copies {
        let mut copies = Copies::default();
        for (record, seq) in versions {
            for place in stage.records.get(*record).into_iter().flat_map(|record| record.places()) {
                let nearest = self.nearest(&place.location);
                let newest = self.at(&place).map(|(_, seq)| seq).max().unwrap_or(0).max(*seq);
                let (near, far): (Vec<_>, Vec<_>) = self.at(&place).partition(|(no, _)| nearest.contains(no));
                let have = near.iter().filter(|(_, seq)| *seq == newest).count();
                copies.places += 1;
                copies.without += usize::from(have == 0);
                copies.missing += nearest.len() - have;
                copies.older += near.len() - have;
                copies.older_elsewhere += far.iter().filter(|(_, seq)| *seq < newest).count();
            }
        }
        copies
    }

    /// Of these versions those that somebody honest holds, or something newer, at enough places.
    pub(super) fn held_enough(&self, stage: &Stage<'_>, versions: &BTreeMap<usize, u64>) -> BTreeMap<usize, u64> {
        let is_held = |record: usize, seq: u64| {
            let places = stage.records.get(record).into_iter().flat_map(|record| record.places());
            let has = |(no, held)| held >= seq && stage.world.is_honest(no);
            places.filter(|place| self.at(place).any(has)).count() >= PLACES_ENOUGH
        };
        let held = versions.iter().filter(|(record, seq)| is_held(**record, **seq));
        held.map(|(record, seq)| (*record, *seq)).collect()
    }
}

/// Of these versions those that no get brought, nor anything newer.
pub(super) fn unread(versions: &BTreeMap<usize, u64>, gets: &[Ended]) -> Vec<usize> {
    let is_read = |record: usize, seq: u64| {
        let done = gets.iter().filter(|one| one.doing == Doing::Get && one.ending == Ending::Done);
        done.into_iter().any(|get| get.record == record && get.seq >= seq)
    };
    versions.iter().filter(|(record, seq)| !is_read(**record, **seq)).map(|(record, _)| *record).collect()
}
