//! A client looked at from outside: how full its tables are. Nothing here changes anything.

use super::ClientNode;
use crate::limits::{
    BANNED_MAX, BOOTSTRAPS_ASKED, BOOTSTRAPS_MAX, COMMANDS_MAX, GUARDS, MEMBERS_MAX, OPERATION_CIRCUITS_MAX,
    OPERATIONS_MAX, SECOND_HOPS, TRANSFER_CIRCUITS_MAX,
};
use crate::node::sizes::{PENDING_MAX, TableSize};

impl ClientNode {
    /// Every table, queue and set. To be asked when all effects were polled.
    #[must_use]
    pub fn sizes(&self) -> Vec<TableSize> {
        let operations = self.operations.len();
        let mut sizes = vec![
            ("members", self.members.len(), MEMBERS_MAX),
            ("members that judge", self.judged.len(), MEMBERS_MAX),
            ("banned", self.judged.banned_count(), BANNED_MAX),
            ("keys of bootstraps", self.bootstrap_keys.len(), BOOTSTRAPS_MAX),
            ("guards", self.guards.ordered().len(), GUARDS),
            ("guards that showed more than is told", self.told_efforts.len(), GUARDS),
            ("second hops", self.second_hops.state().hops.len(), SECOND_HOPS),
            ("pulls", self.pulls.len(), BOOTSTRAPS_ASKED),
            ("operations", operations, OPERATIONS_MAX),
            ("times of operations", self.operation_times.len(), operations),
            ("circuits to build", self.due.len(), OPERATIONS_MAX * OPERATION_CIRCUITS_MAX),
            ("pending jobs", self.pending.len(), PENDING_MAX),
            ("effects", self.effects.len(), COMMANDS_MAX),
        ];
        sizes.extend(self.runs.sizes());
        sizes.extend(self.entry.sizes());
        sizes.extend(self.links.sizes());
        sizes.extend(self.asks.sizes());
        sizes
    }
}

/// Circuits of a client at once.
pub(super) const RUNS_MAX: usize = OPERATIONS_MAX * TRANSFER_CIRCUITS_MAX;
