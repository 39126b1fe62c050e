//! A whole relay: circuits that pass it, what it does for others, and whom it believes.

use std::collections::BTreeSet;

use bauta::keyspace::Id;
use bauta::limits::{LOOKUP_ASKS_MAX, SIGNERS};
use bauta::membership::members::Members;
use bauta::membership::prefix_rule::PrefixRule;
use bauta::node::io::{Input, LinkId};
use bauta::node::{ClientConfig, ClientNode, Kept};
use bauta::record::{Locator, VerifiedValue};
use bauta::time::{Duration, UnixTime};
use bauta::wire::address::Address;
use bauta::wire::cell::{Cell, CircuitId, Command};
use bauta::wire::contact::Contact;
use bauta::wire::message::{Answer, Ask, Assembler, cells_of};
use bauta::wire::onion::ExitRequest;
use bauta::wire::payment::Account;
use bauta::wire::record::{Expiry, RecordBytes, Value};
use bauta::wire::statement::{Nonce, Operation, Question, Saying, Statement, Verdict};
use rand::SeedableRng;
use rand::rngs::ChaCha20Rng;

use super::relays::{ISSUED, identity, network, relay};
use super::rig::{OWN, Rig};

/// A number that who dialled a link gives its circuits and questions.
const OURS: u32 = 0x8000_0009;
const OTHERS: core::ops::Range<u32> = 0..24;

fn others() -> impl Iterator<Item = u32> {
    OTHERS.filter(|number| *number != OWN)
}

fn rig(seed: u64) -> Rig {
    let mut rig = Rig::new(seed, others().map(relay));
    rig.connect(OTHERS);
    rig
}

fn record() -> RecordBytes {
    let mut rng = ChaCha20Rng::seed_from_u64(7);
    let author = identity(1_000);
    let ends = Expiry::at_least(UnixTime(ISSUED.0 + 86_400));
    let locator = Locator::of_author(&author, b"label").expect("short");
    locator.seal(&network(), &author, 0, (1, ends), b"payload", &mut rng).expect("short")
}

fn commands(sent: &[(LinkId, Cell)], on: LinkId) -> Vec<Command> {
    sent.iter().filter(|(link, _)| *link == on).map(|(_, cell)| cell.command()).collect()
}

fn client() -> ClientNode {
    let config = ClientConfig {
        network: network(),
        bootstraps: [0, 1].map(|first| Contact::from(&relay(first))).to_vec(),
        hops: 3,
        rule: PrefixRule::Distinct,
        stagger: Duration::ZERO,
        ours: vec![identity(OWN).public()],
        kept: Kept::default(),
        stored: Members::default(),
        witness: false,
    };
    let now = bauta::time::Now { instant: bauta::time::Instant::ZERO, unix: ISSUED };
    ClientNode::new(config, ChaCha20Rng::seed_from_u64(5), now)
}

/// CVE-2023-36325 (I2P): the router and the clients of one process shared the memory of what had come before. Whoever sent one message to both
/// saw by what was missing that they were one machine. Here a packet that a relay has taken says nothing to another role beside it, nor the other way.
#[test]
fn regression_what_one_role_has_seen_shows_in_no_other_of_the_process() {
    let (mut alone, mut twin) = (rig(1), rig(1));
    let from = [alone.accept(Some(5)), twin.accept(Some(5))];
    let packet = alone.packet(OURS, &[relay(6)], &[]);
    // Its owner's client, on a link of its own, gets it before the relay does: it answers nobody and remembers nothing.
    let (mut client, link) = (client(), LinkId(1));
    client.handle(alone.time(), Input::Cell { link, cell: packet.clone() });
    assert!(client.sizes().iter().all(|(_, len, max)| len <= max));
    alone.sent.clear();
    twin.sent.clear();
    alone.cell(from[0], packet.clone());
    alone.connect(OTHERS);
    // Another relay of the process with the very same keys, as after a restart from one seed.
    twin.cell(from[1], packet.clone());
    twin.connect(OTHERS);
    let passed = |rig: &Rig| rig.sent.iter().filter(|(_, cell)| cell.command() == Command::Build).count();
    assert_eq!((passed(&alone), passed(&twin)), (1, 1), "each takes it once");
    alone.cell(from[0], packet.on_circuit(CircuitId(OURS + 1)));
    assert_eq!(passed(&alone), 1, "and not twice");
}

/// Tor's RELAY_EARLY attack (CVE-2014-5117), the rest of a cell: bytes that nobody looks at must not be passed on. Here the body of a
/// Destroy or a Credit could carry a mark from a guard to an exit.
#[test]
fn regression_what_controls_a_circuit_is_made_anew_at_each_hop() {
    let mut rig = rig(1);
    let from = rig.accept(None);
    let packet = rig.packet(OURS, &[relay(6)], &[]);
    rig.sent.clear();
    rig.cell(from, packet);
    rig.connect(OTHERS);
    let onward = rig.sent.iter().find(|(_, cell)| cell.command() == Command::Build).map(|(link, _)| *link);
    let onward = onward.expect("it is passed on");
    let mut marked = Cell::new(CircuitId(OURS), Command::Destroy);
    marked.body_mut().fill(0xaa);
    rig.sent.clear();
    rig.cell(from, marked);
    let passed: Vec<_> = rig.sent.iter().filter(|(link, _)| *link == onward).collect();
    assert_eq!(passed.len(), 1);
    assert!(passed[0].1.command() == Command::Destroy && passed[0].1.body().iter().all(|byte| *byte == 0));
}

/// CVE-2026-44602 (Tor, TROVE-2026-006): a message of a handshake that came out of its order met a part that was not there yet, and the process ended.
/// Here any cell at any stage of a circuit, from either side, ends that circuit at most; the link and its other circuits go on.
#[test]
fn regression_a_cell_out_of_its_turn_ends_its_own_circuit_at_most() {
    let orders =
        [Command::Build, Command::Reply0, Command::Forward, Command::Backward, Command::Destroy, Command::Credit];
    for (stage, command, from_behind) in (0..6)
        .flat_map(|stage| orders.iter().flat_map(move |command| [(stage, *command, false), (stage, *command, true)]))
    {
        let mut rig = rig(1);
        let inward = rig.accept(None);
        rig.sent.clear();
        let request = ExitRequest::Find { location: Id([1; 20]), nonce: Nonce([1; 16]) }.encode();
        let packet = match stage {
            0 => None,
            // It waits for a dial; it is passed on; then reply 0, which nobody sealed, has passed; then all is over.
            1 => Some(rig.packet(OURS, &[relay(23)], &[])),
            2..=4 => Some(rig.packet(OURS, &[relay(6)], &[])),
            _ => Some(rig.packet(OURS, &[], &request)),
        };
        packet.into_iter().for_each(|packet| rig.cell(inward, packet));
        if stage != 1 {
            rig.connect(OTHERS);
        }
        let onward = rig.sent.iter().find(|(_, cell)| cell.command() == Command::Build).cloned();
        if let Some((link, build)) = onward.clone().filter(|_| stage >= 3) {
            rig.cell(link, Cell::new(build.circuit(), Command::Reply0));
        }
        if stage == 4 {
            rig.cell(inward, Cell::new(CircuitId(OURS), Command::Destroy));
        }
        let behind = onward.map(|(link, build)| (link, build.circuit()));
        let (link, circuit) = behind.filter(|_| from_behind).unwrap_or((inward, CircuitId(OURS)));
        for turn in 0..3_u8 {
            let mut cell = Cell::new(circuit, command);
            cell.body_mut()[3] = turn + 1;
            rig.cell(link, cell);
        }
        rig.wait(Duration::from_secs(1));
        assert!(rig.closed.is_empty(), "{command:?} at stage {stage}: a link was closed");
        // Another circuit on the same link comes through.
        rig.sent.clear();
        let other = rig.packet(OURS + 77, &[relay(6)], &[]);
        rig.cell(inward, other);
        rig.connect(OTHERS);
        let passed = rig.sent.iter().filter(|(_, cell)| cell.command() == Command::Build).count();
        // With the one that waited for a dial, if it still did.
        assert!(passed > 0, "{command:?} at stage {stage}: the next circuit");
    }
}

/// What the test's relays say to what they are asked: whom they tell of, and that they take or have not.
fn answer_all(rig: &mut Rig, contacts: &[Contact]) -> Vec<(LinkId, Ask)> {
    let mut asked = Vec::new();
    for _ in 0..2 * LOOKUP_ASKS_MAX {
        let sent = core::mem::take(&mut rig.sent);
        let mut parts: Vec<((LinkId, CircuitId), Assembler)> = Vec::new();
        let before = asked.len();
        for (link, cell) in sent.into_iter().filter(|(_, cell)| cell.command() == Command::Ask) {
            let of = (link, cell.circuit());
            if parts.iter().all(|(known, _)| *known != of) {
                parts.push((of, Assembler::default()));
            }
            let part = parts.iter_mut().find(|(known, _)| *known == of).expect("just put there");
            if let Ok(Some(message)) = part.1.push(cell.body()) {
                let ask = Ask::decode(&message).expect("its own question");
                asked.push((link, ask.clone()));
                reply(rig, of, &ask, contacts);
            }
        }
        if asked.len() == before {
            return asked;
        }
    }
    panic!("it asks without end")
}

fn reply(rig: &mut Rig, (link, circuit): (LinkId, CircuitId), ask: &Ask, contacts: &[Contact]) {
    let (question, verdict) = match ask {
        Ask::Find { location, nonce, .. } => {
            (Question { nonce: *nonce, operation: Operation::Find, location: *location }, Verdict::Absent)
        }
        Ask::Store { nonce, value, .. } => {
            let location = VerifiedValue::check(&network(), value.clone(), ISSUED).expect("checked").location();
            (Question { nonce: *nonce, operation: Operation::Store, location }, Verdict::Stored)
        }
        _ => return,
    };
    let saying = Saying { verdict, seq: 0, digest: [0; 32], relays_estimate: 24 };
    let statement = Statement::sign(&network(), &identity(rig.peers[&link]), &question, &saying, ISSUED);
    let answer = match ask {
        Ask::Store { .. } => Answer::Stored { statement },
        _ => Answer::Found { statement, contacts: contacts.to_vec(), value: None },
    };
    for cell in cells_of(circuit, Command::Answer, &answer.encode()).expect("short") {
        rig.cell(link, cell);
        rig.connect(OTHERS);
    }
}

/// libtorrent, issue 792: nodes that nobody had heard from were passed on and kept as contacts. Here whoever answers a lookup could have relays
/// dial addresses of its choice, and bring its own into every lookup.
#[test]
fn regression_whom_an_answer_tells_of_is_neither_dialled_nor_believed() {
    let mut rig = rig(1);
    let before = rig.relay.members().len();
    let from = rig.accept(None);
    let elsewhere = |number: u32| Address(([10, 200, 0, number.to_be_bytes()[3]], 9_000).into());
    // Strangers, and relays that are known at other addresses or under other keys.
    let strangers = (100..110).map(|number| Contact { address: elsewhere(number), ..Contact::from(&relay(number)) });
    let moved = others().take(5).map(|number| Contact { address: elsewhere(number), ..Contact::from(&relay(number)) });
    let renamed = others()
        .skip(5)
        .take(5)
        .map(|number| Contact { link_key: relay(100 + number).link_key, ..Contact::from(&relay(number)) });
    let told: Vec<Contact> = strangers.chain(moved).chain(renamed).collect();
    let request = ExitRequest::Find { location: relay(101).id(), nonce: Nonce([1; 16]) };
    let packet = rig.packet(OURS, &[], &request.encode());
    let known: BTreeSet<_> = others().map(|number| (relay(number).link_key.0, relay(number).address)).collect();
    rig.cell(from, packet);
    rig.connect(OTHERS);
    let asked = answer_all(&mut rig, &told);
    assert!(asked.len() >= SIGNERS, "{}", asked.len());
    rig.wait(Duration::from_secs(1));
    let all: BTreeSet<_> = rig.dialled.iter().map(|(_, key, address)| (key.0, *address)).collect();
    assert!(all.is_subset(&known), "{:?}", all.difference(&known).map(|(_, address)| address).collect::<Vec<_>>());
    assert_eq!(rig.relay.members().len(), before);
}

/// eMule's Kad, store and flood: one small request had thousands of nodes send to each other. Here one cell of a client has a relay ask as many as
/// one lookup and one store at the nearest take, and whoever is asked to keep something passes nothing on.
#[test]
fn regression_one_request_asks_no_more_than_a_lookup_and_a_store_and_nobody_floods() {
    let mut rig = rig(1);
    let from = rig.accept(None);
    let told: Vec<Contact> = others().take(20).map(|number| Contact::from(&relay(number))).collect();
    let request = ExitRequest::Put { nonce: Nonce([1; 16]), expected: None, record: record(), payment: None };
    let packet = rig.packet(OURS, &[], &request.encode());
    rig.sent.clear();
    rig.cell(from, packet);
    rig.connect(OTHERS);
    let asked = answer_all(&mut rig, &told);
    let stores = asked.iter().filter(|(_, ask)| matches!(ask, Ask::Store { .. })).count();
    assert!(stores > 0 && stores <= SIGNERS, "{stores} stores");
    assert!(asked.len() - stores <= LOOKUP_ASKS_MAX.min(usize::try_from(OTHERS.end).unwrap()), "{}", asked.len());
    let links: BTreeSet<_> =
        asked.iter().filter(|(_, ask)| matches!(ask, Ask::Find { .. })).map(|(on, _)| on).collect();
    assert_eq!(links.len(), asked.len() - stores, "nobody is asked twice");
    // One of those who are asked to keep it.
    let storer = rig.accept(Some(5));
    rig.sent.clear();
    let value = Value::Signed(record());
    let ask = Ask::Store { nonce: Nonce([2; 16]), expected: None, value, account: Account::Upkeep };
    for cell in cells_of(CircuitId(OURS + 2), Command::Ask, &ask.encode()).expect("short") {
        rig.cell(storer, cell);
    }
    assert_eq!(commands(&rig.sent, storer), [Command::Answer]);
    assert_eq!(rig.sent.len(), 1, "a storer tells nobody");
}
