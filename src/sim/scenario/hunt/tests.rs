//! What a hunt finds when a bug is planted, and that it finds nothing else.

use super::*;
use crate::sim::scenario::Unwatched;

fn settings() -> Settings {
    Settings {
        nodes: vec![12],
        ciphers: settings::Ciphers::Tokens,
        clients: 2,
        records: 6,
        gets: 12,
        repeats: 8,
        ..Settings::default()
    }
}

/// A bug is found within eight worlds, and is told with few faults and a command that shows it again.
#[track_caller]
fn is_found(planted: Planted, check: &str, faults: core::ops::RangeInclusive<usize>) {
    let report = hunt(&settings(), Some(planted), &mut Unwatched).unwrap();
    let failed = report.checks.iter().find(|one| !one.held).unwrap();
    assert!(failed.detail.starts_with(check), "{failed:?}");
    let smallest = report.tables.iter().find(|table| table.name == "smallest").unwrap();
    assert!(faults.contains(&smallest.rows.len()), "{smallest:?}");
    let again = report.notes.iter().find_map(|note| note.strip_prefix("again: bauta sim hunt --seed ")).unwrap();
    let seed: u64 = again.split_whitespace().next().unwrap().parse().unwrap();
    let list = again.rsplit_once("faults=").unwrap().1;
    let same = Settings { seed, faults: list.split(',').map(str::to_owned).collect(), ..settings() };
    let report = hunt(&same, Some(planted), &mut Unwatched).unwrap();
    let failed = report.checks.iter().find(|one| !one.held).unwrap();
    assert!(failed.detail.starts_with(check), "{failed:?}");
}

#[test]
fn relays_that_acknowledge_and_forget_are_found() {
    is_found(Planted::Forgets, "acknowledged is stored", 0..=0);
}

#[test]
fn clients_that_send_a_spare_cell_are_found() {
    is_found(Planted::SpareCell, "a question has one cell", 0..=0);
}

#[test]
fn a_disk_that_is_lost_at_a_restart_is_found_with_the_one_restart_that_shows_it() {
    is_found(Planted::LosesDisk, "disks keep what they have", 1..=2);
}

#[test]
fn a_world_of_a_list_is_one_world_and_a_list_that_is_none_is_refused() {
    let list =
        |faults: &[&str]| Settings { faults: faults.iter().map(|one| (*one).to_owned()).collect(), ..settings() };
    let report = hunt(&list(&["restart:7:20@3", "cut:40@10"]), None, &mut Unwatched).unwrap();
    assert_eq!((report.failed(), report.tables[0].rows.len()), (vec![], 1));
    let refused = hunt(&list(&["restart:7"]), None, &mut Unwatched).unwrap_err();
    assert!(refused.to_string().starts_with("faults = \"restart:7\": a fault is"), "{refused}");
}
