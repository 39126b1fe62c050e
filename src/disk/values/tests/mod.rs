//! The store on disk against the one in memory, and against disks that are full, fail, crash or rot.

mod backends;

mod eviction;
mod refusals;

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use proptest::prelude::*;
use rand::SeedableRng as _;
use rand::rngs::ChaCha20Rng;
use redb::Database;

use self::backends::TestMedium;
use super::opening::LAYOUT_IS;
use super::rows::{ABOUT, LAYOUT, Row};
use super::*;
use crate::dht::store::fixture::{NOW, any_value, chunk, chunk_of, expiry, record};
use crate::dht::store::{Holding, MemoryStore};
use crate::limits::{EXPIRY_STEP_S, RECORD_LEN, STORE_DAMAGED_MAX, STORE_EXPIRED_BATCH_MAX};
use crate::membership::fixture::network;
use crate::record::VerifiedValue;

const LATER: UnixTime = UnixTime(NOW.0 + STORE_RETRY_S);

/// A medium is made as a file is, beside; then opened.
fn on(medium: &TestMedium, values_max: u64, bytes_max: u64) -> Result<ValueStore, StateError> {
    let path = Path::new("values.redb");
    if medium.is_empty() {
        make(&medium.open().unwrap(), &key()).unwrap();
    }
    ValueStore::open_on(Box::new(medium.clone()), path, network(), Quota { values: values_max, bytes: bytes_max })
}

fn key() -> StoreKey {
    StoreKey::from_bytes(&[0; 32])
}

fn put_op(value: &VerifiedValue) -> StoreOp {
    StoreOp::Put { value: value.clone(), expected: None }
}

fn put(store: &ValueStore, now: UnixTime, value: &VerifiedValue) -> StoreResult {
    store.apply(now, put_op(value))
}

fn get(store: &ValueStore, like: &VerifiedValue) -> StoreResult {
    get_at(store, like, NOW)
}

fn get_at(store: &ValueStore, like: &VerifiedValue, now: UnixTime) -> StoreResult {
    store.apply(now, StoreOp::Get { kind: like.kind(), location: like.location() })
}

fn room(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap()
}

fn found(value: &VerifiedValue) -> StoreResult {
    StoreResult::Value(Some(value.clone()))
}

fn page(store: &ValueStore) -> Vec<Holding> {
    let StoreResult::Places(page) = store.apply(NOW, StoreOp::Places { after: None, max: 99 }) else { unreachable!() };
    page
}

#[test]
fn values_outlive_the_process_and_the_file_is_its_users_alone() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("values.redb");
    // What a crash left while the file was made.
    std::fs::write(home.path().join(".values.redb.new"), b"half of a file").unwrap();
    let (signed, hashed) = (record(1, 5, 0, 4), chunk(7, 65_552, 3));
    let quota = Quota { values: 9, bytes: 99_999 };
    let open = || ValueStore::open(&path, network(), quota, &mut ChaCha20Rng::seed_from_u64(1));
    let store = open().unwrap();
    assert_eq!([put(&store, NOW, &signed), put(&store, NOW, &hashed)], [StoreResult::Kept, StoreResult::Kept]);
    assert!(matches!(open(), Err(StateError::Held(_))));
    drop(store);
    let again = open().unwrap();
    assert_eq!([get(&again, &signed), get(&again, &hashed)], [found(&signed), found(&hashed)]);
    assert_eq!((again.len(), again.bytes()), (2, room(RECORD_LEN + 65_552)));
    assert_eq!(page(&again), [Holding::from(&signed), Holding::from(&hashed)]);
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 1);
}

#[test]
fn a_full_store_replaces_its_own_and_frees_what_is_over_before_anything_else_goes() {
    let (held, newer, short) = (record(1, 5, 0, 4), record(1, 6, 0, 4), record(2, 1, 0, 1));
    for (values_max, bytes_max) in [(2, 99_999), (9, room(2 * RECORD_LEN))] {
        let store = on(&TestMedium::default(), values_max, bytes_max).unwrap();
        assert_eq!([put(&store, NOW, &held), put(&store, NOW, &short)], [StoreResult::Kept, StoreResult::Kept]);
        assert_eq!(put(&store, NOW, &newer), StoreResult::Kept);
        assert_eq!((store.len(), store.bytes()), (2, room(2 * RECORD_LEN)));
        let end = short.expiry().time();
        assert_eq!(put(&store, end, &record(3, 5, 0, 4)), StoreResult::Kept);
        assert_eq!((store.len(), store.bytes()), (2, room(2 * RECORD_LEN)));
        assert_eq!((get(&store, &newer), store.view(NOW).unwrap().since_start.unwrap().evicted), (found(&newer), 0));
    }
}

#[test]
fn one_batch_frees_so_many_values_and_a_put_frees_what_it_needs() {
    let count = STORE_EXPIRED_BATCH_MAX + 9;
    let over = expiry(1).time();
    let ops: Vec<StoreOp> = (0..count).map(|number| put_op(&chunk_of(number.to_be_bytes().to_vec(), 1))).collect();
    for (values_max, left) in [(room(count), 9 + 1), (8, 8)] {
        let medium = TestMedium::default();
        on(&medium, room(count), 99_999_999).unwrap().write_ops(NOW, &ops);
        let store = on(&medium, values_max, 99_999_999).unwrap();
        assert_eq!(store.len(), count);
        assert_eq!(put(&store, over, &record(1, 1, 0, 3)), StoreResult::Kept);
        assert_eq!(store.len(), left);
    }
}

fn grown(medium: &TestMedium) -> usize {
    medium.0.lock().unwrap().log.iter().filter(|one| matches!(one, backends::Change::Len(_))).count()
}

#[test]
fn a_batch_is_one_commit_and_a_repeat_is_none() {
    let medium = TestMedium::default();
    let store = on(&medium, 999, 9_999_999).unwrap();
    let syncs = || medium.0.lock().unwrap().log.iter().filter(|one| matches!(one, backends::Change::Sync)).count();
    let (one, grown_before) = (syncs(), grown(&medium));
    put(&store, NOW, &record(1, 1, 0, 4));
    assert_eq!(syncs() - one, 2 + grown(&medium) - grown_before);
    let values: Vec<StoreOp> = (2..=99).map(|author| put_op(&record(author, 1, 0, 4))).collect();
    let (before, grown_before) = (syncs(), grown(&medium));
    assert!(store.write_ops(NOW, &values).iter().all(|result| *result == StoreResult::Kept));
    // The roots are switched between two of them; each time that the file grows takes one more.
    assert_eq!(syncs() - before, 2 + grown(&medium) - grown_before);
    let before = medium.0.lock().unwrap().changes;
    assert!(store.write_ops(NOW, &values).iter().all(|result| *result == StoreResult::Kept));
    store.apply(NOW, StoreOp::Expire { now: NOW });
    assert_eq!(medium.0.lock().unwrap().changes, before);
}

#[test]
fn a_disk_that_takes_nothing_refuses_puts_is_read_and_takes_puts_again_later() {
    let (first, second) = (record(1, 5, 0, 4), chunk(7, 9_000, 4));
    for changes in 0..40 {
        let medium = TestMedium::default();
        let store = on(&medium, 9, 99_999).unwrap();
        assert_eq!(put(&store, NOW, &first), StoreResult::Kept);
        medium.fail_after(Some(changes));
        let result = put(&store, NOW, &second);
        let has_failed = result == StoreResult::Failed;
        assert!(has_failed || result == StoreResult::Kept, "{result:?}");
        assert_eq!(get(&store, &first), found(&first), "{changes}");
        if has_failed {
            medium.fail_after(Some(0));
            assert_eq!(put(&store, NOW, &second), StoreResult::Failed);
            assert_eq!(put(&store, LATER, &second), StoreResult::Failed);
            assert_eq!((get(&store, &first), page(&store)[0]), (found(&first), Holding::from(&first)));
            medium.fail_after(None);
            assert_eq!(put(&store, LATER, &second), StoreResult::Failed, "it is not tried at once");
        }
        medium.fail_after(None);
        let later = UnixTime(LATER.0 + STORE_RETRY_S);
        assert_eq!(put(&store, later, &second), StoreResult::Kept);
        drop(store);
        let again = on(&medium, 9, 99_999).unwrap();
        assert_eq!([get(&again, &first), get(&again, &second)], [found(&first), found(&second)]);
    }
}

// [DHT-W-017]
#[test]
fn a_disk_that_cannot_be_read_says_so_and_not_that_nothing_is_there() {
    let medium = TestMedium::default();
    let value = record(1, 5, 0, 4);
    put(&on(&medium, 9, 99_999).unwrap(), NOW, &value);
    let store = on(&medium, 9, 99_999).unwrap();
    medium.0.lock().unwrap().reads_fail = true;
    store.open_to_read(NOW, 0);
    assert_eq!(get(&store, &value), StoreResult::Failed);
    assert_eq!(put(&store, NOW, &value), StoreResult::Failed);
    medium.0.lock().unwrap().reads_fail = false;
    assert_eq!(get(&store, &value), StoreResult::Failed, "it is not tried at once");
    assert_eq!(get_at(&store, &value, LATER), found(&value));
    assert_eq!(put(&store, LATER, &value), StoreResult::Kept);
}

// [DHT-W-015]
#[test]
fn after_a_crash_at_any_write_every_acknowledged_value_is_there_and_whole() {
    let medium = TestMedium::default();
    let store = on(&medium, 99, 9_999_999).unwrap();
    let values: Vec<VerifiedValue> =
        (1..=6).flat_map(|number| [record(number, 1, 0, 4), chunk(number, 9_000, 4)]).collect();
    let made = medium.0.lock().unwrap().changes;
    let mut acknowledged = Vec::new();
    for value in &values {
        assert_eq!(put(&store, NOW, value), StoreResult::Kept);
        acknowledged.push(medium.0.lock().unwrap().changes);
    }
    let log = medium.0.lock().unwrap().log.clone();
    for cut in 0..=acknowledged[acknowledged.len() - 1] {
        let after = TestMedium::after(&log[..cut]);
        let store = match on(&after, 99, 9_999_999) {
            Ok(store) => store,
            Err(error) => {
                // A file is made beside: one that is only half made is never opened.
                assert!(cut < made, "{cut}: {error}");
                continue;
            }
        };
        for (value, since) in values.iter().zip(&acknowledged) {
            let result = get(&store, value);
            assert!(
                result == found(value) || (*since > cut && result == StoreResult::Value(None)),
                "{cut}: {result:?}"
            );
        }
        assert_eq!(store.len(), page(&store).len());
    }
}

// [DHT-R-016]
#[test]
fn what_the_disk_damaged_is_never_served_is_dropped_and_can_be_kept_again() {
    let (signed, hashed, whole) = (record(1, 5, 9, 4), chunk(7, 500, 3), record(3, 5, 8, 4));
    let in_value: [&[u8]; 2] = [&[9; 64], &[7; 64]];
    let rows = [&signed, &hashed].map(|value| Row::new(value, NOW).encode());
    let in_row: [&[u8]; 2] = [&rows[0], &rows[1]];
    for damage in [in_value, in_row] {
        let medium = TestMedium::default();
        let store = on(&medium, 9, 99_999).unwrap();
        for value in [&signed, &hashed, &whole] {
            put(&store, NOW, value);
        }
        drop(store);
        assert!(damage.iter().all(|bytes| medium.damage(bytes) > 0));
        let store = on(&medium, 9, 99_999).unwrap();
        for value in [&signed, &hashed] {
            assert_eq!(get(&store, value), StoreResult::Value(None));
        }
        store.apply(NOW, StoreOp::Expire { now: NOW });
        assert_eq!((store.damaged(), store.len(), store.bytes()), (2, 1, room(RECORD_LEN)));
        assert_eq!(page(&store), [Holding::from(&whole)]);
        for value in [&signed, &hashed] {
            assert_eq!((put(&store, NOW, value), get(&store, value)), (StoreResult::Kept, found(value)));
        }
        assert_eq!((store.len(), store.bytes()), (3, room(3 * RECORD_LEN)));
        // The end that a damaged row has left behind frees nothing else.
        let longer = chunk(7, 500, 5);
        put(&store, NOW, &longer);
        assert_eq!(put(&store, NOW, &hashed), StoreResult::KeptLonger { until: longer.expiry() });
        store.apply(hashed.expiry().time(), StoreOp::Expire { now: hashed.expiry().time() });
        assert_eq!(get(&store, &longer), found(&longer));
    }
}

#[test]
fn a_damaged_row_that_nobody_asked_for_is_dropped_when_its_time_is_over() {
    let medium = TestMedium::default();
    let value = record(1, 5, 9, 1);
    put(&on(&medium, 9, 99_999).unwrap(), NOW, &value);
    assert!(medium.damage(&Row::new(&value, NOW).encode()) > 0);
    let store = on(&medium, 9, 99_999).unwrap();
    let over = value.expiry().time();
    store.apply(over, StoreOp::Expire { now: over });
    assert_eq!((store.damaged(), store.len(), store.bytes()), (1, 0, 0));
}

#[test]
fn a_damaged_value_that_is_put_again_before_anybody_read_it_is_kept_anew() {
    let medium = TestMedium::default();
    let value = record(1, 5, 9, 4);
    put(&on(&medium, 9, 99_999).unwrap(), NOW, &value);
    medium.damage(&[9; 64]);
    let store = on(&medium, 9, 99_999).unwrap();
    assert_eq!((put(&store, NOW, &value), store.damaged()), (StoreResult::Kept, 1));
    assert_eq!(get(&store, &value), found(&value));
}

#[test]
fn no_more_damaged_values_wait_to_be_dropped_than_the_cap() {
    let store = on(&TestMedium::default(), 9, 99_999).unwrap();
    for number in 0..=u32::try_from(STORE_DAMAGED_MAX).unwrap() {
        let mut location = [0; 20];
        location[..4].copy_from_slice(&number.to_be_bytes());
        store.note_damaged((crate::wire::record::ValueKind::Signed, crate::keyspace::Id(location)));
    }
    assert_eq!(store.to_drop.lock().unwrap().len(), STORE_DAMAGED_MAX);
}

#[test]
fn a_repair_in_memory_has_a_cap() {
    use redb::StorageBackend as _;
    let overlay = medium::Overlay::new(TestMedium::default()).unwrap();
    let piece = vec![1; crate::limits::STORE_OVERLAY_BYTES_MAX];
    overlay.write(0, &piece).unwrap();
    assert!(overlay.write(u64::try_from(piece.len()).unwrap(), &[1]).is_err());
}

// [STATE-R-024]
#[test]
fn a_file_of_another_layout_or_damaged_beyond_repair_is_named_and_left_as_it_is() {
    let medium = TestMedium::default();
    drop(on(&medium, 9, 99_999).unwrap());
    let good = medium.bytes();
    let refused = |medium: &TestMedium| on(medium, 9, 99_999).map(drop).unwrap_err();
    let garbage = TestMedium::default();
    garbage.overwrite(b"not a file of values".repeat(999));
    let before = garbage.bytes();
    let error = refused(&garbage);
    assert!(matches!(error, StateError::Damaged(_)), "{error}");
    assert!(error.to_string().starts_with("values.redb: damaged; restore it from a copy, or move it away"));
    assert_eq!(garbage.bytes(), before);

    let database = builder_on(&medium);
    let transaction = database.begin_write().unwrap();
    transaction.open_table(ABOUT).unwrap().insert(LAYOUT_IS, LAYOUT + 1).unwrap();
    transaction.commit().unwrap();
    drop(database);
    assert!(matches!(refused(&medium), StateError::Layout(_)));
    medium.overwrite(good);
    drop(on(&medium, 9, 99_999).unwrap());

    let foreign = TestMedium::default();
    let database = builder_on(&foreign);
    let transaction = database.begin_write().unwrap();
    transaction.open_table(redb::TableDefinition::<u64, u64>::new("theirs")).unwrap();
    transaction.commit().unwrap();
    drop(database);
    let error = refused(&foreign);
    assert!(error.to_string().contains("written by another version of bauta"), "{error}");
}

fn builder_on(medium: &TestMedium) -> Database {
    medium.open().unwrap()
}

#[derive(Clone, Debug)]
enum Step {
    Put(VerifiedValue, Option<u64>),
    Get(VerifiedValue),
    Pass(u64),
    Expire(u64),
    Page(Option<VerifiedValue>, usize),
    Reopen,
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (any_value(), proptest::option::of(0..4_u64)).prop_map(|(value, expected)| Step::Put(value, expected)),
        3 => any_value().prop_map(Step::Get),
        1 => (0..EXPIRY_STEP_S).prop_map(Step::Pass),
        1 => (0..EXPIRY_STEP_S).prop_map(Step::Expire),
        2 => (proptest::option::of(any_value()), 0..5_usize).prop_map(|(after, max)| Step::Page(after, max)),
        1 => Just(Step::Reopen),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn the_store_on_disk_answers_as_the_one_in_memory(
        steps in proptest::collection::vec(any_step(), 0..48),
        (values_max, bytes_max) in (1..7_usize, 2_000..9_000_usize),
    ) {
        let medium = TestMedium::default();
        let (values, bytes) = (room(values_max), room(bytes_max));
        let mut disk = on(&medium, values, bytes).unwrap();
        let mut memory = MemoryStore::new(values_max, bytes_max);
        let mut now = NOW;
        for step in steps {
            let op = match step {
                Step::Put(value, expected) => StoreOp::Put { value, expected },
                Step::Get(like) => StoreOp::Get { kind: like.kind(), location: like.location() },
                Step::Page(after, max) => {
                    StoreOp::Places { after: after.map(|value| (value.kind(), value.location())), max }
                }
                Step::Expire(seconds) => {
                    now.0 += seconds;
                    StoreOp::Expire { now }
                }
                Step::Pass(seconds) => {
                    now.0 += seconds;
                    continue;
                }
                Step::Reopen => {
                    drop(disk);
                    disk = on(&medium, values, bytes).unwrap();
                    continue;
                }
            };
            prop_assert_eq!(disk.apply(now, op.clone()), memory.apply(now, op));
            prop_assert!(disk.len() <= values_max && disk.bytes() <= bytes);
        }
        disk.apply(now, StoreOp::Expire { now });
        memory.apply(now, StoreOp::Expire { now });
        prop_assert_eq!((disk.len(), disk.bytes()), (memory.len(), room(memory.bytes())));
    }
}

#[test]
fn the_number_of_a_chunk_is_its_expiry_and_stands_in_its_row_once() {
    let value = chunk(7, 500, 3);
    let row = Row::new(&value, NOW);
    assert_eq!(row.holding.seq, value.expiry().step());
    let bytes = row.encode();
    assert_eq!(bytes[..8], [0; 8]);
    assert_eq!(Row::decode(row.holding.place, &bytes), Some(row));
}
