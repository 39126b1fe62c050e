//! The store of a relay that runs for long: values in one file, kept when the disk has them. The rules are those of the store
//! in memory; it must not know who asks.
//!
//! Reads see the last commit and never wait for the next. Writes are done in batches, one after the other, each with one
//! commit. Source: spec/dht.md §4, spec/state.md §10.

mod batch;
mod medium;
mod opening;
mod reading;
mod rows;
#[cfg(test)]
mod tests;
mod view;
mod writing;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use redb::{Database, StorageBackend};

use self::medium::{Given, Medium, OnDisk, builder};
use self::opening::{begin, make, refused};
pub use self::view::{KindView, StepView, StoreCounts, StoreView, StoreWrites};
use super::StateError;
use crate::crypto::CryptoRng;
use crate::dht::denylist::Denylist;
use crate::dht::store::{Place, Quota, StoreKey, StoreOp, StoreResult};
use crate::keyspace::Location;
use crate::limits::STORE_RETRY_S;
use crate::node::machine::{DurableStore, Machine};
use crate::time::UnixTime;
use crate::wire::network::Network;

/// Values in a file.
///
/// Invariant: what was answered with [`StoreResult::Kept`] is on disk; neither cap is ever exceeded by a put.
pub struct ValueStore {
    path: PathBuf,
    network: Network,
    key: StoreKey,
    max: Quota,
    medium: Box<dyn Medium>,
    /// Shared by whoever reads or writes; taken alone to be opened anew.
    opened: RwLock<Opened>,
    /// Held during a batch: when the last one failed, if it did.
    failed_at: Mutex<Option<UnixTime>>,
    /// Whether the disk took the last batch; beside the lock, for who looks meanwhile.
    is_failing: AtomicBool,
    /// A batch has ended in a fault of the program: nothing is written any more.
    is_broken: AtomicBool,
    denied: RwLock<Arc<Denylist>>,
    /// Of what is denied those that no batch has dropped yet: two for each name at most. Changed while `failed_at` is held.
    to_deny: Mutex<Vec<Place>>,
    /// Found damaged by who reads: the next batch drops them.
    to_drop: Mutex<BTreeSet<Place>>,
    /// Places that the disk could not read, and when that was.
    unreadable: Mutex<BTreeMap<Place, UnixTime>>,
    values: AtomicU64,
    bytes: AtomicU64,
    counters: Counters,
}

/// What has happened since this was opened.
#[derive(Default)]
struct Counters {
    evicted: AtomicU64,
    full: AtomicU64,
    failed: AtomicU64,
    denied: AtomicU64,
    damaged: AtomicU64,
}

/// The database as it is opened now.
struct Opened {
    database: Option<Database>,
    /// Whether what is written reaches the disk.
    is_writable: bool,
    /// Counts the openings, so that one failure is answered once.
    turn: u64,
    /// When it could not be opened.
    closed_at: Option<UnixTime>,
}

impl ValueStore {
    /// Opens the file, and makes it, with a key drawn from `rng`, if it is not there: at most so much of one network.
    ///
    /// # Errors
    /// [`StateError`], which names the file and what to do: it is damaged, of another layout, in use, or the system refuses.
    /// The file is never replaced.
    pub fn open(path: &Path, network: Network, max: Quota, rng: &mut dyn CryptoRng) -> Result<Self, StateError> {
        let file = OnDisk(path.to_owned());
        file.make(|database| make(database, &StoreKey::generate(rng)).map(drop))
            .map_err(|error| refused(path, error))?;
        Self::open_on(Box::new(file), path, network, max)
    }

    /// As [`Self::open`], on what `open` gives each time that the store is opened, always the same bytes: for tests of disks that fail.
    ///
    /// # Errors
    /// As of [`Self::open`].
    #[doc(hidden)]
    pub fn open_with<B: StorageBackend>(
        open: impl Fn() -> B + Send + Sync + 'static,
        network: Network,
        max: Quota,
        rng: &mut dyn CryptoRng,
    ) -> Result<Self, StateError> {
        let path = Path::new("values.redb");
        let failed = |error| refused(path, error);
        if open().len().map_err(|error| failed(error.into()))? == 0 {
            let database = builder().create_with_backend(open()).map_err(|error| failed(error.into()))?;
            make(&database, &StoreKey::generate(rng)).map_err(failed)?;
        }
        Self::open_on(Box::new(Given(open)), path, network, max)
    }

    fn open_on(medium: Box<dyn Medium>, path: &Path, network: Network, max: Quota) -> Result<Self, StateError> {
        let database = medium.open().map_err(|error| refused(path, error.into()))?;
        let (held, key) = begin(path, &database)?;
        Ok(Self {
            path: path.to_owned(),
            network,
            key,
            max,
            medium,
            opened: RwLock::new(Opened { database: Some(database), is_writable: true, turn: 0, closed_at: None }),
            failed_at: Mutex::new(None),
            is_failing: AtomicBool::new(false),
            is_broken: AtomicBool::new(false),
            denied: RwLock::default(),
            to_deny: Mutex::default(),
            to_drop: Mutex::default(),
            unreadable: Mutex::default(),
            values: AtomicU64::new(held.values),
            bytes: AtomicU64::new(held.bytes),
            counters: Counters::default(),
        })
    }

    /// Values held, those whose time is over and that are not freed yet among them.
    #[must_use]
    pub fn len(&self) -> usize {
        usize::try_from(self.values.load(Ordering::Relaxed)).unwrap_or(usize::MAX)
    }

    /// Whether none is held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes held, as the quota counts them.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Values that the disk had damaged, since this was opened; none was served.
    #[must_use]
    pub fn damaged(&self) -> u64 {
        self.counters.damaged.load(Ordering::Relaxed)
    }

    /// One operation, read or written.
    pub fn apply(&self, now: UnixTime, op: StoreOp) -> StoreResult {
        if is_read(&op) {
            return self.read_op(now, &op);
        }
        self.write_ops(now, &[op]).into_iter().next().unwrap_or(StoreResult::Failed)
    }

    fn is_denied(&self, location: &Location) -> bool {
        self.denied.read().unwrap_or_else(PoisonError::into_inner).has(location)
    }

    /// Nobody else may have opened it since `turn`. What reads then is the last commit. A file that could not be opened is left
    /// alone for a while.
    fn open_to_read(&self, now: UnixTime, turn: u64) {
        let mut opened = self.opened.write().unwrap_or_else(PoisonError::into_inner);
        if opened.turn == turn && !opened.closed_at.is_some_and(|then| is_soon_after(then, now)) {
            // Closed first: an open file is locked.
            opened.database = None;
            opened.database = self.medium.open_reading().ok();
            opened.is_writable = false;
            opened.turn += 1;
            opened.closed_at = opened.database.is_none().then_some(now);
        }
    }

    /// After a failure: opens the file anew. Whether it can be written, as far as that shows.
    fn is_writable(&self, now: UnixTime) -> bool {
        if self.opened.read().unwrap_or_else(PoisonError::into_inner).is_writable {
            return true;
        }
        let mut opened = self.opened.write().unwrap_or_else(PoisonError::into_inner);
        opened.database = None;
        opened.turn += 1;
        opened.database = self.medium.open().ok().filter(|database| begin(&self.path, database).is_ok());
        opened.is_writable = opened.database.is_some();
        if !opened.is_writable {
            opened.database = self.medium.open_reading().ok();
        }
        opened.closed_at = opened.database.is_none().then_some(now);
        opened.is_writable
    }
}

impl<M: Machine<StoreOp = StoreOp, StoreResult = StoreResult>> DurableStore<M> for ValueStore {
    fn is_read(&self, op: &StoreOp) -> bool {
        is_read(op)
    }

    fn read(&self, now: UnixTime, op: StoreOp) -> StoreResult {
        self.read_op(now, &op)
    }

    fn write(&self, now: UnixTime, ops: Vec<StoreOp>) -> Vec<StoreResult> {
        self.write_ops(now, &ops)
    }

    fn refused(&self) -> StoreResult {
        self.counters.failed.fetch_add(1, Ordering::Relaxed);
        StoreResult::Failed
    }

    fn on_write_panic(&self) {
        self.is_broken.store(true, Ordering::Relaxed);
    }
}

fn is_read(op: &StoreOp) -> bool {
    match op {
        StoreOp::Get { .. } | StoreOp::Places { .. } => true,
        StoreOp::Put { .. } | StoreOp::Expire { .. } => false,
    }
}

/// Whether the disk is left alone after what happened then.
fn is_soon_after(then: UnixTime, now: UnixTime) -> bool {
    then.0.abs_diff(now.0) < STORE_RETRY_S
}
