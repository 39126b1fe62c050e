//! The identity puzzle: Argon2id makes each place in the keyspace cost memory and time, so that ids next to a key are dear.
//!
//! Source: RFC 9106; spec/crypto.md §6.

use std::sync::{Mutex, PoisonError};

use argon2::{Algorithm, Argon2, Block, Params, Version};

use super::hash::{blake3, node_id};
use super::keys::NodeKey;
use crate::keyspace::Id;

/// Memory of one trial, KiB.
const MEMORY_KIB: u32 = 4 << 10;

/// Memory of a trial, one for the process: allocated and freed each time, it would leave the heap in pieces of 4 MiB, and kept
/// by each thread it would be half of an idle relay. No result depends on what it held before, and nothing in it is secret.
static SCRATCH: Mutex<Vec<Block>> = Mutex::new(Vec::new());

/// What a relay shows for its id: a counter found by trial, and what Argon2id makes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Solution {
    /// The counter of the trial that had enough zero bits.
    pub counter: u32,
    /// Argon2id's 32 bytes for that counter.
    pub y: [u8; 32],
}

impl Solution {
    /// The node id that follows from key and solution.
    #[must_use]
    pub fn id(&self, key: &NodeKey) -> Id {
        node_id(key, &self.y)
    }

    /// Whether `y` shows the zero bits that the network asks for: cheap, at sight.
    #[must_use]
    pub fn looks_solved(&self, difficulty: u8) -> bool {
        zero_bits(&self.y) >= u32::from(difficulty)
    }

    /// Whether `y` is what Argon2id makes of key and counter: dear (4 MiB), once for each member before its first use.
    #[must_use]
    pub fn verify(&self, network: &[u8; 32], key: &NodeKey, difficulty: u8) -> bool {
        self.looks_solved(difficulty) && trial(network, key, self.counter) == Some(self.y)
    }
}

/// Zero bits with which BLAKE3 of what Argon2id gave begins.
pub(super) fn zero_bits(y: &[u8; 32]) -> u32 {
    let mut zeros = 0;
    for byte in blake3(&[y]) {
        zeros += byte.leading_zeros();
        if byte != 0 {
            break;
        }
    }
    zeros
}

/// Argon2id of one pass and one lane over so much memory; `blocks` grows to it, and what it held does not count.
pub(super) fn argon2id(memory_kib: u32, input: &[u8], salt: &[u8; 32], blocks: &mut Vec<Block>) -> Option<[u8; 32]> {
    let params = Params::new(memory_kib, 1, 1, Some(32)).ok()?;
    let mut y = [0; 32];
    blocks.resize(params.block_count(), Block::new());
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    argon2.hash_password_into_with_memory(input, salt, &mut y, blocks).ok()?;
    Some(y)
}

fn trial(network: &[u8; 32], key: &NodeKey, counter: u32) -> Option<[u8; 32]> {
    let mut input = [0; 36];
    input.iter_mut().zip(key.0.iter().chain(&counter.to_le_bytes())).for_each(|(to, from)| *to = *from);
    argon2id(MEMORY_KIB, &input, network, &mut SCRATCH.lock().unwrap_or_else(PoisonError::into_inner))
}

/// Tries counters `from..from + trials`; `None` when none of them has enough zero bits.
#[must_use]
pub fn solve(network: &[u8; 32], key: &NodeKey, difficulty: u8, from: u32, trials: u32) -> Option<Solution> {
    (from..from.saturating_add(trials)).find_map(|counter| {
        let solution = Solution { counter, y: trial(network, key, counter)? };
        solution.looks_solved(difficulty).then_some(solution)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    // [CRYPTO-R-010]
    #[test]
    fn a_solution_verifies_for_its_key_and_network_alone() {
        let (network, key) = ([9; 32], NodeKey([3; 32]));
        let solution = solve(&network, &key, 2, 0, 200).unwrap();
        assert!(solution.verify(&network, &key, 2));
        assert!(!solution.verify(&[8; 32], &key, 2));
        assert!(!solution.verify(&network, &NodeKey([4; 32]), 2));
        assert!(!Solution { counter: solution.counter + 1, ..solution }.verify(&network, &key, 2));
        assert!(!solution.verify(&network, &key, 200));
    }

    #[test]
    fn a_search_ends_when_its_trials_are_used_up() {
        assert_eq!(solve(&[9; 32], &NodeKey([3; 32]), 255, 0, 2), None);
    }
}
