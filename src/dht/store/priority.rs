//! Which value goes when a store is full: a weighted lottery under a secret key. Pure; it must not know where values are kept.
//!
//! Weighted sampling without replacement (Efraimidis, Spirakis 2006: the greatest u^(1/w) stay) with a weight that doubles with
//! each [`STORE_AGE_DOUBLES_S`]. Of log2(-log2 u) - log2 w the part that grows with time is the same for all, so a rank stands
//! still and can be an index. Whole numbers alone: a rank that was written yesterday is found tomorrow. Source: spec/dht.md §4.1.

use core::fmt;

use zeroize::Zeroizing;

use super::Place;
use crate::crypto::CryptoRng;
use crate::crypto::hash::blake3_keyed;
use crate::crypto::random_bytes;
use crate::limits::{STORE_AGE_DOUBLES_S, STORE_AGE_PERIOD_S};
use crate::time::UnixTime;
use crate::wire::record::ValueKind;

/// A store's secret, from which every place's numbers follow. Whoever has it can tell which values stay.
#[derive(Clone)]
pub struct StoreKey(Zeroizing<[u8; 32]>);

/// The place of a value among those of its store: the greatest goes first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Rank(pub u64);

/// One doubling of the weight, in units of a rank.
const DOUBLING: u64 = 1 << FRACTION_BITS;
const FRACTION_BITS: u32 = 32;

impl StoreKey {
    /// Draws one.
    #[must_use]
    pub fn generate(rng: &mut dyn CryptoRng) -> Self {
        Self(Zeroizing::new(random_bytes(rng)))
    }

    /// One that was drawn before: 32 bytes.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; 32]) -> Self {
        Self(Zeroizing::new(*bytes))
    }

    /// To be kept with the store, and nowhere else.
    #[must_use]
    pub fn to_bytes(&self) -> Zeroizing<[u8; 32]> {
        self.0.clone()
    }

    /// From when on a value's age counts that is put now, where one is held since `held`: what updates it and what renews it is as
    /// old as that, but not older than the place's period.
    #[must_use]
    pub fn since(&self, place: &Place, held: Option<UnixTime>, now: UnixTime) -> UnixTime {
        let (_, begun) = self.period(place, now);
        held.map_or(now, |since| since.min(now).max(begun))
    }

    /// The rank of what stands there since then. The same for every value that does, whatever is in it.
    #[must_use]
    pub fn rank(&self, place: &Place, since: UnixTime) -> Rank {
        let (period, _) = self.period(place, since);
        let drawn = self.number(b"number", place, period);
        // -log2 of the even number drawn / 2^64: so that its own logarithm is that of an exponentially distributed one.
        let luck = log2((64 * DOUBLING).saturating_sub(log2(drawn)));
        Rank(since.0.saturating_mul(DOUBLING / STORE_AGE_DOUBLES_S).saturating_add(luck))
    }

    /// Which period of this place it is, and when it began. They begin at another, secret moment for each place.
    fn period(&self, place: &Place, now: UnixTime) -> (u64, UnixTime) {
        let shift = self.number(b"period", place, 0) % STORE_AGE_PERIOD_S;
        let shifted = now.0.saturating_add(shift);
        (shifted / STORE_AGE_PERIOD_S, UnixTime(now.0.saturating_sub(shifted % STORE_AGE_PERIOD_S)))
    }

    fn number(&self, what: &[u8; 6], (kind, location): &Place, period: u64) -> u64 {
        let kind = [u8::from(*kind == ValueKind::Hashed)];
        let hash = blake3_keyed(&self.0, &[b"bauta/1 rank", what, &kind, &location.0, &period.to_be_bytes()]);
        hash.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes))
    }
}

impl fmt::Debug for StoreKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StoreKey(..)")
    }
}

/// Base-2 logarithm in units of 2^-32, rounded down; 0 for 0 and 1.
fn log2(number: u64) -> u64 {
    let whole = number.max(1).ilog2();
    // In [1, 2), as so many 2^-63: its square is beyond 2 when the next bit of the logarithm is one.
    let mut rest = u128::from(number.max(1)) << (63 - whole);
    let mut log = u64::from(whole);
    for _ in 0..FRACTION_BITS {
        rest = (rest * rest) >> 63;
        let bit = u64::from(rest >= 1 << 64);
        rest >>= bit;
        log = 2 * log + bit;
    }
    log
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::keyspace::Id;

    const DAY_S: u64 = 86_400;

    fn place(number: u64) -> Place {
        let mut location = [0; 20];
        location[..8].copy_from_slice(&number.to_be_bytes());
        (ValueKind::Signed, Id(location))
    }

    fn key(byte: u8) -> StoreKey {
        StoreKey::from_bytes(&[byte; 32])
    }

    #[test]
    fn logarithms_are_right_to_their_last_bits() {
        for (number, expected) in [(0, 0), (1, 0), (2, DOUBLING), (1 << 63, 63 * DOUBLING), (3, 6_807_362_105)] {
            assert_eq!(log2(number), expected, "{number}");
        }
        assert_eq!(log2(u64::MAX), 64 * DOUBLING - 1);
    }

    #[test]
    fn an_hour_of_age_is_worth_one_doubling_and_nothing_else_moves_a_rank_within_a_period() {
        let (key, place) = (key(1), place(1));
        let (_, begun) = key.period(&place, UnixTime(1_800_000_000));
        let (early, late) = (key.rank(&place, begun), key.rank(&place, UnixTime(begun.0 + STORE_AGE_DOUBLES_S)));
        assert_eq!(late.0 - early.0, DOUBLING / STORE_AGE_DOUBLES_S * STORE_AGE_DOUBLES_S);
        let end = UnixTime(begun.0 + STORE_AGE_PERIOD_S);
        assert_ne!(
            key.number(b"number", &place, key.period(&place, end).0),
            key.number(b"number", &place, key.period(&place, begun).0)
        );
        assert_eq!(key.period(&place, end).1, end);
    }

    #[test]
    fn of_two_values_the_one_of_twice_the_weight_goes_first_in_a_third_of_all_draws() {
        let now = UnixTime(1_800_000_000);
        let older = UnixTime(now.0 - STORE_AGE_DOUBLES_S);
        let key = key(2);
        let first =
            (0..30_000).filter(|pair| key.rank(&place(2 * pair), older) > key.rank(&place(2 * pair + 1), now)).count();
        assert!((9_600..10_400).contains(&first), "{first}");
    }

    // [DHT-R-014]
    #[test]
    fn another_key_gives_other_numbers_and_other_periods_and_is_not_shown() {
        let now = UnixTime(1_800_000_000);
        assert_ne!(key(1).rank(&place(1), now), key(2).rank(&place(1), now));
        assert_ne!(key(1).period(&place(1), now), key(2).period(&place(1), now));
        assert_eq!(format!("{:?}", key(1)), "StoreKey(..)");
    }

    proptest! {
        #[test]
        fn what_is_put_again_is_as_old_as_before_until_its_period_ends(
            number: u64,
            days in proptest::collection::vec(0..20_u64, 1..12),
        ) {
            let (key, place) = (key(3), place(number));
            let mut now = UnixTime(1_800_000_000);
            let mut since = key.since(&place, None, now);
            prop_assert_eq!(since, now);
            for day in days {
                now = UnixTime(now.0 + day * DAY_S);
                let next = key.since(&place, Some(since), now);
                let (_, begun) = key.period(&place, now);
                prop_assert_eq!(next, since.max(begun));
                prop_assert!(now.0 - next.0 < STORE_AGE_PERIOD_S);
                since = next;
            }
        }
    }
}
