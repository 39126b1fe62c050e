//! One link between two nodes: a padded Noise IK handshake, then cells. Pure: frames and time in, frames and cells out.
//!
//! A link is owned by its task (or by the simulated world). It must not know sockets, nodes or what cells mean; whether a
//! shown descriptor is true is checked by its owner. Source: spec/link.md.

mod down;
pub mod flow;
mod handshake;
mod machine;
mod outbox;
#[cfg(test)]
mod tests;
mod timing;

pub use down::DownReason;
pub use handshake::{MAC1_LEN, PAYLOAD1_LEN, PAYLOAD2_LEN, Params, mac1};
pub use machine::{ExposedKeys, Link, LinkEvent};
pub use outbox::{Full, Outbox};
pub use timing::Timing;

use crate::limits::FRAME_LEN;

/// What crosses a socket: a handshake message or a sealed cell.
pub type Frame = [u8; FRAME_LEN];
