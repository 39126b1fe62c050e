//! Whether a relay that has started has met most of those that run, so that whom it tells of is the network. It knows numbers and
//! times alone. Source: spec/membership.md §2.3.

use crate::limits::{MEMBERS_NEWS_PART, SETTLED_PERCENT_MIN, SETTLED_QUIET};
use crate::time::{Duration, Instant};

/// How far a relay has come since its start.
pub(super) struct Settling {
    /// By then all have had their visits.
    over_at: Instant,
    /// How many it had met when somebody last was news, and when that was.
    met: usize,
    quiet_since: Instant,
}

impl Settling {
    /// Of a relay that starts now and tells of others for `presence` after their last meeting.
    pub(super) fn new(now: Instant, presence: Duration) -> Self {
        Self { over_at: now + presence, met: 0, quiet_since: now }
    }

    /// It met somebody; so many it has met of late.
    pub(super) fn note(&mut self, now: Instant, met: usize) {
        if met > self.met + self.met / MEMBERS_NEWS_PART {
            (self.met, self.quiet_since) = (met, now);
        }
    }

    /// Whether it has settled, having met so many of those it knows.
    pub(super) fn is_over(&self, now: Instant, met: usize, known: usize) -> bool {
        let is_quiet = self.quiet_since.until(now) >= SETTLED_QUIET;
        now >= self.over_at || (is_quiet && met * 100 >= known * SETTLED_PERCENT_MIN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::PRESENCE_MAX;

    fn at(millis: u64) -> Instant {
        Instant::ZERO + Duration::from_millis(millis)
    }

    // [MEMB-R-018]
    #[test]
    fn a_relay_settles_when_nobody_was_new_for_a_moment_and_it_met_most_of_those_it_knows() {
        let mut settling = Settling::new(at(0), PRESENCE_MAX);
        assert!(!settling.is_over(at(999), 1, 1) && settling.is_over(at(1_000), 1, 1));
        (1..=20).for_each(|met| settling.note(at(1_000 + 100 * u64::try_from(met).unwrap()), met));
        assert!(!settling.is_over(at(3_999), 20, 20) && settling.is_over(at(4_000), 20, 20));
        assert!(settling.is_over(at(4_000), 15, 20) && !settling.is_over(at(4_000), 14, 20));
        settling.note(at(4_500), 20);
        assert!(settling.is_over(at(4_500), 20, 20), "one whom it had met before is no news");
    }

    // [MEMB-R-018]
    #[test]
    fn where_many_come_and_go_one_newcomer_is_no_news() {
        for (news, is_over) in [(2, true), (3, true), (4, false)] {
            let mut settling = Settling::new(at(0), PRESENCE_MAX);
            settling.note(at(0), 192);
            settling.note(at(900), 192 + news);
            assert_eq!(settling.is_over(at(1_000), 192 + news, 192 + news), is_over, "{news}");
        }
    }

    // [MEMB-R-018]
    #[test]
    fn after_the_time_in_which_all_had_their_visits_a_relay_has_settled_whatever_it_knows() {
        let settling = Settling::new(at(0), PRESENCE_MAX);
        let over = Instant::ZERO + PRESENCE_MAX;
        assert!(settling.is_over(over, 1, 1_000));
        assert!(!settling.is_over(Instant::from_micros(over.as_micros() - 1), 1, 1_000));
    }
}
