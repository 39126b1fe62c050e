//! What an idle relay costs in memory: a network of 24 in this process, once its relays know each other. Linux alone.
//! `cargo run --release --example idle_memory [RELAYS]`.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "an experiment for a terminal")]

use bauta::cli::local::{LocalNetwork, LocalOptions};
use bauta::net::Runtime;
use bauta::wire::network::Network;

const NODE_MAX: usize = 3 << 20;
const LINK_END_MAX: usize = 40 << 10;

fn main() {
    let relays: usize = std::env::args().nth(1).map_or(24, |relays| relays.parse().unwrap());
    let tokio = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    tokio.block_on(measure(relays));
}

async fn measure(relays: usize) {
    let runtime = Runtime::start().unwrap();
    let before = resident();
    let options = LocalOptions::new(Network::named("idle memory", 0), relays, 1);
    let mut network = LocalNetwork::start(&runtime, &options).await.unwrap();
    network.ready().await;
    // Both ends of every link are in this process; each took its share of the budget.
    let (all, free) = runtime.link_budget();
    let (ends, after) = (all - free, resident());
    let used = after.saturating_sub(before);
    let node = used / relays;
    println!("{relays} relays, {ends} link ends, {:.1} MiB resident before, {:.1} MiB after", mib(before), mib(after));
    println!("{:.2} MiB for each node, links and all (at most {:.0} are meant)", mib(node), mib(NODE_MAX));
    let each = used / ends.max(1);
    println!(
        "{:.1} kB for each link end, if all of it were links' (at most {} kB are meant)",
        kb(each),
        kb(LINK_END_MAX)
    );
    std::process::exit(i32::from(node > NODE_MAX || each > LINK_END_MAX));
}

#[expect(clippy::cast_precision_loss, clippy::as_conversions, reason = "to be read by people")]
fn mib(bytes: usize) -> f64 {
    bytes as f64 / 1_048_576.0
}

#[expect(clippy::cast_precision_loss, clippy::as_conversions, reason = "to be read by people")]
fn kb(bytes: usize) -> f64 {
    bytes as f64 / 1_024.0
}

/// Bytes of this process in memory.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() << 10
}
