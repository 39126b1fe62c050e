//! Every message of the vectors, each byte under one name; what is none says why by the id of the vectors.

use serde_json::Value;

use super::*;
use crate::limits::{CELL_LEN, SEALED_CHUNK_LEN};
use crate::wire::cell::{CircuitId, Command};
use crate::wire::hex;
use crate::wire::message::cells_of;

macro_rules! files {
    ($($name:literal),*) => {
        [$(($name, include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/spec/vectors/", $name, ".json")))),*]
    };
}

const FILES: [(&str, &str); 16] = files![
    "author_keys",
    "cells",
    "descriptors",
    "exit_answers",
    "exit_requests",
    "folders",
    "fragments",
    "handshakes",
    "hellos",
    "links",
    "messages",
    "onion_builds",
    "onion_circuits",
    "records",
    "roots",
    "statements"
];

fn vectors(file: &str) -> Value {
    let (_, text) = FILES.iter().find(|(name, _)| *name == file).unwrap();
    serde_json::from_str(text).unwrap()
}

fn digits(text: &str) -> Vec<u8> {
    text.as_bytes().chunks(2).map(|pair| hex::decode::<1>(std::str::from_utf8(pair).unwrap()).unwrap()[0]).collect()
}

fn bytes(value: &Value) -> Vec<u8> {
    let Some(text) = value.as_str() else {
        let zeros = usize::try_from(value["then_zeros"].as_u64().unwrap()).unwrap();
        return [digits(value["hex"].as_str().unwrap()), vec![0; zeros]].concat();
    };
    digits(text)
}

/// No byte twice, none left out, up to where reading stopped.
#[track_caller]
fn covers(inspected: &Inspected, what: &str) {
    let mut at = 0;
    for field in &inspected.fields {
        assert_eq!(field.offset, at, "{what}: {}", field.name);
        assert!(!field.name.contains("unnamed"), "{what}: a field at {at} has no name");
        at += field.len;
    }
    match &inspected.refused {
        None => assert_eq!(at, inspected.bytes.len(), "{what}"),
        Some((offset, _)) => assert!(*offset <= at.max(inspected.bytes.len()), "{what}"),
    }
}

#[track_caller]
fn reads(kind: &str, bytes: &[u8], what: &str) -> Inspected {
    let inspected = Kind::named(kind).unwrap().inspect(bytes);
    assert_eq!(inspected.refused, None, "{what} as {kind}");
    covers(&inspected, what);
    assert!(fitting(bytes).iter().any(|one| one.name == kind), "{what} fits {kind}");
    inspected
}

/// What is wrong in its shape is refused by the id; a signature or a time that does not hold is nothing to a decoder.
#[track_caller]
fn refuses(kind: &str, bytes: &[u8], case: &Value) {
    let (name, id) = (case["name"].as_str().unwrap(), case["error_id"].as_str().unwrap());
    let inspected = Kind::named(kind).unwrap().inspect(bytes);
    covers(&inspected, name);
    let is_of_shape = id.starts_with("Malformed::")
        || ["RootRefused", "NameRefused", "TooLong", "FolderRefused"].iter().any(|room| id.starts_with(room));
    let told = inspected.refused.as_ref().map(|(_, refused)| refused.error_id);
    assert_eq!(told, is_of_shape.then_some(id), "{name} as {kind}");
}

fn cases(file: &str) -> Vec<Value> {
    vectors(file)["cases"].as_array().unwrap().clone()
}

fn invalid(file: &str) -> Vec<Value> {
    vectors(file)["invalid"].as_array().unwrap().clone()
}

#[test]
fn every_message_of_the_vectors_reads_and_each_byte_has_one_name() {
    for (file, kind) in [
        ("cells", "cell"),
        ("hellos", "hello"),
        ("descriptors", "descriptor"),
        ("statements", "statement"),
        ("exit_requests", "request"),
        ("records", "record"),
        ("roots", "root"),
        ("folders", "folder"),
    ] {
        cases(file)
            .iter()
            .enumerate()
            .for_each(|(at, case)| drop(reads(kind, &bytes(&case["bytes"]), &format!("{file} {at}"))));
        invalid(file)
            .iter()
            .filter(|case| case["bytes"] != Value::Null)
            .for_each(|case| refuses(kind, &bytes(&case["bytes"]), case));
    }
    let of_value = |case: &Value| if case["kind"] == "signed" { "exit-answer" } else { "exit-answer-chunk" };
    cases("exit_answers").iter().for_each(|case| drop(reads(of_value(case), &bytes(&case["bytes"]), "exit_answers")));
    invalid("exit_answers").iter().for_each(|case| refuses(of_value(case), &bytes(&case["bytes"]), case));
    for case in invalid("folders") {
        let index = bytes(&case["index"]);
        let whole = [&u32::try_from(index.len()).unwrap().to_be_bytes()[..], &index].concat();
        // Of the length of the content an index alone says nothing.
        if case["name"] != "lengths that do not add up" {
            refuses("folder", &whole, &case);
        }
    }
}

#[test]
fn questions_and_answers_read_alone_and_across_their_cells() {
    let kind_of =
        |case: &Value| if case.get("ask").is_some() { ("question", Command::Ask) } else { ("answer", Command::Answer) };
    for case in cases("messages") {
        let ((kind, command), message) = (kind_of(&case), bytes(&case["bytes"]));
        let alone = reads(kind, &message, kind);
        let mut wire = Vec::new();
        for cell in cells_of(CircuitId(7), command, &message).unwrap() {
            let mut plain = [0; CELL_LEN];
            cell.encode(&mut plain);
            wire.extend_from_slice(&plain);
        }
        let across = reads("message", &wire, kind);
        // Each field says the same, wherever it stands.
        for field in alone.fields.iter().filter(|field| field.len > 0) {
            let there = across.fields.iter().find(|one| one.name == field.name).unwrap();
            assert_eq!(there.words, field.words, "{}", field.name);
            let own = &message[field.offset..field.offset + there.len];
            assert_eq!(&wire[there.offset..there.offset + there.len], own, "{}", field.name);
        }
    }
    for case in invalid("messages") {
        refuses(if case["type"] == "ask" { "question" } else { "answer" }, &bytes(&case["bytes"]), &case);
    }
    for case in invalid("fragments") {
        let header = [0, 0, 0, 7, Command::Ask.to_wire(), 0, 0, 0];
        refuses("message", &[&header[..], &bytes(&case["bytes"])].concat(), &case);
    }
}

#[test]
fn frames_and_layers_of_the_onion_read_as_what_is_sealed() {
    for case in cases("handshakes") {
        for (at, frame) in case["frames"].as_array().unwrap().iter().enumerate() {
            let kind = ["frame-1", "frame-2", "frame"][at.min(2)];
            reads(kind, &bytes(&frame["frame"]), kind);
            if frame["cell"] != Value::Null {
                reads("cell", &bytes(&frame["cell"]), "a cell of a handshake");
            }
        }
    }
    for case in cases("onion_builds") {
        for hop in case["path"].as_array().unwrap() {
            reads("routing", &bytes(&hop["routing"]), "routing");
            reads("build", &bytes(&hop["body"]), "build");
        }
        reads("request", &bytes(&case["request"]), "request");
    }
    invalid("onion_builds").iter().for_each(|case| refuses("routing", &bytes(&case["routing"]), case));
    for case in cases("onion_circuits") {
        case["reply0_bodies"].as_array().unwrap().iter().for_each(|body| drop(reads("build", &bytes(body), "reply 0")));
        for way in ["backward", "forward"] {
            let bodies = case[way].as_array().unwrap().iter().flat_map(|cell| cell["bodies"].as_array().unwrap());
            bodies.for_each(|body| drop(reads("circuit", &bytes(body), way)));
        }
    }
    reads("chunk", &vec![7; SEALED_CHUNK_LEN], "chunk");
}

#[test]
fn texts_read_as_the_bytes_behind_them_and_no_seed_is_shown() {
    for case in cases("links") {
        let (kind, inspected) = inspect_text(case["link"].as_str().unwrap()).unwrap();
        assert_eq!((kind.name, &inspected.refused), ("link", &None));
        covers(&inspected, "link");
        assert!(inspected.bytes.ends_with(&bytes(&case["label"])));
    }
    for case in cases("author_keys") {
        let (kind, inspected) = inspect_text(case["text"].as_str().unwrap()).unwrap();
        assert_eq!((kind.name, &inspected.refused), ("author-key", &None));
        covers(&inspected, "author key");
        let secret = inspected.fields.iter().any(|field| field.is_secret);
        assert_eq!(secret, inspected.fields.iter().any(|field| field.name == "seed"));
    }
    let told = |text: &Value| {
        let (_, inspected) = inspect_text(text.as_str().unwrap())?;
        Some(inspected.refused.map_or("", |(_, refused)| refused.error_id))
    };
    for case in invalid("links") {
        // Other texts begin otherwise, and are taken for no link at all.
        assert!(told(&case["link"]).is_none_or(|id| id == case["error_id"]), "{}", case["name"]);
    }
    let is_key = |case: &&Value| case["text"].as_str().unwrap().to_lowercase().starts_with("bautakey1");
    for case in invalid("author_keys").iter().filter(is_key).filter(|case| case["error_id"] != "Forged") {
        assert!(told(&case["text"]).is_none_or(|id| id == case["error_id"]), "{}", case["name"]);
    }
}

#[test]
fn what_fits_several_kinds_is_taken_for_the_most_specific_and_what_fits_none_for_what_comes_furthest() {
    let first = |bytes: &[u8]| fitting(bytes).first().map(|kind| kind.name);
    assert_eq!(first(&bytes(&cases("descriptors")[0]["bytes"])), Some("descriptor"));
    assert_eq!(first(&bytes(&cases("statements")[0]["bytes"])), Some("statement"));
    assert_eq!(first(&bytes(&cases("cells")[0]["bytes"])), Some("cell"));
    assert_eq!(first(&bytes(&cases("records")[0]["bytes"])), Some("record"));
    let mut cut = bytes(&cases("descriptors")[0]["bytes"]);
    cut.truncate(200);
    assert_eq!((first(&cut), nearest(&cut).map(|kind| kind.name)), (None, Some("descriptor")));
    let inspected = nearest(&cut).unwrap().inspect(&cut);
    assert_eq!(inspected.refused.unwrap().1.error_id, "Malformed::Short");
}

#[test]
fn more_than_the_bound_is_refused_unread() {
    let kind = Kind::named("folder").unwrap();
    let mut longest = vec![0; DECODE_INPUT_LEN_MAX];
    longest[..5].copy_from_slice(&[0, 0, 0, 1, 0]);
    assert_eq!(kind.inspect(&longest).refused.unwrap().1.error_id, "FolderRefused::Malformed", "read, to its end");
    longest.push(0);
    let over = kind.inspect(&longest);
    assert!(over.fields.is_empty() && over.refused.unwrap().1.why.contains("longer than any message"));
}

#[test]
fn every_kind_has_a_name_of_its_own() {
    let names: std::collections::BTreeSet<&str> = KINDS.iter().map(|kind| kind.name).collect();
    assert_eq!(names.len(), KINDS.len());
}
