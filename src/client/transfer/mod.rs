//! Content of any length through the client: published from a stream, read as a stream or by ranges; a few chunks in memory.
//! Source: spec/content.md §6.

mod auditing;
mod carrier;
mod publishing;
mod reading;
mod upkeep;

use std::sync::Arc;

use tokio::io::AsyncRead;

pub use self::auditing::{Audit, AuditOptions, Health, audit};
pub use self::carrier::Carrier;
use self::publishing::publish;
pub use self::publishing::{BatchNo, ContentWriter, Journal, Prepared, Sealing, Source, store};
pub use self::reading::{ContentReader, Download, Opened, Part, open};
pub use self::upkeep::{Extension, Goal, Tended, Upkeep};
use super::{Client, ClientError, GetOptions, lock};
use crate::content::{ContentKind, ContentLink, FileName};
use crate::crypto::forget_past;
use crate::crypto::keys::IdentitySecret;
use crate::limits::{EXPIRY_STEP_S, GET_WHOLE_MAX};
use crate::request::Counts;
use crate::time::Duration;

/// Something published.
#[derive(Clone, Debug)]
pub struct Published {
    /// What to pass on.
    pub link: ContentLink,
    /// Sequence number of the root: what an update must name.
    pub seq: u64,
    /// Bytes of content.
    pub len: u64,
    /// Chunks stored, those of parity and of hashes among them; each has all its receipts. 0 when the content stands in the root.
    pub chunks: u64,
    /// Receipts of the root, for each location.
    pub root_copies: Vec<usize>,
    /// What was asked for the root, and what came back.
    pub counts: Counts,
}

/// Something got, whole.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Content {
    /// The published name.
    pub name: FileName,
    /// What it is.
    pub kind: ContentKind,
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
    pub done: u64,
    /// Chunks in all; 0 as long as it is not known.
    pub total: u64,
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
    /// As [`super::PutOptions::above`].
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
    /// Publishes bytes at hand; see [`Self::publish_from`].
    ///
    /// # Errors
    /// As [`Self::publish_from`].
    pub async fn publish(
        &self,
        name: &FileName,
        content: Vec<u8>,
        options: PublishOptions,
        progress: impl Fn(Progress) + Send + Sync,
    ) -> Result<Published, ClientError> {
        let len = u64::try_from(content.len()).ok();
        let source = Source { name: name.clone(), kind: ContentKind::File, bytes: std::io::Cursor::new(content), len };
        self.publish_from(source, options, progress).await
    }

    /// Publishes what a stream brings, a group of chunks in memory at a time. The link is good once this returns: every chunk and
    /// the root have the receipts that were asked for. What can go on after an interruption has a [`Journal`] and keeps its
    /// [`Sealing`]: [`store`].
    ///
    /// # Errors
    /// [`ClientError::PartlyPublished`] when chunks have fewer receipts than asked for: no root was stored then; [`ClientError::Refused`] for the root; [`ClientError::Root`] for more than
    /// [`crate::limits::FILE_LEN_MAX`] bytes.
    pub async fn publish_from<R: AsyncRead + Unpin + Send>(
        &self,
        source: Source<R>,
        options: PublishOptions,
        progress: impl Fn(Progress) + Send + Sync,
    ) -> Result<Published, ClientError> {
        publish(self, source, &self.sealing(&options), options, &progress).await
    }

    /// Publishes what is written into the writer; [`ContentWriter::finish`] brings the link.
    #[must_use]
    pub fn writer(
        &self,
        name: FileName,
        kind: ContentKind,
        options: PublishOptions,
        progress: Arc<dyn Fn(Progress) + Send + Sync>,
    ) -> ContentWriter {
        ContentWriter::new(self, (name, kind), self.sealing(&options), options, progress)
    }

    /// Gets the root of what a link leads to; the content can be read then, by ranges or as a stream.
    ///
    /// # Errors
    /// As [`open`].
    pub async fn open(&self, link: &ContentLink, options: GetOptions) -> Result<Opened<Self>, ClientError> {
        open(self, link, options).await
    }

    /// Gets what a link names, whole, and checks every byte of it.
    ///
    /// # Errors
    /// As [`Self::open`] and [`Download::next`]; [`ClientError::Whole`] for more than [`GET_WHOLE_MAX`] bytes.
    pub async fn get(
        &self,
        link: &ContentLink,
        options: GetOptions,
        progress: impl Fn(Progress) + Send,
    ) -> Result<Content, ClientError> {
        let opened = self.open(link, options).await?;
        if opened.len() > GET_WHOLE_MAX {
            return Err(ClientError::Whole(opened.len()));
        }
        let mut download = opened.read(0..opened.len()).await?;
        let mut parts = std::collections::BTreeMap::new();
        progress(download.progress());
        while let Some(part) = download.next().await? {
            parts.insert(part.offset, part.bytes);
            progress(download.progress());
        }
        let bytes = parts.into_values().collect::<Vec<_>>().concat();
        let Opened { seq, attested, counts, .. } = opened;
        Ok(Content { name: opened.name().clone(), kind: opened.kind(), bytes, seq, attested, counts })
    }

    /// Asks the holders of what a link leads to how many copies of each part they have, and until when; see [`audit`].
    ///
    /// # Errors
    /// As [`audit`].
    pub async fn verify(
        &self,
        link: &ContentLink,
        options: AuditOptions,
        progress: impl Fn(Progress) + Send + Sync,
    ) -> Result<Audit, ClientError> {
        let mut rng = self.inner.runtime.entropy().generator();
        audit(self, link, options, &mut rng, &progress).await
    }

    /// Fresh keys, and the author's if there is one.
    fn sealing(&self, options: &PublishOptions) -> Sealing {
        let mut rng = lock(&self.inner.rng);
        let now = self.inner.runtime.clock().now().unix;
        let sealing = Sealing::fresh(options.author.clone(), options.lifetime, now, &mut *rng);
        forget_past(&mut rng);
        sealing
    }
}
