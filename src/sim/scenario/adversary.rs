//! A share of the relays is one adversary's and lies in one way after the other: what gets and puts come to.
//! Source: spec/simulation.md §8.

use std::collections::BTreeMap;

use super::parts::{each, sizes};
use super::running::{Tally, options, percent, put_all, rounded, seconds, wait_ready};
use super::{Refused, Watch};
use crate::sim::adversary::{Behaviour, turn_bad};
use crate::sim::chart::Chart;
use crate::sim::draw::{real_count, whole};
use crate::sim::report::{Cell, Report, Spread, Table};
use crate::sim::settings::{Scenario, SettingRefused, Settings};
use crate::sim::stage::{Doing, Ended, Ending, Stage};
use crate::sim::world::NodeNo;
use crate::sim::world::draw::below;
use crate::time::Duration;

pub(super) use super::running::memory_needed;

/// Gets each second.
const GETS_PER_S: f64 = 10.0;
/// Over so long the second versions are put.
const PUTS_OVER: Duration = Duration::from_secs(20);
/// Every so manieth record gets a second version while the bad ones are at it.
const SECOND_EVERY: usize = 2;

/// One world: so many nodes, a share of them bad, in one way.
#[derive(Clone, Copy)]
struct Case {
    nodes: usize,
    behaviour: Option<Behaviour>,
    bad: f64,
}

/// What one world came to.
#[derive(Clone, Copy, Default)]
struct Came {
    gets: usize,
    right: usize,
    false_absent: usize,
    older: usize,
    unreachable: usize,
    damaged: usize,
    others: usize,
    puts: usize,
    acknowledged: usize,
    partly: usize,
    /// Of the acknowledged, those that were asked for later, and those that every get brought.
    asked_later: usize,
    readable: usize,
    times: Option<Spread>,
}

pub(super) fn run(settings: &Settings, watch: &mut dyn Watch) -> Result<Report, Refused> {
    let behaviours = behaviours(settings)?;
    let mut report = Report::new(Scenario::Adversary, settings);
    let mut tally = Tally::default();
    let cases = cases(settings, &behaviours);
    let total: f64 = cases.iter().map(|case| real_count(case.nodes)).sum();
    let (mut before, mut came) = (0.0, Vec::new());
    for (case, number) in cases.into_iter().zip(0..) {
        let part = (before / total, (before + real_count(case.nodes)) / total);
        before += real_count(case.nodes);
        let name = case.behaviour.map_or("honest", Behaviour::name);
        let what = format!("{} nodes, {name}, {} %", case.nodes, percent(case.bad));
        let mut stage = Stage::new(options(settings, case.nodes, number), &what, watch);
        let length = seconds(80.0 + real_count(settings.gets) / GETS_PER_S);
        stage.span(part.0, part.1, length);
        let one = one(settings, case, &mut stage);
        let stopped = stage.is_stopped();
        tally.take(&mut stage);
        if stopped {
            break;
        }
        came.push((case, one));
    }
    tell(&mut report, settings, &behaviours, &came);
    tally.close(&mut report);
    Ok(report)
}

/// One for each share and behaviour; the world without bad ones, which stands for all of them, is a part of its own, the first.
pub(super) fn parts(settings: &Settings) -> Result<Vec<Settings>, Refused> {
    behaviours(settings)?;
    let mut parts = Vec::new();
    for one in sizes(settings)? {
        let (honest, bad) = settings.bad.iter().partition::<Vec<f64>, _>(|bad| **bad <= 0.0);
        if !honest.is_empty() {
            parts.push(Settings { bad: vec![0.0], ..one.clone() });
        }
        let of_one = each(&[Settings { bad, ..one }], |part| &mut part.behaviours);
        parts.extend(each(&of_one, |part| &mut part.bad));
    }
    Ok(parts)
}

fn behaviours(settings: &Settings) -> Result<Vec<Behaviour>, Refused> {
    let named = |name: &String| {
        Behaviour::named(name).ok_or_else(|| {
            let all: Vec<&str> = Behaviour::EVERY.into_iter().map(Behaviour::name).collect();
            let allowed = format!("takes {}", all.join(", "));
            Refused::Setting(SettingRefused::Value { key: "behaviours", value: name.clone(), allowed })
        })
    };
    settings.behaviours.iter().map(named).collect()
}

/// Without bad ones all behaviours are the same: one world for all.
fn cases(settings: &Settings, behaviours: &[Behaviour]) -> Vec<Case> {
    let mut cases = Vec::new();
    for nodes in settings.nodes.iter().copied() {
        if settings.bad.iter().any(|bad| *bad <= 0.0) {
            cases.push(Case { nodes, behaviour: None, bad: 0.0 });
        }
        for behaviour in behaviours.iter().copied().map(Some) {
            let shares = settings.bad.iter().copied().filter(|bad| *bad > 0.0);
            cases.extend(shares.map(|bad| Case { nodes, behaviour, bad }));
        }
    }
    cases
}

/// All records are stored while nobody lies; then the bad ones begin, half of the records are put anew, and all are looked up.
fn one(settings: &Settings, case: Case, stage: &mut Stage<'_>) -> Came {
    stage.settle_relays(case.nodes);
    let authors = stage.known_clients(settings.clients);
    wait_ready(stage, &authors, Duration::from_secs(30));
    stage.add_records(settings.records);
    put_all(stage, &authors, Duration::from_secs(10));
    if let Some(behaviour) = case.behaviour {
        let bad = bad_ones(case, stage);
        turn_bad(&mut stage.world, &bad, behaviour);
    }
    let first = newest(&stage.ended);
    let readers = if case.behaviour == Some(Behaviour::Poison) {
        stage.new_clients(settings.clients)
    } else {
        stage.known_clients(settings.clients)
    };
    wait_ready(stage, &readers, Duration::from_secs(30));
    let puts_from = stage.ended.len();
    let begun = stage.world.now();
    let second: Vec<usize> = (0..settings.records).step_by(SECOND_EVERY).collect();
    for (turn, (record, client)) in second.iter().zip(authors.iter().cycle()).enumerate() {
        let at = begun + PUTS_OVER.mul_f64(real_count(turn) / real_count(second.len()));
        stage.plan_ask(at, *client, Doing::Put, *record, seconds(settings.deadline_s));
    }
    stage.run_out(begun + PUTS_OVER + seconds(settings.deadline_s + 1.0));
    let puts: Vec<Ended> = stage.ended.iter().skip(puts_from).cloned().collect();
    let gets_from = stage.ended.len();
    let begun = stage.world.now();
    for get in 0..settings.gets {
        let at = begun + seconds(real_count(get) / GETS_PER_S);
        let record = below(stage.world.rng(), settings.records);
        if let Some(client) = readers.get(get % readers.len().max(1)) {
            stage.plan_ask(at, *client, Doing::Get, record, seconds(settings.deadline_s));
        }
    }
    stage.run_out(begun + seconds(real_count(settings.gets) / GETS_PER_S + settings.deadline_s + 1.0));
    judged(&first, &puts, stage.ended.get(gets_from..).unwrap_or_default())
}

/// Drawn evenly; where the membership is poisoned as many of the bootstraps as of all.
fn bad_ones(case: Case, stage: &mut Stage<'_>) -> Vec<NodeNo> {
    let mut honest = stage.world.relays();
    let count = whole((case.bad * real_count(honest.len())).round());
    let mut bad = Vec::new();
    if case.behaviour == Some(Behaviour::Poison) {
        let bootstraps = stage.world.bootstraps().len();
        let of_them = whole((case.bad * real_count(bootstraps)).round());
        bad.extend(honest.drain(..usize::try_from(of_them).unwrap_or(0).min(honest.len())));
    }
    while real_count(bad.len()) < crate::sim::draw::real(count) && !honest.is_empty() {
        let drawn = below(stage.world.rng(), honest.len());
        bad.push(honest.swap_remove(drawn));
    }
    bad
}

/// Of each record the number of its newest version that was acknowledged: puts of a record follow each other.
fn newest(ended: &[Ended]) -> BTreeMap<usize, u64> {
    let done = ended.iter().filter(|one| one.doing == Doing::Put && one.ending == Ending::Done);
    let mut newest = BTreeMap::new();
    done.for_each(|one| *newest.entry(one.record).or_insert(0) += 1);
    newest
}

fn judged(first: &BTreeMap<usize, u64>, puts: &[Ended], gets: &[Ended]) -> Came {
    let second = newest(puts);
    let wanted =
        |record: usize| if second.contains_key(&record) { 2 } else { first.get(&record).copied().unwrap_or(0) };
    let partly = puts.iter().filter(|one| one.ending == Ending::Partly).count();
    let mut came = Came { puts: puts.len(), acknowledged: second.len(), partly, ..Came::default() };
    let mut later: BTreeMap<usize, bool> = BTreeMap::new();
    let mut times = Vec::new();
    for get in gets.iter().filter(|get| wanted(get.record) > 0) {
        came.gets += 1;
        let is_right = get.ending == Ending::Done && get.seq >= wanted(get.record);
        match get.ending {
            Ending::Done if is_right => {
                came.right += 1;
                times.push(get.begun.until(get.at).as_secs_f64());
            }
            Ending::Done => came.older += 1,
            Ending::NotFound => came.false_absent += 1,
            Ending::Unreachable => came.unreachable += 1,
            Ending::Damaged => came.damaged += 1,
            _ => came.others += 1,
        }
        if second.contains_key(&get.record) {
            *later.entry(get.record).or_insert(true) &= is_right;
        }
    }
    came.asked_later = later.len();
    came.readable = later.values().filter(|is_right| **is_right).count();
    came.times = Spread::of(times);
    came
}

fn tell(report: &mut Report, settings: &Settings, behaviours: &[Behaviour], all: &[(Case, Came)]) {
    let columns = [
        "behaviour",
        "bad %",
        "right %",
        "false absent %",
        "older %",
        "lost %",
        "damaged %",
        "other %",
        "puts acked %",
        "part %",
        "acked read %",
        "median s",
        "p99 s",
    ];
    for nodes in settings.nodes.iter().copied() {
        let title = format!("Gets of records that were acknowledged, and puts, while a share of {nodes} relays lies");
        let mut table = Table::new(&format!("adversary-{nodes}"), &title, &columns);
        all.iter().filter(|(case, _)| case.nodes == nodes).for_each(|(case, came)| table.row(row(*case, came)));
        report.tables.push(table);
    }
    report.note(
        "false absent: attested \"not found\" of a value that was acknowledged, the worst that can come of a get",
    );
    report.note("lost: unreachable, in time; part: stored with fewer receipts than asked");
    report.note("first versions are stored before the bad ones begin, second versions of half of the records after it");
    report.note("acked read: acknowledged second versions that every later get brought");
    charts(report, settings, behaviours, all);
}

fn row(case: Case, came: &Came) -> Vec<Cell> {
    let share = |part: usize, of: usize| match of {
        0 => Cell::Nothing,
        of => Cell::Real(percent(real_count(part) / real_count(of)), 1),
    };
    let time = |of: fn(&Spread) -> f64| came.times.map_or(Cell::Nothing, |times| Cell::Real(rounded(of(&times), 2), 2));
    vec![
        Cell::text(case.behaviour.map_or("none", Behaviour::name)),
        Cell::real(percent(case.bad)),
        share(came.right, came.gets),
        share(came.false_absent, came.gets),
        share(came.older, came.gets),
        share(came.unreachable, came.gets),
        share(came.damaged, came.gets),
        share(came.others, came.gets),
        share(came.acknowledged, came.puts),
        share(came.partly, came.puts),
        share(came.readable, came.asked_later),
        time(|times| times.median),
        time(|times| times.p99),
    ]
}

fn charts(report: &mut Report, settings: &Settings, behaviours: &[Behaviour], all: &[(Case, Came)]) {
    for nodes in settings.nodes.iter().copied() {
        let title = format!("Gets that bring the newest acknowledged version, {nodes} nodes");
        let name = format!("adversary-{nodes}");
        let mut chart = Chart::lines(&name, &title, "bad relays, %", "%");
        for behaviour in behaviours {
            let is_of = |case: &Case| case.nodes == nodes && case.behaviour.is_none_or(|one| one == *behaviour);
            let of = all.iter().filter(|(case, came)| is_of(case) && came.gets > 0);
            let right = |came: &Came| percent(real_count(came.right) / real_count(came.gets));
            chart.add(behaviour.name(), of.map(|(case, came)| (100.0 * case.bad, right(came))));
        }
        report.charts.push(chart);
    }
}
