//! A run as whoever waits for it sees it: a bar on a terminal, a line now and then elsewhere. It must not know scenarios.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use indicatif::ProgressBar;

use crate::cli::output::{say, share_bar, stopwatch};
use crate::sim::draw::{real, whole};
use crate::sim::scenario::{Progress, Watch};

/// Between two lines where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(10);
/// Between two looks of the bar.
const BAR_EVERY: Duration = Duration::from_millis(100);
/// Steps of the bar.
const STEPS: f64 = 1_000.0;

/// Shows how far a run is, and tells it to end.
pub(super) struct Watched {
    stop: Arc<AtomicBool>,
    bar: ProgressBar,
    start: Instant,
    shown: Duration,
}

impl Watched {
    /// Ends the run once `stop` is set.
    pub(super) fn new(stop: Arc<AtomicBool>) -> Self {
        Self { stop, bar: share_bar(whole(STEPS)), start: stopwatch(), shown: Duration::ZERO }
    }
}

impl Watch for Watched {
    fn progress(&mut self, at: Progress) {
        let elapsed = self.start.elapsed();
        let every = if self.bar.is_hidden() { LINE_EVERY } else { BAR_EVERY };
        if elapsed.saturating_sub(self.shown) < every {
            return;
        }
        self.shown = elapsed;
        let line = told(&at, elapsed.as_secs_f64());
        if self.bar.is_hidden() {
            say(&line);
        } else {
            self.bar.set_position(whole(at.part * STEPS));
            self.bar.set_message(line);
        }
    }

    fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    fn is_time_over(&self, minutes: f64) -> bool {
        self.start.elapsed().as_secs_f64() >= 60.0 * minutes
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

fn told(at: &Progress, elapsed_s: f64) -> String {
    let part = at.part.clamp(0.0, 1.0);
    let mut parts = vec![format!("{:.0} %", part * 100.0), at.what.clone()];
    if at.virtual_s > 0.0 {
        parts.push(format!("{} gone by", lasting(at.virtual_s)));
    }
    if elapsed_s > 0.0 {
        parts.push(format!("{:.0} events/s", real(at.events) / elapsed_s));
    }
    // Earlier it would be a guess.
    if part > 0.02 {
        parts.push(format!("{} left", lasting(elapsed_s * (1.0 - part) / part)));
    }
    parts.join(" · ")
}

fn lasting(seconds: f64) -> String {
    match seconds {
        s if s < 120.0 => format!("{s:.0} s"),
        s if s < 7_200.0 => format!("{:.0} min", s / 60.0),
        s => format!("{:.1} h", s / 3_600.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_how_far_how_fast_and_how_long_still() {
        let at = |part, virtual_s| Progress { what: "100 nodes".into(), part, virtual_s, events: 5_000 };
        assert_eq!(
            told(&at(0.25, 7_200.0), 50.0),
            "25 % · 100 nodes · 2.0 h gone by · 100 events/s · 150 s left".replace("150 s", "2 min")
        );
        assert_eq!(told(&at(0.01, 0.0), 50.0), "1 % · 100 nodes · 100 events/s");
        assert_eq!(told(&at(f64::INFINITY, 0.0), 0.0), "100 % · 100 nodes · 0 s left");
    }

    #[test]
    fn it_tells_the_run_to_end_once_it_is_told() {
        let stop = Arc::new(AtomicBool::new(false));
        let watched = Watched::new(Arc::clone(&stop));
        assert!(!watched.is_stopped());
        stop.store(true, Ordering::Relaxed);
        assert!(watched.is_stopped());
    }
}
