//! The two handshake frames, one type for each state. It must not know time, queues or cells.
//!
//! Source: spec/link.md §2 and §3.

use super::Frame;
use super::timing::Timing;
use crate::crypto::hash::{blake3, blake3_keyed};
use crate::crypto::keys::{DhKey, DhSecret, equal_in_constant_time};
use crate::crypto::noise_ik::{Handshake, MESSAGE1_OVERHEAD, MESSAGE2_OVERHEAD, Transport};
use crate::crypto::{CryptoRng, Forged};
use crate::limits::{BODY_LEN, FRAME_LEN, KEY_LEN};
use crate::wire::codec::padded;
use crate::wire::descriptor::DESCRIPTOR_LEN;
use crate::wire::hello::Hello;
use crate::wire::network::Network;

/// Bytes of the keyed check that ends the first frame.
pub const MAC1_LEN: usize = 16;
/// Bytes of the first frame before its check: Noise message 1.
const MESSAGE1_LEN: usize = FRAME_LEN - MAC1_LEN;
/// Zeros that message 1 carries, so that its frame is full.
pub const PAYLOAD1_LEN: usize = MESSAGE1_LEN - MESSAGE1_OVERHEAD;
/// Bytes of the hello, padded, that message 2 carries.
pub const PAYLOAD2_LEN: usize = FRAME_LEN - MESSAGE2_OVERHEAD;

const _: () = assert!(3 + DESCRIPTOR_LEN <= PAYLOAD2_LEN && 3 + DESCRIPTOR_LEN <= BODY_LEN);

/// What one end of a link brings to it.
#[derive(Clone, Debug)]
pub struct Params {
    /// The network; both ends must mean the same.
    pub network: Network,
    /// The static key: a relay's own, or a fresh one for each link of a client.
    pub secret: DhSecret,
    /// What this end says of itself once it is encrypted.
    pub hello: Hello,
    /// Deadlines; those of `limits.rs` unless a test asks for others.
    pub timing: Timing,
}

/// The dialling end, after its first frame.
pub(super) struct Dialling(Handshake);

/// The accepting end, before the first frame has come.
pub(super) struct Accepting {
    network: Network,
    secret: DhSecret,
}

/// The accepting end, after its own frame: the peer's key is proven once its first cell opens.
pub(super) struct Answered {
    pub(super) transport: Transport,
    pub(super) peer: DhKey,
}

/// Which check of the first frame failed. Told to nobody: both look the same from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// The keyed check, before any DH.
    Mac1,
    /// Noise.
    Noise,
}

/// The keyed check that ends the first frame, over what stands before it: whoever makes that frame by hand needs it.
#[must_use]
pub fn mac1(network: &Network, responder: &DhKey, message: &[u8]) -> [u8; MAC1_LEN] {
    let key = blake3(&[b"bauta/1 mac1", &network.id, &responder.0]);
    let mut mac = [0; MAC1_LEN];
    mac.iter_mut().zip(blake3_keyed(&key, &[message])).for_each(|(to, from)| *to = from);
    mac
}

fn mac1_holds(network: &Network, responder: &DhKey, frame: &Frame) -> bool {
    frame
        .split_last_chunk::<MAC1_LEN>()
        .is_some_and(|(message, mac)| equal_in_constant_time(&mac1(network, responder, message), mac))
}

impl Dialling {
    /// Starts a handshake with the holder of `peer`; the first frame.
    pub(super) fn start(params: &Params, peer: &DhKey, rng: &mut dyn CryptoRng) -> Result<(Self, Box<Frame>), Forged> {
        let prologue = params.network.link_prologue();
        let mut handshake = Handshake::initiate(&prologue, &params.secret, peer, rng)?;
        let mut frame = Box::new([0; FRAME_LEN]);
        let (message, mac) = frame.split_last_chunk_mut::<MAC1_LEN>().ok_or(Forged)?;
        handshake.write(&[0; PAYLOAD1_LEN], message)?;
        *mac = mac1(&params.network, peer, message);
        Ok((Self(handshake), frame))
    }

    /// Reads the answer; its payload is for [`Hello::decode`].
    pub(super) fn finish(
        mut self,
        frame: &Frame,
        exposes: bool,
    ) -> Result<(Transport, Box<[u8; PAYLOAD2_LEN]>), Forged> {
        let mut payload = Box::new([0; PAYLOAD2_LEN]);
        self.0.read(frame, &mut *payload)?;
        Ok((transport(self.0, exposes)?, payload))
    }
}

impl Accepting {
    pub(super) fn new(params: &Params) -> Self {
        Self { network: params.network, secret: params.secret.clone() }
    }

    /// Reads the first frame and answers it with a hello.
    pub(super) fn answer(
        self,
        frame: &Frame,
        hello: &Hello,
        exposes: bool,
        rng: &mut dyn CryptoRng,
    ) -> Result<(Answered, Box<Frame>), Refusal> {
        if !mac1_holds(&self.network, &self.secret.public(), frame) {
            return Err(Refusal::Mac1);
        }
        self.exchange(frame, hello, exposes, rng).map_err(|Forged| Refusal::Noise)
    }

    fn exchange(
        self,
        frame: &Frame,
        hello: &Hello,
        exposes: bool,
        rng: &mut dyn CryptoRng,
    ) -> Result<(Answered, Box<Frame>), Forged> {
        let mut handshake = Handshake::respond(&self.network.link_prologue(), &self.secret, rng)?;
        let (message, _) = frame.split_last_chunk::<MAC1_LEN>().ok_or(Forged)?;
        let mut payload = [0; PAYLOAD1_LEN];
        handshake.read(message, &mut payload)?;
        // A payload with a meaning could be replayed: there is none in this version.
        if payload != [0; PAYLOAD1_LEN] {
            return Err(Forged);
        }
        let peer = handshake.peer().ok_or(Forged)?;
        let mut answer = Box::new([0; FRAME_LEN]);
        handshake.write(&padded(hello.encode(), PAYLOAD2_LEN).ok_or(Forged)?, &mut *answer)?;
        Ok((Answered { transport: transport(handshake, exposes)?, peer }, answer))
    }
}

/// A finished handshake's transport; it tells its keys where they are logged.
fn transport(handshake: Handshake, exposes: bool) -> Result<Transport, Forged> {
    if exposes { handshake.into_exposed_transport() } else { handshake.into_transport() }
}

/// The initiator's ephemeral key, in clear at the start of the first frame: no other link has it.
pub(super) fn ephemeral_of(frame: &Frame) -> [u8; KEY_LEN] {
    frame.first_chunk::<KEY_LEN>().copied().unwrap_or([0; KEY_LEN])
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::ChaCha20Rng;

    use super::*;
    use crate::wire::network::VERSIONS;

    fn params(network: &str, rng: &mut ChaCha20Rng) -> Params {
        Params {
            network: Network::named(network, 0),
            secret: DhSecret::generate(rng),
            hello: Hello { versions: VERSIONS, descriptor: None },
            timing: Timing::default(),
        }
    }

    fn answer(responder: &Params, frame: &Frame, rng: &mut ChaCha20Rng) -> Result<(), Refusal> {
        Accepting::new(responder).answer(frame, &responder.hello, false, rng).map(|_| ())
    }

    // [LINK-R-008]
    #[test]
    fn any_flipped_byte_another_key_and_another_network_fail_the_keyed_check_before_any_dh() {
        let mut rng = ChaCha20Rng::seed_from_u64(1);
        let (one, two) = (params("a", &mut rng), params("a", &mut rng));
        let (_, frame) = Dialling::start(&one, &two.secret.public(), &mut rng).unwrap();
        assert_eq!(answer(&two, &frame, &mut rng), Ok(()));
        for at in 0..FRAME_LEN {
            let mut bad = frame.clone();
            bad[at] ^= 1;
            assert_eq!(answer(&two, &bad, &mut rng), Err(Refusal::Mac1), "byte {at}");
        }
        assert_eq!(answer(&one, &frame, &mut rng), Err(Refusal::Mac1));
        let elsewhere = Params { network: Network::named("b", 0), ..two.clone() };
        assert_eq!(answer(&elsewhere, &frame, &mut rng), Err(Refusal::Mac1));
    }

    // [LINK-R-009]
    #[test]
    fn garbage_with_a_right_check_fails_in_noise() {
        let mut rng = ChaCha20Rng::seed_from_u64(2);
        let two = params("a", &mut rng);
        let mut frame = [7; FRAME_LEN];
        let mac = mac1(&two.network, &two.secret.public(), &frame[..MESSAGE1_LEN]);
        frame[MESSAGE1_LEN..].copy_from_slice(&mac);
        assert_eq!(answer(&two, &frame, &mut rng), Err(Refusal::Noise));
    }

    #[test]
    fn the_first_frame_shows_no_zeros_and_no_two_are_alike() {
        let mut rng = ChaCha20Rng::seed_from_u64(3);
        let (one, two) = (params("a", &mut rng), params("a", &mut rng));
        let frames: Vec<_> = (0..2).map(|_| Dialling::start(&one, &two.secret.public(), &mut rng).unwrap().1).collect();
        for window in frames[0].windows(8) {
            assert_ne!(window, [0; 8]);
        }
        assert!(frames[0].chunks(16).zip(frames[1].chunks(16)).all(|(a, b)| a != b));
    }
}
