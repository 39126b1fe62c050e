//! What must hold for every input: one function to a target, called by the fuzzer and, over `corpus/`, by plain `cargo test`.
//!
//! Beside each `check` stands `planted`: the same with a fault put in between the house and the oracle, which must notice it.

pub mod canary;
pub mod cell_decode;
pub mod content;
pub mod descriptor;
pub mod handshake;
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
pub mod store;
pub mod table;
pub mod texts;
pub mod values;
