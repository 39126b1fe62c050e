//! Makes the vectors of `spec/vectors` from fixed inputs: what is random elsewhere is given here, and stands in the files.

pub(crate) mod content;
mod crypto;
mod exits;
mod field;
mod kept;
mod keys;
mod link;
mod onion;
mod strict;
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

/// Words that only this refusal has, and its id: the name of the type of error and of its variant.
pub(crate) const ERRORS: [(&str, &str); 32] = [
    ("message is too short", "Malformed::Short"),
    ("message has trailing bytes", "Malformed::Trailing"),
    ("message has a field out of bounds", "Malformed::Value"),
    ("failed to authenticate", "Forged"),
    ("not a solution", "Unsolved"),
    ("descriptor: bad signature", "DescriptorRefused::Signature"),
    ("descriptor: identity puzzle not solved", "DescriptorRefused::Puzzle"),
    ("descriptor: expired", "DescriptorRefused::Expired"),
    ("descriptor: issued in the future", "DescriptorRefused::Future"),
    ("descriptor: an address that is not global", "DescriptorRefused::Address"),
    ("value: forged or damaged", "RecordRefused::Forged"),
    ("value: expired", "RecordRefused::Expired"),
    ("value: expires too far in the future", "RecordRefused::TooLong"),
    ("content has at most", "TooLong"),
    ("root: damaged", "RootRefused::Malformed"),
    ("a file name has 1 to", "NameRefused::Length"),
    ("a file name has no path separator", "NameRefused::Characters"),
    ("the index of the folder is damaged", "FolderRefused::Malformed"),
    (": not a path that can be written", "FolderRefused::Path"),
    (": some systems would take them for one", "FolderRefused::Clash"),
    ("not a link:", "LinkRefused::Text"),
    ("link of a later version", "LinkRefused::Version"),
    ("link holds no usable key", "LinkRefused::Key"),
    ("not a key:", "KeyRefused::Text"),
    ("key of a later version", "KeyRefused::Version"),
    ("a name has at least one character", "TargetRefused::Empty"),
    ("a name has at most", "TargetRefused::Long"),
    ("a name has no control character", "TargetRefused::Characters"),
    ("a name does not begin with bauta1", "TargetRefused::LooksLikeLink"),
    ("written by another version of bauta", "StateError::Layout"),
    ("a frame over its bound", "Frame::Long"),
    ("a frame that is none", "Frame::Malformed"),
];

/// The id of a refusal, by its words.
fn error_id(words: &Field) -> &'static str {
    let Field::Text(words) = words else { panic!("an error is in words") };
    // What state files say is a part of a message, and too short for the list.
    let found = ERRORS.iter().find(|(part, _)| words.contains(part)).map(|(_, id)| *id);
    found.or((words == "damaged").then_some("StateError::Damaged")).unwrap_or_else(|| panic!("no id for {words}"))
}

impl VectorFile {
    /// The file's text.
    pub(crate) fn to_json(&self) -> String {
        let list = |rows: &[Fields]| Field::List(rows.iter().cloned().map(Field::Object).collect());
        let spec = self.spec.iter().map(|section| text(section)).collect();
        let mut fields =
            vec![("description", text(self.description)), ("spec", Field::List(spec)), ("cases", list(&self.cases))];
        if !self.invalid.is_empty() {
            let with_id = |row: &Fields| {
                let (_, words) = row.iter().find(|(name, _)| *name == "error").unwrap();
                [row.clone(), vec![("error_id", text(error_id(words)))]].concat()
            };
            let rows: Vec<Fields> = self.invalid.iter().map(with_id).collect();
            fields.push(("invalid", list(&rows)));
        }
        Field::Object(fields).to_json() + "\n"
    }
}

/// Every file.
pub(crate) fn files() -> Vec<VectorFile> {
    [
        crypto::files(),
        keys::files(),
        kept::files(),
        wire::files(),
        exits::files(),
        values::files(),
        content::files(),
        link::files(),
        onion::files(),
    ]
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
