//! rust-libp2p's Kademlia: servers that know each other, and clients that hold no records, over TCP, Noise and yamux.
//!
//! Nothing of it can leave loopback: the parts that look for peers by themselves (mdns, dns, upnp, relays) are not built, no
//! bootstrap nodes are named, and every address it learns is one of the listeners below.

use std::num::NonZeroUsize;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};
use futures::StreamExt;
use libp2p_core::{Multiaddr, Transport, upgrade::Version};
use libp2p_identity::{Keypair, PeerId};
use libp2p_kad::store::MemoryStore;
use libp2p_kad::{Behaviour, Config, Event, GetRecordOk, Mode, QueryId, QueryResult, Quorum, Record, RecordKey};
use libp2p_swarm::{StreamProtocol, Swarm, SwarmEvent};
use libp2p_tcp as tcp;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use crate::{CLIENTS, RECORD_LEN, RECORDS};

/// Copies of a record: the library's own replication factor.
pub(crate) const COPIES: usize = 20;
/// Links stay up: a run is shorter.
const IDLE_MAX: Duration = Duration::from_secs(3_600);
/// Commands on their way to one node.
const COMMANDS_MAX: usize = 64;

type Node = Swarm<Behaviour<MemoryStore>>;
/// How long the record was, or how many copies were asked for.
type Told = oneshot::Sender<Result<usize>>;

enum Command {
    Get(RecordKey, Told),
    Put(Record, Told),
}

pub(crate) struct Kad {
    clients: Vec<mpsc::Sender<Command>>,
    _servers: Vec<mpsc::Sender<Command>>,
    /// Its tasks end with it.
    _nodes: JoinSet<()>,
}

impl Kad {
    pub(crate) async fn start(nodes: usize) -> Result<Self> {
        let (mut servers, mut known) = (Vec::new(), Vec::new());
        for _ in 0..nodes {
            let mut node = node(Mode::Server)?;
            known.push((*node.local_peer_id(), listen(&mut node).await?));
            servers.push(node);
        }
        let clients = (0..CLIENTS).map(|_| node(Mode::Client)).collect::<Result<Vec<_>>>()?;
        let mut tasks = JoinSet::new();
        let mut run = |mut node: Node| {
            let own = *node.local_peer_id();
            for (peer, address) in known.iter().filter(|(peer, _)| *peer != own) {
                node.behaviour_mut().add_address(peer, address.clone());
            }
            let (commands, asked) = mpsc::channel(COMMANDS_MAX);
            tasks.spawn(drive(node, asked));
            commands
        };
        let servers = servers.into_iter().map(&mut run).collect();
        let clients = clients.into_iter().map(&mut run).collect();
        let network = Self { clients, _servers: servers, _nodes: tasks };
        for number in 0..RECORDS {
            network.put(number).await.context("a first put")?;
        }
        Ok(network)
    }

    /// As many nodes as shall hold it have said that they do.
    pub(crate) async fn put(&self, number: usize) -> Result<()> {
        let record = Record::new(key(number), vec![7; RECORD_LEN]);
        self.ask(number, |told| Command::Put(record, told)).await.map(drop)
    }

    /// The first value. Who puts a record keeps it, so another client gets it.
    pub(crate) async fn get(&self, number: usize) -> Result<()> {
        let wanted = number % RECORDS;
        let client = if number % self.clients.len() == wanted % self.clients.len() { number + 1 } else { number };
        let len = self.ask(client, |told| Command::Get(key(wanted), told)).await?;
        ensure!(len == RECORD_LEN, "{len} bytes");
        Ok(())
    }

    async fn ask(&self, client: usize, command: impl FnOnce(Told) -> Command) -> Result<usize> {
        let (told, heard) = oneshot::channel();
        let commands = &self.clients[client % self.clients.len()];
        commands.send(command(told)).await.map_err(|_| anyhow!("the node has ended"))?;
        heard.await.context("the node has ended")?
    }
}

fn key(number: usize) -> RecordKey {
    RecordKey::new(&format!("record {number}"))
}

fn node(mode: Mode) -> Result<Node> {
    let keys = Keypair::generate_ed25519();
    let id: PeerId = keys.public().to_peer_id();
    let transport = tcp::tokio::Transport::new(tcp::Config::default())
        .upgrade(Version::V1Lazy)
        .authenticate(libp2p_noise::Config::new(&keys)?)
        .multiplex(libp2p_yamux::Config::default())
        .boxed();
    let mut config = Config::new(StreamProtocol::new("/bauta-peers/kad/1"));
    config.set_replication_factor(NonZeroUsize::new(COPIES).context("copies")?);
    // Nothing but what was asked for, during a turn of somebody else.
    config.set_periodic_bootstrap_interval(None).set_replication_interval(None).set_publication_interval(None);
    let mut behaviour = Behaviour::with_config(id, MemoryStore::new(id), config);
    behaviour.set_mode(Some(mode));
    let config = libp2p_swarm::Config::with_tokio_executor().with_idle_connection_timeout(IDLE_MAX);
    Ok(Swarm::new(transport, behaviour, id, config))
}

async fn listen(node: &mut Node) -> Result<Multiaddr> {
    node.listen_on("/ip4/127.0.0.1/tcp/0".parse()?)?;
    loop {
        match node.select_next_some().await {
            SwarmEvent::NewListenAddr { address, .. } => return Ok(address),
            SwarmEvent::ListenerError { error, .. } => bail!("cannot listen: {error}"),
            _ => (),
        }
    }
}

async fn drive(mut node: Node, mut commands: mpsc::Receiver<Command>) {
    let mut waiting: Vec<(QueryId, Told)> = Vec::new();
    loop {
        tokio::select! {
            command = commands.recv() => match command {
                None => return,
                Some(Command::Get(key, told)) => waiting.push((node.behaviour_mut().get_record(key), told)),
                Some(Command::Put(record, told)) => {
                    match node.behaviour_mut().put_record(record, Quorum::All) {
                        Ok(id) => waiting.push((id, told)),
                        Err(error) => drop(told.send(Err(error.into()))),
                    }
                }
            },
            event = node.select_next_some() => {
                let SwarmEvent::Behaviour(Event::OutboundQueryProgressed { id, result, .. }) = event else { continue };
                let Some(told) = outcome(result) else { continue };
                // The first value is enough: the library goes on asking until it is told so.
                if let Some(mut query) = node.behaviour_mut().query_mut(&id) {
                    query.finish();
                }
                if let Some(at) = waiting.iter().position(|(waits, _)| *waits == id) {
                    let _ = waiting.swap_remove(at).1.send(told);
                }
            }
        }
    }
}

fn outcome(result: QueryResult) -> Option<Result<usize>> {
    match result {
        QueryResult::GetRecord(Ok(GetRecordOk::FoundRecord(found))) => Some(Ok(found.record.value.len())),
        QueryResult::GetRecord(Ok(GetRecordOk::FinishedWithNoAdditionalRecord { .. })) => None,
        QueryResult::GetRecord(Err(error)) => Some(Err(error.into())),
        QueryResult::PutRecord(Ok(_)) => Some(Ok(COPIES)),
        QueryResult::PutRecord(Err(error)) => Some(Err(error.into())),
        _ => None,
    }
}
