//! Roots, folders and layouts: what decodes encodes to the same bytes, no path leaves its folder or meets another, files stand one behind
//! the other up to the last byte, and every byte of a level is in one chunk of one group, within what a content may have.

use std::collections::BTreeSet;
use std::path::{Component, Path};

use bauta::content::{Body, Entry, EntryKind, FolderIndex, INDEX_HEAD_LEN, Layout, Root, padded};
use bauta::limits::{
    CHUNK_LEN, CONTENT_LEVELS_MAX, FILE_LEN_MAX, FOLDER_DEPTH_MAX, FOLDER_ENTRIES_MAX, FOLDER_PATH_LEN_MAX,
    GROUP_CHUNKS, PAYLOAD_LEN_MAX, ROOT_HASHES_MAX,
};

use super::script::Script;

/// Pieces of which paths are made that almost are ones.
const PIECES: [&str; 20] = [
    "a", "b", "A", "/", "/", ".", "..", "\\", ":", "con", "NUL.x", " ", "\0", "ß", "İ", "\u{202e}", "é", "x", "~",
    "lpt9",
];

fn root(data: &[u8]) {
    let Ok(root) = Root::decode(data) else { return };
    assert_eq!(root.encode().as_deref(), Ok(data));
    assert!(data.len() <= PAYLOAD_LEN_MAX);
    let name = Path::new(root.name.as_str());
    assert!(name.components().eq([Component::Normal(name.as_os_str())]), "one component");
    if let Body::Chunks(chunks) = root.body {
        assert!(chunks.hashes.len() <= ROOT_HASHES_MAX);
        assert_eq!(Layout::of(chunks.len).map(|layout| layout.root_hashes()), Ok(chunks.hashes.len()));
        assert_eq!(chunks.hashes.iter().collect::<BTreeSet<_>>().len(), chunks.hashes.len());
    }
}

fn is_safe(path: &str) -> bool {
    let parts: Vec<_> = Path::new(path).components().collect();
    // What a system with other separators would make of it, too.
    parts.iter().all(|part| matches!(part, Component::Normal(_)))
        && parts.len() == path.split('/').count()
        && parts.len() <= FOLDER_DEPTH_MAX
        && path.len() <= FOLDER_PATH_LEN_MAX
        && !path.contains(['\\', ':'])
        && !path.chars().any(char::is_control)
}

fn index(folder: &FolderIndex, len: u64) {
    assert!(folder.len() == len && folder.entries().len() <= FOLDER_ENTRIES_MAX);
    let encoded = folder.encode();
    let (head, index) = encoded.split_at(4);
    assert_eq!(FolderIndex::index_len(head), Ok(u64::try_from(index.len()).expect("small")));
    assert_eq!(FolderIndex::decode(index, len).as_ref(), Ok(folder));
    assert!(FolderIndex::decode(index, len + 1).is_err() && FolderIndex::decode(index, len - 1).is_err());
    let mut at = INDEX_HEAD_LEN + u64::try_from(index.len()).expect("small");
    for (_, bytes) in folder.files() {
        assert!(bytes.start == at && bytes.end >= at);
        at = bytes.end;
    }
    assert!(at == len && folder.entries().iter().map(Entry::len).sum::<u64>() <= FILE_LEN_MAX);
    assert!(folder.entries().iter().all(|entry| is_safe(&entry.path)));
    // No two are one where cases are, and nothing lies below a file or an empty folder.
    let folded: BTreeSet<String> = folder.entries().iter().map(|entry| entry.path.to_lowercase()).collect();
    assert_eq!(folded.len(), folder.entries().len());
    let below = |path: &String| folded.iter().any(|other| other.starts_with(&format!("{path}/")));
    assert!(!folded.iter().any(below));
}

fn folder(script: &mut Script<'_>, fault: bool) {
    let mut entries = Vec::new();
    for _ in 0..script.below(12) {
        let path: String = (0..=script.below(8)).map(|_| script.pick(&PIECES)).collect();
        let runs = script.byte() & 1 != 0;
        let len = u64::from(script.byte()) << script.below(40);
        let kind = if script.byte() & 7 == 7 { EntryKind::Empty } else { EntryKind::File { len, runs } };
        entries.push(Entry { path, kind });
    }
    if let Ok(folder) = FolderIndex::new(entries) {
        index(&folder, folder.len() + u64::from(fault));
    }
}

fn layout(script: &mut Script<'_>) {
    let len = u64::from(script.u16()) << 32 | u64::from(script.u16()) << 16 | u64::from(script.u16());
    let len = len >> script.below(48);
    let Ok(layout) = Layout::of(len) else { return assert!(len > FILE_LEN_MAX) };
    assert!(len <= FILE_LEN_MAX && layout.levels().len() <= CONTENT_LEVELS_MAX);
    assert!((1..=ROOT_HASHES_MAX).contains(&layout.root_hashes()) && layout.levels()[0].len == len);
    assert_eq!(layout.chunks(), layout.levels().iter().map(|level| level.chunks()).sum::<u64>());
    let chunk_len = u64::try_from(CHUNK_LEN).expect("small");
    for (level, above) in layout.levels().iter().zip(layout.levels().iter().skip(1).map(Some).chain([None])) {
        assert!(above.is_none_or(|above| above.len == 32 * level.chunks()));
        assert!(level.data * chunk_len >= level.len && level.data <= padded(level.len.div_ceil(chunk_len).max(1)));
        let number = u64::from(script.u16()) % level.groups();
        let group = level.group(number);
        assert!(group.data > 0 && group.data < 2 * GROUP_CHUNKS && group.parity > 0);
        let data = u64::try_from(group.data).expect("small");
        let chunks = u64::try_from(group.data + group.parity).expect("small");
        assert!(level.group_of(group.first_data) == number && level.group_of(group.first_data + data - 1) == number);
        let (next_data, next_index) = if number + 1 < level.groups() {
            let next = level.group(number + 1);
            (next.first_data, next.first_index)
        } else {
            (level.data, level.chunks())
        };
        assert_eq!((group.first_data + data, group.first_index + chunks), (next_data, next_index));
        let chunk = u64::from(script.u16()) % level.data;
        let in_chunk = u64::try_from(level.len_in(chunk)).expect("small");
        assert_eq!(in_chunk, level.len.saturating_sub(chunk * chunk_len).min(chunk_len));
    }
    let (start, end) = (u64::from(script.u16()) << script.below(24), u64::from(script.u16()) << script.below(24));
    let bytes = start.min(len)..end.clamp(start.min(len), len.max(start.min(len)));
    let (wanted, hashes) = layout.wanted(0, &bytes);
    for one in &wanted {
        assert!(one.chunks.start <= one.chunks.end && one.chunks.end <= one.level.data);
        let covers = one.chunks.start * chunk_len <= one.bytes.start && one.bytes.end <= one.chunks.end * chunk_len;
        assert!(covers || one.bytes.is_empty());
    }
    assert!(hashes.end <= 32 * u64::try_from(layout.root_hashes()).expect("small"));
}

/// Checks one input. With `fault`, as it would be where a folder's length is told as one byte more.
pub fn check(data: &[u8], fault: bool) {
    let mut script = Script::new(data);
    match script.byte() % 4 {
        0 => root(script.rest()),
        1 => {
            let (len, bytes) = (u64::from(script.u16()), script.rest());
            if let Ok(folder) = FolderIndex::decode(bytes, len) {
                assert_eq!(folder.encode()[4..], *bytes);
                index(&folder, len);
            }
        }
        2 => folder(&mut script, fault),
        _ => layout(&mut script),
    }
}
