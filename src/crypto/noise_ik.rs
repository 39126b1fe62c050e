//! `Noise_IK_25519_ChaChaPoly_BLAKE2s` for links, by snow over our own primitives. One message is one frame.
//!
//! Source: The Noise Protocol Framework, revision 34, §7.5; spec/link.md §2.

use snow::{Builder, HandshakeState, TransportState};
use zeroize::Zeroizing;

use super::aead::Key;
use super::keys::{DhKey, DhSecret};
use super::resolver::Resolver;
use super::{CryptoRng, Forged, random_bytes};
use crate::limits::{CELL_LEN, FRAME_LEN, KEY_LEN, REKEY_MESSAGES};

const PATTERN: &str = "Noise_IK_25519_ChaChaPoly_BLAKE2s";

/// Bytes that message 1 adds to its payload: `e`, sealed `s`, tag.
pub const MESSAGE1_OVERHEAD: usize = 32 + 48 + 16;
/// Bytes that message 2 adds to its payload: `e`, tag.
pub const MESSAGE2_OVERHEAD: usize = 32 + 16;

/// A handshake under way, either role. Consumed into its [`Transport`].
pub struct Handshake(HandshakeState);

/// Both directions of a finished handshake. Keys are replaced by count, on both sides alike.
pub struct Transport {
    state: TransportState,
    rekey_every: u64,
    sealed: u64,
    opened: u64,
    /// On a link whose keys are logged alone.
    exposed: Option<Box<Exposed>>,
}

/// Both keys of a link as they are: whoever has them reads it. Never printed but by a key log (spec/link.md §8).
#[derive(Clone)]
pub struct LinkKeys {
    /// Of what the initiator sends.
    pub initiator: DirectionKey,
    /// Of what the responder sends.
    pub responder: DirectionKey,
}

/// The key of one direction, and from which message on it holds. Wiped when dropped.
#[derive(Clone)]
pub struct DirectionKey {
    /// Number of the first transport message under it, from 0.
    pub from: u64,
    /// The key.
    pub key: Zeroizing<[u8; KEY_LEN]>,
}

struct Exposed {
    keys: LinkKeys,
    is_initiator: bool,
    /// Whether nobody has been told of them yet.
    is_news: bool,
}

impl DirectionKey {
    /// The first of a direction; copied from where it is wiped to where it will be.
    fn first(split: &[u8; KEY_LEN]) -> Self {
        let mut key = Zeroizing::new([0; KEY_LEN]);
        key.copy_from_slice(split);
        Self { from: 0, key }
    }

    /// As Noise has it in §4.2: what sealing zeros under the greatest nonce gives, without its tag.
    fn rekey(&mut self, from: u64) {
        let mut next = Zeroizing::new([0; KEY_LEN]);
        Key::new(*self.key).seal(u64::MAX, &[], &mut *next);
        self.from = from;
        // Over the old one, which is so wiped.
        self.key.copy_from_slice(&*next);
    }
}

impl Exposed {
    fn rekey(&mut self, is_sending: bool, from: u64) {
        let of_initiator = is_sending == self.is_initiator;
        let key = if of_initiator { &mut self.keys.initiator } else { &mut self.keys.responder };
        key.rekey(from);
        self.is_news = true;
    }
}

impl Handshake {
    /// The side that dials, knowing the peer's link key.
    ///
    /// # Errors
    /// [`Forged`] when snow refuses the parameters (never met).
    pub fn initiate(prologue: &[u8], secret: &DhSecret, peer: &DhKey, rng: &mut dyn CryptoRng) -> Result<Self, Forged> {
        Self::build(prologue, secret, Some(peer), rng)
    }

    /// The side that accepts.
    ///
    /// # Errors
    /// [`Forged`] when snow refuses the parameters (never met).
    pub fn respond(prologue: &[u8], secret: &DhSecret, rng: &mut dyn CryptoRng) -> Result<Self, Forged> {
        Self::build(prologue, secret, None, rng)
    }

    fn build(
        prologue: &[u8],
        secret: &DhSecret,
        peer: Option<&DhKey>,
        rng: &mut dyn CryptoRng,
    ) -> Result<Self, Forged> {
        let seed = zeroize::Zeroizing::new(random_bytes(rng));
        let secret = secret.to_bytes();
        let params = PATTERN.parse().map_err(|_| Forged)?;
        let builder = Builder::with_resolver(params, Box::new(Resolver(seed)));
        let builder = builder.prologue(prologue).map_err(|_| Forged)?;
        let builder = builder.local_private_key(&*secret).map_err(|_| Forged)?;
        let state = match peer {
            Some(peer) => builder.remote_public_key(&peer.0).map_err(|_| Forged)?.build_initiator(),
            None => builder.build_responder(),
        };
        state.map(Self).map_err(|_| Forged)
    }

    /// Writes the next message with this payload; `out` must hold it.
    ///
    /// # Errors
    /// [`Forged`] when it is not this side's turn, `out` is too small or a key is of small order.
    pub fn write(&mut self, payload: &[u8], out: &mut [u8]) -> Result<usize, Forged> {
        self.0.write_message(payload, out).map_err(|_| Forged)
    }

    /// Reads the peer's message; the payload is written to `out`.
    ///
    /// # Errors
    /// [`Forged`] whatever the reason.
    pub fn read(&mut self, message: &[u8], out: &mut [u8]) -> Result<usize, Forged> {
        self.0.read_message(message, out).map_err(|_| Forged)
    }

    /// The peer's static key, once known.
    #[must_use]
    pub fn peer(&self) -> Option<DhKey> {
        self.0.get_remote_static()?.first_chunk::<KEY_LEN>().map(|key| DhKey(*key))
    }

    /// The finished handshake's transport.
    ///
    /// # Errors
    /// [`Forged`] when the handshake is not finished.
    pub fn into_transport(self) -> Result<Transport, Forged> {
        let state = self.0.into_transport_mode().map_err(|_| Forged)?;
        Ok(Transport { state, rekey_every: REKEY_MESSAGES, sealed: 0, opened: 0, exposed: None })
    }

    /// As [`Self::into_transport`], and it tells its keys: for a key log alone.
    ///
    /// # Errors
    /// As [`Self::into_transport`].
    pub fn into_exposed_transport(mut self) -> Result<Transport, Forged> {
        let is_initiator = self.0.is_initiator();
        // Before the handshake is finished there are no such keys, and the transport is refused below.
        let split = Zeroizing::new(self.0.dangerously_get_raw_split());
        let keys = LinkKeys { initiator: DirectionKey::first(&split.0), responder: DirectionKey::first(&split.1) };
        let exposed = Some(Box::new(Exposed { keys, is_initiator, is_news: true }));
        Ok(Transport { exposed, ..self.into_transport()? })
    }
}

impl Transport {
    /// The same with keys replaced after so many cells: for tests, which cannot wait for [`REKEY_MESSAGES`]. Both ends must mean
    /// the same, from the first cell on.
    #[doc(hidden)]
    #[must_use]
    pub fn rekeyed_every(self, messages: u64) -> Self {
        Self { rekey_every: messages, ..self }
    }

    /// Seals one cell into one frame.
    ///
    /// # Errors
    /// [`Forged`] when the cipher refuses (never met below 2^64 messages).
    pub fn seal(&mut self, cell: &[u8; CELL_LEN], frame: &mut [u8; FRAME_LEN]) -> Result<(), Forged> {
        self.state.write_message(cell, frame).map_err(|_| Forged)?;
        self.sealed += 1;
        if self.sealed.is_multiple_of(self.rekey_every) {
            self.state.rekey_outgoing();
            if let Some(exposed) = &mut self.exposed {
                exposed.rekey(true, self.sealed);
            }
        }
        Ok(())
    }

    /// Opens one frame into one cell. A failure advances nothing; the link must end.
    ///
    /// # Errors
    /// [`Forged`] when the frame is not the next one of the peer.
    pub fn open(&mut self, frame: &[u8; FRAME_LEN], cell: &mut [u8; CELL_LEN]) -> Result<(), Forged> {
        self.state.read_message(frame, cell).map_err(|_| Forged)?;
        self.opened += 1;
        if self.opened.is_multiple_of(self.rekey_every) {
            self.state.rekey_incoming();
            if let Some(exposed) = &mut self.exposed {
                exposed.rekey(false, self.opened);
            }
        }
        Ok(())
    }

    /// The keys, when they are new or were replaced since this was asked last; `None` always, unless they were to be exposed.
    pub fn take_exposed(&mut self) -> Option<LinkKeys> {
        let exposed = self.exposed.as_mut().filter(|exposed| exposed.is_news)?;
        exposed.is_news = false;
        Some(exposed.keys.clone())
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::ChaCha20Rng;

    use super::*;
    use crate::crypto::tests::{array, bytes};

    fn snow(secret: &DhSecret, peer: Option<DhKey>) -> HandshakeState {
        let builder = Builder::new(PATTERN.parse().unwrap()).prologue(b"p").unwrap();
        let bytes = secret.to_bytes();
        let builder = builder.local_private_key(&*bytes).unwrap();
        match peer {
            Some(peer) => builder.remote_public_key(&peer.0).unwrap().build_initiator().unwrap(),
            None => builder.build_responder().unwrap(),
        }
    }

    /// Cells both ways, in turn, over more than two replacements of keys.
    fn transport_holds(ours: Handshake, theirs: HandshakeState) {
        let (mut ours, mut theirs) = (ours.into_transport().unwrap(), theirs.into_transport_mode().unwrap());
        assert_eq!(ours.rekey_every, 1 << 20);
        ours.rekey_every = 2;
        let (mut frame, mut cell, mut text) = ([0; FRAME_LEN], [0; CELL_LEN], [0; 4096]);
        for round in 1..=5 {
            ours.seal(&[round; CELL_LEN], &mut frame).unwrap();
            assert_eq!(theirs.read_message(&frame, &mut text).unwrap(), CELL_LEN);
            assert_eq!(text[..CELL_LEN], [round; CELL_LEN]);
            assert_eq!(theirs.write_message(&[round ^ 0x80; CELL_LEN], &mut frame).unwrap(), FRAME_LEN);
            ours.open(&frame, &mut cell).unwrap();
            assert_eq!(cell, [round ^ 0x80; CELL_LEN]);
            if round % 2 == 0 {
                theirs.rekey_incoming();
                theirs.rekey_outgoing();
            }
        }
    }

    // [LINK-W-005] [LINK-W-026]
    #[test]
    fn our_initiator_speaks_with_snows_own_responder() {
        let mut rng = ChaCha20Rng::seed_from_u64(1);
        let (a, b) = (DhSecret::generate(&mut rng), DhSecret::generate(&mut rng));
        let (mut wire, mut text) = ([0; 4096], [0; 4096]);
        let mut ours = Handshake::initiate(b"p", &a, &b.public(), &mut rng).unwrap();
        let mut theirs = snow(&b, None);
        let len = ours.write(b"one", &mut wire).unwrap();
        assert_eq!(len, 3 + MESSAGE1_OVERHEAD);
        let len = theirs.read_message(&wire[..len], &mut text).unwrap();
        assert_eq!((&text[..len], theirs.get_remote_static()), (&b"one"[..], Some(&a.public().0[..])));
        let len = theirs.write_message(b"two!", &mut wire).unwrap();
        assert_eq!(len, 4 + MESSAGE2_OVERHEAD);
        let len = ours.read(&wire[..len], &mut text).unwrap();
        assert_eq!(&text[..len], b"two!");
        transport_holds(ours, theirs);
    }

    // [LINK-W-005] [LINK-W-026]
    #[test]
    fn our_responder_speaks_with_snows_own_initiator() {
        let mut rng = ChaCha20Rng::seed_from_u64(1);
        let (a, b) = (DhSecret::generate(&mut rng), DhSecret::generate(&mut rng));
        let (mut wire, mut text) = ([0; 4096], [0; 4096]);
        let mut ours = Handshake::respond(b"p", &a, &mut rng).unwrap();
        let mut theirs = snow(&b, Some(a.public()));
        let len = theirs.write_message(b"one", &mut wire).unwrap();
        let len = ours.read(&wire[..len], &mut text).unwrap();
        assert_eq!((&text[..len], ours.peer()), (&b"one"[..], Some(b.public())));
        let len = ours.write(b"two!", &mut wire).unwrap();
        let len = theirs.read_message(&wire[..len], &mut text).unwrap();
        assert_eq!(&text[..len], b"two!");
        transport_holds(ours, theirs);
    }

    /// Payload and message. Source: cacophony's vectors, `Noise_IK_25519_ChaChaPoly_BLAKE2s`; the initiator begins.
    const CACOPHONY: [(&str, &str); 6] = [
        (
            "4c756477696720766f6e204d69736573",
            "ca35def5ae56cec33dc2036731ab14896bc4c75dbb07a61f879f8e3afa4c7944\
             0b03ddc7aac5123d06a1b23b71670e32e76c28239a7ca4ac8f784de7e44c1adb\
             fc6e83fef7352a58d9d56157400c0a737b1d171ce368229c7b752ac25b8faf4e\
             ca690f6d896f543be02c996ab2b86b76",
        ),
        (
            "4d757272617920526f746862617264",
            "95ebc60d2b1fa672c1f46a8aa265ef51bfe38e7ccb39ec5be34069f144808843\
             d9b5a8927f0ac9655ef76833bc7e5561f42e691ac8404efd6fbd6308b6a27c",
        ),
        ("462e20412e20486179656b", "2c256ed08fcd08c2980f954ee4beaccb61c9581340f5dd2fd1cf3b"),
        ("4361726c204d656e676572", "d6033f70eee20945c7c9dba304e397ee3b284ff5e00fd9efb095d3"),
        ("4a65616e2d426170746973746520536179", "a9c068ca5d8babf72560652d8e851adbfac35c8a66e810d560863173e96adf4cfe"),
        (
            "457567656e2042f6686d20766f6e2042617765726b",
            "2a09d8f459e5927e40fdd2eddc99bdafb04e13a26f145cb5cfe9e6ba34c94331ebc17d5156",
        ),
    ];

    #[test]
    fn a_published_handshake_and_its_transport_come_out_byte_for_byte() {
        let initiator: [u8; 32] = array("e61ef9919cde45dd5f82166404bd08e38bceb5dfdfded0a34c8df7ed542214d1");
        let responder: [u8; 32] = array("4a3acbfdb163dec651dfa3194dece676d437029c62a408b4c5ea9114246e4893");
        let ephemerals: [[u8; 32]; 2] = [
            array("893e28b9dc6ca8d611ab664754b8ceb7bac5117349a4439a6b0569da977c464a"),
            array("bbdb4cdbd309f1a1f2e1456967fe288cadd6f712d65dc7b7793d5e63da6b375b"),
        ];
        let builder = || {
            let resolver = Resolver(zeroize::Zeroizing::new([0; 32]));
            Builder::with_resolver(PATTERN.parse().unwrap(), Box::new(resolver)).prologue(b"John Galt").unwrap()
        };
        let public = DhSecret::from_bytes(&responder).public().0;
        let one = builder().local_private_key(&initiator).unwrap().remote_public_key(&public).unwrap();
        let one = one.fixed_ephemeral_key_for_testing_only(&ephemerals[0]).build_initiator().unwrap();
        let two = builder().local_private_key(&responder).unwrap();
        let two = two.fixed_ephemeral_key_for_testing_only(&ephemerals[1]).build_responder().unwrap();
        let (mut one, mut two) = (Handshake(one), Handshake(two));

        let messages = CACOPHONY.map(|(payload, message)| (bytes(payload), bytes(message)));
        let (mut wire, mut text) = ([0; 256], [0; 256]);
        for (at, (payload, message)) in messages.iter().enumerate().take(2) {
            let (from, to) = if at == 0 { (&mut one, &mut two) } else { (&mut two, &mut one) };
            let len = from.write(payload, &mut wire).unwrap();
            assert_eq!(&wire[..len], message);
            let len = to.read(message, &mut text).unwrap();
            assert_eq!(&text[..len], payload);
        }
        let (mut one, mut two) = (one.into_transport().unwrap().state, two.into_transport().unwrap().state);
        for (at, (payload, message)) in messages.iter().enumerate().skip(2) {
            let (from, to) = if at % 2 == 0 { (&mut one, &mut two) } else { (&mut two, &mut one) };
            let len = from.write_message(payload, &mut wire).unwrap();
            assert_eq!(&wire[..len], message);
            let len = to.read_message(message, &mut text).unwrap();
            assert_eq!(&text[..len], payload);
        }
    }

    /// Two ends whose handshake is finished.
    fn shaken() -> (Handshake, Handshake) {
        let mut rng = ChaCha20Rng::seed_from_u64(2);
        let (a, b) = (DhSecret::generate(&mut rng), DhSecret::generate(&mut rng));
        let mut one = Handshake::initiate(b"p", &a, &b.public(), &mut rng).unwrap();
        let mut two = Handshake::respond(b"p", &b, &mut rng).unwrap();
        let (mut wire, mut text) = ([0; 256], [0; 256]);
        let len = one.write(&[], &mut wire).unwrap();
        two.read(&wire[..len], &mut text).unwrap();
        let len = two.write(&[], &mut wire).unwrap();
        one.read(&wire[..len], &mut text).unwrap();
        (one, two)
    }

    fn pair(rekey_every: u64) -> (Transport, Transport) {
        let (one, two) = shaken();
        let end = |end: Handshake| end.into_transport().unwrap().rekeyed_every(rekey_every);
        (end(one), end(two))
    }

    #[test]
    fn keys_are_replaced_by_count_on_both_sides_alike() {
        let (mut one, mut two) = pair(3);
        let (mut frame, mut cell) = ([0; FRAME_LEN], [0; CELL_LEN]);
        for round in 0..10 {
            one.seal(&[round; CELL_LEN], &mut frame).unwrap();
            two.open(&frame, &mut cell).unwrap();
            assert_eq!(cell, [round; CELL_LEN]);
        }
    }

    #[test]
    fn exposed_keys_open_what_both_ends_seal_before_and_after_each_replacement_and_others_expose_none() {
        let (one, two) = shaken();
        let mut one = one.into_exposed_transport().unwrap().rekeyed_every(2);
        let mut two = two.into_transport().unwrap().rekeyed_every(2);
        let opens = |key: &DirectionKey, number: u64, frame: &[u8; FRAME_LEN]| {
            let (text, tag) = frame.split_last_chunk::<16>().unwrap();
            assert!(key.from <= number);
            Key::new(*key.key).open(number, &[], &mut text.to_vec(), tag).is_ok()
        };
        let (mut frame, mut cell) = ([0; FRAME_LEN], [0; CELL_LEN]);
        let mut keys = one.take_exposed().unwrap();
        assert!(one.take_exposed().is_none() && two.take_exposed().is_none());
        for number in 0..7 {
            one.seal(&[1; CELL_LEN], &mut frame).unwrap();
            two.open(&frame, &mut cell).unwrap();
            assert!(opens(&keys.initiator, number, &frame) && !opens(&keys.responder, number, &frame), "{number}");
            two.seal(&[2; CELL_LEN], &mut frame).unwrap();
            one.open(&frame, &mut cell).unwrap();
            assert!(opens(&keys.responder, number, &frame) && !opens(&keys.initiator, number, &frame), "{number}");
            let news = one.take_exposed();
            assert_eq!(news.is_some(), number % 2 == 1, "{number}");
            keys = news.unwrap_or(keys);
        }
        assert_eq!((keys.initiator.from, keys.responder.from), (6, 6));
    }

    #[test]
    fn garbage_and_replays_are_refused_and_advance_no_nonce() {
        let (mut one, mut two) = pair(1 << 20);
        let (mut frame, mut cell) = ([0; FRAME_LEN], [0; CELL_LEN]);
        one.seal(&[1; CELL_LEN], &mut frame).unwrap();
        assert_eq!(two.open(&[7; FRAME_LEN], &mut cell), Err(Forged));
        two.open(&frame, &mut cell).unwrap();
        assert_eq!(two.open(&frame, &mut cell), Err(Forged));
    }

    // [LINK-R-006]
    #[test]
    fn a_small_order_static_key_ends_the_handshake() {
        let mut rng = ChaCha20Rng::seed_from_u64(3);
        let a = DhSecret::generate(&mut rng);
        let mut one = Handshake::initiate(b"p", &a, &DhKey([0; KEY_LEN]), &mut rng).unwrap();
        assert_eq!(one.write(&[], &mut [0; 256]), Err(Forged));
    }
}
