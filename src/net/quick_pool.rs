//! Short computations, done by tokio's own workers: a thread of their own would cost more in waking than most of them take.
//! It must not know what they compute. What takes longer than a fraction of a millisecond belongs into `pool.rs`.
//!
//! There are as many workers as there are cores, and each lets others go first after every computation: a flood of them
//! shares the processors with links and owners.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rand::rngs::ChaCha20Rng;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::yield_now;

use super::entropy::Entropy;
use super::pool::Task;
use super::puzzle_cache::PuzzleCache;
use crate::crypto::forget_past;
use crate::limits::POOL_JOBS_MAX;

/// The queue, of [`POOL_JOBS_MAX`] tasks. The workers end with it.
pub(super) struct QuickPool(Arc<Shared>);

struct Shared {
    /// Each task with its place, which it gives back when it is taken.
    tasks: Mutex<VecDeque<(Task, OwnedSemaphorePermit)>>,
    places: Arc<Semaphore>,
    /// As many permits as there are tasks.
    waiting: Semaphore,
}

/// A place in the queue.
pub(super) struct Place {
    shared: Arc<Shared>,
    permit: OwnedSemaphorePermit,
}

impl QuickPool {
    pub(super) fn start(tokio: &tokio::runtime::Handle, entropy: &Entropy, puzzles: &Arc<PuzzleCache>) -> Self {
        let shared = Arc::new(Shared {
            tasks: Mutex::default(),
            places: Arc::new(Semaphore::new(POOL_JOBS_MAX)),
            waiting: Semaphore::new(0),
        });
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            let (shared, rng, puzzles) = (Arc::clone(&shared), entropy.generator(), Arc::clone(puzzles));
            drop(tokio.spawn(work(shared, rng, puzzles)));
        }
        Self(shared)
    }

    /// A place in the queue at once, or `None`.
    pub(super) fn try_reserve(&self) -> Option<Place> {
        let permit = Arc::clone(&self.0.places).try_acquire_owned().ok()?;
        Some(Place { shared: Arc::clone(&self.0), permit })
    }

    /// Waits until there is a place, or the workers are gone.
    pub(super) async fn wait_for_place(&self) {
        // An error says that nothing will be done any more: then whoever tries to reserve a place learns it.
        let _ = self.0.places.acquire().await;
    }
}

impl Drop for QuickPool {
    fn drop(&mut self) {
        self.0.waiting.close();
    }
}

impl Place {
    pub(super) fn send(self, task: Task) {
        lock(&self.shared.tasks).push_back((task, self.permit));
        self.shared.waiting.add_permits(1);
    }
}

async fn work(shared: Arc<Shared>, mut rng: ChaCha20Rng, puzzles: Arc<PuzzleCache>) {
    while let Ok(one) = shared.waiting.acquire().await {
        one.forget();
        let Some((task, place)) = lock(&shared.tasks).pop_front() else { continue };
        drop(place);
        // The worker outlives a fault in one computation; its asker sees that no answer comes.
        if catch_unwind(AssertUnwindSafe(|| task(&mut rng, &*puzzles))).is_err() {
            tracing::error!("a short computation failed");
        }
        forget_past(&mut rng);
        yield_now().await;
    }
}

/// A poisoned lock held whole tasks all the same.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;

    use super::*;

    fn pool() -> QuickPool {
        let entropy = Entropy::from_system().unwrap();
        QuickPool::start(&tokio::runtime::Handle::current(), &entropy, &Arc::default())
    }

    /// On one thread nothing is done before the test waits.
    #[tokio::test]
    async fn the_queue_is_full_at_its_cap_and_empties_again() {
        let pool = pool();
        let (done_in, mut done) = mpsc::channel(POOL_JOBS_MAX);
        for _ in 0..POOL_JOBS_MAX {
            let done = done_in.clone();
            pool.try_reserve().unwrap().send(Box::new(move |_, _| done.try_send(()).unwrap()));
        }
        assert!(pool.try_reserve().is_none());
        pool.wait_for_place().await;
        assert!(pool.try_reserve().is_some());
        for _ in 0..POOL_JOBS_MAX {
            done.recv().await.unwrap();
        }
        assert_eq!(pool.0.places.available_permits(), POOL_JOBS_MAX);
    }

    #[tokio::test]
    async fn others_have_their_turn_after_every_computation() {
        let pool = pool();
        let (done_in, mut done) = mpsc::channel(10_000);
        for _ in 0..1_000 {
            let done = done_in.clone();
            pool.try_reserve().unwrap().send(Box::new(move |_, _| done.try_send(()).unwrap()));
        }
        done.recv().await.unwrap();
        assert!(lock(&pool.0.tasks).len() > 900, "most of them still wait when the first is told");
    }

    #[tokio::test]
    async fn a_computation_that_fails_takes_no_worker_with_it_and_the_workers_end_with_their_pool() {
        let pool = pool();
        for _ in 0..100 {
            pool.try_reserve().unwrap().send(Box::new(|_, _| panic!("planted")));
        }
        let (done_in, mut done) = mpsc::channel(1);
        pool.try_reserve().unwrap().send(Box::new(move |_, _| done_in.try_send(()).unwrap()));
        done.recv().await.unwrap();
        let shared = Arc::downgrade(&pool.0);
        drop(pool);
        while shared.strong_count() > 0 {
            yield_now().await;
        }
    }
}
