//! What this relay holds, when each place is looked after next, and which members have come or gone since. Knows no value.

use core::ops::Bound;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::dht::store::Holding;
use crate::keyspace::{Id, Location};
use crate::limits::{REPAIR_PASSES_MAX, REPAIR_PLACES_MAX};
use crate::time::{Instant, UnixTime};
use crate::wire::record::ValueKind;

/// A place, in the order of locations: those near each other stand side by side.
pub(super) type Spot = (Location, ValueKind);

/// One place.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) holding: Holding,
    pub(super) due: Instant,
    /// Checks in a row that did not come to their end.
    pub(super) tries: u32,
    /// All holders have it, and this relay is none of them: it looks after it no more.
    pub(super) handed_over: bool,
    /// Something happened while it was being checked.
    pub(super) again: bool,
}

/// All places. Invariant: `due` has every place once.
#[derive(Debug, Default)]
pub(super) struct Places {
    kept: BTreeMap<Spot, Kept>,
    due: BTreeSet<(Instant, Spot)>,
}

impl Places {
    pub(super) fn get(&self, spot: &Spot) -> Option<&Kept> {
        self.kept.get(spot)
    }

    pub(super) fn get_mut(&mut self, spot: &Spot) -> Option<&mut Kept> {
        self.kept.get_mut(spot)
    }

    pub(super) fn len(&self) -> usize {
        self.kept.len()
    }

    pub(super) fn due_len(&self) -> usize {
        self.due.len()
    }

    /// Takes a place in; false when there is no room.
    pub(super) fn insert(&mut self, spot: Spot, holding: Holding, due: Instant) -> bool {
        if self.kept.len() >= REPAIR_PLACES_MAX && !self.kept.contains_key(&spot) {
            return false;
        }
        self.remove(&spot);
        self.kept.insert(spot, Kept { holding, due, tries: 0, handed_over: false, again: false });
        self.due.insert((due, spot));
        true
    }

    pub(super) fn remove(&mut self, spot: &Spot) {
        if let Some(kept) = self.kept.remove(spot) {
            self.due.remove(&(kept.due, *spot));
        }
    }

    /// Sets when a place is looked after next.
    pub(super) fn set_due(&mut self, spot: &Spot, due: Instant) {
        if let Some(kept) = self.kept.get_mut(spot) {
            self.due.remove(&(kept.due, *spot));
            kept.due = due;
            self.due.insert((due, *spot));
        }
    }

    /// The place that is to be looked after next, and when.
    pub(super) fn first_due(&self) -> Option<(Instant, Spot)> {
        self.due.first().copied()
    }

    /// The first place at or after this one.
    fn next(&self, from: Bound<Spot>) -> Option<Spot> {
        self.kept.range((from, Bound::Unbounded)).next().map(|(spot, _)| *spot)
    }
}

/// When a value is over, by the clock that cannot go back.
pub(super) fn end_of(holding: &Holding, now: crate::time::Now) -> Instant {
    let UnixTime(end) = holding.expiry.time();
    now.instant + crate::time::Duration::from_secs(end.saturating_sub(now.unix.0))
}

/// Whom a walk over all places is for: a member that came or went, or nobody, where all places are meant.
pub(super) type Whom = Option<Id>;

/// One walk.
#[derive(Debug)]
struct Pass {
    whom: Whom,
    next: Bound<Spot>,
}

/// Members that have come or gone and are still to be held against the places.
#[derive(Debug, Default)]
pub(super) struct Passes {
    queue: VecDeque<Pass>,
}

impl Passes {
    /// Begins a walk. Too many become one over everything.
    pub(super) fn begin(&mut self, whom: Whom) {
        let is_new = |pass: &Pass| matches!(pass.next, Bound::Unbounded) && (pass.whom == whom || pass.whom.is_none());
        if self.queue.iter().any(is_new) {
            return;
        }
        if whom.is_none() || self.queue.len() >= REPAIR_PASSES_MAX {
            self.queue.clear();
            self.queue.push_back(Pass { whom: None, next: Bound::Unbounded });
        } else {
            self.queue.push_back(Pass { whom, next: Bound::Unbounded });
        }
    }

    pub(super) fn len(&self) -> usize {
        self.queue.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// The next place of the first walk that has one.
    pub(super) fn next(&mut self, places: &Places) -> Option<(Whom, Spot)> {
        loop {
            let pass = self.queue.front_mut()?;
            if let Some(spot) = places.next(pass.next) {
                pass.next = Bound::Excluded(spot);
                return Some((pass.whom, spot));
            }
            self.queue.pop_front();
        }
    }

    /// Passes over all places up to this location.
    pub(super) fn skip_to(&mut self, last: Location) {
        if let Some(pass) = self.queue.front_mut() {
            pass.next = Bound::Excluded((last, ValueKind::Hashed));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_beyond_the_cap_become_one_walk_over_everything() {
        let mut passes = Passes::default();
        for number in 0..REPAIR_PASSES_MAX {
            let whom = Some(Id([u8::try_from(number).unwrap(); 20]));
            passes.begin(whom);
            passes.begin(whom);
            assert_eq!(passes.queue.len(), number + 1, "a walk that has not begun is there once");
        }
        passes.begin(Some(Id([200; 20])));
        assert_eq!((passes.queue.len(), passes.queue.front().map(|pass| pass.whom)), (1, Some(None)));
        passes.begin(Some(Id([201; 20])));
        assert_eq!(passes.queue.len(), 1, "everything is looked at anyway");
        assert_eq!(passes.next(&Places::default()), None);
        assert!(passes.is_empty());
    }
}
