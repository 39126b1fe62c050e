//! One chunk: 64 KiB of a file, padded, sealed under a key of its own. Equal content never gives equal chunks.
//! Source: spec/content.md §2.

use crate::crypto::aead::Key;
use crate::crypto::hash::blake3;
use crate::crypto::kdf::{Label, derive};
use crate::crypto::{CryptoRng, random_bytes};
use crate::limits::{CHUNK_LEN, SEALED_CHUNK_LEN, TAG_LEN};
use crate::request::SealedChunk;

/// The random secret of one publication, from which its chunk keys follow. No convergent encryption: who guesses the content
/// cannot confirm the guess.
#[derive(Clone)]
pub struct PublicationSecret(zeroize::Zeroizing<[u8; 32]>);

/// Why a chunk does not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChunkRefused {
    /// The content is longer than a chunk.
    #[error("a chunk has at most {CHUNK_LEN} bytes")]
    TooLong,
    /// It does not authenticate, or its padding is not zeros.
    #[error("chunk: forged or damaged")]
    Forged,
}

impl PublicationSecret {
    /// A fresh one.
    pub fn generate(rng: &mut dyn CryptoRng) -> Self {
        Self(zeroize::Zeroizing::new(random_bytes(rng)))
    }

    /// As it stands in a root.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(zeroize::Zeroizing::new(bytes))
    }

    /// The 32 bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Used for one chunk alone, so that a counter of zero is never used twice.
    fn key(&self, index: u32) -> Key {
        Key::new(*derive(Label::ChunkKey, &[&*self.0, &index.to_be_bytes()]))
    }
}

/// Seals at most 64 KiB as the `index`-th chunk of a publication; always of the same length.
///
/// # Errors
/// [`ChunkRefused::TooLong`].
pub fn seal_chunk(secret: &PublicationSecret, index: u32, content: &[u8]) -> Result<SealedChunk, ChunkRefused> {
    if content.len() > CHUNK_LEN {
        return Err(ChunkRefused::TooLong);
    }
    let mut bytes = Vec::with_capacity(SEALED_CHUNK_LEN);
    bytes.extend_from_slice(content);
    bytes.resize(CHUNK_LEN, 0);
    let tag = secret.key(index).seal(0, &[], &mut bytes);
    bytes.extend_from_slice(&tag);
    Ok(SealedChunk { hash: blake3(&[&bytes]), bytes })
}

/// Opens the `index`-th chunk, of which the first `len` bytes are content.
///
/// # Errors
/// [`ChunkRefused::Forged`] whatever the reason.
pub fn open_chunk(
    secret: &PublicationSecret,
    index: u32,
    mut bytes: Vec<u8>,
    len: usize,
) -> Result<Vec<u8>, ChunkRefused> {
    if bytes.len() != SEALED_CHUNK_LEN || len > CHUNK_LEN {
        return Err(ChunkRefused::Forged);
    }
    let (text, tag) = bytes.split_last_chunk_mut::<TAG_LEN>().ok_or(ChunkRefused::Forged)?;
    secret.key(index).open(0, &[], text, tag).map_err(|_| ChunkRefused::Forged)?;
    let is_padded = bytes.get(len..CHUNK_LEN).is_some_and(|padding| padding.iter().all(|byte| *byte == 0));
    bytes.truncate(len);
    if is_padded { Ok(bytes) } else { Err(ChunkRefused::Forged) }
}

impl core::fmt::Debug for PublicationSecret {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("PublicationSecret(..)")
    }
}

impl PartialEq for PublicationSecret {
    fn eq(&self, other: &Self) -> bool {
        crate::crypto::keys::equal_in_constant_time(&*self.0, &*other.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunk_opens_at_its_place_alone_and_any_flip_is_refused() {
        let secret = PublicationSecret::from_bytes([1; 32]);
        for len in [0, 1, 1_000, CHUNK_LEN] {
            let content = vec![7; len];
            let sealed = seal_chunk(&secret, 3, &content).unwrap();
            assert_eq!(sealed.bytes.len(), SEALED_CHUNK_LEN);
            assert_eq!(open_chunk(&secret, 3, sealed.bytes.clone(), len), Ok(content));
            assert_eq!(open_chunk(&secret, 4, sealed.bytes.clone(), len), Err(ChunkRefused::Forged));
            let mut flipped = sealed.bytes.clone();
            flipped[100] ^= 1;
            assert_eq!(open_chunk(&secret, 3, flipped, len), Err(ChunkRefused::Forged));
            assert_eq!(open_chunk(&secret, 3, sealed.bytes[1..].to_vec(), len), Err(ChunkRefused::Forged));
        }
        assert_eq!(seal_chunk(&secret, 0, &vec![0; CHUNK_LEN + 1]), Err(ChunkRefused::TooLong));
        let sealed = seal_chunk(&secret, 3, &[7; 10]).unwrap();
        assert_eq!(open_chunk(&secret, 3, sealed.bytes, 5), Err(ChunkRefused::Forged), "content where padding belongs");
    }

    #[test]
    fn equal_content_of_two_publications_shares_no_chunk() {
        let one = seal_chunk(&PublicationSecret::from_bytes([1; 32]), 0, b"same").unwrap();
        let two = seal_chunk(&PublicationSecret::from_bytes([2; 32]), 0, b"same").unwrap();
        assert_ne!(one.hash, two.hash);
    }
}
