//! Caps of `bauta fuzz`: what it may do to a node in a second, and what it calls a finding. No node knows them.

use crate::time::Duration;

/// Minutes of one run.
pub const FUZZ_MINUTES_MAX: u32 = 1_440;
/// Scripts that run at once.
pub const FUZZ_LANES: usize = 8;
/// Links of one script; [`FUZZ_LANES`] times as many are open at once.
pub const FUZZ_SCRIPT_LINKS_MAX: usize = 24;
/// Steps of one script.
pub const FUZZ_SCRIPT_STEPS_MAX: usize = 4_096;
/// Bytes of a script as text.
pub const FUZZ_SCRIPT_LEN_MAX: usize = 4 << 20;
/// Longest pause of a script.
pub const FUZZ_PAUSE_MAX: Duration = Duration::from_secs(15);
/// Source prefixes, IPv4 /24 of loopback, that scripts dial from.
pub const FUZZ_PREFIXES: u8 = 32;
/// Relays that scripts say they are, in all runs together.
pub const FUZZ_RELAYS: u8 = 4;
/// Connections per second, for long and in a burst.
pub const FUZZ_CONNECTS_PER_S: u32 = 64;
/// Build packets per second for long.
pub const FUZZ_BUILDS_PER_S: u32 = 128;
/// Build packets of one script, and in a burst.
pub const FUZZ_BUILDS_BURST: u32 = 256;
/// What is told once a script has ended is heard for so long.
pub const FUZZ_SETTLE: Duration = Duration::from_millis(100);
/// A link that has to end, ends within this time: the handshake's, and half as much again.
pub const FUZZ_END_MAX: Duration = Duration::from_secs(15);
/// Members that a run knows, to build paths of.
pub const FUZZ_MEMBERS_MAX: usize = 64;
/// Between two questions of the honest client.
pub const FUZZ_HONEST_EVERY: Duration = Duration::from_millis(100);
/// The honest client asks undisturbed for a sixth of the run, and at most for so long.
pub const FUZZ_IDLE_MAX: Duration = Duration::from_secs(20);
/// Of a thousand honest questions so many may fail.
pub const FUZZ_HONEST_FAILED_PERMILLE_MAX: u64 = 20;
/// The slowest honest hundredth may take twice as long as undisturbed, or so long: the fuzzer uses the same processors.
pub const FUZZ_DELAY_FLOOR: Duration = Duration::from_millis(250);
/// Answer times of honest questions that are kept.
pub const FUZZ_HONEST_TIMES_MAX: usize = 1 << 20;
/// Bytes by which the target's memory may have grown at the end.
pub const FUZZ_MEMORY_GROWN_MAX: u64 = 128 << 20;
/// Findings that are written; more are counted.
pub const FUZZ_FINDINGS_MAX: usize = 16;
/// Findings of one kind that are written.
pub const FUZZ_FINDINGS_OF_KIND_MAX: usize = 2;
/// Runs of a script to make it smaller.
pub const FUZZ_SHRINK_RUNS_MAX: usize = 64;
/// A script is made smaller for so long.
pub const FUZZ_SHRINK_TIME_MAX: Duration = Duration::from_secs(30);
