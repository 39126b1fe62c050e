//! A peer that speaks every part of the protocol right, and any part of it wrong on purpose, over real sockets: for whoever tests
//! a node from outside. It must not know what any test wants to see, and no node is ever made of it.
//!
//! From below, each layer with what it lets go wrong:
//!
//! - [`Wire`]: a socket, from any source address. Any bytes, at once or slowly; half a close; whole frames back by a deadline.
//! - [`Opening`]: the dialling end of the handshake. [`Opening::first`] makes a right first frame; with another [`Target`] it is
//!   for another network or key, with another payload it says what must not be said, and its bytes can be changed
//!   ([`with_right_check`] makes the outer check right again). [`Opening::finish`] reads the answer. [`Answering`] is the other end,
//!   for who is dialled ([`Wire::accepted`]).
//! - [`Sealed`]: the transport after it. It seals any 2,048 bytes, so that a cell can be wrong inside a frame that is right, and
//!   frames can be kept back, sent in another order or sent again.
//! - [`Session`]: wire and transport together. [`Session::up`] does all of the above as it should be done; then cells, questions
//!   and circuits.
//! - [`Me`]: who it says that it is: a client, or a relay with a descriptor of its own. All fields can be set to what is wrong.
//!
//! - [`script`]: all of it as a text of one step a line, run against a target and judged. [`fuzz`] draws such scripts.
//!
//! Packets come from [`crate::onion::build`] (any path, any request, any time) and [`crate::onion::build_layer`] (any plaintext).
//!
//! Whatever is waited for ends as [`Heard`]: something came, nothing came in time, the peer closed, or what came has no meaning.
//!
//! ```no_run
//! # async fn example(target: bauta::probe::Target) -> Result<(), Box<dyn std::error::Error>> {
//! use bauta::probe::{Heard, Me, Opening, PATIENCE, Session, Wire};
//! use bauta::wire::message::Ask;
//! use rand::SeedableRng;
//!
//! let mut rng = rand::rngs::ChaCha20Rng::seed_from_u64(1);
//! // A first frame with one bit flipped: nothing may come back.
//! let mut wire = Wire::connect(target.address, Some([127, 90, 0, 1].into())).await?;
//! let (_, mut frame) = Opening::first(&target, &Me::client(&mut rng), &mut rng)?;
//! frame[100] ^= 1;
//! wire.write(&frame).await?;
//! assert!(matches!(wire.frame(PATIENCE).await, Heard::Silent | Heard::Closed { .. }));
//!
//! // A whole link, and a question over it.
//! let mut session = Session::up(&target, &Me::client(&mut rng), None, &mut rng).await?;
//! let answer = session.ask(7, &Ask::sign_of_life(), PATIENCE).await;
//! assert!(matches!(answer, Heard::Came(_)));
//! # Ok(()) }
//! ```

pub mod fuzz;
mod me;
mod opening;
pub mod script;
mod session;
mod wire;

use std::net::SocketAddr;

pub use self::me::{AsRelay, Me, NOBODYS_ADDRESS};
pub use self::opening::{Answering, NotFirst, Opening, Sealed, with_right_check};
pub use self::session::{NotUp, Session, circuit};
pub use self::wire::{NotWritten, Wire};
use crate::crypto::keys::DhKey;
use crate::time::Duration;
use crate::wire::network::Network;

/// How long an answer is waited for that has to come: longer than any deadline of an exit.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// The node that is probed, as a contact and a configuration name it.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Where it listens.
    pub address: SocketAddr,
    /// Its link key.
    pub link_key: DhKey,
    /// Its network.
    pub network: Network,
}

/// What the peer did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard<T> {
    /// This came.
    Came(T),
    /// Nothing whole came in time, and the peer has not closed.
    Silent,
    /// The peer closed, in order or not.
    Closed {
        /// Bytes of a frame that did not come whole; 0 between two frames, and when the connection was reset.
        partial: usize,
    },
    /// What came breaks the protocol.
    Broken(Broken),
}

/// How an answer breaks the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// A frame does not open, or a layer of the onion does not.
    #[error("it does not open")]
    Forged,
    /// What is inside cannot be read.
    #[error("what is inside cannot be read")]
    Malformed,
}

impl<T> Heard<T> {
    /// The same with what came made into something else.
    pub fn and_then<U>(self, read: impl FnOnce(T) -> Result<U, Broken>) -> Heard<U> {
        match self {
            Self::Came(what) => read(what).map_or_else(Heard::Broken, Heard::Came),
            Self::Silent => Heard::Silent,
            Self::Closed { partial } => Heard::Closed { partial },
            Self::Broken(broken) => Heard::Broken(broken),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
