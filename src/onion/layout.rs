//! Where things stand in a body, and how data is framed inside the innermost layer. Source: spec/onion.md §3.

use crate::crypto::CryptoRng;
use crate::crypto::aead::{Key, Tag};
use crate::crypto::keys::{DhKey, NodeKey};
use crate::limits::{BODY_LEN, DATA_PREFIX_LEN, KEY_LEN, TAG_LEN};
use crate::wire::codec::{Malformed, Reader};
use crate::wire::network::Network;

/// A cell's body.
pub(super) type Body = [u8; BODY_LEN];

/// The prologue of one layer: without the relay's key, one relay could publish another's onion key as its own.
pub(super) fn prologue(network: &Network, suite: u8, relay: &NodeKey, epoch: u32) -> Vec<u8> {
    [&b"bauta/1 onion"[..], &[suite], &network.id, &relay.0, &epoch.to_be_bytes()].concat()
}

/// Joins `key ‖ tag ‖ text` into a body; `text` fills the rest.
pub(super) fn keyed_body(key: &DhKey, tag: &Tag, text: &[u8]) -> Body {
    body_of([&key.0[..], tag, text])
}

/// Joins `tag ‖ text` into a body.
pub(super) fn tagged_body(tag: &Tag, text: &[u8]) -> Body {
    body_of([tag, text, &[]])
}

/// Joins `text ‖ filler` into a body.
pub(super) fn filled_body(text: &[u8], filler: &[u8]) -> Body {
    body_of([text, filler, &[]])
}

fn body_of(parts: [&[u8]; 3]) -> Body {
    let mut body = [0; BODY_LEN];
    let mut rest = &mut body[..];
    for part in parts {
        // Byte by byte this would cost as much as half a cipher's pass.
        let Some((head, tail)) = rest.split_at_mut_checked(part.len()) else { break };
        head.copy_from_slice(part);
        rest = tail;
    }
    body
}

/// Splits `key ‖ tag ‖ text`.
pub(super) fn split_keyed(bytes: &[u8]) -> Option<(DhKey, Tag, &[u8])> {
    let (key, rest) = bytes.split_first_chunk::<KEY_LEN>()?;
    let (tag, text) = rest.split_first_chunk::<TAG_LEN>()?;
    Some((DhKey(*key), *tag, text))
}

/// Splits `tag ‖ text`.
pub(super) fn split_tagged(bytes: &[u8]) -> Option<(Tag, &[u8])> {
    bytes.split_first_chunk::<TAG_LEN>().map(|(tag, text)| (*tag, text))
}

/// `len u16 ‖ data ‖ zeros`, `total` bytes; `None` unless `reserve` zeros are left at the tail.
pub(super) fn frame_data(data: &[u8], total: usize, reserve: usize) -> Option<Vec<u8>> {
    if DATA_PREFIX_LEN + data.len() + reserve > total {
        return None;
    }
    let mut out = Vec::with_capacity(total);
    out.extend_from_slice(&u16::try_from(data.len()).ok()?.to_be_bytes());
    out.extend_from_slice(data);
    out.resize(total, 0);
    Some(out)
}

/// As [`frame_data`], but what follows the data is random: with zeros, the exit would read the path's length off it.
pub(super) fn frame_random(data: &[u8], total: usize, reserve: usize, rng: &mut dyn CryptoRng) -> Option<Vec<u8>> {
    let mut out = frame_data(data, total, reserve)?;
    if let Some(rest) = out.get_mut(DATA_PREFIX_LEN + data.len()..) {
        rng.fill_bytes(rest);
    }
    Some(out)
}

/// The data of a frame; what follows is not looked at.
pub(super) fn unframe(bytes: &[u8]) -> Result<&[u8], Malformed> {
    let mut reader = Reader::new(bytes);
    let len = usize::from(reader.u16()?);
    reader.bytes(len)
}

/// The data of a frame; nothing but zeros may follow.
pub(super) fn unframe_padded(bytes: &[u8]) -> Result<&[u8], Malformed> {
    let mut reader = Reader::new(bytes);
    let len = usize::from(reader.u16()?);
    let data = reader.bytes(len)?;
    reader.finish_padded()?;
    Ok(data)
}

/// One step of the filler computation: what the next hop's body ends with, once this hop has decrypted and appended.
///
/// `tail` are the last bytes of this hop's ciphertext, `text_len` its length; `xor` applies the hop's keystream from an offset.
pub(super) fn extend_tail(tail: &mut Vec<u8>, text_len: usize, xor: impl FnOnce(usize, &mut [u8]), filler: &[u8]) {
    xor(text_len.saturating_sub(tail.len()), tail);
    tail.extend_from_slice(filler);
}

/// Overwrites the end of an exit's plaintext so that its ciphertext ends with `tail`.
pub(super) fn correct_tail(text: &mut [u8], tail: &[u8], xor: impl FnOnce(usize, &mut [u8])) {
    let at = text.len().saturating_sub(tail.len());
    let mut corrected = tail.to_vec();
    xor(at, &mut corrected);
    if let Some(end) = text.get_mut(at..) {
        end.copy_from_slice(&corrected);
    }
}

/// `N` bytes of a filler stream from byte `skip` on.
pub(super) fn filler<const N: usize>(key: &Key, skip: usize) -> [u8; N] {
    let mut out = [0; N];
    key.fill(skip, &mut out);
    out
}
