//! A file with the keys of links, for looking at a test network's traffic. It undoes the privacy of that network: spec/link.md §8.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::net::SocketAddr;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use rustix::fs::OFlags;
use zeroize::Zeroizing;

use super::tap::Tap;
use crate::crypto::noise_ik::DirectionKey;
use crate::limits::FRAME_LEN;
use crate::link::ExposedKeys;
use crate::wire::cell::{CircuitId, Command};
use crate::wire::hex;

/// How a line of the file begins.
const LINE: &str = "bauta-link-1";

/// The file; lines are appended.
pub struct KeyLog(Mutex<Lines<File>>);

/// Where lines go, until one does not fit.
struct Lines<W>(Option<W>);

impl KeyLog {
    /// Opens the file to append, or makes it: it must be a regular file of this user and of mode 0600 that has no other name, under
    /// which others could read it.
    ///
    /// # Errors
    /// When it cannot be opened, or is anything else: a link, a pipe (nobody is waited for), a device.
    pub fn open(path: &Path) -> io::Result<Self> {
        // Opening a pipe waits for its reader, and opening a terminal may take it over, unless they are told not to.
        let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
        let flags = i32::try_from(flags.bits()).map_err(io::Error::other)?;
        let file = OpenOptions::new().append(true).create(true).mode(0o600).custom_flags(flags).open(path)?;
        let found = file.metadata()?;
        let is_ours = found.uid() == rustix::process::geteuid().as_raw();
        if !found.is_file() || !is_ours || found.nlink() != 1 || found.mode() & 0o7777 != 0o600 {
            let why =
                "not a regular file of this user alone (mode 0600, one name): keys of links are not written there";
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, why));
        }
        Ok(Self(Mutex::new(Lines(Some(file)))))
    }
}

impl Tap for KeyLog {
    fn frame(&self, _: SocketAddr, _: SocketAddr, _: bool, _: &[u8; FRAME_LEN]) {}

    fn cell(&self, _: SocketAddr, _: SocketAddr, _: bool, _: Command, _: CircuitId) {}

    fn logs_keys(&self) -> bool {
        true
    }

    fn keys(&self, exposed: &ExposedKeys) {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = lines.append(&line(exposed)) {
            tracing::warn!(%error, "the key log ends here: keys of this link, and of all later ones, are not in it");
        }
    }
}

impl<W: Write> Lines<W> {
    /// Appends a whole line in one write, so that lines of several processes do not mix. What comes after one that failed is thrown
    /// away: behind half a line it would be read as a part of it.
    fn append(&mut self, line: &str) -> io::Result<()> {
        let Some(file) = &mut self.0 else { return Ok(()) };
        let written = loop {
            match file.write(line.as_bytes()) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => (),
                written => break written,
            }
        };
        let whole = match written {
            Ok(len) if len == line.len() => return Ok(()),
            Ok(_) => Err(io::Error::new(io::ErrorKind::WriteZero, "half a line was written")),
            Err(error) => Err(error),
        };
        self.0 = None;
        whole
    }
}

/// The line of one link: its ephemeral key, then for the initiator and for the responder from which message on, and the key.
fn line(exposed: &ExposedKeys) -> Zeroizing<String> {
    let mut line = Zeroizing::new(String::with_capacity(LINE.len() + 3 * 65 + 2 * 21 + 1));
    line.push_str(LINE);
    line.push(' ');
    line.push_str(&hex::encode(&exposed.ephemeral));
    for DirectionKey { from, key } in [&exposed.keys.initiator, &exposed.keys.responder] {
        line.push_str(&format!(" {from} "));
        line.push_str(&Zeroizing::new(hex::encode(&**key)));
    }
    line.push('\n');
    line
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::io::Read;
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::crypto::noise_ik::LinkKeys;

    fn exposed(byte: u8) -> ExposedKeys {
        let key = |from, byte| DirectionKey { from, key: Zeroizing::new([byte; 32]) };
        ExposedKeys { ephemeral: [byte; 32], keys: LinkKeys { initiator: key(0, 2), responder: key(1 << 20, 3) } }
    }

    #[test]
    fn a_line_has_both_keys_and_since_when_they_hold_and_is_appended_to_a_file_of_its_user_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys");
        for byte in [1, 4] {
            KeyLog::open(&path).unwrap().keys(&exposed(byte));
        }
        let line = |byte: &str| {
            format!("bauta-link-1 {} 0 {} 1048576 {}\n", byte.repeat(32), "02".repeat(32), "03".repeat(32))
        };
        assert_eq!(std::fs::read_to_string(&path).unwrap(), line("01") + &line("04"));
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
    }

    // [LINK-W-053]
    #[test]
    fn a_file_that_others_can_read_and_a_link_to_one_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys");
        std::fs::write(&path, b"").unwrap();
        for mode in [0o644, 0o640, 0o602, 0o700, 0o4600] {
            std::fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            assert!(KeyLog::open(&path).is_err(), "{mode:o}");
        }
        std::fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        assert!(KeyLog::open(&path).is_ok());
        std::os::unix::fs::symlink(&path, folder.path().join("link")).unwrap();
        assert!(KeyLog::open(&folder.path().join("link")).is_err());
        assert!(KeyLog::open(folder.path()).is_err());
        // Under another name somebody else may read it: whose that name is cannot be known.
        std::fs::hard_link(&path, folder.path().join("other")).unwrap();
        assert!(KeyLog::open(&path).is_err());
        std::fs::remove_file(folder.path().join("other")).unwrap();
        assert!(KeyLog::open(&path).is_ok());
    }

    // [LINK-W-053]
    #[test]
    fn a_pipe_with_and_without_a_reader_and_a_device_are_refused_and_nobody_is_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg("-m600").arg(&path).status().unwrap().success());
        assert!(KeyLog::open(&path).is_err(), "nobody reads");
        let nonblock = i32::try_from(OFlags::NONBLOCK.bits()).unwrap();
        let mut reader = OpenOptions::new().read(true).custom_flags(nonblock).open(&path).unwrap();
        assert!(KeyLog::open(&path).is_err(), "somebody reads");
        assert_eq!(reader.read(&mut [0; 1]).unwrap(), 0, "nothing was written");
        assert!(KeyLog::open(Path::new("/dev/null")).is_err());
    }

    /// A disk that takes so many bytes of each write; of one of which it takes none it is full, and `None` interrupts.
    struct Disk {
        takes: Vec<Option<usize>>,
        bytes: Vec<u8>,
    }

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            match self.takes.remove(0) {
                None => Err(io::ErrorKind::Interrupted.into()),
                Some(0) => Err(io::ErrorKind::StorageFull.into()),
                Some(room) => {
                    let len = room.min(bytes.len());
                    self.bytes.extend_from_slice(&bytes[..len]);
                    Ok(len)
                }
            }
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    // [LINK-W-054]
    #[test]
    fn behind_a_line_that_did_not_fit_nothing_more_is_written_and_it_is_told_once() {
        for (takes, told, kept) in [
            (vec![Some(99), None, Some(99), Some(99)], [true, true, true], "first\nsecond\nthird\n"),
            (vec![Some(99), Some(3), Some(99)], [true, false, true], "first\nsec"),
            (vec![Some(99), Some(0), Some(99)], [true, false, true], "first\n"),
        ] {
            let mut disk = Disk { takes, bytes: Vec::new() };
            let mut lines = Lines(Some(&mut disk));
            assert_eq!(["first\n", "second\n", "third\n"].map(|line| lines.append(line).is_ok()), told);
            assert_eq!(disk.bytes, kept.as_bytes());
        }
    }
}
