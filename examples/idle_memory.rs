//! What an idle relay costs in memory: a network of 24 in this process, once its relays know each other. Linux alone.
//! `cargo run --release --example idle_memory [RELAYS]`.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "an experiment for a terminal")]

use std::net::Ipv4Addr;

use bauta::cli::local::{LocalNetwork, LocalOptions};
use bauta::crypto::keys::DhSecret;
use bauta::limits::FRAME_LEN;
use bauta::link::{Link, Params, Timing};
use bauta::net::Runtime;
use bauta::wire::contact::Contact;
use bauta::wire::hello::Hello;
use bauta::wire::network::{Network, VERSIONS};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

const NODE_MAX: usize = 3 << 20;
const LINK_END_MAX: usize = 40 << 10;
/// Links opened to each relay to see what one costs.
const LINKS_EACH: u8 = 30;

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

    // What one link more costs: bare ones, held open beside the network's own.
    let mut held = Vec::new();
    for relay in &network.relays {
        for number in 0..LINKS_EACH {
            // Of a /24 of its own: one prefix may have only so many links.
            let from = Ipv4Addr::new(127, 201, number, 1);
            held.push(shaken(&runtime, network.network, &relay.contact, from).await);
        }
    }
    let more = resident().saturating_sub(after);
    let each = more / held.len();
    println!("{:.1} KiB for each link end of {} more (at most {} are meant)", kib(each), held.len(), kib(LINK_END_MAX));
    std::process::exit(i32::from(node > NODE_MAX || each > LINK_END_MAX));
}

/// A link of a client that has shaken hands and says nothing more. Its own end is counted with the relay's.
async fn shaken(runtime: &Runtime, network: Network, to: &Contact, from: Ipv4Addr) -> (TcpStream, Link) {
    let (mut rng, now) = (runtime.entropy().generator(), runtime.clock().now().instant);
    let hello = Hello { versions: VERSIONS, descriptor: None };
    let params = Params { network, secret: DhSecret::generate(&mut rng), hello, timing: Timing::default() };
    let mut link = Link::dial(params, to.link_key, &mut rng, now).unwrap();
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((from, 0).into()).unwrap();
    let mut stream = socket.connect(to.address.0).await.unwrap();
    let mut frame = [0; FRAME_LEN];
    link.poll_frame(now, &mut frame);
    stream.write_all(&frame).await.unwrap();
    stream.read_exact(&mut frame).await.unwrap();
    link.handle_frame(now, &frame).unwrap();
    link.poll_frame(now, &mut frame);
    stream.write_all(&frame).await.unwrap();
    (stream, link)
}

#[expect(clippy::cast_precision_loss, clippy::as_conversions, reason = "to be read by people")]
fn mib(bytes: usize) -> f64 {
    bytes as f64 / 1_048_576.0
}

#[expect(clippy::cast_precision_loss, clippy::as_conversions, reason = "to be read by people")]
fn kib(bytes: usize) -> f64 {
    bytes as f64 / 1_024.0
}

/// Bytes of this process in memory.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() << 10
}
