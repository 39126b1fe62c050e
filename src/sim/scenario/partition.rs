//! The network is cut in two halves and joined again: what is read and stored on either side meanwhile, and when all agree on the
//! newest afterwards. Also a cut of one direction, and one that lets everything through five seconds late.
//! Source: spec/simulation.md §12.3.

use super::holding::{Copies, Holding, acknowledged_versions, unread};
use super::running::{Endings, Tally, options, percent, put_all, rounded, seconds, wait_ready};
use super::{Refused, Watch};
use crate::sim::chart::Chart;
use crate::sim::draw::real_count;
use crate::sim::report::{Cell, Report, Table};
use crate::sim::settings::{Scenario, Settings};
use crate::sim::stage::{Doing, Stage};
use crate::sim::world::NodeNo;
use crate::sim::world::draw::below;
use crate::time::{Duration, Instant};

pub(super) use super::running::memory_needed;

/// Gets of one reading begin within this time.
const READS_WITHIN: Duration = Duration::from_secs(20);
/// How late everything comes through a slow border.
const SLOW: Duration = Duration::from_secs(5);
/// After the join relays have met again and checked what is theirs.
const SOON: Duration = Duration::from_secs(300);
/// Later every place was looked after, whatever happened: the hourly look comes at the latest after twice its mean.
const LATE: Duration = Duration::from_secs(7_800);
/// The two readings that tell of puts too.
const BEFORE: &str = "before";
const DURING: &str = "during";
/// Share of gets that should come back after the join.
const AIM: f64 = 0.999;
/// In smaller networks a half has too few relays to say anything.
const NODES_TO_JUDGE: usize = 40;

/// What stands between the halves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Border {
    Cut,
    OneWay,
    Slow,
}

const BORDERS: [Border; 3] = [Border::Cut, Border::OneWay, Border::Slow];

impl Border {
    fn name(self) -> &'static str {
        match self {
            Self::Cut => "cut",
            Self::OneWay => "one direction cut",
            Self::Slow => "5 s late",
        }
    }

    fn raise(self, stage: &mut Stage<'_>) {
        match self {
            Self::Cut => stage.world.set_cut([(0, 1), (1, 0)]),
            Self::OneWay => stage.world.set_cut([(0, 1)]),
            Self::Slow => stage.world.faults.slow = vec![(0, 1, SLOW), (1, 0, SLOW)],
        }
    }
}

/// What was read at one time, and how copies stood then.
struct Reading {
    when: &'static str,
    /// Minutes since the border was raised.
    minute: f64,
    gets: Endings,
    puts: Endings,
    copies: Copies,
    unread: usize,
}

pub(super) fn run(settings: &Settings, watch: &mut dyn Watch) -> Result<Report, Refused> {
    let mut report = Report::new(Scenario::Partition, settings);
    let mut tally = Tally::default();
    let mut tables = tables();
    let mut chart = Chart::lines("partition", "Gets that come back", "minutes since the cut", "%");
    let runs = settings.nodes.iter().flat_map(|nodes| BORDERS.into_iter().map(move |border| (*nodes, border)));
    let total = real_count(settings.nodes.len() * BORDERS.len());
    for ((nodes, border), number) in runs.zip(0_u32..) {
        let at = f64::from(number) / total;
        let what = format!("{nodes} nodes, {}", border.name());
        let mut stage = Stage::new(options(settings, nodes, number.into()), &what, watch);
        let length = seconds(60.0 * settings.minutes) + LATE + Duration::from_secs(200);
        stage.span(at, at + 1.0 / total, length);
        let readings = one(settings, nodes, border, &mut stage);
        let stopped = stage.is_stopped();
        tally.take(&mut stage);
        if stopped {
            break;
        }
        tell(&mut tables, (nodes, border), &readings);
        chart.add(&what, readings.iter().map(|one| (one.minute, percent(one.gets.share()))));
        if nodes >= NODES_TO_JUDGE {
            judge(&mut report, &what, &readings);
        }
    }
    report.tables.extend(tables);
    report.charts.push(chart);
    report.note("during the cut clients whose guards are on the other side can do nothing, and say so");
    tally.close(&mut report);
    Ok(report)
}

fn one(settings: &Settings, nodes: usize, border: Border, stage: &mut Stage<'_>) -> Vec<Reading> {
    stage.settle_relays(nodes);
    let clients = stage.known_clients(settings.clients);
    for (no, group) in stage.world.relays().into_iter().chain(clients.iter().copied()).zip([0, 1].into_iter().cycle()) {
        stage.world.set_group(no, group);
    }
    wait_ready(stage, &clients, Duration::from_secs(30));
    stage.add_records(settings.records);
    put_all(stage, &clients, Duration::from_secs(10));
    let mut readings = Vec::new();
    let raised = stage.world.now() + READS_WITHIN + seconds(settings.deadline_s + 1.0);
    readings.push(read(settings, stage, &clients, BEFORE, raised));
    stage.run(raised);
    border.raise(stage);
    let length = seconds(60.0 * settings.minutes);
    stage.run(raised + length / 3);
    put_on_both_sides(settings, stage, &clients);
    stage.run(raised + length * 2 / 3);
    readings.push(read(settings, stage, &clients, DURING, raised));
    stage.run(raised + length);
    stage.world.faults.slow.clear();
    stage.world.set_cut([]);
    let joined = stage.world.now();
    readings.push(read(settings, stage, &clients, "at the join", raised));
    for (after, when) in [(SOON, "5 min after it"), (LATE, "130 min after it")] {
        stage.run(joined + after);
        readings.push(read(settings, stage, &clients, when, raised));
    }
    readings
}

/// A quarter of the records is stored anew on the one side, a quarter on the other, a quarter on both, there a little later.
fn put_on_both_sides(settings: &Settings, stage: &mut Stage<'_>, clients: &[NodeNo]) {
    let begin = stage.world.now();
    let (side, other): (Vec<_>, Vec<_>) = clients.iter().copied().enumerate().partition(|(number, _)| number % 2 == 0);
    let timeout = seconds(settings.deadline_s);
    for record in 0..settings.records {
        let part = real_count(record) / real_count(settings.records);
        let at = begin + (READS_WITHIN / 2).mul_f64(part);
        let sides: &[(&Vec<(usize, NodeNo)>, Duration)] = match record % 4 {
            0 => &[(&side, Duration::ZERO)],
            1 => &[(&other, Duration::ZERO)],
            2 => &[(&side, Duration::ZERO), (&other, READS_WITHIN / 2)],
            _ => &[],
        };
        for (clients, later) in sides {
            let drawn = below(stage.world.rng(), clients.len());
            if let Some((_, client)) = clients.get(drawn) {
                stage.plan_ask(at + *later, *client, Doing::Put, record, timeout);
            }
        }
    }
    stage.run_out(begin + READS_WITHIN + timeout + Duration::from_secs(1));
}

/// Gets of all records in turn by clients of both sides, and a look at all copies when they begin.
fn read(
    settings: &Settings,
    stage: &mut Stage<'_>,
    clients: &[NodeNo],
    when: &'static str,
    raised: Instant,
) -> Reading {
    let (begun, before) = (stage.world.now(), stage.ended.len());
    let versions = acknowledged_versions(&stage.ended);
    let copies = Holding::of(stage).copies(stage, &versions);
    let stored: Vec<usize> = versions.keys().copied().collect();
    let count = (settings.gets / 5).max(1);
    // Each record is asked for by another client in each round, so that both sides ask for all.
    for (turn, record) in (0..count).zip(stored.iter().cycle()) {
        let at = begun + READS_WITHIN.mul_f64(real_count(turn) / real_count(count));
        let client = (turn + turn / stored.len().max(1)) % clients.len().max(1);
        if let Some(client) = clients.get(client) {
            stage.plan_ask(at, *client, Doing::Get, *record, seconds(settings.deadline_s));
        }
    }
    stage.run_out(begun + READS_WITHIN + seconds(settings.deadline_s + 1.0));
    let late = stage.ended.get(before..).unwrap_or_default();
    let asked: Vec<usize> = late.iter().map(|one| one.record).collect();
    let asked_for = versions.into_iter().filter(|(record, _)| asked.contains(record)).collect();
    let since = if when == DURING { raised } else { Instant::ZERO };
    let puts = stage.ended.iter().filter(|one| [BEFORE, DURING].contains(&when) && one.begun >= since);
    let puts = Endings::of(puts, Doing::Put);
    let minute = Instant::ZERO.until(begun).as_secs_f64() - Instant::ZERO.until(raised).as_secs_f64();
    let unread = unread(&asked_for, late).len();
    Reading { when, minute: minute / 60.0, gets: Endings::of(late, Doing::Get), puts, copies, unread }
}

fn tables() -> [Table; 3] {
    let columns = ["nodes", "border", "when", "gets", "done %", "not newest", "median s", "p99 s", "others"];
    let gets = Table::new("gets", "Gets while the network is cut in halves, and after", &columns);
    let columns = ["nodes", "border", "when", "puts", "done %", "median s", "p99 s", "others"];
    let puts = Table::new("puts", "Puts before, and on both sides while the network is cut", &columns);
    let columns = [
        "nodes",
        "border",
        "when",
        "places",
        "without newest",
        "copies missing",
        "older at holders",
        "older elsewhere",
    ];
    let copies = Table::new("copies", "Versions that relays hold, against the newest acknowledged or held", &columns);
    [gets, puts, copies]
}

fn tell([gets, puts, copies]: &mut [Table; 3], (nodes, border): (usize, Border), readings: &[Reading]) {
    let times = |of: &Endings| {
        let (median, p99) = of.times.map_or((0.0, 0.0), |times| (times.median, times.p99));
        [median, p99].map(|time| Cell::real(rounded(time, 2)))
    };
    for one in readings {
        let head = || vec![Cell::count(nodes), Cell::text(border.name()), Cell::text(one.when)];
        let mut row = head();
        row.extend([Cell::count(one.gets.all), Cell::real(percent(one.gets.share())), Cell::count(one.unread)]);
        row.extend(times(&one.gets).into_iter().chain([Cell::text(&one.gets.others())]));
        gets.row(row);
        if one.puts.all > 0 {
            let mut row = head();
            row.extend([Cell::count(one.puts.all), Cell::real(percent(one.puts.share()))]);
            row.extend(times(&one.puts).into_iter().chain([Cell::text(&one.puts.others())]));
            puts.row(row);
        }
        let mut row = head();
        let Copies { places, without, missing, older, older_elsewhere } = one.copies;
        row.extend([places, without, missing, older, older_elsewhere].map(Cell::count));
        copies.row(row);
    }
}

fn judge(report: &mut Report, what: &str, readings: &[Reading]) {
    for one in readings.iter().rev().take(2) {
        let detail = format!(
            "{what}, {}: {:.2} % done, others: {}; {} records not in their newest version",
            one.when,
            percent(one.gets.share()),
            one.gets.others(),
            one.unread
        );
        report.check(
            "all is read in its newest version after the join",
            one.gets.share() >= AIM && one.unread == 0,
            detail,
        );
    }
    let soon = readings.iter().rev().nth(1).map_or(0, |one| one.copies.older);
    if let Some(Reading { copies, .. }) = readings.last() {
        let detail = format!("{what}: {soon} older copies at holders 5 minutes after, {} later", copies.older);
        report.check("no holder keeps an older version", copies.older == 0 && copies.without == 0, detail);
    }
}
