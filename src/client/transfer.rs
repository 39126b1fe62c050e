//! Files through the client: sealed chunks in batches over several circuits, the root last when publishing, first when getting.
//! Source: spec/content.md §5.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::task::JoinSet;

use super::{Client, ClientError, GetOptions, PutOptions, lock};
use crate::content::{
    Body, ContentLink, FileName, PublicationSecret, Root, RootRefused, decode_hashes, encode_hashes, open_chunk,
    seal_chunk,
};
use crate::crypto::forget_past;
use crate::crypto::keys::IdentitySecret;
use crate::limits::{BATCH_CHUNKS, CHUNK_LEN, EXPIRY_STEP_S, FILE_LEN_MAX, TRANSFER_CIRCUITS_MAX, TRANSFER_TIMEOUT};
use crate::node::Operation;
use crate::record::Locator;
use crate::request::{Counts, SealedChunk, Success};
use crate::time::Duration;
use crate::wire::record::Expiry;

/// Index of the chunk that holds the hashes of all others.
const HASHES_INDEX: u32 = u32::MAX;

/// Something published.
#[derive(Clone, Debug)]
pub struct Published {
    /// What to pass on.
    pub link: ContentLink,
    /// Sequence number of the root: what an update must name.
    pub seq: u64,
    /// Chunks stored, the chunk of hashes among them.
    pub chunks: usize,
    /// Fewest receipts of any chunk over its two locations; `None` when the content stands in the root.
    pub chunk_copies_min: Option<usize>,
    /// Receipts of the root, for each location.
    pub root_copies: Vec<usize>,
    /// What was asked for the root, and what came back.
    pub counts: Counts,
}

/// Something got.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Content {
    /// The published name.
    pub name: FileName,
    /// The bytes.
    pub bytes: Vec<u8>,
    /// Sequence number of the root.
    pub seq: u64,
    /// Whether enough of the closest nodes signed that no newer root is there.
    pub attested: bool,
    /// What was asked for the root, and what came back.
    pub counts: Counts,
}

/// How far a transfer has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Progress {
    /// Chunks done.
    pub done: usize,
    /// Chunks in all; 0 as long as it is not known.
    pub total: usize,
}

/// How something is published.
#[derive(Clone, Debug)]
pub struct PublishOptions {
    /// Who signs; a fresh one-time key if none is given.
    pub author: Option<IdentitySecret>,
    /// Under which label of that author.
    pub label: Vec<u8>,
    /// The root's sequence number that is replaced, if any.
    pub previous: Option<u64>,
    /// As [`PutOptions::above`].
    pub above: u64,
    /// How long it shall be kept, rounded up to six hours.
    pub lifetime: Duration,
}

impl Default for PublishOptions {
    fn default() -> Self {
        let lifetime = Duration::from_secs(4 * EXPIRY_STEP_S);
        Self { author: None, label: Vec::new(), previous: None, above: 0, lifetime }
    }
}

impl Client {
    /// Publishes a file. Its link is good once this returns: every chunk and the root have the receipts that were asked for.
    ///
    /// # Errors
    /// [`ClientError::Refused`] with [`crate::request::Refused::Partly`] when fewer copies than asked have a receipt;
    /// [`ClientError::Root`] for files over 64 MiB, before anything is sent.
    pub async fn publish(
        &self,
        name: &FileName,
        content: Vec<u8>,
        options: PublishOptions,
        progress: impl Fn(Progress) + Send,
    ) -> Result<Published, ClientError> {
        let len = u64::try_from(content.len()).unwrap_or(u64::MAX);
        if len > FILE_LEN_MAX {
            return Err(RootRefused::TooLong.into());
        }
        let (secret, fresh) = {
            let mut rng = lock(&self.inner.rng);
            let drawn = (PublicationSecret::generate(&mut *rng), IdentitySecret::generate(&mut *rng));
            forget_past(&mut rng);
            drawn
        };
        let author = options.author.unwrap_or(fresh);
        let expiry = self.expiry(options.lifetime);
        let (body, chunks, chunk_copies_min) = if content.len() <= Root::inline_len_max(name) {
            (Body::Inline(content), 0, None)
        } else {
            let (hashes, copies) = self.put_chunks(&secret, content, expiry, &progress).await?;
            let count = hashes.len();
            if Root::takes_hashes(count) {
                (Body::Chunks { len, secret, hashes }, count, Some(copies))
            } else {
                let tree = seal_chunk(&secret, HASHES_INDEX, &encode_hashes(&hashes)?)?;
                let hashes = tree.hash;
                let tree_copies = self.put_batch(vec![tree], expiry).await?;
                (Body::Tree { len, secret, hashes }, count + 1, Some(copies.min(tree_copies)))
            }
        };
        let payload = Root { name: name.clone(), body }.encode()?;
        let put =
            PutOptions { previous: options.previous, above: options.above, lifetime: options.lifetime, timeout: None };
        let stored = self.put_record(&author, &options.label, &payload, put).await?;
        let locator = Locator::of_author(&author, &options.label)?;
        let link = ContentLink::new(self.network(), locator);
        Ok(Published {
            link,
            seq: stored.seq,
            chunks,
            chunk_copies_min,
            root_copies: stored.copies,
            counts: stored.counts,
        })
    }

    /// Gets what a link names, and checks every byte of it.
    ///
    /// # Errors
    /// [`ClientError::Refused`] tells apart not found, unreachable, damaged, older and privacy floor.
    pub async fn get(
        &self,
        link: &ContentLink,
        options: GetOptions,
        progress: impl Fn(Progress) + Send,
    ) -> Result<Content, ClientError> {
        let found = self.get_record(link.locator(self.network())?, options).await?;
        let Root { name, body } = Root::decode(&found.payload)?;
        let bytes = match body {
            Body::Inline(bytes) => bytes,
            Body::Chunks { len, secret, hashes } => self.get_chunks(&secret, &hashes, len, &progress).await?,
            Body::Tree { len, secret, hashes } => {
                let count = usize::try_from(len).unwrap_or(usize::MAX).div_ceil(CHUNK_LEN);
                let sealed = self.get_batch(vec![hashes]).await?;
                let sealed = sealed.into_iter().next().ok_or(RootRefused::Malformed)?;
                let hashes = decode_hashes(&open_chunk(&secret, HASHES_INDEX, sealed, count * 32)?, len)?;
                self.get_chunks(&secret, &hashes, len, &progress).await?
            }
        };
        Ok(Content { name, bytes, seq: found.seq, attested: found.attested, counts: found.counts })
    }

    async fn put_chunks(
        &self,
        secret: &PublicationSecret,
        content: Vec<u8>,
        expiry: Expiry,
        progress: &(impl Fn(Progress) + Send),
    ) -> Result<(Vec<[u8; 32]>, usize), ClientError> {
        let total = content.len().div_ceil(CHUNK_LEN);
        let (mut hashes, mut copies_min) = (Vec::with_capacity(total), usize::MAX);
        let (mut tasks, mut done) = (JoinSet::new(), 0);
        progress(Progress { done, total });
        let mut index = 0;
        for batch in content.chunks(CHUNK_LEN * BATCH_CHUNKS) {
            let mut sealed = Vec::with_capacity(BATCH_CHUNKS);
            for chunk in batch.chunks(CHUNK_LEN) {
                sealed.push(seal_chunk(secret, index, chunk)?);
                index += 1;
            }
            hashes.extend(sealed.iter().map(|chunk| chunk.hash));
            // Each batch takes a circuit for each of its two locations.
            while tasks.len() >= TRANSFER_CIRCUITS_MAX / 2 {
                let (count, copies) = joined(tasks.join_next().await)?;
                (done, copies_min) = (done + count, copies_min.min(copies));
                progress(Progress { done, total });
            }
            let client = self.clone();
            tasks.spawn(async move {
                let count = sealed.len();
                client.put_batch(sealed, expiry).await.map(|copies| (count, copies))
            });
        }
        while !tasks.is_empty() {
            let (count, copies) = joined(tasks.join_next().await)?;
            (done, copies_min) = (done + count, copies_min.min(copies));
            progress(Progress { done, total });
        }
        Ok((hashes, copies_min))
    }

    async fn put_batch(&self, chunks: Vec<SealedChunk>, expiry: Expiry) -> Result<usize, ClientError> {
        match self.run(Operation::ChunkPut { chunks, expiry }, TRANSFER_TIMEOUT).await? {
            (Success::ChunksStored { copies_min }, _) => Ok(copies_min),
            _ => Err(ClientError::Stopped),
        }
    }

    async fn get_chunks(
        &self,
        secret: &PublicationSecret,
        hashes: &[[u8; 32]],
        len: u64,
        progress: &(impl Fn(Progress) + Send),
    ) -> Result<Vec<u8>, ClientError> {
        let (total, len) = (hashes.len(), usize::try_from(len).map_err(|_| RootRefused::TooLong)?);
        let mut opened: BTreeMap<usize, Vec<u8>> = BTreeMap::new();
        let secret = Arc::new(secret.clone());
        let mut tasks = JoinSet::new();
        progress(Progress { done: 0, total });
        for (at, batch) in hashes.chunks(BATCH_CHUNKS).enumerate() {
            while tasks.len() >= TRANSFER_CIRCUITS_MAX {
                let (first, chunks): (usize, Vec<Vec<u8>>) = joined(tasks.join_next().await)?;
                opened.extend((first..).zip(chunks));
                progress(Progress { done: opened.len(), total });
            }
            let (client, secret, batch) = (self.clone(), Arc::clone(&secret), batch.to_vec());
            let first = at * BATCH_CHUNKS;
            tasks.spawn(async move { client.get_and_open(&secret, first, batch, len).await.map(|got| (first, got)) });
        }
        while !tasks.is_empty() {
            let (first, chunks) = joined(tasks.join_next().await)?;
            opened.extend((first..).zip(chunks));
            progress(Progress { done: opened.len(), total });
        }
        let bytes = opened.into_values().collect::<Vec<_>>().concat();
        if bytes.len() == len { Ok(bytes) } else { Err(RootRefused::Malformed.into()) }
    }

    async fn get_and_open(
        &self,
        secret: &PublicationSecret,
        first: usize,
        hashes: Vec<[u8; 32]>,
        len: usize,
    ) -> Result<Vec<Vec<u8>>, ClientError> {
        let sealed = self.get_batch(hashes).await?;
        let mut opened = Vec::with_capacity(sealed.len());
        for (index, bytes) in (first..).zip(sealed) {
            let rest = len.saturating_sub(index * CHUNK_LEN).min(CHUNK_LEN);
            let number = u32::try_from(index).map_err(|_| RootRefused::TooLong)?;
            opened.push(open_chunk(secret, number, bytes, rest)?);
        }
        Ok(opened)
    }

    async fn get_batch(&self, hashes: Vec<[u8; 32]>) -> Result<Vec<Vec<u8>>, ClientError> {
        match self.run(Operation::ChunkGet { hashes }, TRANSFER_TIMEOUT).await? {
            (Success::Chunks(chunks), _) => Ok(chunks),
            _ => Err(ClientError::Stopped),
        }
    }
}

type Joined<T> = Option<Result<Result<T, ClientError>, tokio::task::JoinError>>;

fn joined<T>(task: Joined<T>) -> Result<T, ClientError> {
    match task {
        Some(Ok(result)) => result,
        _ => Err(ClientError::Stopped),
    }
}
