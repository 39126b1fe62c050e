//! Questions of other relays (and our own): what is here, keep this, whom do you know. Source: spec/messages.md §2.

use super::paying::Offered;
use super::{AskOwner, Pending, Relay};
use crate::dht::store::{StoreOp, StoreResult};
use crate::limits::{ASKS_PER_LINK_MAX, BUCKET_SIZE, CIRCUITS_PER_LINK_MAX, CLOSER_MEMBERS_MAX};
use crate::node::asks::{AskId, Heard};
use crate::node::io::{DownReason, LinkId, Output};
use crate::node::sight::Sight;
use crate::node::silence::Doubt;
use crate::node::work::Job;
use crate::record::VerifiedValue;
use crate::time::Now;
use crate::wire::cell::{Cell, CircuitId, Command};
use crate::wire::contact::Contact;
use crate::wire::descriptor::VerifiedDescriptor;
use crate::wire::message::{Answer, Ask, cells_of};
use crate::wire::payment::Account;
use crate::wire::statement::{Operation, Question, Saying, Statement, Verdict};

/// Who is to be answered.
#[derive(Clone, Copy, Debug)]
pub(super) enum Asker {
    /// A question of our own exit.
    Own(AskId),
    /// The other end of a link.
    Remote(LinkId, CircuitId),
}

impl Relay {
    pub(super) fn on_ask_cell(&mut self, now: Now, link: LinkId, cell: &Cell) {
        let circuit = cell.circuit();
        let is_new = !self.asks.knows_incoming(link, circuit);
        let max = CIRCUITS_PER_LINK_MAX + ASKS_PER_LINK_MAX;
        if is_new && !self.links.take_ask(now.instant, link) {
            return self.close_link_for(now, link, DownReason::Limit);
        }
        if is_new && !self.links.accept_circuit(now.instant, link, circuit, max) {
            return self.close_link(now, link);
        }
        let from_client = self.links.peer(link).is_none_or(|peer| peer.descriptor.is_none());
        match self.asks.on_ask(now.instant, link, cell, from_client) {
            Ok(None) => (),
            Ok(Some(ask)) => self.on_ask(now, Asker::Remote(link, circuit), ask),
            Err(guilty) => self.close_link(now, guilty),
        }
    }

    pub(super) fn on_answer_cell(&mut self, now: Now, link: LinkId, cell: &Cell) {
        match self.asks.on_answer(now.instant, link, cell) {
            Heard::Nothing => (),
            Heard::Answer(ask, answer) => {
                self.links.close_circuit(link, cell.circuit());
                self.on_answer(now, ask, *answer);
            }
            Heard::Broken(ask) => {
                self.ask_failed(now, ask);
                self.close_link(now, link);
            }
        }
    }

    /// Links that are silent although something is awaited of them.
    pub(super) fn mind_silence(&mut self, now: Now) {
        for doubt in self.links.silence.doubts(now.instant) {
            match doubt {
                Doubt::Ask(link) => {
                    let ask = AskId(self.next_id());
                    let there = self.links.peer(link).and_then(|peer| peer.descriptor.as_ref());
                    let Some(id) = there.map(VerifiedDescriptor::id) else { continue };
                    self.ask_owners.insert(ask, AskOwner::SignOfLife);
                    self.ask_ids.insert(ask, id);
                    self.start_ask(now, link, ask, &Ask::sign_of_life().encode());
                }
                Doubt::GiveUp(link) => self.close_link_for(now, link, DownReason::Silent),
            }
        }
    }

    /// The peer broke the protocol.
    pub(super) fn close_link(&mut self, now: Now, link: LinkId) {
        self.close_link_for(now, link, DownReason::Protocol);
    }

    fn close_link_for(&mut self, now: Now, link: LinkId, reason: DownReason) {
        self.effects.io(Output::Close { link, reason });
        let peer = self.links.on_down(now.instant, link, reason);
        self.on_link_down(now, link, peer);
    }

    fn on_answer(&mut self, now: Now, ask: AskId, answer: Answer) {
        match self.ask_owners.remove(&ask) {
            Some(AskOwner::Errand(owner)) => self.on_errand_answer(now, owner, answer),
            Some(AskOwner::Members { from, part }) => self.on_members_page(now, from, part, answer),
            Some(AskOwner::Repair(ask)) => self.on_repair_answer(now, ask, answer),
            Some(AskOwner::SignOfLife) | None => (),
        }
    }

    pub(super) fn ask_failed(&mut self, now: Now, ask: AskId) {
        self.ask_ids.remove(&ask);
        match self.ask_owners.remove(&ask) {
            Some(AskOwner::Errand(owner)) => self.on_errand_failed(now, owner),
            Some(AskOwner::Members { from, .. }) => self.pulls.ended(&from.link_key),
            Some(AskOwner::Repair(ask)) => self.on_repair_failed(now, ask),
            Some(AskOwner::SignOfLife) | None => (),
        }
    }

    pub(super) fn on_ask(&mut self, now: Now, asker: Asker, ask: Ask) {
        let is_relay = match asker {
            Asker::Own(_) => true,
            Asker::Remote(link, _) => self.links.peer(link).is_some_and(|peer| peer.descriptor.is_some()),
        };
        if matches!(ask, Ask::Members { .. } | Ask::Differences { .. })
            && ask != Ask::sign_of_life()
            && let Asker::Remote(link, _) = asker
            && !self.links.take_members_ask(now.instant, link)
        {
            return self.reply(now, asker, Answer::Refused);
        }
        match ask {
            Ask::Members { after } => self.answer_members(now, asker, after),
            // A client that asked a storer itself would show what it asks for.
            _ if !is_relay => self.reply(now, asker, Answer::Refused),
            Ask::Find { kind, location, nonce, want_value } => {
                let question = Question { nonce, operation: Operation::Find, location };
                self.note_asked(asker, &question);
                let contacts = self.known_closest(now, &question.location);
                let pending = Pending::FindStored { asker, question, contacts, want_value };
                self.store(pending, StoreOp::Get { kind, location });
            }
            Ask::Store { nonce, expected, value, account } => {
                // The location is not known before the value is checked; until then the question is about nowhere.
                let location = crate::keyspace::Id([0; 20]);
                let question = Question { nonce, operation: Operation::Store, location };
                let pending = Pending::StoreChecked { asker, question, expected, account };
                self.work(pending, Job::CheckValue { network: self.config.network, value, now: now.unix });
            }
            Ask::Differences { after, until, salt, held } => {
                self.answer_differences(now, asker, (after, until), (salt, &held));
            }
        }
    }

    fn note_asked(&mut self, asker: Asker, question: &Question) {
        let Asker::Remote(link, _) = asker else { return };
        let Some(peer) = self.links.peer(link) else { return };
        let (from, relay) = (peer.link_key, peer.descriptor.as_ref().map(|relay| relay.key));
        let (location, is_store) = (question.location, question.operation == Operation::Store);
        self.effects.sight(|| Sight::Asked { from, relay, location, is_store });
    }

    /// The closest nodes this relay knows: from its table, and its members as shortcuts. Who is gone is left out, but for those
    /// whose turn it is to be tried again.
    pub(super) fn known_closest(&self, now: Now, location: &crate::keyspace::Location) -> Vec<Contact> {
        let is_here = |member: &VerifiedDescriptor| !self.is_passed_over(now, (member.link_key, member.address));
        let members = self.members.closest_of(location, BUCKET_SIZE, is_here);
        let mut contacts: Vec<Contact> = members.into_iter().map(Contact::from).collect();
        let table = self.table.closest(location, BUCKET_SIZE);
        contacts.extend(table.into_iter().filter(|one| !self.is_passed_over(now, (one.link_key, one.address))));
        contacts.sort_by_key(|contact| contact.id.distance(location));
        contacts.dedup_by_key(|contact| contact.id);
        contacts.truncate(BUCKET_SIZE);
        contacts
    }

    pub(super) fn on_find_stored(
        &mut self,
        now: Now,
        asker: Asker,
        question: Question,
        contacts: Vec<Contact>,
        want_value: bool,
        result: StoreResult,
    ) {
        let value = match result {
            StoreResult::Value(value) => value,
            // Whoever cannot look, or does not, must not sign that nothing is there.
            StoreResult::Failed | StoreResult::Denied => return self.reply(now, asker, Answer::Refused),
            StoreResult::Kept
            | StoreResult::KeptLonger { .. }
            | StoreResult::Conflict { .. }
            | StoreResult::Full
            | StoreResult::Places(_)
            | StoreResult::Filled { .. } => None,
        };
        let saying = value.as_ref().map_or_else(
            || self.saying(Verdict::Absent, 0, [0; 32]),
            |value| self.saying(Verdict::Present, value.seq(), value.digest()),
        );
        // Its own exit has the value without a link: others have nothing to spare there.
        let is_wanted = want_value
            && !value.as_ref().is_some_and(|value| {
                let place = (value.kind(), value.location());
                matches!(asker, Asker::Remote(..)) && self.is_passed_on(now, place, &question.nonce)
            });
        let value = value.filter(|_| is_wanted).map(Box::new);
        self.sign(now, question, saying, Pending::FindSigned { asker, contacts, value });
    }

    pub(super) fn on_find_signed(
        &mut self,
        now: Now,
        asker: Asker,
        contacts: Vec<Contact>,
        value: Option<Box<VerifiedValue>>,
        statement: Statement,
    ) {
        let value = value.map(|value| value.into_value());
        self.reply(now, asker, Answer::Found { statement, contacts, value });
    }

    pub(super) fn on_store_checked(&mut self, now: Now, offered: Offered, account: Account) {
        let (asker, location) = (offered.asker, offered.value.location());
        let question = Question { location, ..offered.question };
        self.note_asked(asker, &question);
        // Who is gone would take nothing: it does not count.
        let presence = &self.links.presence;
        let is_here = |one: &VerifiedDescriptor| !presence.is_gone(&(one.link_key, one.address));
        let closer = self.members.closer_count(&question.location, &self.descriptor.id(), is_here);
        if closer >= CLOSER_MEMBERS_MAX {
            let saying = self.saying(Verdict::NotCloseEnough, 0, [0; 32]);
            return self.sign(now, question, saying, Pending::StoreSigned { asker });
        }
        self.on_offered(now, Offered { question, ..offered }, account);
    }

    pub(super) fn on_store_stored(
        &mut self,
        now: Now,
        asker: Asker,
        question: Question,
        (seq, digest): (u64, [u8; 32]),
        result: StoreResult,
    ) {
        let saying = match result {
            StoreResult::Kept => self.saying(Verdict::Stored, seq, digest),
            StoreResult::KeptLonger { until } => self.saying(Verdict::Stored, until.step(), digest),
            StoreResult::Conflict { seq, digest } => self.saying(Verdict::Conflict, seq, digest),
            StoreResult::Failed | StoreResult::Denied => return self.reply(now, asker, Answer::Refused),
            StoreResult::Full | StoreResult::Value(_) | StoreResult::Places(_) | StoreResult::Filled { .. } => {
                self.saying(Verdict::Full, 0, [0; 32])
            }
        };
        self.sign(now, question, saying, Pending::StoreSigned { asker });
    }

    pub(super) fn on_store_signed(&mut self, now: Now, asker: Asker, statement: Statement) {
        self.reply(now, asker, Answer::Stored { statement });
    }

    pub(super) fn saying(&self, verdict: Verdict, seq: u64, digest: [u8; 32]) -> Saying {
        let relays_estimate = u32::try_from(self.members.len()).unwrap_or(u32::MAX);
        Saying { verdict, seq, digest, relays_estimate }
    }

    pub(super) fn sign(&mut self, now: Now, question: Question, saying: Saying, pending: Pending) {
        let (network, secret) = (self.config.network, self.config.identity.clone());
        self.work(pending, Job::Sign { network, secret, question, saying, now: now.unix });
    }

    pub(super) fn reply(&mut self, now: Now, asker: Asker, answer: Answer) {
        match asker {
            Asker::Own(ask) => self.on_answer(now, ask, answer),
            Asker::Remote(..) => self.send_answer(asker, &answer),
        }
    }

    pub(super) fn send_answer(&mut self, asker: Asker, answer: &Answer) {
        let Asker::Remote(link, circuit) = asker else { return };
        self.links.close_circuit(link, circuit);
        if self.links.peer(link).is_none() {
            return;
        }
        for cell in cells_of(circuit, Command::Answer, &answer.encode()).into_iter().flatten() {
            self.effects.send(link, cell);
        }
    }
}
