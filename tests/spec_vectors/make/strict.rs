//! Keys and signatures that a lax verifier of Ed25519 takes, and a strict one refuses (spec/crypto.md §1).

use bauta::crypto::hash::blake3;
use curve25519_dalek::constants::{ED25519_BASEPOINT_POINT as BASE, EIGHT_TORSION};
use curve25519_dalek::edwards::{CompressedEdwardsY, EdwardsPoint};
use curve25519_dalek::scalar::Scalar;
use curve25519_dalek::traits::IsIdentity;
use sha2::{Digest, Sha512};

/// The order of the base point, little-endian (RFC 8032 §5.1).
const ORDER: [u8; 32] = [
    0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
];

/// One signature that holds by the equation with the cofactor, 8 S B = 8 R + 8 h A, and must be refused all the same.
pub(super) struct Lax {
    pub(super) name: &'static str,
    pub(super) key: [u8; 32],
    pub(super) signature: [u8; 64],
}

/// y = 1 as 32 bytes: the neutral point.
pub(super) fn neutral() -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes[0] = 1;
    bytes
}

/// The same point with a y above the prime: 1 + p.
pub(super) fn neutral_not_canonical() -> [u8; 32] {
    let mut bytes = [0xff; 32];
    (bytes[0], bytes[31]) = (0xee, 0x7f);
    bytes
}

/// This key with a part of order eight.
pub(super) fn with_torsion(key: [u8; 32]) -> [u8; 32] {
    (CompressedEdwardsY(key).decompress().unwrap() + EIGHT_TORSION[1]).compress().0
}

fn scalar(word: &str) -> Scalar {
    Scalar::from_bytes_mod_order(blake3(&[b"strict", word.as_bytes()]))
}

fn challenge(r: &[u8; 32], key: &[u8; 32], message: &[u8]) -> Scalar {
    let digest: [u8; 64] = Sha512::new().chain_update(r).chain_update(key).chain_update(message).finalize().into();
    Scalar::from_bytes_mod_order_wide(&digest)
}

fn signed(name: &'static str, (a, key): (Scalar, [u8; 32]), (r, head): (Scalar, [u8; 32]), message: &[u8]) -> Lax {
    let s = r + challenge(&head, &key, message) * a;
    let mut signature = [0; 64];
    signature[..32].copy_from_slice(&head);
    signature[32..].copy_from_slice(s.as_bytes());
    Lax { name, key, signature }
}

/// The same with the order added to its number.
fn with_order(mut lax: Lax) -> Lax {
    let mut carry = 0;
    for (byte, more) in lax.signature[32..].iter_mut().zip(ORDER) {
        let sum = u16::from(*byte) + u16::from(more) + carry;
        (*byte, carry) = (sum.to_le_bytes()[0], sum >> 8);
    }
    assert_eq!(carry, 0);
    lax
}

fn holds_with_the_cofactor(lax: &Lax, message: &[u8]) -> bool {
    let point = |bytes: &[u8]| CompressedEdwardsY(bytes.try_into().unwrap()).decompress().unwrap();
    let (head, s): ([u8; 32], [u8; 32]) =
        (lax.signature[..32].try_into().unwrap(), lax.signature[32..].try_into().unwrap());
    let h = challenge(&head, &lax.key, message);
    let difference: EdwardsPoint = BASE * Scalar::from_bytes_mod_order(s) - point(&head) - point(&lax.key) * h;
    difference.mul_by_cofactor().is_identity()
}

/// Each way to be lax, for what is signed under a key.
pub(super) fn lax(message_of: impl Fn(&[u8; 32]) -> Vec<u8>) -> Vec<Lax> {
    let (a, r) = (scalar("key"), scalar("nonce"));
    let (key, head) = ((BASE * a).compress().0, (BASE * r).compress().0);
    let signed = |name, own: (Scalar, [u8; 32]), nonce| signed(name, own, nonce, &message_of(&own.1));
    let mixed = (a, with_torsion(key));
    // Where the challenge is a multiple of eight, the part of order eight shows in no equation.
    let shows = |nonce: &Scalar| {
        let h = challenge(&(BASE * nonce).compress().0, &mixed.1, &message_of(&mixed.1));
        !h.as_bytes()[0].is_multiple_of(8)
    };
    let nonce = (0..64).map(|at| scalar(&format!("nonce {at}"))).find(shows).unwrap();
    let all = vec![
        signed("the neutral point as key", (Scalar::ZERO, neutral()), (r, head)),
        signed("the neutral point as key, not canonical", (Scalar::ZERO, neutral_not_canonical()), (r, head)),
        signed("the neutral point as R", (a, key), (Scalar::ZERO, neutral())),
        signed("the neutral point as R, not canonical", (a, key), (Scalar::ZERO, neutral_not_canonical())),
        with_order(signed("S with the order added", (a, key), (r, head))),
        signed("R with a part of order eight", (a, key), (r, with_torsion(head))),
        signed("a key with a part of order eight", mixed, (nonce, (BASE * nonce).compress().0)),
    ];
    assert!(all.iter().all(|one| holds_with_the_cofactor(one, &message_of(&one.key))));
    all
}
