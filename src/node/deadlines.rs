//! Which of many waits ends next, without looking at all of them. Knows no clock, and nothing of what it keeps times for.

use std::collections::{BTreeMap, BTreeSet};

use crate::time::Instant;

/// One deadline at most for each key, in the order of time too.
#[derive(Clone, Debug)]
pub(super) struct Deadlines<K> {
    by_key: BTreeMap<K, Instant>,
    by_time: BTreeSet<(Instant, K)>,
}

impl<K> Default for Deadlines<K> {
    fn default() -> Self {
        Self { by_key: BTreeMap::new(), by_time: BTreeSet::new() }
    }
}

impl<K: Ord + Copy> Deadlines<K> {
    /// Sets the deadline of a key anew; `None`: it has none.
    pub(super) fn set(&mut self, key: K, at: Option<Instant>) {
        if self.at(&key) == at {
            return;
        }
        self.remove(&key);
        if let Some(at) = at {
            self.by_key.insert(key, at);
            self.by_time.insert((at, key));
        }
    }

    /// How many keys have one.
    pub(super) fn len(&self) -> usize {
        self.by_key.len()
    }

    /// Forgets a key; gives its deadline if it had one.
    pub(super) fn remove(&mut self, key: &K) -> Option<Instant> {
        let at = self.by_key.remove(key)?;
        self.by_time.remove(&(at, *key));
        Some(at)
    }

    /// The deadline of a key.
    pub(super) fn at(&self, key: &K) -> Option<Instant> {
        self.by_key.get(key).copied()
    }

    /// The first deadline of all.
    pub(super) fn next(&self) -> Option<Instant> {
        self.by_time.first().map(|(at, _)| *at)
    }

    /// The keys whose time has come, in the order of keys. They stay until they are removed or set anew.
    pub(super) fn due(&self, now: Instant) -> Vec<K> {
        let mut due: Vec<K> = self.by_time.iter().take_while(|(at, _)| *at <= now).map(|(_, key)| *key).collect();
        due.sort_unstable();
        due
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_due_and_what_is_next_is_what_a_look_at_all_deadlines_finds(
            steps in proptest::collection::vec((0..12_u8, proptest::option::of(0..30_u64), 0..30_u64), 0..60),
        ) {
            let (mut deadlines, mut model) = (Deadlines::default(), BTreeMap::new());
            for (key, at, now) in steps {
                let at = at.map(Instant::from_micros);
                deadlines.set(key, at);
                match at {
                    Some(at) => model.insert(key, at),
                    None => model.remove(&key),
                };
                let now = Instant::from_micros(now);
                let due: Vec<u8> = model.iter().filter(|(_, at)| **at <= now).map(|(key, _)| *key).collect();
                prop_assert_eq!(deadlines.next(), model.values().min().copied());
                prop_assert_eq!(deadlines.due(now), due);
                prop_assert_eq!(deadlines.at(&key), at);
                if key == 0 {
                    prop_assert_eq!(deadlines.remove(&1), model.remove(&1));
                }
                prop_assert_eq!(deadlines.by_key.len(), deadlines.by_time.len());
            }
        }
    }
}
