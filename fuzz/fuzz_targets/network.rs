//! Three to seven whole relays and a schedule: processes that end and start, links that break, values put on disks, lookups, time. No table
//! passes its cap, nobody who runs by the rules is ever banned, storers are asked by relays alone, and once all run again all know each other.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| oracles::network::check(data, false));
