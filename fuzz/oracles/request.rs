//! Operations among exits that lie: whatever comes back, or nothing, an operation ends once and by its time, with no more circuits than it
//! has, and brings nothing but what its author sealed, what fits its hash, and as many copies as holders signed for, of records and of chunks.

use std::collections::BTreeSet;
use std::sync::OnceLock;

use bauta::crypto::hash::{blake3, signed_location};
use bauta::keyspace::{Id, Location};
use bauta::limits::{
    ANSWER_LEN, BATCH_CHUNKS, CHUNK_HOLDERS, CHUNK_LOCATIONS, CIRCUIT_DATA_LEN_MAX, EXPIRY_MAX_S, HOLDERS,
    LOOK_SLOT_LEN, OPERATION_CIRCUITS_MAX, OPERATION_TIMEOUT, SIGNERS, SLOT_LEN,
};
use bauta::membership::members::Members;
use bauta::record::{INDICES, Locator};
use bauta::request::{
    Attempt, AttemptResult, ChunkGet, ChunkLook, ChunkPut, Consistency, Context, Failure, RecordGet, RecordPut,
    Refused, Request, RequestInput, RequestOutput, SealedChunk, Success,
};
use bauta::time::{Duration, Instant, Now, UnixTime};
use bauta::wire::onion::{ExitAnswer, ExitRequest};
use bauta::wire::record::{ChunkName, Expiry, RecordBytes, ValueKind};
use bauta::wire::statement::{Nonce, Operation, Question, Saying, Statement, Verdict};
use rand::SeedableRng;
use rand::rngs::ChaCha20Rng;

use super::relays::{ISSUED, identity, network, relay};
use super::script::Script;

const RELAYS: u32 = 16;
const STEPS_MAX: usize = 64;

struct World {
    members: Members,
    locator: Locator,
    /// By sequence number from 1 on, one for each location.
    records: Vec<Vec<RecordBytes>>,
    chunks: Vec<Vec<u8>>,
}

fn world() -> &'static World {
    static WORLD: OnceLock<World> = OnceLock::new();
    WORLD.get_or_init(|| {
        let (mut members, mut rng, author) = (Members::default(), ChaCha20Rng::seed_from_u64(1), identity(1_000));
        members.merge_all((0..RELAYS).map(relay), ISSUED);
        let locator = Locator::of_author(&author, b"label").expect("short");
        let ends = ends();
        let mut seal = |seq: u64, index| {
            locator.seal(&network(), &author, index, (seq, ends), b"payload", &mut rng).expect("short")
        };
        let records = (1..=3).map(|seq| INDICES.into_iter().map(|index| seal(seq, index)).collect()).collect();
        World { members, locator, records, chunks: (0..4).map(|fill| vec![fill; 700]).collect() }
    })
}

/// When everything that is stored ends.
fn ends() -> Expiry {
    Expiry::at_least(UnixTime(ISSUED.0 + 86_400))
}

fn claim_of(record: &RecordBytes) -> (u64, [u8; 32]) {
    (record.fields().expect("of its length").seq, record.digest())
}

/// What some of the nearest sign, or somebody else.
fn statements(
    script: &mut Script<'_>,
    operation: Operation,
    nonce: Nonce,
    location: Location,
    said: (Verdict, (u64, [u8; 32])),
) -> Vec<Statement> {
    let lie = script.byte();
    let nonce = if lie & 1 != 0 { Nonce([lie; 16]) } else { nonce };
    let location = if lie & 2 != 0 { Id([lie; 20]) } else { location };
    let mut nearest: Vec<u32> = (0..RELAYS).collect();
    nearest.sort_by_key(|number| relay_id(*number).distance(&location));
    let (count, from) = (script.below(SIGNERS + 1), usize::from(lie >> 4) % 4);
    let question = Question { nonce, operation, location };
    let (verdict, (seq, digest)) = if lie & 4 != 0 {
        (script.pick(&[Verdict::Absent, Verdict::Present, Verdict::Conflict, Verdict::Full]), (9, [9; 32]))
    } else {
        said
    };
    let saying = Saying { verdict, seq, digest, relays_estimate: RELAYS };
    let signers = nearest.into_iter().skip(from).take(count);
    let sign = |number| {
        Statement::sign(&network(), &identity(if lie & 8 != 0 { 500 } else { number }), &question, &saying, ISSUED)
    };
    signers.map(sign).collect()
}

fn relay_id(number: u32) -> Id {
    static IDS: OnceLock<Vec<Id>> = OnceLock::new();
    IDS.get_or_init(|| (0..RELAYS).map(|number| relay(number).id()).collect())[usize::try_from(number).expect("small")]
}

/// What the script has an exit answer.
fn answer(script: &mut Script<'_>, attempt: &Attempt) -> Vec<u8> {
    let world = world();
    let mut bytes = match &attempt.request {
        ExitRequest::Find { location, nonce } => {
            let held = script.below(world.records.len() + 1);
            let index = world.locator.locations().iter().position(|own| own == location).expect("its own");
            let index = if script.byte() & 7 == 7 { (index + 1) % 3 } else { index };
            let record = world.records.get(held).map(|records| &records[index]);
            let said = record.map_or((Verdict::Absent, (0, [0; 32])), |record| (Verdict::Present, claim_of(record)));
            let statements = statements(script, Operation::Find, *nonce, *location, said);
            let value = record.filter(|_| script.byte() & 7 != 7).map(|record| record.0.to_vec());
            ExitAnswer { value, statements, descriptors: Vec::new() }.encode(ANSWER_LEN)
        }
        ExitRequest::Put { nonce, record, .. } => {
            let location = signed_location(&record.fields().expect("of its length").key);
            let statements =
                statements(script, Operation::Store, *nonce, location, (Verdict::Stored, claim_of(record)));
            ExitAnswer { value: None, statements, descriptors: Vec::new() }.encode(ANSWER_LEN)
        }
        ExitRequest::FetchChunks { chunks, .. } => {
            let slot = |script: &mut Script<'_>, at: usize| {
                let at = if script.byte() & 7 == 7 { 3 - at } else { at };
                let value = world.chunks.get(at).filter(|_| script.byte() & 3 != 3).cloned();
                ExitAnswer { value, ..ExitAnswer::default() }.encode(SLOT_LEN).expect("it fits")
            };
            Some((0..chunks.len()).map(|at| slot(script, at)).collect::<Vec<_>>().concat())
        }
        ExitRequest::PutChunks { nonce, chunks, .. } => slots(
            script,
            *nonce,
            (Operation::Store, Verdict::Stored),
            CIRCUIT_DATA_LEN_MAX,
            chunks.iter().map(|one| one.0),
        ),
        ExitRequest::Look { nonce, chunks } => {
            slots(script, *nonce, (Operation::Find, Verdict::Present), LOOK_SLOT_LEN, chunks.iter().copied())
        }
    }
    .expect("it fits");
    if script.byte() & 3 == 3 {
        script.change(&mut bytes);
        bytes.truncate(if script.byte() & 3 == 3 { script.below(bytes.len()) } else { bytes.len() });
    }
    bytes
}

/// What holders of each chunk say, in slots of so many bytes.
fn slots(
    script: &mut Script<'_>,
    nonce: Nonce,
    (operation, verdict): (Operation, Verdict),
    len: usize,
    chunks: impl Iterator<Item = ChunkName>,
) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    for (slot, name) in chunks.enumerate() {
        let claim = (ends().step(), name.hash);
        let statements = statements(script, operation, nonce.of_slot(slot), name.location(), (verdict, claim));
        let answer = ExitAnswer { value: None, statements, descriptors: Vec::new() };
        // Of a look fewer fit.
        bytes.extend(if operation == Operation::Find { answer.looked() } else { answer }.encode(len)?);
    }
    bytes.resize(len * BATCH_CHUNKS, 0);
    Some(bytes)
}

struct Play {
    request: Request,
    rng: ChaCha20Rng,
    open: Vec<Attempt>,
    asked: usize,
    /// Who signed to keep or have a value, by location, in answers that were given: nobody else is a copy.
    signed: BTreeSet<(Location, [u8; 32])>,
    seq_min: u64,
    ended: bool,
}

impl Play {
    fn handle(&mut self, now: Now, input: RequestInput) {
        let world = world();
        let context = &mut Context {
            network: &network(),
            members: &world.members,
            is_whole: true,
            stagger: Duration::ZERO,
            rng: &mut self.rng,
        };
        self.request.handle(now, input, context);
    }

    fn drain(&mut self, fault: bool) {
        while let Some(output) = self.request.poll_output() {
            assert!(!self.ended, "it ends once");
            match output {
                RequestOutput::Attempt(attempt) => {
                    self.asked += 1;
                    self.open.push(*attempt);
                }
                RequestOutput::Done(outcome) => {
                    self.ended = true;
                    assert!(outcome.counts.asked <= OPERATION_CIRCUITS_MAX && self.request.poll_timeout().is_none());
                    self.judge(outcome.result, fault);
                }
            }
        }
        assert!(self.asked <= OPERATION_CIRCUITS_MAX && (self.ended || !self.open.is_empty()));
    }

    fn judge(&self, result: Result<Success, Refused>, fault: bool) {
        let world = world();
        match result {
            Ok(Success::Record { record, seq, records, .. }) => {
                assert!(seq >= self.seq_min + u64::from(fault));
                let sealed = &world.records[usize::try_from(seq).expect("small") - 1];
                assert!(sealed.contains(&record));
                assert!(records.iter().zip(sealed).all(|(came, own)| came.as_ref().is_none_or(|came| came == own)));
            }
            Ok(Success::RecordStored { copies }) => {
                assert_eq!(copies, [HOLDERS; 3]);
                assert!(self.signed.len() >= 3 * HOLDERS);
            }
            Ok(Success::Chunks(chunks)) => {
                assert!(chunks.iter().any(Option::is_some) && chunks.len() == world.chunks.len());
                let fits = |(came, own): (&Option<Vec<u8>>, &Vec<u8>)| came.as_ref().is_none_or(|came| came == own);
                assert!(chunks.iter().zip(&world.chunks).all(fits));
            }
            Ok(Success::ChunksStored { copies_min }) => {
                assert_eq!(copies_min, CHUNK_HOLDERS * CHUNK_LOCATIONS);
                assert!(self.copies().iter().flatten().all(|copies| *copies >= CHUNK_HOLDERS));
            }
            Ok(Success::ChunksSeen(seen)) => {
                assert_eq!(seen.len(), world.chunks.len());
                for (seen, copies) in seen.iter().zip(self.copies()) {
                    assert!(seen.until.len() <= copies[0]);
                    let can_be = |end: &Expiry| end.time() > ISSUED && end.time().0 <= ISSUED.0 + EXPIRY_MAX_S;
                    assert!(seen.until.iter().all(can_be));
                }
            }
            Err(Refused::Partly { copies, asked }) => {
                assert!(copies > 0 && copies <= self.signed.len() && copies < asked);
            }
            Err(Refused::Older { seq }) => assert!(seq < self.seq_min),
            Err(_) => (),
        }
    }

    /// Who signed for each chunk, at each of its locations.
    fn copies(&self) -> Vec<Vec<usize>> {
        let at = |location: Location| self.signed.iter().filter(|(of, _)| *of == location).count();
        let indices = || 0..u8::try_from(CHUNK_LOCATIONS).expect("few");
        let of = |chunk: &Vec<u8>| {
            let hash = blake3(&[chunk]);
            indices().map(|index| at(ChunkName { hash, index }.location())).collect()
        };
        world().chunks.iter().map(of).collect()
    }

    fn note(&mut self, attempt: &Attempt, bytes: &[u8]) {
        let (kind, verdict, len, locations) = match &attempt.request {
            ExitRequest::Put { record, .. } => {
                let location = signed_location(&record.fields().expect("of its length").key);
                (ValueKind::Signed, Verdict::Stored, ANSWER_LEN, vec![location])
            }
            ExitRequest::PutChunks { chunks, .. } => {
                let locations = chunks.iter().map(|(name, _)| name.location()).collect();
                (ValueKind::Hashed, Verdict::Stored, CIRCUIT_DATA_LEN_MAX, locations)
            }
            ExitRequest::Look { chunks, .. } => {
                let locations = chunks.iter().map(ChunkName::location).collect();
                (ValueKind::Hashed, Verdict::Present, LOOK_SLOT_LEN, locations)
            }
            ExitRequest::Find { .. } | ExitRequest::FetchChunks { .. } => return,
        };
        for (part, location) in bytes.chunks(len).zip(locations) {
            let statements = ExitAnswer::decode(part, kind).map(|answer| answer.statements).unwrap_or_default();
            let counted = statements.iter().filter(|said| said.verdict == verdict);
            self.signed.extend(counted.map(|said| (location, said.signer.0)));
        }
    }
}

fn start(script: &mut Script<'_>) -> Play {
    let (world, mut rng, kind) = (world(), ChaCha20Rng::seed_from_u64(2), script.byte());
    let seq_min = u64::from(script.byte() % 4);
    let context = &mut Context {
        network: &network(),
        members: &world.members,
        is_whole: true,
        stagger: Duration::ZERO,
        rng: &mut rng,
    };
    let hashes = || world.chunks.iter().map(|chunk| blake3(&[chunk])).collect::<Vec<_>>();
    let request = match kind % 5 {
        0 => {
            let consistency =
                script.pick(&[Consistency::One, Consistency::Quorum, Consistency::All, Consistency::Audit]);
            let get =
                RecordGet::new(world.locator.places(), consistency, seq_min, Instant::ZERO, OPERATION_TIMEOUT, context);
            Request::RecordGet(Box::new(get))
        }
        1 => {
            let records = world.locator.places().into_iter().zip(world.records[0].clone()).collect();
            Request::RecordPut(Box::new(RecordPut::new(records, Some(0), Instant::ZERO, OPERATION_TIMEOUT, context)))
        }
        2 => Request::ChunkGet(Box::new(ChunkGet::new(hashes(), Instant::ZERO, OPERATION_TIMEOUT, context))),
        3 => {
            let sealed = |bytes: &Vec<u8>| SealedChunk { hash: blake3(&[bytes]), bytes: bytes.clone() };
            let chunks = world.chunks.iter().map(sealed).collect();
            Request::ChunkPut(Box::new(ChunkPut::new(chunks, ends(), Instant::ZERO, OPERATION_TIMEOUT, context)))
        }
        _ => Request::ChunkLook(Box::new(ChunkLook::new(hashes(), Instant::ZERO, OPERATION_TIMEOUT, context))),
    };
    Play { request, rng, open: Vec::new(), asked: 0, signed: BTreeSet::new(), seq_min, ended: false }
}

/// Checks one input. With `fault`, as it would be where a value as old as the one before is too old.
pub fn check(data: &[u8], fault: bool) {
    let mut script = Script::new(data);
    let (mut play, mut now) = (start(&mut script), Now { instant: Instant::ZERO, unix: ISSUED });
    play.drain(fault);
    for number in 0..STEPS_MAX {
        if script.is_over() || play.open.is_empty() {
            break;
        }
        let (at, op) = (script.below(play.open.len()), script.byte());
        now.instant = now.instant + Duration::from_millis(20) * u32::from(op & 15);
        let attempt = play.open.swap_remove(at);
        if op & 0x10 == 0 {
            play.handle(now, RequestInput::Building { id: attempt.id });
        }
        let exit = identity(2_000 + u32::try_from(number).expect("small")).public();
        let result = if op & 0xc0 == 0xc0 {
            let why = script.pick(&[Failure::TimedOut, Failure::Destroyed, Failure::Forged, Failure::NotReached]);
            AttemptResult::Failed { exit: Some(exit), why }
        } else {
            let bytes = answer(&mut script, &attempt);
            play.note(&attempt, &bytes);
            AttemptResult::Answered { exit, bytes }
        };
        if op & 0x20 != 0 && script.byte() & 3 == 3 {
            // A circuit that nobody asked for.
            play.handle(now, RequestInput::Attempted { id: attempt.id + 40, result: result.clone() });
        }
        play.handle(now, RequestInput::Attempted { id: attempt.id, result: result.clone() });
        // It has ended: its number means nothing any more.
        play.handle(now, RequestInput::Attempted { id: attempt.id, result });
        play.drain(fault);
    }
    now.instant = now.instant.max(Instant::ZERO + OPERATION_TIMEOUT);
    play.handle(now, RequestInput::Timeout);
    play.drain(fault);
    assert!(play.ended);
}
