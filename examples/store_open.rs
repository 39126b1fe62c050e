//! How long a relay's store takes to open: filled with chunks up to a size, closed in order, and killed while it is written.
//!
//! `cargo run --release --example store_open -- DIR GIB` makes a folder in DIR, and removes it at its end. The file takes about
//! twice the size that is asked for.
#![allow(clippy::print_stdout, clippy::disallowed_methods, reason = "a measurement")]

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, ensure};
use bauta::crypto::hash::blake3;
use bauta::dht::store::{Quota, StoreOp, StoreResult};
use bauta::disk::ValueStore;
use bauta::limits::{EXPIRY_STEP_S, SEALED_CHUNK_LEN, STORE_BATCH_MAX};
use bauta::node::Relay;
use bauta::node::machine::DurableStore;
use bauta::record::VerifiedValue;
use bauta::time::UnixTime;
use bauta::wire::network::Network;
use bauta::wire::record::{ChunkBytes, Expiry, Value};
use rand::rngs::ChaCha20Rng;
use rand::{Rng as _, SeedableRng as _};

const NOW: UnixTime = UnixTime(1_800_000_000);
const NETWORK: Network = Network { id: [7; 32], difficulty: 0 };
/// Batches that the process to be killed has written by then.
const BATCHES: usize = 5;

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["write", file] => write_until_killed(Path::new(file)),
        [folder, gib] => {
            let home = tempfile::tempdir_in(folder).with_context(|| (*folder).to_owned())?;
            measure(&home.path().join("values.redb"), gib.parse().context("GIB is a whole number")?)
        }
        _ => anyhow::bail!("store_open DIR GIB"),
    }
}

fn open(file: &Path) -> anyhow::Result<ValueStore> {
    let quota = Quota { values: u64::MAX / 2, bytes: u64::MAX / 2 };
    Ok(ValueStore::open(file, NETWORK, quota, &mut ChaCha20Rng::seed_from_u64(1))?)
}

fn chunks(rng: &mut ChaCha20Rng) -> anyhow::Result<Vec<StoreOp>> {
    let mut ops = Vec::new();
    for _ in 0..STORE_BATCH_MAX {
        let mut bytes = vec![0; SEALED_CHUNK_LEN];
        rng.fill_bytes(&mut bytes);
        let expiry = Expiry::at_least(UnixTime(NOW.0 + 4 * EXPIRY_STEP_S));
        let chunk = ChunkBytes { hash: blake3(&[&bytes]), index: 0, expiry, bytes };
        let value = VerifiedValue::check(&NETWORK, Value::Hashed(chunk), NOW).ok().context("a chunk is a value")?;
        ops.push(StoreOp::Put { value, expected: None });
    }
    Ok(ops)
}

fn write(store: &ValueStore, rng: &mut ChaCha20Rng) -> anyhow::Result<()> {
    let results = DurableStore::<Relay>::write(store, NOW, chunks(rng)?);
    ensure!(results.iter().all(|result| *result == StoreResult::Kept), "a batch was not kept");
    Ok(())
}

fn measure(file: &Path, gib: u64) -> anyhow::Result<()> {
    let (mut rng, begun) = (ChaCha20Rng::seed_from_u64(2), Instant::now());
    let store = open(file)?;
    while store.bytes() < gib << 30 {
        write(&store, &mut rng)?;
    }
    let (values, bytes) = (store.len(), store.bytes());
    drop(store);
    let seconds = begun.elapsed().as_secs_f64();
    let on_disk = std::fs::metadata(file)?.len();
    println!("filled   {values} values, {bytes} bytes, in a file of {on_disk} bytes, in {seconds:.0} s");
    println!("opened   {:.1} ms after it was closed in order", opening(file)?);
    for round in 1..=3 {
        let this = std::env::current_exe()?;
        let mut writer = Command::new(this).args(["write"]).arg(file).stdout(Stdio::piped()).spawn()?;
        let out = writer.stdout.take().context("its output")?;
        ensure!(BufReader::new(out).lines().nth(BATCHES - 1).is_some(), "the writer ended by itself");
        writer.kill()?;
        writer.wait()?;
        println!("opened   {:.1} ms after kill -9, {round}", opening(file)?);
    }
    Ok(())
}

fn opening(file: &Path) -> anyhow::Result<f64> {
    let begun = Instant::now();
    let store = open(file)?;
    let taken = begun.elapsed();
    ensure!(!store.is_empty(), "something is held");
    Ok(1_000.0 * taken.as_secs_f64())
}

/// Until somebody kills it; in the middle of a batch, as a rule.
fn write_until_killed(file: &Path) -> anyhow::Result<()> {
    let (store, mut rng) = (open(file)?, ChaCha20Rng::seed_from_u64(std::process::id().into()));
    for _ in 0..100 * BATCHES {
        write(&store, &mut rng)?;
        writeln!(std::io::stdout(), "written")?;
    }
    Ok(())
}
