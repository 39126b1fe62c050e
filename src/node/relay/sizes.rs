//! A relay looked at from outside: how full its tables are, and whom it has banned. Nothing here changes anything. How many links
//! there are is the shell's to bound.

use super::Relay;
use crate::crypto::keys::NodeKey;
use crate::limits::{
    BANNED_MAX, BOOTSTRAPS_MAX, BUCKET_SIZE, BUCKET_WAITING_MAX, COMMANDS_MAX, EXIT_OPERATIONS_MAX, ID_LEN,
    MEMBERS_MAX, PAYMENTS_REMEMBERED_MAX, REPAIR_WATCHED_MAX, STORE_HOUR_RELAYS_MAX,
};
use crate::node::sizes::{PENDING_MAX, TableSize};

/// Buckets of a routing table.
const BUCKETS: usize = 8 * ID_LEN;

impl Relay {
    /// Every table, queue and set. To be asked when all effects were polled.
    #[must_use]
    pub fn sizes(&self) -> Vec<TableSize> {
        let (packets, packets_max) = self.replay.size();
        let asks = self.asks.sizes();
        let mut sizes = vec![
            ("members", self.members.len(), MEMBERS_MAX),
            ("banned", self.members.banned_count(), BANNED_MAX),
            ("routing table", self.table.len(), BUCKETS * BUCKET_SIZE),
            ("nodes that wait for it", self.table.waiting_count(), BUCKETS * BUCKET_WAITING_MAX),
            ("packets remembered", packets, packets_max),
            ("operations of exits", self.exits.len(), EXIT_OPERATIONS_MAX),
            ("pending jobs", self.pending.len(), PENDING_MAX),
            ("pulls", self.pulls.len(), MEMBERS_MAX + BOOTSTRAPS_MAX),
            ("watched", self.watch.len(), REPAIR_WATCHED_MAX),
            ("relays whose writes are counted", self.paying.budgets.relays_counted(), STORE_HOUR_RELAYS_MAX),
            ("payments remembered", self.paying.remembered(), PAYMENTS_REMEMBERED_MAX),
            ("effects", self.effects.len(), COMMANDS_MAX),
            ("owners of questions", self.ask_owners.len(), self.asks.open() + self.pending.len()),
            ("questions about to be sent", self.ask_ids.len(), self.ask_owners.len()),
        ];
        sizes.extend(self.links.sizes());
        sizes.extend(self.circuits.sizes());
        sizes.extend(asks);
        sizes.extend(self.errands.sizes());
        sizes.extend(self.repair.sizes());
        sizes
    }

    /// Whether it has banned this key.
    #[must_use]
    pub fn has_banned(&self, key: &NodeKey) -> bool {
        self.members.is_banned(key)
    }
}
