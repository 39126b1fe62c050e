//! Newest sequence numbers of what this user published: an update names the one it replaces, and an old value that is served
//! instead is noticed. Source: spec/state.md §8.

use serde::{Deserialize, Serialize};

use crate::disk::{StateDir, StateError};
use crate::limits::PUBLISHED_REMEMBERED_MAX;
use crate::record::Locator;

const FILE: &str = "published";

/// By the first location, oldest first.
#[derive(Clone, Default, Serialize, Deserialize)]
struct Published {
    newest: Vec<([u8; 20], u64)>,
}

impl Published {
    /// At the end, as the youngest; the oldest is forgotten for it.
    fn remember(&mut self, place: [u8; 20], seq: u64) {
        let known = self.newest.iter().find(|(at, _)| *at == place).map_or(0, |(_, seq)| *seq);
        self.newest.retain(|(at, _)| *at != place);
        if self.newest.len() >= PUBLISHED_REMEMBERED_MAX {
            self.newest.remove(0);
        }
        self.newest.push((place, seq.max(known)));
    }
}

/// The number last published here; 0 for none.
pub(super) fn last(state: &StateDir, locator: &Locator) -> Result<u64, StateError> {
    let place = place_of(locator);
    let published: Published = state.read(FILE)?.unwrap_or_default();
    Ok(published.newest.iter().find(|(at, _)| *at == place).map_or(0, |(_, seq)| *seq))
}

/// Keeps a number.
pub(super) fn remember(state: &StateDir, locator: &Locator, seq: u64) -> Result<(), StateError> {
    let place = place_of(locator);
    let add = |held: Option<Published>| {
        let mut published = held.unwrap_or_default();
        published.remember(place, seq);
        published
    };
    state.update(FILE, add).map(drop)
}

fn place_of(locator: &Locator) -> [u8; 20] {
    let [first, ..] = locator.locations();
    first.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::keys::IdentitySecret;

    #[test]
    fn the_newest_number_stays_and_the_oldest_publication_is_forgotten_at_the_cap() {
        let home = tempfile::tempdir().unwrap();
        let state = StateDir::open(home.path().join("state")).unwrap();
        let locator = Locator::of_author(&IdentitySecret::from_bytes(&[1; 32]), b"label").unwrap();
        assert_eq!(last(&state, &locator).unwrap(), 0);
        for (seq, newest) in [(5, 5), (9, 9), (7, 9)] {
            remember(&state, &locator, seq).unwrap();
            assert_eq!(last(&state, &locator).unwrap(), newest);
        }
        let mut published = Published::default();
        for number in 0..=PUBLISHED_REMEMBERED_MAX {
            let mut place = [0; 20];
            place[..8].copy_from_slice(&number.to_be_bytes());
            published.remember(place, 1);
        }
        assert_eq!(published.newest.len(), PUBLISHED_REMEMBERED_MAX);
        assert!(published.newest.iter().all(|(place, _)| *place != [0; 20]));
    }
}
