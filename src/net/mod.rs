//! The tokio shell: sockets, link tasks, the one owner loop of each node, clock, entropy, work pools.
//!
//! It must not know what cells, jobs or store operations mean: the node is a [`crate::node::machine::Machine`] to it.

mod admission;
mod clock;
mod config;
mod counts;
mod entropy;
#[doc(hidden)]
pub mod frame_buffer;
mod key_log;
mod link_session;
mod link_shell;
mod link_task;
mod listener;
mod node_task;
mod pool;
mod puzzle_cache;
mod quick_pool;
mod runtime;
mod shell;
mod store_lanes;
mod store_task;
mod tap;
#[cfg(test)]
mod tests;

pub use clock::Clock;
pub use config::{LinkIdentity, ShellConfig, ShellLimits, Store};
pub use counts::{Counts, DownKind};
pub use entropy::Entropy;
pub use key_log::KeyLog;
pub use puzzle_cache::PuzzleCache;
pub use runtime::Runtime;
pub use shell::{NodeControl, NodeHandle, spawn_durable_node, spawn_node};
pub use tap::{Tap, may_log_keys};
