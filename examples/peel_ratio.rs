//! What a relay's first act on a circuit costs, against the bare primitives that it cannot do without, both in turn: a machine with
//! other work slows both. `cargo run --release --example peel_ratio`; it fails above 1.25.
#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    reason = "not part of the library: it measures and prints"
)]

#[path = "../benches/world/mod.rs"]
mod world;

use std::hint::black_box;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use bauta::crypto::aead::Key;
use bauta::crypto::keys::DhSecret;
use bauta::limits::BODY_LEN;
use bauta::onion::{Role, build, peel};
use blake2::{Blake2s256, Digest};
use world::{NOW, network, path, rng};

/// Turns, and how often each side runs in one.
const TURNS: usize = 400;
const RUNS: usize = 20;
const RATIO_MAX: f64 = 1.25;
/// Bytes of a build packet's ciphertext: opened once, sealed once, hashed once.
const TEXT_LEN: usize = BODY_LEN - 48;

fn main() -> ExitCode {
    let mut rng = rng();
    let (path, secrets) = path(&mut rng);
    let body = build(&network(), &path, b"request", NOW, &mut rng).expect("a packet").body;
    let inner = [9; BODY_LEN];
    let mut whole = || {
        let peeled = peel(&secrets, black_box(&body), &mut rng).expect("a layer");
        let Role::Middle { mut hop, body, .. } = peeled.role else { panic!("the first of three") };
        black_box((hop.wrap_reply0(black_box(&inner)).expect("a reply"), body));
    };

    let secret = DhSecret::from_bytes(&[7; 32]);
    let peer = DhSecret::from_bytes(&[8; 32]).public();
    let key = Key::new([9; 32]);
    let mut text = [0; TEXT_LEN];
    let tag = key.seal(0, &[1; 32], &mut text);
    let sealed = text;
    let mut curve = || {
        black_box(secret.agree(black_box(&peer)).expect("a secret"));
        black_box(DhSecret::from_bytes(black_box(&[6; 32])));
        black_box(secret.agree(black_box(&peer)).expect("a secret"));
    };
    let mut passes = || {
        text = sealed;
        key.open(0, &[1; 32], black_box(&mut text), &tag).expect("what was sealed");
        black_box(Blake2s256::digest(black_box(&text)));
        black_box(key.seal(0, &[1; 32], black_box(&mut text)));
    };

    let mut ratios: Vec<f64> = Vec::with_capacity(TURNS);
    let mut times = [const { Vec::new() }; 3];
    for _ in 0..TURNS {
        let turn = [time(&mut whole), time(&mut curve), time(&mut passes)];
        ratios.push(turn[0].as_secs_f64() / (turn[1] + turn[2]).as_secs_f64());
        times.iter_mut().zip(turn).for_each(|(all, one)| all.push(one.as_secs_f64() * 1e6));
    }
    let [whole, curve, passes] = times.map(median);
    let ratio = median(ratios);
    println!("peel with reply 0                            {whole:6.1} µs");
    println!("two X25519 and one base multiplication       {curve:6.1} µs");
    println!("AEAD open and seal, BLAKE2s, {TEXT_LEN} bytes each {passes:6.1} µs");
    println!(
        "ratio                                        {ratio:6.2}    (median of {TURNS} turns; at most {RATIO_MAX})"
    );
    if ratio <= RATIO_MAX { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Time of one run, over a turn's.
fn time(run: &mut impl FnMut()) -> Duration {
    let start = Instant::now();
    for _ in 0..RUNS {
        run();
    }
    start.elapsed() / u32::try_from(RUNS).expect("few")
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
