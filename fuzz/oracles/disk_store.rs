//! The store in a file against the one in memory, on a disk that fills up, loses what was not synced when the power goes, and rots: both answer
//! the same; after a crash at any write, what was acknowledged is there; nothing is served that was damaged.

use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use bauta::dht::store::{MemoryStore, Quota, StoreKey, StoreOp, StoreResult};
use bauta::disk::{StateError, ValueStore};
use bauta::limits::{EXPIRY_STEP_S, RECORD_LEN, STORE_RETRY_S};
use bauta::record::VerifiedValue;
use bauta::time::UnixTime;
use bauta::wire::record::Value;
use rand::SeedableRng;
use rand::rngs::ChaCha20Rng;
use redb::StorageBackend;

use super::relays::{ISSUED, network};
use super::script::Script;
use super::values::pool;

const STEPS_MAX: usize = 24;
/// Bytes by which a value is found on the disk.
const NEEDLE_LEN: usize = 32;

#[derive(Clone)]
enum Change {
    Len(usize),
    Write(usize, Vec<u8>),
    Sync,
}

#[derive(Default)]
struct Platter {
    bytes: Vec<u8>,
    log: Vec<Change>,
    /// Changes that it takes before it is full; for ever, when `None`.
    left: Option<usize>,
}

/// The same disk each time that it is opened.
#[derive(Clone, Default)]
struct Disk(Arc<Mutex<Platter>>);

impl Platter {
    fn put(&mut self, change: &Change) {
        match change {
            Change::Len(len) => self.bytes.resize(*len, 0),
            Change::Write(at, data) => {
                let end = at + data.len();
                self.bytes.resize(self.bytes.len().max(end), 0);
                self.bytes[*at..end].copy_from_slice(data);
            }
            Change::Sync => (),
        }
        self.log.push(change.clone());
    }
}

impl Disk {
    fn with<T>(&self, what: impl FnOnce(&mut Platter) -> T) -> T {
        what(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn change(&self, change: Change) -> io::Result<()> {
        self.with(|platter| {
            if let Some(left) = &mut platter.left {
                *left = left.checked_sub(1).ok_or_else(|| io::Error::from(io::ErrorKind::StorageFull))?;
            }
            platter.put(&change);
            Ok(())
        })
    }

    /// As it is found when the power went after so many changes: what was synced is there, of what came after some.
    fn after_power_cut(&self, changes: usize, lost: u8) -> Self {
        let log = self.with(|platter| platter.log[..changes].to_vec());
        let synced = log.iter().rposition(|one| matches!(one, Change::Sync)).map_or(0, |at| at + 1);
        let disk = Self::default();
        for (at, change) in log.iter().enumerate() {
            let is_lost = at >= synced && lost >> ((at - synced) % 8) & 1 != 0 && matches!(change, Change::Write(..));
            if !is_lost {
                disk.with(|platter| platter.put(change));
            }
        }
        disk
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.with(|platter| u64::try_from(platter.bytes.len()).expect("small")))
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let at = usize::try_from(offset).expect("small");
        self.with(|platter| {
            let from = platter.bytes.get(at..at + out.len());
            out.copy_from_slice(from.ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))?);
            Ok(())
        })
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.change(Change::Len(usize::try_from(len).expect("small")))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.change(Change::Sync)
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.change(Change::Write(usize::try_from(offset).expect("small"), data.to_vec()))
    }
}

impl fmt::Debug for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Disk(..)")
    }
}

struct Rig {
    disk: Disk,
    store: Option<ValueStore>,
    max: (usize, usize),
    now: UnixTime,
    /// Operations that changed something, with how many changes the disk had when each was acknowledged.
    done: Vec<(UnixTime, StoreOp, usize)>,
    is_full: bool,
}

fn key_source() -> ChaCha20Rng {
    ChaCha20Rng::seed_from_u64(4)
}

impl Rig {
    fn new(max: (usize, usize)) -> Self {
        let mut rig = Self { disk: Disk::default(), store: None, max, now: ISSUED, done: Vec::new(), is_full: false };
        rig.open().expect("a disk that works");
        rig
    }

    fn open(&mut self) -> Result<(), StateError> {
        // Closed first: closing writes too.
        self.store = None;
        let disk = self.disk.clone();
        let quota = |number: usize| u64::try_from(number).expect("small");
        let max = Quota { values: quota(self.max.0), bytes: quota(self.max.1) };
        self.store = Some(ValueStore::open_with(move || disk.clone(), network(), max, &mut key_source())?);
        Ok(())
    }

    fn apply(&self, op: StoreOp) -> StoreResult {
        self.store.as_ref().expect("open").apply(self.now, op)
    }

    /// A store in memory after so many of the operations.
    fn memory(&self, operations: usize) -> MemoryStore {
        let key = StoreKey::generate(&mut key_source());
        let mut store = MemoryStore::new(self.max.0, self.max.1).keyed(key);
        for (now, op, _) in &self.done[..operations] {
            store.apply(*now, op.clone());
        }
        store
    }

    /// What is served of each place that the pool has values for.
    fn served(&self) -> Vec<Option<VerifiedValue>> {
        let get =
            |value: &VerifiedValue| match self.apply(StoreOp::Get { kind: value.kind(), location: value.location() }) {
                StoreResult::Value(held) => held,
                other => panic!("{other:?}"),
            };
        pool().values.iter().map(get).collect()
    }

    fn is_as(&self, memory: &mut MemoryStore) -> bool {
        let mut held = |value: &VerifiedValue| {
            memory.apply(self.now, StoreOp::Get { kind: value.kind(), location: value.location() })
        };
        let expected: Vec<StoreResult> = pool().values.iter().map(&mut held).collect();
        self.served().into_iter().map(StoreResult::Value).eq(expected)
    }

    fn write(&mut self, op: StoreOp) {
        let mut memory = self.memory(self.done.len());
        let expected = memory.apply(self.now, op.clone());
        let came = self.apply(op.clone());
        let changes = self.disk.with(|platter| platter.log.len());
        if came == StoreResult::Failed {
            assert!(self.is_full, "a disk that works refuses nothing");
            // It may have come to the disk before the last word was lost.
            if !self.is_as(&mut self.memory(self.done.len())) {
                self.done.push((self.now, op, changes));
            }
        } else {
            assert_eq!(came, expected);
            self.done.push((self.now, op, changes));
        }
        assert!(self.is_as(&mut self.memory(self.done.len())));
    }

    /// The power goes `back` changes ago.
    fn crash(&mut self, back: usize, lost: u8, fault: bool) {
        self.store = None;
        let changes = self.disk.with(|platter| platter.log.len());
        // Of a file that was only half made nothing is ever opened: it is made beside.
        let made = self.done.first().map_or(changes, |(.., at)| *at);
        let at = changes.saturating_sub(back).max(made);
        let acknowledged = self.done.iter().take_while(|(.., known)| *known <= at).count();
        self.disk = self.disk.after_power_cut(at, lost);
        self.is_full = false;
        self.open().expect("it opens after a crash at any write");
        let acknowledged = acknowledged + usize::from(fault && acknowledged < self.done.len());
        let after = (acknowledged..=self.done.len()).take(2);
        let found = after.into_iter().find(|count| self.is_as(&mut self.memory(*count)));
        let found = found.expect("what was acknowledged is there, and nothing half");
        self.done.truncate(found);
        let (log, done) = (self.disk.with(|platter| platter.log.len()), self.done.len());
        self.done.iter_mut().take(done).for_each(|(.., at)| *at = log);
    }

    /// A bit of a value turns, wherever it stands on the disk. It is not served any more, and all others are what was kept.
    fn rot(mut self, script: &mut Script<'_>) {
        self.store = None;
        let victim = &pool().values[script.below(pool().values.len())];
        let needle = match victim.value() {
            Value::Signed(record) => record.0[RECORD_LEN - NEEDLE_LEN..].to_vec(),
            Value::Hashed(chunk) => chunk.bytes[..NEEDLE_LEN].to_vec(),
        };
        let (at, bit) = (script.below(NEEDLE_LEN), 1 << (script.byte() % 8));
        self.disk.with(|platter| {
            let len = platter.bytes.len().saturating_sub(NEEDLE_LEN);
            let stands: Vec<usize> = (0..len).filter(|start| platter.bytes[*start..].starts_with(&needle)).collect();
            stands.into_iter().for_each(|start| platter.bytes[start + at] ^= bit);
        });
        // The database may see it itself.
        if self.open().is_err() {
            return;
        }
        let kept = self.memory(self.done.len());
        for value in &pool().values {
            let served = self.apply(StoreOp::Get { kind: value.kind(), location: value.location() });
            if let StoreResult::Value(Some(served)) = served {
                assert!(kept.iter().any(|kept| *kept == served), "something that was never kept is served");
            }
        }
    }
}

/// Checks one input. With `fault`, as it would be over a disk that acknowledges one write too early.
pub fn check(data: &[u8], fault: bool) {
    let mut script = Script::new(data);
    let mut rig = Rig::new((1 + script.below(24), (2 + script.below(24)) * RECORD_LEN));
    for _ in 0..STEPS_MAX {
        if script.is_over() {
            break;
        }
        let op = script.byte();
        match op % 16 {
            0..=8 => {
                let value = pool().values[script.below(pool().values.len())].clone();
                let expected = (op & 0x80 != 0).then(|| value.seq().saturating_sub(u64::from(op >> 5 & 3)));
                rig.write(StoreOp::Put { value, expected });
            }
            9 => {
                rig.now = UnixTime(rig.now.0 + u64::from(op >> 4) * EXPIRY_STEP_S / 16);
                let now = rig.now;
                rig.write(StoreOp::Expire { now });
            }
            10 if !rig.is_full => rig.open().expect("a disk that works"),
            11 => {
                let left = usize::from(script.byte());
                rig.disk.with(|platter| platter.left = Some(left));
                rig.is_full = true;
            }
            12 | 13 => {
                rig.disk.with(|platter| platter.left = None);
                rig.now = UnixTime(rig.now.0 + STORE_RETRY_S);
                // What failed before is tried again with the next write, which shall find that it works.
                let now = rig.now;
                rig.write(StoreOp::Expire { now });
                rig.is_full = false;
            }
            14 => rig.crash(usize::from(op >> 4) * usize::from(script.byte() % 8), script.byte(), fault),
            15 if op & 0x80 != 0 => return rig.rot(&mut script),
            _ => assert!(rig.is_as(&mut rig.memory(rig.done.len()))),
        }
    }
}
