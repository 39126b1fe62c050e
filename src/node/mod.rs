//! `Node`: moves values between machines, has no rules of its own. Time, bytes and randomness in; a list of things to do out.
//! It knows no socket, clock, file or task.

mod asks;
mod circuits;
mod client;
mod deadlines;
mod drive;
mod effects;
pub mod io;
mod links;
pub mod machine;
mod presence;
mod relay;
mod sight;
mod silence;
mod sizes;
pub mod work;

pub use client::{BuiltPath, Carries, ClientCommand, ClientConfig, ClientEvent, ClientNode, Joined, Kept, Operation};
pub use effects::Effect;
pub use relay::{Looked, Relay, RelayCommand, RelayConfig, RelayEvent, WriteTerms};
pub use sight::Sight;
pub use sizes::TableSize;
