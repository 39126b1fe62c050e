//! A whole relay, and everybody else played by the script: clients and relays that link up and go, cells of every command, real build
//! packets, questions, answers to its own questions, time. Whatever comes, no table passes its cap, it says nothing but on links that are
//! up, dials under no number in use, does a bounded number of things for one input, and gives clients no word of a storer.

use std::collections::BTreeMap;
use std::sync::Arc;

use bauta::crypto::keys::{DhKey, NodeKey};
use bauta::crypto::puzzle::Solution;
use bauta::dht::repair::RepairTiming;
use bauta::dht::store::MemoryStore;
use bauta::keyspace::Id;
use bauta::membership::members::Members;
use bauta::membership::prefix_rule::PrefixRule;
use bauta::node::io::{DownReason, Input, LinkId, Output, Peer};
use bauta::node::machine::Puzzles;
use bauta::node::{Effect, Relay, RelayConfig, TableSize, work};
use bauta::onion::build;
use bauta::record::VerifiedValue;
use bauta::time::{Duration, Instant, Now, UnixTime};
use bauta::wire::cell::{Cell, CircuitId, Command};
use bauta::wire::contact::Contact;
use bauta::wire::message::{Answer, Ask, cells_of};
use bauta::wire::onion::ExitRequest;
use bauta::wire::payment::Account;
use bauta::wire::record::ValueKind;
use bauta::wire::statement::{Nonce, Operation, Question, Saying, Statement, Verdict};
use rand::SeedableRng;
use rand::rngs::ChaCha20Rng;

use super::relays::{ISSUED, described, identity, network, relay};
use super::script::Script;
use super::values::pool;

const STEPS_MAX: usize = 64;
const RELAYS: u8 = 8;
/// Things that a relay does for one input, answers of its own store and work counted in.
const EFFECTS_MAX: usize = 2_000;

/// Relays here have not paid for their puzzles.
pub(super) struct Solved;

impl Puzzles for Solved {
    fn check(&self, _: &Solution, _: &[u8; 32], _: &NodeKey, _: u8) -> bool {
        true
    }
}

/// The relay of this number, which starts from the first two.
pub(super) fn config(number: u8, issued_before: u32) -> RelayConfig {
    let own = described(u32::from(number), [10, number, 0, 1]);
    RelayConfig {
        network: network(),
        identity: Arc::new(identity(u32::from(number))),
        solution: own.solution,
        link_key: own.link_key,
        address: own.address,
        family: [0; 8],
        bootstraps: [0, 1].map(|first| Contact::from(&relay(first))).to_vec(),
        stored: Members::default(),
        issued_before,
        rule: PrefixRule::Distinct,
        repair: RepairTiming::default(),
        witness: true,
    }
}

pub(super) fn fits(sizes: &[TableSize]) {
    sizes.iter().for_each(|(name, len, max)| assert!(len <= max, "{name}: {len} of {max}"));
}

struct Rig {
    relay: Relay,
    store: MemoryStore,
    now: Instant,
    /// Links that are up, and whether a relay is at the other end.
    up: BTreeMap<LinkId, bool>,
    dialled: BTreeMap<LinkId, DhKey>,
    /// Questions that it asked and that were not answered.
    asked: Vec<(LinkId, CircuitId)>,
    rng: ChaCha20Rng,
}

impl Rig {
    fn time(&self) -> Now {
        Now { instant: self.now, unix: UnixTime(ISSUED.0 + Instant::ZERO.until(self.now).as_secs()) }
    }

    fn drain(&mut self) {
        let now = self.time();
        for _ in 0..EFFECTS_MAX {
            let Some(effect) = self.relay.poll_effect() else { return fits(&self.relay.sizes()) };
            match effect {
                Effect::Store { id, op } => {
                    let result = self.store.apply(now.unix, op);
                    self.relay.handle_stored(now, id, result);
                }
                Effect::Work { id, job } => self.relay.handle_worked(now, id, work::run(job, &Solved, &mut self.rng)),
                Effect::Io(output) => self.follow(output),
                Effect::Event(_) => (),
            }
        }
        panic!("one input, and no end");
    }

    fn follow(&mut self, output: Output) {
        match output {
            Output::Send { link, cell } => {
                let is_relay = *self.up.get(&link).expect("it speaks on links that are up");
                assert!(!cell.command().is_of_link(), "those are the shell's");
                match cell.command() {
                    Command::Ask => self.asked.push((link, cell.circuit())),
                    // A first cell of an answer: length, then what it is.
                    Command::Answer => {
                        assert!(is_relay || matches!(cell.body()[4], 0 | 3) || cell.body()[..4] == [0; 4])
                    }
                    _ => (),
                }
            }
            Output::Dial { link, link_key, .. } => {
                // A dial that failed may be tried again under its number.
                assert!(link.0.is_multiple_of(2) && !self.up.contains_key(&link));
                assert!(self.dialled.insert(link, link_key).is_none());
            }
            Output::Close { link, .. } => {
                assert!(self.up.remove(&link).is_some() || self.dialled.remove(&link).is_some());
                self.asked.retain(|(on, _)| *on != link);
            }
            Output::Descriptor(_) => (),
        }
    }

    fn handle(&mut self, input: Input) {
        self.relay.handle(self.time(), input);
        self.drain();
    }

    fn link_up(&mut self, link: LinkId, number: Option<u8>, dialled: bool) {
        let descriptor = number.map(|number| relay(u32::from(number)));
        let link_key = descriptor.as_ref().map_or(DhKey([7; 32]), |shown| shown.link_key);
        let address = relay(u32::from(number.unwrap_or(9))).address;
        self.up.insert(link, number.is_some());
        self.handle(Input::LinkUp { link, peer: Box::new(Peer { link_key, descriptor, address, dialled }) });
    }

    /// A dial of its own comes to an end: at whom it meant, or at nobody.
    fn dial_ends(&mut self, script: &mut Script<'_>) {
        let Some((link, key)) = self.dialled.pop_first() else { return };
        let whom = (0..RELAYS).find(|number| relay(u32::from(*number)).link_key == key);
        match whom.filter(|_| script.byte() & 3 != 3) {
            Some(number) => self.link_up(link, Some(number), true),
            None => self.handle(Input::LinkDown { link, reason: DownReason::Unreachable }),
        }
    }

    fn message(&mut self, link: LinkId, circuit: CircuitId, command: Command, message: &[u8], whole: bool) {
        let mut cells = cells_of(circuit, command, message).expect("short");
        cells.truncate(if whole { cells.len() } else { 1 });
        for cell in cells {
            if self.up.contains_key(&link) {
                self.handle(Input::Cell { link, cell });
            }
        }
    }
}

fn ask(script: &mut Script<'_>) -> Vec<u8> {
    let value: &VerifiedValue = &pool().values[script.below(pool().values.len())];
    let (nonce, kind) =
        (Nonce([script.byte(); 16]), if script.byte() & 1 == 0 { ValueKind::Signed } else { ValueKind::Hashed });
    match script.byte() % 5 {
        0 => Ask::Find { kind, location: value.location(), nonce, want_value: script.byte() & 1 == 0 }.encode(),
        1 => Ask::Find { kind, location: Id([script.byte(); 20]), nonce, want_value: true }.encode(),
        2 => {
            let account = if script.byte() & 1 == 0 { Account::Upkeep } else { Account::Anonymous(None) };
            Ask::Store { nonce, expected: None, value: value.value().clone(), account }.encode()
        }
        3 => Ask::Members { after: (script.byte() & 1 == 0).then(|| NodeKey([script.byte(); 32])) }.encode(),
        _ => Ask::Differences { after: None, until: None, salt: u64::from(script.byte()), held: Vec::new() }.encode(),
    }
}

fn answer(script: &mut Script<'_>) -> Vec<u8> {
    let number = u32::from(script.byte() % RELAYS);
    let value = &pool().values[script.below(pool().values.len())];
    let question = Question { nonce: Nonce([0; 16]), operation: Operation::Find, location: value.location() };
    let saying = Saying { verdict: Verdict::Present, seq: value.seq(), digest: value.digest(), relays_estimate: 8 };
    let statement = Statement::sign(&network(), &identity(number), &question, &saying, ISSUED);
    let relays = |script: &mut Script<'_>| {
        (0..script.byte() % 5).map(|_| relay(u32::from(script.byte() % RELAYS))).collect::<Vec<_>>()
    };
    match script.byte() % 5 {
        0 => Answer::Refused.encode(),
        1 => {
            let contacts = relays(script).iter().map(Contact::from).collect();
            Answer::Found { statement, contacts, value: (script.byte() & 1 == 0).then(|| value.value().clone()) }
                .encode()
        }
        2 => Answer::Stored { statement }.encode(),
        3 => {
            let descriptors = relays(script).iter().map(|one| one.to_signed()).collect();
            Answer::Members { descriptors, more: script.byte() & 1 == 0, settled: script.byte() & 1 == 0 }.encode()
        }
        _ => script.bytes(40),
    }
}

/// A circuit's number of the peer's half: of links that it dialled, which have odd numbers here, the upper one.
fn peers_half(link: LinkId, circuit: CircuitId) -> CircuitId {
    if link.0.is_multiple_of(2) { circuit } else { CircuitId(circuit.0 | 0x8000_0000) }
}

/// A real packet to this relay: for itself, or to be passed on.
fn packet(script: &mut Script<'_>, rig: &mut Rig, circuit: CircuitId) -> Cell {
    let location = pool().values[script.below(pool().values.len())].location();
    let request = match script.byte() % 3 {
        0 => ExitRequest::Find { location, nonce: Nonce([script.byte(); 16]) }.encode(),
        1 => script.bytes(30),
        _ => Vec::new(),
    };
    let mut path = vec![rig.relay.descriptor().clone()];
    if script.byte() & 1 == 0 {
        path.push(relay(u32::from(script.byte() % RELAYS)));
    }
    let built = build(&network(), &path, &request, rig.time().unix, &mut rig.rng).expect("a packet");
    Cell::build(circuit, built.suite, built.hint, built.body)
}

/// Checks one input. With `fault`, as it would be where a relay is not told that a link has ended.
pub fn check(data: &[u8], fault: bool) {
    let (mut script, rng) = (Script::new(data), ChaCha20Rng::seed_from_u64(1));
    let now = Now { instant: Instant::ZERO, unix: ISSUED };
    let (up, dialled, asked) = (BTreeMap::new(), BTreeMap::new(), Vec::new());
    let store = MemoryStore::new(64, 1 << 20);
    let relay = Relay::new(config(3, 0), ChaCha20Rng::seed_from_u64(2), now);
    let mut rig = Rig { relay, store, now: now.instant, up, dialled, asked, rng };
    rig.drain();
    for number in 0..STEPS_MAX {
        if script.is_over() {
            break;
        }
        let op = script.byte();
        let links: Vec<LinkId> = rig.up.keys().copied().collect();
        let circuit = CircuitId(1 + u32::from(op >> 4));
        match (op % 8, links.is_empty()) {
            (0, _) | (_, true) if op & 0x40 == 0 => {
                let link = LinkId(2 * u64::try_from(number).expect("small") + 1);
                let whom = script.byte();
                rig.link_up(link, (whom & 1 == 0).then_some((whom >> 1) % RELAYS), false);
            }
            (0 | 1, _) | (_, true) => rig.dial_ends(&mut script),
            (2, _) => {
                rig.now = rig.now + Duration::from_millis(100) * u32::from(script.byte());
                rig.handle(Input::Timeout);
            }
            (3, _) => {
                let link = script.pick(&links);
                if op & 0xc0 == 0 {
                    rig.up.remove(&link);
                    rig.asked.retain(|(on, _)| *on != link);
                    if !fault {
                        rig.handle(Input::LinkDown { link, reason: DownReason::Closed });
                    }
                } else {
                    let cell = packet(&mut script, &mut rig, peers_half(link, circuit));
                    rig.handle(Input::Cell { link, cell });
                }
            }
            (4, _) => {
                let commands = [
                    Command::Build,
                    Command::Reply0,
                    Command::Forward,
                    Command::Backward,
                    Command::Destroy,
                    Command::Credit,
                    Command::Ask,
                    Command::Answer,
                ];
                let link = script.pick(&links);
                let mut cell = Cell::new(peers_half(link, circuit), script.pick(&commands));
                cell.body_mut().iter_mut().zip(script.bytes(8)).for_each(|(to, from)| *to = from);
                rig.handle(Input::Cell { link, cell });
            }
            (5, _) => {
                let (link, message) = (script.pick(&links), ask(&mut script));
                rig.message(link, peers_half(link, circuit), Command::Ask, &message, op & 0x80 == 0);
            }
            _ => {
                let Some((link, circuit)) = rig.asked.pop() else { continue };
                let message = answer(&mut script);
                rig.message(link, circuit, Command::Answer, &message, op & 0x80 == 0);
            }
        }
    }
}
