//! What every check stands on: links from addresses of its own, and what is waited for on them.

use std::net::{IpAddr, Ipv4Addr};

use rand::SeedableRng;
use rand::rngs::ChaCha20Rng;
use tokio::time::Instant;

use super::{AT_ONCE, Judged, Unproven};
use crate::crypto::{CryptoRng, random_bytes};
use crate::limits::CELL_LEN;
use crate::net::Clock;
use crate::onion::{Built, Circuit, Reply0, build};
use crate::probe::{Heard, Me, NOBODYS_ADDRESS, Opening, PATIENCE, Sealed, Session, Target, Wire, circuit};
use crate::time::{Instant as Moment, Now, UnixTime};
use crate::wire::cell::{Cell, CircuitId, Command};
use crate::wire::descriptor::VerifiedDescriptor;
use crate::wire::hello::Hello;
use crate::wire::message::{Answer, Ask};
use crate::wire::onion::ExitRequest;
use crate::wire::record::{ChunkName, Expiry};
use crate::wire::statement::Nonce;

/// Second byte of the loopback networks that checks come from; each check has one of its own.
const FIRST_NET: u8 = 130;

/// What one check has.
pub(super) struct Bench {
    pub(super) target: Target,
    /// The target's own descriptor.
    pub(super) own: VerifiedDescriptor,
    pub(super) rng: ChaCha20Rng,
    /// Whence all links come, where there are no networks to come from.
    bind: Option<IpAddr>,
    net: Option<u8>,
    used: u8,
}

/// A link before its third frame.
pub(super) struct Halfway {
    pub(super) wire: Wire,
    pub(super) sealed: Sealed,
    pub(super) hello: Hello,
}

impl Bench {
    pub(super) fn new(
        (target, bind): (Target, Option<IpAddr>),
        own: VerifiedDescriptor,
        at: usize,
        rng: &mut dyn CryptoRng,
    ) -> Self {
        let rng = ChaCha20Rng::from_seed(random_bytes(rng));
        let net = u8::try_from(at).ok().and_then(|at| FIRST_NET.checked_add(at));
        Self { target, own, rng, bind, net: net.filter(|_| has_loopback_networks(&target)), used: 0 }
    }

    /// Whence the first link comes, before there are checks.
    pub(super) fn first_source(target: &Target, bind: Option<IpAddr>) -> Option<IpAddr> {
        let own = has_loopback_networks(target).then(|| Ipv4Addr::new(127, FIRST_NET - 1, 0, 1).into());
        own.or(bind)
    }

    /// An address of a /24 that nobody came from before; elsewhere the one that was given, and none where the system chooses.
    pub(super) fn source(&mut self) -> Option<IpAddr> {
        self.fresh_source().or(self.bind)
    }

    /// The same, and none elsewhere.
    pub(super) fn fresh_source(&mut self) -> Option<IpAddr> {
        let net = self.net?;
        self.used = self.used.wrapping_add(1);
        Some(Ipv4Addr::new(127, net, self.used, 1).into())
    }

    pub(super) fn now(&self) -> UnixTime {
        Clock::unix()
    }

    pub(super) async fn wire(&mut self) -> Result<Wire, Unproven> {
        let from = self.source();
        self.wire_from(from).await
    }

    pub(super) async fn wire_from(&self, from: Option<IpAddr>) -> Result<Wire, Unproven> {
        Wire::connect(self.target.address, from)
            .await
            .map_err(|why| not_seen(&format!("it cannot be connected: {why}")))
    }

    /// A link as a client.
    pub(super) async fn client(&mut self) -> Result<Session, Unproven> {
        let me = Me::client(&mut self.rng);
        let from = self.source();
        self.up(&me, from).await
    }

    /// A link as a relay.
    pub(super) async fn relay(&mut self) -> Result<Session, Unproven> {
        let (me, from) = self.as_relay()?;
        self.up(&me, from).await
    }

    /// A relay of its own, and whence it comes. Its descriptor names an address that nobody has, so that no network
    /// takes it for a member.
    pub(super) fn as_relay(&mut self) -> Result<(Me, Option<IpAddr>), Unproven> {
        let from = self.source();
        let now = Now { instant: Moment::ZERO, unix: self.now() };
        let me = Me::relay(&self.target.network, NOBODYS_ADDRESS, now, &mut self.rng);
        me.map(|me| (me, from)).ok_or_else(|| not_seen("the identity puzzle of this network is too dear for a check"))
    }

    pub(super) async fn up(&mut self, me: &Me, from: Option<IpAddr>) -> Result<Session, Unproven> {
        let up = Session::up(&self.target, me, from, &mut self.rng).await;
        up.map_err(|why| not_seen(&format!("no link came up: {why}")))
    }

    /// Both frames of the handshake as they should be; the third is the check's.
    pub(super) async fn halfway(&mut self, me: &Me) -> Result<Halfway, Unproven> {
        let from = self.source();
        let first = Opening::first(&self.target, me, &mut self.rng);
        let (opening, frame) = first.map_err(|_| not_seen("the target's key is no key"))?;
        let mut wire = self.wire_from(from).await?;
        wire.write(&frame).await.map_err(|why| not_seen(&why.to_string()))?;
        let answer = match wire.frame(PATIENCE).await {
            Heard::Came(answer) => answer,
            other => return Err(Unproven::Wrong(format!("a right first frame is not answered: {}", told(&other)))),
        };
        let finished = opening.finish(&answer);
        let (sealed, hello) = finished.map_err(|why| Unproven::Wrong(format!("its second frame: {why}")))?;
        Ok(Halfway { wire, sealed, hello })
    }

    /// A link whose third frame carries this hello.
    pub(super) async fn with_hello(&mut self, me: &Me, hello: &[u8]) -> Result<Session, Unproven> {
        let Halfway { wire, sealed, hello: theirs } = self.halfway(me).await?;
        let mut session = Session { wire, sealed, hello: theirs };
        let mut cell = Cell::of_link(Command::Hello);
        cell.body_mut().iter_mut().zip(hello).for_each(|(to, from)| *to = *from);
        send(&mut session, &cell).await;
        Ok(session)
    }

    pub(super) fn nonce(&mut self) -> Nonce {
        Nonce(random_bytes(&mut self.rng))
    }

    /// A lookup with the target as the exit of a path of one.
    pub(super) fn find(&mut self) -> Vec<u8> {
        let location = crate::keyspace::Id(random_bytes(&mut self.rng));
        ExitRequest::Find { location, nonce: self.nonce() }.encode()
    }

    pub(super) fn build(
        &mut self,
        path: &[VerifiedDescriptor],
        request: &[u8],
        now: UnixTime,
    ) -> Result<Built, Unproven> {
        let built = build(&self.target.network, path, request, now, &mut self.rng);
        built.map_err(|why| not_seen(&format!("no packet could be built: {why}")))
    }

    /// A packet of one hop, to the target, with this request.
    pub(super) fn packet(&mut self, request: &[u8]) -> Result<Built, Unproven> {
        let (own, now) = (self.own.clone(), self.now());
        self.build(&[own], request, now)
    }

    /// A circuit that waits for forward cells: the target is to store a chunk, whose cells do not come.
    pub(super) async fn storing(&mut self, session: &mut Session, number: u32) -> Result<Circuit, Unproven> {
        let name = ChunkName { hash: random_bytes(&mut self.rng), index: 0 };
        let expiry = Expiry::at_least(UnixTime(self.now().0 + 86_400));
        let nonce = self.nonce();
        let request = ExitRequest::PutChunks { nonce, expiry, chunks: vec![(name, 1_000)], payments: Vec::new() };
        let built = self.packet(&request.encode())?;
        match session.build(number, built, PATIENCE).await {
            Heard::Came(Some(Reply0::Exit(circuit, _))) => Ok(circuit),
            Heard::Came(None) => Err(Unproven::NotOffered("it serves no such circuit: Destroy".to_owned())),
            Heard::Came(Some(Reply0::NotReached { .. })) => {
                Err(Unproven::Wrong("an exit says that it is not reached".to_owned()))
            }
            other => Err(not_seen(&format!("no circuit could be built: {}", told(&other)))),
        }
    }
}

/// Whether each check can come from networks of its own.
fn has_loopback_networks(target: &Target) -> bool {
    cfg!(target_os = "linux") && target.address.is_ipv4() && target.address.ip().is_loopback()
}

pub(super) fn not_seen(why: &str) -> Unproven {
    Unproven::NotSeen(why.to_owned())
}

pub(super) fn wrong<T>(what: &str, seen: &str) -> Result<T, Unproven> {
    Err(Unproven::Wrong(format!("{what}: {seen}")))
}

/// What was heard, without what came.
pub(super) fn told<T>(heard: &Heard<T>) -> String {
    match heard {
        Heard::Came(_) => "it is answered".to_owned(),
        Heard::Silent => format!("nothing came within {} s", PATIENCE.as_secs()),
        Heard::Closed { partial: 0 } => "the link ends".to_owned(),
        Heard::Closed { partial } => format!("the link ends {partial} bytes after a frame"),
        Heard::Broken(broken) => format!("what came breaks the protocol: {broken}"),
    }
}

fn cell_told(cell: &Cell) -> String {
    format!("{:?} came", cell.command())
}

/// Sends a cell. Who has closed is seen by what is waited for next.
pub(super) async fn send(session: &mut Session, cell: &Cell) {
    let _ = session.send(cell).await;
}

/// Sends any bytes in a frame that opens, likewise.
pub(super) async fn send_plain(session: &mut Session, plain: &[u8; CELL_LEN]) {
    let _ = session.send_bytes(plain).await;
}

/// A cell of this circuit and command with such a body.
pub(super) fn cell(number: u32, command: Command, body: &[u8]) -> Cell {
    cell_under(circuit(number), command, body)
}

pub(super) fn cell_under(id: CircuitId, command: Command, body: &[u8]) -> Cell {
    let mut cell = Cell::new(id, command);
    cell.body_mut().iter_mut().zip(body).for_each(|(to, from)| *to = *from);
    cell
}

/// The bytes of a cell.
pub(super) fn plain(cell: &Cell) -> [u8; CELL_LEN] {
    let mut plain = [0; CELL_LEN];
    cell.encode(&mut plain);
    plain
}

/// The next cell that is no question of the target's own: a relay may ask whoever shows a descriptor.
pub(super) async fn next(session: &mut Session, deadline: Instant) -> Heard<Cell> {
    loop {
        match session.cell_until(deadline).await {
            Heard::Came(cell) if cell.command() == Command::Ask => (),
            other => return other,
        }
    }
}

/// The link must end, without a word.
pub(super) async fn ends(session: &mut Session, what: &str) -> Judged {
    ends_by(session, Instant::now() + AT_ONCE, what).await
}

pub(super) async fn ends_by(session: &mut Session, deadline: Instant, what: &str) -> Judged {
    match next(session, deadline).await {
        Heard::Closed { partial: 0 } => Ok(()),
        Heard::Came(cell) => wrong(what, &cell_told(&cell)),
        Heard::Silent => wrong(what, "the link goes on"),
        other => wrong(what, &told(&other)),
    }
}

/// The link must go on, with nothing else to be heard on it.
pub(super) async fn goes_on(session: &mut Session, number: u32, what: &str) -> Judged {
    let ask = Ask::sign_of_life().encode();
    if session.send_message(number, Command::Ask, &ask).await.is_err() {
        return wrong(what, "the link ends");
    }
    match next(session, Instant::now() + PATIENCE).await {
        Heard::Came(cell) if cell.command() == Command::Answer && cell.circuit() == circuit(number) => Ok(()),
        Heard::Came(cell) => wrong(what, &cell_told(&cell)),
        other => wrong(what, &told(&other)),
    }
}

/// Destroy of this circuit must come next of it, and the link go on.
pub(super) async fn destroyed(session: &mut Session, number: u32, what: &str) -> Judged {
    match session.cell_of(number, Instant::now() + PATIENCE).await {
        Heard::Came(cell) if cell.command() == Command::Destroy => Ok(()),
        Heard::Came(cell) => wrong(what, &cell_told(&cell)),
        Heard::Silent => wrong(what, "no Destroy came"),
        other => wrong(what, &told(&other)),
    }
}

/// An answer to a question.
pub(super) async fn answer(session: &mut Session, number: u32, ask: &Ask) -> Result<Answer, Unproven> {
    match session.ask(number, ask, PATIENCE).await {
        Heard::Came(answer) => Ok(answer),
        other => wrong("a question", &told(&other)),
    }
}
