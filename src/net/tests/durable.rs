//! A store that waits for a disk: batches, reads in a lane of their own, the cap of what waits, and a fault in it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc as std_mpsc;
use std::sync::{Mutex, PoisonError};

use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::*;
#[cfg(target_os = "linux")]
use crate::limits::STORE_WRITES_NICE;
use crate::limits::{STORE_BATCH_MAX, STORE_COMMITS_APART, STORE_OPS_MAX, STORE_READS_MAX};
use crate::net::config::AnyStore;
use crate::net::store_lanes::StoreLanes;
use crate::node::machine::DurableStore;
use crate::time::UnixTime;

/// Numbers from here on are reads; this one waits as a batch does.
const READS: u64 = 1_000_000;
/// Whoever asks this meets a fault.
const FAULT: u64 = 666_666;

/// Every batch waits until it is let go.
struct Gate {
    begun: mpsc::Sender<usize>,
    go: Mutex<std_mpsc::Receiver<()>>,
    refused: AtomicU64,
    is_broken: AtomicBool,
}

impl DurableStore<Puppet> for Gate {
    fn is_read(&self, op: &u64) -> bool {
        *op >= READS
    }

    fn read(&self, _: UnixTime, op: u64) -> u64 {
        assert_ne!(op, READS + FAULT);
        if op == READS {
            self.wait(1);
        }
        op
    }

    fn write(&self, _: UnixTime, ops: Vec<u64>) -> Vec<u64> {
        assert!(!ops.contains(&FAULT));
        self.wait(ops.len());
        ops
    }

    fn refused(&self) -> u64 {
        self.refused.fetch_add(1, Ordering::Relaxed);
        REFUSED
    }

    fn on_write_panic(&self) {
        self.is_broken.store(true, Ordering::Relaxed);
    }
}

impl Gate {
    fn wait(&self, len: usize) {
        let _ = self.begun.try_send(len);
        // An error lets all go: the test is over.
        let _ = self.go.lock().unwrap_or_else(PoisonError::into_inner).recv();
    }
}

struct Rig {
    begun: mpsc::Receiver<usize>,
    go: std_mpsc::Sender<()>,
    lanes: StoreLanes<Puppet>,
    results: mpsc::Receiver<(u64, u64)>,
    gate: Arc<Gate>,
    _tasks: JoinSet<()>,
}

fn gate() -> (Arc<Gate>, mpsc::Receiver<usize>, std_mpsc::Sender<()>) {
    let (begun_in, begun) = mpsc::channel(99);
    let (go, go_out) = std_mpsc::channel();
    let (refused, is_broken) = (AtomicU64::new(0), AtomicBool::new(false));
    (Arc::new(Gate { begun: begun_in, go: Mutex::new(go_out), refused, is_broken }), begun, go)
}

fn rig() -> Rig {
    let (gate, begun, go) = gate();
    let (results_in, results) = mpsc::channel(STORE_OPS_MAX);
    let mut tasks = JoinSet::new();
    let store: Arc<dyn DurableStore<Puppet>> = Arc::<Gate>::clone(&gate);
    let lanes = StoreLanes::start(AnyStore::Durable(store), results_in, &mut tasks);
    Rig { begun, go, lanes, results, gate, _tasks: tasks }
}

impl Rig {
    /// Asks what gives its own number.
    fn ask(&mut self, op: u64) {
        self.lanes.ask(op, op);
    }

    async fn begun(&mut self) -> usize {
        patiently(self.begun.recv()).await.unwrap()
    }

    async fn result(&mut self) -> (u64, u64) {
        patiently(self.results.recv()).await.unwrap()
    }
}

#[tokio::test]
async fn what_is_asked_during_a_commit_makes_the_next_batch() {
    let mut rig = rig();
    rig.ask(0);
    assert_eq!(rig.begun().await, 1);
    let more = u64::try_from(STORE_BATCH_MAX).unwrap() + 9;
    (1..=more).for_each(|op| rig.ask(op));
    for expected in [STORE_BATCH_MAX, 9] {
        rig.go.send(()).unwrap();
        assert_eq!(rig.begun().await, expected);
    }
    rig.go.send(()).unwrap();
    for op in 0..=more {
        assert_eq!(rig.result().await, (op, op));
    }
}

#[tokio::test(start_paused = true)]
async fn commits_begin_some_time_from_each_other_but_the_first_after_a_rest_at_once() {
    let mut rig = rig();
    let mut begun_at = Vec::new();
    for op in 0..3 {
        rig.ask(op);
        // Without a bound: while the other thread works, a clock that stands would go on to it at once.
        assert_eq!(rig.begun.recv().await, Some(1));
        begun_at.push(tokio::time::Instant::now());
        rig.go.send(()).unwrap();
        assert_eq!(rig.results.recv().await, Some((op, op)));
    }
    assert!(begun_at.iter().zip(&begun_at[1..]).all(|(one, next)| *next - *one >= STORE_COMMITS_APART));
    tokio::time::advance(STORE_COMMITS_APART).await;
    let asked = tokio::time::Instant::now();
    rig.ask(3);
    // What a runtime with nothing to do would wait for next is much later.
    while rig.begun.try_recv().is_err() {
        tokio::task::yield_now().await;
    }
    assert_eq!(tokio::time::Instant::now(), asked);
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn who_commits_yields_to_all_others() {
    struct Nice(std_mpsc::Sender<i32>);

    impl DurableStore<Puppet> for Nice {
        fn is_read(&self, _: &u64) -> bool {
            false
        }

        fn read(&self, _: UnixTime, op: u64) -> u64 {
            op
        }

        fn write(&self, _: UnixTime, ops: Vec<u64>) -> Vec<u64> {
            self.0.send(rustix::process::getpriority_process(None).unwrap()).unwrap();
            ops
        }

        fn refused(&self) -> u64 {
            REFUSED
        }

        fn on_write_panic(&self) {}
    }

    let own = rustix::process::getpriority_process(None).unwrap();
    let (nice_in, nice) = std_mpsc::channel();
    let (results_in, mut results) = mpsc::channel(1);
    let mut tasks = JoinSet::new();
    let mut lanes = StoreLanes::<Puppet>::start(AnyStore::Durable(Arc::new(Nice(nice_in))), results_in, &mut tasks);
    lanes.ask(1, 1);
    assert_eq!(patiently(results.recv()).await, Some((1, 1)));
    assert_eq!(nice.try_recv(), Ok(STORE_WRITES_NICE));
    assert_eq!(rustix::process::getpriority_process(None).unwrap(), own, "nobody else does");
}

#[tokio::test]
async fn so_many_reads_are_done_in_one_go_and_answered_before_the_next() {
    let mut rig = rig();
    rig.ask(READS);
    assert_eq!(rig.begun().await, 1);
    let max = u64::try_from(STORE_READS_MAX).unwrap();
    (1..max).for_each(|op| rig.ask(READS + op));
    rig.lanes.ask(READS + max, READS);
    rig.go.send(()).unwrap();
    assert_eq!(rig.result().await, (READS, READS));
    assert_eq!(rig.begun().await, 1, "the last of the next go waits");
    assert!(rig.results.try_recv().is_err());
    rig.go.send(()).unwrap();
    for op in 1..max {
        assert_eq!(rig.result().await, (READS + op, READS + op));
    }
    assert_eq!(rig.result().await, (READS + max, READS));
}

#[tokio::test]
async fn behind_a_disk_that_stalls_as_many_writes_wait_as_may_the_others_are_refused_and_reads_go_on() {
    let mut rig = rig();
    rig.ask(0);
    assert_eq!(rig.begun().await, 1);
    let max = u64::try_from(STORE_OPS_MAX).unwrap();
    (1..=max).for_each(|op| rig.ask(op));
    assert!(rig.lanes.poll_refused().is_none());
    rig.ask(max + 1);
    assert_eq!((rig.lanes.poll_refused(), rig.lanes.poll_refused()), (Some((max + 1, REFUSED)), None));
    assert!(rig.lanes.has_room(), "the owner takes inputs all the same");
    rig.ask(READS + 7);
    assert_eq!(rig.result().await, (READS + 7, READS + 7));
    drop(rig.go);
    for op in 0..=max {
        let result = patiently(rig.results.recv()).await.unwrap();
        assert_eq!(result, (op, op));
    }
}

#[tokio::test]
async fn no_more_reads_wait_than_the_cap() {
    let mut rig = rig();
    rig.ask(READS);
    assert_eq!(rig.begun().await, 1);
    let max = u64::try_from(STORE_OPS_MAX).unwrap();
    (1..=max).for_each(|op| rig.ask(READS + op));
    assert!(rig.lanes.poll_refused().is_none());
    rig.ask(READS + max + 1);
    assert_eq!(rig.lanes.poll_refused(), Some((READS + max + 1, REFUSED)));
}

#[tokio::test]
async fn a_fault_in_a_batch_is_answered_and_told_to_the_store_and_both_lanes_go_on() {
    let mut rig = rig();
    rig.ask(FAULT);
    assert_eq!(rig.result().await, (FAULT, REFUSED));
    assert!(rig.gate.is_broken.load(Ordering::Relaxed));
    rig.ask(READS + FAULT);
    assert_eq!(rig.result().await, (READS + FAULT, REFUSED));
    rig.ask(READS + 7);
    assert_eq!(rig.result().await, (READS + 7, READS + 7));
    rig.ask(1);
    assert_eq!(rig.begun().await, 1);
    rig.go.send(()).unwrap();
    assert_eq!(rig.result().await, (1, 1));
}

#[tokio::test]
async fn a_node_whose_disk_stalls_does_all_else_as_before() {
    let (gate, mut begun, go) = gate();
    let runtime = Runtime::with_links_max(4).unwrap();
    let config = ShellConfig::new(network(), LinkIdentity::Client);
    let store: Arc<dyn DurableStore<Puppet>> = Arc::<Gate>::clone(&gate);
    let mut node = spawn_durable_node(runtime, Puppet::default(), config, store);
    let max = u64::try_from(STORE_OPS_MAX).unwrap();
    // Three times what may wait: far more than was ever asked of a disk that answers.
    assert!(node.commands.send(Order::Ops(3 * max)).await.is_ok());
    assert!(patiently(begun.recv()).await.is_some());
    for _ in 0..9 {
        assert!(node.commands.send(Order::TellStored).await.is_ok());
        assert_eq!(patiently(node.events.recv()).await, Some(Told::Stored(0)));
    }
    assert!(gate.refused.load(Ordering::Relaxed) >= max);
    drop(go);
    node.shutdown().await;
}
