//! Blinded Ed25519 keys: one author key gives unlinkable signing keys, one for each label and location.
//!
//! Source: Tor's proposal 224 (rend-spec-v3, appendix A) with a 32-byte secret mixed in; spec/crypto.md §5.

use curve25519_dalek::edwards::CompressedEdwardsY;
use curve25519_dalek::scalar::Scalar;
use ed25519_dalek::VerifyingKey;
use ed25519_dalek::hazmat::{ExpandedSecretKey, raw_sign};
use sha2::{Digest, Sha512};
use zeroize::Zeroizing;

use super::Forged;
use super::kdf::{Label, derive};
use super::keys::{IdentitySecret, NodeKey, Signature};

/// The secret of one label of an author: who holds it (from the link) can derive the blinded keys and read.
#[derive(Clone)]
pub struct LabelSecret(Zeroizing<[u8; 32]>);

/// A blinded signing key: signs values of one label at one location.
pub struct BlindedSecret {
    expanded: ExpandedSecretKey,
    public: NodeKey,
}

impl LabelSecret {
    /// Derived by the author, from the identity's seed and the label.
    #[must_use]
    pub fn derive(author: &IdentitySecret, label: &[u8]) -> Self {
        Self(derive(Label::LabelSecret, &[&*author.to_bytes(), label]))
    }

    /// As it stands in a link.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// The 32 bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl core::fmt::Debug for LabelSecret {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("LabelSecret(..)")
    }
}

fn factor(author: &NodeKey, label: &[u8], secret: &LabelSecret, index: u8) -> Result<Zeroizing<Scalar>, Forged> {
    let mut hasher = Sha512::new();
    hasher.update(b"bauta/1 blind");
    hasher.update(author.0);
    hasher.update(label);
    hasher.update(*secret.0);
    hasher.update([index]);
    let wide: Zeroizing<[u8; 64]> = Zeroizing::new(hasher.finalize().into());
    let factor = Zeroizing::new(Scalar::from_bytes_mod_order_wide(&wide));
    if *factor == Scalar::ZERO { Err(Forged) } else { Ok(factor) }
}

/// The blinded public key of one label at one location (index 0, 1, 2).
///
/// # Errors
/// [`Forged`] when the author's key is no point, of small order or not torsion-free, or the factor is zero.
pub fn blind_public(author: &NodeKey, label: &[u8], secret: &LabelSecret, index: u8) -> Result<NodeKey, Forged> {
    let point = CompressedEdwardsY(author.0).decompress().ok_or(Forged)?;
    // A non-canonical encoding of a point would be a second name for the same author.
    if point.is_small_order() || !point.is_torsion_free() || point.compress().0 != author.0 {
        return Err(Forged);
    }
    let factor = factor(author, label, secret, index)?;
    Ok(NodeKey((point * *factor).compress().0))
}

impl BlindedSecret {
    /// The blinded secret of one label at one location.
    ///
    /// # Errors
    /// [`Forged`] when the factor is zero (never met).
    pub fn new(author: &IdentitySecret, label: &[u8], secret: &LabelSecret, index: u8) -> Result<Self, Forged> {
        let factor = factor(&author.public(), label, secret, index)?;
        let base = author.expanded();
        // A prefix shared between keys with related scalars would give the author's key away.
        let hash_prefix = *derive(Label::BlindPrefix, &[&base.hash_prefix, factor.as_bytes()]);
        let expanded = ExpandedSecretKey { scalar: base.scalar * *factor, hash_prefix };
        let public = NodeKey(VerifyingKey::from(&expanded).to_bytes());
        Ok(Self { expanded, public })
    }

    /// The blinded public key.
    #[must_use]
    pub fn public(&self) -> NodeKey {
        self.public
    }

    /// Signs a message; [`NodeKey::verify`] of the blinded public key accepts it.
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> Signature {
        let key = VerifyingKey::from(&self.expanded);
        Signature(raw_sign::<Sha512>(&self.expanded, message, &key).to_bytes())
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::ChaCha20Rng;

    use super::*;

    // [CRYPTO-W-007]
    #[test]
    fn reader_and_author_derive_the_same_key_and_its_signatures_verify() {
        let author = IdentitySecret::generate(&mut ChaCha20Rng::seed_from_u64(1));
        let secret = LabelSecret::derive(&author, b"label");
        let mut seen = std::collections::BTreeSet::new();
        for (label, index) in [(&b"label"[..], 0), (b"label", 1), (b"label", 2), (b"other", 0)] {
            let blinded = BlindedSecret::new(&author, label, &secret, index).unwrap();
            assert_eq!(blind_public(&author.public(), label, &secret, index).unwrap(), blinded.public());
            let signature = blinded.sign(b"value");
            assert!(blinded.public().verify(b"value", &signature).is_ok());
            assert!(author.public().verify(b"value", &signature).is_err());
            assert!(seen.insert(blinded.public()), "labels and locations share no key");
        }
    }

    // [CRYPTO-R-008]
    #[test]
    fn small_order_torsioned_and_non_canonical_author_keys_are_refused() {
        let secret = LabelSecret::from_bytes([1; 32]);
        let mut identity = [0; 32];
        identity[0] = 1;
        let mut non_canonical = [0xff; 32];
        non_canonical[0] = 0xee;
        non_canonical[31] = 0x7f;
        let author = IdentitySecret::generate(&mut ChaCha20Rng::seed_from_u64(1)).public();
        let torsion = curve25519_dalek::constants::EIGHT_TORSION[1];
        let torsioned = (CompressedEdwardsY(author.0).decompress().unwrap() + torsion).compress().0;
        for key in [identity, non_canonical, torsioned, torsion.compress().0] {
            assert_eq!(blind_public(&NodeKey(key), b"label", &secret, 0), Err(Forged));
        }
    }
}
