//! What a batch of writes does to the tables, within one transaction. The rules are those of the store in memory; it must
//! not know whether the transaction is ever committed.
//!
//! Source: spec/dht.md §4.

use redb::{Error, ReadableTable as _, Table, WriteTransaction};

use super::rows::{
    ABOUT, END_LEN, ENDS, HOLDING_LEN, HOLDINGS, PLACE_LEN, Row, VALUES, decode_value, encode_value, end_key, end_of,
    place_key, place_of, size_of,
};
use crate::dht::store::{Holding, Place, StoreOp, StoreResult};
use crate::limits::STORE_EXPIRED_BATCH_MAX;
use crate::record::VerifiedValue;
use crate::time::UnixTime;
use crate::wire::network::Network;

/// Names in [`ABOUT`].
pub(super) const VALUES_HELD: &str = "values";
pub(super) const BYTES_HELD: &str = "bytes";

/// How much is held, or may be.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Amount {
    pub(super) values: u64,
    pub(super) bytes: u64,
}

/// The tables of one transaction.
pub(super) struct Writing<'t> {
    network: Network,
    max: Amount,
    held: Amount,
    about: Table<'t, &'static str, u64>,
    holdings: Table<'t, &'static [u8; PLACE_LEN], &'static [u8; HOLDING_LEN]>,
    values: Table<'t, &'static [u8; PLACE_LEN], &'static [u8]>,
    ends: Table<'t, &'static [u8; END_LEN], ()>,
    has_changed: bool,
    /// Values that were found damaged, and dropped.
    damaged: u64,
}

/// What became of a batch.
pub(super) struct Written {
    pub(super) held: Amount,
    pub(super) has_changed: bool,
    pub(super) damaged: u64,
}

impl<'t> Writing<'t> {
    pub(super) fn begin(transaction: &'t WriteTransaction, network: Network, max: Amount) -> Result<Self, Error> {
        let about = transaction.open_table(ABOUT)?;
        let of = |name| -> Result<u64, Error> { Ok(about.get(name)?.map_or(0, |number| number.value())) };
        let held = Amount { values: of(VALUES_HELD)?, bytes: of(BYTES_HELD)? };
        Ok(Self {
            network,
            max,
            held,
            about,
            holdings: transaction.open_table(HOLDINGS)?,
            values: transaction.open_table(VALUES)?,
            ends: transaction.open_table(ENDS)?,
            has_changed: false,
            damaged: 0,
        })
    }

    pub(super) fn end(mut self) -> Result<Written, Error> {
        if self.has_changed {
            self.about.insert(VALUES_HELD, self.held.values)?;
            self.about.insert(BYTES_HELD, self.held.bytes)?;
        }
        Ok(Written { held: self.held, has_changed: self.has_changed, damaged: self.damaged })
    }

    /// One operation; those that read are none of a batch.
    pub(super) fn apply(&mut self, now: UnixTime, op: &StoreOp) -> Result<StoreResult, Error> {
        match op {
            StoreOp::Put { value, .. } if value.expiry().time() <= now => Ok(StoreResult::Full),
            StoreOp::Put { value, expected } => self.put(now, value, *expected),
            StoreOp::Expire { now } => {
                self.expire(*now, STORE_EXPIRED_BATCH_MAX)?;
                Ok(StoreResult::Value(None))
            }
            StoreOp::Get { .. } | StoreOp::Places { .. } => Ok(StoreResult::Failed),
        }
    }

    /// Frees values whose time is over, at most so many.
    pub(super) fn expire(&mut self, now: UnixTime, max: usize) -> Result<(), Error> {
        for _ in 0..max {
            if !self.expire_one(now)? {
                break;
            }
        }
        Ok(())
    }

    fn expire_one(&mut self, now: UnixTime) -> Result<bool, Error> {
        let Some(key) = self.ends.first()?.map(|(key, _)| *key.value()) else { return Ok(false) };
        let Some((expiry, place_bytes)) = end_of(&key) else { return Ok(false) };
        if expiry.time() > now {
            return Ok(false);
        }
        self.ends.remove(&key)?;
        self.has_changed = true;
        // A row that was damaged left its end behind; what stands there now may end later.
        if let Some(place) = place_of(&place_bytes)
            && let Some(Ok(row)) = self.row(&place)?
            && row.holding.expiry == expiry
        {
            self.remove(&place)?;
        }
        Ok(true)
    }

    /// Drops a value that was found damaged; it stays when it is whole by now.
    pub(super) fn drop_damaged(&mut self, place: &Place) -> Result<(), Error> {
        self.whole(place).map(|_| ())
    }

    fn row(&self, place: &Place) -> Result<Option<Result<Row, ()>>, Error> {
        let row = self.holdings.get(&place_key(place))?;
        Ok(row.map(|bytes| Row::decode(*place, bytes.value()).ok_or(())))
    }

    /// What is known of the value that is held there. One that is damaged is dropped and counted.
    fn whole(&mut self, place: &Place) -> Result<Option<Holding>, Error> {
        let row = match self.row(place)? {
            None => return Ok(None),
            Some(Ok(row)) => {
                let bytes = self.values.get(&place_key(place))?;
                bytes.is_some_and(|bytes| decode_value(&self.network, &row, bytes.value()).is_some()).then_some(row)
            }
            Some(Err(())) => None,
        };
        if row.is_none() {
            self.remove(place)?;
            self.damaged += 1;
        }
        Ok(row.map(|row| row.holding))
    }

    fn put(&mut self, now: UnixTime, value: &VerifiedValue, expected: Option<u64>) -> Result<StoreResult, Error> {
        let new = Holding::from(value);
        let held = match self.whole(&new.place)? {
            Some(held) if held.expiry.time() <= now => {
                self.remove(&new.place)?;
                None
            }
            held => held,
        };
        let conflict = |held: Holding| Ok(StoreResult::Conflict { seq: held.seq, digest: held.digest });
        match held {
            Some(held) if (held.seq, held.digest) == (new.seq, new.digest) => {
                if new.expiry > held.expiry {
                    self.keep(now, value)
                } else {
                    Ok(StoreResult::Kept)
                }
            }
            Some(held) if expected.is_some_and(|expected| held.seq > expected) => conflict(held),
            Some(held) if (new.seq, new.digest) < (held.seq, held.digest) => conflict(held),
            Some(_) | None => self.keep(now, value),
        }
    }

    fn keep(&mut self, now: UnixTime, value: &VerifiedValue) -> Result<StoreResult, Error> {
        let row = Row::from(value);
        let place = row.holding.place;
        // What is over makes room first.
        while !self.fits(&row)? {
            if !self.expire_one(now)? {
                return Ok(StoreResult::Full);
            }
        }
        self.remove(&place)?;
        let key = place_key(&place);
        self.holdings.insert(&key, &row.encode())?;
        self.values.insert(&key, encode_value(value).as_slice())?;
        self.ends.insert(&end_key(row.holding.expiry, &key), ())?;
        self.held.values += 1;
        self.held.bytes += u64::from(row.size);
        self.has_changed = true;
        Ok(StoreResult::Kept)
    }

    fn fits(&self, new: &Row) -> Result<bool, Error> {
        let held = self.row(&new.holding.place)?.and_then(Result::ok);
        let values = self.held.values + u64::from(held.is_none());
        let bytes = self.held.bytes.saturating_sub(held.map_or(0, |held| u64::from(held.size))) + u64::from(new.size);
        Ok(values <= self.max.values && bytes <= self.max.bytes)
    }

    /// Takes a value out of all tables, whole or damaged.
    fn remove(&mut self, place: &Place) -> Result<(), Error> {
        let key = place_key(place);
        let Some(row) = self.row(place)? else { return Ok(()) };
        let len = self.values.remove(&key)?.map(|bytes| bytes.value().len());
        self.holdings.remove(&key)?;
        let size = match row {
            Ok(row) => {
                self.ends.remove(&end_key(row.holding.expiry, &key))?;
                u64::from(row.size)
            }
            Err(()) => len.map_or(0, |len| size_of(place.0, len)),
        };
        self.held.values = self.held.values.saturating_sub(1);
        self.held.bytes = self.held.bytes.saturating_sub(size);
        self.has_changed = true;
        Ok(())
    }
}
