//! Caps of what anonymous writes cost, and of how much of them a relay takes.

use super::MEMBERS_MAX;

/// Steps of the ladder of efforts above none.
pub const EFFORT_MAX: u8 = 3;
/// Trials of Argon2id that a storage puzzle takes on average, at each step.
pub const EFFORT_TRIALS: [u32; 4] = [0, 16, 128, 1_024];
/// So many times that are tried before a puzzle is given up: one in nine million is.
pub const EFFORT_TRIALS_TIMES_MAX: u32 = 16;
/// Trials of one job in the work pool: others come between.
pub const EFFORT_TRIALS_PER_JOB: u32 = 32;
/// Memory of one trial, KiB.
pub const EFFORT_MEMORY_KIB: u32 = 1 << 10;
/// Seconds for which a solution counts from the beginning of its hour: that one and the next.
pub const PAYMENT_STEP_S: u64 = 3_600;
/// Thousandths of its quota at which a relay asks for each step.
pub const EFFORT_FULL_PERMILLE: [u64; 4] = [0, 750, 900, 970];
/// By so many thousandths less a step is left again.
pub const EFFORT_FULL_LESS_PERMILLE: u64 = 100;
/// Seconds for which a relay asks for the step that it took, at least.
pub const EFFORT_KEPT_S: u64 = 3_600;
/// Thousandths of its quota below which a relay counts no bytes against a budget: its storage is plentiful.
pub const STORE_PLENTIFUL_PERMILLE: u64 = 500;
/// Part of its quota that a relay takes of anonymous writes in an hour, all links together.
pub const STORE_HOUR_PART: u64 = 8;
/// Part of that, that comes over the links of one relay.
pub const STORE_HOUR_RELAY_PART: u64 = 4;
/// Part of its quota that one relay's repair may bring in an hour.
pub const STORE_HOUR_UPKEEP_PART: u64 = 4;
/// Bytes that each of these budgets has at least.
pub const STORE_HOUR_BYTES_MIN: u64 = 16 << 20;
/// Relays whose writes of an hour are counted.
pub const STORE_HOUR_RELAYS_MAX: usize = MEMBERS_MAX;
/// Payments that held and that a relay remembers while they count, as an exit and as many as a storer: 5 MiB each.
pub const PAYMENTS_REMEMBERED_MAX: usize = 1 << 16;
/// Payments that a relay checks in a second, all links together: as an exit, and as many as a storer.
pub const PAYMENT_CHECKS_PER_S: u32 = 128;
/// Payments that it checks in a second and that came over the links of one relay.
pub const PAYMENT_CHECKS_PER_RELAY_PER_S: u32 = 32;
