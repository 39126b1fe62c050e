//! The root of a publication: what stands in its signed value. Name, length, and the content itself or where its chunks are.
//! Source: spec/content.md §3.

use serde::{Deserialize, Serialize};

use super::chunk::PublicationSecret;
use crate::limits::{CHUNK_LEN, FILE_LEN_MAX, FILE_NAME_LEN_MAX, PAYLOAD_LEN_MAX};

/// Hashes of chunks that stand in the root itself; more stand in a chunk of their own.
const HASHES_INLINE_MAX: usize = 16;
/// Hashes in one chunk of hashes.
const HASHES_PER_CHUNK: usize = CHUNK_LEN / 32;
const VERSION: u8 = 1;

/// A file's name: one component of a path, nothing that could leave a folder or drive a terminal.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FileName(String);

/// Why a name is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameRefused {
    /// It is empty or over its room.
    #[error("a file name has 1 to {FILE_NAME_LEN_MAX} bytes")]
    Length,
    /// It has a separator or a control character, or is `.` or `..`.
    #[error("a file name has no path separator and no control character, and is neither . nor ..")]
    Characters,
}

/// A root.
#[derive(Clone, PartialEq, Debug)]
pub struct Root {
    /// The published name.
    pub name: FileName,
    /// The content.
    pub body: Body,
}

/// Where the content is.
#[derive(Clone, PartialEq, Debug)]
pub enum Body {
    /// Here.
    Inline(Vec<u8>),
    /// In chunks whose hashes stand here.
    Chunks {
        /// Bytes of content.
        len: u64,
        /// Of the publication.
        secret: PublicationSecret,
        /// Of each chunk, in order.
        hashes: Vec<[u8; 32]>,
    },
    /// In chunks whose hashes stand in one more chunk.
    Tree {
        /// Bytes of content.
        len: u64,
        /// Of the publication.
        secret: PublicationSecret,
        /// Hash of the chunk of hashes; its index is `u32::MAX`.
        hashes: [u8; 32],
    },
}

/// Why a root is not one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RootRefused {
    /// The bytes are no root of this version.
    #[error("root: damaged, or of a later version")]
    Malformed,
    /// The content is larger than this version takes.
    #[error("content has at most {FILE_LEN_MAX} bytes")]
    TooLong,
    /// The name is not one.
    #[error(transparent)]
    Name(#[from] NameRefused),
}

#[derive(Serialize, Deserialize)]
struct Wire {
    version: u8,
    name: String,
    body: WireBody,
}

#[derive(Serialize, Deserialize)]
enum WireBody {
    Inline(Vec<u8>),
    Chunks { len: u64, secret: [u8; 32], hashes: Vec<[u8; 32]> },
    Tree { len: u64, secret: [u8; 32], hashes: [u8; 32] },
}

impl FileName {
    /// Takes a name.
    ///
    /// # Errors
    /// [`NameRefused`].
    pub fn new(name: &str) -> Result<Self, NameRefused> {
        if name.is_empty() || name.len() > FILE_NAME_LEN_MAX {
            return Err(NameRefused::Length);
        }
        if name.contains(['/', '\\']) || !reads_as_it_is(name) || name == "." || name == ".." {
            return Err(NameRefused::Characters);
        }
        Ok(Self(name.to_owned()))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Whether nothing in it drives a terminal or makes text run the other way.
pub(super) fn reads_as_it_is(name: &str) -> bool {
    let is_bidi =
        |c| matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    !name.chars().any(|c: char| c.is_control() || is_bidi(c))
}

/// How many chunks content of this length has.
pub(super) fn chunk_count(len: u64) -> Option<usize> {
    let chunk = u64::try_from(CHUNK_LEN).ok()?;
    usize::try_from(len.div_ceil(chunk)).ok()
}

impl Root {
    /// The largest content that stands in a root with this name.
    #[must_use]
    pub fn inline_len_max(name: &FileName) -> usize {
        // Version, name with its length, variant, content with its length: lengths below 16,384 take two bytes.
        PAYLOAD_LEN_MAX - 1 - 2 - name.as_str().len() - 1 - 2
    }

    /// Whether so many hashes stand in the root itself.
    #[must_use]
    pub const fn takes_hashes(count: usize) -> bool {
        count <= HASHES_INLINE_MAX
    }

    /// Encodes as the payload of a signed value.
    ///
    /// # Errors
    /// [`RootRefused::TooLong`] when it does not fit.
    pub fn encode(&self) -> Result<Vec<u8>, RootRefused> {
        let body = match self.body.clone() {
            Body::Inline(content) => WireBody::Inline(content),
            Body::Chunks { len, secret, hashes } => WireBody::Chunks { len, secret: *secret.as_bytes(), hashes },
            Body::Tree { len, secret, hashes } => WireBody::Tree { len, secret: *secret.as_bytes(), hashes },
        };
        let wire = Wire { version: VERSION, name: self.name.0.clone(), body };
        let bytes = postcard::to_allocvec(&wire).map_err(|_| RootRefused::TooLong)?;
        if bytes.len() > PAYLOAD_LEN_MAX { Err(RootRefused::TooLong) } else { Ok(bytes) }
    }

    /// Decodes; what is accepted re-encodes to the same bytes.
    ///
    /// # Errors
    /// [`RootRefused`].
    pub fn decode(bytes: &[u8]) -> Result<Self, RootRefused> {
        let (wire, rest) = postcard::take_from_bytes::<Wire>(bytes).map_err(|_| RootRefused::Malformed)?;
        let again = postcard::to_allocvec(&wire).map_err(|_| RootRefused::Malformed)?;
        if !rest.is_empty() || again != bytes || wire.version != VERSION {
            return Err(RootRefused::Malformed);
        }
        let body = match wire.body {
            WireBody::Inline(content) => Body::Inline(content),
            WireBody::Chunks { len, secret, hashes } => {
                if len > FILE_LEN_MAX {
                    return Err(RootRefused::TooLong);
                }
                if chunk_count(len) != Some(hashes.len()) || hashes.is_empty() {
                    return Err(RootRefused::Malformed);
                }
                Body::Chunks { len, secret: PublicationSecret::from_bytes(secret), hashes }
            }
            WireBody::Tree { len, secret, hashes } => {
                if len > FILE_LEN_MAX {
                    return Err(RootRefused::TooLong);
                }
                Body::Tree { len, secret: PublicationSecret::from_bytes(secret), hashes }
            }
        };
        Ok(Self { name: FileName::new(&wire.name)?, body })
    }
}

/// The content of the chunk of hashes.
///
/// # Errors
/// [`RootRefused::TooLong`] for more than one chunk holds.
pub fn encode_hashes(hashes: &[[u8; 32]]) -> Result<Vec<u8>, RootRefused> {
    if hashes.len() > HASHES_PER_CHUNK { Err(RootRefused::TooLong) } else { Ok(hashes.concat()) }
}

/// The hashes of content of this length, from the chunk of hashes.
///
/// # Errors
/// [`RootRefused::Malformed`] when their number does not fit the length.
pub fn decode_hashes(bytes: &[u8], len: u64) -> Result<Vec<[u8; 32]>, RootRefused> {
    let (hashes, rest) = bytes.as_chunks::<32>();
    if !rest.is_empty() || chunk_count(len) != Some(hashes.len()) {
        return Err(RootRefused::Malformed);
    }
    Ok(hashes.to_vec())
}

const _: () = assert!(FILE_LEN_MAX / 65_536 <= 2_048 && HASHES_PER_CHUNK == 2_048);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn root(body: Body) -> Root {
        Root { name: FileName::new("größe mit leerzeichen.txt").unwrap(), body }
    }

    #[test]
    fn roots_survive_the_wire_and_the_largest_fit() {
        let long = FileName::new(&"n".repeat(FILE_NAME_LEN_MAX)).unwrap();
        let secret = PublicationSecret::from_bytes([3; 32]);
        let chunks = Body::Chunks { len: 16 * 65_536, secret: secret.clone(), hashes: vec![[9; 32]; 16] };
        let inline = Body::Inline(vec![1; Root::inline_len_max(&long)]);
        for root in [
            root(Body::Inline(vec![])),
            Root { name: long.clone(), body: inline },
            Root { name: long, body: chunks },
            root(Body::Tree { len: FILE_LEN_MAX, secret, hashes: [1; 32] }),
        ] {
            assert_eq!(Root::decode(&root.encode().unwrap()), Ok(root));
        }
    }

    #[test]
    fn lengths_that_do_not_fit_the_hashes_and_too_long_content_are_refused() {
        let secret = PublicationSecret::from_bytes([3; 32]);
        let encode = |len, count| {
            root(Body::Chunks { len, secret: secret.clone(), hashes: vec![[9; 32]; count] }).encode().unwrap()
        };
        assert!(Root::decode(&encode(65_536, 1)).is_ok());
        assert_eq!(Root::decode(&encode(65_537, 1)), Err(RootRefused::Malformed));
        assert_eq!(Root::decode(&encode(0, 0)), Err(RootRefused::Malformed));
        let tree = root(Body::Tree { len: FILE_LEN_MAX + 1, secret: secret.clone(), hashes: [1; 32] });
        assert_eq!(Root::decode(&tree.encode().unwrap()), Err(RootRefused::TooLong));
        assert_eq!(decode_hashes(&[1; 64], 65_537).map(|hashes| hashes.len()), Ok(2));
        assert_eq!(decode_hashes(&[1; 65], 65_537), Err(RootRefused::Malformed));
        assert_eq!(decode_hashes(&[1; 32], 65_537), Err(RootRefused::Malformed));
    }

    #[test]
    fn names_that_leave_a_folder_or_drive_a_terminal_are_refused() {
        for name in ["", ".", "..", "a/b", "a\\b", "a\u{1b}[2J", "a\nb", "gpj\u{202e}exe", &"n".repeat(256)] {
            assert!(FileName::new(name).is_err(), "{name:?}");
        }
        for name in ["a", "...", "ä ö.txt", &"n".repeat(255)] {
            assert!(FileName::new(name).is_ok(), "{name:?}");
        }
    }

    proptest! {
        #[test]
        fn what_decodes_encodes_to_the_same_bytes(bytes in proptest::collection::vec(0..4_u8, 0..200)) {
            if let Ok(root) = Root::decode(&bytes) {
                prop_assert_eq!(root.encode().unwrap(), bytes);
            }
        }
    }
}
