//! How many bytes repair may still spend: a burst, then a rate. Knows nothing of what they are spent on.

use crate::limits::{REPAIR_BYTES_BURST, REPAIR_BYTES_PER_S};
use crate::time::{Duration, Instant};

/// The budget. What was begun is paid for even if it costs more than there is; nothing new begins until the debt is gone.
#[derive(Debug, Default)]
pub(super) struct Budget {
    /// When all that was spent will have been earned at the rate alone.
    earned_at: Instant,
}

impl Budget {
    /// When something new may begin; now or before, if it may.
    pub(super) fn free_at(&self) -> Instant {
        let burst = time_for(REPAIR_BYTES_BURST);
        Instant::ZERO + Instant::ZERO.until(self.earned_at).saturating_sub(burst)
    }

    pub(super) fn spend(&mut self, now: Instant, bytes: usize) {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        self.earned_at = self.earned_at.max(now) + time_for(bytes);
    }
}

fn time_for(bytes: u64) -> Duration {
    Duration::from_micros(bytes.saturating_mul(1_000_000) / REPAIR_BYTES_PER_S)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_free_then_the_rate_holds() {
        let (mut budget, start) = (Budget::default(), Instant::ZERO + Duration::from_secs(100));
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
