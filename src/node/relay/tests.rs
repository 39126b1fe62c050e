//! Several relays in one world without sockets: links that come up and end, stores, work done in line, a clock that jumps.

mod asking;
mod credits;
mod membership;
mod paying;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use rand::SeedableRng;
use rand::rngs::ChaCha20Rng;

use super::*;
use crate::crypto::hash::blake3;
use crate::crypto::puzzle::Solution;
use crate::dht::store::{MemoryStore, StoreOp, StoreResult};
use crate::limits::{NOT_REACHED_AT_ONCE_MAX, PLACES_PAGE_MAX};
use crate::membership::fixture::{ISSUED, described, network, relay, secret};
use crate::node::circuits::Stage;
use crate::node::machine::Puzzles;
use crate::node::work;
use crate::onion::{Building, Reply0, Role, build};
use crate::time::UnixTime;
use crate::wire::cell::CircuitId;
use crate::wire::message::{Answer, Ask, cells_of};
use crate::wire::onion::ExitRequest;
use crate::wire::payment::Account;
use crate::wire::record::{ChunkBytes, Expiry, Value};
use crate::wire::statement::Nonce;

/// Relays of tests have not paid for their puzzles.
struct Solved;

impl Puzzles for Solved {
    fn check(&self, _: &Solution, _: &[u8; 32], _: &crate::crypto::keys::NodeKey, _: u8) -> bool {
        true
    }
}

struct World {
    relays: Vec<Option<Relay>>,
    stores: Vec<MemoryStore>,
    links: BTreeMap<(usize, LinkId), (usize, LinkId)>,
    inputs: VecDeque<(usize, Input)>,
    dials: Vec<(Instant, Address)>,
    /// Links that relays have ended.
    closed: Vec<(LinkId, DownReason)>,
    now: Instant,
    accepted: u64,
    /// What relays say on links that have no relay at the other end.
    said: Vec<Cell>,
    /// Of lookups of operators, whether each brought the value.
    looked: Vec<bool>,
    /// What relays say they ask of writers.
    terms: Vec<WriteTerms>,
}

impl World {
    fn new() -> Self {
        let (relays, stores, dials) = (Vec::new(), Vec::new(), Vec::new());
        let (links, inputs) = (BTreeMap::new(), VecDeque::new());
        Self {
            relays,
            stores,
            links,
            inputs,
            dials,
            closed: Vec::new(),
            now: Instant::ZERO,
            accepted: 0,
            said: Vec::new(),
            looked: Vec::new(),
            terms: Vec::new(),
        }
    }

    fn time(&self) -> Now {
        Now { instant: self.now, unix: UnixTime(ISSUED.0 + Instant::ZERO.until(self.now).as_secs()) }
    }

    /// Another relay, with what its disk holds; two of the first are known to all.
    fn start(&mut self, store: MemoryStore) -> usize {
        self.relays.push(None);
        self.stores.push(store);
        let number = self.relays.len() - 1;
        self.restart(number);
        number
    }

    fn restart(&mut self, number: usize) {
        let seed = u32::try_from(number).unwrap();
        let own = described(seed, [10, u8::try_from(number).unwrap(), 0, 1]);
        let config = RelayConfig {
            network: network(),
            identity: Arc::new(secret(seed)),
            solution: own.solution,
            link_key: own.link_key,
            address: own.address,
            family: [0; 8],
            bootstraps: [0, 1].map(|first| Contact::from(&relay(first))).to_vec(),
            stored: crate::membership::members::Members::default(),
            issued_before: self.time().unix.to_wire(),
            rule: PrefixRule::Distinct,
            repair: RepairTiming::default(),
            witness: false,
        };
        let rng = ChaCha20Rng::seed_from_u64(u64::from(seed));
        self.relays[number] = Some(Relay::new(config, rng, self.time()));
        self.drain(number);
    }

    /// Its process ends; its disk stays.
    fn stop(&mut self, number: usize) {
        self.relays[number] = None;
        let own: Vec<_> = self.links.keys().filter(|(at, _)| *at == number).copied().collect();
        for end in own {
            let (other, link) = self.links.remove(&end).unwrap();
            self.links.remove(&(other, link));
            self.inputs.push_back((other, Input::LinkDown { link, reason: DownReason::Closed }));
        }
    }

    fn drain(&mut self, number: usize) {
        let now = self.time();
        while let Some(effect) = self.relays[number].as_mut().and_then(Relay::poll_effect) {
            let one = self.relays[number].as_mut().unwrap();
            match effect {
                Effect::Store { id, op } => {
                    let result = self.stores[number].apply(now.unix, op);
                    one.handle_stored(now, id, result);
                }
                Effect::Work { id, job } => {
                    let done = work::run(job, &Solved, &mut ChaCha20Rng::seed_from_u64(id));
                    one.handle_worked(now, id, done);
                }
                Effect::Io(output) => self.follow(number, output),
                Effect::Event(RelayEvent::Looked { looked, .. }) => {
                    self.looked.push(looked.is_some_and(|looked| looked.seq.is_some()));
                }
                Effect::Event(RelayEvent::Writes(terms)) => self.terms.push(terms),
                Effect::Event(_) => (),
            }
        }
    }

    fn follow(&mut self, number: usize, output: Output) {
        match output {
            Output::Send { link, cell } => match self.links.get(&(number, link)).copied() {
                Some((other, link)) => self.inputs.push_back((other, Input::Cell { link, cell })),
                None => self.said.push(cell),
            },
            Output::Close { link, reason } => {
                self.closed.push((link, reason));
                if let Some((other, link)) = self.links.remove(&(number, link)) {
                    self.links.remove(&(other, link));
                    self.inputs.push_back((other, Input::LinkDown { link, reason }));
                }
            }
            Output::Dial { link, address, .. } => {
                self.dials.push((self.now, address));
                let is_there = |one: &Option<Relay>| one.as_ref().is_some_and(|one| one.config.address == address);
                let Some(other) = self.relays.iter().position(is_there) else {
                    let down = Input::LinkDown { link, reason: DownReason::Unreachable };
                    return self.inputs.push_back((number, down));
                };
                self.accepted += 1;
                let theirs = LinkId(2 * self.accepted + 1);
                self.links.insert((number, link), (other, theirs));
                self.links.insert((other, theirs), (number, link));
                for (at, link, from, dialled) in [(number, link, other, true), (other, theirs, number, false)] {
                    let descriptor = self.relays[from].as_ref().unwrap().descriptor().clone();
                    let (link_key, address) = (descriptor.link_key, descriptor.address);
                    let peer = Peer { link_key, descriptor: Some(descriptor), address, dialled };
                    self.inputs.push_back((at, Input::LinkUp { link, peer: Box::new(peer) }));
                }
            }
            Output::Descriptor(_) => (),
        }
    }

    fn run_for(&mut self, seconds: u64) {
        let end = self.now + Duration::from_secs(seconds);
        loop {
            let (number, input) = match self.inputs.pop_front() {
                Some(next) => next,
                None => {
                    let due = self
                        .relays
                        .iter()
                        .enumerate()
                        .filter_map(|(number, one)| Some((one.as_ref()?.poll_timeout()?, number)));
                    let Some((at, number)) = due.min().filter(|(at, _)| *at <= end) else { break };
                    self.now = self.now.max(at);
                    (number, Input::Timeout)
                }
            };
            let now = self.time();
            if let Some(one) = &mut self.relays[number] {
                one.handle(now, input);
                self.drain(number);
            }
        }
        self.now = end;
    }

    /// Who has to keep a value.
    fn nearest(&self, value: &VerifiedValue) -> Vec<usize> {
        let mut up: Vec<usize> = (0..self.relays.len()).filter(|number| self.relays[*number].is_some()).collect();
        up.sort_by_key(|number| relay(u32::try_from(*number).unwrap()).id().distance(&value.location()));
        up.truncate(value.kind().holders());
        up
    }

    fn holds(&self, number: usize, value: &VerifiedValue) -> bool {
        self.stores[number].iter().any(|held| held == value)
    }

    fn is_kept(&self, values: &[VerifiedValue]) -> bool {
        values.iter().all(|value| self.nearest(value).into_iter().all(|number| self.holds(number, value)))
    }
}

fn chunk(number: u32) -> VerifiedValue {
    let bytes = number.to_be_bytes().repeat(500);
    let expiry = Expiry::at_least(UnixTime(ISSUED.0 + 86_400));
    let chunk = ChunkBytes { hash: blake3(&[&bytes]), index: 0, expiry, bytes };
    VerifiedValue::check(&network(), Value::Hashed(chunk), ISSUED).unwrap()
}

fn store_of(values: &[VerifiedValue]) -> MemoryStore {
    let mut store = MemoryStore::new(9_999, 99_999_999);
    for value in values {
        store.apply(ISSUED, StoreOp::Put { value: value.clone(), expected: None });
    }
    store
}

/// So many relays, of which one alone has the values on its disk.
fn started(relays: usize, values: &[VerifiedValue]) -> World {
    let mut world = World::new();
    for number in 0..relays {
        world.start(store_of(if number == 2 { values } else { &[] }));
    }
    world
}

#[test]
fn what_one_disk_held_comes_to_its_holders_and_stays_when_they_leave() {
    let values: Vec<VerifiedValue> = (0..12).map(chunk).collect();
    let mut world = started(16, &values);
    world.run_for(180);
    assert!(world.is_kept(&values), "handed over from the one that had them");
    for _ in 0..4 {
        let leaving = world.nearest(&values[0]).into_iter().find(|number| *number > 1).unwrap();
        world.stop(leaving);
        assert!(!world.is_kept(&values));
        world.run_for(200);
        assert!(world.is_kept(&values), "within five minutes of {leaving}'s end");
    }
    let sent: u64 = world.relays.iter().flatten().map(|one| one.repair_counts().copies_sent).sum();
    assert!(sent > 0);
}

#[test]
fn what_very_many_ask_for_is_sent_by_four_and_comes_to_everybody_all_the_time() {
    let by_distance = |value: &VerifiedValue| {
        let mut all: Vec<usize> = (0..16).collect();
        all.sort_by_key(|number| relay(u32::try_from(*number).unwrap()).id().distance(&value.location()));
        all
    };
    // Such that the one that has it at first is none of those that shall.
    let value = (0..).map(chunk).find(|value| !by_distance(value)[..6].contains(&2)).unwrap();
    let mut world = started(16, std::slice::from_ref(&value));
    world.run_for(180);
    let holding = |world: &World| (0..16).filter(|number| world.holds(*number, &value)).collect::<Vec<_>>();
    let mut near = by_distance(&value);
    let askers = near.split_off(6);
    let before = holding(&world).len();
    for id in 0..400 {
        let asker = askers[usize::try_from(id).unwrap() % askers.len()];
        let look = RelayCommand::Look { id, location: value.location(), kind: value.kind() };
        let now = world.time();
        world.relays[asker].as_mut().unwrap().handle_command(now, look);
        world.drain(asker);
        if id % 6 == 0 {
            world.run_for(1);
        }
    }
    world.run_for(10);
    assert_eq!(world.looked, vec![true; 400]);
    let four = near.iter().take(4).filter(|number| world.holds(**number, &value)).count();
    assert_eq!((four, holding(&world).len()), (4, before + 2));
    let widened: u64 = world.relays.iter().flatten().map(|one| one.repair_counts().copies_widened).sum();
    assert_eq!(widened, 2);
}

#[test]
fn who_joins_is_handed_what_is_his() {
    let values: Vec<VerifiedValue> = (0..12).map(chunk).collect();
    let mut world = started(12, &values);
    world.run_for(180);
    let joined = world.start(store_of(&[]));
    assert!(!world.is_kept(&values), "some place is nearer to the newcomer");
    world.run_for(180);
    assert!(world.is_kept(&values) && !world.stores[joined].is_empty());
}

// [LINK-W-040]
#[test]
fn who_is_gone_is_dialled_now_and_then_and_lookups_begin_elsewhere_until_it_is_back() {
    let mut world = started(10, &[]);
    world.run_for(60);
    let gone = 7;
    let (id, address) = (relay(7).id(), relay(7).address);
    world.stop(gone);
    world.run_for(150);
    let now = world.time();
    let knows_closest =
        |world: &World| world.relays[3].as_ref().unwrap().known_closest(now, &id).iter().any(|one| one.id == id);
    assert!(!knows_closest(&world));
    world.dials.clear();
    let from = world.now;
    world.run_for(1_000);
    let dials = world.dials.iter().filter(|(at, to)| *to == address && *at > from).count();
    // Nine relays, each every two minutes or so, and once more when it is refused.
    assert!((9..2 * 9 * 10).contains(&dials), "{dials}");
    world.restart(gone);
    world.run_for(200);
    let now = world.time();
    let knows = |one: &Relay| one.known_closest(now, &id).iter().any(|contact| contact.id == id);
    assert!(world.relays.iter().flatten().all(knows));
}

#[test]
fn neighbours_stay_linked_though_nothing_is_asked() {
    let mut world = started(24, &[]);
    world.run_for(1_000);
    for number in 0..24 {
        let own = relay(u32::try_from(number).unwrap()).id();
        let mut near: Vec<u32> = (0..24).filter(|other| usize::try_from(*other).unwrap() != number).collect();
        near.sort_by_key(|other| relay(*other).id().distance(&own));
        let one = world.relays[number].as_ref().unwrap();
        let linked = |other: &&u32| one.links.link_to(&relay(**other).link_key).is_some();
        assert_eq!(near.iter().take(7).filter(linked).count(), 7, "of {number}");
    }
}

#[test]
fn a_disk_of_many_pages_is_known_whole() {
    let values: Vec<VerifiedValue> = (0..u32::try_from(2 * PLACES_PAGE_MAX + 5).unwrap()).map(chunk).collect();
    let mut world = World::new();
    let number = world.start(store_of(&values));
    world.run_for(1);
    assert_eq!(world.relays[number].as_ref().unwrap().repair.len(), values.len());
}

/// A client's build packet over this path, and what comes back from its first relay.
fn replies(world: &mut World, path: &[VerifiedDescriptor], spoil: impl FnOnce(&mut [u8])) -> (Building, Vec<Cell>) {
    replies_until(world, (path, 5), spoil, |_| ())
}

/// As that, with this seed, and with what happens then.
fn replies_until(
    world: &mut World,
    (path, seed): (&[VerifiedDescriptor], u64),
    spoil: impl FnOnce(&mut [u8]),
    then: impl FnOnce(&mut World),
) -> (Building, Vec<Cell>) {
    const LINK: LinkId = LinkId(1_000_000);
    let mut rng = ChaCha20Rng::seed_from_u64(seed);
    let request = ExitRequest::Find { location: crate::keyspace::Id([7; 20]), nonce: Nonce([1; 16]) }.encode();
    let mut built = build(&network(), path, &request, world.time().unix, &mut rng).unwrap();
    spoil(&mut built.body);
    let address = Address("127.0.0.1:9".parse().unwrap());
    let client = Peer { link_key: DhKey([9; 32]), descriptor: None, address, dialled: false };
    world.inputs.push_back((0, Input::LinkUp { link: LINK, peer: Box::new(client) }));
    let cell = Cell::build(CircuitId(1 << 31), built.suite, built.hint, built.body);
    world.inputs.push_back((0, Input::Cell { link: LINK, cell }));
    world.said.clear();
    world.run_for(15);
    then(world);
    world.run_for(1);
    world.inputs.push_back((0, Input::LinkDown { link: LINK, reason: DownReason::Closed }));
    world.run_for(1);
    (built.building, world.said.iter().filter(|cell| cell.circuit() == CircuitId(1 << 31)).cloned().collect())
}

#[test]
fn of_a_circuit_that_ends_on_the_way_the_client_learns_how_far_it_came_and_nothing_else() {
    let mut world = started(5, &[]);
    world.run_for(60);
    let described = |world: &World, number: usize| world.relays[number].as_ref().unwrap().descriptor().clone();
    let [first, second, third, fourth] = [0, 1, 2, 3].map(|number| described(&world, number));
    world.stop(3);
    // Onion keys of before a restart: the exit cannot open what is sealed to them.
    world.restart(2);
    let unknown = relay(77);
    for (path, hops) in [
        (vec![first.clone(), second.clone(), unknown.clone()], 2),
        (vec![first.clone(), second.clone(), fourth.clone()], 2),
        (vec![first.clone(), second.clone(), third], 2),
        (vec![first.clone(), fourth, second.clone()], 1),
        (vec![first.clone(), unknown.clone()], 1),
    ] {
        let (building, cells) = replies(&mut world, &path, |_| ());
        let commands: Vec<Command> = cells.iter().map(Cell::command).collect();
        assert_eq!(commands, [Command::Reply0, Command::Destroy], "{hops} of {}", path.len());
        let opened = building.open_reply0(cells[0].body());
        assert!(matches!(opened, Ok(Reply0::NotReached { hops: found }) if found == hops), "{hops} of {}", path.len());
    }
    // The relay that cannot open its own layer says nothing, nor does one that has opened this packet before.
    let path = [first, unknown];
    let commands = |cells: &[Cell]| cells.iter().map(Cell::command).collect::<Vec<_>>();
    let (_, cells) = replies(&mut world, &path, |body| body[40] ^= 1);
    assert_eq!(commands(&cells), [Command::Destroy]);
    let (_, cells) = replies(&mut world, &path, |_| ());
    assert_eq!(commands(&cells), [Command::Destroy], "the same packet came before");
    let path = [path[0].clone(), second];
    let (building, cells) = replies(&mut world, &path, |_| ());
    assert_eq!(commands(&cells), [Command::Reply0, Command::Backward]);
    assert!(matches!(building.open_reply0(cells[0].body()), Ok(Reply0::Exit(..))));
}

#[test]
fn when_an_exit_goes_after_its_answer_nothing_more_is_sealed_and_of_many_circuits_only_some_are_told() {
    let mut world = started(3, &[]);
    world.run_for(60);
    let descriptors = [0, 1].map(|number| world.relays[number].as_ref().unwrap().descriptor().clone());
    let (_, cells) = replies_until(&mut world, (&descriptors, 7), |_| (), |world| world.stop(1));
    let commands: Vec<Command> = cells.iter().map(Cell::command).collect();
    assert_eq!(commands, [Command::Reply0, Command::Backward, Command::Destroy]);

    let mut world = started(3, &[]);
    world.run_for(60);
    let one = world.relays[0].as_mut().unwrap();
    let (client, exit) = (LinkId(2_000_000), LinkId(2_000_001));
    let mut rng = ChaCha20Rng::seed_from_u64(1);
    for number in 0..=u32::try_from(NOT_REACHED_AT_ONCE_MAX).unwrap() {
        let built = build(&network(), &descriptors, b"", ISSUED, &mut rng).unwrap();
        let peeled = crate::onion::peel(&one.onion.secrets(built.suite, built.hint), &built.body, &mut rng).unwrap();
        let Role::Middle { hop, .. } = peeled.role else { panic!("there is another") };
        let no = one.circuits.open(Instant::ZERO, (client, CircuitId(number))).unwrap();
        one.circuits.get_mut(no).unwrap().stage = Stage::Middle(hop);
        one.circuits.join(no, (exit, CircuitId(number)));
    }
    one.end_on_link(exit);
    assert!(one.circuits.is_empty());
    let mut told = 0;
    while let Some(effect) = one.poll_effect() {
        told +=
            usize::from(matches!(effect, Effect::Io(Output::Send { cell, .. }) if cell.command() == Command::Reply0));
    }
    assert_eq!(told, NOT_REACHED_AT_ONCE_MAX);
}

// [MSG-R-024]
#[test]
fn a_relay_whose_disk_fails_refuses_and_states_nothing_and_forgets_no_place() {
    const LINK: LinkId = LinkId(1_000_001);
    let value = chunk(1);
    let mut world = World::new();
    let number = world.start(store_of(std::slice::from_ref(&value)));
    world.run_for(1);
    let now = world.time();
    let one = world.relays[number].as_mut().unwrap();
    let asker = relay(9);
    let peer =
        Peer { link_key: asker.link_key, descriptor: Some(asker.clone()), address: asker.address, dialled: false };
    one.handle(now, Input::LinkUp { link: LINK, peer: Box::new(peer) });
    let (kind, location, nonce) = (value.kind(), value.location(), Nonce([1; 16]));
    let find = Ask::Find { kind, location, nonce, want_value: true };
    let store = Ask::Store { nonce, expected: None, value: value.value().clone(), account: Account::Upkeep };
    for (ask, circuit) in [(find, CircuitId(0x8000_0001)), (store, CircuitId(0x8000_0002))] {
        for cell in cells_of(circuit, Command::Ask, &ask.encode()).unwrap() {
            one.handle(now, Input::Cell { link: LINK, cell });
        }
        let mut said = Vec::new();
        while let Some(effect) = one.poll_effect() {
            match effect {
                Effect::Store { id, .. } => one.handle_stored(now, id, StoreResult::Failed),
                Effect::Work { id, job } => {
                    one.handle_worked(now, id, work::run(job, &Solved, &mut ChaCha20Rng::seed_from_u64(id)));
                }
                Effect::Io(Output::Send { cell, .. }) if cell.command() == Command::Answer => said.push(cell),
                Effect::Io(_) | Effect::Event(_) => (),
            }
        }
        assert_eq!(said, cells_of(circuit, Command::Answer, &Answer::Refused.encode()).unwrap());
    }
    one.on_repair_loaded(now, (kind, location), StoreResult::Failed);
    assert_eq!(one.repair.len(), 1);
    one.on_repair_loaded(now, (kind, location), StoreResult::Value(None));
    assert_eq!(one.repair.len(), 0);
}
