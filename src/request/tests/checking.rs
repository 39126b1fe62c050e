//! What an operation names and what it takes: numbers with their offsets, records that belong elsewhere or were written by no author.

use super::*;
use crate::crypto::blind::{BlindedSecret, LabelSecret};
use crate::crypto::keys::Signature;
use crate::limits::{RETRY_DELAY_MAX, RETRY_SLOWER_AFTER, RETRY_SLOWER_MAX};
use crate::record::record_message;
use crate::wire::record::RecordFields;

/// A record at its first location that the author's key has signed, whatever its number.
fn signed_with(world: &World, seq: u64) -> RecordBytes {
    let signer = BlindedSecret::new(&world.author, b"label", &LabelSecret::derive(&world.author, b"label"), 0).unwrap();
    let expiry = Expiry::at_least(UnixTime(ISSUED.0 + 3_600));
    let key = signer.public();
    let mut fields = RecordFields {
        key,
        seq,
        expiry,
        nonce: [1; 24],
        text: [2; 1_026],
        tag: [3; 16],
        signature: Signature([0; 64]),
    };
    fields.signature = signer.sign(&record_message(&network(), &fields.encode()));
    fields.encode()
}

// [VAL-R-007] [VAL-R-017] [REQ-R-027]
#[test]
fn a_record_whose_number_no_author_wrote_and_one_of_another_location_are_invalid() {
    let mut world = World::new();
    let (places, held) = (world.locator.places(), world.records(7));
    let [first, ..] = places;
    // Where the least is added to numbers, so that the other one's is not below it.
    let least = (0..LOCATIONS).min_by_key(|at| places[*at].seq_offset).unwrap();
    let moved = held[(least + 1) % LOCATIONS].1.clone();
    let ancient = signed_with(&world, first.seq_offset - 1);
    let oldest = signed_with(&world, first.seq_offset);
    for (place, record, taken) in [(first, ancient, None), (places[least], moved, None), (first, oldest, Some(0))] {
        let request = world.get(Consistency::All, 0);
        let outcome = world.play(request, |_, number, attempt| {
            let ExitRequest::Find { location, .. } = &attempt.request else { unreachable!("a find") };
            let is_there = *location == place.location;
            let held = if is_there { vec![(place, record.clone())] } else { Vec::new() };
            answered(number, &find_answer(attempt, &held, SIGNERS))
        });
        assert_eq!(seq_of(&outcome).map(|(seq, _)| seq), taken);
        assert_eq!(outcome.counts.invalid > 0, taken.is_none(), "{:?}", outcome.counts);
    }
}

// [VAL-W-008] [REQ-W-032]
#[test]
fn a_put_names_what_it_replaces_with_the_offset_of_each_location_and_nothing_as_zero() {
    for seq in [0, 7] {
        let mut world = World::new();
        let records = world.records(9);
        let mut request = world.start(|context| {
            let (at, timeout) = (Instant::ZERO, OPERATION_TIMEOUT);
            Request::RecordPut(Box::new(RecordPut::new(records.clone(), Some(seq), at, timeout, context)))
        });
        let named: Vec<u64> = asked(&mut request)
            .into_iter()
            .map(|attempt| match attempt.request {
                ExitRequest::Put { expected, .. } => expected.unwrap(),
                _ => unreachable!("a put"),
            })
            .collect();
        let there = |(place, _): &(Place, RecordBytes)| if seq == 0 { 0 } else { seq + place.seq_offset };
        assert_eq!(named, records.iter().map(there).collect::<Vec<_>>());
    }
}

// [REQ-W-017] [REQ-W-021]
#[test]
fn another_try_waits_a_random_time_longer_after_many_failures_and_asks_with_a_nonce_of_its_own() {
    let mut world = World::new();
    let mut request = world.get(Consistency::One, 0);
    let mut open = std::collections::VecDeque::from(asked(&mut request));
    let (mut nonces, mut waits) = (std::collections::BTreeSet::new(), std::collections::BTreeSet::new());
    for number in 0.. {
        let Some(attempt) = open.pop_front() else { break };
        let ExitRequest::Find { nonce, .. } = &attempt.request else { unreachable!("a find") };
        assert!(nonces.insert(nonce.0), "a nonce for the second time");
        let more = ended(&mut world, &mut request, &attempt, failed(number, Failure::TimedOut));
        let failures = u32::try_from(number + 1).unwrap();
        let most = RETRY_DELAY_MAX * (1 + failures / RETRY_SLOWER_AFTER).min(RETRY_SLOWER_MAX);
        assert!(more.iter().all(|attempt| attempt.at < Instant::ZERO + most), "after {failures} failures");
        waits.extend(more.iter().map(|attempt| attempt.at));
        open.extend(more);
    }
    assert_eq!((nonces.len(), waits.len()), (OPERATION_CIRCUITS_MAX, OPERATION_CIRCUITS_MAX - 1));
    assert!(waits.iter().any(|at| *at < Instant::ZERO + RETRY_DELAY_MAX / 2));
    assert!(waits.last().unwrap() > &(Instant::ZERO + RETRY_DELAY_MAX), "longer after many");
}

// [REQ-W-026]
#[test]
fn a_get_begins_at_any_of_its_locations_and_asks_as_many_as_its_consistency_says() {
    let mut world = World::new();
    for (consistency, locations) in [(Consistency::One, 1), (Consistency::Quorum, 2), (Consistency::All, 3)] {
        let mut firsts = std::collections::BTreeSet::new();
        for _ in 0..60 {
            let mut request = world.get(consistency, 0);
            let location = |attempt: Attempt| match attempt.request {
                ExitRequest::Find { location, .. } => location.0,
                _ => unreachable!("a find"),
            };
            let all: Vec<_> = asked(&mut request).into_iter().map(location).collect();
            assert_eq!(all.iter().collect::<std::collections::BTreeSet<_>>().len(), locations);
            assert_eq!(all.len(), locations);
            firsts.insert(all[0]);
        }
        assert_eq!(firsts.len(), LOCATIONS, "{consistency:?}");
    }
}

// [REQ-R-029]
#[test]
fn where_everything_that_came_was_forged_the_result_is_damaged_and_with_one_circuit_that_failed_unreachable() {
    for (fails, refused) in [(false, Refused::Damaged), (true, Refused::Unreachable)] {
        let outcome = get_through(Some(7), &mut |number, _, answer| {
            let mut value = answer.value.clone().unwrap();
            value[100] ^= 1;
            if fails && number == 0 {
                return failed(number, Failure::TimedOut);
            }
            answered(number, &ExitAnswer { value: Some(value), ..answer })
        });
        assert_eq!(outcome.result, Err(refused));
    }
}

// [REQ-R-042]
#[test]
fn a_get_of_one_chunk_twice_is_damaged_before_anything_is_asked() {
    let mut world = World::new();
    let hashes = vec![[1; 32], [2; 32], [1; 32]];
    let request = world
        .start(|context| Request::ChunkGet(Box::new(ChunkGet::new(hashes, Instant::ZERO, OPERATION_TIMEOUT, context))));
    let outcome = world.play(request, |_, _, _| unreachable!("nothing is asked"));
    assert_eq!((outcome.result, outcome.counts.asked), (Err(Refused::Damaged), 0));
}
