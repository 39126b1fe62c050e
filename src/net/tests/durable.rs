//! A store that waits for a disk: batches, reads beside them, the cap of what waits.

use std::sync::mpsc as std_mpsc;
use std::sync::{Mutex, PoisonError};

use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::*;
use crate::limits::{STORE_BATCH_MAX, STORE_OPS_MAX, STORE_READS_MAX};
use crate::net::store_task::serve_durable;
use crate::node::machine::DurableStore;
use crate::time::UnixTime;

/// Numbers from here on are reads; this one waits as a batch does.
const READS: u64 = 1_000_000;

/// Every batch waits until it is let go.
struct Gate {
    begun: mpsc::Sender<usize>,
    go: Mutex<std_mpsc::Receiver<()>>,
}

impl DurableStore<Puppet> for Gate {
    fn is_read(&self, op: &u64) -> bool {
        *op >= READS
    }

    fn read(&self, _: UnixTime, op: u64) -> u64 {
        if op == READS {
            self.wait(1);
        }
        op
    }

    fn write(&self, _: UnixTime, ops: Vec<u64>) -> Vec<u64> {
        self.wait(ops.len());
        ops
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
    ops: mpsc::Sender<(u64, u64)>,
    results: mpsc::Receiver<(u64, u64)>,
    _tasks: JoinSet<()>,
}

fn rig() -> Rig {
    let (begun_in, begun) = mpsc::channel(99);
    let (go, go_out) = std_mpsc::channel();
    let (ops, ops_out) = mpsc::channel(1);
    let (results_in, results) = mpsc::channel(STORE_OPS_MAX);
    let mut tasks = JoinSet::new();
    let store = Arc::new(Gate { begun: begun_in, go: Mutex::new(go_out) });
    tasks.spawn(serve_durable::<Puppet>(store, ops_out, results_in));
    Rig { begun, go, ops, results, _tasks: tasks }
}

#[tokio::test]
async fn what_is_asked_during_a_commit_makes_the_next_batch_and_reads_do_not_wait() {
    let mut rig = rig();
    rig.ops.send((0, 0)).await.unwrap();
    assert_eq!(timeout(PATIENCE, rig.begun.recv()).await.unwrap(), Some(1));
    let more = u64::try_from(STORE_BATCH_MAX).unwrap() + 9;
    for id in 1..=more {
        rig.ops.send((id, id)).await.unwrap();
    }
    let read = READS + 1;
    rig.ops.send((read, read)).await.unwrap();
    assert_eq!(timeout(PATIENCE, rig.results.recv()).await.unwrap(), Some((read, read)), "nothing is committed yet");
    for expected in [Some(STORE_BATCH_MAX), Some(9)] {
        rig.go.send(()).unwrap();
        assert_eq!(timeout(PATIENCE, rig.begun.recv()).await.unwrap(), expected);
    }
    rig.go.send(()).unwrap();
    for id in 0..=more {
        assert_eq!(timeout(PATIENCE, rig.results.recv()).await.unwrap(), Some((id, id)));
    }
}

#[tokio::test]
async fn so_many_reads_are_done_in_one_go_and_answered_before_the_next() {
    let mut rig = rig();
    rig.ops.send((0, READS)).await.unwrap();
    assert_eq!(timeout(PATIENCE, rig.begun.recv()).await.unwrap(), Some(1));
    let max = u64::try_from(STORE_READS_MAX).unwrap();
    for id in 1..=max {
        rig.ops.send((id, READS + id)).await.unwrap();
    }
    rig.ops.send((max + 1, READS)).await.unwrap();
    // Taken by the time that the channel has room again for one more, which is a write.
    rig.ops.send((max + 2, 1)).await.unwrap();
    rig.go.send(()).unwrap();
    for id in 0..=max {
        assert_eq!(timeout(PATIENCE, rig.results.recv()).await.unwrap(), Some((id, READS + id)));
    }
}

#[tokio::test]
async fn no_more_operations_wait_for_a_disk_than_the_cap() {
    let mut rig = rig();
    rig.ops.send((0, 0)).await.unwrap();
    assert_eq!(timeout(PATIENCE, rig.begun.recv()).await.unwrap(), Some(1));
    let max = u64::try_from(STORE_OPS_MAX).unwrap();
    for id in 1..=max + 1 {
        timeout(PATIENCE, rig.ops.send((id, id))).await.unwrap().unwrap();
    }
    for _ in 0..99 {
        tokio::task::yield_now().await;
    }
    assert!(rig.ops.try_send((max + 2, 0)).is_err(), "as many wait as may, and one in the channel");
    drop(rig.go);
    for id in 0..=max + 1 {
        assert_eq!(timeout(PATIENCE, rig.results.recv()).await.unwrap(), Some((id, id)));
    }
}
