//! What is got, while it comes: a file or folder beside its place, which keeps what has come and moves there once all of it has. What an
//! earlier attempt has left is checked, chunk by chunk, before it counts.

use std::fs::{File, OpenOptions};
use std::io;
use std::ops::Range;
use std::os::unix::fs::{FileExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::files::{FileError, check_free};
use crate::client::{Carrier, Download};
use crate::content::{EntryKind, FolderIndex};
use crate::limits::CHUNK_LEN;

/// Behind the name of what is not whole yet.
const END: &str = ".bauta-part";

/// A file or folder that is not whole yet.
pub(super) struct Partial {
    target: PathBuf,
    beside: PathBuf,
    /// Where each file stands in the content.
    files: Vec<(Range<u64>, PathBuf)>,
    folder: Option<FolderIndex>,
    /// The one that was used last.
    open: Option<(usize, File)>,
}

impl Partial {
    /// For a file of so many bytes.
    pub(super) fn file(target: &Path, len: u64, force: bool) -> Result<Self, FileError> {
        check_free(target, force)?;
        let beside = beside(target);
        let partial =
            Self { target: target.to_owned(), files: vec![(0..len, beside.clone())], beside, folder: None, open: None };
        partial.make(0, len)?;
        Ok(partial)
    }

    /// For a folder. One that is there is never replaced.
    pub(super) fn folder(target: &Path, index: FolderIndex) -> Result<Self, FileError> {
        check_free(target, false)?;
        let beside = beside(target);
        // Every path was checked with the index: it leads below.
        let files = index.files().map(|(path, range)| (range, beside.join(path))).collect();
        let mut partial = Self { target: target.to_owned(), beside, files, folder: Some(index), open: None };
        partial.make_folders()?;
        for number in 0..partial.files.len() {
            let len = partial.files.get(number).map_or(0, |(range, _)| range.end - range.start);
            partial.make(number, len)?;
        }
        Ok(partial)
    }

    fn failed(&self, why: io::Error) -> FileError {
        FileError::Part(self.beside.display().to_string(), why)
    }

    fn make_folders(&mut self) -> Result<(), FileError> {
        let refused = |error| self.failed(error);
        if self.beside.symlink_metadata().is_ok_and(|found| !found.is_dir()) {
            return Err(FileError::Exists(self.beside.display().to_string()));
        }
        std::fs::create_dir_all(&self.beside).map_err(refused)?;
        let entries = self.folder.iter().flat_map(FolderIndex::entries);
        for entry in entries {
            let path = self.beside.join(&entry.path);
            let folder = if entry.kind == EntryKind::Empty { Some(&*path) } else { path.parent() };
            if let Some(folder) = folder {
                self.refuse_links(folder)?;
                std::fs::create_dir_all(folder).map_err(refused)?;
            }
        }
        Ok(())
    }

    /// Nothing on the way may lead elsewhere: somebody else could have put it there.
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
    fn make(&self, number: usize, len: u64) -> Result<(), FileError> {
        let file = self.open_file(number).map_err(|why| self.failed(why))?;
        let found = file.metadata().map_err(|why| self.failed(why))?.len();
        if found == len {
            return Ok(());
        }
        file.set_len(len).map_err(|why| {
            if let (0, Some((_, path))) = (found, self.files.get(number)) {
                // Nothing has come yet that could be kept.
                let _ = std::fs::remove_file(path);
            }
            self.failed(why)
        })
    }

    fn open_file(&self, number: usize) -> io::Result<File> {
        let (_, path) = self.files.get(number).ok_or_else(|| io::Error::other("no such file"))?;
        if path.symlink_metadata().is_ok_and(|found| !found.is_file()) {
            return Err(io::Error::other("something else is in its place"));
        }
        OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o666).open(path)
    }

    /// Calls for each piece of a range of the content: file, offset in it, offset in the range, length.
    fn pieces(&self, range: &Range<u64>) -> Vec<(usize, u64, Range<usize>)> {
        let first = self.files.partition_point(|(file, _)| file.end <= range.start);
        let at = |offset: u64| usize::try_from(offset - range.start).unwrap_or(usize::MAX);
        let piece = |(number, (file, _)): (usize, &(Range<u64>, PathBuf))| {
            let (start, end) = (file.start.max(range.start), file.end.min(range.end));
            (start < end).then(|| (number, start - file.start, at(start)..at(end)))
        };
        let later = self.files.iter().enumerate().skip(first);
        later.take_while(|(_, (file, _))| file.start < range.end).filter_map(piece).collect()
    }

    fn with_file<T>(&mut self, number: usize, act: impl FnOnce(&File) -> io::Result<T>) -> io::Result<T> {
        if self.open.as_ref().is_none_or(|(open, _)| *open != number) {
            self.open = Some((number, self.open_file(number)?));
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
    pub(super) fn resume<C: Carrier>(&mut self, download: &mut Download<C>, len: u64) -> Result<u64, FileError> {
        let chunk_len = u64::try_from(CHUNK_LEN).unwrap_or(u64::MAX);
        let head = self.folder.as_ref().map_or_else(Vec::new, FolderIndex::encode);
        let (mut at, mut had) = (0, 0);
        while at < len {
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
        for (number, (_, path)) in self.files.iter().enumerate() {
            let file = self.open_file(number).map_err(|why| self.failed(why))?;
            if self.runs(path) {
                let mode = file.metadata().map_err(|why| self.failed(why))?.permissions().mode();
                // Who may read it may run it.
                let mode = mode | ((mode & 0o444) >> 2);
                file.set_permissions(std::fs::Permissions::from_mode(mode)).map_err(|why| self.failed(why))?;
            }
            file.sync_all().map_err(|why| self.failed(why))?;
        }
        let moved = if self.folder.is_some() {
            check_free(&self.target, false)?;
            std::fs::rename(&self.beside, &self.target)
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

    fn runs(&self, path: &Path) -> bool {
        let entries = self.folder.iter().flat_map(FolderIndex::entries);
        let below = path.strip_prefix(&self.beside).ok().and_then(Path::to_str);
        let mut its = entries.filter(|entry| Some(entry.path.as_str()) == below);
        its.any(|entry| matches!(entry.kind, EntryKind::File { runs: true, .. }))
    }
}

fn beside(target: &Path) -> PathBuf {
    let mut name = target.file_name().unwrap_or_default().to_owned();
    name.push(END);
    target.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::content::Entry;

    #[test]
    fn a_file_keeps_what_has_come_and_appears_whole() {
        let home = tempfile::tempdir().unwrap();
        let target = home.path().join("a.bin");
        let mut partial = Partial::file(&target, 10, false).unwrap();
        partial.write(4, b"efghij").unwrap();
        drop(partial);
        assert!(!target.exists());
        let mut partial = Partial::file(&target, 10, false).unwrap();
        partial.write(0, b"abcd").unwrap();
        std::fs::write(&target, b"came meanwhile").unwrap();
        assert!(matches!(partial.finish(false), Err(FileError::Exists(_))));
        assert!(matches!(Partial::file(&target, 10, false), Err(FileError::Exists(_))));
        Partial::file(&target, 10, true).unwrap().finish(true).unwrap();
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
        let mut partial = Partial::folder(&target, index()).unwrap();
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
        let runs = |path: &str| target.join(path).metadata().unwrap().permissions().mode() & 0o100 != 0;
        assert!(runs("b/x") && !runs("a"));
        assert!(matches!(Partial::folder(&target, index()), Err(FileError::Exists(_))), "never replaced");
    }

    #[test]
    fn links_that_somebody_has_put_in_the_way_are_not_followed() {
        let home = tempfile::tempdir().unwrap();
        let (target, elsewhere) = (home.path().join("folder"), home.path().join("elsewhere"));
        std::fs::create_dir(&elsewhere).unwrap();
        let beside = home.path().join("folder.bauta-part");
        std::fs::create_dir(&beside).unwrap();
        std::os::unix::fs::symlink(&elsewhere, beside.join("b")).unwrap();
        assert!(Partial::folder(&target, index()).is_err());
        std::fs::remove_file(beside.join("b")).unwrap();
        std::os::unix::fs::symlink(elsewhere.join("x"), beside.join("a")).unwrap();
        assert!(Partial::folder(&target, index()).is_err());
        assert_eq!(std::fs::read_dir(&elsewhere).unwrap().count(), 0);
    }
}
