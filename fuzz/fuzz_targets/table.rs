//! The routing table against a model of its rules: who has stayed is not pushed out, who fails goes and one of those that wait comes, prefixes
//! and buckets keep their caps, and the closest are those that a look at everybody finds.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| oracles::table::check(data, false));
