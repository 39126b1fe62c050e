//! A node and its callers over a real socket; the client behind it has no network, so that every lookup is unreachable.

use std::path::PathBuf;
use std::sync::Arc;

use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;

use super::wire::{self, Opening, Reply, VERSION};
use super::*;
use crate::client::{Client, ClientOptions, Ending, GetOptions};
use crate::content::ContentLink;
use crate::crypto::keys::IdentitySecret;
use crate::limits::{GATEWAY_CONNECTIONS_MAX, GATEWAY_FRAME_LEN_MAX};
use crate::net::Runtime;
use crate::record::Locator;
use crate::wire::network::Network;

const NOTHING: Demands = Demands { hops_min: 3, stagger_min_us: 0, distinct: false, bind: None };

struct Node {
    _home: tempfile::TempDir,
    path: PathBuf,
    client: Client,
}

fn status() -> Status {
    Status { pid: 7, uptime_s: 1, version: "v".into(), contact: "c".into(), relays: 3, values: 0, writes: None }
}

/// Serves in the background of the test's runtime, and is there when this returns.
async fn node() -> Node {
    let home = tempfile::tempdir().unwrap();
    let runtime = Runtime::with_links_max(4).unwrap();
    let options = ClientOptions::new(Network::named("test", 0), Vec::new(), home.path().join("state"));
    let client = Client::start(&runtime, options).unwrap();
    let path = home.path().join(SOCKET);
    let does = Demands { hops_min: 3, stagger_min_us: 10, distinct: true, bind: None };
    let store = Arc::new(|| Err("no store".to_owned()));
    let facts = Facts { client: client.clone(), does, status: Box::new(status), store };
    let at = path.clone();
    runtime.spawn(async move { drop(serve(&at, facts).await) });
    let node = Node { _home: home, path, client };
    while Caller::find(&node.path, NOTHING).await.unwrap().is_none() {
        tokio::task::yield_now().await;
    }
    node
}

fn get() -> Request {
    let locator = Locator::of_author(&IdentitySecret::from_bytes(&[1; 32]), b"").unwrap();
    let link = ContentLink::new(&Network::named("test", 0), locator).to_string();
    Request::GetRecord { link, how: How::from(GetOptions::default()) }
}

async fn ending(caller: &Caller, request: Request) -> Ending {
    match caller.ask(request).await.0 {
        Err(CallError::Refused { ending, .. }) => ending,
        other => unreachable!("{other:?}"),
    }
}

#[tokio::test]
async fn a_command_is_answered_and_told_how_its_request_ended() {
    let node = node().await;
    let caller = Caller::find(&node.path, NOTHING).await.unwrap().unwrap();
    assert_eq!(caller.ask(Request::Status).await.0.unwrap(), Answer::Status(status()));
    let Request::GetRecord { link, how } = get() else { unreachable!("a get") };
    for request in [get(), Request::PutAgain { link, how }, Request::LookChunks { hashes: vec![[1; 32]] }] {
        assert_eq!(ending(&caller, request).await, Ending::Unreachable);
    }
    let bad = Request::GetRecord { link: "bauta1x".into(), how: How::from(GetOptions::default()) };
    assert_eq!(ending(&caller, bad).await, Ending::Usage);
    node.client.stop();
}

#[tokio::test]
async fn a_node_that_does_less_for_privacy_than_was_asked_refuses() {
    let node = node().await;
    let bind = Some("192.0.2.1".parse().unwrap());
    for demands in
        [Demands { hops_min: 4, ..NOTHING }, Demands { stagger_min_us: 11, ..NOTHING }, Demands { bind, ..NOTHING }]
    {
        let caller = Caller::find(&node.path, demands).await.unwrap().unwrap();
        assert_eq!(ending(&caller, get()).await, Ending::PrivacyFloor);
    }
    let most = Demands { hops_min: 3, stagger_min_us: 10, distinct: true, bind: None };
    let caller = Caller::find(&node.path, most).await.unwrap().unwrap();
    assert_eq!(ending(&caller, get()).await, Ending::Unreachable);
}

#[tokio::test]
async fn another_version_is_refused_and_what_is_no_request_is_not_heard() {
    let node = node().await;
    let mut stream = UnixStream::connect(&node.path).await.unwrap();
    let opening = Opening { version: VERSION + 1, demands: NOTHING, request: get() };
    wire::send(&mut stream, &opening).await.unwrap();
    match wire::receive::<Reply>(&mut stream).await.unwrap() {
        Reply::Done(result, _) => assert_eq!(result.unwrap_err().ending, Ending::Failed),
        Reply::Alive => unreachable!("no sign of life without work"),
    }
    let too_long = u32::try_from(GATEWAY_FRAME_LEN_MAX + 1).unwrap();
    for first in [too_long.to_be_bytes(), 1_u32.to_be_bytes()] {
        let mut stream = UnixStream::connect(&node.path).await.unwrap();
        stream.write_all(&first).await.unwrap();
        stream.write_all(&[9]).await.unwrap();
        assert!(wire::receive::<Reply>(&mut stream).await.is_err());
    }
}

#[tokio::test]
async fn commands_over_the_cap_wait_until_another_has_ended() {
    let node = node().await;
    let mut idle = Vec::new();
    for _ in 0..GATEWAY_CONNECTIONS_MAX {
        idle.push(UnixStream::connect(&node.path).await.unwrap());
    }
    let caller = Caller::find(&node.path, NOTHING).await.unwrap().unwrap();
    let asking = Arc::new(caller);
    let asked = Arc::clone(&asking);
    let mut waiting = Box::pin(async move { asked.ask(Request::Status).await.0 });
    // The system takes the connection; the node has no place for it.
    for _ in 0..1_000 {
        let turn = tokio::select! {
            biased;
            answer = &mut waiting => Some(answer),
            () = tokio::task::yield_now() => None,
        };
        assert!(turn.is_none());
    }
    idle.clear();
    assert_eq!(waiting.await.unwrap(), Answer::Status(status()));
}

#[tokio::test]
async fn a_node_that_takes_a_request_and_says_nothing_is_given_up() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join(SOCKET);
    // As a process that was stopped: the system takes the connection.
    let _silent = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let mut caller = Caller::find(&path, NOTHING).await.unwrap().unwrap();
    caller.silence_max = std::time::Duration::from_millis(20);
    // More than a socket holds is not even taken; less is, and not answered.
    let publish = Request::PutChunks { chunks: vec![vec![0; 4 << 20]], expiry: [0; 3] };
    for request in [Request::Status, publish] {
        assert!(matches!(caller.ask(request).await.0, Err(CallError::Gone(_))));
    }
}

#[tokio::test]
async fn a_second_node_with_one_state_is_refused_and_a_socket_left_behind_is_replaced() {
    let node = node().await;
    let facts = |client: &Client| {
        let store = Arc::new(|| Err("no store".to_owned()));
        Facts { client: client.clone(), does: NOTHING, status: Box::new(status), store }
    };
    let refused = serve(&node.path, facts(&node.client)).await.unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::AddrInUse);
    let left = node.path.with_file_name("left.sock");
    drop(std::os::unix::net::UnixListener::bind(&left).unwrap());
    assert!(Caller::find(&left, NOTHING).await.unwrap().is_none());
    let mut serving = Box::pin(serve(&left, facts(&node.client)));
    loop {
        tokio::select! {
            ended = &mut serving => unreachable!("{ended:?}"),
            found = Caller::find(&left, NOTHING) => if found.unwrap().is_some() { break },
        }
    }
}
