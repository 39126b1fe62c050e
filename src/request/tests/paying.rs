//! What an operation wants solved before its circuits are built, and what it does when holders ask for more.

use super::*;
use crate::crypto::storage_puzzle::StoragePuzzle;
use crate::dht::effort::ToldEfforts;
use crate::limits::{EFFORT_MAX, PAYMENT_STEP_S};
use crate::membership::fixture::signed;
use crate::wire::descriptor::Descriptor;
use crate::wire::payment::Payment;
use crate::wire::record::ValueKind;

/// The same relays, all of which ask for this effort.
fn asking(effort: u8) -> Members {
    members_of((0..RELAYS).map(|number| signed(Descriptor { effort, ..*relay(number) }, number)))
}

fn terms<'a>(network: &'a Network, members: &'a Members, later_s: u64) -> Terms<'a> {
    static NONE: ToldEfforts = ToldEfforts::new();
    Terms { network, members, told: &NONE, now: UnixTime(ISSUED.0 + later_s) }
}

fn next_attempt(request: &mut Request) -> Attempt {
    match request.poll_output() {
        Some(RequestOutput::Attempt(attempt)) => *attempt,
        other => panic!("a circuit was to be asked for, not {other:?}"),
    }
}

fn solved(puzzle: &StoragePuzzle) -> Payment {
    Payment { effort: puzzle.effort, hour: puzzle.hour, counter: 9 }
}

fn chunk_put(world: &mut World) -> Request {
    let expiry = Expiry::at_least(UnixTime(ISSUED.0 + 3_600));
    world.start(|context| {
        Request::ChunkPut(Box::new(ChunkPut::new(chunks(), expiry, Instant::ZERO, OPERATION_TIMEOUT, context)))
    })
}

// [DHT-W-042]
#[test]
fn where_nobody_asks_for_anything_nothing_is_to_be_solved_or_shown() {
    let mut world = World::new();
    let records = world.records(7);
    for mut request in [world.put(records), chunk_put(&mut world)] {
        let attempt = next_attempt(&mut request);
        let (network, members) = (network(), asking(0));
        assert!(request.puzzles(attempt.id, &terms(&network, &members, 0)).iter().all(Option::is_none));
        assert!(request.payments(attempt.id).iter().all(Option::is_none));
        let mut asked = attempt.request.clone();
        asked.pay(request.payments(attempt.id));
        assert_eq!(asked, attempt.request);
    }
    let get = world.get(Consistency::Quorum, 0);
    assert_eq!(get.puzzles(1, &terms(&network(), &asking(3), 0)), []);
}

#[test]
fn each_place_has_a_puzzle_of_its_own_that_is_solved_once_and_again_when_its_hour_is_over() {
    let mut world = World::new();
    let records = world.records(7);
    let mut request = world.put(records.clone());
    let (network, members) = (network(), asking(2));
    let hour = Payment::hour_at(ISSUED);
    for (place, record) in &records {
        let attempt = next_attempt(&mut request);
        let puzzles = request.puzzles(attempt.id, &terms(&network, &members, 0));
        let (location, digest) = (place.location, record.digest());
        let wanted = StoragePuzzle { network: network.id, hour, location, digest, effort: 2 };
        assert_eq!(puzzles, [Some(wanted)]);
        request.on_paid(attempt.id, &[Some(solved(&wanted))]);
        assert_eq!(request.payments(attempt.id), [Some(solved(&wanted))]);
        let again = |later_s| request.puzzles(attempt.id, &terms(&network, &members, later_s));
        assert_eq!(again(PAYMENT_STEP_S), [None], "the next hour counts");
        assert_eq!(again(2 * PAYMENT_STEP_S), [Some(StoragePuzzle { hour: hour + 2, ..wanted })]);
    }
}

#[test]
fn of_a_batch_each_chunk_is_paid_for_by_itself_in_the_order_of_its_slots() {
    let mut world = World::new();
    let mut request = chunk_put(&mut world);
    let attempt = next_attempt(&mut request);
    let all = chunks();
    // The second chunk's place is the only one that asks for anything.
    let name = ChunkName { hash: all[1].hash, index: 0 };
    let near: Vec<u32> = nearest(&name.location()).into_iter().take(ValueKind::Hashed.reach()).collect();
    let effort = |number| u8::from(near.contains(&number));
    let members =
        members_of((0..RELAYS).map(|number| signed(Descriptor { effort: effort(number), ..*relay(number) }, number)));
    let network = network();
    let puzzles = request.puzzles(attempt.id, &terms(&network, &members, 0));
    assert_eq!(puzzles.len(), all.len());
    let puzzle = puzzles[1].unwrap();
    assert_eq!((puzzle.location, puzzle.digest, puzzle.effort), (name.location(), all[1].hash, 1));
    let paid: Vec<_> = puzzles.iter().map(|puzzle| puzzle.as_ref().map(solved)).collect();
    request.on_paid(attempt.id, &paid);
    let mut asked = attempt.request;
    asked.pay(request.payments(attempt.id));
    let ExitRequest::PutChunks { payments, .. } = &asked else { unreachable!("a put") };
    assert_eq!(*payments, paid);
    assert_eq!(ExitRequest::decode(&asked.encode()), Ok(asked.clone()));
}

#[test]
fn an_operation_that_is_over_before_its_puzzles_are_solved_says_so_and_not_that_nobody_answered() {
    let late = Now { instant: Instant::ZERO + OPERATION_TIMEOUT, ..NOW };
    for (solved, refused) in [(false, Refused::NotSolved), (true, Refused::Unreachable)] {
        let mut world = World::new();
        let records = world.records(7);
        for mut request in [world.put(records), chunk_put(&mut world)] {
            let attempt = next_attempt(&mut request);
            request.set_solving(attempt.id, true);
            if solved {
                request.set_solving(attempt.id, false);
            }
            world.handle(&mut request, late, RequestInput::Timeout);
            let outcome = core::iter::from_fn(|| request.poll_output()).find_map(|output| match output {
                RequestOutput::Done(outcome) => Some(outcome),
                RequestOutput::Attempt(_) => None,
            });
            assert_eq!(outcome.unwrap().result, Err(refused));
        }
    }
}

// [DHT-W-044]
#[test]
fn what_holders_name_is_paid_as_it_rises_and_when_the_last_step_is_not_enough_that_is_told() {
    let mut world = World::new();
    let records = world.records(7);
    let mut request = world.put(records);
    let (network, members) = (network(), asking(1));
    let mut shown: std::collections::BTreeMap<Location, Vec<u8>> = std::collections::BTreeMap::new();
    let outcome = loop {
        let attempt = match request.poll_output().expect("an operation that waits for nothing has ended") {
            RequestOutput::Done(outcome) => break outcome,
            RequestOutput::Attempt(attempt) => attempt,
        };
        world.handle(&mut request, NOW, RequestInput::Building { id: attempt.id });
        let puzzles = request.puzzles(attempt.id, &terms(&network, &members, 0));
        let paid: Vec<_> = puzzles.iter().map(|puzzle| puzzle.as_ref().map(solved)).collect();
        request.on_paid(attempt.id, &paid);
        let effort = request.payments(attempt.id)[0].unwrap().effort;
        let ExitRequest::Put { record, .. } = &attempt.request else { unreachable!("a put") };
        let location = crate::crypto::hash::signed_location(&record.fields().unwrap().key);
        let efforts = shown.entry(location).or_default();
        efforts.push(effort);
        // They ask for one step more each time, up to the last.
        let asked = u64::try_from(efforts.len() + 1).unwrap().min(u64::from(EFFORT_MAX));
        let mut answer = put_answer(&attempt, 0, Verdict::Unpaid, None);
        let ExitRequest::Put { nonce, .. } = &attempt.request else { unreachable!("a put") };
        let question = Question { nonce: *nonce, operation: Operation::Store, location };
        let sign = |number: u32| statement(number, &question, Verdict::Unpaid, (asked, [0; 32]));
        answer.statements = nearest(&location).into_iter().take(SIGNERS).map(sign).collect();
        let exits = shown.values().map(Vec::len).sum();
        world.handle(&mut request, NOW, RequestInput::Attempted { id: attempt.id, result: answered(exits, &answer) });
    };
    assert_eq!(outcome.result, Err(Refused::Unpaid { effort: EFFORT_MAX }));
    assert_eq!(shown.len(), LOCATIONS);
    for efforts in shown.values() {
        assert_eq!(efforts[..3], [1, 2, 3]);
        assert!(efforts[3..].iter().all(|effort| *effort == EFFORT_MAX) && efforts.len() == ANSWERS_PER_PLACE_MAX);
    }
}
