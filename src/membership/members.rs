//! Every relay known, verified. Knows no peer: what comes in was checked before, and where it came from does not matter.

use core::ops::RangeInclusive;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::nearest::Nearest;
use super::prefix_rule::PrefixRule;
use crate::crypto::keys::NodeKey;
use crate::keyspace::{Id, Location};
use crate::limits::{BANNED_MAX, CLOSER_MEMBERS_MAX, DESCRIPTOR_LIFE_S, MEMBERS_MAX};
use crate::time::UnixTime;
use crate::wire::descriptor::{SignedDescriptor, VerifiedDescriptor};

/// A list that is full grows by one part in so many.
const GROWTH: usize = 16;

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

/// The relays known, by key and by id, and the keys proven bad. Clones share everything until one of them changes; then it has
/// 16 bytes of its own for each relay, while the descriptors stay shared.
#[derive(Clone, Debug)]
pub struct Members {
    cap: usize,
    rule: PrefixRule,
    life_s: u64,
    by_key: Arc<Vec<VerifiedDescriptor>>,
    by_id: Arc<Vec<VerifiedDescriptor>>,
    banned: Arc<BTreeSet<NodeKey>>,
    /// No descriptor held was issued before it, so that nobody looks for expired ones in vain.
    oldest: u32,
}

impl Default for Members {
    fn default() -> Self {
        Self::new(MEMBERS_MAX)
    }
}

impl Members {
    /// No relays yet, never more than `cap`.
    #[must_use]
    pub fn new(cap: usize) -> Self {
        let (by_key, by_id) = (Arc::default(), Arc::default());
        Self {
            cap,
            rule: PrefixRule::Distinct,
            life_s: DESCRIPTOR_LIFE_S,
            by_key,
            by_id,
            banned: Arc::default(),
            oldest: u32::MAX,
        }
    }

    /// The same under another rule for prefixes in closest sets.
    #[must_use]
    pub fn with_rule(mut self, rule: PrefixRule) -> Self {
        self.rule = rule;
        self
    }

    /// The same for somebody who forgets a relay whose descriptor is so many seconds old.
    #[must_use]
    pub fn with_life(mut self, life_s: u64) -> Self {
        self.life_s = life_s;
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
        if self.is_over(offered.issued, now) {
            return Merge::Older;
        }
        let held = self.get(&offered.key).map(|held| (held.issued, held.as_bytes() == offered.as_bytes()));
        match held {
            Some((_, true)) => Merge::Known,
            Some((issued, false)) if issued == offered.issued => self.ban(&offered.key),
            Some((issued, false)) if issued > offered.issued => Merge::Older,
            Some(_) => self.keep(offered, Merge::Newer),
            None if self.len() >= self.cap => Merge::Full,
            None => self.keep(offered, Merge::New),
        }
    }

    /// Takes many in, in this order, with the outcomes that [`Self::merge`] would have one by one. Relays that were not known are
    /// put in together: one pass, however many they are.
    pub fn merge_all(&mut self, offered: impl IntoIterator<Item = VerifiedDescriptor>, now: UnixTime) -> Vec<Merge> {
        let mut new = Newcomers::default();
        let mut outcomes = Vec::new();
        for one in offered {
            let (key, id) = (one.key, one.id());
            let is_apart = !new.by_key.contains_key(&key) && !new.by_id.contains_key(&id);
            let has_room = self.len() + new.by_key.len() < self.cap;
            if !is_apart || !has_room {
                self.take(core::mem::take(&mut new));
            }
            let is_stranger = self.get(&key).is_none() && self.by_id(&id).is_none();
            if is_apart && has_room && is_stranger && !self.banned.contains(&key) && !self.is_over(one.issued, now) {
                new.by_id.insert(id, one.clone());
                new.by_key.insert(key, one);
                outcomes.push(Merge::New);
            } else {
                outcomes.push(self.merge(one, now));
            }
        }
        self.take(new);
        outcomes
    }

    fn take(&mut self, new: Newcomers) {
        if let Some(oldest) = new.by_key.values().map(|one| one.issued).min() {
            self.oldest = self.oldest.min(oldest);
            // Two ascending runs: the sort finds them, and merges them in one pass.
            let by_key = Arc::make_mut(&mut self.by_key);
            by_key.reserve_exact(new.by_key.len());
            by_key.extend(new.by_key.into_values());
            by_key.sort_by_key(|one| one.key);
            let by_id = Arc::make_mut(&mut self.by_id);
            by_id.reserve_exact(new.by_id.len());
            by_id.extend(new.by_id.into_values());
            by_id.sort_by_key(VerifiedDescriptor::id);
        }
    }

    fn keep(&mut self, descriptor: VerifiedDescriptor, outcome: Merge) -> Merge {
        let (id, key) = (descriptor.id(), descriptor.key);
        if self.by_id(&id).is_some_and(|other| other.key != key) {
            return Merge::Full;
        }
        self.oldest = self.oldest.min(descriptor.issued);
        match (self.place_of_key(&key), self.place_of_id(&id)) {
            (Ok(by_key), Ok(by_id)) => {
                put(&mut self.by_key, by_key, descriptor.clone());
                put(&mut self.by_id, by_id, descriptor);
            }
            _ => {
                self.remove(&key);
                let (Err(by_key) | Ok(by_key), Err(by_id) | Ok(by_id)) =
                    (self.place_of_key(&key), self.place_of_id(&id));
                insert(&mut self.by_key, by_key, descriptor.clone());
                insert(&mut self.by_id, by_id, descriptor);
            }
        }
        outcome
    }

    /// A full table of bans keeps those it has: the relay is dropped, and would be caught again.
    fn ban(&mut self, key: &NodeKey) -> Merge {
        self.remove(key);
        if self.banned.len() < BANNED_MAX.min(self.cap) {
            Arc::make_mut(&mut self.banned).insert(*key);
        }
        Merge::Conflict
    }

    /// Forgets the relay of this id. It comes back when it is told of anew.
    pub fn forget(&mut self, id: &Id) {
        if let Some(key) = self.by_id(id).map(|member| member.key) {
            self.remove(&key);
        }
    }

    fn remove(&mut self, key: &NodeKey) {
        let Ok(place) = self.place_of_key(key) else { return };
        let held = Arc::make_mut(&mut self.by_key).remove(place);
        if let Ok(place) = self.place_of_id(&held.id()) {
            Arc::make_mut(&mut self.by_id).remove(place);
        }
    }

    fn place_of_key(&self, key: &NodeKey) -> Result<usize, usize> {
        self.by_key.binary_search_by(|member| member.key.cmp(key))
    }

    fn place_of_id(&self, id: &Id) -> Result<usize, usize> {
        self.by_id.binary_search_by(|member| member.id().cmp(id))
    }

    /// Whether an unchecked descriptor is worth checking. One that bears a known number with other bytes is.
    #[must_use]
    pub fn wants(&self, offered: &SignedDescriptor) -> bool {
        let (key, issued) = offered.claim();
        match self.get(&key) {
            _ if self.banned.contains(&key) => false,
            Some(held) => issued >= held.issued && held.as_bytes() != offered.as_bytes(),
            None => self.len() < self.cap,
        }
    }

    /// How many keys are banned; at most [`BANNED_MAX`].
    #[must_use]
    pub fn banned_count(&self) -> usize {
        self.banned.len()
    }

    /// Whether this key was proven bad.
    #[must_use]
    pub fn is_banned(&self, key: &NodeKey) -> bool {
        self.banned.contains(key)
    }

    /// The relay of this key.
    #[must_use]
    pub fn get(&self, key: &NodeKey) -> Option<&VerifiedDescriptor> {
        self.place_of_key(key).ok().and_then(|place| self.by_key.get(place))
    }

    /// The relay of this id.
    #[must_use]
    pub fn by_id(&self, id: &Id) -> Option<&VerifiedDescriptor> {
        self.place_of_id(id).ok().and_then(|place| self.by_id.get(place))
    }

    /// All relays in the order of keys.
    pub fn iter(&self) -> impl Iterator<Item = &VerifiedDescriptor> {
        self.by_key.iter()
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

    /// The relays after this key, in the order of keys; all for `None`.
    #[must_use]
    pub fn after(&self, after: Option<NodeKey>) -> &[VerifiedDescriptor] {
        let from = after.map_or(0, |after| self.by_key.partition_point(|member| member.key <= after));
        self.by_key.get(from..).unwrap_or_default()
    }

    /// Those of them up to a key; all for `None`.
    #[must_use]
    pub fn between(&self, after: Option<NodeKey>, until: Option<NodeKey>) -> &[VerifiedDescriptor] {
        let rest = self.after(after);
        let to = until.map_or(rest.len(), |until| rest.partition_point(|member| member.key <= until));
        rest.get(..to).unwrap_or_default()
    }

    /// Drops the relays that are not to be kept.
    pub fn retain(&mut self, keep: impl Fn(&VerifiedDescriptor) -> bool) {
        if !self.by_key.iter().all(&keep) {
            Arc::make_mut(&mut self.by_key).retain(&keep);
            Arc::make_mut(&mut self.by_id).retain(&keep);
        }
    }

    /// Drops the relays whose descriptors were not renewed in time. Looks at them only when there may be one; whether there was.
    pub fn expire(&mut self, now: UnixTime) -> bool {
        if !self.is_over(self.oldest, now) {
            return false;
        }
        let issued = self.by_key.iter().map(|one| one.issued);
        self.oldest = issued.filter(|issued| !self.is_over(*issued, now)).min().unwrap_or(u32::MAX);
        let (before, life_s) = (self.len(), self.life_s);
        self.retain(|one| !is_over(one.issued, life_s, now));
        self.len() < before
    }

    fn is_over(&self, issued: u32, now: UnixTime) -> bool {
        is_over(issued, self.life_s, now)
    }

    /// The closest relays to a location, nearest first, at most two of one narrow prefix, without those to skip.
    #[must_use]
    pub fn closest(
        &self,
        location: &Location,
        count: usize,
        skip: impl Fn(&NodeKey) -> bool,
    ) -> Vec<&VerifiedDescriptor> {
        self.closest_of(location, count, |member| !skip(&member.key))
    }

    /// The closest of those relays that will do.
    #[must_use]
    pub fn closest_of(
        &self,
        location: &Location,
        count: usize,
        will_do: impl Fn(&VerifiedDescriptor) -> bool,
    ) -> Vec<&VerifiedDescriptor> {
        // Ids that share more first bits with the location are nearer than all that share fewer, and stand side by side: as
        // many bits as leave a few times what is wanted, then fewer, so that not everybody is looked at.
        let mut shared = (self.len() / count.max(1) / 4).checked_ilog2().unwrap_or(0);
        loop {
            let mut nearest = Nearest::new(count, self.rule);
            for member in self.ids_in(&location.neighbours(shared)) {
                let distance = member.id().distance(location);
                if nearest.reaches(&distance) && will_do(member) {
                    nearest.offer(distance, &member.address, member);
                }
            }
            if shared == 0 || nearest.is_full() {
                return nearest.into_vec();
            }
            shared -= 1;
        }
    }

    fn ids_in(&self, range: &RangeInclusive<Id>) -> &[VerifiedDescriptor] {
        let from = self.by_id.partition_point(|member| member.id() < *range.start());
        let to = self.by_id.partition_point(|member| member.id() <= *range.end());
        self.by_id.get(from..to).unwrap_or_default()
    }

    /// How many relays are closer to a location than this id: counted to [`CLOSER_MEMBERS_MAX`], two of one narrow prefix,
    /// so that one operator's ids do not talk a holder out of a value.
    #[must_use]
    pub fn closer_count(&self, location: &Location, than: &Id, will_do: impl Fn(&VerifiedDescriptor) -> bool) -> usize {
        let reach = than.distance(location);
        let closest = self.closest_of(location, CLOSER_MEMBERS_MAX, will_do);
        closest.iter().filter(|member| member.id().distance(location) < reach).count()
    }
}

/// Relays that were not known, until they are put in.
#[derive(Default)]
struct Newcomers {
    by_key: BTreeMap<NodeKey, VerifiedDescriptor>,
    by_id: BTreeMap<Id, VerifiedDescriptor>,
}

fn put(list: &mut Arc<Vec<VerifiedDescriptor>>, place: usize, member: VerifiedDescriptor) {
    if let Some(held) = Arc::make_mut(list).get_mut(place) {
        *held = member;
    }
}

fn insert(list: &mut Arc<Vec<VerifiedDescriptor>>, place: usize, member: VerifiedDescriptor) {
    let list = Arc::make_mut(list);
    if list.len() == list.capacity() {
        // Doubling would leave every node with room for as many again.
        list.reserve_exact(list.len() / GROWTH + 4);
    }
    list.insert(place, member);
}

fn is_over(issued: u32, life_s: u64, now: UnixTime) -> bool {
    now.0 > u64::from(issued).saturating_add(life_s)
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

    // [MEMB-R-011]
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
        for (mut members, life_s) in [(of(1..2), DESCRIPTOR_LIFE_S), (of(1..2).with_life(77), 77)] {
            let end = UnixTime(ISSUED.0 + life_s);
            members.expire(end);
            assert_eq!(members.len(), 1);
            let late = UnixTime(end.0 + 1);
            members.expire(late);
            assert!(members.is_empty() && members.by_id(&relay(1).id()).is_none());
            assert_eq!(members.merge(relay(1), late), Merge::Older);
        }
    }

    // [MEMB-R-037]
    #[test]
    fn ids_of_one_narrow_prefix_do_not_crowd_a_closest_set_or_the_count_of_closer_ones() {
        let crowd = (0..200).map(|number| relay_at(number, [10, 0, 0, 1]));
        let members = members_of(crowd.chain((200..205).map(relay)));
        let far = Id([0xff; 20]);
        assert_eq!(members.closest(&Id([0; 20]), 20, |_| false).len(), 7);
        assert_eq!(members.closer_count(&Id([0; 20]), &far, |_| true), 7);
        let relaxed = members.with_rule(PrefixRule::RelaxedForOneHost);
        assert_eq!(relaxed.closest(&Id([0; 20]), 20, |_| false).len(), 20);
    }

    /// The rules of merging as they stand in the spec, over a plain map.
    #[derive(Default)]
    struct Model {
        cap: usize,
        held: BTreeMap<NodeKey, VerifiedDescriptor>,
        banned: BTreeSet<NodeKey>,
    }

    impl Model {
        fn merge(&mut self, offered: &VerifiedDescriptor, now: UnixTime) -> Merge {
            let (key, is_full) = (offered.key, self.held.len() >= self.cap);
            let holder = self.held.values().find(|one| one.id() == offered.id()).map(|one| one.key);
            match self.held.get(&key) {
                _ if self.banned.contains(&key) => Merge::Conflict,
                _ if is_over(offered.issued, DESCRIPTOR_LIFE_S, now) => Merge::Older,
                Some(held) if held.as_bytes() == offered.as_bytes() => Merge::Known,
                Some(held) if held.issued == offered.issued => {
                    self.held.remove(&key);
                    if self.banned.len() < self.cap {
                        self.banned.insert(key);
                    }
                    Merge::Conflict
                }
                Some(held) if held.issued > offered.issued => Merge::Older,
                None if is_full => Merge::Full,
                _ if holder.is_some_and(|holder| holder != key) => Merge::Full,
                held => {
                    let outcome = if held.is_some() { Merge::Newer } else { Merge::New };
                    self.held.insert(key, offered.clone());
                    outcome
                }
            }
        }
    }

    /// One of few relays, with one of few numbers, efforts and ids: what is drawn meets and collides.
    fn drawn((number, later_s, effort, place): (u32, u32, u8, u8)) -> VerifiedDescriptor {
        let mut descriptor = described(number, [10, 1, 0, 1]);
        descriptor.issued += later_s;
        descriptor.effort = effort;
        if place < 12 {
            // Now and then it moves in the keyspace.
            descriptor.solution.y = [place; 32];
        }
        signed(descriptor, number)
    }

    fn assert_same(members: &Members, model: &Model) {
        assert!(members.iter().eq(model.held.values()));
        let mut by_id: Vec<_> = model.held.values().collect();
        by_id.sort_by_key(|one| one.id());
        assert!(members.by_id.iter().eq(by_id.iter().copied()));
        assert!(by_id.iter().all(|one| members.by_id(&one.id()) == Some(*one) && members.get(&one.key) == Some(*one)));
        assert_eq!(*members.banned, model.banned);
    }

    #[test]
    fn a_clone_shares_all_until_it_changes_and_the_other_stays_as_it_was() {
        let members = of(0..50);
        let mut other = members.clone();
        assert_eq!(other.merge(relay(3), ISSUED), Merge::Known);
        other.expire(ISSUED);
        assert!(Arc::ptr_eq(&members.by_key, &other.by_key) && Arc::ptr_eq(&members.by_id, &other.by_id));
        assert_eq!(other.merge(relay(99), ISSUED), Merge::New);
        assert_eq!((members.len(), other.len()), (50, 51));
        assert!(members.get(&key(99)).is_none() && members.by_id(&relay(99).id()).is_none());
        assert!(other.by_key.capacity() <= 51 + 51 / GROWTH + 4, "16 bytes for each, and little more");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        // [MEMB-R-006] [MEMB-R-007] [MEMB-R-008] [MEMB-R-009] [MEMB-R-010]
        #[test]
        fn merging_one_by_one_or_all_at_once_is_what_the_rules_over_a_plain_map_give(
            cap in 1..10_usize,
            offers in proptest::collection::vec((0..12_u32, 0..4_u32, 0..2_u8, any::<u8>()), 0..40),
            first in 0..40_usize,
            late in 0..3_u64,
        ) {
            let offers: Vec<_> = offers.into_iter().map(drawn).collect();
            let (mut one_by_one, mut model) = (Members::new(cap), Model { cap, ..Model::default() });
            let mut at_once = Members::new(cap);
            let (start, rest) = offers.split_at(first.min(offers.len()));
            let mut outcomes = Vec::new();
            for (offers, now) in [(start, ISSUED), (rest, UnixTime(ISSUED.0 + DESCRIPTOR_LIFE_S + late))] {
                for one in offers {
                    outcomes.push(model.merge(one, now));
                    prop_assert_eq!(one_by_one.merge(one.clone(), now), *outcomes.last().unwrap());
                }
                let all = at_once.merge_all(offers.iter().cloned(), now);
                prop_assert_eq!(&all[..], &outcomes[outcomes.len() - offers.len()..]);
                assert_same(&one_by_one, &model);
                assert_same(&at_once, &model);
                let before = model.held.len();
                model.held.retain(|_, one| !is_over(one.issued, DESCRIPTOR_LIFE_S, now));
                prop_assert_eq!(one_by_one.expire(now), model.held.len() < before);
                at_once.expire(now);
                assert_same(&one_by_one, &model);
                assert_same(&at_once, &model);
            }
        }
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
