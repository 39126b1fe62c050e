//! Who may read and write a signed value: the author's key, the label and its secret, as they stand in a link.
//! Source: spec/values.md §2.

use crate::crypto::aead::Key;
use crate::crypto::blind::{BlindedSecret, LabelSecret, blind_public};
use crate::crypto::hash::signed_location;
use crate::crypto::kdf::{Label, derive};
use crate::crypto::keys::{IdentitySecret, NodeKey, Signature};
use crate::crypto::{CryptoRng, Forged, random_bytes};
use crate::keyspace::Location;
use crate::limits::{LABEL_LEN_MAX, LOCATIONS, PAYLOAD_LEN_MAX};
use crate::wire::network::Network;
use crate::wire::record::{Expiry, RECORD_TEXT_LEN, RecordBytes, RecordFields};

use super::verified::record_message;

/// The indices of a signed value's locations.
pub const INDICES: [u8; LOCATIONS] = [0, 1, 2];

/// One location of a signed value, for whoever knows its locator.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place {
    /// Where.
    pub location: Location,
    /// What is added to sequence numbers there: storers of two locations do not see one number twice.
    pub seq_offset: u64,
}

impl Place {
    /// A sequence number as it stands in the record there.
    #[must_use]
    pub const fn seq_there(&self, seq: u64) -> u64 {
        seq.saturating_add(self.seq_offset)
    }

    /// The author's sequence number of a record there; `None` when no author wrote it so.
    #[must_use]
    pub const fn seq_of(&self, seq_there: u64) -> Option<u64> {
        seq_there.checked_sub(self.seq_offset)
    }
}

/// In the place of a payload's length: its owner has deleted what was here.
const DELETED: u16 = u16::MAX;

/// What a record says to who can open it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Opened {
    /// This payload.
    Payload(Vec<u8>),
    /// That its owner has deleted what was here before. To who cannot open it, it is an update like any other.
    Deleted,
}

/// What is needed to find and read a signed value, and no more.
#[derive(Clone, Debug)]
pub struct Locator {
    author: NodeKey,
    label: Vec<u8>,
    secret: LabelSecret,
    blinded: [NodeKey; LOCATIONS],
}

/// Why a value could not be sealed or a locator made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealRefused {
    /// The payload is longer than its room.
    #[error("a value's payload has at most {PAYLOAD_LEN_MAX} bytes")]
    PayloadTooLong,
    /// The label is longer than its room.
    #[error("a label has at most {LABEL_LEN_MAX} bytes")]
    LabelTooLong,
    /// The author's key is not usable.
    #[error("the author's key is not usable")]
    Key,
}

impl Locator {
    /// From the three parts that a link holds.
    ///
    /// # Errors
    /// [`SealRefused::Key`] when the author's key is no point of prime order, [`SealRefused::LabelTooLong`].
    pub fn new(author: NodeKey, label: &[u8], secret: LabelSecret) -> Result<Self, SealRefused> {
        if label.len() > LABEL_LEN_MAX {
            return Err(SealRefused::LabelTooLong);
        }
        let blind = |index| blind_public(&author, label, &secret, index).map_err(|_| SealRefused::Key);
        let blinded = [blind(0)?, blind(1)?, blind(2)?];
        Ok(Self { author, label: label.to_vec(), secret, blinded })
    }

    /// The author's own: the secret follows from key and label.
    ///
    /// # Errors
    /// [`SealRefused::LabelTooLong`].
    pub fn of_author(author: &IdentitySecret, label: &[u8]) -> Result<Self, SealRefused> {
        Self::new(author.public(), label, LabelSecret::derive(author, label))
    }

    /// The author's key.
    #[must_use]
    pub fn author(&self) -> &NodeKey {
        &self.author
    }

    /// The label.
    #[must_use]
    pub fn label(&self) -> &[u8] {
        &self.label
    }

    /// The label's secret.
    #[must_use]
    pub fn secret(&self) -> &LabelSecret {
        &self.secret
    }

    /// The three locations.
    #[must_use]
    pub fn locations(&self) -> [Location; LOCATIONS] {
        self.blinded.map(|key| signed_location(&key))
    }

    /// The three locations, with what is added to sequence numbers there.
    #[must_use]
    pub fn places(&self) -> [Place; LOCATIONS] {
        self.blinded.map(|key| Place { location: signed_location(&key), seq_offset: self.seq_offset(&key) })
    }

    fn seq_offset(&self, blinded: &NodeKey) -> u64 {
        let derived = derive(Label::SeqOffset, &[self.secret.as_bytes(), &blinded.0]);
        // 48 bits, far more than a first number has: their leading bits say nothing either.
        u64::from_be_bytes(*derived.first_chunk().unwrap_or(&[0; 8])) >> 16
    }

    /// Seals a payload for one location. Key, ciphertext and sequence number are of this location alone; only the expiry, in
    /// steps that many values share, is equal at all three.
    ///
    /// # Errors
    /// [`SealRefused`] when the payload is too long.
    pub fn seal(
        &self,
        network: &Network,
        author: &IdentitySecret,
        index: u8,
        (seq, expiry): (u64, Expiry),
        payload: &[u8],
        rng: &mut dyn CryptoRng,
    ) -> Result<RecordBytes, SealRefused> {
        let len = u16::try_from(payload.len()).ok().filter(|_| payload.len() <= PAYLOAD_LEN_MAX);
        let len = len.ok_or(SealRefused::PayloadTooLong)?;
        self.seal_text(network, author, index, (seq, expiry), (len, payload), rng)
    }

    /// Seals, for one location, that what was there is deleted. It should not end before what it deletes: a holder that comes
    /// back with the old value must not find nothing in its way.
    ///
    /// # Errors
    /// [`SealRefused::Key`].
    pub fn seal_deletion(
        &self,
        network: &Network,
        author: &IdentitySecret,
        index: u8,
        (seq, expiry): (u64, Expiry),
        rng: &mut dyn CryptoRng,
    ) -> Result<RecordBytes, SealRefused> {
        self.seal_text(network, author, index, (seq, expiry), (DELETED, &[]), rng)
    }

    fn seal_text(
        &self,
        network: &Network,
        author: &IdentitySecret,
        index: u8,
        (seq, expiry): (u64, Expiry),
        (len, payload): (u16, &[u8]),
        rng: &mut dyn CryptoRng,
    ) -> Result<RecordBytes, SealRefused> {
        let signer = BlindedSecret::new(author, &self.label, &self.secret, index).map_err(|_| SealRefused::Key)?;
        let mut text = [0; RECORD_TEXT_LEN];
        text.iter_mut().zip(len.to_be_bytes().iter().chain(payload)).for_each(|(to, from)| *to = *from);
        let key = signer.public();
        let seq = seq.saturating_add(self.seq_offset(&key));
        let nonce = random_bytes(rng);
        let tag = self.value_key(&key).seal_extended(&nonce, &associated(&key, seq, expiry), &mut text);
        let mut fields = RecordFields { key, seq, expiry, nonce, text, tag, signature: Signature([0; 64]) };
        fields.signature = signer.sign(&record_message(network, &fields.encode()));
        Ok(fields.encode())
    }

    /// Opens a record that was checked before.
    ///
    /// # Errors
    /// [`Forged`] when it is of another locator, or its author did not seal it as values are sealed.
    pub fn open(&self, record: &RecordBytes) -> Result<Opened, Forged> {
        let fields = record.fields().map_err(|_| Forged)?;
        if !self.blinded.contains(&fields.key) {
            return Err(Forged);
        }
        let mut text = fields.text;
        let ad = associated(&fields.key, fields.seq, fields.expiry);
        self.value_key(&fields.key).open_extended(&fields.nonce, &ad, &mut text, &fields.tag)?;
        let (len, rest) = text.split_first_chunk::<2>().ok_or(Forged)?;
        match u16::from_be_bytes(*len) {
            DELETED => Ok(Opened::Deleted),
            len => rest.get(..usize::from(len)).map(|payload| Opened::Payload(payload.to_vec())).ok_or(Forged),
        }
    }

    fn value_key(&self, blinded: &NodeKey) -> Key {
        Key::new(*derive(Label::ValueKey, &[self.secret.as_bytes(), &blinded.0]))
    }
}

fn associated(key: &NodeKey, seq: u64, expiry: Expiry) -> Vec<u8> {
    [&key.0[..], &seq.to_be_bytes(), &expiry.to_wire()].concat()
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::ChaCha20Rng;

    use super::*;
    use crate::record::{RecordRefused, VerifiedValue};
    use crate::time::UnixTime;
    use crate::wire::record::Value;

    const NOW: UnixTime = UnixTime(1_000_000);

    fn sealed(payload: &[u8]) -> (Locator, Vec<RecordBytes>) {
        let mut rng = ChaCha20Rng::seed_from_u64(1);
        let author = IdentitySecret::generate(&mut rng);
        let locator = Locator::of_author(&author, b"label").unwrap();
        let network = Network::named("test", 0);
        let place = (7, Expiry::at_least(UnixTime(NOW.0 + 3_600)));
        let seal = |index| locator.seal(&network, &author, index, place, payload, &mut rng).unwrap();
        let records = INDICES.into_iter().map(seal).collect();
        (locator, records)
    }

    #[test]
    fn each_location_has_its_own_record_and_the_link_opens_all() {
        for payload in [&b""[..], b"payload", &[9; PAYLOAD_LEN_MAX]] {
            let (locator, records) = sealed(payload);
            for (record, location) in records.iter().zip(locator.locations()) {
                let value = Value::Signed(record.clone());
                let verified = VerifiedValue::check(&Network::named("test", 0), value, NOW).unwrap();
                assert_eq!(verified.location(), location);
                assert_eq!(locator.open(record).unwrap(), Opened::Payload(payload.to_vec()));
            }
            assert_ne!(records[0].0[43..1109], records[1].0[43..1109]);
            let seqs: Vec<u64> = records.iter().map(|record| record.fields().unwrap().seq).collect();
            assert!(seqs[0] != seqs[1] && seqs[1] != seqs[2], "numbers that storers could compare");
            let read = |(place, seq): (Place, &u64)| place.seq_of(*seq);
            assert!(locator.places().into_iter().zip(&seqs).map(read).all(|seq| seq == Some(7)));
        }
    }

    #[test]
    fn a_deletion_reads_as_one_and_looks_like_any_other_value() {
        let mut rng = ChaCha20Rng::seed_from_u64(2);
        let (author, network) = (IdentitySecret::generate(&mut rng), Network::named("test", 0));
        let locator = Locator::of_author(&author, b"label").unwrap();
        let expiry = Expiry::at_least(UnixTime(NOW.0 + 3_600));
        let deletion = locator.seal_deletion(&network, &author, 1, (8, expiry), &mut rng).unwrap();
        let update = locator.seal(&network, &author, 1, (8, expiry), b"payload", &mut rng).unwrap();
        assert_eq!(locator.open(&deletion).unwrap(), Opened::Deleted);
        let (deleted, updated) = (deletion.fields().unwrap(), update.fields().unwrap());
        let plain = |fields: &RecordFields| (fields.key, fields.seq, fields.expiry);
        assert_eq!(plain(&deleted), plain(&updated), "all that stands in clear");
        assert!(VerifiedValue::check(&network, Value::Signed(deletion), NOW).is_ok());
        let zeros = |text: &[u8]| text.iter().filter(|byte| **byte == 0).count();
        assert!(zeros(&deleted.text) < 40, "what is sealed shows nothing of its zeros");
    }

    // [CRYPTO-W-005] [VER-R-007]
    #[test]
    fn every_flipped_byte_another_network_and_a_passed_time_are_refused() {
        let (_, records) = sealed(b"payload");
        let network = Network::named("test", 0);
        for at in 0..records[0].0.len() {
            let mut flipped = records[0].clone();
            flipped.0[at] ^= 1;
            assert!(VerifiedValue::check(&network, Value::Signed(flipped), NOW).is_err(), "byte {at}");
        }
        let check = |network: &Network, now| {
            VerifiedValue::check(network, Value::Signed(records[0].clone()), UnixTime(now)).map(|_| ())
        };
        assert_eq!(check(&network, NOW.0), Ok(()));
        assert_eq!(check(&Network::named("other", 0), NOW.0), Err(RecordRefused::Forged));
        assert_eq!(check(&network, NOW.0 + 30_000), Err(RecordRefused::Expired));
        assert_eq!(check(&network, 0), Ok(()));
    }

    #[test]
    fn who_has_another_label_secret_or_key_reads_nothing() {
        let (locator, records) = sealed(b"payload");
        let other = Locator::new(*locator.author(), b"label", LabelSecret::from_bytes([1; 32])).unwrap();
        assert_eq!(other.open(&records[0]), Err(Forged));
        assert!(other.locations().iter().all(|location| !locator.locations().contains(location)));
    }
}
