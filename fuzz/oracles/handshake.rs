//! Two ends of one link, and somebody between them who delivers, changes, repeats and reflects frames: no end is ever told of a link
//! or a cell but by the other's own frames in their order, every other frame is met by the one answer of that state, before the
//! handshake is done an end has said one frame at most, and deadlines hold to the microsecond.

use std::collections::VecDeque;

use bauta::limits::{FRAME_LEN, HANDSHAKE_TIMEOUT, LINK_SILENCE_MAX};
use bauta::link::{DownReason, Frame, Link, LinkEvent, Params, Timing};
use bauta::time::{Duration, Instant};
use bauta::wire::cell::{Cell, CircuitId, Command};
use bauta::wire::hello::Hello;
use bauta::wire::network::VERSIONS;
use rand::SeedableRng;
use rand::rngs::ChaCha20Rng;

use super::relays::{dh, network, relay};
use super::script::Script;

const STEPS_MAX: usize = 32;
const SEALED: usize = 8;

/// One end, and what somebody who sees everything knows of it.
struct End {
    link: Link,
    params: Params,
    dialled: bool,
    /// Every frame that it sent.
    sent: Vec<Frame>,
    /// Frames of the peer that it took, all in their order.
    taken: usize,
    up: bool,
    mute: bool,
    over: Option<DownReason>,
    dead_at: Instant,
    /// Cells that it was given to send, and that did not arrive yet.
    pushed: VecDeque<Cell>,
}

fn params(number: u32, shows: bool) -> Params {
    let descriptor = shows.then(|| relay(number).to_signed());
    let hello = Hello { versions: VERSIONS, descriptor };
    Params { network: network(), secret: dh(number), hello, timing: Timing::default() }
}

impl End {
    fn new(link: Link, params: Params, dialled: bool) -> Self {
        let dead_at = Instant::ZERO + HANDSHAKE_TIMEOUT;
        let (sent, pushed) = (Vec::new(), VecDeque::new());
        Self { link, params, dialled, sent, taken: 0, up: false, mute: false, over: None, dead_at, pushed }
    }

    fn drain(&mut self, now: Instant) {
        let mut frame = [0; FRAME_LEN];
        while self.link.poll_frame(now, &mut frame) {
            assert!(!self.mute, "a link that was not meant says nothing");
            self.sent.push(frame);
        }
        // The dialler's hello may follow where the peer was not who it should be.
        let said_max = 1 + usize::from(self.dialled && self.over.is_some());
        assert!(self.up || self.sent.len() <= said_max);
    }

    /// What any frame but the next of the peer comes to.
    fn refusal(&self) -> Result<Option<LinkEvent>, DownReason> {
        match (self.over, self.up) {
            (Some(over), _) => Err(over),
            (None, true) => Err(DownReason::Protocol),
            (None, false) if self.mute || (!self.dialled && self.taken == 0) => Ok(None),
            (None, false) => Err(DownReason::Identity),
        }
    }

    /// Takes a frame, or what a planted fault makes of it.
    fn take(&mut self, now: Instant, (frame, shown): (&Frame, &Frame), peer: &mut Self) {
        let is_next = self.over.is_none() && !self.mute && peer.sent.get(self.taken).is_some_and(|next| next == frame);
        let refusal = self.refusal();
        let told = self.link.handle_frame(now, shown);
        if !is_next {
            assert_eq!(told, refusal);
            self.mute |= told.is_ok();
            assert_eq!(self.link.is_mute(), self.mute && self.over.is_none());
        } else {
            self.taken += 1;
            match &told {
                Ok(Some(LinkEvent::Established { link_key, hello })) => {
                    assert!(!self.up);
                    assert_eq!((*link_key, &**hello), (peer.params.secret.public(), &peer.params.hello));
                    self.up = true;
                }
                Ok(Some(LinkEvent::Cell(cell))) => assert!(self.up && peer.pushed.pop_front().as_ref() == Some(cell)),
                // The first frame, or padding.
                Ok(None) => assert!(self.up || !self.dialled),
                Err(reason) => {
                    let unfit = self.dialled && peer.params.hello.descriptor.is_none();
                    assert!(unfit && *reason == DownReason::Identity, "{reason}");
                }
            }
            if self.up {
                self.dead_at = now + LINK_SILENCE_MAX;
            }
        }
        self.over = told.err().or(self.over);
    }

    fn wait(&mut self, now: Instant) {
        let told = self.link.handle_timeout(now);
        let due = if self.up {
            DownReason::Silent
        } else if self.mute {
            DownReason::Identity
        } else {
            DownReason::Handshake
        };
        let over = self.over.or((now >= self.dead_at).then_some(due));
        assert_eq!(told, over.map_or(Ok(()), Err));
        self.over = over;
        assert_eq!(self.link.poll_timeout().is_none(), over.is_some());
    }
}

/// Checks one input. With `fault`, as it would be where a link takes a frame whose last byte was changed for the one that was sent.
pub fn check(data: &[u8], fault: bool) {
    let mut script = Script::new(data);
    let setup = script.byte();
    let (one, two) = (params(1, setup & 1 != 0), params(2, setup & 2 == 0));
    let mut now = Instant::ZERO;
    let mut rng = ChaCha20Rng::seed_from_u64(u64::from(setup));
    let dialling = Link::dial(one.clone(), two.secret.public(), &mut rng, now).expect("a key of no small order");
    let accepting = Link::accept(two.clone(), &mut rng, now);
    let (mut a, mut b) = (End::new(dialling, one, true), End::new(accepting, two, false));
    for _ in 0..STEPS_MAX {
        if script.is_over() {
            break;
        }
        a.drain(now);
        b.drain(now);
        let op = script.byte();
        let (to, from) = if op & 1 == 0 { (&mut b, &mut a) } else { (&mut a, &mut b) };
        let next = from.sent.get(to.taken).copied();
        match (op >> 1) % 7 {
            0 | 1 => next.into_iter().for_each(|frame| to.take(now, (&frame, &frame), from)),
            2 => {
                let Some(mut frame) = next else { continue };
                let original = frame[FRAME_LEN - 1];
                script.change(&mut frame[..]);
                let mut shown = frame;
                if fault {
                    shown[FRAME_LEN - 1] = original;
                }
                to.take(now, (&frame, &shown), from);
            }
            // Any frame of either end, again.
            3 => {
                let count = from.sent.len() + to.sent.len();
                let at = script.below(count.max(1));
                let frame = from.sent.iter().chain(&to.sent).nth(at).copied();
                frame.into_iter().for_each(|frame| to.take(now, (&frame, &frame), from));
            }
            4 => {
                let mut frame = [script.byte(); FRAME_LEN];
                frame.iter_mut().zip(script.bytes(SEALED)).for_each(|(to, from)| *to ^= from);
                to.take(now, (&frame, &frame), from);
            }
            5 => {
                now = now + Duration::from_millis(250) * u32::from(script.byte());
                a.wait(now);
                b.wait(now);
            }
            _ => {
                let mut cell = Cell::new(CircuitId(7), Command::Forward);
                cell.body_mut().fill(script.byte());
                if to.pushed.len() < STEPS_MAX && to.link.push(cell.clone()).is_ok() {
                    to.pushed.push_back(cell);
                }
            }
        }
    }
}
