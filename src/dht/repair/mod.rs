//! Record repair: what a relay that holds values does so that the nearest live members hold them, too. A pure machine.
//!
//! It asks the other holders of a place what they have, sends them what they lack, and takes what is newer there, once it is
//! checked. Usually the nearest holder does the work: the others look later, and find it done. It must not know links, nor
//! what a value says. Source: spec/dht.md §7.

mod budget;
mod check;
mod demand;
mod places;
#[cfg(test)]
mod tests;
mod timing;
mod widening;

use std::collections::{BTreeMap, VecDeque};

use self::budget::Budget;
use self::check::{Check, Next};
use self::demand::Demand;
use self::places::{Passes, Places, Spot, Whom, end_of};
pub use self::timing::RepairTiming;
use super::store::{Holding, Place};
use crate::crypto::{CryptoRng, random_bytes};
use crate::keyspace::{Id, Location};
use crate::limits::{
    BODY_LEN, CELL_LEN, HOLDERS, HOT_BYTES_BURST, HOT_BYTES_PER_S, HOT_CHECKS_MAX, HOT_COUNTED_MAX, REPAIR_BYTES_BURST,
    REPAIR_BYTES_PER_S, REPAIR_CHECKS_MAX, REPAIR_PASSES_MAX, REPAIR_PLACES_MAX, REPAIR_REACH, REPAIR_SCAN_EVERY,
    REPAIR_SCAN_MAX,
};
use crate::record::VerifiedValue;
use crate::time::{Duration, Instant, Now, earlier};
use crate::wire::contact::Contact;
use crate::wire::message::{Answer, Ask};
use crate::wire::payment::Account;
use crate::wire::record::{Value, ValueKind};
use crate::wire::statement::Nonce;

/// What repair is told.
#[derive(Debug)]
pub enum RepairInput {
    /// A value is held now.
    Held(Holding),
    /// A value was held already when the relay started.
    Found(Holding),
    /// A member is gone: this relay has seen it fail.
    Gone(Id),
    /// A member has joined or come back, or its link has ended in between.
    Here(Id),
    /// A holder answered.
    Answered {
        /// About which place.
        place: Place,
        /// Which check asked it.
        check: u64,
        /// Which holder.
        from: Id,
        /// What it said.
        answer: Box<Answer>,
    },
    /// A holder could not be asked, or did not answer.
    Failed {
        /// About which place.
        place: Place,
        /// Which check asked it.
        check: u64,
        /// Which holder.
        from: Id,
    },
    /// What the own store has; answers [`RepairOutput::Load`].
    Loaded {
        /// Where.
        place: Place,
        /// The value, if it is still there.
        value: Option<Box<VerifiedValue>>,
    },
    /// The check of a value is over; answers [`RepairOutput::Check`]. `None`: it did not hold.
    Checked {
        /// Where it was asked for.
        place: Place,
        /// The value.
        value: Option<Box<VerifiedValue>>,
    },
}

/// What repair wants done.
#[derive(Debug)]
pub enum RepairOutput {
    /// Ask this holder.
    Ask {
        /// About which place.
        place: Place,
        /// Which check asks: what comes once it is over is nothing to the next one of that place.
        check: u64,
        /// Whom.
        to: Contact,
        /// What.
        ask: Ask,
    },
    /// Fetch the value from the own store.
    Load(Place),
    /// Check this value.
    Check {
        /// Where it was asked for.
        place: Place,
        /// The value.
        value: Value,
    },
    /// Keep this value, which was checked. Where it is kept, [`RepairInput::Held`] says so.
    Keep(Box<VerifiedValue>),
    /// These are the holders of a place held here: to know when one of them is gone.
    Watch(Vec<Contact>),
}

/// What repair has done since the relay started.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct RepairCounts {
    /// Places looked after.
    pub checks: u64,
    /// Of them, those where somebody did not answer or declined.
    pub checks_failed: u64,
    /// Copies that other holders took from this relay.
    pub copies_sent: u64,
    /// Copies that members beyond the holders took, of what very many ask for.
    pub copies_widened: u64,
    /// Newer values that this relay took from other holders.
    pub copies_fetched: u64,
    /// Bytes of cells paid for, questions and copies of all kinds, this relay's own alone.
    pub bytes: u64,
}

/// What repair can see of the network, and its randomness.
pub struct Surroundings<'a> {
    /// So many of the nearest live members to a location, this relay among them, nearest first.
    pub closest: &'a dyn Fn(&Location, usize) -> Vec<Contact>,
    /// For jitter and nonces.
    pub rng: &'a mut dyn CryptoRng,
}

/// The machine.
#[derive(Debug)]
pub struct Repair {
    own: Id,
    timing: RepairTiming,
    places: Places,
    passes: Passes,
    scan_at: Instant,
    checks: BTreeMap<Spot, Check>,
    next_check: u64,
    budget: Budget,
    demand: Demand,
    widening: Budget,
    counts: RepairCounts,
    last: Now,
    outputs: VecDeque<RepairOutput>,
}

impl Repair {
    /// Repair of the relay with this id, which holds nothing yet.
    #[must_use]
    pub fn new(own: Id, timing: RepairTiming, now: Now) -> Self {
        Self {
            own,
            timing,
            places: Places::default(),
            passes: Passes::default(),
            scan_at: Instant::ZERO,
            checks: BTreeMap::new(),
            next_check: 0,
            budget: Budget::new(REPAIR_BYTES_BURST, REPAIR_BYTES_PER_S),
            demand: Demand::new(timing.hot_after),
            widening: Budget::new(HOT_BYTES_BURST, HOT_BYTES_PER_S),
            counts: RepairCounts::default(),
            last: now,
            outputs: VecDeque::new(),
        }
    }

    /// Takes one input.
    pub fn handle(&mut self, now: Now, input: RepairInput, around: &mut Surroundings<'_>) {
        match input {
            RepairInput::Held(holding) => self.on_held(now, holding, around),
            RepairInput::Found(holding) => self.on_found(now, holding, around),
            RepairInput::Gone(id) | RepairInput::Here(id) => self.begin_pass(now, Some(id)),
            RepairInput::Answered { place, check, from, answer } if self.is_under_way(place, check) => {
                self.advance(now, spot_of(place), around, |check| check.on_answer(from, *answer));
            }
            RepairInput::Failed { place, check, from } if self.is_under_way(place, check) => {
                self.advance(now, spot_of(place), around, |check| check.on_failed(from));
            }
            RepairInput::Answered { .. } | RepairInput::Failed { .. } => (),
            RepairInput::Loaded { place, value: None } => self.drop_place(&spot_of(place)),
            RepairInput::Loaded { place, value } => {
                self.advance(now, spot_of(place), around, |check| check.on_loaded(value));
            }
            RepairInput::Checked { place, value } => self.on_checked(now, spot_of(place), value, around),
        }
    }

    /// Does what is due. To be called after every input, and when [`Self::poll_timeout`] says so.
    pub fn handle_time(&mut self, now: Now, around: &mut Surroundings<'_>) {
        self.note_pause(now);
        let late = |check: &Check| check.deadline <= now.instant;
        let late: Vec<Spot> = self.checks.iter().filter(|(_, check)| late(check)).map(|(spot, _)| *spot).collect();
        for spot in late {
            if let Some(check) = self.checks.get_mut(&spot) {
                check.failed = true;
                self.finish(now, &spot, around);
            }
        }
        if now.instant >= self.scan_at && !self.passes.is_empty() {
            self.scan(now, around);
        }
        while self.has_room(now.instant) {
            let Some((_, spot)) = self.places.first_due().filter(|(due, _)| *due <= now.instant) else { break };
            self.begin_check(now, spot, around);
        }
    }

    /// The next thing to do.
    pub fn poll_output(&mut self) -> Option<RepairOutput> {
        self.outputs.pop_front()
    }

    /// When [`Self::handle_time`] is wanted.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let scan = (!self.passes.is_empty()).then_some(self.scan_at);
        let checks = self.checks.values().map(|check| check.deadline).min();
        let has_place = self.checks_under_way(false) < REPAIR_CHECKS_MAX;
        let due = self.places.first_due().filter(|_| has_place).map(|(due, _)| due.max(self.budget.free_at()));
        earlier(earlier(scan, checks), due)
    }

    /// What was done so far.
    #[must_use]
    pub fn counts(&self) -> RepairCounts {
        self.counts
    }

    /// Whether this very value is held, as far as repair knows; a chunk, until whenever.
    #[must_use]
    pub fn holds(&self, holding: &Holding) -> bool {
        self.places.get(&spot_of(holding.place)).is_some_and(|kept| kept.holding.digest == holding.digest)
    }

    /// Places held, as far as repair knows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Entries and caps of its tables.
    #[must_use]
    pub fn sizes(&self) -> [(&'static str, usize, usize); 6] {
        [
            ("places", self.places.len(), REPAIR_PLACES_MAX),
            ("times of places", self.places.due_len(), self.places.len()),
            ("changes to hold against places", self.passes.len(), REPAIR_PASSES_MAX),
            ("checks of places", self.checks.len(), REPAIR_CHECKS_MAX + HOT_CHECKS_MAX),
            ("values asked for", self.demand.len(), HOT_COUNTED_MAX),
            // Polled after every input.
            ("what repair wants", self.outputs.len(), 0),
        ]
    }

    /// Whether nothing is held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// This relay's place among the nearest live members; [`REPAIR_REACH`] when it is none of them.
    fn rank(&self, closest: &[Contact]) -> usize {
        closest.iter().position(|one| one.id == self.own).unwrap_or(REPAIR_REACH)
    }

    fn on_held(&mut self, now: Now, holding: Holding, around: &mut Surroundings<'_>) {
        let spot = spot_of(holding.place);
        if self.places.get(&spot).is_some_and(|kept| kept.holding.digest == holding.digest) {
            return self.on_prolonged(now, spot, holding, around);
        }
        let closest = (around.closest)(&spot.0, REPAIR_REACH);
        // Who is given a value although it is none of the holders was given it in the place of one that did not answer.
        let in_place_of_another = self.rank(&closest) >= spot.1.holders();
        let pause = if in_place_of_another {
            self.timing.hint_after + drawn(self.timing.step, around)
        } else {
            jittered(self.timing.every, around)
        };
        self.keep(now, spot, holding, pause);
        self.watch(spot.1, closest);
    }

    /// What is held already, until later perhaps: the others learn of it in time. Anybody can do that to a chunk, so what was
    /// planned before is not put off by it.
    fn on_prolonged(&mut self, now: Now, spot: Spot, holding: Holding, around: &mut Surroundings<'_>) {
        let pause = jittered(self.timing.every, around);
        let Some(kept) = self.places.get_mut(&spot).filter(|kept| kept.holding != holding) else { return };
        kept.holding = holding;
        kept.handed_over = false;
        let due = (now.instant + pause).min(kept.due);
        self.places.set_due(&spot, due);
    }

    fn on_found(&mut self, now: Now, holding: Holding, around: &mut Surroundings<'_>) {
        let spot = spot_of(holding.place);
        if self.places.get(&spot).is_none() {
            let pause = self.timing.step + drawn(self.timing.step, around);
            self.keep(now, spot, holding, pause);
        }
    }

    fn keep(&mut self, now: Now, spot: Spot, holding: Holding, pause: Duration) {
        let due = (now.instant + pause).min(end_of(&holding, now));
        self.places.insert(spot, holding, due);
    }

    fn watch(&mut self, kind: ValueKind, mut closest: Vec<Contact>) {
        closest.truncate(kind.reach());
        closest.retain(|one| one.id != self.own);
        self.outputs.push_back(RepairOutput::Watch(closest));
    }

    fn drop_place(&mut self, spot: &Spot) {
        self.places.remove(spot);
        self.checks.remove(spot);
    }

    fn begin_pass(&mut self, now: Now, whom: Whom) {
        if whom != Some(self.own) && !self.is_empty() {
            self.scan_at = self.scan_at.max(now.instant);
            self.passes.begin(whom);
        }
    }

    /// Who was stopped for a while has missed what others were told meanwhile.
    fn note_pause(&mut self, now: Now) {
        let by_wall_clock = Duration::from_secs(now.unix.0.saturating_sub(self.last.unix.0));
        let since = self.last.instant.until(now.instant).max(by_wall_clock);
        self.last = now;
        if since >= self.timing.pause_min {
            self.begin_pass(now, None);
        }
    }

    /// Holds a bounded number of places against who has come or gone.
    fn scan(&mut self, now: Now, around: &mut Surroundings<'_>) {
        self.scan_at = now.instant + REPAIR_SCAN_EVERY;
        for _ in 0..REPAIR_SCAN_MAX {
            let Some((whom, spot)) = self.passes.next(&self.places) else { return };
            let closest = (around.closest)(&spot.0, REPAIR_REACH);
            match whom.map_or(Concern::Yes, |whom| concern(&whom, &spot, &closest)) {
                Concern::Yes => {
                    let rank = self.rank(&closest);
                    self.look_soon(now, &spot, rank, around);
                }
                Concern::No => (),
                Concern::NoneUpTo(last) => self.passes.skip_to(last),
            }
        }
    }

    fn look_soon(&mut self, now: Now, spot: &Spot, rank: usize, around: &mut Surroundings<'_>) {
        let is_under_way = self.checks.get(spot).is_some_and(|check| !check.widens);
        let Some(kept) = self.places.get_mut(spot) else { return };
        kept.again = is_under_way;
        if is_under_way || (kept.handed_over && rank >= spot.1.reach()) {
            return;
        }
        let steps = self.timing.step * u32::try_from(rank).unwrap_or(u32::MAX);
        let due = (now.instant + steps + drawn(self.timing.step, around)).min(kept.due);
        self.places.set_due(spot, due);
    }

    fn has_room(&self, now: Instant) -> bool {
        self.checks_under_way(false) < REPAIR_CHECKS_MAX && self.budget.free_at() <= now
    }

    fn begin_check(&mut self, now: Now, spot: Spot, around: &mut Surroundings<'_>) {
        let Some(kept) = self.places.get_mut(&spot) else { return };
        if kept.holding.expiry.time() <= now.unix {
            return self.places.remove(&spot);
        }
        kept.again = false;
        let own = (kept.holding.seq, kept.holding.digest);
        // Set anew when it ends; until then it is not due.
        let end = end_of(&kept.holding, now);
        self.places.set_due(&spot, end);
        let closest = (around.closest)(&spot.0, REPAIR_REACH);
        let rank = self.rank(&closest);
        let holders: Vec<Contact> =
            closest.iter().take(spot.1.holders()).filter(|one| one.id != self.own).copied().collect();
        self.watch(spot.1, closest);
        self.counts.checks += 1;
        let deadline = now.instant + self.timing.check_max;
        let mut check = Check::new(own, rank, holders.clone(), deadline);
        check.failed = holders.is_empty();
        self.insert_check(spot, check);
        for to in &holders {
            self.ask_what(now, &spot, *to, false, around);
        }
        if holders.is_empty() {
            self.finish(now, &spot, around);
        }
    }

    /// In the place of one for further copies, if there is one.
    fn insert_check(&mut self, spot: Spot, mut check: Check) {
        self.next_check += 1;
        check.number = self.next_check;
        self.checks.insert(spot, check);
    }

    fn is_under_way(&self, place: Place, check: u64) -> bool {
        self.check_no(&spot_of(place)) == Some(check)
    }

    fn check_no(&self, spot: &Spot) -> Option<u64> {
        self.checks.get(spot).map(|check| check.number)
    }

    fn ask_what(&mut self, now: Now, spot: &Spot, to: Contact, want_value: bool, around: &mut Surroundings<'_>) {
        let (location, kind) = *spot;
        let Some(check) = self.check_no(spot) else { return };
        let nonce = Nonce(random_bytes(around.rng)).insisting();
        let ask = Ask::Find { kind, location, nonce, want_value };
        self.spend(now, spot, CELL_LEN);
        self.outputs.push_back(RepairOutput::Ask { place: (kind, location), check, to, ask });
    }

    fn spend(&mut self, now: Now, spot: &Spot, bytes: usize) {
        let widens = self.checks.get(spot).is_some_and(|check| check.widens);
        let budget = if widens { &mut self.widening } else { &mut self.budget };
        budget.spend(now.instant, bytes);
        self.counts.bytes += u64::try_from(bytes).unwrap_or(u64::MAX);
    }

    fn on_checked(&mut self, now: Now, spot: Spot, value: Option<Box<VerifiedValue>>, around: &mut Surroundings<'_>) {
        let Some(check) = self.checks.get_mut(&spot) else { return };
        let (is_newer, next) = check.on_checked(&spot, value);
        if let Some(value) = check.value.clone().filter(|_| is_newer) {
            self.counts.copies_fetched += 1;
            self.outputs.push_back(RepairOutput::Keep(value));
        }
        self.go_on(now, &spot, next, around);
    }

    fn advance(&mut self, now: Now, spot: Spot, around: &mut Surroundings<'_>, step: impl FnOnce(&mut Check) -> Next) {
        if let Some(check) = self.checks.get_mut(&spot) {
            let next = step(check);
            self.go_on(now, &spot, next, around);
        }
    }

    fn go_on(&mut self, now: Now, spot: &Spot, next: Next, around: &mut Surroundings<'_>) {
        let (location, kind) = *spot;
        match next {
            Next::Wait => (),
            Next::Fetch(holder) => self.ask_what(now, spot, holder, true, around),
            Next::Check(value) => self.outputs.push_back(RepairOutput::Check { place: (kind, location), value }),
            Next::Load => self.outputs.push_back(RepairOutput::Load((kind, location))),
            Next::Send(lacking) => self.send(now, spot, lacking, around),
            Next::Done => self.finish(now, spot, around),
        }
    }

    fn send(&mut self, now: Now, spot: &Spot, lacking: Vec<Contact>, around: &mut Surroundings<'_>) {
        let (location, kind) = *spot;
        let sent = self.checks.get(spot).and_then(|check| Some((check.number, check.value.clone()?)));
        let Some((check, value)) = sent else { return };
        for to in lacking {
            self.spend(now, spot, (value.len_bytes() / BODY_LEN + 1) * CELL_LEN);
            let (nonce, value) = (Nonce(random_bytes(around.rng)), value.value().clone());
            let ask = Ask::Store { nonce, expected: None, value, account: Account::Upkeep };
            self.outputs.push_back(RepairOutput::Ask { place: (kind, location), check, to, ask });
        }
    }

    /// A check is over: says when the place is looked after next.
    fn finish(&mut self, now: Now, spot: &Spot, around: &mut Surroundings<'_>) {
        let Some(check) = self.checks.remove(spot) else { return };
        if check.widens {
            return self.widened(now, spot, &check);
        }
        self.counts.copies_sent += u64::try_from(check.sent).unwrap_or(u64::MAX);
        self.counts.checks_failed += u64::from(check.failed);
        let Some(kept) = self.places.get_mut(spot) else { return };
        let end = end_of(&kept.holding, now);
        kept.tries = if check.failed { kept.tries.saturating_add(1) } else { 0 };
        kept.handed_over = !check.failed && check.rank >= spot.1.reach();
        let (tries, again, is_over) = (kept.tries, kept.again, kept.handed_over);
        let pause = match tries {
            0 => jittered(self.timing.every, around),
            tries => {
                let longer = self.timing.retry.saturating_mul(1_u32.checked_shl(tries - 1).unwrap_or(u32::MAX));
                jittered(longer.min(self.timing.every), around)
            }
        };
        let due = if is_over { end } else { (now.instant + pause).min(end) };
        self.places.set_due(spot, due);
        if again {
            self.look_soon(now, spot, check.rank, around);
        }
    }
}

/// Whether a member that came or went is, or would be, a holder of a place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Concern {
    Yes,
    No,
    /// Neither of this place nor of any up to this location.
    NoneUpTo(Location),
}

fn concern(whom: &Id, (location, kind): &Spot, closest: &[Contact]) -> Concern {
    let Some(holder) = closest.get(kind.holders() - 1) else { return Concern::Yes };
    if whom.distance(location) <= holder.id.distance(location) {
        return Concern::Yes;
    }
    // Places of either kind are passed over: those of records have the most holders.
    let Some(last) = closest.get(HOLDERS - 1) else { return Concern::No };
    // If all holders share more first bits with the place than the member does, they are nearer than it to every place
    // that shares as many.
    let shared = whom.common_prefix_len(location);
    if last.id.common_prefix_len(location) > shared {
        return Concern::NoneUpTo(*location.neighbours(shared + 1).end());
    }
    Concern::No
}

fn spot_of((kind, location): Place) -> Spot {
    (location, kind)
}

/// Evenly up to that, and more than nothing: who puts repair off for ages is sure of it.
fn drawn(max: Duration, around: &mut Surroundings<'_>) -> Duration {
    max * (1 + u32::from(u16::from_be_bytes(random_bytes(around.rng)))) / (1 << 16)
}

/// Three quarters to five quarters of it.
fn jittered(mean: Duration, around: &mut Surroundings<'_>) -> Duration {
    mean * 3 / 4 + drawn(mean / 2, around)
}
