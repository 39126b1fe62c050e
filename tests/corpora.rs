//! Every kept fuzz input, replayed through its oracle: what a fuzzer once found is found again without one.
#![expect(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    reason = "an oracle's assertions are what it is for"
)]

#[path = "../fuzz/oracles/cell_decode.rs"]
mod cell_decode;
#[path = "../fuzz/oracles/message_decode.rs"]
mod message_decode;
#[path = "../fuzz/oracles/peel.rs"]
mod peel;

use std::path::Path;

fn replay(target: &str, check: impl Fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let inputs: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(!inputs.is_empty());
    for input in inputs {
        check(&std::fs::read(input).unwrap());
    }
}

#[test]
fn kept_cells_hold() {
    replay("cell_decode", cell_decode::check);
}

#[test]
fn kept_messages_hold() {
    replay("message_decode", message_decode::check);
}

#[test]
fn kept_packets_hold() {
    replay("peel", peel::check);
}
