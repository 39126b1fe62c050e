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

    /// As people read it, such as `2026-11-23 17:54:00 UTC`. Source: RFC 3339 §5.6, Gregorian in all years.
    #[must_use]
    pub fn to_utc(&self) -> String {
        let (days, seconds) = (self.0 / 86_400, self.0 % 86_400);
        // A year begins in March here: the leap day is its last. 400 years have 146,097 days, and 1970 begins 719,468 days after
        // the first of March of year 0.
        let days = days + 719_468;
        let (era, day) = (days / 146_097, days % 146_097);
        let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
        let day = day - (365 * year + year / 4 - year / 100);
        let month = (5 * day + 2) / 153;
        let day = day - (153 * month + 2) / 5 + 1;
        let (month, next) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
        let (hour, minute, second) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
        format!("{:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} UTC", era * 400 + year + next)
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
    fn times_read_as_the_calendar_has_them() {
        for (seconds, text) in [
            (0, "1970-01-01 00:00:00 UTC"),
            (951_782_400, "2000-02-29 00:00:00 UTC"),
            (951_868_799, "2000-02-29 23:59:59 UTC"),
            (951_868_800, "2000-03-01 00:00:00 UTC"),
            (1_709_164_800, "2024-02-29 00:00:00 UTC"),
            (1_767_225_599, "2025-12-31 23:59:59 UTC"),
            (4_107_542_400, "2100-03-01 00:00:00 UTC"),
            (4_294_967_295, "2106-02-07 06:28:15 UTC"),
        ] {
            assert_eq!(UnixTime(seconds).to_utc(), text);
        }
    }

    #[test]
    fn rounding_goes_down_to_the_step() {
        assert_eq!(UnixTime(1_799).rounded(600), UnixTime(1_200));
        assert_eq!(UnixTime(1_800).rounded(600), UnixTime(1_800));
    }
}
