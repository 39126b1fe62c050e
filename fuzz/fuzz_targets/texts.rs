//! Links, names and keys as people pass them on: what is taken is written back as it was, one wrong character anywhere is noticed, and
//! nothing is a link to one and a name to another.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| oracles::texts::check(data, false));
