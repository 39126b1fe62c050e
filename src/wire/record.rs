//! The signed value's shape, 1,173 bytes, and the two kinds of values. Checked in `record/`. Source: spec/values.md §2.

use super::codec::{Malformed, Reader};
use crate::crypto::hash::{blake3, hashed_location};
use crate::crypto::keys::{NodeKey, Signature};
use crate::keyspace::Location;
use crate::limits::{
    CHUNK_HOLDERS, CHUNK_HOLDERS_HOT, CHUNK_LOCATIONS, EXPIRY_STEP_S, HOLDERS, LOCATIONS, PAYLOAD_LEN_MAX, RECORD_LEN,
    REPAIR_REACH, SEALED_CHUNK_LEN, SIGNERS, TAG_LEN,
};
use crate::time::{Duration, UnixTime};

/// Bytes of a signed value's ciphertext: length, payload, padding.
pub const RECORD_TEXT_LEN: usize = PAYLOAD_LEN_MAX + 2;

const _: () = assert!(32 + 8 + 3 + 24 + RECORD_TEXT_LEN + TAG_LEN + 64 == RECORD_LEN);

/// Whether a value is signed (mutable) or named by its hash (immutable).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum ValueKind {
    /// Records, roots, manifests.
    Signed,
    /// Chunks.
    Hashed,
}

impl ValueKind {
    /// How many of the nearest members keep a value of this kind at one location.
    #[must_use]
    pub const fn holders(self) -> usize {
        match self {
            Self::Signed => HOLDERS,
            Self::Hashed => CHUNK_HOLDERS,
        }
    }

    /// How many of the nearest members look after its place: two more than keep it (spec/dht.md §7.4).
    #[must_use]
    pub const fn reach(self) -> usize {
        self.holders() + (REPAIR_REACH - HOLDERS)
    }

    /// For how many of them a price has to be enough (spec/dht.md §8.3): as many as should keep it, and of the two of a chunk one more,
    /// or two that ask for nothing would have it to themselves.
    #[must_use]
    pub const fn priced_for(self) -> usize {
        match self {
            Self::Signed => HOLDERS,
            Self::Hashed => CHUNK_HOLDERS + 1,
        }
    }

    /// Among how many of the nearest members a find looks for one: whoever is farther off keeps it for nobody (spec/dht.md §5).
    #[must_use]
    pub const fn sought_among(self) -> usize {
        match self {
            Self::Signed => SIGNERS,
            Self::Hashed => self.reach(),
        }
    }

    /// How many of the nearest members have one that very many ask for (spec/dht.md §7.5).
    #[must_use]
    pub const fn holders_hot(self) -> usize {
        match self {
            Self::Signed => HOLDERS,
            Self::Hashed => CHUNK_HOLDERS_HOT,
        }
    }

    pub(super) fn encode(self) -> u8 {
        match self {
            Self::Signed => 0,
            Self::Hashed => 1,
        }
    }

    pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let kind = match reader.field("kind of value").u8()? {
            0 => Self::Signed,
            1 => Self::Hashed,
            _ => return Err(Malformed::Value),
        };
        reader.say(|| if kind == Self::Signed { "signed".to_owned() } else { "hashed".to_owned() });
        Ok(kind)
    }
}

/// When a value ends, in steps of six hours since 1970; 24 bits on the wire.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Expiry(u32);

impl Expiry {
    /// The first step at or after this time.
    #[must_use]
    pub fn at_least(time: UnixTime) -> Self {
        Self(u32::try_from(time.0.div_ceil(EXPIRY_STEP_S)).unwrap_or(u32::MAX).min(0x00ff_ffff))
    }

    /// The time at which it is over.
    #[must_use]
    pub fn time(self) -> UnixTime {
        UnixTime(u64::from(self.0) * EXPIRY_STEP_S)
    }

    /// What a value has to be kept for from now on to end here. Ends are rounded up: half a step less comes to the same one, whenever within
    /// that half it is used.
    #[must_use]
    pub fn lifetime_from(self, now: UnixTime) -> Duration {
        Duration::from_secs(self.time().0.saturating_sub(now.0).saturating_sub(EXPIRY_STEP_S / 2))
    }

    /// Of so many steps; `None` beyond 24 bits.
    #[must_use]
    pub fn of_step(step: u64) -> Option<Self> {
        u32::try_from(step).ok().filter(|step| *step <= 0x00ff_ffff).map(Self)
    }

    /// The number of steps: what statements on a hashed value have as its sequence number (spec/evidence.md §1).
    #[must_use]
    pub fn step(self) -> u64 {
        u64::from(self.0)
    }

    /// The three bytes of the wire.
    #[must_use]
    pub fn to_wire(self) -> [u8; 3] {
        let [_, a, b, c] = self.0.to_be_bytes();
        [a, b, c]
    }

    /// Takes the three bytes of the wire.
    ///
    /// # Errors
    /// [`Malformed::Short`] when fewer are left.
    pub fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let expiry = Self::from_wire(reader.field("expiry").array()?);
        reader.say(|| format!("step {}, {}", expiry.0, expiry.time().to_utc()));
        Ok(expiry)
    }

    /// From the three bytes of the wire.
    #[must_use]
    pub fn from_wire([a, b, c]: [u8; 3]) -> Self {
        Self(u32::from_be_bytes([0, a, b, c]))
    }
}

/// The fields of a signed value as they came; nothing is checked.
#[derive(Clone, PartialEq, Eq)]
pub struct RecordFields {
    /// Blinded key.
    pub key: NodeKey,
    /// Sequence number.
    pub seq: u64,
    /// Expiry.
    pub expiry: Expiry,
    /// XChaCha20-Poly1305 nonce.
    pub nonce: [u8; 24],
    /// Ciphertext.
    pub text: [u8; RECORD_TEXT_LEN],
    /// Tag.
    pub tag: [u8; TAG_LEN],
    /// Signature over everything before it, with its domain and the network.
    pub signature: Signature,
}

/// The encoded bytes of a signed value.
#[derive(Clone, PartialEq, Eq)]
pub struct RecordBytes(pub Box<[u8; RECORD_LEN]>);

impl RecordBytes {
    /// Takes 1,173 bytes.
    ///
    /// # Errors
    /// [`Malformed`] for any other length.
    pub fn new(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(bytes);
        let array = reader.array::<RECORD_LEN>()?;
        reader.finish()?;
        Ok(Self(Box::new(array)))
    }

    /// Splits into fields.
    ///
    /// # Errors
    /// Never for bytes of this length; the reader is total all the same.
    pub fn fields(&self) -> Result<RecordFields, Malformed> {
        let mut reader = Reader::new(&self.0[..]);
        let fields = RecordFields::read(&mut reader)?;
        reader.finish()?;
        Ok(fields)
    }

    /// Takes the next 1,173 bytes.
    ///
    /// # Errors
    /// [`Malformed::Short`] when fewer are left.
    pub fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let start = reader.rest();
        RecordFields::read(reader)?;
        Ok(Self(Box::new(*start.first_chunk::<RECORD_LEN>().ok_or(Malformed::Short)?)))
    }

    /// BLAKE3 of the bytes: what statements name.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        blake3(&[&self.0[..]])
    }
}

impl RecordFields {
    fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            key: NodeKey(reader.field("blinded key").array()?),
            seq: reader.field("sequence number").u64()?,
            expiry: Expiry::read(reader)?,
            nonce: reader.field("nonce").array()?,
            text: reader.field("ciphertext").array()?,
            tag: reader.field("tag").array()?,
            signature: Signature(reader.field("signature").array()?),
        })
    }

    /// Joins the fields.
    #[must_use]
    pub fn encode(&self) -> RecordBytes {
        let mut out = Box::new([0; RECORD_LEN]);
        let seq = self.seq.to_be_bytes();
        let expiry = self.expiry.to_wire();
        let parts: [&[u8]; 7] = [&self.key.0, &seq, &expiry, &self.nonce, &self.text, &self.tag, &self.signature.0];
        out.iter_mut().zip(parts.into_iter().flatten()).for_each(|(to, from)| *to = *from);
        RecordBytes(out)
    }
}

/// A hashed value as it moves: where it belongs follows from hash and index.
#[derive(Clone, PartialEq, Eq)]
pub struct ChunkBytes {
    /// BLAKE3 of `bytes`.
    pub hash: [u8; 32],
    /// Which of its locations.
    pub index: u8,
    /// When it ends.
    pub expiry: Expiry,
    /// The ciphertext.
    pub bytes: Vec<u8>,
}

/// Which chunk at which of its locations.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct ChunkName {
    /// BLAKE3 of the ciphertext.
    pub hash: [u8; 32],
    /// Which of its locations, below the greater of [`CHUNK_LOCATIONS`] and [`LOCATIONS`].
    pub index: u8,
}

impl ChunkName {
    /// The location.
    #[must_use]
    pub fn location(&self) -> Location {
        hashed_location(&self.hash, self.index)
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.hash);
        out.push(self.index);
    }

    pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let name = Self { hash: reader.field("chunk hash").array()?, index: reader.field("location index").u8()? };
        if usize::from(name.index) < CHUNK_LOCATIONS.max(LOCATIONS) { Ok(name) } else { Err(Malformed::Value) }
    }
}

/// Either kind of value as it moves between relays; nothing is checked.
#[derive(Clone, PartialEq, Eq)]
pub enum Value {
    /// A signed value.
    Signed(RecordBytes),
    /// A hashed value.
    Hashed(ChunkBytes),
}

impl Value {
    /// Its kind.
    #[must_use]
    pub fn kind(&self) -> ValueKind {
        match self {
            Self::Signed(_) => ValueKind::Signed,
            Self::Hashed(_) => ValueKind::Hashed,
        }
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.push(self.kind().encode());
        match self {
            Self::Signed(record) => out.extend_from_slice(&record.0[..]),
            Self::Hashed(chunk) => {
                ChunkName { hash: chunk.hash, index: chunk.index }.encode(out);
                out.extend_from_slice(&chunk.expiry.to_wire());
                out.extend_from_slice(&u32::try_from(chunk.bytes.len()).unwrap_or(u32::MAX).to_be_bytes());
                out.extend_from_slice(&chunk.bytes);
            }
        }
    }

    /// Reads a value.
    ///
    /// # Errors
    /// [`Malformed`] for an unknown kind or a length out of bounds.
    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        match ValueKind::decode(reader)? {
            ValueKind::Signed => Ok(Self::Signed(RecordBytes::read(reader)?)),
            ValueKind::Hashed => {
                let ChunkName { hash, index } = ChunkName::decode(reader)?;
                let expiry = Expiry::read(reader)?;
                let len = usize::try_from(reader.field("length").u32()?).map_err(|_| Malformed::Value)?;
                if len > SEALED_CHUNK_LEN {
                    return Err(Malformed::Value);
                }
                Ok(Self::Hashed(ChunkBytes { hash, index, expiry, bytes: reader.field("chunk").bytes(len)?.to_vec() }))
            }
        }
    }
}

impl core::fmt::Debug for RecordBytes {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("RecordBytes(..)")
    }
}

impl core::fmt::Debug for Value {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Value({:?})", self.kind())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // [VAL-W-009]
    #[test]
    fn an_end_is_rounded_up_to_a_whole_step_and_one_that_is_whole_stays() {
        let step = EXPIRY_STEP_S;
        for (asked, end) in [(0, 0), (1, step), (step - 1, step), (step, step), (step + 1, 2 * step)] {
            assert_eq!(Expiry::at_least(UnixTime(asked)).time(), UnixTime(end), "{asked}");
        }
    }

    #[test]
    fn a_lifetime_comes_to_the_end_that_it_was_made_for_whenever_within_hours_it_is_used() {
        let now = UnixTime(83_334 * EXPIRY_STEP_S);
        for late in [0, 1, 3_599, EXPIRY_STEP_S / 2 - 1] {
            let until = Expiry::at_least(UnixTime(now.0 + 9 * EXPIRY_STEP_S + 5));
            let again = Expiry::at_least(UnixTime(now.0 + late + until.lifetime_from(now).as_secs()));
            assert_eq!(again, until, "{late}");
        }
        assert_eq!(Expiry::at_least(now).lifetime_from(UnixTime(now.0 + 1)), Duration::ZERO);
    }
}
