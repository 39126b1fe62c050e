//! `bauta demo` as people and scripts run it: the real binary, its output and its exit code.
#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test crate")]

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

fn bauta(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_bauta")).args(arguments).env_remove("BAUTA_LOG").output().unwrap()
}

fn said(output: &Output) -> (String, String) {
    (String::from_utf8(output.stdout.clone()).unwrap(), String::from_utf8(output.stderr.clone()).unwrap())
}

/// Runs a demo that must hold; its report.
fn demo_json(arguments: &[&str]) -> Value {
    let output = bauta(&[&["demo", "--json"], arguments].concat());
    let (out, err) = said(&output);
    assert_eq!(output.status.code(), Some(0), "{arguments:?}\n{out}\n{err}");
    // The whole of standard output is one object, and nothing else.
    let report: Value = serde_json::from_str(&out).unwrap_or_else(|why| panic!("{arguments:?}: {why}\n{out}"));
    let checks = report["checks"].as_array().unwrap();
    assert!(checks.len() >= 6, "{checks:?}");
    assert!(checks.iter().all(|check| check["held"] == true), "{arguments:?}: {checks:?}");
    assert!(report["link"].as_str().unwrap().starts_with("bauta1"));
    assert!(report["outcome"] == "done" && report["exit_code"] == 0, "{report}");
    report
}

fn file(folder: &Path, name: &str, len: usize) -> PathBuf {
    let path = folder.join(name);
    let content: Vec<u8> = (0..len).map(|at| u8::try_from((at * 7 + at / 251) % 256).unwrap()).collect();
    std::fs::write(&path, content).unwrap();
    path
}

/// Publishes a file of this name and size; the report says both, and how many chunks it took.
fn files_come_back(files: &[(&str, usize)]) {
    let folder = tempfile::tempdir().unwrap();
    for (name, len) in files {
        let path = file(folder.path(), name, *len);
        let report = demo_json(&[path.to_str().unwrap()]);
        assert_eq!(report["file"], *name);
        assert_eq!(report["bytes"], *len);
    }
}

#[test]
fn without_arguments_it_publishes_a_text_and_says_who_saw_what() {
    let output = bauta(&["demo"]);
    let (out, err) = said(&output);
    assert_eq!(output.status.code(), Some(0), "{out}\n{err}");
    for part in ["bauta.txt", "bauta1", "who saw what", "ok      what came back is what was published", "seed "] {
        assert!(out.contains(part), "no {part:?} in\n{out}");
    }
    assert!(!out.contains("FAILED"), "{out}");
}

#[test]
fn empty_and_tiny_files_come_back() {
    files_come_back(&[("empty", 0), ("one", 1), ("kibi", 1 << 10)]);
}

#[test]
fn files_around_the_size_of_a_chunk_come_back() {
    files_come_back(&[("below", 63 << 10), ("exact", 64 << 10), ("above", 65 << 10)]);
}

#[test]
fn a_file_of_a_mebibyte_comes_back() {
    files_come_back(&[("large", 1 << 20)]);
}

#[test]
fn names_with_spaces_and_letters_of_other_alphabets_come_back() {
    files_come_back(&[("a name with spaces", 100), ("Größe–величина–大きさ.txt", 100)]);
}

#[test]
fn many_demos_hold_whatever_the_seed() {
    for seed in ["1", "77", "18446744073709551615"] {
        let report = demo_json(&["--seed", seed, "--nodes", "20"]);
        assert_eq!(report["seed"].as_u64(), seed.parse().ok());
        assert_eq!(report["relays"].as_array().unwrap().len(), 20);
        assert!(!report["stopped"].as_array().unwrap().is_empty());
    }
}

/// Wrong usage: exit code 2, a message that says what is wrong, nothing on standard output.
fn is_refused(arguments: &[&str], message: &str) {
    let output = bauta(arguments);
    let (out, err) = said(&output);
    assert_eq!(output.status.code(), Some(2), "{arguments:?}\n{out}\n{err}");
    assert!(out.is_empty(), "{arguments:?}: {out}");
    assert!(err.contains(message), "{arguments:?}: no {message:?} in {err:?}");
    assert!(!err.contains("panicked"), "{arguments:?}: {err}");
}

#[test]
fn wrong_usage_is_told_and_exits_with_2() {
    let folder = tempfile::tempdir().unwrap();
    let inside = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    is_refused(&["demo", "/dev/zero"], "is no regular file");
    is_refused(&["demo", &inside("missing")], "missing: cannot be read");
    is_refused(&["demo", folder.path().to_str().unwrap()], "one file of at most 67108864 bytes");
    File::create(inside("sparse")).unwrap().set_len((64 << 20) + 1).unwrap();
    is_refused(&["demo", &inside("sparse")], "one file of at most 67108864 bytes");
    for nodes in ["3", "0", "11", "161"] {
        is_refused(&["demo", "--nodes", nodes], "--nodes takes 12 to 160");
    }
    is_refused(&["demo", "--nodes", "many"], "invalid value 'many'");
    is_refused(&["demo", "--seed", "-1"], "unexpected argument '-1'");
    is_refused(&["demo", "--seed", "x"], "invalid value 'x' for '--seed <S>'");
    is_refused(&["demo", "--wrong"], "--wrong");
    is_refused(&["demo", "one", "two"], "unexpected argument 'two'");
    is_refused(&["dmo"], "dmo");
    is_refused(&[], "Usage: bauta");
}

#[test]
fn a_name_that_cannot_be_published_is_wrong_usage() {
    use std::os::unix::ffi::OsStrExt;
    let folder = tempfile::tempdir().unwrap();
    // Not UTF-8: published under another name it would come back as another file.
    let path = folder.path().join(std::ffi::OsStr::from_bytes(b"caf\xe9"));
    std::fs::write(&path, b"x").unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_bauta")).arg("demo").arg(&path).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{:?}", said(&output));
}

#[test]
fn help_and_version_are_no_error() {
    for arguments in [&["--help"][..], &["demo", "--help"], &["--version"], &["help"]] {
        let output = bauta(arguments);
        let (out, err) = said(&output);
        assert_eq!((output.status.code(), err.as_str()), (Some(0), ""), "{arguments:?}");
        assert!(out.contains("bauta"), "{out}");
    }
}

#[test]
fn a_result_that_cannot_be_written_is_a_failure() {
    let full = File::options().write(true).open("/dev/full").unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_bauta")).arg("demo").stdout(full).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{:?}", said(&output));
}
