//! Cells on their way to one peer: control first, then the circuits in turn. It must not know frames or keys.
//!
//! Source: spec/link.md §6.

use std::collections::{BTreeMap, VecDeque};

use crate::limits::LINK_QUEUE_CELLS_MAX;
use crate::wire::cell::{Cell, CircuitId, Command};

/// The queue holds [`LINK_QUEUE_CELLS_MAX`] cells: the peer does not read, and the link must end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the peer does not take its cells")]
pub struct Full;

/// Cells that wait; they are sealed only when they are written, so that order may still change.
///
/// Invariant: `ring` holds each circuit of `circuits` once, and no queue in `circuits` is empty.
#[derive(Default, Debug)]
pub struct Outbox {
    control: VecDeque<Cell>,
    circuits: BTreeMap<CircuitId, VecDeque<Cell>>,
    ring: VecDeque<CircuitId>,
    len: usize,
}

impl Outbox {
    /// An empty queue.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Queues one cell. A destroy throws out what its circuit still has in turn, and goes before everything but control.
    ///
    /// # Errors
    /// [`Full`] at the cap; the cell is not taken.
    pub fn push(&mut self, cell: Cell) -> Result<(), Full> {
        let circuit = cell.circuit();
        if cell.command() == Command::Destroy {
            self.forget(circuit);
        }
        if self.len >= LINK_QUEUE_CELLS_MAX {
            return Err(Full);
        }
        self.len += 1;
        if self.goes_first(&cell) {
            self.control.push_back(cell);
            return Ok(());
        }
        let queue = self.circuits.entry(circuit).or_default();
        if queue.is_empty() {
            self.ring.push_back(circuit);
        }
        queue.push_back(cell);
        Ok(())
    }

    /// The next cell to be sealed and written.
    pub fn pop(&mut self) -> Option<Cell> {
        let cell = self.control.pop_front().or_else(|| self.pop_in_turn())?;
        self.len -= 1;
        Some(cell)
    }

    /// Cells waiting.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    fn goes_first(&self, cell: &Cell) -> bool {
        match cell.command() {
            Command::Destroy | Command::Credit | Command::Hello | Command::Padding => true,
            // Only when nothing of the circuit waits in turn, or it would overtake its own circuit.
            Command::Build | Command::Reply0 => !self.circuits.contains_key(&cell.circuit()),
            Command::Forward | Command::Backward | Command::Ask | Command::Answer => false,
        }
    }

    fn pop_in_turn(&mut self) -> Option<Cell> {
        let circuit = self.ring.pop_front()?;
        let queue = self.circuits.get_mut(&circuit)?;
        let cell = queue.pop_front();
        if queue.is_empty() {
            self.circuits.remove(&circuit);
        } else {
            self.ring.push_back(circuit);
        }
        cell
    }

    fn forget(&mut self, circuit: CircuitId) {
        if let Some(queue) = self.circuits.remove(&circuit) {
            self.len -= queue.len();
            self.ring.retain(|waiting| *waiting != circuit);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn cell(circuit: u32, command: Command, mark: u8) -> Cell {
        let mut cell = Cell::new(CircuitId(circuit), command);
        cell.body_mut()[0] = mark;
        cell
    }

    fn drain(outbox: &mut Outbox) -> Vec<(u32, Command, u8)> {
        core::iter::from_fn(|| outbox.pop()).map(|cell| (cell.circuit().0, cell.command(), cell.body()[0])).collect()
    }

    // [LINK-W-043]
    #[test]
    fn control_and_first_replies_go_first_then_circuits_take_turns() {
        let mut outbox = Outbox::new();
        for (circuit, command, mark) in [
            (1, Command::Forward, 1),
            (1, Command::Forward, 2),
            (1, Command::Forward, 3),
            (2, Command::Answer, 4),
            (3, Command::Backward, 5),
            (2, Command::Answer, 6),
            (4, Command::Reply0, 7),
            (1, Command::Credit, 8),
            (5, Command::Build, 9),
        ] {
            outbox.push(cell(circuit, command, mark)).unwrap();
        }
        let marks: Vec<u8> = drain(&mut outbox).into_iter().map(|(_, _, mark)| mark).collect();
        assert_eq!(marks, [7, 8, 9, 1, 4, 5, 2, 6, 3]);
        assert!(outbox.is_empty());
    }

    // [LINK-W-044]
    #[test]
    fn a_destroy_goes_and_takes_its_circuits_waiting_cells_away() {
        let mut outbox = Outbox::new();
        for (circuit, command) in [
            (1, Command::Build),
            (1, Command::Forward),
            (2, Command::Forward),
            (1, Command::Forward),
            (1, Command::Destroy),
            (2, Command::Forward),
        ] {
            outbox.push(cell(circuit, command, 0)).unwrap();
        }
        assert_eq!(outbox.len(), 4);
        let sent: Vec<_> = drain(&mut outbox).into_iter().map(|(circuit, command, _)| (circuit, command)).collect();
        let expected = [(1, Command::Build), (1, Command::Destroy), (2, Command::Forward), (2, Command::Forward)];
        assert_eq!(sent, expected);
    }

    // [LINK-R-045]
    #[test]
    fn the_cap_is_reached_and_then_every_push_is_refused_until_one_cell_left() {
        let mut outbox = Outbox::new();
        for at in 0..LINK_QUEUE_CELLS_MAX {
            outbox.push(cell(u32::try_from(at % 7).unwrap() + 1, Command::Forward, 0)).unwrap();
        }
        assert_eq!(outbox.push(cell(9, Command::Credit, 0)), Err(Full));
        assert_eq!(outbox.push(cell(1, Command::Forward, 0)), Err(Full));
        assert_eq!(outbox.len(), LINK_QUEUE_CELLS_MAX);
        assert!(outbox.pop().is_some());
        assert_eq!(outbox.push(cell(1, Command::Forward, 0)), Ok(()));
    }

    #[test]
    fn a_destroy_finds_room_in_what_it_throws_out() {
        let mut outbox = Outbox::new();
        for _ in 0..LINK_QUEUE_CELLS_MAX {
            outbox.push(cell(1, Command::Forward, 0)).unwrap();
        }
        assert_eq!(outbox.push(cell(1, Command::Destroy, 0)), Ok(()));
        assert_eq!(outbox.len(), 1);
    }

    proptest! {
        // [CELL-W-009]
        #[test]
        fn order_within_a_circuit_is_kept_and_nothing_is_lost(
            pushes in proptest::collection::vec((1_u32..5, 0_usize..6, any::<bool>()), 0..200),
        ) {
            let commands = [
                Command::Build, Command::Reply0, Command::Forward, Command::Backward, Command::Ask, Command::Answer,
            ];
            let (mut outbox, mut sent, mut number) = (Outbox::new(), Vec::new(), 0_u32);
            let take = |outbox: &mut Outbox, sent: &mut Vec<(u32, u32)>| {
                sent.extend(outbox.pop().map(|cell| {
                    (cell.circuit().0, u32::from_be_bytes(*cell.body().first_chunk().unwrap()))
                }));
            };
            for (circuit, command, pop) in &pushes {
                let mut cell = Cell::new(CircuitId(*circuit), commands[*command]);
                *cell.body_mut().first_chunk_mut().unwrap() = number.to_be_bytes();
                number += 1;
                outbox.push(cell).unwrap();
                if *pop {
                    take(&mut outbox, &mut sent);
                }
            }
            while !outbox.is_empty() {
                take(&mut outbox, &mut sent);
            }
            prop_assert_eq!(sent.len(), pushes.len());
            for circuit in 1..5 {
                let numbers: Vec<u32> = sent.iter().filter(|(of, _)| *of == circuit).map(|(_, n)| *n).collect();
                prop_assert!(numbers.is_sorted());
            }
        }

        // [LINK-W-043]
        #[test]
        fn while_all_have_cells_no_circuit_is_a_turn_ahead_of_another(counts in proptest::collection::vec(1_usize..40, 2..8)) {
            let mut outbox = Outbox::new();
            for (circuit, count) in counts.iter().enumerate() {
                for _ in 0..*count {
                    outbox.push(cell(u32::try_from(circuit).unwrap() + 1, Command::Forward, 0)).unwrap();
                }
            }
            let shortest = *counts.iter().min().unwrap();
            let sent = drain(&mut outbox);
            for turn in sent.chunks(counts.len()).take(shortest) {
                let mut circuits: Vec<u32> = turn.iter().map(|(circuit, _, _)| *circuit).collect();
                circuits.sort_unstable();
                circuits.dedup();
                prop_assert_eq!(circuits.len(), counts.len());
            }
        }
    }
}
