//! Network, derived keys, blinding, the identity puzzle, Noise NK.

use bauta::crypto::blind::{BlindedSecret, LabelSecret};
use bauta::crypto::hash::hashed_location;
use bauta::crypto::kdf::{Label, derive};
use bauta::crypto::keys::DhSecret;
use bauta::crypto::nk::{Initiator, Responder};
use bauta::crypto::puzzle::solve;
use bauta::crypto::storage_puzzle::StoragePuzzle;
use bauta::keyspace::Id;
use bauta::record::Locator;
use bauta::wire::network::Network;
use bauta::wire::payment::Payment;
use bauta::wire::statement::Nonce;

use super::{Fields, Given, NOW, VectorFile, bytes, dh_secret, identity, made, network, strict, text};

pub(super) fn files() -> Vec<VectorFile> {
    vec![network_file(), keys(), blinding(), puzzle(), payments(), noise_nk()]
}

fn network_file() -> VectorFile {
    let case = |name: &str| {
        let network = Network::named(name, 0);
        vec![("name", text(name)), ("id", bytes(network.id)), ("link_prologue", bytes(network.link_prologue()))]
    };
    VectorFile {
        name: "network",
        description: "A network's id, and the prologue of its links.",
        spec: &["crypto.md §4.1", "link.md §2"],
        cases: vec![case("vectors"), case("demo"), case("")],
        invalid: vec![],
    }
}

fn keys() -> VectorFile {
    let case = |(label, name): (Label, &'static str), first: &[u8], second: &[u8]| {
        let key = derive(label, &[first, second]);
        vec![
            ("name", text(name)),
            ("context", text(label.context())),
            ("first", bytes(first)),
            ("second", bytes(second)),
            ("key", bytes(*key)),
        ]
    };
    let (seed, secret, blinded) = (made::<32>("seed"), made::<32>("label secret"), made::<32>("blinded key"));
    VectorFile {
        name: "keys",
        description: "Derived keys: the first and the second part of the key material, and what comes of them.",
        spec: &["crypto.md §3"],
        cases: vec![
            case((Label::LabelSecret, "LabelSecret"), &seed, b"label"),
            case((Label::LabelSecret, "LabelSecret"), &seed, b""),
            case((Label::ValueKey, "ValueKey"), &secret, &blinded),
            case((Label::BlindPrefix, "BlindPrefix"), &made::<32>("prefix"), &made::<32>("factor")),
            case((Label::ChunkKey, "ChunkKey"), &made::<32>("publication"), &0_u32.to_be_bytes()),
            case((Label::ChunkKey, "ChunkKey"), &made::<32>("publication"), &u32::MAX.to_be_bytes()),
            case((Label::SeqOffset, "SeqOffset"), &secret, &blinded),
        ],
        invalid: vec![],
    }
}

fn blinding() -> VectorFile {
    let case = |word: &str, label: &[u8], index: u8| {
        let author = identity(word);
        let secret = LabelSecret::derive(&author, label);
        let locator = Locator::of_author(&author, label).unwrap();
        let blinded = BlindedSecret::new(&author, label, &secret, index).unwrap();
        let place = locator.places()[usize::from(index)];
        vec![
            ("author_seed", bytes(*author.to_bytes())),
            ("author_key", bytes(author.public().0)),
            ("label", bytes(label)),
            ("label_secret", bytes(secret.as_bytes())),
            ("index", u64::from(index).into()),
            ("blinded_key", bytes(blinded.public().0)),
            ("location", bytes(place.location.0)),
            ("seq_offset", place.seq_offset.into()),
            ("message", bytes(b"message")),
            ("signature", bytes(blinded.sign(b"message").0)),
        ]
    };
    let mut cases: Vec<Fields> = (0..3).map(|index| case("author", b"label", index)).collect();
    cases.extend([case("author", b"", 0), case("other author", &[b'x'; 64], 2)]);
    // y of a point of order eight (Ed25519's torsion), and a y that is on no point.
    let order_eight = [
        0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98, 0xf0, 0xd5, 0xdf,
        0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05,
    ];
    let mut no_point = [0; 32];
    no_point[0] = 2;
    let refused = |what: &str, key: [u8; 32]| {
        vec![
            ("name", text(what)),
            ("author_key", bytes(key)),
            ("label", bytes(b"label")),
            ("label_secret", bytes(made::<32>("label secret"))),
            ("index", 0.into()),
            ("error", text("failed to authenticate")),
        ]
    };
    VectorFile {
        name: "blinding",
        description: "Blinded keys of a label at its locations, from the author's seed; locations and offsets of numbers; a signature by \
            the blinded key.",
        spec: &["crypto.md §5", "values.md §2.2"],
        cases,
        invalid: vec![
            refused("the neutral point", strict::neutral()),
            refused("the neutral point, y above the prime", strict::neutral_not_canonical()),
            refused("a point of order eight", order_eight),
            refused("a point with a part of order eight", strict::with_torsion(identity("author").public().0)),
            refused("no point", no_point),
        ],
    }
}

fn puzzle() -> VectorFile {
    let case = |word: &str, difficulty: u8| {
        let (network, key) = (network(), identity(word).public());
        let solution = solve(&network.id, &key, difficulty, 0, 1_000).unwrap();
        vec![
            ("network_id", bytes(network.id)),
            ("key", bytes(key.0)),
            ("difficulty", u64::from(difficulty).into()),
            ("counter", u64::from(solution.counter).into()),
            ("y", bytes(solution.y)),
            ("node_id", bytes(solution.id(&key).0)),
        ]
    };
    let hash: [u8; 32] = made("chunk hash");
    let chunk = |index| {
        vec![
            ("chunk_hash", bytes(hash)),
            ("index", u64::from(index).into()),
            ("location", bytes(hashed_location(&hash, index).0)),
        ]
    };
    let slot = |slot: usize| {
        let nonce = Nonce(made("nonce"));
        vec![
            ("nonce", bytes(nonce.0)),
            ("slot", u64::try_from(slot).unwrap().into()),
            ("slot_nonce", bytes(nonce.of_slot(slot).0)),
        ]
    };
    VectorFile {
        name: "places",
        description: "The first counter that solves an identity puzzle, and the node id that follows; locations of a hashed value; nonces \
            of the slots of a batch.",
        spec: &["crypto.md §6", "values.md §3", "requests.md §4"],
        cases: vec![case("relay one", 0), case("relay two", 4), chunk(0), chunk(1), slot(0), slot(3)],
        invalid: vec![],
    }
}

fn payments() -> VectorFile {
    let puzzle = |effort| StoragePuzzle {
        network: network().id,
        hour: Payment::hour_at(NOW),
        location: Id(made("location")),
        digest: made("digest"),
        effort,
    };
    let fields = |puzzle: &StoragePuzzle, counter: u32| {
        vec![
            ("network_id", bytes(puzzle.network)),
            ("hour", u64::from(puzzle.hour).into()),
            ("location", bytes(puzzle.location.0)),
            ("digest", bytes(puzzle.digest)),
            ("effort", u64::from(puzzle.effort).into()),
            ("counter", u64::from(counter).into()),
        ]
    };
    let case = |effort, from: u32| {
        let puzzle = puzzle(effort);
        let counter = puzzle.solve(from, 1 << 14).unwrap();
        let more = vec![("from", u64::from(from).into()), ("challenge", bytes(puzzle.challenge()))];
        [fields(&puzzle, counter), more].concat()
    };
    let (good, counter) = (puzzle(2), puzzle(2).solve(0, 1 << 14).unwrap());
    let not = |name: &str, puzzle: StoragePuzzle, counter| {
        [vec![("name", text(name))], fields(&puzzle, counter), vec![("error", text("not a solution"))]].concat()
    };
    VectorFile {
        name: "payments",
        description: "Storage puzzles with the first counter, from one on, that solves them. What is invalid is that of effort 2, changed.",
        spec: &["crypto.md §9"],
        cases: vec![case(1, 0), case(2, 0), case(3, 0), case(1, u32::MAX)],
        invalid: vec![
            not("the next counter", good, counter.wrapping_add(1)),
            not("the next hour", StoragePuzzle { hour: good.hour + 1, ..good }, counter),
            not("another place", StoragePuzzle { location: Id(made("another place")), ..good }, counter),
            not("another value", StoragePuzzle { digest: made("another value"), ..good }, counter),
            not("a greater effort", StoragePuzzle { effort: 3, ..good }, counter),
        ],
    }
}

fn noise_nk() -> VectorFile {
    let case = |prologue: &[u8], payloads: [&[u8]; 2]| {
        let responder = dh_secret("nk responder");
        let ephemerals: [[u8; 32]; 2] = [made("nk initiator ephemeral"), made("nk responder ephemeral")];
        let one = Initiator::new(prologue, &responder.public(), &mut Given::new(&[&ephemerals[0]])).unwrap();
        let (e, filler) = (one.ephemeral(), one.filler());
        let mut text1 = payloads[0].to_vec();
        let (tag1, waiting) = one.seal(&mut text1);
        let two = Responder::open(prologue, &responder, &e, &mut text1.clone(), &tag1).unwrap();
        let replay_tag = two.replay_tag();
        let (_, session) = two.answer(&mut Given::new(&[&ephemerals[1]])).unwrap();
        let _ = waiting;
        let mut text2 = payloads[1].to_vec();
        let tag2 = session.reply0.seal(0, &session.ad, &mut text2);
        vec![
            ("prologue", bytes(prologue)),
            ("responder_secret", bytes(*responder.to_bytes())),
            ("responder_key", bytes(responder.public().0)),
            ("initiator_ephemeral_secret", bytes(ephemerals[0])),
            ("initiator_ephemeral", bytes(e.0)),
            ("payload1", bytes(payloads[0])),
            ("ciphertext1", bytes(&text1)),
            ("tag1", bytes(tag1)),
            ("build_filler_key", bytes(filler.as_bytes())),
            ("replay_tag", bytes(replay_tag)),
            ("responder_ephemeral_secret", bytes(ephemerals[1])),
            ("responder_ephemeral", bytes(DhSecret::from_bytes(&ephemerals[1]).public().0)),
            ("k2", bytes(session.reply0.as_bytes())),
            ("ad2", bytes(session.ad)),
            ("payload2", bytes(payloads[1])),
            ("ciphertext2", bytes(&text2)),
            ("tag2", bytes(tag2)),
            ("kf", bytes(session.forward.as_bytes())),
            ("kb", bytes(session.backward.as_bytes())),
            ("forward_filler_key", bytes(session.filler.as_bytes())),
        ]
    };
    VectorFile {
        name: "noise_nk",
        description: "The handshake of one onion layer, with all keys that come of it.",
        spec: &["onion.md §2.2", "onion.md §6"],
        cases: vec![case(b"prologue", [b"payload one", b"payload two"]), case(b"", [b"", b""])],
        invalid: refused_messages(),
    }
}

/// First messages that no relay opens, all alike in how they are refused.
fn refused_messages() -> Vec<Fields> {
    let responder = dh_secret("nk responder");
    let ephemeral: [u8; 32] = made("nk initiator ephemeral");
    let sealed = |prologue: &[u8]| {
        let one = Initiator::new(prologue, &responder.public(), &mut Given::new(&[&ephemeral])).unwrap();
        let (e, mut text) = (one.ephemeral().0, *b"payload one");
        let (tag, _) = one.seal(&mut text);
        (e, text, tag)
    };
    let refused = |name: &str, (e, sealed, tag): ([u8; 32], [u8; 11], [u8; 16])| {
        vec![
            ("name", text(name)),
            ("prologue", bytes(b"prologue")),
            ("responder_secret", bytes(*responder.to_bytes())),
            ("initiator_ephemeral", bytes(e)),
            ("ciphertext1", bytes(sealed)),
            ("tag1", bytes(tag)),
            ("error", text("failed to authenticate")),
        ]
    };
    let good @ (e, sealed_text, tag) = sealed(b"prologue");
    let flipped = |mut bytes: [u8; 32], at: usize, bit: u8| {
        bytes[at] ^= bit;
        bytes
    };
    let (mut other_text, mut other_tag) = (sealed_text, tag);
    (other_text[10], other_tag[15]) = (other_text[10] ^ 1, other_tag[15] ^ 0x80);
    vec![
        refused("of another prologue", sealed(b"prologuf")),
        refused("another byte of the text", (e, other_text, tag)),
        refused("another bit of the tag", (e, sealed_text, other_tag)),
        refused("the bit of e that the curve ignores", (flipped(e, 31, 0x80), good.1, good.2)),
        refused("e of small order: zeros", ([0; 32], sealed_text, tag)),
        refused("e of small order: one", (flipped([0; 32], 0, 1), sealed_text, tag)),
    ]
}
