//! Values: what is believed is what was signed, or fits its hash, byte for byte; who has the locator reads it, and nobody else; and
//! whatever the order in which stores get records, chunks and deletions, all end with the same.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use bauta::crypto::hash::blake3;
use bauta::dht::store::{MemoryStore, Place, StoreOp, StoreResult};
use bauta::limits::{EXPIRY_MAX_S, EXPIRY_STEP_S};
use bauta::record::{INDICES, Locator, Opened, RecordRefused, VerifiedValue};
use bauta::time::UnixTime;
use bauta::wire::message::Ask;
use bauta::wire::network::Network;
use bauta::wire::payment::Account;
use bauta::wire::record::{ChunkBytes, Expiry, RecordBytes, Value};
use bauta::wire::statement::Nonce;
use rand::SeedableRng;
use rand::rngs::ChaCha20Rng;

use super::relays::{ISSUED, identity, network};
use super::script::Script;

const PICKED_MAX: usize = 24;

/// Values that meet at few places, with what who has the locator reads of them.
pub(super) struct Pool {
    pub(super) values: Vec<VerifiedValue>,
    meant: Vec<Option<Opened>>,
    locators: Vec<Locator>,
}

pub(super) fn pool() -> &'static Pool {
    static POOL: OnceLock<Pool> = OnceLock::new();
    POOL.get_or_init(|| {
        let mut rng = ChaCha20Rng::seed_from_u64(1);
        let mut pool = Pool { values: Vec::new(), meant: Vec::new(), locators: Vec::new() };
        let ends = |steps: u64| Expiry::at_least(UnixTime(ISSUED.0 + steps * EXPIRY_STEP_S));
        for author in 0..2 {
            let secret = identity(author);
            let locator = Locator::of_author(&secret, b"label").expect("a short label");
            for (seq, text) in [(1, None), (1, Some(b"one")), (2, Some(b"two")), (2, Some(b"2nd")), (3, None)] {
                let numbered = (seq, ends(1 + seq % 2));
                for index in INDICES {
                    let sealed = match text {
                        Some(text) => locator.seal(&network(), &secret, index, numbered, text, &mut rng),
                        None => locator.seal_deletion(&network(), &secret, index, numbered, &mut rng),
                    };
                    pool.push(Value::Signed(sealed.expect("short")));
                    pool.meant.push(Some(text.map_or(Opened::Deleted, |text| Opened::Payload(text.to_vec()))));
                }
            }
            pool.locators.push(locator);
        }
        for (content, steps) in [(1, 1), (1, 2), (1, 3), (2, 1), (3, 2)] {
            let bytes = vec![content; 1_500];
            pool.push(Value::Hashed(ChunkBytes { hash: blake3(&[&bytes]), index: 0, expiry: ends(steps), bytes }));
            pool.meant.push(None);
        }
        pool
    })
}

impl Pool {
    fn push(&mut self, value: Value) {
        self.values.push(VerifiedValue::check(&network(), value, ISSUED).expect("a value"));
    }
}

fn held(store: &MemoryStore) -> Vec<VerifiedValue> {
    store.iter().cloned().collect()
}

fn merged(values: &[VerifiedValue]) -> Vec<VerifiedValue> {
    let mut store = MemoryStore::new(1_000, 1 << 20);
    for value in values {
        let kept = store.apply(ISSUED, StoreOp::Put { value: value.clone(), expected: None });
        assert!(!matches!(kept, StoreResult::Full | StoreResult::Failed));
    }
    held(&store)
}

/// A value, changed on its way: nothing but what was signed or hashed is believed.
fn changed(script: &mut Script<'_>, at: usize, fault: bool) {
    let (value, meant) = (&pool().values[at], &pool().meant[at]);
    let ask = |value: &Value| Ask::Store {
        nonce: Nonce([0; 16]),
        expected: None,
        value: value.clone(),
        account: Account::Upkeep,
    };
    let mut bytes = ask(value.value()).encode();
    // Kind of the question, nonce, expected.
    let head = 1 + 16 + 1;
    for _ in 0..script.byte() % 4 {
        script.change(&mut bytes[head..]);
    }
    let now = UnixTime(ISSUED.0 + u64::from(script.byte()) * EXPIRY_STEP_S / 16);
    let Ok(Ask::Store { value: came, .. }) = Ask::decode(&bytes) else { return };
    assert_eq!(ask(&came).encode(), bytes);
    let is_same = came == *value.value();
    let came = if fault { value.value().clone() } else { came };
    let ends = match &came {
        Value::Signed(record) => record.fields().expect("of its length").expiry.time().0,
        Value::Hashed(chunk) => chunk.expiry.time().0,
    };
    // Place and end of a chunk do not stand under its hash.
    let is_chunk = matches!(&came, Value::Hashed(chunk) if blake3(&[&chunk.bytes]) == chunk.hash);
    let checked = VerifiedValue::check(&network(), came.clone(), now);
    let in_time = ends > now.0 && ends <= now.0 + EXPIRY_MAX_S;
    assert_eq!(checked.is_ok(), in_time && (is_same || is_chunk));
    if let (Ok(checked), Value::Signed(record)) = (checked, &came) {
        assert_eq!(checked.location(), value.location());
        let opened: Vec<_> = pool().locators.iter().filter_map(|locator| locator.open(record).ok()).collect();
        assert_eq!(opened, [meant.clone().expect("of a record")]);
        let elsewhere = VerifiedValue::check(&Network::named("elsewhere", 0), came, now);
        assert_eq!(elsewhere.err(), Some(RecordRefused::Forged));
    }
}

/// Checks one input. With `fault`, as it would be where what was changed counts as what was sent.
pub fn check(data: &[u8], fault: bool) {
    let mut script = Script::new(data);
    if let Ok(record) = RecordBytes::new(data) {
        // Nobody signs by chance.
        assert!(VerifiedValue::check(&network(), Value::Signed(record), ISSUED).is_err());
    }
    let at = script.below(pool().values.len());
    changed(&mut script, at, fault);
    let picked = script.byte() % 24;
    let values: Vec<_> = (0..usize::from(picked).min(PICKED_MAX)).map(|_| script.below(pool().values.len())).collect();
    let values: Vec<VerifiedValue> = values.into_iter().map(|at| pool().values[at].clone()).collect();
    let mut shuffled = values.clone();
    for at in 1..shuffled.len() {
        shuffled.swap(at, script.below(at + 1));
    }
    let mut best: BTreeMap<Place, VerifiedValue> = BTreeMap::new();
    for value in &values {
        let place = (value.kind(), value.location());
        let beats = best.get(&place).is_none_or(|held| (value.seq(), value.digest()) > (held.seq(), held.digest()));
        if beats {
            best.insert(place, value.clone());
        }
    }
    let best: Vec<_> = best.into_values().collect();
    assert_eq!((merged(&values), merged(&shuffled)), (best.clone(), best));
}
