//! `Noise_NK_25519_ChaChaPoly_BLAKE2s` by hand, because the onion needs its keystream and its chaining key.
//!
//! Only key agreement and symmetric state live here; where bodies, tags and fillers stand is the onion's matter.
//! Source: The Noise Protocol Framework, revision 34, §5 and §7; spec/onion.md §2.

use blake2::{Blake2s256, Digest};
use hmac::{KeyInit, Mac, SimpleHmac};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::aead::{Key, Tag};
use super::keys::{DhKey, DhSecret};
use super::{CryptoRng, Forged};

const NAME: &[u8] = b"Noise_NK_25519_ChaChaPoly_BLAKE2s";
const FILLER: &[u8] = b"bauta/1 filler";

/// Noise's SymmetricState, without its CipherState: every key here is used once.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
struct Symmetric {
    ck: [u8; 32],
    h: [u8; 32],
}

fn hmac(key: &[u8; 32], data: &[u8]) -> Zeroizing<[u8; 32]> {
    let mut mac = <SimpleHmac<Blake2s256> as KeyInit>::new(&mac_block(key).into());
    mac.update(data);
    Zeroizing::new(mac.finalize().into_bytes().into())
}

/// HMAC pads keys to the hash's block with zeros (RFC 2104 §2).
fn mac_block(key: &[u8; 32]) -> [u8; 64] {
    let mut block = [0; 64];
    if let Some(head) = block.first_chunk_mut::<32>() {
        *head = *key;
    }
    block
}

/// HKDF of Noise §4.3, two outputs.
fn hkdf2(ck: &[u8; 32], input: &[u8]) -> (Zeroizing<[u8; 32]>, Zeroizing<[u8; 32]>) {
    let temp = hmac(ck, input);
    let first = hmac(&temp, &[1]);
    let mut second_input = Zeroizing::new([0; 33]);
    second_input.iter_mut().zip(first.iter().chain(&[2])).for_each(|(to, from)| *to = *from);
    let second = hmac(&temp, &*second_input);
    (first, second)
}

impl Symmetric {
    fn new(prologue: &[u8], responder: &DhKey) -> Self {
        let h: [u8; 32] = Blake2s256::digest(NAME).into();
        let mut state = Self { ck: h, h };
        state.mix_hash(prologue);
        state.mix_hash(&responder.0);
        state
    }

    fn mix_hash(&mut self, data: &[u8]) {
        self.h = Blake2s256::new().chain_update(self.h).chain_update(data).finalize().into();
    }

    fn mix_key(&mut self, input: &[u8; 32]) -> Key {
        let (ck, key) = hkdf2(&self.ck, input);
        self.ck = *ck;
        Key::new(*key)
    }

    fn filler(&self) -> Key {
        Key::new(*hmac(&self.ck, FILLER))
    }

    fn split(&self) -> (Key, Key) {
        let (forward, backward) = hkdf2(&self.ck, &[]);
        (Key::new(*forward), Key::new(*backward))
    }
}

/// The initiator after its ephemeral key and `es`: can seal message 1.
pub struct Initiator {
    state: Symmetric,
    ephemeral: DhSecret,
    key: Key,
}

/// The initiator after message 1: waits for message 2.
#[derive(Clone)]
pub struct InitiatorWaiting {
    state: Symmetric,
    ephemeral: DhSecret,
}

/// The responder after message 1 has opened: can make message 2.
pub struct Responder {
    state: Symmetric,
    peer: DhKey,
    filler: Key,
}

/// Keys of one hop once `ee` is mixed in: message 2 and everything later.
#[derive(Clone)]
pub struct Session {
    /// Seals or opens message 2, counter 0, with [`Self::ad`].
    pub reply0: Key,
    /// The handshake hash before message 2's payload.
    pub ad: [u8; 32],
    /// From initiator to responder, later messages.
    pub forward: Key,
    /// From responder to initiator, later messages.
    pub backward: Key,
    /// Filler of forward cells (`ck` after `ee`).
    pub filler: Key,
}

impl Initiator {
    /// Fresh ephemeral key, `e` and `es` mixed.
    ///
    /// # Errors
    /// [`Forged`] when the responder's key is of small order.
    pub fn new(prologue: &[u8], responder: &DhKey, rng: &mut dyn CryptoRng) -> Result<Self, Forged> {
        Self::with_ephemeral(prologue, responder, DhSecret::generate(rng))
    }

    fn with_ephemeral(prologue: &[u8], responder: &DhKey, ephemeral: DhSecret) -> Result<Self, Forged> {
        let mut state = Symmetric::new(prologue, responder);
        state.mix_hash(&ephemeral.public().0);
        let key = state.mix_key(&*ephemeral.agree(responder)?);
        Ok(Self { state, ephemeral, key })
    }

    /// The ephemeral public key, in clear at the head of message 1.
    #[must_use]
    pub fn ephemeral(&self) -> DhKey {
        self.ephemeral.public()
    }

    /// XORs message 1's keystream from byte `skip` on.
    pub fn xor_keystream(&self, skip: usize, text: &mut [u8]) {
        self.key.xor_keystream(0, skip, text);
    }

    /// The filler key of the build packet (`ck` after `es`).
    #[must_use]
    pub fn filler(&self) -> Key {
        self.state.filler()
    }

    /// Encrypts message 1's payload in place.
    #[must_use]
    pub fn seal(mut self, payload: &mut [u8]) -> (Tag, InitiatorWaiting) {
        let tag = self.key.seal(0, &self.state.h, payload);
        mix_sealed(&mut self.state, payload, &tag);
        (tag, InitiatorWaiting { state: self.state, ephemeral: self.ephemeral })
    }
}

impl InitiatorWaiting {
    /// The keys of message 2 and after, from the responder's ephemeral key. Nothing is proven until message 2's tag fits.
    ///
    /// # Errors
    /// [`Forged`] when that key is of small order.
    pub fn session(mut self, responder_ephemeral: &DhKey) -> Result<Session, Forged> {
        self.state.mix_hash(&responder_ephemeral.0);
        let reply0 = self.state.mix_key(&*self.ephemeral.agree(responder_ephemeral)?);
        Ok(session(self.state, reply0))
    }
}

impl Responder {
    /// Opens message 1 in place: `peer` is the ephemeral key at its head.
    ///
    /// # Errors
    /// [`Forged`] when anything does not fit; the payload is then unchanged.
    pub fn open(
        prologue: &[u8],
        secret: &DhSecret,
        peer: &DhKey,
        payload: &mut [u8],
        tag: &Tag,
    ) -> Result<Self, Forged> {
        let mut state = Symmetric::new(prologue, &secret.public());
        state.mix_hash(&peer.0);
        let key = state.mix_key(&*secret.agree(peer)?);
        let filler = state.filler();
        let before = state.h;
        mix_sealed(&mut state, payload, tag);
        key.open(0, &before, payload, tag)?;
        Ok(Self { state, peer: *peer, filler })
    }

    /// First bytes of the handshake hash: what a replay filter remembers.
    #[must_use]
    pub fn replay_tag(&self) -> [u8; 16] {
        *self.state.h.first_chunk::<16>().unwrap_or(&[0; 16])
    }

    /// The filler key of the build packet.
    #[must_use]
    pub fn filler(&self) -> &Key {
        &self.filler
    }

    /// Answers with a fresh ephemeral key: its public half and the keys of message 2 and after.
    ///
    /// # Errors
    /// [`Forged`] when the initiator's key is of small order.
    pub fn answer(self, rng: &mut dyn CryptoRng) -> Result<(DhKey, Session), Forged> {
        self.answer_with(&DhSecret::generate(rng))
    }

    fn answer_with(mut self, ephemeral: &DhSecret) -> Result<(DhKey, Session), Forged> {
        self.state.mix_hash(&ephemeral.public().0);
        let reply0 = self.state.mix_key(&*ephemeral.agree(&self.peer)?);
        Ok((ephemeral.public(), session(self.state, reply0)))
    }
}

fn mix_sealed(state: &mut Symmetric, ciphertext: &[u8], tag: &Tag) {
    state.h = Blake2s256::new().chain_update(state.h).chain_update(ciphertext).chain_update(tag).finalize().into();
}

fn session(state: Symmetric, reply0: Key) -> Session {
    let (forward, backward) = state.split();
    Session { reply0, ad: state.h, forward, backward, filler: state.filler() }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::ChaCha20Rng;
    use snow::{Builder, HandshakeState};

    use super::*;
    use crate::crypto::tests::{array, bytes};
    use crate::limits::TAG_LEN;

    const CACOPHONY_RESPONDER: &str = "4a3acbfdb163dec651dfa3194dece676d437029c62a408b4c5ea9114246e4893";
    const CACOPHONY_EPHEMERALS: [&str; 2] = [
        "893e28b9dc6ca8d611ab664754b8ceb7bac5117349a4439a6b0569da977c464a",
        "bbdb4cdbd309f1a1f2e1456967fe288cadd6f712d65dc7b7793d5e63da6b375b",
    ];
    /// Payload and message.
    const CACOPHONY_MESSAGES: [(&str, &str); 6] = [
        (
            "4c756477696720766f6e204d69736573",
            "ca35def5ae56cec33dc2036731ab14896bc4c75dbb07a61f879f8e3afa4c7944\
             54ae7612d1724af42adb130160a9a94e67b5b169b4e00c189f6467cd17eb7cad",
        ),
        (
            "4d757272617920526f746862617264",
            "95ebc60d2b1fa672c1f46a8aa265ef51bfe38e7ccb39ec5be34069f144808843\
             986a5c929337e337ac8b4a074af12ab9f76318a5f18c8b599a443af07383ce",
        ),
        ("462e20412e20486179656b", "550027c7a5d450017bcb5e12b8253b1c53fd2213aeda84891d5f95"),
        ("4361726c204d656e676572", "dfbce0c38210ccee35e830aca9dd8b8b3997b933e75bfc8864b759"),
        ("4a65616e2d426170746973746520536179", "4c487a88330c7c65e44d430addf3d92d2a15b081a2892b96693e00b68aec0adac2"),
        (
            "457567656e2042f6686d20766f6e2042617765726b",
            "471cb9f8252d8ae7b25c93f4b4aebdbf25e5baa23f14bc743559e3ef7fd065e69cfaef55ee",
        ),
    ];

    fn snow_side(secret: Option<&DhSecret>, peer: Option<DhKey>) -> HandshakeState {
        let params = "Noise_NK_25519_ChaChaPoly_BLAKE2s".parse().unwrap();
        let builder = Builder::new(params).prologue(b"prologue").unwrap();
        match (secret, peer) {
            (Some(secret), _) => builder.local_private_key(&*secret.to_bytes()).unwrap().build_responder().unwrap(),
            (None, Some(peer)) => builder.remote_public_key(&peer.0).unwrap().build_initiator().unwrap(),
            (None, None) => unreachable!("one of the two sides is asked for"),
        }
    }

    /// `key ‖ text ‖ tag`, as a Noise message has them.
    fn split(message: &[u8]) -> (DhKey, Vec<u8>, Tag) {
        let (key, rest) = message.split_first_chunk::<32>().unwrap();
        let (text, tag) = rest.split_last_chunk::<TAG_LEN>().unwrap();
        (DhKey(*key), text.to_vec(), *tag)
    }

    fn sealed(key: &Key, counter: u64, text: &[u8]) -> Vec<u8> {
        let mut out = text.to_vec();
        let tag = key.seal(counter, &[], &mut out);
        out.extend_from_slice(&tag);
        out
    }

    fn opened(key: &Key, counter: u64, message: &[u8]) -> Vec<u8> {
        let (text, tag) = message.split_last_chunk::<TAG_LEN>().unwrap();
        let mut text = text.to_vec();
        key.open(counter, &[], &mut text, tag).unwrap();
        text
    }

    /// Three messages each way, in turn: counters, keys and their directions are the same on both sides.
    fn transport_holds(mut snow: snow::TransportState, ours_out: &Key, ours_in: &Key) {
        let mut out = [0; 200];
        for counter in 0..3 {
            let len = snow.read_message(&sealed(ours_out, counter, b"out"), &mut out).unwrap();
            assert_eq!(&out[..len], b"out");
            let len = snow.write_message(b"back", &mut out).unwrap();
            assert_eq!(opened(ours_in, counter, &out[..len]), b"back");
        }
    }

    #[test]
    fn our_initiator_speaks_with_snows_responder() {
        let mut rng = ChaCha20Rng::seed_from_u64(5);
        let secret = DhSecret::generate(&mut rng);
        let mut snow = snow_side(Some(&secret), None);
        let ours = Initiator::new(b"prologue", &secret.public(), &mut rng).unwrap();
        let ephemeral = ours.ephemeral();
        let mut text = *b"payload one";
        let (tag, waiting) = ours.seal(&mut text);
        let mut out = [0; 200];
        let len = snow.read_message(&[&ephemeral.0[..], &text, &tag].concat(), &mut out).unwrap();
        assert_eq!(&out[..len], b"payload one");

        let len = snow.write_message(b"payload two", &mut out).unwrap();
        let (ephemeral, mut text, tag) = split(&out[..len]);
        let session = waiting.session(&ephemeral).unwrap();
        session.reply0.open(0, &session.ad, &mut text, &tag).unwrap();
        assert_eq!(text, b"payload two");
        transport_holds(snow.into_transport_mode().unwrap(), &session.forward, &session.backward);
    }

    #[test]
    fn our_responder_speaks_with_snows_initiator() {
        let mut rng = ChaCha20Rng::seed_from_u64(6);
        let secret = DhSecret::generate(&mut rng);
        let mut snow = snow_side(None, Some(secret.public()));
        let mut out = [0; 200];
        let len = snow.write_message(b"payload one", &mut out).unwrap();
        let (peer, mut text, tag) = split(&out[..len]);
        let ours = Responder::open(b"prologue", &secret, &peer, &mut text, &tag).unwrap();
        assert_eq!(text, b"payload one");

        let (ephemeral, session) = ours.answer(&mut rng).unwrap();
        let mut text = *b"payload two";
        let tag = session.reply0.seal(0, &session.ad, &mut text);
        let len = snow.read_message(&[&ephemeral.0[..], &text, &tag].concat(), &mut out).unwrap();
        assert_eq!(&out[..len], b"payload two");
        transport_holds(snow.into_transport_mode().unwrap(), &session.backward, &session.forward);
    }

    /// Source: cacophony's vectors, `Noise_NK_25519_ChaChaPoly_BLAKE2s`; messages alternate, the initiator first.
    #[test]
    fn a_published_handshake_and_its_transport_come_out_byte_for_byte() {
        let messages = CACOPHONY_MESSAGES.map(|(payload, message)| (bytes(payload), bytes(message)));
        let secret = DhSecret::from_bytes(&array(CACOPHONY_RESPONDER));
        let (initiator, responder) = (array(CACOPHONY_EPHEMERALS[0]), array(CACOPHONY_EPHEMERALS[1]));
        let initiator = DhSecret::from_bytes(&initiator);
        let one = Initiator::with_ephemeral(b"John Galt", &secret.public(), initiator).unwrap();
        let (ephemeral, mut text) = (one.ephemeral(), messages[0].0.clone());
        let (tag, waiting) = one.seal(&mut text);
        assert_eq!([&ephemeral.0[..], &text, &tag].concat(), messages[0].1);

        let two = Responder::open(b"John Galt", &secret, &ephemeral, &mut text, &tag).unwrap();
        assert_eq!(text, messages[0].0);
        let (ephemeral, theirs) = two.answer_with(&DhSecret::from_bytes(&responder)).unwrap();
        let mut text = messages[1].0.clone();
        let tag = theirs.reply0.seal(0, &theirs.ad, &mut text);
        assert_eq!([&ephemeral.0[..], &text, &tag].concat(), messages[1].1);

        let mine = waiting.session(&ephemeral).unwrap();
        mine.reply0.open(0, &mine.ad, &mut text, &tag).unwrap();
        assert_eq!(text, messages[1].0);
        for (at, (payload, message)) in messages.iter().enumerate().skip(2) {
            let (from, to) =
                if at % 2 == 0 { (&mine.forward, &theirs.forward) } else { (&theirs.backward, &mine.backward) };
            let counter = u64::try_from(at / 2 - 1).unwrap();
            assert_eq!(&sealed(from, counter, payload), message);
            assert_eq!(&opened(to, counter, message), payload);
        }
    }

    #[test]
    fn both_sides_of_ours_have_the_same_fillers_and_another_prologue_is_refused() {
        let mut rng = ChaCha20Rng::seed_from_u64(7);
        let secret = DhSecret::generate(&mut rng);
        let ours = Initiator::new(b"prologue", &secret.public(), &mut rng).unwrap();
        let (peer, filler) = (ours.ephemeral(), ours.filler());
        let mut text = *b"x";
        let (tag, waiting) = ours.seal(&mut text);
        let mut copy = text;
        assert!(Responder::open(b"prologuf", &secret, &peer, &mut copy, &tag).is_err());
        assert_eq!(copy, text, "a refused payload is left alone");
        let responder = Responder::open(b"prologue", &secret, &peer, &mut text, &tag).unwrap();
        assert_eq!(responder.filler().as_bytes(), filler.as_bytes());
        let (ephemeral, theirs) = responder.answer(&mut rng).unwrap();
        let mine = waiting.session(&ephemeral).unwrap();
        assert_eq!(mine.filler.as_bytes(), theirs.filler.as_bytes());
        assert_ne!(mine.forward.as_bytes(), mine.backward.as_bytes());
    }
}
