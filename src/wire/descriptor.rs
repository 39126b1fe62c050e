//! A relay's signed description of itself, 234 bytes. Source: spec/membership.md §1.

use std::sync::Arc;

use super::address::Address;
use super::codec::{Malformed, Reader};
use super::network::Network;
use crate::crypto::hash::blake3;
use crate::crypto::keys::{DhKey, IdentitySecret, NodeKey, Signature};
use crate::crypto::puzzle::Solution;
use crate::keyspace::Id;
use crate::limits::{CLOCK_SKEW_S, DESCRIPTOR_LIFE_S, ONION_KEY_LIFE_S, ONION_KEY_OVERLAP_S};
use crate::time::UnixTime;

/// Bytes of an encoded descriptor, signature included.
pub const DESCRIPTOR_LEN: usize = 234;
const SIGNED_LEN: usize = DESCRIPTOR_LEN - 64;

/// What a relay says of itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Descriptor {
    /// Ed25519 identity.
    pub key: NodeKey,
    /// Puzzle that buys the place in the keyspace.
    pub solution: Solution,
    /// X25519 key of link handshakes.
    pub link_key: DhKey,
    /// Issue time of the onion key, seconds; its low byte is the hint in build packets.
    pub onion_epoch: u32,
    /// X25519 key of onion layers.
    pub onion_key: DhKey,
    /// Where it listens.
    pub address: Address,
    /// Relays with an equal, non-zero family never share a path.
    pub family: [u8; 8],
    /// Lowest and highest protocol version.
    pub versions: (u8, u8),
    /// Number of the descriptor: its issue time in seconds, strictly increasing.
    pub issued: u32,
    /// Effort asked of anonymous writes, a step of the ladder 0 to 3.
    pub effort: u8,
}

/// A decoded descriptor that nobody has checked: it has no getters but [`Self::verify`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SignedDescriptor {
    descriptor: Descriptor,
    bytes: [u8; DESCRIPTOR_LEN],
}

/// A descriptor whose signature, puzzle and times were checked. A handle: clones share what was checked, which never changes.
#[derive(Clone, Debug)]
pub struct VerifiedDescriptor(Arc<Checked>);

#[derive(PartialEq, Eq, Debug)]
struct Checked {
    descriptor: Descriptor,
    id: Id,
    /// Stands for the bytes where two relays compare what they hold.
    digest: u64,
    bytes: [u8; DESCRIPTOR_LEN],
}

/// Three bytes that stand for a descriptor in one question. They prove nothing. Source: spec/membership.md §2.4.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fingerprint(pub [u8; 3]);

impl Fingerprint {
    fn number(self) -> u32 {
        let Self([a, b, c]) = self;
        u32::from_be_bytes([0, a, b, c])
    }
}

// By hand: bytes one after the other are compared by a call, and every pull sorts thousands.
impl Ord for Fingerprint {
    fn cmp(&self, other: &Self) -> core::cmp::Ordering {
        self.number().cmp(&other.number())
    }
}

impl PartialOrd for Fingerprint {
    fn partial_cmp(&self, other: &Self) -> Option<core::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

/// Why a descriptor is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DescriptorRefused {
    /// The signature does not fit.
    #[error("descriptor: bad signature")]
    Signature,
    /// The puzzle is not solved, or not by this key.
    #[error("descriptor: identity puzzle not solved")]
    Puzzle,
    /// Older than its life.
    #[error("descriptor: expired")]
    Expired,
    /// Issued in the future, beyond what clocks may differ.
    #[error("descriptor: issued in the future")]
    Future,
    /// Its address is not global, and the network's difficulty is above 0.
    #[error("descriptor: an address that is not global")]
    Address,
}

fn signed_message(network: &Network, body: &[u8]) -> Vec<u8> {
    [&b"bauta/1 descriptor"[..], &network.id, body].concat()
}

fn time(reader: &mut Reader<'_>, name: &'static str) -> Result<u32, Malformed> {
    let seconds = reader.field(name).u32()?;
    reader.say(|| UnixTime::from_wire(seconds).to_utc());
    Ok(seconds)
}

impl Descriptor {
    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(DESCRIPTOR_LEN);
        out.extend_from_slice(&self.key.0);
        out.extend_from_slice(&self.solution.counter.to_be_bytes());
        out.extend_from_slice(&self.solution.y);
        out.extend_from_slice(&self.link_key.0);
        out.extend_from_slice(&self.onion_epoch.to_be_bytes());
        out.extend_from_slice(&self.onion_key.0);
        self.address.encode(&mut out);
        out.extend_from_slice(&self.family);
        out.extend_from_slice(&[self.versions.0, self.versions.1]);
        out.extend_from_slice(&self.issued.to_be_bytes());
        out.push(self.effort);
        out
    }

    /// Signs it with the identity whose key it names.
    #[must_use]
    pub fn sign(self, network: &Network, secret: &IdentitySecret) -> VerifiedDescriptor {
        let body = self.encode();
        let signature = secret.sign(&signed_message(network, &body));
        let mut bytes = [0; DESCRIPTOR_LEN];
        bytes.iter_mut().zip(body.iter().chain(&signature.0)).for_each(|(to, from)| *to = *from);
        VerifiedDescriptor::of(self, bytes)
    }

    /// The onion-key hint that stands in build packets for this relay.
    #[must_use]
    pub fn onion_hint(&self) -> u8 {
        self.onion_epoch.to_be_bytes()[3]
    }

    /// Whether the relay still opens what is sealed to this onion key, as far as its age shows: a descriptor that was kept for
    /// hours may name a key that is no more.
    #[must_use]
    pub fn has_live_onion_key(&self, now: UnixTime) -> bool {
        now.0 < u64::from(self.onion_epoch).saturating_add(ONION_KEY_LIFE_S + ONION_KEY_OVERLAP_S)
    }

    /// Whether both are of one declared family.
    #[must_use]
    pub fn is_family_of(&self, other: &Self) -> bool {
        self.family != [0; 8] && self.family == other.family
    }
}

impl SignedDescriptor {
    /// Reads 234 bytes.
    ///
    /// # Errors
    /// [`Malformed`] for bad addresses, an empty version range or an effort off the ladder.
    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let start = reader.rest();
        let descriptor = Descriptor {
            key: NodeKey(reader.field("identity key").array()?),
            solution: Solution {
                counter: reader.field("puzzle counter").u32()?,
                y: reader.field("puzzle solution").array()?,
            },
            link_key: DhKey(reader.field("link key").array()?),
            onion_epoch: time(reader, "onion-key epoch")?,
            onion_key: DhKey(reader.field("onion key").array()?),
            address: Address::decode(reader)?,
            family: reader.field("family").array()?,
            versions: (reader.field("lowest version").u8()?, reader.field("highest version").u8()?),
            issued: time(reader, "issued")?,
            effort: reader.field("effort asked").u8()?,
        };
        let (low, high) = descriptor.versions;
        if low == 0 || low > high || descriptor.effort > 3 {
            return Err(Malformed::Value);
        }
        reader.field("signature").array::<64>()?;
        Ok(Self { descriptor, bytes: *start.first_chunk().ok_or(Malformed::Short)? })
    }

    /// Checks times, address, zero bits, signature and puzzle, cheapest first. Costs 4 MiB and some milliseconds.
    ///
    /// # Errors
    /// [`DescriptorRefused`] names the first check that failed.
    pub fn verify(self, network: &Network, now: UnixTime) -> Result<VerifiedDescriptor, DescriptorRefused> {
        self.verify_with(network, now, Solution::verify)
    }

    /// As [`Self::verify`], with the puzzle's check given: a shell may remember what it has checked before.
    ///
    /// # Errors
    /// [`DescriptorRefused`] names the first check that failed.
    pub fn verify_with(
        self,
        network: &Network,
        now: UnixTime,
        puzzle: impl FnOnce(&Solution, &[u8; 32], &NodeKey, u8) -> bool,
    ) -> Result<VerifiedDescriptor, DescriptorRefused> {
        let descriptor = self.descriptor;
        let issued = u64::from(descriptor.issued);
        if issued > now.0.saturating_add(CLOCK_SKEW_S) {
            return Err(DescriptorRefused::Future);
        }
        if now.0 > issued.saturating_add(DESCRIPTOR_LIFE_S) {
            return Err(DescriptorRefused::Expired);
        }
        if !network.may_reach(&descriptor.address) {
            return Err(DescriptorRefused::Address);
        }
        if !descriptor.solution.looks_solved(network.difficulty) {
            return Err(DescriptorRefused::Puzzle);
        }
        let (body, signature) = self.bytes.split_last_chunk::<64>().ok_or(DescriptorRefused::Signature)?;
        debug_assert_eq!(body.len(), SIGNED_LEN);
        let message = signed_message(network, body);
        descriptor.key.verify(&message, &Signature(*signature)).map_err(|_| DescriptorRefused::Signature)?;
        if !puzzle(&descriptor.solution, &network.id, &descriptor.key, network.difficulty) {
            return Err(DescriptorRefused::Puzzle);
        }
        Ok(VerifiedDescriptor::of(descriptor, self.bytes))
    }
}

impl VerifiedDescriptor {
    fn of(descriptor: Descriptor, bytes: [u8; DESCRIPTOR_LEN]) -> Self {
        let id = descriptor.solution.id(&descriptor.key);
        let digest = blake3(&[b"bauta/1 held", &bytes]).first_chunk().map_or(0, |first| u64::from_be_bytes(*first));
        Self(Arc::new(Checked { descriptor, id, digest, bytes }))
    }

    /// The node's id.
    #[must_use]
    pub fn id(&self) -> Id {
        self.0.id
    }

    /// The signed bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; DESCRIPTOR_LEN] {
        &self.0.bytes
    }

    /// What stands for it under this salt. Whatever two descriptors are, few salts give them one fingerprint: one in eight
    /// million at most, so nobody can make a descriptor that hides another.
    #[must_use]
    pub fn fingerprint(&self, salt: u64) -> Fingerprint {
        // Multiply-shift hashing. Source: Dietzfelbinger et al., A reliable randomized algorithm for the closest-pair problem (1997).
        let [first, second, third, ..] = self.0.digest.wrapping_mul(salt | 1).to_be_bytes();
        Fingerprint([first, second, third])
    }

    /// The same bytes as somebody else gets them: unchecked.
    #[must_use]
    pub fn to_signed(&self) -> SignedDescriptor {
        SignedDescriptor { descriptor: self.0.descriptor, bytes: self.0.bytes }
    }
}

impl PartialEq for VerifiedDescriptor {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.0 == other.0
    }
}

impl Eq for VerifiedDescriptor {}

impl core::ops::Deref for VerifiedDescriptor {
    type Target = Descriptor;

    fn deref(&self) -> &Descriptor {
        &self.0.descriptor
    }
}

impl SignedDescriptor {
    /// The signed bytes, to be passed on.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; DESCRIPTOR_LEN] {
        &self.bytes
    }

    /// Whose descriptor it claims to be, and its number: to skip what is known already, never to believe it.
    #[must_use]
    pub fn claim(&self) -> (NodeKey, u32) {
        (self.descriptor.key, self.descriptor.issued)
    }

    /// What it says of its relay, whenever that was said: all but number and signature.
    #[must_use]
    pub fn content(&self) -> Vec<u8> {
        Descriptor { issued: 0, ..self.descriptor }.encode()
    }

    /// Whether it claims this link key: to refuse a stranger's descriptor before the dear checks, never to believe it.
    #[must_use]
    pub fn claims_link_key(&self, key: &DhKey) -> bool {
        self.descriptor.link_key == *key
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::ChaCha20Rng;

    use super::*;
    use crate::crypto::keys::DhSecret;
    use crate::crypto::puzzle::solve;

    fn sample(network: &Network) -> (Descriptor, IdentitySecret) {
        let mut rng = ChaCha20Rng::seed_from_u64(4);
        let secret = IdentitySecret::generate(&mut rng);
        let descriptor = Descriptor {
            key: secret.public(),
            solution: solve(&network.id, &secret.public(), network.difficulty, 0, 1_000).unwrap(),
            link_key: DhSecret::generate(&mut rng).public(),
            onion_epoch: 77,
            onion_key: DhSecret::generate(&mut rng).public(),
            address: Address("127.1.0.1:9".parse().unwrap()),
            family: [0; 8],
            versions: (1, 1),
            issued: 1_000_000,
            effort: 0,
        };
        (descriptor, secret)
    }

    // [MEMB-W-001] [MEMB-R-003]
    #[test]
    fn a_signed_descriptor_survives_the_wire_and_each_flipped_byte_is_refused() {
        let network = Network::named("test", 1);
        let (mut descriptor, secret) = sample(&network);
        descriptor.address = Address("20.1.0.1:9".parse().unwrap());
        let signed = descriptor.sign(&network, &secret);
        let decode = |bytes: &[u8]| SignedDescriptor::decode(&mut Reader::new(bytes));
        let verified = decode(signed.as_bytes()).unwrap().verify(&network, UnixTime(1_000_000)).unwrap();
        assert_eq!(verified, signed);
        for at in 0..DESCRIPTOR_LEN {
            let mut bytes = *signed.as_bytes();
            bytes[at] ^= 1;
            let refused = decode(&bytes).map(|other| other.verify(&network, UnixTime(1_000_000)).is_err());
            assert_ne!(refused, Ok(false), "byte {at}");
        }
    }

    // [MEMB-R-003] [CRYPTO-W-005] [VER-R-007]
    #[test]
    fn another_network_a_late_and_an_early_clock_and_an_unsolved_puzzle_are_refused_by_name() {
        let network = Network::named("test", 0);
        let (descriptor, secret) = sample(&network);
        let check = |descriptor: Descriptor, network: &Network, now| {
            descriptor.sign(&Network::named("test", 0), &secret).to_signed().verify(network, UnixTime(now)).map(|_| ())
        };
        let other = Network::named("other", 0);
        assert_eq!(check(descriptor, &network, 1_000_000), Ok(()));
        assert_eq!(check(descriptor, &other, 1_000_000), Err(DescriptorRefused::Signature));
        assert_eq!(check(descriptor, &network, 1_000_001 + DESCRIPTOR_LIFE_S), Err(DescriptorRefused::Expired));
        assert_eq!(check(descriptor, &network, 999_999 - CLOCK_SKEW_S), Err(DescriptorRefused::Future));
        let mut forged = descriptor;
        forged.solution.y[0] ^= 1;
        assert_eq!(check(forged, &network, 1_000_000), Err(DescriptorRefused::Puzzle));
    }

    // [MEMB-R-065]
    #[test]
    fn an_address_that_is_not_global_is_refused_where_identities_have_a_price_and_nowhere_else() {
        for (address, is_global) in [
            ("127.1.0.1:9", false),
            ("192.168.7.1:80", false),
            ("100.64.0.1:9", false),
            ("[fd00::1]:9", false),
            ("[2002:c0a8:701::1]:80", false),
            ("20.1.0.1:9", true),
            ("[2600::1]:9", true),
        ] {
            for difficulty in [0, 1] {
                let network = Network::named("test", difficulty);
                let (mut descriptor, secret) = sample(&network);
                descriptor.address = Address(address.parse().unwrap());
                let checked = descriptor.sign(&network, &secret).to_signed().verify(&network, UnixTime(1_000_000));
                let refused = (difficulty > 0 && !is_global).then_some(DescriptorRefused::Address);
                assert_eq!(checked.err(), refused, "{address} at {difficulty}");
            }
        }
    }
}
