//! What holders say of the chunks of a content, in any order, of all chunks or of some: what is made of it group by group is what a count
//! of each group makes of it.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| oracles::audit::check(data, false));
