//! Authenticated encryption: ChaCha20-Poly1305 (RFC 8439) and XChaCha20-Poly1305, tags apart from the text; bare keystream.

use chacha20::ChaCha20;
use chacha20::cipher::{KeyIvInit, StreamCipher, StreamCipherSeek};
use chacha20poly1305::aead::AeadInOut;
use chacha20poly1305::{ChaCha20Poly1305, KeyInit, XChaCha20Poly1305};
use zeroize::{Zeroize, ZeroizeOnDrop};

use super::Forged;
use crate::limits::TAG_LEN;

/// Bytes of a ChaCha20 block; block 0 of an AEAD makes the Poly1305 key.
const BLOCK_LEN: u64 = 64;

/// A 32-byte symmetric key, wiped on drop.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct Key([u8; 32]);

/// A tag.
pub type Tag = [u8; TAG_LEN];

impl Key {
    /// The key of these bytes.
    #[must_use]
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes, for derivation alone.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Encrypts in place under a counter nonce as Noise writes it: four zeros, then the counter, little-endian.
    pub fn seal(&self, counter: u64, ad: &[u8], text: &mut [u8]) -> Tag {
        self.seal_under(&noise_nonce(counter), ad, text)
    }

    /// Under any nonce of 12 bytes, as other people's vectors have it.
    pub(super) fn seal_under(&self, nonce: &[u8; 12], ad: &[u8], text: &mut [u8]) -> Tag {
        let cipher = ChaCha20Poly1305::new(&self.0.into());
        match cipher.encrypt_inout_detached(&(*nonce).into(), ad, text.into()) {
            Ok(tag) => tag.into(),
            // Only a text of 256 GiB is refused, and none here passes 64 MiB.
            Err(_) => [0; TAG_LEN],
        }
    }

    /// Checks the tag, then decrypts in place; on failure the text is unchanged.
    ///
    /// # Errors
    /// [`Forged`] when the tag does not fit.
    pub fn open(&self, counter: u64, ad: &[u8], text: &mut [u8], tag: &Tag) -> Result<(), Forged> {
        self.open_under(&noise_nonce(counter), ad, text, tag)
    }

    /// Opens what [`Self::seal_under`] sealed.
    pub(super) fn open_under(&self, nonce: &[u8; 12], ad: &[u8], text: &mut [u8], tag: &Tag) -> Result<(), Forged> {
        let cipher = ChaCha20Poly1305::new(&self.0.into());
        cipher.decrypt_inout_detached(&(*nonce).into(), ad, text.into(), &(*tag).into()).map_err(|_| Forged)
    }

    /// XORs the keystream that [`Self::seal`] would use into `text`, from its byte `skip` on. No tag: the caller checks one.
    pub fn xor_keystream(&self, counter: u64, skip: usize, text: &mut [u8]) {
        self.xor_at(counter, BLOCK_LEN + u64::try_from(skip).unwrap_or(u64::MAX - BLOCK_LEN), text);
    }

    /// Bytes `skip..` of plain ChaCha20 (block 0 included) under the zero nonce: the filler streams of the onion.
    pub fn fill(&self, skip: usize, out: &mut [u8]) {
        out.fill(0);
        self.xor_at(0, u64::try_from(skip).unwrap_or(u64::MAX), out);
    }

    fn xor_at(&self, counter: u64, position: u64, text: &mut [u8]) {
        let mut stream = ChaCha20::new(&self.0.into(), &noise_nonce(counter).into());
        // Positions here stay below a cell's length; the cipher's own end is at 256 GiB.
        if stream.try_seek(position).is_ok() {
            stream.apply_keystream(text);
        }
    }

    /// Encrypts in place under a random 24-byte nonce.
    pub fn seal_extended(&self, nonce: &[u8; 24], ad: &[u8], text: &mut [u8]) -> Tag {
        let cipher = XChaCha20Poly1305::new(&self.0.into());
        match cipher.encrypt_inout_detached(&(*nonce).into(), ad, text.into()) {
            Ok(tag) => tag.into(),
            Err(_) => [0; TAG_LEN],
        }
    }

    /// Checks the tag, then decrypts in place.
    ///
    /// # Errors
    /// [`Forged`] when the tag does not fit.
    pub fn open_extended(&self, nonce: &[u8; 24], ad: &[u8], text: &mut [u8], tag: &Tag) -> Result<(), Forged> {
        let cipher = XChaCha20Poly1305::new(&self.0.into());
        cipher.decrypt_inout_detached(&(*nonce).into(), ad, text.into(), &(*tag).into()).map_err(|_| Forged)
    }
}

impl core::fmt::Debug for Key {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Key(..)")
    }
}

fn noise_nonce(counter: u64) -> [u8; 12] {
    let mut nonce = [0; 12];
    if let Some(tail) = nonce.last_chunk_mut::<8>() {
        *tail = counter.to_le_bytes();
    }
    nonce
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_keystream_is_the_one_that_sealing_uses() {
        let key = Key::new([7; 32]);
        let mut sealed = *b"a text of some length, longer than one block of sixty-four bytes, to be sure";
        let plain = sealed;
        key.seal(9, b"ad", &mut sealed);
        let mut tail = sealed;
        key.xor_keystream(9, 0, &mut tail);
        assert_eq!(tail, plain);
        let mut part = [0; 10];
        part.copy_from_slice(&sealed[60..70]);
        key.xor_keystream(9, 60, &mut part);
        assert_eq!(part, plain[60..70]);
    }

    // [CRYPTO-R-003]
    #[test]
    fn a_changed_tag_text_counter_or_ad_is_refused_and_leaves_the_text_alone() {
        let key = Key::new([1; 32]);
        let mut text = *b"text";
        let tag = key.seal(0, b"ad", &mut text);
        let mut bad_tag = tag;
        bad_tag[15] ^= 1;
        for (counter, ad, tag) in [(0, &b"ad"[..], &bad_tag), (1, b"ad", &tag), (0, b"aD", &tag)] {
            let mut copy = text;
            assert_eq!(key.open(counter, ad, &mut copy, tag), Err(Forged));
            assert_eq!(copy, text);
        }
        assert!(key.open(0, b"ad", &mut text, &tag).is_ok());
        assert_eq!(&text, b"text");
    }
}
