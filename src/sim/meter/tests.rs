//! Tests of the meter on runs that are drawn here, hop by hop.

use rand::SeedableRng;
use rand::rngs::ChaCha20Rng;

use super::seen::{Origin, Pool};
use super::*;
use crate::sim::world::draw::{below, unit};

/// Clients with guards and four second hops each, whose lookups take a hop in 0.02 to 0.2 s.
struct Draw {
    relays: u32,
    clients: u32,
    lookups: u32,
    hops: usize,
    span_s: f64,
}

const USUAL: Draw = Draw { relays: 60, clients: 40, lookups: 400, hops: 3, span_s: 100.0 };

impl Draw {
    fn known(&self) -> Known {
        let [clients, relays, places] =
            [self.clients, self.relays, self.lookups].map(|count| usize::try_from(count).unwrap());
        Known { clients, relays, hops: self.hops, span_s: self.span_s, places }
    }

    fn run(&self, seed: u64) -> Vec<Lookup> {
        let mut rng = ChaCha20Rng::seed_from_u64(seed);
        let relays = usize::try_from(self.relays).unwrap();
        let other = |rng: &mut ChaCha20Rng, not: &[u32]| loop {
            let relay = u32::try_from(below(rng, relays)).unwrap();
            if !not.contains(&relay) {
                return relay;
            }
        };
        let pinned: Vec<Vec<u32>> = (0..self.clients)
            .map(|_| {
                let mut all = Vec::new();
                (0..5).for_each(|_| all.push(other(&mut rng, &all)));
                all
            })
            .collect();
        let lookup = |location: u32| {
            let client = u32::try_from(below(&mut rng, pinned.len())).unwrap();
            let pinned = &pinned[usize::try_from(client).unwrap()];
            let mut path = vec![pinned[0], pinned[1 + below(&mut rng, 4)]];
            while path.len() < self.hops {
                path.push(other(&mut rng, &path));
            }
            let mut at = self.span_s * unit(&mut rng);
            let hop = |relay: &u32| {
                let came = at;
                at += 0.02 + 0.18 * unit(&mut rng);
                Hop { relay: *relay, came, left: came }
            };
            let hops: Vec<Hop> = path.iter().map(hop).collect();
            let asked = (0..20).map(|_| (other(&mut rng, &path), at + 0.3 * unit(&mut rng))).collect();
            Lookup { client, location, is_store: location.is_multiple_of(5), hops, asked }
        };
        (0..self.lookups).map(lookup).collect()
    }
}

fn first(count: u32) -> BTreeSet<u32> {
    (0..count).collect()
}

fn near(one: f64, other: f64) -> bool {
    (one - other).abs() < 1e-9
}

#[test]
fn without_bad_relays_nothing_is_lost() {
    for hops in 3..=5 {
        let draw = Draw { hops, ..USUAL };
        let scores = measure(&draw.run(1), &first(0), &draw.known());
        assert_eq!(scores.perfect, scores.blurred);
        let all = scores.blurred.all();
        assert_eq!((all.lookups, all.seen, all.linked, all.wrong, all.target_linked), (400, 0, 0, 0, 0));
        assert!(near(all.asker_bits, 0.0) && near(all.target_bits, 0.0));
    }
}

#[test]
fn where_all_relays_are_bad_all_bits_are_lost() {
    for hops in 3..=5 {
        let draw = Draw { hops, ..USUAL };
        let scores = measure(&draw.run(1), &first(draw.relays), &draw.known());
        for all in [scores.perfect.all(), scores.blurred.all()] {
            assert_eq!((all.lookups, all.seen, all.linked, all.wrong, all.target_linked), (400, 400, 400, 0, 400));
            assert!(near(all.mean(all.asker_bits), 40_f64.log2()), "{}", all.asker_bits);
            assert!(near(all.mean(all.target_bits), 400_f64.log2()), "{}", all.target_bits);
        }
        assert!(near(scores.blurred.ever(), 1.0));
    }
}

#[test]
fn chances_sum_to_one_and_lose_no_more_bits_than_there_are() {
    for (hops, bad) in [(3, 6), (3, 30), (4, 6), (4, 30), (5, 20)] {
        let draw = Draw { hops, ..USUAL };
        let pool = Pool::of(&draw.run(2), &first(bad), &draw.known());
        let (askers, targets) = pool.blurred();
        assert!(!askers.is_empty() && !targets.is_empty());
        for (posterior, most) in askers.iter().map(|one| (one, 40_f64)).chain(targets.iter().map(|one| (one, 400.0))) {
            assert!(near(posterior.sum(), 1.0), "{posterior:?}");
            assert!((-1e-9..=most.log2() + 1e-9).contains(&posterior.entropy()), "{posterior:?}");
        }
    }
}

#[test]
fn perfect_timing_never_loses_less_than_blurred() {
    for seed in 0..6 {
        for (hops, bad, span_s) in
            [(3, 6, 100.0), (3, 18, 100.0), (3, 18, 4.0), (4, 6, 30.0), (4, 18, 100.0), (4, 40, 4.0)]
        {
            let draw = Draw { hops, span_s, ..USUAL };
            let scores = measure(&draw.run(seed), &first(bad), &draw.known());
            let (perfect, blurred) = (scores.perfect.all(), scores.blurred.all());
            assert!(perfect.asker_bits >= blurred.asker_bits, "{hops} {bad} {span_s}: {perfect:?} {blurred:?}");
            assert!(perfect.target_bits >= blurred.target_bits, "{hops} {bad} {span_s}: {perfect:?} {blurred:?}");
            assert!(perfect.linked >= blurred.linked && perfect.wrong == 0);
        }
    }
}

// Whoever is more than half sure, and honest with himself, is right that often.
#[test]
fn the_blurred_attacker_is_right_about_as_often_as_he_is_sure() {
    for hops in [3, 4] {
        let (mut sure, mut right, mut all) = (0.0, 0.0, 0.0);
        for seed in 0..10 {
            let draw = Draw { hops, span_s: 40.0, ..USUAL };
            let blurred = measure(&draw.run(seed), &first(18), &draw.known()).blurred.all();
            sure += blurred.sure;
            right += real_count(blurred.linked);
            all += real_count(blurred.linked + blurred.wrong);
        }
        assert!(all > 200.0 && (sure - right).abs() / all < 0.08, "{hops} hops: sure {sure}, right {right}, all {all}");
    }
}

#[test]
fn a_denser_crowd_hides_better() {
    let draw = USUAL;
    let lookups = draw.run(3);
    let lost = |times: f64| {
        let known = Known { span_s: draw.span_s / times, ..draw.known() };
        measure(&pressed(&lookups, times), &first(12), &known).blurred.all().asker_bits
    };
    assert!(
        lost(1.0) > 1.2 * lost(10.0) && lost(10.0) > 1.2 * lost(100.0),
        "{} {} {}",
        lost(1.0),
        lost(10.0),
        lost(100.0)
    );
}

#[test]
fn other_names_for_clients_change_nothing() {
    for hops in [3, 4] {
        let draw = Draw { hops, ..USUAL };
        let lookups = draw.run(4);
        let mut renamed = lookups.clone();
        renamed.iter_mut().for_each(|lookup| lookup.client = (lookup.client * 7 + 3) % draw.clients);
        let [one, other] = [lookups, renamed].map(|lookups| measure(&lookups, &first(12), &draw.known()));
        for (one, other) in [(one.perfect, other.perfect), (one.blurred, other.blurred)] {
            let (one, other) = (one.all(), other.all());
            assert_eq!((one.linked, one.wrong, one.target_linked), (other.linked, other.wrong, other.target_linked));
            assert!((one.asker_bits - other.asker_bits).abs() < 1e-6);
        }
    }
}

fn lookup(client: u32, path: [u32; 3], begun: f64, asked: &[(u32, f64)]) -> Lookup {
    let hop = |(relay, step): (u32, f64)| Hop { relay, came: begun + step, left: begun + step };
    let hops = path.into_iter().zip([0.0, 0.1, 0.2]).map(hop).collect();
    Lookup { client, location: client, is_store: false, hops, asked: asked.to_vec() }
}

// Bad are 1 and 2 as guards and 9 as exit. Clients 1 and 2 send through second hop 5 within one second, client 3 through 6; what
// client 4 sends comes through an honest guard. Delays are even over a second, so both that fit weigh 1 each second; the crowd
// through honest guards weighs one lookup in ten seconds, spread over ten second hops: 0.01.
#[test]
fn a_case_that_can_be_counted_by_hand_comes_out_so() {
    let lookups = [
        lookup(1, [1, 5, 9], 10.0, &[]),
        lookup(2, [2, 5, 7], 10.05, &[]),
        lookup(3, [1, 6, 7], 10.0, &[]),
        lookup(4, [8, 5, 7], 10.0, &[]),
    ];
    let bad = BTreeSet::from([1, 2, 9]);
    let known = Known { clients: 5, relays: 10, hops: 3, span_s: 10.0, places: 4 };
    let mut pool = Pool::of(&lookups, &bad, &known);
    pool.delays.insert((1, 3), Delay::even(0.0, 1.0));
    assert_eq!((pool.questions.len(), pool.starts.len(), pool.middles.len()), (1, 3, 0));
    let (askers, targets) = pool.blurred();
    let asker = &askers[0];
    assert!(near(asker.named[&1], 1.0 / 2.01) && near(asker.named[&2], 1.0 / 2.01) && near(asker.rest, 0.01 / 2.01));
    assert_eq!((asker.others, asker.suspect()), (2, None));
    // The circuit of client 1: odds of 1 to 1.01 for the question that was seen, against three of four that are not.
    let of_first = pool.starts.iter().position(|start| start.client == 1).unwrap();
    let (odds, unseen) = (1.0 / 1.01, 0.75);
    let it = (odds + unseen / 4.0) / (odds + unseen);
    assert!(near(targets[of_first].named[&1], it) && near(targets[of_first].rest, 1.0 - it), "{targets:?}");
    // Nothing fits client 3: any of the four places.
    let of_third = pool.starts.iter().position(|start| start.client == 3).unwrap();
    assert!(near(targets[of_third].entropy(), 2.0), "{:?}", targets[of_third]);
}

#[test]
fn a_storer_of_an_honest_exit_matches_with_whoever_was_there_in_time() {
    let lookups = [lookup(1, [1, 5, 6], 10.0, &[(9, 10.3)]), lookup(2, [1, 5, 6], 30.0, &[(7, 30.3)])];
    let bad = BTreeSet::from([1, 9]);
    let known = Known { clients: 3, relays: 10, hops: 3, span_s: 100.0, places: 4 };
    let pool = Pool::of(&lookups, &bad, &known);
    assert_eq!(pool.questions.len(), 1);
    assert!(matches!(pool.questions[0].origin, Origin::Relay(head) if (head.relay, head.place) == (6, 3)));
    let (askers, _) = pool.blurred();
    assert_eq!(askers[0].suspect().map(|(who, _)| who), Some(1));
}

#[test]
fn neighbours_of_the_attacker_join_what_they_saw() {
    let all_bad = [lookup(1, [1, 2, 9], 10.0, &[])];
    let known = Known { clients: 8, relays: 10, hops: 3, span_s: 100.0, places: 4 };
    let pool = Pool::of(&all_bad, &BTreeSet::from([1, 2, 9]), &known);
    assert_eq!(pool.questions[0].origin, Origin::Client(1));
    // Without the guard they know the guard, which is honest: any client but those that others of them serve.
    let scores = measure(&all_bad, &BTreeSet::from([2, 9]), &known);
    assert!(near(scores.blurred.all().asker_bits, 0.0) && near(scores.perfect.all().asker_bits, 0.0));
}

#[test]
fn a_pinned_hop_before_the_exit_tells_clients_apart_and_a_drawn_one_does_not() {
    let precision = |hops: usize| {
        let draw = Draw { hops, lookups: 2_000, span_s: 100_000.0, ..USUAL };
        let clusters = Clusters::of(&draw.run(5), &first(30));
        assert!(clusters.same_hop > 1_000.0);
        (clusters.of_one_same_hop / clusters.same_hop) / (clusters.of_one / clusters.pairs)
    };
    assert!(precision(3) > 4.0 && precision(4) < 1.5, "{} {}", precision(3), precision(4));
}
