//! Does one node's store operations away from its owner. It must not know what they are.
//!
//! A store in memory does them one after the other. One on disk has two lanes, each with a queue of its own from the owner on,
//! so that nothing that is read waits for what is written: writes are done in batches, where what is asked while one is being
//! committed makes the next. Commits have some time between them and a thread that yields to all others: cells go first.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};
use tokio::task::spawn_blocking;
use tokio::time::{MissedTickBehavior, interval};

use super::clock::Clock;
use super::config::Store;
#[cfg(target_os = "linux")]
use crate::limits::STORE_WRITES_NICE;
use crate::limits::{STORE_BATCH_MAX, STORE_COMMITS_APART, STORE_READS_MAX};
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
        let done = spawn_blocking(work).await.ok();
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
    let mut pace = interval(STORE_COMMITS_APART);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while let Some(first) = ops.recv().await {
        pace.tick().await;
        let mut batch = vec![first];
        while batch.len() < STORE_BATCH_MAX {
            let Ok(next) = ops.try_recv() else { break };
            batch.push(next);
        }
        let writer = Arc::clone(&store);
        let (ids, asked): (Vec<u64>, Vec<M::StoreOp>) = batch.into_iter().unzip();
        let done = yielding(move || writer.write(Clock::unix(), asked)).await;
        if done.is_none() {
            store.on_write_panic();
        }
        if !answer(&*store, ids, done, &results).await {
            return;
        }
    }
}

/// Works on a thread that takes what others leave of the processors. `None` where there was a fault, or no thread to be had.
async fn yielding<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let (done_in, done) = oneshot::channel();
    let work = move || {
        // Of this thread alone on Linux, elsewhere of the process. Refused by no system that we know; then it works as others do.
        #[cfg(target_os = "linux")]
        let _ = rustix::process::setpriority_process(None, STORE_WRITES_NICE);
        // Fails only when the node is gone.
        let _ = done_in.send(work());
    };
    std::thread::Builder::new().name("bauta-store".to_owned()).spawn(work).ok()?;
    done.await.ok()
}

/// Whether anybody heard it. Work that ended in a panic is answered as refused: whoever asked must not wait for ever.
async fn answer<M: Machine>(
    store: &dyn DurableStore<M>,
    ids: Vec<u64>,
    done: Option<Vec<M::StoreResult>>,
    results: &mpsc::Sender<Answered<M>>,
) -> bool {
    if done.is_none() {
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
