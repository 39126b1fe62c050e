//! Paths of a client.

use bauta::crypto::keys::NodeKey;
use bauta::limits::{HOPS_CLIENT_MIN, HOPS_MAX};
use bauta::membership::guards::{GuardState, Guards};
use bauta::membership::members::Members;
use bauta::membership::path::{Path, PathRefused, PathTerms, choose};
use bauta::membership::prefix_rule::PrefixRule;
use bauta::membership::second_hops::{SecondHopState, SecondHops};
use rand::SeedableRng;
use rand::rngs::ChaCha20Rng;

use super::relays::{ISSUED, identity, relay};

const DRAWS: u64 = 300;

/// A path over whatever guard and second hops a fresh client pins among so many relays.
fn drawn(relays: u32, length: usize, ours: &[NodeKey], seed: u64) -> Result<Path, PathRefused> {
    let mut rng = ChaCha20Rng::seed_from_u64(seed);
    let mut members = Members::default();
    members.merge_all((0..relays).map(relay), ISSUED);
    let (mut guards, mut hops) = (Guards::new(GuardState::default()), SecondHops::new(SecondHopState::default()));
    let rule = PrefixRule::Distinct;
    guards.fill(&members, rule, ISSUED, ours, &mut rng);
    let ordered = guards.ordered();
    hops.refill(&members, rule, ISSUED, &ordered, ours, &mut rng);
    let terms = PathTerms { length, rule, ours, now: ISSUED, avoid: &[] };
    let pinned = ordered.iter().copied().chain(hops.keys());
    assert!(pinned.into_iter().all(|key| !ours.contains(&key)));
    choose(&members, ordered.first().ok_or(PathRefused::NoGuard)?, &hops, &terms, &mut rng)
}

/// TROVE-2024-003 and TROVE-2024-004 (Arti): circuits were a hop shorter than they had to be, silently. Here two relays could be enough to join
/// who asks with what is asked.
#[test]
fn regression_a_path_has_every_hop_that_was_asked_for_or_is_refused() {
    for length in 0..=HOPS_MAX + 1 {
        for relays in 1..=9 {
            for seed in 0..8 {
                match drawn(relays, length, &[], seed) {
                    Ok(path) => {
                        assert!((HOPS_CLIENT_MIN..=HOPS_MAX).contains(&length), "{length}");
                        let mut keys: Vec<NodeKey> = path.hops().iter().map(|hop| hop.key).collect();
                        keys.sort_unstable_by_key(|key| key.0);
                        keys.dedup();
                        assert_eq!(keys.len(), length, "{relays} relays");
                    }
                    Err(PathRefused::TooShort { asked }) => assert!(asked == length && asked < HOPS_CLIENT_MIN),
                    Err(PathRefused::TooLong { asked }) => assert!(asked == length && asked > HOPS_MAX),
                    Err(_) => assert!(usize::try_from(relays).unwrap() < length + 2, "{relays} relays do for {length}"),
                }
            }
        }
    }
}

/// CVE-2017-8822 (Tor): a relay could choose itself for a path. Here whoever runs a relay would have a path with one stranger less in it.
#[test]
fn regression_no_path_goes_through_a_relay_of_ones_own() {
    let ours = [identity(0).public(), identity(4).public()];
    for seed in 0..DRAWS {
        let path = drawn(9, HOPS_CLIENT_MIN, &ours, seed).expect("relays enough");
        assert!(path.hops().iter().all(|hop| !ours.contains(&hop.key)));
    }
    // Where nobody else is left there is none.
    assert!(drawn(3, HOPS_CLIENT_MIN, &ours, 0).is_err());
}
