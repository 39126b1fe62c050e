//! How a command reaches the network: through a running node of the same user and state, or by a client of its own that joins,
//! acts and leaves.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use super::Told;
use super::identity::Identity;
use super::settings::Settings;
use crate::client::{Carrier, Client, ClientError, ClientOptions, Ending, Found, GetOptions, PutOptions, Stored};
use crate::content::ContentLink;
use crate::crypto::hash::blake3;
use crate::crypto::keys::{IdentitySecret, NodeKey};
use crate::disk::{StateDir, StoreView};
use crate::gateway::{Answer, CallError, Caller, Demands, How, Request, SOCKET, Status};
use crate::limits::{HOPS_CLIENT_MIN, PATHS_REMEMBERED_MAX};
use crate::membership::prefix_rule::PrefixRule;
use crate::net::Runtime;
use crate::node::BuiltPath;
use crate::record::Locator;
use crate::request::{SealedChunk, Sighting};
use crate::wire::hex;
use crate::wire::network::Network;
use crate::wire::record::Expiry;

/// Bytes of a hash of the network id that name its folder. Of the id itself somebody could choose one that begins alike, and
/// have its guards mixed up with ours.
const FOLDER_LEN: usize = 16;

/// A way into the network.
#[derive(Clone)]
pub(super) enum Way {
    /// A client of our own.
    Own(Client),
    /// A running node, and the circuits that it built for us.
    Node(Arc<Asked>),
}

/// What a running node did for this command.
pub(super) struct Asked {
    node: Caller,
    network: Network,
    paths: Mutex<VecDeque<BuiltPath>>,
}

/// What there is to explain.
pub(super) struct Trace {
    pub(super) circuits: Vec<BuiltPath>,
    pub(super) bootstraps_asked: usize,
    pub(super) by_node: bool,
}

impl Way {
    /// A running node if there is one and the settings allow it; else a client of our own.
    pub(super) async fn open(told: &Told) -> anyhow::Result<Self> {
        // The links of a running node are its own: of them no keys could be logged.
        let node = if told.tap.is_some() { None } else { running_node(&told.settings).await? };
        match node {
            Some(node) => {
                let network = told.settings.network()?;
                Ok(Self::Node(Arc::new(Asked { node, network, paths: Mutex::default() })))
            }
            None => Ok(Self::Own(own_client(told, false)?)),
        }
    }

    /// See [`Client::delete`].
    pub(super) async fn delete(
        &self,
        author: &IdentitySecret,
        label: &[u8],
        options: PutOptions,
    ) -> anyhow::Result<Stored> {
        match self {
            Self::Own(client) => Ok(client.delete(author, label, options).await?),
            Self::Node(asked) => {
                let request = Request::Delete {
                    author: author.to_bytes(),
                    label: label.to_vec(),
                    previous: options.previous,
                    above: options.above,
                    lifetime_s: options.lifetime.as_secs(),
                };
                Ok(stored(asked.ask(request).await?)?)
            }
        }
    }

    /// See [`Client::current_seq`].
    pub(super) async fn current_seq(
        &self,
        network: &Network,
        link: &ContentLink,
        options: GetOptions,
    ) -> anyhow::Result<Option<u64>> {
        match self {
            Self::Own(client) => Ok(client.current_seq(link.locator(network)?, options).await?),
            Self::Node(asked) => {
                let request = Request::CurrentSeq { link: link.to_string(), how: How::from(options) };
                match asked.ask(request).await? {
                    Answer::Seq(seq) => Ok(seq),
                    _ => Err(unfit().into()),
                }
            }
        }
    }

    /// What was built before is not explained any more.
    pub(super) fn forget_trace(&self) {
        if let Self::Node(asked) = self {
            asked.paths.lock().unwrap_or_else(PoisonError::into_inner).clear();
        }
    }

    /// Circuits that were built so far, and how the membership came.
    pub(super) fn trace(&self) -> Trace {
        match self {
            Self::Own(client) => {
                Trace { circuits: client.circuits(), bootstraps_asked: client.bootstraps_asked(), by_node: false }
            }
            Self::Node(asked) => {
                let circuits = asked.paths.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect();
                Trace { circuits, bootstraps_asked: 0, by_node: true }
            }
        }
    }

    /// Leaves the network; what is to be kept is on disk then.
    pub(super) async fn close(self) {
        if let Self::Own(client) = self {
            client.close().await;
        }
    }
}

impl Asked {
    async fn ask(&self, request: Request) -> Result<Answer, CallError> {
        let (answer, built) = self.node.ask(request).await;
        let mut paths = self.paths.lock().unwrap_or_else(PoisonError::into_inner);
        paths.extend(built);
        while paths.len() > PATHS_REMEMBERED_MAX {
            paths.pop_front();
        }
        drop(paths);
        answer
    }
}

impl Carrier for Way {
    fn network(&self) -> &Network {
        match self {
            Self::Own(client) => client.network(),
            Self::Node(asked) => &asked.network,
        }
    }

    async fn get_root(&self, locator: &Locator, options: GetOptions) -> Result<Found, ClientError> {
        match self {
            Self::Own(client) => client.get_record(locator, options).await,
            Self::Node(asked) => {
                let link = ContentLink::new(&asked.network, locator.clone()).to_string();
                match asked.ask(Request::GetRecord { link, how: How::from(options) }).await? {
                    Answer::Record { payload, seq, attested, seen, counts } => {
                        let seen = seen.into_iter().map(Into::into).collect();
                        Ok(Found { payload, seq, attested, seen, counts: crate::gateway::counts(counts) })
                    }
                    _ => Err(unfit()),
                }
            }
        }
    }

    async fn put_root(
        &self,
        author: &IdentitySecret,
        label: &[u8],
        payload: &[u8],
        options: PutOptions,
    ) -> Result<Stored, ClientError> {
        match self {
            Self::Own(client) => client.put_record(author, label, payload, options).await,
            Self::Node(asked) => {
                let request = Request::PutRecord {
                    author: author.to_bytes(),
                    label: label.to_vec(),
                    payload: payload.to_vec(),
                    previous: options.previous,
                    above: options.above,
                    lifetime_s: options.lifetime.as_secs(),
                };
                stored(asked.ask(request).await?)
            }
        }
    }

    async fn put_root_again(&self, locator: &Locator, options: GetOptions) -> Result<Stored, ClientError> {
        match self {
            Self::Own(client) => client.put_again(locator, options).await,
            Self::Node(asked) => {
                let link = ContentLink::new(&asked.network, locator.clone()).to_string();
                stored(asked.ask(Request::PutAgain { link, how: How::from(options) }).await?)
            }
        }
    }

    async fn get_chunks(&self, hashes: Vec<[u8; 32]>) -> Result<Vec<Option<Vec<u8>>>, ClientError> {
        match self {
            Self::Own(client) => client.get_chunks(hashes).await,
            Self::Node(asked) => {
                let wanted = hashes.clone();
                match asked.ask(Request::GetChunks { hashes }).await? {
                    Answer::Chunks(chunks) => {
                        let fits = |(chunk, hash): (Option<Vec<u8>>, &[u8; 32])| {
                            chunk.filter(|bytes| blake3(&[bytes]) == *hash)
                        };
                        Ok(chunks.into_iter().zip(&wanted).map(fits).collect())
                    }
                    _ => Err(unfit()),
                }
            }
        }
    }

    async fn put_chunks(&self, chunks: Vec<SealedChunk>, expiry: Expiry) -> Result<(), ClientError> {
        match self {
            Self::Own(client) => client.put_chunks(chunks, expiry).await,
            Self::Node(asked) => {
                let chunks = chunks.into_iter().map(|chunk| chunk.bytes).collect();
                match asked.ask(Request::PutChunks { chunks, expiry: expiry.to_wire() }).await? {
                    Answer::ChunksStored => Ok(()),
                    _ => Err(unfit()),
                }
            }
        }
    }

    async fn look_chunks(&self, hashes: Vec<[u8; 32]>) -> Result<Vec<Sighting>, ClientError> {
        match self {
            Self::Own(client) => client.look_chunks(hashes).await,
            Self::Node(asked) => match asked.ask(Request::LookChunks { hashes }).await? {
                Answer::ChunksSeen(seen) => Ok(seen.into_iter().map(Into::into).collect()),
                _ => Err(unfit()),
            },
        }
    }
}

fn stored(answer: Answer) -> Result<Stored, ClientError> {
    match answer {
        Answer::Stored { seq, copies, counts } => Ok(Stored { seq, copies, counts: crate::gateway::counts(counts) }),
        _ => Err(unfit()),
    }
}

fn unfit() -> ClientError {
    let message = "the running node answered something else than was asked".to_owned();
    ClientError::ByNode { ending: Ending::Failed, message, counts: None }
}

/// A client of our own; `afresh` asks the bootstraps although a membership is on disk.
pub(super) fn own_client(told: &Told, afresh: bool) -> anyhow::Result<Client> {
    let runtime = Runtime::start()?;
    Ok(Client::start(&runtime, ClientOptions { afresh, tap: told.tap.clone(), ..options(&told.settings)? })?)
}

/// The running node of this user and state.
pub(super) async fn running_node(settings: &Settings) -> anyhow::Result<Option<Caller>> {
    if !settings.use_node {
        return Ok(None);
    }
    let path = folder(settings, &settings.network()?)?.join(SOCKET);
    Ok(Caller::find(&path, demands(settings)).await?)
}

/// How the running node is, if there is one.
pub(super) async fn node_status(settings: &Settings) -> anyhow::Result<Option<Status>> {
    let Some(node) = running_node(settings).await? else { return Ok(None) };
    match node.ask(Request::Status).await.0? {
        Answer::Status(status) => Ok(Some(status)),
        _ => Err(unfit().into()),
    }
}

/// What the running node keeps for others, if there is one.
pub(super) async fn node_store(settings: &Settings) -> anyhow::Result<Option<StoreView>> {
    let Some(node) = running_node(settings).await? else { return Ok(None) };
    match node.ask(Request::Store).await.0? {
        Answer::Store(view) => Ok(Some(view)),
        _ => Err(unfit().into()),
    }
}

/// What is demanded of a running node: what was asked for in so many words; defaults demand nothing of a node that has its own.
pub(super) fn demands(settings: &Settings) -> Demands {
    let is_asked = |key: &str| settings.origins.contains_key(key);
    Demands {
        hops_min: if is_asked("hops") { settings.hops } else { HOPS_CLIENT_MIN },
        stagger_min_us: if is_asked("stagger") { micros(settings) } else { 0 },
        distinct: settings.rule == PrefixRule::Distinct,
        bind: settings.bind,
    }
}

/// What a client of these settings does for every path.
pub(super) fn does(settings: &Settings) -> Demands {
    let distinct = settings.rule == PrefixRule::Distinct;
    Demands { hops_min: settings.hops, stagger_min_us: micros(settings), distinct, bind: settings.bind }
}

fn micros(settings: &Settings) -> u64 {
    u64::try_from(settings.stagger.as_micros()).unwrap_or(u64::MAX)
}

/// What the settings make of a client.
pub(super) fn options(settings: &Settings) -> anyhow::Result<ClientOptions> {
    let network = settings.network()?;
    let folder = folder(settings, &network)?;
    let ours: Vec<NodeKey> = Identity::key_in(&StateDir::open(&folder)?)?.into_iter().collect();
    let mut options = ClientOptions::new(network, settings.bootstraps()?, folder);
    (options.hops, options.stagger, options.timeout) = (settings.hops, settings.stagger, settings.timeout);
    (options.rule, options.bind_ip, options.ours) = (settings.rule, settings.bind, ours);
    Ok(options)
}

/// Its name (spec/state.md §5).
pub(super) fn folder_name(network: &Network) -> String {
    let hash = blake3(&[b"bauta/1 folder", &network.id]);
    hash.first_chunk::<FOLDER_LEN>().map(|hash| hex::encode(hash)).unwrap_or_default()
}

/// The folder of one network in the state directory; both are this user's alone.
pub(super) fn folder(settings: &Settings, network: &Network) -> Result<PathBuf, ClientError> {
    StateDir::open(&settings.state)?;
    Ok(settings.state.join(folder_name(network)))
}
