//! The simulator: thousands of real nodes in virtual time, faults, adversaries, checks that are always on, and reports.
//! Source: spec/simulation.md.
//!
//! Everything here follows from its settings and seed. It must not know clocks, files, sockets or how a report is shown.

pub mod adversary;
pub mod chart;
pub mod draw;
pub mod files;
pub mod internet;
mod merge;
pub mod meter;
pub mod records;
pub mod report;
pub mod scenario;
pub mod settings;
pub mod stage;
pub mod trace;
pub mod world;
