//! `Noise_IK_25519_ChaChaPoly_BLAKE2s` for links, by snow over our own primitives. One message is one frame.
//!
//! Source: The Noise Protocol Framework, revision 34, §7.5; spec/link.md §2.

use snow::{Builder, HandshakeState, TransportState};

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
        Ok(Transport { state, rekey_every: REKEY_MESSAGES, sealed: 0, opened: 0 })
    }
}

impl Transport {
    /// Seals one cell into one frame.
    ///
    /// # Errors
    /// [`Forged`] when the cipher refuses (never met below 2^64 messages).
    pub fn seal(&mut self, cell: &[u8; CELL_LEN], frame: &mut [u8; FRAME_LEN]) -> Result<(), Forged> {
        self.state.write_message(cell, frame).map_err(|_| Forged)?;
        self.sealed += 1;
        if self.sealed.is_multiple_of(self.rekey_every) {
            self.state.rekey_outgoing();
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
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::ChaCha20Rng;

    use super::*;

    fn snow(secret: &DhSecret, peer: Option<DhKey>) -> HandshakeState {
        let builder = Builder::new(PATTERN.parse().unwrap()).prologue(b"p").unwrap();
        let bytes = secret.to_bytes();
        let builder = builder.local_private_key(&*bytes).unwrap();
        match peer {
            Some(peer) => builder.remote_public_key(&peer.0).unwrap().build_initiator().unwrap(),
            None => builder.build_responder().unwrap(),
        }
    }

    #[test]
    fn our_resolver_speaks_with_snows_own_both_ways() {
        let mut rng = ChaCha20Rng::seed_from_u64(1);
        let (a, b) = (DhSecret::generate(&mut rng), DhSecret::generate(&mut rng));
        let (mut wire, mut text) = ([0; 4096], [0; 4096]);

        let mut ours = Handshake::initiate(b"p", &a, &b.public(), &mut rng).unwrap();
        let mut theirs = snow(&b, None);
        let len = ours.write(b"one", &mut wire).unwrap();
        assert_eq!(len, 3 + MESSAGE1_OVERHEAD);
        assert_eq!(theirs.read_message(&wire[..len], &mut text).unwrap(), 3);
        let len = theirs.write_message(b"two!", &mut wire).unwrap();
        assert_eq!(len, 4 + MESSAGE2_OVERHEAD);
        assert_eq!(ours.read(&wire[..len], &mut text).unwrap(), 4);

        let mut ours = Handshake::respond(b"p", &a, &mut rng).unwrap();
        let mut theirs = snow(&b, Some(a.public()));
        let len = theirs.write_message(b"one", &mut wire).unwrap();
        assert_eq!(ours.read(&wire[..len], &mut text).unwrap(), 3);
        assert_eq!(ours.peer(), Some(b.public()));
        let len = ours.write(b"two", &mut wire).unwrap();
        assert_eq!(theirs.read_message(&wire[..len], &mut text).unwrap(), 3);
        let mut ours = ours.into_transport().unwrap();
        let mut theirs = theirs.into_transport_mode().unwrap();
        let mut frame = [0; FRAME_LEN];
        ours.seal(&[5; CELL_LEN], &mut frame).unwrap();
        assert_eq!(theirs.read_message(&frame, &mut text).unwrap(), CELL_LEN);
        assert_eq!(text[..CELL_LEN], [5; CELL_LEN]);
    }

    fn pair(rekey_every: u64) -> (Transport, Transport) {
        let mut rng = ChaCha20Rng::seed_from_u64(2);
        let (a, b) = (DhSecret::generate(&mut rng), DhSecret::generate(&mut rng));
        let mut one = Handshake::initiate(b"p", &a, &b.public(), &mut rng).unwrap();
        let mut two = Handshake::respond(b"p", &b, &mut rng).unwrap();
        let (mut wire, mut text) = ([0; 256], [0; 256]);
        let len = one.write(&[], &mut wire).unwrap();
        two.read(&wire[..len], &mut text).unwrap();
        let len = two.write(&[], &mut wire).unwrap();
        one.read(&wire[..len], &mut text).unwrap();
        let (mut one, mut two) = (one.into_transport().unwrap(), two.into_transport().unwrap());
        (one.rekey_every, two.rekey_every) = (rekey_every, rekey_every);
        (one, two)
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
    fn garbage_and_replays_are_refused_and_advance_no_nonce() {
        let (mut one, mut two) = pair(1 << 20);
        let (mut frame, mut cell) = ([0; FRAME_LEN], [0; CELL_LEN]);
        one.seal(&[1; CELL_LEN], &mut frame).unwrap();
        assert_eq!(two.open(&[7; FRAME_LEN], &mut cell), Err(Forged));
        two.open(&frame, &mut cell).unwrap();
        assert_eq!(two.open(&frame, &mut cell), Err(Forged));
    }

    #[test]
    fn a_small_order_static_key_ends_the_handshake() {
        let mut rng = ChaCha20Rng::seed_from_u64(3);
        let a = DhSecret::generate(&mut rng);
        let mut one = Handshake::initiate(b"p", &a, &DhKey([0; KEY_LEN]), &mut rng).unwrap();
        assert_eq!(one.write(&[], &mut [0; 256]), Err(Forged));
    }
}
