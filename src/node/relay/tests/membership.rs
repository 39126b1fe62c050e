//! What a relay says of itself, and what it takes of pages.

use super::*;
use crate::crypto::keys::NodeKey;
use crate::wire::descriptor::SignedDescriptor;

// [MEMB-W-005] [VER-W-001]
#[test]
fn numbers_of_descriptors_rise_over_restarts_and_clocks_that_are_set_back() {
    let mut world = World::new();
    world.start(store_of(&[]));
    let (config, now) = (world.relays[0].as_ref().unwrap().config.clone(), world.time());
    let ahead = now.unix.to_wire() + 1_000;
    let config = RelayConfig { issued_before: ahead, ..config };
    let mut one = Relay::new(config, ChaCha20Rng::seed_from_u64(1), now);
    assert!(one.descriptor().issued > ahead, "the clock was ahead when it ended");
    assert_eq!((one.descriptor().versions, VERSIONS), (VERSIONS, (1, 1)));
    for back_s in [0, 1, 100_000] {
        let before = one.descriptor().issued;
        one.publish_descriptor(Now { unix: UnixTime(now.unix.0 - back_s), ..now });
        assert_eq!(one.descriptor().issued, before + 1);
    }
    one.publish_descriptor(Now { unix: UnixTime(now.unix.0 + 5_000), ..now });
    assert_eq!(u64::from(one.descriptor().issued), now.unix.0 + 5_000);
}

// [VER-R-003]
#[test]
fn a_relay_of_a_later_version_is_held_and_told_of() {
    let mut world = World::new();
    world.start(store_of(&[]));
    let now = world.time();
    let later = crate::membership::fixture::signed(Descriptor { versions: (2, 9), ..*relay(9) }, 9);
    let checked = later.to_signed().verify(&network(), now.unix);
    // Relays of tests have not paid for their puzzles, which is looked at last.
    assert_eq!(checked, Err(crate::wire::descriptor::DescriptorRefused::Puzzle));
    let (link_key, address) = (later.link_key, later.address);
    let peer = Peer { link_key, descriptor: Some(later.clone()), address, dialled: false };
    world.inputs.push_back((0, Input::LinkUp { link: LinkId(1_000_001), peer: Box::new(peer) }));
    world.run_for(0);
    let one = world.relays[0].as_mut().unwrap();
    assert_eq!(one.members.get(&later.key), Some(&later));
    assert!(one.links.present(now.instant, one.presence, None).any(|(key, _)| *key == later.key));
}

// [MEMB-R-013]
#[test]
fn a_page_is_one_when_its_keys_ascend_after_the_last_and_it_comes_to_an_end() {
    let mut all: Vec<SignedDescriptor> = (30..34).map(|number| relay(number).to_signed()).collect();
    all.sort_by_key(|one| one.claim().0);
    let keys: Vec<NodeKey> = all.iter().map(|one| one.claim().0).collect();
    let page = |order: &[usize]| order.iter().map(|at| all[*at].clone()).collect::<Vec<_>>();
    for (order, more, after, is_page) in [
        (&[0, 1, 2, 3][..], false, None, true),
        (&[1, 2], true, Some(keys[0]), true),
        (&[], false, Some(keys[0]), true),
        (&[0, 2, 1], false, None, false),
        (&[0, 0], false, None, false),
        (&[1, 2], false, Some(keys[1]), false),
        (&[0, 1], false, Some(keys[3]), false),
        (&[], true, None, false),
    ] {
        assert_eq!(Answer::page_end(&page(order), more, after).is_some(), is_page, "{order:?} {more}");
        // A relay has nothing of it checked.
        let mut world = World::new();
        world.start(store_of(&[]));
        let now = world.time();
        let one = world.relays[0].as_mut().unwrap();
        let answer = Answer::Members { descriptors: page(order), more, settled: true };
        one.on_members_page(now, Contact::from(&relay(9)), gossip::Part::after(after), answer);
        world.drain(0);
        let taken = order.iter().filter(|at| world.relays[0].as_ref().unwrap().members.get(&keys[**at]).is_some());
        assert_eq!(taken.count(), if is_page { order.len() } else { 0 });
    }
}
