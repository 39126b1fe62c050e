//! The only reader of clocks. It must not know who asks, or why.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::time::{Instant, Now, UnixTime};

/// A monotonic clock that starts with the process's shell, and the wall clock.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    origin: tokio::time::Instant,
}

impl Clock {
    /// A clock that stands at zero now.
    #[must_use]
    pub fn start() -> Self {
        Self { origin: tokio::time::Instant::now() }
    }

    /// Both times.
    #[must_use]
    pub fn now(&self) -> Now {
        Now { instant: self.instant(), unix: Self::unix() }
    }

    /// The monotonic time alone.
    #[must_use]
    pub fn instant(&self) -> Instant {
        Instant::from_micros(u64::try_from(self.origin.elapsed().as_micros()).unwrap_or(u64::MAX))
    }

    /// The wall clock alone; 0 when it stands before 1970.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this file is where clocks are read")]
    pub fn unix() -> UnixTime {
        UnixTime(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()))
    }

    /// A deadline as tokio has it; one beyond the end of its scale is a day away.
    pub(super) fn deadline(&self, at: Instant) -> tokio::time::Instant {
        let day = || tokio::time::Instant::now() + std::time::Duration::from_secs(86_400);
        self.origin.checked_add(Instant::ZERO.until(at)).unwrap_or_else(day)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_never_goes_back_and_deadlines_lie_where_they_were_set() {
        let clock = Clock::start();
        let (one, two) = (clock.now(), clock.now());
        assert!(one.instant <= two.instant && one.unix.0 > 1_700_000_000);
        let at = Instant::from_micros(5_000_000);
        assert_eq!(clock.deadline(at) - clock.origin, std::time::Duration::from_secs(5));
        assert!(clock.deadline(Instant::from_micros(u64::MAX)) > clock.deadline(at));
    }
}
