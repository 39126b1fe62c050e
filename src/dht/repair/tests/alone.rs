//! One node alone: what it asks, believes and spends, whatever the others say; each cap is reached.

use core::cell::Cell as Count;
use std::collections::BTreeSet;

use rand::SeedableRng;
use rand::rngs::ChaCha20Rng;

use super::{RELAYS, after, chunk, record, time};
use crate::crypto::hash::blake3;
use crate::dht::repair::*;
use crate::limits::REPAIR_BYTES_BURST;
use crate::membership::fixture::{ISSUED, members_of, network, secret};
use crate::time::UnixTime;
use crate::wire::record::{Expiry, ValueKind};
use crate::wire::statement::{Operation, Question, Saying, Statement, Verdict};

/// A node alone with what it holds, and three others that are asked and say what the test has them say.
pub(super) struct Alone {
    pub(super) repair: Repair,
    pub(super) others: Vec<Contact>,
    rng: ChaCha20Rng,
}

impl Alone {
    pub(super) fn new() -> Self {
        let own = Contact::from(&RELAYS[0]);
        let repair = Repair::new(own.id, RepairTiming::default(), time(Instant::ZERO));
        let others = RELAYS.iter().skip(1).take(3).map(Contact::from).collect();
        Self { repair, others, rng: ChaCha20Rng::seed_from_u64(1) }
    }

    /// What it knows: itself and the three others.
    fn closest(&self) -> impl Fn(&Location, usize) -> Vec<Contact> + use<> {
        let all: Vec<Contact> = core::iter::once(Contact::from(&RELAYS[0])).chain(self.others.clone()).collect();
        move |location, count| {
            let mut all = all.clone();
            all.sort_by_key(|one| one.id.distance(location));
            all.truncate(count);
            all
        }
    }

    /// Is asked for the value there; whether it leaves that to others.
    pub(super) fn is_passed_on(&mut self, at: Instant, place: Place, nonce: &Nonce) -> bool {
        let closest = self.closest();
        let mut around = Surroundings { closest: &closest, rng: &mut self.rng };
        self.repair.is_passed_on(time(at), place, nonce, &mut around)
    }

    pub(super) fn step(&mut self, at: Instant, input: Option<RepairInput>) -> Vec<RepairOutput> {
        let closest = self.closest();
        let mut around = Surroundings { closest: &closest, rng: &mut self.rng };
        if let Some(input) = input {
            self.repair.handle(time(at), input, &mut around);
        }
        self.repair.handle_time(time(at), &mut around);
        let outputs = core::iter::from_fn(|| self.repair.poll_output());
        outputs.filter(|output| !matches!(output, RepairOutput::Watch(_))).collect()
    }

    /// Holds a record and is told of a newcomer; the questions of the check that follows.
    fn begun(&mut self, value: &VerifiedValue) -> (Instant, Vec<RepairOutput>) {
        self.step(Instant::ZERO, Some(RepairInput::Held(Holding::from(value))));
        self.step(Instant::ZERO, Some(RepairInput::Here(self.others[0].id)));
        for second in 1..100 {
            let outputs = self.step(after(second), None);
            if !outputs.is_empty() {
                return (after(second), outputs);
            }
        }
        panic!("nothing was asked");
    }

    fn hears(&mut self, at: Instant, from: usize, place: Place, answer: Answer) -> Vec<RepairOutput> {
        let from = self.others[from].id;
        let check = self.repair.check_no(&spot_of(place)).unwrap_or(0);
        self.step(at, Some(RepairInput::Answered { place, check, from, answer: Box::new(answer) }))
    }
}

pub(super) fn found(claim: Option<(u64, [u8; 32])>, value: Option<Value>) -> Answer {
    let (verdict, (seq, digest)) = claim.map_or((Verdict::Absent, (0, [0; 32])), |claim| (Verdict::Present, claim));
    let question = Question { nonce: Nonce([0; 16]), operation: Operation::Find, location: Id([0; 20]) };
    let saying = Saying { verdict, seq, digest, relays_estimate: 0 };
    let statement = Statement::sign(&network(), &secret(1), &question, &saying, ISSUED);
    Answer::Found { statement, contacts: Vec::new(), value }
}

fn claim(value: &VerifiedValue) -> Option<(u64, [u8; 32])> {
    Some((value.seq(), value.digest()))
}

// [DHT-R-030]
#[test]
fn a_liar_that_claims_something_newer_is_asked_once_and_costs_no_copy() {
    let (mut alone, held, newer) = (Alone::new(), record(1, 5), record(1, 6));
    let place = Holding::from(&held).place;
    let (at, asked) = alone.begun(&held);
    assert_eq!(asked.len(), 3);
    alone.hears(at, 0, place, found(Some((u64::MAX, [9; 32])), None));
    alone.hears(at, 1, place, found(claim(&newer), None));
    let fetch = alone.hears(at, 2, place, found(None, None));
    let wanted = |outputs: &[RepairOutput]| match outputs {
        [RepairOutput::Ask { to, ask: Ask::Find { want_value: true, .. }, .. }] => to.id,
        other => panic!("{other:?}"),
    };
    assert_eq!(wanted(&fetch), alone.others[0].id);
    // It sends something that does not check; the next who claims is asked.
    let check = alone.hears(at, 0, place, found(None, Some(record(2, 9).into_value())));
    assert!(matches!(check[..], [RepairOutput::Check { .. }]));
    let elsewhere = Some(Box::new(record(2, 9)));
    let next = alone.step(at, Some(RepairInput::Checked { place, value: elsewhere }));
    assert_eq!(wanted(&next), alone.others[1].id);
    alone.hears(at, 1, place, found(None, Some(newer.clone().into_value())));
    let good = Some(Box::new(newer.clone()));
    let outputs = alone.step(at, Some(RepairInput::Checked { place, value: good }));
    let [RepairOutput::Keep(kept), RepairOutput::Ask { to, ask: Ask::Store { value, .. }, .. }] = &outputs[..] else {
        panic!("{outputs:?}")
    };
    assert_eq!((**kept == newer, to.id, value), (true, alone.others[2].id, newer.value()));
    assert_eq!(alone.repair.counts().copies_fetched, 1);
}

// [DHT-W-028]
#[test]
fn nobody_who_answers_costs_more_and_more_patience() {
    let (mut alone, held) = (Alone::new(), record(1, 5));
    let (_, asked) = alone.begun(&held);
    assert_eq!(asked.len(), 3);
    let mut asked_at = Vec::new();
    for second in 100..7_200 {
        if !alone.step(after(second), None).is_empty() {
            asked_at.push(second);
        }
    }
    let pauses: Vec<u64> = asked_at.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(pauses.len() < 7 && pauses.is_sorted(), "{pauses:?}");
}

// [DHT-W-033]
#[test]
fn checks_under_way_are_capped_and_all_places_come_to_their_turn() {
    let mut alone = Alone::new();
    let values: Vec<VerifiedValue> = (0..100).map(|number| chunk(number, 50, 4)).collect();
    for value in &values {
        alone.step(Instant::ZERO, Some(RepairInput::Held(Holding::from(value))));
    }
    for other in alone.others.clone() {
        alone.step(Instant::ZERO, Some(RepairInput::Here(other.id)));
    }
    let (mut places, mut most) = (BTreeSet::new(), 0);
    for second in 1..200 {
        for output in alone.step(after(second), None) {
            if let RepairOutput::Ask { place, .. } = output {
                places.insert(place);
            }
        }
        most = most.max(alone.repair.checks.len());
    }
    assert_eq!((most, places.len()), (REPAIR_CHECKS_MAX, 100));
}

// [DHT-W-033]
#[test]
fn after_a_mass_failure_the_budget_paces_the_copies() {
    let mut alone = Alone::new();
    let values: Vec<VerifiedValue> = (0..100).map(|number| chunk(number, 65_000, 4)).collect();
    for value in &values {
        alone.step(Instant::ZERO, Some(RepairInput::Held(Holding::from(value))));
    }
    for other in alone.others.clone() {
        alone.step(Instant::ZERO, Some(RepairInput::Here(other.id)));
    }
    let mut sent = vec![0];
    let mut queue: VecDeque<RepairOutput> = VecDeque::new();
    for second in 1..120 {
        queue.extend(alone.step(after(second), None));
        while let Some(output) = queue.pop_front() {
            let input = match output {
                RepairOutput::Ask { place, check, to, ask: Ask::Find { .. } } => {
                    RepairInput::Answered { place, check, from: to.id, answer: Box::new(found(None, None)) }
                }
                RepairOutput::Ask { place, check, to, .. } => RepairInput::Failed { place, check, from: to.id },
                RepairOutput::Load(place) => {
                    let value = values.iter().find(|value| value.location() == place.1).unwrap().clone();
                    RepairInput::Loaded { place, value: Some(Box::new(value)) }
                }
                other => panic!("{other:?}"),
            };
            queue.extend(alone.step(after(second), Some(input)));
        }
        sent.push(alone.repair.counts().bytes);
    }
    let most = sent.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap();
    let one_check = 2 * 34 * 2_048;
    assert!(most > 1 << 20 && most < REPAIR_BYTES_BURST + 2 * one_check, "{most}");
    assert!(sent[20] < REPAIR_BYTES_BURST + 20 * (1 << 20) + one_check, "{}", sent[20]);
    assert!(sent[119] > 100 * 65_000, "all were sent in the end: {}", sent[119]);
}

#[test]
fn a_member_far_from_all_places_costs_few_looks_at_them() {
    let members = members_of(RELAYS.iter().cloned());
    let own = Contact::from(&RELAYS[0]);
    let mut repair = Repair::new(own.id, RepairTiming::default(), time(Instant::ZERO));
    let (looks, mut rng) = (Count::new(0), ChaCha20Rng::seed_from_u64(1));
    let closest = |location: &Location, count: usize| -> Vec<Contact> {
        looks.set(looks.get() + 1);
        members.closest(location, count, |_| false).into_iter().map(Contact::from).collect()
    };
    for number in 0..1_000 {
        // All places on the side of the keyspace where the first bit is that of this relay.
        let mut location = Id(blake3(&[b"place", &i32::to_be_bytes(number)])[..20].try_into().unwrap());
        location.0[0] = (location.0[0] & 0x7f) | (own.id.0[0] & 0x80);
        let place = (ValueKind::Signed, location);
        let holding = Holding { place, seq: 1, digest: [0; 32], expiry: Expiry::at_least(UnixTime(ISSUED.0 + 99_999)) };
        let mut around = Surroundings { closest: &closest, rng: &mut rng };
        repair.handle(time(Instant::ZERO), RepairInput::Found(holding), &mut around);
    }
    looks.set(0);
    let far = RELAYS.iter().find(|one| one.id().0[0] & 0x80 != own.id.0[0] & 0x80).unwrap().id();
    let mut around = Surroundings { closest: &closest, rng: &mut rng };
    repair.handle(time(Instant::ZERO), RepairInput::Here(far), &mut around);
    repair.handle_time(time(Instant::ZERO), &mut around);
    assert!(repair.passes.is_empty() && looks.get() < 5, "{}", looks.get());
}

// [DHT-W-028]
#[test]
fn a_chunk_that_somebody_stores_again_until_later_is_looked_after_when_it_would_have_been() {
    let (mut alone, held, longer) = (Alone::new(), chunk(1, 500, 4), chunk(1, 500, 5));
    assert_eq!((held.digest(), held.location()), (longer.digest(), longer.location()));
    alone.step(Instant::ZERO, Some(RepairInput::Held(Holding::from(&held))));
    for newcomer in alone.others.clone() {
        alone.step(Instant::ZERO, Some(RepairInput::Here(newcomer.id)));
    }
    alone.step(after(1), None);
    let planned = alone.repair.poll_timeout();
    assert!(planned < Some(after(100)));
    alone.step(after(1), Some(RepairInput::Held(Holding::from(&longer))));
    assert_eq!(alone.repair.poll_timeout(), planned);
    // And where nothing was planned soon, the others learn of it in time.
    let mut alone = Alone::new();
    alone.step(Instant::ZERO, Some(RepairInput::Found(Holding::from(&held))));
    let every = RepairTiming::default().every;
    alone.step(Instant::ZERO, Some(RepairInput::Held(Holding::from(&longer))));
    assert!(alone.repair.poll_timeout() <= Some(Instant::ZERO + every * 5 / 4));
}
