//! Caps of what becomes of a value that very many ask for (spec/dht.md §5, §7.5).

use crate::time::Duration;

/// An exit asks somebody else for a chunk, too, when it has not come after so long.
pub const FETCH_PATIENCE: Duration = Duration::from_millis(250);
/// Nearest members that have a chunk which very many ask for.
pub const CHUNK_HOLDERS_HOT: usize = 4;
/// A value may be asked for so often at one holder, for long, without becoming hot.
pub const HOT_ASK_EVERY: Duration = Duration::from_secs(1);
/// Beyond that, what takes so long to pay off makes it hot: one question is [`HOT_ASK_EVERY`].
pub const HOT_AFTER: Duration = Duration::from_secs(30);
/// A holder that knows of further copies relies on them for so long, then looks after them again.
pub const HOT_LASTS: Duration = Duration::from_secs(600);
/// A look after further copies that found none is tried again after so long, doubled with each in a row up to [`HOT_LASTS`].
pub const HOT_RETRY: Duration = Duration::from_secs(30);
/// Values whose questions a relay counts at once.
pub const HOT_COUNTED_MAX: usize = 1_024;
/// Looks after further copies that a relay has under way at once.
pub const HOT_CHECKS_MAX: usize = 4;
/// Bytes of cells per second that a relay spends on further copies for long.
pub const HOT_BYTES_PER_S: u64 = 32 << 10;
/// Bytes of cells that it spends on them in a burst.
pub const HOT_BYTES_BURST: u64 = 1 << 20;
