//! How keys spread over nodes, and what one join or one leave moves: the five nodes nearest by XOR, beside consistent and
//! rendezvous hashing over the same nodes and locations. Exact, without any traffic. Source: spec/simulation.md §6.

use rand::rngs::ChaCha20Rng;
use rand::{Rng, SeedableRng};

use super::{Progress, Refused, Watch};
use crate::crypto::hash::blake3;
use crate::keyspace::{Distance, Id, Location};
use crate::limits::{HOLDERS, ID_LEN, LOCATIONS, SIM_RENDEZVOUS_WEIGHTS_MAX};
use crate::sim::chart::{Chart, Scale};
use crate::sim::draw::{mixed, real_count};
use crate::sim::report::{Cell, Report, Spread, Table};
use crate::sim::settings::{Scenario, Settings};

/// What one join or leave may move on average, over its fair part.
const MOVED_MAX: f64 = 1.1;
/// Joins that are tried, each alone.
const JOINS: usize = 2_000;
/// Networks that they are spread over when there are few nodes: what a newcomer finds depends on where those few stand.
const NETWORKS_MAX: usize = 200;
/// Locations that are laid for that, in all networks together.
const JOIN_LOCATIONS_MAX: usize = 1_000_000;
/// Points that a node has on the ring, in the second row of consistent hashing.
const POINTS: u64 = 100;
/// Bits of a location.
const BITS: u32 = 160;
/// Points of a line in the chart of how keys spread.
const CURVE: usize = 100;
/// Locations between two looks at the watch.
const LOOK_EVERY: usize = 1 << 14;

/// Nodes and locations of one run, both sorted; drawn uniformly, as the protocol's hashes are.
struct Keyspace {
    nodes: Vec<Id>,
    locations: Vec<Location>,
}

/// How many locations each node holds, under one way of placing.
struct Loads {
    name: &'static str,
    of: Vec<usize>,
}

/// What one size of the network came to.
struct Size {
    nodes: usize,
    loads: Vec<Loads>,
    /// Of each join what it moved, over the fair part of a node.
    joins: Vec<f64>,
    /// The same of each leave.
    leaves: Vec<f64>,
}

pub(super) fn memory_needed(settings: &Settings) -> u64 {
    let nodes = settings.nodes.iter().copied().max().unwrap_or(0);
    let locations = settings.records.saturating_mul(LOCATIONS);
    // Of a node its id, loads, what it moved and its points on the ring; of a location its place and where it reaches.
    let bytes = nodes.saturating_mul(20 + 4 * 16 + 16 * 100).saturating_add(locations.saturating_mul(20 + 20 + 16));
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

pub(super) fn run(settings: &Settings, watch: &mut dyn Watch) -> Result<Report, Refused> {
    let mut report = Report::new(Scenario::Partitioning, settings);
    let mut log = Vec::new();
    let mut sizes = Vec::new();
    let runs = settings.nodes.iter().flat_map(|nodes| (0..settings.repeats).map(move |repeat| (*nodes, repeat)));
    let total = real_count(settings.nodes.len() * settings.repeats);
    for (done, (nodes, repeat)) in runs.enumerate() {
        if watch.is_stopped() {
            break;
        }
        let keyspace =
            Keyspace::drawn(seed_of(settings, nodes, repeat), nodes, settings.records.saturating_mul(LOCATIONS));
        let mut tell = |what: &str, part: f64, events: u64| {
            let part = (real_count(done) + part) / total;
            watch.progress(Progress { what: format!("{nodes} nodes, {what}"), part, virtual_s: 0.0, events });
            !watch.is_stopped()
        };
        let Some(loads) = keyspace.measure(&mut report.events, &mut tell) else { break };
        let Some(joins) = joins(settings, nodes, repeat, &mut |part| tell("joins", 0.9 + 0.1 * part, 0)) else { break };
        let own = loads.first().map(|loads| loads.of.as_slice()).unwrap_or_default();
        let fair = fair(nodes, keyspace.locations.len());
        let leaves = own.iter().map(|held| real_count(*held) / fair).collect();
        let size = Size { nodes, loads, joins, leaves };
        report.events += u64::try_from(size.joins.len()).unwrap_or(0);
        for loads in &size.loads {
            log.extend(loads.of.iter().flat_map(|load| load.to_be_bytes()));
        }
        log.extend(size.joins.iter().flat_map(|moved| moved.to_bits().to_be_bytes()));
        log = blake3(&[&log]).to_vec();
        sizes.push(size);
    }
    report.digest = crate::wire::hex::encode(log.get(..16).unwrap_or_default());
    tell_of(&mut report, settings, &sizes);
    Ok(report)
}

impl Keyspace {
    fn drawn(seed: u64, nodes: usize, locations: usize) -> Self {
        let mut rng = ChaCha20Rng::seed_from_u64(seed);
        let mut draw = |count: usize| {
            let mut ids: Vec<Id> = (0..count).map(|_| drawn_id(&mut rng)).collect();
            ids.sort_unstable();
            ids
        };
        Self { nodes: draw(nodes), locations: draw(locations) }
    }

    /// The loads under each way of placing; `None` when it was told to stop.
    fn measure(&self, events: &mut u64, tell: &mut dyn FnMut(&str, f64, u64) -> bool) -> Option<Vec<Loads>> {
        let laid = u64::try_from(self.locations.len()).unwrap_or(0);
        let mut nearest = vec![0; self.nodes.len()];
        for (done, location) in self.locations.iter().enumerate() {
            let part = 0.3 * ratio(done, self.locations.len());
            if done.is_multiple_of(LOOK_EVERY) && !tell("nearest by XOR", part, *events) {
                return None;
            }
            holders(&self.nodes, location).iter().for_each(|(_, node)| add(&mut nearest, *node, 1));
            *events += 1;
        }
        let mut loads = vec![Loads { name: "nearest by XOR (Bauta)", of: nearest }];
        for (name, points, part) in [("consistent hashing", 1, 0.3), ("consistent, 100 points", POINTS, 0.4)] {
            if !tell(name, part, *events) {
                return None;
            }
            loads.push(Loads { name, of: self.ring(points) });
            *events += laid;
        }
        if self.weights() <= SIM_RENDEZVOUS_WEIGHTS_MAX {
            let of = self.rendezvous(|done| tell("rendezvous hashing", 0.5 + 0.4 * done, *events))?;
            loads.push(Loads { name: "rendezvous hashing", of });
            *events += laid;
        }
        Some(loads)
    }

    /// For each location the distance of its last holder; none where whoever comes holds everything.
    fn reaches(&self) -> Vec<Option<Distance>> {
        let last = |location| holders(&self.nodes, location).get(HOLDERS - 1).map(|(distance, _)| *distance);
        self.locations.iter().map(last).collect()
    }

    /// What rendezvous hashing has to look at.
    fn weights(&self) -> u64 {
        u64::try_from(self.nodes.len().saturating_mul(self.locations.len())).unwrap_or(u64::MAX)
    }

    /// How many locations a new node would hold. Only those can be its own that stand where fewer than five nodes are nearer to
    /// them: it looks at the subtrees beside its path, and passes over those that have five nodes themselves.
    fn gained(&self, reaches: &[Option<Distance>], joiner: &Id) -> usize {
        let mut gained = 0;
        for shared in 0..=BITS {
            let (from, to) = range(&self.locations, joiner, shared);
            if from == to {
                break;
            }
            let beside = sibling(joiner, shared);
            if beside.is_some_and(|point| {
                let (first, end) = range(&self.nodes, &point, shared + 1);
                end - first >= HOLDERS
            }) {
                continue;
            }
            // At the last step the joiner's own point is left.
            let (from, to) = beside.map_or((from, to), |point| range(&self.locations, &point, shared + 1));
            let its = self.locations.get(from..to).unwrap_or_default().iter();
            let reaches = reaches.get(from..to).unwrap_or_default();
            let is_near = |(location, reach): &(&Location, &Option<Distance>)| {
                reach.is_none_or(|reach| location.distance(joiner) < reach)
            };
            gained += its.zip(reaches).filter(is_near).count();
        }
        gained
    }

    /// The loads when each location goes to the next five nodes on a ring where each node has so many points.
    fn ring(&self, points: u64) -> Vec<usize> {
        let points_all = self.nodes.len().saturating_mul(usize::try_from(points).unwrap_or(usize::MAX));
        let mut ring: Vec<(u64, usize)> = Vec::with_capacity(points_all);
        for (node, id) in self.nodes.iter().enumerate() {
            let own = first_bits(id);
            // The first point is the id itself: the same nodes at the same places as above.
            ring.extend((0..points).map(|point| (if point == 0 { own } else { mixed(own, point) }, node)));
        }
        ring.sort_unstable();
        let mut loads = vec![0; self.nodes.len()];
        for location in &self.locations {
            let start = ring.partition_point(|(point, _)| *point < first_bits(location));
            let mut taken = Vec::with_capacity(HOLDERS);
            for (_, node) in ring.iter().skip(start).chain(&ring) {
                if taken.len() == HOLDERS.min(self.nodes.len()) {
                    break;
                }
                if !taken.contains(node) {
                    taken.push(*node);
                    add(&mut loads, *node, 1);
                }
            }
        }
        loads
    }

    /// The loads when each location goes to the five nodes of the largest weights; `None` when it was told to stop.
    fn rendezvous(&self, mut tell: impl FnMut(f64) -> bool) -> Option<Vec<usize>> {
        let points: Vec<u64> = self.nodes.iter().map(first_bits).collect();
        let look_every = (LOOK_EVERY * HOLDERS / self.nodes.len().max(1)).max(16);
        let mut loads = vec![0; self.nodes.len()];
        for (done, location) in self.locations.iter().enumerate() {
            if done.is_multiple_of(look_every) && !tell(ratio(done, self.locations.len())) {
                return None;
            }
            let point = first_bits(location);
            let mut largest: Vec<(u64, usize)> = Vec::with_capacity(HOLDERS + 1);
            for (node, own) in points.iter().enumerate() {
                let weight = mixed(*own, point);
                if largest.len() < HOLDERS || largest.last().is_some_and(|(least, _)| weight > *least) {
                    let at = largest.partition_point(|(other, _)| *other >= weight);
                    largest.insert(at, (weight, node));
                    largest.truncate(HOLDERS);
                }
            }
            largest.iter().for_each(|(_, node)| add(&mut loads, *node, 1));
        }
        Some(loads)
    }
}

fn seed_of(settings: &Settings, nodes: usize, repeat: usize) -> u64 {
    let number = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
    mixed(mixed(settings.seed, number(nodes)), number(repeat))
}

/// What newcomers gain over the fair part, in networks of their own; `None` when it was told to stop.
fn joins(settings: &Settings, nodes: usize, repeat: usize, tell: &mut dyn FnMut(f64) -> bool) -> Option<Vec<f64>> {
    let networks = JOINS.div_ceil(nodes.max(1)).min(NETWORKS_MAX);
    let locations = settings.records.saturating_mul(LOCATIONS).min(JOIN_LOCATIONS_MAX / networks);
    let mut rng = ChaCha20Rng::seed_from_u64(mixed(seed_of(settings, nodes, repeat), u64::MAX));
    let mut joins = Vec::with_capacity(JOINS + NETWORKS_MAX);
    for network in 0..networks {
        if !tell(ratio(network, networks)) {
            return None;
        }
        let keyspace = Keyspace::drawn(rng.next_u64(), nodes, locations);
        let reaches = keyspace.reaches();
        let gained = (0..JOINS.div_ceil(networks)).map(|_| keyspace.gained(&reaches, &drawn_id(&mut rng)));
        joins.extend(gained.map(|gained| real_count(gained) / fair(nodes, locations)));
    }
    Some(joins)
}

fn drawn_id(rng: &mut ChaCha20Rng) -> Id {
    let mut bytes = [0; ID_LEN];
    rng.fill_bytes(&mut bytes);
    Id(bytes)
}

/// Indexes of those that share so many first bits with a point, from and up to.
fn range(sorted: &[Id], point: &Id, shared: u32) -> (usize, usize) {
    let (first, last) = point.neighbours(shared).into_inner();
    (sorted.partition_point(|id| *id < first), sorted.partition_point(|id| *id <= last))
}

/// A point that shares exactly so many first bits; none beyond the last.
fn sibling(point: &Id, shared: u32) -> Option<Id> {
    let mut other = *point;
    let byte = other.0.get_mut(usize::try_from(shared / 8).ok()?)?;
    *byte ^= 0x80 >> (shared % 8);
    Some(other)
}

/// The nodes nearest to a location with their distances, nearest first.
fn holders(nodes: &[Id], location: &Location) -> Vec<(Distance, usize)> {
    // All that share b bits are nearer than all that do not: the deepest subtree that has enough has all that count.
    let mut shared = nodes.len().checked_ilog2().unwrap_or(0);
    let (mut from, mut to) = range(nodes, location, shared);
    while to - from < HOLDERS && shared > 0 {
        shared -= 1;
        (from, to) = range(nodes, location, shared);
    }
    let near = nodes.get(from..to).unwrap_or_default().iter().zip(from..);
    let mut near: Vec<(Distance, usize)> = near.map(|(id, index)| (id.distance(location), index)).collect();
    near.sort_unstable();
    near.truncate(HOLDERS);
    near
}

fn first_bits(id: &Id) -> u64 {
    id.0.iter().take(8).fold(0, |bits, byte| bits << 8 | u64::from(*byte))
}

fn add(loads: &mut [usize], at: usize, more: usize) {
    if let Some(load) = loads.get_mut(at) {
        *load += more;
    }
}

fn ratio(part: usize, whole: usize) -> f64 {
    real_count(part) / real_count(whole.max(1))
}

fn spread(counts: &[usize]) -> Option<Spread> {
    Spread::of(counts.iter().copied().map(real_count).collect())
}

fn tell_of(report: &mut Report, settings: &Settings, sizes: &[Size]) {
    let locations = settings.records.saturating_mul(LOCATIONS);
    report.note(format!(
        "{} records at {LOCATIONS} locations each, {HOLDERS} holders for each location; all figures are exact counts",
        settings.records
    ));
    report.note(
        "what one leave moves is what the node held; what one join moves is what the newcomer then holds: \
         in all four ways nothing else changes its place; small networks are drawn anew for some of the joins",
    );
    if sizes.iter().any(|size| size.loads.len() < 4) {
        report.note(format!(
            "rendezvous hashing looks at every node for every location: left out beyond {SIM_RENDEZVOUS_WEIGHTS_MAX} weights"
        ));
    }
    report.tables.push(spread_table(sizes));
    report.tables.push(moves_table(sizes, locations));
    for size in sizes {
        check_moves(report, size, locations);
    }
    report.charts.extend(charts(sizes));
}

fn spread_table(sizes: &[Size]) -> Table {
    let mut table = Table::new(
        "spread",
        "locations that a node holds",
        &["nodes", "way", "mean", "deviation", "p99", "largest", "largest over mean", "none"],
    );
    for size in sizes {
        for loads in &size.loads {
            let Some(found) = spread(&loads.of) else { continue };
            let none = loads.of.iter().filter(|load| **load == 0).count();
            table.row(vec![
                Cell::count(size.nodes),
                Cell::text(loads.name),
                Cell::Real(found.mean, 1),
                Cell::Real(found.deviation, 1),
                Cell::Real(found.p99, 0),
                Cell::Real(found.largest, 0),
                Cell::Real(found.largest / found.mean.max(f64::MIN_POSITIVE), 2),
                Cell::Share(ratio(none, size.nodes), 1),
            ]);
        }
    }
    table
}

/// A node's fair part of all copies, when there are so many nodes.
fn fair(nodes: usize, locations: usize) -> f64 {
    ratio(locations.saturating_mul(HOLDERS.min(nodes)), nodes)
}

fn moves_table(sizes: &[Size], locations: usize) -> Table {
    let mut table = Table::new(
        "moves",
        "what one change of the network moves, nearest by XOR, over the fair part of a node",
        &[
            "nodes",
            "change",
            "tried",
            "copies of a fair part",
            "mean",
            "deviation",
            "p99",
            "largest",
            "bound of the mean",
        ],
    );
    for size in sizes {
        for (change, moved) in [("join", &size.joins), ("leave", &size.leaves)] {
            let Some(found) = Spread::of(moved.clone()) else { continue };
            table.row(vec![
                Cell::count(size.nodes),
                Cell::text(change),
                Cell::count(moved.len()),
                Cell::Real(fair(size.nodes, locations), 1),
                Cell::Real(found.mean, 3),
                Cell::Real(found.deviation, 2),
                Cell::Real(found.p99, 2),
                Cell::Real(found.largest, 2),
                Cell::Real(MOVED_MAX, 1),
            ]);
        }
    }
    table
}

fn check_moves(report: &mut Report, size: &Size, locations: usize) {
    for (change, moved) in [("join", &size.joins), ("leave", &size.leaves)] {
        let mean = Spread::of(moved.clone()).map_or(f64::NAN, |found| found.mean);
        let name = format!("one {change} of {} nodes moves at most {MOVED_MAX} s K / n on average", size.nodes);
        report.check(&name, mean <= MOVED_MAX, format!("{mean:.3}"));
    }
    let copies = locations.saturating_mul(HOLDERS.min(size.nodes));
    let is_whole = |loads: &Loads| loads.of.iter().sum::<usize>() == copies;
    let name = format!("every location of {} nodes has its holders", size.nodes);
    report.check(&name, size.loads.iter().all(is_whole), format!("{copies} copies in each way"));
}

fn charts(sizes: &[Size]) -> Vec<Chart> {
    let Some(largest) = sizes.iter().max_by_key(|size| size.nodes) else { return Vec::new() };
    let title = format!("How keys spread over {} nodes", largest.nodes);
    let mut curve =
        Chart::lines("spread", &title, "share of nodes, sorted by what they hold", "locations over the mean");
    for loads in &largest.loads {
        let mut sorted: Vec<f64> = loads.of.iter().copied().map(real_count).collect();
        sorted.sort_by(f64::total_cmp);
        let mean = sorted.iter().sum::<f64>() / real_count(sorted.len().max(1));
        let point = |step: usize| {
            let at = step * sorted.len().saturating_sub(1) / CURVE;
            (ratio(step, CURVE), sorted.get(at).copied().unwrap_or(0.0) / mean.max(f64::MIN_POSITIVE))
        };
        curve.add(loads.name, (0..=CURVE).map(point));
    }
    let mut growth =
        Chart::lines("largest", "The fullest node", "nodes", "largest over mean").scaled(Scale::Log, Scale::Linear);
    for (at, loads) in largest.loads.iter().enumerate() {
        let point = |size: &Size| {
            let found = size.loads.get(at).and_then(|loads| spread(&loads.of))?;
            Some((real_count(size.nodes), found.largest / found.mean.max(f64::MIN_POSITIVE)))
        };
        growth.add(loads.name, sizes.iter().filter_map(point));
    }
    vec![curve, growth]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::scenario::Unwatched;

    fn drawn(nodes: usize, records: usize, seed: u64) -> Keyspace {
        Keyspace::drawn(seed, nodes, records * LOCATIONS)
    }

    /// The same by sorting all nodes for every location.
    fn sorted_holders(nodes: &[Id], location: &Location) -> Vec<usize> {
        let mut order: Vec<usize> = (0..nodes.len()).collect();
        order.sort_by_key(|node| nodes[*node].distance(location));
        order.truncate(HOLDERS);
        order
    }

    #[test]
    fn holders_are_those_that_sorting_all_nodes_finds() {
        for (nodes, seed) in [(1, 1), (3, 2), (5, 3), (6, 4), (40, 5), (300, 6)] {
            let keyspace = drawn(nodes, 50, seed);
            for location in &keyspace.locations {
                let found: Vec<usize> = holders(&keyspace.nodes, location).into_iter().map(|(_, node)| node).collect();
                assert_eq!(found, sorted_holders(&keyspace.nodes, location), "{nodes}");
            }
        }
    }

    #[test]
    fn ids_that_crowd_together_are_found_as_well() {
        let mut keyspace = drawn(30, 40, 7);
        for (id, last) in keyspace.nodes.iter_mut().zip(0..) {
            *id = Id([0x55; ID_LEN]);
            id.0[ID_LEN - 1] = last;
        }
        let joiner = Id([0x55; ID_LEN]);
        keyspace.locations.push(joiner);
        keyspace.locations.sort_unstable();
        for location in &keyspace.locations {
            let found: Vec<usize> = holders(&keyspace.nodes, location).into_iter().map(|(_, node)| node).collect();
            assert_eq!(found, sorted_holders(&keyspace.nodes, location));
        }
        assert_joins_as_recounted(&keyspace, &joiner);
    }

    #[track_caller]
    fn assert_joins_as_recounted(keyspace: &Keyspace, joiner: &Id) {
        let reaches = keyspace.reaches();
        let mut with = keyspace.nodes.clone();
        with.push(*joiner);
        let holds = |location: &&Location| sorted_holders(&with, location).contains(&(with.len() - 1));
        let recounted = keyspace.locations.iter().filter(holds).count();
        assert_eq!(keyspace.gained(&reaches, joiner), recounted);
    }

    #[test]
    fn a_join_moves_what_recounting_everything_finds() {
        for (nodes, seed) in [(1, 1), (4, 2), (5, 3), (6, 4), (60, 5), (400, 6)] {
            let keyspace = drawn(nodes, 60, seed);
            let mut rng = ChaCha20Rng::seed_from_u64(seed);
            for _ in 0..20 {
                assert_joins_as_recounted(&keyspace, &drawn_id(&mut rng));
            }
        }
    }

    #[test]
    fn a_ring_and_rendezvous_give_each_location_five_different_nodes() {
        for nodes in [1, 3, 5, 50] {
            let keyspace = drawn(nodes, 40, 9);
            let copies = keyspace.locations.len() * HOLDERS.min(nodes);
            for loads in [keyspace.ring(1), keyspace.ring(POINTS), keyspace.rendezvous(|_| true).unwrap()] {
                assert_eq!(loads.iter().sum::<usize>(), copies);
                assert!(loads.iter().all(|load| *load <= keyspace.locations.len()));
            }
        }
    }

    #[test]
    fn the_next_nodes_on_a_ring_are_those_that_walking_it_finds() {
        let keyspace = drawn(20, 30, 3);
        let mut walked = vec![0; 20];
        for location in &keyspace.locations {
            // Sorted ids are the ring: the first at or after the location, and four more.
            let start = keyspace.nodes.iter().position(|id| first_bits(id) >= first_bits(location)).unwrap_or(0);
            (start..start + HOLDERS).for_each(|node| walked[node % 20] += 1);
        }
        assert_eq!(keyspace.ring(1), walked);
    }

    #[test]
    fn a_run_holds_what_it_checks_and_is_the_same_again() {
        let settings = Settings { nodes: vec![50, 500], records: 2_000, repeats: 2, ..Settings::default() };
        let report = run(&settings, &mut Unwatched).unwrap();
        assert_eq!(report.failed(), Vec::<&str>::new());
        assert_eq!(report.checks.len(), 12);
        assert_eq!(report.tables[0].rows.len(), 2 * 2 * 4);
        assert_eq!(report, run(&settings, &mut Unwatched).unwrap());
        let other = run(&Settings { seed: 2, ..settings }, &mut Unwatched).unwrap();
        assert_ne!(report.digest, other.digest);
    }

    #[test]
    fn joins_keep_to_their_bound_in_networks_of_any_size_and_seed() {
        for nodes in [1, 5, 20, 100, 300] {
            for seed in 1..=2 {
                let settings = Settings { records: 300, seed, ..Settings::default() };
                let mean = Spread::of(joins(&settings, nodes, 0, &mut |_| true).unwrap()).unwrap().mean;
                assert!(mean <= MOVED_MAX, "{nodes} nodes, seed {seed}: {mean}");
            }
        }
    }

    #[test]
    fn keys_spread_more_evenly_than_on_a_ring_of_single_points() {
        let settings = Settings { nodes: vec![1_000], records: 10_000, ..Settings::default() };
        let report = run(&settings, &mut Unwatched).unwrap();
        let deviation = |row: usize| match &report.tables[0].rows[row][3] {
            Cell::Real(number, _) => *number,
            other => panic!("{other:?}"),
        };
        assert!(deviation(0) < deviation(1) && deviation(3) < deviation(0), "{:?}", report.tables[0]);
    }
}
