//! Whether a value that belongs here is kept, on whose account: what was paid for it, and what its asker has brought before. The rules
//! stand in `dht/`. Source: spec/dht.md §8.

use super::storing::Asker;
use super::{Pending, Relay, RelayEvent};
use crate::crypto::storage_puzzle::StoragePuzzle;
use crate::dht::budget::{Bringer, Budgets, CheckRole, Taken};
use crate::dht::checked_payments::CheckedPayments;
use crate::dht::effort::{Effort, Fill};
use crate::dht::store::{Holding, StoreOp, StoreResult, room_of};
use crate::keyspace::Location;
use crate::limits::CLOSER_MEMBERS_MAX;
use crate::node::circuits::CircuitNo;
use crate::node::io::LinkId;
use crate::node::work::Job;
use crate::record::VerifiedValue;
use crate::time::Now;
use crate::wire::descriptor::VerifiedDescriptor;
use crate::wire::message::Answer;
use crate::wire::payment::{Account, Payment};
use crate::wire::statement::{Question, Verdict};

/// What a relay asks of anonymous writes now, and what of its hour they have used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WriteTerms {
    /// Step of the ladder.
    pub effort: u8,
    /// How full the store is, in thousandths.
    pub full_permille: u64,
    /// Bytes that were taken in this hour.
    pub hour_bytes: u64,
    /// Bytes that are taken in an hour at most, where storage is scarce.
    pub hour_bytes_max: u64,
    /// Whether it is: else nothing is refused for that.
    pub is_scarce: bool,
}

/// What a relay asks of those who write, and what they have brought.
#[derive(Default)]
pub(super) struct Paying {
    /// What its operator was told last.
    told: Option<WriteTerms>,
    fill: Fill,
    pub(super) effort: Effort,
    pub(super) budgets: Budgets,
    /// Apart for each role, or who shows a payment to a storer could time whether it was its writer's exit.
    checked_by_exit: CheckedPayments,
    checked_by_storer: CheckedPayments,
}

/// A value that checked and is close enough, and who wants it kept.
pub(super) struct Offered {
    pub(super) asker: Asker,
    pub(super) question: Question,
    pub(super) expected: Option<u64>,
    pub(super) value: Box<VerifiedValue>,
}

/// A value that a circuit's client wants stored, and what it shows for it.
pub(super) struct Handed {
    pub(super) slot: (CircuitNo, usize),
    pub(super) expected: Option<u64>,
    pub(super) value: Box<VerifiedValue>,
    pub(super) payment: Payment,
}

impl Paying {
    pub(super) fn checked(&mut self, role: CheckRole) -> &mut CheckedPayments {
        match role {
            CheckRole::Exit => &mut self.checked_by_exit,
            CheckRole::Storer => &mut self.checked_by_storer,
        }
    }

    /// The most that it remembers in any role.
    pub(super) fn remembered(&self) -> usize {
        self.checked_by_exit.len().max(self.checked_by_storer.len())
    }

    fn terms(&self, now: Now) -> WriteTerms {
        let (hour_bytes, hour_bytes_max) = self.budgets.anonymous_hour(now.unix, &self.fill);
        let (effort, full_permille) = (self.effort.step(), self.fill.permille());
        WriteTerms { effort, full_permille, hour_bytes, hour_bytes_max, is_scarce: !self.fill.is_plentiful() }
    }
}

impl Relay {
    /// What is over goes, and the store says how full it is.
    pub(super) fn sweep_store(&mut self, now: Now) {
        self.store(Pending::Expired, StoreOp::Expire { now: now.unix });
    }

    /// The store says how full it is.
    pub(super) fn on_filled(&mut self, now: Now, result: &StoreResult) {
        let StoreResult::Filled { held, max } = *result else { return };
        self.paying.fill = Fill { held, max };
        if self.paying.effort.note(&self.paying.fill, now.instant) {
            self.publish_descriptor(now);
        }
        let terms = self.paying.terms(now);
        if self.paying.told.replace(terms) != Some(terms) {
            self.effects.event(RelayEvent::Writes(terms));
        }
    }

    /// Cheap checks first: one Argon2id at most, and none for what would not be kept anyway.
    pub(super) fn on_offered(&mut self, now: Now, offered: Offered, account: Account) {
        let from = self.bringer_of(offered.asker);
        let payment = match account {
            Account::Upkeep if self.is_near(from, &offered.question.location) => {
                return self.keep_if_within(now, offered, true);
            }
            Account::Upkeep => None,
            Account::Anonymous(payment) => payment,
        };
        let wanted = self.descriptor.effort;
        if wanted == 0 {
            return self.keep_if_within(now, offered, false);
        }
        let Some(payment) = payment.filter(|shown| shown.effort >= wanted && shown.is_timely(now.unix)) else {
            return self.decline(now, offered, Verdict::Unpaid);
        };
        let puzzle = self.puzzle_of(&payment, &offered.value);
        if self.paying.checked(CheckRole::Storer).has(&puzzle, payment.counter) {
            return self.keep_if_within(now, offered, false);
        }
        if !self.paying.budgets.take_check(now.unix, CheckRole::Storer, from) {
            return self.reply(now, offered.asker, Answer::Refused);
        }
        let job = Job::CheckPayment { puzzle, counter: payment.counter };
        self.work(Pending::StorePaid(Box::new(offered), payment), job);
    }

    pub(super) fn on_offer_paid(&mut self, now: Now, offered: Offered, payment: Payment, holds: bool) {
        if !holds {
            return self.decline(now, offered, Verdict::Unpaid);
        }
        self.note_paid(now, CheckRole::Storer, &payment, &offered.value);
        self.keep_if_within(now, offered, false);
    }

    /// As an exit: what would be refused by every storer, and held against this relay, is not handed on.
    pub(super) fn on_handed(&mut self, now: Now, handed: Handed) {
        let inward = self.circuits.get_mut(handed.slot.0).map(|circuit| circuit.inward);
        let from = inward.map_or(Bringer::Unknown, |(link, _)| self.bringer_at(link));
        if !handed.payment.is_timely(now.unix) {
            return self.on_put_paid(now, handed, false);
        }
        let (puzzle, counter) = (self.puzzle_of(&handed.payment, &handed.value), handed.payment.counter);
        if self.paying.checked(CheckRole::Exit).has(&puzzle, counter) {
            return self.on_put_paid(now, handed, true);
        }
        if !self.paying.budgets.take_check(now.unix, CheckRole::Exit, from) {
            return self.on_put_paid(now, handed, false);
        }
        self.work(Pending::PutPaid(Box::new(handed)), Job::CheckPayment { puzzle, counter });
    }

    pub(super) fn on_handed_checked(&mut self, now: Now, handed: Handed, holds: bool) {
        if holds {
            self.note_paid(now, CheckRole::Exit, &handed.payment, &handed.value);
        }
        self.on_put_paid(now, handed, holds);
    }

    fn puzzle_of(&self, payment: &Payment, value: &VerifiedValue) -> StoragePuzzle {
        payment.puzzle(&self.config.network, value.location(), value.digest())
    }

    fn note_paid(&mut self, now: Now, role: CheckRole, payment: &Payment, value: &VerifiedValue) {
        let puzzle = self.puzzle_of(payment, value);
        self.paying.checked(role).note(&puzzle, payment.counter, now.unix);
    }

    /// What is held already takes nothing of an hour: otherwise one value, stored again and again, would use it up for all.
    fn keep_if_within(&mut self, now: Now, offered: Offered, is_upkeep: bool) {
        if self.repair.holds(&Holding::from(&*offered.value)) {
            return self.keep(offered, None);
        }
        let (from, bytes) = (self.bringer_of(offered.asker), bytes_of(&offered.value));
        let Paying { budgets, fill, .. } = &mut self.paying;
        let taken = if is_upkeep {
            budgets.take_upkeep(now.unix, from, bytes, fill)
        } else {
            budgets.take_anonymous(now.unix, from, bytes, fill)
        };
        match taken {
            Some(_) => self.keep(offered, taken),
            None => self.decline(now, offered, Verdict::Full),
        }
    }

    fn keep(&mut self, Offered { asker, question, expected, value }: Offered, taken: Option<Taken>) {
        let pending = Pending::StoreStored { asker, question, holding: Holding::from(&*value), taken };
        self.store(pending, StoreOp::Put { value: *value, expected });
    }

    /// What is not kept after all has taken nothing.
    pub(super) fn settle_taken(&mut self, taken: Option<Taken>, result: &StoreResult) {
        if let Some(taken) = taken.filter(|_| *result != StoreResult::Kept) {
            self.paying.budgets.give_back(taken);
        }
    }

    fn decline(&mut self, now: Now, Offered { asker, question, .. }: Offered, verdict: Verdict) {
        let effort = if verdict == Verdict::Unpaid { u64::from(self.descriptor.effort) } else { 0 };
        let saying = self.saying(verdict, effort, [0; 32]);
        self.sign(now, question, saying, Pending::StoreSigned { asker });
    }

    /// Whoever looks after a place is near it: repair of a place that its asker could not hold is none.
    fn is_near(&self, asker: Bringer, location: &Location) -> bool {
        let key = match asker {
            Bringer::Own => self.descriptor.key,
            Bringer::Relay(key) => key,
            Bringer::Unknown => return false,
        };
        let Some(asker) = self.members.get(&key) else { return false };
        let presence = &self.links.presence;
        let is_here = |one: &VerifiedDescriptor| !presence.is_gone(&(one.link_key, one.address));
        self.members.closer_count(location, &asker.id(), is_here) < CLOSER_MEMBERS_MAX
    }

    /// Relays alone ask for values to be kept; one whose link has ended meanwhile is nobody that is known.
    pub(super) fn bringer_of(&self, asker: Asker) -> Bringer {
        match asker {
            Asker::Own(_) => Bringer::Own,
            Asker::Remote(link, _) => self.bringer_at(link),
        }
    }

    fn bringer_at(&self, link: LinkId) -> Bringer {
        let peer = self.links.peer(link).and_then(|peer| peer.descriptor.as_ref());
        peer.map_or(Bringer::Unknown, |relay| Bringer::Relay(relay.key))
    }
}

fn bytes_of(value: &VerifiedValue) -> u64 {
    u64::try_from(room_of(value)).unwrap_or(u64::MAX)
}
