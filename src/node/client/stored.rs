//! A membership that was on disk when the client started: what is held against it, and how little it is used then.
//! Source: spec/state.md §7.

use super::ClientNode;
use crate::crypto::random_bytes;
use crate::limits::{
    DOUBTED_CIRCUITS_MAX, MEMBERS_FRESH_FOR, STORED_MEMBERS_DOUBT_MAX, STORED_MEMBERS_DOUBT_MIN,
    STORED_MEMBERS_FAILURES_MAX,
};
use crate::time::Now;

/// What is held against a membership from disk.
#[derive(Default)]
pub(super) struct Stored {
    /// Circuits that failed so far.
    pub(super) failures: usize,
    /// It is used for few circuits more, and bootstraps are about to be asked.
    pub(super) is_doubted: bool,
    /// Circuits that were begun with it since, of all operations together.
    pub(super) doubted_circuits: usize,
    /// Bootstraps told nothing: it is all there is, and used as it is.
    pub(super) is_all_there_is: bool,
}

impl ClientNode {
    /// Another circuit failed. A membership from disk may be of yesterday.
    pub(super) fn note_failure(&mut self, now: Now) {
        let Some(stored) = self.entry.stored.as_mut().filter(|stored| !stored.is_all_there_is) else { return };
        stored.failures += 1;
        if stored.failures >= STORED_MEMBERS_FAILURES_MAX {
            self.doubt_stored(now);
        }
    }

    /// No guard of the sample answers. No exit can bring that about, so there is nothing to wait for.
    pub(super) fn doubt_stored_at_once(&mut self, now: Now) -> bool {
        let is_doubted = self.doubt_stored(now);
        if is_doubted && !self.is_joining() {
            self.schedule_refresh(now, MEMBERS_FRESH_FOR);
            self.join(now);
        }
        is_doubted
    }

    /// The membership from disk does not carry: bootstraps are asked, once, after a random time, and it is used sparingly till then.
    /// An exit could make a circuit fail; asked at once, it could tell by a bootstrap's help whose circuit that was. Whether this
    /// is so.
    fn doubt_stored(&mut self, now: Now) -> bool {
        let Some(stored) = self.entry.stored.as_mut().filter(|stored| !stored.is_all_there_is) else { return false };
        if !stored.is_doubted {
            stored.is_doubted = true;
            let drawn = u32::from(u16::from_be_bytes(random_bytes(&mut self.rng)));
            let span = STORED_MEMBERS_DOUBT_MAX - STORED_MEMBERS_DOUBT_MIN;
            self.entry.refresh_at = Some(now.instant + STORED_MEMBERS_DOUBT_MIN + span * drawn / 65_536);
        }
        true
    }

    /// Whether the membership is still the one from disk.
    pub(super) fn is_stored(&self) -> bool {
        self.entry.stored.is_some()
    }

    /// Whether it is, and has been doubted: also after bootstraps told nothing, when it is used all the same.
    pub(super) fn is_stored_in_doubt(&self) -> bool {
        self.entry.stored.as_ref().is_some_and(|stored| stored.is_doubted || stored.is_all_there_is)
    }

    /// Whether as many circuits were built with a membership that is doubted as may be.
    pub(super) fn is_doubted_fully(&self) -> bool {
        let used_up = |stored: &Stored| stored.is_doubted && stored.doubted_circuits >= DOUBTED_CIRCUITS_MAX;
        self.entry.stored.as_ref().is_some_and(used_up)
    }

    /// A circuit is begun: one of the few, should the membership be doubted.
    pub(super) fn note_circuit(&mut self) {
        if let Some(stored) = self.entry.stored.as_mut().filter(|stored| stored.is_doubted) {
            stored.doubted_circuits += 1;
        }
    }
}
