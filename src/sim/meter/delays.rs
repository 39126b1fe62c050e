//! How long circuits take from hop to hop, as an attacker learns it from circuits of his own. It must not know whose they are.

use crate::sim::draw::real_count;

/// Two bins of one distribution are at least so far apart, seconds.
const BIN_MIN_S: f64 = 1e-3;
/// Most bins of a distribution.
const BINS_MAX: usize = 200;
/// What arithmetic may lose of a time, seconds.
const SLACK_S: f64 = 1e-6;

/// A density over times: bins that hold equally many of the cases that it was learned from.
#[derive(Clone, PartialEq, Debug)]
pub struct Delay {
    /// Where a bin begins, seconds, and its density; by begin.
    bins: Vec<(f64, f64)>,
    end: f64,
}

impl Delay {
    /// What these cases show, seconds each; `None` without any.
    #[must_use]
    pub fn learned(mut cases: Vec<f64>) -> Option<Self> {
        cases.sort_by(f64::total_cmp);
        let (first, last) = (*cases.first()?, *cases.last()?);
        let all = real_count(cases.len());
        let each = cases.len().div_ceil(cases.len().isqrt().clamp(1, BINS_MAX));
        let (mut begin, mut taken, mut held) = (first - SLACK_S, 0, 0);
        let mut bins = Vec::new();
        let end = last.max(first + BIN_MIN_S) + SLACK_S;
        for chunk in cases.chunks(each) {
            held += chunk.len();
            taken += chunk.len();
            let until = cases.get(taken).copied().unwrap_or(end);
            // Equal times fill bins of no width: they go on until there is some.
            if until - begin >= BIN_MIN_S || taken == cases.len() {
                bins.push((begin, real_count(held) / all / (until - begin).max(BIN_MIN_S)));
                (begin, held) = (until, 0);
            }
        }
        Some(Self { bins, end })
    }

    /// Every time between these as likely, seconds.
    #[must_use]
    pub fn even(from: f64, to: f64) -> Self {
        Self { bins: vec![(from, 1.0 / (to - from).max(BIN_MIN_S))], end: to }
    }

    /// Density at this time: for each second.
    #[must_use]
    pub fn at(&self, time: f64) -> f64 {
        if time >= self.end {
            return 0.0;
        }
        let after = self.bins.partition_point(|(begin, _)| *begin <= time);
        after.checked_sub(1).and_then(|index| self.bins.get(index)).map_or(0.0, |(_, density)| *density)
    }

    /// No time is as long as this, seconds.
    #[must_use]
    pub fn end(&self) -> f64 {
        self.end
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mass(delay: &Delay) -> f64 {
        let ends = delay.bins.iter().skip(1).map(|(begin, _)| *begin).chain([delay.end]);
        delay.bins.iter().zip(ends).map(|((begin, density), end)| (end - begin) * density).sum()
    }

    #[test]
    fn a_density_holds_all_and_nothing_lies_outside() {
        let spread: Vec<f64> = (0..5_000_u32).map(|case| 0.1 + f64::from(case % 977) / 200.0).collect();
        for cases in [spread, vec![0.25; 100], vec![1.0], vec![0.1, 0.1, 0.1, 7.0]] {
            let (low, high) = (cases.iter().copied().fold(9.0, f64::min), cases.iter().copied().fold(0.0, f64::max));
            let delay = Delay::learned(cases.clone()).unwrap();
            assert!((mass(&delay) - 1.0).abs() < 0.01, "{}", mass(&delay));
            assert!(cases.iter().all(|case| delay.at(*case) > 0.0));
            assert!(delay.at(low - 0.01) == 0.0 && delay.at(high + 0.01) == 0.0);
        }
        assert_eq!(Delay::learned(vec![]), None);
    }

    #[test]
    fn what_happens_more_often_is_denser() {
        let cases: Vec<f64> = (0..1_000_u32).map(|case| f64::from(case) / 1_000.0).map(|x| x * x).collect();
        let delay = Delay::learned(cases).unwrap();
        assert!(delay.at(0.01) > 3.0 * delay.at(0.5), "{} {}", delay.at(0.01), delay.at(0.5));
        assert!((Delay::even(1.0, 3.0).at(2.0) - 0.5).abs() < 1e-9);
    }
}
