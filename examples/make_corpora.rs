//! Writes the seeds in `fuzz/corpus` anew: `cargo run --example make_corpora`. Formats come from `spec/vectors`; scripts are written here,
//! or noise. What a fuzzer found stands beside them under other names, and stays.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "not part of the library")]

use std::path::Path;

use bauta::cli::kept_files::KeptFile;
use bauta::inspect::KINDS;
use rand::rngs::ChaCha20Rng;
use rand::{Rng, SeedableRng};
use serde_json::Value;

/// Targets of which an input is a script: noise means something to them.
const SCRIPTED: [&str; 20] = [
    "content",
    "handshake",
    "link",
    "lookup",
    "members",
    "network",
    "onion_circuit",
    "relay",
    "request",
    "store",
    "table",
    "values",
    "disk_store",
    "settings",
    "speaker",
    "state_files",
    "stream",
    "fetch",
    "guards",
    "audit",
];
const NOISE_LEN: usize = 192;

/// Target, name, input. Each comes to what the planted fault of its oracle spoils, or to what noise seldom comes to.
const SCRIPTS: [(&str, &str, &[u8]); 54] = [
    ("content", "folder-of-one", &[2, 1, 0, 0, 0, 5, 0, 0]),
    ("descriptor", "another-family", &[1, 0, 1, 2, 3, 0, 9, 5, 1, 0, 1, 0, 1, 0x80, 0, 0x9b, 1]),
    ("descriptor", "unchanged", &[1, 0, 1, 2, 3, 0, 9, 5, 1, 0, 1, 0, 1, 0x80, 0]),
    ("disk_store", "full-disk", &[10, 20, 0, 0, 11, 3, 0, 3, 0, 5, 12, 0, 9, 0, 14]),
    ("disk_store", "power-cut", &[10, 20, 0, 0, 0, 3, 0, 7, 0x7e, 7, 0, 0, 9, 0x2e, 3, 0xaa, 0, 11]),
    ("disk_store", "rot", &[10, 20, 0, 0, 0, 1, 0, 31, 0x8f, 0, 3, 1]),
    ("fetch", "a-range-of-the-second-group", &[2, 0, 1, 0xf0, 0, 0xff, 0xff]),
    ("fetch", "another-parity", &[0, 0x90, 0, 7, 0, 0, 2, 3, 3, 9, 0, 0, 0]),
    ("fetch", "changed", &[0, 0x90, 0, 7, 0, 0, 1, 2, 0, 12]),
    ("fetch", "gone-from-the-second-group", &[2, 0, 0, 0, 0, 0, 7, 0, 0, 1, 0, 68, 40, 0, 0, 7]),
    ("fetch", "in-each-others-place", &[0, 0x90, 0, 7, 0, 0, 1, 1, 0, 12]),
    ("fetch", "parity", &[3, 2, 1, 5, 6, 7, 22]),
    ("fetch", "some-were-there", &[0, 0x90, 0, 7, 0, 0, 0, 0, 3, 0, 0, 3, 0, 0, 0]),
    ("fetch", "some-in-each-others-place", &[1, 0, 0, 0, 0, 0, 7, 0, 0, 1, 1, 2, 4, 0, 0, 7]),
    ("fetch", "the-hashes-alone", &[1, 1, 1, 16, 0, 0x80, 0]),
    ("fetch", "too-many-are-gone", &[0, 0x90, 0, 7, 0, 0, 1, 0, 0, 10]),
    ("fetch", "two-are-wanting", &[0, 0x90, 0, 7, 0, 0, 0x0f]),
    ("fetch", "two-of-three-are-wanting", &[0, 0x90, 0, 7, 0, 0, 0, 0, 0, 3, 0, 15]),
    (
        "guards",
        "a-doubted-guard",
        &[1, 63, 0xff, 7, 0, 0xc8, 0, 8, 6, 0, 2, 0, 12, 20, 8, 6, 0, 2, 0, 11, 10, 3, 0, 0, 0],
    ),
    (
        "guards",
        "both-ways-to-fail",
        &[2, 63, 0xff, 8, 25, 1, 2, 0, 9, 1, 8, 4, 1, 3, 0, 9, 1, 8, 25, 1, 2, 0, 8, 25, 1, 9, 0],
    ),
    ("guards", "crowded", &[3, 0xa0, 0x0c, 0, 0xa0, 0x9c, 0, 0xa0, 0xfc, 10, 3, 0, 0, 1]),
    (
        "guards",
        "crowded-paths",
        &[5, 0xb8, 0xfc, 10, 3, 0, 0, 0, 10, 4, 0, 0, 1, 10, 5, 0, 0, 2, 10, 4, 0, 0, 3, 10, 5, 0, 0, 4],
    ),
    ("guards", "dials", &[1, 63, 0xff, 3, 4, 0, 3, 5, 1, 3, 4, 0, 2, 0xf0, 3, 5, 0, 6, 0, 3, 5, 0, 2, 8, 6, 0, 3]),
    ("guards", "half-of-a-life", &[1, 63, 0xff, 0x83, 63, 0xff, 0x83, 63, 0xff]),
    (
        "guards",
        "more-than-eight-fail",
        &[
            1, 63, 0xff, 8, 6, 0, 2, 0, 8, 6, 0, 2, 0, 8, 6, 0, 2, 0, 8, 6, 0, 2, 0, 0, 63, 0xff, 8, 6, 0, 2, 0, 8, 6,
            0, 2, 0, 8, 6, 0, 2, 0, 8, 6, 0, 2, 0, 0, 63, 0xff, 8, 6, 0, 2, 0, 10, 3, 0, 0, 0,
        ],
    ),
    (
        "guards",
        "onion-keys-that-are-over",
        &[
            1, 127, 0xff, 10, 3, 0, 0, 0, 10, 4, 0, 0, 1, 10, 5, 0, 0, 2, 10, 3, 0, 0, 3, 10, 4, 0, 0, 4, 10, 5, 0, 0,
            5, 10, 3, 0, 0, 6, 10, 4, 0, 0, 7,
        ],
    ),
    (
        "guards",
        "many-paths",
        &[
            1, 63, 0xff, 10, 3, 0, 42, 0, 10, 4, 21, 42, 1, 10, 5, 42, 42, 2, 10, 3, 63, 42, 3, 10, 4, 20, 42, 4, 10,
            5, 41, 42, 5, 10, 3, 62, 42, 6, 10, 4, 19, 42, 7,
        ],
    ),
    (
        "guards",
        "eight-in-two-days",
        &[
            1, 63, 0xff, 8, 6, 0, 2, 0, 8, 6, 0, 2, 0, 8, 6, 0, 2, 0, 8, 6, 0, 2, 0, 0, 63, 0xff, 8, 6, 0, 2, 0, 8, 6,
            0, 2, 0, 8, 6, 0, 2, 0, 8, 6, 0, 2, 0, 14, 63, 0xff, 8, 6, 0, 2, 0, 14, 63, 0xff, 8, 6, 0, 2, 0,
        ],
    ),
    ("guards", "every-exit-is-avoided", &[1, 63, 0xff, 10, 3, 63, 0xff, 0, 10, 4, 63, 0xff, 1]),
    ("guards", "no-word-of-where", &[1, 63, 0xff, 8, 13, 0, 2, 0, 9, 0, 8, 2, 0, 2, 0, 8, 2, 0, 2, 0, 8, 2, 0, 2, 0]),
    (
        "guards",
        "one-exit-is-left",
        &[
            0, 63, 0xff, 10, 3, 31, 0xff, 0, 10, 3, 55, 0xff, 0, 10, 3, 63, 0xdf, 0, 10, 3, 63, 0xfb, 0, 10, 3, 31,
            0xff, 1, 10, 3, 55, 0xff, 1, 10, 3, 63, 0xdf, 1, 10, 3, 63, 0xfb, 1, 10, 3, 31, 0xff, 2, 10, 3, 55, 0xff,
            2, 10, 3, 63, 0xdf, 2, 10, 3, 63, 0xfb, 2, 10, 3, 31, 0xff, 3, 10, 3, 55, 0xff, 3, 10, 3, 63, 0xdf, 3, 10,
            3, 63, 0xfb, 3, 10, 3, 31, 0xff, 4, 10, 3, 55, 0xff, 4, 10, 3, 63, 0xdf, 4, 10, 3, 63, 0xfb, 4, 10, 3, 31,
            0xff, 5, 10, 3, 55, 0xff, 5, 10, 3, 63, 0xdf, 5, 10, 3, 63, 0xfb, 5, 10, 3, 31, 0xff, 6, 10, 3, 55, 0xff,
            6, 10, 3, 63, 0xdf, 6, 10, 3, 63, 0xfb, 6, 10, 3, 31, 0xff, 7, 10, 3, 55, 0xff, 7, 10, 3, 63, 0xdf, 7, 10,
            3, 63, 0xfb, 7,
        ],
    ),
    ("guards", "paths", &[1, 0xff, 0xff, 10, 0, 0, 3, 10, 0, 0, 4, 10, 0, 0, 5]),
    ("guards", "started-again", &[1, 63, 0xff, 5, 1, 7, 0, 30, 3, 8, 2, 0, 2, 0, 11, 3, 5, 0, 11, 10, 4, 0, 0, 1]),
    (
        "guards",
        "whole-lives",
        &[1, 63, 0xff, 5, 0, 5, 1, 0xf8, 63, 0xff, 0xf8, 63, 0xff, 0xf8, 63, 0xff, 0xf8, 63, 0xff],
    ),
    ("handshake", "last-byte-changed", &[0, 4, 8, 15, 1]),
    ("handshake", "up-and-cells", &[1, 0, 1, 0, 12, 9, 13, 8, 0, 1, 0, 1, 10, 200, 0, 1, 4, 0, 0, 1]),
    ("network", "same-second", &[0, 5, 0, 1, 0, 2, 0, 2, 5, 0, 0x20]),
    ("network", "values-and-looks", &[2, 5, 0, 60, 3, 1, 11, 2, 5, 0, 80, 4, 3, 2, 0, 1, 12, 0, 5, 0, 50]),
    ("onion_build", "second-half-changed", &[3, 0, 0, 7, 0, 1]),
    ("onion_build", "five-hops", &[3, 4, 2]),
    ("onion_build", "a-fresh-one", &[0xff, 2, 7, 1, 0]),
    ("onion_circuit", "reply-changed", &[0, 2, 0, 0, 5, 0, 0x10, 1]),
    ("peel", "last-byte-changed", &[7, 0xf7, 0x5a]),
    ("request", "as-old-as-before", &[0, 1, 0, 0, 0, 0, 0, 0, 8, 0, 0]),
    ("settings", "a-file", b"\0hops = 4\nstagger = \"10ms\"\nbind = \"127.0.0.1\"\n"),
    ("settings", "a-list", b"\x01# remark\n0123456789abcdef0123456789abcdef01234567 # one\n\nno name\n"),
    ("settings", "a-long-list", &[2, 5, 0, 7, 1, 9, 9, 2, 3, 0, 8]),
    ("speaker", "fits-and-cells", &[0, 0, 1, 9, 0, 0, 0, 5, 3, 0, 0, 0, 1, 2, 3, 4, 1, 0, 0, 0, 0, 0, 8, 0, 0, 0]),
    ("speaker", "no-hello", &[1, 0, 2, 1, 0, 0, 0, 1, 0]),
    ("state_files", "a-byte-changed", &[3, 2, 0, 36, 1, 0]),
    ("state_files", "rows", &[7, 0, 1, 0, 0, 0, 1]),
    ("store", "not-what-was-expected", &[39, 39, 0, 6, 0xb0, 12]),
    ("table", "one-comes-and-fails", &[5, 6, 7, 2, 7]),
    ("texts", "last-letter-changed", &[1, 0, 1, 0x7a, 34]),
];

/// Bytes of a vector; where many zeros end it, they are counted.
fn bytes_of(told: &Value) -> Vec<u8> {
    let text = told.as_str().or(told["hex"].as_str()).unwrap();
    let pair = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
    let zeros = usize::try_from(told["then_zeros"].as_u64().unwrap_or(0)).unwrap();
    (0..text.len()).step_by(2).map(pair).chain(std::iter::repeat_n(0, zeros)).collect()
}

/// Where the oracle fills up with zeros itself.
fn without_last_zeros(bytes: &[u8]) -> &[u8] {
    &bytes[..bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1)]
}

type Done = std::io::Result<()>;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn write(target: &str, name: &str, bytes: &[u8]) -> Done {
    let folder = root().join("fuzz/corpus").join(target);
    std::fs::create_dir_all(&folder)?;
    std::fs::write(folder.join(name), bytes)
}

fn cases(file: &str) -> Vec<Value> {
    let text = std::fs::read_to_string(root().join("spec/vectors").join(file).with_extension("json")).unwrap();
    serde_json::from_str::<Value>(&text).unwrap()["cases"].as_array().unwrap().clone()
}

fn bytes(case: &Value) -> Vec<u8> {
    bytes_of(&case["bytes"])
}

/// The bytes of each vector of a file, behind what the oracle reads first.
fn prefixed(target: &str, file: &str, prefix: &dyn Fn(&Value) -> Vec<u8>) -> Done {
    for (number, case) in cases(file).iter().enumerate() {
        write(target, &format!("{file}-{number}"), &[prefix(case), bytes(case)].concat())?;
    }
    Ok(())
}

/// Any vector, as its kind.
fn inspected() -> Done {
    let kind_of = |name: &str| u8::try_from(KINDS.iter().position(|kind| kind.name == name).unwrap()).unwrap();
    for (file, kind) in [
        ("descriptors", "descriptor"),
        ("statements", "statement"),
        ("exit_requests", "request"),
        ("hellos", "hello"),
        ("records", "record"),
        ("roots", "root"),
        ("folders", "folder"),
    ] {
        prefixed("inspect", file, &|_| vec![kind_of(kind), 0])?;
    }
    prefixed("inspect", "messages", &|case| {
        vec![kind_of(if case["ask"].is_null() { "answer" } else { "question" }), 0]
    })?;
    for (number, case) in cases("cells").iter().enumerate() {
        write(
            "inspect",
            &format!("cells-{number}"),
            &[&[kind_of("cell"), 1], without_last_zeros(&bytes(case))].concat(),
        )?;
    }
    for (number, case) in cases("links").iter().enumerate() {
        let (kind, link) = (u8::try_from(KINDS.len()).unwrap(), case["link"].as_str().unwrap());
        write("inspect", &format!("links-{number}"), &[&[kind, 0], link.as_bytes()].concat())?;
    }
    Ok(())
}

fn noise() -> Done {
    for (number, target) in (0..).zip(SCRIPTED) {
        let mut rng = ChaCha20Rng::seed_from_u64(number);
        for turn in 1..=3 {
            let mut noise = [0; NOISE_LEN];
            rng.fill_bytes(&mut noise);
            // Small numbers among great ones: few links, few relays, early steps.
            noise.iter_mut().skip(turn % 2).step_by(turn).for_each(|byte| *byte %= 16);
            write(target, &format!("noise-{turn}"), &noise)?;
        }
    }
    Ok(())
}

fn main() -> Done {
    for (target, name, bytes) in SCRIPTS {
        write(target, name, bytes)?;
    }
    noise()?;
    inspected()?;
    for (number, case) in cases("cells").iter().enumerate() {
        write("cell_decode", &format!("cells-{number}"), without_last_zeros(&bytes(case)))?;
    }
    prefixed("message_decode", "messages", &|case| vec![u8::from(case["ask"].is_null())])?;
    prefixed("message_decode", "exit_requests", &|_| vec![2])?;
    prefixed("message_decode", "exit_answers", &|_| vec![3])?;
    prefixed("message_decode", "hellos", &|_| vec![4])?;
    prefixed("message_decode", "descriptors", &|_| vec![5])?;
    prefixed("descriptor", "descriptors", &|_| vec![0])?;
    prefixed("content", "roots", &|_| vec![0])?;
    let names = KeptFile::ALL.map(KeptFile::name);
    for (number, case) in cases("kept_files").iter().enumerate() {
        let of = names.iter().position(|name| case["file"] == *name).unwrap();
        let content = bytes_of(&case["content"]);
        write(
            "state_files",
            &format!("kept_files-{number}"),
            &[&[u8::try_from(of).unwrap(), 1], &content[..]].concat(),
        )?;
    }
    for (number, case) in cases("command_frames").iter().enumerate() {
        let head = [u8::try_from(names.len() + 1).unwrap(), u8::from(case["from"] == "node")];
        write("state_files", &format!("command_frames-{number}"), &[&head, &bytes_of(&case["frame"])[..]].concat())?;
    }
    let key = u8::try_from(names.len() - 1).unwrap();
    for (number, case) in cases("key_files").iter().enumerate() {
        // Behind the head of a file, which depends on its name.
        write("state_files", &format!("key_files-{number}"), &[&[key, 1], &bytes(case)[36..]].concat())?;
    }
    for (number, case) in cases("folders").iter().enumerate() {
        // The index stands behind its length.
        let len = u16::try_from(case["length"].as_u64().unwrap()).unwrap().to_be_bytes();
        write("content", &format!("folders-{number}"), &[&[1], &len[..], &bytes(case)[4..]].concat())?;
    }
    for (number, case) in cases("links").iter().enumerate() {
        write("texts", &format!("links-{number}"), &[&[0], case["link"].as_str().unwrap().as_bytes()].concat())?;
    }
    Ok(())
}
