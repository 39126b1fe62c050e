//! What goes into a node and what comes out of it. The shell (or the simulated world) does the rest.

use crate::crypto::keys::DhKey;
pub use crate::link::DownReason;
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
        /// Why; counted.
        reason: DownReason,
    },
    /// From now on the relay shows this descriptor in handshakes.
    Descriptor(Box<VerifiedDescriptor>),
}
