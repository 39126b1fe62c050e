//! A scenario's settings in layers: its built-in file, the small table of it, a file of the user's, the command line. Each says
//! only what differs; a key that the scenario does not use is refused. Source: spec/simulation.md §4.

use std::path::Path;

use toml::{Table, Value};

use crate::cli::Usage;
use crate::cli::settings::{did_you_mean, file_text};
use crate::sim::scenario;
use crate::sim::settings::{Scenario, Settings};

/// The table of a file that makes a run of seconds.
const SMALL: &str = "small";
/// The file of the whole set of runs.
pub(super) const SET: &str = "all.toml";
/// Two ways to say what is between nodes: the later one takes the place of the other.
const EITHER: [&str; 2] = ["internet", "one_way_ms"];

/// In the place of a scenario's name: the whole set.
pub(super) const ALL: &str = "all";

/// What the command line asks for.
pub(super) struct Asked<'a> {
    pub(super) scenario: Scenario,
    pub(super) small: bool,
    pub(super) file: Option<&'a Path>,
    /// What a set of runs says over the scenario's own file; nothing in a small run.
    pub(super) set: Option<&'a Table>,
    /// Flags that stand for a key.
    pub(super) flags: &'a [(&'static str, Option<String>)],
    pub(super) with: &'a [String],
    pub(super) seed: Option<u64>,
}

/// Settings of one source.
struct Layer {
    origin: String,
    table: Table,
}

/// The file that comes with a scenario.
pub(super) const fn built_in(scenario: Scenario) -> &'static str {
    match scenario {
        Scenario::Scale => include_str!("../../sim/scenarios/scale.toml"),
        Scenario::Partitioning => include_str!("../../sim/scenarios/partitioning.toml"),
        Scenario::Faults => include_str!("../../sim/scenarios/faults.toml"),
        Scenario::Churn => include_str!("../../sim/scenarios/churn.toml"),
        Scenario::Partition => include_str!("../../sim/scenarios/partition.toml"),
        Scenario::Halves => include_str!("../../sim/scenarios/halves.toml"),
        Scenario::Adversary => include_str!("../../sim/scenarios/adversary.toml"),
        Scenario::Sybil => include_str!("../../sim/scenarios/sybil.toml"),
        Scenario::Anonymity => include_str!("../../sim/scenarios/anonymity.toml"),
        Scenario::FlashCrowd => include_str!("../../sim/scenarios/flash-crowd.toml"),
        Scenario::Soak => include_str!("../../sim/scenarios/soak.toml"),
        Scenario::Content => include_str!("../../sim/scenarios/content.toml"),
        Scenario::ContentChurn => include_str!("../../sim/scenarios/content-churn.toml"),
        Scenario::Hunt => include_str!("../../sim/scenarios/hunt.toml"),
    }
}

/// What a scenario is, in one line: the first of its file.
pub(super) fn summary(scenario: Scenario) -> &'static str {
    first_line(built_in(scenario))
}

/// What a file says of itself first.
pub(super) fn first_line(file: &str) -> &str {
    file.lines().next().unwrap_or_default().trim_start_matches(['#', ' '])
}

/// The scenario of a name, among those that can be run.
pub(super) fn named(name: &str) -> Result<Scenario, Usage> {
    let names = || scenario::offered().map(Scenario::name).chain([ALL]);
    scenario::offered().find(|one| one.name() == name).ok_or_else(|| {
        let (near, name) = (did_you_mean(name, names()), name.escape_debug());
        Usage(format!("there is no scenario \"{name}\"{near} (`bauta sim --list` lists all)"))
    })
}

/// The settings in force, checked.
pub(super) fn gather(asked: &Asked<'_>) -> Result<Settings, Usage> {
    let scenario = asked.scenario;
    let mut merged = Table::new();
    let mut files = vec![(format!("{}.toml", scenario.name()), built_in(scenario).to_owned())];
    if let Some(path) = asked.file {
        files.push((path.display().to_string(), file_text(path).map_err(|why| Usage(why.to_string()))?));
    }
    for (origin, text) in files {
        let mut table: Table = text.parse().map_err(|why: toml::de::Error| {
            let at = text.bytes().take(why.span().map_or(0, |span| span.start));
            let line = 1 + at.filter(|byte| *byte == b'\n').count();
            Usage(format!("{origin}: line {line}: {}", why.message()))
        })?;
        let small = table.remove(SMALL);
        lay(scenario, &mut merged, Layer { origin: origin.clone(), table })?;
        match small {
            Some(Value::Table(table)) if asked.small => lay(scenario, &mut merged, Layer { origin, table })?,
            Some(Value::Table(_)) | None => (),
            Some(_) => return Err(Usage(format!("{origin}: small is a table: [small]"))),
        }
    }
    if let Some(table) = asked.set.filter(|_| !asked.small) {
        lay(scenario, &mut merged, Layer { origin: SET.to_owned(), table: table.clone() })?;
    }
    let (told, mut seed) = from_command_line(asked, &merged)?;
    lay(scenario, &mut merged, told)?;
    if let Some(Value::Integer(number)) = merged.get("seed") {
        seed = seed.or(u64::try_from(*number).ok());
    }
    let mut settings: Settings = merged.try_into().map_err(|why: toml::de::Error| Usage(why.message().to_owned()))?;
    settings.seed = seed.unwrap_or(settings.seed);
    settings.check(scenario).map_err(|why| Usage(why.to_string()))?;
    Ok(settings)
}

/// What the command line says, and the seed apart: TOML has no number as large as a seed may be.
fn from_command_line(asked: &Asked<'_>, below: &Table) -> Result<(Layer, Option<u64>), Usage> {
    let mut table = Table::new();
    let mut seed = None;
    let mut texts: Vec<(String, String)> = Vec::new();
    for (key, text) in asked.flags {
        texts.extend(text.clone().map(|text| ((*key).to_owned(), text)));
    }
    for with in asked.with {
        let (key, text) = with
            .split_once('=')
            .ok_or_else(|| Usage(format!("--with takes KEY=VALUE, not \"{}\"", with.escape_debug())))?;
        texts.push((key.trim().to_owned(), text.trim().to_owned()));
    }
    for (key, text) in texts {
        if key == "seed" {
            let refused = |_| Usage(format!("seed = \"{}\": takes 0 to {}", text.escape_debug(), u64::MAX));
            seed = Some(text.parse().map_err(refused)?);
            continue;
        }
        let value = read(&text, below.get(&key));
        table.insert(key, value);
    }
    Ok((Layer { origin: "command line".to_owned(), table }, asked.seed.or(seed)))
}

/// A text as the kind of value that stands there already; what does not fit is told when it is laid.
fn read(text: &str, like: Option<&Value>) -> Value {
    match like {
        Some(Value::Array(items)) => {
            let parts = text.trim_matches(['[', ']']).split(',').map(str::trim).filter(|part| !part.is_empty());
            Value::Array(parts.map(|part| read(part, items.first())).collect())
        }
        Some(Value::String(_)) => Value::String(text.trim_matches('"').to_owned()),
        _ => {
            let number = text.replace('_', "");
            let whole = number.parse().map(Value::Integer).ok();
            let real = || number.parse().map(Value::Float).ok();
            let switch = || text.parse().map(Value::Boolean).ok();
            whole.or_else(real).or_else(switch).unwrap_or_else(|| Value::String(text.to_owned()))
        }
    }
}

/// Lays one source over what is there.
fn lay(scenario: Scenario, merged: &mut Table, Layer { origin, table }: Layer) -> Result<(), Usage> {
    for (key, value) in &table {
        if !scenario.keys().contains(&key.as_str()) {
            let near = did_you_mean(key, scenario.keys().iter().copied());
            let (name, key) = (scenario.name(), key.escape_debug());
            let list = format!("(`bauta sim {name} --list` lists all)");
            return Err(Usage(format!("{origin}: {name} has no setting \"{key}\"{near} {list}")));
        }
        // Alone, so that the error has a name.
        let alone: Result<Settings, _> = Table::from_iter([(key.clone(), value.clone())]).try_into();
        if let Err(why) = alone {
            let why = why.message().lines().next().unwrap_or_default().to_owned();
            return Err(Usage(format!("{origin}: {key} = {}: {why}", shown(value))));
        }
    }
    if EITHER.iter().any(|key| table.contains_key(*key)) {
        EITHER.iter().for_each(|key| drop(merged.remove(*key)));
    }
    merged.extend(table);
    Ok(())
}

/// A value as a file has it.
fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => format!("\"{}\"", text.escape_debug()),
        Value::Integer(number) => number.to_string(),
        Value::Float(number) => number.to_string(),
        Value::Boolean(switch) => switch.to_string(),
        Value::Array(items) => format!("[{}]", items.iter().map(shown).collect::<Vec<_>>().join(", ")),
        Value::Datetime(_) => "a time".to_owned(),
        Value::Table(_) => "a table".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::settings::World;

    fn asked(scenario: Scenario) -> Asked<'static> {
        Asked { scenario, small: false, file: None, set: None, flags: &[], with: &[], seed: None }
    }

    fn with(scenario: Scenario, with: &[&str]) -> Result<Settings, String> {
        let with: Vec<String> = with.iter().map(|one| (*one).to_owned()).collect();
        gather(&Asked { with: &with, ..asked(scenario) }).map_err(|why| why.to_string())
    }

    #[test]
    fn every_built_in_file_has_the_keys_that_its_scenario_uses_and_a_small_run() {
        for scenario in Scenario::ALL {
            let mut table: Table = built_in(scenario).parse().unwrap();
            let small = table.remove(SMALL).unwrap_or_else(|| panic!("{}", scenario.name()));
            // One of the two ways to say what is between nodes is enough.
            let is_there = |key: &&str| !EITHER.contains(key) || table.contains_key(*key);
            let mut keys: Vec<&str> = scenario.keys().into_iter().filter(is_there).collect();
            keys.sort_unstable();
            assert_eq!(table.keys().collect::<Vec<_>>(), keys, "{}", scenario.name());
            assert!(small.as_table().unwrap().keys().all(|key| keys.contains(&key.as_str())));
            let whole = gather(&asked(scenario)).unwrap();
            let small = gather(&Asked { small: true, ..asked(scenario) }).unwrap();
            assert_ne!(whole, small, "{}", scenario.name());
            assert!(summary(scenario).ends_with('.') && summary(scenario).len() > 30, "{}", summary(scenario));
        }
    }

    #[test]
    fn later_layers_win() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mine.toml");
        std::fs::write(&path, "nodes = [7]\nrecords = 11\n[small]\nrecords = 12\n").unwrap();
        let flags = [("nodes", Some("8,9".to_owned()))];
        let of = |small, flags, with: &[String]| {
            let settings =
                gather(&Asked { small, file: Some(&path), flags, with, ..asked(Scenario::Partitioning) }).unwrap();
            (settings.nodes, settings.records)
        };
        assert_eq!(of(false, &[], &[]), (vec![7], 11));
        assert_eq!(of(true, &[], &[]), (vec![7], 12));
        assert_eq!(of(true, &flags, &[]), (vec![8, 9], 12));
        assert_eq!(of(true, &flags, &["nodes=1_000".into(), "records=3".into()]), (vec![1_000], 3));
    }

    #[test]
    fn the_internet_said_last_is_the_one() {
        assert_eq!(gather(&asked(Scenario::Faults)).unwrap().internet, Some(World::Synthetic));
        let fixed = with(Scenario::Faults, &["one_way_ms=20"]).unwrap();
        assert_eq!((fixed.internet, fixed.one_way_ms), (None, Some(20.0)));
        let both = with(Scenario::Faults, &["one_way_ms=20", "internet=synthetic"]);
        assert!(both.unwrap_err().contains("one_way_ms does not go with internet"));
    }

    #[test]
    fn a_seed_may_be_as_large_as_a_seed_is() {
        let largest = format!("seed={}", u64::MAX);
        assert_eq!(with(Scenario::Scale, &[&largest]).unwrap().seed, u64::MAX);
        let told = Asked { seed: Some(5), ..asked(Scenario::Scale) };
        assert_eq!(gather(&told).unwrap().seed, 5);
    }

    #[test]
    fn what_does_not_do_is_refused_by_name() {
        for (scenario, set, part) in [
            (Scenario::Scale, "node=3", "command line: scale has no setting \"node\"; did you mean \"nodes\"?"),
            (Scenario::Scale, "fail=0.1", "scale has no setting \"fail\""),
            (Scenario::Scale, "nodes", "--with takes KEY=VALUE, not \"nodes\""),
            (Scenario::Scale, "nodes=0", "nodes = 0: takes 1 to 1000000"),
            (Scenario::Scale, "nodes=", "nodes = a list of 0: takes 1 to 64 values"),
            (Scenario::Scale, "nodes=many", "command line: nodes = [\"many\"]: "),
            (Scenario::Scale, "nodes=1.5", "command line: nodes = [1.5]: "),
            (Scenario::Scale, "nodes=-1", "command line: nodes = [-1]: "),
            (Scenario::Scale, "seed=-1", "seed = \"-1\": takes 0 to 18446744073709551615"),
            (Scenario::Scale, "ciphers=rot13", "command line: ciphers = \"rot13\": "),
            (Scenario::Scale, "internet=fast", "command line: internet = \"fast\": "),
            (Scenario::Faults, "fail=nan", "fail = NaN: takes 0 to 1 (shares)"),
            (Scenario::Faults, "fail=0.5,1.5", "fail = 1.5: takes 0 to 1 (shares)"),
            (Scenario::Churn, "returns=maybe", "command line: returns = \"maybe\": "),
            (Scenario::Churn, "hours=inf", "hours = inf: takes 0.01 to"),
            (Scenario::Adversary, "behaviours=", "behaviours = a list of 0"),
        ] {
            let told = with(scenario, &[set]).unwrap_err();
            assert!(told.contains(part), "{set}: no {part:?} in {told:?}");
        }
    }

    #[test]
    fn a_file_that_does_not_do_is_told_with_its_place() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mine.toml");
        for (text, part) in [
            ("nodes = [1]\nnodes = [2]\n", "line 2: "),
            ("gets = 5\n", "mine.toml: partitioning has no setting \"gets\""),
            ("nodes = \"many\"\n", "mine.toml: nodes = \"many\": "),
            ("small = 5\n", "small is a table"),
            ("[small]\nrecord = 1\n", "has no setting \"record\"; did you mean \"records\"?"),
        ] {
            std::fs::write(&path, text).unwrap();
            let told = gather(&Asked { small: true, file: Some(&path), ..asked(Scenario::Partitioning) });
            let told = told.unwrap_err().to_string();
            assert!(told.contains(part), "{text}: no {part:?} in {told:?}");
        }
        let missing = folder.path().join("missing.toml");
        let told = gather(&Asked { file: Some(&missing), ..asked(Scenario::Partitioning) }).unwrap_err();
        assert!(told.to_string().contains("missing.toml"), "{told}");
        assert!(named("partitionin").unwrap_err().to_string().contains("did you mean \"partitioning\"?"));
    }
}
