//! A peer with real keys that says what the input has it say: what stands inside the frames of a handshake, and inside sealed cells, is the
//! input's. A link comes of a hello that fits and of nothing else, each refusal bears its reason, and of cells those that mean something.

use bauta::crypto::hash::{blake3, blake3_keyed};
use bauta::crypto::noise_ik::{Handshake, MESSAGE1_OVERHEAD, MESSAGE2_OVERHEAD, Transport};
use bauta::limits::{CELL_LEN, FRAME_LEN};
use bauta::link::{DownReason, Link, LinkEvent, Params, Timing};
use bauta::time::Instant;
use bauta::wire::cell::{Cell, Command};
use bauta::wire::hello::{Hello, common_version};
use bauta::wire::network::VERSIONS;
use rand::SeedableRng;
use rand::rngs::ChaCha20Rng;

use super::relays::{dh, network, relay};
use super::script::Script;

const MAC1_LEN: usize = 16;
const MESSAGE1_LEN: usize = FRAME_LEN - MAC1_LEN;
const CELLS_MAX: usize = 16;

/// The house's end is relay 1; the other has the link key of relay 2.
fn params() -> Params {
    let hello = Hello { versions: VERSIONS, descriptor: Some(relay(1).to_signed()) };
    Params { network: network(), secret: dh(1), hello, timing: Timing::default() }
}

/// What is said as a hello: one that fits, one that is a little different, or bytes of the input.
fn said(script: &mut Script<'_>, len: usize) -> Vec<u8> {
    let kind = script.byte();
    let number = if kind & 0x40 == 0 { 2 } else { 3 };
    let descriptor = (kind & 0x20 == 0).then(|| relay(number).to_signed());
    let mut bytes = Hello { versions: (1, script.byte().max(1)), descriptor }.encode();
    bytes.resize(len, 0);
    match kind % 4 {
        0 | 1 => (),
        2 => {
            for _ in 0..=script.byte() % 4 {
                script.change(&mut bytes);
            }
        }
        _ => {
            let count = script.below(len);
            bytes[..count].copy_from_slice(&script.bytes(count));
        }
    }
    bytes
}

/// What a link has to come to with this hello.
fn expected(hello: Option<&Hello>, dialled: bool) -> Result<(), DownReason> {
    let Some(hello) = hello else { return Err(DownReason::Protocol) };
    if common_version(VERSIONS, hello.versions).is_none() {
        return Err(DownReason::Version { ours: VERSIONS, theirs: hello.versions });
    }
    let fits = hello.descriptor.as_ref().map_or(!dialled, |shown| shown.claims_link_key(&dh(2).public()));
    if fits { Ok(()) } else { Err(DownReason::Identity) }
}

fn came(told: Result<Option<LinkEvent>, DownReason>, hello: Option<&Hello>, dialled: bool) -> bool {
    let expected = expected(hello, dialled);
    match told {
        Ok(Some(LinkEvent::Established { link_key, hello: shown })) => {
            assert!(expected.is_ok());
            assert_eq!((link_key, Some(&*shown)), (dh(2).public(), hello));
            true
        }
        Ok(other) => panic!("{}", if other.is_some() { "a cell" } else { "nothing" }),
        Err(reason) => {
            assert_eq!(Err(reason), expected);
            false
        }
    }
}

/// The house dials.
fn dialled(script: &mut Script<'_>, rng: &mut ChaCha20Rng) -> Option<(Link, Transport)> {
    let (now, mut frame) = (Instant::ZERO, [0; FRAME_LEN]);
    let mut link = Link::dial(params(), dh(2).public(), rng, now).expect("a key of no small order");
    assert!(link.poll_frame(now, &mut frame));
    let mut noise = Handshake::respond(&network().link_prologue(), &dh(2), rng).expect("parameters");
    noise.read(&frame[..MESSAGE1_LEN], &mut [0; MESSAGE1_LEN - MESSAGE1_OVERHEAD]).expect("its first message");
    let payload = said(script, FRAME_LEN - MESSAGE2_OVERHEAD);
    noise.write(&payload, &mut frame).expect("its turn");
    let hello = Hello::decode(&payload).ok();
    let told = link.handle_frame(now, &frame);
    let mut transport = noise.into_transport().expect("finished");
    // The first cell of the house is its hello, whatever came of ours.
    let mut plain = [0; CELL_LEN];
    if hello.is_some() {
        assert!(link.poll_frame(now, &mut frame) && transport.open(&frame, &mut plain).is_ok());
        let cell = Cell::decode(&plain).expect("a cell");
        assert_eq!((cell.command(), Hello::decode(cell.body()).ok()), (Command::Hello, Some(params().hello)));
    }
    came(told, hello.as_ref(), true).then_some((link, transport))
}

/// The house is dialled.
fn accepted(script: &mut Script<'_>, rng: &mut ChaCha20Rng, fault: bool) -> Option<(Link, Transport)> {
    let (now, mut frame) = (Instant::ZERO, [0; FRAME_LEN]);
    let mut link = Link::accept(params(), rng, now);
    let mut noise = Handshake::initiate(&network().link_prologue(), &dh(2), &dh(1).public(), rng).expect("parameters");
    let mut payload = [0; MESSAGE1_LEN - MESSAGE1_OVERHEAD];
    let count = script.byte() % 4;
    for _ in 0..count.saturating_sub(2) {
        script.change(&mut payload);
    }
    noise.write(&payload, &mut frame[..MESSAGE1_LEN]).expect("its turn");
    let key = blake3(&[b"bauta/1 mac1", &network().id, &dh(1).public().0]);
    let mac = blake3_keyed(&key, &[&frame[..MESSAGE1_LEN]]);
    frame[MESSAGE1_LEN..].copy_from_slice(&mac[..MAC1_LEN]);
    assert_eq!(link.handle_frame(now, &frame).map(|event| event.is_none()), Ok(true));
    // A payload with a meaning is none of this version's.
    assert_eq!(link.is_mute(), payload.iter().any(|byte| *byte != 0));
    if link.is_mute() {
        assert!(!link.poll_frame(now, &mut frame));
        return None;
    }
    assert!(link.poll_frame(now, &mut frame));
    noise.read(&frame, &mut [0; FRAME_LEN - MESSAGE2_OVERHEAD]).expect("its answer");
    let mut transport = noise.into_transport().expect("finished");
    let mut cell = Cell::of_link(Command::Hello);
    let body = said(script, cell.body().len());
    cell.body_mut().copy_from_slice(&body);
    let mut plain = [0; CELL_LEN];
    cell.encode(&mut plain);
    if script.byte() & 7 == 7 {
        script.change(&mut plain[..8]);
    }
    transport.seal(&plain, &mut frame).expect("a cell");
    let shown = Cell::decode(&plain).ok().filter(|cell| cell.command() == Command::Hello);
    let hello = shown.and_then(|cell| Hello::decode(cell.body()).ok());
    let told = link.handle_frame(now, &frame);
    let told = if fault && hello.is_none() { Ok(None) } else { told };
    came(told, hello.as_ref(), false).then_some((link, transport))
}

/// Checks one input. With `fault`, as it would be where a link swallows a first cell that is no hello.
pub fn check(data: &[u8], fault: bool) {
    let mut script = Script::new(data);
    let mode = script.byte();
    let mut rng = ChaCha20Rng::seed_from_u64(u64::from(mode));
    let up = if mode & 1 == 0 { dialled(&mut script, &mut rng) } else { accepted(&mut script, &mut rng, fault) };
    let Some((mut link, mut transport)) = up else { return };
    for _ in 0..CELLS_MAX {
        if script.is_over() {
            return;
        }
        let (mut plain, mut frame) = ([script.byte(); CELL_LEN], [0; FRAME_LEN]);
        plain[..8].fill(0);
        let head = script.bytes(12);
        plain[..12].copy_from_slice(&head);
        if script.byte() & 1 == 0 {
            // A header that means something, as far as it can.
            (plain[4], plain[7]) = (plain[4] % 12, 0);
        }
        transport.seal(&plain, &mut frame).expect("a cell");
        let meant = Cell::decode(&plain).ok().filter(|cell| cell.command() != Command::Hello);
        match (link.handle_frame(Instant::ZERO, &frame), meant) {
            (Ok(Some(LinkEvent::Cell(cell))), Some(meant)) => assert_eq!(cell, meant),
            (Ok(None), Some(meant)) => assert_eq!(meant.command(), Command::Padding),
            (Err(reason), None) => return assert_eq!(reason, DownReason::Protocol),
            (_, meant) => {
                panic!("{}", if meant.is_some() { "a cell was refused" } else { "no cell was taken for one" })
            }
        }
    }
}
