//! What is published: a file, a folder or standard input, as one stream whose length is known where it can be.

use std::fs::Metadata;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::SystemTime;

use tokio::io::{AsyncRead, AsyncReadExt, ReadBuf};

use super::Usage;
use super::files::FileError;
use crate::client::Source;
use crate::content::{ContentKind, Entry, EntryKind, FileName, FolderIndex, NameRefused, check_path};
use crate::limits::{FILE_LEN_MAX, FOLDER_DEPTH_MAX, FOLDER_ENTRIES_MAX};

/// What is published.
pub(super) type Input = Source<Box<dyn AsyncRead + Unpin + Send>>;

/// Opens what a path names; `-` is standard input, which is published as `stdin` unless a name is given.
pub(super) fn open(path: &Path, name: Option<&str>) -> Result<Input, FileError> {
    let shown = path.display().to_string();
    if path == Path::new("-") {
        let name = publishable(&shown, Some(name.unwrap_or("stdin")))?;
        return Ok(Source { name, kind: ContentKind::File, bytes: Box::new(tokio::io::stdin()), len: None });
    }
    // A pipe would not even open before somebody writes to it.
    let found = std::fs::metadata(path).map_err(|why| FileError::Read(shown.clone(), why))?;
    let own_name = || path.file_name().and_then(|name| name.to_str()).map(str::to_owned);
    // Of `.` and `..` the name is only known once they are followed.
    let followed = || path.canonicalize().ok()?.file_name()?.to_str().map(str::to_owned);
    let name = name.map(str::to_owned).or_else(own_name).or_else(followed);
    let name = publishable(&shown, name.as_deref())?;
    let (kind, head, files) = if found.is_dir() {
        let (index, files) = walk(path)?;
        (ContentKind::Folder, index.encode(), files)
    } else if found.is_file() {
        // What cannot be read is told before anything is sent.
        let probed = std::fs::File::open(path).and_then(|mut file| io::Read::read(&mut file, &mut [0]));
        probed.map_err(|why| FileError::Read(shown.clone(), why))?;
        (ContentKind::File, Vec::new(), vec![Expected::new(path.to_owned(), &found)])
    } else {
        return Err(FileError::NoFile(shown, "is no regular file: a device or pipe may never end"));
    };
    let len = files.iter().map(|file| file.len).sum::<u64>() + u64::try_from(head.len()).unwrap_or(u64::MAX);
    if len > FILE_LEN_MAX {
        return Err(FileError::TooLarge(shown, len));
    }
    let bytes = Box::new(FileRun { head: io::Cursor::new(head), files: files.into_iter(), open: None });
    Ok(Source { name, kind, bytes, len: Some(len) })
}

/// Standard input of which nothing comes is more likely a mistake than an empty file.
pub(super) async fn not_empty(mut input: Input) -> anyhow::Result<Input> {
    let mut first = [0];
    if input.bytes.read(&mut first).await? == 0 {
        return Err(Usage("nothing came on standard input; name a file (an empty one is fine)".into()).into());
    }
    input.bytes = Box::new(io::Cursor::new(first).chain(input.bytes));
    Ok(input)
}

/// A name that is no text would come back as another one.
fn publishable(shown: &str, name: Option<&str>) -> Result<FileName, FileError> {
    name.ok_or(NameRefused::Characters).and_then(FileName::new).map_err(|why| FileError::Name(shown.to_owned(), why))
}

/// A file as it was when the publication began.
struct Expected {
    path: PathBuf,
    len: u64,
    modified: Option<SystemTime>,
}

impl Expected {
    fn new(path: PathBuf, found: &Metadata) -> Self {
        Self { path, len: found.len(), modified: found.modified().ok() }
    }
}

/// Everything below a folder. What is neither file nor folder is refused by name, links too: where they lead is another folder's
/// business, and what they are would be lost.
fn walk(folder: &Path) -> Result<(FolderIndex, Vec<Expected>), FileError> {
    let (mut entries, mut files) = (Vec::new(), Vec::new());
    let mut waiting = vec![(folder.to_owned(), String::new(), 0)];
    while let Some((at, prefix, depth)) = waiting.pop() {
        let shown = at.display().to_string();
        let failed = |why| FileError::Read(shown.clone(), why);
        if depth > FOLDER_DEPTH_MAX {
            return Err(FileError::NoFile(shown, "is deeper in folders than a published one may be"));
        }
        let mut is_empty = true;
        for found in std::fs::read_dir(&at).map_err(failed)? {
            let found = found.map_err(failed)?;
            is_empty = false;
            let (path, kind) = (found.path(), found.file_type().map_err(failed)?);
            let shown = path.display().to_string();
            let Some(name) = found.file_name().to_str().map(str::to_owned) else {
                return Err(FileError::Name(shown, NameRefused::Characters));
            };
            let below = if prefix.is_empty() { name } else { format!("{prefix}/{name}") };
            check_path(&below).map_err(FileError::Folder)?;
            if kind.is_dir() {
                waiting.push((path, below, depth + 1));
            } else if kind.is_file() {
                let found = found.metadata().map_err(failed)?;
                let runs = std::os::unix::fs::PermissionsExt::mode(&found.permissions()) & 0o100 != 0;
                entries.push(Entry { path: below.clone(), kind: EntryKind::File { len: found.len(), runs } });
                files.push((below, Expected::new(path, &found)));
            } else {
                return Err(FileError::NoFile(
                    shown,
                    "is neither file nor folder: a published folder has nothing else",
                ));
            }
            if entries.len() + waiting.len() > FOLDER_ENTRIES_MAX {
                return Err(FileError::Folder(crate::content::FolderRefused::TooMany));
            }
        }
        if is_empty && depth > 0 {
            entries.push(Entry { path: prefix, kind: EntryKind::Empty });
        }
    }
    let index = FolderIndex::new(entries).map_err(FileError::Folder)?;
    files.sort_by(|(one, _), (other, _)| one.cmp(other));
    Ok((index, files.into_iter().map(|(_, file)| file).collect()))
}

/// Bytes before the files, then the files one after the other. One that is not as it was found is an error.
struct FileRun {
    head: io::Cursor<Vec<u8>>,
    files: std::vec::IntoIter<Expected>,
    open: Option<OpenFile>,
}

struct OpenFile {
    expected: Expected,
    file: tokio::fs::File,
    left: u64,
}

impl OpenFile {
    fn open(expected: Expected) -> io::Result<Self> {
        let file = std::fs::File::open(&expected.path).map_err(|why| unreadable(&expected, why))?;
        let found = file.metadata().map_err(|why| unreadable(&expected, why))?;
        if !is_as_expected(&expected, &found) {
            return Err(changed(&expected));
        }
        let left = expected.len;
        Ok(Self { expected, file: tokio::fs::File::from_std(file), left })
    }
}

fn is_as_expected(expected: &Expected, found: &Metadata) -> bool {
    found.is_file() && found.len() == expected.len && found.modified().ok() == expected.modified
}

fn unreadable(expected: &Expected, why: io::Error) -> io::Error {
    io::Error::other(FileError::Read(expected.path.display().to_string(), why))
}

fn changed(expected: &Expected) -> io::Error {
    io::Error::other(FileError::Changed(expected.path.display().to_string()))
}

impl AsyncRead for FileRun {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        loop {
            if Pin::new(&mut self.head).poll_read(context, buf).is_pending() || buf.filled().len() > before {
                return Poll::Ready(Ok(()));
            }
            let Some(open) = &mut self.open else {
                let Some(next) = self.files.next() else { return Poll::Ready(Ok(())) };
                self.open = Some(OpenFile::open(next)?);
                continue;
            };
            let polled = std::task::ready!(Pin::new(&mut open.file).poll_read(context, buf));
            polled.map_err(|why| unreadable(&open.expected, why))?;
            let read = u64::try_from(buf.filled().len() - before).unwrap_or(u64::MAX);
            open.left = open.left.checked_sub(read).ok_or_else(|| changed(&open.expected))?;
            if open.left > 0 {
                return if read == 0 { Poll::Ready(Err(changed(&open.expected))) } else { Poll::Ready(Ok(())) };
            }
            // What was written to it meanwhile is of two times.
            let now = std::fs::metadata(&open.expected.path);
            if !now.is_ok_and(|found| is_as_expected(&open.expected, &found)) {
                return Poll::Ready(Err(changed(&open.expected)));
            }
            self.open = None;
            if read > 0 {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_readable_file_of_a_fit_size_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let large = folder.path().join("large");
        std::fs::File::create(&large).unwrap().set_len(FILE_LEN_MAX + 1).unwrap();
        assert!(matches!(open(&large, None), Err(FileError::TooLarge(..))));
        assert!(matches!(open(Path::new("/dev/zero"), None), Err(FileError::NoFile(..))));
        assert!(matches!(open(&folder.path().join("none"), None), Err(FileError::Read(..))));
        let path = folder.path().join("fine");
        std::fs::write(&path, b"1").unwrap();
        assert_eq!(open(&path, None).unwrap().name.as_str(), "fine");
        assert_eq!(open(&path, Some("other")).unwrap().name.as_str(), "other");
        assert!(matches!(open(&path, Some("a/b")), Err(FileError::Name(..))));
    }

    async fn all_of(mut input: Input) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        input.bytes.read_to_end(&mut bytes).await.map(|_| bytes)
    }

    #[tokio::test]
    async fn a_folder_is_its_index_and_its_files_in_order() {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join("f");
        std::fs::create_dir_all(folder.join("b/empty")).unwrap();
        for (path, bytes) in [("z", "zz"), ("b/one", "1"), ("a", "")] {
            std::fs::write(folder.join(path), bytes).unwrap();
        }
        let input = open(&folder, None).unwrap();
        assert_eq!((input.name.as_str(), input.kind), ("f", ContentKind::Folder));
        let len = input.len.unwrap();
        let bytes = all_of(input).await.unwrap();
        assert_eq!(u64::try_from(bytes.len()).unwrap(), len);
        let index = usize::try_from(FolderIndex::index_len(&bytes[..4]).unwrap()).unwrap();
        let found = FolderIndex::decode(&bytes[4..4 + index], len).unwrap();
        let paths: Vec<&str> = found.entries().iter().map(|entry| entry.path.as_str()).collect();
        assert_eq!(paths, ["a", "b/empty", "b/one", "z"]);
        assert_eq!(&bytes[4 + index..], b"1zz");
        assert_eq!(open(&folder.join("."), None).unwrap().name.as_str(), "f");
    }

    // [CONT-W-019]
    #[tokio::test]
    async fn what_changes_while_it_is_read_and_what_is_no_file_in_a_folder_is_told() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("a");
        std::fs::write(&path, b"1234").unwrap();
        for bytes in [&b"123"[..], b"12345"] {
            std::fs::write(&path, b"1234").unwrap();
            let input = open(&path, None).unwrap();
            std::fs::write(&path, bytes).unwrap();
            let error = all_of(input).await.unwrap_err().to_string();
            assert!(error.contains("changed while it was read"), "{error}");
        }
        std::os::unix::fs::symlink("/etc/passwd", home.path().join("link")).unwrap();
        assert!(matches!(open(home.path(), None), Err(FileError::NoFile(..))));
        std::fs::remove_file(home.path().join("link")).unwrap();
        std::fs::write(home.path().join("A"), b"").unwrap();
        assert!(matches!(open(home.path(), None), Err(FileError::Folder(_))), "two names for some systems one");
    }
}
