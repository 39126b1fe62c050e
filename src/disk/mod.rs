//! Files of one user: the state directory that all processes of that user share, and the values that a relay keeps for
//! others. The directory must not know what is in its files.

mod keyring;
mod state;
mod transfers;
mod values;

pub use keyring::{Keyring, KeyringError};
pub use state::{StateDir, StateError};
pub use transfers::{TransferLog, forget_old_transfers};
pub use values::{KindView, StepView, StoreCounts, StoreView, StoreWrites, ValueStore};
