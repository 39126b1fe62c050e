//! What one membership has and another has not: fingerprints of a range of keys, and the answer to them. Knows no link and no
//! relay; who may be told of whom is its caller's. Source: spec/membership.md §2.4.

use super::members::Members;
use crate::crypto::keys::NodeKey;
use crate::limits::{FINGERPRINTS_MAX, MEMBERS_PAGE_MAX};
use crate::wire::descriptor::{Fingerprint, VerifiedDescriptor};

/// Where the next range after this key ends (`None`: at the last key), and what stands for each descriptor held in it, ascending.
#[must_use]
pub fn held(members: &Members, after: Option<NodeKey>, salt: u64) -> (Option<NodeKey>, Vec<Fingerprint>) {
    let rest = members.after(after);
    let part = rest.get(..FINGERPRINTS_MAX).unwrap_or(rest);
    let until = part.last().map(|last| last.key).filter(|_| part.len() < rest.len());
    let mut prints: Vec<Fingerprint> = part.iter().map(|one| one.fingerprint(salt)).collect();
    prints.sort_unstable();
    prints.dedup();
    (until, prints)
}

/// The first [`MEMBERS_PAGE_MAX`] of whom there is to tell, who come in the order of keys, and whether there are more.
#[must_use]
pub fn page<'m>(mut told: impl Iterator<Item = &'m VerifiedDescriptor>) -> (Vec<&'m VerifiedDescriptor>, bool) {
    let page = told.by_ref().take(MEMBERS_PAGE_MAX).collect();
    (page, told.next().is_some())
}

/// Those for whom nothing held stands.
pub fn lacking<'m>(
    members: impl Iterator<Item = &'m VerifiedDescriptor>,
    salt: u64,
    held: &[Fingerprint],
) -> impl Iterator<Item = &'m VerifiedDescriptor> {
    let held = Held::new(held);
    members.filter(move |member| !held.has(member.fingerprint(salt)))
}

/// Ascending fingerprints, and where those of each first byte end. Where they are spread evenly, two or three are left to search in;
/// where somebody chose them, no more than all.
struct Held<'h> {
    prints: &'h [Fingerprint],
    ends: [usize; 256],
}

impl<'h> Held<'h> {
    fn new(prints: &'h [Fingerprint]) -> Self {
        let mut ends = [0; 256];
        let mut end = 0;
        for (first, place) in (0..=u8::MAX).zip(&mut ends) {
            end += prints.get(end..).unwrap_or_default().iter().take_while(|print| print.0[0] == first).count();
            *place = end;
        }
        Self { prints, ends }
    }

    fn has(&self, print: Fingerprint) -> bool {
        let first = usize::from(print.0[0]);
        let from = first.checked_sub(1).and_then(|before| self.ends.get(before)).copied().unwrap_or(0);
        let to = self.ends.get(first).copied().unwrap_or(0);
        self.prints.get(from..to).unwrap_or_default().binary_search(&print).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::membership::fixture::{ISSUED, described, members_of, relay, signed};
    use crate::wire::descriptor::DESCRIPTOR_LEN;

    /// What one pull cost: questions, and descriptors told.
    #[derive(Default, Debug)]
    struct Cost {
        questions: usize,
        told: usize,
    }

    fn pull(asker: &mut Members, from: &Members, salt: u64, is_told: impl Fn(&VerifiedDescriptor) -> bool) -> Cost {
        let (mut cost, mut after) = (Cost::default(), None);
        loop {
            let salt = salt.wrapping_add(u64::try_from(cost.questions).unwrap());
            let (until, prints) = held(asker, after, salt);
            assert!(prints.len() <= FINGERPRINTS_MAX && prints.is_sorted());
            let range = from.between(after, until).iter();
            let (page, more) = page(lacking(range, salt, &prints).filter(|one| is_told(one)));
            assert!(page.len() <= MEMBERS_PAGE_MAX && page.iter().all(|one| is_told(one)));
            let keys: Vec<NodeKey> = page.iter().map(|one| one.key).collect();
            assert!(after.iter().chain(&keys).is_sorted_by(|one, next| one < next));
            (cost.questions, cost.told) = (cost.questions + 1, cost.told + page.len());
            asker.merge_all(page.into_iter().cloned(), ISSUED);
            after = if more { keys.last().copied() } else { until };
            if after.is_none() {
                return cost;
            }
        }
    }

    fn renewed(number: u32) -> VerifiedDescriptor {
        let mut descriptor = described(number, [10, 1, 0, 1]);
        descriptor.issued += 1;
        signed(descriptor, number)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        // [MSG-R-029]
        #[test]
        fn two_relays_that_pull_from_each_other_in_turn_come_to_hold_the_same_and_say_nothing_twice(
            of_both in 0..900_u32,
            of_one in 0..300_u32,
            of_other in 0..600_u32,
            newer in 0..40_u32,
            salt in any::<u64>(),
        ) {
            let only_one = of_both..of_both + of_one;
            let only_other = only_one.end..only_one.end + of_other;
            let newer = newer.min(of_both);
            let mut one = members_of((0..of_both).chain(only_one).map(relay));
            let mut other = members_of((newer..of_both).chain(only_other).map(relay).chain((0..newer).map(renewed)));
            // Fingerprints meet now and then; the next salt tells them apart.
            let (mut to_one, mut to_other) = (0, 0);
            for round in 1..4_u64 {
                to_one += pull(&mut one, &other, salt.wrapping_mul(round), |_| true).told;
                to_other += pull(&mut other, &one, salt.wrapping_mul(round) ^ 0xffff_0000, |_| true).told;
            }
            prop_assert_eq!(to_one, usize::try_from(of_other + newer).unwrap());
            // What is older is told where the newer did not come before it, its fingerprint being another's.
            let told_other = usize::try_from(of_one).unwrap()..=usize::try_from(of_one + newer).unwrap();
            prop_assert!(told_other.contains(&to_other), "{to_other} of {told_other:?}");
            prop_assert!(one.iter().eq(other.iter()));
            let again = pull(&mut one, &other, salt ^ 0xff, |_| true);
            prop_assert_eq!((again.told, again.questions), (0, one.len().div_ceil(FINGERPRINTS_MAX).max(1)));
        }
    }

    #[test]
    fn whom_the_other_must_not_tell_of_costs_nothing_however_often_one_asks() {
        let all = members_of((0..2_000).map(relay));
        let mut asker = members_of((0..1_000).map(relay));
        let is_told = |one: &VerifiedDescriptor| one.key.0[5] < 128;
        let lacked = all.iter().filter(|one| asker.get(&one.key).is_none() && is_told(one)).count();
        let told: Vec<usize> = [5, 0x1234_5677, 9, 77]
            .map(|salt: u64| pull(&mut asker, &all, salt.wrapping_mul(0x9e37_79b9_7f4a_7c15), is_told).told)
            .into();
        assert_eq!(told.iter().sum::<usize>(), lacked, "{told:?}");
        assert_eq!(told[2..], [0, 0]);
    }

    // [MEMB-W-012] [MEMB-W-035]
    #[test]
    fn a_relay_that_knows_nobody_is_told_of_all_page_by_page() {
        let (mut asker, all) = (Members::default(), members_of((0..1_000).map(relay)));
        let cost = pull(&mut asker, &all, 3, |_| true);
        assert!(asker.iter().eq(all.iter()));
        assert_eq!((cost.told, cost.questions), (1_000, 1_000_usize.div_ceil(MEMBERS_PAGE_MAX)));
    }

    #[test]
    fn of_ten_thousand_that_both_hold_a_pull_is_a_thirty_fifth_of_all_pages() {
        let mut one = members_of((0..10_000).map(relay));
        let other = one.clone();
        let cost = pull(&mut one, &other, 5, |_| true);
        let cell = crate::limits::CELL_LEN;
        assert_eq!((cost.questions, cost.told), (16, 0));
        assert!(cost.questions * 2 * cell * 35 < 10_000 * DESCRIPTOR_LEN, "a question and its answer are a cell each");
    }

    // [MEMB-W-012]
    #[test]
    fn pages_in_the_order_of_keys_give_every_relay_once() {
        let members = members_of((0..2 * u32::try_from(MEMBERS_PAGE_MAX).unwrap() + 9).map(relay));
        let (mut seen, mut sizes) = (Vec::new(), Vec::new());
        loop {
            let (page, more) = page(members.after(seen.last().copied()).iter());
            sizes.push(page.len());
            seen.extend(page.iter().map(|member| member.key));
            if !more {
                break;
            }
        }
        assert_eq!(sizes, [MEMBERS_PAGE_MAX, MEMBERS_PAGE_MAX, 9]);
        assert_eq!(seen, members.iter().map(|member| member.key).collect::<Vec<_>>());
    }

    proptest! {
        #[test]
        fn what_is_held_is_found_and_nothing_else_however_uneven_the_list(
            first in prop_oneof![Just(0..=255_u8), Just(0..=1), Just(255..=255)],
            bytes in proptest::collection::vec(any::<[u8; 3]>(), 0..200),
        ) {
            let spread = first.clone().count();
            let even: BTreeSet<Fingerprint> = bytes
                .iter()
                .map(|[one, two, three]| Fingerprint([first.start() + u8::try_from(usize::from(*one) % spread).unwrap(), *two, *three]))
                .collect();
            let (held, others): (Vec<_>, Vec<_>) = even.into_iter().partition(|print| print.0[2] % 2 == 0);
            let index = Held::new(&held);
            prop_assert!(held.iter().all(|print| index.has(*print)));
            prop_assert!(!others.iter().any(|print| index.has(*print)));
        }
    }

    #[test]
    fn fingerprints_of_two_descriptors_meet_under_hardly_any_salt() {
        let (one, other) = (relay(1), relay(2));
        let mut salts = (0..200_000_u64).map(|salt| salt.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        assert!(salts.all(|salt| one.fingerprint(salt) != other.fingerprint(salt)));
        assert_ne!(relay(1).fingerprint(1), renewed(1).fingerprint(1));
        assert_eq!(relay(1).fingerprint(2), relay(1).fingerprint(3), "the lowest bit of a salt is always one");
    }
}
