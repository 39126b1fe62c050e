//! Operations among exits that lie: whatever comes back, or nothing, an operation ends once and by its time, with no more circuits than it
//! has, and brings nothing but what its author sealed, what fits its hash, and as many copies as holders signed for.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| oracles::request::check(data, false));
