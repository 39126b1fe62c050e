//! Newest sequence numbers of what this user published: an update names the one it replaces, and an old value that is served
//! instead is noticed. Source: spec/state.md §8.

use serde::{Deserialize, Serialize};

use crate::disk::{StateDir, StateError};
use crate::limits::{EXPIRY_MAX_S, EXPIRY_STEP_S, PUBLISHED_REMEMBERED_MAX, SEQ_FIRST_MAX, SEQ_STEP_MAX};
use crate::net::Clock;
use crate::record::Locator;
use crate::time::{Duration, UnixTime};
use crate::wire::record::Expiry;

/// A value is sealed so long after its bounds were kept, at most.
const SEALED_WITHIN_S: u64 = 600;

const FILE: &str = "published";

/// Numbers of one publication.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(super) struct Numbers {
    /// The newest that was stored with all receipts: nothing older is taken.
    pub(super) stored: u64,
    /// None that may have been sent is greater: the next one is, or a part that an unfinished publication left at some holder
    /// would be newer than what comes after it.
    pub(super) sent: u64,
    /// Nothing that may have been sent ends later, seconds since 1970: what replaces it does not end before, or it would come back.
    pub(super) until: u64,
}

/// By the first location, oldest first.
#[derive(Clone, Default, Serialize, Deserialize)]
pub(super) struct Published {
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
        let (stored, sent) = (new.stored.max(known.stored), new.sent.max(known.sent));
        let numbers = Numbers { stored, sent, until: new.until.max(known.until) };
        self.numbers.push((place, numbers));
    }
}

/// What is known of a place; zeros for nothing.
pub(super) fn known(state: &StateDir, locator: &Locator) -> Result<Numbers, StateError> {
    let published: Published = state.read(FILE)?.unwrap_or_default();
    Ok(published.of(&place_of(locator)))
}

/// Before anything is sent: keeps bounds of the number that is about to be drawn, and of when it ends. The lifetime that it is to have:
/// the one wished for, or as much more as it takes not to end before what was sent earlier.
pub(super) fn about_to_send(
    state: &StateDir,
    locator: &Locator,
    previous: Option<u64>,
    wished: Duration,
    now: UnixTime,
) -> Result<Duration, StateError> {
    let known = known(state, locator)?;
    let above = previous.unwrap_or(SEQ_FIRST_MAX).max(known.sent);
    // Ends are rounded up to a step: half a step less comes to the same one, and to no later one while the way there is built.
    let left = known.until.saturating_sub(now.0).saturating_sub(EXPIRY_STEP_S / 2);
    // What was sent under a clock that ran ahead is held by nobody for longer than storers take, and they refuse more. The end is rounded
    // up by a step at most; another one is for clocks.
    let left = left.min(EXPIRY_MAX_S - 2 * EXPIRY_STEP_S);
    let lifetime = wished.max(Duration::from_secs(left));
    let until = Expiry::at_least(UnixTime(now.0.saturating_add(lifetime.as_secs() + SEALED_WITHIN_S))).time().0;
    remember(state, locator, Numbers { stored: 0, sent: above.saturating_add(SEQ_STEP_MAX), until })?;
    Ok(lifetime)
}

/// The present, as the machine's clock has it.
pub(super) fn present() -> UnixTime {
    Clock::start().now().unix
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
            remember(&state, &locator, Numbers { stored, sent: stored, until: stored }).unwrap();
            assert_eq!(known(&state, &locator).unwrap(), Numbers { stored: newest, sent: newest, until: newest });
        }
        let mut published = Published::default();
        for number in 0..=PUBLISHED_REMEMBERED_MAX {
            let mut place = [0; 20];
            place[..8].copy_from_slice(&number.to_be_bytes());
            published.remember(place, Numbers { stored: 1, sent: 1, until: 1 });
        }
        assert_eq!(published.numbers.len(), PUBLISHED_REMEMBERED_MAX);
        assert!(published.numbers.iter().all(|(place, _)| *place != [0; 20]));
    }

    #[test]
    fn no_number_that_may_have_been_sent_is_drawn_again_or_passed_from_below() {
        let home = tempfile::tempdir().unwrap();
        let state = StateDir::open(home.path().join("state")).unwrap();
        let locator = Locator::of_author(&IdentitySecret::from_bytes(&[1; 32]), b"label").unwrap();
        let send = |previous| about_to_send(&state, &locator, previous, Duration::from_secs(1), UnixTime(0)).unwrap();
        send(None);
        let first = known(&state, &locator).unwrap();
        assert_eq!((first.stored, first.sent), (0, SEQ_FIRST_MAX + SEQ_STEP_MAX));
        // It failed half way; the network shows an older one.
        send(Some(7));
        assert!(known(&state, &locator).unwrap().sent > first.sent);
    }

    #[test]
    fn what_replaces_a_value_that_was_sent_ends_no_earlier_than_it_and_no_step_later_each_time() {
        let home = tempfile::tempdir().unwrap();
        let state = StateDir::open(home.path().join("state")).unwrap();
        let locator = Locator::of_author(&IdentitySecret::from_bytes(&[1; 32]), b"label").unwrap();
        let (begun, day) = (1_700_000_123, 86_400);
        let ends = |lifetime: Duration, now: u64| Expiry::at_least(UnixTime(now + lifetime.as_secs())).time().0;
        let send = |lifetime, now| {
            about_to_send(&state, &locator, None, Duration::from_secs(lifetime), UnixTime(now)).unwrap()
        };
        // It is sent half way, and nothing more is heard of it.
        let long = send(10 * day, begun);
        assert_eq!(long, Duration::from_secs(10 * day));
        let latest = ends(long, begun + SEALED_WITHIN_S);
        for later in [1, 3_600, 3 * day, 9 * day] {
            let lifetime = send(day, begun + later);
            for sealed in [0, SEALED_WITHIN_S] {
                assert!(ends(lifetime, begun + later + sealed) >= latest, "{later}");
            }
            assert_eq!(known(&state, &locator).unwrap().until, latest, "{later}");
        }
        assert_eq!(send(day, begun + 20 * day), Duration::from_secs(day), "what is over binds nobody");
    }

    #[test]
    fn a_clock_that_once_ran_ahead_makes_nothing_that_storers_refuse() {
        let home = tempfile::tempdir().unwrap();
        let state = StateDir::open(home.path().join("state")).unwrap();
        let locator = Locator::of_author(&IdentitySecret::from_bytes(&[1; 32]), b"label").unwrap();
        let (begun, day) = (1_700_000_123, Duration::from_secs(86_400));
        about_to_send(&state, &locator, None, day, UnixTime(begun + 400 * 86_400)).unwrap();
        let lifetime = about_to_send(&state, &locator, None, day, UnixTime(begun)).unwrap();
        assert!(lifetime > 20 * day, "as long as may be");
        let end = Expiry::at_least(UnixTime(begun + SEALED_WITHIN_S + lifetime.as_secs())).time().0;
        assert!(end <= begun + EXPIRY_MAX_S, "{end}");
    }
}
