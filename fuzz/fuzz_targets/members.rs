//! The membership against a model, and against itself in another order: the greatest number of a relay wins, two of one number ban it,
//! no cap is passed, no id belongs to two, all at once is the same as one by one, and where nobody lied the order does not matter.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| oracles::members::check(data, false));
