//! A whole relay, and everybody else played by the script: clients and relays that link up and go, cells of every command, real build
//! packets, questions, answers to its own questions, time. Whatever comes, no table passes its cap, it says nothing but on links that are
//! up, dials under new numbers, does a bounded number of things for one input, and gives clients no word of a storer.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| oracles::relay::check(data, false));
