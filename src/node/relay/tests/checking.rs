//! What a relay does as a storer and as an exit with values that do not check.

use super::circuits::{CLIENT, INWARD, NEXT, Played};
use super::*;
use crate::limits::{ANSWER_LEN, EXIT_TIMEOUT};
use crate::onion::Built;
use crate::record::Locator;
use crate::wire::onion::ExitAnswer;
use crate::wire::payment::Payment;
use crate::wire::record::{RecordBytes, ValueKind};
use crate::wire::statement::{Operation, Question, Saying, Statement, Verdict};

fn record() -> RecordBytes {
    let (author, mut rng) = (secret(7), ChaCha20Rng::seed_from_u64(7));
    let numbered = (5, Expiry::at_least(UnixTime(ISSUED.0 + 86_400)));
    let locator = Locator::of_author(&author, b"label").unwrap();
    locator.seal(&network(), &author, 0, numbered, b"payload", &mut rng).unwrap()
}

fn forged() -> RecordBytes {
    let mut record = record();
    record.0[100] ^= 1;
    record
}

/// The data of reply 0 and of the one cell behind it.
fn opened(built: Built, said: &[(LinkId, Cell)]) -> ExitAnswer {
    let said: Vec<&Cell> = said.iter().filter(|(link, _)| *link == CLIENT).map(|(_, cell)| cell).collect();
    assert!(said.iter().all(|cell| cell.circuit() == INWARD));
    let [reply, later] = said[..] else { panic!("{} cells", said.len()) };
    let Ok(Reply0::Exit(mut circuit, mut data)) = built.building.open_reply0(reply.body()) else {
        panic!("the exit's")
    };
    data.extend(circuit.open_backward(later.body()).unwrap());
    assert_eq!(data.len(), ANSWER_LEN);
    ExitAnswer::decode(&data, ValueKind::Signed).unwrap()
}

// [VAL-R-015]
#[test]
fn a_storer_that_is_given_a_forged_value_refuses_without_a_word_of_its_own_and_keeps_nothing() {
    let mut played = Played::new();
    for (record, is_kept) in [(forged(), false), (record(), true)] {
        let store = Ask::Store {
            nonce: Nonce([1; 16]),
            expected: None,
            value: Value::Signed(record),
            account: Account::Anonymous(None),
        };
        let answers = played.asked(NEXT, CircuitId(if is_kept { 2 } else { 1 }), &store);
        match &answers[..] {
            [Answer::Refused] => assert!(!is_kept),
            [Answer::Stored { statement }] => assert!(is_kept && statement.verdict == Verdict::Stored),
            other => panic!("{} answers", other.len()),
        }
        assert_eq!(played.store.len(), usize::from(is_kept));
    }
}

// [VAL-R-016] [REQ-W-009] [DHT-W-020] [DHT-R-021] [DHT-R-041]
#[test]
fn an_exit_passes_on_no_value_that_a_storer_forged_and_stores_none_that_a_client_did() {
    let location = VerifiedValue::check(&network(), Value::Signed(record()), ISSUED).unwrap().location();
    for (record, is_passed_on) in [(forged(), false), (record(), true)] {
        let mut played = Played::new();
        let nonce = Nonce([1; 16]);
        let built = played.packet(&[], &ExitRequest::Find { location, nonce }.encode());
        let mut said = played.build(CLIENT, INWARD, &built);
        let question = Question { nonce, operation: Operation::Find, location };
        let (seq, digest) = (record.fields().unwrap().seq, record.digest());
        let claim = Saying { verdict: Verdict::Present, seq, digest, relays_estimate: 2 };
        let statement = Statement::sign(&network(), &secret(50), &question, &claim, ISSUED);
        assert!(!played.asks.is_empty(), "the other relay is asked");
        while let Some((circuit, ask)) = played.asks.pop() {
            let Ask::Find { location: asked, want_value, .. } = ask else { unreachable!("a find") };
            assert_eq!(asked, location);
            let value = want_value.then(|| Value::Signed(record.clone()));
            let found = Answer::Found { statement: statement.clone(), contacts: Vec::new(), value };
            for cell in cells_of(circuit, Command::Answer, &found.encode()).unwrap() {
                said.extend(played.cell(NEXT, cell));
            }
        }
        played.now.instant = played.now.instant + EXIT_TIMEOUT;
        said.extend(played.take(Input::Timeout));
        let answer = opened(built, &said);
        assert_eq!(answer.value.is_some(), is_passed_on);
        let stands = answer.statements.iter().any(|one| one.signer == relay(50).key);
        assert_eq!(stands, is_passed_on, "who forges has said nothing");
        assert!(played.store.is_empty(), "an exit keeps nothing of what it finds");
    }
    let falsely_paid = {
        let payment = Payment { effort: 1, hour: Payment::hour_at(ISSUED), counter: 0 };
        let puzzle = payment.puzzle(&network(), location, record().digest());
        Payment { counter: (0..).find(|counter| !puzzle.is_solved_by(*counter)).unwrap(), ..payment }
    };
    for (record, payment) in [(forged(), None), (record(), Some(falsely_paid))] {
        let mut played = Played::new();
        let request = ExitRequest::Put { nonce: Nonce([1; 16]), expected: None, record, payment };
        let built = played.packet(&[], &request.encode());
        let said = played.build(CLIENT, INWARD, &built);
        assert!(played.asks.is_empty(), "nobody is bothered with it");
        assert_eq!(opened(built, &said), ExitAnswer::default());
    }
}

// [DHT-W-006]
#[test]
fn an_exit_dials_members_where_they_say_themselves_and_nobody_whom_it_knows_by_hearsay_alone() {
    let mut played = Played::new();
    played.relay.on_descriptors(played.now, vec![relay(60)]);
    let (location, nonce) = (crate::keyspace::Id([7; 20]), Nonce([1; 16]));
    let built = played.packet(&[], &ExitRequest::Find { location, nonce }.encode());
    played.build(CLIENT, INWARD, &built);
    let victim = relay(61).address;
    let contacts = vec![Contact::from(&relay(99)), Contact { address: victim, ..Contact::from(&relay(60)) }];
    let question = Question { nonce, operation: Operation::Find, location };
    let claim = Saying { verdict: Verdict::Absent, seq: 0, digest: [0; 32], relays_estimate: 2 };
    let statement = Statement::sign(&network(), &secret(50), &question, &claim, ISSUED);
    let answer = Answer::Found { statement, contacts, value: None }.encode();
    for (circuit, _) in core::mem::take(&mut played.asks) {
        for cell in cells_of(circuit, Command::Answer, &answer).unwrap() {
            played.cell(NEXT, cell);
        }
    }
    assert!(played.dials.contains(&relay(60).address));
    assert!(!played.dials.contains(&victim) && !played.dials.contains(&relay(99).address));
}

// [REQ-W-011]
#[test]
fn an_exit_to_which_nobody_answers_says_in_time_what_it_has() {
    let mut played = Played::new();
    let location = crate::keyspace::Id([7; 20]);
    let built = played.packet(&[], &ExitRequest::Find { location, nonce: Nonce([1; 16]) }.encode());
    let mut said = played.build(CLIENT, INWARD, &built);
    assert!(said.is_empty() && !played.asks.is_empty(), "it waits for the other one");
    played.now.instant = played.now.instant + EXIT_TIMEOUT;
    said.extend(played.take(Input::Timeout));
    let answer = opened(built, &said);
    let own = played.relay.descriptor().key;
    assert_eq!(answer.statements.iter().map(|one| one.signer).collect::<Vec<_>>(), [own]);
}
