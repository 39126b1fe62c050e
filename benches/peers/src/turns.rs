//! Turns of operations and what they took. It knows no network.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tokio::time::timeout;

use crate::RECORDS;

const TURNS: usize = 5;
/// In one turn: gets one after the other, gets by eight at once, puts one after the other.
const GETS: usize = 80;
const GETS_AT_ONCE: usize = 400;
const PUTS: usize = 20;
/// Before the first turn, so that routes and links are there.
const WARMING: usize = 200;
/// No operation may take longer, nor may a network to start.
const OPERATION_MAX: Duration = Duration::from_secs(30);
const START_MAX: Duration = Duration::from_secs(60);

/// What one kind of operation took.
pub(crate) struct Row {
    pub(crate) what: &'static str,
    times: Vec<f64>,
    rates: Vec<f64>,
}

impl Row {
    pub(crate) fn new(what: &'static str) -> Self {
        Self { what, times: Vec::new(), rates: Vec::new() }
    }

    /// Adds one time, in the table's unit.
    pub(crate) fn add(&mut self, time: f64) {
        self.times.push(time);
    }

    /// Adds how often it was done in a second.
    pub(crate) fn add_rate(&mut self, rate: f64) {
        self.rates.push(rate);
    }

    pub(crate) fn median(&self) -> f64 {
        at(&self.times, 50).unwrap_or(f64::NAN)
    }

    /// Ninety-five of a hundred took no longer.
    pub(crate) fn high(&self) -> f64 {
        at(&self.times, 95).unwrap_or(f64::NAN)
    }

    /// Median of the turns, where it was measured.
    pub(crate) fn rate(&self) -> Option<f64> {
        at(&self.rates, 50)
    }
}

fn at(values: &[f64], percent: usize) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len().saturating_sub(1) * percent / 100).copied()
}

/// What `start` makes, unless it takes too long.
pub(crate) async fn started<N>(name: &str, start: impl Future<Output = Result<N>>) -> Result<N> {
    eprintln!("starting {name}");
    let network = timeout(START_MAX, start).await.with_context(|| format!("{name}: not up in {START_MAX:?}"))?;
    network.with_context(|| format!("{name}: cannot be started"))
}

/// The turns of one run: whose numbers the operations get.
pub(crate) struct Turns {
    turn: usize,
}

impl Turns {
    pub(crate) fn new() -> Self {
        Self { turn: 0 }
    }

    /// Begins the next one, if there is one.
    pub(crate) fn next(&mut self) -> bool {
        self.turn += 1;
        if self.turn <= TURNS {
            eprintln!("turn {} of {TURNS}", self.turn);
        }
        self.turn <= TURNS
    }

    /// One after the other, then eight at once. `get` is told a number that chooses client and record.
    pub(crate) async fn gets(&self, row: &mut Row, get: impl AsyncFn(usize) -> Result<()>) -> Result<()> {
        eprintln!("  get: {}", row.what);
        if self.turn == 1 {
            at_once(row.what, WARMING, &get).await?;
        }
        for number in 0..GETS {
            let start = Instant::now();
            bounded(row.what, get(number)).await?;
            row.add(start.elapsed().as_secs_f64() * 1e3);
        }
        let start = Instant::now();
        at_once(row.what, GETS_AT_ONCE, &get).await?;
        row.add_rate(GETS_AT_ONCE as f64 / start.elapsed().as_secs_f64());
        Ok(())
    }

    /// One after the other, each a record of its own, and none of those that gets ask for.
    pub(crate) async fn puts(&self, row: &mut Row, put: impl AsyncFn(usize) -> Result<()>) -> Result<()> {
        eprintln!("  put: {}", row.what);
        for number in 0..PUTS {
            let number = RECORDS + self.turn * PUTS + number;
            let start = Instant::now();
            bounded(row.what, put(number)).await?;
            row.add(start.elapsed().as_secs_f64() * 1e3);
        }
        Ok(())
    }
}

async fn bounded(what: &str, operation: impl Future<Output = Result<()>>) -> Result<()> {
    let ended =
        timeout(OPERATION_MAX, operation).await.with_context(|| format!("{what}: took over {OPERATION_MAX:?}"))?;
    ended.with_context(|| what.to_owned())
}

async fn at_once(what: &str, count: usize, operation: &impl AsyncFn(usize) -> Result<()>) -> Result<()> {
    let next = AtomicUsize::new(0);
    let worker = async || -> Result<()> {
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= count {
                return Ok(());
            }
            bounded(what, operation(number)).await?;
        }
    };
    let [a, b, c, d, e, f, g, h] = [(); 8].map(|()| worker());
    tokio::try_join!(a, b, c, d, e, f, g, h).map(drop)
}
