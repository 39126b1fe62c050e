//! A relay's identity on disk: who it is, and the number of its last descriptor. Source: spec/state.md §9.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::crypto::CryptoRng;
use crate::crypto::keys::{DhSecret, IdentitySecret, NodeKey};
use crate::crypto::puzzle::{Solution, solve};
use crate::disk::{StateDir, StateError};
use crate::keyspace::Id;
use crate::limits::CLOCK_SKEW_S;
use crate::time::UnixTime;
use crate::wire::network::Network;

const FILE: &str = "relay";
/// Counters tried before somebody may stop the search; each try takes some milliseconds.
const TRIALS_AT_ONCE: u32 = 64;

#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Kept {
    identity: Zeroizing<[u8; 32]>,
    link: Zeroizing<[u8; 32]>,
    counter: u32,
    y: [u8; 32],
    issued: u32,
}

/// Who a relay is.
pub(super) struct Identity {
    pub(super) secret: Arc<IdentitySecret>,
    pub(super) link: DhSecret,
    pub(super) solution: Solution,
    /// Number of the last descriptor; 0 for none.
    pub(super) issued: u32,
}

impl Identity {
    /// The identity that is kept, or a new one, which then is.
    pub(super) fn open(state: &StateDir, network: &Network, rng: &mut dyn CryptoRng) -> anyhow::Result<Self> {
        if let Some(kept) = state.read::<Kept>(FILE)? {
            return Ok(kept.into());
        }
        let (secret, link) = (IdentitySecret::generate(rng), DhSecret::generate(rng));
        let solved = (0..=u32::MAX / TRIALS_AT_ONCE).find_map(|turn| {
            solve(&network.id, &secret.public(), network.difficulty, turn * TRIALS_AT_ONCE, TRIALS_AT_ONCE)
        });
        let Some(Solution { counter, y }) = solved else {
            anyhow::bail!("the identity puzzle of this network has no solution for this key");
        };
        let made = Kept { identity: secret.to_bytes(), link: link.to_bytes(), counter, y, issued: 0 };
        // Of two that start at once, the first decides.
        Ok(state.update(FILE, |held: Option<Kept>| held.unwrap_or_else(|| made.clone()))?.into())
    }

    /// The key of the relay that is kept here, if there is one: no path of its owner goes through it.
    pub(super) fn key_in(state: &StateDir) -> Result<Option<NodeKey>, StateError> {
        Ok(state.read::<Kept>(FILE)?.map(|kept| Self::from(kept).secret.public()))
    }

    /// Its id in the keyspace.
    pub(super) fn id(&self) -> Id {
        self.solution.id(&self.secret.public())
    }

    /// The key that links to it prove.
    pub(super) fn link_key(&self) -> crate::crypto::keys::DhKey {
        self.link.public()
    }

    /// A clock that was once far ahead has left a number that nobody would take now.
    pub(super) fn check_clock(&self, now: UnixTime) -> anyhow::Result<()> {
        let issued = u64::from(self.issued);
        if issued > now.0.saturating_add(CLOCK_SKEW_S) {
            anyhow::bail!(
                "the last descriptor of this relay is {} s ahead of this clock: set the clock; if it is right, it was wrong \
                 before, and this identity can be used again only then (a new state directory makes a new one)",
                issued - now.0
            );
        }
        Ok(())
    }

    /// Keeps the number of a descriptor that was signed.
    pub(super) fn remember_issued(state: &StateDir, issued: u32) -> Result<(), StateError> {
        let Some(mut kept) = state.read::<Kept>(FILE)? else { return Ok(()) };
        kept.issued = kept.issued.max(issued);
        state.write(FILE, &kept)
    }
}

impl From<Kept> for Identity {
    fn from(kept: Kept) -> Self {
        Self {
            secret: Arc::new(IdentitySecret::from_bytes(&kept.identity)),
            link: DhSecret::from_bytes(&kept.link),
            solution: Solution { counter: kept.counter, y: kept.y },
            issued: kept.issued,
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::ChaCha20Rng;

    use super::*;

    #[test]
    fn a_relay_is_the_same_after_a_restart_and_its_numbers_only_grow() {
        let home = tempfile::tempdir().unwrap();
        let state = StateDir::open(home.path().join("state")).unwrap();
        let (network, mut rng) = (Network::named("test", 1), ChaCha20Rng::seed_from_u64(1));
        let first = Identity::open(&state, &network, &mut rng).unwrap();
        for (issued, newest) in [(7, 7), (5, 7), (9, 9)] {
            Identity::remember_issued(&state, issued).unwrap();
            let again = Identity::open(&state, &network, &mut rng).unwrap();
            assert_eq!((again.id(), again.link_key(), again.issued), (first.id(), first.link_key(), newest));
        }
        let kept = Identity::open(&state, &network, &mut rng).unwrap();
        assert!(kept.check_clock(UnixTime(9)).is_ok());
        Identity::remember_issued(&state, 10_000).unwrap();
        let ahead = Identity::open(&state, &network, &mut rng).unwrap();
        assert!(ahead.check_clock(UnixTime(10_000 - CLOCK_SKEW_S)).is_ok());
        assert!(ahead.check_clock(UnixTime(9_999 - CLOCK_SKEW_S)).is_err());
        assert!(first.solution.verify(&network.id, &first.secret.public(), 1));
    }
}
