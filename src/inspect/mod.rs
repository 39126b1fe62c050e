//! What the bytes of a message are, field by field, told by the decoders themselves. Pure: bytes in, fields out; it knows no key, so what
//! is sealed stays sealed, and it verifies nothing. Source: spec/cli.md §14.

mod kinds;

use core::fmt;

pub use self::kinds::KINDS;
use crate::content::{AuthorKey, ContentLink, FolderRefused, KeyRefused, LinkRefused, NameRefused, RootRefused};
use crate::limits::DECODE_INPUT_LEN_MAX;
use crate::wire::codec::Malformed;
pub use crate::wire::notes::Field;
use crate::wire::notes::Notes;

/// A kind of message.
pub struct Kind {
    /// As `--as` takes it.
    pub name: &'static str,
    /// In words.
    pub what: &'static str,
    /// Where it is specified.
    pub spec: &'static str,
    /// Whether all bytes of its length read as one: that it fits says nothing.
    pub fits_all: bool,
    read: fn(&[u8], &Notes) -> Result<(), Refused>,
}

/// Why bytes are no message of a kind.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refused {
    /// As spec/vectors/README.md lists them.
    pub error_id: &'static str,
    /// In words.
    pub why: String,
}

/// Bytes as they read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Inspected {
    /// The bytes; of a text those behind it.
    pub bytes: Vec<u8>,
    /// What was read, in order; up to where it failed, if it did.
    pub fields: Vec<Field>,
    /// Why it is none of the kind, and the offset at which that shows.
    pub refused: Option<(usize, Refused)>,
}

impl fmt::Debug for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl Kind {
    /// The kind of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<&'static Self> {
        KINDS.iter().find(|kind| kind.name == name)
    }

    /// Reads bytes as this kind. More than [`DECODE_INPUT_LEN_MAX`] are refused unread.
    #[must_use]
    pub fn inspect(&self, bytes: &[u8]) -> Inspected {
        if bytes.len() > DECODE_INPUT_LEN_MAX {
            let why = format!("more than {DECODE_INPUT_LEN_MAX} bytes: longer than any message");
            let refused = Some((DECODE_INPUT_LEN_MAX, Refused { error_id: "Malformed::Trailing", why }));
            return Inspected { bytes: Vec::new(), fields: Vec::new(), refused };
        }
        let notes = Notes::default();
        let refused = (self.read)(bytes, &notes).err().map(|refused| (notes.stopped_at(), refused));
        Inspected { bytes: bytes.to_vec(), fields: notes.fields(), refused }
    }
}

/// Reads a text that begins as links or author keys do; `None` for any other.
#[must_use]
pub fn inspect_text(text: &str) -> Option<(&'static Kind, Inspected)> {
    let text = text.trim();
    let begins = |with: &str| text.get(..with.len()).is_some_and(|start| start.eq_ignore_ascii_case(with));
    let (name, bytes, whole) = if begins("bauta1") {
        let whole = text.parse::<ContentLink>().map(drop).map_err(Refused::from);
        ("link", ContentLink::bytes_of(text).map_err(Refused::from), whole)
    } else if begins("bautakey1") {
        let whole = text.parse::<AuthorKey>().map(drop).map_err(Refused::from);
        ("author-key", AuthorKey::bytes_of(text).map(|bytes| bytes.to_vec()).map_err(Refused::from), whole)
    } else {
        return None;
    };
    let kind = Kind::named(name)?;
    let inspected = match bytes {
        Ok(bytes) => kind.inspect(&bytes),
        Err(refused) => Inspected { bytes: Vec::new(), fields: Vec::new(), refused: Some((0, refused)) },
    };
    // The bytes may be fine, and the text not the one that they have.
    let refused = inspected.refused.clone().or_else(|| whole.err().map(|refused| (0, refused)));
    Some((kind, Inspected { refused, ..inspected }))
}

/// The kinds that bytes can be read as, the most specific first; text has one kind, by how it begins.
#[must_use]
pub fn fitting(bytes: &[u8]) -> Vec<&'static Kind> {
    KINDS.iter().filter(|kind| kind.inspect(bytes).refused.is_none()).collect()
}

/// Of kinds that do not fit the one that comes furthest: what somebody who made a mistake most likely meant.
#[must_use]
pub fn nearest(bytes: &[u8]) -> Option<&'static Kind> {
    let reach = |kind: &&'static Kind| {
        let reached = kind.inspect(bytes).refused.map_or(bytes.len(), |(offset, _)| offset);
        (reached, core::cmp::Reverse(KINDS.iter().position(|one| one.name == kind.name)))
    };
    KINDS.iter().filter(|kind| !kind.fits_all).max_by_key(reach)
}

impl From<Malformed> for Refused {
    fn from(malformed: Malformed) -> Self {
        let error_id = match malformed {
            Malformed::Short => "Malformed::Short",
            Malformed::Trailing => "Malformed::Trailing",
            Malformed::Value => "Malformed::Value",
        };
        Self { error_id, why: malformed.to_string() }
    }
}

fn name_error_id(refused: NameRefused) -> &'static str {
    match refused {
        NameRefused::Length => "NameRefused::Length",
        NameRefused::Characters => "NameRefused::Characters",
    }
}

impl From<RootRefused> for Refused {
    fn from(refused: RootRefused) -> Self {
        let error_id = match refused {
            RootRefused::Malformed => "RootRefused::Malformed",
            RootRefused::TooLong(_) => "TooLong",
            RootRefused::Name(name) => name_error_id(name),
        };
        Self { error_id, why: refused.to_string() }
    }
}

impl From<FolderRefused> for Refused {
    fn from(refused: FolderRefused) -> Self {
        let error_id = match refused {
            FolderRefused::Malformed => "FolderRefused::Malformed",
            FolderRefused::TooMany => "FolderRefused::TooMany",
            FolderRefused::Path(..) => "FolderRefused::Path",
            FolderRefused::Clash(..) => "FolderRefused::Clash",
        };
        Self { error_id, why: refused.to_string() }
    }
}

impl From<LinkRefused> for Refused {
    fn from(refused: LinkRefused) -> Self {
        let error_id = match refused {
            LinkRefused::Text => "LinkRefused::Text",
            LinkRefused::Version => "LinkRefused::Version",
            LinkRefused::Key => "LinkRefused::Key",
            LinkRefused::Network => "LinkRefused::Network",
        };
        Self { error_id, why: refused.to_string() }
    }
}

impl From<KeyRefused> for Refused {
    fn from(refused: KeyRefused) -> Self {
        let error_id = match refused {
            KeyRefused::Text => "KeyRefused::Text",
            KeyRefused::Version => "KeyRefused::Version",
        };
        Self { error_id, why: refused.to_string() }
    }
}

#[cfg(test)]
mod tests;
