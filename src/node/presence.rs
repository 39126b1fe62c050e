//! Whom this node could not dial: not to be dialled for a moment, or gone. It believes nobody's word but its own dials.
//! Source: spec/link.md §5.1.

use std::collections::BTreeMap;

use super::sizes::TableSize;
use crate::crypto::keys::DhKey;
use crate::dht::repair::RepairTiming;
use crate::limits::{DIAL_BACKOFF, DIAL_BACKOFFS_MAX, GONE_DIALS};
use crate::time::Instant;
use crate::wire::address::Address;

/// Dials in a row that failed.
#[derive(Clone, Copy, Debug)]
struct Failing {
    dials: u32,
    first: Instant,
    /// Not to be dialled before.
    until: Instant,
    gone: bool,
}

/// By key and address: a wrong address said of somebody must not keep us from the right one.
///
/// A client's knows nobody as gone: its guards and bootstraps have rules of their own.
#[derive(Debug, Default)]
pub(super) struct Presence {
    /// A relay's.
    timing: Option<RepairTiming>,
    failing: BTreeMap<(DhKey, Address), Failing>,
    newly_gone: Vec<DhKey>,
    /// Which relay was last heard, and when any other was.
    heard: Option<(DhKey, Instant)>,
    heard_another: Instant,
}

impl Presence {
    /// That of a relay.
    pub(super) fn of_relay(timing: &RepairTiming) -> Self {
        Self { timing: Some(*timing), ..Self::default() }
    }

    /// Whether it may be dialled there now.
    pub(super) fn may_dial(&self, now: Instant, at: &(DhKey, Address)) -> bool {
        self.failing.get(at).is_none_or(|failing| failing.until <= now)
    }

    /// Whether it was not there, dial after dial.
    pub(super) fn is_gone(&self, at: &(DhKey, Address)) -> bool {
        self.failing.get(at).is_some_and(|failing| failing.gone)
    }

    /// Whether to leave it out where another one will do: it is gone, and was tried a moment ago.
    pub(super) fn is_to_pass_over(&self, now: Instant, at: &(DhKey, Address)) -> bool {
        self.is_gone(at) && !self.may_dial(now, at)
    }

    /// A relay that is where it says was heard. When no two of them had been for so long that members would be gone,
    /// this node itself was cut off: dials that failed meanwhile say nothing of whom they were for. One alone says little: whoever
    /// cuts a node off may let its own relay through.
    pub(super) fn heard(&mut self, now: Instant, from: DhKey) {
        let (last, at) = self.heard.unwrap_or((from, now));
        if last != from {
            if self.timing.is_some_and(|timing| self.heard_another.until(at) >= timing.gone_after) {
                self.failing.retain(|_, failing| failing.gone);
            }
            self.heard_another = at;
        }
        self.heard = Some((from, now));
    }

    /// A dial failed.
    pub(super) fn failed(&mut self, now: Instant, at: (DhKey, Address)) {
        if self.failing.len() >= DIAL_BACKOFFS_MAX && !self.failing.contains_key(&at) {
            self.failing.retain(|_, failing| now < failing.until);
            if self.failing.len() >= DIAL_BACKOFFS_MAX {
                return;
            }
        }
        let failing = self.failing.entry(at).or_insert(Failing { dials: 0, first: now, until: now, gone: false });
        failing.dials = failing.dials.saturating_add(1);
        let was_gone = failing.gone;
        failing.gone = self.timing.is_some_and(|timing| {
            let failed_for = failing.first.until(now);
            was_gone
                || (failing.dials >= GONE_DIALS
                    && failed_for >= timing.gone_after
                    && self.heard_another > failing.first)
        });
        let pause = match self.timing {
            Some(timing) if failing.gone => timing.gone_retry,
            Some(timing) => timing.backoff,
            None => DIAL_BACKOFF,
        };
        failing.until = now + pause;
        if failing.gone && !was_gone {
            self.newly_gone.push(at.0);
        }
    }

    pub(super) fn sizes(&self) -> [TableSize; 2] {
        [
            ("dials that failed", self.failing.len(), DIAL_BACKOFFS_MAX),
            ("members newly gone", self.newly_gone.len(), DIAL_BACKOFFS_MAX),
        ]
    }

    /// It was linked to, or says of itself that it is there. Tells whether it was gone.
    pub(super) fn met(&mut self, at: &(DhKey, Address)) -> bool {
        self.failing.remove(at).is_some_and(|failing| failing.gone)
    }

    /// Who has gone since this was asked last.
    pub(super) fn take_gone(&mut self) -> Vec<DhKey> {
        core::mem::take(&mut self.newly_gone)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Duration;

    fn at(number: usize) -> (DhKey, Address) {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&number.to_be_bytes());
        (DhKey(key), Address("127.1.0.1:1".parse().unwrap()))
    }

    fn hear_two(presence: &mut Presence, second: u64) {
        for _ in 0..2 {
            [7, 8].into_iter().for_each(|key| presence.heard(after(second), DhKey([key; 32])));
        }
    }

    fn after(seconds: u64) -> Instant {
        Instant::ZERO + Duration::from_secs(seconds)
    }

    // [LINK-W-038]
    #[test]
    fn a_member_is_gone_after_three_failed_dials_over_a_minute_and_back_when_it_is_met() {
        for (dials, is_gone) in [
            (&[0, 10, 20][..], false),
            (&[0, 60], false),
            (&[0, 30, 59], false),
            (&[0, 30, 60], true),
            (&[0, 10, 20, 61], true),
        ] {
            let mut presence = Presence::of_relay(&RepairTiming::default());
            dials.iter().for_each(|second| {
                presence.failed(after(*second), at(1));
                hear_two(&mut presence, *second + 1);
            });
            assert_eq!(presence.is_gone(&at(1)), is_gone, "{dials:?}");
            assert_eq!(presence.take_gone().len(), usize::from(is_gone));
            assert_eq!(presence.met(&at(1)), is_gone);
            assert!(!presence.is_gone(&at(1)) && presence.may_dial(after(61), &at(1)));
        }
    }

    // [LINK-W-040]
    #[test]
    fn who_is_gone_is_tried_from_time_to_time_and_passed_over_in_between() {
        let timing = RepairTiming::default();
        let mut presence = Presence::of_relay(&timing);
        [0, 30, 60].into_iter().for_each(|second| {
            presence.failed(after(second), at(1));
            hear_two(&mut presence, second + 1);
        });
        let retry = after(60) + timing.gone_retry;
        let before = Instant::from_micros(retry.as_micros() - 1);
        assert!(presence.is_to_pass_over(before, &at(1)) && !presence.is_to_pass_over(retry, &at(1)));
        presence.failed(retry, at(1));
        assert!(presence.is_gone(&at(1)) && presence.is_to_pass_over(retry, &at(1)));
        presence.take_gone();
        presence.failed(retry + timing.gone_retry, at(1));
        assert!(presence.take_gone().is_empty(), "told once");
    }

    // [LINK-W-039]
    #[test]
    fn a_relay_that_was_cut_off_itself_holds_its_failed_dials_against_nobody() {
        let mut presence = Presence::of_relay(&RepairTiming::default());
        hear_two(&mut presence, 100);
        [101, 130, 161, 190].into_iter().for_each(|second| presence.failed(after(second), at(1)));
        assert!(!presence.is_gone(&at(1)), "nothing else was heard either");
        hear_two(&mut presence, 191);
        presence.failed(after(192), at(1));
        assert!(!presence.is_gone(&at(1)), "what failed in the dark is forgotten");
        [222, 253].into_iter().for_each(|second| {
            hear_two(&mut presence, second);
            presence.failed(after(second), at(1));
        });
        assert!(presence.is_gone(&at(1)));
    }

    // [LINK-W-038]
    #[test]
    fn one_relay_that_is_heard_is_not_enough_to_hold_failed_dials_against_others() {
        let mut presence = Presence::of_relay(&RepairTiming::default());
        [0, 30, 61, 90].into_iter().for_each(|second| {
            presence.heard(after(second), DhKey([7; 32]));
            presence.failed(after(second), at(1));
        });
        assert!(!presence.is_gone(&at(1)));
    }

    // [LINK-W-037]
    #[test]
    fn a_client_leaves_a_failed_dial_alone_for_a_moment_and_gives_nobody_up() {
        let mut presence = Presence::default();
        for second in [0, 30, 60, 90] {
            assert!(presence.may_dial(after(second), &at(1)));
            presence.failed(after(second), at(1));
            assert!(!presence.may_dial(after(second), &at(1)) && !presence.is_gone(&at(1)));
        }
    }

    #[test]
    fn failed_dials_that_are_remembered_are_capped_and_make_room_with_time() {
        let mut presence = Presence::of_relay(&RepairTiming::default());
        for number in 0..DIAL_BACKOFFS_MAX + 10 {
            presence.failed(Instant::ZERO, at(number));
        }
        assert_eq!(presence.failing.len(), DIAL_BACKOFFS_MAX);
        presence.failed(Instant::ZERO + DIAL_BACKOFF, at(DIAL_BACKOFFS_MAX));
        assert_eq!(presence.failing.len(), 1);
    }
}
