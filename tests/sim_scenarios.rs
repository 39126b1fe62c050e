//! Every scenario of the simulator in its small profile, by the command that runs them all: what must hold at that size holds, and
//! equal seeds give equal runs.
#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test crate")]

mod binary;

use std::path::Path;

use bauta::sim::report::Report;
use bauta::sim::scenario::{self, Unwatched};
use bauta::sim::settings::{Scenario, Settings};
use binary::User;
use serde_json::Value;

/// The built-in settings with the small profile over them.
fn small(scenario: Scenario) -> Settings {
    let file = format!("src/sim/scenarios/{}.toml", scenario.name());
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap();
    let mut table: toml::Table = text.parse().unwrap();
    let Some(toml::Value::Table(small)) = table.remove("small") else { panic!("{} has no small run", scenario.name()) };
    table.extend(small);
    table.try_into().unwrap()
}

fn ran(scenario: Scenario, seed: u64) -> Report {
    scenario::run(scenario, &Settings { seed, ..small(scenario) }, &mut Unwatched).unwrap()
}

/// What depends on nothing but settings and seed.
fn lasting(report: &Value) -> Value {
    let mut report = report.clone();
    report.as_object_mut().unwrap().remove("measured");
    report
}

/// A scenario holds in its small profile, has something to show, and says what it did.
fn holds(scenario: Scenario, report: &Value) {
    let checks = report["checks"].as_array().unwrap();
    assert!(!checks.is_empty() && checks.iter().all(|check| check["held"] == true), "{report}");
    assert!(report["tables"].as_array().unwrap().iter().any(|table| table["rows"][0].is_array()), "{report}");
    assert!(report["events"].as_u64().unwrap() > 0 && report["partial"] == false, "{report}");
    assert!(report["digest"].as_str().unwrap().len() >= 16, "{report}");
    assert_eq!(report["settings"]["nodes"], serde_json::to_value(small(scenario).nodes).unwrap());
}

/// A folder of results has a page of all, and each report as in the object.
fn is_written(user: &User, report: &Value) {
    let name = report["name"].as_str().unwrap();
    let written: Value = serde_json::from_slice(&user.content(&format!("all/{name}.json"))).unwrap();
    assert_eq!(&written, report);
    assert!(user.content(&format!("all/{name}.md")).starts_with(format!("# {name}\n").as_bytes()));
    let index = String::from_utf8(user.content("all/index.md")).unwrap();
    let line = index.lines().find(|line| line.contains(&format!("[{name}]({name}.md)"))).unwrap();
    let checks = report["checks"].as_array().unwrap().len();
    assert!(line.contains(&format!("| {checks} of {checks} |")), "{line}");
}

// [MSG-W-019]
#[test]
fn every_scenario_holds_when_all_are_run_and_equal_seeds_give_equal_runs() {
    let user = User::nobody();
    // Without the patience that other commands have: this is the longest of all.
    let ended = user.command(&["sim", "all", "--small", "--quiet", "--json", "--out", "all"]).output().unwrap();
    let told = String::from_utf8(ended.stdout).unwrap();
    assert!(ended.status.success() && ended.stderr.is_empty(), "{told}\n{}", String::from_utf8_lossy(&ended.stderr));
    let object: Value = serde_json::from_str(&told).unwrap();
    let reports = object["reports"].as_array().unwrap();
    assert_eq!(reports.len(), scenario::offered().count());
    for scenario in scenario::offered() {
        let report = reports.iter().find(|report| report["scenario"] == scenario.name()).unwrap();
        holds(scenario, report);
        is_written(&user, report);
        if [Scenario::FlashCrowd, Scenario::Hunt, Scenario::Partitioning].contains(&scenario) {
            // In another process, beside nothing else.
            let again = serde_json::to_string(&ran(scenario, 1)).unwrap();
            let again = serde_json::from_str(&again).unwrap();
            assert_eq!(lasting(report), lasting(&again));
            assert_ne!(report["digest"], ran(scenario, 2).digest.as_str());
        }
    }
}
