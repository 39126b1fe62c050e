//! One node of the world, alive or not: its machine, its disk, what it has on links. It must not know other nodes.

use std::collections::BTreeMap;
use std::sync::Arc;

use rand::rngs::ChaCha20Rng;

use super::behaviour::Mask;
use super::pipe::{PipeNo, Side};
use super::{Group, Life, Repairs};
use crate::crypto::keys::{DhSecret, IdentitySecret, NodeKey};
use crate::crypto::puzzle::Solution;
use crate::dht::store::{MemoryStore, StoreOp, StoreResult};
use crate::node::io::{Input, LinkId};
use crate::node::work::Done;
use crate::node::{ClientCommand, ClientEvent, ClientNode, Effect, Kept, Relay, RelayCommand, RelayEvent};
use crate::time::{Instant, Now};
use crate::wire::address::Address;
use crate::wire::descriptor::VerifiedDescriptor;

/// The machine of a node.
pub(super) enum Mind {
    Relay(Box<Relay>),
    Client(Box<ClientNode>),
}

/// An effect of either kind of node.
pub(super) enum Did {
    Relay(Effect<RelayEvent>),
    Client(Effect<ClientEvent>),
}

/// What a node is told.
pub(super) enum Told {
    Io(Input),
    Relay(RelayCommand),
    Client(ClientCommand),
}

impl Mind {
    pub(super) fn handle(&mut self, now: Now, told: Told) {
        match (self, told) {
            (Self::Relay(relay), Told::Io(input)) => relay.handle(now, input),
            (Self::Client(client), Told::Io(input)) => client.handle(now, input),
            (Self::Relay(relay), Told::Relay(command)) => relay.handle_command(now, command),
            (Self::Client(client), Told::Client(command)) => client.handle_command(now, command),
            (Self::Relay(_), Told::Client(_)) | (Self::Client(_), Told::Relay(_)) => (),
        }
    }

    pub(super) fn handle_stored(&mut self, now: Now, id: u64, result: StoreResult) {
        if let Self::Relay(relay) = self {
            relay.handle_stored(now, id, result);
        }
    }

    pub(super) fn handle_worked(&mut self, now: Now, id: u64, done: Done) {
        match self {
            Self::Relay(relay) => relay.handle_worked(now, id, done),
            Self::Client(client) => client.handle_worked(now, id, done),
        }
    }

    pub(super) fn poll(&mut self) -> Option<Did> {
        match self {
            Self::Relay(relay) => relay.poll_effect().map(Did::Relay),
            Self::Client(client) => client.poll_effect().map(Did::Client),
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        match self {
            Self::Relay(relay) => relay.poll_timeout(),
            Self::Client(client) => client.poll_timeout(),
        }
    }
}

/// What makes a relay the same after a restart.
pub(super) struct Identity {
    pub(super) secret: Arc<IdentitySecret>,
    pub(super) solution: Solution,
    pub(super) link: DhSecret,
    /// Number of its last descriptor.
    pub(super) issued: u32,
}

/// Whether a node runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum State {
    Up,
    /// Its host is there and refuses connections at once.
    Down,
    /// Its host is not there: whoever connects waits in vain.
    Silent,
}

/// One node.
pub(super) struct Actor {
    pub(super) address: Address,
    pub(super) identity: Option<Identity>,
    pub(super) state: State,
    /// How often it was started.
    pub(super) life: Life,
    pub(super) mind: Option<Mind>,
    pub(super) mask: Option<Box<dyn Mask>>,
    pub(super) store: MemoryStore,
    pub(super) kept: Kept,
    /// The descriptor that it shows in handshakes.
    pub(super) shown: Option<VerifiedDescriptor>,
    pub(super) links: BTreeMap<LinkId, (PipeNo, Side)>,
    pub(super) next_accepted: u64,
    /// When it is woken.
    pub(super) wake: Option<Instant>,
    /// Of its work pool.
    pub(super) rng: ChaCha20Rng,
    /// When its uplink has sent what it has.
    pub(super) uplink_free: Instant,
    pub(super) skew_s: i64,
    pub(super) group: Group,
    pub(super) sent_frames: u64,
    /// Most links that it had open at once.
    pub(super) links_most: usize,
    /// What its earlier lives did to keep copies.
    pub(super) repaired: Repairs,
}

impl Actor {
    pub(super) fn key(&self) -> Option<NodeKey> {
        self.identity.as_ref().map(|identity| identity.secret.public())
    }

    pub(super) fn is_relay(&self) -> bool {
        self.identity.is_some()
    }

    /// What it did to keep copies, in all its lives.
    pub(super) fn repairs(&self) -> Repairs {
        let mut all = self.repaired;
        if let Some(Mind::Relay(relay)) = &self.mind {
            let counts = relay.repair_counts();
            all.bytes += counts.bytes;
            all.checks += counts.checks;
            all.copies += counts.copies_sent + counts.copies_fetched;
        }
        all
    }

    pub(super) fn apply(&mut self, now: Now, op: StoreOp) -> StoreResult {
        match &mut self.mask {
            Some(mask) => mask.store(now, op, &mut self.store),
            None => self.store.apply(now.unix, op),
        }
    }
}
