//! Cells over a finished handshake, and the credits of a circuit, in any order of operations: only the peer's next frame opens, and to
//! the cell that was sealed; no other frame does, and none moves a nonce; keys are replaced in step. Of credits no more cells are under way
//! than were granted, an honest pair never meets a refusal, and whoever grants or sends too much always does.

use std::collections::VecDeque;

use bauta::crypto::noise_ik::{Handshake, Transport};
use bauta::limits::{CELL_LEN, CREDIT_MAX, CREDIT_START, CREDIT_STEP, FRAME_LEN};
use bauta::link::Frame;
use bauta::link::flow::{Overrun, Receiving, Sending};
use bauta::wire::cell::{Cell, CircuitId, Command};
use rand::SeedableRng;
use rand::rngs::ChaCha20Rng;

use super::relays::dh;
use super::script::Script;

const STEPS_MAX: usize = 96;

fn pair(rekey_every: u64) -> [Transport; 2] {
    let mut rng = ChaCha20Rng::seed_from_u64(1);
    let mut one = Handshake::initiate(b"p", &dh(1), &dh(2).public(), &mut rng).expect("parameters");
    let mut two = Handshake::respond(b"p", &dh(2), &mut rng).expect("parameters");
    let (mut wire, mut text) = ([0; 256], [0; 256]);
    let len = one.write(&[], &mut wire).expect("its turn");
    two.read(&wire[..len], &mut text).expect("the first message");
    let len = two.write(&[], &mut wire).expect("its turn");
    one.read(&wire[..len], &mut text).expect("the second message");
    [one, two].map(|end| end.into_transport().expect("finished").rekeyed_every(rekey_every))
}

/// One direction: frames sealed, with the byte that fills their cells, and how many were opened.
#[derive(Default)]
struct Way {
    frames: Vec<(u8, Box<Frame>)>,
    opened: usize,
}

/// One circuit on one hop, its receiver honest, and how many cells and credits are on their way.
#[derive(Default)]
struct Hop {
    sending: Sending,
    receiving: Receiving,
    cells: VecDeque<Cell>,
    held: u32,
    credits: VecDeque<u32>,
    sent: u32,
    granted: u32,
}

impl Hop {
    fn step(&mut self, op: u8) {
        match op % 5 {
            0 => self.sending.push(Cell::new(CircuitId(1), Command::Forward)),
            1 => {
                let may = CREDIT_START + self.granted > self.sent && self.sending.queued() > 0;
                let cell = self.sending.pop();
                assert_eq!(cell.is_some(), may);
                self.sent += u32::from(may);
                self.cells.extend(cell);
            }
            2 if self.cells.pop_front().is_some() => {
                assert_eq!(self.receiving.receive(), Ok(()));
                self.held += 1;
            }
            3 if self.held > 0 => {
                self.held -= 1;
                self.credits.extend(self.receiving.pass());
            }
            4 => {
                if let Some(count) = self.credits.pop_front() {
                    assert_eq!((count, self.sending.grant(count)), (CREDIT_STEP, Ok(())));
                    self.granted += count;
                }
            }
            _ => (),
        }
        assert!(self.sent <= CREDIT_START + self.granted);
    }

    /// A sender that takes no notice of credits, and a receiver that grants what it likes.
    fn misbehave(mut self, count: u32) {
        let left = CREDIT_START + self.granted - self.sent;
        let fits = count.checked_add(left).is_some_and(|credit| credit <= CREDIT_MAX);
        assert_eq!(self.sending.grant(count), if fits { Ok(()) } else { Err(Overrun) });
        let under_way = u32::try_from(self.cells.len()).expect("few");
        let promised: u32 = self.credits.iter().sum();
        for _ in 0..under_way + left + promised {
            assert_eq!(self.receiving.receive(), Ok(()));
        }
        assert_eq!(self.receiving.receive(), Err(Overrun));
    }
}

/// Checks one input. With `fault`, as it would be where every eighth operation finds the frame before in the place of the next.
pub fn check(data: &[u8], fault: bool) {
    let mut script = Script::new(data);
    let mut ends = pair(u64::from(script.byte() % 8) + 1);
    let (mut ways, mut hop) = ([Way::default(), Way::default()], Hop::default());
    let mut cell = [0; CELL_LEN];
    for step in 0..STEPS_MAX {
        if script.is_over() {
            break;
        }
        let op = script.byte();
        let (way, other) = if op & 1 == 0 { (0, 1) } else { (1, 0) };
        let next = ways[way].frames.get(ways[way].opened).cloned();
        match (op >> 1) % 7 {
            0 | 1 => {
                let (fill, mut frame) = (script.byte(), Box::new([0; FRAME_LEN]));
                ends[way].seal(&[fill; CELL_LEN], &mut frame).expect("few cells");
                ways[way].frames.push((fill, frame));
            }
            2 => {
                let Some((fill, mut frame)) = next else { continue };
                if fault && step % 8 == 7 {
                    frame = ways[way].frames[ways[way].opened.saturating_sub(1)].1.clone();
                }
                assert!(ends[other].open(&frame, &mut cell).is_ok() && cell == [fill; CELL_LEN]);
                ways[way].opened += 1;
            }
            3 => {
                let Some((_, mut frame)) = next else { continue };
                script.change(&mut frame[..]);
                assert!(ends[other].open(&frame, &mut cell).is_err());
            }
            // Any frame of either way but the one that is next.
            4 => {
                let (of, count) = (usize::from(script.byte() & 1), ways.iter().map(|way| way.frames.len()).max());
                let at = script.below(count.unwrap_or(0).max(1));
                let Some((_, frame)) = ways[of].frames.get(at).filter(|_| of != way || at != ways[of].opened) else {
                    continue;
                };
                assert!(ends[other].open(frame, &mut cell).is_err());
            }
            5 => assert!(ends[other].open(&[script.byte(); FRAME_LEN], &mut cell).is_err()),
            _ => (0..=script.byte() >> 3).for_each(|_| hop.step(op >> 4)),
        }
    }
    hop.misbehave(u32::from(script.u16()));
}
