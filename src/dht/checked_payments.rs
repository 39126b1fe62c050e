//! Payments that were checked and held, for as long as they count: whoever shows one again has nothing computed again. Pure; it must
//! not know who paid. Source: spec/dht.md §8.2.

use std::collections::BTreeSet;

use crate::crypto::storage_puzzle::StoragePuzzle;
use crate::limits::PAYMENTS_REMEMBERED_MAX;
use crate::time::UnixTime;
use crate::wire::payment::Payment;

/// Hour, challenge and counter of each.
///
/// Invariant: at most [`PAYMENTS_REMEMBERED_MAX`]. Who would fill them up has solved as many puzzles; what comes then is checked each
/// time, within the allowance.
#[derive(Debug, Default)]
pub struct CheckedPayments {
    held: BTreeSet<(u32, [u8; 32], u32)>,
}

impl CheckedPayments {
    /// Remembers a solution that was checked and held, where there is room; and forgets those whose time is over.
    pub fn note(&mut self, puzzle: &StoragePuzzle, counter: u32, now: UnixTime) {
        let first = Payment::first_hour_at(now);
        while self.held.first().is_some_and(|(hour, ..)| *hour < first) {
            self.held.pop_first();
        }
        if self.held.len() < PAYMENTS_REMEMBERED_MAX {
            self.held.insert((puzzle.hour, puzzle.challenge(), counter));
        }
    }

    /// Whether this very solution was checked and held. That its hour still counts is the caller's to see.
    #[must_use]
    pub fn has(&self, puzzle: &StoragePuzzle, counter: u32) -> bool {
        self.held.contains(&(puzzle.hour, puzzle.challenge(), counter))
    }

    /// How many are remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.held.len()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keyspace::Id;
    use crate::limits::PAYMENT_STEP_S;

    const HOUR: u32 = 500_000;

    fn puzzle(number: u32, hour: u32) -> StoragePuzzle {
        let mut digest = [0; 32];
        digest[..4].copy_from_slice(&number.to_be_bytes());
        StoragePuzzle { network: [9; 32], hour, location: Id([3; 20]), digest, effort: 1 }
    }

    fn in_hour(hour: u32) -> UnixTime {
        UnixTime(u64::from(hour) * PAYMENT_STEP_S)
    }

    #[test]
    fn what_held_is_known_until_its_time_is_over_and_nothing_else_is() {
        let mut payments = CheckedPayments::default();
        payments.note(&puzzle(1, HOUR), 7, in_hour(HOUR));
        assert!(payments.has(&puzzle(1, HOUR), 7));
        let effort = StoragePuzzle { effort: 2, ..puzzle(1, HOUR) };
        for other in [puzzle(2, HOUR), puzzle(1, HOUR + 1), effort] {
            assert!(!payments.has(&other, 7));
        }
        assert!(!payments.has(&puzzle(1, HOUR), 8));
        payments.note(&puzzle(2, HOUR + 1), 7, in_hour(HOUR + 1));
        assert!(payments.has(&puzzle(1, HOUR), 7), "it counts in the next hour, too");
        payments.note(&puzzle(3, HOUR + 2), 7, in_hour(HOUR + 2));
        assert!(!payments.has(&puzzle(1, HOUR), 7) && payments.has(&puzzle(2, HOUR + 1), 7));
        assert_eq!(payments.len(), 2);
    }

    #[test]
    fn no_more_are_remembered_than_there_may_be_and_room_comes_with_time() {
        let mut payments = CheckedPayments::default();
        let one_more = u32::try_from(PAYMENTS_REMEMBERED_MAX).unwrap();
        (0..=one_more).for_each(|number| payments.note(&puzzle(number, HOUR), 7, in_hour(HOUR)));
        assert_eq!(payments.len(), PAYMENTS_REMEMBERED_MAX);
        assert!(payments.has(&puzzle(0, HOUR), 7) && !payments.has(&puzzle(one_more, HOUR), 7));
        payments.note(&puzzle(one_more, HOUR + 2), 7, in_hour(HOUR + 2));
        assert!(payments.has(&puzzle(one_more, HOUR + 2), 7) && payments.len() == 1);
    }
}
