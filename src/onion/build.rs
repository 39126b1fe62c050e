//! The client's side of a build packet: seals a request in one layer per hop. Source: spec/onion.md §3.

use super::circuit::Circuit;
use super::layout::{Body, correct_tail, extend_tail, filler, frame_random, keyed_body, prologue};
use super::layout::{split_keyed, unframe_padded};
use crate::crypto::aead::Tag;
use crate::crypto::keys::{DhKey, equal_in_constant_time};
use crate::crypto::nk::{Initiator, InitiatorWaiting};
use crate::crypto::{CryptoRng, Forged};
use crate::keyspace::Id;
use crate::limits::{
    BODY_LEN, BUILD_OVERHEAD_LEN, HOPS_MAX, KEY_LEN, REPLAY_BUCKET_S, REPLY0_OVERHEAD_LEN, REQUEST_LEN_MAX, TAG_LEN,
};
use crate::time::UnixTime;
use crate::wire::descriptor::VerifiedDescriptor;
use crate::wire::network::{Network, SUITE};
use crate::wire::onion::Routing;

/// Bytes of the ciphertext of a build packet.
pub const TEXT_LEN: usize = BODY_LEN - KEY_LEN - TAG_LEN;

/// Why no packet was built.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BuildRefused {
    /// No hop, or more than relays accept.
    #[error("a path has one to {HOPS_MAX} hops")]
    Hops,
    /// The request is longer than its room.
    #[error("a request has at most {REQUEST_LEN_MAX} bytes")]
    RequestTooLong,
    /// A relay's onion key is of small order.
    #[error("a relay's onion key is not usable")]
    Key,
}

/// A packet ready to be sent to the first hop.
pub struct Built {
    /// The body.
    pub body: Body,
    /// The suite byte for the first hop.
    pub suite: u8,
    /// The onion-key hint for the first hop.
    pub hint: u8,
    /// What waits for reply 0.
    pub building: Building,
}

/// A circuit whose reply 0 has not come. Consumed into a [`Circuit`].
#[derive(Clone)]
pub struct Building {
    hops: Vec<InitiatorWaiting>,
}

/// What reply 0 was.
pub enum Reply0 {
    /// The exit's, with its data.
    Exit(Circuit, Vec<u8>),
    /// Of so many hops the last says that nothing came back from behind it.
    NotReached {
        /// One, when it is the first hop that says so.
        hops: usize,
    },
}

/// Builds the packet that carries `request` to the last relay of `path`.
///
/// # Errors
/// [`BuildRefused`]; nothing was sent then.
pub fn build(
    network: &Network,
    path: &[VerifiedDescriptor],
    request: &[u8],
    now: UnixTime,
    rng: &mut dyn CryptoRng,
) -> Result<Built, BuildRefused> {
    if path.is_empty() || path.len() > HOPS_MAX {
        return Err(BuildRefused::Hops);
    }
    if request.len() > REQUEST_LEN_MAX {
        return Err(BuildRefused::RequestTooLong);
    }
    let mut layers = Vec::with_capacity(path.len());
    for relay in path {
        let prologue = prologue(network, SUITE, &relay.key, relay.onion_epoch);
        layers.push(Initiator::new(&prologue, &relay.onion_key, rng).map_err(|_| BuildRefused::Key)?);
    }
    let text = exit_text(&layers, request, now, rng).ok_or(BuildRefused::RequestTooLong)?;
    let (body, hops) = seal_layers(layers, path, text, now).ok_or(BuildRefused::Hops)?;
    let first = path.first().ok_or(BuildRefused::Hops)?;
    Ok(Built { body, suite: SUITE, hint: first.onion_hint(), building: Building { hops } })
}

/// One layer for one relay, around whatever text: what a client seals that keeps no rule of what stands inside.
///
/// # Errors
/// [`BuildRefused::Key`].
pub fn build_layer(
    network: &Network,
    relay: &VerifiedDescriptor,
    text: &[u8; TEXT_LEN],
    rng: &mut dyn CryptoRng,
) -> Result<Built, BuildRefused> {
    let prologue = prologue(network, SUITE, &relay.key, relay.onion_epoch);
    let layer = Initiator::new(&prologue, &relay.onion_key, rng).map_err(|_| BuildRefused::Key)?;
    let (ephemeral, mut text) = (layer.ephemeral(), text.to_vec());
    let (tag, waiting) = layer.seal(&mut text);
    let body = keyed_body(&ephemeral, &tag, &text);
    Ok(Built { body, suite: SUITE, hint: relay.onion_hint(), building: Building { hops: vec![waiting] } })
}

/// The exit's plaintext: routing, framed request, random padding, and the tail that makes all fillers come out right.
fn exit_text(layers: &[Initiator], request: &[u8], now: UnixTime, rng: &mut dyn CryptoRng) -> Option<Vec<u8>> {
    let (exit, before) = layers.split_last()?;
    let mut tail = Vec::new();
    for layer in before {
        let fill = filler::<BUILD_OVERHEAD_LEN>(&layer.filler(), 0);
        extend_tail(&mut tail, TEXT_LEN, |skip, text| layer.xor_keystream(skip, text), &fill);
    }
    let routing = Routing::Exit { time: now.rounded(REPLAY_BUCKET_S) }.encode();
    let reserve = BUILD_OVERHEAD_LEN * (HOPS_MAX - 1);
    let mut text = routing.to_vec();
    text.extend(frame_random(request, TEXT_LEN - routing.len(), reserve, rng)?);
    correct_tail(&mut text, &tail, |skip, text| exit.xor_keystream(skip, text));
    Some(text)
}

fn seal_layers(
    layers: Vec<Initiator>,
    path: &[VerifiedDescriptor],
    exit_text: Vec<u8>,
    now: UnixTime,
) -> Option<(Body, Vec<InitiatorWaiting>)> {
    let mut hops = Vec::with_capacity(path.len());
    let mut text = exit_text;
    let mut body = [0; BODY_LEN];
    let mut next: Option<(Id, u8)> = None;
    for (layer, relay) in layers.into_iter().zip(path).rev() {
        if let Some((next, hint)) = next {
            let routing = Routing::Forward { next, suite: SUITE, hint, time: now.rounded(REPLAY_BUCKET_S) };
            text = [&routing.encode()[..], body.get(..BODY_LEN - BUILD_OVERHEAD_LEN)?].concat();
        }
        let ephemeral = layer.ephemeral();
        let (tag, waiting) = layer.seal(&mut text);
        body = keyed_body(&ephemeral, &tag, &text);
        hops.push(waiting);
        next = Some((relay.id(), relay.onion_hint()));
    }
    hops.reverse();
    Some((body, hops))
}

impl Building {
    /// Opens reply 0: keys of the hops, as far as it comes from, then all tags, then the exit's data (at most 1,798 bytes).
    ///
    /// # Errors
    /// [`Forged`] when any tag does not fit or the padding is not zeros; the circuit is then dead.
    pub fn open_reply0(self, body: &Body) -> Result<Reply0, Forged> {
        let length = self.hops.len();
        let mut sessions = Vec::with_capacity(self.hops.len());
        let mut heads: Vec<(DhKey, Tag)> = Vec::with_capacity(self.hops.len());
        let mut text = body.to_vec();
        for hop in self.hops {
            let (ephemeral, tag, rest) = split_keyed(&text).ok_or(Forged)?;
            let session = hop.session(&ephemeral)?;
            let mut rest = rest.to_vec();
            session.reply0.xor_keystream(0, 0, &mut rest);
            sessions.push(session);
            heads.push((ephemeral, tag));
            text = rest;
            // A hop before the exit that says it did not reach the next says nothing else. A layer more would not be of zeros.
            if text.iter().all(|byte| *byte == 0) {
                break;
            }
        }
        let hops = sessions.len();
        let data = unframe_padded(&text).map(<[u8]>::to_vec);
        // What the hops cut off the exit's text were zeros: seal it again from there and compare every tag.
        text.resize(BODY_LEN - REPLY0_OVERHEAD_LEN, 0);
        let mut all_fit = true;
        for (session, (ephemeral, tag)) in sessions.iter().zip(&heads).rev() {
            let expected = session.reply0.seal(0, &session.ad, &mut text);
            all_fit &= equal_in_constant_time(&expected, tag);
            let outer = keyed_body(ephemeral, &expected, &text);
            text = outer.get(..BODY_LEN - REPLY0_OVERHEAD_LEN).ok_or(Forged)?.to_vec();
        }
        match data {
            Ok(_) if all_fit && hops < length => Ok(Reply0::NotReached { hops }),
            Ok(data) if all_fit => Ok(Reply0::Exit(Circuit::new(sessions), data)),
            _ => Err(Forged),
        }
    }
}
