//! Who goes when a store is full: against a small model, and against whoever would choose.

use core::cmp::Ordering;

use proptest::prelude::*;

use super::fixture::{NOW, any_value, chunk_of, record};
use super::*;
use crate::limits::{RECORD_LEN, STORE_AGE_DOUBLES_S, STORE_AGE_PERIOD_S};

const HOUR: u64 = STORE_AGE_DOUBLES_S;

fn put(store: &mut MemoryStore, now: UnixTime, value: &VerifiedValue) -> bool {
    store.apply(now, StoreOp::Put { value: value.clone(), expected: None }) == StoreResult::Kept
}

fn has(store: &MemoryStore, value: &VerifiedValue) -> bool {
    store.values.contains_key(&place(value))
}

/// Another value for each number, ending after so many steps.
fn numbered(number: u32, len: usize, steps: u64) -> VerifiedValue {
    let mut bytes = vec![0; len];
    bytes[..4].copy_from_slice(&number.to_be_bytes());
    chunk_of(bytes, steps)
}

fn small(number: u32) -> VerifiedValue {
    numbered(number, 4, 99)
}

/// A store of so many small values, each put at its time.
fn filled(key: u8, times: impl Iterator<Item = UnixTime>) -> (MemoryStore, Vec<VerifiedValue>) {
    let times: Vec<UnixTime> = times.collect();
    let values: Vec<VerifiedValue> = (0..).take(times.len()).map(small).collect();
    let mut store = MemoryStore::new(values.len(), values.len() * RECORD_LEN).keyed(StoreKey::from_bytes(&[key; 32]));
    for (value, time) in values.iter().zip(times) {
        assert!(put(&mut store, time, value));
    }
    (store, values)
}

/// How many of so many small values were kept.
fn pour(store: &mut MemoryStore, now: UnixTime, numbers: core::ops::Range<u32>) -> usize {
    numbers.filter(|number| put(store, now, &small(*number))).count()
}

fn first_bit(value: &VerifiedValue) -> u8 {
    value.location().0[0] >> 7
}

fn share(store: &MemoryStore, values: &[VerifiedValue]) -> f64 {
    let stayed = values.iter().filter(|value| has(store, value)).count();
    f64::from(u32::try_from(stayed).unwrap()) / f64::from(u32::try_from(values.len()).unwrap())
}

#[test]
fn a_flood_of_fresh_values_displaces_few_that_are_old_and_many_that_are_fresh_too() {
    // (age in hours, at least, at most): what stays of a full store when ten times as much comes at once.
    for (age, least, most) in [(0, 0.06, 0.13), (3, 0.25, 0.50), (6, 0.68, 0.86), (12, 0.97, 1.0), (24, 1.0, 1.0)] {
        let (mut store, values) = filled(1, (0..1_000).map(|_| NOW));
        let now = UnixTime(NOW.0 + age * HOUR);
        let came = pour(&mut store, now, 10_000..20_000);
        let share = share(&store, &values);
        assert!((least..=most).contains(&share), "{age} h: {share}, {came} came");
        assert_eq!(store.len(), 1_000);
    }
}

#[test]
fn a_flood_that_goes_on_for_days_displaces_hardly_more_than_one_of_hours() {
    let rest = |hours: u64| {
        let (mut store, values) = filled(2, (0..1_000).map(|_| NOW));
        for hour in 0..hours {
            let now = UnixTime(NOW.0 + (12 + hour) * HOUR);
            let first = 10_000 + 2_000 * u32::try_from(hour).unwrap();
            pour(&mut store, now, first..first + 2_000);
        }
        share(&store, &values)
    };
    let (short, long) = (rest(3), rest(48));
    assert!(short - long <= 0.01 && long >= 0.98, "{short}, {long}");
}

// [DHT-R-014]
#[test]
fn whose_value_goes_does_not_depend_on_the_places_sizes_and_ends_that_a_flood_chooses() {
    type Flood = Box<dyn Iterator<Item = VerifiedValue>>;
    let floods: [(&str, Flood); 4] = [
        ("any", Box::new((10_000..20_000).map(small))),
        (
            "near one half",
            Box::new((10_000..99_999).filter(|number| first_bit(&small(*number)) == 0).take(10_000).map(small)),
        ),
        ("short-lived", Box::new((10_000..20_000).map(|number| numbered(number, 4, 1)))),
        ("large", Box::new((10_000..11_000).map(|number| numbered(number, 10 * RECORD_LEN, 99)))),
    ];
    let mut stayed = Vec::new();
    for (name, flood) in floods {
        let (mut store, values) = filled(3, (0..2_000).map(|_| NOW));
        let now = UnixTime(NOW.0 + 4 * HOUR);
        for value in flood {
            put(&mut store, now, &value);
        }
        let (near, far): (Vec<_>, Vec<_>) = values.iter().cloned().partition(|value| first_bit(value) == 0);
        let (near, far) = (share(&store, &near), share(&store, &far));
        assert!((near - far).abs() < 0.06, "{name}: {near} of those near, {far} of those far");
        stayed.push(values.iter().map(|value| has(&store, value)).collect::<Vec<_>>());
    }
    // It is not even other values that go: the secret numbers alone say which, the flood how many.
    let differ = |one: &[bool], other: &[bool]| one.iter().zip(other).filter(|(one, other)| one != other).count();
    assert!(stayed.iter().all(|one| differ(one, &stayed[0]) < 100), "{stayed:?}");
    let (other, values) = {
        let (mut store, values) = filled(4, (0..2_000).map(|_| NOW));
        pour(&mut store, UnixTime(NOW.0 + 4 * HOUR), 10_000..20_000);
        (store, values)
    };
    let other: Vec<bool> = values.iter().map(|value| has(&other, value)).collect();
    assert!(differ(&other, &stayed[0]) > 600, "another key, other victims");
}

#[test]
fn large_and_small_values_of_one_age_stay_alike() {
    let (mut small_ones, mut large_ones) = (Vec::new(), Vec::new());
    let mut store = MemoryStore::new(9_999, 2_000 * 11 * RECORD_LEN).keyed(StoreKey::from_bytes(&[5; 32]));
    for number in 0..2_000 {
        small_ones.push(small(number));
        large_ones.push(numbered(100_000 + number, 10 * RECORD_LEN, 99));
    }
    small_ones.iter().chain(&large_ones).for_each(|value| assert!(put(&mut store, NOW, value)));
    let now = UnixTime(NOW.0 + 3 * HOUR);
    pour(&mut store, now, 200_000..220_000);
    let (small, large) = (share(&store, &small_ones), share(&store, &large_ones));
    assert!((small - large).abs() < 0.05 && (0.5..0.95).contains(&small), "{small}, {large}");
}

#[test]
fn what_was_just_kept_goes_no_sooner_than_any_other_of_its_age() {
    let (mut store, _) = filled(6, (0..1_000).map(|_| NOW));
    let now = UnixTime(NOW.0 + 2 * HOUR);
    let firsts: Vec<VerifiedValue> = (10_000..20_000).map(small).filter(|value| put(&mut store, now, value)).collect();
    let held: Vec<&VerifiedValue> = firsts.iter().filter(|value| has(&store, value)).collect();
    let (last, early) = held.split_at(held.len() / 2);
    let (last, early): (Vec<_>, Vec<_>) =
        (last.iter().copied().cloned().collect(), early.iter().copied().cloned().collect());
    pour(&mut store, now, 20_000..26_000);
    let (last, early) = (share(&store, &last), share(&store, &early));
    assert!((last - early).abs() < 0.12, "{last} of the first, {early} of the last");
}

#[test]
fn an_update_keeps_the_age_and_a_renewal_by_anybody_does_not_lower_it() {
    let mut store = MemoryStore::new(9, 99_999);
    let (old, new) = (record(1, 1, 0, 8), record(1, 2, 0, 8));
    let (chunk, renewed) = (numbered(1, 9, 8), numbered(1, 9, 9));
    put(&mut store, NOW, &old);
    put(&mut store, NOW, &chunk);
    let before = store.ranks.clone();
    let later = UnixTime(NOW.0 + 9 * HOUR);
    assert!(put(&mut store, later, &new) && put(&mut store, later, &renewed));
    assert_eq!(store.ranks, before);
}

#[test]
fn a_value_that_was_refused_is_not_taken_for_coming_again_and_none_is_kept_for_ever_by_updates() {
    let (mut store, _) = filled(8, (0..500).map(|_| NOW));
    let refused: Vec<VerifiedValue> =
        (10_000..10_500).map(small).filter(|value| !put(&mut store, UnixTime(NOW.0 + HOUR), value)).collect();
    for minute in 0..9 {
        let now = UnixTime(NOW.0 + HOUR + 60 * minute);
        assert!(!refused.iter().any(|value| put(&mut store, now, value)), "no number is drawn anew");
    }
    // Everybody renews what stands there, each day of a period: at its end all is as young as what came within it.
    let mut store = MemoryStore::new(9, 99_999);
    for day in 1..=60 {
        let now = UnixTime(NOW.0 - 60 * 24 * HOUR + day * 24 * HOUR);
        assert!(put(&mut store, now, &record(1, day, 0, 99)));
        let (_, held) = store.values.first_key_value().unwrap();
        assert!(now.0 - held.since.0 < STORE_AGE_PERIOD_S);
    }
}

/// The rule said once more, without an index: everything in one list, and the worst of all goes until the rest fits.
#[derive(Default)]
struct Model {
    held: Vec<(Rank, VerifiedValue, UnixTime)>,
}

impl Model {
    fn put(&mut self, (values_max, bytes_max): (usize, usize), now: UnixTime, value: &VerifiedValue) -> StoreResult {
        self.held.retain(|(_, held, _)| held.expiry().time() > now);
        let key = StoreKey::from_bytes(&[0; 32]);
        let at = place(value);
        let there = self.held.iter().position(|(_, held, _)| place(held) == at);
        if let Some(there) = there {
            let (_, held, since) = self.held[there].clone();
            match (held.seq(), held.digest()).cmp(&(value.seq(), value.digest())) {
                Ordering::Greater if held.digest() == value.digest() => {
                    return StoreResult::KeptLonger { until: held.expiry() };
                }
                Ordering::Greater => return StoreResult::Conflict { seq: held.seq(), digest: held.digest() },
                Ordering::Equal => return StoreResult::Kept,
                Ordering::Less => (),
            }
            let since = key.since(&at, Some(since), now);
            self.held[there] = (key.rank(&at, since), value.clone(), since);
            return StoreResult::Kept;
        }
        let before = self.held.clone();
        self.held.push((key.rank(&at, now), value.clone(), now));
        self.held.sort_by_key(|(rank, held, _)| (*rank, place(held)));
        let over = |held: &[(Rank, VerifiedValue, UnixTime)]| {
            held.len() > values_max || held.iter().map(|(_, held, _)| room_of(held)).sum::<usize>() > bytes_max
        };
        while over(&self.held) {
            let (_, worst, _) = self.held.pop().unwrap();
            if place(&worst) == at {
                self.held = before;
                return StoreResult::Full;
            }
        }
        StoreResult::Kept
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]
    // [DHT-R-014]
    #[test]
    fn a_full_store_does_what_the_rule_says(
        steps in proptest::collection::vec(
            (prop_oneof![any_value(), (0..99_u32, 4..5_000_usize).prop_map(|(n, len)| numbered(n, len, 99))], 0..HOUR),
            1..60,
        ),
        max in (1..9_usize, RECORD_LEN..12_000_usize),
    ) {
        let (mut store, mut model, mut now) = (MemoryStore::new(max.0, max.1), Model::default(), NOW);
        for (value, pause) in steps {
            now.0 += pause;
            if value.expiry().time() <= now {
                continue;
            }
            let result = store.apply(now, StoreOp::Put { value: value.clone(), expected: None });
            prop_assert_eq!(result, model.put(max, now, &value));
            let mut held: Vec<Place> = model.held.iter().map(|(_, held, _)| place(held)).collect();
            held.sort_unstable();
            prop_assert_eq!(store.values.keys().copied().collect::<Vec<_>>(), held);
            prop_assert!(store.len() <= max.0 && store.bytes() <= max.1);
        }
    }
}
