//! Every way in which what decodes refuses is met: by a vector that is refused so, or here. A variant that is new, and that nothing reaches,
//! does not compile or fails.
#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test crate")]

use std::collections::BTreeSet;
use std::path::Path;

use bauta::cli::kept_files::KeptFile;
use bauta::content::{
    ChunkAt, ChunkRefused, ContentLink, Entry, EntryKind, FolderIndex, FolderRefused, KeyRefused, LinkRefused,
    NameRefused, PublicationSecret, RootRefused, Target, TargetRefused, open_chunk, rebuild, seal_chunk,
};
use bauta::crypto::keys::IdentitySecret;
use bauta::dht::denylist::{Denylist, DenylistError};
use bauta::disk::StateError;
use bauta::limits::{CHUNK_LEN, DENIED_MAX, FOLDER_ENTRIES_MAX, NAME_LEN_MAX, SEALED_CHUNK_LEN, STATE_FILE_LEN_MAX};
use bauta::record::{Locator, RecordRefused, VerifiedValue};
use bauta::time::UnixTime;
use bauta::wire::codec::Malformed;
use bauta::wire::descriptor::DescriptorRefused;
use bauta::wire::network::Network;
use bauta::wire::record::{ChunkBytes, Expiry, Value};
use serde_json::Value as Json;

/// Names of all variants of a type; the match has no arm for others.
macro_rules! variants {
    ($($refused:ident { $($variant:ident $(($($any:pat),*))? $({ $($field:pat),* })?),* })*) => {
        /// All of them.
        const ALL: &[&str] = &[$($(concat!(stringify!($refused), "::", stringify!($variant))),*),*];
        $(impl Refusal for $refused {
            fn name(&self) -> &'static str {
                match self { $($refused::$variant $(($($any),*))? $({ $($field),* })? =>
                    concat!(stringify!($refused), "::", stringify!($variant))),* }
            }
        })*
    };
}

trait Refusal {
    fn name(&self) -> &'static str;
}

variants! {
    Malformed { Short, Trailing, Value }
    DescriptorRefused { Signature, Puzzle, Expired, Future, Address }
    RecordRefused { Forged, Expired, TooLong, Size }
    RootRefused { Malformed, TooLong(_), Name(_) }
    NameRefused { Length, Characters }
    FolderRefused { Malformed, TooMany, Path(_, _), Clash(_, _) }
    LinkRefused { Text, Version, Key, Network }
    KeyRefused { Text, Version }
    TargetRefused { Link(_), Neither, Empty, Long, Characters, LooksLikeLink }
    ChunkRefused { Length, Forged }
    DenylistError { Line(_), TooMany(_) }
}

/// In vectors a refusal within another bears the name of the inner one.
const WITHIN: [(&str, &str); 2] = [("RootRefused::TooLong", "TooLong"), ("RootRefused::Name", "NameRefused::Length")];

fn of_vectors() -> BTreeSet<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("spec/vectors");
    let mut found = BTreeSet::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|end| end == "json") {
            let file: Json = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
            let invalid = file.get("invalid").and_then(Json::as_array).into_iter().flatten();
            found.extend(invalid.filter_map(|case| Some(case.get("error_id")?.as_str()?.to_owned())));
        }
    }
    found
}

/// What no vector holds, for it would be large, or is a mistake of who calls.
fn of_here() -> Vec<&'static str> {
    let (network, now) = (Network::named("refusals", 0), UnixTime(1_800_000_000));
    let author = IdentitySecret::from_bytes(&[1; 32]);
    let link = ContentLink::new(&network, Locator::of_author(&author, b"label").unwrap());
    let chunk = |len: usize| {
        let expiry = Expiry::at_least(UnixTime(now.0 + 1));
        ChunkBytes { hash: [0; 32], index: 0, expiry, bytes: vec![0; len] }
    };
    let entries = |count: usize| {
        let entry = |number: usize| Entry { path: number.to_string(), kind: EntryKind::Empty };
        FolderIndex::new((0..count).map(entry).collect())
    };
    let (secret, at) = (PublicationSecret::from_bytes([1; 32]), ChunkAt { level: 0, index: 0 });
    let many: String = (0..=DENIED_MAX).map(|number| format!("{number:040x}\n")).collect();
    assert!(entries(FOLDER_ENTRIES_MAX).is_ok() && rebuild(&[None, None], 1).is_err());
    assert!(Denylist::parse(many.trim_end().rsplit_once('\n').unwrap().0).is_ok());
    vec![
        VerifiedValue::check(&network, Value::Hashed(chunk(SEALED_CHUNK_LEN + 1)), now).unwrap_err().name(),
        entries(FOLDER_ENTRIES_MAX + 1).unwrap_err().name(),
        link.locator(&Network::named("elsewhere", 0)).map(|_| ()).unwrap_err().name(),
        Target::parse("bauta1nothing").map(|_| ()).unwrap_err().name(),
        Target::parse(&"n".repeat(NAME_LEN_MAX + 1)).map(|_| ()).unwrap_err().name(),
        seal_chunk(&secret, at, &[0; CHUNK_LEN + 1]).map(|_| ()).unwrap_err().name(),
        open_chunk(&secret, at, vec![0; SEALED_CHUNK_LEN]).unwrap_err().name(),
        Denylist::parse("no name").unwrap_err().name(),
        Denylist::parse(&many).unwrap_err().name(),
    ]
}

#[test]
fn every_way_in_which_what_decodes_refuses_is_met() {
    let (vectors, here) = (of_vectors(), of_here());
    let is_met = |name: &&&str| {
        let inner = WITHIN.iter().find(|(outer, _)| outer == *name).map_or(**name, |(_, inner)| *inner);
        vectors.contains(inner) || here.contains(*name)
    };
    let unmet: Vec<_> = ALL.iter().filter(|name| !is_met(name)).collect();
    assert!(unmet.is_empty(), "{unmet:?}");
    // Of state files, whose errors are of the system too.
    assert!(vectors.contains("StateError::Damaged") && vectors.contains("StateError::Layout"));
    let long = KeptFile::Guards.reread(&vec![0; STATE_FILE_LEN_MAX + 64]);
    assert!(matches!(long, Err(StateError::TooLarge(_))));
}
