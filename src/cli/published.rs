//! Newest sequence numbers of what this user published: an update names the one it replaces, and an old value that is served
//! instead is noticed. Source: spec/state.md §8.

use serde::{Deserialize, Serialize};

use crate::disk::{StateDir, StateError};
use crate::limits::{PUBLISHED_REMEMBERED_MAX, SEQ_FIRST_MAX, SEQ_STEP_MAX};
use crate::record::Locator;

const FILE: &str = "published";

/// Numbers of one publication.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(super) struct Numbers {
    /// The newest that was stored with all receipts: nothing older is taken.
    pub(super) stored: u64,
    /// None that may have been sent is greater: the next one is, or a part that an unfinished publication left at some holder
    /// would be newer than what comes after it.
    pub(super) sent: u64,
}

/// By the first location, oldest first.
#[derive(Clone, Default, Serialize, Deserialize)]
struct Published {
    numbers: Vec<([u8; 20], Numbers)>,
}

impl Published {
    fn of(&self, place: &[u8; 20]) -> Numbers {
        self.numbers.iter().find(|(at, _)| at == place).map_or_else(Numbers::default, |(_, numbers)| *numbers)
    }

    /// At the end, as the youngest; the oldest is forgotten for it.
    fn remember(&mut self, place: [u8; 20], new: Numbers) {
        let known = self.of(&place);
        self.numbers.retain(|(at, _)| *at != place);
        if self.numbers.len() >= PUBLISHED_REMEMBERED_MAX {
            self.numbers.remove(0);
        }
        let numbers = Numbers { stored: new.stored.max(known.stored), sent: new.sent.max(known.sent) };
        self.numbers.push((place, numbers));
    }
}

/// What is known of a place; zeros for nothing.
pub(super) fn known(state: &StateDir, locator: &Locator) -> Result<Numbers, StateError> {
    let published: Published = state.read(FILE)?.unwrap_or_default();
    Ok(published.of(&place_of(locator)))
}

/// Before anything is sent: keeps a bound of the number that is about to be drawn.
pub(super) fn about_to_send(state: &StateDir, locator: &Locator, previous: Option<u64>) -> Result<(), StateError> {
    let above = previous.unwrap_or(SEQ_FIRST_MAX).max(known(state, locator)?.sent);
    remember(state, locator, Numbers { stored: 0, sent: above.saturating_add(SEQ_STEP_MAX) })
}

/// Keeps numbers; none becomes smaller.
pub(super) fn remember(state: &StateDir, locator: &Locator, numbers: Numbers) -> Result<(), StateError> {
    let place = place_of(locator);
    let add = |held: Option<Published>| {
        let mut published = held.unwrap_or_default();
        published.remember(place, numbers);
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
        assert_eq!(known(&state, &locator).unwrap(), Numbers::default());
        for (stored, newest) in [(5, 5), (9, 9), (7, 9)] {
            remember(&state, &locator, Numbers { stored, sent: stored }).unwrap();
            assert_eq!(known(&state, &locator).unwrap(), Numbers { stored: newest, sent: newest });
        }
        let mut published = Published::default();
        for number in 0..=PUBLISHED_REMEMBERED_MAX {
            let mut place = [0; 20];
            place[..8].copy_from_slice(&number.to_be_bytes());
            published.remember(place, Numbers { stored: 1, sent: 1 });
        }
        assert_eq!(published.numbers.len(), PUBLISHED_REMEMBERED_MAX);
        assert!(published.numbers.iter().all(|(place, _)| *place != [0; 20]));
    }

    #[test]
    fn no_number_that_may_have_been_sent_is_drawn_again_or_passed_from_below() {
        let home = tempfile::tempdir().unwrap();
        let state = StateDir::open(home.path().join("state")).unwrap();
        let locator = Locator::of_author(&IdentitySecret::from_bytes(&[1; 32]), b"label").unwrap();
        about_to_send(&state, &locator, None).unwrap();
        let first = known(&state, &locator).unwrap();
        assert_eq!(first, Numbers { stored: 0, sent: SEQ_FIRST_MAX + SEQ_STEP_MAX });
        // It failed half way; the network shows an older one.
        about_to_send(&state, &locator, Some(7)).unwrap();
        assert!(known(&state, &locator).unwrap().sent > first.sent);
    }
}
