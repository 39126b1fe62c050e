//! One look after one place: what the other holders say, what is newer there, what they lack. Believes no holder: a value is
//! checked before it is taken. Knows neither time nor places.

use std::collections::{BTreeMap, BTreeSet};

use crate::dht::lookup::Claim;
use crate::keyspace::Id;
use crate::record::VerifiedValue;
use crate::time::Instant;
use crate::wire::contact::Contact;
use crate::wire::message::Answer;
use crate::wire::record::Value;
use crate::wire::statement::Verdict;

use super::places::Spot;

/// What is to be done next.
#[derive(Debug)]
pub(super) enum Next {
    /// Nothing, until more is heard.
    Wait,
    /// Ask this holder for its value.
    Fetch(Contact),
    /// Check this value.
    Check(Value),
    /// Fetch the value from the own store.
    Load,
    /// Send it to these.
    Send(Vec<Contact>),
    /// It is over.
    Done,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    Asking,
    Fetching,
    Checking,
    Loading,
    Sending,
}

/// A check under way.
#[derive(Debug)]
pub(super) struct Check {
    /// No other of this relay has it.
    pub(super) number: u64,
    /// Rank of this relay among the live members nearest to the place.
    pub(super) rank: usize,
    pub(super) deadline: Instant,
    /// It is for copies beyond the holders, not for those that have to be.
    pub(super) widens: bool,
    /// Whether somebody did not answer, or declined.
    pub(super) failed: bool,
    /// Holders that now have it from us.
    pub(super) sent: usize,
    /// What is sent: newer than what was held, or what was held.
    pub(super) value: Option<Box<VerifiedValue>>,
    own: Claim,
    holders: Vec<Contact>,
    said: BTreeMap<Id, Option<Claim>>,
    waiting: BTreeSet<Id>,
    /// Who says to have something newer; the newest last.
    newer: Vec<(Claim, Contact)>,
    stage: Stage,
}

impl Check {
    /// A check of a place where this relay has `own`; the holders are to be asked.
    pub(super) fn new(own: Claim, rank: usize, holders: Vec<Contact>, deadline: Instant) -> Self {
        Self {
            number: 0,
            rank,
            deadline,
            widens: false,
            failed: false,
            sent: 0,
            value: None,
            own,
            waiting: holders.iter().map(|holder| holder.id).collect(),
            holders,
            said: BTreeMap::new(),
            newer: Vec::new(),
            stage: Stage::Asking,
        }
    }

    /// An answer of somebody who was asked.
    pub(super) fn on_answer(&mut self, from: Id, answer: Answer) -> Next {
        if !self.waiting.remove(&from) {
            return Next::Wait;
        }
        match (self.stage, answer) {
            (Stage::Asking, Answer::Found { statement, .. }) => {
                let claim = (statement.verdict == Verdict::Present).then_some((statement.seq, statement.digest));
                self.said.insert(from, claim);
            }
            (Stage::Fetching, Answer::Found { value: Some(value), .. }) => {
                self.stage = Stage::Checking;
                return Next::Check(value);
            }
            (Stage::Sending, Answer::Stored { statement }) if statement.verdict == Verdict::Stored => {
                self.sent += 1;
                self.said.insert(from, Some(self.own));
            }
            // What was promised and not sent is forgotten; the next who promises is asked.
            _ => self.failed = true,
        }
        self.proceed()
    }

    /// Somebody could not be asked, or did not answer.
    pub(super) fn on_failed(&mut self, from: Id) -> Next {
        if !self.waiting.remove(&from) {
            return Next::Wait;
        }
        self.failed = true;
        self.proceed()
    }

    /// The check of a value that somebody sent is over. Tells whether it is to be kept.
    pub(super) fn on_checked(&mut self, spot: &Spot, value: Option<Box<VerifiedValue>>) -> (bool, Next) {
        if self.stage != Stage::Checking {
            return (false, Next::Wait);
        }
        let is_newer = |value: &VerifiedValue| (value.seq(), value.digest()) > self.own;
        match value.filter(|value| (value.location(), value.kind()) == *spot && is_newer(value)) {
            Some(value) => {
                self.own = (value.seq(), value.digest());
                self.value = Some(value);
                self.newer.clear();
                (true, self.compare())
            }
            None => {
                self.failed = true;
                (false, self.fetch())
            }
        }
    }

    /// What the own store has.
    pub(super) fn on_loaded(&mut self, value: Option<Box<VerifiedValue>>) -> Next {
        if self.stage != Stage::Loading {
            return Next::Wait;
        }
        match value {
            Some(value) => {
                self.own = (value.seq(), value.digest());
                self.value = Some(value);
                self.compare()
            }
            None => Next::Done,
        }
    }

    /// How many of those asked have it, but for so many of the nearest.
    pub(super) fn copies_beyond(&self, nearest: usize) -> usize {
        let has = |one: &&Contact| self.said.get(&one.id).is_some_and(|claim| *claim >= Some(self.own));
        self.holders.iter().skip(nearest).filter(has).count()
    }

    fn proceed(&mut self) -> Next {
        match self.stage {
            _ if !self.waiting.is_empty() => Next::Wait,
            Stage::Asking => {
                let claims = self.holders.iter().filter_map(|holder| Some(((*self.said.get(&holder.id)?)?, *holder)));
                self.newer = claims.filter(|(claim, _)| *claim > self.own).collect();
                self.newer.sort_by_key(|(claim, _)| *claim);
                self.fetch()
            }
            Stage::Fetching => self.fetch(),
            Stage::Sending => Next::Done,
            Stage::Checking | Stage::Loading => Next::Wait,
        }
    }

    fn fetch(&mut self) -> Next {
        match self.newer.pop() {
            Some((_, holder)) => {
                self.stage = Stage::Fetching;
                self.waiting.insert(holder.id);
                Next::Fetch(holder)
            }
            None => self.compare(),
        }
    }

    /// Who answered and lacks the value, or has an older one, gets it.
    fn compare(&mut self) -> Next {
        let lacks = |holder: &&Contact| self.said.get(&holder.id).is_some_and(|claim| *claim < Some(self.own));
        let lacking: Vec<Contact> = self.holders.iter().filter(lacks).copied().collect();
        if lacking.is_empty() {
            return Next::Done;
        }
        if self.value.is_none() {
            self.stage = Stage::Loading;
            return Next::Load;
        }
        self.stage = Stage::Sending;
        self.waiting = lacking.iter().map(|holder| holder.id).collect();
        Next::Send(lacking)
    }
}
