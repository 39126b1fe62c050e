//! Build packets for paths of every length, changed anywhere on their way: what is not byte for byte what the client made is refused
//! at the very next relay, with the one error; so is what is for another relay or another key. Unchanged they come through to the request.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| oracles::onion_build::check(data, false));
