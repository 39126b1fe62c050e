//! Guards, second hops and the paths through them, against a model of the rules; over restarts from what was kept, too. A path is as long as
//! asked, of distinct relays apart from each other and none of ours, and is refused only where there may be none.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| oracles::guards::check(data, false));
