//! Bugs that are planted to see whether a hunt finds them. It must not know hunts.

use crate::dht::store::{MemoryStore, StoreOp, StoreResult};
use crate::node::io::Output;
use crate::sim::stage::Stage;
use crate::sim::world::{Mask, NodeNo};
use crate::time::Now;
use crate::wire::cell::{Cell, Command};

/// A bug.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Planted {
    /// Relays acknowledge one value in ten and forget it.
    Forgets,
    /// Clients send a cell after each build.
    SpareCell,
    /// Who starts again begins with an empty disk.
    LosesDisk,
}

/// How many values a forgetful relay was given.
struct Forgetful(u32);

struct Wordy;

impl Planted {
    /// Puts it into a node that was just made.
    pub(super) fn into_relay(self, stage: &mut Stage<'_>, no: NodeNo) {
        if self == Self::Forgets {
            stage.world.mask(no, Box::new(Forgetful(no.0)));
        }
    }

    pub(super) fn into_client(self, stage: &mut Stage<'_>, no: NodeNo) {
        if self == Self::SpareCell {
            stage.world.mask(no, Box::new(Wordy));
        }
    }
}

impl Mask for Forgetful {
    fn store(&mut self, now: Now, op: StoreOp, store: &mut MemoryStore) -> StoreResult {
        if matches!(op, StoreOp::Put { .. }) {
            self.0 += 1;
            if self.0.is_multiple_of(10) {
                return MemoryStore::new(1, usize::MAX).apply(now.unix, op);
            }
        }
        store.apply(now.unix, op)
    }
}

impl Mask for Wordy {
    fn say(&mut self, _now: Now, output: Output, said: &mut Vec<Output>) {
        let spare = match &output {
            Output::Send { link, cell } if cell.command() == Command::Build => {
                Some(Output::Send { link: *link, cell: Cell::new(cell.circuit(), Command::Forward) })
            }
            _ => None,
        };
        said.push(output);
        said.extend(spare);
    }
}
