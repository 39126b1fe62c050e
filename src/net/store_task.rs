//! Does one node's store operations away from its owner. It must not know what they are.
//!
//! A store in memory does them one after the other. One on disk does its writes in batches: what is asked while one is
//! being committed makes the next. Its reads are done beside that.

use std::collections::VecDeque;
use std::future::pending;
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinHandle, spawn_blocking};

use super::clock::Clock;
use super::config::Store;
use crate::limits::{STORE_BATCH_MAX, STORE_OPS_MAX, STORE_READS_MAX};
use crate::node::machine::{DurableStore, Machine};

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

type Asked<M> = (u64, <M as Machine>::StoreOp);
type Answered<M> = Vec<(u64, <M as Machine>::StoreResult)>;

/// What waits for one kind of work, and the work under way.
struct Lane<M: Machine> {
    waiting: VecDeque<Asked<M>>,
    working: Option<JoinHandle<Answered<M>>>,
}

impl<M: Machine> Lane<M> {
    fn new() -> Self {
        Self { waiting: VecDeque::new(), working: None }
    }

    /// Starts on what waits, at most so many, when nothing is under way.
    fn start(&mut self, max: usize, work: impl FnOnce(Vec<Asked<M>>) -> Answered<M> + Send + 'static) {
        if self.working.is_none() && !self.waiting.is_empty() {
            let batch = self.waiting.drain(..self.waiting.len().min(max)).collect();
            self.working = Some(spawn_blocking(move || work(batch)));
        }
    }

    /// What came of the work under way; never, when there is none.
    async fn done(&mut self) -> Result<Answered<M>, JoinError> {
        let Some(working) = &mut self.working else { return pending().await };
        let done = working.await;
        self.working = None;
        done
    }
}

/// Runs until the node is gone; at most [`STORE_OPS_MAX`] operations wait here.
pub(super) async fn serve_durable<M: Machine>(
    store: Arc<dyn DurableStore<M>>,
    mut ops: mpsc::Receiver<Asked<M>>,
    results: mpsc::Sender<(u64, M::StoreResult)>,
) {
    let (mut reads, mut writes) = (Lane::<M>::new(), Lane::<M>::new());
    loop {
        let (reader, writer) = (Arc::clone(&store), Arc::clone(&store));
        reads.start(STORE_READS_MAX, move |batch| {
            batch.into_iter().map(|(id, op)| (id, reader.read(Clock::unix(), op))).collect()
        });
        writes.start(STORE_BATCH_MAX, move |batch| {
            let (ids, batch): (Vec<_>, Vec<_>) = batch.into_iter().unzip();
            ids.into_iter().zip(writer.write(Clock::unix(), batch)).collect()
        });
        let has_room = reads.waiting.len() + writes.waiting.len() < STORE_OPS_MAX;
        let done = tokio::select! {
            asked = ops.recv(), if has_room => {
                let Some((id, op)) = asked else { return };
                let lane = if store.is_read(&op) { &mut reads } else { &mut writes };
                lane.waiting.push_back((id, op));
                continue;
            }
            done = reads.done() => done,
            done = writes.done() => done,
        };
        // A store that panicked answers nothing more, like one in memory.
        let Ok(done) = done else { return };
        for answer in done {
            if results.send(answer).await.is_err() {
                return;
            }
        }
    }
}
