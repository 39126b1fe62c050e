//! Dials that fail and links that break while records are looked up: how many lookups still end well in time.
//! Source: spec/simulation.md §12.2.

use super::running::{Endings, Tally, options, percent, put_all, rounded, seconds, wait_ready};
use super::{Refused, Watch};
use crate::sim::chart::Chart;
use crate::sim::draw::real_count;
use crate::sim::report::{Cell, Report, Table};
use crate::sim::settings::{Scenario, Settings};
use crate::sim::stage::{Doing, Ending, Stage};
use crate::sim::world::draw::below;
use crate::time::Duration;

pub(super) use super::running::memory_needed;

/// Shares that should be done, at chances of faults.
const AIMS: [(f64, f64); 5] = [(0.0, 0.999), (0.05, 0.995), (0.1, 0.99), (0.2, 0.97), (0.3, 0.90)];
/// Gets each second.
const GETS_PER_S: f64 = 10.0;
/// Fewer gets say nothing about a tenth of a percent.
const GETS_TO_JUDGE: usize = 200;

pub(super) fn run(settings: &Settings, watch: &mut dyn Watch) -> Result<Report, Refused> {
    let mut report = Report::new(Scenario::Faults, settings);
    let columns = ["nodes", "chance of a fault", "gets", "done %", "aim %", "median s", "p99 s", "others"];
    let title = "Gets while dials fail and links in use break with this chance";
    let mut table = Table::new("faults", title, &columns);
    let mut chart =
        Chart::lines("faults", "Gets that come back in time", "chance that a dial fails, or a link breaks, %", "%");
    let mut tally = Tally::default();
    let runs = settings.nodes.iter().flat_map(|nodes| settings.fail.iter().map(move |p| (*nodes, *p)));
    let total = real_count(settings.nodes.len() * settings.fail.len());
    let mut points = Vec::new();
    for ((nodes, p), number) in runs.zip(0_u64..) {
        let at = real_count(points.len()) / total;
        let mut stage = Stage::new(options(settings, nodes, number), &format!("{nodes} nodes, p = {p}"), watch);
        stage.span(at, at + 1.0 / total, Duration::from_secs(100) + seconds(real_count(settings.gets) / GETS_PER_S));
        one(settings, nodes, p, &mut stage);
        let gets = Endings::of(&stage.ended, Doing::Get);
        let stopped = stage.is_stopped();
        tally.take(&mut stage);
        if stopped {
            break;
        }
        let aim = AIMS.iter().find(|(of, _)| (of - p).abs() < 1e-9).map(|(_, aim)| *aim);
        table.row(vec![
            Cell::count(nodes),
            Cell::real(p),
            Cell::count(gets.all),
            Cell::real(percent(gets.share())),
            aim.map_or(Cell::text("-"), |aim| Cell::real(percent(aim))),
            Cell::real(rounded(gets.times.map_or(0.0, |times| times.median), 2)),
            Cell::real(rounded(gets.times.map_or(0.0, |times| times.p99), 2)),
            Cell::text(&gets.others()),
        ]);
        if let Some(aim) = aim.filter(|_| gets.all >= GETS_TO_JUDGE) {
            let detail = format!("{nodes} nodes, p = {p}: {:.2} %", percent(gets.share()));
            report.check("gets come back in spite of faults", gets.share() >= aim, detail);
        }
        points.push((nodes, p, gets.share()));
    }
    for nodes in &settings.nodes {
        let of = points.iter().filter(|point| point.0 == *nodes);
        chart.add(&format!("{nodes} nodes"), of.map(|(_, p, share)| (100.0 * p, percent(*share))));
    }
    chart.add("aim", AIMS.iter().map(|(p, aim)| (100.0 * p, percent(*aim))));
    report.tables.push(table);
    report.charts.push(chart);
    tally.close(&mut report);
    Ok(report)
}

/// Records are stored without faults, and looked up with them.
fn one(settings: &Settings, nodes: usize, p: f64, stage: &mut Stage<'_>) {
    stage.settle_relays(nodes);
    let clients = stage.known_clients(settings.clients);
    wait_ready(stage, &clients, Duration::from_secs(30));
    stage.add_records(settings.records);
    put_all(stage, &clients, Duration::from_secs(10));
    let stored: Vec<usize> = super::running::acknowledged(stage);
    stage.world.faults.dial = p;
    stage.world.faults.dial_silent = DIALS_SILENT;
    stage.world.faults.link = p;
    let begun = stage.world.now();
    for get in 0..settings.gets {
        let at = begun + seconds(real_count(get) / GETS_PER_S);
        let record = stored.get(below(stage.world.rng(), stored.len())).copied().unwrap_or(0);
        if let Some(client) = clients.get(get % clients.len().max(1)) {
            stage.plan_ask(at, *client, Doing::Get, record, seconds(settings.deadline_s));
        }
    }
    let all = seconds(real_count(settings.gets) / GETS_PER_S + settings.deadline_s + 1.0);
    stage.run_out(begun + all);
    debug_assert!(stage.ended.iter().all(|one| one.ending != Ending::Open));
}

/// Of dials that fail so many get no answer, and wait for their time to be over; the others are refused.
const DIALS_SILENT: f64 = 0.25;
