//! Any bytes as any kind of message, for people: each byte stands under one name, up to where reading stops, and what is taken is what
//! the decoder takes that nobody watches.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| oracles::inspect::check(data, false));
