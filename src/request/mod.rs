//! One operation, from its first circuit to a checked answer: deadlines, other exits, combined locations. Pure: it knows no
//! link and no onion; it asks for circuits and is told what came back. Source: spec/requests.md §4.

mod attempts;
mod chunk_get;
mod chunk_look;
mod chunk_put;
mod paying;
mod record_get;
mod record_put;
#[cfg(test)]
mod tests;

pub use attempts::{Attempt, AttemptResult, Counts, Failure};
pub use chunk_get::ChunkGet;
pub use chunk_look::ChunkLook;
pub use chunk_put::{ChunkPut, SealedChunk};
pub use paying::Terms;
pub use record_get::{Consistency, RecordGet};
pub use record_put::RecordPut;

use crate::crypto::CryptoRng;
use crate::crypto::storage_puzzle::StoragePuzzle;
use crate::membership::members::Members;
use crate::time::{Duration, Instant, Now};
use crate::wire::network::Network;
use crate::wire::payment::Payment;
use crate::wire::record::{Expiry, RecordBytes};

/// What an operation looks things up in.
pub struct Context<'a> {
    /// The network.
    pub network: &'a Network,
    /// The client's own membership: evidence is judged by it alone.
    pub members: &'a Members,
    /// Whether that is all of the network as far as bootstraps know: else nothing is attested by it.
    pub is_whole: bool,
    /// First circuits start after a random time below it, at most [`crate::limits::STAGGER_MAX`].
    pub stagger: Duration,
    /// The client's randomness.
    pub rng: &'a mut dyn CryptoRng,
}

/// What an operation is told.
#[derive(Debug)]
pub enum RequestInput {
    /// A deadline may have passed.
    Timeout,
    /// A circuit it asked for is being built. What is known of the membership now is what its answer is judged by: nobody whom
    /// the answer itself introduces is in it.
    Building {
        /// Which.
        id: u32,
    },
    /// A circuit it asked for came to its end.
    Attempted {
        /// Which.
        id: u32,
        /// How.
        result: AttemptResult,
    },
}

/// What an operation wants.
#[derive(Debug)]
pub enum RequestOutput {
    /// Build a circuit, and bring back what it answers.
    Attempt(Box<Attempt>),
    /// It is over.
    Done(Outcome),
}

/// How an operation ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Outcome {
    /// The result.
    pub result: Result<Success, Refused>,
    /// What was asked and what came back.
    pub counts: Counts,
}

/// What an operation brought.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Success {
    /// A signed value, checked.
    Record {
        /// The record.
        record: RecordBytes,
        /// Its sequence number.
        seq: u64,
        /// Whether enough of the closest members signed that nothing newer is there.
        attested: bool,
        /// Its copies at each of its locations; of those that were not asked nothing was seen.
        seen: Vec<Sighting>,
        /// The records themselves, for each location: whoever has one can store it again.
        records: Vec<Option<RecordBytes>>,
    },
    /// A signed value is kept; receipts for each location.
    RecordStored {
        /// Holders that signed, for each location.
        copies: Vec<usize>,
    },
    /// Chunks in the order asked, each fitting its hash; `None` for those that did not come. There is at least one.
    Chunks(Vec<Option<Vec<u8>>>),
    /// Chunks are kept; the fewest receipts that any of them has, over all its locations.
    ChunksStored {
        /// Holders that signed, fewest of all chunks.
        copies_min: usize,
    },
    /// Copies of chunks, in the order asked.
    ChunksSeen(Vec<Sighting>),
}

/// What holders of a value at one location say by their signed word.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Sighting {
    /// When each copy of this very value ends that one of the closest members says to have.
    pub until: Vec<Expiry>,
    /// Whether enough of the closest members said what they have: else there may be more copies.
    pub attested: bool,
}

/// Why an operation brought nothing. Each has its own exit code on the command line.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Refused {
    /// Attested: it is not there.
    #[error("not found: enough of the closest nodes signed that they do not have it")]
    NotFound,
    /// The network, or enough of the nodes that would know, did not answer in time.
    #[error("unreachable: too few nodes answered in time to tell")]
    Unreachable,
    /// Something came, but it was forged or damaged.
    #[error("damaged: what came back does not prove itself")]
    Damaged,
    /// Only an older value than one seen before came back: whoever sent it is behind, or lies.
    #[error("older: what came back (seq {seq}) is older than what this client has seen")]
    Older {
        /// Its sequence number.
        seq: u64,
    },
    /// Something else is there: newer, or not what was expected.
    #[error("conflict: a newer value is there (seq {seq})")]
    Conflict {
        /// Its sequence number, 0 when nothing is held.
        seq: u64,
    },
    /// Fewer copies than asked were stored.
    #[error("partly stored: {copies} of {asked} copies")]
    Partly {
        /// Copies with a valid receipt.
        copies: usize,
        /// Copies asked.
        asked: usize,
    },
    /// Nobody keeps it for what was paid, which is what the nearest relays published, and what they asked for when they declined.
    #[error(
        "not stored: the nearest nodes ask for more work than was done (step {effort} of {}); their storage is scarce, and what they \
         ask for holds for an hour. Or the clock of this machine is wrong",
        crate::limits::EFFORT_MAX
    )]
    Unpaid {
        /// The step of the ladder that they ask for.
        effort: u8,
    },
    /// Nobody keeps it, and of the nearest some said that they have no room.
    #[error(
        "not stored: the nearest nodes have no room left, or have taken what they take in an hour; a later try may find some, and \
         elsewhere there may be room now: a record's places follow from its label, those of a file are drawn anew with --restart"
    )]
    Full,
    /// The time was over before this machine had solved what is asked for.
    #[error(
        "not stored: the nearest nodes ask for work, and this machine had not done it when the time for the operation was over; a longer \
         `timeout` gives it more"
    )]
    NotSolved,
    /// No path as strong as asked exists.
    #[error("privacy floor not met: {0}")]
    PrivacyFloor(crate::membership::path::PathRefused),
    /// All guards left the network while the network answers.
    #[error("privacy floor not met: all guards have left the network, and no new one is taken this soon")]
    GuardsGone,
    /// The guard in use lets too many circuits fail, and as many of this operation failed in a row as such a guard is given.
    #[error(
        "privacy floor not met: of the last {} circuits through the guard {} ended whole: most relays are out of reach, or the \
         guard ends what does not suit it. `bauta doctor` tells more; no other guard is taken unasked, but moving the file `guards` \
         out of the state directory draws new ones",
        .0.begun,
        .0.finished
    )]
    GuardFails(crate::membership::path_bias::GuardCircuits),
}

/// Any operation.
pub enum Request {
    /// Get a signed value.
    RecordGet(Box<RecordGet>),
    /// Store a signed value.
    RecordPut(Box<RecordPut>),
    /// Get chunks.
    ChunkGet(Box<ChunkGet>),
    /// Store chunks.
    ChunkPut(Box<ChunkPut>),
    /// Ask who has chunks.
    ChunkLook(Box<ChunkLook>),
}

impl Request {
    /// Takes one event.
    pub fn handle(&mut self, now: Now, input: RequestInput, context: &mut Context<'_>) {
        match self {
            Self::RecordGet(request) => request.handle(now, input, context),
            Self::RecordPut(request) => request.handle(now, input, context),
            Self::ChunkGet(request) => request.handle(now, input, context),
            Self::ChunkPut(request) => request.handle(now, input, context),
            Self::ChunkLook(request) => request.handle(now, input, context),
        }
    }

    /// Exits that have answered, or failed, in this operation: none is used twice while there are others.
    #[must_use]
    pub fn used_exits(&self) -> &[crate::crypto::keys::NodeKey] {
        match self {
            Self::RecordGet(request) => request.attempts.used_exits(),
            Self::RecordPut(request) => request.attempts.used_exits(),
            Self::ChunkGet(request) => request.attempts.used_exits(),
            Self::ChunkPut(request) => request.attempts.used_exits(),
            Self::ChunkLook(request) => request.attempts.used_exits(),
        }
    }

    /// What is to be solved before the circuit of this number is built, slot by slot; none where storing costs nothing.
    #[must_use]
    pub fn puzzles(&self, id: u32, terms: &Terms<'_>) -> Vec<Option<StoragePuzzle>> {
        match self {
            Self::RecordPut(request) => request.puzzles(id, terms),
            Self::ChunkPut(request) => request.puzzles(id, terms),
            Self::RecordGet(_) | Self::ChunkGet(_) | Self::ChunkLook(_) => Vec::new(),
        }
    }

    /// That circuit waits until what is asked for it is solved, or no longer.
    pub fn set_solving(&mut self, id: u32, is_solving: bool) {
        match self {
            Self::RecordPut(request) => request.attempts.set_solving(id, is_solving),
            Self::ChunkPut(request) => request.attempts.set_solving(id, is_solving),
            Self::RecordGet(_) | Self::ChunkGet(_) | Self::ChunkLook(_) => (),
        }
    }

    /// Takes what was solved for that circuit; `None` for what was not, or needed not be.
    pub fn on_paid(&mut self, id: u32, payments: &[Option<Payment>]) {
        match self {
            Self::RecordPut(request) => request.on_paid(id, payments),
            Self::ChunkPut(request) => request.on_paid(id, payments),
            Self::RecordGet(_) | Self::ChunkGet(_) | Self::ChunkLook(_) => (),
        }
    }

    /// What that circuit shows, slot by slot.
    #[must_use]
    pub fn payments(&self, id: u32) -> Vec<Option<Payment>> {
        match self {
            Self::RecordPut(request) => request.payments(id),
            Self::ChunkPut(request) => request.payments(id),
            Self::RecordGet(_) | Self::ChunkGet(_) | Self::ChunkLook(_) => Vec::new(),
        }
    }

    /// Whether it may have more circuits at once, for the locations that it asks already: a get of which many have failed.
    #[must_use]
    pub fn is_hedging(&self) -> bool {
        matches!(self, Self::RecordGet(request) if request.is_hedging())
    }

    /// The next thing to do.
    pub fn poll_output(&mut self) -> Option<RequestOutput> {
        match self {
            Self::RecordGet(request) => request.attempts.poll_output(),
            Self::RecordPut(request) => request.attempts.poll_output(),
            Self::ChunkGet(request) => request.attempts.poll_output(),
            Self::ChunkPut(request) => request.attempts.poll_output(),
            Self::ChunkLook(request) => request.attempts.poll_output(),
        }
    }

    /// When [`RequestInput::Timeout`] is due.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        match self {
            Self::RecordGet(request) => request.attempts.poll_timeout(),
            Self::RecordPut(request) => request.attempts.poll_timeout(),
            Self::ChunkGet(request) => request.attempts.poll_timeout(),
            Self::ChunkPut(request) => request.attempts.poll_timeout(),
            Self::ChunkLook(request) => request.attempts.poll_timeout(),
        }
    }
}
