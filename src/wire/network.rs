//! What makes a network this one: its id and its parameters. Every signature and handshake is bound to it.

use super::address::Address;
use crate::crypto::hash::blake3;

/// The versions of the protocol that this build speaks, lowest and highest.
pub const VERSIONS: (u8, u8) = (1, 1);
/// The one suite of this version: X25519, ChaCha20-Poly1305, BLAKE2s; one cell to a build packet.
pub const SUITE: u8 = 1;

/// A network's id and parameters.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Network {
    /// 32 bytes that no other network has.
    pub id: [u8; 32],
    /// Leading zero bits that an identity puzzle must show; 0 in demo and devnet, and where nobody else is let in.
    pub difficulty: u8,
}

impl Network {
    /// A network named by a string, of this difficulty.
    #[must_use]
    pub fn named(name: &str, difficulty: u8) -> Self {
        Self { id: blake3(&[b"bauta network", name.as_bytes()]), difficulty }
    }

    /// Whether a relay of this network may have the address, and be dialled there. Where identities cost nothing the network is a
    /// private one, and any address will do; elsewhere it is a global one alone: whoever may sign a descriptor could else have
    /// others dial into networks that are not his (spec/membership.md §8).
    #[must_use]
    pub fn may_reach(&self, address: &Address) -> bool {
        self.difficulty == 0 || address.is_global()
    }

    /// The prologue of every link handshake (spec/link.md §2).
    #[must_use]
    pub fn link_prologue(&self) -> Vec<u8> {
        [&b"bauta/1 link"[..], &self.id].concat()
    }
}
