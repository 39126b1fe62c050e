//! Whom a relay asks, whom it answers, and what it takes from nobody.

use super::*;
use crate::limits::{ASK_TIMEOUT, ASKS_PER_CLIENT_LINK_BURST, LINK_ANSWER_MAX, PARTIAL_ASK_TIMEOUT, SEALED_CHUNK_LEN};
use crate::wire::message::Assembler;
use crate::wire::record::ValueKind;
use crate::wire::statement::{Operation, Verdict};

const LINK: LinkId = LinkId(1_000_001);
const CLIENT: LinkId = LinkId(1_000_003);

/// A number that the dialler of a link may open.
fn circuit(number: u32) -> CircuitId {
    CircuitId(1 << 31 | number)
}

/// One relay with a link from another, which it does not ask anything over, for it comes from elsewhere than it says; and one
/// from a client.
fn asked(values: &[VerifiedValue]) -> World {
    asked_of(store_of(values))
}

fn asked_of(store: MemoryStore) -> World {
    let mut world = World::new();
    world.start(store);
    let address = Address("10.99.0.1:9".parse().unwrap());
    let there = relay(9);
    let from = |link_key, descriptor| Box::new(Peer { link_key, descriptor, address, dialled: false });
    world.inputs.push_back((0, Input::LinkUp { link: LINK, peer: from(there.link_key, Some(there)) }));
    world.inputs.push_back((0, Input::LinkUp { link: CLIENT, peer: from(DhKey([9; 32]), None) }));
    world.run_for(0);
    world
}

fn say(world: &mut World, link: LinkId, cells: impl IntoIterator<Item = Cell>) {
    world.inputs.extend(cells.into_iter().map(|cell| (0, Input::Cell { link, cell })));
    world.run_for(0);
}

fn ask(world: &mut World, link: LinkId, number: u32, ask: &Ask) -> Option<Answer> {
    world.said.clear();
    say(world, link, cells_of(circuit(number), Command::Ask, &ask.encode()).unwrap());
    answer(world, number)
}

/// What was said under this number, if it is whole.
fn answer(world: &World, number: u32) -> Option<Answer> {
    let mut assembler = Assembler::default();
    let said = world.said.iter().filter(|cell| (cell.command(), cell.circuit()) == (Command::Answer, circuit(number)));
    let whole = said.filter_map(|cell| assembler.push(cell.body()).unwrap()).last();
    whole.map(|message| Answer::decode(&message).unwrap())
}

fn store(value: &VerifiedValue, account: Account) -> Ask {
    Ask::Store { nonce: Nonce([1; 16]), expected: None, value: value.value().clone(), account }
}

/// A chunk of so many cells that its question takes several.
fn large(number: u8) -> VerifiedValue {
    let bytes = vec![number; SEALED_CHUNK_LEN];
    let chunk =
        ChunkBytes { hash: blake3(&[&bytes]), index: 0, expiry: Expiry::at_least(UnixTime(ISSUED.0 + 86_400)), bytes };
    VerifiedValue::check(&network(), Value::Hashed(chunk), ISSUED).unwrap()
}

// [LINK-W-001]
#[test]
fn nobody_is_dialled_who_is_neither_a_member_nor_a_bootstrap() {
    let mut world = World::new();
    world.start(store_of(&[]));
    let now = world.time();
    let (stranger, member) = (relay(77), relay(20));
    world.relays[0].as_mut().unwrap().on_descriptors(now, vec![member.clone()]);
    for (to, is_dialled) in [(stranger, false), (member, true)] {
        let one = world.relays[0].as_mut().unwrap();
        let before = one.ask_owners.len();
        one.ask(now, Contact::from(&to), AskOwner::SignOfLife, Ask::sign_of_life());
        assert_eq!(one.ask_owners.len() - before, usize::from(is_dialled), "one that is not sent has failed");
        world.drain(0);
        assert_eq!(world.dials.iter().any(|(_, address)| *address == to.address), is_dialled);
    }
}

// [MSG-R-022] [MSG-R-023]
#[test]
fn a_find_is_answered_by_a_statement_on_its_nonce_and_place_and_by_the_value_that_is_wanted() {
    let value = chunk(1);
    let mut world = asked(std::slice::from_ref(&value));
    let find =
        |location, want_value| Ask::Find { kind: ValueKind::Hashed, location, nonce: Nonce([2; 16]), want_value };
    let elsewhere = crate::keyspace::Id([7; 20]);
    let rows = [(value.location(), true, true), (value.location(), false, true), (elsewhere, true, false)];
    for (number, (location, wants, is_there)) in (1..).zip(rows) {
        let Some(Answer::Found { statement, value: sent, .. }) = ask(&mut world, LINK, number, &find(location, wants))
        else {
            panic!("not found")
        };
        let question = Question { nonce: Nonce([2; 16]), operation: Operation::Find, location };
        assert_eq!(statement.verify(&network(), &question, world.time().unix), Ok(()));
        let verdict = if is_there { Verdict::Present } else { Verdict::Absent };
        assert_eq!((statement.signer, statement.verdict), (relay(0).key, verdict));
        if is_there {
            assert_eq!((statement.seq, statement.digest), (value.seq(), value.digest()));
        }
        assert_eq!(sent.as_ref(), (wants && is_there).then(|| value.value()));
    }
}

// [MSG-R-026]
#[test]
fn of_several_checks_of_a_store_that_fail_the_first_is_told() {
    // So full that work is asked for.
    let mut store_of_ten = MemoryStore::new(10, 64 << 20);
    for number in 0..9 {
        assert_eq!(
            store_of_ten.apply(ISSUED, StoreOp::Put { value: chunk(number), expected: None }),
            StoreResult::Kept
        );
    }
    let mut world = asked_of(store_of_ten);
    let now = world.time();
    let one = world.relays[0].as_mut().unwrap();
    one.on_descriptors(now, (100..160).map(relay).collect());
    assert!(one.descriptor().effort > 0);
    world.drain(0);
    let own = relay(0).id();
    let rank = |value: &VerifiedValue| {
        let location = value.location();
        (100..160).filter(|other| relay(*other).id().distance(&location) < own.distance(&location)).count()
    };
    let near = (6_000..).map(chunk).find(|value| rank(value) < 10).unwrap();
    let far = (6_000..).map(chunk).find(|value| rank(value) > 40).unwrap();
    let mut broken = far.value().clone();
    if let Value::Hashed(chunk) = &mut broken {
        chunk.bytes.push(0);
    }
    let free = Account::Anonymous(None);
    let broken = Ask::Store { nonce: Nonce([1; 16]), expected: Some(9), value: broken, account: free };
    assert_eq!(ask(&mut world, LINK, 1, &broken), Some(Answer::Refused));
    let verdict = |answer| match answer {
        Some(Answer::Stored { statement }) => statement.verdict,
        other => panic!("{other:?}"),
    };
    assert_eq!(verdict(ask(&mut world, LINK, 2, &store(&far, free))), Verdict::NotCloseEnough);
    assert_eq!(verdict(ask(&mut world, LINK, 3, &store(&near, free))), Verdict::Unpaid);
}

// [MSG-R-005]
#[test]
fn questions_whose_cells_come_mixed_are_answered_each() {
    let mut world = asked(&[]);
    let (one, other) = (large(1), large(2));
    let cells = |number, value| {
        cells_of(circuit(number), Command::Ask, &store(value, Account::Anonymous(None)).encode()).unwrap()
    };
    world.said.clear();
    let mixed: Vec<Cell> = cells(1, &one).into_iter().zip(cells(2, &other)).flat_map(|(a, b)| [a, b]).collect();
    say(&mut world, LINK, mixed);
    for (number, value) in [(1, one), (2, other)] {
        let Some(Answer::Stored { statement }) = answer(&world, number) else { panic!("not stored") };
        assert_eq!((statement.verdict, statement.digest), (Verdict::Stored, value.digest()));
    }
}

// [MSG-R-002] [MSG-R-004] [MSG-R-008]
#[test]
fn a_question_under_a_wrong_number_or_that_cannot_be_read_ends_its_link() {
    let question = Ask::sign_of_life().encode();
    let good = |number| cells_of(number, Command::Ask, &question).unwrap();
    let beginning = cells_of(circuit(5), Command::Ask, &store(&large(1), Account::Upkeep).encode()).unwrap();
    let mut dirty = good(circuit(1));
    dirty[0].body_mut()[2_000] = 1;
    let mut twice = vec![Cell::build(circuit(5), 1, 0, [3; crate::limits::BODY_LEN])];
    twice.extend(good(circuit(5)));
    for (cells, reason) in [
        (good(circuit(1)), None),
        (beginning[..1].to_vec(), None),
        (good(CircuitId(1)), Some(DownReason::Protocol)),
        (twice, Some(DownReason::Protocol)),
        (dirty, Some(DownReason::Protocol)),
        (cells_of(circuit(1), Command::Ask, &[7]).unwrap(), Some(DownReason::Protocol)),
    ] {
        let mut world = asked(&[]);
        for cell in cells {
            // Without the work in between: the build packet is still being opened.
            let now = world.time();
            world.relays[0].as_mut().unwrap().handle(now, Input::Cell { link: LINK, cell });
        }
        world.drain(0);
        assert_eq!(world.closed.first().copied(), reason.map(|reason| (LINK, reason)));
    }
}

// [MSG-R-011]
#[test]
fn a_client_has_so_many_questions_at_once_and_a_relay_as_many_as_it_likes() {
    let find = Ask::Find { kind: ValueKind::Hashed, location: relay(1).id(), nonce: Nonce([1; 16]), want_value: false };
    for link in [LINK, CLIENT] {
        let mut world = asked(&[]);
        for number in 0..ASKS_PER_CLIENT_LINK_BURST {
            assert!(ask(&mut world, link, number + 1, &find).is_some());
        }
        let answered = ask(&mut world, link, 999, &find).is_some();
        let closed: &[_] = if link == CLIENT { &[(CLIENT, DownReason::Limit)] } else { &[] };
        assert_eq!((answered, &world.closed[..]), (link == LINK, closed));
    }
}

// [MSG-R-012]
#[test]
fn a_question_that_does_not_come_whole_ends_its_link() {
    let mut world = asked(&[]);
    let cells = cells_of(circuit(1), Command::Ask, &store(&large(1), Account::Upkeep).encode()).unwrap();
    say(&mut world, LINK, cells.into_iter().take(3));
    world.run_for(PARTIAL_ASK_TIMEOUT.as_secs() - 1);
    assert_eq!(world.closed, []);
    world.run_for(6);
    assert_eq!(world.closed, [(LINK, DownReason::Protocol)]);
}

/// A relay that has asked another over a link: the number of its question.
fn asking() -> (World, CircuitId) {
    let mut world = asked(&[]);
    let there = relay(20);
    let (link_key, address) = (there.link_key, there.address);
    let peer = Box::new(Peer { link_key, descriptor: Some(there.clone()), address, dialled: false });
    let link = LinkId(1_000_005);
    world.inputs.push_back((0, Input::LinkUp { link, peer }));
    world.run_for(0);
    world.said.clear();
    let now = world.time();
    let one = world.relays[0].as_mut().unwrap();
    one.ask(now, Contact::from(&there), AskOwner::SignOfLife, Ask::Members { after: None });
    world.drain(0);
    let [cell] = &world.said[..] else { panic!("{:?}", world.said) };
    let number = cell.circuit();
    (world, number)
}

// [LINK-W-032]
#[test]
fn a_link_that_is_silent_after_a_question_is_asked_for_a_sign_of_life_once_and_then_left() {
    let (mut world, _) = asking();
    let sign = cells_of(CircuitId(1), Command::Ask, &Ask::sign_of_life().encode()).unwrap().swap_remove(0);
    world.said.clear();
    world.run_for(LINK_ANSWER_MAX.as_secs());
    assert_eq!(world.said.iter().filter(|cell| cell.body() == sign.body()).count(), 1);
    assert_eq!(world.closed, []);
    world.run_for(LINK_ANSWER_MAX.as_secs());
    assert_eq!(world.closed, [(LinkId(1_000_005), DownReason::Silent)]);
}

// [MSG-R-009]
#[test]
fn an_answer_that_cannot_be_read_fails_its_question_and_ends_its_link() {
    let (mut world, number) = asking();
    assert_eq!(world.relays[0].as_ref().unwrap().asks.open(), 1);
    say(&mut world, LinkId(1_000_005), cells_of(number, Command::Answer, &[9]).unwrap());
    assert_eq!(world.closed, [(LinkId(1_000_005), DownReason::Protocol)]);
    assert_eq!(world.relays[0].as_ref().unwrap().asks.open(), 0);
}

// [MSG-W-016] [MSG-W-017]
#[test]
fn a_question_without_an_answer_ends_silently_and_a_late_answer_is_nothing() {
    let (mut world, number) = asking();
    world.now = world.now + ASK_TIMEOUT;
    let now = world.time();
    world.relays[0].as_mut().unwrap().handle(now, Input::Timeout);
    world.drain(0);
    assert!(world.said.iter().all(|cell| cell.command() == Command::Ask), "{:?}", world.said);
    say(&mut world, LinkId(1_000_005), cells_of(number, Command::Answer, &[9]).unwrap());
    assert_eq!(world.closed, []);
}
