//! Properties of the onion: round trips for every length of path, refusals of every flip, shapes that say nothing.

use proptest::prelude::*;
use rand::SeedableRng;
use rand::rngs::ChaCha20Rng;

use super::*;
use crate::crypto::keys::{DhSecret, IdentitySecret};
use crate::crypto::puzzle::Solution;
use crate::limits::{BODY_LEN, CIRCUIT_DATA_LEN_MAX, REPLY0_DATA_LEN_MAX, REQUEST_LEN_MAX};
use crate::time::{Instant, Now, UnixTime};
use crate::wire::address::Address;
use crate::wire::descriptor::{Descriptor, VerifiedDescriptor};
use crate::wire::network::{Network, SUITE};

const NOW: UnixTime = UnixTime(1_200_000);
const START: Now = Now { instant: Instant::ZERO, unix: NOW };

struct Relay {
    descriptor: VerifiedDescriptor,
    keys: OnionKeys,
}

fn relay(network: &Network, rng: &mut ChaCha20Rng) -> Relay {
    let identity = IdentitySecret::generate(rng);
    let keys = OnionKeys::new(*network, identity.public(), START, rng);
    let (onion_key, onion_epoch) = keys.public();
    let descriptor = Descriptor {
        key: identity.public(),
        solution: Solution { counter: 0, y: [0; 32] },
        link_key: DhSecret::generate(rng).public(),
        onion_epoch,
        onion_key,
        address: Address("127.1.0.1:1".parse().unwrap()),
        family: [0; 8],
        versions: (1, 1),
        issued: NOW.to_wire(),
        effort: 0,
    };
    Relay { descriptor: descriptor.sign(network, &identity), keys }
}

struct World {
    rng: ChaCha20Rng,
    network: Network,
    relays: Vec<Relay>,
}

/// A circuit with every relay's layer in hand.
struct Through {
    circuit: Circuit,
    middles: Vec<MiddleHop>,
    exit: ExitHop,
    request: Vec<u8>,
    reply: Vec<u8>,
}

impl World {
    fn new(seed: u64, hops: usize) -> Self {
        let mut rng = ChaCha20Rng::seed_from_u64(seed);
        let network = Network::named("onion", 0);
        let relays = (0..hops).map(|_| relay(&network, &mut rng)).collect();
        Self { rng, network, relays }
    }

    fn path(&self) -> Vec<VerifiedDescriptor> {
        self.relays.iter().map(|relay| relay.descriptor.clone()).collect()
    }

    fn build(&mut self, request: &[u8]) -> Built {
        build(&self.network, &self.path(), request, NOW, &mut self.rng).unwrap()
    }

    /// Peels at every relay in turn; gives the layers, the request, and every body seen on the way.
    fn peel_all(&mut self, built: &Built) -> (Vec<MiddleHop>, ExitHop, Vec<u8>, Vec<[u8; BODY_LEN]>) {
        let (mut body, mut suite, mut hint) = (built.body, built.suite, built.hint);
        let (mut middles, mut bodies) = (Vec::new(), vec![body]);
        for (at, relay) in self.relays.iter().enumerate() {
            match peel(&relay.keys.secrets(suite, hint), &body, &mut self.rng).unwrap().role {
                Role::Middle { next, suite: s, hint: h, body: b, hop } => {
                    assert_eq!(next, self.relays[at + 1].descriptor.id());
                    (body, suite, hint) = (*b, s, h);
                    bodies.push(body);
                    middles.push(hop);
                }
                Role::Exit { request, hop } => return (middles, hop, request, bodies),
            }
        }
        unreachable!("the last relay is the exit")
    }

    fn through(&mut self, request: &[u8], reply: &[u8]) -> Through {
        let built = self.build(request);
        let (mut middles, mut exit, request, _) = self.peel_all(&built);
        let mut body = exit.seal_reply0(reply).unwrap();
        for hop in middles.iter_mut().rev() {
            body = hop.wrap_reply0(&body).unwrap();
        }
        let Ok(Reply0::Exit(circuit, reply)) = built.building.open_reply0(&body) else { panic!("the exit's") };
        Through { circuit, middles, exit, request, reply }
    }
}

impl Through {
    fn backward(&mut self, data: &[u8]) -> [u8; BODY_LEN] {
        let body = self.exit.seal_backward(data).unwrap();
        self.middles.iter_mut().rev().fold(body, |body, hop| hop.wrap_backward(&body).unwrap())
    }

    fn forward(&mut self, data: &[u8], rng: &mut ChaCha20Rng) -> Vec<u8> {
        let body = self.circuit.seal_forward(data, rng).unwrap();
        let body = self.middles.iter_mut().fold(body, |body, hop| hop.peel_forward(&body).unwrap());
        self.exit.open_forward(&body).unwrap()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    // [ONION-R-019] [ONION-W-020] [ONION-W-021] [ONION-W-044]
    #[test]
    fn a_packet_peeled_as_often_as_built_is_the_request_and_all_later_cells_arrive(
        seed: u64, hops in 1..=5_usize,
        request in proptest::collection::vec(any::<u8>(), 0..=REQUEST_LEN_MAX),
        reply in proptest::collection::vec(any::<u8>(), 0..=REPLY0_DATA_LEN_MAX),
        later in proptest::collection::vec(any::<u8>(), 0..=CIRCUIT_DATA_LEN_MAX),
    ) {
        let mut world = World::new(seed, hops);
        let mut through = world.through(&request, &reply);
        prop_assert_eq!(&through.request, &request);
        prop_assert_eq!(&through.reply, &reply);
        for _ in 0..3 {
            let body = through.backward(&later);
            prop_assert_eq!(&through.circuit.open_backward(&body).unwrap(), &later);
            prop_assert_eq!(&through.forward(&later, &mut world.rng), &later);
        }
    }
}

// [ONION-W-017] [ONION-W-029] [ONION-W-040]
#[test]
fn the_full_room_is_there_for_every_length_of_path_and_one_byte_more_is_refused() {
    for hops in 1..=5 {
        let mut world = World::new(1, hops);
        let mut through = world.through(&[7; REQUEST_LEN_MAX], &[8; REPLY0_DATA_LEN_MAX]);
        assert_eq!(through.request, [7; REQUEST_LEN_MAX]);
        assert_eq!(through.reply, [8; REPLY0_DATA_LEN_MAX]);
        let body = through.backward(&[9; CIRCUIT_DATA_LEN_MAX]);
        assert_eq!(through.circuit.open_backward(&body).unwrap(), [9; CIRCUIT_DATA_LEN_MAX]);
        assert!(through.exit.seal_reply0(&[0; REPLY0_DATA_LEN_MAX + 1]).is_err());
        assert!(through.exit.seal_backward(&[0; CIRCUIT_DATA_LEN_MAX + 1]).is_err());
        let refused = build(&world.network, &world.path(), &[0; REQUEST_LEN_MAX + 1], NOW, &mut world.rng);
        assert!(matches!(refused, Err(BuildRefused::RequestTooLong)));
    }
}

#[test]
fn paths_of_no_hop_and_of_six_are_refused() {
    for hops in [0, 6] {
        let mut world = World::new(1, hops);
        let refused = build(&world.network, &world.path(), b"", NOW, &mut world.rng);
        assert!(matches!(refused, Err(BuildRefused::Hops)));
    }
}

// [ONION-R-024]
#[test]
fn any_flipped_bit_of_a_build_packet_is_refused_by_the_next_hop() {
    let mut world = World::new(2, 3);
    let built = world.build(b"request");
    let (_, _, _, bodies) = world.peel_all(&built);
    for (relay, body) in world.relays.iter().zip(bodies) {
        let secrets = relay.keys.secrets(SUITE, relay.descriptor.onion_hint());
        // Bit 255 of an X25519 key is ignored by the curve, but not by the transcript.
        for bit in 0..BODY_LEN * 8 {
            let mut flipped = body;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(peel(&secrets, &flipped, &mut world.rng).is_err(), "bit {bit}");
        }
        assert!(peel(&secrets, &body, &mut world.rng).is_ok());
    }
}

// [ONION-R-043]
#[test]
fn any_flipped_bit_of_a_forward_cell_is_refused_at_the_next_hop() {
    let mut world = World::new(3, 3);
    let mut through = world.through(b"", b"");
    let body = through.circuit.seal_forward(b"data", &mut world.rng).unwrap();
    let first = &mut through.middles[0];
    for bit in 0..BODY_LEN * 8 {
        let mut flipped = body;
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(first.peel_forward(&flipped).is_err(), "bit {bit}");
    }
    assert!(first.peel_forward(&body).is_ok(), "a refused cell advances no counter");
}

// [ONION-R-032]
#[test]
fn any_flipped_bit_on_the_way_back_is_refused_by_the_client_wherever_it_was_flipped() {
    let mut world = World::new(4, 3);
    let built = world.build(b"");
    let (middles, mut exit, _, _) = world.peel_all(&built);
    let sealed = exit.seal_reply0(b"reply").unwrap();
    for flipped_after in 0..3 {
        // Only what the very next hop cuts off is covered by no tag; it reaches nobody.
        let cut_off = if flipped_after == 2 { BODY_LEN * 8 } else { (BODY_LEN - 48) * 8 };
        for bit in 0..BODY_LEN * 8 {
            let mut body = sealed;
            let flip = |body: &mut [u8; BODY_LEN], at: usize| {
                if at == flipped_after {
                    body[bit / 8] ^= 1 << (bit % 8);
                }
            };
            flip(&mut body, 0);
            for (at, hop) in middles.clone().iter_mut().rev().enumerate() {
                body = hop.wrap_reply0(&body).unwrap();
                flip(&mut body, at + 1);
            }
            let opened = built.building.clone().open_reply0(&body);
            assert_eq!(opened.is_err(), bit < cut_off, "bit {bit} after {flipped_after}");
        }
    }
}

// [ONION-R-038]
#[test]
fn a_hop_that_was_not_passed_says_so_and_the_client_knows_which_one_and_believes_no_other() {
    for hops in 2..=5 {
        for last in 1..hops {
            let mut world = World::new(7, hops);
            let built = world.build(b"");
            let (mut middles, _, _, _) = world.peel_all(&built);
            middles.truncate(last);
            let end = middles.pop().unwrap();
            let body =
                middles.iter_mut().rev().fold(end.not_reached().unwrap(), |body, hop| hop.wrap_reply0(&body).unwrap());
            let opened = built.building.clone().open_reply0(&body);
            assert!(matches!(opened, Ok(Reply0::NotReached { hops }) if hops == last), "{last} of {hops}");
            for bit in (0..BODY_LEN * 8).step_by(7) {
                let mut flipped = body;
                flipped[bit / 8] ^= 1 << (bit % 8);
                assert!(built.building.clone().open_reply0(&flipped).is_err(), "bit {bit}, {last} of {hops}");
            }
        }
    }
}

#[test]
fn an_exit_that_says_nothing_was_reached_all_the_same() {
    for hops in 1..=5 {
        let mut world = World::new(8, hops);
        assert_eq!(world.through(b"", b"").reply, b"");
    }
}

// [ONION-R-041]
#[test]
fn any_flipped_bit_of_a_backward_cell_is_refused_by_the_client() {
    let mut world = World::new(5, 3);
    let mut through = world.through(b"", b"");
    let body = through.backward(b"data");
    for bit in 0..BODY_LEN * 8 {
        let mut flipped = body;
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(through.circuit.clone().open_backward(&flipped).is_err(), "bit {bit}");
    }
    assert_eq!(through.circuit.open_backward(&body).unwrap(), b"data");
}

// [ONION-W-009] [ONION-R-047]
#[test]
fn a_replay_opens_but_is_taken_once_and_after_a_restart_it_does_not_open() {
    let mut world = World::new(6, 1);
    let built = world.build(b"request");
    let mut filter = ReplayFilter::default();
    let network = world.network;
    let relay = &world.relays[0];
    let secrets = relay.keys.secrets(built.suite, built.hint);
    for taken in [Ok(()), Err(ReplayRefused::Seen)] {
        let peeled = peel(&secrets, &built.body, &mut world.rng).unwrap();
        assert_eq!(filter.take(peeled.replay_tag, peeled.time, NOW), taken);
    }
    let restarted = OnionKeys::new(network, relay.descriptor.key, START, &mut world.rng);
    let secrets = restarted.secrets(built.suite, built.hint);
    assert!(peel(&secrets, &built.body, &mut world.rng).is_err());
}

// [ONION-W-010]
#[test]
fn a_packet_for_one_relay_does_not_open_for_another_that_publishes_the_same_onion_key() {
    let mut world = World::new(7, 1);
    let built = world.build(b"request");
    let secrets = world.relays[0].keys.secrets(built.suite, built.hint);
    let stolen = OnionSecrets {
        candidates: secrets
            .candidates
            .iter()
            .map(|(secret, _)| {
                let other = layout::prologue(&world.network, SUITE, &crate::crypto::keys::NodeKey([1; 32]), 5);
                (secret.clone(), other)
            })
            .collect(),
    };
    assert!(peel(&stolen, &built.body, &mut world.rng).is_err());
}

// [ONION-W-008] [ONION-R-023]
#[test]
fn onion_keys_live_a_day_overlap_an_hour_and_are_then_gone_whatever_the_wall_clock_says() {
    let mut rng = ChaCha20Rng::seed_from_u64(8);
    let network = Network::named("onion", 0);
    let relay = crate::crypto::keys::NodeKey([1; 32]);
    let start = Now { instant: Instant::ZERO, unix: NOW };
    let mut keys = OnionKeys::new(network, relay, start, &mut rng);
    let hint = NOW.to_wire().to_be_bytes()[3];
    // The wall clock stands still, or is set back: ages do not.
    let at = |s: u64| Now { instant: Instant::from_micros(s * 1_000_000), unix: UnixTime(NOW.0 - s % 7) };
    assert!(!keys.rotate(at(86_399), &mut rng));
    assert!(keys.rotate(at(86_400), &mut rng));
    assert_ne!(keys.public().1.to_be_bytes()[3], hint, "hints of both keys differ");
    assert_eq!(keys.secrets(SUITE, hint).candidates.len(), 1);
    assert!(!keys.rotate(at(86_400 + 3_599), &mut rng));
    assert_eq!(keys.secrets(SUITE, hint).candidates.len(), 1);
    keys.rotate(at(86_400 + 3_600), &mut rng);
    assert_eq!(keys.secrets(SUITE, hint).candidates.len(), 0);
    assert_eq!(keys.secrets(SUITE + 1, keys.public().1.to_be_bytes()[3]).candidates.len(), 0);
}

// [ONION-W-007]
#[test]
fn the_hints_of_both_keys_differ_although_the_clock_shows_the_same_low_byte() {
    let mut rng = ChaCha20Rng::seed_from_u64(8);
    let relay = crate::crypto::keys::NodeKey([1; 32]);
    let mut keys = OnionKeys::new(Network::named("onion", 0), relay, START, &mut rng);
    assert_eq!(keys.public().1, NOW.to_wire());
    let later = UnixTime(NOW.0 + 86_528);
    assert_eq!(later.to_wire() % 256, NOW.to_wire() % 256);
    assert!(keys.rotate(Now { instant: Instant::from_micros(86_400_000_000), unix: later }, &mut rng));
    assert_eq!(keys.public().1, later.to_wire() + 1);
}

// [ONION-W-025]
#[test]
fn a_packet_that_is_opened_twice_gets_another_key_of_the_relay_each_time() {
    let mut world = World::new(10, 1);
    let built = world.build(b"request");
    let mut heads = std::collections::BTreeSet::new();
    for _ in 0..2 {
        let (_, mut exit, _, _) = world.peel_all(&built);
        heads.insert(exit.seal_reply0(b"").unwrap()[..32].to_vec());
    }
    assert_eq!(heads.len(), 2);
}

/// What the exit decrypts beyond its request must look random whatever the path's length: compare bit counts of the tail.
// [ONION-W-018]
#[test]
fn the_exit_cannot_tell_the_length_of_the_path_from_its_padding() {
    for hops in 1..=5 {
        let mut ones = 0_u64;
        let rounds = 40;
        for seed in 0..rounds {
            let mut world = World::new(seed, hops);
            let built = world.build(b"request");
            let (_, _, _, bodies) = world.peel_all(&built);
            let last = *bodies.last().unwrap();
            let relay = world.relays.last().unwrap();
            let (secret, prologue) = &relay.keys.secrets(SUITE, relay.descriptor.onion_hint()).candidates[0];
            let (ephemeral, tag, text) = layout::split_keyed(&last).unwrap();
            let mut text = text.to_vec();
            crate::crypto::nk::Responder::open(prologue, secret, &ephemeral, &mut text, &tag).unwrap();
            ones += text[32 + 2 + 7..].iter().map(|byte| u64::from(byte.count_ones())).sum::<u64>();
        }
        let bits = rounds * 8 * (1_992 - 41);
        // Half of the bits, within eight standard deviations.
        assert!(ones.abs_diff(bits / 2) < 8 * bits.isqrt() / 2, "{hops} hops: {ones} of {bits}");
    }
}

#[test]
fn no_sixteen_bytes_of_a_packet_are_seen_again_at_another_hop() {
    let mut world = World::new(9, 5);
    let built = world.build(&[0; 100]);
    let (_, _, _, bodies) = world.peel_all(&built);
    let mut seen = std::collections::BTreeSet::new();
    for body in &bodies {
        let windows: std::collections::BTreeSet<_> = body.windows(16).map(<[u8]>::to_vec).collect();
        assert!(windows.is_disjoint(&seen));
        seen.extend(windows);
    }
    assert_eq!(bodies.len(), 5);
    assert!(bodies.iter().all(|body| body.len() == BODY_LEN));
}
