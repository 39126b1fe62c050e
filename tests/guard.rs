//! One client in many processes: they share a state directory, and so a guard. The processes are this very test, run again.
#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test crate")]
#![expect(clippy::print_stdout, reason = "a child process answers its parent so")]

mod world;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use bauta::client::{Client, ClientError, ClientOptions, GetOptions, PutOptions};
use bauta::membership::prefix_rule::PrefixRule;
use bauta::net::Runtime;
use bauta::request::Refused;
use bauta::wire::codec::Reader;
use bauta::wire::contact::{CONTACT_LEN, Contact};
use world::{World, author, locator, network, patiently};

const PROCESSES: usize = 20;
const SEED: u64 = 50;
const NAME: &str = "twenty_processes_of_one_state_directory_use_one_guard";
/// Tells a process that it is one of the twenty: the state directory.
const STATE: &str = "BAUTA_TEST_STATE";
/// The bootstraps, in hexadecimal.
const BOOTSTRAPS: &str = "BAUTA_TEST_BOOTSTRAPS";
const RELAXED: &str = "BAUTA_TEST_RELAXED";

// [MEMB-W-040]
#[test]
fn twenty_processes_of_one_state_directory_use_one_guard() {
    let tokio = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    match std::env::var_os(STATE) {
        Some(state) => tokio.block_on(be_one_of_them(PathBuf::from(state))),
        None => tokio.block_on(start_them()),
    }
}

async fn start_them() {
    let world = World::start(SEED, 16).await;
    let writer = world.client(1);
    patiently(writer.put_record(&author(50), b"", b"value", PutOptions::default())).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");

    // All at once: nobody has sampled a guard yet.
    let children: Vec<Child> = (0..PROCESSES).map(|_| start_one(&world, &state)).collect();
    let ended = tokio::task::spawn_blocking(|| children.into_iter().map(|child| child.wait_with_output().unwrap()));
    let mut said = BTreeSet::new();
    for output in patiently(ended).await.unwrap() {
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{text}\n{errors}");
        let line = text.lines().find_map(|line| line.split_once("guards: ")).expect("it says its guards").1.to_owned();
        said.insert(line);
    }
    assert_eq!(said.len(), 1, "one guard in use and one sample: {said:?}");

    // And whoever comes later uses the same.
    let later =
        Client::start(&world.runtime, options(&world.network.bootstraps(), world.network.rule, &state)).unwrap();
    let guard = patiently(later.guard()).await.unwrap();
    assert!(said.first().unwrap().starts_with(&hex(&guard.0)));
}

fn start_one(world: &World, state: &Path) -> Child {
    let mut bootstraps = Vec::new();
    world.network.bootstraps().iter().for_each(|contact| contact.encode(&mut bootstraps));
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([NAME, "--exact", "--nocapture"]).env(STATE, state).env(BOOTSTRAPS, hex(&bootstraps));
    if world.network.rule == PrefixRule::RelaxedForOneHost {
        command.env(RELAXED, "1");
    }
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// One process: gets the record, says through whom it entered.
async fn be_one_of_them(state: PathBuf) {
    let bytes = unhex(&std::env::var(BOOTSTRAPS).unwrap());
    let bootstraps: Vec<Contact> =
        bytes.chunks(CONTACT_LEN).map(|contact| Contact::decode(&mut Reader::new(contact)).unwrap()).collect();
    let rule = if std::env::var_os(RELAXED).is_some() { PrefixRule::RelaxedForOneHost } else { PrefixRule::Distinct };
    let runtime = Runtime::start().unwrap();
    let client = Client::start(&runtime, options(&bootstraps, rule, &state)).unwrap();
    let found = patiently(async {
        loop {
            match client.get_record(&locator(50, b""), GetOptions::default()).await {
                // Twenty processes on a busy machine: the bootstraps may be too late for one of them.
                Err(ClientError::Refused(Refused::Unreachable, _)) => {}
                other => return other.unwrap(),
            }
        }
    })
    .await;
    assert_eq!(found.payload, b"value");
    let used: Vec<String> = client.guards_used().iter().map(|guard| hex(&guard.0)).collect();
    let sample: Vec<String> = client.guard_sample().iter().map(|guard| hex(&guard.0)).collect();
    assert_eq!(used[..], sample[..1], "the first of the sample, and nobody before it");
    println!("guards: {}", sample.join(" "));
}

fn options(bootstraps: &[Contact], rule: PrefixRule, state: &Path) -> ClientOptions {
    let mut options = ClientOptions::new(network(SEED), bootstraps.to_vec(), state.to_owned());
    options.rule = rule;
    options
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}
