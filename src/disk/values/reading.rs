//! Reads of a values' file: the last commit, each value checked. It must not know what is being written.
//!
//! After one error the database refuses everything until it is opened anew. So that a bad sector does not cost that at each
//! question, the place that lies there is remembered. Source: spec/dht.md §4.

use core::ops::Bound;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use redb::{Database, Error, ReadTransaction, ReadableDatabase as _};

use super::ValueStore;
use super::rows::{HOLDINGS, PLACE_LEN, Row, VALUES, decode_value, place_key, place_of};
use crate::dht::store::{Place, StoreOp, StoreResult};
use crate::limits::{STORE_DAMAGED_MAX, STORE_UNREADABLE_S};
use crate::time::UnixTime;

/// A read that did not succeed.
struct Unread {
    /// Of what was opened then.
    turn: u64,
    /// Whether anything was: else it says nothing of the place.
    was_open: bool,
}

impl ValueStore {
    pub(super) fn read_op(&self, now: UnixTime, op: &StoreOp) -> StoreResult {
        let place = match op {
            StoreOp::Get { kind, location } => Some((*kind, *location)),
            StoreOp::Put { .. } | StoreOp::Expire { .. } | StoreOp::Places { .. } => None,
        };
        if place.is_some_and(|(_, location)| self.is_denied(&location)) {
            self.counters.denied.fetch_add(1, Ordering::Relaxed);
            return StoreResult::Denied;
        }
        if place.is_some_and(|place| self.is_unreadable(now, &place)) {
            return StoreResult::Failed;
        }
        match self.try_read(now, op) {
            Ok(result) => return result,
            Err(unread) => self.open_to_read(now, unread.turn),
        }
        // A second attempt finds the file opened anew; where it fails too, it is the place that cannot be read.
        self.try_read(now, op).unwrap_or_else(|unread| {
            if let Some(place) = place.filter(|_| unread.was_open) {
                self.note_unreadable(now, place);
            }
            self.open_to_read(now, unread.turn);
            StoreResult::Failed
        })
    }

    /// Whether a value's place can be read, as far as a look at it shows.
    pub(super) fn probe(&self, now: UnixTime, (kind, location): Place) {
        self.read_op(now, &StoreOp::Get { kind, location });
    }

    fn try_read(&self, now: UnixTime, op: &StoreOp) -> Result<StoreResult, Unread> {
        let opened = self.opened.read().unwrap_or_else(PoisonError::into_inner);
        let (turn, was_open) = (opened.turn, opened.database.is_some());
        match opened.database.as_ref().map(|database| self.read_from(database, now, op)) {
            Some(Ok(result)) => Ok(result),
            Some(Err(error)) => {
                tracing::warn!(file = %self.path.display(), %error, "values cannot be read");
                Err(Unread { turn, was_open })
            }
            None => Err(Unread { turn, was_open }),
        }
    }

    fn read_from(&self, database: &Database, now: UnixTime, op: &StoreOp) -> Result<StoreResult, Error> {
        let transaction = database.begin_read()?;
        match op {
            StoreOp::Get { kind, location } => self.get(&transaction, now, (*kind, *location)),
            StoreOp::Places { after, max } => self.places(&transaction, now, after.as_ref(), *max),
            StoreOp::Put { .. } | StoreOp::Expire { .. } => Ok(StoreResult::Failed),
        }
    }

    fn get(&self, transaction: &ReadTransaction, now: UnixTime, place: Place) -> Result<StoreResult, Error> {
        let key = place_key(&place);
        let Some(row) = transaction.open_table(HOLDINGS)?.get(&key)? else { return Ok(StoreResult::Value(None)) };
        let value = match Row::decode(place, row.value()) {
            Some(row) if row.holding.expiry.time() <= now => return Ok(StoreResult::Value(None)),
            Some(row) => {
                let bytes = transaction.open_table(VALUES)?.get(&key)?;
                bytes.and_then(|bytes| decode_value(&self.network, &row, bytes.value()))
            }
            None => None,
        };
        if value.is_none() {
            self.note_damaged(place);
        }
        Ok(StoreResult::Value(value))
    }

    fn places(
        &self,
        transaction: &ReadTransaction,
        now: UnixTime,
        after: Option<&Place>,
        max: usize,
    ) -> Result<StoreResult, Error> {
        let holdings = transaction.open_table(HOLDINGS)?;
        let after = after.map(place_key);
        let from = after.as_ref().map_or(Bound::Unbounded, Bound::Excluded);
        let mut page = Vec::new();
        for entry in holdings.range::<&[u8; PLACE_LEN]>((from, Bound::Unbounded))? {
            if page.len() >= max {
                break;
            }
            let (key, row) = entry?;
            let Some(place) = place_of(key.value()).filter(|(_, location)| !self.is_denied(location)) else { continue };
            match Row::decode(place, row.value()) {
                Some(row) if row.holding.expiry.time() > now => page.push(row.holding),
                Some(_) => (),
                None => self.note_damaged(place),
            }
        }
        Ok(StoreResult::Places(page))
    }

    pub(super) fn note_damaged(&self, place: Place) {
        let mut to_drop = self.to_drop.lock().unwrap_or_else(PoisonError::into_inner);
        // Beyond the cap it is found again when it is asked for again.
        if to_drop.len() < STORE_DAMAGED_MAX {
            to_drop.insert(place);
        }
    }

    pub(super) fn is_unreadable(&self, now: UnixTime, place: &Place) -> bool {
        let unreadable = self.unreadable.lock().unwrap_or_else(PoisonError::into_inner);
        unreadable.get(place).is_some_and(|then| then.0.abs_diff(now.0) < STORE_UNREADABLE_S)
    }

    pub(super) fn note_unreadable(&self, now: UnixTime, place: Place) {
        let mut unreadable = self.unreadable.lock().unwrap_or_else(PoisonError::into_inner);
        unreadable.retain(|_, then| then.0.abs_diff(now.0) < STORE_UNREADABLE_S);
        // Beyond the cap it is found again when it is asked for again.
        if unreadable.len() < STORE_DAMAGED_MAX {
            unreadable.insert(place, now);
        }
    }
}
