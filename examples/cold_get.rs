//! How long `bauta get` takes as a process of its own, from its start to its end: with the state of an earlier command, and
//! with none at all. Default settings, a devnet of 24 relays. First `cargo build --release`, then
//! `cargo run --release --example cold_get [TIMES]`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::indexing_slicing,
    dead_code,
    reason = "an experiment for a terminal"
)]
#![allow(clippy::disallowed_methods, reason = "it is about how long things take")]

#[path = "../tests/binary/mod.rs"]
mod binary;

use std::time::{Duration, Instant};

use binary::Devnet;

const TIMES: usize = 50;
/// Medians that are aimed at.
const WITH_STATE_MAX: Duration = Duration::from_millis(200);
const WITHOUT_STATE_MAX: Duration = Duration::from_secs(1);

fn main() {
    let times: usize = std::env::args().nth(1).map_or(TIMES, |times| times.parse().unwrap());
    let devnet = Devnet::start(&[]);
    let user = devnet.user();
    let link = user.run(&["publish", &user.file("file", &binary::content(1, 700))]).alone();
    let measure = |what: &str, aim: Duration, state: &dyn Fn(usize) -> String| {
        let mut taken: Vec<Duration> = (0..times)
            .map(|turn| {
                let start = Instant::now();
                user.run(&["get", &link, "-o", "-", "--state", &state(turn)]).fine();
                start.elapsed()
            })
            .collect();
        taken.sort();
        let at = |percent: usize| 1e3 * taken[(taken.len() - 1) * percent / 100].as_secs_f64();
        let held = if at(50) <= 1e3 * aim.as_secs_f64() { "held" } else { "missed" };
        println!(
            "{what:<14}  p50 {:>4.0} ms, p95 {:>4.0} ms   aim {:>5.0} ms  {held}",
            at(50),
            at(95),
            1e3 * aim.as_secs_f64()
        );
        held == "held"
    };
    user.run(&["get", &link, "-o", "-", "--state", "kept"]).fine();
    let with = measure("with state", WITH_STATE_MAX, &|_| "kept".to_owned());
    let without = measure("without state", WITHOUT_STATE_MAX, &|turn| format!("new-{turn}"));
    if !(with && without) {
        drop(devnet);
        std::process::exit(1);
    }
}
