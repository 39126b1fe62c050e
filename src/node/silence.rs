//! Links on which something was put and nothing was heard since: asked for a sign of life, then given up. A host that is gone does
//! not say so, and what is waited for meanwhile comes too late. Knows no cell. Source: spec/link.md §5.

use std::collections::BTreeSet;

use super::deadlines::Deadlines;
use super::io::LinkId;
use super::sizes::TableSize;
use crate::limits::LINK_ANSWER_MAX;
use crate::time::Instant;

/// What is to be done with a link that was silent for too long.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Doubt {
    /// Ask it something that costs nothing.
    Ask(LinkId),
    /// It did not answer that either.
    GiveUp(LinkId),
}

/// The links of which something is awaited.
#[derive(Default)]
pub(super) struct Silence {
    awaited: Deadlines<LinkId>,
    asked: BTreeSet<LinkId>,
}

impl Silence {
    /// Something was put on a link that a live peer answers, or has answered by others.
    pub(super) fn used(&mut self, now: Instant, link: LinkId) {
        if self.awaited.at(&link).is_none() {
            self.awaited.set(link, Some(now + LINK_ANSWER_MAX));
        }
    }

    /// Whatever came, its peer is there; or the link is no more.
    pub(super) fn heard(&mut self, link: LinkId) {
        if self.awaited.remove(&link).is_some() {
            self.asked.remove(&link);
        }
    }

    /// Links whose time is over.
    pub(super) fn doubts(&mut self, now: Instant) -> Vec<Doubt> {
        let due = self.awaited.due(now);
        due.into_iter()
            .map(|link| {
                if self.asked.insert(link) {
                    self.awaited.set(link, Some(now + LINK_ANSWER_MAX));
                    Doubt::Ask(link)
                } else {
                    self.heard(link);
                    Doubt::GiveUp(link)
                }
            })
            .collect()
    }

    pub(super) fn sizes(&self) -> [TableSize; 1] {
        [("links that were asked for a sign of life", self.asked.len(), self.awaited.len())]
    }

    /// When [`Self::doubts`] is due.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.awaited.next()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Duration;

    const LINK: LinkId = LinkId(2);

    // [LINK-W-032]
    #[test]
    fn a_silent_link_is_asked_once_and_given_up_unless_anything_is_heard() {
        let due = Instant::ZERO + LINK_ANSWER_MAX;
        let mut silence = Silence::default();
        silence.used(Instant::ZERO, LINK);
        silence.used(Instant::ZERO + Duration::from_millis(1), LINK);
        assert_eq!(silence.poll_timeout(), Some(due), "the first use counts");
        assert_eq!(silence.doubts(Instant::from_micros(due.as_micros() - 1)), []);
        assert_eq!(silence.doubts(due), [Doubt::Ask(LINK)]);
        silence.used(due, LINK);
        assert_eq!(silence.doubts(due + LINK_ANSWER_MAX), [Doubt::GiveUp(LINK)]);
        assert_eq!((silence.poll_timeout(), silence.asked.len()), (None, 0));
        silence.used(due, LINK);
        assert_eq!(silence.doubts(due + LINK_ANSWER_MAX), [Doubt::Ask(LINK)]);
        silence.heard(LINK);
        assert_eq!((silence.poll_timeout(), silence.asked.len()), (None, 0));
    }
}
