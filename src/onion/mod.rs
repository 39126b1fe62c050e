//! Onion layers: build packets, peels, replies, later cells, the replay filter. Pure; knows no link, no path, no request.
//!
//! Positions and lengths are those of spec/onion.md; every layer is a Noise NK handshake of its own.

mod build;
mod circuit;
mod hop;
mod keys;
mod layout;
mod peel;
mod replay;

pub use build::{BuildRefused, Building, Built, Reply0, TEXT_LEN as BUILD_TEXT_LEN, build, build_layer};
pub use circuit::Circuit;
pub use hop::{ExitHop, MiddleHop};
pub use keys::{OnionKeys, OnionSecrets};
pub use peel::{Peeled, Role, peel};
pub use replay::{ReplayFilter, ReplayRefused};

#[cfg(test)]
mod tests;
