//! What must hold for every input: one function to a target, called by the fuzzer and, over `corpus/`, by plain `cargo test`.
//!
//! Each takes `fault`: whether one is put in between the house and the oracle, which must notice it. No fuzzer says so. Two
//! have a list of faults, each of which must be noticed when it is there alone.

pub mod audit;
pub mod canary;
pub mod cell_decode;
pub mod content;
pub mod descriptor;
pub mod disk_store;
pub mod fetch;
pub mod fetch_model;
pub mod guard_model;
pub mod guards;
pub mod handshake;
pub mod inspect;
pub mod link;
pub mod lookup;
pub mod members;
pub mod message_decode;
pub mod network;
pub mod onion_build;
pub mod onion_circuit;
pub mod peel;
pub mod relay;
pub mod relays;
pub mod request;
pub mod script;
pub mod settings;
pub mod speaker;
pub mod state_files;
pub mod store;
pub mod stream;
pub mod table;
pub mod texts;
pub mod values;
