//! What a running node offers to commands of the same user on the same machine: its client, over a Unix socket.
//!
//! The socket stands in a directory of mode 0700, and the other end's user is asked for all the same. One connection carries
//! one request; when it closes, the request ends. It must not know the command line. Source: spec/gateway.md.

mod call;
mod serve;
#[cfg(test)]
mod tests;
mod wire;

pub use call::{CallError, Caller};
pub use serve::{Facts, serve};
pub use wire::counts_in as counts;
pub use wire::{Answer, Demands, How, Request, Status, Writes};

/// Name of the socket in the folder of a network.
pub const SOCKET: &str = "node.sock";
