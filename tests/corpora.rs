//! Every kept fuzz input, replayed through its oracle: what a fuzzer once found is found again without one. And every oracle is awake:
//! with a fault planted between the house and it, at least one kept input fails. Oracles that name several faults are awake to each.
#![cfg(feature = "cli")]
#![expect(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "an oracle's assertions are what it is for"
)]

#[path = "corpora/dictionaries.rs"]
mod dictionaries;
#[expect(unreachable_pub, reason = "the targets of the fuzzer call them, too")]
#[path = "../fuzz/oracles/mod.rs"]
mod oracles;

use std::collections::BTreeSet;
use std::panic::{RefUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

fn fuzz() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz")
}

fn kept(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = fuzz().join("corpus").join(target);
    let paths = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    paths.map(|path| (path.clone(), std::fs::read(path).unwrap())).collect()
}

fn replay(target: &str, check: fn(&[u8], bool)) {
    let inputs = kept(target);
    assert!(!inputs.is_empty(), "{target}");
    for (path, input) in &inputs {
        assert!(catch_unwind(|| check(input, false)).is_ok(), "{}", path.display());
    }
    let noticed = inputs.iter().any(|(_, input)| catch_unwind(|| check(input, true)).is_err());
    assert!(noticed, "{target}: no kept input shows the planted fault");
}

macro_rules! targets {
    ($($target:ident),*) => {
        const TARGETS: &[&str] = &[$(stringify!($target)),*];
        mod kept_inputs_hold_and_a_planted_fault_is_noticed {
            $(#[test]
            fn $target() {
                super::replay(stringify!($target), super::oracles::$target::check);
            })*
        }
    };
}

targets!(
    audit,
    cell_decode,
    content,
    descriptor,
    disk_store,
    fetch,
    guards,
    handshake,
    inspect,
    link,
    lookup,
    members,
    message_decode,
    network,
    onion_build,
    onion_circuit,
    peel,
    relay,
    request,
    settings,
    speaker,
    state_files,
    store,
    stream,
    table,
    texts,
    values
);

/// Of each of these faults, planted alone, some kept input shows that it is there.
fn each_is_noticed<F: Copy + RefUnwindSafe + core::fmt::Debug>(
    target: &str,
    faults: &[F],
    check: fn(&[u8], Option<F>),
) {
    let inputs = kept(target);
    let fails = |fault: &F, input: &[u8]| catch_unwind(|| check(input, Some(*fault))).is_err();
    let is_hidden = |fault: &&F| !inputs.iter().any(|(_, input)| fails(fault, input));
    let hidden: Vec<&F> = faults.iter().filter(is_hidden).collect();
    assert!(hidden.is_empty(), "{target}: no kept input shows {hidden:?}");
}

#[test]
fn each_of_the_faults_of_guards_is_noticed() {
    each_is_noticed("guards", &oracles::guards::Fault::ALL, oracles::guards::check_with);
}

#[test]
fn each_of_the_faults_of_fetches_is_noticed() {
    each_is_noticed("fetch", &oracles::fetch::Fault::ALL, oracles::fetch::check_with);
}

#[test]
fn every_target_of_the_fuzzer_is_replayed() {
    let manifest = std::fs::read_to_string(fuzz().join("Cargo.toml")).unwrap();
    let names = manifest.lines().filter_map(|line| line.strip_prefix("path = \"fuzz_targets/")?.strip_suffix(".rs\""));
    assert_eq!(names.collect::<BTreeSet<_>>(), TARGETS.iter().copied().chain(["canary"]).collect());
}

#[test]
fn dictionaries_are_what_the_vectors_and_names_of_today_make() {
    let made = dictionaries::dictionaries(&Path::new(env!("CARGO_MANIFEST_DIR")).join("spec/vectors"));
    let there = std::fs::read_dir(fuzz().join("dictionaries")).unwrap().map(|entry| entry.unwrap().file_name());
    let there: BTreeSet<String> = there.map(|name| name.into_string().unwrap()).collect();
    assert_eq!(there, made.iter().map(|(target, _)| (*target).to_owned()).collect());
    for (target, text) in made {
        assert!(TARGETS.contains(&target));
        let kept = std::fs::read_to_string(fuzz().join("dictionaries").join(target)).unwrap();
        assert!(kept == text, "{target}: run `cargo run --example make_dictionaries`");
    }
}

#[test]
fn the_canary_fails_for_what_the_fuzzer_has_to_find_and_for_nothing_that_is_kept() {
    let found = [&[4, 0, 0, b'b', b'a', b'u', 0, 0, 0, 0, 0][..], &[0, 0]].concat();
    assert!(catch_unwind(|| oracles::canary::check(&found)).is_err());
    assert!(kept("message_decode").iter().all(|(_, input)| catch_unwind(|| oracles::canary::check(input)).is_ok()));
}
