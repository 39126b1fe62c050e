//! The owner's end of its store: what waits for it, and what is refused because too much does. It must not know what is asked.
//!
//! Of a store on disk nothing waits in the owner: reads and writes have a queue each, and what finds its own full is refused at
//! once. So a disk that stalls holds up neither reads nor anything else that the node does.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::config::AnyStore;
use super::store_task::{serve, serve_reads, serve_writes};
use crate::limits::STORE_OPS_MAX;
use crate::node::machine::{DurableStore, Machine};

type Ops<M> = mpsc::Sender<(u64, <M as Machine>::StoreOp)>;

/// Ways to the store.
pub(super) struct StoreLanes<M: Machine> {
    lanes: Lanes<M>,
    /// Answers to what was not even asked.
    refused: VecDeque<(u64, M::StoreResult)>,
}

enum Lanes<M: Machine> {
    /// Does everything in order, and soon: what finds no room waits here.
    Prompt { ops: Ops<M>, waiting: VecDeque<(u64, M::StoreOp)> },
    /// Waits for a disk.
    Durable { store: Arc<dyn DurableStore<M>>, reads: Ops<M>, writes: Ops<M> },
}

impl<M: Machine> StoreLanes<M> {
    /// Starts the tasks of a store, which send their results there.
    pub(super) fn start(
        store: AnyStore<M>,
        results: mpsc::Sender<(u64, M::StoreResult)>,
        tasks: &mut JoinSet<()>,
    ) -> Self {
        let (ops, taken) = mpsc::channel(STORE_OPS_MAX);
        let lanes = match store {
            AnyStore::Prompt(store) => {
                tasks.spawn(serve::<M>(store, taken, results));
                Lanes::Prompt { ops, waiting: VecDeque::new() }
            }
            AnyStore::Durable(store) => {
                let (writes, written) = mpsc::channel(STORE_OPS_MAX);
                tasks.spawn(serve_reads::<M>(Arc::clone(&store), taken, results.clone()));
                tasks.spawn(serve_writes::<M>(Arc::clone(&store), written, results));
                Lanes::Durable { store, reads: ops, writes }
            }
        };
        Self { lanes, refused: VecDeque::new() }
    }

    /// Hands an operation on, lets it wait, or refuses it.
    pub(super) fn ask(&mut self, id: u64, op: M::StoreOp) {
        match &mut self.lanes {
            Lanes::Prompt { waiting, .. } => waiting.push_back((id, op)),
            Lanes::Durable { store, reads, writes } => {
                let lane = if store.is_read(&op) { reads } else { writes };
                if lane.try_send((id, op)).is_err() {
                    self.refused.push_back((id, store.refused()));
                }
            }
        }
    }

    /// The next answer to what was refused; asked until there is none.
    pub(super) fn poll_refused(&mut self) -> Option<(u64, M::StoreResult)> {
        self.refused.pop_front()
    }

    /// Whether inputs may be taken that could ask for more.
    pub(super) fn has_room(&self) -> bool {
        match &self.lanes {
            Lanes::Prompt { waiting, .. } => waiting.len() < STORE_OPS_MAX,
            Lanes::Durable { .. } => true,
        }
    }

    /// Hands on what waits, while there is room.
    pub(super) fn start_waiting(&mut self) {
        let Lanes::Prompt { ops, waiting } = &mut self.lanes else { return };
        // When the queue is full a result is on its way, and with it the next attempt.
        while let Ok(place) = ops.try_reserve() {
            let Some(op) = waiting.pop_front() else { return };
            place.send(op);
        }
    }
}
