//! Work that takes long: signatures, key agreement, hashes of chunks. Pure functions, run by a pool or in line.

use std::sync::Arc;

use crate::crypto::CryptoRng;
use crate::crypto::keys::IdentitySecret;
use crate::crypto::storage_puzzle::StoragePuzzle;
use crate::limits::BODY_LEN;
use crate::node::machine::Puzzles;
use crate::onion::{OnionSecrets, Peeled, peel};
use crate::record::VerifiedValue;
use crate::time::UnixTime;
use crate::wire::descriptor::{SignedDescriptor, VerifiedDescriptor};
use crate::wire::network::Network;
use crate::wire::record::Value;
use crate::wire::statement::{Question, Saying, Statement};

/// One piece of work.
pub enum Job {
    /// Open one layer of a build packet.
    Peel {
        /// Keys that it may be for.
        secrets: OnionSecrets,
        /// The packet.
        body: Box<[u8; BODY_LEN]>,
    },
    /// Sign a statement.
    Sign {
        /// The network.
        network: Network,
        /// The signer.
        secret: Arc<IdentitySecret>,
        /// About what.
        question: Question,
        /// What.
        saying: Saying,
        /// When.
        now: UnixTime,
    },
    /// Check a value that came from elsewhere.
    CheckValue {
        /// The network.
        network: Network,
        /// The value.
        value: Value,
        /// When.
        now: UnixTime,
    },
    /// Check what was paid for a value: one Argon2id.
    CheckPayment {
        /// What it has to solve.
        puzzle: StoragePuzzle,
        /// The counter that was shown.
        counter: u32,
    },
    /// Try so many counters of a puzzle.
    Solve {
        /// The puzzle.
        puzzle: StoragePuzzle,
        /// The first of them.
        from: u32,
        /// How many.
        trials: u32,
    },
    /// Check descriptors that came from elsewhere.
    CheckDescriptors {
        /// The network.
        network: Network,
        /// The descriptors.
        descriptors: Vec<SignedDescriptor>,
        /// When.
        now: UnixTime,
    },
}

impl Job {
    /// Whether it takes a fraction of a millisecond at most. Descriptors and payments do not: each may take an Argon2id.
    pub(super) fn is_short(&self) -> bool {
        match self {
            Self::Peel { .. } | Self::Sign { .. } | Self::CheckValue { .. } => true,
            Self::CheckDescriptors { .. } | Self::CheckPayment { .. } | Self::Solve { .. } => false,
        }
    }
}

/// What came of it.
pub enum Done {
    /// Of [`Job::Peel`]; `None`: it did not open.
    Peeled(Option<Box<Peeled>>),
    /// Of [`Job::Sign`].
    Signed(Statement),
    /// Of [`Job::CheckValue`]; `None`: it did not hold.
    Value(Option<Box<VerifiedValue>>),
    /// Of [`Job::CheckPayment`]: whether it holds.
    Paid(bool),
    /// Of [`Job::Solve`]: the counter that does; `None`: none of those tried.
    Solved(Option<u32>),
    /// Of [`Job::CheckDescriptors`]: those that held.
    Descriptors(Vec<VerifiedDescriptor>),
}

/// Does one job.
pub fn run(job: Job, puzzles: &dyn Puzzles, rng: &mut dyn CryptoRng) -> Done {
    match job {
        Job::Peel { secrets, body } => Done::Peeled(peel(&secrets, &body, rng).ok().map(Box::new)),
        Job::Sign { network, secret, question, saying, now } => {
            Done::Signed(Statement::sign(&network, &secret, &question, &saying, now))
        }
        Job::CheckValue { network, value, now } => {
            Done::Value(VerifiedValue::check(&network, value, now).ok().map(Box::new))
        }
        Job::CheckPayment { puzzle, counter } => Done::Paid(puzzle.is_solved_by(counter)),
        Job::Solve { puzzle, from, trials } => Done::Solved(puzzle.solve(from, trials)),
        Job::CheckDescriptors { network, descriptors, now } => {
            let check = |signed: SignedDescriptor| {
                signed
                    .verify_with(&network, now, |solution, network, key, difficulty| {
                        puzzles.check(solution, network, key, difficulty)
                    })
                    .ok()
            };
            Done::Descriptors(descriptors.into_iter().filter_map(check).collect())
        }
    }
}

impl core::fmt::Debug for Job {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Peel { .. } => "Peel",
            Self::Sign { .. } => "Sign",
            Self::CheckValue { .. } => "CheckValue",
            Self::CheckPayment { .. } => "CheckPayment",
            Self::Solve { .. } => "Solve",
            Self::CheckDescriptors { .. } => "CheckDescriptors",
        })
    }
}
