//! The store in memory: what is kept, replaced, refused, given up and freed. Takes checked values alone; knows nobody who asks.
//! Source: spec/dht.md §4.

#[cfg(test)]
mod eviction_tests;
mod priority;
#[cfg(test)]
mod tests;

use core::ops::Bound;
use std::collections::{BTreeMap, BTreeSet};

pub use self::priority::{Rank, StoreKey};
use crate::keyspace::Location;
use crate::limits::RECORD_LEN;
use crate::record::VerifiedValue;
use crate::time::UnixTime;
use crate::wire::record::{Expiry, ValueKind};

/// What is asked of a store.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum StoreOp {
    /// The value of this kind at this location.
    Get {
        /// Its kind.
        kind: ValueKind,
        /// Where.
        location: Location,
    },
    /// To keep a value.
    Put {
        /// The value.
        value: VerifiedValue,
        /// Compare-and-swap: the sequence number of the value that may be replaced, 0 for none.
        expected: Option<u64>,
    },
    /// To free what is over.
    Expire {
        /// The time.
        now: UnixTime,
    },
    /// What is held, one page.
    Places {
        /// The last place of the page before.
        after: Option<Place>,
        /// At most so many.
        max: usize,
    },
}

/// What a store answers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum StoreResult {
    /// To a get: the value, if there is one.
    Value(Option<VerifiedValue>),
    /// To a put: this value is held now, whether it was before or not.
    Kept,
    /// To a put of a chunk: it is held already, until later, and stays so.
    KeptLonger {
        /// Until when.
        until: Expiry,
    },
    /// To a put: another value is held (zeros: none is), and stays.
    Conflict {
        /// Its sequence number.
        seq: u64,
        /// Its digest.
        digest: [u8; 32],
    },
    /// To a put: the value's own time is over, or there is no room and all that could go has a better claim.
    Full,
    /// To anything: the disk refused, or too much waits for it. A put was not kept, or not for certain; what is held is not known.
    Failed,
    /// To a get or a put: the operator does not have this place here. Nothing is said of what the network has there.
    Denied,
    /// To a question for places: a page of them in their order; a short page is the last.
    Places(Vec<Holding>),
    /// To an expiry: how full it is now.
    Filled {
        /// What it holds.
        held: Quota,
        /// What it may hold.
        max: Quota,
    },
}

/// Where a value stands.
pub type Place = (ValueKind, Location);

/// What is known of a value that is held, without the value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Holding {
    /// Where it stands.
    pub place: Place,
    /// Sequence number; of a hashed value its expiry in steps.
    pub seq: u64,
    /// Digest of the value.
    pub digest: [u8; 32],
    /// When it ends.
    pub expiry: Expiry,
}

impl From<&VerifiedValue> for Holding {
    fn from(value: &VerifiedValue) -> Self {
        Self { place: place(value), seq: value.seq(), digest: value.digest(), expiry: value.expiry() }
    }
}

/// How much a store may hold, or holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Quota {
    /// Values.
    pub values: u64,
    /// Bytes, as [`room_of`] counts them.
    pub bytes: u64,
}

/// Bytes that a value counts for: no fewer than a record, so that whoever needs room for one has to displace few.
#[must_use]
pub fn room_of(value: &VerifiedValue) -> usize {
    value.len_bytes().max(RECORD_LEN)
}

/// A value, and from when on its age counts.
#[derive(Clone, Debug)]
struct Held {
    value: VerifiedValue,
    since: UnixTime,
}

/// Values by kind and location, with an index by expiry, and one by who goes first.
///
/// Invariant: `expiries` and `ranks` name every value once, `bytes` is the sum of their [`room_of`]; neither cap is ever exceeded.
#[derive(Debug)]
pub struct MemoryStore {
    key: StoreKey,
    values_max: usize,
    bytes_max: usize,
    bytes: usize,
    values: BTreeMap<Place, Held>,
    expiries: BTreeSet<(Expiry, Place)>,
    ranks: BTreeSet<(Rank, Place)>,
}

impl MemoryStore {
    /// An empty store of at most so many values and bytes. Its key is no secret: for tests and simulations, unless
    /// [`Self::keyed`] gives another.
    #[must_use]
    pub fn new(values_max: usize, bytes_max: usize) -> Self {
        let key = StoreKey::from_bytes(&[0; 32]);
        let (values, expiries, ranks) = (BTreeMap::new(), BTreeSet::new(), BTreeSet::new());
        Self { key, values_max, bytes_max, bytes: 0, values, expiries, ranks }
    }

    /// With a key of its own; to be called while it is empty.
    #[must_use]
    pub fn keyed(self, key: StoreKey) -> Self {
        Self { key, ..self }
    }

    /// Frees what is over, then does what is asked.
    pub fn apply(&mut self, now: UnixTime, op: StoreOp) -> StoreResult {
        self.expire(now);
        match op {
            StoreOp::Get { kind, location } => self.get((kind, location)),
            StoreOp::Put { value, .. } if value.expiry().time() <= now => StoreResult::Full,
            StoreOp::Put { value, expected } => self.put(now, value, expected),
            StoreOp::Expire { now } => {
                self.expire(now);
                let of = |values: usize, bytes: usize| Quota {
                    values: u64::try_from(values).unwrap_or(u64::MAX),
                    bytes: u64::try_from(bytes).unwrap_or(u64::MAX),
                };
                let held = of(self.values.len(), self.bytes);
                StoreResult::Filled { held, max: of(self.values_max, self.bytes_max) }
            }
            StoreOp::Places { after, max } => {
                let from = after.map_or(Bound::Unbounded, Bound::Excluded);
                let page = self.values.range((from, Bound::Unbounded)).take(max);
                StoreResult::Places(page.map(|(_, held)| Holding::from(&held.value)).collect())
            }
        }
    }

    /// Values held.
    #[must_use]
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether none is held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Bytes held, as [`room_of`] counts them.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The values, by kind and location.
    pub fn iter(&self) -> impl Iterator<Item = &VerifiedValue> {
        self.values.values().map(|held| &held.value)
    }

    fn get(&self, place: Place) -> StoreResult {
        StoreResult::Value(self.values.get(&place).map(|held| held.value.clone()))
    }

    fn put(&mut self, now: UnixTime, value: VerifiedValue, expected: Option<u64>) -> StoreResult {
        let held = self.values.get(&place(&value)).map(|held| &held.value);
        let conflict = |held: &VerifiedValue| StoreResult::Conflict { seq: held.seq(), digest: held.digest() };
        match held {
            Some(held) if (held.seq(), held.digest()) == (value.seq(), value.digest()) => StoreResult::Kept,
            // A chunk's expiry is not under its hash: the later one holds, whatever was expected.
            Some(held) if is_same_chunk(held, &value) && value.replaces(held) => self.keep(now, value),
            Some(held) if is_same_chunk(held, &value) => StoreResult::KeptLonger { until: held.expiry() },
            Some(held) if expected.is_some_and(|expected| held.seq() > expected) => conflict(held),
            Some(held) if !value.replaces(held) => conflict(held),
            // Whoever holds nothing or what is older, after a restart, as a new neighbour, or because the last update was stored in
            // part, has nothing newer to lose.
            Some(_) | None => self.keep(now, value),
        }
    }

    /// Replacing a value always fits: what stands at one place has one size.
    fn keep(&mut self, now: UnixTime, value: VerifiedValue) -> StoreResult {
        let place = place(&value);
        let since = self.key.since(&place, self.values.get(&place).map(|held| held.since), now);
        if !self.values.contains_key(&place) {
            let Some(victims) = self.victims(room_of(&value), self.key.rank(&place, since)) else {
                return StoreResult::Full;
            };
            victims.iter().for_each(|victim| self.remove(victim));
        }
        self.remove(&place);
        self.bytes += room_of(&value);
        self.expiries.insert((value.expiry(), place));
        self.ranks.insert((self.key.rank(&place, since), place));
        self.values.insert(place, Held { value, since });
        StoreResult::Kept
    }

    /// Who has to go for a newcomer of this rank: none when there is room, nobody at all when somebody of a better rank would.
    fn victims(&self, room: usize, rank: Rank) -> Option<Vec<Place>> {
        let (mut values, mut bytes, mut victims) = (self.values.len() + 1, self.bytes + room, Vec::new());
        for (_, place) in self.ranks.iter().rev().take_while(|(worse, _)| *worse > rank) {
            if values <= self.values_max && bytes <= self.bytes_max {
                break;
            }
            values -= 1;
            bytes -= self.values.get(place).map_or(0, |held| room_of(&held.value));
            victims.push(*place);
        }
        (values <= self.values_max && bytes <= self.bytes_max).then_some(victims)
    }

    fn remove(&mut self, place: &Place) {
        if let Some(Held { value, since }) = self.values.remove(place) {
            self.bytes -= room_of(&value);
            self.expiries.remove(&(value.expiry(), *place));
            self.ranks.remove(&(self.key.rank(place, since), *place));
        }
    }

    fn expire(&mut self, now: UnixTime) {
        while let Some((_, place)) = self.expiries.first().copied().filter(|(expiry, _)| expiry.time() <= now) {
            self.remove(&place);
        }
    }
}

fn place(value: &VerifiedValue) -> Place {
    (value.kind(), value.location())
}

fn is_same_chunk(one: &VerifiedValue, other: &VerifiedValue) -> bool {
    one.kind() == ValueKind::Hashed && one.digest() == other.digest()
}

/// Values of tests, valid at [`fixture::NOW`]; `steps` is when they end, from then.
#[cfg(test)]
pub(crate) mod fixture {
    use proptest::prelude::*;

    use super::*;
    use crate::crypto::hash::blake3;
    use crate::crypto::keys::{IdentitySecret, Signature};
    use crate::limits::EXPIRY_STEP_S;
    use crate::membership::fixture::network;
    use crate::record::record_message;
    use crate::wire::record::{ChunkBytes, RECORD_TEXT_LEN, RecordFields, Value};

    pub(crate) const NOW: UnixTime = UnixTime(1_800_000_000);

    pub(crate) fn expiry(steps: u64) -> Expiry {
        Expiry::at_least(UnixTime(NOW.0 + steps * EXPIRY_STEP_S))
    }

    pub(crate) fn record(author: u8, seq: u64, text: u8, steps: u64) -> VerifiedValue {
        let secret = IdentitySecret::from_bytes(&[author; 32]);
        let mut fields = RecordFields {
            key: secret.public(),
            seq,
            expiry: expiry(steps),
            nonce: [0; 24],
            text: [text; RECORD_TEXT_LEN],
            tag: [0; 16],
            signature: Signature([0; 64]),
        };
        fields.signature = secret.sign(&record_message(&network(), &fields.encode()));
        VerifiedValue::check(&network(), Value::Signed(fields.encode()), NOW).unwrap()
    }

    pub(crate) fn chunk(content: u8, len: usize, steps: u64) -> VerifiedValue {
        chunk_of(vec![content; len], steps)
    }

    pub(crate) fn chunk_of(bytes: Vec<u8>, steps: u64) -> VerifiedValue {
        let chunk = ChunkBytes { hash: blake3(&[&bytes]), index: 0, expiry: expiry(steps), bytes };
        VerifiedValue::check(&network(), Value::Hashed(chunk), NOW).unwrap()
    }

    /// Few enough that they meet at the same places.
    pub(crate) fn any_value() -> impl Strategy<Value = VerifiedValue> {
        let records = (1..4_u8, 1..4_u64, 0..3_u8, 1..4_u64);
        prop_oneof![
            records.prop_map(|(author, seq, text, steps)| record(author, seq, text, steps)),
            (0..3_u8, 1..4_u64).prop_map(|(content, steps)| chunk(content, 2_000, steps)),
        ]
    }
}
