//! Everybody wants one record within ten seconds, then one file: how many get it and how soon, and what the busiest of its holders,
//! of the exits and of all relays send against the mean. Source: spec/simulation.md §12.4.

use std::collections::{BTreeMap, BTreeSet};

use super::holding::Holding;
use super::running::{Endings, Tally, options, percent, put_all, rounded, seconds, wait_ready};
use super::{Refused, Watch, flash_chunks};
use crate::sim::chart::Chart;
use crate::sim::draw::{real, real_count};
use crate::sim::report::{Cell, Report, Table};
use crate::sim::settings::{Scenario, Settings};
use crate::sim::stage::{Doing, Stage};
use crate::sim::world::NodeNo;
use crate::sim::world::draw::within;
use crate::time::Duration;

pub(super) use super::running::memory_needed;

/// All gets begin within this time.
const CROWD_WITHIN: Duration = Duration::from_secs(10);
/// Share of them that should come back.
const AIM: f64 = 0.999;
/// Fewer gets say nothing about a tenth of a percent.
const GETS_TO_JUDGE: usize = 200;
/// Steps of the curve.
const STEPS: usize = 50;

/// Frames that one sent while the crowd was there.
struct Sent {
    mean: f64,
    relay: u64,
    holder: u64,
    exit: u64,
}

pub(super) fn run(settings: &Settings, watch: &mut dyn Watch) -> Result<Report, Refused> {
    let mut report = Report::new(Scenario::FlashCrowd, settings);
    let columns = [
        "nodes",
        "clients",
        "gets",
        "done %",
        "median s",
        "p99 s",
        "most s",
        "frames mean",
        "busiest relay",
        "busiest holder",
        "busiest exit",
        "others",
    ];
    let title = "Everybody gets one record within 10 s; frames that relays sent meanwhile";
    let mut table = Table::new("flash-crowd", title, &columns);
    let mut chart = Chart::lines("flash-crowd", "Gets that are done", "seconds after they began", "%");
    let mut tally = Tally::default();
    let mut of_chunks = flash_chunks::table();
    let total = real_count(settings.nodes.len());
    'sizes: for (nodes, number) in settings.nodes.iter().zip(0_u32..) {
        let at = f64::from(number) / total;
        let mut stage = Stage::new(options(settings, *nodes, number.into()), &format!("{nodes} nodes"), watch);
        stage.span(at, at + 0.3 / total, Duration::from_secs(70));
        let sent = one(settings, *nodes, &mut stage);
        let gets = Endings::of(&stage.ended, Doing::Get);
        let stopped = stage.is_stopped();
        tally.take(&mut stage);
        if stopped {
            break;
        }
        chart.add(&format!("{nodes} nodes"), curve(&stage));
        table.row(row(*nodes, settings.clients, &gets, &sent));
        if gets.all >= GETS_TO_JUDGE {
            let detail = format!("{nodes} nodes: {:.2} %, others: {}", percent(gets.share()), gets.others());
            report.check("a crowd gets what it came for", gets.share() >= AIM, detail);
        }
        for (widens, from) in [(false, 0.3), (true, 0.65)] {
            let of_world = flash_chunks::world(settings, *nodes, number.into(), widens);
            let mut stage = Stage::new(of_world, &format!("{nodes} nodes, a file"), watch);
            stage.span(at + from / total, at + (from + 0.35) / total, Duration::from_secs(140));
            let row = flash_chunks::row(settings, (*nodes, widens), &mut stage);
            let stopped = stage.is_stopped();
            tally.take(&mut stage);
            if stopped {
                break 'sizes;
            }
            of_chunks.row(row);
        }
    }
    report.tables.extend([table, of_chunks]);
    report.charts.push(chart);
    report.note("frames are of 2,064 bytes; each goes out through its sender's access, one after the other");
    tally.close(&mut report);
    Ok(report)
}

fn one(settings: &Settings, nodes: usize, stage: &mut Stage<'_>) -> Sent {
    stage.keeps_paths = true;
    stage.settle_relays(nodes);
    let clients = stage.known_clients(settings.clients);
    wait_ready(stage, &clients, Duration::from_secs(30));
    stage.add_records(1);
    put_all(stage, &clients, Duration::ZERO);
    stage.paths.clear();
    let before: Vec<(NodeNo, u64)> =
        stage.world.relays().into_iter().map(|no| (no, stage.world.frames_sent(no))).collect();
    let begun = stage.world.now();
    for (_, client) in (0..settings.gets).zip(clients.iter().cycle()) {
        let at = begun + within(stage.world.rng(), CROWD_WITHIN);
        stage.plan_ask(at, *client, Doing::Get, 0, seconds(settings.deadline_s));
    }
    stage.run_out(begun + CROWD_WITHIN + seconds(settings.deadline_s + 1.0));
    sent(stage, &before)
}

fn sent(stage: &Stage<'_>, before: &[(NodeNo, u64)]) -> Sent {
    let frames: BTreeMap<NodeNo, u64> =
        before.iter().map(|(no, frames)| (*no, stage.world.frames_sent(*no).saturating_sub(*frames))).collect();
    let holding = Holding::of(stage);
    let places = stage.records.iter().flat_map(|record| record.places());
    let holders: BTreeSet<NodeNo> =
        places.flat_map(|place| holding.at(&place).collect::<Vec<_>>()).map(|(no, _)| no).collect();
    let ids: BTreeMap<_, _> =
        frames.keys().filter_map(|no| Some((stage.world.descriptor_of(*no)?.id(), *no))).collect();
    let last_hops = stage.paths.iter().filter_map(|(_, _, path)| path.hops.last());
    let exits: BTreeSet<NodeNo> = last_hops.filter_map(|hop| ids.get(&hop.id).copied()).collect();
    let most = |among: &dyn Fn(&NodeNo) -> bool| {
        frames.iter().filter(|(no, _)| among(no)).map(|(_, frames)| *frames).max().unwrap_or(0)
    };
    Sent {
        mean: real(frames.values().sum()) / real_count(frames.len()).max(1.0),
        relay: most(&|_| true),
        holder: most(&|no| holders.contains(no)),
        exit: most(&|no| exits.contains(no)),
    }
}

fn row(nodes: usize, clients: usize, gets: &Endings, sent: &Sent) -> Vec<Cell> {
    let seconds = |of: Option<f64>| Cell::real(rounded(of.unwrap_or(0.0), 2));
    vec![
        Cell::count(nodes),
        Cell::count(clients),
        Cell::count(gets.all),
        Cell::real(percent(gets.share())),
        seconds(gets.times.map(|times| times.median)),
        seconds(gets.times.map(|times| times.p99)),
        seconds(gets.times.map(|times| times.largest)),
        Cell::real(rounded(sent.mean, 1)),
        Cell::Whole(sent.relay),
        Cell::Whole(sent.holder),
        Cell::Whole(sent.exit),
        Cell::text(&gets.others()),
    ]
}

/// Share of the gets that was done so soon.
fn curve(stage: &Stage<'_>) -> Vec<(f64, f64)> {
    let gets: Vec<_> = stage.ended.iter().filter(|one| one.doing == Doing::Get).collect();
    let done = gets.iter().filter(|one| one.ending == crate::sim::stage::Ending::Done);
    let mut times: Vec<f64> = done.map(|one| one.begun.until(one.at).as_secs_f64()).collect();
    times.sort_by(f64::total_cmp);
    let every = times.len().div_ceil(STEPS).max(1);
    let last = times.len().checked_sub(1);
    let point = |(at, time): (usize, &f64)| {
        (at % every == 0 || Some(at) == last).then(|| (*time, 100.0 * real_count(at + 1) / real_count(gets.len())))
    };
    times.iter().enumerate().filter_map(point).collect()
}
