//! Random small worlds with random faults, one after the other, until something does not hold or the time is over. What fails is
//! made small, and told with the command that repeats it. Source: spec/simulation.md §12.6.

mod case;
mod fault;
mod planted;
mod shrink;
#[cfg(test)]
mod tests;

use rand::SeedableRng;
use rand::rngs::ChaCha20Rng;

pub use self::case::Failure;
use self::case::{Case, Ran};
pub use self::fault::{Fault, FaultRefused, Kind};
#[doc(hidden)]
pub use self::planted::Planted;
use super::{Refused, Watch};
use crate::limits::SIM_SHRINK_RUNS_MAX;
use crate::sim::draw::{mixed, real_count};
use crate::sim::internet::Internet;
use crate::sim::report::{Cell, Report, Table};
use crate::sim::settings::{self, Scenario, SettingRefused, Settings};
use crate::sim::world::draw::{below, chance, within};
use crate::sim::world::{Ciphers, Options};
use crate::time::Duration;

pub(super) use super::running::memory_needed;

/// Faults of a world, at most.
const FAULTS_MAX: usize = 12;
/// With `auto`, links of so many worlds are really encrypted: it takes much longer.
const REAL_CIPHERS: f64 = 0.1;
/// A list without faults, which is another thing than no list.
const NO_FAULT: &str = "none";
/// Worlds that are told one by one.
const TOLD_MAX: usize = 50;

/// What was found.
pub(super) struct Found {
    case: Case,
    failure: Failure,
    shrunk: Vec<Fault>,
}

pub(super) fn run(settings: &Settings, watch: &mut dyn Watch) -> Result<Report, Refused> {
    hunt(settings, None, watch)
}

/// A hunt in which a bug may be planted.
///
/// # Errors
/// [`Refused`], before anything is run.
#[doc(hidden)]
pub fn hunt(settings: &Settings, planted: Option<Planted>, watch: &mut dyn Watch) -> Result<Report, Refused> {
    let given = given(settings)?;
    let mut report = Report::new(Scenario::Hunt, settings);
    let columns = ["world", "seed", "nodes", "ciphers", "faults", "operations", "records", "must be read", "virtual h"];
    let mut table = Table::new("worlds", "Worlds that were run, the first fifty", &columns);
    let (mut digest, mut looked_at, mut worlds, mut found) = (0, 0, 0, None);
    // A list that is given is for one world.
    let most = if given.is_none() { settings.repeats } else { 1 };
    for number in 0..most {
        if watch.is_stopped() || (number > 0 && watch.is_time_over(settings.minutes)) {
            break;
        }
        let seed = seed_of(settings.seed, number);
        let mut case = drawn(settings, seed, planted);
        case.faults = given.clone().unwrap_or(case.faults);
        let span = (real_count(number) / real_count(most), real_count(number + 1) / real_count(most));
        let ran = case::run(&case, settings, span, watch);
        (digest, looked_at) = (mixed(digest, ran.digest), looked_at + ran.looked_at);
        report.events += ran.events;
        report.virtual_s += ran.virtual_s;
        if number < TOLD_MAX {
            table.row(row(number, &case, &ran));
        }
        if ran.stopped {
            break;
        }
        worlds += 1;
        if let Some(failure) = ran.failure {
            let shrunk = made_small(settings, &case, &failure, watch);
            found = Some(Found { case, failure, shrunk });
            break;
        }
    }
    report.tables.push(table);
    report.digest = format!("{digest:016x}");
    judge(&mut report, settings, (worlds, looked_at), found);
    Ok(report)
}

/// The list of the settings; `None` when it is to be drawn.
fn given(settings: &Settings) -> Result<Option<Vec<Fault>>, Refused> {
    if settings.faults.is_empty() {
        return Ok(None);
    }
    settings.faults.iter().filter(|text| *text != NO_FAULT).map(|text| parsed(text)).collect::<Result<_, _>>().map(Some)
}

fn parsed(text: &str) -> Result<Fault, Refused> {
    text.parse().map_err(|why: FaultRefused| {
        let value = format!("\"{}\"", text.escape_debug());
        Refused::Setting(SettingRefused::Value { key: "faults", value, allowed: why.to_string() })
    })
}

/// The first world has the seed that is given: so one world can be run again.
fn seed_of(seed: u64, number: usize) -> u64 {
    let number = u64::try_from(number).unwrap_or(u64::MAX);
    if number == 0 { seed } else { mixed(seed, number) }
}

/// A world of this seed. Each draw is made whatever the settings are, so that a seed means the same with fewer of them.
fn drawn(settings: &Settings, seed: u64, planted: Option<Planted>) -> Case {
    let mut rng = ChaCha20Rng::seed_from_u64(mixed(seed, 1));
    let nodes = settings.nodes.get(below(&mut rng, settings.nodes.len())).copied().unwrap_or(12);
    let is_real = chance(&mut rng, REAL_CIPHERS);
    let ciphers = match settings.ciphers {
        settings::Ciphers::Real => Ciphers::Real,
        settings::Ciphers::Tokens => Ciphers::Tokens,
        settings::Ciphers::Auto if is_real => Ciphers::Real,
        settings::Ciphers::Auto => Ciphers::Tokens,
    };
    let one_way = Duration::from_millis(1) + within(&mut rng, Duration::from_millis(100));
    let internet = if chance(&mut rng, 0.5) { Internet::synthetic(seed) } else { Internet::fixed(one_way) };
    let count = below(&mut rng, FAULTS_MAX + 1);
    let mut faults: Vec<Fault> = (0..count).map(|_| Fault::drawn(&mut rng)).collect();
    faults.sort();
    Case { options: Options { ciphers, ..Options::new(seed, internet) }, nodes, faults, planted }
}

/// The fewest faults with which the same check fails.
fn made_small(settings: &Settings, case: &Case, failure: &Failure, watch: &mut dyn Watch) -> Vec<Fault> {
    shrink::shrunk(&case.faults, SIM_SHRINK_RUNS_MAX, |faults| {
        let smaller = Case { faults: faults.to_vec(), ..case.clone() };
        let ran = case::run(&smaller, settings, (1.0, 1.0), watch);
        ran.failure.is_some_and(|other| other.check == failure.check)
    })
}

fn row(number: usize, case: &Case, ran: &Ran) -> Vec<Cell> {
    let ciphers = if case.options.ciphers == Ciphers::Real { "real" } else { "tokens" };
    vec![
        Cell::count(number + 1),
        Cell::text(&case.options.seed.to_string()),
        Cell::count(case.nodes),
        Cell::text(ciphers),
        Cell::count(case.faults.len()),
        Cell::count(ran.operations),
        Cell::count(ran.records.0),
        Cell::count(ran.records.1),
        Cell::Real(ran.virtual_s / 3_600.0, 2),
    ]
}

fn judge(report: &mut Report, settings: &Settings, (worlds, looked_at): (usize, u64), found: Option<Found>) {
    let Some(Found { case, failure, shrunk }) = found else {
        let detail = format!("{worlds} worlds; {looked_at} cells, sights, operations and tables looked at");
        return report.check("nothing fails in any world", true, detail);
    };
    report.check("nothing fails in any world", false, format!("{}: {}", failure.check, failure.what));
    let listed = |faults: &[Fault]| faults.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    let seed = case.options.seed;
    report.note(format!("found in world {worlds}, seed {seed}, faults {}", listed(&case.faults)));
    report.note(format!("it still fails with {} of its {} faults", shrunk.len(), case.faults.len()));
    report.note(format!("again: {}", command(settings, &case, &listed(&shrunk))));
    let mut table = Table::new("smallest", "The smallest list of faults that fails", &["fault"]);
    shrunk.iter().for_each(|fault| table.row(vec![Cell::text(&fault.to_string())]));
    report.tables.push(table);
}

fn command(settings: &Settings, case: &Case, faults: &str) -> String {
    let ciphers = if case.options.ciphers == Ciphers::Real { "real" } else { "tokens" };
    let Settings { clients, records, gets, .. } = settings;
    let (seed, nodes) = (case.options.seed, case.nodes);
    let faults = if faults.is_empty() { NO_FAULT } else { faults };
    format!(
        "bauta sim hunt --seed {seed} --nodes {nodes} --with ciphers={ciphers} --with clients={clients} --with records={records} \
         --with gets={gets} --with faults={faults}"
    )
}
