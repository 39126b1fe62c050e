//! A bounded set of the nearest things to a place, few of one narrow prefix. One pass over any order gives the exact answer.

use crate::keyspace::Distance;
use crate::membership::prefix_rule::PrefixRule;
use crate::wire::address::{Address, Prefix};

/// The nearest of what was offered, in order of distance.
///
/// Invariant: equal to walking all offers by distance and taking each whose prefix is not used up, until `max` are taken.
/// It holds because a full set's reach only ever shrinks, and a prefix that is used up is used up by nearer ones.
#[derive(Debug)]
pub struct Nearest<T> {
    max: usize,
    prefix_max: usize,
    kept: Vec<(Distance, Prefix, T)>,
}

impl<T> Nearest<T> {
    /// An empty set of at most `max`.
    #[must_use]
    pub fn new(max: usize, rule: PrefixRule) -> Self {
        Self { max, prefix_max: rule.bucket_max(), kept: Vec::new() }
    }

    /// Whether a thing at this distance could still enter: cheap, to be asked first.
    #[must_use]
    pub fn reaches(&self, distance: &Distance) -> bool {
        self.kept.len() < self.max || self.kept.last().is_some_and(|(farthest, ..)| distance < farthest)
    }

    /// Takes the thing in if it is near enough, in the place of one that is farther.
    pub fn offer(&mut self, distance: Distance, address: &Address, item: T) {
        if !self.reaches(&distance) {
            return;
        }
        let prefix = address.narrow_prefix();
        let rivals = self.kept.iter().filter(|(_, theirs, _)| *theirs == prefix).count();
        if rivals >= self.prefix_max {
            let farthest = self.kept.iter().rposition(|(theirs, other, _)| *other == prefix && *theirs > distance);
            let Some(farthest) = farthest else { return };
            self.kept.remove(farthest);
        } else if self.kept.len() >= self.max {
            self.kept.pop();
        }
        let at = self.kept.partition_point(|(nearer, ..)| *nearer < distance);
        self.kept.insert(at, (distance, prefix, item));
    }

    /// Whether as many are there as may be: only nearer ones would enter.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.kept.len() >= self.max
    }

    /// The things, nearest first.
    #[must_use]
    pub fn into_vec(self) -> Vec<T> {
        self.kept.into_iter().map(|(.., item)| item).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::keyspace::Id;

    /// The same by sorting everything.
    fn walked(places: &[(u8, u8)], max: usize, prefix_max: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..places.len()).collect();
        order.sort_by_key(|at| places[*at].0);
        let mut taken: Vec<usize> = Vec::new();
        for at in order {
            let rivals = taken.iter().filter(|other| places[**other].1 == places[at].1).count();
            if taken.len() < max && rivals < prefix_max {
                taken.push(at);
            }
        }
        taken
    }

    proptest! {
        #[test]
        fn one_pass_over_any_order_equals_the_walk_by_distance(
            places in proptest::collection::btree_map(any::<u8>(), 0..6_u8, 0..40),
            seed in any::<u64>(),
            max in 0..12_usize,
        ) {
            let mut places: Vec<(u8, u8)> = places.into_iter().collect();
            places.sort_by_key(|(place, prefix)| seed.wrapping_mul(u64::from(*place) * 2 + 1).rotate_left(u32::from(*prefix)));
            let zero = Id([0; 20]);
            for rule in [PrefixRule::Distinct, PrefixRule::RelaxedForOneHost] {
                let mut nearest = Nearest::new(max, rule);
                for (at, (place, prefix)) in places.iter().enumerate() {
                    let address = Address(([10, 0, *prefix, 1], 1).into());
                    nearest.offer(Id([*place; 20]).distance(&zero), &address, at);
                }
                prop_assert_eq!(nearest.into_vec(), walked(&places, max, rule.bucket_max()));
            }
        }
    }
}
