//! What goes into a node and what comes out of it. The shell (or the simulated world) does the rest.

use crate::crypto::keys::DhKey;
use crate::wire::address::Address;
use crate::wire::cell::Cell;
use crate::wire::descriptor::VerifiedDescriptor;

/// A link of this node, for as long as the process lives. Even: dialled by the node; odd: accepted by the shell.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct LinkId(pub u64);

/// Who is at the other end of a link, as the handshake proved it.
#[derive(Clone, Debug)]
pub struct Peer {
    /// The key that the handshake proved.
    pub link_key: DhKey,
    /// A relay's descriptor, verified and bound to `link_key`; `None` for a client.
    pub descriptor: Option<VerifiedDescriptor>,
    /// The address of the socket's other end.
    pub address: Address,
    /// Whether this node dialled.
    pub dialled: bool,
}

/// Why a link ended, split by blame.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, thiserror::Error)]
pub enum DownReason {
    /// The socket could not be connected.
    #[error("could not be reached")]
    Unreachable,
    /// The peer did not finish the handshake in time, or closed during it.
    #[error("handshake not finished")]
    Handshake,
    /// The peer is not who it should be, is of another network, or sent garbage during the handshake.
    #[error("handshake refused")]
    Identity,
    /// No common version; ours, theirs.
    #[error("no common version: we speak {}-{}, the peer {}-{}", ours.0, ours.1, theirs.0, theirs.1)]
    Version {
        /// Versions of this node.
        ours: (u8, u8),
        /// Versions of the peer.
        theirs: (u8, u8),
    },
    /// A frame did not authenticate, or a cell had no meaning here.
    #[error("peer broke the protocol")]
    Protocol,
    /// Too many handshakes or links.
    #[error("over a limit")]
    Limit,
    /// The peer closed, or the socket failed.
    #[error("closed")]
    Closed,
    /// Nothing was heard, or nothing could be written, for too long.
    #[error("silent")]
    Silent,
}

/// What a node is told.
#[derive(Debug)]
pub enum Input {
    /// A deadline may have passed.
    Timeout,
    /// A link is ready.
    LinkUp {
        /// Which.
        link: LinkId,
        /// To whom.
        peer: Box<Peer>,
    },
    /// A link, or an attempt to dial one, ended.
    LinkDown {
        /// Which.
        link: LinkId,
        /// Why.
        reason: DownReason,
    },
    /// A cell came.
    Cell {
        /// On which link.
        link: LinkId,
        /// The cell.
        cell: Cell,
    },
}

/// What a node wants done.
#[derive(Debug)]
pub enum Output {
    /// Send a cell. When the link's queue is full the shell closes the link.
    Send {
        /// On which link.
        link: LinkId,
        /// The cell.
        cell: Cell,
    },
    /// Connect; ends in `LinkUp` or `LinkDown`.
    Dial {
        /// Number of the link to be.
        link: LinkId,
        /// Where.
        address: Address,
        /// Whom.
        link_key: DhKey,
    },
    /// End a link. No `LinkDown` follows.
    Close {
        /// Which.
        link: LinkId,
    },
    /// From now on the relay shows this descriptor in handshakes.
    Descriptor(Box<VerifiedDescriptor>),
}
