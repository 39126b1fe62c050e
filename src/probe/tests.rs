//! The probe against a real relay: what it says right is answered, and what it says wrong is not.

use std::net::Ipv4Addr;
use std::sync::Arc;

use rand::SeedableRng;
use rand::rngs::ChaCha20Rng;
use tokio::net::TcpListener;

use super::*;
use crate::crypto::keys::{DhSecret, IdentitySecret};
use crate::crypto::puzzle::solve;
use crate::dht::repair::RepairTiming;
use crate::dht::store::{MemoryStore, StoreKey, StoreOp, StoreResult};
use crate::keyspace::Id;
use crate::limits::{ANSWER_LEN, REPLY0_DATA_LEN_MAX};
use crate::link::PAYLOAD1_LEN;
use crate::membership::members::Members;
use crate::membership::prefix_rule::PrefixRule;
use crate::net::{Clock, LinkIdentity, NodeHandle, Runtime, ShellConfig, spawn_node};
use crate::node::machine::Machine;
use crate::node::{Relay, RelayConfig};
use crate::onion::{Reply0, build};
use crate::time::Instant;
use crate::wire::address::Address;
use crate::wire::descriptor::VerifiedDescriptor;
use crate::wire::message::{Answer, Ask};
use crate::wire::onion::ExitRequest;
use crate::wire::statement::Nonce;

/// A relay alone in a network, in this process, on 127.`net`.0.1.
pub(crate) struct Alone<M: Machine = Relay> {
    pub(crate) target: Target,
    /// Of its links.
    pub(super) secret: DhSecret,
    handle: NodeHandle<M>,
}

pub(super) fn rng(seed: u64) -> ChaCha20Rng {
    ChaCha20Rng::seed_from_u64(seed)
}

impl Alone {
    pub(super) async fn start(runtime: &Arc<Runtime>, net: u8) -> Self {
        Self::start_as(runtime, net, |relay| relay).await
    }
}

impl<M: Machine<StoreOp = StoreOp, StoreResult = StoreResult>> Alone<M> {
    /// The same inside another machine.
    pub(crate) async fn start_as(runtime: &Arc<Runtime>, net: u8, wrap: impl FnOnce(Relay) -> M) -> Self {
        let network = Network::named("probed", 0);
        let ip = Ipv4Addr::new(127, net, 0, 1);
        let listener = TcpListener::bind((ip, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut rng = rng(net.into());
        let (identity, secret) = (IdentitySecret::generate(&mut rng), DhSecret::generate(&mut rng));
        let config = RelayConfig {
            network,
            solution: solve(&network.id, &identity.public(), 0, 0, 1).unwrap(),
            identity: Arc::new(identity),
            link_key: secret.public(),
            address: Address(address),
            family: [0; 8],
            bootstraps: Vec::new(),
            stored: Members::default(),
            issued_before: 0,
            rule: PrefixRule::Distinct,
            repair: RepairTiming::default(),
            witness: false,
        };
        let relay = Relay::new(config, runtime.entropy().generator(), runtime.clock().now());
        let target = Target { address, link_key: secret.public(), network };
        let mut shell = ShellConfig::new(network, LinkIdentity::Relay { secret: secret.clone() });
        (shell.bind_ip, shell.listener) = (Some(ip.into()), Some(listener));
        let mut store = MemoryStore::new(100, 1 << 20).keyed(StoreKey::generate(&mut rng));
        let apply = Box::new(move |now, op| store.apply(now, op));
        Self { target, secret, handle: spawn_node(Arc::clone(runtime), wrap(relay), shell, apply) }
    }

    /// Ends it: nobody listens there any more.
    pub(super) async fn end(self) {
        self.handle.shutdown().await;
    }
}

fn from(net: u8) -> Option<std::net::IpAddr> {
    Some(Ipv4Addr::new(127, net, 7, 1).into())
}

async fn described(session: &Session, target: &Target) -> VerifiedDescriptor {
    let shown = session.hello.descriptor.clone().unwrap();
    shown.verify(&target.network, Clock::unix()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_said_right_is_answered() {
    let runtime = Runtime::start().unwrap();
    let alone = Alone::start(&runtime, 61).await;
    let (target, mut rng) = (alone.target, rng(1));
    let mut session = Session::up(&target, &Me::client(&mut rng), from(61), &mut rng).await.unwrap();
    assert_eq!(session.wire.local().unwrap().ip(), from(61).unwrap());
    let own = described(&session, &target).await;
    assert_eq!(own.link_key, target.link_key);
    let Heard::Came(Answer::Members { descriptors, .. }) =
        session.ask(1, &Ask::Members { after: None }, PATIENCE).await
    else {
        panic!("not the members")
    };
    assert_eq!(descriptors, [own.to_signed()]);

    // A circuit of one hop: the target is the exit, and all that it says opens.
    let request = ExitRequest::Find { location: Id([3; 20]), nonce: Nonce([4; 16]) }.encode();
    let built = build(&target.network, &[own], &request, Clock::unix(), &mut rng).unwrap();
    let Heard::Came(Some(Reply0::Exit(mut circuit, mut data))) = session.build(2, built, PATIENCE).await else {
        panic!("not a reply of the exit")
    };
    assert_eq!(data.len(), REPLY0_DATA_LEN_MAX);
    let deadline = tokio::time::Instant::now() + PATIENCE;
    let Heard::Came(Some(rest)) = session.backward(2, &mut circuit, deadline).await else { panic!("not the rest") };
    data.extend(rest);
    assert_eq!(data.len(), ANSWER_LEN);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_shows_its_descriptor_may_ask_what_clients_may_not() {
    let runtime = Runtime::start().unwrap();
    let alone = Alone::start(&runtime, 62).await;
    let (target, mut rng) = (alone.target, rng(2));
    let now = crate::time::Now { instant: Instant::ZERO, unix: Clock::unix() };
    let ip = from(62).unwrap();
    let me = Me::relay(&target.network, (ip, 4_433).into(), now, &mut rng).unwrap();
    let find = Ask::Find {
        kind: crate::wire::record::ValueKind::Signed,
        location: Id([3; 20]),
        nonce: Nonce([1; 16]),
        want_value: true,
    };
    let mut relay = Session::up(&target, &me, Some(ip), &mut rng).await.unwrap();
    assert!(matches!(relay.ask(1, &find, PATIENCE).await, Heard::Came(Answer::Found { value: None, .. })));
    let mut client = Session::up(&target, &Me::client(&mut rng), Some(ip), &mut rng).await.unwrap();
    assert_eq!(client.ask(1, &find, PATIENCE).await, Heard::Came(Answer::Refused));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handshake_that_is_wrong_at_any_step_is_not_answered() {
    let runtime = Runtime::start().unwrap();
    let alone = Alone::start(&runtime, 63).await;
    let (target, mut rng) = (alone.target, rng(3));
    let me = Me::client(&mut rng);
    let elsewhere = Target { network: Network::named("elsewhere", 0), ..target };
    let mut said = [0; PAYLOAD1_LEN];
    said[7] = 1;
    let (_, right) = Opening::first(&target, &me, &mut rng).unwrap();
    let mut flipped = right;
    flipped[100] ^= 1;
    let mut checked = flipped;
    with_right_check(&target, &mut checked);
    let foreign = Opening::first(&elsewhere, &me, &mut rng).unwrap().1;
    let meant = Opening::first_with(&target, &me.secret, &said, &mut rng).unwrap().1;
    let mut wires = Vec::new();
    for frame in [flipped, checked, foreign, meant] {
        let mut wire = Wire::connect(target.address, from(63)).await.unwrap();
        wire.write(&frame).await.unwrap();
        assert!(matches!(wire.frame(Duration::from_millis(300)).await, Heard::Silent));
        wires.push(wire);
    }
    for wire in &mut wires {
        // Their places are taken until the handshake's time is over; then they close without a word.
        assert_eq!(wire.frame(2 * PATIENCE).await, Heard::Closed { partial: 0 });
    }
    let mut wire = Wire::connect(target.address, from(63)).await.unwrap();
    wire.write(&right).await.unwrap();
    assert!(matches!(wire.frame(PATIENCE).await, Heard::Came(_)));
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_may_come_slowly_and_a_half_closed_link_still_hears() {
    let runtime = Runtime::start().unwrap();
    let alone = Alone::start(&runtime, 64).await;
    let (target, mut rng) = (alone.target, rng(4));
    let (opening, frame) = Opening::first(&target, &Me::client(&mut rng), &mut rng).unwrap();
    let mut wire = Wire::connect(target.address, from(64)).await.unwrap();
    wire.write_slowly(&frame, 500, Duration::from_millis(1)).await.unwrap();
    let Heard::Came(answer) = wire.frame(PATIENCE).await else { panic!("no answer") };
    assert!(opening.finish(&answer).is_ok());
    wire.half_close().await;
    assert_eq!(wire.frame(PATIENCE).await, Heard::Closed { partial: 0 });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cell_without_meaning_in_a_frame_that_opens_ends_the_link() {
    let runtime = Runtime::start().unwrap();
    let alone = Alone::start(&runtime, 65).await;
    let (target, mut rng) = (alone.target, rng(5));
    let mut session = Session::up(&target, &Me::client(&mut rng), from(65), &mut rng).await.unwrap();
    session.send_bytes(&[0xff; crate::limits::CELL_LEN]).await.unwrap();
    assert_eq!(session.cell(PATIENCE).await, Heard::Closed { partial: 0 });
}
