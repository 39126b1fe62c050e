//! What a client takes of what bootstraps tell and guards show, and of what it is asked.

use super::*;
use crate::crypto::keys::IdentitySecret;
use crate::limits::{ASK_TIMEOUT, JOIN_TIME_MAX, JOIN_TIMEOUT, KEY_LEN, MEMBERS_PAGE_MAX};
use crate::wire::address::Address;
use crate::wire::cell::CircuitId;
use crate::wire::codec::Reader;
use crate::wire::descriptor::SignedDescriptor;

/// How a bootstrap answers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Lie {
    /// A page whose keys do not ascend.
    OutOfOrder,
    /// Full pages of relays that are none, without end.
    Endless,
    /// A made-up relay to a page, without end, and the page only when time goes on.
    Slow,
    /// No lie: one relay to a page, and the page only when time goes on.
    Narrow,
    /// It says nothing any more.
    Mute,
    /// All of them, with onion keys of its own.
    OtherKeys,
    /// That it does not answer such questions.
    Refuses,
}

/// A descriptor that can be read, of this key, and does not hold.
fn phantom(key: [u8; KEY_LEN]) -> SignedDescriptor {
    let mut bytes = *relay(0).as_bytes();
    bytes[..KEY_LEN].copy_from_slice(&key);
    SignedDescriptor::decode(&mut Reader::new(&bytes)).unwrap()
}

fn key_after(after: Option<NodeKey>, steps: usize) -> [u8; KEY_LEN] {
    let before = after.map_or(0, |key| u64::from_be_bytes(*key.0.first_chunk().unwrap()));
    let mut key = [0; KEY_LEN];
    key[..8].copy_from_slice(&(before + u64::try_from(steps).unwrap()).to_be_bytes());
    key
}

impl World {
    /// Answers a question about the membership for a bootstrap that lies; whether it does.
    pub(super) fn lies(&mut self, link: LinkId, cell: &Cell, message: &[u8]) -> bool {
        let Some(lie) = self.lie_at(link) else { return false };
        let Ok(Ask::Members { after }) = Ask::decode(message) else { return false };
        let mut all: Vec<_> = (0..RELAYS).map(relay).collect();
        all.sort_by_key(|relay| relay.key);
        let answer = match lie {
            Lie::Slow | Lie::Narrow => {
                self.late.push((link, cell.clone()));
                return true;
            }
            Lie::Mute => return true,
            Lie::Refuses => Answer::Refused,
            Lie::OutOfOrder => {
                all.swap(3, 4);
                let descriptors = all.iter().map(VerifiedDescriptor::to_signed).collect();
                Answer::Members { descriptors, more: false, settled: true }
            }
            Lie::Endless => {
                let descriptors = (1..=MEMBERS_PAGE_MAX).map(|step| phantom(key_after(after, step))).collect();
                Answer::Members { descriptors, more: true, settled: true }
            }
            Lie::OtherKeys => {
                let other = |one: &VerifiedDescriptor| {
                    let number = (0..RELAYS).find(|number| key(*number) == one.key).unwrap();
                    signed(Descriptor { onion_key: DhKey([8; 32]), ..**one }, number).to_signed()
                };
                Answer::Members { descriptors: all.iter().map(other).collect(), more: false, settled: true }
            }
        };
        self.answers(link, cell, &answer);
        true
    }

    fn answers(&mut self, link: LinkId, cell: &Cell, answer: &Answer) {
        for cell in cells_of(cell.circuit(), Command::Answer, &answer.encode()).unwrap() {
            self.client.handle(self.now, Input::Cell { link, cell });
        }
    }

    fn lie_at(&self, link: LinkId) -> Option<Lie> {
        let there = self.client.links.peer(link).map(|peer| peer.link_key);
        let number = (0..BOOTSTRAPS).find(|number| Some(relay(*number).link_key) == there)?;
        self.lies.get(&number).copied()
    }

    /// A second goes by, and what is late comes.
    fn second(&mut self) {
        self.until(self.now.instant + Duration::from_secs(1));
        for (link, cell) in core::mem::take(&mut self.late) {
            let message = Assembler::default().push(cell.body()).unwrap().unwrap();
            let Ok(Ask::Members { after }) = Ask::decode(&message) else { panic!("it asked something else") };
            let mut left: Vec<_> = (0..RELAYS).map(relay).filter(|one| Some(one.key) > after).collect();
            left.sort_by_key(|relay| relay.key);
            let (descriptor, more) = match left.first() {
                Some(next) if self.lie_at(link) == Some(Lie::Narrow) => (next.to_signed(), left.len() > 1),
                _ => (phantom(key_after(after, 1)), true),
            };
            self.answers(link, &cell, &Answer::Members { descriptors: vec![descriptor], more, settled: true });
            self.drain();
        }
    }
}

impl World {
    /// How long a pull goes on.
    fn seconds_until_it_ends(&mut self) -> u64 {
        let mut waited = 0;
        while self.joined.is_none() {
            assert!(waited <= JOIN_TIME_MAX.as_secs());
            self.second();
            waited += 1;
        }
        waited
    }
}

/// One that comes for the first time, to bootstraps some of which lie.
fn comes(lies: &[(u32, Lie)]) -> World {
    comes_with(|_| Kept::default(), lies)
}

/// One that has this of what a client keeps that is in.
fn comes_with(kept: impl Fn(Kept) -> Kept, lies: &[(u32, Lie)]) -> World {
    let mut world = World::new();
    let kept = kept(world.kept.clone());
    (world.ready, world.asks, world.kept, world.joined) = (false, 0, Kept::default(), None);
    world.lies = lies.iter().copied().collect();
    world.client = ClientNode::new(config(kept, Members::default()), ChaCha20Rng::seed_from_u64(7), world.now);
    world.drain();
    world
}

// [MEMB-R-023]
#[test]
fn of_a_bootstrap_that_sends_wrong_pages_or_comes_to_no_end_nothing_is_taken() {
    // Two that told all at once leave the third the least there is: before guards are chosen all that a silent one has.
    let least = JOIN_TIMEOUT.as_secs();
    for (lie, seconds) in
        [(Lie::OutOfOrder, 0), (Lie::Endless, 0), (Lie::Refuses, 0), (Lie::Slow, least), (Lie::Mute, least)]
    {
        let mut world = comes(&[(1, lie)]);
        assert_eq!(world.seconds_until_it_ends(), seconds, "{lie:?}");
        let joined = world.joined.unwrap();
        assert_eq!((joined.asked, joined.whole, joined.told), (3, 2, all_relays().len()), "{lie:?}");
        assert!(world.ready && world.client.members.len() == all_relays().len());
    }
    for (lie, seconds) in [(Lie::Slow, ASK_TIMEOUT.as_secs()), (Lie::Mute, ASK_TIMEOUT.as_secs())] {
        let mut world = comes_with(|kept| kept, &[(1, lie)]);
        assert_eq!(world.seconds_until_it_ends(), seconds, "{lie:?} to one who has guards");
    }
}

// [MEMB-R-023]
#[test]
fn whoever_tells_something_every_second_is_waited_for_and_whoever_is_silent_is_not() {
    let relays = u64::from(RELAYS);
    assert!(relays > JOIN_TIMEOUT.as_secs());
    // Narrow links bring a client in, however long; the third of them has JOIN_TIMEOUT more.
    let (all, all_but) = (3, 2);
    for (third, seconds, whole) in [
        (Lie::Narrow, relays, all),
        (Lie::Slow, relays + JOIN_TIMEOUT.as_secs(), all_but),
        (Lie::Mute, relays, all_but),
    ] {
        let mut world = comes(&[(0, Lie::Narrow), (1, Lie::Narrow), (2, third)]);
        assert_eq!(world.seconds_until_it_ends(), seconds, "{third:?}");
        let joined = world.joined.as_ref().unwrap();
        assert_eq!((joined.whole, joined.agreed, world.ready), (whole, all_relays().len(), true), "{third:?}");
    }
    let mut world = comes(&[(0, Lie::Mute), (2, Lie::Mute)]);
    assert_eq!(world.seconds_until_it_ends(), JOIN_TIMEOUT.as_secs());
    assert!(!world.ready);
}

// [MEMB-R-023]
#[test]
fn however_steadily_they_tell_there_is_an_end() {
    let mut world = comes(&[(0, Lie::Slow), (1, Lie::Slow)]);
    assert_eq!(world.seconds_until_it_ends(), JOIN_TIME_MAX.as_secs());
    assert!(!world.ready && world.client.members.is_empty());
}

// [MEMB-R-024]
#[test]
fn where_one_bootstrap_alone_tells_a_client_does_not_come_in() {
    let mut world = comes(&[(0, Lie::Refuses), (2, Lie::OutOfOrder)]);
    world.second();
    assert_eq!(world.joined.as_ref().map(|joined| (joined.whole, joined.members.len())), Some((1, 0)));
    assert!(!world.ready && world.client.members.is_empty() && world.kept.guards.guards.is_empty());
    world.lies.clear();
    let asked = world.asks;
    world.start(1);
    assert!(world.ready && world.asks > asked, "its next operation asks again");
}

// [MEMB-R-025]
#[test]
fn what_one_bootstrap_tells_otherwise_than_the_others_is_not_taken() {
    let world = comes(&[(1, Lie::OtherKeys)]);
    let held: Vec<VerifiedDescriptor> = world.client.members.iter().cloned().collect();
    let mut told = all_relays();
    told.sort_by_key(|one| one.key);
    assert!(world.ready && held == told);
    let world = comes(&[(1, Lie::OtherKeys), (2, Lie::Refuses)]);
    assert!(!world.ready && world.client.members.is_empty(), "one against one");
}

// [MEMB-R-020]
#[test]
fn of_what_relays_show_a_client_takes_what_a_guard_says_of_its_onion_key_alone() {
    let mut world = World::new();
    let guards = world.client.guards.ordered();
    let number = |key: &NodeKey| (0..RELAYS).find(|number| relay(*number).key == *key).unwrap();
    let (guard, other) = (number(&guards[0]), (0..RELAYS).find(|one| !guards.contains(&key(*one))).unwrap());
    let newer =
        |number: u32| Descriptor { issued: relay(number).issued + 1, onion_key: DhKey([8; 32]), ..*relay(number) };
    let elsewhere = Address("10.200.0.1:9".parse().unwrap());
    for (shown, of, is_taken) in [
        (newer(other), other, false),
        (Descriptor { address: elsewhere, ..newer(guard) }, guard, false),
        (Descriptor { link_key: DhKey([8; 32]), ..newer(guard) }, guard, false),
        (Descriptor { family: [8; 8], ..newer(guard) }, guard, false),
        (newer(guard), guard, true),
    ] {
        let shown = signed(shown, of);
        world.client.renew_guard(world.now, shown.clone());
        let expected = if is_taken { shown } else { relay(of) };
        assert_eq!(world.client.members.get(&key(of)), Some(&expected));
    }
    let stranger = IdentitySecret::from_bytes(&[5; 32]);
    let shown = Descriptor { key: stranger.public(), ..newer(guard) }.sign(&network(), &stranger);
    world.client.renew_guard(world.now, shown);
    assert_eq!(world.client.members.len(), all_relays().len());
}

// [MEMB-R-032]
#[test]
fn whom_an_answer_names_signs_and_is_gone_through_by_nobody() {
    let mut world = World::new();
    let named = relay(RELAYS + 5);
    let result = AttemptResult::Answered { exit: key(0), bytes: Vec::new() };
    world.client.pending.insert(u64::MAX, Pending::Signers { operation: 1, attempt: 1, result });
    world.client.handle_worked(world.now, u64::MAX, Done::Descriptors(vec![named.clone()]));
    assert!(world.client.judged.get(&named.key).is_some());
    assert!(world.client.members.get(&named.key).is_none());
}

// [LINK-W-035]
#[test]
fn the_link_to_the_guard_stays_though_nothing_is_asked_and_those_to_bootstraps_go() {
    let mut world = World::new();
    let guard = world.client.guards.ordered()[0];
    let links = world.up_at.len();
    for seconds in [1, 121, 125, 180] {
        world.until(Instant::ZERO + Duration::from_secs(seconds));
    }
    assert_eq!(world.up_at.len(), links, "nor is it another one");
    let linked = |number: &u32| world.client.links.link_to(&relay(*number).link_key).is_some();
    assert_eq!((0..RELAYS).filter(linked).map(key).collect::<Vec<_>>(), [guard]);
}

// [MSG-R-018]
#[test]
fn a_client_ends_a_link_on_which_it_is_asked_or_given_something_to_pass_on() {
    for command in [Command::Ask, Command::Build, Command::Forward] {
        let mut world = World::new();
        let guard = (0..RELAYS).find(|number| key(*number) == world.client.guards.ordered()[0]).unwrap();
        let link = world.client.links.link_to(&relay(guard).link_key).unwrap();
        let cell = cells_of(CircuitId(1), command, &Ask::sign_of_life().encode()).unwrap().swap_remove(0);
        world.client.handle(world.now, Input::Cell { link, cell });
        let closed = core::iter::from_fn(|| world.client.poll_effect())
            .any(|effect| matches!(effect, Effect::Io(Output::Close { link: of, reason: DownReason::Protocol }) if of == link));
        assert!(closed, "{command:?}");
    }
}
