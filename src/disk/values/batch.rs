//! Batches of writes: all of one is on disk, or none of it was kept. It must not know the tables.
//!
//! Source: spec/dht.md §4.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::sync::{Arc, MutexGuard, PoisonError};

use redb::Error;

use super::writing::{Writing, Written};
use super::{ValueStore, is_soon_after};
use crate::dht::denylist::Denylist;
use crate::dht::store::{Holding, Place, StoreOp, StoreResult};
use crate::limits::{STORE_BATCH_MAX, STORE_EXPIRED_BATCH_MAX};
use crate::time::UnixTime;
use crate::wire::record::ValueKind;

/// Why nothing of a batch was kept.
struct Unwritten {
    error: Error,
    /// The place at which it failed, when it did before the commit.
    at: Option<Place>,
}

impl<E: Into<Error>> From<E> for Unwritten {
    fn from(error: E) -> Self {
        Self { error: error.into(), at: None }
    }
}

impl ValueStore {
    /// A batch: all of it is on disk, or none of it was kept.
    pub(super) fn write_ops(&self, now: UnixTime, ops: &[StoreOp]) -> Vec<StoreResult> {
        // Held before the look at what is denied: a list that comes meanwhile drops what this batch still keeps.
        let mut failed_at = self.failed_at.lock().unwrap_or_else(PoisonError::into_inner);
        let early: Vec<Option<StoreResult>> = ops.iter().map(|op| self.refuse_early(now, op)).collect();
        let wanted: Vec<&StoreOp> = ops.iter().zip(&early).filter_map(|(op, no)| no.is_none().then_some(op)).collect();
        let written = self.write(now, &mut failed_at, &wanted);
        let mut written = written.unwrap_or_default().into_iter();
        let of_op = |early: Option<StoreResult>| early.or_else(|| written.next()).unwrap_or(StoreResult::Failed);
        let results: Vec<StoreResult> = early.into_iter().map(of_op).collect();
        let count = |one: &StoreResult| results.iter().filter(|result| *result == one).count().try_into().unwrap_or(0);
        self.counters.full.fetch_add(count(&StoreResult::Full), Ordering::Relaxed);
        self.counters.failed.fetch_add(count(&StoreResult::Failed), Ordering::Relaxed);
        self.counters.denied.fetch_add(count(&StoreResult::Denied), Ordering::Relaxed);
        results
    }

    /// Takes a list of what shall not be here: from now on it is neither kept nor served, and what is held of it is dropped. How
    /// many values were; `None` when the disk refused: then they are not served, and go with the next batches that it takes.
    pub fn deny(&self, now: UnixTime, list: Denylist) -> Option<usize> {
        let list = Arc::new(list);
        *self.denied.write().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&list);
        let kinds = [ValueKind::Signed, ValueKind::Hashed];
        let places = list.locations().flat_map(|location| kinds.map(|kind| (kind, *location))).collect();
        let before = self.len();
        let mut failed_at = self.failed_at.lock().unwrap_or_else(PoisonError::into_inner);
        *self.to_deny() = places;
        while !self.to_deny().is_empty() {
            self.write(now, &mut failed_at, &[])?;
        }
        Some(before.saturating_sub(self.len()))
    }

    /// What is refused without a look at the disk.
    fn refuse_early(&self, now: UnixTime, op: &StoreOp) -> Option<StoreResult> {
        let StoreOp::Put { value, .. } = op else { return None };
        if self.is_denied(&value.location()) {
            return Some(StoreResult::Denied);
        }
        self.is_unreadable(now, &Holding::from(value).place).then_some(StoreResult::Failed)
    }

    fn write(&self, now: UnixTime, failed_at: &mut Option<UnixTime>, ops: &[&StoreOp]) -> Option<Vec<StoreResult>> {
        if self.is_broken.load(Ordering::Relaxed) || failed_at.is_some_and(|then| is_soon_after(then, now)) {
            return None;
        }
        if !self.is_writable(now) {
            *failed_at = Some(now);
            self.is_failing.store(true, Ordering::Relaxed);
            return None;
        }
        match self.commit(now, ops) {
            Ok(results) => {
                if failed_at.take().is_some() {
                    self.is_failing.store(false, Ordering::Relaxed);
                    tracing::info!(file = %self.path.display(), "values can be written again");
                }
                Some(results)
            }
            Err(Unwritten { error, at }) => {
                tracing::warn!(file = %self.path.display(), %error, "values cannot be written: puts are refused");
                *failed_at = Some(now);
                self.is_failing.store(true, Ordering::Relaxed);
                let turn = self.opened.read().unwrap_or_else(PoisonError::into_inner).turn;
                self.open_to_read(now, turn);
                // Else one bad sector would end every batch with a put that has to look there.
                if let Some(place) = at {
                    self.probe(now, place);
                }
                None
            }
        }
    }

    fn commit(&self, now: UnixTime, ops: &[&StoreOp]) -> Result<Vec<StoreResult>, Unwritten> {
        let opened = self.opened.read().unwrap_or_else(PoisonError::into_inner);
        let Some(database) = &opened.database else { return Err(Error::DatabaseClosed.into()) };
        let mut transaction = database.begin_write()?;
        transaction.set_quick_repair(true);
        let mut writing = Writing::begin(&transaction, (self.network, &self.key), self.max)?;
        let dropped = self.to_drop.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for place in &dropped {
            writing.drop_damaged(place)?;
        }
        let denied = self.to_deny().rchunks(STORE_BATCH_MAX).next().unwrap_or_default().to_vec();
        for place in &denied {
            writing.remove(place)?;
        }
        writing.expire(now, STORE_EXPIRED_BATCH_MAX)?;
        writing.shrink()?;
        let apply = |op: &&StoreOp| writing.apply(now, op).map_err(|error| Unwritten { error, at: place_of(op) });
        let mut results = ops.iter().map(apply).collect::<Result<Vec<_>, Unwritten>>()?;
        let written = writing.end()?;
        if written.has_changed {
            transaction.commit()?;
        } else {
            transaction.abort()?;
        }
        let refused = refuse_evicted(ops, &mut results, &written.evicted);
        let mut to_deny = self.to_deny();
        let left = to_deny.len().saturating_sub(denied.len());
        to_deny.truncate(left);
        self.note_written(&written, &dropped, refused);
        Ok(results)
    }

    fn to_deny(&self) -> MutexGuard<'_, Vec<Place>> {
        self.to_deny.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note_written(&self, written: &Written, dropped: &BTreeSet<Place>, refused: u64) {
        self.to_drop.lock().unwrap_or_else(PoisonError::into_inner).retain(|place| !dropped.contains(place));
        self.values.store(written.held.values, Ordering::Relaxed);
        self.bytes.store(written.held.bytes, Ordering::Relaxed);
        let evicted = u64::try_from(written.evicted.len()).unwrap_or(u64::MAX);
        self.counters.evicted.fetch_add(evicted.saturating_sub(refused), Ordering::Relaxed);
        if written.damaged > 0 {
            self.counters.damaged.fetch_add(written.damaged, Ordering::Relaxed);
            tracing::warn!(file = %self.path.display(), count = written.damaged, "damaged values were dropped");
        }
    }
}

/// What a later put of the same batch has displaced is not held: nobody is told that it is.
fn refuse_evicted(ops: &[&StoreOp], results: &mut [StoreResult], evicted: &BTreeSet<Place>) -> u64 {
    let mut refused = 0;
    for (op, result) in ops.iter().zip(results) {
        let is_kept = matches!(result, StoreResult::Kept | StoreResult::KeptLonger { .. });
        if is_kept && place_of(op).is_some_and(|place| evicted.contains(&place)) {
            *result = StoreResult::Full;
            refused += 1;
        }
    }
    refused
}

fn place_of(op: &StoreOp) -> Option<Place> {
    match op {
        StoreOp::Put { value, .. } => Some(Holding::from(value).place),
        StoreOp::Get { kind, location } => Some((*kind, *location)),
        StoreOp::Expire { .. } | StoreOp::Places { .. } => None,
    }
}
