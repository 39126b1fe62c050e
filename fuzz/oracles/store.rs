//! The store in memory against a model: what is newer replaces, what was not expected conflicts, what is over is freed, a full store gives up
//! values for one of a better claim or none at all, pages show everything once, and neither cap is ever passed.

use std::collections::BTreeMap;

use bauta::dht::store::{Holding, MemoryStore, Place, Quota, StoreOp, StoreResult, room_of};
use bauta::limits::{EXPIRY_STEP_S, RECORD_LEN};
use bauta::record::VerifiedValue;
use bauta::time::UnixTime;
use bauta::wire::record::ValueKind;

use super::relays::ISSUED;
use super::script::Script;
use super::values::pool;

const STEPS_MAX: usize = 256;

struct Model {
    held: BTreeMap<Place, VerifiedValue>,
    values_max: usize,
    bytes_max: usize,
}

fn place(value: &VerifiedValue) -> Place {
    (value.kind(), value.location())
}

impl Model {
    fn bytes(&self) -> usize {
        self.held.values().map(room_of).sum()
    }

    /// What a put has to come to; `None`: it is kept or there is no room, as the store's lottery has it.
    fn put(&self, value: &VerifiedValue, expected: Option<u64>) -> Option<StoreResult> {
        let Some(held) = self.held.get(&place(value)) else {
            let fits = self.held.len() < self.values_max && self.bytes() + room_of(value) <= self.bytes_max;
            return fits.then_some(StoreResult::Kept);
        };
        let conflict = StoreResult::Conflict { seq: held.seq(), digest: held.digest() };
        Some(match value.kind() {
            _ if value == held => StoreResult::Kept,
            // At one place of hashed values there is one chunk.
            ValueKind::Hashed if value.expiry() < held.expiry() => StoreResult::KeptLonger { until: held.expiry() },
            ValueKind::Hashed => StoreResult::Kept,
            ValueKind::Signed if expected.is_some_and(|expected| held.seq() > expected) => conflict,
            ValueKind::Signed if (value.seq(), value.digest()) < (held.seq(), held.digest()) => conflict,
            ValueKind::Signed => StoreResult::Kept,
        })
    }

    fn expire(&mut self, now: UnixTime) {
        self.held.retain(|_, value| value.expiry().time() > now);
    }

    /// After a newcomer took the place of others: it is there, nobody came with it, and nobody went while there was room.
    fn kept(&mut self, value: &VerifiedValue, store: &MemoryStore) {
        let had_room = self.put(value, None).is_some();
        let before = self.held.len();
        self.held.insert(place(value), value.clone());
        let now: BTreeMap<Place, VerifiedValue> = store.iter().map(|value| (place(value), value.clone())).collect();
        assert!(
            now.contains_key(&place(value)) && now.iter().all(|(place, value)| self.held.get(place) == Some(value))
        );
        assert!(!had_room || now.len() == self.held.len());
        assert!(had_room || now.len() <= before);
        self.held = now;
    }
}

/// Checks one input. With `fault`, as it would be over a store that forgets what was expected.
pub fn check(data: &[u8], fault: bool) {
    let (mut script, mut now) = (Script::new(data), ISSUED);
    let (values_max, bytes_max) = (1 + script.below(40), (1 + script.below(40)) * RECORD_LEN);
    let mut store = MemoryStore::new(values_max, bytes_max);
    let mut model = Model { held: BTreeMap::new(), values_max, bytes_max };
    for _ in 0..STEPS_MAX {
        if script.is_over() {
            break;
        }
        let (op, value) = (script.byte(), pool().values[script.below(pool().values.len())].clone());
        match op % 8 {
            0..=4 => {
                let expected = (op & 0x80 != 0).then(|| value.seq().saturating_sub(u64::from(op >> 4 & 3)));
                model.expire(now);
                let asked = StoreOp::Put { value: value.clone(), expected: expected.filter(|_| !fault) };
                let result = store.apply(now, asked);
                let awaited =
                    if value.expiry().time() <= now { Some(StoreResult::Full) } else { model.put(&value, expected) };
                match awaited {
                    Some(awaited) => assert_eq!(result, awaited),
                    None => assert!(matches!(result, StoreResult::Kept | StoreResult::Full)),
                }
                if result == StoreResult::Kept {
                    model.kept(&value, &store);
                }
            }
            5 => {
                let (kind, location) = place(&value);
                model.expire(now);
                let held = model.held.get(&(kind, location)).cloned();
                assert_eq!(store.apply(now, StoreOp::Get { kind, location }), StoreResult::Value(held));
            }
            6 => {
                now = UnixTime(now.0 + u64::from(op >> 3) * EXPIRY_STEP_S / 32);
                model.expire(now);
                let StoreResult::Filled { held, max } = store.apply(now, StoreOp::Expire { now }) else {
                    panic!("how full")
                };
                let quota = |values: usize, bytes: usize| Quota {
                    values: u64::try_from(values).expect("small"),
                    bytes: u64::try_from(bytes).expect("small"),
                };
                assert_eq!((held, max), (quota(model.held.len(), model.bytes()), quota(values_max, bytes_max)));
            }
            _ => {
                model.expire(now);
                let (mut after, mut shown, page_max) = (None, Vec::new(), 1 + script.below(8));
                loop {
                    let asked = StoreOp::Places { after, max: page_max };
                    let StoreResult::Places(page) = store.apply(now, asked) else { panic!("a page") };
                    let is_last = page.len() < page_max;
                    after = page.last().map(|last| last.place);
                    shown.extend(page);
                    if is_last {
                        break;
                    }
                }
                assert!(shown.into_iter().eq(model.held.values().map(Holding::from)));
            }
        }
        assert!(store.iter().eq(model.held.values()));
        assert_eq!((store.len(), store.bytes()), (model.held.len(), model.bytes()));
        assert!(store.len() <= values_max && store.bytes() <= bytes_max);
    }
}
