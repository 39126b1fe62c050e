//! Somebody who listens in, for tests and measurements: every frame on the wire, every cell inside. Off unless given.

use std::net::SocketAddr;

use crate::limits::FRAME_LEN;
use crate::link::ExposedKeys;
use crate::wire::cell::{CircuitId, Command};
use crate::wire::network::Network;

/// Is told what the links of one node carry. Called from link tasks: it must be quick and must not block.
pub trait Tap: Send + Sync + 'static {
    /// A frame was read (`sent` false) or is about to be written, as it stands on the wire.
    fn frame(&self, local: SocketAddr, peer: SocketAddr, sent: bool, frame: &[u8; FRAME_LEN]);

    /// A cell was opened (`sent` false) or queued to be sealed. Padding and hellos are not told.
    fn cell(&self, local: SocketAddr, peer: SocketAddr, sent: bool, command: Command, circuit: CircuitId);

    /// Whether it keeps a log of keys. It is told of none but those of [`may_log_keys`].
    fn logs_keys(&self) -> bool {
        false
    }

    /// The keys of a link, once it is up and whenever one was replaced. Whoever has them reads the link.
    fn keys(&self, _: &ExposedKeys) {}
}

/// Whether the keys of a link may be logged at all: both ends are on this machine, in a network whose identities cost nothing. No network
/// that anybody else is in is one.
#[must_use]
pub fn may_log_keys(network: &Network, ends: [SocketAddr; 2]) -> bool {
    network.difficulty == 0 && ends.iter().all(|end| end.ip().is_loopback())
}
