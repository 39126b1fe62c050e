//! Repair over real sockets: holders that leave are replaced, who joins is handed what is his. Times are shortened; what is waited
//! for are events.
#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test crate")]

mod world;

use std::sync::PoisonError;
use std::time::Duration;

use bauta::cli::local::LocalOptions;
use bauta::client::{ClientError, GetOptions, PutOptions};
use bauta::dht::repair::RepairTiming;
use bauta::keyspace::Location;
use bauta::limits::HOLDERS;
use world::{World, author, locator, network, patiently, until};

const RECORDS: u8 = 6;

fn shortened(seed: u64, relays: usize) -> LocalOptions {
    let millis = Duration::from_millis;
    let repair = RepairTiming {
        step: millis(300),
        hint_after: millis(300),
        retry: millis(1_500),
        backoff: millis(100),
        gone_after: millis(1_000),
        gone_retry: millis(1_000),
        redial: millis(300),
        neighbours: millis(300),
        told_every: millis(1_000),
        ..RepairTiming::default()
    };
    LocalOptions { repair, ..LocalOptions::new(network(seed), relays, seed) }
}

fn locations() -> Vec<Location> {
    (0..RECORDS).flat_map(|number| locator(number, b"kept").locations()).collect()
}

/// Relays that hold a value at this location, running or not.
fn holders(world: &World, location: &Location) -> Vec<usize> {
    let holds = |index: &usize| {
        let store = world.network.relays[*index].store.lock().unwrap_or_else(PoisonError::into_inner);
        store.iter().any(|value| value.location() == *location)
    };
    (0..world.network.relays.len()).filter(holds).collect()
}

/// The nearest running relays to a location.
fn nearest(world: &World, location: &Location) -> Vec<usize> {
    let mut running: Vec<usize> =
        (0..world.network.relays.len()).filter(|index| world.network.relays[*index].is_running()).collect();
    running.sort_by_key(|index| world.network.relays[*index].contact.id.distance(location));
    running.truncate(HOLDERS);
    running
}

fn is_repaired(world: &World) -> bool {
    locations().iter().all(|location| {
        let holders = holders(world, location);
        nearest(world, location).iter().all(|index| holders.contains(index))
    })
}

async fn put_all(world: &World) {
    let client = world.client(1);
    for number in 0..RECORDS {
        let payload = [number; 9];
        patiently(client.put_record(&author(number), b"kept", &payload, PutOptions::default())).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn when_every_first_holder_has_left_one_by_one_all_records_are_still_read() {
    let mut world = World::with(shortened(90, 16)).await;
    put_all(&world).await;
    let kept = &locations()[0];
    let first = holders(&world, kept);
    for index in first.iter().copied().filter(|index| *index > 2) {
        world.network.stop(index).await;
        until(|| is_repaired(&world)).await;
    }
    let still: Vec<usize> = holders(&world, kept);
    assert!(still.iter().filter(|index| world.network.relays[**index].is_running()).count() >= HOLDERS);
    let reader = world.client(2);
    for number in 0..RECORDS {
        let got = patiently(reader.get_record(&locator(number, b"kept"), GetOptions::default())).await.unwrap();
        assert_eq!(got.payload, [number; 9]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_was_away_is_handed_what_was_stored_meanwhile() {
    let mut world = World::with(shortened(91, 14)).await;
    let away = nearest(&world, &locations()[0]).into_iter().find(|index| *index > 2).unwrap();
    world.network.stop(away).await;
    put_all(&world).await;
    let missing = |world: &World| {
        let near = locations().into_iter().filter(|location| nearest(world, location).contains(&away));
        near.filter(|location| !holders(world, location).contains(&away)).count()
    };
    let runtime = world.runtime.clone();
    world.network.restart(&runtime, away).await.unwrap();
    assert!(missing(&world) > 0);
    until(|| is_repaired(&world)).await;
    assert_eq!(missing(&world), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_wins_over_a_holder_that_comes_back_with_the_old_value_and_a_put_after_it_is_read() {
    let mut world = World::with(shortened(92, 14)).await;
    let (client, locator) = (world.client(1), locator(0, b"kept"));
    let place = locator.locations()[0];
    let put = |payload: &'static [u8], previous| {
        let client = client.clone();
        let options = PutOptions { previous, ..PutOptions::default() };
        async move { patiently(client.put_record(&author(0), b"kept", payload, options)).await.unwrap() }
    };
    let first = put(b"first", None).await;
    let away = nearest(&world, &place).into_iter().find(|index| *index > 2).unwrap();
    world.network.stop(away).await;
    let options = PutOptions { previous: Some(first.seq), lifetime: Duration::from_secs(1), ..PutOptions::default() };
    let deleted = patiently(client.delete(&author(0), b"kept", options)).await.unwrap();
    let held = |world: &World, index: usize| {
        let store = world.network.relays[index].store.lock().unwrap_or_else(PoisonError::into_inner);
        store.iter().find(|value| value.location() == place).map(|value| (value.seq(), value.expiry()))
    };
    let old = held(&world, away).unwrap();
    let runtime = world.runtime.clone();
    world.network.restart(&runtime, away).await.unwrap();
    until(|| held(&world, away).is_some_and(|(seq, _)| seq > old.0)).await;
    assert_eq!(held(&world, away).unwrap().1, old.1, "a deletion ends with what it deletes, and not before");
    // Of readers that have not seen anything before, neither.
    let reader = world.client(2);
    match patiently(reader.get_record(&locator, GetOptions::default())).await {
        Err(ClientError::Deleted { seq, .. }) => assert_eq!(seq, deleted.seq),
        other => panic!("{other:?}"),
    }
    let again = put(b"again", patiently(reader.current_seq(&locator, GetOptions::default())).await.unwrap()).await;
    let got = patiently(reader.get_record(&locator, GetOptions::default())).await.unwrap();
    assert_eq!((got.payload, got.seq), (b"again".to_vec(), again.seq));
}
