//! Circuits: layers are taken off and put on by snow with its own primitives; of ours are the fillers and the client.

use std::cell::RefCell;
use std::collections::BTreeMap;

use bauta::crypto::keys::{DhKey, DhSecret};
use bauta::crypto::nk::{Responder, Session};
use bauta::limits::BODY_LEN;
use bauta::wire::onion::Routing;
use snow::{HandshakeState, TransportState};

use super::noise::{nk_responder, open, read, seal, write};
use super::read::Case;
use super::{Refusal, told};

/// A hop after the build packet: snow's end of its layer, and the keys that its fillers come from.
struct Hop {
    snow: HandshakeState,
    session: Session,
}

thread_local! {
    /// Hops of the circuits of `onion_builds`, by their number, for `onion_circuits`: once for an exit that was reached, once for none.
    static BUILT: RefCell<BTreeMap<u64, [Vec<Hop>; 2]>> = const { RefCell::new(BTreeMap::new()) };
}

/// `e ‖ tag ‖ ciphertext` as Noise has it, `e ‖ ciphertext ‖ tag`; without `e`, the same of later cells.
fn to_noise(body: &[u8], key_len: usize) -> Vec<u8> {
    let (tag, text) = (&body[key_len..key_len + 16], &body[key_len + 16..]);
    [&body[..key_len], text, tag].concat()
}

fn from_noise(message: &[u8], key_len: usize) -> Vec<u8> {
    let (rest, tag) = message.split_at(message.len() - 16);
    [&rest[..key_len], tag, &rest[key_len..]].concat()
}

pub(super) fn build(case: &Case) {
    let path = case.list("path");
    let request = case.bytes("request");
    assert_eq!(u64::try_from(path.len()).unwrap(), case.number("hops"));
    let mut hops = [Vec::new(), Vec::new()];
    for (at, hop) in path.iter().enumerate() {
        let body: [u8; BODY_LEN] = hop.array("body");
        let (built, text) = build_hop(case, hop, &body);
        let (routing, rest) = text.split_at(32);
        assert_eq!(routing, hop.bytes("routing"));
        let filler = built.1;
        match Routing::decode(routing.try_into().unwrap()).unwrap() {
            Routing::Forward { next, suite, hint, time } => {
                let after = &path[at + 1];
                assert_eq!((next.0, hint), (after.array("node_id"), after.byte("hint")));
                assert_eq!((u64::from(suite), time.0), (case.number("suite"), case.number("time")));
                assert_eq!([rest, &filler].concat(), after.bytes("body"));
            }
            Routing::Exit { time } => {
                assert_eq!((at, time.0), (path.len() - 1, case.number("time")));
                let len = usize::from(u16::from_be_bytes([rest[0], rest[1]]));
                assert_eq!(rest[2..2 + len], request);
                // Behind the request: the random bytes, as far as no tail stands there.
                let random = 1_960 - 2 - len - 80 * at;
                assert_eq!(rest[2 + len..2 + len + random], case.bytes("padding")[..random]);
            }
        }
        assert_eq!(hop.number("onion_epoch") % 256, hop.number("hint"));
        hops[0].push(built.0);
        hops[1].push(build_hop(case, hop, &body).0.0);
    }
    BUILT.with_borrow_mut(|built| built.insert(case.number("hops"), hops));
}

pub(super) fn refused_routing(case: &Case) -> Refusal {
    told("Malformed", Routing::decode(&case.array("routing")).unwrap_err())
}

/// Opens one layer: the hop, its filler of 80 bytes, and the plaintext.
fn build_hop(case: &Case, hop: &Case, body: &[u8; BODY_LEN]) -> ((Hop, [u8; 80]), Vec<u8>) {
    let epoch = u32::try_from(hop.number("onion_epoch")).unwrap().to_be_bytes();
    let parts = [vec![case.byte("suite")], case.bytes("network_id"), hop.bytes("relay_key"), epoch.to_vec()].concat();
    let prologue = [&b"bauta/1 onion"[..], &parts].concat();
    let (secret, ephemeral) = (hop.array("onion_secret"), hop.bytes("relay_ephemeral_secret"));
    let mut snow = nk_responder(&prologue, &secret, &ephemeral);
    let text = read(&mut snow, &to_noise(body, 32));
    assert!(snow.get_handshake_hash().starts_with(&hop.bytes("replay_tag")));
    assert_eq!(body[..32], hop.bytes("client_ephemeral"));
    let of_client = DhSecret::from_bytes(&hop.array("client_ephemeral_secret"));
    assert_eq!(of_client.public().0, hop.array("client_ephemeral"));

    let (tag, mut sealed) = (body[32..48].try_into().unwrap(), body[48..].to_vec());
    let peer = DhKey(hop.array("client_ephemeral"));
    let ours = Responder::open(&prologue, &DhSecret::from_bytes(&secret), &peer, &mut sealed, &tag).unwrap();
    assert_eq!(sealed, text);
    let mut filler = [0; 80];
    ours.filler().fill(0, &mut filler);
    let (_, session) = ours.answer(&mut crate::make::Given(ephemeral)).unwrap();
    ((Hop { snow, session }, filler), text)
}

/// Runs behind `build`, which leaves the hops, on the same thread.
pub(super) fn later(case: &Case) {
    let [mut hops, of_others] = BUILT.with_borrow_mut(|built| built.remove(&case.number("hops"))).unwrap();
    not_reached(of_others, &case.bytes_list("not_reached_bodies"));
    let (data, bodies) = (case.bytes("reply0_data"), case.bytes_list("reply0_bodies"));
    let mut text = framed(&data, 1_992);
    for (hop, body) in hops.iter_mut().rev().zip(&bodies) {
        assert_eq!(&from_noise(&write(&mut hop.snow, &text), 32), body);
        text = body[..1_992].to_vec();
    }
    assert_eq!(bodies.len(), hops.len());

    let (snows, sessions): (Vec<_>, Vec<_>) = hops.into_iter().map(|hop| (hop.snow, hop.session)).unzip();
    let mut snows: Vec<TransportState> = snows.into_iter().map(|snow| snow.into_transport_mode().unwrap()).collect();
    let (inwards, outwards) = (case.list("backward"), case.list("forward"));
    assert!(!inwards.is_empty() && !outwards.is_empty());
    for cell in inwards {
        let mut text = framed(&cell.bytes("data"), 2_024);
        let bodies = cell.bytes_list("bodies");
        assert_eq!(bodies.len(), snows.len());
        for (snow, body) in snows.iter_mut().rev().zip(&bodies) {
            assert_eq!(&from_noise(&seal(snow, &text), 0), body);
            text = body[..2_024].to_vec();
        }
    }
    for (counter, cell) in outwards.iter().enumerate() {
        let (data, bodies) = (cell.bytes("data"), cell.bytes_list("bodies"));
        assert_eq!(bodies.len(), snows.len());
        for (at, (snow, body)) in snows.iter_mut().zip(&bodies).enumerate() {
            let text = open(snow, &to_noise(body, 0));
            if let Some(next) = bodies.get(at + 1) {
                let mut filler = [0; 16];
                sessions[at].filler.fill(16 * counter, &mut filler);
                assert_eq!(&[&text[..], &filler].concat(), next);
            } else {
                assert_eq!(text[..2 + data.len()], framed(&data, 2 + data.len()));
                let random = 2_024 - 2 - data.len() - 16 * at;
                assert_eq!(text[2 + data.len()..][..random], cell.bytes("padding")[..random]);
            }
        }
    }
}

/// The last relay before the exit seals zeros, those before it wrap them.
fn not_reached(mut hops: Vec<Hop>, bodies: &[Vec<u8>]) {
    hops.pop();
    assert_eq!(bodies.len(), hops.len());
    let mut text = vec![0; 1_992];
    for (hop, body) in hops.iter_mut().rev().zip(bodies) {
        assert_eq!(&from_noise(&write(&mut hop.snow, &text), 32), body);
        text = body[..1_992].to_vec();
    }
}

/// Length, data, zeros.
fn framed(data: &[u8], len: usize) -> Vec<u8> {
    let mut out = u16::try_from(data.len()).unwrap().to_be_bytes().to_vec();
    out.extend_from_slice(data);
    out.resize(len, 0);
    out
}
