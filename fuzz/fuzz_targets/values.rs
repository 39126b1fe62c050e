//! Values: what is believed is what was signed, or fits its hash, byte for byte; who has the locator reads it, and nobody else; and
//! whatever the order in which stores get records, chunks and deletions, all end with the same.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| oracles::values::check(data, false));
