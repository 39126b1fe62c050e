//! Identity puzzles that held, remembered for the whole process. Sound to share: the check is a pure function.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use crate::crypto::hash::blake3;
use crate::crypto::keys::NodeKey;
use crate::crypto::puzzle::Solution;
use crate::limits::PUZZLES_CACHED_MAX;
use crate::node::machine::Puzzles;

/// Two generations: when the younger is full it becomes the older, and the older is forgotten.
#[derive(Default)]
pub struct PuzzleCache(Mutex<Generations>);

#[derive(Default)]
struct Generations {
    young: BTreeSet<[u8; 32]>,
    old: BTreeSet<[u8; 32]>,
}

impl Generations {
    fn insert(&mut self, digest: [u8; 32]) {
        if self.young.len() >= PUZZLES_CACHED_MAX / 2 {
            self.old = core::mem::take(&mut self.young);
        }
        self.young.insert(digest);
    }

    fn contains(&mut self, digest: &[u8; 32]) -> bool {
        if self.young.contains(digest) {
            return true;
        }
        let known = self.old.contains(digest);
        if known {
            self.insert(*digest);
        }
        known
    }
}

impl Puzzles for PuzzleCache {
    fn check(&self, solution: &Solution, network: &[u8; 32], key: &NodeKey, difficulty: u8) -> bool {
        // The zero bits are seen at sight; what is dear is whether `y` belongs to key and counter.
        if !solution.looks_solved(difficulty) {
            return false;
        }
        let digest = blake3(&[network, &key.0, &solution.counter.to_be_bytes(), &solution.y]);
        let lock = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if lock().contains(&digest) {
            return true;
        }
        // Not under the lock. Only what holds is remembered: forgeries cost their checker, not its memory.
        let holds = solution.verify(network, key, difficulty);
        if holds {
            lock().insert(digest);
        }
        holds
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::puzzle::solve;

    #[test]
    fn the_cache_says_what_the_check_says_the_second_time_too() {
        let (cache, network, key) = (PuzzleCache::default(), [1; 32], NodeKey([2; 32]));
        let solution = solve(&network, &key, 1, 0, 100).unwrap();
        let forged = Solution { counter: solution.counter + 1, ..solution };
        for _ in 0..2 {
            assert!(cache.check(&solution, &network, &key, 1));
            assert!(!cache.check(&forged, &network, &key, 0));
            assert!(!cache.check(&solution, &[3; 32], &key, 1));
            assert!(!cache.check(&solution, &network, &key, 250));
        }
        assert_eq!(cache.0.lock().unwrap().young.len(), 1);
    }

    #[test]
    fn memory_stays_below_the_cap_and_what_is_used_stays() {
        let mut generations = Generations::default();
        let digest = |n: usize| blake3(&[&n.to_be_bytes()]);
        generations.insert(digest(0));
        for n in 1..=2 * PUZZLES_CACHED_MAX {
            generations.insert(digest(n));
            assert!(generations.contains(&digest(0)));
            assert!(generations.young.len() + generations.old.len() <= PUZZLES_CACHED_MAX);
        }
        assert!(!generations.contains(&digest(1)));
    }
}
