//! How many circuits through a guard came to their end. One that ends those which do not suit it shows it here, and so does a network
//! that fails: it must not decide between the two. Source: Tor's path bias detection (proposal 209); spec/membership.md §5.4.

use serde::{Deserialize, Serialize};

use crate::limits::{GUARD_CIRCUITS_JUDGED_MIN, GUARD_CIRCUITS_REMEMBERED_MAX, GUARD_FINISHED_PERCENT_MIN};

/// Circuits through one guard, and ends of its link with circuits on it: of the last hundred or two.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub struct GuardCircuits {
    /// Those that came to an end of some kind; a link that ended counts as one, however many were on it.
    pub begun: u32,
    /// Of them, those on which all came back that was awaited.
    pub finished: u32,
}

impl GuardCircuits {
    /// From a file: whatever no counting brings about is put right.
    #[must_use]
    pub fn checked(self) -> Self {
        let begun = self.begun.min(GUARD_CIRCUITS_REMEMBERED_MAX - 1);
        Self { begun, finished: self.finished.min(begun) }
    }

    /// One more. At [`GUARD_CIRCUITS_REMEMBERED_MAX`] both are halved, so that a guard lives on no credit of long ago.
    pub fn add(&mut self, finished: bool) {
        self.begun += 1;
        self.finished += u32::from(finished);
        if self.begun >= GUARD_CIRCUITS_REMEMBERED_MAX {
            (self.begun, self.finished) = (self.begun / 2, self.finished / 2);
        }
    }

    /// Whether fewer than [`GUARD_FINISHED_PERCENT_MIN`] percent were finished, of enough to tell.
    #[must_use]
    pub fn is_doubtful(self) -> bool {
        self.begun >= GUARD_CIRCUITS_JUDGED_MIN && self.finished * 100 < self.begun * GUARD_FINISHED_PERCENT_MIN
    }
}

#[cfg(test)]
mod tests {
    use rand::rngs::ChaCha20Rng;
    use rand::{RngExt, SeedableRng};

    use super::*;
    use crate::limits::{GUARD_FAILURES_IN_ROW_MAX, OPERATION_CIRCUITS_MAX};

    fn circuits(begun: u32, finished: u32) -> GuardCircuits {
        GuardCircuits { begun, finished }
    }

    #[test]
    fn a_guard_is_doubtful_below_the_bound_and_only_after_enough_circuits() {
        let (enough, bound) = (GUARD_CIRCUITS_JUDGED_MIN, GUARD_CIRCUITS_JUDGED_MIN * GUARD_FINISHED_PERCENT_MIN / 100);
        for (begun, finished, is_doubtful) in [
            (0, 0, false),
            (enough - 1, 0, false),
            (enough, 0, true),
            (enough, bound - 1, true),
            (enough, bound, false),
        ] {
            assert_eq!(circuits(begun, finished).is_doubtful(), is_doubtful, "{finished} of {begun}");
        }
    }

    #[test]
    fn counts_never_pass_their_end_and_a_long_good_record_is_used_up_by_three_hundred_failures() {
        let mut seen = GuardCircuits::default();
        for _ in 0..10_000 {
            seen.add(true);
            assert!(seen.begun < GUARD_CIRCUITS_REMEMBERED_MAX && seen.finished == seen.begun);
        }
        let failures = (1..).find(|_| {
            seen.add(false);
            seen.is_doubtful()
        });
        assert!(failures.is_some_and(|failures: u32| failures <= 3 * GUARD_CIRCUITS_JUDGED_MIN), "{failures:?}");
        assert_eq!(circuits(u32::MAX, 7).checked(), circuits(GUARD_CIRCUITS_REMEMBERED_MAX - 1, 7));
        assert_eq!(circuits(5, 7).checked(), circuits(5, 5));
    }

    /// Of the circuits that a guard lets through, the share whose exit is its friend's, where so many percent of the exits are: it ends
    /// all others, but for as many as it takes not to be doubted, if it minds.
    fn taken_over(friends: u32, minds: bool) -> f64 {
        let mut rng = ChaCha20Rng::seed_from_u64(u64::from(friends));
        let (mut seen, mut passed, mut taken) = (GuardCircuits::default(), 0.0, 0.0);
        for _ in 0..200_000 {
            let is_friend = rng.random_range(0..100) < friends;
            let mut if_ended = seen;
            if_ended.add(false);
            let share_left = if_ended.finished * 100 >= if_ended.begun * GUARD_FINISHED_PERCENT_MIN;
            let passes = is_friend || (minds && !share_left);
            seen.add(passes);
            passed += f64::from(u8::from(passes));
            taken += f64::from(u8::from(passes && is_friend));
        }
        assert_eq!(seen.is_doubtful(), !minds && friends < GUARD_FINISHED_PERCENT_MIN);
        taken / passed
    }

    #[test]
    fn a_guard_that_is_not_doubted_takes_over_its_share_of_the_exits_over_the_bound_at_most() {
        for friends in [1_u32, 2, 5, 10] {
            assert!(taken_over(friends, false) > 0.999, "unwatched it takes all");
            let most = f64::from(friends) / f64::from(GUARD_FINISHED_PERCENT_MIN);
            let found = taken_over(friends, true);
            assert!((found - most).abs() < 0.05, "{friends} %: {found} against {most}");
        }
    }

    #[test]
    fn an_operation_over_a_doubted_guard_gives_it_fewer_tries() {
        // Chance that one of an operation's circuits comes to a friend, all others being ended; in percent.
        let chance = |friends: f64, tries: usize| {
            let tries = i32::try_from(tries).unwrap();
            (100.0 * (1.0 - (1.0 - friends).powi(tries))).round()
        };
        for (friends, doubted, before) in
            [(0.02, 22.0, 55.0), (0.05, 46.0, 87.0), (0.1, 72.0, 99.0), (0.2, 93.0, 100.0)]
        {
            assert_eq!(chance(friends, GUARD_FAILURES_IN_ROW_MAX), doubted);
            assert_eq!(chance(friends, OPERATION_CIRCUITS_MAX), before);
        }
    }
}
