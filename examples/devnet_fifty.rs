//! `bauta devnet --nodes 50 --processes` under use: time to ready, memory of each idle relay, a thousand `bauta get` while relays
//! are restarted one after the other. First `cargo build --release`, then
//! `cargo run --release --example devnet_fifty [GETS [PAUSE_MS [RESTARTS_BETWEEN_PUBLISHING]]]`. Linux alone: it reads /proc.
//!
//! Relays of this version keep values in memory and repair nothing, so a value is gone once its holders were restarted: the
//! author publishes again, under the same links, after every few restarts. And news of a relay's new onion key takes a round of
//! gossip: PAUSE_MS is between the return of one relay and the end of the next.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::indexing_slicing,
    clippy::as_conversions,
    reason = "an experiment for a terminal"
)]
#![allow(clippy::disallowed_methods, reason = "it is about how long things take")]

#[path = "../tests/binary/mod.rs"]
mod binary;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use binary::{Devnet, User, content};
use rustix::process::{Pid, Signal, kill_process};

const NODES: usize = 50;
const GETS: usize = 1_000;
const FILES: usize = 20;
const AT_ONCE: usize = 4;
const PAUSE_MS: u64 = 2_000;
/// Each of three locations has five holders, and two locations must have lost all before a value counts as gone.
const RESTARTS_BETWEEN_PUBLISHING: usize = 5;
/// Aims.
const READY_MAX: Duration = Duration::from_secs(30);
const RSS_MAX_MIB: f64 = 16.0;
/// Relays have nothing to do by then.
const SETTLE: Duration = Duration::from_secs(10);
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// A relay that is not back by then is not started again.
const RESTART_MAX: Duration = Duration::from_secs(30);

fn main() {
    let argument = |at: usize, usual: usize| std::env::args().nth(at).map_or(usual, |text| text.parse().unwrap());
    let gets = argument(1, GETS);
    let pause = Duration::from_millis(argument(2, PAUSE_MS as usize) as u64);
    let between = argument(3, RESTARTS_BETWEEN_PUBLISHING);
    let start = Instant::now();
    let devnet = Devnet::start(&["--nodes", &NODES.to_string(), "--processes"]);
    let ready = start.elapsed();
    println!("ready      {:.1} s, {NODES} processes", ready.as_secs_f64());
    std::thread::sleep(SETTLE);
    let idle = memory(&devnet, "idle");

    let publisher = devnet.user();
    publisher.run(&["key", "new", "author"]).fine();
    let published: Vec<_> = (0..FILES).map(|number| publish(&publisher, number)).collect();
    println!("published  {FILES} files of {} to {} bytes", size(0), size(FILES - 1));

    let (next, is_over) = (AtomicUsize::new(0), AtomicBool::new(false));
    let (times, failures) = (Mutex::new(Vec::new()), Mutex::new(Vec::new()));
    let restarts = std::thread::scope(|scope| {
        let restarter = scope.spawn(|| {
            let mut took = Vec::new();
            while !is_over.load(Ordering::Relaxed) {
                if took.len() % between == 0 && !took.is_empty() {
                    (0..FILES).for_each(|number| assert_eq!(publish(&publisher, number), published[number]));
                }
                took.push(restart(&devnet, took.len() % NODES + 1));
                std::thread::sleep(pause);
            }
            took
        });
        let getters: Vec<_> = (0..AT_ONCE)
            .map(|_| {
                scope.spawn(|| {
                    let user = devnet.user();
                    loop {
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        if number >= gets {
                            return;
                        }
                        let began = Instant::now();
                        match get(&user, number, &published[number % FILES]) {
                            Ok(()) => times.lock().unwrap().push(began.elapsed().as_secs_f64()),
                            Err(why) => {
                                println!("get {number} after {:.1} s: {why}", began.elapsed().as_secs_f64());
                                failures.lock().unwrap().push(why);
                            }
                        }
                    }
                })
            })
            .collect();
        getters.into_iter().for_each(|getter| getter.join().unwrap());
        is_over.store(true, Ordering::Relaxed);
        restarter.join().unwrap()
    });
    let (times, failures) = (times.into_inner().unwrap(), failures.into_inner().unwrap());
    tell_times(times.clone(), gets);
    tell_restarts(&restarts, pause, between);
    memory(&devnet, "after");

    judge(
        devnet,
        [
            (format!("ready in {} s", READY_MAX.as_secs()), ready <= READY_MAX),
            (format!("idle relays have at most {RSS_MAX_MIB} MiB each"), idle <= RSS_MAX_MIB),
            ("every get held".to_owned(), failures.is_empty() && times.len() == gets),
            ("relays were restarted meanwhile".to_owned(), !restarts.is_empty()),
        ],
    );
}

fn tell_times(mut times: Vec<f64>, gets: usize) {
    times.sort_by(f64::total_cmp);
    let at = |percent: usize| times.get(times.len().saturating_sub(1) * percent / 100).copied().unwrap_or(f64::NAN);
    println!("got        {} of {gets}; p50 {:.2} s, p95 {:.2} s, most {:.2} s", times.len(), at(50), at(95), at(100));
}

fn tell_restarts(restarts: &[Duration], pause: Duration, between: usize) {
    println!(
        "restarts   {} with {:.1} s between, slowest {:.1} s from signal to new process; published anew after every {between}",
        restarts.len(),
        pause.as_secs_f64(),
        restarts.iter().max().map_or(0.0, Duration::as_secs_f64)
    );
}

/// Says which aims were met; ends with 1 when one was not.
fn judge(devnet: Devnet, checks: [(String, bool); 4]) {
    checks.iter().for_each(|(check, held)| println!("{}  {check}", if *held { "ok    " } else { "FAILED" }));
    if checks.iter().any(|(_, held)| !held) {
        println!("---- what the network said\n{}", devnet.log());
        // Ends the network first: exit runs no destructors.
        drop(devnet);
        std::process::exit(1);
    }
}

fn size(number: usize) -> usize {
    10 + 90 * number
}

fn publish(user: &User, number: usize) -> (String, Vec<u8>) {
    let bytes = content(number as u64, size(number));
    let name = user.file(&format!("file-{number}"), &bytes);
    let label = number.to_string();
    let published = user.run(&["publish", "--quiet", &name, "--key", "author", "--label", &label]);
    (published.alone(), bytes)
}

fn get(user: &User, number: usize, (link, bytes): &(String, Vec<u8>)) -> Result<(), String> {
    let path = format!("got-{number}");
    let ended = user.run(&["get", "--quiet", link, "-o", &path]);
    if ended.code != Some(0) {
        return Err(format!("exit code {:?}: {}", ended.code, ended.err.trim()));
    }
    if user.content(&path) == *bytes { Ok(()) } else { Err("other bytes came back".to_owned()) }
}

/// Stops one relay by signal and waits for its successor; how long that took.
fn restart(devnet: &Devnet, number: usize) -> Duration {
    let pid = processes(&devnet.folder())[&number];
    let began = Instant::now();
    kill_process(Pid::from_raw(pid).unwrap(), Signal::TERM).unwrap();
    while processes(&devnet.folder()).get(&number).is_none_or(|new| *new == pid) {
        assert!(began.elapsed() < RESTART_MAX, "relay {number} is not started again\n{}", devnet.log());
        std::thread::sleep(LOOK_EVERY);
    }
    began.elapsed()
}

/// By number of the relay.
fn processes(folder: &Path) -> BTreeMap<usize, i32> {
    let text = std::fs::read_to_string(folder.join("processes.txt")).unwrap();
    let pairs = text.lines().filter_map(|line| line.split_once(' '));
    pairs.map(|(number, pid)| (number.parse().unwrap(), pid.parse().unwrap())).collect()
}

/// Prints what the relays have resident; the most, in MiB.
fn memory(devnet: &Devnet, when: &str) -> f64 {
    let sizes: Vec<f64> = processes(&devnet.folder()).values().filter_map(|pid| resident_mib(*pid)).collect();
    let most = sizes.iter().copied().fold(0.0, f64::max);
    println!(
        "memory     {when}: mean {:.1} MiB, most {most:.1} MiB, of {} relays",
        sizes.iter().sum::<f64>() / sizes.len() as f64,
        sizes.len()
    );
    most
}

fn resident_mib(pid: i32) -> Option<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib / 1024.0)
}
