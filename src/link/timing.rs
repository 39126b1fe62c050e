//! Deadlines of one link: those of `limits.rs`, unless a test asks for others. Knows no link.

use crate::limits::{HANDSHAKE_TIMEOUT, LINK_PADDING_AFTER, LINK_SILENCE_MAX};
use crate::time::Duration;

/// Deadlines of a link.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Timing {
    /// A handshake ends within this time.
    pub handshake: Duration,
    /// After so long without a frame sent, at the latest, one padding cell goes.
    pub padding_after: Duration,
    /// After so long without a frame heard the link ends.
    pub silence_max: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self { handshake: HANDSHAKE_TIMEOUT, padding_after: LINK_PADDING_AFTER, silence_max: LINK_SILENCE_MAX }
    }
}
