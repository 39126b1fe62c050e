//! Content of any length over a whole network: streams, ranges, folders, losses that parity makes good, what goes on after an
//! interruption.
#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test crate")]

mod world;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use bauta::client::{
    BatchNo, Carrier, Client, GetOptions, Journal, Part, PublishOptions, PutOptions, Sealing, Source, store,
};
use bauta::content::{ContentKind, FileName, Layout};
use bauta::crypto::hash::blake3;
use bauta::crypto::keys::IdentitySecret;
use bauta::limits::{CHUNK_HOLDERS, CHUNK_LEN, EXPIRY_STEP_S, TRANSFER_CIRCUITS_MAX};
use bauta::request::{Refused, SealedChunk};
use bauta::time::{Duration, UnixTime};
use bauta::wire::record::{ChunkName, Expiry};
use rand::SeedableRng;
use rand::rngs::ChaCha20Rng;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use world::{Behaviour, World, patiently, refused};

fn content(len: usize) -> Vec<u8> {
    (0..len).map(|at| u8::try_from((at + at / CHUNK_LEN) % 251).unwrap()).collect()
}

fn name() -> FileName {
    FileName::new("a file").unwrap()
}

async fn publish(client: &Client, content: &[u8]) -> bauta::client::Published {
    patiently(client.publish(&name(), content.to_vec(), PublishOptions::default(), |_| ())).await.unwrap()
}

// [REQ-W-006] [REQ-W-010]
#[tokio::test(flavor = "multi_thread")]
async fn content_of_two_groups_and_two_levels_comes_back_whole_by_ranges_and_as_a_stream() {
    let world = World::start(91, 16).await;
    let (writer, reader) = (world.client(1), world.client(2));
    let content = content(70 * CHUNK_LEN + 5);
    let published = publish(&writer, &content).await;
    let len = u64::try_from(content.len()).unwrap();
    assert_eq!((published.len, published.chunks), (len, Layout::of(len).unwrap().chunks()));
    let held: usize = world.network.relays.iter().map(bauta::cli::local::LocalRelay::values).sum();
    assert_eq!(held, CHUNK_HOLDERS * usize::try_from(published.chunks).unwrap() + 15, "each chunk twice, and the root");

    let opened = patiently(reader.open(&published.link, GetOptions::default())).await.unwrap();
    assert_eq!((opened.name(), opened.kind(), opened.len()), (&name(), ContentKind::File, len));
    let mut all = Vec::new();
    patiently(async { opened.reader(0..len).await.unwrap().read_to_end(&mut all).await }).await.unwrap();
    assert!(all == content);
    let chunk = u64::try_from(CHUNK_LEN).unwrap();
    for (start, end) in [(0, 1), (len - 1, len), (33 * chunk - 1, 33 * chunk + 1), (len, len + 9), (len - 3, u64::MAX)]
    {
        let mut some = Vec::new();
        patiently(async { opened.reader(start..end).await.unwrap().read_to_end(&mut some).await }).await.unwrap();
        let at = |offset: u64| usize::try_from(offset.min(len)).unwrap();
        assert!(some == content[at(start)..at(end)], "{start}..{end}");
    }
    world.check_paths(&reader);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_writer_is_given_can_be_got_and_a_writer_that_is_dropped_publishes_nothing() {
    let world = World::start(92, 16).await;
    let client = world.client(1);
    let author = IdentitySecret::from_bytes(&[92; 32]);
    let options = PublishOptions { author: Some(author), ..PublishOptions::default() };
    let content = content(3 * CHUNK_LEN);
    let steps = Arc::new(AtomicU64::new(0));
    let writer = |steps: &Arc<AtomicU64>| {
        let steps = Arc::clone(steps);
        let progress = Arc::new(move |step: bauta::client::Progress| steps.store(step.done, Ordering::Relaxed));
        client.writer(name(), ContentKind::File, options.clone(), progress)
    };
    let mut given_up = writer(&Arc::default());
    patiently(given_up.write_all(&content)).await.unwrap();
    drop(given_up);
    let mut writer = writer(&steps);
    for part in content.chunks(1_000) {
        patiently(writer.write_all(part)).await.unwrap();
    }
    let published = patiently(writer.finish()).await.unwrap();
    assert_eq!(steps.load(Ordering::Relaxed), published.chunks);
    let got = patiently(client.get(&published.link, GetOptions::default(), |_| ())).await.unwrap();
    assert!(got.bytes == content);
}

#[tokio::test(flavor = "multi_thread")]
async fn content_comes_back_although_a_third_of_the_relays_have_stopped() {
    let mut world = World::start(93, 24).await;
    let (writer, reader) = (world.client(1), world.client(2));
    let content = content(20 * CHUNK_LEN);
    let published = publish(&writer, &content).await;
    let guard = patiently(reader.guard()).await.unwrap();
    let spared = world.index_of(&guard);
    for index in (3..24).step_by(3).filter(|index| *index != spared) {
        world.network.stop(index).await;
    }
    let got = patiently(reader.get(&published.link, GetOptions::default(), |_| ())).await.unwrap();
    assert!(got.bytes == content);
}

/// Remembers batches, and how many were told to it.
#[derive(Default)]
struct Remembered {
    rows: BTreeMap<BatchNo, [u8; 32]>,
    told: usize,
    stop_after: Option<(usize, Arc<tokio::sync::Notify>)>,
}

impl Journal for Remembered {
    fn is_stored(&self, batch: BatchNo, digest: &[u8; 32]) -> bool {
        self.rows.get(&batch) == Some(digest)
    }

    fn stored(&mut self, batch: BatchNo, digest: [u8; 32]) -> std::io::Result<()> {
        self.rows.insert(batch, digest);
        self.told += 1;
        if let Some((count, stop)) = &self.stop_after
            && self.told == *count
        {
            stop.notify_one();
        }
        Ok(())
    }
}

fn source(content: &[u8]) -> Source<std::io::Cursor<Vec<u8>>> {
    let len = u64::try_from(content.len()).ok();
    Source { name: name(), kind: ContentKind::File, bytes: std::io::Cursor::new(content.to_vec()), len }
}

// [CONT-W-022]
#[tokio::test(flavor = "multi_thread")]
async fn a_publication_that_was_interrupted_sends_what_is_missing_and_what_has_changed_and_nothing_else() {
    let world = World::start(95, 16).await;
    let client = world.client(1);
    let mut rng = ChaCha20Rng::seed_from_u64(95);
    let now = UnixTime(std::time::UNIX_EPOCH.elapsed().unwrap().as_secs());
    let sealing = Sealing::fresh(None, Duration::from_secs(86_400), now, &mut rng);
    let mut content = content(40 * CHUNK_LEN);
    let stop = Arc::new(tokio::sync::Notify::new());
    let mut journal = Remembered { stop_after: Some((7, Arc::clone(&stop))), ..Remembered::default() };
    patiently(async {
        tokio::select! {
            _ = store(&client, source(&content), &sealing, &mut journal, &|_| ()) => panic!("it has more than seven batches"),
            () = stop.notified() => {}
        }
    })
    .await;
    let before = journal.rows.len();
    assert!((7..=7 + TRANSFER_CIRCUITS_MAX).contains(&before), "{before}");

    // One byte of the first chunk: with it all parity of its group changes, and no other chunk of content.
    content[10] ^= 1;
    journal = Remembered { rows: journal.rows, ..Remembered::default() };
    let prepared = patiently(store(&client, source(&content), &sealing, &mut journal, &|_| ())).await.unwrap();
    let batches = prepared.chunks.div_ceil(4);
    let again = u64::try_from(journal.told).unwrap();
    assert!(again < batches && again >= batches - u64::try_from(before).unwrap(), "{again} of {batches}");
    let published = patiently(prepared.publish(&client, &sealing.author, b"", PutOptions::default())).await.unwrap();
    let got = patiently(client.get(&published.link, GetOptions::default(), |_| ())).await.unwrap();
    assert!(got.bytes == content);
}

// [CONT-R-027]
#[tokio::test(flavor = "multi_thread")]
async fn what_an_earlier_get_has_left_is_checked_and_not_asked_for_again() {
    let world = World::start(96, 16).await;
    let (writer, reader) = (world.client(1), world.client(2));
    let content = content(12 * CHUNK_LEN);
    let published = publish(&writer, &content).await;
    let opened = patiently(reader.open(&published.link, GetOptions::default())).await.unwrap();
    let mut download = patiently(opened.read(0..opened.len())).await.unwrap();
    for (number, chunk) in (0_u64..).zip(content.chunks(CHUNK_LEN)).take(8) {
        let mut wrong = chunk.to_vec();
        wrong[7] ^= 1;
        assert!(!download.take(number * 65_536, &wrong) && !download.take(number * 65_536 + 1, chunk));
        assert!(download.take(number * 65_536, chunk));
    }
    assert_eq!((download.progress().done, download.progress().total), (8, 12));
    let parts: Mutex<Vec<Part>> = Mutex::default();
    patiently(async {
        while let Some(part) = download.next().await.unwrap() {
            parts.lock().unwrap().push(part);
        }
    })
    .await;
    let mut parts = parts.into_inner().unwrap();
    parts.sort_by_key(|part| part.offset);
    let offsets: Vec<u64> = parts.iter().map(|part| part.offset / 65_536).collect();
    assert_eq!(offsets, [8, 9, 10, 11]);
    assert!(parts.into_iter().flat_map(|part| part.bytes).eq(content[8 * CHUNK_LEN..].iter().copied()));
}

/// When the copies of a chunk end, over all relays.
fn ends_of(world: &World, hash: [u8; 32]) -> Vec<Expiry> {
    let location = ChunkName { hash, index: 0 }.location();
    let stores = world.network.relays.iter().map(|relay| relay.store.lock().unwrap());
    let of = |store: &bauta::dht::store::MemoryStore| {
        store.iter().find(|value| value.location() == location).map(bauta::record::VerifiedValue::expiry)
    };
    stores.filter_map(|store| of(&store)).collect()
}

// [EVID-R-016]
#[tokio::test(flavor = "multi_thread")]
async fn an_exit_that_shortens_the_life_of_a_chunk_is_not_believed_and_an_honest_one_prolongs_it() {
    let world = World::start(98, 16).await;
    let client = world.client(1);
    let chunk = SealedChunk { hash: blake3(&[&[7; 900]]), bytes: vec![7; 900] };
    let now = world.runtime.clock().now().unix;
    let expiry = Expiry::at_least(UnixTime(now.0 + 9 * EXPIRY_STEP_S));
    world.behaviours.set_all(Behaviour::ShorteningExit);
    let outcome = patiently(client.put_chunks(vec![chunk.clone()], expiry)).await;
    assert_eq!(refused(outcome), Refused::Unreachable);
    let ends = ends_of(&world, chunk.hash);
    assert!(!ends.is_empty() && ends.iter().all(|end| *end < expiry), "storers keep it, and sign truly: {ends:?}");
    world.behaviours.set_all(Behaviour::Honest);
    patiently(client.put_chunks(vec![chunk.clone()], expiry)).await.unwrap();
    assert!(ends_of(&world, chunk.hash).iter().filter(|end| **end == expiry).count() >= CHUNK_HOLDERS);
    // Who holds it longer says so, and that is as good.
    let sooner = Expiry::at_least(UnixTime(now.0 + 3 * EXPIRY_STEP_S));
    patiently(client.put_chunks(vec![chunk], sooner)).await.unwrap();
}
