//! Who may start a handshake: token buckets for each narrow prefix and for all. Pure; it must not know sockets.

use std::collections::BTreeMap;

use crate::limits::{
    HANDSHAKE_PREFIXES_MAX, HANDSHAKES_PER_PREFIX_BURST, HANDSHAKES_PER_PREFIX_PER_S, HANDSHAKES_PER_S,
};
use crate::time::Instant;
use crate::wire::address::{Address, Prefix};

/// Bucket contents are counted in millionths: one token a second is one unit a microsecond.
const TOKEN: u64 = 1_000_000;

/// So many at once, so many a second for long.
#[derive(Clone, Copy, Debug)]
struct Rate {
    burst: u32,
    per_s: u32,
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    content: u64,
    at: Instant,
}

impl Bucket {
    fn full(rate: Rate, now: Instant) -> Self {
        Self { content: u64::from(rate.burst) * TOKEN, at: now }
    }

    fn refill(&mut self, rate: Rate, now: Instant) {
        let micros = u64::try_from(self.at.until(now).as_micros()).unwrap_or(u64::MAX);
        let gained = micros.saturating_mul(u64::from(rate.per_s));
        self.content = self.content.saturating_add(gained).min(u64::from(rate.burst) * TOKEN);
        self.at = self.at.max(now);
    }

    fn is_full(&self, rate: Rate) -> bool {
        self.content >= u64::from(rate.burst) * TOKEN
    }
}

/// Counts handshakes, of at most [`HANDSHAKE_PREFIXES_MAX`] prefixes at once.
#[derive(Debug)]
pub(super) struct Admission {
    in_all: Rate,
    per_prefix: Rate,
    all: Bucket,
    prefixes: BTreeMap<Prefix, Bucket>,
}

impl Admission {
    /// With the rates of `limits.rs`.
    pub(super) fn new(now: Instant) -> Self {
        let in_all = Rate { burst: HANDSHAKES_PER_S, per_s: HANDSHAKES_PER_S };
        let per_prefix = Rate { burst: HANDSHAKES_PER_PREFIX_BURST, per_s: HANDSHAKES_PER_PREFIX_PER_S };
        Self { in_all, per_prefix, all: Bucket::full(in_all, now), prefixes: BTreeMap::new() }
    }

    /// Whether a handshake from this address may start now; if so, it is counted.
    pub(super) fn admit(&mut self, now: Instant, from: &Address) -> bool {
        self.all.refill(self.in_all, now);
        if self.all.content < TOKEN {
            return false;
        }
        let (prefix, rate) = (from.narrow_prefix(), self.per_prefix);
        if !self.prefixes.contains_key(&prefix) && self.prefixes.len() >= HANDSHAKE_PREFIXES_MAX {
            // A full bucket says nothing that a new one would not.
            self.prefixes.retain(|_, bucket| {
                bucket.refill(rate, now);
                !bucket.is_full(rate)
            });
            if self.prefixes.len() >= HANDSHAKE_PREFIXES_MAX {
                return false;
            }
        }
        let bucket = self.prefixes.entry(prefix).or_insert_with(|| Bucket::full(rate, now));
        bucket.refill(rate, now);
        if bucket.content < TOKEN {
            return false;
        }
        bucket.content -= TOKEN;
        self.all.content -= TOKEN;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::{HANDSHAKE_TIMEOUT, HANDSHAKES_PENDING_MAX};
    use crate::time::Duration;

    fn address(a: u8, b: u8, c: u8, d: u8) -> Address {
        Address((std::net::Ipv4Addr::new(a, b, c, d), 9).into())
    }

    fn admitted(admission: &mut Admission, now: Instant, from: &Address, attempts: u32) -> u32 {
        (0..attempts).map(|_| u32::from(admission.admit(now, from))).sum()
    }

    // [LINK-R-016]
    #[test]
    fn a_prefix_has_its_burst_and_then_its_rate_and_neighbours_in_it_share() {
        let mut admission = Admission::new(Instant::ZERO);
        let (one, same, other) = (address(10, 0, 0, 1), address(10, 0, 0, 200), address(10, 0, 1, 1));
        assert_eq!(admitted(&mut admission, Instant::ZERO, &one, 1_000), HANDSHAKES_PER_PREFIX_BURST);
        assert!(!admission.admit(Instant::ZERO, &same));
        assert!(admission.admit(Instant::ZERO, &other));
        let step = 1_000_000 / u64::from(HANDSHAKES_PER_PREFIX_PER_S);
        assert!(!admission.admit(Instant::from_micros(step - 1), &same));
        assert!(admission.admit(Instant::from_micros(step), &same));
        assert!(!admission.admit(Instant::from_micros(step), &same));
        let later = Instant::ZERO + Duration::from_secs(3_600);
        assert_eq!(admitted(&mut admission, later, &one, 1_000), HANDSHAKES_PER_PREFIX_BURST);
    }

    #[test]
    fn one_prefix_cannot_hold_all_places_of_handshakes_that_never_finish() {
        let mut admission = Admission::new(Instant::ZERO);
        let end = Instant::ZERO + HANDSHAKE_TIMEOUT;
        let mut now = Instant::ZERO;
        let mut count = 0;
        while now < end {
            count += admitted(&mut admission, now, &address(10, 0, 0, 1), 100);
            now = now + Duration::from_millis(10);
        }
        assert!(usize::try_from(count).unwrap() < HANDSHAKES_PENDING_MAX);
    }

    // [LINK-R-016]
    #[test]
    fn all_prefixes_together_have_a_limit_that_recovers() {
        let mut admission = Admission::new(Instant::ZERO);
        let count: u32 = (0..=255).map(|c| admitted(&mut admission, Instant::ZERO, &address(10, 0, c, 1), 10)).sum();
        assert_eq!(count, HANDSHAKES_PER_S);
        assert!(admission.admit(Instant::ZERO + Duration::from_secs(1), &address(10, 0, 255, 1)));
    }

    // [LINK-R-016]
    #[test]
    fn the_table_of_prefixes_is_capped_and_forgets_those_at_rest() {
        let mut admission = Admission::new(Instant::ZERO);
        admission.in_all = Rate { burst: 1_000_000, per_s: 1_000_000 };
        admission.all = Bucket::full(admission.in_all, Instant::ZERO);
        let nth = |n: usize| address(10, u8::try_from(n / 256).unwrap(), u8::try_from(n % 256).unwrap(), 1);
        for n in 0..HANDSHAKE_PREFIXES_MAX {
            assert!(admission.admit(Instant::ZERO, &nth(n)));
        }
        let newcomer = nth(HANDSHAKE_PREFIXES_MAX);
        assert!(!admission.admit(Instant::ZERO, &newcomer));
        assert_eq!(admission.prefixes.len(), HANDSHAKE_PREFIXES_MAX);
        assert!(admission.admit(Instant::ZERO + Duration::from_secs(1), &newcomer));
        assert_eq!(admission.prefixes.len(), 1);
    }
}
