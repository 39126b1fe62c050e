//! Looking after a publication: what an audit finds wanting is stored again, from what is left of it; where its author's key is at
//! hand, all of it is prolonged. Source: spec/content.md §10.

use std::collections::BTreeMap;

use super::auditing::{Names, Wanted, look_at};
use super::carrier::Carrier;
use super::publishing::{Prepared, Sending};
use super::reading::open_seen;
use super::{Audit, Opened, Progress};
use crate::client::{ClientError, Ending, GetOptions};
use crate::content::{Body, Chunks, ContentLink, GroupAudit, GroupContent, Layout, RootRefused};
use crate::crypto::CryptoRng;
use crate::limits::{CHUNK_LEN, EXPIRY_STEP_S, HOLDERS, KEEP_REFUSED_IN_ROW_MAX};
use crate::request::{Consistency, Sighting};
use crate::time::{Duration, UnixTime};
use crate::wire::record::Expiry;

/// What the author of something has of it prolonged.
#[derive(Clone, Copy, Debug)]
pub struct Extension {
    /// For how long it shall last from now on.
    pub by: Duration,
    /// The last end for which this author has begun to store chunks. As long as it gains enough an interrupted turn goes on for it. Who
    /// says to have a copy that ends later lies.
    pub stored_for: Option<Expiry>,
}

/// Until when things shall last.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Goal {
    /// `None` when nobody said when the root ends.
    pub until: Option<Expiry>,
    /// Whether the root is to be signed anew.
    pub renews: bool,
    /// Whether nothing of it can have been stored for that long.
    pub is_unheard_of: bool,
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
    /// The root, to be put again until then ([`Prepared::publish`]): `None` where that gains nothing, or nobody can.
    pub renewal: Option<(Prepared, Expiry)>,
    /// Whether the root has all its copies by now, or had before, as far as is told; what is to be renewed will have them.
    pub root_is_whole: bool,
}

/// A publication of which the root has come, to be looked after.
pub struct Upkeep<C> {
    /// What it is.
    pub opened: Opened<C>,
    carrier: C,
    link: ContentLink,
    get: GetOptions,
    root: Vec<Sighting>,
}

impl<C: Carrier> Upkeep<C> {
    /// Gets the root, and asks how many copies of it there are. A root older than `seq_min` is not taken: what the caller has seen before.
    ///
    /// # Errors
    /// As [`super::open`].
    pub async fn open(
        carrier: &C,
        link: &ContentLink,
        seq_min: u64,
        timeout: Option<Duration>,
    ) -> Result<Self, ClientError> {
        let get = GetOptions { consistency: Consistency::Audit, seq_min, timeout };
        let (opened, root) = open_seen(carrier, link, get).await?;
        Ok(Self { opened, carrier: carrier.clone(), link: link.clone(), get, root })
    }

    /// Until when it shall last. Without an extension the root ends when it does, and so do chunks that are stored again.
    #[must_use]
    pub fn goal(&self, now: UnixTime, extension: Option<Extension>) -> Goal {
        Goal::of(&self.root, now, extension)
    }

    /// Looks after it: asks who has each part, reads the groups of which some is wanting, and stores that anew. The root comes last: as
    /// it is where it lacks copies; to sign it anew is the caller's part.
    ///
    /// # Errors
    /// As [`super::audit`], and those of storing other than receipts that are wanting: [`KEEP_REFUSED_IN_ROW_MAX`] batches in a row that nobody
    /// takes are one.
    pub async fn tend(
        self,
        goal: Goal,
        rng: &mut (dyn CryptoRng + Send),
        progress: &(dyn Fn(Progress) + Send + Sync),
    ) -> Result<Tended, ClientError> {
        let Self { opened, carrier, link, get, root } = self;
        let mut names = Names::new();
        let wanted = Wanted { sample: None, lasting: goal.until, names: Some(&mut names) };
        let mut audit = look_at(&carrier, &opened, root, wanted, rng, progress).await?;
        let (stored, missing) = match (&opened.root.body, goal.until) {
            (Body::Chunks(chunks), Some(until)) => {
                let layout = Layout::of(chunks.len).map_err(RootRefused::from)?;
                if goal.is_unheard_of {
                    audit.groups.iter_mut().for_each(|group| want_all(group, &layout));
                }
                restore(&carrier, &opened, (chunks, until), (&layout, &names, &audit), progress).await?
            }
            (Body::Inline(_), _) | (_, None) => (0, audit.groups.iter().map(wanting).sum()),
        };
        let root_is_whole =
            goal.renews || !lacks(&audit.root) || is_put_again(&carrier, &link, get, &audit.root).await?;
        let renewal = match goal.until {
            Some(until) if goal.renews => {
                let prepared = Prepared { payload: opened.root.encode()?, len: opened.len(), chunks: audit.chunks };
                Some((prepared, until))
            }
            _ => None,
        };
        Ok(Tended { audit, stored, missing, until: goal.until.map(Expiry::time), renewal, root_is_whole })
    }
}

impl Goal {
    /// Prolonged is what gains a quarter of its time or more, and a step at least; or whose root is nowhere left at a location, where it
    /// takes its author to make it again.
    fn of(root: &[Sighting], now: UnixTime, extension: Option<Extension>) -> Self {
        let end = root.iter().flat_map(|place| &place.until).max().copied();
        let Some(Extension { by, stored_for }) = extension else {
            return Self { until: end, renews: false, is_unheard_of: false };
        };
        let gains = |wished: &Expiry| {
            let gain = end.map_or(u64::MAX, |end| wished.time().0.saturating_sub(end.time().0));
            gain >= EXPIRY_STEP_S.max(by.as_secs() / 4)
        };
        let fresh = Expiry::at_least(UnixTime(now.0.saturating_add(by.as_secs())));
        // What was begun for longer than is wished for now is another wish.
        let wished = stored_for.filter(|begun| *begun <= fresh && gains(begun)).unwrap_or(fresh);
        if gains(&wished) {
            let is_unheard_of = stored_for.is_none_or(|stored_for| stored_for < wished);
            return Self { until: Some(wished), renews: true, is_unheard_of };
        }
        let renews = root.iter().any(|place| place.attested && place.until.is_empty());
        Self { until: end, renews, is_unheard_of: false }
    }
}

fn lacks(root: &[Sighting]) -> bool {
    root.iter().any(|place| place.attested && place.until.len() < HOLDERS)
}

/// Stores the root again as it is: whether each location has all copies then, those aside of which too few holders told.
async fn is_put_again<C: Carrier>(
    carrier: &C,
    link: &ContentLink,
    options: GetOptions,
    root: &[Sighting],
) -> Result<bool, ClientError> {
    match carrier.put_root_again(link.locator(carrier.network())?, options).await {
        Ok(stored) => {
            let mut places = root.iter().zip(stored.copies.into_iter().chain(core::iter::repeat(0)));
            Ok(places.all(|(place, copies)| copies >= HOLDERS || !place.attested))
        }
        Err(error) if matches!(error.ending(), Ending::Partly | Ending::Conflict | Ending::Unreachable) => Ok(false),
        Err(error) => Err(error),
    }
}

/// No holder's word counts: every chunk of the group is wanting.
fn want_all(group: &mut GroupAudit, layout: &Layout) {
    let Some(shape) = layout.levels().get(usize::from(group.level)) else { return };
    let chunks = u64::try_from(group.chunks).unwrap_or(u64::MAX);
    let first = shape.group(group.number).first_index;
    group.wanting = (first..first.saturating_add(chunks)).collect();
    group.untold = 0;
}

/// Stores again what is wanting: how many chunks were, and how many are wanting still.
async fn restore<C: Carrier>(
    carrier: &C,
    opened: &Opened<C>,
    (chunks, until): (&Chunks, Expiry),
    (layout, names, audit): (&Layout, &Names, &Audit),
    progress: &(dyn Fn(Progress) + Send + Sync),
) -> Result<(u64, u64), ClientError> {
    let total = audit.groups.iter().map(wanting).sum();
    let (mut nothing, mut lost) = ((), 0);
    let sending = Sending::new(carrier, (chunks.secret.clone(), until), &mut nothing, progress, total);
    let mut sending = sending.bears(KEEP_REFUSED_IN_ROW_MAX);
    for group in audit.groups.iter().filter(|group| !group.wanting.is_empty()) {
        match content_of(opened, chunks, layout, group).await {
            // Parity that its author named wrongly is not stored: nobody looks for what would be.
            Ok(content) => lost += sending.again(group.level, content, &named(group, names)).await?,
            // Of the others something can be saved all the same.
            Err(ClientError::Fetch(_)) => lost += wanting(group),
            Err(error) => return Err(error),
        }
    }
    let (stored, partly) = sending.end().await?;
    Ok((stored, lost + partly))
}

/// The chunks of a group that are wanting, and their names.
fn named(group: &GroupAudit, names: &Names) -> BTreeMap<u64, [u8; 32]> {
    let of_level = names.get(usize::from(group.level));
    let name = |index: &u64| of_level.and_then(|names| names.get(usize::try_from(*index).ok()?).copied());
    group.wanting.iter().filter_map(|index| Some((*index, name(index)?))).collect()
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
    use rand::SeedableRng;
    use rand::rngs::ChaCha20Rng;

    use super::*;
    use crate::client::fixture::Memory;
    use crate::client::{AuditOptions, audit};
    use crate::content::Root;
    use crate::limits::BATCH_CHUNKS;
    use crate::net::Clock;

    const NOW: UnixTime = UnixTime(83_334 * EXPIRY_STEP_S);

    fn extension(by_steps: u64) -> Extension {
        Extension { by: Duration::from_secs(by_steps * EXPIRY_STEP_S), stored_for: None }
    }

    fn goal(ends_in_steps: u64, copies: usize, extend_steps: Option<u64>) -> (u64, bool) {
        let step = Expiry::at_least(NOW).step();
        let end = Expiry::of_step(step + ends_in_steps).unwrap();
        let root = vec![Sighting { until: vec![end; copies], attested: true }; 3];
        let goal = Goal::of(&root, NOW, extend_steps.map(extension));
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
        for (attested, renews) in [(true, true), (false, false)] {
            let gone = Sighting { until: Vec::new(), attested };
            let root = [Sighting { until: end.into_iter().collect(), attested: true }, gone];
            let goal = Goal::of(&root, NOW, Some(extension(100)));
            assert_eq!((goal.until, goal.renews), (end, renews));
        }
    }

    #[test]
    fn a_turn_that_was_interrupted_goes_on_for_its_end_as_long_as_that_gains_and_nobodys_word_counts_before_it_began() {
        let step = |steps: u64| Expiry::of_step(Expiry::at_least(NOW).step() + steps).unwrap();
        let root = |end| vec![Sighting { until: vec![step(end); HOLDERS], attested: true }; 3];
        let rows = [
            // The root's end, the last that was stored for; the goal, and whether it is unheard of.
            (50, None, (100, true)),
            (50, Some(50), (100, true)),
            (50, Some(90), (90, false)),
            (50, Some(70), (100, true)),
            (50, Some(120), (100, false)),
            (90, Some(90), (90, false)),
        ];
        for (end, stored_for, (until, is_unheard_of)) in rows {
            let extension = Extension { stored_for: stored_for.map(step), ..extension(100) };
            let goal = Goal::of(&root(end), NOW, Some(extension));
            assert_eq!((goal.until, goal.is_unheard_of), (Some(step(until)), is_unheard_of), "{end} {stored_for:?}");
        }
    }

    /// A turn of the author's, for so many steps, nothing having been stored for that long; or a reader's.
    async fn tend(memory: &Memory, link: &ContentLink, steps: Option<u64>) -> Result<Tended, ClientError> {
        let upkeep = Upkeep::open(memory, link, 0, None).await?;
        let goal = upkeep.goal(Clock::unix(), steps.map(extension));
        upkeep.tend(goal, &mut ChaCha20Rng::seed_from_u64(1), &|_| ()).await
    }

    fn end_of_steps(steps: u64) -> Expiry {
        Expiry::at_least(UnixTime(Clock::unix().0 + steps * EXPIRY_STEP_S))
    }

    #[tokio::test]
    async fn batches_that_nobody_takes_keep_nothing_from_being_prolonged_up_to_so_many_in_a_row() {
        let (memory, link) = Memory::with(32, 4).await;
        let names = memory.names();
        let bears = KEEP_REFUSED_IN_ROW_MAX * BATCH_CHUNKS;
        memory.held().refused = names.iter().step_by(BATCH_CHUNKS).take(KEEP_REFUSED_IN_ROW_MAX).copied().collect();
        let tended = tend(&memory, &link, Some(100)).await.unwrap();
        let count = |len: usize| u64::try_from(len).unwrap();
        assert_eq!((tended.missing, tended.stored), (count(bears), count(names.len() - bears)));
        assert!(tended.renewal.is_some());
        memory.held().refused = names.iter().copied().collect();
        let refused = tend(&memory, &link, Some(100)).await.map(|_| ()).unwrap_err();
        assert_eq!(refused.ending(), Ending::Unreachable);
    }

    #[tokio::test]
    async fn copies_that_end_later_than_anything_was_stored_for_are_no_copies() {
        let (memory, link) = Memory::with(9, 4).await;
        memory.held().claimed = Some(end_of_steps(100));
        let (all, until) = (memory.names().len(), end_of_steps(100));
        let tended = tend(&memory, &link, Some(100)).await.unwrap();
        assert_eq!((tended.stored, tended.missing), (u64::try_from(all).unwrap(), 0));
        assert!(memory.held().chunks.values().all(|(_, ends)| ends.iter().all(|end| *end == until)));
        let stored: usize = memory.held().puts.iter().map(Vec::len).sum();
        assert_eq!(stored, all);
    }

    // [CONT-W-038]
    #[tokio::test]
    async fn parity_that_its_author_named_wrongly_is_lost_and_never_stored() {
        let (memory, link) = Memory::with(3, 4).await;
        let mut root = Root::decode(&memory.held().payload).unwrap();
        let Body::Chunks(chunks) = &mut root.body else { panic!("it has chunks") };
        *chunks.hashes.last_mut().unwrap() = [9; 32];
        memory.held().payload = root.encode().unwrap();
        let tended = tend(&memory, &link, None).await.unwrap();
        assert_eq!((tended.stored, tended.missing), (0, 1));
        assert!(memory.held().puts.is_empty());
    }

    // [CONT-W-033] [CONT-W-038]
    #[tokio::test]
    async fn chunks_are_asked_about_and_stored_again_with_none_but_those_that_they_were_published_with() {
        let (memory, link) = Memory::with(40, 4).await;
        let names = memory.names();
        for at in [3, 4, 6, 40] {
            memory.held().chunks.remove(&names[at]);
        }
        let tended = tend(&memory, &link, None).await.unwrap();
        assert_eq!((tended.stored, tended.missing, tended.renewal.is_none()), (4, 0, true));
        let mut puts = memory.held().puts.clone();
        puts.sort_by_key(Vec::len);
        assert_eq!(puts.iter().map(Vec::len).collect::<Vec<_>>(), [1, 1, 2]);
        assert!(puts[2] == [names[4], names[6]]);
        let are_as_published = {
            let held = memory.held();
            held.looks.iter().all(|look| held.published.contains(look))
        };
        assert!(are_as_published);
        memory.held().looks.clear();
        let options = AuditOptions { sample: Some(5), ..AuditOptions::default() };
        let audit = audit(&memory, &link, options, &mut ChaCha20Rng::seed_from_u64(3), &|_| ()).await.unwrap();
        assert_eq!((audit.looked(), memory.held().looks.len()), (8, 2));
    }

    #[tokio::test]
    async fn a_location_that_has_no_root_is_not_well_for_a_reader_and_is_made_again_by_the_author() {
        let (memory, link) = Memory::with(1, 100).await;
        let ends = |count| Sighting { until: vec![end_of_steps(99); count], attested: true };
        memory.held().places = vec![ends(HOLDERS), ends(1), ends(0)];
        let tended = tend(&memory, &link, None).await.unwrap();
        assert!(!tended.root_is_whole && tended.renewal.is_none());
        let tended = tend(&memory, &link, Some(100)).await.unwrap();
        assert!(tended.root_is_whole && tended.renewal.is_some());
        memory.held().places = vec![ends(HOLDERS), ends(1), ends(2)];
        assert!(tend(&memory, &link, None).await.unwrap().root_is_whole);
    }
}
