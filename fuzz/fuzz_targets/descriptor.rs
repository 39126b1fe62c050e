//! A relay's description: what decodes encodes to the same bytes; what is believed is what its relay signed, byte for byte, for this
//! network, within its life, with a solved puzzle; and its id follows from its key and puzzle alone.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| oracles::descriptor::check(data, false));
