//! What a store on disk refuses: what its operator denies, what lies on a bad sector, everything after a fault.

use super::*;
use crate::limits::STORE_UNREADABLE_S;
use crate::node::Relay;
use crate::wire::hex;

fn list(lines: &[String]) -> Denylist {
    Denylist::parse(&lines.join("\n")).unwrap()
}

/// So many that what is stored next does not lie beside a chunk.
fn records(authors: core::ops::Range<u8>) -> Vec<StoreOp> {
    authors.map(|author| put_op(&record(author, 1, 0, 4))).collect()
}

// [DHT-W-019]
#[test]
fn what_is_denied_is_dropped_refused_and_never_said_to_be_absent() {
    let (signed, hashed, other) = (record(1, 1, 0, 4), chunk(7, 9_000, 4), record(2, 1, 0, 4));
    let store = on(&TestMedium::default(), 9, 99_999).unwrap();
    for value in [&signed, &other, &hashed] {
        assert_eq!(put(&store, NOW, value), StoreResult::Kept);
    }
    let names = [hex::encode(&signed.location().0), hex::encode(&hashed.digest())];
    assert_eq!(store.deny(NOW, list(&names)), Some(2));
    assert_eq!((store.len(), page(&store)), (1, vec![Holding::from(&other)]));
    for value in [&signed, &hashed] {
        assert_eq!([get(&store, value), put(&store, NOW, value)], [StoreResult::Denied, StoreResult::Denied]);
    }
    assert_eq!(get(&store, &other), found(&other));
    let counts = store.view(NOW).unwrap().since_start.unwrap();
    assert_eq!((counts.refused_denied, counts.denied), (4, 2));
    // Taken off the list, it is a place like any other.
    assert_eq!(store.deny(NOW, Denylist::default()), Some(0));
    assert_eq!((get(&store, &signed), put(&store, NOW, &signed)), (StoreResult::Value(None), StoreResult::Kept));
}

#[test]
fn what_is_denied_while_the_disk_takes_nothing_is_not_served_either() {
    let medium = TestMedium::default();
    let store = on(&medium, 9, 99_999).unwrap();
    let value = record(1, 1, 0, 4);
    put(&store, NOW, &value);
    medium.fail_after(Some(0));
    let names = [hex::encode(&value.location().0)];
    assert_eq!(store.deny(NOW, list(&names)), None);
    assert_eq!((get(&store, &value), page(&store)), (StoreResult::Denied, Vec::new()));
    medium.fail_after(None);
    assert_eq!(store.len(), 1);
    assert_eq!(put(&store, LATER, &record(2, 1, 0, 4)), StoreResult::Kept);
    assert_eq!(store.len(), 1, "it has gone with the first batch that the disk took");
    assert_eq!(store.deny(LATER, Denylist::default()), Some(0));
    assert_eq!(get(&store, &value), StoreResult::Value(None));
}

#[test]
fn a_bad_sector_is_met_once_and_costs_no_other_value_anything() {
    let medium = TestMedium::default();
    let (bad, good) = (chunk(7, 60_000, 4), chunk(8, 60_000, 4));
    let store = on(&medium, 999, 999_999).unwrap();
    assert_eq!([&bad, &good].map(|value| put(&store, NOW, value)), [StoreResult::Kept, StoreResult::Kept]);
    store.write_ops(NOW, &records(2..99));
    drop(store);
    medium.fail_reads_of(&[7; 999]);
    let store = on(&medium, 999, 999_999).unwrap();
    let turn = || store.opened.read().unwrap().turn;
    assert_eq!(get(&store, &bad), StoreResult::Failed);
    let after = turn();
    for _ in 0..9 {
        assert_eq!([get(&store, &bad), get(&store, &good)], [StoreResult::Failed, found(&good)]);
    }
    assert_eq!(turn(), after, "the file is not opened anew for each question");
    // Not even a put that would have to look there ends a batch of others.
    let results = store.write_ops(NOW, &[put_op(&chunk(7, 60_000, 9)), put_op(&record(1, 1, 0, 4))]);
    assert_eq!(results, [StoreResult::Failed, StoreResult::Kept]);
    medium.fail_reads_of(&[]);
    assert_eq!(get_at(&store, &bad, UnixTime(NOW.0 + STORE_UNREADABLE_S)), found(&bad));
}

#[test]
fn a_put_that_meets_a_bad_sector_ends_one_batch_and_no_more() {
    let medium = TestMedium::default();
    let held = [records(2..99), vec![put_op(&chunk(7, 60_000, 4))]].concat();
    on(&medium, 999, 999_999).unwrap().write_ops(NOW, &held);
    medium.fail_reads_of(&[7; 999]);
    let store = on(&medium, 999, 999_999).unwrap();
    let ops = [put_op(&chunk(7, 60_000, 9)), put_op(&record(1, 1, 0, 4))];
    assert_eq!(store.write_ops(NOW, &ops), [StoreResult::Failed, StoreResult::Failed]);
    assert_eq!(store.view(NOW).unwrap().since_start.unwrap().writes, StoreWrites::DiskRefuses);
    assert_eq!(store.write_ops(LATER, &ops), [StoreResult::Failed, StoreResult::Kept]);
    assert_eq!(store.view(NOW).unwrap().since_start.unwrap().writes, StoreWrites::Work);
}

#[test]
fn no_more_places_on_bad_sectors_are_remembered_than_the_cap() {
    let store = on(&TestMedium::default(), 9, 99_999).unwrap();
    let place = |number: u32| {
        let mut location = [0; 20];
        location[..4].copy_from_slice(&number.to_be_bytes());
        (crate::wire::record::ValueKind::Signed, crate::keyspace::Id(location))
    };
    let max = u32::try_from(STORE_DAMAGED_MAX).unwrap();
    (0..=max).for_each(|number| store.note_unreadable(NOW, place(number)));
    assert!(store.is_unreadable(NOW, &place(max - 1)) && !store.is_unreadable(NOW, &place(max)));
    store.note_unreadable(UnixTime(NOW.0 + STORE_UNREADABLE_S), place(max));
    assert_eq!(store.unreadable.lock().unwrap().len(), 1, "what is tried again makes room");
}

#[test]
fn after_a_fault_in_a_batch_puts_are_refused_and_what_is_held_is_read() {
    let store = on(&TestMedium::default(), 9, 99_999).unwrap();
    let value = record(1, 1, 0, 4);
    assert_eq!(put(&store, NOW, &value), StoreResult::Kept);
    DurableStore::<Relay>::on_write_panic(&store);
    assert_eq!(put(&store, LATER, &record(2, 1, 0, 4)), StoreResult::Failed);
    assert_eq!(get(&store, &value), found(&value));
    assert_eq!(store.view(NOW).unwrap().since_start.unwrap().writes, StoreWrites::Ended);
}
