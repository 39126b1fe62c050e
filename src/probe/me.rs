//! Who the probe says that it is. Every field may be set to what is wrong; what the constructors make is right.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use crate::crypto::CryptoRng;
use crate::crypto::keys::{DhSecret, IdentitySecret};
use crate::crypto::puzzle::solve;
use crate::limits::CELL_LEN;
use crate::onion::OnionKeys;
use crate::time::Now;
use crate::wire::address::Address;
use crate::wire::cell::{Cell, Command};
use crate::wire::descriptor::{Descriptor, VerifiedDescriptor};
use crate::wire::hello::Hello;
use crate::wire::network::{Network, VERSIONS};

/// Trials of the identity puzzle: for difficulties that a test can wait for.
const PUZZLE_TRIALS: u32 = 1 << 16;

/// Where relays that are played say they listen. The block is global, as every network asks of an address, and belongs to nobody
/// since the 6bone gave it back (RFC 3701). Since they dial from elsewhere, a target lets them ask as relays, and neither takes them
/// for members nor asks them anything.
pub const NOBODYS_ADDRESS: SocketAddr = SocketAddr::new(IpAddr::V6(Ipv6Addr::new(0x3ffe, 0, 0, 0, 0, 0, 0, 1)), 9);

/// One end of a link.
pub struct Me {
    /// The static key that the handshake proves.
    pub secret: DhSecret,
    /// What it says of itself in the first cell.
    pub hello: Hello,
    /// What a relay has besides.
    pub relay: Option<AsRelay>,
}

/// What a relay has.
pub struct AsRelay {
    /// It signs descriptors and statements.
    pub identity: IdentitySecret,
    /// They open what is built to it.
    pub onion: OnionKeys,
    /// What it says of itself, as the hello has it.
    pub descriptor: VerifiedDescriptor,
}

impl Me {
    /// A client: a fresh key, no descriptor.
    pub fn client(rng: &mut dyn CryptoRng) -> Self {
        let hello = Hello { versions: VERSIONS, descriptor: None };
        Self { secret: DhSecret::generate(rng), hello, relay: None }
    }

    /// A relay that says it listens there. `None` when its puzzle is not solved in 65,536 trials of 4 MiB and milliseconds each.
    pub fn relay(network: &Network, address: SocketAddr, now: Now, rng: &mut dyn CryptoRng) -> Option<Self> {
        let (secret, identity) = (DhSecret::generate(rng), IdentitySecret::generate(rng));
        let key = identity.public();
        let solution = solve(&network.id, &key, network.difficulty, 0, PUZZLE_TRIALS)?;
        let onion = OnionKeys::new(*network, key, now, rng);
        let (onion_key, onion_epoch) = onion.public();
        let descriptor = Descriptor {
            key,
            solution,
            link_key: secret.public(),
            onion_epoch,
            onion_key,
            address: Address(address),
            family: [0; 8],
            versions: VERSIONS,
            issued: now.unix.to_wire(),
            effort: 0,
        };
        let descriptor = descriptor.sign(network, &identity);
        let hello = Hello { versions: VERSIONS, descriptor: Some(descriptor.to_signed()) };
        Some(Self { secret, hello, relay: Some(AsRelay { identity, onion, descriptor }) })
    }

    /// The first cell, as its bytes: with a hello that fits.
    #[must_use]
    pub fn hello_cell(&self) -> [u8; CELL_LEN] {
        let mut cell = Cell::of_link(Command::Hello);
        cell.body_mut().iter_mut().zip(self.hello.encode()).for_each(|(to, from)| *to = from);
        let mut plain = [0; CELL_LEN];
        cell.encode(&mut plain);
        plain
    }
}
