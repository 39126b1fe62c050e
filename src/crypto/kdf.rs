//! Key derivation: BLAKE3's derive-key mode under the labels of one table, so that no two uses share a key.

use zeroize::Zeroizing;

/// What a derived key is for. One row each; the label is BLAKE3's context string (spec/crypto.md §3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Label {
    /// The secret of one label of an author.
    LabelSecret,
    /// The key that encrypts a signed value at one location.
    ValueKey,
    /// The nonce prefix of a blinded signing key.
    BlindPrefix,
    /// The key of one chunk of a publication.
    ChunkKey,
    /// What stands before a chunk, from all that is in it.
    ChunkTweak,
    /// What is added to a value's sequence number at one location.
    SeqOffset,
}

impl Label {
    /// Every label, for the test that they differ.
    pub const ALL: [Self; 6] =
        [Self::LabelSecret, Self::ValueKey, Self::BlindPrefix, Self::ChunkKey, Self::ChunkTweak, Self::SeqOffset];

    /// The context string.
    #[must_use]
    pub const fn context(self) -> &'static str {
        match self {
            Self::LabelSecret => "bauta/1 label secret",
            Self::ValueKey => "bauta/1 value key",
            Self::BlindPrefix => "bauta/1 blind prefix",
            Self::ChunkKey => "bauta/1 chunk key",
            Self::ChunkTweak => "bauta/1 chunk tweak",
            Self::SeqOffset => "bauta/1 seq offset",
        }
    }
}

/// Derives 32 bytes from parts of fixed length, or of which only the last varies in length.
#[must_use]
pub fn derive(label: Label, parts: &[&[u8]]) -> Zeroizing<[u8; 32]> {
    let mut hasher = blake3::Hasher::new_derive_key(label.context());
    for part in parts {
        hasher.update(part);
    }
    Zeroizing::new(*hasher.finalize().as_bytes())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    // [CRYPTO-W-004]
    #[test]
    fn every_label_derives_another_key() {
        let keys: BTreeSet<_> = Label::ALL.iter().map(|label| *derive(*label, &[b"same"])).collect();
        assert_eq!(keys.len(), Label::ALL.len());
    }
}
