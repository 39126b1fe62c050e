//! The behaviours that hurt most, together in one relay: each where the others do nothing. It must not know how each is done.

use std::rc::Rc;

use super::Ring;
use super::circuits::{Role, Roles};
use super::storers::{Deny, Hide, LieClosest};
use crate::dht::store::{MemoryStore, StoreOp, StoreResult};
use crate::node::Sight;
use crate::node::io::{Input, LinkId, Output};
use crate::sim::world::{Mask, Neighbour};
use crate::time::Now;

/// A storer that denies and names colluders as the closest; an exit that hides who has a value; a middle that loses every circuit
/// which does not go on to a colluder.
pub(super) struct All {
    ring: Rc<Ring>,
    roles: Roles,
    lie: LieClosest,
    hide: Hide,
}

impl All {
    pub(super) fn of(ring: Rc<Ring>) -> Self {
        let (lie, hide) = (LieClosest::of(Rc::clone(&ring)), Hide::of(Rc::clone(&ring)));
        Self { ring, roles: Roles::default(), lie, hide }
    }
}

impl Mask for All {
    fn meet(&mut self, link: LinkId, neighbour: Neighbour) {
        self.roles.meet(link, neighbour);
        self.hide.meet(link, neighbour);
    }

    fn part(&mut self, link: LinkId) {
        self.roles.part(link);
        self.hide.part(link);
        self.lie.part(link);
    }

    fn hear(&mut self, now: Now, input: Input, heard: &mut Vec<Input>) {
        self.roles.hear(&input);
        let mut hidden = Vec::new();
        self.hide.hear(now, input, &mut hidden);
        hidden.into_iter().for_each(|input| self.lie.hear(now, input, heard));
    }

    fn see(&mut self, sight: &Sight) {
        self.roles.see(sight);
    }

    fn say(&mut self, now: Now, output: Output, said: &mut Vec<Output>) {
        let is_lost = match self.roles.role(&output) {
            Some(Role::Middle { to, .. }) => !self.ring.has_link(&to),
            _ => false,
        };
        if !is_lost {
            self.lie.say(now, output, said);
        }
    }

    fn store(&mut self, now: Now, op: StoreOp, store: &mut MemoryStore) -> StoreResult {
        Deny.store(now, op, store)
    }
}
