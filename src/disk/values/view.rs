//! What a store shows its operator: how much of what it holds, when that ends, what was refused. No place, no name, no key.
//! It must not know who looks.
//!
//! Source: spec/cli.md §11.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use redb::{Database, Error, ReadableDatabase as _, ReadableTable as _};
use serde::{Deserialize, Serialize};

use super::ValueStore;
use super::medium::{Medium, OnDisk};
use super::opening::{begin, refused};
use super::rows::{HOLDINGS, Row, place_of};
use crate::dht::store::Quota;
use crate::disk::StateError;
use crate::time::UnixTime;
use crate::wire::record::ValueKind;

/// A store, as its operator sees it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct StoreView {
    /// Values that it may hold.
    pub values_max: u64,
    /// Bytes that it may hold.
    pub bytes_max: u64,
    /// Values held, those among them whose time is over and that are not freed yet.
    pub values: u64,
    /// Bytes that they count for.
    pub bytes: u64,
    /// Of them those whose time is over.
    pub over: u64,
    /// Values that cannot be told, for their row is damaged.
    pub unknown: u64,
    /// Bytes of the file.
    pub file_bytes: u64,
    /// Signed values (records, roots).
    pub signed: KindView,
    /// Hashed values (chunks).
    pub hashed: KindView,
    /// What has happened since the relay started; `None` of a file that no relay has open.
    pub since_start: Option<StoreCounts>,
}

/// Values of one kind.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct KindView {
    /// How many.
    pub values: u64,
    /// Bytes that they count for.
    pub bytes: u64,
    /// By when they end, soonest first; all that end are in steps of six hours.
    pub ends: Vec<StepView>,
}

/// Values that end at one time.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct StepView {
    /// When, in seconds since 1970.
    pub at: u64,
    /// How many.
    pub values: u64,
    /// Bytes that they count for.
    pub bytes: u64,
}

/// What has happened since a store was opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct StoreCounts {
    /// Values given up for others.
    pub evicted: u64,
    /// Puts refused because there was no room, or the value's time was over.
    pub refused_full: u64,
    /// Operations refused because of the disk, or because too many waited for it.
    pub refused_disk: u64,
    /// Questions and puts refused by the denylist.
    pub refused_denied: u64,
    /// Values that the disk had damaged; none was served.
    pub damaged: u64,
    /// Names in the denylist.
    pub denied: u64,
    /// Whether values are written.
    pub writes: StoreWrites,
}

/// Whether values are written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StoreWrites {
    /// They are.
    Work,
    /// The disk refused the last batch: it is tried again.
    DiskRefuses,
    /// A fault of the program has ended it until the relay is started again.
    Ended,
}

impl ValueStore {
    /// Looks at all that is held: a second for a million values.
    ///
    /// # Errors
    /// [`StateError`] when the file cannot be read.
    pub fn view(&self, now: UnixTime) -> Result<StoreView, StateError> {
        let of = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
        let denied = self.denied.read().unwrap_or_else(PoisonError::into_inner).len();
        let counts = StoreCounts {
            evicted: of(&self.counters.evicted),
            refused_full: of(&self.counters.full),
            refused_disk: of(&self.counters.failed),
            refused_denied: of(&self.counters.denied),
            damaged: of(&self.counters.damaged),
            denied: u64::try_from(denied).unwrap_or(u64::MAX),
            writes: match (self.is_broken.load(Ordering::Relaxed), self.is_failing.load(Ordering::Relaxed)) {
                (true, _) => StoreWrites::Ended,
                (false, true) => StoreWrites::DiskRefuses,
                (false, false) => StoreWrites::Work,
            },
        };
        let opened = self.opened.read().unwrap_or_else(PoisonError::into_inner);
        let database = opened.database.as_ref().ok_or_else(|| refused(&self.path, Error::DatabaseClosed))?;
        let view = look(&self.path, database, self.max, now)?;
        Ok(StoreView { since_start: Some(counts), ..view })
    }

    /// Looks at a file that no relay has open; nothing of it is changed.
    ///
    /// # Errors
    /// As [`Self::open`], and when it is not there.
    pub fn view_of_file(path: &Path, max: Quota, now: UnixTime) -> Result<StoreView, StateError> {
        let database = OnDisk(path.to_owned()).open_reading().map_err(|error| refused(path, error.into()))?;
        begin(path, &database)?;
        look(path, &database, max, now)
    }
}

fn look(path: &Path, database: &Database, max: Quota, now: UnixTime) -> Result<StoreView, StateError> {
    let file_bytes = std::fs::metadata(path).map_or(0, |file| file.len());
    let (signed, hashed) = (KindView::default(), KindView::default());
    let mut view = StoreView {
        values_max: max.values,
        bytes_max: max.bytes,
        values: 0,
        bytes: 0,
        over: 0,
        unknown: 0,
        file_bytes,
        signed,
        hashed,
        since_start: None,
    };
    count(database, now, &mut view).map_err(|error| refused(path, error))?;
    Ok(view)
}

fn count(database: &Database, now: UnixTime, view: &mut StoreView) -> Result<(), Error> {
    let mut steps: BTreeMap<(u64, bool), Quota> = BTreeMap::new();
    for entry in database.begin_read()?.open_table(HOLDINGS)?.iter()? {
        let (key, row) = entry?;
        view.values += 1;
        let row = place_of(key.value()).and_then(|place| Row::decode(place, row.value()));
        let Some(row) = row else {
            view.unknown += 1;
            continue;
        };
        let (ends, room) = (row.holding.expiry.time(), row.room());
        view.over += u64::from(ends <= now);
        view.bytes += room;
        let step = steps.entry((ends.0, row.holding.place.0 == ValueKind::Hashed)).or_default();
        (step.values, step.bytes) = (step.values + 1, step.bytes + room);
    }
    for ((at, is_hashed), Quota { values, bytes }) in steps {
        let kind = if is_hashed { &mut view.hashed } else { &mut view.signed };
        (kind.values, kind.bytes) = (kind.values + values, kind.bytes + bytes);
        kind.ends.push(StepView { at, values, bytes });
    }
    Ok(())
}
