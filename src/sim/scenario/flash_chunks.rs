//! Everybody reads one file of a few chunks: what the busiest relay that keeps one of them sends, when further copies are made of
//! what very many ask for and when not. Source: spec/simulation.md §12.4.

use std::collections::{BTreeMap, BTreeSet};

use super::running::{options, percent, rounded, wait_ready};
use super::transfers::{Moves, Told, move_all};
use crate::dht::repair::RepairTiming;
use crate::keyspace::Location;
use crate::limits::CHUNK_LEN;
use crate::sim::draw::{real, real_count};
use crate::sim::files::File;
use crate::sim::report::{Cell, Table};
use crate::sim::settings::Settings;
use crate::sim::stage::Stage;
use crate::sim::world::{NodeNo, Options};
use crate::time::Duration;

/// Chunks of content: one batch.
const CHUNKS: usize = 4;
/// Each reader reads the file so often, one time after the other: a crowd that lasts.
const TIMES: usize = 10;
/// Reads of one world, at most.
const READS_MAX: usize = 500;
/// A rate that no network of this scenario is slower than, for deadlines.
const SLOWEST_KIB_S: f64 = 8.0;
/// Nothing becomes hot within this time.
const NEVER: Duration = Duration::from_secs(400_000 * 86_400);

/// An empty table, to be filled with [`rows`].
pub(super) fn table() -> Table {
    let columns = [
        "nodes",
        "readers",
        "reads",
        "further copies",
        "done %",
        "median s",
        "p99 s",
        "frames mean",
        "busiest relay",
        "busiest holder",
        "copies of a chunk",
        "others",
    ];
    let title =
        format!("Everybody reads one file of {CHUNKS} chunks, {TIMES} times each; frames that relays sent meanwhile");
    Table::new("flash-crowd-chunks", &title, &columns)
}

/// How a world of the scenario differs from others: whether very much asked for is spread.
pub(super) fn world(settings: &Settings, nodes: usize, run: u64, widens: bool) -> Options {
    let mut options = options(settings, nodes, run);
    if !widens {
        options.repair = RepairTiming { hot_after: NEVER, ..options.repair };
    }
    options
}

/// Runs one world, and tells it in a row.
pub(super) fn row(settings: &Settings, (nodes, widens): (usize, bool), stage: &mut Stage<'_>) -> Vec<Cell> {
    stage.settle_relays(nodes);
    let reads = settings.gets.min(READS_MAX);
    let clients = stage.known_clients(settings.clients.min(reads.div_ceil(TIMES)));
    wait_ready(stage, &clients, Duration::from_secs(30));
    let mut files = new_file(stage);
    let moves = |publishes, files: &[usize]| {
        let moves = Moves::new(settings, publishes, files, &clients);
        Moves { slowest_kib_s: SLOWEST_KIB_S, ..moves }
    };
    move_all(stage, &mut files, moves(true, &[0]));
    let holders = holders(stage, &files);
    let before: BTreeMap<NodeNo, u64> =
        stage.world.relays().into_iter().map(|no| (no, stage.world.frames_sent(no))).collect();
    let read = Told::of(&move_all(stage, &mut files, moves(false, &vec![0; reads])));
    let sent: BTreeMap<NodeNo, u64> =
        before.iter().map(|(no, frames)| (*no, stage.world.frames_sent(*no).saturating_sub(*frames))).collect();
    let most = |among: &dyn Fn(&NodeNo) -> bool| {
        Cell::Whole(sent.iter().filter(|(no, _)| among(no)).map(|(_, frames)| *frames).max().unwrap_or(0))
    };
    let seconds = |of: Option<f64>| Cell::real(rounded(of.unwrap_or(0.0), 2));
    vec![
        Cell::count(nodes),
        Cell::count(clients.len()),
        Cell::count(read.all),
        Cell::text(if widens { "yes" } else { "no" }),
        Cell::real(percent(read.share())),
        seconds(read.times.map(|times| times.median)),
        seconds(read.times.map(|times| times.p99)),
        Cell::real(rounded(real(sent.values().sum()) / real_count(sent.len().max(1)), 1)),
        most(&|_| true),
        most(&|no| holders.contains(no)),
        Cell::real(rounded(copies(stage, &files), 2)),
        Cell::text(&read.others),
    ]
}

fn new_file(stage: &mut Stage<'_>) -> Vec<File> {
    stage.world.checks.moves_chunks = true;
    let len = u64::try_from(CHUNKS * CHUNK_LEN).unwrap_or(u64::MAX);
    let files: Vec<File> = File::new(len, stage.world.rng()).into_iter().collect();
    for place in files.iter().flat_map(File::places) {
        stage.world.checks.secret_place(place);
    }
    files
}

/// Where the chunks of content stand that readers ask for.
fn places(files: &[File]) -> BTreeSet<Location> {
    let groups = files.iter().flat_map(|file| &file.groups);
    groups.flat_map(|group| group.chunks.iter().take(group.data)).copied().collect()
}

fn holders(stage: &Stage<'_>, files: &[File]) -> BTreeSet<NodeNo> {
    let places = places(files);
    let holds = |no: &NodeNo| stage.world.held(*no).any(|value| places.contains(&value.location()));
    stage.world.relays().into_iter().filter(holds).collect()
}

/// At how many relays each of these chunks is, on average.
fn copies(stage: &Stage<'_>, files: &[File]) -> f64 {
    let places = places(files);
    let held = stage.world.relays().into_iter().flat_map(|no| stage.world.held(no));
    let copies = held.filter(|value| places.contains(&value.location())).count();
    real_count(copies) / real_count(places.len().max(1))
}
