//! The scenarios: which there are, what one is told and tells while it runs, and whether it would fit. It must not know clocks or
//! who watches.

mod adversary;
mod anonymity;
mod churn;
mod content;
mod content_churn;
mod faults;
mod flash_chunks;
mod flash_crowd;
mod halves;
mod holding;
pub mod hunt;
mod partition;
mod partitioning;
mod parts;
mod rounds;
mod running;
mod scale;
mod soak;
mod sybil;
mod transfers;

use super::report::Report;
use super::settings::{Scenario, SettingRefused, Settings};

/// How far a run is.
#[derive(Clone, PartialEq, Debug)]
pub struct Progress {
    /// What is done now, in a few words.
    pub what: String,
    /// The share that is done: 0 to 1.
    pub part: f64,
    /// Virtual seconds since the start.
    pub virtual_s: f64,
    /// Events handled so far.
    pub events: u64,
}

/// Whoever watches a run.
pub trait Watch {
    /// The run is so far. Called often: every few thousand events.
    fn progress(&mut self, at: Progress);

    /// Whether the run shall end now, with what it has.
    fn is_stopped(&self) -> bool;

    /// Whether so many minutes of real time are over; whoever has no clock says never.
    fn is_time_over(&self, _minutes: f64) -> bool {
        false
    }
}

/// Nobody watches, nobody stops.
#[derive(Clone, Copy, Debug)]
pub struct Unwatched;

impl Watch for Unwatched {
    fn progress(&mut self, _: Progress) {}

    fn is_stopped(&self) -> bool {
        false
    }
}

/// Why nothing was run.
#[derive(Clone, PartialEq, Debug, thiserror::Error)]
pub enum Refused {
    /// A setting.
    #[error(transparent)]
    Setting(#[from] SettingRefused),
    /// It would need more memory than there is.
    #[error(
        "{scenario} with {nodes} nodes needs about {} MiB of memory, {} MiB are free; try --with nodes={fits}",
        needed / MIB, available / MIB
    )]
    Memory {
        /// Its name.
        scenario: &'static str,
        /// Of the largest network.
        nodes: usize,
        /// Bytes that it needs, about.
        needed: u64,
        /// Bytes that there are.
        available: u64,
        /// A number of nodes that would do.
        fits: usize,
    },
    /// This version has no such scenario.
    #[error("{0} cannot be run in this version")]
    Absent(&'static str),
    /// Something that settings alone do not show.
    #[error("{0}")]
    Other(String),
}

const MIB: u64 = 1 << 20;

/// What a report says that is not whole.
const STOPPED: &str = "stopped before its end: this is what there was";

/// One scenario: what it does, and what it takes.
struct Entry {
    scenario: Scenario,
    /// Settings of runs that need nothing of each other, in the order of their reports.
    parts: fn(&Settings) -> Result<Vec<Settings>, Refused>,
    run: fn(&Settings, &mut dyn Watch) -> Result<Report, Refused>,
    /// Bytes for the largest network of the settings, about.
    memory_needed: fn(&Settings) -> u64,
}

/// Every scenario that can be run.
const ENTRIES: [Entry; 14] = [
    Entry { scenario: Scenario::Scale, parts: parts::one, run: scale::run, memory_needed: scale::memory_needed },
    Entry {
        scenario: Scenario::Partitioning,
        parts: parts::one,
        run: partitioning::run,
        memory_needed: partitioning::memory_needed,
    },
    Entry { scenario: Scenario::Faults, parts: parts::faults, run: faults::run, memory_needed: faults::memory_needed },
    Entry { scenario: Scenario::Churn, parts: parts::sessions, run: churn::run, memory_needed: churn::memory_needed },
    Entry {
        scenario: Scenario::Partition,
        parts: parts::sizes,
        run: partition::run,
        memory_needed: partition::memory_needed,
    },
    Entry { scenario: Scenario::Halves, parts: parts::sizes, run: halves::run, memory_needed: halves::memory_needed },
    Entry {
        scenario: Scenario::Adversary,
        parts: adversary::parts,
        run: adversary::run,
        memory_needed: adversary::memory_needed,
    },
    Entry { scenario: Scenario::Sybil, parts: parts::sybils, run: sybil::run, memory_needed: sybil::memory_needed },
    Entry {
        scenario: Scenario::Anonymity,
        parts: parts::sizes,
        run: anonymity::run,
        memory_needed: anonymity::memory_needed,
    },
    Entry {
        scenario: Scenario::FlashCrowd,
        parts: parts::sizes,
        run: flash_crowd::run,
        memory_needed: flash_crowd::memory_needed,
    },
    Entry { scenario: Scenario::Soak, parts: parts::sessions, run: soak::run, memory_needed: soak::memory_needed },
    Entry {
        scenario: Scenario::Content,
        parts: parts::stops,
        run: content::run,
        memory_needed: content::memory_needed,
    },
    Entry {
        scenario: Scenario::ContentChurn,
        parts: parts::sessions,
        run: content_churn::run,
        memory_needed: content_churn::memory_needed,
    },
    Entry { scenario: Scenario::Hunt, parts: parts::one, run: hunt::run, memory_needed: hunt::memory_needed },
];

fn entry(scenario: Scenario) -> Result<&'static Entry, Refused> {
    ENTRIES.iter().find(|entry| entry.scenario == scenario).ok_or(Refused::Absent(scenario.name()))
}

/// The scenarios that can be run.
pub fn offered() -> impl Iterator<Item = Scenario> {
    ENTRIES.iter().map(|entry| entry.scenario)
}

/// The runs that a scenario with these settings is made of, each with settings of its own, in the order of their reports. They need
/// nothing of each other: which run together and when changes no report.
///
/// # Errors
/// [`Refused`], when the settings do not do.
pub fn parts(scenario: Scenario, settings: &Settings) -> Result<Vec<Settings>, Refused> {
    settings.check(scenario)?;
    (entry(scenario)?.parts)(settings)
}

/// About how long a part takes, against others of any scenario: nodes times virtual hours.
#[must_use]
pub fn cost(scenario: Scenario, part: &Settings) -> f64 {
    parts::cost(scenario, part)
}

/// Runs one of [`parts`] to its end, or until the watch stops it; what it has then is marked as partial.
///
/// # Errors
/// [`Refused`], before anything is run.
pub fn run_part(scenario: Scenario, part: &Settings, watch: &mut dyn Watch) -> Result<Report, Refused> {
    part.check(scenario)?;
    let mut report = (entry(scenario)?.run)(part, watch)?;
    if watch.is_stopped() {
        stop(&mut report);
    }
    Ok(report)
}

/// One report of those of all [`parts`], in their order; none of a part that was not begun.
#[must_use]
pub fn merged(scenario: Scenario, settings: &Settings, parts: impl IntoIterator<Item = Option<Report>>) -> Report {
    let mut report = Report::new(scenario, settings);
    for part in parts {
        match part {
            Some(part) => report.take(part),
            None => stop(&mut report),
        }
    }
    report
}

fn stop(report: &mut Report) {
    report.partial = true;
    if !report.notes.iter().any(|note| note == STOPPED) {
        report.note(STOPPED);
    }
}

/// Runs all parts of a scenario, one after the other.
///
/// # Errors
/// [`Refused`], before anything is run.
pub fn run(scenario: Scenario, settings: &Settings, watch: &mut dyn Watch) -> Result<Report, Refused> {
    let parts = parts(scenario, settings)?;
    let all: f64 = parts.iter().map(|part| cost(scenario, part)).sum();
    let (mut reports, mut before) = (Vec::new(), 0.0);
    for (number, part) in parts.iter().enumerate() {
        if number > 0 && watch.is_stopped() {
            reports.push(None);
            continue;
        }
        let after = before + cost(scenario, part) / all;
        let report = run_part(scenario, part, &mut Share { watch: &mut *watch, from: before, to: after })?;
        before = after;
        reports.push(Some(report));
    }
    Ok(merged(scenario, settings, reports))
}

/// A watch that sees a part as a share of the whole.
struct Share<'w> {
    watch: &'w mut dyn Watch,
    from: f64,
    to: f64,
}

impl Watch for Share<'_> {
    fn progress(&mut self, at: Progress) {
        let part = self.from + (self.to - self.from) * at.part.clamp(0.0, 1.0);
        self.watch.progress(Progress { part, ..at });
    }

    fn is_stopped(&self) -> bool {
        self.watch.is_stopped()
    }

    fn is_time_over(&self, minutes: f64) -> bool {
        self.watch.is_time_over(minutes)
    }
}

/// Bytes that a run needs, about.
///
/// # Errors
/// [`Refused::Absent`].
pub fn memory_needed(scenario: Scenario, settings: &Settings) -> Result<u64, Refused> {
    entry(scenario).map(|entry| (entry.memory_needed)(settings))
}

/// Whether a run fits into so many bytes.
///
/// # Errors
/// [`Refused::Memory`] with a number of nodes that would fit, [`Refused::Absent`].
pub fn check_memory(scenario: Scenario, settings: &Settings, available: u64) -> Result<(), Refused> {
    let needed = memory_needed(scenario, settings)?;
    if needed <= available {
        return Ok(());
    }
    let nodes = settings.nodes.iter().copied().max().unwrap_or(0);
    let fits_with = |nodes: usize| {
        let smaller = Settings { nodes: vec![nodes], ..settings.clone() };
        memory_needed(scenario, &smaller).is_ok_and(|needed| needed <= available)
    };
    let (mut fits, mut too_many) = (1, nodes.max(1));
    while too_many - fits > 1 {
        let middle = fits + (too_many - fits) / 2;
        if fits_with(middle) { fits = middle } else { too_many = middle }
    }
    // A number that people would choose.
    let round = 10usize.pow(fits.ilog10().saturating_sub(1));
    Err(Refused::Memory { scenario: scenario.name(), nodes, needed, available, fits: fits / round * round })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_that_would_not_fit_is_refused_with_what_would() {
        let settings = Settings { nodes: vec![1_000, 1_000_000], records: 1_000, ..Settings::default() };
        let needed = memory_needed(Scenario::Partitioning, &settings).unwrap();
        assert_eq!(check_memory(Scenario::Partitioning, &settings, needed), Ok(()));
        let refused = check_memory(Scenario::Partitioning, &settings, needed / 10).unwrap_err();
        let Refused::Memory { nodes, fits, .. } = refused else { panic!("{refused}") };
        assert_eq!(nodes, 1_000_000);
        assert!((1_000..200_000).contains(&fits), "{fits}");
        let smaller = Settings { nodes: vec![fits], ..settings.clone() };
        assert_eq!(check_memory(Scenario::Partitioning, &smaller, needed / 10), Ok(()));
        let told = check_memory(Scenario::Partitioning, &settings, needed / 10).unwrap_err().to_string();
        assert!(told.contains("MiB of memory") && told.contains("--with nodes="), "{told}");
    }

    #[test]
    fn settings_that_do_not_do_are_refused_before_anything_is_run() {
        let settings = Settings { nodes: vec![0], ..Settings::default() };
        let refused = run(Scenario::Partitioning, &settings, &mut Unwatched).unwrap_err();
        assert!(matches!(refused, Refused::Setting(_)), "{refused}");
    }

    #[test]
    fn a_run_that_is_stopped_says_so() {
        struct Stopped;
        impl Watch for Stopped {
            fn progress(&mut self, _: Progress) {}

            fn is_stopped(&self) -> bool {
                true
            }
        }
        let settings = Settings { nodes: vec![100], records: 10, ..Settings::default() };
        let report = run(Scenario::Partitioning, &settings, &mut Stopped).unwrap();
        assert!(report.partial && report.notes.iter().any(|note| note.contains("stopped before its end")));
        let faults = Settings { nodes: vec![20], fail: vec![0.0, 0.1], records: 1, ..settings };
        let report = run(Scenario::Faults, &faults, &mut Stopped).unwrap();
        assert!(report.partial && report.notes.iter().filter(|note| note.contains("stopped before")).count() == 1);
    }
}
