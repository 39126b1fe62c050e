//! Does one node's store operations away from its owner. It must not know what they are.
//!
//! A store in memory does them one after the other. One on disk has two lanes, each with a queue of its own from the owner on,
//! so that nothing that is read waits for what is written: writes are done in batches, where what is asked while one is being
//! committed makes the next.

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::task::{JoinError, spawn_blocking};

use super::clock::Clock;
use super::config::Store;
use crate::limits::{STORE_BATCH_MAX, STORE_READS_MAX};
use crate::node::machine::{DurableStore, Machine};

type Asked<M> = (u64, <M as Machine>::StoreOp);
type Answered<M> = (u64, <M as Machine>::StoreResult);

/// Runs until the node is gone. Both channels are bounded; the owner takes every result.
pub(super) async fn serve<M: Machine>(
    mut store: Store<M>,
    mut ops: mpsc::Receiver<Asked<M>>,
    results: mpsc::Sender<Answered<M>>,
) {
    while let Some((id, op)) = ops.recv().await {
        let result = store(Clock::unix(), op);
        if results.send((id, result)).await.is_err() {
            return;
        }
    }
}

/// What is read; runs until the node is gone.
pub(super) async fn serve_reads<M: Machine>(
    store: Arc<dyn DurableStore<M>>,
    mut ops: mpsc::Receiver<Asked<M>>,
    results: mpsc::Sender<Answered<M>>,
) {
    let mut batch = Vec::with_capacity(STORE_READS_MAX);
    while ops.recv_many(&mut batch, STORE_READS_MAX).await > 0 {
        let (ids, reader): (Vec<u64>, _) = (batch.iter().map(|(id, _)| *id).collect(), Arc::clone(&store));
        let asked = core::mem::take(&mut batch);
        let work = move || asked.into_iter().map(|(_, op)| reader.read(Clock::unix(), op)).collect();
        let done = spawn_blocking(work).await;
        if !answer(&*store, ids, done, &results).await {
            return;
        }
    }
}

/// What is written; runs until the node is gone.
pub(super) async fn serve_writes<M: Machine>(
    store: Arc<dyn DurableStore<M>>,
    mut ops: mpsc::Receiver<Asked<M>>,
    results: mpsc::Sender<Answered<M>>,
) {
    let mut batch = Vec::with_capacity(STORE_BATCH_MAX);
    while ops.recv_many(&mut batch, STORE_BATCH_MAX).await > 0 {
        let writer = Arc::clone(&store);
        let (ids, asked): (Vec<u64>, Vec<M::StoreOp>) = core::mem::take(&mut batch).into_iter().unzip();
        let done = spawn_blocking(move || writer.write(Clock::unix(), asked)).await;
        if done.as_ref().is_err_and(JoinError::is_panic) {
            store.on_write_panic();
        }
        if !answer(&*store, ids, done, &results).await {
            return;
        }
    }
}

/// Whether anybody heard it. Work that ended in a panic is answered as refused: whoever asked must not wait for ever.
async fn answer<M: Machine>(
    store: &dyn DurableStore<M>,
    ids: Vec<u64>,
    done: Result<Vec<M::StoreResult>, JoinError>,
    results: &mpsc::Sender<Answered<M>>,
) -> bool {
    if done.as_ref().is_err_and(JoinError::is_panic) {
        tracing::error!(
            "a fault of the program in the store: what was asked is refused; please report it, with the lines above"
        );
    }
    let mut done = done.unwrap_or_default().into_iter();
    for id in ids {
        let result = done.next().unwrap_or_else(|| store.refused());
        if results.send((id, result)).await.is_err() {
            return false;
        }
    }
    true
}
