//! Further copies of what very many ask for, and who is sent on to them. It must not put off any repair: it has a budget and
//! checks of its own. Source: spec/dht.md §7.5.

use super::check::Check;
use super::places::Spot;
use super::{Repair, Surroundings, spot_of};
use crate::dht::store::Place;
use crate::limits::{HOT_CHECKS_MAX, REPAIR_REACH};
use crate::time::{Duration, Now};
use crate::wire::contact::Contact;
use crate::wire::statement::Nonce;

impl Repair {
    /// Counts a question for a value that is held here. Where very many ask for it, sees to further copies; tells whether this one
    /// is to be left to those that have them.
    pub fn is_passed_on(&mut self, now: Now, place: Place, nonce: &Nonce, around: &mut Surroundings<'_>) -> bool {
        let spot = spot_of(place);
        if spot.1.holders_hot() <= spot.1.holders() {
            return false;
        }
        let Some((counted, beyond)) = self.demand.asked(now.instant, &spot, around.rng) else { return false };
        let (is_widened, is_due) = (counted.is_widened, counted.look_at <= now.instant);
        if is_due {
            self.widen(now, spot, beyond, around);
        }
        is_widened && nonce.may_be_passed_on()
    }

    /// How many checks are under way of those for further copies, or of the others.
    pub(super) fn checks_under_way(&self, widens: bool) -> usize {
        self.checks.values().filter(|check| check.widens == widens).count()
    }

    /// Looks whether the next nearest have the value, and gives it to them. What there is no room for now the next question
    /// brings up again.
    fn widen(&mut self, now: Now, spot: Spot, beyond: Duration, around: &mut Surroundings<'_>) {
        let has_room = self.checks_under_way(true) < HOT_CHECKS_MAX && self.widening.free_at() <= now.instant;
        let Some(kept) = self.places.get(&spot).filter(|_| has_room && !self.checks.contains_key(&spot)) else {
            return;
        };
        let own = (kept.holding.seq, kept.holding.digest);
        let closest = (around.closest)(&spot.0, REPAIR_REACH);
        let rank = self.rank(&closest);
        if rank >= spot.1.holders() {
            // It has such a copy itself.
            return self.demand.looked(now.instant, &spot, false);
        }
        if beyond < self.timing.hot_after * u32::try_from(rank).unwrap_or(u32::MAX) / 2 {
            // The nearest sees as many questions, and is a little sooner.
            return;
        }
        let others: Vec<Contact> =
            closest.into_iter().take(spot.1.holders_hot()).filter(|one| one.id != self.own).collect();
        let mut check = Check::new(own, rank, others.clone(), now.instant + self.timing.check_max);
        check.widens = true;
        self.insert_check(spot, check);
        for to in &others {
            self.ask_what(now, &spot, *to, false, around);
        }
        if others.is_empty() {
            self.finish(now, &spot, around);
        }
    }

    pub(super) fn widened(&mut self, now: Now, spot: &Spot, check: &Check) {
        self.counts.copies_widened += u64::try_from(check.sent).unwrap_or(u64::MAX);
        // Of the holders this relay is one.
        self.demand.looked(now.instant, spot, check.copies_beyond(spot.1.holders() - 1) > 0);
    }
}
