//! The replay filter: every build packet is taken once. Full means refuse, never forget. Source: spec/onion.md §6.

use std::collections::{BTreeMap, BTreeSet};

use crate::limits::{REPLAY_BUCKET_S, REPLAY_BUCKET_TOLERANCE, REPLAY_ENTRIES_MAX};
use crate::time::UnixTime;

/// Why a packet that opened is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReplayRefused {
    /// It came before.
    #[error("build packet came before")]
    Seen,
    /// Its time is not one of ours.
    #[error("build packet is too old or from the future")]
    Time,
    /// The memory is full.
    #[error("replay memory is full")]
    Full,
}

/// Remembers the packets of the present time bucket and its neighbours. One per role, never shared.
pub struct ReplayFilter {
    buckets: BTreeMap<u64, BTreeSet<[u8; 16]>>,
    len: usize,
    len_max: usize,
}

impl Default for ReplayFilter {
    fn default() -> Self {
        Self { buckets: BTreeMap::new(), len: 0, len_max: REPLAY_ENTRIES_MAX }
    }
}

impl ReplayFilter {
    /// Takes a packet once.
    ///
    /// # Errors
    /// [`ReplayRefused`] names why not.
    pub fn take(&mut self, tag: [u8; 16], time: UnixTime, now: UnixTime) -> Result<(), ReplayRefused> {
        let present = now.0 / REPLAY_BUCKET_S;
        self.forget_before(present.saturating_sub(REPLAY_BUCKET_TOLERANCE));
        let bucket = time.0 / REPLAY_BUCKET_S;
        if !time.0.is_multiple_of(REPLAY_BUCKET_S) || bucket.abs_diff(present) > REPLAY_BUCKET_TOLERANCE {
            return Err(ReplayRefused::Time);
        }
        if self.buckets.get(&bucket).is_some_and(|tags| tags.contains(&tag)) {
            return Err(ReplayRefused::Seen);
        }
        if self.len >= self.len_max {
            return Err(ReplayRefused::Full);
        }
        self.len += 1;
        self.buckets.entry(bucket).or_default().insert(tag);
        Ok(())
    }

    /// Packets remembered, and how many at most.
    #[must_use]
    pub const fn size(&self) -> (usize, usize) {
        (self.len, self.len_max)
    }

    fn forget_before(&mut self, bucket: u64) {
        while let Some(oldest) = self.buckets.first_entry() {
            if *oldest.key() >= bucket {
                break;
            }
            self.len -= oldest.remove().len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // [ONION-R-046] [ONION-R-047]
    #[test]
    fn a_packet_is_taken_once_and_only_in_its_time() {
        let mut filter = ReplayFilter::default();
        let now = UnixTime(60_000);
        assert_eq!(filter.take([1; 16], now, now), Ok(()));
        assert_eq!(filter.take([1; 16], now, now), Err(ReplayRefused::Seen));
        for (time, result) in [
            (60_600, Ok(())),
            (59_400, Ok(())),
            (61_200, Err(ReplayRefused::Time)),
            (58_800, Err(ReplayRefused::Time)),
            (60_001, Err(ReplayRefused::Time)),
        ] {
            assert_eq!(filter.take([2; 16], UnixTime(time), now), result, "{time}");
        }
    }

    #[test]
    fn clocks_that_go_back_and_forth_never_let_a_packet_in_twice() {
        let mut filter = ReplayFilter::default();
        let time = UnixTime(60_000);
        assert_eq!(filter.take([1; 16], time, UnixTime(60_000)), Ok(()));
        assert_eq!(filter.take([1; 16], time, UnixTime(60_650)), Err(ReplayRefused::Seen));
        assert_eq!(filter.take([1; 16], time, UnixTime(61_900)), Err(ReplayRefused::Time));
    }

    // [ONION-R-048]
    #[test]
    fn a_full_memory_refuses_and_forgets_only_with_time() {
        let mut filter = ReplayFilter { len_max: 2, ..ReplayFilter::default() };
        let now = UnixTime(60_000);
        for tag in [1, 2] {
            assert_eq!(filter.take([tag; 16], now, now), Ok(()));
        }
        assert_eq!(filter.take([3; 16], now, now), Err(ReplayRefused::Full));
        assert_eq!(filter.take([1; 16], now, now), Err(ReplayRefused::Seen));
        let later = UnixTime(61_200);
        assert_eq!(filter.take([3; 16], later, later), Ok(()));
    }
}
