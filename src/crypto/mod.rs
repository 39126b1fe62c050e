//! The only room that names cipher crates: keys, hashes, key derivation, AEAD, Noise, blinding, the identity puzzle.
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

pub use rand::CryptoRng;

/// Something did not authenticate. Deliberately says nothing more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("failed to authenticate")]
pub struct Forged;

/// Draws `N` random bytes.
pub fn random_bytes<const N: usize>(rng: &mut dyn CryptoRng) -> [u8; N] {
    let mut bytes = [0; N];
    rng.fill_bytes(&mut bytes);
    bytes
}
