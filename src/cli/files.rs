//! Where files go, and why they do not: written whole or not at all.

use std::fs::Permissions;
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::content::{FileName, FolderRefused, NameRefused};
use crate::limits::FILE_LEN_MAX;

/// Why a file is not read or written.
#[derive(Debug, thiserror::Error)]
pub(super) enum FileError {
    /// It cannot be read.
    #[error("{0}: cannot be read: {1}")]
    Read(String, io::Error),
    /// There is no such folder to write into.
    #[error("{0}: there is no such folder; make it first, or name another place")]
    NoFolder(String),
    /// A folder, a device, a pipe.
    #[error("{0}: {1}")]
    NoFile(String, &'static str),
    /// Too large.
    #[error("{0}: {1} bytes; a file or folder has at most {FILE_LEN_MAX}")]
    TooLarge(String, u64),
    /// What is in the folder cannot be published.
    #[error(transparent)]
    Folder(FolderRefused),
    /// Somebody wrote to it meanwhile.
    #[error("{0}: changed while it was read; nothing was published, the next attempt goes on with what is there then")]
    Changed(String),
    /// The name cannot be published.
    #[error("{0}: {1}")]
    Name(String, NameRefused),
    /// The published name would become a hidden file, or look like an option.
    #[error(
        "it was published as {0}: a name that hides a file or looks like an option; say where it goes with -o FILE"
    )]
    Hidden(String),
    /// It is there already.
    #[error("{0}: is there already; --force replaces it, -o names another")]
    Exists(String),
    /// It is there already, and is never replaced.
    #[error("{0}: is there already, and is not replaced; name another")]
    Stays(String),
    /// What has come cannot be kept.
    #[error("{0}: cannot be written: {1}; what has come so far stays there")]
    Part(String, io::Error),
    /// It cannot be written.
    #[error("{0}: cannot be written: {1}; nothing is left of it")]
    Write(String, io::Error),
}

impl FileError {
    /// Whether the user named something that does not do.
    pub(super) const fn is_usage(&self) -> bool {
        !matches!(self, Self::Changed(_) | Self::Part(..) | Self::Write(..))
    }
}

/// Where something that was got goes.
pub(super) enum Place {
    /// Standard output.
    Stdout,
    /// A file, whether or not it is there.
    File(PathBuf),
    /// A folder, under the published name.
    Folder(PathBuf),
}

impl Place {
    /// What `-o` says; the present folder without it.
    pub(super) fn of(output: Option<&Path>) -> Self {
        match output {
            None => Self::Folder(PathBuf::new()),
            Some(path) if path == Path::new("-") => Self::Stdout,
            Some(path) if path.is_dir() => Self::Folder(path.to_owned()),
            Some(path) => Self::File(path.to_owned()),
        }
    }

    /// Refuses at once what would be refused in the end.
    pub(super) fn check(&self, force: bool) -> Result<(), FileError> {
        match self {
            Self::File(path) => folder_of(path).and_then(|_| check_free(path, force)),
            Self::Stdout | Self::Folder(_) => Ok(()),
        }
    }

    /// The path under which content of this name goes; `None` for standard output. Whoever published it chose the name, so it
    /// must not become a file that programs read by themselves.
    pub(super) fn path(&self, name: &FileName) -> Result<Option<PathBuf>, FileError> {
        match self {
            Self::Stdout => Ok(None),
            Self::File(path) => Ok(Some(path.clone())),
            Self::Folder(_) if name.as_str().starts_with(['.', '-']) => {
                Err(FileError::Hidden(name.as_str().to_owned()))
            }
            Self::Folder(folder) => Ok(Some(folder.join(name.as_str()))),
        }
    }
}

/// Such as /dev/null or a pipe: written to, never replaced.
pub(super) fn is_device(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|found| !found.is_file() && !found.is_dir())
}

/// Where a file will stand.
fn folder_of(path: &Path) -> Result<&Path, FileError> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if folder.is_dir() { Ok(folder) } else { Err(FileError::NoFolder(folder.display().to_string())) }
}

pub(super) fn check_free(path: &Path, force: bool) -> Result<(), FileError> {
    let is_there = path.symlink_metadata().is_ok() && !is_device(path);
    if is_there && !force { Err(FileError::Exists(path.display().to_string())) } else { Ok(()) }
}

/// Writes beside the place, then moves: there is the whole file or none. An existing one is replaced only by force.
pub(super) fn write(path: &Path, content: &[u8], force: bool) -> Result<(), FileError> {
    let shown = path.display().to_string();
    let failed = |why| FileError::Write(shown.clone(), why);
    if is_device(path) {
        let opened = std::fs::OpenOptions::new().write(true).open(path);
        return opened.and_then(|mut device| device.write_all(content)).map_err(failed);
    }
    check_free(path, force)?;
    let folder = folder_of(path)?;
    let mut beside = tempfile::Builder::new();
    beside.prefix(".bauta-").permissions(Permissions::from_mode(0o666));
    // Its error would name a file that nobody asked for.
    let mut file = beside.tempfile_in(folder).map_err(|why| failed(why.kind().into()))?;
    file.write_all(content).and_then(|()| file.as_file().sync_all()).map_err(failed)?;
    let moved = if force { file.persist(path) } else { file.persist_noclobber(path) };
    moved.map(drop).map_err(|refused| match refused.error.kind() {
        io::ErrorKind::AlreadyExists => FileError::Exists(shown.clone()),
        _ => failed(refused.error),
    })
}

/// Whether nothing is there, and a folder for it is, of a place whose file no option replaces.
pub(super) fn check_new(path: &Path) -> Result<(), FileError> {
    folder_of(path)?;
    check_free(path, false).map_err(|_| FileError::Stays(path.display().to_string()))
}

/// A new file that its owner alone can read.
pub(super) fn write_secret(path: &Path, content: &[u8]) -> Result<(), FileError> {
    check_new(path)?;
    let shown = path.display().to_string();
    let mut open = std::fs::OpenOptions::new();
    let file = open.write(true).create_new(true).mode(0o600).open(path);
    let mut file = file.map_err(|why| FileError::Write(shown.clone(), why))?;
    file.write_all(content).and_then(|()| file.sync_all()).map_err(|why| {
        // A part of a secret is of no use to its owner.
        let _ = std::fs::remove_file(path);
        FileError::Write(shown, why)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_written_whole_and_never_over_another_but_by_force() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        write(&path, b"one", false).unwrap();
        assert!(matches!(write(&path, b"two", false), Err(FileError::Exists(_))));
        assert_eq!(std::fs::read(&path).unwrap(), b"one");
        write(&path, b"two", true).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"two");
        for place in ["none/a", "a/b"] {
            let path = folder.path().join(place);
            assert!(matches!(write(&path, b"", false), Err(FileError::NoFolder(_))), "{place}");
            assert!(matches!(Place::File(path.clone()).check(true), Err(FileError::NoFolder(_))), "{place}");
            assert!(matches!(check_new(&path), Err(FileError::NoFolder(_))), "{place}");
        }
        write(Path::new("/dev/null"), b"x", false).unwrap();
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside it");
    }

    #[test]
    fn a_publisher_chooses_no_hidden_file() {
        let folder = Place::Folder(PathBuf::new());
        for name in [".bashrc", "-rf", "..."] {
            assert!(matches!(folder.path(&FileName::new(name).unwrap()), Err(FileError::Hidden(_))), "{name}");
        }
        assert_eq!(folder.path(&FileName::new("a.txt").unwrap()).unwrap(), Some(PathBuf::from("a.txt")));
        let named = Place::File(PathBuf::from(".here"));
        assert!(named.path(&FileName::new(".bashrc").unwrap()).unwrap().is_some_and(|path| path.ends_with(".here")));
    }

    #[test]
    fn a_link_that_leads_nowhere_is_there_all_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("link");
        std::os::unix::fs::symlink("/nonexistent/elsewhere", &path).unwrap();
        assert!(matches!(write(&path, b"", false), Err(FileError::Exists(_))));
    }
}
