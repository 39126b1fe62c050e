//! Guards, second hops and the paths through them, in whatever order relays come and go, dials end, circuits fail, time passes and the client
//! starts again from what it kept. At every step they are what `guard_model` has of spec/membership.md §5 and §6: who is in the sample, in which
//! order, apart from whom, who is dialled next, who is in use, down or doubted, who leaves and who must not yet, which second hops are replaced
//! and which must stay. A path is as long as asked, of distinct relays apart from each other, none of them ours, and its exit none that is
//! avoided; it is refused for the reason that there is, and never where every way of drawing it would come to its end.
//!
//! A relay keeps its address and family here. Whoever is not in the network when another is drawn cannot be compared with it, for addresses are
//! not kept with guards; nor are second hops compared with a guard that is drawn after them: the rules of a path hold all the same.

use bauta::cli::kept_files::{KeptFile, read_guards, written_guards};
use bauta::crypto::keys::NodeKey;
use bauta::limits::{
    DESCRIPTOR_LIFE_S, GUARD_SAMPLE_LIFE_S, GUARDS, HOPS_CLIENT_MIN, HOPS_MAX, ONION_KEY_LIFE_S, ONION_KEY_OVERLAP_S,
};
use bauta::membership::guards::{GuardOutcome, GuardState, Guards};
use bauta::membership::members::Members;
use bauta::membership::path::{Path, PathRefused, PathTerms, choose};
use bauta::membership::path_bias::GuardCircuits;
use bauta::membership::prefix_rule::PrefixRule;
use bauta::membership::second_hops::{SecondHopState, SecondHops};
use bauta::node::Kept;
use bauta::time::{Duration, Instant, UnixTime};
use rand::SeedableRng;
use rand::rngs::ChaCha20Rng;

use super::guard_model::{Hops, OURS, Present, RELAYS, Sample, Standing, always_ends, apart, family, further, net};
use super::relays::{ISSUED, described, identity, network};
use super::script::Script;

const STEPS_MAX: usize = 48;

/// What may be wrong between the house and the oracle.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// It does not know which relays are its owner's.
    OursUnknown,
    /// Prefixes are not looked at where guards are drawn.
    SampleCrowded,
    /// Nor where second hops are.
    HopsCrowded,
    /// Nor in a path.
    PathCrowded,
    /// Guards leave after half of their time.
    LeftEarly,
    /// A full sample stays as it is.
    StayedLate,
    /// What was kept comes back in another order.
    OrderLost,
    /// It comes back without its counts.
    CountsLost,
    /// The last of the sample is dialled in the place of the first.
    LastDialled,
    /// A link of one guard is taken for one of the next.
    LinkMistaken,
    /// No path is ever found.
    NoPath,
    /// Nobody is avoided.
    NobodyAvoided,
    /// Onion keys are never over.
    OldKeys,
    /// Second hops are replaced while the guard is doubted.
    DoubtIgnored,
    /// Earlier replacements are forgotten.
    CapForgotten,
    /// Second hops that fail stay.
    NeverReplaced,
}

impl Fault {
    /// All of them.
    pub const ALL: [Self; 16] = [
        Self::OursUnknown,
        Self::SampleCrowded,
        Self::HopsCrowded,
        Self::PathCrowded,
        Self::LeftEarly,
        Self::StayedLate,
        Self::OrderLost,
        Self::CountsLost,
        Self::LastDialled,
        Self::LinkMistaken,
        Self::NoPath,
        Self::NobodyAvoided,
        Self::OldKeys,
        Self::DoubtIgnored,
        Self::CapForgotten,
        Self::NeverReplaced,
    ];
}

fn key(number: u32) -> NodeKey {
    identity(number).public()
}

fn number(key: &NodeKey) -> u32 {
    (0..RELAYS).find(|number| identity(*number).public() == *key).expect("one of the relays")
}

struct Rig {
    guards: Guards,
    hops: SecondHops,
    members: Members,
    sample: Sample,
    pinned: Hops,
    present: Present,
    /// When those were met.
    met: u64,
    /// When a guard was drawn.
    drawn: Vec<u64>,
    instant: Instant,
    unix: UnixTime,
    rng: ChaCha20Rng,
    fault: Option<Fault>,
}

impl Rig {
    fn new(seed: u8, fault: Option<Fault>) -> Self {
        Self {
            guards: Guards::new(GuardState::default()),
            hops: SecondHops::new(SecondHopState::default()),
            members: Members::default(),
            sample: Sample::default(),
            pinned: Hops::default(),
            present: Present(0),
            met: 0,
            drawn: Vec::new(),
            instant: Instant::ZERO,
            unix: ISSUED,
            rng: ChaCha20Rng::seed_from_u64(u64::from(seed)),
            fault,
        }
    }

    fn has(&self, fault: Fault) -> bool {
        self.fault == Some(fault)
    }

    fn ours(&self) -> Vec<NodeKey> {
        if self.has(Fault::OursUnknown) { Vec::new() } else { OURS.map(key).to_vec() }
    }

    fn rule(&self, crowded: Fault) -> PrefixRule {
        if self.has(crowded) { PrefixRule::RelaxedForOneHost } else { PrefixRule::Distinct }
    }

    /// Those of the relays that are in the network now, with descriptors of today.
    fn meet(&mut self, present: Present) {
        (self.present, self.members, self.met) = (present, Members::default(), self.unix.0);
        for number in (0..RELAYS).filter(|number| present.has(*number)) {
            let mut own = described(number, [10, net(number), 0, number.to_be_bytes()[3]]);
            (own.family, own.issued) = (family(number), self.unix.to_wire());
            let age = if present.are_keys_over(number) { ONION_KEY_LIFE_S + ONION_KEY_OVERLAP_S } else { 0 };
            own.onion_epoch = UnixTime(self.unix.0 - age).to_wire();
            self.members.merge(own.sign(&network(), &identity(number)), self.unix);
        }
        let (ours, now) = (self.ours(), self.unix.0);
        if self.has(Fault::LeftEarly) {
            let mut state = self.guards.state();
            state.guards.retain(|guard| now - guard.sampled < GUARD_SAMPLE_LIFE_S / 2);
            self.guards = Guards::new(state);
        }
        if !self.has(Fault::StayedLate) || self.guards.ordered().len() < GUARDS {
            self.guards.fill(&self.members, self.rule(Fault::SampleCrowded), self.unix, &ours, &mut self.rng);
        }
        self.sample.meet(present, now);
        for new in self.guards.state().guards.into_iter().skip(self.sample.guards.len()) {
            self.sample.join(number(&NodeKey(new.key)), present, now);
            self.drawn.push(now);
        }
        self.sample.assert_full(present);
        let (ordered, rule) = (self.guards.ordered(), self.rule(Fault::HopsCrowded));
        self.hops.refill(&self.members, rule, self.unix, &ordered, &ours, &mut self.rng);
        let guards: Vec<u32> = self.sample.numbers().collect();
        self.pinned.meet(present, now);
        for new in self.hops.state().hops.into_iter().skip(self.pinned.hops.len()) {
            self.pinned.join(number(&NodeKey(new.key)), new.until, present, &guards, now);
        }
        self.pinned.assert_full(present, &guards);
    }

    fn kept(&self) -> Kept {
        Kept { guards: self.guards.state(), second_hops: self.hops.state() }
    }

    /// What another process would read of this.
    fn read_back(&self) -> Kept {
        let file = KeptFile::Guards.with_content(&written_guards(&self.kept()));
        let mut read = read_guards(&file).unwrap_or_else(|error| panic!("{error}"));
        if self.has(Fault::OrderLost) {
            read.guards.guards.reverse();
        }
        if self.has(Fault::CountsLost) {
            read.guards.guards.iter_mut().for_each(|guard| guard.circuits = GuardCircuits::default());
        }
        read
    }

    /// The client ends and starts again. All that follows is still held against the same model.
    fn restart(&mut self) {
        let read = self.read_back();
        (self.guards, self.hops) = (Guards::new(read.guards), SecondHops::new(read.second_hops));
        self.sample.restart();
    }

    fn holds(&self) {
        let (state, sample) = (self.guards.state(), &self.sample.guards);
        let told = state.guards.iter().map(|one| (number(&NodeKey(one.key)), one.sampled, one.confirmed, one.down));
        assert!(told.eq(sample.iter().map(|one| (one.number, one.sampled, one.confirmed, one.down))), "the sample");
        assert!(self.guards.ordered().iter().map(number).eq(self.sample.numbers()), "its order");
        for guard in sample {
            assert_eq!(self.guards.doubts(&key(guard.number)).is_some(), guard.is_doubted(), "doubts");
        }
        let standing = match self.guards.outcome() {
            GuardOutcome::InUse(key) => Standing::InUse(number(&key)),
            GuardOutcome::Waiting => Standing::Waiting,
            GuardOutcome::Unreachable => Standing::Unreachable,
            GuardOutcome::PrivacyFloor => Standing::PrivacyFloor,
        };
        assert_eq!(standing, self.sample.standing());
        let numbers = |keys: &[[u8; 32]]| keys.iter().map(|key| number(&NodeKey(*key))).collect::<Vec<u32>>();
        let (hops, pinned) = (self.hops.state().hops, &self.pinned.hops);
        assert_eq!(hops.len(), pinned.len(), "second hops");
        for (hop, model) in hops.iter().zip(pinned) {
            assert_eq!((number(&NodeKey(hop.key)), hop.until), (model.number, model.until));
            assert_eq!(numbers(&hop.failed_exits), model.failed);
            assert_eq!(numbers(&hop.not_reached), model.not_reached);
        }
        let recent = self.drawn.iter().filter(|at| self.unix.0 < *at + GUARD_SAMPLE_LIFE_S).count();
        assert!(recent <= GUARDS, "a fourth within thirty days");
        let read = self.read_back();
        assert!(read == self.kept(), "what is read is not what was kept");
        assert!(Guards::new(read.guards).state() == state, "another sample out of the same file");
        assert!(SecondHops::new(read.second_hops).state() == self.hops.state());
    }

    /// Dials that end, links and circuits of one guard of the sample.
    fn hear_of_guard(&mut self, op: u8, script: &mut Script<'_>) {
        if self.sample.guards.is_empty() {
            return;
        }
        let at = script.below(self.sample.guards.len());
        let (named, now) = (key(self.sample.guards[at].number), self.instant);
        match op {
            4 => {
                let _ = self.guards.on_dial_failed(&named, now);
                self.sample.fail(at, now);
            }
            5 => {
                let other = self.sample.guards[(at + 1) % self.sample.guards.len()].number;
                let _ = self.guards.on_link_up(&if self.has(Fault::LinkMistaken) { key(other) } else { named }, now);
                self.sample.answer(at, now);
            }
            6 => {
                let _ = self.guards.on_link_down(&named, now);
                self.sample.end(at, now);
            }
            _ => {
                let (count, good) = (2 * u32::from(script.byte()), u32::from(script.byte()));
                for turn in 0..count {
                    let is_finished = turn.checked_rem(good) == Some(0);
                    let is_news = self.guards.on_circuit(&named, is_finished, self.unix);
                    assert_eq!(is_news, self.sample.count(at, is_finished, self.unix.0), "said once");
                }
            }
        }
    }

    fn dial(&mut self) {
        let mut dialled = self.guards.next_dial(self.instant);
        if self.has(Fault::LastDialled) {
            dialled = dialled.and(self.guards.ordered().last().copied());
        }
        assert_eq!(dialled.as_ref().map(number), self.sample.dial(self.instant), "who is dialled next");
    }

    /// Circuits through a second hop fail towards some exits, one after the other.
    fn fail_hop(&mut self, script: &mut Script<'_>) {
        let how = script.byte();
        let (at, first, guard) = (script.byte(), u32::from(script.byte()), script.byte());
        let pick = |of: Vec<u32>, by: u8| of.get(usize::from(by).checked_rem(of.len())?).copied();
        let Some(hop) = pick(self.pinned.hops.iter().map(|hop| hop.number).collect(), at) else { return };
        let Some(guard) =
            pick((0..self.sample.guards.len()).map(|at| u32::try_from(at).expect("few")).collect(), guard)
        else {
            return;
        };
        let is_doubted = self.sample.guards[usize::try_from(guard).expect("few")].is_doubted();
        for turn in 0..u32::from(how >> 1) % RELAYS {
            let (exit, is_explained) = ((first + turn) % RELAYS, how & 1 != 0);
            if self.has(Fault::CapForgotten) {
                self.hops = SecondHops::new(SecondHopState { replaced: Vec::new(), ..self.hops.state() });
            }
            let may_replace = (!is_doubted || self.has(Fault::DoubtIgnored)) && !self.has(Fault::NeverReplaced);
            if is_explained {
                self.hops.on_not_reached(&key(hop), &key(exit), may_replace, self.unix);
            } else {
                self.hops.on_failure(&key(hop), &key(exit), may_replace, self.unix);
            }
            self.pinned.fail(hop, exit, is_explained, is_doubted, self.unix.0);
        }
    }

    fn succeed_hop(&mut self, script: &mut Script<'_>) {
        if !self.pinned.hops.is_empty() {
            let hop = self.pinned.hops[script.below(self.pinned.hops.len())].number;
            let _ = self.hops.on_success(&key(hop));
            self.pinned.succeed(hop);
        }
    }

    /// A path of so many relays. To be avoided are those that the input says and, as a client says, all guards (MEMB-W-062).
    fn path(&mut self, length: usize, avoid: u16, seed: u8) {
        let Some(guard) = self.sample.numbers().nth(usize::from(seed) % GUARDS) else { return };
        let is_said = |number: &u32| avoid >> number & 1 != 0 || self.sample.numbers().any(|one| one == *number);
        let avoid: Vec<u32> = (0..RELAYS).filter(is_said).collect();
        let named: Vec<NodeKey> =
            if self.has(Fault::NobodyAvoided) { &[] } else { &avoid[..] }.iter().map(|number| key(*number)).collect();
        let now = if self.has(Fault::OldKeys) { UnixTime(0) } else { self.unix };
        let (rule, ours) = (self.rule(Fault::PathCrowded), self.ours());
        let terms = PathTerms { length, rule, ours: &ours, now, avoid: &named };
        let through = |hops: &SecondHops| {
            let mut rng = ChaCha20Rng::seed_from_u64(u64::from(seed));
            choose(&self.members, &key(guard), hops, &terms, &mut rng)
        };
        let mut told = through(&self.hops);
        assert!(told == through(&SecondHops::new(self.read_back().second_hops)), "another path from what was kept");
        if self.has(Fault::NoPath) && told.is_ok() {
            told = Err(PathRefused::TooFewNetworks);
        }
        let seconds: Vec<u32> = self.pinned.hops.iter().map(|hop| hop.number).collect();
        // Whoever has met nobody for longer knows no key that still opens.
        let are_over = self.unix.0 - self.met >= ONION_KEY_LIFE_S + ONION_KEY_OVERLAP_S;
        let usable = if are_over { Vec::new() } else { self.present.usable() };
        let wish = Wish { guard, length, usable, avoid, seconds };
        match told {
            Ok(path) => {
                wish.is_granted(&path);
                // One that fails is used only where no other leads on.
                let is_failing = |number| self.pinned.hops.iter().any(|hop| hop.number == number && hop.is_failing());
                let has_better = wish.certain().any(|second| !is_failing(second));
                assert!(!is_failing(number(&path.second_hop())) || !has_better, "through one that fails");
            }
            Err(refused) => wish.is_refused(refused),
        }
    }
}

/// What is asked of a path, in numbers.
struct Wish {
    guard: u32,
    length: usize,
    usable: Vec<u32>,
    avoid: Vec<u32>,
    seconds: Vec<u32>,
}

impl Wish {
    /// Second hops that may stand beside the guard.
    fn fitting(&self) -> impl Iterator<Item = u32> {
        self.seconds.iter().copied().filter(|second| self.usable.contains(second) && apart(*second, self.guard))
    }

    /// Those behind which no draw goes wrong.
    fn certain(&self) -> impl Iterator<Item = u32> {
        self.fitting().filter(|second| always_ends(&[self.guard, *second], self.length, &self.usable, &self.avoid))
    }

    fn is_granted(&self, path: &Path) {
        assert!((HOPS_CLIENT_MIN..=HOPS_MAX).contains(&self.length));
        let hops: Vec<u32> = path.hops().iter().map(|hop| number(&hop.key)).collect();
        assert_eq!((hops.len(), number(&path.guard()), hops[0]), (self.length, self.guard, self.guard));
        assert!(hops[1] == number(&path.second_hop()) && self.seconds.contains(&hops[1]));
        let exit = hops[self.length - 1];
        assert_eq!(exit, number(&path.exit()));
        assert!(!self.avoid.contains(&exit), "an exit that is avoided");
        for (at, one) in hops.iter().enumerate() {
            assert!(self.usable.contains(one), "{one} may be in no path");
            assert!(hops[..at].iter().all(|other| apart(*one, *other)), "{one} beside {hops:?}");
        }
    }

    fn is_refused(&self, refused: PathRefused) {
        let (asked, is_length) = (self.length, (HOPS_CLIENT_MIN..=HOPS_MAX).contains(&self.length));
        let beyond = |second, avoid: &[u32]| further(&[self.guard, second], &self.usable, avoid);
        let mut fitting = self.fitting();
        let is_so = match refused {
            PathRefused::TooShort { asked: told } => told == asked && asked < HOPS_CLIENT_MIN,
            PathRefused::TooLong { asked: told } => told == asked && asked > HOPS_MAX,
            PathRefused::NoGuard => is_length && !self.usable.contains(&self.guard),
            PathRefused::NoSecondHop => is_length && self.usable.contains(&self.guard) && fitting.next().is_none(),
            PathRefused::ExitsUsedUp => {
                fitting.any(|second| beyond(second, &self.avoid).is_empty() && !beyond(second, &[]).is_empty())
            }
            // Nobody is left for the exit, or for the place of one between, after which nobody goes back.
            PathRefused::TooFewNetworks => fitting.any(|second| {
                let is_last = beyond(second, &self.avoid).is_empty();
                beyond(second, &[]).is_empty() || (!is_last && self.certain().all(|certain| certain != second))
            }),
        };
        assert!(is_so, "{refused}");
        let is_certain = is_length && self.usable.contains(&self.guard) && self.certain().next().is_some();
        assert!(!is_certain, "there is a path: {refused}");
    }
}

/// Checks one input. With `fault`, as it would be where a client does not know which relays are its owner's.
pub fn check(data: &[u8], fault: bool) {
    check_with(data, fault.then_some(Fault::OursUnknown));
}

/// Checks one input, with this fault between the house and the oracle.
pub fn check_with(data: &[u8], fault: Option<Fault>) {
    let mut script = Script::new(data);
    let mut rig = Rig::new(script.byte(), fault);
    // Mostly as many as there are, else those that the input says.
    let first = script.u16();
    rig.meet(Present(if first >> 15 == 0 { first | 0x0fff } else { first }));
    for _ in 0..STEPS_MAX {
        if script.is_over() {
            break;
        }
        let op = script.byte();
        match op % 13 {
            0 => rig.meet(Present(script.u16())),
            1 => {
                rig.unix = UnixTime(rig.unix.0 + u64::from(op) * DESCRIPTOR_LIFE_S / 8);
                rig.meet(Present(script.u16() | 0xff));
            }
            2 => rig.instant = rig.instant + Duration::from_millis(250) * u32::from(script.byte()),
            3 => rig.dial(),
            of @ 4..=7 => rig.hear_of_guard(of, &mut script),
            8 => rig.fail_hop(&mut script),
            9 => rig.succeed_hop(&mut script),
            10 => rig.path(script.below(HOPS_MAX + 2), script.u16(), script.byte()),
            11 => rig.restart(),
            // Minutes, in which no membership comes.
            _ => rig.unix = UnixTime(rig.unix.0 + 16 * u64::from(script.byte())),
        }
        rig.holds();
    }
    rig.path(HOPS_CLIENT_MIN, 0, 0);
    rig.holds();
}
