//! Files of one user: the state directory that all processes of that user share. It must not know what is in the files.

mod keyring;
mod state;

pub use keyring::{Keyring, KeyringError};
pub use state::{StateDir, StateError};
