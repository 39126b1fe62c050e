//! What a user wants kept: links with dates, in the state directory. It must not know how anything is looked after.
//! Source: spec/state.md §12.

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::cli::exit::Exit;
use crate::crypto::hash::blake3;
use crate::crypto::{CryptoRng, random_bytes};
use crate::disk::{StateDir, StateError};
use crate::gateway::Demands;
use crate::limits::{KEEP_BYTES_PER_S, KEEP_HOPELESS_S, KEEP_LATE_S, KEEP_RETRY_S, KEPT_MAX};
use crate::time::UnixTime;
use crate::wire::hex;

const FILE: &str = "kept";

/// The exit code of what is not there.
const NOT_FOUND: u8 = Exit::NotFound.code();

/// Something to be kept.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::cli) struct Entry {
    /// Whoever has it can read.
    pub(super) link: Zeroizing<String>,
    pub(super) by: By,
    /// For how long it is prolonged, each time.
    pub(super) lifetime_s: u64,
    /// What its user demanded of paths: upkeep takes no weaker ones.
    pub(super) paths: Paths,
    /// Times are seconds since 1970; 0 for never, or not known.
    pub(super) added: u64,
    /// When its user last said that it shall be kept as it is.
    pub(super) asked: u64,
    pub(super) looked: u64,
    pub(super) until: u64,
    pub(super) due: u64,
    /// The last end for which chunks were stored, or begun to be.
    pub(super) stored_for: u64,
    /// Looks in a row that did not end well.
    pub(super) bad: u32,
    /// BLAKE3 of the root that its user wants kept; the first that is seen.
    pub(super) fingerprint: Option<[u8; 32]>,
    /// Bytes of content, once it was seen.
    pub(super) len: u64,
    /// The published name, once it was seen.
    pub(super) file: String,
    pub(super) last: Last,
}

/// What paths to it must do at least.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Paths {
    pub(super) demands: Demands,
    /// Whether a running node may be used.
    pub(super) by_node: bool,
}

/// Who can sign its root anew.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum By {
    /// Nobody here: it ends with its root.
    Nobody,
    /// A key of this user, by its name.
    Key(String),
    /// Whoever can say its name.
    Name(Zeroizing<String>),
}

/// How the last look at it ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) enum Last {
    /// There was none.
    Never,
    /// It has its copies.
    Well,
    /// Some copies are wanting, and could not be stored again.
    Wanting,
    /// Too few holders answered to tell.
    Untold,
    /// It failed, with this exit code.
    Failed(u8),
    /// Something else stands there than what its user wanted kept.
    Changed,
    /// It is longer than what is looked after.
    TooLong,
    /// The running node's paths do less than was demanded: it was not looked at.
    WeakerPaths,
    /// It has its copies, and the key that prolongs it is gone.
    KeyGone,
}

impl Last {
    /// The word in JSON.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Never => "never",
            Self::Well => "well",
            Self::Wanting => "wanting",
            Self::Untold => "untold",
            Self::Failed(_) => "failed",
            Self::Changed => "changed",
            Self::TooLong => "too long",
            Self::WeakerPaths => "weaker paths",
            Self::KeyGone => "key gone",
        }
    }
}

impl Entry {
    pub(super) fn new(link: String, by: By, lifetime_s: u64, paths: Paths, now: UnixTime) -> Self {
        Self {
            link: Zeroizing::new(link),
            by,
            lifetime_s,
            paths,
            added: now.0,
            asked: now.0,
            looked: 0,
            until: 0,
            due: now.0,
            stored_for: 0,
            bad: 0,
            fingerprint: None,
            len: 0,
            file: String::new(),
            last: Last::Never,
        }
    }

    /// What it is called where its link shall not be seen.
    pub(super) fn id(&self) -> String {
        id_of(&self.link)
    }

    /// A look has ended. The next is due when half of the time that is left is gone, give or take a quarter of that; soon, if all is not
    /// well, and later each time that it is not; a day later, where another look will hardly find more.
    pub(super) fn looked(&mut self, now: UnixTime, last: Last, until: Option<UnixTime>, rng: &mut dyn CryptoRng) {
        (self.looked, self.last) = (now.0, last);
        self.until = until.map_or(self.until, |until| until.0);
        self.bad = if matches!(last, Last::Well | Last::KeyGone) { 0 } else { self.bad.saturating_add(1) };
        self.put_off(now, rng);
    }

    /// When the next look is due.
    pub(super) fn put_off(&mut self, now: UnixTime, rng: &mut dyn CryptoRng) {
        let half = (self.until.saturating_sub(now.0) / 2).max(KEEP_RETRY_S);
        let is_over = self.until != 0 && self.until <= now.0;
        let pause = match self.last {
            Last::Well | Last::KeyGone => half,
            Last::Failed(NOT_FOUND) | Last::Changed | Last::TooLong | Last::WeakerPaths => KEEP_HOPELESS_S,
            _ if is_over => KEEP_HOPELESS_S,
            Last::Never | Last::Wanting | Last::Untold | Last::Failed(_) => {
                let most = if self.until == 0 { KEEP_HOPELESS_S } else { half };
                let times = 2_u64.checked_pow(self.bad.saturating_sub(1)).unwrap_or(u64::MAX);
                KEEP_RETRY_S.saturating_mul(times).min(most)
            }
        };
        let drawn = u64::from(u16::from_be_bytes(random_bytes(rng)));
        self.due = now.0.saturating_add(pause * 3 / 4 + (pause / 2).saturating_mul(drawn) / 65_536);
    }

    /// Why somebody should see to it; `None` when all is well as far as is known.
    pub(super) fn complaint(&self, now: UnixTime) -> Option<&'static str> {
        match self.last {
            _ if self.until != 0 && self.until <= now.0 => Some("its time is over"),
            Last::Wanting => Some("copies are wanting"),
            Last::Untold => Some("too few holders answered to tell how it is"),
            Last::Failed(NOT_FOUND) => Some("it is not there any more, or its owner has deleted it"),
            Last::Failed(_) => Some("the last look at it failed"),
            Last::Changed => Some("something else stands there now: `bauta keep add` again has that looked after"),
            Last::TooLong => Some("it is longer than what is looked after"),
            Last::WeakerPaths => Some(
                "the running node's paths do less than was demanded when it was added: `bauta keep now` with those settings looks after it",
            ),
            Last::KeyGone => Some("the key that prolongs it is gone: it ends with its root"),
            _ if self.was_not_prolonged(now) => {
                Some("it should have been prolonged: a sealed key is opened for `bauta keep now` alone")
            }
            _ if self.due.saturating_add(KEEP_LATE_S) < now.0 => {
                Some("nobody has looked after it in time: run a relay with this state, or `bauta keep now`")
            }
            Last::Never | Last::Well => None,
        }
    }

    /// Whoever can prolong it would have, the last time that it was looked at: a third is less than what the latest look leaves.
    fn was_not_prolonged(&self, now: UnixTime) -> bool {
        self.by != By::Nobody
            && self.looked >= self.asked
            && self.looked != 0
            && self.until.saturating_sub(now.0) < self.lifetime_s / 3
    }

    /// Whether to prolong it may take longer than half of what it gains.
    pub(super) fn is_slow(&self) -> bool {
        self.by != By::Nobody && self.len / KEEP_BYTES_PER_S > self.lifetime_s / 2
    }
}

/// What a link is called where it shall not be seen: 16 hexadecimal digits.
pub(super) fn id_of(link: &str) -> String {
    let digest = blake3(&[b"bauta/1 kept", link.as_bytes()]);
    digest.first_chunk::<8>().map(|id| hex::encode(id)).unwrap_or_default()
}

/// There are [`KEPT_MAX`] of them.
#[derive(Debug, thiserror::Error)]
#[error("{KEPT_MAX} publications are kept, which is as many as can be: `bauta keep remove` makes room")]
pub(super) struct Full;

/// All of them, in the order in which they were added.
pub(super) fn read(state: &StateDir) -> Result<Vec<Entry>, StateError> {
    Ok(state.read(FILE)?.unwrap_or_default())
}

/// The one of this link.
pub(super) fn find(state: &StateDir, link: &str) -> Result<Option<Entry>, StateError> {
    Ok(read(state)?.into_iter().find(|entry| *entry.link == link))
}

/// Adds one. Of one that is there already the lifetime is changed, what is demanded of paths, and who signs, unless that was somebody and
/// would be nobody; what stands there now is what shall be kept, and it is due now.
pub(super) fn add(state: &StateDir, new: Entry) -> anyhow::Result<()> {
    let mut is_full = false;
    state.update(FILE, |held: Option<Vec<Entry>>| {
        let mut all = held.unwrap_or_default();
        let has_room = all.len() < KEPT_MAX;
        match all.iter_mut().find(|entry| entry.link == new.link) {
            Some(entry) => {
                if new.by != By::Nobody {
                    entry.by = new.by;
                }
                (entry.lifetime_s, entry.paths) = (new.lifetime_s, new.paths);
                (entry.asked, entry.due, entry.bad, entry.fingerprint) = (new.asked, new.due, 0, None);
            }
            None if has_room => all.push(new),
            None => is_full = true,
        }
        all
    })?;
    if is_full { Err(Full.into()) } else { Ok(()) }
}

/// Takes one out: whether it was there.
pub(super) fn remove(state: &StateDir, id: &str) -> Result<bool, StateError> {
    let mut was_there = false;
    state.update(FILE, |held: Option<Vec<Entry>>| {
        let mut all = held.unwrap_or_default();
        let before = all.len();
        all.retain(|entry| entry.id() != id);
        was_there = all.len() < before;
        all
    })?;
    Ok(was_there)
}

/// Keeps what became of a look; one that was taken out meanwhile stays out, and what its user has changed stays changed.
pub(super) fn note(state: &StateDir, looked: &Entry) -> Result<(), StateError> {
    let note = |held: Option<Vec<Entry>>| {
        let mut all = held.unwrap_or_default();
        if let Some(entry) = all.iter_mut().find(|entry| entry.link == looked.link) {
            let held = entry.clone();
            *entry = Entry { by: held.by, lifetime_s: held.lifetime_s, paths: held.paths, ..looked.clone() };
            if held.asked != looked.asked {
                (entry.asked, entry.due, entry.fingerprint) = (held.asked, held.due, held.fingerprint);
            }
        }
        all
    };
    state.update(FILE, note).map(drop)
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::ChaCha20Rng;

    use super::*;

    const NOW: UnixTime = UnixTime(1_800_000_000);
    const DAY: u64 = 86_400;

    fn entry(number: usize) -> Entry {
        let demands = Demands { hops_min: 3, stagger_min_us: 0, distinct: true, bind: None };
        Entry::new(format!("bauta1{number}"), By::Nobody, DAY, Paths { demands, by_node: true }, NOW)
    }

    fn state() -> (tempfile::TempDir, StateDir) {
        let home = tempfile::tempdir().unwrap();
        let state = StateDir::open(home.path().join("state")).unwrap();
        (home, state)
    }

    #[test]
    fn what_is_added_is_there_until_it_is_removed_and_no_more_than_the_cap() {
        let (_home, state) = state();
        assert!(read(&state).unwrap().is_empty());
        for number in 0..KEPT_MAX {
            add(&state, entry(number)).unwrap();
        }
        assert!(add(&state, entry(KEPT_MAX)).unwrap_err().is::<Full>());
        // One that is there takes no room: its user has changed their mind about it.
        add(&state, Entry { by: By::Key("mine".into()), lifetime_s: 7 * DAY, ..entry(3) }).unwrap();
        let all = read(&state).unwrap();
        assert_eq!((all.len(), all[3].lifetime_s), (KEPT_MAX, 7 * DAY));
        assert!(remove(&state, &entry(3).id()).unwrap());
        assert!(!remove(&state, &entry(3).id()).unwrap());
        add(&state, entry(KEPT_MAX)).unwrap();
        assert_eq!(read(&state).unwrap().len(), KEPT_MAX);
    }

    #[test]
    fn a_look_is_noted_and_neither_brings_back_what_was_removed_nor_undoes_what_was_changed() {
        let (_home, state) = state();
        let (mut one, other) = (entry(1), entry(2));
        add(&state, one.clone()).unwrap();
        add(&state, Entry { lifetime_s: 5 * DAY, asked: NOW.0 + 1, due: NOW.0 + 1, ..one.clone() }).unwrap();
        one.fingerprint = Some([1; 32]);
        one.looked(NOW, Last::Well, Some(UnixTime(NOW.0 + DAY)), &mut ChaCha20Rng::seed_from_u64(1));
        note(&state, &one).unwrap();
        note(&state, &other).unwrap();
        let all = read(&state).unwrap();
        assert_eq!((all.len(), all[0].last, all[0].lifetime_s), (1, Last::Well, 5 * DAY));
        assert_eq!((all[0].due, all[0].fingerprint), (NOW.0 + 1, None), "it was asked for anew during the look");
        // Who can sign is not forgotten when the bare link is added.
        add(&state, Entry { by: By::Key("mine".into()), ..all[0].clone() }).unwrap();
        add(&state, entry(1)).unwrap();
        assert!(read(&state).unwrap()[0].by == By::Key("mine".into()));
    }

    #[test]
    fn the_next_look_is_due_at_about_half_of_the_time_and_soon_when_all_is_not_well_and_later_each_time() {
        let mut rng = ChaCha20Rng::seed_from_u64(1);
        let mut check = |last, bad, until: u64, pause: u64| {
            for _ in 0..50 {
                let mut one = Entry { bad, ..entry(1) };
                one.looked(NOW, last, (until > 0).then_some(UnixTime(NOW.0 + until)), &mut rng);
                let due = one.due - NOW.0;
                assert!((pause * 3 / 4..=pause * 5 / 4).contains(&due), "{last:?} {bad} {until}: {due}");
            }
        };
        check(Last::Well, 7, 4 * DAY, 2 * DAY);
        check(Last::KeyGone, 7, 4 * DAY, 2 * DAY);
        check(Last::Well, 0, 1, KEEP_RETRY_S);
        for last in [Last::Wanting, Last::Untold, Last::Failed(4)] {
            check(last, 0, 4 * DAY, KEEP_RETRY_S);
            check(last, 3, 4 * DAY, 8 * KEEP_RETRY_S);
            check(last, u32::MAX, 4 * DAY, 2 * DAY);
            check(last, 40, 0, KEEP_HOPELESS_S);
            check(last, 9, 1, KEEP_RETRY_S);
        }
        for last in [Last::Failed(3), Last::Changed, Last::TooLong, Last::WeakerPaths] {
            check(last, 0, 4 * DAY, KEEP_HOPELESS_S);
        }
        let mut over = Entry { until: NOW.0, ..entry(1) };
        over.looked(NOW, Last::Failed(4), None, &mut rng);
        assert!(over.due >= NOW.0 + KEEP_HOPELESS_S * 3 / 4, "its time is over");
        let (mut one, mut bad) = (entry(1), Vec::new());
        for last in [Last::Untold, Last::Failed(4), Last::Well, Last::Wanting] {
            one.looked(NOW, last, None, &mut rng);
            bad.push(one.bad);
        }
        assert_eq!(bad, [1, 2, 0, 1]);
    }

    #[test]
    fn what_its_owner_could_have_prolonged_and_did_not_is_complained_of_and_what_nobody_can_is_not() {
        let after = |by: By, left: u64| {
            let one = Entry { by, looked: NOW.0, last: Last::Well, until: NOW.0 + left, ..entry(1) };
            one.complaint(NOW).is_some()
        };
        let key = || By::Key("mine".into());
        assert!(!after(key(), DAY / 3) && after(key(), DAY / 3 - 1) && !after(By::Nobody, 1));
        let asked_anew = Entry { asked: NOW.0 + 1, looked: NOW.0, until: NOW.0 + 9, by: key(), ..entry(1) };
        assert!(asked_anew.complaint(NOW).is_none(), "nobody has looked since");
    }

    #[test]
    fn what_may_take_longer_to_move_than_half_of_its_time_is_known_at_the_byte() {
        let with = |len| Entry { by: By::Key("mine".into()), len, ..entry(1) }.is_slow();
        let most = (DAY / 2 + 1) * KEEP_BYTES_PER_S - 1;
        assert!(!with(most) && with(most + 1));
    }

    #[test]
    fn upkeep_that_is_behind_is_complained_of_and_not_a_moment_before() {
        let mut one = entry(1);
        let late = |seconds: u64| UnixTime(NOW.0 + KEEP_LATE_S + seconds);
        assert!(one.complaint(late(0)).is_none());
        assert!(one.complaint(late(1)).is_some_and(|why| why.contains("keep now")));
        one.looked(NOW, Last::Well, Some(UnixTime(NOW.0 + DAY)), &mut ChaCha20Rng::seed_from_u64(1));
        assert!(one.complaint(NOW).is_none() && one.complaint(UnixTime(one.until - 1)).is_some());
        assert_eq!(one.complaint(UnixTime(one.until)), Some("its time is over"));
        for last in [Last::Wanting, Last::Untold, Last::Failed(3), Last::Failed(4), Last::Changed, Last::KeyGone] {
            one.last = last;
            assert!(one.complaint(NOW).is_some());
        }
    }
}
