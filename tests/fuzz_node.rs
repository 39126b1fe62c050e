//! `bauta fuzz` as somebody at a shell has it, against a relay that is a process of its own.
#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test crate")]

mod binary;

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use binary::{Running, User};
use serde_json::Value;

const NETWORK: &str = "000102030405060708090a0b0c0d0e0f000102030405060708090a0b0c0d0e0f";

/// A relay that runs alone.
struct Relay {
    user: User,
    running: Running,
    address: String,
    key: String,
}

impl Relay {
    fn start(net: u8) -> Self {
        Self::of(User::nobody(), &format!("127.{net}.0.1:0"))
    }

    fn of(user: User, listen: &str) -> Self {
        let settings = [format!("network={NETWORK}"), format!("listen={listen}")];
        let arguments = ["relay", "run", "--json", "--set", &settings[0], "--set", &settings[1]];
        let running = Running::start(user.command(&arguments).stdin(Stdio::null()));
        let first: Value = serde_json::from_str(&running.line().unwrap()).unwrap();
        running.line_with("{\"ready\":true");
        let contact: Vec<&str> = first["contact"].as_str().unwrap().split('/').collect();
        Self { address: contact[0].to_owned(), key: contact[2].to_owned(), running, user }
    }

    /// Arguments of `fuzz` against it.
    fn fuzz<'a>(&'a self, more: &[&'a str]) -> Vec<&'a str> {
        let who = ["fuzz", "--json", "--addr", &self.address, "--key", &self.key, "--network", NETWORK];
        [&who[..], more].concat()
    }
}

fn kinds(object: &Value) -> Vec<&str> {
    object["findings"].as_array().unwrap().iter().map(|one| one["kind"].as_str().unwrap()).collect()
}

#[test]
fn a_sound_relay_is_fuzzed_for_seconds_and_its_report_says_so() {
    let relay = Relay::start(238);
    let pid = relay.running.pid().to_string();
    let ended = relay.user.run(&relay.fuzz(&["--seed", "5", "--minutes", "0.08", "--pid", &pid]));
    let object: Value = serde_json::from_str(&ended.out).unwrap_or_else(|why| panic!("{why}: {ended:?}"));
    // How long answers take is this machine's matter.
    assert!(kinds(&object).iter().all(|kind| *kind == "slow"), "{object}");
    assert_eq!((object["seed"].as_u64(), object["partial"].as_bool()), (Some(5), Some(false)), "{object}");
    assert!(object["scripts"].as_u64() > Some(5) && object["connects"].as_u64() > Some(5), "{object}");
    assert!(object["before"]["asked"].as_u64() > Some(0) && object["during"]["p99_ms"].is_number(), "{object}");
    assert_eq!(object["during"]["failed"], 0, "{object}");
    assert!(!cfg!(target_os = "linux") || object["memory"]["peak"].as_u64() > Some(1 << 20), "{object}");
}

#[test]
fn a_relay_that_ends_meanwhile_is_found_and_written_and_the_script_finds_nothing_once_it_is_back() {
    let relay = Relay::start(239);
    let arguments = relay.fuzz(&["--seed", "6", "--minutes", "0.5", "--out", "found"]);
    let mut fuzzing = relay.user.command(&arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // Scripts are under way once it tells how far it is.
    let mut told = BufReader::new(fuzzing.stderr.take().unwrap()).lines().map_while(Result::ok);
    assert!(told.any(|line| line.contains(" scripts, ")));
    relay.running.signal(rustix::process::Signal::KILL);
    told.for_each(drop);
    let ended = fuzzing.wait_with_output().unwrap();
    let object: Value = serde_json::from_slice(&ended.stdout).unwrap();
    assert_eq!((ended.status.code(), object["outcome"].as_str()), (Some(1), Some("failed")), "{object}");
    assert!(kinds(&object).contains(&"gone") && object["partial"] == true, "{object}");
    let gone = object["findings"].as_array().unwrap().iter().find(|one| one["kind"] == "gone").unwrap();
    let path = gone["path"].as_str().unwrap();
    let text = String::from_utf8(relay.user.content(path)).unwrap();
    assert!(
        path.starts_with("found/6-") && path.ends_with("-gone.script") && text.starts_with("# bauta fuzz --seed 6"),
        "{path}\n{text}"
    );
    assert!(relay.user.content(&path.replace(".script", ".rs")).starts_with(b"/// Found by"));

    let Relay { user, address, running, .. } = relay;
    drop(running);
    let again = Relay::of(user, &address);
    let object = again.user.run(&again.fuzz(&["--replay", path])).json();
    assert_eq!(kinds(&object), Vec::<&str>::new());
}

#[test]
fn a_script_that_expects_what_does_not_come_ends_with_what_it_found() {
    let relay = Relay::start(240);
    relay.user.file("met", b"up 0 client 0\nask 0 1 life\nexpect 0 answered 1\n");
    relay.user.file("unmet", b"up 0 client 0\nask 0 1 life\nexpect 0 closed\n");
    relay.user.run(&relay.fuzz(&["--replay", "met"])).json();
    let object = relay.user.run(&relay.fuzz(&["--replay", "unmet"])).object(1, "failed");
    assert_eq!(kinds(&object), ["unmet"]);
}

#[test]
fn a_node_that_does_not_answer_is_unreachable_and_so_is_one_of_another_network() {
    let relay = Relay::start(240);
    let nobody = ["fuzz", "--json", "--addr", "127.240.0.1:1", "--key", &relay.key, "--network", NETWORK];
    let object = relay.user.run(&nobody).object(4, "unreachable");
    assert!(object["error"].as_str().unwrap().contains("check --addr, key and network"), "{object}");
    let other = "ff".repeat(32);
    let elsewhere = ["fuzz", "--json", "--addr", &relay.address, "--key", &relay.key, "--network", &other];
    let object = relay.user.run(&elsewhere).object(4, "unreachable");
    assert!(object["error"].as_str().unwrap().contains("the handshake is not answered"), "{object}");
}
