//! The root of a publication: what stands in its signed value. Name, kind, and the content itself or where its chunks are.
//! Source: spec/content.md §3.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::chunk::PublicationSecret;
use super::file_name::{FileName, NameRefused};
use super::layout::{Layout, TooLong};
use super::taken::taken;
use crate::limits::{PAYLOAD_LEN_MAX, ROOT_HASHES_MAX};
use crate::wire::codec::{Malformed, Reader};

const VERSION: u8 = 2;

/// A root.
#[derive(Clone, PartialEq, Debug)]
pub struct Root {
    /// The published name.
    pub name: FileName,
    /// What the content is.
    pub kind: ContentKind,
    /// The content.
    pub body: Body,
}

/// What a content is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum ContentKind {
    /// The bytes of a file.
    File,
    /// A folder: its index, then its files (spec/content.md §5).
    Folder,
}

/// Where the content is.
#[derive(Clone, PartialEq, Debug)]
pub enum Body {
    /// Here.
    Inline(Vec<u8>),
    /// In chunks.
    Chunks(Chunks),
}

/// What leads to a content in chunks.
#[derive(Clone, PartialEq, Debug)]
pub struct Chunks {
    /// Bytes of content.
    pub len: u64,
    /// Of the publication.
    pub secret: PublicationSecret,
    /// Of all chunks of the top level ([`Layout::levels`]), in order.
    pub hashes: Vec<[u8; 32]>,
}

/// Why a root is not one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RootRefused {
    /// The bytes are no root of this version.
    #[error("root: damaged, or of another version")]
    Malformed,
    /// The content is larger than this version takes.
    #[error(transparent)]
    TooLong(#[from] TooLong),
    /// The name is not one.
    #[error(transparent)]
    Name(#[from] NameRefused),
}

#[derive(Serialize)]
struct Wire {
    version: u8,
    name: String,
    kind: ContentKind,
    body: WireBody,
}

#[derive(Serialize)]
enum WireBody {
    Inline(Vec<u8>),
    Chunks { len: u64, secret: [u8; 32], hashes: Vec<[u8; 32]> },
}

impl Wire {
    fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let version = taken(reader.field("version"))?;
        let name: String = taken(reader.field("name"))?;
        reader.say(|| format!("{name:?}"));
        let kind = taken(reader.field("content"))?;
        reader.say(|| format!("{kind:?}"));
        let body = match taken::<u32>(reader.field("where"))? {
            0 => {
                reader.say(|| "here".to_owned());
                WireBody::Inline(taken(reader.field("bytes"))?)
            }
            1 => {
                reader.say(|| "in chunks".to_owned());
                let len = taken(reader.field("length"))?;
                reader.say(|| format!("{len} bytes"));
                let secret = reader.field("publication secret").array()?;
                reader.hide();
                let count: u32 = taken(reader.field("hashes"))?;
                reader.say(|| format!("{count} follow"));
                if count > u32::try_from(ROOT_HASHES_MAX).unwrap_or(u32::MAX) {
                    return Err(Malformed::Value);
                }
                let hashes: Result<_, _> = (0..count).map(|_| reader.field("chunk hash").array()).collect();
                WireBody::Chunks { len, secret, hashes: hashes? }
            }
            _ => return Err(Malformed::Value),
        };
        Ok(Self { version, name, kind, body })
    }
}

impl Root {
    /// The largest content that stands in a root with this name.
    #[must_use]
    pub fn inline_len_max(name: &FileName) -> usize {
        // Version, name with its length, kind, variant, content with its length: lengths below 16,384 take two bytes.
        PAYLOAD_LEN_MAX - 1 - 2 - name.as_str().len() - 1 - 1 - 2
    }

    /// Encodes as the payload of a signed value.
    ///
    /// # Errors
    /// [`RootRefused`] for what [`Self::decode`] would refuse.
    pub fn encode(&self) -> Result<Vec<u8>, RootRefused> {
        let body = match self.body.clone() {
            Body::Inline(content) if content.len() > Self::inline_len_max(&self.name) => {
                return Err(RootRefused::Malformed);
            }
            Body::Inline(content) => WireBody::Inline(content),
            Body::Chunks(Chunks { len, secret, hashes }) => {
                WireBody::Chunks { len, secret: *secret.as_bytes(), hashes }
            }
        };
        let wire = Wire { version: VERSION, name: self.name.as_str().to_owned(), kind: self.kind, body };
        let bytes = postcard::to_allocvec(&wire).map_err(|_| RootRefused::Malformed)?;
        if bytes.len() > PAYLOAD_LEN_MAX { Err(RootRefused::Malformed) } else { Ok(bytes) }
    }

    /// Decodes; what is accepted re-encodes to the same bytes.
    ///
    /// # Errors
    /// [`RootRefused`].
    pub fn decode(bytes: &[u8]) -> Result<Self, RootRefused> {
        Self::read(Reader::new(bytes))
    }

    /// As [`Self::decode`], all that the reader has.
    ///
    /// # Errors
    /// [`RootRefused`].
    pub fn read(mut reader: Reader<'_>) -> Result<Self, RootRefused> {
        let bytes = reader.rest();
        let wire = Wire::read(&mut reader).map_err(|_| RootRefused::Malformed)?;
        let again = postcard::to_allocvec(&wire).map_err(|_| RootRefused::Malformed)?;
        if reader.finish().is_err() || again != bytes || wire.version != VERSION {
            return Err(RootRefused::Malformed);
        }
        let name = FileName::new(&wire.name)?;
        let body = match wire.body {
            WireBody::Inline(content) if content.len() > Self::inline_len_max(&name) => {
                return Err(RootRefused::Malformed);
            }
            WireBody::Inline(content) => Body::Inline(content),
            WireBody::Chunks { len, secret, hashes } => {
                // No chunk is there twice, whatever is in it: each has a key of its own.
                let is_once = hashes.iter().collect::<BTreeSet<_>>().len() == hashes.len();
                if Layout::of(len)?.root_hashes() != hashes.len() || !is_once {
                    return Err(RootRefused::Malformed);
                }
                Body::Chunks(Chunks { len, secret: PublicationSecret::from_bytes(secret), hashes })
            }
        };
        Ok(Self { name, kind: wire.kind, body })
    }
}

// Version, name, kind, variant, length, secret, count and hashes.
const _: () = assert!(1 + 2 + 255 + 1 + 1 + 6 + 32 + 1 + 32 * ROOT_HASHES_MAX <= PAYLOAD_LEN_MAX);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::limits::{FILE_LEN_MAX, FILE_NAME_LEN_MAX};

    fn root(body: Body) -> Root {
        Root { name: FileName::new("größe mit leerzeichen.txt").unwrap(), kind: ContentKind::File, body }
    }

    fn chunks(len: u64, count: usize) -> Body {
        Body::Chunks(Chunks {
            len,
            secret: PublicationSecret::from_bytes([3; 32]),
            hashes: (0..count).map(|at| [u8::try_from(at).unwrap(); 32]).collect(),
        })
    }

    // [CONT-W-010]
    #[test]
    fn roots_survive_the_wire_and_the_largest_fit() {
        let long = FileName::new(&"n".repeat(FILE_NAME_LEN_MAX)).unwrap();
        let inline = Body::Inline(vec![1; Root::inline_len_max(&long)]);
        for root in [
            root(Body::Inline(vec![])),
            Root { kind: ContentKind::Folder, ..root(Body::Inline(vec![1; 20])) },
            Root { name: long.clone(), kind: ContentKind::File, body: inline },
            Root { name: long, kind: ContentKind::Folder, body: chunks(7 * 65_536, ROOT_HASHES_MAX) },
            root(chunks(FILE_LEN_MAX, Layout::of(FILE_LEN_MAX).unwrap().root_hashes())),
        ] {
            assert_eq!(Root::decode(&root.encode().unwrap()), Ok(root));
        }
    }

    // [CONT-R-011]
    #[test]
    fn lengths_that_do_not_fit_the_hashes_and_too_long_content_are_refused() {
        let decode = |len, count| Root::decode(&root(chunks(len, count)).encode().unwrap()).map(|_| ());
        assert_eq!(decode(65_536, 8), Ok(()));
        assert_eq!(decode(65_537, 8), Err(RootRefused::Malformed), "two chunks of content, and nine of parity");
        assert_eq!(decode(65_537, 11), Ok(()));
        for count in [0, 7, 9, ROOT_HASHES_MAX] {
            assert_eq!(decode(65_536, count), Err(RootRefused::Malformed), "{count}");
        }
        assert_eq!(decode(FILE_LEN_MAX + 1, 11), Err(RootRefused::TooLong(TooLong)));
        assert_eq!(decode(u64::MAX, 11), Err(RootRefused::TooLong(TooLong)));
        let long = root(Body::Inline(vec![0; Root::inline_len_max(&root(Body::Inline(vec![])).name) + 1]));
        assert_eq!(long.encode(), Err(RootRefused::Malformed));
    }

    proptest! {
        // [CONT-R-011]
        #[test]
        fn what_decodes_encodes_to_the_same_bytes(bytes in proptest::collection::vec(0..4_u8, 0..200)) {
            if let Ok(root) = Root::decode(&bytes) {
                prop_assert_eq!(root.encode().unwrap(), bytes);
            }
        }
    }
}
