//! Shapes only: cells, messages, descriptors, records, statements; bounded decode, canonical encode. No state, no policy.
//!
//! What is accepted re-encodes to the same bytes; nothing is allocated before its length is bounded; nothing trails.

pub mod address;
pub mod cell;
pub mod codec;
pub mod contact;
pub mod descriptor;
pub mod global;
pub mod hello;
pub mod hex;
pub mod message;
pub mod network;
pub mod notes;
pub mod onion;
pub mod payment;
pub mod record;
pub mod statement;
