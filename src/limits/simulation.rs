//! Caps of simulations; no node knows them.

/// Nodes of a simulated network.
pub const SIM_NODES_MAX: usize = 1_000_000;
/// Clients of a simulated network.
pub const SIM_CLIENTS_MAX: usize = 100_000;
/// Records, or lookups, of one simulation.
pub const SIM_OPERATIONS_MAX: usize = 10_000_000;
/// Values in a list of a scenario's settings.
pub const SIM_LIST_MAX: usize = 64;
/// Runs of one scenario with seeds of their own.
pub const SIM_REPEATS_MAX: usize = 10_000;
/// Hours of one simulation, virtual or real.
pub const SIM_DURATION_HOURS_MAX: f64 = 100_000.0;
/// Weights that rendezvous hashing may compute for its row of the comparison: nodes times locations.
pub const SIM_RENDEZVOUS_WEIGHTS_MAX: u64 = 3_000_000_000;
/// Relays of a simulated network up to which its links have real ciphers, unless a scenario is told otherwise.
pub const SIM_REAL_CIPHERS_MAX: usize = 64;
/// Worlds that a hunt runs to make a list of faults that fails small.
pub const SIM_SHRINK_RUNS_MAX: usize = 60;
/// Files of one simulation.
pub const SIM_FILES_MAX: usize = 10_000;
/// KiB of the longest of them.
pub const SIM_FILE_KIB_MAX: usize = 1 << 20;
