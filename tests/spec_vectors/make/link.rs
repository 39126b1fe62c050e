//! A whole handshake and the first cells of a link, with given keys.

use bauta::crypto::hash::{blake3, blake3_keyed};
use bauta::crypto::keys::DhSecret;
use bauta::crypto::noise_ik::Handshake;
use bauta::limits::{CELL_LEN, FRAME_LEN};
use bauta::link::{Frame, Link, Params, Timing};
use bauta::time::Instant;
use bauta::wire::cell::{Cell, CircuitId, Command};
use bauta::wire::descriptor::VerifiedDescriptor;
use bauta::wire::hello::Hello;
use bauta::wire::network::Network;
use rand::rngs::ChaCha20Rng;
use rand::{Rng, SeedableRng};

use super::{Field, Fields, Given, NOW, VectorFile, bytes, descriptor, dh_secret, made, network, text};

/// Zeros that the first frame carries.
const PAYLOAD1_LEN: usize = 1_952;

pub(super) fn files() -> Vec<VectorFile> {
    vec![handshakes(), rekeys()]
}

/// The first 32 bytes of a generator of this seed: what becomes a secret key there.
fn drawn(seed: [u8; 32]) -> [u8; 32] {
    let mut out = [0; 32];
    ChaCha20Rng::from_seed(seed).fill_bytes(&mut out);
    out
}

fn frame_of(link: &mut Link) -> Frame {
    let mut frame = [0; FRAME_LEN];
    assert!(link.poll_frame(Instant::ZERO, &mut frame), "a frame is due");
    frame
}

fn plain(cell: &Cell) -> [u8; CELL_LEN] {
    let mut out = [0; CELL_LEN];
    cell.encode(&mut out);
    out
}

fn params(secret: DhSecret, shown: Option<&VerifiedDescriptor>) -> Params {
    let hello = Hello { versions: (1, 1), descriptor: shown.map(VerifiedDescriptor::to_signed) };
    Params { network: network(), secret, hello, timing: Timing::default() }
}

fn handshakes() -> VectorFile {
    VectorFile {
        name: "handshakes",
        description: "Handshakes of links, and the first cells both ways. Frames in their order; the third is the initiator's hello. What is refused is a first frame: nothing answers it.",
        spec: &["link.md §2", "link.md §3", "link.md §4"],
        cases: vec![case("a client", false), case("a relay", true)],
        invalid: refused_frames(),
    }
}

/// Keys that are replaced after two cells, where a link waits for a million.
fn rekeys() -> VectorFile {
    const EVERY: u64 = 2;
    let (secret, peer) = (dh_secret("link relay one"), dh_secret("link relay two"));
    let seeds: [[u8; 32]; 2] = [made("dialling handshake"), made("accepting link")];
    let prologue = network().link_prologue();
    let mut one = Handshake::initiate(&prologue, &secret, &peer.public(), &mut Given::new(&[&seeds[0]])).unwrap();
    let mut two = Handshake::respond(&prologue, &peer, &mut Given::new(&[&seeds[1]])).unwrap();
    let (mut wire, mut payload) = ([0; 128], [0; 128]);
    let len = one.write(&[], &mut wire).unwrap();
    two.read(&wire[..len], &mut payload).unwrap();
    let len = two.write(&[], &mut wire).unwrap();
    one.read(&wire[..len], &mut payload).unwrap();
    let [mut one, mut two] = [one, two].map(|end| end.into_transport().unwrap().rekeyed_every(EVERY));
    let cells =
        [("initiator", 1), ("initiator", 2), ("initiator", 3), ("responder", 4), ("responder", 5), ("initiator", 6)];
    let cells = cells.into_iter().chain([("responder", 7), ("initiator", 8)]);
    let frames = cells.map(|(from, fill)| {
        let (mut frame, mut cell) = ([0; FRAME_LEN], [0; CELL_LEN]);
        let (sender, receiver) = if from == "initiator" { (&mut one, &mut two) } else { (&mut two, &mut one) };
        sender.seal(&[fill; CELL_LEN], &mut frame).unwrap();
        receiver.open(&frame, &mut cell).unwrap();
        assert_eq!(cell, [fill; CELL_LEN]);
        Field::Object(vec![("from", text(from)), ("fill", u64::from(fill).into()), ("frame", bytes(frame))])
    });
    let frames = frames.collect();
    VectorFile {
        name: "rekeys",
        description: "Cells of one link, each filled with one byte, with keys replaced after every second cell of a direction. The payloads of the handshake are empty; which network it is of is in no key.",
        spec: &["link.md §4"],
        cases: vec![vec![
            ("initiator_link_secret", bytes(*secret.to_bytes())),
            ("initiator_ephemeral_secret", bytes(drawn(seeds[0]))),
            ("responder_link_secret", bytes(*peer.to_bytes())),
            ("responder_ephemeral_secret", bytes(drawn(seeds[1]))),
            ("rekey_every", EVERY.into()),
            ("frames", Field::List(frames)),
        ]],
        invalid: vec![],
    }
}

/// First frames that a relay does not answer.
fn refused_frames() -> Vec<Fields> {
    let (secret, peer, ephemeral) = (dh_secret("link relay one"), dh_secret("link relay two"), made::<32>("ephemeral"));
    let frame = |prologue: &[u8], mac1_of: &Network, payload: [u8; PAYLOAD1_LEN]| {
        let mut frame = [0; FRAME_LEN];
        let given = &mut Given::new(&[&ephemeral]);
        let mut handshake = Handshake::initiate(prologue, &secret, &peer.public(), given).unwrap();
        handshake.write(&payload, &mut frame[..FRAME_LEN - 16]).unwrap();
        with_mac1(frame, mac1_of, &peer)
    };
    let (prologue, zeros, other) = (network().link_prologue(), [0; PAYLOAD1_LEN], Network::named("other", 0));
    let (mut first, mut last) = (zeros, zeros);
    (first[0], last[PAYLOAD1_LEN - 1]) = (1, 0x80);
    let good = frame(&prologue, &network(), zeros);
    let (mut mac1, mut tag) = (good, good);
    mac1[FRAME_LEN - 1] ^= 1;
    tag[FRAME_LEN - 17] ^= 1;
    let refused = |name: &str, frame: &Frame| {
        vec![
            ("name", text(name)),
            ("network_id", bytes(network().id)),
            ("responder_link_secret", bytes(*peer.to_bytes())),
            ("frame", bytes(frame)),
            ("error", text("failed to authenticate")),
        ]
    };
    vec![
        refused("a payload that begins with 1", &frame(&prologue, &network(), first)),
        refused("a payload that ends with a bit", &frame(&prologue, &network(), last)),
        refused("another mac1", &mac1),
        refused("mac1 of another network", &frame(&prologue, &other, zeros)),
        refused("another tag under a right mac1", &with_mac1(tag, &network(), &peer)),
        refused(
            "the prologue of another network under a right mac1",
            &frame(&other.link_prologue(), &network(), zeros),
        ),
    ]
}

fn with_mac1(mut frame: Frame, network: &Network, responder: &DhSecret) -> Frame {
    let key = blake3(&[b"bauta/1 mac1", &network.id, &responder.public().0]);
    let mac1 = blake3_keyed(&key, &[&frame[..FRAME_LEN - 16]]);
    frame[FRAME_LEN - 16..].copy_from_slice(&mac1[..16]);
    frame
}

fn case(initiator: &str, is_relay: bool) -> Fields {
    let ours = descriptor("relay one", NOW.to_wire(), "192.0.2.7:7000");
    let theirs = descriptor("relay two", NOW.to_wire(), "198.51.100.9:7000");
    let (secret, peer) = (dh_secret("link relay one"), dh_secret("link relay two"));
    let shown = is_relay.then_some(&ours);
    let seeds: [[u8; 32]; 3] = [made("dialling handshake"), made("dialling link"), made("accepting link")];
    let given = &mut Given::new(&[&seeds[0], &seeds[1]]);
    let mut one = Link::dial(params(secret.clone(), shown), peer.public(), given, Instant::ZERO).unwrap();
    let accepted = params(peer.clone(), Some(&theirs));
    let mut two = Link::accept(accepted, &mut Given::new(&[&seeds[2]]), Instant::ZERO);

    let frame1 = frame_of(&mut one);
    assert_eq!(two.handle_frame(Instant::ZERO, &frame1), Ok(None));
    let frame2 = frame_of(&mut two);
    assert!(one.handle_frame(Instant::ZERO, &frame2).is_ok());
    let frame3 = frame_of(&mut one);
    assert!(two.handle_frame(Instant::ZERO, &frame3).is_ok());
    let mut ask = Cell::new(CircuitId(0x8000_0004), Command::Ask);
    ask.body_mut()[..6].copy_from_slice(&[0, 0, 0, 2, 3, 0]);
    let mut answer = Cell::new(CircuitId(0x8000_0004), Command::Answer);
    answer.body_mut()[..5].copy_from_slice(&[0, 0, 0, 1, 0]);
    one.push(ask.clone()).unwrap();
    two.push(answer.clone()).unwrap();
    let (frame4, frame5) = (frame_of(&mut one), frame_of(&mut two));

    let mut hello = Cell::of_link(Command::Hello);
    let said = Hello { versions: (1, 1), descriptor: shown.map(VerifiedDescriptor::to_signed) }.encode();
    hello.body_mut()[..said.len()].copy_from_slice(&said);
    let answered = Hello { versions: (1, 1), descriptor: Some(theirs.to_signed()) };
    let frames: [(&str, &Frame, Field); 5] = [
        ("initiator", &frame1, Field::None),
        ("responder", &frame2, Field::None),
        ("initiator", &frame3, bytes(plain(&hello))),
        ("initiator", &frame4, bytes(plain(&ask))),
        ("responder", &frame5, bytes(plain(&answer))),
    ];
    let frames = frames
        .into_iter()
        .map(|(from, frame, cell)| Field::Object(vec![("from", text(from)), ("cell", cell), ("frame", bytes(frame))]));
    vec![
        ("initiator", text(initiator)),
        ("network_id", bytes(network().id)),
        ("initiator_link_secret", bytes(*secret.to_bytes())),
        ("initiator_ephemeral_secret", bytes(drawn(seeds[0]))),
        ("responder_link_secret", bytes(*peer.to_bytes())),
        ("responder_link_key", bytes(peer.public().0)),
        // The accepting end seeds the generator of its handshake from its own.
        ("responder_ephemeral_secret", bytes(drawn(drawn(seeds[2])))),
        ("responder_hello", bytes(answered.encode())),
        ("mac1", bytes(&frame1[FRAME_LEN - 16..])),
        ("frames", Field::List(frames.collect())),
    ]
}
