//! One link of a script under way: what it writes, spoilt as the script says, and what it hears, held against the judge.

use std::io;
use std::net::IpAddr;

use rand::rngs::ChaCha20Rng;
use tokio::time::Instant;

use super::judge::{Fault, Judge, Stage};
use super::{As, Expected, First, Greeting, Order, Question, Step};
use crate::crypto::random_bytes;
use crate::keyspace::Id;
use crate::limits::{CELL_LEN, FRAME_LEN, FUZZ_END_MAX, RECORD_LEN};
use crate::link::{Frame, PAYLOAD1_LEN};
use crate::onion::{Building, Built};
use crate::probe::{Heard, Me, NotWritten, Opening, PATIENCE, Sealed, Target, Wire, circuit, with_right_check};
use crate::time::Duration;
use crate::wire::cell::{Cell, Command};
use crate::wire::hello::Hello;
use crate::wire::message::{Ask, cells_of};
use crate::wire::network::Network;
use crate::wire::payment::Account;
use crate::wire::record::{RecordBytes, Value, ValueKind};
use crate::wire::statement::Nonce;

/// What the next frame is spoilt with.
#[derive(Default)]
struct Spoil {
    flips: Vec<u32>,
    check: bool,
    cut: Option<usize>,
}

/// The number of a circuit, what opens its reply, the number of its packet.
type Reply = (u32, Building, u32);

/// A frame that was made and not written.
struct Kept {
    frame: Frame,
    /// What is sealed in it.
    inside: Inside,
}

/// What a frame is.
enum Inside {
    First {
        is_right: bool,
    },
    /// A cell, and what opens the reply to it.
    Cell(Box<[u8; CELL_LEN]>, Option<Reply>),
    /// A frame of before, in a place that is not its own; it may be a right first frame.
    Copy {
        is_first: bool,
    },
}

/// The link.
pub(super) struct Link {
    pub(super) wire: Wire,
    pub(super) me: Me,
    pub(super) judge: Judge,
    /// The target has closed.
    pub(super) is_closed: bool,
    /// The last frame that was made, and whether it is a right first one.
    pub(super) last: Option<(Frame, bool)>,
    target: Target,
    opening: Option<Opening>,
    sealed: Option<Sealed>,
    spoil: Spoil,
    kept: Option<Vec<Kept>>,
    slow: Option<(usize, Duration)>,
    packet: Option<Packet>,
    packets: u32,
}

/// The last build packet, to be sent again.
struct Packet {
    /// Of the link's packets.
    number: u32,
    built: Built,
    may_reply: bool,
}

/// A question in bytes.
pub(in crate::probe) fn encode(question: Question, rng: &mut ChaCha20Rng) -> Vec<u8> {
    let (nonce, location) = (Nonce(random_bytes(rng)), Id(random_bytes(rng)));
    let ask = match question {
        Question::Members => Ask::Members { after: None },
        Question::Life => Ask::sign_of_life(),
        Question::Find => Ask::Find { kind: ValueKind::Signed, location, nonce, want_value: true },
        Question::Store => {
            let record = RecordBytes(Box::new(random_bytes::<RECORD_LEN>(rng)));
            Ask::Store { nonce, expected: None, value: Value::Signed(record), account: Account::Anonymous(None) }
        }
        Question::Differences => Ask::Differences { after: None, until: None, salt: 7, held: Vec::new() },
    };
    ask.encode()
}

impl Link {
    pub(super) async fn connect(target: &Target, me: Me, who: As, from: Option<IpAddr>) -> io::Result<Self> {
        let wire = Wire::connect(target.address, from).await?;
        let judge = Judge::new(who, me.secret.public());
        Ok(Self {
            wire,
            me,
            judge,
            is_closed: false,
            last: None,
            target: *target,
            opening: None,
            sealed: None,
            spoil: Spoil::default(),
            kept: None,
            slow: None,
            packet: None,
            packets: 0,
        })
    }

    /// Steps that change how frames are written.
    pub(super) fn set(&mut self, step: &Step) {
        match step {
            Step::Flip(_, bit) => self.spoil.flips.push(*bit),
            Step::Check(_) => self.spoil.check = true,
            Step::Cut(_, len) => self.spoil.cut = Some(*len),
            Step::Hold(_) => drop(self.kept.get_or_insert_default()),
            Step::Slow(_, piece, pause) => self.slow = Some((*piece, Duration::from_millis(*pause))),
            _ => (),
        }
    }

    pub(super) async fn first(&mut self, target: &Target, first: First, rng: &mut ChaCha20Rng) -> Result<(), Fault> {
        let mut payload = [0; PAYLOAD1_LEN];
        let mut meant = *target;
        match first {
            First::Right => (),
            First::Payload => payload = [1; PAYLOAD1_LEN],
            First::Network => meant.network = Network { id: random_bytes(rng), ..target.network },
            First::Key => meant.link_key = self.me.secret.public(),
        }
        let Ok((opening, frame)) = Opening::first_with(&meant, &self.me.secret, &payload, rng) else { return Ok(()) };
        let is_right = first == First::Right;
        // Only the first one can be answered.
        if is_right && self.opening.is_none() {
            self.opening = Some(opening);
        }
        self.emit(Kept { frame, inside: Inside::First { is_right } }).await
    }

    pub(super) async fn hello(&mut self, greeting: &Greeting, stranger: Option<&Hello>) -> Result<(), Fault> {
        let mut hello = self.me.hello.clone();
        let mut body = None;
        match greeting {
            Greeting::Right => (),
            Greeting::Versions(low, high) => hello.versions = (*low, *high),
            Greeting::Stranger => hello.descriptor = stranger.and_then(|other| other.descriptor.clone()),
            Greeting::Body(bytes) => body = Some(bytes.clone()),
        }
        let mut cell = Cell::of_link(Command::Hello);
        cell.body_mut().iter_mut().zip(body.unwrap_or_else(|| hello.encode())).for_each(|(to, from)| *to = from);
        self.send(&cell).await
    }

    /// Any bytes as a cell, zeros behind them.
    pub(super) async fn cell(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        let mut plain = [0; CELL_LEN];
        plain.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
        self.seal(&plain).await
    }

    pub(super) async fn message(&mut self, number: u32, message: &[u8]) -> Result<(), Fault> {
        for cell in cells_of(circuit(number), Command::Ask, message).unwrap_or_default() {
            self.send(&cell).await?;
        }
        Ok(())
    }

    pub(super) async fn build(&mut self, number: u32, built: Built, may_reply: bool) -> Result<(), Fault> {
        self.packets += 1;
        self.packet = Some(Packet { number: self.packets, built, may_reply });
        self.repeat(number).await
    }

    /// The last packet, under this number.
    pub(super) async fn repeat(&mut self, number: u32) -> Result<(), Fault> {
        let Some(Packet { number: packet, built, may_reply }) = &self.packet else { return Ok(()) };
        let reply = may_reply.then(|| (circuit(number).0, built.building.clone(), *packet));
        let mut plain = [0; CELL_LEN];
        Cell::build(circuit(number), built.suite, built.hint, built.body).encode(&mut plain);
        self.seal_for(&plain, reply).await
    }

    pub(super) async fn forward(&mut self, number: u32, rng: &mut ChaCha20Rng) -> Result<(), Fault> {
        let body = match self.judge.circuit(circuit(number).0) {
            Some(layers) => layers.seal_forward(&random_bytes::<100>(rng), rng).ok(),
            None => None,
        };
        let mut cell = Cell::new(circuit(number), Command::Forward);
        *cell.body_mut() = body.unwrap_or_else(|| random_bytes(rng));
        self.send(&cell).await
    }

    pub(super) async fn credit(&mut self, number: u32, count: u32) -> Result<(), Fault> {
        self.send(&Cell::credit(circuit(number), count)).await
    }

    pub(super) async fn destroy(&mut self, number: u32) -> Result<(), Fault> {
        self.send(&Cell::new(circuit(number), Command::Destroy)).await
    }

    pub(super) async fn half(&mut self) -> Result<(), Fault> {
        self.wire.half_close().await;
        Ok(())
    }

    async fn send(&mut self, cell: &Cell) -> Result<(), Fault> {
        let mut plain = [0; CELL_LEN];
        cell.encode(&mut plain);
        self.seal(&plain).await
    }

    /// Before there is a transport there is nothing to seal with.
    async fn seal(&mut self, plain: &[u8; CELL_LEN]) -> Result<(), Fault> {
        self.seal_for(plain, None).await
    }

    /// The same of a packet that may be replied to.
    async fn seal_for(&mut self, plain: &[u8; CELL_LEN], reply: Option<Reply>) -> Result<(), Fault> {
        let Some(Ok(frame)) = self.sealed.as_mut().map(|sealed| sealed.seal(plain)) else { return Ok(()) };
        self.emit(Kept { frame, inside: Inside::Cell(Box::new(*plain), reply) }).await
    }

    /// A frame of before.
    pub(super) async fn copy(&mut self, frame: &Frame, is_first: bool) -> Result<(), Fault> {
        self.emit(Kept { frame: *frame, inside: Inside::Copy { is_first } }).await
    }

    /// Bytes that are no frame.
    pub(super) async fn raw(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        self.judge.wrote(bytes.len(), false);
        self.write(bytes).await
    }

    async fn emit(&mut self, kept: Kept) -> Result<(), Fault> {
        let is_first = matches!(kept.inside, Inside::First { is_right: true } | Inside::Copy { is_first: true });
        self.last = Some((kept.frame, is_first));
        if let Some(waiting) = &mut self.kept {
            waiting.push(kept);
            return Ok(());
        }
        self.write_frame(kept, true).await
    }

    pub(super) async fn release(&mut self, order: Order) -> Result<(), Fault> {
        let mut waiting = self.kept.take().unwrap_or_default();
        let in_order = order == Order::Forth || waiting.len() < 2;
        if order == Order::Back {
            waiting.reverse();
        }
        for kept in waiting {
            self.write_frame(kept, in_order).await?;
        }
        Ok(())
    }

    async fn write_frame(&mut self, kept: Kept, in_order: bool) -> Result<(), Fault> {
        let Kept { mut frame, inside } = kept;
        let Spoil { flips, check, cut } = core::mem::take(&mut self.spoil);
        let made = frame;
        for bit in flips {
            let place = usize::try_from(bit / 8).unwrap_or(0);
            if let Some(byte) = frame.get_mut(place) {
                *byte ^= 1 << (bit % 8);
            }
        }
        if check && matches!(inside, Inside::First { .. }) {
            with_right_check(&self.target, &mut frame);
        }
        let is_whole = frame == made && in_order;
        let len = cut.unwrap_or(FRAME_LEN).min(FRAME_LEN);
        match inside {
            _ if len < FRAME_LEN => self.judge.wrote(len, false),
            Inside::First { is_right } => self.judge.wrote_first(is_right && is_whole),
            Inside::Cell(plain, reply) if is_whole => {
                self.judge.wrote_cell(&plain);
                if let Some((number, building, packet)) = reply {
                    self.judge.may_reply(number, building, packet);
                }
            }
            Inside::Copy { is_first } if is_whole => self.judge.wrote_copy(is_first),
            Inside::Cell(..) | Inside::Copy { .. } => self.judge.wrote(len, false),
        }
        self.write(frame.get(..len).unwrap_or_default()).await
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        if self.is_closed {
            return Ok(());
        }
        let written = match self.slow {
            Some((piece, pause)) => self.wire.write_slowly(bytes, piece, pause).await,
            None => self.wire.write(bytes).await,
        };
        match written {
            // What it said before it closed is still to be heard.
            Ok(()) | Err(NotWritten::Closed) => Ok(()),
            // Who does not have to listen need not take anything.
            Err(NotWritten::Stalled) if self.judge.stage != Stage::Up || self.judge.must_end => Ok(()),
            Err(NotWritten::Stalled) => Err(Fault::Stalled),
        }
    }

    /// Takes all that comes by then.
    pub(super) async fn listen(&mut self, deadline: Instant) -> Result<(), Fault> {
        while self.hear(deadline).await? {}
        Ok(())
    }

    /// Takes what comes until it is so, or the time is over, or the target closes. Whether it is so.
    pub(super) async fn until(&mut self, within: Duration, is_so: impl Fn(&Self) -> bool) -> Result<bool, Fault> {
        let deadline = Instant::now() + within;
        while !is_so(self) {
            if !self.hear(deadline).await? {
                return Ok(is_so(self));
            }
        }
        Ok(true)
    }

    /// Takes one frame; `false` when none came.
    async fn hear(&mut self, deadline: Instant) -> Result<bool, Fault> {
        if self.is_closed {
            return Ok(false);
        }
        match self.wire.frame_until(deadline).await {
            Heard::Came(frame) => self.take(&frame).map(|()| true),
            Heard::Silent => Ok(false),
            Heard::Broken(broken) => Err(broken.into()),
            Heard::Closed { partial } => {
                self.is_closed = true;
                self.judge.closed(partial).map(|()| false)
            }
        }
    }

    fn take(&mut self, frame: &Frame) -> Result<(), Fault> {
        if !self.judge.frame()? {
            return Ok(());
        }
        if let Some(sealed) = &mut self.sealed {
            let cell = sealed.open(frame)?;
            return self.judge.cell(&cell);
        }
        let opening = self.opening.take().ok_or(Fault::Spoke)?;
        let (sealed, hello) = opening.finish(frame)?;
        // A target shows its descriptor, which names the key that it was dialled by.
        if !hello.descriptor.is_some_and(|shown| shown.claims_link_key(&self.target.link_key)) {
            return Err(Fault::Malformed);
        }
        self.sealed = Some(sealed);
        self.judge.greeted();
        Ok(())
    }

    pub(super) async fn expect(&mut self, expected: Expected) -> Result<(), Fault> {
        let number = |number: u32| circuit(number).0;
        let is_met = match expected {
            Expected::Silent(pause) => {
                let before = self.judge.heard;
                self.listen(Instant::now() + Duration::from_millis(pause)).await?;
                self.judge.heard == before && !self.is_closed
            }
            Expected::Closed => {
                self.until(FUZZ_END_MAX, |link| link.is_closed).await?;
                self.is_closed
            }
            Expected::Answered(ask) => self.until(PATIENCE, |link| link.judge.answered.contains(&number(ask))).await?,
            Expected::Replied(circuit) => {
                self.until(PATIENCE, |link| link.judge.replied.contains(&number(circuit))).await?
            }
            Expected::Destroyed(circuit) => {
                self.until(PATIENCE, |link| link.judge.destroyed.contains(&number(circuit))).await?
            }
        };
        if is_met { Ok(()) } else { Err(Fault::Unmet) }
    }
}
