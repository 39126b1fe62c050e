//! The store in memory: what is kept, replaced, refused and freed. Takes checked values alone; knows nobody who asks.
//! Source: spec/dht.md §4.

use core::ops::Bound;
use std::collections::{BTreeMap, BTreeSet};

use crate::keyspace::Location;
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
    /// To a get: the value, if there is one. To an expiry: none.
    Value(Option<VerifiedValue>),
    /// To a put: this value is held now, whether it was before or not.
    Kept,
    /// To a put: another value is held (zeros: none is), and stays.
    Conflict {
        /// Its sequence number.
        seq: u64,
        /// Its digest.
        digest: [u8; 32],
    },
    /// To a put: there is no room, or the value's own time is over.
    Full,
    /// To anything: the disk refused. A put was not kept, or not for certain; what is held is not known.
    Failed,
    /// To a question for places: a page of them in their order; a short page is the last.
    Places(Vec<Holding>),
}

/// Where a value stands.
pub type Place = (ValueKind, Location);

/// What is known of a value that is held, without the value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Holding {
    /// Where it stands.
    pub place: Place,
    /// Sequence number; 0 for hashed values.
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

/// Values by kind and location, with an index by expiry.
///
/// Invariant: `expiries` names every value once, `bytes` is the sum of their sizes; neither cap is ever exceeded.
#[derive(Debug)]
pub struct MemoryStore {
    values_max: usize,
    bytes_max: usize,
    bytes: usize,
    values: BTreeMap<Place, VerifiedValue>,
    expiries: BTreeSet<(Expiry, Place)>,
}

impl MemoryStore {
    /// An empty store of at most so many values and bytes.
    #[must_use]
    pub fn new(values_max: usize, bytes_max: usize) -> Self {
        Self { values_max, bytes_max, bytes: 0, values: BTreeMap::new(), expiries: BTreeSet::new() }
    }

    /// Frees what is over, then does what is asked.
    pub fn apply(&mut self, now: UnixTime, op: StoreOp) -> StoreResult {
        self.expire(now);
        match op {
            StoreOp::Get { kind, location } => StoreResult::Value(self.values.get(&(kind, location)).cloned()),
            StoreOp::Put { value, .. } if value.expiry().time() <= now => StoreResult::Full,
            StoreOp::Put { value, expected } => self.put(value, expected),
            StoreOp::Expire { now } => {
                self.expire(now);
                StoreResult::Value(None)
            }
            StoreOp::Places { after, max } => {
                let from = after.map_or(Bound::Unbounded, Bound::Excluded);
                let page = self.values.range((from, Bound::Unbounded)).take(max);
                StoreResult::Places(page.map(|(_, value)| Holding::from(value)).collect())
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

    /// Bytes held.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The values, by kind and location.
    pub fn iter(&self) -> impl Iterator<Item = &VerifiedValue> {
        self.values.values()
    }

    fn put(&mut self, value: VerifiedValue, expected: Option<u64>) -> StoreResult {
        let held = self.values.get(&place(&value));
        let conflict = |held: &VerifiedValue| StoreResult::Conflict { seq: held.seq(), digest: held.digest() };
        match held {
            Some(held) if is_same(held, &value) => {
                // A chunk's expiry is not under its hash: the later one holds.
                if value.expiry() > held.expiry() { self.keep(value) } else { StoreResult::Kept }
            }
            Some(held) if expected.is_some_and(|expected| held.seq() > expected) => conflict(held),
            Some(held) if !value.replaces(held) => conflict(held),
            // Whoever holds nothing or what is older, after a restart, as a new neighbour, or because the last update was stored in
            // part, has nothing newer to lose.
            Some(_) | None => self.keep(value),
        }
    }

    /// Replacing a record always fits: records have one size.
    fn keep(&mut self, value: VerifiedValue) -> StoreResult {
        let place = place(&value);
        let held = self.values.get(&place);
        let values = self.values.len() + usize::from(held.is_none());
        let bytes = self.bytes - held.map_or(0, VerifiedValue::len_bytes) + value.len_bytes();
        if values > self.values_max || bytes > self.bytes_max {
            return StoreResult::Full;
        }
        if let Some(held) = held {
            self.expiries.remove(&(held.expiry(), place));
        }
        self.bytes = bytes;
        self.expiries.insert((value.expiry(), place));
        self.values.insert(place, value);
        StoreResult::Kept
    }

    fn expire(&mut self, now: UnixTime) {
        while let Some((_, place)) = self.expiries.first().copied().filter(|(expiry, _)| expiry.time() <= now) {
            self.expiries.pop_first();
            if let Some(freed) = self.values.remove(&place) {
                self.bytes -= freed.len_bytes();
            }
        }
    }
}

fn place(value: &VerifiedValue) -> Place {
    (value.kind(), value.location())
}

fn is_same(one: &VerifiedValue, other: &VerifiedValue) -> bool {
    (one.seq(), one.digest()) == (other.seq(), other.digest())
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::fixture::{NOW, any_value, chunk, record};
    use super::*;
    use crate::limits::RECORD_LEN;

    fn put(store: &mut MemoryStore, value: &VerifiedValue, expected: Option<u64>) -> StoreResult {
        store.apply(NOW, StoreOp::Put { value: value.clone(), expected })
    }

    fn get(store: &mut MemoryStore, like: &VerifiedValue, now: UnixTime) -> Option<VerifiedValue> {
        match store.apply(now, StoreOp::Get { kind: like.kind(), location: like.location() }) {
            StoreResult::Value(value) => value,
            other => panic!("{other:?}"),
        }
    }

    fn conflict(held: &VerifiedValue) -> StoreResult {
        StoreResult::Conflict { seq: held.seq(), digest: held.digest() }
    }

    #[test]
    fn the_newest_seq_wins_and_a_repeat_is_kept() {
        let mut store = MemoryStore::new(9, 99_999);
        let (old, new) = (record(1, 5, 0, 4), record(1, 6, 0, 4));
        assert_eq!(put(&mut store, &old, None), StoreResult::Kept);
        assert_eq!(put(&mut store, &new, None), StoreResult::Kept);
        assert_eq!(put(&mut store, &new, None), StoreResult::Kept);
        assert_eq!(put(&mut store, &old, None), conflict(&new));
        assert_eq!((get(&mut store, &new, NOW), store.len(), store.bytes()), (Some(new), 1, RECORD_LEN));
    }

    #[test]
    fn equal_seq_with_other_bytes_resolves_the_same_way_from_either_side() {
        let (one, other) = (record(1, 5, 0, 4), record(1, 5, 1, 4));
        let (winner, loser) = if one.replaces(&other) { (one, other) } else { (other, one) };
        let mut store = MemoryStore::new(9, 99_999);
        assert_eq!(put(&mut store, &winner, None), StoreResult::Kept);
        assert_eq!(put(&mut store, &loser, None), conflict(&winner));
        let mut store = MemoryStore::new(9, 99_999);
        assert_eq!(put(&mut store, &loser, None), StoreResult::Kept);
        assert_eq!(put(&mut store, &winner, None), StoreResult::Kept);
        assert_eq!(get(&mut store, &winner, NOW), Some(winner));
    }

    #[test]
    fn a_swap_needs_the_expected_seq_but_a_repeat_of_the_held_value_does_not() {
        let (old, new) = (record(1, 5, 0, 4), record(1, 6, 0, 4));
        let mut store = MemoryStore::new(9, 99_999);
        assert_eq!(put(&mut store, &old, Some(0)), StoreResult::Kept);
        assert_eq!(put(&mut store, &old, Some(0)), StoreResult::Kept);
        assert_eq!(put(&mut store, &new, Some(0)), conflict(&old));
        assert_eq!(put(&mut store, &new, Some(4)), conflict(&old));
        assert_eq!(put(&mut store, &new, Some(5)), StoreResult::Kept);
        assert_eq!(put(&mut store, &old, Some(6)), conflict(&new));
    }

    #[test]
    fn a_holder_that_lost_the_value_or_missed_an_update_takes_the_next_one() {
        let (old, new) = (record(1, 3, 0, 4), record(1, 6, 0, 4));
        let mut behind = MemoryStore::new(9, 99_999);
        assert_eq!(put(&mut behind, &old, Some(0)), StoreResult::Kept);
        assert_eq!(put(&mut behind, &new, Some(5)), StoreResult::Kept);
        for expected in [None, Some(0), Some(5)] {
            let mut store = MemoryStore::new(9, 99_999);
            assert_eq!(put(&mut store, &new, expected), StoreResult::Kept, "{expected:?}");
        }
    }

    #[test]
    fn what_is_over_is_never_served_and_is_freed() {
        let mut store = MemoryStore::new(9, 99_999);
        let (short, long) = (record(1, 5, 0, 1), chunk(7, 100, 3));
        put(&mut store, &short, None);
        put(&mut store, &long, None);
        let end = short.expiry().time();
        assert_eq!(get(&mut store, &short, UnixTime(end.0 - 1)), Some(short.clone()));
        assert_eq!(get(&mut store, &short, end), None);
        assert_eq!((store.len(), store.bytes()), (1, 100));
        assert_eq!(store.apply(end, StoreOp::Put { value: short, expected: None }), StoreResult::Full);
        let all_over = StoreOp::Expire { now: long.expiry().time() };
        assert_eq!(store.apply(end, all_over), StoreResult::Value(None));
        assert_eq!((store.is_empty(), store.bytes(), store.expiries.len()), (true, 0, 0));
    }

    #[test]
    fn a_chunk_put_again_lives_to_the_later_expiry_whichever_came_first() {
        let (short, long) = (chunk(7, 100, 1), chunk(7, 100, 3));
        for (first, second) in [(&short, &long), (&long, &short)] {
            let mut store = MemoryStore::new(9, 99_999);
            assert_eq!(put(&mut store, first, None), StoreResult::Kept);
            assert_eq!(put(&mut store, second, Some(0)), StoreResult::Kept);
            assert_eq!(get(&mut store, &long, short.expiry().time()), Some(long.clone()));
            assert_eq!((store.len(), store.bytes(), store.expiries.len()), (1, 100, 1));
        }
    }

    #[test]
    fn a_full_store_refuses_new_values_and_still_replaces_its_own() {
        let (held, newer) = (record(1, 5, 0, 4), record(1, 6, 0, 4));
        for (values_max, bytes_max) in [(1, 99_999), (9, RECORD_LEN)] {
            let mut store = MemoryStore::new(values_max, bytes_max);
            assert_eq!(put(&mut store, &held, None), StoreResult::Kept);
            assert_eq!(put(&mut store, &record(2, 5, 0, 4), None), StoreResult::Full);
            assert_eq!(put(&mut store, &chunk(1, 1, 4), None), StoreResult::Full);
            assert_eq!(put(&mut store, &newer, None), StoreResult::Kept);
            assert_eq!((store.len(), store.bytes()), (1, RECORD_LEN));
        }
    }

    #[test]
    fn what_is_held_is_told_page_by_page() {
        let mut store = MemoryStore::new(9, 99_999);
        for author in 1..=5 {
            put(&mut store, &record(author, 5, 0, 4), None);
        }
        put(&mut store, &chunk(7, 10, 3), None);
        let (mut told, mut after) = (Vec::new(), None);
        loop {
            let StoreResult::Places(page) = store.apply(NOW, StoreOp::Places { after, max: 2 }) else { unreachable!() };
            assert!(page.len() <= 2);
            let Some(last) = page.last() else { break };
            after = Some(last.place);
            told.extend(page);
        }
        assert_eq!(told, store.iter().map(Holding::from).collect::<Vec<_>>());
        assert_eq!(told.len(), 6);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn values_merged_in_any_order_give_the_same_state(
            (values, shuffled) in proptest::collection::vec(any_value(), 0..24)
                .prop_flat_map(|values| (Just(values.clone()), Just(values).prop_shuffle())),
        ) {
            let mut stores = [MemoryStore::new(99, 999_999), MemoryStore::new(99, 999_999)];
            for (store, order) in stores.iter_mut().zip([&values, &shuffled]) {
                for value in order {
                    put(store, value, None);
                }
                prop_assert_eq!(store.bytes(), store.iter().map(VerifiedValue::len_bytes).sum::<usize>());
                prop_assert_eq!(store.expiries.len(), store.len());
            }
            let [one, other] = &stores;
            prop_assert_eq!(one.iter().collect::<Vec<_>>(), other.iter().collect::<Vec<_>>());
        }
    }
}
