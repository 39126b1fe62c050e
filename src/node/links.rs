//! The node's links: who is at the other end, who is being dialled, who could not be. Source: spec/link.md §7.

use core::ops::Bound;
use std::collections::{BTreeMap, BTreeSet};

use super::deadlines::Deadlines;
use super::io::{DownReason, LinkId, Output, Peer};
use super::presence::Presence;
use super::silence::Silence;
use super::sizes::TableSize;
use crate::crypto::CryptoRng;
use crate::crypto::keys::{DhKey, NodeKey};
use crate::dht::repair::RepairTiming;
use crate::limits::{
    ASKS_PER_CLIENT_LINK_BURST, ASKS_PER_CLIENT_LINK_PER_S, ASKS_PER_LINK_MAX, BUILDS_PER_CLIENT_LINK_PER_S,
    BUILDS_PER_LINK_BURST, BUILDS_PER_LINK_PER_S, CIRCUITS_PER_LINK_MAX, GUARDS, LINK_AGE_MAX, LINK_IDLE_MAX,
    MEMBERS_ASKS_BURST, MEMBERS_ASKS_PER_S, MEMBERS_MAX, REDIAL_WITHIN, REPAIR_WATCHED_MAX,
};
use crate::time::{Duration, Instant};
use crate::wire::address::Address;
use crate::wire::cell::CircuitId;
use crate::wire::descriptor::VerifiedDescriptor;

/// Bit of a circuit number that says which end opened it: set for the dialler's.
const DIALLER_BIT: u32 = 1 << 31;

/// How a node can be reached.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Reach {
    /// Over this link.
    Up(LinkId),
    /// Over this link, once it is up.
    Dialling(LinkId),
    /// Not now: it could not be dialled a moment ago.
    Refused,
}

struct Link {
    peer: Peer,
    /// Whether its peer was dialled, or comes from where it says.
    is_at_home: bool,
    born: Instant,
    open: BTreeSet<CircuitId>,
    builds: Bucket,
    asks: Bucket,
}

/// Tokens that come back with time.
struct Bucket {
    tokens: f64,
    at: Instant,
}

impl Bucket {
    fn new(burst: u32, now: Instant) -> Self {
        Self { tokens: f64::from(burst), at: now }
    }

    fn take(&mut self, burst: u32, per_s: u32, now: Instant) -> bool {
        let gained = self.at.until(now).as_secs_f64() * f64::from(per_s);
        self.tokens = (self.tokens + gained).min(f64::from(burst));
        self.at = now;
        let enough = self.tokens >= 1.0;
        if enough {
            self.tokens -= 1.0;
        }
        enough
    }
}

/// That there was a link to a relay at home.
struct Meeting {
    address: Address,
    link_key: DhKey,
    /// When it came up or ended; while it is up this does not count.
    last: Instant,
    /// Questions about the membership, over all its links.
    asks: Bucket,
}

/// The table.
#[derive(Default)]
pub(super) struct Links {
    up: BTreeMap<LinkId, Link>,
    /// When a link is idle, should nothing be open on it by then.
    idle_at: Deadlines<LinkId>,
    by_key: BTreeMap<DhKey, LinkId>,
    /// All links of a key that may be used: the one in `by_key`, and those that it replaced.
    of_key: BTreeSet<(DhKey, LinkId)>,
    /// By key and address: a wrong address said of somebody must not keep us from the right one.
    dialling: BTreeMap<(DhKey, Address), LinkId>,
    dialled: BTreeMap<LinkId, (DhKey, Address)>,
    /// When dials began that were not tried twice yet.
    first_tries: BTreeMap<LinkId, Instant>,
    pub(super) presence: Presence,
    /// Links of which something is awaited.
    pub(super) silence: Silence,
    pinned: BTreeSet<DhKey>,
    /// Relays that were linked to at, or from, the address they name.
    met: BTreeMap<NodeKey, Meeting>,
    /// When each of them is to be looked at again.
    met_until: Deadlines<NodeKey>,
    next: u64,
}

impl Links {
    /// Those of a relay, which notes who is gone.
    pub(super) fn of_relay(timing: &RepairTiming) -> Self {
        Self { presence: Presence::of_relay(timing), ..Self::default() }
    }

    /// Finds or starts a link to whoever holds this key at this address.
    pub(super) fn reach(&mut self, now: Instant, link_key: DhKey, address: Address) -> (Reach, Option<Output>) {
        if let Some(link) = self.by_key.get(&link_key) {
            let young = self.up.get(link).is_some_and(|up| up.born.until(now) < LINK_AGE_MAX);
            if young {
                return (Reach::Up(*link), None);
            }
        }
        if let Some(link) = self.dialling.get(&(link_key, address)) {
            return (Reach::Dialling(*link), None);
        }
        if !self.presence.may_dial(now, &(link_key, address)) {
            return (Reach::Refused, None);
        }
        self.next += 1;
        let link = LinkId(self.next << 1);
        self.dialling.insert((link_key, address), link);
        self.dialled.insert(link, (link_key, address));
        self.first_tries.insert(link, now);
        (Reach::Dialling(link), Some(Output::Dial { link, address, link_key }))
    }

    /// Notes a link that is up.
    pub(super) fn on_up(&mut self, now: Instant, link: LinkId, peer: Peer) {
        self.first_tries.remove(&link);
        if let Some(key) = self.dialled.remove(&link) {
            self.dialling.remove(&key);
            self.presence.met(&key);
        }
        let key = peer.link_key;
        // Two ends may dial each other at once; both links then live and each end uses the one it heard of last,
        // until the other idles out. Nothing depends on which.
        // An accepted link is used for our own cells only when it comes from where its relay says it listens: an address that
        // nobody ever connected to, or from, proves nothing.
        let is_at_home =
            peer.dialled || peer.descriptor.as_ref().is_none_or(|relay| relay.address.0.ip() == peer.address.0.ip());
        if is_at_home {
            self.by_key.insert(key, link);
            self.of_key.insert((key, link));
            if let Some(relay) = &peer.descriptor {
                self.presence.met(&(key, relay.address));
            }
            if let Some(relay) = &peer.descriptor
                && (self.met.len() < MEMBERS_MAX || self.met.contains_key(&relay.key))
            {
                let asks = self.met.remove(&relay.key).map(|before| before.asks);
                let asks = asks.unwrap_or_else(|| Bucket::new(MEMBERS_ASKS_BURST, now));
                self.met.insert(relay.key, Meeting { address: relay.address, link_key: key, last: now, asks });
                self.met_until.set(relay.key, Some(now));
            }
        }
        let builds = Bucket::new(BUILDS_PER_LINK_BURST, now);
        let asks = Bucket::new(ASKS_PER_CLIENT_LINK_BURST, now);
        self.idle_at.set(link, Some(now + LINK_IDLE_MAX));
        self.up.insert(link, Link { peer, is_at_home, born: now, open: BTreeSet::new(), builds, asks });
    }

    /// A dial that was refused, not left without an answer, is tried once more under its number, before anything fails that waits
    /// for it.
    pub(super) fn dial_again(&mut self, now: Instant, link: LinkId, reason: DownReason) -> Option<Output> {
        let begun = self.first_tries.remove(&link)?;
        let may_pass = matches!(reason, DownReason::Unreachable | DownReason::Handshake | DownReason::Closed);
        let (link_key, address) = *self.dialled.get(&link).filter(|_| may_pass && begun.until(now) <= REDIAL_WITHIN)?;
        Some(Output::Dial { link, address, link_key })
    }

    /// Notes the end of a link or of an attempt; gives the peer if it was up.
    pub(super) fn on_down(&mut self, now: Instant, link: LinkId, reason: DownReason) -> Option<Peer> {
        self.first_tries.remove(&link);
        self.silence.heard(link);
        if let Some(key) = self.dialled.remove(&link) {
            self.dialling.remove(&key);
            if reason != DownReason::Limit {
                self.presence.failed(now, key);
            }
        }
        let gone = self.up.remove(&link)?;
        self.of_key.remove(&(gone.peer.link_key, link));
        self.idle_at.remove(&link);
        if self.by_key.get(&gone.peer.link_key) == Some(&link) {
            if let Some(meeting) = gone.peer.descriptor.as_ref().and_then(|relay| self.met.get_mut(&relay.key)) {
                meeting.last = now;
            }
            self.by_key.remove(&gone.peer.link_key);
            let key = gone.peer.link_key;
            let other = self.of_key.range((key, LinkId(0))..=(key, LinkId(u64::MAX))).next();
            if let Some((_, other)) = other {
                self.by_key.insert(key, *other);
            }
        }
        Some(gone.peer)
    }

    /// The key that an attempt under way is for.
    pub(super) fn dialled_key(&self, link: LinkId) -> Option<DhKey> {
        self.dialled.get(&link).map(|(key, _)| *key)
    }

    pub(super) fn peer(&self, link: LinkId) -> Option<&Peer> {
        self.up.get(&link).map(|up| &up.peer)
    }

    /// A cell came over it; whether it is up.
    pub(super) fn heard(&mut self, now: Instant, link: LinkId) -> bool {
        let Some(up) = self.up.get(&link) else { return false };
        self.silence.heard(link);
        if up.is_at_home && up.peer.descriptor.is_some() {
            self.presence.heard(now, up.peer.link_key);
        }
        true
    }

    pub(super) fn link_to(&self, link_key: &DhKey) -> Option<LinkId> {
        self.by_key.get(link_key).copied()
    }

    /// A fresh circuit number of ours on a link.
    pub(super) fn open_circuit(&mut self, now: Instant, link: LinkId, rng: &mut dyn CryptoRng) -> Option<CircuitId> {
        let up = self.up.get_mut(&link)?;
        self.idle_at.set(link, Some(now + LINK_IDLE_MAX));
        for _ in 0..64 {
            let drawn = u32::from_be_bytes(crate::crypto::random_bytes(rng));
            let number = if up.peer.dialled { drawn | DIALLER_BIT } else { drawn & !DIALLER_BIT };
            let circuit = CircuitId(number);
            if number != 0 && up.open.insert(circuit) {
                return Some(circuit);
            }
        }
        None
    }

    /// Whether the peer may open this circuit number; notes it.
    pub(super) fn accept_circuit(&mut self, now: Instant, link: LinkId, circuit: CircuitId, max: usize) -> bool {
        let Some(up) = self.up.get_mut(&link) else { return false };
        self.idle_at.set(link, Some(now + LINK_IDLE_MAX));
        let by_dialler = circuit.0 & DIALLER_BIT != 0;
        by_dialler != up.peer.dialled && up.open.len() < max && up.open.insert(circuit)
    }

    /// Frees a number. Whether it was in use on a link that is up: only then does the other end have to be told.
    pub(super) fn close_circuit(&mut self, link: LinkId, circuit: CircuitId) -> bool {
        self.up.get_mut(&link).is_some_and(|up| up.open.remove(&circuit))
    }

    /// Takes one build packet from the link's bucket.
    pub(super) fn take_build(&mut self, now: Instant, link: LinkId) -> bool {
        let Some(up) = self.up.get_mut(&link) else { return false };
        let rate = if up.peer.descriptor.is_some() { BUILDS_PER_LINK_PER_S } else { BUILDS_PER_CLIENT_LINK_PER_S };
        up.builds.take(BUILDS_PER_LINK_BURST, rate, now)
    }

    /// Takes one question from a client's bucket; relays have one for the membership alone.
    pub(super) fn take_ask(&mut self, now: Instant, link: LinkId) -> bool {
        let Some(up) = self.up.get_mut(&link) else { return false };
        up.peer.descriptor.is_some() || up.asks.take(ASKS_PER_CLIENT_LINK_BURST, ASKS_PER_CLIENT_LINK_PER_S, now)
    }

    /// Takes one question about the membership from a relay's bucket, one for all its links as long as it is remembered; who comes
    /// from elsewhere than it says has a client's. A client's was taken as it came.
    pub(super) fn take_members_ask(&mut self, now: Instant, link: LinkId) -> bool {
        let Some(up) = self.up.get_mut(&link) else { return false };
        let Some(relay) = &up.peer.descriptor else { return true };
        match self.met.get_mut(&relay.key) {
            Some(meeting) => meeting.asks.take(MEMBERS_ASKS_BURST, MEMBERS_ASKS_PER_S, now),
            None => up.asks.take(ASKS_PER_CLIENT_LINK_BURST, ASKS_PER_CLIENT_LINK_PER_S, now),
        }
    }

    /// The relays to which, or from whose address, this node itself has a link, or had one within `presence`, after a key, with
    /// their addresses. Only of those it tells others: else one host could fill the membership with addresses that it does not
    /// have, and relays that are gone would be told of as long as their descriptors live.
    pub(super) fn present(
        &self,
        now: Instant,
        presence: Duration,
        after: Option<NodeKey>,
    ) -> impl Iterator<Item = (&NodeKey, &Address)> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let met = self.met.range((from, Bound::Unbounded));
        let present = met
            .filter(move |(key, meeting)| meeting.last.until(now) < presence || self.is_linked(key, &meeting.link_key));
        present.map(|(key, meeting)| (key, &meeting.address))
    }

    /// How many relays were met of late, itself included.
    pub(super) fn met_count(&self) -> usize {
        self.met.len()
    }

    /// A node has met itself, for good.
    pub(super) fn met_itself(&mut self, own: &VerifiedDescriptor) {
        let last = Instant::from_micros(u64::MAX);
        let asks = Bucket::new(MEMBERS_ASKS_BURST, Instant::ZERO);
        self.met.insert(own.key, Meeting { address: own.address, link_key: own.link_key, last, asks });
    }

    fn is_linked(&self, key: &NodeKey, link_key: &DhKey) -> bool {
        let peer = self.link_to(link_key).and_then(|link| self.peer(link));
        peer.and_then(|peer| peer.descriptor.as_ref()).is_some_and(|relay| relay.key == *key)
    }

    /// Forgets relays that were not met for so long. Looks at each about once in that time.
    pub(super) fn forget_absent(&mut self, now: Instant, presence: Duration) {
        for key in self.met_until.due(now) {
            let Some(meeting) = self.met.get(&key) else { continue };
            let last = if self.is_linked(&key, &meeting.link_key) { now } else { meeting.last };
            if last.until(now) < presence {
                self.met_until.set(key, Some(last + presence));
            } else {
                self.met_until.remove(&key);
                self.met.remove(&key);
            }
        }
    }

    /// Its tables; those that are indexes of others are held against them.
    pub(super) fn sizes(&self) -> Vec<TableSize> {
        let (up, dialling) = (self.up.len(), self.dialling.len());
        let open = self.up.values().map(|link| link.open.len()).max().unwrap_or(0);
        let mut sizes = vec![
            ("link ages", self.idle_at.len(), up),
            ("links by key", self.by_key.len(), up),
            ("links of keys", self.of_key.len(), up),
            ("dials by link", self.dialled.len(), dialling),
            ("first dials", self.first_tries.len(), dialling),
            ("circuits of a link", open, 2 * (CIRCUITS_PER_LINK_MAX + ASKS_PER_LINK_MAX)),
            ("meetings", self.met.len(), MEMBERS_MAX),
            ("ends of meetings", self.met_until.len(), MEMBERS_MAX),
        ];
        sizes.push(("links that stay", self.pinned.len(), REPAIR_WATCHED_MAX.max(GUARDS)));
        sizes.extend(self.presence.sizes());
        sizes.extend(self.silence.sizes());
        sizes
    }

    /// A pinned link does not leave for idleness.
    pub(super) fn pin(&mut self, link_key: DhKey) {
        self.pinned.insert(link_key);
    }

    pub(super) fn unpin(&mut self, link_key: &DhKey) {
        self.pinned.remove(link_key);
    }

    /// Links without work for too long. A relay that dialled this one closes its one link itself, when it has no more use for it: it may
    /// want to see that this relay is there.
    pub(super) fn idle(&self, now: Instant) -> Vec<LinkId> {
        let is_used = |link: &LinkId, up: &Link| self.by_key.get(&up.peer.link_key) == Some(link);
        let is_theirs =
            |link: &LinkId, up: &Link| up.peer.descriptor.is_some() && !up.peer.dialled && is_used(link, up);
        let is_spare = |link: &LinkId, up: &Link| {
            !self.pinned.contains(&up.peer.link_key) || self.by_key.get(&up.peer.link_key) != Some(link)
        };
        let mut idle = self.idle_at.due(now);
        idle.retain(|link| {
            self.up.get(link).is_some_and(|up| up.open.is_empty() && !is_theirs(link, up) && is_spare(link, up))
        });
        idle
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::ChaCha20Rng;

    use super::*;
    use crate::limits::{CIRCUITS_PER_LINK_MAX, DIAL_BACKOFF, PRESENCE_MAX};

    fn address() -> Address {
        Address("127.1.0.1:1".parse().unwrap())
    }

    fn peer(key: u8, dialled: bool) -> Peer {
        Peer { link_key: DhKey([key; 32]), descriptor: None, address: address(), dialled }
    }

    fn tells_of(links: &Links, now: Instant, relay: &VerifiedDescriptor) -> bool {
        links.present(now, PRESENCE_MAX, None).any(|(key, _)| *key == relay.key)
    }

    fn dial(links: &mut Links, now: Instant) -> (Reach, Option<Output>) {
        links.reach(now, DhKey([1; 32]), address())
    }

    // [LINK-W-036] [LINK-W-037]
    #[test]
    fn a_node_is_dialled_once_used_while_up_and_left_alone_after_a_failure() {
        let mut links = Links::default();
        let (reach, output) = dial(&mut links, Instant::ZERO);
        let Reach::Dialling(link) = reach else { unreachable!("{reach:?}") };
        assert!(matches!(output, Some(Output::Dial { link: asked, .. }) if asked == link));
        assert!(matches!(dial(&mut links, Instant::ZERO), (Reach::Dialling(same), None) if same == link));
        assert!(links.on_down(Instant::ZERO, link, DownReason::Unreachable).is_none());
        let later = Instant::ZERO + DIAL_BACKOFF;
        assert_eq!(dial(&mut links, Instant::from_micros(later.as_micros() - 1)).0, Reach::Refused);
        let Reach::Dialling(second) = dial(&mut links, later).0 else { unreachable!("dialled again") };
        assert_ne!(second, link, "numbers of links are never used again");
        links.on_up(later, second, peer(1, true));
        assert_eq!(dial(&mut links, later).0, Reach::Up(second));
        assert!(matches!(dial(&mut links, later + LINK_AGE_MAX).0, Reach::Dialling(_)), "an old link gets a successor");
    }

    #[test]
    fn a_dial_that_was_refused_is_tried_once_more_and_one_without_an_answer_is_not() {
        let (refused, late) = (DownReason::Unreachable, Instant::ZERO + REDIAL_WITHIN + Duration::from_micros(1));
        for (at, reason, again) in [
            (Instant::ZERO + REDIAL_WITHIN, refused, true),
            (late, refused, false),
            (Instant::ZERO, DownReason::Identity, false),
        ] {
            let mut links = Links::default();
            let Reach::Dialling(link) = dial(&mut links, Instant::ZERO).0 else { unreachable!() };
            let second = links.dial_again(at, link, reason);
            assert_eq!(matches!(second, Some(Output::Dial { link: same, .. }) if same == link), again);
            assert!(links.dial_again(at, link, reason).is_none(), "once");
            links.on_down(at, link, reason);
            assert_eq!(dial(&mut links, at).0, Reach::Refused);
            assert!(links.first_tries.is_empty());
        }
    }

    // [LINK-W-004] [MEMB-R-017]
    #[test]
    fn a_relay_that_comes_from_elsewhere_than_it_says_is_neither_used_nor_told_of() {
        let relay = crate::membership::fixture::relay_at(1, [10, 1, 0, 1]);
        let from = |ip: &str, dialled| Peer {
            link_key: relay.link_key,
            descriptor: Some(relay.clone()),
            address: Address(format!("{ip}:4000").parse().unwrap()),
            dialled,
        };
        for (ip, dialled, is_believed) in
            [("10.1.0.1", false, true), ("10.2.0.1", false, false), ("10.1.0.1", true, true)]
        {
            let mut links = Links::default();
            links.on_up(Instant::ZERO, LinkId(1), from(ip, dialled));
            assert_eq!(tells_of(&links, Instant::ZERO, &relay), is_believed, "{ip} {dialled}");
            assert_eq!(links.link_to(&relay.link_key).is_some(), is_believed);
        }
        let mut links = Links::default();
        links.on_up(Instant::ZERO, LinkId(1), from("10.1.0.1", false));
        links.on_up(Instant::ZERO, LinkId(2), from("10.2.0.1", false));
        links.on_down(Instant::ZERO, LinkId(1), DownReason::Closed);
        assert_eq!(links.link_to(&relay.link_key), None, "the other is not used in its place");
    }

    // [MEMB-R-017]
    #[test]
    fn a_relay_is_told_of_while_it_is_linked_and_for_its_presence_after_that() {
        let relay = crate::membership::fixture::relay_at(1, [10, 1, 0, 1]);
        let (link_key, address) = (relay.link_key, relay.address);
        let peer = Peer { link_key, descriptor: Some(relay.clone()), address, dialled: true };
        let mut links = Links::default();
        links.on_up(Instant::ZERO, LinkId(1), peer);
        let (left, at) = (Instant::ZERO + PRESENCE_MAX * 10, |more| Instant::ZERO + PRESENCE_MAX * 10 + more);
        for minute in 0..70 {
            let now = Instant::ZERO + Duration::from_secs(60) * minute;
            links.forget_absent(now, PRESENCE_MAX);
            assert!(tells_of(&links, now, &relay), "a link that holds is a meeting that lasts");
        }
        links.on_down(left, LinkId(1), DownReason::Closed);
        let almost = at(PRESENCE_MAX - Duration::from_micros(1));
        for now in [left, almost] {
            links.forget_absent(now, PRESENCE_MAX);
            assert!(tells_of(&links, now, &relay));
        }
        for (from, count) in [(NodeKey([0; 32]), 1), (relay.key, 0), (NodeKey([0xff; 32]), 0)] {
            assert_eq!(links.present(left, PRESENCE_MAX, Some(from)).count(), count);
        }
        let gone = at(PRESENCE_MAX);
        assert!(!tells_of(&links, gone, &relay), "whether or not it was forgotten yet");
        assert_eq!(links.met.len(), 1);
        links.forget_absent(at(PRESENCE_MAX * 2), PRESENCE_MAX);
        assert!(links.met.is_empty() && links.met_until.next().is_none());
    }

    // [MSG-W-001] [MSG-R-002] [MSG-R-007]
    #[test]
    fn each_end_opens_numbers_of_its_own_half_and_only_so_many() {
        let mut rng = ChaCha20Rng::seed_from_u64(1);
        let mut links = Links::default();
        links.on_up(Instant::ZERO, LinkId(2), peer(1, true));
        links.on_up(Instant::ZERO, LinkId(1), peer(2, false));
        let ours = links.open_circuit(Instant::ZERO, LinkId(2), &mut rng).unwrap();
        assert_ne!(ours.0 & DIALLER_BIT, 0);
        let theirs = links.open_circuit(Instant::ZERO, LinkId(1), &mut rng).unwrap();
        assert_eq!(theirs.0 & DIALLER_BIT, 0);
        let accept = |links: &mut Links, number| {
            links.accept_circuit(Instant::ZERO, LinkId(1), CircuitId(number), CIRCUITS_PER_LINK_MAX)
        };
        assert!(!accept(&mut links, 5), "that half is ours");
        for number in 1..CIRCUITS_PER_LINK_MAX {
            let number = DIALLER_BIT | u32::try_from(number).unwrap();
            assert!(accept(&mut links, number));
            assert!(!accept(&mut links, number), "open already");
        }
        assert!(!accept(&mut links, DIALLER_BIT | 0x00ff_ffff));
        links.close_circuit(LinkId(1), CircuitId(DIALLER_BIT | 1));
        assert!(accept(&mut links, DIALLER_BIT | 1));
    }

    #[test]
    fn build_packets_are_limited_per_link_and_the_share_grows_back() {
        let mut links = Links::default();
        links.on_up(Instant::ZERO, LinkId(1), peer(1, false));
        for _ in 0..BUILDS_PER_LINK_BURST {
            assert!(links.take_build(Instant::ZERO, LinkId(1)));
        }
        assert!(!links.take_build(Instant::ZERO, LinkId(1)));
        assert!(links.take_build(Instant::from_micros(1_000_000), LinkId(1)));
    }

    // [LINK-R-034] [LINK-W-035]
    #[test]
    fn a_link_leaves_when_idle_unless_pinned_or_in_use() {
        let mut rng = ChaCha20Rng::seed_from_u64(1);
        let mut links = Links::default();
        for link in 1..=3 {
            links.on_up(Instant::ZERO, LinkId(link), peer(u8::try_from(link).unwrap(), true));
        }
        links.pin(DhKey([2; 32]));
        links.open_circuit(Instant::ZERO, LinkId(3), &mut rng).unwrap();
        assert_eq!(links.idle(Instant::from_micros(1)), vec![]);
        // Of those that came in, a relay's own from its address is left to it; what it replaced is not, nor a client's.
        let relay = crate::membership::fixture::relay_at(9, [10, 1, 0, 1]);
        let from_home =
            Peer { link_key: relay.link_key, descriptor: Some(relay.clone()), address: relay.address, dialled: false };
        links.on_up(Instant::ZERO, LinkId(5), from_home.clone());
        links.on_up(Instant::ZERO, LinkId(7), from_home);
        links.on_up(Instant::ZERO, LinkId(9), peer(8, false));
        assert_eq!(links.idle(Instant::ZERO + LINK_IDLE_MAX), [1, 5, 9].map(LinkId));
    }

    // [LINK-W-041]
    #[test]
    fn who_is_gone_is_back_with_a_link_from_its_own_address_alone() {
        let relay = crate::membership::fixture::relay_at(1, [10, 1, 0, 1]);
        let (place, at) = ((relay.link_key, relay.address), |second| Instant::ZERO + Duration::from_secs(second));
        let mut links = Links::of_relay(&RepairTiming::default());
        for second in [0, 30, 60] {
            links.presence.failed(at(second), place);
            [7, 8, 7, 8].into_iter().for_each(|key| links.presence.heard(at(second + 1), DhKey([key; 32])));
        }
        for (link, ip, is_gone) in [(LinkId(1), "10.2.0.1", true), (LinkId(3), "10.1.0.1", false)] {
            assert!(links.presence.is_gone(&place));
            let address = Address(format!("{ip}:4000").parse().unwrap());
            let (link_key, descriptor) = (relay.link_key, Some(relay.clone()));
            links.on_up(at(62), link, Peer { link_key, descriptor, address, dialled: false });
            assert_eq!(links.presence.is_gone(&place), is_gone, "from {ip}");
        }
    }
}
