//! Which batches of an interrupted publication are stored: a header, and a log that only grows. It must not know what they are.
//! Source: spec/state.md §11.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::state::{StateDir, StateError};
use crate::limits::{TRANSFER_BATCHES_MAX, TRANSFERS_KEPT_MAX};

/// Bytes of a row: level, batch, digest.
const ROW_LEN: usize = 1 + 4 + 32;
const LOG_END: &str = ".log";
const HELD_END: &str = ".held";

/// Digests by level and batch.
pub(crate) type Rows = BTreeMap<(u8, u32), [u8; 32]>;

/// A publication that can go on.
#[derive(Debug)]
pub struct TransferLog {
    dir: StateDir,
    name: String,
    rows: Rows,
    /// In the log, those of batches that were sent anew among them.
    rows_written: usize,
    log: File,
    /// Two processes must not write one log.
    _held: File,
}

impl TransferLog {
    /// Opens the log of this name in a directory of logs. Without a header that `is_good`, it begins with the one that `fresh` makes.
    /// Gives the header, too.
    ///
    /// # Errors
    /// [`StateError::Held`] while another process has it, and others.
    pub fn open<T: Serialize + DeserializeOwned>(
        dir: &StateDir,
        name: &str,
        is_good: impl FnOnce(&T) -> bool,
        fresh: impl FnOnce() -> T,
    ) -> Result<(Self, T), StateError> {
        let held = dir.hold(name)?;
        let path = log_path(dir, name);
        let failed = |source| StateError::Io { path: path.clone(), source };
        // A damaged one only costs what it would have saved.
        let found = dir.read::<T>(name).ok().flatten().filter(is_good);
        let is_old = found.is_some();
        let header = found.unwrap_or_else(fresh);
        if !is_old {
            dir.write(name, &header)?;
        }
        let mut open = OpenOptions::new();
        let mut log = open.read(true).append(true).create(true).mode(0o600).open(&path).map_err(failed)?;
        let (mut rows, mut rows_written) = (BTreeMap::new(), 0);
        if is_old {
            let most = u64::try_from(ROW_LEN * TRANSFER_BATCHES_MAX).unwrap_or(u64::MAX);
            let mut bytes = Vec::new();
            (&mut log).take(most).read_to_end(&mut bytes).map_err(failed)?;
            (rows, rows_written) = rows_in(&bytes);
            // What a process that was killed has written of its last row.
            log.set_len(u64::try_from(rows_written * ROW_LEN).unwrap_or(0)).map_err(failed)?;
        } else {
            log.set_len(0).map_err(failed)?;
        }
        Ok((Self { dir: dir.clone(), name: name.to_owned(), rows, rows_written, log, _held: held }, header))
    }

    /// Batches that are stored.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether it begins anew.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Whether this batch of a level was stored with these contents.
    #[must_use]
    pub fn has(&self, level: u8, batch: u32, digest: &[u8; 32]) -> bool {
        self.rows.get(&(level, batch)) == Some(digest)
    }

    /// It is stored now. The row is written at once; a power cut may lose it, and the batch is sent again then.
    ///
    /// # Errors
    /// Those of the system.
    pub fn add(&mut self, level: u8, batch: u32, digest: [u8; 32]) -> io::Result<()> {
        if self.rows.len() >= TRANSFER_BATCHES_MAX {
            return Err(io::Error::other("more batches than a publication has"));
        }
        let mut row = Vec::with_capacity(ROW_LEN);
        row.push(level);
        row.extend(batch.to_be_bytes());
        row.extend(digest);
        if let Err(error) = self.log.write_all(&row) {
            // Half a row would shift all that follow.
            let whole = u64::try_from(self.rows_written * ROW_LEN).unwrap_or(u64::MAX);
            self.log.set_len(whole)?;
            return Err(error);
        }
        self.rows_written += 1;
        self.rows.insert((level, batch), digest);
        Ok(())
    }

    /// The publication is done, or given up: nothing is left of it.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn remove(self) -> Result<(), StateError> {
        remove(&self.dir, &self.name)
    }
}

/// Removes logs that are not good any more, and the oldest by `age` beyond [`TRANSFERS_KEPT_MAX`]; `age` of none is one that is not good. Those
/// that a process works at stay.
///
/// # Errors
/// [`StateError`].
pub fn forget_old_transfers<T: DeserializeOwned>(
    dir: &StateDir,
    age: impl Fn(&T) -> Option<u64>,
) -> Result<(), StateError> {
    let mut kept = Vec::new();
    // A removal that was cut short may have left a log without its header, and one that nobody has begun only what held it.
    let of_log = |name: &str| name.split_once('.').map_or(name, |(of, _)| of).to_owned();
    for name in dir.names()?.iter().map(|name| of_log(name)).collect::<BTreeSet<_>>() {
        match dir.read::<T>(&name).ok().flatten().and_then(|header| age(&header)) {
            Some(age) => kept.push((age, name)),
            None => remove_unless_held(dir, &name)?,
        }
    }
    kept.sort();
    for (_, name) in kept.iter().skip(TRANSFERS_KEPT_MAX) {
        remove_unless_held(dir, name)?;
    }
    Ok(())
}

fn remove_unless_held(dir: &StateDir, name: &str) -> Result<(), StateError> {
    match dir.hold(name) {
        Ok(_held) => remove(dir, name),
        Err(StateError::Held(_)) => Ok(()),
        Err(error) => Err(error),
    }
}

fn remove(dir: &StateDir, name: &str) -> Result<(), StateError> {
    dir.remove(name)?;
    dir.remove(&format!("{name}{LOG_END}"))?;
    dir.remove(&format!("{name}{HELD_END}"))
}

fn log_path(dir: &StateDir, name: &str) -> PathBuf {
    dir.path().join(format!("{name}{LOG_END}"))
}

/// The rows of a log, the last of a batch that stands there twice; and how many are whole.
pub(crate) fn rows_in(bytes: &[u8]) -> (Rows, usize) {
    let (whole, _) = bytes.as_chunks::<ROW_LEN>();
    (whole.iter().filter_map(read_row).collect(), whole.len())
}

fn read_row(row: &[u8; ROW_LEN]) -> Option<((u8, u32), [u8; 32])> {
    let ([level], rest) = row.split_first_chunk::<1>()?;
    let (batch, digest) = rest.split_first_chunk::<4>()?;
    Some(((*level, u32::from_be_bytes(*batch)), digest.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dir(home: &tempfile::TempDir) -> StateDir {
        StateDir::open(home.path().join("transfers")).unwrap()
    }

    #[test]
    fn a_log_goes_on_with_its_header_without_its_torn_end_and_other_contents_are_not_stored() {
        let home = tempfile::tempdir().unwrap();
        let dir = dir(&home);
        let (mut log, header) = TransferLog::open(&dir, "one", |_: &u64| true, || 7).unwrap();
        assert_eq!((header, log.len()), (7, 0));
        log.add(0, 3, [1; 32]).unwrap();
        log.add(1, 3, [2; 32]).unwrap();
        let held = TransferLog::open(&dir, "one", |_: &u64| true, || 8);
        assert!(matches!(held, Err(StateError::Held(_))), "another process works at it");
        log.log.write_all(&[1; ROW_LEN - 1]).unwrap();
        drop(log);
        for _ in 0..2 {
            let (log, header) = TransferLog::open(&dir, "one", |_: &u64| true, || 8).unwrap();
            assert_eq!((header, log.len()), (7, 2));
            assert!(log.has(0, 3, &[1; 32]) && log.has(1, 3, &[2; 32]));
            assert!(!log.has(0, 3, &[2; 32]) && !log.has(0, 4, &[1; 32]));
        }
        let (log, header) = TransferLog::open(&dir, "one", |_: &u64| false, || 9).unwrap();
        assert_eq!((header, log.len()), (9, 0), "not good any more: begun anew");
        log.remove().unwrap();
        assert!(dir.names().unwrap().is_empty());
    }

    #[test]
    fn more_rows_than_a_publication_can_have_are_refused() {
        let home = tempfile::tempdir().unwrap();
        let (mut log, _) = TransferLog::open(&dir(&home), "one", |_: &u64| true, || 7).unwrap();
        log.rows = (0..u32::try_from(TRANSFER_BATCHES_MAX).unwrap()).map(|batch| ((0, batch), [0; 32])).collect();
        assert!(log.add(1, 0, [0; 32]).is_err());
    }

    #[test]
    fn the_oldest_beyond_the_cap_and_those_that_are_over_are_forgotten() {
        let home = tempfile::tempdir().unwrap();
        let dir = dir(&home);
        let mut kept = None;
        for number in 0..TRANSFERS_KEPT_MAX + 3 {
            let age = u64::try_from(number).unwrap();
            let (log, _) = TransferLog::open(&dir, &format!("t{number}"), |_: &u64| true, || age).unwrap();
            kept = Some(log);
        }
        forget_old_transfers(&dir, |age: &u64| (*age != 5).then_some(*age)).unwrap();
        let left = dir.names().unwrap().into_iter().filter(|name| !name.contains('.')).count();
        dir.remove("t7").unwrap();
        forget_old_transfers(&dir, |age: &u64| Some(*age)).unwrap();
        assert!(dir.names().unwrap().iter().all(|name| !name.starts_with("t7.")), "a log without its header");
        assert_eq!(left, TRANSFERS_KEPT_MAX + 1, "one more than may be kept, which a process works at");
        assert!(dir.read::<u64>("t5").unwrap().is_none());
        drop(kept);
        forget_old_transfers(&dir, |age: &u64| Some(*age)).unwrap();
        assert_eq!(dir.names().unwrap().into_iter().filter(|name| !name.contains('.')).count(), TRANSFERS_KEPT_MAX);
    }
}
