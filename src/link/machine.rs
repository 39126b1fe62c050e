//! The link machine: a handshake, then cells both ways, with deadlines. It must not know sockets or what cells mean.
//!
//! Source: spec/link.md.

use rand::SeedableRng;
use rand::rngs::ChaCha20Rng;

use super::Frame;
use super::down::DownReason;
use super::handshake::{Accepting, Answered, Dialling, Params, ephemeral_of};
use super::outbox::{Full, Outbox};
use super::timing::Timing;
use crate::crypto::keys::DhKey;
use crate::crypto::noise_ik::{LinkKeys, Transport};
use crate::crypto::{CryptoRng, forget_past, random_bytes};
use crate::limits::{CELL_LEN, FRAME_LEN, KEY_LEN};
use crate::time::{Instant, earlier};
use crate::wire::cell::{Cell, Command};
use crate::wire::hello::{Hello, common_version};

/// What a frame brought.
#[derive(PartialEq, Eq, Debug)]
pub enum LinkEvent {
    /// The handshake is done: the peer holds this key and said this. Its descriptor claims the key, but is not yet verified.
    Established {
        /// The key that the handshake proved.
        link_key: DhKey,
        /// What the peer said of itself.
        hello: Box<Hello>,
    },
    /// A cell. Never padding, never a hello.
    Cell(Cell),
}

/// One link, from its first frame to its end. All methods may be called in any order:
/// `handle_frame` and `handle_timeout` take what happens, `push` takes cells, `poll_frame` gives what to write (until it
/// says `false`), `poll_timeout` says when to call `handle_timeout`. After an error nothing more comes in, but what
/// `poll_frame` still gives should be written: it may tell the peer our versions.
pub struct Link {
    state: State,
    hello: Hello,
    timing: Timing,
    outbox: Outbox,
    /// A handshake frame or the hello: goes before every cell.
    first: Option<Box<Frame>>,
    rng: ChaCha20Rng,
    /// The handshake's end until it is done, then when silence is over.
    dead_at: Instant,
    /// When a padding cell is due, once the link is up.
    padding_at: Option<Instant>,
    /// Where keys are logged: the initiator's ephemeral key, once the first frame is there.
    exposes: Option<[u8; KEY_LEN]>,
}

/// The keys of a link, and by which of its bytes on the wire it is known: for a key log alone.
pub struct ExposedKeys {
    /// The initiator's ephemeral key: the first bytes of the first frame.
    pub ephemeral: [u8; KEY_LEN],
    /// The keys.
    pub keys: LinkKeys,
}

enum State {
    Dialling(Box<Dialling>, DhKey),
    Accepting(Box<Accepting>),
    /// The first frame was not for us: nothing is said until the handshake's time is over.
    Mute,
    Answered(Box<Answered>),
    Up(Box<Transport>),
    Ended(DownReason),
}

impl Link {
    /// The dialling end. Its first frame is there at once.
    ///
    /// # Errors
    /// [`DownReason::Identity`] when the peer's key cannot be one (of small order).
    pub fn dial(params: Params, peer: DhKey, rng: &mut dyn CryptoRng, now: Instant) -> Result<Self, DownReason> {
        let (dialling, frame) = Dialling::start(&params, &peer, rng).map_err(|_| DownReason::Identity)?;
        let mut link = Self::new(params, State::Dialling(Box::new(dialling), peer), rng, now);
        link.first = Some(frame);
        Ok(link)
    }

    /// The accepting end.
    #[must_use]
    pub fn accept(params: Params, rng: &mut dyn CryptoRng, now: Instant) -> Self {
        let accepting = Accepting::new(&params);
        Self::new(params, State::Accepting(Box::new(accepting)), rng, now)
    }

    fn new(params: Params, state: State, rng: &mut dyn CryptoRng, now: Instant) -> Self {
        Self {
            state,
            hello: params.hello,
            timing: params.timing,
            outbox: Outbox::new(),
            first: None,
            rng: ChaCha20Rng::from_seed(random_bytes(rng)),
            dead_at: now + params.timing.handshake,
            padding_at: None,
            exposes: None,
        }
    }

    /// From now on the link tells its keys to its owner, whenever they are new: before its first frame, for a key log of a test
    /// network alone (spec/link.md §8).
    pub fn expose_keys(&mut self) {
        self.exposes = Some(self.first.as_deref().map_or([0; KEY_LEN], ephemeral_of));
    }

    /// New keys, of a link that exposes them and is up.
    pub fn take_exposed(&mut self) -> Option<ExposedKeys> {
        let (Some(ephemeral), State::Up(transport)) = (self.exposes, &mut self.state) else { return None };
        transport.take_exposed().map(|keys| ExposedKeys { ephemeral, keys })
    }

    /// Takes one frame.
    ///
    /// # Errors
    /// The reason for which the link has ended; the same for every later frame.
    pub fn handle_frame(&mut self, now: Instant, frame: &Frame) -> Result<Option<LinkEvent>, DownReason> {
        match core::mem::replace(&mut self.state, State::Mute) {
            State::Up(transport) => self.take_cell(now, transport, frame),
            State::Dialling(dialling, peer) => self.take_answer(now, *dialling, peer, frame),
            State::Accepting(accepting) => {
                // Refused or not, nothing happened yet that the owner could act on.
                self.exposes = self.exposes.map(|_| ephemeral_of(frame));
                let answered = accepting.answer(frame, &self.hello, self.exposes.is_some(), &mut self.rng);
                // The generator lives on for paddings; what it gave to the handshake must not be computed from it.
                forget_past(&mut self.rng);
                if let Ok((answered, answer)) = answered {
                    self.first = Some(answer);
                    self.state = State::Answered(Box::new(answered));
                }
                Ok(None)
            }
            State::Answered(answered) => self.take_hello(now, *answered, frame),
            State::Mute => Ok(None),
            State::Ended(reason) => self.end(reason),
        }
    }

    /// Queues a cell; it leaves once the handshake is done.
    ///
    /// # Errors
    /// [`Full`] when the peer does not read; end the link.
    pub fn push(&mut self, cell: Cell) -> Result<(), Full> {
        self.outbox.push(cell)
    }

    /// Writes the next frame into `out`; `false` when there is none now.
    pub fn poll_frame(&mut self, now: Instant, out: &mut Frame) -> bool {
        if let Some(frame) = self.first.take() {
            *out = *frame;
            return true;
        }
        let State::Up(transport) = &mut self.state else { return false };
        let Some(cell) = self.outbox.pop() else { return false };
        let mut plain = [0; CELL_LEN];
        cell.encode(&mut plain);
        if transport.seal(&plain, out).is_err() {
            self.state = State::Ended(DownReason::Protocol);
            return false;
        }
        self.postpone_padding(now);
        true
    }

    /// Whether [`Self::poll_frame`] has a frame now.
    #[must_use]
    pub fn has_frame(&self) -> bool {
        self.first.is_some() || (matches!(self.state, State::Up(_)) && !self.outbox.is_empty())
    }

    /// Whether all that comes is thrown away, until the handshake's time is over or the peer ends.
    #[must_use]
    pub fn is_mute(&self) -> bool {
        matches!(self.state, State::Mute)
    }

    /// When to call [`Self::handle_timeout`]; `None` once the link has ended.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        match self.state {
            State::Ended(_) => None,
            _ => earlier(Some(self.dead_at), self.padding_at),
        }
    }

    /// Fires what is due.
    ///
    /// # Errors
    /// [`DownReason::Handshake`], [`DownReason::Identity`] (the first frame was not for us) or [`DownReason::Silent`].
    pub fn handle_timeout(&mut self, now: Instant) -> Result<(), DownReason> {
        let reason = match self.state {
            State::Ended(reason) => return Err(reason),
            State::Up(_) => DownReason::Silent,
            State::Mute => DownReason::Identity,
            State::Dialling(..) | State::Accepting(_) | State::Answered(_) => DownReason::Handshake,
        };
        if now >= self.dead_at {
            return self.end(reason);
        }
        if self.padding_at.is_some_and(|at| now >= at) {
            self.postpone_padding(now);
            // Where cells wait already, the writer is late, not the queue empty.
            if self.outbox.is_empty() {
                // An empty queue has room.
                let _ = self.outbox.push(Cell::of_link(Command::Padding));
            }
        }
        Ok(())
    }

    fn take_cell(
        &mut self,
        now: Instant,
        mut transport: Box<Transport>,
        frame: &Frame,
    ) -> Result<Option<LinkEvent>, DownReason> {
        let mut plain = [0; CELL_LEN];
        if transport.open(frame, &mut plain).is_err() {
            return self.end(DownReason::Protocol);
        }
        let Ok(cell) = Cell::decode(&plain) else { return self.end(DownReason::Protocol) };
        if cell.command() == Command::Hello {
            return self.end(DownReason::Protocol);
        }
        self.state = State::Up(transport);
        self.dead_at = now + self.timing.silence_max;
        Ok((cell.command() != Command::Padding).then_some(LinkEvent::Cell(cell)))
    }

    fn take_answer(
        &mut self,
        now: Instant,
        dialling: Dialling,
        peer: DhKey,
        frame: &Frame,
    ) -> Result<Option<LinkEvent>, DownReason> {
        let finished = dialling.finish(frame, self.exposes.is_some());
        let Ok((mut transport, payload)) = finished else { return self.end(DownReason::Identity) };
        let Ok(hello) = Hello::decode(&*payload) else { return self.end(DownReason::Protocol) };
        let mut cell = Cell::of_link(Command::Hello);
        cell.body_mut().iter_mut().zip(self.hello.encode()).for_each(|(to, from)| *to = from);
        let (mut plain, mut first) = ([0; CELL_LEN], Box::new([0; FRAME_LEN]));
        cell.encode(&mut plain);
        if transport.seal(&plain, &mut first).is_err() {
            return self.end(DownReason::Protocol);
        }
        // Even when the versions do not meet: so that the peer learns ours.
        self.first = Some(first);
        self.establish(now, transport, peer, hello, true)
    }

    fn take_hello(
        &mut self,
        now: Instant,
        mut answered: Answered,
        frame: &Frame,
    ) -> Result<Option<LinkEvent>, DownReason> {
        let mut plain = [0; CELL_LEN];
        if answered.transport.open(frame, &mut plain).is_err() {
            return self.end(DownReason::Identity);
        }
        let cell = Cell::decode(&plain).ok().filter(|cell| cell.command() == Command::Hello);
        match cell.and_then(|cell| Hello::decode(cell.body()).ok()) {
            Some(hello) => self.establish(now, answered.transport, answered.peer, hello, false),
            None => self.end(DownReason::Protocol),
        }
    }

    fn establish(
        &mut self,
        now: Instant,
        transport: Transport,
        link_key: DhKey,
        hello: Hello,
        dialled: bool,
    ) -> Result<Option<LinkEvent>, DownReason> {
        let (ours, theirs) = (self.hello.versions, hello.versions);
        if common_version(ours, theirs).is_none() {
            return self.end(DownReason::Version { ours, theirs });
        }
        // Only relays are dialled; who dials may be a client and show nothing.
        if !hello.descriptor.as_ref().map_or(!dialled, |shown| shown.claims_link_key(&link_key)) {
            return self.end(DownReason::Identity);
        }
        self.state = State::Up(Box::new(transport));
        self.dead_at = now + self.timing.silence_max;
        self.postpone_padding(now);
        Ok(Some(LinkEvent::Established { link_key, hello: Box::new(hello) }))
    }

    /// Padding goes after three quarters of its time to all of it, at random: no two links beat together.
    fn postpone_padding(&mut self, now: Instant) {
        let quarter = self.timing.padding_after / 4;
        let share = u32::from(u16::from_be_bytes(random_bytes(&mut self.rng)));
        self.padding_at = Some(now + (quarter * 3 + quarter * share / u32::from(u16::MAX)));
    }

    fn end<T>(&mut self, reason: DownReason) -> Result<T, DownReason> {
        self.state = State::Ended(reason);
        Err(reason)
    }
}
