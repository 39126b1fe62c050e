//! A fixed set of threads for dear computations, shared by all nodes of the process. It must not know what they compute.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};

use rand::rngs::ChaCha20Rng;
use tokio::sync::mpsc;

use super::entropy::Entropy;
use super::puzzle_cache::PuzzleCache;
use crate::crypto::{CryptoRng, forget_past};
use crate::limits::POOL_JOBS_MAX;
use crate::node::machine::Puzzles;

/// One computation; it reports by itself. The pool brings the generator and the puzzle cache.
pub(super) type Task = Box<dyn FnOnce(&mut dyn CryptoRng, &dyn Puzzles) + Send>;

/// The pool's queue, of [`POOL_JOBS_MAX`] tasks. The threads end with its last sender.
pub(super) struct Pool {
    queue: mpsc::Sender<Task>,
}

impl Pool {
    /// Starts as many threads as there are cores.
    pub(super) fn start(entropy: &Entropy, puzzles: &Arc<PuzzleCache>) -> io::Result<Self> {
        let (queue, tasks) = mpsc::channel(POOL_JOBS_MAX);
        let tasks = Arc::new(Mutex::new(tasks));
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        for _ in 0..threads {
            let (tasks, rng, puzzles) = (Arc::clone(&tasks), entropy.generator(), Arc::clone(puzzles));
            std::thread::Builder::new().name("bauta-work".to_owned()).spawn(move || work(&tasks, rng, &*puzzles))?;
        }
        Ok(Self { queue })
    }

    /// A place in the queue at once, or `None`.
    pub(super) fn try_reserve(&self) -> Option<mpsc::Permit<'_, Task>> {
        self.queue.try_reserve().ok()
    }

    /// A place in the queue, waited for; `None` when the threads are gone.
    pub(super) async fn reserve(&self) -> Option<mpsc::Permit<'_, Task>> {
        self.queue.reserve().await.ok()
    }
}

fn work(tasks: &Mutex<mpsc::Receiver<Task>>, mut rng: ChaCha20Rng, puzzles: &dyn Puzzles) {
    loop {
        let task = tasks.lock().unwrap_or_else(PoisonError::into_inner).blocking_recv();
        let Some(task) = task else { return };
        // The thread outlives a fault in one computation; its asker sees that no answer comes.
        if catch_unwind(AssertUnwindSafe(|| task(&mut rng, puzzles))).is_err() {
            tracing::error!("a computation in the work pool failed");
        }
        forget_past(&mut rng);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::sync_channel;

    use super::*;

    fn pool() -> Pool {
        Pool::start(&Entropy::from_system().unwrap(), &Arc::default()).unwrap()
    }

    #[test]
    fn the_queue_is_full_at_its_cap_and_empties_again() {
        let pool = pool();
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let (started_in, started) = sync_channel(threads);
        let gate = Arc::new(Mutex::new(()));
        let held = gate.lock().unwrap();
        for _ in 0..threads {
            let (gate, started) = (Arc::clone(&gate), started_in.clone());
            pool.try_reserve().unwrap().send(Box::new(move |_, _| {
                started.send(()).unwrap();
                drop(gate.lock());
            }));
        }
        for _ in 0..threads {
            started.recv().unwrap();
        }
        let (done_in, done) = sync_channel(POOL_JOBS_MAX);
        for _ in 0..POOL_JOBS_MAX {
            let done = done_in.clone();
            pool.try_reserve().unwrap().send(Box::new(move |_, _| done.send(()).unwrap()));
        }
        assert!(pool.try_reserve().is_none());
        drop(held);
        for _ in 0..POOL_JOBS_MAX {
            done.recv().unwrap();
        }
        assert!(pool.try_reserve().is_some());
    }

    #[test]
    fn a_computation_that_fails_takes_no_thread_with_it() {
        let pool = pool();
        for _ in 0..20 {
            pool.try_reserve().unwrap().send(Box::new(|_, _| panic!("planted")));
        }
        let (done_in, done) = sync_channel(1);
        pool.try_reserve().unwrap().send(Box::new(move |_, _| done_in.send(()).unwrap()));
        done.recv().unwrap();
    }
}
