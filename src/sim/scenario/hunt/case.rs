//! One world of a hunt: records are stored, faults come by a list, all is healed, time passes, and then everything that must hold
//! is looked at. It must not know how lists are drawn or shrunk.

use std::collections::{BTreeMap, BTreeSet};

use super::fault::{Fault, Kind, WITHIN_S};
use super::planted::Planted;
use crate::sim::draw::real_count;
use crate::sim::scenario::Watch;
use crate::sim::scenario::holding::{Holding, PLACES_ENOUGH, acknowledged_versions, unread};
use crate::sim::scenario::running::{put_all, wait_ready};
use crate::sim::settings::Settings;
use crate::sim::stage::{Doing, Ended, Ending, Stage};
use crate::sim::world::{Faults, Knowing, NodeNo, Options, Stop};
use crate::time::{Duration, Instant};

/// Something that did not hold.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Failure {
    /// Which check.
    pub check: String,
    /// What was seen.
    pub what: String,
}

/// A world and what goes wrong in it.
#[derive(Clone, Debug)]
pub(super) struct Case {
    pub(super) options: Options,
    pub(super) nodes: usize,
    pub(super) faults: Vec<Fault>,
    pub(super) planted: Option<Planted>,
}

/// What one world came to.
pub(super) struct Ran {
    pub(super) failure: Option<Failure>,
    pub(super) digest: u64,
    pub(super) events: u64,
    pub(super) virtual_s: f64,
    pub(super) looked_at: u64,
    pub(super) operations: usize,
    /// Acknowledged records, and those of them that must be readable.
    pub(super) records: (usize, usize),
    pub(super) stopped: bool,
}

/// Operations go on for so long after the first fault may begin.
const BUSY: Duration = Duration::from_secs(150);
/// After all is healed: repair, and the hourly look at everything.
const REST: Duration = Duration::from_secs(300);
const BACKSTOP: Duration = Duration::from_secs(7_200);
/// Acknowledgements are held against stores this often.
const STEP: Duration = Duration::from_secs(1);
const TIMEOUT: Duration = Duration::from_secs(30);

/// Who has had a version of a record at its places ever since it was acknowledged, or since it was repaired.
struct Kept {
    seq: u64,
    at: Vec<BTreeSet<NodeNo>>,
}

struct Running<'r, 'w> {
    case: &'r Case,
    stage: Stage<'w>,
    relays: Vec<NodeNo>,
    clients: Vec<NodeNo>,
    gone: BTreeSet<NodeNo>,
    kept: BTreeMap<usize, Kept>,
    /// Operations that were looked at.
    seen: usize,
    disk_lost_at: Option<Instant>,
    failure: Option<Failure>,
}

/// Runs a world to its end, or to the first thing that does not hold.
pub(super) fn run(case: &Case, settings: &Settings, span: (f64, f64), watch: &mut dyn Watch) -> Ran {
    let what = format!("{} nodes, {} faults", case.nodes, case.faults.len());
    let mut stage = Stage::new(case.options.clone(), &what, watch);
    stage.span(span.0, span.1, BUSY + REST + BACKSTOP);
    let mut running = Running {
        case,
        stage,
        relays: Vec::new(),
        clients: Vec::new(),
        gone: BTreeSet::new(),
        kept: BTreeMap::new(),
        seen: 0,
        disk_lost_at: None,
        failure: None,
    };
    running.begin(settings);
    running.go_wrong(settings);
    running.heal();
    let safe = running.judge(settings);
    running.close(safe)
}

impl Running<'_, '_> {
    /// Relays that know each other, clients with a way in, records that are stored.
    fn begin(&mut self, settings: &Settings) {
        let stage = &mut self.stage;
        stage.settle_relays(self.case.nodes);
        self.relays = stage.world.relays();
        self.clients = stage.known_clients(settings.clients);
        if let Some(planted) = self.case.planted {
            self.relays.iter().for_each(|no| planted.into_relay(stage, *no));
            self.clients.iter().for_each(|no| planted.into_client(stage, *no));
        }
        let all = self.relays.iter().chain(&self.clients).copied().collect::<Vec<_>>();
        for (no, group) in all.into_iter().zip([0, 1].into_iter().cycle()) {
            stage.world.set_group(no, group);
        }
        wait_ready(stage, &self.clients, TIMEOUT);
        stage.add_records(settings.records);
        put_all(stage, &self.clients, Duration::from_secs(5));
        self.look();
    }

    /// Operations all the time, and what the list says.
    fn go_wrong(&mut self, settings: &Settings) {
        let begun = self.stage.world.now();
        let puts = settings.records / 2;
        for turn in 0..settings.gets + puts {
            let doing = if turn < settings.gets { Doing::Get } else { Doing::Put };
            let part = if turn < settings.gets {
                real_count(turn) / real_count(settings.gets)
            } else {
                real_count(turn - settings.gets) / real_count(puts)
            };
            let record = turn % settings.records;
            if let Some(client) = self.clients.get(turn % self.clients.len().max(1)) {
                self.stage.plan_ask(begun + BUSY.mul_f64(part), *client, doing, record, TIMEOUT);
            }
        }
        let mut marks: Vec<(i64, usize, bool)> = Vec::new();
        for (number, fault) in self.case.faults.iter().enumerate() {
            marks.push((fault.at_s, number, true));
            marks.push((fault.until_s(), number, false));
        }
        marks.sort_by_key(|(at, number, begins)| (*at, !*begins, *number));
        let mut active = BTreeSet::new();
        for (at_s, number, begins) in marks {
            self.run_to(begun + Duration::from_secs(u64::try_from(at_s).unwrap_or(0)));
            if begins {
                active.insert(number)
            } else {
                active.remove(&number)
            };
            if let Some(fault) = self.case.faults.get(number).copied() {
                self.turn(fault, begins);
            }
            let faults = self.weather(&active);
            self.stage.world.faults = Faults { cut: self.stage.world.faults.cut.clone(), ..faults.clone() };
            if self.stage.world.faults.cut != faults.cut {
                self.stage.world.set_cut(faults.cut);
            }
        }
        self.run_to(begun + BUSY.max(Duration::from_secs(u64::try_from(WITHIN_S).unwrap_or(0))));
    }

    /// Runs in steps, and holds what is acknowledged against what is stored.
    fn run_to(&mut self, until: Instant) {
        while self.stage.world.now() < until && self.failure.is_none() && !self.stage.is_stopped() {
            self.stage.run((self.stage.world.now() + STEP).min(until));
            self.look();
        }
    }

    fn turn(&mut self, fault: Fault, begins: bool) {
        let (first, second) = (fault.first, fault.second);
        let pick = |of: &[NodeNo]| of.get(usize::try_from(first).unwrap_or(0) % of.len().max(1)).copied();
        let relay = pick(&self.relays).filter(|no| !self.gone.contains(no));
        match (fault.kind, begins) {
            (Kind::Restart | Kind::Lose, true) => self.end_relay(relay, Stop::Crash, fault.kind == Kind::Restart),
            (Kind::Restart | Kind::Lose, false) => {
                self.start_relay(relay);
                self.disks_keep();
            }
            (Kind::Gone, true) => {
                // Without its bootstraps nobody could come in again.
                let spared = self.stage.world.bootstraps().len();
                let others = self.relays.get(spared..).unwrap_or_default();
                let relay = pick(others).filter(|no| !self.gone.contains(no));
                self.end_relay(relay, Stop::Silent, false);
                self.gone.extend(relay);
            }
            (Kind::Skew, true) => {
                if let Some(no) = relay {
                    self.stage.world.set_skew(no, second);
                }
            }
            (Kind::Join, true) => {
                for _ in 0..first {
                    let no = self.stage.world.add_relay();
                    self.stage.world.set_group(no, u8::from(no.0 % 2 == 1));
                    self.start_relay(Some(no));
                }
            }
            (Kind::Client, true) => {
                if let Some(no) = pick(&self.clients) {
                    self.stage.stop_client(no);
                    self.stage.world.start_client(no, Knowing::Nothing);
                }
            }
            _ => (),
        }
    }

    fn end_relay(&mut self, relay: Option<NodeNo>, how: Stop, keeps_disk: bool) {
        let Some(no) = relay.filter(|no| self.stage.world.is_up(*no) || !keeps_disk) else { return };
        if !keeps_disk {
            self.refresh();
            for keepers in self.kept.values_mut().flat_map(|kept| &mut kept.at) {
                keepers.remove(&no);
            }
            self.disk_lost_at = Some(self.stage.world.now());
        }
        let is_wiped = !keeps_disk || self.case.planted == Some(Planted::LosesDisk);
        self.stage.world.stop(no, how, !is_wiped);
    }

    fn start_relay(&mut self, relay: Option<NodeNo>) {
        if let Some(no) = relay.filter(|no| !self.stage.world.is_up(*no)) {
            self.stage.world.start_relay(no, crate::membership::members::Members::default());
        }
    }

    fn weather(&self, active: &BTreeSet<usize>) -> Faults {
        let mut faults = Faults { dial_silent: 0.25, ..Faults::default() };
        for fault in active.iter().filter_map(|number| self.case.faults.get(*number)) {
            let first = u64::try_from(fault.first).unwrap_or(0);
            let share = real_count(usize::try_from(first).unwrap_or(0)) / 100.0;
            match fault.kind {
                Kind::Cut => faults.cut.extend([(0, 1), (1, 0)]),
                Kind::HalfCut => faults.cut.extend([(0, 1)]),
                Kind::Slow => {
                    let late = Duration::from_secs(first);
                    faults.slow.extend([(0, 1, late), (1, 0, late)]);
                }
                Kind::Dial => faults.dial = faults.dial.max(share),
                Kind::Link => faults.link = faults.link.max(share),
                Kind::Restart | Kind::Lose | Kind::Gone | Kind::Skew | Kind::Join | Kind::Client => (),
            }
        }
        faults
    }

    /// Who starts again does, and nothing goes wrong any more; then time passes.
    fn heal(&mut self) {
        self.stage.world.faults = Faults { cut: self.stage.world.faults.cut.clone(), ..Faults::default() };
        self.stage.world.set_cut([]);
        for no in self.relays.clone() {
            self.stage.world.set_skew(no, 0);
            if !self.gone.contains(&no) {
                self.start_relay(Some(no));
            }
        }
        self.run_to(self.stage.world.now() + TIMEOUT + STEP);
        for client in core::mem::take(&mut self.clients) {
            self.stage.stop_client(client);
        }
        for rest in [REST, BACKSTOP] {
            if self.failure.is_none() {
                self.stage.run(self.stage.world.now() + rest);
                self.look();
            }
        }
    }

    /// Looks at operations that ended since it last looked, and at breaches.
    fn look(&mut self) {
        let now = self.stage.world.now();
        self.stage.world.checks.overdue(now);
        let new: Vec<Ended> = self.stage.ended.get(self.seen..).unwrap_or_default().to_vec();
        self.seen = self.stage.ended.len();
        let puts: Vec<&Ended> =
            new.iter().filter(|one| one.doing == Doing::Put && one.ending == Ending::Done).collect();
        if !puts.is_empty() {
            let holding = Holding::of(&self.stage);
            puts.into_iter().for_each(|put| self.acknowledged(put, &holding));
        }
        if let Some(breach) = self.stage.world.checks.breaches().first() {
            let failure = Failure { check: breach.check.to_owned(), what: breach.what.clone() };
            self.failure.get_or_insert(failure);
        }
    }

    /// A put says how many have it: so many do.
    fn acknowledged(&mut self, put: &Ended, holding: &Holding) {
        let Some(record) = self.stage.records.get(put.record) else { return };
        let holders = |place| holding.at(&place).filter(|(_, seq)| *seq >= put.seq).map(|(no, _)| no).collect();
        let at: Vec<BTreeSet<NodeNo>> = record.places().map(holders).to_vec();
        let copies: usize = at.iter().map(BTreeSet::len).sum();
        let is_sure = self.disk_lost_at.is_none_or(|lost| lost < put.begun) && self.all_up();
        if is_sure && copies < put.copies {
            let what = format!("record {}: {} copies are acknowledged, {copies} are held", put.record, put.copies);
            self.failure.get_or_insert(Failure { check: "acknowledged is stored".into(), what });
        }
        if self.kept.get(&put.record).is_none_or(|kept| kept.seq <= put.seq) {
            self.kept.insert(put.record, Kept { seq: put.seq, at });
        }
    }

    fn all_up(&self) -> bool {
        self.relays.iter().all(|no| self.stage.world.is_up(*no))
    }

    /// Those who were given a version since count as its keepers too.
    fn refresh(&mut self) {
        let holding = Holding::of(&self.stage);
        for (record, kept) in &mut self.kept {
            let places = self.stage.records.get(*record).into_iter().flat_map(|record| record.places());
            for (place, keepers) in places.zip(&mut kept.at) {
                keepers.extend(holding.at(&place).filter(|(_, seq)| *seq >= kept.seq).map(|(no, _)| no));
            }
        }
    }

    /// What must hold after all: newcomers read and write, disks have what they had, nobody has anything older.
    fn judge(&mut self, settings: &Settings) -> usize {
        if self.failure.is_some() || self.stage.is_stopped() {
            return 0;
        }
        self.disks_keep();
        let versions = acknowledged_versions(&self.stage.ended);
        let copies = Holding::of(&self.stage).copies(&self.stage, &versions);
        if copies.older > 0 {
            let what = format!("{} of {} places are affected", copies.older, copies.places);
            self.failure.get_or_insert(Failure { check: "no holder keeps an older version".into(), what });
        }
        let is_safe = |record: &usize| {
            self.kept
                .get(record)
                .is_some_and(|kept| kept.at.iter().filter(|at| !at.is_empty()).count() >= PLACES_ENOUGH)
        };
        let safe: BTreeMap<usize, u64> = versions.into_iter().filter(|(record, _)| is_safe(record)).collect();
        let readers = self.stage.new_clients(settings.clients);
        if let Some(planted) = self.case.planted {
            readers.iter().for_each(|no| planted.into_client(&mut self.stage, *no));
        }
        wait_ready(&mut self.stage, &readers, TIMEOUT);
        let before = self.stage.ended.len();
        let begun = self.stage.world.now();
        for (record, client) in safe.keys().zip(readers.iter().cycle()) {
            self.stage.plan_ask(begun, *client, Doing::Get, *record, TIMEOUT);
        }
        self.stage.run_out(begun + TIMEOUT + STEP);
        let unread = unread(&safe, self.stage.ended.get(before..).unwrap_or_default());
        if let Some(first) = unread.first().filter(|_| !self.stage.is_stopped()) {
            let how = self
                .stage
                .ended
                .iter()
                .rev()
                .find(|one| one.record == *first)
                .map_or("nothing", |one| one.ending.name());
            let what = format!("record {first} first of {} (of {}): {how}", unread.len(), safe.len());
            self.failure.get_or_insert(Failure { check: "what enough holders kept is read".into(), what });
        }
        self.stage.world.check_tables();
        self.stage.world.check_bans();
        self.look();
        safe.len()
    }

    /// Whoever did not lose its disk has what it had.
    fn disks_keep(&mut self) {
        let holding = Holding::of(&self.stage);
        for (record, kept) in &self.kept {
            let places = self.stage.records.get(*record).into_iter().flat_map(|record| record.places());
            for (place, keepers) in places.zip(&kept.at) {
                let have: BTreeSet<NodeNo> =
                    holding.at(&place).filter(|(_, seq)| *seq >= kept.seq).map(|(no, _)| no).collect();
                let is_up = |no: &&NodeNo| self.stage.world.is_up(**no);
                if let Some(no) = keepers.difference(&have).find(is_up) {
                    let what = format!("{no:?} has record {record} no more, and its disk was not lost");
                    self.failure.get_or_insert(Failure { check: "disks keep what they have".into(), what });
                }
            }
        }
    }

    fn close(self, safe: usize) -> Ran {
        let world = &self.stage.world;
        Ran {
            failure: self.failure,
            digest: world.digest(),
            events: world.counts().events,
            virtual_s: Instant::ZERO.until(world.now()).as_secs_f64(),
            looked_at: world.checks.looked_at(),
            operations: self.stage.ended.len(),
            records: (acknowledged_versions(&self.stage.ended).len(), safe),
            stopped: self.stage.is_stopped(),
        }
    }
}
