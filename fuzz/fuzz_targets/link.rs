//! Cells over a finished handshake, and the credits of a circuit, in any order of operations: only the peer's next frame opens, and to
//! the cell that was sealed; no other frame does, and none moves a nonce; keys are replaced in step. Of credits no more cells are under way
//! than were granted, an honest pair never meets a refusal, and whoever grants or sends too much always does.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| oracles::link::check(data, false));
