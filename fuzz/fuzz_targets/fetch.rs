//! Content through chunks and back: what comes out is what was put in, each chunk once; it ends, and a level is given up exactly where a group
//! cannot be made whole.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| oracles::fetch::check(data, false));
