//! Bytes of a socket, cut anywhere: the same frames come out, and of their cells the same messages; no buffer grows beyond its cap.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| oracles::stream::check(data, false));
