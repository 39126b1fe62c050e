//! Draws one relay from the whole membership by BASALT's rank under a fresh seed, prefix first: ten thousand ids in one /16
//! weigh as much as one. Source: Auvolat et al., BASALT (Middleware 2023); spec/membership.md §4.

use core::cmp::Ordering;
use std::collections::BTreeMap;
use std::net::IpAddr;

use super::members::Members;
use crate::crypto::hash::blake3;
use crate::crypto::keys::NodeKey;
use crate::crypto::{CryptoRng, random_bytes};
use crate::wire::address::Prefix;
use crate::wire::descriptor::VerifiedDescriptor;

/// A hash as numbers, the first bytes first: ordered as its bytes are.
type Rank = [u64; 4];

/// Bytes of the prefixes that are ranked one after the other, IPv4 and IPv6: /8 or /32, /16 or /48, /24 or /64; then the id.
const LEVELS: [(u8, usize, usize); 3] = [(0, 1, 4), (1, 2, 6), (2, 3, 8)];
const ID_LEVEL: u8 = 3;

/// The eligible relay of lowest rank under a seed drawn for this call; `None` when none is eligible. One pass.
pub fn draw(
    members: &Members,
    eligible: impl Fn(&VerifiedDescriptor) -> bool,
    rng: &mut dyn CryptoRng,
) -> Option<NodeKey> {
    let seed = random_bytes(rng);
    let mut best: Option<(Rank, &VerifiedDescriptor)> = None;
    // Thousands of relays share some hundred of these prefixes: each is hashed once.
    let mut first_ranks = FirstRanks::default();
    for member in members.iter() {
        let first = first_ranks.of(&seed, member);
        let leads = best.is_none_or(|(lowest, holder)| {
            first.cmp(&lowest).then_with(|| compare_further(&seed, member, holder)) == Ordering::Less
        });
        if leads && eligible(member) {
            best = Some((first, member));
        }
    }
    best.map(|(_, member)| member.key)
}

/// Ranks of first prefixes under one seed, as they are met: a slot for each IPv4 /8, a map for the others.
struct FirstRanks {
    v4: Vec<Option<Rank>>,
    v6: BTreeMap<Prefix, Rank>,
}

impl Default for FirstRanks {
    fn default() -> Self {
        Self { v4: vec![None; 256], v6: BTreeMap::new() }
    }
}

impl FirstRanks {
    fn of(&mut self, seed: &[u8; 32], member: &VerifiedDescriptor) -> Rank {
        let rank = || first_rank(seed, member);
        let [(_, v4, v6), ..] = LEVELS;
        match member.address.0.ip() {
            IpAddr::V4(ip) => match self.v4.get_mut(usize::from(ip.octets()[0])) {
                Some(slot) => *slot.get_or_insert_with(rank),
                None => rank(),
            },
            IpAddr::V6(_) => *self.v6.entry(member.address.prefix(v4, v6)).or_insert_with(rank),
        }
    }
}

/// A number below `bound` (0 for a bound of 0), uniform but for a bias of `bound` / 2^64.
pub(super) fn uniform_below(bound: u64, rng: &mut dyn CryptoRng) -> u64 {
    u64::from_be_bytes(random_bytes(rng)).checked_rem(bound).unwrap_or(0)
}

fn first_rank(seed: &[u8; 32], member: &VerifiedDescriptor) -> Rank {
    let [(level, v4, v6), ..] = LEVELS;
    prefix_rank(seed, member, level, v4, v6)
}

/// Later levels only break ties, so they are hashed only then.
fn compare_further(seed: &[u8; 32], one: &VerifiedDescriptor, other: &VerifiedDescriptor) -> Ordering {
    let [_, further @ ..] = LEVELS;
    let by_prefix = further
        .into_iter()
        .map(|(level, v4, v6)| prefix_rank(seed, one, level, v4, v6).cmp(&prefix_rank(seed, other, level, v4, v6)))
        .find(|order| order.is_ne());
    by_prefix.unwrap_or_else(|| id_rank(seed, one).cmp(&id_rank(seed, other)))
}

fn prefix_rank(seed: &[u8; 32], member: &VerifiedDescriptor, level: u8, v4: usize, v6: usize) -> Rank {
    rank(&[seed, &[level], member.address.prefix(v4, v6).as_bytes()])
}

fn id_rank(seed: &[u8; 32], member: &VerifiedDescriptor) -> Rank {
    rank(&[seed, &[ID_LEVEL], &member.id().0])
}

fn rank(of: &[&[u8]]) -> Rank {
    let hash = blake3(of);
    let (numbers, _) = hash.as_chunks::<8>();
    core::array::from_fn(|at| numbers.get(at).map_or(0, |bytes| u64::from_be_bytes(*bytes)))
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::ChaCha20Rng;

    use super::*;
    use crate::membership::fixture::{ISSUED, members_of, relay, relay_at};

    // [MEMB-W-038]
    #[test]
    fn a_thousand_ids_in_one_sixteen_get_less_than_a_hundredth_of_the_draws() {
        let mut members = Members::new(10_000);
        for number in 0..1_000_u32 {
            let spread = number * 7_919 % 60_000;
            let [_, _, high, low] = spread.to_be_bytes();
            members.merge(relay_at(number, [1 + high % 220, low, 0, 1]), ISSUED);
            let [_, _, high, low] = number.to_be_bytes();
            members.merge(relay_at(10_000 + number, [222, 7, high, low]), ISSUED);
        }
        assert_eq!(members.len(), 2_000);
        let mut rng = ChaCha20Rng::seed_from_u64(1);
        let drawn = (0..2_000).filter_map(|_| draw(&members, |_| true, &mut rng)).collect::<Vec<_>>();
        let captured = drawn.iter().filter_map(|key| members.get(key));
        let captured = captured.filter(|member| member.address.0.ip().to_string().starts_with("222.7.")).count();
        assert_eq!(drawn.len(), 2_000);
        assert!(captured < 20, "{captured} of 2000");
    }

    // [MEMB-W-038]
    #[test]
    fn whoever_is_drawn_has_the_lowest_of_all_ranks_hashed_one_by_one() {
        let spread = |number: u32| {
            let [_, _, high, low] = (number * 7_919 % 60_000).to_be_bytes();
            relay_at(number, [1 + high % 4, low % 5, high % 3, 1])
        };
        let members = members_of((0..300).map(spread));
        let eligible = |member: &VerifiedDescriptor| member.key.0[3] < 200;
        for seed in 0..60 {
            let drawn = draw(&members, eligible, &mut ChaCha20Rng::seed_from_u64(seed));
            let seed: [u8; 32] = random_bytes(&mut ChaCha20Rng::seed_from_u64(seed));
            let ranks = |member: &&VerifiedDescriptor| {
                let prefixes = LEVELS.map(|(level, v4, v6)| prefix_rank(&seed, member, level, v4, v6));
                (prefixes, id_rank(&seed, member))
            };
            let lowest = members.iter().filter(|member| eligible(member)).min_by_key(ranks);
            assert_eq!(drawn, lowest.map(|member| member.key));
        }
    }

    // [MEMB-W-038]
    #[test]
    fn relays_of_equal_prefixes_are_drawn_alike_and_the_ineligible_never() {
        let members = members_of((0..4).map(|number| relay_at(number, [10, 1, 1, 1])));
        let barred = relay_at(3, [10, 1, 1, 1]).key;
        let mut rng = ChaCha20Rng::seed_from_u64(2);
        let mut counts = std::collections::BTreeMap::new();
        for _ in 0..3_000 {
            *counts.entry(draw(&members, |member| member.key != barred, &mut rng).unwrap()).or_insert(0) += 1;
        }
        assert_eq!(counts.len(), 3);
        assert!(counts.values().all(|count| (900..1_100).contains(count)), "{counts:?}");
    }

    #[test]
    fn nothing_is_drawn_where_nobody_is_eligible() {
        let mut members = Members::new(10);
        let mut rng = ChaCha20Rng::seed_from_u64(3);
        assert_eq!(draw(&members, |_| true, &mut rng), None);
        members.merge(relay(1), ISSUED);
        assert_eq!(draw(&members, |_| false, &mut rng), None);
        assert_eq!(draw(&members, |_| true, &mut rng), Some(relay(1).key));
        assert_eq!(uniform_below(0, &mut rng), 0);
    }
}
