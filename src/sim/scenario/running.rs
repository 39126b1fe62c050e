//! What all scenarios that run nodes share: a world from settings, and what its checks came to. It must not know any scenario.

use crate::limits::SIM_REAL_CIPHERS_MAX;
use crate::sim::draw::{mixed, real_count};
use crate::sim::report::{Report, Spread};
use crate::sim::settings::{self, Settings};
use crate::sim::stage::{Doing, Ended, Ending, Stage};
use crate::sim::world::{Breach, Ciphers, NodeNo, Options};
use crate::time::{Duration, Instant};

/// The check of spec/simulation.md §11.
const INVARIANTS: &str = "the protocol's invariants";

/// A time of the settings, seconds.
pub(super) fn seconds(s: f64) -> Duration {
    Duration::try_from_secs_f64(s).unwrap_or_default()
}

/// The world that settings ask for, of so many relays; `run` tells worlds of one scenario apart.
pub(super) fn options(settings: &Settings, relays: usize, run: u64) -> Options {
    let real_ciphers = match settings.ciphers {
        settings::Ciphers::Real => true,
        settings::Ciphers::Tokens => false,
        settings::Ciphers::Auto => relays <= SIM_REAL_CIPHERS_MAX,
    };
    let ciphers = if real_ciphers { Ciphers::Real } else { Ciphers::Tokens };
    Options { ciphers, hops: settings.hops, ..Options::new(mixed(settings.seed, run), settings.internet()) }
}

/// What several worlds came to.
#[derive(Default)]
pub(super) struct Tally {
    digest: u64,
    events: u64,
    virtual_s: f64,
    looked_at: u64,
    breaches: Vec<Breach>,
    /// Breaches of which only the number is known.
    more: u64,
}

impl Tally {
    /// Takes in a world that is over.
    pub(super) fn take(&mut self, stage: &mut Stage<'_>) {
        let now = stage.world.now();
        stage.world.checks.overdue(now);
        stage.world.check_tables();
        stage.world.check_bans();
        self.digest = mixed(self.digest, stage.world.digest());
        self.events += stage.world.counts().events;
        self.virtual_s += Instant::ZERO.until(now).as_secs_f64();
        self.looked_at += stage.world.checks.looked_at();
        self.breaches.extend_from_slice(stage.world.checks.breaches());
        self.more += stage.world.checks.more();
    }

    /// Writes it into the report.
    pub(super) fn close(self, report: &mut Report) {
        report.digest = format!("{:016x}", self.digest);
        report.events += self.events;
        report.virtual_s += self.virtual_s;
        let Some(first) = self.breaches.first() else {
            return report.check_of_all(INVARIANTS, self.looked_at, "cells, sights, operations and tables looked at");
        };
        let all = self.more + u64::try_from(self.breaches.len()).unwrap_or(u64::MAX);
        let detail = format!("{all} breaches, the first: {}: {}", first.check, first.what);
        report.check(INVARIANTS, false, detail);
    }
}

/// How operations of one kind ended.
pub(super) struct Endings {
    /// All of them.
    pub(super) all: usize,
    /// By ending.
    pub(super) by: Vec<(Ending, usize)>,
    /// Seconds that those took that were done.
    pub(super) times: Option<Spread>,
}

/// The endings in tables, done first.
pub(super) const ENDINGS: [Ending; 9] = [
    Ending::Done,
    Ending::NotFound,
    Ending::Unreachable,
    Ending::Damaged,
    Ending::Conflict,
    Ending::Partly,
    Ending::Privacy,
    Ending::GuardsDead,
    Ending::Open,
];

impl Endings {
    /// Of all operations of this kind that are over.
    pub(super) fn of<'e>(ended: impl IntoIterator<Item = &'e Ended>, doing: Doing) -> Self {
        let these: Vec<&Ended> = ended.into_iter().filter(|one| one.doing == doing).collect();
        let count = |ending| these.iter().filter(|one| one.ending == ending).count();
        let done = these.iter().filter(|one| one.ending == Ending::Done);
        let times = done.map(|one| one.begun.until(one.at).as_secs_f64()).collect();
        let by = ENDINGS.into_iter().map(|ending| (ending, count(ending))).collect();
        Self { all: these.len(), by, times: Spread::of(times) }
    }

    pub(super) fn count(&self, ending: Ending) -> usize {
        self.by.iter().find(|(of, _)| *of == ending).map_or(0, |(_, count)| *count)
    }

    /// Those whose client had a guard left.
    pub(super) fn counted(&self) -> usize {
        self.all.saturating_sub(self.count(Ending::GuardsDead))
    }

    /// Share that was done, of those whose client had a guard left.
    pub(super) fn share(&self) -> f64 {
        if self.counted() == 0 { 0.0 } else { real_count(self.count(Ending::Done)) / real_count(self.counted()) }
    }

    /// What else happened, in words.
    pub(super) fn others(&self) -> String {
        let others = self.by.iter().filter(|(ending, count)| *count > 0 && *ending != Ending::Done);
        let words: Vec<String> = others.map(|(ending, count)| format!("{count} {}", ending.name())).collect();
        if words.is_empty() { "-".into() } else { words.join(", ") }
    }
}

/// Bytes that a world of so many relays takes, about: what an idle relay takes, with the table of all others.
pub(super) fn memory_needed(settings: &Settings) -> u64 {
    let nodes = settings.nodes.iter().copied().max().unwrap_or(0);
    let each = 120_000_usize.saturating_add(nodes.saturating_mul(28));
    let bytes =
        nodes.saturating_mul(each).saturating_add(settings.clients.saturating_mul(each)).saturating_add(64 << 20);
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

/// As a percentage with two digits.
pub(super) fn percent(share: f64) -> f64 {
    (share * 1e4).round() / 100.0
}

/// With so many digits behind the point.
pub(super) fn rounded(number: f64, digits: i32) -> f64 {
    let by = 10_f64.powi(digits);
    (number * by).round() / by
}

/// For each relay of a world a client may take so much longer until it has a way in: it fetches the membership from bootstraps
/// that all relays ask when the world begins.
const READY_FOR_EACH: Duration = Duration::from_millis(12);

/// Runs until the clients have a way in, or it is too late.
pub(super) fn wait_ready(stage: &mut Stage<'_>, clients: &[NodeNo], at_most: Duration) {
    let relays = u32::try_from(stage.world.relays().len()).unwrap_or(u32::MAX);
    let until = stage.world.now() + at_most.max(READY_FOR_EACH * relays);
    while stage.world.now() < until
        && !stage.is_stopped()
        && clients.iter().any(|client| stage.ready_at(*client).is_none())
    {
        let step = (stage.world.now() + Duration::from_millis(250)).min(until);
        stage.run(step);
    }
}

/// Has all records stored by clients in turn, over a time; share of them acknowledged.
pub(super) fn put_all(stage: &mut Stage<'_>, clients: &[NodeNo], over: Duration) {
    let begin = stage.world.now();
    let count = stage.records.len();
    let timeout = Duration::from_secs(30);
    for (record, client) in (0..count).zip(clients.iter().cycle()) {
        let part = real_count(record) / real_count(count.max(1));
        stage.plan_ask(begin + over.mul_f64(part), *client, Doing::Put, record, timeout);
    }
    stage.run_out(begin + over + timeout + Duration::from_secs(1));
}

/// Records of which a put was acknowledged as a whole.
pub(super) fn acknowledged(stage: &Stage<'_>) -> Vec<usize> {
    put_with(stage, Ending::Done)
}

/// Records of which no put was acknowledged as a whole, and one in part.
pub(super) fn stored_in_part(stage: &Stage<'_>) -> Vec<usize> {
    let whole = acknowledged(stage);
    let mut records = put_with(stage, Ending::Partly);
    records.retain(|record| whole.binary_search(record).is_err());
    records
}

fn put_with(stage: &Stage<'_>, ending: Ending) -> Vec<usize> {
    let puts = stage.ended.iter().filter(|one| one.doing == Doing::Put && one.ending == ending);
    let mut records: Vec<usize> = puts.map(|one| one.record).collect();
    records.sort_unstable();
    records.dedup();
    records
}
