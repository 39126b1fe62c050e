//! What people and scripts read: results on standard output, everything else on standard error. A closed pipe is no error.

use std::io::{ErrorKind, IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

use crate::client::Progress;

/// Of a chunk.
const MEGABYTES_OF_CHUNK: f64 = 0.065_536;

/// Whether a result could not be written, and not because nobody reads on.
static LOST: AtomicBool = AtomicBool::new(false);
/// Whether steps and bars are not wanted.
static QUIET: AtomicBool = AtomicBool::new(false);

/// Once, before anything is said. Logs go to standard error, as `BAUTA_LOG` asks for; warnings alone otherwise. They never
/// hold keys or addresses above debug.
pub(super) fn start(quiet: bool) {
    QUIET.store(quiet, Ordering::Relaxed);
    let filter = tracing_subscriber::EnvFilter::try_from_env("BAUTA_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("warn"));
    // In colours only where somebody looks, and has not asked for none (https://no-color.org).
    let is_seen = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(is_seen).with_writer(std::io::stderr);
    // Only the first call of a process counts.
    let _ = log.try_init();
}

/// One line of result, on standard output.
pub(super) fn print(line: &str) {
    print_bytes(line.as_bytes());
    print_bytes(b"\n");
}

/// A result as it is, on standard output.
pub(super) fn print_bytes(bytes: &[u8]) {
    if let Err(error) = std::io::stdout().write_all(bytes)
        && error.kind() != ErrorKind::BrokenPipe
    {
        LOST.store(true, Ordering::Relaxed);
    }
}

/// Whether everything printed has arrived.
pub(super) fn is_complete() -> bool {
    let is_flushed = std::io::stdout().flush().map_or_else(|error| error.kind() == ErrorKind::BrokenPipe, |()| true);
    is_flushed && !LOST.load(Ordering::Relaxed)
}

/// One line for the person who watches, on standard error.
pub(super) fn say(line: &str) {
    if !QUIET.load(Ordering::Relaxed) {
        warn(line);
    }
}

/// One line that nobody shall miss, on standard error.
pub(super) fn warn(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// A bar of a transfer in chunks, with rate and time left; on a terminal alone.
pub(super) fn progress(what: &'static str) -> ProgressBar {
    bar_of(what, MEGABYTES_OF_CHUNK)
}

/// A bar of a transfer of so many bytes.
pub(super) fn progress_bytes(what: &'static str, len: u64) -> ProgressBar {
    let bar = bar_of(what, 1e-6);
    bar.set_length(len);
    bar
}

fn bar_of(what: &'static str, megabytes: f64) -> ProgressBar {
    let bar = if std::io::stderr().is_terminal() && !QUIET.load(Ordering::Relaxed) {
        ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(10))
    } else {
        ProgressBar::hidden()
    };
    let rate = move |state: &ProgressState, to: &mut dyn std::fmt::Write| {
        let _ = write!(to, "{:.1} MB/s", state.per_sec() * megabytes);
    };
    if let Ok(style) = ProgressStyle::with_template("  {msg:12} {bar:32} {percent:>3} %  {rate}  {elapsed}, {eta} left")
    {
        bar.set_style(style.with_key("rate", rate));
    }
    bar.set_message(what);
    bar.enable_steady_tick(Duration::from_millis(100));
    bar
}

/// Moves a bar.
pub(super) fn show(bar: &ProgressBar, step: Progress) {
    if step.total > 0 {
        bar.set_length(step.total);
    }
    bar.set_position(step.done);
}

/// A bar of so many steps with a line behind it, on a terminal alone; hidden elsewhere.
pub(super) fn share_bar(steps: u64) -> ProgressBar {
    let bar = progress("");
    bar.set_length(steps);
    if let Ok(style) = ProgressStyle::with_template("  {bar:24} {msg}") {
        bar.set_style(style);
    }
    bar
}

/// Only to say how long things took.
#[expect(clippy::disallowed_methods, reason = "the shell's own stopwatch; nothing of the protocol depends on it")]
pub(super) fn stopwatch() -> Instant {
    Instant::now()
}
