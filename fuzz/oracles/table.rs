//! The routing table against a model of its rules: who has stayed is not pushed out, who fails goes and one of those that wait comes, prefixes
//! and buckets keep their caps, and the closest are those that a look at everybody finds.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use bauta::dht::table::{Inserted, Table};
use bauta::keyspace::Id;
use bauta::limits::{BUCKET_SIZE, BUCKET_WAITING_MAX, PREFIX_PER_BUCKET_MAX, PREFIX_PER_TABLE_MAX};
use bauta::wire::contact::Contact;
use bauta::wire::descriptor::VerifiedDescriptor;

use super::relays::{described, identity, network, relay_at};
use super::script::Script;

const RELAYS: usize = 192;
const STEPS_MAX: usize = 128;

/// Every sixth of them in one /24; the last 16 are the first 16, who have moved.
fn pool() -> &'static [VerifiedDescriptor] {
    static POOL: OnceLock<Vec<VerifiedDescriptor>> = OnceLock::new();
    POOL.get_or_init(|| {
        let number = |at: usize| u32::try_from(at).expect("few");
        let ip = |at: u8| if at.is_multiple_of(6) { [10, 0, 0, at] } else { [10, 1, at, 1] };
        let one = |at: usize| relay_at(number(at), ip(number(at).to_be_bytes()[3]));
        let moved = |at: usize| {
            let mut own = described(number(at), [10, 2, number(at).to_be_bytes()[3], 1]);
            own.solution.y = [number(at).to_be_bytes()[3]; 32];
            own.sign(&network(), &identity(number(at)))
        };
        (0..RELAYS).map(one).chain((0..16).map(moved)).collect()
    })
}

/// Live ones, least recently seen first, and those that wait.
#[derive(Default)]
struct Bucket {
    live: Vec<VerifiedDescriptor>,
    waiting: Vec<VerifiedDescriptor>,
}

struct Model {
    own: Id,
    buckets: BTreeMap<u32, Bucket>,
}

impl Model {
    fn live(&self) -> impl Iterator<Item = &VerifiedDescriptor> {
        self.buckets.values().flat_map(|bucket| &bucket.live)
    }

    fn insert(&mut self, seen: &VerifiedDescriptor) -> Inserted {
        if seen.id() == self.own {
            return Inserted::Refused;
        }
        for bucket in self.buckets.values_mut() {
            bucket.live.retain(|held| held.key != seen.key);
            bucket.waiting.retain(|held| held.key != seen.key);
        }
        let shares = |held: &&VerifiedDescriptor| held.address.narrow_prefix() == seen.address.narrow_prefix();
        let in_table = self.live().filter(shares).count();
        let bucket = self.buckets.entry(self.own.common_prefix_len(&seen.id())).or_default();
        if bucket.live.iter().filter(shares).count() >= PREFIX_PER_BUCKET_MAX || in_table >= PREFIX_PER_TABLE_MAX {
            return Inserted::Refused;
        }
        if bucket.live.len() < BUCKET_SIZE {
            bucket.live.push(seen.clone());
            return Inserted::Kept;
        }
        bucket.waiting.push(seen.clone());
        let over = bucket.waiting.len().saturating_sub(BUCKET_WAITING_MAX);
        bucket.waiting.drain(..over);
        Inserted::Waiting
    }

    fn fail(&mut self, id: &Id) {
        let Some(bucket) = self.buckets.get_mut(&self.own.common_prefix_len(id)) else { return };
        bucket.live.retain(|held| held.id() != *id);
        bucket.waiting.retain(|held| held.id() != *id);
        if bucket.live.len() < BUCKET_SIZE {
            let mut waiting = core::mem::take(&mut bucket.waiting);
            while let Some(next) = waiting.pop() {
                if self.insert(&next) == Inserted::Kept {
                    break;
                }
            }
            self.buckets.entry(self.own.common_prefix_len(id)).or_default().waiting = waiting;
        }
    }

    fn closest(&self, to: &Id, count: usize) -> Vec<Contact> {
        let mut all: Vec<_> = self.live().collect();
        all.sort_by_key(|one| one.id().distance(to));
        let mut used = BTreeMap::new();
        all.retain(|one| {
            let of_prefix = used.entry(one.address.narrow_prefix()).or_insert(0);
            *of_prefix += 1;
            *of_prefix <= PREFIX_PER_BUCKET_MAX
        });
        all.into_iter().take(count).map(Contact::from).collect()
    }
}

/// Checks one input. With `fault`, as it would be where a node that fails is kept if nobody waits for its place.
pub fn check(data: &[u8], fault: bool) {
    let mut script = Script::new(data);
    let own = pool()[script.below(pool().len())].id();
    let (mut table, mut model) = (Table::new(own), Model { own, buckets: BTreeMap::new() });
    for _ in 0..STEPS_MAX {
        if script.is_over() {
            break;
        }
        let op = script.byte();
        match op % 16 {
            0 => {
                let (to, count) = (Id([script.byte(); 20]), script.below(2 * BUCKET_SIZE));
                assert_eq!(table.closest(&to, count), model.closest(&to, count));
            }
            // A run of newcomers, so that buckets fill.
            1 => {
                let first = script.below(RELAYS);
                for seen in pool().iter().skip(first).take(64) {
                    assert_eq!(table.insert(seen.clone()), model.insert(seen));
                }
            }
            2..=5 => {
                let id = pool()[script.below(pool().len())].id();
                if !(fault && table.waiting_count() == 0) {
                    table.on_failed(&id);
                }
                model.fail(&id);
            }
            _ => {
                let seen = &pool()[script.below(pool().len())];
                assert_eq!(table.insert(seen.clone()), model.insert(seen));
            }
        }
        assert!(table.iter().eq(model.live()));
        let waiting: usize = model.buckets.values().map(|bucket| bucket.waiting.len()).sum();
        assert_eq!((table.len(), table.waiting_count()), (model.live().count(), waiting));
        assert!(table.iter().all(|held| held.id() != own));
    }
}
