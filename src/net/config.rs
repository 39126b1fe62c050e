//! What a node is given by its owner in this process: as whom it speaks, where it listens, its deadlines. Shapes only.

use std::net::IpAddr;
use std::sync::Arc;

use tokio::net::TcpListener;

use super::tap::Tap;
use crate::crypto::keys::DhSecret;
use crate::limits::{DIAL_TIMEOUT, LINK_WRITE_STALL_MAX};
use crate::link::Timing;
use crate::node::machine::{DurableStore, Machine};
use crate::time::{Duration, UnixTime};
use crate::wire::network::Network;

/// Does the node's store operations, in order, on a task of its own.
pub type Store<M> = Box<dyn FnMut(UnixTime, <M as Machine>::StoreOp) -> <M as Machine>::StoreResult + Send>;

/// Either kind of store.
pub(super) enum AnyStore<M: Machine> {
    /// Answers at once.
    Prompt(Store<M>),
    /// Waits for a disk.
    Durable(Arc<dyn DurableStore<M>>),
}

/// As whom a node speaks on links.
#[derive(Clone, Debug)]
pub enum LinkIdentity {
    /// A relay, with its link key. It must give out [`crate::node::io::Output::Descriptor`] before it dials; until then
    /// who connects is turned away.
    Relay {
        /// The secret of the descriptor's link key.
        secret: DhSecret,
    },
    /// A client: a fresh key for each link, no descriptor, never a listener.
    Client,
}

/// Deadlines of the shell; those of `limits.rs` unless a test asks for others.
#[derive(Clone, Copy, Debug)]
pub struct ShellLimits {
    /// Of link machines.
    pub timing: Timing,
    /// Connecting a socket ends within this time.
    pub dial_timeout: Duration,
    /// A socket that takes nothing of a pending write for this long is dead.
    pub write_stall_max: Duration,
}

impl Default for ShellLimits {
    fn default() -> Self {
        Self { timing: Timing::default(), dial_timeout: DIAL_TIMEOUT, write_stall_max: LINK_WRITE_STALL_MAX }
    }
}

/// What a node is started with.
pub struct ShellConfig {
    /// The network.
    pub network: Network,
    /// As whom.
    pub identity: LinkIdentity,
    /// The address from which it dials, if it matters.
    pub bind_ip: Option<IpAddr>,
    /// Where it listens; for relays.
    pub listener: Option<TcpListener>,
    /// Who listens in.
    pub tap: Option<Arc<dyn Tap>>,
    /// Deadlines.
    pub limits: ShellLimits,
}

impl ShellConfig {
    /// A node of this network and identity that does not listen, with the limits of `limits.rs`.
    #[must_use]
    pub fn new(network: Network, identity: LinkIdentity) -> Self {
        Self { network, identity, bind_ip: None, listener: None, tap: None, limits: ShellLimits::default() }
    }
}
