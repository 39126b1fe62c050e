//! The circuits that pass through a relay: who is on either side, credits, queues. Keys are the onion's matter.
//! Source: spec/link.md §6, spec/onion.md §5.

use std::collections::{BTreeMap, BTreeSet};

use super::io::LinkId;
use super::sizes::TableSize;
use crate::keyspace::Id;
use crate::limits::{CELL_LEN, CIRCUIT_AGE_MAX, CIRCUIT_IDLE_MAX, CIRCUITS_MAX, QUEUED_BYTES_MAX};
use crate::link::flow::{Overrun, Receiving, Sending};
use crate::onion::{ExitHop, MiddleHop};
use crate::time::Instant;
use crate::wire::cell::{Cell, CircuitId};

/// One end of a circuit: a number on a link.
pub(super) type End = (LinkId, CircuitId);

/// A circuit of this relay, whatever its numbers on links.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct CircuitNo(pub(super) u64);

/// Which neighbour.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Side {
    /// Towards the client.
    Inward,
    /// Towards the exit.
    Outward,
}

/// What this relay is on a circuit, as far as it knows yet.
pub(super) enum Stage {
    /// The build packet is being opened.
    Opening,
    /// The next link is being dialled; the cell waits.
    Dialling {
        /// Where to.
        link: LinkId,
        /// Who must be there.
        next: Id,
        /// The next cell, but for its number.
        cell: Cell,
        /// This relay's layer.
        hop: MiddleHop,
    },
    /// Cells are passed on.
    Middle(MiddleHop),
    /// The request is worked on here.
    Exit(ExitHop),
}

/// One circuit.
pub(super) struct Circuit {
    pub(super) inward: End,
    pub(super) outward: Option<End>,
    pub(super) stage: Stage,
    /// Whether reply 0 has passed: no forward cell before it.
    pub(super) replied: bool,
    pub(super) to_client: Sending,
    pub(super) from_client: Receiving,
    pub(super) to_exit: Sending,
    pub(super) from_exit: Receiving,
    /// When its build packet came.
    pub(super) born: Instant,
    used: Instant,
}

/// All circuits.
#[derive(Default)]
pub(super) struct Circuits {
    all: BTreeMap<CircuitNo, Circuit>,
    by_end: BTreeMap<End, (CircuitNo, Side)>,
    /// Circuits whose next hop is being dialled over a link.
    waiting: BTreeSet<(LinkId, CircuitNo)>,
    next: u64,
    queued_cells: usize,
}

/// Cells that may leave now, in order, each with its link.
pub(super) type Sends = Vec<(LinkId, Cell)>;

impl Circuits {
    /// Notes a circuit whose build packet came; `None` when there are too many.
    pub(super) fn open(&mut self, now: Instant, inward: End) -> Option<CircuitNo> {
        if self.all.len() >= CIRCUITS_MAX {
            return None;
        }
        self.next += 1;
        let no = CircuitNo(self.next);
        let circuit = Circuit {
            inward,
            outward: None,
            stage: Stage::Opening,
            replied: false,
            to_client: Sending::default(),
            from_client: Receiving::default(),
            to_exit: Sending::default(),
            from_exit: Receiving::default(),
            born: now,
            used: now,
        };
        self.all.insert(no, circuit);
        self.by_end.insert(inward, (no, Side::Inward));
        Some(no)
    }

    pub(super) fn sizes(&self) -> [TableSize; 4] {
        [
            ("circuits", self.all.len(), CIRCUITS_MAX),
            ("ends of circuits", self.by_end.len(), 2 * self.all.len()),
            ("circuits that wait", self.waiting.len(), self.all.len()),
            ("bytes of queued cells", self.queued_cells * CELL_LEN, QUEUED_BYTES_MAX),
        ]
    }

    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    pub(super) fn get_mut(&mut self, no: CircuitNo) -> Option<&mut Circuit> {
        self.all.get_mut(&no)
    }

    /// The circuit of this end, if there is one; it counts as used.
    pub(super) fn at(&mut self, now: Instant, end: End) -> Option<(CircuitNo, Side, &mut Circuit)> {
        let (no, side) = *self.by_end.get(&end)?;
        let circuit = self.all.get_mut(&no)?;
        circuit.used = now;
        Some((no, side, circuit))
    }

    /// Lets a circuit wait for the link to its next hop.
    pub(super) fn wait(&mut self, no: CircuitNo, link: LinkId, next: Id, cell: Cell, hop: MiddleHop) {
        if let Some(circuit) = self.all.get_mut(&no) {
            circuit.stage = Stage::Dialling { link, next, cell, hop };
            self.waiting.insert((link, no));
        }
    }

    /// Joins the next hop's end.
    pub(super) fn join(&mut self, no: CircuitNo, outward: End) {
        if let Some(circuit) = self.all.get_mut(&no) {
            circuit.outward = Some(outward);
            self.by_end.insert(outward, (no, Side::Outward));
        }
    }

    /// Queues a cell towards one side; what may leave now comes back.
    pub(super) fn push(&mut self, no: CircuitNo, side: Side, cell: Cell) -> Sends {
        let Some(circuit) = self.all.get_mut(&no) else { return Sends::new() };
        match side {
            Side::Inward => circuit.to_client.push(cell),
            Side::Outward => circuit.to_exit.push(cell),
        }
        self.queued_cells += 1;
        self.pump(no)
    }

    /// Takes credits that came from one side.
    pub(super) fn grant(&mut self, no: CircuitNo, side: Side, count: u32) -> Result<Sends, Overrun> {
        let Some(circuit) = self.all.get_mut(&no) else { return Ok(Sends::new()) };
        match side {
            Side::Inward => circuit.to_client.grant(count)?,
            Side::Outward => circuit.to_exit.grant(count)?,
        }
        Ok(self.pump(no))
    }

    fn pump(&mut self, no: CircuitNo) -> Sends {
        let mut sends = Sends::new();
        let Some(circuit) = self.all.get_mut(&no) else { return sends };
        let is_middle = matches!(circuit.stage, Stage::Middle(_));
        while let Some(cell) = circuit.to_client.pop() {
            self.queued_cells = self.queued_cells.saturating_sub(1);
            sends.push((circuit.inward.0, cell));
            // Only what was passed on is granted again; what an exit makes itself was granted by nobody.
            let granted = if is_middle { circuit.from_exit.pass() } else { None };
            if let (Some(count), Some((link, number))) = (granted, circuit.outward) {
                sends.push((link, Cell::credit(number, count)));
            }
        }
        let Some((link, _)) = circuit.outward else { return sends };
        while let Some(cell) = circuit.to_exit.pop() {
            self.queued_cells = self.queued_cells.saturating_sub(1);
            sends.push((link, cell));
            if let Some(count) = circuit.from_client.pass() {
                sends.push((circuit.inward.0, Cell::credit(circuit.inward.1, count)));
            }
        }
        sends
    }

    /// Removes a circuit; gives it back so that its ends can be told.
    pub(super) fn remove(&mut self, no: CircuitNo) -> Option<Circuit> {
        let circuit = self.all.remove(&no)?;
        self.queued_cells -= circuit.to_client.queued() + circuit.to_exit.queued();
        self.by_end.remove(&circuit.inward);
        if let Some(outward) = circuit.outward {
            self.by_end.remove(&outward);
        }
        if let Stage::Dialling { link, .. } = &circuit.stage {
            self.waiting.remove(&(*link, no));
        }
        Some(circuit)
    }

    /// Circuits that a dead link carries, or that wait for it.
    pub(super) fn on_link(&mut self, link: LinkId) -> Vec<CircuitNo> {
        let range = (link, CircuitId(0))..=(link, CircuitId(u32::MAX));
        let mut found: Vec<CircuitNo> = self.by_end.range(range).map(|(_, (no, _))| *no).collect();
        found.extend(self.take_waiting(link));
        found
    }

    /// Circuits whose next hop is being dialled over this link; they wait no more, for it is up or down.
    pub(super) fn take_waiting(&mut self, link: LinkId) -> Vec<CircuitNo> {
        let range = (link, CircuitNo(0))..=(link, CircuitNo(u64::MAX));
        self.waiting.extract_if(range, |_| true).map(|(_, no)| no).collect()
    }

    /// Circuits on which nothing happened for too long, or that are too old.
    pub(super) fn stale(&self, now: Instant) -> Vec<CircuitNo> {
        let is_stale = |circuit: &Circuit| {
            circuit.used.until(now) >= CIRCUIT_IDLE_MAX || circuit.born.until(now) >= CIRCUIT_AGE_MAX
        };
        self.all.iter().filter(|(_, circuit)| is_stale(circuit)).map(|(no, _)| *no).collect()
    }

    /// When more waits than a node may hold: the circuit that holds most of it.
    pub(super) fn largest_if_over_cap(&self) -> Option<CircuitNo> {
        if self.queued_cells * CELL_LEN <= QUEUED_BYTES_MAX {
            return None;
        }
        let queued = |circuit: &Circuit| circuit.to_client.queued() + circuit.to_exit.queued();
        self.all.iter().max_by_key(|(_, circuit)| queued(circuit)).map(|(no, _)| *no)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::CREDIT_START;
    use crate::wire::cell::Command;

    const END: End = (LinkId(1), CircuitId(1));

    // [LINK-R-050]
    #[test]
    fn a_node_that_holds_too_many_cells_gives_up_its_largest_circuit_and_counts_right_after() {
        let mut circuits = Circuits::default();
        let small = circuits.open(Instant::ZERO, (LinkId(1), CircuitId(2))).unwrap();
        let large = circuits.open(Instant::ZERO, END).unwrap();
        let cap = QUEUED_BYTES_MAX / CELL_LEN;
        let started = usize::try_from(CREDIT_START).unwrap();
        circuits.push(small, Side::Inward, Cell::new(CircuitId(2), Command::Backward));
        for _ in 0..cap + started {
            assert_eq!(circuits.largest_if_over_cap(), None);
            circuits.push(large, Side::Inward, Cell::new(CircuitId(1), Command::Backward));
        }
        circuits.push(large, Side::Inward, Cell::new(CircuitId(1), Command::Backward));
        assert_eq!(circuits.largest_if_over_cap(), Some(large));
        circuits.remove(large);
        assert_eq!(circuits.queued_cells, 0);
    }

    #[test]
    fn circuits_are_capped_and_leave_when_idle_or_old() {
        let mut circuits = Circuits::default();
        let no = circuits.open(Instant::ZERO, END).unwrap();
        assert!(circuits.stale(Instant::from_micros(59_999_999)).is_empty());
        assert_eq!(circuits.stale(Instant::ZERO + CIRCUIT_IDLE_MAX), vec![no]);
        for number in 2..=CIRCUITS_MAX {
            let number = CircuitId(u32::try_from(number).unwrap());
            assert!(circuits.open(Instant::ZERO, (LinkId(1), number)).is_some());
        }
        assert!(circuits.open(Instant::ZERO, (LinkId(2), CircuitId(1))).is_none());
    }
}
