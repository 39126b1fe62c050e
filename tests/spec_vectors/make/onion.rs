//! Build packets, what each hop finds in them, replies and later cells, for paths of one to five hops.

use bauta::crypto::keys::DhSecret;
use bauta::limits::{BODY_LEN, REPLAY_BUCKET_S};
use bauta::onion::{Building, Circuit, ExitHop, MiddleHop, OnionKeys, Reply0, Role, build, peel};
use bauta::time::{Instant, Now, UnixTime};
use bauta::wire::descriptor::VerifiedDescriptor;
use bauta::wire::network::SUITE;
use bauta::wire::onion::{ExitRequest, Routing};
use bauta::wire::statement::Nonce;

use super::{
    Field, Fields, Given, NOW, VectorFile, bytes, descriptor, dh_secret, identity, made, made_vec, network, text,
};

type Body = [u8; BODY_LEN];

pub(super) fn files() -> Vec<VectorFile> {
    let circuits: Vec<_> = (1..=5).map(through).collect();
    let (builds, laters) = circuits.into_iter().unzip();
    vec![
        VectorFile {
            name: "onion_builds",
            description: "Build packets for paths of one to five hops, and what each hop finds. padding is all that is random behind the \
                request; of it the first bytes are used, up to the tail. body is what comes to a hop. What is refused is a routing.",
            spec: &["onion.md §3"],
            cases: builds,
            invalid: refused_routings(),
        },
        VectorFile {
            name: "onion_circuits",
            description: "Reply 0 and later cells of the circuits of onion_builds. bodies are in the order of the way: inwards the first is \
                the exit's, outwards the client's. not_reached_bodies are of the same circuits, had the last relay not been reached.",
            spec: &["onion.md §4", "onion.md §5"],
            cases: laters,
            invalid: vec![],
        },
    ]
}

/// Routings that no relay follows.
fn refused_routings() -> Vec<Fields> {
    let time = NOW.rounded(REPLAY_BUCKET_S);
    let pass_on = Routing::Forward { next: bauta::keyspace::Id(made("next")), suite: SUITE, hint: 9, time }.encode();
    let exit = Routing::Exit { time }.encode();
    let refused = |name: &str, mut routing: [u8; 32], at: usize, byte: u8, error: &str| {
        routing[at] = byte;
        vec![("name", text(name)), ("routing", bytes(routing)), ("error", text(error))]
    };
    let (value, trailing) = ("message has a field out of bounds", "message has trailing bytes");
    vec![
        refused("kind 0", pass_on, 0, 0, value),
        refused("kind 3", exit, 0, 3, value),
        refused("an exit with a next relay", exit, 1, 1, value),
        refused("an exit with a suite", exit, 25, 1, value),
        refused("an exit with a hint", exit, 26, 1, value),
        refused("a byte in the zeros of an exit", exit, 27, 1, trailing),
        refused("a byte in the zeros of one that passes on", pass_on, 31, 1, trailing),
    ]
}

struct Relay {
    word: String,
    descriptor: VerifiedDescriptor,
    keys: OnionKeys,
    ephemeral: [u8; 32],
}

fn relay(at: u32) -> Relay {
    let word = format!("hop {at}");
    let epoch = NOW.to_wire() - 1_000 - at;
    let now = Now { instant: Instant::ZERO, unix: UnixTime(u64::from(epoch)) };
    let secret = dh_secret(&format!("onion {word}"));
    let keys = OnionKeys::new(network(), identity(&word).public(), now, &mut Given::new(&[&*secret.to_bytes()]));
    let descriptor = descriptor(&word, epoch, &format!("10.{at}.0.1:7000"));
    assert_eq!(keys.public(), (descriptor.onion_key, epoch));
    let ephemeral = made(&format!("answering {word}"));
    Relay { word, descriptor, keys, ephemeral }
}

/// A circuit of so many hops: the fields of its building and of its later cells.
fn through(hops: u32) -> (Fields, Fields) {
    let relays: Vec<Relay> = (1..=hops).map(relay).collect();
    let path: Vec<VerifiedDescriptor> = relays.iter().map(|relay| relay.descriptor.clone()).collect();
    let ephemerals: Vec<[u8; 32]> = (1..=hops).map(|at| made(&format!("client of {hops}, hop {at}"))).collect();
    let request = ExitRequest::Find { location: bauta::keyspace::Id([0x5a; 20]), nonce: Nonce(made("nonce")) }.encode();
    let padding = made_vec(&format!("padding of {hops}"), 1_960 - 2 - request.len());
    let mut given = Given::new(&[&ephemerals.concat(), &padding]);
    let built = build(&network(), &path, &request, NOW, &mut given).unwrap();

    let (mut body, mut suite, mut hint) = (built.body, built.suite, built.hint);
    let (mut middles, mut others, mut exit, mut found) = (Vec::new(), Vec::new(), None, Vec::new());
    for (relay, ephemeral) in relays.iter().zip(&ephemerals) {
        let opened = || peel(&relay.keys.secrets(suite, hint), &body, &mut Given::new(&[&relay.ephemeral])).unwrap();
        let peeled = opened();
        if let Role::Middle { hop, .. } = opened().role {
            others.push(hop);
        }
        let mut fields = hop_fields(relay, ephemeral, &body, hint);
        fields.push(("replay_tag", bytes(peeled.replay_tag)));
        let routing = match peeled.role {
            Role::Middle { next, suite: s, hint: h, body: b, hop } => {
                (body, suite, hint) = (*b, s, h);
                middles.push(hop);
                Routing::Forward { next, suite, hint, time: peeled.time }
            }
            Role::Exit { request: read, hop } => {
                assert_eq!(read, request);
                exit = Some(hop);
                Routing::Exit { time: peeled.time }
            }
        };
        fields.push(("routing", bytes(routing.encode())));
        found.push(Field::Object(fields));
    }
    let fields = vec![
        ("hops", u64::from(hops).into()),
        ("network_id", bytes(network().id)),
        ("suite", u64::from(SUITE).into()),
        ("now", NOW.0.into()),
        ("time", NOW.rounded(REPLAY_BUCKET_S).0.into()),
        ("request", bytes(&request)),
        ("padding", bytes(&padding)),
        ("path", Field::List(found)),
    ];
    (fields, later(hops, built.building, (middles, others), exit.unwrap()))
}

fn hop_fields(relay: &Relay, ephemeral: &[u8; 32], body: &Body, hint: u8) -> Fields {
    vec![
        ("relay_key", bytes(relay.descriptor.key.0)),
        ("node_id", bytes(relay.descriptor.id().0)),
        ("onion_secret", bytes(*dh_secret(&format!("onion {}", relay.word)).to_bytes())),
        ("onion_key", bytes(relay.descriptor.onion_key.0)),
        ("onion_epoch", u64::from(relay.descriptor.onion_epoch).into()),
        ("hint", u64::from(hint).into()),
        ("client_ephemeral_secret", bytes(ephemeral)),
        ("client_ephemeral", bytes(DhSecret::from_bytes(ephemeral).public().0)),
        ("relay_ephemeral_secret", bytes(relay.ephemeral)),
        ("body", bytes(body)),
    ]
}

fn bodies(way: &[Body]) -> Field {
    Field::List(way.iter().map(bytes).collect())
}

/// `others` are the same hops once more: no hop seals two first replies.
fn later(
    hops: u32,
    building: Building,
    (mut middles, others): (Vec<MiddleHop>, Vec<MiddleHop>),
    mut exit: ExitHop,
) -> Fields {
    // The longest, in one.
    let reply = made_vec("reply", if hops == 2 { 1_798 } else { 1_700 });
    let mut way = vec![exit.seal_reply0(&reply).unwrap()];
    for hop in middles.iter_mut().rev() {
        way.push(hop.wrap_reply0(way.last().unwrap()).unwrap());
    }
    let opened = building.clone().open_reply0(way.last().unwrap());
    let Ok(Reply0::Exit(mut circuit, opened)) = opened else { panic!("the exit's") };
    assert_eq!(opened, reply);
    // Two cells each way show the counters; for long paths one is enough.
    let cells = if hops <= 3 { 2 } else { 1 };
    let backward = (0..cells).map(|at| backward(at, &mut circuit, &mut middles, &mut exit)).collect();
    let forward = (0..cells).map(|at| forward(at, &mut circuit, &mut middles, &mut exit)).collect();
    vec![
        ("hops", u64::from(hops).into()),
        ("reply0_data", bytes(&reply)),
        ("reply0_bodies", bodies(&way)),
        ("backward", Field::List(backward)),
        ("forward", Field::List(forward)),
        ("not_reached_bodies", bodies(&not_reached(building, others))),
    ]
}

/// What the client would get in the place of all that, had the exit not been reached.
fn not_reached(building: Building, mut middles: Vec<MiddleHop>) -> Vec<Body> {
    let Some(last) = middles.pop() else { return Vec::new() };
    let mut way = vec![last.not_reached().unwrap()];
    for hop in middles.iter_mut().rev() {
        way.push(hop.wrap_reply0(way.last().unwrap()).unwrap());
    }
    let opened = building.open_reply0(way.last().unwrap());
    assert!(matches!(opened, Ok(Reply0::NotReached { hops }) if hops == way.len()));
    way
}

fn backward(at: usize, circuit: &mut Circuit, middles: &mut [MiddleHop], exit: &mut ExitHop) -> Field {
    let data = made_vec(&format!("backward {at}"), 1_958 * at + 11 * (1 - at));
    let mut way = vec![exit.seal_backward(&data).unwrap()];
    for hop in middles.iter_mut().rev() {
        way.push(hop.wrap_backward(way.last().unwrap()).unwrap());
    }
    assert_eq!(circuit.open_backward(way.last().unwrap()).unwrap(), data);
    Field::Object(vec![("data", bytes(data)), ("bodies", bodies(&way))])
}

fn forward(at: usize, circuit: &mut Circuit, middles: &mut [MiddleHop], exit: &mut ExitHop) -> Field {
    let data = made_vec(&format!("forward {at}"), 1_958 * at + 11 * (1 - at));
    let padding = made_vec(&format!("forward padding {at}"), 2_024 - 2 - data.len());
    let mut way = vec![circuit.seal_forward(&data, &mut Given::new(&[&padding])).unwrap()];
    for hop in middles {
        way.push(hop.peel_forward(way.last().unwrap()).unwrap());
    }
    assert_eq!(exit.open_forward(way.last().unwrap()).unwrap(), data);
    Field::Object(vec![("data", bytes(data)), ("padding", bytes(padding)), ("bodies", bodies(&way))])
}
