//! Bauta: an overlay for anonymous lookup.
pub mod crypto;
#[cfg(feature = "net")]
pub mod disk;
pub mod keyspace;
pub mod limits;
pub mod link;
#[cfg(feature = "net")]
pub mod net;
pub mod node;
pub mod record;
pub mod time;
pub mod wire;
