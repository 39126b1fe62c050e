//! Three to seven whole relays and a schedule: processes that end and start, links that break, values put on disks, lookups, time. No table
//! passes its cap, nobody who runs by the rules is ever banned, storers are asked by relays alone, and once all run again all know each other.

use std::collections::{BTreeMap, VecDeque};

use bauta::dht::store::{MemoryStore, StoreOp};
use bauta::limits::{ASK_TIMEOUT, GONE_RETRY, MEMBERS_PULL_EVERY};
use bauta::node::io::{DownReason, Input, LinkId, Output, Peer};
use bauta::node::{Effect, Relay, RelayCommand, RelayEvent, Sight, work};
use bauta::time::{Duration, Instant, Now, UnixTime};
use rand::SeedableRng;
use rand::rngs::ChaCha20Rng;

use super::relay::{Solved, config, fits};
use super::relays::{ISSUED, identity};
use super::script::Script;
use super::values::pool;

const STEPS_MAX: usize = 24;
/// Of whom the others hear of each other.
const BOOTSTRAPS: usize = 2;
/// After it all know each other, whatever was before. A bootstrap that has forgotten everybody hears of who comes to it: each of the
/// others with every second pull to the next bootstrap, and not for a while where it seemed to be gone. Two pulls later they have
/// heard it from there.
fn calm() -> Duration {
    let pulls = u32::try_from(2 * BOOTSTRAPS + 2).expect("few");
    GONE_RETRY + MEMBERS_PULL_EVERY * 3 / 2 * pulls + ASK_TIMEOUT * pulls
}
/// Inputs of a whole run.
const INPUTS_MAX: usize = 100_000;

struct World {
    relays: Vec<Option<Relay>>,
    stores: Vec<MemoryStore>,
    issued: Vec<u32>,
    links: BTreeMap<(usize, LinkId), (usize, LinkId)>,
    inputs: VecDeque<(usize, Input)>,
    now: Instant,
    accepted: u64,
    starts: u64,
    handled: usize,
}

impl World {
    fn time(&self) -> Now {
        Now { instant: self.now, unix: UnixTime(ISSUED.0 + Instant::ZERO.until(self.now).as_secs()) }
    }

    fn start(&mut self, at: usize) {
        self.starts += 1;
        let config = config(u8::try_from(at).expect("few"), self.issued[at]);
        self.relays[at] = Some(Relay::new(config, ChaCha20Rng::seed_from_u64(self.starts), self.time()));
        self.drain(at);
    }

    fn stop(&mut self, at: usize) {
        self.relays[at] = None;
        let own: Vec<_> = self.links.keys().filter(|(end, _)| *end == at).copied().collect();
        own.into_iter().for_each(|end| self.cut(end));
    }

    /// Both ends of a link are told that it is over.
    fn cut(&mut self, end: (usize, LinkId)) {
        let Some(other) = self.links.remove(&end) else { return };
        self.links.remove(&other);
        for (at, link) in [end, other] {
            self.inputs.push_back((at, Input::LinkDown { link, reason: DownReason::Closed }));
        }
    }

    fn drain(&mut self, at: usize) {
        let now = self.time();
        while let Some(effect) = self.relays[at].as_mut().and_then(Relay::poll_effect) {
            let Some(one) = &mut self.relays[at] else { return };
            match effect {
                Effect::Store { id, op } => {
                    let result = self.stores[at].apply(now.unix, op);
                    one.handle_stored(now, id, result);
                }
                Effect::Work { id, job } => {
                    one.handle_worked(now, id, work::run(job, &Solved, &mut ChaCha20Rng::seed_from_u64(id)));
                }
                Effect::Io(output) => self.follow(at, output),
                Effect::Event(RelayEvent::Issued(number)) => self.issued[at] = number,
                Effect::Event(RelayEvent::Sight(Sight::Asked { relay, .. })) => assert!(relay.is_some()),
                Effect::Event(_) => (),
            }
        }
        let Some(one) = &self.relays[at] else { return };
        fits(&one.sizes());
        let count = u32::try_from(self.relays.len()).expect("few");
        assert!((0..count).all(|number| !one.has_banned(&identity(number).public())));
    }

    fn follow(&mut self, at: usize, output: Output) {
        match output {
            Output::Send { link, cell } => {
                if let Some((other, link)) = self.links.get(&(at, link)).copied() {
                    self.inputs.push_back((other, Input::Cell { link, cell }));
                }
            }
            Output::Close { link, reason } => {
                if let Some((other, link)) = self.links.remove(&(at, link)) {
                    self.links.remove(&(other, link));
                    self.inputs.push_back((other, Input::LinkDown { link, reason }));
                }
            }
            Output::Dial { link, link_key, .. } => {
                let is_there =
                    |one: &Option<Relay>| one.as_ref().is_some_and(|one| one.descriptor().link_key == link_key);
                let Some(other) = self.relays.iter().position(is_there) else {
                    let down = Input::LinkDown { link, reason: DownReason::Unreachable };
                    return self.inputs.push_back((at, down));
                };
                self.accepted += 1;
                let theirs = LinkId(2 * self.accepted + 1);
                self.links.insert((at, link), (other, theirs));
                self.links.insert((other, theirs), (at, link));
                for (end, link, from, dialled) in [(at, link, other, true), (other, theirs, at, false)] {
                    let Some(shown) = self.relays[from].as_ref().map(|one| one.descriptor().clone()) else { continue };
                    let (link_key, address) = (shown.link_key, shown.address);
                    let peer = Box::new(Peer { link_key, descriptor: Some(shown), address, dialled });
                    self.inputs.push_back((end, Input::LinkUp { link, peer }));
                }
            }
            Output::Descriptor(_) => (),
        }
    }

    fn run_for(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            let (at, input) = match self.inputs.pop_front() {
                Some(next) => next,
                None => {
                    let relays = self.relays.iter().enumerate();
                    let due = relays.filter_map(|(at, one)| Some((one.as_ref()?.poll_timeout()?, at))).min();
                    let Some((due, at)) = due.filter(|(due, _)| *due <= end) else { break };
                    self.now = self.now.max(due);
                    (at, Input::Timeout)
                }
            };
            self.handled += 1;
            assert!(self.handled < INPUTS_MAX, "they keep each other busy for ever");
            let now = self.time();
            if let Some(one) = &mut self.relays[at] {
                one.handle(now, input);
                self.drain(at);
            }
        }
        self.now = end;
    }
}

/// Checks one input. With `fault`, as it would be where a relay that starts again has forgotten the number of its last descriptor.
pub fn check(data: &[u8], fault: bool) {
    let mut script = Script::new(data);
    let count = 3 + script.below(5);
    let mut world = World {
        relays: (0..count).map(|_| None).collect(),
        stores: (0..count).map(|_| MemoryStore::new(64, 1 << 20)).collect(),
        issued: vec![0; count],
        links: BTreeMap::new(),
        inputs: VecDeque::new(),
        now: Instant::ZERO,
        accepted: 0,
        starts: 0,
        handled: 0,
    };
    for at in 0..count {
        world.start(at);
    }
    for id in 0..STEPS_MAX {
        if script.is_over() {
            break;
        }
        let (op, at) = (script.byte(), script.below(count));
        let value = &pool().values[usize::from(op) % pool().values.len()];
        match op % 8 {
            0 if world.relays[at].is_some() => world.stop(at),
            0 | 1 if world.relays[at].is_none() => {
                world.issued[at] *= u32::from(!fault);
                world.start(at);
            }
            2 => {
                let ends: Vec<_> = world.links.keys().copied().collect();
                if !ends.is_empty() {
                    world.cut(ends[script.below(ends.len())]);
                }
            }
            3 => {
                let now = world.time();
                world.stores[at].apply(now.unix, StoreOp::Put { value: value.clone(), expected: None });
            }
            4 => {
                let now = world.time();
                let look = RelayCommand::Look {
                    id: id.try_into().expect("small"),
                    location: value.location(),
                    kind: value.kind(),
                };
                if let Some(one) = &mut world.relays[at] {
                    one.handle_command(now, look);
                    world.drain(at);
                }
            }
            _ => world.run_for(Duration::from_millis(100) * u32::from(script.byte())),
        }
    }
    for at in 0..count {
        if world.relays[at].is_none() {
            world.start(at);
        }
    }
    world.run_for(calm());
    let known: Vec<usize> = world.relays.iter().flatten().map(|one| one.members().len()).collect();
    assert!(known.iter().all(|known| *known == count), "{known:?} of {count}");
}
