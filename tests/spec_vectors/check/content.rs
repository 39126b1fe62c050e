//! Chunks, parity, layouts, roots, folders.

use bauta::content::{
    Body, ChunkAt, Chunks, ContentKind, EntryKind, FolderIndex, Layout, PublicationSecret, Root, RootRefused,
    open_chunk, parity_for, protect, rebuild, seal_chunk,
};
use bauta::crypto::hash::{blake3, hashed_location};
use bauta::limits::{CHUNK_LEN, CHUNK_TWEAK_LEN, SEALED_CHUNK_LEN};

use super::read::Case;
use super::{Refusal, told};
use crate::make::content::chunk_of_group;

pub(super) fn chunk(case: &Case) {
    let (secret, mut content) = (PublicationSecret::from_bytes(case.array("secret")), case.bytes("content"));
    content.resize(CHUNK_LEN, 0);
    let (level, index) = (case.number("level").try_into().unwrap(), case.number("index").try_into().unwrap());
    let at = ChunkAt { level, index };
    let sealed = seal_chunk(&secret, at, &content).unwrap();
    assert_eq!((sealed.bytes.len(), sealed.hash), (SEALED_CHUNK_LEN, case.array("name")));
    let (tweak, text) = sealed.bytes.split_at(CHUNK_TWEAK_LEN);
    assert_eq!(tweak, case.bytes("tweak"));
    assert!(text.starts_with(&case.bytes("first_64_bytes")) && text.ends_with(&case.bytes("tag")));
    assert_eq!(hashed_location(&sealed.hash, 0).0.to_vec(), case.bytes("location"));
    assert_eq!(open_chunk(&secret, at, sealed.bytes), Ok(content));
}

pub(super) fn parity(case: &Case) {
    let data = usize::try_from(case.number("content_chunks")).unwrap();
    let content: Vec<Vec<u8>> = (0..data).map(chunk_of_group).collect();
    let parity = protect(&content, parity_for(data)).unwrap();
    assert_eq!(u64::try_from(parity.len()).unwrap(), case.number("parity_chunks"));
    assert_eq!(blake3(&[&parity.concat()]), case.array("digest"));
    assert_eq!(parity.iter().map(|chunk| chunk[..16].to_vec()).collect::<Vec<_>>(), case.bytes_list("first_16_bytes"));
    // All of the content from parity, as far as there is enough of it.
    let kept = data.saturating_sub(parity.len());
    let content_kept = content.iter().enumerate().map(|(at, chunk)| (at < kept).then_some(&chunk[..]));
    let have: Vec<Option<&[u8]>> = content_kept.chain(parity.iter().map(|chunk| Some(&chunk[..]))).collect();
    let made = rebuild(&have, data).unwrap();
    assert_eq!(made.len(), data - kept);
    assert!(made.into_iter().all(|(at, bytes)| bytes == content[at]));
}

pub(super) fn layout(case: &Case) {
    let layout = Layout::of(case.number("length")).unwrap();
    let rows = case.list("levels");
    assert_eq!(layout.levels().len(), rows.len());
    for (level, row) in layout.levels().iter().zip(&rows) {
        let last = level.group(level.groups() - 1);
        let (data, parity) = (last.data.try_into().unwrap(), last.parity.try_into().unwrap());
        let expected: Vec<u64> = row.0.as_array().unwrap().iter().map(|number| number.as_u64().unwrap()).collect();
        assert_eq!(vec![level.len, level.data, level.groups(), data, parity, level.chunks()], expected);
    }
    assert_eq!(u64::try_from(layout.root_hashes()).unwrap(), case.number("root_hashes"));
}

pub(super) fn refused_layout(case: &Case) -> Refusal {
    told("TooLong", Layout::of(case.number("length")).unwrap_err())
}

pub(super) fn root(case: &Case) {
    let raw = case.bytes("bytes");
    let root = Root::decode(&raw).unwrap();
    let kind = if root.kind == ContentKind::Folder { "folder" } else { "file" };
    assert_eq!((root.name.as_str(), kind), (case.text("name"), case.text("kind")));
    match &root.body {
        Body::Inline(content) => {
            assert_eq!((case.text("variant"), content), ("inline", &case.bytes("content")));
        }
        Body::Chunks(Chunks { len, secret, hashes }) => {
            assert_eq!((case.text("variant"), *len), ("chunks", case.number("length")));
            assert_eq!(secret.as_bytes(), &case.array("secret"));
            assert_eq!(hashes.iter().map(|hash| hash.to_vec()).collect::<Vec<_>>(), case.bytes_list("hashes"));
        }
    }
    assert_eq!(root.encode(), Ok(raw));
}

pub(super) fn refused_root(case: &Case) -> Refusal {
    match Root::decode(&case.bytes("bytes")).unwrap_err() {
        RootRefused::TooLong(error) => told("TooLong", error),
        RootRefused::Name(error) => told("NameRefused", error),
        error => told("RootRefused", error),
    }
}

pub(super) fn folder(case: &Case) {
    let (bytes, len) = (case.bytes("bytes"), case.number("length"));
    let head = usize::try_from(FolderIndex::index_len(&bytes[..4]).unwrap()).unwrap();
    assert_eq!(head, bytes.len() - 4);
    let index = FolderIndex::decode(&bytes[4..], len).unwrap();
    assert_eq!((index.encode(), index.len()), (bytes, len));
    let rows = case.list("entries");
    assert_eq!(index.entries().len(), rows.len());
    for (entry, row) in index.entries().iter().zip(&rows) {
        let kind = match row.0[1].as_u64() {
            Some(len) => EntryKind::File { len, runs: row.0[2].as_u64() == Some(1) },
            None => EntryKind::Empty,
        };
        assert_eq!((Some(&*entry.path), entry.kind), (row.0[0].as_str(), kind));
    }
}

pub(super) fn refused_folder(case: &Case) -> Refusal {
    told("FolderRefused", FolderIndex::decode(&case.bytes("index"), case.number("length")).unwrap_err())
}
