//! A relay in the middle of a circuit, between a client that grants what a test says and an exit that sends more than it may.

use super::*;
use crate::limits::{CREDIT_START, CREDIT_STEP};

const CLIENT: LinkId = LinkId(1_000_001);
const EXIT: LinkId = LinkId(1_000_003);
const INWARD: CircuitId = CircuitId(1 << 31);

/// The relay, and the circuit's number on the exit's link.
fn middle() -> (World, CircuitId) {
    let mut world = World::new();
    world.start(store_of(&[]));
    let exit = relay(9);
    let address = Address("127.0.0.1:9".parse().unwrap());
    let client = Peer { link_key: DhKey([9; 32]), descriptor: None, address, dialled: false };
    let (link_key, address) = (exit.link_key, exit.address);
    let there = Peer { link_key, descriptor: Some(exit.clone()), address, dialled: false };
    for (link, peer) in [(CLIENT, client), (EXIT, there)] {
        world.inputs.push_back((0, Input::LinkUp { link, peer: Box::new(peer) }));
    }
    world.run_for(0);
    let path = [world.relays[0].as_ref().unwrap().descriptor().clone(), exit];
    let built = build(&network(), &path, b"", world.time().unix, &mut ChaCha20Rng::seed_from_u64(5)).unwrap();
    let cell = Cell::build(INWARD, built.suite, built.hint, built.body);
    let said = said_after(&mut world, CLIENT, cell);
    let [(Command::Build, outward)] = said[..] else { panic!("{said:?}") };
    (world, outward)
}

/// What the relay says of circuits after this cell.
fn said_after(world: &mut World, link: LinkId, cell: Cell) -> Vec<(Command, CircuitId)> {
    world.said.clear();
    world.inputs.push_back((0, Input::Cell { link, cell }));
    world.run_for(0);
    let said = world.said.iter().filter(|cell| !matches!(cell.command(), Command::Ask | Command::Answer));
    said.map(|cell| (cell.command(), cell.circuit())).collect()
}

// [LINK-W-046] [LINK-W-047] [LINK-R-048]
#[test]
fn a_relay_grants_what_it_has_passed_on_and_ends_a_circuit_at_the_first_cell_beyond_that() {
    for granted in [0, CREDIT_STEP] {
        let (mut world, outward) = middle();
        let (mut passed, mut credits) = (0, 0);
        let allowed = 2 * CREDIT_START + granted;
        for number in 0..allowed {
            let command = if number == 0 { Command::Reply0 } else { Command::Backward };
            let mut said = said_after(&mut world, EXIT, Cell::new(outward, command));
            if number + 1 == CREDIT_START && granted > 0 {
                said.extend(said_after(&mut world, CLIENT, Cell::credit(INWARD, granted)));
            }
            for cell in said {
                match cell {
                    (Command::Reply0 | Command::Backward, INWARD) => passed += 1,
                    (Command::Credit, to) if to == outward => credits += CREDIT_STEP,
                    other => panic!("{other:?} after {number} cells"),
                }
            }
        }
        assert_eq!((passed, credits), (CREDIT_START + granted, CREDIT_START + granted));
        let ends = said_after(&mut world, EXIT, Cell::new(outward, Command::Backward));
        assert_eq!(ends, [(Command::Destroy, INWARD), (Command::Destroy, outward)]);
    }
}

// [CELL-R-005] [CELL-R-006]
#[test]
fn a_circuit_that_one_side_ends_is_ended_towards_the_other_alone() {
    let (mut world, outward) = middle();
    let ends = said_after(&mut world, CLIENT, Cell::new(INWARD, Command::Destroy));
    assert_eq!(ends, [(Command::Destroy, outward)]);
    let (mut world, outward) = middle();
    said_after(&mut world, EXIT, Cell::new(outward, Command::Reply0));
    let ends = said_after(&mut world, EXIT, Cell::new(outward, Command::Destroy));
    assert_eq!(ends, [(Command::Destroy, INWARD)]);
}
