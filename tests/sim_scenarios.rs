//! Every scenario of the simulator in its small profile, through the library: what must hold at that size holds, and equal seeds
//! give equal runs.
#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test crate")]

use std::path::Path;

use bauta::sim::report::Report;
use bauta::sim::scenario::{self, Unwatched};
use bauta::sim::settings::{Scenario, Settings};

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
fn lasting(report: &Report) -> (String, Vec<String>) {
    (report.digest.clone(), report.lines())
}

/// A scenario holds in its small profile, has something to show, and says what it did.
#[track_caller]
fn holds(scenario: Scenario) -> Report {
    let report = ran(scenario, 1);
    assert_eq!(report.failed(), Vec::<&str>::new(), "{}", report.lines().join("\n"));
    assert!(!report.checks.is_empty() && report.tables.iter().any(|table| !table.rows.is_empty()));
    assert!(!report.partial && report.events > 0 && report.digest.len() >= 16, "{}", report.lines().join("\n"));
    report
}

#[test]
fn every_scenario_on_offer_has_a_test_here() {
    let text = include_str!("sim_scenarios.rs");
    for scenario in scenario::offered() {
        let name = format!("holds(Scenario::{scenario:?})");
        assert!(text.contains(&name), "no test has {name}");
    }
}

#[test]
fn lookups_scale() {
    holds(Scenario::Scale);
}

#[test]
fn keys_spread() {
    let one = holds(Scenario::Partitioning);
    assert_ne!(one.digest, ran(Scenario::Partitioning, 2).digest);
}

#[test]
fn faults_are_borne() {
    holds(Scenario::Faults);
}

#[test]
fn churn_is_borne() {
    holds(Scenario::Churn);
}

#[test]
fn half_of_the_nodes_may_stop() {
    holds(Scenario::Halves);
}

#[test]
fn a_cut_network_grows_together_again() {
    holds(Scenario::Partition);
}

#[test]
fn a_crowd_is_served_and_equal_seeds_give_equal_runs() {
    let one = holds(Scenario::FlashCrowd);
    assert_eq!(lasting(&one), lasting(&ran(Scenario::FlashCrowd, 1)));
    assert_ne!(one.digest, ran(Scenario::FlashCrowd, 2).digest);
}

#[test]
fn everything_at_once_loses_nothing() {
    holds(Scenario::Soak);
}

#[test]
fn a_hunt_finds_nothing_and_equal_seeds_hunt_alike() {
    let one = holds(Scenario::Hunt);
    assert_eq!(lasting(&one), lasting(&ran(Scenario::Hunt, 1)));
    assert_ne!(one.digest, ran(Scenario::Hunt, 2).digest);
}

#[test]
fn what_observers_see_is_measured() {
    holds(Scenario::Anonymity);
}

#[test]
fn relays_that_lie_are_borne() {
    holds(Scenario::Adversary);
}

#[test]
fn sybils_are_measured() {
    holds(Scenario::Sybil);
}
