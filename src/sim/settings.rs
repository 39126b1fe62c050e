//! What scenarios are told: one struct of all keys, which scenario uses which, and what each key takes. It must not know files,
//! TOML or the command line. Source: spec/simulation.md §4.

use serde::{Deserialize, Serialize};

use super::internet::Internet;
use super::report::Cell;
use crate::limits::{
    HOPS_CLIENT_MIN, HOPS_MAX, SIM_CLIENTS_MAX, SIM_DURATION_HOURS_MAX, SIM_FILE_KIB_MAX, SIM_FILES_MAX, SIM_LIST_MAX,
    SIM_NODES_MAX, SIM_OPERATIONS_MAX, SIM_REPEATS_MAX,
};
use crate::time::Duration;

/// What scenario is run.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Scenario {
    /// Lookups in networks of growing size.
    Scale,
    /// How keys spread over nodes, and what joins and leaves move.
    Partitioning,
    /// A share of all nodes fails at once.
    Faults,
    /// Nodes come and go.
    Churn,
    /// The network is cut in two and joined again.
    Partition,
    /// Half of the nodes stop at once.
    Halves,
    /// Nodes that lie.
    Adversary,
    /// Many identities next to one key.
    Sybil,
    /// What observers can join.
    Anonymity,
    /// Everybody wants one record.
    FlashCrowd,
    /// A long run with everything at once.
    Soak,
    /// Files, and a part of all nodes stops at once.
    Content,
    /// Files, and nodes come and go.
    ContentChurn,
    /// Random small worlds until something does not hold.
    Hunt,
}

/// Which ciphers nodes run with.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ciphers {
    /// The protocol's own.
    Real,
    /// Tokens that stand for them: the same bytes on the wire, no arithmetic.
    Tokens,
    /// Real up to a size that the scenario knows, tokens beyond.
    #[default]
    Auto,
}

/// Which internet is between the nodes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum World {
    /// Places and accesses drawn from the seed.
    Synthetic,
}

/// Every key of every scenario. A scenario reads those that it uses ([`Scenario::keys`]); the others keep these defaults.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Sizes of the network; one run for each.
    pub nodes: Vec<usize>,
    /// What all draws follow from. A seed that is written in a file has 63 bits: TOML knows no more.
    pub seed: u64,
    /// Which ciphers nodes run with.
    pub ciphers: Ciphers,
    /// One time for every pair of nodes, one way, milliseconds; either this or `internet`.
    pub one_way_ms: Option<f64>,
    /// A drawn internet; either this or `one_way_ms`.
    pub internet: Option<World>,
    /// What every access carries each way, megabits a second; 0 for what the internet says.
    pub bandwidth_mbit: f64,
    /// Clients.
    pub clients: usize,
    /// Records that are put.
    pub records: usize,
    /// Lookups.
    pub gets: usize,
    /// Virtual hours.
    pub hours: f64,
    /// Shares of the nodes that fail.
    pub fail: Vec<f64>,
    /// Median sessions of nodes, minutes.
    pub session_minutes: Vec<f64>,
    /// Shape of the Weibull distribution of sessions; 1 is exponential, below 1 has many short ones.
    pub shape: f64,
    /// Chance that a node that leaves comes back as the same; else another one begins in its place.
    pub returns: f64,
    /// Median time between a leave and the return, minutes.
    pub pause_minutes: f64,
    /// Chance that a node that comes back still has what it stored.
    pub disk_kept: f64,
    /// Share of stops that nobody is told of, as when power is lost.
    pub crash_silent: f64,
    /// Shares of the nodes that are bad.
    pub bad: Vec<f64>,
    /// What bad nodes do, by name.
    pub behaviours: Vec<String>,
    /// Numbers of identities placed next to the target.
    pub sybils: Vec<usize>,
    /// Share of the nodes that stop.
    pub stopped: f64,
    /// Shares of the nodes that stop, a world of their own each.
    pub stops: Vec<f64>,
    /// Files that are published.
    pub files: usize,
    /// Their shortest and longest, KiB; lengths lie evenly by their logarithm.
    pub file_kib: Vec<usize>,
    /// A file has a second more for each so many KiB.
    pub slowest_kib_s: f64,
    /// Relays in every path; for `anonymity` the most, from three on.
    pub hops: usize,
    /// An operation ends within this, virtual seconds.
    pub deadline_s: f64,
    /// Runs with seeds of their own.
    pub repeats: usize,
    /// Minutes of real time, for `hunt`; of virtual time, for `partition`.
    pub minutes: f64,
    /// Faults of one world, in words; none for worlds with faults of their own.
    pub faults: Vec<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            nodes: vec![1_000],
            seed: 1,
            ciphers: Ciphers::Auto,
            one_way_ms: None,
            internet: None,
            bandwidth_mbit: 0.0,
            clients: 10,
            records: 100,
            gets: 1_000,
            hours: 1.0,
            fail: vec![0.1],
            session_minutes: vec![60.0],
            shape: 0.6,
            returns: 0.7,
            pause_minutes: 60.0,
            disk_kept: 0.9,
            crash_silent: 0.5,
            bad: vec![0.2],
            behaviours: Vec::new(),
            sybils: vec![16],
            stopped: 0.5,
            stops: vec![0.3, 0.5],
            files: 100,
            file_kib: vec![1_024, 65_536],
            slowest_kib_s: 64.0,
            hops: HOPS_CLIENT_MIN,
            deadline_s: 30.0,
            repeats: 1,
            minutes: 1.0,
            faults: Vec::new(),
        }
    }
}

/// Why settings are refused. Nothing has been run then.
#[derive(Clone, PartialEq, Debug, thiserror::Error)]
pub enum SettingRefused {
    /// A value that its key does not take.
    #[error("{key} = {value}: {allowed}")]
    Value {
        /// The key.
        key: &'static str,
        /// What was given.
        value: String,
        /// What would do.
        allowed: String,
    },
    /// Two keys that say different things of one.
    #[error("{0} does not go with {1}: give one of them")]
    Both(&'static str, &'static str),
}

impl Scenario {
    /// All of them, in the order of a list for people.
    pub const ALL: [Self; 14] = [
        Self::Scale,
        Self::Partitioning,
        Self::Faults,
        Self::Churn,
        Self::Partition,
        Self::Halves,
        Self::Adversary,
        Self::Sybil,
        Self::Anonymity,
        Self::FlashCrowd,
        Self::Soak,
        Self::Content,
        Self::ContentChurn,
        Self::Hunt,
    ];

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Scale => "scale",
            Self::Partitioning => "partitioning",
            Self::Faults => "faults",
            Self::Churn => "churn",
            Self::Partition => "partition",
            Self::Halves => "halves",
            Self::Adversary => "adversary",
            Self::Sybil => "sybil",
            Self::Anonymity => "anonymity",
            Self::FlashCrowd => "flash-crowd",
            Self::Soak => "soak",
            Self::Content => "content",
            Self::ContentChurn => "content-churn",
            Self::Hunt => "hunt",
        }
    }

    /// The keys that it uses, as its built-in file has them; `one_way_ms` and `internet` stand for each other.
    #[must_use]
    pub fn keys(self) -> Vec<&'static str> {
        let own = match self {
            Self::Scale => "clients records gets hops",
            Self::Faults => "clients records gets fail deadline_s",
            Self::Partition => "clients records gets minutes",
            Self::Halves => "clients records stopped crash_silent deadline_s",
            Self::Anonymity => "clients records gets hours bad hops repeats",
            Self::Adversary => "clients records gets bad behaviours",
            Self::Sybil => "records gets sybils repeats",
            Self::FlashCrowd => "bandwidth_mbit clients gets deadline_s",
            Self::Churn => {
                "clients records hours session_minutes shape returns pause_minutes disk_kept crash_silent deadline_s"
            }
            Self::Soak => {
                "clients records gets hours session_minutes shape returns pause_minutes disk_kept crash_silent bad"
            }
            Self::Content => "clients files file_kib stops crash_silent repeats deadline_s slowest_kib_s",
            Self::ContentChurn => {
                "clients files file_kib hours session_minutes shape returns pause_minutes disk_kept crash_silent deadline_s slowest_kib_s"
            }
            // No packets go between their nodes, or the hunt draws how.
            Self::Partitioning => "records repeats",
            Self::Hunt => "ciphers clients records gets faults repeats minutes",
        };
        let has_packets = !matches!(self, Self::Partitioning | Self::Hunt);
        let world = if has_packets { "ciphers internet one_way_ms " } else { "" };
        ["nodes seed ", world, own].iter().flat_map(|keys| keys.split_whitespace()).collect()
    }
}

impl Settings {
    /// Checks the keys that a scenario uses.
    ///
    /// # Errors
    /// [`SettingRefused`], with the key's name and what it takes.
    pub fn check(&self, scenario: Scenario) -> Result<(), SettingRefused> {
        let keys = scenario.keys();
        if keys.contains(&"internet") && self.one_way_ms.is_some() && self.internet.is_some() {
            return Err(SettingRefused::Both("one_way_ms", "internet"));
        }
        keys.iter().try_for_each(|key| self.check_key(key))
    }

    fn check_key(&self, key: &str) -> Result<(), SettingRefused> {
        match key {
            "nodes" => counts("nodes", &self.nodes, 1, SIM_NODES_MAX),
            "one_way_ms" => {
                self.one_way_ms.map_or(Ok(()), |one| reals("one_way_ms", &[one], "milliseconds", 0.0, 60_000.0))
            }
            "bandwidth_mbit" => {
                reals("bandwidth_mbit", &[self.bandwidth_mbit], "megabits a second, 0 for none", 0.0, 1e6)
            }
            "clients" => counts("clients", &[self.clients], 1, SIM_CLIENTS_MAX),
            "records" => counts("records", &[self.records], 1, SIM_OPERATIONS_MAX),
            "gets" => counts("gets", &[self.gets], 1, SIM_OPERATIONS_MAX),
            "hours" => reals("hours", &[self.hours], "virtual hours", 0.01, SIM_DURATION_HOURS_MAX),
            "fail" => reals("fail", &self.fail, "shares", 0.0, 1.0),
            "session_minutes" => reals("session_minutes", &self.session_minutes, "minutes", 0.1, 1e6),
            "shape" => reals("shape", &[self.shape], "of Weibull's distribution", 0.1, 10.0),
            "pause_minutes" => reals("pause_minutes", &[self.pause_minutes], "minutes", 0.0, 1e6),
            "returns" => reals("returns", &[self.returns], "a share", 0.0, 1.0),
            "disk_kept" => reals("disk_kept", &[self.disk_kept], "a share", 0.0, 1.0),
            "crash_silent" => reals("crash_silent", &[self.crash_silent], "a share", 0.0, 1.0),
            "bad" => reals("bad", &self.bad, "shares", 0.0, 1.0),
            "behaviours" => names("behaviours", &self.behaviours),
            "faults" if self.faults.len() > SIM_LIST_MAX => list_length("faults", self.faults.len()),
            "sybils" => counts("sybils", &self.sybils, 0, SIM_NODES_MAX),
            "stopped" => reals("stopped", &[self.stopped], "a share", 0.0, 1.0),
            "stops" => reals("stops", &self.stops, "shares", 0.0, 1.0),
            "files" => counts("files", &[self.files], 1, SIM_FILES_MAX),
            "file_kib" => lengths("file_kib", &self.file_kib),
            "slowest_kib_s" => reals("slowest_kib_s", &[self.slowest_kib_s], "KiB a second", 0.1, 1e6),
            "hops" => counts("hops", &[self.hops], HOPS_CLIENT_MIN, HOPS_MAX),
            "deadline_s" => reals("deadline_s", &[self.deadline_s], "virtual seconds", 0.1, 86_400.0),
            "repeats" => counts("repeats", &[self.repeats], 1, SIM_REPEATS_MAX),
            "minutes" => reals("minutes", &[self.minutes], "minutes", 0.01, 60.0 * SIM_DURATION_HOURS_MAX),
            // Every value of the others' types will do.
            _ => Ok(()),
        }
    }

    /// The internet that the settings ask for: drawn from the seed, or one time for all pairs (50 ms where neither is said).
    #[must_use]
    pub fn internet(&self) -> Internet {
        let internet = match (self.internet, self.one_way_ms) {
            (Some(World::Synthetic), _) => Internet::synthetic(self.seed),
            (None, one_way) => {
                Internet::fixed(Duration::try_from_secs_f64(one_way.unwrap_or(50.0) / 1e3).unwrap_or_default())
            }
        };
        let bytes_per_s = super::draw::whole(self.bandwidth_mbit * 1e6 / 8.0);
        if bytes_per_s == 0 { internet } else { internet.with_width(bytes_per_s) }
    }

    /// The keys that a scenario uses with their values, in its order; without those that say nothing.
    #[must_use]
    pub fn echo(&self, scenario: Scenario) -> Vec<(String, Cell)> {
        let echoed = |key: &&str| self.value(key).map(|value| ((*key).to_owned(), value));
        scenario.keys().iter().filter_map(echoed).collect()
    }

    fn value(&self, key: &str) -> Option<Cell> {
        let reals = |list: &[f64]| Cell::List(list.iter().copied().map(Cell::real).collect());
        let counts = |list: &[usize]| Cell::List(list.iter().copied().map(Cell::count).collect());
        let ciphers = match self.ciphers {
            Ciphers::Real => "real",
            Ciphers::Tokens => "tokens",
            Ciphers::Auto => "auto",
        };
        Some(match key {
            "nodes" => counts(&self.nodes),
            "seed" => Cell::Whole(self.seed),
            "ciphers" => Cell::text(ciphers),
            "one_way_ms" => Cell::real(self.one_way_ms?),
            "internet" => self.internet.map(|_| Cell::text("synthetic"))?,
            "bandwidth_mbit" => Cell::real(self.bandwidth_mbit),
            "clients" => Cell::count(self.clients),
            "records" => Cell::count(self.records),
            "gets" => Cell::count(self.gets),
            "hours" => Cell::real(self.hours),
            "fail" => reals(&self.fail),
            "session_minutes" => reals(&self.session_minutes),
            "shape" => Cell::real(self.shape),
            "returns" => Cell::real(self.returns),
            "pause_minutes" => Cell::real(self.pause_minutes),
            "disk_kept" => Cell::real(self.disk_kept),
            "crash_silent" => Cell::real(self.crash_silent),
            "bad" => reals(&self.bad),
            "behaviours" => Cell::List(self.behaviours.iter().map(|name| Cell::text(name)).collect()),
            "sybils" => counts(&self.sybils),
            "stopped" => Cell::real(self.stopped),
            "stops" => reals(&self.stops),
            "files" => Cell::count(self.files),
            "file_kib" => counts(&self.file_kib),
            "slowest_kib_s" => Cell::real(self.slowest_kib_s),
            "hops" => Cell::count(self.hops),
            "deadline_s" => Cell::real(self.deadline_s),
            "repeats" => Cell::count(self.repeats),
            "minutes" => Cell::real(self.minutes),
            "faults" => Cell::List(self.faults.iter().map(|text| Cell::text(text)).collect()),
            _ => return None,
        })
    }
}

fn refused(key: &'static str, value: String, allowed: String) -> Result<(), SettingRefused> {
    Err(SettingRefused::Value { key, value, allowed })
}

fn list_length(key: &'static str, len: usize) -> Result<(), SettingRefused> {
    if (1..=SIM_LIST_MAX).contains(&len) {
        return Ok(());
    }
    refused(key, format!("a list of {len}"), format!("takes 1 to {SIM_LIST_MAX} values"))
}

fn counts(key: &'static str, values: &[usize], min: usize, max: usize) -> Result<(), SettingRefused> {
    list_length(key, values.len())?;
    match values.iter().find(|value| !(min..=max).contains(*value)) {
        Some(value) => refused(key, value.to_string(), format!("takes {min} to {max}")),
        None => Ok(()),
    }
}

/// The shortest, then the longest. What stands in a root alone is no file in chunks.
fn lengths(key: &'static str, values: &[usize]) -> Result<(), SettingRefused> {
    match values {
        [shortest, longest] if (2..=*longest).contains(shortest) && *longest <= SIM_FILE_KIB_MAX => Ok(()),
        _ => {
            refused(key, format!("{values:?}"), format!("takes the shortest and the longest, 2 to {SIM_FILE_KIB_MAX}"))
        }
    }
}

/// NaN lies in no range.
fn reals(key: &'static str, values: &[f64], what: &str, min: f64, max: f64) -> Result<(), SettingRefused> {
    list_length(key, values.len())?;
    match values.iter().find(|value| !(min..=max).contains(*value)) {
        Some(value) => refused(key, value.to_string(), format!("takes {min} to {max} ({what})")),
        None => Ok(()),
    }
}

/// What there is belongs to the scenario; here they must be names.
fn names(key: &'static str, values: &[String]) -> Result<(), SettingRefused> {
    list_length(key, values.len())?;
    let is_name = |name: &str| !name.is_empty() && name.chars().all(|c| c.is_ascii_lowercase() || c == '-');
    match values.iter().find(|name| !is_name(name)) {
        Some(name) => refused(key, format!("{name:?}"), "takes names of small letters and hyphens".to_owned()),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn is_refused(scenario: Scenario, change: impl FnOnce(&mut Settings), part: &str) {
        let mut settings = Settings { behaviours: vec!["silent".into()], ..Settings::default() };
        assert_eq!(settings.check(scenario), Ok(()));
        change(&mut settings);
        let told = settings.check(scenario).unwrap_err().to_string();
        assert!(told.contains(part), "no {part:?} in {told:?}");
    }

    #[test]
    fn what_a_key_does_not_take_is_refused_with_its_name_and_range() {
        is_refused(Scenario::Scale, |to| to.nodes = vec![0], "nodes = 0: takes 1 to");
        is_refused(Scenario::Scale, |to| to.nodes = vec![10, SIM_NODES_MAX + 1], "nodes = 1000001: takes 1 to 1000000");
        is_refused(Scenario::Scale, |to| to.nodes = vec![], "nodes = a list of 0: takes 1 to");
        is_refused(Scenario::Scale, |to| to.nodes = vec![1; SIM_LIST_MAX + 1], "takes 1 to 64 values");
        is_refused(Scenario::Scale, |to| to.hops = 2, "hops = 2: takes 3 to 5");
        is_refused(Scenario::Scale, |to| to.one_way_ms = Some(-1.0), "one_way_ms = -1: takes 0 to 60000");
        is_refused(Scenario::Scale, |to| to.clients = 0, "clients = 0");
        is_refused(Scenario::Scale, |to| to.gets = 0, "gets = 0");
        is_refused(Scenario::Partitioning, |to| to.records = 0, "records = 0");
        is_refused(Scenario::Partitioning, |to| to.repeats = 0, "repeats = 0");
        is_refused(Scenario::Faults, |to| to.fail = vec![0.1, f64::NAN], "fail = NaN: takes 0 to 1 (shares)");
        is_refused(Scenario::Faults, |to| to.fail = vec![1.1], "fail = 1.1: takes 0 to 1");
        is_refused(Scenario::Faults, |to| to.fail = vec![-0.1], "fail = -0.1");
        is_refused(Scenario::Faults, |to| to.fail = vec![], "fail = a list of 0");
        is_refused(Scenario::Churn, |to| to.hours = f64::INFINITY, "hours = inf");
        is_refused(Scenario::Churn, |to| to.session_minutes = vec![0.0], "session_minutes = 0");
        is_refused(Scenario::Churn, |to| to.shape = 0.0, "shape = 0");
        is_refused(Scenario::Churn, |to| to.pause_minutes = -1.0, "pause_minutes = -1");
        is_refused(Scenario::Churn, |to| to.crash_silent = 2.0, "crash_silent = 2");
        is_refused(Scenario::Halves, |to| to.stopped = f64::NAN, "stopped = NaN");
        is_refused(Scenario::Adversary, |to| to.bad = vec![7.0], "bad = 7");
        is_refused(Scenario::Adversary, |to| to.behaviours = vec![], "behaviours = a list of 0");
        is_refused(Scenario::Adversary, |to| to.behaviours = vec!["A b".into()], "takes names of small letters");
        is_refused(Scenario::Sybil, |to| to.sybils = vec![SIM_NODES_MAX + 1], "sybils = 1000001");
        is_refused(Scenario::FlashCrowd, |to| to.bandwidth_mbit = -3.0, "bandwidth_mbit = -3");
        is_refused(Scenario::FlashCrowd, |to| to.deadline_s = 0.0, "deadline_s = 0");
        is_refused(Scenario::Hunt, |to| to.minutes = 0.0, "minutes = 0");
        is_refused(Scenario::Content, |to| to.stops = vec![0.3, 1.5], "stops = 1.5: takes 0 to 1");
        is_refused(Scenario::Content, |to| to.files = 0, "files = 0: takes 1 to");
        is_refused(
            Scenario::Content,
            |to| to.file_kib = vec![64],
            "file_kib = [64]: takes the shortest and the longest",
        );
        is_refused(Scenario::Content, |to| to.file_kib = vec![64, 8], "file_kib = [64, 8]");
        is_refused(Scenario::Content, |to| to.file_kib = vec![1, 8], "file_kib = [1, 8]");
        is_refused(Scenario::Content, |to| to.file_kib = vec![64, SIM_FILE_KIB_MAX + 1], "2 to");
        is_refused(Scenario::ContentChurn, |to| to.slowest_kib_s = 0.0, "slowest_kib_s = 0");
        let both = |to: &mut Settings| (to.one_way_ms, to.internet) = (Some(1.0), Some(World::Synthetic));
        is_refused(Scenario::Scale, both, "one_way_ms does not go with internet");
    }

    #[test]
    fn what_a_scenario_does_not_use_is_not_looked_at() {
        let settings = Settings { fail: vec![], bad: vec![f64::NAN], ..Settings::default() };
        assert_eq!(settings.check(Scenario::Partitioning), Ok(()));
    }

    #[test]
    fn every_key_that_a_scenario_names_is_checked_echoed_and_there_once() {
        let set = Settings { one_way_ms: Some(1.0), internet: Some(World::Synthetic), ..Settings::default() };
        for scenario in Scenario::ALL {
            let echoed: Vec<String> = set.echo(scenario).into_iter().map(|(key, _)| key).collect();
            assert_eq!(echoed, scenario.keys(), "{}", scenario.name());
            let mut sorted = echoed.clone();
            sorted.sort();
            sorted.dedup();
            assert_eq!(sorted.len(), echoed.len());
        }
    }

    #[test]
    fn the_internet_is_what_the_settings_say() {
        let fixed = Settings { one_way_ms: Some(20.0), bandwidth_mbit: 8.0, ..Settings::default() }.internet();
        assert_eq!((fixed.latency(1, 2), fixed.bytes_per_s(1)), (Duration::from_millis(20), Some(1_000_000)));
        let drawn = Settings { internet: Some(World::Synthetic), ..Settings::default() }.internet();
        assert_eq!(drawn.latency(1, 2), Internet::synthetic(1).latency(1, 2));
        assert_eq!(Settings::default().internet().latency(1, 2), Duration::from_millis(50));
    }
}
