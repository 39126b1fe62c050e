//! A relay whose storage is scarce: what it asks for, what it takes, and of whom.

use super::*;
use crate::crypto::hash::blake3;
use crate::dht::budget::{Bringer, CheckRole};
use crate::dht::store::Quota;
use crate::limits::{
    EFFORT_KEPT_S, PAYMENT_CHECKS_PER_RELAY_PER_S, PAYMENT_STEP_S, SEALED_CHUNK_LEN, STORE_HOUR_BYTES_MIN,
};
use crate::wire::payment::Payment;
use crate::wire::statement::Verdict;

const LINK: LinkId = LinkId(1_000_001);
const OTHER: LinkId = LinkId(1_000_003);
const LATER: LinkId = LinkId(1_000_005);

/// A store of so many values, of which so many are there.
fn filled(values: u32, max: usize) -> MemoryStore {
    let mut store = MemoryStore::new(max, 64 << 20);
    for number in 0..values {
        assert_eq!(store.apply(ISSUED, StoreOp::Put { value: chunk(number), expected: None }), StoreResult::Kept);
    }
    store
}

/// One relay, and the links of two others to it.
struct Scarce {
    world: World,
    asked: u32,
}

impl Scarce {
    fn new(store: MemoryStore) -> Self {
        let mut world = World::new();
        world.start(store);
        world.run_for(6);
        let mut scarce = Self { world, asked: 0 };
        for (link, number) in [(LINK, 9), (OTHER, 10)] {
            scarce.link(link, number);
        }
        scarce
    }

    fn link(&mut self, link: LinkId, number: u32) {
        let there = relay(number);
        let (link_key, address) = (there.link_key, there.address);
        let peer = Peer { link_key, descriptor: Some(there), address, dialled: false };
        let now = self.world.time();
        self.one().handle(now, Input::LinkUp { link, peer: Box::new(peer) });
        self.world.drain(0);
    }

    fn pass(&mut self, seconds: u64) {
        self.world.now = self.world.now + Duration::from_secs(seconds);
    }

    fn one(&mut self) -> &mut Relay {
        self.world.relays[0].as_mut().unwrap()
    }

    /// What it says when this is to be kept; `None`: it refuses.
    fn store(&mut self, link: LinkId, value: &VerifiedValue, account: Account) -> Option<(Verdict, u64)> {
        self.asked += 1;
        let circuit = CircuitId(0x8000_0000 + self.asked);
        let ask = Ask::Store { nonce: Nonce([1; 16]), expected: None, value: value.value().clone(), account };
        self.world.said.clear();
        let now = self.world.time();
        for cell in cells_of(circuit, Command::Ask, &ask.encode()).unwrap() {
            self.one().handle(now, Input::Cell { link, cell });
        }
        self.world.drain(0);
        let said: Vec<_> = self.world.said.drain(..).filter(|cell| cell.command() == Command::Answer).collect();
        let [cell] = &said[..] else { panic!("one cell was to be said, not {}", said.len()) };
        let message = crate::wire::message::Assembler::default().push(cell.body()).unwrap().unwrap();
        match Answer::decode(&message).unwrap() {
            Answer::Stored { statement } => Some((statement.verdict, statement.seq)),
            Answer::Refused => None,
            other => panic!("{other:?}"),
        }
    }

    /// What does not hold, though its hour does.
    fn falsely_paid(&self, value: &VerifiedValue) -> Account {
        let payment = Payment { effort: 1, hour: Payment::hour_at(self.world.time().unix), counter: 0 };
        let puzzle = payment.puzzle(&network(), value.location(), value.digest());
        let counter = (0..).find(|counter| !puzzle.is_solved_by(*counter)).unwrap();
        Account::Anonymous(Some(Payment { counter, ..payment }))
    }

    fn paid(&self, value: &VerifiedValue, effort: u8) -> Payment {
        let payment = Payment { effort, hour: Payment::hour_at(self.world.time().unix), counter: 0 };
        let counter = payment.puzzle(&network(), value.location(), value.digest()).solve(0, 1 << 14).unwrap();
        Payment { counter, ..payment }
    }
}

// [MEMB-W-004]
#[test]
fn a_relay_that_fills_up_asks_for_work_in_a_new_descriptor_and_keeps_it_for_an_hour() {
    let mut world = World::new();
    world.start(filled(740, 1_000));
    let first = world.relays[0].as_ref().unwrap().descriptor().clone();
    world.run_for(6);
    assert_eq!(*world.relays[0].as_ref().unwrap().descriptor(), first, "plentiful: nothing is said");
    world.stores[0] = filled(900, 1_000);
    world.run_for(6);
    let asking = world.relays[0].as_ref().unwrap().descriptor().clone();
    assert!(asking.effort == 2 && asking.issued > first.issued);
    world.stores[0] = filled(0, 1_000);
    world.run_for(EFFORT_KEPT_S - 60);
    assert_eq!(world.relays[0].as_ref().unwrap().descriptor().effort, 2);
    world.run_for(120);
    assert_eq!(world.relays[0].as_ref().unwrap().descriptor().effort, 0);
}

#[test]
fn a_relay_that_starts_with_a_full_store_asks_for_work_before_anybody_can_write() {
    let mut world = World::new();
    world.start(filled(900, 1_000));
    assert_eq!(world.relays[0].as_ref().unwrap().descriptor().effort, 2);
}

#[test]
fn an_operator_is_told_what_is_asked_and_what_of_the_hour_is_used_when_it_changes_and_only_then() {
    let mut scarce = Scarce::new(filled(800, 1_000));
    let value = chunk(5_000);
    let first = WriteTerms {
        effort: 1,
        full_permille: 800,
        hour_bytes: 0,
        hour_bytes_max: STORE_HOUR_BYTES_MIN,
        is_scarce: true,
    };
    assert_eq!(scarce.world.terms, [first], "once, with the start and the sweep after it");
    let shows = Account::Anonymous(Some(scarce.paid(&value, 1)));
    assert_eq!(scarce.store(LINK, &value, shows).unwrap().0, Verdict::Stored);
    scarce.world.run_for(6);
    let hour_bytes = u64::try_from(crate::dht::store::room_of(&value)).unwrap();
    assert_eq!(scarce.world.terms, [first, WriteTerms { hour_bytes, full_permille: 801, ..first }]);
}

#[test]
fn a_step_is_kept_for_an_hour_whatever_becomes_of_the_wall_clock() {
    let mut world = World::new();
    world.start(filled(900, 1_000));
    world.run_for(6);
    let fill = |values| StoreResult::Filled {
        held: Quota { values, bytes: 0 },
        max: Quota { values: 1_000, bytes: 64 << 20 },
    };
    let one = world.relays[0].as_mut().unwrap();
    let ahead = |world_s: u64, unix_s: u64| Now {
        instant: Instant::ZERO + Duration::from_secs(world_s),
        unix: UnixTime(ISSUED.0 + unix_s),
    };
    one.on_filled(ahead(7, 9 * EFFORT_KEPT_S), &fill(0));
    assert_eq!(one.descriptor().effort, 2, "it was set on");
    one.on_filled(ahead(9 + EFFORT_KEPT_S, 0), &fill(0));
    assert_eq!(one.descriptor().effort, 0, "it was set back");
}

#[test]
fn where_work_is_asked_for_a_value_is_kept_that_was_paid_for_as_it_is_and_no_other() {
    let mut scarce = Scarce::new(filled(750, 1_000));
    let (value, other) = (chunk(5_000), chunk(5_001));
    let good = scarce.paid(&value, 1);
    let unpaid = Some((Verdict::Unpaid, 1));
    let shows = |payment| Account::Anonymous(Some(payment));
    assert_eq!(scarce.store(LINK, &value, Account::Anonymous(None)), unpaid);
    // Neither another value's nor another hour's; nor another counter, one of which in sixteen would do by chance.
    assert_eq!(scarce.store(LINK, &value, shows(Payment { hour: good.hour - 2, ..good })), unpaid);
    assert_eq!(scarce.store(LINK, &value, shows(Payment { hour: good.hour + 2, ..good })), unpaid);
    let wrong = |counter: &u32| !good.puzzle(&network(), value.location(), value.digest()).is_solved_by(*counter);
    let counter = (0..).find(wrong).unwrap();
    assert_eq!(scarce.store(LINK, &value, shows(Payment { counter, ..good })), unpaid);
    let foreign =
        |payment: &Payment| !payment.puzzle(&network(), value.location(), value.digest()).is_solved_by(payment.counter);
    let of_other = scarce.paid(&other, 1);
    assert!(foreign(&of_other));
    assert_eq!(scarce.store(LINK, &value, shows(of_other)), unpaid);
    assert_eq!(scarce.store(LINK, &value, shows(good)).unwrap().0, Verdict::Stored);
    let more = scarce.paid(&other, 2);
    assert_eq!(scarce.store(LINK, &other, shows(more)).unwrap().0, Verdict::Stored, "more than is asked for will do");
}

#[test]
fn one_relay_has_so_many_payments_checked_in_a_second_and_others_have_theirs() {
    let mut scarce = Scarce::new(filled(750, 1_000));
    let (value, unpaid) = (chunk(5_000), Some((Verdict::Unpaid, 1)));
    let shows = scarce.falsely_paid(&value);
    for _ in 0..PAYMENT_CHECKS_PER_RELAY_PER_S {
        assert_eq!(scarce.store(LINK, &value, shows), unpaid);
    }
    assert_eq!(scarce.store(LINK, &value, shows), None, "refused without a word");
    assert_eq!(scarce.store(OTHER, &value, shows), unpaid);
    scarce.pass(1);
    assert_eq!(scarce.store(LINK, &value, shows), unpaid);
}

#[test]
fn a_payment_that_held_is_not_checked_again_and_takes_nothing_of_what_is_checked_in_a_second() {
    let mut scarce = Scarce::new(filled(750, 1_000));
    let (value, other) = (chunk(5_000), chunk(5_001));
    let good = scarce.paid(&value, 1);
    let shows = Account::Anonymous(Some(good));
    for _ in 0..=PAYMENT_CHECKS_PER_RELAY_PER_S {
        assert_eq!(scarce.store(LINK, &value, shows).unwrap().0, Verdict::Stored);
    }
    assert_eq!(scarce.one().paying.checked(CheckRole::Storer).len(), 1);
    assert!(
        scarce.one().paying.checked(CheckRole::Exit).is_empty(),
        "what it checked as one shows in nothing it does as the other"
    );
    // It is remembered as what it is: of another value it is none, and the clock goes on for it.
    let false_one = scarce.falsely_paid(&other);
    for _ in 1..PAYMENT_CHECKS_PER_RELAY_PER_S {
        assert_eq!(scarce.store(LINK, &other, false_one), Some((Verdict::Unpaid, 1)));
    }
    assert_eq!(scarce.store(LINK, &other, false_one), None);
    scarce.pass(2 * PAYMENT_STEP_S);
    scarce.link(LATER, 9);
    assert_eq!(scarce.store(LATER, &value, shows), Some((Verdict::Unpaid, 1)));
}

#[test]
fn what_comes_of_clients_is_counted_apart_from_what_the_relay_brings_itself() {
    let mut scarce = Scarce::new(filled(750, 1_000));
    let (now, there) = (scarce.world.time(), relay(11));
    let (link_key, address) = (there.link_key, there.address);
    let client = Peer { link_key, descriptor: None, address, dialled: false };
    scarce.one().handle(now, Input::LinkUp { link: LATER, peer: Box::new(client) });
    let one = scarce.one();
    for (asker, bringer) in [
        (Asker::Own(AskId(1)), Bringer::Own),
        (Asker::Remote(LINK, CircuitId(1)), Bringer::Relay(relay(9).key)),
        (Asker::Remote(LATER, CircuitId(1)), Bringer::Unknown),
        (Asker::Remote(LinkId(7), CircuitId(1)), Bringer::Unknown),
    ] {
        assert_eq!(one.bringer_of(asker), bringer);
    }
    // What they hand to the exit in a second is counted, too.
    let no = one.circuits.open(now.instant, (LATER, CircuitId(1 << 31))).unwrap();
    let value = chunk(5_000);
    let Account::Anonymous(Some(payment)) = scarce.falsely_paid(&value) else { unreachable!("it shows one") };
    for _ in 0..PAYMENT_CHECKS_PER_RELAY_PER_S {
        let handed = Handed { slot: (no, 0), expected: None, value: Box::new(value.clone()), payment };
        scarce.one().on_handed(now, handed);
    }
    let mut may = |from| scarce.one().paying.budgets.take_check(now.unix, CheckRole::Exit, from);
    assert!(!may(Bringer::Unknown) && may(Bringer::Own));
}

#[test]
fn repair_pays_nothing_when_it_comes_from_near_the_place_and_is_a_write_like_others_from_elsewhere() {
    let mut scarce = Scarce::new(filled(750, 1_000));
    assert_eq!(scarce.store(LINK, &chunk(5_000), Account::Upkeep).unwrap().0, Verdict::Stored);
    let now = scarce.world.time();
    scarce.one().on_descriptors(now, (100..160).map(relay).collect());
    scarce.world.drain(0);
    let id = |number: u32| relay(number).id();
    let (members, mine, theirs, near): (Vec<_>, _, _, _) = ((100..160).map(id).collect(), id(0), id(9), id(10));
    let rank = |of: &crate::keyspace::Id, value: &VerifiedValue| {
        let location = value.location();
        members.iter().filter(|other| other.distance(&location) < of.distance(&location)).count()
    };
    let far = (6_000..)
        .map(chunk)
        .find(|value| rank(&mine, value) < 15 && rank(&theirs, value) > 25 && rank(&near, value) < 15);
    let far = far.unwrap();
    assert_eq!(scarce.store(LINK, &far, Account::Upkeep), Some((Verdict::Unpaid, 1)));
    assert_eq!(scarce.store(OTHER, &far, Account::Upkeep).unwrap().0, Verdict::Stored);
}

#[test]
fn a_flood_over_a_link_comes_to_the_end_of_its_hour_and_leaves_small_values_their_room() {
    let mut scarce = Scarce::new(filled(1_000, 2_000));
    assert_eq!(scarce.one().descriptor().effort, 0);
    let large = |number: u32| {
        let mut bytes = number.to_be_bytes().repeat(SEALED_CHUNK_LEN / 4);
        bytes.truncate(SEALED_CHUNK_LEN);
        let expiry = Expiry::at_least(UnixTime(ISSUED.0 + 86_400));
        let chunk = ChunkBytes { hash: blake3(&[&bytes]), index: 0, expiry, bytes };
        VerifiedValue::check(&network(), Value::Hashed(chunk), ISSUED).unwrap()
    };
    let fit = u32::try_from(STORE_HOUR_BYTES_MIN).unwrap() / u32::try_from(SEALED_CHUNK_LEN).unwrap();
    let free = Account::Anonymous(None);
    for number in 0..fit {
        assert_eq!(scarce.store(LINK, &large(number), free).unwrap().0, Verdict::Stored, "{number}");
    }
    assert_eq!(scarce.store(LINK, &large(fit), free), Some((Verdict::Full, 0)));
    assert_eq!(scarce.store(OTHER, &large(fit), free), Some((Verdict::Full, 0)), "of so small a store that is all");
    for _ in 0..3 {
        assert_eq!(scarce.store(OTHER, &large(0), free).unwrap().0, Verdict::Stored, "it is held already");
    }
    assert_eq!(scarce.store(OTHER, &chunk(9_000), free).unwrap().0, Verdict::Stored);
    assert_eq!(scarce.store(OTHER, &large(fit), Account::Upkeep).unwrap().0, Verdict::Stored, "repair has its own");
    scarce.pass(3_600);
    scarce.link(LATER, 9);
    assert_eq!(scarce.store(LATER, &large(fit + 1), free).unwrap().0, Verdict::Stored);
}
