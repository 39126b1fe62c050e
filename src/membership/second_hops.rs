//! The second hops: four pinned relays next to the guard, so that no middle relay of a day learns who the guard is.
//! Source: Tor's vanguards-lite (proposal 333); spec/membership.md §6.

use serde::{Deserialize, Serialize};

use super::members::Members;
use super::prefix_rule::PrefixRule;
use super::sample::{draw, uniform_below};
use crate::crypto::CryptoRng;
use crate::crypto::keys::NodeKey;
use crate::limits::{
    KEY_LEN, SECOND_HOP_FAILURES_MAX, SECOND_HOP_LIFE_MAX_S, SECOND_HOP_LIFE_MIN_S, SECOND_HOP_NOT_REACHED_FORGIVEN,
    SECOND_HOP_NOT_REACHED_MAX, SECOND_HOP_REPLACED_MAX, SECOND_HOP_REPLACED_WINDOW_S, SECOND_HOPS,
};
use crate::time::UnixTime;
use crate::wire::descriptor::VerifiedDescriptor;

/// What outlives the process.
#[derive(Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct SecondHopState {
    /// The pinned relays.
    pub hops: Vec<PinnedHop>,
    /// When relays were replaced for failing, seconds since 1970, within the last window.
    pub replaced: Vec<u64>,
}

/// One pinned relay.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PinnedHop {
    /// Its key.
    pub key: [u8; KEY_LEN],
    /// When its life ends, seconds since 1970.
    pub until: u64,
    /// The exits towards which circuits through it failed since one last held, and nobody knows where.
    pub failed_exits: Vec<[u8; KEY_LEN]>,
    /// The exits that it, or one after it, says were not reached; each circuit that held took off two.
    pub not_reached: Vec<[u8; KEY_LEN]>,
}

impl SecondHopState {
    /// Whether these are the same relays, whatever circuits through them were counted.
    #[must_use]
    pub fn is_same_but_for_counts(&self, other: &Self) -> bool {
        let uncounted = |hop: &PinnedHop| (hop.key, hop.until);
        self.replaced == other.replaced && self.hops.iter().map(uncounted).eq(other.hops.iter().map(uncounted))
    }
}

/// The pinned second hops.
pub struct SecondHops(SecondHopState);

impl PinnedHop {
    fn key(&self) -> NodeKey {
        NodeKey(self.key)
    }

    fn failures(&self) -> u32 {
        u32::try_from(self.failed_exits.len()).unwrap_or(u32::MAX)
    }

    fn is_failing(&self) -> bool {
        self.failures() >= SECOND_HOP_FAILURES_MAX || self.not_reached.len() >= SECOND_HOP_NOT_REACHED_MAX
    }
}

impl SecondHops {
    /// From what was kept; whatever exceeds the number is dropped.
    #[must_use]
    pub fn new(mut state: SecondHopState) -> Self {
        state.hops.truncate(SECOND_HOPS);
        state.replaced.truncate(SECOND_HOP_REPLACED_MAX);
        Self(state)
    }

    /// What is to be kept.
    #[must_use]
    pub fn state(&self) -> SecondHopState {
        self.0.clone()
    }

    /// Whether these are the relays that were kept, whatever circuits through them were counted since.
    #[must_use]
    pub fn is_kept_but_for_counts(&self, kept: &SecondHopState) -> bool {
        self.0.is_same_but_for_counts(kept)
    }

    /// The pinned keys.
    pub fn keys(&self) -> impl Iterator<Item = NodeKey> {
        self.0.hops.iter().map(PinnedHop::key)
    }

    /// One of the pinned that are eligible: each as likely, but one through which circuits failed since one last held, a quarter as
    /// likely for each, or for each three that it says were not reached, so that a dead one costs a client little before it is given up;
    /// a failing one only when there is no other.
    pub fn pick(&self, eligible: impl Fn(&NodeKey) -> bool, rng: &mut dyn CryptoRng) -> Option<NodeKey> {
        let (failing, sound): (Vec<_>, Vec<_>) =
            self.0.hops.iter().filter(|hop| eligible(&hop.key())).partition(|hop| hop.is_failing());
        let choice = if sound.is_empty() { failing } else { sound };
        let weight = |hop: &PinnedHop| {
            let left = SECOND_HOP_NOT_REACHED_MAX.saturating_sub(hop.not_reached.len()).div_ceil(3);
            let unexplained = SECOND_HOP_FAILURES_MAX.saturating_sub(hop.failures());
            1_u64 << (2 * (unexplained + u32::try_from(left).unwrap_or(0)))
        };
        let mut drawn = uniform_below(choice.iter().map(|hop| weight(hop)).sum(), rng);
        let picked = choice.into_iter().find(|hop| match drawn.checked_sub(weight(hop)) {
            Some(rest) => {
                drawn = rest;
                false
            }
            None => true,
        });
        picked.map(PinnedHop::key)
    }

    /// A circuit through this hop failed, the guard being up. Failing towards three different exits in a row it is dropped,
    /// but no more than eight in two days: the guard can make circuits fail, and would else choose the second hop.
    /// None at all where the guard is doubted (`may_replace`). Whether the state to keep has changed.
    pub fn on_failure(&mut self, key: &NodeKey, exit: &NodeKey, may_replace: bool, now: UnixTime) -> bool {
        self.fail(key, |hop| &mut hop.failed_exits, exit, may_replace, now)
    }

    /// A circuit through this hop came to it, and no answer from behind it: most likely the exit is gone, but its word is all there is.
    /// At [`SECOND_HOP_NOT_REACHED_MAX`] different exits, those that were made up for left out, it is dropped as one that fails.
    pub fn on_not_reached(&mut self, key: &NodeKey, exit: &NodeKey, may_replace: bool, now: UnixTime) -> bool {
        self.fail(key, |hop| &mut hop.not_reached, exit, may_replace, now)
    }

    fn fail(
        &mut self,
        key: &NodeKey,
        exits: impl Fn(&mut PinnedHop) -> &mut Vec<[u8; KEY_LEN]>,
        exit: &NodeKey,
        may_replace: bool,
        now: UnixTime,
    ) -> bool {
        let Some(at) = self.0.hops.iter().position(|hop| hop.key() == *key) else { return false };
        let Some(hop) = self.0.hops.get_mut(at) else { return false };
        let counted = !hop.is_failing() && !exits(hop).contains(&exit.0);
        if counted {
            exits(hop).push(exit.0);
        }
        let failing = hop.is_failing();
        self.0.replaced.retain(|then| now.0.saturating_sub(*then) < SECOND_HOP_REPLACED_WINDOW_S);
        if failing && may_replace && self.0.replaced.len() < SECOND_HOP_REPLACED_MAX {
            self.0.hops.remove(at);
            self.0.replaced.push(now.0);
            return true;
        }
        counted
    }

    /// A circuit through this hop held. Whether the state to keep has changed.
    pub fn on_success(&mut self, key: &NodeKey) -> bool {
        let Some(hop) = self.0.hops.iter_mut().find(|hop| hop.key() == *key) else { return false };
        let changed = !hop.failed_exits.is_empty() || !hop.not_reached.is_empty();
        hop.failed_exits.clear();
        // Not all of them: one that lets a circuit through now and then could else turn away all others as it likes.
        hop.not_reached.drain(..SECOND_HOP_NOT_REACHED_FORGIVEN.min(hop.not_reached.len()));
        changed
    }

    /// Drops those whose life is over or that left the network, and draws others: apart from each other and from all guards.
    /// Where a network is too small for that, one that is apart from the first guard. `guards` is in order.
    /// Whether the state to keep has changed.
    pub fn refill(
        &mut self,
        members: &Members,
        rule: PrefixRule,
        now: UnixTime,
        guards: &[NodeKey],
        ours: &[NodeKey],
        rng: &mut dyn CryptoRng,
    ) -> bool {
        if members.is_empty() {
            return false;
        }
        let before = self.0.clone();
        self.0.hops.retain(|hop| {
            let usable = members.get(&hop.key()).is_some() && !ours.contains(&hop.key());
            // A life beyond the longest was set by a clock that ran ahead.
            usable && now.0 < hop.until && hop.until <= now.0.saturating_add(SECOND_HOP_LIFE_MAX_S)
        });
        while self.0.hops.len() < SECOND_HOPS {
            let apart_from = |keys: &[NodeKey], candidate: &VerifiedDescriptor| {
                let together = |key: &NodeKey| members.get(key).is_none_or(|one| rule.allows_together(one, candidate));
                !ours.contains(&candidate.key) && keys.iter().all(together)
            };
            let all: Vec<NodeKey> = guards.iter().copied().chain(self.keys()).collect();
            let mut drawn = draw(members, |candidate| apart_from(&all, candidate), rng);
            if drawn.is_none() && self.0.hops.is_empty() {
                let first = guards.get(..1).unwrap_or(guards);
                drawn = draw(members, |candidate| apart_from(first, candidate), rng);
            }
            let Some(key) = drawn else { break };
            let until = now.0 + life_s(rng);
            self.0.hops.push(PinnedHop { key: key.0, until, failed_exits: Vec::new(), not_reached: Vec::new() });
        }
        before != self.0
    }
}

fn life_s(rng: &mut dyn CryptoRng) -> u64 {
    SECOND_HOP_LIFE_MIN_S + uniform_below(SECOND_HOP_LIFE_MAX_S - SECOND_HOP_LIFE_MIN_S + 1, rng)
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::ChaCha20Rng;

    use super::*;
    use crate::membership::fixture::{ISSUED, members_of, relay};

    const GUARDS: [u32; 3] = [0, 1, 2];

    fn later(seconds: u64) -> UnixTime {
        UnixTime(ISSUED.0 + seconds)
    }

    fn refilled(hops: &mut SecondHops, numbers: core::ops::Range<u32>, now: UnixTime) -> bool {
        let guards: Vec<NodeKey> = GUARDS.map(|number| relay(number).key).to_vec();
        let mut rng = ChaCha20Rng::seed_from_u64(now.0);
        hops.refill(&members_of(numbers.map(relay)), PrefixRule::Distinct, now, &guards, &[], &mut rng)
    }

    fn four() -> SecondHops {
        let mut hops = SecondHops::new(SecondHopState::default());
        assert!(refilled(&mut hops, 0..20, ISSUED));
        hops
    }

    fn keys(hops: &SecondHops) -> Vec<NodeKey> {
        hops.keys().collect()
    }

    // [MEMB-W-053]
    #[test]
    fn four_are_pinned_apart_from_all_guards_with_lives_within_bounds() {
        let hops = four();
        assert_eq!(hops.keys().count(), SECOND_HOPS);
        assert!(GUARDS.into_iter().all(|number| hops.keys().all(|key| key != relay(number).key)));
        for hop in hops.state().hops {
            let life = hop.until - ISSUED.0;
            assert!((SECOND_HOP_LIFE_MIN_S..=SECOND_HOP_LIFE_MAX_S).contains(&life));
        }
    }

    // [MEMB-W-055]
    #[test]
    fn they_stay_until_their_lives_end_and_go_at_once_when_they_leave_the_network() {
        let mut hops = four();
        let before = keys(&hops);
        assert!(!refilled(&mut hops, 0..20, later(SECOND_HOP_LIFE_MIN_S - 1)));
        assert!(refilled(&mut hops, 0..20, later(SECOND_HOP_LIFE_MAX_S)));
        let state = hops.state();
        assert!(state.hops.iter().all(|hop| hop.until > later(SECOND_HOP_LIFE_MAX_S).0));
        assert!(refilled(&mut hops, 30..50, later(SECOND_HOP_LIFE_MAX_S)));
        assert!(keys(&hops).iter().all(|key| !before.contains(key)));
        assert!(!refilled(&mut hops, 0..0, later(SECOND_HOP_LIFE_MAX_S)), "an empty membership says nothing");
    }

    // [MEMB-W-056]
    #[test]
    fn a_hop_that_fails_towards_three_different_exits_in_a_row_is_dropped() {
        let mut hops = four();
        let hop = keys(&hops)[0];
        let exit = |number: u32| relay(100 + number).key;
        hops.on_failure(&hop, &exit(0), true, ISSUED);
        hops.on_failure(&hop, &exit(1), true, ISSUED);
        assert!(hops.on_success(&hop));
        for number in [0, 0, 1, 1] {
            hops.on_failure(&hop, &exit(number), true, ISSUED);
        }
        assert!(keys(&hops).contains(&hop), "twice towards one exit is once");
        assert!(hops.on_failure(&hop, &exit(2), true, ISSUED));
        assert!(!keys(&hops).contains(&hop));
    }

    fn exit(number: usize) -> NodeKey {
        relay(100 + u32::try_from(number).unwrap()).key
    }

    // [MEMB-W-056]
    #[test]
    fn a_hop_that_works_is_dropped_only_when_many_different_exits_were_not_reached() {
        let mut hops = four();
        let hop = keys(&hops)[0];
        for number in 1..SECOND_HOP_NOT_REACHED_MAX {
            assert!(hops.on_not_reached(&hop, &exit(number), true, ISSUED));
            assert!(!hops.on_not_reached(&hop, &exit(number), true, ISSUED), "twice towards one exit is once");
        }
        // Those where nobody says where it failed are counted for themselves.
        assert!(hops.on_failure(&hop, &exit(1), true, ISSUED) && hops.on_failure(&hop, &exit(2), true, ISSUED));
        assert!(hops.on_success(&hop));
        for number in 0..SECOND_HOP_NOT_REACHED_FORGIVEN {
            assert!(hops.on_not_reached(&hop, &exit(1_000 + number), true, ISSUED));
        }
        assert!(keys(&hops).contains(&hop));
        assert!(hops.on_not_reached(&hop, &exit(0), true, ISSUED));
        assert!(!keys(&hops).contains(&hop));
    }

    // [MEMB-W-058]
    #[test]
    fn a_hop_that_turns_away_whom_it_likes_lets_a_third_through_or_goes_and_is_drawn_little_meanwhile() {
        let mut hops = four();
        let hop = keys(&hops)[0];
        // It turns away all that it can without being dropped.
        let (mut passed, mut turned_away) = (0, 0);
        for number in 0..3_000 {
            let held = hops.state().hops[0].not_reached.len();
            if held + 1 < SECOND_HOP_NOT_REACHED_MAX {
                hops.on_not_reached(&hop, &exit(number), true, ISSUED);
                turned_away += 1;
            } else {
                hops.on_success(&hop);
                passed += 1;
            }
        }
        assert!(keys(&hops).contains(&hop) && (990..1_010).contains(&passed), "{passed} of {turned_away}");
        let mut rng = ChaCha20Rng::seed_from_u64(3);
        let drawn = (0..3_000).filter(|_| hops.pick(|_| true, &mut rng) == Some(hop)).count();
        assert!((1..100).contains(&drawn), "{drawn}: one in 3 · 64 and one");
    }

    #[test]
    fn where_half_of_the_exits_are_gone_a_hop_that_works_stays() {
        let mut rng = ChaCha20Rng::seed_from_u64(4);
        let mut dropped = 0;
        for _ in 0..400 {
            let mut hops = four();
            let hop = keys(&hops)[0];
            for number in 0..60 {
                if uniform_below(2, &mut rng) == 0 {
                    hops.on_success(&hop);
                } else {
                    hops.on_not_reached(&hop, &exit(number), true, ISSUED);
                }
            }
            dropped += usize::from(!keys(&hops).contains(&hop));
        }
        assert!((1..24).contains(&dropped), "{dropped} of 400 with sixty circuits each");
    }

    // [MEMB-W-057]
    #[test]
    fn a_guard_that_lets_circuits_fail_moves_eight_second_hops_in_two_days_and_no_more() {
        let mut hops = four();
        let mut dropped = 0;
        for round in 0..20 {
            let hop = keys(&hops)[0];
            for exit in 100..103 {
                hops.on_failure(&hop, &relay(exit).key, true, later(round));
            }
            dropped += usize::from(!keys(&hops).contains(&hop));
            refilled(&mut hops, 0..60, later(round));
        }
        assert_eq!(dropped, SECOND_HOP_REPLACED_MAX);
        let hop = keys(&hops)[0];
        let mut rng = ChaCha20Rng::seed_from_u64(1);
        assert!((0..50).all(|_| hops.pick(|_| true, &mut rng) != Some(hop)), "the failing one rests");
        assert_eq!(hops.pick(|key| *key == hop, &mut rng), Some(hop), "unless there is no other");
        assert!(hops.on_failure(&hop, &relay(200).key, true, later(19 + SECOND_HOP_REPLACED_WINDOW_S)));
        assert!(!keys(&hops).contains(&hop));
    }

    // [MEMB-W-051] [MEMB-W-057]
    #[test]
    fn a_doubted_guard_moves_no_second_hop_however_many_circuits_it_lets_fail() {
        let mut hops = four();
        let hop = keys(&hops)[0];
        for exit in 100..110 {
            hops.on_failure(&hop, &relay(exit).key, false, ISSUED);
        }
        assert!(keys(&hops).contains(&hop));
        let mut rng = ChaCha20Rng::seed_from_u64(1);
        assert!((0..50).all(|_| hops.pick(|_| true, &mut rng) != Some(hop)), "the failing one rests all the same");
        assert!(hops.on_failure(&hop, &relay(110).key, true, ISSUED), "it goes once the guard is doubted no more");
        assert!(!keys(&hops).contains(&hop));
    }

    // [MEMB-W-054]
    #[test]
    fn every_eligible_hop_is_picked_alike() {
        let hops = four();
        let barred = keys(&hops)[0];
        let mut rng = ChaCha20Rng::seed_from_u64(2);
        let mut counts = std::collections::BTreeMap::new();
        for _ in 0..3_000 {
            *counts.entry(hops.pick(|key| *key != barred, &mut rng).unwrap()).or_insert(0) += 1;
        }
        assert_eq!(counts.len(), 3);
        assert!(counts.values().all(|count| (900..1_100).contains(count)), "{counts:?}");
        assert_eq!(hops.pick(|_| false, &mut rng), None);
    }

    // [MEMB-W-053]
    #[test]
    fn in_the_smallest_network_a_later_guard_may_be_second_hop() {
        let mut hops = SecondHops::new(SecondHopState::default());
        assert!(refilled(&mut hops, 0..3, ISSUED));
        assert!(keys(&hops).iter().all(|key| *key != relay(0).key));
    }

    #[test]
    fn the_state_survives_postcard() {
        let state = four().state();
        let bytes = postcard::to_allocvec(&state).unwrap();
        assert!(postcard::from_bytes::<SecondHopState>(&bytes).unwrap() == state);
    }
}
