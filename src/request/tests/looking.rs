//! Questions who has what: copies that are counted, exits that leave some out.

use super::*;
use crate::limits::{LOOK_ANSWERS_MAX, LOOK_SLOT_LEN};

/// What an honest exit answers to a look: so many of the nearest have each chunk until these steps, all others have not.
fn look_answer(attempt: &Attempt, until: impl Fn(&ChunkName) -> Vec<u64>) -> Vec<u8> {
    let ExitRequest::Look { nonce, chunks } = &attempt.request else { unreachable!("a look") };
    let part = |slot: usize| {
        let mut answer = ExitAnswer::default();
        if let Some(name) = chunks.get(slot) {
            let question =
                Question { nonce: nonce.of_slot(slot), operation: Operation::Find, location: name.location() };
            let held = until(name).into_iter().map(|step| (Verdict::Present, (step, name.hash)));
            let said = held.chain(core::iter::repeat((Verdict::Absent, (0, [0; 32]))));
            let signers = nearest(&name.location()).into_iter().take(SIGNERS).zip(said);
            answer.statements =
                signers.map(|(number, (verdict, claim))| statement(number, &question, verdict, claim)).collect();
        }
        answer.looked().encode(LOOK_SLOT_LEN).unwrap()
    };
    (0..BATCH_CHUNKS).flat_map(part).collect()
}

fn look(hashes: Vec<[u8; 32]>, mut answer: impl FnMut(usize, &Attempt) -> Option<Vec<u8>>) -> Outcome {
    let mut world = World::new();
    let request = world.start(|context| {
        Request::ChunkLook(Box::new(ChunkLook::new(hashes, Instant::ZERO, OPERATION_TIMEOUT, context)))
    });
    world.play(request, |_, number, attempt| {
        assert_eq!((attempt.upload.len(), attempt.reply_cells), (0, 1), "in the cells of a find");
        match answer(number, attempt) {
            Some(bytes) => AttemptResult::Answered { exit: key(1_000 + u32::try_from(number).unwrap()), bytes },
            None => failed(number, Failure::Destroyed),
        }
    })
}

// [REQ-R-039] [REQ-W-040]
#[test]
fn copies_of_chunks_are_counted_by_the_words_of_the_closest_and_too_few_are_asked_for_again() {
    let step = Expiry::at_least(UnixTime(ISSUED.0 + 86_400)).step();
    let hashes = vec![[1; 32], [2; 32], [3; 32]];
    let mut asked = Vec::new();
    let outcome = look(hashes, |_, attempt| {
        let ExitRequest::Look { chunks, .. } = &attempt.request else { unreachable!("a look") };
        asked.push(chunks.len());
        Some(look_answer(attempt, |name| match name.hash[0] {
            1 => vec![step, step + 2],
            // One says what no storer does: that it keeps it for longer than anybody may, or that it is over.
            2 => vec![step, u64::MAX, step + 1_000, 5],
            _ => Vec::new(),
        }))
    });
    let seen = |steps: &[u64]| Sighting {
        until: steps.iter().map(|step| Expiry::of_step(*step).unwrap()).collect(),
        attested: true,
    };
    let expected = vec![seen(&[step, step + 2]), seen(&[step]), seen(&[])];
    assert_eq!(outcome.result, Ok(Success::ChunksSeen(expected)));
    assert_eq!(asked, [3, 2], "what has its copies is not asked for again");
    assert_eq!(asked.len(), LOOK_ANSWERS_MAX);
}

// [REQ-R-039] [REQ-W-040]
#[test]
fn what_one_exit_leaves_out_another_brings_and_what_nobody_signed_is_not_attested() {
    let step = Expiry::at_least(UnixTime(ISSUED.0 + 86_400)).step();
    let outcome = look(vec![[1; 32]], |number, attempt| {
        Some(look_answer(attempt, |_| if number == 0 { vec![step] } else { vec![step, step] }))
    });
    let Ok(Success::ChunksSeen(seen)) = outcome.result else { panic!("{outcome:?}") };
    assert_eq!((seen[0].until.len(), outcome.counts.asked), (2, 2));
    // Statements made for another question are none.
    let outcome = look(vec![[1; 32]], |_, attempt| {
        let mut other = attempt.clone();
        let ExitRequest::Look { nonce, .. } = &mut other.request else { unreachable!("a look") };
        *nonce = Nonce([0; 16]);
        Some(look_answer(&other, |_| vec![step, step]))
    });
    assert_eq!(outcome.result, Err(Refused::Unreachable), "nobody who counts has said anything");
    assert_eq!((outcome.counts.empty, outcome.counts.valid), (2, 0));
    // And when no circuit comes to its end nothing was seen at all.
    let outcome = look(vec![[1; 32]], |_, _| None);
    assert_eq!(outcome.result, Err(Refused::Unreachable));
}

// [REQ-R-042]
#[test]
fn two_equal_names_are_damage_and_no_circuit_is_built_for_them() {
    let outcome = look(vec![[1; 32], [2; 32], [1; 32]], |_, _| unreachable!("nothing is asked"));
    assert_eq!((outcome.result, outcome.counts.asked), (Err(Refused::Damaged), 0));
}

// [REQ-W-030]
#[test]
fn an_audit_asks_a_second_exit_where_a_record_has_too_few_copies() {
    for (left_out, circuits, copies) in [(0, 3, HOLDERS), (2, 6, HOLDERS - 2)] {
        let mut world = World::new();
        let held = world.records(7);
        let request = world.get(Consistency::Audit, 0);
        let outcome = world.play(request, |_, number, attempt| {
            let mut answer = find_answer(attempt, &held, SIGNERS);
            let ExitRequest::Find { location, nonce } = &attempt.request else { unreachable!("a find") };
            let question = Question { nonce: *nonce, operation: Operation::Find, location: *location };
            for (at, number) in nearest(location).into_iter().enumerate().take(SIGNERS).skip(HOLDERS - left_out) {
                answer.statements[at] = statement(number, &question, Verdict::Absent, (0, [0; 32]));
            }
            answered(number, &answer)
        });
        let Ok(Success::Record { seen, records, attested: true, .. }) = outcome.result else { panic!("{outcome:?}") };
        assert!(records.into_iter().eq(held.iter().map(|(_, record)| Some(record.clone()))), "as they were signed");
        assert_eq!(outcome.counts.asked, circuits);
        assert!(seen.iter().all(|place| place.attested && place.until.len() == copies), "{seen:?}");
    }
}
