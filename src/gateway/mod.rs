//! What a running node offers to commands of the same user on the same machine: its client, over a Unix socket.
//!
//! The socket stands in a directory of mode 0700, and the other end's user is asked for all the same. One connection carries
//! one request; when it closes, the request ends. It must not know the command line. Source: spec/gateway.md.

use std::future::Future as _;
use std::io;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use serde::Serialize;
use serde::de::DeserializeOwned;

mod call;
mod serve;
#[cfg(test)]
mod tests;
mod wire;

pub use call::{CallError, Caller};
pub use serve::{Facts, serve};
pub use wire::counts_in as counts;
pub use wire::{Answer, Demands, How, Request, Status, Writes};

/// Reads one frame, of a node or of a command, and gives the frame that says the same: for vectors and fuzzers, which have no socket.
///
/// # Errors
/// As of whoever would read it from a socket.
#[doc(hidden)]
pub fn reread_frame(of_node: bool, frame: &[u8]) -> io::Result<Vec<u8>> {
    async fn again<T: DeserializeOwned + Serialize>(mut frame: &[u8]) -> io::Result<Vec<u8>> {
        let (value, mut out): (T, _) = (wire::receive(&mut frame).await?, Vec::new());
        wire::send(&mut out, &value).await?;
        if frame.is_empty() { Ok(out) } else { Err(io::Error::other("bytes behind a frame")) }
    }
    // Bytes in memory are always there.
    let mut context = Context::from_waker(Waker::noop());
    let read = if of_node {
        pin!(again::<wire::Reply>(frame)).poll(&mut context)
    } else {
        pin!(again::<wire::Opening>(frame)).poll(&mut context)
    };
    match read {
        Poll::Ready(read) => read,
        Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
    }
}

/// Name of the socket in the folder of a network.
pub const SOCKET: &str = "node.sock";
