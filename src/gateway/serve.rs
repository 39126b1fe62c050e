//! The node's side: takes connections of the same user, one request each, and does it with the node's client.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::{interval, timeout};

use super::wire::{self, Answer, Demands, Failure, How, Opening, Reply, Request, Seen, Status, VERSION, WirePath};
use crate::client::{Carrier, Client, ClientError, Ending, GetOptions, PutOptions};
use crate::content::ContentLink;
use crate::crypto::hash::blake3;
use crate::crypto::keys::IdentitySecret;
use crate::disk::StoreView;
use crate::limits::{
    BATCH_CHUNKS, GATEWAY_ACCEPT_BACKOFF, GATEWAY_ALIVE_EVERY, GATEWAY_CONNECTIONS_MAX, GATEWAY_REQUEST_TIMEOUT,
    SEALED_CHUNK_LEN,
};
use crate::request::SealedChunk;
use crate::wire::record::Expiry;

/// What a node knows of itself.
pub struct Facts {
    /// Its client.
    pub client: Client,
    /// What its client does for every path.
    pub does: Demands,
    /// How it is, now.
    pub status: Box<dyn Fn() -> Status + Send + Sync>,
    /// What its relay keeps; may take a second. An error in the words of who reads it.
    pub store: Arc<dyn Fn() -> Result<StoreView, String> + Send + Sync>,
}

/// Serves until the future is dropped. A socket that an earlier process left behind is replaced; one that answers is not.
///
/// # Errors
/// When the socket cannot be made, or another node of this user serves there.
pub async fn serve(path: &Path, facts: Facts) -> io::Result<()> {
    match UnixStream::connect(path).await {
        Ok(_) => {
            return Err(io::Error::new(io::ErrorKind::AddrInUse, "another node of this user runs with this state"));
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => (),
        // Left behind by a process that is gone. Any other error says nothing of the kind.
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => std::fs::remove_file(path)?,
        Err(error) => return Err(error),
    }
    let listener = UnixListener::bind(path)?;
    let _unlink = Unlink(path);
    let (facts, places) = (Arc::new(facts), Arc::new(Semaphore::new(GATEWAY_CONNECTIONS_MAX)));
    let mut tasks = JoinSet::new();
    loop {
        // Whoever comes when all places are taken waits in the system's queue.
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return Ok(()) };
        while tasks.try_join_next().is_some() {}
        match listener.accept().await {
            Ok((stream, _)) if is_ours(&stream) => {
                let facts = Arc::clone(&facts);
                tasks.spawn(async move {
                    answer(stream, &facts).await;
                    drop(place);
                });
            }
            Ok(_) => tracing::warn!("a process of another user knocked"),
            Err(error) => {
                tracing::warn!(%error, "a command could not be heard");
                let never = std::future::pending::<()>();
                let _ = timeout(GATEWAY_ACCEPT_BACKOFF, never).await;
            }
        }
    }
}

/// Removes the socket that this process has bound.
struct Unlink<'a>(&'a Path);

impl Drop for Unlink<'_> {
    fn drop(&mut self) {
        // Left behind, it would only be replaced.
        let _ = std::fs::remove_file(self.0);
    }
}

fn is_ours(stream: &UnixStream) -> bool {
    stream.peer_cred().is_ok_and(|peer| peer.uid() == rustix::process::geteuid().as_raw())
}

/// One connection. It ends with its request, and the request with it.
async fn answer(stream: UnixStream, facts: &Facts) {
    let (mut from, mut to) = stream.into_split();
    let opening = timeout(GATEWAY_REQUEST_TIMEOUT, wire::receive::<Opening>(&mut from)).await;
    let Ok(Ok(opening)) = opening else { return };
    let client = facts.client.apart();
    let work = async {
        let result = act(&client, facts, opening).await;
        let paths = client.circuits().iter().map(WirePath::from).collect();
        Reply::Done(Box::new(result), paths)
    };
    tokio::pin!(work);
    let (mut gone, mut alive) = ([0], interval(GATEWAY_ALIVE_EVERY));
    // The first tick is now.
    alive.tick().await;
    loop {
        tokio::select! {
            done = &mut work => {
                // Nobody to tell: then there is nothing to do either.
                let _ = wire::send(&mut to, &done).await;
                return;
            }
            _ = alive.tick() => {
                if wire::send(&mut to, &Reply::Alive).await.is_err() {
                    return;
                }
            }
            // A command says nothing after its request: what comes is its end.
            _ = from.read(&mut gone) => return,
        }
    }
}

async fn act(
    client: &Client,
    facts: &Facts,
    Opening { version, demands, request }: Opening,
) -> Result<Answer, Failure> {
    if version != VERSION {
        let message =
            format!("the running node is of another version ({}): end it, or use that one", env!("CARGO_PKG_VERSION"));
        return Err(Failure { ending: Ending::Failed, message, counts: None });
    }
    if let Request::Status = request {
        return Ok(Answer::Status((facts.status)()));
    }
    if let Request::Store = request {
        return view(facts).await;
    }
    refuse_less(&facts.does, &demands)?;
    match request {
        Request::Status => Ok(Answer::Status((facts.status)())),
        Request::Store => view(facts).await,
        Request::PutRecord { author, label, payload, previous, above, lifetime_s } => {
            let lifetime = Duration::from_secs(lifetime_s);
            let options = PutOptions { previous, above, lifetime, timeout: None };
            let author = IdentitySecret::from_bytes(&author);
            let stored = client.put_record(&author, &label, &payload, options).await.map_err(failure)?;
            Ok(Answer::Stored { seq: stored.seq, copies: stored.copies, counts: wire::counts_out(stored.counts) })
        }
        Request::Delete { author, label, previous, above, lifetime_s } => {
            let lifetime = Duration::from_secs(lifetime_s);
            let options = PutOptions { previous, above, lifetime, timeout: None };
            let stored = client.delete(&IdentitySecret::from_bytes(&author), &label, options).await.map_err(failure)?;
            Ok(Answer::Stored { seq: stored.seq, copies: stored.copies, counts: wire::counts_out(stored.counts) })
        }
        Request::GetRecord { link, how } => get(client, &link, options(how)?).await.map_err(failure),
        Request::PutAgain { link, how } => put_again(client, &link, options(how)?).await.map_err(failure),
        Request::GetChunks { hashes } => client.get_chunks(hashes).await.map(Answer::Chunks).map_err(failure),
        Request::PutChunks { chunks, expiry } => {
            let is_fit = (1..=BATCH_CHUNKS).contains(&chunks.len());
            if !is_fit || chunks.iter().any(|chunk| chunk.len() != SEALED_CHUNK_LEN) {
                let message = "not one to four sealed chunks".to_owned();
                return Err(Failure { ending: Ending::Usage, message, counts: None });
            }
            let sealed = |bytes: Vec<u8>| SealedChunk { hash: blake3(&[&bytes]), bytes };
            let chunks = chunks.into_iter().map(sealed).collect();
            let stored = client.put_chunks(chunks, Expiry::from_wire(expiry)).await;
            stored.map(|()| Answer::ChunksStored).map_err(failure)
        }
        Request::LookChunks { hashes } => {
            let seen = client.look_chunks(hashes).await.map_err(failure)?;
            Ok(Answer::ChunksSeen(seen.into_iter().map(Seen::from).collect()))
        }
        Request::CurrentSeq { link, how } => current_seq(client, &link, options(how)?).await.map_err(failure),
    }
}

async fn view(facts: &Facts) -> Result<Answer, Failure> {
    let look = Arc::clone(&facts.store);
    let failed = |message| Failure { ending: Ending::Failed, message, counts: None };
    let looked = spawn_blocking(move || look()).await.map_err(|error| failed(error.to_string()))?;
    looked.map(Answer::Store).map_err(failed)
}

async fn get(client: &Client, link: &str, options: GetOptions) -> Result<Answer, ClientError> {
    let link: ContentLink = link.parse()?;
    let found = client.get_record(link.locator(client.network())?, options).await?;
    let counts = wire::counts_out(found.counts);
    let seen = found.seen.into_iter().map(Seen::from).collect();
    Ok(Answer::Record { payload: found.payload, seq: found.seq, attested: found.attested, seen, counts })
}

async fn put_again(client: &Client, link: &str, options: GetOptions) -> Result<Answer, ClientError> {
    let link: ContentLink = link.parse()?;
    let stored = client.put_again(link.locator(client.network())?, options).await?;
    Ok(Answer::Stored { seq: stored.seq, copies: stored.copies, counts: wire::counts_out(stored.counts) })
}

async fn current_seq(client: &Client, link: &str, options: GetOptions) -> Result<Answer, ClientError> {
    let link: ContentLink = link.parse()?;
    Ok(Answer::Seq(client.current_seq(link.locator(client.network())?, options).await?))
}

fn options(how: How) -> Result<GetOptions, Failure> {
    let unknown = || Failure { ending: Ending::Usage, message: "no such consistency".to_owned(), counts: None };
    let consistency = how.consistency().ok_or_else(unknown)?;
    Ok(GetOptions { consistency, seq_min: how.seq_min, timeout: how.timeout_us.map(Duration::from_micros) })
}

fn failure(error: ClientError) -> Failure {
    let counts = match &error {
        ClientError::Refused(_, counts) | ClientError::Deleted { counts, .. } => Some(wire::counts_out(*counts)),
        _ => None,
    };
    Failure { ending: error.ending(), message: error.to_string(), counts }
}

/// A command that asks for more than this node does is told so.
fn refuse_less(does: &Demands, asked: &Demands) -> Result<(), Failure> {
    let Some(less) = asked.unmet_by(does) else { return Ok(()) };
    let message = format!("the running node does less than was asked: {less}; `--set use_node=false` goes without it");
    Err(Failure { ending: Ending::PrivacyFloor, message, counts: None })
}
