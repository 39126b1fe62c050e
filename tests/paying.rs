//! A network whose storage is scarce: relays ask for work, and a client does it without being told to.
#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test crate")]

mod world;

use std::sync::{Arc, Mutex};

use bauta::cli::local::{Launched, Launching, LocalNetwork, LocalOptions};
use bauta::client::{Client, ClientOptions, GetOptions, PublishOptions, PutOptions};
use bauta::content::FileName;
use bauta::crypto::hash::blake3;
use bauta::dht::store::{MemoryStore, StoreOp, StoreResult};
use bauta::limits::{HOLDERS, LOCATIONS};
use bauta::net::{Runtime, spawn_node};
use bauta::node::RelayEvent;
use bauta::record::VerifiedValue;
use bauta::time::UnixTime;
use bauta::wire::network::Network;
use bauta::wire::record::{ChunkBytes, Expiry, Value};
use tokio::sync::{mpsc, watch};
use world::{author, locator, network, patiently};

const RELAYS: usize = 12;
const VALUES_MAX: usize = 100;
/// Of them, at the start: enough for the second step.
const VALUES: u8 = 90;

/// A store that is nearly full of what nobody will ask for.
fn nearly_full(network: &Network, now: UnixTime) -> MemoryStore {
    let mut store = MemoryStore::new(VALUES_MAX, 1 << 30);
    for number in 0..VALUES {
        let bytes = vec![number; 100];
        let expiry = Expiry::at_least(UnixTime(now.0 + 86_400));
        let chunk = ChunkBytes { hash: blake3(&[&bytes]), index: 0, expiry, bytes };
        let value = VerifiedValue::check(network, Value::Hashed(chunk), now).unwrap();
        assert_eq!(store.apply(now, StoreOp::Put { value, expected: None }), StoreResult::Kept);
    }
    store
}

/// Descriptors that relays have issued, each in its place.
type Issued = watch::Sender<Vec<usize>>;

/// Starts a relay before a nearly full store, and counts its descriptors.
fn launch(issued: &Arc<Issued>, Launching { runtime, index, relay, shell, store }: Launching) -> Launched {
    *store.lock().unwrap() = nearly_full(&network(91), runtime.clock().now().unix);
    let apply = {
        let store: Arc<Mutex<MemoryStore>> = store;
        Box::new(move |now, op| store.lock().unwrap().apply(now, op))
    };
    let started: Launched = spawn_node(Arc::clone(&runtime), relay, shell, apply).into();
    let (mut from, (to, events)) = (started.events, mpsc::channel(64));
    let issued = Arc::clone(issued);
    tokio::runtime::Handle::current().spawn(async move {
        while let Some(event) = from.recv().await {
            if matches!(event, RelayEvent::Issued(_)) {
                issued.send_modify(|all| all[index] += 1);
            }
            if to.send(event).await.is_err() {
                return;
            }
        }
    });
    Launched { events, control: started.control }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_pays_where_relays_ask_for_work_for_records_and_chunks_and_has_all_its_receipts() {
    let runtime = Runtime::start().unwrap();
    let issued = Arc::new(watch::channel(vec![0; RELAYS]).0);
    let mut options = LocalOptions::new(network(91), RELAYS, 91);
    let telling = Arc::clone(&issued);
    options.launch = Some(Arc::new(move |launching| launch(&telling, launching)));
    let mut relays = LocalNetwork::start(&runtime, &options).await.unwrap();
    patiently(relays.ready()).await;
    // The first is that of the start; with the second each asks for the second step.
    patiently(issued.subscribe().wait_for(|all| all.iter().all(|count| *count >= 2))).await.unwrap();

    let states = tempfile::tempdir().unwrap();
    let client = |number: u8| {
        let state = states.path().join(number.to_string());
        let mut options = ClientOptions::new(relays.network, relays.bootstraps(), state);
        (options.rule, options.bind_ip) = (relays.rule, relays.client_ip(number));
        Client::start(&runtime, options).unwrap()
    };
    let stored = client(1).put_record(&author(1), b"label", b"paid for", PutOptions::default()).await.unwrap();
    assert_eq!(stored.copies, vec![HOLDERS; LOCATIONS]);
    let got = client(2).get_record(&locator(1, b"label"), GetOptions::default()).await.unwrap();
    assert_eq!(got.payload, b"paid for");

    // Chunks in batches of four, each chunk with a puzzle of its own.
    let content = vec![7; 5_000];
    let name = FileName::new("paid").unwrap();
    let (writer, reader) = (client(3), client(4));
    let published = patiently(writer.publish(&name, content.clone(), PublishOptions::default(), |_| ())).await.unwrap();
    let got = patiently(reader.get(&published.link, GetOptions::default(), |_| ())).await.unwrap();
    assert!(got.bytes == content);
}
