//! Relays for tests: made from a number and an address, signed, without paying for a puzzle.

use crate::crypto::hash::blake3;
use crate::crypto::keys::{DhKey, IdentitySecret, NodeKey};
use crate::crypto::puzzle::Solution;
use crate::membership::members::{Members, Merge};
use crate::time::UnixTime;
use crate::wire::address::Address;
use crate::wire::descriptor::{Descriptor, VerifiedDescriptor};
use crate::wire::network::Network;

/// The time at which the relays of tests issued their descriptors.
pub(crate) const ISSUED: UnixTime = UnixTime(1_800_000_000);

pub(crate) fn network() -> Network {
    Network::named("test", 0)
}

pub(crate) fn secret(number: u32) -> IdentitySecret {
    IdentitySecret::from_bytes(&blake3(&[b"identity", &number.to_be_bytes()]))
}

pub(crate) fn key(number: u32) -> NodeKey {
    secret(number).public()
}

/// A relay of this number at this IPv4 address, unsigned.
pub(crate) fn described(number: u32, ip: [u8; 4]) -> Descriptor {
    Descriptor {
        key: key(number),
        solution: Solution { counter: 0, y: blake3(&[b"place", &number.to_be_bytes()]) },
        link_key: DhKey(blake3(&[b"link", &number.to_be_bytes()])),
        onion_epoch: ISSUED.to_wire(),
        onion_key: DhKey(blake3(&[b"onion", &number.to_be_bytes()])),
        address: Address((ip, 9_000).into()),
        family: [0; 8],
        versions: (1, 1),
        issued: ISSUED.to_wire(),
        effort: 0,
    }
}

pub(crate) fn signed(descriptor: Descriptor, number: u32) -> VerifiedDescriptor {
    descriptor.sign(&network(), &secret(number))
}

/// A relay of this number at this IPv4 address.
pub(crate) fn relay_at(number: u32, ip: [u8; 4]) -> VerifiedDescriptor {
    signed(described(number, ip), number)
}

/// A relay of this number in a /16 of its own.
pub(crate) fn relay(number: u32) -> VerifiedDescriptor {
    let [_, _, high, low] = number.to_be_bytes();
    relay_at(number, [10 + high, low, 0, 1])
}

/// A membership of these relays.
pub(crate) fn members_of(relays: impl IntoIterator<Item = VerifiedDescriptor>) -> Members {
    let mut members = Members::new(100_000);
    relays.into_iter().for_each(|relay| assert_eq!(members.merge(relay, ISSUED), Merge::New));
    members
}
