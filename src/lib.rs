//! Bauta: an overlay for anonymous lookup.
pub mod crypto;
pub mod dht;
pub mod keyspace;
pub mod limits;
pub mod membership;
pub mod node;
pub mod onion;
pub mod record;
pub mod time;
pub mod wire;
