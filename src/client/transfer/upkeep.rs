//! Looking after a publication: what an audit finds wanting is stored again, from what is left of it; where its author's key is at
//! hand, all of it is prolonged. Source: spec/content.md §10.

use super::auditing::{Wanted, look_at};
use super::carrier::Carrier;
use super::publishing::{Prepared, Sending};
use super::reading::open_seen;
use super::{Audit, Opened, Progress};
use crate::client::{ClientError, Ending, GetOptions};
use crate::content::{Body, Chunks, ContentLink, GroupAudit, GroupContent, Layout, RootRefused};
use crate::crypto::CryptoRng;
use crate::limits::{CHUNK_LEN, EXPIRY_STEP_S, HOLDERS};
use crate::request::{Consistency, Sighting};
use crate::time::{Duration, UnixTime};
use crate::wire::record::Expiry;

/// How something is looked after.
#[derive(Clone, Copy, Debug)]
pub struct UpkeepOptions {
    /// The time.
    pub now: UnixTime,
    /// For how long root and chunks shall last from now on, where the root can be signed anew. Without it the root ends when it does, and
    /// so do chunks that are stored again.
    pub extend: Option<Duration>,
    /// A root older than this is not taken: what the caller has seen before.
    pub seq_min: u64,
    /// Other than the usual 30 s, for the root.
    pub timeout: Option<Duration>,
}

/// What was done.
pub struct Tended {
    /// What was found before; copies that end too early count as wanting in it.
    pub audit: Audit,
    /// Chunks that were stored again, with all their receipts.
    pub stored: u64,
    /// Chunks that are wanting still.
    pub missing: u64,
    /// When the chunks end now, those that are wanting aside; the root too, once it is renewed.
    pub until: Option<UnixTime>,
    /// The root, to be put again for so long ([`Prepared::publish`]): `None` where that gains nothing, or nobody can.
    pub renewal: Option<(Prepared, Duration)>,
    /// Whether the root has all its copies by now, or had before; what is to be renewed will have them.
    pub root_is_whole: bool,
}

/// Looks after what a link leads to: asks who has each part, reads the groups of which some is wanting, and stores that anew. The root
/// comes last: as it is where it lacks copies; to sign it anew is the caller's part.
///
/// # Errors
/// As [`super::audit`], and those of storing other than receipts that are wanting.
pub async fn tend<C: Carrier>(
    carrier: &C,
    link: &ContentLink,
    options: UpkeepOptions,
    rng: &mut (dyn CryptoRng + Send),
    progress: &(dyn Fn(Progress) + Send + Sync),
) -> Result<Tended, ClientError> {
    let get = GetOptions { consistency: Consistency::Audit, seq_min: options.seq_min, timeout: options.timeout };
    let (opened, root) = open_seen(carrier, link, get).await?;
    let goal = Goal::of(&root, &options);
    let wanted = Wanted { sample: None, lasting: goal.until };
    let audit = look_at(carrier, &opened, root, wanted, rng, progress).await?;
    let (stored, missing) = match (&opened.root.body, goal.until) {
        (Body::Chunks(chunks), Some(until)) => restore(carrier, &opened, (chunks, until), &audit, progress).await?,
        (Body::Inline(_), _) | (_, None) => (0, audit.groups.iter().map(wanting).sum()),
    };
    let root_is_whole = goal.renews || !lacks(&audit.root) || is_put_again(carrier, link, get).await?;
    let renewal = match goal.until {
        Some(until) if goal.renews => {
            let prepared = Prepared { payload: opened.root.encode()?, len: opened.len(), chunks: audit.chunks };
            Some((prepared, lifetime(until, options.now)))
        }
        _ => None,
    };
    Ok(Tended { audit, stored, missing, until: goal.until.map(Expiry::time), renewal, root_is_whole })
}

/// Until when things shall last.
struct Goal {
    /// `None` when nobody said when the root ends.
    until: Option<Expiry>,
    renews: bool,
}

impl Goal {
    /// Prolonged is what gains a quarter of its time or more, and a step at least; or whose root is nowhere left at a location, where it
    /// takes its author to make it again.
    fn of(root: &[Sighting], options: &UpkeepOptions) -> Self {
        let end = root.iter().flat_map(|place| &place.until).max().copied();
        let Some(extend) = options.extend else { return Self { until: end, renews: false } };
        let wished = Expiry::at_least(UnixTime(options.now.0.saturating_add(extend.as_secs())));
        let gain = end.map_or(u64::MAX, |end| wished.time().0.saturating_sub(end.time().0));
        if gain >= EXPIRY_STEP_S.max(extend.as_secs() / 4) {
            return Self { until: Some(wished), renews: true };
        }
        Self { until: end, renews: root.iter().any(|place| place.attested && place.until.is_empty()) }
    }
}

fn lacks(root: &[Sighting]) -> bool {
    root.iter().any(|place| place.attested && place.until.len() < HOLDERS)
}

/// Stores the root again as it is: whether all receipts came.
async fn is_put_again<C: Carrier>(carrier: &C, link: &ContentLink, options: GetOptions) -> Result<bool, ClientError> {
    match carrier.put_root_again(link.locator(carrier.network())?, options).await {
        Ok(stored) => Ok(stored.copies.iter().all(|copies| *copies >= HOLDERS)),
        Err(error) if matches!(error.ending(), Ending::Partly | Ending::Conflict | Ending::Unreachable) => Ok(false),
        Err(error) => Err(error),
    }
}

/// What comes to this end: ends are rounded up, and a moment less comes to the same one.
fn lifetime(until: Expiry, now: UnixTime) -> Duration {
    Duration::from_secs(until.time().0.saturating_sub(now.0).saturating_sub(EXPIRY_STEP_S / 2))
}

/// Stores again what is wanting: how many chunks were, and how many are wanting still.
async fn restore<C: Carrier>(
    carrier: &C,
    opened: &Opened<C>,
    (chunks, until): (&Chunks, Expiry),
    audit: &Audit,
    progress: &(dyn Fn(Progress) + Send + Sync),
) -> Result<(u64, u64), ClientError> {
    let layout = Layout::of(chunks.len).map_err(RootRefused::from)?;
    let total = audit.groups.iter().map(wanting).sum();
    let (mut nothing, mut lost) = ((), 0);
    let mut sending = Sending::new(carrier, (chunks.secret.clone(), until), &mut nothing, progress, total);
    for group in audit.groups.iter().filter(|group| !group.wanting.is_empty()) {
        match content_of(opened, chunks, &layout, group).await {
            Ok(content) => sending.again(group.level, content, &group.wanting).await?,
            // Of the others something can be saved all the same.
            Err(ClientError::Fetch(_)) => lost += wanting(group),
            Err(error) => return Err(error),
        }
    }
    let (stored, partly) = sending.end().await?;
    Ok((stored, lost + partly))
}

fn wanting(group: &GroupAudit) -> u64 {
    u64::try_from(group.wanting.len()).unwrap_or(u64::MAX)
}

/// Reads the chunks of content of a group, or makes them from what is left of it.
async fn content_of<C: Carrier>(
    opened: &Opened<C>,
    chunks: &Chunks,
    layout: &Layout,
    GroupAudit { level, number, .. }: &GroupAudit,
) -> Result<GroupContent, ClientError> {
    let Some(shape) = layout.levels().get(usize::from(*level)) else { return Err(ClientError::Stopped) };
    let group = shape.group(*number);
    let chunk_len = u64::try_from(CHUNK_LEN).unwrap_or(u64::MAX);
    let start = group.first_data.saturating_mul(chunk_len).min(shape.len);
    let span = u64::try_from(group.data).unwrap_or(u64::MAX).saturating_mul(chunk_len);
    let range = start..start.saturating_add(span).min(shape.len);
    // Chunks that only fill up are zeros, and need not be read.
    let mut content = vec![vec![0; CHUNK_LEN]; group.data];
    if !range.is_empty() {
        let mut download = opened.read_level(chunks, *level, range).await?;
        while let Some(part) = download.next().await? {
            let at = usize::try_from((part.offset - start) / chunk_len).unwrap_or(usize::MAX);
            if let Some(chunk) = content.get_mut(at) {
                chunk.iter_mut().zip(part.bytes).for_each(|(to, from)| *to = from);
            }
        }
    }
    Ok(GroupContent::new(group, content))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixTime = UnixTime(83_334 * EXPIRY_STEP_S);

    fn goal(ends_in_steps: u64, copies: usize, extend_steps: Option<u64>) -> (u64, bool) {
        let step = Expiry::at_least(NOW).step();
        let end = Expiry::of_step(step + ends_in_steps).unwrap();
        let root = vec![Sighting { until: vec![end; copies], attested: true }; 3];
        let extend = extend_steps.map(|steps| Duration::from_secs(steps * EXPIRY_STEP_S));
        let options = UpkeepOptions { now: NOW, extend, seq_min: 0, timeout: None };
        let goal = Goal::of(&root, &options);
        (goal.until.unwrap().step() - step, goal.renews)
    }

    #[test]
    fn what_gains_a_quarter_of_its_time_is_prolonged_and_what_gains_less_is_not() {
        // Of a hundred steps.
        assert_eq!(goal(75, HOLDERS, Some(100)), (100, true));
        assert_eq!(goal(76, HOLDERS, Some(100)), (76, false));
        assert_eq!(goal(99, HOLDERS, Some(100)), (99, false));
        assert_eq!(goal(120, HOLDERS, Some(100)), (120, false), "nothing is shortened");
        // A day has four steps: one is enough, and none is not.
        assert_eq!((goal(3, HOLDERS, Some(4)), goal(4, HOLDERS, Some(4))), ((4, true), (4, false)));
        // A reader cannot.
        assert_eq!(goal(2, HOLDERS, None), (2, false));
        // A root that lacks copies can be stored as it is; one that is gone at a location cannot.
        assert_eq!(goal(99, 1, Some(100)), (99, false));
        let step = Expiry::at_least(NOW).step();
        let end = Expiry::of_step(step + 99);
        let extend = Some(Duration::from_secs(100 * EXPIRY_STEP_S));
        let options = UpkeepOptions { now: NOW, extend, seq_min: 0, timeout: None };
        for (attested, renews) in [(true, true), (false, false)] {
            let gone = Sighting { until: Vec::new(), attested };
            let root = [Sighting { until: end.into_iter().collect(), attested: true }, gone];
            let goal = Goal::of(&root, &options);
            assert_eq!((goal.until, goal.renews), (end, renews));
        }
    }

    #[test]
    fn a_lifetime_comes_to_the_end_that_it_was_made_for_whenever_within_hours_it_is_used() {
        for late in [0, 1, 3_599, EXPIRY_STEP_S / 2 - 1] {
            let until = Expiry::at_least(UnixTime(NOW.0 + 9 * EXPIRY_STEP_S + 5));
            let again = Expiry::at_least(UnixTime(NOW.0 + late + lifetime(until, NOW).as_secs()));
            assert_eq!(again, until, "{late}");
        }
    }
}
