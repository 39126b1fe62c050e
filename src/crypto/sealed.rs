//! A secret key at rest under a passphrase. It must not know where it is kept. Source: spec/crypto.md §8.

use zeroize::Zeroizing;

use super::aead::{Key, Tag};
use super::keys::{IdentitySecret, NodeKey};
use super::stretch::stretch;
use super::{CryptoRng, Forged, random_bytes};

/// An identity's secret, sealed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SealedSecret {
    /// The public half, in the open: a list of keys needs no passphrase.
    pub public: NodeKey,
    /// Salt of the passphrase.
    pub salt: [u8; 32],
    /// Nonce of the seal.
    pub nonce: [u8; 24],
    /// The secret, encrypted.
    pub text: [u8; 32],
    /// Its tag.
    pub tag: Tag,
}

const AD: &[u8] = b"bauta/1 sealed key";

impl SealedSecret {
    /// Seals. As dear as [`stretch`].
    ///
    /// # Errors
    /// [`Forged`] when the passphrase cannot be stretched.
    pub fn seal(secret: &IdentitySecret, passphrase: &[u8], rng: &mut dyn CryptoRng) -> Result<Self, Forged> {
        let (public, salt, nonce) = (secret.public(), random_bytes(rng), random_bytes(rng));
        let mut text = secret.to_bytes();
        let tag = key(passphrase, &salt)?.seal_extended(&nonce, &[AD, &public.0].concat(), &mut *text);
        Ok(Self { public, salt, nonce, text: *text, tag })
    }

    /// Opens.
    ///
    /// # Errors
    /// [`Forged`] for a wrong passphrase or changed bytes, without saying which.
    pub fn open(&self, passphrase: &[u8]) -> Result<IdentitySecret, Forged> {
        let mut text = Zeroizing::new(self.text);
        let ad = [AD, &self.public.0].concat();
        key(passphrase, &self.salt)?.open_extended(&self.nonce, &ad, &mut *text, &self.tag)?;
        let secret = IdentitySecret::from_bytes(&text);
        if secret.public() == self.public { Ok(secret) } else { Err(Forged) }
    }
}

fn key(passphrase: &[u8], salt: &[u8; 32]) -> Result<Key, Forged> {
    stretch(passphrase, salt).map(|key| Key::new(*key)).ok_or(Forged)
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::ChaCha20Rng;

    use super::*;

    // [CRYPTO-W-013]
    #[test]
    fn a_sealed_secret_opens_with_its_passphrase_alone_and_not_once_it_was_changed() {
        let secret = IdentitySecret::from_bytes(&[5; 32]);
        let sealed = SealedSecret::seal(&secret, b"correct horse", &mut ChaCha20Rng::seed_from_u64(1)).unwrap();
        assert_eq!(sealed.open(b"correct horse").unwrap().public(), secret.public());
        assert_eq!(sealed.open(b"correct house").map(|_| ()), Err(Forged));
        let flips: [fn(&mut SealedSecret); 5] = [
            |sealed| sealed.public.0[0] ^= 1,
            |sealed| sealed.salt[0] ^= 1,
            |sealed| sealed.nonce[0] ^= 1,
            |sealed| sealed.text[0] ^= 1,
            |sealed| sealed.tag[0] ^= 1,
        ];
        for flip in flips {
            let mut changed = sealed.clone();
            flip(&mut changed);
            assert_eq!(changed.open(b"correct horse").map(|_| ()), Err(Forged));
        }
    }
}
