//! A real relay passes whole; a relay with one fault fails exactly the rules that the fault breaks.

use std::collections::{BTreeSet, VecDeque};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use rand::SeedableRng;
use rand::rngs::ChaCha20Rng;
use tokio::sync::Barrier;

use super::*;
use crate::crypto::keys::DhSecret;
use crate::dht::store::{StoreOp, StoreResult};
use crate::net::Runtime;
use crate::node::Relay;
use crate::node::io::{Input, LinkId, Output};
use crate::node::machine::{Machine, MachineInput, MachineOutput, Puzzles};
use crate::time::{Instant, Now};
use crate::wire::cell::{Cell, CircuitId, Command};
use crate::wire::message::{Answer, Ask, cells_of};
use crate::wire::network::Network;

/// What a relay does wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fault {
    None,
    /// It answers a Destroy by one.
    AnswersDestroy,
    /// It takes questions under numbers of its own end.
    TakesOwnNumbers,
    /// It sends clients who ask for what is not theirs an empty page.
    ServesClients,
    /// It promises more behind an empty page, in answer to a sign of life.
    PromisesMore,
    /// It says nothing of a build packet that it cannot open.
    SilentBuilds,
    /// It signs with a bit that is wrong.
    ForgesStatements,
}

struct Faulty {
    relay: Relay,
    fault: Fault,
    out: VecDeque<MachineOutput<Self>>,
    /// The link whose end is forgiven.
    forgiven: Option<LinkId>,
    /// Circuits that were built.
    built: BTreeSet<(LinkId, CircuitId)>,
    /// Questions for a sign of life that are open.
    life: BTreeSet<(LinkId, CircuitId)>,
}

const DIALLER_BIT: u32 = 1 << 31;

fn node<M: Machine>(output: Output) -> MachineOutput<M> {
    MachineOutput::Node(output)
}

impl Faulty {
    fn note(&mut self, input: &MachineInput<Self>) -> bool {
        let MachineInput::Node(Input::Cell { link, cell }) = input else { return true };
        let (command, number) = (cell.command(), cell.circuit());
        match self.fault {
            Fault::AnswersDestroy if command == Command::Build => {
                self.built.insert((*link, number));
            }
            Fault::AnswersDestroy if command == Command::Destroy && self.built.remove(&(*link, number)) => {
                self.out.push_back(node(Output::Send { link: *link, cell: Cell::new(number, Command::Destroy) }));
            }
            // Its own number, in an odd link: whoever dialled it asks.
            Fault::TakesOwnNumbers if command == Command::Ask && number.0 & DIALLER_BIT == 0 => return false,
            Fault::PromisesMore if command == Command::Ask => {
                let sign = Ask::sign_of_life().encode();
                if cell.body().get(4..4 + sign.len()) == Some(&sign[..]) {
                    self.life.insert((*link, number));
                }
            }
            _ => (),
        }
        true
    }

    fn drain(&mut self) {
        while let Some(output) = Machine::poll_output(&mut self.relay) {
            let output = match output {
                MachineOutput::Node(output) => match self.tampered(output) {
                    Some(output) => MachineOutput::Node(output),
                    None => continue,
                },
                MachineOutput::Store { id, op } => MachineOutput::Store { id, op },
                MachineOutput::Work { id, job } => MachineOutput::Work { id, job },
                MachineOutput::Event(event) => MachineOutput::Event(event),
            };
            self.out.push_back(output);
        }
    }

    fn tampered(&mut self, output: Output) -> Option<Output> {
        let Output::Send { link, cell } = output else { return Some(output) };
        let is_answer = cell.command() == Command::Answer;
        let replaced = |answer: &Answer| {
            let cells = cells_of(cell.circuit(), Command::Answer, &answer.encode()).unwrap();
            Some(Output::Send { link, cell: cells.into_iter().next().unwrap() })
        };
        let kind = cell.body()[4];
        match self.fault {
            Fault::ServesClients if is_answer && kind == 0 && cell.body()[..4] == [0, 0, 0, 1] => {
                replaced(&Answer::Members { descriptors: Vec::new(), more: false, settled: true })
            }
            Fault::PromisesMore if is_answer && self.life.remove(&(link, cell.circuit())) => {
                replaced(&Answer::Members { descriptors: Vec::new(), more: true, settled: true })
            }
            Fault::SilentBuilds if cell.command() == Command::Destroy && self.forgiven == Some(link) => None,
            Fault::ForgesStatements if is_answer && (kind == 1 || kind == 2) => {
                let mut cell = cell;
                // In the signature, behind length, kind and the rest of the statement.
                cell.body_mut()[4 + 1 + 100] ^= 1;
                Some(Output::Send { link, cell })
            }
            _ => Some(Output::Send { link, cell }),
        }
    }
}

impl Machine for Faulty {
    type Command = <Relay as Machine>::Command;
    type Event = <Relay as Machine>::Event;
    type Job = <Relay as Machine>::Job;
    type Done = <Relay as Machine>::Done;
    type StoreOp = StoreOp;
    type StoreResult = StoreResult;

    fn handle(&mut self, now: Now, input: MachineInput<Self>) {
        if !self.note(&input) {
            return;
        }
        if let (Fault::SilentBuilds, MachineInput::Node(Input::Cell { link, cell })) = (self.fault, &input) {
            // A build packet of another suite is refused at once.
            self.forgiven = (cell.command() == Command::Build && cell.suite() != 1).then_some(*link);
        }
        let input = match input {
            MachineInput::Node(input) => MachineInput::Node(input),
            MachineInput::Stored { id, result } => MachineInput::Stored { id, result },
            MachineInput::Worked { id, done } => MachineInput::Worked { id, done },
            MachineInput::Command(command) => MachineInput::Command(command),
        };
        Machine::handle(&mut self.relay, now, input);
        self.drain();
    }

    fn poll_output(&mut self) -> Option<MachineOutput<Self>> {
        self.drain();
        self.out.pop_front()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        Machine::poll_timeout(&self.relay)
    }

    fn is_short(job: &Self::Job) -> bool {
        <Relay as Machine>::is_short(job)
    }

    fn run_job(job: Self::Job, rng: &mut dyn CryptoRng, puzzles: &dyn Puzzles) -> Self::Done {
        <Relay as Machine>::run_job(job, rng, puzzles)
    }
}

/// A relay alone in its network, on 127.`net`.0.1.
struct Alone(crate::probe::tests::Alone<Faulty>);

impl Alone {
    async fn start(runtime: &Arc<Runtime>, net: u8, fault: Fault) -> Self {
        let faulty = |relay| Faulty {
            relay,
            fault,
            out: VecDeque::new(),
            forgiven: None,
            built: BTreeSet::new(),
            life: BTreeSet::new(),
        };
        Self(crate::probe::tests::Alone::start_as(runtime, net, faulty).await)
    }

    /// Rules that failed, and all verdicts for whoever reads a failed test.
    async fn failed(&self, only: &[&str]) -> (Vec<&'static str>, Vec<Finding>) {
        let only: Vec<String> = only.iter().map(|rule| (*rule).to_owned()).collect();
        let mut rng = ChaCha20Rng::seed_from_u64(9);
        let checks = Check::of(&only).collect();
        let found = conform(self.0.target, None, checks, &mut rng, &mut |_: &Finding| ()).await.unwrap();
        let failed = found.iter().filter(|finding| finding.verdict != Verdict::Pass);
        (failed.flat_map(|finding| finding.rules).copied().collect(), found)
    }
}

/// Rules whose checks take no deadline of half a minute: enough for what a fault must not touch.
const QUICK: [&str; 18] = [
    "CELL-R-002",
    "CELL-R-004",
    "CELL-R-006",
    "CELL-R-007",
    "CELL-R-008",
    "LINK-R-015",
    "LINK-R-023",
    "LINK-R-027",
    "LINK-R-028",
    "MSG-R-002",
    "MSG-R-008",
    "MSG-R-021",
    "MSG-R-022",
    "MSG-R-027",
    "MSG-R-028",
    "ONION-R-023",
    "ONION-R-026",
    "REQ-R-004",
];

#[tokio::test(flavor = "multi_thread")]
async fn a_real_relay_passes_whole() {
    let runtime = Runtime::start().unwrap();
    let alone = Alone::start(&runtime, 81, Fault::None).await;
    let (failed, found) = alone.failed(&[]).await;
    assert_eq!(failed, [""; 0], "{found:#?}");
    assert_eq!(found.len(), CHECKS.len());
}

/// Each fault in a test of its own, so that they run beside each other: a failed check waits for what does not come.
async fn fails_alone(net: u8, fault: Fault, rules: &[&str]) {
    let runtime = Runtime::start().unwrap();
    let alone = Alone::start(&runtime, net, fault).await;
    let (failed, found) = alone.failed(&QUICK).await;
    assert_eq!(failed, rules, "{fault:?} {found:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_answers_destroys_fails_that_rule_alone() {
    fails_alone(82, Fault::AnswersDestroy, &["CELL-R-006"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_takes_numbers_of_its_own_end_fails_that_rule_alone() {
    fails_alone(83, Fault::TakesOwnNumbers, &["MSG-R-002"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_serves_clients_what_is_not_theirs_fails_that_rule_alone() {
    fails_alone(84, Fault::ServesClients, &["MSG-R-021"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_promises_more_behind_an_empty_page_fails_that_rule_alone() {
    fails_alone(85, Fault::PromisesMore, &["MSG-R-028"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_says_nothing_of_a_packet_of_another_suite_fails_that_rule_alone() {
    fails_alone(86, Fault::SilentBuilds, &["ONION-R-023", "VER-R-005"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_whose_statements_do_not_hold_fails_that_rule_alone() {
    fails_alone(87, Fault::ForgesStatements, &["MSG-R-022"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_no_relay_of_the_network_is_not_checked() {
    let runtime = Runtime::start().unwrap();
    let alone = Alone::start(&runtime, 90, Fault::None).await;
    let other = Target { link_key: DhSecret::generate(&mut ChaCha20Rng::seed_from_u64(1)).public(), ..alone.0.target };
    let mut rng = ChaCha20Rng::seed_from_u64(2);
    let begun = conform(other, None, Check::of(&[]).collect(), &mut rng, &mut |_: &Finding| ()).await;
    assert!(matches!(begun, Err(NotBegun::NotUp(NotUp::Unanswered))));
}

#[tokio::test(start_paused = true)]
async fn a_check_that_does_not_end_has_failed() {
    let mut rng = ChaCha20Rng::seed_from_u64(3);
    let network = Network::named("checked", 0);
    let now = Now { instant: Instant::ZERO, unix: Clock::unix() };
    let relay = Me::relay(&network, ([127, 0, 0, 1], 1).into(), now, &mut rng).unwrap().relay.unwrap();
    let target = Target { address: ([127, 0, 0, 1], 1).into(), link_key: relay.descriptor.link_key, network };
    let mut bench = Bench::new((target, None), relay.descriptor, 0, &mut rng);
    let endless = Check { rules: &["-"], what: "nothing", run: |_| Box::pin(std::future::pending()) };
    let finding = endless.judge(&mut bench).await;
    assert_eq!(finding.verdict, Verdict::Fail("it took longer than 60 s".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn as_many_checks_run_at_once_as_may_and_no_more() {
    static RUNNING: AtomicUsize = AtomicUsize::new(0);
    static MOST: AtomicUsize = AtomicUsize::new(0);
    static TOGETHER: LazyLock<Barrier> = LazyLock::new(|| Barrier::new(CONFORM_AT_ONCE));
    static COUNTED: Check = Check {
        rules: &["-"],
        what: "how many run",
        run: |_| {
            Box::pin(async {
                MOST.fetch_max(RUNNING.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                TOGETHER.wait().await;
                RUNNING.fetch_sub(1, Ordering::SeqCst);
                Ok(())
            })
        },
    };
    let runtime = Runtime::start().unwrap();
    let alone = Alone::start(&runtime, 91, Fault::None).await;
    let mut rng = ChaCha20Rng::seed_from_u64(4);
    let checks = vec![&COUNTED; 3 * CONFORM_AT_ONCE];
    let found = conform(alone.0.target, None, checks, &mut rng, &mut |_: &Finding| ()).await.unwrap();
    assert!(found.iter().all(|finding| finding.verdict == Verdict::Pass));
    assert_eq!(MOST.load(Ordering::SeqCst), CONFORM_AT_ONCE);
}

#[test]
fn every_rule_that_is_checked_stands_in_the_specification() {
    let pages = [
        ("CELL", include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/spec/cells.md"))),
        ("LINK", include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/spec/link.md"))),
        ("MSG", include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/spec/messages.md"))),
        ("MEMB", include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/spec/membership.md"))),
        ("ONION", include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/spec/onion.md"))),
        ("REQ", include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/spec/requests.md"))),
        ("VER", include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/spec/versions.md"))),
    ];
    for rule in CHECKS.iter().flat_map(|check| check.rules) {
        let (prefix, _) = rule.split_once('-').unwrap();
        let (_, page) = pages.iter().find(|(name, _)| *name == prefix).unwrap();
        assert!(page.contains(&format!("[{rule}] ")), "{rule}");
    }
}

#[test]
fn links_come_from_the_address_that_was_given_where_there_are_no_networks_to_come_from() {
    let link_key = DhSecret::generate(&mut ChaCha20Rng::seed_from_u64(1)).public();
    let target = |address: &str| Target {
        address: address.parse().unwrap(),
        link_key,
        network: crate::wire::network::Network::named("checked", 0),
    };
    let own = crate::membership::fixture::relay(1);
    for (address, bind) in [("192.0.2.7:4433", Some([192, 0, 2, 9].into())), ("192.0.2.7:4433", None)] {
        let mut rng = ChaCha20Rng::seed_from_u64(1);
        let mut bench = Bench::new((target(address), bind), own.clone(), 3, &mut rng);
        assert_eq!((Bench::first_source(&target(address), bind), bench.source()), (bind, bind));
        assert_eq!(bench.fresh_source(), None);
    }
}

#[test]
fn every_check_names_rules_and_no_rule_is_checked_twice() {
    let mut rules = BTreeSet::new();
    for check in CHECKS {
        assert!(!check.rules.is_empty() && !check.what.is_empty());
        check.rules.iter().for_each(|rule| assert!(rules.insert(*rule), "{rule}"));
    }
    assert_eq!(Check::of(&["MSG-R-028".to_owned()]).count(), 1);
    assert_eq!(Check::of(&[]).count(), CHECKS.len());
}
