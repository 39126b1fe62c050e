//! What peers may do to a node: each link ends with a counted reason, and the node goes on serving the honest.

use super::*;
use crate::limits::{
    HANDSHAKES_PENDING_MAX, HANDSHAKES_PER_PREFIX_BURST, INBOUND_LINKS_PER_PREFIX_MAX, LINK_QUEUE_CELLS_MAX,
};

const SOON: Duration = Duration::from_millis(800);

fn hurried() -> ShellLimits {
    let timing = Timing { handshake: SOON, ..Timing::default() };
    ShellLimits { timing, ..ShellLimits::default() }
}

fn honest(seed: u8) -> Ipv4Addr {
    Ipv4Addr::new(127, seed, 200, 1)
}

// [LINK-R-009]
#[tokio::test]
async fn garbage_and_a_wrong_network_meet_silence_and_are_counted_as_identity() {
    let runtime = Runtime::start().unwrap();
    let mut node = relay(&runtime, 20, hurried()).await;
    let elsewhere = Params { network: Network::named("other", 1), ..raw_params() };
    let mut foreign = Raw::connect(Ipv4Addr::LOCALHOST, &node, elsewhere).await;
    foreign.write_all().await;
    let mut garbage = connect_from(Ipv4Addr::LOCALHOST, node.address).await;
    garbage.write_all(&[0x16; 3 * FRAME_LEN]).await.unwrap();
    is_served(&mut node, honest(20)).await;
    assert!(is_closed(&mut foreign.stream).await && is_closed(&mut garbage).await);
    until(|| node.count(DownKind::Identity) == 2).await;
}

/// How many bytes a prober sends: about a frame, and about what is read at once, fewer and more.
const PROBES: [usize; 9] =
    [0, 1, FRAME_LEN - 1, FRAME_LEN, FRAME_LEN + 1, 2 * FRAME_LEN - 1, 2 * FRAME_LEN, 3 * FRAME_LEN, 100 * FRAME_LEN];

/// A prober from a network of its own, who has sent so many bytes that mean nothing.
async fn probe(net: u8, number: usize, len: usize, node: &Played) -> TcpStream {
    let mut stream = connect_from(Ipv4Addr::new(127, net, u8::try_from(number).unwrap(), 9), node.address).await;
    patiently(stream.write_all(&vec![0x16; len])).await.unwrap();
    stream
}

/// The end of a connection as a prober sees it, and what it was told before: FIN, not a reset.
async fn end_of(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut told = Vec::new();
    patiently(stream.read_to_end(&mut told)).await.ok().map(|_| told)
}

// [LINK-R-009] [LINK-R-029]
#[tokio::test]
async fn a_prober_who_ends_his_direction_is_closed_at_once_however_much_he_sent() {
    let runtime = Runtime::start().unwrap();
    // Nothing here waits for the end of a handshake's time.
    let timing = Timing { handshake: Duration::from_secs(3_600), ..Timing::default() };
    let node = relay(&runtime, 19, ShellLimits { timing, ..ShellLimits::default() }).await;
    for (number, len) in PROBES.into_iter().enumerate() {
        let mut stream = probe(19, number, len, &node).await;
        stream.shutdown().await.unwrap();
        assert_eq!(end_of(&mut stream).await, Some(vec![]), "{len} bytes");
    }
    let whole = PROBES.iter().filter(|len| **len >= FRAME_LEN).count();
    let [whole, less] = [whole, PROBES.len() - whole].map(|count| u64::try_from(count).unwrap());
    until(|| node.count(DownKind::Identity) == whole && node.count(DownKind::Handshake) == less).await;
}

// [LINK-R-009] [LINK-R-029]
#[tokio::test]
async fn a_prober_who_waits_is_closed_without_a_reset_however_much_he_sent() {
    let runtime = Runtime::start().unwrap();
    let node = relay(&runtime, 16, hurried()).await;
    let mut probers = Vec::new();
    for (number, len) in PROBES.into_iter().enumerate() {
        probers.push(probe(16, number, len, &node).await);
    }
    for (stream, len) in probers.iter_mut().zip(PROBES) {
        assert_eq!(end_of(stream).await, Some(vec![]), "{len} bytes");
    }
}

// [LINK-R-009]
#[tokio::test]
async fn whatever_a_prober_sends_is_taken_and_none_of_it_kept() {
    const PIECE: usize = 1 << 20;
    // More than the buffers of both sockets hold.
    const PIECES: usize = 64;
    let runtime = Runtime::start().unwrap();
    let timing = Timing { handshake: Duration::from_secs(3_600), ..Timing::default() };
    let node = relay(&runtime, 15, ShellLimits { timing, ..ShellLimits::default() }).await;
    let mut stream = probe(15, 1, 0, &node).await;
    for _ in 0..PIECES {
        patiently(stream.write_all(&vec![7; PIECE])).await.unwrap();
    }
    stream.shutdown().await.unwrap();
    assert_eq!(end_of(&mut stream).await, Some(vec![]));
    until(|| node.count(DownKind::Identity) == 1).await;
}

// [LINK-R-029]
#[tokio::test]
async fn half_open_truncated_and_early_closed_handshakes_are_counted_as_not_finished() {
    let runtime = Runtime::start().unwrap();
    let mut node = relay(&runtime, 21, hurried()).await;
    let mut half_open = connect_from(Ipv4Addr::LOCALHOST, node.address).await;
    let mut truncated = connect_from(Ipv4Addr::LOCALHOST, node.address).await;
    truncated.write_all(&[1; FRAME_LEN - 1]).await.unwrap();
    let mut closed = connect_from(Ipv4Addr::LOCALHOST, node.address).await;
    closed.write_all(&[1; 100]).await.unwrap();
    drop(closed);
    let mut stopped = Raw::connect(Ipv4Addr::LOCALHOST, &node, raw_params()).await;
    stopped.write_all().await;
    assert!(stopped.read_one().await.is_ok(), "and then it says nothing more");
    is_served(&mut node, honest(21)).await;
    for stream in [&mut half_open, &mut truncated, &mut stopped.stream] {
        assert!(is_closed(stream).await);
    }
    until(|| node.count(DownKind::Handshake) == 4).await;
}

// [LINK-R-029]
#[tokio::test]
async fn an_honest_peer_whose_bytes_come_one_by_one_is_served_and_a_slow_one_is_not_waited_for() {
    let runtime = Runtime::start().unwrap();
    let timing = Timing { handshake: Duration::from_secs(1), ..Timing::default() };
    let mut node = relay(&runtime, 22, ShellLimits { timing, ..ShellLimits::default() }).await;
    let mut raw = Raw::connect(Ipv4Addr::LOCALHOST, &node, raw_params()).await;
    raw.stream.set_nodelay(true).unwrap();
    let mut frame = [0; FRAME_LEN];
    assert!(raw.link.poll_frame(Instant::ZERO, &mut frame));
    for byte in frame {
        raw.stream.write_all(&[byte]).await.unwrap();
        tokio::task::yield_now().await;
    }
    assert!(raw.read_one().await.is_ok());
    raw.write_all().await;
    assert!(matches!(node.told().await, Told::Up { .. }));

    // A byte at a time buys no more time: the deadline is for the whole handshake.
    let mut slow = connect_from(Ipv4Addr::LOCALHOST, node.address).await;
    let mut beat = tokio::time::interval(Duration::from_millis(20));
    let written = patiently(async {
        let mut written = 0;
        loop {
            beat.tick().await;
            if slow.write_all(&[1]).await.is_err() {
                return written;
            }
            written += 1;
        }
    })
    .await;
    assert!(written < FRAME_LEN);
    until(|| node.count(DownKind::Handshake) == 1).await;
}

// [LINK-R-021] [LINK-W-022] [VER-W-001]
#[tokio::test]
async fn a_peer_of_other_versions_learns_ours_and_we_learn_its() {
    let runtime = Runtime::start().unwrap();
    let mut node = relay(&runtime, 23, ShellLimits::default()).await;
    let mut params = raw_params();
    params.hello.versions = (7, 9);
    let mut raw = Raw::connect(Ipv4Addr::LOCALHOST, &node, params).await;
    raw.write_all().await;
    assert_eq!(raw.read_one().await, Err(DownReason::Version { ours: (7, 9), theirs: VERSIONS }));
    raw.write_all().await;
    assert!(is_closed(&mut raw.stream).await);
    until(|| node.count(DownKind::Version) == 1).await;
    is_served(&mut node, honest(23)).await;
}

// [LINK-W-022] [VER-W-001]
#[tokio::test]
async fn a_dialled_relay_of_other_versions_is_told_ours_before_the_link_ends() {
    let runtime = Runtime::start().unwrap();
    let mut node = relay(&runtime, 24, ShellLimits::default()).await;
    let listener = TcpListener::bind("127.25.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut params = raw_params();
    params.hello = Hello {
        versions: (3, 4),
        descriptor: Some(descriptor(&network(), 25, params.secret.public(), address).to_signed()),
    };
    let key = params.secret.public();
    node.order(Output::Dial { link: LinkId(2), address: Address(address), link_key: key }).await;
    let (stream, _) = patiently(listener.accept()).await.unwrap();
    let mut raw = Raw { stream, link: Link::accept(params, &mut rng(1), Instant::ZERO) };
    assert_eq!(raw.read_one().await, Ok(None));
    raw.write_all().await;
    assert_eq!(raw.read_one().await, Err(DownReason::Version { ours: (3, 4), theirs: VERSIONS }));
    assert_eq!(node.told().await, Told::Down(LinkId(2), DownReason::Version { ours: VERSIONS, theirs: (3, 4) }));
}

// [LINK-R-024]
#[tokio::test]
async fn a_descriptor_that_does_not_verify_ends_the_link_before_the_node_hears_of_it() {
    let runtime = Runtime::start().unwrap();
    let mut node = relay(&runtime, 26, ShellLimits::default()).await;
    let mut params = raw_params();
    // Signed for another network.
    let foreign = Network::named("other", 1);
    let key = params.secret.public();
    params.hello.descriptor = Some(descriptor(&foreign, 1, key, node.address).to_signed());
    let mut raw = Raw::connect(Ipv4Addr::LOCALHOST, &node, params).await;
    raw.shake_hands().await;
    assert!(is_closed(&mut raw.stream).await);
    until(|| node.count(DownKind::Identity) == 1).await;
    is_served(&mut node, honest(26)).await;
}

// [LINK-R-027]
#[tokio::test]
async fn garbage_after_the_handshake_breaks_the_protocol() {
    let runtime = Runtime::start().unwrap();
    let mut node = relay(&runtime, 27, ShellLimits::default()).await;
    let mut raw = Raw::connect(Ipv4Addr::LOCALHOST, &node, raw_params()).await;
    raw.shake_hands().await;
    let Told::Up { link, .. } = node.told().await else { panic!() };
    raw.stream.write_all(&[0; FRAME_LEN]).await.unwrap();
    assert_eq!(node.told().await, Told::Down(link, DownReason::Protocol));
    assert!(is_closed(&mut raw.stream).await);
    is_served(&mut node, honest(27)).await;
}

// [LINK-R-033]
#[tokio::test]
async fn a_peer_that_never_reads_is_silent_once_the_socket_takes_nothing() {
    let runtime = Runtime::start().unwrap();
    let limits = ShellLimits { write_stall_max: SOON, ..ShellLimits::default() };
    let mut node = relay(&runtime, 28, limits).await;
    let (link, _raw) = up_and_deaf(&mut node).await;
    // Less than the queue takes, more than the socket does.
    let down = pour(&mut node, link, LINK_QUEUE_CELLS_MAX - 100).await;
    assert_eq!(down, Told::Down(link, DownReason::Silent));
    is_served(&mut node, honest(28)).await;
}

// [LINK-R-045]
#[tokio::test]
async fn a_peer_that_never_reads_is_closed_when_its_queue_is_full() {
    let runtime = Runtime::start().unwrap();
    let mut node = relay(&runtime, 29, ShellLimits::default()).await;
    let (link, _raw) = up_and_deaf(&mut node).await;
    let down = pour(&mut node, link, 20 * LINK_QUEUE_CELLS_MAX).await;
    assert_eq!(down, Told::Down(link, DownReason::Limit));
    is_served(&mut node, honest(29)).await;
}

/// A peer with a small receive buffer that shakes hands and then reads nothing.
async fn up_and_deaf(node: &mut Played) -> (LinkId, Raw) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(8 << 10).unwrap();
    let stream = patiently(socket.connect(node.address)).await.unwrap();
    let mut raw = Raw { stream, link: Link::dial(raw_params(), node.key, &mut rng(3), Instant::ZERO).unwrap() };
    raw.shake_hands().await;
    let Told::Up { link, .. } = node.told().await else { panic!() };
    (link, raw)
}

/// Sends so many cells or fewer, until the node tells something.
async fn pour(node: &mut Played, link: LinkId, count: usize) -> Told {
    for _ in 0..count {
        node.send(link.0, cell(1)).await;
        if let Ok(told) = node.handle.events.try_recv() {
            return told;
        }
    }
    node.told().await
}

// [LINK-R-016]
#[tokio::test]
async fn a_flood_from_one_prefix_is_turned_away_at_once_and_another_prefix_is_served() {
    let runtime = Runtime::start().unwrap();
    let mut node = relay(&runtime, 30, ShellLimits::default()).await;
    let mut flood = Vec::new();
    for n in 0..2 * HANDSHAKES_PER_PREFIX_BURST {
        flood.push(connect_from(Ipv4Addr::new(127, 31, 0, u8::try_from(n % 200).unwrap()), node.address).await);
    }
    until(|| node.count(DownKind::Limit) >= u64::from(HANDSHAKES_PER_PREFIX_BURST / 2)).await;
    assert!(is_closed(flood.last_mut().unwrap()).await);
    is_served(&mut node, honest(30)).await;
}

// [LINK-R-017]
#[tokio::test]
async fn a_prefix_holds_so_many_links_and_no_more_however_slowly_they_come() {
    let runtime = Runtime::start().unwrap();
    let mut node = relay(&runtime, 36, ShellLimits::default()).await;
    let used = || runtime.link_budget().0 - runtime.link_budget().1;
    let mut held = Vec::new();
    for n in 0..INBOUND_LINKS_PER_PREFIX_MAX {
        held.push(connect_from(Ipv4Addr::new(127, 37, 0, u8::try_from(n + 1).unwrap()), node.address).await);
    }
    until(|| used() == INBOUND_LINKS_PER_PREFIX_MAX).await;
    // Until the prefix may begin as many handshakes again as it likes: what turns these away is the links that it has.
    let clock = runtime.clock();
    let refilled = clock.instant() + Duration::from_secs(1);
    while clock.instant() < refilled {
        let before = node.count(DownKind::Limit);
        let mut more = connect_from(Ipv4Addr::new(127, 37, 0, 200), node.address).await;
        until(|| node.count(DownKind::Limit) > before).await;
        assert!(is_closed(&mut more).await);
    }
    assert!(used() <= INBOUND_LINKS_PER_PREFIX_MAX);
    is_served(&mut node, honest(36)).await;
}

// [LINK-R-018]
#[tokio::test]
async fn handshakes_that_never_finish_hold_at_most_their_places_and_the_oldest_makes_room() {
    let runtime = Runtime::start().unwrap();
    let mut node = relay(&runtime, 32, ShellLimits::default()).await;
    let mut waiting = Vec::new();
    for n in 0..HANDSHAKES_PENDING_MAX + 20 {
        let ip = Ipv4Addr::new(127, 33, u8::try_from(n / 32).unwrap(), 1);
        waiting.push(connect_from(ip, node.address).await);
    }
    until(|| node.count(DownKind::Limit) == 20).await;
    let used = || runtime.link_budget().0 - runtime.link_budget().1;
    until(|| used() == HANDSHAKES_PENDING_MAX).await;
    assert!(is_closed(&mut waiting[0]).await);
    is_served(&mut node, honest(32)).await;
    until(|| used() <= HANDSHAKES_PENDING_MAX).await;
}

#[tokio::test]
async fn links_beyond_the_process_budget_are_turned_away_and_room_comes_back() {
    let runtime = Runtime::with_links_max(1).unwrap();
    let mut node = relay(&runtime, 34, ShellLimits::default()).await;
    let mut first = Raw::connect(honest(34), &node, raw_params()).await;
    first.shake_hands().await;
    assert!(matches!(node.told().await, Told::Up { .. }));
    assert!(is_closed(&mut connect_from(honest(34), node.address).await).await);
    assert_eq!(node.count(DownKind::Limit), 1);
    drop(first);
    assert!(matches!(node.told().await, Told::Down(_, DownReason::Closed)));
    until(|| runtime.link_budget().1 == runtime.link_budget().0).await;
    is_served(&mut node, honest(34)).await;
}
