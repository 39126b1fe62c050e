//! Caps of looking after what was published: what holders are asked about it, and how much of it at once.

use super::{ANSWER_LEN, BATCH_CHUNKS};
use crate::time::Duration;

/// Bytes of an answer about one chunk that is looked for and not fetched: so many fit an answer to a find.
pub const LOOK_SLOT_LEN: usize = ANSWER_LEN / BATCH_CHUNKS;
/// Statements about one such chunk.
pub const LOOK_SIGNERS: usize = 6;
/// Answers that one operation takes for chunks of which too few copies were seen.
pub const LOOK_ANSWERS_MAX: usize = 2;
/// Groups of an audit that are told one by one; the others are in the JSON.
pub const AUDIT_GROUPS_SHOWN_MAX: usize = 16;
/// Publications that one user has looked after in one network.
pub const KEPT_MAX: usize = 256;
/// Between two looks of a running node at what is due, on average, when one thing is; so many times shorter when many are.
pub const KEEP_EVERY: Duration = Duration::from_secs(600);
/// What was not found well is looked after again after so long; and nothing sooner.
pub const KEEP_RETRY_S: u64 = 3_600;
/// Upkeep is behind when something has been due for longer.
pub const KEEP_LATE_S: u64 = 21_600;
