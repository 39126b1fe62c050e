//! Times of repair: those of `limits.rs`, unless a test asks for others. Knows nothing else.

use crate::limits::{
    DIAL_BACKOFF, GONE_AFTER, GONE_RETRY, HOT_AFTER, NEIGHBOURS_EVERY, REPAIR_CHECK_MAX, REPAIR_EVERY,
    REPAIR_HINT_AFTER, REPAIR_PAUSE_MIN, REPAIR_RETRY, REPAIR_STEP, RETURN_TOLD_EVERY, WATCH_REDIAL,
};
use crate::time::Duration;

/// Times of repair.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RepairTiming {
    /// Each rank among the holders waits so much longer.
    pub step: Duration,
    /// Mean time between two looks after a place when nothing has happened.
    pub every: Duration,
    /// Who was given a value in a holder's place looks after so long.
    pub hint_after: Duration,
    /// A check that did not come to its end is tried again after so long, at first.
    pub retry: Duration,
    /// A check ends within this time.
    pub check_max: Duration,
    /// A node that nothing happened to for so long was stopped.
    pub pause_min: Duration,
    /// Who could not be dialled is not dialled again for so long.
    pub backoff: Duration,
    /// From the first failed dial to the one by which a member is gone.
    pub gone_after: Duration,
    /// A member that is gone is dialled again after so long.
    pub gone_retry: Duration,
    /// A watched member without a link is dialled about this often.
    pub redial: Duration,
    /// So often a relay looks whom it has to stay linked to.
    pub neighbours: Duration,
    /// That a watched member is back is acted on once in so long.
    pub told_every: Duration,
    /// So much ahead of what a holder takes for long, questions for a value make it hot.
    pub hot_after: Duration,
}

impl Default for RepairTiming {
    fn default() -> Self {
        Self {
            step: REPAIR_STEP,
            every: REPAIR_EVERY,
            hint_after: REPAIR_HINT_AFTER,
            retry: REPAIR_RETRY,
            check_max: REPAIR_CHECK_MAX,
            pause_min: REPAIR_PAUSE_MIN,
            backoff: DIAL_BACKOFF,
            gone_after: GONE_AFTER,
            gone_retry: GONE_RETRY,
            redial: WATCH_REDIAL,
            neighbours: NEIGHBOURS_EVERY,
            told_every: RETURN_TOLD_EVERY,
            hot_after: HOT_AFTER,
        }
    }
}
