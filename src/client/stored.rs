//! The membership on disk: what one process learned from the bootstraps, the next ones need not ask for again.
//!
//! It is no state that matters: lost or damaged, it is asked for anew. Source: spec/state.md §7.

use serde::{Deserialize, Serialize};

use crate::crypto::random_bytes;
use crate::disk::StateDir;
#[cfg(feature = "cli")]
use crate::disk::StateError;
use crate::limits::{MEMBERS_MAX, STORED_MEMBERS_LIFE_MAX_S, STORED_MEMBERS_LIFE_MIN_S};
use crate::membership::members::Members;
use crate::net::Runtime;
use crate::time::{Duration, UnixTime};
use crate::wire::codec::Reader;
use crate::wire::descriptor::{SignedDescriptor, VerifiedDescriptor};
use crate::wire::network::Network;

/// Name of the file.
const FILE: &str = "members";

/// As it stands in the file.
#[derive(Serialize, Deserialize)]
pub(crate) struct StoredMembers {
    written: u64,
    /// Drawn when it was written: no fixed age at which a client shows itself to bootstraps.
    serves_until: u64,
    /// Of the puzzles that were checked; with another one they would have to be again.
    difficulty: u8,
    descriptors: Vec<Vec<u8>>,
}

impl StoredMembers {
    /// Of a membership that bootstraps agreed on and that was checked; `None` for an empty one.
    pub(super) fn new(members: &[VerifiedDescriptor], network: &Network, runtime: &Runtime) -> Option<Self> {
        let written = runtime.clock().now().unix.0;
        let drawn = u64::from(u32::from_be_bytes(random_bytes(&mut runtime.entropy().generator())));
        let span = STORED_MEMBERS_LIFE_MAX_S - STORED_MEMBERS_LIFE_MIN_S;
        let serves_until = written.saturating_add(STORED_MEMBERS_LIFE_MIN_S + drawn % span);
        let descriptors = members.iter().map(|one| one.as_bytes().to_vec()).collect();
        (!members.is_empty()).then_some(Self { written, serves_until, difficulty: network.difficulty, descriptors })
    }
}

/// Keeps it; a failure costs the next process a question, nothing more.
pub(super) fn write(state: &StateDir, members: &StoredMembers) {
    if let Err(error) = state.write(FILE, members) {
        tracing::warn!(%error, "the membership was not kept");
    }
}

/// How many relays are kept, and for how long they still serve; `None` when the next client asks bootstraps. Signatures are left
/// to that client.
#[must_use]
pub fn stored_membership(state: &StateDir, network: &Network, now: UnixTime) -> Option<(usize, Duration)> {
    let stored = read_serving(state, network, now)?;
    Some((stored.descriptors.len(), Duration::from_secs(stored.serves_until.saturating_sub(now.0))))
}

/// What is kept and still serves; signatures and times are checked anew, puzzles were before it was written.
pub(super) fn read(state: &StateDir, network: &Network, now: UnixTime) -> Members {
    let stored = read_serving(state, network, now);
    let verify = |bytes: &Vec<u8>| {
        let mut reader = Reader::new(bytes);
        let signed = SignedDescriptor::decode(&mut reader).ok()?;
        reader.finish().ok()?;
        signed.verify_with(network, now, |_, _, _, _| true).ok()
    };
    let mut members = Members::default();
    members.merge_all(stored.iter().flat_map(|stored| &stored.descriptors).take(MEMBERS_MAX).filter_map(verify), now);
    members
}

/// For which difficulty a membership was kept here, whether it still serves or not; `None` where none was.
///
/// # Errors
/// [`StateError`], of a file that cannot be read.
#[cfg(feature = "cli")]
pub(crate) fn stored_difficulty(state: &StateDir) -> Result<Option<u8>, StateError> {
    let stored: Option<StoredMembers> = state.read(FILE)?;
    Ok(stored.map(|stored| stored.difficulty))
}

fn read_serving(state: &StateDir, network: &Network, now: UnixTime) -> Option<StoredMembers> {
    let stored: StoredMembers = match state.read(FILE) {
        Ok(stored) => stored?,
        Err(error) => {
            tracing::warn!(%error, "the membership on disk is not used");
            return None;
        }
    };
    // A clock that was set back would let it serve for ever.
    let serves = stored.written <= now.0 && now.0 < stored.serves_until && stored.difficulty == network.difficulty;
    serves.then_some(stored)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::membership::fixture::{ISSUED, described, network, relay, signed};

    fn stored(written: u64, serves_until: u64) -> StoredMembers {
        let bytes = |number| relay(number).as_bytes().to_vec();
        let difficulty = network().difficulty;
        StoredMembers { written, serves_until, difficulty, descriptors: (0..5).map(bytes).collect() }
    }

    // [STATE-R-013] [STATE-R-017]
    #[test]
    fn a_membership_serves_from_when_it_was_written_until_its_end_and_damaged_ones_not_at_all() {
        let home = tempfile::tempdir().unwrap();
        let state = StateDir::open(home.path().join("state")).unwrap();
        let now = ISSUED;
        let count = || read(&state, &network(), now).len();
        assert_eq!(count(), 0);
        for (written, serves_until, expected) in
            [(now.0, now.0 + 1, 5), (now.0 - 10, now.0 + 1, 5), (now.0 - 10, now.0, 0), (now.0 + 1, now.0 + 10, 0)]
        {
            write(&state, &stored(written, serves_until));
            assert_eq!(count(), expected, "{written} {serves_until}");
        }
        let mut forged = stored(now.0, now.0 + 1);
        forged.descriptors[0][100] ^= 1;
        forged.descriptors[1].push(0);
        write(&state, &forged);
        assert_eq!(count(), 3);
        let other = Network { difficulty: 9, ..network() };
        assert_eq!(read(&state, &other, now).len(), 0, "puzzles were checked for another difficulty");
        std::fs::write(state.path().join(FILE), b"rubbish").unwrap();
        assert_eq!(count(), 0);
    }

    /// Marcus, Heilman, Goldberg, "Low-Resource Eclipse Attacks on Ethereum's Peer-to-Peer Network" (eprint 2018/236): nodes that an attacker had
    /// brought into the database of a node came back with each of its starts, as if they had been found. Here what once was written would be
    /// believed for ever, and a guard drawn from it.
    #[test]
    fn regression_a_membership_from_disk_passes_all_checks_again() {
        let home = tempfile::tempdir().unwrap();
        let state = StateDir::open(home.path().join("state")).unwrap();
        let (now, network) = (ISSUED, network());
        let again = |change: &dyn Fn(&mut crate::wire::descriptor::Descriptor), by: u32| {
            let mut own = described(by, [10, 0, 0, by.to_be_bytes()[3]]);
            change(&mut own);
            signed(own, by).as_bytes().to_vec()
        };
        let good = relay(0).as_bytes().to_vec();
        let mut of_another = relay(1).as_bytes().to_vec();
        of_another[..32].copy_from_slice(&relay(2).key.0);
        let poison = vec![
            of_another,
            again(&|own| own.issued -= u32::try_from(crate::limits::DESCRIPTOR_LIFE_S).unwrap() + 1, 3),
            again(&|own| own.issued += u32::try_from(crate::limits::CLOCK_SKEW_S).unwrap() + 1, 4),
            // Two of one number: neither is believed.
            again(&|own| own.family = [1; 8], 5),
            again(&|own| own.family = [2; 8], 5),
            Network::named("elsewhere", 0).id.to_vec(),
            relay(6).as_bytes()[1..].to_vec(),
        ];
        let descriptors = [vec![good], poison].concat();
        let (written, difficulty) = (now.0, network.difficulty);
        write(&state, &StoredMembers { written, serves_until: now.0 + 1, difficulty, descriptors });
        let read = read(&state, &network, now);
        assert!(read.iter().map(VerifiedDescriptor::id).eq([relay(0).id()]));
        assert!(read.is_banned(&relay(5).key));
    }

    // [STATE-W-011]
    #[tokio::test]
    async fn the_end_is_drawn_between_the_two_limits() {
        let runtime = Runtime::with_links_max(4).unwrap();
        let signed: Vec<_> = (0..3).map(relay).collect();
        for _ in 0..50 {
            let one = StoredMembers::new(&signed, &network(), &runtime).unwrap();
            let life = one.serves_until - one.written;
            assert!((STORED_MEMBERS_LIFE_MIN_S..STORED_MEMBERS_LIFE_MAX_S).contains(&life));
        }
        assert!(StoredMembers::new(&[], &network(), &runtime).is_none());
    }
}
