//! Whether a store under load holds up what a relay forwards: cells go through one relay to another one and back, one at a time, while
//! others have the relay store chunks and send them what it has. `cargo run --release --example store_load -- DIR`.
//!
//! The relay is real, over loopback sockets, once with its values in memory and once in a folder that is made in DIR and removed
//! at the end. Client, second relay and those who store are links of this process that say what they are told: their own
//! work is in the times, with load and without.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::indexing_slicing,
    reason = "an experiment for a terminal"
)]
#![allow(clippy::disallowed_methods, reason = "it is about how long things take")]

#[path = "../tests/world/raw.rs"]
#[allow(dead_code, reason = "tests use more of it")]
mod raw;

use std::future::Future;
use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bauta::cli::local::{Launched, Launching, LocalNetwork, LocalOptions};
use bauta::crypto::hash::blake3;
use bauta::crypto::keys::{DhSecret, IdentitySecret};
use bauta::crypto::puzzle::solve;
use bauta::dht::store::Quota;
use bauta::disk::ValueStore;
use bauta::keyspace::Location;
use bauta::limits::{CREDIT_START, EXPIRY_STEP_S, SEALED_CHUNK_LEN};
use bauta::link::{Params, Timing};
use bauta::net::{Clock, Runtime, spawn_durable_node};
use bauta::onion::{Circuit, ExitHop, OnionKeys, Reply0, Role, build, peel};
use bauta::time::{Instant as At, Now, UnixTime};
use bauta::wire::address::Address;
use bauta::wire::cell::{Cell, CircuitId, Command};
use bauta::wire::contact::Contact;
use bauta::wire::descriptor::{Descriptor, VerifiedDescriptor};
use bauta::wire::hello::Hello;
use bauta::wire::message::{Answer, Ask, cells_of};
use bauta::wire::network::{Network, SUITE, VERSIONS};
use bauta::wire::payment::Account;
use bauta::wire::record::{ChunkBytes, ChunkName, Expiry, Value, ValueKind};
use bauta::wire::statement::{Nonce, Verdict};
use rand::rngs::ChaCha20Rng;
use rand::{Rng as _, RngExt as _};
use raw::{Raw, circuit, rng};

/// There and back through the relay, in one phase.
const TRIPS: usize = 6_000;
/// Trips on one circuit.
const TRIPS_EACH: usize = 600;
/// After so many cells their receiver lets as many more come.
const GRANT: u32 = CREDIT_START / 2;
/// Links that have it store and ask for what it has, and how often each does either.
const LOADERS: u8 = 4;
const LOAD_EVERY: Duration = Duration::from_millis(40);
/// Each phase so often, in turn.
const ROUNDS: usize = 3;

fn main() {
    let folder = std::env::args().nth(1).expect("store_load DIR");
    let home = tempfile::tempdir_in(folder).expect("a folder that can be written");
    let tokio = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    tokio.block_on(async { measure(&Runtime::start().expect("a runtime"), home.path()).await });
}

async fn measure(runtime: &Arc<Runtime>, home: &Path) {
    println!("{TRIPS} cells there and back through one relay, {ROUNDS} rounds; microseconds");
    println!("{:<22}{:>8} {:>8} {:>8} {:>14}", "", "median", "99 %", "99.9 %", "chunks a second");
    let mut all: [Vec<Percentiles>; 4] = Default::default();
    for round in 0..ROUNDS {
        for (index, (store, name)) in
            [(None, "values in memory"), (Some(home), "values on disk")].into_iter().enumerate()
        {
            let mut place = Place::start(runtime, store, u64::try_from(round).unwrap()).await;
            let idle = Percentiles::of(place.trips().await);
            idle.show(name, 0.0);
            let (loaded, rate) = place.trips_under_load().await;
            let loaded = Percentiles::of(loaded);
            loaded.show("  and under load", rate);
            all[2 * index].push(idle);
            all[2 * index + 1].push(loaded);
        }
    }
    let of = |index: usize| {
        let mut all: Vec<f64> = all[index].iter().map(|one| one.high).collect();
        all.sort_by(f64::total_cmp);
        all[all.len() / 2]
    };
    println!(
        "the 99th of a hundred takes so many times longer under load, medians of rounds: memory {:.2}, disk {:.2}",
        of(1) / of(0),
        of(3) / of(2)
    );
}

/// Of one phase, in microseconds.
struct Percentiles {
    median: f64,
    high: f64,
    higher: f64,
}

impl Percentiles {
    fn of(mut times: Vec<Duration>) -> Self {
        times.sort();
        let at = |per_mille: usize| times[(times.len() - 1) * per_mille / 1_000].as_secs_f64() * 1e6;
        Self { median: at(500), high: at(990), higher: at(999) }
    }

    fn show(&self, what: &str, rate: f64) {
        println!("{what:<22}{:>8.0} {:>8.0} {:>8.0} {rate:>14.0}", self.median, self.high, self.higher);
    }
}

/// Who a link of this process is, where it shows a descriptor.
struct Somebody {
    params: Params,
    ip: Ipv4Addr,
    descriptor: VerifiedDescriptor,
    onion: OnionKeys,
}

fn somebody(network: Network, number: u8) -> Somebody {
    let (mut rng, unix, ip) = (rng(5_000 + u64::from(number)), Clock::unix(), Ipv4Addr::new(127, 100 + number, 0, 1));
    let identity = IdentitySecret::generate(&mut rng);
    let onion = OnionKeys::new(network, identity.public(), Now { instant: At::ZERO, unix }, &mut rng);
    let (secret, (onion_key, onion_epoch)) = (DhSecret::generate(&mut rng), onion.public());
    let descriptor = Descriptor {
        key: identity.public(),
        solution: solve(&network.id, &identity.public(), network.difficulty, 0, 1).expect("no zero bits are asked for"),
        link_key: secret.public(),
        onion_epoch,
        onion_key,
        address: Address((ip, 1).into()),
        family: [0; 8],
        versions: VERSIONS,
        issued: unix.to_wire(),
        effort: 0,
    };
    let descriptor = descriptor.sign(&network, &identity);
    let hello = Hello { versions: VERSIONS, descriptor: Some(descriptor.to_signed()) };
    Somebody { params: Params { network, secret, hello, timing: Timing::default() }, ip, descriptor, onion }
}

/// One relay, a client linked to it, and a relay behind it.
struct Place {
    network: LocalNetwork,
    relay: Contact,
    client: Raw,
    path: Vec<VerifiedDescriptor>,
    circuits: u32,
    rng: ChaCha20Rng,
}

struct Behind {
    link: Raw,
    onion: OnionKeys,
    hint: u8,
    exit: Option<(CircuitId, ExitHop)>,
}

impl Place {
    async fn start(runtime: &Arc<Runtime>, store: Option<&Path>, round: u64) -> Self {
        let network = Network::named("store load", 0);
        let mut options = LocalOptions::new(network, 1, round);
        if let Some(home) = store {
            let quota = Quota { values: 1 << 30, bytes: 1 << 40 };
            let file = home.join(format!("{round}.redb"));
            let store = Arc::new(ValueStore::open(&file, network, quota, &mut rng(1)).unwrap());
            options.launch = Some(Arc::new(move |Launching { runtime, relay, shell, .. }| {
                let store = Arc::clone(&store);
                Launched::from(spawn_durable_node(runtime, relay, shell, store))
            }));
        }
        let mut local = LocalNetwork::start(runtime, &options).await.unwrap();
        let relay = local.relays[0].contact;
        let second = somebody(network, 1);
        let link = Raw::connect_as(second.params, 1, second.ip, &relay).await.established().await;
        let behind = Behind { link, onion: second.onion, hint: second.descriptor.onion_hint(), exit: None };
        tokio::spawn(behind.answer_all());
        let mut client = Raw::up(9, Ipv4Addr::new(127, 99, 0, 1), network, &relay).await;
        // Whom the relay does not know yet it passes nothing on to.
        local.relays[0].members.wait_for(|known| *known >= 2).await.unwrap();
        let mut path = client.members(1, &network, Clock::unix()).await;
        path.sort_by_key(|one| one.link_key != relay.link_key);
        assert_eq!(path.len(), 2, "the relay knows itself and the one behind");
        Self { network: local, relay, client, path, circuits: 100, rng: rng(7) }
    }

    async fn trips(&mut self) -> Vec<Duration> {
        let mut times = Vec::with_capacity(TRIPS);
        while times.len() < TRIPS {
            let (id, mut circuit) = self.open().await;
            for trip in 1..=TRIPS_EACH {
                let body = circuit.seal_forward(&[7; 900], &mut self.rng).unwrap();
                let begun = Instant::now();
                let mut cell = Cell::new(id, Command::Forward);
                *cell.body_mut() = body;
                self.client.send([cell]).await.unwrap();
                let back = next(&mut self.client, id, Command::Backward).await;
                times.push(begun.elapsed());
                circuit.open_backward(back.body()).unwrap();
                if trip.is_multiple_of(usize::try_from(GRANT).unwrap()) {
                    self.client.send([Cell::credit(id, GRANT)]).await.unwrap();
                }
            }
            self.client.send([Cell::new(id, Command::Destroy)]).await.unwrap();
        }
        times
    }

    /// A circuit to the relay behind.
    async fn open(&mut self) -> (CircuitId, Circuit) {
        self.circuits += 1;
        let id = circuit(self.circuits);
        let built = build(&self.network.network, &self.path, b"", Clock::unix(), &mut self.rng).unwrap();
        let cell = Cell::build(id, built.suite, built.hint, built.body);
        self.client.send([cell]).await.unwrap();
        let reply = next(&mut self.client, id, Command::Reply0).await;
        let Ok(Reply0::Exit(circuit, _)) = built.building.open_reply0(reply.body()) else { panic!("no circuit") };
        (id, circuit)
    }

    async fn trips_under_load(&mut self) -> (Vec<Duration>, f64) {
        let (is_over, chunks) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let mut loaders = Vec::new();
        for number in 0..LOADERS {
            let loader = somebody(self.network.network, 10 + number);
            let link = Raw::connect_as(loader.params, 10 + number, loader.ip, &self.relay).await.established().await;
            loaders.push(tokio::spawn(load(link, number, Arc::clone(&is_over), Arc::clone(&chunks))));
        }
        let begun = Instant::now();
        let times = self.trips().await;
        let rate = f64::from(u32::try_from(chunks.load(Ordering::Relaxed)).unwrap()) / begun.elapsed().as_secs_f64();
        is_over.store(true, Ordering::Relaxed);
        for loader in loaders {
            loader.await.unwrap();
        }
        (times, rate)
    }
}

impl Behind {
    /// Answers every cell of a circuit until the link ends.
    async fn answer_all(mut self) {
        let (mut rng, mut taken) = (rng(8), 0);
        while let Some(cell) = self.link.cell().await {
            let id = cell.circuit();
            let (command, body) = match cell.command() {
                Command::Build => {
                    let peeled = peel(&self.onion.secrets(SUITE, self.hint), cell.body(), &mut rng).unwrap();
                    let Role::Exit { mut hop, .. } = peeled.role else { panic!("it is the last") };
                    let body = hop.seal_reply0(b"").unwrap();
                    (self.exit, taken) = (Some((id, hop)), 0);
                    (Command::Reply0, body)
                }
                Command::Forward => {
                    let (_, hop) = self.exit.as_mut().filter(|(of, _)| *of == id).expect("a circuit that was opened");
                    hop.open_forward(cell.body()).unwrap();
                    taken += 1;
                    if taken % GRANT == 0 {
                        self.link.send([Cell::credit(id, GRANT)]).await.unwrap();
                    }
                    (Command::Backward, hop.seal_backward(&[8; 900]).unwrap())
                }
                _ => {
                    decline(&mut self.link, &cell).await;
                    continue;
                }
            };
            let mut cell = Cell::new(id, command);
            *cell.body_mut() = body;
            self.link.send([cell]).await.unwrap();
        }
    }
}

/// The next cell of this kind; the relay's own questions are declined meanwhile.
async fn next(link: &mut Raw, id: CircuitId, wanted: Command) -> Cell {
    loop {
        let cell = link.cell().await.expect("the link holds");
        if (cell.command(), cell.circuit()) == (wanted, id) {
            return cell;
        }
        assert!((cell.command(), cell.circuit()) != (Command::Destroy, id), "the relay ended the circuit");
        decline(link, &cell).await;
    }
}

async fn decline(link: &mut Raw, cell: &Cell) {
    if cell.command() == Command::Ask {
        let answer = cells_of(cell.circuit(), Command::Answer, &Answer::Refused.encode()).unwrap();
        link.send(answer).await.unwrap();
    }
}

/// Has the relay store a fresh chunk and send an earlier one, over and over.
async fn load(mut link: Raw, number: u8, is_over: Arc<AtomicBool>, chunks: Arc<AtomicUsize>) {
    let (mut rng, mut pace, mut asked) = (rng(100 + u64::from(number)), tokio::time::interval(LOAD_EVERY), 10);
    let mut stored: Vec<Location> = Vec::new();
    while !is_over.load(Ordering::Relaxed) {
        pace.tick().await;
        let mut bytes = vec![0; SEALED_CHUNK_LEN];
        rng.fill_bytes(&mut bytes);
        let expiry = Expiry::at_least(UnixTime(Clock::unix().0 + 4 * EXPIRY_STEP_S));
        let chunk = ChunkBytes { hash: blake3(&[&bytes]), index: 0, expiry, bytes };
        let location = ChunkName { hash: chunk.hash, index: 0 }.location();
        let value = Value::Hashed(chunk);
        let mut nonce = [0; 16];
        rng.fill_bytes(&mut nonce);
        let (nonce, account) = (Nonce(nonce), Account::Anonymous(None));
        let answer = ask(&mut link, asked, &Ask::Store { nonce, expected: None, value, account }).await;
        let Answer::Stored { statement } = &answer else { panic!("{answer:?}") };
        assert_eq!(statement.verdict, Verdict::Stored);
        stored.push(location);
        let earlier = stored[rng.random_range(0..stored.len())];
        let find = Ask::Find { kind: ValueKind::Hashed, location: earlier, nonce, want_value: true };
        let answer = ask(&mut link, asked + 1, &find).await;
        assert!(matches!(answer, Answer::Found { value: Some(_), .. }));
        chunks.fetch_add(2, Ordering::Relaxed);
        asked += 2;
    }
}

/// Asks and waits, and declines what it is asked meanwhile.
async fn ask(link: &mut Raw, number: u32, ask: &Ask) -> Answer {
    link.send(cells_of(circuit(number), Command::Ask, &ask.encode()).unwrap()).await.unwrap();
    let mut assembler = bauta::wire::message::Assembler::default();
    loop {
        let cell = next(link, circuit(number), Command::Answer).await;
        if let Some(message) = assembler.push(cell.body()).unwrap() {
            return Answer::decode(&message).unwrap();
        }
    }
}

/// What waits longer has failed.
async fn patiently<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(90), future).await.expect("it never came")
}
