//! Runs as whoever waits for them sees them: a bar on a terminal, a line now and then elsewhere. It must not know scenarios.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
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

/// Shows how far all parts are together, and tells them to end.
pub(super) struct Board<'s> {
    stop: &'s AtomicBool,
    bar: ProgressBar,
    start: Instant,
    /// What all parts cost.
    all: f64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    shown: Duration,
    /// What the parts cost that are over.
    over: f64,
    events: u64,
    virtual_s: f64,
    /// Parts under way: what of their cost is done, and what they do.
    running: BTreeMap<usize, (f64, String)>,
}

impl<'s> Board<'s> {
    /// Of parts that cost so much together; they end once `stop` is set.
    pub(super) fn new(stop: &'s AtomicBool, all: f64) -> Self {
        Self { stop, bar: share_bar(whole(STEPS)), start: stopwatch(), all, state: Mutex::default() }
    }

    /// Watches a part, with its number, a word before what it does, and what of `all` it costs.
    pub(super) fn part(&self, number: usize, word: &str, cost: f64) -> Watched<'_> {
        Watched { board: self, number, word: word.to_owned(), cost, start: stopwatch(), events: 0, virtual_s: 0.0 }
    }

    /// Has something printed without the bar in between.
    pub(super) fn beside<T>(&self, print: impl FnOnce() -> T) -> T {
        self.bar.suspend(print)
    }

    /// What a thread that panicked leaves behind is still right.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn show(&self, state: &mut State) {
        let elapsed = self.start.elapsed();
        let every = if self.bar.is_hidden() { LINE_EVERY } else { BAR_EVERY };
        if elapsed.saturating_sub(state.shown) < every {
            return;
        }
        state.shown = elapsed;
        let at = state.sum(self.all);
        let line = told(&at, elapsed.as_secs_f64());
        if self.bar.is_hidden() {
            say(&line);
        } else {
            self.bar.set_position(whole(at.part * STEPS));
            self.bar.set_message(line);
        }
    }
}

impl State {
    /// Of all parts, against what they cost.
    fn sum(&self, all: f64) -> Progress {
        let done = self.over + self.running.values().map(|(done, _)| done).sum::<f64>();
        let what = self.running.values().map(|(_, what)| what.as_str()).collect::<Vec<_>>().join(" + ");
        Progress { what, part: done / all, virtual_s: self.virtual_s, events: self.events }
    }
}

impl Drop for Board<'_> {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// Watches one part.
pub(super) struct Watched<'b> {
    board: &'b Board<'b>,
    number: usize,
    word: String,
    cost: f64,
    start: Instant,
    /// What its present world told last.
    events: u64,
    virtual_s: f64,
}

impl Watch for Watched<'_> {
    fn progress(&mut self, at: Progress) {
        // Each world of a part counts from zero.
        let is_new = at.events < self.events;
        let (events, virtual_s) = if is_new { (0, 0.0) } else { (self.events, self.virtual_s) };
        let mut state = self.board.state();
        state.events += at.events - events;
        state.virtual_s += (at.virtual_s - virtual_s).max(0.0);
        (self.events, self.virtual_s) = (at.events, at.virtual_s);
        let what = format!("{}{}", self.word, at.what);
        state.running.insert(self.number, (self.cost * at.part.clamp(0.0, 1.0), what));
        self.board.show(&mut state);
    }

    fn is_stopped(&self) -> bool {
        self.board.stop.load(Ordering::Relaxed)
    }

    fn is_time_over(&self, minutes: f64) -> bool {
        self.start.elapsed().as_secs_f64() >= 60.0 * minutes
    }
}

impl Drop for Watched<'_> {
    fn drop(&mut self) {
        let mut state = self.board.state();
        state.running.remove(&self.number);
        state.over += self.cost;
        if std::thread::panicking() {
            // Nobody will read what the others find.
            self.board.stop.store(true, Ordering::Relaxed);
        }
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
    fn parts_sum_up_by_their_costs_and_a_new_world_counts_from_zero() {
        let stop = AtomicBool::new(false);
        let board = Board::new(&stop, 10.0);
        let at = |part, events| Progress { what: "busy".into(), part, virtual_s: 60.0, events };
        let (mut one, mut other) = (board.part(0, "", 4.0), board.part(1, "churn: ", 5.0));
        one.progress(at(0.5, 100));
        one.progress(at(0.75, 40));
        other.progress(at(0.2, 7));
        let sum = |board: &Board<'_>| board.state().sum(10.0);
        let busy = "busy + churn: busy".to_owned();
        assert_eq!(sum(&board), Progress { what: busy, part: 0.4, virtual_s: 180.0, events: 147 });
        drop(one);
        assert_eq!((sum(&board).part, sum(&board).what.as_str()), (0.5, "churn: busy"));
    }

    #[test]
    fn it_tells_the_run_to_end_once_it_is_told_and_when_another_panics() {
        let stop = AtomicBool::new(false);
        let board = Board::new(&stop, 1.0);
        let watched = board.part(0, "", 1.0);
        assert!(!watched.is_stopped());
        stop.store(true, Ordering::Relaxed);
        assert!(watched.is_stopped());
        stop.store(false, Ordering::Relaxed);
        let other = board.part(1, "", 1.0);
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(move || {
            let _other = other;
            panic!("as a part may");
        }));
        assert!(panicked.is_err() && watched.is_stopped());
    }
}
