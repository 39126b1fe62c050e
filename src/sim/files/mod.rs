//! Files for scenarios: content that follows from a number, published and read by the machines of `content`, four batches at a time.
//! Real chunks, parity, levels and root. It must not know the world. Source: spec/content.md §6.

mod publishing;
mod reading;

use rand::rngs::ChaCha20Rng;

pub use self::publishing::{Making, Publishing};
pub use self::reading::Reading;
use super::draw::{mixed, whole};
use super::records::Record;
use super::stage::Ending;
use crate::content::PublicationSecret;
use crate::crypto::random_bytes;
use crate::keyspace::Location;
use crate::limits::{CHUNK_LEN, TRANSFER_TIMEOUT};
use crate::node::Operation;
use crate::request::{Outcome, Refused};
use crate::time::Duration;

/// A file that somebody publishes and others read.
pub struct File {
    /// Bytes of content.
    pub len: u64,
    /// What was stored of it.
    pub groups: Vec<StoredGroup>,
    /// All bytes of content follow from it.
    seed: u64,
    secret: PublicationSecret,
    root: Record,
}

/// Where the chunks of one group are.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StoredGroup {
    /// Chunks that bring all of it back.
    pub data: usize,
    /// Where each of its chunks is.
    pub chunks: Vec<Location>,
}

/// What a transfer wants next: an operation, by a number of its own.
pub type Wish = (u64, Operation);

/// How a transfer stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stand {
    /// It goes on.
    UnderWay,
    /// It is over.
    Over(Ending),
}

impl File {
    /// A new one of so many bytes, of an author of its own.
    #[must_use]
    pub fn new(len: u64, rng: &mut ChaCha20Rng) -> Option<Self> {
        let seed = u64::from_be_bytes(random_bytes(rng));
        let secret = PublicationSecret::generate(rng);
        Some(Self { len, groups: Vec::new(), seed, secret, root: Record::new(rng)? })
    }

    /// Where its root belongs.
    pub fn places(&self) -> impl Iterator<Item = Location> {
        self.root.places().into_iter().map(|place| place.location)
    }

    /// A chunk of content; shorter where the content ends, empty behind it.
    #[must_use]
    pub fn chunk(&self, number: u64) -> Vec<u8> {
        let chunk_len = u64::try_from(CHUNK_LEN).unwrap_or(u64::MAX);
        let left = self.len.saturating_sub(number.saturating_mul(chunk_len)).min(chunk_len);
        let seed = mixed(self.seed, number);
        let mut bytes: Vec<u8> = (0..left.div_ceil(8)).flat_map(|word| mixed(seed, word).to_le_bytes()).collect();
        bytes.truncate(usize::try_from(left).unwrap_or(CHUNK_LEN));
        bytes
    }
}

/// So many lengths between these two, evenly by their logarithm, shortest first.
#[must_use]
pub fn lengths(count: usize, (shortest, longest): (f64, f64)) -> Vec<u64> {
    let at = |number: usize| (super::draw::real_count(number) + 0.5) / super::draw::real_count(count.max(1));
    (0..count).map(|number| whole(shortest * (longest / shortest).powf(at(number)))).collect()
}

/// How long an operation of a transfer may take.
#[must_use]
pub fn timeout_of(operation: &Operation) -> Duration {
    match operation {
        Operation::ChunkGet { .. } | Operation::ChunkPut { .. } => TRANSFER_TIMEOUT,
        Operation::RecordGet { .. } | Operation::RecordPut { .. } | Operation::ChunkLook { .. } => {
            crate::limits::OPERATION_TIMEOUT
        }
    }
}

/// Whether somebody was asked and it can be tried again, or done without.
fn is_passing(outcome: &Outcome, passing: fn(&Refused) -> bool) -> bool {
    outcome.counts.asked > 0 && outcome.result.as_ref().is_err_and(passing)
}

#[cfg(test)]
mod tests;
