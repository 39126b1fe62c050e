//! Scripts as texts, and against a real relay with everything in them that a script can expect.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::*;
use crate::limits::{FRAME_LEN, FUZZ_SCRIPT_LEN_MAX, FUZZ_SCRIPT_LINKS_MAX, FUZZ_SCRIPT_STEPS_MAX};
use crate::link::{Link, Params, Timing};
use crate::net::Runtime;
use crate::probe::Target;
use crate::probe::tests::{Alone, rng};
use crate::time::Instant;
use crate::wire::hello::Hello;
use crate::wire::network::VERSIONS;

fn parsed(text: &str) -> Result<Script, Unreadable> {
    text.parse()
}

#[test]
fn what_is_no_script_is_refused_with_its_line() {
    for (text, part) in [
        ("jump 1", "line 1: there is no step"),
        ("\n\nup 0 clientele 3", "line 3: \\\"clientele\\\" is none of client, relay"),
        ("up 0 client", "line 1: it ends too early"),
        ("up 0 client 3 4", "line 1: \\\"4\\\" is too much"),
        ("up 0 client 32", "is no number from 0 to 31"),
        ("wait 15001", "is no number from 0 to 15000"),
        ("cut 0 2065", "is no number from 0 to 2064"),
        ("bytes 0 abc", "is not hexadecimal"),
        ("expect 0 applause", "is none of silent"),
        ("hello 0 loudly", "is none of right"),
    ] {
        let told = parsed(text).unwrap_err().to_string();
        assert!(told.contains(part), "{text}: {told}");
    }
    let link = FUZZ_SCRIPT_LINKS_MAX;
    assert!(parsed(&format!("close {}", link - 1)).is_ok() && parsed(&format!("close {link}")).is_err());
}

#[test]
fn a_script_has_at_most_so_many_steps_and_bytes() {
    let steps = |count: usize| "wait 1\n".repeat(count);
    assert!(parsed(&steps(FUZZ_SCRIPT_STEPS_MAX)).is_ok());
    assert_eq!(parsed(&steps(FUZZ_SCRIPT_STEPS_MAX + 1)), Err(Unreadable::Long));
    assert!(parsed(&"#".repeat(FUZZ_SCRIPT_LEN_MAX)).is_ok());
    assert_eq!(parsed(&"#".repeat(FUZZ_SCRIPT_LEN_MAX + 1)), Err(Unreadable::Long));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_script_expects_comes_about_or_is_told() {
    let runtime = Runtime::start().unwrap();
    let alone = Alone::start(&runtime, 73).await;
    let right = "
        seed 1
        up 0 client 1
        ask 0 1 life
        expect 0 answered 1
        build 0 2 1 right       # the target is the exit
        expect 0 replied 2
        repeat 0 3
        expect 0 destroyed 3
        expect 0 silent 100
        connect 1 client 2
        flip 1 300
        check 1
        first 1 right
        expect 1 silent 100
        up 2 relay 3
        ask 2 1 find
        expect 2 answered 1
        cell 2 ffffffffff
        expect 2 closed";
    let found = replay(&alone.target, &right.parse().unwrap()).await.unwrap();
    assert_eq!(found, []);
    let wrong = "seed 1\nup 0 client 1\nexpect 0 silent 10\nask 0 1 life\nexpect 0 silent 2000\nexpect 0 answered 1";
    let found = replay(&alone.target, &wrong.parse().unwrap()).await.unwrap();
    assert_eq!(found, [Found { step: 4, fault: Fault::Unmet }]);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_listening_is_told_and_ends_the_script() {
    let runtime = Runtime::start().unwrap();
    let alone = Alone::start(&runtime, 74).await;
    let (target, places) = (alone.target, Places::against(&alone.target, None));
    let mut rng = rng(1);
    let knowledge = Knowledge::learn(&target, None, &mut rng).await.unwrap();
    let runner = Runner::new(target, knowledge, places, Salt::default()).unwrap();
    alone.end().await;
    let found = runner.run(&"wait 1\nup 0 client 1\nwait 15000".parse().unwrap()).await.unwrap();
    assert_eq!(found, [Found { step: 1, fault: Fault::Gone }]);
}

#[tokio::test(flavor = "multi_thread")]
async fn scripts_dial_from_networks_apart_from_the_target_and_from_the_honest_client() {
    let runtime = Runtime::start().unwrap();
    let alone = Alone::start(&runtime, 77).await;
    let ip = |text: &str| Some(text.parse().unwrap());
    let at = |address: &str| Target { address: address.parse().unwrap(), ..alone.target };
    for (target, bind, honest) in [
        ("127.1.0.1:1", None, ip("127.200.200.1")),
        ("127.1.0.1:1", ip("127.220.0.1"), ip("127.200.200.1")),
        ("127.200.3.1:1", None, ip("127.201.200.1")),
        ("127.1.0.1:1", ip("127.0.0.1"), ip("127.0.0.1")),
        ("[::1]:1", None, None),
        ("192.0.2.7:1", ip("192.0.2.8"), ip("192.0.2.8")),
    ] {
        assert_eq!(Places::against(&at(target), bind).honest(), honest, "{target}");
    }
}

/// Shakes hands as it should, and never ends a link.
async fn clinging(listener: TcpListener, params: Params) {
    let mut served = JoinSet::new();
    while let Ok((mut from, _)) = listener.accept().await {
        let mut link = Link::accept(params.clone(), &mut rng(9), Instant::ZERO);
        served.spawn(async move {
            let mut frame = [0; FRAME_LEN];
            while from.read_exact(&mut frame).await.is_ok() {
                let _ = link.handle_frame(Instant::ZERO, &frame);
                while link.poll_frame(Instant::ZERO, &mut frame) {
                    from.write_all(&frame).await.unwrap();
                }
            }
        });
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_that_has_to_end_and_does_not_is_told_once_its_time_is_over() {
    let runtime = Runtime::start().unwrap();
    let alone = Alone::start(&runtime, 75).await;
    let knowledge = Knowledge::learn(&alone.target, None, &mut rng(1)).await.unwrap();
    let hello = Hello { versions: VERSIONS, descriptor: Some(knowledge.own.to_signed()) };
    let secret = alone.secret.clone();
    let params = Params { network: alone.target.network, secret, hello, timing: Timing::default() };
    let listener = TcpListener::bind("127.76.0.1:0").await.unwrap();
    let target = Target { address: listener.local_addr().unwrap(), ..alone.target };
    let mut served = JoinSet::new();
    served.spawn(clinging(listener, params));
    let runner = Runner::new(target, knowledge, Places::against(&target, None), Salt::default()).unwrap();
    let found = runner.run(&"up 0 client 1\ncell 0 ff".parse().unwrap()).await.unwrap();
    assert_eq!(found, [Found { step: 2, fault: Fault::StaysOpen }]);
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_of_a_script_follow_from_its_salt_too() {
    let runtime = Runtime::start().unwrap();
    let alone = Alone::start(&runtime, 79).await;
    let (target, places) = (alone.target, Places::against(&alone.target, None));
    let knowledge = Knowledge::learn(&target, None, &mut rng(1)).await.unwrap();
    let keys = |salt: Salt| {
        let runner = Runner::new(target, knowledge.clone(), places, salt).unwrap();
        let me = |who| runner.me(who, 0, &mut drawn_from(&salt, 7)).secret.public();
        (me(As::Relay), me(As::Client))
    };
    let (one, same, other) = (keys([1; 16]), keys([1; 16]), keys([2; 16]));
    assert_eq!(one, same);
    assert!(one.0 != other.0 && one.1 != other.1);
    // It is in the text, and so found again by whoever has that.
    let script: Script = "seed 7\nwait 1".parse().unwrap();
    let salted = script.salted([1; 16]);
    let again: Script = salted.to_string().parse().unwrap();
    assert_eq!((again.salt(), &again), ([1; 16], &salted));
    assert!("salt 07".parse::<Script>().is_err());
}
