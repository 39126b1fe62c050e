//! `bauta relay run` and `bauta devnet`: processes that stay, end in order when told, and are themselves again when restarted.
#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test crate")]

mod binary;

use std::os::unix::fs::PermissionsExt as _;

use bauta::limits::RELAY_STOP_TIMEOUT;
use binary::{Devnet, Running, User};
use rustix::process::{Pid, test_kill_process};
use serde_json::Value;

const NETWORK: &str = "network=000102030405060708090a0b0c0d0e0f000102030405060708090a0b0c0d0e0f";

/// A relay that runs; who it is, and where it listens.
fn relay(user: &User, arguments: &[&str]) -> (Running, String, String) {
    let running = Running::start(
        user.command(&[&["relay", "run", "--json"], arguments].concat()).stdin(std::process::Stdio::null()),
    );
    let first: Value = serde_json::from_str(&running.line().unwrap()).unwrap();
    let of = |key: &str| first[key].as_str().unwrap().to_owned();
    let (contact, listen) = (of("contact"), of("listen"));
    (running, contact, listen)
}

#[test]
fn a_relay_ends_in_order_and_is_the_same_after_a_restart() {
    let user = User::nobody();
    let settings = ["--set", NETWORK, "--set", "listen=127.241.0.1:0"];
    let (mut running, contact, listen) = relay(&user, &settings);
    running.line_with("{\"ready\":true");
    running.terminate();
    assert_eq!(running.ended_within(RELAY_STOP_TIMEOUT).code(), Some(0));

    let listen = format!("listen={listen}");
    let (mut again, same, _) = relay(&user, &["--set", NETWORK, "--set", &listen]);
    assert_eq!(same, contact);
    again.line_with("{\"ready\":true");
    // Two of one identity would look bad to everybody, wherever the second listens.
    let second = user.run(&["relay", "run", "--set", NETWORK, "--set", "listen=127.241.0.1:0", "--json"]);
    assert!(second.object(1, "failed")["error"].as_str().unwrap().contains("another process runs as this already"));
    let taken = user.run(&["relay", "run", "--set", NETWORK, "--set", &listen, "--state", "third", "--json"]);
    assert!(taken.object(1, "failed")["error"].as_str().unwrap().contains("cannot be used"));
    again.terminate();
    assert_eq!(again.ended_within(RELAY_STOP_TIMEOUT).code(), Some(0));

    // Another state directory is another relay.
    let (_other, other, _) = relay(&user, &["--set", NETWORK, "--set", "listen=127.241.0.1:0", "--state", "other"]);
    assert_ne!(other.split_once('/').unwrap().1, contact.split_once('/').unwrap().1);
}

#[test]
fn a_relay_keeps_its_values_in_a_file_and_does_not_replace_one_that_it_cannot_read() {
    let user = User::nobody();
    let settings = ["--set", NETWORK, "--set", "listen=127.245.0.1:0"];
    let end = |mut running: Running| {
        running.line_with("{\"ready\":true");
        running.terminate();
        assert_eq!(running.ended_within(RELAY_STOP_TIMEOUT).code(), Some(0));
    };
    end(relay(&user, &settings).0);
    let file = user.state_file("values.redb");
    let mode = std::fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    end(relay(&user, &settings).0);
    let rubbish = b"nobody wrote this as values".repeat(1_000);
    std::fs::write(&file, &rubbish).unwrap();
    let refused = user.run(&[&["relay", "run", "--json"][..], &settings].concat()).object(1, "failed");
    let error = refused["error"].as_str().unwrap();
    assert!(error.contains("values.redb: damaged; restore it from a copy, or move it away"), "{error}");
    assert!(std::fs::read(&file).unwrap() == rubbish);
}

#[test]
fn two_relays_find_each_other_and_say_so() {
    let (one, two) = (User::nobody(), User::nobody());
    let (first, contact, _) = relay(&one, &["--set", NETWORK, "--set", "listen=127.242.0.1:0"]);
    first.line_with("{\"ready\":true");
    let bootstraps = format!("bootstraps={contact}");
    let (second, ..) = relay(&two, &["--set", NETWORK, "--set", "listen=127.243.0.1:0", "--set", &bootstraps]);
    second.line_with("{\"ready\":true");
    first.line_with("{\"relays\":2");
}

#[test]
fn relay_run_takes_the_file_that_relay_init_wrote() {
    let user = User::nobody();
    user.run(&["relay", "init", "relay.toml", "--set", NETWORK, "--set", "listen=127.244.0.1:0"]).fine();
    let mut running = Running::start(&mut user.command(&["relay", "run", "--config", "relay.toml", "--quiet"]));
    assert!(running.line().unwrap().starts_with("contact 127.244.0.1:"));
    assert_eq!(running.line().unwrap(), "ready");
    running.terminate();
    assert_eq!(running.ended_within(RELAY_STOP_TIMEOUT).code(), Some(0));
}

#[test]
fn a_relay_without_what_it_needs_does_not_start() {
    let user = User::nobody();
    for (arguments, part) in [
        (&["relay", "run"][..], "network is not set"),
        (&["relay", "run", "--set", NETWORK], "listen is not set"),
        (&["relay", "run", "--set", NETWORK, "--set", "listen=0.0.0.0:4433"], "difficulty is not set"),
        (
            &["relay", "run", "--set", NETWORK, "--set", "difficulty=0", "--set", "listen=0.0.0.0:4433"],
            "advertise is not set",
        ),
    ] {
        let refused = user.run(&[arguments, &["--json"]].concat()).object(2, "usage");
        assert!(refused["error"].as_str().unwrap().contains(part), "{refused}");
    }
}

#[test]
fn a_devnet_ends_in_order_when_told() {
    let mut devnet = Devnet::start(&["--nodes", "12"]);
    let user = devnet.user();
    let link = user.run(&["publish", &user.file("file", b"x")]).alone();
    user.run(&["get", &link, "-o", "got"]).fine();
    devnet.running().terminate();
    assert_eq!(devnet.running().ended_within(RELAY_STOP_TIMEOUT).code(), Some(0));
    let refused = user.run(&["devnet", "--nodes", "11"]).with(2);
    assert!(refused.err.contains("--nodes takes 12 to 160"), "{refused:?}");
}

#[test]
fn a_devnet_of_processes_starts_again_what_ends_and_leaves_none_behind() {
    let mut devnet = Devnet::start(&["--nodes", "12", "--processes"]);
    let user = devnet.user();
    let link = user.run(&["publish", &user.file("file", b"x")]).alone();
    let pid_of = |number: usize| -> i32 {
        let text = std::fs::read_to_string(devnet.folder().join("processes.txt")).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(&format!("{number} "))).unwrap();
        line.parse().unwrap()
    };
    let old = pid_of(7);
    rustix::process::kill_process(Pid::from_raw(old).unwrap(), rustix::process::Signal::TERM).unwrap();
    binary::until(|| pid_of(7) != old);
    user.run(&["get", &link, "-o", "got"]).fine();
    let pids: Vec<i32> = (1..=12).map(pid_of).collect();
    devnet.running().terminate();
    assert_eq!(devnet.running().ended_within(RELAY_STOP_TIMEOUT).code(), Some(0));
    binary::until(|| pids.iter().all(|pid| has_ended(*pid)));
}

/// Gone, or waiting for whoever adopted it to notice.
fn has_ended(pid: i32) -> bool {
    let is_gone = test_kill_process(Pid::from_raw(pid).unwrap()).is_err();
    is_gone || std::fs::read_to_string(format!("/proc/{pid}/stat")).map_or(true, |stat| stat.contains(") Z "))
}
