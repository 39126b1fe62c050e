//! Who asked, and what was asked: what an attacker can say of it, from the pieces that he holds. Source: spec/simulation.md §7.2,
//! §7.3.

use std::collections::BTreeMap;

use super::seen::{Head, Origin, Pool, Question, Start};
use crate::sim::draw::real_count;

/// Less than this is nothing.
const NOTHING: f64 = 1e-12;

/// Chances of clients, or of places: some have one of their own, and the others share a rest evenly.
#[derive(Clone, PartialEq, Debug)]
pub struct Posterior {
    /// Chances by number.
    pub named: BTreeMap<u32, f64>,
    /// The chance that it is one of the others.
    pub rest: f64,
    /// How many others there are.
    pub others: usize,
}

impl Posterior {
    /// It is this one.
    #[must_use]
    pub fn certain(who: u32) -> Self {
        Self { named: BTreeMap::from([(who, 1.0)]), rest: 0.0, others: 0 }
    }

    /// It may be any of so many.
    #[must_use]
    pub fn even(others: usize) -> Self {
        Self { named: BTreeMap::new(), rest: 1.0, others }
    }

    /// By weights; without any weight it may be one of `others`.
    fn weighed(weights: BTreeMap<u32, f64>, rest: f64, others: usize) -> Self {
        let rest = if others == 0 { 0.0 } else { rest };
        let all = weights.values().sum::<f64>() + rest;
        if all <= NOTHING {
            return Self::even(others);
        }
        let named = weights.into_iter().map(|(who, weight)| (who, weight / all)).collect();
        Self { named, rest: rest / all, others }
    }

    /// All chances together: one.
    #[must_use]
    pub fn sum(&self) -> f64 {
        self.named.values().sum::<f64>() + self.rest
    }

    /// What is not known, in bits.
    #[must_use]
    pub fn entropy(&self) -> f64 {
        let of = |p: f64| if p > 0.0 { -p * p.log2() } else { 0.0 };
        let rest =
            if self.rest > 0.0 { of(self.rest) + self.rest * real_count(self.others.max(1)).log2() } else { 0.0 };
        self.named.values().map(|p| of(*p)).sum::<f64>() + rest
    }

    /// Who is more likely than all others together, if anybody, and how likely.
    #[must_use]
    pub fn suspect(&self) -> Option<(u32, f64)> {
        self.named.iter().find(|(_, p)| **p > 0.5).map(|(who, p)| (*who, *p))
    }
}

/// What may have sent something: circuits seen at guards with their weights, and circuits through honest guards.
#[derive(Default)]
struct Sources {
    starts: Vec<(usize, f64)>,
    rest: f64,
}

impl Sources {
    fn all(&self) -> f64 {
        self.rest + self.starts.iter().map(|(_, weight)| weight).sum::<f64>()
    }

    /// Takes these in as one possibility of this weight.
    fn take(&mut self, sources: &Self, weight: f64) {
        let all = sources.all();
        if all > NOTHING {
            let part = weight / all;
            self.starts.extend(sources.starts.iter().map(|(start, weight)| (*start, weight * part)));
            self.rest += sources.rest * part;
        }
    }
}

impl Pool {
    /// Clients that may stand behind honest guards.
    fn unseen(&self) -> usize {
        self.known.clients.saturating_sub(self.clients.len())
    }

    /// With perfect timing: pieces of one circuit are known as such.
    pub(super) fn asker_perfect(&self, question: &Question, seen_at_guard: Option<u32>) -> Posterior {
        match (question.origin, seen_at_guard) {
            (Origin::Client(client), _) | (_, Some(client)) => Posterior::certain(client),
            (Origin::Relay(_), None) => Posterior::even(self.unseen()),
        }
    }

    /// With timing blurred by the crowd, of each question: who asked; and of each circuit at a guard: what it asked for.
    pub(super) fn blurred(&self) -> (Vec<Posterior>, Vec<Posterior>) {
        let mut odds: Vec<Vec<(u32, f64)>> = vec![Vec::new(); self.starts.len()];
        let mut askers = Vec::with_capacity(self.questions.len());
        for question in &self.questions {
            askers.push(match question.origin {
                Origin::Client(client) => Posterior::certain(client),
                Origin::Relay(head) => {
                    let mut sources = self.sources(head);
                    if self.unseen() == 0 {
                        sources.rest = 0.0;
                    }
                    let all = sources.all();
                    let mut weights = BTreeMap::new();
                    for (start, weight) in &sources.starts {
                        if let Some((start, odds)) = self.starts.get(*start).zip(odds.get_mut(*start)) {
                            *weights.entry(start.client).or_insert(0.0) += weight;
                            odds.push((question.location, weight / (all - weight).max(NOTHING * all)));
                        }
                    }
                    self.asker(weights, sources.rest)
                }
            });
        }
        (askers, odds.iter().map(|odds| self.target(odds)).collect())
    }

    fn asker(&self, weights: BTreeMap<u32, f64>, rest: f64) -> Posterior {
        let nobody = weights.values().sum::<f64>() + rest <= NOTHING;
        match self.unseen() {
            0 if nobody => Posterior::even(self.known.clients),
            others => Posterior::weighed(weights, rest, others),
        }
    }

    /// One circuit, and the odds that each of the questions is its own rather than somebody else's; or nobody saw its question.
    /// Source: Bar-Shalom and Tse, Tracking in a cluttered environment with probabilistic data association (1975).
    fn target(&self, odds: &[(u32, f64)]) -> Posterior {
        let mut weights = BTreeMap::new();
        for (location, odds) in odds {
            *weights.entry(*location).or_insert(0.0) += odds;
        }
        let places = self.known.places.max(weights.len());
        let others = places - weights.len();
        let unseen = (1.0 - self.sees).max(NOTHING);
        // Nobody saw it: then it may be any place, one of those among them.
        let each = unseen / real_count(places.max(1));
        weights.values_mut().for_each(|weight| *weight += each);
        Posterior::weighed(weights, each * real_count(others), others)
    }

    /// What may have sent a circuit through this relay at this place in its path, so that it came from there at this time: each
    /// in expected circuits a second.
    fn sources(&self, head: Head) -> Sources {
        let mut sources = Sources::default();
        if head.place < 2 {
            // An honest guard.
            sources.rest = 1.0;
            return sources;
        }
        self.right_before(head, &mut sources);
        let each = 1.0 / real_count(self.known.relays.max(1));
        if head.place == 2 {
            sources.rest += self.honest_rate * each;
            return sources;
        }
        // Right before stands another honest relay, which says nothing.
        for len in 1..head.place - 1 {
            let between = (len + 2..head.place).fold(1.0, |share, _| share * (1.0 - self.bad));
            for (index, density) in self.starts_within(None, len, head) {
                sources.starts.push((index, density * between * each));
            }
        }
        sources.rest += self.honest_rate * (1.0 - self.bad) * each;
        sources
    }

    /// Pieces of the attacker's that passed something on to this very relay.
    fn right_before(&self, head: Head, sources: &mut Sources) {
        let to_it = self.starts_to.get(&head.relay).map_or(&[][..], Vec::as_slice);
        sources.starts.extend(self.starts_within(Some(to_it), head.place - 1, head));
        let to_it = self.middles_to.get(&head.relay).into_iter().flatten();
        let Some(delay) = self.delays.get(&(head.place - 1, head.place + 1)) else { return };
        for middle in to_it.filter_map(|index| self.middles.get(*index)) {
            let density = delay.at(head.at - middle.left);
            // A piece may stand at any place between guard and exit; here it stands at this one.
            let places = self.known.hops.saturating_sub(middle.len + 1).max(1);
            let place = head.place.saturating_sub(middle.len + 1);
            if density > 0.0 && place > 0 {
                let before = self.sources(Head { relay: middle.from, place, at: middle.came });
                sources.take(&before, density / real_count(places));
            }
        }
    }

    /// Circuits at guards, with so many of the attacker's in a row, that may be the one that came: each with the density of its
    /// delay. `among` are those that may be, by time; without it all whose next relay is another one.
    fn starts_within<'p>(
        &'p self,
        among: Option<&'p [usize]>,
        len: usize,
        head: Head,
    ) -> impl Iterator<Item = (usize, f64)> + 'p {
        let delay = self.delays.get(&(len, head.place + 1));
        let from = head.at - delay.map_or(0.0, super::delays::Delay::end);
        let left = |index: &usize| self.starts.get(*index).map_or(0.0, |start| start.left);
        let (begin, end) = match among {
            Some(among) => (
                among.partition_point(|index| left(index) < from),
                among.partition_point(|index| left(index) <= head.at),
            ),
            None => (
                self.starts.partition_point(|start| start.left < from),
                self.starts.partition_point(|start| start.left <= head.at),
            ),
        };
        (begin..end).filter_map(move |at| {
            let index = among.map_or(Some(at), |among| among.get(at).copied())?;
            let start: &Start = self.starts.get(index)?;
            let fits = start.len == len && (among.is_some() || start.next != head.relay);
            let density = delay?.at(head.at - start.left);
            (fits && density > 0.0).then_some((index, density))
        })
    }
}
