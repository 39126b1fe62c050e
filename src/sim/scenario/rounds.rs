//! Rounds and questions of one lookup where nobody knows all members: the real lookup machine over routing tables that are drawn
//! as they are looked at, up to a million nodes. Source: Maymounkov and Mazières, Kademlia (2002); spec/simulation.md §12.1.

use std::net::Ipv4Addr;

use rand::SeedableRng;
use rand::rngs::ChaCha20Rng;

use crate::crypto::keys::DhKey;
use crate::crypto::random_bytes;
use crate::dht::lookup::{Breadth, Lookup, LookupInput, LookupOutput};
use crate::keyspace::Id;
use crate::limits::{BUCKET_SIZE, EXIT_TIMEOUT, SIGNERS};
use crate::membership::prefix_rule::PrefixRule;
use crate::sim::draw::{mixed, real_count};
use crate::sim::world::draw::below;
use crate::time::{Duration, Instant};
use crate::wire::address::Address;
use crate::wire::contact::Contact;
use crate::wire::record::ValueKind;

/// Bits of an id.
const BITS: u32 = 160;

/// A network of tables.
pub(super) struct Tables {
    /// Sorted.
    ids: Vec<Id>,
    seed: u64,
}

/// What lookups took.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Taken {
    /// Rounds of questions, mean and most.
    pub(super) rounds: f64,
    pub(super) rounds_max: usize,
    /// Questions, mean.
    pub(super) questions: f64,
    /// Share of lookups that found the very closest eight.
    pub(super) exact: f64,
}

impl Tables {
    pub(super) fn drawn(nodes: usize, seed: u64) -> Self {
        let mut rng = ChaCha20Rng::seed_from_u64(mixed(seed, 7));
        let mut ids: Vec<Id> = (0..nodes).map(|_| Id(random_bytes(&mut rng))).collect();
        ids.sort_unstable();
        ids.dedup();
        Self { ids, seed }
    }

    /// The means over so many lookups from random nodes for random places.
    pub(super) fn look_up(&self, lookups: usize) -> Taken {
        let mut rng = ChaCha20Rng::seed_from_u64(mixed(self.seed, 8));
        let mut taken = Taken::default();
        for _ in 0..lookups {
            let place = Id(random_bytes(&mut rng));
            let from = self.ids.get(below(&mut rng, self.ids.len())).copied().unwrap_or(place);
            let (rounds, questions, found) = self.one(from, place);
            taken.rounds += real_count(rounds) / real_count(lookups);
            taken.rounds_max = taken.rounds_max.max(rounds);
            taken.questions += real_count(questions) / real_count(lookups);
            let is_exact = found == self.closest(&place, SIGNERS);
            taken.exact += if is_exact { 1.0 / real_count(lookups) } else { 0.0 };
        }
        taken
    }

    /// One lookup in steps: all that is asked is answered before anything more is asked.
    fn one(&self, from: Id, place: Id) -> (usize, usize, Vec<Id>) {
        let start = self.known(&from, &place).into_iter().map(contact).collect();
        let times = (Instant::ZERO, Instant::ZERO + EXIT_TIMEOUT);
        let rule = PrefixRule::RelaxedForOneHost;
        let mut lookup = Lookup::new(place, ValueKind::Signed, Some(from), start, rule, Breadth::SIGNERS, times);
        let (mut rounds, mut questions) = (0, 0);
        loop {
            let mut asked = Vec::new();
            while let Some(output) = lookup.poll_output() {
                if let LookupOutput::Ask(whom) = output {
                    asked.push(whom.id);
                }
            }
            if asked.is_empty() {
                let found = lookup.closest_answered(SIGNERS).into_iter().map(|contact| contact.id).collect();
                return (rounds, questions, found);
            }
            rounds += 1;
            questions += asked.len();
            let now = Instant::ZERO + Duration::from_millis(100) * u32::try_from(rounds).unwrap_or(u32::MAX);
            for from in asked {
                let contacts = self.known(&from, &place).into_iter().map(contact).collect();
                lookup.handle(now, LookupInput::Answered { from, contacts, says_present: None });
            }
        }
    }

    /// The closest that this node knows: its table has [`BUCKET_SIZE`] nodes of each distance, drawn once for all.
    fn known(&self, node: &Id, place: &Id) -> Vec<Id> {
        let mut known = vec![*node];
        let shared = node.common_prefix_len(place);
        // The bucket in which the place lies, then all that are nearer to the node, then farther ones.
        known.extend(self.bucket(node, shared));
        for bits in shared + 1..BITS {
            let of_bucket = self.bucket(node, bits);
            let deeper = self.range(&node.neighbours(bits)).len();
            known.extend(of_bucket);
            if deeper <= 1 {
                break;
            }
        }
        for bits in (0..shared).rev() {
            if known.len() >= BUCKET_SIZE {
                break;
            }
            known.extend(self.bucket(node, bits));
        }
        known.sort_by_key(|id| id.distance(place));
        known.dedup();
        known.truncate(BUCKET_SIZE);
        known
    }

    /// Nodes that agree with this one in exactly so many bits, as many as a bucket holds.
    fn bucket(&self, node: &Id, bits: u32) -> Vec<Id> {
        let mut flipped = *node;
        let (byte, bit) = (bits / 8, bits % 8);
        if let Some(byte) = usize::try_from(byte).ok().and_then(|at| flipped.0.get_mut(at)) {
            *byte ^= 0x80 >> bit;
        }
        let all = self.range(&flipped.neighbours(bits + 1));
        if all.len() <= BUCKET_SIZE {
            return all.to_vec();
        }
        let head = node.0.first_chunk::<8>().map_or(0, |head| u64::from_be_bytes(*head));
        let mut rng = ChaCha20Rng::seed_from_u64(mixed(mixed(self.seed, head), u64::from(bits)));
        (0..BUCKET_SIZE).filter_map(|_| all.get(below(&mut rng, all.len())).copied()).collect()
    }

    fn range(&self, between: &core::ops::RangeInclusive<Id>) -> &[Id] {
        let from = self.ids.partition_point(|id| id < between.start());
        let to = self.ids.partition_point(|id| id <= between.end());
        self.ids.get(from..to).unwrap_or_default()
    }

    fn closest(&self, place: &Id, count: usize) -> Vec<Id> {
        let shared = (0..BITS).take_while(|bits| self.range(&place.neighbours(*bits)).len() >= 2 * count).last();
        let mut near = self.range(&place.neighbours(shared.unwrap_or(0))).to_vec();
        near.sort_by_key(|id| id.distance(place));
        near.truncate(count);
        near
    }
}

fn contact(id: Id) -> Contact {
    let address = Address((Ipv4Addr::new(10, 0, 0, 1), 1).into());
    Contact { id, link_key: DhKey([0; 32]), address }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lookups_over_tables_find_the_closest_and_take_logarithmic_rounds() {
        let small = Tables::drawn(200, 1).look_up(50);
        let large = Tables::drawn(20_000, 1).look_up(50);
        assert!(small.exact > 0.9 && large.exact > 0.9, "{small:?} {large:?}");
        assert!(large.rounds < small.rounds + 3.0, "{small:?} {large:?}");
        assert!(large.questions < 64.0);
    }
}
