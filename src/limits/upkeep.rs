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
/// What was not found well is looked after again after so long, twice as long each further time; and nothing sooner.
pub const KEEP_RETRY_S: u64 = 3_600;
/// What is not there any more, or is not what its user wanted kept, is looked at again after so long.
pub const KEEP_HOPELESS_S: u64 = 86_400;
/// Bytes of content that upkeep moves in a second at least: four batches under way, each for ten seconds, of which half is parity.
pub const KEEP_BYTES_PER_S: u64 = 48_000;
/// Bytes of content of one publication that are looked after: what moves in four days at that rate.
pub const KEPT_LEN_MAX: u64 = 1 << 34;
/// Upkeep is behind when something has been due for longer.
pub const KEEP_LATE_S: u64 = 21_600;
/// Batches of one turn that in a row find nobody who takes them; with more the turn ends.
pub const KEEP_REFUSED_IN_ROW_MAX: usize = 16;
