//! A planted fault, behind what only a search that follows coverage gets through: a question that decodes, of the right kind, with a certain salt.
//! `fuzz/run` must find it from nothing, within a minute. No house stands behind it.

use bauta::wire::message::Ask;

/// Fails for what the search has to find.
pub fn check(data: &[u8]) {
    let Ok(Ask::Differences { after: None, until: None, salt, held }) = Ask::decode(data) else { return };
    let [first, second, third, ..] = salt.to_be_bytes();
    // One comparison and one edge for each byte, however it is compiled: of three in one, or of a loop, a search learns nothing.
    if first != b'b' {
        return;
    }
    core::hint::black_box(1);
    if second != b'a' {
        return;
    }
    core::hint::black_box(2);
    if third == b'u' && held.is_empty() {
        panic!("the canary was found");
    }
}
