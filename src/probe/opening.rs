//! Both ends of a handshake, one step after the other, and the transport behind it. It must not know sockets.
//!
//! Source: spec/link.md §2, §4.

use super::{Broken, Me, Target};
use crate::crypto::keys::{DhKey, DhSecret, equal_in_constant_time};
use crate::crypto::noise_ik::{Handshake, Transport};
use crate::crypto::{CryptoRng, Forged};
use crate::limits::{CELL_LEN, FRAME_LEN};
use crate::link::{Frame, MAC1_LEN, PAYLOAD1_LEN, PAYLOAD2_LEN, mac1};
use crate::wire::cell::Cell;
use crate::wire::hello::Hello;
use crate::wire::network::Network;

/// A handshake whose first frame was made.
pub struct Opening(Handshake);

/// A handshake whose first frame was read, at the end that was dialled.
pub struct Answering {
    handshake: Handshake,
    /// The static key that the dialling end says it has; proven once its third frame opens.
    pub peer: DhKey,
}

/// What of a first frame does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotFirst {
    /// Its outer check.
    #[error("its mac1 does not hold")]
    Check,
    /// What Noise seals: it is for another key or network, or no message 1.
    #[error("its Noise message does not open")]
    Noise,
    /// Its payload.
    #[error("its payload is not zeros")]
    Payload,
}

/// Both directions of a link after its handshake.
pub struct Sealed(Transport);

/// Makes the outer check of a first frame right for its bytes, whatever these are: so a change is found no sooner than in Noise.
pub fn with_right_check(target: &Target, frame: &mut Frame) {
    if let Some((message, mac)) = frame.split_last_chunk_mut::<MAC1_LEN>() {
        *mac = mac1(&target.network, &target.link_key, message);
    }
}

impl Opening {
    /// The first frame, as it should be.
    ///
    /// # Errors
    /// [`Forged`] when the target's key is of small order.
    pub fn first(target: &Target, me: &Me, rng: &mut dyn CryptoRng) -> Result<(Self, Frame), Forged> {
        Self::first_with(target, &me.secret, &[0; PAYLOAD1_LEN], rng)
    }

    /// The first frame with this payload, which should be zeros.
    ///
    /// # Errors
    /// [`Forged`] when the target's key is of small order.
    pub fn first_with(
        target: &Target,
        secret: &DhSecret,
        payload: &[u8; PAYLOAD1_LEN],
        rng: &mut dyn CryptoRng,
    ) -> Result<(Self, Frame), Forged> {
        let prologue = target.network.link_prologue();
        let mut handshake = Handshake::initiate(&prologue, secret, &target.link_key, rng)?;
        let mut frame = [0; FRAME_LEN];
        let (message, _) = frame.split_last_chunk_mut::<MAC1_LEN>().ok_or(Forged)?;
        handshake.write(payload, message)?;
        with_right_check(target, &mut frame);
        Ok((Self(handshake), frame))
    }

    /// Reads the answer: the transport, and what the target says of itself (a descriptor in it is not verified).
    ///
    /// # Errors
    /// [`Broken`].
    pub fn finish(mut self, answer: &Frame) -> Result<(Sealed, Hello), Broken> {
        let mut payload = [0; PAYLOAD2_LEN];
        self.0.read(answer, &mut payload).map_err(|Forged| Broken::Forged)?;
        let transport = self.0.into_transport().map_err(|Forged| Broken::Forged)?;
        let hello = Hello::decode(&payload).map_err(|_| Broken::Malformed)?;
        Ok((Sealed(transport), hello))
    }
}

impl Answering {
    /// Reads a first frame for the holder of `secret`.
    ///
    /// # Errors
    /// [`NotFirst`].
    pub fn read(
        network: &Network,
        secret: &DhSecret,
        frame: &Frame,
        rng: &mut dyn CryptoRng,
    ) -> Result<Self, NotFirst> {
        let (message, mac) = frame.split_last_chunk::<MAC1_LEN>().ok_or(NotFirst::Check)?;
        if !equal_in_constant_time(&mac1(network, &secret.public(), message), mac) {
            return Err(NotFirst::Check);
        }
        let forged = |Forged| NotFirst::Noise;
        let mut handshake = Handshake::respond(&network.link_prologue(), secret, rng).map_err(forged)?;
        let mut payload = [0; PAYLOAD1_LEN];
        handshake.read(message, &mut payload).map_err(forged)?;
        let peer = handshake.peer().ok_or(NotFirst::Noise)?;
        if payload != [0; PAYLOAD1_LEN] {
            return Err(NotFirst::Payload);
        }
        Ok(Self { handshake, peer })
    }

    /// The second frame with this payload, which should be a hello and zeros, and the transport behind it.
    ///
    /// # Errors
    /// [`Forged`] when the peer's key is of small order.
    pub fn answer(mut self, payload: &[u8; PAYLOAD2_LEN]) -> Result<(Sealed, Frame), Forged> {
        let mut frame = [0; FRAME_LEN];
        self.handshake.write(payload, &mut frame)?;
        Ok((Sealed(self.handshake.into_transport()?), frame))
    }
}

impl Sealed {
    /// Seals any bytes as the next frame. The target opens frames in this order alone.
    ///
    /// # Errors
    /// [`Forged`] when the cipher refuses (never met).
    pub fn seal(&mut self, plain: &[u8; CELL_LEN]) -> Result<Frame, Forged> {
        let mut frame = [0; FRAME_LEN];
        self.0.seal(plain, &mut frame)?;
        Ok(frame)
    }

    /// Opens the target's next frame.
    ///
    /// # Errors
    /// [`Broken`].
    pub fn open(&mut self, frame: &Frame) -> Result<Cell, Broken> {
        let mut plain = [0; CELL_LEN];
        self.0.open(frame, &mut plain).map_err(|Forged| Broken::Forged)?;
        Cell::decode(&plain).map_err(|_| Broken::Malformed)
    }
}
