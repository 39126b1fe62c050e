//! What a batch of writes does to the tables, within one transaction. The rules are those of the store in memory; it must
//! not know whether the transaction is ever committed.
//!
//! Source: spec/dht.md §4.

use std::collections::BTreeSet;

use redb::{Error, ReadableTable as _, Table, WriteTransaction};

use super::rows::{
    ABOUT, END_LEN, ENDS, HOLDING_LEN, HOLDINGS, PLACE_LEN, RANK_LEN, RANKS, Row, VALUES, decode_value, encode_value,
    end_key, end_of, place_key, place_of, rank_key, rank_of, room_in_table,
};
use crate::dht::store::{Holding, Place, Quota, Rank, StoreKey, StoreOp, StoreResult};
use crate::limits::{STORE_EVICTED_BATCH_MAX, STORE_EXPIRED_BATCH_MAX};
use crate::record::VerifiedValue;
use crate::time::UnixTime;
use crate::wire::network::Network;
use crate::wire::record::ValueKind;

/// Names in [`ABOUT`].
pub(super) const VALUES_HELD: &str = "values";
pub(super) const BYTES_HELD: &str = "bytes";

/// The tables of one transaction.
pub(super) struct Writing<'t> {
    network: Network,
    key: &'t StoreKey,
    max: Quota,
    held: Quota,
    about: Table<'t, &'static str, u64>,
    holdings: Table<'t, &'static [u8; PLACE_LEN], &'static [u8; HOLDING_LEN]>,
    values: Table<'t, &'static [u8; PLACE_LEN], &'static [u8]>,
    ends: Table<'t, &'static [u8; END_LEN], ()>,
    ranks: Table<'t, &'static [u8; RANK_LEN], ()>,
    has_changed: bool,
    /// Places that had to go for others.
    evicted: BTreeSet<Place>,
    /// Values that were found damaged, and dropped.
    damaged: u64,
}

/// What became of a batch.
pub(super) struct Written {
    pub(super) held: Quota,
    pub(super) has_changed: bool,
    pub(super) damaged: u64,
    /// Places whose value had to go for another; what was put there afterwards is not among them.
    pub(super) evicted: BTreeSet<Place>,
}

impl<'t> Writing<'t> {
    pub(super) fn begin(
        transaction: &'t WriteTransaction,
        (network, key): (Network, &'t StoreKey),
        max: Quota,
    ) -> Result<Self, Error> {
        let about = transaction.open_table(ABOUT)?;
        let of = |name| -> Result<u64, Error> { Ok(about.get(name)?.map_or(0, |number| number.value())) };
        let held = Quota { values: of(VALUES_HELD)?, bytes: of(BYTES_HELD)? };
        Ok(Self {
            network,
            key,
            max,
            held,
            about,
            holdings: transaction.open_table(HOLDINGS)?,
            values: transaction.open_table(VALUES)?,
            ends: transaction.open_table(ENDS)?,
            ranks: transaction.open_table(RANKS)?,
            has_changed: false,
            evicted: BTreeSet::new(),
            damaged: 0,
        })
    }

    pub(super) fn end(mut self) -> Result<Written, Error> {
        if self.has_changed {
            self.about.insert(VALUES_HELD, self.held.values)?;
            self.about.insert(BYTES_HELD, self.held.bytes)?;
        }
        let Self { held, has_changed, damaged, evicted, .. } = self;
        Ok(Written { held, has_changed, damaged, evicted })
    }

    /// One operation; those that read are none of a batch.
    pub(super) fn apply(&mut self, now: UnixTime, op: &StoreOp) -> Result<StoreResult, Error> {
        match op {
            StoreOp::Put { value, .. } if value.expiry().time() <= now => Ok(StoreResult::Full),
            StoreOp::Put { value, expected } => self.put(now, value, *expected),
            StoreOp::Expire { now } => {
                self.expire(*now, STORE_EXPIRED_BATCH_MAX)?;
                Ok(StoreResult::Filled { held: self.held, max: self.max })
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
        let Some(place) = place_of(&place_bytes) else { return Ok(true) };
        match self.row(&place)? {
            // A row that was damaged left its end behind; what stands there now may end later.
            Some(Ok(row)) if row.holding.expiry == expiry => self.remove(&place)?,
            Some(Ok(_)) | None => (),
            // Nobody has asked for it since: it would never end.
            Some(Err(())) => self.drop_damaged(&place)?,
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
            Some(held) if (held.seq, held.digest) == (new.seq, new.digest) => Ok(StoreResult::Kept),
            Some(held) if new.place.0 == ValueKind::Hashed && held.digest == new.digest => {
                if new.seq > held.seq {
                    self.keep(now, value)
                } else {
                    Ok(StoreResult::KeptLonger { until: held.expiry })
                }
            }
            Some(held) if expected.is_some_and(|expected| held.seq > expected) => conflict(held),
            Some(held) if (new.seq, new.digest) < (held.seq, held.digest) => conflict(held),
            Some(_) | None => self.keep(now, value),
        }
    }

    fn keep(&mut self, now: UnixTime, value: &VerifiedValue) -> Result<StoreResult, Error> {
        let place = Holding::from(value).place;
        let held = self.row(&place)?.and_then(Result::ok);
        let since = self.key.since(&place, held.map(|held| held.since), now);
        let (row, rank) = (Row::new(value, since), self.key.rank(&place, since));
        // Replacing always fits: what stands at one place has one size.
        if held.is_none() && !self.make_room(now, row.room(), rank)? {
            return Ok(StoreResult::Full);
        }
        self.remove(&place)?;
        let key = place_key(&place);
        self.holdings.insert(&key, &row.encode())?;
        self.values.insert(&key, encode_value(value).as_slice())?;
        self.ends.insert(&end_key(row.holding.expiry, &key), ())?;
        self.ranks.insert(&rank_key(rank, &key), ())?;
        self.held.values += 1;
        self.held.bytes += row.room();
        self.evicted.remove(&place);
        self.has_changed = true;
        Ok(StoreResult::Kept)
    }

    /// What is over makes room first, then who has a worse rank. Nobody goes when that is not enough.
    fn make_room(&mut self, now: UnixTime, room: u64, rank: Rank) -> Result<bool, Error> {
        let need = Quota { values: 1, bytes: room };
        while !self.fits(need, Quota::default()) {
            if !self.expire_one(now)? {
                break;
            }
        }
        let Some(victims) = self.victims(need, Some(rank))? else { return Ok(false) };
        for victim in victims {
            self.evict(&victim)?;
        }
        Ok(true)
    }

    fn fits(&self, need: Quota, freed: Quota) -> bool {
        let of = |held: u64, need: u64, freed: u64| (held + need).saturating_sub(freed);
        of(self.held.values, need.values, freed.values) <= self.max.values
            && of(self.held.bytes, need.bytes, freed.bytes) <= self.max.bytes
    }

    /// Who has to go, worst rank first, until so much fits; at most those of a worse rank than this. `None`: that is not enough.
    fn victims(&mut self, need: Quota, better_than: Option<Rank>) -> Result<Option<Vec<Place>>, Error> {
        let (mut freed, mut victims, mut stale) = (Quota::default(), Vec::new(), Vec::new());
        if self.fits(need, freed) {
            return Ok(Some(victims));
        }
        for entry in self.ranks.iter()?.rev() {
            let key = *entry?.0.value();
            match self.ranked(&key)? {
                // A row that was damaged left its rank behind.
                None => stale.push(key),
                Some((rank, ..)) if better_than.is_some_and(|own| rank <= own) => break,
                Some((_, place, room)) => {
                    freed = Quota { values: freed.values + 1, bytes: freed.bytes + room };
                    victims.push(place);
                }
            }
            if self.fits(need, freed) || victims.len() + stale.len() >= STORE_EVICTED_BATCH_MAX {
                break;
            }
        }
        for key in stale {
            self.ranks.remove(&key)?;
            self.has_changed = true;
        }
        Ok((better_than.is_none() || self.fits(need, freed)).then_some(victims))
    }

    /// What this entry stands for: its rank, where, what room that takes.
    fn ranked(&self, key: &[u8; RANK_LEN]) -> Result<Option<(Rank, Place, u64)>, Error> {
        let Some((rank, place)) = rank_of(key) else { return Ok(None) };
        let Some(place) = place_of(&place) else { return Ok(None) };
        let row = self.row(&place)?.and_then(Result::ok).filter(|row| self.key.rank(&place, row.since) == rank);
        Ok(row.map(|row| (rank, place, row.room())))
    }

    fn evict(&mut self, place: &Place) -> Result<(), Error> {
        self.evicted.insert(*place);
        self.remove(place)
    }

    /// Under a quota that was made smaller: the worst go, so many at once.
    pub(super) fn shrink(&mut self) -> Result<(), Error> {
        for victim in self.victims(Quota::default(), None)?.unwrap_or_default() {
            self.evict(&victim)?;
        }
        Ok(())
    }

    /// Takes a value out of all tables, whole or damaged.
    pub(super) fn remove(&mut self, place: &Place) -> Result<(), Error> {
        let key = place_key(place);
        let Some(row) = self.row(place)? else { return Ok(()) };
        let len = self.values.remove(&key)?.map(|bytes| bytes.value().len());
        self.holdings.remove(&key)?;
        let size = match row {
            Ok(row) => {
                self.ends.remove(&end_key(row.holding.expiry, &key))?;
                self.ranks.remove(&rank_key(self.key.rank(place, row.since), &key))?;
                row.room()
            }
            Err(()) => len.map_or(0, |len| room_in_table(place.0, len)),
        };
        self.held.values = self.held.values.saturating_sub(1);
        self.held.bytes = self.held.bytes.saturating_sub(size);
        self.has_changed = true;
        Ok(())
    }
}
