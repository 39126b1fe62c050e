//! Files that people write: settings and lists of what is denied. What is taken says the same when it is written back, and a list denies
//! exactly what its lines name.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| oracles::settings::check(data, false));
