//! What stands between a bad relay and the world: it hears and says other things than it should. The relay inside is the real one.
//! It must not know other nodes but by what it shares with them.

use crate::crypto::keys::{DhKey, NodeKey};
use crate::dht::store::{MemoryStore, StoreOp, StoreResult};
use crate::node::Sight;
use crate::node::io::{Input, LinkId, Output};
use crate::time::Now;

/// Who is at the other end of a link.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Neighbour {
    /// The key that the handshake proved.
    pub link_key: DhKey,
    /// The relay, if it is one.
    pub relay: Option<NodeKey>,
}

/// A behaviour around a relay. Each default is an honest relay's.
pub trait Mask {
    /// A link is up, or was when the mask was put on.
    fn meet(&mut self, _link: LinkId, _neighbour: Neighbour) {}

    /// A link is no more.
    fn part(&mut self, _link: LinkId) {}

    /// What the relay is told in the place of this.
    fn hear(&mut self, _now: Now, input: Input, heard: &mut Vec<Input>) {
        heard.push(input);
    }

    /// What the relay saw.
    fn see(&mut self, _sight: &Sight) {}

    /// What the world gets in the place of this.
    fn say(&mut self, _now: Now, output: Output, said: &mut Vec<Output>) {
        said.push(output);
    }

    /// What the store does in the place of this.
    fn store(&mut self, now: Now, op: StoreOp, store: &mut MemoryStore) -> StoreResult {
        store.apply(now.unix, op)
    }
}
