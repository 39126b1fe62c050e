//! Chunks, parity, layouts, roots, folders.

use bauta::content::{
    Body, ChunkAt, Chunks, ContentKind, Entry, EntryKind, FileName, FolderIndex, Layout, PublicationSecret, Root,
    parity_for, protect, seal_chunk,
};
use bauta::crypto::hash::{blake3, hashed_location};
use bauta::limits::{CHUNK_LEN, CHUNK_TWEAK_LEN, FILE_LEN_MAX, SEALED_CHUNK_LEN};

use super::{Field, Fields, VectorFile, bytes, made, made_vec, text};

pub(super) fn files() -> Vec<VectorFile> {
    vec![chunks(), parity(), layouts(), roots(), folders()]
}

fn chunks() -> VectorFile {
    let secret: [u8; 32] = made("publication");
    let case = |level: u8, index: u32, content: &[u8]| {
        let mut whole = content.to_vec();
        whole.resize(CHUNK_LEN, 0);
        let sealed = seal_chunk(&PublicationSecret::from_bytes(secret), ChunkAt { level, index }, &whole).unwrap();
        vec![
            ("secret", bytes(secret)),
            ("level", u64::from(level).into()),
            ("index", u64::from(index).into()),
            ("content", bytes(content)),
            ("tweak", bytes(&sealed.bytes[..CHUNK_TWEAK_LEN])),
            ("first_64_bytes", bytes(&sealed.bytes[CHUNK_TWEAK_LEN..CHUNK_TWEAK_LEN + 64])),
            ("tag", bytes(&sealed.bytes[CHUNK_TWEAK_LEN + CHUNK_LEN..])),
            ("name", bytes(sealed.hash)),
            ("location", bytes(hashed_location(&sealed.hash, 0).0)),
        ]
    };
    assert_eq!(SEALED_CHUNK_LEN, 65_568);
    VectorFile {
        name: "chunks",
        description: "Sealed chunks: of 65,568 bytes the tweak, the first 64 behind it and the tag, and the name, which covers all. Zeros fill the content up to 65,536 bytes.",
        spec: &["content.md §2.2", "values.md §3"],
        cases: vec![
            case(0, 0, b"content"),
            case(0, 1, b""),
            case(0, 1_023, &made_vec("content", 300)),
            case(2, 1_023, &made_vec("content", 300)),
        ],
        invalid: vec![],
    }
}

/// Chunk number `at` of a group: its number in every fourth byte, and where that stands in the others.
pub(crate) fn chunk_of_group(at: usize) -> Vec<u8> {
    let byte = |place: usize| if place.is_multiple_of(4) { at } else { place / 4 };
    (0..CHUNK_LEN).map(|place| byte(place).to_le_bytes()[0]).collect()
}

fn parity() -> VectorFile {
    let case = |data: usize| {
        let content: Vec<Vec<u8>> = (0..data).map(chunk_of_group).collect();
        let parity = protect(&content, parity_for(data)).unwrap();
        vec![
            ("content_chunks", u64::try_from(data).unwrap().into()),
            ("parity_chunks", u64::try_from(parity.len()).unwrap().into()),
            ("first_16_bytes", Field::List(parity.iter().map(|chunk| bytes(&chunk[..16])).collect())),
            ("digest", bytes(blake3(&[&parity.concat()]))),
        ]
    };
    VectorFile {
        name: "parity",
        description: "Chunks of parity. Byte b of chunk c of the content is c where b is a multiple of four, else b/4 mod 256. The digest is the BLAKE3 of all of parity, one after the other.",
        spec: &["content.md §2.4"],
        // Those beside which powers of two, or the aim of m(k), change, too.
        cases: [1, 2, 3, 4, 5, 7, 8, 9, 10, 11, 16, 17, 20, 21, 30, 31, 32, 33, 36, 63].map(case).into(),
        invalid: vec![],
    }
}

fn layouts() -> VectorFile {
    let case = |len: u64| {
        let layout = Layout::of(len).unwrap();
        let level = |level: &bauta::content::Level| {
            let last = level.group(level.groups() - 1);
            Field::List(vec![
                level.len.into(),
                level.data.into(),
                level.groups().into(),
                u64::try_from(last.data).unwrap().into(),
                u64::try_from(last.parity).unwrap().into(),
                level.chunks().into(),
            ])
        };
        vec![
            ("length", len.into()),
            ("levels", Field::List(layout.levels().iter().map(level).collect())),
            ("root_hashes", u64::try_from(layout.root_hashes()).unwrap().into()),
        ]
    };
    let lens = [0, 1, 65_536, 65_537, 7 << 16, (7 << 16) + 1, 1 << 20, (33 << 16) - 5, 64 << 16, 200 << 16, 1 << 30];
    VectorFile {
        name: "layouts",
        description: "What content of a length is made of. Of each level: bytes, chunks of content, groups, chunks of content and of parity in the last group, chunks in all.",
        spec: &["content.md §2.1", "content.md §2.4"],
        cases: lens.into_iter().chain([FILE_LEN_MAX]).map(case).collect(),
        invalid: vec![vec![
            ("name", text("one byte over the longest content")),
            ("length", (FILE_LEN_MAX + 1).into()),
            ("error", text("content has at most 68719476736 bytes")),
        ]],
    }
}

fn roots() -> VectorFile {
    let name = |name: &str| FileName::new(name).unwrap();
    let secret: [u8; 32] = made("publication");
    let root = |file: &str, kind, body: Body| Root { name: name(file), kind, body }.encode().unwrap();
    let case = |file: &str, kind: ContentKind, body: Body| {
        let raw = root(file, kind, body.clone());
        let what = if kind == ContentKind::Folder { "folder" } else { "file" };
        let mut fields = vec![("name", text(file)), ("kind", text(what))];
        match body {
            Body::Inline(content) => fields.extend([("variant", text("inline")), ("content", bytes(content))]),
            Body::Chunks(Chunks { len, secret, hashes }) => fields.extend([
                ("variant", text("chunks")),
                ("length", len.into()),
                ("secret", bytes(secret.as_bytes())),
                ("hashes", Field::List(hashes.iter().map(bytes).collect())),
            ]),
        }
        fields.push(("bytes", bytes(raw)));
        fields
    };
    let hashes = |count: usize| (0..count).map(|at| made(&format!("hash {at}"))).collect::<Vec<[u8; 32]>>();
    let chunks =
        |len, count| Body::Chunks(Chunks { len, secret: PublicationSecret::from_bytes(secret), hashes: hashes(count) });
    let refused =
        |name: &str, raw: &[u8], error: &str| vec![("name", text(name)), ("bytes", bytes(raw)), ("error", text(error))];
    let (malformed, long) = ("root: damaged, or of another version", "content has at most 68719476736 bytes");
    let file = ContentKind::File;
    let with_chunks = |len, count| root("a", file, chunks(len, count));
    VectorFile {
        name: "roots",
        description: "Roots of publications: what stands in the payload of a signed value.",
        spec: &["content.md §3"],
        cases: vec![
            case("a", file, Body::Inline(vec![])),
            case("größe.txt", file, Body::Inline(made_vec("content", 200))),
            case("folder", ContentKind::Folder, Body::Inline(vec![0, 0, 0, 1, 0])),
            case("a", file, Body::Inline(made_vec("content", 1_016))),
            case(&"n".repeat(255), file, Body::Inline(made_vec("content", 762))),
            case("two", file, chunks(65_537, 11)),
            case("seven", ContentKind::Folder, chunks(7 * 65_536, 21)),
            case("large", file, chunks(FILE_LEN_MAX, Layout::of(FILE_LEN_MAX).unwrap().root_hashes())),
        ],
        invalid: vec![
            refused("empty", &[], malformed),
            refused("version 1", &[1, 1, b'a', 0, 0, 0], malformed),
            refused("version 3", &[3, 1, b'a', 0, 0, 0], malformed),
            refused("kind 2", &[2, 1, b'a', 2, 0, 0], malformed),
            refused("variant 2", &[2, 1, b'a', 0, 2, 0], malformed),
            refused("a byte behind", &[2, 1, b'a', 0, 0, 0, 0], malformed),
            refused("a length in a longer varint", &[2, 0x81, 0, b'a', 0, 0, 0], malformed),
            refused("a name that is no UTF-8", &[2, 1, 0xff, 0, 0, 0], malformed),
            refused("ten hashes for two chunks and nine of parity", &with_chunks(65_537, 10), malformed),
            refused("no hash", &with_chunks(1, 0), malformed),
            refused("one byte over the longest content", &with_chunks(FILE_LEN_MAX + 1, 11), long),
            refused("one byte over the longest content inline", &inline("a", 1_017), malformed),
            refused("a hash twice", &with_a_hash_twice(with_chunks(65_537, 11)), malformed),
        ]
        .into_iter()
        .chain(refused_names())
        .collect(),
    }
}

/// A root of a file of this name, with so many zeros inline.
fn inline(name: &str, len: usize) -> Vec<u8> {
    postcard::to_allocvec(&(2_u8, name, 0_u8, 0_u8, vec![0_u8; len])).unwrap()
}

/// Of these hashes the first stands in the place of the second, too.
fn with_a_hash_twice(mut root: Vec<u8>) -> Vec<u8> {
    let first = root.len() - 11 * 32;
    root.copy_within(first..first + 32, first + 32);
    root
}

/// Roots whose name is none.
fn refused_names() -> Vec<Fields> {
    let (length, characters) = (
        "a file name has 1 to 255 bytes",
        "a file name has no path separator and no control character, and is neither . nor ..",
    );
    let rows = [
        ("no name", String::new(), length),
        ("a name of 256 bytes", "n".repeat(256), length),
        ("a name with a separator", "a/b".to_owned(), characters),
        ("a name with the other separator", "a\\b".to_owned(), characters),
        ("a name that is the folder", ".".to_owned(), characters),
        ("a name that is the folder above", "..".to_owned(), characters),
    ];
    // The first and last of each range that is refused.
    let odd = [0x00, 0x1f, 0x7f, 0x9f, 0x61c, 0x200e, 0x200f, 0x202a, 0x202e, 0x2066, 0x2069];
    let odd = odd.map(|code| char::from_u32(code).unwrap());
    let odd = odd.map(|odd| (format!("a name with U+{:04X}", u32::from(odd)), format!("a{odd}b"), characters));
    let rows = rows.into_iter().map(|(what, name, error)| (what.to_owned(), name, error)).chain(odd);
    let row = |(what, name, error): (String, String, &str)| {
        vec![("name", text(&what)), ("bytes", bytes(inline(&name, 0))), ("error", text(error))]
    };
    rows.map(row).collect()
}

fn file(path: &str, len: u64, runs: bool) -> Entry {
    Entry { path: path.into(), kind: EntryKind::File { len, runs } }
}

/// A path of 1,024 bytes.
fn longest_path() -> String {
    [255, 255, 255, 253, 2].map(|len| "n".repeat(len)).join("/")
}

fn folders() -> VectorFile {
    let empty = |path: &str| Entry { path: path.into(), kind: EntryKind::Empty };
    let case = |entries: Vec<Entry>| {
        let index = FolderIndex::new(entries).unwrap();
        let entry = |entry: &Entry| {
            let (len, runs) = match entry.kind {
                EntryKind::File { len, runs } => (Field::from(len), u64::from(runs)),
                EntryKind::Empty => (text("folder"), 0),
            };
            Field::List(vec![text(&entry.path), len, runs.into()])
        };
        vec![
            ("entries", Field::List(index.entries().iter().map(entry).collect())),
            ("bytes", bytes(index.encode())),
            ("length", index.len().into()),
        ]
    };
    VectorFile {
        name: "folders",
        description: "Indexes of folders, with the length of the content that begins with them. Each entry: path, bytes or that it is an empty folder, whether it may be run.",
        spec: &["content.md §5"],
        cases: vec![
            case(vec![]),
            case(vec![file("a", 0, false)]),
            case(vec![file("b/größe.txt", 5, false), empty("c/leer"), file("a", 0, true), file("b/c", 300, false)]),
            case(vec![empty(&vec!["d"; 32].join("/"))]),
            case(vec![file(&longest_path(), 0, false), file("com10", 1, false), file("nul-.txt", 0, true)]),
        ],
        invalid: refused_indexes().into_iter().chain(refused_paths()).collect(),
    }
}

/// An index whose files are all empty; with `more` of 0 its length adds up.
fn refused_index(name: &str, index: &[u8], more: usize, error: &str) -> Fields {
    let len = u64::try_from(4 + index.len() + more).unwrap();
    vec![("name", text(name)), ("index", bytes(index)), ("length", len.into()), ("error", text(error))]
}

fn refused_indexes() -> Vec<Fields> {
    let of = |paths: &[&str]| {
        let entries: Vec<Entry> = paths.iter().map(|path| file(path, 0, false)).collect();
        postcard::to_allocvec(&entries).unwrap()
    };
    let clash = |one: &str, other: &str| {
        format!("{one:?} and {other:?}: some systems would take them for one, or one for the other's folder")
    };
    let damaged = "the index of the folder is damaged, or its lengths do not add up";
    let row = refused_index;
    vec![
        row("lengths that do not add up", &of(&["a"]), 1, damaged),
        row("a byte behind", &[&of(&["a"])[..], &[0]].concat(), 0, damaged),
        row("may be run: 2", &[1, 1, b'a', 0, 0, 2], 0, damaged),
        row("kind 2", &[1, 1, b'a', 2], 0, damaged),
        row("not in order", &of(&["b", "a"]), 0, damaged),
        row("a path twice", &of(&["a", "a"]), 0, damaged),
        row("two cases", &of(&["A", "a"]), 0, &clash("A", "a")),
        row("a file that has something below", &of(&["a", "a/b"]), 0, &clash("a", "a")),
    ]
}

/// Each in an index in which nothing else is wrong.
fn refused_paths() -> Vec<Fields> {
    let odd = "empty, . or .., too long, or with characters that do not read as they are";
    let ends = "with one of <>:\"|?*, or a dot or space at its end";
    let device = "the name of a device";
    let rows = [
        ("upwards", "../a".to_owned(), odd),
        ("from the root", "/a".to_owned(), odd),
        ("nothing between separators", "a//b".to_owned(), odd),
        ("a part of 256 bytes", "n".repeat(256), odd),
        ("a path of 1,025 bytes", longest_path() + "n", "too long"),
        ("33 folders deep", vec!["d"; 33].join("/"), "too deep"),
        ("a device", "nul.txt".to_owned(), device),
        ("a device with two endings", "a/Com1 .tar.gz".to_owned(), device),
        ("a drive", "c:a".to_owned(), ends),
        ("a question mark", "a?".to_owned(), ends),
        ("a dot at an end", "a./b".to_owned(), ends),
        ("a space at an end", "a ".to_owned(), ends),
    ];
    let row = |(name, path, why): (&str, String, &str)| {
        let index = postcard::to_allocvec(&[file(&path, 0, false)][..]).unwrap();
        // A message has no more of a path than 200 characters.
        let shown: String = path.chars().take(200).collect();
        refused_index(
            name,
            &index,
            0,
            &format!("{shown:?}: not a path that can be written everywhere below one folder: {why}"),
        )
    };
    rows.map(row).into()
}
