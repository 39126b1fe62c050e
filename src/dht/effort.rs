//! What effort a relay asks of anonymous writes: none while its storage is plentiful, more as it fills up. Pure; it must not know
//! who writes. Source: spec/dht.md §8.1.

use std::collections::BTreeMap;

use super::store::Quota;
use crate::crypto::keys::NodeKey;
use crate::keyspace::Location;
use crate::limits::{
    EFFORT_FULL_LESS_PERMILLE, EFFORT_FULL_PERMILLE, EFFORT_KEPT_S, EFFORT_MAX, STORE_PLENTIFUL_PERMILLE,
};
use crate::membership::members::Members;
use crate::time::Instant;
use crate::wire::descriptor::VerifiedDescriptor;
use crate::wire::record::ValueKind;

/// How full a store is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Fill {
    /// What it holds.
    pub held: Quota,
    /// What it may hold; zeros where nothing is known yet.
    pub max: Quota,
}

impl Fill {
    /// In thousandths, of values or of bytes, whatever is nearer to its end.
    #[must_use]
    pub fn permille(&self) -> u64 {
        let part = |held: u64, max: u64| held.saturating_mul(1_000).checked_div(max).unwrap_or(0);
        part(self.held.values, self.max.values).max(part(self.held.bytes, self.max.bytes))
    }

    /// Whether nothing needs to be counted.
    #[must_use]
    pub fn is_plentiful(&self) -> bool {
        self.permille() < STORE_PLENTIFUL_PERMILLE
    }

    /// The step to ask for, after this one: up where the store is that full, down only where it is clearly less full.
    #[must_use]
    pub fn step_after(&self, step: u8) -> u8 {
        let highest = |less: u64| {
            let reached = |one: &u8| {
                let full = EFFORT_FULL_PERMILLE.get(usize::from(*one)).copied().unwrap_or(0);
                self.permille() >= full.saturating_sub(less)
            };
            (0..=EFFORT_MAX).rev().find(reached).unwrap_or(0)
        };
        step.clamp(highest(0), highest(EFFORT_FULL_LESS_PERMILLE))
    }
}

/// The step that a relay asks for; it holds for an hour at least, for clients know it from the descriptor.
#[derive(Clone, Copy, Debug, Default)]
pub struct Effort {
    step: u8,
    /// By the clock that cannot be set; `None` at the start.
    since: Option<Instant>,
}

impl Effort {
    /// The step that is asked for.
    #[must_use]
    pub fn step(&self) -> u8 {
        self.step
    }

    /// Looks how full the store is; whether another step is asked for from now on.
    pub fn note(&mut self, fill: &Fill, now: Instant) -> bool {
        let step = fill.step_after(self.step);
        let may_change = self.since.is_none_or(|since| since.until(now).as_secs() >= EFFORT_KEPT_S);
        if step == self.step || !may_change {
            return false;
        }
        *self = Self { step, since: Some(now) };
        true
    }
}

/// What others last told that a relay asks for, where a client has a newer descriptor from the relay itself alone: a guard could show
/// each of its clients another price, and know them again by what they pay elsewhere.
#[derive(Debug, Default)]
pub struct ToldEfforts {
    /// Number of the descriptor that was shown, and the effort in the one before it.
    shown: BTreeMap<NodeKey, (u32, u8)>,
}

impl ToldEfforts {
    /// Nobody has shown anything.
    #[must_use]
    pub const fn new() -> Self {
        Self { shown: BTreeMap::new() }
    }

    /// What this member asks for by the word of others.
    #[must_use]
    pub fn of(&self, member: &VerifiedDescriptor) -> u8 {
        let told = self.shown.get(&member.key).filter(|(issued, _)| *issued == member.issued);
        told.map_or(member.effort, |(_, effort)| *effort)
    }

    /// A relay has shown a descriptor itself, which takes the place of the one that is held.
    pub fn on_shown(&mut self, held: &VerifiedDescriptor, shown: &VerifiedDescriptor) {
        if shown.issued > held.issued {
            self.shown.insert(shown.key, (shown.issued, self.of(held)));
        }
    }

    /// Others tell the very descriptor that the relay has shown.
    pub fn on_told(&mut self, key: &NodeKey) {
        self.shown.remove(key);
    }

    /// Forgets all but these.
    pub fn retain(&mut self, keys: &[NodeKey]) {
        self.shown.retain(|key, _| keys.contains(key));
    }

    /// Relays that have shown one.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shown.len()
    }

    /// Whether none has.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.shown.is_empty()
    }
}

/// The least effort with which a value finds holders enough among the nearest members that look after its place, by their
/// descriptors. A few that ask for more move nobody to pay it. In a network of fewer than that all are to have it.
#[must_use]
pub fn effort_at(members: &Members, told: &ToldEfforts, kind: ValueKind, location: &Location) -> u8 {
    let nearest = members.closest(location, kind.reach(), |_| false);
    let efforts: Vec<u8> = nearest.into_iter().map(|member| told.of(member)).collect();
    let greatest = efforts.iter().copied().max();
    enough_for(efforts, kind.priced_for()).or(greatest).unwrap_or(0)
}

/// The least of these efforts that so many of those who ask for them take; `None` where they are fewer.
#[must_use]
pub fn enough_for(mut efforts: Vec<u8>, takers: usize) -> Option<u8> {
    efforts.sort_unstable();
    efforts.get(takers.saturating_sub(1)).copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keyspace::Id;
    use crate::membership::fixture::{members_of, relay, signed};
    use crate::time::Duration;
    use crate::wire::descriptor::Descriptor;

    fn full(permille: u64) -> Fill {
        Fill { held: Quota { values: 1, bytes: permille }, max: Quota { values: 1_000, bytes: 1_000 } }
    }

    #[test]
    fn a_store_counts_as_full_by_values_or_by_bytes_and_as_empty_where_nothing_is_known() {
        let max = Quota { values: 10, bytes: 100 };
        let permille = |values, bytes| Fill { held: Quota { values, bytes }, max }.permille();
        assert_eq!((permille(0, 0), permille(9, 10), permille(1, 90), permille(10, 100)), (0, 900, 900, 1_000));
        assert_eq!(Fill::default().permille(), 0);
        assert!(full(STORE_PLENTIFUL_PERMILLE - 1).is_plentiful() && !full(STORE_PLENTIFUL_PERMILLE).is_plentiful());
    }

    #[test]
    fn the_step_rises_with_each_mark_and_falls_only_well_below_it() {
        for (step, permille, next) in [
            (0, 0, 0),
            (0, 749, 0),
            (0, 750, 1),
            (0, 900, 2),
            (0, 1_000, 3),
            (1, 700, 1),
            (1, 649, 0),
            (2, 800, 2),
            (2, 799, 1),
            (3, 870, 3),
            (3, 869, 2),
            (3, 100, 0),
        ] {
            assert_eq!(full(permille).step_after(step), next, "{step} at {permille}");
        }
    }

    #[test]
    fn a_step_is_taken_at_once_and_kept_for_an_hour() {
        let mut effort = Effort::default();
        let at = |s: u64| Instant::ZERO + Duration::from_secs(s);
        assert!(!effort.note(&full(700), at(0)), "plentiful");
        assert!(effort.note(&full(760), at(1)));
        assert!(!effort.note(&full(990), at(EFFORT_KEPT_S)) && effort.step() == 1, "one second is missing");
        assert!(effort.note(&full(990), at(1 + EFFORT_KEPT_S)) && effort.step() == 3);
        assert!(!effort.note(&full(990), at(9 * EFFORT_KEPT_S)), "nothing new");
        assert!(effort.note(&full(0), at(9 * EFFORT_KEPT_S)) && effort.step() == 0);
    }

    // [DHT-W-042]
    #[test]
    fn the_effort_is_the_least_that_enough_holders_take_and_two_that_ask_for_more_do_not_raise_it() {
        for (efforts, takers, enough) in [
            (vec![0; 7], 5, Some(0)),
            (vec![3, 0, 0, 3, 0, 0, 0], 5, Some(0)),
            (vec![3, 0, 0, 3, 0, 2, 0], 5, Some(2)),
            (vec![0, 3, 1, 3], 2, Some(1)),
            (vec![1, 2], 5, None),
            (vec![], 5, None),
        ] {
            assert_eq!(enough_for(efforts, takers), enough);
        }
    }

    #[test]
    fn the_nearest_members_that_look_after_a_place_are_asked_and_nobody_else() {
        for kind in [ValueKind::Signed, ValueKind::Hashed] {
            let more = kind.reach() - kind.priced_for();
            let asking = |which: &[usize]| price(kind, 40, |rank| if which.contains(&rank) { 2 } else { 0 });
            assert_eq!(asking(&(kind.reach()..40).collect::<Vec<_>>()), 0);
            assert_eq!(asking(&(0..more).collect::<Vec<_>>()), 0);
            assert_eq!(asking(&(0..=more).collect::<Vec<_>>()), 2);
        }
    }

    // [DHT-W-042]
    #[test]
    fn two_that_ask_for_nothing_do_not_have_a_chunk_to_themselves_and_one_that_asks_for_much_moves_nobody() {
        for liars in [[0, 1], [1, 3], [2, 3]] {
            assert_eq!(price(ValueKind::Hashed, 40, |rank| if liars.contains(&rank) { 0 } else { 2 }), 2);
        }
        assert_eq!(price(ValueKind::Hashed, 40, |rank| if rank == 1 { 3 } else { 1 }), 1);
        assert_eq!(price(ValueKind::Hashed, 2, |rank| if rank == 1 { 3 } else { 1 }), 3, "both are to have it");
    }

    /// What a client pays where so many relays ask for this, by how near they are.
    fn price(kind: ValueKind, relays: u32, effort_of: impl Fn(usize) -> u8) -> u8 {
        let location = Id([0x33; 20]);
        let mut numbers: Vec<u32> = (0..relays).collect();
        numbers.sort_by_key(|number| relay(*number).id().distance(&location));
        let asking =
            |(rank, number): (usize, &u32)| signed(Descriptor { effort: effort_of(rank), ..*relay(*number) }, *number);
        effort_at(&members_of(numbers.iter().enumerate().map(asking)), &ToldEfforts::default(), kind, &location)
    }
}
