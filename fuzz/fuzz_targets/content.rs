//! Roots, folders and layouts: what decodes encodes to the same bytes, no path leaves its folder or meets another, files stand one behind
//! the other up to the last byte, and every byte of a level is in one chunk of one group, within what a content may have.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| oracles::content::check(data, false));
