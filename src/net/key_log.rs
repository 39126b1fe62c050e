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
pub struct KeyLog(Mutex<File>);

impl KeyLog {
    /// Opens the file to append, or makes it: it must be a regular file of this user that nobody else can read.
    ///
    /// # Errors
    /// When it cannot be opened, or others could read it.
    pub fn open(path: &Path) -> io::Result<Self> {
        let no_follow = i32::try_from(OFlags::NOFOLLOW.bits()).map_err(io::Error::other)?;
        let file = OpenOptions::new().append(true).create(true).mode(0o600).custom_flags(no_follow).open(path)?;
        let found = file.metadata()?;
        let is_ours = found.uid() == rustix::process::getuid().as_raw();
        if !found.is_file() || !is_ours || found.mode() & 0o077 != 0 {
            let why = "not a regular file of this user alone (mode 0600): keys of links are not written there";
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, why));
        }
        Ok(Self(Mutex::new(file)))
    }
}

impl Tap for KeyLog {
    fn frame(&self, _: SocketAddr, _: SocketAddr, _: bool, _: &[u8; FRAME_LEN]) {}

    fn cell(&self, _: SocketAddr, _: SocketAddr, _: bool, _: Command, _: CircuitId) {}

    fn logs_keys(&self) -> bool {
        true
    }

    fn keys(&self, exposed: &ExposedKeys) {
        let mut file = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // One write: lines of several processes do not mix.
        if let Err(error) = file.write_all(line(exposed).as_bytes()) {
            tracing::warn!(%error, "a line of the key log was lost");
        }
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

    #[test]
    fn a_file_that_others_can_read_and_a_link_to_one_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys");
        std::fs::write(&path, b"").unwrap();
        for mode in [0o644, 0o640, 0o602] {
            std::fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            assert!(KeyLog::open(&path).is_err(), "{mode:o}");
        }
        std::fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        assert!(KeyLog::open(&path).is_ok());
        std::os::unix::fs::symlink(&path, folder.path().join("link")).unwrap();
        assert!(KeyLog::open(&folder.path().join("link")).is_err());
        assert!(KeyLog::open(folder.path()).is_err());
    }
}
