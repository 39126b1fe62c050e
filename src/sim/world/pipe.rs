//! The simulated connections: who is at either end, what is under way, and the link machines where ciphers are real.
//! It must not know what cells mean.

use super::{Life, NodeNo};
use crate::crypto::keys::{DhKey, DhSecret};
use crate::link::Link;
use crate::node::io::LinkId;
use crate::time::{Duration, Instant};
use crate::wire::cell::Cell;
use crate::wire::descriptor::VerifiedDescriptor;

/// One end of a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Side {
    Dialler,
    Accepter,
}

impl Side {
    pub(super) fn other(self) -> Self {
        match self {
            Self::Dialler => Self::Accepter,
            Self::Accepter => Self::Dialler,
        }
    }
}

/// A connection's number; never used again for another one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct PipeNo {
    at: usize,
    turn: u32,
}

/// What crosses a connection. Every one counts as [`crate::limits::FRAME_LEN`] bytes.
pub(super) enum Frame {
    /// A frame of a real link machine.
    Sealed(Box<crate::link::Frame>),
    /// In the place of the first handshake frame.
    First,
    /// In the place of the second one.
    Second,
    /// In the place of the dialler's first cell.
    Hello,
    /// In the place of a sealed cell.
    Cell(Cell),
}

/// One end as the world sees it.
#[derive(Clone, Copy)]
pub(super) struct End {
    pub(super) node: NodeNo,
    pub(super) life: Life,
    /// Its number at its node; an accepting end has none before it is up.
    pub(super) link: Option<LinkId>,
    /// Whether its node was told that the link is up.
    pub(super) is_up: bool,
    /// Whether this end is gone.
    pub(super) is_closed: bool,
    /// When the last frame towards it arrives: frames do not overtake each other.
    pub(super) busy_until: Instant,
    /// When its link machine wants to be woken.
    pub(super) timer: Option<Instant>,
}

impl End {
    pub(super) fn new(node: NodeNo, life: Life, link: Option<LinkId>) -> Self {
        let busy_until = Instant::ZERO;
        Self { node, life, link, is_up: false, is_closed: false, busy_until, timer: None }
    }
}

/// One connection.
pub(super) struct Pipe {
    pub(super) dialler: End,
    pub(super) accepter: End,
    pub(super) one_way: Duration,
    /// The key that the dialler expects.
    pub(super) wanted: DhKey,
    /// The dialler's key on this link, and the descriptor that it shows.
    pub(super) dialler_key: DhSecret,
    pub(super) dialler_public: DhKey,
    pub(super) dialler_shows: Option<VerifiedDescriptor>,
    /// The link machines, where ciphers are real.
    pub(super) links: Option<Box<(Link, Link)>>,
    /// Frames that a partition holds back.
    pub(super) held: Vec<(Side, Frame)>,
    /// When it was last drawn whether the link breaks.
    pub(super) drawn_at: Option<Instant>,
}

impl Pipe {
    pub(super) fn end(&self, side: Side) -> &End {
        match side {
            Side::Dialler => &self.dialler,
            Side::Accepter => &self.accepter,
        }
    }

    pub(super) fn end_mut(&mut self, side: Side) -> &mut End {
        match side {
            Side::Dialler => &mut self.dialler,
            Side::Accepter => &mut self.accepter,
        }
    }

    pub(super) fn link_mut(&mut self, side: Side) -> Option<&mut Link> {
        let links = self.links.as_mut()?;
        Some(match side {
            Side::Dialler => &mut links.0,
            Side::Accepter => &mut links.1,
        })
    }
}

/// All connections.
#[derive(Default)]
pub(super) struct Pipes {
    all: Vec<(u32, Option<Box<Pipe>>)>,
    free: Vec<usize>,
    open: usize,
}

impl Pipes {
    pub(super) fn open(&mut self, pipe: Pipe) -> PipeNo {
        self.open += 1;
        let pipe = Some(Box::new(pipe));
        if let Some(at) = self.free.pop()
            && let Some(place) = self.all.get_mut(at)
        {
            place.1 = pipe;
            return PipeNo { at, turn: place.0 };
        }
        self.all.push((0, pipe));
        PipeNo { at: self.all.len() - 1, turn: 0 }
    }

    pub(super) fn get(&self, no: PipeNo) -> Option<&Pipe> {
        self.all.get(no.at).filter(|place| place.0 == no.turn)?.1.as_deref()
    }

    pub(super) fn get_mut(&mut self, no: PipeNo) -> Option<&mut Pipe> {
        self.all.get_mut(no.at).filter(|place| place.0 == no.turn)?.1.as_deref_mut()
    }

    pub(super) fn close(&mut self, no: PipeNo) {
        let Some(place) = self.all.get_mut(no.at).filter(|place| place.0 == no.turn) else { return };
        if place.1.take().is_some() {
            place.0 += 1;
            self.free.push(no.at);
            self.open -= 1;
        }
    }

    pub(super) fn len(&self) -> usize {
        self.open
    }

    /// The numbers of all that are open.
    pub(super) fn numbers(&self) -> Vec<PipeNo> {
        let open = self.all.iter().enumerate().filter(|(_, place)| place.1.is_some());
        open.map(|(at, place)| PipeNo { at, turn: place.0 }).collect()
    }
}
