//! A relay's first act on a circuit: opens its layer of a build packet and makes its half of reply 0. Source: spec/onion.md §3.

use super::hop::{ExitHop, Layer, MiddleHop};
use super::keys::OnionSecrets;
use super::layout::{Body, filled_body, filler, split_keyed, unframe};
use crate::crypto::nk::Responder;
use crate::crypto::{CryptoRng, Forged};
use crate::keyspace::Id;
use crate::limits::{BUILD_OVERHEAD_LEN, ROUTING_LEN};
use crate::time::UnixTime;
use crate::wire::onion::Routing;

/// What a relay finds in its layer.
pub struct Peeled {
    /// What the replay filter remembers: from the handshake hash, which no one can vary without being refused.
    pub replay_tag: [u8; 16],
    /// When the packet was made.
    pub time: UnixTime,
    /// What this relay is on this circuit.
    pub role: Role,
}

/// What a relay is on a circuit.
pub enum Role {
    /// It passes cells on.
    Middle {
        /// To whom.
        next: Id,
        /// Suite byte of the next cell.
        suite: u8,
        /// Hint byte of the next cell.
        hint: u8,
        /// Body of the next cell.
        body: Box<Body>,
        /// Its layer.
        hop: MiddleHop,
    },
    /// It answers the request.
    Exit {
        /// The request, not decoded.
        request: Vec<u8>,
        /// Its layer.
        hop: ExitHop,
    },
}

/// Opens one layer. Costs two X25519 and one key generation.
///
/// # Errors
/// [`Forged`] whatever the reason: wrong key, wrong relay, flipped bit, meaningless routing.
pub fn peel(secrets: &OnionSecrets, body: &Body, rng: &mut dyn CryptoRng) -> Result<Peeled, Forged> {
    secrets.candidates.iter().find_map(|(secret, prologue)| open(secret, prologue, body)).ok_or(Forged)?.finish(rng)
}

struct Opened {
    responder: Responder,
    text: Vec<u8>,
}

fn open(secret: &crate::crypto::keys::DhSecret, prologue: &[u8], body: &Body) -> Option<Opened> {
    let (ephemeral, tag, text) = split_keyed(body)?;
    let mut text = text.to_vec();
    let responder = Responder::open(prologue, secret, &ephemeral, &mut text, &tag).ok()?;
    Some(Opened { responder, text })
}

impl Opened {
    fn finish(self, rng: &mut dyn CryptoRng) -> Result<Peeled, Forged> {
        let (routing, rest) = self.text.split_first_chunk::<ROUTING_LEN>().ok_or(Forged)?;
        let routing = Routing::decode(routing).map_err(|_| Forged)?;
        let replay_tag = self.responder.replay_tag();
        let fill = filler::<BUILD_OVERHEAD_LEN>(self.responder.filler(), 0);
        let (ephemeral, session) = self.responder.answer(rng)?;
        let layer = Layer::new(ephemeral, session);
        let role = match routing {
            Routing::Forward { next, suite, hint, .. } => {
                Role::Middle { next, suite, hint, body: Box::new(filled_body(rest, &fill)), hop: MiddleHop::new(layer) }
            }
            Routing::Exit { .. } => {
                Role::Exit { request: unframe(rest).map_err(|_| Forged)?.to_vec(), hop: ExitHop::new(layer) }
            }
        };
        Ok(Peeled { replay_tag, time: routing.time(), role })
    }
}
