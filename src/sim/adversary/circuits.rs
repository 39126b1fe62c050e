//! What bad relays do to circuits, as far as they can tell who is next to them. It must not know values.

use std::collections::BTreeSet;
use std::rc::Rc;

use super::Ring;
use super::ear::Neighbours;
use crate::crypto::keys::DhKey;
use crate::node::Sight;
use crate::node::io::{Input, LinkId, Output};
use crate::sim::world::{Mask, Neighbour};
use crate::time::Now;
use crate::wire::cell::{Cell, CircuitId, Command};

/// What a relay is on the circuits that it passes on and answers.
#[derive(Default)]
pub(super) struct Roles {
    neighbours: Neighbours,
    /// Who is on either side of the circuit that is passed on next.
    passed: Option<(DhKey, DhKey)>,
    /// Whether the last thing heard was a first reply, which is then passed on.
    heard_reply: bool,
    /// Answers of its own as an exit.
    own: BTreeSet<(LinkId, CircuitId)>,
}

/// What a relay is for a cell that it says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Role {
    /// A build packet from a client to the next hop: this relay is the guard.
    Guard { to: DhKey },
    /// A build packet from a relay to the next hop: this relay is in the middle.
    Middle { from: DhKey, to: DhKey },
    /// The first cell of this relay's own answer as an exit, or another one.
    Exit { to: Option<DhKey>, first: bool },
}

impl Roles {
    pub(super) fn meet(&mut self, link: LinkId, neighbour: Neighbour) {
        self.neighbours.meet(link, neighbour);
    }

    pub(super) fn part(&mut self, link: LinkId) {
        self.neighbours.part(link);
        self.own.retain(|(of, _)| *of != link);
    }

    pub(super) fn hear(&mut self, input: &Input) {
        let Input::Cell { link, cell } = input else {
            self.heard_reply = false;
            return;
        };
        self.heard_reply = cell.command() == Command::Reply0;
        if cell.command() == Command::Destroy {
            self.own.remove(&(*link, cell.circuit()));
        }
    }

    pub(super) fn see(&mut self, sight: &Sight) {
        if let Sight::Passed { from, to, .. } = sight {
            self.passed = Some((*from, *to));
        }
    }

    /// What this relay is for a cell that it says, if it is a build packet, or an answer of its own.
    pub(super) fn role(&mut self, output: &Output) -> Option<Role> {
        let Output::Send { link, cell } = output else { return None };
        let end = (*link, cell.circuit());
        match cell.command() {
            Command::Build => {
                // It is told of right before it is sent.
                let (from, to) = self.passed.take()?;
                let from_relay = self.neighbours.has_relay(&from);
                Some(if from_relay { Role::Middle { from, to } } else { Role::Guard { to } })
            }
            Command::Reply0 if !self.heard_reply => {
                self.own.insert(end);
                Some(Role::Exit { to: self.neighbours.at(*link).map(|one| one.link_key), first: true })
            }
            Command::Backward if self.own.contains(&end) => {
                Some(Role::Exit { to: self.neighbours.at(*link).map(|one| one.link_key), first: false })
            }
            Command::Destroy => {
                self.own.remove(&end);
                None
            }
            _ => None,
        }
    }
}

/// The same cell, so that whoever opens it ends the circuit.
pub(super) fn spoilt(output: Output) -> Output {
    match output {
        Output::Send { link, mut cell } => {
            cell.body_mut().iter_mut().take(64).for_each(|byte| *byte ^= 0xff);
            Output::Send { link, cell }
        }
        output => output,
    }
}

/// The end of the circuit of this cell.
pub(super) fn ended(output: Output) -> Output {
    match output {
        Output::Send { link, cell } => Output::Send { link, cell: Cell::new(cell.circuit(), Command::Destroy) },
        output => output,
    }
}

/// As a middle it sends no build packet on, as an exit no answer; as a guard it does what it should.
#[derive(Default)]
pub(super) struct Drop {
    roles: Roles,
}

impl Mask for Drop {
    fn meet(&mut self, link: LinkId, neighbour: Neighbour) {
        self.roles.meet(link, neighbour);
    }

    fn part(&mut self, link: LinkId) {
        self.roles.part(link);
    }

    fn hear(&mut self, _now: Now, input: Input, heard: &mut Vec<Input>) {
        self.roles.hear(&input);
        heard.push(input);
    }

    fn see(&mut self, sight: &Sight) {
        self.roles.see(sight);
    }

    fn say(&mut self, _now: Now, output: Output, said: &mut Vec<Output>) {
        match self.roles.role(&output) {
            None | Some(Role::Guard { .. }) => said.push(output),
            Some(Role::Middle { .. } | Role::Exit { .. }) => (),
        }
    }
}

/// Ends every circuit that no colluder is next to: a guard those whose second hop is none, others those with none on either side.
pub(super) struct Selective {
    ring: Rc<Ring>,
    roles: Roles,
}

impl Selective {
    pub(super) fn of(ring: Rc<Ring>) -> Self {
        Self { ring, roles: Roles::default() }
    }
}

impl Mask for Selective {
    fn meet(&mut self, link: LinkId, neighbour: Neighbour) {
        self.roles.meet(link, neighbour);
    }

    fn part(&mut self, link: LinkId) {
        self.roles.part(link);
    }

    fn hear(&mut self, _now: Now, input: Input, heard: &mut Vec<Input>) {
        self.roles.hear(&input);
        heard.push(input);
    }

    fn see(&mut self, sight: &Sight) {
        self.roles.see(sight);
    }

    fn say(&mut self, _now: Now, output: Output, said: &mut Vec<Output>) {
        let is_own = |key: &DhKey| self.ring.has_link(key);
        match self.roles.role(&output) {
            Some(Role::Guard { to }) if !is_own(&to) => said.push(spoilt(output)),
            Some(Role::Middle { from, to }) if !is_own(&from) && !is_own(&to) => said.push(spoilt(output)),
            Some(Role::Exit { to, first }) if !to.is_some_and(|to| is_own(&to)) => {
                if first {
                    said.push(ended(output));
                }
            }
            _ => said.push(output),
        }
    }
}
