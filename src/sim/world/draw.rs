//! Draws of the world: chances, times, session lengths, all from one seeded generator. Nothing here is for keys.

use rand::rngs::ChaCha20Rng;

use crate::crypto::random_bytes;
use crate::time::Duration;

/// A number in 0..1, evenly.
#[must_use]
pub fn unit(rng: &mut ChaCha20Rng) -> f64 {
    f64::from(u32::from_be_bytes(random_bytes(rng))) / (f64::from(u32::MAX) + 1.0)
}

/// Whether something of this chance happens. What cannot happen draws nothing.
#[must_use]
pub fn chance(rng: &mut ChaCha20Rng, p: f64) -> bool {
    p > 0.0 && unit(rng) < p
}

/// One of so many, evenly; 0 of none.
#[must_use]
pub fn below(rng: &mut ChaCha20Rng, count: usize) -> usize {
    let drawn = u64::from_be_bytes(random_bytes(rng));
    let count = u64::try_from(count).unwrap_or(u64::MAX).max(1);
    usize::try_from(drawn % count).unwrap_or(0)
}

/// A time in zero to this one, evenly.
#[must_use]
pub fn within(rng: &mut ChaCha20Rng, time: Duration) -> Duration {
    time.mul_f64(unit(rng))
}

/// A length of Weibull's distribution with this median and shape. Source: Stutzbach and Rejaie, Understanding churn in
/// peer-to-peer networks (2006): sessions fit it with shapes below 1.
#[must_use]
pub fn weibull(rng: &mut ChaCha20Rng, median: Duration, shape: f64) -> Duration {
    let scale = median.as_secs_f64() / core::f64::consts::LN_2.powf(1.0 / shape);
    let seconds = scale * (-(1.0 - unit(rng)).ln()).powf(1.0 / shape);
    Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX).min(Duration::from_secs(400 * 86_400))
}

/// A pause of a Poisson process of this mean.
#[must_use]
pub fn pause(rng: &mut ChaCha20Rng, mean: Duration) -> Duration {
    weibull(rng, mean.mul_f64(core::f64::consts::LN_2), 1.0)
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    #[test]
    fn draws_have_the_medians_and_means_they_are_asked_for() {
        let mut rng = ChaCha20Rng::seed_from_u64(1);
        let mut lengths: Vec<f64> =
            (0..20_001).map(|_| weibull(&mut rng, Duration::from_secs(3_600), 0.6).as_secs_f64()).collect();
        lengths.sort_by(f64::total_cmp);
        assert!((lengths[10_000] / 3_600.0 - 1.0).abs() < 0.05, "{}", lengths[10_000]);
        let pauses = (0..20_000).map(|_| pause(&mut rng, Duration::from_secs(10)).as_secs_f64());
        assert!((pauses.sum::<f64>() / 200_000.0 - 1.0).abs() < 0.05);
        let hits = (0..10_000).filter(|_| chance(&mut rng, 0.3)).count();
        assert!((2_800..3_200).contains(&hits), "{hits}");
        assert!((0..1_000).all(|_| below(&mut rng, 7) < 7 && within(&mut rng, Duration::from_secs(1)).as_secs() == 0));
    }
}
