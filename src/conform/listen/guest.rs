//! A link that the peer has dialled: its handshake, its cells and questions, each held against the rules as it comes. It must not know
//! what is done wrong to it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;

use rand::rngs::ChaCha20Rng;
use tokio::time::Instant;

use super::board::{Board, Once};
use super::circuit::Opened;
use super::stage::{Door, Stage};
use super::{Needs, Sight};
use crate::conform::bench::{not_seen, plain, told, wrong};
use crate::conform::{Judged, LATE, Unproven};
use crate::limits::{
    ASKS_PER_LINK_MAX, BODY_LEN, CELL_LEN, CONFORM_CHECK_MAX, HANDSHAKE_TIMEOUT, LINK_PADDING_AFTER,
    PARTIAL_ASKS_PER_LINK_BYTES_MAX,
};
use crate::link::{Frame, PAYLOAD2_LEN};
use crate::net::Clock;
use crate::probe::{Answering, Broken, Heard, NotWritten, PATIENCE, Sealed, Wire};
use crate::time::Duration;
use crate::wire::cell::{Cell, CircuitId, Command};
use crate::wire::codec::padded;
use crate::wire::hello::Hello;
use crate::wire::message::{Answer, Ask, Assembler, cells_of};

/// Numbers that the dialler of a link opens have this bit.
pub(super) const DIALLER_BIT: u32 = 1 << 31;
/// How long nothing may come before the second frame is sent, and for how long a link that must go on is looked at.
const EARLY: Duration = Duration::from_millis(100);
const STAYS: Duration = Duration::from_secs(1);
/// A link that ends within this ends by what it was told; later it may be that the peer needs it no more.
const ENDS: Duration = Duration::from_millis(1_500);

/// A link.
pub(super) struct Guest {
    pub(super) wire: Wire,
    pub(super) stage: Rc<Stage>,
    pub(super) board: Rc<Board>,
    pub(super) rng: ChaCha20Rng,
    /// The question that a play is about.
    pub(super) asked: Option<u32>,
    /// The circuit that a play is about.
    pub(super) circuit: Option<Opened>,
    pub(super) is_relay: bool,
    door: usize,
    /// The first frame, until it is read.
    opening: Option<Frame>,
    sealed: Option<Sealed>,
    /// When the last frame came, and how long after the one before it.
    heard: Instant,
    gap: Duration,
    /// Cells that came while a play was about something else.
    aside: VecDeque<Cell>,
    /// Questions that are not whole, each with its cells so far.
    asking: BTreeMap<u32, (Assembler, usize)>,
    /// Numbers of questions that were not answered.
    open: BTreeSet<u32>,
}

/// What a peer does that has to be answered.
enum Event {
    Asked(u32, Ask),
    Build(Cell),
    Other,
}

impl Guest {
    pub(super) fn new(wire: Wire, door: usize, (stage, board): (Rc<Stage>, Rc<Board>), rng: ChaCha20Rng) -> Self {
        Self {
            wire,
            stage,
            board,
            rng,
            asked: None,
            circuit: None,
            is_relay: false,
            door,
            opening: None,
            sealed: None,
            heard: Instant::now(),
            gap: Duration::ZERO,
            aside: VecDeque::new(),
            asking: BTreeMap::new(),
            open: BTreeSet::new(),
        }
    }

    /// Plays what is still to be played on the link, or is a relay as it should be.
    pub(super) async fn serve(mut self) {
        // Who says nothing is not whom anything is played for.
        let Heard::Came(frame) = self.wire.frame(HANDSHAKE_TIMEOUT).await else { return };
        self.opening = Some(frame);
        if self.play(Needs::Link).await {
            return;
        }
        if self.up().await.is_err() || (!self.is_relay && self.play(Needs::LinkOfClient).await) {
            return;
        }
        loop {
            let event = match self.event().await {
                Heard::Came(event) => event,
                Heard::Silent => {
                    return self
                        .saw(Sight::Padding, Err(format!("nothing came for {} s", LINK_PADDING_AFTER.as_secs())));
                }
                _ => return,
            };
            match event {
                Event::Asked(number, ask) => {
                    self.asked = Some(number);
                    let own = if self.is_relay { Needs::Unanswered } else { Needs::AskOfClient };
                    if self.play(Needs::Ask).await || self.play(own).await {
                        return;
                    }
                    if self.answer(number, &ask).await.is_err() {
                        return;
                    }
                }
                Event::Build(cell) => {
                    self.circuit = Opened::of(&mut self, &cell);
                    if self.play(Needs::Unanswered).await {
                        return;
                    }
                    let stores = self.circuit.as_ref().is_some_and(Opened::stores);
                    let has_played = if stores { self.play(Needs::Store).await } else { self.play(Needs::Build).await };
                    if !has_played {
                        Opened::answered(&mut self).await;
                    }
                }
                Event::Other => (),
            }
        }
    }

    /// Plays the next act of those that need this, if there is one.
    async fn play(&mut self, needs: Needs) -> bool {
        let Some(turn) = self.board.take(needs) else { return false };
        let judged = tokio::time::timeout(CONFORM_CHECK_MAX, (turn.play.run)(self, turn.act)).await;
        let late = || Err(Unproven::Wrong(format!("it took longer than {} s", CONFORM_CHECK_MAX.as_secs())));
        self.board.played(turn, judged.unwrap_or_else(|_| late()));
        true
    }

    pub(super) fn saw(&self, sight: Sight, seen: Result<(), String>) {
        self.board.saw(sight, seen);
    }

    pub(super) fn door(&self) -> Result<&Door, Unproven> {
        self.stage.door(self.door).ok_or_else(|| not_seen("there is no such relay"))
    }

    pub(super) fn place(&self) -> usize {
        self.door
    }

    /// The first frame, with nothing behind it.
    pub(super) async fn first(&mut self) -> Result<Answering, Unproven> {
        let frame = self.opening.take().ok_or_else(|| not_seen("no first frame"))?;
        let early = self.wire.frame(EARLY).await;
        if matches!(early, Heard::Came(_)) || self.wire.partial() > 0 {
            self.saw(Sight::ThirdFrame, Err("bytes came behind the first frame, before the second".to_owned()));
        }
        let stage = Rc::clone(&self.stage);
        let (network, door) = (stage.network(), stage.door(self.door));
        let secret = &door.ok_or_else(|| not_seen("there is no such relay"))?.me.secret;
        let read = Answering::read(&network, secret, &frame, &mut self.rng);
        self.saw(Sight::FirstFrame, read.as_ref().map(drop).map_err(ToString::to_string));
        read.map_err(|why| not_seen(&why.to_string()))
    }

    /// The payload of a second frame: a hello and zeros.
    pub(super) fn payload(hello: &[u8]) -> [u8; PAYLOAD2_LEN] {
        padded(hello.to_vec(), PAYLOAD2_LEN).and_then(|payload| payload.try_into().ok()).unwrap_or([0; PAYLOAD2_LEN])
    }

    /// Both frames that this end is part of, with this payload.
    pub(super) async fn greet(&mut self, payload: &[u8; PAYLOAD2_LEN]) -> Result<(Greeted, Frame), Unproven> {
        let answering = self.first().await?;
        let peer = answering.peer;
        let (sealed, frame) = answering.answer(payload).map_err(|_| not_seen("its key is no key"))?;
        Ok((Greeted { sealed, peer: peer.0 }, frame))
    }

    /// The whole handshake as it should be.
    pub(super) async fn up(&mut self) -> Judged {
        let hello = self.door()?.me.hello.encode();
        let (answering, frame) = self.greet(&Self::payload(&hello)).await?;
        self.write(&frame).await?;
        self.third(answering).await
    }

    /// From now on frames open.
    pub(super) fn expect(&mut self, greeted: Greeted) {
        self.sealed = Some(greeted.sealed);
    }

    /// The third frame, that was read as it is.
    pub(super) fn took(&mut self, frame: &Frame) -> Judged {
        let sealed = self.sealed.as_mut().ok_or_else(|| not_seen("there is no link"))?;
        sealed.open(frame).map(drop).map_err(|_| not_seen("its third frame does not open"))
    }

    /// The third frame.
    pub(super) async fn third(&mut self, answering: Greeted) -> Judged {
        self.sealed = Some(answering.sealed);
        let cell = match self.frame(Instant::now() + HANDSHAKE_TIMEOUT).await {
            Heard::Came(cell) => cell,
            Heard::Broken(Broken::Malformed) => {
                self.saw(Sight::ThirdFrame, Err("it is no cell".to_owned()));
                return Err(not_seen("its third frame is no cell"));
            }
            other => return Err(not_seen(&format!("no third frame: {}", told(&other)))),
        };
        if cell.command() != Command::Hello {
            self.saw(Sight::ThirdFrame, Err(format!("it is a {:?}", cell.command())));
            return Err(not_seen("its third frame is no Hello"));
        }
        self.saw(Sight::ThirdFrame, Ok(()));
        let hello = Hello::decode(cell.body());
        self.saw(Sight::Hello, hello.as_ref().map(drop).map_err(|why| format!("it cannot be read: {why}")));
        let hello = hello.map_err(|_| not_seen("its hello cannot be read"))?;
        self.is_relay = hello.descriptor.is_some();
        self.board.came(self.is_relay);
        if let Some(shown) = hello.descriptor {
            let claims = shown.claims_link_key(&crate::crypto::keys::DhKey(answering.peer));
            let holds = shown.verify(&self.stage.network(), Clock::unix()).map(drop).map_err(|why| why.to_string());
            let own_key = if claims { Ok(()) } else { Err("it names another link key".to_owned()) };
            self.saw(Sight::Descriptor, own_key.and(holds));
        } else if self.board.is_new(Once::LinkKey, &answering.peer) {
            self.saw(Sight::FreshKeys, Ok(()));
        } else {
            self.saw(Sight::FreshKeys, Err("two links of clients have one static key".to_owned()));
        }
        Ok(())
    }

    pub(super) async fn write(&mut self, frame: &Frame) -> Judged {
        self.wire.write(frame).await.map_err(|why| not_seen(&why.to_string()))
    }

    /// Seals any bytes; the frame is not written.
    pub(super) fn seal(&mut self, bytes: &[u8; CELL_LEN]) -> Result<Frame, Unproven> {
        let sealed = self.sealed.as_mut().ok_or_else(|| not_seen("there is no link"))?;
        sealed.seal(bytes).map_err(|_| not_seen("nothing can be sealed"))
    }

    pub(super) async fn send_bytes(&mut self, bytes: &[u8; CELL_LEN]) -> Judged {
        let frame = self.seal(bytes)?;
        self.write(&frame).await
    }

    pub(super) async fn send(&mut self, cell: &Cell) -> Judged {
        self.send_bytes(&plain(cell)).await
    }

    pub(super) async fn send_answer(&mut self, number: u32, message: &[u8]) -> Result<(), NotWritten> {
        self.open.remove(&number);
        for cell in cells_of(CircuitId(number), Command::Answer, message).unwrap_or_default() {
            self.send(&cell).await.map_err(|_| NotWritten::Closed)?;
        }
        Ok(())
    }

    /// Whom it knows, to whoever asks; to all else that it does not serve.
    async fn answer(&mut self, number: u32, ask: &Ask) -> Result<(), NotWritten> {
        let answer = match ask {
            // Who is told the members does not ask again for minutes: first all is played that needs a question.
            Ask::Members { after: None } if self.board.is_wanted(Needs::Ask) => Answer::Refused,
            Ask::Members { after: None } => self.stage.page(),
            Ask::Members { .. } | Ask::Differences { .. } => {
                Answer::Members { descriptors: Vec::new(), more: false, settled: true }
            }
            Ask::Find { .. } | Ask::Store { .. } => Answer::Refused,
        };
        self.send_answer(number, &answer.encode()).await
    }

    /// The next frame of the link, as its cell.
    pub(super) async fn frame(&mut self, deadline: Instant) -> Heard<Cell> {
        let frame = match self.wire.frame_until(deadline).await {
            Heard::Came(frame) => frame,
            other => return other.and_then(|_| Err(Broken::Malformed)),
        };
        self.gap = self.heard.elapsed();
        self.heard = Instant::now();
        let Some(sealed) = &mut self.sealed else { return Heard::Broken(Broken::Malformed) };
        let opened = sealed.open(&frame);
        self.saw(Sight::Frames, opened.as_ref().map(drop).map_err(|why| format!("a frame: {why}")));
        opened.map_or_else(Heard::Broken, Heard::Came)
    }

    /// The next cell that is no Padding.
    pub(super) async fn cell(&mut self, deadline: Instant) -> Heard<Cell> {
        self.cell_by(|_| deadline).await
    }

    async fn cell_by(&mut self, deadline: impl Fn(&Self) -> Instant) -> Heard<Cell> {
        loop {
            match self.frame(deadline(self)).await {
                Heard::Came(cell) if cell.command() == Command::Padding => self.padding_came(),
                other => return other,
            }
        }
    }

    /// The same on a link that may be at rest: silent is who sends no Padding in its time either.
    async fn idle_cell(&mut self) -> Heard<Cell> {
        self.cell_by(|guest| guest.heard + LINK_PADDING_AFTER + LATE).await
    }

    /// A Padding came: not before half of its time, or it is more than what keeps a link alive.
    fn padding_came(&self) {
        let in_time = if self.gap < LINK_PADDING_AFTER / 2 { Err("it came too early".to_owned()) } else { Ok(()) };
        self.saw(Sight::Padding, in_time);
    }

    /// A question, if this cell makes one whole.
    pub(super) fn question(&mut self, cell: &Cell) -> Option<Ask> {
        let number = cell.circuit().0;
        let begun = self.asking.remove(&number);
        if begun.is_none() {
            self.opened(number);
            if self.open.len() >= ASKS_PER_LINK_MAX {
                self.saw(Sight::Questions, Err("more questions are open than may be".to_owned()));
                return None;
            }
            self.open.insert(number);
        }
        let (mut assembler, cells) = begun.unwrap_or_default();
        let joined = match assembler.push(cell.body()) {
            Ok(None) => {
                self.keep_part(number, (assembler, cells + 1));
                return None;
            }
            Ok(Some(message)) => Ask::decode(&message),
            Err(malformed) => Err(malformed),
        };
        self.saw(Sight::Questions, joined.as_ref().map(drop).map_err(|why| format!("it cannot be read: {why}")));
        let ask = joined.ok()?;
        if !self.is_relay {
            let is_members = matches!(ask, Ask::Members { .. });
            let seen = if is_members { Ok(()) } else { Err("a client asks something else".to_owned()) };
            self.saw(Sight::MembersAlone, seen);
        }
        Some(ask)
    }

    /// A question of which more has to come, so long as all of them take no more than they may.
    fn keep_part(&mut self, number: u32, part: (Assembler, usize)) {
        let cells = part.1 + self.asking.values().map(|(_, cells)| cells).sum::<usize>();
        if cells * BODY_LEN > PARTIAL_ASKS_PER_LINK_BYTES_MAX {
            self.saw(Sight::Questions, Err("questions that are not whole take more than they may".to_owned()));
            self.asking.clear();
        } else {
            self.asking.insert(number, part);
        }
    }

    /// A number is used for something new.
    pub(super) fn opened(&self, number: u32) {
        let seen = if number & DIALLER_BIT == 0 {
            Err("the highest bit of a number is 0")
        } else if !self.board.is_apart(number) {
            Err("two numbers in a row lie side by side, or are one")
        } else {
            Ok(())
        };
        self.saw(Sight::Numbers, seen.map_err(str::to_owned));
    }

    async fn event(&mut self) -> Heard<Event> {
        loop {
            let cell = match self.aside.pop_front() {
                Some(cell) => cell,
                None => match self.idle_cell().await {
                    Heard::Came(cell) => cell,
                    other => return other.and_then(|_| Ok(Event::Other)),
                },
            };
            return Heard::Came(match cell.command() {
                Command::Ask => match self.question(&cell) {
                    Some(ask) => Event::Asked(cell.circuit().0, ask),
                    None => continue,
                },
                Command::Build => Event::Build(cell),
                _ => Event::Other,
            });
        }
    }

    /// The next cell of this number. Questions are answered meanwhile; what is about something else is taken afterwards.
    pub(super) async fn cell_of(&mut self, number: u32, deadline: Instant) -> Heard<Cell> {
        loop {
            let cell = match self.cell(deadline).await {
                Heard::Came(cell) => cell,
                other => return other,
            };
            if cell.command() == Command::Ask {
                if let Some(ask) = self.question(&cell)
                    && self.answer(cell.circuit().0, &ask).await.is_err()
                {
                    return Heard::Closed { partial: 0 };
                }
            } else if cell.circuit().0 == number {
                return Heard::Came(cell);
            } else if self.aside.len() < ASKS_PER_LINK_MAX {
                self.aside.push_back(cell);
            }
        }
    }

    /// The link must end, and its peer not ask whether this end is still there.
    pub(super) async fn ends(&mut self, what: &str) -> Judged {
        let told = Instant::now();
        loop {
            match self.cell(told + PATIENCE).await {
                Heard::Closed { .. } if told.elapsed() <= ENDS => return Ok(()),
                Heard::Closed { .. } => return Err(not_seen("the link ended later than by what it was told")),
                Heard::Silent => return wrong(what, "the link goes on"),
                Heard::Broken(broken) => return wrong(what, &broken.to_string()),
                Heard::Came(cell) if cell.command() == Command::Ask => {
                    if self.question(&cell).is_some_and(|ask| ask == Ask::sign_of_life()) {
                        return wrong(what, "the link goes on");
                    }
                }
                // It was on its way.
                Heard::Came(_) => (),
            }
        }
    }

    /// The link must go on.
    pub(super) async fn stays(&mut self, what: &str) -> Judged {
        let deadline = Instant::now() + STAYS;
        loop {
            match self.cell(deadline).await {
                Heard::Closed { .. } => return wrong(what, "the link ends"),
                Heard::Silent => return Ok(()),
                Heard::Broken(broken) => return wrong(what, &broken.to_string()),
                Heard::Came(cell) if matches!(cell.command(), Command::Ask | Command::Build | Command::Destroy) => (),
                Heard::Came(cell) => return wrong(what, &format!("{:?} came", cell.command())),
            }
        }
    }

    /// The peer must end this circuit, and the link go on.
    pub(super) async fn destroys(&mut self, number: u32, within: Duration, what: &str) -> Judged {
        if self.circuit_ended(number, within, what).await? {
            Ok(())
        } else {
            wrong(what, "the link ends, not the circuit")
        }
    }

    /// The same of a circuit that brought what was wanted: a peer that has it may end its link, too.
    pub(super) async fn lets_go(&mut self, number: u32, within: Duration) -> Judged {
        let is_told = self.circuit_ended(number, within, "a circuit that was answered").await?;
        if is_told { Ok(()) } else { Err(not_seen("the link ended meanwhile")) }
    }

    /// Whether it was the circuit that ended, not the link.
    async fn circuit_ended(&mut self, number: u32, within: Duration, what: &str) -> Result<bool, Unproven> {
        match self.cell_of(number, Instant::now() + within).await {
            Heard::Came(cell) if cell.command() == Command::Destroy => Ok(true),
            Heard::Closed { .. } => Ok(false),
            Heard::Came(cell) => wrong(what, &format!("{:?} came", cell.command())),
            Heard::Silent => wrong(what, "it does not end the circuit"),
            other => wrong(what, &told(&other)),
        }
    }

    /// Nothing more of this circuit may come, and the link go on.
    pub(super) async fn says_no_more(&mut self, number: u32, what: &str) -> Judged {
        match self.cell_of(number, Instant::now() + STAYS).await {
            Heard::Silent => Ok(()),
            Heard::Came(cell) => wrong(what, &format!("{:?} came", cell.command())),
            Heard::Closed { .. } => Err(not_seen("the link ended meanwhile")),
            other => wrong(what, &told(&other)),
        }
    }
}

/// A handshake of which the second frame was made.
pub(super) struct Greeted {
    sealed: Sealed,
    peer: [u8; 32],
}
