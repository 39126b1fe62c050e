//! A planted fault that the fuzzer must find: a search that finds nothing here would find nothing elsewhere.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| oracles::canary::check(data));
