//! What a node is to whoever drives it: the tokio shell, or the simulated world. Shapes only; it must not know either.

use crate::crypto::CryptoRng;
use crate::crypto::keys::NodeKey;
use crate::crypto::puzzle::Solution;
use crate::node::io;
use crate::time::{Instant, Now, UnixTime};

/// A pure node that a shell can drive: `handle` one input, drain `poll_output`, wait until `poll_timeout` or the next input.
pub trait Machine: Send + 'static {
    /// What the node's owner asks of it.
    type Command: Send;
    /// What it tells its owner.
    type Event: Send;
    /// A dear computation: X25519, signatures, Argon2id.
    type Job: Send;
    /// What such a computation gives.
    type Done: Send;
    /// One operation of the store.
    type StoreOp: Send;
    /// What the store says.
    type StoreResult: Send;

    /// Takes one input. Never blocks; timers that are due fire on every input.
    fn handle(&mut self, now: Now, input: MachineInput<Self>);

    /// The next thing to do; asked until there is none after every input.
    fn poll_output(&mut self) -> Option<MachineOutput<Self>>;

    /// When [`io::Input::Timeout`] is wanted at the latest.
    fn poll_timeout(&self) -> Option<Instant>;

    /// Whether a job takes a fraction of a millisecond at most, so that waking a thread for it would cost more.
    fn is_short(_job: &Self::Job) -> bool {
        false
    }

    /// Does one job. Pure but for `rng` and what `puzzles` remembers; runs on another thread, or inline in a simulation.
    fn run_job(job: Self::Job, rng: &mut dyn CryptoRng, puzzles: &dyn Puzzles) -> Self::Done;
}

/// What a machine is told.
pub enum MachineInput<M: Machine + ?Sized> {
    /// Of links and time.
    Node(io::Input),
    /// The store has done what was asked under this number.
    Stored {
        /// The number of [`MachineOutput::Store`].
        id: u64,
        /// What came of it.
        result: M::StoreResult,
    },
    /// A job is done.
    Worked {
        /// The number of [`MachineOutput::Work`].
        id: u64,
        /// What came of it.
        done: M::Done,
    },
    /// The owner asks.
    Command(M::Command),
}

/// What a machine wants done.
pub enum MachineOutput<M: Machine + ?Sized> {
    /// Of links.
    Node(io::Output),
    /// Something of the store; answered by [`MachineInput::Stored`]. Writes are done in the order they were
    /// asked; a read sees every write that was answered before it was asked, and may overtake others.
    Store {
        /// Chosen by the machine.
        id: u64,
        /// What.
        op: M::StoreOp,
    },
    /// A job; answered by [`MachineInput::Worked`], in any order.
    Work {
        /// Chosen by the machine.
        id: u64,
        /// What.
        job: M::Job,
    },
    /// Something to tell the owner.
    Event(M::Event),
}

/// A store whose writes take a disk's time. It is asked on threads that may wait.
pub trait DurableStore<M: Machine>: Send + Sync + 'static {
    /// Whether this is a read. Reads are done beside writes, and may overtake those that are not answered.
    fn is_read(&self, op: &M::StoreOp) -> bool;

    /// Does a read.
    fn read(&self, now: UnixTime, op: M::StoreOp) -> M::StoreResult;

    /// Does at most [`crate::limits::STORE_BATCH_MAX`] writes, in their order; returns when all are on disk, with as many
    /// results. One batch at a time.
    fn write(&self, now: UnixTime, ops: Vec<M::StoreOp>) -> Vec<M::StoreResult>;

    /// The answer to an operation that was not done, for too many wait or the work on it ended in a panic.
    fn refused(&self) -> M::StoreResult;

    /// A batch of writes has ended in a panic: nothing more may be written.
    fn on_write_panic(&self);
}

/// Checks identity puzzles; an implementation may remember what it checked, for the check is a pure function.
pub trait Puzzles {
    /// As [`Solution::verify`].
    fn check(&self, solution: &Solution, network: &[u8; 32], key: &NodeKey, difficulty: u8) -> bool;
}

/// For relays made for tests, which have paid for no puzzle.
#[cfg(test)]
pub(crate) struct Solved;

#[cfg(test)]
impl Puzzles for Solved {
    fn check(&self, _: &Solution, _: &[u8; 32], _: &NodeKey, _: u8) -> bool {
        true
    }
}

/// Checks every puzzle anew.
#[derive(Clone, Copy, Debug, Default)]
pub struct DirectPuzzles;

impl Puzzles for DirectPuzzles {
    fn check(&self, solution: &Solution, network: &[u8; 32], key: &NodeKey, difficulty: u8) -> bool {
        solution.verify(network, key, difficulty)
    }
}
