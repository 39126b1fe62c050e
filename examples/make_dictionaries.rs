//! Writes `fuzz/dictionaries` anew: `cargo run --example make_dictionaries`.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "not part of the library")]

#[path = "../tests/corpora/dictionaries.rs"]
mod dictionaries;

use std::path::Path;

fn main() -> std::io::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = root.join("fuzz/dictionaries");
    std::fs::create_dir_all(&folder)?;
    for (target, text) in dictionaries::dictionaries(&root.join("spec/vectors")) {
        std::fs::write(folder.join(target), text)?;
    }
    Ok(())
}
