//! The client's side of a circuit after reply 0: seals forward cells, opens backward cells. Source: spec/onion.md §5.

use super::layout::{Body, correct_tail, extend_tail, filler, frame_random, tagged_body, unframe_padded};
use crate::crypto::nk::Session;
use crate::crypto::{CryptoRng, Forged};
use crate::limits::{BODY_LEN, CIRCUIT_DATA_LEN_MAX, HOPS_MAX, TAG_LEN};

/// Bytes of the ciphertext of a later cell.
const TEXT_LEN: usize = BODY_LEN - TAG_LEN;
/// Bytes of a backward body with all that hops cut off.
const COMPLETED_LEN: usize = BODY_LEN + TAG_LEN * (HOPS_MAX - 1);

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
        let mut bytes = self.completed(body)?;
        let mut all_fit = true;
        for (turn, hop) in self.hops.iter().enumerate() {
            let (tag, rest) = bytes.get_mut(turn * TAG_LEN..).and_then(<[u8]>::split_first_chunk_mut).ok_or(Forged)?;
            let text = rest.get_mut(..TEXT_LEN).ok_or(Forged)?;
            if hop.backward.open(counter, &[], text, tag).is_err() {
                // All layers take the same time, whichever of them does not fit.
                hop.backward.xor_keystream(counter, 0, text);
                all_fit = false;
            }
        }
        self.received += 1;
        let text = bytes.get(self.hops.len() * TAG_LEN..BODY_LEN).ok_or(Forged)?;
        match unframe_padded(text) {
            Ok(data) if all_fit => Ok(data.to_vec()),
            _ => Err(Forged),
        }
    }

    /// A backward body, and after it what each hop but the last cut off the end of what it wrapped. The exit's text ends with zeros:
    /// so the end of its ciphertext is known, and from that the end of each ciphertext around it.
    fn completed(&self, body: &Body) -> Result<[u8; COMPLETED_LEN], Forged> {
        let mut bytes = [0; COMPLETED_LEN];
        bytes.get_mut(..BODY_LEN).ok_or(Forged)?.copy_from_slice(body);
        let mut tail = [0; COMPLETED_LEN - BODY_LEN];
        for (turn, hop) in self.hops.iter().enumerate().skip(1).rev() {
            let len = turn * TAG_LEN;
            let tail = tail.get_mut(..len).ok_or(Forged)?;
            hop.backward.xor_keystream(self.received, TEXT_LEN - len, tail);
            let cut = tail.last_chunk::<TAG_LEN>().ok_or(Forged)?;
            let at = BODY_LEN + len - TAG_LEN;
            bytes.get_mut(at..at + TAG_LEN).ok_or(Forged)?.copy_from_slice(cut);
        }
        Ok(bytes)
    }
}
