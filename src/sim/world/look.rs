//! Looking at a world from outside: its nodes, what they hold, what was counted. Nothing here changes anything.

use std::sync::Arc;

use super::actor::{Actor, Mind, State};
use super::behaviour::Neighbour;
use super::checks::{PathLooks, Sizes};
use super::pipe::{PipeNo, Side};
use super::{NodeNo, Repairs, World, index, now_of};
use crate::crypto::keys::{IdentitySecret, NodeKey};
use crate::limits::{MEMBERS_MAX, OPERATION_CIRCUITS_MAX, STORE_BYTES, STORE_VALUES};
use crate::membership::members::Members;
use crate::node::io::LinkId;
use crate::node::{BuiltPath, Kept};
use crate::record::VerifiedValue;
use crate::time::Now;
use crate::wire::address::Address;
use crate::wire::contact::Contact;
use crate::wire::descriptor::VerifiedDescriptor;

/// Keys that each relay is asked about, where there are more.
const BANS_LOOKED_AT: usize = 256;
/// Relays beyond which no operation has used up all exits.
const EXITS_ENOUGH: usize = 4 * OPERATION_CIRCUITS_MAX;

impl World {
    pub(super) fn actor(&self, no: NodeNo) -> Option<&Actor> {
        self.actors.get(index(no))
    }

    pub(super) fn now_of(&self, actor: &Actor) -> Now {
        now_of(self.now, actor)
    }

    /// All relays, running or not.
    #[must_use]
    pub fn relays(&self) -> Vec<NodeNo> {
        let numbered = (0..).map(NodeNo).zip(&self.actors);
        numbered.filter(|(_, actor)| actor.is_relay()).map(|(no, _)| no).collect()
    }

    /// Whether a node runs.
    #[must_use]
    pub fn is_up(&self, no: NodeNo) -> bool {
        self.actor(no).is_some_and(|actor| actor.state == State::Up)
    }

    /// Whether a node does what the protocol says.
    #[must_use]
    pub fn is_honest(&self, no: NodeNo) -> bool {
        self.actor(no).is_some_and(|actor| actor.mask.is_none())
    }

    /// The key of a relay.
    #[must_use]
    pub fn key_of(&self, no: NodeNo) -> Option<NodeKey> {
        self.actor(no)?.key()
    }

    /// The relay of a key.
    #[must_use]
    pub fn by_key(&self, key: &NodeKey) -> Option<NodeNo> {
        self.by_key.get(key).copied()
    }

    /// A node's address.
    #[must_use]
    pub fn address_of(&self, no: NodeNo) -> Option<Address> {
        self.actor(no).map(|actor| actor.address)
    }

    /// The descriptor that a running relay shows.
    #[must_use]
    pub fn descriptor_of(&self, no: NodeNo) -> Option<&VerifiedDescriptor> {
        self.actor(no)?.shown.as_ref()
    }

    /// What a relay holds.
    pub fn held(&self, no: NodeNo) -> impl Iterator<Item = &VerifiedValue> {
        self.actor(no).into_iter().flat_map(|actor| actor.store.iter())
    }

    /// Frames that a node has sent, handshakes among them.
    #[must_use]
    pub fn frames_sent(&self, no: NodeNo) -> u64 {
        self.actor(no).map_or(0, |actor| actor.sent_frames)
    }

    /// Most links that a node has had open at once.
    #[must_use]
    pub fn links_most(&self, no: NodeNo) -> usize {
        self.actor(no).map_or(0, |actor| actor.links_most)
    }

    /// Relays that run.
    #[must_use]
    pub fn up(&self) -> usize {
        self.actors.iter().filter(|actor| actor.is_relay() && actor.state == State::Up).count()
    }

    /// What relays did to keep copies, all together.
    #[must_use]
    pub fn repairs(&self) -> Repairs {
        let each = self.actors.iter().map(Actor::repairs);
        each.fold(Repairs::default(), |all, one| Repairs {
            checks: all.checks + one.checks,
            bytes: all.bytes + one.bytes,
            copies: all.copies + one.copies,
        })
    }

    /// Has the checks look at a path that a client has chosen.
    pub(super) fn look_at_path(&mut self, client: NodeNo, BuiltPath { operation, hops, .. }: &BuiltPath) {
        let kept = self.actor(client).map(|actor| actor.kept.guards.guards.as_slice()).unwrap_or_default();
        let guards: Vec<Address> = kept
            .iter()
            .filter_map(|guard| self.by_key(&NodeKey(guard.key)))
            .filter_map(|relay| self.address_of(relay))
            .collect();
        let bootstraps = self.bootstraps();
        let is_new = hops.last().is_none_or(|exit| self.checks.is_new_exit(client, *operation, exit));
        // Relays are counted only where it matters.
        let has_exits = !is_new && self.up() > EXITS_ENOUGH;
        let (hops_wanted, rule) = (self.options.hops, self.options.rule);
        let looks = PathLooks { hops: hops_wanted, rule, guards: &guards, bootstraps: &bootstraps, has_exits };
        self.checks.path((client, *operation), &looks, hops);
    }

    /// Has the checks look at the tables of all nodes that run.
    pub fn check_tables(&mut self) {
        for (no, actor) in (0..).map(NodeNo).zip(&self.actors) {
            let values = Sizes { table: "values", len: actor.store.len(), max: STORE_VALUES };
            let bytes = Sizes { table: "bytes of values", len: actor.store.bytes(), max: STORE_BYTES };
            self.checks.sizes(no, &[values, bytes]);
            let sizes = match &actor.mind {
                Some(Mind::Relay(relay)) => relay.sizes(),
                Some(Mind::Client(client)) => client.sizes(),
                None => continue,
            };
            let sizes: Vec<Sizes> = sizes.into_iter().map(|(table, len, max)| Sizes { table, len, max }).collect();
            self.checks.sizes(no, &sizes);
        }
    }

    /// Has the checks look for honest relays that were banned by honest ones; in large worlds each tells of a few.
    pub fn check_bans(&mut self) {
        let honest = || (0..).map(NodeNo).zip(&self.actors).filter(|(_, actor)| actor.mask.is_none());
        let keys: Vec<NodeKey> = honest().filter_map(|(_, actor)| actor.key()).collect();
        let step = keys.len() / BANS_LOOKED_AT + 1;
        for (no, actor) in honest() {
            let Some(Mind::Relay(relay)) = &actor.mind else { continue };
            let banned = keys.iter().skip(index(no) % step).step_by(step).find(|key| relay.has_banned(key));
            self.checks.no_ban(no, banned);
        }
    }

    /// Links that a node has open.
    #[must_use]
    pub fn links_of(&self, no: NodeNo) -> usize {
        self.actor(no).map_or(0, |actor| actor.links.len())
    }

    /// Who is at the other ends of a node's links that are up.
    pub(super) fn neighbours(&self, no: NodeNo) -> Vec<(LinkId, Neighbour)> {
        let neighbour = |(link, (pipe, side)): (&LinkId, &(PipeNo, Side))| {
            let pipe = self.pipes.get(*pipe).filter(|pipe| pipe.end(*side).is_up)?;
            let link_key = if *side == Side::Dialler { pipe.wanted } else { pipe.dialler_public };
            let relay = self.actor(pipe.end(side.other()).node)?.key();
            Some((*link, Neighbour { link_key, relay }))
        };
        self.actor(no).into_iter().flat_map(|actor| &actor.links).filter_map(neighbour).collect()
    }

    /// What a relay signs with: for a behaviour that wants a signature of its own.
    #[must_use]
    pub fn secret_of(&self, no: NodeNo) -> Option<Arc<IdentitySecret>> {
        self.actor(no)?.identity.as_ref().map(|identity| Arc::clone(&identity.secret))
    }

    /// Whether a relay knows this key as one that was proven bad.
    #[must_use]
    pub fn bans(&self, no: NodeNo, key: &NodeKey) -> bool {
        match self.actor(no).and_then(|actor| actor.mind.as_ref()) {
            Some(Mind::Relay(relay)) => relay.members().is_banned(key),
            _ => false,
        }
    }

    /// What a client keeps on disk.
    #[must_use]
    pub fn kept_of(&self, no: NodeNo) -> Option<&Kept> {
        self.actor(no).map(|actor| &actor.kept)
    }

    /// All running relays, as whoever knows all of them knows them.
    #[must_use]
    pub fn members(&self) -> Members {
        let mut members = Members::new(MEMBERS_MAX).with_rule(self.options.rule);
        let unix = self.unix();
        for shown in self.actors.iter().filter_map(|actor| actor.shown.clone()) {
            members.merge(shown, unix);
        }
        members
    }

    /// The contacts of the bootstraps.
    #[must_use]
    pub fn bootstraps(&self) -> Vec<Contact> {
        let relays = self.actors.iter().filter_map(|actor| actor.identity.as_ref().map(|identity| (actor, identity)));
        let first = relays.take(self.options.bootstraps);
        first
            .map(|(actor, identity)| Contact {
                id: identity.solution.id(&identity.secret.public()),
                link_key: identity.link.public(),
                address: actor.address,
            })
            .collect()
    }

    /// Events that are planned, and connections that are open.
    #[must_use]
    pub fn load(&self) -> (usize, usize) {
        (self.queue.len(), self.pipes.len())
    }
}
