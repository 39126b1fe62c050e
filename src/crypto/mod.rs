//! The only room that names cipher crates: keys, hashes, key derivation, AEAD, Noise, blinding, the two puzzles.
//!
//! Randomness comes in as `&mut dyn CryptoRng`. All failures to authenticate look the same: [`Forged`].
//! Source: `spec/crypto.md`.

pub mod aead;
pub mod blind;
pub mod hash;
pub mod kdf;
pub mod keys;
pub mod nk;
pub mod noise_ik;
pub mod puzzle;
mod resolver;
pub mod sealed;
pub mod storage_puzzle;
pub mod stretch;
#[cfg(test)]
mod tests;

pub use rand::CryptoRng;

/// Something did not authenticate. Deliberately says nothing more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("failed to authenticate")]
pub struct Forged;

/// Replaces a generator by one that is seeded with its own output: what it gave before cannot be computed any more from what it
/// is now (fast key erasure). Called after keys were drawn.
pub fn forget_past(rng: &mut rand::rngs::ChaCha20Rng) {
    let seed = zeroize::Zeroizing::new(random_bytes(rng));
    *rng = <rand::rngs::ChaCha20Rng as rand::SeedableRng>::from_seed(*seed);
}

/// Draws `N` random bytes.
pub fn random_bytes<const N: usize>(rng: &mut dyn CryptoRng) -> [u8; N] {
    let mut bytes = [0; N];
    rng.fill_bytes(&mut bytes);
    bytes
}
