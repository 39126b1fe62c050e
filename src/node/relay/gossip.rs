//! The membership among relays: whole pages pulled from one relay at a time, everything checked before it is believed.
//! Source: spec/membership.md §2.3.

use std::collections::BTreeSet;

use super::{AskOwner, Pending, Relay, RelayEvent};
use crate::crypto::CryptoRng;
use crate::crypto::keys::{DhKey, NodeKey};
use crate::limits::MEMBERS_PULL_EVERY;
use crate::membership::members::Merge;
use crate::membership::sample::draw;
use crate::node::work::Job;
use crate::time::{Duration, Instant, Now};
use crate::wire::contact::Contact;
use crate::wire::descriptor::VerifiedDescriptor;
use crate::wire::message::{Answer, Ask};

/// First pause between pulls; it doubles up to [`MEMBERS_PULL_EVERY`].
const PULL_FIRST: Duration = Duration::from_millis(250);

/// When to pull, and how far the pulls under way have come.
pub(super) struct Pulls {
    at: Instant,
    pause: Duration,
    under_way: BTreeSet<DhKey>,
    turn: usize,
}

impl Pulls {
    pub(super) fn new(now: Instant) -> Self {
        Self { at: now, pause: PULL_FIRST, under_way: BTreeSet::new(), turn: 0 }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        Some(self.at)
    }

    pub(super) fn ended(&mut self, link_key: &DhKey) {
        self.under_way.remove(link_key);
    }

    fn schedule(&mut self, now: Instant, rng: &mut dyn CryptoRng) {
        // Half to one and a half times the pause, so that relays started together drift apart.
        let [jitter] = crate::crypto::random_bytes::<1>(rng);
        self.at = now + self.pause / 2 + self.pause * u32::from(jitter) / 256;
        self.pause = (self.pause * 2).min(MEMBERS_PULL_EVERY);
    }

    /// News came: others may have more.
    fn hurry(&mut self, now: Instant) {
        self.pause = PULL_FIRST;
        self.at = self.at.min(now + PULL_FIRST);
    }
}

impl Relay {
    pub(super) fn pull_members(&mut self, now: Now) {
        if now.instant < self.pulls.at {
            return;
        }
        self.pulls.schedule(now.instant, &mut self.rng);
        if self.pulls.turn == 0 {
            // All bootstraps at once, the first time: each then has met this relay, and tells of it.
            self.pulls.turn = 1;
            let own = self.config.link_key;
            let others = self.config.bootstraps.iter().filter(|one| one.link_key != own).copied().collect::<Vec<_>>();
            for from in others {
                if self.pulls.under_way.insert(from.link_key) {
                    self.pull_page(now, from, None);
                }
            }
            return;
        }
        let Some(from) = self.pull_target() else { return };
        if self.pulls.under_way.insert(from.link_key) {
            self.pull_page(now, from, None);
        }
    }

    /// A bootstrap and a member drawn by rank, in turn: the bootstraps alone would see, and shape, too much.
    fn pull_target(&mut self) -> Option<Contact> {
        self.pulls.turn += 1;
        let own = self.descriptor.key;
        let others: Vec<Contact> =
            self.config.bootstraps.iter().filter(|one| one.link_key != self.config.link_key).copied().collect();
        let bootstrap = others.get((self.pulls.turn / 2).checked_rem(others.len()).unwrap_or(0)).copied();
        if let Some(bootstrap) = bootstrap.filter(|_| !self.pulls.turn.is_multiple_of(2)) {
            return Some(bootstrap);
        }
        // Every member is looked at for this, so only where one is wanted.
        let member = draw(&self.members, |member| member.key != own, &mut self.rng);
        member.and_then(|key| self.members.get(&key)).map(Contact::from).or(bootstrap)
    }

    fn pull_page(&mut self, now: Now, from: Contact, after: Option<NodeKey>) {
        self.ask(now, from, AskOwner::Members { from, after }, Ask::Members { after });
    }

    pub(super) fn on_members_page(&mut self, now: Now, from: Contact, after: Option<NodeKey>, answer: Answer) {
        self.pulls.ended(&from.link_key);
        let Answer::Members { descriptors, more } = answer else { return };
        let Some(last) = Answer::page_end(&descriptors, more, after) else { return };
        let wanted: Vec<_> = descriptors.into_iter().filter(|one| self.members.wants(one)).collect();
        let (network, unix, next) = (self.config.network, now.unix, last.filter(|_| more));
        self.pulls.under_way.insert(from.link_key);
        let pending = Pending::Descriptors { from, sent: wanted.len(), next };
        self.work(pending, Job::CheckDescriptors { network, descriptors: wanted, now: unix });
    }

    /// The next page is asked for only once this one has held: who sends what does not, costs us one page.
    pub(super) fn on_page_checked(
        &mut self,
        now: Now,
        from: Contact,
        (sent, next): (usize, Option<NodeKey>),
        held: Vec<VerifiedDescriptor>,
    ) {
        self.pulls.ended(&from.link_key);
        let all_held = held.len() == sent;
        self.on_descriptors(now, held);
        if let Some(after) = next.filter(|_| all_held) {
            self.pulls.under_way.insert(from.link_key);
            self.pull_page(now, from, Some(after));
        }
    }

    pub(super) fn on_descriptors(&mut self, now: Now, descriptors: Vec<VerifiedDescriptor>) {
        let before = self.members.len();
        let told: Vec<_> = descriptors.iter().map(|one| (one.id(), (one.link_key, one.address))).collect();
        let merged = self.members.merge_all(descriptors, now.unix);
        for ((id, at), merge) in told.into_iter().zip(merged) {
            match merge {
                Merge::New => {
                    self.pulls.hurry(now.instant);
                    self.on_member_here(now, id);
                }
                // It has signed it itself: it was there after all.
                Merge::Newer if self.links.presence.met(&at) => self.on_member_here(now, id),
                _ => (),
            }
        }
        if self.members.len() != before {
            self.effects.event(RelayEvent::Members(self.members.len()));
        }
    }
}
