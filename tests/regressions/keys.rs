//! Keys, signatures, and what they bind.

use bauta::crypto::hash::{blake3, node_id};
use bauta::crypto::keys::{DhKey, NodeKey, Signature};
use bauta::dht::evidence::Tally;
use bauta::keyspace::Id;
use bauta::limits::SIGNERS;
use bauta::link::{DownReason, Link, Params, Timing};
use bauta::membership::members::Members;
use bauta::onion::build;
use bauta::record::{Locator, RecordRefused, VerifiedValue, record_message};
use bauta::time::{Instant, UnixTime};
use bauta::wire::codec::Reader;
use bauta::wire::descriptor::{DESCRIPTOR_LEN, DescriptorRefused, SignedDescriptor};
use bauta::wire::hello::Hello;
use bauta::wire::network::VERSIONS;
use bauta::wire::record::{Expiry, RecordBytes, Value};
use bauta::wire::statement::{Nonce, Operation, Question, Saying, Statement, Verdict};
use curve25519_dalek::constants::{ED25519_BASEPOINT_POINT, EIGHT_TORSION};
use curve25519_dalek::edwards::EdwardsPoint;
use curve25519_dalek::scalar::Scalar;
use curve25519_dalek::traits::IsIdentity;
use rand::SeedableRng;
use rand::rngs::ChaCha20Rng;
use sha2::{Digest, Sha512};

use super::relays::{ISSUED, described, dh, identity, network, relay};

/// Of X25519: 0, 1, the two of order eight, and p - 1, p, p + 1. Source: cr.yp.to/ecdh.html, "validate".
fn of_small_order() -> Vec<[u8; 32]> {
    let near_p = |low: u8| {
        let mut bytes = [0xff; 32];
        (bytes[0], bytes[31]) = (low, 0x7f);
        bytes
    };
    let small = |low: u8| {
        let mut bytes = [0; 32];
        bytes[0] = low;
        bytes
    };
    let eight = [EIGHT_TORSION[1], EIGHT_TORSION[3]].map(|point| point.to_montgomery().0);
    let mut keys = vec![small(0), small(1), eight[0], eight[1], near_p(0xec), near_p(0xed), near_p(0xee)];
    // The highest bit is not part of the number.
    let marked: Vec<[u8; 32]> = keys
        .iter()
        .map(|key| {
            let mut key = *key;
            key[31] |= 0x80;
            key
        })
        .collect();
    keys.extend(marked);
    keys
}

/// Tendermint, issue 3010: keys of small order were accepted, so that whoever stood between two nodes knew the secret that they agreed on.
/// Here it would be the key of a link or of an onion layer.
#[test]
fn regression_keys_of_small_order_are_refused_by_links_and_onions() {
    let mut rng = ChaCha20Rng::seed_from_u64(1);
    for key in of_small_order().into_iter().map(DhKey) {
        assert!(dh(1).agree(&key).is_err(), "{key:?}");
        let hello = Hello { versions: VERSIONS, descriptor: None };
        let params = Params { network: network(), secret: dh(1), hello, timing: Timing::default() };
        let dialled = Link::dial(params, key, &mut rng, Instant::ZERO);
        assert_eq!(dialled.err(), Some(DownReason::Identity), "{key:?}");
        let mut of_it = described(1, [10, 1, 0, 1]);
        of_it.onion_key = key;
        let path = [relay(0), of_it.sign(&network(), &identity(1)), relay(2)];
        assert!(build(&network(), &path, b"request", ISSUED, &mut rng).is_err(), "{key:?}");
    }
}

/// RUSTSEC-2022-0009 (libp2p): a record was taken for that of a peer because somebody had signed it, whoever that was. Here a relay could be
/// described, a place written, or an absence attested by whoever likes to.
#[test]
fn regression_what_is_signed_by_another_than_it_names_is_refused() {
    let mut rng = ChaCha20Rng::seed_from_u64(1);
    // A descriptor of relay 1, signed by relay 2.
    let (own, other) = (identity(1), identity(2));
    let forged = described(1, [10, 1, 0, 1]).sign(&network(), &other);
    let mut bytes = *forged.as_bytes();
    bytes[..32].copy_from_slice(&own.public().0);
    let decoded = SignedDescriptor::decode(&mut Reader::new(&bytes)).expect("well formed");
    let verified = decoded.verify_with(&network(), ISSUED, |_, _, _, _| true);
    assert_eq!(verified.err(), Some(DescriptorRefused::Signature));
    // The id is no claim of anybody: it follows from the key that signs.
    assert_eq!(relay(1).id(), node_id(&own.public(), &relay(1).solution.y));
    // A value at a place of author 1, signed by author 2 under a key of its own.
    let ends = Expiry::at_least(UnixTime(ISSUED.0 + 86_400));
    let [ours, theirs] = [&own, &other].map(|author| {
        let locator = Locator::of_author(author, b"label").expect("short");
        locator.seal(&network(), author, 0, (1, ends), b"payload", &mut rng).expect("short")
    });
    let mut moved = theirs.0.clone();
    moved[..32].copy_from_slice(&ours.0[..32]);
    let moved = RecordBytes::new(&moved[..]).expect("of its length");
    let checked = VerifiedValue::check(&network(), Value::Signed(moved), ISSUED);
    assert_eq!(checked.err(), Some(RecordRefused::Forged));
    let elsewhere = VerifiedValue::check(&network(), Value::Signed(theirs), ISSUED).expect("its own");
    let here = VerifiedValue::check(&network(), Value::Signed(ours), ISSUED).expect("its own");
    assert_ne!(elsewhere.location(), here.location(), "the place follows from the key that signed");
    // Words of eight nearest members, all signed by one who is none of them.
    let mut members = Members::default();
    members.merge_all((0..16).map(relay), ISSUED);
    let question = Question { nonce: Nonce([1; 16]), operation: Operation::Find, location: Id([7; 20]) };
    let saying = Saying { verdict: Verdict::Absent, seq: 0, digest: [0; 32], relays_estimate: 16 };
    let stranger = Statement::sign(&network(), &identity(99), &question, &saying, ISSUED);
    let nearest: Vec<NodeKey> =
        members.closest(&question.location, SIGNERS, |_| false).into_iter().map(|one| one.key).collect();
    let in_their_names: Vec<Statement> =
        nearest.iter().map(|signer| Statement { signer: *signer, ..stranger.clone() }).collect();
    let mut tally = Tally::new(question.location, &members);
    for said in [in_their_names, vec![stranger; SIGNERS]] {
        let added = tally.add(&network(), &question, &said, &members, ISSUED);
        assert_eq!((added.valid, tally.attested_absence(&members)), (0, false));
    }
}

/// Signs so that the equation with the cofactor holds, which is what batches check, and the one without does not, which is what single
/// verification does.
struct Lax {
    secret: Scalar,
}

impl Lax {
    fn new(seed: u8) -> Self {
        Self { secret: Scalar::from_bytes_mod_order(blake3(&[b"key", &[seed]])) }
    }

    fn public(&self) -> NodeKey {
        NodeKey((ED25519_BASEPOINT_POINT * self.secret).compress().0)
    }

    /// `torsion`: what is added to the nonce's point; with the neutral point it is a signature like any other.
    fn sign(&self, message: &[u8], torsion: EdwardsPoint) -> Signature {
        let nonce = Scalar::from_bytes_mod_order(blake3(&[b"nonce", message]));
        let head = ED25519_BASEPOINT_POINT * nonce + torsion;
        let (key, bytes) = (self.public(), head.compress().0);
        let digest = Sha512::new().chain_update(bytes).chain_update(key.0).chain_update(message).finalize();
        let challenge = Scalar::from_bytes_mod_order_wide(&digest.into());
        let s = nonce + challenge * self.secret;
        let difference = ED25519_BASEPOINT_POINT * s - head - ED25519_BASEPOINT_POINT * self.secret * challenge;
        assert!(difference.mul_by_cofactor().is_identity());
        let mut signature = [0; 64];
        signature[..32].copy_from_slice(&bytes);
        signature[32..].copy_from_slice(s.as_bytes());
        Signature(signature)
    }
}

/// CVE-2021-38385 (Tor): verifying in batch and one by one came to different ends for one signature. Here relays would disagree on
/// what is a member or a value, and one signature could split the network.
#[test]
fn regression_a_signature_has_one_verdict_whoever_checks_it() {
    let author = Lax::new(1);
    for (torsion, holds) in [(EIGHT_TORSION[0], true), (EIGHT_TORSION[1], false), (EIGHT_TORSION[4], false)] {
        let signature = author.sign(b"message", torsion);
        assert_eq!(author.public().verify(b"message", &signature).is_ok(), holds);
        // As a relay's descriptor.
        let mut own = described(1, [10, 1, 0, 1]);
        own.key = author.public();
        let mut bytes = *own.sign(&network(), &identity(1)).as_bytes();
        let message = [&b"bauta/1 descriptor"[..], &network().id, &bytes[..DESCRIPTOR_LEN - 64]].concat();
        bytes[DESCRIPTOR_LEN - 64..].copy_from_slice(&author.sign(&message, torsion).0);
        let decoded = SignedDescriptor::decode(&mut Reader::new(&bytes)).expect("well formed");
        assert_eq!(decoded.verify_with(&network(), ISSUED, |_, _, _, _| true).is_ok(), holds);
        // As a value.
        let (writer, mut rng) = (identity(2), ChaCha20Rng::seed_from_u64(1));
        let ends = Expiry::at_least(UnixTime(ISSUED.0 + 86_400));
        let locator = Locator::of_author(&writer, b"label").expect("short");
        let mut record = locator.seal(&network(), &writer, 0, (1, ends), b"payload", &mut rng).expect("short").0;
        record[..32].copy_from_slice(&author.public().0);
        let message = record_message(&network(), &RecordBytes::new(&record[..]).expect("of its length"));
        let at = record.len() - 64;
        record[at..].copy_from_slice(&author.sign(&message, torsion).0);
        let value = Value::Signed(RecordBytes::new(&record[..]).expect("of its length"));
        assert_eq!(VerifiedValue::check(&network(), value, ISSUED).is_ok(), holds);
    }
}
