//! What may come over one link of a probe, from what was sent over it; everything else is a fault of the target. Pure.
//!
//! It is lenient where the specification leaves a choice, and where a script has made it unclear what is answered: a fault is
//! one on every reading. Source: spec/fuzzing.md §4.

use std::collections::{BTreeMap, BTreeSet};

use super::As;
use crate::crypto::keys::DhKey;
use crate::limits::{CELL_LEN, FRAME_LEN};
use crate::onion::{Building, Circuit, Reply0};
use crate::probe::Broken;
use crate::wire::cell::{Cell, Command};
use crate::wire::hello::{Hello, common_version};
use crate::wire::message::{Answer, Ask, Assembler};
use crate::wire::network::VERSIONS;

/// Numbers that the dialler of a link opens have this bit.
const DIALLER_BIT: u32 = 1 << 31;
/// With more questions and circuits than this a link may end in the middle of a frame: its queue is full.
const UNHURRIED_MAX: u32 = 8;

/// How a target broke the protocol, or is there no more.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, thiserror::Error)]
pub enum Fault {
    /// Nobody listens any more.
    #[error("connections are refused: it is gone")]
    Gone,
    /// Something came where the specification demands silence.
    #[error("it answered where it must be silent")]
    Spoke,
    /// The link ended in the middle of a frame.
    #[error("it closed in the middle of a frame")]
    Piece,
    /// A frame or a layer does not open.
    #[error("what it sent does not open")]
    Forged,
    /// What is inside cannot be read, or does not fit the question.
    #[error("what it sent cannot be read, or is no answer to what was asked")]
    Malformed,
    /// A cell of a number under which nothing is open.
    #[error("it sent a cell for a circuit or question that is not open")]
    Stranger,
    /// A cell that must not come now: a second reply, or one to a packet that must be refused.
    #[error("it replied on a circuit that must not be replied on")]
    Unfit,
    /// A link that has to end does not.
    #[error("it kept a link open that has to end")]
    StaysOpen,
    /// It takes nothing of what is written.
    #[error("it takes nothing of what is written to it")]
    Stalled,
    /// What a script expects has not come about.
    #[error("what the script expects did not come about")]
    Unmet,
}

impl Fault {
    /// One word, for file names and programs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Gone => "gone",
            Self::Spoke => "spoke",
            Self::Piece => "piece",
            Self::Forged => "forged",
            Self::Malformed => "malformed",
            Self::Stranger => "stranger",
            Self::Unfit => "unfit",
            Self::StaysOpen => "stays-open",
            Self::Stalled => "stalled",
            Self::Unmet => "unmet",
        }
    }
}

impl From<Broken> for Fault {
    fn from(broken: Broken) -> Self {
        match broken {
            Broken::Forged => Self::Forged,
            Broken::Malformed => Self::Malformed,
        }
    }
}

/// How far the handshake is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Stage {
    /// Nothing was said that is answered.
    Quiet,
    /// A right first frame was written.
    Asked,
    /// A right first frame of another link was written: its answer is for nobody here.
    Borrowed,
    /// The answer has come.
    Greeted,
    /// A right first cell was written.
    Up,
}

/// What may come back for a build packet.
pub(super) enum Fate {
    /// A reply that opens with this; one alone to the packet of this number, under whichever circuits it was sent.
    Reply(Box<Building>, u32),
    /// No reply: the target cannot open it, or has to refuse it.
    Refusal,
}

/// What is open under a number.
enum Open {
    Question {
        kinds: Vec<Kind>,
        assembler: Assembler,
    },
    Circuit {
        fate: Fate,
        circuit: Option<Box<Circuit>>,
        ended: bool,
    },
    /// Both, or more than one: anything may come.
    Any,
}

/// What a question is answered with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Members,
    Found,
    Stored,
    Refused,
}

/// One link as the specification sees it.
pub(super) struct Judge {
    who: As,
    /// That the handshake proves.
    key: DhKey,
    pub(super) stage: Stage,
    /// The target has to end the link.
    pub(super) must_end: bool,
    /// Bytes of a frame that is not written whole.
    offset: usize,
    /// The frame that is being written, or one before it, is not right.
    is_spoilt: bool,
    open: BTreeMap<u32, Open>,
    /// Questions of several cells that are being sent.
    asking: BTreeMap<u32, Assembler>,
    /// Frames that came.
    pub(super) heard: u64,
    pub(super) answered: BTreeSet<u32>,
    pub(super) replied: BTreeSet<u32>,
    replied_packets: BTreeSet<u32>,
    pub(super) destroyed: BTreeSet<u32>,
    asked: u32,
}

impl Judge {
    pub(super) fn new(who: As, key: DhKey) -> Self {
        Self {
            who,
            key,
            stage: Stage::Quiet,
            must_end: false,
            offset: 0,
            is_spoilt: false,
            open: BTreeMap::new(),
            asking: BTreeMap::new(),
            heard: 0,
            answered: BTreeSet::new(),
            replied: BTreeSet::new(),
            replied_packets: BTreeSet::new(),
            destroyed: BTreeSet::new(),
            asked: 0,
        }
    }

    /// So many bytes were written; whether they are, as a whole, a frame that is right in its place.
    pub(super) fn wrote(&mut self, len: usize, is_right: bool) {
        self.is_spoilt |= !is_right || self.offset != 0;
        let total = self.offset + len;
        if total >= FRAME_LEN && self.is_spoilt && self.stage != Stage::Quiet {
            self.must_end = true;
        }
        self.offset = total % FRAME_LEN;
    }

    /// A first frame was written; it is for the target and says nothing.
    pub(super) fn wrote_first(&mut self, is_right: bool) {
        let is_first = self.stage == Stage::Quiet && self.offset == 0 && !self.is_spoilt;
        self.wrote(FRAME_LEN, is_right);
        if is_first && is_right {
            self.stage = Stage::Asked;
        }
    }

    /// A frame of before was written whole; as a first one it is answered wherever it comes from.
    pub(super) fn wrote_copy(&mut self, is_right_first: bool) {
        let is_first = self.stage == Stage::Quiet && self.offset == 0 && !self.is_spoilt;
        self.wrote(FRAME_LEN, is_first && is_right_first);
        if is_first && is_right_first {
            self.stage = Stage::Borrowed;
        }
    }

    /// A frame with this inside was written whole, in its order.
    pub(super) fn wrote_cell(&mut self, plain: &[u8; CELL_LEN]) {
        self.wrote(FRAME_LEN, true);
        if self.must_end {
            return;
        }
        let Ok(cell) = Cell::decode(plain) else {
            self.must_end = true;
            return;
        };
        match self.stage {
            Stage::Greeted if cell.command() == Command::Hello => match Hello::decode(cell.body()) {
                Ok(hello) if common_version(VERSIONS, hello.versions).is_some() && self.is_whom(&hello) => {
                    self.stage = Stage::Up;
                }
                _ => self.must_end = true,
            },
            Stage::Up => self.sent(&cell),
            _ => self.must_end = true,
        }
    }

    /// What is shown, if anything, claims the key of the handshake.
    fn is_whom(&self, hello: &Hello) -> bool {
        hello.descriptor.as_ref().is_none_or(|shown| shown.claims_link_key(&self.key))
    }

    fn sent(&mut self, cell: &Cell) {
        let number = cell.circuit().0;
        match cell.command() {
            Command::Hello => self.must_end = true,
            Command::Ask if number & DIALLER_BIT == 0 => self.must_end = true,
            Command::Ask => self.sent_ask(number, cell),
            Command::Build => self.sent_build(number),
            Command::Reply0
            | Command::Forward
            | Command::Backward
            | Command::Destroy
            | Command::Credit
            | Command::Padding
            | Command::Answer => (),
        }
    }

    fn sent_ask(&mut self, number: u32, cell: &Cell) {
        self.asked += 1;
        let mut assembler = self.asking.remove(&number).unwrap_or_default();
        let kind = match assembler.push(cell.body()) {
            Ok(None) if self.who == As::Relay => {
                self.asking.insert(number, assembler);
                return;
            }
            Ok(Some(message)) => match Ask::decode(&message) {
                Ok(Ask::Members { .. }) => Kind::Members,
                Ok(_) if self.who == As::Client => Kind::Refused,
                Ok(Ask::Differences { .. }) => Kind::Members,
                Ok(Ask::Find { .. }) => Kind::Found,
                Ok(Ask::Store { .. }) => Kind::Stored,
                Err(_) => return self.must_end = true,
            },
            // A client's question is one cell long.
            Ok(None) | Err(_) => return self.must_end = true,
        };
        match self
            .open
            .entry(number)
            .or_insert_with(|| Open::Question { kinds: Vec::new(), assembler: Assembler::default() })
        {
            Open::Question { kinds, .. } => kinds.push(kind),
            other => *other = Open::Any,
        }
    }

    fn sent_build(&mut self, number: u32) {
        self.asked += 1;
        let fresh = Open::Circuit { fate: Fate::Refusal, circuit: None, ended: false };
        let open = if self.open.contains_key(&number) { Open::Any } else { fresh };
        self.open.insert(number, open);
    }

    /// The packet that was written last under this number may be replied to, unless it was under another. Of two that are sent at
    /// once either may be the first.
    pub(super) fn may_reply(&mut self, number: u32, building: Building, packet: u32) {
        if let Some(Open::Circuit { fate, .. }) = self.open.get_mut(&number) {
            *fate = Fate::Reply(Box::new(building), packet);
        }
    }

    /// The client's layers of a circuit that was replied on.
    pub(super) fn circuit(&mut self, number: u32) -> Option<&mut Circuit> {
        match self.open.get_mut(&number) {
            Some(Open::Circuit { circuit, .. }) => circuit.as_deref_mut(),
            _ => None,
        }
    }

    /// Whether a frame may come at all, whatever is in it, and if so whether it can be opened here.
    pub(super) fn frame(&mut self) -> Result<bool, Fault> {
        self.heard += 1;
        match self.stage {
            Stage::Asked | Stage::Up => Ok(true),
            Stage::Borrowed => {
                self.stage = Stage::Greeted;
                Ok(false)
            }
            Stage::Quiet | Stage::Greeted => Err(Fault::Spoke),
        }
    }

    /// The answer to the first frame was read.
    pub(super) fn greeted(&mut self) {
        self.stage = Stage::Greeted;
    }

    /// The link ended with so many bytes of a frame.
    pub(super) fn closed(&self, partial: usize) -> Result<(), Fault> {
        let is_silent = matches!(self.stage, Stage::Quiet | Stage::Greeted);
        match partial {
            0 => Ok(()),
            _ if is_silent => Err(Fault::Spoke),
            _ if self.asked <= UNHURRIED_MAX => Err(Fault::Piece),
            _ => Ok(()),
        }
    }

    /// A cell came.
    pub(super) fn cell(&mut self, cell: &Cell) -> Result<(), Fault> {
        let number = cell.circuit().0;
        let is_ours = number & DIALLER_BIT != 0;
        match cell.command() {
            Command::Padding => Ok(()),
            Command::Hello => Err(Fault::Malformed),
            Command::Answer => self.answer(number, cell),
            Command::Reply0 | Command::Backward => self.back(number, cell),
            // What it opens itself, a relay must bear.
            _ if !is_ours && self.who == As::Relay && cell.command() != Command::Answer => Ok(()),
            Command::Destroy => self.destroy(number),
            Command::Credit if cell.credit_count().is_err() => Err(Fault::Malformed),
            Command::Credit => self.on_circuit(number),
            Command::Build | Command::Forward | Command::Ask => Err(Fault::Stranger),
        }
    }

    fn answer(&mut self, number: u32, cell: &Cell) -> Result<(), Fault> {
        let (kinds, assembler) = match self.open.get_mut(&number) {
            Some(Open::Question { kinds, assembler }) if !kinds.is_empty() => (kinds, assembler),
            Some(Open::Any) => return Ok(()),
            _ => return Err(Fault::Stranger),
        };
        let Some(message) = assembler.push(cell.body()).map_err(|_| Fault::Malformed)? else { return Ok(()) };
        let answer = Answer::decode(&message).map_err(|_| Fault::Malformed)?;
        let kind = match &answer {
            Answer::Refused => Kind::Refused,
            Answer::Members { descriptors, more, .. } => {
                Answer::page_end(descriptors, *more, None).ok_or(Fault::Malformed)?;
                Kind::Members
            }
            Answer::Found { .. } => Kind::Found,
            Answer::Stored { .. } => Kind::Stored,
        };
        match kinds.iter().position(|one| *one == kind) {
            Some(at) => {
                kinds.swap_remove(at);
            }
            // Everything may be refused; which of several was is not told.
            None if kind == Kind::Refused && kinds.len() == 1 => kinds.clear(),
            None if kind == Kind::Refused => drop(self.open.insert(number, Open::Any)),
            None => return Err(Fault::Malformed),
        }
        self.answered.insert(number);
        Ok(())
    }

    fn back(&mut self, number: u32, cell: &Cell) -> Result<(), Fault> {
        let (fate, opened) = match self.open.get_mut(&number) {
            Some(Open::Any) => return Ok(()),
            Some(Open::Circuit { ended: true, .. } | Open::Question { .. }) | None => return Err(Fault::Stranger),
            Some(Open::Circuit { fate, circuit, .. }) => (fate, circuit),
        };
        if cell.command() == Command::Backward {
            let circuit = opened.as_mut().ok_or(Fault::Unfit)?;
            return circuit.open_backward(cell.body()).map(drop).map_err(|_| Fault::Forged);
        }
        let Fate::Reply(building, packet) = core::mem::replace(fate, Fate::Refusal) else { return Err(Fault::Unfit) };
        if !self.replied_packets.insert(packet) {
            return Err(Fault::Unfit);
        }
        self.replied.insert(number);
        if let Reply0::Exit(circuit, _) = building.open_reply0(cell.body()).map_err(|_| Fault::Forged)? {
            *opened = Some(Box::new(circuit));
        }
        Ok(())
    }

    fn destroy(&mut self, number: u32) -> Result<(), Fault> {
        self.on_circuit(number)?;
        self.destroyed.insert(number);
        if let Some(Open::Circuit { ended, .. }) = self.open.get_mut(&number) {
            *ended = true;
        }
        Ok(())
    }

    fn on_circuit(&self, number: u32) -> Result<(), Fault> {
        match self.open.get(&number) {
            Some(Open::Any | Open::Circuit { ended: false, .. }) => Ok(()),
            _ => Err(Fault::Stranger),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::BODY_LEN;
    use crate::wire::cell::CircuitId;
    use crate::wire::message::cells_of;

    fn plain(cell: &Cell) -> [u8; CELL_LEN] {
        let mut plain = [0; CELL_LEN];
        cell.encode(&mut plain);
        plain
    }

    fn hello() -> Cell {
        let mut cell = Cell::of_link(Command::Hello);
        cell.body_mut()[..2].copy_from_slice(&[1, 1]);
        cell
    }

    fn up() -> Judge {
        let mut judge = Judge::new(As::Client, DhKey([1; 32]));
        judge.wrote_first(true);
        judge.frame().unwrap();
        judge.greeted();
        judge.wrote_cell(&plain(&hello()));
        assert_eq!((judge.stage, judge.must_end), (Stage::Up, false));
        judge
    }

    fn number(number: u32) -> CircuitId {
        CircuitId(number | DIALLER_BIT)
    }

    fn message(command: Command, message: &[u8]) -> Cell {
        cells_of(number(1), command, message).unwrap().remove(0)
    }

    #[test]
    fn nothing_may_come_before_a_right_first_frame_nor_between_the_answer_and_a_right_hello() {
        assert_eq!(Judge::new(As::Client, DhKey([1; 32])).frame(), Err(Fault::Spoke));
        let mut spoilt = Judge::new(As::Client, DhKey([1; 32]));
        spoilt.wrote_first(false);
        spoilt.wrote_first(true);
        assert_eq!((spoilt.frame(), spoilt.closed(3)), (Err(Fault::Spoke), Err(Fault::Spoke)));
        let mut asked = Judge::new(As::Client, DhKey([1; 32]));
        asked.wrote_first(true);
        assert_eq!((asked.frame(), asked.closed(3)), (Ok(true), Err(Fault::Piece)));
        asked.greeted();
        assert_eq!(asked.frame(), Err(Fault::Spoke));
        // A recorded first frame is answered, once; what comes cannot be opened here.
        let mut borrowed = Judge::new(As::Client, DhKey([1; 32]));
        borrowed.wrote_copy(true);
        assert_eq!((borrowed.frame(), borrowed.frame()), (Ok(false), Err(Fault::Spoke)));
        let mut other = Judge::new(As::Client, DhKey([1; 32]));
        other.wrote_copy(false);
        assert_eq!(other.frame(), Err(Fault::Spoke));
    }

    #[test]
    fn a_frame_that_cannot_open_or_be_read_has_to_end_the_link_and_one_that_is_not_whole_does_not_yet() {
        let spoils: [fn(&mut Judge); 6] = [
            |judge| judge.wrote(FRAME_LEN, false),
            |judge| judge.wrote_cell(&[0xff; CELL_LEN]),
            |judge| judge.wrote_cell(&plain(&hello())),
            |judge| judge.wrote_cell(&plain(&message(Command::Ask, &[9]))),
            |judge| judge.wrote_cell(&plain(&Cell::new(CircuitId(1), Command::Ask))),
            |judge| {
                judge.wrote(FRAME_LEN - 1, false);
                assert!(!judge.must_end);
                judge.wrote(1, true);
            },
        ];
        for spoil in spoils {
            let mut judge = up();
            spoil(&mut judge);
            assert!(judge.must_end);
        }
        let mut judge = up();
        judge.wrote_cell(&plain(&Cell::of_link(Command::Padding)));
        judge.wrote_cell(&plain(&Cell::new(number(5), Command::Forward)));
        assert!(!judge.must_end);
    }

    #[test]
    fn an_answer_must_be_asked_for_be_readable_and_fit_its_question() {
        let asked = || {
            let mut judge = up();
            judge.wrote_cell(&plain(&message(Command::Ask, &Ask::sign_of_life().encode())));
            judge
        };
        let members = |more| Answer::Members { descriptors: Vec::new(), more, settled: false }.encode();
        assert_eq!(up().cell(&message(Command::Answer, &members(false))), Err(Fault::Stranger));
        let mut judge = asked();
        assert_eq!(judge.cell(&message(Command::Answer, &members(false))), Ok(()));
        assert!(judge.answered.contains(&number(1).0));
        assert_eq!(judge.cell(&message(Command::Answer, &members(false))), Err(Fault::Stranger), "twice");
        assert_eq!(asked().cell(&message(Command::Answer, &[9])), Err(Fault::Malformed));
        let stored = [&[2][..], &[0; 145]].concat();
        assert_eq!(asked().cell(&message(Command::Answer, &stored)), Err(Fault::Malformed), "not what was asked for");
        assert_eq!(asked().cell(&message(Command::Answer, &Answer::Refused.encode())), Ok(()));
        // Under one number, and answered in turn: a client's find, differences, and members.
        let mut judge = up();
        for ask in [[4, 0, 0].to_vec(), [&[1][..], &[0; 38]].concat(), Ask::sign_of_life().encode()] {
            let ask = if ask[0] == 4 { [&ask[..], &[0; 10]].concat() } else { ask };
            judge.wrote_cell(&plain(&message(Command::Ask, &ask)));
        }
        assert!(!judge.must_end);
        for answer in [Answer::Refused.encode(), Answer::Refused.encode(), members(false)] {
            assert_eq!(judge.cell(&message(Command::Answer, &answer)), Ok(()));
        }
        assert_eq!(
            asked().cell(&message(Command::Answer, &members(true))),
            Err(Fault::Malformed),
            "a page without end"
        );
        assert_eq!(
            asked().cell(&message(Command::Ask, &members(false))),
            Err(Fault::Stranger),
            "clients answer nobody"
        );
    }

    #[test]
    fn a_packet_that_must_be_refused_may_be_ended_and_not_replied_to() {
        let mut judge = up();
        judge.wrote_cell(&plain(&Cell::build(number(3), 1, 0, [7; BODY_LEN])));
        assert_eq!(judge.cell(&Cell::new(number(3), Command::Reply0)), Err(Fault::Unfit));
        assert_eq!(judge.cell(&Cell::new(number(3), Command::Backward)), Err(Fault::Unfit));
        assert_eq!(judge.cell(&Cell::new(number(4), Command::Destroy)), Err(Fault::Stranger));
        assert_eq!(judge.cell(&Cell::new(number(3), Command::Destroy)), Ok(()));
        assert_eq!(judge.cell(&Cell::new(number(3), Command::Destroy)), Err(Fault::Stranger), "it has ended");
        // Built twice under one number it is nobody's fault.
        judge.wrote_cell(&plain(&Cell::build(number(3), 1, 0, [7; BODY_LEN])));
        assert_eq!(judge.cell(&Cell::new(number(3), Command::Reply0)), Ok(()));
    }
}
