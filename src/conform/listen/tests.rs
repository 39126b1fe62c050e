//! A real client passes whole; a client with one fault fails exactly the rules that the fault breaks.

use std::collections::{BTreeSet, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::task::JoinSet;

use super::board::Once;
use super::*;
use crate::client::{Client, ClientOptions, GetOptions, PublishOptions};
use crate::conform::{Unproven, Verdict};
use crate::content::{ContentLink, FileName};
use crate::crypto::keys::IdentitySecret;
use crate::dht::store::{StoreOp, StoreResult};
use crate::limits::{
    CONFORM_LOST_MAX, CONFORM_SEEN_MAX, CREDIT_MAX, HANDSHAKE_TIMEOUT, HOPS_CLIENT_MIN, LINK_ANSWER_MAX,
    OPERATION_TIMEOUT, STAGGER_MAX,
};
use crate::membership::members::Members;
use crate::membership::prefix_rule::PrefixRule;
use crate::net::{LinkIdentity, Runtime, ShellConfig, spawn_node};
use crate::node::io::{Input, LinkId, Output};
use crate::node::machine::{Machine, MachineInput, MachineOutput, Puzzles};
use crate::node::{ClientCommand, ClientConfig, ClientEvent, ClientNode, Kept, Operation};
use crate::probe::{Heard, Me, Opening, PATIENCE, Session, Target};
use crate::record::Locator;
use crate::request::Consistency;
use crate::time::Now;
use crate::wire::cell::{Cell, CircuitId, Command};
use crate::wire::contact::Contact;
use crate::wire::message::{Ask, cells_of};
use crate::wire::network::Network;
use crate::wire::record::ValueKind;
use crate::wire::statement::Nonce;

/// Longer than any of these runs.
const LONG: Duration = Duration::from_secs(600);

fn rng(seed: u64) -> ChaCha20Rng {
    ChaCha20Rng::seed_from_u64(seed)
}

/// Somebody who goes on using a client, until he is dropped.
struct User(#[expect(dead_code, reason = "held")] JoinSet<()>);

impl User {
    fn new(task: impl Future<Output = ()> + Send + 'static) -> Self {
        let mut tasks = JoinSet::new();
        tasks.spawn(task);
        Self(tasks)
    }
}

/// The times at which a user tries again.
fn beat() -> tokio::time::Interval {
    tokio::time::interval(Duration::from_millis(50))
}

async fn stage(port: u16) -> Stage {
    Stage::open(([127, 0, 0, 1], port).into(), &mut rng(port.into())).await.unwrap()
}

fn failed(found: &[Finding]) -> Vec<&'static str> {
    let failed = found.iter().filter(|finding| !matches!(finding.verdict, Verdict::Pass | Verdict::NotOffered(_)));
    failed.flat_map(|finding| finding.rules).copied().collect()
}

/// What is found while somebody dials.
async fn judged(stage: Stage, rules: &[&str], dialling: impl Future<Output = ()>) -> Vec<Finding> {
    let rules: Vec<String> = rules.iter().map(|rule| (*rule).to_owned()).collect();
    let (mut rng, mut tell) = (rng(9), |_: &Finding| ());
    tokio::select! {
        found = listen(stage, &rules, LONG, std::future::pending(), &mut rng, &mut tell) => found.unwrap(),
        () = dialling => panic!("nobody dials any more"),
    }
}

async fn as_long_as(user: User) {
    std::future::pending::<()>().await;
    drop(user);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_client_passes_whole() {
    let runtime = Runtime::start().unwrap();
    let (stage, state) = (stage(4_501).await, tempfile::tempdir().unwrap());
    let (network, told) = (stage.network(), Arc::new(AtomicUsize::new(0)));
    let options = ClientOptions::new(network, stage.entrances(), state.path().join("client"));
    let client = Client::start(&runtime, options).unwrap();
    let done = Arc::clone(&told);
    // When all that it is told was told, it has nothing more to do.
    let user = User::new(async move {
        let (author, mut beat) = (IdentitySecret::from_bytes(&[7; 32]), beat());
        let link = ContentLink::new(&network, Locator::of_author(&author, b"nothing").unwrap());
        while done.load(Ordering::SeqCst) < PLAYS.len() {
            beat.tick().await;
            let (name, options) = (FileName::new("file").unwrap(), PublishOptions::default());
            let (_, _) = tokio::join!(
                client.get(&link, GetOptions::default(), |_| ()),
                client.publish(&name, vec![1; 5_000], options, |_| ()),
            );
        }
        std::future::pending::<()>().await;
    });
    let mut tell = |_: &Finding| {
        told.fetch_add(1, Ordering::SeqCst);
    };
    let found = listen(stage, &[], LONG, std::future::pending(), &mut rng(9), &mut tell).await.unwrap();
    drop(user);
    assert_eq!(failed(&found), [""; 0], "{found:#?}");
    assert_eq!(found.len(), PLAYS.len() + SIGHTS.len());
    let not_offered = |finding: &&Finding| matches!(finding.verdict, Verdict::NotOffered(_));
    let not_offered: Vec<_> = found.iter().filter(not_offered).flat_map(|finding| finding.rules).collect();
    assert_eq!(not_offered, [&"MEMB-W-001"], "it is no relay");
}

/// What a client does wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fault {
    /// It answers a Destroy by one.
    AnswersDestroy,
    /// It drops what only relays are asked.
    HearsQuestions,
    /// Its questions have numbers of the other end.
    OwnNumbers,
    /// It asks a relay for a value itself.
    AsksToFind,
    /// It takes any credit.
    TakesCredit,
    /// It drops a second reply 0.
    TakesSecondReply,
}

struct Faulty {
    node: ClientNode,
    fault: Fault,
    out: VecDeque<MachineOutput<Self>>,
    replied: BTreeSet<(LinkId, CircuitId)>,
    asked: u32,
}

const DIALLER_BIT: u32 = 1 << 31;

impl Faulty {
    fn send(&mut self, link: LinkId, cell: Cell) {
        self.out.push_back(MachineOutput::Node(Output::Send { link, cell }));
    }

    /// What the node is told of it, if anything.
    fn heard(&mut self, link: LinkId, cell: Cell) -> Option<Cell> {
        let (number, command) = (cell.circuit(), cell.command());
        match self.fault {
            Fault::AnswersDestroy if command == Command::Destroy => {
                self.send(link, Cell::new(number, Command::Destroy));
                Some(cell)
            }
            Fault::HearsQuestions => {
                (!matches!(command, Command::Ask | Command::Build | Command::Forward)).then_some(cell)
            }
            Fault::OwnNumbers if command == Command::Answer => Some(cell.on_circuit(CircuitId(number.0 | DIALLER_BIT))),
            Fault::TakesCredit if command == Command::Credit => {
                cell.credit_count().is_ok_and(|count| count < CREDIT_MAX).then_some(cell)
            }
            Fault::TakesSecondReply if command == Command::Reply0 => {
                self.replied.insert((link, number)).then_some(cell)
            }
            _ => Some(cell),
        }
    }

    fn find(&mut self, link: LinkId) {
        self.asked += 1;
        let ask = Ask::Find {
            kind: ValueKind::Signed,
            location: crate::keyspace::Id([3; 20]),
            nonce: Nonce([4; 16]),
            want_value: true,
        };
        let number = CircuitId(DIALLER_BIT | (self.asked * 1_000_003));
        for cell in cells_of(number, Command::Ask, &ask.encode()).unwrap() {
            self.send(link, cell);
        }
    }
}

impl Machine for Faulty {
    type Command = ClientCommand;
    type Event = ClientEvent;
    type Job = <ClientNode as Machine>::Job;
    type Done = <ClientNode as Machine>::Done;
    type StoreOp = StoreOp;
    type StoreResult = StoreResult;

    fn handle(&mut self, now: Now, input: MachineInput<Self>) {
        let input = match input {
            MachineInput::Node(Input::Cell { link, cell }) => match self.heard(link, cell) {
                Some(cell) => MachineInput::Node(Input::Cell { link, cell }),
                None => return,
            },
            MachineInput::Node(Input::LinkUp { link, peer }) => {
                if self.fault == Fault::AsksToFind {
                    self.find(link);
                }
                MachineInput::Node(Input::LinkUp { link, peer })
            }
            MachineInput::Node(input) => MachineInput::Node(input),
            MachineInput::Stored { id, result } => MachineInput::Stored { id, result },
            MachineInput::Worked { id, done } => MachineInput::Worked { id, done },
            MachineInput::Command(command) => MachineInput::Command(command),
        };
        Machine::handle(&mut self.node, now, input);
    }

    fn poll_output(&mut self) -> Option<MachineOutput<Self>> {
        if let Some(output) = self.out.pop_front() {
            return Some(output);
        }
        Some(match Machine::poll_output(&mut self.node)? {
            MachineOutput::Node(Output::Send { link, cell })
                if self.fault == Fault::OwnNumbers && cell.command() == Command::Ask =>
            {
                let number = CircuitId(cell.circuit().0 & !DIALLER_BIT);
                MachineOutput::Node(Output::Send { link, cell: cell.on_circuit(number) })
            }
            MachineOutput::Node(output) => MachineOutput::Node(output),
            MachineOutput::Store { id, op } => MachineOutput::Store { id, op },
            MachineOutput::Work { id, job } => MachineOutput::Work { id, job },
            MachineOutput::Event(event) => MachineOutput::Event(event),
        })
    }

    fn poll_timeout(&self) -> Option<crate::time::Instant> {
        Machine::poll_timeout(&self.node)
    }

    fn is_short(job: &Self::Job) -> bool {
        <ClientNode as Machine>::is_short(job)
    }

    fn run_job(job: Self::Job, rng: &mut dyn CryptoRng, puzzles: &dyn Puzzles) -> Self::Done {
        <ClientNode as Machine>::run_job(job, rng, puzzles)
    }
}

/// A client with this fault that goes on getting what is not there.
fn faulty(runtime: &Arc<Runtime>, network: Network, bootstraps: Vec<Contact>, fault: Fault) -> User {
    let config = ClientConfig {
        network,
        bootstraps,
        hops: HOPS_CLIENT_MIN,
        rule: PrefixRule::Distinct,
        stagger: STAGGER_MAX,
        ours: Vec::new(),
        kept: Kept::default(),
        stored: Members::default(),
        witness: false,
    };
    let node = ClientNode::new(config, runtime.entropy().generator(), runtime.clock().now());
    let node = Faulty { node, fault, out: VecDeque::new(), replied: BTreeSet::new(), asked: 0 };
    let shell = ShellConfig::new(network, LinkIdentity::Client);
    let handle = spawn_node(Arc::clone(runtime), node, shell, Box::new(|_, _| StoreResult::Full));
    let places = Locator::of_author(&IdentitySecret::from_bytes(&[7; 32]), b"nothing").unwrap().places();
    let get = move |id| {
        let operation = Operation::RecordGet { places, consistency: Consistency::All, seq_min: 0 };
        ClientCommand::Start { id, operation, timeout: OPERATION_TIMEOUT }
    };
    User::new(async move {
        // All of it: the node ends with any part.
        let (mut handle, mut beat) = (handle, beat());
        handle.commands.send(get(1)).await.unwrap();
        while let Some(event) = handle.events.recv().await {
            match event {
                ClientEvent::Keep(_) => handle.commands.send(ClientCommand::Kept(None)).await.unwrap(),
                ClientEvent::Done { id, .. } => {
                    beat.tick().await;
                    handle.commands.send(get(id + 1)).await.unwrap();
                }
                _ => (),
            }
        }
    })
}

/// Rules whose checks take no deadline of a circuit or a handshake: enough for what a fault must not touch.
const QUICK: [&str; 16] = [
    "LINK-W-003",
    "LINK-W-007",
    "LINK-W-012",
    "LINK-R-011",
    "LINK-R-023",
    "LINK-R-027",
    "CELL-W-001",
    "CELL-R-006",
    "CELL-R-007",
    "MSG-R-018",
    "MSG-W-001",
    "MSG-W-019",
    "LINK-R-049",
    "ONION-R-033",
    "ONION-R-041",
    "ONION-W-014",
];

async fn fails_alone(port: u16, fault: Fault, rules: &[&str]) {
    let runtime = Runtime::start().unwrap();
    let stage = stage(port).await;
    let user = faulty(&runtime, stage.network(), stage.entrances(), fault);
    let found = judged(stage, &QUICK, as_long_as(user)).await;
    assert_eq!(failed(&found), rules, "{fault:?} {found:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_answers_destroys_fails_that_rule_alone() {
    fails_alone(4_502, Fault::AnswersDestroy, &["CELL-R-005", "CELL-R-006"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_hears_what_relays_are_asked_fails_that_rule_alone() {
    fails_alone(4_503, Fault::HearsQuestions, &["MSG-R-018"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_asks_under_numbers_of_the_other_end_fails_that_rule_alone() {
    fails_alone(4_504, Fault::OwnNumbers, &["MSG-W-001"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_asks_a_relay_for_a_value_fails_that_rule_alone() {
    fails_alone(4_505, Fault::AsksToFind, &["MSG-W-019"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_takes_any_credit_fails_that_rule_alone() {
    fails_alone(4_506, Fault::TakesCredit, &["LINK-R-049"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_takes_a_second_reply_fails_that_rule_alone() {
    fails_alone(4_507, Fault::TakesSecondReply, &["ONION-R-033"]).await;
}

fn target(network: Network, entrance: &Contact) -> Target {
    Target { address: entrance.address.0, link_key: entrance.link_key, network }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_probe_with_one_key_for_all_links_and_one_with_a_payload_fail_that_rule_alone() {
    let one_key = stage(4_508).await;
    let to = target(one_key.network(), &one_key.entrances()[0]);
    let dialling = async move {
        let (mut rng, mut beat) = (rng(1), beat());
        let me = Me::client(&mut rng);
        loop {
            beat.tick().await;
            let up = Session::up(&to, &me, None, &mut rng).await;
            drop(up.map(|session| session.hello));
        }
    };
    let found = judged(one_key, &["LINK-W-003", "LINK-W-005", "LINK-W-012", "LINK-W-019"], dialling).await;
    assert_eq!(failed(&found), ["LINK-W-003"], "{found:#?}");

    let with_payload = stage(4_509).await;
    let to = target(with_payload.network(), &with_payload.entrances()[0]);
    let dialling = async move {
        let mut beat = beat();
        for round in 0_u64.. {
            beat.tick().await;
            let mut rng = rng(round);
            let me = Me::client(&mut rng);
            let (_, frame) = Opening::first_with(&to, &me.secret, &[1; crate::link::PAYLOAD1_LEN], &mut rng).unwrap();
            let mut wire = Wire::connect(to.address, None).await.unwrap();
            wire.write(&frame).await.unwrap();
        }
    };
    let found = judged(with_payload, &["LINK-W-007"], dialling).await;
    assert_eq!(failed(&found), ["LINK-W-005", "LINK-W-007"], "{found:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_came_and_a_stop_end_the_run_with_what_there_is() {
    let told = listen(stage(4_510).await, &[], Duration::ZERO, std::future::pending(), &mut rng(1), &mut |_| ()).await;
    assert_eq!(told, None);
    let stage = stage(4_511).await;
    let to = target(stage.network(), &stage.entrances()[0]);
    let (came, stop) = tokio::sync::oneshot::channel::<()>();
    let user = async move {
        let mut rng = rng(1);
        // It goes through the play of another key, and is not seen again.
        let (_, frame) = Opening::first(&to, &Me::client(&mut rng), &mut rng).unwrap();
        let mut wire = Wire::connect(to.address, None).await.unwrap();
        wire.write(&frame).await.unwrap();
        assert!(matches!(wire.frame(PATIENCE).await, Heard::Came(_)));
        drop(wire);
        came.send(()).unwrap();
        std::future::pending::<()>().await;
    };
    let stopped = async { drop(stop.await) };
    let (rules, mut rng, mut tell) = (["LINK-R-023".to_owned()], rng(2), |_: &Finding| ());
    let found = tokio::select! {
        found = listen(stage, &rules, LONG, stopped, &mut rng, &mut tell) => found.unwrap(),
        () = user => panic!("it left"),
    };
    assert!(matches!(&found[..], [Finding { verdict: Verdict::NotSeen(_), .. }]), "{found:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn so_many_links_are_taken_at_once_and_one_more_waits() {
    let stage = Stage::open("[::1]:0".parse().unwrap(), &mut rng(1)).await.unwrap();
    assert_eq!((stage.doors().count(), stage.has_paths()), (1, false));
    let to = target(stage.network(), &stage.entrances()[0]);
    // No rule of a dialler: nothing is played, and it does not end.
    let listening = judged(stage, &["LINK-R-034"], std::future::pending());
    let tried = async {
        let mut rng = rng(3);
        let mut held = Vec::new();
        for _ in 0..CONFORM_GUESTS_MAX {
            held.push(Session::up(&to, &Me::client(&mut rng), None, &mut rng).await.unwrap());
        }
        let (_, frame) = Opening::first(&to, &Me::client(&mut rng), &mut rng).unwrap();
        let mut wire = Wire::connect(to.address, None).await.unwrap();
        wire.write(&frame).await.unwrap();
        assert_eq!(wire.frame(LINK_ANSWER_MAX).await, Heard::Silent);
        held.pop();
        assert!(matches!(wire.frame(PATIENCE).await, Heard::Came(_)));
    };
    tokio::select! {
        _ = listening => panic!("it ended"),
        () = tried => (),
    }
}

#[test]
fn what_comes_to_nothing_is_tried_again_so_often_and_of_what_fails_two_of_three_decide() {
    let board = Board::new(&["LINK-R-028".to_owned()]);
    for _ in 0..CONFORM_LOST_MAX {
        let turn = board.take(Needs::Link).unwrap();
        assert!(board.take(Needs::Link).is_none(), "it is being played");
        board.played(turn, Err(Unproven::NotSeen("it left".to_owned())));
    }
    assert!(board.news().is_empty());
    board.played(board.take(Needs::Link).unwrap(), Err(Unproven::NotSeen("it left".to_owned())));
    assert!(matches!(&board.news()[..], [Finding { verdict: Verdict::NotSeen(_), .. }]));
    assert!(board.take(Needs::Link).is_none() && board.is_done());

    let board = Board::new(&["LINK-R-028".to_owned()]);
    board.played(board.take(Needs::Link).unwrap(), Err(Unproven::Wrong("it stays".to_owned())));
    board.played(board.take(Needs::Link).unwrap(), Ok(()));
    assert!(board.news().is_empty(), "one of two is nothing");
    board.played(board.take(Needs::Link).unwrap(), Err(Unproven::Wrong("it stays".to_owned())));
    assert!(matches!(&board.news()[..], [Finding { verdict: Verdict::Fail(_), .. }]));

    let board = Board::new(&["LINK-R-028".to_owned()]);
    board.played(board.take(Needs::Link).unwrap(), Err(Unproven::Wrong("it stays".to_owned())));
    (0..2).for_each(|_| board.played(board.take(Needs::Link).unwrap(), Ok(())));
    assert!(matches!(&board.news()[..], [Finding { verdict: Verdict::Pass, .. }]));

    let board = Board::new(&["LINK-R-028".to_owned()]);
    board.played(board.take(Needs::Link).unwrap(), Err(Unproven::Wrong("it stays".to_owned())));
    for _ in 0..=CONFORM_LOST_MAX {
        board.played(board.take(Needs::Link).unwrap(), Err(Unproven::NotSeen("it left".to_owned())));
    }
    assert!(matches!(&board.news()[..], [Finding { verdict: Verdict::Fail(_), .. }]), "it never went right");
}

#[tokio::test(flavor = "multi_thread")]
async fn whose_handshake_ends_by_its_deadline_alone_has_not_refused_anything() {
    let stage = stage(4_512).await;
    let to = target(stage.network(), &stage.entrances()[0]);
    let user = async move {
        let mut rng = rng(1);
        loop {
            let (_, frame) = Opening::first(&to, &Me::client(&mut rng), &mut rng).unwrap();
            let mut wire = Wire::connect(to.address, None).await.unwrap();
            wire.write(&frame).await.unwrap();
            assert!(matches!(wire.frame(PATIENCE).await, Heard::Came(_)));
            // Until it is told that the time is over.
            let _ = wire.frame(HANDSHAKE_TIMEOUT).await;
        }
    };
    let found = judged(stage, &["LINK-R-011"], user).await;
    assert_eq!(failed(&found), ["LINK-R-011"]);
}

#[test]
fn so_much_is_remembered_that_must_not_come_twice() {
    let board = Board::new(&[]);
    assert!((0..CONFORM_SEEN_MAX).all(|at| board.is_new(Once::Nonce, &at.to_be_bytes())));
    assert!(!board.is_new(Once::Nonce, &0_usize.to_be_bytes()));
    // Beyond that nothing is.
    assert!(board.is_new(Once::Nonce, &CONFORM_SEEN_MAX.to_be_bytes()));
    assert!(board.is_new(Once::Nonce, &CONFORM_SEEN_MAX.to_be_bytes()));
}

#[test]
fn every_rule_of_a_dialler_is_looked_at_once() {
    let mut seen = BTreeSet::new();
    for (rule, what) in rules() {
        assert!(seen.insert(rule) && !what.is_empty(), "{rule}");
    }
}
