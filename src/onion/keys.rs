//! A relay's onion keys: the present one and, for an hour, the one before. Source: spec/onion.md §2.

use super::layout::prologue;
use crate::crypto::CryptoRng;
use crate::crypto::keys::{DhKey, DhSecret, NodeKey};
use crate::limits::{ONION_KEY_LIFE_S, ONION_KEY_OVERLAP_S};
use crate::time::{Duration, Instant, Now};
use crate::wire::network::{Network, SUITE};

struct OnionKey {
    secret: DhSecret,
    epoch: u32,
    born: Instant,
    prologue: Vec<u8>,
}

/// The onion keys of a relay. A restarted relay makes new ones: nothing sent before opens again.
pub struct OnionKeys {
    network: Network,
    relay: NodeKey,
    present: OnionKey,
    previous: Option<OnionKey>,
}

/// The secrets that may open one build packet, by its hint.
#[derive(Clone)]
pub struct OnionSecrets {
    pub(super) candidates: Vec<(DhSecret, Vec<u8>)>,
}

impl OnionKeys {
    /// First keys, from now on.
    pub fn new(network: Network, relay: NodeKey, now: Now, rng: &mut dyn CryptoRng) -> Self {
        let present = OnionKey::generate(&network, &relay, now.unix.to_wire(), now.instant, rng);
        Self { network, relay, present, previous: None }
    }

    /// Public key and epoch, for the descriptor.
    #[must_use]
    pub fn public(&self) -> (DhKey, u32) {
        (self.present.secret.public(), self.present.epoch)
    }

    /// Replaces a key past its life, drops (and so wipes) the one before past its overlap. True when the public key changed.
    /// Ages are of the monotonic clock: a wall clock that is set back keeps no key alive.
    pub fn rotate(&mut self, now: Now, rng: &mut dyn CryptoRng) -> bool {
        let age = self.present.born.until(now.instant);
        if age >= Duration::from_secs(ONION_KEY_LIFE_S) {
            let mut epoch = now.unix.to_wire();
            if epoch.to_be_bytes()[3] == self.present.epoch.to_be_bytes()[3] {
                // Hints of the two keys must differ.
                epoch = epoch.saturating_add(1);
            }
            let fresh = OnionKey::generate(&self.network, &self.relay, epoch, now.instant, rng);
            self.previous = Some(core::mem::replace(&mut self.present, fresh));
            return true;
        }
        if age >= Duration::from_secs(ONION_KEY_OVERLAP_S) {
            self.previous = None;
        }
        false
    }

    /// The secrets that a packet with this suite and hint may be for; empty when there is none.
    #[must_use]
    pub fn secrets(&self, suite: u8, hint: u8) -> OnionSecrets {
        let known = core::iter::once(&self.present).chain(&self.previous);
        let fitting = known.filter(|key| suite == SUITE && key.epoch.to_be_bytes()[3] == hint);
        OnionSecrets { candidates: fitting.map(|key| (key.secret.clone(), key.prologue.clone())).collect() }
    }
}

impl OnionKey {
    fn generate(network: &Network, relay: &NodeKey, epoch: u32, born: Instant, rng: &mut dyn CryptoRng) -> Self {
        Self { secret: DhSecret::generate(rng), epoch, born, prologue: prologue(network, SUITE, relay, epoch) }
    }
}

impl core::fmt::Debug for OnionSecrets {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("OnionSecrets(..)")
    }
}
