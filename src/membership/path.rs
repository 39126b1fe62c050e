//! Choosing a path: exactly as many relays as asked, or a refusal with its reason. Never a weaker path.
//! Source: spec/membership.md §7.

use super::members::Members;
use super::prefix_rule::PrefixRule;
use super::sample::draw;
use super::second_hops::SecondHops;
use crate::crypto::CryptoRng;
use crate::crypto::keys::NodeKey;
use crate::limits::{HOPS_CLIENT_MIN, HOPS_MAX};
use crate::time::UnixTime;
use crate::wire::descriptor::VerifiedDescriptor;

/// A path that was chosen by the rules: only [`choose`] makes one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Path {
    hops: Vec<VerifiedDescriptor>,
    guard: NodeKey,
    second_hop: NodeKey,
    exit: NodeKey,
}

/// What a path must be.
#[derive(Clone, Copy, Debug)]
pub struct PathTerms<'a> {
    /// Relays in the path.
    pub length: usize,
    /// Whether addresses keep them apart.
    pub rule: PrefixRule,
    /// Relays of this process, which are in none of its paths.
    pub ours: &'a [NodeKey],
    /// The present: whose onion key is over is in no path.
    pub now: UnixTime,
    /// Relays that are not to be the exit: asked by this operation or at work for it, and the client's bootstraps.
    pub avoid: &'a [NodeKey],
}

/// Why there is no path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathRefused {
    /// Fewer hops than a client ever builds.
    #[error("path: {asked} hops are too few to be private")]
    TooShort {
        /// Hops asked for.
        asked: usize,
    },
    /// More hops than cells leave room for.
    #[error("path: {asked} hops are more than relays accept")]
    TooLong {
        /// Hops asked for.
        asked: usize,
    },
    /// The guard is not among the members, or is one of ours.
    #[error("path: the guard is not in the network")]
    NoGuard,
    /// No second hop is pinned that may stand next to this guard.
    #[error("path: no second hop may stand next to the guard")]
    NoSecondHop,
    /// Not enough relays of distinct networks and families.
    #[error("path: too few relays of distinct networks")]
    TooFewNetworks,
    /// All exits that could end the path are among those to avoid.
    #[error("path: every possible exit has failed already")]
    ExitsUsedUp,
}

impl Path {
    /// The hops, guard first, exit last.
    #[must_use]
    pub fn hops(&self) -> &[VerifiedDescriptor] {
        &self.hops
    }

    /// The first hop.
    #[must_use]
    pub fn guard(&self) -> NodeKey {
        self.guard
    }

    /// The second hop.
    #[must_use]
    pub fn second_hop(&self) -> NodeKey {
        self.second_hop
    }

    /// The last hop.
    #[must_use]
    pub fn exit(&self) -> NodeKey {
        self.exit
    }
}

/// Chooses a path: the guard, one of the pinned second hops, the rest drawn by rank, the exit before those in the middle.
/// All pinned second hops are tried, in random order.
///
/// # Errors
/// [`PathRefused`] names the reason. A path of four or five hops may be refused where one exists, in a network of hardly more
/// relays that are apart: the exit and those in the middle are drawn one after the other and not taken back.
pub fn choose(
    members: &Members,
    guard: &NodeKey,
    second_hops: &SecondHops,
    terms: &PathTerms<'_>,
    rng: &mut dyn CryptoRng,
) -> Result<Path, PathRefused> {
    let asked = terms.length;
    if asked < HOPS_CLIENT_MIN {
        return Err(PathRefused::TooShort { asked });
    }
    if asked > HOPS_MAX {
        return Err(PathRefused::TooLong { asked });
    }
    let guard = members.get(guard).filter(|guard| terms.fits(guard, &[])).ok_or(PathRefused::NoGuard)?;
    let mut tried: Vec<NodeKey> = Vec::new();
    let mut refused = PathRefused::NoSecondHop;
    loop {
        let eligible =
            |key: &NodeKey| !tried.contains(key) && members.get(key).is_some_and(|second| terms.fits(second, &[guard]));
        let Some(second) = second_hops.pick(eligible, rng).and_then(|key| members.get(&key)) else {
            return Err(refused);
        };
        match beyond(members, guard, second, terms, rng) {
            Ok(path) => return Ok(path),
            Err(reason) => refused = reason,
        }
        tried.push(second.key);
    }
}

fn beyond(
    members: &Members,
    guard: &VerifiedDescriptor,
    second: &VerifiedDescriptor,
    terms: &PathTerms<'_>,
    rng: &mut dyn CryptoRng,
) -> Result<Path, PathRefused> {
    let unused = |candidate: &VerifiedDescriptor| !terms.avoid.contains(&candidate.key);
    let exit = draw(members, |candidate| terms.fits(candidate, &[guard, second]) && unused(candidate), rng);
    let Some(exit) = exit.and_then(|key| members.get(&key)) else {
        let any = members.iter().any(|candidate| terms.fits(candidate, &[guard, second]));
        return Err(if any { PathRefused::ExitsUsedUp } else { PathRefused::TooFewNetworks });
    };
    let mut chosen = vec![guard, second, exit];
    while chosen.len() < terms.length {
        let middle = draw(members, |candidate| terms.fits(candidate, &chosen), rng);
        let middle = middle.and_then(|key| members.get(&key)).ok_or(PathRefused::TooFewNetworks)?;
        chosen.insert(chosen.len() - 1, middle);
    }
    let hops = chosen.into_iter().cloned().collect();
    Ok(Path { hops, guard: guard.key, second_hop: second.key, exit: exit.key })
}

impl PathTerms<'_> {
    fn fits(&self, candidate: &VerifiedDescriptor, chosen: &[&VerifiedDescriptor]) -> bool {
        let usable = candidate.has_live_onion_key(self.now) && !self.ours.contains(&candidate.key);
        usable && chosen.iter().all(|hop| self.rule.allows_together(hop, candidate))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::SeedableRng;
    use rand::rngs::ChaCha20Rng;

    use super::*;
    use crate::limits::{ONION_KEY_LIFE_S, ONION_KEY_OVERLAP_S};
    use crate::membership::fixture::{ISSUED, described, key, members_of, relay, relay_at, signed};
    use crate::membership::second_hops::SecondHopState;

    const TERMS: PathTerms<'_> =
        PathTerms { length: 3, rule: PrefixRule::Distinct, ours: &[], now: ISSUED, avoid: &[] };

    fn pinned(members: &Members, guard: u32, rng: &mut ChaCha20Rng) -> SecondHops {
        let mut hops = SecondHops::new(SecondHopState::default());
        hops.refill(members, PrefixRule::Distinct, ISSUED, &[key(guard)], &[], rng);
        hops
    }

    fn chosen(members: &Members, terms: &PathTerms<'_>, seed: u64) -> Result<Path, PathRefused> {
        let mut rng = ChaCha20Rng::seed_from_u64(seed);
        let hops = pinned(members, 0, &mut rng);
        choose(members, &key(0), &hops, terms, &mut rng)
    }

    // [MEMB-W-063]
    #[test]
    fn each_refusal_has_its_reason() {
        let members = members_of((0..4).map(relay));
        let two = members_of((0..2).map(relay));
        let crowded = members_of([relay(0), relay(1), relay_at(2, [10, 1, 5, 5])]);
        let alone = members_of([relay(0)]);
        let failed: Vec<NodeKey> = (0..4).map(key).collect();
        let rows = [
            (&members, PathTerms { length: 2, ..TERMS }, PathRefused::TooShort { asked: 2 }),
            (&members, PathTerms { length: 6, ..TERMS }, PathRefused::TooLong { asked: 6 }),
            (&members, PathTerms { ours: &failed[..1], ..TERMS }, PathRefused::NoGuard),
            (&members, PathTerms { length: 5, ..TERMS }, PathRefused::TooFewNetworks),
            (&members, PathTerms { avoid: &failed, ..TERMS }, PathRefused::ExitsUsedUp),
            (&two, TERMS, PathRefused::TooFewNetworks),
            (&crowded, TERMS, PathRefused::TooFewNetworks),
            (&alone, TERMS, PathRefused::NoSecondHop),
        ];
        for (members, terms, refused) in rows {
            assert_eq!(chosen(members, &terms, 1), Err(refused));
        }
        assert_eq!(chosen(&members_of((1..4).map(relay)), &TERMS, 1), Err(PathRefused::NoGuard));
        assert!(chosen(&members, &PathTerms { length: 4, ..TERMS }, 1).is_ok());
    }

    // [MEMB-W-064]
    #[test]
    fn one_host_makes_a_path_only_when_the_rule_is_relaxed_by_name() {
        let members = members_of((0..6).map(|number| relay_at(number, [127, 0, 0, 1])));
        assert_eq!(chosen(&members, &TERMS, 2), Err(PathRefused::NoSecondHop));
        let mut rng = ChaCha20Rng::seed_from_u64(2);
        let (rule, mut hops) = (PrefixRule::RelaxedForOneHost, SecondHops::new(SecondHopState::default()));
        hops.refill(&members, rule, ISSUED, &[key(0)], &[], &mut rng);
        let path = choose(&members, &key(0), &hops, &PathTerms { rule, ..TERMS }, &mut rng).unwrap();
        assert_eq!(path.hops().len(), 3);
    }

    #[test]
    fn a_second_hop_that_blocks_every_exit_gives_way_to_another() {
        let family = |number| {
            let mut descriptor = described(number, [11, 0, 0, 1]);
            descriptor.address = relay(number).address;
            descriptor.family = [5; 8];
            signed(descriptor, number)
        };
        // Pinned are 2 and one of the family; only 2 leaves 3 free to be the exit.
        let members = members_of([relay(0), family(1), relay(2), family(3)]);
        let avoid = [key(0), key(1), key(2)];
        for seed in 0..20 {
            let path = chosen(&members, &PathTerms { avoid: &avoid, ..TERMS }, seed).unwrap();
            assert_eq!((path.second_hop(), path.exit()), (key(2), key(3)));
        }
    }

    proptest! {
        // [MEMB-W-054] [MEMB-W-059] [MEMB-W-060] [MEMB-W-061] [MEMB-W-062]
        #[test]
        fn a_path_is_as_long_as_asked_distinct_and_apart_or_refused(
            relays in proptest::collection::vec((0..8_u8, 0..4_u8), 1..16),
            length in 0..8_usize,
            ours in proptest::collection::vec(0..16_u32, 0..3),
            avoid in proptest::collection::vec(0..16_u32, 0..3),
            seed in any::<u64>(),
        ) {
            let members = members_of((0..).zip(&relays).map(|(number, (net, family))| {
                let mut descriptor = described(number, [10, *net, 0, 1]);
                descriptor.family = [*family; 8];
                signed(descriptor, number)
            }));
            let ours: Vec<NodeKey> = ours.into_iter().map(key).collect();
            let avoid: Vec<NodeKey> = avoid.into_iter().map(key).collect();
            let terms = PathTerms { length, rule: PrefixRule::Distinct, ours: &ours, now: ISSUED, avoid: &avoid };
            let Ok(path) = chosen(&members, &terms, seed) else { return Ok(()) };
            let hops = path.hops();
            prop_assert!(hops.len() == length && (HOPS_CLIENT_MIN..=HOPS_MAX).contains(&length));
            prop_assert_eq!((hops[0].key, hops[1].key), (key(0), path.second_hop()));
            prop_assert_eq!(hops[length - 1].key, path.exit());
            prop_assert!(!avoid.contains(&path.exit()));
            for (at, hop) in hops.iter().enumerate() {
                prop_assert!(!ours.contains(&hop.key));
                for other in &hops[..at] {
                    prop_assert!(hop.key != other.key && !hop.is_family_of(other));
                    prop_assert_ne!(hop.address.wide_prefix(), other.address.wide_prefix());
                }
            }
        }

        #[test]
        fn where_relays_are_plenty_there_is_always_a_path(length in HOPS_CLIENT_MIN..=HOPS_MAX, seed in any::<u64>()) {
            let members = members_of((0..12).map(relay));
            let path = chosen(&members, &PathTerms { length, ..TERMS }, seed);
            prop_assert!(path.is_ok());
        }
    }

    // [MEMB-W-061]
    #[test]
    fn whose_onion_key_is_over_is_in_no_path() {
        let members = members_of((0..8).map(relay));
        let late = ISSUED.0 + ONION_KEY_LIFE_S + ONION_KEY_OVERLAP_S;
        let at = |now| chosen(&members, &PathTerms { now: UnixTime(now), ..TERMS }, 1).map(|_| ());
        assert_eq!(at(late - 1), Ok(()));
        assert_eq!(at(late), Err(PathRefused::NoGuard));
    }
}
