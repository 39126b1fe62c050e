//! Disks of tests: one that fails when it is told to, one that forgets what was written after some point.

use std::fmt;
use std::io;
use std::sync::{Arc, Mutex};

use redb::{Builder, Database, DatabaseError, StorageBackend};

use crate::disk::values::medium::{Medium, Overlay, builder};

/// What one disk has, and does.
#[derive(Default)]
pub(super) struct Disk {
    bytes: Vec<u8>,
    /// Changes that it takes before it fails; for ever, when `None`.
    pub(super) changes_left: Option<usize>,
    /// Changes so far.
    pub(super) changes: usize,
    /// Every change, to be replayed.
    pub(super) log: Vec<Change>,
    pub(super) reads_fail: bool,
    /// Reads that would show this fail; none, when it is empty.
    bad: Vec<u8>,
    /// In a build with assertions the database looks at every page when it is opened; in others it does not.
    is_opening: bool,
}

#[derive(Clone)]
pub(super) enum Change {
    Len(usize),
    Write(usize, Vec<u8>),
    Sync,
}

/// The same disk each time it is opened.
#[derive(Clone, Default)]
pub(super) struct TestMedium(pub(super) Arc<Mutex<Disk>>);

impl TestMedium {
    /// A disk to which only the first changes of another came.
    pub(super) fn after(log: &[Change]) -> Self {
        let medium = Self::default();
        for change in log {
            medium.0.lock().unwrap().change(change.clone()).unwrap();
        }
        medium
    }

    pub(super) fn fail_after(&self, changes: Option<usize>) {
        self.0.lock().unwrap().changes_left = changes;
    }

    /// Flips one bit of every place where these bytes stand; how many.
    pub(super) fn damage(&self, bytes: &[u8]) -> usize {
        let mut disk = self.0.lock().unwrap();
        let found: Vec<usize> = (0..disk.bytes.len().saturating_sub(bytes.len()))
            .filter(|at| disk.bytes[*at..].starts_with(bytes))
            .collect();
        found.iter().for_each(|at| disk.bytes[*at] ^= 1);
        found.len()
    }

    pub(super) fn fail_reads_of(&self, bytes: &[u8]) {
        self.0.lock().unwrap().bad = bytes.to_vec();
    }

    /// Of a disk with bad sectors, what was read once is read again.
    fn builder(&self) -> Builder {
        let mut builder = builder();
        if !self.0.lock().unwrap().bad.is_empty() {
            builder.set_cache_size(0);
        }
        builder
    }

    fn opening(&self, open: impl FnOnce() -> Result<Database, DatabaseError>) -> Result<Database, DatabaseError> {
        self.0.lock().unwrap().is_opening = true;
        let opened = open();
        self.0.lock().unwrap().is_opening = false;
        opened
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.lock().unwrap().bytes.is_empty()
    }

    pub(super) fn overwrite(&self, bytes: Vec<u8>) {
        self.0.lock().unwrap().bytes = bytes;
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        self.0.lock().unwrap().bytes.clone()
    }
}

impl Disk {
    fn change(&mut self, change: Change) -> io::Result<()> {
        if let Some(left) = &mut self.changes_left {
            *left = left.checked_sub(1).ok_or_else(|| io::Error::from(io::ErrorKind::StorageFull))?;
        }
        self.changes += 1;
        self.log.push(change.clone());
        match change {
            Change::Len(len) => self.bytes.resize(len, 0),
            Change::Write(at, data) => self.bytes[at..at + data.len()].copy_from_slice(&data),
            Change::Sync => (),
        }
        Ok(())
    }
}

impl StorageBackend for TestMedium {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.lock().unwrap().bytes.len().try_into().unwrap())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let disk = self.0.lock().unwrap();
        if disk.reads_fail {
            return Err(io::Error::other("a bad sector"));
        }
        let at = usize::try_from(offset).unwrap();
        let from = disk.bytes.get(at..at + out.len()).ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))?;
        if !disk.bad.is_empty() && !disk.is_opening && from.windows(disk.bad.len()).any(|part| part == disk.bad) {
            return Err(io::Error::other("a bad sector"));
        }
        out.copy_from_slice(from);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.lock().unwrap().change(Change::Len(len.try_into().unwrap()))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.lock().unwrap().change(Change::Sync)
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.lock().unwrap().change(Change::Write(offset.try_into().unwrap(), data.to_vec()))
    }
}

impl fmt::Debug for TestMedium {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TestMedium(..)")
    }
}

impl Medium for TestMedium {
    fn open(&self) -> Result<Database, DatabaseError> {
        self.opening(|| self.builder().create_with_backend(self.clone()))
    }

    fn open_reading(&self) -> Result<Database, DatabaseError> {
        self.opening(|| self.builder().create_with_backend(Overlay::new(self.clone())?))
    }
}
