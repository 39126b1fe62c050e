//! Joins repair with links, questions, store and work. It has no rules of its own, and no client in it. Source: spec/dht.md §7.

use super::watch::Noted;
use super::{AskOwner, Pending, Relay, RelayEvent};
use crate::crypto::keys::DhKey;
use crate::crypto::random_bytes;
use crate::dht::repair::{RepairCounts, RepairInput, RepairOutput, Surroundings};
use crate::dht::store::{Holding, Place, StoreOp, StoreResult};
use crate::keyspace::{Id, Location};
use crate::limits::{PLACES_PAGE_MAX, REPAIR_REACH};
use crate::membership::members::Members;
use crate::node::presence::Presence;
use crate::node::sight::Sight;
use crate::node::work::Job;
use crate::time::{Duration, Instant, Now, earlier};
use crate::wire::address::Address;
use crate::wire::contact::Contact;
use crate::wire::descriptor::VerifiedDescriptor;
use crate::wire::message::Answer;
use crate::wire::statement::Nonce;

/// A question of repair.
#[derive(Clone, Copy, Debug)]
pub(super) struct RepairAsk {
    place: Place,
    check: u64,
    from: Id,
}

impl Relay {
    /// What repair has done since the relay started.
    #[must_use]
    pub fn repair_counts(&self) -> RepairCounts {
        self.repair.counts()
    }

    /// What the store holds from before, page by page.
    pub(super) fn load_places(&mut self, after: Option<Place>) {
        self.store(Pending::Places, StoreOp::Places { after, max: PLACES_PAGE_MAX });
    }

    pub(super) fn on_places(&mut self, now: Now, result: StoreResult) {
        let StoreResult::Places(page) = result else { return };
        let next = page.last().filter(|_| page.len() >= PLACES_PAGE_MAX).map(|last| last.place);
        page.into_iter().for_each(|holding| self.repair_handle(now, RepairInput::Found(holding)));
        if let Some(after) = next {
            self.load_places(Some(after));
        }
    }

    pub(super) fn on_held(&mut self, now: Now, holding: Holding, result: &StoreResult) {
        if *result == StoreResult::Kept {
            self.repair_handle(now, RepairInput::Held(holding));
        }
    }

    pub(super) fn on_repair_loaded(&mut self, now: Now, place: Place, result: StoreResult) {
        let value = match result {
            StoreResult::Value(value) => value.map(Box::new),
            // The place is not forgotten: the check fails at its deadline, and is tried again.
            StoreResult::Failed => return,
            StoreResult::Denied
            | StoreResult::Kept
            | StoreResult::KeptLonger { .. }
            | StoreResult::Conflict { .. }
            | StoreResult::Full
            | StoreResult::Places(_)
            | StoreResult::Filled { .. } => None,
        };
        self.repair_handle(now, RepairInput::Loaded { place, value });
    }

    pub(super) fn on_repair_answer(&mut self, now: Now, ask: RepairAsk, answer: Answer) {
        let RepairAsk { place, check, from } = ask;
        self.repair_handle(now, RepairInput::Answered { place, check, from, answer: Box::new(answer) });
    }

    pub(super) fn on_repair_failed(&mut self, now: Now, ask: RepairAsk) {
        let RepairAsk { place, check, from } = ask;
        self.repair_handle(now, RepairInput::Failed { place, check, from });
    }

    /// A member is known now that was not, or says that it is there.
    pub(super) fn on_member_here(&mut self, now: Now, id: Id) {
        if id != self.descriptor.id() {
            self.repair_handle(now, RepairInput::Here(id));
        }
    }

    /// What follows is done when time is handled, after every input: a question that fails at once must not go round in circles.
    pub(super) fn repair_handle(&mut self, now: Now, input: RepairInput) {
        let Self { members, links, rng, repair, .. } = self;
        let closest = |location: &Location, count| live_closest(members, &links.presence, location, count);
        repair.handle(now, input, &mut Surroundings { closest: &closest, rng });
    }

    /// Whether others are to send a value that is held here and asked for.
    pub(super) fn is_passed_on(&mut self, now: Now, place: Place, nonce: &Nonce) -> bool {
        let Self { members, links, rng, repair, .. } = self;
        let closest = |location: &Location, count| live_closest(members, &links.presence, location, count);
        repair.is_passed_on(now, place, nonce, &mut Surroundings { closest: &closest, rng })
    }

    pub(super) fn repair_time(&mut self, now: Now) {
        for link_key in self.links.presence.take_gone() {
            if let Some(contact) = self.watch.on_gone(&link_key) {
                self.repair_handle(now, RepairInput::Gone(contact.id));
            }
        }
        self.dial_watched(now);
        let before = self.repair.counts();
        let Self { members, links, rng, repair, .. } = self;
        let closest = |location: &Location, count| live_closest(members, &links.presence, location, count);
        repair.handle_time(now, &mut Surroundings { closest: &closest, rng });
        while let Some(output) = self.repair.poll_output() {
            self.do_repair(now, output);
        }
        let counts = self.repair.counts();
        if (counts.copies_sent, counts.copies_fetched) != (before.copies_sent, before.copies_fetched) {
            self.effects.event(RelayEvent::Repaired(counts));
        }
    }

    fn do_repair(&mut self, now: Now, output: RepairOutput) {
        match output {
            RepairOutput::Ask { place, check, to, ask } => {
                self.effects.sight(|| Sight::Repairs { location: place.1 });
                self.ask(now, to, AskOwner::Repair(RepairAsk { place, check, from: to.id }), ask);
            }
            RepairOutput::Load(place) => {
                let (kind, location) = place;
                self.store(Pending::RepairLoaded(place), StoreOp::Get { kind, location });
            }
            RepairOutput::Check { place, value } => {
                let job = Job::CheckValue { network: self.config.network, value, now: now.unix };
                self.work(Pending::RepairChecked(place), job);
            }
            RepairOutput::Keep(value) => {
                let pending = Pending::RepairKept(Holding::from(&*value));
                self.store(pending, StoreOp::Put { value: *value, expected: None });
            }
            RepairOutput::Watch(holders) => holders.into_iter().for_each(|holder| self.need(now, holder)),
        }
    }

    pub(super) fn repair_timeout(&self) -> Option<Instant> {
        earlier(self.repair.poll_timeout(), self.watch.poll_timeout())
    }

    /// The nearest to this relay itself are watched always; others as long as they hold what it holds.
    pub(super) fn watch_neighbours(&mut self, now: Now) {
        let own = self.descriptor.id();
        let mut nearest = live_closest(&self.members, &self.links.presence, &own, REPAIR_REACH + 1);
        nearest.retain(|one| one.id != own);
        nearest.into_iter().for_each(|neighbour| self.need(now, neighbour));
        // Every place is looked after once in so long, and names its holders.
        let lapse = (self.config.repair.every * 2).as_micros();
        let lapse = u64::try_from(lapse).unwrap_or(u64::MAX);
        let since = Instant::from_micros(now.instant.as_micros().saturating_sub(lapse));
        for link_key in self.watch.drop_since(since) {
            self.links.unpin(&link_key);
        }
    }

    fn need(&mut self, now: Now, contact: Contact) {
        let has_link = self.links.link_to(&contact.link_key).is_some();
        let dial_at = if has_link { None } else { Some(now.instant + self.redial_soon()) };
        if let Noted::New(gives_way) = self.watch.need(now.instant, contact, dial_at) {
            self.links.pin(contact.link_key);
            gives_way.iter().for_each(|link_key| self.links.unpin(link_key));
        }
    }

    pub(super) fn watched_up(&mut self, now: Now, link_key: &DhKey) {
        if self.links.link_to(link_key).is_some()
            && let Some(contact) = self.watch.on_up(now.instant, link_key, self.config.repair.told_every)
        {
            self.repair_handle(now, RepairInput::Here(contact.id));
        }
    }

    pub(super) fn watched_down(&mut self, now: Now, link_key: &DhKey) {
        if self.links.link_to(link_key).is_none() {
            let dial_at = now.instant + self.redial_soon();
            self.watch.on_down(link_key, dial_at);
        }
    }

    fn dial_watched(&mut self, now: Now) {
        if self.watch.poll_timeout().is_none_or(|at| now.instant < at) {
            return;
        }
        let pause = self.config.repair.redial;
        let next = now.instant + pause / 2 + self.drawn(pause);
        for contact in self.watch.due(now.instant, next) {
            if self.links.link_to(&contact.link_key).is_some() {
                self.watched_up(now, &contact.link_key);
                continue;
            }
            // Its descriptor may have moved; who is a member no more is not dialled.
            let Some(member) = self.members.by_id(&contact.id).map(Contact::from) else { continue };
            if self.links.link_to(&member.link_key).is_none() {
                let (_, dial) = self.links.reach(now.instant, member.link_key, member.address);
                dial.into_iter().for_each(|dial| self.effects.io(dial));
            }
        }
    }

    /// Not all that lost a link to one relay dial it in one beat.
    fn redial_soon(&mut self) -> Duration {
        let pause = self.config.repair.redial;
        self.drawn(pause / 3)
    }

    fn drawn(&mut self, max: Duration) -> Duration {
        max * u32::from(u16::from_be_bytes(random_bytes(&mut self.rng))) / (1 << 16)
    }

    /// Whether a member did not answer dial after dial, and the last of them was a moment ago.
    pub(super) fn is_passed_over(&self, now: Now, at: (DhKey, Address)) -> bool {
        self.links.presence.is_to_pass_over(now.instant, &at)
    }
}

/// The nearest members that are not known to be gone.
fn live_closest(members: &Members, presence: &Presence, location: &Location, count: usize) -> Vec<Contact> {
    let is_here = |member: &VerifiedDescriptor| !presence.is_gone(&(member.link_key, member.address));
    members.closest_of(location, count, is_here).into_iter().map(Contact::from).collect()
}
