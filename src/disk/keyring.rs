//! The author keys of a user: one state file each, by name. It must not know what is published with them. Source: spec/state.md §6.

use std::path::Path;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{StateDir, StateError};
use crate::content::AuthorKey;
use crate::limits::{KEY_NAME_LEN_MAX, KEYS_MAX};

/// Folder of the keys inside the state directory.
const FOLDER: &str = "keys";

/// Why a key is not kept or found.
#[derive(Debug, thiserror::Error)]
pub enum KeyringError {
    /// The state directory.
    #[error(transparent)]
    State(#[from] StateError),
    /// Not a name for a key.
    #[error(
        "{0:?}: a key's name has 1 to {KEY_NAME_LEN_MAX} letters, digits, '-', '_' or '.', and does not begin with '.'"
    )]
    Name(String),
    /// No such key.
    #[error("no key is called {0}; `bauta key list` shows those there are, `bauta key new {0}` makes it")]
    Missing(String),
    /// The name is taken. Keys are never replaced: what they signed could never be changed again.
    #[error("a key called {0} is there already; keys are never replaced, choose another name")]
    Taken(String),
    /// Over [`KEYS_MAX`].
    #[error("there are {KEYS_MAX} keys, which is as many as a keyring holds")]
    Full,
}

/// The keys of one user, for every network.
#[derive(Clone, Debug)]
pub struct Keyring {
    folder: StateDir,
}

/// As it stands in its file.
#[derive(Serialize, Deserialize)]
pub(crate) struct KeptKey {
    pub(crate) key: Zeroizing<Vec<u8>>,
}

impl Keyring {
    /// Opens the keyring of a state directory.
    ///
    /// # Errors
    /// Those of [`StateDir::open`].
    pub fn open(state: &Path) -> Result<Self, StateError> {
        // The directory above is this user's alone, too.
        StateDir::open(state)?;
        Ok(Self { folder: StateDir::open(state.join(FOLDER))? })
    }

    /// Names of all keys, in order.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn names(&self) -> Result<Vec<String>, StateError> {
        let mut names = self.folder.names()?;
        names.sort();
        Ok(names)
    }

    /// Keeps a key under a new name.
    ///
    /// # Errors
    /// [`KeyringError::Taken`] when the name has a key already, and others.
    pub fn add(&self, name: &str, key: &AuthorKey) -> Result<(), KeyringError> {
        check_name(name)?;
        if self.names()?.len() >= KEYS_MAX {
            return Err(KeyringError::Full);
        }
        let mut is_taken = false;
        self.folder.update(name, |held: Option<KeptKey>| {
            is_taken = held.is_some();
            held.unwrap_or_else(|| KeptKey { key: key.to_bytes() })
        })?;
        if is_taken { Err(KeyringError::Taken(name.to_owned())) } else { Ok(()) }
    }

    /// The key of this name.
    ///
    /// # Errors
    /// [`KeyringError::Missing`], and those of the state directory.
    pub fn get(&self, name: &str) -> Result<AuthorKey, KeyringError> {
        check_name(name)?;
        let kept: Option<KeptKey> = self.folder.read(name)?;
        let kept = kept.ok_or_else(|| KeyringError::Missing(name.to_owned()))?;
        let layout = |_| KeyringError::State(StateError::Layout(self.folder.path().join(name)));
        AuthorKey::from_bytes(&kept.key).map_err(layout)
    }
}

fn check_name(name: &str) -> Result<(), KeyringError> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let is_good = (1..=KEY_NAME_LEN_MAX).contains(&name.len()) && name.chars().all(is_plain) && !name.starts_with('.');
    // The folder's own lock has this name.
    if is_good && name != "lock" { Ok(()) } else { Err(KeyringError::Name(name.to_owned())) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::keys::IdentitySecret;

    fn keyring() -> (tempfile::TempDir, Keyring) {
        let home = tempfile::tempdir().unwrap();
        let keyring = Keyring::open(&home.path().join("state")).unwrap();
        (home, keyring)
    }

    fn key(seed: u8) -> AuthorKey {
        AuthorKey::Open(IdentitySecret::from_bytes(&[seed; 32]))
    }

    #[test]
    fn keys_are_kept_listed_found_and_never_replaced() {
        let (_home, keyring) = keyring();
        keyring.add("news", &key(1)).unwrap();
        keyring.add("blog", &key(2)).unwrap();
        assert_eq!(keyring.names().unwrap(), ["blog", "news"]);
        assert!(matches!(keyring.add("news", &key(3)), Err(KeyringError::Taken(_))));
        assert_eq!(keyring.get("news").unwrap().public(), key(1).public());
        assert!(matches!(keyring.get("other"), Err(KeyringError::Missing(_))));
        for name in ["", ".", "..", "a/b", ".news", "lock", "ä", &"n".repeat(KEY_NAME_LEN_MAX + 1)] {
            assert!(matches!(keyring.add(name, &key(1)), Err(KeyringError::Name(_))), "{name}");
            assert!(matches!(keyring.get(name), Err(KeyringError::Name(_))), "{name}");
        }
    }

    #[test]
    fn a_keyring_is_full_at_its_cap() {
        let (_home, keyring) = keyring();
        for number in 0..KEYS_MAX {
            std::fs::write(keyring.folder.path().join(format!("key-{number}")), b"").unwrap();
        }
        assert!(matches!(keyring.add("one-more", &key(1)), Err(KeyringError::Full)));
    }
}
