//! What an anonymous write shows that it paid with, nine bytes, and on whose account a value is stored. Source: spec/dht.md §8.

use super::codec::{Malformed, Reader};
use super::network::Network;
use crate::crypto::storage_puzzle::StoragePuzzle;
use crate::keyspace::Location;
use crate::limits::{CLOCK_SKEW_S, EFFORT_MAX, PAYMENT_STEP_S};
use crate::time::UnixTime;

/// Bytes of an encoded payment.
const PAYMENT_LEN: usize = 9;

/// A solution of the storage puzzle that follows from a value and its place; nobody has checked it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Payment {
    /// Step of the ladder, 1 to [`EFFORT_MAX`].
    pub effort: u8,
    /// Hours since 1970, by the writer's clock when it began to solve.
    pub hour: u32,
    /// The solution.
    pub counter: u32,
}

impl Payment {
    /// The hour at a time, as it stands in a payment.
    #[must_use]
    pub fn hour_at(time: UnixTime) -> u32 {
        u32::try_from(time.0 / PAYMENT_STEP_S).unwrap_or(u32::MAX)
    }

    /// The earliest hour whose payments still count.
    #[must_use]
    pub fn first_hour_at(now: UnixTime) -> u32 {
        Self::hour_at(now).saturating_sub(1)
    }

    /// Whether it was made in this hour or the last one; a writer's clock may be ahead by as much as clocks may differ.
    #[must_use]
    pub fn is_timely(&self, now: UnixTime) -> bool {
        let first = Self::first_hour_at(now);
        let last = Self::hour_at(UnixTime(now.0.saturating_add(CLOCK_SKEW_S)));
        (first..=last).contains(&self.hour)
    }

    /// What it has to be a solution of, for a value of this digest at this place.
    #[must_use]
    pub fn puzzle(&self, network: &Network, location: Location, digest: [u8; 32]) -> StoragePuzzle {
        StoragePuzzle { network: network.id, hour: self.hour, location, digest, effort: self.effort }
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.push(self.effort);
        out.extend_from_slice(&self.hour.to_be_bytes());
        out.extend_from_slice(&self.counter.to_be_bytes());
    }

    /// Reads the nine bytes.
    ///
    /// # Errors
    /// [`Malformed`] for an effort off the ladder.
    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let payment = Self {
            effort: reader.field("effort").u8()?,
            hour: reader.field("hour").u32()?,
            counter: reader.field("counter").u32()?,
        };
        if (1..=EFFORT_MAX).contains(&payment.effort) { Ok(payment) } else { Err(Malformed::Value) }
    }

    /// One that may be none: zeros then.
    pub(super) fn encode_option(payment: Option<&Self>, out: &mut Vec<u8>) {
        match payment {
            Some(payment) => payment.encode(out),
            None => out.extend_from_slice(&[0; 9]),
        }
    }

    pub(super) fn decode_option(reader: &mut Reader<'_>) -> Result<Option<Self>, Malformed> {
        let mut part = reader.part(PAYMENT_LEN)?;
        if part.rest().iter().any(|byte| *byte != 0) {
            return Self::decode(&mut part).map(Some);
        }
        part.field("nothing paid").bytes(PAYMENT_LEN).map(|_| None)
    }
}

/// On whose account a value is to be kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Account {
    /// For a client, whom nobody knows: with what it paid, if it paid.
    Anonymous(Option<Payment>),
    /// Of the asker, who keeps the value itself or has kept it: repair.
    Upkeep,
}

#[cfg(test)]
mod tests {
    use super::*;

    // [DHT-R-039]
    #[test]
    fn a_payment_counts_in_its_hour_and_the_next_and_from_ten_minutes_before() {
        let payment = Payment { effort: 1, hour: 500_000, counter: 7 };
        let begins = 500_000 * PAYMENT_STEP_S;
        let rows = [
            (begins - CLOCK_SKEW_S - 1, false),
            (begins - CLOCK_SKEW_S, true),
            (begins, true),
            (begins + 2 * PAYMENT_STEP_S - 1, true),
            (begins + 2 * PAYMENT_STEP_S, false),
            (0, false),
            (u64::MAX, false),
        ];
        for (at, counts) in rows {
            assert_eq!(payment.is_timely(UnixTime(at)), counts, "{at}");
        }
        assert_eq!(Payment::hour_at(UnixTime(begins + 5)), 500_000);
    }

    #[test]
    fn payments_survive_the_wire_and_steps_off_the_ladder_are_refused() {
        for effort in 0..=EFFORT_MAX + 1 {
            let payment = Payment { effort, hour: 1, counter: u32::MAX };
            let mut bytes = Vec::new();
            payment.encode(&mut bytes);
            let is_step = (1..=EFFORT_MAX).contains(&effort);
            assert_eq!(Payment::decode(&mut Reader::new(&bytes)), is_step.then_some(payment).ok_or(Malformed::Value));
        }
        let mut none = Vec::new();
        Payment::encode_option(None, &mut none);
        assert_eq!(Payment::decode_option(&mut Reader::new(&none)), Ok(None));
        none[8] = 1;
        assert_eq!(Payment::decode_option(&mut Reader::new(&none)), Err(Malformed::Value));
    }
}
