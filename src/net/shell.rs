//! What a node is given by its owner in this process, and what the owner keeps: configuration and handle.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::counts::{Counts, DownKind};
use super::node_task;
use super::runtime::Runtime;
use super::tap::Tap;
use crate::crypto::keys::DhSecret;
use crate::limits::{COMMANDS_MAX, DIAL_TIMEOUT, LINK_WRITE_STALL_MAX, NODE_EVENTS_MAX};
use crate::link::Timing;
use crate::node::machine::Machine;
use crate::time::{Duration, UnixTime};
use crate::wire::network::Network;

/// Does the node's store operations, in order, on a task of its own.
pub type Store<M> = Box<dyn FnMut(UnixTime, <M as Machine>::StoreOp) -> <M as Machine>::StoreResult + Send>;

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

/// A running node. Dropping it ends the node at once.
pub struct NodeHandle<M: Machine> {
    /// What it shall do; [`COMMANDS_MAX`] wait at most.
    pub commands: mpsc::Sender<M::Command>,
    /// What it tells. Drained or dropped: when [`NODE_EVENTS_MAX`] wait here, further commands are not taken, and beyond as
    /// many again events are lost and counted.
    pub events: mpsc::Receiver<M::Event>,
    /// Its life.
    pub control: NodeControl,
}

/// Ends a node, and counts its links' ends.
pub struct NodeControl {
    stop: Option<oneshot::Sender<()>>,
    owner: JoinHandle<()>,
    counts: Arc<Counts>,
}

impl<M: Machine> NodeHandle<M> {
    /// Ends the node: see [`NodeControl::shutdown`].
    pub async fn shutdown(self) {
        self.control.shutdown().await;
    }

    /// See [`NodeControl::counts`].
    #[must_use]
    pub fn counts(&self) -> BTreeMap<DownKind, u64> {
        self.control.counts()
    }
}

impl NodeControl {
    /// Ends the node: aborts its tasks, closes listener and sockets; when it returns, nothing of the node is left but jobs
    /// already in the work pool, whose results go nowhere.
    pub async fn shutdown(mut self) {
        drop(self.stop.take());
        // An error says that the owner failed: then its tasks are gone as well.
        let _ = (&mut self.owner).await;
    }

    /// How many links ended, by reason; refused handshakes count too.
    #[must_use]
    pub fn counts(&self) -> BTreeMap<DownKind, u64> {
        self.counts.read()
    }

    /// Events lost because nobody took them.
    #[must_use]
    pub fn events_lost(&self) -> u64 {
        self.counts.events_lost()
    }
}

impl Drop for NodeControl {
    fn drop(&mut self) {
        self.owner.abort();
    }
}

/// Starts a node on the runtime's tokio. Its tasks end with its handle.
#[must_use]
pub fn spawn_node<M: Machine>(
    runtime: Arc<Runtime>,
    machine: M,
    config: ShellConfig,
    store: Store<M>,
) -> NodeHandle<M> {
    let (commands, commands_out) = mpsc::channel(COMMANDS_MAX);
    let (events_in, events) = mpsc::channel(NODE_EVENTS_MAX);
    let (stop, stopped) = oneshot::channel();
    let counts = Arc::new(Counts::default());
    let tokio = runtime.tokio.clone();
    let owner = node_task::Owner::new(runtime, machine, config, Arc::clone(&counts), (commands_out, events_in));
    let owner = tokio.spawn(owner.run(store, stopped));
    NodeHandle { commands, events, control: NodeControl { stop: Some(stop), owner, counts } }
}
