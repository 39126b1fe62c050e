//! Identities placed next to a record's locations, before or after it is put: whether readers still get it, whether anybody
//! is told that it is not there, and what such places cost. Source: spec/simulation.md §9.

use super::running::{Endings, Tally, options, percent, rounded, seconds, wait_ready};
use super::{Refused, Watch};
use crate::crypto::keys::IdentitySecret;
use crate::keyspace::Location;
use crate::limits::LOCATIONS;
use crate::sim::adversary::{Behaviour, turn_bad};
use crate::sim::chart::Chart;
use crate::sim::draw::{real, real_count};
use crate::sim::records::Record;
use crate::sim::report::{Cell, Report, Table};
use crate::sim::settings::{Scenario, Settings};
use crate::sim::stage::{Doing, Ending, Stage};
use crate::sim::world::{NodeNo, Stop, World};
use crate::time::Duration;
use crate::wire::address::Address;

pub(super) use super::running::memory_needed;

/// A Sybil gives up being the nearest after so many trials for each relay, and takes its best id.
const TRIALS_PER_RELAY_MAX: u32 = 10;
/// One trial of the identity puzzle on one core, seconds. Source: spec/threat-model.md §7.
const PUZZLE_S: f64 = 0.002;
/// Share of keys that so many Sybils next to them eclipsed in IPFS, percent, of 255 trials. Source: Sridhar and others, Content
/// censorship in the InterPlanetary File System (2024), its authors' data.
const IPFS_ECLIPSED: [(usize, f64); 2] = [(20, 67.0), (45, 97.0)];
/// Over so long the gets of a world are spread.
const GETS_OVER: f64 = 10.0;

/// Where Sybils have their addresses.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Prefixes {
    /// Each in a /16 of its own: what an adversary of many networks has.
    Many,
    /// All of one location in one /24.
    One,
}

/// One attack.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Case {
    nodes: usize,
    /// Next to each attacked location.
    sybils: usize,
    /// Attacked, of the record's three.
    locations: usize,
    prefixes: Prefixes,
    /// Whether the record was there before the Sybils.
    is_stored_before: bool,
}

/// What the trials of one attack came to.
#[derive(Default)]
struct Came {
    trials: usize,
    gets: Vec<crate::sim::stage::Ended>,
    puts: usize,
    acknowledged: usize,
    /// Sybils made, and the trials of the puzzle for them.
    made: usize,
    hashes: u64,
}

pub(super) fn run(settings: &Settings, watch: &mut dyn Watch) -> Result<Report, Refused> {
    let mut report = Report::new(Scenario::Sybil, settings);
    let mut tally = Tally::default();
    let cases = cases(settings);
    let total = real_count(cases.len() * settings.repeats);
    let (mut all, mut worlds) = (Vec::new(), 0);
    'cases: for case in cases {
        let mut came = Came::default();
        for _ in 0..settings.repeats {
            let at = real_count(worlds) / total;
            let what = format!("{} nodes, {} Sybils at {} locations", case.nodes, case.sybils, case.locations);
            // The same worlds for every attack, so that what differs is the attack.
            let number = u64::try_from(came.trials).unwrap_or(0);
            let mut stage = Stage::new(options(settings, case.nodes, number), &what, watch);
            stage.span(at, at + 1.0 / total, Duration::from_secs(80));
            trial(settings, case, &mut stage, &mut came);
            let stopped = stage.is_stopped();
            tally.take(&mut stage);
            if stopped {
                break 'cases;
            }
            worlds += 1;
        }
        all.push((case, came));
    }
    tell(&mut report, &all);
    tell_cost(&mut report, &all);
    charts(&mut report, settings, &all);
    tally.close(&mut report);
    Ok(report)
}

fn cases(settings: &Settings) -> Vec<Case> {
    let attacks = [(LOCATIONS - 1, Prefixes::Many), (LOCATIONS, Prefixes::Many), (LOCATIONS, Prefixes::One)];
    let mut cases = Vec::new();
    for nodes in settings.nodes.iter().copied() {
        for sybils in settings.sybils.iter().copied() {
            for (locations, prefixes) in attacks.iter().copied().skip(if sybils == 0 { 2 } else { 0 }) {
                for is_stored_before in [true, false] {
                    cases.push(Case { nodes, sybils, locations, prefixes, is_stored_before });
                }
            }
        }
    }
    cases
}

fn trial(settings: &Settings, case: Case, stage: &mut Stage<'_>, came: &mut Came) {
    for _ in 0..case.nodes {
        stage.world.add_relay();
    }
    stage.add_records(settings.records);
    came.trials += 1;
    if case.is_stored_before {
        stage.settle_all();
        put(stage);
        for relay in stage.world.relays() {
            stage.world.stop(relay, Stop::Crash, true);
        }
    }
    let sybils = place(case, stage, came);
    // As if all had been told: who has a value keeps it, and nobody has to wait for the news to spread.
    stage.settle_all();
    turn_bad(&mut stage.world, &sybils, Behaviour::All);
    if !case.is_stored_before {
        put(stage);
    }
    let puts = Endings::of(&stage.ended, Doing::Put);
    came.puts += puts.all;
    came.acknowledged += puts.count(Ending::Done);
    let readers = stage.known_clients(settings.gets);
    wait_ready(stage, &readers, Duration::from_secs(30));
    let begun = stage.world.now();
    for (turn, reader) in readers.iter().enumerate() {
        let at = begun + seconds(GETS_OVER * real_count(turn) / real_count(readers.len()));
        stage.plan_ask(at, *reader, Doing::Get, turn % settings.records.max(1), seconds(settings.deadline_s));
    }
    stage.run_out(begun + seconds(GETS_OVER + settings.deadline_s + 1.0));
    let gets = stage.ended.iter().filter(|one| one.doing == Doing::Get);
    came.gets.extend(gets.cloned());
}

/// All records stored, by a client of its own.
fn put(stage: &mut Stage<'_>) {
    let author = stage.known_clients(1);
    wait_ready(stage, &author, Duration::from_secs(30));
    super::running::put_all(stage, &author, Duration::from_secs(5));
}

/// Adds the Sybils: each nearer to its location than every honest relay, if its trials are enough.
fn place(case: Case, stage: &mut Stage<'_>, came: &mut Came) -> Vec<NodeNo> {
    let honest: Vec<_> = stage.world.relays().iter().filter_map(|relay| stage.world.key_of(*relay)).collect();
    let ids: Vec<_> = honest.iter().map(|key| World::id_of(key, 0)).collect();
    let places: Vec<Location> = stage.records.iter().flat_map(Record::places).map(|place| place.location).collect();
    let attacked = places.chunks(LOCATIONS).flat_map(|record| record.iter().take(case.locations));
    let trials_max = TRIALS_PER_RELAY_MAX.saturating_mul(u32::try_from(case.nodes).unwrap_or(u32::MAX));
    let mut sybils = Vec::new();
    for (location, number) in attacked.zip(0_u8..) {
        let nearest = ids.iter().map(|id| id.distance(location)).min();
        for (sybil, turn) in (1..=u8::MAX).cycle().zip(0..).take(case.sybils) {
            let secret = IdentitySecret::generate(stage.world.rng());
            let key = secret.public();
            let distance = |counter: &u32| World::id_of(&key, *counter).distance(location);
            let found = (0..trials_max).find(|counter| Some(distance(counter)) < nearest);
            came.hashes += u64::from(found.map_or(trials_max, |counter| counter + 1));
            came.made += 1;
            let counter = found.or_else(|| (0..trials_max).min_by_key(distance)).unwrap_or(0);
            let address = match case.prefixes {
                Prefixes::Many => stage.world.free_address(),
                Prefixes::One => Address(([198, 18, number, sybil], 7_000 + turn / u16::from(u8::MAX)).into()),
            };
            sybils.push(stage.world.add_relay_as(address, secret, counter));
        }
    }
    sybils
}

fn share(part: usize, of: usize) -> Cell {
    if of == 0 { Cell::Nothing } else { Cell::Real(percent(real_count(part) / real_count(of)), 1) }
}

fn tell(report: &mut Report, all: &[(Case, Came)]) {
    let columns = [
        "nodes",
        "Sybils each",
        "locations",
        "addresses",
        "put",
        "trials",
        "read %",
        "false absent %",
        "not reached %",
        "other %",
        "acked %",
        "median s",
    ];
    let title = "Gets of a record whose locations have so many Sybils each, nearer than every honest relay";
    let mut table = Table::new("sybil", title, &columns);
    for (case, came) in all {
        let gets = Endings::of(&came.gets, Doing::Get);
        let (read, absent) = (gets.count(Ending::Done), gets.count(Ending::NotFound));
        let unreachable = gets.count(Ending::Unreachable);
        let addresses = if case.prefixes == Prefixes::Many { "own /16s" } else { "one /24" };
        table.row(vec![
            Cell::count(case.nodes),
            Cell::count(case.sybils),
            Cell::count(if case.sybils == 0 { 0 } else { case.locations }),
            Cell::text(if case.sybils == 0 { "-" } else { addresses }),
            Cell::text(if case.is_stored_before { "before" } else { "after" }),
            Cell::count(came.trials),
            share(read, gets.all),
            share(absent, gets.all),
            share(unreachable, gets.all),
            share(gets.all - read - absent - unreachable, gets.all),
            share(came.acknowledged, came.puts),
            gets.times.map_or(Cell::Nothing, |times| Cell::Real(rounded(times.median, 2), 2)),
        ]);
    }
    report.tables.push(table);
    report.note(
        "false absent: attested \"not found\" of a record that was put; where no put was acknowledged it is none",
    );
    report.note("all relays know all Sybils: nobody is spared because the news has not reached him");
    let [(few, third), (many, most)] = IPFS_ECLIPSED;
    report.note(format!("in IPFS {few} Sybils next to a key eclipsed it in {third} % of trials, {many} in {most} %"));
}

fn tell_cost(report: &mut Report, all: &[(Case, Came)]) {
    let columns =
        ["nodes", "Sybils each", "Sybils made", "trials each", "core-h for 20", "core-h for 45", "core-h for 3×45"];
    let title = "What an id next to a location costs: trials of the identity puzzle, at difficulty 0";
    let mut table = Table::new("cost", title, &columns);
    let mut attacks: Vec<(usize, usize)> = all.iter().map(|(case, _)| (case.nodes, case.sybils)).collect();
    attacks.dedup();
    for (nodes, sybils) in attacks {
        let of = all.iter().filter(|(case, _)| (case.nodes, case.sybils) == (nodes, sybils));
        let (made, hashes) = of.fold((0, 0), |(made, hashes), (_, came)| (made + came.made, hashes + came.hashes));
        if made == 0 {
            continue;
        }
        let each = real(hashes) / real_count(made);
        let hours = |ids: f64| Cell::Real(rounded(ids * each * PUZZLE_S / 3_600.0, 3), 3);
        table.row(vec![
            Cell::count(nodes),
            Cell::count(sybils),
            Cell::count(made),
            Cell::Real(rounded(each, 0), 0),
            hours(20.0),
            hours(45.0),
            hours(45.0 * real_count(LOCATIONS)),
        ]);
    }
    report.tables.push(table);
    report.note("a trial is one Argon2id over 4 MiB, about 2 ms of a core; each bit of a network's difficulty doubles the price");
}

fn charts(report: &mut Report, settings: &Settings, all: &[(Case, Came)]) {
    for nodes in settings.nodes.iter().copied() {
        let title = format!("Gets that bring a record in spite of Sybils next to it, {nodes} nodes");
        let mut chart = Chart::lines(&format!("sybil-{nodes}"), &title, "Sybils at each location attacked", "%");
        let attacks = [
            ("two of three, own /16s", LOCATIONS - 1, Prefixes::Many),
            ("all three, own /16s", LOCATIONS, Prefixes::Many),
            ("all three, one /24 each", LOCATIONS, Prefixes::One),
        ];
        for (name, locations, prefixes) in attacks {
            for (when, before) in [("put before", true), ("put after", false)] {
                let is_of = |case: &Case| {
                    let is_same = case.locations == locations && case.prefixes == prefixes;
                    case.nodes == nodes && case.is_stored_before == before && (is_same || case.sybils == 0)
                };
                let of = all.iter().filter(|(case, _)| is_of(case));
                let read = |came: &Came| percent(Endings::of(&came.gets, Doing::Get).share());
                chart.add(&format!("{name}, {when}"), of.map(|(case, came)| (real_count(case.sybils), read(came))));
            }
        }
        let ipfs = IPFS_ECLIPSED.iter().map(|(sybils, eclipsed)| (real_count(*sybils), 100.0 - eclipsed));
        chart.add("IPFS, not eclipsed", ipfs);
        report.charts.push(chart);
    }
}
