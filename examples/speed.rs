//! How fast lookups and files are, and what they cost: a network of 24 relays in this process, over real loopback sockets,
//! with clients whose circuits are not staggered. Linux alone. `cargo run --release --example speed [--json] [ROW..]`.
//!
//! All rows are of one run, so that they can be compared with each other. What they mean and what bounds them is in
//! `spec/performance.md`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::indexing_slicing,
    reason = "an experiment for a terminal"
)]
#![allow(clippy::disallowed_methods, reason = "it is about how long things take")]
#![allow(clippy::cast_precision_loss, clippy::as_conversions, reason = "to be read by people")]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bauta::cli::local::{Launch, Launched, Launching, LocalNetwork, LocalOptions};
use bauta::client::{Client, ClientOptions, GetOptions, PublishOptions, PutOptions};
use bauta::content::FileName;
use bauta::crypto::keys::IdentitySecret;
use bauta::keyspace::Location;
use bauta::limits::{HOLDERS, LOCATIONS, SIGNERS};
use bauta::net::{Clock, NodeHandle, Runtime, spawn_node};
use bauta::node::{Looked, RelayCommand, RelayEvent};
use bauta::record::Locator;
use bauta::request::Consistency;
use bauta::wire::network::Network;
use bauta::wire::record::ValueKind;
use bauta::wire::statement::Statement;
use tokio::sync::{mpsc, oneshot};

const RELAYS: usize = 24;
/// A guard takes `BUILDS_PER_CLIENT_LINK_PER_S` circuits a second of one client for long: many gets need many clients.
const CLIENTS: u8 = 16;
const RECORD_LEN: usize = 1 << 10;
const RECORDS: usize = 24;
/// Enough for every client to have met its second hops, and every relay all others.
const WARMING: usize = 200;
const GETS: usize = 400;
const PUTS: usize = 100;
/// Gets under way at once, all clients together, and how many of them.
const AT_ONCE: usize = 8;
const GETS_AT_ONCE: usize = 3_000;
const FILE_LEN: usize = 16 << 20;
const FILES: usize = 3;
const READERS: usize = 3;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let tokio = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let (start, own, all) = (Instant::now(), cpu(), all_busy());
    let table = tokio.block_on(measure(&arguments));
    let others = ((all_busy() - all) - (cpu() - own)).max(0.0) / start.elapsed().as_secs_f64();
    let cores = std::thread::available_parallelism().unwrap();
    if arguments.iter().any(|argument| argument == "--json") {
        let rows: Vec<_> = table.iter().map(Row::json).collect();
        println!("{}", serde_json::json!({ "processors": cores, "used_by_others": others, "rows": rows }));
        return;
    }
    println!("{RELAYS} relays and {CLIENTS} clients in this process, real loopback sockets, three hops, stagger 0");
    println!("processors: {cores}, of which others used {others:.1} meanwhile");
    println!("{:<38}{:>8}  {:>8}  {:<6} {:>8}  {:<4}", "", "median", "95 %", "", "aim", "");
    for row in &table {
        row.show();
    }
}

/// One line of the table.
struct Row {
    what: &'static str,
    value: f64,
    /// The 95th of a hundred, where there are many.
    high: Option<f64>,
    unit: &'static str,
    aim: Option<Aim>,
}

#[derive(Clone, Copy)]
enum Aim {
    AtMost(f64),
    AtLeast(f64),
}

impl Row {
    fn holds(&self) -> Option<bool> {
        self.aim.map(|aim| match aim {
            Aim::AtMost(most) => self.value <= most,
            Aim::AtLeast(least) => self.value >= least,
        })
    }

    fn show(&self) {
        let high = self.high.map_or(String::new(), |high| format!("{high:.2}"));
        let aim = self.aim.map_or(String::new(), |aim| match aim {
            Aim::AtMost(most) => format!("<= {most}"),
            Aim::AtLeast(least) => format!(">= {least}"),
        });
        let holds = self.holds().map_or("", |holds| if holds { "held" } else { "missed" });
        println!("{:<38}{:>8.2}  {high:>8}  {:<6} {aim:>8}  {holds}", self.what, self.value, self.unit);
    }

    fn json(&self) -> serde_json::Value {
        serde_json::json!({
            "what": self.what, "value": self.value, "high": self.high, "unit": self.unit, "held": self.holds(),
        })
    }
}

async fn measure(wanted: &[String]) -> Vec<Row> {
    let world = World::start().await;
    let names: Vec<&String> = wanted.iter().filter(|name| !name.starts_with("--")).collect();
    let wants = |row: &str| names.is_empty() || names.iter().any(|name| *name == row);
    let (mut table, mut one) = (Vec::new(), None);
    if wants("one") {
        let times = world.gets(GETS, Consistency::One).await;
        one = Some(at(&times, 50));
        table.push(of_times("get, one location", &times, Some(Aim::AtMost(3.0))));
        table.push(Row {
            what: "  of them the slowest 5 %",
            value: at(&times, 95),
            high: None,
            unit: "ms",
            aim: Some(Aim::AtMost(6.0)),
        });
    }
    if wants("look") {
        let (checked, walked) = world.looks().await;
        let rows = [
            ("lookup at a relay, evidence checked", checked, Some(Aim::AtMost(4.0))),
            ("lookup at a relay, unchecked", walked, None),
        ];
        for (what, times, aim) in rows {
            table.push(of_times(what, &times, None));
            if let Some(one) = one {
                let value = one / at(&times, 50);
                table.push(Row { what: "  the get takes so many times longer", value, high: None, unit: "", aim });
            }
        }
    }
    if wants("quorum") {
        table.push(of_times("get, quorum", &world.gets(GETS, Consistency::Quorum).await, Some(Aim::AtMost(8.0))));
    }
    if wants("put") {
        table.push(of_times("put, all receipts", &world.puts().await, Some(Aim::AtMost(15.0))));
    }
    if wants("many") {
        table.extend(world.many_gets().await);
    }
    if wants("file") {
        table.extend(world.files().await);
    }
    table
}

fn of_times(what: &'static str, times: &[f64], aim: Option<Aim>) -> Row {
    Row { what, value: at(times, 50), high: Some(at(times, 95)), unit: "ms", aim }
}

/// So many of a hundred take no longer.
fn at(sorted: &[f64], percent: usize) -> f64 {
    sorted[(sorted.len() - 1) * percent / 100]
}

fn millis(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1e3
}

fn sorted(mut times: Vec<f64>) -> Vec<f64> {
    times.sort_by(f64::total_cmp);
    times
}

/// Processor time of the whole process, seconds.
fn cpu() -> f64 {
    let used = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    used.tv_sec as f64 + used.tv_nsec as f64 / 1e9
}

/// Processor time of the whole machine, seconds, but for idling and waiting for disks.
fn all_busy() -> f64 {
    let stat = std::fs::read_to_string("/proc/stat").unwrap();
    let ticks =
        stat.lines().next().unwrap().split_whitespace().skip(1).take(8).map(|part| part.parse::<f64>().unwrap());
    let busy: f64 = ticks.enumerate().filter(|(at, _)| !matches!(at, 3 | 4)).map(|(_, ticks)| ticks).sum();
    // Linux counts these in hundredths whatever the machine.
    busy / 100.0
}

/// Starts lookups at relays, and hears what came of them.
#[derive(Clone, Default)]
struct Operators {
    commands: Arc<Mutex<BTreeMap<usize, mpsc::Sender<RelayCommand>>>>,
    waiting: Arc<Mutex<BTreeMap<u64, oneshot::Sender<Looked>>>>,
    next: Arc<AtomicU64>,
}

impl Operators {
    /// Relays whose operators can be asked.
    fn launch(&self) -> Launch {
        let operators = self.clone();
        Arc::new(move |Launching { runtime, index, relay, shell, store }| {
            let apply = Box::new(move |now, op| store.lock().unwrap().apply(now, op));
            let NodeHandle { commands, mut events, control } = spawn_node(runtime, relay, shell, apply);
            operators.commands.lock().unwrap().insert(index, commands);
            let (pass, passed) = mpsc::channel(64);
            let waiting = Arc::clone(&operators.waiting);
            tokio::spawn(async move {
                while let Some(event) = events.recv().await {
                    if let RelayEvent::Looked { id, looked } = event {
                        let _ = waiting.lock().unwrap().remove(&id).unwrap().send(looked.unwrap());
                    } else if pass.send(event).await.is_err() {
                        return;
                    }
                }
            });
            Launched { events: passed, control }
        })
    }

    async fn look(&self, relay: usize, location: Location) -> Looked {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let (tell, told) = oneshot::channel();
        self.waiting.lock().unwrap().insert(id, tell);
        let commands = self.commands.lock().unwrap()[&relay].clone();
        commands.send(RelayCommand::Look { id, location, kind: ValueKind::Signed }).await.unwrap();
        told.await.unwrap()
    }
}

struct World {
    network: LocalNetwork,
    operators: Operators,
    clients: Vec<Client>,
    locators: Vec<Locator>,
    _states: tempfile::TempDir,
}

impl World {
    /// Relays that know each other, clients that have used their guards, records that are stored.
    async fn start() -> Self {
        let (runtime, operators) = (Runtime::start().unwrap(), Operators::default());
        let mut options = LocalOptions::new(Network::named("speed", 0), RELAYS, 1);
        options.launch = Some(operators.launch());
        let mut network = LocalNetwork::start(&runtime, &options).await.unwrap();
        network.ready().await;
        let states = tempfile::tempdir().unwrap();
        let client = |number: u8| {
            let state = states.path().join(number.to_string());
            let mut options = ClientOptions::new(network.network, network.bootstraps(), state);
            (options.rule, options.bind_ip) = (network.rule, network.client_ip(number));
            options.stagger = Duration::ZERO;
            Client::start(&runtime, options).unwrap()
        };
        let clients: Vec<Client> = (0..CLIENTS).map(client).collect();
        let mut locators = Vec::new();
        for number in 0..RECORDS {
            let author = IdentitySecret::from_bytes(&[u8::try_from(number).unwrap(); 32]);
            clients[number % clients.len()]
                .put_record(&author, b"", &[7; RECORD_LEN], PutOptions::default())
                .await
                .expect("a first put");
            locators.push(Locator::of_author(&author, b"").unwrap());
        }
        let world = Self { network, operators, clients, locators, _states: states };
        // Every client's second hops and every relay's links come up.
        world.gets(WARMING, Consistency::All).await;
        world
    }

    async fn get(&self, number: usize, consistency: Consistency) {
        let options = GetOptions { consistency, ..GetOptions::default() };
        let client = &self.clients[number % self.clients.len()];
        let locator = &self.locators[number % self.locators.len()];
        let found = client.get_record(locator, options).await.expect("a get");
        assert!(found.attested && found.payload.len() == RECORD_LEN);
    }

    /// One get after the other, each over fresh paths; milliseconds, sorted.
    async fn gets(&self, count: usize, consistency: Consistency) -> Vec<f64> {
        let mut times = Vec::new();
        for number in 0..count {
            let start = Instant::now();
            self.get(number, consistency).await;
            times.push(millis(start));
        }
        sorted(times)
    }

    /// The same lookups without an onion: a client checks the evidence, so its check belongs to it; and the walk alone.
    async fn looks(&self) -> (Vec<f64>, Vec<f64>) {
        let (mut checked, mut walked) = (Vec::new(), Vec::new());
        let network = &self.network.network;
        for number in 0..GETS {
            let location = self.locators[number % self.locators.len()].locations()[number % LOCATIONS];
            let start = Instant::now();
            let looked = self.operators.look(number % RELAYS, location).await;
            walked.push(millis(start));
            let now = Clock::unix();
            let fits = |said: &Statement| said.verify(network, &looked.question, now).is_ok();
            let count = looked.statements.iter().filter(|said| fits(said)).count();
            checked.push(millis(start));
            assert!(looked.seq.is_some() && count == SIGNERS);
        }
        (sorted(checked), sorted(walked))
    }

    async fn puts(&self) -> Vec<f64> {
        let mut times = Vec::new();
        for number in 0..PUTS {
            let author = IdentitySecret::from_bytes(&[200; 32]);
            let label = number.to_string();
            let client = &self.clients[number % self.clients.len()];
            let start = Instant::now();
            let put = client.put_record(&author, label.as_bytes(), &[8; RECORD_LEN], PutOptions::default());
            let stored = put.await.expect("a put");
            times.push(millis(start));
            assert_eq!(stored.copies, [HOLDERS; LOCATIONS]);
        }
        sorted(times)
    }

    async fn many_gets(&self) -> [Row; 2] {
        let next = AtomicUsize::new(0);
        let worker = async || {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= GETS_AT_ONCE {
                    return;
                }
                self.get(number, Consistency::One).await;
            }
        };
        let (start, used) = (Instant::now(), cpu());
        let [a, b, c, d, e, f, g, h] = [(); AT_ONCE].map(|()| worker());
        tokio::join!(a, b, c, d, e, f, g, h);
        let (took, used) = (start.elapsed().as_secs_f64(), cpu() - used);
        let (rate, each) = (GETS_AT_ONCE as f64 / took, used * 1e3 / GETS_AT_ONCE as f64);
        [
            Row { what: "gets at once, 8", value: rate, high: None, unit: "1/s", aim: Some(Aim::AtLeast(500.0)) },
            Row { what: "  processor for each", value: each, high: None, unit: "ms", aim: Some(Aim::AtMost(4.0)) },
        ]
    }

    /// Files published by one client and got by several others; each file is new, and its content is not all alike.
    async fn files(&self) -> Vec<Row> {
        let (mut published, mut got) = (Vec::new(), Vec::new());
        for number in 0..FILES {
            let content: Vec<u8> = (0..FILE_LEN).map(|at| (at * 31 + at / 255 + number).to_le_bytes()[0]).collect();
            let (name, author) = (FileName::new("file").unwrap(), &self.clients[number]);
            let copy = content.clone();
            let (start, used) = (Instant::now(), cpu());
            let link = author.publish(&name, copy, PublishOptions::default(), |_| ()).await.expect("published").link;
            published.push((start.elapsed().as_secs_f64(), cpu() - used));
            for reader in &self.clients[FILES..FILES + READERS] {
                let (start, used) = (Instant::now(), cpu());
                let back = reader.get(&link, GetOptions::default(), |_| ()).await.expect("got");
                got.push((start.elapsed().as_secs_f64(), cpu() - used));
                assert_eq!(back.bytes, content);
            }
        }
        let rows = |times: &[(f64, f64)], names: [&'static str; 2], aims: [Option<Aim>; 2]| {
            let rates = sorted(times.iter().map(|(took, _)| FILE_LEN as f64 / 1e6 / took).collect());
            let costs = sorted(times.iter().map(|(_, used)| used / (FILE_LEN as f64 / 1e9)).collect());
            let row = |what, value, unit, aim| Row { what, value, high: None, unit, aim };
            [row(names[0], at(&rates, 50), "MB/s", aims[0]), row(names[1], at(&costs, 50), "s/GB", aims[1])]
        };
        let get_aims = [Some(Aim::AtLeast(30.0)), Some(Aim::AtMost(45.0))];
        let mut all: Vec<Row> = rows(&got, ["get of 16 MiB", "  processor"], get_aims).into();
        all.extend(rows(&published, ["publish of 16 MiB", "  processor"], [Some(Aim::AtLeast(8.0)), None]));
        all
    }
}
