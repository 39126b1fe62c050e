//! Files of one user: the state directory that all processes of that user share, and the values that a relay keeps for
//! others. The directory must not know what is in its files.

mod keyring;
mod state;
mod transfers;
mod values;

#[cfg(feature = "cli")]
pub(crate) use keyring::KeptKey;
pub use keyring::{Keyring, KeyringError};
pub use state::{StateDir, StateError};
#[cfg(feature = "cli")]
pub(crate) use state::{content_of, header, parse, print};
#[cfg(feature = "cli")]
pub(crate) use transfers::rows_in;
pub use transfers::{TransferLog, forget_old_transfers};
pub use values::{KindView, StepView, StoreCounts, StoreView, StoreWrites, ValueStore};
