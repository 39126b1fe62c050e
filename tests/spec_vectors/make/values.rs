//! Signed values, links, state files.

use bauta::content::ContentLink;
use bauta::crypto::aead::Key;
use bauta::crypto::blind::BlindedSecret;
use bauta::crypto::hash::blake3;
use bauta::crypto::kdf::{Label, derive};
use bauta::keyspace::Id;
use bauta::record::{Locator, record_message};
use bauta::time::UnixTime;
use bauta::wire::network::Network;
use bauta::wire::record::{Expiry, RECORD_TEXT_LEN, RecordBytes};
use bech32::primitives::iter::Fe32IterExt;

use super::{Field, Fields, Given, NOW, VectorFile, bytes, identity, made, made_vec, network, strict, text};

pub(super) fn files() -> Vec<VectorFile> {
    vec![records(), links(), state_files()]
}

const SEQ: u64 = 0x1234_5678;
const PAYLOAD: &[u8] = b"a payload";

fn expiry() -> Expiry {
    Expiry::at_least(UnixTime(NOW.0 + 86_400))
}

fn sealed(index: u8, payload: Option<&[u8]>, expiry: Expiry) -> RecordBytes {
    let author = identity("author");
    let nonce: [u8; 24] = made(&format!("record nonce {index}"));
    let locator = Locator::of_author(&author, b"label").unwrap();
    let (numbered, mut given) = ((SEQ, expiry), Given::new(&[&nonce]));
    let sealed = match payload {
        Some(payload) => locator.seal(&network(), &author, index, numbered, payload, &mut given),
        None => locator.seal_deletion(&network(), &author, index, numbered, &mut given),
    };
    sealed.unwrap()
}

/// The record at one of the three locations.
pub(super) fn record(index: u8) -> RecordBytes {
    sealed(index, Some(PAYLOAD), expiry())
}

fn records() -> VectorFile {
    let author = identity("author");
    let case = |index: u8, payload: Option<&[u8]>| {
        let record = sealed(index, payload, expiry());
        let fields = record.fields().unwrap();
        let locator = Locator::of_author(&author, b"label").unwrap();
        vec![
            ("network_id", bytes(network().id)),
            ("author_seed", bytes(*author.to_bytes())),
            ("label", bytes(b"label")),
            ("index", u64::from(index).into()),
            ("seq", SEQ.into()),
            ("expiry", expiry().time().0.into()),
            ("nonce", bytes(fields.nonce)),
            ("payload", payload.map_or(Field::None, bytes)),
            ("now", NOW.0.into()),
            ("believed_from", (expiry().time().0 - 30 * 86_400).into()),
            ("believed_to", (expiry().time().0 - 1).into()),
            ("blinded_key", bytes(fields.key.0)),
            ("seq_there", fields.seq.into()),
            ("location", bytes(locator.locations()[usize::from(index)].0)),
            ("digest", bytes(record.digest())),
            ("bytes", bytes(&record.0[..])),
        ]
    };
    VectorFile {
        name: "records",
        description: "Signed values: one author's, label's and number's records at the three locations. seq is the author's number, \
            seq_there the one in the bytes. A payload of null is a deletion. What is refused with a label is kept by a storer, and \
            refused by whoever has the link.",
        spec: &["values.md §2", "values.md §4"],
        cases: vec![
            case(0, Some(PAYLOAD)),
            case(1, Some(PAYLOAD)),
            case(2, Some(PAYLOAD)),
            case(0, Some(b"")),
            case(1, Some(&made_vec("payload", 1_024))),
            case(2, None),
        ],
        invalid: refused_records(),
    }
}

fn refused_records() -> Vec<Fields> {
    let good = record(0);
    let refused = |name: &str, raw: &RecordBytes, now: u64, error: &str| -> Fields {
        vec![("name", text(name)), ("bytes", bytes(&raw.0[..])), ("now", now.into()), ("error", text(error))]
    };
    let flipped = |at: usize| {
        let mut raw = good.clone();
        raw.0[at] ^= 1;
        raw
    };
    let unreadable = |name: &str, below, len| {
        let mut fields = refused(name, &opened_in_vain(below, len), NOW.0, "failed to authenticate");
        fields.insert(2, ("author_seed", bytes(*identity("author").to_bytes())));
        fields.insert(3, ("label", bytes(b"label")));
        fields
    };
    let (forged, over) = ("value: forged or damaged", good.fields().unwrap().expiry.time().0);
    let lax = strict::lax(|key| [&b"bauta/1 record"[..], &network().id, key, &good.0[32..1_109]].concat());
    let lax = lax.iter().map(|one| {
        let raw = [&one.key[..], &good.0[32..1_109], &one.signature].concat();
        refused(one.name, &RecordBytes::new(&raw).unwrap(), NOW.0, forged)
    });
    let rows = [
        refused("another key", &flipped(0), NOW.0, forged),
        refused("another number", &flipped(39), NOW.0, forged),
        refused("another nonce", &flipped(43), NOW.0, forged),
        refused("another text", &flipped(67), NOW.0, forged),
        refused("another tag", &flipped(1_093), NOW.0, forged),
        refused("another signature", &flipped(1_172), NOW.0, forged),
        refused("over", &good, over, "value: expired"),
        refused("too far ahead", &good, over - 30 * 86_400 - 1, "value: expires too far in the future"),
        unreadable("a text of 1,025 bytes", None, 1_025),
        unreadable("a length of one below that of a deletion", None, 0xfffe),
        unreadable("a number one below its offset", Some(1), 9),
    ];
    lax.chain(rows).collect()
}

/// A record at location 0 whose signature holds and which is no value to whoever has the link: its text says this length, its number
/// is `below` below the location's offset.
fn opened_in_vain(below: Option<u64>, len: u16) -> RecordBytes {
    let author = identity("author");
    let locator = Locator::of_author(&author, b"label").unwrap();
    let signer = BlindedSecret::new(&author, b"label", locator.secret(), 0).unwrap();
    let mut fields = record(0).fields().unwrap();
    if let Some(below) = below {
        fields.seq = locator.places()[0].seq_offset - below;
    }
    let associated = [&fields.key.0[..], &fields.seq.to_be_bytes(), &fields.expiry.to_wire()].concat();
    fields.text = [0; RECORD_TEXT_LEN];
    fields.text[..2].copy_from_slice(&len.to_be_bytes());
    let key = Key::new(*derive(Label::ValueKey, &[locator.secret().as_bytes(), &fields.key.0]));
    fields.tag = key.seal_extended(&fields.nonce, &associated, &mut fields.text);
    fields.signature = signer.sign(&record_message(&network(), &fields.encode()));
    fields.encode()
}

fn links() -> VectorFile {
    let case = |network: &Network, label: &[u8]| {
        let locator = Locator::of_author(&identity("author"), label).unwrap();
        let locations = locator.locations().map(|Id(location)| bytes(location));
        vec![
            ("network_id", bytes(network.id)),
            ("author_key", bytes(locator.author().0)),
            ("label_secret", bytes(locator.secret().as_bytes())),
            ("label", bytes(label)),
            ("locations", Field::List(locations.into())),
            ("link", text(&ContentLink::new(network, locator).to_string())),
        ]
    };
    let good = ContentLink::new(&network(), Locator::of_author(&identity("author"), b"label").unwrap()).to_string();
    let refused =
        |name: &str, link: &str, error: &str| vec![("name", text(name)), ("link", text(link)), ("error", text(error))];
    let encode = |raw: &[u8]| bech32::encode::<bech32::Bech32m>(bech32::Hrp::parse("bauta").unwrap(), raw).unwrap();
    let body = [&[1][..], &network().id[..4], &identity("author").public().0, &made::<32>("label secret")].concat();
    let mut no_point = body.clone();
    no_point[5..37].copy_from_slice(&[&[2][..], &[0; 31]].concat());
    let other = bech32::encode::<bech32::Bech32m>(bech32::Hrp::parse("bautb").unwrap(), &body).unwrap();
    let bech32_not_m = bech32::encode::<bech32::Bech32>(bech32::Hrp::parse("bauta").unwrap(), &body).unwrap();
    let wrong = "not a link: a character is wrong or missing (links begin with bauta1)";
    let changed = format!("{}{}", &good[..good.len() - 1], if good.ends_with('q') { 'p' } else { 'q' });
    VectorFile {
        name: "links",
        description: "Links to publications and values, with the locations that follow.",
        spec: &["content.md §4"],
        cases: vec![case(&network(), b"label"), case(&network(), b""), case(&Network::named("demo", 0), &[b'x'; 64])],
        invalid: vec![
            refused("the last character", &changed, wrong),
            refused("one character less", &good[..good.len() - 1], wrong),
            refused("both cases", &good.replacen("bauta", "Bauta", 1), wrong),
            refused("another prefix", &other, wrong),
            refused("Bech32, not Bech32m", &bech32_not_m, wrong),
            refused("bits behind the last byte", &with_bits_behind(&good), wrong),
            refused("cut before the secret", &encode(&body[..37]), wrong),
            refused(
                "version 2",
                &encode(&[&[2], &body[1..]].concat()),
                "link of a later version; this build reads version 1",
            ),
            refused("an author's key that is no point", &encode(&no_point), "link holds no usable key"),
            refused("a label of 65 bytes", &encode(&[&body[..], &[b'x'; 65]].concat()), "link holds no usable key"),
        ],
    }
}

/// The same bytes with a bit set that fills none.
fn with_bits_behind(link: &str) -> String {
    let checked = bech32::primitives::decode::CheckedHrpstring::new::<bech32::Bech32m>(link).unwrap();
    let mut groups: Vec<bech32::Fe32> = checked.fe32_iter().collect();
    let last = groups.pop().unwrap();
    groups.push(bech32::Fe32::try_from(last.to_u8() | 1).unwrap());
    assert_eq!(groups.len() % 8, 7, "three bits fill no byte");
    let hrp = bech32::Hrp::parse("bauta").unwrap();
    groups.into_iter().with_checksum::<bech32::Bech32m>(&hrp).chars().collect()
}

/// A state file of this name.
pub(super) fn state_file(name: &str, content: &[u8]) -> Vec<u8> {
    let sum = blake3(&[b"bauta/1 state", &[0], name.as_bytes(), &[0], content]);
    [&b"bau\x01"[..], &sum, content].concat()
}

fn state_files() -> VectorFile {
    let file = state_file;
    // What is kept here is a list of numbers, as postcard writes it: a count, then varints.
    let case = |name: &str, numbers: &[u64], content: &[u8]| {
        vec![
            ("file", text(name)),
            ("numbers", Field::List(numbers.iter().map(|number| (*number).into()).collect())),
            ("content", bytes(content)),
            ("bytes", bytes(file(name, content))),
        ]
    };
    let refused = |name: &str, raw: Vec<u8>, error: &str| {
        vec![("name", text(name)), ("file", text("guards")), ("bytes", bytes(raw)), ("error", text(error))]
    };
    let good = file("guards", &[1, 7]);
    let (damaged, layout) = ("damaged", "written by another version of bauta");
    VectorFile {
        name: "state_files",
        description: "State files whose content is a list of numbers. An error is part of what the message says.",
        spec: &["state.md §2"],
        cases: vec![case("guards", &[1, 300], &[2, 1, 0xac, 2]), case("a-b_c.1", &[], &[0])],
        invalid: vec![
            refused("another byte", [&good[..37], &[8]].concat(), damaged),
            refused("of another name", file("other", &[1, 7]), damaged),
            refused("cut in the checksum", good[..20].to_vec(), damaged),
            refused("of another kind of file", [&b"bav"[..], &good[3..]].concat(), damaged),
            refused("empty", vec![], damaged),
            refused("of layout 2", [&b"bau\x02"[..], &good[4..]].concat(), layout),
            refused("content with a byte behind", file("guards", &[1, 7, 0]), layout),
        ],
    }
}
