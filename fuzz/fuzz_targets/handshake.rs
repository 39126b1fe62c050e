//! Two ends of one link, and somebody between them who delivers, changes, repeats and reflects frames: no end is ever told of a link
//! or a cell but by the other's own frames in their order, every other frame is met by the one answer of that state, before the
//! handshake is done an end has said one frame at most, and deadlines hold to the microsecond.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| oracles::handshake::check(data, false));
