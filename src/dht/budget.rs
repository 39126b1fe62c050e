//! How much a relay takes within an hour of those whom it keeps values for, and how many payments it checks within a second: of one
//! relay's links, and in all. Pure. Source: spec/dht.md §8.4.

use std::collections::BTreeMap;

use super::effort::Fill;
use crate::crypto::keys::NodeKey;
use crate::limits::{
    PAYMENT_CHECKS_PER_RELAY_PER_S, PAYMENT_CHECKS_PER_S, PAYMENT_STEP_S, STORE_HOUR_BYTES_MIN, STORE_HOUR_PART,
    STORE_HOUR_RELAY_PART, STORE_HOUR_RELAYS_MAX, STORE_HOUR_UPKEEP_PART,
};
use crate::time::UnixTime;

/// On whose account something came.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Bringer {
    /// This relay's own exit.
    Own,
    /// Another relay.
    Relay(NodeKey),
    /// Whoever has shown no descriptor: clients, all of them together.
    Unknown,
}

/// What was taken in one turn of the clock, of whom.
#[derive(Debug, Default)]
struct Window {
    turn: u64,
    all: u64,
    of: BTreeMap<Bringer, u64>,
}

impl Window {
    /// Takes so much, if it fits both bounds: in all, and of this relay.
    fn take(&mut self, turn: u64, (from, amount): (Bringer, u64), (all_max, each_max): (u64, u64)) -> bool {
        if turn != self.turn {
            *self = Self { turn, ..Self::default() };
        }
        let (all, of_it) =
            (self.all.saturating_add(amount), self.of.get(&from).copied().unwrap_or(0).saturating_add(amount));
        let is_counted = self.of.len() < STORE_HOUR_RELAYS_MAX || self.of.contains_key(&from);
        let fits = is_counted && all <= all_max && of_it <= each_max;
        if fits {
            self.all = all;
            self.of.insert(from, of_it);
        }
        fits
    }

    fn taken_in(&self, turn: u64) -> u64 {
        if turn == self.turn { self.all } else { 0 }
    }

    /// Gives back what was taken in this turn; later it is forgotten anyway.
    fn give_back(&mut self, turn: u64, (from, amount): (Bringer, u64)) {
        if turn == self.turn {
            self.all = self.all.saturating_sub(amount);
            if let Some(of_it) = self.of.get_mut(&from) {
                *of_it = of_it.saturating_sub(amount);
            }
        }
    }
}

/// Bytes of an hour that a value took before it was kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Taken {
    from: Bringer,
    bytes: u64,
    turn: u64,
    is_upkeep: bool,
}

/// For what a payment is checked. Each has an allowance of its own: what clients hand to an exit takes nothing of what other exits
/// have checked where values are to be kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CheckRole {
    /// Before it is handed on for a client.
    Exit,
    /// Before the value is kept here.
    Storer,
}

/// All of a relay's budgets.
#[derive(Debug, Default)]
pub struct Budgets {
    anonymous: Window,
    upkeep: Window,
    checks_of_exit: Window,
    checks_of_storer: Window,
}

impl Budgets {
    /// Takes the bytes of an anonymous write that came from this relay. Where storage is plentiful they are counted, and refused
    /// in no case.
    pub fn take_anonymous(&mut self, now: UnixTime, from: Bringer, bytes: u64, fill: &Fill) -> Option<Taken> {
        let all = part(fill, STORE_HOUR_PART);
        let each = (all / STORE_HOUR_RELAY_PART).max(STORE_HOUR_BYTES_MIN);
        let taken = Taken { from, bytes, turn: hour(now), is_upkeep: false };
        self.anonymous.take(taken.turn, (from, bytes), if_scarce(fill, (all, each))).then_some(taken)
    }

    /// Takes the bytes of a value that this relay brings as repair.
    pub fn take_upkeep(&mut self, now: UnixTime, from: Bringer, bytes: u64, fill: &Fill) -> Option<Taken> {
        let each = part(fill, STORE_HOUR_UPKEEP_PART);
        let taken = Taken { from, bytes, turn: hour(now), is_upkeep: true };
        self.upkeep.take(taken.turn, (from, bytes), if_scarce(fill, (u64::MAX, each))).then_some(taken)
    }

    /// What was taken for a value that is not kept after all.
    pub fn give_back(&mut self, taken: Taken) {
        let window = if taken.is_upkeep { &mut self.upkeep } else { &mut self.anonymous };
        window.give_back(taken.turn, (taken.from, taken.bytes));
    }

    /// Takes one check of a payment that came from this relay.
    pub fn take_check(&mut self, now: UnixTime, role: CheckRole, from: Bringer) -> bool {
        let max = (u64::from(PAYMENT_CHECKS_PER_S), u64::from(PAYMENT_CHECKS_PER_RELAY_PER_S));
        let checks = match role {
            CheckRole::Exit => &mut self.checks_of_exit,
            CheckRole::Storer => &mut self.checks_of_storer,
        };
        checks.take(now.0, (from, 1), max)
    }

    /// Bytes of anonymous writes that were taken in this hour of all relays, and how many may be once storage is scarce.
    #[must_use]
    pub fn anonymous_hour(&self, now: UnixTime, fill: &Fill) -> (u64, u64) {
        (self.anonymous.taken_in(hour(now)), part(fill, STORE_HOUR_PART))
    }

    /// The most relays that any of them counts.
    #[must_use]
    pub fn relays_counted(&self) -> usize {
        let all = [&self.anonymous, &self.upkeep, &self.checks_of_exit, &self.checks_of_storer];
        all.map(|one| one.of.len()).into_iter().max().unwrap_or(0)
    }
}

fn hour(now: UnixTime) -> u64 {
    now.0 / PAYMENT_STEP_S
}

fn part(fill: &Fill, part: u64) -> u64 {
    (fill.max.bytes / part).max(STORE_HOUR_BYTES_MIN)
}

fn if_scarce(fill: &Fill, max: (u64, u64)) -> (u64, u64) {
    if fill.is_plentiful() { (u64::MAX, u64::MAX) } else { max }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dht::store::Quota;
    use crate::limits::STORE_PLENTIFUL_PERMILLE;
    use crate::membership::fixture::ISSUED;

    const QUOTA: u64 = 1 << 40;

    fn key(number: u32) -> Bringer {
        Bringer::Relay(crate::membership::fixture::key(number))
    }

    fn fill(permille: u64) -> Fill {
        let max = Quota { values: 1_000, bytes: QUOTA };
        Fill { held: Quota { values: permille, bytes: 0 }, max }
    }

    fn later(s: u64) -> UnixTime {
        UnixTime(ISSUED.rounded(PAYMENT_STEP_S).0 + s)
    }

    // [DHT-R-045]
    #[test]
    fn a_relay_brings_its_part_of_an_hour_and_all_of_them_theirs_and_the_next_hour_begins_anew() {
        let scarce = fill(STORE_PLENTIFUL_PERMILLE);
        let (all, each) = (QUOTA / STORE_HOUR_PART, QUOTA / STORE_HOUR_PART / STORE_HOUR_RELAY_PART);
        let mut budgets = Budgets::default();
        let mut take = |s, from, bytes| budgets.take_anonymous(later(s), key(from), bytes, &scarce).is_some();
        assert!(take(0, 1, each) && !take(0, 1, 1));
        assert!(take(0, 2, each) && take(0, 3, each) && take(0, 4, each));
        assert!(!take(0, 5, 1), "{all} bytes are all");
        assert!(!take(PAYMENT_STEP_S - 1, 5, 1) && take(PAYMENT_STEP_S, 5, each) && !take(PAYMENT_STEP_S, 5, 1));
    }

    #[test]
    fn what_was_taken_of_an_hour_is_told_and_forgotten_with_the_next() {
        let scarce = fill(STORE_PLENTIFUL_PERMILLE);
        let mut budgets = Budgets::default();
        let taken = budgets.take_anonymous(later(0), key(1), 700, &scarce);
        assert!(taken.is_some() && budgets.take_anonymous(later(1), key(2), 50, &scarce).is_some());
        assert!(budgets.take_upkeep(later(1), key(2), 9, &scarce).is_some());
        assert_eq!(budgets.anonymous_hour(later(2), &scarce), (750, QUOTA / STORE_HOUR_PART));
        budgets.give_back(taken.unwrap());
        assert_eq!(budgets.anonymous_hour(later(2), &scarce).0, 50);
        assert_eq!(budgets.anonymous_hour(later(PAYMENT_STEP_S), &scarce).0, 0);
    }

    #[test]
    fn repair_is_counted_for_each_relay_alone_and_apart_from_what_is_anonymous() {
        let (scarce, each) = (fill(1_000), QUOTA / STORE_HOUR_UPKEEP_PART);
        let mut budgets = Budgets::default();
        for from in 0..2 * u32::try_from(STORE_HOUR_UPKEEP_PART).unwrap() {
            assert!(budgets.take_upkeep(ISSUED, key(from), each, &scarce).is_some());
            assert!(budgets.take_upkeep(ISSUED, key(from), 1, &scarce).is_none());
        }
        assert!(budgets.take_anonymous(ISSUED, key(0), 1, &scarce).is_some());
    }

    // [DHT-R-045]
    #[test]
    fn where_storage_is_plentiful_nothing_is_refused_but_all_of_it_counts_once_it_is_scarce() {
        let mut budgets = Budgets::default();
        let plentiful = fill(STORE_PLENTIFUL_PERMILLE - 1);
        assert!((0..9).all(|_| budgets.take_anonymous(ISSUED, key(1), QUOTA, &plentiful).is_some()));
        assert!(
            budgets.take_anonymous(ISSUED, key(1), 1, &Fill::default()).is_some(),
            "nothing is known of the store yet"
        );
        assert!(budgets.take_anonymous(ISSUED, key(2), 1, &fill(STORE_PLENTIFUL_PERMILLE)).is_none());
    }

    #[test]
    fn a_small_store_takes_its_least_budget() {
        let tiny = Fill { held: Quota { values: 1, bytes: 1 }, max: Quota { values: 1, bytes: 1 } };
        let mut budgets = Budgets::default();
        assert!(budgets.take_anonymous(ISSUED, key(1), STORE_HOUR_BYTES_MIN, &tiny).is_some());
        assert!(budgets.take_anonymous(ISSUED, key(1), 1, &tiny).is_none());
    }

    #[test]
    fn checks_are_capped_for_each_relay_and_in_all_within_a_second() {
        let mut budgets = Budgets::default();
        let role = CheckRole::Storer;
        let mut taken = |s, from: u32| (0..1_000).filter(|_| budgets.take_check(later(s), role, key(from))).count();
        let each = usize::try_from(PAYMENT_CHECKS_PER_RELAY_PER_S).unwrap();
        let in_all: usize = (0..20).map(|from| taken(0, from)).sum();
        assert_eq!((in_all, taken(0, 21)), (usize::try_from(PAYMENT_CHECKS_PER_S).unwrap(), 0));
        assert_eq!(taken(1, 0), each);
    }

    // [DHT-R-041]
    #[test]
    fn what_clients_have_an_exit_check_takes_nothing_of_what_it_checks_as_a_storer() {
        let mut budgets = Budgets::default();
        let mut taken = |role, from: u32| (0..1_000).filter(|_| budgets.take_check(later(0), role, key(from))).count();
        let in_all: usize = (0..20).map(|from| taken(CheckRole::Exit, from)).sum();
        assert_eq!(in_all, usize::try_from(PAYMENT_CHECKS_PER_S).unwrap());
        assert_eq!(taken(CheckRole::Storer, 1), usize::try_from(PAYMENT_CHECKS_PER_RELAY_PER_S).unwrap());
        assert_eq!(taken(CheckRole::Exit, 21), 0);
    }

    #[test]
    fn no_more_relays_are_counted_than_there_can_be() {
        let mut budgets = Budgets::default();
        let one = |n: usize| {
            let mut key = [0; 32];
            key[..8].copy_from_slice(&n.to_be_bytes());
            Bringer::Relay(NodeKey(key))
        };
        let plentiful = Fill::default();
        assert!((0..STORE_HOUR_RELAYS_MAX).all(|n| budgets.take_upkeep(ISSUED, one(n), 1, &plentiful).is_some()));
        assert!(budgets.take_upkeep(ISSUED, one(STORE_HOUR_RELAYS_MAX), 1, &plentiful).is_none());
        assert!(budgets.take_upkeep(ISSUED, one(0), 1, &plentiful).is_some());
        assert_eq!(budgets.relays_counted(), STORE_HOUR_RELAYS_MAX);
    }

    #[test]
    fn what_is_given_back_can_be_taken_again_in_its_hour_and_adds_nothing_to_another() {
        let scarce = fill(STORE_PLENTIFUL_PERMILLE);
        let each = QUOTA / STORE_HOUR_UPKEEP_PART;
        let mut budgets = Budgets::default();
        let taken = budgets.take_upkeep(later(0), key(1), each, &scarce).unwrap();
        assert!(budgets.take_upkeep(later(1), key(1), 1, &scarce).is_none());
        budgets.give_back(taken);
        assert!(budgets.take_upkeep(later(2), key(1), each, &scarce).is_some());
        assert!(budgets.take_upkeep(later(3_600), key(1), each, &scarce).is_some());
        budgets.give_back(taken);
        assert!(budgets.take_upkeep(later(3_601), key(1), 1, &scarce).is_none());
    }
}
