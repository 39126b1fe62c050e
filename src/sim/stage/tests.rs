//! Clients come in at once: to a whole network that starts again, where nobody may be told that what is there is not; and over narrow
//! links, where all must come in.

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

// [MEMB-R-023]
#[test]
fn a_hundred_clients_that_come_at_once_all_come_in_though_their_pages_take_longer_than_other_answers_may() {
    let (clients, bytes_per_s) = (100, 400_000);
    let mut watch = Unwatched;
    let internet = Internet::fixed(Duration::from_millis(30)).with_width(bytes_per_s);
    let options = Options::new(1, internet);
    // So long a bootstrap sends the first pages that it is asked for.
    let page = crate::limits::MEMBERS_PAGE_MAX * crate::wire::descriptor::DESCRIPTOR_LEN;
    let pages = clients * crate::limits::BOOTSTRAPS_ASKED / options.bootstraps;
    let takes = Duration::from_millis(u64::try_from(pages * page).unwrap() * 1_000 / bytes_per_s);
    assert!(takes > 3 * crate::limits::ASK_TIMEOUT && takes < crate::limits::JOIN_TIMEOUT);
    let mut stage = Stage::new(options, "", &mut watch);
    stage.settle_relays(300);
    let clients = stage.new_clients(clients);
    stage.run(stage.world.now() + 4 * takes);
    let outside = clients.iter().filter(|client| stage.ready_at(**client).is_none()).count();
    assert_eq!(outside, 0);
}
