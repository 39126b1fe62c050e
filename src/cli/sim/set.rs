//! `bauta sim all`: the whole set of runs in one queue, a report for each, and a summary. It must not know scenarios.
//! Source: spec/cli.md §10.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use serde_json::Value;

use super::layers::{self, ALL, Asked, SET, first_line};
use super::queue::{Queue, Run, Whole};
use super::{SimArguments, folder_for, until_stopped, write};
use crate::cli::exit::{Exit, fails};
use crate::cli::output::print;
use crate::cli::{Said, Usage, files};
use crate::sim::report::{Cell, Table};

/// The set as data.
const FILE: &str = include_str!("../../sim/scenarios/all.toml");

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Set {
    run: Vec<Entry>,
}

/// One run of the set.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    scenario: String,
    /// Of its files, where the scenario is there already.
    name: Option<String>,
    #[serde(default)]
    with: toml::Table,
}

/// What all runs came to, by their numbers in the set, whichever was done first.
#[derive(Default)]
struct Summary {
    lines: BTreeMap<usize, Line>,
    reports: BTreeMap<usize, Value>,
}

/// What one run came to.
struct Line {
    name: String,
    parts: usize,
    begun: usize,
    checks: usize,
    failed: Vec<String>,
    is_partial: bool,
    events: u64,
    wall_s: f64,
}

/// What the set is, in one line: the first of its file.
pub(super) fn summary() -> &'static str {
    first_line(FILE)
}

/// Runs the set.
pub(super) fn run(arguments: SimArguments, json: bool) -> anyhow::Result<Said> {
    refuse_others(&arguments)?;
    if arguments.list {
        return Ok(Said::default().line(FILE.trim_end()).with("scenario", ALL).with("file", FILE));
    }
    let queue = Queue::new(runs(arguments.small, arguments.seed)?, arguments.jobs)?;
    let folder = folder_for(arguments.out)?;
    let stop = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&stop);
    let summary = until_stopped(&stop, move || {
        let mut summary = Summary::default();
        queue.work(&told, |whole| summary.take(whole, folder.as_deref(), json))?;
        if let Some(folder) = &folder {
            files::write(&folder.join("index.md"), summary.page().as_bytes(), true)?;
        }
        anyhow::Ok(summary)
    })??;
    summary.judge(json)
}

/// The set says what is run.
fn refuse_others(arguments: &SimArguments) -> Result<(), Usage> {
    let SimArguments { nodes, minutes, with, scenario_file, .. } = arguments;
    let given = [
        ("--nodes", nodes.is_some()),
        ("--minutes", minutes.is_some()),
        ("--with", !with.is_empty()),
        ("--scenario-file", scenario_file.is_some()),
    ];
    match given.iter().find(|(_, is_given)| *is_given) {
        Some((name, _)) => Err(Usage(format!("{ALL} takes no {name}: the set says how each scenario is run"))),
        None => Ok(()),
    }
}

fn runs(small: bool, seed: Option<u64>) -> Result<Vec<Run>, Usage> {
    let set: Set = toml::from_str(FILE).map_err(|why| Usage(format!("{SET}: {}", why.message())))?;
    let mut runs: Vec<Run> = Vec::new();
    for entry in set.run {
        let scenario = layers::named(&entry.scenario)?;
        // What differs between two runs of one scenario is their size.
        if small && runs.iter().any(|run| run.scenario == scenario) {
            continue;
        }
        let asked = Asked { scenario, small, file: None, set: Some(&entry.with), flags: &[], with: &[], seed };
        let name = entry.name.unwrap_or(entry.scenario);
        runs.push(Run { name, scenario, settings: layers::gather(&asked)? });
    }
    Ok(runs)
}

impl Summary {
    /// Shows and writes a report, and counts it.
    fn take(&mut self, whole: Whole, folder: Option<&Path>, json: bool) -> anyhow::Result<()> {
        let Whole { number, report, parts, begun } = whole;
        let line = Line {
            name: report.name.clone(),
            parts,
            begun,
            checks: report.checks.len(),
            failed: report.failed().into_iter().map(str::to_owned).collect(),
            is_partial: report.partial,
            events: report.events,
            wall_s: report.measured.wall_s,
        };
        self.lines.insert(number, line);
        // An earlier report is better than one of nothing.
        if begun == 0 {
            return Ok(());
        }
        if let Some(folder) = folder {
            write(folder, &report)?;
        }
        if json {
            self.reports.insert(number, serde_json::to_value(&report)?);
        } else {
            report.lines().iter().for_each(|line| print(line));
            print("");
        }
        Ok(())
    }

    fn table(&self, name: impl Fn(&Line) -> String) -> Table {
        let columns = ["scenario", "runs", "checks held", "events", "wall_s"];
        let mut table = Table::new(ALL, "All runs; the seconds of one are the sum over its parts", &columns);
        for line in self.lines.values() {
            let Line { parts, begun, checks, failed, events, wall_s, .. } = line;
            table.row(vec![
                Cell::Text(name(line)),
                Cell::Text(if begun == parts { parts.to_string() } else { format!("{begun} of {parts}") }),
                Cell::Text(format!("{} of {checks}", checks - failed.len())),
                Cell::Whole(*events),
                Cell::Real(*wall_s, 1),
            ]);
        }
        table
    }

    /// The summary with links to the reports beside it.
    fn page(&self) -> String {
        let linked = |line: &Line| match line.begun {
            0 => line.name.clone(),
            _ => format!("[{name}]({name}.md)", name = line.name),
        };
        format!("# All runs\n\n{}", self.table(linked).markdown())
    }

    /// One run that did not hold, or did not end, and the set has failed.
    fn judge(self, json: bool) -> anyhow::Result<Said> {
        let lines = self.table(|line| line.name.clone()).lines();
        let is_partial = self.lines.values().any(|line| line.is_partial);
        let named = |line: &Line| line.failed.iter().map(|check| format!("{}: {check}", line.name)).collect::<Vec<_>>();
        let failed: Vec<String> = self.lines.values().flat_map(named).collect();
        let reports = self.reports.into_values().collect();
        let said = Said { lines, ..Said::default() }.with("reports", Value::Array(reports));
        let message = match (is_partial, failed.is_empty()) {
            (false, true) => return Ok(said),
            (true, true) => "interrupted: not all reports are whole".to_owned(),
            (_, false) => format!("not all runs held: {}", failed.join("; ")),
        };
        Err(fails(json, Exit::Failed, &message, said))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::sim::scenario;
    use crate::sim::settings::Scenario;

    #[test]
    fn the_set_has_every_scenario_and_each_report_has_a_name_of_its_own() {
        let full = runs(false, Some(7)).unwrap();
        assert!(full.iter().all(|run| run.settings.seed == 7));
        let names: BTreeSet<&str> = full.iter().map(|run| run.name.as_str()).collect();
        assert_eq!(names.len(), full.len());
        let offered: BTreeSet<Scenario> = scenario::offered().collect();
        assert_eq!(full.iter().map(|run| run.scenario).collect::<BTreeSet<_>>(), offered);
        let sizes = |of| full.iter().filter(move |run| run.scenario == of).flat_map(|run| run.settings.nodes.clone());
        for scenario in [Scenario::Scale, Scenario::Adversary, Scenario::Sybil, Scenario::Anonymity] {
            assert!(sizes(scenario).any(|nodes| nodes == 10_000), "{}", scenario.name());
        }
        let small = runs(true, None).unwrap();
        assert_eq!(small.len(), offered.len());
        assert!(
            small.iter().all(|run| run.name == run.scenario.name() && run.settings.nodes.iter().all(|n| *n <= 1_000))
        );
    }
}
