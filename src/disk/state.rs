//! The state directory: small files, written whole, one lock around every read and write. It must not know their content.
//!
//! Source: spec/state.md.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;
use zeroize::Zeroizing;

use crate::crypto::hash::blake3;
use crate::limits::{STATE_FILE_LEN_MAX, STATE_LOCK_RETRY, STATE_LOCK_TIMEOUT};
use crate::time::Duration;

/// First bytes of every file: three letters and the version of this layout.
const MAGIC: [u8; 4] = *b"bau\x01";
const CHECKSUM_LEN: usize = 32;
const HEADER_LEN: usize = MAGIC.len() + CHECKSUM_LEN;
const LOCK: &str = "lock";

/// Why the state directory cannot be used. Each names the file and what to do.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// Somebody else may read it.
    #[error("{path}: others can read or write this directory; run `chmod 700` on it, or choose another", path = .0.display())]
    Exposed(PathBuf),
    /// It belongs to another user, or is no directory.
    #[error("{path}: is not a directory of this user; choose another", path = .0.display())]
    NotOurs(PathBuf),
    /// Another process held the lock for longer than [`STATE_LOCK_TIMEOUT`].
    #[error("{path}: another process holds the lock; is one stuck?", path = .0.display())]
    Locked(PathBuf),
    /// Another process has the role that was asked for.
    #[error("{path}: another process runs as this already; end it first, or give this one a state of its own", path = .0.display())]
    Held(PathBuf),
    /// Its bytes are not what was written. Never replaced by itself.
    #[error("{path}: damaged; restore it from a copy, or move it away to start anew", path = .0.display())]
    Damaged(PathBuf),
    /// It was written in another layout.
    #[error("{path}: written by another version of bauta; use that one, or move the file away", path = .0.display())]
    Layout(PathBuf),
    /// Over [`STATE_FILE_LEN_MAX`].
    #[error("{path}: too large for a state file", path = .0.display())]
    TooLarge(PathBuf),
    /// A name that is not letters, digits, `-`, `_` and `.` (not in front), or is reserved.
    #[error("{path}: not a name for a state file", path = .0.display())]
    Name(PathBuf),
    /// The system refused.
    #[error("{path}: {source}", path = .path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// A directory of one user, mode 0700, whose files are replaced whole.
#[derive(Clone, Debug)]
pub struct StateDir {
    path: PathBuf,
    /// [`STATE_LOCK_TIMEOUT`], but for tests.
    lock_timeout: Duration,
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> StateError {
    let path = path.to_owned();
    move |source| StateError::Io { path, source }
}

impl StateDir {
    /// Opens the directory, and makes it if it is not there.
    ///
    /// # Errors
    /// [`StateError`] when it cannot be made, is not this user's or others can read it.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, StateError> {
        let path = path.into();
        if let Err(error) = DirBuilder::new().recursive(true).mode(0o700).create(&path)
            && error.kind() != io::ErrorKind::AlreadyExists
        {
            return Err(failed(&path)(error));
        }
        let found = std::fs::metadata(&path).map_err(failed(&path))?;
        if !found.is_dir() || found.uid() != rustix::process::geteuid().as_raw() {
            return Err(StateError::NotOurs(path));
        }
        if found.mode() & 0o077 != 0 {
            return Err(StateError::Exposed(path));
        }
        Ok(Self { path, lock_timeout: STATE_LOCK_TIMEOUT })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What a file holds; `None` when there is none.
    ///
    /// # Errors
    /// [`StateError`]; a damaged file is one, never a `None`.
    pub fn read<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, StateError> {
        let path = self.file(name)?;
        let _lock = self.lock()?;
        let content = read_content(&path, name)?;
        content.map(|content| parse(&path, &content)).transpose()
    }

    /// Replaces a file, whole or not at all.
    ///
    /// # Errors
    /// [`StateError`]; then the file is as it was.
    pub fn write<T: Serialize>(&self, name: &str, value: &T) -> Result<(), StateError> {
        let path = self.file(name)?;
        let content = print(&path, value)?;
        let _lock = self.lock()?;
        self.replace(&path, name, &content)
    }

    /// Reads, changes and replaces a file under one lock: of many processes at once the first makes the value, and the
    /// others are given it. Nothing is written when nothing changes.
    ///
    /// # Errors
    /// [`StateError`]; then the file is as it was.
    pub fn update<T: Serialize + DeserializeOwned>(
        &self,
        name: &str,
        change: impl FnOnce(Option<T>) -> T,
    ) -> Result<T, StateError> {
        let path = self.file(name)?;
        let _lock = self.lock()?;
        let before = read_content(&path, name)?;
        let value = change(before.as_ref().map(|content| parse(&path, content)).transpose()?);
        let after = print(&path, &value)?;
        if before.is_none_or(|before| *before != *after) {
            self.replace(&path, name, &after)?;
        }
        Ok(value)
    }

    /// Names of all files that are here whole: neither the lock nor what a crash left beside one.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub fn names(&self) -> Result<Vec<String>, StateError> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&self.path).map_err(failed(&self.path))? {
            let entry = entry.map_err(failed(&self.path))?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if name != LOCK && self.file(&name).is_ok() && entry.path().is_file() {
                names.push(name);
            }
        }
        Ok(names)
    }

    /// Removes a file, if it is there.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn remove(&self, name: &str) -> Result<(), StateError> {
        let path = self.file(name)?;
        let _lock = self.lock()?;
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed(&path)(error)),
            _ => Ok(()),
        }
    }

    /// Holds a role in this directory for as long as the file lives: of two processes that want it one is refused at once.
    ///
    /// # Errors
    /// [`StateError::Held`], and others.
    pub fn hold(&self, role: &str) -> Result<File, StateError> {
        let path = self.file(&format!("{role}.held"))?;
        let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path);
        let file = file.map_err(failed(&path))?;
        match file.try_lock() {
            Ok(()) => (),
            Err(TryLockError::WouldBlock) => return Err(StateError::Held(path)),
            Err(TryLockError::Error(error)) => return Err(failed(&path)(error)),
        }
        // Whoever held it may have removed the file since it was opened here: then the next one would hold another.
        let held = file.metadata().map_err(failed(&path))?;
        match std::fs::metadata(&path) {
            Ok(there) if (there.dev(), there.ino()) == (held.dev(), held.ino()) => Ok(file),
            Ok(_) | Err(_) => Err(StateError::Held(path)),
        }
    }

    fn file(&self, name: &str) -> Result<PathBuf, StateError> {
        let path = self.path.join(name);
        let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if name.is_empty() || name.starts_with('.') || name == LOCK || !name.chars().all(is_plain) {
            return Err(StateError::Name(path));
        }
        Ok(path)
    }

    /// The lock, until the file is dropped.
    fn lock(&self) -> Result<File, StateError> {
        let path = self.path.join(LOCK);
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(&path);
        let file = file.map_err(failed(&path))?;
        let attempts = self.lock_timeout.as_micros() / STATE_LOCK_RETRY.as_micros().max(1);
        for _ in 0..attempts {
            match file.try_lock() {
                Ok(()) => return Ok(file),
                Err(TryLockError::WouldBlock) => std::thread::park_timeout(STATE_LOCK_RETRY),
                Err(TryLockError::Error(error)) => return Err(failed(&path)(error)),
            }
        }
        Err(StateError::Locked(path))
    }

    /// Writes beside the file, then renames over it: whoever reads sees the old or the new. The lock is held.
    fn replace(&self, path: &Path, name: &str, content: &[u8]) -> Result<(), StateError> {
        if content.len() > STATE_FILE_LEN_MAX {
            return Err(StateError::TooLarge(path.to_owned()));
        }
        let beside = self.path.join(format!(".{name}.new"));
        // What a crash left there.
        if let Err(error) = std::fs::remove_file(&beside)
            && error.kind() != io::ErrorKind::NotFound
        {
            return Err(failed(&beside)(error));
        }
        let write = || -> io::Result<()> {
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
            file.write_all(&header(name, content))?;
            file.write_all(content)?;
            file.sync_all()
        };
        write().map_err(failed(&beside))?;
        std::fs::rename(&beside, path).map_err(failed(path))?;
        File::open(&self.path).and_then(|dir| dir.sync_all()).map_err(failed(&self.path))
    }
}

/// What stands before this content in a file of this name.
pub(crate) fn header(name: &str, content: &[u8]) -> [u8; HEADER_LEN] {
    let mut header = [0; HEADER_LEN];
    let parts = MAGIC.into_iter().chain(checksum(name, content));
    header.iter_mut().zip(parts).for_each(|(to, from)| *to = from);
    header
}

/// The name is part of it: a file moved over another is seen.
fn checksum(name: &str, content: &[u8]) -> [u8; CHECKSUM_LEN] {
    blake3(&[b"bauta/1 state", &[0], name.as_bytes(), &[0], content])
}

/// The checked content of a file. Wiped after use: it may hold secrets.
fn read_content(path: &Path, name: &str) -> Result<Option<Zeroizing<Vec<u8>>>, StateError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(path)(error)),
    };
    let cap = u64::try_from(HEADER_LEN + STATE_FILE_LEN_MAX).unwrap_or(u64::MAX);
    let len = file.metadata().map_err(failed(path))?.len();
    if len > cap {
        return Err(StateError::TooLarge(path.to_owned()));
    }
    // Reserved at once, so that no grown and freed piece keeps a copy of a secret.
    let mut bytes = Zeroizing::new(Vec::with_capacity(usize::try_from(len).unwrap_or(0) + 1));
    file.take(cap).read_to_end(&mut bytes).map_err(failed(path))?;
    Ok(Some(Zeroizing::new(content_of(path, name, &bytes)?.to_vec())))
}

/// The checked content of the bytes of a whole file.
pub(crate) fn content_of<'a>(path: &Path, name: &str, bytes: &'a [u8]) -> Result<&'a [u8], StateError> {
    let damaged = || StateError::Damaged(path.to_owned());
    if bytes.len() > HEADER_LEN + STATE_FILE_LEN_MAX {
        return Err(StateError::TooLarge(path.to_owned()));
    }
    let (magic, rest) = bytes.split_first_chunk::<{ MAGIC.len() }>().ok_or_else(damaged)?;
    if *magic != MAGIC {
        let of_ours = magic.starts_with(b"bau");
        return Err(if of_ours { StateError::Layout(path.to_owned()) } else { damaged() });
    }
    let (sum, content) = rest.split_first_chunk::<CHECKSUM_LEN>().ok_or_else(damaged)?;
    if *sum == checksum(name, content) { Ok(content) } else { Err(damaged()) }
}

/// What this content says.
pub(crate) fn parse<T: DeserializeOwned>(path: &Path, content: &[u8]) -> Result<T, StateError> {
    match postcard::take_from_bytes(content) {
        Ok((value, [])) => Ok(value),
        // The bytes are whole, but mean nothing to this program.
        _ => Err(StateError::Layout(path.to_owned())),
    }
}

/// The content that says this.
pub(crate) fn print<T: Serialize>(path: &Path, value: &T) -> Result<Zeroizing<Vec<u8>>, StateError> {
    let printed = postcard::to_allocvec(value);
    printed.map(Zeroizing::new).map_err(|error| failed(path)(io::Error::other(error)))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    /// A directory of one test, gone with it.
    struct Scratch(PathBuf);

    impl Scratch {
        fn new() -> Self {
            static COUNT: AtomicU32 = AtomicU32::new(0);
            let number = COUNT.fetch_add(1, Ordering::Relaxed);
            let path = std::env::temp_dir().join(format!("bauta-state-{}-{number}", std::process::id()));
            let _ = std::fs::remove_dir_all(&path);
            Self(path)
        }

        fn open(&self) -> StateDir {
            StateDir::open(self.0.join("state")).unwrap()
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    fn mode(path: &Path) -> u32 {
        std::fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn a_role_is_held_by_one_at_a_time() {
        let home = tempfile::tempdir().unwrap();
        let state = StateDir::open(home.path().join("state")).unwrap();
        let held = state.hold("relay").unwrap();
        assert!(matches!(state.hold("relay"), Err(StateError::Held(_))));
        state.hold("other").unwrap();
        drop(held);
        state.hold("relay").unwrap();
    }

    #[test]
    fn what_is_written_is_read_and_only_its_owner_may() {
        let scratch = Scratch::new();
        let state = scratch.open();
        assert_eq!(state.read::<u64>("guards").unwrap(), None);
        state.write("guards", &(7_u64, "seven")).unwrap();
        let again = scratch.open();
        assert_eq!(again.read("guards").unwrap(), Some((7_u64, "seven".to_owned())));
        assert_eq!(mode(state.path()), 0o700);
        for name in ["guards", LOCK] {
            assert_eq!(mode(&state.path().join(name)), 0o600);
        }
    }

    #[test]
    fn a_directory_that_others_can_read_and_a_file_in_its_place_are_refused() {
        let scratch = Scratch::new();
        let path = scratch.open().path().to_owned();
        for bits in [0o750, 0o705, 0o711] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(bits)).unwrap();
            let refused = StateDir::open(&path).unwrap_err();
            assert!(matches!(refused, StateError::Exposed(_)));
            assert!(refused.to_string().contains("chmod 700"));
        }
        let file = scratch.0.join("file");
        std::fs::write(&file, b"x").unwrap();
        assert!(matches!(StateDir::open(&file), Err(StateError::NotOurs(_))));
    }

    #[test]
    fn every_damaged_byte_and_every_cut_is_told_by_name_and_nothing_is_replaced() {
        let scratch = Scratch::new();
        let state = scratch.open();
        state.write("guards", &[1_u32, 2, 3]).unwrap();
        let path = state.path().join("guards");
        let good = std::fs::read(&path).unwrap();
        let flips = (0..good.len()).map(|at| {
            let mut bad = good.clone();
            bad[at] ^= 0x40;
            bad
        });
        let cuts = (0..good.len()).map(|len| good[..len].to_vec());
        for bad in flips.chain(cuts).chain([[good.clone(), vec![0]].concat()]) {
            std::fs::write(&path, &bad).unwrap();
            let refused = state.read::<[u32; 3]>("guards").unwrap_err();
            assert!(matches!(refused, StateError::Damaged(_) | StateError::Layout(_)), "{refused}");
            assert!(refused.to_string().contains("guards"));
            assert!(state.update("guards", |_: Option<[u32; 3]>| [9; 3]).is_err());
            assert_eq!(std::fs::read(&path).unwrap(), bad);
        }
        std::fs::write(&path, &good).unwrap();
        assert_eq!(state.read("guards").unwrap(), Some([1_u32, 2, 3]));
    }

    #[test]
    fn a_file_moved_over_another_of_other_layout_or_too_large_is_refused() {
        let scratch = Scratch::new();
        let state = scratch.open();
        state.write("one", &1_u8).unwrap();
        std::fs::rename(state.path().join("one"), state.path().join("two")).unwrap();
        assert!(matches!(state.read::<u8>("two"), Err(StateError::Damaged(_))));
        state.write("one", &(1_u8, 2_u8)).unwrap();
        assert!(matches!(state.read::<u8>("one"), Err(StateError::Layout(_))));
        std::fs::write(state.path().join("three"), b"bau\x02").unwrap();
        assert!(matches!(state.read::<u8>("three"), Err(StateError::Layout(_))));
        let large = u64::try_from(HEADER_LEN + STATE_FILE_LEN_MAX).unwrap() + 1;
        File::create(state.path().join("four")).unwrap().set_len(large).unwrap();
        assert!(matches!(state.read::<u8>("four"), Err(StateError::TooLarge(_))));
        let content = vec![0_u8; STATE_FILE_LEN_MAX + 1];
        assert!(matches!(state.replace(&state.path().join("five"), "five", &content), Err(StateError::TooLarge(_))));
    }

    #[test]
    fn names_that_leave_the_directory_or_are_reserved_are_refused() {
        let scratch = Scratch::new();
        let state = scratch.open();
        for name in ["", ".", "..", "../x", "a/b", "/etc/x", ".x.new", LOCK, "a\0b"] {
            assert!(matches!(state.read::<u8>(name), Err(StateError::Name(_))), "{name:?}");
            assert!(matches!(state.write(name, &1_u8), Err(StateError::Name(_))), "{name:?}");
        }
    }

    #[test]
    fn a_crash_before_the_rename_leaves_the_old_file_and_the_next_write_works() {
        let scratch = Scratch::new();
        let state = scratch.open();
        state.write("guards", &1_u8).unwrap();
        std::fs::write(state.path().join(".guards.new"), b"half a fi").unwrap();
        assert_eq!(state.read("guards").unwrap(), Some(1_u8));
        state.write("guards", &2_u8).unwrap();
        assert_eq!(state.read("guards").unwrap(), Some(2_u8));
        assert!(!state.path().join(".guards.new").exists());
    }

    #[test]
    fn of_twenty_that_start_at_once_the_first_chooses_for_all() {
        let scratch = Scratch::new();
        let path = scratch.0.join("state");
        let start = std::sync::Barrier::new(20);
        let chosen: std::collections::BTreeSet<u32> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..20_u32)
                .map(|number| {
                    let (path, start) = (&path, &start);
                    scope.spawn(move || {
                        start.wait();
                        let state = StateDir::open(path).unwrap();
                        state.update("guards", |before| before.unwrap_or(number)).unwrap()
                    })
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(chosen.len(), 1);
    }

    #[test]
    fn no_update_of_many_at_once_is_lost() {
        let scratch = Scratch::new();
        let state = scratch.open();
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..5 {
                        state.update("count", |before| before.unwrap_or(0_u32) + 1).unwrap();
                    }
                });
            }
        });
        assert_eq!(state.read("count").unwrap(), Some(40_u32));
    }

    #[test]
    fn a_lock_that_is_never_given_back_is_told_after_its_time() {
        let scratch = Scratch::new();
        let mut state = scratch.open();
        assert_eq!(state.lock_timeout, STATE_LOCK_TIMEOUT);
        state.lock_timeout = STATE_LOCK_RETRY * 4;
        state.write("guards", &1_u8).unwrap();
        let held = state.lock().unwrap();
        assert!(matches!(state.read::<u8>("guards"), Err(StateError::Locked(_))));
        drop(held);
        assert_eq!(state.read("guards").unwrap(), Some(1_u8));
    }
}
