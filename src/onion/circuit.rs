//! The client's side of a circuit after reply 0: seals forward cells, opens backward cells. Source: spec/onion.md §5.

use super::layout::{Body, correct_tail, extend_tail, filler, frame_random, split_tagged, tagged_body, unframe_padded};
use crate::crypto::keys::equal_in_constant_time;
use crate::crypto::nk::Session;
use crate::crypto::{CryptoRng, Forged};
use crate::limits::{BODY_LEN, CIRCUIT_DATA_LEN_MAX, HOPS_MAX, TAG_LEN};

/// Bytes of the ciphertext of a later cell.
const TEXT_LEN: usize = BODY_LEN - TAG_LEN;

/// Keys and counters of every hop. Counters are implicit: one failure kills the circuit.
#[cfg_attr(test, derive(Clone))]
pub struct Circuit {
    hops: Vec<Session>,
    sent: u64,
    received: u64,
}

impl Circuit {
    pub(super) fn new(hops: Vec<Session>) -> Self {
        Self { hops, sent: 0, received: 0 }
    }

    /// Seals at most 1,958 bytes for the exit.
    ///
    /// # Errors
    /// [`Forged`] when the data is longer.
    pub fn seal_forward(&mut self, data: &[u8], rng: &mut dyn CryptoRng) -> Result<Body, Forged> {
        debug_assert!(data.len() <= CIRCUIT_DATA_LEN_MAX);
        let counter = self.sent;
        let skip = usize::try_from(counter).map_err(|_| Forged)?.checked_mul(TAG_LEN).ok_or(Forged)?;
        let (exit, before) = self.hops.split_last().ok_or(Forged)?;
        let mut tail = Vec::new();
        for hop in before {
            let fill = filler::<TAG_LEN>(&hop.filler, skip);
            extend_tail(&mut tail, TEXT_LEN, |skip, text| hop.forward.xor_keystream(counter, skip, text), &fill);
        }
        let mut text = frame_random(data, TEXT_LEN, TAG_LEN * (HOPS_MAX - 1), rng).ok_or(Forged)?;
        correct_tail(&mut text, &tail, |skip, text| exit.forward.xor_keystream(counter, skip, text));
        let mut body = [0; BODY_LEN];
        for hop in self.hops.iter().rev() {
            let tag = hop.forward.seal(counter, &[], &mut text);
            body = tagged_body(&tag, &text);
            text = body.get(..TEXT_LEN).ok_or(Forged)?.to_vec();
        }
        self.sent += 1;
        Ok(body)
    }

    /// Opens the next backward cell: at most 1,958 bytes from the exit.
    ///
    /// # Errors
    /// [`Forged`] when any tag does not fit or the padding is not zeros; the circuit is then dead.
    pub fn open_backward(&mut self, body: &Body) -> Result<Vec<u8>, Forged> {
        let counter = self.received;
        let mut tags = Vec::with_capacity(self.hops.len());
        let mut text = body.to_vec();
        for hop in &self.hops {
            let (tag, rest) = split_tagged(&text).ok_or(Forged)?;
            let mut rest = rest.to_vec();
            hop.backward.xor_keystream(counter, 0, &mut rest);
            tags.push(tag);
            text = rest;
        }
        let data = unframe_padded(&text).map(<[u8]>::to_vec);
        text.resize(TEXT_LEN, 0);
        let mut all_fit = true;
        for (hop, tag) in self.hops.iter().zip(&tags).rev() {
            let expected = hop.backward.seal(counter, &[], &mut text);
            all_fit &= equal_in_constant_time(&expected, tag);
            text = tagged_body(&expected, &text).get(..TEXT_LEN).ok_or(Forged)?.to_vec();
        }
        self.received += 1;
        match data {
            Ok(data) if all_fit => Ok(data),
            _ => Err(Forged),
        }
    }
}
