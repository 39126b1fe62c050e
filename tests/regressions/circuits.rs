//! Layers of links and circuits: nonces, replays, marks, and who may speak.

use bauta::crypto::noise_ik::Handshake;
use bauta::limits::{BODY_LEN, CELL_LEN, FRAME_LEN};
use bauta::onion::{Circuit, ExitHop, MiddleHop, OnionKeys, Reply0, Role, build, peel};
use bauta::time::{Instant, Now};
use bauta::wire::cell::{Cell, CircuitId, Command};
use bauta::wire::descriptor::VerifiedDescriptor;
use rand::rngs::ChaCha20Rng;
use rand::{Rng, SeedableRng};

use super::relays::{ISSUED, described, dh, identity, network};

const GARBAGE: usize = 200;

type Body = [u8; BODY_LEN];

struct Path {
    hops: Vec<VerifiedDescriptor>,
    keys: Vec<OnionKeys>,
    rng: ChaCha20Rng,
}

fn path(len: u8) -> Path {
    let mut path = Path { hops: Vec::new(), keys: Vec::new(), rng: ChaCha20Rng::seed_from_u64(1) };
    let now = Now { instant: Instant::ZERO, unix: ISSUED };
    for number in 0..len {
        let secret = identity(u32::from(number));
        let keys = OnionKeys::new(network(), secret.public(), now, &mut path.rng);
        let mut own = described(u32::from(number), [10, number, 0, 1]);
        (own.onion_key, own.onion_epoch) = keys.public();
        path.hops.push(own.sign(&network(), &secret));
        path.keys.push(keys);
    }
    path
}

/// A circuit of three hops after reply 0.
fn circuit() -> (Circuit, Vec<MiddleHop>, ExitHop, ChaCha20Rng) {
    let Path { hops, keys, mut rng } = path(3);
    let built = build(&network(), &hops, b"request", ISSUED, &mut rng).expect("a packet");
    let (mut suite, mut hint, mut body, mut middles) = (built.suite, built.hint, built.body, Vec::new());
    for keys in &keys {
        match peel(&keys.secrets(suite, hint), &body, &mut rng).expect("its own").role {
            Role::Middle { suite: next_suite, hint: next_hint, body: next, hop, .. } => {
                (suite, hint, body) = (next_suite, next_hint, *next);
                middles.push(hop);
            }
            Role::Exit { mut hop, .. } => {
                let reply = hop.seal_reply0(b"answer").expect("it fits");
                let reply = middles.iter_mut().rev().fold(reply, |body, hop| hop.wrap_reply0(&body).expect("once"));
                let Ok(Reply0::Exit(circuit, _)) = built.building.open_reply0(&reply) else { panic!("a circuit") };
                return (circuit, middles, hop, rng);
            }
        }
    }
    panic!("the last relay is the exit")
}

fn garbage<const N: usize>(rng: &mut ChaCha20Rng) -> [u8; N] {
    let mut bytes = [0; N];
    rng.fill_bytes(&mut bytes);
    bytes
}

/// RUSTSEC-2024-0011 (snow): each frame of garbage advanced the nonce, so that anybody who could inject one ended a session for good. Here one
/// frame from beside a link, or one cell from a bad relay, would make all that follows unreadable and look like the peer's fault.
#[test]
fn regression_garbage_advances_no_nonce_of_a_link_or_a_hop() {
    let mut rng = ChaCha20Rng::seed_from_u64(2);
    let mut one = Handshake::initiate(b"p", &dh(1), &dh(2).public(), &mut rng).expect("parameters");
    let mut two = Handshake::respond(b"p", &dh(2), &mut rng).expect("parameters");
    let (mut wire, mut text) = ([0; 256], [0; 256]);
    let len = one.write(&[], &mut wire).expect("its turn");
    two.read(&wire[..len], &mut text).expect("the first message");
    let len = two.write(&[], &mut wire).expect("its turn");
    one.read(&wire[..len], &mut text).expect("the second message");
    let (mut one, mut two) = (one.into_transport().expect("finished"), two.into_transport().expect("finished"));
    let (mut frame, mut cell) = ([0; FRAME_LEN], [0; CELL_LEN]);
    for round in 0..3 {
        one.seal(&[round; CELL_LEN], &mut frame).expect("a cell");
        for _ in 0..GARBAGE {
            assert!(two.open(&garbage(&mut rng), &mut cell).is_err());
        }
        assert!(two.open(&frame, &mut cell).is_ok() && cell == [round; CELL_LEN]);
    }
    let (mut client, mut middles, mut exit, mut rng) = circuit();
    for round in 0..3 {
        let mut body = client.seal_forward(&[round], &mut rng).expect("it fits");
        for hop in &mut middles {
            for _ in 0..GARBAGE {
                assert!(hop.peel_forward(&garbage(&mut rng)).is_err());
            }
            body = hop.peel_forward(&body).expect("the next cell");
        }
        for _ in 0..GARBAGE {
            assert!(exit.open_forward(&garbage(&mut rng)).is_err());
        }
        assert_eq!(exit.open_forward(&body), Ok(vec![round]));
    }
}

/// CVE-2017-8819 (Tor): what the replay cache looked at could be changed without the packet becoming another one, so that it was taken again. Here
/// a guard could replay a client's packet and see at which exit the same request comes up again. X25519 does not look at the highest bit of a
/// key, and takes numbers above the prime: bytes that agree on the same secret must be refused before they are remembered as another packet.
#[test]
fn regression_a_packet_cannot_be_changed_and_still_open_so_it_is_remembered_as_one() {
    let Path { hops, keys, mut rng } = path(2);
    let built = build(&network(), &hops, b"request", ISSUED, &mut rng).expect("a packet");
    let secrets = keys[0].secrets(built.suite, built.hint);
    let first = peel(&secrets, &built.body, &mut rng).expect("its own");
    let again = peel(&secrets, &built.body, &mut rng).expect("its own");
    assert_eq!((first.replay_tag, first.time), (again.replay_tag, again.time), "the relay's own half does not count");
    for bit in 0..8 * 48 {
        // Key and tag stand first; all else is under the tag.
        let mut changed = built.body;
        changed[bit / 8] ^= 1 << (bit % 8);
        assert!(peel(&secrets, &changed, &mut rng).is_err(), "bit {bit}");
    }
}

/// Tor's RELAY_EARLY attack (CVE-2014-5117): a cell's command was readable and changeable at each hop and passed on as it came, so that two
/// relays could mark a circuit. Here a guard and an exit of one owner would know each other's circuits without any timing.
#[test]
fn regression_no_byte_of_a_header_can_carry_a_mark() {
    let body = Box::new([7; BODY_LEN]);
    for command in [Command::Reply0, Command::Forward, Command::Backward, Command::Destroy] {
        let mut cell = Cell::new(CircuitId(9), command);
        cell.body_mut().copy_from_slice(&body[..]);
        let mut bytes = [0; CELL_LEN];
        cell.encode(&mut bytes);
        for (at, mark) in (5..8).flat_map(|at| (1..=255).map(move |mark| (at, mark))) {
            let mut marked = bytes;
            marked[at] = mark;
            assert!(Cell::decode(&marked).is_err(), "byte {at} of {command:?}");
        }
        // What a relay passes on has a header of its own.
        let mut passed = [0; CELL_LEN];
        Cell::decode(&bytes).expect("as it was").on_circuit(CircuitId(1)).encode(&mut passed);
        assert_eq!((&passed[4..8], &passed[8..]), (&bytes[4..8], &body[..]));
    }
}

/// CVE-2021-34548 (Tor): a relay in the middle could end streams in the name of the exit. Here a guard could answer its client's questions.
#[test]
fn regression_no_hop_but_the_exit_can_answer() {
    for (speaker, kind) in [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2)] {
        let (mut client, mut middles, mut exit, mut rng) = circuit();
        // What it invents; nothing; and what it has seen pass by, a little changed.
        let own: Body = match kind {
            0 => garbage(&mut rng),
            1 => [0; BODY_LEN],
            _ => {
                let seen = exit.seal_backward(b"for the client").expect("it fits");
                let behind = middles[speaker + 1..].iter_mut().rev();
                let mut seen = behind.fold(seen, |body, hop| hop.wrap_backward(&body).expect("never for a body"));
                seen[BODY_LEN / 2] ^= 1;
                seen
            }
        };
        let before = middles[..=speaker].iter_mut().rev();
        let body = before.fold(own, |body, hop| hop.wrap_backward(&body).expect("never for a body"));
        assert!(client.open_backward(&body).is_err(), "hop {speaker}");
    }
    // Of reply 0 it can say that the path ended at it, and nothing that looks like the exit's.
    for speaker in 0..2 {
        let Path { hops, keys, mut rng } = path(3);
        let built = build(&network(), &hops, b"request", ISSUED, &mut rng).expect("a packet");
        let (mut suite, mut hint, mut body, mut middles) = (built.suite, built.hint, built.body, Vec::new());
        for keys in keys.iter().take(speaker + 1) {
            let role = peel(&keys.secrets(suite, hint), &body, &mut rng).expect("its own").role;
            let Role::Middle { suite: next_suite, hint: next_hint, body: next, hop, .. } = role else { panic!("exit") };
            (suite, hint, body) = (next_suite, next_hint, *next);
            middles.push(hop);
        }
        let own = middles.pop().expect("the one that speaks").not_reached().expect("once");
        let reply = middles.iter_mut().rev().fold(own, |body, hop| hop.wrap_reply0(&body).expect("once"));
        let told = built.building.open_reply0(&reply);
        assert!(matches!(told, Ok(Reply0::NotReached { hops }) if hops == speaker + 1));
    }
}
