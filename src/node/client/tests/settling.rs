//! Bootstraps that have just started, and a client that comes to them. Its fellows play the network.

use super::*;
use crate::limits::SETTLED_WAIT;

/// One that comes for the first time, to bootstraps that have not settled.
fn unsettled() -> World {
    let mut world = World::new();
    (world.settled, world.ready, world.asks, world.kept) = (false, false, 0, Kept::default());
    world.client =
        ClientNode::new(config(Kept::default(), Members::default()), ChaCha20Rng::seed_from_u64(7), world.now);
    world.drain();
    world
}

/// Step by step, as timers would have it.
fn go_to(world: &mut World, end: Duration) {
    let end = Instant::ZERO + end;
    while world.now.instant < end {
        world.until((world.now.instant + Duration::from_millis(50)).min(end));
    }
}

// [MEMB-W-027] [MEMB-R-031]
#[test]
fn bootstraps_that_have_not_settled_are_asked_again_and_after_a_moment_taken_as_they_are() {
    let mut world = unsettled();
    go_to(&mut world, SETTLED_WAIT - Duration::from_millis(50));
    let asks = world.asks;
    assert!(!world.ready && world.kept.guards.guards.is_empty());
    assert!((9..=18).contains(&asks), "{asks}");
    assert_eq!(world.start(1), 0, "an operation makes it ask no sooner");
    go_to(&mut world, SETTLED_WAIT * 2 + Duration::from_secs(1));
    assert!(world.ready && !world.client.entry.is_whole);
    assert!(!world.client.members.is_empty());
    assert!(world.joined.as_ref().is_some_and(|joined| !joined.settled), "it is not to be kept on disk");
    let asks = world.asks;
    go_to(&mut world, SETTLED_WAIT + MEMBERS_FRESH_FOR);
    let asked = world.asks - asks;
    assert!((12..=24).contains(&asked), "ever more rarely: {asked}");
    assert!(!world.client.entry.is_whole);
    world.settled = true;
    refreshed(&mut world);
    assert!(world.client.entry.is_whole, "once they have settled it is the network");
}

#[test]
fn bootstraps_that_settle_while_they_are_waited_for_let_the_client_in_with_the_next_question() {
    let mut world = unsettled();
    go_to(&mut world, Duration::from_secs(1));
    assert!(!world.ready);
    world.settled = true;
    go_to(&mut world, SETTLED_WAIT);
    assert!(world.ready && world.client.entry.is_whole);
}

// [MEMB-W-027]
#[test]
fn what_bootstraps_told_that_have_not_settled_is_taken_also_where_they_then_fall_silent() {
    let mut world = unsettled();
    go_to(&mut world, Duration::from_secs(1));
    world.bootstraps_answer = false;
    go_to(&mut world, SETTLED_WAIT - Duration::from_millis(50));
    assert!(!world.ready);
    go_to(&mut world, SETTLED_WAIT * 4);
    assert!(!world.client.members.is_empty() && !world.client.entry.is_whole);
}

// [MEMB-R-029] [MEMB-R-031]
#[test]
fn bootstraps_that_start_again_take_nothing_away_from_a_client_that_is_in() {
    let mut world = World::new();
    assert!(world.client.entry.is_whole);
    (world.settled, world.untold) = (false, vec![key(RELAYS - 1)]);
    assert_eq!(refreshed(&mut world).len(), usize::try_from(RELAYS).unwrap());
    assert!(world.client.entry.is_whole);
    world.settled = true;
    assert_eq!(refreshed(&mut world).len(), usize::try_from(RELAYS).unwrap() - 1);
}

#[test]
fn a_membership_on_disk_is_of_bootstraps_that_had_settled() {
    let world = World::returning(|_| all_relays());
    assert!(world.asks == 0 && world.client.entry.is_whole);
}
