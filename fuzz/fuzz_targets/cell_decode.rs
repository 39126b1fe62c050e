//! Cells: what decodes encodes to the same bytes, and the header means what the spec says.
#![no_main]

#[path = "../oracles/cell_decode.rs"]
mod oracle;

libfuzzer_sys::fuzz_target!(|data: &[u8]| oracle::check(data));
