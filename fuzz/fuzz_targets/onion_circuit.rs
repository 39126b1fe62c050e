//! A circuit of one to five hops: reply 0, then cells both ways in any order, changed, repeated, swapped, or with a layer left out on
//! their way. The client takes only what the exit sealed for its place, through every hop; a relay only what the client sealed; a relay that
//! refuses a cell still takes the right one.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| oracles::onion_circuit::check(data, false));
