//! snow's primitives over our own dalek and RustCrypto versions: keys wiped, all-zero DH results refused.

use blake2::{Blake2s256, Digest};
use rand::rngs::ChaCha20Rng;
use rand::{Rng, SeedableRng};
use snow::Error;
use snow::params::{CipherChoice, DHChoice, HashChoice};
use snow::resolvers::CryptoResolver;
use snow::types::{Cipher, Dh, Hash, Random};

use super::aead::Key;
use super::keys::{DhKey, DhSecret};
use crate::limits::{KEY_LEN, TAG_LEN};

/// Resolves Noise's names to the primitives of this crate; ephemeral keys come from a generator of this seed, for one
/// handshake alone.
pub(super) struct Resolver(pub(super) zeroize::Zeroizing<[u8; 32]>);

impl CryptoResolver for Resolver {
    fn resolve_rng(&self) -> Option<Box<dyn Random>> {
        Some(Box::new(Generator(ChaCha20Rng::from_seed(*self.0))))
    }

    fn resolve_dh(&self, choice: &DHChoice) -> Option<Box<dyn Dh>> {
        match choice {
            DHChoice::Curve25519 => Some(Box::new(X25519::default())),
            _ => None,
        }
    }

    fn resolve_hash(&self, choice: &HashChoice) -> Option<Box<dyn Hash>> {
        match choice {
            HashChoice::Blake2s => Some(Box::new(Blake2s(Blake2s256::new()))),
            _ => None,
        }
    }

    fn resolve_cipher(&self, choice: &CipherChoice) -> Option<Box<dyn Cipher>> {
        match choice {
            CipherChoice::ChaChaPoly => Some(Box::new(ChaChaPoly(Key::new([0; 32])))),
            _ => None,
        }
    }
}

struct Generator(ChaCha20Rng);

impl Random for Generator {
    fn try_fill_bytes(&mut self, dest: &mut [u8]) -> Result<(), Error> {
        self.0.fill_bytes(dest);
        Ok(())
    }
}

struct X25519 {
    secret: DhSecret,
    /// snow asks for a slice of the secret; wiped when dropped.
    bytes: zeroize::Zeroizing<[u8; KEY_LEN]>,
    public: [u8; KEY_LEN],
}

impl Default for X25519 {
    fn default() -> Self {
        Self {
            secret: DhSecret::from_bytes(&[0; KEY_LEN]),
            bytes: zeroize::Zeroizing::new([0; KEY_LEN]),
            public: [0; KEY_LEN],
        }
    }
}

impl Dh for X25519 {
    fn name(&self) -> &'static str {
        "25519"
    }

    fn pub_len(&self) -> usize {
        KEY_LEN
    }

    fn priv_len(&self) -> usize {
        KEY_LEN
    }

    fn set(&mut self, privkey: &[u8]) {
        if let Some(bytes) = privkey.first_chunk::<KEY_LEN>() {
            self.bytes.copy_from_slice(bytes);
            self.secret = DhSecret::from_bytes(bytes);
            self.public = self.secret.public().0;
        }
    }

    fn generate(&mut self, rng: &mut dyn Random) -> Result<(), Error> {
        let mut bytes = zeroize::Zeroizing::new([0; KEY_LEN]);
        rng.try_fill_bytes(&mut *bytes)?;
        self.set(&*bytes);
        Ok(())
    }

    fn pubkey(&self) -> &[u8] {
        &self.public
    }

    fn privkey(&self) -> &[u8] {
        &*self.bytes
    }

    fn dh(&self, pubkey: &[u8], out: &mut [u8]) -> Result<(), Error> {
        let peer = DhKey(*pubkey.first_chunk::<KEY_LEN>().ok_or(Error::Dh)?);
        let shared = self.secret.agree(&peer).map_err(|_| Error::Dh)?;
        *out.first_chunk_mut::<KEY_LEN>().ok_or(Error::Dh)? = *shared;
        Ok(())
    }
}

struct Blake2s(Blake2s256);

impl Hash for Blake2s {
    fn name(&self) -> &'static str {
        "BLAKE2s"
    }

    fn block_len(&self) -> usize {
        64
    }

    fn hash_len(&self) -> usize {
        32
    }

    fn reset(&mut self) {
        self.0 = Blake2s256::new();
    }

    fn input(&mut self, data: &[u8]) {
        self.0.update(data);
    }

    fn result(&mut self, out: &mut [u8]) {
        if let Some(out) = out.first_chunk_mut::<32>() {
            *out = self.0.finalize_reset().into();
        }
    }
}

struct ChaChaPoly(Key);

impl Cipher for ChaChaPoly {
    fn name(&self) -> &'static str {
        "ChaChaPoly"
    }

    fn set(&mut self, key: &[u8; 32]) {
        self.0 = Key::new(*key);
    }

    fn encrypt(&self, nonce: u64, authtext: &[u8], plaintext: &[u8], out: &mut [u8]) -> usize {
        let Some((text, rest)) = out.split_at_mut_checked(plaintext.len()) else { return 0 };
        let Some(tag) = rest.first_chunk_mut::<TAG_LEN>() else { return 0 };
        text.copy_from_slice(plaintext);
        *tag = self.0.seal(nonce, authtext, text);
        plaintext.len() + TAG_LEN
    }

    fn decrypt(&self, nonce: u64, authtext: &[u8], ciphertext: &[u8], out: &mut [u8]) -> Result<usize, Error> {
        let (text, tag) = ciphertext.split_last_chunk::<TAG_LEN>().ok_or(Error::Decrypt)?;
        let out = out.get_mut(..text.len()).ok_or(Error::Decrypt)?;
        out.copy_from_slice(text);
        self.0.open(nonce, authtext, out, tag).map_err(|_| Error::Decrypt)?;
        Ok(text.len())
    }
}
