//! One layer of a build packet, with real keys: any bytes but the packet itself are refused, with one error, and the packet
//! still opens afterwards.
#![no_main]

#[path = "../oracles/peel.rs"]
mod oracle;

libfuzzer_sys::fuzz_target!(|data: &[u8]| oracle::check(data));
