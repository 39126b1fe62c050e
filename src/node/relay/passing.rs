//! Circuits that pass through: build packets in, cells on, credits back, teardown. Source: spec/onion.md §3 to §6.

use super::{Pending, Relay, circuits_max};
use crate::keyspace::Id;
use crate::limits::NOT_REACHED_AT_ONCE_MAX;
use crate::node::circuits::{CircuitNo, Sends, Side, Stage};
use crate::node::io::LinkId;
use crate::node::links::Reach;
use crate::node::sight::Sight;
use crate::node::work::Job;
use crate::onion::{MiddleHop, Peeled, Role};
use crate::time::Now;
use crate::wire::cell::{Cell, Command};

impl Relay {
    pub(super) fn on_build(&mut self, now: Now, link: LinkId, cell: Cell) {
        let circuit = cell.circuit();
        let is_allowed = self.links.take_build(now.instant, link);
        // Whoever builds under a number has no circuit there any more: it ends here, too. Its Destroy is the answer.
        if let Some((no, side, _)) = self.circuits.at(now.instant, (link, circuit)) {
            return match side {
                Side::Outward => self.end_outward(no),
                Side::Inward => self.kill_circuit(no),
            };
        }
        let taken = self.takes_circuits()
            && is_allowed
            && self.links.accept_circuit(now.instant, link, circuit, circuits_max());
        if !taken {
            return self.effects.destroy(link, circuit);
        }
        let secrets = self.onion.secrets(cell.suite(), cell.hint());
        match self.circuits.open(now.instant, (link, circuit)) {
            Some(no) => self.work(Pending::Peel(no), Job::Peel { secrets, body: Box::new(*cell.body()) }),
            None => {
                self.links.close_circuit(link, circuit);
                self.effects.destroy(link, circuit);
            }
        }
    }

    pub(super) fn on_peeled(&mut self, now: Now, no: CircuitNo, peeled: Option<Box<Peeled>>) {
        let Some(peeled) = peeled else { return self.kill_circuit(no) };
        if self.circuits.get_mut(no).is_none() {
            return;
        }
        if self.replay.take(peeled.replay_tag, peeled.time, now.unix).is_err() {
            return self.kill_circuit(no);
        }
        match peeled.role {
            Role::Middle { next, suite, hint, body, hop } => {
                // No address is ever taken from a packet: an unknown next hop ends the circuit.
                // Nor does it go back where it came from: nesting would let one client load a link many times over.
                let came_from = self.circuits.get_mut(no).and_then(|circuit| self.links.peer(circuit.inward.0));
                let back = came_from.and_then(|peer| peer.descriptor.as_ref()).is_some_and(|one| one.id() == next);
                let known = self.members.by_id(&next).filter(|_| !back && next != self.descriptor.id());
                let Some((link_key, address)) = known.map(|known| (known.link_key, known.address)) else {
                    return self.end_unreached(no, hop);
                };
                let cell = Cell::build(crate::wire::cell::CircuitId(0), suite, hint, *body);
                let (reach, dial) = self.links.reach(now.instant, link_key, address);
                dial.into_iter().for_each(|dial| self.effects.io(dial));
                match reach {
                    Reach::Up(link) => self.extend_circuit(now, no, (link, next), cell, hop),
                    Reach::Dialling(link) => self.circuits.wait(no, link, next, cell, hop),
                    Reach::Refused => self.end_unreached(no, hop),
                }
            }
            Role::Exit { request, hop } => {
                if let Some(circuit) = self.circuits.get_mut(no) {
                    circuit.stage = Stage::Exit(hop);
                    self.start_exit(now, no, &request);
                }
            }
        }
    }

    fn extend_circuit(&mut self, now: Now, no: CircuitNo, (link, next): (LinkId, Id), cell: Cell, hop: MiddleHop) {
        let is_meant =
            self.links.peer(link).and_then(|peer| peer.descriptor.as_ref()).is_some_and(|one| one.id() == next);
        if !is_meant {
            // It names the link key of somebody else, who has just proven to be there.
            self.members.forget(&next);
            return self.end_unreached(no, hop);
        }
        let number = self.links.open_circuit(now.instant, link, &mut self.rng);
        let (Some(number), Some(circuit)) = (number, self.circuits.get_mut(no)) else {
            return self.end_unreached(no, hop);
        };
        circuit.stage = Stage::Middle(hop);
        let ((inward, inward_number), came) = (circuit.inward, circuit.born);
        self.circuits.join(no, (link, number));
        if let (Some(from), Some(to)) = (self.links.peer(inward), self.links.peer(link)) {
            let (from, to) = (from.link_key, to.link_key);
            self.effects.sight(|| Sight::Passed { from, to, inward: inward_number, outward: number, came });
        }
        self.links.silence.used(now.instant, link);
        self.effects.send(link, cell.on_circuit(number));
    }

    pub(super) fn resume_circuits(&mut self, now: Now, link: LinkId) {
        for no in self.circuits.take_waiting(link) {
            let Some(circuit) = self.circuits.get_mut(no) else { continue };
            if let Stage::Dialling { next, cell, hop, .. } = core::mem::replace(&mut circuit.stage, Stage::Opening) {
                self.extend_circuit(now, no, (link, next), cell, hop);
            }
        }
    }

    pub(super) fn on_backward(&mut self, now: Now, link: LinkId, cell: Cell) {
        let Some((no, Side::Outward, circuit)) = self.circuits.at(now.instant, (link, cell.circuit())) else { return };
        let is_reply0 = cell.command() == Command::Reply0;
        let in_order = is_reply0 != circuit.replied && circuit.from_exit.receive().is_ok();
        let wrapped = match &mut circuit.stage {
            Stage::Middle(hop) if in_order && is_reply0 => hop.wrap_reply0(cell.body()).ok(),
            Stage::Middle(hop) if in_order => hop.wrap_backward(cell.body()).ok(),
            _ => None,
        };
        let Some(body) = wrapped else { return self.end_outward(no) };
        circuit.replied = true;
        let mut out = cell.on_circuit(circuit.inward.1);
        *out.body_mut() = body;
        let sends = self.circuits.push(no, Side::Inward, out);
        self.send_all(sends);
        self.shed();
    }

    pub(super) fn on_forward(&mut self, now: Now, link: LinkId, cell: Cell) {
        let Some((no, Side::Inward, circuit)) = self.circuits.at(now.instant, (link, cell.circuit())) else { return };
        if !circuit.replied || circuit.from_client.receive().is_err() {
            return self.kill_circuit(no);
        }
        match &mut circuit.stage {
            Stage::Middle(hop) => {
                let Some((body, number)) = hop.peel_forward(cell.body()).ok().zip(circuit.outward.map(|end| end.1))
                else {
                    return self.kill_circuit(no);
                };
                let mut out = cell.on_circuit(number);
                *out.body_mut() = body;
                let sends = self.circuits.push(no, Side::Outward, out);
                self.send_all(sends);
                self.shed();
            }
            Stage::Exit(hop) => {
                let Ok(data) = hop.open_forward(cell.body()) else { return self.kill_circuit(no) };
                if let Some(count) = circuit.from_client.pass() {
                    let (link, number) = circuit.inward;
                    self.effects.send(link, Cell::credit(number, count));
                }
                self.on_exit_data(now, no, &data);
            }
            Stage::Opening | Stage::Dialling { .. } => self.kill_circuit(no),
        }
    }

    pub(super) fn on_credit(&mut self, now: Now, link: LinkId, cell: &Cell) {
        let Some((no, side, _)) = self.circuits.at(now.instant, (link, cell.circuit())) else { return };
        let sends = cell.credit_count().ok().and_then(|count| self.circuits.grant(no, side, count).ok());
        match sends {
            Some(sends) => self.send_all(sends),
            None if side == Side::Outward => self.end_outward(no),
            None => self.kill_circuit(no),
        }
    }

    pub(super) fn on_destroy(&mut self, now: Now, link: LinkId, cell: &Cell) {
        let Some((no, side, _)) = self.circuits.at(now.instant, (link, cell.circuit())) else { return };
        // Whoever ended it is not told of its end.
        self.links.close_circuit(link, cell.circuit());
        match side {
            Side::Outward => self.end_outward(no),
            Side::Inward => self.kill_circuit(no),
        }
    }

    /// A link ended, or was not to be had. Thousands of circuits may have been on it, and come over one other link: only so many of
    /// their clients are told that they got as far as here.
    pub(super) fn end_on_link(&mut self, link: LinkId) {
        let mut told = 0;
        for no in self.circuits.on_link(link) {
            match self.circuits.get_mut(no) {
                Some(circuit) if circuit.inward.0 != link && told < NOT_REACHED_AT_ONCE_MAX => {
                    told += 1;
                    self.end_outward(no);
                }
                _ => self.kill_circuit(no),
            }
        }
    }

    /// A circuit ended on the exit's side, or never came that far.
    fn end_outward(&mut self, no: CircuitNo) {
        let Some(circuit) = self.circuits.get_mut(no) else { return };
        match core::mem::replace(&mut circuit.stage, Stage::Opening) {
            Stage::Middle(hop) | Stage::Dialling { hop, .. } if !circuit.replied => self.end_unreached(no, hop),
            _ => self.kill_circuit(no),
        }
    }

    /// Ends a circuit that got no further than here: the client is told that it got here.
    fn end_unreached(&mut self, no: CircuitNo, hop: MiddleHop) {
        let inward = self.circuits.get_mut(no).map(|circuit| circuit.inward);
        if let Some(((link, number), body)) = inward.zip(hop.not_reached().ok()) {
            let mut cell = Cell::new(number, Command::Reply0);
            *cell.body_mut() = body;
            self.effects.send(link, cell);
        }
        self.kill_circuit(no);
    }

    /// Queues what an exit says; it leaves as credits allow.
    pub(super) fn send_backward(&mut self, no: CircuitNo, command: Command, data: &[u8]) {
        let Some(circuit) = self.circuits.get_mut(no) else { return };
        let body = match &mut circuit.stage {
            Stage::Exit(hop) if command == Command::Reply0 => hop.seal_reply0(data),
            Stage::Exit(hop) => hop.seal_backward(data),
            _ => return,
        };
        let Ok(body) = body else { return self.kill_circuit(no) };
        circuit.replied = true;
        let mut cell = Cell::new(circuit.inward.1, command);
        *cell.body_mut() = body;
        let sends = self.circuits.push(no, Side::Inward, cell);
        self.send_all(sends);
        self.shed();
    }

    fn send_all(&mut self, sends: Sends) {
        sends.into_iter().for_each(|(link, cell)| self.effects.send(link, cell));
    }

    /// Over the cap of queued cells, the largest circuit dies.
    fn shed(&mut self) {
        while let Some(no) = self.circuits.largest_if_over_cap() {
            self.kill_circuit(no);
        }
    }

    /// Ends a circuit on both sides, without a reason.
    pub(super) fn kill_circuit(&mut self, no: CircuitNo) {
        let Some(circuit) = self.circuits.remove(no) else { return };
        self.exits.remove(&no);
        self.errands.remove_of(no);
        for (link, number) in core::iter::once(circuit.inward).chain(circuit.outward) {
            if self.links.close_circuit(link, number) {
                self.effects.destroy(link, number);
            }
        }
    }
}
