//! Lookups over tables, answers in any order, and what ends them.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use proptest::prelude::*;
use rand::rngs::ChaCha20Rng;
use rand::{RngExt, SeedableRng};

use super::*;
use crate::crypto::keys::DhKey;
use crate::dht::table::Table;
use crate::limits::EXIT_TIMEOUT;
use crate::membership::fixture::relay;
use crate::time::Duration;
use crate::wire::address::Address;

const NODES: u32 = 200;

static CONTACTS: LazyLock<Vec<Contact>> = LazyLock::new(|| (0..NODES).map(|n| Contact::from(&relay(n))).collect());
static TABLES: LazyLock<BTreeMap<Id, Table>> = LazyLock::new(|| {
    let relays: Vec<_> = (0..NODES).map(relay).collect();
    let fill = |own: Id| {
        let mut table = Table::new(own);
        for other in &relays {
            table.insert(other.clone());
        }
        (own, table)
    };
    relays.iter().map(|own| fill(own.id())).collect()
});

fn at(millis: u64) -> Instant {
    Instant::ZERO + Duration::from_millis(millis)
}

fn contact(place: u8, net: u8) -> Contact {
    Contact { id: Id([place; 20]), link_key: DhKey([place; 32]), address: Address(([10, net, 0, 1], 1).into()) }
}

fn started(start: Vec<Contact>) -> Lookup {
    started_with(start, ALPHA)
}

fn started_with(start: Vec<Contact>, at_once: usize) -> Lookup {
    let breadth = Breadth { at_once, closest: SIGNERS };
    let (rule, times) = (PrefixRule::Distinct, (at(0), at(0) + EXIT_TIMEOUT));
    Lookup::new(Id([0; 20]), ValueKind::Signed, Some(Id([9; 20])), start, rule, breadth, times)
}

fn asked(lookup: &mut Lookup) -> Vec<u8> {
    let outputs = core::iter::from_fn(|| lookup.poll_output());
    outputs.filter_map(|output| if let LookupOutput::Ask(whom) = output { Some(whom.id.0[0]) } else { None }).collect()
}

fn answer(lookup: &mut Lookup, now: Instant, from: u8, contacts: Vec<Contact>) {
    lookup.handle(now, LookupInput::Answered { from: Id([from; 20]), contacts, says_present: None });
}

fn nets(places: core::ops::Range<u8>) -> Vec<Contact> {
    places.map(|place| contact(place, place)).collect()
}

/// A whole lookup in a world where `reply` says what a node answers, `None` for never. Gives the ids asked, in order.
fn run(lookup: &mut Lookup, rng: &mut ChaCha20Rng, mut reply: impl FnMut(&Contact) -> Option<Vec<Contact>>) -> Vec<Id> {
    let (mut now, mut asked, mut pending) = (at(0), Vec::new(), Vec::new());
    for _ in 0..10_000 {
        while let Some(output) = lookup.poll_output() {
            match output {
                LookupOutput::Done => return asked,
                LookupOutput::Ask(whom) => {
                    asked.push(whom.id);
                    pending.push((now + Duration::from_millis(rng.random_range(5..200)), whom));
                }
            }
        }
        assert!(lookup.in_flight() <= lookup.breadth.at_once);
        pending.sort();
        let timeout = lookup.poll_timeout().expect("it is not over");
        if pending.first().is_none_or(|(due, _)| *due > timeout) {
            now = timeout;
            lookup.handle(now, LookupInput::Timeout);
            continue;
        }
        let (due, whom) = pending.remove(0);
        now = due;
        let from = whom.id;
        match reply(&whom) {
            Some(contacts) => lookup.handle(now, LookupInput::Answered { from, contacts, says_present: None }),
            None if rng.random() => lookup.handle(now, LookupInput::Failed { from }),
            None => (),
        }
    }
    panic!("a lookup does not end");
}

fn ids(contacts: &[Contact]) -> Vec<Id> {
    contacts.iter().map(|contact| contact.id).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    // [DHT-W-008] [DHT-W-011]
    #[test]
    fn a_lookup_ends_asks_nobody_twice_and_finds_the_eight_closest_that_live(
        place in any::<[u8; 20]>(),
        seed in any::<u64>(),
        is_wide in any::<bool>(),
    ) {
        let (location, mut rng) = (Id(place), ChaCha20Rng::seed_from_u64(seed));
        let dead: BTreeSet<Id> = CONTACTS.iter().filter(|_| rng.random_bool(0.2)).map(|contact| contact.id).collect();
        let mut live: Vec<Contact> = CONTACTS.iter().filter(|contact| !dead.contains(&contact.id)).copied().collect();
        let start = (0..3).map(|_| live[rng.random_range(0..live.len())]).collect();
        let at_once = if is_wide { SIGNERS } else { ALPHA };
        let (breadth, times) = (Breadth { at_once, closest: SIGNERS }, (at(0), at(60_000)));
        let mut lookup = Lookup::new(location, ValueKind::Signed, None, start, PrefixRule::Distinct, breadth, times);
        let asked = run(&mut lookup, &mut rng, |whom| {
            (!dead.contains(&whom.id)).then(|| TABLES[&whom.id].closest(&location, BUCKET_SIZE))
        });
        prop_assert_eq!(asked.iter().collect::<BTreeSet<_>>().len(), asked.len());
        live.sort_by_key(|contact| contact.id.distance(&location));
        prop_assert_eq!(lookup.closest_answered(SIGNERS), live[..SIGNERS].to_vec());
    }

    /// Liars answer with ever nearer contacts; what they name answers with more, or never.
    // [DHT-W-008] [DHT-R-009] [DHT-W-010]
    #[test]
    fn liars_with_endless_nearer_contacts_neither_prolong_a_lookup_nor_hide_known_nodes(
        seed in any::<u64>(),
        liars in 0..SIGNERS,
        lies_answer in any::<bool>(),
        is_wide in any::<bool>(),
    ) {
        let mut rng = ChaCha20Rng::seed_from_u64(seed);
        let honest = nets(100..108);
        let mut lies = 0_u32;
        let mut lie = || {
            lies += 1;
            let [a, b, c, d] = (u32::MAX - lies).to_be_bytes();
            let mut id = [0; 20];
            id[1..5].copy_from_slice(&[a, b, c, d]);
            Contact { id: Id(id), link_key: DhKey([0; 32]), address: Address(([c, d, 1, 1], 1).into()) }
        };
        let mut lookup = started_with(honest.clone(), if is_wide { SIGNERS } else { ALPHA });
        let asked = run(&mut lookup, &mut rng, |whom| match honest.iter().position(|known| known == whom) {
            Some(at) if at >= liars => Some(Vec::new()),
            None if !lies_answer => None,
            _ => Some((0..BUCKET_SIZE).map(|_| lie()).collect()),
        });
        prop_assert!(asked.len() <= LOOKUP_ASKS_MAX && lookup.candidates.len() <= LOOKUP_CONTACTS_MAX);
        prop_assert_eq!(asked.iter().collect::<BTreeSet<_>>().len(), asked.len());
        // Where the lies answer, they are the closest live nodes, as far as anybody can tell: unlike the signers,
        // whom the client compares with its own members.
        if !lies_answer {
            prop_assert_eq!(lookup.closest_answered(SIGNERS), honest);
        } else if liars > 0 {
            prop_assert_eq!(asked.len(), LOOKUP_ASKS_MAX);
            prop_assert_eq!(lookup.candidates.len(), LOOKUP_CONTACTS_MAX);
            prop_assert!(honest.iter().all(|known| asked.contains(&known.id)));
        }
    }
}

#[test]
fn three_are_asked_at_once_nearest_first_and_the_next_when_one_answers() {
    let mut lookup = started(nets(20..30));
    assert_eq!(asked(&mut lookup), [20, 21, 22]);
    answer(&mut lookup, at(1), 21, nets(15..16));
    assert_eq!(asked(&mut lookup), [15]);
    answer(&mut lookup, at(1), 21, nets(10..11));
    assert!(asked(&mut lookup).is_empty(), "it has answered already");
    lookup.handle(at(2), LookupInput::Failed { from: Id([22; 20]) });
    assert_eq!(asked(&mut lookup), [23]);
}

// [DHT-W-005] [DHT-W-010]
#[test]
fn where_all_of_the_closest_must_answer_those_known_are_asked_at_once_and_hearsay_two_at_a_time() {
    let mut lookup = started_with(nets(20..40), SIGNERS);
    assert_eq!(asked(&mut lookup), [20, 21, 22, 23, 24, 25, 26, 27]);
    answer(&mut lookup, at(1), 20, nets(10..20));
    answer(&mut lookup, at(1), 21, nets(10..20));
    answer(&mut lookup, at(1), 22, nets(10..20));
    assert_eq!(asked(&mut lookup), [10, 11], "of hearsay two, though there is room for three");
    answer(&mut lookup, at(1), 10, Vec::new());
    assert_eq!(asked(&mut lookup), [12]);
}

// [DHT-W-010]
#[test]
fn inventions_that_fail_at_once_leave_questions_for_the_known_nodes() {
    let mut lookup = started(nets(100..108));
    assert_eq!(asked(&mut lookup), [100, 101, 102]);
    for (liar, lies) in [(100, 1..21), (101, 21..41), (102, 41..61)] {
        answer(&mut lookup, at(1), liar, nets(lies));
    }
    let mut invented = asked(&mut lookup);
    let mut failed = 0;
    while let Some(lie) = invented.get(failed).copied() {
        failed += 1;
        if lie < 100 {
            lookup.handle(at(1), LookupInput::Failed { from: Id([lie; 20]) });
            invented.extend(asked(&mut lookup));
        }
    }
    assert_eq!(invented.iter().filter(|place| **place < 100).count(), HEARSAY_ASKS_MAX);
    for known in 103..108 {
        invented.extend(asked(&mut lookup));
        assert!(invented.contains(&known), "{known} is asked");
        answer(&mut lookup, at(1), known, Vec::new());
    }
    assert_eq!(ids(&lookup.closest_answered(8)), ids(&nets(100..108)));
}

// [DHT-W-011]
#[test]
fn the_eight_closest_live_nodes_end_it() {
    let mut lookup = started(nets(20..40));
    for place in 20..28 {
        assert!(!lookup.is_done());
        answer(&mut lookup, at(1), place, Vec::new());
    }
    assert!(lookup.is_done());
    let last = core::iter::from_fn(|| lookup.poll_output()).last();
    assert_eq!((last, lookup.poll_timeout()), (Some(LookupOutput::Done), None));
    assert_eq!(ids(&lookup.closest_answered(99)), ids(&nets(20..28)));
    assert_eq!(started(Vec::new()).poll_output(), Some(LookupOutput::Done));
}

// [DHT-R-007]
#[test]
fn a_question_fails_at_its_deadline_and_the_answer_after_it_is_dropped() {
    let mut lookup = started(nets(20..24));
    assert_eq!(lookup.poll_timeout(), Some(at(0) + ASK_TIMEOUT));
    lookup.handle(Instant::from_micros((at(0) + ASK_TIMEOUT).as_micros() - 1), LookupInput::Timeout);
    assert_eq!(asked(&mut lookup), [20, 21, 22]);
    answer(&mut lookup, at(0) + ASK_TIMEOUT, 20, nets(10..12));
    assert_eq!(asked(&mut lookup), [23]);
    assert!(lookup.closest_answered(9).is_empty());
}

// [DHT-W-011]
#[test]
fn at_its_own_deadline_a_lookup_is_over_with_what_it_has() {
    let (breadth, times) = (Breadth { at_once: ALPHA, closest: SIGNERS }, (at(0), at(500)));
    let (start, rule) = (nets(20..24), PrefixRule::Distinct);
    let mut lookup = Lookup::new(Id([0; 20]), ValueKind::Hashed, None, start, rule, breadth, times);
    answer(&mut lookup, at(1), 20, Vec::new());
    assert_eq!(lookup.poll_timeout(), Some(at(500)));
    lookup.handle(at(500), LookupInput::Timeout);
    assert!(lookup.is_done());
    answer(&mut lookup, at(501), 21, Vec::new());
    assert_eq!(ids(&lookup.closest_answered(9)), [Id([20; 20])]);
}

#[test]
fn a_narrow_lookup_is_over_once_so_many_of_the_closest_live_nodes_have_answered() {
    let (breadth, times) = (Breadth { at_once: ALPHA, closest: 4 }, (at(0), at(9_000)));
    let (start, rule) = (nets(20..30), PrefixRule::Distinct);
    let mut lookup = Lookup::new(Id([0; 20]), ValueKind::Hashed, None, start, rule, breadth, times);
    for from in [20, 21, 22] {
        answer(&mut lookup, at(1), from, Vec::new());
    }
    lookup.handle(at(2), LookupInput::Failed { from: Id([23; 20]) });
    assert!(!lookup.is_done(), "the fifth stands in for the fourth");
    answer(&mut lookup, at(3), 24, Vec::new());
    assert!(lookup.is_done());
}

// [DHT-R-007] [DHT-R-009]
#[test]
fn the_node_itself_the_unasked_and_a_second_word_on_an_id_change_nothing() {
    let mut lookup = started(nets(20..23));
    let rebound = Contact { address: Address(([10, 99, 0, 1], 2).into()), ..contact(21, 21) };
    answer(&mut lookup, at(1), 77, nets(1..2));
    answer(&mut lookup, at(1), 20, vec![contact(9, 9), rebound]);
    assert_eq!(asked(&mut lookup), [20, 21, 22]);
    answer(&mut lookup, at(1), 21, Vec::new());
    assert_eq!(lookup.closest_answered(9)[1], contact(21, 21));
}

#[test]
fn two_of_one_narrow_prefix_are_asked_and_no_third() {
    let mut lookup = started((20..30).map(|place| contact(place, 1)).collect());
    assert_eq!(asked(&mut lookup), [20, 21]);
    answer(&mut lookup, at(1), 20, Vec::new());
    answer(&mut lookup, at(1), 21, Vec::new());
    assert!(lookup.is_done());
}

// [DHT-R-009]
#[test]
fn an_answer_with_more_contacts_than_allowed_is_cut() {
    let mut lookup = started(nets(200..201));
    answer(&mut lookup, at(1), 200, nets(10..60));
    assert_eq!(lookup.candidates.len(), 1 + BUCKET_SIZE);
}

#[test]
fn the_newest_claim_wins_and_of_equal_ones_the_nearest_claimant() {
    let mut lookup = started(nets(20..24));
    for (from, seq) in [(20, 1), (22, 5), (21, 5)] {
        let says_present = Some((seq, [0; 32]));
        lookup.handle(at(1), LookupInput::Answered { from: Id([from; 20]), contacts: Vec::new(), says_present });
    }
    assert_eq!(lookup.newest_present(), Some((contact(21, 21), (5, [0; 32]))));
}
