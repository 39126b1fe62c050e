//! Bauta beside its neighbours, on loopback and in one process: what a hop costs, and how long a record takes to be put and got.
//! From the repository's root, so that its `.cargo/config.toml` holds here too:
//! `cargo run --release --manifest-path benches/peers/Cargo.toml [-- --nodes N]`.
//!
//! The networks take turns, so that what else the machine does falls on all of them. Every operation has a deadline, and the
//! first that fails ends the run with its cause.
#![allow(clippy::disallowed_methods, reason = "it is about how long things take")]
#![allow(clippy::cast_precision_loss, reason = "to be read by people")]

mod hop;
mod kad;
mod loopback;
mod overlay;
mod torrent;
mod turns;

use std::thread::available_parallelism;

use anyhow::{Context, Result, bail, ensure};
use bauta::limits::{BODY_LEN, HOLDERS, LINKS_MAX, LOCATIONS};
use bauta::request::Consistency;
use hop::Hops;
use kad::Kad;
use overlay::Overlay;
use torrent::{Poll, Torrent};
use turns::{Row, Turns};

/// Nodes of each network unless told otherwise.
const NODES: usize = 24;
/// Fewer cannot hold as many copies as libp2p-kad asks for.
const NODES_MIN: usize = kad::COPIES;
/// With more, the relays' links among themselves do not fit into what Bauta allows one process.
const NODES_MAX: usize = 40;
const _: () =
    assert!(NODES_MAX * (NODES_MAX - 1) / 2 + CLIENTS * 4 <= LINKS_MAX / 2, "a client has a guard and three to ask");
/// A guard of Bauta takes few circuits a second of one client for long: many gets need many clients. Bauta's and
/// libp2p-kad's hold no records; mainline's are nodes of its network.
const CLIENTS: usize = 16;
const RECORD_LEN: usize = 1 << 10;
/// Records that gets ask for.
const RECORDS: usize = 24;

fn main() -> Result<()> {
    let nodes = nodes()?;
    let hops = hop::measure().context("one hop")?;
    let tokio = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let networks = tokio.block_on(measure(nodes))?;
    show(nodes, &hops, &networks);
    Ok(())
}

fn nodes() -> Result<usize> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let nodes = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => NODES,
        ["--nodes", count] => count.parse().context("--nodes")?,
        _ => bail!("usage: [--nodes N]"),
    };
    ensure!((NODES_MIN..=NODES_MAX).contains(&nodes), "--nodes: from {NODES_MIN} to {NODES_MAX}");
    Ok(nodes)
}

/// Rows of gets, then those of puts; the first of each are Bauta's.
struct Networks {
    gets: [Row; 5],
    puts: [Row; 4],
}

/// All networks up and warm, then turn by turn.
async fn measure(nodes: usize) -> Result<Networks> {
    // Bauta first: its runtime lifts the limit of open descriptors.
    let bauta = turns::started("Bauta", Overlay::start(nodes)).await?;
    let kad = turns::started("libp2p-kad", Kad::start(nodes)).await?;
    let torrent = turns::started("mainline", Torrent::start(nodes)).await?;
    let (own, woken) = (Poll::Own, Poll::Woken);
    let mut gets =
        ["Bauta: three hops, one location", "Bauta: three hops, quorum", "libp2p-kad", "mainline", "mainline, woken"]
            .map(Row::new);
    let mut puts = ["Bauta: three hops", "libp2p-kad", "mainline", "mainline, woken"].map(Row::new);
    let [one, quorum, libp2p_get, mainline_get, woken_get] = &mut gets;
    let [put, libp2p_put, mainline_put, woken_put] = &mut puts;
    let mut turns = Turns::new();
    while turns.next() {
        loopback::only()?;
        turns.gets(one, async |number| bauta.get(number, Consistency::One).await).await?;
        turns.gets(quorum, async |number| bauta.get(number, Consistency::Quorum).await).await?;
        turns.gets(libp2p_get, async |number| kad.get(number).await).await?;
        turns.gets(mainline_get, async |number| torrent.get(number, own).await).await?;
        turns.gets(woken_get, async |number| torrent.get(number, woken).await).await?;
        turns.puts(put, async |number| bauta.put(number).await).await?;
        turns.puts(libp2p_put, async |number| kad.put(number).await).await?;
        turns.puts(mainline_put, async |number| torrent.put(number, own).await).await?;
        turns.puts(woken_put, async |number| torrent.put(number, woken).await).await?;
    }
    loopback::only()?;
    Ok(Networks { gets, puts })
}

fn show(nodes: usize, hops: &Hops, networks: &Networks) {
    let cores = available_parallelism().map_or(0, usize::from);
    println!(
        "{nodes} nodes of each network, {CLIENTS} that ask, all in this process over loopback sockets; {cores} cores\n"
    );
    println!("{:<36}{:>9} {:>9}    {:>10} {:>13}", "", "p50", "p95", "per second", "p50 / Bauta's");
    section(&format!("one hop of a packet of {BODY_LEN} bytes; per second on one core"), "µs", &hops.rows);
    section("get of a record; per second with 8 under way", "ms", &networks.gets);
    section("put of a record", "ms", &networks.puts);
    println!(
        "
what is not equal
- sphinx-packet: unwraps one way, header for up to five hops, its result is not written out; Bauta's peel with reply also
  seals the first cell of the way back.
- Bauta: three hops, stagger zero (not its default), records of {RECORD_LEN} bytes, {copies} copies with signed receipts, signed
  statements with each get that say whether it is the newest; cells of one size over TCP.
- libp2p-kad: no anonymity, each node asked sees who asks and for what. No evidence: nobody signs a record, the first
  value is believed. Records of {RECORD_LEN} bytes, {kad} copies; TCP with Noise and yamux.
- mainline: no anonymity, no encryption. The author signs an item, nothing says whether it is the newest. Items of {item}
  bytes, some {torrent} copies; UDP, no connections; its own nodes ask. An idle node sees its caller's
  commands only every 50 ms, unless a datagram wakes it: «woken» sends it some, as no caller of the library would; it
  shows what the protocol could do.
- At this size nearly every node of libp2p-kad and mainline holds every record, and every table knows all nodes:
  one exchange finds it. In a large network it takes several, for them as for Bauta's exit.",
        copies = HOLDERS * LOCATIONS,
        kad = kad::COPIES,
        item = torrent::ITEM_LEN,
        torrent = torrent::COPIES,
    );
}

/// Rows of one kind; times are compared with the first one's.
fn section(title: &str, unit: &str, rows: &[Row]) {
    println!("{title}");
    let own = rows.first().map_or(0.0, Row::median);
    for row in rows {
        let rate = row.rate().map_or(String::new(), |rate| format!("{rate:.0}"));
        let (median, high) = (row.median(), row.high());
        println!("  {:<34}{median:>9.2} {high:>9.2} {unit} {rate:>10} {:>13.2}", row.what, median / own);
    }
}
