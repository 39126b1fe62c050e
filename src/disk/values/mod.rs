//! The store of a relay that runs for long: values in one file, kept when the disk has them. The rules are those of the store
//! in memory; it must not know who asks.
//!
//! Reads see the last commit and never wait for the next. Writes are done in batches, one after the other, each with one
//! commit. Source: spec/dht.md §4, spec/state.md §10.

mod medium;
mod rows;
#[cfg(test)]
mod tests;
mod writing;

use core::ops::Bound;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError, RwLock};

use redb::{Database, Error, ReadTransaction, ReadableDatabase as _, TableError};

use self::medium::{Medium, OnDisk};
use self::rows::{ABOUT, HOLDINGS, LAYOUT, Row, VALUES, decode_value, place_key, place_of};
use self::writing::{Amount, BYTES_HELD, VALUES_HELD, Writing};
use super::StateError;
use crate::dht::store::{Place, StoreOp, StoreResult};
use crate::limits::{STORE_DAMAGED_MAX, STORE_EXPIRED_BATCH_MAX, STORE_RETRY_S};
use crate::node::machine::{DurableStore, Machine};
use crate::time::UnixTime;
use crate::wire::network::Network;

const LAYOUT_IS: &str = "layout";

/// Values in a file.
///
/// Invariant: what was answered with [`StoreResult::Kept`] is on disk; neither cap is ever exceeded by a put.
pub struct ValueStore {
    path: PathBuf,
    network: Network,
    max: Amount,
    medium: Box<dyn Medium>,
    /// Shared by whoever reads or writes; taken alone to be opened anew.
    opened: RwLock<Opened>,
    /// Held during a batch: when the last one failed, if it did.
    failed_at: Mutex<Option<UnixTime>>,
    /// Found damaged by who reads: the next batch drops them.
    to_drop: Mutex<BTreeSet<Place>>,
    values: AtomicU64,
    bytes: AtomicU64,
    damaged: AtomicU64,
}

/// The database as it is opened now.
struct Opened {
    database: Option<Database>,
    /// Whether what is written reaches the disk.
    is_writable: bool,
    /// Counts the openings, so that one failure is answered once.
    turn: u64,
}

impl ValueStore {
    /// Opens the file, and makes it if it is not there: at most so many values and bytes of one network.
    ///
    /// # Errors
    /// [`StateError`], which names the file and what to do: it is damaged, of another layout, in use, or the system refuses.
    /// The file is never replaced.
    pub fn open(path: &Path, network: Network, values_max: usize, bytes_max: usize) -> Result<Self, StateError> {
        let file = OnDisk(path.to_owned());
        file.make(|database| make(database).map(drop)).map_err(|error| refused(path, error))?;
        Self::open_on(Box::new(file), path, network, values_max, bytes_max)
    }

    fn open_on(
        medium: Box<dyn Medium>,
        path: &Path,
        network: Network,
        values_max: usize,
        bytes_max: usize,
    ) -> Result<Self, StateError> {
        let database = medium.open().map_err(|error| refused(path, error.into()))?;
        let held = begin(path, &database)?;
        let of = |max| u64::try_from(max).unwrap_or(u64::MAX);
        Ok(Self {
            path: path.to_owned(),
            network,
            max: Amount { values: of(values_max), bytes: of(bytes_max) },
            medium,
            opened: RwLock::new(Opened { database: Some(database), is_writable: true, turn: 0 }),
            failed_at: Mutex::new(None),
            to_drop: Mutex::default(),
            values: AtomicU64::new(held.values),
            bytes: AtomicU64::new(held.bytes),
            damaged: AtomicU64::new(0),
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

    /// Bytes held, as the cap counts them.
    #[must_use]
    pub fn bytes(&self) -> usize {
        usize::try_from(self.bytes.load(Ordering::Relaxed)).unwrap_or(usize::MAX)
    }

    /// Values that the disk had damaged, since this was opened; none was served.
    #[must_use]
    pub fn damaged(&self) -> u64 {
        self.damaged.load(Ordering::Relaxed)
    }

    /// One operation, read or written.
    pub fn apply(&self, now: UnixTime, op: StoreOp) -> StoreResult {
        if is_read(&op) {
            return self.read_op(now, &op);
        }
        self.write_ops(now, &[op]).into_iter().next().unwrap_or(StoreResult::Failed)
    }

    fn read_op(&self, now: UnixTime, op: &StoreOp) -> StoreResult {
        // A second attempt finds the file opened anew.
        for _ in 0..2 {
            let opened = self.opened.read().unwrap_or_else(PoisonError::into_inner);
            let turn = opened.turn;
            let error = match opened.database.as_ref().map(|database| self.read_from(database, now, op)) {
                Some(Ok(result)) => return result,
                Some(Err(error)) => Some(error),
                None => None,
            };
            drop(opened);
            if let Some(error) = error {
                tracing::warn!(file = %self.path.display(), %error, "values cannot be read");
            }
            self.open_to_read(turn);
        }
        StoreResult::Failed
    }

    fn read_from(&self, database: &Database, now: UnixTime, op: &StoreOp) -> Result<StoreResult, Error> {
        let transaction = database.begin_read()?;
        match op {
            StoreOp::Get { kind, location } => self.get(&transaction, now, (*kind, *location)),
            StoreOp::Places { after, max } => self.places(&transaction, now, after.as_ref(), *max),
            StoreOp::Put { .. } | StoreOp::Expire { .. } => Ok(StoreResult::Failed),
        }
    }

    fn get(&self, transaction: &ReadTransaction, now: UnixTime, place: Place) -> Result<StoreResult, Error> {
        let key = place_key(&place);
        let Some(row) = transaction.open_table(HOLDINGS)?.get(&key)? else { return Ok(StoreResult::Value(None)) };
        let value = match Row::decode(place, row.value()) {
            Some(row) if row.holding.expiry.time() <= now => return Ok(StoreResult::Value(None)),
            Some(row) => {
                let bytes = transaction.open_table(VALUES)?.get(&key)?;
                bytes.and_then(|bytes| decode_value(&self.network, &row, bytes.value()))
            }
            None => None,
        };
        if value.is_none() {
            self.note_damaged(place);
        }
        Ok(StoreResult::Value(value))
    }

    fn places(
        &self,
        transaction: &ReadTransaction,
        now: UnixTime,
        after: Option<&Place>,
        max: usize,
    ) -> Result<StoreResult, Error> {
        let holdings = transaction.open_table(HOLDINGS)?;
        let after = after.map(place_key);
        let from = after.as_ref().map_or(Bound::Unbounded, Bound::Excluded);
        let mut page = Vec::new();
        for entry in holdings.range::<&[u8; rows::PLACE_LEN]>((from, Bound::Unbounded))? {
            if page.len() >= max {
                break;
            }
            let (key, row) = entry?;
            let Some(place) = place_of(key.value()) else { continue };
            match Row::decode(place, row.value()) {
                Some(row) if row.holding.expiry.time() > now => page.push(row.holding),
                Some(_) => (),
                None => self.note_damaged(place),
            }
        }
        Ok(StoreResult::Places(page))
    }

    fn note_damaged(&self, place: Place) {
        let mut to_drop = self.to_drop.lock().unwrap_or_else(PoisonError::into_inner);
        // Beyond the cap it is found again when it is asked for again.
        if to_drop.len() < STORE_DAMAGED_MAX {
            to_drop.insert(place);
        }
    }

    /// A batch: all of it is on disk, or none of it was kept.
    fn write_ops(&self, now: UnixTime, ops: &[StoreOp]) -> Vec<StoreResult> {
        let mut failed_at = self.failed_at.lock().unwrap_or_else(PoisonError::into_inner);
        if failed_at.is_some_and(|then| then.0.abs_diff(now.0) < STORE_RETRY_S) {
            return refuse_all(ops);
        }
        if !self.is_writable() {
            *failed_at = Some(now);
            return refuse_all(ops);
        }
        match self.commit(now, ops) {
            Ok(results) => {
                if failed_at.take().is_some() {
                    tracing::info!(file = %self.path.display(), "values can be written again");
                }
                results
            }
            Err(error) => {
                tracing::warn!(file = %self.path.display(), %error, "values cannot be written: puts are refused");
                *failed_at = Some(now);
                let turn = self.opened.read().unwrap_or_else(PoisonError::into_inner).turn;
                self.open_to_read(turn);
                refuse_all(ops)
            }
        }
    }

    fn commit(&self, now: UnixTime, ops: &[StoreOp]) -> Result<Vec<StoreResult>, Error> {
        let opened = self.opened.read().unwrap_or_else(PoisonError::into_inner);
        let Some(database) = &opened.database else { return Err(Error::DatabaseClosed) };
        let mut transaction = database.begin_write()?;
        transaction.set_quick_repair(true);
        let mut writing = Writing::begin(&transaction, self.network, self.max)?;
        let dropped = self.to_drop.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for place in &dropped {
            writing.drop_damaged(place)?;
        }
        writing.expire(now, STORE_EXPIRED_BATCH_MAX)?;
        let results = ops.iter().map(|op| writing.apply(now, op)).collect::<Result<Vec<_>, Error>>()?;
        let written = writing.end()?;
        if written.has_changed {
            transaction.commit()?
        } else {
            transaction.abort()?
        }
        self.to_drop.lock().unwrap_or_else(PoisonError::into_inner).retain(|place| !dropped.contains(place));
        self.values.store(written.held.values, Ordering::Relaxed);
        self.bytes.store(written.held.bytes, Ordering::Relaxed);
        if written.damaged > 0 {
            self.damaged.fetch_add(written.damaged, Ordering::Relaxed);
            tracing::warn!(file = %self.path.display(), count = written.damaged, "damaged values were dropped");
        }
        Ok(results)
    }

    /// Nobody else may have opened it since `turn`. What reads then is the last commit.
    fn open_to_read(&self, turn: u64) {
        let mut opened = self.opened.write().unwrap_or_else(PoisonError::into_inner);
        if opened.turn == turn {
            // Closed first: an open file is locked.
            opened.database = None;
            opened.database = self.medium.open_reading().ok();
            opened.is_writable = false;
            opened.turn += 1;
        }
    }

    /// After a failure: opens the file anew. Whether it can be written, as far as that shows.
    fn is_writable(&self) -> bool {
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
}

fn is_read(op: &StoreOp) -> bool {
    match op {
        StoreOp::Get { .. } | StoreOp::Places { .. } => true,
        StoreOp::Put { .. } | StoreOp::Expire { .. } => false,
    }
}

fn refuse_all(ops: &[StoreOp]) -> Vec<StoreResult> {
    ops.iter().map(|_| StoreResult::Failed).collect()
}

/// Looks at the layout, and makes the tables of a new file.
fn begin(path: &Path, database: &Database) -> Result<Amount, StateError> {
    let failed = |error: Error| refused(path, error);
    let reading = database.begin_read().map_err(|error| failed(error.into()))?;
    let about = match reading.open_table(ABOUT) {
        Err(TableError::TableDoesNotExist(_)) => {
            let is_new = reading.list_tables().map_err(|error| failed(error.into()))?.next().is_none();
            return if is_new { make(database).map_err(failed) } else { Err(StateError::Layout(path.to_owned())) };
        }
        about => about.map_err(|error| failed(error.into()))?,
    };
    let of = |name| -> Result<Option<u64>, StateError> {
        Ok(about.get(name).map_err(|error| failed(error.into()))?.map(|number| number.value()))
    };
    if of(LAYOUT_IS)? != Some(LAYOUT) {
        return Err(StateError::Layout(path.to_owned()));
    }
    Ok(Amount { values: of(VALUES_HELD)?.unwrap_or(0), bytes: of(BYTES_HELD)?.unwrap_or(0) })
}

fn make(database: &Database) -> Result<Amount, Error> {
    let mut transaction = database.begin_write()?;
    transaction.set_quick_repair(true);
    transaction.open_table(ABOUT)?.insert(LAYOUT_IS, LAYOUT)?;
    transaction.open_table(HOLDINGS)?;
    transaction.open_table(VALUES)?;
    transaction.open_table(rows::ENDS)?;
    transaction.commit()?;
    Ok(Amount::default())
}

/// Why the file cannot be used, in the words of the state directory.
fn refused(path: &Path, error: Error) -> StateError {
    let path = path.to_owned();
    match error {
        Error::DatabaseAlreadyOpen | Error::LockProtocolMismatch => StateError::Held(path),
        Error::UpgradeRequired(_)
        | Error::TableTypeMismatch { .. }
        | Error::TableIsMultimap(_)
        | Error::TypeDefinitionChanged { .. } => StateError::Layout(path),
        Error::Corrupted(_) | Error::RepairAborted => StateError::Damaged(path),
        Error::Io(source) if is_damage(source.kind()) => StateError::Damaged(path),
        Error::Io(source) => StateError::Io { path, source },
        other => StateError::Io { path, source: std::io::Error::other(other) },
    }
}

fn is_damage(kind: std::io::ErrorKind) -> bool {
    matches!(kind, std::io::ErrorKind::InvalidData | std::io::ErrorKind::UnexpectedEof)
}
