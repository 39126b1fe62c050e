//! One chunk: 64 KiB of a file or of parity, sealed under a key of its own. Equal content never gives equal chunks.
//! Source: spec/content.md §2.

use crate::crypto::aead::Key;
use crate::crypto::hash::blake3;
use crate::crypto::kdf::{Label, derive};
use crate::crypto::{CryptoRng, random_bytes};
use crate::limits::{CHUNK_LEN, CHUNK_TWEAK_LEN, SEALED_CHUNK_LEN, TAG_LEN};
use crate::request::SealedChunk;

/// The random secret of one publication, from which its chunk keys follow. No convergent encryption: who guesses the content
/// cannot confirm the guess.
#[derive(Clone)]
pub struct PublicationSecret(zeroize::Zeroizing<[u8; 32]>);

/// Where a chunk stands in its publication.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct ChunkAt {
    /// 0 for the content, 1 for the hashes of its chunks, and so on.
    pub level: u8,
    /// Among all chunks of the level, those of parity too.
    pub index: u32,
}

/// Why a chunk does not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChunkRefused {
    /// The content is not as long as a chunk.
    #[error("a chunk has {CHUNK_LEN} bytes")]
    Length,
    /// It does not authenticate.
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

    /// Used for one content of one chunk alone, so that a counter of zero is never used twice.
    fn key(&self, at: ChunkAt, tweak: &[u8]) -> Key {
        Key::new(*derive(Label::ChunkKey, &[&*self.0, &[at.level], &at.index.to_be_bytes(), tweak]))
    }

    /// Another content at the same place has another one.
    fn tweak(&self, at: ChunkAt, content: &[u8]) -> [u8; CHUNK_TWEAK_LEN] {
        let all = derive(Label::ChunkTweak, &[&*self.0, &[at.level], &at.index.to_be_bytes(), content]);
        let mut tweak = [0; CHUNK_TWEAK_LEN];
        tweak.iter_mut().zip(&*all).for_each(|(to, from)| *to = *from);
        tweak
    }
}

/// Seals a whole chunk. The same content at the same place gives the same bytes; so what was stored before an interruption is
/// known again, and a file that has changed since cannot make one key seal two contents.
///
/// # Errors
/// [`ChunkRefused::Length`].
pub fn seal_chunk(secret: &PublicationSecret, at: ChunkAt, content: &[u8]) -> Result<SealedChunk, ChunkRefused> {
    if content.len() != CHUNK_LEN {
        return Err(ChunkRefused::Length);
    }
    let tweak = secret.tweak(at, content);
    let mut bytes = Vec::with_capacity(SEALED_CHUNK_LEN);
    bytes.extend_from_slice(&tweak);
    bytes.extend_from_slice(content);
    let (_, text) = bytes.split_at_mut(CHUNK_TWEAK_LEN);
    let tag = secret.key(at, &tweak).seal(0, &[], text);
    bytes.extend_from_slice(&tag);
    Ok(SealedChunk { hash: blake3(&[&bytes]), bytes })
}

/// Opens a chunk, all [`CHUNK_LEN`] bytes of it.
///
/// # Errors
/// [`ChunkRefused::Forged`] whatever the reason.
pub fn open_chunk(secret: &PublicationSecret, at: ChunkAt, mut bytes: Vec<u8>) -> Result<Vec<u8>, ChunkRefused> {
    if bytes.len() != SEALED_CHUNK_LEN {
        return Err(ChunkRefused::Forged);
    }
    let (tweak, rest) = bytes.split_at_mut(CHUNK_TWEAK_LEN);
    let (text, tag) = rest.split_last_chunk_mut::<TAG_LEN>().ok_or(ChunkRefused::Forged)?;
    secret.key(at, tweak).open(0, &[], text, tag).map_err(|_| ChunkRefused::Forged)?;
    bytes.truncate(CHUNK_TWEAK_LEN + CHUNK_LEN);
    bytes.drain(..CHUNK_TWEAK_LEN);
    Ok(bytes)
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

    const AT: ChunkAt = ChunkAt { level: 0, index: 3 };

    // [CONT-R-006]
    #[test]
    fn a_chunk_opens_at_its_place_alone_and_any_flip_is_refused() {
        let secret = PublicationSecret::from_bytes([1; 32]);
        let content = vec![7; CHUNK_LEN];
        let sealed = seal_chunk(&secret, AT, &content).unwrap();
        assert_eq!(sealed.bytes.len(), SEALED_CHUNK_LEN);
        let open = |at, bytes: Vec<u8>| open_chunk(&secret, at, bytes);
        assert_eq!(open(AT, sealed.bytes.clone()), Ok(content));
        for at in [ChunkAt { index: 4, ..AT }, ChunkAt { level: 1, ..AT }] {
            assert_eq!(open(at, sealed.bytes.clone()), Err(ChunkRefused::Forged));
        }
        for byte in [0, CHUNK_TWEAK_LEN - 1, CHUNK_TWEAK_LEN, 30_000, SEALED_CHUNK_LEN - 1] {
            let mut flipped = sealed.bytes.clone();
            flipped[byte] ^= 1;
            assert_eq!(open(AT, flipped), Err(ChunkRefused::Forged), "{byte}");
        }
        assert_eq!(open(AT, sealed.bytes[1..].to_vec()), Err(ChunkRefused::Forged));
        assert_eq!(seal_chunk(&secret, AT, &vec![0; CHUNK_LEN + 1]), Err(ChunkRefused::Length));
        assert_eq!(seal_chunk(&secret, AT, &vec![0; CHUNK_LEN - 1]), Err(ChunkRefused::Length));
    }

    // [CONT-W-005]
    #[test]
    fn equal_content_of_two_publications_shares_no_chunk() {
        let one = seal_chunk(&PublicationSecret::from_bytes([1; 32]), AT, &vec![7; CHUNK_LEN]).unwrap();
        let two = seal_chunk(&PublicationSecret::from_bytes([2; 32]), AT, &vec![7; CHUNK_LEN]).unwrap();
        assert_ne!(one.hash, two.hash);
    }

    // [CONT-W-005]
    #[test]
    fn a_content_that_changed_is_never_sealed_under_the_key_of_the_old_one() {
        let secret = PublicationSecret::from_bytes([1; 32]);
        let (old, mut new) = (vec![7; CHUNK_LEN], vec![7; CHUNK_LEN]);
        new[CHUNK_LEN - 1] = 8;
        let sealed = [&old, &new].map(|content| seal_chunk(&secret, AT, content).unwrap());
        assert_eq!(seal_chunk(&secret, AT, &old), Ok(sealed[0].clone()), "the same content is known again");
        let equal = sealed[0].bytes.iter().zip(&sealed[1].bytes).filter(|(one, other)| one == other).count();
        assert!(equal < 1_000, "one byte changed, and {equal} of {SEALED_CHUNK_LEN} are as before");
    }
}
