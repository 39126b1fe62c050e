//! Writes `spec/conformance.md` anew: `cargo run --example make_conformance`. Run it where a rule of the specification or a test that
//! proves one has changed. What is out of order is said, and the page written all the same.
#![allow(clippy::print_stderr, dead_code, reason = "not part of the library")]

#[path = "../tests/conformance/rules.rs"]
mod rules;

use std::path::Path;

fn main() -> std::io::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let tree = rules::Conformance::of_tree(root)?;
    for fault in &tree.faults {
        eprintln!("{fault}");
    }
    for rule in tree.unproven() {
        eprintln!("spec/{}:{}: {} has no test", rule.page, rule.line, rule.id);
    }
    std::fs::write(root.join("spec/conformance.md"), tree.page(&rules::live()))
}
