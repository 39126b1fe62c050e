//! Files in chunks are published; then a share of all nodes stops at one moment, and every file is read with nothing repaired.
//! Source: spec/simulation.md §12.9.

use super::running::{Tally, options, percent, rounded, wait_ready};
use super::transfers::{Moved, Moves, Standing, Told, chunks_needed, move_all, new_files, readable};
use super::{Refused, Watch};
use crate::dht::repair::RepairTiming;
use crate::sim::chart::Chart;
use crate::sim::draw::{real, real_count, whole};
use crate::sim::files::File;
use crate::sim::report::{Cell, Report, Table};
use crate::sim::settings::{Scenario, Settings};
use crate::sim::stage::Stage;
use crate::sim::world::draw::{below, chance};
use crate::sim::world::{NodeNo, Options, Stop};
use crate::time::Duration;

/// Shares of files that should come back, by the largest share that stops for which it is asked.
const AIMS: [(f64, f64); 2] = [(0.3, 1.0), (0.5, 0.99)];
/// Fewer files, or relays, say nothing.
const FILES_TO_JUDGE: usize = 100;
const NODES_TO_JUDGE: usize = 200;
/// No check of a place comes to its turn in a run.
const NEVER: Duration = Duration::from_secs(400_000 * 86_400);
/// Bytes of a mebibyte.
const MIB: f64 = 1_048_576.0;

/// What the worlds of one size and one share came to.
#[derive(Default)]
struct Run {
    bytes: u64,
    published: Vec<Moved>,
    read: Vec<Moved>,
    standing: Vec<Standing>,
    /// Clients that had no guard left and read nothing.
    without_guards: usize,
    /// Copies that repair made in between.
    repaired: u64,
    /// Chunks that were asked for, over those that content has.
    needed: u64,
}

pub(super) fn run(settings: &Settings, watch: &mut dyn Watch) -> Result<Report, Refused> {
    let mut report = Report::new(Scenario::Content, settings);
    let mut tally = Tally::default();
    let mut runs = Vec::new();
    let total = real_count(settings.nodes.len() * settings.stops.len() * settings.repeats);
    let mut begun = 0.0;
    for nodes in &settings.nodes {
        for stop in &settings.stops {
            let mut run = Run::default();
            for number in 0..settings.repeats {
                let what = format!("{nodes} nodes, {} % stop, world {}", percent(*stop), number + 1);
                let mut stage = Stage::new(still(settings, *nodes, number), &what, watch);
                stage.span(begun / total, (begun + 1.0) / total, Duration::from_secs(600));
                begun += 1.0;
                one(settings, (*nodes, *stop, number), &mut stage, &mut run);
                let stopped = stage.is_stopped();
                tally.take(&mut stage);
                if stopped {
                    break;
                }
            }
            runs.push((*nodes, *stop, run));
        }
    }
    tell(&mut report, settings, &runs);
    tally.close(&mut report);
    Ok(report)
}

/// A world in which nothing is repaired.
fn still(settings: &Settings, nodes: usize, number: usize) -> Options {
    let repair = RepairTiming {
        step: NEVER,
        every: NEVER,
        hint_after: NEVER,
        retry: NEVER,
        hot_after: NEVER,
        ..RepairTiming::default()
    };
    Options { repair, ..options(settings, nodes, u64::try_from(number).unwrap_or(u64::MAX)) }
}

fn one(settings: &Settings, (nodes, stop, number): (usize, f64, usize), stage: &mut Stage<'_>, run: &mut Run) {
    stage.settle_relays(nodes);
    let clients = stage.known_clients(settings.clients);
    wait_ready(stage, &clients, Duration::from_secs(30));
    let mut files = new_files(settings, stage, (number, settings.repeats));
    let all: Vec<usize> = (0..files.len()).collect();
    let published = move_all(stage, &mut files, Moves::new(settings, true, &all, &clients));
    run.bytes += files.iter().map(|file| file.len).sum::<u64>();
    let stored = readable(&published);
    run.published.extend(published);
    let before = stage.world.repairs().copies;
    stop_some(stage, stop, settings.crash_silent);
    run.standing.push(Standing::of(stage, &files));
    let (readers, without) = clients.iter().partition::<Vec<NodeNo>, _>(|client| !stage.guards_are_dead(**client));
    run.without_guards += without.len();
    run.needed += stored.iter().filter_map(|file| files.get(*file)).map(chunks_of).sum::<u64>();
    run.read.extend(move_all(stage, &mut files, Moves::new(settings, false, &stored, &others(&readers))));
    run.repaired += stage.world.repairs().copies - before;
}

/// Nobody reads what they have published, as far as there are others.
fn others(clients: &[NodeNo]) -> Vec<NodeNo> {
    let mut others = clients.to_vec();
    others.rotate_left(1.min(clients.len()));
    others
}

/// Chunks without which a file does not come, those of hashes among them.
fn chunks_of(file: &File) -> u64 {
    file.groups.iter().map(|group| u64::try_from(group.data).unwrap_or(u64::MAX)).sum()
}

fn stop_some(stage: &mut Stage<'_>, share: f64, silent: f64) {
    let mut standing: Vec<NodeNo> = stage.world.relays();
    for _ in 0..whole(share * real_count(standing.len())) {
        let drawn = below(stage.world.rng(), standing.len());
        let how = if chance(stage.world.rng(), silent) { Stop::Silent } else { Stop::Crash };
        stage.world.stop(standing.swap_remove(drawn), how, false);
    }
}

fn tell(report: &mut Report, settings: &Settings, runs: &[(usize, f64, Run)]) {
    let columns = ["nodes", "stopped %", "files", "MiB", "chunks", "stored %", "median s", "most s", "others"];
    let mut puts = Table::new("published", "Files as they were published, before anything stopped", &columns);
    let columns =
        ["nodes", "stopped %", "files", "back %", "median s", "p99 s", "most s", "slowest KiB/s", "asked %", "others"];
    let mut gets = Table::new("read", "Files read right after many nodes stopped at once, nothing repaired", &columns);
    let columns =
        ["nodes", "stopped %", "chunks gone %", "groups", "groups lost", "worst lacks", "of", "clients without guards"];
    let mut left = Table::new("left", "What was left, seen from outside", &columns);
    let mut chart = Chart::lines("content", "Time to read a file", "MiB", "s");
    for (nodes, stop, run) in runs {
        let head = || [Cell::count(*nodes), Cell::real(percent(*stop))].into_iter();
        puts.row(head().chain(published(run)).collect());
        gets.row(head().chain(read(run)).collect());
        left.row(head().chain(stood(run)).collect());
        let done = run.read.iter().filter(|one| one.ending == crate::sim::stage::Ending::Done);
        let mut points: Vec<(f64, f64)> = done.map(|one| (real(one.len) / MIB, one.seconds)).collect();
        points.sort_by(|one, other| one.0.total_cmp(&other.0));
        chart.add(&format!("{nodes} nodes, {} % stopped", percent(*stop)), points);
        judge(report, *nodes, *stop, run);
    }
    let ends = settings.file_kib.iter().map(|kib| real_count(*kib) / 1_024.0);
    let deadline = |mib: f64| settings.deadline_s + mib * 1_024.0 / settings.slowest_kib_s;
    chart.add("deadline", ends.map(|mib| (mib, deadline(mib))));
    report.tables.extend([puts, gets, left]);
    report.charts.push(chart);
    report.note(format!(
        "a file that is not back {} s and one more for each {} KiB after its reader began counts as open",
        settings.deadline_s, settings.slowest_kib_s
    ));
    report.note("clients of whom all three guards stopped read nothing: another one does; \"asked %\" is of the chunks without which a file does not come");
}

fn published(run: &Run) -> [Cell; 7] {
    let told = Told::of(&run.published);
    [
        Cell::count(told.all),
        Cell::real(rounded(real(run.bytes) / MIB, 1)),
        Cell::count(run.standing.iter().map(|one| one.chunks).sum()),
        Cell::real(percent(told.share())),
        Cell::real(rounded(told.times.map_or(0.0, |times| times.median), 1)),
        Cell::real(rounded(told.times.map_or(0.0, |times| times.largest), 1)),
        Cell::text(&told.others),
    ]
}

fn read(run: &Run) -> [Cell; 8] {
    let told = Told::of(&run.read);
    let asked = real_count(run.read.iter().map(|one| one.asked).sum());
    [
        Cell::count(told.all),
        Cell::real(percent(told.share())),
        Cell::real(rounded(told.times.map_or(0.0, |times| times.median), 1)),
        Cell::real(rounded(told.times.map_or(0.0, |times| times.p99), 1)),
        Cell::real(rounded(told.times.map_or(0.0, |times| times.largest), 1)),
        if told.done == 0 { Cell::Nothing } else { Cell::real(rounded(told.slowest_kib_s, 1)) },
        Cell::real(percent(asked / real(run.needed).max(1.0))),
        Cell::text(&told.others),
    ]
}

fn stood(run: &Run) -> [Cell; 6] {
    let sum = |of: fn(&Standing) -> usize| run.standing.iter().map(of).sum::<usize>();
    let worst = run.standing.iter().map(|one| one.worst).max_by_key(|(gone, of)| gone * 1_000 / of.max(&1));
    let (gone, of) = worst.unwrap_or_default();
    [
        Cell::real(percent(real_count(sum(|one| one.gone)) / real_count(sum(|one| one.chunks)).max(1.0))),
        Cell::count(sum(|one| one.groups)),
        Cell::count(sum(|one| one.lost)),
        Cell::count(gone),
        Cell::count(of),
        Cell::count(run.without_guards),
    ]
}

fn judge(report: &mut Report, nodes: usize, stop: f64, run: &Run) {
    let told = Told::of(&run.read);
    report.check("nothing was repaired meanwhile", run.repaired == 0, format!("{} copies", run.repaired));
    let aim = AIMS.iter().find(|(most, _)| stop <= *most + 1e-9);
    if let Some((_, aim)) = aim.filter(|_| nodes >= NODES_TO_JUDGE && run.published.len() >= FILES_TO_JUDGE) {
        let stored = Told::of(&run.published);
        report.check("all files are published", stored.done == stored.all, format!("others: {}", stored.others));
        let detail = format!(
            "{nodes} nodes, {} % stopped: {:.2} % of {}, others: {}",
            percent(stop),
            percent(told.share()),
            told.all,
            told.others
        );
        report.check("files outlive the nodes that stop", told.share() >= *aim, detail);
    }
}

/// Chunks of the files of one world, beside the nodes.
pub(super) fn memory_needed(settings: &Settings) -> u64 {
    let files = settings.files.div_ceil(settings.repeats.max(1));
    super::running::memory_needed(settings).saturating_add(chunks_needed(settings, files))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_does_not_get_its_own_file_where_there_are_others() {
        let (one, two) = (NodeNo(1), NodeNo(2));
        assert_eq!(others(&[one, two]), [two, one]);
        assert_eq!(others(&[one]), [one]);
        assert_eq!(others(&[]), []);
    }
}
