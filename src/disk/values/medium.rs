//! Where a values' file lies, and how it is opened: to be written, or, when the disk refuses that, to be read alone.
//! It must not know what is in it.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use redb::backends::FileBackend;
use redb::{Builder, Database, DatabaseError, Error, StorageBackend};

use crate::limits::{STORE_CACHE_BYTES, STORE_OVERLAY_BYTES_MAX};

/// Opens the same bytes again and again; a file, but for tests.
pub(super) trait Medium: Send + Sync {
    /// To be written too.
    fn open(&self) -> Result<Database, DatabaseError>;
    /// To be read alone: nothing reaches the disk.
    fn open_reading(&self) -> Result<Database, DatabaseError>;
}

/// A file of this user alone.
pub(super) struct OnDisk(pub(super) PathBuf);

impl OnDisk {
    /// Makes the file, unless it is there: filled beside, then renamed, so that no crash leaves half of one.
    pub(super) fn make(&self, fill: impl FnOnce(&Database) -> Result<(), Error>) -> Result<(), Error> {
        if self.0.exists() {
            return Ok(());
        }
        let name = self.0.file_name().unwrap_or_default().to_string_lossy();
        let beside = self.0.with_file_name(format!(".{name}.new"));
        // What a crash left there, whoever may read that.
        match std::fs::remove_file(&beside) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
            _ => (),
        }
        let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&beside)?;
        let database = builder().create_with_backend(FileBackend::new(file)?)?;
        fill(&database)?;
        drop(database);
        std::fs::rename(&beside, &self.0)?;
        if let Some(folder) = self.0.parent() {
            File::open(folder)?.sync_all()?;
        }
        Ok(())
    }
}

impl Medium for OnDisk {
    fn open(&self) -> Result<Database, DatabaseError> {
        let file = OpenOptions::new().read(true).write(true).open(&self.0)?;
        builder().create_with_backend(FileBackend::new(file)?)
    }

    fn open_reading(&self) -> Result<Database, DatabaseError> {
        builder().create_with_backend(Overlay::new(FileBackend::new(File::open(&self.0)?)?)?)
    }
}

/// Whatever is given each time.
pub(super) struct Given<F>(pub(super) F);

impl<B: StorageBackend, F: Fn() -> B + Send + Sync> Medium for Given<F> {
    fn open(&self) -> Result<Database, DatabaseError> {
        builder().create_with_backend((self.0)())
    }

    fn open_reading(&self) -> Result<Database, DatabaseError> {
        builder().create_with_backend(Overlay::new((self.0)())?)
    }
}

pub(super) fn builder() -> Builder {
    let mut builder = Builder::new();
    builder.set_cache_size(STORE_CACHE_BYTES);
    builder
}

/// A backend of which nothing but reads reaches what is below: what opening and closing write stays in memory, and is
/// forgotten. So the last state that was committed can be read from a disk that takes nothing.
pub(super) struct Overlay {
    below: Box<dyn StorageBackend>,
    over: Mutex<Over>,
}

struct Over {
    len: u64,
    /// Bytes by block; a block is whole.
    blocks: BTreeMap<u64, Vec<u8>>,
}

const BLOCK_LEN: usize = 4_096;
const BLOCK: u64 = 4_096;

impl Overlay {
    pub(super) fn new(below: impl StorageBackend) -> io::Result<Self> {
        let len = below.len()?;
        Ok(Self { below: Box::new(below), over: Mutex::new(Over { len, blocks: BTreeMap::new() }) })
    }

    /// A block as it is below; zeros where there is none.
    fn block_below(&self, number: u64) -> io::Result<Vec<u8>> {
        let (start, len) = (number * BLOCK, self.below.len()?);
        let there = usize::try_from(len.saturating_sub(start).min(BLOCK)).unwrap_or(BLOCK_LEN);
        let mut block = vec![0; BLOCK_LEN];
        if let Some(part) = block.get_mut(..there).filter(|part| !part.is_empty()) {
            self.below.read(start, part)?;
        }
        Ok(block)
    }
}

/// Of a piece that starts at `offset`: its blocks, where in the block it starts, and which part of the piece that is.
fn parts(offset: u64, len: usize) -> impl Iterator<Item = (u64, usize, core::ops::Range<usize>)> {
    let mut done = 0;
    core::iter::from_fn(move || {
        let at = offset + u64::try_from(done).ok()?;
        let within = usize::try_from(at % BLOCK).ok()?;
        let take = (BLOCK_LEN - within).min(len - done);
        let part = done..done + take;
        done += take;
        (take > 0).then_some((at / BLOCK, within, part))
    })
}

impl StorageBackend for Overlay {
    fn len(&self) -> io::Result<u64> {
        Ok(self.over.lock().unwrap_or_else(PoisonError::into_inner).len)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let over = self.over.lock().unwrap_or_else(PoisonError::into_inner);
        if over.blocks.is_empty() {
            return self.below.read(offset, out);
        }
        for (number, within, part) in parts(offset, out.len()) {
            let block = match over.blocks.get(&number) {
                Some(block) => block.clone(),
                None => self.block_below(number)?,
            };
            let from = block.iter().skip(within);
            out.get_mut(part).into_iter().flatten().zip(from).for_each(|(to, from)| *to = *from);
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.over.lock().unwrap_or_else(PoisonError::into_inner).len = len;
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut over = self.over.lock().unwrap_or_else(PoisonError::into_inner);
        for (number, within, part) in parts(offset, data.len()) {
            if over.blocks.len() * BLOCK_LEN >= STORE_OVERLAY_BYTES_MAX {
                return Err(io::Error::new(io::ErrorKind::StorageFull, "too much to repair in memory"));
            }
            let block = match over.blocks.entry(number) {
                Entry::Occupied(block) => block.into_mut(),
                Entry::Vacant(place) => place.insert(self.block_below(number)?),
            };
            let block = block.iter_mut().skip(within);
            block.zip(data.get(part).into_iter().flatten()).for_each(|(to, from)| *to = *from);
        }
        Ok(())
    }

    fn close(&self) -> io::Result<()> {
        self.below.close()
    }
}

impl fmt::Debug for Overlay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Overlay(..)")
    }
}
