//! The rules of the store: merging, expiry, room, and who goes when there is none.

use proptest::prelude::*;

use super::fixture::{NOW, any_value, chunk, record};
use super::*;
use crate::limits::RECORD_LEN;

fn put(store: &mut MemoryStore, value: &VerifiedValue, expected: Option<u64>) -> StoreResult {
    store.apply(NOW, StoreOp::Put { value: value.clone(), expected })
}

fn get(store: &mut MemoryStore, like: &VerifiedValue, now: UnixTime) -> Option<VerifiedValue> {
    match store.apply(now, StoreOp::Get { kind: like.kind(), location: like.location() }) {
        StoreResult::Value(value) => value,
        other => panic!("{other:?}"),
    }
}

fn conflict(held: &VerifiedValue) -> StoreResult {
    StoreResult::Conflict { seq: held.seq(), digest: held.digest() }
}

// [VAL-R-019] [DHT-R-012]
#[test]
fn the_newest_seq_wins_and_a_repeat_is_kept() {
    let mut store = MemoryStore::new(9, 99_999);
    let (old, new) = (record(1, 5, 0, 4), record(1, 6, 0, 4));
    assert_eq!(put(&mut store, &old, None), StoreResult::Kept);
    assert_eq!(put(&mut store, &new, None), StoreResult::Kept);
    assert_eq!(put(&mut store, &new, None), StoreResult::Kept);
    assert_eq!(put(&mut store, &old, None), conflict(&new));
    assert_eq!((get(&mut store, &new, NOW), store.len(), store.bytes()), (Some(new), 1, RECORD_LEN));
}

// [VAL-R-019]
#[test]
fn equal_seq_with_other_bytes_resolves_the_same_way_from_either_side() {
    let (one, other) = (record(1, 5, 0, 4), record(1, 5, 1, 4));
    let (winner, loser) = if one.replaces(&other) { (one, other) } else { (other, one) };
    let mut store = MemoryStore::new(9, 99_999);
    assert_eq!(put(&mut store, &winner, None), StoreResult::Kept);
    assert_eq!(put(&mut store, &loser, None), conflict(&winner));
    let mut store = MemoryStore::new(9, 99_999);
    assert_eq!(put(&mut store, &loser, None), StoreResult::Kept);
    assert_eq!(put(&mut store, &winner, None), StoreResult::Kept);
    assert_eq!(get(&mut store, &winner, NOW), Some(winner));
}

// [DHT-R-012]
#[test]
fn a_swap_needs_the_expected_seq_but_a_repeat_of_the_held_value_does_not() {
    let (old, new) = (record(1, 5, 0, 4), record(1, 6, 0, 4));
    let mut store = MemoryStore::new(9, 99_999);
    assert_eq!(put(&mut store, &old, Some(0)), StoreResult::Kept);
    assert_eq!(put(&mut store, &old, Some(0)), StoreResult::Kept);
    assert_eq!(put(&mut store, &new, Some(0)), conflict(&old));
    assert_eq!(put(&mut store, &new, Some(4)), conflict(&old));
    assert_eq!(put(&mut store, &new, Some(5)), StoreResult::Kept);
    assert_eq!(put(&mut store, &old, Some(6)), conflict(&new));
}

// [DHT-R-012]
#[test]
fn a_holder_that_lost_the_value_or_missed_an_update_takes_the_next_one() {
    let (old, new) = (record(1, 3, 0, 4), record(1, 6, 0, 4));
    let mut behind = MemoryStore::new(9, 99_999);
    assert_eq!(put(&mut behind, &old, Some(0)), StoreResult::Kept);
    assert_eq!(put(&mut behind, &new, Some(5)), StoreResult::Kept);
    for expected in [None, Some(0), Some(5)] {
        let mut store = MemoryStore::new(9, 99_999);
        assert_eq!(put(&mut store, &new, expected), StoreResult::Kept, "{expected:?}");
    }
}

// [DHT-R-013]
#[test]
fn what_is_over_is_never_served_and_is_freed() {
    let mut store = MemoryStore::new(9, 99_999);
    let (short, long) = (record(1, 5, 0, 1), chunk(7, 100, 3));
    put(&mut store, &short, None);
    put(&mut store, &long, None);
    let end = short.expiry().time();
    assert_eq!(get(&mut store, &short, UnixTime(end.0 - 1)), Some(short.clone()));
    assert_eq!(get(&mut store, &short, end), None);
    assert_eq!((store.len(), store.bytes()), (1, RECORD_LEN));
    assert_eq!(store.apply(end, StoreOp::Put { value: short, expected: None }), StoreResult::Full);
    let all_over = StoreOp::Expire { now: long.expiry().time() };
    let max = Quota { values: 9, bytes: 99_999 };
    assert_eq!(store.apply(end, all_over), StoreResult::Filled { held: Quota::default(), max });
    assert_eq!((store.is_empty(), store.bytes(), store.expiries.len()), (true, 0, 0));
}

// [VAL-R-020] [DHT-R-012]
#[test]
fn a_chunk_put_again_lives_to_the_later_expiry_whichever_came_first() {
    let (short, long) = (chunk(7, 100, 1), chunk(7, 100, 3));
    for (first, second) in [(&short, &long), (&long, &short)] {
        let mut store = MemoryStore::new(9, 99_999);
        assert_eq!(put(&mut store, first, None), StoreResult::Kept);
        let told = if first == &long { StoreResult::KeptLonger { until: long.expiry() } } else { StoreResult::Kept };
        assert_eq!(put(&mut store, second, Some(0)), told);
        assert_eq!(get(&mut store, &long, short.expiry().time()), Some(long.clone()));
        assert_eq!((store.len(), store.bytes(), store.expiries.len(), store.ranks.len()), (1, RECORD_LEN, 1, 1));
    }
}

#[test]
fn what_is_held_is_told_page_by_page() {
    let mut store = MemoryStore::new(9, 99_999);
    for author in 1..=5 {
        put(&mut store, &record(author, 5, 0, 4), None);
    }
    put(&mut store, &chunk(7, 10, 3), None);
    let (mut told, mut after) = (Vec::new(), None);
    loop {
        let StoreResult::Places(page) = store.apply(NOW, StoreOp::Places { after, max: 2 }) else { unreachable!() };
        assert!(page.len() <= 2);
        let Some(last) = page.last() else { break };
        after = Some(last.place);
        told.extend(page);
    }
    assert_eq!(told, store.iter().map(Holding::from).collect::<Vec<_>>());
    assert_eq!(told.len(), 6);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    // [VAL-R-019] [VAL-R-020]
    #[test]
    fn values_merged_in_any_order_give_the_same_state(
        (values, shuffled) in proptest::collection::vec(any_value(), 0..24)
            .prop_flat_map(|values| (Just(values.clone()), Just(values).prop_shuffle())),
    ) {
        let mut stores = [MemoryStore::new(99, 999_999), MemoryStore::new(99, 999_999)];
        for (store, order) in stores.iter_mut().zip([&values, &shuffled]) {
            for value in order {
                put(store, value, None);
            }
            prop_assert_eq!(store.bytes(), store.iter().map(room_of).sum::<usize>());
            prop_assert_eq!((store.expiries.len(), store.ranks.len()), (store.len(), store.len()));
        }
        let [one, other] = &stores;
        prop_assert_eq!(one.iter().collect::<Vec<_>>(), other.iter().collect::<Vec<_>>());
    }
}
