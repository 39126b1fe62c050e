//! How many bytes may still be spent: a burst, then a rate. Knows nothing of what they are spent on.

use crate::time::{Duration, Instant};

/// The budget. What was begun is paid for even if it costs more than there is; nothing new begins until the debt is gone.
#[derive(Debug)]
pub(super) struct Budget {
    burst: Duration,
    per_s: u64,
    /// When all that was spent will have been earned at the rate alone.
    earned_at: Instant,
}

impl Budget {
    /// Nothing of it is spent yet.
    pub(super) fn new(burst: u64, per_s: u64) -> Self {
        Self { burst: time_for(burst, per_s), per_s, earned_at: Instant::ZERO }
    }

    /// When something new may begin; now or before, if it may.
    pub(super) fn free_at(&self) -> Instant {
        Instant::ZERO + Instant::ZERO.until(self.earned_at).saturating_sub(self.burst)
    }

    pub(super) fn spend(&mut self, now: Instant, bytes: usize) {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        self.earned_at = self.earned_at.max(now) + time_for(bytes, self.per_s);
    }
}

fn time_for(bytes: u64, per_s: u64) -> Duration {
    Duration::from_micros(bytes.saturating_mul(1_000_000) / per_s.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::{REPAIR_BYTES_BURST, REPAIR_BYTES_PER_S};

    #[test]
    fn a_burst_is_free_then_the_rate_holds() {
        let (mut budget, start) =
            (Budget::new(REPAIR_BYTES_BURST, REPAIR_BYTES_PER_S), Instant::ZERO + Duration::from_secs(100));
        let mebibyte = 1 << 20;
        let mut spent = 0;
        while budget.free_at() <= start {
            budget.spend(start, mebibyte);
            spent += 1;
        }
        assert_eq!(spent, 5, "four of the burst, and the one that was begun with something left");
        assert_eq!(budget.free_at(), start + Duration::from_secs(1));
        budget.spend(budget.free_at(), mebibyte);
        assert_eq!(budget.free_at(), start + Duration::from_secs(2));
        let rested = start + Duration::from_secs(3_600);
        budget.spend(rested, 1);
        assert!(budget.free_at() < rested, "time that was not used gives one burst, no more");
    }
}
