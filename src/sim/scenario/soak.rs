//! Everything at once for long: relays come and go, dials fail, links break, clocks are wrong, the network is cut now and then and
//! crowds come, while records are put and got all the time. Nothing may be lost that enough holders kept, and nothing may grow.
//! Source: spec/simulation.md §12.5.

use super::churn::churn_of;
use super::holding::{Holding, acknowledged_versions, unread};
use super::running::{Endings, Tally, options, percent, put_all, rounded, seconds, wait_ready};
use super::{Refused, Watch};
use crate::sim::adversary::{Behaviour, turn_bad};
use crate::sim::chart::Chart;
use crate::sim::draw::{real_count, whole};
use crate::sim::report::{Cell, Report, Table};
use crate::sim::settings::{Scenario, Settings};
use crate::sim::stage::{Doing, Ending, Stage};
use crate::sim::world::NodeNo;
use crate::sim::world::draw::{below, unit, within};
use crate::time::{Duration, Instant};

pub(super) use super::running::memory_needed;

/// Chances that a dial fails and that a link in use breaks.
const FAULTS: f64 = 0.03;
/// Share of relays whose clocks are wrong, and by how many seconds at most either way: less than what the protocol allows.
const SKEWED: f64 = 0.05;
const SKEW_S_MAX: f64 = 300.0;
/// What bad relays do, in turn.
const BAD: [Behaviour; 4] = [Behaviour::Drop, Behaviour::Silent, Behaviour::Deny, Behaviour::Stale];
/// Gets for each put.
const GETS_PER_PUT: usize = 10;
/// A cut and a crowd come this often.
const EVENTS_EVERY_HOURS: usize = 6;
/// The cut is so long after the hour begins, and so long; then the crowd comes.
const CUT_AFTER: Duration = Duration::from_secs(1_200);
const CUT_FOR: Duration = Duration::from_secs(300);
const CROWD_AFTER: Duration = Duration::from_secs(2_400);
const CROWD_WITHIN: Duration = Duration::from_secs(10);
/// When all faults are over, relays have this time before everything is read.
const REST: Duration = Duration::from_secs(600);
/// Rows of the table at most; with more hours each row is of several.
const ROWS_MAX: usize = 24;

/// One stretch of time.
struct Stretch {
    /// Hours since the start, at its end.
    hour: f64,
    gets: Endings,
    puts: Endings,
    up: usize,
}

/// What was left at the end.
struct Left {
    acknowledged: usize,
    held: usize,
    read: usize,
    /// Records that were held at enough places, and not read.
    missed: Vec<usize>,
}

pub(super) fn run(settings: &Settings, watch: &mut dyn Watch) -> Result<Report, Refused> {
    let mut report = Report::new(Scenario::Soak, settings);
    let mut tally = Tally::default();
    let [mut hours, mut ends] = tables();
    let mut chart = Chart::lines("soak", "Operations that are done", "hours", "%");
    let runs = settings.nodes.iter().flat_map(|nodes| settings.session_minutes.iter().map(move |one| (*nodes, *one)));
    let total = real_count(settings.nodes.len() * settings.session_minutes.len());
    for ((nodes, session), number) in runs.zip(0_u32..) {
        let at = f64::from(number) / total;
        let what = format!("{nodes} nodes, sessions {session} min");
        let mut stage = Stage::new(options(settings, nodes, number.into()), &what, watch);
        stage.span(at, at + 1.0 / total, seconds(3_600.0 * settings.hours) + REST + Duration::from_secs(100));
        let (stretches, left) = one(settings, nodes, session, &mut stage);
        let stopped = stage.is_stopped();
        tally.take(&mut stage);
        for stretch in &stretches {
            hours.row(row(nodes, session, stretch));
        }
        chart.add(&format!("gets, {what}"), stretches.iter().map(|one| (one.hour, percent(one.gets.share()))));
        chart.add(&format!("puts, {what}"), stretches.iter().map(|one| (one.hour, percent(one.puts.share()))));
        if stopped {
            break;
        }
        let counts = [left.acknowledged, left.held, left.read].map(Cell::count);
        let head = [Cell::count(nodes), Cell::real(session)];
        let sessions = [Cell::Whole(stage.sessions.0), Cell::Whole(stage.sessions.1)];
        ends.row(head.into_iter().chain(counts).chain(sessions).collect());
        let detail = match left.missed.first() {
            Some(first) => format!("{what}: {} records are held and not read, number {first} first", left.missed.len()),
            None => format!("{what}: {} of {} acknowledged are held, all of them read", left.held, left.acknowledged),
        };
        report.check("what enough holders kept is read at the end", left.missed.is_empty(), detail);
    }
    report.tables.extend([hours, ends]);
    report.charts.push(chart);
    report.note(
        "clients of whom all three guards stopped are counted apart; a new user comes in the place of each of them",
    );
    tally.close(&mut report);
    Ok(report)
}

fn one(settings: &Settings, nodes: usize, session: f64, stage: &mut Stage<'_>) -> (Vec<Stretch>, Left) {
    stage.settle_relays(nodes);
    make_bad(settings, stage);
    let mut clients = stage.known_clients(settings.clients);
    wait_ready(stage, &clients, Duration::from_secs(30));
    stage.add_records(settings.records);
    put_all(stage, &clients, seconds(real_count(settings.records) / 10.0));
    let bootstraps = stage.world.bootstraps().len();
    stage.begin_churn(churn_of(settings, session), bootstraps);
    go_wrong(stage);
    let begun = stage.world.now();
    let hours = usize::try_from(whole(settings.hours.ceil())).unwrap_or(usize::MAX).max(1);
    let each = hours.div_ceil(ROWS_MAX);
    let (mut stretches, mut before) = (Vec::new(), stage.ended.len());
    for hour in 0..hours {
        if stage.is_stopped() {
            break;
        }
        replace_lost(stage, &mut clients);
        let from = begun + seconds(3_600.0 * real_count(hour));
        let to = begun + seconds(3_600.0 * real_count(hour + 1).min(settings.hours));
        plan_hour(settings, hours, stage, &clients, (from, to));
        if hour % EVENTS_EVERY_HOURS == 0 {
            cut_and_crowd(settings, stage, &clients, (from, to));
        }
        stage.run(to);
        if (hour + 1) % each == 0 || hour + 1 == hours {
            let these = stage.ended.get(before..).unwrap_or_default();
            let hour = begun.until(to).as_secs_f64() / 3_600.0;
            let (gets, puts) = (Endings::of(these, Doing::Get), Endings::of(these, Doing::Put));
            stretches.push(Stretch { hour, gets, puts, up: stage.world.up() });
            before = stage.ended.len();
        }
    }
    let left = end(settings, stage, clients);
    (stretches, left)
}

/// A share of the first relays is bad, each in one of several ways; bootstraps are not.
fn make_bad(settings: &Settings, stage: &mut Stage<'_>) {
    let bootstraps = stage.world.bootstraps().len();
    let mut others = stage.world.relays().split_off(bootstraps);
    let share = settings.bad.first().copied().unwrap_or(0.0);
    let count = whole((share * real_count(others.len())).round());
    let mut bad = [const { Vec::new() }; BAD.len()];
    for (_, ring) in (0..count).zip((0..BAD.len()).cycle()) {
        let drawn = below(stage.world.rng(), others.len());
        if let Some(ring) = bad.get_mut(ring).filter(|_| !others.is_empty()) {
            ring.push(others.swap_remove(drawn));
        }
    }
    for (relays, behaviour) in bad.iter().zip(BAD) {
        turn_bad(&mut stage.world, relays, behaviour);
    }
}

/// From now on dials fail, links break and some clocks are wrong.
fn go_wrong(stage: &mut Stage<'_>) {
    stage.world.faults.dial = FAULTS;
    stage.world.faults.dial_silent = 0.25;
    stage.world.faults.link = FAULTS;
    for no in stage.world.relays() {
        if unit(stage.world.rng()) < SKEWED {
            let ahead = unit(stage.world.rng()) < 0.5;
            let by = i64::try_from(whole(SKEW_S_MAX * unit(stage.world.rng()))).unwrap_or(0);
            stage.world.set_skew(no, if ahead { by } else { -by });
        }
    }
}

/// A user whose guards are dead for good does not come back; another one does.
fn replace_lost(stage: &mut Stage<'_>, clients: &mut [NodeNo]) {
    for client in clients {
        if stage.guards_are_dead(*client) {
            stage.stop_client(*client);
            if let Some(new) = stage.new_clients(1).first() {
                *client = *new;
            }
        }
    }
}

/// Puts and gets of random records by random clients, all through the hour.
fn plan_hour(
    settings: &Settings,
    hours: usize,
    stage: &mut Stage<'_>,
    clients: &[NodeNo],
    (from, to): (Instant, Instant),
) {
    let gets = settings.gets.div_ceil(hours);
    for turn in 0..gets + gets.div_ceil(GETS_PER_PUT) {
        let doing = if turn < gets { Doing::Get } else { Doing::Put };
        let at = from + within(stage.world.rng(), from.until(to));
        let record = below(stage.world.rng(), settings.records);
        let drawn = below(stage.world.rng(), clients.len());
        if let Some(client) = clients.get(drawn) {
            stage.plan_ask(at, *client, doing, record, seconds(settings.deadline_s));
        }
    }
}

/// The network is cut in two for a while, and later all clients want one record.
fn cut_and_crowd(settings: &Settings, stage: &mut Stage<'_>, clients: &[NodeNo], (from, to): (Instant, Instant)) {
    for no in stage.world.relays().into_iter().chain(clients.iter().copied()) {
        let side = u8::from(unit(stage.world.rng()) < 0.5);
        stage.world.set_group(no, side);
    }
    stage.run((from + CUT_AFTER).min(to));
    stage.world.set_cut([(0, 1), (1, 0)]);
    stage.run((from + CUT_AFTER + CUT_FOR).min(to));
    stage.world.set_cut([]);
    let record = below(stage.world.rng(), settings.records);
    for client in clients {
        let at = from + CROWD_AFTER + within(stage.world.rng(), CROWD_WITHIN);
        stage.plan_ask(at.min(to), *client, Doing::Get, record, seconds(settings.deadline_s));
    }
}

/// Faults end, relays have some rest, and newcomers read everything.
fn end(settings: &Settings, stage: &mut Stage<'_>, clients: Vec<NodeNo>) -> Left {
    stage.end_churn();
    stage.world.faults = crate::sim::world::Faults::default();
    stage.run_out(stage.world.now() + seconds(settings.deadline_s + 1.0));
    clients.into_iter().for_each(|client| stage.stop_client(client));
    stage.run(stage.world.now() + REST);
    let versions = acknowledged_versions(&stage.ended);
    let held = Holding::of(stage).held_enough(stage, &versions);
    let readers = stage.new_clients(settings.clients);
    wait_ready(stage, &readers, Duration::from_secs(60));
    let (begun, before) = (stage.world.now(), stage.ended.len());
    let within = seconds(real_count(versions.len()) / 10.0);
    for ((turn, record), client) in versions.keys().enumerate().zip(readers.iter().cycle()) {
        let at = begun + within.mul_f64(real_count(turn) / real_count(versions.len()));
        stage.plan_ask(at, *client, Doing::Get, *record, seconds(settings.deadline_s));
    }
    stage.run_out(begun + within + seconds(settings.deadline_s + 1.0));
    let gets = stage.ended.get(before..).unwrap_or_default();
    let is_dead = |record: usize| gets.iter().any(|one| one.record == record && one.ending == Ending::GuardsDead);
    let missed = unread(&held, gets).into_iter().filter(|record| !is_dead(*record)).collect();
    let read = versions.len() - unread(&versions, gets).len();
    Left { acknowledged: versions.len(), held: held.len(), read, missed }
}

fn tables() -> [Table; 2] {
    let columns = [
        "nodes",
        "session min",
        "hours",
        "up",
        "gets",
        "done %",
        "median s",
        "p99 s",
        "puts",
        "puts done %",
        "other gets",
        "other puts",
    ];
    let hours = Table::new("soak", "Operations by the hour at which they ended", &columns);
    let columns = ["nodes", "session min", "acknowledged", "held enough", "read newest", "sessions ended", "newcomers"];
    [hours, Table::new("left", "Records at the end, all faults over", &columns)]
}

fn row(nodes: usize, session: f64, Stretch { hour, gets, puts, up }: &Stretch) -> Vec<Cell> {
    vec![
        Cell::count(nodes),
        Cell::real(session),
        Cell::real(rounded(*hour, 2)),
        Cell::count(*up),
        Cell::count(gets.all),
        Cell::real(percent(gets.share())),
        Cell::real(rounded(gets.times.map_or(0.0, |times| times.median), 2)),
        Cell::real(rounded(gets.times.map_or(0.0, |times| times.p99), 2)),
        Cell::count(puts.all),
        Cell::real(percent(puts.share())),
        Cell::text(&gets.others()),
        Cell::text(&puts.others()),
    ]
}
