//! The vectors of `spec/vectors`: each file is read, decoded and computed anew, partly with a foreign Noise; and all of them are what
//! `cargo run --example make_vectors` writes, so that neither drifts.
#![cfg(feature = "net")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test crate")]

#[path = "spec_vectors/check/mod.rs"]
mod check;
#[path = "vectors/hex.rs"]
mod hex;
#[path = "spec_vectors/make/mod.rs"]
mod make;
#[path = "spec_vectors/walk.rs"]
mod walk;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use check::CHECKS;
use check::read::Case;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("spec/vectors")
}

fn names_of_files() -> BTreeSet<String> {
    let files = std::fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path());
    let files = files.filter(|path| path.extension().is_some_and(|end| end == "json"));
    files.map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned()).collect()
}

/// Every case of a file holds, and every other is refused as it says.
fn holds(file: &str) {
    let check = CHECKS.iter().find(|check| check.file == file).unwrap();
    let text = std::fs::read_to_string(folder().join(check.file).with_extension("json")).unwrap();
    let file = Case(serde_json::from_str(&text).unwrap());
    let (cases, invalid) = (file.list("cases"), file.list_or_none("invalid"));
    assert!(!cases.is_empty() && !file.text("description").is_empty() && !file.list("spec").is_empty());
    assert_eq!((cases.len(), invalid.len()), check.counts, "{}", check.file);
    for case in &cases {
        (check.case)(case);
    }
    for case in &invalid {
        let refused = (check.refusal)(case);
        assert!(refused.words.starts_with(case.text("error")), "{}: {}: {}", check.file, case.0, refused.words);
        assert_eq!(refused.id, case.text("error_id"), "{}: {}", check.file, case.0);
    }
}

// ---- the files, one test each ----

// [CRYPTO-W-013] [CRYPTO-R-014] [VER-R-008] [CONT-R-032]
#[test]
fn author_keys_hold() {
    holds("author_keys");
}

// [CRYPTO-W-007] [CRYPTO-R-008] [CRYPTO-W-011]
#[test]
fn blinding_hold() {
    holds("blinding");
}

// [CELL-W-001] [CELL-R-002] [CELL-W-003] [CELL-R-004] [VER-R-004]
#[test]
fn cells_hold() {
    holds("cells");
}

// [CRYPTO-W-011]
#[test]
fn chunks_hold() {
    holds("chunks");
}

#[test]
fn command_frames_hold() {
    holds("command_frames");
}

// [MEMB-W-001] [MEMB-R-002] [MEMB-R-003] [MEMB-W-033] [MEMB-R-065] [VER-R-002] [VER-R-007]
#[test]
fn descriptors_hold() {
    holds("descriptors");
}

// [REQ-R-012]
#[test]
fn exit_answers_hold() {
    holds("exit_answers");
}

// [VER-R-004] [REQ-R-004]
#[test]
fn exit_requests_hold() {
    holds("exit_requests");
}

// [CONT-R-018]
#[test]
fn folders_hold() {
    holds("folders");
}

// [MSG-W-003] [MSG-R-004]
#[test]
fn fragments_hold() {
    holds("fragments");
}

// [LINK-W-005] [LINK-W-007] [LINK-R-009] [LINK-W-010] [LINK-W-012] [LINK-W-025] [CRYPTO-W-005] [VER-R-007]
#[test]
fn handshakes_hold() {
    holds("handshakes");
}

// [LINK-W-019] [LINK-R-020] [VER-R-002]
#[test]
fn hellos_hold() {
    holds("hellos");
}

// [STATE-R-004]
#[test]
fn kept_files_hold() {
    holds("kept_files");
}

#[test]
fn key_files_hold() {
    holds("key_files");
}

// [CRYPTO-W-004]
#[test]
fn keys_hold() {
    holds("keys");
}

#[test]
fn layouts_hold() {
    holds("layouts");
}

// [VER-R-008] [CONT-R-014]
#[test]
fn links_hold() {
    holds("links");
}

// [MSG-R-008] [MSG-W-020] [MSG-W-030] [VER-R-004]
#[test]
fn messages_hold() {
    holds("messages");
}

// [CRYPTO-W-012] [CONT-R-028]
#[test]
fn names_hold() {
    holds("names");
}

// [CRYPTO-W-005]
#[test]
fn network_hold() {
    holds("network");
}

// [CRYPTO-W-005] [ONION-R-011]
#[test]
fn noise_nk_hold() {
    holds("noise_nk");
}

// [ONION-R-016]
#[test]
fn onion_builds_hold() {
    holds("onion_builds");
}

#[test]
fn onion_circuits_hold() {
    // Their first cells.
    holds("onion_builds");
    holds("onion_circuits");
}

#[test]
fn parity_hold() {
    holds("parity");
}

// [CRYPTO-W-015] [CRYPTO-R-016]
#[test]
fn payments_hold() {
    holds("payments");
}

// [CRYPTO-W-009] [CRYPTO-W-011]
#[test]
fn places_hold() {
    holds("places");
}

// [CRYPTO-R-001] [VER-R-007] [VAL-R-003] [VAL-R-007] [VAL-R-010]
#[test]
fn records_hold() {
    holds("records");
}

// [LINK-W-026]
#[test]
fn rekeys_hold() {
    holds("rekeys");
}

// [VER-R-008] [CONT-R-011] [CONT-R-012]
#[test]
fn roots_hold() {
    holds("roots");
}

// [VER-R-008] [STATE-R-004]
#[test]
fn state_files_hold() {
    holds("state_files");
}

// [CRYPTO-R-001] [VER-R-007] [EVID-R-003]
#[test]
fn statements_hold() {
    holds("statements");
}

// ---- all of them ----

#[test]
fn every_file_has_its_check_and_its_test() {
    let read: BTreeSet<String> = CHECKS.iter().map(|check| check.file.to_owned()).collect();
    assert_eq!(names_of_files(), read, "files on the left, those that are read on the right");
    for file in read {
        assert!(include_str!("spec_vectors.rs").contains(&format!("    holds(\"{file}\");")), "{file}");
    }
}

#[test]
fn the_lookup_of_the_overview_is_that_of_the_vectors_byte_by_byte() {
    let cases = |file: &str| {
        let text = std::fs::read_to_string(folder().join(file).with_extension("json")).unwrap();
        Case(serde_json::from_str(&text).unwrap()).list("cases")
    };
    let page = std::fs::read_to_string(folder().join("../overview.md")).unwrap();
    let (tables, objects) = (walk::tables(&page), walk::objects(cases));
    assert_eq!(tables.len(), objects.len());
    for (rows, object) in tables.iter().zip(&objects) {
        walk::assert_shows(rows, object);
    }
}

// [ONION-W-010] [ONION-W-012] [ONION-W-014] [ONION-W-015] [ONION-W-018] [ONION-W-020] [ONION-W-021] [ONION-W-029]
// [ONION-W-030] [ONION-W-034] [ONION-W-040] [ONION-W-042] [ONION-W-044] [VAL-W-001] [VAL-W-002] [VAL-W-004] [VAL-W-005]
// [VAL-W-012] [VAL-W-014] [REQ-W-003] [REQ-W-009] [REQ-W-022] [CONT-W-001] [CONT-W-002] [CONT-W-003] [CONT-W-005]
// [CONT-W-007] [CONT-W-008] [CONT-W-009] [CONT-W-013] [CONT-W-017] [CONT-W-030] [CONT-W-031] [EVID-W-001] [EVID-W-002]
// [DHT-W-038] [STATE-W-003] [STATE-W-009]
#[test]
fn every_file_is_what_the_maker_writes() {
    let made = make::files();
    assert_eq!(made.iter().map(|file| file.name.to_owned()).collect::<BTreeSet<_>>(), names_of_files());
    for file in made {
        let text = std::fs::read_to_string(folder().join(file.name).with_extension("json")).unwrap();
        assert!(
            text == file.to_json(),
            "{}: run `cargo run --example make_vectors` and look at what changed",
            file.name
        );
    }
}

#[test]
fn every_section_that_a_file_names_exists() {
    for file in make::files() {
        for section in file.spec {
            let (page, number) = section.split_once(" §").unwrap();
            let page = std::fs::read_to_string(folder().join("..").join(page)).unwrap();
            let is_it = |line: &str| {
                let heading = line.trim_start_matches('#');
                heading != line && heading.split_whitespace().next().is_some_and(|n| n.trim_end_matches('.') == number)
            };
            assert!(page.lines().any(is_it), "{}: {section}", file.name);
            let vectors = format!("vectors/{}.json", file.name);
            assert!(page.contains(&vectors) || file.spec.len() > 1, "{section} does not name {vectors}");
        }
    }
}

#[test]
fn the_readme_of_the_vectors_names_every_file_and_every_refusal() {
    let readme = std::fs::read_to_string(folder().join("README.md")).unwrap();
    let read = |name: String| std::fs::read_to_string(folder().join(name).with_extension("json")).unwrap();
    let files: String = names_of_files().into_iter().map(read).collect();
    for (words, id) in make::ERRORS {
        assert!(files.contains(&format!("\"error_id\": \"{id}\"")), "no case is refused like that: {words}");
        assert!(readme.contains(&format!("`{id}`")), "{id}");
    }
    for name in names_of_files() {
        assert!(readme.contains(&format!("`{name}.json`")), "{name}");
    }
}
