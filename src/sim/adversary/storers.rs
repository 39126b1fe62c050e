//! Lies about values: of storers, and of exits about what storers said. It must not know circuits.

use std::rc::Rc;
use std::sync::Arc;

use super::Ring;
use super::ear::{Answers, Neighbours, Questions};
use crate::crypto::hash::blake3;
use crate::crypto::keys::IdentitySecret;
use crate::dht::store::{MemoryStore, StoreOp, StoreResult};
use crate::node::io::{Input, LinkId, Output};
use crate::sim::world::{Mask, Neighbour};
use crate::time::Now;
use crate::wire::message::{Answer, Ask};
use crate::wire::record::{Value, ValueKind};
use crate::wire::statement::{Operation, Question, Saying, Statement, Verdict};

/// Answers no find and no store.
#[derive(Default)]
pub(super) struct Silent {
    questions: Questions,
    given: Answers,
}

impl Mask for Silent {
    fn part(&mut self, link: LinkId) {
        self.questions.part(link);
    }

    fn say(&mut self, _now: Now, output: Output, said: &mut Vec<Output>) {
        self.given.say(&mut self.questions, output, said, |_, answer| match answer {
            Answer::Found { .. } | Answer::Stored { .. } => None,
            answer => Some(answer),
        });
    }
}

/// Names the ring and contacts that nobody is behind as the closest to every place.
pub(super) struct LieClosest {
    ring: Rc<Ring>,
    questions: Questions,
    given: Answers,
}

impl LieClosest {
    pub(super) fn of(ring: Rc<Ring>) -> Self {
        Self { ring, questions: Questions::default(), given: Answers::default() }
    }
}

impl Mask for LieClosest {
    fn part(&mut self, link: LinkId) {
        self.questions.part(link);
    }

    fn hear(&mut self, _now: Now, input: Input, heard: &mut Vec<Input>) {
        self.questions.note(&input);
        heard.push(input);
    }

    fn say(&mut self, _now: Now, output: Output, said: &mut Vec<Output>) {
        let ring = &self.ring;
        self.given.say(&mut self.questions, output, said, |asked, answer| match (asked, answer) {
            (Some(Ask::Find { location, .. }), Answer::Found { statement, value, .. }) => {
                Some(Answer::Found { statement, contacts: ring.closest(&location), value })
            }
            (_, answer) => Some(answer),
        });
    }
}

/// Has nothing, whatever it holds; what it is given it takes.
pub(super) struct Deny;

impl Mask for Deny {
    fn store(&mut self, now: Now, op: StoreOp, store: &mut MemoryStore) -> StoreResult {
        match op {
            StoreOp::Get { .. } => StoreResult::Value(None),
            op => store.apply(now.unix, op),
        }
    }
}

/// As an exit it does not hear who has a value, but for colluders: as if they had failed.
pub(super) struct Hide {
    ring: Rc<Ring>,
    neighbours: Neighbours,
    taken: Answers,
}

impl Hide {
    pub(super) fn of(ring: Rc<Ring>) -> Self {
        Self { ring, neighbours: Neighbours::default(), taken: Answers::default() }
    }
}

impl Mask for Hide {
    fn meet(&mut self, link: LinkId, neighbour: Neighbour) {
        self.neighbours.meet(link, neighbour);
    }

    fn part(&mut self, link: LinkId) {
        self.neighbours.part(link);
        self.taken.part(link);
    }

    fn hear(&mut self, _now: Now, input: Input, heard: &mut Vec<Input>) {
        let (ring, neighbours) = (&self.ring, &self.neighbours);
        self.taken.hear(input, heard, |link, answer| {
            let is_own = neighbours.at(link).and_then(|one| one.relay).is_some_and(|key| ring.has(&key));
            match &answer {
                Answer::Found { statement, .. } if !is_own && statement.verdict == Verdict::Present => {
                    Some(Answer::Refused)
                }
                _ => Some(answer),
            }
        });
    }
}

/// Keeps the first version for ever, and signs for every later one.
pub(super) struct Stale;

impl Mask for Stale {
    fn store(&mut self, now: Now, op: StoreOp, store: &mut MemoryStore) -> StoreResult {
        if let StoreOp::Put { value, .. } = &op {
            let held = store.apply(now.unix, StoreOp::Get { kind: value.kind(), location: value.location() });
            if matches!(held, StoreResult::Value(Some(_))) {
                return StoreResult::Kept;
            }
        }
        store.apply(now.unix, op)
    }
}

/// Signs that it stores, and keeps nothing; what it had is gone too.
pub(super) struct FalseReceipt;

impl Mask for FalseReceipt {
    fn store(&mut self, now: Now, op: StoreOp, store: &mut MemoryStore) -> StoreResult {
        match op {
            StoreOp::Get { .. } => StoreResult::Value(None),
            StoreOp::Put { .. } => StoreResult::Kept,
            op => store.apply(now.unix, op),
        }
    }
}

/// Flips a bit of every value that it gives out, and as an exit of every one that it hears.
#[derive(Default)]
pub(super) struct Forge {
    questions: Questions,
    given: Answers,
    taken: Answers,
}

impl Mask for Forge {
    fn part(&mut self, link: LinkId) {
        self.questions.part(link);
        self.taken.part(link);
    }

    fn hear(&mut self, _now: Now, input: Input, heard: &mut Vec<Input>) {
        self.taken.hear(input, heard, |_, answer| Some(forged(answer)));
    }

    fn say(&mut self, _now: Now, output: Output, said: &mut Vec<Output>) {
        self.given.say(&mut self.questions, output, said, |_, answer| Some(forged(answer)));
    }
}

fn forged(answer: Answer) -> Answer {
    match answer {
        Answer::Found { statement, contacts, value } => {
            Answer::Found { statement, contacts, value: value.map(flipped) }
        }
        answer => answer,
    }
}

fn flipped(value: Value) -> Value {
    let flip = |byte: Option<&mut u8>| byte.into_iter().for_each(|byte| *byte ^= 1);
    match value {
        Value::Signed(mut record) => {
            // In the middle of the ciphertext.
            flip(record.0.get_mut(500));
            Value::Signed(record)
        }
        Value::Hashed(mut chunk) => {
            flip(chunk.bytes.first_mut());
            Value::Hashed(chunk)
        }
    }
}

/// Signs that it has a version that is newer than any, the same for all colluders, and never gives a value out.
pub(super) struct Withhold {
    ring: Rc<Ring>,
    secret: Arc<IdentitySecret>,
    questions: Questions,
    given: Answers,
}

impl Withhold {
    pub(super) fn of(ring: Rc<Ring>, secret: Arc<IdentitySecret>) -> Self {
        Self { ring, secret, questions: Questions::default(), given: Answers::default() }
    }
}

impl Mask for Withhold {
    fn part(&mut self, link: LinkId) {
        self.questions.part(link);
    }

    fn hear(&mut self, _now: Now, input: Input, heard: &mut Vec<Input>) {
        self.questions.note(&input);
        heard.push(input);
    }

    fn say(&mut self, now: Now, output: Output, said: &mut Vec<Output>) {
        let (ring, secret) = (&self.ring, &self.secret);
        self.given.say(&mut self.questions, output, said, |asked, answer| match (asked, answer) {
            (
                Some(Ask::Find { kind: ValueKind::Signed, location, nonce, .. }),
                Answer::Found { statement, contacts, .. },
            ) => {
                let question = Question { nonce, operation: Operation::Find, location };
                let saying = Saying {
                    verdict: Verdict::Present,
                    seq: u64::MAX,
                    digest: blake3(&[b"bauta sim withheld", &location.0]),
                    relays_estimate: statement.relays_estimate,
                };
                let statement = Statement::sign(&ring.network, secret, &question, &saying, now.unix);
                Some(Answer::Found { statement, contacts, value: None })
            }
            (_, Answer::Found { statement, contacts, .. }) => Some(Answer::Found { statement, contacts, value: None }),
            (_, answer) => Some(answer),
        });
    }
}
