//! A virtual pair of links: every refusal, every deadline at t and just before.

use proptest::prelude::*;
use rand::SeedableRng;
use rand::rngs::ChaCha20Rng;

use super::handshake::Dialling;
use super::*;
use crate::crypto::keys::{DhKey, DhSecret, IdentitySecret};
use crate::crypto::noise_ik::Transport;
use crate::crypto::puzzle::Solution;
use crate::limits::{CELL_LEN, HANDSHAKE_TIMEOUT, LINK_PADDING_AFTER, LINK_QUEUE_CELLS_MAX, LINK_SILENCE_MAX};
use crate::time::{Duration, Instant};
use crate::wire::address::Address;
use crate::wire::cell::{Cell, CircuitId, Command};
use crate::wire::descriptor::{Descriptor, SignedDescriptor};
use crate::wire::hello::Hello;
use crate::wire::network::{Network, VERSIONS};

const T0: Instant = Instant::from_micros(1_000_000);

fn network() -> Network {
    Network::named("test", 0)
}

fn rng(seed: u64) -> ChaCha20Rng {
    ChaCha20Rng::seed_from_u64(seed)
}

fn descriptor(link_key: DhKey) -> SignedDescriptor {
    let secret = IdentitySecret::generate(&mut rng(99));
    let descriptor = Descriptor {
        key: secret.public(),
        solution: Solution { counter: 0, y: [0; 32] },
        link_key,
        onion_epoch: 1,
        onion_key: link_key,
        address: Address("127.1.0.1:9".parse().unwrap()),
        family: [0; 8],
        versions: VERSIONS,
        issued: 1,
        effort: 0,
    };
    descriptor.sign(&network(), &secret).to_signed()
}

fn client(seed: u64) -> Params {
    let hello = Hello { versions: VERSIONS, descriptor: None };
    let secret = DhSecret::generate(&mut rng(seed));
    Params { network: network(), secret, hello, timing: Timing::default() }
}

fn relay(seed: u64) -> Params {
    let mut params = client(seed);
    params.hello.descriptor = Some(descriptor(params.secret.public()));
    params
}

fn pair(one: Params, two: Params) -> (Link, Link) {
    let peer = two.secret.public();
    let a = Link::dial(one, peer, &mut rng(1), T0).unwrap();
    (a, Link::accept(two, &mut rng(2), T0))
}

fn frame_of(link: &mut Link) -> Frame {
    let mut frame = [0; FRAME_LEN];
    assert!(link.has_frame());
    assert!(link.poll_frame(T0, &mut frame));
    frame
}

fn is_quiet(link: &mut Link) -> bool {
    !link.has_frame() && !link.poll_frame(T0, &mut [0; FRAME_LEN])
}

/// Runs the handshake; what each end was told.
fn establish(
    a: &mut Link,
    b: &mut Link,
) -> (Result<Option<LinkEvent>, DownReason>, Result<Option<LinkEvent>, DownReason>) {
    assert_eq!(b.handle_frame(T0, &frame_of(a)), Ok(None));
    let first = a.handle_frame(T0, &frame_of(b));
    (first, b.handle_frame(T0, &frame_of(a)))
}

fn up(one: Params, two: Params) -> (Link, Link) {
    let (mut a, mut b) = pair(one, two);
    let (first, second) = establish(&mut a, &mut b);
    assert!(matches!(first, Ok(Some(LinkEvent::Established { .. }))), "{first:?}");
    assert!(matches!(second, Ok(Some(LinkEvent::Established { .. }))), "{second:?}");
    (a, b)
}

fn cell(mark: u8) -> Cell {
    let mut cell = Cell::new(CircuitId(7), Command::Forward);
    cell.body_mut().fill(mark);
    cell
}

#[test]
fn two_relays_learn_each_others_key_and_hello_and_then_exchange_cells() {
    let (one, two) = (relay(1), relay(2));
    let (mut a, mut b) = pair(one.clone(), two.clone());
    let (first, second) = establish(&mut a, &mut b);
    let told = |params: &Params| LinkEvent::Established {
        link_key: params.secret.public(),
        hello: Box::new(params.hello.clone()),
    };
    assert_eq!(first, Ok(Some(told(&two))));
    assert_eq!(second, Ok(Some(told(&one))));
    for mark in 1..20 {
        let (from, to) = if mark % 3 == 0 { (&mut b, &mut a) } else { (&mut a, &mut b) };
        from.push(cell(mark)).unwrap();
        assert_eq!(to.handle_frame(T0, &frame_of(from)), Ok(Some(LinkEvent::Cell(cell(mark)))));
    }
}

// [LINK-R-023]
#[test]
fn a_client_shows_no_descriptor_and_may_dial_but_not_be_dialled() {
    let (_, _) = up(client(1), relay(2));
    let (mut a, mut b) = pair(client(1), client(2));
    assert_eq!(establish(&mut a, &mut b).0, Err(DownReason::Identity));
}

#[test]
fn cells_pushed_before_the_handshake_is_done_go_after_it() {
    let (mut a, mut b) = pair(client(1), relay(2));
    a.push(cell(1)).unwrap();
    a.push(Cell::credit(CircuitId(1), 5)).unwrap();
    assert!(establish(&mut a, &mut b).1.is_ok());
    let credit = b.handle_frame(T0, &frame_of(&mut a));
    assert_eq!(credit, Ok(Some(LinkEvent::Cell(Cell::credit(CircuitId(1), 5)))));
    assert_eq!(b.handle_frame(T0, &frame_of(&mut a)), Ok(Some(LinkEvent::Cell(cell(1)))));
}

// [LINK-R-009] [VER-R-007]
#[test]
fn wrong_network_wrong_key_and_garbage_all_meet_silence_until_the_handshakes_time_is_over() {
    let elsewhere = Params { network: Network::named("other", 0), ..client(1) };
    let (mut foreign, _) = pair(elsewhere, relay(2));
    let (mut misled, _) = pair(client(1), relay(3));
    for frame in [frame_of(&mut foreign), frame_of(&mut misled), [0; FRAME_LEN], [0x55; FRAME_LEN]] {
        let (mut a, mut b) = pair(client(1), relay(2));
        assert_eq!(b.handle_frame(T0, &frame), Ok(None));
        assert!(b.is_mute() && is_quiet(&mut b));
        // Not even a right first frame is answered any more.
        assert_eq!(b.handle_frame(T0, &frame_of(&mut a)), Ok(None));
        assert!(is_quiet(&mut b));
        let end = T0 + HANDSHAKE_TIMEOUT;
        assert_eq!(b.poll_timeout(), Some(end));
        assert_eq!(b.handle_timeout(Instant::from_micros(end.as_micros() - 1)), Ok(()));
        assert_eq!(b.handle_timeout(end), Err(DownReason::Identity));
        assert_eq!(b.handle_frame(end, &frame), Err(DownReason::Identity));
        assert_eq!(b.poll_timeout(), None);
    }
}

// [LINK-R-011]
#[test]
fn an_answer_that_is_not_the_expected_peers_ends_the_dialler_with_identity() {
    let (mut a, mut b) = pair(client(1), relay(2));
    b.handle_frame(T0, &frame_of(&mut a)).unwrap();
    let good = frame_of(&mut b);
    for at in [0, 31, 32, 1_000, FRAME_LEN - 1] {
        let (mut a, _) = pair(client(1), relay(2));
        let mut bad = good;
        bad[at] ^= 1;
        assert_eq!(a.handle_frame(T0, &bad), Err(DownReason::Identity));
        assert_eq!(a.handle_frame(T0, &good), Err(DownReason::Identity));
    }
}

// [LINK-R-023]
#[test]
fn a_descriptor_of_another_link_key_is_refused_on_both_sides() {
    let mut borrowed = client(3);
    borrowed.hello.descriptor = Some(descriptor(DhSecret::generate(&mut rng(4)).public()));
    let (mut a, mut b) = pair(client(1), borrowed.clone());
    assert_eq!(establish(&mut a, &mut b).0, Err(DownReason::Identity));
    let (mut a, mut b) = pair(borrowed, relay(2));
    assert_eq!(establish(&mut a, &mut b).1, Err(DownReason::Identity));
}

// [LINK-R-021] [LINK-W-022]
#[test]
fn a_version_mismatch_names_both_ranges_on_both_sides() {
    let mut newer = client(1);
    newer.hello.versions = (2, 5);
    let (mut a, mut b) = pair(newer, relay(2));
    let (first, second) = establish(&mut a, &mut b);
    assert_eq!(first, Err(DownReason::Version { ours: (2, 5), theirs: VERSIONS }));
    assert_eq!(second, Err(DownReason::Version { ours: VERSIONS, theirs: (2, 5) }));
    assert!(is_quiet(&mut a) && is_quiet(&mut b));
}

// [LINK-R-020]
#[test]
fn an_answer_with_a_hello_that_cannot_be_read_ends_the_dialler_with_protocol() {
    let mut wrong = relay(2);
    wrong.hello.versions = (2, 1);
    let (mut a, mut b) = pair(client(1), wrong);
    b.handle_frame(T0, &frame_of(&mut a)).unwrap();
    assert_eq!(a.handle_frame(T0, &frame_of(&mut b)), Err(DownReason::Protocol));
    assert!(is_quiet(&mut a));
}

// [LINK-R-015] [LINK-R-020] [LINK-R-028]
#[test]
fn a_first_cell_that_is_no_hello_and_a_second_hello_break_the_protocol() {
    let mut garbled = Cell::of_link(Command::Hello);
    garbled.body_mut().fill(1);
    for first in [cell(1), Cell::of_link(Command::Padding), garbled] {
        let two = relay(2);
        let (dialling, frame) = Dialling::start(&client(1), &two.secret.public(), &mut rng(1)).unwrap();
        let mut b = Link::accept(two, &mut rng(2), T0);
        b.handle_frame(T0, &frame).unwrap();
        let (mut transport, _) = dialling.finish(&frame_of(&mut b), false).unwrap();
        let (mut plain, mut sealed) = ([0; CELL_LEN], [0; FRAME_LEN]);
        first.encode(&mut plain);
        transport.seal(&plain, &mut sealed).unwrap();
        assert_eq!(b.handle_frame(T0, &sealed), Err(DownReason::Protocol));
    }

    let (mut a, mut b) = up(client(1), relay(2));
    a.push(Cell::of_link(Command::Hello)).unwrap();
    assert_eq!(b.handle_frame(T0, &frame_of(&mut a)), Err(DownReason::Protocol));
    assert_eq!(b.push(cell(1)), Ok(()));
    assert!(is_quiet(&mut b), "an ended link sends nothing");
}

/// A link that is up, and what seals for it as its peer would, whatever the bytes.
fn up_with_a_sealer() -> (Transport, Link) {
    let two = relay(2);
    let (dialling, frame) = Dialling::start(&client(1), &two.secret.public(), &mut rng(1)).unwrap();
    let mut b = Link::accept(two, &mut rng(2), T0);
    b.handle_frame(T0, &frame).unwrap();
    let (mut transport, _) = dialling.finish(&frame_of(&mut b), false).unwrap();
    let mut hello = Cell::of_link(Command::Hello);
    hello.body_mut()[..3].copy_from_slice(&client(1).hello.encode());
    let mut plain = [0; CELL_LEN];
    hello.encode(&mut plain);
    assert!(matches!(say(&mut transport, &mut b, &plain), Ok(Some(LinkEvent::Established { .. }))));
    (transport, b)
}

fn say(by: &mut Transport, to: &mut Link, plain: &[u8; CELL_LEN]) -> Result<Option<LinkEvent>, DownReason> {
    let mut sealed = [0; FRAME_LEN];
    by.seal(plain, &mut sealed).unwrap();
    to.handle_frame(T0, &sealed)
}

// [CELL-R-002]
#[test]
fn a_cell_whose_header_has_no_meaning_ends_the_link() {
    for header in [
        [0, 0, 0, 7, 0, 0, 0, 0],
        [0, 0, 0, 7, 11, 0, 0, 0],
        [0, 0, 0, 7, 3, 0, 0, 1],
        [0, 0, 0, 7, 3, 1, 0, 0],
        [0, 0, 0, 7, 3, 0, 1, 0],
        [0, 0, 0, 0, 3, 0, 0, 0],
        [0, 0, 0, 7, 8, 0, 0, 0],
    ] {
        let (mut a, mut b) = up_with_a_sealer();
        let mut plain = [0; CELL_LEN];
        plain[..8].copy_from_slice(&header);
        assert_eq!(say(&mut a, &mut b, &plain), Err(DownReason::Protocol), "{header:?}");
        assert!(is_quiet(&mut b));
    }
}

// [CELL-R-007]
#[test]
fn a_padding_is_dropped_whatever_stands_in_it() {
    let (mut a, mut b) = up_with_a_sealer();
    let mut plain = [0xff; CELL_LEN];
    plain[..8].copy_from_slice(&[0, 0, 0, 0, 8, 0, 0, 0]);
    assert_eq!(say(&mut a, &mut b, &plain), Ok(None));
    assert!(is_quiet(&mut b));
    cell(3).encode(&mut plain);
    assert_eq!(say(&mut a, &mut b, &plain), Ok(Some(LinkEvent::Cell(cell(3)))));
}

// [LINK-R-027]
#[test]
fn a_replayed_frame_and_a_frame_out_of_order_end_the_link() {
    for skip in [false, true] {
        let (mut a, mut b) = up(client(1), relay(2));
        for mark in 0..3 {
            a.push(cell(mark)).unwrap();
        }
        let (one, two) = (frame_of(&mut a), frame_of(&mut a));
        if !skip {
            assert!(b.handle_frame(T0, &one).is_ok());
        }
        let bad = if skip { two } else { one };
        assert_eq!(b.handle_frame(T0, &bad), Err(DownReason::Protocol));
        assert_eq!(b.handle_frame(T0, &one), Err(DownReason::Protocol));
    }
}

// [LINK-R-013] [LINK-R-014]
#[test]
fn a_first_frame_sent_twice_gives_no_link_without_the_diallers_secret() {
    let (mut a, mut b) = pair(client(1), relay(2));
    let first = frame_of(&mut a);
    assert_eq!(b.handle_frame(T0, &first), Ok(None));
    assert_eq!(b.handle_frame(T0, &first), Err(DownReason::Identity));
}

// [LINK-R-006]
#[test]
fn a_dialled_key_of_small_order_is_refused() {
    let refused = Link::dial(client(1), DhKey([0; 32]), &mut rng(1), T0);
    assert_eq!(refused.err(), Some(DownReason::Identity));
}

// [LINK-R-029]
#[test]
fn a_handshake_that_stops_anywhere_ends_at_its_time_and_not_before() {
    for steps in 0..3 {
        let (mut a, mut b) = pair(client(1), relay(2));
        if steps > 0 {
            b.handle_frame(T0, &frame_of(&mut a)).unwrap();
        }
        if steps > 1 {
            a.handle_frame(T0, &frame_of(&mut b)).unwrap();
        }
        let end = T0 + HANDSHAKE_TIMEOUT;
        assert_eq!(b.handle_timeout(Instant::from_micros(end.as_micros() - 1)), Ok(()));
        assert_eq!(b.handle_timeout(end), Err(DownReason::Handshake));
        assert!(steps > 1 || a.handle_timeout(end) == Err(DownReason::Handshake));
    }
}

// [LINK-W-030]
#[test]
fn one_padding_cell_goes_when_nothing_else_did_and_is_dropped_by_the_peer() {
    let (mut a, mut b) = up(client(1), relay(2));
    let due = a.poll_timeout().unwrap();
    assert!(due <= T0 + LINK_PADDING_AFTER && due >= T0 + LINK_PADDING_AFTER / 4 * 3);
    assert_eq!(a.handle_timeout(Instant::from_micros(due.as_micros() - 1)), Ok(()));
    assert!(is_quiet(&mut a));
    assert_eq!(a.handle_timeout(due), Ok(()));
    assert_eq!(b.handle_frame(due, &frame_of(&mut a)), Ok(None));
    assert!(is_quiet(&mut a));
    assert!(a.poll_timeout() > Some(due));
}

// [LINK-W-030]
#[test]
fn a_cell_sent_postpones_padding_and_a_late_writer_gets_none_on_top() {
    let (mut a, _) = up(client(1), relay(2));
    let due = a.poll_timeout().unwrap();
    a.push(cell(1)).unwrap();
    assert_eq!(a.handle_timeout(due), Ok(()));
    assert!(a.poll_timeout() > Some(due));
    let mut frame = [0; FRAME_LEN];
    let late = due + LINK_PADDING_AFTER / 2;
    assert!(a.poll_frame(late, &mut frame));
    assert!(!a.poll_frame(late, &mut frame), "the cell alone");
    assert!(a.poll_timeout() >= Some(late + LINK_PADDING_AFTER / 4 * 3));
}

// [LINK-R-031]
#[test]
fn a_link_that_hears_nothing_is_silent_at_its_time_and_every_frame_heard_puts_that_off() {
    let (mut a, mut b) = up(client(1), relay(2));
    let heard = T0 + Duration::from_secs(50);
    a.push(Cell::of_link(Command::Padding)).unwrap();
    assert_eq!(b.handle_frame(heard, &frame_of(&mut a)), Ok(None));
    let end = heard + LINK_SILENCE_MAX;
    assert_eq!(b.handle_timeout(Instant::from_micros(end.as_micros() - 1)), Ok(()));
    assert_eq!(b.handle_timeout(end), Err(DownReason::Silent));
    assert_eq!(a.handle_timeout(T0 + LINK_SILENCE_MAX), Err(DownReason::Silent));
    assert!(LINK_PADDING_AFTER * 3 < LINK_SILENCE_MAX, "two padding cells may be late");
}

// [LINK-R-045]
#[test]
fn a_full_queue_is_told_to_who_pushes() {
    let (mut a, _) = up(client(1), relay(2));
    for _ in 0..LINK_QUEUE_CELLS_MAX {
        a.push(cell(0)).unwrap();
    }
    assert_eq!(a.push(cell(0)), Err(Full));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    // [LINK-R-009] [LINK-R-011] [LINK-R-014] [LINK-R-027]
    #[test]
    fn one_flipped_bit_in_any_frame_of_a_link_is_refused_by_who_gets_it(
        which in 0_usize..5, at in 0..FRAME_LEN, bit in 0_u8..8,
    ) {
        let (mut a, mut b) = pair(relay(1), relay(2));
        b.push(cell(5)).unwrap();
        a.push(cell(6)).unwrap();
        // Frames in their order: message 1, message 2, hello, a cell each way.
        for (step, a_sends) in [true, false, true, true, false].into_iter().enumerate() {
            let (from, to) = if a_sends { (&mut a, &mut b) } else { (&mut b, &mut a) };
            let mut frame = frame_of(from);
            if step < which {
                prop_assert!(to.handle_frame(T0, &frame).is_ok());
                continue;
            }
            frame[at] ^= 1 << bit;
            let told = to.handle_frame(T0, &frame);
            match step {
                0 => prop_assert!(told == Ok(None) && to.is_mute() && is_quiet(to)),
                1 | 2 => prop_assert_eq!(told, Err(DownReason::Identity)),
                _ => prop_assert_eq!(told, Err(DownReason::Protocol)),
            }
            return Ok(());
        }
    }

    #[test]
    fn garbage_at_any_step_never_brings_an_event(steps in 0_usize..4, seed in any::<u64>()) {
        let (mut a, mut b) = pair(relay(1), relay(2));
        let mut garbage = [0; FRAME_LEN];
        rand::Rng::fill_bytes(&mut rng(seed), &mut garbage);
        for (step, a_sends) in [true, false, true].into_iter().enumerate() {
            if step < steps {
                let (from, to) = if a_sends { (&mut a, &mut b) } else { (&mut b, &mut a) };
                let frame = frame_of(from);
                prop_assert!(to.handle_frame(T0, &frame).is_ok());
            }
        }
        for link in [&mut a, &mut b] {
            prop_assert!(!matches!(link.handle_frame(T0, &garbage), Ok(Some(_))));
        }
    }
}
