//! Guards, second hops and the paths through them: no fourth guard within thirty days, what is kept comes back the same, and a path is as
//! long as asked, of distinct relays apart from each other and none of ours, or is refused.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| oracles::guards::check(data, false));
