//! What a user wants kept: links with dates, in the state directory. It must not know how anything is looked after.
//! Source: spec/state.md §12.

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::crypto::hash::blake3;
use crate::crypto::{CryptoRng, random_bytes};
use crate::disk::{StateDir, StateError};
use crate::limits::{KEEP_LATE_S, KEEP_RETRY_S, KEPT_MAX};
use crate::time::UnixTime;
use crate::wire::hex;

const FILE: &str = "kept";

/// Something to be kept.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Entry {
    /// Whoever has it can read.
    pub(super) link: Zeroizing<String>,
    pub(super) by: By,
    /// For how long it is prolonged, each time.
    pub(super) lifetime_s: u64,
    /// Times are seconds since 1970; 0 for never, or not known.
    pub(super) added: u64,
    pub(super) looked: u64,
    pub(super) until: u64,
    pub(super) due: u64,
    /// The published name, once it was seen.
    pub(super) file: String,
    pub(super) last: Last,
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
        }
    }
}

impl Entry {
    pub(super) fn new(link: String, by: By, lifetime_s: u64, now: UnixTime) -> Self {
        let link = Zeroizing::new(link);
        let (file, last) = (String::new(), Last::Never);
        Self { link, by, lifetime_s, added: now.0, looked: 0, until: 0, due: now.0, file, last }
    }

    /// What it is called where its link shall not be seen.
    pub(super) fn id(&self) -> String {
        id_of(&self.link)
    }

    /// A look has ended. The next is due when half of the time that is left is gone, give or take a quarter of that; soon, if all is not
    /// well.
    pub(super) fn looked(&mut self, now: UnixTime, last: Last, until: Option<UnixTime>, rng: &mut dyn CryptoRng) {
        (self.looked, self.last) = (now.0, last);
        self.until = until.map_or(self.until, |until| until.0);
        let half = match last {
            Last::Well => (self.until.saturating_sub(now.0) / 2).max(KEEP_RETRY_S),
            Last::Never | Last::Wanting | Last::Untold | Last::Failed(_) => KEEP_RETRY_S,
        };
        let drawn = u64::from(u16::from_be_bytes(random_bytes(rng)));
        self.due = now.0.saturating_add(half * 3 / 4 + (half / 2).saturating_mul(drawn) / 65_536);
    }

    /// Why somebody should see to it; `None` when all is well as far as is known.
    pub(super) fn complaint(&self, now: UnixTime) -> Option<&'static str> {
        match self.last {
            _ if self.until != 0 && self.until <= now.0 => Some("its time is over"),
            Last::Wanting => Some("copies are wanting"),
            Last::Untold => Some("too few holders answered to tell how it is"),
            Last::Failed(_) => Some("the last look at it failed"),
            _ if self.due.saturating_add(KEEP_LATE_S) < now.0 => {
                Some("nobody has looked after it in time: run a relay with this state, or `bauta keep now`")
            }
            Last::Never | Last::Well => None,
        }
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

/// Adds one. Of one that is there already the lifetime is changed, and who signs; it is due now.
pub(super) fn add(state: &StateDir, new: Entry) -> anyhow::Result<()> {
    let mut is_full = false;
    state.update(FILE, |held: Option<Vec<Entry>>| {
        let mut all = held.unwrap_or_default();
        let has_room = all.len() < KEPT_MAX;
        match all.iter_mut().find(|entry| entry.link == new.link) {
            Some(entry) => {
                (entry.by, entry.lifetime_s, entry.due) = (new.by, new.lifetime_s, new.due);
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
            let (by, lifetime_s) = (entry.by.clone(), entry.lifetime_s);
            *entry = Entry { by, lifetime_s, ..looked.clone() };
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
        Entry::new(format!("bauta1{number}"), By::Nobody, DAY, NOW)
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
        add(&state, Entry { lifetime_s: 5 * DAY, ..one.clone() }).unwrap();
        one.looked(NOW, Last::Well, Some(UnixTime(NOW.0 + DAY)), &mut ChaCha20Rng::seed_from_u64(1));
        note(&state, &one).unwrap();
        note(&state, &other).unwrap();
        let all = read(&state).unwrap();
        assert_eq!((all.len(), all[0].last, all[0].lifetime_s), (1, Last::Well, 5 * DAY));
    }

    #[test]
    fn the_next_look_is_due_at_about_half_of_the_time_and_soon_when_all_is_not_well() {
        let mut rng = ChaCha20Rng::seed_from_u64(1);
        let mut due = |last, until: u64| {
            let mut one = entry(1);
            one.looked(NOW, last, Some(UnixTime(NOW.0 + until)), &mut rng);
            one.due - NOW.0
        };
        for _ in 0..200 {
            assert!((DAY * 3 / 2..=DAY * 5 / 2).contains(&due(Last::Well, 4 * DAY)));
            assert!((KEEP_RETRY_S * 3 / 4..=KEEP_RETRY_S * 5 / 4).contains(&due(Last::Wanting, 4 * DAY)));
            assert!(due(Last::Well, 0) >= KEEP_RETRY_S * 3 / 4, "never at once");
        }
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
        for last in [Last::Wanting, Last::Untold, Last::Failed(4)] {
            one.last = last;
            assert!(one.complaint(NOW).is_some());
        }
    }
}
