//! Guards and second hops as spec/membership.md §5 and §6 have them, in plain lists and by looking at everybody: what the oracle of `guards`
//! compares the house with. Relays are numbers here; it knows no keys of theirs and draws nothing.

use bauta::limits::{
    DIAL_BACKOFF, GUARD_CIRCUITS_JUDGED_MIN, GUARD_CIRCUITS_REMEMBERED_MAX, GUARD_DIALS, GUARD_DOUBTED_AFTER_S,
    GUARD_DOUBTED_CIRCUITS_MIN, GUARD_DOUBTED_LATE_MIN, GUARD_FINISHED_PERCENT_MIN, GUARD_LIFE_S, GUARD_PATIENCE,
    GUARD_RETRY_EVERY, GUARD_SAMPLE_LIFE_S, GUARD_SETTLED, GUARDS, SECOND_HOP_FAILURES_MAX, SECOND_HOP_LIFE_MAX_S,
    SECOND_HOP_LIFE_MIN_S, SECOND_HOP_NOT_REACHED_FORGIVEN, SECOND_HOP_NOT_REACHED_MAX, SECOND_HOP_REPLACED_MAX,
    SECOND_HOP_REPLACED_WINDOW_S, SECOND_HOPS,
};
use bauta::time::Instant;

/// Relays that there are.
pub const RELAYS: u32 = 14;
/// Those of the client's owner.
pub const OURS: [u32; 2] = [0, 1];

/// The second byte of a relay's address: some share a /16.
pub fn net(number: u32) -> u8 {
    number.to_be_bytes()[3] % 11
}

/// Two are of a family.
pub fn family(number: u32) -> [u8; 8] {
    if number % 6 == 5 { [7; 8] } else { [0; 8] }
}

/// Whether two relays may stand together (§7).
pub fn apart(one: u32, other: u32) -> bool {
    let are_family = family(one) != [0; 8] && family(one) == family(other);
    one != other && net(one) != net(other) && !are_family
}

/// Who is in the network.
#[derive(Clone, Copy)]
pub struct Present(pub u16);

impl Present {
    /// Whether this one is.
    pub fn has(self, number: u32) -> bool {
        self.0 >> number & 1 != 0
    }

    /// Whether the onion keys of some are over.
    pub fn are_keys_over(self, number: u32) -> bool {
        self.0 >> RELAYS & 1 != 0 && number % 7 == 6
    }

    /// All but ours.
    pub fn others(self) -> impl Iterator<Item = u32> {
        (0..RELAYS).filter(move |number| self.has(*number) && !OURS.contains(number))
    }

    /// Those that may be in a path (MEMB-W-061).
    pub fn usable(self) -> Vec<u32> {
        self.others().filter(|number| !self.are_keys_over(*number)).collect()
    }

    /// Whoever is not in the network cannot be compared with.
    fn is_apart_from(self, candidate: u32, of: impl IntoIterator<Item = u32>) -> bool {
        of.into_iter().all(|one| one != candidate && (!self.has(one) || apart(one, candidate)))
    }
}

/// How circuits through a guard ended (§5.4).
#[derive(Clone, Default)]
struct Circuits {
    begun: u32,
    finished: u32,
    /// Since when too few were finished; how many ended since, and how many of them two minutes later.
    too_few: Option<(u64, u32, u32)>,
}

impl Circuits {
    fn add(&mut self, is_finished: bool, now: u64) {
        self.begun += 1;
        self.finished += u32::from(is_finished);
        if self.begun == GUARD_CIRCUITS_REMEMBERED_MAX {
            (self.begun, self.finished) = (self.begun / 2, self.finished / 2);
        }
        let are_too_few =
            self.begun >= GUARD_CIRCUITS_JUDGED_MIN && self.finished * 100 < self.begun * GUARD_FINISHED_PERCENT_MIN;
        let (since, ended, late) = self.too_few.unwrap_or((now, 0, 0));
        let is_late = now - since >= GUARD_DOUBTED_AFTER_S;
        self.too_few = are_too_few.then_some((since, ended + 1, late + u32::from(is_late)));
    }

    fn are_doubted(&self) -> bool {
        let (_, ended, late) = self.too_few.unwrap_or_default();
        late >= GUARD_DOUBTED_LATE_MIN || ended >= GUARD_DOUBTED_CIRCUITS_MIN
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Dial {
    Idle,
    /// Whether the next waits for it.
    UnderWay {
        since: Instant,
        is_waited_for: bool,
    },
    Up {
        since: Instant,
    },
    Failed {
        again: Instant,
    },
}

/// One guard of the sample.
pub struct Guard {
    pub number: u32,
    pub sampled: u64,
    pub confirmed: bool,
    pub down: bool,
    listed: bool,
    dial: Dial,
    failures: u32,
    circuits: Circuits,
}

impl Guard {
    fn is_up(&self) -> bool {
        matches!(self.dial, Dial::Up { .. })
    }

    fn takes_part(&self) -> bool {
        self.listed || self.is_up()
    }

    /// MEMB-W-048.
    fn is_over(&self, now: u64) -> bool {
        let age = now - self.sampled;
        age >= GUARD_LIFE_S || (age >= GUARD_SAMPLE_LIFE_S && (!self.listed || !self.confirmed))
    }

    /// MEMB-W-046.
    fn is_given_up(&self) -> bool {
        matches!(self.dial, Dial::Failed { .. }) && self.failures >= if self.down { 1 } else { GUARD_DIALS }
    }

    /// Whether it lets too few circuits through (§5.4).
    pub fn is_doubted(&self) -> bool {
        self.circuits.are_doubted()
    }
}

/// Where a client stands (§5.1, §5.2).
#[derive(PartialEq, Debug)]
pub enum Standing {
    InUse(u32),
    Waiting,
    Unreachable,
    PrivacyFloor,
}

/// The sample, in its order.
#[derive(Default)]
pub struct Sample {
    pub guards: Vec<Guard>,
    does_network_answer: bool,
}

impl Sample {
    /// The numbers in order.
    pub fn numbers(&self) -> impl Iterator<Item = u32> {
        self.guards.iter().map(|guard| guard.number)
    }

    /// The process ended, and another has read what was kept.
    pub fn restart(&mut self) {
        self.does_network_answer = false;
        for guard in &mut self.guards {
            (guard.listed, guard.dial, guard.failures) = (true, Dial::Idle, 0);
        }
    }

    /// The membership was brought up to date: whose time is over leaves, and nobody else.
    pub fn meet(&mut self, present: Present, now: u64) {
        self.does_network_answer = present.others().next().is_some();
        if self.does_network_answer {
            self.guards.iter_mut().for_each(|guard| guard.listed = present.others().any(|one| one == guard.number));
            self.guards.retain(|guard| !guard.is_over(now));
        }
    }

    /// Whether this one may have the place that is free: one of the network, none of ours, apart from the others (MEMB-W-039).
    fn may_join(&self, candidate: u32, present: Present) -> bool {
        present.others().any(|one| one == candidate) && present.is_apart_from(candidate, self.numbers())
    }

    /// The house has drawn this one.
    pub fn join(&mut self, number: u32, present: Present, now: u64) {
        assert!(self.does_network_answer && self.guards.len() < GUARDS, "one too many");
        assert!(self.may_join(number, present), "{number} is no guard beside the others");
        let circuits = Circuits::default();
        let (confirmed, down, listed, dial, failures) = (false, false, true, Dial::Idle, 0);
        self.guards.push(Guard { number, sampled: now, confirmed, down, listed, dial, failures, circuits });
    }

    /// No place is free for which there is one.
    pub fn assert_full(&self, present: Present) {
        let is_full = self.guards.len() == GUARDS || !self.does_network_answer;
        assert!(is_full || (0..RELAYS).all(|one| !self.may_join(one, present)), "a place is left free");
    }

    /// Whom to dial now (MEMB-W-041, MEMB-W-042, MEMB-W-044); then it counts as being dialled.
    pub fn dial(&mut self, now: Instant) -> Option<u32> {
        for guard in self.guards.iter_mut().filter(|guard| guard.takes_part()) {
            match guard.dial {
                Dial::Up { .. } => return None,
                Dial::UnderWay { since, is_waited_for } if is_waited_for && now < since + GUARD_PATIENCE => {
                    return None;
                }
                Dial::Failed { again } if now < again => (),
                Dial::UnderWay { .. } => (),
                Dial::Idle | Dial::Failed { .. } => {
                    guard.dial = Dial::UnderWay { since: now, is_waited_for: !guard.down };
                    return Some(guard.number);
                }
            }
        }
        None
    }

    /// Its dial failed: it is down if a later one answers (MEMB-W-043).
    pub fn fail(&mut self, at: usize, now: Instant) {
        let does_later_answer = self.guards[at + 1..].iter().any(Guard::is_up);
        let guard = &mut self.guards[at];
        guard.down |= does_later_answer;
        guard.failures += 1;
        guard.dial = Dial::Failed { again: now + if guard.down { GUARD_RETRY_EVERY } else { DIAL_BACKOFF } };
    }

    /// It answers; those before it that failed when nobody did are asked once more (MEMB-W-043).
    pub fn answer(&mut self, at: usize, now: Instant) {
        for before in self.guards[..at].iter_mut().filter(|guard| !guard.down) {
            if let Dial::Failed { again } = &mut before.dial {
                *again = now;
            }
        }
        let guard = &mut self.guards[at];
        (guard.confirmed, guard.down, guard.failures, guard.dial) = (true, false, 0, Dial::Up { since: now });
    }

    /// Its link ended (MEMB-W-045).
    pub fn end(&mut self, at: usize, now: Instant) {
        match self.guards[at].dial {
            Dial::Up { since } if now < since + GUARD_SETTLED => self.fail(at, now),
            Dial::Up { .. } => self.guards[at].dial = Dial::Idle,
            _ => (),
        }
    }

    /// A circuit through it ended. Whether it is doubted from now on.
    pub fn count(&mut self, at: usize, is_finished: bool, now: u64) -> bool {
        let was_doubted = self.guards[at].is_doubted();
        self.guards[at].circuits.add(is_finished, now);
        !was_doubted && self.guards[at].is_doubted()
    }

    /// MEMB-W-041, MEMB-W-046, MEMB-W-047.
    pub fn standing(&self) -> Standing {
        let first = self.guards.iter().filter(|guard| guard.takes_part()).find(|guard| guard.is_up() || !guard.down);
        let listed: Vec<&Guard> = self.guards.iter().filter(|guard| guard.listed).collect();
        match first {
            Some(guard) if guard.is_up() => Standing::InUse(guard.number),
            _ if listed.is_empty() && self.does_network_answer => Standing::PrivacyFloor,
            _ if !listed.is_empty() && listed.iter().all(|guard| guard.is_given_up()) => Standing::Unreachable,
            _ => Standing::Waiting,
        }
    }
}

/// One second hop.
#[derive(PartialEq, Debug)]
pub struct Hop {
    pub number: u32,
    pub until: u64,
    /// Exits towards which circuits failed, nobody saying where.
    pub failed: Vec<u32>,
    /// Exits that were not reached, those that were made up for left out.
    pub not_reached: Vec<u32>,
}

impl Hop {
    /// MEMB-W-056.
    pub fn is_failing(&self) -> bool {
        u32::try_from(self.failed.len()).expect("few") >= SECOND_HOP_FAILURES_MAX
            || self.not_reached.len() >= SECOND_HOP_NOT_REACHED_MAX
    }
}

/// The second hops, and when some were replaced for failing.
#[derive(Default)]
pub struct Hops {
    pub hops: Vec<Hop>,
    replaced: Vec<u64>,
}

impl Hops {
    /// The membership was brought up to date: who left, or whose life is over, goes at once, and nobody else (MEMB-W-055).
    pub fn meet(&mut self, present: Present, now: u64) {
        if present.0 & ((1 << RELAYS) - 1) != 0 {
            self.hops.retain(|hop| present.others().any(|one| one == hop.number) && now < hop.until);
        }
    }

    fn may_join(&self, candidate: u32, present: Present, guards: &[u32]) -> bool {
        let others = guards.iter().copied().chain(self.hops.iter().map(|hop| hop.number));
        present.others().any(|one| one == candidate) && present.is_apart_from(candidate, others)
    }

    /// In a network that has no relay apart from all guards, one that is apart from the first.
    fn may_be_only(&self, candidate: u32, present: Present, guards: &[u32]) -> bool {
        let is_needed = self.hops.is_empty() && (0..RELAYS).all(|one| !self.may_join(one, present, guards));
        is_needed && self.may_join(candidate, present, &guards[..guards.len().min(1)])
    }

    /// The house has drawn this one, for so long (MEMB-W-053).
    pub fn join(&mut self, number: u32, until: u64, present: Present, guards: &[u32], now: u64) {
        assert!(self.hops.len() < SECOND_HOPS, "one too many");
        let may = self.may_join(number, present, guards) || self.may_be_only(number, present, guards);
        assert!(may, "{number} is no second hop beside the others");
        assert!((now + SECOND_HOP_LIFE_MIN_S..=now + SECOND_HOP_LIFE_MAX_S).contains(&until), "another life");
        self.hops.push(Hop { number, until, failed: Vec::new(), not_reached: Vec::new() });
    }

    /// No place is free for which there is one.
    pub fn assert_full(&self, present: Present, guards: &[u32]) {
        let may = |one| self.may_join(one, present, guards) || self.may_be_only(one, present, guards);
        assert!(self.hops.len() == SECOND_HOPS || !(0..RELAYS).any(may), "a place is left free");
    }

    /// A circuit through it failed. It is replaced for that when it must be, and never when it must not (MEMB-W-051, MEMB-W-056,
    /// MEMB-W-057).
    pub fn fail(&mut self, number: u32, exit: u32, is_explained: bool, is_guard_doubted: bool, now: u64) {
        let Some(at) = self.hops.iter().position(|hop| hop.number == number) else { return };
        let hop = &mut self.hops[at];
        if !hop.is_failing() {
            let exits = if is_explained { &mut hop.not_reached } else { &mut hop.failed };
            if !exits.contains(&exit) {
                exits.push(exit);
            }
        }
        let recent = self.replaced.iter().filter(|then| now - **then < SECOND_HOP_REPLACED_WINDOW_S).count();
        if hop.is_failing() && !is_guard_doubted && recent < SECOND_HOP_REPLACED_MAX {
            self.hops.remove(at);
            self.replaced.push(now);
        }
    }

    /// A circuit through it held.
    pub fn succeed(&mut self, number: u32) {
        let Some(hop) = self.hops.iter_mut().find(|hop| hop.number == number) else { return };
        hop.failed.clear();
        hop.not_reached.drain(..SECOND_HOP_NOT_REACHED_FORGIVEN.min(hop.not_reached.len()));
    }
}

/// Whether a path begins with these, however it is drawn from there: the exit comes third, then those between (MEMB-W-059).
pub fn always_ends(chosen: &[u32], length: usize, usable: &[u32], avoid: &[u32]) -> bool {
    if chosen.len() == length {
        return true;
    }
    let on: Vec<u32> = further(chosen, usable, if chosen.len() == 2 { avoid } else { &[] });
    !on.is_empty() && on.iter().all(|next| always_ends(&[chosen, &[*next]].concat(), length, usable, avoid))
}

/// Those that are apart from all that are chosen, and not to be avoided.
pub fn further(chosen: &[u32], usable: &[u32], avoid: &[u32]) -> Vec<u32> {
    let fits = |one: &u32| !avoid.contains(one) && chosen.iter().all(|other| apart(*one, *other));
    usable.iter().copied().filter(fits).collect()
}
