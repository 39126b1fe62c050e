//! The simulated world.
pub mod internet;
pub mod records;
pub mod world;
