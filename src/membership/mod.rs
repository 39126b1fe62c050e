//! Which relays there are, and whom a client goes through: members, draws, guards, second hops, paths. Pure; knows no link.
//!
//! Source: `spec/membership.md`.

pub mod differences;
#[cfg(test)]
pub(crate) mod fixture;
pub mod guards;
pub mod members;
pub mod nearest;
pub mod path;
pub mod path_bias;
pub mod prefix_rule;
pub mod sample;
pub mod second_hops;
