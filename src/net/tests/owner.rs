//! What a node and its shell do among the honest: links, work, store, events, end.

use std::sync::Mutex;

use super::*;
use crate::limits::{INBOX_EVENTS_MAX, NODE_EVENTS_MAX, STORE_OPS_MAX, WORK_JOBS_MAX};

#[derive(Default)]
struct Listening {
    frames: Mutex<Vec<(bool, Vec<u8>)>>,
    cells: Mutex<Vec<(bool, Command, CircuitId)>>,
}

impl Tap for Listening {
    fn frame(&self, _: SocketAddr, _: SocketAddr, sent: bool, frame: &[u8; FRAME_LEN]) {
        self.frames.lock().unwrap().push((sent, frame.to_vec()));
    }

    fn cell(&self, _: SocketAddr, _: SocketAddr, sent: bool, command: Command, circuit: CircuitId) {
        self.cells.lock().unwrap().push((sent, command, circuit));
    }
}

// [LINK-W-002]
#[tokio::test]
async fn two_relays_link_from_their_own_addresses_and_exchange_cells() {
    let runtime = Runtime::start().unwrap();
    let mut one = relay(&runtime, 1, ShellLimits::default()).await;
    let mut two = relay(&runtime, 2, ShellLimits::default()).await;
    let up = one.dial(4, two.address, two.key).await;
    assert_eq!(up, Told::Up { link: LinkId(4), key: two.key, relay: true, from: two.address, dialled: true });
    let Told::Up { link, key, relay: true, from, dialled: false } = two.told().await else { panic!() };
    assert_eq!((key, from.ip()), (one.key, one.address.ip()));
    assert_eq!(link.0 % 2, 1, "accepted links are odd");
    for mark in 0..100 {
        one.send(4, cell(mark)).await;
        assert_eq!(two.told().await, Told::Cell(link, cell(mark)));
        let Told::Cell(LinkId(4), back) = one.told().await else { panic!() };
        assert_eq!((back.command(), back.body()[0]), (Command::Backward, mark));
    }
    one.order(Output::Close { link: LinkId(4), reason: DownReason::Closed }).await;
    assert_eq!(two.told().await, Told::Down(link, DownReason::Closed));
    until(|| runtime.link_budget().0 == runtime.link_budget().1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_cells_than_an_inbox_holds_all_arrive_and_come_back_in_order() {
    let runtime = Runtime::start().unwrap();
    let mut one = relay(&runtime, 17, ShellLimits::default()).await;
    let mut two = relay(&runtime, 18, ShellLimits::default()).await;
    one.dial(2, two.address, two.key).await;
    assert!(matches!(two.told().await, Told::Up { .. }));
    let count = 3 * u32::try_from(INBOX_EVENTS_MAX).unwrap();
    assert!(one.handle.commands.send(Order::Pour(LinkId(2), count)).await.is_ok());
    let mut echoed = 0;
    while echoed < u64::from(count) {
        assert!(one.handle.commands.send(Order::TellEchoed).await.is_ok());
        let Told::Number(so_far) = one.told().await else { panic!() };
        echoed = so_far;
    }
    assert_eq!(echoed, u64::from(count));
}

// [LINK-W-003]
#[tokio::test]
async fn a_client_has_another_key_on_every_link_and_no_descriptor() {
    let runtime = Runtime::start().unwrap();
    let mut served = relay(&runtime, 3, ShellLimits::default()).await;
    let config = ShellConfig::new(network(), LinkIdentity::Client);
    let handle = spawn_node(Arc::clone(&runtime), Puppet::default(), config, Box::new(|_, op| op));
    let mut client = Played { handle, address: served.address, key: served.key };
    let mut keys = std::collections::BTreeSet::new();
    for link in [2, 4, 6] {
        assert!(matches!(client.dial(link, served.address, served.key).await, Told::Up { relay: true, .. }));
        let Told::Up { key, relay: false, .. } = served.told().await else { panic!() };
        assert!(keys.insert(key));
    }
}

#[tokio::test]
async fn what_is_queued_before_a_close_still_goes_out() {
    let runtime = Runtime::start().unwrap();
    let mut one = relay(&runtime, 4, ShellLimits::default()).await;
    let mut two = relay(&runtime, 5, ShellLimits::default()).await;
    one.dial(2, two.address, two.key).await;
    let Told::Up { link, .. } = two.told().await else { panic!() };
    one.send(2, Cell::new(CircuitId(5), Command::Destroy)).await;
    one.order(Output::Close { link: LinkId(2), reason: DownReason::Closed }).await;
    assert_eq!(two.told().await, Told::Cell(link, Cell::new(CircuitId(5), Command::Destroy)));
    assert_eq!(two.told().await, Told::Down(link, DownReason::Closed));
}

#[tokio::test]
async fn dials_that_fail_say_why() {
    let runtime = Runtime::with_links_max(6).unwrap();
    let timing = Timing { handshake: Duration::from_millis(200), ..Timing::default() };
    let limits = ShellLimits { timing, ..ShellLimits::default() };
    let mut one = relay(&runtime, 6, limits).await;
    let two = relay(&runtime, 7, ShellLimits::default()).await;
    let nobody = TcpListener::bind("127.8.0.1:0").await.unwrap().local_addr().unwrap();
    assert_eq!(one.dial(2, nobody, two.key).await, Told::Down(LinkId(2), DownReason::Unreachable));
    // A right address with another's key behind it: silence.
    assert_eq!(one.dial(4, two.address, one.key).await, Told::Down(LinkId(4), DownReason::Handshake));
    assert_eq!(one.dial(6, two.address, DhKey([0; 32])).await, Told::Down(LinkId(6), DownReason::Identity));
    let held: Vec<_> = std::iter::from_fn(|| runtime.take_link()).collect();
    assert_eq!(one.dial(8, two.address, two.key).await, Told::Down(LinkId(8), DownReason::Limit));
    drop(held);
    for kind in [DownKind::Unreachable, DownKind::Handshake, DownKind::Identity, DownKind::Limit] {
        assert_eq!(one.count(kind), 1);
    }
}

/// Wants keys, and counts those it is told.
#[derive(Default)]
struct Keys(Mutex<usize>);

impl Tap for Keys {
    fn frame(&self, _: SocketAddr, _: SocketAddr, _: bool, _: &[u8; FRAME_LEN]) {}

    fn cell(&self, _: SocketAddr, _: SocketAddr, _: bool, _: Command, _: CircuitId) {}

    fn logs_keys(&self) -> bool {
        true
    }

    fn keys(&self, _: &crate::link::ExposedKeys) {
        *self.0.lock().unwrap() += 1;
    }
}

// [LINK-W-051]
#[tokio::test]
async fn keys_are_told_of_links_on_this_machine_in_a_network_without_a_price_alone() {
    let runtime = Runtime::start().unwrap();
    for (seed, difficulty, told) in [(33, 0, 1), (35, 1, 0)] {
        let keys = Arc::new(Keys::default());
        let tap: Arc<dyn Tap> = Arc::<Keys>::clone(&keys);
        let network = Network { difficulty, ..network() };
        let mut node = relay_of(network, &runtime, seed, ShellLimits::default(), Some(tap)).await;
        let mut raw = Raw::connect(Ipv4Addr::LOCALHOST, &node, raw_params()).await;
        raw.shake_hands().await;
        assert!(matches!(node.told().await, Told::Up { .. }));
        assert_eq!(*keys.0.lock().unwrap(), told, "difficulty {difficulty}");
    }
    let at = |text: &str| text.parse().unwrap();
    for (ends, may) in [
        (["127.0.0.1:1", "127.9.0.1:2"], true),
        (["[::1]:1", "[::1]:2"], true),
        (["127.0.0.1:1", "192.168.0.1:2"], false),
        (["20.1.0.1:1", "127.0.0.1:2"], false),
    ] {
        assert_eq!(may_log_keys(&network(), ends.map(at)), may, "{ends:?}");
    }
}

// [MEMB-W-067]
#[tokio::test]
async fn where_identities_have_a_price_nothing_is_dialled_that_is_not_global_whoever_asks() {
    let runtime = Runtime::start().unwrap();
    let listener = TcpListener::bind("127.8.0.2:0").await.unwrap();
    let (address, link_key) = (listener.local_addr().unwrap(), DhKey([9; 32]));
    let node = |difficulty| {
        let config = ShellConfig::new(Network::named("shell", difficulty), LinkIdentity::Client);
        let handle = spawn_node(Arc::clone(&runtime), Puppet::default(), config, Box::new(|_, op| op * 2));
        Played { handle, address, key: link_key }
    };
    let mut public = node(1);
    assert_eq!(public.dial(2, address, link_key).await, Told::Down(LinkId(2), DownReason::Unreachable));
    // The first that ever connects is a node of a network without a price.
    let private = node(0);
    private.order(Output::Dial { link: LinkId(2), address: Address(address), link_key }).await;
    let (mut stream, _) = patiently(listener.accept()).await.unwrap();
    let mut frame = [0; FRAME_LEN];
    patiently(stream.read_exact(&mut frame)).await.unwrap();
}

// [LINK-W-002]
#[tokio::test]
async fn a_relay_without_a_descriptor_neither_dials_nor_answers() {
    let runtime = Runtime::start().unwrap();
    let two = relay(&runtime, 9, ShellLimits::default()).await;
    let listener = TcpListener::bind("127.10.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let secret = DhSecret::generate(&mut rng(10));
    let key = secret.public();
    let mut config = ShellConfig::new(network(), LinkIdentity::Relay { secret });
    config.listener = Some(listener);
    let handle = spawn_node(Arc::clone(&runtime), Puppet::default(), config, Box::new(|_, op| op));
    let mut bare = Played { handle, address, key };
    assert_eq!(bare.dial(2, two.address, two.key).await, Told::Down(LinkId(2), DownReason::Unreachable));
    assert!(is_closed(&mut connect_from(Ipv4Addr::LOCALHOST, address).await).await);
    assert_eq!(bare.count(DownKind::Limit), 1);
}

// [LINK-W-025]
#[tokio::test]
async fn all_frames_have_one_size_and_a_tap_sees_frames_and_cells_both_ways() {
    let runtime = Runtime::start().unwrap();
    let mut two = relay(&runtime, 11, ShellLimits::default()).await;
    let tap = Arc::new(Listening::default());
    let mut config = ShellConfig::new(network(), LinkIdentity::Client);
    let listening: Arc<dyn Tap> = tap.clone();
    config.tap = Some(listening);
    let handle = spawn_node(Arc::clone(&runtime), Puppet::default(), config, Box::new(|_, op| op));
    let mut one = Played { handle, address: two.address, key: two.key };
    one.dial(2, two.address, two.key).await;
    two.told().await;
    one.send(2, cell(0)).await;
    assert!(matches!(one.told().await, Told::Cell(..)));
    let frames = tap.frames.lock().unwrap();
    let directions: Vec<bool> = frames.iter().map(|(sent, _)| *sent).collect();
    assert_eq!(directions, [true, false, true, true, false], "messages 1 and 2, hello, a cell each way");
    assert!(frames.iter().all(|(_, bytes)| bytes.windows(16).all(|window| window != [0; 16])));
    let cells = tap.cells.lock().unwrap();
    assert_eq!(*cells, [(true, Command::Forward, CircuitId(7)), (false, Command::Backward, CircuitId(7))]);
}

#[tokio::test]
async fn more_jobs_than_may_be_under_way_wait_and_none_is_lost() {
    let runtime = Runtime::start().unwrap();
    let mut node = relay(&runtime, 12, ShellLimits::default()).await;
    let count = 2 * u64::try_from(WORK_JOBS_MAX).unwrap() + 5_000;
    assert!(node.handle.commands.send(Order::Jobs(count)).await.is_ok());
    let mut done = 0;
    while done < count {
        assert!(node.handle.commands.send(Order::TellWorked).await.is_ok());
        let Told::Worked(so_far) = node.told().await else { panic!() };
        done = u64::try_from(so_far).unwrap();
    }
    assert_eq!(done, count);
}

#[tokio::test]
async fn the_store_answers_everything_in_order_even_beyond_its_queue() {
    let runtime = Runtime::start().unwrap();
    let mut node = relay(&runtime, 13, ShellLimits::default()).await;
    let count = 3 * u64::try_from(STORE_OPS_MAX).unwrap();
    assert!(node.handle.commands.send(Order::Ops(count)).await.is_ok());
    let mut stored = 0;
    while stored < count {
        assert!(node.handle.commands.send(Order::TellStored).await.is_ok());
        let Told::Stored(so_far) = node.told().await else { panic!() };
        stored = so_far;
    }
    assert_eq!(stored, count);
}

#[tokio::test]
async fn events_that_nobody_takes_are_kept_to_the_cap_and_then_lost_and_counted() {
    let runtime = Runtime::start().unwrap();
    let mut node = relay(&runtime, 14, ShellLimits::default()).await;
    let kept = 2 * u64::try_from(NODE_EVENTS_MAX).unwrap();
    assert!(node.handle.commands.send(Order::Events(kept + 10)).await.is_ok());
    until(|| node.handle.control.events_lost() == 10).await;
    // Nobody was blocked: the node still answers the network.
    let mut raw = Raw::connect(Ipv4Addr::LOCALHOST, &node, raw_params()).await;
    raw.shake_hands().await;
    raw.link.push(cell(1)).unwrap();
    raw.write_all().await;
    assert!(raw.read_one().await.is_ok());
    for n in 0..kept {
        assert_eq!(node.told().await, Told::Number(n));
    }
    assert!(node.handle.commands.send(Order::Events(1)).await.is_ok());
    assert_eq!(node.told().await, Told::Number(0));
}

#[tokio::test]
async fn a_shutdown_closes_listener_and_sockets_and_gives_every_link_back() {
    let runtime = Runtime::start().unwrap();
    let mut node = relay(&runtime, 15, ShellLimits::default()).await;
    let mut up = Raw::connect(Ipv4Addr::LOCALHOST, &node, raw_params()).await;
    up.shake_hands().await;
    assert!(matches!(node.told().await, Told::Up { .. }));
    let mut half_open = connect_from(Ipv4Addr::LOCALHOST, node.address).await;
    until(|| runtime.link_budget().1 + 2 == runtime.link_budget().0).await;
    let address = node.address;
    patiently(node.handle.shutdown()).await;
    assert_eq!(runtime.link_budget().0, runtime.link_budget().1);
    assert!(is_closed(&mut up.stream).await && is_closed(&mut half_open).await);
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn a_dropped_handle_ends_its_node() {
    let runtime = Runtime::start().unwrap();
    let node = relay(&runtime, 16, ShellLimits::default()).await;
    let mut up = Raw::connect(Ipv4Addr::LOCALHOST, &node, raw_params()).await;
    up.shake_hands().await;
    drop(node);
    assert!(is_closed(&mut up.stream).await);
    until(|| runtime.link_budget().0 == runtime.link_budget().1).await;
}
