//! What all nodes of one process share: work pool, link budget, puzzle cache, clock, entropy. It must not know the nodes.

use std::io;
use std::sync::Arc;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::clock::Clock;
use super::entropy::Entropy;
use super::pool::Pool;
use super::puzzle_cache::PuzzleCache;
use super::quick_pool::QuickPool;
use crate::limits::LINKS_MAX;

/// The shell of one process.
pub struct Runtime {
    pub(super) tokio: tokio::runtime::Handle,
    pub(super) clock: Clock,
    pub(super) entropy: Entropy,
    /// For what takes long, and for what does not.
    pub(super) pool: Pool,
    pub(super) quick_pool: QuickPool,
    /// Half of the budget each: whoever dials us cannot keep us from dialling.
    dialled: Arc<Semaphore>,
    accepted: Arc<Semaphore>,
    links_max: usize,
}

impl Runtime {
    /// Raises the descriptor limit, then starts the pool. Call it inside a tokio runtime, which it will use.
    ///
    /// # Errors
    /// When there is no tokio runtime, no randomness or no thread.
    pub fn start() -> io::Result<Arc<Self>> {
        let descriptors = raise_descriptor_limit();
        Self::with_links_max(LINKS_MAX.min(descriptors / 2))
    }

    /// As [`Self::start`], with a link budget of its own and the descriptor limit left alone.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn with_links_max(links_max: usize) -> io::Result<Arc<Self>> {
        let tokio = tokio::runtime::Handle::try_current().map_err(io::Error::other)?;
        let entropy = Entropy::from_system()?;
        let puzzles = Arc::new(PuzzleCache::default());
        let pool = Pool::start(&entropy, &puzzles)?;
        let quick_pool = QuickPool::start(&tokio, &entropy, &puzzles);
        let half = (links_max / 2).max(1);
        let (dialled, accepted) = (Arc::new(Semaphore::new(half)), Arc::new(Semaphore::new(half)));
        let links_max = 2 * half;
        Ok(Arc::new(Self { tokio, clock: Clock::start(), entropy, pool, quick_pool, dialled, accepted, links_max }))
    }

    /// The clock of all its nodes.
    #[must_use]
    pub fn clock(&self) -> Clock {
        self.clock
    }

    /// Where seeds come from.
    #[must_use]
    pub fn entropy(&self) -> &Entropy {
        &self.entropy
    }

    /// Links that the process may have at once, and of them those not in use.
    #[must_use]
    pub fn link_budget(&self) -> (usize, usize) {
        (self.links_max, self.dialled.available_permits() + self.accepted.available_permits())
    }

    /// Runs a task beside the nodes.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        // The task ends itself when its owner is gone.
        drop(self.tokio.spawn(task));
    }

    /// Room for one accepted link until the permit is dropped; `None` at its half of the budget.
    pub(super) fn take_inbound_link(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.accepted).try_acquire_owned().ok()
    }

    /// Room for one dialled link until the permit is dropped; `None` at its half of the budget.
    pub(super) fn take_link(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.dialled).try_acquire_owned().ok()
    }
}

/// Raises the soft limit to the hard one; what then holds.
fn raise_descriptor_limit() -> usize {
    let limit = getrlimit(Resource::Nofile);
    let wanted = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let reached = if setrlimit(Resource::Nofile, wanted).is_ok() { limit.maximum } else { limit.current };
    reached.map_or(usize::MAX, |count| usize::try_from(count).unwrap_or(usize::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_link_budget_is_reached_and_given_back() {
        let runtime = Runtime::with_links_max(4).unwrap();
        for take in [Runtime::take_link, Runtime::take_inbound_link] {
            let (one, two) = (take(&runtime), take(&runtime));
            assert!(one.is_some() && two.is_some() && take(&runtime).is_none());
            assert_eq!(runtime.link_budget(), (4, 2), "the other half is untouched");
            drop(one);
            assert!(take(&runtime).is_some());
        }
    }

    #[tokio::test]
    async fn the_budget_is_at_most_the_cap_and_half_of_the_descriptors() {
        let runtime = Runtime::start().unwrap();
        let (max, free) = runtime.link_budget();
        assert!(max > 0 && max <= LINKS_MAX && free == max);
        let descriptors = getrlimit(Resource::Nofile);
        assert_eq!(descriptors.current, descriptors.maximum);
    }

    #[test]
    fn without_a_tokio_runtime_it_says_so() {
        assert!(Runtime::start().is_err());
    }
}
