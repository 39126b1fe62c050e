//! How full a table of a node is. Whoever looks on from outside holds it against its cap. It knows no table.

/// A table, queue or set: what it is called, its entries, and how many it may have.
pub type TableSize = (&'static str, usize, usize);

/// Jobs of work and operations of the store that a node has under way, or that wait for it.
pub(super) const PENDING_MAX: usize = crate::limits::WORK_JOBS_MAX + 2 * crate::limits::STORE_OPS_MAX;
