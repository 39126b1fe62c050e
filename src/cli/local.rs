//! A whole network in this process, over real sockets on loopback: for the demo, the devnet and the tests.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use rand::SeedableRng;
use rand::rngs::ChaCha20Rng;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};

use crate::crypto::keys::{DhSecret, IdentitySecret, NodeKey};
use crate::crypto::puzzle::{Solution, solve};
use crate::dht::repair::RepairTiming;
use crate::dht::store::{MemoryStore, StoreKey};
use crate::limits::{LOCAL_STORE_BYTES, STORE_VALUES};
use crate::membership::members::Members;
use crate::membership::prefix_rule::PrefixRule;
use crate::net::{LinkIdentity, NodeControl, NodeHandle, Runtime, ShellConfig, ShellLimits, Tap, spawn_node};
use crate::node::machine::Machine;
use crate::node::{Relay, RelayConfig, RelayEvent, Sight};
use crate::wire::address::Address;
use crate::wire::contact::Contact;
use crate::wire::network::Network;

/// Trials of the identity puzzle; local networks ask for no zero bits.
const PUZZLE_TRIALS: u32 = 1 << 20;

/// What kind of network.
#[derive(Clone)]
pub struct LocalOptions {
    /// The network.
    pub network: Network,
    /// Relays, at most [`LOCAL_RELAYS_MAX`].
    pub relays: usize,
    /// Of them, those that everybody starts from.
    pub bootstraps: usize,
    /// Identities follow from it.
    pub seed: u64,
    /// Whether sights are recorded.
    pub witness: bool,
    /// Who listens in.
    pub tap: Option<Arc<dyn Tap>>,
    /// Relays that share one loopback /16; 1 everywhere but where a test wants too few networks.
    pub relays_per_net: usize,
    /// Deadlines of the relays' shells.
    pub limits: ShellLimits,
    /// Times of their repair.
    pub repair: RepairTiming,
    /// Who starts the relays, when it is not to be done the plain way.
    pub launch: Option<Launch>,
}

impl LocalOptions {
    /// Three bootstraps, a /16 for each relay, nobody listens in.
    #[must_use]
    pub fn new(network: Network, relays: usize, seed: u64) -> Self {
        let limits = ShellLimits::default();
        Self {
            network,
            relays,
            bootstraps: 3,
            seed,
            witness: false,
            tap: None,
            relays_per_net: 1,
            limits,
            repair: RepairTiming::default(),
            launch: None,
        }
    }
}

/// A relay about to start: whoever launches it may put its machine into another, or its store behind another.
pub struct Launching {
    /// The process's runtime.
    pub runtime: Arc<Runtime>,
    /// Which relay of the network, from 0.
    pub index: usize,
    /// Its machine.
    pub relay: Relay,
    /// Its shell's configuration.
    pub shell: ShellConfig,
    /// What it holds; kept over a restart.
    pub store: Arc<Mutex<MemoryStore>>,
}

/// A relay that was started.
pub struct Launched {
    /// What it tells.
    pub events: mpsc::Receiver<RelayEvent>,
    /// Its life.
    pub control: NodeControl,
}

/// Starts a relay.
pub type Launch = Arc<dyn Fn(Launching) -> Launched + Send + Sync>;

impl<M: Machine<Event = RelayEvent>> From<NodeHandle<M>> for Launched {
    fn from(handle: NodeHandle<M>) -> Self {
        Self { events: handle.events, control: handle.control }
    }
}

/// Relays of one local network: each has a loopback /16 of its own, and clients need some too.
pub const LOCAL_RELAYS_MAX: usize = 160;
/// Links that a relay of a local network has at least; with fewer for all they would not find each other.
const LINKS_PER_RELAY_MIN: usize = 4;
/// Second byte of the first client's loopback address.
const CLIENT_NET: u8 = 220;

/// A relay of this process.
pub struct LocalRelay {
    /// Its key.
    pub key: NodeKey,
    /// How it is reached.
    pub contact: Contact,
    /// What it holds.
    pub store: Arc<Mutex<MemoryStore>>,
    /// Relays it knows of.
    pub members: watch::Receiver<usize>,
    sights: Arc<Mutex<Vec<Sight>>>,
    control: Option<NodeControl>,
    /// What it is started with again.
    config: RelayConfig,
    link: DhSecret,
}

/// The network.
pub struct LocalNetwork {
    /// Its parameters.
    pub network: Network,
    /// Strict where the system has all of 127.0.0.0/8.
    pub rule: PrefixRule,
    /// Its relays; the first ones are the bootstraps.
    pub relays: Vec<LocalRelay>,
    options: LocalOptions,
}

/// Keys of one relay, made before any node starts, so that bootstraps can be named.
struct Plan {
    identity: IdentitySecret,
    link: DhSecret,
    solution: Solution,
    listener: TcpListener,
    contact: Contact,
}

impl LocalNetwork {
    /// Binds all sockets, then starts all relays.
    ///
    /// # Errors
    /// When a socket cannot be bound.
    pub async fn start(runtime: &Arc<Runtime>, options: &LocalOptions) -> std::io::Result<Self> {
        let (budget, wanted) = (runtime.link_budget().0, LINKS_PER_RELAY_MIN * options.relays);
        if budget < wanted {
            let why = format!(
                "this process may open {budget} links, {wanted} are needed: raise the limit of open files (ulimit -n)"
            );
            return Err(std::io::Error::other(why));
        }
        let rule = prefix_rule().await;
        let mut rng = ChaCha20Rng::seed_from_u64(options.seed);
        let mut plans = Vec::new();
        for index in 0..options.relays.min(LOCAL_RELAYS_MAX) {
            plans.push(plan(options, index, rule, &mut rng).await?);
        }
        let bootstraps: Vec<Contact> = plans.iter().take(options.bootstraps).map(|plan| plan.contact).collect();
        let mut relays = Vec::new();
        for (index, plan) in plans.into_iter().enumerate() {
            let (listener, link) = (plan.listener, plan.link.clone());
            let config = RelayConfig {
                network: options.network,
                identity: Arc::new(plan.identity),
                solution: plan.solution,
                link_key: plan.link.public(),
                address: plan.contact.address,
                family: [0; 8],
                bootstraps: bootstraps.clone(),
                stored: Members::default(),
                rule,
                repair: options.repair,
                witness: options.witness,
                issued_before: 0,
            };
            let mut relay =
                LocalRelay::new(plan.contact, config, link, StoreKey::generate(&mut runtime.entropy().generator()));
            relay.start(runtime, options, index, listener);
            relays.push(relay);
        }
        Ok(Self { network: options.network, rule, relays, options: options.clone() })
    }

    /// The contacts that clients start from.
    #[must_use]
    pub fn bootstraps(&self) -> Vec<Contact> {
        self.relays.iter().take(self.options.bootstraps).map(|relay| relay.contact).collect()
    }

    /// Returns once every running relay knows of every other.
    pub async fn ready(&mut self) {
        let all = self.relays.len();
        for relay in self.relays.iter_mut().filter(|relay| relay.control.is_some()) {
            // An error means that the relay has ended: then there is nothing to wait for.
            let _ = relay.members.wait_for(|count| *count >= all).await;
        }
    }

    /// Stops one relay: its sockets are closed when this returns.
    pub async fn stop(&mut self, index: usize) {
        if let Some(control) = self.relays.get_mut(index).and_then(|relay| relay.control.take()) {
            control.shutdown().await;
        }
    }

    /// Starts a relay again that was stopped: same identity, address and values, new onion key, nothing else remembered.
    ///
    /// # Errors
    /// When its address cannot be bound.
    pub async fn restart(&mut self, runtime: &Arc<Runtime>, index: usize) -> std::io::Result<()> {
        if let Some(relay) = self.relays.get_mut(index).filter(|relay| relay.control.is_none()) {
            let listener = TcpListener::bind(relay.contact.address.0).await?;
            relay.start(runtime, &self.options, index, listener);
        }
        Ok(())
    }

    /// An address for a client of its own loopback /16, where the system has them.
    #[must_use]
    pub fn client_ip(&self, number: u8) -> Option<IpAddr> {
        let own = IpAddr::V4(Ipv4Addr::new(127, CLIENT_NET.saturating_add(number), 0, 1));
        (self.rule == PrefixRule::Distinct).then_some(own)
    }
}

impl LocalRelay {
    fn new(contact: Contact, config: RelayConfig, link: DhSecret, key: StoreKey) -> Self {
        let store = Arc::new(Mutex::new(MemoryStore::new(STORE_VALUES, LOCAL_STORE_BYTES).keyed(key)));
        let (_, members) = watch::channel(0);
        let key = config.identity.public();
        Self { key, contact, store, members, sights: Arc::default(), control: None, config, link }
    }

    fn start(&mut self, runtime: &Arc<Runtime>, options: &LocalOptions, index: usize, listener: TcpListener) {
        let relay = Relay::new(self.config.clone(), runtime.entropy().generator(), runtime.clock().now());
        self.config.issued_before = relay.descriptor().issued;
        let mut shell = ShellConfig::new(options.network, LinkIdentity::Relay { secret: self.link.clone() });
        (shell.bind_ip, shell.listener) = (Some(self.contact.address.0.ip()), Some(listener));
        (shell.tap, shell.limits) = (options.tap.clone(), options.limits);
        let launching = Launching { runtime: Arc::clone(runtime), index, relay, shell, store: Arc::clone(&self.store) };
        let Launched { mut events, control } = match &options.launch {
            Some(launch) => launch(launching),
            None => launch_plainly(launching),
        };
        let (tell, members) = watch::channel(0);
        let seen = Arc::clone(&self.sights);
        runtime.spawn(async move {
            while let Some(event) = events.recv().await {
                match event {
                    RelayEvent::Members(count) => drop(tell.send_replace(count)),
                    // Nobody here has asked for a lookup.
                    RelayEvent::Looked { .. }
                    | RelayEvent::Issued(_)
                    | RelayEvent::Drained
                    | RelayEvent::Writes(_)
                    | RelayEvent::Repaired(_) => (),
                    RelayEvent::Sight(sight) => seen.lock().unwrap_or_else(PoisonError::into_inner).push(sight),
                }
            }
        });
        (self.members, self.control) = (members, Some(control));
    }

    /// What it saw, when sights are recorded.
    #[must_use]
    pub fn sights(&self) -> Vec<Sight> {
        self.sights.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Values it holds.
    #[must_use]
    pub fn values(&self) -> usize {
        self.store.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Whether it runs.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.control.is_some()
    }

    /// Its life, for counters.
    #[must_use]
    pub fn control(&self) -> Option<&NodeControl> {
        self.control.as_ref()
    }
}

/// Linux has all of 127.0.0.0/8 on loopback; others have one address, and there nothing can keep relays apart.
async fn prefix_rule() -> PrefixRule {
    match TcpListener::bind((Ipv4Addr::new(127, CLIENT_NET, 0, 1), 0)).await {
        Ok(_) => PrefixRule::Distinct,
        Err(_) => PrefixRule::RelaxedForOneHost,
    }
}

fn launch_plainly(Launching { runtime, relay, shell, store, .. }: Launching) -> Launched {
    let apply = Box::new(move |now, op| store.lock().unwrap_or_else(PoisonError::into_inner).apply(now, op));
    spawn_node(runtime, relay, shell, apply).into()
}

async fn plan(options: &LocalOptions, index: usize, rule: PrefixRule, rng: &mut ChaCha20Rng) -> std::io::Result<Plan> {
    let (network, per_net) = (&options.network, options.relays_per_net.max(1));
    let net = u8::try_from(index / per_net + 1).unwrap_or(u8::MAX);
    let subnet = u8::try_from(index % per_net).unwrap_or(u8::MAX);
    let ip = if rule == PrefixRule::Distinct { Ipv4Addr::new(127, net, subnet, 1) } else { Ipv4Addr::LOCALHOST };
    let listener = TcpListener::bind(SocketAddr::from((ip, 0))).await?;
    let address = Address(listener.local_addr()?);
    let (identity, link) = (IdentitySecret::generate(rng), DhSecret::generate(rng));
    let solution = solve(&network.id, &identity.public(), network.difficulty, 0, PUZZLE_TRIALS)
        .ok_or_else(|| std::io::Error::other("no solution of the identity puzzle in 2^20 trials"))?;
    let contact = Contact { id: solution.id(&identity.public()), link_key: link.public(), address };
    Ok(Plan { identity, link, solution, listener, contact })
}
