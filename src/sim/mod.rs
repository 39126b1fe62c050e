//! The simulator's frame: a synthetic internet, settings of scenarios, scenarios, reports. Source: spec/simulation.md.
//!
//! Everything here follows from its settings and seed. It must not know clocks, files, sockets or how a report is shown.

pub mod chart;
pub mod draw;
pub mod internet;
pub mod report;
pub mod scenario;
pub mod settings;
