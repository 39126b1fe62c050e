//! What is kept for others, and for how long.

use bauta::crypto::hash::blake3;
use bauta::dht::store::{MemoryStore, StoreOp, StoreResult};
use bauta::limits::{DESCRIPTOR_LIFE_S, EXPIRY_MAX_S, EXPIRY_STEP_S};
use bauta::membership::members::{Members, Merge};
use bauta::record::VerifiedValue;
use bauta::time::UnixTime;
use bauta::wire::record::{ChunkBytes, Expiry, Value, ValueKind};

use super::relays::{ISSUED, network, relay};

/// CVE-2023-40583 (go-libp2p): signed records of peers were kept for ever, however many one made. Here whoever makes keys could fill a relay's
/// memory with members and values that all prove themselves.
#[test]
fn regression_what_is_well_signed_is_capped_and_freed_when_it_is_over() {
    let cap = 100;
    let mut members = Members::new(cap);
    let merged: Vec<Merge> = (0..300).map(|number| members.merge(relay(number), ISSUED)).collect();
    assert_eq!(merged.iter().filter(|merge| **merge == Merge::New).count(), cap);
    assert!(merged[cap..].iter().all(|merge| *merge == Merge::Full) && members.len() == cap);
    members.expire(UnixTime(ISSUED.0 + DESCRIPTOR_LIFE_S));
    assert_eq!(members.len(), cap);
    members.expire(UnixTime(ISSUED.0 + DESCRIPTOR_LIFE_S + 1));
    assert_eq!((members.len(), members.iter().count()), (0, 0));
    let mut store = MemoryStore::new(50, 1 << 20);
    for number in 0..200_u32 {
        store.apply(ISSUED, StoreOp::Put { value: chunk(&number.to_be_bytes(), 4), expected: None });
    }
    assert_eq!(store.len(), 50);
    store.apply(ISSUED, StoreOp::Expire { now: UnixTime(ISSUED.0 + EXPIRY_MAX_S) });
    assert_eq!((store.len(), store.bytes()), (0, 0));
}

fn chunk(content: &[u8], steps: u64) -> VerifiedValue {
    let expiry = Expiry::at_least(UnixTime(ISSUED.0 + steps * EXPIRY_STEP_S));
    let bytes = content.to_vec();
    let chunk = ChunkBytes { hash: blake3(&[&bytes]), index: 0, expiry, bytes };
    VerifiedValue::check(&network(), Value::Hashed(chunk), ISSUED).expect("it fits its hash")
}

/// rust-libp2p, pull request 5536: a full store kept whoever was nearest to the key, so that made-up names near it pushed all others out. Here whoever grinds
/// names near a place, or near a relay, could have what stands there dropped.
#[test]
fn regression_nearness_pushes_nothing_out_of_a_full_store() {
    let room = 64;
    let target = relay(1).id();
    let honest: Vec<VerifiedValue> =
        (0..room).map(|number: u32| chunk(&[b"honest", &number.to_be_bytes()[..]].concat(), 100)).collect();
    let nearer = |value: &VerifiedValue| value.location().0[0] == target.0[0];
    // Eight bits of the target's: some 16,000 names are tried for these.
    let made_up: Vec<VerifiedValue> = (0..u32::MAX)
        .map(|number| chunk(&[b"sybil", &number.to_be_bytes()[..]].concat(), 100))
        .filter(nearer)
        .take(usize::try_from(room).unwrap())
        .collect();
    let mut store = MemoryStore::new(usize::try_from(room).unwrap(), 1 << 20);
    for value in &honest {
        let kept = store.apply(ISSUED, StoreOp::Put { value: value.clone(), expected: None });
        assert_eq!(kept, StoreResult::Kept);
    }
    // A day later.
    let now = UnixTime(ISSUED.0 + 86_400);
    for value in &made_up {
        store.apply(now, StoreOp::Put { value: value.clone(), expected: None });
    }
    let left = honest.iter().filter(|value| {
        let held = store.apply(now, StoreOp::Get { kind: ValueKind::Hashed, location: value.location() });
        held == StoreResult::Value(Some((*value).clone()))
    });
    let left = left.count();
    assert!(left * 10 >= honest.len() * 9, "{left} of {} are left", honest.len());
}
