//! A planted fault, behind what only a search that follows coverage gets through: a question that decodes, of the right kind, with a certain salt.
//! `fuzz/run` must find it from nothing, within a minute. No house stands behind it.

use bauta::wire::message::Ask;

/// Fails for what the search has to find.
pub fn check(data: &[u8]) {
    let Ok(Ask::Differences { after: None, until: None, salt, held }) = Ask::decode(data) else { return };
    let mut fits = 0;
    for (came, wanted) in salt.to_be_bytes().iter().zip(b"bau") {
        if came != wanted {
            return;
        }
        // So that no compiler makes one comparison of three.
        fits = core::hint::black_box(fits + 1);
    }
    if fits == 3 && held.is_empty() {
        panic!("the canary was found");
    }
}
