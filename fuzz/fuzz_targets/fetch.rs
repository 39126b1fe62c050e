//! Content through chunks and back: what comes out is what was put in, each chunk once; and a level is given up only where too few of a
//! group came.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| oracles::fetch::check(data, false));
