//! Time as an input: a monotonic instant and the wall clock in whole seconds. Nothing here reads a clock.

pub use core::time::Duration;

/// Microseconds since an arbitrary start; never goes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Instant(u64);

impl Instant {
    /// The start of the scale.
    pub const ZERO: Self = Self(0);

    /// An instant so many microseconds after the start.
    #[must_use]
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// Microseconds since the start.
    #[must_use]
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// Time from `self` to `later`; zero when `later` is not later.
    #[must_use]
    pub const fn until(self, later: Self) -> Duration {
        Duration::from_micros(later.0.saturating_sub(self.0))
    }
}

impl core::ops::Add<Duration> for Instant {
    type Output = Self;

    fn add(self, by: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(by.as_micros()).unwrap_or(u64::MAX)))
    }
}

/// Seconds since 1970-01-01 (UTC), as the wall clock has them: right to minutes, never trusted to seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct UnixTime(pub u64);

impl UnixTime {
    /// The time rounded down to a multiple of `step_s` seconds.
    #[must_use]
    pub const fn rounded(self, step_s: u64) -> Self {
        Self(self.0 - self.0 % step_s)
    }

    /// As 32 bits, as the wire has it (good until 2106).
    #[must_use]
    pub fn to_wire(self) -> u32 {
        u32::try_from(self.0).unwrap_or(u32::MAX)
    }

    /// From the 32 bits of the wire.
    #[must_use]
    pub fn from_wire(seconds: u32) -> Self {
        Self(u64::from(seconds))
    }
}

/// What a machine is told of the time with every input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// For deadlines.
    pub instant: Instant,
    /// For expiries and buckets.
    pub unix: UnixTime,
}

/// The earlier of two optional deadlines.
#[must_use]
pub fn earlier(a: Option<Instant>, b: Option<Instant>) -> Option<Instant> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (one, None) | (None, one) => one,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_saturate_and_differences_never_go_below_zero() {
        let late = Instant::from_micros(u64::MAX - 1);
        assert_eq!((late + Duration::from_secs(1)).as_micros(), u64::MAX);
        assert_eq!(late.until(Instant::ZERO), Duration::ZERO);
        assert_eq!(Instant::ZERO.until(Instant::from_micros(7)), Duration::from_micros(7));
    }

    #[test]
    fn rounding_goes_down_to_the_step() {
        assert_eq!(UnixTime(1_799).rounded(600), UnixTime(1_200));
        assert_eq!(UnixTime(1_800).rounded(600), UnixTime(1_800));
    }
}
