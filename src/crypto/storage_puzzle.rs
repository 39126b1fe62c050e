//! The storage puzzle: what an anonymous write costs where storage is scarce. Bound to one value at one place in one hour, so that
//! nothing is worth anything elsewhere. It must not know who pays, nor who asks for it.
//!
//! Source: RFC 9106; spec/crypto.md §9.

use std::sync::{Mutex, PoisonError};

use argon2::Block;

use super::hash::blake3;
use super::puzzle::{argon2id, zero_bits};
use crate::keyspace::Location;
use crate::limits::{EFFORT_MEMORY_KIB, EFFORT_TRIALS};

/// Memory of a check, one for the process; see the identity puzzle's. Whoever solves brings its own, so that one does not wait for
/// another.
static SCRATCH: Mutex<Vec<Block>> = Mutex::new(Vec::new());

/// What is to be solved.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StoragePuzzle {
    /// The network's id.
    pub network: [u8; 32],
    /// Hours since 1970 by the writer's clock.
    pub hour: u32,
    /// Where the value is to stand.
    pub location: Location,
    /// BLAKE3 of the record, or of the chunk's bytes.
    pub digest: [u8; 32],
    /// Step of the ladder, 1 to [`crate::limits::EFFORT_MAX`]. On any other nothing is a solution.
    pub effort: u8,
}

impl StoragePuzzle {
    /// What the trials are salted with: everything that a solution is bound to.
    #[must_use]
    pub fn challenge(&self) -> [u8; 32] {
        let hour = self.hour.to_be_bytes();
        blake3(&[b"bauta pow", &self.network, &hour, &self.location.0, &self.digest, &[self.effort]])
    }

    /// Whether this counter solves it: one Argon2id over 1 MiB.
    #[must_use]
    pub fn is_solved_by(&self, counter: u32) -> bool {
        let mut blocks = SCRATCH.lock().unwrap_or_else(PoisonError::into_inner);
        self.try_counter(&self.challenge(), counter, &mut blocks)
    }

    /// Tries so many counters from `from` on, after the greatest 0; `None` when none of them solves it. Who begins at a random one
    /// does not show how many it has tried.
    #[must_use]
    pub fn solve(&self, from: u32, trials: u32) -> Option<u32> {
        let (challenge, mut blocks) = (self.challenge(), Vec::new());
        (0..trials)
            .map(|tried| from.wrapping_add(tried))
            .find(|counter| self.try_counter(&challenge, *counter, &mut blocks))
    }

    fn try_counter(&self, challenge: &[u8; 32], counter: u32, blocks: &mut Vec<Block>) -> bool {
        let trials = EFFORT_TRIALS.get(usize::from(self.effort)).copied().unwrap_or(0);
        let Some(bits) = trials.checked_ilog2() else { return false };
        let y = argon2id(EFFORT_MEMORY_KIB, &counter.to_le_bytes(), challenge, blocks);
        y.is_some_and(|y| zero_bits(&y) >= bits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keyspace::Id;
    use crate::limits::EFFORT_MAX;

    const PUZZLE: StoragePuzzle =
        StoragePuzzle { network: [9; 32], hour: 494_000, location: Id([3; 20]), digest: [7; 32], effort: 1 };

    // [CRYPTO-R-016]
    #[test]
    fn a_solution_holds_for_its_network_hour_place_value_and_effort_alone() {
        let counter = PUZZLE.solve(5, 1_000).unwrap();
        assert!(PUZZLE.is_solved_by(counter));
        let others = [
            StoragePuzzle { network: [8; 32], ..PUZZLE },
            StoragePuzzle { hour: 494_001, ..PUZZLE },
            StoragePuzzle { location: Id([4; 20]), ..PUZZLE },
            StoragePuzzle { digest: [6; 32], ..PUZZLE },
            StoragePuzzle { effort: 2, ..PUZZLE },
        ];
        // One counter in 16 solves any puzzle by chance, so all that solve this one are looked at.
        let solved: Vec<u32> = (0..64).filter(|counter| PUZZLE.is_solved_by(*counter)).collect();
        assert!(!solved.is_empty());
        for other in others {
            assert_ne!(other.challenge(), PUZZLE.challenge());
            assert!(!solved.iter().all(|counter| other.is_solved_by(*counter)));
        }
    }

    #[test]
    fn off_the_ladder_and_at_its_foot_nothing_is_a_solution() {
        for effort in [0, EFFORT_MAX + 1, u8::MAX] {
            assert_eq!(StoragePuzzle { effort, ..PUZZLE }.solve(0, 64), None);
        }
    }

    // [CRYPTO-W-015]
    #[test]
    fn a_search_ends_when_its_trials_are_used_up_and_goes_on_after_the_greatest_counter() {
        let first = PUZZLE.solve(0, 1_000).unwrap();
        assert!(PUZZLE.solve(u32::MAX - 1, first + 3).is_some());
        assert_eq!(PUZZLE.solve(0, first), None);
        assert_eq!(PUZZLE.solve(0, 0), None);
    }
}
