//! An author's key as text, to carry it to another machine: in the open, or sealed. Source: spec/content.md §8.

use core::fmt;
use core::str::FromStr;

use bech32::{Bech32m, Hrp};
use zeroize::Zeroizing;

use crate::crypto::keys::{IdentitySecret, NodeKey};
use crate::crypto::sealed::SealedSecret;
use crate::wire::codec::Reader;

const HRP: Hrp = Hrp::parse_unchecked("bautakey");
const VERSION: u8 = 1;
const OPEN: u8 = 0;
const SEALED: u8 = 1;

/// An author's key, as it is kept and carried.
#[derive(Clone)]
pub enum AuthorKey {
    /// Whoever reads it can publish with it.
    Open(IdentitySecret),
    /// It takes a passphrase.
    Sealed(SealedSecret),
}

/// Why a text is no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyRefused {
    /// A character is wrong or missing, or it is something else altogether.
    #[error("not a key: a character is wrong or missing (keys begin with bautakey1)")]
    Text,
    /// It is of a version or kind that this build does not know.
    #[error("key of a later version; this build reads version {VERSION}")]
    Version,
}

impl AuthorKey {
    /// The public half.
    #[must_use]
    pub fn public(&self) -> NodeKey {
        match self {
            Self::Open(secret) => secret.public(),
            Self::Sealed(sealed) => sealed.public,
        }
    }

    /// The bytes behind the text, without their checksum.
    #[must_use]
    pub fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        let mut bytes = Zeroizing::new(Vec::with_capacity(160));
        match self {
            Self::Open(secret) => {
                bytes.extend_from_slice(&[VERSION, OPEN]);
                bytes.extend_from_slice(&*secret.to_bytes());
            }
            Self::Sealed(sealed) => {
                bytes.extend_from_slice(&[VERSION, SEALED]);
                let SealedSecret { public, salt, nonce, text, tag } = sealed;
                for part in [&public.0[..], salt, nonce, text, tag] {
                    bytes.extend_from_slice(part);
                }
            }
        }
        bytes
    }

    /// Reads what [`Self::to_bytes`] gives.
    ///
    /// # Errors
    /// [`KeyRefused`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, KeyRefused> {
        Self::read(Reader::new(bytes))
    }

    /// As [`Self::from_bytes`], all that the reader has.
    ///
    /// # Errors
    /// [`KeyRefused`].
    pub fn read(mut reader: Reader<'_>) -> Result<Self, KeyRefused> {
        let text_error = |_| KeyRefused::Text;
        if reader.field("version").u8().map_err(text_error)? != VERSION {
            return Err(KeyRefused::Version);
        }
        let key = match reader.field("sealed").u8().map_err(text_error)? {
            OPEN => {
                let seed = Zeroizing::new(reader.field("seed").array().map_err(text_error)?);
                reader.hide();
                Self::Open(IdentitySecret::from_bytes(&seed))
            }
            SEALED => Self::Sealed(SealedSecret {
                public: NodeKey(reader.field("public key").array().map_err(text_error)?),
                salt: reader.field("salt").array().map_err(text_error)?,
                nonce: reader.field("nonce").array().map_err(text_error)?,
                text: reader.field("sealed seed").array().map_err(text_error)?,
                tag: reader.field("tag").array().map_err(text_error)?,
            }),
            _ => return Err(KeyRefused::Version),
        };
        reader.finish().map_err(text_error)?;
        Ok(key)
    }

    /// The bytes behind a text with the prefix and a right checksum; nothing else of it is checked.
    ///
    /// # Errors
    /// [`KeyRefused::Text`].
    pub fn bytes_of(text: &str) -> Result<Zeroizing<Vec<u8>>, KeyRefused> {
        let checked = bech32::primitives::decode::CheckedHrpstring::new::<Bech32m>(text.trim());
        let checked = checked.map_err(|_| KeyRefused::Text)?;
        if checked.hrp() != HRP {
            return Err(KeyRefused::Text);
        }
        let mut bytes = Zeroizing::new(Vec::with_capacity(160));
        bytes.extend(checked.byte_iter());
        Ok(bytes)
    }

    /// The text. Of an open key it is as secret as the key.
    #[must_use]
    pub fn to_text(&self) -> Zeroizing<String> {
        let mut text = Zeroizing::new(String::with_capacity(320));
        // Cannot fail: it is far below the length that bech32 bounds.
        let _ = bech32::encode_lower_to_fmt::<Bech32m, _>(&mut *text, HRP, &self.to_bytes());
        text
    }
}

impl FromStr for AuthorKey {
    type Err = KeyRefused;

    fn from_str(text: &str) -> Result<Self, KeyRefused> {
        let key = Self::from_bytes(&Self::bytes_of(text)?)?;
        // One key has one text: bits that fill no byte are zeros.
        let is_same = key.to_text().eq_ignore_ascii_case(text.trim());
        if is_same { Ok(key) } else { Err(KeyRefused::Text) }
    }
}

impl fmt::Debug for AuthorKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AuthorKey(..)")
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::ChaCha20Rng;

    use super::*;

    // [CONT-R-032]
    #[test]
    fn keys_survive_being_carried_and_a_changed_character_is_refused() {
        let secret = IdentitySecret::from_bytes(&[5; 32]);
        let sealed = SealedSecret::seal(&secret, b"words", &mut ChaCha20Rng::seed_from_u64(1)).unwrap();
        for key in [AuthorKey::Open(secret.clone()), AuthorKey::Sealed(sealed)] {
            let text = key.to_text();
            let read: AuthorKey = format!(" {}\n", *text).parse().unwrap();
            assert_eq!((read.public(), &*read.to_bytes()), (secret.public(), &*key.to_bytes()));
            for at in 0..text.len() {
                let mut changed = text.to_string();
                changed.replace_range(at..=at, if text.as_bytes()[at] == b'q' { "p" } else { "q" });
                assert_eq!(changed.parse::<AuthorKey>().map(|_| ()), Err(KeyRefused::Text), "{at}");
            }
        }
        for bytes in [&[2, 0][..], &[1, 2]] {
            assert_eq!(AuthorKey::from_bytes(bytes).map(|_| ()), Err(KeyRefused::Version));
        }
        assert_eq!(AuthorKey::from_bytes(&[1, 0, 5]).map(|_| ()), Err(KeyRefused::Text));
    }
}
