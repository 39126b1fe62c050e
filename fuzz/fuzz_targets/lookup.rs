//! A lookup among liars: whatever is answered, by whom and when, it ends by its deadline, asks no more than its questions and nobody twice, never
//! itself and nobody it was not told of, and gives out only who answered and what they said.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| oracles::lookup::check(data, false));
