//! A share of all nodes stops at one moment, guards and exits and storers alike, and everything is read before anybody could
//! repair anything. Source: spec/simulation.md §12.7.

use super::running::{Endings, Tally, acknowledged, options, percent, put_all, rounded, seconds, wait_ready};
use super::{Refused, Watch};
use crate::sim::draw::{real_count, whole};
use crate::sim::report::{Cell, Report, Table};
use crate::sim::settings::{Scenario, Settings};
use crate::sim::stage::{Doing, Stage};
use crate::sim::world::draw::{below, chance};
use crate::sim::world::{NodeNo, Stop};
use crate::time::Duration;

pub(super) use super::running::memory_needed;

/// All reads begin within this time after the stop: a lost holder is not replaced before.
const READS_WITHIN: f64 = 20.0;
/// Share of records that should be readable.
const AIM: f64 = 0.999;

pub(super) fn run(settings: &Settings, watch: &mut dyn Watch) -> Result<Report, Refused> {
    let mut report = Report::new(Scenario::Halves, settings);
    let columns =
        ["nodes", "stopped %", "records", "readable %", "guards dead", "median s", "p99 s", "most s", "others"];
    let mut table =
        Table::new("halves", "Records read right after many nodes stopped at once, nothing repaired", &columns);
    let mut tally = Tally::default();
    let total = real_count(settings.nodes.len());
    for (nodes, number) in settings.nodes.iter().zip(0_u32..) {
        let at = f64::from(number) / total;
        let mut stage = Stage::new(options(settings, *nodes, number.into()), &format!("{nodes} nodes"), watch);
        stage.span(at, at + 1.0 / total, Duration::from_secs(130));
        one(settings, *nodes, &mut stage);
        let gets = Endings::of(&stage.ended, Doing::Get);
        let stopped = stage.is_stopped();
        tally.take(&mut stage);
        if stopped {
            break;
        }
        table.row(vec![
            Cell::count(*nodes),
            Cell::real(percent(settings.stopped)),
            Cell::count(gets.all),
            Cell::real(percent(gets.share())),
            Cell::count(gets.count(crate::sim::stage::Ending::GuardsDead)),
            Cell::real(rounded(gets.times.map_or(0.0, |times| times.median), 2)),
            Cell::real(rounded(gets.times.map_or(0.0, |times| times.p99), 2)),
            Cell::real(rounded(gets.times.map_or(0.0, |times| times.largest), 2)),
            Cell::text(&gets.others()),
        ]);
        if *nodes >= 200 {
            let detail = format!("{nodes} nodes: {:.2} %, others: {}", percent(gets.share()), gets.others());
            report.check("records outlive half of the nodes", gets.share() >= AIM, detail);
        }
    }
    report.tables.push(table);
    report.note("clients of whom all three guards stopped are counted apart: they end as a client without guards must");
    tally.close(&mut report);
    Ok(report)
}

fn one(settings: &Settings, nodes: usize, stage: &mut Stage<'_>) {
    stage.settle_relays(nodes);
    let clients = stage.known_clients(settings.clients);
    wait_ready(stage, &clients, Duration::from_secs(30));
    stage.add_records(settings.records);
    put_all(stage, &clients, Duration::from_secs(10));
    let stored = acknowledged(stage);
    let mut standing: Vec<NodeNo> = stage.world.relays();
    for _ in 0..whole(settings.stopped * real_count(nodes)) {
        let drawn = below(stage.world.rng(), standing.len());
        let how = if chance(stage.world.rng(), settings.crash_silent) { Stop::Silent } else { Stop::Crash };
        stage.world.stop(standing.swap_remove(drawn), how, false);
    }
    let begun = stage.world.now();
    for (turn, record) in stored.iter().enumerate() {
        let at = begun + seconds(READS_WITHIN * real_count(turn) / real_count(stored.len()));
        if let Some(client) = clients.get(turn % clients.len().max(1)) {
            stage.plan_ask(at, *client, Doing::Get, *record, seconds(settings.deadline_s));
        }
    }
    stage.run_out(begun + seconds(READS_WITHIN + settings.deadline_s + 1.0));
}
