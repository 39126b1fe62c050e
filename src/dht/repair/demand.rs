//! How often values that are held here were asked for lately, and which of them have copies beyond their holders. Knows no value,
//! nor who asks. Source: spec/dht.md §7.5.

use core::fmt;
use std::collections::BTreeMap;

use zeroize::Zeroizing;

use super::places::Spot;
use crate::crypto::hash::blake3_keyed;
use crate::crypto::{CryptoRng, random_bytes};
use crate::limits::{HOT_ASK_EVERY, HOT_COUNTED_MAX, HOT_LASTS, HOT_RETRY};
use crate::time::{Duration, Instant};
use crate::wire::record::ValueKind;

/// What is known of one value.
#[derive(Debug)]
pub(super) struct Counted {
    spot: Spot,
    /// When all questions so far will be what a holder takes for long.
    paid_at: Instant,
    /// Looks in a row that found no copy, and could make none.
    failed: u32,
    /// Others have it, too.
    pub(super) is_widened: bool,
    /// Copies are looked after then, should it be hot.
    pub(super) look_at: Instant,
}

/// The counts. Each place has one row of [`HOT_COUNTED_MAX`], by a secret key: nobody can choose places that meet.
///
/// Invariant: a row goes to another place when its own has nothing ahead any more, never sooner.
pub(super) struct Demand {
    hot_after: Duration,
    key: Option<Zeroizing<[u8; 32]>>,
    rows: BTreeMap<usize, Counted>,
}

impl Counted {
    fn new(spot: &Spot, now: Instant) -> Self {
        Self { spot: *spot, paid_at: now, failed: 0, is_widened: false, look_at: now }
    }
}

impl Demand {
    /// Nothing was asked for yet.
    pub(super) fn new(hot_after: Duration) -> Self {
        Self { hot_after, key: None, rows: BTreeMap::new() }
    }

    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    /// Counts a question. If very many ask for it: what is known of it, and how far it is beyond what makes it so.
    pub(super) fn asked(
        &mut self,
        now: Instant,
        spot: &Spot,
        rng: &mut dyn CryptoRng,
    ) -> Option<(&mut Counted, Duration)> {
        let row = self.row_of(spot, rng);
        let counted = self.rows.entry(row).or_insert_with(|| Counted::new(spot, now));
        if counted.spot != *spot {
            // Its own comes back for every question of another: who is asked for more has the row in the end.
            counted.paid_at = Instant::ZERO + Instant::ZERO.until(counted.paid_at).saturating_sub(HOT_ASK_EVERY);
            if counted.paid_at > now {
                return None;
            }
            *counted = Counted::new(spot, now);
        }
        // It cools in no longer than it took to become hot.
        counted.paid_at = (counted.paid_at.max(now) + HOT_ASK_EVERY).min(now + self.hot_after * 2);
        let beyond = now.until(counted.paid_at).checked_sub(self.hot_after).filter(|beyond| !beyond.is_zero())?;
        Some((counted, beyond))
    }

    /// A look after the copies of a value has ended; whether there are any beyond the holders. Where there are none time after time,
    /// it is tried ever more rarely: others wait for their turn.
    pub(super) fn looked(&mut self, now: Instant, spot: &Spot, is_widened: bool) {
        if let Some(counted) = self.rows.values_mut().find(|counted| counted.spot == *spot) {
            let longer = 1_u32.checked_shl(counted.failed).unwrap_or(u32::MAX);
            let retry = HOT_RETRY.saturating_mul(longer).min(HOT_LASTS);
            counted.look_at = now + if is_widened { HOT_LASTS } else { retry };
            counted.failed = if is_widened { 0 } else { counted.failed.saturating_add(1) };
            counted.is_widened = is_widened;
        }
    }

    fn row_of(&mut self, (location, kind): &Spot, rng: &mut dyn CryptoRng) -> usize {
        let key = self.key.get_or_insert_with(|| Zeroizing::new(random_bytes(rng)));
        let hash = blake3_keyed(key, &[b"bauta/1 asked", &[u8::from(*kind == ValueKind::Hashed)], &location.0]);
        let number = hash.first_chunk().map_or(0, |bytes| u32::from_be_bytes(*bytes));
        usize::try_from(number).unwrap_or(0) % HOT_COUNTED_MAX
    }
}

impl fmt::Debug for Demand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Demand").field("rows", &self.rows.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::ChaCha20Rng;

    use super::*;
    use crate::keyspace::Id;
    use crate::limits::HOT_AFTER;

    fn spot(number: u32) -> Spot {
        let hash = crate::crypto::hash::blake3(&[&number.to_be_bytes()]);
        (Id(*hash.first_chunk().unwrap()), ValueKind::Hashed)
    }

    struct Counting {
        demand: Demand,
        rng: ChaCha20Rng,
        now: Instant,
    }

    impl Counting {
        fn new() -> Self {
            Self { demand: Demand::new(HOT_AFTER), rng: ChaCha20Rng::seed_from_u64(1), now: Instant::ZERO }
        }

        /// Whether it is hot with this question.
        fn is_hot(&mut self, number: u32) -> bool {
            self.demand.asked(self.now, &spot(number), &mut self.rng).is_some()
        }

        fn pass(&mut self, millis: u64) {
            self.now = self.now + Duration::from_millis(millis);
        }
    }

    #[test]
    fn a_value_is_hot_when_questions_come_faster_than_one_holder_takes_them_and_cools_soon() {
        let mut counting = Counting::new();
        for _ in 0..10_000 {
            assert!(!counting.is_hot(1), "one each second is taken for ever");
            counting.pass(1_000);
        }
        let asked = (1..1_000).find(|_| counting.is_hot(1)).unwrap();
        assert_eq!(asked, 31, "all at once");
        for _ in 0..100_000 {
            counting.is_hot(1);
        }
        counting.pass(1_000 * (HOT_AFTER.as_secs() + 2));
        assert!(!counting.is_hot(1));
    }

    #[test]
    fn rows_are_capped_and_what_many_ask_for_keeps_its_own_among_questions_for_all_else() {
        let mut counting = Counting::new();
        let most = u32::try_from(HOT_COUNTED_MAX).unwrap();
        for round in 0..200 {
            (0..20).for_each(|_| {
                counting.is_hot(0);
            });
            // As many others as there are rows, each once: some meet the row of the first.
            (0..most).for_each(|number| {
                counting.is_hot(1 + round * most + number);
            });
            counting.pass(1_000);
        }
        assert!(counting.is_hot(0));
        assert_eq!(counting.demand.len(), HOT_COUNTED_MAX);
    }

    #[test]
    fn a_row_goes_to_another_place_when_its_own_is_asked_for_no_more_and_forgets_what_was_there() {
        let mut counting = Counting::new();
        let row = |counting: &mut Counting, number| counting.demand.row_of(&spot(number), &mut counting.rng);
        let first = row(&mut counting, 0);
        let other = (1..).find(|number| row(&mut counting, *number) == first).unwrap();
        (0..40).for_each(|_| {
            counting.is_hot(0);
        });
        counting.demand.looked(counting.now, &spot(0), true);
        assert!(counting.demand.asked(counting.now, &spot(0), &mut counting.rng).unwrap().0.is_widened);
        assert!(!counting.is_hot(other));
        counting.pass(100_000);
        assert!((0..40).any(|_| counting.is_hot(other)));
        assert!(!counting.demand.asked(counting.now, &spot(other), &mut counting.rng).unwrap().0.is_widened);
        assert_eq!(counting.demand.len(), 1);
    }

    #[test]
    fn where_no_copy_can_be_made_it_is_tried_ever_more_rarely_until_one_is() {
        let mut counting = Counting::new();
        (0..40).for_each(|_| {
            counting.is_hot(1);
        });
        let mut pause = |is_widened| {
            counting.demand.looked(counting.now, &spot(1), is_widened);
            let (counted, _) = counting.demand.asked(counting.now, &spot(1), &mut counting.rng).unwrap();
            counting.now.until(counted.look_at).as_secs()
        };
        let pauses: Vec<u64> = (0..40).map(|_| pause(false)).collect();
        assert_eq!(pauses[..6], [30, 60, 120, 240, 480, 600]);
        assert!(pauses[6..].iter().all(|pause| *pause == HOT_LASTS.as_secs()));
        assert_eq!((pause(true), pause(false), pause(false)), (HOT_LASTS.as_secs(), 30, 60));
    }

    #[test]
    fn which_places_meet_follows_from_the_key_alone() {
        let rows = |seed| {
            let (mut demand, mut rng) = (Demand::new(HOT_AFTER), ChaCha20Rng::seed_from_u64(seed));
            (0..50).map(|number| demand.row_of(&spot(number), &mut rng)).collect::<Vec<_>>()
        };
        assert_eq!(rows(1), rows(1));
        assert_ne!(rows(1), rows(2));
    }
}
