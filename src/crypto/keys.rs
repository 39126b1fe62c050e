//! Key pairs: Ed25519 identities and X25519 link or onion keys. Secrets are wiped on drop, never printed, never compared.

use core::fmt;

use ed25519_dalek::{Signer, SigningKey, VerifyingKey};
use subtle::ConstantTimeEq;
use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::Zeroizing;

use super::{CryptoRng, Forged, random_bytes};
use crate::limits::KEY_LEN;

/// The public half of a relay's Ed25519 identity: what names a relay.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeKey(pub [u8; KEY_LEN]);

/// An X25519 public key, of a link or of an onion layer.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DhKey(pub [u8; KEY_LEN]);

/// An Ed25519 signature.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Signature(pub [u8; 64]);

/// The secret half of an Ed25519 identity.
#[derive(Clone)]
pub struct IdentitySecret(SigningKey);

/// The secret half of an X25519 key.
#[derive(Clone)]
pub struct DhSecret {
    secret: StaticSecret,
    public: DhKey,
}

impl IdentitySecret {
    /// A fresh identity.
    pub fn generate(rng: &mut dyn CryptoRng) -> Self {
        let seed = Zeroizing::new(random_bytes::<KEY_LEN>(rng));
        Self::from_bytes(&seed)
    }

    /// The identity of a 32-byte seed (RFC 8032 §5.1.5).
    #[must_use]
    pub fn from_bytes(seed: &[u8; KEY_LEN]) -> Self {
        Self(SigningKey::from_bytes(seed))
    }

    /// The 32-byte seed.
    #[must_use]
    pub fn to_bytes(&self) -> Zeroizing<[u8; KEY_LEN]> {
        Zeroizing::new(self.0.to_bytes())
    }

    /// The public half.
    #[must_use]
    pub fn public(&self) -> NodeKey {
        NodeKey(self.0.verifying_key().to_bytes())
    }

    /// Signs a message (RFC 8032 Ed25519).
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> Signature {
        Signature(self.0.sign(message).to_bytes())
    }

    /// The expanded secret, for blinding.
    pub(super) fn expanded(&self) -> ed25519_dalek::hazmat::ExpandedSecretKey {
        ed25519_dalek::hazmat::ExpandedSecretKey::from(&self.0.to_bytes())
    }
}

impl NodeKey {
    /// Verifies strictly: canonical encodings, no small-order points (`verify_strict`). Never in batch.
    ///
    /// # Errors
    /// [`Forged`] whatever the reason.
    pub fn verify(&self, message: &[u8], signature: &Signature) -> Result<(), Forged> {
        let key = VerifyingKey::from_bytes(&self.0).map_err(|_| Forged)?;
        let signature = ed25519_dalek::Signature::from_bytes(&signature.0);
        key.verify_strict(message, &signature).map_err(|_| Forged)
    }
}

impl DhSecret {
    /// A fresh key pair.
    pub fn generate(rng: &mut dyn CryptoRng) -> Self {
        let bytes = Zeroizing::new(random_bytes::<KEY_LEN>(rng));
        Self::from_bytes(&bytes)
    }

    /// The pair of 32 secret bytes (clamped on use, RFC 7748 §5).
    #[must_use]
    pub fn from_bytes(bytes: &[u8; KEY_LEN]) -> Self {
        let secret = StaticSecret::from(*bytes);
        let public = DhKey(PublicKey::from(&secret).to_bytes());
        Self { secret, public }
    }

    /// The 32 secret bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Zeroizing<[u8; KEY_LEN]> {
        Zeroizing::new(self.secret.to_bytes())
    }

    /// The public half.
    #[must_use]
    pub fn public(&self) -> DhKey {
        self.public
    }

    /// X25519 with a peer's key.
    ///
    /// # Errors
    /// [`Forged`] when the result is all zeros: a small-order key contributes nothing (RFC 7748 §6.1).
    pub fn agree(&self, peer: &DhKey) -> Result<Zeroizing<[u8; KEY_LEN]>, Forged> {
        let shared = self.secret.diffie_hellman(&PublicKey::from(peer.0));
        if shared.was_contributory() { Ok(Zeroizing::new(shared.to_bytes())) } else { Err(Forged) }
    }
}

/// Compares secrets without telling by the time where they differ.
#[must_use]
pub fn equal_in_constant_time(a: &[u8], b: &[u8]) -> bool {
    bool::from(a.ct_eq(b))
}

macro_rules! short_hex {
    ($($name:ty),*) => { $(
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().take(4).try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }
    )* };
}
short_hex!(NodeKey, DhKey, Signature);

impl fmt::Debug for IdentitySecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("IdentitySecret(..)")
    }
}

impl fmt::Debug for DhSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DhSecret(..)")
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::ChaCha20Rng;

    use super::*;

    // [CRYPTO-R-002]
    #[test]
    fn both_sides_agree_and_a_small_order_key_is_refused() {
        let mut rng = ChaCha20Rng::seed_from_u64(1);
        let (a, b) = (DhSecret::generate(&mut rng), DhSecret::generate(&mut rng));
        assert_eq!(*a.agree(&b.public()).unwrap(), *b.agree(&a.public()).unwrap());
        let mut one = [0; KEY_LEN];
        one[0] = 1;
        for small in [[0; KEY_LEN], one] {
            assert_eq!(a.agree(&DhKey(small)).unwrap_err(), Forged);
        }
    }

    #[test]
    fn a_signature_holds_for_its_message_and_key_alone() {
        let mut rng = ChaCha20Rng::seed_from_u64(2);
        let (one, other) = (IdentitySecret::generate(&mut rng), IdentitySecret::generate(&mut rng));
        let signature = one.sign(b"message");
        assert!(one.public().verify(b"message", &signature).is_ok());
        assert!(one.public().verify(b"messagf", &signature).is_err());
        assert!(other.public().verify(b"message", &signature).is_err());
    }

    #[test]
    fn secrets_are_not_printed() {
        let mut rng = ChaCha20Rng::seed_from_u64(3);
        assert_eq!(format!("{:?}", DhSecret::generate(&mut rng)), "DhSecret(..)");
        assert_eq!(format!("{:?}", IdentitySecret::generate(&mut rng)), "IdentitySecret(..)");
    }
}
