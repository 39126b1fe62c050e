//! Placeholder.
use crate::time::Duration;

/// Latency and bandwidth.
#[derive(Clone, Copy, Debug)]
pub struct Internet {
    one_way: Duration,
}

impl Internet {
    /// All the same.
    #[must_use]
    pub fn fixed(one_way: Duration) -> Self {
        Self { one_way }
    }

    /// One way.
    #[must_use]
    pub fn latency(&self, _a: u32, _b: u32) -> Duration {
        self.one_way
    }

    /// Time that a node's uplink takes for so many bytes.
    #[must_use]
    pub fn sending(&self, _node: u32, _bytes: usize) -> Duration {
        Duration::from_micros(1_000)
    }
}
