//! The tables of the values' file, and what a row is in bytes. It must not know when anything is written.
//!
//! Source: spec/state.md §10.

use redb::TableDefinition;

use crate::crypto::hash::blake3;
use crate::dht::store::{Holding, Place, Rank};
use crate::keyspace::Id;
use crate::limits::RECORD_LEN;
use crate::record::VerifiedValue;
use crate::time::UnixTime;
use crate::wire::network::Network;
use crate::wire::record::{ChunkBytes, Expiry, RecordBytes, Value, ValueKind};

/// The layout of this file.
pub(super) const LAYOUT: u64 = 2;
/// Kind, then location.
pub(super) const PLACE_LEN: usize = 1 + 20;
/// Expiry, then place: in the order in which values end.
pub(super) const END_LEN: usize = 3 + PLACE_LEN;
const SUM_LEN: usize = 32;
/// Rank, then place: in the order in which values stay.
pub(super) const RANK_LEN: usize = 8 + PLACE_LEN;
const FIELDS_LEN: usize = 8 + 32 + 3 + 4 + 4;
/// Number, digest, expiry, size, since when its age counts, checksum.
pub(super) const HOLDING_LEN: usize = FIELDS_LEN + SUM_LEN;

/// The layout, and how much is held.
pub(super) const ABOUT: TableDefinition<'static, &'static str, u64> = TableDefinition::new("about");
/// What is known of each value without it.
pub(super) const HOLDINGS: TableDefinition<'static, &'static [u8; PLACE_LEN], &'static [u8; HOLDING_LEN]> =
    TableDefinition::new("holdings");
/// The values.
pub(super) const VALUES: TableDefinition<'static, &'static [u8; PLACE_LEN], &'static [u8]> =
    TableDefinition::new("values");
/// Which ends when.
pub(super) const ENDS: TableDefinition<'static, &'static [u8; END_LEN], ()> = TableDefinition::new("ends");

/// Which goes when there is no room: the last.
pub(super) const RANKS: TableDefinition<'static, &'static [u8; RANK_LEN], ()> = TableDefinition::new("ranks");
/// The store's key, under [`KEY`].
pub(super) const SECRETS: TableDefinition<'static, &'static str, &'static [u8; 32]> = TableDefinition::new("secrets");
/// Its name there.
pub(super) const KEY: &str = "rank";

/// A row of [`HOLDINGS`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Row {
    pub(super) holding: Holding,
    /// Its bytes.
    pub(super) size: u32,
    /// From when on its age counts.
    pub(super) since: UnixTime,
}

impl Row {
    pub(super) fn new(value: &VerifiedValue, since: UnixTime) -> Self {
        let size = u32::try_from(value.len_bytes()).unwrap_or(u32::MAX);
        Self { holding: Holding::from(value), size, since }
    }

    /// Bytes that it counts for.
    pub(super) fn room(&self) -> u64 {
        room_of_len(u64::from(self.size))
    }

    pub(super) fn encode(&self) -> [u8; HOLDING_LEN] {
        let Holding { place, seq, digest, expiry } = &self.holding;
        let (size, since) = (self.size.to_be_bytes(), self.since.to_wire().to_be_bytes());
        // A chunk's number is its expiry, which stands there already.
        let seq = if place.0 == ValueKind::Hashed { 0 } else { *seq };
        let fields = [&seq.to_be_bytes()[..], digest, &expiry.to_wire(), &size, &since].concat();
        let sum = checksum(place, &fields);
        let mut out = [0; HOLDING_LEN];
        out.iter_mut().zip(fields.iter().chain(&sum)).for_each(|(to, from)| *to = *from);
        out
    }

    /// `None` for what was not written so at this place.
    pub(super) fn decode(place: Place, bytes: &[u8; HOLDING_LEN]) -> Option<Self> {
        let (fields, sum) = bytes.split_first_chunk::<FIELDS_LEN>()?;
        if sum != checksum(&place, fields) {
            return None;
        }
        let (seq, rest) = fields.split_first_chunk::<8>()?;
        let (digest, rest) = rest.split_first_chunk::<32>()?;
        let (expiry, rest) = rest.split_first_chunk::<3>()?;
        let (size, rest) = rest.split_first_chunk::<4>()?;
        let (since, _) = rest.split_first_chunk::<4>()?;
        let expiry = Expiry::from_wire(*expiry);
        let seq = if place.0 == ValueKind::Hashed { expiry.step() } else { u64::from_be_bytes(*seq) };
        let holding = Holding { place, seq, digest: *digest, expiry };
        let since = UnixTime::from_wire(u32::from_be_bytes(*since));
        Some(Self { holding, size: u32::from_be_bytes(*size), since })
    }
}

fn checksum(place: &Place, fields: &[u8]) -> [u8; SUM_LEN] {
    blake3(&[b"bauta/1 held", &place_key(place), fields])
}

pub(super) fn place_key((kind, location): &Place) -> [u8; PLACE_LEN] {
    let mut key = [0; PLACE_LEN];
    let kind = [u8::from(*kind == ValueKind::Hashed)];
    key.iter_mut().zip(kind.iter().chain(&location.0)).for_each(|(to, from)| *to = *from);
    key
}

pub(super) fn place_of(key: &[u8; PLACE_LEN]) -> Option<Place> {
    let (kind, rest) = key.split_first()?;
    let (location, _) = rest.split_first_chunk::<20>()?;
    let kind = match kind {
        0 => ValueKind::Signed,
        1 => ValueKind::Hashed,
        _ => return None,
    };
    Some((kind, Id(*location)))
}

pub(super) fn end_key(expiry: Expiry, place: &[u8; PLACE_LEN]) -> [u8; END_LEN] {
    let mut key = [0; END_LEN];
    key.iter_mut().zip(expiry.to_wire().iter().chain(place)).for_each(|(to, from)| *to = *from);
    key
}

pub(super) fn end_of(key: &[u8; END_LEN]) -> Option<(Expiry, [u8; PLACE_LEN])> {
    let (expiry, rest) = key.split_first_chunk::<3>()?;
    let (place, _) = rest.split_first_chunk::<PLACE_LEN>()?;
    Some((Expiry::from_wire(*expiry), *place))
}

pub(super) fn rank_key(rank: Rank, place: &[u8; PLACE_LEN]) -> [u8; RANK_LEN] {
    let mut key = [0; RANK_LEN];
    key.iter_mut().zip(rank.0.to_be_bytes().iter().chain(place)).for_each(|(to, from)| *to = *from);
    key
}

pub(super) fn rank_of(key: &[u8; RANK_LEN]) -> Option<(Rank, [u8; PLACE_LEN])> {
    let (rank, rest) = key.split_first_chunk::<8>()?;
    let (place, _) = rest.split_first_chunk::<PLACE_LEN>()?;
    Some((Rank(u64::from_be_bytes(*rank)), *place))
}

/// A record as it is; of a chunk its index and its bytes, for the rest stands in the row.
pub(super) fn encode_value(value: &VerifiedValue) -> Vec<u8> {
    match value.value() {
        Value::Signed(record) => record.0.to_vec(),
        Value::Hashed(chunk) => [&[chunk.index][..], &chunk.bytes].concat(),
    }
}

/// Bytes that the cap counts for so many in the table.
pub(super) fn room_in_table(kind: ValueKind, len: usize) -> u64 {
    let size = match kind {
        ValueKind::Signed => RECORD_LEN,
        ValueKind::Hashed => len.saturating_sub(1),
    };
    room_of_len(u64::try_from(size).unwrap_or(u64::MAX))
}

/// As [`crate::dht::store::room_of`].
fn room_of_len(size: u64) -> u64 {
    size.max(u64::try_from(RECORD_LEN).unwrap_or(u64::MAX))
}

/// The value, checked as when it came in: signature or hash, location, and that it is what its row says. `None`: damaged.
pub(super) fn decode_value(network: &Network, row: &Row, bytes: &[u8]) -> Option<VerifiedValue> {
    let Holding { place: (kind, _), digest, expiry, .. } = row.holding;
    let value = match kind {
        ValueKind::Signed => Value::Signed(RecordBytes::new(bytes).ok()?),
        ValueKind::Hashed => {
            let (index, bytes) = bytes.split_first()?;
            Value::Hashed(ChunkBytes { hash: digest, index: *index, expiry, bytes: bytes.to_vec() })
        }
    };
    // Its last second: the clock has nothing to do with damage.
    let then = UnixTime(expiry.time().0.saturating_sub(1));
    let value = VerifiedValue::check(network, value, then).ok()?;
    (Row::new(&value, row.since) == *row).then_some(value)
}
