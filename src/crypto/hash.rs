//! Hashes with their domains. SHA-1 only places things in the keyspace: no integrity rests on it.

use sha1::{Digest, Sha1};

use super::keys::NodeKey;
use crate::keyspace::{Id, Location};

/// BLAKE3 of several parts, one after the other.
#[must_use]
pub fn blake3(parts: &[&[u8]]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    for part in parts {
        hasher.update(part);
    }
    *hasher.finalize().as_bytes()
}

/// BLAKE3 of several parts under a key of 32 bytes (its keyed mode): a check that only holders of the key can make.
#[must_use]
pub fn blake3_keyed(key: &[u8; 32], parts: &[&[u8]]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_keyed(key);
    for part in parts {
        hasher.update(part);
    }
    *hasher.finalize().as_bytes()
}

fn place(domain: &[u8], parts: &[&[u8]]) -> Id {
    let mut hasher = Sha1::new();
    hasher.update(domain);
    for part in parts {
        hasher.update(part);
    }
    Id(hasher.finalize().into())
}

/// A relay's id from its key and the output `y` of its puzzle (spec/crypto.md §6).
#[must_use]
pub fn node_id(key: &NodeKey, y: &[u8; 32]) -> Id {
    place(b"bauta id", &[&key.0, y])
}

/// The location of a signed value, from its blinded key (spec/values.md §2).
#[must_use]
pub fn signed_location(blinded: &NodeKey) -> Location {
    place(b"bauta loc", &[&blinded.0])
}

/// The `index`-th location of a hashed value (spec/values.md §3).
#[must_use]
pub fn hashed_location(hash: &[u8; 32], index: u8) -> Location {
    place(b"bauta chunk", &[hash, &[index]])
}
