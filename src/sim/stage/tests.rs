//! A whole network starts again, and clients come in at once: nobody may be told that what is there is not.

use super::*;
use crate::sim::internet::Internet;
use crate::sim::scenario::Unwatched;
use crate::sim::world::Options;

const RECORDS: usize = 20;

fn secs(s: u64) -> Duration {
    Duration::from_secs(s)
}

/// Relays that all kept what was put, and all start anew within a time, knowing their bootstraps alone; since when they do.
fn restarted(stage: &mut Stage<'_>, relays: usize, within: Duration) -> Instant {
    stage.settle_relays(relays);
    stage.add_records(RECORDS);
    let author = stage.known_clients(1)[0];
    stage.run(stage.world.now() + secs(5));
    for record in 0..RECORDS {
        stage.ask(author, Doing::Put, record, secs(30));
    }
    stage.run_out(stage.world.now() + secs(31));
    assert!(stage.ended.iter().all(|put| put.ending == Ending::Done));
    stage.ended.clear();
    stage.stop_client(author);
    let begun = stage.world.now();
    for relay in stage.world.relays() {
        stage.world.stop(relay, Stop::Crash, true);
        let at = begun + draw::within(stage.world.rng(), within);
        stage.plan_start(at, relay);
    }
    begun
}

/// How the gets of these clients end, each of another record.
fn get(stage: &mut Stage<'_>, readers: &[NodeNo]) -> Vec<Ending> {
    for (record, reader) in readers.iter().enumerate() {
        stage.ask(*reader, Doing::Get, record, secs(30));
    }
    stage.run_out(stage.world.now() + secs(31));
    std::mem::take(&mut stage.ended).into_iter().map(|get| get.ending).collect()
}

fn count(endings: &[Ending], of: Ending) -> usize {
    endings.iter().filter(|ending| **ending == of).count()
}

/// Clients that come for the first time so long after the first relays: nobody is told that a record is not there, so many get it at
/// once, and all that came in get it, and are told of what is not there, two minutes later.
fn check(internet: Internet, (within, after): (u64, u64), done_min: usize) {
    let mut watch = Unwatched;
    let mut stage = Stage::new(Options::new(1, internet), "", &mut watch);
    let begun = restarted(&mut stage, 300, secs(within));
    stage.run(begun + secs(after));
    let readers = stage.new_clients(RECORDS);
    let endings = get(&mut stage, &readers);
    assert_eq!((endings.len(), count(&endings, Ending::NotFound)), (RECORDS, 0), "{endings:?}");
    assert!(count(&endings, Ending::Done) >= done_min, "{endings:?}");
    stage.run(begun + secs(within + 120));
    let endings = get(&mut stage, &readers);
    assert_eq!(count(&endings, Ending::Done), RECORDS, "{endings:?}");
    stage.records.clear();
    stage.add_records(RECORDS);
    let endings = get(&mut stage, &readers);
    assert_eq!(count(&endings, Ending::NotFound), RECORDS, "{endings:?}");
}

// [MEMB-R-031]
#[test]
fn while_a_whole_network_starts_again_within_a_minute_nothing_is_told_to_be_absent_that_is_there() {
    check(Internet::synthetic(1), (60, 20), 12);
}

#[test]
fn nor_where_it_starts_within_seconds() {
    check(Internet::fixed(Duration::from_millis(50)), (5, 2), 12);
}
