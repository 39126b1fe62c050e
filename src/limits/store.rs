//! Caps of the values that a node keeps, in memory and on disk (spec/dht.md §4).

use super::EXPIRY_MAX_S;
use crate::time::Duration;

/// Values that a node keeps, if nothing else is said.
pub const STORE_VALUES: usize = 1 << 19;
/// Values that a node keeps, at most.
pub const STORE_VALUES_MAX: usize = 1 << 20;
/// Bytes of values that a node keeps, if nothing else is said; as many in memory.
pub const STORE_BYTES: usize = 512 << 20;
/// Bytes of values that a relay of a network on one machine keeps in memory: a gigabyte that is published there fits.
pub const LOCAL_STORE_BYTES: usize = 2 << 30;
/// Bytes of values that a node on disk can be told to keep, at least: one chunk.
pub const STORE_BYTES_MIN: u64 = 65_568;
/// Bytes of values that a node keeps on disk, at most.
pub const STORE_BYTES_MAX: u64 = 64 << 30;
/// So much older, a value is half as likely to be given up for a newcomer, in seconds.
pub const STORE_AGE_DOUBLES_S: u64 = 3_600;
/// After so long, in seconds, the age of a place that is put again and again begins anew.
pub const STORE_AGE_PERIOD_S: u64 = EXPIRY_MAX_S;
/// Writes of a store on disk that one commit takes.
pub const STORE_BATCH_MAX: usize = 256;
/// Between the beginnings of two commits of a store on disk at least: each takes a processor from what is forwarded.
pub const STORE_COMMITS_APART: Duration = Duration::from_millis(50);
/// How much the thread that commits yields to others on Linux (nice; 19 is the most there is).
pub const STORE_WRITES_NICE: i32 = 19;
/// Reads of a store on disk that are done in one go.
pub const STORE_READS_MAX: usize = 256;
/// Values over their time that one batch frees, besides those whose room is needed.
pub const STORE_EXPIRED_BATCH_MAX: usize = 4_096;
/// Values that one put displaces, and that one batch gives up under a quota that was made smaller, at most.
pub const STORE_EVICTED_BATCH_MAX: usize = 1_024;
/// Damaged values that wait to be dropped.
pub const STORE_DAMAGED_MAX: usize = 1_024;
/// A place that the disk could not read is not tried again for so long, in seconds.
pub const STORE_UNREADABLE_S: u64 = 600;
/// Names in an operator's denylist.
pub const DENIED_MAX: usize = 1 << 18;
/// Bytes of an operator's denylist.
pub const DENYLIST_LEN_MAX: u64 = 64 << 20;
/// After a failed write the disk is tried again no sooner, in seconds.
pub const STORE_RETRY_S: u64 = 5;
/// Bytes of a store's file that are kept in memory.
pub const STORE_CACHE_BYTES: usize = 32 << 20;
/// Bytes of repair that are done in memory while the disk takes no writes.
pub const STORE_OVERLAY_BYTES_MAX: usize = 64 << 20;
