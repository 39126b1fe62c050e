//! Limits of the commands that look at the protocol from outside. Source: spec/limits.md.

/// Bytes that `decode` reads: twice the longest message between two relays in its cells.
pub const DECODE_INPUT_LEN_MAX: usize = 256 << 10;
/// Bytes of text that `decode` reads for them: two digits for each, and as much again for spaces and line ends.
pub const DECODE_TEXT_LEN_MAX: usize = 4 * DECODE_INPUT_LEN_MAX;
