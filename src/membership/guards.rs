//! The client's guards: an ordered sample of three, and the rule which of them is in use. Knows no link: dials are wished for
//! and their ends reported. Source: spec/membership.md §5.
//!
//! Calls: `fill` whenever the membership was brought up to date; `next_dial` until it gives nothing, after every report and
//! at `poll_timeout`; `outcome` to learn where the client stands.

use serde::{Deserialize, Serialize};

use super::members::Members;
use super::path_bias::GuardCircuits;
use super::prefix_rule::PrefixRule;
use super::sample::draw;
use crate::crypto::CryptoRng;
use crate::crypto::keys::NodeKey;
use crate::limits::{
    DIAL_BACKOFF, GUARD_DIALS, GUARD_LIFE_S, GUARD_PATIENCE, GUARD_RETRY_EVERY, GUARD_SAMPLE_LIFE_S, GUARD_SETTLED,
    GUARDS, KEY_LEN,
};
use crate::time::{Instant, UnixTime, earlier};
use crate::wire::descriptor::VerifiedDescriptor;

/// What outlives the process. Whoever loses it samples anew, and gives every observer three more chances.
#[derive(Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct GuardState {
    /// In the order in which they were drawn: the first is the one to use.
    pub guards: Vec<SampledGuard>,
}

/// One guard of the sample.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SampledGuard {
    /// Its key.
    pub key: [u8; KEY_LEN],
    /// When it was drawn, seconds since 1970.
    pub sampled: u64,
    /// Whether it ever answered.
    pub confirmed: bool,
    /// Whether its last dial failed while a later guard answered.
    pub down: bool,
    /// How circuits through it ended.
    pub circuits: GuardCircuits,
}

impl GuardState {
    /// Whether this is the same sample in the same state, whatever was counted.
    #[must_use]
    pub fn is_same_but_for_counts(&self, other: &Self) -> bool {
        let uncounted = |guard: &SampledGuard| (guard.key, guard.sampled, guard.confirmed, guard.down);
        self.guards.iter().map(uncounted).eq(other.guards.iter().map(uncounted))
    }
}

/// Where the client stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum GuardOutcome {
    /// This guard is up, and every one before it is down or gone.
    InUse(NodeKey),
    /// Dials are under way or due.
    Waiting,
    /// None of the sample answers: the network cannot be reached. Nothing was marked.
    Unreachable,
    /// The network answers, and nobody of the sample is in it any more: no circuit until the sample may grow.
    PrivacyFloor,
}

#[derive(Clone, Copy)]
enum Dial {
    Idle,
    /// Until patience ends the next guard is not dialled too; `None` once it has ended.
    Dialling {
        patience_ends: Option<Instant>,
    },
    Up {
        since: Instant,
    },
    Failed {
        retry_at: Instant,
    },
}

struct Guard {
    sampled: SampledGuard,
    dial: Dial,
    /// Dials that failed since it was last up.
    failures: u32,
    /// In the membership as of the last `fill`.
    listed: bool,
}

/// The ordered sample and what is known of each guard.
pub struct Guards {
    guards: Vec<Guard>,
    network_answers: bool,
}

impl Guard {
    fn new(sampled: SampledGuard) -> Self {
        Self { sampled, dial: Dial::Idle, failures: 0, listed: true }
    }

    fn key(&self) -> NodeKey {
        NodeKey(self.sampled.key)
    }

    fn is_up(&self) -> bool {
        matches!(self.dial, Dial::Up { .. })
    }

    /// Whoever left the network is not dialled, but a link that still holds is used.
    fn takes_part(&self) -> bool {
        self.listed || self.is_up()
    }

    /// One failure may pass; a guard that is down already has failed before.
    fn is_given_up(&self) -> bool {
        self.has_failed() && (self.sampled.down || self.failures >= GUARD_DIALS)
    }

    fn has_failed(&self) -> bool {
        matches!(self.dial, Dial::Failed { .. })
    }

    /// Gone from the sample: at the end of its life; or, once the sample may grow again, when it left or never answered.
    fn is_over(&self, now: UnixTime) -> bool {
        let age = now.0.saturating_sub(self.sampled.sampled);
        let useless = !self.listed || !self.sampled.confirmed;
        age >= GUARD_LIFE_S || (age >= GUARD_SAMPLE_LIFE_S && useless)
    }

    fn is_compatible(&self, candidate: &VerifiedDescriptor, members: &Members, rule: PrefixRule) -> bool {
        let together = members.get(&self.key()).is_none_or(|mine| rule.allows_together(mine, candidate));
        together && self.key() != candidate.key
    }
}

impl Guards {
    /// From what was kept; whatever exceeds a sample is dropped.
    #[must_use]
    pub fn new(state: GuardState) -> Self {
        let mut guards: Vec<Guard> = Vec::new();
        for mut sampled in state.guards {
            sampled.circuits = sampled.circuits.checked();
            if guards.len() < GUARDS && guards.iter().all(|guard| guard.sampled.key != sampled.key) {
                guards.push(Guard::new(sampled));
            }
        }
        Self { guards, network_answers: false }
    }

    /// What is to be kept.
    #[must_use]
    pub fn state(&self) -> GuardState {
        GuardState { guards: self.guards.iter().map(|guard| guard.sampled.clone()).collect() }
    }

    /// The keys in order.
    #[must_use]
    pub fn ordered(&self) -> Vec<NodeKey> {
        self.guards.iter().map(Guard::key).collect()
    }

    /// Takes note of who is in the network, drops whose time is over and fills the sample, never beyond three in 30 days.
    /// Only for a membership that was brought up to date over a link that answered. Whether the state to keep has changed.
    pub fn fill(
        &mut self,
        members: &Members,
        rule: PrefixRule,
        now: UnixTime,
        ours: &[NodeKey],
        rng: &mut dyn CryptoRng,
    ) -> bool {
        self.network_answers = members.iter().any(|member| !ours.contains(&member.key));
        if !self.network_answers {
            return false;
        }
        let before = self.state();
        for guard in &mut self.guards {
            guard.listed = members.get(&guard.key()).is_some() && !ours.contains(&guard.key());
            // A clock that once ran ahead must not keep a guard for ever.
            guard.sampled.sampled = guard.sampled.sampled.min(now.0);
        }
        self.guards.retain(|guard| !guard.is_over(now));
        while self.guards.len() < GUARDS {
            let eligible = |candidate: &VerifiedDescriptor| {
                let compatible = self.guards.iter().all(|guard| guard.is_compatible(candidate, members, rule));
                compatible && !ours.contains(&candidate.key)
            };
            let Some(key) = draw(members, eligible, rng) else { break };
            let sampled = SampledGuard {
                key: key.0,
                sampled: now.0,
                confirmed: false,
                down: false,
                circuits: GuardCircuits::default(),
            };
            self.guards.push(Guard::new(sampled));
        }
        before != self.state()
    }

    /// The guard to dial now, if any; it counts as being dialled until its end is reported.
    pub fn next_dial(&mut self, now: Instant) -> Option<NodeKey> {
        for guard in self.guards.iter_mut().filter(|guard| guard.takes_part()) {
            match &mut guard.dial {
                Dial::Up { .. } => return None,
                Dial::Dialling { patience_ends: Some(ends) } if now < *ends => return None,
                Dial::Dialling { patience_ends } => *patience_ends = None,
                Dial::Failed { retry_at } if now < *retry_at => (),
                Dial::Idle | Dial::Failed { .. } => {
                    let patience_ends = (!guard.sampled.down).then_some(now + GUARD_PATIENCE);
                    guard.dial = Dial::Dialling { patience_ends };
                    return Some(guard.key());
                }
            }
        }
        None
    }

    /// When `next_dial` may give something again without a report. Walks as it does.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let mut due = None;
        for guard in self.guards.iter().filter(|guard| guard.takes_part()) {
            match guard.dial {
                Dial::Up { .. } => break,
                Dial::Dialling { patience_ends: Some(ends) } => return earlier(due, Some(ends)),
                Dial::Idle | Dial::Dialling { patience_ends: None } => (),
                Dial::Failed { retry_at } => due = earlier(due, Some(retry_at)),
            }
        }
        due
    }

    /// A dial, or a link that had only just come up, failed. Whether the state to keep has changed.
    pub fn on_dial_failed(&mut self, key: &NodeKey, now: Instant) -> bool {
        let Some(at) = self.position(key) else { return false };
        let next_answers = self.guards.iter().skip(at + 1).any(Guard::is_up);
        let Some(guard) = self.guards.get_mut(at) else { return false };
        guard.failures = guard.failures.saturating_add(1);
        let marked = next_answers && !guard.sampled.down;
        guard.sampled.down |= next_answers;
        let wait = if guard.sampled.down { GUARD_RETRY_EVERY } else { DIAL_BACKOFF };
        guard.dial = Dial::Failed { retry_at: now + wait };
        marked
    }

    /// A link to the guard is up. Whether the state to keep has changed.
    pub fn on_link_up(&mut self, key: &NodeKey, now: Instant) -> bool {
        let Some(at) = self.position(key) else { return false };
        for before in self.guards.iter_mut().take(at) {
            // It failed while nobody answered: that may have been the network. Asked once more, now that somebody does.
            if before.has_failed() && !before.sampled.down {
                before.dial = Dial::Failed { retry_at: now };
            }
        }
        let Some(guard) = self.guards.get_mut(at) else { return false };
        let changed = guard.sampled.down || !guard.sampled.confirmed;
        guard.sampled.down = false;
        guard.sampled.confirmed = true;
        guard.failures = 0;
        guard.dial = Dial::Up { since: now };
        changed
    }

    /// A link to the guard ended: dialled again at once, unless it had only just come up, which counts as a failed dial.
    /// Whether the state to keep has changed.
    pub fn on_link_down(&mut self, key: &NodeKey, now: Instant) -> bool {
        let Some(guard) = self.guards.iter_mut().find(|guard| guard.key() == *key) else { return false };
        match guard.dial {
            Dial::Up { since } if since.until(now) >= GUARD_SETTLED => guard.dial = Dial::Idle,
            Dial::Up { .. } => return self.on_dial_failed(key, now),
            Dial::Idle | Dial::Dialling { .. } | Dial::Failed { .. } => (),
        }
        false
    }

    /// The guard in use: the first that is up, once every one before it is down or has left the network.
    #[must_use]
    pub fn current(&self) -> Option<NodeKey> {
        let first = self.guards.iter().find(|guard| guard.takes_part() && (guard.is_up() || !guard.sampled.down))?;
        first.is_up().then(|| first.key())
    }

    /// A circuit through this guard ended, or its link with circuits on it: whether all had come that was awaited. Whether the guard is
    /// doubted now and was not before.
    pub fn on_circuit(&mut self, key: &NodeKey, finished: bool, now: UnixTime) -> bool {
        let Some(guard) = self.guards.iter_mut().find(|guard| guard.key() == *key) else { return false };
        let circuits = &mut guard.sampled.circuits;
        let before = circuits.is_doubted();
        circuits.add(finished, now);
        !before && circuits.is_doubted()
    }

    /// Goes on with these counts for the same guards, but for those that whoever wrote this sample doubts.
    pub fn count_as(&mut self, other: &GuardState) {
        for guard in self.guards.iter_mut().filter(|guard| !guard.sampled.circuits.is_doubted()) {
            if let Some(same) = other.guards.iter().find(|same| same.key == guard.sampled.key) {
                guard.sampled.circuits = same.circuits;
            }
        }
    }

    /// How circuits through this guard ended, if it is doubted.
    #[must_use]
    pub fn doubts(&self, key: &NodeKey) -> Option<GuardCircuits> {
        let guard = self.guards.iter().find(|guard| guard.key() == *key)?;
        Some(guard.sampled.circuits).filter(|circuits| circuits.is_doubted())
    }

    /// Where the client stands.
    #[must_use]
    pub fn outcome(&self) -> GuardOutcome {
        let mut listed = self.guards.iter().filter(|guard| guard.listed).peekable();
        match self.current() {
            Some(key) => GuardOutcome::InUse(key),
            None if listed.peek().is_none() && self.network_answers => GuardOutcome::PrivacyFloor,
            None if listed.peek().is_some() && listed.all(Guard::is_given_up) => GuardOutcome::Unreachable,
            None => GuardOutcome::Waiting,
        }
    }

    fn position(&self, key: &NodeKey) -> Option<usize> {
        self.guards.iter().position(|guard| guard.key() == *key)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::SeedableRng;
    use rand::rngs::ChaCha20Rng;

    use super::*;
    use crate::membership::fixture::{ISSUED, described, members_of, relay, relay_at, signed};
    use crate::time::Duration;

    const DAY: u64 = 24 * 3_600;

    fn at(seconds: u64) -> Instant {
        Instant::ZERO + Duration::from_secs(seconds)
    }

    fn later(seconds: u64) -> UnixTime {
        UnixTime(ISSUED.0 + seconds)
    }

    fn filled(guards: &mut Guards, numbers: core::ops::Range<u32>, now: UnixTime) -> bool {
        let mut rng = ChaCha20Rng::seed_from_u64(now.0);
        guards.fill(&members_of(numbers.map(relay)), PrefixRule::Distinct, now, &[], &mut rng)
    }

    fn three() -> (Guards, [NodeKey; 3]) {
        let mut guards = Guards::new(GuardState::default());
        assert!(filled(&mut guards, 0..3, ISSUED));
        let keys = guards.ordered().try_into().unwrap();
        (guards, keys)
    }

    // [MEMB-W-041] [MEMB-W-042]
    #[test]
    fn the_first_that_answers_is_in_use_and_the_others_are_not_dialled() {
        let (mut guards, [first, ..]) = three();
        assert_eq!(guards.next_dial(at(0)), Some(first));
        assert_eq!(guards.next_dial(at(0)), None);
        assert_eq!(guards.outcome(), GuardOutcome::Waiting);
        assert!(guards.on_link_up(&first, at(0)), "confirmed for the first time");
        assert_eq!(guards.outcome(), GuardOutcome::InUse(first));
        assert_eq!((guards.next_dial(at(99)), guards.poll_timeout()), (None, None));
    }

    // [MEMB-W-043]
    #[test]
    fn a_guard_is_down_only_when_its_dial_fails_while_the_next_answers() {
        let (mut guards, [first, second, _]) = three();
        guards.next_dial(at(0));
        assert!(!guards.on_dial_failed(&first, at(0)), "nobody answers: nothing is marked");
        assert_eq!(guards.next_dial(at(0)), Some(second));
        guards.on_link_up(&second, at(0));
        assert_eq!(guards.outcome(), GuardOutcome::Waiting, "the first is asked once more");
        assert_eq!(guards.next_dial(at(0)), Some(first));
        assert!(guards.on_dial_failed(&first, at(1)));
        assert_eq!(guards.outcome(), GuardOutcome::InUse(second));
        assert!(guards.state().guards[0].down);
    }

    // [MEMB-W-044]
    #[test]
    fn the_client_returns_to_the_first_once_it_answers() {
        let (mut guards, [first, second, _]) = three();
        guards.next_dial(at(0));
        guards.on_dial_failed(&first, at(0));
        guards.next_dial(at(0));
        guards.on_link_up(&second, at(0));
        guards.next_dial(at(0));
        guards.on_dial_failed(&first, at(0));
        let retry = at(0) + GUARD_RETRY_EVERY;
        assert_eq!(guards.poll_timeout(), Some(retry));
        assert_eq!(guards.next_dial(Instant::from_micros(retry.as_micros() - 1)), None);
        assert_eq!(guards.next_dial(retry), Some(first));
        assert_eq!(guards.current(), Some(second), "the second serves meanwhile");
        guards.on_link_up(&first, retry);
        assert_eq!(guards.current(), Some(first));
        assert!(!guards.state().guards[0].down);
    }

    // [MEMB-W-046]
    #[test]
    fn none_of_three_answers_is_unreachable_and_marks_nothing() {
        let (mut guards, keys) = three();
        let before = guards.state();
        let again = at(0) + DIAL_BACKOFF;
        for now in [at(0), again] {
            for key in keys {
                assert_eq!(guards.outcome(), GuardOutcome::Waiting);
                assert_eq!(guards.next_dial(now), Some(key), "from the first again");
                assert!(!guards.on_dial_failed(&key, now));
            }
        }
        assert_eq!(guards.outcome(), GuardOutcome::Unreachable);
        assert!(guards.state() == before);
        assert_eq!(guards.poll_timeout(), Some(again + DIAL_BACKOFF));
        guards.on_link_up(&keys[1], again);
        guards.on_link_down(&keys[1], again);
        assert_eq!(guards.outcome(), GuardOutcome::Waiting, "it was there a moment ago");
    }

    // [MEMB-W-042]
    #[test]
    fn a_slow_guard_has_the_next_dialled_but_keeps_its_place_until_its_dial_ends() {
        let (mut guards, [first, second, _]) = three();
        guards.next_dial(at(0));
        assert_eq!(guards.poll_timeout(), Some(at(0) + GUARD_PATIENCE));
        assert_eq!(guards.next_dial(at(0) + GUARD_PATIENCE), Some(second));
        assert_eq!(guards.next_dial(at(0) + GUARD_PATIENCE), None);
        guards.on_link_up(&second, at(2));
        assert_eq!((guards.current(), guards.poll_timeout()), (None, None));
        assert!(guards.on_dial_failed(&first, at(5)));
        assert_eq!(guards.current(), Some(second));
    }

    #[test]
    fn a_mark_that_was_kept_saves_the_wait_and_falls_with_the_first_answer() {
        let (guards, [first, second, _]) = three();
        let mut state = guards.state();
        state.guards[0].down = true;
        let mut guards = Guards::new(state);
        assert_eq!(guards.next_dial(at(0)), Some(first));
        assert_eq!(guards.next_dial(at(0)), Some(second));
        guards.on_link_up(&second, at(0));
        assert_eq!(guards.current(), Some(second));
        assert!(guards.on_link_up(&first, at(1)));
        assert_eq!(guards.current(), Some(first));
    }

    // [MEMB-W-045]
    #[test]
    fn a_link_that_ends_is_dialled_again_and_one_that_flaps_counts_as_failed() {
        let (mut guards, [first, second, _]) = three();
        guards.next_dial(at(0));
        guards.on_link_up(&first, at(0));
        guards.on_link_down(&first, at(0) + GUARD_SETTLED);
        assert_eq!(guards.next_dial(at(5)), Some(first));
        guards.on_link_up(&first, at(5));
        guards.on_link_down(&first, at(5));
        assert_eq!(guards.next_dial(at(5)), Some(second));
    }

    // [MEMB-W-047] [MEMB-W-048]
    #[test]
    fn a_sample_whose_guards_all_left_is_the_privacy_floor_and_grows_only_after_thirty_days() {
        let (mut guards, keys) = three();
        assert!(!filled(&mut guards, 10..20, later(30 * DAY - 1)));
        assert_eq!(guards.outcome(), GuardOutcome::PrivacyFloor);
        assert_eq!(guards.next_dial(at(0)), None);
        let reopened = Guards::new(guards.state()).ordered();
        assert_eq!(reopened, keys);
        // Their descriptors are as old as the fixture's; only the sample's age matters here.
        assert!(filled(&mut guards, 10..20, later(30 * DAY)));
        assert!(guards.ordered().iter().all(|key| !keys.contains(key)));
        assert_eq!(guards.outcome(), GuardOutcome::Waiting);
    }

    #[test]
    fn an_empty_membership_says_nothing_of_the_guards() {
        let (mut guards, keys) = three();
        assert!(!filled(&mut guards, 0..0, later(200 * DAY)));
        assert_eq!((guards.ordered(), guards.outcome()), (keys.to_vec(), GuardOutcome::Waiting));
        assert_eq!(Guards::new(GuardState::default()).outcome(), GuardOutcome::Waiting);
    }

    // [MEMB-W-048]
    #[test]
    fn guards_end_with_their_life_and_a_clock_that_ran_ahead_does_not_prolong_it() {
        let (mut guards, keys) = three();
        for key in &keys {
            guards.on_link_up(key, at(0));
        }
        let mut state = guards.state();
        state.guards[0].sampled = u64::MAX;
        let mut guards = Guards::new(state);
        assert!(filled(&mut guards, 0..3, later(0)), "the clock is mended");
        assert!(!filled(&mut guards, 0..3, later(GUARD_LIFE_S - 1)));
        assert!(filled(&mut guards, 0..9, later(GUARD_LIFE_S)));
        assert!(guards.state().guards.iter().all(|guard| guard.sampled == later(GUARD_LIFE_S).0));
    }

    // [MEMB-W-048]
    #[test]
    fn a_guard_that_never_answered_is_replaced_when_the_sample_may_grow() {
        let (mut guards, [first, ..]) = three();
        guards.on_link_up(&first, at(0));
        assert!(filled(&mut guards, 0..9, later(GUARD_SAMPLE_LIFE_S)));
        assert_eq!(guards.ordered()[0], first);
        assert_eq!(guards.state().guards.iter().filter(|guard| guard.sampled == ISSUED.0).count(), 1);
    }

    #[test]
    fn a_state_with_too_many_or_equal_guards_is_cut_to_a_sample() {
        let circuits = GuardCircuits::default();
        let guard = |byte| SampledGuard { key: [byte; KEY_LEN], sampled: 0, confirmed: false, down: false, circuits };
        let state = GuardState { guards: vec![guard(1), guard(1), guard(2), guard(3), guard(4)] };
        let keys = Guards::new(state).ordered();
        assert_eq!(keys, [1, 2, 3].map(|byte| NodeKey([byte; KEY_LEN])));
    }

    #[test]
    fn the_state_survives_postcard() {
        let state = three().0.state();
        let bytes = postcard::to_allocvec(&state).unwrap();
        assert!(postcard::from_bytes::<GuardState>(&bytes).unwrap() == state);
    }

    // [MEMB-W-039]
    #[test]
    fn guards_share_no_wide_prefix_and_no_family_and_are_none_of_ours() {
        let family = |number| {
            let mut descriptor = described(number, relay_ip(number));
            descriptor.family = [1; 8];
            signed(descriptor, number)
        };
        let members = members_of([relay(1), relay_at(2, relay_ip(1)), family(3), family(4), relay(5)]);
        let mut rng = ChaCha20Rng::seed_from_u64(5);
        let mut guards = Guards::new(GuardState::default());
        guards.fill(&members, PrefixRule::Distinct, ISSUED, &[relay(5).key], &mut rng);
        let keys = guards.ordered();
        assert_eq!(keys.len(), 2);
        assert!(!keys.contains(&relay(5).key));
    }

    fn relay_ip(number: u32) -> [u8; 4] {
        let [_, _, high, low] = number.to_be_bytes();
        [10 + high, low, 0, 1]
    }

    proptest! {
        /// Whatever is reported in whatever order: one guard in use at most, nobody before it that could be,
        /// and the timeout never names a moment at which nothing happens.
        // [MEMB-W-041]
        #[test]
        fn any_reports_leave_an_earlier_guard_in_use_only_while_it_is_up(
            steps in proptest::collection::vec((0..4_u8, 0..3_usize, 0..20_u64), 0..60),
        ) {
            let (mut guards, keys) = three();
            let mut now = at(0);
            let mut up = [false; 3];
            for (what, whom, wait) in steps {
                now = now + Duration::from_secs(wait);
                let key = keys[whom];
                match what {
                    0 => { guards.on_dial_failed(&key, now); up[whom] = false }
                    1 => { guards.on_link_up(&key, now); up[whom] = true }
                    2 => { guards.on_link_down(&key, now); up[whom] = false }
                    _ => (),
                }
                let mut dials = 0;
                while guards.next_dial(now).is_some() {
                    dials += 1;
                }
                prop_assert!(dials <= GUARDS);
                prop_assert!(guards.poll_timeout().is_none_or(|at| at > now));
                if let Some(current) = guards.current() {
                    prop_assert_eq!(up.iter().position(|up| *up).map(|first| keys[first]), Some(current));
                }
            }
        }
    }
}
