//! A relay: passes circuits on, works for exits, stores values, keeps the membership. It routes; the rules stand in the rooms
//! below. Source: spec/overview.md.

mod errands;
mod exit;
mod gossip;
mod own;
mod passing;
mod paying;
mod repair;
mod settling;
mod sizes;
mod storing;
#[cfg(test)]
mod tests;
mod watch;

use std::collections::BTreeMap;
use std::sync::Arc;

use rand::rngs::ChaCha20Rng;

use self::errands::Errands;
use self::exit::ExitOperation;
use self::own::Drain;
pub use self::own::{Looked, RelayCommand};
pub use self::paying::WriteTerms;
use self::paying::{Handed, Offered, Paying};
use self::repair::RepairAsk;
use self::settling::Settling;
use self::storing::Asker;
use self::watch::Watch;
use super::asks::{AskId, Asks, ErrandAsk};
use super::circuits::{CircuitNo, Circuits};
use super::effects::{Effect, Effects};
use super::io::{DownReason, Input, LinkId, Output, Peer};
use super::links::{Links, Reach};
use super::sight::Sight;
use super::work::{Done, Job};
use crate::crypto::keys::{DhKey, IdentitySecret, NodeKey};
use crate::crypto::puzzle::Solution;
use crate::crypto::{forget_past, random_bytes};
use crate::dht::budget::Taken;
use crate::dht::repair::{Repair, RepairCounts, RepairInput, RepairTiming};
use crate::dht::store::{Holding, Place, StoreResult};
use crate::dht::table::Table;
use crate::limits::{CIRCUITS_PER_LINK_MAX, DESCRIPTOR_RENEW_S, MEMBER_LIFE_S};
use crate::membership::members::Members;
use crate::membership::prefix_rule::PrefixRule;
use crate::onion::{OnionKeys, ReplayFilter};
use crate::record::VerifiedValue;
use crate::time::{Duration, Instant, Now, earlier};
use crate::wire::address::Address;
use crate::wire::cell::{Cell, Command};
use crate::wire::contact::Contact;
use crate::wire::descriptor::{Descriptor, VerifiedDescriptor};
use crate::wire::message::{Answer, Ask};
use crate::wire::network::{Network, VERSIONS};
use crate::wire::payment::{Account, Payment};
use crate::wire::statement::Question;

/// How often a relay looks for what is idle, stale or due for renewal.
const SWEEP_EVERY: Duration = Duration::from_secs(5);

/// What a relay is.
#[derive(Clone)]
pub struct RelayConfig {
    /// The network.
    pub network: Network,
    /// Its identity.
    pub identity: Arc<IdentitySecret>,
    /// Its solved puzzle.
    pub solution: Solution,
    /// Public half of its link key; the secret half is the shell's.
    pub link_key: DhKey,
    /// Where it listens.
    pub address: Address,
    /// Declared family, zeros for none.
    pub family: [u8; 8],
    /// Nodes to start from.
    pub bootstraps: Vec<Contact>,
    /// Relays known already, checked before; empty for a relay that has nothing but its bootstraps to start from.
    pub stored: Members,
    /// Number of the last descriptor of this identity, 0 for none: two of one number would prove it bad.
    pub issued_before: u32,
    /// Whether addresses keep nodes apart.
    pub rule: PrefixRule,
    /// Times of repair; those of `limits.rs` unless a test asks for others.
    pub repair: RepairTiming,
    /// Whether sights are told: tests, simulations and the demo alone.
    pub witness: bool,
}

/// What a relay tells whoever runs it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum RelayEvent {
    /// It now knows so many relays, itself among them.
    Members(usize),
    /// It signed a descriptor of this number. Whoever starts it again must name it as [`RelayConfig::issued_before`].
    Issued(u32),
    /// After [`RelayCommand::Drain`]: no circuit is open any more.
    Drained,
    /// A lookup of its operator is over.
    Looked {
        /// Its number.
        id: u64,
        /// What came of it; `None` when the relay is too busy.
        looked: Option<Looked>,
    },
    /// It sent copies to other holders, or took newer values from them; what it has done so since it started.
    Repaired(RepairCounts),
    /// What it asks of anonymous writes, or what they have used of its hour, is another than it was.
    Writes(WriteTerms),
    /// It saw something.
    Sight(Sight),
}

impl From<Sight> for RelayEvent {
    fn from(sight: Sight) -> Self {
        Self::Sight(sight)
    }
}

/// What an answer of store or work is for.
enum Pending {
    Peel(CircuitNo),
    FindStored { asker: Asker, question: Question, contacts: Vec<Contact>, want_value: bool },
    FindSigned { asker: Asker, contacts: Vec<Contact>, value: Option<Box<VerifiedValue>> },
    StoreChecked { asker: Asker, question: Question, expected: Option<u64>, account: Account },
    StorePaid(Box<Offered>, Payment),
    StoreStored { asker: Asker, question: Question, holding: Holding, taken: Option<Taken> },
    StoreSigned { asker: Asker },
    ErrandChecked { errand: u64, from: crate::keyspace::Id },
    PutChecked { circuit: CircuitNo, slot: usize, expected: Option<u64>, payment: Option<Payment> },
    PutPaid(Box<Handed>),
    Descriptors { from: Contact, sent: usize, next: Option<NodeKey> },
    Places,
    RepairLoaded(Place),
    RepairChecked(Place),
    RepairKept(Holding),
    Expired,
}

/// Whose question it was.
enum AskOwner {
    Errand(ErrandAsk),
    Members {
        from: Contact,
        part: gossip::Part,
    },
    Repair(RepairAsk),
    /// Nobody's: whether anything comes is all.
    SignOfLife,
}

/// The machine.
pub struct Relay {
    config: RelayConfig,
    rng: ChaCha20Rng,
    descriptor: VerifiedDescriptor,
    onion: OnionKeys,
    replay: ReplayFilter,
    members: Members,
    table: Table,
    links: Links,
    circuits: Circuits,
    asks: Asks,
    ask_owners: BTreeMap<AskId, AskOwner>,
    /// Whom a question that is about to be sent is for.
    ask_ids: BTreeMap<AskId, crate::keyspace::Id>,
    exits: BTreeMap<CircuitNo, ExitOperation>,
    errands: Errands,
    pending: BTreeMap<u64, Pending>,
    pulls: gossip::Pulls,
    repair: Repair,
    watch: Watch,
    /// For how long after their last meeting it tells of others.
    presence: Duration,
    settling: Settling,
    paying: Paying,
    next_id: u64,
    sweep_at: Instant,
    /// When it looks next whom it has to stay linked to.
    neighbours_at: Instant,
    /// When the descriptor is issued anew, by the wall clock.
    renew_at: u64,
    drain: Drain,
    effects: Effects<RelayEvent>,
}

impl Relay {
    /// A relay that starts now; its first outputs are its descriptor and its first dials.
    #[must_use]
    pub fn new(mut config: RelayConfig, mut rng: ChaCha20Rng, now: Now) -> Self {
        let onion = OnionKeys::new(config.network, config.identity.public(), now, &mut rng);
        let descriptor = describe(&config, &onion, (config.issued_before, 0), now);
        let mut members = core::mem::take(&mut config.stored).with_rule(config.rule).with_life(MEMBER_LIFE_S);
        members.expire(now.unix);
        let mut relay = Self {
            effects: Effects::new(config.witness),
            rng,
            onion,
            replay: ReplayFilter::default(),
            members,
            table: Table::new(descriptor.id()).with_rule(config.rule),
            links: Links::of_relay(&config.repair),
            circuits: Circuits::default(),
            asks: Asks::default(),
            ask_owners: BTreeMap::new(),
            ask_ids: BTreeMap::new(),
            exits: BTreeMap::new(),
            errands: Errands::default(),
            pending: BTreeMap::new(),
            pulls: gossip::Pulls::new(now.instant),
            repair: Repair::new(descriptor.id(), config.repair, now),
            watch: Watch::default(),
            presence: gossip::presence(config.bootstraps.len()),
            settling: Settling::new(now.instant, gossip::presence(config.bootstraps.len())),
            paying: Paying::default(),
            next_id: 0,
            sweep_at: now.instant + SWEEP_EVERY,
            neighbours_at: now.instant,
            renew_at: 0,
            descriptor,
            drain: Drain::default(),
            config,
        };
        forget_past(&mut relay.rng);
        if !relay.members.is_empty() {
            relay.effects.event(RelayEvent::Members(relay.members.len()));
        }
        relay.publish_descriptor(now);
        // How full the store is comes first: nobody writes before it is known.
        relay.sweep_store(now);
        relay.load_places(None);
        relay.handle_time(now);
        relay
    }

    /// Its contact, for the bootstrap list of others.
    #[must_use]
    pub fn contact(&self) -> Contact {
        Contact::from(&self.descriptor)
    }

    /// Its descriptor.
    #[must_use]
    pub fn descriptor(&self) -> &VerifiedDescriptor {
        &self.descriptor
    }

    /// The relays that it knows, and those that it has banned.
    #[must_use]
    pub fn members(&self) -> &Members {
        &self.members
    }

    /// Takes what happened on links.
    pub fn handle(&mut self, now: Now, input: Input) {
        match input {
            Input::Timeout => (),
            Input::LinkUp { link, peer } => self.on_link_up(now, link, *peer),
            Input::LinkDown { link, reason } => {
                if let Some(again) = self.links.dial_again(now.instant, link, reason) {
                    return self.effects.io(again);
                }
                let peer = self.links.on_down(now.instant, link, reason);
                self.on_link_down(now, link, peer);
            }
            Input::Cell { link, cell } => self.on_cell(now, link, cell),
        }
        self.handle_time(now);
    }

    /// Takes a store's answer.
    pub fn handle_stored(&mut self, now: Now, id: u64, result: StoreResult) {
        match self.pending.remove(&id) {
            Some(Pending::FindStored { asker, question, contacts, want_value }) => {
                self.on_find_stored(now, asker, question, contacts, want_value, result);
            }
            Some(Pending::StoreStored { asker, question, holding, taken }) => {
                self.settle_taken(taken, &result);
                self.on_held(now, holding, &result);
                self.on_store_stored(now, asker, question, (holding.seq, holding.digest), result);
            }
            Some(Pending::RepairKept(holding)) => self.on_held(now, holding, &result),
            Some(Pending::RepairLoaded(place)) => self.on_repair_loaded(now, place, result),
            Some(Pending::Places) => self.on_places(now, result),
            Some(Pending::Expired) => self.on_filled(now, &result),
            _ => (),
        }
        self.handle_time(now);
    }

    /// Takes what came of work.
    pub fn handle_worked(&mut self, now: Now, id: u64, done: Done) {
        match (self.pending.remove(&id), done) {
            (Some(Pending::Peel(no)), Done::Peeled(peeled)) => self.on_peeled(now, no, peeled),
            (Some(Pending::FindSigned { asker, contacts, value }), Done::Signed(statement)) => {
                self.on_find_signed(now, asker, contacts, value, statement);
            }
            (Some(Pending::StoreSigned { asker }), Done::Signed(statement)) => {
                self.on_store_signed(now, asker, statement);
            }
            (Some(Pending::StoreChecked { asker, question, expected, account }), Done::Value(value)) => match value {
                Some(value) => self.on_store_checked(now, Offered { asker, question, expected, value }, account),
                None => self.reply(now, asker, Answer::Refused),
            },
            (Some(Pending::StorePaid(offered, payment)), Done::Paid(holds)) => {
                self.on_offer_paid(now, *offered, payment, holds);
            }
            (Some(Pending::ErrandChecked { errand, from }), Done::Value(value)) => {
                self.on_errand_checked(now, errand, from, value);
            }
            (Some(Pending::PutChecked { circuit, slot, expected, payment }), Done::Value(value)) => {
                self.on_put_checked(now, (circuit, slot), expected, payment, value);
            }
            (Some(Pending::PutPaid(handed)), Done::Paid(holds)) => self.on_handed_checked(now, *handed, holds),
            (Some(Pending::RepairChecked(place)), Done::Value(value)) => {
                self.repair_handle(now, RepairInput::Checked { place, value });
            }
            (Some(Pending::Descriptors { from, sent, next }), Done::Descriptors(descriptors)) => {
                self.on_page_checked(now, from, (sent, next), descriptors);
            }
            _ => (),
        }
        self.handle_time(now);
    }

    /// The next thing to do.
    pub fn poll_effect(&mut self) -> Option<Effect<RelayEvent>> {
        self.effects.pop()
    }

    /// When [`Input::Timeout`] is due.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let own = earlier(Some(self.sweep_at), self.pulls.poll_timeout());
        let own = earlier(own, self.links.silence.poll_timeout());
        let asked = earlier(self.asks.poll_timeout(), self.repair_timeout());
        earlier(earlier(own, self.errands.poll_timeout()), asked)
    }

    fn next_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    fn work(&mut self, pending: Pending, job: Job) {
        let id = self.next_id();
        self.pending.insert(id, pending);
        self.effects.work(id, job);
    }

    fn store(&mut self, pending: Pending, op: crate::dht::store::StoreOp) {
        let id = self.next_id();
        self.pending.insert(id, pending);
        self.effects.store(id, op);
    }

    fn on_link_up(&mut self, now: Now, link: LinkId, peer: Peer) {
        let relay = peer.descriptor.clone();
        let (address, key) = (peer.address, peer.link_key);
        self.effects.sight(|| Sight::Link { address, key, relay: relay.as_ref().map(|relay| relay.key) });
        let dialled = peer.dialled;
        let link_key = peer.link_key;
        self.links.on_up(now.instant, link, peer);
        self.settling.note(now.instant, self.links.met_count());
        self.watched_up(now, &link_key);
        if let Some(descriptor) = relay {
            if dialled {
                // Only who answered a dial of ours enters the table.
                self.table.insert(descriptor.clone());
            }
            // A descriptor that comes from elsewhere than it says proves no host.
            if dialled || descriptor.address.0.ip() == address.0.ip() {
                self.on_descriptors(now, vec![descriptor]);
            }
        }
        for (ask, message) in self.asks.on_up(link) {
            self.start_ask(now, link, ask, &message);
        }
        self.resume_circuits(now, link);
    }

    fn on_link_down(&mut self, now: Now, link: LinkId, peer: Option<Peer>) {
        if let Some(descriptor) = peer.and_then(|peer| peer.descriptor) {
            self.table.on_failed(&descriptor.id());
            self.watched_down(now, &descriptor.link_key);
        }
        self.end_on_link(link);
        for ask in self.asks.on_down(link) {
            self.ask_failed(now, ask);
        }
    }

    fn on_cell(&mut self, now: Now, link: LinkId, cell: Cell) {
        if !self.links.heard(now.instant, link) {
            return;
        }
        match cell.command() {
            Command::Build => self.on_build(now, link, cell),
            Command::Reply0 | Command::Backward => self.on_backward(now, link, cell),
            Command::Forward => self.on_forward(now, link, cell),
            Command::Destroy => self.on_destroy(now, link, &cell),
            Command::Credit => self.on_credit(now, link, &cell),
            Command::Ask => self.on_ask_cell(now, link, &cell),
            Command::Answer => self.on_answer_cell(now, link, &cell),
            Command::Hello | Command::Padding => (),
        }
    }

    /// Asks a node, over a link that is up, or dials; to ourselves without any link.
    fn ask(&mut self, now: Now, to: Contact, owner: AskOwner, question: Ask) {
        let ask = AskId(self.next_id());
        self.ask_owners.insert(ask, owner);
        if to.id == self.descriptor.id() {
            return self.on_ask(now, Asker::Own(ask), question);
        }
        // No address is ever taken from a packet: who is not a member, or a bootstrap of ours, is not dialled.
        let is_bootstrap = self.config.bootstraps.contains(&to);
        let Some(to) = self.members.by_id(&to.id).map(Contact::from).or(is_bootstrap.then_some(to)) else {
            return self.ask_failed(now, ask);
        };
        self.ask_ids.insert(ask, to.id);
        match self.links.reach(now.instant, to.link_key, to.address) {
            (Reach::Up(link), _) => {
                let there = self.links.peer(link).and_then(|peer| peer.descriptor.as_ref()).map(VerifiedDescriptor::id);
                if there.is_some_and(|there| there != to.id) {
                    // It names the link key of somebody else, who has just proven to be there.
                    self.members.forget(&to.id);
                }
                self.start_ask(now, link, ask, &question.encode());
            }
            (Reach::Dialling(link), dial) => {
                dial.into_iter().for_each(|dial| self.effects.io(dial));
                if !self.asks.wait(now.instant, link, ask, &question) {
                    self.ask_failed(now, ask);
                }
            }
            (Reach::Refused, _) => self.ask_failed(now, ask),
        }
    }

    fn start_ask(&mut self, now: Now, link: LinkId, ask: AskId, message: &[u8]) {
        // Whoever answers must be who was meant: a link key alone is no place in the keyspace.
        let meant = self.ask_ids.remove(&ask);
        let is_meant = |peer: &Peer| peer.descriptor.as_ref().map(VerifiedDescriptor::id) == meant;
        if !self.links.peer(link).is_some_and(is_meant) {
            return self.ask_failed(now, ask);
        }
        let Some(circuit) = self.links.open_circuit(now.instant, link, &mut self.rng) else {
            return self.ask_failed(now, ask);
        };
        match self.asks.start(now.instant, link, circuit, ask, message) {
            Some(cells) => {
                self.links.silence.used(now.instant, link);
                cells.into_iter().for_each(|cell| self.effects.send(link, cell));
            }
            None => {
                self.links.close_circuit(link, circuit);
                self.ask_failed(now, ask);
            }
        }
    }

    fn handle_time(&mut self, now: Now) {
        let (failed, ends) = self.asks.expire(now.instant);
        ends.into_iter().for_each(|(link, circuit)| {
            self.links.close_circuit(link, circuit);
        });
        failed.into_iter().for_each(|ask| self.ask_failed(now, ask));
        self.mind_silence(now);
        self.errands_time(now);
        self.tell_drained();
        self.pull_members(now);
        if now.instant >= self.sweep_at {
            self.sweep_at = now.instant + SWEEP_EVERY;
            self.sweep(now);
        }
        self.repair_time(now);
    }

    fn sweep(&mut self, now: Now) {
        for link in self.asks.unfinished(now.instant) {
            self.close_link(now, link);
        }
        for no in self.circuits.stale(now.instant) {
            self.kill_circuit(no);
        }
        for link in self.links.idle(now.instant) {
            self.effects.io(Output::Close { link, reason: DownReason::Closed });
            let peer = self.links.on_down(now.instant, link, super::io::DownReason::Closed);
            self.on_link_down(now, link, peer);
        }
        let changed = self.onion.rotate(now, &mut self.rng);
        forget_past(&mut self.rng);
        if changed || now.unix.0 >= self.renew_at {
            self.publish_descriptor(now);
        }
        self.members.expire(now.unix);
        self.links.forget_absent(now.instant, self.presence);
        if self.neighbours_at <= now.instant {
            self.neighbours_at = now.instant + self.config.repair.neighbours;
            self.watch_neighbours(now);
        }
        self.sweep_store(now);
    }

    /// Issues the descriptor anew; its number is the time, strictly increasing.
    fn publish_descriptor(&mut self, now: Now) {
        let descriptor = describe(&self.config, &self.onion, (self.descriptor.issued, self.paying.effort.step()), now);
        self.descriptor = descriptor.clone();
        // Relays that started together do not renew together.
        let drawn = u64::from(u16::from_be_bytes(random_bytes(&mut self.rng)));
        self.renew_at = now.unix.0 + DESCRIPTOR_RENEW_S * 3 / 4 + DESCRIPTOR_RENEW_S / 4 * drawn / 65_536;
        self.links.met_itself(&descriptor);
        self.effects.event(RelayEvent::Issued(descriptor.issued));
        self.effects.io(Output::Descriptor(Box::new(descriptor.clone())));
        self.on_descriptors(now, vec![descriptor]);
    }
}

fn describe(
    config: &RelayConfig,
    onion: &OnionKeys,
    (issued_before, effort): (u32, u8),
    now: Now,
) -> VerifiedDescriptor {
    let (onion_key, onion_epoch) = onion.public();
    let descriptor = Descriptor {
        key: config.identity.public(),
        solution: config.solution,
        link_key: config.link_key,
        onion_epoch,
        onion_key,
        address: config.address,
        family: config.family,
        versions: VERSIONS,
        issued: now.unix.to_wire().max(issued_before.saturating_add(1)),
        effort,
    };
    descriptor.sign(&config.network, &config.identity)
}

/// Circuits that the other end of a link may have open: a client has many, and so has a busy relay.
const fn circuits_max() -> usize {
    CIRCUITS_PER_LINK_MAX
}
