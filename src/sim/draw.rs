//! Numbers drawn from a seed without a state, and the few conversions between whole and real numbers that the simulator needs.
//! It must not know what is drawn.

use core::time::Duration;

/// 2^32, as a real number.
const TWO_32: f64 = 4_294_967_296.0;

/// A number that looks random and follows from these two alone: the finisher of SplitMix64 over their mixture.
/// Source: Steele, Lea and Flood, Fast Splittable Pseudorandom Number Generators (2014).
#[must_use]
pub const fn mixed(seed: u64, number: u64) -> u64 {
    let mut z = seed ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The number as a share: 0 inclusive to 1 exclusive.
#[must_use]
pub fn share(number: u64) -> f64 {
    let upper = u32::try_from(number >> 32).unwrap_or(u32::MAX);
    f64::from(upper) / TWO_32
}

/// A whole number as a real one; exact up to 2^53.
#[must_use]
pub fn real(number: u64) -> f64 {
    let lower = u32::try_from(number & u64::from(u32::MAX)).unwrap_or(u32::MAX);
    let upper = u32::try_from(number >> 32).unwrap_or(u32::MAX);
    f64::from(upper) * TWO_32 + f64::from(lower)
}

/// A count as a real number; exact up to 2^53.
#[must_use]
pub fn real_count(count: usize) -> f64 {
    u64::try_from(count).map_or(f64::INFINITY, real)
}

/// A real number without its fraction; 0 for negative ones and NaN, the largest for what is too large.
#[must_use]
pub fn whole(number: f64) -> u64 {
    if number.is_nan() || number < 0.0 {
        return 0;
    }
    // A duration is the way that std has from a real number to a whole one without a cast.
    Duration::try_from_secs_f64(number.floor()).map_or(u64::MAX, |seconds| seconds.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_and_real_numbers_meet() {
        for number in [0, 1, 7, 1_000_000, u64::from(u32::MAX), 1 << 40, 1 << 53] {
            assert_eq!(whole(real(number)), number);
        }
        assert_eq!((whole(2.9), whole(-1.0), whole(f64::NAN), whole(1e300)), (2, 0, 0, u64::MAX));
        assert!((real_count(3) - 3.0).abs() < f64::EPSILON);
    }

    #[test]
    fn draws_are_uniform_enough_and_the_same_again() {
        let drawn: Vec<f64> = (0..10_000).map(|number| share(mixed(7, number))).collect();
        assert!(drawn.iter().all(|one| (0.0..1.0).contains(one)));
        for tenth in 0..10 {
            let from = f64::from(tenth) / 10.0;
            let inside = drawn.iter().filter(|one| (from..from + 0.1).contains(*one)).count();
            assert!((850..1_150).contains(&inside), "{tenth}: {inside}");
        }
        assert_eq!(mixed(7, 5), mixed(7, 5));
        assert_ne!(mixed(7, 5), mixed(8, 5));
    }
}
