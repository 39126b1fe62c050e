//! What goes wrong between nodes: dials that fail, links that break, directions that are cut or slow. It must not know why a
//! scenario wants it.

use std::collections::BTreeSet;

use super::Group;
use crate::time::Duration;

/// The faults of a world; none by default. All can be changed while it runs.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    /// Chance that a dial fails.
    pub dial: f64,
    /// Share of failing dials that get no answer at all, and wait for their time to be over.
    pub dial_silent: f64,
    /// Chance that a link breaks within [`BREAK_WITHIN`] after a circuit or a question was put on it; drawn once in that time.
    pub link: f64,
    /// Directions in which nothing passes.
    pub cut: BTreeSet<(Group, Group)>,
    /// Directions in which everything takes so much longer.
    pub slow: Vec<(Group, Group, Duration)>,
}

/// Within this time after it was put to use a link breaks, if it does.
pub const BREAK_WITHIN: Duration = Duration::from_secs(1);

impl Faults {
    pub(super) fn is_cut(&self, from: Group, to: Group) -> bool {
        self.cut.contains(&(from, to))
    }

    pub(super) fn delay(&self, from: Group, to: Group) -> Duration {
        let slow = self.slow.iter().filter(|(one, other, _)| (*one, *other) == (from, to));
        slow.map(|(.., delay)| *delay).max().unwrap_or_default()
    }
}
