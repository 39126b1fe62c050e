//! `bauta fuzz`: says wrong things to one node and watches what it does. It must not know how they are drawn or judged.
//!
//! Source: spec/fuzzing.md.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use indicatif::ProgressBar;
use serde_json::{Value, json};

use super::exit::{Exit, Told as Judged, fails};
use super::output::{say, share_bar};
use super::settings::Settings;
use super::{Said, Told, Usage, files};
use crate::crypto::keys::DhKey;
use crate::crypto::random_bytes;
use crate::limits::{FUZZ_MINUTES_MAX, FUZZ_SCRIPT_LEN_MAX};
use crate::net::Entropy;
use crate::probe::Target;
use crate::probe::fuzz::{self, Finding, Plan, Progress, Report, Tally, What};
use crate::probe::script::{Places, Script, Stopped};
use crate::time::Duration;
use crate::wire::hex;

/// Between two lines where there is no terminal, in thousandths of the run.
const LINE_EVERY: u64 = 100;

/// What `fuzz` takes.
#[derive(clap::Args)]
pub(super) struct FuzzArguments {
    /// The node: where it listens.
    #[arg(long, value_name = "IP:PORT")]
    addr: String,
    /// All that is said follows from this number; drawn without it, and told.
    #[arg(long, value_name = "S")]
    seed: Option<u64>,
    /// How long; up to 1440, and parts of a minute.
    #[arg(long, value_name = "M", default_value = "1")]
    minutes: String,
    /// Runs one script that an earlier run has written, and judges again.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["seed", "minutes"])]
    replay: Option<PathBuf>,
    /// Where findings are written; made if it is not there and there are any.
    #[arg(long, value_name = "DIR", default_value = "bauta-fuzz")]
    out: PathBuf,
    /// The node's link key, 64 hexadecimal digits; without it that of the bootstrap with this address.
    #[arg(long, value_name = "K")]
    key: Option<String>,
    /// The network's id, 64 hexadecimal digits; without it the setting.
    #[arg(long, value_name = "N")]
    network: Option<String>,
    /// The node's process on this machine: its end and its memory are watched.
    #[arg(long, value_name = "P")]
    pid: Option<u32>,
    /// For a node that is not on loopback: say that it is yours.
    #[arg(long)]
    i_own_this_host: bool,
}

/// Runs it.
pub(super) async fn fuzz(told: &Told, arguments: FuzzArguments) -> anyhow::Result<Said> {
    let mut settings = told.settings.clone();
    if let Some(network) = &arguments.network {
        settings.set_flag("network", network)?;
    }
    let target = target(&settings, &arguments)?;
    let places = Places::against(&target, settings.bind);
    if let Some(pid) = arguments.pid.filter(|pid| !fuzz::runs(*pid)) {
        return Err(Usage(format!("--pid {pid}: there is no such process")).into());
    }
    if let Some(file) = &arguments.replay {
        return replay(told.json, target, places, file).await;
    }
    let time = minutes(&arguments.minutes, FUZZ_MINUTES_MAX)?;
    // A run of hours must not end with findings that have no place.
    if arguments.out.exists() && !arguments.out.is_dir() {
        return Err(Usage(format!("--out {}: is no folder", arguments.out.display())).into());
    }
    if !arguments.out.exists() {
        // Nothing is left of the trial, however the run ends.
        make(&arguments.out)?;
        let _ = std::fs::remove_dir(&arguments.out);
    }
    let mut rng = Entropy::from_system()?.generator();
    let seed = arguments.seed.unwrap_or_else(|| u64::from_be_bytes(random_bytes(&mut rng)));
    let salt = random_bytes(&mut rng);
    say(&format!("seed {seed}: first the honest client alone, then scripts beside it"));
    let plan = Plan { target, places, seed, salt, time, pid: arguments.pid };
    let report = run(plan).await?;
    let written = write(&arguments.out, seed, &report.findings)?;
    judge(told, &arguments, (seed, time), &report, &written)
}

/// Whom, if that is allowed and enough is known.
fn target(settings: &Settings, arguments: &FuzzArguments) -> anyhow::Result<Target> {
    let shown = arguments.addr.escape_debug();
    let address: SocketAddr = arguments
        .addr
        .parse()
        .map_err(|_| Usage(format!("--addr {shown}: is not IP:PORT; names are not looked up")))?;
    if !address.ip().is_loopback() && !arguments.i_own_this_host {
        let why = "is not on loopback: what follows is an attack, so say --i-own-this-host if the node is yours";
        return Err(Usage(format!("--addr {shown}: {why}")).into());
    }
    let network = settings.network()?;
    let listed = settings.bootstraps.iter().find(|one| one.address.0 == address).map(|one| one.link_key);
    let link_key = match &arguments.key {
        Some(key) => {
            let bytes = hex::decode(key).map_err(|_| Usage("--key: is not 64 hexadecimal digits".to_owned()))?;
            DhKey(bytes)
        }
        None => listed.ok_or_else(|| {
            let what = "give --key LINK-KEY, the last part of the contact that `bauta relay run` prints";
            Usage(format!("--addr {shown}: no bootstrap in the settings has this address: {what}"))
        })?,
    };
    Ok(Target { address, link_key, network })
}

/// A time in minutes, and parts of one.
pub(super) fn minutes(text: &str, max: u32) -> Result<Duration, Usage> {
    let max = f64::from(max);
    let minutes: Option<f64> = text.parse().ok().filter(|minutes| *minutes > 0.0 && *minutes <= max);
    let shown = text.escape_debug();
    let minutes = minutes.ok_or_else(|| Usage(format!("--minutes {shown}: is no number above 0 and up to {max}")))?;
    Ok(Duration::from_secs_f64(60.0 * minutes).max(Duration::from_millis(100)))
}

/// How a run ends that is nobody's finding.
fn stopped(stopped: Stopped) -> anyhow::Error {
    let message = match &stopped {
        Stopped::NotUp(why) => format!("{why}: check --addr, key and network, and that the node runs"),
        Stopped::Unproven => format!("{stopped}: check network and difficulty, and this machine's clock"),
        Stopped::Local(_) => return stopped.into(),
    };
    Judged::new(Exit::Unreachable, &message).into()
}

/// Runs the plan beside a wait for Ctrl-C, which ends it.
async fn run(plan: Plan) -> anyhow::Result<Report> {
    let stop = Arc::new(AtomicBool::new(false));
    let bar = share_bar(1_000);
    let mut board = Board { bar, told: 0 };
    let mut tell = |progress: Progress| board.show(progress);
    let running = fuzz::run(plan, &stop, &mut tell);
    tokio::pin!(running);
    let ended = tokio::select! {
        ended = &mut running => ended,
        _ = tokio::signal::ctrl_c() => {
            stop.store(true, Ordering::Relaxed);
            say("ending; what there is follows");
            running.await
        }
    };
    ended.map_err(stopped)
}

/// How far a run is, as whoever waits sees it.
struct Board {
    bar: ProgressBar,
    told: u64,
}

impl Board {
    fn show(&mut self, Progress { permille, scripts, findings }: Progress) {
        let line = format!("{} %, {scripts} scripts, {findings} findings", permille / 10);
        if !self.bar.is_hidden() {
            self.bar.set_position(permille);
            self.bar.set_message(line);
        } else if permille >= self.told + LINE_EVERY {
            self.told = permille - permille % LINE_EVERY;
            say(&line);
        }
    }
}

impl Drop for Board {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

fn make(folder: &Path) -> Result<(), Usage> {
    std::fs::create_dir_all(folder).map_err(|why| Usage(format!("--out {}: cannot be made: {why}", folder.display())))
}

/// Writes script and test of each finding; where they stand.
fn write(folder: &Path, seed: u64, findings: &[Finding]) -> anyhow::Result<Vec<PathBuf>> {
    if findings.is_empty() {
        return Ok(Vec::new());
    }
    make(folder)?;
    let mut written = Vec::new();
    for (number, finding) in (1..).zip(findings) {
        let path = folder.join(format!("{seed}-{number}-{}.script", finding.what.name()));
        files::write(&path, finding.text(seed).as_bytes(), true)?;
        if !finding.script.0.is_empty() {
            files::write(&path.with_extension("rs"), finding.test(seed).as_bytes(), true)?;
        }
        written.push(path);
    }
    Ok(written)
}

fn judge(
    told: &Told,
    arguments: &FuzzArguments,
    (seed, time): (u64, Duration),
    report: &Report,
    written: &[PathBuf],
) -> anyhow::Result<Said> {
    let mut said = Said::default()
        .line(format!("node      {}", arguments.addr.escape_debug()))
        .line(format!("seed      {seed}"))
        .line(format!(
            "scripts   {} ({} connections, {} build packets)",
            report.scripts, report.connects, report.builds
        ))
        .line(format!("honest    before: {}", tally(&report.before)))
        .line(format!("          during: {}", tally(&report.during)));
    if let Some(memory) = report.memory {
        let mib = |bytes: u64| bytes >> 20;
        said = said.line(format!(
            "memory    {} MiB before, {} at most, {} at the end",
            mib(memory.start),
            mib(memory.peak),
            mib(memory.end)
        ));
    }
    let mut list = Vec::new();
    for (finding, path) in report.findings.iter().zip(written) {
        said = said.line(format!("FINDING   {}: {}", finding.what.name(), finding.what));
        said = said.line(format!("          {}", path.display()));
        list.push(json!({
            "kind": finding.what.name(), "what": finding.what.to_string(), "script": finding.number,
            "path": path.display().to_string(),
        }));
    }
    if report.findings_more > 0 {
        said = said.line(format!("          and {} more of the same kinds", report.findings_more));
    }
    let memory = report.memory.map(|one| json!({ "start": one.start, "peak": one.peak, "end": one.end }));
    let said = said
        .with("addr", arguments.addr.clone())
        .with("seed", seed)
        .with("seconds", time.as_secs_f64())
        .with("partial", report.is_partial)
        .with("scripts", report.scripts)
        .with("connects", report.connects)
        .with("builds", report.builds)
        .with("before", tally_json(&report.before))
        .with("during", tally_json(&report.during))
        .with("memory", memory)
        .with("findings", list)
        .with("findings_more", report.findings_more);
    let kinds: Vec<&str> = report.findings.iter().map(|finding| finding.what.name()).collect();
    match (kinds.is_empty(), report.is_partial) {
        (true, false) => Ok(said.line("nothing was found")),
        (true, true) => Err(fails(told.json, Exit::Failed, "interrupted: the report is partial", said)),
        (false, _) => Err(fails(told.json, Exit::Failed, &format!("found: {}", kinds.join(", ")), said)),
    }
}

fn ms(tally: &Tally, percent: usize) -> Option<f64> {
    tally.percentile(percent).map(|time| 1e3 * time.as_secs_f64())
}

fn tally(of: &Tally) -> String {
    let shown = |percent| ms(of, percent).map_or_else(|| "-".to_owned(), |ms| format!("{ms:.1} ms"));
    format!("{} asked, {} failed, median {}, 99 % within {}", of.asked, of.failed, shown(50), shown(99))
}

fn tally_json(of: &Tally) -> Value {
    json!({ "asked": of.asked, "failed": of.failed, "p50_ms": ms(of, 50), "p99_ms": ms(of, 99) })
}

/// Runs one script again.
async fn replay(json: bool, target: Target, places: Places, file: &Path) -> anyhow::Result<Said> {
    let shown = file.display();
    let len = std::fs::metadata(file).map_err(|why| Usage(format!("{shown}: cannot be read: {why}")))?.len();
    if usize::try_from(len).map_or(true, |len| len > FUZZ_SCRIPT_LEN_MAX) {
        return Err(Usage(format!("{shown}: a script has at most {FUZZ_SCRIPT_LEN_MAX} bytes")).into());
    }
    let text = std::fs::read_to_string(file).map_err(|why| Usage(format!("{shown}: cannot be read: {why}")))?;
    let script: Script = text.parse().map_err(|why| Usage(format!("{shown}: {why}")))?;
    if script.0.is_empty() {
        return Err(Usage(format!("{shown}: holds no step: run the seed that it names")).into());
    }
    let found: Vec<What> = fuzz::replay(target, places, &script).await.map_err(stopped)?;
    let list: Vec<Value> = found.iter().map(|what| json!({ "kind": what.name(), "what": what.to_string() })).collect();
    let said = Said::default().with("replayed", shown.to_string()).with("findings", list);
    if found.is_empty() {
        return Ok(said.line("nothing was found"));
    }
    let said = found.iter().fold(said, |said, what| said.line(format!("FINDING   {}: {what}", what.name())));
    let kinds: Vec<&str> = found.iter().map(What::name).collect();
    Err(fails(json, Exit::Failed, &format!("found: {}", kinds.join(", ")), said))
}
