//! Does one node's store operations, one after the other, away from its owner. It must not know what they are.

use tokio::sync::mpsc;

use super::clock::Clock;
use super::config::Store;
use crate::node::machine::Machine;

/// Runs until the node is gone. Both channels are bounded; the owner takes every result.
pub(super) async fn serve<M: Machine>(
    mut store: Store<M>,
    mut ops: mpsc::Receiver<(u64, M::StoreOp)>,
    results: mpsc::Sender<(u64, M::StoreResult)>,
) {
    while let Some((id, op)) = ops.recv().await {
        let result = store(Clock::unix(), op);
        if results.send((id, result)).await.is_err() {
            return;
        }
    }
}
