//! What very many ask for: it goes to a few more, never to many, and never at the cost of repair.

use super::alone::{Alone, found};
use super::*;
use crate::limits::{CHUNK_HOLDERS, CHUNK_HOLDERS_HOT, HOT_AFTER, HOT_BYTES_BURST, HOT_BYTES_PER_S, HOT_CHECKS_MAX};

const PASSABLE: Nonce = Nonce([255; 16]);
const INSISTING: Nonce = Nonce([254; 16]);

impl World {
    /// Asks a node for the value it holds there; whether it leaves that to others.
    fn asks(&mut self, node: usize, place: Place, nonce: &Nonce) -> bool {
        let (members, gone, now) = (&self.members, &self.gone, time(self.now));
        let closest = |location: &Location, count| -> Vec<Contact> {
            let near = members.closest(location, count, |key| gone.contains(key));
            near.into_iter().map(Contact::from).collect()
        };
        let mut around = Surroundings { closest: &closest, rng: &mut self.rng };
        let is_passed_on = self.nodes[node].repair.is_passed_on(now, place, nonce, &mut around);
        self.step(node, None);
        is_passed_on
    }

    fn holders(&self, place: &Place) -> Vec<usize> {
        let holds = |node: &usize| self.nodes[*node].store.iter().any(|held| held.location() == place.1);
        (0..self.nodes.len()).filter(holds).collect()
    }

    /// A chunk at its holders.
    fn with_chunk(seed: u64) -> (Self, Place, Vec<usize>) {
        let mut world = Self::new(24, seed);
        let chunk = chunk(1, 5_000, 20);
        let place = Holding::from(&chunk).place;
        let holders = world.nearest_up(&place, CHUNK_HOLDERS);
        holders.iter().for_each(|node| world.store(*node, chunk.clone()));
        (world, place, holders)
    }
}

// [DHT-W-034]
#[test]
fn a_chunk_that_very_many_ask_for_goes_to_the_next_nearest_and_half_of_the_questions_with_it() {
    let (mut world, place, holders) = World::with_chunk(1);
    world.run_for(60);
    let before = (0..31).filter(|_| world.asks(holders[0], place, &PASSABLE)).count();
    assert_eq!((before, world.holders(&place).len()), (0, 2), "nobody is sent to where nothing is");
    world.run_for(20);
    let four = world.nearest_up(&place, CHUNK_HOLDERS_HOT);
    assert!(four.iter().all(|node| world.holders(&place).contains(node)));
    assert_eq!((world.holders(&place).len(), world.copies), (4, 2));
    (0..20).for_each(|_| {
        world.asks(holders[0], place, &INSISTING);
    });
    assert!(world.asks(holders[0], place, &PASSABLE));
    assert!(!world.asks(holders[0], place, &INSISTING));
    // The other holder finds them there, and those that have them serve all who come.
    for _ in 0..100 {
        world.asks(holders[1], place, &PASSABLE);
        assert!(!world.asks(four[2], place, &PASSABLE) && !world.asks(four[3], place, &PASSABLE));
    }
    world.run_for(20);
    (0..20).for_each(|_| {
        world.asks(holders[1], place, &INSISTING);
    });
    assert!(world.asks(holders[1], place, &PASSABLE));
    assert_eq!((world.holders(&place).len(), world.copies), (4, 2));
    // Nobody asks any more: the holders send it themselves again.
    world.run_for(2 * HOT_AFTER.as_secs());
    assert!(holders.iter().all(|node| !world.asks(*node, place, &PASSABLE)));
}

#[test]
fn when_both_holders_are_asked_alike_one_of_them_makes_the_copies() {
    let mut copies = 0;
    for seed in 0..10 {
        let (mut world, place, holders) = World::with_chunk(seed);
        for _ in 0..60 {
            for _ in 0..2 {
                holders.iter().for_each(|node| {
                    world.asks(*node, place, &INSISTING);
                });
            }
            world.run_for(1);
        }
        assert_eq!(world.holders(&place).len(), CHUNK_HOLDERS_HOT);
        copies += world.copies;
    }
    assert_eq!(copies, 10 * (CHUNK_HOLDERS_HOT - CHUNK_HOLDERS));
}

// [DHT-W-034]
#[test]
fn a_record_stays_at_its_holders_and_so_does_a_chunk_that_is_asked_for_in_measure() {
    let (mut world, place, holders) = World::with_chunk(2);
    let record = record(1, 1);
    world.put(&record);
    let at = Holding::from(&record).place;
    let of_record = world.nearest_up(&at, HOLDERS);
    for _ in 0..600 {
        for _ in 0..10 {
            assert!(!world.asks(of_record[0], at, &PASSABLE));
        }
        assert!(!world.asks(holders[0], place, &PASSABLE));
        world.run_for(1);
    }
    assert_eq!((world.holders(&at), world.copies), (world.holders(&at), 0));
    assert_eq!((world.holders(&at).len(), world.holders(&place).len()), (HOLDERS, CHUNK_HOLDERS));
}

// [DHT-W-034]
#[test]
fn a_copy_that_its_keeper_lost_is_made_anew_while_many_ask_and_nobody_is_sent_on_where_none_could_be_made() {
    let (mut world, place, holders) = World::with_chunk(3);
    let further = world.nearest_up(&place, CHUNK_HOLDERS_HOT)[CHUNK_HOLDERS..].to_vec();
    // They are silent, and not known to be gone.
    further.iter().for_each(|node| world.nodes[*node].up = false);
    for _ in 0..90 {
        (0..2).for_each(|_| assert!(!world.asks(holders[0], place, &PASSABLE)));
        world.run_for(1);
    }
    further.iter().for_each(|node| world.nodes[*node].up = true);
    let mut passed_on = 0;
    for _ in 0..60 {
        passed_on += usize::from(world.asks(holders[0], place, &PASSABLE));
        world.asks(holders[0], place, &PASSABLE);
        world.run_for(1);
    }
    assert!(passed_on > 10 && world.holders(&place).len() == CHUNK_HOLDERS_HOT);
    further.iter().for_each(|node| world.nodes[*node].store = MemoryStore::new(9, 99_999));
    for _ in 0..700 {
        world.asks(holders[0], place, &INSISTING);
        world.asks(holders[0], place, &INSISTING);
        world.run_for(1);
    }
    assert_eq!(world.holders(&place).len(), CHUNK_HOLDERS_HOT);
}

/// Asks a node alone, which holds these, for each so often in a second.
struct Rush {
    alone: Alone,
    values: Vec<VerifiedValue>,
}

impl Rush {
    fn new(count: u32) -> Self {
        let mut alone = Alone::new();
        // Such as this node and one other keep.
        let own = Contact::from(&RELAYS[0]);
        let is_near = |value: &VerifiedValue| {
            let nearer = |one: &&Contact| one.id.distance(&value.location()) < own.id.distance(&value.location());
            alone.others.iter().filter(nearer).count() == 0
        };
        let values: Vec<VerifiedValue> =
            (0..).map(|number| chunk(number, 65_000, 4)).filter(is_near).take(count.try_into().unwrap()).collect();
        for value in &values {
            alone.step(Instant::ZERO, Some(RepairInput::Held(Holding::from(value))));
        }
        Self { alone, values }
    }

    fn ask_all(&mut self, at: Instant, times: usize) {
        for value in self.values.clone() {
            let place = Holding::from(&value).place;
            (0..times).for_each(|_| {
                self.alone.is_passed_on(at, place, &INSISTING);
            });
        }
    }

    /// All others lack what is asked about, and take what they are sent.
    fn follow(&mut self, at: Instant) {
        let mut queue: VecDeque<RepairOutput> = self.alone.step(at, None).into();
        while let Some(output) = queue.pop_front() {
            let input = match output {
                RepairOutput::Ask { place, check, to, ask: Ask::Find { .. } } => {
                    RepairInput::Answered { place, check, from: to.id, answer: Box::new(found(None, None)) }
                }
                RepairOutput::Ask { place, check, to, .. } => RepairInput::Failed { place, check, from: to.id },
                RepairOutput::Load(place) => {
                    let value = self.values.iter().find(|value| value.location() == place.1).unwrap().clone();
                    RepairInput::Loaded { place, value: Some(Box::new(value)) }
                }
                other => panic!("{other:?}"),
            };
            queue.extend(self.alone.step(at, Some(input)));
        }
    }
}

// [DHT-W-035]
#[test]
fn who_asks_for_everything_all_the_time_moves_few_bytes_and_puts_off_no_repair() {
    let mut rush = Rush::new(60);
    let checks = rush.alone.repair.counts().checks;
    let mut most = 0;
    for second in 0..120 {
        rush.ask_all(after(second), if second == 0 { 40 } else { 3 });
        most = most.max(rush.alone.repair.checks_under_way(true));
        rush.follow(after(second));
        assert!(rush.alone.repair.budget.free_at() <= after(second), "repair's own budget is whole");
    }
    assert_eq!(most, HOT_CHECKS_MAX);
    let counts = rush.alone.repair.counts();
    assert_eq!(counts.checks, checks);
    // What was begun with something left is paid for in the end: at most as many as are under way at once.
    let begun = u64::try_from(HOT_CHECKS_MAX).unwrap() * 3 * 34 * 2_048;
    assert!(counts.bytes > HOT_BYTES_BURST && counts.bytes < HOT_BYTES_BURST + 120 * HOT_BYTES_PER_S + begun);
}

#[test]
fn all_checks_of_repair_find_room_beside_those_for_further_copies_and_go_first_at_one_place() {
    let mut rush = Rush::new(100);
    rush.ask_all(after(1), 40);
    assert_eq!(rush.alone.repair.checks_under_way(true), HOT_CHECKS_MAX);
    for newcomer in rush.alone.others.clone() {
        rush.alone.step(after(1), Some(RepairInput::Here(newcomer.id)));
    }
    // Nobody answers; all places are due within two steps.
    let widening: Vec<_> = rush.alone.repair.checks.keys().copied().collect();
    let mut most = 0;
    for second in 2..120 {
        rush.alone.step(after(second), None);
        most = most.max(rush.alone.repair.checks_under_way(false));
    }
    assert_eq!(most, REPAIR_CHECKS_MAX);
    assert!(rush.alone.repair.checks_under_way(true) <= HOT_CHECKS_MAX);
    assert!(rush.alone.repair.counts().checks >= 100, "each came to its turn");
    assert!(widening.iter().all(|spot| rush.alone.repair.places.get(spot).is_some_and(|kept| kept.tries > 0)));
}

#[test]
fn what_comes_late_to_a_look_after_further_copies_is_nothing_to_the_check_that_took_its_place() {
    let mut rush = Rush::new(1);
    let place = Holding::from(&rush.values[0]).place;
    rush.ask_all(after(1), 40);
    let late: Vec<(u64, Id)> = asked(rush.alone.step(after(1), None));
    assert_eq!(late.len(), CHUNK_HOLDERS_HOT - 1);
    let other = rush.alone.others.iter().map(|one| one.id).min_by_key(|id| id.distance(&place.1)).unwrap();
    rush.alone.step(after(1), Some(RepairInput::Here(other)));
    let next = (2..120).map(|second| (after(second), asked(rush.alone.step(after(second), None))));
    let (at, next) = { next }.find(|(_, asked)| !asked.is_empty()).unwrap();
    let [(check, holder)] = next[..] else { panic!("the other holder alone is asked: {next:?}") };
    let say = |rush: &mut Rush, check, from, has: bool| {
        let claim = Holding::from(&rush.values[0]);
        let answer = Box::new(found(has.then_some((claim.seq, claim.digest)), None));
        rush.alone.step(at, Some(RepairInput::Answered { place, check, from, answer }))
    };
    for (check, from) in late {
        assert!(say(&mut rush, check, from, false).is_empty(), "it lacked it then");
        assert!(rush.alone.step(at, Some(RepairInput::Failed { place, check, from })).is_empty());
    }
    assert_eq!(rush.alone.repair.checks.len(), 1);
    say(&mut rush, check, holder, true);
    let counts = rush.alone.repair.counts();
    assert_eq!((rush.alone.repair.checks.len(), counts.checks, counts.checks_failed), (0, 1, 0));
}

/// Which checks ask whom.
fn asked(outputs: Vec<RepairOutput>) -> Vec<(u64, Id)> {
    let asked = outputs.into_iter().filter_map(|output| match output {
        RepairOutput::Ask { check, to, .. } => Some((check, to.id)),
        _ => None,
    });
    asked.collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]
    #[test]
    fn whoever_asks_whom_how_often_a_chunk_is_never_at_more_than_the_four_nearest(
        asks in proptest::collection::vec((0..24_usize, 0..80_usize, 0..40_u64), 1..40), seed in any::<u64>(),
    ) {
        let (mut world, place, holders) = World::with_chunk(seed);
        let four = world.nearest_up(&place, CHUNK_HOLDERS_HOT);
        for (node, times, pause) in asks {
            let node = four.get(node % 8).copied().unwrap_or(node);
            (0..times).for_each(|_| {
                world.asks(node, place, &PASSABLE);
            });
            world.run_for(pause);
        }
        world.run_for(60);
        let held = world.holders(&place);
        prop_assert!(held.iter().all(|node| four.contains(node)));
        prop_assert!(holders.iter().all(|node| held.contains(node)));
    }
}
