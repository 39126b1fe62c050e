//! Tests of the world itself.

use super::*;
use crate::limits::MEMBERS_MAX;
use crate::membership::members::Members;
use crate::request::{Consistency, Success};
use crate::sim::records::Record;

fn options(seed: u64) -> Options {
    Options::new(seed, Internet::fixed(Duration::from_millis(20)))
}

fn ran(options: Options, relays: usize) -> World {
    let mut world = World::new(options);
    for _ in 0..relays {
        let no = world.add_relay();
        world.start_relay(no, Members::new(MEMBERS_MAX));
    }
    world.pass(Duration::from_secs(60));
    world
}

/// Starts an operation and waits for its end.
fn done(world: &mut World, client: NodeNo, id: u64, operation: crate::node::Operation) -> crate::request::Outcome {
    let timeout = Duration::from_secs(30);
    let deadline = world.now() + timeout;
    world.checks.begun(client, id, deadline);
    world.command(client, ClientCommand::Start { id, operation, timeout });
    while let Some(heard) = world.run(deadline + Duration::from_secs(1)) {
        if let Said::Client(ClientEvent::Done { id: of, outcome }) = heard.said
            && (heard.node, of) == (client, id)
        {
            world.checks.ended(client, id, heard.at);
            return outcome;
        }
    }
    panic!("operation {id} never ended");
}

fn put_and_get(options: Options) -> World {
    let mut world = ran(options, 30);
    let client = world.add_client();
    world.start_client(client, Knowing::Nothing);
    let mut rng = ChaCha20Rng::seed_from_u64(9);
    let mut record = Record::new(&mut rng).unwrap();
    let put = record.put(&world.network(), world.unix(), 86_400, &mut rng);
    let stored = done(&mut world, client, 1, put);
    assert!(matches!(stored.result, Ok(Success::RecordStored { .. })), "{stored:?}");
    let got = done(&mut world, client, 2, record.get(Consistency::Quorum, 0));
    assert!(matches!(got.result, Ok(Success::Record { seq: 1, .. })), "{got:?}");
    assert_eq!(world.checks.breaches(), []);
    world
}

// [MSG-W-019]
#[test]
fn a_cold_network_finds_itself_and_keeps_a_record() {
    put_and_get(options(1));
}

#[test]
fn equal_seeds_have_equal_logs_and_others_do_not() {
    let digests: Vec<u64> = [1, 1, 2].into_iter().map(|seed| put_and_get(options(seed)).digest()).collect();
    assert_eq!(digests[0], digests[1]);
    assert_ne!(digests[0], digests[2]);
}

#[test]
fn tokens_decide_what_ciphers_decide() {
    let with = |ciphers| {
        let never = Duration::from_secs(1_000_000);
        let timing = Timing { padding_after: never, silence_max: never, ..Timing::default() };
        let world = put_and_get(Options { ciphers, timing, ..options(3) });
        (world.digest(), world.counts().frames)
    };
    assert_eq!(with(Ciphers::Real), with(Ciphers::Tokens));
}

#[test]
fn every_table_of_every_node_is_held_against_its_cap() {
    let mut world = put_and_get(options(4));
    let before = world.checks.looked_at();
    world.check_tables();
    world.check_bans();
    let each = (world.checks.looked_at() - before) / 31;
    assert!(each >= 25, "{each} tables of a node");
    assert_eq!(world.checks.breaches(), []);
    let relay = NodeNo(3);
    world.checks.sizes(relay, &[Sizes { table: "full", len: 7, max: 7 }, Sizes { table: "over", len: 8, max: 7 }]);
    let Some(Mind::Relay(of)) = world.actor(relay).and_then(|actor| actor.mind.as_ref()) else { panic!("no relay") };
    let names: std::collections::BTreeSet<&str> = of.sizes().into_iter().map(|(table, ..)| table).collect();
    assert_eq!(names.len(), of.sizes().len(), "each name once");
    let key = world.key_of(NodeNo(4));
    world.checks.no_ban(relay, key.as_ref());
    let breaches: Vec<&str> = world.checks.breaches().iter().map(|breach| breach.check).collect();
    assert_eq!(breaches, ["tables stay under their caps", "no honest node bans an honest one"]);
}
