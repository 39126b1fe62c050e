//! What a node gets to see, for those who check that no node sees too much. Off unless asked for; never logged.

use crate::crypto::keys::{DhKey, NodeKey};
use crate::keyspace::Location;
use crate::time::Instant;
use crate::wire::address::Address;
use crate::wire::cell::CircuitId;

/// One thing seen.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Sight {
    /// A link is up: whose address, whether the other end is a relay.
    Link {
        /// The socket's other end.
        address: Address,
        /// Link key of the other end; a client has a new one for each link.
        key: DhKey,
        /// The relay, if it is one.
        relay: Option<NodeKey>,
    },
    /// Cells of a circuit are passed on: from whom, to whom.
    Passed {
        /// Link key of the neighbour towards the client.
        from: DhKey,
        /// Link key of the neighbour towards the exit.
        to: DhKey,
        /// The circuit's number on the link towards the client: the neighbour has the same.
        inward: CircuitId,
        /// The circuit's number on the link towards the exit.
        outward: CircuitId,
        /// When its build packet came; it may have waited for a dial since.
        came: Instant,
    },
    /// A request came out of the onion here.
    Exited {
        /// Link key of the neighbour towards the client.
        from: DhKey,
        /// The circuit's number on the link to it.
        inward: CircuitId,
        /// What it is about.
        location: Location,
        /// Whether it is a store.
        is_store: bool,
    },
    /// It asks other relays about this location in its own name: it holds a value there and looks after its copies.
    Repairs {
        /// Where.
        location: Location,
    },
    /// A find or store for this location came.
    Asked {
        /// Link key of the asker.
        from: DhKey,
        /// The asking relay; `None` would be a client, and a breach.
        relay: Option<NodeKey>,
        /// What it is about.
        location: Location,
        /// Whether it was a store.
        is_store: bool,
    },
}
