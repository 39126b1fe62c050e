//! Relays come and go for days and nobody publishes again: how many files are still read, and what keeping them costs.
//! Source: spec/simulation.md §12.10.

use super::churn::churn_of;
use super::running::{Tally, options, percent, rounded, seconds, wait_ready};
use super::transfers::{Moved, Moves, Standing, Told, chunks_needed, move_all, new_files, readable};
use super::{Refused, Watch};
use crate::limits::FRAME_LEN;
use crate::sim::chart::Chart;
use crate::sim::draw::{real, real_count};
use crate::sim::report::{Cell, Report, Table};
use crate::sim::settings::{Scenario, Settings};
use crate::sim::stage::Stage;
use crate::sim::world::Stop;
use crate::time::{Duration, Instant};

/// Shares of files that should be readable at the end, by median session in minutes.
const AIM: (f64, f64) = (60.0, 0.999);
/// Looks from outside on the way, the last one at the end.
const LOOKS: u32 = 14;
/// Before files are stored relays come and go for so many median sessions: what stands then is no fresh crowd.
const WARM_SESSIONS: f64 = 1.0;
/// Fewer files say nothing.
const FILES_TO_JUDGE: usize = 100;

struct Run {
    nodes: usize,
    session: f64,
    bytes: u64,
    published: Vec<Moved>,
    /// After so many hours.
    looks: Vec<(f64, Standing)>,
    read: Vec<Moved>,
    sessions: (u64, u64),
    up: f64,
    costs: Costs,
}

/// What nodes send, each in an hour.
struct Costs {
    all_bytes: f64,
    repair_bytes: f64,
    copies: f64,
}

pub(super) fn run(settings: &Settings, watch: &mut dyn Watch) -> Result<Report, Refused> {
    let mut report = Report::new(Scenario::ContentChurn, settings);
    let mut tally = Tally::default();
    let runs = settings.nodes.iter().flat_map(|nodes| settings.session_minutes.iter().map(move |one| (*nodes, *one)));
    let total = real_count(settings.nodes.len() * settings.session_minutes.len());
    let mut all = Vec::new();
    for ((nodes, session), number) in runs.zip(0_u64..) {
        let at = real_count(all.len()) / total;
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
        all.push(run);
    }
    tell(&mut report, &all);
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
    let mut files = new_files(settings, stage, (0, 1));
    let bytes = files.iter().map(|file| file.len).sum();
    let every: Vec<usize> = (0..files.len()).collect();
    let published = move_all(stage, &mut files, Moves::new(settings, true, &every, &publishers));
    // Publishers leave: nobody but the holders keeps anything alive.
    for publisher in publishers {
        stage.world.stop(publisher, Stop::Crash, false);
        stage.world.checks.gone(publisher);
    }
    let begun = stage.world.now();
    let before = (stage.world.counts(), stage.world.repairs());
    let (mut looks, mut up) = (vec![(0.0, Standing::of(stage, &files))], 0.0);
    for look in 1..=LOOKS {
        let hour = settings.hours * f64::from(look) / f64::from(LOOKS);
        stage.run(begun + seconds(3_600.0 * hour));
        up += real_count(stage.world.up()) / f64::from(LOOKS);
        looks.push((hour, Standing::of(stage, &files)));
    }
    let (counts, repairs) = (stage.world.counts(), stage.world.repairs());
    let node_hours = (up * begun.until(stage.world.now()).as_secs_f64() / 3_600.0).max(1e-9);
    let costs = Costs {
        all_bytes: real(counts.frames - before.0.frames) * real_count(FRAME_LEN) / node_hours,
        repair_bytes: real(repairs.bytes - before.1.bytes) / node_hours,
        copies: real(repairs.copies - before.1.copies) / node_hours,
    };
    let newcomers = stage.new_clients(settings.clients);
    wait_ready(stage, &newcomers, Duration::from_secs(60));
    let read = move_all(stage, &mut files, Moves::new(settings, false, &readable(&published), &newcomers));
    Run { nodes, session, bytes, published, looks, read, sessions: stage.sessions, up, costs }
}

fn tell(report: &mut Report, runs: &[Run]) {
    let columns = ["nodes", "median session min", "files", "MiB", "stored %", "median s", "most s", "others"];
    let mut puts = Table::new("published", "Files as they were published, while relays came and went", &columns);
    let columns =
        ["nodes", "median session min", "hours", "chunks", "gone %", "groups", "groups lost", "worst lacks", "of"];
    let mut left = Table::new("left", "Chunks that no running relay holds, seen from outside", &columns);
    let columns = ["nodes", "median session min", "hours", "files", "readable %", "median s", "most s", "others"];
    let mut gets = Table::new("readable", "Files read by newcomers, their publishers gone", &columns);
    let columns = [
        "nodes",
        "median session min",
        "up (mean)",
        "sessions ended",
        "newcomers",
        "kB/node h",
        "of it repair",
        "copies/node h",
        "of a chunk/day",
    ];
    let mut costs = Table::new("costs", "What the network did meanwhile", &columns);
    let mut chart =
        Chart::lines("content-churn", "Chunks that no running relay holds", "hours after the publishers left", "%");
    for run in runs {
        let network = || [Cell::count(run.nodes), Cell::real(run.session)].into_iter();
        let published = Told::of(&run.published);
        let mib = Cell::real(rounded(real(run.bytes) / 1_048_576.0, 1));
        puts.row(network().chain([Cell::count(published.all), mib]).chain(ended(&published)).collect());
        left.rows.extend(run.looks.iter().map(|look| network().chain(stood(look)).collect()));
        let told = Told::of(&run.read);
        let hours = run.looks.last().map_or(0.0, |(hour, _)| *hour);
        gets.row(network().chain([Cell::real(rounded(hours, 2)), Cell::count(told.all)]).chain(ended(&told)).collect());
        costs.row(network().chain(cost(run)).collect());
        let points = run.looks.iter().map(|(hour, look)| (*hour, percent(gone(look))));
        chart.add(&format!("{} nodes, sessions {} min", run.nodes, run.session), points);
        judge(report, run, &published, &told);
    }
    report.tables.extend([puts, left, gets, costs]);
    report.charts.push(chart);
}

fn ended(told: &Told) -> [Cell; 4] {
    [
        Cell::real(percent(told.share())),
        Cell::real(rounded(told.times.map_or(0.0, |times| times.median), 1)),
        Cell::real(rounded(told.times.map_or(0.0, |times| times.largest), 1)),
        Cell::text(&told.others),
    ]
}

fn gone(look: &Standing) -> f64 {
    real_count(look.gone) / real_count(look.chunks).max(1.0)
}

fn stood((hour, look): &(f64, Standing)) -> [Cell; 7] {
    [
        Cell::real(rounded(*hour, 2)),
        Cell::count(look.chunks),
        Cell::real(percent(gone(look))),
        Cell::count(look.groups),
        Cell::count(look.lost),
        Cell::count(look.worst.0),
        Cell::count(look.worst.1),
    ]
}

fn cost(run: &Run) -> [Cell; 7] {
    let chunks = run.looks.first().map_or(0, |(_, look)| look.chunks);
    let of_a_chunk = run.costs.copies * run.up * 24.0 / real_count(chunks).max(1.0);
    [
        Cell::real(rounded(run.up, 1)),
        Cell::Whole(run.sessions.0),
        Cell::Whole(run.sessions.1),
        Cell::real(rounded(run.costs.all_bytes / 1e3, 1)),
        Cell::real(rounded(run.costs.repair_bytes / 1e3, 1)),
        Cell::real(rounded(run.costs.copies, 2)),
        Cell::real(rounded(of_a_chunk, 2)),
    ]
}

fn judge(report: &mut Report, run: &Run, published: &Told, told: &Told) {
    if run.published.len() < FILES_TO_JUDGE || (run.session - AIM.0).abs() > 1e-9 {
        return;
    }
    let whole = real_count(readable(&run.published).len()) / real_count(run.published.len());
    let detail = format!("{:.2} %, but for some roots that lack a receipt: {}", percent(whole), published.others);
    report.check("all chunks are stored while relays come and go", whole >= 0.99, detail);
    let detail = format!(
        "sessions {} min: {:.2} % of {} after {} h, others: {}",
        run.session,
        percent(told.share()),
        told.all,
        run.looks.last().map_or(0.0, |(hour, _)| rounded(*hour, 2)),
        told.others
    );
    report.check("files stay readable while relays come and go", told.share() >= AIM.1, detail);
}

/// Chunks of all files, beside the nodes.
pub(super) fn memory_needed(settings: &Settings) -> u64 {
    super::running::memory_needed(settings).saturating_add(chunks_needed(settings, settings.files))
}
