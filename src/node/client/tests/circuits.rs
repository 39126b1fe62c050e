//! Which circuits an operation gets, how each ends, and what is made of relays that exits introduce.

use super::*;
use crate::limits::{CIRCUIT_ANSWER_TIMEOUT, CIRCUITS_AT_ONCE_MAX, CIRCUITS_HEDGED_MAX, HEDGED_AFTER};
use crate::wire::codec::Reader;

/// What this hop, the first being 1, sends back with those before it, having not reached the next.
pub(super) fn not_reached(build: &Cell, hops: usize) -> Cell {
    let mut rng = ChaCha20Rng::seed_from_u64(6);
    let (mut body, mut suite, mut hint) = (*build.body(), build.suite(), build.hint());
    let mut middles = Vec::new();
    while middles.len() < hops {
        let opened =
            (0..RELAYS).find_map(|number| peel(&onion_keys(number).secrets(suite, hint), &body, &mut rng).ok());
        let Role::Middle { suite: next_suite, hint: next_hint, body: next, hop, .. } = opened.unwrap().role else {
            panic!("it is not the exit's")
        };
        (body, suite, hint) = (*next, next_suite, next_hint);
        middles.push(hop);
    }
    let last = middles.pop().unwrap().not_reached().unwrap();
    let mut cell = Cell::new(build.circuit(), Command::Reply0);
    *cell.body_mut() = middles.iter_mut().rev().fold(last, |body, hop| hop.wrap_reply0(&body).unwrap());
    cell
}

/// What an exit sends back on the circuit of this build packet: a first reply and one cell, without data.
pub(super) fn replies(build: &Cell) -> [Cell; 2] {
    replies_with(build, &[])
}

/// As that, with this data, whole or none.
pub(super) fn replies_with(build: &Cell, data: &[u8]) -> [Cell; 2] {
    let (head, tail) = data.split_at(data.len().min(REPLY0_DATA_LEN_MAX));
    let mut rng = ChaCha20Rng::seed_from_u64(5);
    let (mut body, mut suite, mut hint) = (*build.body(), build.suite(), build.hint());
    let mut middles = Vec::new();
    loop {
        let opened =
            (0..RELAYS).find_map(|number| peel(&onion_keys(number).secrets(suite, hint), &body, &mut rng).ok());
        match opened.expect("it is for one of them").role {
            Role::Middle { suite: next_suite, hint: next_hint, body: next, hop, .. } => {
                (body, suite, hint) = (*next, next_suite, next_hint);
                middles.push(hop);
            }
            Role::Exit { mut hop, .. } => {
                let first = middles
                    .iter_mut()
                    .rev()
                    .fold(hop.seal_reply0(head).unwrap(), |b, hop| hop.wrap_reply0(&b).unwrap());
                let data = hop.seal_backward(tail).unwrap();
                let second = middles.iter_mut().rev().fold(data, |b, hop| hop.wrap_backward(&b).unwrap());
                return [(Command::Reply0, first), (Command::Backward, second)].map(|(command, body)| {
                    let mut cell = Cell::new(build.circuit(), command);
                    *cell.body_mut() = body;
                    cell
                });
            }
        }
    }
}

// [ONION-W-004] [ONION-R-033]
#[test]
fn each_circuit_is_ended_and_one_on_which_cells_come_out_of_order_counts_as_forged() {
    for (guard, is_forged) in [(Doing::Answers, false), (Doing::RepliesTwice, true), (Doing::RepliesBackwards, true)] {
        let mut world = World::new();
        world.guard = guard;
        let (builds, result) = operated(&mut world, 1);
        assert!(builds > 0 && result.is_err());
        assert_eq!(world.destroys, builds, "{guard:?}");
        let finished = world.client.guards.state().guards[0].circuits.finished;
        assert_eq!(finished == 0, is_forged, "{guard:?}");
        // What an exit says in which nothing stands cannot be read, and counts as invalid, too.
        let counts = world.ended.last().unwrap().counts;
        assert_eq!((counts.invalid, counts.timed_out), (builds, 0), "{guard:?}");
    }
}

/// The descriptor of a relay that nobody knows.
pub(super) fn newcomer(forged: bool) -> SignedDescriptor {
    let mut bytes = *relay(RELAYS + 5).as_bytes();
    *bytes.last_mut().unwrap() ^= u8::from(forged);
    SignedDescriptor::decode(&mut Reader::new(&bytes)).unwrap()
}

fn open(world: &World) -> usize {
    world.builds - world.destroys
}

// [REQ-W-015] [REQ-R-018]
#[test]
fn two_circuits_of_an_operation_are_under_way_at_once_and_each_fails_when_nothing_comes_for_its_time() {
    let mut world = World::new();
    world.start_of(1, Consistency::All);
    let built = Instant::ZERO + STAGGER_MAX;
    world.until(built);
    assert_eq!((world.builds, world.destroys), (CIRCUITS_AT_ONCE_MAX, 0), "never one for each of three locations");
    let failed = built + CIRCUIT_ANSWER_TIMEOUT;
    world.until(Instant::from_micros(failed.as_micros() - 1));
    assert_eq!((world.builds, world.destroys), (CIRCUITS_AT_ONCE_MAX, 0));
    world.until(failed);
    assert_eq!(world.destroys, CIRCUITS_AT_ONCE_MAX);
    assert!(open(&world) <= CIRCUITS_AT_ONCE_MAX);
}

// [REQ-W-015]
#[test]
fn after_enough_failures_more_than_two_are_under_way_and_never_more_than_four() {
    let mut world = World::new();
    // One that Destroy has ended is not ended by the client.
    world.guard = Doing::ReachesOnly(2);
    world.start_of(1, Consistency::Quorum);
    let mut at = Instant::ZERO;
    while world.destroys < 3 * HEDGED_AFTER {
        at = at + Duration::from_millis(10);
        world.until(at);
        assert!(at < Instant::ZERO + Duration::from_secs(10));
    }
    world.guard = Doing::Nothing;
    for _ in 0..300 {
        at = at + Duration::from_millis(10);
        world.until(at);
        assert!(open(&world) <= CIRCUITS_HEDGED_MAX);
    }
    assert!(open(&world) > CIRCUITS_AT_ONCE_MAX);
}

// [REQ-W-019] [REQ-W-020]
#[test]
fn no_exit_is_asked_twice_by_an_operation_while_there_are_others_and_none_is_a_bootstrap_or_a_guard() {
    let mut world = World::new();
    world.guard = Doing::Destroys;
    let (builds, _) = operated(&mut world, 1);
    let guards = world.client.guards.ordered();
    let is_guard = |exit: &&Contact| (0..RELAYS).any(|one| relay(one).id() == exit.id && guards.contains(&key(one)));
    assert!(!world.exits.iter().any(|exit| is_bootstrap(&exit.link_key)));
    assert_eq!(world.exits.iter().filter(is_guard).count(), 0);
    // Those that may be an exit on the first path; some more may where another second hop is drawn.
    let others = usize::try_from(RELAYS - BOOTSTRAPS).unwrap() - guards.len() - world.client.second_hops.keys().count();
    assert!(builds > others && others > 3);
    let mut first: Vec<_> = world.exits.iter().take(others).map(|exit| exit.id).collect();
    first.sort();
    first.dedup();
    assert_eq!(first.len(), others);
}

// [REQ-R-024]
#[test]
fn whom_an_exit_introduces_is_judged_by_once_checked_and_never_a_hop() {
    let newcomer = relay(RELAYS + 5);
    for forged in [false, true] {
        let mut world = World::new();
        world.guard = Doing::Introduces { forged };
        let (builds, _) = operated(&mut world, 1);
        assert!(builds > 0);
        assert_eq!(world.client.judged.get(&newcomer.key).is_some(), !forged);
        assert!(world.client.members.get(&newcomer.key).is_none());
        assert!(world.exits.iter().all(|exit| exit.id != newcomer.id()));
    }
}
