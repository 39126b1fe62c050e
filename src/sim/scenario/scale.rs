//! Networks of growing size: what a lookup costs, how long it takes, how that grows. Source: spec/simulation.md §12.1.

use super::rounds::Tables;
use super::running::{Endings, Tally, options, percent, put_all, rounded, seconds, wait_ready};
use super::{Progress, Refused, Watch};
use crate::limits::LINK_IDLE_MAX;
use crate::request::Consistency;
use crate::sim::chart::{Chart, Scale};
use crate::sim::draw::{real, real_count};
use crate::sim::report::{Cell, Report, Spread, Table};
use crate::sim::settings::{Scenario, Settings};
use crate::sim::stage::{Doing, Ending, Stage};
use crate::sim::world::draw::below;
use crate::time::Duration;

pub(super) use super::running::memory_needed;

/// Lookups over tables alone, for each size.
const TABLE_LOOKUPS: usize = 400;
/// Sizes for tables alone, beyond those of the settings.
const TABLE_SIZES: [usize; 2] = [100_000, 1_000_000];
/// Gets whose time is taken, each of a client of its own with a guard that is up.
const TIMED_GETS: usize = 100;
/// Over so long all gets are spread.
const GETS_OVER: Duration = Duration::from_secs(60);

/// What one size came to.
struct Size {
    nodes: usize,
    gets: Endings,
    /// Questions to storers, for each location asked.
    questions: f64,
    /// Frames of the whole network for each get, without what it says anyway.
    frames: f64,
    /// Times of gets of one location, cold but for the guard.
    cold: Option<Spread>,
    /// Most links that one node had.
    links_max: usize,
    frames_idle: f64,
}

pub(super) fn run(settings: &Settings, watch: &mut dyn Watch) -> Result<Report, Refused> {
    let mut report = Report::new(Scenario::Scale, settings);
    let mut tally = Tally::default();
    let mut sizes = Vec::new();
    let all: f64 = settings.nodes.iter().map(|nodes| real_count(*nodes)).sum();
    let mut before = 0.0;
    for (nodes, number) in settings.nodes.iter().zip(0..) {
        let part = (before / all, (before + real_count(*nodes)) / all);
        before += real_count(*nodes);
        if let Some(size) = one_size(settings, *nodes, number, part, watch, &mut tally) {
            sizes.push(size);
        }
    }
    tell_sizes(&mut report, settings, &sizes);
    tell_tables(&mut report, settings, watch);
    tally.close(&mut report);
    Ok(report)
}

fn one_size(
    settings: &Settings,
    nodes: usize,
    number: u64,
    (from, to): (f64, f64),
    watch: &mut dyn Watch,
    tally: &mut Tally,
) -> Option<Size> {
    let mut stage = Stage::new(options(settings, nodes, number), &format!("{nodes} nodes"), watch);
    stage.span(from, to, Duration::from_secs(60) + LINK_IDLE_MAX * 2 + GETS_OVER);
    stage.settle_relays(nodes);
    let clients = stage.known_clients(settings.clients);
    wait_ready(&mut stage, &clients, Duration::from_secs(30));
    stage.add_records(settings.records);
    put_all(&mut stage, &clients, Duration::from_secs(10));
    // Links of the puts leave, and what the network says anyway is counted meanwhile.
    let quiet = stage.world.now() + LINK_IDLE_MAX + Duration::from_secs(15);
    stage.run(quiet);
    let idle = stage.world.counts();
    let begun = stage.world.now();
    stage.run(begun + Duration::from_secs(30));
    let frames_per_s = real(stage.world.counts().frames - idle.frames) / 30.0;
    let cold = cold_gets(settings, &mut stage);
    let before = stage.world.counts();
    let begun = stage.world.now();
    let ended = stage.ended.len();
    for get in 0..settings.gets {
        let at = begun + GETS_OVER.mul_f64(real_count(get) / real_count(settings.gets));
        let record = below(stage.world.rng(), settings.records);
        if let Some(client) = clients.get(get % clients.len().max(1)) {
            stage.plan_ask(at, *client, Doing::Get, record, seconds(settings.deadline_s));
        }
    }
    stage.run_out(begun + GETS_OVER + seconds(settings.deadline_s) + Duration::from_secs(1));
    let after = stage.world.counts();
    let anyway = frames_per_s * begun.until(stage.world.now()).as_secs_f64();
    let gets = Endings::of(stage.ended.iter().skip(ended), Doing::Get);
    let exits = real(after.exited - before.exited).max(1.0);
    let size = Size {
        nodes,
        questions: real(after.asked - before.asked) / exits,
        frames: (real(after.frames - before.frames) - anyway).max(0.0) / real_count(gets.all.max(1)),
        gets,
        cold,
        links_max: stage.world.relays().into_iter().map(|no| stage.world.links_most(no)).max().unwrap_or(0),
        frames_idle: frames_per_s / real_count(nodes),
    };
    let stopped = stage.is_stopped();
    tally.take(&mut stage);
    (!stopped).then_some(size)
}

/// Times of gets of one location by clients that have done nothing yet but enter.
fn cold_gets(settings: &Settings, stage: &mut Stage<'_>) -> Option<Spread> {
    stage.set_consistency(Consistency::One);
    let before = stage.ended.len();
    let clients = stage.known_clients(TIMED_GETS.min(settings.gets));
    wait_ready(stage, &clients, Duration::from_secs(30));
    let begun = stage.world.now();
    for (client, turn) in clients.iter().zip(0_u32..) {
        let record = below(stage.world.rng(), settings.records);
        let at = begun + Duration::from_millis(150) * turn;
        stage.plan_ask(at, *client, Doing::Get, record, seconds(settings.deadline_s));
    }
    let turns = u32::try_from(clients.len()).unwrap_or(u32::MAX);
    stage.run_out(begun + Duration::from_millis(150) * turns + seconds(settings.deadline_s));
    stage.set_consistency(Consistency::Quorum);
    let timed = stage.ended.iter().skip(before).filter(|one| one.ending == Ending::Done && one.doing == Doing::Get);
    Spread::of(timed.map(|one| one.begun.until(one.at).as_secs_f64()).collect())
}

fn tell_sizes(report: &mut Report, settings: &Settings, sizes: &[Size]) {
    let columns = [
        "nodes",
        "gets",
        "done %",
        "median s",
        "p99 s",
        "questions/location",
        "frames/get",
        "idle frames/node s",
        "links most",
    ];
    let mut table =
        Table::new("lookups", "Gets of signed values, two of three locations, every node known to all", &columns);
    for size in sizes {
        let times = size.gets.times;
        table.row(vec![
            Cell::count(size.nodes),
            Cell::count(size.gets.all),
            Cell::real(percent(size.gets.share())),
            Cell::real(rounded(times.map_or(0.0, |times| times.median), 3)),
            Cell::real(rounded(times.map_or(0.0, |times| times.p99), 3)),
            Cell::real(rounded(size.questions, 2)),
            Cell::real(rounded(size.frames, 1)),
            Cell::real(rounded(size.frames_idle, 2)),
            Cell::count(size.links_max),
        ]);
    }
    report.tables.push(table);
    let mut cold = Table::new(
        "cold",
        "Gets of one location, guard up, all other links cold, in round trips",
        &["nodes", "median RTT", "p99 RTT", "most RTT"],
    );
    let trip = settings.one_way_ms.map(|one_way| 2.0 * one_way / 1e3);
    for (size, times, trip) in sizes.iter().filter_map(|size| Some((size, size.cold?, trip?))) {
        cold.row(vec![
            Cell::count(size.nodes),
            Cell::real(rounded(times.median / trip, 2)),
            Cell::real(rounded(times.p99 / trip, 2)),
            Cell::real(rounded(times.largest / trip, 2)),
        ]);
        if size.nodes == 1_000 {
            let median = times.median / trip;
            report.check("a cold get takes at most 12 round trips", median <= 12.0, format!("median {median:.2}"));
        }
    }
    report.tables.push(cold);
    for size in sizes {
        let detail =
            format!("{} nodes: {:.2} %; others: {}", size.nodes, percent(size.gets.share()), size.gets.others());
        report.check("gets come back", size.gets.share() >= 0.999, detail);
    }
}

/// Where only tables are known: rounds and questions, and the line through them.
fn tell_tables(report: &mut Report, settings: &Settings, watch: &mut dyn Watch) {
    let mut table = Table::new(
        "tables",
        "Lookups from routing tables alone, eight questions at once, nobody knows all members",
        &["nodes", "rounds", "most rounds", "questions", "log2 nodes", "found the closest 8 %"],
    );
    let mut chart = Chart::lines("rounds", "Rounds and questions of a lookup from tables alone", "nodes", "count");
    chart.x_scale = Scale::Log;
    let mut sizes: Vec<usize> =
        settings.nodes.iter().copied().chain(TABLE_SIZES).filter(|nodes| *nodes >= 20).collect();
    sizes.sort_unstable();
    sizes.dedup();
    if settings.gets < TABLE_LOOKUPS {
        // A small run stays small.
        sizes.retain(|nodes| *nodes <= 100_000);
    }
    let mut points = Vec::new();
    for nodes in sizes {
        if watch.is_stopped() {
            return;
        }
        watch.progress(Progress {
            what: format!("tables of {nodes}"),
            part: 1.0,
            virtual_s: 0.0,
            events: report.events,
        });
        let taken = Tables::drawn(nodes, settings.seed).look_up(TABLE_LOOKUPS.min(settings.gets));
        let log = real_count(nodes).log2();
        points.push((real_count(nodes), taken.rounds, taken.questions));
        table.row(vec![
            Cell::count(nodes),
            Cell::real(rounded(taken.rounds, 2)),
            Cell::count(taken.rounds_max),
            Cell::real(rounded(taken.questions, 1)),
            Cell::real(rounded(log, 1)),
            Cell::real(percent(taken.exact)),
        ]);
        report.events += u64::try_from(TABLE_LOOKUPS).unwrap_or(0);
    }
    chart.add("rounds", points.iter().map(|(nodes, rounds, _)| (*nodes, *rounds)));
    chart.add("questions", points.iter().map(|(nodes, _, questions)| (*nodes, *questions)));
    let (slope, at_million) = fit(&points);
    report.note(format!(
        "a line through rounds over log2 of the nodes (least squares, sizes up to 10,000): {slope:.2} rounds more for each doubling, \
         {at_million:.1} rounds at 1,000,000; the row of 1,000,000 is run, not extrapolated"
    ));
    report.check("rounds grow with the logarithm at most", slope <= 1.0, format!("{slope:.2} rounds a doubling"));
    report.tables.push(table);
    report.charts.push(chart);
}

/// Rounds for each doubling, and what that makes at a million.
fn fit(points: &[(f64, f64, f64)]) -> (f64, f64) {
    let used: Vec<(f64, f64)> =
        points.iter().filter(|point| point.0 <= 10_000.0).map(|(nodes, rounds, _)| (nodes.log2(), *rounds)).collect();
    let count = real_count(used.len().max(1));
    let (mean_x, mean_y) =
        (used.iter().map(|point| point.0).sum::<f64>() / count, used.iter().map(|point| point.1).sum::<f64>() / count);
    let spread: f64 = used.iter().map(|(x, _)| (x - mean_x).powi(2)).sum();
    let together: f64 = used.iter().map(|(x, y)| (x - mean_x) * (y - mean_y)).sum();
    let slope = if spread > 0.0 { together / spread } else { 0.0 };
    (slope, mean_y + slope * (1_000_000_f64.log2() - mean_x))
}
