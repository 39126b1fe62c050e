//! What a relay that knows thousands of others, and does nothing, holds on the heap: so many fit in one process. A file of its
//! own, for the allocator that counts is the whole process's.

use std::alloc::System;
use std::sync::Arc;

use bauta::crypto::keys::{DhKey, IdentitySecret};
use bauta::crypto::puzzle::Solution;
use bauta::limits::MEMBERS_PULL_EVERY;
use bauta::membership::members::Members;
use bauta::membership::prefix_rule::PrefixRule;
use bauta::node::io::{Input, LinkId, Peer};
use bauta::node::{Effect, Relay, RelayConfig};
use bauta::time::{Instant, Now, UnixTime};
use bauta::wire::address::Address;
use bauta::wire::descriptor::{Descriptor, VerifiedDescriptor};
use bauta::wire::network::Network;
use rand::SeedableRng;
use rand::rngs::ChaCha20Rng;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static COUNTED: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Bytes of one idle relay: ten thousand take 2 GB. Source: spec/performance.md §4.
const RELAY_HEAP_MAX: usize = 200_000;
const RELAYS: u32 = 8;
const ISSUED: UnixTime = UnixTime(1_800_000_000);

fn network() -> Network {
    Network::named("heap", 0)
}

fn secret(number: u32) -> IdentitySecret {
    let mut bytes = [7; 32];
    bytes[..4].copy_from_slice(&number.to_be_bytes());
    IdentitySecret::from_bytes(&bytes)
}

fn place(number: u32) -> Solution {
    let mut y = [0; 32];
    y[..4].copy_from_slice(&number.to_be_bytes());
    Solution { counter: 0, y }
}

fn address(number: u32) -> Address {
    let [_, _, high, low] = number.to_be_bytes();
    Address(([10 + high, low, 0, 1], 9_000).into())
}

fn described(number: u32) -> VerifiedDescriptor {
    let mut link_key = [0; 32];
    link_key[..4].copy_from_slice(&number.to_be_bytes());
    let secret = secret(number);
    let descriptor = Descriptor {
        key: secret.public(),
        solution: place(number),
        link_key: DhKey(link_key),
        onion_epoch: ISSUED.to_wire(),
        onion_key: DhKey([3; 32]),
        address: address(number),
        family: [0; 8],
        versions: (1, 1),
        issued: ISSUED.to_wire(),
        effort: 0,
    };
    descriptor.sign(&network(), &secret)
}

/// A relay that is one of those known, after its first inputs; the shell has fetched what it wanted done.
fn started(number: u32, stored: &Members) -> Relay {
    let config = RelayConfig {
        network: network(),
        identity: Arc::new(secret(number)),
        solution: place(number),
        link_key: described(number).link_key,
        address: address(number),
        family: [0; 8],
        bootstraps: Vec::new(),
        stored: stored.clone(),
        issued_before: ISSUED.to_wire(),
        repair: bauta::dht::repair::RepairTiming::default(),
        rule: PrefixRule::Distinct,
        witness: false,
    };
    let mut relay = Relay::new(config, ChaCha20Rng::seed_from_u64(u64::from(number)), at(0));
    let other = described(number + 1);
    let peer = Peer { link_key: other.link_key, address: other.address, descriptor: Some(other), dialled: true };
    handle(&mut relay, at(1), Input::LinkUp { link: LinkId(2), peer: Box::new(peer) });
    handle(&mut relay, at(MEMBERS_PULL_EVERY.as_secs() * 2), Input::Timeout);
    relay
}

fn at(seconds: u64) -> Now {
    Now { instant: Instant::from_micros(seconds * 1_000_000), unix: UnixTime(ISSUED.0 + 2 + seconds) }
}

fn handle(relay: &mut Relay, now: Now, input: Input) {
    relay.handle(now, input);
    // Not one relay's work is done here: no link but the one is up.
    while let Some(effect) = relay.poll_effect() {
        drop::<Effect<_>>(effect);
    }
}

fn grown<T>(make: impl FnOnce() -> T) -> (usize, T) {
    let region = Region::new(COUNTED);
    let made = make();
    let change = region.change();
    // What was allocated and freed by reallocating is counted apart, with a sign.
    let held = change.bytes_allocated - change.bytes_deallocated;
    (held, made)
}

#[test]
fn an_idle_relay_that_knows_ten_thousand_others_holds_less_than_two_hundred_kilobytes() {
    let mut each = Vec::new();
    for members in [1_000, 10_000] {
        let mut stored = Members::default();
        stored.merge_all((0..members).map(described), ISSUED);
        assert_eq!(stored.len(), usize::try_from(members).unwrap());
        let (shared, clones) = grown(|| [stored.clone(), stored.clone()]);
        assert!(shared < 1_000, "a clone shares everything: {shared}");
        drop(clones);
        let (held, mut relays) = grown(|| (0..RELAYS).map(|number| started(number, &stored)).collect::<Vec<_>>());
        let relay = held / usize::try_from(RELAYS).unwrap();
        // A newcomer whom nobody knew: the tables have to grow.
        let stranger = described(members + 7);
        let (more, ()) = grown(|| {
            for relay in &mut relays {
                let peer = Peer {
                    link_key: stranger.link_key,
                    address: stranger.address,
                    descriptor: Some(stranger.clone()),
                    dialled: true,
                };
                handle(relay, at(120), Input::LinkUp { link: LinkId(4), peer: Box::new(peer) });
            }
        });
        let after = (held + more) / usize::try_from(RELAYS).unwrap();
        assert!(relay >= 16 * usize::try_from(members).unwrap(), "{relay}: each has tables of its own by now");
        assert!(after.max(relay) <= RELAY_HEAP_MAX, "{members} members: {relay}, then {after} bytes for each relay");
        each.push((relay, after));
    }
    let [(few, _), (many, _)] = each[..] else { unreachable!("two sizes") };
    assert!(many - few <= 9_000 * 18, "16 bytes for each relay known, and a little room: {each:?}");
}
