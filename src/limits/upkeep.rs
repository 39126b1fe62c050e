//! Caps of looking after what was published: what holders are asked about it, and how much of it at once.

use super::{ANSWER_LEN, BATCH_CHUNKS};

/// Bytes of an answer about one chunk that is looked for and not fetched: so many fit an answer to a find.
pub const LOOK_SLOT_LEN: usize = ANSWER_LEN / BATCH_CHUNKS;
/// Statements about one such chunk.
pub const LOOK_SIGNERS: usize = 6;
/// Answers that one operation takes for chunks of which too few copies were seen.
pub const LOOK_ANSWERS_MAX: usize = 2;
/// Groups of an audit that are told one by one; the others are in the JSON.
pub const AUDIT_GROUPS_SHOWN_MAX: usize = 16;
