//! Relays that behave well and pool what they see: how far they can tell who asked and what was asked, with three hops and with
//! more. One run of a network serves many draws of who is bad, as that changes nothing of what happens. Source: spec/simulation.md §7.

use std::collections::BTreeSet;

use rand::SeedableRng;
use rand::rngs::ChaCha20Rng;

use super::running::{Endings, Tally, acknowledged, options, percent, put_all, rounded, seconds, wait_ready};
use super::{Refused, Watch};
use crate::limits::{HOPS_CLIENT_MIN, LOCATIONS};
use crate::sim::chart::{Chart, Scale};
use crate::sim::draw::{mixed, real_count, whole};
use crate::sim::meter::{Clusters, Known, Lookup, Score, Scores, measure, pressed};
use crate::sim::report::{Cell, Report, Spread, Table};
use crate::sim::settings::{Scenario, Settings};
use crate::sim::stage::{Doing, Stage};
use crate::sim::trace::Trace;
use crate::sim::world::draw::{below, within};
use crate::sim::world::{NodeNo, Options};
use crate::time::Duration;
use crate::wire::address::Address;

pub(super) use super::running::memory_needed;

/// What nodes saw is taken so often.
const TAKE_EVERY: Duration = Duration::from_secs(5);
/// By then all relays have come to the bootstraps.
const MEET: Duration = Duration::from_secs(15);
/// The same lookups in so many times less time.
const CROWDS: [f64; 4] = [1.0, 10.0, 100.0, 1_000.0];
/// But not less than this, seconds: what circuits take would be no small part of it.
const CROWD_SPAN_MIN: f64 = 3.0;
/// Fewer lookups say nothing about shares.
const LOOKUPS_TO_JUDGE: usize = 1_000;
/// Share of the gets that are done: of clients that get nothing little could be told.
const DONE_MIN: f64 = 0.95;
/// What two means may differ by through arithmetic and what is learned of delays, bits.
const BITS_SLACK: f64 = 0.02;

/// Where the bad relays stand.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Placed {
    /// Anywhere.
    Evenly,
    /// This share of the relays, all in one /8 that is otherwise as full as others.
    OneNetwork(f64),
}

/// A network that was run.
struct Run {
    nodes: usize,
    hops: usize,
    placed: Placed,
    known: Known,
    lookups: Vec<Lookup>,
    relays: Vec<u32>,
    /// Those in the one network.
    there: BTreeSet<u32>,
    exited: usize,
    gets: Endings,
}

/// What draws of bad relays came to on a run.
struct Row {
    nodes: usize,
    hops: usize,
    placed: Placed,
    bad: f64,
    lookups: usize,
    scores: Vec<Scores>,
    clusters: Vec<Clusters>,
}

/// One draw in a denser crowd.
struct Crowded {
    nodes: usize,
    hops: usize,
    bad: f64,
    times: f64,
    rate: f64,
    under_way: f64,
    score: Score,
}

pub(super) fn run(settings: &Settings, watch: &mut dyn Watch) -> Result<Report, Refused> {
    let mut report = Report::new(Scenario::Anonymity, settings);
    let mut tally = Tally::default();
    let most = settings.bad.iter().copied().fold(0.0, f64::max);
    let mut plan = Vec::new();
    for nodes in &settings.nodes {
        let hops = HOPS_CLIENT_MIN..=settings.hops.max(HOPS_CLIENT_MIN);
        plan.extend(hops.map(|hops| (*nodes, hops, Placed::Evenly)));
        plan.push((*nodes, HOPS_CLIENT_MIN, Placed::OneNetwork(most)));
    }
    let (mut rows, mut crowded, mut costs) = (Vec::new(), Vec::new(), costs());
    for (number, (nodes, hops, placed)) in (0_u32..).zip(&plan) {
        let part = |number: u32| f64::from(number) / real_count(plan.len());
        let options = Options { hops: *hops, keeps_sights: true, ..options(settings, *nodes, number.into()) };
        let mut stage = Stage::new(options, &format!("{nodes} nodes, {hops} hops, {}", placed.name()), watch);
        stage.span(part(number), part(number + 1), Duration::from_secs(60) + seconds(3_600.0 * settings.hours));
        let run = one(settings, (*nodes, *hops, *placed), &mut stage);
        let stopped = stage.is_stopped();
        tally.take(&mut stage);
        if stopped {
            break;
        }
        report.check(
            "every request that came out at an exit is traced to its client",
            run.exited == run.lookups.len(),
            format!("{nodes} nodes, {hops} hops: {} of {}", run.lookups.len(), run.exited),
        );
        let done = run.gets.share();
        let detail = format!("{nodes} nodes, {hops} hops: {} %", percent(done));
        report.check("what is measured is a network that works", done >= DONE_MIN, detail);
        run.tell_cost(&mut costs);
        rows.extend(judged(settings, &run));
        crowded.extend(crowds(settings, &run));
    }
    tell_askers(&mut report, &rows);
    tell_roles(&mut report, &rows);
    tell_clusters(&mut report, &rows);
    tell_crowds(&mut report, &crowded);
    report.tables.push(costs);
    check(&mut report, &rows);
    tell_others(&mut report);
    tally.close(&mut report);
    Ok(report)
}

/// What more hops cost.
fn costs() -> Table {
    let columns = ["nodes", "hops", "placed", "gets", "done %", "median s", "p99 s", "lookups", "way out s", "others"];
    Table::new("costs", "What hops cost: times of gets, and of lookups from guard to exit, with their dials", &columns)
}

impl Run {
    /// Mean time that lookups take from guard to exit, seconds.
    fn way(&self) -> f64 {
        let way = |lookup: &Lookup| Some(lookup.hops.last()?.came - lookup.hops.first()?.came);
        Spread::of(self.lookups.iter().filter_map(way).collect()).map_or(0.0, |ways| ways.mean)
    }

    fn tell_cost(&self, table: &mut Table) {
        let times = self.gets.times;
        table.row(vec![
            Cell::count(self.nodes),
            Cell::count(self.hops),
            Cell::text(self.placed.name()),
            Cell::count(self.gets.all),
            Cell::real(percent(self.gets.share())),
            Cell::real(rounded(times.map_or(0.0, |times| times.median), 2)),
            Cell::real(rounded(times.map_or(0.0, |times| times.p99), 2)),
            Cell::count(self.lookups.len()),
            Cell::real(rounded(self.way(), 3)),
            Cell::text(&self.gets.others()),
        ]);
    }
}

impl Placed {
    fn name(self) -> &'static str {
        match self {
            Self::Evenly => "evenly",
            Self::OneNetwork(_) => "one /8",
        }
    }
}

/// A network with clients that put and get at Poisson times, and everything that was seen.
fn one(settings: &Settings, (nodes, hops, placed): (usize, usize, Placed), stage: &mut Stage<'_>) -> Run {
    let there = match placed {
        Placed::Evenly => {
            stage.settle_relays(nodes);
            BTreeSet::new()
        }
        Placed::OneNetwork(share) => settle_in_one(stage, nodes, share),
    };
    let clients = stage.settled_clients(settings.clients);
    wait_ready(stage, &clients, Duration::from_secs(30));
    let mut trace = Trace::of(&stage.world, &clients);
    stage.add_records(settings.records);
    put_all(stage, &clients, Duration::from_secs(10));
    trace.take(&mut stage.world, false);
    let span = seconds(3_600.0 * settings.hours);
    plan_operations(settings, stage, &clients, span);
    let end = stage.world.now() + span + seconds(settings.deadline_s);
    while stage.world.now() < end && !stage.is_stopped() {
        stage.run((stage.world.now() + TAKE_EVERY).min(end));
        trace.take(&mut stage.world, true);
    }
    let known = Known {
        clients: clients.len(),
        relays: nodes,
        hops,
        span_s: span.as_secs_f64(),
        places: settings.records * LOCATIONS,
    };
    let relays = stage.world.relays().into_iter().map(|no| no.0).collect();
    let gets = Endings::of(&stage.ended, Doing::Get);
    Run { nodes, hops, placed, known, lookups: trace.lookups(), relays, there, exited: trace.exited(), gets }
}

/// Relays with a share of them in one /8, each in a /16 of its own as long as there are any.
fn settle_in_one(stage: &mut Stage<'_>, nodes: usize, share: f64) -> BTreeSet<u32> {
    let there = usize::try_from(whole(real_count(nodes) * share)).unwrap_or(0);
    for _ in there..nodes {
        stage.world.add_relay();
    }
    let mut bad = BTreeSet::new();
    for number in (0_u32..).take(there) {
        let [turn, _, second, third] = number.to_be_bytes();
        let address = Address(([10, third, 128_u8.wrapping_add(second), turn], 7_001).into());
        bad.insert(stage.world.add_relay_at(address).0);
    }
    stage.world.start_all_knowing();
    // Bootstraps tell of whom they met, and clients come in by what they tell: without this their guards would not be in it.
    stage.run(stage.world.now() + MEET);
    bad
}

/// So many events at evenly drawn times are a Poisson process, once their number is known.
fn plan_operations(settings: &Settings, stage: &mut Stage<'_>, clients: &[NodeNo], span: Duration) {
    let stored = acknowledged(stage);
    let (begun, timeout) = (stage.world.now(), seconds(settings.deadline_s));
    for _ in 0..settings.gets {
        let at = begun + within(stage.world.rng(), span);
        let record = stored.get(below(stage.world.rng(), stored.len())).copied();
        let client = clients.get(below(stage.world.rng(), clients.len())).copied();
        if let Some((client, record)) = client.zip(record) {
            stage.plan_ask(at, client, Doing::Get, record, timeout);
        }
    }
    for record in stored {
        let at = begun + within(stage.world.rng(), span);
        if let Some(client) = clients.get(record % clients.len().max(1)) {
            stage.plan_ask(at, *client, Doing::Put, record, timeout);
        }
    }
}

/// Draws who is bad, again and again, and measures.
fn judged(settings: &Settings, run: &Run) -> Vec<Row> {
    let of = |shares: &[f64], repeats: usize, draw: &dyn Fn(f64, u64) -> BTreeSet<u32>| {
        let row = |bad: &f64| {
            let draws: Vec<BTreeSet<u32>> = (0..).take(repeats).map(|turn| draw(*bad, turn)).collect();
            Row {
                nodes: run.nodes,
                hops: run.hops,
                placed: run.placed,
                bad: *bad,
                lookups: run.lookups.len(),
                scores: draws.iter().map(|bad| measure(&run.lookups, bad, &run.known)).collect(),
                clusters: draws.iter().map(|bad| Clusters::of(&run.lookups, bad)).collect(),
            }
        };
        shares.iter().map(row).collect()
    };
    match run.placed {
        Placed::Evenly => of(&settings.bad, settings.repeats, &|bad, turn| drawn(settings.seed, run, bad, turn)),
        Placed::OneNetwork(share) => of(&[share], 1, &|_, _| run.there.clone()),
    }
}

/// So many bad relays, each as likely.
fn drawn(seed: u64, run: &Run, share: f64, turn: u64) -> BTreeSet<u32> {
    let mut rng = ChaCha20Rng::seed_from_u64(mixed(mixed(seed, turn), whole(share * 1e6)));
    let mut relays = run.relays.clone();
    let count = whole((share * real_count(relays.len())).round());
    let take = |_| {
        let index = below(&mut rng, relays.len());
        (index < relays.len()).then(|| relays.swap_remove(index))
    };
    (0..count).filter_map(take).collect()
}

/// The largest share of bad relays against denser crowds.
fn crowds(settings: &Settings, run: &Run) -> Vec<Crowded> {
    let bad = settings.bad.iter().copied().fold(0.0, f64::max);
    if run.placed != Placed::Evenly || run.lookups.is_empty() {
        return Vec::new();
    }
    let who = drawn(settings.seed, run, bad, 0);
    let crowd = |times: f64| {
        let known = Known { span_s: run.known.span_s / times, ..run.known.clone() };
        let rate = real_count(run.lookups.len()) / known.span_s;
        let score = measure(&pressed(&run.lookups, times), &who, &known).blurred;
        Crowded { nodes: run.nodes, hops: run.hops, bad, times, rate, under_way: rate * run.way(), score }
    };
    CROWDS.into_iter().filter(|times| run.known.span_s / times >= CROWD_SPAN_MIN).map(crowd).collect()
}

impl Row {
    /// Mean and deviation of a figure over the draws.
    fn spread(&self, figure: impl Fn(&Scores) -> f64) -> (f64, f64) {
        Spread::of(self.scores.iter().map(figure).collect()).map_or((0.0, 0.0), |all| (all.mean, all.deviation))
    }

    fn mean(&self, figure: impl Fn(&Scores) -> f64) -> f64 {
        self.spread(figure).0
    }

    fn name(&self) -> String {
        format!("{} nodes, {} hops, {} % bad {}", self.nodes, self.hops, percent(self.bad), self.placed.name())
    }
}

/// One number of a score.
type Figure = fn(&Score) -> f64;
/// One of the two attackers.
type Attacker = fn(&Scores) -> &Score;
const ATTACKERS: [(&str, Attacker); 2] = [("perfect", |scores| &scores.perfect), ("blurred", |scores| &scores.blurred)];

fn share(number: f64) -> Cell {
    Cell::Real(rounded(100.0 * number, 2), 2)
}

fn bits(number: f64) -> Cell {
    Cell::Real(rounded(number, 3), 3)
}

fn tell_askers(report: &mut Report, rows: &[Row]) {
    let columns = [
        "nodes",
        "hops",
        "bad %",
        "placed",
        "timing",
        "seen %",
        "clients ever %",
        "linked %",
        "±",
        "wrong %",
        "sure %",
        "bits lost",
        "±",
    ];
    let title = "Who asked: lookups that bad exits or storers saw, linked to their clients; bits lost";
    let mut table = Table::new("askers", title, &columns);
    for row in rows {
        for (name, of) in ATTACKERS {
            let (linked, linked_by) = row.spread(|one| of(one).all().share(of(one).all().linked));
            let (lost, lost_by) = row.spread(|one| of(one).all().mean(of(one).all().asker_bits));
            let sure = |one: &Scores| {
                let all = of(one).all();
                all.sure / real_count((all.linked + all.wrong).max(1))
            };
            table.row(vec![
                Cell::count(row.nodes),
                Cell::count(row.hops),
                Cell::real(percent(row.bad)),
                Cell::text(row.placed.name()),
                Cell::text(name),
                share(row.mean(|one| of(one).all().share(of(one).all().seen))),
                share(row.mean(|one| of(one).ever())),
                share(linked),
                share(linked_by),
                share(row.mean(|one| of(one).all().share(of(one).all().wrong))),
                share(row.mean(sure)),
                bits(lost),
                bits(lost_by),
            ]);
        }
    }
    report.tables.push(table);
    let charts: [(&str, &str, &str, Figure); 3] = [
        ("linked", "Lookups linked to who asked", "%", |score| 100.0 * score.all().share(score.all().linked)),
        ("ever", "Clients linked to at least one of their lookups", "%", |score| 100.0 * score.ever()),
        ("bits", "Lost about who asked, mean of all lookups", "bits", |score| score.all().mean(score.all().asker_bits)),
    ];
    for (name, title, unit, figure) in charts {
        let mut chart = Chart::lines(name, title, "bad relays, %", unit);
        for (nodes, hops) in sizes(rows) {
            for (timing, of) in ATTACKERS {
                let these = even(rows).filter(|row| (row.nodes, row.hops) == (nodes, hops));
                let points = these.map(|row| (100.0 * row.bad, row.mean(|one| figure(of(one)))));
                chart.add(&format!("{nodes}, {hops} hops, {timing}"), points);
            }
        }
        report.charts.push(chart);
    }
}

fn even(rows: &[Row]) -> impl Iterator<Item = &Row> {
    rows.iter().filter(|row| row.placed == Placed::Evenly)
}

fn sizes(rows: &[Row]) -> BTreeSet<(usize, usize)> {
    rows.iter().map(|row| (row.nodes, row.hops)).collect()
}

fn tell_roles(report: &mut Report, rows: &[Row]) {
    let columns = [
        "nodes",
        "hops",
        "bad %",
        "placed",
        "timing",
        "readers linked %",
        "asker bits",
        "target linked %",
        "target bits",
        "publishers linked %",
        "asker bits",
        "target linked %",
        "target bits",
    ];
    let title = "Readers and publishers apart: who asked, and what a client asked for whose circuit was seen";
    let mut table = Table::new("roles", title, &columns);
    for row in rows {
        for (name, of) in ATTACKERS {
            let mut cells = vec![
                Cell::count(row.nodes),
                Cell::count(row.hops),
                Cell::real(percent(row.bad)),
                Cell::text(row.placed.name()),
                Cell::text(name),
            ];
            for role in [|score: &Score| score.readers, |score: &Score| score.publishers] {
                let sums = |one: &Scores| role(of(one));
                cells.push(share(row.mean(|one| sums(one).share(sums(one).linked))));
                cells.push(bits(row.mean(|one| sums(one).mean(sums(one).asker_bits))));
                cells.push(share(row.mean(|one| sums(one).share(sums(one).target_linked))));
                cells.push(bits(row.mean(|one| sums(one).mean(sums(one).target_bits))));
            }
            table.row(cells);
        }
    }
    report.tables.push(table);
}

fn tell_clusters(report: &mut Report, rows: &[Row]) {
    let columns = [
        "nodes",
        "hops",
        "bad %",
        "pairs",
        "of one client %",
        "same hop before: of one client %",
        "of one client: same hop before %",
    ];
    let title = "What the hop before a bad exit tells: pairs of lookups of different operations";
    let mut table = Table::new("hop-before", title, &columns);
    let mut chart =
        Chart::lines("hop-before", "Of one client, if the hop before the exit is the same", "bad relays, %", "%");
    let sum = |row: &Row, figure: fn(&Clusters) -> f64| row.clusters.iter().map(figure).sum::<f64>();
    let told = |row: &Row| sum(row, |one| one.of_one_same_hop) / sum(row, |one| one.same_hop).max(1.0);
    for row in even(rows) {
        table.row(vec![
            Cell::count(row.nodes),
            Cell::count(row.hops),
            Cell::real(percent(row.bad)),
            Cell::Whole(whole(sum(row, |one| one.pairs))),
            Cell::Real(100.0 * sum(row, |one| one.of_one) / sum(row, |one| one.pairs).max(1.0), 3),
            Cell::Real(100.0 * told(row), 3),
            Cell::Real(100.0 * sum(row, |one| one.of_one_same_hop) / sum(row, |one| one.of_one).max(1.0), 3),
        ]);
    }
    for (nodes, hops) in sizes(rows) {
        let these = even(rows).filter(|row| (row.nodes, row.hops) == (nodes, hops));
        chart.add(&format!("{nodes}, {hops} hops"), these.map(|row| (100.0 * row.bad, 100.0 * told(row))));
    }
    report.tables.push(table);
    report.charts.push(chart);
}

fn tell_crowds(report: &mut Report, crowded: &[Crowded]) {
    let columns = [
        "nodes",
        "hops",
        "bad %",
        "denser by",
        "lookups/s",
        "under way",
        "clients ever %",
        "linked %",
        "wrong %",
        "asker bits",
        "target bits",
    ];
    let title = "Blurred timing in denser crowds: the same lookups in less time, one draw of who is bad";
    let mut table = Table::new("crowds", title, &columns);
    let mut chart =
        Chart::lines("crowds", "Lookups linked by blurred timing", "lookups under way between guard and exit", "%")
            .scaled(Scale::Log, Scale::Linear);
    for one in crowded {
        let all = one.score.all();
        table.row(vec![
            Cell::count(one.nodes),
            Cell::count(one.hops),
            Cell::real(percent(one.bad)),
            Cell::real(one.times),
            Cell::real(rounded(one.rate, 1)),
            Cell::real(rounded(one.under_way, 1)),
            share(one.score.ever()),
            share(all.share(all.linked)),
            share(all.share(all.wrong)),
            bits(all.mean(all.asker_bits)),
            bits(all.mean(all.target_bits)),
        ]);
    }
    let sizes: BTreeSet<(usize, usize)> = crowded.iter().map(|one| (one.nodes, one.hops)).collect();
    for (nodes, hops) in sizes {
        let these = crowded.iter().filter(|one| (one.nodes, one.hops) == (nodes, hops));
        let point = |one: &Crowded| (one.under_way, 100.0 * one.score.all().share(one.score.all().linked));
        chart.add(&format!("{nodes}, {hops} hops"), these.map(point));
    }
    report.tables.push(table);
    report.charts.push(chart);
}

fn check(report: &mut Report, rows: &[Row]) {
    for row in rows {
        let of =
            |figure: fn(&Score) -> f64| (row.mean(|one| figure(&one.perfect)), row.mean(|one| figure(&one.blurred)));
        let (bits, blurred) = of(|score| score.all().mean(score.all().asker_bits));
        let detail = format!("{}: {bits:.3} and {blurred:.3} bits", row.name());
        report.check("perfect timing tells at least what blurred timing does", bits + BITS_SLACK >= blurred, detail);
        if row.placed != Placed::Evenly || row.lookups < LOOKUPS_TO_JUDGE {
            continue;
        }
        // A bad guard, and a far end that is seen: the share of bad relays, not its square.
        let (linked, deviation) = row.spread(|one| one.perfect.all().share(one.perfect.all().linked));
        let seen = row.mean(|one| one.perfect.all().share(one.perfect.all().seen));
        let slack = 0.005 + 4.0 * deviation.max(0.01) / real_count(row.scores.len().max(1)).sqrt();
        let detail = format!("{}: {:.2} % of {:.2} % seen", row.name(), percent(linked), percent(seen));
        report.check(
            "with perfect timing the share linked is that of bad relays",
            (linked - row.bad * seen).abs() <= slack,
            detail,
        );
    }
}

fn tell_others(report: &mut Report) {
    report.note(
        "linked: the attacker gives one client more than half of all chances, and it is the right one; wrong: it is another one; \
         sure: how likely he thought it was, in both cases; bits: of log2 of the clients, or of the places, averaged over all \
         lookups, 0 for what nobody bad saw",
    );
    report.note(
        "for comparison, recalled and not verified, other models and sizes: Octopus (ICDCS 2012) at 100,000 nodes and 20 % bad loses \
         0.57 bits about the initiator and 0.82 about the target, NISAN and Torsk about 3.3",
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::scenario::Unwatched;

    fn small() -> Settings {
        Settings {
            nodes: vec![40],
            clients: 12,
            records: 4,
            gets: 60,
            hours: 0.01,
            bad: vec![0.0, 0.3],
            hops: 3,
            repeats: 2,
            one_way_ms: Some(30.0),
            ..Settings::default()
        }
    }

    #[test]
    fn a_run_traces_all_lookups_and_is_the_same_again() {
        let report = run(Scenario::Anonymity, &small());
        assert_eq!(report.failed(), Vec::<&str>::new(), "{:?}", report.checks);
        assert_eq!(report, run(Scenario::Anonymity, &small()));
        let rows = &report.tables[0].rows;
        // Two shares and one network of bad relays, two attackers each.
        assert_eq!(rows.len(), 6);
        assert!(rows[..2].iter().all(|row| row[5..] == rows[0][5..] && row[7] == share(0.0)), "{rows:?}");
        assert!(matches!(rows[2][5], Cell::Real(seen, _) if seen > 90.0), "{rows:?}");
        // Wherever the bad ones stand, and even where they are in one network, nobody is without guards.
        let costs = report.tables.iter().find(|table| table.name == "costs").unwrap();
        assert!(costs.rows.iter().all(|row| row[4] == Cell::real(100.0)), "{:?}", costs.rows);
    }

    fn run(scenario: Scenario, settings: &Settings) -> Report {
        crate::sim::scenario::run(scenario, settings, &mut Unwatched).unwrap()
    }
}
