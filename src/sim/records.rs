//! Records for scenarios: an author, a label, three sealed values, and what a client asks to get them. It must not know the world.

use rand::rngs::ChaCha20Rng;

use crate::crypto::keys::IdentitySecret;
use crate::limits::LOCATIONS;
use crate::node::Operation;
use crate::record::{INDICES, Locator, Opened, Place};
use crate::request::Consistency;
use crate::time::UnixTime;
use crate::wire::network::Network;
use crate::wire::record::{Expiry, RecordBytes};

/// A record that somebody publishes and others look for.
pub struct Record {
    author: IdentitySecret,
    locator: Locator,
    /// Its number at its author's.
    pub seq: u64,
}

impl Record {
    /// A new one, of an author of its own.
    #[must_use]
    pub fn new(rng: &mut ChaCha20Rng) -> Option<Self> {
        let author = IdentitySecret::generate(rng);
        let locator = Locator::of_author(&author, b"sim").ok()?;
        Some(Self { author, locator, seq: 0 })
    }

    /// Where it belongs.
    #[must_use]
    pub fn places(&self) -> [Place; LOCATIONS] {
        self.locator.places()
    }

    /// To store its next version, which lives for so many seconds.
    pub fn put(&mut self, network: &Network, now: UnixTime, life_s: u64, rng: &mut ChaCha20Rng) -> Operation {
        let payload = (self.seq + 1).to_be_bytes();
        self.put_payload(network, (now, life_s), &payload, rng)
    }

    /// As [`Self::put`], with something to say.
    pub fn put_payload(
        &mut self,
        network: &Network,
        (now, life_s): (UnixTime, u64),
        payload: &[u8],
        rng: &mut ChaCha20Rng,
    ) -> Operation {
        self.seq += 1;
        let expiry = Expiry::at_least(UnixTime(now.0 + life_s));
        let seal = |index| self.locator.seal(network, &self.author, index, (self.seq, expiry), payload, rng);
        let sealed: Vec<_> = INDICES.into_iter().map(seal).collect();
        let records = self.places().into_iter().zip(sealed).filter_map(|(place, record)| Some((place, record.ok()?)));
        Operation::RecordPut { records: records.collect(), expected: None }
    }

    /// To get it, nothing older than `seq_min`.
    #[must_use]
    pub fn get(&self, consistency: Consistency, seq_min: u64) -> Operation {
        Operation::RecordGet { places: self.places(), consistency, seq_min }
    }

    /// What a version of it says.
    #[must_use]
    pub fn payload(&self, record: &RecordBytes) -> Option<Vec<u8>> {
        match self.locator.open(record).ok()? {
            Opened::Payload(payload) => Some(payload),
            Opened::Deleted => None,
        }
    }
}
