//! The membership among relays: what one lacks is pulled from one relay at a time, everything checked before it is believed.
//! Source: spec/membership.md §2.3, §2.4.

use std::collections::BTreeSet;

use super::storing::Asker;
use super::{AskOwner, Pending, Relay, RelayEvent};
use crate::crypto::keys::{DhKey, NodeKey};
use crate::crypto::{CryptoRng, random_bytes};
use crate::limits::{MEMBERS_NEWS_PART, MEMBERS_PULL_EVERY, PRESENCE_BOOTSTRAPS, PRESENCE_MAX};
use crate::membership::differences::{held, lacking, page};
use crate::membership::members::Merge;
use crate::membership::sample::draw;
use crate::node::work::Job;
use crate::time::{Duration, Instant, Now};
use crate::wire::contact::Contact;
use crate::wire::descriptor::{Fingerprint, VerifiedDescriptor};
use crate::wire::message::{Answer, Ask};

/// First pause between pulls; it doubles up to [`MEMBERS_PULL_EVERY`].
const PULL_FIRST: Duration = Duration::from_millis(250);

/// What of the membership one question of a pull is about.
#[derive(Clone, Copy)]
pub(super) struct Part {
    after: Option<NodeKey>,
    /// Up to this key; `None`: to the last.
    until: Option<NodeKey>,
}

#[cfg(test)]
impl Part {
    /// All after this key.
    pub(super) fn after(after: Option<NodeKey>) -> Self {
        Self { after, until: None }
    }
}

/// When to pull, and how far the pulls under way have come.
pub(super) struct Pulls {
    at: Instant,
    pause: Duration,
    under_way: BTreeSet<DhKey>,
    turn: usize,
}

impl Pulls {
    pub(super) fn new(now: Instant) -> Self {
        Self { at: now, pause: PULL_FIRST, under_way: BTreeSet::new(), turn: 0 }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        Some(self.at)
    }

    pub(super) fn len(&self) -> usize {
        self.under_way.len()
    }

    pub(super) fn ended(&mut self, link_key: &DhKey) {
        self.under_way.remove(link_key);
    }

    fn schedule(&mut self, now: Instant, rng: &mut dyn CryptoRng) {
        // Half to one and a half times the pause, so that relays started together drift apart.
        let [jitter] = random_bytes::<1>(rng);
        self.at = now + self.pause / 2 + self.pause * u32::from(jitter) / 256;
        self.pause = (self.pause * 2).min(MEMBERS_PULL_EVERY);
    }

    /// News came: others may have more.
    fn hurry(&mut self, now: Instant) {
        self.pause = PULL_FIRST;
        self.at = self.at.min(now + PULL_FIRST);
    }
}

/// For how long after their last meeting a relay with so many bootstraps tells of another. The more there are, the longer it
/// takes everybody to visit them all.
pub(super) fn presence(bootstraps: usize) -> Duration {
    let rounds = u32::try_from(bootstraps.div_ceil(PRESENCE_BOOTSTRAPS)).unwrap_or(u32::MAX);
    PRESENCE_MAX * rounds.max(1)
}

impl Relay {
    pub(super) fn pull_members(&mut self, now: Now) {
        if now.instant < self.pulls.at {
            return;
        }
        self.pulls.schedule(now.instant, &mut self.rng);
        if self.pulls.turn == 0 {
            // All bootstraps at once, the first time: each then has met this relay, and tells of it.
            self.pulls.turn = 1;
            let own = self.config.link_key;
            let others = self.config.bootstraps.iter().filter(|one| one.link_key != own).copied().collect::<Vec<_>>();
            for from in others {
                self.begin_pull(now, from);
            }
            return;
        }
        let Some(from) = self.pull_target() else { return };
        self.begin_pull(now, from);
    }

    fn begin_pull(&mut self, now: Now, from: Contact) {
        if self.pulls.under_way.insert(from.link_key) {
            self.pull_part(now, from, None);
        }
    }

    /// A bootstrap and a member drawn by rank, in turn: the bootstraps alone would see, and shape, too much.
    fn pull_target(&mut self) -> Option<Contact> {
        self.pulls.turn += 1;
        let own = self.descriptor.key;
        let others: Vec<Contact> =
            self.config.bootstraps.iter().filter(|one| one.link_key != self.config.link_key).copied().collect();
        let bootstrap = others.get((self.pulls.turn / 2).checked_rem(others.len()).unwrap_or(0)).copied();
        if let Some(bootstrap) = bootstrap.filter(|_| !self.pulls.turn.is_multiple_of(2)) {
            return Some(bootstrap);
        }
        // Every member is looked at for this, so only where one is wanted.
        let member = draw(&self.members, |member| member.key != own, &mut self.rng);
        member.and_then(|key| self.members.get(&key)).map(Contact::from).or(bootstrap)
    }

    fn pull_part(&mut self, now: Now, from: Contact, after: Option<NodeKey>) {
        let salt = u64::from_be_bytes(random_bytes(&mut self.rng));
        let (until, held) = held(&self.members, after, salt);
        let question = Ask::Differences { after, until, salt, held };
        self.ask(now, from, AskOwner::Members { from, part: Part { after, until } }, question);
    }

    pub(super) fn on_members_page(&mut self, now: Now, from: Contact, part: Part, answer: Answer) {
        self.pulls.ended(&from.link_key);
        let Answer::Members { descriptors, more, .. } = answer else { return };
        let Some(last) = Answer::page_end(&descriptors, more, part.after) else { return };
        if last.is_some_and(|last| part.until.is_some_and(|until| until < last)) {
            return;
        }
        let wanted: Vec<_> = descriptors.into_iter().filter(|one| self.members.wants(one)).collect();
        let (network, unix, next) = (self.config.network, now.unix, if more { last } else { part.until });
        let sent = wanted.len();
        self.pulls.under_way.insert(from.link_key);
        if sent == 0 {
            return self.on_page_checked(now, from, (0, next), Vec::new());
        }
        let pending = Pending::Descriptors { from, sent, next };
        self.work(pending, Job::CheckDescriptors { network, descriptors: wanted, now: unix });
    }

    /// The next part is asked for only once this one has held: who sends what does not, costs us one page.
    pub(super) fn on_page_checked(
        &mut self,
        now: Now,
        from: Contact,
        (sent, next): (usize, Option<NodeKey>),
        held: Vec<VerifiedDescriptor>,
    ) {
        self.pulls.ended(&from.link_key);
        let all_held = held.len() == sent;
        self.on_descriptors(now, held);
        if let Some(after) = next.filter(|_| all_held) {
            self.pulls.under_way.insert(from.link_key);
            self.pull_part(now, from, Some(after));
        }
    }

    pub(super) fn answer_members(&mut self, now: Now, asker: Asker, after: Option<NodeKey>) {
        let (page, more) = page(self.told_of(now, after, self.members.after(after).iter()));
        let descriptors = page.into_iter().map(VerifiedDescriptor::to_signed).collect();
        let settled = self.is_settled(now);
        self.send_answer(asker, &Answer::Members { descriptors, more, settled });
    }

    pub(super) fn answer_differences(
        &mut self,
        now: Now,
        asker: Asker,
        (after, until): (Option<NodeKey>, Option<NodeKey>),
        (salt, held): (u64, &[Fingerprint]),
    ) {
        let lacked = lacking(self.members.between(after, until).iter(), salt, held);
        let (page, more) = page(self.told_of(now, after, lacked));
        let descriptors = page.into_iter().map(VerifiedDescriptor::to_signed).collect();
        let settled = self.is_settled(now);
        self.send_answer(asker, &Answer::Members { descriptors, more, settled });
    }

    fn is_settled(&self, now: Now) -> bool {
        self.settling.is_over(now.instant, self.links.met_count(), self.members.len())
    }

    /// Those of these members, who come in the order of keys after one, that others are told of: who was met of late where it says
    /// that it is.
    fn told_of<'m>(
        &'m self,
        now: Now,
        after: Option<NodeKey>,
        members: impl Iterator<Item = &'m VerifiedDescriptor>,
    ) -> impl Iterator<Item = &'m VerifiedDescriptor> {
        let mut present = self.links.present(now.instant, self.presence, after).peekable();
        members.filter(move |member| {
            while present.next_if(|(key, _)| **key < member.key).is_some() {}
            let met = present.next_if(|(key, _)| **key == member.key);
            met.is_some_and(|(_, address)| address.0.ip() == member.address.0.ip())
        })
    }

    pub(super) fn on_descriptors(&mut self, now: Now, descriptors: Vec<VerifiedDescriptor>) {
        let before = self.members.len();
        let told: Vec<_> = descriptors.iter().map(VerifiedDescriptor::id).collect();
        let merged = self.members.merge_all(descriptors, now.unix);
        let mut new = 0;
        for (id, merge) in told.into_iter().zip(merged) {
            // A newer number alone brings nobody back who is gone: it may be anybody's who passes it on.
            if merge == Merge::New {
                new += 1;
                self.on_member_here(now, id);
            }
        }
        // Where relays come and go all the time one newcomer is no news: all would pull from all without a pause.
        if new * MEMBERS_NEWS_PART >= self.members.len().max(1) {
            self.pulls.hurry(now.instant);
        }
        if self.members.len() != before {
            self.effects.event(RelayEvent::Members(self.members.len()));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rand::SeedableRng;
    use rand::rngs::ChaCha20Rng;

    use super::*;
    use crate::limits::{DESCRIPTOR_RENEW_S, MEMBER_LIFE_S, MEMBERS_ASKS_BURST, MEMBERS_ASKS_PER_S};
    use crate::membership::fixture::{ISSUED, described, key, network, relay, secret, signed};
    use crate::membership::members::Members;
    use crate::membership::prefix_rule::PrefixRule;
    use crate::node::effects::Effect;
    use crate::node::io::{DownReason, Input, LinkId, Output, Peer};
    use crate::node::machine::Solved;
    use crate::node::relay::RelayConfig;
    use crate::node::work::run;
    use crate::wire::cell::{Cell, CircuitId, Command};
    use crate::wire::message::cells_of;

    /// The link between two relays of a test, as each end numbers it.
    const LINK: LinkId = LinkId(1_000_001);

    fn now(seconds: u64) -> Now {
        let instant = Instant::ZERO + Duration::from_secs(seconds);
        Now { instant, unix: crate::time::UnixTime(ISSUED.0 + 1 + seconds) }
    }

    fn started(number: u32, bootstraps: Vec<Contact>) -> Relay {
        let own = relay(number);
        let config = RelayConfig {
            network: network(),
            identity: Arc::new(secret(number)),
            solution: own.solution,
            link_key: own.link_key,
            address: own.address,
            family: [0; 8],
            bootstraps,
            stored: Members::default(),
            issued_before: 0,
            repair: crate::dht::repair::RepairTiming::default(),
            rule: PrefixRule::Distinct,
            witness: false,
        };
        Relay::new(config, ChaCha20Rng::seed_from_u64(u64::from(number)), now(0))
    }

    fn peer(of: &VerifiedDescriptor, dialled: bool) -> Box<Peer> {
        Box::new(Peer { link_key: of.link_key, descriptor: Some(of.clone()), address: of.address, dialled })
    }

    /// Makes it know these relays, and have met them.
    fn meet(one: &mut Relay, numbers: core::ops::Range<u32>) {
        for number in numbers {
            let (link, met) = (LinkId(u64::from(number) * 2 + 1), relay(number));
            one.handle(now(0), Input::LinkUp { link, peer: peer(&met, false) });
            one.handle(now(0), Input::LinkDown { link, reason: DownReason::Closed });
        }
    }

    fn join(one: &mut Relay, other: &mut Relay, at: Now) {
        one.handle(at, Input::LinkUp { link: LINK, peer: peer(&other.descriptor, true) });
        other.handle(at, Input::LinkUp { link: LINK, peer: peer(&one.descriptor, false) });
    }

    /// Carries the cells of one to the other and does its work: how many cells, and whether there was anything.
    fn carry(from: &mut Relay, to: &mut Relay, at: Now) -> (usize, bool) {
        let (mut cells, mut any) = (0, false);
        while let Some(effect) = from.poll_effect() {
            match effect {
                Effect::Io(Output::Send { link: LINK, cell }) => {
                    cells += 1;
                    to.handle(at, Input::Cell { link: LINK, cell });
                }
                Effect::Work { id, job } => {
                    from.handle_worked(at, id, run(job, &Solved, &mut ChaCha20Rng::seed_from_u64(4)));
                }
                _ => continue,
            }
            any = true;
        }
        (cells, any)
    }

    /// Both ways until nothing is left; how many cells it was.
    fn settle(one: &mut Relay, other: &mut Relay, at: Now) -> usize {
        let mut cells = 0;
        loop {
            let (there, back) = (carry(one, other, at), carry(other, one, at));
            cells += there.0 + back.0;
            if !there.1 && !back.1 {
                return cells;
            }
        }
    }

    fn pull(from: &mut Relay, by: &mut Relay, at: Now) -> usize {
        settle(by, from, at);
        by.begin_pull(at, from.contact());
        settle(by, from, at)
    }

    fn keys(one: &Relay) -> Vec<NodeKey> {
        one.members.iter().map(|member| member.key).collect()
    }

    #[test]
    fn two_relays_that_pull_in_turn_come_to_know_the_same_and_then_a_pull_is_two_cells() {
        let (mut one, mut other) = (started(1, Vec::new()), started(2, Vec::new()));
        meet(&mut one, 10..400);
        meet(&mut other, 300..420);
        join(&mut one, &mut other, now(1));
        pull(&mut other, &mut one, now(1));
        pull(&mut one, &mut other, now(1));
        assert_eq!((one.members.len(), keys(&one)), (412, keys(&other)));
        assert_eq!(pull(&mut other, &mut one, now(1)), 2);
        assert_eq!(pull(&mut one, &mut other, now(1)), 2);
    }

    // [MSG-R-029] [MEMB-R-017]
    #[test]
    fn a_relay_tells_of_those_it_met_of_late_and_keeps_the_others_to_itself() {
        for (seconds, told) in [(1, true), (PRESENCE_MAX.as_secs() - 1, true), (PRESENCE_MAX.as_secs(), false)] {
            let (mut one, mut other) = (started(1, Vec::new()), started(2, Vec::new()));
            meet(&mut one, 10..12);
            one.on_descriptors(now(0), vec![relay(20)]);
            join(&mut one, &mut other, now(seconds));
            pull(&mut one, &mut other, now(seconds));
            assert_eq!(other.members.get(&key(10)).is_some(), told, "after {seconds} s");
            assert!(other.members.get(&key(1)).is_some() && other.members.get(&key(20)).is_none());
            assert!(one.members.get(&key(10)).is_some(), "it stays a member");
        }
    }

    // [MEMB-R-017]
    #[test]
    fn the_time_for_which_a_relay_tells_of_another_grows_with_the_bootstraps_that_all_must_visit() {
        for (bootstraps, times) in [(0, 1), (1, 1), (3, 1), (4, 2), (6, 2), (64, 22)] {
            assert_eq!(presence(bootstraps), PRESENCE_MAX * times);
        }
    }

    // [MEMB-W-004] [MEMB-R-007]
    #[test]
    fn a_descriptor_is_renewed_at_a_drawn_time_and_who_renews_no_more_is_forgotten() {
        let mut one = started(1, Vec::new());
        one.on_descriptors(now(0), vec![relay(20)]);
        let mut issued = Vec::new();
        for second in (0..=MEMBER_LIFE_S + 10).step_by(5) {
            one.handle(now(second), Input::Timeout);
            let effects = core::iter::from_fn(|| one.poll_effect());
            let numbers = effects.filter_map(|effect| match effect {
                Effect::Event(RelayEvent::Issued(number)) => Some(u64::from(number) - ISSUED.0),
                _ => None,
            });
            issued.extend(numbers);
            let is_known = one.members.get(&key(20)).is_some();
            assert_eq!(is_known, second < MEMBER_LIFE_S, "after {second} s");
        }
        let pauses: Vec<u64> = issued.windows(2).map(|pair| pair[1] - pair[0]).collect();
        let allowed = DESCRIPTOR_RENEW_S * 3 / 4..=DESCRIPTOR_RENEW_S + 5;
        assert!(pauses.len() >= 2 && pauses.iter().all(|pause| allowed.contains(pause)), "{pauses:?}");
        assert_ne!(pauses[0], pauses[1]);
    }

    // [MSG-R-028] [MEMB-R-019]
    #[test]
    fn a_relay_that_asks_for_the_membership_all_the_time_is_refused_after_a_while_over_all_its_links() {
        let mut one = started(1, Vec::new());
        let links = [LINK, LinkId(1_000_003)];
        links.into_iter().for_each(|link| one.handle(now(0), Input::LinkUp { link, peer: peer(&relay(2), false) }));
        let mut turn = 0;
        let mut refused = |at: u64, ask: &Ask| {
            turn += 1;
            let (link, ask) = (links[turn % 2], ask.encode());
            for cell in cells_of(CircuitId(0x8000_0001), Command::Ask, &ask).unwrap() {
                one.handle(now(at), Input::Cell { link, cell });
            }
            let answers = core::iter::from_fn(|| one.poll_effect()).filter_map(|effect| match effect {
                Effect::Io(Output::Send { cell, .. }) if cell.command() == Command::Answer => Some(cell),
                _ => None,
            });
            let refusal = cells_of(CircuitId(0x8000_0001), Command::Answer, &Answer::Refused.encode()).unwrap();
            answers.collect::<Vec<_>>() == refusal
        };
        let all = Ask::Members { after: None };
        assert!((0..MEMBERS_ASKS_BURST).all(|_| !refused(0, &all)));
        assert!(refused(0, &all) && !refused(0, &Ask::sign_of_life()) && refused(0, &all));
        assert!((0..MEMBERS_ASKS_PER_S).all(|_| !refused(1, &all)) && refused(1, &all));
    }

    // [LINK-W-042] [MSG-W-015]
    #[test]
    fn who_names_the_link_key_of_another_is_forgotten_when_asked_and_that_other_is_held_nothing_against() {
        let mut one = started(1, Vec::new());
        let victim = relay(2);
        let mut phantom = described(3, [10, 9, 0, 1]);
        (phantom.link_key, phantom.address) = (victim.link_key, victim.address);
        let phantom = signed(phantom, 3);
        one.handle(now(0), Input::LinkUp { link: LINK, peer: peer(&victim, true) });
        for second in [1, 40, 80, 120] {
            one.on_descriptors(now(second), vec![phantom.clone()]);
            assert!(one.members.get(&phantom.key).is_some());
            one.ask(now(second), Contact::from(&phantom), AskOwner::SignOfLife, Ask::sign_of_life());
            assert!(one.members.get(&phantom.key).is_none() && one.ask_owners.is_empty());
        }
        assert!(!one.links.presence.is_gone(&(victim.link_key, victim.address)));
        assert!(one.members.get(&victim.key).is_some());
    }

    // [MEMB-R-036]
    #[test]
    fn nothing_is_taken_of_a_page_that_goes_beyond_what_was_asked_for() {
        let mut one = started(1, Vec::new());
        let mut told: Vec<_> = (10..14).map(relay).collect();
        told.sort_by_key(|member| member.key);
        let from = Contact::from(&relay(2));
        let works = |one: &mut Relay, until: NodeKey| {
            let part = Part { after: None, until: Some(until) };
            let descriptors = told.iter().map(VerifiedDescriptor::to_signed).collect();
            one.on_members_page(now(0), from, part, Answer::Members { descriptors, more: false, settled: true });
            core::iter::from_fn(|| one.poll_effect()).any(|effect| matches!(effect, Effect::Work { .. }))
        };
        assert!(!works(&mut one, told[2].key));
        assert!(works(&mut one, told[3].key));
    }

    // [MEMB-W-014]
    #[test]
    fn a_relay_goes_to_all_bootstraps_first_and_then_to_one_of_them_and_a_member_in_turn() {
        let bootstraps: Vec<Contact> = (2..5).map(|number| Contact::from(&relay(number))).collect();
        let mut one = started(1, bootstraps.clone());
        let dialled = core::iter::from_fn(|| one.poll_effect()).filter_map(|effect| match effect {
            Effect::Io(Output::Dial { link_key, .. }) => Some(link_key),
            _ => None,
        });
        assert_eq!(dialled.collect::<Vec<_>>(), bootstraps.iter().map(|one| one.link_key).collect::<Vec<_>>());
        one.on_descriptors(now(0), (20..24).map(relay).collect());
        let targets: Vec<Contact> = (0..12).map(|_| one.pull_target().unwrap()).collect();
        let (members, visited): (Vec<_>, Vec<_>) = (0..12).partition(|at| at % 2 == 0);
        assert!(members.iter().all(|at| !bootstraps.contains(&targets[*at])));
        for bootstrap in &bootstraps {
            assert_eq!(visited.iter().filter(|at| targets[**at] == *bootstrap).count(), 2, "each in turn");
        }
    }

    // [MEMB-W-015]
    #[test]
    fn pauses_between_pulls_double_to_their_end_and_begin_anew_with_news() {
        let mut rng = ChaCha20Rng::seed_from_u64(1);
        let mut pulls = Pulls::new(Instant::ZERO);
        let (mut mean, mut at) = (PULL_FIRST, Instant::ZERO);
        for _ in 0..20 {
            pulls.schedule(at, &mut rng);
            let pause = at.until(pulls.at);
            assert!(mean / 2 <= pause && pause <= mean * 3 / 2, "{pause:?} for {mean:?}");
            (at, mean) = (pulls.at, (mean * 2).min(MEMBERS_PULL_EVERY));
        }
        assert_eq!(mean, MEMBERS_PULL_EVERY);
        let mut one = started(1, Vec::new());
        for (numbers, is_news) in [(10..74, true), (80..81, false), (90..92, true)] {
            one.pulls.pause = MEMBERS_PULL_EVERY;
            one.on_descriptors(now(0), numbers.map(relay).collect());
            assert_eq!(one.pulls.pause == PULL_FIRST, is_news);
        }
    }

    // [MEMB-W-016] [MEMB-W-034] [MEMB-W-035]
    #[test]
    fn the_next_part_is_asked_for_when_all_of_the_last_has_held_and_under_another_salt() {
        let mut one = started(1, Vec::new());
        let there = relay(2);
        one.handle(now(0), Input::LinkUp { link: LINK, peer: peer(&there, true) });
        let asked = |one: &mut Relay, held: usize| {
            one.on_page_checked(
                now(0),
                Contact::from(&there),
                (2, Some(key(3))),
                (20..).take(held).map(relay).collect(),
            );
            core::iter::from_fn(|| one.poll_effect())
                .filter_map(|effect| match effect {
                    Effect::Io(Output::Send { cell, .. }) if cell.command() == Command::Ask => {
                        crate::wire::message::Assembler::default().push(cell.body()).unwrap()
                    }
                    _ => None,
                })
                .filter_map(|message| match Ask::decode(&message).unwrap() {
                    Ask::Differences { after: Some(after), salt, .. } => Some((after, salt)),
                    _ => None,
                })
                .collect::<Vec<_>>()
        };
        assert_eq!(asked(&mut one, 1), []);
        let [(first, salt)] = asked(&mut one, 2)[..] else { panic!("it asks on") };
        let [(second, another)] = asked(&mut one, 2)[..] else { panic!("it asks on") };
        assert_eq!((first, second), (key(3), key(3)));
        assert_ne!(salt, another);
    }

    // [MSG-R-021]
    #[test]
    fn a_client_that_asks_for_differences_is_refused() {
        let mut one = started(1, Vec::new());
        let link_key = DhKey([9; 32]);
        let client = Peer { link_key, descriptor: None, address: relay(9).address, dialled: false };
        one.handle(now(0), Input::LinkUp { link: LINK, peer: Box::new(client) });
        let ask = Ask::Differences { after: None, until: None, salt: 1, held: Vec::new() };
        let circuit = CircuitId(0x8000_0001);
        for cell in cells_of(circuit, Command::Ask, &ask.encode()).unwrap() {
            one.handle(now(0), Input::Cell { link: LINK, cell });
        }
        let said: Vec<Cell> = core::iter::from_fn(|| one.poll_effect())
            .filter_map(|effect| match effect {
                Effect::Io(Output::Send { cell, .. }) => Some(cell),
                _ => None,
            })
            .collect();
        assert_eq!(said, cells_of(circuit, Command::Answer, &Answer::Refused.encode()).unwrap());
    }
}
