//! The anonymity meter: from what relays that work together saw of a run, how far they can tell who asked and what was asked.
//! Truth only makes the pieces that they saw, and the score. It must not know worlds, nodes or scenarios.
//! Source: spec/simulation.md §7.

mod delays;
mod posterior;
mod seen;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

pub use self::delays::Delay;
pub use self::posterior::Posterior;
pub use self::seen::Known;
use self::seen::Pool;
use super::draw::real_count;

/// Two lookups of one client that are less apart may be of one operation, and are not counted as two for [`Clusters`]; seconds.
const APART_S: f64 = 10.0;

/// A relay of a path.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Hop {
    /// Which.
    pub relay: u32,
    /// When the build packet came to it, seconds.
    pub came: f64,
    /// When it was passed on, seconds; at an exit, when the request came out.
    pub left: f64,
}

/// One circuit with one question, and everything about it.
#[derive(Clone, PartialEq, Debug)]
pub struct Lookup {
    /// Who asked.
    pub client: u32,
    /// For what.
    pub location: u32,
    /// Whether something was stored there.
    pub is_store: bool,
    /// Its relays, the guard first.
    pub hops: Vec<Hop>,
    /// Which storers the exit asked, and when first; seconds.
    pub asked: Vec<(u32, f64)>,
}

impl Lookup {
    /// When the first of these storers was asked.
    fn asked_first(&self, bad: &BTreeSet<u32>) -> Option<f64> {
        self.asked.iter().filter(|(storer, _)| bad.contains(storer)).map(|(_, at)| *at).min_by(f64::total_cmp)
    }

    fn guard(&self) -> Option<u32> {
        self.hops.first().map(|hop| hop.relay)
    }
}

/// The same lookups in less time, each as long as before: a crowd so many times as dense.
#[must_use]
pub fn pressed(lookups: &[Lookup], times: f64) -> Vec<Lookup> {
    let press = |lookup: &Lookup| {
        let begun = lookup.hops.first().map_or(0.0, |hop| hop.came);
        let moved = |at: f64| at - begun + begun / times;
        let hop = |hop: &Hop| Hop { came: moved(hop.came), left: moved(hop.left), ..*hop };
        Lookup {
            hops: lookup.hops.iter().map(hop).collect(),
            asked: lookup.asked.iter().map(|(storer, at)| (*storer, moved(*at))).collect(),
            ..*lookup
        }
    };
    lookups.iter().map(press).collect()
}

/// What was lost over some lookups.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Sums {
    /// Lookups.
    pub lookups: usize,
    /// Of them, those whose question was seen by the attacker.
    pub seen: usize,
    /// Those whose asker he suspects above all others together, and rightly.
    pub linked: usize,
    /// The same wrongly.
    pub wrong: usize,
    /// How sure he was of all those, as chances added up.
    pub sure: f64,
    /// Bits about the asker that were lost, added up.
    pub asker_bits: f64,
    /// Those whose client he saw and whose place he suspects above all others together, and rightly.
    pub target_linked: usize,
    /// Bits about the place, added up.
    pub target_bits: f64,
}

impl Sums {
    /// A number of them as a share of all lookups.
    #[must_use]
    pub fn share(&self, count: usize) -> f64 {
        real_count(count) / real_count(self.lookups.max(1))
    }

    /// A sum over all lookups as a mean.
    #[must_use]
    pub fn mean(&self, sum: f64) -> f64 {
        sum / real_count(self.lookups.max(1))
    }

    fn add(&mut self, other: &Self) {
        self.lookups += other.lookups;
        self.seen += other.seen;
        self.linked += other.linked;
        self.wrong += other.wrong;
        self.sure += other.sure;
        self.asker_bits += other.asker_bits;
        self.target_linked += other.target_linked;
        self.target_bits += other.target_bits;
    }
}

/// What an attacker made of a run.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Score {
    /// Lookups that read.
    pub readers: Sums,
    /// Lookups that stored.
    pub publishers: Sums,
    /// Clients that asked anything.
    pub clients: usize,
    /// Of them, those that were rightly suspected at least once.
    pub clients_linked: usize,
}

impl Score {
    /// Readers and publishers.
    #[must_use]
    pub fn all(&self) -> Sums {
        let mut all = self.readers;
        all.add(&self.publishers);
        all
    }

    /// Share of the clients that were linked to something they asked.
    #[must_use]
    pub fn ever(&self) -> f64 {
        real_count(self.clients_linked) / real_count(self.clients.max(1))
    }

    fn of(&mut self, lookup: &Lookup) -> &mut Sums {
        if lookup.is_store { &mut self.publishers } else { &mut self.readers }
    }
}

/// Both attackers.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Scores {
    /// An oracle tells which pieces belong to one circuit.
    pub perfect: Score,
    /// Pieces are matched by times and neighbours, against the crowd.
    pub blurred: Score,
}

/// What these relays together make of these lookups.
#[must_use]
pub fn measure(lookups: &[Lookup], bad: &BTreeSet<u32>, known: &Known) -> Scores {
    let pool = Pool::of(lookups, bad, known);
    let at_guard = |lookup: &Lookup| lookup.guard().filter(|guard| bad.contains(guard)).map(|_| lookup.client);
    let (askers, targets) = pool.blurred();
    let (mut perfect, mut blurred) = (Tally::of(lookups, known), Tally::of(lookups, known));
    for (question, asker) in pool.questions.iter().zip(&askers) {
        let Some(lookup) = lookups.get(question.of) else { continue };
        perfect.asker(lookup, &pool.asker_perfect(question, at_guard(lookup)));
        blurred.asker(lookup, asker);
        if at_guard(lookup).is_some() {
            perfect.target(lookup, &Posterior::certain(lookup.location));
        }
        if matches!(question.origin, seen::Origin::Client(_)) {
            blurred.target(lookup, &Posterior::certain(lookup.location));
        }
    }
    for (start, target) in pool.starts.iter().zip(&targets) {
        if let Some(lookup) = lookups.get(start.of) {
            blurred.target(lookup, target);
        }
    }
    Scores { perfect: perfect.close(), blurred: blurred.close() }
}

/// A score in the making.
struct Tally {
    score: Score,
    linked: BTreeSet<u32>,
    clients_bits: f64,
    places_bits: f64,
}

impl Tally {
    fn of(lookups: &[Lookup], known: &Known) -> Self {
        let clients: BTreeSet<u32> = lookups.iter().map(|lookup| lookup.client).collect();
        let mut score = Score { clients: clients.len(), ..Score::default() };
        lookups.iter().for_each(|lookup| score.of(lookup).lookups += 1);
        let bits = |count: usize| real_count(count.max(1)).log2();
        Self { score, linked: BTreeSet::new(), clients_bits: bits(known.clients), places_bits: bits(known.places) }
    }

    fn asker(&mut self, lookup: &Lookup, asker: &Posterior) {
        let bits = self.clients_bits - asker.entropy();
        let sums = self.score.of(lookup);
        sums.seen += 1;
        sums.asker_bits += bits;
        if let Some((suspect, chance)) = asker.suspect() {
            sums.sure += chance;
            if suspect == lookup.client {
                sums.linked += 1;
                self.linked.insert(suspect);
            } else {
                sums.wrong += 1;
            }
        }
    }

    fn target(&mut self, lookup: &Lookup, target: &Posterior) {
        let bits = self.places_bits - target.entropy();
        let sums = self.score.of(lookup);
        sums.target_bits += bits;
        sums.target_linked += usize::from(target.suspect().is_some_and(|(place, _)| place == lookup.location));
    }

    fn close(mut self) -> Score {
        self.score.clients_linked = self.linked.len();
        self.score
    }
}

/// How far the hop before an exit tells lookups of one client from those of others: pairs of lookups that exits of the attacker
/// opened, all of different operations.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Clusters {
    /// Pairs.
    pub pairs: f64,
    /// Of them, those of one client.
    pub of_one: f64,
    /// Those with the same relay before the exit.
    pub same_hop: f64,
    /// Those of one client with the same relay before the exit.
    pub of_one_same_hop: f64,
}

impl Clusters {
    /// What these relays, as exits, see of these lookups.
    #[must_use]
    pub fn of(lookups: &[Lookup], bad: &BTreeSet<u32>) -> Self {
        let mut seen: Vec<Opened> = lookups.iter().filter_map(|lookup| Opened::of(lookup, bad)).collect();
        seen.sort_by(|one, other| one.client.cmp(&other.client).then(one.at.total_cmp(&other.at)));
        seen.dedup_by(|next, kept| next.client == kept.client && next.at - kept.at < APART_S);
        let of = |key: fn(&Opened) -> (u32, u32)| pairs(seen.iter().map(key));
        Self {
            pairs: of(|_| (0, 0)),
            of_one: of(|one| (one.client, 0)),
            same_hop: of(|one| (one.before, 0)),
            of_one_same_hop: of(|one| (one.client, one.before)),
        }
    }
}

/// Pairs with equal keys.
fn pairs(keys: impl Iterator<Item = (u32, u32)>) -> f64 {
    let mut counts: BTreeMap<(u32, u32), usize> = BTreeMap::new();
    keys.for_each(|key| *counts.entry(key).or_default() += 1);
    counts.values().map(|count| real_count(*count) * (real_count(*count) - 1.0) / 2.0).sum()
}

/// A lookup that an exit of the attacker opened.
struct Opened {
    client: u32,
    at: f64,
    /// The relay before the exit.
    before: u32,
}

impl Opened {
    fn of(lookup: &Lookup, bad: &BTreeSet<u32>) -> Option<Self> {
        let (exit, rest) = lookup.hops.split_last()?;
        let before = rest.last()?.relay;
        bad.contains(&exit.relay).then_some(Self { client: lookup.client, at: exit.came, before })
    }
}
