//! What relays that work together saw of a run, as they pool it. Neighbours among them share a link and its circuit numbers, so
//! what they saw of one circuit is one piece; between pieces stand honest relays. It must not know how pieces are matched.

use std::collections::{BTreeMap, BTreeSet};

use super::Lookup;
use super::delays::Delay;
use crate::sim::draw::real_count;

/// What everybody knows of a network, and what an attacker learns by taking part.
#[derive(Clone, Debug)]
pub struct Known {
    /// Clients that are online.
    pub clients: usize,
    /// Relays.
    pub relays: usize,
    /// Hops of every path.
    pub hops: usize,
    /// How long the run is, seconds.
    pub span_s: f64,
    /// Places that lookups may be about.
    pub places: usize,
}

/// A circuit at guards: the client, and so many relays of the attacker in a row.
#[derive(Clone, Debug)]
pub(super) struct Start {
    /// For the score alone: which lookup it is.
    pub(super) of: usize,
    pub(super) client: u32,
    /// How many of the first hops are the attacker's.
    pub(super) len: usize,
    /// The honest relay after them.
    pub(super) next: u32,
    /// When it left the last of them, seconds.
    pub(super) left: f64,
}

/// A piece in the middle of a circuit.
#[derive(Clone, Debug)]
pub(super) struct Middle {
    pub(super) len: usize,
    pub(super) from: u32,
    pub(super) to: u32,
    pub(super) came: f64,
    pub(super) left: f64,
}

/// An honest relay that a circuit came from, its place in the path, and when it came.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Head {
    pub(super) relay: u32,
    pub(super) place: usize,
    pub(super) at: f64,
}

/// Where a question came from, as far as pieces that touch tell.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum Origin {
    /// All hops were the attacker's.
    Client(u32),
    /// The last honest relay before the attacker's.
    Relay(Head),
}

/// A question that an exit of the attacker opened, or a storer of his was asked.
#[derive(Clone, Debug)]
pub(super) struct Question {
    /// For the score alone: which lookup it is.
    pub(super) of: usize,
    pub(super) location: u32,
    pub(super) origin: Origin,
}

/// All of it.
#[derive(Clone, Debug)]
pub(super) struct Pool {
    pub(super) known: Known,
    /// Share of the relays that are the attacker's.
    pub(super) bad: f64,
    /// By the time when they left.
    pub(super) starts: Vec<Start>,
    pub(super) starts_to: BTreeMap<u32, Vec<usize>>,
    pub(super) middles: Vec<Middle>,
    pub(super) middles_to: BTreeMap<u32, Vec<usize>>,
    pub(super) questions: Vec<Question>,
    /// Clients seen at guards of the attacker.
    pub(super) clients: BTreeSet<u32>,
    /// Circuits a second through honest guards: what the network carries without his own.
    pub(super) honest_rate: f64,
    /// Share of the questions that somebody of his sees.
    pub(super) sees: f64,
    /// From the departure at a place to the arrival at a later one, honest relays between; storers stand after the exit.
    pub(super) delays: BTreeMap<(usize, usize), Delay>,
}

impl Pool {
    /// What these relays saw of these lookups.
    pub(super) fn of(lookups: &[Lookup], bad: &BTreeSet<u32>, known: &Known) -> Self {
        let mut pool = Self {
            known: known.clone(),
            bad: real_count(bad.len()) / real_count(known.relays.max(1)),
            starts: Vec::new(),
            starts_to: BTreeMap::new(),
            middles: Vec::new(),
            middles_to: BTreeMap::new(),
            questions: Vec::new(),
            clients: BTreeSet::new(),
            honest_rate: 0.0,
            sees: 0.0,
            delays: learned(lookups, bad),
        };
        for (of, lookup) in lookups.iter().enumerate() {
            pool.note(of, lookup, bad);
        }
        pool.starts.sort_by(|one, other| one.left.total_cmp(&other.left));
        pool.middles.sort_by(|one, other| one.left.total_cmp(&other.left));
        for (index, start) in pool.starts.iter().enumerate() {
            pool.starts_to.entry(start.next).or_default().push(index);
        }
        for (index, middle) in pool.middles.iter().enumerate() {
            pool.middles_to.entry(middle.to).or_default().push(index);
        }
        let own = lookups.iter().filter(|lookup| lookup.hops.first().is_some_and(|hop| bad.contains(&hop.relay)));
        let honest = lookups.len() - own.count();
        pool.honest_rate = real_count(honest) / known.span_s.max(1e-9);
        pool.sees = real_count(pool.questions.len()) / real_count(lookups.len().max(1));
        pool
    }

    /// The pieces of one circuit.
    fn note(&mut self, of: usize, lookup: &Lookup, bad: &BTreeSet<u32>) {
        let mut piece = Vec::new();
        for (place, hop) in (1..).zip(&lookup.hops) {
            if bad.contains(&hop.relay) {
                piece.push((place, hop));
            } else if let (Some((first, begun)), Some((last, ended))) = (piece.first(), piece.last()) {
                if *first == 1 {
                    let (client, left) = (lookup.client, ended.left);
                    self.starts.push(Start { of, client, len: *last, next: hop.relay, left });
                } else if let Some(from) = lookup.hops.get(first - 2) {
                    let (from, len) = (from.relay, last + 1 - first);
                    self.middles.push(Middle { len, from, to: hop.relay, came: begun.came, left: ended.left });
                }
                piece.clear();
            }
        }
        if lookup.hops.first().is_some_and(|hop| bad.contains(&hop.relay)) {
            self.clients.insert(lookup.client);
        }
        // What is left over touches the question: the exit's piece, or else only storers see it.
        let asked = lookup.asked_first(bad);
        let (place, at) = match (piece.first(), asked) {
            (Some((first, begun)), _) => (first - 1, begun.came),
            (None, Some(at)) => (lookup.hops.len(), at),
            (None, None) => return,
        };
        let relay = place.checked_sub(1).and_then(|index| lookup.hops.get(index)).map(|hop| hop.relay);
        let origin = relay.map_or(Origin::Client(lookup.client), |relay| Origin::Relay(Head { relay, place, at }));
        self.questions.push(Question { of, location: lookup.location, origin });
    }
}

/// All clients send circuits alike, the attacker's own among them: what he learns from those is what all show.
fn learned(lookups: &[Lookup], bad: &BTreeSet<u32>) -> BTreeMap<(usize, usize), Delay> {
    let mut cases: BTreeMap<(usize, usize), Vec<f64>> = BTreeMap::new();
    for lookup in lookups {
        let storer = (lookup.hops.len() + 1, lookup.asked_first(bad));
        let arrivals = (1..).zip(lookup.hops.iter().map(|hop| Some(hop.came))).chain([storer]);
        let arrivals: Vec<(usize, f64)> = arrivals.filter_map(|(place, at)| Some((place, at?))).collect();
        for (from, hop) in (1..).zip(&lookup.hops) {
            for (to, at) in arrivals.iter().filter(|(to, _)| *to >= from + 2) {
                cases.entry((from, *to)).or_default().push(at - hop.left);
            }
        }
    }
    cases.into_iter().filter_map(|(of, cases)| Some((of, Delay::learned(cases)?))).collect()
}
