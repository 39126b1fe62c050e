//! The circuits of one operation: numbered, staggered, capped, each exit used once; and the operation's one end.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::{Outcome, Refused, RequestOutput, Success};
use crate::crypto::keys::NodeKey;
use crate::crypto::{CryptoRng, Forged};
use crate::limits::{OPERATION_CIRCUITS_MAX, RETRY_DELAY_MAX, RETRY_SLOWER_AFTER, RETRY_SLOWER_MAX};
use crate::membership::path::PathRefused;
use crate::membership::path_bias::GuardCircuits;
use crate::time::{Duration, Instant};
use crate::wire::onion::ExitRequest;

/// One circuit that an operation asks for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Attempt {
    /// Its number within the operation.
    pub id: u32,
    /// What the exit is asked.
    pub request: ExitRequest,
    /// Data of forward cells, in order, each at most a cell's.
    pub upload: Vec<Vec<u8>>,
    /// Backward cells after reply 0.
    pub reply_cells: usize,
    /// Not before this time.
    pub at: Instant,
}

/// How a circuit ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum AttemptResult {
    /// All cells came and all tags fit: reply 0's data, then each cell's.
    Answered {
        /// Who answered.
        exit: NodeKey,
        /// The data.
        bytes: Vec<u8>,
    },
    /// It did not come to an answer.
    Failed {
        /// The exit it was built to, if it was built.
        exit: Option<NodeKey>,
        /// Why.
        why: Failure,
    },
}

/// Why a circuit did not come to an answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Failure {
    /// Somebody on the way ended it.
    Destroyed,
    /// Nothing came back from behind the second hop, or one after it, which says so.
    NotReached,
    /// Nothing came in time.
    TimedOut,
    /// A tag did not fit.
    Forged,
    /// No path as strong as asked exists.
    Path(PathRefused),
    /// No entry into the network answers.
    Unreachable,
    /// All guards left the network.
    GuardsGone,
    /// One more through a guard that lets too many fail.
    GuardFails(GuardCircuits),
}

impl From<Forged> for Failure {
    fn from(_: Forged) -> Self {
        Self::Forged
    }
}

/// What an operation asked and what came back.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counts {
    /// Circuits asked for.
    pub asked: usize,
    /// Answers with a valid value or valid receipts.
    pub valid: usize,
    /// Answers without a value.
    pub empty: usize,
    /// Answers that did not prove themselves.
    pub invalid: usize,
    /// Circuits that ended without an answer.
    pub timed_out: usize,
}

impl core::fmt::Display for Counts {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let Self { asked, valid, empty, invalid, timed_out } = self;
        write!(
            f,
            "{asked} circuits asked, {valid} valid, {empty} empty, {invalid} invalid, {timed_out} without an answer"
        )
    }
}

/// The circuits of an operation; `T` says what each is for.
pub(super) struct Attempts<T> {
    open: BTreeMap<u32, T>,
    /// Those of them that wait for a puzzle to be solved.
    solving: BTreeSet<u32>,
    next: u32,
    used_exits: Vec<NodeKey>,
    outputs: VecDeque<RequestOutput>,
    deadline: Instant,
    done: bool,
    pub(super) counts: Counts,
}

impl<T> Attempts<T> {
    pub(super) fn new(deadline: Instant) -> Self {
        Self {
            open: BTreeMap::new(),
            solving: BTreeSet::new(),
            next: 0,
            used_exits: Vec::new(),
            outputs: VecDeque::new(),
            deadline,
            done: false,
            counts: Counts::default(),
        }
    }

    /// Asks for a circuit after a random delay of at most `delay`; false when the operation has had its share.
    pub(super) fn start(
        &mut self,
        what: T,
        (request, upload, reply_cells): (ExitRequest, Vec<Vec<u8>>, usize),
        now: Instant,
        delay: Duration,
        rng: &mut dyn CryptoRng,
    ) -> bool {
        if self.counts.asked >= OPERATION_CIRCUITS_MAX || self.done {
            return false;
        }
        self.counts.asked += 1;
        self.next += 1;
        let id = self.next;
        self.open.insert(id, what);
        let at = now + random_part(delay, rng);
        self.outputs.push_back(RequestOutput::Attempt(Box::new(Attempt { id, request, upload, reply_cells, at })));
        true
    }

    /// What a circuit under way is for.
    pub(super) fn what(&self, id: u32) -> Option<&T> {
        self.open.get(&id)
    }

    /// Takes a circuit's end: what it was for, and why no other circuit can do better, if so. `None` when nobody waits for it.
    pub(super) fn end(&mut self, id: u32, result: &AttemptResult) -> Option<(T, Option<Refused>)> {
        let what = self.open.remove(&id)?;
        self.solving.remove(&id);
        match result {
            AttemptResult::Failed { why: Failure::Path(PathRefused::ExitsUsedUp), .. } if self.has_used_exits() => {
                // They may be used again, over paths as strong as before. No circuit was built.
                self.used_exits.clear();
                self.counts.asked = self.counts.asked.saturating_sub(1);
                return Some((what, None));
            }
            AttemptResult::Answered { exit, .. } => self.used_exits.push(*exit),
            AttemptResult::Failed { exit, why } => {
                if *why == Failure::Forged {
                    self.counts.invalid += 1;
                } else {
                    self.counts.timed_out += 1;
                }
                self.used_exits.extend(exit);
            }
        }
        Some((what, hopeless(result)))
    }

    /// Whether a circuit under way waits for a puzzle to be solved.
    pub(super) fn set_solving(&mut self, id: u32, is_solving: bool) {
        if is_solving && self.open.contains_key(&id) {
            self.solving.insert(id);
        } else {
            self.solving.remove(&id);
        }
    }

    /// Why nothing came of an operation that asked for nothing in vain: its own machine was at work when its time was over, or nobody
    /// answered.
    pub(super) fn nothing_came(&self) -> Refused {
        if self.solving.is_empty() { Refused::Unreachable } else { Refused::NotSolved }
    }

    /// How long to wait at most before another try, random, so that a failure times nothing; longer after many failures, so that those
    /// that come at once do not use up an operation's circuits in a moment.
    pub(super) fn retry_delay(&self) -> Duration {
        let many = u32::try_from(self.counts.timed_out).unwrap_or(u32::MAX) / RETRY_SLOWER_AFTER;
        RETRY_DELAY_MAX * (1 + many).min(RETRY_SLOWER_MAX)
    }

    pub(super) fn used_exits(&self) -> &[NodeKey] {
        &self.used_exits
    }

    fn has_used_exits(&self) -> bool {
        !self.used_exits.is_empty()
    }

    pub(super) fn is_open(&self, fits: impl FnMut(&T) -> bool) -> bool {
        self.open.values().any(fits)
    }

    pub(super) fn count_open(&self, fits: impl Fn(&T) -> bool) -> usize {
        self.open.values().filter(|what| fits(what)).count()
    }

    pub(super) fn none_open(&self) -> bool {
        self.open.is_empty()
    }

    pub(super) fn is_over(&self, now: Instant) -> bool {
        now >= self.deadline
    }

    pub(super) fn is_done(&self) -> bool {
        self.done
    }

    /// The operation's end; only the first counts.
    pub(super) fn finish(&mut self, result: Result<Success, Refused>) {
        if !self.done {
            self.done = true;
            self.open.clear();
            self.solving.clear();
            self.outputs.push_back(RequestOutput::Done(Outcome { result, counts: self.counts }));
        }
    }

    pub(super) fn poll_output(&mut self) -> Option<RequestOutput> {
        self.outputs.pop_front()
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        (!self.done).then_some(self.deadline)
    }
}

/// Whether this end means that no other circuit can do better.
fn hopeless(result: &AttemptResult) -> Option<Refused> {
    match result {
        AttemptResult::Failed { why: Failure::Path(refused), .. } => Some(Refused::PrivacyFloor(*refused)),
        AttemptResult::Failed { why: Failure::GuardsGone, .. } => Some(Refused::GuardsGone),
        AttemptResult::Failed { why: Failure::GuardFails(of), .. } => Some(Refused::GuardFails(*of)),
        AttemptResult::Failed { why: Failure::Unreachable, .. } => Some(Refused::Unreachable),
        _ => None,
    }
}

fn random_part(max: Duration, rng: &mut dyn CryptoRng) -> Duration {
    let drawn = u32::from(u16::from_be_bytes(crate::crypto::random_bytes(rng)));
    max * drawn / 65_536
}
