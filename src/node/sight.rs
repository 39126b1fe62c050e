//! What a node gets to see, for those who check that no node sees too much. Off unless asked for; never logged.

use crate::crypto::keys::{DhKey, NodeKey};
use crate::keyspace::Location;
use crate::wire::address::Address;

/// One thing seen.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Sight {
    /// A link is up: whose address, whether the other end is a relay.
    Link {
        /// The socket's other end.
        address: Address,
        /// The relay, if it is one.
        relay: Option<NodeKey>,
    },
    /// Cells of a circuit are passed on: from whom, to whom.
    Passed {
        /// Link key of the neighbour towards the client.
        from: DhKey,
        /// Link key of the neighbour towards the exit.
        to: DhKey,
    },
    /// A request came out of the onion here.
    Exited {
        /// Link key of the neighbour towards the client.
        from: DhKey,
        /// What it is about.
        location: Location,
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
