//! Who goes when the file's quota is reached: as in memory, over restarts too, and nothing is said to be kept that is not.

use super::*;
use crate::limits::{STORE_AGE_DOUBLES_S, STORE_EVICTED_BATCH_MAX};

fn small(number: u32) -> VerifiedValue {
    chunk_of(number.to_be_bytes().to_vec(), 99)
}

fn ops(numbers: core::ops::Range<u32>) -> Vec<StoreOp> {
    numbers.map(|number| put_op(&small(number))).collect()
}

fn kept(results: &[StoreResult]) -> usize {
    results.iter().filter(|result| **result == StoreResult::Kept).count()
}

#[test]
fn what_a_later_put_of_the_same_batch_displaces_is_not_said_to_be_kept() {
    let store = on(&TestMedium::default(), 20, 99_999).unwrap();
    let results = store.write_ops(NOW, &ops(0..200));
    assert_eq!((kept(&results), store.len()), (20, 20));
    for (number, result) in (0..).zip(&results) {
        assert_eq!(*result == StoreResult::Kept, get(&store, &small(number)) == found(&small(number)), "{number}");
    }
    let counts = store.view(NOW).unwrap().since_start.unwrap();
    assert_eq!((counts.evicted, counts.refused_full), (0, 180));
}

#[test]
fn a_restart_keeps_the_age_and_the_numbers_drawn() {
    let later = UnixTime(NOW.0 + 16 * STORE_AGE_DOUBLES_S);
    let medium = TestMedium::default();
    on(&medium, 50, 999_999).unwrap().write_ops(NOW, &ops(0..50));
    let store = on(&medium, 50, 999_999).unwrap();
    let came = kept(&store.write_ops(later, &ops(1_000..1_500)));
    let stayed = (0..50).filter(|number| get(&store, &small(*number)) == found(&small(*number))).count();
    assert!(stayed + came == 50 && stayed >= 49, "{stayed} of 50");
    let evicted = store.view(NOW).unwrap().since_start.unwrap().evicted;
    assert!(evicted >= room(came), "{evicted}");
}

#[test]
fn under_a_quota_that_was_made_smaller_the_worst_go_so_many_in_one_batch() {
    let count = u32::try_from(STORE_EVICTED_BATCH_MAX).unwrap() + 20;
    let medium = TestMedium::default();
    on(&medium, 9_999, 99_999_999).unwrap().write_ops(NOW, &ops(0..count));
    let store = on(&medium, 9, 99_999_999).unwrap();
    store.apply(NOW, StoreOp::Expire { now: NOW });
    assert_eq!(store.len(), 20);
    store.apply(NOW, StoreOp::Expire { now: NOW });
    assert_eq!((store.len(), store.bytes()), (9, room(9 * RECORD_LEN)));
    let mut memory = MemoryStore::new(9, 99_999_999);
    (0..count).for_each(|number| drop(memory.apply(NOW, put_op(&small(number)))));
    assert_eq!(page(&store), memory.iter().map(Holding::from).collect::<Vec<_>>());
}

#[test]
fn a_rank_that_a_damaged_row_left_behind_displaces_nothing_and_goes() {
    let medium = TestMedium::default();
    on(&medium, 3, 99_999).unwrap().write_ops(NOW, &ops(0..3));
    assert!((0..3).map(|number| medium.damage(&Row::new(&small(number), NOW).encode())).all(|found| found > 0));
    let store = on(&medium, 3, 99_999).unwrap();
    (0..3).for_each(|number| assert_eq!(get(&store, &small(number)), StoreResult::Value(None)));
    let results = store.write_ops(NOW, &ops(10..40));
    assert_eq!((kept(&results), store.len(), store.damaged()), (3, 3, 3));
    assert_eq!(page(&store).len(), 3);
}

#[test]
fn what_is_held_is_shown_by_kind_and_by_its_end() {
    let store = on(&TestMedium::default(), 9, 99_999).unwrap();
    let values = [record(1, 1, 0, 1), record(2, 1, 0, 4), chunk(7, 9_000, 4)];
    values.iter().for_each(|value| drop(put(&store, NOW, value)));
    let view = store.view(expiry(1).time()).unwrap();
    assert_eq!((view.values, view.bytes, view.over, view.unknown), (3, room(2 * RECORD_LEN + 9_000), 1, 0));
    let record_len = room(RECORD_LEN);
    let step = |steps, bytes| StepView { at: expiry(steps).time().0, values: 1, bytes };
    assert_eq!((view.signed.values, view.signed.ends), (2, vec![step(1, record_len), step(4, record_len)]));
    assert_eq!((view.hashed.bytes, view.hashed.ends), (9_000, vec![step(4, 9_000)]));
    assert_eq!((view.values_max, view.bytes_max), (9, 99_999));
    assert_eq!(view.since_start.unwrap().writes, StoreWrites::Work);
}
