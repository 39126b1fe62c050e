//! Requests to an exit, and its answers.

use bauta::time::UnixTime;
use bauta::wire::onion::{ExitAnswer, ExitRequest};
use bauta::wire::payment::Payment;
use bauta::wire::record::{ChunkName, Expiry};
use bauta::wire::statement::{Nonce, Operation, Verdict};

use super::wire::{
    LOCATION, SHORT, TRAILING, VALUE, chunk, named, payment, payment_field, raw_statement, record, refused, said,
    shown_field, statement, with,
};
use super::{Field, Fields, NOW, VectorFile, bytes, descriptor, made, text};

pub(super) fn files() -> Vec<VectorFile> {
    vec![exit_requests(), exit_answers()]
}

fn fields_of_request(request: &ExitRequest) -> Fields {
    let chunk = |(name, len): (&ChunkName, Option<u32>)| {
        let mut fields = vec![("hash", bytes(name.hash)), ("index", u64::from(name.index).into())];
        fields.extend(len.map(|len| ("length", u64::from(len).into())));
        Field::Object(fields)
    };
    match request {
        ExitRequest::Find { location, nonce } => vec![("location", bytes(location.0)), ("nonce", bytes(nonce.0))],
        ExitRequest::Put { nonce, expected, record, payment } => {
            let mut fields = vec![
                ("nonce", bytes(nonce.0)),
                ("expected", expected.map_or(Field::None, Field::Number)),
                ("record", bytes(&record.0[..])),
            ];
            fields.extend(payment.as_ref().map(|payment| ("payment", payment_field(payment))));
            fields
        }
        ExitRequest::FetchChunks { nonce, chunks } | ExitRequest::Look { nonce, chunks } => vec![
            ("nonce", bytes(nonce.0)),
            ("chunks", Field::List(chunks.iter().map(|name| chunk((name, None))).collect())),
        ],
        ExitRequest::PutChunks { nonce, expiry, chunks, payments } => {
            let mut fields = vec![
                ("nonce", bytes(nonce.0)),
                ("expiry", expiry.time().0.into()),
                ("chunks", Field::List(chunks.iter().map(|(name, len)| chunk((name, Some(*len)))).collect())),
            ];
            if !payments.is_empty() {
                let shown = |one: &Option<Payment>| one.as_ref().map_or(Field::Object(vec![]), payment_field);
                fields.push(("payments", Field::List(payments.iter().map(shown).collect())));
            }
            fields
        }
    }
}

fn names() -> Vec<ChunkName> {
    (0..4).map(|at| ChunkName { hash: made(&format!("chunk {at}")), index: at % 2 }).collect()
}

fn exit_requests() -> VectorFile {
    let nonce = Nonce(made("nonce"));
    let case =
        |name: &str, request: &ExitRequest| named("request", name, fields_of_request(request), &request.encode());
    let sized: Vec<_> = names().into_iter().map(|name| (name, 65_552)).collect();
    let put = |expected, payment| ExitRequest::Put { nonce, expected, record: record(), payment };
    let expiry = Expiry::at_least(UnixTime(NOW.0 + 86_400));
    let store = |payments| ExitRequest::PutChunks { nonce, expiry, chunks: sized.clone(), payments };
    let fetch = |count: u8| {
        let names: Vec<u8> = (0..count).flat_map(|name| [[name; 32].to_vec(), vec![0]].concat()).collect();
        [&[3][..], &[0; 16], &[0, count], &names].concat()
    };
    let last_location = ChunkName { hash: made("chunk"), index: 2 };
    let ends = vec![(last_location, 1), (names()[0], 65_568)];
    let ends = ExitRequest::PutChunks { nonce, expiry, chunks: ends, payments: vec![] };
    let too_long = [&[4][..], &[0; 16], &[0, 0, 9], &[0, 1], &[9; 32], &[0], &65_569_u32.to_be_bytes()].concat();
    let twice = [&[3][..], &[0; 16], &[0, 2], &[9; 32], &[0], &[9; 32], &[0]].concat();
    VectorFile {
        name: "exit_requests",
        description: "Every request to an exit. The record is record 0 of records.",
        spec: &["requests.md §2"],
        cases: vec![
            case("find", &ExitRequest::Find { location: LOCATION, nonce }),
            case("put", &put(None, None)),
            case("put expecting nothing", &put(Some(0), None)),
            case("put, paid", &put(Some(0), Some(payment(2)))),
            case("fetch", &ExitRequest::FetchChunks { nonce, chunks: names() }),
            case("store", &store(vec![])),
            case("store, paid", &store(vec![Some(payment(1)), None, Some(payment(3)), None])),
            case("store of the shortest and the longest", &ends),
            case("look", &ExitRequest::Look { nonce, chunks: names() }),
            case("look at the last location", &ExitRequest::Look { nonce, chunks: vec![last_location] }),
        ],
        invalid: vec![
            refused("empty", [], SHORT),
            refused("kind 8", [8], VALUE),
            refused("put, effort 4", with(&put(None, Some(payment(2))).encode(), 1, &[4]), VALUE),
            refused("put, effort 0", with(&put(None, Some(payment(2))).encode(), 1, &[0]), VALUE),
            refused("store, paid with nothing", store(vec![None; 4]).encode(), VALUE),
            refused("find, a byte behind", [&[1][..], &[0; 37]].concat(), TRAILING),
            refused("put, a number without the flag", [&[2][..], &[0; 16], &[0], &[1; 8], &[0; 1_173]].concat(), VALUE),
            refused("fetch of nothing", [&[3][..], &[0; 16], &[0, 0]].concat(), VALUE),
            refused("fetch of five", fetch(5), VALUE),
            refused("fetch from location 3", with(&fetch(1), 51, &[3]), VALUE),
            refused("store, length 65,569", too_long, VALUE),
            refused("fetch of one twice", twice.clone(), VALUE),
            refused("look for one twice", with(&twice, 0, &[5]), VALUE),
            refused(
                "store, length 0",
                [&[4][..], &[0; 16], &[0, 0, 9], &[0, 1], &[9; 32], &[0], &[0; 4]].concat(),
                VALUE,
            ),
        ],
    }
}

fn exit_answers() -> VectorFile {
    let case = |name: &str, kind: &str, answer: &ExitAnswer, len: usize| {
        vec![
            ("answer", text(name)),
            ("kind", text(kind)),
            ("value", answer.value.as_ref().map_or(Field::None, bytes)),
            ("statements", Field::List(answer.statements.iter().map(|said| bytes(raw_statement(said))).collect())),
            ("descriptors", shown_field(&answer.descriptors)),
            ("length", u64::try_from(len).unwrap().into()),
            ("bytes", bytes(answer.encode(len).unwrap())),
        ]
    };
    let shown = descriptor("relay one", NOW.to_wire(), "192.0.2.7:7000").to_signed();
    let nothing = ExitAnswer::default();
    let found =
        ExitAnswer { value: Some(record().0.to_vec()), statements: vec![said()], descriptors: vec![shown.clone()] };
    let until = chunk();
    let chunk = ExitAnswer { value: Some(chunk().bytes), ..ExitAnswer::default() };
    let receipts = ExitAnswer {
        value: None,
        statements: vec![statement("relay one", Operation::Store, Verdict::Stored, until.expiry.step(), until.hash)],
        descriptors: vec![shown],
    };
    let seen = ExitAnswer {
        statements: vec![statement("relay one", Operation::Find, Verdict::Present, until.expiry.step(), until.hash)],
        ..ExitAnswer::default()
    };
    let refused = |name: &str, kind: &str, raw: &[u8], error: &str| {
        let mut fields = refused(name, raw, error);
        fields.insert(1, ("kind", text(kind)));
        fields
    };
    VectorFile {
        name: "exit_answers",
        description: "Answers of an exit, filled up with zeros to the length of their place.",
        spec: &["requests.md §3"],
        cases: vec![
            case("find, nothing", "signed", &nothing, 3_756),
            case("find, a record", "signed", &found, 3_756),
            case("fetch, a chunk", "hashed", &chunk, 66_572),
            case("store, receipts", "hashed", &receipts, 1_958),
            case("look, one of four", "hashed", &seen, 939),
        ],
        invalid: vec![
            refused("a length without a value", "signed", &[0, 0, 0, 0, 1, 0, 0, 0, 0, 0], VALUE),
            refused("a record of one byte", "signed", &[1, 0, 0, 0, 1, 0, 0, 0, 0, 0], VALUE),
            refused("a chunk too long", "hashed", &[1, 0, 1, 0, 0x21, 0, 0, 0, 0], VALUE),
            refused("nine statements", "signed", &[0, 0, 0, 0, 0, 0, 9], VALUE),
            refused("six descriptors", "signed", &[0, 0, 0, 0, 0, 0, 0, 0, 6], VALUE),
            refused("cut", "signed", &[0, 0, 0, 0, 0, 0], SHORT),
            refused("something behind", "signed", &[0, 0, 0, 0, 0, 0, 0, 0, 0, 1], TRAILING),
        ],
    }
}
