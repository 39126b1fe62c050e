//! What is got, while it comes: a file or folder beside its place, which keeps what has come and moves there once all of it has. What an
//! earlier attempt has left is checked, chunk by chunk, before it counts.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::ops::Range;
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use super::files::{FileError, check_free};
use crate::client::{Carrier, Download};
use crate::content::{EntryKind, FolderIndex};
use crate::crypto::hash::blake3;
use crate::limits::CHUNK_LEN;
use crate::wire::hex;

/// A file or folder that is not whole yet.
pub(super) struct Partial {
    target: PathBuf,
    beside: PathBuf,
    files: Vec<Piece>,
    folder: Option<FolderIndex>,
    /// The one that was used last.
    open: Option<(usize, File)>,
    /// Of the file or folder beside: another process that gets the same is refused, and what is moved is what was written.
    lock: File,
    /// Nothing was there before.
    is_fresh: bool,
}

/// One file of it.
struct Piece {
    /// Where it stands in the content.
    range: Range<u64>,
    path: PathBuf,
    runs: bool,
}

impl Partial {
    /// For a file of so many bytes; the fingerprint is that of its root, so that what another link has left is never gone on with.
    pub(super) fn file(target: &Path, fingerprint: &[u8; 32], len: u64, force: bool) -> Result<Self, FileError> {
        check_free(target, force)?;
        let beside = beside(target, fingerprint);
        let failed = |why| FileError::Part(beside.display().to_string(), why);
        let is_fresh = beside.symlink_metadata().is_err();
        let lock = locked(open_file(&beside, true).map_err(failed)?, &beside)?;
        let files = vec![Piece { range: 0..len, path: beside.clone(), runs: false }];
        let partial = Self { target: target.to_owned(), beside, files, folder: None, open: None, lock, is_fresh };
        partial.make(0)?;
        Ok(partial)
    }

    /// For a folder. One that is there is never replaced.
    pub(super) fn folder(target: &Path, fingerprint: &[u8; 32], index: FolderIndex) -> Result<Self, FileError> {
        check_free(target, false)?;
        let beside = beside(target, fingerprint);
        let failed = |why| FileError::Part(beside.display().to_string(), why);
        let is_fresh = beside.symlink_metadata().is_err();
        if is_fresh {
            std::fs::DirBuilder::new().mode(0o700).create(&beside).map_err(failed)?;
        }
        let lock = locked(open_folder(&beside).map_err(failed)?, &beside)?;
        // Every path was checked with the index: it leads below.
        let runs = |path: &str| {
            let at = index.entries().binary_search_by(|entry| entry.path.as_str().cmp(path)).ok();
            let kind = at.and_then(|at| index.entries().get(at)).map(|entry| entry.kind);
            matches!(kind, Some(EntryKind::File { runs: true, .. }))
        };
        let piece = |(path, range): (&str, Range<u64>)| Piece { range, path: beside.join(path), runs: runs(path) };
        let files: Vec<Piece> = index.files().map(piece).collect();
        let mut partial =
            Self { target: target.to_owned(), beside, files, folder: Some(index), open: None, lock, is_fresh };
        partial.make_folders()?;
        for number in 0..partial.files.len() {
            partial.make(number)?;
        }
        Ok(partial)
    }

    fn failed(&self, why: io::Error) -> FileError {
        FileError::Part(self.beside.display().to_string(), why)
    }

    fn make_folders(&mut self) -> Result<(), FileError> {
        let refused = |error| self.failed(error);
        let entries = self.folder.iter().flat_map(FolderIndex::entries);
        for entry in entries {
            let path = self.beside.join(&entry.path);
            let folder = if entry.kind == EntryKind::Empty { Some(&*path) } else { path.parent() };
            if let Some(folder) = folder {
                std::fs::create_dir_all(folder).map_err(refused)?;
                self.refuse_links(folder)?;
            }
        }
        Ok(())
    }

    /// Nothing on the way may lead elsewhere. The folder is this user's alone, so that nobody else can change that later.
    fn refuse_links(&self, path: &Path) -> Result<(), FileError> {
        let on_the_way = path.ancestors().take_while(|way| *way != self.beside);
        for way in on_the_way {
            if way.symlink_metadata().is_ok_and(|found| found.is_symlink()) {
                return Err(FileError::Exists(way.display().to_string()));
            }
        }
        Ok(())
    }

    /// A file of its full length, which takes no room before it is written.
    fn make(&self, number: usize) -> Result<(), FileError> {
        let Some(piece) = self.files.get(number) else { return Ok(()) };
        let file = open_file(&piece.path, true).map_err(|why| self.failed(why))?;
        let (found, len) =
            (file.metadata().map_err(|why| self.failed(why))?.len(), piece.range.end - piece.range.start);
        if found == len {
            return Ok(());
        }
        file.set_len(len).map_err(|why| {
            if found == 0 {
                // Nothing has come yet that could be kept.
                let _ = std::fs::remove_file(&piece.path);
            }
            self.failed(why)
        })
    }

    /// Calls for each piece of a range of the content: file, offset in it, offset in the range, length.
    fn pieces(&self, range: &Range<u64>) -> Vec<(usize, u64, Range<usize>)> {
        let first = self.files.partition_point(|file| file.range.end <= range.start);
        let at = |offset: u64| usize::try_from(offset - range.start).unwrap_or(usize::MAX);
        let piece = |(number, file): (usize, &Piece)| {
            let (start, end) = (file.range.start.max(range.start), file.range.end.min(range.end));
            (start < end).then(|| (number, start - file.range.start, at(start)..at(end)))
        };
        let later = self.files.iter().enumerate().skip(first);
        later.take_while(|(_, file)| file.range.start < range.end).filter_map(piece).collect()
    }

    fn with_file<T>(&mut self, number: usize, act: impl FnOnce(&File) -> io::Result<T>) -> io::Result<T> {
        if self.open.as_ref().is_none_or(|(open, _)| *open != number) {
            let piece = self.files.get(number).ok_or_else(|| io::Error::other("no such file"))?;
            self.open = Some((number, open_file(&piece.path, false)?));
        }
        match &self.open {
            Some((_, file)) => act(file),
            None => Err(io::Error::other("no such file")),
        }
    }

    /// Writes bytes of the content; what is before the first file of a folder goes nowhere.
    pub(super) fn write(&mut self, offset: u64, bytes: &[u8]) -> Result<(), FileError> {
        let end = offset.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        for (number, at, part) in self.pieces(&(offset..end)) {
            let bytes = bytes.get(part).unwrap_or_default();
            self.with_file(number, |file| file.write_all_at(bytes, at)).map_err(|why| self.failed(why))?;
        }
        Ok(())
    }

    /// Tells a download what is here already: chunks that are as their author named them are not moved again. How many bytes they are.
    pub(super) async fn resume<C: Carrier>(&mut self, download: &mut Download<C>, len: u64) -> Result<u64, FileError> {
        if self.is_fresh {
            return Ok(0);
        }
        let chunk_len = u64::try_from(CHUNK_LEN).unwrap_or(u64::MAX);
        let head = self.folder.as_ref().map_or_else(Vec::new, FolderIndex::encode);
        let (mut at, mut had) = (0, 0);
        while at < len {
            // Sealing takes a while: Ctrl-C must come through.
            tokio::task::yield_now().await;
            let end = (at + chunk_len).min(len);
            let mut bytes = vec![0; usize::try_from(end - at).unwrap_or(0)];
            let head = head.get(usize::try_from(at).unwrap_or(usize::MAX)..).unwrap_or_default();
            bytes.iter_mut().zip(head).for_each(|(to, from)| *to = *from);
            for (number, offset, part) in self.pieces(&(at..end)) {
                let Some(part) = bytes.get_mut(part) else { continue };
                self.with_file(number, |file| file.read_exact_at(part, offset)).map_err(|why| self.failed(why))?;
            }
            // What was never written reads as zeros; a chunk of zeros is moved again, which is cheap to be wrong about.
            if bytes.iter().any(|byte| *byte != 0) && download.take(at, &bytes) {
                had += end - at;
            }
            at = end;
        }
        Ok(had)
    }

    /// All has come: it moves to its place.
    pub(super) fn finish(mut self, force: bool) -> Result<PathBuf, FileError> {
        self.open = None;
        for piece in &self.files {
            // What is gone, or has another length, is not what was written.
            let file = open_file(&piece.path, false).map_err(|why| self.failed(why))?;
            let found = file.metadata().map_err(|why| self.failed(why))?;
            if found.len() != piece.range.end - piece.range.start {
                return Err(self.failed(io::Error::other("somebody has changed it meanwhile")));
            }
            if piece.runs {
                let mode = found.permissions().mode();
                // Who may read it may run it.
                let mode = mode | ((mode & 0o444) >> 2);
                file.set_permissions(std::fs::Permissions::from_mode(mode)).map_err(|why| self.failed(why))?;
            }
            file.sync_all().map_err(|why| self.failed(why))?;
        }
        if !is_same(&self.lock, &self.beside).map_err(|why| self.failed(why))? {
            return Err(self.failed(io::Error::other("somebody has put something else there meanwhile")));
        }
        let moved = if self.folder.is_some() {
            check_free(&self.target, false)?;
            // While it came it was its user's alone; now the folder is as any other that he makes.
            let usual = usual_mode(&self.beside).map_err(|why| self.failed(why))?;
            self.lock.set_permissions(usual).and_then(|()| std::fs::rename(&self.beside, &self.target))
        } else if force {
            std::fs::rename(&self.beside, &self.target)
        } else {
            // A link cannot replace what has come there meanwhile.
            std::fs::hard_link(&self.beside, &self.target).and_then(|()| std::fs::remove_file(&self.beside))
        };
        match moved {
            Ok(()) => Ok(self.target),
            Err(why) if why.kind() == io::ErrorKind::AlreadyExists => {
                Err(FileError::Exists(self.target.display().to_string()))
            }
            Err(why) => Err(self.failed(why)),
        }
    }
}

/// One link of this user's, followed by none; `create` for the first time alone.
fn open_file(path: &Path, create: bool) -> io::Result<File> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(create)
        .truncate(false)
        .mode(0o666)
        .custom_flags(flags(OFlags::NOFOLLOW))
        .open(path)?;
    let found = file.metadata()?;
    let is_ours = found.is_file() && found.nlink() == 1 && found.uid() == rustix::process::geteuid().as_raw();
    if is_ours { Ok(file) } else { Err(io::Error::other("something else is in its place")) }
}

fn open_folder(path: &Path) -> io::Result<File> {
    let folder = OpenOptions::new().read(true).custom_flags(flags(OFlags::NOFOLLOW | OFlags::DIRECTORY)).open(path)?;
    let found = folder.metadata()?;
    let is_ours = found.uid() == rustix::process::geteuid().as_raw() && found.permissions().mode() & 0o077 == 0;
    if is_ours { Ok(folder) } else { Err(io::Error::other("something else is in its place")) }
}

/// What a new folder gets here: only making one tells. No published path has a colon.
fn usual_mode(folder: &Path) -> io::Result<std::fs::Permissions> {
    let probe = folder.join("mode:");
    match std::fs::create_dir(&probe) {
        Err(why) if why.kind() != io::ErrorKind::AlreadyExists => return Err(why),
        _ => (),
    }
    let usual = probe.symlink_metadata()?.permissions();
    std::fs::remove_dir(&probe)?;
    Ok(usual)
}

fn flags(flags: OFlags) -> i32 {
    i32::from_ne_bytes(flags.bits().to_ne_bytes())
}

fn locked(file: File, path: &Path) -> Result<File, FileError> {
    let failed = |why| FileError::Part(path.display().to_string(), why);
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(failed(io::Error::other("another process is getting the same"))),
        Err(TryLockError::Error(why)) => Err(failed(why)),
    }
}

fn is_same(held: &File, path: &Path) -> io::Result<bool> {
    let (held, there) = (held.metadata()?, path.symlink_metadata()?);
    Ok((held.dev(), held.ino()) == (there.dev(), there.ino()))
}

/// In the same folder, so that it can be moved; the name follows from root and place: what another link has left, or another command
/// brings to another place, is another one.
fn beside(target: &Path, fingerprint: &[u8; 32]) -> PathBuf {
    let name = target.file_name().unwrap_or_default().as_encoded_bytes();
    let both = blake3(&[fingerprint, name]);
    let both = both.first_chunk::<8>().map(|first| hex::encode(first)).unwrap_or_default();
    target.with_file_name(format!("bauta-{both}.part"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::content::Entry;

    #[test]
    fn a_file_keeps_what_has_come_and_appears_whole() {
        let home = tempfile::tempdir().unwrap();
        let target = home.path().join("a.bin");
        let mut partial = Partial::file(&target, &[7; 32], 10, false).unwrap();
        partial.write(4, b"efghij").unwrap();
        drop(partial);
        assert!(!target.exists());
        let mut partial = Partial::file(&target, &[7; 32], 10, false).unwrap();
        partial.write(0, b"abcd").unwrap();
        std::fs::write(&target, b"came meanwhile").unwrap();
        assert!(matches!(partial.finish(false), Err(FileError::Exists(_))));
        assert!(matches!(Partial::file(&target, &[7; 32], 10, false), Err(FileError::Exists(_))));
        Partial::file(&target, &[7; 32], 10, true).unwrap().finish(true).unwrap();
        assert_eq!(std::fs::read(&target).unwrap(), b"abcdefghij");
        assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 1, "nothing is left beside it");
    }

    fn index() -> FolderIndex {
        let file = |path: &str, len, runs| Entry { path: path.into(), kind: EntryKind::File { len, runs } };
        let empty = Entry { path: "leer/hier".into(), kind: EntryKind::Empty };
        FolderIndex::new(vec![file("b/x", 3, true), empty, file("a", 4, false), file("c", 0, false)]).unwrap()
    }

    #[test]
    fn a_folder_is_written_across_its_files_with_empty_ones_and_those_that_run() {
        let home = tempfile::tempdir().unwrap();
        let target = home.path().join("folder");
        let mut partial = Partial::folder(&target, &[7; 32], index()).unwrap();
        let head = index().encode();
        let all = [&head[..], b"aaaaxxx"].concat();
        for (at, bytes) in [(5, &all[5..]), (0, &all[..5])] {
            partial.write(at, bytes).unwrap();
        }
        assert_eq!(partial.finish(false).unwrap(), target);
        assert_eq!(std::fs::read(target.join("a")).unwrap(), b"aaaa");
        assert_eq!(std::fs::read(target.join("b/x")).unwrap(), b"xxx");
        assert_eq!(std::fs::read(target.join("c")).unwrap(), b"");
        assert!(target.join("leer/hier").is_dir());
        let plain = home.path().join("plain");
        std::fs::create_dir(&plain).unwrap();
        let mode = |path: &Path| path.metadata().unwrap().permissions().mode();
        assert_eq!(mode(&target), mode(&plain), "no wider and no narrower than what its user makes");
        assert_eq!(std::fs::read_dir(&target).unwrap().count(), 4);
        let runs = |path: &str| target.join(path).metadata().unwrap().permissions().mode() & 0o100 != 0;
        assert!(runs("b/x") && !runs("a"));
        assert!(matches!(Partial::folder(&target, &[7; 32], index()), Err(FileError::Exists(_))), "never replaced");
    }

    #[test]
    fn links_that_somebody_has_put_in_the_way_are_not_followed() {
        let home = tempfile::tempdir().unwrap();
        let (target, elsewhere) = (home.path().join("folder"), home.path().join("elsewhere"));
        std::fs::create_dir(&elsewhere).unwrap();
        let beside = beside(&target, &[7; 32]);
        std::fs::DirBuilder::new().mode(0o700).create(&beside).unwrap();
        std::os::unix::fs::symlink(&elsewhere, beside.join("b")).unwrap();
        assert!(Partial::folder(&target, &[7; 32], index()).is_err());
        std::fs::remove_file(beside.join("b")).unwrap();
        std::os::unix::fs::symlink(elsewhere.join("x"), beside.join("a")).unwrap();
        assert!(Partial::folder(&target, &[7; 32], index()).is_err());
        assert_eq!(std::fs::read_dir(&elsewhere).unwrap().count(), 0);
        // Nor a folder into which others can write.
        std::fs::remove_file(beside.join("a")).unwrap();
        std::fs::set_permissions(&beside, std::fs::Permissions::from_mode(0o770)).unwrap();
        assert!(Partial::folder(&target, &[7; 32], index()).is_err());
    }

    #[test]
    fn two_at_once_are_refused_and_what_was_put_in_its_place_meanwhile_is_not_moved() {
        let home = tempfile::tempdir().unwrap();
        let target = home.path().join("a");
        let one = Partial::file(&target, &[7; 32], 4, false).unwrap();
        assert!(matches!(Partial::file(&target, &[7; 32], 4, false), Err(FileError::Part(..))));
        let mut other = Partial::file(&target, &[8; 32], 4, false).unwrap();
        other.write(0, b"good").unwrap();
        let beside = one.beside.clone();
        std::fs::remove_file(&beside).unwrap();
        std::fs::write(&beside, b"evil").unwrap();
        assert!(matches!(one.finish(false), Err(FileError::Part(..))), "another file");
        std::fs::remove_file(&beside).unwrap();
        let gone = Partial::file(&target, &[7; 32], 4, false).unwrap();
        std::fs::remove_file(&beside).unwrap();
        assert!(matches!(gone.finish(false), Err(FileError::Part(..))), "none at all");
        other.finish(false).unwrap();
        assert_eq!(std::fs::read(&target).unwrap(), b"good");
    }
}
