//! What a listener on every link of a running network gets: frames of one size, no byte pattern twice, and on a client's
//! link the same count of cells whatever was asked and whatever came of it.
#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test crate")]

mod world;

use std::net::IpAddr;

use bauta::cli::local::LocalOptions;
use bauta::client::{AuditOptions, Carrier, Client, GetOptions, PublishOptions, PutOptions};
use bauta::content::FileName;
use bauta::limits::{BATCH_CHUNKS, CHUNK_LEN, SLOT_CELLS};
use bauta::request::Refused;
use bauta::wire::cell::Command;
use world::{Behaviour, Seen, World, author, locator, network, patiently, refused};

const OUT: bool = true;
const BACK: bool = false;

/// One cell out, exactly two back.
fn lookup() -> Seen {
    vec![(OUT, Command::Build), (BACK, Command::Reply0), (BACK, Command::Backward)]
}

fn all_are(circuits: &[Seen], expected: &[Seen]) {
    assert!(!circuits.is_empty());
    for circuit in circuits {
        assert!(expected.contains(circuit), "a circuit of another shape: {circuit:?}");
    }
}

/// The client's circuits since the last call; questions for the membership are none.
fn circuits(world: &World, client: IpAddr) -> Vec<Seen> {
    let is_circuit = |seen: &Seen| !seen.iter().any(|(_, command)| matches!(command, Command::Ask | Command::Answer));
    world.ear.take(client).into_iter().filter(is_circuit).collect()
}

async fn publish(client: &Client, len: usize) -> bauta::content::ContentLink {
    let content: Vec<u8> = (0..len).map(|at| u8::try_from(at % 251).unwrap()).collect();
    let name = FileName::new("a file").unwrap();
    patiently(client.publish(&name, content, PublishOptions::default(), |_| ())).await.unwrap().link
}

// [CRYPTO-W-006]
#[tokio::test(flavor = "multi_thread")]
async fn no_frame_and_no_block_of_one_is_sent_twice_on_a_whole_network() {
    let world = World::start(1, 16).await;
    let (writer, reader) = (world.client(1), world.client(2));
    // A value that repeats in itself, twice: nothing of that may show.
    for label in [b"one", b"two"] {
        patiently(writer.put_record(&author(1), label, &[7; 1_024], PutOptions::default())).await.unwrap();
    }
    let again = patiently(writer.put_record(&author(1), b"one", &[7; 1_024], PutOptions::default())).await;
    assert!(matches!(refused(again), Refused::Conflict { .. }));
    for _ in 0..2 {
        let found = patiently(reader.get_record(&locator(1, b"one"), GetOptions::default())).await.unwrap();
        assert_eq!(found.payload, [7; 1_024]);
        let missing = patiently(reader.get_record(&locator(1, b"none"), GetOptions::default())).await;
        assert_eq!(refused(missing), Refused::NotFound);
    }
    let zeros = vec![0; 2 * CHUNK_LEN + 1];
    let name = FileName::new("zeros").unwrap();
    let published = patiently(writer.publish(&name, zeros.clone(), PublishOptions::default(), |_| ())).await.unwrap();
    let got = patiently(reader.get(&published.link, GetOptions::default(), |_| ())).await.unwrap();
    assert!(got.bytes == zeros);
    for client in [&writer, &reader] {
        world.check_paths(client);
    }

    let frames = world.ear.frames();
    assert!(frames.sent > 2_000 && frames.received > 2_000, "{} sent, {} received", frames.sent, frames.received);
    // One in sixteen of 129 blocks each.
    assert!(frames.blocks > 6 * frames.sent, "{} blocks of {} frames", frames.blocks, frames.sent);
    assert_eq!((frames.repeated, frames.blocks_repeated), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lookup_or_record_put_is_one_cell_out_and_two_back_whether_hit_miss_or_error() {
    let world = World::start(2, 16).await;
    let client = world.client(1);
    let ip = world.network.client_ip(1).unwrap();

    let stored = patiently(client.put_record(&author(2), b"", b"value", PutOptions::default())).await.unwrap();
    let put = circuits(&world, ip);
    all_are(&put, &[lookup()]);
    assert_eq!(put.len(), 3, "one for each location");

    let found = patiently(client.get_record(&locator(2, b""), GetOptions::default())).await.unwrap();
    assert!(found.attested && found.seq == stored.seq);
    let hit = circuits(&world, ip);
    all_are(&hit, &[lookup()]);

    let missing = patiently(client.get_record(&locator(2, b"never"), GetOptions::default())).await;
    assert_eq!(refused(missing), Refused::NotFound);
    let miss = circuits(&world, ip);
    all_are(&miss, &[lookup()]);
    assert_eq!(hit.len(), miss.len(), "a hit takes as many circuits as a miss");

    let conflict = patiently(client.put_record(&author(2), b"", b"other", PutOptions::default())).await;
    assert_eq!(refused(conflict), Refused::Conflict { seq: stored.seq });
    let refused_put = circuits(&world, ip);
    all_are(&refused_put, &[lookup()]);
    assert_eq!(refused_put.len(), put.len(), "a refused put takes as many circuits as one that is kept");

    // Who has chunks is asked in the same cells, however many are asked for, and whether anybody has them.
    let link = publish(&client, 2_000).await;
    circuits(&world, ip);
    let audit = patiently(client.verify(&link, AuditOptions { sample: Some(5), ..AuditOptions::default() }, |_| ()));
    assert_eq!(audit.await.unwrap().looked(), 8, "whole batches");
    all_are(&circuits(&world, ip), &[lookup()]);
    let seen = patiently(client.look_chunks(vec![[9; 32]])).await.unwrap();
    assert!(seen[0].until.is_empty() && seen[0].attested, "{seen:?}");
    all_are(&circuits(&world, ip), &[lookup()]);

    // No storer does what it is asked: exits have nothing to say, and say it at the same length.
    world.behaviours.set_all(Behaviour::RefusingStorer);
    let error = patiently(client.get_record(&locator(2, b""), GetOptions::default())).await;
    assert!(matches!(error, Err(_) | Ok(bauta::client::Found { attested: false, .. })));
    all_are(&circuits(&world, ip), &[lookup()]);
}

#[tokio::test(flavor = "multi_thread")]
async fn content_moves_in_cells_of_a_fixed_count_however_much_there_is() {
    let world = World::with(LocalOptions::new(network(3), 16, 3)).await;
    let (writer, reader) = (world.client(1), world.client(2));
    let (writer_ip, reader_ip) = (world.network.client_ip(1).unwrap(), world.network.client_ip(2).unwrap());
    let slots = BATCH_CHUNKS * SLOT_CELLS;
    assert_eq!(slots, 136);
    let put: Seen = [
        vec![(OUT, Command::Build), (BACK, Command::Reply0)],
        vec![(OUT, Command::Forward); slots],
        vec![(BACK, Command::Backward); BATCH_CHUNKS],
    ]
    .concat();
    let fetch: Seen =
        [vec![(OUT, Command::Build), (BACK, Command::Reply0)], vec![(BACK, Command::Backward); slots]].concat();
    // A batch with one chunk of content in it, and a full one: nobody can tell. With parity they are 8 and 15 chunks.
    for (len, batches) in [(2_000, 2), (BATCH_CHUNKS * CHUNK_LEN, 4)] {
        let link = publish(&writer, len).await;
        let sent: Vec<Seen> = circuits(&world, writer_ip).into_iter().map(sorted_by_direction).collect();
        all_are(&sent, &[sorted_by_direction(put.clone()), sorted_by_direction(lookup())]);
        assert_eq!(sent.iter().filter(|seen| seen.len() > 3).count(), batches, "one circuit for each batch");

        let got = patiently(reader.get(&link, GetOptions::default(), |_| ())).await.unwrap();
        assert_eq!(got.bytes.len(), len);
        let received = circuits(&world, reader_ip);
        all_are(&received, &[fetch.clone(), lookup()]);
        assert_eq!(received.iter().filter(|seen| seen.len() > 3).count(), 1, "one circuit for the batch");
    }
}

/// Cells out and back cross on the way: the order within each direction is what is fixed.
fn sorted_by_direction(mut seen: Seen) -> Seen {
    seen.sort_by_key(|(sent, _)| *sent);
    seen
}
