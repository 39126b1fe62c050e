//! What an exit asks of whom, told answer by answer.

use proptest::prelude::*;

use super::*;
use crate::crypto::hash::blake3;
use crate::limits::EXIT_TIMEOUT;
use crate::membership::fixture::{ISSUED, network, relay, secret};
use crate::wire::record::{ChunkBytes, Expiry};
use crate::wire::statement::{Operation, Question, Saying};

fn chunk() -> Box<VerifiedValue> {
    let (bytes, expiry) = (vec![7; 100], Expiry::at_least(crate::time::UnixTime(ISSUED.0 + 3_600)));
    let chunk = ChunkBytes { hash: blake3(&[&bytes]), index: 0, expiry, bytes };
    Box::new(VerifiedValue::check(&network(), Value::Hashed(chunk), ISSUED).unwrap())
}

#[test]
fn a_chunk_is_stored_in_time_although_some_of_the_closest_are_never_heard_of() {
    let (value, nonce) = (chunk(), Nonce([1; 16]));
    let location = value.location();
    let mut near: Vec<u32> = (0..20).collect();
    near.sort_by_key(|number| relay(*number).id().distance(&location));
    let start = near.iter().map(|number| Contact::from(&relay(*number))).collect();
    let purpose = Purpose::Put { value, expected: None, payment: None };
    let times = (Instant::ZERO, Instant::ZERO + EXIT_TIMEOUT);
    let mut errand =
        Errand::new(location, ValueKind::Hashed, nonce, purpose, start, PrefixRule::RelaxedForOneHost, times);
    let question = Question { nonce, operation: Operation::Find, location };
    let saying = Saying { verdict: Verdict::Absent, seq: 0, digest: [0; 32], relays_estimate: 20 };
    let statement = Statement::sign(&network(), &secret(near[0]), &question, &saying, ISSUED);
    let answer = Answer::Found { statement, contacts: Vec::new(), value: None };
    errand.handle(Instant::ZERO, ErrandInput::Answered { from: relay(near[0]).id(), answer: Box::new(answer) });
    // Those asked in the place of the silent are silent, too.
    let at = |millis| Instant::ZERO + crate::time::Duration::from_millis(millis);
    assert!(stored_at(&mut errand, at(2_000)).is_empty() && stored_at(&mut errand, at(3_999)).is_empty());
    assert_eq!(stored_at(&mut errand, at(4_000)), [relay(near[0]).id()]);
}

// [MSG-W-025]
#[test]
fn a_chunk_is_stored_at_nobody_whom_no_find_asks_although_all_who_are_asked_have_no_room() {
    let (value, nonce) = (chunk(), Nonce([1; 16]));
    let location = value.location();
    let near = nearest(&location);
    let start = near.iter().map(|number| Contact::from(&relay(*number))).collect();
    let purpose = Purpose::Put { value, expected: None, payment: None };
    let (times, rule) = ((at(0), at(8_000)), PrefixRule::RelaxedForOneHost);
    let mut errand = Errand::new(location, ValueKind::Hashed, nonce, purpose, start, rule, times);
    let (mut open, mut stored_at, mut statements) = (VecDeque::new(), Vec::new(), None);
    for _ in 0..100 {
        for output in core::iter::from_fn(|| errand.poll_output()) {
            match output {
                ErrandOutput::Ask { to, ask } => open.push_back((to.id, ask)),
                ErrandOutput::Done(report) => statements = Some(report.statements.len()),
                ErrandOutput::Check { .. } => unreachable!("nobody sent a value"),
            }
        }
        // The farthest answers first: all are heard of before the lookup is over.
        let Some((from, ask)) = open.pop_back() else { break };
        let rank = near.iter().position(|number| relay(*number).id() == from).unwrap();
        let is_store = matches!(ask, Ask::Store { .. });
        // What was handed to an exit is nobody's own.
        assert!(!matches!(ask, Ask::Store { account: Account::Upkeep, .. }));
        let operation = if is_store { Operation::Store } else { Operation::Find };
        let verdict = if is_store { Verdict::Full } else { Verdict::Absent };
        let saying = Saying { verdict, seq: 0, digest: [0; 32], relays_estimate: 20 };
        let question = Question { nonce, operation, location };
        let statement = Statement::sign(&network(), &secret(near[rank]), &question, &saying, ISSUED);
        let answer = if is_store {
            stored_at.push(rank);
            Answer::Stored { statement }
        } else {
            Answer::Found { statement, contacts: Vec::new(), value: None }
        };
        errand.handle(at(10), ErrandInput::Answered { from, answer: Box::new(answer) });
    }
    let reach = ValueKind::Hashed.reach();
    stored_at.sort_unstable();
    assert_eq!((stored_at, statements), ((0..reach).collect(), Some(reach)));
}

/// With whom the errand wants to store at this time.
fn stored_at(errand: &mut Errand, now: Instant) -> Vec<Id> {
    errand.handle(now, ErrandInput::Timeout);
    let outputs = core::iter::from_fn(|| errand.poll_output());
    let stores = outputs.filter_map(|output| match output {
        ErrandOutput::Ask { to, ask: Ask::Store { .. } } => Some(to.id),
        _ => None,
    });
    stores.collect()
}

#[test]
fn a_chunk_takes_the_word_of_as_many_as_look_after_it_and_a_record_of_all() {
    let find = Purpose::Find { digest: None };
    assert_eq!(breadth_of(ValueKind::Hashed, &find), Breadth { at_once: 4, closest: 4 });
    let put = Purpose::Put { value: chunk(), expected: None, payment: None };
    assert_eq!(breadth_of(ValueKind::Hashed, &put), Breadth { at_once: SIGNERS, closest: 4 });
    assert_eq!(breadth_of(ValueKind::Signed, &find), Breadth::SIGNERS);
}

/// An errand for the chunk, and the nodes nearest to it.
struct Finding {
    errand: Errand,
    near: Vec<u32>,
    value: Box<VerifiedValue>,
}

impl Finding {
    fn new(nonce: Nonce) -> Self {
        let value = chunk();
        let location = value.location();
        let near = nearest(&location);
        let start = near.iter().map(|number| Contact::from(&relay(*number))).collect();
        let purpose = Purpose::Find { digest: Some(value.digest()) };
        let times = (Instant::ZERO, Instant::ZERO + EXIT_TIMEOUT);
        let rule = PrefixRule::RelaxedForOneHost;
        Self { errand: Errand::new(location, ValueKind::Hashed, nonce, purpose, start, rule, times), near, value }
    }

    /// Whom it asks now: how near each is, whether for the value, and whether the value must come.
    fn asked(&mut self) -> Vec<(usize, bool, bool)> {
        let outputs: Vec<ErrandOutput> = core::iter::from_fn(|| self.errand.poll_output()).collect();
        let asked = outputs.into_iter().filter_map(|output| match output {
            ErrandOutput::Ask { to, ask: Ask::Find { nonce, want_value, .. } } => {
                let rank = self.near.iter().position(|number| relay(*number).id() == to.id).unwrap();
                Some((rank, want_value, !nonce.may_be_passed_on()))
            }
            _ => None,
        });
        asked.collect()
    }

    fn says(&mut self, now: Instant, rank: usize, has: bool, sends: bool) {
        let question = Question { nonce: Nonce([1; 16]), operation: Operation::Find, location: self.value.location() };
        let (verdict, digest) = if has { (Verdict::Present, self.value.digest()) } else { (Verdict::Absent, [0; 32]) };
        let saying = Saying { verdict, seq: u64::from(has), digest, relays_estimate: 20 };
        let statement = Statement::sign(&network(), &secret(self.near[rank]), &question, &saying, ISSUED);
        let value = sends.then(|| self.value.value().clone());
        let answer = Box::new(Answer::Found { statement, contacts: Vec::new(), value });
        let from = relay(self.near[rank]).id();
        self.errand.handle(now, ErrandInput::Answered { from, answer });
        if sends {
            self.errand.handle(now, ErrandInput::Checked { from, value: Some(self.value.clone()) });
        }
    }
}

fn nearest(location: &Location) -> Vec<u32> {
    let mut near: Vec<u32> = (0..20).collect();
    near.sort_by_key(|number| relay(*number).id().distance(location));
    near
}

fn nonce(number: u8) -> Nonce {
    Nonce(*blake3(&[&[number]]).first_chunk().unwrap())
}

fn at(millis: u64) -> Instant {
    Instant::ZERO + crate::time::Duration::from_millis(millis)
}

#[test]
fn the_one_that_is_asked_for_the_value_at_once_is_drawn_among_those_that_keep_it() {
    for kind in [ValueKind::Signed, ValueKind::Hashed] {
        let location = chunk().location();
        let mut times = BTreeMap::<usize, usize>::new();
        for number in 0..250 {
            let near = nearest(&location);
            let start = near.iter().map(|number| Contact::from(&relay(*number))).collect();
            let (purpose, until) = (Purpose::Find { digest: None }, (at(0), at(8_000)));
            let rule = PrefixRule::RelaxedForOneHost;
            let errand = Errand::new(location, kind, nonce(number), purpose, start, rule, until);
            let mut finding = Finding { errand, near, value: chunk() };
            let asked = finding.asked();
            assert_eq!(asked.len(), breadth_of(kind, &Purpose::Find { digest: None }).at_once);
            let of_value: Vec<usize> = asked.iter().filter(|(_, wants, _)| *wants).map(|(rank, ..)| *rank).collect();
            assert_eq!(of_value.len(), 1);
            *times.entry(of_value[0]).or_default() += 1;
        }
        let fair = 250 / kind.holders();
        assert_eq!(times.len(), kind.holders());
        assert!(times.values().all(|times| times.abs_diff(fair) < fair / 2), "{times:?}");
    }
}

#[test]
fn nobody_else_is_asked_for_a_chunk_that_is_under_way_before_patience_ends() {
    let mut finding = Finding::new(nonce(0));
    let drawn = finding.asked().iter().find(|(_, wants, _)| *wants).unwrap().0;
    let other = 1 - drawn;
    finding.says(at(100), other, true, false);
    finding.says(at(110), 2, true, false);
    assert_eq!(finding.asked(), []);
    assert_eq!(finding.errand.poll_timeout(), Some(Instant::ZERO + FETCH_PATIENCE));
    finding.errand.handle(Instant::ZERO + FETCH_PATIENCE, ErrandInput::Timeout);
    let second = finding.asked();
    assert!(matches!(second[..], [(1 | 2, true, true) | (0, true, true)]) && second[0].0 != drawn, "{second:?}");
    let soon = Instant::ZERO + FETCH_PATIENCE + FETCH_PATIENCE / 2;
    finding.errand.handle(soon, ErrandInput::Timeout);
    assert_eq!(finding.asked(), [], "nor a third before it had its time");
    // Who says that it cannot is not waited for.
    let failed = relay(finding.near[second[0].0]).id();
    finding.errand.handle(soon, ErrandInput::Failed { from: failed });
    assert_eq!(finding.asked(), []);
    finding.errand.handle(soon, ErrandInput::Failed { from: relay(finding.near[drawn]).id() });
    assert_eq!(finding.asked().iter().filter(|(_, wants, _)| *wants).count(), 1);
}

#[test]
fn who_leaves_a_chunk_to_others_is_followed_by_one_beyond_the_holders_and_asked_again_last() {
    let mut finding = Finding::new(nonce(0));
    let drawn = finding.asked().iter().find(|(_, wants, _)| *wants).unwrap().0;
    finding.says(at(100), 1 - drawn, true, false);
    finding.says(at(110), 3, true, false);
    finding.says(at(120), drawn, true, false);
    assert_eq!(finding.asked(), [(3, true, true)]);
    finding.errand.handle(at(200), ErrandInput::Failed { from: relay(finding.near[3]).id() });
    assert_eq!(finding.asked(), [(1 - drawn, true, true)]);
    finding.errand.handle(at(210), ErrandInput::Failed { from: relay(finding.near[1 - drawn]).id() });
    assert_eq!(finding.asked(), [], "one has not said yet what it has");
    finding.says(at(300), 2, false, false);
    assert_eq!(finding.asked(), [(drawn, true, true)]);
    finding.says(at(400), drawn, true, true);
    let done = core::iter::from_fn(|| finding.errand.poll_output()).last();
    assert!(matches!(done, Some(ErrandOutput::Done(Report { value: Some(_), .. }))));
}

#[test]
fn who_had_to_send_a_chunk_and_did_not_has_left_it_to_nobody_and_is_not_asked_again() {
    let mut finding = Finding::new(nonce(0).insisting());
    let drawn = finding.asked().iter().find(|(_, wants, _)| *wants).unwrap().0;
    for rank in [1 - drawn, 3, drawn] {
        finding.says(at(100), rank, true, false);
    }
    let mut asked = Vec::new();
    for rank in 0..2 {
        let [(next, true, true)] = finding.asked()[..] else { panic!("one is asked for it") };
        asked.push(next);
        finding.errand.handle(at(200 + rank), ErrandInput::Failed { from: relay(finding.near[next]).id() });
    }
    asked.sort_unstable();
    assert_eq!(asked, [1 - drawn, 3]);
    finding.says(at(300), 2, false, false);
    let outputs: Vec<ErrandOutput> = core::iter::from_fn(|| finding.errand.poll_output()).collect();
    assert!(matches!(outputs[..], [ErrandOutput::Done(Report { value: None, .. })]), "{outputs:?}");
}

proptest! {
    #[test]
    fn a_chunk_that_somebody_sends_when_it_must_is_found_whoever_else_leaves_it_to_others(
        number in any::<u8>(),
        has in proptest::array::uniform4(any::<bool>()),
        passes in proptest::array::uniform4(any::<bool>()),
        fails in proptest::array::uniform4(any::<bool>()),
        picks in proptest::collection::vec(any::<usize>(), 64),
    ) {
        let mut finding = Finding::new(nonce(number));
        let (mut open, mut found, mut time) = (finding.asked(), None, 0);
        let mut most = 0;
        for pick in picks {
            if open.is_empty() {
                break;
            }
            time += 10;
            most = most.max(open.iter().filter(|(_, wants, _)| *wants).count());
            let (rank, wants, insists) = open.swap_remove(pick % open.len());
            if rank >= 4 || fails[rank] {
                finding.errand.handle(at(time), ErrandInput::Failed { from: relay(finding.near[rank]).id() });
            } else {
                finding.says(at(time), rank, has[rank], wants && has[rank] && (insists || !passes[rank]));
            }
            for output in core::iter::from_fn(|| finding.errand.poll_output()) {
                match output {
                    ErrandOutput::Ask { to, ask: Ask::Find { nonce, want_value, .. } } => {
                        let rank = finding.near.iter().position(|number| relay(*number).id() == to.id).unwrap();
                        open.push((rank, want_value, !nonce.may_be_passed_on()));
                    }
                    ErrandOutput::Done(report) => found = Some(report.value.is_some()),
                    _ => (),
                }
            }
        }
        let there = (0..4).any(|rank| has[rank] && !fails[rank]);
        prop_assert_eq!(found, Some(there));
        prop_assert!(most <= ALPHA);
    }
}
