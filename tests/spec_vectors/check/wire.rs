//! Descriptors, hellos, cells, messages, requests, answers, statements: decoded, and encoded to the same bytes.

use bauta::crypto::hash::blake3;
use bauta::crypto::keys::{DhKey, IdentitySecret, NodeKey};
use bauta::keyspace::Id;
use bauta::limits::CELL_LEN;
use bauta::time::UnixTime;
use bauta::wire::address::Address;
use bauta::wire::cell::{Cell, CircuitId, Command};
use bauta::wire::codec::Reader;
use bauta::wire::contact::Contact;
use bauta::wire::descriptor::{Fingerprint, SignedDescriptor};
use bauta::wire::hello::Hello;
use bauta::wire::message::{Answer, Ask, Assembler, cells_of};
use bauta::wire::network::Network;
use bauta::wire::onion::{ExitAnswer, ExitRequest};
use bauta::wire::payment::{Account, Payment};
use bauta::wire::record::{ChunkBytes, ChunkName, Expiry, RecordBytes, Value, ValueKind};
use bauta::wire::statement::{Nonce, Operation, Question, Saying, Statement};

use super::read::Case;
use super::{Refusal, told};
use crate::make;

fn network_of(case: &Case) -> Network {
    let difficulty = if case.has("difficulty") { case.byte("difficulty") } else { 0 };
    Network { id: case.array("network_id"), difficulty }
}

pub(super) fn descriptor(case: &Case) {
    let raw = case.bytes("bytes");
    let mut reader = Reader::new(&raw);
    let signed = SignedDescriptor::decode(&mut reader).unwrap();
    reader.finish().unwrap();
    let network = network_of(case);
    super::assert_life(case, |now| signed.clone().verify(&network, UnixTime(now)).is_ok());
    let one = signed.verify(&network, UnixTime(case.number("now"))).unwrap();
    assert_eq!(one.key.0, case.array("key"));
    assert_eq!((one.solution.y, u64::from(one.solution.counter)), (case.array("y"), case.number("counter")));
    assert_eq!((one.link_key.0, one.onion_key.0), (case.array("link_key"), case.array("onion_key")));
    assert_eq!(one.address.0, case.text("address").parse().unwrap());
    assert_eq!((one.family, u64::from(one.effort)), (case.array("family"), case.number("effort")));
    assert_eq!(vec![u64::from(one.versions.0), u64::from(one.versions.1)], case.numbers("versions"));
    assert_eq!(u64::from(one.onion_epoch), case.number("onion_epoch"));
    assert_eq!(u64::from(one.issued), case.number("issued"));
    assert_eq!((one.onion_hint(), one.id().0), (case.byte("hint"), case.array("node_id")));
    let (digest, salt) = (blake3(&[b"bauta/1 held", &raw]), u64::from_be_bytes(case.array("salt")));
    let digest = u128::from(u64::from_be_bytes(digest[..8].try_into().unwrap()));
    let product = (digest * u128::from(salt | 1)).to_be_bytes();
    assert_eq!((&product[8..11], one.fingerprint(salt).0), (&case.bytes("fingerprint")[..], case.array("fingerprint")));
    let secret = IdentitySecret::from_bytes(&case.array("seed"));
    assert_eq!(one.sign(&network, &secret).as_bytes()[..], raw);
}

pub(super) fn refused_descriptor(case: &Case) -> Refusal {
    match SignedDescriptor::decode(&mut Reader::new(&case.bytes("bytes"))) {
        Err(malformed) => told("Malformed", malformed),
        Ok(signed) => {
            let difficulty = if case.has("difficulty") { case.byte("difficulty") } else { 0 };
            let network = Network { difficulty, ..make::network() };
            let refused = signed.verify(&network, UnixTime(case.number("now"))).unwrap_err();
            told("DescriptorRefused", refused)
        }
    }
}

pub(super) fn hello(case: &Case) {
    let raw = case.bytes("bytes");
    let hello = Hello::decode(&raw).unwrap();
    assert_eq!(vec![u64::from(hello.versions.0), u64::from(hello.versions.1)], case.numbers("versions"));
    let shown = case.has("descriptor").then(|| case.bytes("descriptor"));
    assert_eq!(hello.descriptor.as_ref().map(|shown| shown.as_bytes().to_vec()), shown);
    assert_eq!(hello.encode(), raw);
    assert_eq!(Hello::decode(&[&raw[..], &[0; 100]].concat()), Ok(hello));
}

pub(super) fn refused_hello(case: &Case) -> Refusal {
    told("Malformed", Hello::decode(&case.bytes("bytes")).unwrap_err())
}

pub(super) fn cell(case: &Case) {
    let raw: [u8; CELL_LEN] = case.array("bytes");
    let cell = Cell::decode(&raw).unwrap();
    assert_eq!(format!("{:?}", cell.command()), case.text("command"));
    assert_eq!(u64::from(cell.circuit().0), case.number("circuit"));
    assert_eq!((cell.suite(), cell.hint()), (case.byte("suite"), case.byte("hint")));
    assert_eq!(cell.body(), &case.array("body"));
    if cell.command() == Command::Credit {
        assert_eq!(cell.credit_count(), Ok(32));
    }
    let mut again = [0xff; CELL_LEN];
    cell.encode(&mut again);
    assert_eq!(again, raw);
}

pub(super) fn refused_cell(case: &Case) -> Refusal {
    match Cell::decode(&case.array("bytes")) {
        Err(malformed) => told("Malformed", malformed),
        Ok(credit) => told("Malformed", credit.credit_count().unwrap_err()),
    }
}

/// The question of a case, and its verdict as the bytes say.
pub(super) fn statement(case: &Case) {
    let raw = case.bytes("bytes");
    let mut reader = Reader::new(&raw);
    let said = Statement::decode(&mut reader).unwrap();
    reader.finish().unwrap();
    let operation = if case.text("operation") == "find" { Operation::Find } else { Operation::Store };
    let question = Question { nonce: Nonce(case.array("nonce")), operation, location: Id(case.array("location")) };
    let (network, now) = (network_of(case), UnixTime(case.number("now")));
    assert_eq!(said.verify(&network, &question, now), Ok(()));
    super::assert_life(case, |now| said.verify(&network, &question, UnixTime(now)).is_ok());
    assert_eq!((said.signer.0, said.digest), (case.array("signer"), case.array("digest")));
    assert_eq!((said.seq, said.time.0), (case.number("seq"), case.number("time")));
    assert_eq!(u64::from(said.relays_estimate), case.number("relays_estimate"));
    assert_eq!(raw[36], case.byte("verdict_byte"));
    let spelt: String =
        case.text("verdict").split(' ').flat_map(|word| [word[..1].to_uppercase(), word[1..].to_owned()]).collect();
    assert_eq!(format!("{:?}", said.verdict), spelt);
    let secret = IdentitySecret::from_bytes(&case.array("seed"));
    let Statement { verdict, seq, digest, relays_estimate, .. } = said;
    let saying = Saying { verdict, seq, digest, relays_estimate };
    assert_eq!(Statement::sign(&network, &secret, &question, &saying, now), said);
}

pub(super) fn refused_statement(case: &Case) -> Refusal {
    let question = Question { nonce: Nonce(make::made("nonce")), operation: Operation::Find, location: Id([0x5a; 20]) };
    match Statement::decode(&mut Reader::new(&case.bytes("bytes"))) {
        Err(malformed) => told("Malformed", malformed),
        Ok(said) => told("Forged", said.verify(&make::network(), &question, UnixTime(case.number("now"))).unwrap_err()),
    }
}

fn value(part: &Case) -> Value {
    if part.has("record") {
        return Value::Signed(RecordBytes::new(&part.bytes("record")).unwrap());
    }
    let expiry = Expiry::at_least(UnixTime(part.number("expiry")));
    let (hash, index, bytes) = (part.array("hash"), part.byte("index"), part.bytes("ciphertext"));
    Value::Hashed(ChunkBytes { hash, index, expiry, bytes })
}

fn descriptors(case: &Case) -> Vec<SignedDescriptor> {
    let raw = case.bytes_list("descriptors");
    raw.iter().map(|one| SignedDescriptor::decode(&mut Reader::new(one)).unwrap()).collect()
}

fn statement_of(raw: &[u8]) -> Statement {
    Statement::decode(&mut Reader::new(raw)).unwrap()
}

fn expected(case: &Case) -> Option<u64> {
    case.has("expected").then(|| case.number("expected"))
}

fn payment(case: &Case) -> Option<Payment> {
    case.part("payment").as_ref().and_then(payment_of)
}

/// An object without fields stands for none.
fn payment_of(part: &Case) -> Option<Payment> {
    let number = |name| u32::try_from(part.number(name)).unwrap();
    part.has("effort").then(|| Payment {
        effort: part.byte("effort"),
        hour: number("hour"),
        counter: number("counter"),
    })
}

fn ask(case: &Case) -> Ask {
    let nonce = || Nonce(case.array("nonce"));
    match case.text("ask").split([' ', ',']).next().unwrap() {
        "find" => Ask::Find {
            kind: kind(case.text("value_kind")),
            location: Id(case.array("location")),
            nonce: nonce(),
            want_value: case.flag("want_value"),
        },
        "store" => Ask::Store {
            nonce: nonce(),
            expected: expected(case),
            value: value(&case.part("value").unwrap()),
            account: if case.has("upkeep") { Account::Upkeep } else { Account::Anonymous(payment(case)) },
        },
        "differences" => Ask::Differences {
            after: key(case, "after"),
            until: key(case, "until"),
            salt: u64::from_be_bytes(case.array("salt")),
            held: case.bytes_list("held").into_iter().map(|one| Fingerprint(one.try_into().unwrap())).collect(),
        },
        _ => Ask::Members { after: key(case, "after") },
    }
}

fn key(case: &Case, name: &str) -> Option<NodeKey> {
    case.has(name).then(|| NodeKey(case.array(name)))
}

fn answer(case: &Case) -> Answer {
    let contact = |one: &Case| Contact {
        id: Id(one.array("id")),
        link_key: DhKey(one.array("link_key")),
        address: Address(one.text("address").parse().unwrap()),
    };
    match case.text("answer").split(' ').next().unwrap() {
        "refused" => Answer::Refused,
        "found" => Answer::Found {
            statement: statement_of(&case.bytes("statement")),
            contacts: case.list("contacts").iter().map(contact).collect(),
            value: case.part("value").as_ref().map(value),
        },
        "stored" => Answer::Stored { statement: statement_of(&case.bytes("statement")) },
        _ => Answer::Members { descriptors: descriptors(case), more: case.flag("more"), settled: case.flag("settled") },
    }
}

pub(super) fn message(case: &Case) {
    let raw = case.bytes("bytes");
    if case.has("ask") {
        let ask = ask(case);
        assert_eq!((ask.encode(), Ask::decode(&raw)), (raw, Ok(ask)));
    } else {
        let answer = answer(case);
        assert_eq!((answer.encode(), Answer::decode(&raw)), (raw, Ok(answer)));
    }
}

pub(super) fn refused_message(case: &Case) -> Refusal {
    let raw = case.bytes("bytes");
    match case.text("type") {
        "ask" => told("Malformed", Ask::decode(&raw).unwrap_err()),
        _ => told("Malformed", Answer::decode(&raw).unwrap_err()),
    }
}

pub(super) fn fragments(case: &Case) {
    let (message, bodies) = (case.bytes("message"), case.bytes_list("bodies"));
    let cut = cells_of(CircuitId(1), Command::Answer, &message).unwrap();
    assert_eq!(cut.iter().map(|cell| cell.body().to_vec()).collect::<Vec<_>>(), bodies);
    let mut assembler = Assembler::default();
    let joined: Vec<_> = bodies.iter().map(|body| assembler.push(&body[..].try_into().unwrap()).unwrap()).collect();
    let (last, before) = joined.split_last().unwrap();
    assert_eq!(last.as_ref(), Some(&message));
    assert!(before.iter().all(Option::is_none));
}

pub(super) fn refused_fragment(case: &Case) -> Refusal {
    told("Malformed", Assembler::default().push(&case.array("bytes")).unwrap_err())
}

fn name(part: &Case) -> ChunkName {
    ChunkName { hash: part.array("hash"), index: part.byte("index") }
}

pub(super) fn exit_request(case: &Case) {
    let nonce = Nonce(case.array("nonce"));
    let request = match case.text("request").split([' ', ',']).next().unwrap() {
        "find" => ExitRequest::Find { location: Id(case.array("location")), nonce },
        "put" => {
            let record = RecordBytes::new(&case.bytes("record")).unwrap();
            ExitRequest::Put { nonce, expected: expected(case), record, payment: payment(case) }
        }
        "fetch" => ExitRequest::FetchChunks { nonce, chunks: case.list("chunks").iter().map(name).collect() },
        "look" => ExitRequest::Look { nonce, chunks: case.list("chunks").iter().map(name).collect() },
        _ => {
            let sized = |part: &Case| (name(part), part.number("length").try_into().unwrap());
            let chunks = case.list("chunks").iter().map(sized).collect();
            let expiry = Expiry::at_least(UnixTime(case.number("expiry")));
            let payments = case.list_or_none("payments").iter().map(payment_of).collect();
            ExitRequest::PutChunks { nonce, expiry, chunks, payments }
        }
    };
    let raw = case.bytes("bytes");
    assert_eq!((request.encode(), ExitRequest::decode(&raw)), (raw, Ok(request)));
}

pub(super) fn refused_exit_request(case: &Case) -> Refusal {
    told("Malformed", ExitRequest::decode(&case.bytes("bytes")).unwrap_err())
}

fn kind(word: &str) -> ValueKind {
    if word == "signed" { ValueKind::Signed } else { ValueKind::Hashed }
}

pub(super) fn exit_answer(case: &Case) {
    let raw = case.bytes("bytes");
    assert_eq!(raw.len(), usize::try_from(case.number("length")).unwrap());
    let answer = ExitAnswer {
        value: case.has("value").then(|| case.bytes("value")),
        statements: case.bytes_list("statements").iter().map(|said| statement_of(said)).collect(),
        descriptors: descriptors(case),
    };
    assert_eq!(ExitAnswer::decode(&raw, kind(case.text("kind"))).as_ref(), Ok(&answer));
    assert_eq!(answer.encode(raw.len()), Some(raw));
}

pub(super) fn refused_exit_answer(case: &Case) -> Refusal {
    told("Malformed", ExitAnswer::decode(&case.bytes("bytes"), kind(case.text("kind"))).unwrap_err())
}
