//! A process that writes values is killed again and again: what it said to have kept is there afterwards, and whole.
//!
//! `BAUTA_TEST_KILLS=1000 cargo test --release --test kill -- --nocapture` does so a thousand times.
#![cfg(feature = "net")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test crate")]

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};

use bauta::crypto::hash::blake3;
use bauta::dht::store::{Quota, StoreOp, StoreResult};
use bauta::disk::ValueStore;
use bauta::node::Relay;
use bauta::node::machine::DurableStore;
use bauta::record::VerifiedValue;
use bauta::time::UnixTime;
use bauta::wire::network::Network;
use bauta::wire::record::{ChunkBytes, Expiry, Value};
use rand::SeedableRng as _;
use rand::rngs::ChaCha20Rng;

const NAME: &str = "every_value_acknowledged_before_a_kill_is_there_after_it";
/// Tells the second process what to do.
const FILE: &str = "BAUTA_TEST_VALUES_FILE";
const FIRST: &str = "BAUTA_TEST_VALUES_FIRST";
const NOW: UnixTime = UnixTime(1_800_000_000);
/// How often, if it is not to be ten times.
const KILLS: &str = "BAUTA_TEST_KILLS";
const BATCH: u64 = 5;
/// The writer ends by itself beyond, should nobody kill it.
const VALUES_MAX: u64 = 5_000;

fn value(number: u64) -> VerifiedValue {
    let bytes = number.to_be_bytes().repeat(400);
    let chunk = ChunkBytes { hash: blake3(&[&bytes]), index: 0, expiry: Expiry::at_least(UnixTime(NOW.0 + 1)), bytes };
    let network = Network { id: [7; 32], difficulty: 0 };
    VerifiedValue::check(&network, Value::Hashed(chunk), NOW).unwrap()
}

fn open(file: &Path) -> ValueStore {
    let quota = Quota { values: 1 << 30, bytes: 1 << 40 };
    let network = Network { id: [7; 32], difficulty: 0 };
    ValueStore::open(file, network, quota, &mut ChaCha20Rng::seed_from_u64(1)).unwrap()
}

/// Writes batches, and says of each value that it is kept.
fn write(file: &Path, first: u64) {
    let store = open(file);
    let mut out = std::io::stdout();
    for start in (first..first + VALUES_MAX).step_by(usize::try_from(BATCH).unwrap()) {
        let ops = (start..start + BATCH).map(|number| StoreOp::Put { value: value(number), expected: None }).collect();
        let results = DurableStore::<Relay>::write(&store, NOW, ops);
        assert!(results.iter().all(|result| *result == StoreResult::Kept));
        (start..start + BATCH).for_each(|number| writeln!(out, "kept {number}").unwrap());
        out.flush().unwrap();
    }
}

// [DHT-W-015]
#[test]
fn every_value_acknowledged_before_a_kill_is_there_after_it() {
    if let (Some(file), Ok(first)) = (std::env::var_os(FILE), std::env::var(FIRST)) {
        return write(Path::new(&file), first.parse().unwrap());
    }
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("values.redb");
    let kills = std::env::var(KILLS).map_or(10, |count| count.parse().unwrap());
    let mut kept: Vec<u64> = Vec::new();
    for round in 0..kills {
        let before = kept.len();
        let first = 1 + VALUES_MAX * u64::try_from(round).unwrap();
        let mut writer = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", NAME, "--nocapture"])
            .env(FILE, &file)
            .env(FIRST, first.to_string())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(writer.stdout.take().unwrap()).lines().map_while(Result::ok);
        let mut so_far = 0;
        for line in lines {
            let Some((_, number)) = line.split_once("kept ") else { continue };
            kept.push(number.parse().unwrap());
            so_far += 1;
            // Not at the same point each time; what it said until it was gone is read to its end.
            if so_far == 3 + 7 * (round % 10) {
                writer.kill().unwrap();
            }
        }
        assert!(!writer.wait().unwrap().success(), "it was killed");
        let store = open(&file);
        // All that this one wrote, and some of the others'; all of them at the end.
        assert_held(&store, kept[before..].iter().chain(kept[..before].iter().step_by(1 + before / 64)));
        assert!(store.damaged() == 0 && store.len() >= kept.len());
    }
    let store = open(&file);
    assert_held(&store, kept.iter());
    store.apply(NOW, StoreOp::Expire { now: NOW });
    assert!(store.damaged() == 0 && store.len() >= kept.len());
    let count = kept.len();
    writeln!(std::io::stdout(), "{kills} kills, {count} values acknowledged, all there, none damaged").unwrap();
}

fn assert_held<'a>(store: &ValueStore, numbers: impl Iterator<Item = &'a u64>) {
    for number in numbers {
        let value = value(*number);
        let get = StoreOp::Get { kind: value.kind(), location: value.location() };
        assert_eq!(store.apply(NOW, get), StoreResult::Value(Some(value)), "{number}");
    }
}
