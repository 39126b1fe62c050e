//! Each behaviour in a small world: what an honest client gets, and that honest relays ban nobody honest.

use super::*;
use crate::crypto::keys::NodeKey;
use crate::keyspace::Location;
use crate::limits::HOLDERS;
use crate::sim::internet::Internet;
use crate::sim::scenario::Unwatched;
use crate::sim::stage::{Doing, Ended, Ending, Stage};
use crate::sim::world::Options;
use crate::time::{Duration, Instant};

const RELAYS: usize = 120;
const LIMIT: Duration = Duration::from_secs(30);

/// A small world with one record of which version 1 is stored.
fn stored(watch: &mut Unwatched) -> (Stage<'_>, NodeNo) {
    let mut stage = Stage::new(Options::new(5, Internet::fixed(Duration::from_millis(20))), "", watch);
    stage.settle_relays(RELAYS);
    let client = stage.known_clients(1).pop().unwrap();
    stage.run(Instant::ZERO + Duration::from_secs(2));
    stage.add_records(1);
    assert_eq!(ask(&mut stage, client, Doing::Put).ending, Ending::Done);
    (stage, client)
}

fn ask(stage: &mut Stage<'_>, client: NodeNo, doing: Doing) -> Ended {
    let begun = stage.world.now();
    stage.ask(client, doing, 0, LIMIT).unwrap();
    stage.run_out(begun + LIMIT * 2);
    stage.ended.last().cloned().unwrap()
}

/// Relays that are to be bad: those next to every location, or those that are not.
fn near(stage: &Stage<'_>, count: usize) -> Vec<NodeNo> {
    let places: Vec<Location> = stage.records[0].places().iter().map(|place| place.location).collect();
    let members = stage.world.members();
    let keys = places.iter().flat_map(|place| members.closest(place, count, |_| false)).map(|one| one.key);
    let mut relays: Vec<NodeNo> = keys.filter_map(|key| stage.world.by_key(&key)).collect();
    relays.sort_unstable();
    relays.dedup();
    relays
}

fn everybody(stage: &Stage<'_>) -> Vec<NodeNo> {
    stage.world.relays()
}

fn spare(all: &[NodeNo], spared: impl Fn(&NodeNo) -> bool) -> Vec<NodeNo> {
    all.iter().copied().filter(|one| !spared(one)).collect()
}

fn assert_sound(stage: &Stage<'_>, bad: &[NodeNo]) {
    assert_eq!(stage.world.checks.breaches(), []);
    let honest: Vec<NodeNo> = spare(&stage.world.relays(), |one| bad.contains(one));
    let keys: Vec<NodeKey> = honest.iter().filter_map(|one| stage.world.key_of(*one)).collect();
    for relay in &honest {
        assert!(keys.iter().all(|key| !stage.world.bans(*relay, key)));
    }
}

/// All who are asked for the record; few of them are its exits too.
fn storers(stage: &Stage<'_>) -> Vec<NodeNo> {
    near(stage, 8)
}

/// A get and a put while these relays are bad: how they end.
fn with(behaviour: Behaviour, bad: fn(&Stage<'_>) -> Vec<NodeNo>) -> (Ended, Ended, Ended) {
    let mut watch = Unwatched;
    let (mut stage, client) = stored(&mut watch);
    let bad = bad(&stage);
    turn_bad(&mut stage.world, &bad, behaviour);
    let get = ask(&mut stage, client, Doing::Get);
    let put = ask(&mut stage, client, Doing::Put);
    let again = ask(&mut stage, client, Doing::Get);
    assert_sound(&stage, &bad);
    (get, put, again)
}

#[test]
fn every_behaviour_is_found_by_its_name_and_no_other_is() {
    for behaviour in Behaviour::EVERY {
        assert_eq!(Behaviour::named(behaviour.name()), Some(behaviour));
    }
    assert_eq!(Behaviour::named("misroute"), None);
}

#[test]
fn silent_storers_attest_no_absence_and_make_no_put_whole() {
    let (get, put, _) = with(Behaviour::Silent, storers);
    // As an exit, one of them still answers from its own store.
    assert!(matches!(get.ending, Ending::Unreachable | Ending::Done), "{:?}", get.ending);
    assert!(matches!(put.ending, Ending::Unreachable | Ending::Partly), "{:?}", put.ending);
    assert!(put.copies < HOLDERS, "none but those that such exits sign for themselves: {}", put.copies);
}

#[test]
fn when_all_deny_absence_is_attested_of_what_they_hold() {
    let (get, put, again) = with(Behaviour::Deny, everybody);
    assert_eq!((get.ending, put.ending, again.ending), (Ending::NotFound, Ending::Done, Ending::NotFound));
}

#[test]
fn stale_storers_sign_for_a_new_version_and_give_the_first() {
    let (get, put, again) = with(Behaviour::Stale, everybody);
    assert_eq!((get.ending, get.seq, put.ending), (Ending::Done, 1, Ending::Done));
    assert_eq!((again.ending, again.seq), (Ending::Done, 1));
}

#[test]
fn a_forged_value_is_never_taken() {
    let (get, put, _) = with(Behaviour::Forge, storers);
    // One of its exits may itself hold what all others forge; what comes then is what was stored.
    assert!(get.ending != Ending::NotFound && (get.ending != Ending::Done || get.seq == 1), "{get:?}");
    assert_eq!(put.ending, Ending::Done, "it is kept as it came");
}

#[test]
fn a_claim_that_nobody_backs_attests_nothing_and_brings_nothing() {
    let (get, ..) = with(Behaviour::Withhold, storers);
    assert!(!matches!(get.ending, Ending::Done | Ending::NotFound), "{get:?}");
}

#[test]
fn false_receipts_are_taken_for_a_put_that_nobody_kept() {
    let (_, put, again) = with(Behaviour::FalseReceipt, everybody);
    assert_eq!((put.ending, again.ending), (Ending::Done, Ending::NotFound));
}

#[test]
fn lies_about_the_closest_do_not_keep_an_exit_from_the_members_it_knows() {
    let (get, put, again) = with(Behaviour::LieClosest, everybody);
    assert_eq!((get.ending, put.ending, again.ending), (Ending::Done, Ending::Done, Ending::Done));
    assert_eq!(again.seq, 2);
}

#[test]
fn where_exits_hide_who_has_a_value_it_is_unreachable_and_never_absent() {
    let far = |stage: &Stage<'_>| {
        let near = near(stage, 5);
        spare(&stage.world.relays(), |one| near.contains(one))
    };
    let (get, ..) = with(Behaviour::Hide, everybody);
    assert_eq!(get.ending, Ending::Done, "colluders believe each other");
    let (get, ..) = with(Behaviour::Hide, far);
    assert!(matches!(get.ending, Ending::Done | Ending::Unreachable), "{get:?}");
}

#[test]
fn lost_circuits_end_in_time_and_bring_nothing() {
    let (get, put, _) = with(Behaviour::Drop, everybody);
    assert!(matches!(get.ending, Ending::Unreachable | Ending::Privacy), "{get:?}");
    assert!(matches!(put.ending, Ending::Unreachable | Ending::Privacy), "{put:?}");
    assert!(get.begun.until(get.at) <= LIMIT);
}

#[test]
fn selective_relays_serve_circuits_among_themselves_and_end_all_others() {
    let (get, put, _) = with(Behaviour::Selective, everybody);
    assert_eq!((get.ending, put.ending), (Ending::Done, Ending::Done));
    // The client's guard alone: nobody that it leads to is a colluder.
    let guard = |stage: &Stage<'_>| {
        let client = NodeNo(u32::try_from(RELAYS).unwrap());
        let kept = stage.world.kept_of(client).unwrap();
        kept.guards.guards.iter().filter_map(|one| stage.world.by_key(&NodeKey(one.key))).collect()
    };
    let (get, ..) = with(Behaviour::Selective, guard);
    assert_ne!(get.ending, Ending::Done);
}

#[test]
fn all_together_bring_false_absence_where_everybody_is_bad() {
    let (get, ..) = with(Behaviour::All, everybody);
    assert_eq!(get.ending, Ending::NotFound);
}

#[test]
fn a_poisoned_membership_has_no_honest_relay_and_bans_none() {
    let mut watch = Unwatched;
    let (mut stage, _) = stored(&mut watch);
    // Three of five bootstraps: two of any three that a client asks are bad, mostly.
    let bad: Vec<NodeNo> = stage.world.relays().into_iter().take(4).collect();
    turn_bad(&mut stage.world, &bad, Behaviour::Poison);
    let client = stage.new_clients(1).pop().unwrap();
    let begun = stage.world.now();
    stage.run(begun + Duration::from_secs(60));
    let kept = stage.world.kept_of(client).unwrap().guards.guards.clone();
    let is_bad = |key: &[u8; 32]| stage.world.by_key(&NodeKey(*key)).is_none_or(|relay| bad.contains(&relay));
    assert!(!kept.is_empty() && kept.iter().all(|guard| is_bad(&guard.key)), "all of the ring, or invented");
    assert_sound(&stage, &bad);
}

#[test]
fn a_ring_answers_with_its_own_nearest_and_its_pages_ascend() {
    let mut watch = Unwatched;
    let (mut stage, _) = stored(&mut watch);
    let bad = near(&stage, 2);
    let ring = Ring::of(&mut stage.world, &bad, true);
    let location = stage.records[0].places()[0].location;
    let contacts = ring.closest(&location);
    assert_eq!(contacts.len(), crate::limits::BUCKET_SIZE.min(10 + bad.len()));
    let known = stage.world.members();
    assert_eq!(contacts.iter().filter(|one| known.by_id(&one.id).is_some()).count(), bad.len().min(10));
    let pages = [false, true].map(|otherwise| ring.page(None, None, otherwise));
    for (page, more) in &pages {
        assert!(page.len() == 2 * bad.len() && !more);
        assert!(crate::wire::message::Answer::page_end(page, *more, None).is_some());
    }
    let differing = pages[0].0.iter().zip(&pages[1].0).filter(|(one, other)| one.as_bytes() != other.as_bytes());
    assert_eq!(differing.count(), bad.len());
}
