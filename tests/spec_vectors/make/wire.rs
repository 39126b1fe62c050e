//! Descriptors, hellos, cells, messages, statements.

use bauta::crypto::keys::{DhKey, NodeKey};
use bauta::crypto::puzzle::solve;
use bauta::keyspace::Id;
use bauta::limits::{BODY_LEN, CELL_LEN, SEALED_CHUNK_LEN};
use bauta::time::UnixTime;
use bauta::wire::address::Address;
use bauta::wire::cell::{Cell, CircuitId, Command};
use bauta::wire::contact::Contact;
use bauta::wire::descriptor::{Descriptor, Fingerprint, SignedDescriptor, VerifiedDescriptor};
use bauta::wire::hello::Hello;
use bauta::wire::message::{Answer, Ask, cells_of};
use bauta::wire::network::Network;
use bauta::wire::payment::{Account, Payment};
use bauta::wire::record::{ChunkBytes, Expiry, RecordBytes, Value, ValueKind};
use bauta::wire::statement::{Nonce, Operation, Question, Saying, Statement, Verdict};

use super::{Field, Fields, NOW, VectorFile, bytes, descriptor, identity, made, made_vec, network, strict, text};

pub(super) fn files() -> Vec<VectorFile> {
    vec![descriptors(), hellos(), cells(), statements(), messages(), fragments()]
}

pub(super) const SHORT: &str = "message is too short";
pub(super) const TRAILING: &str = "message has trailing bytes";
pub(super) const VALUE: &str = "message has a field out of bounds";

pub(super) fn refused(name: &str, raw: impl AsRef<[u8]>, error: &str) -> Fields {
    vec![("name", text(name)), ("bytes", bytes(raw)), ("error", text(error))]
}

/// The same bytes with some of them replaced.
pub(super) fn with(raw: &[u8], at: usize, new: &[u8]) -> Vec<u8> {
    let mut raw = raw.to_vec();
    raw[at..at + new.len()].copy_from_slice(new);
    raw
}

fn descriptor_fields(one: &VerifiedDescriptor) -> Fields {
    vec![
        ("key", bytes(one.key.0)),
        ("counter", u64::from(one.solution.counter).into()),
        ("y", bytes(one.solution.y)),
        ("link_key", bytes(one.link_key.0)),
        ("onion_epoch", u64::from(one.onion_epoch).into()),
        ("onion_key", bytes(one.onion_key.0)),
        ("address", text(&one.address.0.to_string())),
        ("family", bytes(one.family)),
        ("versions", Field::List(vec![u64::from(one.versions.0).into(), u64::from(one.versions.1).into()])),
        ("issued", u64::from(one.issued).into()),
        ("effort", u64::from(one.effort).into()),
    ]
}

fn descriptors() -> VectorFile {
    let case = |word: &str, difficulty: u8, change: fn(&mut Descriptor)| {
        let (network, identity) = (Network { difficulty, ..network() }, identity(word));
        let mut inner = *descriptor(word, NOW.to_wire() - 0x55, "192.0.2.7:7000");
        inner.solution = solve(&network.id, &inner.key, difficulty, 0, 1_000).unwrap();
        change(&mut inner);
        let signed = inner.sign(&network, &identity);
        let mut fields = vec![
            ("network_id", bytes(network.id)),
            ("difficulty", u64::from(difficulty).into()),
            ("seed", bytes(*identity.to_bytes())),
        ];
        fields.extend(descriptor_fields(&signed));
        fields.extend([
            ("now", NOW.0.into()),
            ("believed_from", u64::from(signed.issued - 600).into()),
            ("believed_to", u64::from(signed.issued + 86_400).into()),
            ("hint", u64::from(signed.onion_hint()).into()),
            ("node_id", bytes(signed.id().0)),
            ("salt", bytes(made::<8>("salt"))),
            ("fingerprint", bytes(signed.fingerprint(u64::from_be_bytes(made("salt"))).0)),
            ("bytes", bytes(signed.as_bytes())),
        ]);
        fields
    };
    let good = descriptor("relay one", NOW.to_wire() - 0x55, "192.0.2.7:7000");
    let good = good.as_bytes();
    let at = |name: &str, raw: Vec<u8>, now: u64, error: &str| {
        let mut fields = refused(name, raw, error);
        fields.insert(2, ("now", now.into()));
        fields
    };
    let mapped = [&[6; 1][..], &[0; 10], &[0xff, 0xff, 192, 0, 2, 7]].concat();
    VectorFile {
        name: "descriptors",
        description: "Descriptors: the fields, the seed that signs, the bytes. Where the network's difficulty is above 0 the address is global.",
        spec: &["membership.md §1", "membership.md §8.1"],
        cases: vec![
            case("relay one", 0, |_| ()),
            case("relay two", 0, |inner| {
                inner.address = Address("[2001:db8::17]:443".parse().unwrap());
                (inner.family, inner.versions, inner.effort) = (*b"a family", (1, 3), 3);
            }),
            case("relay three", 1, |inner| inner.address = Address("20.1.0.1:7000".parse().unwrap())),
            case("relay four", 1, |inner| inner.address = Address("[2600::17]:443".parse().unwrap())),
        ],
        invalid: [
            at("one byte short", good[..233].to_vec(), NOW.0, SHORT),
            at("versions from 0", with(good, 163, &[0]), NOW.0, VALUE),
            at("versions from 2 to 1", with(good, 163, &[2]), NOW.0, VALUE),
            at("effort 4", with(good, 169, &[4]), NOW.0, VALUE),
            at("address of family 5", with(good, 136, &[5]), NOW.0, VALUE),
            at("IPv4 with a byte behind it", with(good, 152, &[1]), NOW.0, VALUE),
            at("IPv4 in IPv6 clothes", with(good, 136, &mapped), NOW.0, VALUE),
            at("port 0", with(good, 153, &[0, 0]), NOW.0, VALUE),
            at("another signature", with(good, 233, &[good[233] ^ 1]), NOW.0, "descriptor: bad signature"),
            at("another onion key", with(good, 104, &[good[104] ^ 1]), NOW.0, "descriptor: bad signature"),
            at("y of another counter", other_y(), NOW.0, "descriptor: identity puzzle not solved"),
            at("older than a day", good.to_vec(), NOW.0 + 86_401, "descriptor: expired"),
            at("of eleven minutes ahead", good.to_vec(), NOW.0 - 660, "descriptor: issued in the future"),
        ]
        .into_iter()
        .chain(addresses_that_are_not_global())
        .collect(),
    }
}

/// Where the difficulty is above 0.
fn addresses_that_are_not_global() -> impl Iterator<Item = Fields> {
    let rows = [
        ("loopback where the difficulty is 1", "127.0.0.1:7000"),
        ("private, 10/8", "10.255.255.255:7000"),
        ("private, 172.16/12", "172.31.255.255:80"),
        ("private, 192.168/16", "192.168.0.1:80"),
        ("shared between customers, 100.64/10", "100.127.255.255:7000"),
        ("link-local, 169.254/16", "169.254.169.254:80"),
        ("of benchmarks, 198.18/15", "198.19.255.255:7000"),
        ("of documentation, 192.0.2/24", "192.0.2.7:7000"),
        ("multicast, 224/4", "239.255.255.250:1900"),
        ("reserved, 240/4", "240.0.0.1:7000"),
        ("unspecified", "0.0.0.0:7000"),
        ("IPv6 unspecified", "[::]:7000"),
        ("IPv6 loopback", "[::1]:7000"),
        ("IPv4-compatible, ::/96", "[::127.0.0.1]:7000"),
        ("translated, 64:ff9b::/96", "[64:ff9b::a00:1]:7000"),
        ("6to4 of a private address", "[2002:c0a8:1::1]:7000"),
        ("Teredo", "[2001::f5ff:fffe]:7000"),
        ("of documentation, 2001:db8::/32", "[2001:db8::17]:7000"),
        ("of documentation, 3fff::/20", "[3fff::17]:7000"),
        ("unique local, fc00::/7", "[fd00::1]:7000"),
        ("link-local, fe80::/10", "[fe80::1]:7000"),
        ("IPv6 multicast", "[ff02::1]:7000"),
    ];
    rows.into_iter().map(|(name, address)| {
        let mut fields = refused(name, elsewhere(address), "descriptor: an address that is not global");
        fields.insert(2, ("now", NOW.0.into()));
        fields.insert(3, ("difficulty", 1.into()));
        fields
    })
}

/// A descriptor of a network of difficulty 1, with another address.
fn elsewhere(address: &str) -> Vec<u8> {
    let mut inner = *descriptor("relay one", NOW.to_wire() - 0x55, address);
    inner.solution = solve(&network().id, &inner.key, 1, 0, 1_000).unwrap();
    inner.sign(&network(), &identity("relay one")).as_bytes().to_vec()
}

/// A descriptor whose key signed a y that its counter does not give.
fn other_y() -> Vec<u8> {
    let mut inner = *descriptor("relay one", NOW.to_wire() - 0x55, "192.0.2.7:7000");
    inner.solution.y[31] ^= 1;
    inner.sign(&network(), &identity("relay one")).as_bytes().to_vec()
}

fn hellos() -> VectorFile {
    let shown = descriptor("relay one", NOW.to_wire(), "192.0.2.7:7000");
    let case = |versions: (u8, u8), shown: Option<&VerifiedDescriptor>| {
        let hello = Hello { versions, descriptor: shown.map(VerifiedDescriptor::to_signed) };
        vec![
            ("versions", Field::List(vec![u64::from(versions.0).into(), u64::from(versions.1).into()])),
            ("descriptor", shown.map_or(Field::None, |shown| bytes(shown.as_bytes()))),
            ("bytes", bytes(hello.encode())),
        ]
    };
    VectorFile {
        name: "hellos",
        description: "What both ends of a link say first, without the zeros behind.",
        spec: &["link.md §3"],
        cases: vec![case((1, 1), None), case((1, 2), Some(&shown))],
        invalid: vec![
            refused("one byte", [1], SHORT),
            refused("versions from 0", [0, 1, 0], VALUE),
            refused("versions from 2 to 1", [2, 1, 0], VALUE),
            refused("a flag of 2", [1, 1, 2], VALUE),
            refused("half a descriptor", [&[1, 1, 1][..], &shown.as_bytes()[..100]].concat(), SHORT),
            refused("something behind the end", [1, 1, 0, 0, 1], TRAILING),
        ],
    }
}

fn encoded(cell: &Cell) -> [u8; CELL_LEN] {
    let mut raw = [0; CELL_LEN];
    cell.encode(&mut raw);
    raw
}

fn cells() -> VectorFile {
    let case = |name: &str, cell: Cell| {
        vec![
            ("command", text(name)),
            ("circuit", u64::from(cell.circuit().0).into()),
            ("suite", u64::from(cell.suite()).into()),
            ("hint", u64::from(cell.hint()).into()),
            ("body", bytes(cell.body())),
            ("bytes", bytes(encoded(&cell))),
        ]
    };
    let other = |name: &str, circuit: u32, command: Command, start: &[u8]| {
        let mut cell = Cell::new(CircuitId(circuit), command);
        cell.body_mut()[..start.len()].copy_from_slice(start);
        case(name, cell)
    };
    let hello = Hello { versions: (1, 1), descriptor: None }.encode();
    let mut body = [0; BODY_LEN];
    body[..4].copy_from_slice(b"body");
    let header = |header: [u8; 8]| [&header[..], &[0; BODY_LEN]].concat();
    VectorFile {
        name: "cells",
        description: "A cell of every command. Bodies of the onion are shortened to a few bytes here.",
        spec: &["cells.md §1", "cells.md §2"],
        cases: vec![
            case("Build", Cell::build(CircuitId(0x8000_0001), 1, 0xc7, body)),
            other("Reply0", 0x8000_0001, Command::Reply0, b"body"),
            other("Forward", 0x7fff_ffff, Command::Forward, b"body"),
            other("Backward", 1, Command::Backward, b"body"),
            other("Destroy", 2, Command::Destroy, b""),
            case("Credit", Cell::credit(CircuitId(3), 32)),
            other("Hello", 0, Command::Hello, &hello),
            other("Padding", 0, Command::Padding, b""),
            other("Ask", 0x8000_0004, Command::Ask, &[0, 0, 0, 2, 3, 0]),
            other("Answer", 0x8000_0004, Command::Answer, &[0, 0, 0, 1, 0]),
        ],
        invalid: vec![
            refused("command 0", header([0, 0, 0, 7, 0, 0, 0, 0]), VALUE),
            refused("command 11", header([0, 0, 0, 7, 11, 0, 0, 0]), VALUE),
            refused("a last header byte", header([0, 0, 0, 7, 3, 0, 0, 1]), VALUE),
            refused("a suite outside Build", header([0, 0, 0, 7, 3, 1, 0, 0]), VALUE),
            refused("a hint outside Build", header([0, 0, 0, 7, 3, 0, 1, 0]), VALUE),
            refused("circuit 0 of a Forward", header([0, 0, 0, 0, 3, 0, 0, 0]), VALUE),
            refused("a circuit of a Hello", header([0, 0, 0, 7, 7, 0, 0, 0]), VALUE),
            refused("a credit of none", header([0, 0, 0, 7, 6, 0, 0, 0]), VALUE),
            refused(
                "a credit with something behind",
                with(&encoded(&Cell::credit(CircuitId(7), 1)), 12, &[1]),
                TRAILING,
            ),
        ],
    }
}

pub(super) const LOCATION: Id = Id([0x5a; 20]);

fn question(operation: Operation) -> Question {
    Question { nonce: Nonce(made("nonce")), operation, location: LOCATION }
}

pub(super) fn statement(word: &str, operation: Operation, verdict: Verdict, seq: u64, digest: [u8; 32]) -> Statement {
    let saying = Saying { verdict, seq, digest, relays_estimate: 24 };
    Statement::sign(&network(), &identity(word), &question(operation), &saying, NOW)
}

pub(super) fn said() -> Statement {
    statement("relay one", Operation::Find, Verdict::Present, 7, made("digest"))
}

pub(super) fn raw_statement(statement: &Statement) -> Vec<u8> {
    let mut out = Vec::new();
    statement.encode(&mut out);
    out
}

/// What is signed in an answer to a find, from its time to its estimate.
fn signed_text(signer: &[u8; 32], said: &[u8]) -> Vec<u8> {
    let Question { nonce, location, .. } = question(Operation::Find);
    [&b"bauta/1 evidence"[..], &network().id, signer, &nonce.0, &[0], &location.0, said].concat()
}

fn statements() -> VectorFile {
    let case = |name: &str, number: u64, operation: Operation, verdict: Verdict, seq: u64, digest: [u8; 32]| {
        let said = statement("relay one", operation, verdict, seq, digest);
        let question = question(operation);
        vec![
            ("network_id", bytes(network().id)),
            ("seed", bytes(*identity("relay one").to_bytes())),
            ("signer", bytes(said.signer.0)),
            ("nonce", bytes(question.nonce.0)),
            ("operation", text(if operation == Operation::Find { "find" } else { "store" })),
            ("location", bytes(question.location.0)),
            ("now", NOW.0.into()),
            ("time", said.time.0.into()),
            ("believed_from", (said.time.0 - 600).into()),
            ("believed_to", (said.time.0 + 1_199).into()),
            ("verdict", text(name)),
            ("verdict_byte", number.into()),
            ("seq", seq.into()),
            ("digest", bytes(digest)),
            ("relays_estimate", 24.into()),
            ("bytes", bytes(raw_statement(&said))),
        ]
    };
    let raw = raw_statement(&said());
    let lax = strict::lax(|signer| signed_text(signer, &raw[32..81]));
    // Signed well, at a time that no storer writes: they round.
    let (signer, time) = (identity("relay one"), (said().time.to_wire() + 601).to_be_bytes());
    let late = with(&raw, 32, &time);
    let text = signed_text(&signer.public().0, &late[32..81]);
    let late = with(&late, 81, &signer.sign(&text).0);
    let lax = lax.iter().map(|one| (one.name, [&one.key[..], &raw[32..81], &one.signature].concat()));
    let at = |name: &str, raw: Vec<u8>, now: u64, error: &str| {
        let mut fields = refused(name, raw, error);
        fields.insert(2, ("now", now.into()));
        fields
    };
    const FORGED: &str = "failed to authenticate";
    VectorFile {
        name: "statements",
        description: "Statements of a storer. What is refused is refused as an answer to the question of the first case.",
        spec: &["evidence.md §1"],
        cases: vec![
            case("present", 1, Operation::Find, Verdict::Present, 7, made("digest")),
            case("absent", 0, Operation::Find, Verdict::Absent, 0, [0; 32]),
            case("stored", 2, Operation::Store, Verdict::Stored, u64::MAX, made("digest")),
            case("stored", 2, Operation::Store, Verdict::Stored, chunk().expiry.step(), chunk().hash),
            case("conflict", 3, Operation::Store, Verdict::Conflict, 8, made("other digest")),
            case("full", 4, Operation::Store, Verdict::Full, 0, [0; 32]),
            case("not close enough", 5, Operation::Store, Verdict::NotCloseEnough, 0, [0; 32]),
            case("invalid", 6, Operation::Store, Verdict::Invalid, 0, [0; 32]),
            case("unpaid", 7, Operation::Store, Verdict::Unpaid, 2, [0; 32]),
        ],
        invalid: lax
            .map(|(name, raw)| at(name, raw, NOW.0, FORGED))
            .chain([
                at("601 seconds from the question's ten minutes", late, NOW.0, FORGED),
                at("verdict 8", with(&raw, 36, &[8]), NOW.0, VALUE),
                at("one byte short", raw[..144].to_vec(), NOW.0, SHORT),
                at("another verdict", with(&raw, 36, &[0]), NOW.0, FORGED),
                at("another number", with(&raw, 44, &[8]), NOW.0, FORGED),
                at("another signature", with(&raw, 144, &[raw[144] ^ 1]), NOW.0, FORGED),
                at("twenty minutes later", raw.clone(), NOW.0 + 1_200, FORGED),
                at(
                    "to another question",
                    raw_statement(&statement("relay one", Operation::Store, Verdict::Present, 7, made("digest"))),
                    NOW.0,
                    FORGED,
                ),
            ])
            .collect(),
    }
}

pub(super) fn record() -> RecordBytes {
    super::values::record(0)
}

pub(super) fn chunk() -> ChunkBytes {
    let text = made_vec("short chunk", 100);
    let hash = bauta::crypto::hash::blake3(&[&text]);
    ChunkBytes { hash, index: 1, expiry: Expiry::at_least(UnixTime(NOW.0 + 86_400)), bytes: text }
}

pub(super) fn named(what: &'static str, name: &str, fields: Fields, raw: &[u8]) -> Fields {
    [vec![(what, text(name))], fields, vec![("bytes", bytes(raw))]].concat()
}

fn value_field(value: &Value) -> Field {
    match value {
        Value::Signed(record) => Field::Object(vec![("record", bytes(&record.0[..]))]),
        Value::Hashed(chunk) => Field::Object(vec![
            ("hash", bytes(chunk.hash)),
            ("index", u64::from(chunk.index).into()),
            ("expiry", chunk.expiry.time().0.into()),
            ("ciphertext", bytes(&chunk.bytes)),
        ]),
    }
}

pub(super) fn shown_field(descriptors: &[SignedDescriptor]) -> Field {
    Field::List(descriptors.iter().map(|one| bytes(one.as_bytes())).collect())
}

pub(super) fn payment_field(payment: &Payment) -> Field {
    Field::Object(vec![
        ("effort", u64::from(payment.effort).into()),
        ("hour", u64::from(payment.hour).into()),
        ("counter", u64::from(payment.counter).into()),
    ])
}

/// One that could be shown in the hour of all vectors.
pub(super) fn payment(effort: u8) -> Payment {
    Payment { effort, hour: Payment::hour_at(NOW), counter: 0x0102_0304 }
}

fn fields_of_ask(ask: &Ask) -> Fields {
    match ask {
        Ask::Find { kind, location, nonce, want_value } => vec![
            ("value_kind", text(if *kind == ValueKind::Signed { "signed" } else { "hashed" })),
            ("location", bytes(location.0)),
            ("nonce", bytes(nonce.0)),
            ("want_value", Field::Flag(*want_value)),
        ],
        Ask::Store { nonce, expected, value, account } => {
            let mut fields = vec![
                ("nonce", bytes(nonce.0)),
                ("expected", expected.map_or(Field::None, Field::Number)),
                ("value", value_field(value)),
            ];
            match account {
                Account::Anonymous(None) => (),
                Account::Anonymous(Some(payment)) => fields.push(("payment", payment_field(payment))),
                Account::Upkeep => fields.push(("upkeep", Field::Flag(true))),
            }
            fields
        }
        Ask::Members { after } => vec![("after", after.map_or(Field::None, |key| bytes(key.0)))],
        Ask::Differences { after, until, salt, held } => vec![
            ("after", after.map_or(Field::None, |key| bytes(key.0))),
            ("until", until.map_or(Field::None, |key| bytes(key.0))),
            ("salt", bytes(salt.to_be_bytes())),
            ("held", Field::List(held.iter().map(|one| bytes(one.0)).collect())),
        ],
    }
}

fn fields_of_answer(answer: &Answer) -> Fields {
    let contact = |one: &Contact| {
        Field::Object(vec![
            ("id", bytes(one.id.0)),
            ("link_key", bytes(one.link_key.0)),
            ("address", text(&one.address.0.to_string())),
        ])
    };
    match answer {
        Answer::Refused => vec![],
        Answer::Found { statement, contacts, value } => vec![
            ("statement", bytes(raw_statement(statement))),
            ("contacts", Field::List(contacts.iter().map(contact).collect())),
            ("value", value.as_ref().map_or(Field::None, value_field)),
        ],
        Answer::Stored { statement } => vec![("statement", bytes(raw_statement(statement)))],
        Answer::Members { descriptors, more, settled } => vec![
            ("descriptors", shown_field(descriptors)),
            ("more", Field::Flag(*more)),
            ("settled", Field::Flag(*settled)),
        ],
    }
}

fn messages() -> VectorFile {
    let nonce = Nonce(made("nonce"));
    let ask = |name: &str, ask: &Ask| named("ask", name, fields_of_ask(ask), &ask.encode());
    let answer = |name: &str, answer: &Answer| named("answer", name, fields_of_answer(answer), &answer.encode());
    let (signed, hashed) = (Value::Signed(record()), Value::Hashed(chunk()));
    let contacts: Vec<Contact> = ["192.0.2.7:7000", "[2001:db8::17]:443"]
        .map(|address| Contact {
            id: Id(made(address)),
            link_key: DhKey(made(address)),
            address: Address(address.parse().unwrap()),
        })
        .into();
    let shown = vec![descriptor("relay one", NOW.to_wire(), "192.0.2.7:7000").to_signed()];
    let found = |contacts, value| Answer::Found { statement: said(), contacts, value };
    let stored = statement("relay one", Operation::Store, Verdict::Stored, 7, made("digest"));
    let page = Answer::Members { descriptors: shown, more: true, settled: true };
    let page_bytes = page.encode();
    let made_salt = u64::from_be_bytes(made("salt"));
    let held = vec![descriptor("relay one", NOW.to_wire(), "192.0.2.7:7000").fingerprint(made_salt)];
    VectorFile {
        name: "messages",
        description: "Every question and answer. The parts are those of the other files: record 0 of records, a chunk of 100 bytes, the \
            first statement of statements; the fingerprint is that of the descriptor in members.",
        spec: &["messages.md §2", "messages.md §3", "messages.md §4"],
        cases: vec![
            ask("find signed", &Ask::Find { kind: ValueKind::Signed, location: LOCATION, nonce, want_value: true }),
            ask("find hashed", &Ask::Find { kind: ValueKind::Hashed, location: LOCATION, nonce, want_value: false }),
            ask("store signed", &store_signed(None, Account::Anonymous(None))),
            ask("store signed expecting", &store_signed(Some(7), Account::Anonymous(None))),
            ask("store hashed", &store_chunk(Account::Anonymous(None))),
            ask("store signed, paid", &store_signed(None, Account::Anonymous(Some(payment(1))))),
            ask("store hashed, paid", &store_chunk(Account::Anonymous(Some(payment(3))))),
            ask("store hashed, of the asker's own", &store_chunk(Account::Upkeep)),
            // Nothing is no valid value, and can be read; the longest is of zeros here.
            ask("store hashed, nothing", &store_bytes(vec![])),
            ask("store hashed, the longest", &store_bytes(vec![0; SEALED_CHUNK_LEN])),
            ask("members", &Ask::Members { after: None }),
            ask("members after a key", &Ask::Members { after: Some(NodeKey(made("a key"))) }),
            ask("differences", &differences(None, None, 1, vec![])),
            ask("differences between two keys", &differences(Some([1; 32]), Some([2; 32]), made_salt, held)),
            answer("refused", &Answer::Refused),
            answer("found nothing", &found(vec![], None)),
            answer("found contacts", &found(contacts, None)),
            answer("found signed", &found(vec![], Some(signed))),
            answer("found hashed", &found(vec![], Some(hashed))),
            answer("stored", &Answer::Stored { statement: stored }),
            answer("members", &page),
            answer("no members", &Answer::Members { descriptors: vec![], more: false, settled: false }),
        ],
        invalid: refused_messages(&page_bytes),
    }
}

fn differences(after: Option<[u8; 32]>, until: Option<[u8; 32]>, salt: u64, held: Vec<Fingerprint>) -> Ask {
    Ask::Differences { after: after.map(NodeKey), until: until.map(NodeKey), salt, held }
}

fn store_signed(expected: Option<u64>, account: Account) -> Ask {
    Ask::Store { nonce: Nonce(made("nonce")), expected, value: Value::Signed(record()), account }
}

fn store_chunk(account: Account) -> Ask {
    Ask::Store { nonce: Nonce(made("nonce")), expected: None, value: Value::Hashed(chunk()), account }
}

/// At the last location that there can be.
fn store_bytes(bytes: Vec<u8>) -> Ask {
    let hash = bauta::crypto::hash::blake3(&[&bytes]);
    let value = Value::Hashed(ChunkBytes { hash, index: 2, bytes, ..chunk() });
    Ask::Store { nonce: Nonce(made("nonce")), expected: None, value, account: Account::Anonymous(None) }
}

/// Questions and answers that cannot be read; `members` is an answer that can.
fn refused_messages(members: &[u8]) -> Vec<Fields> {
    let between = |after: u8, until: u8| differences(Some([after; 32]), Some([until; 32]), 0, vec![]).encode();
    let twice = differences(None, None, 0, vec![Fingerprint([1; 3]); 2]).encode();
    let too_many = [&[4, 0, 0][..], &[0; 8], &[2, 129]].concat();
    let paid = store_chunk(Account::Anonymous(Some(payment(3)))).encode();
    vec![
        with_type("ask", refused("empty", [], SHORT)),
        with_type("ask", refused("kind 0", [0], VALUE)),
        with_type("ask", refused("kind 7", [7], VALUE)),
        with_type("ask", refused("store, effort 0", with(&paid, 1, &[0]), VALUE)),
        with_type("ask", refused("store, effort 4", with(&paid, 1, &[4]), VALUE)),
        with_type("ask", refused("differences, no key between", between(2, 2), VALUE)),
        with_type("ask", refused("differences, held twice", twice, VALUE)),
        with_type("ask", refused("differences, 641 announced", too_many, VALUE)),
        with_type("ask", refused("find, value kind 2", [&[1, 2][..], &[0; 37]].concat(), VALUE)),
        with_type("ask", refused("find, flag 2", [&[1, 0][..], &[0; 36], &[2]].concat(), VALUE)),
        with_type("ask", refused("find, a byte behind", [&[1, 0][..], &[0; 38]].concat(), TRAILING)),
        with_type("ask", refused("members, an option cut", [&[3, 1][..], &[0; 31]].concat(), SHORT)),
        with_type("ask", refused("store, chunk index 3", store_hashed(3, 1), VALUE)),
        with_type("ask", refused("store, chunk too long", store_hashed(0, 65_569), VALUE)),
        with_type("answer", refused("found, 21 contacts announced", found_announcing(21), VALUE)),
        with_type("answer", refused("kind 4", [4], VALUE)),
        with_type("answer", refused("refused, a byte behind", [0, 0], TRAILING)),
        with_type("answer", refused("members, 257 announced", [3, 1, 1], VALUE)),
        with_type("answer", refused("members, flag 2", with(members, members.len() - 1, &[2]), VALUE)),
    ]
}

/// An answer that announces so many contacts and ends there.
fn found_announcing(contacts: u16) -> Vec<u8> {
    [&[1][..], &raw_statement(&said()), &contacts.to_be_bytes()].concat()
}

fn with_type(kind: &str, mut fields: Fields) -> Fields {
    fields.insert(1, ("type", text(kind)));
    fields
}

/// A store of a hashed value with this index and announced length, and no ciphertext.
fn store_hashed(index: u8, len: u32) -> Vec<u8> {
    [&[2][..], &[0; 16], &[0, 1], &[9; 32], &[index, 0, 0, 9], &len.to_be_bytes()].concat()
}

fn fragments() -> VectorFile {
    let case = |len: usize| {
        let message = made_vec("fragments", len);
        let cells = cells_of(CircuitId(0x8000_0004), Command::Ask, &message).unwrap();
        let bodies = cells.iter().map(|cell| bytes(cell.body())).collect();
        vec![("message", bytes(&message)), ("bodies", Field::List(bodies))]
    };
    let refused = |name: &str, start: &[u8], error: &str| {
        let mut body = start.to_vec();
        body.resize(BODY_LEN, 0);
        refused(name, body, error)
    };
    VectorFile {
        name: "fragments",
        description: "Messages cut into the bodies of cells. What is refused is a first body.",
        spec: &["messages.md §1.1"],
        cases: vec![case(0), case(10), case(2_036), case(2_037), case(4_076), case(4_077)],
        invalid: vec![
            refused("130,557 bytes announced", &130_557_u32.to_be_bytes(), VALUE),
            refused("a byte behind the end", &[0, 0, 0, 1, 7, 1], TRAILING),
        ],
    }
}
