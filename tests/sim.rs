//! `bauta sim` as people and scripts run it: the real binary, its report in each form, and what it refuses.
#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test crate")]

mod binary;

use binary::User;
use serde_json::Value;

const SMALL: [&str; 7] = ["sim", "partitioning", "--small", "--nodes", "20,200", "--with", "records=2000"];

fn small(user: &User, more: &[&str]) -> binary::Ended {
    user.run(&[&SMALL, more].concat())
}

/// Whether a field of this name may differ between equal runs.
fn is_of_the_machine(name: &str) -> bool {
    ["wall_", "elapsed_", "rss_"].iter().any(|start| name.starts_with(start)) || name.ends_with("_per_s")
}

/// Everything but what depends on the machine.
fn lasting(value: Value) -> Value {
    match value {
        Value::Object(object) => {
            let kept = object.into_iter().filter(|(name, _)| !is_of_the_machine(name));
            Value::Object(kept.map(|(name, value)| (name, lasting(value))).collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(lasting).collect()),
        other => other,
    }
}

#[test]
fn equal_seeds_give_equal_objects_but_for_what_is_named_as_the_machines() {
    let user = User::nobody();
    let (one, same) = (small(&user, &["--json"]).json(), small(&user, &["--json"]).json());
    assert!(one["measured"]["wall_s"].as_f64().unwrap() > 0.0, "{one}");
    assert_eq!(lasting(one.clone()), lasting(same));
    assert_ne!(lasting(one.clone()), one);
    let other = small(&user, &["--json", "--seed", "2"]).json();
    assert_ne!(one["digest"], other["digest"]);
    for key in ["scenario", "settings", "seed", "partial", "tables", "charts", "notes", "checks", "digest", "measured"]
    {
        assert!(one.get(key).is_some(), "no {key} in {one}");
    }
    assert_eq!((&one["settings"]["nodes"], &one["settings"]["records"]), (&[20, 200][..].into(), &2_000.into()));
    assert_eq!((one["partial"].as_bool(), other["seed"].as_u64()), (Some(false), Some(2)));
}

#[test]
fn how_many_parts_run_at_once_changes_no_report() {
    let user = User::nobody();
    let faults = ["sim", "faults", "--small", "--nodes", "20,24", "--with", "gets=20", "--with", "records=5", "--json"];
    let with = |jobs: &[&str]| user.run(&[&faults[..], jobs].concat()).json();
    let one = with(&["--jobs", "1"]);
    assert_eq!(lasting(one.clone()), lasting(with(&["--jobs", "2"])));
    let rows = one["tables"][0]["rows"].as_array().unwrap();
    let of: Vec<(u64, f64)> = rows.iter().map(|row| (row[0].as_u64().unwrap(), row[1].as_f64().unwrap())).collect();
    assert_eq!(of, [(20, 0.0), (20, 0.3), (24, 0.0), (24, 0.3)]);
    assert_eq!(one["settings"]["nodes"], Value::from(&[20, 24][..]));
}

#[test]
fn a_row_of_many_runs_is_what_its_run_is_alone() {
    let user = User::nobody();
    let rows = |nodes, fail| {
        let set = ["sim", "faults", "--small", "--with", "gets=20", "--with", "records=5", "--json"];
        let report = user.run(&[&set[..], &["--nodes", nodes, "--with", fail]].concat()).json();
        report["tables"][0]["rows"].as_array().unwrap().clone()
    };
    assert_eq!(rows("20,24", "fail=0.1,0.3")[3..], rows("24", "fail=0.3")[..]);
}

#[test]
fn the_report_for_people_has_tables_and_checks_and_standard_error_may_be_silent() {
    let told = small(&User::nobody(), &["--quiet"]).fine();
    assert!(told.err.is_empty(), "{told:?}");
    for part in ["scenario  partitioning", "nearest by XOR (Bauta)", "rendezvous hashing", "  ok      ", "digest "] {
        assert!(told.out.contains(part), "no {part:?} in\n{}", told.out);
    }
    assert!(!told.out.contains("FAILED") && told.out.lines().all(|line| line.chars().count() <= 100), "{}", told.out);
}

#[test]
fn a_folder_gets_json_markdown_and_charts_and_earlier_ones_are_replaced() {
    let user = User::nobody();
    user.file("unrelated", b"stays");
    for seed in ["1", "2"] {
        small(&user, &["--seed", seed, "--out", "a/b"]).fine();
        let report: Value = serde_json::from_slice(&user.content("a/b/partitioning.json")).unwrap();
        assert_eq!(report["seed"].to_string(), seed);
        let page = String::from_utf8(user.content("a/b/partitioning.md")).unwrap();
        assert!(page.starts_with("# partitioning\n") && page.contains("| ---: |"), "{page}");
        for chart in report["charts"].as_array().unwrap() {
            let name = format!("partitioning-{}.svg", chart["name"].as_str().unwrap());
            assert!(page.contains(&format!("]({name})")), "{name} is not in {page}");
            let svg = String::from_utf8(user.content(&format!("a/b/{name}"))).unwrap();
            assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"), "{svg}");
        }
        let files = std::fs::read_dir(user.path("a/b")).unwrap().count();
        assert_eq!(files, 2 + report["charts"].as_array().unwrap().len(), "nothing else is left there");
    }
    assert_eq!(user.content("unrelated"), b"stays");
}

#[test]
fn what_does_not_do_is_refused_before_anything_is_run() {
    let user = User::nobody();
    user.file("mine.toml", b"records = 5\ngets = 3\n");
    user.file("broken.toml", b"records = \n");
    for (arguments, part) in [
        (&["sim", "partitionin"][..], "there is no scenario \"partitionin\"; did you mean \"partitioning\"?"),
        (&["sim", "partitioning", "--nodes", "0"], "nodes = 0: takes 1 to 1000000"),
        (&["sim", "partitioning", "--nodes", ""], "nodes = a list of 0: takes 1 to 64 values"),
        (&["sim", "partitioning", "--nodes", "ten"], "nodes = [\"ten\"]"),
        (&["sim", "partitioning", "--with", "record=5"], "no setting \"record\"; did you mean \"records\"?"),
        (&["sim", "partitioning", "--with", "fail=0.1"], "partitioning has no setting \"fail\""),
        (&["sim", "partitioning", "--with", "records"], "--with takes KEY=VALUE"),
        (&["sim", "partitioning", "--with", "repeats=0"], "repeats = 0: takes 1 to"),
        (&["sim", "partitioning", "--minutes", "5"], "partitioning has no setting \"minutes\""),
        (&["sim", "partitioning", "--scenario-file", "mine.toml"], "mine.toml: partitioning has no setting \"gets\""),
        (&["sim", "partitioning", "--scenario-file", "broken.toml"], "broken.toml: line 1: "),
        (&["sim", "partitioning", "--scenario-file", "missing.toml"], "missing.toml"),
        (&["sim", "hunt", "--with", "faults=burn:1@2"], "faults = \"burn:1@2\": no fault of this name"),
        (&["sim", "partitioning", "--jobs", "0"], "--jobs 0: takes 1 or more"),
        (&["sim", "adversary", "--small", "--with", "behaviours=deny,nap"], "behaviours = nap: takes drop, "),
        (&["sim", "al"], "there is no scenario \"al\"; did you mean \"all\"?"),
        (&["sim", "all", "--small", "--jobs", "0"], "--jobs 0: takes 1 or more"),
        (&["sim", "all", "--nodes", "20"], "all takes no --nodes"),
        (&["sim", "all", "--minutes", "5"], "all takes no --minutes"),
        (&["sim", "all", "--with", "records=5"], "all takes no --with"),
        (&["sim", "all", "--scenario-file", "mine.toml"], "all takes no --scenario-file"),
        (&["sim", "partitioning", "--small", "--out", "mine.toml/x"], "mine.toml/x: cannot be made"),
    ] {
        let told = user.run(arguments).with(2);
        assert!(told.out.is_empty() && told.err.contains(part), "{arguments:?}: no {part:?} in {told:?}");
        let object = user.run(&[arguments, &["--json"]].concat()).object(2, "usage");
        assert!(object["error"].as_str().unwrap().contains(part), "{arguments:?}: no {part:?} in {object}");
    }
    for (arguments, part) in [
        (&["sim"][..], "<SCENARIO|--list>"),
        (&["sim", "all", "--jbos", "2"], "--jobs"),
        (&["sim", "partitioning", "--seed", "-1"], "unexpected argument"),
        (&["sim", "partitioning", "more"], "unexpected argument"),
    ] {
        let told = user.run(arguments).with(2);
        assert!(told.out.is_empty() && told.err.contains(part), "{told:?}");
        let object = user.run(&[arguments, &["--json"]].concat()).object(2, "usage");
        assert!(object["error"].as_str().unwrap().contains(part), "{arguments:?}: no {part:?} in {object}");
    }
}

#[test]
fn the_list_has_every_scenario_and_a_scenarios_own_file_runs_as_it_is() {
    let user = User::nobody();
    let listed = user.run(&["sim", "--list"]).fine();
    assert!(listed.out.contains("partitioning"), "{listed:?}");
    let objects = user.run(&["sim", "--list", "--json"]).json();
    let scenarios = objects["scenarios"].as_array().unwrap();
    assert_eq!(scenarios.len(), listed.out.lines().count());
    for scenario in scenarios {
        let file = user.run(&["sim", scenario["scenario"].as_str().unwrap(), "--list"]).fine();
        let key = |key: &Value| {
            file.out.contains(&format!("\n{} = ", key.as_str().unwrap())) || key == "one_way_ms" || key == "internet"
        };
        assert!(scenario["keys"].as_array().unwrap().iter().all(key), "{file:?}");
    }
    let file = user.run(&["sim", "partitioning", "--list"]).fine();
    user.file("own.toml", &file.bytes);
    let own = small(&user, &["--json", "--scenario-file", "own.toml"]).json();
    assert_eq!(lasting(own), lasting(small(&user, &["--json"]).json()));
}
