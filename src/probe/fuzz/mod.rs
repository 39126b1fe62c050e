//! A run of the fuzzer: drawn scripts against one target in lanes, an honest client beside them, an eye on its process; and what
//! of all that is a finding. It must not know who reads the report.
//!
//! Source: spec/fuzzing.md.

mod budget;
mod draw;
mod honest;
mod process;
mod shrink;
mod verdict;

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use self::budget::Budget;
pub use self::draw::script;
use self::honest::Honest;
pub use self::honest::Tally;
use self::process::Process;
pub use self::process::{Memory, runs};
use self::verdict::judge;
pub use self::verdict::{Finding, What};
use crate::limits::{FUZZ_FINDINGS_MAX, FUZZ_FINDINGS_OF_KIND_MAX, FUZZ_HONEST_EVERY, FUZZ_IDLE_MAX, FUZZ_LANES};
use crate::net::{Clock, Entropy};
use crate::probe::Target;
use crate::probe::script::{Fault, Found, Knowledge, Places, Runner, Salt, Script, Stopped, drawn_from};
use crate::time::Duration;

/// Between two looks at the target's process.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// After the last script the target has so long to come to rest before its memory is looked at.
const REST: Duration = Duration::from_secs(3);

/// What is to be run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Whom.
    pub target: Target,
    /// From where.
    pub places: Places,
    /// What all scripts follow from.
    pub seed: u64,
    /// What their keys follow from besides, drawn for this run.
    pub salt: Salt,
    /// For how long, the undisturbed part in front not counted.
    pub time: Duration,
    /// Its process on this machine, if that is known.
    pub pid: Option<u32>,
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Scripts that were run.
    pub scripts: u64,
    /// Connections that they made.
    pub connects: u64,
    /// Build packets that they sent.
    pub builds: u64,
    /// Whether it was ended before its time: by whoever watches, or since nobody listens any more.
    pub is_partial: bool,
    /// The honest client before the first script.
    pub before: Tally,
    /// The honest client beside them.
    pub during: Tally,
    /// Memory of the target's process.
    pub memory: Option<Memory>,
    /// What is told.
    pub findings: Vec<Finding>,
    /// Findings that are not, since there were more of their kind.
    pub findings_more: u64,
}

impl Report {
    /// Keeps a finding, unless there are enough of its kind, or in all; whether it was kept.
    fn keep(&mut self, finding: Finding) -> bool {
        let alike = self.findings.iter().filter(|one| one.what.name() == finding.what.name()).count();
        if alike >= FUZZ_FINDINGS_OF_KIND_MAX || self.findings.len() >= FUZZ_FINDINGS_MAX {
            self.findings_more += 1;
            return false;
        }
        self.findings.push(finding);
        true
    }
}

/// How far a run is.
#[derive(Clone, Copy, Debug, Default)]
pub struct Progress {
    /// Of its time, in thousandths.
    pub permille: u64,
    /// Scripts that were run.
    pub scripts: u64,
    /// Findings.
    pub findings: u64,
}

/// What lanes, the honest client and who watches share.
struct Shared {
    runner: Runner,
    plan: Plan,
    end: Instant,
    next: AtomicU64,
    stop: AtomicBool,
    state: Mutex<State>,
    budget: Mutex<Budget>,
}

#[derive(Default)]
struct State {
    report: Report,
    /// By their number.
    under_way: BTreeMap<u64, Script>,
    /// Those that ended last, as many as there are lanes: a node may die of one a moment later.
    ended: VecDeque<(u64, Script)>,
}

impl Shared {
    /// Waits until the budget of all lanes has the connections and build packets that a script needs, and takes them.
    async fn afford(&self, script: &Script) -> (u32, u32) {
        let (connects, builds) = script.cost();
        loop {
            let wait = self.budget.lock().unwrap_or_else(PoisonError::into_inner).take(connects, builds);
            let Some(wait) = wait else { return (connects, builds) };
            // A deadline on what never comes.
            let _ = timeout_at(Instant::now() + wait, std::future::pending::<()>()).await;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_over(&self) -> bool {
        self.stop.load(Ordering::Relaxed) || Instant::now() >= self.end
    }

    fn keep(&self, finding: Finding) -> bool {
        self.state().report.keep(finding)
    }

    /// Nobody listens any more: what was under way may be why.
    fn gone(&self, what: What, own: Option<(u64, &Script)>) {
        let is_early = Instant::now() < self.end;
        // The first who notices tells; to the others it is no news.
        if self.stop.swap(true, Ordering::Relaxed) {
            return;
        }
        let mut state = self.state();
        state.report.is_partial = is_early;
        let mut scripts = state.under_way.clone();
        scripts.extend(state.ended.iter().cloned());
        drop(state);
        scripts.extend(own.map(|(number, script)| (number, script.clone())));
        let number = scripts.keys().next().copied();
        let script = Script(scripts.into_values().flat_map(|script| script.0).collect());
        self.keep(Finding { what, number, script });
    }
}

/// Runs it to its end, or until `stop` says so, telling how far it is about twice a second.
///
/// # Errors
/// [`Stopped`] when the target could not be asked who it is, or this machine has no sockets left.
pub async fn run(plan: Plan, stop: &AtomicBool, tell: &mut (dyn FnMut(Progress) + Send)) -> Result<Report, Stopped> {
    let mut rng = Entropy::from_system().map_err(Stopped::Local)?.generator();
    let knowledge = Knowledge::learn(&plan.target, plan.places.honest(), &mut rng).await?;
    let members = knowledge.members.clone();
    let runner = Runner::new(plan.target, knowledge, plan.places, plan.salt)?;
    let mut honest = Honest::new(plan.target, plan.places.honest(), members, rng);
    let mut process = plan.pid.map(Process::new);

    let idle = (plan.time / 6).min(FUZZ_IDLE_MAX);
    let before = undisturbed(&mut honest, idle, stop).await;
    if let Some(process) = &mut process {
        process.look();
    }
    let report = Report { before, ..Report::default() };
    let shared = Arc::new(Shared {
        runner,
        end: Instant::now() + plan.time,
        plan,
        next: AtomicU64::new(0),
        stop: AtomicBool::new(false),
        state: Mutex::new(State { report, ..State::default() }),
        budget: Mutex::new(Budget::new(Clock::start())),
    });
    let mut lanes = JoinSet::new();
    for _ in 0..FUZZ_LANES {
        lanes.spawn(lane(Arc::clone(&shared)));
    }
    let watched = watch(&shared, process.as_mut(), stop, tell);
    let asked = beside(&shared, &mut honest);
    let (during, ()) = tokio::join!(asked, watched);
    while let Some(ended) = lanes.join_next().await {
        ended.map_err(|error| Stopped::Local(std::io::Error::other(error)))??;
    }
    rest(&shared, &mut honest, process.as_mut()).await;
    let mut report = core::mem::take(&mut shared.state().report);
    (report.during, report.memory) = (during, process.map(|process| process.memory()));
    for finding in judge(&report) {
        report.keep(finding);
    }
    Ok(report)
}

/// The honest client alone.
async fn undisturbed(honest: &mut Honest, time: Duration, stop: &AtomicBool) -> Tally {
    let (end, mut tally) = (Instant::now() + time, Tally::default());
    let mut beat = tokio::time::interval(FUZZ_HONEST_EVERY);
    while Instant::now() < end && !stop.load(Ordering::Relaxed) {
        beat.tick().await;
        let (took, is_right) = honest.ask().await;
        tally.note(took, is_right);
    }
    tally
}

/// The honest client beside the scripts.
async fn beside(shared: &Shared, honest: &mut Honest) -> Tally {
    let mut tally = Tally::default();
    let mut beat = tokio::time::interval(FUZZ_HONEST_EVERY);
    beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    while !shared.is_over() {
        beat.tick().await;
        let (took, is_right) = honest.ask().await;
        // Of a target that is gone it is no news.
        if !shared.stop.load(Ordering::Relaxed) {
            tally.note(took, is_right);
        }
    }
    tally
}

/// Looks at the process, and tells how far the run is.
async fn watch(
    shared: &Shared,
    mut process: Option<&mut Process>,
    stop: &AtomicBool,
    tell: &mut (dyn FnMut(Progress) + Send),
) {
    let mut beat = tokio::time::interval(LOOK_EVERY);
    while !shared.is_over() {
        beat.tick().await;
        if let Some(process) = process.as_deref_mut()
            && !process.look()
        {
            shared.gone(What::Ended, None);
        }
        if stop.load(Ordering::Relaxed) {
            shared.state().report.is_partial = true;
            shared.stop.store(true, Ordering::Relaxed);
        }
        let left = shared.end.saturating_duration_since(Instant::now());
        let done = shared.plan.time.saturating_sub(left).as_millis() * 1_000 / shared.plan.time.as_millis().max(1);
        let state = shared.state();
        let findings = state.report.findings.len();
        tell(Progress {
            permille: u64::try_from(done).unwrap_or(1_000),
            scripts: state.report.scripts,
            findings: u64::try_from(findings).unwrap_or(0) + state.report.findings_more,
        });
    }
}

/// Scripts one after the other until the time is over.
async fn lane(shared: Arc<Shared>) -> Result<(), Stopped> {
    while !shared.is_over() {
        let number = shared.next.fetch_add(1, Ordering::Relaxed);
        let script = draw::script(shared.plan.seed, number).salted(shared.plan.salt);
        let (connects, builds) = shared.afford(&script).await;
        if shared.is_over() {
            return Ok(());
        }
        shared.state().under_way.insert(number, script.clone());
        let found = shared.runner.run(&script).await;
        {
            let mut state = shared.state();
            state.under_way.remove(&number);
            state.ended.push_back((number, script.clone()));
            if state.ended.len() > FUZZ_LANES {
                state.ended.pop_front();
            }
            state.report.scripts += 1;
            state.report.connects += u64::from(connects);
            state.report.builds += u64::from(builds);
        }
        match found {
            Ok(found) => found_by(&shared, (number, &script), &found).await,
            Err(stopped) => {
                shared.stop.store(true, Ordering::Relaxed);
                return Err(stopped);
            }
        }
    }
    Ok(())
}

/// Keeps what a script has found, as small as is cheap.
async fn found_by(shared: &Shared, (number, script): (u64, &Script), found: &[Found]) {
    for one in found {
        if one.fault == Fault::Gone {
            return shared.gone(What::Fault(Fault::Gone), Some((number, script)));
        }
        let what = What::Fault(one.fault);
        if shared.keep(Finding { what, number: Some(number), script: script.clone() }) {
            let small = shrink::smaller(shared, script, one.fault).await;
            let mut state = shared.state();
            let kept = state.report.findings.iter_mut().find(|kept| kept.what == what && kept.number == Some(number));
            if let Some(kept) = kept {
                kept.script = small;
            }
        }
    }
}

/// The target comes to rest: does it still answer, and what memory does it keep?
async fn rest(shared: &Shared, honest: &mut Honest, process: Option<&mut Process>) {
    if shared.stop.load(Ordering::Relaxed) {
        return;
    }
    let _ = timeout_at(Instant::now() + REST, std::future::pending::<()>()).await;
    let is_there = honest.ask().await.1 || honest.ask().await.1;
    let ran = process.is_none_or(Process::look);
    if !ran {
        shared.gone(What::Ended, None);
    } else if !is_there {
        shared.gone(What::Fault(Fault::Gone), None);
    }
}

/// Runs one script that was kept, and asks honestly behind it; what it finds again.
///
/// # Errors
/// [`Stopped`].
pub async fn replay(target: Target, places: Places, script: &Script) -> Result<Vec<What>, Stopped> {
    let mut rng = drawn_from(&script.salt(), 0);
    let knowledge = Knowledge::learn(&target, places.honest(), &mut rng).await?;
    let members = knowledge.members.clone();
    let runner = Runner::new(target, knowledge, places, script.salt())?;
    let mut found: Vec<What> = runner.run(script).await?.into_iter().map(|one| What::Fault(one.fault)).collect();
    found.sort_unstable();
    found.dedup();
    let mut honest = Honest::new(target, places.honest(), members, rng);
    let is_there = honest.ask().await.1 || honest.ask().await.1;
    if !is_there && !found.contains(&What::Fault(Fault::Gone)) {
        found.push(What::Fault(Fault::Gone));
    }
    Ok(found)
}

/// For what no script shows by itself.
const fn no_script() -> Script {
    Script(Vec::new())
}

#[cfg(test)]
mod tests;
