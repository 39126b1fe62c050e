//! What decoders reserve before they know how much there is. A file of its own, for the allocator that counts is the whole process's.
#![cfg(feature = "cli")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests may panic, outside of their own functions too"
)]

use std::alloc::System;
use std::path::Path;

use bauta::cli::kept_files::KeptFile;
use bauta::content::{AuthorKey, FolderIndex, Root};
use bauta::wire::cell::Cell;
use bauta::wire::codec::Reader;
use bauta::wire::descriptor::SignedDescriptor;
use bauta::wire::hello::Hello;
use bauta::wire::message::{Answer, Ask, Assembler};
use bauta::wire::onion::{ExitAnswer, ExitRequest, Routing};
use bauta::wire::record::{RecordBytes, ValueKind};
use serde_json::Value;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static COUNTED: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Bytes that reading may reserve for each byte that is there, and for what is always there.
const PER_BYTE: usize = 32;
const ALWAYS: usize = 32 * 1_024;
const FROM_DISK_MAX: usize = 2 << 20;

/// Every byte string of a vector file: of its cases, wherever it stands in them.
fn strings(value: &Value, found: &mut Vec<Vec<u8>>) {
    match value {
        Value::String(text) => {
            let digit = |at: usize| text.get(at..at + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok());
            let bytes: Option<Vec<u8>> = (0..text.len()).step_by(2).map(digit).collect();
            found.extend(bytes.filter(|bytes| (3..=4_096).contains(&bytes.len())));
        }
        Value::Array(items) => items.iter().for_each(|item| strings(item, found)),
        Value::Object(fields) => fields.values().for_each(|field| strings(field, found)),
        _ => (),
    }
}

type Reads = fn(&[u8]);

/// Everything that reads bytes of strangers, or of a disk, by its name.
const READERS: [(&str, Reads); 16] = [
    ("question", |bytes| drop(Ask::decode(bytes))),
    ("answer", |bytes| drop(Answer::decode(bytes))),
    ("request", |bytes| drop(ExitRequest::decode(bytes))),
    ("answer with a record", |bytes| drop(ExitAnswer::decode(bytes, ValueKind::Signed))),
    ("answer with a chunk", |bytes| drop(ExitAnswer::decode(bytes, ValueKind::Hashed))),
    ("hello", |bytes| drop(Hello::decode(bytes))),
    ("descriptor", |bytes| drop(SignedDescriptor::decode(&mut Reader::new(bytes)))),
    ("record", |bytes| drop(RecordBytes::new(bytes))),
    ("cell", |bytes| drop(bytes.first_chunk().map(Cell::decode))),
    ("routing", |bytes| {
        let _ = bytes.first_chunk().map(Routing::decode);
    }),
    ("first cell", |bytes| drop(bytes.first_chunk().map(|body| Assembler::default().push(body)))),
    ("root", |bytes| drop(Root::decode(bytes))),
    ("folder", |bytes| drop(FolderIndex::decode(bytes, u64::MAX))),
    ("key", |bytes| drop(AuthorKey::from_bytes(bytes))),
    ("guards", |bytes| drop(KeptFile::Guards.reread(&KeptFile::Guards.with_content(bytes)))),
    ("membership", |bytes| drop(KeptFile::Members.reread(&KeptFile::Members.with_content(bytes)))),
];
/// The last two stand on this user's own disk; what reads them reserves a mebibyte for one list at most.
const FROM_DISK: usize = 2;

/// LND's onion bomb (disclosed in June 2024): a hop reserved as much as a length in a packet said, up to 4 GB, before it was bounded. Here any length,
/// count or announcement of a message, a request, a folder or a state file could take a relay's memory, or its process.
#[test]
fn regression_nothing_is_reserved_before_its_length_is_bounded() {
    let mut found = Vec::new();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("spec/vectors");
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|end| end == "json") {
            strings(&serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap(), &mut found);
        }
    }
    found.sort();
    found.dedup();
    assert!(found.len() > 300, "{}", found.len());
    let mut most = 0;
    for bytes in &found {
        // The greatest number in the place of each length that there can be at the front; varints too.
        for (at, width) in (0..bytes.len().min(64)).flat_map(|at| [1, 2, 4, 9].map(|width| (at, width))) {
            let mut changed = bytes.clone();
            let end = (at + width).min(changed.len());
            changed[at..end].fill(0xff);
            if width == 9 && at + width < changed.len() {
                changed[at + width] = 1;
            }
            for (number, (name, read)) in READERS.into_iter().enumerate() {
                let region = Region::new(COUNTED);
                read(&changed);
                let reserved = region.change().bytes_allocated;
                let always = if number + FROM_DISK >= READERS.len() { FROM_DISK_MAX } else { ALWAYS };
                assert!(reserved <= always + PER_BYTE * changed.len(), "{name}: {reserved} for {}", changed.len());
                most = most.max(reserved);
            }
        }
    }
    assert!(most > 1_000, "nothing was read");
}
