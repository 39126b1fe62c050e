//! The fuzzer against real relays: a sound one, and some with a planted fault, which it must find, write down and find again.

use std::collections::VecDeque;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

use super::*;
use crate::crypto::CryptoRng;
use crate::limits::FRAME_LEN;
use crate::link::{MAC1_LEN, mac1};
use crate::net::Runtime;
use crate::node::Relay;
use crate::node::io::{Input, Output};
use crate::node::machine::{Machine, MachineInput, MachineOutput, Puzzles};
use crate::probe::tests::Alone;
use crate::time::{Instant as Moment, Now};
use crate::wire::cell::{Cell, CircuitId, Command};

/// What a relay does that it must not.
enum Planted {
    /// It answers credits with a cell of a circuit that nobody opened.
    Strangers,
    /// It says that it has died of a question for differences.
    Mortal(Arc<Notify>),
}

/// A real relay, and the fault around it.
struct Faulty {
    relay: Relay,
    planted: Planted,
    ready: VecDeque<MachineOutput<Self>>,
}

impl Machine for Faulty {
    type Command = <Relay as Machine>::Command;
    type Event = <Relay as Machine>::Event;
    type Job = <Relay as Machine>::Job;
    type Done = <Relay as Machine>::Done;
    type StoreOp = <Relay as Machine>::StoreOp;
    type StoreResult = <Relay as Machine>::StoreResult;

    fn handle(&mut self, now: Now, input: MachineInput<Self>) {
        if let MachineInput::Node(Input::Cell { link, cell }) = &input {
            match &self.planted {
                Planted::Strangers if cell.command() == Command::Credit => {
                    let cell = Cell::new(CircuitId(0x8765_4321), Command::Backward);
                    self.ready.push_back(MachineOutput::Node(Output::Send { link: *link, cell }));
                }
                Planted::Mortal(died) if cell.command() == Command::Ask && cell.body()[4] == 4 => died.notify_one(),
                _ => (),
            }
        }
        let input = match input {
            MachineInput::Node(input) => MachineInput::Node(input),
            MachineInput::Stored { id, result } => MachineInput::Stored { id, result },
            MachineInput::Worked { id, done } => MachineInput::Worked { id, done },
            MachineInput::Command(command) => MachineInput::Command(command),
        };
        Machine::handle(&mut self.relay, now, input);
    }

    fn poll_output(&mut self) -> Option<MachineOutput<Self>> {
        if let Some(ready) = self.ready.pop_front() {
            return Some(ready);
        }
        Some(match Machine::poll_output(&mut self.relay)? {
            MachineOutput::Node(output) => MachineOutput::Node(output),
            MachineOutput::Store { id, op } => MachineOutput::Store { id, op },
            MachineOutput::Work { id, job } => MachineOutput::Work { id, job },
            MachineOutput::Event(event) => MachineOutput::Event(event),
        })
    }

    fn poll_timeout(&self) -> Option<Moment> {
        Machine::poll_timeout(&self.relay)
    }

    fn is_short(job: &Self::Job) -> bool {
        Relay::is_short(job)
    }

    fn run_job(job: Self::Job, rng: &mut dyn CryptoRng, puzzles: &dyn Puzzles) -> Self::Done {
        <Relay as Machine>::run_job(job, rng, puzzles)
    }
}

async fn faulty(runtime: &Arc<Runtime>, net: u8, planted: Planted) -> Alone<Faulty> {
    Alone::start_as(runtime, net, |relay| Faulty { relay, planted, ready: VecDeque::new() }).await
}

fn plan(target: Target, seed: u64, s: u64) -> Plan {
    let places = Places::against(&target, None);
    Plan { target, places, seed, salt: [5; 16], time: Duration::from_secs(s), pid: Some(std::process::id()) }
}

/// Runs until something is found; what that was, without what figures of time say, which are the machine's.
async fn first_of(plan: Plan) -> Vec<Finding> {
    let stop = AtomicBool::new(false);
    let mut tell = |progress: Progress| stop.store(progress.findings > 0, Ordering::Relaxed);
    let mut report = run(plan, &stop, &mut tell).await.unwrap();
    report.findings.retain(|finding| matches!(finding.what, What::Fault(_) | What::Ended));
    report.findings
}

/// The script that was written shows it again.
async fn is_found_again(target: Target, finding: &Finding) {
    let script: Script = finding.text(1).parse().unwrap();
    assert_eq!(script, finding.script);
    let found = replay(target, Places::against(&target, None), &script).await.unwrap();
    assert!(found.contains(&finding.what), "{found:?} of\n{script}");
}

#[test]
fn so_many_findings_of_a_kind_are_kept_and_so_many_in_all_and_more_are_counted() {
    let mut report = Report::default();
    let mut keep = |what| report.keep(Finding { what, number: None, script: no_script() });
    let faults = [
        Fault::Gone,
        Fault::Spoke,
        Fault::Piece,
        Fault::Forged,
        Fault::Malformed,
        Fault::Stranger,
        Fault::Unfit,
        Fault::StaysOpen,
        Fault::Stalled,
    ];
    let kept = faults.map(|fault| (0..3).map(|_| usize::from(keep(What::Fault(fault)))).sum::<usize>());
    assert_eq!(kept[..8], [FUZZ_FINDINGS_OF_KIND_MAX; 8]);
    assert_eq!((kept[8], report.findings.len(), report.findings_more), (0, FUZZ_FINDINGS_MAX, 11));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_sound_relay_nothing_is_found() {
    let runtime = Runtime::start().unwrap();
    let alone = Alone::start(&runtime, 66).await;
    let stop = AtomicBool::new(false);
    let mut report = run(plan(alone.target, 1, 6), &stop, &mut |_| ()).await.unwrap();
    report.findings.retain(|finding| matches!(finding.what, What::Fault(_) | What::Ended));
    let told: Vec<String> = report.findings.iter().map(|finding| finding.text(1)).collect();
    assert!(told.is_empty() && report.findings_more == 0, "{}", told.join("\n"));
    assert!(report.scripts > 10 && report.connects > 10 && !report.is_partial);
    assert!(report.before.asked > 0 && report.during.asked > 0 && report.before.failed == 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cell_of_a_circuit_that_nobody_opened_is_found_written_small_and_found_again() {
    let runtime = Runtime::start().unwrap();
    let alone = faulty(&runtime, 67, Planted::Strangers).await;
    let findings = first_of(plan(alone.target, 2, 60)).await;
    let [finding, ..] = &findings[..] else { panic!("nothing was found") };
    assert_eq!(finding.what, What::Fault(Fault::Stranger));
    let drawn = script(2, finding.number.unwrap());
    assert!(finding.script.0.len() < drawn.0.len(), "{}", finding.script);
    assert_eq!(finding.script.salt(), [5; 16]);
    is_found_again(alone.target, finding).await;
    // It is the fault that shows, not the script.
    let sound = Alone::start(&runtime, 68).await;
    let found = replay(sound.target, Places::against(&sound.target, None), &finding.script).await.unwrap();
    assert_eq!(found, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_dies_of_a_message_is_found_and_what_was_under_way_kills_it_again() {
    let runtime = Runtime::start().unwrap();
    let start = async |net| {
        let died = Arc::new(Notify::new());
        let alone = faulty(&runtime, net, Planted::Mortal(Arc::clone(&died))).await;
        let target = alone.target;
        let life = async move {
            died.notified().await;
            alone.end().await;
        };
        (target, life)
    };
    let (target, life) = start(69).await;
    let (findings, ()) = tokio::join!(first_of(plan(target, 3, 60)), life);
    let [finding] = &findings[..] else { panic!("{findings:?}") };
    assert_eq!(finding.what, What::Fault(Fault::Gone));
    let (target, life) = start(70).await;
    tokio::join!(is_found_again(target, finding), life);
}

/// In front of a relay: whatever is no first frame for it is answered with garbage.
async fn talkative(to: SocketAddr, target: Target, listener: TcpListener) {
    let mut served = JoinSet::new();
    while let Ok((mut from, _)) = listener.accept().await {
        served.spawn(async move {
            let mut frame = [0; FRAME_LEN];
            if from.read_exact(&mut frame).await.is_err() {
                return;
            }
            let (message, mac) = frame.split_last_chunk::<MAC1_LEN>().unwrap();
            if mac1(&target.network, &target.link_key, message) != *mac {
                let _ = from.write_all(&[0x16; FRAME_LEN]).await;
            } else if let Ok(mut relay) = TcpStream::connect(to).await
                && relay.write_all(&frame).await.is_ok()
            {
                let _ = tokio::io::copy_bidirectional(&mut from, &mut relay).await;
            }
        });
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_to_a_frame_that_is_not_for_it_is_found_and_found_again() {
    let runtime = Runtime::start().unwrap();
    let alone = Alone::start(&runtime, 71).await;
    let listener = TcpListener::bind("127.72.0.1:0").await.unwrap();
    let target = Target { address: listener.local_addr().unwrap(), ..alone.target };
    let mut front = JoinSet::new();
    front.spawn(talkative(alone.target.address, alone.target, listener));
    let findings = first_of(plan(target, 4, 60)).await;
    let finding = findings.iter().find(|finding| finding.what == What::Fault(Fault::Spoke));
    is_found_again(target, finding.expect("silence was broken")).await;
}
