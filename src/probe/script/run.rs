//! Runs a script against a target and says what the target did wrong. It must not know who wrote the script.
//!
//! Source: spec/fuzzing.md §3, §4.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr};

use rand::rngs::ChaCha20Rng;
use rand::{Rng, SeedableRng};
use tokio::time::Instant;

use super::judge::{Fault, Stage};
use super::link::Link;
use super::{As, Greeting, LinkNo, Packet, Salt, Script, Step};
use crate::crypto::hash::blake3;
use crate::crypto::keys::DhSecret;
use crate::crypto::random_bytes;
use crate::keyspace::Id;
use crate::limits::{FUZZ_END_MAX, FUZZ_MEMBERS_MAX, FUZZ_RELAYS, FUZZ_SETTLE, REPLAY_BUCKET_S, ROUTING_LEN};
use crate::net::Clock;
use crate::onion::{BUILD_TEXT_LEN, Built, build, build_layer};
use crate::probe::{Heard, Me, NOBODYS_ADDRESS, NotUp, PATIENCE, Session, Target};
use crate::time::{Duration, Instant as Moment, Now, UnixTime};
use crate::wire::descriptor::VerifiedDescriptor;
use crate::wire::hello::Hello;
use crate::wire::message::{Answer, Ask};
use crate::wire::onion::{ExitRequest, Routing};
use crate::wire::statement::Nonce;

/// Faults of one script that are told.
const FOUND_MAX: usize = 8;
/// Third bytes of source addresses: of relays, of the honest client. Clients of scripts are below.
const RELAY_NET: u8 = 100;
const HONEST_NET: u8 = 200;

/// A fault and the step at which it was noticed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Found {
    /// The step, from 0; as many as there are when it was noticed at the end.
    pub step: usize,
    /// What.
    pub fault: Fault,
}

/// Why a script did not come to its end: nothing of it is the target's fault.
#[derive(Debug, thiserror::Error)]
pub enum Stopped {
    /// This machine has no socket left, or not that source address.
    #[error("this machine cannot dial: {0}")]
    Local(io::Error),
    /// The target could not be asked who it is.
    #[error(transparent)]
    NotUp(#[from] NotUp),
    /// What it says of itself does not hold.
    #[error("the target shows no descriptor that holds at this clock's time, in this network and difficulty")]
    Unproven,
}

/// Where connections come from.
#[derive(Clone, Copy, Debug)]
pub enum Places {
    /// 127.`n`.0.0/16: a /24 for each prefix.
    Loopback(u8),
    /// One address, or whatever the system takes.
    One(Option<IpAddr>),
}

/// What has to be known of a target to build packets through it.
#[derive(Clone, Debug)]
pub struct Knowledge {
    /// Its own descriptor.
    pub own: VerifiedDescriptor,
    /// Others that it tells of.
    pub members: Vec<VerifiedDescriptor>,
}

/// Runs scripts against one target.
pub struct Runner {
    target: Target,
    knowledge: Knowledge,
    places: Places,
    salt: Salt,
    relays: Vec<(DhSecret, Hello)>,
}

impl Places {
    /// Those of scripts against this target: loopback networks apart from its own where there are some, which `bind` says by being
    /// any other address than 127.0.0.1, or none.
    #[must_use]
    pub fn against(target: &Target, bind: Option<IpAddr>) -> Self {
        match target.address.ip() {
            IpAddr::V4(ip) if ip.is_loopback() && bind != Some(Ipv4Addr::LOCALHOST.into()) => {
                let [_, net, ..] = ip.octets();
                Self::Loopback(if net == 200 { 201 } else { 200 })
            }
            _ => Self::One(bind),
        }
    }

    fn ip(self, third: u8) -> Option<IpAddr> {
        match self {
            Self::Loopback(net) => Some(Ipv4Addr::new(127, net, third, 1).into()),
            Self::One(ip) => ip,
        }
    }

    fn of(self, who: As, prefix: u8) -> Option<IpAddr> {
        match who {
            As::Client => self.ip(prefix),
            As::Relay => self.ip(RELAY_NET + prefix % FUZZ_RELAYS),
        }
    }

    /// Where whoever asks honestly dials from.
    #[must_use]
    pub fn honest(self) -> Option<IpAddr> {
        self.ip(HONEST_NET)
    }
}

impl Knowledge {
    /// Asks the target who it is, and whom it knows on this machine, if it is there itself.
    ///
    /// # Errors
    /// [`Stopped`].
    pub async fn learn(target: &Target, from: Option<IpAddr>, rng: &mut ChaCha20Rng) -> Result<Self, Stopped> {
        let mut session = Session::up(target, &Me::client(rng), from, rng).await?;
        let now = Clock::unix();
        let shown = session.hello.descriptor.clone().and_then(|shown| shown.verify(&target.network, now).ok());
        let own = shown.ok_or(Stopped::Unproven)?;
        let mut members = Vec::new();
        if let Heard::Came(Answer::Members { descriptors, .. }) =
            session.ask(1, &Ask::Members { after: None }, PATIENCE).await
        {
            let others = descriptors.into_iter().take(FUZZ_MEMBERS_MAX);
            let others = others.filter_map(|shown| shown.verify(&target.network, now).ok());
            // Whose relays others are nobody has said: packets go on to those of this machine alone.
            let is_here =
                |one: &VerifiedDescriptor| target.address.ip().is_loopback() && one.address.0.ip().is_loopback();
            members.extend(others.filter(|one| one.key != own.key && one.has_live_onion_key(now) && is_here(one)));
        }
        Ok(Self { own, members })
    }
}

impl Runner {
    /// A runner against a target that was asked who it is; keys of its scripts follow from this salt and their seeds.
    ///
    /// # Errors
    /// [`Stopped::Unproven`] where the network's puzzle is too dear for the relays that scripts play.
    pub fn new(target: Target, knowledge: Knowledge, places: Places, salt: Salt) -> Result<Self, Stopped> {
        let now = Now { instant: Moment::ZERO, unix: Clock::unix() };
        let relay = |index: u8| {
            // The same in all scripts of a run: a node that remembers them remembers so many and no more.
            let mut rng = ChaCha20Rng::from_seed(blake3(&[b"bauta/1 fuzz relay", &salt, &[index]]));
            let me = Me::relay(&target.network, NOBODYS_ADDRESS, now, &mut rng)?;
            Some((me.secret, me.hello))
        };
        let relays: Option<Vec<_>> = (0..FUZZ_RELAYS).map(relay).collect();
        Ok(Self { target, knowledge, places, salt, relays: relays.ok_or(Stopped::Unproven)? })
    }

    /// What is known of the target.
    #[must_use]
    pub fn knowledge(&self) -> &Knowledge {
        &self.knowledge
    }

    /// Runs the script to its end, or to the first step at which the target is gone.
    ///
    /// # Errors
    /// [`Stopped::Local`].
    pub async fn run(&self, script: &Script) -> Result<Vec<Found>, Stopped> {
        let rng = drawn_from(&self.salt, 0);
        let mut run = Run { of: self, rng, links: BTreeMap::new(), found: Vec::new(), at: 0 };
        for (at, step) in script.0.iter().enumerate() {
            run.at = at;
            if let Err(fault) = run.step(step).await? {
                run.note(fault);
            }
            if run.found.len() >= FOUND_MAX || run.found.iter().any(|found| found.fault == Fault::Gone) {
                return Ok(run.found);
            }
        }
        run.at = script.0.len();
        run.listen(FUZZ_SETTLE).await;
        run.ends().await;
        Ok(run.found)
    }

    pub(super) fn me(&self, who: As, prefix: u8, rng: &mut ChaCha20Rng) -> Me {
        let relay = self.relays.get(usize::from(prefix % FUZZ_RELAYS)).filter(|_| who == As::Relay);
        match relay {
            Some((secret, hello)) => Me { secret: secret.clone(), hello: hello.clone(), relay: None },
            None => Me::client(rng),
        }
    }

    /// A packet, and whether it may be replied to.
    fn packet(&self, hops: u8, kind: Packet, rng: &mut ChaCha20Rng) -> Option<(Built, bool)> {
        let (network, now) = (&self.target.network, Clock::unix());
        let path = self.path(hops, rng);
        let find = ExitRequest::Find { location: Id(random_bytes(rng)), nonce: Nonce(random_bytes(rng)) }.encode();
        let apart = 10 * REPLAY_BUCKET_S;
        let garbage: [u8; 40] = random_bytes(rng);
        let (request, made) = match kind {
            Packet::Old => (&find[..], UnixTime(now.0 - apart)),
            Packet::Early => (&find[..], UnixTime(now.0 + apart)),
            Packet::Garbage => (&garbage[..], now),
            _ => (&find[..], now),
        };
        let time = now.rounded(REPLAY_BUCKET_S);
        let mut routing = match kind {
            Packet::Nowhere | Packet::Back => {
                let next = if kind == Packet::Back { self.knowledge.own.id() } else { Id(random_bytes(rng)) };
                Routing::Forward { next, suite: 1, hint: 0, time }.encode()
            }
            _ => Routing::Exit { time }.encode(),
        };
        let mut built = match kind {
            Packet::Kind | Packet::Reserved | Packet::Nowhere | Packet::Back => {
                let at = if kind == Packet::Kind { 0 } else { ROUTING_LEN - 1 };
                if let Some(byte) = routing.get_mut(at).filter(|_| matches!(kind, Packet::Kind | Packet::Reserved)) {
                    *byte ^= 7;
                }
                let mut text = [0; BUILD_TEXT_LEN];
                rng.fill_bytes(&mut text);
                text.iter_mut().zip(routing).for_each(|(to, from)| *to = from);
                build_layer(network, &self.knowledge.own, &text, rng).ok()?
            }
            _ => build(network, &path, request, made, rng).ok()?,
        };
        match kind {
            Packet::Noise => rng.fill_bytes(&mut built.body),
            Packet::Hint => built.hint ^= 0x55,
            _ => (),
        }
        let may_reply = match kind {
            Packet::Right | Packet::Nowhere | Packet::Back => true,
            // An exit that is not the target ends the circuit, and the target says so in a reply.
            Packet::Garbage => path.len() > 1,
            Packet::Old | Packet::Early | Packet::Kind | Packet::Reserved | Packet::Noise | Packet::Hint => false,
        };
        Some((built, may_reply))
    }

    /// The target first; members that are drawn behind it, none twice.
    fn path(&self, hops: u8, rng: &mut ChaCha20Rng) -> Vec<VerifiedDescriptor> {
        let mut path = vec![self.knowledge.own.clone()];
        let members = &self.knowledge.members;
        let draw = usize::from(u16::from_be_bytes(random_bytes(rng)));
        let behind = usize::from(hops.max(1) - 1).min(members.len());
        path.extend((0..behind).filter_map(|turn| members.get((draw + turn) % members.len())).cloned());
        path
    }
}

/// One script under way.
struct Run<'a> {
    of: &'a Runner,
    rng: ChaCha20Rng,
    links: BTreeMap<LinkNo, Link>,
    found: Vec<Found>,
    at: usize,
}

/// What a step came to; the outer error is this machine's.
type Stepped = Result<Result<(), Fault>, Stopped>;

impl Run<'_> {
    fn note(&mut self, fault: Fault) {
        let found = Found { step: self.at, fault };
        if self.found.len() < FOUND_MAX && !self.found.contains(&found) {
            self.found.push(found);
        }
    }

    async fn step(&mut self, step: &Step) -> Stepped {
        match step {
            Step::Seed(seed) => self.rng = drawn_from(&self.of.salt, *seed),
            // The runner has it.
            Step::Salt(_) => (),
            Step::Connect(link, who, prefix) => return self.connect(*link, *who, *prefix).await,
            Step::Up(link, who, prefix) => return self.up(*link, *who, *prefix).await,
            Step::Wait(pause) => self.listen(Duration::from_millis(*pause)).await,
            Step::Copy(link, of) => {
                let frame = self.links.get(of).and_then(|of| of.last);
                if let (Some((frame, is_first)), Some(link)) = (frame, self.links.get_mut(link)) {
                    return Ok(link.copy(&frame, is_first).await);
                }
            }
            step => return Ok(self.on_link(step).await),
        }
        Ok(Ok(()))
    }

    async fn connect(&mut self, link: LinkNo, who: As, prefix: u8) -> Stepped {
        let me = self.of.me(who, prefix, &mut self.rng);
        match Link::connect(&self.of.target, me, who, self.of.places.of(who, prefix)).await {
            Ok(connected) => drop(self.links.insert(link, connected)),
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => return Ok(Err(Fault::Gone)),
            // Turned away, or too busy to answer: other questions show what that means.
            Err(error) if matches!(error.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::TimedOut) => {
                drop(self.links.remove(&link));
            }
            Err(error) => return Err(Stopped::Local(error)),
        }
        Ok(Ok(()))
    }

    async fn up(&mut self, link: LinkNo, who: As, prefix: u8) -> Stepped {
        if let Err(fault) = self.connect(link, who, prefix).await? {
            return Ok(Err(fault));
        }
        for step in [Step::First(link, super::First::Right), Step::Answer(link), Step::Hello(link, Greeting::Right)] {
            if let Err(fault) = self.on_link(&step).await {
                return Ok(Err(fault));
            }
        }
        Ok(Ok(()))
    }

    /// A step of a link that there is; of one that there is not, nothing.
    async fn on_link(&mut self, step: &Step) -> Result<(), Fault> {
        let rng = &mut self.rng;
        let Some(link) = step.link().and_then(|number| self.links.get_mut(&number)) else { return Ok(()) };
        match step {
            Step::First(_, first) => link.first(&self.of.target, *first, rng).await,
            Step::Answer(_) => link.until(PATIENCE, |link| link.judge.stage != Stage::Asked).await.map(drop),
            Step::Hello(_, greeting) => {
                let stranger = self.of.relays.first().zip(self.of.relays.last());
                let stranger = stranger.map(
                    |((first, one), (_, other))| {
                        if first.public() == link.me.secret.public() { other } else { one }
                    },
                );
                link.hello(greeting, stranger).await
            }
            Step::Bytes(_, bytes) => link.raw(bytes).await,
            Step::Noise(_, len) => {
                let mut bytes = vec![0; *len];
                rng.fill_bytes(&mut bytes);
                link.raw(&bytes).await
            }
            Step::Cell(_, bytes) => link.cell(bytes).await,
            Step::Ask(_, number, question) => link.message(*number, &super::link::encode(*question, rng)).await,
            Step::Message(_, number, bytes) => link.message(*number, bytes).await,
            Step::Build(_, number, hops, kind) => match self.of.packet(*hops, *kind, rng) {
                Some((built, may_reply)) => link.build(*number, built, may_reply).await,
                None => Ok(()),
            },
            Step::Repeat(_, number) => link.repeat(*number).await,
            Step::Forward(_, number) => link.forward(*number, rng).await,
            Step::Credit(_, number, count) => link.credit(*number, *count).await,
            Step::Destroy(_, number) => link.destroy(*number).await,
            Step::Again(_) => match link.last {
                Some((frame, is_first)) => link.copy(&frame, is_first).await,
                None => Ok(()),
            },
            Step::Release(_, order) => link.release(*order).await,
            Step::Half(_) => link.half().await,
            Step::Close(link) => {
                drop(self.links.remove(link));
                Ok(())
            }
            Step::Expect(_, expected) => link.expect(*expected).await,
            step => {
                link.set(step);
                Ok(())
            }
        }
    }

    /// Hears all links for so long.
    async fn listen(&mut self, within: Duration) {
        let deadline = Instant::now() + within;
        let mut faults = Vec::new();
        for link in self.links.values_mut() {
            faults.extend(link.listen(deadline).await.err());
        }
        // Links without a word end at once; a pause is a pause all the same.
        tokio::time::timeout_at(deadline, std::future::pending::<()>()).await.unwrap_or_default();
        faults.into_iter().for_each(|fault| self.note(fault));
    }

    /// Links that the target has to end, end.
    async fn ends(&mut self) {
        let deadline = Instant::now() + FUZZ_END_MAX;
        let mut faults = Vec::new();
        for link in self.links.values_mut().filter(|link| link.judge.must_end) {
            let heard = link.listen(deadline).await;
            faults.extend(heard.err());
            faults.extend((!link.is_closed).then_some(Fault::StaysOpen));
        }
        faults.into_iter().for_each(|fault| self.note(fault));
    }
}

/// Asks the target who it is and runs one script against it: for a test.
///
/// # Errors
/// [`Stopped`].
pub async fn replay(target: &Target, script: &Script) -> Result<Vec<Found>, Stopped> {
    let places = Places::against(target, None);
    let mut rng = drawn_from(&script.salt(), 0);
    let knowledge = Knowledge::learn(target, places.honest(), &mut rng).await?;
    Runner::new(*target, knowledge, places, script.salt())?.run(script).await
}

/// What keys and bytes are drawn from.
pub(in crate::probe) fn drawn_from(salt: &Salt, seed: u64) -> ChaCha20Rng {
    ChaCha20Rng::from_seed(blake3(&[b"bauta/1 fuzz keys", salt, &seed.to_be_bytes()]))
}
