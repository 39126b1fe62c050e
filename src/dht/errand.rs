//! One errand of an exit at one location: look it up, then fetch the value or store it, then say what came of it.
//!
//! Pure. It believes no storer: values pass through a check before they are taken, statements go to the client, who checks
//! them. Source: spec/dht.md §5.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::keyspace::{Id, Location};
use crate::limits::{ALPHA, EXIT_STORING_TIME, FETCH_PATIENCE, SIGNERS};
use crate::membership::prefix_rule::PrefixRule;
use crate::record::VerifiedValue;
use crate::time::{Instant, earlier};
use crate::wire::contact::Contact;
use crate::wire::message::{Answer, Ask};
use crate::wire::payment::{Account, Payment};
use crate::wire::record::{Value, ValueKind};
use crate::wire::statement::{Nonce, Statement, Verdict};

use super::lookup::{Breadth, Claim, Lookup, LookupInput, LookupOutput};

/// What the errand is for.
#[derive(Clone, Debug)]
pub enum Purpose {
    /// Bring the value, or statements that there is none.
    Find {
        /// The only digest that is worth fetching: a chunk's hash.
        digest: Option<[u8; 32]>,
    },
    /// Bring the statements of the closest alone.
    Look {
        /// The digest that is looked for: who has it is told of first.
        digest: [u8; 32],
    },
    /// Have the closest nodes keep this value.
    Put {
        /// The value, checked.
        value: Box<VerifiedValue>,
        /// Compare-and-swap.
        expected: Option<u64>,
        /// What its writer paid.
        payment: Option<Payment>,
    },
}

/// What the errand is told.
#[derive(Debug)]
pub enum ErrandInput {
    /// A deadline may have passed.
    Timeout,
    /// A node answered.
    Answered {
        /// Which.
        from: Id,
        /// What it said.
        answer: Box<Answer>,
    },
    /// A node could not be asked, or did not answer.
    Failed {
        /// Which.
        from: Id,
    },
    /// The check of a value is done; `None`: it did not hold.
    Checked {
        /// Who sent it.
        from: Id,
        /// The value.
        value: Option<Box<VerifiedValue>>,
    },
}

/// What the errand wants.
#[derive(Debug)]
pub enum ErrandOutput {
    /// Ask this node.
    Ask {
        /// Whom.
        to: Contact,
        /// What.
        ask: Ask,
    },
    /// Check this value.
    Check {
        /// Who sent it.
        from: Id,
        /// The value.
        value: Value,
    },
    /// The errand is over.
    Done(Report),
}

/// What came of an errand.
#[derive(Debug, Default)]
pub struct Report {
    /// The value, when it was found.
    pub value: Option<Box<VerifiedValue>>,
    /// Statements of the closest nodes that answered, closest first; or receipts.
    pub statements: Vec<Statement>,
}

/// A node's statement, and whether the value it names is still to be fetched.
struct Heard {
    contact: Contact,
    statement: Statement,
    tried: bool,
    /// It was asked for a chunk, and says to have it, and left it to others to send it (spec/dht.md §7.5).
    passed_on: bool,
}

/// The machine.
pub struct Errand {
    location: Location,
    kind: ValueKind,
    nonce: Nonce,
    purpose: Purpose,
    lookup: Lookup,
    lookup_done: bool,
    /// Of whom was drawn who is asked for the value at once: as many of the nearest as keep one.
    drawn_from: Vec<Id>,
    /// Who was drawn, until it has answered.
    drawn: Option<Id>,
    /// Until then nobody else is asked for a chunk while one is.
    patience: Option<Instant>,
    contacts: BTreeMap<Id, Contact>,
    heard: BTreeMap<Id, Heard>,
    best: Option<Box<VerifiedValue>>,
    checking: usize,
    fetching: BTreeSet<Id>,
    to_store: VecDeque<Contact>,
    storing: BTreeSet<Id>,
    receipts: Vec<Statement>,
    stored: usize,
    conflicts: usize,
    deadline: Instant,
    outputs: VecDeque<ErrandOutput>,
    done: bool,
}

impl Errand {
    /// An errand that starts from these contacts (own node among them, if it stores) and ends by the deadline.
    #[must_use]
    pub fn new(
        location: Location,
        kind: ValueKind,
        nonce: Nonce,
        purpose: Purpose,
        start: Vec<Contact>,
        rule: PrefixRule,
        (now, deadline): (Instant, Instant),
    ) -> Self {
        let contacts = start.iter().map(|contact| (contact.id, *contact)).collect();
        let breadth = breadth_of(kind, &purpose);
        let looks = match purpose {
            Purpose::Find { .. } | Purpose::Look { .. } => now.until(deadline),
            // Whom nothing is heard of by then is not waited for: nobody would be stored at.
            Purpose::Put { .. } => now.until(deadline).saturating_sub(EXIT_STORING_TIME),
        };
        let mut errand = Self {
            location,
            kind,
            nonce,
            purpose,
            lookup: Lookup::new(location, kind, None, start, rule, breadth, (now, now + looks)),
            lookup_done: false,
            drawn_from: Vec::new(),
            drawn: None,
            patience: None,
            contacts,
            heard: BTreeMap::new(),
            best: None,
            checking: 0,
            fetching: BTreeSet::new(),
            to_store: VecDeque::new(),
            storing: BTreeSet::new(),
            receipts: Vec::new(),
            stored: 0,
            conflicts: 0,
            deadline,
            outputs: VecDeque::new(),
            done: false,
        };
        errand.handle(now, ErrandInput::Timeout);
        errand
    }

    /// Takes one event; what is due at the deadline ends first.
    pub fn handle(&mut self, now: Instant, input: ErrandInput) {
        if self.done {
            return;
        }
        match input {
            ErrandInput::Timeout => self.lookup.handle(now, LookupInput::Timeout),
            ErrandInput::Answered { from, answer } => self.on_answer(now, from, *answer),
            ErrandInput::Failed { from } => self.on_failed(now, from),
            ErrandInput::Checked { from, value } => self.on_checked(from, value),
        }
        self.drain_lookup(now);
        self.patience = self.patience.filter(|until| now < *until);
        self.advance(now);
        if now >= self.deadline {
            self.finish();
        }
    }

    /// The next thing to do.
    pub fn poll_output(&mut self) -> Option<ErrandOutput> {
        self.outputs.pop_front()
    }

    /// When [`ErrandInput::Timeout`] is due.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let until = earlier(self.patience, self.lookup.poll_timeout());
        if self.done { None } else { earlier(Some(self.deadline), until) }
    }

    fn on_answer(&mut self, now: Instant, from: Id, answer: Answer) {
        match answer {
            Answer::Found { statement, contacts, value } => {
                let was_fetch = self.fetching.remove(&from);
                let was_drawn = self.drawn.take_if(|drawn| *drawn == from).is_some();
                let present = (statement.verdict == Verdict::Present).then_some((statement.seq, statement.digest));
                let came_with_value = value.is_some();
                if let Some(value) = value.filter(|value| value.kind() == self.kind) {
                    self.checking += 1;
                    self.outputs.push_back(ErrandOutput::Check { from, value });
                }
                if was_fetch {
                    return;
                }
                for contact in &contacts {
                    self.contacts.entry(contact.id).or_insert(*contact);
                }
                if let Some(contact) = self.contacts.get(&from).copied() {
                    let may_pass_on = self.kind == ValueKind::Hashed && self.nonce.may_be_passed_on();
                    let passed_on = may_pass_on && was_drawn && !came_with_value && present.is_some();
                    // Who had to send it and did not would not do so when asked again.
                    let tried = came_with_value || (was_drawn && !passed_on);
                    self.heard.insert(from, Heard { contact, statement, tried, passed_on });
                }
                self.lookup.handle(now, LookupInput::Answered { from, contacts, says_present: present });
            }
            Answer::Stored { statement } if self.storing.remove(&from) => {
                self.stored += usize::from(self.is_receipt(&statement));
                self.conflicts += usize::from(statement.verdict == Verdict::Conflict);
                self.receipts.push(statement);
            }
            _ => self.on_failed(now, from),
        }
    }

    fn on_failed(&mut self, now: Instant, from: Id) {
        self.drawn.take_if(|drawn| *drawn == from);
        if !self.fetching.remove(&from) && !self.storing.remove(&from) {
            self.lookup.handle(now, LookupInput::Failed { from });
        }
    }

    fn on_checked(&mut self, from: Id, value: Option<Box<VerifiedValue>>) {
        self.checking = self.checking.saturating_sub(1);
        match value.filter(|value| value.location() == self.location) {
            Some(value) => {
                if self.best.as_ref().is_none_or(|best| value.replaces(best)) {
                    self.best = Some(value);
                }
            }
            // Who sends a value that does not hold has its statement left out: the client could not use it either.
            None => {
                self.heard.remove(&from);
            }
        }
    }

    fn drain_lookup(&mut self, now: Instant) {
        let outputs: Vec<LookupOutput> = core::iter::from_fn(|| self.lookup.poll_output()).collect();
        if self.drawn_from.is_empty() && matches!(self.purpose, Purpose::Find { .. }) {
            self.draw(now, &outputs);
        }
        for output in outputs {
            match output {
                LookupOutput::Ask(to) => {
                    self.contacts.entry(to.id).or_insert(to);
                    // One holder sends the value, the others what they have.
                    let ask = self.find(self.nonce, self.drawn == Some(to.id));
                    self.outputs.push_back(ErrandOutput::Ask { to, ask });
                }
                LookupOutput::Done => {
                    self.lookup_done = true;
                    if matches!(self.purpose, Purpose::Put { .. }) {
                        // Farther off there is room enough, and no find looks there.
                        self.to_store = self.lookup.closest_answered(self.kind.sought_among()).into();
                    }
                }
            }
        }
    }

    /// Draws who is asked for the value at once, among those that most likely hold it: what many ask for is sent by all of them.
    fn draw(&mut self, now: Instant, outputs: &[LookupOutput]) {
        let asked = outputs.iter().filter_map(|output| match output {
            LookupOutput::Ask(to) => Some(to.id),
            LookupOutput::Done => None,
        });
        self.drawn_from = asked.take(self.kind.holders()).collect();
        self.drawn = self.pick(&self.drawn_from);
        if self.kind == ValueKind::Hashed {
            self.patience = self.drawn.map(|_| now + FETCH_PATIENCE);
        }
    }

    /// One of these, by the nonce.
    fn pick(&self, among: &[Id]) -> Option<Id> {
        let turn = usize::from(self.nonce.0[1]).checked_rem(among.len())?;
        among.get(turn).copied()
    }

    /// Whether a storer says that it keeps the value, and a chunk for as long as was asked: else another is asked in its place.
    fn is_receipt(&self, statement: &Statement) -> bool {
        let Purpose::Put { value, .. } = &self.purpose else { return false };
        statement.verdict == Verdict::Stored && statement.digest == value.digest() && statement.seq >= value.seq()
    }

    fn find(&self, nonce: Nonce, want_value: bool) -> Ask {
        Ask::Find { kind: self.kind, location: self.location, nonce, want_value }
    }

    fn advance(&mut self, now: Instant) {
        match &self.purpose {
            Purpose::Find { digest } => {
                let digest = *digest;
                self.advance_find(now, digest);
            }
            Purpose::Look { .. } => {
                if self.lookup_done {
                    self.finish();
                }
            }
            Purpose::Put { value, expected, payment } => {
                let ask = Ask::Store {
                    nonce: self.nonce,
                    expected: *expected,
                    value: value.value().clone(),
                    account: Account::Anonymous(*payment),
                };
                self.advance_put(&ask);
            }
        }
    }

    fn advance_find(&mut self, now: Instant, digest: Option<[u8; 32]>) {
        let is_chunk = self.kind == ValueKind::Hashed;
        if is_chunk && self.best.is_some() {
            // A chunk that fits its hash needs no witness.
            return self.finish();
        }
        if self.checking > 0 || !(self.lookup_done || is_chunk) {
            return;
        }
        // Several at a time: one who claims the newest and never sends it must not use up the time of all. But a chunk is large,
        // and what is under way mostly comes.
        while self.under_way() < ALPHA && (self.under_way() == 0 || !is_chunk || self.patience.is_none()) {
            let Some(to) = self.next_fetch(digest) else { break };
            self.fetching.insert(to.id);
            self.patience = is_chunk.then_some(now + FETCH_PATIENCE);
            // Who is asked now is asked in somebody's place already.
            let ask = self.find(self.nonce.insisting(), true);
            self.outputs.push_back(ErrandOutput::Ask { to, ask });
        }
        if self.lookup_done && self.under_way() == 0 {
            self.finish();
        }
    }

    /// How many are asked for the value. A record's lookup has ended by the time when that matters.
    fn under_way(&self) -> usize {
        let is_drawn = self.kind == ValueKind::Hashed && self.drawn.is_some();
        self.fetching.len() + usize::from(is_drawn)
    }

    /// Who claims something newer than what is here: first what most claim, then what is newest. Liars rarely agree.
    fn next_fetch(&mut self, digest: Option<[u8; 32]>) -> Option<Contact> {
        let have = self.best.as_ref().map(|best| (best.seq(), best.digest()));
        let claim = |heard: &Heard| (heard.statement.seq, heard.statement.digest);
        let mut claimed: BTreeMap<Claim, usize> = BTreeMap::new();
        for heard in self.heard.values().filter(|heard| heard.statement.verdict == Verdict::Present) {
            *claimed.entry(claim(heard)).or_default() += 1;
        }
        let is_wanted = |heard: &Heard| {
            let is_new = heard.statement.verdict == Verdict::Present && Some(claim(heard)) > have;
            // Who left it to others is asked again when nobody else has sent it.
            let may_be_asked = !heard.tried && (!heard.passed_on || self.lookup_done);
            is_new && may_be_asked && digest.is_none_or(|digest| heard.statement.digest == digest)
        };
        let is_passed_on = self.heard.values().any(|heard| heard.passed_on);
        let weight = |heard: &Heard| {
            // Others were told to go on, too: those beyond the holders have the most room.
            let is_beyond = is_passed_on && !self.drawn_from.contains(&heard.contact.id);
            (!heard.passed_on, is_beyond, claimed.get(&claim(heard)).copied(), claim(heard))
        };
        let wanted: Vec<&Heard> = self.heard.values().filter(|heard| is_wanted(heard)).collect();
        let best = wanted.iter().map(|heard| weight(heard)).max()?;
        let equal: Vec<Id> =
            wanted.into_iter().filter(|heard| weight(heard) == best).map(|heard| heard.contact.id).collect();
        let picked = self.heard.get_mut(&self.pick(&equal)?)?;
        picked.tried = true;
        Some(picked.contact)
    }

    fn advance_put(&mut self, ask: &Ask) {
        // Whoever keeps another value holds its place: nodes farther off keep none, and would take what the holders refused.
        // A few may lie; their places are given to others once all have answered.
        let few = self.storing.is_empty() && 2 * self.conflicts < self.kind.holders();
        let kept_otherwise = if few { 0 } else { self.conflicts };
        while self.stored + kept_otherwise + self.storing.len() < self.kind.holders() {
            let Some(to) = self.to_store.pop_front() else { break };
            self.storing.insert(to.id);
            self.outputs.push_back(ErrandOutput::Ask { to, ask: ask.clone() });
        }
        if self.lookup_done && self.storing.is_empty() {
            self.finish();
        }
    }

    /// What the closest said, the closest first.
    fn take_heard(&mut self) -> Vec<Statement> {
        let mut heard: Vec<_> = core::mem::take(&mut self.heard).into_iter().collect();
        heard.sort_by_key(|(id, _)| id.distance(&self.location));
        heard.into_iter().take(SIGNERS).map(|(_, heard)| heard.statement).collect()
    }

    fn finish(&mut self) {
        if self.done {
            return;
        }
        self.done = true;
        let statements = match self.purpose {
            Purpose::Find { .. } => self.take_heard(),
            Purpose::Look { digest } => {
                let has = |statement: &Statement| statement.verdict == Verdict::Present && statement.digest == digest;
                let (mut first, mut others): (Vec<_>, Vec<_>) = self.take_heard().into_iter().partition(has);
                // Not all fit into the answer: of those who have it not, one exit's leaves out others than the next one's.
                let turn = usize::from(self.nonce.0[0]).checked_rem(others.len()).unwrap_or(0);
                others.rotate_left(turn);
                first.append(&mut others);
                first
            }
            Purpose::Put { .. } => {
                // Stored ones first: they are what the client counts, and only so many fit.
                let mut receipts = core::mem::take(&mut self.receipts);
                receipts.sort_by_key(|receipt| !self.is_receipt(receipt));
                receipts.truncate(SIGNERS);
                receipts
            }
        };
        self.outputs.push_back(ErrandOutput::Done(Report { value: self.best.take(), statements }));
    }
}

/// Of a record all of the closest have to be heard. A chunk that was found ends the errand, and nobody's word that it is not there
/// counts: those are enough whom a holder is, or will be, among.
fn breadth_of(kind: ValueKind, purpose: &Purpose) -> Breadth {
    let closest = kind.sought_among();
    match (kind, purpose) {
        (ValueKind::Signed, _) | (_, Purpose::Look { .. }) => Breadth::SIGNERS,
        (ValueKind::Hashed, Purpose::Find { .. }) => Breadth { at_once: closest, closest },
        (ValueKind::Hashed, Purpose::Put { .. }) => Breadth { at_once: SIGNERS, closest },
    }
}

#[cfg(test)]
mod tests;
