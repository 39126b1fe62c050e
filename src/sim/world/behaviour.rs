//! What stands between a bad relay and the world: it hears and says other things than it should. The relay inside is the real one.
//! It must not know other nodes but by what it shares with them.

use crate::dht::store::{MemoryStore, StoreOp, StoreResult};
use crate::node::io::{Input, Output};
use crate::time::Now;

/// A behaviour around a relay. Each default is an honest relay's.
pub trait Mask {
    /// What the relay is told in the place of this.
    fn hear(&mut self, _now: Now, input: Input) -> Option<Input> {
        Some(input)
    }

    /// What the world gets in the place of this.
    fn say(&mut self, _now: Now, output: Output, said: &mut Vec<Output>) {
        said.push(output);
    }

    /// What the store does in the place of this.
    fn store(&mut self, now: Now, op: StoreOp, store: &mut MemoryStore) -> StoreResult {
        store.apply(now.unix, op)
    }
}
