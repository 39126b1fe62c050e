//! A values' file when it is opened or made: its layout, its key, what it says to hold. It must not know what is asked of it.
//!
//! Source: spec/state.md §10.

use std::path::Path;

use redb::{Database, Error, ReadableDatabase as _, TableError};

use super::rows::{ABOUT, ENDS, HOLDINGS, KEY, LAYOUT, RANKS, SECRETS, VALUES};
use super::writing::{BYTES_HELD, VALUES_HELD};
use crate::dht::store::{Quota, StoreKey};
use crate::disk::StateError;

pub(super) const LAYOUT_IS: &str = "layout";

/// Looks at the layout: what is held, and the store's key.
pub(super) fn begin(path: &Path, database: &Database) -> Result<(Quota, StoreKey), StateError> {
    let layout = || StateError::Layout(path.to_owned());
    let of_table = |error: TableError| match error {
        TableError::TableDoesNotExist(_) => layout(),
        other => refused(path, other.into()),
    };
    let failed = |error: Error| refused(path, error);
    let reading = database.begin_read().map_err(|error| failed(error.into()))?;
    let about = reading.open_table(ABOUT).map_err(of_table)?;
    let of = |name| -> Result<Option<u64>, StateError> {
        Ok(about.get(name).map_err(|error| failed(error.into()))?.map(|number| number.value()))
    };
    if of(LAYOUT_IS)? != Some(LAYOUT) {
        return Err(layout());
    }
    let secrets = reading.open_table(SECRETS).map_err(of_table)?;
    let key = secrets.get(KEY).map_err(|error| failed(error.into()))?.ok_or_else(layout)?;
    let held = Quota { values: of(VALUES_HELD)?.unwrap_or(0), bytes: of(BYTES_HELD)?.unwrap_or(0) };
    Ok((held, StoreKey::from_bytes(key.value())))
}

/// Makes the tables of a new file.
pub(super) fn make(database: &Database, key: &StoreKey) -> Result<(), Error> {
    let mut transaction = database.begin_write()?;
    transaction.set_quick_repair(true);
    transaction.open_table(ABOUT)?.insert(LAYOUT_IS, LAYOUT)?;
    transaction.open_table(SECRETS)?.insert(KEY, &*key.to_bytes())?;
    transaction.open_table(HOLDINGS)?;
    transaction.open_table(VALUES)?;
    transaction.open_table(ENDS)?;
    transaction.open_table(RANKS)?;
    transaction.commit()?;
    Ok(())
}

/// Why the file cannot be used, in the words of the state directory.
pub(super) fn refused(path: &Path, error: Error) -> StateError {
    let path = path.to_owned();
    match error {
        Error::DatabaseAlreadyOpen | Error::LockProtocolMismatch => StateError::Held(path),
        Error::UpgradeRequired(_)
        | Error::TableTypeMismatch { .. }
        | Error::TableIsMultimap(_)
        | Error::TypeDefinitionChanged { .. } => StateError::Layout(path),
        Error::Corrupted(_) | Error::RepairAborted => StateError::Damaged(path),
        Error::Io(source) if is_damage(source.kind()) => StateError::Damaged(path),
        Error::Io(source) => StateError::Io { path, source },
        other => StateError::Io { path, source: std::io::Error::other(other) },
    }
}

fn is_damage(kind: std::io::ErrorKind) -> bool {
    matches!(kind, std::io::ErrorKind::InvalidData | std::io::ErrorKind::UnexpectedEof)
}
