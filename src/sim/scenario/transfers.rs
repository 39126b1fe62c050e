//! Transfers of many clients at once, each client one file after the other, and how they ended. It must not know any scenario.

use std::collections::{BTreeMap, VecDeque};

use crate::limits::SEALED_CHUNK_LEN;
use crate::sim::draw::{real, real_count, whole};
use crate::sim::files::{File, Making, Publishing, Reading, Stand, Wish, lengths, timeout_of};
use crate::sim::report::Spread;
use crate::sim::settings::Settings;
use crate::sim::stage::{Brought, Ending, Stage};
use crate::sim::world::NodeNo;
use crate::time::{Duration, Instant};

/// For how long files are stored, seconds.
const FILE_LIFE_S: u64 = 14 * 86_400;

/// A transfer that is over.
#[derive(Clone, Debug)]
pub(super) struct Moved {
    /// Which file.
    pub(super) file: usize,
    /// Bytes of it.
    pub(super) len: u64,
    /// Whether it can be read: it is published, or all but some copies of its root are.
    pub(super) can_be_read: bool,
    /// How it ended; open, if it was not over at its deadline.
    pub(super) ending: Ending,
    /// Seconds that it took.
    pub(super) seconds: f64,
    /// Chunks that a reader asked for, each time counted.
    pub(super) asked: usize,
}

enum Machine {
    Publishing(Box<Publishing>),
    Reading(Box<Reading>),
}

struct Transfer {
    file: usize,
    machine: Machine,
    begun: Instant,
    deadline: Instant,
}

/// What is to be moved: which way, and which files by which clients.
pub(super) struct Moves {
    /// Whether files are published; else read.
    pub(super) publishes: bool,
    /// Files of each client, in its order.
    pub(super) of: BTreeMap<NodeNo, VecDeque<usize>>,
    /// Seconds for any file.
    pub(super) deadline_s: f64,
    /// A second more for so many KiB.
    pub(super) slowest_kib_s: f64,
}

impl Moves {
    /// These files by these clients in turn, with the deadlines of the settings.
    pub(super) fn new(settings: &Settings, publishes: bool, files: &[usize], clients: &[NodeNo]) -> Self {
        let mut of: BTreeMap<NodeNo, VecDeque<usize>> = BTreeMap::new();
        for (file, client) in files.iter().zip(clients.iter().cycle()) {
            of.entry(*client).or_default().push_back(*file);
        }
        Self { publishes, of, deadline_s: settings.deadline_s, slowest_kib_s: settings.slowest_kib_s }
    }

    /// How long a file of so many bytes may take.
    pub(super) fn deadline(&self, len: u64) -> Duration {
        super::running::seconds(self.deadline_s + real(len) / 1_024.0 / self.slowest_kib_s)
    }
}

/// Files of the lengths that the settings ask for, each `every`-th from one on, of keys of their own.
pub(super) fn new_files(settings: &Settings, stage: &mut Stage<'_>, (from, every): (usize, usize)) -> Vec<File> {
    stage.world.checks.moves_chunks = true;
    let [shortest, longest] = settings.file_kib[..] else { return Vec::new() };
    let all = lengths(settings.files, (1_024.0 * real_count(shortest), 1_024.0 * real_count(longest)));
    let mut files = Vec::new();
    for len in all.into_iter().skip(from).step_by(every.max(1)) {
        files.extend(File::new(len, stage.world.rng()));
    }
    for place in files.iter().flat_map(File::places) {
        stage.world.checks.secret_place(place);
    }
    files
}

/// Moves everything, to its end or its deadline.
pub(super) fn move_all(stage: &mut Stage<'_>, files: &mut [File], moves: Moves) -> Vec<Moved> {
    let mut moving = Moving { moves, running: BTreeMap::new(), asked: BTreeMap::new(), moved: Vec::new() };
    let clients: Vec<NodeNo> = moving.moves.of.keys().copied().collect();
    for client in clients {
        moving.begin(stage, files, client);
    }
    while let Some(until) = moving.running.values().map(|transfer| transfer.deadline).min() {
        if stage.is_stopped() {
            break;
        }
        match stage.run_on(until) {
            Some(brought) => moving.on_brought(stage, files, brought),
            None => moving.on_time(stage, files),
        }
    }
    moving.moved
}

struct Moving {
    moves: Moves,
    running: BTreeMap<NodeNo, Transfer>,
    /// Operations under way, by the number that their transfer gave them.
    asked: BTreeMap<(NodeNo, u64), u64>,
    moved: Vec<Moved>,
}

impl Moving {
    /// The next file of a client, if there is one.
    fn begin(&mut self, stage: &mut Stage<'_>, files: &mut [File], client: NodeNo) {
        while let Some(number) = self.moves.of.get_mut(&client).and_then(VecDeque::pop_front) {
            let Some(file) = files.get(number) else { continue };
            let machine = if self.moves.publishes {
                let Some(publishing) = Publishing::new(file) else { continue };
                Machine::Publishing(Box::new(publishing))
            } else {
                Machine::Reading(Box::default())
            };
            let begun = stage.world.now();
            let deadline = begun + self.moves.deadline(file.len);
            self.running.insert(client, Transfer { file: number, machine, begun, deadline });
            return self.go_on(stage, files, client);
        }
    }

    /// Starts what a transfer wants.
    fn go_on(&mut self, stage: &mut Stage<'_>, files: &mut [File], client: NodeNo) {
        let Some(transfer) = self.running.get_mut(&client) else { return };
        let Some(file) = files.get_mut(transfer.file) else { return };
        while let Some((wish, operation)) = wanted(&mut transfer.machine, file, stage) {
            let timeout = timeout_of(&operation);
            let id = stage.start(client, operation, timeout);
            self.asked.insert((client, id), wish);
        }
        if let Machine::Publishing(publishing) = &transfer.machine
            && let Stand::Over(ending) = publishing.stand()
        {
            self.end(stage, files, client, ending);
        }
    }

    fn on_brought(&mut self, stage: &mut Stage<'_>, files: &mut [File], Brought { client, id, outcome }: Brought) {
        // Of a transfer that is over: nobody waits for it.
        let Some(wish) = self.asked.remove(&(client, id)) else { return };
        let Some(transfer) = self.running.get_mut(&client) else { return };
        let Some(file) = files.get(transfer.file) else { return };
        let stand = match &mut transfer.machine {
            Machine::Publishing(publishing) => publishing.on_outcome(wish, &outcome),
            Machine::Reading(reading) => reading.on_outcome(wish, outcome, file),
        };
        match stand {
            Stand::UnderWay => self.go_on(stage, files, client),
            Stand::Over(ending) => self.end(stage, files, client, ending),
        }
    }

    /// Ends what is at its deadline.
    fn on_time(&mut self, stage: &mut Stage<'_>, files: &mut [File]) {
        let now = stage.world.now();
        let late: Vec<NodeNo> =
            self.running.iter().filter(|(_, transfer)| transfer.deadline <= now).map(|(client, _)| *client).collect();
        for client in late {
            self.end(stage, files, client, Ending::Open);
        }
    }

    fn end(&mut self, stage: &mut Stage<'_>, files: &mut [File], client: NodeNo, ending: Ending) {
        let Some(transfer) = self.running.remove(&client) else { return };
        self.asked.retain(|(of, _), _| *of != client);
        let ending = match ending {
            Ending::Unreachable | Ending::Privacy if stage.guards_are_dead(client) => Ending::GuardsDead,
            ending => ending,
        };
        let (asked, can_be_read) = match &transfer.machine {
            Machine::Publishing(publishing) => (0, publishing.can_be_read()),
            Machine::Reading(reading) => (reading.asked(), true),
        };
        let seconds = transfer.begun.until(stage.world.now()).as_secs_f64();
        let len = files.get(transfer.file).map_or(0, |file| file.len);
        self.moved.push(Moved { file: transfer.file, len, can_be_read, ending, seconds, asked });
        self.begin(stage, files, client);
    }
}

fn wanted(machine: &mut Machine, file: &mut File, stage: &mut Stage<'_>) -> Option<Wish> {
    match machine {
        Machine::Publishing(publishing) => {
            let (network, now) = (stage.world.network(), stage.world.unix());
            let mut making = Making { network: &network, now, life_s: FILE_LIFE_S, rng: stage.world.rng() };
            publishing.next(file, &mut making)
        }
        Machine::Reading(reading) => reading.next(file),
    }
}

/// The files that can be read after they were published so.
pub(super) fn readable(published: &[Moved]) -> Vec<usize> {
    let mut files: Vec<usize> = published.iter().filter(|one| one.can_be_read).map(|one| one.file).collect();
    files.sort_unstable();
    files
}

/// How transfers ended.
pub(super) struct Told {
    /// All of them.
    pub(super) all: usize,
    /// Those that were done.
    pub(super) done: usize,
    /// Those whose client had no guard left.
    pub(super) guards_dead: usize,
    /// Seconds of those that were done.
    pub(super) times: Option<Spread>,
    /// Of those that were done, KiB a second of the slowest.
    pub(super) slowest_kib_s: f64,
    /// What else happened, in words.
    pub(super) others: String,
}

impl Told {
    pub(super) fn of(moved: &[Moved]) -> Self {
        let done: Vec<&Moved> = moved.iter().filter(|one| one.ending == Ending::Done).collect();
        let rates = done.iter().map(|one| real(one.len) / 1_024.0 / one.seconds.max(1e-6));
        let others = super::running::ENDINGS.into_iter().filter(|ending| *ending != Ending::Done);
        let others = others.filter_map(|ending| {
            let count = moved.iter().filter(|one| one.ending == ending).count();
            (count > 0).then(|| format!("{count} {}", ending.name()))
        });
        let others = others.collect::<Vec<_>>().join(", ");
        Self {
            all: moved.len(),
            done: done.len(),
            guards_dead: moved.iter().filter(|one| one.ending == Ending::GuardsDead).count(),
            slowest_kib_s: rates.fold(f64::INFINITY, f64::min),
            times: Spread::of(done.iter().map(|one| one.seconds).collect()),
            others: if others.is_empty() { "-".into() } else { others },
        }
    }

    /// Share that was done, of those whose client had a guard left.
    pub(super) fn share(&self) -> f64 {
        let counted = self.all.saturating_sub(self.guards_dead);
        if counted == 0 { 0.0 } else { real_count(self.done) / real_count(counted) }
    }
}

/// How the chunks of files stand, read off the world from outside.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub(super) struct Standing {
    /// Chunks of all files.
    pub(super) chunks: usize,
    /// Of them, those that no running relay holds.
    pub(super) gone: usize,
    /// Groups.
    pub(super) groups: usize,
    /// Groups of which too few are left.
    pub(super) lost: usize,
    /// Most chunks that one group lacks, and how many it may.
    pub(super) worst: (usize, usize),
}

impl Standing {
    /// Of files, as they stand now.
    pub(super) fn of(stage: &Stage<'_>, files: &[File]) -> Self {
        let up = stage.world.relays().into_iter().filter(|no| stage.world.is_up(*no));
        let held: std::collections::BTreeSet<_> =
            up.flat_map(|no| stage.world.held(no)).map(crate::record::VerifiedValue::location).collect();
        let mut all = Self::default();
        for group in files.iter().flat_map(|file| &file.groups) {
            let gone = group.chunks.iter().filter(|place| !held.contains(place)).count();
            let parity = group.chunks.len().saturating_sub(group.data);
            all.chunks += group.chunks.len();
            all.gone += gone;
            all.groups += 1;
            all.lost += usize::from(gone > parity);
            // By the share of what it may lack.
            if gone * all.worst.1.max(1) >= all.worst.0 * parity.max(1) {
                all.worst = (gone, parity);
            }
        }
        all
    }
}

/// Bytes that the chunks of so many files of these settings take in memory, about: what is sealed, once.
pub(super) fn chunks_needed(settings: &Settings, files: usize) -> u64 {
    let [shortest, longest] = settings.file_kib[..] else { return 0 };
    let ends = (1_024.0 * real_count(shortest), 1_024.0 * real_count(longest));
    let mean = lengths(100, ends).into_iter().map(real).sum::<f64>() / 100.0;
    // Parity and what fills up: never more than three times the content of a mebibyte, eight chunks of any file.
    whole(real_count(files) * (mean * 2.7 + 8.0 * real_count(SEALED_CHUNK_LEN)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::MEMBERS_MAX;
    use crate::membership::members::Members;
    use crate::sim::internet::Internet;
    use crate::sim::scenario::Unwatched;
    use crate::sim::world::{Options, Stop};

    fn settings() -> Settings {
        Settings { files: 3, file_kib: vec![100, 600], deadline_s: 120.0, slowest_kib_s: 32.0, ..Settings::default() }
    }

    fn secs(s: u64) -> Duration {
        Duration::from_secs(s)
    }

    /// What happens before files are published, then before they are read; how all of it ended.
    fn play(before: fn(&mut Stage<'_>), between: fn(&mut Stage<'_>)) -> (Vec<Moved>, Vec<Moved>, Standing) {
        let mut watch = Unwatched;
        let mut stage = Stage::new(Options::new(1, Internet::fixed(Duration::from_millis(20))), "", &mut watch);
        stage.settle_relays(30);
        let clients = stage.known_clients(2);
        stage.run(stage.world.now() + secs(10));
        before(&mut stage);
        let settings = settings();
        let mut files = new_files(&settings, &mut stage, (0, 1));
        let all = [0, 1, 2];
        let published = move_all(&mut stage, &mut files, Moves::new(&settings, true, &all, &clients));
        between(&mut stage);
        let standing = Standing::of(&stage, &files);
        let read = move_all(&mut stage, &mut files, Moves::new(&settings, false, &all, &clients));
        assert_eq!(stage.world.checks.breaches(), []);
        (published, read, standing)
    }

    fn are_done(moved: &[Moved]) {
        assert_eq!(moved.len(), 3);
        assert!(moved.iter().all(|one| one.ending == Ending::Done), "{moved:?}");
    }

    #[test]
    fn files_come_back_whole_after_relays_have_stopped() {
        let stop = |stage: &mut Stage<'_>| {
            for no in stage.world.relays().into_iter().skip(6).step_by(4) {
                stage.world.stop(no, Stop::Crash, false);
            }
        };
        let (published, read, standing) = play(|_| (), stop);
        are_done(&published);
        are_done(&read);
        assert!(standing.gone > 0 && standing.lost == 0, "{standing:?}");
        assert!(standing.worst.0 > 0 && standing.worst.0 <= standing.worst.1, "{standing:?}");
    }

    #[test]
    fn files_are_published_although_relays_came_that_their_publishers_do_not_know() {
        let join = |stage: &mut Stage<'_>| {
            for _ in 0..6 {
                let no = stage.world.add_relay();
                stage.world.start_relay(no, Members::new(MEMBERS_MAX));
            }
            stage.run(stage.world.now() + secs(60));
        };
        let (published, read, _) = play(join, |_| ());
        are_done(&published);
        are_done(&read);
    }

    #[test]
    fn what_is_not_over_at_its_deadline_is_open_and_the_next_file_begins() {
        let stop = |stage: &mut Stage<'_>| {
            for no in stage.world.relays() {
                stage.world.stop(no, Stop::Silent, false);
            }
        };
        let (published, read, standing) = play(|_| (), stop);
        are_done(&published);
        assert!(read.len() == 3 && read.iter().all(|one| one.ending != Ending::Done), "{read:?}");
        assert_eq!((standing.lost, standing.gone), (standing.groups, standing.chunks));
    }
}
