//! Somebody who listens in, for tests and measurements: every frame on the wire, every cell inside. Off unless given.

use std::net::SocketAddr;

use crate::limits::FRAME_LEN;
use crate::wire::cell::{CircuitId, Command};

/// Is told what the links of one node carry. Called from link tasks: it must be quick and must not block.
pub trait Tap: Send + Sync + 'static {
    /// A frame was read (`sent` false) or is about to be written, as it stands on the wire.
    fn frame(&self, local: SocketAddr, peer: SocketAddr, sent: bool, frame: &[u8; FRAME_LEN]);

    /// A cell was opened (`sent` false) or queued to be sealed. Padding and hellos are not told.
    fn cell(&self, local: SocketAddr, peer: SocketAddr, sent: bool, command: Command, circuit: CircuitId);
}
