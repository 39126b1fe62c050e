//! Faults that other systems had, each with the test that Bauta does not have it. The name of a test says what went wrong there; above it
//! stand the public source and what would come of it here. The whole list, with the tests that stand elsewhere: spec/threat-model.md §8.
#![expect(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests may panic, outside of their own functions too"
)]

#[path = "regressions/circuits.rs"]
mod circuits;
#[path = "regressions/house.rs"]
mod house;
#[path = "regressions/keys.rs"]
mod keys;
#[path = "regressions/links.rs"]
mod links;
#[path = "regressions/paths.rs"]
mod paths;
#[expect(unreachable_pub, reason = "the oracles of the fuzzer use it, too")]
#[path = "../fuzz/oracles/relays.rs"]
mod relays;
#[path = "regressions/rig.rs"]
mod rig;
#[path = "regressions/routing.rs"]
mod routing;
#[path = "regressions/stores.rs"]
mod stores;
