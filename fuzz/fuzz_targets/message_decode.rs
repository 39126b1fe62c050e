//! Messages, requests, answers: what decodes encodes to the same bytes; joining cells gives the same whatever is announced, and
//! never holds more than came.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| oracles::message_decode::check(data, false));
