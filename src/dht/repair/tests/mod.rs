//! A world of nodes with stores, where answers come in any order and nodes come and go: repair must end with the nearest live
//! nodes holding the newest value, whatever happened.

mod alone;
mod hot;

use std::collections::BTreeSet;
use std::sync::LazyLock;

use proptest::prelude::*;
use rand::rngs::ChaCha20Rng;
use rand::{RngExt, SeedableRng};

use super::*;
use crate::crypto::hash::blake3;
use crate::crypto::keys::{IdentitySecret, NodeKey, Signature};
use crate::dht::store::{MemoryStore, StoreOp, StoreResult};
use crate::limits::EXPIRY_STEP_S;
use crate::membership::fixture::{ISSUED, members_of, network, relay, secret};
use crate::membership::members::Members;
use crate::record::record_message;
use crate::time::UnixTime;
use crate::wire::descriptor::VerifiedDescriptor;
use crate::wire::record::{ChunkBytes, Expiry, RECORD_TEXT_LEN, RecordFields};
use crate::wire::statement::{Operation, Question, Saying, Statement, Verdict};

const NODES: u32 = 40;
static RELAYS: LazyLock<Vec<VerifiedDescriptor>> = LazyLock::new(|| (0..NODES).map(relay).collect());
/// From the loss of a holder until the others know, at most.
const CONFIRM: Duration = Duration::from_secs(155);

fn time(instant: Instant) -> Now {
    Now { instant, unix: UnixTime(ISSUED.0 + Instant::ZERO.until(instant).as_secs()) }
}

fn after(seconds: u64) -> Instant {
    Instant::ZERO + Duration::from_secs(seconds)
}

fn record(author: u8, seq: u64) -> VerifiedValue {
    let secret = IdentitySecret::from_bytes(&[author; 32]);
    let mut fields = RecordFields {
        key: secret.public(),
        seq,
        expiry: Expiry::at_least(UnixTime(ISSUED.0 + 20 * EXPIRY_STEP_S)),
        nonce: [0; 24],
        text: [0; RECORD_TEXT_LEN],
        tag: [0; 16],
        signature: Signature([0; 64]),
    };
    fields.signature = secret.sign(&record_message(&network(), &fields.encode()));
    VerifiedValue::check(&network(), Value::Signed(fields.encode()), ISSUED).unwrap()
}

fn chunk(number: u32, len: usize, steps: u64) -> VerifiedValue {
    let bytes: Vec<u8> = number.to_be_bytes().into_iter().cycle().take(len).collect();
    let expiry = Expiry::at_least(UnixTime(ISSUED.0 + steps * EXPIRY_STEP_S));
    let chunk = ChunkBytes { hash: blake3(&[&bytes]), index: 0, expiry, bytes };
    VerifiedValue::check(&network(), Value::Hashed(chunk), ISSUED).unwrap()
}

struct Node {
    contact: Contact,
    repair: Repair,
    store: MemoryStore,
    up: bool,
}

enum Event {
    Asked { by: usize, place: Place, check: u64, to: usize, ask: Ask },
    Told { to: usize, input: RepairInput },
    KnownGone { whom: usize },
}

/// What happens to the world.
#[derive(Clone, Copy, Debug)]
enum Change {
    Put {
        author: u8,
    },
    Stop {
        node: usize,
    },
    /// Back, with its disk; as a process that went on, or as a new one.
    Back {
        node: usize,
        restarted: bool,
    },
    Join,
}

struct World {
    nodes: Vec<Node>,
    members: Members,
    gone: BTreeSet<NodeKey>,
    events: BTreeMap<(Instant, u64), Event>,
    next: u64,
    now: Instant,
    rng: ChaCha20Rng,
    newest: BTreeMap<Place, VerifiedValue>,
    copies: usize,
}

impl World {
    fn new(nodes: u32, seed: u64) -> Self {
        let mut world = Self {
            nodes: Vec::new(),
            members: members_of([]),
            gone: BTreeSet::new(),
            events: BTreeMap::new(),
            next: 0,
            now: Instant::ZERO,
            rng: ChaCha20Rng::seed_from_u64(seed),
            newest: BTreeMap::new(),
            copies: 0,
        };
        (0..nodes).for_each(|_| world.join());
        world
    }

    fn join(&mut self) {
        let Some(descriptor) = RELAYS.get(self.nodes.len()) else { return };
        self.members.merge(descriptor.clone(), ISSUED);
        let contact = Contact::from(descriptor);
        let repair = Repair::new(contact.id, RepairTiming::default(), time(self.now));
        self.nodes.push(Node { contact, repair, store: MemoryStore::new(999, 9_999_999), up: true });
        self.tell_all(RepairInput::Here(contact.id).id());
    }

    fn tell_all(&mut self, (id, here): (Id, bool)) {
        for node in 0..self.nodes.len() {
            let input = if here { RepairInput::Here(id) } else { RepairInput::Gone(id) };
            self.tell(node, input);
        }
    }

    fn schedule(&mut self, max_millis: u64, event: Event) {
        self.next += 1;
        let at = self.now + Duration::from_millis(self.rng.random_range(0..=max_millis));
        self.events.insert((at, self.next), event);
    }

    /// One input to one node, and all that follows from it.
    fn tell(&mut self, node: usize, input: RepairInput) {
        self.step(node, Some(input));
    }

    fn step(&mut self, node: usize, input: Option<RepairInput>) {
        let (members, gone, now) = (&self.members, &self.gone, time(self.now));
        let closest = |location: &Location, count| -> Vec<Contact> {
            let near = members.closest(location, count, |key| gone.contains(key));
            near.into_iter().map(Contact::from).collect()
        };
        let one = &mut self.nodes[node];
        if !one.up {
            return;
        }
        let mut around = Surroundings { closest: &closest, rng: &mut self.rng };
        if let Some(input) = input {
            one.repair.handle(now, input, &mut around);
        }
        one.repair.handle_time(now, &mut around);
        assert!(one.repair.checks.len() <= REPAIR_CHECKS_MAX);
        let outputs: Vec<RepairOutput> = core::iter::from_fn(|| one.repair.poll_output()).collect();
        outputs.into_iter().for_each(|output| self.follow(node, output));
    }

    fn follow(&mut self, node: usize, output: RepairOutput) {
        match output {
            RepairOutput::Ask { place, check, to, ask } => {
                let to = self.nodes.iter().position(|one| one.contact.id == to.id).unwrap();
                assert_ne!(to, node, "nobody asks itself");
                self.schedule(700, Event::Asked { by: node, place, check, to, ask });
            }
            RepairOutput::Load(place) => {
                let op = StoreOp::Get { kind: place.0, location: place.1 };
                let StoreResult::Value(value) = self.nodes[node].store.apply(time(self.now).unix, op) else { panic!() };
                let input = RepairInput::Loaded { place, value: value.map(Box::new) };
                self.schedule(5, Event::Told { to: node, input });
            }
            RepairOutput::Check { place, value } => {
                let value = VerifiedValue::check(&network(), value, time(self.now).unix).ok().map(Box::new);
                self.schedule(5, Event::Told { to: node, input: RepairInput::Checked { place, value } });
            }
            RepairOutput::Keep(value) => self.store(node, *value),
            RepairOutput::Watch(_) => (),
        }
    }

    fn store(&mut self, node: usize, value: VerifiedValue) {
        let holding = Holding::from(&value);
        let op = StoreOp::Put { value, expected: None };
        if self.nodes[node].store.apply(time(self.now).unix, op) == StoreResult::Kept {
            self.tell(node, RepairInput::Held(holding));
        }
    }

    fn answer(&mut self, to: usize, ask: Ask) -> Answer {
        let say = |verdict, seq, digest| {
            let saying = Saying { verdict, seq, digest, relays_estimate: 0 };
            let question = Question { nonce: Nonce([0; 16]), operation: Operation::Find, location: Id([0; 20]) };
            Statement::sign(&network(), &secret(1), &question, &saying, ISSUED)
        };
        match ask {
            Ask::Find { kind, location, want_value, .. } => {
                let op = StoreOp::Get { kind, location };
                let StoreResult::Value(held) = self.nodes[to].store.apply(time(self.now).unix, op) else { panic!() };
                let statement = held.as_ref().map_or_else(
                    || say(Verdict::Absent, 0, [0; 32]),
                    |held| say(Verdict::Present, held.seq(), held.digest()),
                );
                let value = held.filter(|_| want_value).map(VerifiedValue::into_value);
                Answer::Found { statement, contacts: Vec::new(), value }
            }
            Ask::Store { value, .. } => {
                let value = VerifiedValue::check(&network(), value, time(self.now).unix).unwrap();
                self.copies += 1;
                self.store(to, value);
                Answer::Stored { statement: say(Verdict::Stored, 0, [0; 32]) }
            }
            Ask::Members { .. } | Ask::Differences { .. } => panic!("repair asks for no members"),
        }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Asked { by, place, check, to, ask } if self.nodes[to].up => {
                let (from, answer) = (self.nodes[to].contact.id, Box::new(self.answer(to, ask)));
                self.schedule(700, Event::Told { to: by, input: RepairInput::Answered { place, check, from, answer } });
            }
            Event::Asked { by, place, check, to, .. } => {
                let input = RepairInput::Failed { place, check, from: self.nodes[to].contact.id };
                self.schedule(2_000, Event::Told { to: by, input });
            }
            Event::Told { to, input } => self.tell(to, input),
            Event::KnownGone { whom } if !self.nodes[whom].up => {
                self.gone.insert(RELAYS[whom].key);
                self.tell_all((self.nodes[whom].contact.id, false));
            }
            Event::KnownGone { .. } => (),
        }
    }

    /// Lets everything happen that is due until then.
    fn run_until(&mut self, end: Instant) {
        loop {
            let timers = (0..self.nodes.len()).filter(|node| self.nodes[*node].up);
            let timer = timers.filter_map(|node| Some((self.nodes[node].repair.poll_timeout()?, node))).min();
            let event = self.events.first_key_value().map(|((at, _), _)| *at);
            let at = earlier(timer.map(|(at, _)| at), event).filter(|at| *at <= end);
            let Some(at) = at else { break };
            self.now = self.now.max(at);
            match timer.filter(|(due, _)| *due <= at) {
                Some((_, node)) => self.step(node, None),
                None => {
                    let (_, event) = self.events.pop_first().unwrap();
                    self.happen(event);
                }
            }
        }
        self.now = end;
        // As the sweep of a relay does.
        (0..self.nodes.len()).for_each(|node| self.step(node, None));
    }

    /// Runs on, with every node stepped as often as its owner's timers do.
    fn run_for(&mut self, seconds: u64) {
        let end = self.now + Duration::from_secs(seconds);
        while self.now < end {
            self.run_until((self.now + Duration::from_secs(5)).min(end));
        }
    }

    fn nearest_up(&self, place: &Place, count: usize) -> Vec<usize> {
        let is_down = |key: &NodeKey| self.nodes.iter().zip(RELAYS.iter()).any(|(one, r)| r.key == *key && !one.up);
        let near = self.members.closest(&place.1, count, is_down);
        let index = |relay: &&VerifiedDescriptor| RELAYS.iter().position(|one| one.key == relay.key).unwrap();
        near.iter().map(index).collect()
    }

    /// As an exit stores: at the nearest that answer.
    fn put(&mut self, value: &VerifiedValue) {
        let place = Holding::from(value).place;
        for node in self.nearest_up(&place, HOLDERS) {
            self.store(node, value.clone());
        }
        self.newest.insert(place, value.clone());
    }

    fn change(&mut self, change: Change) {
        match change {
            Change::Put { author } => {
                let seq = 1 + self.newest.values().map(VerifiedValue::seq).max().unwrap_or(0);
                self.put(&record(author, seq));
            }
            // Never so many that a value could be lost before repair has come round.
            Change::Stop { node } if self.nodes.iter().filter(|one| one.up).count() > HOLDERS + 3 => {
                let node = node % self.nodes.len();
                if self.nodes[node].up {
                    self.nodes[node].up = false;
                    self.next += 1;
                    self.events.insert((self.now + CONFIRM, self.next), Event::KnownGone { whom: node });
                }
            }
            Change::Stop { .. } => (),
            Change::Back { node, restarted } => self.back(node % self.nodes.len(), restarted),
            Change::Join => self.join(),
        }
    }

    fn back(&mut self, node: usize, restarted: bool) {
        if self.nodes[node].up {
            return;
        }
        self.gone.remove(&RELAYS[node].key);
        let (now, id) = (time(self.now), self.nodes[node].contact.id);
        let one = &mut self.nodes[node];
        one.up = true;
        if restarted {
            one.repair = Repair::new(id, RepairTiming::default(), now);
            let places: Vec<Holding> = one.store.iter().map(Holding::from).collect();
            places.into_iter().for_each(|holding| self.tell(node, RepairInput::Found(holding)));
        }
        self.tell_all((id, true));
    }

    fn lacking(&self) -> Vec<(Place, usize)> {
        let mut lacking = Vec::new();
        for (place, newest) in &self.newest {
            for node in self.nearest_up(place, HOLDERS) {
                if !self.nodes[node].store.iter().any(|held| held == newest) {
                    lacking.push((*place, node));
                }
            }
        }
        lacking
    }
}

impl RepairInput {
    fn id(&self) -> (Id, bool) {
        match self {
            Self::Here(id) => (*id, true),
            Self::Gone(id) => (*id, false),
            _ => unreachable!("of those that come and go alone"),
        }
    }
}

fn changes() -> impl Strategy<Value = Vec<(u64, Change)>> {
    let change = prop_oneof![
        3 => (1..6_u8).prop_map(|author| Change::Put { author }),
        2 => any::<usize>().prop_map(|node| Change::Stop { node }),
        2 => (any::<usize>(), any::<bool>()).prop_map(|(node, restarted)| Change::Back { node, restarted }),
        1 => Just(Change::Join),
    ];
    proptest::collection::vec((0..200_u64, change), 1..14)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    // [DHT-W-027] [DHT-W-031]
    #[test]
    fn whoever_comes_and_goes_the_nearest_live_nodes_end_with_the_newest_value(
        changes in changes(), seed in any::<u64>(), nodes in 8..30_u32,
    ) {
        let mut world = World::new(nodes, seed);
        for author in 1..4 {
            world.change(Change::Put { author });
        }
        let mut stopped_at = world.now;
        for (pause, change) in changes {
            world.run_for(pause);
            if matches!(change, Change::Stop { .. }) {
                // Losses that follow each other faster than repair can be told of them may take all copies.
                let wait = Duration::from_secs(300).saturating_sub(stopped_at.until(world.now));
                world.run_for(wait.as_secs());
                stopped_at = world.now;
            }
            world.change(change);
        }
        world.run_for(300);
        prop_assert_eq!(world.lacking(), vec![]);
        for node in &world.nodes {
            prop_assert!(node.repair.passes.is_empty(), "all changes were held against all places");
        }
    }
}

// [DHT-W-028]
#[test]
fn a_lost_holder_is_replaced_within_five_minutes_and_mostly_by_one_copy() {
    for seed in 0..20 {
        let mut world = World::new(24, seed);
        (0..10).for_each(|author| world.change(Change::Put { author }));
        world.run_for(60);
        let place = *world.newest.keys().nth(3).unwrap();
        let holder = world.nearest_up(&place, HOLDERS)[usize::try_from(seed % 5).unwrap()];
        world.copies = 0;
        world.change(Change::Stop { node: holder });
        let lost = world.lacking().len();
        assert!(lost > 0);
        world.run_for(300);
        assert_eq!(world.lacking(), vec![], "seed {seed}");
        assert!(world.copies <= lost + 1, "{} copies for {lost}", world.copies);
    }
}

#[test]
fn several_holders_lost_at_once_are_replaced_by_one_that_is_left() {
    let mut world = World::new(24, 1);
    world.change(Change::Put { author: 1 });
    world.run_for(60);
    let place = *world.newest.keys().next().unwrap();
    for node in world.nearest_up(&place, HOLDERS).into_iter().take(HOLDERS - 1) {
        world.change(Change::Stop { node });
    }
    assert_eq!(world.lacking().len(), HOLDERS - 1);
    world.run_for(300);
    assert_eq!(world.lacking(), vec![]);
}

#[test]
fn who_joins_near_a_value_is_handed_it_and_the_last_of_before_keeps_its_copy() {
    let mut world = World::new(10, 3);
    (0..30).for_each(|author| world.change(Change::Put { author }));
    world.run_for(10);
    let before: Vec<usize> = world.nodes.iter().map(|node| node.store.len()).collect();
    world.change(Change::Join);
    let joined = world.nodes.len() - 1;
    assert!(!world.lacking().is_empty());
    world.run_for(120);
    assert_eq!(world.lacking(), vec![]);
    assert!(world.nodes[joined].store.len() > 5);
    let after: Vec<usize> = world.nodes.iter().take(10).map(|node| node.store.len()).collect();
    assert_eq!(before, after);
}

// [DHT-W-028]
#[test]
fn a_holder_that_paused_gets_what_it_missed_from_who_was_given_it_in_its_place() {
    let mut world = World::new(24, 5);
    world.change(Change::Put { author: 1 });
    world.run_for(10);
    let place = *world.newest.keys().next().unwrap();
    let paused = world.nearest_up(&place, 1)[0];
    world.nodes[paused].up = false;
    world.change(Change::Put { author: 1 });
    // It comes back before anybody has noticed: nobody is told.
    world.run_for(3);
    world.nodes[paused].up = true;
    assert_eq!(world.lacking(), vec![(place, paused)]);
    world.run_for(100);
    assert_eq!(world.lacking(), vec![]);
}

// [DHT-W-028]
#[test]
fn without_any_news_a_copy_that_is_missing_is_noticed_within_the_hour() {
    let mut world = World::new(24, 6);
    let value = record(1, 1);
    let place = Holding::from(&value).place;
    world.put(&value);
    let robbed = world.nearest_up(&place, 2)[1];
    world.nodes[robbed].store = MemoryStore::new(9, 99_999);
    world.run_for(60);
    assert_eq!(world.lacking().len(), 1);
    world.run_for(75 * 60);
    assert_eq!(world.lacking(), vec![]);
}

// [DHT-W-032]
#[test]
fn a_relay_that_is_no_holder_any_more_hands_over_and_then_rests() {
    let mut world = World::new(30, 7);
    let value = record(1, 1);
    let place = Holding::from(&value).place;
    let far = world.nearest_up(&place, 20)[15];
    world.store(far, value.clone());
    world.newest.insert(place, value);
    world.run_for(120);
    assert_eq!(world.lacking(), vec![]);
    let spot = spot_of(place);
    assert!(world.nodes[far].repair.places.get(&spot).unwrap().handed_over);
    let checks = world.nodes[far].repair.counts().checks;
    world.run_for(3 * 3_600);
    assert_eq!(world.nodes[far].repair.counts().checks, checks);
    assert_eq!(world.nodes[far].store.len(), 1, "its copy stays");
}

#[test]
fn what_is_over_is_looked_after_no_more() {
    let mut world = World::new(12, 8);
    world.put(&chunk(1, 100, 1));
    let holders: Vec<usize> = (0..12).filter(|node| !world.nodes[*node].repair.is_empty()).collect();
    assert_eq!(holders.len(), HOLDERS);
    // An expiry is rounded up to a step.
    world.run_for(2 * EXPIRY_STEP_S);
    assert!(holders.iter().all(|node| world.nodes[*node].repair.is_empty()));
}

// [DHT-R-030] [DHT-W-031]
#[test]
fn the_later_expiry_of_a_chunk_reaches_the_other_holder_whichever_has_it() {
    for renewed_at in [0, 1] {
        let mut world = World::new(12, 5);
        let (short, long) = (chunk(1, 500, 4), chunk(1, 500, 9));
        let holders = world.nearest_up(&Holding::from(&short).place, 2);
        holders.iter().for_each(|node| world.store(*node, short.clone()));
        world.store(holders[renewed_at], long.clone());
        let both = |world: &World| holders.iter().all(|node| world.nodes[*node].store.iter().eq([&long]));
        assert!(!both(&world));
        world.run_for(2 * 3_600);
        assert!(both(&world), "{renewed_at}");
        // Nothing more is to be done about it.
        let copies = world.copies;
        world.run_for(3_600);
        assert_eq!(world.copies, copies);
    }
}
