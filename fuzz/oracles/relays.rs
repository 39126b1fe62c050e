//! Relays for oracles: made from a number, signed by real keys, without paying for a puzzle. Those of the first numbers are made once:
//! a key or a signature takes longer than most of what an input does otherwise.

use std::sync::OnceLock;

use bauta::crypto::hash::blake3;
use bauta::crypto::keys::{DhSecret, IdentitySecret};
use bauta::crypto::puzzle::Solution;
use bauta::time::UnixTime;
use bauta::wire::address::Address;
use bauta::wire::descriptor::{Descriptor, VerifiedDescriptor};
use bauta::wire::network::{Network, VERSIONS};

/// When everything here was issued.
pub const ISSUED: UnixTime = UnixTime(1_800_000_000);

/// The network; it asks for no puzzle.
pub fn network() -> Network {
    Network::named("fuzz", 0)
}

/// Numbers of which what was made is kept.
const KEPT: usize = 256;
type KeptOf<T> = [OnceLock<T>; KEPT];

fn kept<T: Clone>(of: &KeptOf<T>, number: u32, make: impl FnOnce() -> T) -> T {
    match usize::try_from(number).ok().and_then(|at| of.get(at)) {
        Some(one) => one.get_or_init(make).clone(),
        None => make(),
    }
}

/// The identity of this number.
pub fn identity(number: u32) -> IdentitySecret {
    static IDENTITIES: KeptOf<IdentitySecret> = [const { OnceLock::new() }; KEPT];
    kept(&IDENTITIES, number, || IdentitySecret::from_bytes(&blake3(&[b"identity", &number.to_be_bytes()])))
}

/// The link or onion secret of this number.
pub fn dh(number: u32) -> DhSecret {
    static SECRETS: KeptOf<DhSecret> = [const { OnceLock::new() }; KEPT];
    kept(&SECRETS, number, || DhSecret::from_bytes(&blake3(&[b"dh", &number.to_be_bytes()])))
}

/// What the relay of this number says of itself at this address.
pub fn described(number: u32, ip: [u8; 4]) -> Descriptor {
    Descriptor {
        key: identity(number).public(),
        solution: Solution { counter: 0, y: blake3(&[b"place", &number.to_be_bytes()]) },
        link_key: dh(number).public(),
        onion_epoch: ISSUED.to_wire(),
        onion_key: dh(number).public(),
        address: Address((ip, 9_000).into()),
        family: [0; 8],
        versions: VERSIONS,
        issued: ISSUED.to_wire(),
        effort: 0,
    }
}

/// The relay of this number at this address.
pub fn relay_at(number: u32, ip: [u8; 4]) -> VerifiedDescriptor {
    described(number, ip).sign(&network(), &identity(number))
}

/// The relay of this number in a /16 of its own.
pub fn relay(number: u32) -> VerifiedDescriptor {
    static RELAYS: KeptOf<VerifiedDescriptor> = [const { OnceLock::new() }; KEPT];
    let [_, _, high, low] = number.to_be_bytes();
    kept(&RELAYS, number, || relay_at(number, [10 + high, low, 0, 1]))
}
