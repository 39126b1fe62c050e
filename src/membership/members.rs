//! Every relay known, verified. Knows no peer: what comes in was checked before, and where it came from does not matter.

use core::ops::Bound;
use std::collections::{BTreeMap, BTreeSet};

use super::nearest::Nearest;
use super::prefix_rule::PrefixRule;
use crate::crypto::keys::NodeKey;
use crate::keyspace::{Id, Location};
use crate::limits::{BANNED_MAX, CLOSER_MEMBERS_MAX, DESCRIPTOR_LIFE_S};
use crate::time::UnixTime;
use crate::wire::descriptor::{SignedDescriptor, VerifiedDescriptor};

/// What became of an offered descriptor.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Merge {
    /// Its relay was not known; now it is.
    New,
    /// It replaced an older descriptor of its relay.
    Newer,
    /// It was held already, byte for byte.
    Known,
    /// A newer one is held, or its own life is over.
    Older,
    /// Its relay signed two descriptors with one number, now or before: it is banned.
    Conflict,
    /// There is no place for it: the table is full, or its id belongs to another key.
    Full,
}

/// The relays known, by key, and the keys proven bad.
#[derive(Clone, Debug)]
pub struct Members {
    cap: usize,
    rule: PrefixRule,
    by_key: BTreeMap<NodeKey, VerifiedDescriptor>,
    by_id: BTreeMap<Id, NodeKey>,
    banned: BTreeSet<NodeKey>,
}

impl Members {
    /// No relays yet, never more than `cap`.
    #[must_use]
    pub fn new(cap: usize) -> Self {
        let rule = PrefixRule::Distinct;
        Self { cap, rule, by_key: BTreeMap::new(), by_id: BTreeMap::new(), banned: BTreeSet::new() }
    }

    /// The same under another rule for prefixes in closest sets.
    #[must_use]
    pub fn with_rule(mut self, rule: PrefixRule) -> Self {
        self.rule = rule;
        self
    }

    /// The rule for prefixes in closest sets.
    #[must_use]
    pub fn rule(&self) -> PrefixRule {
        self.rule
    }

    /// Takes a descriptor in. Of one relay the greatest number wins; two of one number prove it bad.
    pub fn merge(&mut self, offered: VerifiedDescriptor, now: UnixTime) -> Merge {
        if self.banned.contains(&offered.key) {
            return Merge::Conflict;
        }
        if is_over(&offered, now) {
            return Merge::Older;
        }
        let held = self.by_key.get(&offered.key).map(|held| (held.issued, held.as_bytes() == offered.as_bytes()));
        match held {
            Some((_, true)) => Merge::Known,
            Some((issued, false)) if issued == offered.issued => self.ban(&offered.key),
            Some((issued, false)) if issued > offered.issued => Merge::Older,
            Some(_) => self.keep(offered, Merge::Newer),
            None if self.by_key.len() >= self.cap => Merge::Full,
            None => self.keep(offered, Merge::New),
        }
    }

    fn keep(&mut self, descriptor: VerifiedDescriptor, outcome: Merge) -> Merge {
        let (id, key) = (descriptor.id(), descriptor.key);
        if self.by_id.get(&id).is_some_and(|other| *other != key) {
            return Merge::Full;
        }
        self.remove(&key);
        self.by_id.insert(id, key);
        self.by_key.insert(key, descriptor);
        outcome
    }

    /// A full table of bans keeps those it has: the relay is dropped, and would be caught again.
    fn ban(&mut self, key: &NodeKey) -> Merge {
        self.remove(key);
        if self.banned.len() < BANNED_MAX.min(self.cap) {
            self.banned.insert(*key);
        }
        Merge::Conflict
    }

    fn remove(&mut self, key: &NodeKey) {
        if let Some(held) = self.by_key.remove(key) {
            self.by_id.remove(&held.id());
        }
    }

    /// Whether an unchecked descriptor is worth checking. One that bears a known number with other bytes is.
    #[must_use]
    pub fn wants(&self, offered: &SignedDescriptor) -> bool {
        let (key, issued) = offered.claim();
        match self.by_key.get(&key) {
            _ if self.banned.contains(&key) => false,
            Some(held) => issued >= held.issued && held.as_bytes() != offered.as_bytes(),
            None => self.by_key.len() < self.cap,
        }
    }

    /// Whether this key was proven bad.
    #[must_use]
    pub fn is_banned(&self, key: &NodeKey) -> bool {
        self.banned.contains(key)
    }

    /// The relay of this key.
    #[must_use]
    pub fn get(&self, key: &NodeKey) -> Option<&VerifiedDescriptor> {
        self.by_key.get(key)
    }

    /// The relay of this id.
    #[must_use]
    pub fn by_id(&self, id: &Id) -> Option<&VerifiedDescriptor> {
        self.by_id.get(id).and_then(|key| self.by_key.get(key))
    }

    /// All relays in the order of keys.
    pub fn iter(&self) -> impl Iterator<Item = &VerifiedDescriptor> {
        self.by_key.values()
    }

    /// How many relays are known.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_key.len()
    }

    /// Whether none is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_key.is_empty()
    }

    /// At most `max` relays to be told of, after this key, in the order of keys, and whether more follow.
    #[must_use]
    pub fn page(
        &self,
        after: Option<NodeKey>,
        max: usize,
        is_told: impl Fn(&VerifiedDescriptor) -> bool,
    ) -> (Vec<&VerifiedDescriptor>, bool) {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let mut rest =
            self.by_key.range((from, Bound::Unbounded)).map(|(_, member)| member).filter(|member| is_told(member));
        let page = rest.by_ref().take(max).collect();
        (page, rest.next().is_some())
    }

    /// Drops the relays whose descriptors were not renewed in time.
    pub fn expire(&mut self, now: UnixTime) {
        self.by_key.retain(|_, member| !is_over(member, now));
        let by_key = &self.by_key;
        self.by_id.retain(|_, key| by_key.contains_key(key));
    }

    /// The closest relays to a location, nearest first, at most two of one narrow prefix, without those to skip.
    #[must_use]
    pub fn closest(
        &self,
        location: &Location,
        count: usize,
        skip: impl Fn(&NodeKey) -> bool,
    ) -> Vec<&VerifiedDescriptor> {
        // Ids that share more first bits with the location are nearer than all that share fewer, and stand side by side: as
        // many bits as leave a few times what is wanted, then fewer, so that not everybody is looked at.
        let mut shared = (self.len() / count.max(1) / 4).checked_ilog2().unwrap_or(0);
        loop {
            let mut nearest = Nearest::new(count, self.rule);
            for (id, key) in self.by_id.range(location.neighbours(shared)) {
                let distance = id.distance(location);
                if !nearest.reaches(&distance) || skip(key) {
                    continue;
                }
                if let Some(member) = self.by_key.get(key) {
                    nearest.offer(distance, &member.address, member);
                }
            }
            if shared == 0 || nearest.is_full() {
                return nearest.into_vec();
            }
            shared -= 1;
        }
    }

    /// How many relays are closer to a location than this id: counted to [`CLOSER_MEMBERS_MAX`], two of one narrow prefix,
    /// so that one operator's ids do not talk a holder out of a value.
    #[must_use]
    pub fn closer_count(&self, location: &Location, than: &Id) -> usize {
        let reach = than.distance(location);
        let closest = self.closest(location, CLOSER_MEMBERS_MAX, |_| false);
        closest.iter().filter(|member| member.id().distance(location) < reach).count()
    }
}

fn is_over(descriptor: &VerifiedDescriptor, now: UnixTime) -> bool {
    now.0 > u64::from(descriptor.issued).saturating_add(DESCRIPTOR_LIFE_S)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::membership::fixture::{ISSUED, described, key, members_of, relay, relay_at, signed};

    fn reissued(number: u32, later_s: u32, effort: u8) -> VerifiedDescriptor {
        let mut descriptor = described(number, [10, 1, 0, 1]);
        descriptor.issued += later_s;
        descriptor.effort = effort;
        signed(descriptor, number)
    }

    fn of(numbers: core::ops::Range<u32>) -> Members {
        members_of(numbers.map(relay))
    }

    #[test]
    fn the_greatest_number_wins_and_two_of_one_number_ban_for_good() {
        let mut members = Members::new(10);
        for (offered, outcome) in [
            (reissued(1, 5, 0), Merge::New),
            (reissued(1, 5, 0), Merge::Known),
            (reissued(1, 4, 0), Merge::Older),
            (reissued(1, 6, 0), Merge::Newer),
            (reissued(1, 6, 1), Merge::Conflict),
            (reissued(1, 7, 0), Merge::Conflict),
        ] {
            assert_eq!(members.merge(offered, ISSUED), outcome);
        }
        assert!(members.is_empty() && members.is_banned(&key(1)));
        assert!(members.by_id(&relay(1).id()).is_none());
        assert!(!members.wants(&reissued(1, 9, 0).to_signed()));
    }

    #[test]
    fn only_what_could_change_something_is_wanted() {
        let mut members = Members::new(1);
        assert!(members.wants(&reissued(1, 5, 0).to_signed()));
        members.merge(reissued(1, 5, 0), ISSUED);
        for (offered, wanted) in [
            (reissued(1, 5, 0), false),
            (reissued(1, 4, 0), false),
            (reissued(1, 5, 1), true),
            (reissued(1, 6, 0), true),
            (relay(2), false),
        ] {
            assert_eq!(members.wants(&offered.to_signed()), wanted);
        }
    }

    #[test]
    fn a_full_table_refuses_strangers_and_still_renews_its_own() {
        let mut members = Members::new(2);
        assert_eq!(members.merge(reissued(1, 0, 0), ISSUED), Merge::New);
        assert_eq!(members.merge(relay(2), ISSUED), Merge::New);
        assert_eq!(members.merge(relay(3), ISSUED), Merge::Full);
        assert_eq!(members.merge(reissued(1, 1, 0), ISSUED), Merge::Newer);
        assert_eq!(members.len(), 2);
    }

    #[test]
    fn a_full_table_of_bans_keeps_the_bans_it_has() {
        let mut members = Members::new(1);
        for number in [1, 2] {
            members.merge(reissued(number, 0, 0), ISSUED);
            assert_eq!(members.merge(reissued(number, 0, 1), ISSUED), Merge::Conflict);
            assert!(members.is_empty());
        }
        assert_eq!((members.is_banned(&key(1)), members.is_banned(&key(2))), (true, false));
    }

    #[test]
    fn a_relay_that_moves_in_the_keyspace_is_found_at_its_new_place_alone() {
        let mut members = of(1..2);
        let mut moved = described(1, [10, 1, 0, 1]);
        moved.issued += 1;
        moved.solution.y = [9; 32];
        let moved = signed(moved, 1);
        assert_eq!(members.merge(moved.clone(), ISSUED), Merge::Newer);
        assert_eq!(members.by_id(&moved.id()), Some(&moved));
        assert!(members.by_id(&relay(1).id()).is_none());
    }

    #[test]
    fn descriptors_leave_after_their_life_and_do_not_enter_after_it() {
        let mut members = of(1..2);
        let end = UnixTime(ISSUED.0 + DESCRIPTOR_LIFE_S);
        members.expire(end);
        assert_eq!(members.len(), 1);
        let late = UnixTime(end.0 + 1);
        members.expire(late);
        assert!(members.is_empty() && members.by_id(&relay(1).id()).is_none());
        assert_eq!(members.merge(relay(1), late), Merge::Older);
    }

    #[test]
    fn pages_in_the_order_of_keys_give_every_relay_once() {
        let members = of(0..23);
        let (mut seen, mut after) = (Vec::new(), None);
        loop {
            let (page, more) = members.page(after, 5, |_| true);
            seen.extend(page.iter().map(|member| member.key));
            after = seen.last().copied();
            if !more {
                break;
            }
        }
        assert_eq!(seen, members.iter().map(|member| member.key).collect::<Vec<_>>());
    }

    #[test]
    fn ids_of_one_narrow_prefix_do_not_crowd_a_closest_set_or_the_count_of_closer_ones() {
        let crowd = (0..200).map(|number| relay_at(number, [10, 0, 0, 1]));
        let members = members_of(crowd.chain((200..205).map(relay)));
        let far = Id([0xff; 20]);
        assert_eq!(members.closest(&Id([0; 20]), 20, |_| false).len(), 7);
        assert_eq!(members.closer_count(&Id([0; 20]), &far), 7);
        let relaxed = members.with_rule(PrefixRule::RelaxedForOneHost);
        assert_eq!(relaxed.closest(&Id([0; 20]), 20, |_| false).len(), 20);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]
        #[test]
        fn the_closest_are_those_of_the_sorted_whole_without_the_skipped(place in any::<[u8; 20]>(), count in 0..30_usize) {
            let (members, location) = (of(0..200), Id(place));
            let skipped = |key: &NodeKey| key.0[0] < 80;
            let mut sorted: Vec<_> = members.iter().filter(|member| !skipped(&member.key)).collect();
            sorted.sort_by_key(|member| member.id().distance(&location));
            sorted.truncate(count);
            prop_assert_eq!(members.closest(&location, count, skipped), sorted);
        }
    }
}
