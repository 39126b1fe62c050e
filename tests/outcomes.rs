//! No operation hangs: whatever is dead, silent or lying, each ends inside its deadline with the outcome that it should have,
//! and never by a shorter path.
#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test crate")]

mod world;

use std::time::Duration;

use bauta::cli::local::LocalOptions;
use bauta::client::{Client, ClientError, ClientOptions, Ending, Found, GetOptions, PublishOptions, PutOptions};
use bauta::content::FileName;
use bauta::crypto::keys::DhKey;
use bauta::keyspace::Id;
use bauta::limits::{CHUNK_LEN, HOLDERS, LOCATIONS, OPERATION_TIMEOUT, SIGNERS, SIGNERS_LEFT_MIN, STAGGER_MAX};
use bauta::net::Runtime;
use bauta::record::Locator;
use bauta::request::Refused;
use bauta::wire::address::Address;
use bauta::wire::cell::Command;
use bauta::wire::contact::Contact;
use bauta::wire::network::Network;
use world::{Behaviour, World, author, locator, network, patiently, refused, until};

/// For operations that cannot succeed: their own deadline ends them.
const HURRIED: GetOptions =
    GetOptions { consistency: bauta::request::Consistency::Quorum, seq_min: 0, timeout: Some(Duration::from_secs(6)) };

/// Ends inside the deadline of every operation, and some for a loaded machine.
async fn in_time<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(OPERATION_TIMEOUT + Duration::from_secs(10), future).await.expect("it hung")
}

async fn get(client: &Client, locator: &Locator) -> Result<Found, ClientError> {
    in_time(client.get_record(locator, GetOptions::default())).await
}

async fn put(client: &Client, number: u8, label: &[u8], payload: &[u8], previous: Option<u64>) -> u64 {
    let options = PutOptions { previous, ..PutOptions::default() };
    in_time(client.put_record(&author(number), label, payload, options)).await.unwrap().seq
}

// ---- nobody there ----

#[tokio::test(flavor = "multi_thread")]
async fn with_no_bootstrap_running_every_operation_is_unreachable_at_once() {
    let mut world = World::starting(LocalOptions::new(network(20), 3, 20)).await;
    world.stop_all_but(&[]).await;
    every_operation_is_unreachable(&world.client(1)).await;
    assert_eq!(world.ear.sent_by(world.network.client_ip(1).unwrap(), Command::Build), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn bootstraps_that_take_the_connection_and_say_nothing_are_unreachable() {
    let runtime = Runtime::start().unwrap();
    let state = tempfile::tempdir().unwrap();
    let mut listeners = Vec::new();
    let mut bootstraps = Vec::new();
    for number in 1..=3 {
        let listener = tokio::net::TcpListener::bind((std::net::Ipv4Addr::new(127, 240, 0, number), 0)).await.unwrap();
        let address = Address(listener.local_addr().unwrap());
        bootstraps.push(Contact { id: Id([number; 20]), link_key: DhKey([number; 32]), address });
        listeners.push(listener);
    }
    let options = ClientOptions::new(network(21), bootstraps, state.path().join("state"));
    every_operation_is_unreachable(&Client::start(&runtime, options).unwrap()).await;
}

async fn every_operation_is_unreachable(client: &Client) {
    let (name, author, locator) = (FileName::new("file").unwrap(), author(20), locator(20, b""));
    let (getter, putter, publisher) = (client.clone(), client.clone(), client.clone());
    let (got, put, published) = in_time(async {
        tokio::join!(
            getter.get_record(&locator, GetOptions::default()),
            putter.put_record(&author, b"", b"x", PutOptions::default()),
            publisher.publish(&name, vec![1; CHUNK_LEN], PublishOptions::default(), |_| ()),
        )
    })
    .await;
    assert_eq!(refused(got), Refused::Unreachable);
    assert_eq!(refused(put), Refused::Unreachable);
    assert_eq!(refused(published), Refused::Unreachable);
    assert!(client.paths().is_empty(), "no path was built, not even a short one");
}

// ---- guards ----

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_guard_is_followed_by_the_next_of_the_sample_and_returned_to_once_it_is_back() {
    let mut world = World::start(22, 16).await;
    let client = world.client(1);
    put(&client, 22, b"", b"value", None).await;
    let first = client.guard().await.unwrap();
    let sample = client.guard_sample();
    assert_eq!((sample.len(), sample[0]), (3, first));

    world.network.stop(world.index_of(&first)).await;
    assert_eq!(get(&client, &locator(22, b"")).await.unwrap().payload, b"value");
    assert_eq!(client.guards_used(), sample[..2], "the second of the sample, and nobody else");
    world.check_paths(&client);
    client.stop();

    // The next process of this client asks the first guard first, although it is marked as down.
    world.network.restart(&world.runtime.clone(), world.index_of(&first)).await.unwrap();
    let again = world.client(1);
    assert_eq!(again.guard_sample(), sample);
    assert_eq!(get(&again, &locator(22, b"")).await.unwrap().payload, b"value");
    until(|| again.guards_used().last() == Some(&first)).await;
}

// [REQ-W-023] [MEMB-W-046]
#[tokio::test(flavor = "multi_thread")]
async fn with_the_whole_guard_sample_dead_nobody_else_is_entered_through() {
    let mut world = World::start(23, 16).await;
    let client = world.client(1);
    put(&client, 23, b"", b"value", None).await;
    let sample = client.guard_sample();
    for guard in &sample {
        world.network.stop(world.index_of(guard)).await;
    }
    let ip = world.network.client_ip(1).unwrap();
    world.ear.take(ip);
    assert_eq!(refused(get(&client, &locator(23, b"")).await), Refused::Unreachable);
    assert_eq!(world.ear.sent_by(ip, Command::Build), 0);
    assert!(client.guards_used().iter().all(|guard| sample.contains(guard)));
    assert_eq!(client.guard_sample(), sample);
}

// ---- relays dead or silent ----

#[tokio::test(flavor = "multi_thread")]
async fn with_nobody_alive_but_the_guard_the_network_is_unreachable() {
    let mut world = World::start(24, 16).await;
    let client = world.client(1);
    put(&client, 24, b"", b"value", None).await;
    let guard = world.index_of(&client.guard().await.unwrap());
    world.stop_all_but(&[guard]).await;
    for label in [&b""[..], b"never"] {
        let got = in_time(client.get_record(&locator(24, label), HURRIED)).await;
        assert_eq!(refused(got), Refused::Unreachable);
    }
}

// [EVID-R-010] [EVID-R-012]
#[tokio::test(flavor = "multi_thread")]
async fn what_too_few_of_the_closest_are_left_to_deny_is_unreachable_and_never_not_found() {
    let mut world = World::start(25, 24).await;
    let client = world.client(1);
    for label in 0..8 {
        put(&client, 25, &[label], b"value", None).await;
    }
    let guard = world.index_of(&client.guard().await.unwrap());
    let mut alive: Vec<usize> = client.paths().iter().map(|path| world.index_of_contact(&path[1])).collect();
    alive.push(guard);
    alive.sort_unstable();
    alive.dedup();
    assert!(alive.len() >= 3, "{alive:?}");
    let is_lost = |locator: &Locator| {
        locator.locations().iter().all(|location| {
            let mut by_distance: Vec<usize> = (0..world.network.relays.len()).collect();
            by_distance.sort_by_key(|at| world.network.relays[*at].contact.id.distance(location));
            by_distance.iter().take(SIGNERS).filter(|at| alive.contains(at)).count() < SIGNERS_LEFT_MIN
        })
    };
    let never = (0..=255).map(|label| locator(26, &[label])).find(is_lost).unwrap();
    assert_eq!(refused(get(&client, &never).await), Refused::NotFound, "all are alive yet");
    world.stop_all_but(&alive).await;
    assert_eq!(refused(in_time(client.get_record(&never, HURRIED)).await), Refused::Unreachable);
}

#[tokio::test(flavor = "multi_thread")]
async fn with_all_storers_silent_nothing_is_found_and_nothing_is_denied() {
    let world = World::start(27, 16).await;
    let client = world.client(1);
    put(&client, 27, b"", b"value", None).await;
    world.behaviours.set_all(Behaviour::SilentStorer);
    let (there, never) = (locator(27, b""), locator(27, b"never"));
    let (found, missing) =
        in_time(async { tokio::join!(client.get_record(&there, HURRIED), client.get_record(&never, HURRIED)) }).await;
    // An exit may itself be a holder: then there is a value, and no witness for it.
    assert!(matches!(found, Ok(Found { attested: false, .. }) | Err(ClientError::Refused(Refused::Unreachable, _))));
    assert_eq!(refused(missing), Refused::Unreachable);
}

// ---- every third relay misbehaves ----

/// Two records, one of them updated, and a file of two chunks are there; then every third relay misbehaves.
async fn reads_succeed_although_every_third_is(behaviour: Behaviour, seed: u64) {
    let world = World::start(seed, 24).await;
    let (writer, reader) = (world.client(1), world.client(2));
    put(&writer, 30, b"one", b"first", None).await;
    let old = put(&writer, 30, b"two", b"old", None).await;
    let new = put(&writer, 30, b"two", b"new", Some(old)).await;
    let content: Vec<u8> = (0..CHUNK_LEN + 9).map(|at| u8::try_from(at % 253).unwrap()).collect();
    let name = FileName::new("file").unwrap();
    let published = in_time(writer.publish(&name, content.clone(), PublishOptions::default(), |_| ())).await.unwrap();
    for index in (0..24).step_by(3) {
        world.behaviours.set(index, behaviour);
    }

    let (one, two, never) = (locator(30, b"one"), locator(30, b"two"), locator(30, b"never"));
    let (one, two, file, never) = patiently(async {
        tokio::join!(
            reader.get_record(&one, GetOptions::default()),
            reader.get_record(&two, GetOptions::default()),
            reader.get(&published.link, GetOptions::default(), |_| ()),
            reader.get_record(&never, GetOptions::default()),
        )
    })
    .await;
    assert_eq!(one.unwrap().payload, b"first");
    let two = two.unwrap();
    assert_eq!((&two.payload[..], two.seq), (&b"new"[..], new));
    assert!(file.unwrap().bytes == content);
    assert!(matches!(refused(never), Refused::NotFound | Refused::Unreachable));
    world.check_paths(&reader);
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_succeed_although_every_third_storer_is_silent() {
    reads_succeed_although_every_third_is(Behaviour::SilentStorer, 30).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_succeed_although_every_third_storer_forges_what_it_gives_out() {
    reads_succeed_although_every_third_is(Behaviour::ForgingStorer, 31).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_succeed_although_every_third_storer_signs_that_it_has_nothing() {
    reads_succeed_although_every_third_is(Behaviour::LyingStorer, 32).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_bring_the_newest_although_every_third_storer_serves_what_is_old() {
    reads_succeed_although_every_third_is(Behaviour::StaleStorer, 33).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_succeed_although_every_third_storer_sends_without_end() {
    reads_succeed_although_every_third_is(Behaviour::EndlessStorer, 34).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_succeed_although_every_third_storer_refuses() {
    reads_succeed_although_every_third_is(Behaviour::RefusingStorer, 35).await;
}

// [EVID-R-014]
#[tokio::test(flavor = "multi_thread")]
async fn an_exit_that_withholds_the_newer_value_is_caught_by_the_storers_own_words() {
    let world = World::start(36, 16).await;
    let client = world.client(1);
    let labels: Vec<[u8; 1]> = (0..3).map(|label| [label]).collect();
    let mut newest = Vec::new();
    for label in &labels {
        let old = put(&client, 36, label, b"old", None).await;
        newest.push(put(&client, 36, label, b"new", Some(old)).await);
    }
    world.behaviours.set_all(Behaviour::WithholdingExit);
    // Who wrote it remembers the number; somebody else does not.
    let reader = world.client(2);
    for (label, newest) in labels.iter().zip(newest) {
        let found = get(&reader, &locator(36, label)).await.unwrap();
        assert!(found.payload == b"old" && !found.attested, "an older value passed as the newest");
        assert!(matches!(refused(get(&client, &locator(36, label)).await), Refused::Older { .. }));
        let options = GetOptions { seq_min: newest, ..HURRIED };
        let older = in_time(reader.get_record(&locator(36, label), options)).await;
        assert!(matches!(refused(older), Refused::Unreachable | Refused::Older { .. }));
    }

    // With honest exits among them another one is asked, and brings it.
    for index in 0..16 {
        if index % 3 > 0 {
            world.behaviours.set(index, Behaviour::Honest);
        }
    }
    let found = get(&reader, &locator(36, &labels[0])).await.unwrap();
    assert!(found.payload == b"new" || !found.attested);
}

// ---- the floor ----

// [REQ-W-023] [MEMB-W-063]
#[tokio::test(flavor = "multi_thread")]
async fn too_few_networks_are_refused_and_nothing_is_sent() {
    let options = LocalOptions { relays_per_net: 8, ..LocalOptions::new(network(40), 16, 40) };
    let world = World::with(options).await;
    let client = world.client(1);
    let got = get(&client, &locator(40, b"")).await;
    assert!(matches!(refused(got), Refused::PrivacyFloor(_)));
    let put = in_time(client.put_record(&author(40), b"", b"x", PutOptions::default())).await;
    assert!(matches!(refused(put), Refused::PrivacyFloor(_)));
    let name = FileName::new("file").unwrap();
    let published = in_time(client.publish(&name, vec![1; CHUNK_LEN], PublishOptions::default(), |_| ())).await;
    assert!(matches!(refused(published), Refused::PrivacyFloor(_)));
    assert!(client.paths().is_empty());
    assert_eq!(world.ear.sent_by(world.network.client_ip(1).unwrap(), Command::Build), 0);
}

// [ONION-W-028] [MEMB-W-059] [MEMB-W-063]
#[tokio::test(flavor = "multi_thread")]
async fn a_client_of_fewer_than_three_hops_does_not_start_and_one_of_five_builds_five() {
    let world = World::start(41, 12).await;
    for hops in [0, 1, 2, 6] {
        let options = ClientOptions { hops, ..world.client_options(1) };
        assert!(matches!(Client::start(&world.runtime, options), Err(ClientError::Hops(_))), "{hops} hops");
    }
    let options = ClientOptions { hops: 5, ..world.client_options(1) };
    let client = Client::start(&world.runtime, options).unwrap();
    put(&client, 41, b"", b"value", None).await;
    assert!(client.paths().iter().all(|path| path.len() == 5));
}

// [MEMB-W-066]
#[tokio::test(flavor = "multi_thread")]
async fn a_client_of_a_network_whose_identities_have_a_price_does_not_start_from_a_private_address() {
    let world = World::start(42, 12).await;
    let options = world.client_options(1);
    let network = Network { difficulty: 1, ..options.network };
    let first = options.bootstraps[0].address.0;
    let started = Client::start(&world.runtime, ClientOptions { network, ..options });
    assert!(matches!(&started, Err(ClientError::Bootstrap(named)) if *named == first));
    assert_eq!(started.err().unwrap().ending(), Ending::Usage);
}

// [REQ-W-016]
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_staggers_by_more_than_the_most_does_not_start_and_one_that_does_not_stagger_gets() {
    let world = World::start(43, 12).await;
    let stagger = STAGGER_MAX + Duration::from_micros(1);
    let options = ClientOptions { stagger, ..world.client_options(1) };
    assert!(matches!(Client::start(&world.runtime, options), Err(ClientError::Stagger(refused)) if refused == stagger));
    let options = ClientOptions { stagger: Duration::ZERO, ..world.client_options(1) };
    let client = Client::start(&world.runtime, options).unwrap();
    put(&client, 43, b"", b"value", None).await;
}

// ---- values ----

// [VAL-W-008] [REQ-R-031] [REQ-W-032] [DHT-W-026]
#[tokio::test(flavor = "multi_thread")]
async fn a_put_swaps_only_what_it_names_and_a_get_takes_nothing_older_than_it_names() {
    let world = World::start(42, 16).await;
    let (one, other) = (world.client(1), world.client(2));
    let first = put(&one, 42, b"", b"first", None).await;
    let second = put(&one, 42, b"", b"second", Some(first)).await;
    assert!(second > first);
    for previous in [None, Some(first), Some(second - 1)] {
        let options = PutOptions { previous, ..PutOptions::default() };
        let swapped = in_time(other.put_record(&author(42), b"", b"third", options)).await;
        assert_eq!(refused(swapped), Refused::Conflict { seq: second }, "{previous:?}");
    }
    // Nor is a refused value left with anybody else: it would be the newest.
    let found = get(&other, &locator(42, b"")).await.unwrap();
    assert_eq!((&found.payload[..], found.seq, found.attested), (&b"second"[..], second, true));
    let copies: usize = world.network.relays.iter().map(bauta::cli::local::LocalRelay::values).sum();
    assert_eq!(copies, LOCATIONS * HOLDERS);

    let same = GetOptions { seq_min: second, ..GetOptions::default() };
    assert_eq!(in_time(other.get_record(&locator(42, b""), same)).await.unwrap().seq, second);
    let later = GetOptions { seq_min: second + 1, ..GetOptions::default() };
    let older = in_time(other.get_record(&locator(42, b""), later)).await;
    assert_eq!(refused(older), Refused::Older { seq: second });
}

// [REQ-W-025]
#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_call_ends_its_circuits_and_the_client_goes_on() {
    let world = World::start(43, 12).await;
    let client = world.client(1);
    put(&client, 43, b"", b"value", None).await;
    let ip = world.network.client_ip(1).unwrap();
    let name = FileName::new("file").unwrap();
    world.behaviours.set_all(Behaviour::MuteExit);
    for _ in 0..3 {
        world.ear.take(ip);
        let value = locator(43, b"");
        let mut call = Box::pin(async {
            tokio::join!(
                client.get_record(&value, GetOptions::default()),
                client.publish(&name, vec![1; 9 * CHUNK_LEN], PublishOptions::default(), |_| ()),
            )
        });
        let built = || world.ear.sent_by(ip, Command::Build);
        tokio::select! {
            _ = &mut call => panic!("no exit answers"),
            () = until(|| built() >= 6) => {}
        }
        drop(call);
        until(|| world.ear.sent_by(ip, Command::Destroy) >= built()).await;
    }
    world.behaviours.set_all(Behaviour::Honest);
    assert_eq!(get(&client, &locator(43, b"")).await.unwrap().payload, b"value");
}
