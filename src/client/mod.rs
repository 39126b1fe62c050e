//! The public async API: publish and get content, put and get records, without showing who asks.
//!
//! A [`Client`] joins, acts and leaves; it holds one link, to its guard. Every call is cancel-safe: dropping the future ends its
//! circuits, and nothing that was not acknowledged is claimed. There is no call that goes without a state directory, because
//! a client that forgets its guard gives every observer another chance.

mod events;
#[cfg(test)]
pub(crate) mod fixture;
mod records;
mod stored;
mod transfer;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rand::rngs::ChaCha20Rng;
use tokio::sync::{mpsc, oneshot, watch};

use self::records::Seen;
pub use self::records::{Found, GetOptions, PutOptions, Stored};
pub use self::stored::stored_membership;
#[cfg(feature = "cli")]
pub(crate) use self::stored::{StoredMembers, stored_difficulty};
pub use self::transfer::{
    Audit, AuditOptions, BatchNo, Carrier, Content, ContentReader, ContentWriter, Download, Extension, Goal, Health,
    Journal, Opened, Part, Prepared, Progress, PublishOptions, Published, Sealing, Source, Tended, Upkeep, audit, open,
    store,
};
use crate::content::{FetchRefused, LinkRefused, NameRefused, RootRefused};
use crate::crypto::keys::NodeKey;
use crate::disk::{StateDir, StateError};
use crate::keyspace::Location;
use crate::limits::{HOPS_CLIENT_MIN, HOPS_MAX, OPERATION_GRACE, OPERATION_TIMEOUT, STAGGER_MAX};
use crate::membership::members::Members;
use crate::membership::prefix_rule::PrefixRule;
use crate::net::{Counts as LinkEnds, DownKind, LinkIdentity, NodeHandle, Runtime, ShellConfig, Tap, spawn_node};
use crate::node::{BuiltPath, ClientCommand, ClientConfig, ClientNode, Joined, Kept, Operation, Sight};
use crate::record::SealRefused;
use crate::request::{Counts, Refused, Success};
use crate::time::{Duration, UnixTime};
use crate::wire::contact::Contact;
use crate::wire::network::Network;
use crate::wire::record::Expiry;

/// Name of the file that holds guards and second hops.
pub const KEPT_FILE: &str = "guards";

/// How a client is started.
#[derive(Clone)]
pub struct ClientOptions {
    /// The network.
    pub network: Network,
    /// Nodes to start from.
    pub bootstraps: Vec<Contact>,
    /// Where guards are kept; created if it is not there.
    pub state: PathBuf,
    /// Relays in every path: three to five.
    pub hops: usize,
    /// How long a record's lookup or put may take, unless its call says otherwise.
    pub timeout: Duration,
    /// Whether bootstraps are asked although a membership is on disk: for a diagnosis.
    pub afresh: bool,
    /// Relays of the same owner: none of them is in a path.
    pub ours: Vec<NodeKey>,
    /// Whether addresses keep the hops of a path apart.
    pub rule: PrefixRule,
    /// Circuits of one operation start each after a random time below it: [`STAGGER_MAX`], or less. At zero whoever watches the
    /// guard's link tells by their time which circuits belong to one operation.
    pub stagger: Duration,
    /// The address from which it dials, if it matters.
    pub bind_ip: Option<IpAddr>,
    /// Who listens in: tests alone.
    pub tap: Option<Arc<dyn Tap>>,
    /// Whether sights are recorded: tests and the demo alone.
    pub witness: bool,
}

impl ClientOptions {
    /// Three hops, strict rules, circuits staggered.
    #[must_use]
    pub fn new(network: Network, bootstraps: Vec<Contact>, state: PathBuf) -> Self {
        Self {
            network,
            bootstraps,
            state,
            hops: HOPS_CLIENT_MIN,
            timeout: OPERATION_TIMEOUT,
            afresh: false,
            ours: Vec::new(),
            rule: PrefixRule::Distinct,
            stagger: STAGGER_MAX,
            bind_ip: None,
            tap: None,
            witness: false,
        }
    }
}

/// Why a call of the client brought nothing.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The operation ended without a result; see [`Refused`] for which way.
    #[error("{0} ({1})")]
    Refused(Refused, Counts),
    /// Its owner has deleted it. The number is that of the deletion: what an update must name.
    #[error("not found: deleted by its owner ({counts})")]
    Deleted {
        /// Sequence number of the deletion.
        seq: u64,
        /// What was asked and what came back.
        counts: Counts,
    },
    /// What came does not hold together, although its author signed it.
    #[error(transparent)]
    Root(#[from] RootRefused),
    /// Chunks of a content do not come, or do not hold together.
    #[error(transparent)]
    Fetch(#[from] FetchRefused),
    /// Some chunks have fewer receipts than asked for; no root was stored.
    #[error("partly stored: {missing} of {chunks} chunks have fewer receipts than asked for, and no link was made")]
    PartlyPublished {
        /// Chunks of batches that are wanting.
        missing: u64,
        /// Chunks in all.
        chunks: u64,
    },
    /// More than is brought in one piece.
    #[error("{0} bytes are not brought in one piece: read them as a stream")]
    Whole(u64),
    /// What was to be published cannot be read.
    #[error("what is to be published cannot be read: {0}")]
    Source(std::io::Error),
    /// A running node that was asked said so.
    #[error("{message} (told by the running node)")]
    ByNode {
        /// How it ended.
        ending: Ending,
        /// In the node's words.
        message: String,
        /// What was asked and what came back.
        counts: Option<Counts>,
    },
    /// The value does not open with this link.
    #[error("the value does not open with this link: forged, or not written by this program")]
    Unreadable,
    /// A value or label over its room.
    #[error(transparent)]
    Seal(#[from] SealRefused),
    /// Not a file name.
    #[error(transparent)]
    Name(#[from] NameRefused),
    /// Not a link of this network.
    #[error(transparent)]
    Link(#[from] LinkRefused),
    /// The state directory.
    #[error(transparent)]
    State(#[from] StateError),
    /// Paths of this length are not built.
    #[error("a path has {HOPS_CLIENT_MIN} to {HOPS_MAX} hops, {0} were asked for")]
    Hops(usize),
    /// A bootstrap at an address that is not global, in a network whose difficulty is above 0.
    #[error("bootstrap {0}: no address of the public internet; a network whose difficulty is above 0 has no others")]
    Bootstrap(std::net::SocketAddr),
    /// Circuits are not staggered by so much.
    #[error("circuits are staggered by at most {} ms, {} ms were asked for", STAGGER_MAX.as_millis(), .0.as_millis())]
    Stagger(Duration),
    /// The client was stopped meanwhile.
    #[error("the client was stopped")]
    Stopped,
}

/// How a call ended, as coarse as whoever scripts it needs it; the exit codes of the command line.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
pub enum Ending {
    /// Anything that has no ending of its own.
    Failed,
    /// What was asked for makes no sense.
    Usage,
    /// Attested: it is not there.
    NotFound,
    /// Too few answered to tell.
    Unreachable,
    /// Forged, not holding together, or older than what was seen.
    Damaged,
    /// Something else is there.
    Conflict,
    /// Fewer receipts than asked for.
    Partly,
    /// No path as strong as asked.
    PrivacyFloor,
}

impl ClientError {
    /// Whether circuits were asked for at all: if not, there is no way into the network, and another try is none.
    #[must_use]
    pub const fn reached_anybody(&self) -> bool {
        match self {
            Self::Refused(_, counts) | Self::Deleted { counts, .. } | Self::ByNode { counts: Some(counts), .. } => {
                counts.asked > 0
            }
            _ => true,
        }
    }

    /// How a call with this error ended.
    #[must_use]
    pub const fn ending(&self) -> Ending {
        match self {
            Self::Refused(refused, _) => match refused {
                Refused::NotFound => Ending::NotFound,
                Refused::Unreachable => Ending::Unreachable,
                Refused::Damaged | Refused::Older { .. } => Ending::Damaged,
                Refused::Conflict { .. } => Ending::Conflict,
                Refused::Partly { .. } | Refused::Unpaid { .. } | Refused::Full | Refused::NotSolved => Ending::Partly,
                Refused::PrivacyFloor(_) | Refused::GuardsGone | Refused::GuardFails(_) => Ending::PrivacyFloor,
            },
            Self::Deleted { .. } => Ending::NotFound,
            Self::Root(_) | Self::Fetch(FetchRefused::Damaged { .. }) | Self::Unreadable => Ending::Damaged,
            Self::Fetch(FetchRefused::TooFew { .. }) => Ending::Unreachable,
            Self::PartlyPublished { .. } => Ending::Partly,
            Self::ByNode { ending, .. } => *ending,
            Self::Seal(_) | Self::Name(_) | Self::Link(_) | Self::Hops(_) => Ending::Usage,
            Self::Bootstrap(_) | Self::Stagger(_) | Self::Whole(_) => Ending::Usage,
            Self::State(_) | Self::Source(_) | Self::Stopped => Ending::Failed,
        }
    }
}

/// A client of the network. Clones share it; it ends with the last of them.
#[derive(Clone)]
pub struct Client {
    inner: Arc<Inner>,
    /// Numbers of the operations started through this value, if they are kept apart.
    own_operations: Option<Arc<Mutex<BTreeSet<u64>>>>,
}

struct Inner {
    network: Network,
    runtime: Arc<Runtime>,
    commands: mpsc::Sender<ClientCommand>,
    shared: Arc<Shared>,
    /// Ends the event task, which owns the node.
    stop: Mutex<Option<oneshot::Sender<()>>>,
    next: AtomicU64,
    rng: Mutex<ChaCha20Rng>,
    /// By first location. Never written to disk: it would say what was looked for.
    seen: Mutex<BTreeMap<Location, Seen>>,
    timeout: Duration,
    link_ends: Arc<LinkEnds>,
}

/// What the event task writes and calls read.
struct Shared {
    waiting: Mutex<BTreeMap<u64, oneshot::Sender<crate::request::Outcome>>>,
    paths: Mutex<VecDeque<BuiltPath>>,
    sights: Mutex<VecDeque<Sight>>,
    guard: watch::Sender<Option<NodeKey>>,
    guards_used: Mutex<VecDeque<NodeKey>>,
    sample: Mutex<Vec<NodeKey>>,
    state_error: Mutex<Option<StateError>>,
    joined: Mutex<Option<Joined>>,
    bootstraps_asked: Mutex<usize>,
    ended: watch::Sender<bool>,
}

impl Client {
    /// Opens the state directory and starts to join. Returns at once; calls wait for the network.
    ///
    /// # Errors
    /// [`ClientError::State`] when the directory cannot be used, [`ClientError::Hops`], [`ClientError::Stagger`],
    /// [`ClientError::Bootstrap`].
    pub fn start(runtime: &Arc<Runtime>, options: ClientOptions) -> Result<Self, ClientError> {
        if options.hops < HOPS_CLIENT_MIN || options.hops > HOPS_MAX {
            return Err(ClientError::Hops(options.hops));
        }
        if options.stagger > STAGGER_MAX {
            return Err(ClientError::Stagger(options.stagger));
        }
        if let Some(one) = options.bootstraps.iter().find(|one| !options.network.may_reach(&one.address)) {
            return Err(ClientError::Bootstrap(one.address.0));
        }
        let state = StateDir::open(&options.state)?;
        let kept: Option<Kept> = state.read(KEPT_FILE)?;
        let now = runtime.clock().now();
        let stored = if options.afresh { Members::default() } else { stored::read(&state, &options.network, now.unix) };
        let config = ClientConfig {
            network: options.network,
            bootstraps: options.bootstraps,
            hops: options.hops,
            rule: options.rule,
            stagger: options.stagger,
            ours: options.ours,
            kept: kept.clone().unwrap_or_default(),
            stored,
            witness: options.witness,
        };
        let node = ClientNode::new(config, runtime.entropy().generator(), now);
        let mut shell = ShellConfig::new(options.network, LinkIdentity::Client);
        (shell.bind_ip, shell.tap) = (options.bind_ip, options.tap);
        let nothing = Box::new(|_, _| crate::dht::store::StoreResult::Full);
        let handle = spawn_node(Arc::clone(runtime), node, shell, nothing);
        Ok(Self::drive(runtime, (options.network, options.timeout), handle, state, kept))
    }

    fn drive(
        runtime: &Arc<Runtime>,
        (network, timeout): (Network, Duration),
        handle: NodeHandle<ClientNode>,
        state: StateDir,
        kept: Option<Kept>,
    ) -> Self {
        let shared = Arc::new(Shared {
            waiting: Mutex::default(),
            paths: Mutex::default(),
            sights: Mutex::default(),
            guard: watch::Sender::new(None),
            guards_used: Mutex::default(),
            sample: Mutex::new(kept.as_ref().map(sample_of).unwrap_or_default()),
            state_error: Mutex::default(),
            joined: Mutex::default(),
            bootstraps_asked: Mutex::default(),
            ended: watch::Sender::new(false),
        });
        let (commands, link_ends) = (handle.commands.clone(), handle.control.shared_counts());
        let (stop, stopped) = oneshot::channel();
        runtime.spawn(events::serve(handle, Arc::clone(&shared), state, kept, stopped, (network, Arc::clone(runtime))));
        let rng = Mutex::new(runtime.entropy().generator());
        let inner = Inner {
            network,
            runtime: Arc::clone(runtime),
            commands,
            shared,
            stop: Mutex::new(Some(stop)),
            next: AtomicU64::new(1),
            rng,
            seen: Mutex::default(),
            timeout,
            link_ends,
        };
        Self { inner: Arc::new(inner), own_operations: None }
    }

    /// The network.
    #[must_use]
    pub fn network(&self) -> &Network {
        &self.inner.network
    }

    /// The guard in use, once there is one.
    ///
    /// # Errors
    /// [`ClientError::Stopped`].
    pub async fn guard(&self) -> Result<NodeKey, ClientError> {
        let mut guard = self.inner.shared.guard.subscribe();
        let found = guard.wait_for(Option::is_some).await.map_err(|_| ClientError::Stopped)?;
        found.ok_or(ClientError::Stopped)
    }

    /// Guards that were in use since the start, in order.
    #[must_use]
    pub fn guards_used(&self) -> Vec<NodeKey> {
        lock(&self.inner.shared.guards_used).iter().copied().collect()
    }

    /// The ordered sample of guards, as the state directory holds it.
    #[must_use]
    pub fn guard_sample(&self) -> Vec<NodeKey> {
        lock(&self.inner.shared.sample).clone()
    }

    /// Every path that was built, in order, the last [`crate::limits::PATHS_REMEMBERED_MAX`] of them.
    #[must_use]
    pub fn paths(&self) -> Vec<Vec<Contact>> {
        lock(&self.inner.shared.paths).iter().map(|path| path.hops.clone()).collect()
    }

    /// As [`Self::paths`], each with what it carried.
    #[must_use]
    pub fn circuits(&self) -> Vec<BuiltPath> {
        let paths = lock(&self.inner.shared.paths);
        match &self.own_operations {
            Some(own) => paths.iter().filter(|path| lock(own).contains(&path.operation)).cloned().collect(),
            None => paths.iter().cloned().collect(),
        }
    }

    /// The same client, whose [`Self::circuits`] are those of calls made through this value and its clones alone.
    #[must_use]
    pub fn apart(&self) -> Self {
        Self { inner: Arc::clone(&self.inner), own_operations: Some(Arc::default()) }
    }

    /// How the membership last came from the bootstraps; `None` as long as one from disk serves, or none has come.
    #[must_use]
    pub fn joined(&self) -> Option<Joined> {
        lock(&self.inner.shared.joined).clone()
    }

    /// Questions to bootstraps since the start, one for each that was asked, whether it answered or not.
    #[must_use]
    pub fn bootstraps_asked(&self) -> usize {
        *lock(&self.inner.shared.bootstraps_asked)
    }

    /// How links of this client ended so far, by reason: what a diagnosis starts from.
    #[must_use]
    pub fn link_ends(&self) -> BTreeMap<DownKind, u64> {
        self.inner.link_ends.read()
    }

    /// What this client's own node saw, when sights are recorded.
    #[must_use]
    pub fn sights(&self) -> Vec<Sight> {
        lock(&self.inner.shared.sights).iter().cloned().collect()
    }

    /// Ends the client; open calls end with [`ClientError::Stopped`].
    pub fn stop(&self) {
        drop(lock(&self.inner.stop).take());
    }

    /// As [`Self::stop`]; returns once its links are closed and what it keeps is on disk.
    pub async fn close(&self) {
        self.stop();
        // An error says that the task is gone: then there is nothing to wait for.
        let _ = self.inner.shared.ended.subscribe().wait_for(|ended| *ended).await;
    }

    /// The first expiry step after so long from now.
    fn expiry(&self, lifetime: Duration) -> Expiry {
        Expiry::at_least(UnixTime(self.inner.runtime.clock().now().unix.0.saturating_add(lifetime.as_secs())))
    }

    /// Runs one operation to its end; when this future is dropped, the operation is cancelled.
    async fn run(&self, operation: Operation, timeout: Duration) -> Result<(Success, Counts), ClientError> {
        let id = self.inner.next.fetch_add(1, Ordering::Relaxed);
        if let Some(own) = &self.own_operations {
            lock(own).insert(id);
        }
        let (tell, told) = oneshot::channel();
        lock(&self.inner.shared.waiting).insert(id, tell);
        let cancel = CancelOnDrop { id, client: self, armed: true };
        let start = ClientCommand::Start { id, operation, timeout };
        self.inner.commands.send(start).await.map_err(|_| self.stopped())?;
        // The node ends every operation in time; should its word be lost, the call ends all the same.
        let told = tokio::time::timeout(timeout + OPERATION_GRACE, told).await;
        let lost = ClientError::Refused(Refused::Unreachable, Counts::default());
        let outcome = told.map_err(|_| lost)?.map_err(|_| self.stopped())?;
        cancel.disarm();
        outcome.result.map(|success| (success, outcome.counts)).map_err(|why| ClientError::Refused(why, outcome.counts))
    }

    fn stopped(&self) -> ClientError {
        lock(&self.inner.shared.state_error).take().map_or(ClientError::Stopped, ClientError::State)
    }
}

struct CancelOnDrop<'a> {
    id: u64,
    client: &'a Client,
    armed: bool,
}

impl CancelOnDrop<'_> {
    fn disarm(mut self) {
        self.armed = false;
    }
}

impl Drop for CancelOnDrop<'_> {
    fn drop(&mut self) {
        if self.armed {
            lock(&self.client.inner.shared.waiting).remove(&self.id);
            // With a full queue the operation runs on to its deadline, and nobody hears of it.
            let _ = self.client.inner.commands.try_send(ClientCommand::Cancel { id: self.id });
        }
    }
}

fn sample_of(kept: &Kept) -> Vec<NodeKey> {
    kept.guards.guards.iter().map(|guard| NodeKey(guard.key)).collect()
}

/// A poisoned lock held plain data all the same.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
