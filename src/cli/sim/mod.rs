//! `bauta sim`: runs a scenario of the simulator, and shows, writes and judges its report. It needs no network and no state.

mod layers;
mod queue;
mod set;
mod watched;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Map, Value};

use self::layers::Asked;
use self::queue::{Queue, Run};
use super::exit::{Exit, fails};
use super::output::say;
use super::{Said, Usage, files};
use crate::sim::report::Report;
use crate::sim::scenario::{self, Refused};
use crate::sim::settings::Scenario;

/// What `sim` takes.
#[derive(clap::Args)]
#[command(group(clap::ArgGroup::new("what").required(true).multiple(true).args(["scenario", "list"])))]
pub(super) struct SimArguments {
    /// What to run; `all` for the whole set, each scenario at its full sizes.
    scenario: Option<String>,
    /// Sizes of the network; one run for each.
    #[arg(long, value_name = "N[,N..]")]
    nodes: Option<String>,
    /// All draws follow from this number.
    #[arg(long, value_name = "S")]
    seed: Option<u64>,
    /// How long, for the scenarios that take minutes.
    #[arg(long, value_name = "M")]
    minutes: Option<String>,
    /// A run of a few seconds, as the scenario's file has it.
    #[arg(long)]
    small: bool,
    /// One setting of the scenario; may be given again.
    #[arg(long = "with", value_name = "KEY=VALUE")]
    with: Vec<String>,
    /// Settings over those that come with the scenario; `bauta sim SCENARIO --list` prints a file to begin with.
    #[arg(long, value_name = "FILE")]
    scenario_file: Option<PathBuf>,
    /// Writes NAME.json, NAME.md and NAME-*.svg into this folder; it is made if it is not there, earlier ones are replaced.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// So many parts run at once; a processor for each without it. The report is the same.
    #[arg(long, value_name = "N")]
    jobs: Option<usize>,
    /// Lists the scenarios; with one, prints its file of settings.
    #[arg(long)]
    list: bool,
}

/// Runs the scenario.
pub(super) fn run(arguments: SimArguments, json: bool) -> anyhow::Result<Said> {
    let Some(name) = &arguments.scenario else { return Ok(list()) };
    if name == layers::ALL {
        return set::run(arguments, json);
    }
    let scenario = layers::named(name)?;
    if arguments.list {
        let text = layers::built_in(scenario);
        return Ok(Said::default().line(text.trim_end()).with("scenario", scenario.name()).with("file", text));
    }
    let settings = layers::gather(&Asked {
        scenario,
        small: arguments.small,
        file: arguments.scenario_file.as_deref(),
        set: None,
        flags: &[("nodes", arguments.nodes), ("minutes", arguments.minutes)],
        with: &arguments.with,
        seed: arguments.seed,
    })?;
    let name = scenario.name().to_owned();
    let queue = Queue::new(vec![Run { name, scenario, settings }], arguments.jobs)?;
    let folder = folder_for(arguments.out)?;
    let stop = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&stop);
    let report = until_stopped(&stop, move || {
        let mut report = None;
        queue.work(&told, |whole| {
            report = Some(whole.report);
            Ok(())
        })?;
        report.ok_or_else(|| anyhow::anyhow!("no part of it came to an end"))
    })??;
    if let Some(folder) = &folder {
        write(folder, &report)?;
    }
    judge(&report, json)
}

/// Where reports go: made if it is not there.
fn folder_for(out: Option<PathBuf>) -> Result<Option<PathBuf>, Usage> {
    if let Some(folder) = &out {
        std::fs::create_dir_all(folder).map_err(|why| Usage(format!("{}: cannot be made: {why}", folder.display())))?;
    }
    Ok(out)
}

fn usage(refused: Refused) -> Usage {
    Usage(refused.to_string())
}

fn list() -> Said {
    let mut said = Said::default();
    let mut objects = Vec::new();
    let one = |scenario: Scenario| (scenario.name(), layers::summary(scenario), scenario.keys());
    for (name, what, keys) in scenario::offered().map(one).chain([(layers::ALL, set::summary(), Vec::new())]) {
        said = said.line(format!("{name:<14}{what}"));
        objects.push(serde_json::json!({ "scenario": name, "what": what, "keys": keys }));
    }
    said.with("scenarios", objects)
}

/// Runs it beside a task that waits for Ctrl-C, which asks it to end.
fn until_stopped<T: Send + 'static>(
    stop: &Arc<AtomicBool>,
    run: impl FnOnce() -> T + Send + 'static,
) -> anyhow::Result<T> {
    let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    tokio.block_on(async {
        let mut run = tokio::task::spawn_blocking(run);
        tokio::select! {
            done = &mut run => return Ok(done?),
            _ = tokio::signal::ctrl_c() => (),
        }
        stop.store(true, Ordering::Relaxed);
        say("ending; what there is follows");
        Ok(run.await?)
    })
}

/// A figure of the system in KiB, by the word before it; `None` where there is no such file.
fn kib(path: &str, word: &str) -> Option<u64> {
    let text = std::fs::read_to_string(path).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(word))?;
    line.split_whitespace().next()?.parse().ok()
}

fn write(folder: &Path, report: &Report) -> anyhow::Result<()> {
    let name = &report.name;
    let json = serde_json::to_string_pretty(report)? + "\n";
    files::write(&folder.join(format!("{name}.json")), json.as_bytes(), true)?;
    files::write(&folder.join(format!("{name}.md")), report.markdown().as_bytes(), true)?;
    for chart in &report.charts {
        files::write(&folder.join(chart.file_name(name)), chart.svg().as_bytes(), true)?;
    }
    say(&format!("{name}.json, {name}.md and {} charts are in {}", report.charts.len(), folder.display()));
    Ok(())
}

/// Prints the report; a run that did not hold, or did not end, has failed.
fn judge(report: &Report, json: bool) -> anyhow::Result<Said> {
    let object = match serde_json::to_value(report)? {
        Value::Object(object) => object,
        _ => Map::new(),
    };
    let failed = report.failed();
    let said = Said { lines: report.lines(), object };
    let message = match (report.partial, failed.is_empty()) {
        (false, true) => return Ok(said),
        (true, true) => "interrupted: the report is partial".to_owned(),
        (_, false) => format!("the run did not hold: {}", failed.join("; ")),
    };
    Err(fails(json, Exit::Failed, &message, said))
}
