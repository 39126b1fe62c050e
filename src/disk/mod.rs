//! Files of one user: the state directory that all processes of that user share. It must not know what is in the files.

mod state;

pub use state::{StateDir, StateError};
