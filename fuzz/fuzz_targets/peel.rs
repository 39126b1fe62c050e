//! One layer of a build packet, with real keys: any bytes but the packet itself are refused, with one error, and the packet
//! still opens afterwards.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| oracles::peel::check(data, false));
