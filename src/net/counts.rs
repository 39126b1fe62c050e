//! How many links of a node ended, by reason; events that nobody took. It must not know which links.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::link::DownReason;

/// A [`DownReason`] without its figures.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum DownKind {
    /// [`DownReason::Unreachable`]
    Unreachable,
    /// [`DownReason::Handshake`]
    Handshake,
    /// [`DownReason::Identity`]
    Identity,
    /// [`DownReason::Version`]
    Version,
    /// [`DownReason::Protocol`]
    Protocol,
    /// [`DownReason::Limit`]
    Limit,
    /// [`DownReason::Closed`]
    Closed,
    /// [`DownReason::Silent`]
    Silent,
}

impl From<DownReason> for DownKind {
    fn from(reason: DownReason) -> Self {
        match reason {
            DownReason::Unreachable => Self::Unreachable,
            DownReason::Handshake => Self::Handshake,
            DownReason::Identity => Self::Identity,
            DownReason::Version { .. } => Self::Version,
            DownReason::Protocol => Self::Protocol,
            DownReason::Limit => Self::Limit,
            DownReason::Closed => Self::Closed,
            DownReason::Silent => Self::Silent,
        }
    }
}

/// Counters of one node, shared by its tasks.
#[derive(Default, Debug)]
pub struct Counts {
    down: Mutex<BTreeMap<DownKind, u64>>,
    events_lost: AtomicU64,
}

impl Counts {
    /// One more link ended so.
    pub(super) fn add(&self, reason: DownReason) {
        *self.down.lock().unwrap_or_else(PoisonError::into_inner).entry(reason.into()).or_default() += 1;
    }

    /// One more event found nobody to take it.
    pub(super) fn add_lost_event(&self) {
        self.events_lost.fetch_add(1, Ordering::Relaxed);
    }

    /// Events lost so far.
    #[must_use]
    pub fn events_lost(&self) -> u64 {
        self.events_lost.load(Ordering::Relaxed)
    }

    /// What was counted so far; reasons not met are left out.
    #[must_use]
    pub fn read(&self) -> BTreeMap<DownKind, u64> {
        self.down.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
