//! A peer with real keys that says what the input has it say: a link comes of a hello that fits and of nothing else, each refusal bears its
//! reason, and of cells those that mean something.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| oracles::speaker::check(data, false));
