//! What the protocol's steps cost, and in the same run the primitives that they consist of. `cargo bench --bench costs`.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "not part of the library")]

mod world;

use std::hint::black_box;
use std::time::Duration;

use bauta::crypto::aead::Key;
use bauta::crypto::hash::blake3;
use bauta::crypto::kdf::{Label, derive};
use bauta::crypto::keys::{DhSecret, IdentitySecret};
use bauta::crypto::noise_ik::{Handshake, Transport};
use bauta::keyspace::Id;
use bauta::limits::{BODY_LEN, CELL_LEN, FRAME_LEN, RECORD_LEN};
use bauta::onion::{Circuit, MiddleHop, Reply0, Role, build, peel};
use bauta::record::{Locator, VerifiedValue};
use bauta::time::UnixTime;
use bauta::wire::record::{Expiry, Value};
use bauta::wire::statement::{Nonce, Operation, Question, Saying, Statement, Verdict};
use blake2::{Blake2s256, Digest};
use criterion::{BatchSize, Criterion};
use hmac::{KeyInit, Mac, SimpleHmac};
use rand::rngs::ChaCha20Rng;
use world::{NOW, network, path, rng};

fn main() {
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .configure_from_args();
    curves(&mut criterion);
    symmetric(&mut criterion);
    onion(&mut criterion);
    links(&mut criterion);
    signed(&mut criterion);
    criterion.final_summary();
}

fn curves(criterion: &mut Criterion) {
    let mut rng = rng();
    let (one, two) = (DhSecret::generate(&mut rng), DhSecret::generate(&mut rng));
    let (peer, seed) = (two.public(), *two.to_bytes());
    criterion.bench_function("primitive: X25519", |b| b.iter(|| one.agree(black_box(&peer))));
    criterion.bench_function("primitive: base multiplication", |b| b.iter(|| DhSecret::from_bytes(black_box(&seed))));
    let secret = IdentitySecret::generate(&mut rng);
    let (message, key) = ([7; RECORD_LEN], secret.public());
    let signature = secret.sign(&message);
    criterion.bench_function("primitive: Ed25519 verify, a record's bytes", |b| {
        b.iter(|| key.verify(black_box(&message), &signature));
    });
    criterion
        .bench_function("primitive: Ed25519 sign, a record's bytes", |b| b.iter(|| secret.sign(black_box(&message))));
}

fn symmetric(criterion: &mut Criterion) {
    let (key, mut body) = (Key::new([7; 32]), [0; BODY_LEN]);
    criterion
        .bench_function("primitive: AEAD seal, 2,040 bytes", |b| b.iter(|| key.seal(0, &[], black_box(&mut body))));
    let tag = key.seal(0, &[], &mut body);
    criterion.bench_function("primitive: AEAD open, 2,040 bytes", |b| {
        b.iter_batched_ref(|| body, |body| key.open(0, &[], body, &tag), BatchSize::SmallInput);
    });
    criterion.bench_function("primitive: ChaCha20, 2,040 bytes", |b| {
        b.iter(|| key.xor_keystream(0, 0, black_box(&mut body)));
    });
    criterion.bench_function("primitive: BLAKE2s, 2,040 bytes", |b| b.iter(|| Blake2s256::digest(black_box(&body))));
    criterion.bench_function("primitive: BLAKE3, 2,040 bytes", |b| b.iter(|| blake3(&[black_box(&body)])));
    criterion.bench_function("primitive: HMAC-BLAKE2s, 32 bytes", |b| {
        b.iter(|| {
            let mut mac = <SimpleHmac<Blake2s256> as KeyInit>::new(black_box(&[7; 64]).into());
            mac.update(&[1; 32]);
            mac.finalize().into_bytes()
        });
    });
    criterion.bench_function("primitive: derived key, 64 bytes", |b| {
        b.iter(|| derive(Label::ValueKey, &[black_box(&[1; 32]), &[2; 32]]));
    });
}

fn onion(criterion: &mut Criterion) {
    let mut rng = rng();
    let (path, secrets) = path(&mut rng);
    let network = network();
    criterion.bench_function("build, 3 hops", |b| {
        b.iter(|| build(&network, &path, black_box(&[7; 1_000]), NOW, &mut rng).expect("a packet").body);
    });
    let body = build(&network, &path, b"request", NOW, &mut rng).expect("a packet").body;
    let inner = [9; BODY_LEN];
    criterion.bench_function("peel, with reply 0", |b| {
        b.iter(|| {
            let peeled = peel(&secrets, black_box(&body), &mut rng).expect("a layer");
            let Role::Middle { mut hop, body, .. } = peeled.role else { panic!("the first of three") };
            (hop.wrap_reply0(black_box(&inner)), body)
        });
    });
    let (mut circuit, mut hop) = circuit(&mut rng);
    criterion.bench_function("forward cell, one hop's layer", |b| {
        b.iter_batched(
            || circuit.seal_forward(&[7; 1_000], &mut rng).expect("a cell"),
            |body| hop.peel_forward(&body).expect("the next cell"),
            BatchSize::SmallInput,
        );
    });
    criterion.bench_function("backward cell, one hop's layer", |b| b.iter(|| hop.wrap_backward(black_box(&inner))));
}

/// A circuit of two hops, and its first one.
fn circuit(rng: &mut ChaCha20Rng) -> (Circuit, MiddleHop) {
    let (mut path, secrets) = path(rng);
    // The same relay twice, as no client would: one set of keys serves.
    path[1] = path[0].clone();
    let built = build(&network(), &path[..2], b"", NOW, rng).expect("a packet");
    let first = peel(&secrets, &built.body, rng).expect("a layer");
    let Role::Middle { mut hop, body, .. } = first.role else { panic!("the first of two") };
    let last = peel(&secrets, &body, rng).expect("a layer");
    let Role::Exit { hop: mut exit, .. } = last.role else { panic!("the last of two") };
    let reply = hop.wrap_reply0(&exit.seal_reply0(b"").expect("a reply")).expect("a reply");
    let Ok(Reply0::Exit(circuit, _)) = built.building.open_reply0(&reply) else { panic!("a circuit") };
    (circuit, hop)
}

/// Both ends of a link after its handshake.
fn link(rng: &mut ChaCha20Rng) -> (Transport, Transport) {
    let (a, b) = (DhSecret::generate(rng), DhSecret::generate(rng));
    let mut one = Handshake::initiate(b"costs", &a, &b.public(), rng).expect("a handshake");
    let mut two = Handshake::respond(b"costs", &b, rng).expect("a handshake");
    let (mut wire, mut text) = ([0; 256], [0; 256]);
    let len = one.write(&[], &mut wire).expect("message 1");
    two.read(&wire[..len], &mut text).expect("message 1");
    let len = two.write(&[], &mut wire).expect("message 2");
    one.read(&wire[..len], &mut text).expect("message 2");
    (one.into_transport().expect("a transport"), two.into_transport().expect("a transport"))
}

fn links(criterion: &mut Criterion) {
    let mut rng = rng();
    let (mut one, mut two) = link(&mut rng);
    let (mut frame, mut cell) = ([0; FRAME_LEN], [7; CELL_LEN]);
    criterion.bench_function("link: seal a frame, then open it", |b| {
        b.iter(|| {
            one.seal(black_box(&cell), &mut frame).expect("a frame");
            two.open(black_box(&frame), &mut cell)
        });
    });
    let (mut one, _) = link(&mut rng);
    criterion.bench_function("link: seal a frame", |b| b.iter(|| one.seal(black_box(&cell), &mut frame)));
}

fn signed(criterion: &mut Criterion) {
    let (mut rng, network) = (rng(), network());
    let author = IdentitySecret::generate(&mut rng);
    let locator = Locator::of_author(&author, b"label").expect("a locator");
    let place = (7, Expiry::at_least(UnixTime(NOW.0 + 3_600)));
    let record = locator.seal(&network, &author, 0, place, b"payload", &mut rng).expect("a record");
    criterion.bench_function("record: verify", |b| {
        b.iter_batched(
            || Value::Signed(record.clone()),
            |value| VerifiedValue::check(&network, value, NOW),
            BatchSize::SmallInput,
        );
    });
    let question = Question { nonce: Nonce([1; 16]), operation: Operation::Find, location: Id([2; 20]) };
    let saying = Saying { verdict: Verdict::Absent, seq: 0, digest: [0; 32], relays_estimate: 24 };
    let statements: Vec<Statement> = (0..8)
        .map(|_| Statement::sign(&network, &IdentitySecret::generate(&mut rng), &question, &saying, NOW))
        .collect();
    criterion.bench_function("evidence: verify 8 statements", |b| {
        b.iter(|| statements.iter().filter(|one| black_box(one).verify(&network, &question, NOW).is_ok()).count());
    });
}
