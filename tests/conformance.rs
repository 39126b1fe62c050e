//! Every rule of the specification has a test, every MUST is a rule, and `spec/conformance.md` says which test proves which.
#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used, reason = "a test crate")]

use std::collections::BTreeSet;
use std::path::Path;

use rules::Conformance;

#[path = "conformance/rules.rs"]
mod rules;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn tree() -> Conformance {
    Conformance::of_tree(root()).unwrap()
}

fn live() -> BTreeSet<(&'static str, &'static str)> {
    rules::live()
}

fn of(files: &[(&str, &str)]) -> Conformance {
    let files: Vec<(String, String)> = files.iter().map(|(path, text)| ((*path).into(), (*text).into())).collect();
    Conformance::of_files(&files)
}

#[test]
fn rules_and_markers_are_in_order() {
    let faults = tree().faults;
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

#[test]
fn every_rule_has_a_test() {
    let tree = tree();
    let unproven: Vec<String> = tree
        .unproven()
        .iter()
        .map(|rule| format!("spec/{}:{}: {} has no test", rule.page, rule.line, rule.id))
        .collect();
    assert!(unproven.is_empty(), "mark the test that proves it:\n{}", unproven.join("\n"));
}

#[test]
fn every_rule_that_is_looked_at_live_is_in_the_specification() {
    let tree = tree();
    let strangers: Vec<&str> =
        live().into_iter().map(|(id, _)| id).filter(|id| !tree.rules.iter().any(|rule| rule.id == *id)).collect();
    assert!(strangers.is_empty(), "{strangers:?}");
}

#[test]
fn the_generated_page_is_current() {
    let page = std::fs::read_to_string(root().join("spec/conformance.md")).unwrap_or_default();
    assert!(page == tree().page(&live()), "run `cargo run --example make_conformance`");
}

// ---- that the above would notice ----

const PAGE: &str = "# Links\n\nText.\n\n- [LINK-W-001] A MUST b,\n  on two lines.\n- [LINK-R-002] C MUST NOT d.\n";

#[test]
fn a_rule_ends_where_the_next_thing_begins() {
    let read = of(&[("spec/link.md", PAGE)]);
    assert!(read.faults.is_empty(), "{:?}", read.faults);
    let texts: Vec<&str> = read.rules.iter().map(|rule| rule.text.as_str()).collect();
    assert_eq!(texts, ["A MUST b, on two lines.", "C MUST NOT d."]);
    assert_eq!(read.unproven().len(), 2);
}

#[test]
fn a_table_and_numbers_hold_rules_too() {
    let read = of(&[("spec/cells.md", "| [CELL-R-001] | a MUST b | c |\n1. [CELL-W-002] d MUST e\nmore\n\nno more\n")]);
    assert!(read.faults.is_empty(), "{:?}", read.faults);
    let texts: Vec<&str> = read.rules.iter().map(|rule| rule.text.as_str()).collect();
    assert_eq!(texts, ["| a MUST b | c", "d MUST e more"]);
}

#[test]
fn a_marker_counts_above_a_test_that_runs() {
    let test = "// [LINK-W-001] [LINK-R-002]\n#[test]\nfn holds() {}\n";
    let read = of(&[("spec/link.md", PAGE), ("src/link/tests.rs", test)]);
    assert!(read.faults.is_empty() && read.unproven().is_empty(), "{read:?}");
    assert!(
        read.page(&BTreeSet::new())
            .contains("| LINK-W-001 | A MUST b, on two lines. |  | src/link/tests.rs: `holds` |")
    );
    for asleep in [
        "// [LINK-W-001]\nfn no_test() {}\n",
        "// [LINK-W-001]\n#[test]\n#[ignore]\nfn ignored() {}\n",
        "// [LINK-W-001]\n\n#[test]\nfn apart() {}\n",
        "// [LINK-W-001]\n",
    ] {
        let read = of(&[("spec/link.md", PAGE), ("src/link/tests.rs", asleep)]);
        assert!(read.proofs.is_empty() && read.faults.len() == 1, "{asleep}: {read:?}");
    }
    let later = of(&[("src/a.rs", "// [LINK-W-001]\n#[tokio::test(flavor = \"multi_thread\")]\nasync fn runs() {}\n")]);
    assert_eq!(later.proofs.len(), 1, "{later:?}");
}

#[test]
fn what_is_out_of_order_is_named() {
    for (page, text, fault) in [
        ("spec/link.md", "A MUST b.\n", "outside a rule"),
        ("spec/cli.md", "[CLI-W-001] A MUST b.\n", "do not begin so"),
        ("spec/link.md", "[CELL-W-001] A MUST b.\n", "do not begin so"),
        ("spec/link.md", "[LINK-W-001] A and b.\n", "0 MUST in it"),
        ("spec/link.md", "[LINK-W-001] A MUST b and MUST c.\n", "2 MUST in it"),
        ("spec/link.md", "[LINK-W-002] A MUST b.\n", "number 1 was expected"),
        ("spec/link.md", "[LINK-W-001] A MUST b.\n[LINK-R-001] A MUST b.\n", "number 2 was expected"),
        ("spec/cli.md", "As [LINK-W-009] says.\n", "there is no rule LINK-W-009"),
    ] {
        let faults = of(&[(page, text)]).faults;
        assert!(faults.len() == 1 && faults.iter().all(|found| found.contains(fault)), "{text}: {faults:?}");
    }
}

#[test]
fn a_rule_that_was_given_up_keeps_its_id_and_needs_no_test() {
    let read = of(&[("spec/link.md", "[LINK-W-001] withdrawn: links have no colour.\n")]);
    assert!(read.faults.is_empty() && read.unproven().is_empty(), "{read:?}");
}
