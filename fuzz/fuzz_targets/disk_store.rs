//! The store in a file against the one in memory, on a disk that fills up, loses what was not synced when the power goes, and rots: both answer
//! the same; after a crash at any write, what was acknowledged is there; nothing is served that was damaged.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| oracles::disk_store::check(data, false));
