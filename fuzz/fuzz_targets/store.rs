//! The store in memory against a model: what is newer replaces, what was not expected conflicts, what is over is freed, a full store gives up
//! values for one of a better claim or none at all, pages show everything once, and neither cap is ever passed.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| oracles::store::check(data, false));
