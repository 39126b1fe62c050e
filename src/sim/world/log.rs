//! The log of a run as one number: two runs that did the same have the same one. Nothing cryptographic.

use crate::node::io::Input;
use crate::time::Instant;

/// Hash of what nodes were told, and when.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Log {
    hash: u64,
    entries: u64,
}

impl Log {
    /// Takes note of a number.
    pub fn note(&mut self, number: u64) {
        self.entries += 1;
        let mixed = (self.hash ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.hash = (mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9).rotate_left(31);
    }

    /// Takes note of an input of a node.
    pub(super) fn input(&mut self, at: Instant, node: u32, input: &Input) {
        self.note(at.as_micros());
        let (kind, link, rest) = match input {
            Input::Timeout => (1, 0, 0),
            Input::LinkUp { link, .. } => (2, link.0, 0),
            Input::LinkDown { link, .. } => (3, link.0, 0),
            Input::Cell { link, cell } => {
                let head = cell.body().first_chunk::<8>().map_or(0, |head| u64::from_be_bytes(*head));
                (4 + u64::from(cell.command().to_wire()), link.0, head ^ u64::from(cell.circuit().0))
            }
        };
        self.note(u64::from(node) << 8 | kind);
        self.note(link);
        self.note(rest);
    }

    /// The hash so far.
    #[must_use]
    pub fn digest(&self) -> u64 {
        self.hash
    }
}
