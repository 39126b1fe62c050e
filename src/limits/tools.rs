//! Limits of the commands that look at the protocol from outside. Source: spec/limits.md.

use crate::time::Duration;

/// Bytes that `decode` reads: twice the longest message between two relays in its cells.
pub const DECODE_INPUT_LEN_MAX: usize = 256 << 10;
/// Bytes of text that `decode` reads for them: two digits for each, and as much again for spaces and line ends.
pub const DECODE_TEXT_LEN_MAX: usize = 4 * DECODE_INPUT_LEN_MAX;
/// Checks of a node that run beside each other.
pub const CONFORM_AT_ONCE: usize = 8;
/// A check of a node ends, or has failed.
pub const CONFORM_CHECK_MAX: Duration = Duration::from_secs(60);
/// Links that `conform --listen` takes at once.
pub const CONFORM_GUESTS_MAX: usize = 64;
/// Keys and nonces that must not come twice, and are remembered for it.
pub const CONFORM_SEEN_MAX: usize = 1 << 16;
/// How often something that came to nothing is tried again.
pub const CONFORM_LOST_MAX: u32 = 8;
/// Minutes that `conform --listen` waits at most.
pub const CONFORM_MINUTES_MAX: u32 = 1_440;
