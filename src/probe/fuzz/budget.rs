//! How much scripts may ask of a target in a second: two buckets. It must not know what for.

use crate::limits::{FUZZ_BUILDS_BURST, FUZZ_BUILDS_PER_S, FUZZ_CONNECTS_PER_S};
use crate::net::Clock;
use crate::time::{Duration, Instant};

/// Contents are counted in millionths: one a second is one unit a microsecond.
const UNIT: u64 = 1_000_000;

struct Bucket {
    burst: u64,
    per_s: u64,
    content: u64,
}

impl Bucket {
    fn new(burst: u32, per_s: u32) -> Self {
        let burst = u64::from(burst) * UNIT;
        Self { burst, per_s: per_s.into(), content: burst }
    }

    fn refill(&mut self, since: Duration) {
        let micros = u64::try_from(since.as_micros()).unwrap_or(u64::MAX);
        self.content = self.content.saturating_add(micros.saturating_mul(self.per_s)).min(self.burst);
    }

    /// How long until it holds so many.
    fn wait(&self, count: u32) -> Duration {
        let wanted = (u64::from(count) * UNIT).min(self.burst);
        Duration::from_micros(wanted.saturating_sub(self.content).div_ceil(self.per_s.max(1)))
    }

    fn take(&mut self, count: u32) {
        self.content = self.content.saturating_sub(u64::from(count) * UNIT);
    }
}

/// Connections and build packets of all lanes.
pub(super) struct Budget {
    clock: Clock,
    at: Instant,
    connects: Bucket,
    builds: Bucket,
}

impl Budget {
    pub(super) fn new(clock: Clock) -> Self {
        let connects = Bucket::new(FUZZ_CONNECTS_PER_S, FUZZ_CONNECTS_PER_S);
        let builds = Bucket::new(FUZZ_BUILDS_BURST, FUZZ_BUILDS_PER_S);
        Self { clock, at: clock.instant(), connects, builds }
    }

    /// Takes what a script needs, all of it or nothing; then how long to wait before asking again.
    pub(super) fn take(&mut self, connects: u32, builds: u32) -> Option<Duration> {
        self.take_at(self.clock.instant(), connects, builds)
    }

    fn take_at(&mut self, now: Instant, connects: u32, builds: u32) -> Option<Duration> {
        let since = self.at.until(now);
        self.at = self.at.max(now);
        self.connects.refill(since);
        self.builds.refill(since);
        let wait = self.connects.wait(connects).max(self.builds.wait(builds));
        if !wait.is_zero() {
            return Some(wait);
        }
        self.connects.take(connects);
        self.builds.take(builds);
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_burst_is_taken_at_once_and_then_so_many_in_a_second() {
        let mut budget = Budget::new(Clock::start());
        let start = budget.at;
        assert_eq!(budget.take_at(start, FUZZ_CONNECTS_PER_S, FUZZ_BUILDS_BURST), None);
        let second = Duration::from_secs(1);
        assert_eq!(budget.take_at(start, FUZZ_CONNECTS_PER_S, 0), Some(second));
        assert_eq!(budget.take_at(start, 0, FUZZ_BUILDS_PER_S), Some(second));
        assert_eq!(budget.take_at(start + second, FUZZ_CONNECTS_PER_S, FUZZ_BUILDS_PER_S), None);
        assert!(budget.take_at(start + second, 1, 0).is_some());
        // More than a burst is what a burst is: nobody waits for ever.
        assert_eq!(budget.take_at(start + 10 * second, u32::MAX, 0), None);
    }
}
