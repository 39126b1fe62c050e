//! Handshakes, by snow with its own primitives: nothing of ours but the bytes.

use bauta::crypto::Forged;
use bauta::crypto::aead::{Key, Tag};
use bauta::crypto::hash::{blake3, blake3_keyed};
use bauta::crypto::keys::{DhKey, DhSecret};
use bauta::crypto::nk::Responder;
use bauta::limits::{FRAME_LEN, TAG_LEN};
use bauta::link::{Link, Params, Timing};
use bauta::time::Instant;
use bauta::wire::hello::Hello;
use bauta::wire::network::Network;
use snow::{Builder, HandshakeState, TransportState};

use super::read::Case;
use super::{Refusal, told};

const IK: &str = "Noise_IK_25519_ChaChaPoly_BLAKE2s";
const NK: &str = "Noise_NK_25519_ChaChaPoly_BLAKE2s";

/// A relay's end of an onion layer.
pub(super) fn nk_responder(prologue: &[u8], secret: &[u8], ephemeral: &[u8]) -> HandshakeState {
    let builder = Builder::new(NK.parse().unwrap()).prologue(prologue).unwrap().local_private_key(secret).unwrap();
    builder.fixed_ephemeral_key_for_testing_only(ephemeral).build_responder().unwrap()
}

pub(super) fn read(state: &mut HandshakeState, message: &[u8]) -> Vec<u8> {
    let mut out = vec![0; message.len()];
    let len = state.read_message(message, &mut out).unwrap();
    out.truncate(len);
    out
}

pub(super) fn write(state: &mut HandshakeState, payload: &[u8]) -> Vec<u8> {
    let mut out = vec![0; payload.len() + 200];
    let len = state.write_message(payload, &mut out).unwrap();
    out.truncate(len);
    out
}

pub(super) fn open(state: &mut TransportState, message: &[u8]) -> Vec<u8> {
    let mut out = vec![0; message.len()];
    let len = state.read_message(message, &mut out).unwrap();
    out.truncate(len);
    out
}

pub(super) fn seal(state: &mut TransportState, payload: &[u8]) -> Vec<u8> {
    let mut out = vec![0; payload.len() + TAG_LEN];
    let len = state.write_message(payload, &mut out).unwrap();
    out.truncate(len);
    out
}

pub(super) fn nk(case: &Case) {
    let (prologue, key) = (case.bytes("prologue"), case.bytes("responder_key"));
    let ephemerals = [case.bytes("initiator_ephemeral_secret"), case.bytes("responder_ephemeral_secret")];
    let one = Builder::new(NK.parse().unwrap()).prologue(&prologue).unwrap().remote_public_key(&key).unwrap();
    let mut one = one.fixed_ephemeral_key_for_testing_only(&ephemerals[0]).build_initiator().unwrap();
    let mut two = nk_responder(&prologue, &case.bytes("responder_secret"), &ephemerals[1]);

    let first = [case.bytes("initiator_ephemeral"), case.bytes("ciphertext1"), case.bytes("tag1")].concat();
    assert_eq!(write(&mut one, &case.bytes("payload1")), first);
    assert_eq!(read(&mut two, &first), case.bytes("payload1"));
    // The hash that the replay filter looks at is Noise's own.
    assert!(two.get_handshake_hash().starts_with(&case.bytes("replay_tag")));
    let second = [case.bytes("responder_ephemeral"), case.bytes("ciphertext2"), case.bytes("tag2")].concat();
    assert_eq!(write(&mut two, &case.bytes("payload2")), second);
    assert_eq!(read(&mut one, &second), case.bytes("payload2"));

    let (k2, ad2) = (Key::new(case.array("k2")), case.bytes("ad2"));
    let mut text = case.bytes("ciphertext2");
    assert_eq!(k2.open(0, &ad2, &mut text, &case.array("tag2")), Ok(()));
    let (mut one, mut two) = (one.into_transport_mode().unwrap(), two.into_transport_mode().unwrap());
    for (state, key) in [(&mut one, "kf"), (&mut two, "kb")] {
        let mut text = *b"later";
        let tag: Tag = Key::new(case.array(key)).seal(0, &[], &mut text);
        assert_eq!(seal(state, b"later"), [&text[..], &tag].concat());
    }
    // Fillers are ours alone: snow does not show the chaining key.
    let (secret, peer) = (DhSecret::from_bytes(&case.array("responder_secret")), case.array("initiator_ephemeral"));
    let mut text = case.bytes("ciphertext1");
    let ours = Responder::open(&prologue, &secret, &DhKey(peer), &mut text, &case.array("tag1")).unwrap();
    assert_eq!(ours.filler().as_bytes(), &case.array("build_filler_key"));
    let (_, session) = ours.answer(&mut crate::make::Given(ephemerals[1].clone())).unwrap();
    assert_eq!(session.filler.as_bytes(), &case.array("forward_filler_key"));
}

pub(super) fn refused_message(case: &Case) -> Refusal {
    let (secret, e) = (DhSecret::from_bytes(&case.array("responder_secret")), DhKey(case.array("initiator_ephemeral")));
    let mut text = case.bytes("ciphertext1");
    let opened = Responder::open(&case.bytes("prologue"), &secret, &e, &mut text, &case.array("tag1"));
    assert_eq!(text, case.bytes("ciphertext1"), "nothing of it is shown");
    told("Forged", opened.map(|_| ()).unwrap_err())
}

pub(super) fn handshake(case: &Case) {
    let (network, key) = (case.array::<32>("network_id"), case.bytes("responder_link_key"));
    let prologue = [&b"bauta/1 link"[..], &network].concat();
    let secrets = [case.bytes("initiator_link_secret"), case.bytes("responder_link_secret")];
    let ephemerals = [case.bytes("initiator_ephemeral_secret"), case.bytes("responder_ephemeral_secret")];
    let builder = |at: usize| {
        let builder = Builder::new(IK.parse().unwrap()).prologue(&prologue).unwrap();
        builder.local_private_key(&secrets[at]).unwrap().fixed_ephemeral_key_for_testing_only(&ephemerals[at])
    };
    let mut one = builder(0).remote_public_key(&key).unwrap().build_initiator().unwrap();
    let mut two = builder(1).build_responder().unwrap();
    let frames = case.list("frames");
    let frame = |at: usize| frames[at].bytes("frame");
    assert!(frames.iter().all(|frame| frame.bytes("frame").len() == FRAME_LEN));

    let first = write(&mut one, &[0; 1_952]);
    let mac1_key = blake3(&[b"bauta/1 mac1", &network, &key]);
    let mac1 = blake3_keyed(&mac1_key, &[&first]);
    assert_eq!(mac1[..16], case.bytes("mac1"));
    assert_eq!([&first[..], &mac1[..16]].concat(), frame(0));
    assert_eq!(read(&mut two, &first), [0; 1_952]);
    let mut hello = case.bytes("responder_hello");
    assert!(Hello::decode(&hello).unwrap().descriptor.is_some());
    hello.resize(2_016, 0);
    assert_eq!(write(&mut two, &hello), frame(1));
    assert_eq!(read(&mut one, &frame(1)), hello);

    let (mut one, mut two) = (one.into_transport_mode().unwrap(), two.into_transport_mode().unwrap());
    for frame in &frames[2..] {
        let is_out = frame.text("from") == "initiator";
        let (from, to) = if is_out { (&mut one, &mut two) } else { (&mut two, &mut one) };
        assert_eq!(seal(from, &frame.bytes("cell")), frame.bytes("frame"));
        assert_eq!(open(to, &frame.bytes("frame")), frame.bytes("cell"));
    }
    let hello = Hello::decode(&frames[2].bytes("cell")[8..]).unwrap();
    assert_eq!(hello.descriptor.is_some(), case.text("initiator") == "a relay");
}

/// With keys that snow replaces where we do.
pub(super) fn rekeys(case: &Case) {
    let secrets = [case.bytes("initiator_link_secret"), case.bytes("responder_link_secret")];
    let ephemerals = [case.bytes("initiator_ephemeral_secret"), case.bytes("responder_ephemeral_secret")];
    let builder = |at: usize| {
        let builder = Builder::new(IK.parse().unwrap());
        builder.local_private_key(&secrets[at]).unwrap().fixed_ephemeral_key_for_testing_only(&ephemerals[at])
    };
    let key = DhSecret::from_bytes(&case.array("responder_link_secret")).public();
    let mut one = builder(0).remote_public_key(&key.0).unwrap().build_initiator().unwrap();
    let mut two = builder(1).build_responder().unwrap();
    let first = write(&mut one, &[]);
    read(&mut two, &first);
    let second = write(&mut two, &[]);
    read(&mut one, &second);
    let (mut one, mut two) = (one.into_transport_mode().unwrap(), two.into_transport_mode().unwrap());
    let mut counts = [0, 0];
    for frame in case.list("frames") {
        let is_out = frame.text("from") == "initiator";
        let (from, to) = if is_out { (&mut one, &mut two) } else { (&mut two, &mut one) };
        let cell = vec![frame.byte("fill"); 2_048];
        assert_eq!(seal(from, &cell), frame.bytes("frame"));
        assert_eq!(open(to, &frame.bytes("frame")), cell);
        counts[usize::from(is_out)] += 1;
        if counts[usize::from(is_out)] % case.number("rekey_every") == 0 {
            from.rekey_outgoing();
            to.rekey_incoming();
        }
    }
    assert!(counts.iter().all(|count| *count > case.number("rekey_every")), "keys were replaced both ways");
}

/// The relay answers nothing, whatever was wrong.
pub(super) fn refused_frame(case: &Case) -> Refusal {
    let network = Network { id: case.array("network_id"), difficulty: 0 };
    let hello = Hello { versions: (1, 1), descriptor: None };
    let secret = DhSecret::from_bytes(&case.array("responder_link_secret"));
    let params = Params { network, secret, hello, timing: Timing::default() };
    let mut link = Link::accept(params, &mut crate::make::Given(vec![7; 32]), Instant::ZERO);
    let mut out = [0; FRAME_LEN];
    assert_eq!(link.handle_frame(Instant::ZERO, &case.array("frame")), Ok(None));
    assert!(!link.poll_frame(Instant::ZERO, &mut out), "answered: {}", case.text("name"));
    told("Forged", Forged)
}
