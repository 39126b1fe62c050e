//! How circuits that fail are held against guards and second hops. Knows the world of the tests beside it alone.

use super::*;

/// Operations over a guard that does this, until it is doubted: how many there were.
fn doubted_after(world: &mut World, guard: Doing) -> u64 {
    world.guard = guard;
    for id in 1..20 {
        let (builds, result) = operated(world, id);
        if world.doubts > 0 {
            return id;
        }
        assert!(builds > GUARD_FAILURES_IN_ROW_MAX, "one of many operations that fail ends as before: {builds}");
        assert_eq!(result, Err(Refused::Unreachable));
    }
    unreachable!("{guard:?}: it is never doubted")
}

// [MEMB-W-049] [MEMB-W-050] [MEMB-W-051] [MEMB-W-052]
#[test]
fn a_guard_that_ends_circuit_after_circuit_is_doubted_gets_fewer_of_each_operation_and_moves_no_more_second_hops() {
    let mut world = World::new();
    let mut id = doubted_after(&mut world, Doing::Destroys);
    // The last but one had too few of enough, and the last came late enough after it.
    assert!(u64::from(GUARD_CIRCUITS_JUDGED_MIN) > (id - 2) * u64::try_from(OPERATION_CIRCUITS_MAX).unwrap());
    let hops: Vec<NodeKey> = world.client.second_hops.keys().collect();
    world.client.second_hops = {
        // The cap of the day does not hold: what keeps them is the doubt.
        let mut state = world.client.second_hops.state();
        state.replaced.clear();
        state.hops.iter_mut().for_each(|hop| hop.failed_exits.clear());
        SecondHops::new(state)
    };
    for _ in 0..3 {
        id += 1;
        world.until(world.now.instant + Duration::from_secs(10));
        let (builds, result) = operated(&mut world, id);
        // One more may have been under way.
        assert!((GUARD_FAILURES_IN_ROW_MAX..=GUARD_FAILURES_IN_ROW_MAX + 1).contains(&builds), "{builds}");
        let Err(Refused::GuardFails(of)) = result else { panic!("{result:?}") };
        assert!(of.begun >= GUARD_CIRCUITS_JUDGED_MIN && of.finished == 0);
    }
    assert_eq!(world.doubts, 1, "it is told once");
    assert_eq!(world.client.second_hops.keys().collect::<Vec<_>>(), hops);
    // The next process goes on with what was counted, over the same guard.
    let guards = Guards::new(world.kept.guards.clone());
    assert!(guards.ordered() == world.client.guards.ordered());
    assert!(guards.doubts(&guards.ordered()[0]).is_some());
}

#[test]
fn neither_a_first_reply_let_through_nor_the_end_of_the_link_saves_a_guard_from_doubt() {
    // Two circuits may end with the link at once, and one more may have been under way.
    for guard in [Doing::RepliesThenDestroys, Doing::Closes] {
        let mut world = World::new();
        let id = doubted_after(&mut world, guard);
        world.until(world.now.instant + Duration::from_secs(10));
        let (builds, result) = operated(&mut world, id + 1);
        assert!((GUARD_FAILURES_IN_ROW_MAX..=GUARD_FAILURES_IN_ROW_MAX + 2).contains(&builds), "{guard:?}: {builds}");
        let Err(Refused::GuardFails(of)) = result else { panic!("{guard:?}: {result:?}") };
        assert!(of.begun >= GUARD_CIRCUITS_JUDGED_MIN && of.finished == 0);
        assert_eq!(world.doubts, 1);
    }
}

#[test]
fn a_second_hop_that_says_it_works_is_not_charged_with_the_exit_and_a_guard_that_says_so_proves_nothing() {
    for (hops, says_where) in [(2, true), (1, false)] {
        let mut world = World::new();
        world.guard = Doing::ReachesOnly(hops);
        let (builds, result) = operated(&mut world, 1);
        assert!(builds > 0 && result == Err(Refused::Unreachable));
        let state = world.client.second_hops.state();
        let not_reached: usize = state.hops.iter().map(|hop| hop.not_reached.len()).sum();
        let failed: usize = state.hops.iter().map(|hop| hop.failed_exits.len()).sum();
        assert_eq!((not_reached > 0, failed > 0), (says_where, !says_where), "{hops}");
        // The guard has no circuit more finished for it.
        assert_eq!(world.client.guards.state().guards[0].circuits.finished, 0);
    }
}

#[test]
fn a_circuit_on_which_all_came_is_finished_whatever_the_exit_said() {
    let mut world = World::new();
    world.guard = Doing::Answers;
    let (builds, _) = operated(&mut world, 1);
    let circuits = world.client.guards.state().guards[0].circuits;
    assert!(builds > 0 && circuits.begun == circuits.finished && usize::try_from(circuits.begun) == Ok(builds));
}

#[test]
fn a_membership_on_disk_that_does_not_carry_holds_nothing_against_the_guard_as_long_as_bootstraps_tell_nothing() {
    let mut world = World::returning(|_| all_relays());
    (world.guard, world.bootstraps_answer) = (Doing::Destroys, false);
    let begun = world.builds;
    for id in 1..6 {
        assert!(operated(&mut world, id).1.is_err());
    }
    let circuits = world.client.guards.state().guards[0].circuits;
    assert!(world.builds - begun > usize::try_from(GUARD_CIRCUITS_JUDGED_MIN).unwrap());
    assert!(usize::try_from(circuits.begun).unwrap() <= STORED_MEMBERS_FAILURES_MAX, "{}", circuits.begun);
    world.bootstraps_answer = true;
    assert!(world.until(world.now.instant + MEMBERS_FRESH_FOR * 3 / 2) > 0);
    assert!((6..12).any(|id| operated(&mut world, id).0 > 0 && world.doubts > 0), "with a new one it counts");
}

// [CELL-R-006]
#[test]
fn a_circuit_that_its_guard_has_ended_is_not_ended_again() {
    for (guard, says_so) in [(Doing::Destroys, false), (Doing::ReachesOnly(2), true)] {
        let mut world = World::new();
        world.guard = guard;
        world.start(1);
        world.until(Instant::ZERO + Duration::from_secs(1));
        assert!(world.builds > 0);
        assert_eq!(world.destroys > 0, says_so, "{guard:?}");
    }
}
