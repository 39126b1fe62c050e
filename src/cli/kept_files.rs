//! The files that processes keep for themselves, read from bytes and written back: for fuzzers, vectors and tests, which have neither a
//! directory nor a clock. It must not know what anything in them is for. Source: spec/state.md.

use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::identity::Kept as Relay;
use super::keep::Entry;
use super::published::Published;
use super::resume::Header;
use super::settings::{KEYS, Settings, quoted};
use crate::client::{KEPT_FILE, StoredMembers};
use crate::content::AuthorKey;
use crate::disk::{KeptKey, StateError, content_of, header, parse, print, rows_in};
use crate::node::Kept as Guards;

/// A file of a state directory (spec/state.md §5).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum KeptFile {
    /// Guards and second hops.
    Guards,
    /// The membership.
    Members,
    /// The identity of a relay.
    Relay,
    /// Numbers of what was published.
    Published,
    /// What is looked after.
    Kept,
    /// The head of a publication under way.
    Transfer,
    /// An author's key.
    Key,
}

impl KeptFile {
    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::Guards, Self::Members, Self::Relay, Self::Published, Self::Kept, Self::Transfer, Self::Key];

    /// Its name; of those that there are many of, the one that stands here for all.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Guards => KEPT_FILE,
            Self::Members => "members",
            Self::Relay => "relay",
            Self::Published => "published",
            Self::Kept => "kept",
            Self::Transfer => "transfer",
            Self::Key => "key",
        }
    }

    /// The bytes of a file with this content.
    #[must_use]
    pub fn with_content(self, content: &[u8]) -> Vec<u8> {
        [&header(self.name(), content)[..], content].concat()
    }

    /// Reads the bytes of a whole file, and gives those of the file that says the same.
    ///
    /// # Errors
    /// [`StateError`], as a process would meet it.
    pub fn reread(self, bytes: &[u8]) -> Result<Vec<u8>, StateError> {
        match self {
            Self::Guards => self.again::<Guards>(bytes, |_| true),
            Self::Members => self.again::<StoredMembers>(bytes, |_| true),
            Self::Relay => self.again::<Relay>(bytes, |_| true),
            Self::Published => self.again::<Published>(bytes, |_| true),
            Self::Kept => self.again::<Vec<Entry>>(bytes, |_| true),
            Self::Transfer => self.again::<Header>(bytes, |_| true),
            Self::Key => self.again::<KeptKey>(bytes, |kept| {
                AuthorKey::from_bytes(&kept.key).is_ok_and(|key| *key.to_bytes() == *kept.key)
            }),
        }
    }

    fn again<T: Serialize + DeserializeOwned>(
        self,
        bytes: &[u8],
        is_good: impl FnOnce(&T) -> bool,
    ) -> Result<Vec<u8>, StateError> {
        let path = Path::new(self.name());
        let value: T = parse(path, content_of(path, self.name(), bytes)?)?;
        if !is_good(&value) {
            return Err(StateError::Layout(path.to_owned()));
        }
        Ok(self.with_content(&print(path, &value)?))
    }
}

/// The content of a file of guards that says this; empty when it cannot be written (never met).
#[must_use]
pub fn written_guards(kept: &Guards) -> Vec<u8> {
    print(Path::new(KEPT_FILE), kept).map(|content| content.to_vec()).unwrap_or_default()
}

/// What a whole file of guards says, as a process would read it.
///
/// # Errors
/// [`StateError`], as a process would meet it.
pub fn read_guards(bytes: &[u8]) -> Result<Guards, StateError> {
    let path = Path::new(KEPT_FILE);
    parse(path, content_of(path, KEPT_FILE, bytes)?)
}

/// The rows of a publication's log that count, each level, batch and digest, in order (spec/state.md §11).
#[must_use]
pub fn log_rows(bytes: &[u8]) -> Vec<(u8, u32, [u8; 32])> {
    rows_in(bytes).0.into_iter().map(|((level, batch), digest)| (level, batch, digest)).collect()
}

/// Reads a file of settings (spec/cli.md §5), and gives the text of the file that sets the same.
///
/// # Errors
/// What its user would be told.
pub fn reread_settings(text: &str) -> Result<String, String> {
    let settings = Settings::of_text(text).map_err(|error| error.to_string())?;
    let set = KEYS.iter().filter(|key| settings.origins.contains_key(key.name));
    Ok(set.map(|key| format!("{} = {}\n", key.name, quoted(&(key.show)(&settings)))).collect())
}

/// Names of all settings.
#[must_use]
pub fn settings_names() -> Vec<&'static str> {
    KEYS.iter().map(|key| key.name).collect()
}
