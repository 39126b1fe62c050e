//! Kademlia's routing table: whom this node dialled itself and found to be who they said. Never hearsay, never who dialled us.
//! Source: Maymounkov and Mazières, Kademlia (2002); spec/dht.md §2.

use std::collections::BTreeMap;

use crate::keyspace::{Id, Location};
use crate::limits::{BUCKET_SIZE, BUCKET_WAITING_MAX};
use crate::membership::nearest::Nearest;
use crate::membership::prefix_rule::PrefixRule;
use crate::wire::address::Prefix;
use crate::wire::contact::Contact;
use crate::wire::descriptor::VerifiedDescriptor;

/// What became of a node that was dialled.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Inserted {
    /// It is in the table, most recently seen of its bucket.
    Kept,
    /// Its bucket is full of live nodes; it waits for one of them to fail.
    Waiting,
    /// It is this node, its id is held by another key, or its narrow prefix has its share already.
    Refused,
}

/// The nodes at one distance.
#[derive(Default, Debug)]
struct Bucket {
    /// Least recently seen first.
    live: Vec<VerifiedDescriptor>,
    /// Most recently seen last.
    waiting: Vec<VerifiedDescriptor>,
}

/// The routing table of the node with this id. Bucket `n` holds the nodes whose ids agree with it in exactly `n` bits.
#[derive(Debug)]
pub struct Table {
    own: Id,
    rule: PrefixRule,
    buckets: BTreeMap<u32, Bucket>,
}

impl Table {
    /// An empty table.
    #[must_use]
    pub fn new(own: Id) -> Self {
        Self { own, rule: PrefixRule::Distinct, buckets: BTreeMap::new() }
    }

    /// The same under another rule for prefixes.
    #[must_use]
    pub fn with_rule(mut self, rule: PrefixRule) -> Self {
        self.rule = rule;
        self
    }

    /// Takes in a node that this node dialled and whose handshake delivered this descriptor, or sees it again.
    /// Old live nodes are never pushed out: who has stayed long stays longest, and a flood of new ids changes nothing.
    pub fn insert(&mut self, seen: VerifiedDescriptor) -> Inserted {
        let id = seen.id();
        if id == self.own || self.iter().any(|held| held.id() == id && held.key != seen.key) {
            return Inserted::Refused;
        }
        self.forget_key(&seen);
        let room = self.has_prefix_room(&seen);
        let bucket = self.buckets.entry(self.own.common_prefix_len(&id)).or_default();
        if !room {
            Inserted::Refused
        } else if bucket.live.len() < BUCKET_SIZE {
            bucket.live.push(seen);
            Inserted::Kept
        } else {
            bucket.wait(seen);
            Inserted::Waiting
        }
    }

    /// A node did not answer: it leaves, and the most recently seen of those who wait takes its place.
    pub fn on_failed(&mut self, id: &Id) {
        let at = self.own.common_prefix_len(id);
        let Some(bucket) = self.buckets.get_mut(&at) else { return };
        bucket.live.retain(|held| held.id() != *id);
        bucket.waiting.retain(|held| held.id() != *id);
        if bucket.live.len() >= BUCKET_SIZE {
            return;
        }
        let mut waiting = core::mem::take(&mut bucket.waiting);
        while let Some(next) = waiting.pop() {
            if self.insert(next) == Inserted::Kept {
                break;
            }
        }
        if let Some(bucket) = self.buckets.get_mut(&at) {
            bucket.waiting = waiting;
        }
    }

    /// The `count` closest nodes to a location, nearest first, at most two of one narrow prefix.
    #[must_use]
    pub fn closest(&self, location: &Location, count: usize) -> Vec<Contact> {
        let mut nearest = Nearest::new(count, self.rule);
        for node in self.iter() {
            nearest.offer(node.id().distance(location), &node.address, node);
        }
        nearest.into_vec().into_iter().map(Contact::from).collect()
    }

    /// Every node of the table, nearest bucket last.
    pub fn iter(&self) -> impl Iterator<Item = &VerifiedDescriptor> {
        self.buckets.values().flat_map(|bucket| &bucket.live)
    }

    /// How many nodes it holds, those that wait not counted.
    #[must_use]
    pub fn len(&self) -> usize {
        self.buckets.values().map(|bucket| bucket.live.len()).sum()
    }

    /// Nodes that wait behind full buckets.
    #[must_use]
    pub fn waiting_count(&self) -> usize {
        self.buckets.values().map(|bucket| bucket.waiting.len()).sum()
    }

    /// Whether it holds none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A relay is in the table once, at its newest id and address.
    fn forget_key(&mut self, seen: &VerifiedDescriptor) {
        for bucket in self.buckets.values_mut() {
            bucket.live.retain(|held| held.key != seen.key);
            bucket.waiting.retain(|held| held.key != seen.key);
        }
    }

    fn has_prefix_room(&self, seen: &VerifiedDescriptor) -> bool {
        let prefix = seen.address.narrow_prefix();
        let at = self.own.common_prefix_len(&seen.id());
        let count = |bucket: &Bucket| bucket.live.iter().filter(|held| is_in(held, &prefix)).count();
        let in_bucket = self.buckets.get(&at).map_or(0, count);
        let in_table: usize = self.buckets.values().map(count).sum();
        in_bucket < self.rule.bucket_max() && in_table < self.rule.table_max()
    }
}

fn is_in(node: &VerifiedDescriptor, prefix: &Prefix) -> bool {
    node.address.narrow_prefix() == *prefix
}

impl Bucket {
    fn wait(&mut self, seen: VerifiedDescriptor) {
        if self.waiting.len() >= BUCKET_WAITING_MAX {
            self.waiting.remove(0);
        }
        self.waiting.push(seen);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::limits::{PREFIX_PER_BUCKET_MAX, PREFIX_PER_TABLE_MAX};
    use crate::membership::fixture::{described, relay, relay_at, signed};

    const OWN: Id = Id([0; 20]);

    fn bucket_of(node: &VerifiedDescriptor) -> u32 {
        OWN.common_prefix_len(&node.id())
    }

    /// The first `count` relays whose ids differ from ours in the first bit.
    fn far(count: usize) -> Vec<VerifiedDescriptor> {
        (0..).map(relay).filter(|node| bucket_of(node) == 0).take(count).collect()
    }

    // [DHT-R-004]
    #[test]
    fn a_full_bucket_keeps_its_live_nodes_and_a_failed_one_gives_way_to_the_latest_that_waits() {
        let nodes = far(BUCKET_SIZE + 2);
        let mut table = Table::new(OWN);
        for (at, node) in nodes.iter().enumerate() {
            let expected = if at < BUCKET_SIZE { Inserted::Kept } else { Inserted::Waiting };
            assert_eq!(table.insert(node.clone()), expected);
        }
        assert_eq!(table.len(), BUCKET_SIZE);
        table.on_failed(&nodes[3].id());
        let held: Vec<_> = table.iter().map(VerifiedDescriptor::id).collect();
        assert_eq!(held.len(), BUCKET_SIZE);
        assert!(held.contains(&nodes[BUCKET_SIZE + 1].id()) && !held.contains(&nodes[3].id()));
        assert!(!held.contains(&nodes[BUCKET_SIZE].id()));
    }

    // [DHT-R-004]
    #[test]
    fn the_nodes_that_wait_are_capped_and_the_latest_stay() {
        let nodes = far(BUCKET_SIZE + BUCKET_WAITING_MAX + 3);
        let mut table = Table::new(OWN);
        nodes.iter().for_each(|node| assert_ne!(table.insert(node.clone()), Inserted::Refused));
        for node in &nodes[..BUCKET_SIZE] {
            table.on_failed(&node.id());
        }
        let mut held: Vec<_> = table.iter().map(VerifiedDescriptor::id).collect();
        let mut latest: Vec<_> = nodes[BUCKET_SIZE + 3..].iter().map(VerifiedDescriptor::id).collect();
        held.sort();
        latest.sort();
        assert_eq!(held, latest);
    }

    // [DHT-R-002]
    #[test]
    fn a_narrow_prefix_has_two_places_in_a_bucket_and_ten_in_the_table() {
        let mut table = Table::new(OWN);
        for number in 0..400 {
            table.insert(relay_at(number, [10, 0, 0, 9]));
        }
        assert_eq!(table.len(), PREFIX_PER_TABLE_MAX);
        for (_, bucket) in table.buckets {
            assert!(bucket.live.len() <= PREFIX_PER_BUCKET_MAX);
        }
        let mut relaxed = Table::new(OWN).with_rule(PrefixRule::RelaxedForOneHost);
        (0..40).for_each(|number| assert_ne!(relaxed.insert(relay_at(number, [127, 0, 0, 1])), Inserted::Refused));
    }

    // [DHT-R-003]
    #[test]
    fn the_node_itself_is_refused_and_a_relay_that_moved_is_held_once() {
        let mut table = Table::new(relay(1).id());
        assert_eq!(table.insert(relay(1)), Inserted::Refused);
        table.insert(relay(2));
        let mut moved = described(2, [10, 9, 9, 9]);
        moved.solution.y = [1; 32];
        let moved = signed(moved, 2);
        assert_eq!(table.insert(moved.clone()), Inserted::Kept);
        assert_eq!(table.closest(&relay(2).id(), 9), [Contact::from(&moved)]);
        table.on_failed(&relay(77).id());
        assert_eq!(table.len(), 1);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        /// The model is a plain list in the order of last sight, to which the rules are applied one by one.
        #[test]
        fn the_table_agrees_with_a_naive_list(
            steps in proptest::collection::vec((any::<bool>(), 0..80_u32), 0..200),
            place in any::<[u8; 20]>(),
        ) {
            let mut table = Table::new(OWN);
            let mut model: Vec<VerifiedDescriptor> = Vec::new();
            for (fails, number) in steps {
                // Three relays to a /24.
                let [.., low] = (number / 3).to_be_bytes();
                let node = relay_at(number, [10, low, 0, 1]);
                let id = node.id();
                let full = |model: &[VerifiedDescriptor]| {
                    let mates = model.iter().filter(|held| bucket_of(held) == bucket_of(&node));
                    mates.count() >= BUCKET_SIZE
                };
                if fails {
                    // Who waits is the other tests' matter: here no full bucket loses a node.
                    if !full(&model) {
                        table.on_failed(&id);
                        model.retain(|held| held.id() != id);
                    }
                    continue;
                }
                table.insert(node.clone());
                model.retain(|held| held.id() != id);
                let mates = model.iter().filter(|held| held.address == node.address && bucket_of(held) == bucket_of(&node));
                if !full(&model) && mates.count() < PREFIX_PER_BUCKET_MAX {
                    model.push(node);
                }
            }
            let location = Id(place);
            let mut sorted: Vec<_> = model.iter().collect();
            sorted.sort_by_key(|held| held.id().distance(&location));
            let mut expected: Vec<&VerifiedDescriptor> = Vec::new();
            for held in sorted {
                let mates = expected.iter().filter(|other| other.address == held.address).count();
                if expected.len() < BUCKET_SIZE && mates < PREFIX_PER_BUCKET_MAX {
                    expected.push(held);
                }
            }
            let expected: Vec<Contact> = expected.into_iter().map(Contact::from).collect();
            prop_assert_eq!(table.closest(&location, BUCKET_SIZE), expected);
            prop_assert_eq!(table.len(), model.len());
        }
    }
}
