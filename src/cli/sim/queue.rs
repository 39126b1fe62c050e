//! Parts of runs in one queue for a few threads, the longest first. It must not know what a scenario does, nor how reports are
//! shown. Source: spec/simulation.md §3.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};

use super::watched::Board;
use super::{kib, usage};
use crate::cli::Usage;
use crate::cli::output::{say, stopwatch};
use crate::sim::report::Report;
use crate::sim::scenario::{self, Refused};
use crate::sim::settings::{Scenario, Settings};

/// A scenario that shall be run.
pub(super) struct Run {
    /// Of its report.
    pub(super) name: String,
    pub(super) scenario: Scenario,
    pub(super) settings: Settings,
}

/// One part of a run.
struct Task {
    run: usize,
    part: usize,
    scenario: Scenario,
    settings: Settings,
    cost: f64,
    memory: u64,
}

/// Parts that wait, and how many may run at once.
pub(super) struct Queue {
    runs: Vec<Run>,
    tasks: Vec<Task>,
    jobs: usize,
}

/// A run all of whose parts are over.
pub(super) struct Whole {
    /// Its number among the runs.
    pub(super) number: usize,
    pub(super) report: Report,
    pub(super) parts: usize,
    /// Parts that were begun: not all, when it was stopped.
    pub(super) begun: usize,
}

/// Reports of a run's parts as they come in.
struct Slots {
    parts: Vec<Option<Report>>,
    missing: usize,
    seconds: f64,
}

/// What a thread says of a part: none if it was not begun.
type Said<'t> = (&'t Task, Result<Option<Report>, Refused>, f64);

impl Queue {
    /// All parts of these runs. What does not do is refused, and what does not fit; if it does not fit at once, fewer run at once.
    pub(super) fn new(runs: Vec<Run>, jobs: Option<usize>) -> Result<Self, Usage> {
        if jobs == Some(0) {
            return Err(Usage("--jobs 0: takes 1 or more".to_owned()));
        }
        let available = kib("/proc/meminfo", "MemAvailable:").map_or(u64::MAX, |kib| kib.saturating_mul(1_024));
        let mut tasks = Vec::new();
        for (number, run) in runs.iter().enumerate() {
            for (part, settings) in scenario::parts(run.scenario, &run.settings).map_err(usage)?.into_iter().enumerate()
            {
                scenario::check_memory(run.scenario, &settings, available).map_err(usage)?;
                let cost = scenario::cost(run.scenario, &settings);
                let memory = scenario::memory_needed(run.scenario, &settings).map_err(usage)?;
                tasks.push(Task { run: number, part, scenario: run.scenario, settings, cost, memory });
            }
        }
        // So that none of the long ones is left alone at the end.
        tasks.sort_by(|one, other| other.cost.total_cmp(&one.cost));
        let wanted = jobs.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
        let wanted = wanted.clamp(1, tasks.len().max(1));
        let jobs = jobs_that_fit(tasks.iter().map(|task| task.memory).collect(), wanted, available);
        if jobs < wanted {
            say(&format!("memory does for {jobs} at once, not for {wanted}: --jobs {jobs}"));
        }
        Ok(Self { runs, tasks, jobs })
    }

    /// Runs everything; `whole` is called for each run as soon as its last part is over, an error of it ends all.
    pub(super) fn work(
        &self,
        stop: &AtomicBool,
        mut whole: impl FnMut(Whole) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let board = Board::new(stop, self.tasks.iter().map(|task| task.cost).sum());
        let next = AtomicUsize::new(0);
        let (tell, hear) = sync_channel(self.tasks.len().max(1));
        std::thread::scope(|scope| {
            for _ in 0..self.jobs {
                let (tell, board, next) = (tell.clone(), &board, &next);
                scope.spawn(move || {
                    while let Some((number, task)) = self.take(next) {
                        let start = stopwatch();
                        let is_stopped = stop.load(Ordering::Relaxed);
                        let report = if is_stopped { Ok(None) } else { self.run(number, task, board).map(Some) };
                        if tell.send((task, report, start.elapsed().as_secs_f64())).is_err() {
                            return;
                        }
                    }
                });
            }
            drop(tell);
            let collected = self.collect(&hear, |one| board.beside(|| whole(one)));
            if collected.is_err() {
                stop.store(true, Ordering::Relaxed);
            }
            collected
        })
    }

    fn take(&self, next: &AtomicUsize) -> Option<(usize, &Task)> {
        let number = next.fetch_add(1, Ordering::Relaxed);
        self.tasks.get(number).map(|task| (number, task))
    }

    fn run(&self, number: usize, task: &Task, board: &Board<'_>) -> Result<Report, Refused> {
        // One alone needs no name.
        let named = self.runs.get(task.run).filter(|_| self.runs.len() > 1);
        let word = named.map_or_else(String::new, |run| format!("{}: ", run.name));
        scenario::run_part(task.scenario, &task.settings, &mut board.part(number, &word, task.cost))
    }

    fn collect<'t>(
        &'t self,
        hear: &Receiver<Said<'t>>,
        mut whole: impl FnMut(Whole) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let start = stopwatch();
        let slots = |run| {
            let missing = self.tasks.iter().filter(|task| task.run == run).count();
            Slots { parts: vec![None; missing], missing, seconds: 0.0 }
        };
        let mut all: Vec<Slots> = (0..self.runs.len()).map(slots).collect();
        for (task, report, seconds) in hear {
            let report = report.map_err(usage)?;
            let Some((run, slots)) = self.runs.get(task.run).zip(all.get_mut(task.run)) else { continue };
            if let Some(slot) = slots.parts.get_mut(task.part) {
                *slot = report;
            }
            slots.missing -= 1;
            slots.seconds += seconds;
            if slots.missing > 0 {
                continue;
            }
            let (parts, begun) = (slots.parts.len(), slots.parts.iter().flatten().count());
            let mut report = scenario::merged(run.scenario, &run.settings, core::mem::take(&mut slots.parts));
            report.name.clone_from(&run.name);
            let seconds = if self.runs.len() == 1 { start.elapsed().as_secs_f64() } else { slots.seconds };
            report.measure(seconds, kib("/proc/self/status", "VmHWM:").unwrap_or(0) * 1_024);
            whole(Whole { number: task.run, report, parts, begun })?;
        }
        Ok(())
    }
}

/// As many as were asked for, or so many that even the largest fit beside each other; at least one.
fn jobs_that_fit(mut memory: Vec<u64>, wanted: usize, available: u64) -> usize {
    memory.sort_unstable_by(|one, other| other.cmp(one));
    let sums = memory.iter().take(wanted).scan(0_u64, |sum, one| {
        *sum = sum.saturating_add(*one);
        Some(*sum)
    });
    sums.take_while(|sum| *sum <= available).count().max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults() -> Run {
        let (nodes, fail) = (vec![20, 24], vec![0.0, 0.1]);
        let settings = Settings { nodes, fail, clients: 2, records: 2, gets: 4, ..Settings::default() };
        Run { name: "some".into(), scenario: Scenario::Faults, settings }
    }

    #[test]
    fn as_many_run_at_once_as_memory_has_room_for_the_largest() {
        for (available, jobs) in [(0, 1), (5, 1), (8, 1), (9, 2), (10, 3), (99, 3)] {
            assert_eq!(jobs_that_fit(vec![1, 5, 4, 0], 3, available), jobs, "{available}");
        }
        assert_eq!(jobs_that_fit(vec![u64::MAX, u64::MAX], 2, u64::MAX), 2);
        assert_eq!(jobs_that_fit(vec![], 1, 5), 1);
    }

    #[test]
    fn no_more_jobs_than_parts_and_the_longest_part_first() {
        let queue = Queue::new(vec![faults()], Some(99)).unwrap();
        assert_eq!(queue.jobs, 4);
        assert_eq!(queue.tasks.iter().map(|task| task.part).collect::<Vec<_>>(), [2, 3, 0, 1]);
        let refused = Queue::new(vec![faults()], Some(0)).err().unwrap().to_string();
        assert!(refused.contains("--jobs 0: takes 1 or more"), "{refused}");
    }

    #[test]
    fn what_is_stopped_before_it_begins_says_so_and_counts_its_parts() {
        let queue = Queue::new(vec![faults()], Some(2)).unwrap();
        let mut seen = Vec::new();
        let done = queue.work(&AtomicBool::new(true), |whole| {
            assert!(whole.report.partial && whole.report.name == "some");
            seen.push((whole.parts, whole.begun));
            Ok(())
        });
        assert!(done.is_ok());
        assert_eq!(seen, [(4, 0)]);
    }

    #[test]
    fn an_error_of_whoever_takes_reports_ends_all() {
        let queue = Queue::new(vec![faults()], Some(2)).unwrap();
        let stop = AtomicBool::new(false);
        let done = queue.work(&stop, |_| Err(anyhow::anyhow!("the disk is full")));
        assert_eq!(done.unwrap_err().to_string(), "the disk is full");
        assert!(stop.load(Ordering::Relaxed));
    }
}
