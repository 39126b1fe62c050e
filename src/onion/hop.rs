//! A relay's side of one circuit after the build packet: its own layer of replies and later cells. Source: spec/onion.md §4, §5.

use super::layout::{Body, filled_body, filler, frame_data, keyed_body, split_tagged, tagged_body, unframe};
use crate::crypto::Forged;
use crate::crypto::keys::DhKey;
use crate::crypto::nk::Session;
use crate::limits::{BODY_LEN, HOPS_MAX, REPLY0_OVERHEAD_LEN, TAG_LEN};

/// Bytes of the ciphertext of a later cell.
const TEXT_LEN: usize = BODY_LEN - TAG_LEN;

// A relay has one of each: a copy would seal under the nonces of the first.
/// The layer of one hop: session keys, its ephemeral key, counters of later cells.
#[cfg_attr(test, derive(Clone))]
pub(super) struct Layer {
    session: Session,
    ephemeral: DhKey,
    /// Reply 0 has a nonce of its own, once.
    replied: bool,
    forward: u64,
    backward: u64,
}

/// A hop that passes cells on.
#[cfg_attr(test, derive(Clone))]
pub struct MiddleHop(Layer);

/// The last hop.
pub struct ExitHop(Layer);

impl Layer {
    pub(super) fn new(ephemeral: DhKey, session: Session) -> Self {
        Self { session, ephemeral, replied: false, forward: 0, backward: 0 }
    }

    fn seal_reply0(&mut self, mut text: Vec<u8>) -> Result<Body, Forged> {
        if core::mem::replace(&mut self.replied, true) {
            return Err(Forged);
        }
        let tag = self.session.reply0.seal(0, &self.session.ad, &mut text);
        Ok(keyed_body(&self.ephemeral, &tag, &text))
    }

    fn seal_backward(&mut self, text: &[u8]) -> Body {
        let mut body = tagged_body(&[0; TAG_LEN], text);
        if let Some((tag, text)) = body.split_first_chunk_mut() {
            *tag = self.session.backward.seal(self.backward, &[], text);
        }
        self.backward += 1;
        body
    }

    /// The text, and in the place behind it zeros.
    fn open_forward(&mut self, body: &Body) -> Result<Body, Forged> {
        let (tag, text) = split_tagged(body).ok_or(Forged)?;
        let mut opened = filled_body(text, &[]);
        self.session.forward.open(self.forward, &[], opened.get_mut(..TEXT_LEN).ok_or(Forged)?, &tag)?;
        Ok(opened)
    }
}

impl MiddleHop {
    pub(super) fn new(layer: Layer) -> Self {
        Self(layer)
    }

    /// Adds this hop's layer to reply 0 coming from the next hop.
    ///
    /// # Errors
    /// [`Forged`] when one was sealed before.
    pub fn wrap_reply0(&mut self, body: &Body) -> Result<Body, Forged> {
        self.0.seal_reply0(body.get(..BODY_LEN - REPLY0_OVERHEAD_LEN).ok_or(Forged)?.to_vec())
    }

    /// Reply 0 of a hop that the rest of the path ended at: it says that this one works. Nothing is wrapped after it, for it takes
    /// the nonce of reply 0.
    ///
    /// # Errors
    /// [`Forged`] when the exit's was wrapped before.
    pub fn not_reached(mut self) -> Result<Body, Forged> {
        self.0.seal_reply0(vec![0; BODY_LEN - REPLY0_OVERHEAD_LEN])
    }

    /// Adds this hop's layer to a later cell coming from the next hop.
    ///
    /// # Errors
    /// Never for a body; the slice is total all the same.
    pub fn wrap_backward(&mut self, body: &Body) -> Result<Body, Forged> {
        Ok(self.0.seal_backward(body.get(..TEXT_LEN).ok_or(Forged)?))
    }

    /// Takes this hop's layer off a forward cell; what comes out goes to the next hop.
    ///
    /// # Errors
    /// [`Forged`] when the tag does not fit: the circuit is then dead.
    pub fn peel_forward(&mut self, body: &Body) -> Result<Body, Forged> {
        let skip = usize::try_from(self.0.forward).map_err(|_| Forged)?.checked_mul(TAG_LEN).ok_or(Forged)?;
        let mut opened = self.0.open_forward(body)?;
        self.0.forward += 1;
        *opened.last_chunk_mut().ok_or(Forged)? = filler::<TAG_LEN>(&self.0.session.filler, skip);
        Ok(opened)
    }
}

impl ExitHop {
    pub(super) fn new(layer: Layer) -> Self {
        Self(layer)
    }

    /// Reply 0 with at most 1,798 bytes of data.
    ///
    /// # Errors
    /// [`Forged`] when the data is longer, or one was sealed before.
    pub fn seal_reply0(&mut self, data: &[u8]) -> Result<Body, Forged> {
        let total = BODY_LEN - REPLY0_OVERHEAD_LEN;
        let text = frame_data(data, total, REPLY0_OVERHEAD_LEN * (HOPS_MAX - 1)).ok_or(Forged)?;
        self.0.seal_reply0(text)
    }

    /// A later cell with at most 1,958 bytes of data.
    ///
    /// # Errors
    /// [`Forged`] when the data is longer.
    pub fn seal_backward(&mut self, data: &[u8]) -> Result<Body, Forged> {
        let text = frame_data(data, TEXT_LEN, TAG_LEN * (HOPS_MAX - 1)).ok_or(Forged)?;
        Ok(self.0.seal_backward(&text))
    }

    /// The data of the next forward cell.
    ///
    /// # Errors
    /// [`Forged`] when the tag does not fit or the data's length is out of bounds: the circuit is then dead.
    pub fn open_forward(&mut self, body: &Body) -> Result<Vec<u8>, Forged> {
        let opened = self.0.open_forward(body)?;
        self.0.forward += 1;
        unframe(opened.get(..TEXT_LEN).ok_or(Forged)?).map(<[u8]>::to_vec).map_err(|_| Forged)
    }
}
