//! Kademlia: the routing table, one lookup, the store, and what a client makes of an exit's evidence. Pure; knows no link.
//!
//! Source: `spec/dht.md`, `spec/evidence.md`.

pub mod budget;
pub mod checked_payments;
pub mod denylist;
pub mod effort;
pub mod errand;
pub mod evidence;
pub mod lookup;
mod neighbourhood;
pub mod receipts;
pub mod repair;
pub mod store;
pub mod table;
