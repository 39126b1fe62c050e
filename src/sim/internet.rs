//! How long a packet takes between two nodes, and how much a node's access carries: a fixed time, or a synthetic internet that
//! follows from a seed. It must not know nodes, links or what is sent. Sources and fit: spec/simulation.md §2.

use super::draw::{mixed, share, whole};
use crate::time::Duration;

/// Kilometres that light goes in a fibre in a millisecond: two thirds of its speed in a vacuum.
const FIBRE_KM_PER_MS: f64 = 199.86;
/// Mean radius of the earth.
const EARTH_KM: f64 = 6_371.0;
/// How far from its city's centre a node stands, at most, in shares of the earth's radius: some 190 km.
const SPREAD: f64 = 0.03;
/// Deciles of measured round trips over those of light in a fibre on the great circle, of 45 pairs of cities.
const STRETCH: [f64; 11] = [1.27, 1.39, 1.46, 1.50, 1.54, 1.56, 1.68, 2.00, 2.29, 2.49, 3.33];

/// Places and how many in a thousand nodes are near them: name, latitude and longitude in degrees, weight.
const CITIES: [(f64, f64, u32); 25] = [
    // North America, 300: New York, Washington, Chicago, Dallas, Los Angeles, Seattle, Toronto.
    (40.7, -74.0, 60),
    (38.9, -77.0, 60),
    (41.9, -87.6, 40),
    (32.8, -96.8, 40),
    (34.1, -118.2, 45),
    (47.6, -122.3, 30),
    (43.7, -79.4, 25),
    // Europe, 420: Frankfurt, Amsterdam, London, Paris, Helsinki, Stockholm, Warsaw, Zurich, Madrid, Bucharest.
    (50.1, 8.7, 120),
    (52.4, 4.9, 65),
    (51.5, -0.1, 45),
    (48.9, 2.4, 65),
    (60.2, 24.9, 30),
    (59.3, 18.1, 20),
    (52.2, 21.0, 20),
    (47.4, 8.5, 20),
    (40.4, -3.7, 15),
    (44.4, 26.1, 20),
    // Asia, 220: Shanghai, Tokyo, Seoul, Singapore, Mumbai.
    (31.2, 121.5, 70),
    (35.7, 139.7, 45),
    (37.6, 127.0, 30),
    (1.3, 103.8, 50),
    (19.1, 72.9, 25),
    // South, 60: Sao Paulo, Sydney, Johannesburg.
    (-23.5, -46.6, 30),
    (-33.9, 151.2, 20),
    (-26.2, 28.0, 10),
];
/// Sum of the weights.
const WEIGHTS: u32 = 1_000;

/// How a node is connected: of a thousand nodes so many, what its access adds to each packet (median, milliseconds one way), and
/// what it carries each way.
const ACCESSES: [(u32, f64, u64); 3] = [
    // A data centre.
    (450, 0.5, 125_000_000),
    // Fibre to a home or an office.
    (350, 6.0, 12_500_000),
    // Copper.
    (200, 19.0, 2_500_000),
];

/// What a draw is for: draws of one node must not repeat each other.
#[derive(Clone, Copy)]
enum Draw {
    City,
    East,
    North,
    Access,
    AccessDelay,
    Stretch,
}

/// An internet: a time for each pair of nodes, a width for each node. Equal seeds, equal internets (on one platform: another's
/// sines may differ in the last bit). Nothing is kept for pairs, and a latency costs the same for any number of nodes.
#[derive(Clone, Debug)]
pub struct Internet {
    kind: Kind,
    /// What every access carries, when not drawn; bytes a second each way.
    width: Option<u64>,
}

#[derive(Clone, Debug)]
enum Kind {
    Fixed(Duration),
    Synthetic {
        seed: u64,
        /// The cities as points of the unit sphere, with the sum of weights up to and with each.
        cities: Vec<(Point, u32)>,
    },
}

/// A point of the unit sphere.
type Point = [f64; 3];

impl Internet {
    /// One time between any two nodes, one way; accesses carry whatever comes.
    #[must_use]
    pub const fn fixed(one_way: Duration) -> Self {
        Self { kind: Kind::Fixed(one_way), width: None }
    }

    /// Nodes in places of the world, with accesses of their own.
    #[must_use]
    pub fn synthetic(seed: u64) -> Self {
        let mut sum = 0;
        let city = |&(north, east, weight): &(f64, f64, u32)| {
            let (latitude, longitude) = (north.to_radians(), east.to_radians());
            sum += weight;
            let flat = latitude.cos();
            ([flat * longitude.cos(), flat * longitude.sin(), latitude.sin()], sum)
        };
        Self { kind: Kind::Synthetic { seed, cities: CITIES.iter().map(city).collect() }, width: None }
    }

    /// The same with one width for all accesses, in bytes a second each way.
    #[must_use]
    pub const fn with_width(mut self, bytes_per_s: u64) -> Self {
        self.width = Some(bytes_per_s);
        self
    }

    /// One way from one node to another: the same both ways, and zero to itself. Sending takes its own time, see
    /// [`Self::bytes_per_s`].
    #[must_use]
    pub fn latency(&self, a: u32, b: u32) -> Duration {
        if a == b {
            return Duration::ZERO;
        }
        match &self.kind {
            Kind::Fixed(one_way) => *one_way,
            Kind::Synthetic { seed, cities } => {
                // The order must not tell in the last bit either.
                let (a, b) = (a.min(b), a.max(b));
                let (from, to) = (place(*seed, cities, a), place(*seed, cities, b));
                let pair = u64::from(a) << 32 | u64::from(b);
                let stretch = stretch(share(drawn(*seed, pair, Draw::Stretch)));
                let ms = great_circle_km(from, to) / FIBRE_KM_PER_MS * stretch
                    + access_delay_ms(*seed, a)
                    + access_delay_ms(*seed, b);
                Duration::from_micros(whole(ms * 1e3).max(1))
            }
        }
    }

    /// What a node's access carries each way in a second; `None` when there is no bound.
    #[must_use]
    pub fn bytes_per_s(&self, node: u32) -> Option<u64> {
        match (&self.kind, self.width) {
            (_, Some(width)) => Some(width),
            (Kind::Fixed(_), None) => None,
            (Kind::Synthetic { seed, .. }, None) => Some(access(*seed, node).1),
        }
    }
}

/// A draw of a node, or of a pair: each purpose has a seed of its own.
const fn drawn(seed: u64, whose: u64, what: Draw) -> u64 {
    let purpose = match what {
        Draw::City => 1,
        Draw::East => 2,
        Draw::North => 3,
        Draw::Access => 4,
        Draw::AccessDelay => 5,
        Draw::Stretch => 6,
    };
    mixed(mixed(seed, purpose), whose)
}

fn place(seed: u64, cities: &[(Point, u32)], node: u32) -> Point {
    let whose = u64::from(node);
    let at = u32::try_from(drawn(seed, whose, Draw::City) % u64::from(WEIGHTS)).unwrap_or(0);
    let index = cities.partition_point(|(_, sum)| *sum <= at);
    let [x, y, z] = cities.get(index).map_or([0.0, 0.0, 1.0], |(point, _)| *point);
    let aside = |what| (2.0 * share(drawn(seed, whose, what)) - 1.0) * SPREAD;
    // Some step east along the parallel and some step along the axis; then back to the sphere.
    let (east, north) = (aside(Draw::East), aside(Draw::North));
    let moved = [x - y * east, y + x * east, z + north];
    let length = moved.iter().map(|part| part * part).sum::<f64>().sqrt();
    moved.map(|part| part / length)
}

fn great_circle_km(from: Point, to: Point) -> f64 {
    let cosine: f64 = from.iter().zip(to).map(|(one, other)| one * other).sum();
    EARTH_KM * cosine.clamp(-1.0, 1.0).acos()
}

/// The stretch of this rank among all: between two deciles in a straight line.
fn stretch(rank: f64) -> f64 {
    let tenths = rank * 10.0;
    let index = usize::try_from(whole(tenths)).unwrap_or(0).min(STRETCH.len() - 2);
    let at = |index: usize| STRETCH.get(index).copied().unwrap_or(1.0);
    at(index) + (at(index + 1) - at(index)) * tenths.fract()
}

/// Median delay and width of a node's access.
fn access(seed: u64, node: u32) -> (f64, u64) {
    let mut left = drawn(seed, u64::from(node), Draw::Access) % u64::from(WEIGHTS);
    for (weight, delay, width) in ACCESSES {
        match left.checked_sub(u64::from(weight)) {
            Some(rest) => left = rest,
            None => return (delay, width),
        }
    }
    (0.0, u64::MAX)
}

/// About lognormal round the median: one in six is below half of it, one in six above twice.
fn access_delay_ms(seed: u64, node: u32) -> f64 {
    let (median, _) = access(seed, node);
    let of_node = drawn(seed, u64::from(node), Draw::AccessDelay);
    // The sum of three uniform draws is nearly normal, and has no tail that would make one node the slowest of all.
    let sum: f64 = (0..3).map(|step| share(mixed(of_node, step))).sum();
    median * ((2.0 * sum - 3.0) * core::f64::consts::LN_2).exp()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Round trips of so many pairs in milliseconds, sorted.
    fn round_trips(internet: &Internet, pairs: u32) -> Vec<f64> {
        let of = |pair: u32| 2e3 * internet.latency(2 * pair, 2 * pair + 1).as_secs_f64();
        let mut all: Vec<f64> = (0..pairs).map(of).collect();
        all.sort_by(f64::total_cmp);
        all
    }

    fn between_cities(from: usize, to: usize) -> f64 {
        let Kind::Synthetic { cities, .. } = Internet::synthetic(0).kind else { unreachable!() };
        2.0 * great_circle_km(cities[from].0, cities[to].0) / FIBRE_KM_PER_MS
    }

    #[test]
    fn weights_and_shares_are_whole() {
        assert_eq!(CITIES.iter().map(|(.., weight)| weight).sum::<u32>(), WEIGHTS);
        assert_eq!(ACCESSES.iter().map(|(weight, ..)| weight).sum::<u32>(), WEIGHTS);
        assert!(STRETCH.windows(2).all(|pair| pair[0] <= pair[1]));
    }

    #[test]
    fn a_fixed_internet_is_one_time_and_as_wide_as_told() {
        let internet = Internet::fixed(Duration::from_millis(50));
        assert_eq!((internet.latency(1, 2), internet.latency(7, 7)), (Duration::from_millis(50), Duration::ZERO));
        assert_eq!(internet.bytes_per_s(1), None);
        assert_eq!(internet.with_width(1_000).bytes_per_s(1), Some(1_000));
    }

    #[test]
    fn a_synthetic_internet_is_symmetric_never_instant_and_follows_from_its_seed() {
        let (one, same, other) = (Internet::synthetic(1), Internet::synthetic(1), Internet::synthetic(2));
        let mut differ = 0;
        for a in 0..60 {
            for b in 0..60 {
                assert_eq!(one.latency(a, b), one.latency(b, a));
                assert_eq!(one.latency(a, b), same.latency(a, b));
                assert!(a == b || one.latency(a, b) > Duration::ZERO);
                differ += usize::from(one.latency(a, b) != other.latency(a, b));
            }
        }
        assert!(differ > 3_000);
        assert_eq!(one.latency(u32::MAX, 0), one.latency(0, u32::MAX));
    }

    // The figures of spec/simulation.md §2.
    #[test]
    fn round_trips_between_nodes_come_out_as_the_page_says() {
        for seed in 1..=5 {
            let all = round_trips(&Internet::synthetic(seed), 20_000);
            let at = |percent: usize| all[all.len() * percent / 100];
            for (percent, meant) in [(10, 30.0), (25, 85.0), (50, 152.0), (75, 214.0), (90, 281.0)] {
                assert!(
                    (at(percent) / meant - 1.0).abs() < 0.04,
                    "{percent} of a hundred: {}, not {meant}",
                    at(percent)
                );
            }
            assert!(all.iter().all(|one| *one < 900.0));
        }
    }

    // Measured over a provider's backbone: Washington to Frankfurt 91 ms, Dallas to Tokyo 143, London-Sao Paulo 188.
    #[test]
    fn measured_pairs_lie_within_the_stretches() {
        for (from, to, measured) in [(1, 7, 91.0), (3, 18, 143.0), (9, 22, 188.0), (7, 23, 250.0)] {
            let ideal = between_cities(from, to);
            assert!((STRETCH[0]..=STRETCH[10]).contains(&(measured / ideal)), "{from} {to}: {ideal}");
        }
    }

    #[test]
    fn accesses_come_in_their_shares_with_their_median_delays() {
        for (weight, delay, width) in ACCESSES {
            let internet = Internet::synthetic(3);
            let its: Vec<u32> = (0..20_000).filter(|node| internet.bytes_per_s(*node) == Some(width)).collect();
            let found = u32::try_from(its.len()).unwrap() / 20;
            assert!(found.abs_diff(weight) < 15, "{found} of a thousand, not {weight}");
            let mut delays: Vec<f64> = its.iter().map(|node| access_delay_ms(3, *node)).collect();
            delays.sort_by(f64::total_cmp);
            let median = delays[delays.len() / 2];
            assert!((median / delay - 1.0).abs() < 0.05, "{median}, not {delay}");
        }
    }
}
