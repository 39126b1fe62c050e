//! `bauta relay run` and `bauta devnet`: processes that stay, end in order when told, and are themselves again when restarted.
#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test crate")]

mod binary;

use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use bauta::crypto::hash::blake3;
use bauta::dht::store::{Quota, StoreOp, StoreResult};
use bauta::disk::{StateDir, ValueStore};
use bauta::limits::RELAY_STOP_TIMEOUT;
use bauta::probe::{Me, Session, Target};
use bauta::record::VerifiedValue;
use bauta::time::UnixTime;
use bauta::wire::contact::Contact;
use bauta::wire::descriptor::DESCRIPTOR_LEN;
use bauta::wire::hex;
use bauta::wire::network::Network;
use bauta::wire::record::{ChunkBytes, Expiry, Value as Wire};
use binary::{Devnet, Running, User};
use rand::SeedableRng as _;
use rand::rngs::ChaCha20Rng;
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
    assert!(taken.object(1, "failed")["error"].as_str().unwrap().contains("end the program that listens there"));
    again.terminate();
    assert_eq!(again.ended_within(RELAY_STOP_TIMEOUT).code(), Some(0));

    // Another state directory is another relay.
    let (_other, other, _) = relay(&user, &["--set", NETWORK, "--set", "listen=127.241.0.1:0", "--state", "other"]);
    assert_ne!(other.split_once('/').unwrap().1, contact.split_once('/').unwrap().1);
}

/// The number of the last descriptor as a relay has it on disk (spec/state.md §9).
fn kept_number(user: &User) -> u32 {
    type Kept = ([u8; 32], [u8; 32], u32, [u8; 32], u32);
    let state = StateDir::open(user.state_file("relay").parent().unwrap()).unwrap();
    state.read::<Kept>("relay").unwrap().unwrap().4
}

/// The number and the effort of the descriptor that a relay shows whoever links to it.
async fn shown(contact: &str, net: u8) -> (u32, u8) {
    let contact: Contact = contact.parse().unwrap();
    let id = core::array::from_fn(|at| u8::try_from(at % 16).unwrap());
    let network = Network { id, difficulty: 0 };
    let target = Target { address: contact.address.0, link_key: contact.link_key, network };
    let (mut rng, from) = (ChaCha20Rng::seed_from_u64(net.into()), Ipv4Addr::new(127, 242, net, 9).into());
    let session = Session::up(&target, &Me::client(&mut rng), Some(from), &mut rng).await.unwrap();
    let descriptor = session.hello.descriptor.unwrap();
    (descriptor.claim().1, descriptor.as_bytes()[DESCRIPTOR_LEN - 65])
}

// [STATE-W-021]
#[tokio::test(flavor = "multi_thread")]
async fn what_a_relay_has_shown_is_on_disk_when_it_is_killed_and_what_it_shows_next_is_greater() {
    let user = User::nobody();
    let settings = ["--set", NETWORK, "--set", "listen=127.242.0.1:0", "--set", "store_values=1"];
    let mut last = 0;
    // Several within a second: only what is on disk keeps their numbers apart.
    for net in 1..=4 {
        let (running, contact, _) = relay(&user, &settings);
        let (number, effort) = shown(&contact, net).await;
        // Killed, it writes nothing any more.
        drop(running);
        assert_eq!((kept_number(&user), effort), (number, 0));
        assert!(number > last, "{number} after {last}");
        last = number;
    }
    // A full store asks for work: in a second descriptor, as soon as the first is out.
    fill(&user.state_file("values.redb"));
    let (_running, contact, _) = relay(&user, &settings);
    let mut later = (last, 0);
    for net in 5..=250 {
        later = shown(&contact, net).await;
        if later.1 > 0 {
            break;
        }
    }
    assert!(later.1 > 0 && later.0 > last + 1, "{later:?} after {last}");
    let kept = async {
        while kept_number(&user) != later.0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), kept).await.expect("it is kept when it was signed");
}

// [STATE-R-024]
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

/// Puts one signed value into the file of a relay that does not run; where it is.
fn fill(file: &Path) -> String {
    let id = core::array::from_fn(|at| u8::try_from(at % 16).unwrap());
    let network = Network { id, difficulty: 0 };
    let now = UnixTime(UNIX_EPOCH.elapsed().unwrap().as_secs());
    let bytes = b"a chunk".to_vec();
    let chunk = ChunkBytes { hash: blake3(&[&bytes]), index: 0, expiry: Expiry::at_least(now), bytes };
    let value = VerifiedValue::check(&network, Wire::Hashed(chunk), now).unwrap();
    let (name, quota) = (value.digest(), Quota { values: 9, bytes: 99_999 });
    let store = ValueStore::open(file, network, quota, &mut ChaCha20Rng::seed_from_u64(1)).unwrap();
    assert_eq!(store.apply(now, StoreOp::Put { value, expected: None }), StoreResult::Kept);
    hex::encode(&name)
}

// [DHT-R-018] [DHT-W-019]
#[test]
fn a_relay_shows_what_it_keeps_and_drops_what_a_list_denies_at_start_and_on_a_signal() {
    let user = User::nobody();
    let denied = user.path("denied");
    let list = format!("denylist={}", denied.display());
    let settings = ["--set", NETWORK, "--set", "listen=127.246.0.1:0", "--set", &list];
    let show = || user.run(&["relay", "store", "--set", NETWORK, "--json"]).object(0, "done");
    assert_eq!(show()["store"], Value::Null, "no relay has run here");
    std::fs::write(&denied, "# nothing yet\n").unwrap();
    let end = |mut running: Running| {
        running.terminate();
        assert_eq!(running.ended_within(RELAY_STOP_TIMEOUT).code(), Some(0));
    };
    let (running, ..) = relay(&user, &settings);
    running.line_with("{\"ready\":true");
    end(running);
    let name = fill(&user.state_file("values.redb"));
    let store = &show()["store"];
    assert_eq!((&store["values"], &store["hashed"]["ends"][0]["values"]), (&1.into(), &1.into()));
    assert_eq!((&store["signed"]["values"], &store["since_start"]), (&0.into(), &Value::Null));
    let text = user.run(&["relay", "store", "--set", NETWORK]).with(0).out;
    assert!(text.starts_with("values    1 of 524288 (0 %)"), "{text}");

    // A line that names nothing: at start nothing is started.
    std::fs::write(&denied, format!("{name}\nnonsense\n")).unwrap();
    let refused = user.run(&[&["relay", "run", "--json"][..], &settings].concat()).object(2, "usage");
    assert!(refused["error"].as_str().unwrap().contains("denied: line 2: neither a chunk's name"), "{refused}");

    std::fs::write(&denied, "").unwrap();
    let (running, ..) = relay(&user, &settings);
    running.line_with("{\"ready\":true");
    let held = user.run(&["relay", "store", "--set", NETWORK]).with(1);
    assert!(
        held.err.contains("another process runs as this already"),
        "a relay that answers no commands holds its file: {held:?}"
    );
    std::fs::write(&denied, &name).unwrap();
    running.signal(rustix::process::Signal::HUP);
    running.line_with("{\"denied\":1,\"dropped\":1");
    end(running);
    assert_eq!(show()["store"]["values"], 0);
}

#[test]
fn a_relay_that_answers_commands_tells_what_it_asks_of_writers_and_what_they_have_used() {
    let users = [User::nobody(), User::nobody(), User::nobody()];
    let mut contacts: Vec<String> = Vec::new();
    let mut running = Vec::new();
    for (user, ip) in users.iter().zip(["127.247.0.1", "127.248.0.1", "127.249.0.1"]) {
        let bootstraps = format!("bootstraps={}", contacts.join(","));
        let (one, contact, _) =
            relay(user, &["--set", NETWORK, "--set", &format!("listen={ip}:0"), "--set", &bootstraps]);
        one.line_with("{\"ready\":true");
        contacts.push(contact);
        running.push(one);
    }
    let of = |command: &[&str]| users[2].run(&[command, &["--set", NETWORK, "--json"]].concat()).json();
    // The socket is there a moment after the relay, its store's word a moment after that.
    let status = (0..1_000).map(|_| of(&["status"])).find(|status| !status["node"]["writes"].is_null()).unwrap();
    let writes = serde_json::json!({
        "effort": 0, "full_permille": 0, "hour_bytes": 0, "hour_bytes_max": (512 << 20) / 8, "scarce": false,
    });
    assert_eq!(status["node"]["writes"], writes);
    assert_eq!(of(&["relay", "store"])["writes"], writes);
    let said = "0.0 % full, asks writers for no work; 0 bytes taken in this hour, all that came\n";
    for command in [&["status"][..], &["relay", "store"]] {
        let out = users[2].run(&[command, &["--set", NETWORK]].concat()).with(0).out;
        assert!(out.contains(said), "{out}");
    }
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
    // Without a file, and as a program asks for it.
    for arguments in [&["relay", "init", "-"][..], &["relay", "init"]] {
        let told = user.run(&[arguments, &["--json"]].concat()).json();
        assert_eq!(told["file"].as_str().unwrap().trim_end(), user.run(arguments).fine().out.trim_end());
    }
    assert!(!user.path("-").exists());
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
