//! How many circuits through a guard came to their end. One that ends those which do not suit it shows it here, and so does a network
//! that fails: it must not decide between the two. Source: Tor's path bias detection (proposal 209); spec/membership.md §5.4.

use serde::{Deserialize, Serialize};

use crate::limits::{
    GUARD_CIRCUITS_JUDGED_MIN, GUARD_CIRCUITS_REMEMBERED_MAX, GUARD_DOUBTED_AFTER_S, GUARD_DOUBTED_CIRCUITS_MIN,
    GUARD_DOUBTED_LATE_MIN, GUARD_FINISHED_PERCENT_MIN,
};
use crate::time::UnixTime;

/// Circuits through one guard, and ends of its link with circuits on it: of the last hundred or two.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub struct GuardCircuits {
    /// Those that came to an end of some kind; a link that ended counts as one, however many were on it.
    pub begun: u32,
    /// Of them, those on which all came back that was awaited.
    pub finished: u32,
    /// Since when, and with how many circuits, too few of enough were finished without a break.
    pub too_few: Option<TooFew>,
}

/// A time through which too few circuits were finished.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct TooFew {
    /// When it began, Unix seconds.
    pub since: u64,
    /// Circuits that came to an end since.
    pub circuits: u32,
    /// Of them, those that did so [`GUARD_DOUBTED_AFTER_S`] after it began, or later.
    pub late: u32,
}

impl TooFew {
    fn one_more(self, now: UnixTime) -> Self {
        // A time in the future was set by a clock that ran ahead.
        let since = self.since.min(now.0);
        let is_late = now.0 - since >= GUARD_DOUBTED_AFTER_S;
        Self { since, circuits: self.circuits.saturating_add(1), late: self.late.saturating_add(u32::from(is_late)) }
    }
}

impl GuardCircuits {
    /// From a file: whatever no counting brings about is put right.
    #[must_use]
    pub fn checked(self) -> Self {
        let begun = self.begun.min(GUARD_CIRCUITS_REMEMBERED_MAX - 1);
        let right = Self { begun, finished: self.finished.min(begun), ..self };
        Self { too_few: self.too_few.filter(|_| right.are_too_few()), ..right }
    }

    /// One more. At [`GUARD_CIRCUITS_REMEMBERED_MAX`] both are halved, so that a guard lives on no credit of long ago.
    pub fn add(&mut self, finished: bool, now: UnixTime) {
        self.begun += 1;
        self.finished += u32::from(finished);
        if self.begun >= GUARD_CIRCUITS_REMEMBERED_MAX {
            (self.begun, self.finished) = (self.begun / 2, self.finished / 2);
        }
        let too_few = self.too_few.unwrap_or(TooFew { since: now.0, circuits: 0, late: 0 });
        self.too_few = self.are_too_few().then(|| too_few.one_more(now));
    }

    /// Whether too few were finished for longer than one burst of failures lasts, or of more circuits than one has: when many relays
    /// stop at once an honest guard looks bad until its client has other second hops.
    #[must_use]
    pub fn is_doubted(self) -> bool {
        let is_enough = |of: TooFew| of.late >= GUARD_DOUBTED_LATE_MIN || of.circuits >= GUARD_DOUBTED_CIRCUITS_MIN;
        self.too_few.is_some_and(is_enough)
    }

    /// Whether fewer than [`GUARD_FINISHED_PERCENT_MIN`] percent were finished, of enough to tell.
    fn are_too_few(self) -> bool {
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
        GuardCircuits { begun, finished, ..GuardCircuits::default() }
    }

    /// Seconds after the first.
    fn at(seconds: u64) -> UnixTime {
        UnixTime(1_800_000_000 + seconds)
    }

    #[test]
    fn a_guard_is_doubted_below_the_bound_after_enough_circuits_and_only_once_that_has_lasted() {
        let (enough, bound) = (GUARD_CIRCUITS_JUDGED_MIN, GUARD_CIRCUITS_JUDGED_MIN * GUARD_FINISHED_PERCENT_MIN / 100);
        for (begun, finished, too_few) in
            [(enough - 2, 0, false), (enough - 1, 0, true), (enough - 1, bound - 1, true), (enough - 1, bound, false)]
        {
            let mut seen = circuits(begun, finished);
            seen.add(false, at(0));
            assert_eq!(seen.too_few.is_some(), too_few, "{finished} of {begun}");
        }
    }

    #[test]
    fn a_burst_of_failures_is_no_verdict_nor_is_one_circuit_long_after_it() {
        let mut seen = circuits(GUARD_CIRCUITS_JUDGED_MIN, 0);
        let failures =
            |seen: &mut GuardCircuits, count: u32, at: UnixTime| (0..count).for_each(|_| seen.add(false, at));
        failures(&mut seen, GUARD_DOUBTED_CIRCUITS_MIN - GUARD_DOUBTED_LATE_MIN - 1, at(0));
        failures(&mut seen, 1, at(GUARD_DOUBTED_AFTER_S - 1));
        failures(&mut seen, GUARD_DOUBTED_LATE_MIN - 1, at(1_000_000));
        assert!(!seen.is_doubted());
        failures(&mut seen, 1, at(1_000_000));
        assert!(seen.is_doubted());
        // More than a burst has are a verdict at once.
        let mut seen = circuits(GUARD_CIRCUITS_JUDGED_MIN, 0);
        failures(&mut seen, GUARD_DOUBTED_CIRCUITS_MIN - 1, at(0));
        assert!(!seen.is_doubted());
        failures(&mut seen, 1, at(0));
        assert!(seen.is_doubted());
        (0..GUARD_CIRCUITS_JUDGED_MIN).for_each(|_| seen.add(true, at(1)));
        assert_eq!((seen.too_few, seen.is_doubted()), (None, false), "enough are finished again");
        // A clock that ran ahead delays nothing for ever.
        let mut seen = circuits(GUARD_CIRCUITS_JUDGED_MIN, 0);
        failures(&mut seen, 1, at(1_000_000));
        failures(&mut seen, 1, at(0));
        assert_eq!(seen.too_few, Some(TooFew { since: at(0).0, circuits: 2, late: 0 }));
    }

    #[test]
    fn counts_never_pass_their_end_and_a_long_good_record_is_used_up_by_three_hundred_failures() {
        let mut seen = GuardCircuits::default();
        for _ in 0..10_000 {
            seen.add(true, at(0));
            assert!(seen.begun < GUARD_CIRCUITS_REMEMBERED_MAX && seen.finished == seen.begun);
        }
        let failures = (1..).find(|_| {
            seen.add(false, at(0));
            seen.too_few.is_some()
        });
        assert!(failures.is_some_and(|failures: u32| failures <= 3 * GUARD_CIRCUITS_JUDGED_MIN), "{failures:?}");
        assert_eq!(circuits(u32::MAX, 7).checked(), circuits(GUARD_CIRCUITS_REMEMBERED_MAX - 1, 7));
        assert_eq!(circuits(5, 7).checked(), circuits(5, 5));
        let too_few = Some(TooFew { since: 7, circuits: u32::MAX, late: u32::MAX });
        let good = GuardCircuits { too_few, ..circuits(150, 149) };
        assert_eq!(good.checked(), circuits(150, 149));
    }

    /// How long before it would be doubted a guard that works in bursts rests: it takes some twenty circuits to look well.
    const RESTS_BEFORE_S: u64 = 10;
    const RESTS_BEFORE_CIRCUITS: u32 = 40;

    /// What a guard does that ends circuits whose exit is no friend's.
    #[derive(Clone, Copy, PartialEq, Debug)]
    enum Ends {
        /// All of them.
        All,
        /// But for as many as it takes not to have too few finished.
        Few,
        /// All, until it is about to be doubted; then none until enough are finished.
        Bursts,
    }

    /// Of the circuits that a guard lets through, the share whose exit is its friend's, where so many percent of the exits are,
    /// and so many circuits are built in a minute.
    fn taken_over(friends: u32, ends: Ends, per_minute: u64) -> f64 {
        let mut rng = ChaCha20Rng::seed_from_u64(u64::from(friends));
        let (mut seen, mut passed, mut taken) = (GuardCircuits::default(), 0.0, 0.0);
        let mut rests = false;
        for number in 0..200_000_u64 {
            let now = at(number * 60 / per_minute);
            let is_friend = rng.random_range(0..100) < friends;
            let mut if_ended = seen;
            if_ended.add(false, now);
            rests = match ends {
                Ends::All => false,
                Ends::Few => if_ended.too_few.is_some(),
                Ends::Bursts => if_ended.too_few.is_some_and(|of| {
                    let left = GUARD_DOUBTED_AFTER_S.saturating_sub(now.0 - of.since);
                    rests || left < RESTS_BEFORE_S || of.circuits + RESTS_BEFORE_CIRCUITS >= GUARD_DOUBTED_CIRCUITS_MIN
                }),
            };
            let passes = is_friend || rests;
            seen.add(passes, now);
            passed += f64::from(u8::from(passes));
            taken += f64::from(u8::from(passes && is_friend));
        }
        assert!(
            ends == Ends::Bursts || seen.is_doubted() == (ends == Ends::All && friends < GUARD_FINISHED_PERCENT_MIN)
        );
        taken / passed
    }

    #[test]
    fn a_guard_that_is_not_doubted_takes_over_its_share_of_the_exits_over_the_bound_at_most() {
        for friends in [1_u32, 2, 5, 10] {
            assert!(taken_over(friends, Ends::All, 10) > 0.999, "unwatched it takes all");
            let most = f64::from(friends) / f64::from(GUARD_FINISHED_PERCENT_MIN);
            let found = taken_over(friends, Ends::Few, 10);
            assert!((found - most).abs() < 0.05, "{friends} %: {found} against {most}");
            // That a doubt takes its time helps it only where a client builds more circuits than people ask for.
            let found = taken_over(friends, Ends::Bursts, 10);
            assert!(found < most + 0.05, "{friends} %: {found} against {most}");
        }
        for (friends, per_minute, most) in [(2, 100, 0.19), (2, 1_000, 0.19), (5, 1_000, 0.45)] {
            let found = taken_over(friends, Ends::Bursts, per_minute);
            assert!(found < most, "{friends} %, {per_minute} a minute: {found}");
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
