//! Cells: what decodes encodes to the same bytes, and the header means what the spec says.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| oracles::cell_decode::check(data, false));
