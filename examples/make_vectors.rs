//! Writes `spec/vectors` anew. Run it where a format has changed: `cargo run --example make_vectors`.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "not part of the library")]

#[path = "../tests/spec_vectors/make/mod.rs"]
mod make;

use std::path::Path;

fn main() -> std::io::Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("spec/vectors");
    std::fs::create_dir_all(&folder)?;
    for file in make::files() {
        std::fs::write(folder.join(file.name).with_extension("json"), file.to_json())?;
    }
    Ok(())
}
