//! Publishing what a stream brings: group by group, level by level, the root last. Source: spec/content.md §6.

use core::pin::Pin;
use core::task::{Context, Poll};
use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream};
use tokio::task::JoinSet;

use super::carrier::Carrier;
use super::{Progress, PublishOptions, Published};
use crate::client::{ClientError, Ending, PutOptions};
use crate::content::{
    Body, Chunks, ContentKind, ContentLink, FileName, GroupContent, Grouping, Layout, PublicationSecret, Root,
    RootRefused, TooLong,
};
use crate::crypto::CryptoRng;
use crate::crypto::hash::blake3;
use crate::crypto::keys::IdentitySecret;
use crate::disk::TransferLog;
use crate::limits::{
    BATCH_CHUNKS, CHUNK_LEN, CHUNK_TRIES_MAX, CONTENT_LEVELS_MAX, FILE_LEN_MAX, TRANSFER_CIRCUITS_MAX,
};
use crate::net::Clock;
use crate::record::Locator;
use crate::request::SealedChunk;
use crate::time::{Duration, UnixTime};
use crate::wire::record::Expiry;

/// What is remembered of a publication, so that it can go on after an interruption.
pub trait Journal: Send {
    /// Whether this batch of chunks is stored with all its receipts.
    fn is_stored(&self, batch: BatchNo, digest: &[u8; 32]) -> bool;

    /// It is now.
    ///
    /// # Errors
    /// When it cannot be kept; the transfer goes on, and would have to be made again.
    fn stored(&mut self, batch: BatchNo, digest: [u8; 32]) -> io::Result<()>;
}

/// Four chunks of a level.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct BatchNo {
    /// The level, 0 for the content.
    pub level: u8,
    /// Which four, from 0.
    pub batch: u32,
}

/// Nothing is remembered.
impl Journal for () {
    fn is_stored(&self, _: BatchNo, _: &[u8; 32]) -> bool {
        false
    }

    fn stored(&mut self, _: BatchNo, _: [u8; 32]) -> io::Result<()> {
        Ok(())
    }
}

/// Stores chunks and root, with no journal.
pub(super) async fn publish<C: Carrier, R: AsyncRead + Unpin + Send>(
    carrier: &C,
    source: Source<R>,
    sealing: &Sealing,
    options: PublishOptions,
    progress: &(dyn Fn(Progress) + Send + Sync),
) -> Result<Published, ClientError> {
    let prepared = store(carrier, source, sealing, &mut (), progress).await?;
    // The root ends with its chunks, however long it took to store them.
    let lifetime = sealing.expiry.lifetime_from(Clock::unix());
    let put = PutOptions { previous: options.previous, above: options.above, lifetime, timeout: None };
    prepared.publish(carrier, &sealing.author, &options.label, put).await
}

/// What is published, and under which name.
pub struct Source<R> {
    /// The published name.
    pub name: FileName,
    /// What it is.
    pub kind: ContentKind,
    /// The bytes.
    pub bytes: R,
    /// How many they are, if that is known: for the progress, and to refuse what is too long before anything is sent.
    pub len: Option<u64>,
}

/// The keys of a publication, and when its chunks end.
#[derive(Clone, Debug)]
pub struct Sealing {
    /// Of its chunks.
    pub secret: PublicationSecret,
    /// Who signs the root.
    pub author: IdentitySecret,
    /// When its chunks end.
    pub expiry: Expiry,
}

impl Sealing {
    /// A fresh one, for chunks that end so long after now; with a key of its own, if no author is given.
    pub fn fresh(author: Option<IdentitySecret>, lifetime: Duration, now: UnixTime, rng: &mut dyn CryptoRng) -> Self {
        let secret = PublicationSecret::generate(rng);
        let author = author.unwrap_or_else(|| IdentitySecret::generate(rng));
        Self { secret, author, expiry: Expiry::at_least(UnixTime(now.0.saturating_add(lifetime.as_secs()))) }
    }
}

/// Stores the chunks of what a stream brings over any carrier; see [`crate::client::Client::publish_from`]. What the journal says is stored
/// is not sent again.
///
/// # Errors
/// As there.
pub async fn store<C: Carrier, R: AsyncRead + Unpin + Send>(
    carrier: &C,
    mut source: Source<R>,
    sealing: &Sealing,
    journal: &mut dyn Journal,
    progress: &(dyn Fn(Progress) + Send + Sync),
) -> Result<Prepared, ClientError> {
    let total = source.len.map(Layout::of).transpose().map_err(RootRefused::from)?.map_or(0, |layout| layout.chunks());
    let inline_max = Root::inline_len_max(&source.name);
    let mut first = Vec::new();
    let most = u64::try_from(inline_max + 1).unwrap_or(u64::MAX);
    (&mut source.bytes).take(most).read_to_end(&mut first).await.map_err(ClientError::Source)?;
    let (body, len, chunks) = if first.len() <= inline_max {
        let len = u64::try_from(first.len()).unwrap_or(u64::MAX);
        (Body::Inline(first), len, 0)
    } else {
        let secret = sealing.secret.clone();
        let expiry = sealing.expiry;
        let mut sending = Sending::new(carrier, (secret, expiry), journal, progress, total);
        let (len, hashes) = sending.levels(io::Cursor::new(first).chain(source.bytes)).await?;
        let chunks = sending.done;
        (Body::Chunks(Chunks { len, secret: sealing.secret.clone(), hashes }), len, chunks)
    };
    let payload = Root { name: source.name, kind: source.kind, body }.encode()?;
    Ok(Prepared { payload, len, chunks })
}

/// Content of which all chunks are stored: its root is missing.
#[derive(Clone)]
pub struct Prepared {
    pub(super) payload: Vec<u8>,
    /// Bytes of content.
    pub len: u64,
    /// Chunks stored.
    pub chunks: u64,
}

impl Prepared {
    /// Stores the root: from now on the link leads to the content.
    ///
    /// # Errors
    /// [`ClientError::Refused`], as [`crate::client::Client::put_record`].
    pub async fn publish<C: Carrier>(
        self,
        carrier: &C,
        author: &IdentitySecret,
        label: &[u8],
        options: PutOptions,
    ) -> Result<Published, ClientError> {
        let stored = carrier.put_root(author, label, &self.payload, options).await?;
        let link = ContentLink::new(carrier.network(), Locator::of_author(author, label)?);
        let Self { len, chunks, .. } = self;
        Ok(Published { link, seq: stored.seq, len, chunks, root_copies: stored.copies, counts: stored.counts })
    }
}

impl Journal for TransferLog {
    fn is_stored(&self, batch: BatchNo, digest: &[u8; 32]) -> bool {
        self.has(batch.level, batch.batch, digest)
    }

    fn stored(&mut self, batch: BatchNo, digest: [u8; 32]) -> io::Result<()> {
        self.add(batch.level, batch.batch, digest)
    }
}

/// Batches of chunks on their way, a few at a time.
pub(super) struct Sending<'a, C> {
    carrier: &'a C,
    secret: PublicationSecret,
    expiry: Expiry,
    journal: &'a mut dyn Journal,
    progress: &'a (dyn Fn(Progress) + Send + Sync),
    done: u64,
    total: u64,
    /// Chunks of batches that have fewer receipts than asked for.
    partly: u64,
    /// Batches in a row of which nobody took anything, and how many may be before all of it ends.
    refused_in_row: usize,
    refused_in_row_max: usize,
    tasks: JoinSet<Sent>,
}

struct Sent {
    batch: BatchNo,
    digest: [u8; 32],
    chunks: u64,
    result: Result<(), ClientError>,
}

impl<'a, C: Carrier> Sending<'a, C> {
    pub(super) fn new(
        carrier: &'a C,
        (secret, expiry): (PublicationSecret, Expiry),
        journal: &'a mut dyn Journal,
        progress: &'a (dyn Fn(Progress) + Send + Sync),
        total: u64,
    ) -> Self {
        Self {
            carrier,
            secret,
            expiry,
            journal,
            progress,
            done: 0,
            total,
            partly: 0,
            refused_in_row: 0,
            refused_in_row_max: 0,
            tasks: JoinSet::new(),
        }
    }

    /// So many batches in a row may find nobody who takes them: the others are worth their way all the same.
    pub(super) fn bears(mut self, refused_in_row_max: usize) -> Self {
        self.refused_in_row_max = refused_in_row_max;
        self
    }

    /// Stores these chunks of a group again, by index in their level, each with the name that it must come to; how many came to another one,
    /// and are not stored.
    pub(super) async fn again(
        &mut self,
        level: u8,
        content: GroupContent,
        wanted: &BTreeMap<u64, [u8; 32]>,
    ) -> Result<u64, ClientError> {
        let first = content.group.first_index;
        let sealed: BTreeMap<u64, SealedChunk> =
            (first..).zip(seal(self.secret.clone(), level, content).await?).collect();
        let is_good = |(index, chunk): &(u64, SealedChunk)| wanted.get(index) == Some(&chunk.hash);
        let mut good = sealed.into_iter().filter(is_good).peekable();
        let mut found = 0;
        // In the fours in which they were published: others would join what those keep apart.
        while let Some(number) = good.peek().map(|(index, _)| batch_of(first, *index)) {
            let batch = BatchNo { level, batch: u32::try_from(number).unwrap_or(u32::MAX) };
            let chunks: Vec<SealedChunk> =
                core::iter::from_fn(|| good.next_if(|(index, _)| batch_of(first, *index) == number))
                    .map(|(_, chunk)| chunk)
                    .collect();
            found += u64::try_from(chunks.len()).unwrap_or(u64::MAX);
            self.batch(batch, chunks).await?;
        }
        Ok(u64::try_from(wanted.len()).unwrap_or(u64::MAX).saturating_sub(found))
    }

    /// Waits for all that is under way: chunks that have all their receipts, and those that have not.
    pub(super) async fn end(mut self) -> Result<(u64, u64), ClientError> {
        while !self.tasks.is_empty() {
            self.join().await?;
        }
        Ok((self.done, self.partly))
    }

    /// All levels, the content first; its length, and the hashes for the root.
    async fn levels(&mut self, content: impl AsyncRead + Unpin + Send) -> Result<(u64, Vec<[u8; 32]>), ClientError> {
        let (len, mut hashes) = self.level(0, content).await?;
        let layout = Layout::of(len).map_err(RootRefused::from)?;
        for (number, level) in (1_u8..).zip(layout.levels().iter().skip(1)) {
            let bytes = core::mem::take(&mut hashes).concat();
            let (above_len, above) = self.level(number, io::Cursor::new(bytes)).await?;
            debug_assert_eq!(above_len, level.len);
            hashes = above;
        }
        while !self.tasks.is_empty() {
            self.join().await?;
        }
        if self.partly > 0 {
            return Err(ClientError::PartlyPublished { missing: self.partly, chunks: layout.chunks() });
        }
        Ok((len, hashes))
    }

    async fn level(
        &mut self,
        level: u8,
        mut bytes: impl AsyncRead + Unpin + Send,
    ) -> Result<(u64, Vec<[u8; 32]>), ClientError> {
        let (mut grouping, mut len, mut hashes) = (Grouping::default(), 0, Vec::new());
        let chunk_len = u64::try_from(CHUNK_LEN).unwrap_or(u64::MAX);
        let mut is_over = false;
        while !is_over {
            let mut chunk = Vec::with_capacity(CHUNK_LEN);
            (&mut bytes).take(chunk_len).read_to_end(&mut chunk).await.map_err(ClientError::Source)?;
            let read = u64::try_from(chunk.len()).unwrap_or(u64::MAX);
            len += read;
            if len > FILE_LEN_MAX {
                return Err(RootRefused::TooLong(TooLong).into());
            }
            if read > 0 {
                grouping.push(chunk);
            }
            is_over = read < chunk_len;
            if is_over {
                grouping.end(level == 0);
            }
            while let Some(group) = grouping.next_group() {
                hashes.extend(self.group(level, group).await?);
            }
        }
        Ok((len, hashes))
    }

    /// Seals a group and hands its chunks on, as places become free; their hashes.
    async fn group(&mut self, level: u8, content: GroupContent) -> Result<Vec<[u8; 32]>, ClientError> {
        let first = content.group.first_index;
        let sealed = seal(self.secret.clone(), level, content).await?;
        let hashes = sealed.iter().map(|chunk| chunk.hash).collect();
        let batch_len = u64::try_from(BATCH_CHUNKS).unwrap_or(u64::MAX);
        let mut sealed = sealed.into_iter();
        for number in first / batch_len.. {
            let chunks: Vec<SealedChunk> = sealed.by_ref().take(BATCH_CHUNKS).collect();
            if chunks.is_empty() {
                break;
            }
            let batch = BatchNo { level, batch: u32::try_from(number).unwrap_or(u32::MAX) };
            self.batch(batch, chunks).await?;
        }
        Ok(hashes)
    }

    async fn batch(&mut self, batch: BatchNo, chunks: Vec<SealedChunk>) -> Result<(), ClientError> {
        let names: Vec<u8> = chunks.iter().flat_map(|chunk| chunk.hash).collect();
        let (digest, count) = (blake3(&[&names]), u64::try_from(chunks.len()).unwrap_or(u64::MAX));
        if self.journal.is_stored(batch, &digest) {
            self.count(count);
            return Ok(());
        }
        while self.tasks.len() >= TRANSFER_CIRCUITS_MAX {
            self.join().await?;
        }
        let (carrier, expiry) = (self.carrier.clone(), self.expiry);
        self.tasks.spawn(async move {
            let result = put(&carrier, chunks, expiry).await;
            Sent { batch, digest, chunks: count, result }
        });
        Ok(())
    }

    async fn join(&mut self) -> Result<(), ClientError> {
        let Some(Ok(sent)) = self.tasks.join_next().await else { return Err(ClientError::Stopped) };
        match sent.result {
            Ok(()) => {
                if let Err(error) = self.journal.stored(sent.batch, sent.digest) {
                    tracing::warn!(%error, "the journal of this transfer is not kept: after an interruption it begins anew");
                }
                self.count(sent.chunks);
                self.refused_in_row = 0;
            }
            // The others go on: what is stored need not be sent again.
            Err(error) if error.ending() == Ending::Partly => {
                self.partly += sent.chunks;
                self.refused_in_row = 0;
            }
            Err(error)
                if error.ending() == Ending::Unreachable
                    && error.reached_anybody()
                    && self.refused_in_row < self.refused_in_row_max =>
            {
                self.partly += sent.chunks;
                self.refused_in_row += 1;
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn count(&mut self, chunks: u64) {
        self.done += chunks;
        (self.progress)(Progress { done: self.done, total: self.total });
    }
}

/// The batch in which a chunk was published.
fn batch_of(first: u64, index: u64) -> u64 {
    let batch_len = u64::try_from(BATCH_CHUNKS).unwrap_or(u64::MAX);
    first / batch_len + (index - first) / batch_len
}

async fn seal(secret: PublicationSecret, level: u8, content: GroupContent) -> Result<Vec<SealedChunk>, ClientError> {
    let sealed = tokio::task::spawn_blocking(move || content.seal(&secret, level));
    sealed.await.map_err(|_| ClientError::Stopped)?.map_err(|_| ClientError::Stopped)
}

/// A batch that was stored in part, or not at all, is stored again: who has a chunk signs again.
async fn put<C: Carrier>(carrier: &C, chunks: Vec<SealedChunk>, expiry: Expiry) -> Result<(), ClientError> {
    let mut tries = 1;
    loop {
        match carrier.put_chunks(chunks.clone(), expiry).await {
            Err(error)
                if tries < CHUNK_TRIES_MAX
                    && matches!(error.ending(), Ending::Partly | Ending::Unreachable)
                    && error.reached_anybody() =>
            {
                tries += 1;
            }
            result => return result,
        }
    }
}

/// Takes what is to be published; [`Self::finish`] brings the link. Dropping it ends the transfer, and nothing is published.
pub struct ContentWriter {
    sink: DuplexStream,
    /// One task; it ends with this.
    task: JoinSet<Result<Published, ClientError>>,
}

impl ContentWriter {
    pub(super) fn new<C: Carrier>(
        carrier: &C,
        (name, kind): (FileName, ContentKind),
        sealing: Sealing,
        options: PublishOptions,
        progress: Arc<dyn Fn(Progress) + Send + Sync>,
    ) -> Self {
        let (sink, bytes) = tokio::io::duplex(CHUNK_LEN);
        let carrier = carrier.clone();
        let source = Source { name, kind, bytes, len: None };
        let mut task = JoinSet::new();
        task.spawn(async move { publish(&carrier, source, &sealing, options, &|step| progress(step)).await });
        Self { sink, task }
    }

    /// Nothing more comes: stores what is left, then the root.
    ///
    /// # Errors
    /// As [`crate::client::Client::publish`].
    pub async fn finish(mut self) -> Result<Published, ClientError> {
        let _ = self.sink.shutdown().await;
        match self.task.join_next().await {
            Some(Ok(published)) => published,
            _ => Err(ClientError::Stopped),
        }
    }
}

impl AsyncWrite for ContentWriter {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.sink).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.sink).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.sink).poll_shutdown(context)
    }
}

const _: () = assert!(CONTENT_LEVELS_MAX < 255);

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::ChaCha20Rng;

    use super::*;
    use crate::client::fixture::{Memory, author, steps_away};

    // [CONT-W-004] [CONT-W-016]
    #[test]
    fn no_two_publications_have_a_secret_in_common_nor_those_without_an_author_a_key() {
        let mut rng = ChaCha20Rng::seed_from_u64(1);
        let mut fresh = |author| Sealing::fresh(author, Duration::ZERO, UnixTime(0), &mut rng);
        let [one, other] = [fresh(None), fresh(None)];
        assert!(one.secret.as_bytes() != other.secret.as_bytes() && one.author.public() != other.author.public());
        let [one, other] = [fresh(Some(author())), fresh(Some(author()))];
        assert!(one.secret.as_bytes() != other.secret.as_bytes() && one.author.public() == other.author.public());
    }

    // [CONT-W-020] [CONT-W-021]
    #[tokio::test]
    async fn chunks_go_four_by_four_by_their_index_and_no_root_before_all_are_kept() {
        let (memory, _) = Memory::with(5, 4).await;
        let Body::Chunks(chunks) = Root::decode(&memory.held().payload).unwrap().body else { panic!("it has chunks") };
        let expected: Vec<Vec<[u8; 32]>> = chunks.hashes.chunks(BATCH_CHUNKS).map(<[[u8; 32]]>::to_vec).collect();
        let mut published = memory.held().published.clone();
        published.sort_by_key(|batch| expected.iter().position(|one| one == batch));
        assert!(published == expected);

        // The same once more, where one chunk finds nobody.
        memory.held().refused.insert(chunks.hashes[0]);
        let root = || {
            let held = memory.held();
            (held.seq, held.payload.clone())
        };
        let before = root();
        let sealing = Sealing {
            secret: PublicationSecret::from_bytes(*chunks.secret.as_bytes()),
            author: author(),
            expiry: steps_away(4),
        };
        let bytes: Vec<u8> = (0..5 * CHUNK_LEN).map(|at| (at % 251).to_le_bytes()[0]).collect();
        let name = FileName::new("file").unwrap();
        let source = Source { name, kind: ContentKind::File, bytes: std::io::Cursor::new(bytes), len: None };
        let stored = store(&memory, source, &sealing, &mut (), &|_| ()).await;
        assert!(stored.is_err());
        assert!(memory.held().puts.iter().all(|batch| expected[1..].contains(batch)), "whole batches, or nothing");
        assert!(before == root());
    }
}
