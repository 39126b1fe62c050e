//! When a client asks bootstraps, and when never. Links, store and pool are played by hand; descriptors are real.

use rand::SeedableRng;

use super::*;
use crate::crypto::keys::DhKey;
use crate::limits::{
    ABSENT_WINDOW, DOUBTED_CIRCUITS_MAX, GUARD_CIRCUITS_JUDGED_MIN, GUARD_DOUBTED_AFTER_S, GUARD_FAILURES_IN_ROW_MAX,
    MEMBERS_FRESH_FOR, OPERATION_CIRCUITS_MAX, STAGGER_MAX, STORED_MEMBERS_DOUBT_MAX, STORED_MEMBERS_DOUBT_MIN,
    STORED_MEMBERS_FAILURES_MAX,
};
use crate::membership::fixture::{ISSUED, described, key, network, signed};
use crate::node::machine::Solved;
use crate::node::work::run;
use crate::onion::{OnionKeys, Role, peel};
use crate::record::Locator;
use crate::request::Success;
use crate::wire::descriptor::Descriptor;
use crate::wire::message::{Answer, Ask, Assembler, cells_of};

mod doubts;
mod settling;
mod told;

const RELAYS: u32 = 20;
const BOOTSTRAPS: u32 = 3;

struct World {
    client: ClientNode,
    now: Now,
    /// By how much the wall clock is ahead of what the instant says.
    later_s: u64,
    bootstraps_answer: bool,
    /// Dials of bootstraps since last asked.
    dials: usize,
    ready: bool,
    /// Pages of membership that bootstraps were asked for.
    asks: usize,
    /// What the guard does to every circuit.
    guard: Doing,
    /// The link on which the last circuit was built, and when links came up.
    used: Option<LinkId>,
    up_at: BTreeMap<LinkId, Instant>,
    builds: usize,
    /// Circuits that the client ended, or said so.
    destroys: usize,
    kept: Kept,
    /// How operations ended, and how often the guard came to be doubted.
    ended: Vec<Outcome>,
    doubts: usize,
    /// Relays that no bootstrap tells of, and those that one alone tells of.
    untold: Vec<NodeKey>,
    told_by_one: Vec<NodeKey>,
    /// Whether bootstraps say that they have settled.
    settled: bool,
    /// Bootstraps of these numbers do not answer as they should.
    lies: BTreeMap<u32, told::Lie>,
    /// Questions that are answered late.
    late: Vec<(LinkId, Cell)>,
    /// What came of the last time that bootstraps were asked.
    joined: Option<Joined>,
}

/// What a guard does when a circuit is built through it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Doing {
    Nothing,
    /// Brings the exit's whole answer, in which nothing stands.
    Answers,
    Destroys,
    /// Lets a first reply of the exit pass, and nothing after it.
    RepliesThenDestroys,
    /// Of the path so many hops work, and the last says so.
    ReachesOnly(usize),
    /// Ends the link, as soon as that does not count as a failed dial.
    Closes,
}

fn at(instant: Instant) -> Now {
    Now { instant, unix: ISSUED }
}

fn onion_keys(number: u32) -> OnionKeys {
    let mut rng = ChaCha20Rng::seed_from_u64(number.into());
    OnionKeys::new(network(), key(number), at(Instant::ZERO), &mut rng)
}

/// A relay of this number in a /16 of its own, whose layers can be opened.
fn relay(number: u32) -> VerifiedDescriptor {
    let [_, _, high, low] = number.to_be_bytes();
    let mut descriptor = described(number, [10 + high, low, 0, 1]);
    (descriptor.onion_key, descriptor.onion_epoch) = onion_keys(number).public();
    signed(descriptor, number)
}

/// What this hop, the first being 1, sends back with those before it, having not reached the next.
fn not_reached(build: &Cell, hops: usize) -> Cell {
    let mut rng = ChaCha20Rng::seed_from_u64(6);
    let (mut body, mut suite, mut hint) = (*build.body(), build.suite(), build.hint());
    let mut middles = Vec::new();
    while middles.len() < hops {
        let opened =
            (0..RELAYS).find_map(|number| peel(&onion_keys(number).secrets(suite, hint), &body, &mut rng).ok());
        let Role::Middle { suite: next_suite, hint: next_hint, body: next, hop, .. } = opened.unwrap().role else {
            panic!("it is not the exit's")
        };
        (body, suite, hint) = (*next, next_suite, next_hint);
        middles.push(hop);
    }
    let last = middles.pop().unwrap().not_reached().unwrap();
    let mut cell = Cell::new(build.circuit(), Command::Reply0);
    *cell.body_mut() = middles.iter_mut().rev().fold(last, |body, hop| hop.wrap_reply0(&body).unwrap());
    cell
}

/// What an exit sends back on the circuit of this build packet: a first reply and one cell, without data.
fn replies(build: &Cell) -> [Cell; 2] {
    let mut rng = ChaCha20Rng::seed_from_u64(5);
    let (mut body, mut suite, mut hint) = (*build.body(), build.suite(), build.hint());
    let mut middles = Vec::new();
    loop {
        let opened =
            (0..RELAYS).find_map(|number| peel(&onion_keys(number).secrets(suite, hint), &body, &mut rng).ok());
        match opened.expect("it is for one of them").role {
            Role::Middle { suite: next_suite, hint: next_hint, body: next, hop, .. } => {
                (body, suite, hint) = (*next, next_suite, next_hint);
                middles.push(hop);
            }
            Role::Exit { mut hop, .. } => {
                let first =
                    middles.iter_mut().rev().fold(hop.seal_reply0(&[]).unwrap(), |b, hop| hop.wrap_reply0(&b).unwrap());
                let data = hop.seal_backward(&[]).unwrap();
                let second = middles.iter_mut().rev().fold(data, |b, hop| hop.wrap_backward(&b).unwrap());
                return [(Command::Reply0, first), (Command::Backward, second)].map(|(command, body)| {
                    let mut cell = Cell::new(build.circuit(), command);
                    *cell.body_mut() = body;
                    cell
                });
            }
        }
    }
}

fn is_bootstrap(link_key: &DhKey) -> bool {
    (0..BOOTSTRAPS).any(|number| relay(number).link_key == *link_key)
}

fn config(kept: Kept, stored: Members) -> ClientConfig {
    ClientConfig {
        network: network(),
        bootstraps: (0..BOOTSTRAPS).map(|number| Contact::from(&relay(number))).collect(),
        hops: 3,
        stagger: STAGGER_MAX,
        rule: PrefixRule::Distinct,
        ours: Vec::new(),
        kept,
        stored,
        witness: false,
    }
}

impl World {
    fn new() -> Self {
        Self::with_stored(Vec::new(), Kept::default())
    }

    /// Guards and second hops of an earlier process, with the membership that it left on disk.
    fn returning(stored: impl Fn(&Kept) -> Vec<VerifiedDescriptor>) -> Self {
        let kept = Self::new().kept;
        Self::with_stored(stored(&kept), kept)
    }

    fn with_stored(stored: Vec<VerifiedDescriptor>, kept: Kept) -> Self {
        let mut known = Members::default();
        known.merge_all(stored, ISSUED);
        let config = config(kept.clone(), known);
        let now = at(Instant::ZERO);
        let client = ClientNode::new(config, ChaCha20Rng::seed_from_u64(3), now);
        let mut world = Self {
            client,
            now,
            bootstraps_answer: true,
            dials: 0,
            ready: false,
            asks: 0,
            guard: Doing::Nothing,
            used: None,
            up_at: BTreeMap::new(),
            builds: 0,
            destroys: 0,
            kept,
            ended: Vec::new(),
            doubts: 0,
            untold: Vec::new(),
            later_s: 0,
            told_by_one: Vec::new(),
            settled: true,
            lies: BTreeMap::new(),
            late: Vec::new(),
            joined: None,
        };
        world.drain();
        world
    }

    fn drain(&mut self) {
        while let Some(effect) = self.client.poll_effect() {
            match effect {
                Effect::Io(Output::Dial { link, link_key, .. }) => self.dialled(link, link_key),
                Effect::Io(Output::Send { link, cell }) if cell.command() == Command::Ask => self.asked(link, &cell),
                Effect::Io(Output::Send { link, cell }) if cell.command() == Command::Build => {
                    self.builds += 1;
                    self.used = Some(link);
                    self.treat(link, &cell);
                }
                Effect::Io(Output::Send { cell, .. }) if cell.command() == Command::Destroy => self.destroys += 1,
                Effect::Work { id, job } => {
                    let done = run(job, &Solved, &mut ChaCha20Rng::seed_from_u64(4));
                    self.client.handle_worked(self.now, id, done);
                }
                Effect::Event(ClientEvent::Keep(kept)) => {
                    self.kept = kept;
                    self.client.handle_command(self.now, ClientCommand::Kept(None));
                }
                Effect::Event(ClientEvent::Ready { .. }) => self.ready = true,
                Effect::Event(ClientEvent::Joined(joined)) => self.joined = Some(joined),
                Effect::Event(ClientEvent::Done { outcome, .. }) => self.ended.push(outcome),
                Effect::Event(ClientEvent::GuardDoubted(_)) => self.doubts += 1,
                _ => (),
            }
        }
    }

    fn treat(&mut self, link: LinkId, build: &Cell) {
        let destroy = || Cell::new(build.circuit(), Command::Destroy);
        let cells = match self.guard {
            Doing::Nothing | Doing::Closes => Vec::new(),
            Doing::Destroys => vec![destroy()],
            Doing::Answers => replies(build).to_vec(),
            Doing::RepliesThenDestroys => {
                let [first, _] = replies(build);
                vec![first, destroy()]
            }
            Doing::ReachesOnly(hops) => vec![not_reached(build, hops), destroy()],
        };
        cells.into_iter().for_each(|cell| self.client.handle(self.now, Input::Cell { link, cell }));
    }

    fn close_if_used(&mut self) {
        let is_old = |link: &LinkId| self.up_at[link].until(self.now.instant) >= Duration::from_millis(1_100);
        if let Some(link) = self.used.filter(|link| self.guard == Doing::Closes && is_old(link)) {
            self.used = None;
            self.client.handle(self.now, Input::LinkDown { link, reason: DownReason::Closed });
        }
    }

    fn dialled(&mut self, link: LinkId, link_key: DhKey) {
        self.dials += usize::from(is_bootstrap(&link_key));
        let descriptor = (0..RELAYS).map(relay).find(|relay| relay.link_key == link_key).unwrap();
        let input = if is_bootstrap(&link_key) && !self.bootstraps_answer {
            Input::LinkDown { link, reason: DownReason::Unreachable }
        } else {
            self.up_at.insert(link, self.now.instant);
            let address = descriptor.address;
            let peer = Peer { link_key, descriptor: Some(descriptor), address, dialled: true };
            Input::LinkUp { link, peer: Box::new(peer) }
        };
        self.client.handle(self.now, input);
    }

    fn asked(&mut self, link: LinkId, cell: &Cell) {
        let message = Assembler::default().push(cell.body()).unwrap().unwrap();
        if Ask::decode(&message) == Ok(Ask::sign_of_life()) {
            let answer = Answer::Members { descriptors: Vec::new(), more: false, settled: self.settled }.encode();
            for cell in cells_of(cell.circuit(), Command::Answer, &answer).unwrap() {
                self.client.handle(self.now, Input::Cell { link, cell });
            }
            return;
        }
        self.asks += 1;
        if self.lies(link, cell, &message) {
            return;
        }
        let is_first = self.client.links.peer(link).is_some_and(|peer| peer.link_key == relay(0).link_key);
        let is_told = |one: &VerifiedDescriptor| {
            !self.untold.contains(&one.key) && (is_first || !self.told_by_one.contains(&one.key))
        };
        let mut all: Vec<_> = (0..RELAYS).map(relay).filter(is_told).collect();
        all.sort_by_key(|relay| relay.key);
        let descriptors = all.iter().map(VerifiedDescriptor::to_signed).collect();
        let answer = Answer::Members { descriptors, more: false, settled: self.settled }.encode();
        for cell in cells_of(cell.circuit(), Command::Answer, &answer).unwrap() {
            self.client.handle(self.now, Input::Cell { link, cell });
        }
    }

    /// Goes on to this time; how often a bootstrap was dialled on the way.
    fn until(&mut self, instant: Instant) -> usize {
        self.dials = 0;
        self.now = at(instant);
        self.now.unix.0 += self.later_s;
        self.client.handle(self.now, Input::Timeout);
        self.drain();
        self.close_if_used();
        self.drain();
        self.dials
    }

    fn start(&mut self, id: u64) -> usize {
        self.dials = 0;
        let author = crate::crypto::keys::IdentitySecret::from_bytes(&[7; 32]);
        let places = Locator::of_author(&author, b"label").unwrap().places();
        let operation = Operation::RecordGet { places, consistency: Consistency::Quorum, seq_min: 0 };
        let timeout = Duration::from_secs(30);
        self.client.handle_command(self.now, ClientCommand::Start { id, operation, timeout });
        self.drain();
        self.dials
    }
}

// [MEMB-W-021] [MEMB-W-022]
#[test]
fn a_client_that_is_in_asks_bootstraps_at_times_of_its_own_and_never_because_of_an_operation() {
    let mut world = World::new();
    assert!(world.ready);
    assert_eq!(world.until(Instant::ZERO + (MEMBERS_FRESH_FOR / 2 - Duration::from_micros(1))), 0);
    // Bootstraps that do not answer leave the client with what it has, and with no reason to hurry.
    world.bootstraps_answer = false;
    let late = Instant::ZERO + MEMBERS_FRESH_FOR * 3 / 2;
    assert!(world.until(late) > 0, "without any operation");
    for id in 0..5 {
        assert_eq!(world.start(id), 0);
    }
    world.bootstraps_answer = true;
    assert!(world.until(late + MEMBERS_FRESH_FOR * 3 / 2) > 0);
    assert_eq!(world.start(9), 0);
}

// [MEMB-W-021]
#[test]
fn a_client_that_never_came_in_tries_again_with_its_next_operation() {
    let mut world = World::new();
    world.bootstraps_answer = false;
    world.client = ClientNode::new(
        ClientConfig {
            bootstraps: vec![Contact::from(&relay(0)), Contact::from(&relay(1))],
            ..config(Kept::default(), Members::default())
        },
        ChaCha20Rng::seed_from_u64(5),
        world.now,
    );
    world.drain();
    world.until(Instant::ZERO + Duration::from_secs(60));
    assert_eq!(world.start(1), 2 * 2, "each of two, and once more");
}

fn all_relays() -> Vec<VerifiedDescriptor> {
    (0..RELAYS).map(relay).collect()
}

// [MEMB-W-062]
#[test]
fn bootstraps_are_no_exits_however_they_became_members_and_only_while_they_are() {
    let check = |client: &ClientNode| {
        let members = client.members.iter().filter(|one| is_bootstrap(&one.link_key)).map(|one| one.key);
        let (avoided, expected) =
            (client.exits_to_avoid(0), members.chain(client.guards.ordered()).collect::<Vec<_>>());
        assert_eq!(avoided, expected);
    };
    let (told, returned) = (World::new(), World::returning(|_| all_relays()));
    for mut world in [told, returned] {
        assert!(world.client.bootstrap_keys.len() == usize::try_from(BOOTSTRAPS).unwrap());
        check(&world.client);
        world.client.members.expire(crate::time::UnixTime(u64::MAX));
        check(&world.client);
    }
}

/// Goes to the next refresh and gives the keys of all relays that paths are made of then.
fn refreshed(world: &mut World) -> Vec<NodeKey> {
    assert!(world.until(world.now.instant + MEMBERS_FRESH_FOR * 3 / 2) > 0);
    world.client.members.iter().map(|one| one.key).collect()
}

// [MEMB-R-029] [MEMB-W-055]
#[test]
fn no_hop_is_made_of_a_relay_that_no_bootstrap_tells_of_any_more_but_guards_and_second_hops_stay() {
    let mut world = World::new();
    let guards: Vec<NodeKey> = world.kept.guards.guards.iter().map(|guard| NodeKey(guard.key)).collect();
    let hops: Vec<NodeKey> = SecondHops::new(world.kept.second_hops.clone()).keys().collect();
    let pinned: Vec<NodeKey> = guards.iter().chain(&hops).copied().collect();
    let others: Vec<NodeKey> = all_relays().iter().map(|one| one.key).filter(|key| !pinned.contains(key)).collect();
    let [gone, back, doubtful, ..] = others[..] else { unreachable!("a network of {RELAYS}") };
    world.untold = vec![gone, back, guards[0], hops[0]];
    world.told_by_one = vec![doubtful];
    let held = refreshed(&mut world);
    assert_eq!(held.len(), usize::try_from(RELAYS).unwrap() - 2);
    assert!(!held.contains(&gone) && !held.contains(&back));
    assert!([guards[0], hops[0], doubtful].iter().all(|key| held.contains(key)));
    assert!(world.client.judged.get(&gone).is_some(), "what it signs is judged as before");
    assert_eq!(pinned, {
        let kept = SecondHops::new(world.kept.second_hops.clone());
        world.kept.guards.guards.iter().map(|guard| NodeKey(guard.key)).chain(kept.keys()).collect::<Vec<_>>()
    });
    world.untold.retain(|key| *key != back);
    assert!(refreshed(&mut world).contains(&back), "who is back is taken again");
    world.later_s = crate::limits::MEMBER_LIFE_S + 1;
    let held = refreshed(&mut world);
    let judged = |key: &NodeKey| world.client.judged.get(key).is_some();
    assert!(!judged(&gone), "it signs nothing any more");
    assert_eq!(held.iter().filter(|key| !judged(key)).count(), 2, "a guard and a second hop, of whom nobody tells");
    assert!(judged(&back));
}

#[test]
fn what_a_guard_shows_of_itself_sets_no_price_until_bootstraps_tell_it() {
    let mut world = World::new();
    let key = NodeKey(world.kept.guards.guards[0].key);
    let number = (0..RELAYS).find(|number| relay(*number).key == key).unwrap();
    let reissued = |later: u32, effort: u8| {
        let told = relay(number);
        signed(Descriptor { effort, issued: told.issued + later, ..*told }, number)
    };
    let (now, first, second) = (world.now, reissued(1, 3), reissued(2, 1));
    let client = &mut world.client;
    let price = |client: &ClientNode| client.told_efforts.of(client.members.get(&key).unwrap());
    for shown in [&first, &second, &first] {
        client.renew_guard(now, shown.clone());
        assert_eq!(price(client), 0, "by the word of bootstraps");
    }
    assert_eq!(client.members.get(&key), Some(&second), "its onion key is its own to say");
    assert_eq!(client.wanted_of(vec![relay(number).to_signed(), first.to_signed()]), []);
    assert_eq!(price(client), 0, "they tell an older one");
    assert_eq!(client.wanted_of(vec![second.to_signed()]), []);
    assert_eq!(price(client), 1);
    let third = reissued(3, 2);
    client.renew_guard(now, third.clone());
    assert_eq!((price(client), client.told_efforts.len()), (1, 1));
    assert_eq!(client.wanted_of(vec![reissued(4, 3).to_signed()]).len(), 1, "newer: it is checked first");
    client.members.merge(reissued(4, 3), now.unix);
    assert_eq!(price(client), 3);
}

// [MEMB-R-030]
#[test]
fn bootstraps_that_have_just_started_and_know_hardly_anybody_take_nobody_away() {
    let mut world = World::new();
    let few = usize::try_from(RELAYS).unwrap() / 4;
    world.untold = all_relays().iter().map(|one| one.key).skip(few).collect();
    assert_eq!(refreshed(&mut world).len(), all_relays().len());
}

// [MEMB-R-030]
#[test]
fn pull_after_pull_takes_no_more_members_away_than_one_may_until_a_day_is_over() {
    let mut world = World::new();
    let hops: Vec<NodeKey> = SecondHops::new(world.kept.second_hops.clone()).keys().collect();
    let guards = world.client.guards.ordered();
    let is_pinned = |key: &NodeKey| guards.contains(key) || hops.contains(key);
    let others: Vec<NodeKey> = all_relays().iter().map(|one| one.key).filter(|key| !is_pinned(key)).collect();
    let all = all_relays().len();
    world.untold = others[..6].to_vec();
    assert_eq!(refreshed(&mut world).len(), all - 6);
    // Six of fourteen are less than half of them, and twelve of twenty more.
    world.untold = others[..12].to_vec();
    let begun = world.now.instant;
    while begun.until(world.now.instant) + MEMBERS_FRESH_FOR * 3 < ABSENT_WINDOW {
        assert_eq!(refreshed(&mut world).len(), all - 6);
    }
    let left = (0..20).map(|_| refreshed(&mut world).len()).last();
    assert_eq!(left, Some(all - 12), "what was a day ago binds nobody");
    assert!(world.client.sizes().iter().all(|(_, len, cap)| len <= cap));
}

// [MEMB-W-021] [MEMB-W-022]
#[test]
fn with_a_membership_on_disk_no_bootstrap_learns_that_a_client_starts_or_asks() {
    let mut world = World::returning(|_| all_relays());
    assert!(world.ready);
    world.start(1);
    world.until(Instant::ZERO + Duration::from_secs(1));
    assert!(world.builds > 0);
    assert_eq!(world.asks, 0);
    world.until(Instant::ZERO + MEMBERS_FRESH_FOR * 3 / 2);
    assert!(world.asks > 0, "a client that runs on asks at a time of its own");
}

// [MEMB-W-028]
#[test]
fn nothing_is_drawn_from_a_membership_on_disk() {
    let new = World::with_stored(all_relays(), Kept::default());
    assert!(new.asks > 0, "there is no sample yet");
    let without = |gone: NodeKey| all_relays().into_iter().filter(|one| one.key != gone).collect();
    for which in 0..3 {
        let world = World::returning(|kept| without(NodeKey(kept.guards.guards[which].key)));
        assert!(world.asks > 0, "a guard is missing");
    }
    let world = World::returning(|kept| without(SecondHops::new(kept.second_hops.clone()).keys().next().unwrap()));
    assert!(world.asks > 0, "a second hop is missing");
}

// [MEMB-W-022]
#[test]
fn a_membership_on_disk_that_does_not_carry_is_left_and_renewed_once_after_a_random_time() {
    let mut world = World::returning(|_| all_relays());
    world.guard = Doing::Destroys;
    world.start(1);
    let go_to = |world: &mut World, from: Duration, to: Duration| {
        let mut at = from;
        while at < to {
            at += Duration::from_millis(100);
            world.until(Instant::ZERO + at);
        }
    };
    go_to(&mut world, Duration::ZERO, STORED_MEMBERS_DOUBT_MIN);
    let (builds, asks) = (world.builds, world.asks);
    let most = DOUBTED_CIRCUITS_MAX + STORED_MEMBERS_FAILURES_MAX;
    assert!((STORED_MEMBERS_FAILURES_MAX + 1..=most).contains(&builds), "{builds}");
    assert_eq!(asks, 0, "whoever made them fail would see the question follow");
    world.guard = Doing::Nothing;
    go_to(&mut world, STORED_MEMBERS_DOUBT_MIN, STORED_MEMBERS_DOUBT_MAX + Duration::from_secs(1));
    let asked = world.asks;
    assert!((1..=usize::try_from(BOOTSTRAPS).unwrap()).contains(&asked), "{asked}");
    assert!(world.builds > builds, "the operation goes on");
    go_to(&mut world, Duration::from_secs(20), Duration::from_secs(60));
    assert_eq!(world.asks, asked);
}

#[test]
fn a_membership_on_disk_is_doubted_by_the_client_and_not_anew_by_each_operation() {
    let mut world = World::returning(|_| all_relays());
    (world.guard, world.bootstraps_answer) = (Doing::Destroys, false);
    // At the first dial of a bootstrap the wait for a new membership is over.
    let mut asked = 0;
    for step in 0..150_u32 {
        if step % 2 == 0 {
            world.start(step.into());
        }
        asked += world.until(Instant::ZERO + Duration::from_millis(100) * step);
        if asked > 0 {
            break;
        }
        // Those before it was doubted, two of the first operations' each, and those since.
        assert!(world.builds <= STORED_MEMBERS_FAILURES_MAX + 2 + DOUBTED_CIRCUITS_MAX, "{}", world.builds);
    }
    assert!(asked > 0 && world.builds > DOUBTED_CIRCUITS_MAX, "the bound is reached: {}", world.builds);
}

#[test]
fn where_bootstraps_tell_nothing_a_membership_on_disk_is_used_as_it_is() {
    let mut world = World::returning(|_| all_relays());
    (world.guard, world.bootstraps_answer) = (Doing::Destroys, false);
    world.start(1);
    world.until(Instant::ZERO + STORED_MEMBERS_DOUBT_MIN);
    let builds = world.builds;
    world.guard = Doing::Nothing;
    for second in 3..27 {
        world.until(Instant::ZERO + Duration::from_secs(second));
    }
    assert!(world.builds > builds, "the operation goes on");
}

/// Starts an operation, lets it end, and says over how many circuits and how.
fn operated(world: &mut World, id: u64) -> (usize, Result<Success, Refused>) {
    let (builds, ended, begun) = (world.builds, world.ended.len(), world.now.instant);
    world.start(id);
    for step in 1..=350 {
        world.until(begun + Duration::from_millis(100) * step);
    }
    assert_eq!(world.ended.len(), ended + 1);
    // What is too little in one operation is judged in the next.
    world.later_s += GUARD_DOUBTED_AFTER_S;
    (world.builds - builds, world.ended[ended].result.clone())
}
