//! Starts a node, and what its owner then keeps of it: a handle.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::config::{AnyStore, ShellConfig, Store};
use super::counts::{Counts, DownKind};
use super::node_task;
use super::runtime::Runtime;
use crate::limits::{COMMANDS_MAX, NODE_EVENTS_MAX};
use crate::node::machine::{DurableStore, Machine};

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

    /// The counters themselves, which outlive the handle.
    pub(crate) fn shared_counts(&self) -> Arc<Counts> {
        Arc::clone(&self.counts)
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
    spawn(runtime, machine, config, AnyStore::Prompt(store))
}

/// Starts a node whose store waits for a disk. A batch that is being written when the node ends is written to its end.
#[must_use]
pub fn spawn_durable_node<M: Machine>(
    runtime: Arc<Runtime>,
    machine: M,
    config: ShellConfig,
    store: Arc<dyn DurableStore<M>>,
) -> NodeHandle<M> {
    spawn(runtime, machine, config, AnyStore::Durable(store))
}

fn spawn<M: Machine>(runtime: Arc<Runtime>, machine: M, config: ShellConfig, store: AnyStore<M>) -> NodeHandle<M> {
    let (commands, commands_out) = mpsc::channel(COMMANDS_MAX);
    let (events_in, events) = mpsc::channel(NODE_EVENTS_MAX);
    let (stop, stopped) = oneshot::channel();
    let counts = Arc::new(Counts::default());
    let tokio = runtime.tokio.clone();
    let owner = node_task::Owner::new(runtime, machine, config, Arc::clone(&counts), (commands_out, events_in), store);
    let owner = tokio.spawn(owner.run(stopped));
    NodeHandle { commands, events, control: NodeControl { stop: Some(stop), owner, counts } }
}
