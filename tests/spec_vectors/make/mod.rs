//! Makes the vectors of `spec/vectors` from fixed inputs: what is random elsewhere is given here, and stands in the files.

pub(crate) mod content;
mod crypto;
mod exits;
mod field;
mod link;
mod onion;
mod values;
mod wire;

use std::convert::Infallible;

use bauta::crypto::hash::blake3;
use bauta::crypto::keys::{DhSecret, IdentitySecret};
use bauta::crypto::puzzle::solve;
use bauta::time::UnixTime;
use bauta::wire::address::Address;
use bauta::wire::descriptor::{Descriptor, VerifiedDescriptor};
use bauta::wire::network::Network;
use rand::{TryCryptoRng, TryRng};

pub(crate) use field::{Field, Fields, bytes, text};

/// One file of `spec/vectors`.
pub(crate) struct VectorFile {
    /// Without its ending.
    pub(crate) name: &'static str,
    pub(crate) description: &'static str,
    /// Pages and sections.
    pub(crate) spec: &'static [&'static str],
    pub(crate) cases: Vec<Fields>,
    /// What must be refused, and with which words.
    pub(crate) invalid: Vec<Fields>,
}

impl VectorFile {
    /// The file's text.
    pub(crate) fn to_json(&self) -> String {
        let list = |rows: &[Fields]| Field::List(rows.iter().cloned().map(Field::Object).collect());
        let spec = self.spec.iter().map(|section| text(section)).collect();
        let mut fields =
            vec![("description", text(self.description)), ("spec", Field::List(spec)), ("cases", list(&self.cases))];
        if !self.invalid.is_empty() {
            fields.push(("invalid", list(&self.invalid)));
        }
        Field::Object(fields).to_json() + "\n"
    }
}

/// Every file.
pub(crate) fn files() -> Vec<VectorFile> {
    [crypto::files(), wire::files(), exits::files(), values::files(), content::files(), link::files(), onion::files()]
        .into_iter()
        .flatten()
        .collect()
}

/// The time of all vectors.
pub(crate) const NOW: UnixTime = UnixTime(1_760_000_000);

pub(crate) fn network() -> Network {
    Network::named("vectors", 0)
}

/// So many bytes that look random, from a word.
pub(crate) fn made<const N: usize>(word: &str) -> [u8; N] {
    made_vec(word, N).try_into().unwrap()
}

pub(crate) fn made_vec(word: &str, len: usize) -> Vec<u8> {
    let blocks = (0_u32..).flat_map(|block| blake3(&[b"vectors", word.as_bytes(), &block.to_be_bytes()]));
    blocks.take(len).collect()
}

pub(crate) fn identity(word: &str) -> IdentitySecret {
    IdentitySecret::from_bytes(&made(&format!("identity {word}")))
}

pub(crate) fn dh_secret(word: &str) -> DhSecret {
    DhSecret::from_bytes(&made(&format!("dh {word}")))
}

/// The descriptor of a relay of this word; its onion key is `dh_secret("onion WORD")`, its link key `dh_secret("link WORD")`.
pub(crate) fn descriptor(word: &str, onion_epoch: u32, address: &str) -> VerifiedDescriptor {
    let (network, identity) = (network(), identity(word));
    let descriptor = Descriptor {
        key: identity.public(),
        solution: solve(&network.id, &identity.public(), network.difficulty, 0, 1).unwrap(),
        link_key: dh_secret(&format!("link {word}")).public(),
        onion_epoch,
        onion_key: dh_secret(&format!("onion {word}")).public(),
        address: Address(address.parse().unwrap()),
        family: [0; 8],
        versions: (1, 1),
        issued: NOW.to_wire(),
        effort: 0,
    };
    descriptor.sign(&network, &identity)
}

/// A generator that gives what it was given, in that order, and no byte more.
pub(crate) struct Given(pub(crate) Vec<u8>);

impl Given {
    /// It gives these parts, one after the other.
    pub(crate) fn new(parts: &[&[u8]]) -> Self {
        Self(parts.concat())
    }
}

impl TryRng for Given {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut out = [0; 4];
        self.try_fill_bytes(&mut out)?;
        Ok(u32::from_le_bytes(out))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut out = [0; 8];
        self.try_fill_bytes(&mut out)?;
        Ok(u64::from_le_bytes(out))
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Infallible> {
        let rest = self.0.split_off(out.len());
        out.copy_from_slice(&self.0);
        self.0 = rest;
        Ok(())
    }
}

impl TryCryptoRng for Given {}
