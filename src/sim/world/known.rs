//! What was checked once in a world is not checked again: descriptors and values, interned, so that ten thousand nodes hold one
//! copy of each. A check is a pure function of bytes and time; identity puzzles are solved by a token. Knows no node.

use std::collections::BTreeMap;

use crate::crypto::CryptoRng;
use crate::crypto::hash::blake3;
use crate::crypto::keys::NodeKey;
use crate::crypto::puzzle::Solution;
use crate::limits::{CLOCK_SKEW_S, DESCRIPTOR_LIFE_S, EXPIRY_MAX_S};
use crate::node::machine::Puzzles;
use crate::node::work::{Done, Job, run};
use crate::record::VerifiedValue;
use crate::time::UnixTime;
use crate::wire::descriptor::{SignedDescriptor, VerifiedDescriptor};
use crate::wire::network::Network;
use crate::wire::record::Value;

/// In a world the identity puzzle costs nothing: its answer is a hash of key and counter.
pub(super) struct TokenPuzzles;

/// The token for a puzzle's answer.
pub(super) fn token_solution(key: &NodeKey, counter: u32) -> Solution {
    Solution { counter, y: blake3(&[b"bauta sim puzzle", &key.0, &counter.to_le_bytes()]) }
}

impl Puzzles for TokenPuzzles {
    fn check(&self, solution: &Solution, _network: &[u8; 32], key: &NodeKey, difficulty: u8) -> bool {
        *solution == token_solution(key, solution.counter) && solution.looks_solved(difficulty)
    }
}

/// Everything that was checked.
#[derive(Default)]
pub(super) struct Known {
    descriptors: BTreeMap<(NodeKey, u32), VerifiedDescriptor>,
    values: BTreeMap<[u8; 32], VerifiedValue>,
    swept_at: UnixTime,
}

impl Known {
    /// Does a job as a work pool does, but each check once.
    pub(super) fn work(&mut self, job: Job, rng: &mut dyn CryptoRng) -> Done {
        match job {
            Job::CheckDescriptors { network, descriptors, now } => {
                let check = |signed| self.descriptor(&network, signed, now);
                Done::Descriptors(descriptors.into_iter().filter_map(check).collect())
            }
            Job::CheckValue { network, value, now } => Done::Value(self.value(&network, value, now).map(Box::new)),
            job => run(job, &TokenPuzzles, rng),
        }
    }

    /// A descriptor as a node's own check would have it.
    pub(super) fn descriptor(
        &mut self,
        network: &Network,
        signed: SignedDescriptor,
        now: UnixTime,
    ) -> Option<VerifiedDescriptor> {
        self.sweep(now);
        let claim = signed.claim();
        if let Some(known) = self.descriptors.get(&claim).filter(|known| known.as_bytes() == signed.as_bytes()) {
            let issued = u64::from(known.issued);
            let is_timely = issued <= now.0 + CLOCK_SKEW_S && now.0 <= issued + DESCRIPTOR_LIFE_S;
            return is_timely.then(|| known.clone());
        }
        let checked = signed.verify_with(network, now, |solution, network, key, difficulty| {
            TokenPuzzles.check(solution, network, key, difficulty)
        });
        let checked = checked.ok()?;
        self.descriptors.insert(claim, checked.clone());
        Some(checked)
    }

    fn value(&mut self, network: &Network, value: Value, now: UnixTime) -> Option<VerifiedValue> {
        let (digest, expiry) = match &value {
            Value::Signed(record) => (record.digest(), None),
            Value::Hashed(chunk) => (chunk.hash, Some(chunk.expiry)),
        };
        // A chunk's expiry is not under its hash: what has another one is another value.
        let is_it =
            |known: &&VerifiedValue| expiry.is_none_or(|expiry| known.expiry() == expiry) && *known.value() == value;
        if let Some(known) = self.values.get(&digest).filter(is_it) {
            let end = known.expiry().time().0;
            return (end > now.0 && end <= now.0 + EXPIRY_MAX_S).then(|| known.clone());
        }
        let checked = VerifiedValue::check(network, value, now).ok()?;
        self.values.insert(digest, checked.clone());
        Some(checked)
    }

    /// Once an hour, what no node can hold any more is forgotten.
    fn sweep(&mut self, now: UnixTime) {
        if now.0 < self.swept_at.0 + 3_600 {
            return;
        }
        self.swept_at = now;
        let oldest = now.0.saturating_sub(DESCRIPTOR_LIFE_S + CLOCK_SKEW_S);
        self.descriptors.retain(|(_, issued), _| u64::from(*issued) >= oldest);
        self.values.retain(|_, value| value.expiry().time() > now);
    }
}
