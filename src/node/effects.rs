//! What a node has decided but the shell has not yet fetched. One queue, in order.

use std::collections::VecDeque;

use super::io::{LinkId, Output};
use super::sight::Sight;
use super::work::Job;
use crate::dht::store::StoreOp;
use crate::wire::cell::{Cell, CircuitId, Command};

/// One thing to be done by the shell.
#[derive(Debug)]
pub enum Effect<E> {
    /// On links.
    Io(Output),
    /// In the store; answered with this number.
    Store {
        /// Number of the answer.
        id: u64,
        /// What to do.
        op: StoreOp,
    },
    /// In the work pool; answered with this number.
    Work {
        /// Number of the answer.
        id: u64,
        /// What to do.
        job: Job,
    },
    /// Told to whoever runs the node.
    Event(E),
}

/// The queue.
#[derive(Debug)]
pub(super) struct Effects<E> {
    queue: VecDeque<Effect<E>>,
    /// Whether sights are wanted.
    witness: bool,
}

impl<E: From<Sight>> Effects<E> {
    pub(super) fn new(witness: bool) -> Self {
        Self { queue: VecDeque::new(), witness }
    }

    pub(super) fn len(&self) -> usize {
        self.queue.len()
    }

    pub(super) fn pop(&mut self) -> Option<Effect<E>> {
        self.queue.pop_front()
    }

    pub(super) fn io(&mut self, output: Output) {
        self.queue.push_back(Effect::Io(output));
    }

    pub(super) fn send(&mut self, link: LinkId, cell: Cell) {
        self.io(Output::Send { link, cell });
    }

    pub(super) fn destroy(&mut self, link: LinkId, circuit: CircuitId) {
        self.send(link, Cell::new(circuit, Command::Destroy));
    }

    pub(super) fn store(&mut self, id: u64, op: StoreOp) {
        self.queue.push_back(Effect::Store { id, op });
    }

    pub(super) fn work(&mut self, id: u64, job: Job) {
        self.queue.push_back(Effect::Work { id, job });
    }

    pub(super) fn event(&mut self, event: E) {
        self.queue.push_back(Effect::Event(event));
    }

    /// Notes what this node got to see, when somebody wants to know: in tests, simulations and the demo alone.
    pub(super) fn sight(&mut self, sight: impl FnOnce() -> Sight) {
        if self.witness {
            self.event(E::from(sight()));
        }
    }
}
