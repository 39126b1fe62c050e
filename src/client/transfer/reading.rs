//! Reading what a link leads to: the root, the hashes level by level, then the content, a few groups at a time.
//! Source: spec/content.md §6.

use core::ops::Range;
use core::pin::Pin;
use core::task::{Context, Poll};
use std::collections::BTreeMap;
use std::io;

use tokio::io::{AsyncRead, AsyncWriteExt, DuplexStream, ReadBuf};
use tokio::task::JoinSet;

use super::Progress;
use super::carrier::Carrier;
use crate::client::{ClientError, Ending, GetOptions};
use crate::content::{Body, Chunks, ContentKind, ContentLink, Fetch, FileName, Layout, Level, Root, Wanted};
use crate::crypto::hash::blake3;
use crate::limits::{CHUNK_LEN, READ_CIRCUITS_MAX};
use crate::request::{Counts, Sighting};

/// What a link leads to: its root has come, its content not yet.
#[derive(Clone)]
pub struct Opened<C> {
    carrier: C,
    pub(super) root: Root,
    /// Sequence number of the root.
    pub seq: u64,
    /// Whether enough of the closest nodes signed that no newer root is there.
    pub attested: bool,
    /// What was asked for the root, and what came back.
    pub counts: Counts,
    /// BLAKE3 of the root: the same content has the same one, another content another.
    pub fingerprint: [u8; 32],
}

/// Content on its way, in pieces.
pub struct Download<C> {
    carrier: C,
    range: Range<u64>,
    source: Source,
    tasks: JoinSet<(u64, Answered)>,
}

/// Chunks in the order asked.
type Answered = Result<Vec<Option<Vec<u8>>>, ClientError>;

enum Source {
    Inline(Option<Vec<u8>>),
    Chunks(Box<Fetch>),
}

/// Bytes of content and where they stand.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Part {
    /// Offset in the content.
    pub offset: u64,
    /// The bytes.
    pub bytes: Vec<u8>,
}

/// Gets the root of what a link leads to.
///
/// # Errors
/// [`ClientError::Refused`] tells apart not found, unreachable, damaged, older and privacy floor; [`ClientError::Deleted`].
pub async fn open<C: Carrier>(carrier: &C, link: &ContentLink, options: GetOptions) -> Result<Opened<C>, ClientError> {
    Ok(open_seen(carrier, link, options).await?.0)
}

/// The same, with the copies of the root that were seen.
pub(super) async fn open_seen<C: Carrier>(
    carrier: &C,
    link: &ContentLink,
    options: GetOptions,
) -> Result<(Opened<C>, Vec<Sighting>), ClientError> {
    let found = carrier.get_root(link.locator(carrier.network())?, options).await?;
    let opened = Opened {
        carrier: carrier.clone(),
        root: Root::decode(&found.payload)?,
        seq: found.seq,
        attested: found.attested,
        counts: found.counts,
        fingerprint: blake3(&[&found.payload]),
    };
    Ok((opened, found.seen))
}

impl<C: Carrier> Opened<C> {
    /// The published name.
    #[must_use]
    pub fn name(&self) -> &FileName {
        &self.root.name
    }

    /// What the content is.
    #[must_use]
    pub fn kind(&self) -> ContentKind {
        self.root.kind
    }

    /// Bytes of content.
    #[must_use]
    pub fn len(&self) -> u64 {
        match &self.root.body {
            Body::Inline(content) => u64::try_from(content.len()).unwrap_or(u64::MAX),
            Body::Chunks(chunks) => chunks.len,
        }
    }

    /// Whether there is no content at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Begins to read the bytes of a range, as far as they exist. First the hashes come that the range needs.
    ///
    /// # Errors
    /// As [`Download::next`].
    pub async fn read(&self, range: Range<u64>) -> Result<Download<C>, ClientError> {
        let end = range.end.min(self.len());
        let range = range.start.min(end)..end;
        let source = match &self.root.body {
            Body::Inline(content) => Source::Inline(Some(content.clone())),
            Body::Chunks(chunks) => Source::Chunks(Box::new(self.fetch(chunks, 0, &range).await?)),
        };
        Ok(Download { carrier: self.carrier.clone(), range, source, tasks: JoinSet::new() })
    }

    /// Reads a range in order.
    ///
    /// # Errors
    /// As [`Download::next`].
    pub async fn reader(&self, range: Range<u64>) -> Result<ContentReader, ClientError> {
        Ok(ContentReader::new(self.read(range).await?))
    }

    /// All of a level that holds hashes, of which these are its own.
    pub(super) fn read_hashes(&self, chunks: &Chunks, level: (u8, Level), hashes: Vec<[u8; 32]>) -> Download<C> {
        let wanted = 0..level.1.data;
        let fetch = Fetch::new(chunks.secret.clone(), level, hashes, wanted);
        self.download(fetch, 0..level.1.len)
    }

    fn download(&self, fetch: Fetch, range: Range<u64>) -> Download<C> {
        let source = Source::Chunks(Box::new(fetch));
        Download { carrier: self.carrier.clone(), range, source, tasks: JoinSet::new() }
    }

    /// Bytes of a level, 0 for the content.
    pub(super) async fn read_level(
        &self,
        chunks: &Chunks,
        level: u8,
        range: Range<u64>,
    ) -> Result<Download<C>, ClientError> {
        let fetch = self.fetch(chunks, level, &range).await?;
        Ok(self.download(fetch, range))
    }

    /// The machine for a level, once those above have brought the hashes that it needs.
    async fn fetch(&self, chunks: &Chunks, level: u8, range: &Range<u64>) -> Result<Fetch, ClientError> {
        let lowest = level;
        let layout = Layout::of(chunks.len).map_err(crate::content::RootRefused::from)?;
        let (mut wanted, of_root) = layout.wanted(lowest, range);
        let mut hashes = cut(&chunks.hashes, &of_root);
        let secret = || chunks.secret.clone();
        while let Some(Wanted { number, level, chunks, bytes }) = wanted.pop() {
            let fetch = Fetch::new(secret(), (number, level), hashes, chunks);
            if number == lowest {
                return Ok(fetch);
            }
            let mut download = self.download(fetch, bytes.clone());
            let mut parts = BTreeMap::new();
            while let Some(part) = download.next().await? {
                parts.insert(part.offset, part.bytes);
            }
            let all = parts.into_values().collect::<Vec<_>>().concat();
            hashes = all.as_chunks::<32>().0.to_vec();
        }
        Err(ClientError::Stopped)
    }
}

/// Of hashes those in this range of bytes.
fn cut(hashes: &[[u8; 32]], bytes: &Range<u64>) -> Vec<[u8; 32]> {
    let at = |byte: u64| usize::try_from(byte / 32).unwrap_or(usize::MAX);
    hashes.get(at(bytes.start)..at(bytes.end)).unwrap_or_default().to_vec()
}

impl<C: Carrier> Download<C> {
    /// The next bytes of the range, in no order; `None` at its end. Every byte is checked against the author's signature.
    ///
    /// # Errors
    /// [`ClientError::Fetch`] when too few chunks come, or what came does not hold together; [`ClientError::Refused`] for what
    /// concerns all chunks alike, such as the privacy floor. The rest does not come then.
    pub async fn next(&mut self) -> Result<Option<Part>, ClientError> {
        loop {
            let fetch = match &mut self.source {
                Source::Inline(content) => {
                    let part = content.take().map(|bytes| Part { offset: 0, bytes });
                    return Ok(part.and_then(|part| clip(part, &self.range)));
                }
                Source::Chunks(fetch) => fetch,
            };
            while let Some(piece) = fetch.poll_piece() {
                let offset = piece.chunk.saturating_mul(u64::try_from(CHUNK_LEN).unwrap_or(u64::MAX));
                if let Some(part) = clip(Part { offset, bytes: piece.bytes }, &self.range) {
                    return Ok(Some(part));
                }
            }
            while self.tasks.len() < READ_CIRCUITS_MAX {
                let Some(batch) = fetch.next_batch() else { break };
                let carrier = self.carrier.clone();
                self.tasks.spawn(async move { (batch.id, carrier.get_chunks(batch.hashes).await) });
            }
            match self.tasks.join_next().await {
                // Nothing is asked for, and not all has come: a fault of this program, not an end.
                None if !fetch.is_done() => return Err(ClientError::Stopped),
                None => return Ok(None),
                Some(Err(_)) => return Err(ClientError::Stopped),
                Some(Ok((id, result))) => fetch.on_batch(id, answered(result)?)?,
            }
        }
    }

    /// Before the first [`Self::next`]: bytes that an earlier transfer has left, at the offset of a chunk and as long as one. Whether they
    /// are right; then they are not asked for.
    pub fn take(&mut self, offset: u64, bytes: &[u8]) -> bool {
        let chunk_len = u64::try_from(CHUNK_LEN).unwrap_or(u64::MAX);
        match &mut self.source {
            Source::Chunks(fetch) if offset.is_multiple_of(chunk_len) => fetch.take(offset / chunk_len, bytes),
            Source::Inline(_) | Source::Chunks(_) => false,
        }
    }

    /// Chunks that have come, and all that come.
    #[must_use]
    pub fn progress(&self) -> Progress {
        match &self.source {
            Source::Inline(_) => Progress::default(),
            Source::Chunks(fetch) => {
                let (done, total) = fetch.progress();
                Progress { done, total }
            }
        }
    }
}

/// Chunks that did not come are asked for again, or made from others; what concerns them all ends the transfer.
fn answered(result: Answered) -> Answered {
    match result {
        Err(error) if matches!(error.ending(), Ending::Unreachable | Ending::Damaged) && error.reached_anybody() => {
            Ok(Vec::new())
        }
        result => result,
    }
}

fn clip(mut part: Part, range: &Range<u64>) -> Option<Part> {
    let len = |bytes: &[u8]| u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    let end = part.offset.saturating_add(len(&part.bytes));
    let (from, to) = (part.offset.max(range.start), end.min(range.end));
    if from >= to {
        return None;
    }
    let at = |offset: u64| usize::try_from(offset - part.offset).unwrap_or(usize::MAX);
    let (cut_front, cut_end) = (at(from), at(to));
    part.bytes.truncate(cut_end);
    part.bytes.drain(..cut_front);
    Some(Part { offset: from, bytes: part.bytes })
}

/// A range of content, in order. Dropping it ends the transfer.
pub struct ContentReader {
    stream: DuplexStream,
    /// One task; it ends with this.
    task: JoinSet<Result<(), ClientError>>,
}

impl ContentReader {
    fn new<C: Carrier>(download: Download<C>) -> Self {
        let (stream, sink) = tokio::io::duplex(CHUNK_LEN);
        let mut task = JoinSet::new();
        task.spawn(in_order(download, sink));
        Self { stream, task }
    }
}

/// Parts wait for those before them; the machine has few under way.
async fn in_order<C: Carrier>(mut download: Download<C>, mut sink: DuplexStream) -> Result<(), ClientError> {
    let (mut next, mut waiting) = (download.range.start, BTreeMap::new());
    while let Some(part) = download.next().await? {
        waiting.insert(part.offset, part.bytes);
        while let Some(bytes) = waiting.remove(&next) {
            next += u64::try_from(bytes.len()).unwrap_or(u64::MAX);
            if sink.write_all(&bytes).await.is_err() {
                // The reader is gone.
                return Ok(());
            }
        }
    }
    if next == download.range.end { Ok(()) } else { Err(ClientError::Stopped) }
}

impl AsyncRead for ContentReader {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(context, buf);
        if !matches!(polled, Poll::Ready(Ok(()))) || buf.filled().len() > before || buf.remaining() == 0 {
            return polled;
        }
        // The end, or an error: only the task knows which.
        let Poll::Ready(ended) = self.task.poll_join_next(context) else { return Poll::Pending };
        Poll::Ready(ended.map_or(Ok(()), |ended| ended.map_err(io::Error::other)?.map_err(io::Error::other)))
    }
}
