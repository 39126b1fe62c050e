//! One relay of a running network against peers that break every rule: the link or the circuit ends, counted where there is
//! a count, nothing panics, and the honest are served as before.
#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test crate")]

mod world;

use std::net::Ipv4Addr;
use std::sync::{Mutex, Once};
use std::time::Duration;

use bauta::cli::local::LocalOptions;
use bauta::client::{GetOptions, PutOptions};
use bauta::crypto::keys::DhKey;
use bauta::keyspace::Id;
use bauta::limits::{
    ASKS_PER_LINK_MAX, BODY_LEN, BUILDS_PER_LINK_BURST, FRAME_LEN, HANDSHAKES_PER_PREFIX_BURST, MESSAGE_LEN_MAX,
    NONCE_LEN,
};
use bauta::link::Timing;
use bauta::net::{DownKind, ShellLimits};
use bauta::onion::build;
use bauta::wire::cell::{Cell, CircuitId, Command};
use bauta::wire::contact::Contact;
use bauta::wire::message::{Answer, Ask, cells_of};
use bauta::wire::onion::ExitRequest;
use bauta::wire::payment::Account;
use bauta::wire::record::{ChunkBytes, Expiry, Value, ValueKind};
use bauta::wire::statement::Nonce;
use tokio::io::AsyncWriteExt;
use world::raw::{Raw, circuit, connect_from, is_closed, rng};
use world::{World, author, locator, network, patiently, until};

const RELAYS: usize = 8;
/// The relay under attack.
const TARGET: usize = 0;

/// Panics of the crate itself, wherever they happened.
static PANICS: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// A network and the attackers' addresses in it.
struct Siege {
    world: World,
    seed: u8,
}

impl Siege {
    async fn start(seed: u8) -> Self {
        static HOOK: Once = Once::new();
        HOOK.call_once(|| {
            let before = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |panic| {
                if panic.location().is_some_and(|at| at.file().starts_with("src/")) {
                    PANICS.lock().unwrap().push(panic.to_string());
                }
                before(panic);
            }));
        });
        let timing = Timing { handshake: Duration::from_secs(3), ..Timing::default() };
        let limits = ShellLimits { timing, ..ShellLimits::default() };
        let options = LocalOptions { limits, ..LocalOptions::new(network(u64::from(seed)), RELAYS, u64::from(seed)) };
        Self { world: World::with(options).await, seed }
    }

    fn target(&self) -> Contact {
        self.world.network.relays[TARGET].contact
    }

    fn counted(&self, kind: DownKind) -> u64 {
        let control = self.world.network.relays[TARGET].control().unwrap();
        control.counts().get(&kind).copied().unwrap_or(0)
    }

    /// An attacker's socket, its first frame unwritten; each host has its own key.
    async fn raw(&self, host: u8) -> Raw {
        Raw::connect(host, ip(host), self.world.network.network, &self.target()).await
    }

    /// An attacker whose handshake held.
    async fn up(&self, host: u8) -> Raw {
        Raw::up(host, ip(host), self.world.network.network, &self.target()).await
    }

    /// A build packet for the target alone, which is then the exit.
    async fn packet(&self, raw: &mut Raw, number: u32) -> Cell {
        let now = self.world.runtime.clock().now().unix;
        let members = raw.members(number + 10_000, &self.world.network.network, now).await;
        let target = members.into_iter().find(|one| one.id() == self.target().id).unwrap();
        let request = ExitRequest::Find { location: Id([9; 20]), nonce: Nonce([7; NONCE_LEN]) };
        let mut rng = rng(u64::from(number));
        let built = build(&self.world.network.network, &[target], &request.encode(), now, &mut rng).unwrap();
        Cell::build(circuit(number), built.suite, built.hint, built.body)
    }

    /// The link lives, and the relay answers on it.
    async fn still_answers(&self, raw: &mut Raw, number: u32) {
        let now = self.world.runtime.clock().now().unix;
        assert_eq!(raw.members(number, &self.world.network.network, now).await.len(), RELAYS);
    }

    /// The end of every test: the target answers a stranger, a client's whole operation works, nothing has panicked.
    async fn holds(self) {
        let mut honest = self.up(250).await;
        self.still_answers(&mut honest, 1).await;
        let client = self.world.client(1);
        patiently(client.put_record(&author(self.seed), b"", b"value", PutOptions::default())).await.unwrap();
        let found = patiently(client.get_record(&locator(self.seed, b""), GetOptions::default())).await.unwrap();
        assert_eq!(found.payload, b"value");
        let panics = PANICS.lock().unwrap();
        assert!(panics.is_empty(), "{panics:?}");
    }
}

/// Each attacker has a /16 of its own, apart from relays and clients.
fn ip(host: u8) -> Ipv4Addr {
    Ipv4Addr::new(127, 100, host, 1)
}

fn destroyed(number: u32) -> Option<(Command, CircuitId)> {
    Some((Command::Destroy, circuit(number)))
}

// ---- before the handshake holds ----

#[tokio::test(flavor = "multi_thread")]
async fn garbage_another_network_and_a_wrong_key_meet_silence_and_are_counted_as_identity() {
    let siege = Siege::start(60).await;
    let before = siege.counted(DownKind::Identity);
    let mut garbage = connect_from(ip(1), siege.target().address.0).await;
    garbage.write_all(&[0x16; 3 * FRAME_LEN]).await.unwrap();
    let mut foreign = Raw::connect(2, ip(2), network(9_999), &siege.target()).await;
    foreign.flush().await.unwrap();
    let other_key = Contact { link_key: siege.world.network.relays[1].contact.link_key, ..siege.target() };
    let mut mistaken = Raw::connect(3, ip(3), siege.world.network.network, &other_key).await;
    mistaken.flush().await.unwrap();
    for stream in [&mut garbage, &mut foreign.stream, &mut mistaken.stream] {
        assert!(is_closed(stream).await, "not one byte is said");
    }
    until(|| siege.counted(DownKind::Identity) >= before + 3).await;
    siege.holds().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn truncated_half_open_and_silent_handshakes_end_at_their_deadline_and_are_counted() {
    let siege = Siege::start(61).await;
    let before = siege.counted(DownKind::Handshake);
    let address = siege.target().address.0;
    let mut silent = connect_from(ip(1), address).await;
    let mut truncated = connect_from(ip(2), address).await;
    truncated.write_all(&[1; FRAME_LEN - 1]).await.unwrap();
    let mut half_open = connect_from(ip(3), address).await;
    half_open.write_all(&[1; FRAME_LEN / 2]).await.unwrap();
    half_open.shutdown().await.unwrap();
    let mut stopped = siege.raw(4).await;
    stopped.flush().await.unwrap();
    assert!(stopped.event().await.is_ok(), "it is answered, and then says nothing more");
    drop(connect_from(ip(5), address).await);
    for stream in [&mut silent, &mut truncated, &mut half_open, &mut stopped.stream] {
        assert!(is_closed(stream).await);
    }
    until(|| siege.counted(DownKind::Handshake) >= before + 5).await;
    siege.holds().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_whose_bytes_come_one_by_one_is_served() {
    let siege = Siege::start(62).await;
    let mut raw = siege.raw(1).await;
    let mut frame = [0; FRAME_LEN];
    assert!(raw.link.poll_frame(bauta::time::Instant::ZERO, &mut frame));
    for byte in frame {
        raw.stream.write_all(&[byte]).await.unwrap();
    }
    raw.event().await.unwrap();
    raw.flush().await.unwrap();
    siege.still_answers(&mut raw, 1).await;
    // Half a frame, and then the end: nothing is made of it.
    raw.stream.write_all(&[0; FRAME_LEN / 2]).await.unwrap();
    raw.stream.shutdown().await.unwrap();
    assert!(is_closed(&mut raw.stream).await);
    siege.holds().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_handshakes_from_one_prefix_is_turned_away_and_others_are_served() {
    let siege = Siege::start(63).await;
    let before = siege.counted(DownKind::Limit);
    let mut flood = Vec::new();
    for n in 0..2 * HANDSHAKES_PER_PREFIX_BURST {
        let from = Ipv4Addr::new(127, 100, 0, u8::try_from(n % 200 + 1).unwrap());
        flood.push(connect_from(from, siege.target().address.0).await);
    }
    until(|| siege.counted(DownKind::Limit) >= before + u64::from(HANDSHAKES_PER_PREFIX_BURST / 2)).await;
    assert!(is_closed(flood.last_mut().unwrap()).await);
    siege.holds().await;
}

// ---- on a link that holds ----

// [MSG-R-004] [MSG-R-007] [MSG-R-008]
#[tokio::test(flavor = "multi_thread")]
async fn cells_without_meaning_break_the_protocol() {
    let siege = Siege::start(64).await;
    let before = siege.counted(DownKind::Protocol);
    // Not sealed; a second hello; an answer cut short and an ask of 4 GiB; an ask of no known kind.
    let mut unsealed = siege.up(1).await;
    unsealed.stream.write_all(&[0; FRAME_LEN]).await.unwrap();
    let mut hello = siege.up(2).await;
    hello.send([Cell::of_link(Command::Hello)]).await.unwrap();
    let mut huge = siege.up(3).await;
    let mut cell = Cell::new(circuit(1), Command::Ask);
    cell.body_mut()[..4].copy_from_slice(&u32::MAX.to_be_bytes());
    huge.send([cell]).await.unwrap();
    let mut unknown = siege.up(4).await;
    unknown.send(cells_of(circuit(1), Command::Ask, &[99, 1, 2, 3]).unwrap()).await.unwrap();
    let mut unfinished = siege.up(5).await;
    let first = |number| cells_of(circuit(number), Command::Ask, &[1; MESSAGE_LEN_MAX]).unwrap().swap_remove(0);
    let too_many = u32::try_from(ASKS_PER_LINK_MAX).unwrap() + 1;
    // The link may end before the last of them is written.
    let _ = unfinished.send((1..=too_many).map(first)).await;
    for raw in [&mut unsealed, &mut hello, &mut huge, &mut unknown, &mut unfinished] {
        assert_eq!(raw.told().await, None);
    }
    until(|| siege.counted(DownKind::Protocol) >= before + 5).await;
    siege.holds().await;
}

// [CELL-R-008]
#[tokio::test(flavor = "multi_thread")]
async fn cells_of_unknown_circuits_are_dropped_and_the_link_goes_on() {
    let siege = Siege::start(65).await;
    let mut raw = siege.up(1).await;
    let commands = [Command::Forward, Command::Backward, Command::Reply0, Command::Destroy, Command::Answer];
    for command in commands {
        raw.send([Cell::new(circuit(5), command), Cell::new(CircuitId(5), command)]).await.unwrap();
    }
    raw.send([Cell::credit(circuit(5), u32::MAX), Cell::of_link(Command::Padding)]).await.unwrap();
    siege.still_answers(&mut raw, 1).await;
    siege.holds().await;
}

// [MSG-R-010] [MSG-R-021] [MSG-R-027]
#[tokio::test(flavor = "multi_thread")]
async fn a_client_may_ask_no_storer_itself() {
    let siege = Siege::start(66).await;
    let mut raw = siege.up(1).await;
    let (location, nonce) = (Id([5; 20]), Nonce([5; NONCE_LEN]));
    for (number, kind) in [(1, ValueKind::Signed), (2, ValueKind::Hashed)] {
        let find = Ask::Find { kind, location, nonce, want_value: true };
        assert_eq!(raw.ask(number, &find).await, Answer::Refused);
    }
    let store = |len| {
        let bytes = vec![1; len];
        let hash = bauta::crypto::hash::blake3(&[&bytes]);
        let expiry = Expiry::at_least(siege.world.runtime.clock().now().unix);
        let value = Value::Hashed(ChunkBytes { hash, index: 0, expiry, bytes });
        Ask::Store { nonce, expected: None, value, account: Account::Anonymous(None) }
    };
    assert_eq!(raw.ask(3, &store(1_000)).await, Answer::Refused);
    assert_eq!(siege.world.network.relays[TARGET].values(), 0);
    siege.still_answers(&mut raw, 4).await;
    // A client has one cell for a question; a longer one would only be memory.
    let before = siege.counted(DownKind::Protocol);
    raw.send(cells_of(circuit(5), Command::Ask, &store(40_000).encode()).unwrap()).await.unwrap();
    until(|| siege.counted(DownKind::Protocol) > before).await;
    assert_eq!(siege.world.network.relays[TARGET].values(), 0);
    siege.holds().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_asks_without_end_and_never_reads_is_closed_at_its_limit() {
    let siege = Siege::start(67).await;
    let before = siege.counted(DownKind::Limit);
    let mut raw = siege.up(1).await;
    let ask = Ask::Members { after: None }.encode();
    let mut number = 0;
    // Each is answered, and nothing is taken: sooner or later the relay has had enough.
    patiently(async {
        loop {
            let more = (number..number + 100).flat_map(|number| cells_of(circuit(number + 1), Command::Ask, &ask));
            number += 100;
            if raw.send(more.flatten()).await.is_err() {
                return;
            }
        }
    })
    .await;
    until(|| siege.counted(DownKind::Limit) > before).await;
    siege.holds().await;
}

// ---- circuits ----

// [ONION-R-024] [VER-R-005]
#[tokio::test(flavor = "multi_thread")]
async fn build_packets_that_do_not_open_are_destroyed_however_many_come_at_once() {
    let siege = Siege::start(68).await;
    let mut raw = siege.up(1).await;
    let good = siege.packet(&mut raw, 1).await;
    // Another suite, another key's hint, noise, a flipped bit: and one from the wrong end's numbers.
    let flipped = |at: usize| {
        let mut body = *good.body();
        body[at] ^= 1;
        body
    };
    let (suite, hint) = (good.suite(), good.hint());
    let wrong = [
        Cell::build(circuit(2), suite.wrapping_add(1), hint, *good.body()),
        Cell::build(circuit(3), suite, hint.wrapping_add(1), *good.body()),
        Cell::build(circuit(4), suite, hint, [0; BODY_LEN]),
        Cell::build(circuit(5), suite, hint, [0xff; BODY_LEN]),
        Cell::build(circuit(6), suite, hint, flipped(0)),
        Cell::build(circuit(7), suite, hint, flipped(40)),
        Cell::build(circuit(8), suite, hint, flipped(BODY_LEN - 1)),
    ];
    for cell in wrong {
        let number = cell.circuit();
        raw.send([cell]).await.unwrap();
        assert_eq!(raw.told().await, Some((Command::Destroy, number)));
    }
    raw.send([Cell::build(CircuitId(9), suite, hint, *good.body())]).await.unwrap();
    assert_eq!(raw.told().await, Some((Command::Destroy, CircuitId(9))));

    let flood = 2 * BUILDS_PER_LINK_BURST;
    let body = |number: u32| {
        let mut body = [3; BODY_LEN];
        body[..4].copy_from_slice(&number.to_be_bytes());
        body
    };
    for many in (100..100 + flood).collect::<Vec<_>>().chunks(64) {
        raw.send(many.iter().map(|n| Cell::build(circuit(*n), suite, hint, body(*n)))).await.unwrap();
    }
    let mut ended = std::collections::BTreeSet::new();
    for _ in 0..flood {
        let (command, number) = raw.told().await.unwrap();
        assert_eq!(command, Command::Destroy);
        ended.insert(number);
    }
    assert_eq!(ended.len(), usize::try_from(flood).unwrap(), "each once");
    siege.still_answers(&mut raw, 50).await;
    siege.holds().await;
}

// [ONION-R-022]
#[tokio::test(flavor = "multi_thread")]
async fn over_its_bucket_even_a_good_build_packet_is_destroyed() {
    let siege = Siege::start(69).await;
    let mut raw = siege.up(1).await;
    let mut destroyed_unopened = None;
    // A relay whose machine is so busy that the bucket fills as fast as it comes to the packets has no reason to refuse: it is asked again.
    for number in 1..=5 {
        let good = siege.packet(&mut raw, number).await;
        let garbage = |number| Cell::build(circuit(number), good.suite(), good.hint(), [0; BODY_LEN]);
        let first = 4 * BUILDS_PER_LINK_BURST * number + 100;
        raw.send((first..first + 4 * BUILDS_PER_LINK_BURST).map(garbage).chain([good.clone()])).await.unwrap();
        let mut told = raw.told().await;
        while told.is_some_and(|(_, came)| came != circuit(number)) {
            told = raw.told().await;
        }
        if told == Some((Command::Destroy, circuit(number))) {
            destroyed_unopened = Some((number, good));
            break;
        }
        raw.send([Cell::new(circuit(number), Command::Destroy)]).await.unwrap();
    }
    // The packet itself is not used up by that.
    let (number, good) = destroyed_unopened.unwrap();
    let mut other = siege.up(2).await;
    other.send([good]).await.unwrap();
    assert_eq!(other.told().await, Some((Command::Reply0, circuit(number))));
    siege.holds().await;
}

// [ONION-R-047]
#[tokio::test(flavor = "multi_thread")]
async fn a_build_packet_serves_once() {
    let siege = Siege::start(70).await;
    let mut raw = siege.up(1).await;
    let packet = siege.packet(&mut raw, 1).await;
    raw.send([packet.clone()]).await.unwrap();
    assert_eq!(raw.told().await, Some((Command::Reply0, circuit(1))));
    assert_eq!(raw.told().await, Some((Command::Backward, circuit(1))));
    // On the same number, on another, and on another link.
    for number in [1, 2] {
        raw.send([packet.clone().on_circuit(circuit(number))]).await.unwrap();
        assert_eq!(raw.told().await, destroyed(number));
    }
    let mut other = siege.up(2).await;
    other.send([packet]).await.unwrap();
    assert_eq!(other.told().await, destroyed(1));
    siege.holds().await;
}

// [ONION-R-003] [ONION-R-043] [REQ-R-007] [CELL-R-004]
#[tokio::test(flavor = "multi_thread")]
async fn forward_cells_before_reply_0_of_noise_or_unasked_for_end_their_circuit_alone() {
    let siege = Siege::start(71).await;
    let mut raw = siege.up(1).await;
    let early = siege.packet(&mut raw, 1).await;
    raw.send([early, Cell::new(circuit(1), Command::Forward)]).await.unwrap();
    assert_eq!(raw.told().await, destroyed(1));

    let mut dirty = Cell::credit(circuit(4), 1);
    dirty.body_mut()[BODY_LEN - 1] = 1;
    let ends = [Cell::new(circuit(2), Command::Forward), Cell::new(circuit(3), Command::Credit), dirty];
    for (number, end) in (2..).zip(ends) {
        let packet = siege.packet(&mut raw, number).await;
        raw.send([packet]).await.unwrap();
        assert_eq!(raw.told().await, Some((Command::Reply0, circuit(number))));
        assert_eq!(raw.told().await, Some((Command::Backward, circuit(number))));
        // Noise in a forward cell; credits of nothing; something behind a credit.
        raw.send([end]).await.unwrap();
        assert_eq!(raw.told().await, destroyed(number));
    }
    siege.still_answers(&mut raw, 5).await;
    siege.holds().await;
}

// [CELL-R-005] [CELL-R-006]
#[tokio::test(flavor = "multi_thread")]
async fn a_destroy_ends_its_circuit_whatever_stands_in_it_and_is_not_answered() {
    let siege = Siege::start(75).await;
    let mut raw = siege.up(1).await;
    let packet = siege.packet(&mut raw, 1).await;
    raw.send([packet]).await.unwrap();
    assert_eq!(raw.told().await, Some((Command::Reply0, circuit(1))));
    assert_eq!(raw.told().await, Some((Command::Backward, circuit(1))));
    let mut destroy = Cell::new(circuit(1), Command::Destroy);
    destroy.body_mut().fill(0xff);
    // Of a circuit that is there still the noise would be answered, too.
    raw.send([destroy, Cell::new(circuit(1), Command::Forward)]).await.unwrap();
    raw.send(cells_of(circuit(2), Command::Ask, &Ask::sign_of_life().encode()).unwrap()).await.unwrap();
    assert_eq!(raw.told().await, Some((Command::Answer, circuit(2))));
    siege.holds().await;
}

// [LINK-R-049]
#[tokio::test(flavor = "multi_thread")]
async fn more_credits_than_a_circuit_may_have_end_it() {
    let siege = Siege::start(72).await;
    let mut raw = siege.up(1).await;
    for (number, counts) in [(1, vec![u32::MAX]), (2, vec![400, 400]), (3, vec![513])] {
        let packet = siege.packet(&mut raw, number).await;
        raw.send([packet]).await.unwrap();
        assert_eq!(raw.told().await, Some((Command::Reply0, circuit(number))));
        assert_eq!(raw.told().await, Some((Command::Backward, circuit(number))));
        raw.send(counts.into_iter().map(|count| Cell::credit(circuit(number), count))).await.unwrap();
        assert_eq!(raw.told().await, destroyed(number));
    }
    siege.still_answers(&mut raw, 5).await;
    siege.holds().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_none_is_refused_before_anything_is_sent() {
    let siege = Siege::start(73).await;
    let ip = siege.world.network.client_ip(9).unwrap();
    let low = Contact { link_key: DhKey([0; 32]), ..siege.target() };
    let mut options = siege.world.client_options(9);
    options.bootstraps = vec![low];
    let client = bauta::client::Client::start(&siege.world.runtime, options).unwrap();
    let got = patiently(client.get_record(&locator(73, b""), GetOptions::default())).await;
    assert_eq!(world::refused(got), bauta::request::Refused::Unreachable);
    assert!(siege.world.ear.peers_of(ip).is_empty());
    siege.holds().await;
}
