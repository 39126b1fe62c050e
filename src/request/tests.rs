//! Operations against exits that are honest, fail, withhold, forge or serve old values. Circuits are played by hand; members,
//! signatures and records are real.

mod checking;
mod looking;
mod paying;

use rand::SeedableRng;
use rand::rngs::ChaCha20Rng;

use super::*;
use crate::crypto::hash::blake3;
use crate::crypto::keys::IdentitySecret;
use crate::keyspace::Location;
use crate::limits::{
    ANSWER_LEN, ANSWERS_PER_PLACE_MAX, BATCH_CHUNKS, CIRCUIT_DATA_LEN_MAX, HEDGED_AFTER, HOLDERS, LOCATIONS,
    OPERATION_CIRCUITS_MAX, OPERATION_TIMEOUT, SIGNERS, SLOT_LEN, STAGGER_MAX,
};
use crate::membership::fixture::{ISSUED, key, members_of, network, relay, secret};
use crate::membership::path::PathRefused;
use crate::membership::path_bias::GuardCircuits;
use crate::record::{INDICES, Locator, Place};
use crate::time::{Duration, UnixTime};
use crate::wire::onion::{ExitAnswer, ExitRequest};
use crate::wire::record::{ChunkName, Expiry};
use crate::wire::statement::{Nonce, Operation, Question, Saying, Statement, Verdict};

const RELAYS: u32 = 30;
const NOW: Now = Now { instant: Instant::ZERO, unix: ISSUED };

/// The network as honest exits find it, and how each circuit in turn departs from that.
struct World {
    members: Members,
    rng: ChaCha20Rng,
    locator: Locator,
    author: IdentitySecret,
    network: Network,
    stagger: Duration,
    is_whole: bool,
}

/// An honest exit's answer may be changed before it is sent.
type Change<'a> = &'a mut dyn FnMut(usize, &Attempt, ExitAnswer) -> AttemptResult;

impl World {
    fn new() -> Self {
        let mut rng = ChaCha20Rng::seed_from_u64(1);
        let author = IdentitySecret::generate(&mut rng);
        let locator = Locator::of_author(&author, b"label").unwrap();
        Self {
            members: members_of((0..RELAYS).map(relay)),
            rng,
            locator,
            author,
            network: network(),
            stagger: STAGGER_MAX,
            is_whole: true,
        }
    }

    fn records(&mut self, seq: u64) -> Vec<(Place, RecordBytes)> {
        let numbered = (seq, Expiry::at_least(UnixTime(ISSUED.0 + 3_600)));
        let seal = |index| self.locator.seal(&self.network, &self.author, index, numbered, b"payload", &mut self.rng);
        let records: Vec<_> = INDICES.into_iter().map(seal).map(Result::unwrap).collect();
        self.locator.places().into_iter().zip(records).collect()
    }

    fn context(&mut self) -> Context<'_> {
        Context {
            network: &self.network,
            members: &self.members,
            is_whole: self.is_whole,
            stagger: self.stagger,
            rng: &mut self.rng,
        }
    }

    fn start(&mut self, make: impl FnOnce(&mut Context<'_>) -> Request) -> Request {
        make(&mut self.context())
    }

    fn get(&mut self, consistency: Consistency, seq_min: u64) -> Request {
        let places = self.locator.places();
        self.start(|context| {
            let (at, timeout) = (Instant::ZERO, OPERATION_TIMEOUT);
            Request::RecordGet(Box::new(RecordGet::new(places, consistency, seq_min, at, timeout, context)))
        })
    }

    fn put(&mut self, records: Vec<(Place, RecordBytes)>) -> Request {
        self.start(|context| {
            Request::RecordPut(Box::new(RecordPut::new(records, Some(0), Instant::ZERO, OPERATION_TIMEOUT, context)))
        })
    }

    fn handle(&mut self, request: &mut Request, now: Now, input: RequestInput) {
        request.handle(now, input, &mut self.context());
    }

    /// Plays every circuit that the operation asks for, until its end.
    fn play(
        &mut self,
        mut request: Request,
        mut circuit: impl FnMut(&Self, usize, &Attempt) -> AttemptResult,
    ) -> Outcome {
        for number in 0.. {
            match request.poll_output().expect("an operation that waits for nothing has ended") {
                RequestOutput::Done(outcome) => {
                    assert!(request.poll_output().is_none() && request.poll_timeout().is_none());
                    return outcome;
                }
                RequestOutput::Attempt(attempt) => {
                    self.handle(&mut request, NOW, RequestInput::Building { id: attempt.id });
                    let used = request.used_exits();
                    assert!(used.iter().enumerate().all(|(at, exit)| !used[..at].contains(exit)), "none is used twice");
                    let result = circuit(self, number, &attempt);
                    self.handle(&mut request, NOW, RequestInput::Attempted { id: attempt.id, result });
                }
            }
        }
        unreachable!("circuits are capped")
    }
}

fn nearest(location: &Location) -> Vec<u32> {
    let mut numbers: Vec<u32> = (0..RELAYS).collect();
    numbers.sort_by_key(|number| relay(*number).id().distance(location));
    numbers
}

fn statement(number: u32, question: &Question, verdict: Verdict, claim: (u64, [u8; 32])) -> Statement {
    let saying = Saying { verdict, seq: claim.0, digest: claim.1, relays_estimate: RELAYS };
    Statement::sign(&network(), &secret(number), question, &saying, ISSUED)
}

/// What an honest exit answers to a find, when the network holds these records.
fn find_answer(attempt: &Attempt, held: &[(Place, RecordBytes)], signers: usize) -> ExitAnswer {
    let ExitRequest::Find { location, nonce } = &attempt.request else { unreachable!("a find") };
    let question = Question { nonce: *nonce, operation: Operation::Find, location: *location };
    let record = held.iter().find(|(at, _)| at.location == *location).map(|(_, record)| record);
    let said = record.map_or((Verdict::Absent, (0, [0; 32])), |record| (Verdict::Present, claim_of(record)));
    let sign = |number: u32| statement(number, &question, said.0, said.1);
    ExitAnswer {
        value: record.map(|record| record.0.to_vec()),
        statements: nearest(location).into_iter().take(signers).map(sign).collect(),
        descriptors: Vec::new(),
    }
}

/// When the first circuits of a get of all locations are due.
fn first_times(stagger: Duration) -> Vec<Instant> {
    let mut world = World { stagger, ..World::new() };
    let mut request = world.get(Consistency::All, 0);
    let outputs = core::iter::from_fn(|| request.poll_output());
    outputs
        .filter_map(|output| if let RequestOutput::Attempt(attempt) = output { Some(attempt.at) } else { None })
        .collect()
}

// [REQ-W-016]
#[test]
fn first_circuits_are_due_below_the_stagger_and_at_zero_at_once() {
    assert_eq!(first_times(Duration::ZERO), [Instant::ZERO; LOCATIONS]);
    let times = first_times(STAGGER_MAX);
    assert!(times.iter().all(|at| *at < Instant::ZERO + STAGGER_MAX) && times.windows(2).all(|two| two[0] != two[1]));
}

fn claim_of(record: &RecordBytes) -> (u64, [u8; 32]) {
    (record.fields().unwrap().seq, record.digest())
}

fn answered(number: usize, answer: &ExitAnswer) -> AttemptResult {
    let exit = key(1_000 + u32::try_from(number).unwrap());
    AttemptResult::Answered { exit, bytes: answer.encode(ANSWER_LEN).unwrap() }
}

fn failed(number: usize, why: Failure) -> AttemptResult {
    AttemptResult::Failed { exit: Some(key(1_000 + u32::try_from(number).unwrap())), why }
}

fn seq_of(outcome: &Outcome) -> Option<(u64, bool)> {
    match &outcome.result {
        Ok(Success::Record { seq, attested, .. }) => Some((*seq, *attested)),
        _ => None,
    }
}

/// Gets against these held records; each honest answer passes through `change`.
fn get_through(held_seq: Option<u64>, change: Change<'_>) -> Outcome {
    let mut world = World::new();
    let held = held_seq.map(|seq| world.records(seq)).unwrap_or_default();
    let request = world.get(Consistency::Quorum, 0);
    world.play(request, |_, number, attempt| change(number, attempt, find_answer(attempt, &held, SIGNERS)))
}

// [REQ-R-028] [REQ-R-029]
#[test]
fn a_value_that_enough_sign_for_is_found_and_attested_with_two_circuits() {
    let outcome = get_through(Some(7), &mut |number, _, answer| answered(number, &answer));
    assert_eq!(seq_of(&outcome), Some((7, true)));
    assert_eq!((outcome.counts.asked, outcome.counts.valid), (2, 2));
}

// [EVID-R-011]
#[test]
fn in_a_part_of_the_network_nothing_is_attested_but_a_value_proves_itself() {
    for (held, seq) in [(None, None), (Some(7), Some((7, false)))] {
        let mut world = World { is_whole: false, ..World::new() };
        let held = held.map(|seq| world.records(seq)).unwrap_or_default();
        let request = world.get(Consistency::Quorum, 0);
        let outcome = world.play(request, |_, number, attempt| answered(number, &find_answer(attempt, &held, SIGNERS)));
        assert_eq!(seq_of(&outcome), seq);
        assert_eq!(outcome.result.as_ref().err(), seq.is_none().then_some(&Refused::Unreachable));
    }
}

// [REQ-R-029] [EVID-R-012]
#[test]
fn absence_that_enough_sign_for_is_not_found_and_not_unreachable() {
    let outcome = get_through(None, &mut |number, _, answer| answered(number, &answer));
    assert_eq!(outcome.result, Err(Refused::NotFound));
    let silent =
        get_through(None, &mut |number, _, answer| answered(number, &ExitAnswer { statements: Vec::new(), ..answer }));
    assert_eq!(silent.result, Err(Refused::Unreachable), "nobody signed that it is not there");
}

// [VAL-R-017] [REQ-R-012] [REQ-R-027]
#[test]
fn an_exit_that_withholds_or_forges_is_passed_over_for_another() {
    let lies: [fn(usize, &ExitAnswer) -> AttemptResult; 4] = [
        |number, _| answered(number, &ExitAnswer::default()),
        |number, answer| {
            let mut value = answer.value.clone().unwrap();
            value[100] ^= 1;
            answered(number, &ExitAnswer { value: Some(value), ..answer.clone() })
        },
        |number, _| AttemptResult::Answered {
            exit: key(1_000 + u32::try_from(number).unwrap()),
            bytes: vec![9; ANSWER_LEN],
        },
        |number, _| failed(number, Failure::Forged),
    ];
    for (lie, invalid) in lies.into_iter().zip([0, 2, 2, 2]) {
        let outcome = get_through(Some(7), &mut |number, _, answer| {
            if number < 2 { lie(number, &answer) } else { answered(number, &answer) }
        });
        assert_eq!((seq_of(&outcome), outcome.counts.invalid), (Some((7, true)), invalid));
    }
}

// [EVID-R-013] [EVID-R-014]
#[test]
fn an_old_value_is_not_the_last_word_when_a_signer_has_a_newer_one() {
    let mut world = World::new();
    let (old, new) = (world.records(7), world.records(8));
    let request = world.get(Consistency::Quorum, 0);
    let outcome = world.play(request, |_, number, attempt| {
        let honest = find_answer(attempt, &new, SIGNERS);
        let stale = find_answer(attempt, &old, SIGNERS);
        // The exit passes the old record on, but cannot make those who hold the new one sign for the old.
        if number < 2 {
            answered(number, &ExitAnswer { value: stale.value, ..honest })
        } else {
            answered(number, &honest)
        }
    });
    assert_eq!(seq_of(&outcome), Some((8, true)));
}

#[test]
fn one_signer_who_claims_what_nobody_brings_does_not_hide_the_value() {
    let outcome = get_through(Some(7), &mut |number, attempt, mut answer| {
        let ExitRequest::Find { location, nonce } = &attempt.request else { unreachable!("a find") };
        let question = Question { nonce: *nonce, operation: Operation::Find, location: *location };
        answer.statements[0] = statement(nearest(location)[0], &question, Verdict::Present, (99, [9; 32]));
        answered(number, &answer)
    });
    assert_eq!(seq_of(&outcome).map(|(seq, _)| seq), Some(7));
}

// [REQ-R-029] [REQ-R-031]
#[test]
fn an_older_value_than_one_seen_before_is_not_taken() {
    let mut world = World::new();
    let held = world.records(7);
    let request = world.get(Consistency::Quorum, 8);
    let outcome = world.play(request, |_, number, attempt| answered(number, &find_answer(attempt, &held, SIGNERS)));
    assert_eq!(outcome.result, Err(Refused::Older { seq: 7 }));
}

// [REQ-W-026] [REQ-R-028]
#[test]
fn consistency_says_how_many_locations_must_answer() {
    for (consistency, circuits) in [(Consistency::One, 1), (Consistency::Quorum, 2), (Consistency::All, 3)] {
        let mut world = World::new();
        let held = world.records(7);
        let request = world.get(consistency, 0);
        let outcome = world.play(request, |_, number, attempt| answered(number, &find_answer(attempt, &held, SIGNERS)));
        assert_eq!((seq_of(&outcome), outcome.counts.asked), (Some((7, true)), circuits));
    }
}

// [REQ-W-014] [REQ-R-029]
#[test]
fn when_every_circuit_fails_the_operation_ends_at_its_cap() {
    for consistency in [Consistency::One, Consistency::Quorum, Consistency::All, Consistency::Audit] {
        let mut world = World::new();
        let request = world.get(consistency, 0);
        let outcome = world.play(request, |_, number, _| failed(number, Failure::TimedOut));
        assert_eq!(outcome.result, Err(Refused::Unreachable));
        assert_eq!(outcome.counts.asked, OPERATION_CIRCUITS_MAX);
    }
}

/// Ends a circuit of a get, and gives the circuits that it asks for then.
fn ended(world: &mut World, request: &mut Request, attempt: &Attempt, result: AttemptResult) -> Vec<Attempt> {
    world.handle(request, NOW, RequestInput::Building { id: attempt.id });
    world.handle(request, NOW, RequestInput::Attempted { id: attempt.id, result });
    asked(request)
}

fn asked(request: &mut Request) -> Vec<Attempt> {
    let outputs = core::iter::from_fn(|| request.poll_output());
    let attempt = |output| if let RequestOutput::Attempt(attempt) = output { Some(*attempt) } else { None };
    outputs.filter_map(attempt).collect()
}

/// A get of one location of which so many circuits have failed that it has two under way.
fn hedging(world: &mut World) -> (Request, Vec<Attempt>) {
    let mut request = world.get(Consistency::One, 0);
    let mut open = asked(&mut request);
    for number in 0..HEDGED_AFTER {
        assert_eq!(open.len(), 1, "after {number} failures");
        open = ended(world, &mut request, &open[0], failed(number, Failure::TimedOut));
    }
    (request, open)
}

// [REQ-W-015]
#[test]
fn after_enough_failures_a_location_has_two_circuits_at_once_for_the_same_question() {
    let mut world = World::new();
    let (mut request, open) = hedging(&mut world);
    let location = |attempt: &Attempt| match &attempt.request {
        ExitRequest::Find { location, .. } => *location,
        _ => unreachable!("a find"),
    };
    assert_eq!(open.iter().map(location).collect::<Vec<_>>(), [location(&open[0]); 2]);
    let more = ended(&mut world, &mut request, &open[0], failed(50, Failure::TimedOut));
    assert_eq!(more.len(), 1, "never three");
}

// [REQ-W-015] [REQ-R-028]
#[test]
fn an_answer_that_settles_nothing_is_no_reason_for_a_second_circuit() {
    let mut world = World::new();
    let (mut request, open) = hedging(&mut world);
    let empty = ExitAnswer::default();
    assert!(ended(&mut world, &mut request, &open[0], answered(50, &empty)).is_empty(), "one is under way");
    assert_eq!(ended(&mut world, &mut request, &open[1], answered(51, &empty)).len(), 1);
}

// [REQ-W-014]
#[test]
fn answers_and_circuits_under_way_for_a_location_never_pass_the_cap_of_answers_and_the_spare_comes_after_them() {
    let mut world = World::new();
    let (mut request, mut open) = hedging(&mut world);
    let place = open[0].request.clone();
    let is_same = |attempt: &Attempt| match (&attempt.request, &place) {
        (ExitRequest::Find { location, .. }, ExitRequest::Find { location: first, .. }) => location == first,
        _ => false,
    };
    let (mut answers, mut number) = (0, 100);
    while answers < ANSWERS_PER_PLACE_MAX {
        // Another exit fails after each answer, as long as one more is under way.
        for result in [answered(number, &ExitAnswer::default()), failed(number + 1, Failure::TimedOut)] {
            let Some(attempt) = open.pop() else { break };
            answers += usize::from(matches!(result, AttemptResult::Answered { .. }));
            let more = ended(&mut world, &mut request, &attempt, result);
            assert!(more.iter().all(is_same) || (open.is_empty() && answers == ANSWERS_PER_PLACE_MAX));
            open.extend(more);
            let under_way = open.iter().filter(|attempt| is_same(attempt)).count();
            assert!(answers + under_way <= ANSWERS_PER_PLACE_MAX, "{answers} answers, {under_way} under way");
            number += 2;
            if answers == ANSWERS_PER_PLACE_MAX {
                break;
            }
        }
    }
    assert!(open.len() == 1 && !is_same(&open[0]), "another location in its place");
}

// [REQ-W-023]
#[test]
fn without_a_strong_enough_path_nothing_is_tried_again() {
    let floor = Failure::Path(PathRefused::TooFewNetworks);
    let rows = [
        (floor, Refused::PrivacyFloor(PathRefused::TooFewNetworks)),
        (Failure::GuardsGone, Refused::GuardsGone),
        (
            Failure::GuardFails(GuardCircuits { begun: 100, finished: 1, ..GuardCircuits::default() }),
            Refused::GuardFails(GuardCircuits { begun: 100, finished: 1, ..GuardCircuits::default() }),
        ),
        (Failure::Unreachable, Refused::Unreachable),
    ];
    for (why, refused) in rows {
        let outcome = get_through(Some(7), &mut |_, _, _| AttemptResult::Failed { exit: None, why });
        assert_eq!((outcome.result, outcome.counts.asked), (Err(refused), 2));
    }
}

// [REQ-W-013]
#[test]
fn an_operation_ends_at_its_deadline_not_before_and_what_comes_later_is_nothing() {
    let mut world = World::new();
    let mut request = world.get(Consistency::Quorum, 0);
    let Some(RequestOutput::Attempt(attempt)) = request.poll_output() else { unreachable!("a circuit") };
    while request.poll_output().is_some() {}
    let deadline = Instant::ZERO + OPERATION_TIMEOUT;
    assert_eq!(request.poll_timeout(), Some(deadline));
    let before = Now { instant: Instant::from_micros(deadline.as_micros() - 1), unix: ISSUED };
    world.handle(&mut request, before, RequestInput::Timeout);
    assert!(request.poll_output().is_none());
    world.handle(&mut request, Now { instant: deadline, unix: ISSUED }, RequestInput::Timeout);
    assert!(matches!(
        request.poll_output(),
        Some(RequestOutput::Done(Outcome { result: Err(Refused::Unreachable), .. }))
    ));
    let late = RequestInput::Attempted { id: attempt.id, result: failed(0, Failure::TimedOut) };
    world.handle(&mut request, Now { instant: deadline + Duration::from_secs(1), unix: ISSUED }, late);
    assert!(request.poll_output().is_none());
}

/// What an honest exit answers to a put: receipts of so many holders, or what they say instead.
fn put_answer(attempt: &Attempt, holders: usize, verdict: Verdict, other: Option<(u64, [u8; 32])>) -> ExitAnswer {
    let ExitRequest::Put { nonce, record, .. } = &attempt.request else { unreachable!("a put") };
    let location = crate::crypto::hash::signed_location(&record.fields().unwrap().key);
    let question = Question { nonce: *nonce, operation: Operation::Store, location };
    // What is held instead is told relative to the record: numbers differ from location to location.
    let (seq, digest) = claim_of(record);
    let claim = other.map_or((seq, digest), |(ahead, digest)| (seq + ahead, digest));
    let sign = |number: u32| statement(number, &question, verdict, claim);
    let statements = nearest(&location).into_iter().take(holders).map(sign).collect();
    ExitAnswer { statements, ..ExitAnswer::default() }
}

// [REQ-W-033] [REQ-R-034]
#[test]
fn a_put_counts_receipts_and_tells_stored_partly_and_conflict_apart() {
    let rows = [
        (HOLDERS, Verdict::Stored, None, Ok(Success::RecordStored { copies: vec![HOLDERS; 3] }), 1),
        (3, Verdict::Stored, None, Err(Refused::Partly { copies: 9, asked: 15 }), ANSWERS_PER_PLACE_MAX),
        (HOLDERS, Verdict::Conflict, Some((2, [9; 32])), Err(Refused::Conflict { seq: 9 }), 1),
        (HOLDERS, Verdict::Full, Some((0, [0; 32])), Err(Refused::Full), ANSWERS_PER_PLACE_MAX),
    ];
    for (holders, verdict, other, result, exits) in rows {
        let mut world = World::new();
        let records = world.records(7);
        let request = world.put(records);
        let outcome =
            world.play(request, |_, number, attempt| answered(number, &put_answer(attempt, holders, verdict, other)));
        assert_eq!((outcome.result, outcome.counts.asked), (result, LOCATIONS * exits));
    }
}

// [EVID-R-016] [EVID-R-018]
#[test]
fn receipts_for_another_record_another_nonce_or_from_far_away_do_not_count() {
    let lies: [fn(&Attempt) -> ExitAnswer; 3] = [
        |attempt| put_answer(attempt, HOLDERS, Verdict::Stored, Some((0, [9; 32]))),
        |attempt| {
            let mut other = attempt.clone();
            let ExitRequest::Put { nonce, .. } = &mut other.request else { unreachable!("a put") };
            *nonce = Nonce([0; 16]);
            put_answer(&other, HOLDERS, Verdict::Stored, None)
        },
        |attempt| {
            let mut all = put_answer(attempt, 30, Verdict::Stored, None);
            all.statements.drain(..25);
            all
        },
    ];
    for lie in lies {
        let mut world = World::new();
        let records = world.records(7);
        let request = world.put(records);
        let outcome = world.play(request, |_, number, attempt| answered(number, &lie(attempt)));
        assert_eq!(outcome.result, Err(Refused::Unreachable));
    }
}

fn chunks() -> Vec<SealedChunk> {
    (0..3).map(|n| vec![n; 100]).map(|bytes| SealedChunk { hash: blake3(&[&bytes]), bytes }).collect()
}

/// Four slots, of which an honest exit fills those that it was asked for and that `has` lets it find.
fn fetch_answer(attempt: &Attempt, has: impl Fn(&ChunkName) -> Option<Vec<u8>>) -> Vec<u8> {
    let ExitRequest::FetchChunks { chunks, .. } = &attempt.request else { unreachable!("a fetch") };
    let slot = |at: usize| ExitAnswer { value: chunks.get(at).and_then(&has), ..ExitAnswer::default() };
    (0..BATCH_CHUNKS).flat_map(|at| slot(at).encode(SLOT_LEN).unwrap()).collect()
}

// [REQ-R-035] [REQ-R-036]
#[test]
fn chunks_are_asked_for_until_an_exit_answers_and_what_is_missing_then_is_told() {
    let all = chunks();
    let mut world = World::new();
    let hashes = all.iter().map(|chunk| chunk.hash).collect();
    let request = world
        .start(|context| Request::ChunkGet(Box::new(ChunkGet::new(hashes, Instant::ZERO, OPERATION_TIMEOUT, context))));
    let outcome = world.play(request, |_, number, attempt| {
        let ExitRequest::FetchChunks { chunks: asked, .. } = &attempt.request else { unreachable!("a fetch") };
        assert_eq!(asked.len(), 3);
        let exit = key(1_000 + u32::try_from(number).unwrap());
        if number < 2 {
            return AttemptResult::Failed { exit: Some(exit), why: Failure::NotReached };
        }
        // One is right, one forged, one missing.
        let bytes = fetch_answer(attempt, |name| match all.iter().position(|chunk| chunk.hash == name.hash) {
            Some(0) => Some(all[0].bytes.clone()),
            Some(1) => Some(vec![9; 9]),
            _ => None,
        });
        AttemptResult::Answered { exit, bytes }
    });
    assert_eq!(outcome.result, Ok(Success::Chunks(vec![Some(all[0].bytes.clone()), None, None])));
    let Counts { asked, valid, empty, invalid, timed_out } = outcome.counts;
    assert_eq!([asked, valid, empty, invalid, timed_out], [3, 1, 1, 1, 2]);
}

// [VAL-R-017] [REQ-R-035] [REQ-R-036]
#[test]
fn chunks_that_nobody_has_end_as_unreachable_and_forged_ones_as_damaged() {
    for (bytes, refused) in [(None, Refused::Unreachable), (Some(vec![1, 2, 3]), Refused::Damaged)] {
        let mut world = World::new();
        let request = world.start(|context| {
            Request::ChunkGet(Box::new(ChunkGet::new(vec![[1; 32]], Instant::ZERO, OPERATION_TIMEOUT, context)))
        });
        let outcome = world.play(request, |_, number, attempt| AttemptResult::Answered {
            exit: key(1_000 + u32::try_from(number).unwrap()),
            bytes: fetch_answer(attempt, |_| bytes.clone()),
        });
        assert_eq!(outcome.result, Err(refused));
    }
}

// [REQ-W-006] [REQ-W-022] [REQ-W-037] [REQ-R-038] [MSG-W-031]
#[test]
fn chunks_are_stored_at_their_location_each_under_a_nonce_of_its_own_and_for_as_long_as_asked() {
    let stored = Ok(Success::ChunksStored { copies_min: 2 });
    let wanting = Err(Refused::Partly { copies: 1, asked: 2 });
    let third = chunks()[2].hash;
    for (holders, kept_for, of_third, result) in [
        (HOLDERS, 0, Verdict::Stored, stored.clone()),
        (HOLDERS, 1, Verdict::Stored, stored),
        (1, 0, Verdict::Stored, wanting),
        (HOLDERS, 0, Verdict::Full, Err(Refused::Full)),
        // An exit that hands chunks on with an earlier end gets true receipts, which name it.
        (HOLDERS, -1, Verdict::Stored, Err(Refused::Unreachable)),
    ] {
        let mut world = World::new();
        let expiry = Expiry::at_least(UnixTime(ISSUED.0 + 3_600));
        let request = world.start(|context| {
            Request::ChunkPut(Box::new(ChunkPut::new(chunks(), expiry, Instant::ZERO, OPERATION_TIMEOUT, context)))
        });
        let outcome = world.play(request, |_, number, attempt| {
            assert_eq!((attempt.upload.len(), attempt.reply_cells), (BATCH_CHUNKS * 34, BATCH_CHUNKS));
            assert!(attempt.upload.iter().all(|data| data.len() == CIRCUIT_DATA_LEN_MAX));
            let ExitRequest::PutChunks { nonce, chunks, .. } = &attempt.request else { unreachable!("a put") };
            assert!(of_third == Verdict::Stored || number == 0 || chunks.len() == 1, "what is wanting alone");
            assert!(chunks.iter().all(|(name, _)| name.index == 0));
            let until = expiry.step().saturating_add_signed(kept_for);
            let cell = |slot: usize| {
                let mut answer = ExitAnswer::default();
                if let Some((name, _)) = chunks.get(slot) {
                    let location = name.location();
                    let question = Question { nonce: nonce.of_slot(slot), operation: Operation::Store, location };
                    let verdict = if name.hash == third { of_third } else { Verdict::Stored };
                    let sign = |number: u32| statement(number, &question, verdict, (until, name.hash));
                    answer.statements = nearest(&location).into_iter().take(holders).map(sign).collect();
                }
                answer.encode(CIRCUIT_DATA_LEN_MAX).unwrap()
            };
            let bytes = (0..BATCH_CHUNKS).flat_map(cell).collect();
            AttemptResult::Answered { exit: key(1_000 + u32::try_from(number).unwrap()), bytes }
        });
        let exits = if result.is_ok() { 1 } else { ANSWERS_PER_PLACE_MAX };
        assert_eq!((outcome.result, outcome.counts.asked), (result, exits));
    }
}
