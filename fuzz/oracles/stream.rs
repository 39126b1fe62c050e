//! Bytes of a socket, cut anywhere: the same frames come out in the same order, and of their cells the same messages, however the stream
//! was cut and however the cells of several questions were mixed; no buffer grows beyond its cap.

use bauta::limits::{CELL_LEN, FRAME_LEN, FRAMES_PER_READ_MAX, FRAMES_PER_WRITE_MAX, MESSAGE_LEN_MAX};
use bauta::net::frame_buffer::{ReadBuffer, WriteBuffer};
use bauta::wire::cell::{Cell, CircuitId, Command};
use bauta::wire::message::{Assembler, cells_of};

use super::script::Script;

const QUESTIONS: usize = 4;
const STEPS_MAX: usize = 512;

/// Cells of a few messages, mixed as the script has it, each as a frame: in clear, for here nobody seals.
fn frames(script: &mut Script<'_>) -> (Vec<Vec<u8>>, Vec<[u8; FRAME_LEN]>) {
    let messages: Vec<Vec<u8>> = (0..=script.below(QUESTIONS))
        .map(|_| {
            let len = usize::from(script.u16()) % (3 * CELL_LEN);
            vec![script.byte(); len.min(MESSAGE_LEN_MAX)]
        })
        .collect();
    let number = |at: usize| CircuitId(1 + u32::try_from(at).expect("few"));
    let mut waiting: Vec<Vec<Cell>> = messages
        .iter()
        .enumerate()
        .map(|(at, message)| {
            let mut cells = cells_of(number(at), Command::Answer, message).expect("within the cap");
            cells.reverse();
            cells
        })
        .collect();
    let mut frames = Vec::new();
    while waiting.iter().any(|cells| !cells.is_empty()) {
        let at = script.below(waiting.len());
        let next = waiting[at].pop().or_else(|| waiting.iter_mut().find_map(Vec::pop)).expect("one waits");
        let (mut cell, mut frame) = ([0; CELL_LEN], [0; FRAME_LEN]);
        next.encode(&mut cell);
        frame[..CELL_LEN].copy_from_slice(&cell);
        frame[CELL_LEN..].fill(script.byte());
        frames.push(frame);
    }
    (messages, frames)
}

/// Checks one input. With `fault`, as it would be where a reader loses the last byte of a read that ends within a frame.
pub fn check(data: &[u8], fault: bool) {
    let mut script = Script::new(data);
    let (messages, frames) = frames(&mut script);
    let (mut writing, mut reading) = (WriteBuffer::default(), ReadBuffer::new());
    let (mut sent, mut came, mut wire): (usize, Vec<[u8; FRAME_LEN]>, Vec<u8>) = (0, Vec::new(), Vec::new());
    for _ in 0..STEPS_MAX {
        if came.len() == frames.len() {
            break;
        }
        writing.fill(|out| {
            let Some(next) = frames.get(sent) else { return false };
            (*out, sent) = (*next, sent + 1);
            true
        });
        assert!(writing.pending().len() <= FRAMES_PER_WRITE_MAX * FRAME_LEN);
        // What the socket takes of a write, and what it gives of a read.
        let taken = (1 + usize::from(script.u16())).min(writing.pending().len());
        wire.extend(&writing.pending()[..taken]);
        writing.written(taken);
        if script.byte() & 7 == 7 {
            writing.rest();
            reading.rest();
        }
        let room = reading.room();
        assert!(!room.is_empty() && room.len() <= FRAMES_PER_READ_MAX * FRAME_LEN);
        let given = (1 + usize::from(script.u16())).min(room.len()).min(wire.len());
        room[..given].copy_from_slice(&wire[..given]);
        wire.drain(..given);
        reading.filled(given - usize::from(fault && given % FRAME_LEN > 1));
        while let Some(frame) = reading.next_frame() {
            came.push(*frame);
        }
        assert!(frames.starts_with(&came));
    }
    let mut parts: Vec<Assembler> = messages.iter().map(|_| Assembler::default()).collect();
    let mut whole: Vec<Option<Vec<u8>>> = vec![None; messages.len()];
    for frame in &came {
        let cell = Cell::decode(frame.first_chunk().expect("a cell")).expect("as it was sent");
        let at = usize::try_from(cell.circuit().0).expect("few") - 1;
        if let Some(message) = parts[at].push(cell.body()).expect("as it was sent") {
            assert!(whole[at].replace(message).is_none());
        }
    }
    let is_all = came.len() == frames.len();
    for (message, whole) in messages.iter().zip(whole) {
        assert!(whole.as_ref().map_or(!is_all, |whole| whole == message));
    }
}
