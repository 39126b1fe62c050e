//! Guards, second hops and the paths through them, in whatever order relays come and go, dials end, circuits fail and time passes: a sample of
//! three that takes no fourth within thirty days, apart from each other; what is kept comes back the same; and a path is as long as asked,
//! of distinct relays apart from each other, none of them ours, or is refused.

use std::collections::BTreeSet;

use bauta::crypto::keys::NodeKey;
use bauta::limits::{DESCRIPTOR_LIFE_S, GUARD_SAMPLE_LIFE_S, GUARDS, HOPS_CLIENT_MIN, HOPS_MAX, SECOND_HOPS};
use bauta::membership::guards::{GuardOutcome, GuardState, Guards};
use bauta::membership::members::Members;
use bauta::membership::path::{PathRefused, PathTerms, choose};
use bauta::membership::prefix_rule::PrefixRule;
use bauta::membership::second_hops::{SecondHopState, SecondHops};
use bauta::node::Kept;
use bauta::time::{Duration, Instant, UnixTime};
use rand::SeedableRng;
use rand::rngs::ChaCha20Rng;

use super::relays::{ISSUED, described, identity, network};
use super::script::Script;

const STEPS_MAX: usize = 48;
const RELAYS: u32 = 14;
const RULE: PrefixRule = PrefixRule::Distinct;

struct Rig {
    guards: Guards,
    hops: SecondHops,
    members: Members,
    ours: Vec<NodeKey>,
    /// When which guard was drawn.
    drawn: Vec<(NodeKey, u64)>,
    instant: Instant,
    unix: UnixTime,
    rng: ChaCha20Rng,
    is_lax: bool,
}

impl Rig {
    /// Those of the relays that are in the network now, with descriptors of today.
    fn meet(&mut self, present: u16) {
        self.members = Members::default();
        for number in (0..RELAYS).filter(|number| present >> number & 1 != 0) {
            // Some share a /16, two a family.
            let mut own = described(number, [10, number.to_be_bytes()[3] % 11, 0, number.to_be_bytes()[3]]);
            own.family = if number % 6 == 5 { [7; 8] } else { [0; 8] };
            (own.issued, own.onion_epoch) = (self.unix.to_wire(), self.unix.to_wire());
            self.members.merge(own.sign(&network(), &identity(number)), self.unix);
        }
        // The planted fault forgets whose relays are whose.
        let ours = if self.is_lax { Vec::new() } else { self.ours.clone() };
        let before: BTreeSet<[u8; 32]> = self.guards.state().guards.iter().map(|one| one.key).collect();
        self.guards.fill(&self.members, RULE, self.unix, &ours, &mut self.rng);
        for new in self.guards.state().guards.iter().filter(|one| !before.contains(&one.key)) {
            self.drawn.push((NodeKey(new.key), self.unix.0));
        }
        let ordered = self.guards.ordered();
        self.hops.refill(&self.members, RULE, self.unix, &ordered, &ours, &mut self.rng);
    }

    fn holds(&self) {
        let (state, ordered) = (self.guards.state(), self.guards.ordered());
        assert!(state.guards.len() <= GUARDS && self.hops.keys().count() <= SECOND_HOPS);
        let all: BTreeSet<[u8; 32]> =
            state.guards.iter().map(|one| one.key).chain(self.hops.keys().map(|key| key.0)).collect();
        assert!(all.iter().all(|key| !self.ours.contains(&NodeKey(*key))), "one of ours");
        let recent = self.drawn.iter().filter(|(_, at)| self.unix.0 < at + GUARD_SAMPLE_LIFE_S).count();
        assert!(recent <= GUARDS, "a fourth within thirty days");
        if let GuardOutcome::InUse(key) = self.guards.outcome() {
            assert_eq!(Some(key), self.guards.current());
            assert!(ordered.contains(&key));
        }
        let kept = Kept { guards: state, second_hops: self.hops.state() };
        let bytes = postcard(&kept);
        assert!(
            Guards::new(kept.guards.clone()).state() == kept.guards
                && SecondHops::new(kept.second_hops.clone()).state() == kept.second_hops
        );
        assert_eq!(bytes, postcard(&kept));
    }

    fn path(&mut self, length: usize) {
        let ours = if self.is_lax { Vec::new() } else { self.ours.clone() };
        let Some(guard) = self.guards.ordered().first().copied() else { return };
        let terms = PathTerms { length, rule: RULE, ours: &ours, now: self.unix, avoid: &[] };
        match choose(&self.members, &guard, &self.hops, &terms, &mut self.rng) {
            Ok(path) => {
                assert!((HOPS_CLIENT_MIN..=HOPS_MAX).contains(&length));
                let hops = path.hops();
                assert_eq!((hops.len(), path.guard(), hops[0].key), (length, guard, guard));
                assert!(hops[1].key == path.second_hop() && self.hops.keys().any(|key| key == path.second_hop()));
                assert_eq!(hops[length - 1].key, path.exit());
                for (at, one) in hops.iter().enumerate() {
                    assert!(!self.ours.contains(&one.key) && one.has_live_onion_key(self.unix));
                    assert!(hops[..at].iter().all(|other| RULE.allows_together(one, other)));
                }
            }
            Err(PathRefused::TooShort { asked }) => assert!(asked == length && length < HOPS_CLIENT_MIN),
            Err(PathRefused::TooLong { asked }) => assert!(asked == length && length > HOPS_MAX),
            Err(_) => (),
        }
    }
}

/// As it would stand in its file.
fn postcard(kept: &Kept) -> Vec<u8> {
    bauta::cli::kept_files::written_guards(kept)
}

/// Checks one input. With `fault`, as it would be where a client does not know which relays are its owner's.
pub fn check(data: &[u8], fault: bool) {
    let mut script = Script::new(data);
    let ours = [0, 1].map(|number| identity(number).public()).to_vec();
    let mut rig = Rig {
        guards: Guards::new(GuardState::default()),
        hops: SecondHops::new(SecondHopState::default()),
        members: Members::default(),
        ours,
        drawn: Vec::new(),
        instant: Instant::ZERO,
        unix: ISSUED,
        rng: ChaCha20Rng::seed_from_u64(u64::from(script.byte())),
        is_lax: fault,
    };
    rig.meet(script.u16() | 0x0fff);
    for _ in 0..STEPS_MAX {
        if script.is_over() {
            break;
        }
        let (op, ordered) = (script.byte(), rig.guards.ordered());
        let pinned: Vec<NodeKey> = rig.hops.keys().collect();
        let key = if ordered.is_empty() { identity(9).public() } else { script.pick(&ordered) };
        let hop = if pinned.is_empty() { key } else { script.pick(&pinned) };
        let exit = identity(u32::from(op) % RELAYS).public();
        match op % 11 {
            0 => rig.meet(script.u16()),
            1 => {
                rig.unix = UnixTime(rig.unix.0 + u64::from(op) * DESCRIPTOR_LIFE_S / 8);
                rig.meet(script.u16() | 0xff);
            }
            2 => rig.instant = rig.instant + Duration::from_millis(250) * u32::from(script.byte()),
            3 => {
                let _ = rig.guards.next_dial(rig.instant);
            }
            4 => {
                let _ = rig.guards.on_dial_failed(&key, rig.instant);
            }
            5 => {
                let _ = rig.guards.on_link_up(&key, rig.instant);
            }
            6 => {
                let _ = rig.guards.on_link_down(&key, rig.instant);
            }
            7 => {
                for turn in 0..=op >> 2 {
                    rig.guards.on_circuit(&key, turn % 4 == 0, rig.unix);
                }
            }
            8 => {
                let may_replace = rig.guards.doubts(&key).is_none();
                rig.hops.on_failure(&hop, &exit, may_replace, rig.unix);
                rig.hops.on_not_reached(&hop, &exit, may_replace, rig.unix);
            }
            9 => {
                let _ = rig.hops.on_success(&hop);
            }
            _ => rig.path(script.below(HOPS_MAX + 2)),
        }
        rig.holds();
    }
    rig.path(HOPS_CLIENT_MIN);
    rig.holds();
}
