//! What several bootstraps that told all they know agree on, and whether that is the network. It knows no link and no time, and checks
//! no signature. Source: spec/membership.md §2.3.

use std::collections::{BTreeMap, BTreeSet};

use crate::crypto::keys::NodeKey;
use crate::limits::{MEMBERS_FRESH_FOR, SETTLED_ASK_AGAIN, SETTLED_PERCENT_MIN, SETTLED_WAIT};
use crate::time::{Duration, Instant};
use crate::wire::descriptor::SignedDescriptor;

/// What one bootstrap told, page after page.
#[derive(Default)]
pub(super) struct Told {
    pub(super) descriptors: Vec<SignedDescriptor>,
    /// Whether it said with the last page that it has settled.
    pub(super) settled: bool,
}

/// What they agree on.
pub(super) struct Agreement {
    /// Descriptors that any told, each counted once, number and signature aside.
    pub(super) told: usize,
    /// Whom any told of.
    pub(super) keys: BTreeSet<NodeKey>,
    /// Of the descriptors told, those that enough told alike.
    pub(super) agreed: usize,
    /// Those under every number that they were told under: one bootstrap could say the same under a later one that does not hold.
    pub(super) descriptors: Vec<SignedDescriptor>,
    /// Whether enough of them have settled and tell mostly what is agreed: then it is the network, and no part of it that one that
    /// has just started, or lies, makes of it.
    pub(super) settled: bool,
}

/// What a client does with what bootstraps told.
pub(super) enum Judged {
    Take(Agreement),
    /// They have just started.
    AskAgain,
    Failed,
}

/// How long a client puts up with bootstraps that have not settled.
#[derive(Default)]
pub(super) struct Unsettled {
    /// Until when it waits for them, before what they tell is taken as it is.
    until: Option<Instant>,
    /// What they told last, should they tell nothing any more.
    told: Option<Agreement>,
    /// How often they were asked.
    asked: u32,
}

impl Unsettled {
    /// What to make of what bootstraps agree on, or `None` where too few told, for a client that has no membership.
    pub(super) fn judge(&mut self, now: Instant, agreed: Option<Agreement>) -> Judged {
        if let Some(agreement) = agreed {
            if agreement.settled || now >= *self.until.get_or_insert(now + SETTLED_WAIT) {
                return Judged::Take(agreement);
            }
            self.told = Some(agreement);
        }
        match self.told.take() {
            Some(told) if self.until.is_some_and(|until| now < until) => {
                self.told = Some(told);
                Judged::AskAgain
            }
            Some(told) => Judged::Take(told),
            None => Judged::Failed,
        }
    }

    /// Whether it has begun to wait, and not ended.
    pub(super) fn is_waiting(&self) -> bool {
        self.until.is_some()
    }

    /// It waits no longer.
    pub(super) fn end_wait(&mut self) {
        (self.until, self.told) = (None, None);
    }

    /// The mean pause until they are asked again; it doubles each time.
    pub(super) fn pause(&mut self) -> Duration {
        let mean = SETTLED_ASK_AGAIN * 2_u32.saturating_pow(self.asked.min(16));
        self.asked = self.asked.saturating_add(1);
        mean.min(MEMBERS_FRESH_FOR)
    }
}

/// Takes what at least `needed` say alike, number and signature aside. A descriptor made for this client alone, with an onion key of
/// its own, would mark every circuit through that relay.
pub(super) fn agree(told: &[Told], needed: usize) -> Agreement {
    let mut said: BTreeMap<Vec<u8>, (usize, Vec<SignedDescriptor>)> = BTreeMap::new();
    for descriptor in told.iter().flat_map(|one| &one.descriptors) {
        let (times, variants) = said.entry(descriptor.content()).or_default();
        *times += 1;
        if variants.iter().all(|one| one.as_bytes() != descriptor.as_bytes()) {
            variants.push(descriptor.clone());
        }
    }
    let keys = told.iter().flat_map(|one| &one.descriptors).map(|one| one.claim().0).collect();
    let all = said.len();
    said.retain(|_, (times, _)| *times >= needed);
    let backs = |one: &&Told| {
        let agreed = one.descriptors.iter().filter(|descriptor| said.contains_key(&descriptor.content())).count();
        one.settled && agreed * 100 >= one.descriptors.len() * SETTLED_PERCENT_MIN
    };
    let settled = told.iter().filter(backs).count() >= needed;
    let agreed = said.len();
    let descriptors = said.into_values().flat_map(|(_, variants)| variants).collect();
    Agreement { told: all, keys, agreed, descriptors, settled }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::membership::fixture::relay;

    fn told(numbers: core::ops::Range<u32>, settled: bool) -> Told {
        let mut descriptors: Vec<_> = numbers.map(|number| relay(number).to_signed()).collect();
        descriptors.sort_by_key(|one| one.claim().0);
        Told { descriptors, settled }
    }

    fn check(name: &str, told: &[Told], agreed: usize, settled: bool) {
        let agreement = agree(told, 2);
        assert_eq!((agreement.agreed, agreement.settled), (agreed, settled), "{name}");
    }

    // [MEMB-R-025] [MEMB-R-026]
    #[test]
    fn what_is_agreed_is_the_network_when_two_that_have_settled_tell_mostly_that() {
        let whole = || told(0..20, true);
        check("all have settled", &[whole(), whole(), whole()], 20, true);
        check("two have", &[whole(), whole(), told(0..3, false)], 20, true);
        check("one has", &[whole(), told(0..20, false), told(0..20, false)], 20, false);
        check("none has", &[told(0..20, false), told(0..20, false)], 20, false);
        check("each knows some whom no other knows", &[told(0..16, true), told(4..20, true)], 12, true);
        check("and more than a quarter", &[told(0..15, true), told(4..20, true)], 11, false);
    }

    // [MEMB-R-026]
    #[test]
    fn one_that_lies_neither_makes_a_part_the_network_nor_keeps_the_whole_from_being_it() {
        let (whole, young) = (|| told(0..20, true), || told(0..4, false));
        check("few, beside one that has just started", &[whole(), young(), told(0..4, true)], 4, false);
        check("few, beside one alone", &[whole(), told(0..4, true)], 4, false);
        check("many, beside one that has just started", &[whole(), young(), told(0..60, true)], 20, false);
        for liar in [told(0..0, false), told(0..4, true), told(30..60, true), told(0..60, false)] {
            check("two others have settled", &[whole(), whole(), liar], 20, true);
        }
    }

    // [MEMB-R-024]
    #[test]
    fn one_configured_alone_is_taken_at_its_word() {
        for settled in [true, false] {
            let agreement = agree(&[told(0..5, settled)], 1);
            assert_eq!((agreement.agreed, agreement.told, agreement.keys.len()), (5, 5, 5));
            assert_eq!(agreement.settled, settled);
        }
    }
}
