//! An audit of a publication: how many live copies each part has, and until when, by the signed words of its holders. It brings the
//! root and the hashes that lead to the chunks; of the chunks of content nothing. Source: spec/content.md §9.

use std::collections::VecDeque;

use tokio::task::JoinSet;

use super::carrier::Carrier;
use super::reading::open_seen;
use super::{Opened, Part, Progress};
use crate::client::{ClientError, Ending, GetOptions};
use crate::content::{
    Audited, Body, Chunks, ContentKind, ContentLink, FileName, GroupAudit, Layout, Level, RootRefused,
};
use crate::crypto::{CryptoRng, random_bytes};
use crate::limits::{BATCH_CHUNKS, CHUNK_TRIES_MAX, GROUP_CHUNKS, GROUP_PARITY, HOLDERS, TRANSFER_CIRCUITS_MAX};
use crate::request::{Consistency, Counts, Sighting};
use crate::time::{Duration, UnixTime};
use crate::wire::record::Expiry;

/// What is looked for.
#[derive(Clone, Copy, Debug, Default)]
pub struct AuditOptions {
    /// About so many chunks: whole batches as they were published, drawn evenly from all; all chunks without it.
    pub sample: Option<u64>,
    /// A root older than this is not taken: what the caller has seen before.
    pub seq_min: u64,
    /// Other than the usual 30 s, for the root.
    pub timeout: Option<Duration>,
}

/// What was found.
#[derive(Clone, Debug)]
pub struct Audit {
    /// The published name.
    pub name: FileName,
    /// What the content is.
    pub kind: ContentKind,
    /// Bytes of content.
    pub len: u64,
    /// Sequence number of the root.
    pub seq: u64,
    /// Whether enough of the closest nodes signed that no newer root is there.
    pub attested: bool,
    /// Copies of the root at each of its three locations.
    pub root: Vec<Sighting>,
    /// Chunks that there are in all.
    pub chunks: u64,
    /// Groups of which chunks were looked for, those of the content first; none when the content stands in the root.
    pub groups: Vec<GroupAudit>,
    /// What was asked for the root, and what came back.
    pub counts: Counts,
}

/// How a publication is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Health {
    /// Everything that was looked for has the copies that it should have.
    Well,
    /// Of some parts too few holders answered to tell.
    Untold,
    /// Some parts have fewer copies than they should, by the words of enough holders.
    Wanting,
}

impl Audit {
    /// How all of it is.
    #[must_use]
    pub fn health(&self) -> Health {
        let few = || self.root.iter().filter(|place| place.until.len() < HOLDERS);
        if few().any(|place| place.attested) || self.groups.iter().any(|group| !group.wanting.is_empty()) {
            return Health::Wanting;
        }
        let untold = few().next().is_some() || self.groups.iter().any(|group| group.untold > 0);
        if untold { Health::Untold } else { Health::Well }
    }

    /// Chunks that were looked for.
    #[must_use]
    pub fn looked(&self) -> u64 {
        self.groups.iter().map(|group| u64::try_from(group.looked).unwrap_or(u64::MAX)).sum()
    }

    /// When the root ends: the same at all of its locations.
    #[must_use]
    pub fn root_end(&self) -> Option<UnixTime> {
        self.root.iter().flat_map(|place| &place.until).max().map(|end| end.time())
    }

    /// Until when all of it can be read, by what was seen now and if nobody looks after it: `None` when it cannot, or not all of it was
    /// looked for.
    #[must_use]
    pub fn readable_until(&self) -> Option<UnixTime> {
        let groups: Option<Vec<Expiry>> = self.groups.iter().map(|group| group.until).collect();
        let first = groups?.into_iter().map(Expiry::time).min();
        let root = self.root_end()?;
        if self.looked() < self.chunks { None } else { Some(first.map_or(root, |first| first.min(root))) }
    }
}

/// Audits what a link leads to.
///
/// # Errors
/// As [`super::open`]; [`ClientError::Fetch`] when the hashes that lead to the chunks do not come.
pub async fn audit<C: Carrier>(
    carrier: &C,
    link: &ContentLink,
    options: AuditOptions,
    rng: &mut (dyn CryptoRng + Send),
    progress: &(dyn Fn(Progress) + Send + Sync),
) -> Result<Audit, ClientError> {
    let get = GetOptions { consistency: Consistency::Audit, seq_min: options.seq_min, timeout: options.timeout };
    let (opened, root) = open_seen(carrier, link, get).await?;
    let wanted = Wanted { sample: options.sample, lasting: None, names: None };
    look_at(carrier, &opened, root, wanted, rng, progress).await
}

/// Names of all chunks, by level and index.
pub(super) type Names = Vec<Vec<[u8; 32]>>;

/// Which chunks are looked for, until when copies shall last at least, and where the names are kept, if anywhere.
pub(super) struct Wanted<'n> {
    pub(super) sample: Option<u64>,
    pub(super) lasting: Option<Expiry>,
    pub(super) names: Option<&'n mut Names>,
}

/// Looks for the chunks of what was opened.
pub(super) async fn look_at<C: Carrier>(
    carrier: &C,
    opened: &Opened<C>,
    root: Vec<Sighting>,
    Wanted { sample, lasting, names }: Wanted<'_>,
    rng: &mut (dyn CryptoRng + Send),
    progress: &(dyn Fn(Progress) + Send + Sync),
) -> Result<Audit, ClientError> {
    let (chunks, groups) = match &opened.root.body {
        Body::Inline(_) => (0, Vec::new()),
        Body::Chunks(chunks) => {
            let layout = Layout::of(chunks.len).map_err(RootRefused::from)?;
            let (all, batches) = (layout.chunks(), layout.levels().iter().map(batches).sum());
            let wanted = sample.map_or(batches, |sample| sample.div_ceil(BATCH_LEN).min(batches));
            let names = names.map(|names| {
                *names = layout.levels().iter().map(|level| vec![[0; 32]; level.chunks_len()]).collect();
                names
            });
            let looking = Looking {
                carrier,
                sampling: Sampling { wanted, left: batches, rng },
                takes: false,
                names,
                progress,
                step: Progress { done: 0, total: wanted.saturating_mul(BATCH_LEN).min(all) },
                audited: Audited::new(layout.clone(), lasting),
                waiting: VecDeque::new(),
                tasks: JoinSet::new(),
            };
            (all, looking.levels(opened, chunks, &layout).await?)
        }
    };
    Ok(Audit {
        name: opened.name().clone(),
        kind: opened.kind(),
        len: opened.len(),
        seq: opened.seq,
        attested: opened.attested,
        root,
        chunks,
        groups,
        counts: opened.counts,
    })
}

/// [`BATCH_CHUNKS`], as a count of chunks.
const BATCH_LEN: u64 = 4;

const _: () = assert!(BATCH_CHUNKS == 4 && (GROUP_CHUNKS + GROUP_PARITY).is_multiple_of(BATCH_CHUNKS));

/// Of a level: those in which its chunks were published.
fn batches(level: &Level) -> u64 {
    level.chunks().div_ceil(BATCH_LEN)
}

/// Draws so many of so many that come one by one, each as likely as any other.
struct Sampling<'r> {
    wanted: u64,
    left: u64,
    rng: &'r mut (dyn CryptoRng + Send),
}

impl Sampling<'_> {
    fn takes_next(&mut self) -> bool {
        let left = self.left.max(1);
        self.left = left - 1;
        // 64 bits over at most 2^23 chunks: no chunk is favoured by as much as one in 2^40.
        let takes = self.wanted >= left || u64::from_be_bytes(random_bytes(self.rng)) % left < self.wanted;
        self.wanted -= u64::from(takes);
        takes
    }
}

/// A chunk: its level and index.
type At = (u8, u64);

/// Chunks on their way to being looked for, a few batches at a time.
struct Looking<'a, C> {
    carrier: &'a C,
    sampling: Sampling<'a>,
    /// Whether the batch at hand was drawn.
    takes: bool,
    names: Option<&'a mut Names>,
    progress: &'a (dyn Fn(Progress) + Send + Sync),
    step: Progress,
    audited: Audited,
    waiting: VecDeque<(At, [u8; 32])>,
    tasks: JoinSet<Result<Vec<(At, Sighting)>, ClientError>>,
}

impl<C: Carrier> Looking<'_, C> {
    /// From the top down: the hashes of each level lead to the next; those of the content are not kept.
    async fn levels(
        mut self,
        opened: &Opened<C>,
        chunks: &Chunks,
        layout: &Layout,
    ) -> Result<Vec<GroupAudit>, ClientError> {
        (self.progress)(self.step);
        let mut hashes = chunks.hashes.clone();
        let levels: Vec<(u8, Level)> = (0..).zip(layout.levels().iter().copied()).collect();
        for (index, hash) in (0..).zip(&hashes) {
            self.look(levels.last().map_or(0, |(number, _)| *number), index, *hash).await?;
        }
        for at in levels.iter().rev().filter(|(number, _)| *number > 0) {
            let below = at.0 - 1;
            let mut download = opened.read_hashes(chunks, *at, hashes);
            let kept = layout.levels().get(usize::from(below)).filter(|_| below > 0).map_or(0, Level::chunks_len);
            hashes = vec![[0; 32]; kept];
            while let Some(Part { offset, bytes }) = download.next().await? {
                for (index, hash) in Level::indexed(offset, &bytes) {
                    if let Some(kept) = usize::try_from(index).ok().and_then(|at| hashes.get_mut(at)) {
                        *kept = hash;
                    }
                    self.look(below, index, hash).await?;
                }
            }
        }
        while !self.waiting.is_empty() {
            self.send().await?;
        }
        while !self.tasks.is_empty() {
            self.join().await?;
        }
        Ok(self.audited.finish())
    }

    /// Those are asked about together that were published together: others would join what is apart.
    async fn look(&mut self, level: u8, index: u64, hash: [u8; 32]) -> Result<(), ClientError> {
        let names = self.names.as_mut().and_then(|names| names.get_mut(usize::from(level)));
        if let Some(name) = names.and_then(|names| usize::try_from(index).ok().and_then(|at| names.get_mut(at))) {
            *name = hash;
        }
        if index.is_multiple_of(BATCH_LEN) {
            if !self.waiting.is_empty() {
                self.send().await?;
            }
            self.takes = self.sampling.takes_next();
        }
        if self.takes {
            self.waiting.push_back(((level, index), hash));
        }
        if self.waiting.len() >= BATCH_CHUNKS { self.send().await } else { Ok(()) }
    }

    /// One batch, over a circuit of its own.
    async fn send(&mut self) -> Result<(), ClientError> {
        while self.tasks.len() >= TRANSFER_CIRCUITS_MAX {
            self.join().await?;
        }
        let count = self.waiting.len().min(BATCH_CHUNKS);
        let (places, hashes): (Vec<At>, Vec<[u8; 32]>) = self.waiting.drain(..count).unzip();
        let carrier = self.carrier.clone();
        self.tasks.spawn(async move {
            let seen = look(&carrier, hashes).await?.into_iter().chain(core::iter::repeat(Sighting::default()));
            Ok(places.into_iter().zip(seen).collect())
        });
        Ok(())
    }

    async fn join(&mut self) -> Result<(), ClientError> {
        let Some(Ok(seen)) = self.tasks.join_next().await else { return Err(ClientError::Stopped) };
        for ((level, index), seen) in seen? {
            self.audited.note(level, index, seen);
            self.step.done += 1;
        }
        (self.progress)(self.step);
        Ok(())
    }
}

/// A batch of which nobody tells anything is looked for again; in the end nothing was seen of it.
async fn look<C: Carrier>(carrier: &C, hashes: Vec<[u8; 32]>) -> Result<Vec<Sighting>, ClientError> {
    for _ in 0..CHUNK_TRIES_MAX {
        match carrier.look_chunks(hashes.clone()).await {
            Err(error) if error.ending() == Ending::Unreachable && error.reached_anybody() => (),
            result => return result,
        }
    }
    Ok(Vec::new())
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::ChaCha20Rng;

    use super::*;

    // [CONT-W-034]
    #[test]
    fn a_sample_has_its_size_whatever_is_drawn_and_each_chunk_comes_about_as_often() {
        let mut rng = ChaCha20Rng::seed_from_u64(1);
        let mut times = [0_u32; 40];
        for _ in 0..2_000 {
            let mut sampling = Sampling { wanted: 8, left: 40, rng: &mut rng };
            let taken: Vec<usize> = (0..40).filter(|_| sampling.takes_next()).collect();
            assert_eq!(taken.len(), 8);
            taken.into_iter().for_each(|at| times[at] += 1);
        }
        // 400 each; the deviation is 18.
        assert!(times.iter().all(|count| (300..500).contains(count)), "{times:?}");
        let mut all = Sampling { wanted: 5, left: 5, rng: &mut rng };
        assert!((0..5).all(|_| all.takes_next()));
    }
}
