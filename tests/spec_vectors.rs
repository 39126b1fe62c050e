//! The vectors of `spec/vectors`: each file is read, decoded and computed anew, partly with a foreign Noise; and all of them are what
//! `cargo run --example make_vectors` writes, so that neither drifts.
#![cfg(feature = "net")]
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test crate")]

#[path = "spec_vectors/check/mod.rs"]
mod check;
#[path = "vectors/hex.rs"]
mod hex;
#[path = "spec_vectors/make/mod.rs"]
mod make;

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

// [ONION-R-011] [ONION-R-016] [VAL-R-003] [VAL-R-007] [VAL-R-010] [REQ-R-004] [REQ-R-012] [CONT-R-011] [CONT-R-012]
// [CONT-R-014] [CONT-R-018] [CONT-R-028] [CONT-R-032] [EVID-R-003] [DHT-R-039] [STATE-R-004]
#[test]
fn every_file_is_read_and_every_case_of_it_holds() {
    let read: BTreeSet<String> = CHECKS.iter().map(|check| check.file.to_owned()).collect();
    assert_eq!(names_of_files(), read, "files on the left, those that are read on the right");
    for check in CHECKS {
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
