//! A folder as one run of bytes: an index of what is in it, then the files one after the other. What an index may say is what can be
//! written below one folder on any usual system, and nowhere else. Source: spec/content.md §5.

use core::ops::Range;
use std::collections::BTreeMap;

use serde::Serialize;

use super::file_name::FileName;
use super::layout::to_usize;
use super::taken::taken;
use crate::limits::{FILE_LEN_MAX, FOLDER_DEPTH_MAX, FOLDER_ENTRIES_MAX, FOLDER_INDEX_LEN_MAX, FOLDER_PATH_LEN_MAX};
use crate::wire::codec::{Malformed, Reader};

/// Bytes before the index: its length.
pub const INDEX_HEAD_LEN: u64 = 4;

/// Names that some systems take for devices, in any case and with any ending.
const RESERVED: [&str; 22] = [
    "con", "prn", "aux", "nul", "com1", "com2", "com3", "com4", "com5", "com6", "com7", "com8", "com9", "lpt1", "lpt2",
    "lpt3", "lpt4", "lpt5", "lpt6", "lpt7", "lpt8", "lpt9",
];

/// What is in a folder, sorted by path.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FolderIndex {
    entries: Vec<Entry>,
    /// Bytes before the first file.
    head: u64,
}

/// One file, or a folder in which nothing is.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Entry {
    /// Below the folder; components are parted by `/`.
    pub path: String,
    /// What it is.
    pub kind: EntryKind,
}

/// What is at a path.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub enum EntryKind {
    /// A file of so many bytes.
    File {
        /// Bytes.
        len: u64,
        /// Whether its owner may run it.
        runs: bool,
    },
    /// A folder with nothing in it.
    Empty,
}

/// Why an index, or a path for one, is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FolderRefused {
    /// The bytes are no index, or the lengths do not add up.
    #[error("the index of the folder is damaged, or its lengths do not add up")]
    Malformed,
    /// Too many entries.
    #[error("a folder has at most {FOLDER_ENTRIES_MAX} files, and an index of {FOLDER_INDEX_LEN_MAX} bytes")]
    TooMany,
    /// A path that would leave the folder, or that some systems cannot write.
    #[error("{0:?}: not a path that can be written everywhere below one folder: {1}")]
    Path(String, &'static str),
    /// Two paths that would be one on some systems, or a file where another path has a folder.
    #[error("{0:?} and {1:?}: some systems would take them for one, or one for the other's folder")]
    Clash(String, String),
}

impl FolderIndex {
    /// Of these entries, in any order.
    ///
    /// # Errors
    /// [`FolderRefused`].
    pub fn new(mut entries: Vec<Entry>) -> Result<Self, FolderRefused> {
        entries.sort_by(|one, other| one.path.cmp(&other.path));
        check(&entries)?;
        let bytes = postcard::to_allocvec(&entries).map_err(|_| FolderRefused::TooMany)?;
        let len = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        if bytes.len() > FOLDER_INDEX_LEN_MAX {
            return Err(FolderRefused::TooMany);
        }
        Ok(Self { entries, head: INDEX_HEAD_LEN + len })
    }

    /// The bytes before the first file: u32 length, index.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let index = postcard::to_allocvec(&self.entries).unwrap_or_default();
        let mut bytes = u32::try_from(index.len()).unwrap_or(u32::MAX).to_be_bytes().to_vec();
        bytes.extend(index);
        bytes
    }

    /// How many bytes the index has, of which these are the first [`INDEX_HEAD_LEN`] before it.
    ///
    /// # Errors
    /// [`FolderRefused::Malformed`].
    pub fn index_len(head: &[u8]) -> Result<u64, FolderRefused> {
        let head = <[u8; 4]>::try_from(head).map_err(|_| FolderRefused::Malformed)?;
        let len = u32::from_be_bytes(head);
        let fits = usize::try_from(len).is_ok_and(|len| len <= FOLDER_INDEX_LEN_MAX);
        if fits { Ok(u64::from(len)) } else { Err(FolderRefused::Malformed) }
    }

    /// Reads the index of a content of `len` bytes.
    ///
    /// # Errors
    /// [`FolderRefused`].
    pub fn decode(index: &[u8], len: u64) -> Result<Self, FolderRefused> {
        if index.len() > FOLDER_INDEX_LEN_MAX {
            return Err(FolderRefused::TooMany);
        }
        let folder = Self::read(Reader::new(index))?;
        if folder.len() == len { Ok(folder) } else { Err(FolderRefused::Malformed) }
    }

    /// Reads an index, whatever the content's length.
    ///
    /// # Errors
    /// [`FolderRefused`].
    pub fn read(mut reader: Reader<'_>) -> Result<Self, FolderRefused> {
        let index = reader.rest();
        // Before room is made for as many.
        let count: u32 = taken(reader.field("entries")).map_err(|_| FolderRefused::Malformed)?;
        reader.say(|| format!("{count} follow"));
        if to_usize(u64::from(count)) > FOLDER_ENTRIES_MAX {
            return Err(FolderRefused::TooMany);
        }
        let entry = |number| reader.within(&format!("entries[{number}]"), Entry::read);
        let entries: Result<Vec<Entry>, Malformed> = (0..count).map(entry).collect();
        let entries = entries.map_err(|_| FolderRefused::Malformed)?;
        let again = postcard::to_allocvec(&entries).map_err(|_| FolderRefused::Malformed)?;
        if reader.finish().is_err() || again != index {
            return Err(FolderRefused::Malformed);
        }
        if !entries.is_sorted_by(|one, other| one.path < other.path) {
            return Err(FolderRefused::Malformed);
        }
        check(&entries)?;
        Ok(Self { entries, head: INDEX_HEAD_LEN + u64::try_from(index.len()).unwrap_or(u64::MAX) })
    }

    /// What is in it, by path.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Bytes of the whole content.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.head + self.entries.iter().map(Entry::len).sum::<u64>()
    }

    /// Never: there is an index.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        false
    }

    /// Where each file stands in the content, in order.
    pub fn files(&self) -> impl Iterator<Item = (&str, Range<u64>)> {
        let mut at = self.head;
        self.entries.iter().filter(|entry| matches!(entry.kind, EntryKind::File { .. })).map(move |entry| {
            let start = at;
            at += entry.len();
            (entry.path.as_str(), start..at)
        })
    }
}

impl Entry {
    fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let path: String = taken(reader.field("path"))?;
        reader.say(|| format!("{path:?}"));
        let kind = match taken::<u32>(reader.field("kind"))? {
            0 => {
                reader.say(|| "file".to_owned());
                let len = taken(reader.field("length"))?;
                reader.say(|| format!("{len} bytes"));
                let runs = taken(reader.field("may be run"))?;
                reader.say(|| if runs { "yes".to_owned() } else { "no".to_owned() });
                EntryKind::File { len, runs }
            }
            1 => {
                reader.say(|| "empty folder".to_owned());
                EntryKind::Empty
            }
            _ => return Err(Malformed::Value),
        };
        Ok(Self { path, kind })
    }

    /// Bytes of the file; none of a folder.
    #[must_use]
    pub const fn len(&self) -> u64 {
        match self.kind {
            EntryKind::File { len, .. } => len,
            EntryKind::Empty => 0,
        }
    }

    /// Whether it has no bytes.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

fn check(entries: &[Entry]) -> Result<(), FolderRefused> {
    if entries.len() > FOLDER_ENTRIES_MAX {
        return Err(FolderRefused::TooMany);
    }
    let mut len = 0_u64;
    // By what systems that know no cases would take them for: the path, and whether it is a folder on the way to another.
    let mut taken: BTreeMap<String, (&str, bool)> = BTreeMap::new();
    for entry in entries {
        len = len.checked_add(entry.len()).filter(|len| *len <= FILE_LEN_MAX).ok_or(FolderRefused::Malformed)?;
        check_path(&entry.path)?;
        let folded = entry.path.to_lowercase();
        let folders = folded.char_indices().filter(|(_, c)| *c == '/').map(|(at, _)| (at, true));
        // Lower case may have other lengths: folders are compared as they are written, by their number of components.
        let mut written = entry.path.char_indices().filter(|(_, c)| *c == '/').map(|(at, _)| at);
        for (end, is_folder) in folders.chain([(folded.len(), false)]) {
            let own = if is_folder { written.next().and_then(|at| entry.path.get(..at)) } else { Some(&*entry.path) };
            let (Some(key), Some(own)) = (folded.get(..end), own) else { return Err(FolderRefused::Malformed) };
            match taken.get(key) {
                // Folders on the way count, too: a small index must not make millions of them.
                None if taken.len() >= FOLDER_ENTRIES_MAX => return Err(FolderRefused::TooMany),
                None => drop(taken.insert(key.to_owned(), (own, is_folder))),
                Some((same, true)) if is_folder && *same == own => (),
                Some((other, _)) => return Err(FolderRefused::Clash((*other).to_owned(), own.to_owned())),
            }
        }
    }
    Ok(())
}

/// Whether a path can be in an index.
///
/// # Errors
/// [`FolderRefused::Path`].
pub fn check_path(path: &str) -> Result<(), FolderRefused> {
    let refused = |why| Err(FolderRefused::Path(path.chars().take(200).collect(), why));
    if path.len() > FOLDER_PATH_LEN_MAX {
        return refused("too long");
    }
    if path.split('/').count() > FOLDER_DEPTH_MAX {
        return refused("too deep");
    }
    for part in path.split('/') {
        if FileName::new(part).is_err() {
            return refused("empty, . or .., too long, or with characters that do not read as they are");
        }
        if part.contains(['<', '>', ':', '"', '|', '?', '*']) || part.ends_with(['.', ' ']) {
            return refused("with one of <>:\"|?*, or a dot or space at its end");
        }
        let stem = part.split('.').next().unwrap_or(part).trim_end().to_lowercase();
        if RESERVED.contains(&&*stem) {
            return refused("the name of a device");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn file(path: &str, len: u64) -> Entry {
        Entry { path: path.into(), kind: EntryKind::File { len, runs: false } }
    }

    fn folder(path: &str) -> Entry {
        Entry { path: path.into(), kind: EntryKind::Empty }
    }

    // [CONT-W-017] [CONT-R-018]
    #[test]
    fn an_index_comes_back_and_says_where_each_file_stands() {
        let entries = vec![file("b/größe.txt", 5), folder("c/leer"), file("a", 0), file("b/c", 7)];
        let index = FolderIndex::new(entries).unwrap();
        let bytes = index.encode();
        let head = u64::try_from(bytes.len()).unwrap();
        assert_eq!(FolderIndex::index_len(&bytes[..4]).unwrap() + 4, head);
        assert_eq!(FolderIndex::decode(&bytes[4..], head + 12).unwrap(), index);
        let files: Vec<_> = index.files().collect();
        assert_eq!(files, [("a", head..head), ("b/c", head..head + 7), ("b/größe.txt", head + 7..head + 12)]);
        assert_eq!(
            FolderIndex::decode(&bytes[4..], head + 11),
            Err(FolderRefused::Malformed),
            "sizes that do not add up"
        );
        assert_eq!(FolderIndex::new(Vec::new()).unwrap().encode(), [0, 0, 0, 1, 0]);
    }

    // [CONT-R-018]
    #[test]
    fn paths_that_leave_the_folder_or_cannot_be_written_everywhere_are_refused() {
        let deep = vec!["d"; FOLDER_DEPTH_MAX + 1].join("/");
        let long = vec!["n".repeat(250); 5].join("/");
        for path in [
            "",
            "/",
            "/etc/passwd",
            "..",
            "../x",
            "a/../b",
            "a/./b",
            "a//b",
            "a/",
            "a\\b",
            "C:\\x",
            "c:x",
            "CON",
            "aux.txt",
            "Com1.tar.gz",
            "nul ",
            "a.",
            "a ",
            "what?",
            "a\nb",
            "gpj\u{202e}exe",
            &deep,
            &long,
        ] {
            let refused = FolderIndex::new(vec![file(path, 1)]);
            assert!(matches!(refused, Err(FolderRefused::Path(..))), "{path:?}: {refused:?}");
        }
        for path in ["a", "a/b/c", ".hidden", "...x", "console", "-rf", &vec!["d"; FOLDER_DEPTH_MAX].join("/")] {
            assert!(FolderIndex::new(vec![file(path, 1)]).is_ok(), "{path:?}");
        }
    }

    // [CONT-R-018]
    #[test]
    fn two_names_that_differ_in_case_and_files_with_something_below_them_are_refused() {
        for (one, other) in [("a", "a"), ("a", "A"), ("A/x", "a/y"), ("a", "a/b"), ("A", "a/b"), ("ä", "Ä")] {
            let refused = FolderIndex::new(vec![file(one, 1), file(other, 1)]);
            assert!(matches!(refused, Err(FolderRefused::Clash(..))), "{one} {other}: {refused:?}");
        }
        assert!(matches!(FolderIndex::new(vec![folder("a"), file("a/b", 1)]), Err(FolderRefused::Clash(..))));
        assert!(FolderIndex::new(vec![file("a/x", 1), file("a/y", 1), file("ab", 1)]).is_ok());
    }

    // [CONT-R-018]
    #[test]
    fn other_orders_longer_numbers_and_absurd_counts_are_refused() {
        let unsorted = postcard::to_allocvec(&vec![file("b", 0), file("a", 0)]).unwrap();
        assert_eq!(
            FolderIndex::decode(&unsorted, 4 + u64::try_from(unsorted.len()).unwrap()),
            Err(FolderRefused::Malformed)
        );
        let counts = postcard::to_allocvec(&u64::MAX).unwrap();
        assert_eq!(FolderIndex::decode(&counts, 100), Err(FolderRefused::Malformed));
        let many = vec![file("a", FILE_LEN_MAX), file("b", 1)];
        assert_eq!(FolderIndex::new(many), Err(FolderRefused::Malformed));
        let entries = (0..=FOLDER_ENTRIES_MAX).map(|number| file(&number.to_string(), 0)).collect();
        assert_eq!(FolderIndex::new(entries), Err(FolderRefused::TooMany));
        let long = u32::try_from(FOLDER_INDEX_LEN_MAX + 1).unwrap().to_be_bytes();
        assert_eq!(FolderIndex::index_len(&long), Err(FolderRefused::Malformed));
    }

    proptest! {
        #[test]
        fn what_decodes_encodes_to_the_same_bytes(bytes in proptest::collection::vec(0..100_u8, 0..60), len in 0..200_u64) {
            if let Ok(index) = FolderIndex::decode(&bytes, len) {
                prop_assert_eq!(&index.encode()[4..], bytes);
            }
        }
    }
}
