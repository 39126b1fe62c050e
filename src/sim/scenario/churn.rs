//! Relays come and go for a day and nobody publishes again: how many records are still read, and what keeping them costs.
//! Source: spec/simulation.md §12.8.

use super::running::{
    Endings, Tally, acknowledged, options, percent, put_all, rounded, seconds, stored_in_part, wait_ready,
};
use super::{Refused, Watch};
use crate::limits::FRAME_LEN;
use crate::sim::chart::Chart;
use crate::sim::draw::{real, real_count};
use crate::sim::report::{Cell, Report, Table};
use crate::sim::settings::{Scenario, Settings};
use crate::sim::stage::{Churn, Doing, Ending, Stage};
use crate::time::{Duration, Instant};

pub(super) use super::running::memory_needed;

/// Shares that should be readable at the end, by median session in minutes.
const AIMS: [(f64, f64); 3] = [(120.0, 0.999), (60.0, 0.99), (20.0, 0.95)];
/// Readings on the way, the last one at the end.
const READINGS: u32 = 6;
/// Before records are stored relays come and go for so many median sessions: what stands then is no fresh crowd.
const WARM_SESSIONS: f64 = 1.0;
/// Reads each second.
const READS_PER_S: f64 = 10.0;
/// Fewer records say nothing.
const RECORDS_TO_JUDGE: usize = 100;

/// How relays come and go by the settings.
pub(super) fn churn_of(settings: &Settings, session_minutes: f64) -> Churn {
    Churn {
        session: seconds(60.0 * session_minutes),
        shape: settings.shape,
        returns: settings.returns,
        pause: seconds(60.0 * settings.pause_minutes),
        disk_kept: settings.disk_kept,
        silent: settings.crash_silent,
    }
}

struct Reading {
    hour: f64,
    /// Of records whose put was acknowledged as a whole.
    whole: Endings,
    /// Of those that were acknowledged in part.
    part: Endings,
}

struct Run {
    nodes: usize,
    session: f64,
    puts: Endings,
    readings: Vec<Reading>,
    sessions: (u64, u64),
    up: f64,
    repair: Costs,
}

/// What nodes send, each in an hour.
struct Costs {
    all_bytes: f64,
    repair_bytes: f64,
    copies: f64,
}

pub(super) fn run(settings: &Settings, watch: &mut dyn Watch) -> Result<Report, Refused> {
    let mut report = Report::new(Scenario::Churn, settings);
    let mut tally = Tally::default();
    let runs = settings.nodes.iter().flat_map(|nodes| settings.session_minutes.iter().map(move |one| (*nodes, *one)));
    let total = real_count(settings.nodes.len() * settings.session_minutes.len());
    let mut done = Vec::new();
    for ((nodes, session), number) in runs.zip(0_u64..) {
        let at = real_count(done.len()) / total;
        let mut stage =
            Stage::new(options(settings, nodes, number), &format!("{nodes} nodes, sessions {session} min"), watch);
        let warm = seconds(60.0 * session * WARM_SESSIONS);
        stage.span(at, at + 1.0 / total, warm + seconds(3_600.0 * settings.hours));
        let run = one(settings, nodes, session, &mut stage);
        let stopped = stage.is_stopped();
        tally.take(&mut stage);
        if stopped {
            break;
        }
        done.push(run);
    }
    tell(&mut report, &done);
    tally.close(&mut report);
    Ok(report)
}

fn one(settings: &Settings, nodes: usize, session: f64, stage: &mut Stage<'_>) -> Run {
    stage.settle_relays(nodes);
    let bootstraps = stage.world.bootstraps().len();
    stage.begin_churn(churn_of(settings, session), bootstraps);
    stage.run(Instant::ZERO + seconds(60.0 * session * WARM_SESSIONS));
    let publishers = stage.new_clients(settings.clients);
    wait_ready(stage, &publishers, Duration::from_secs(60));
    stage.add_records(settings.records);
    put_all(stage, &publishers, seconds(real_count(settings.records) / READS_PER_S));
    let puts = Endings::of(&stage.ended, Doing::Put);
    let stored = [acknowledged(stage), stored_in_part(stage)];
    // Publishers leave: nobody but the holders keeps anything alive.
    for publisher in publishers {
        stage.world.stop(publisher, crate::sim::world::Stop::Crash, false);
    }
    let begun = stage.world.now();
    let before = (stage.world.counts(), stage.world.repairs());
    let (mut readings, mut up, mut ups) = (Vec::new(), 0.0, 0);
    for reading in 1..=READINGS {
        let hour = settings.hours * f64::from(reading) / f64::from(READINGS);
        let until = begun + seconds(3_600.0 * hour);
        while stage.world.now() < until && !stage.is_stopped() {
            stage.run((stage.world.now() + Duration::from_secs(600)).min(until));
            up += real_count(stage.world.up());
            ups += 1;
        }
        // The last reading is of all records, the others of a part.
        let every = if reading == READINGS { 1 } else { 4 };
        let [whole, part] =
            read(settings, stage, stored.each_ref().map(|of| of.iter().copied().step_by(every).collect()));
        readings.push(Reading { hour, whole, part });
    }
    let hours = begun.until(stage.world.now()).as_secs_f64() / 3_600.0;
    let node_hours = (up / f64::from(ups.max(1)) * hours).max(1e-9);
    let (counts, repairs) = (stage.world.counts(), stage.world.repairs());
    let repair = Costs {
        all_bytes: real(counts.frames - before.0.frames) * real_count(FRAME_LEN) / node_hours,
        repair_bytes: real(repairs.bytes - before.1.bytes) / node_hours,
        copies: real(repairs.copies - before.1.copies) / node_hours,
    };
    Run { nodes, session, puts, readings, sessions: stage.sessions, up: up / f64::from(ups.max(1)), repair }
}

/// Users who come for the first time read the records of these two lists.
fn read(settings: &Settings, stage: &mut Stage<'_>, of: [Vec<usize>; 2]) -> [Endings; 2] {
    let records = of.concat();
    let before = stage.ended.len();
    let clients = stage.new_clients(settings.clients);
    wait_ready(stage, &clients, Duration::from_secs(60));
    let begun = stage.world.now();
    for (turn, record) in records.iter().enumerate() {
        let at = begun + seconds(real_count(turn) / READS_PER_S);
        if let Some(client) = clients.get(turn % clients.len().max(1)) {
            stage.plan_ask(at, *client, Doing::Get, *record, seconds(settings.deadline_s));
        }
    }
    stage.run_out(begun + seconds(real_count(records.len()) / READS_PER_S + settings.deadline_s + 1.0));
    let ended = |of: &Vec<usize>| {
        Endings::of(stage.ended.iter().skip(before).filter(|one| of.contains(&one.record)), Doing::Get)
    };
    let endings = of.each_ref().map(ended);
    for client in clients {
        stage.world.stop(client, crate::sim::world::Stop::Crash, false);
        stage.world.checks.gone(client);
    }
    endings
}

fn tell(report: &mut Report, runs: &[Run]) {
    let columns = ["nodes", "median session min", "records", "whole", "whole %", "others", "median s"];
    let mut puts = Table::new("puts", "Records as they were stored, while relays came and went", &columns);
    let columns = [
        "nodes",
        "median session min",
        "hours",
        "stored whole",
        "readable %",
        "guards dead",
        "others",
        "stored in part",
        "of it readable %",
    ];
    let mut table = Table::new("readable", "Records read by newcomers, their publishers gone", &columns);
    let columns = [
        "nodes",
        "median session min",
        "up (mean)",
        "sessions ended",
        "newcomers",
        "kB/node h",
        "of it repair",
        "copies/node h",
    ];
    let mut costs = Table::new("costs", "What the network did meanwhile", &columns);
    let mut chart = Chart::lines("churn", "Records that newcomers can read", "hours after the publishers left", "%");
    for run in runs {
        let network = || [Cell::count(run.nodes), Cell::real(run.session)].into_iter();
        let done = run.puts.count(Ending::Done);
        let stored = [
            Cell::count(run.puts.all),
            Cell::count(done),
            Cell::real(percent(run.puts.share())),
            Cell::text(&run.puts.others()),
            Cell::real(rounded(run.puts.times.map_or(0.0, |times| times.median), 2)),
        ];
        puts.row(network().chain(stored).collect());
        for reading in &run.readings {
            table.row(network().chain(told(reading)).collect());
        }
        let cost = [
            Cell::real(rounded(run.up, 1)),
            Cell::Whole(run.sessions.0),
            Cell::Whole(run.sessions.1),
            Cell::real(rounded(run.repair.all_bytes / 1e3, 1)),
            Cell::real(rounded(run.repair.repair_bytes / 1e3, 1)),
            Cell::real(rounded(run.repair.copies, 2)),
        ];
        costs.row(network().chain(cost).collect());
        let points = run.readings.iter().map(|reading| (reading.hour, percent(reading.whole.share())));
        chart.add(&format!("{} nodes, sessions {} min", run.nodes, run.session), points);
        judge(report, run);
    }
    report.tables.extend([puts, table, costs]);
    report.charts.push(chart);
}

fn told(Reading { hour, whole, part }: &Reading) -> [Cell; 7] {
    [
        Cell::real(rounded(*hour, 2)),
        Cell::count(whole.all),
        readable(whole),
        Cell::count(whole.count(Ending::GuardsDead)),
        Cell::text(&whole.others()),
        Cell::count(part.all),
        readable(part),
    ]
}

/// Of none, none is unreadable either.
fn readable(of: &Endings) -> Cell {
    if of.counted() == 0 { Cell::Nothing } else { Cell::real(percent(of.share())) }
}

fn judge(report: &mut Report, run: &Run) {
    let aim = AIMS.iter().find(|(minutes, _)| (minutes - run.session).abs() < 1e-9);
    let last = run.readings.last().filter(|last| last.whole.all >= RECORDS_TO_JUDGE);
    if let Some(((_, aim), last)) = aim.zip(last) {
        let share = last.whole.share();
        let detail = format!("sessions {} min: {:.2} % after {:.1} h", run.session, percent(share), last.hour);
        report.check("records stay readable while relays come and go", share >= *aim, detail);
    }
}
