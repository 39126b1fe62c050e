//! Why links end: a closed set, split by blame. It must not know who counts or reports it.

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
    /// Too many handshakes, links or questions.
    #[error("over a limit")]
    Limit,
    /// The peer closed, or the socket failed.
    #[error("closed")]
    Closed,
    /// Nothing was heard, or nothing could be written, for too long.
    #[error("silent")]
    Silent,
}
