//! The files that a process keeps for itself: whatever bytes stand there, they are read or refused by name; what is read is written back as
//! what reads the same; no changed byte is taken.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| oracles::state_files::check(data, false));
