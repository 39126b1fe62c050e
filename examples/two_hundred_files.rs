//! Two hundred files of 0 B to 5 MiB, there and back through `bauta publish` and `bauta get` over a `bauta devnet`. First
//! `cargo build --release`, then `cargo run --release --example two_hundred_files [FILES]`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::indexing_slicing,
    reason = "an experiment for a terminal"
)]
#![allow(clippy::disallowed_methods, reason = "it is about how long things take")]

#[path = "../tests/binary/mod.rs"]
mod binary;

use std::time::{Duration, Instant};

use binary::Devnet;
use binary::round_trip::{AT_ONCE, sizes, there_and_back};

const FILES: usize = 200;

fn main() {
    let files: usize = std::env::args().nth(1).map_or(FILES, |files| files.parse().unwrap());
    let devnet = Devnet::start(&[]);
    let start = Instant::now();
    let (mut failures, mut publishing, mut getting) = (0, Vec::new(), Vec::new());
    there_and_back(&devnet, &sizes(files), |number, outcome| match outcome {
        Ok(trip) => {
            let (published, got) = (trip.publish.as_secs_f64(), trip.get.as_secs_f64());
            println!("{number:>3}  {:>7} bytes  published in {published:.2} s, got in {got:.2} s", trip.len);
            publishing.push(trip.publish);
            getting.push(trip.get);
        }
        Err(why) => {
            println!("{number:>3}  FAILED {why}");
            failures += 1;
        }
    });
    println!("{} of {files} held, {AT_ONCE} at once, {:.1} s in all", files - failures, start.elapsed().as_secs_f64());
    show("publish", publishing);
    show("get", getting);
    if failures > 0 {
        println!("---- what the network said\n{}", devnet.log());
        // Ends the network first: exit runs no destructors.
        drop(devnet);
        std::process::exit(1);
    }
}

fn show(what: &str, mut times: Vec<Duration>) {
    times.sort();
    let at = |percent: usize| {
        times.get(times.len().saturating_sub(1) * percent / 100).map_or(f64::NAN, Duration::as_secs_f64)
    };
    println!("{what:<8}  p50 {:.2} s, p95 {:.2} s, most {:.2} s", at(50), at(95), at(100));
}
