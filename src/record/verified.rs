//! What a storer or a reader checks of a value before it believes a byte: key, signature or hash, size, expiry.

use std::sync::Arc;

use crate::crypto::hash::{blake3, signed_location};
use crate::keyspace::Location;
use crate::limits::{EXPIRY_MAX_S, RECORD_LEN, SEALED_CHUNK_LEN};
use crate::time::UnixTime;
use crate::wire::network::Network;
use crate::wire::record::{ChunkName, Expiry, RecordBytes, Value, ValueKind};

/// A value that was checked. Stores take nothing else. A handle: clones share the bytes, which never change.
#[derive(Clone, Debug)]
pub struct VerifiedValue(Arc<Checked>);

#[derive(Clone, PartialEq, Eq, Debug)]
struct Checked {
    value: Value,
    location: Location,
    seq: u64,
    digest: [u8; 32],
    expiry: Expiry,
}

/// Why a value is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordRefused {
    /// Signature or hash does not fit, or the fields are no record.
    #[error("value: forged or damaged")]
    Forged,
    /// Its time is over.
    #[error("value: expired")]
    Expired,
    /// It asks to be kept longer than values are.
    #[error("value: expires too far in the future")]
    TooLong,
    /// It is empty or over the size of its kind.
    #[error("value: size out of bounds")]
    Size,
}

/// What the blinded key of a record signs: everything before the signature, with domain and network.
#[must_use]
pub fn record_message(network: &Network, record: &RecordBytes) -> Vec<u8> {
    let body = record.0.first_chunk::<{ RECORD_LEN - 64 }>().map_or(&[][..], |body| &body[..]);
    [&b"bauta/1 record"[..], &network.id, body].concat()
}

impl VerifiedValue {
    /// Checks a value: expiry, then size, then hash or signature (strict, one by one).
    ///
    /// # Errors
    /// [`RecordRefused`] names the first check that failed.
    pub fn check(network: &Network, value: Value, now: UnixTime) -> Result<Self, RecordRefused> {
        match value {
            Value::Signed(record) => Self::check_signed(network, record, now),
            Value::Hashed(chunk) => {
                check_expiry(chunk.expiry, now)?;
                if chunk.bytes.is_empty() || chunk.bytes.len() > SEALED_CHUNK_LEN {
                    return Err(RecordRefused::Size);
                }
                if blake3(&[&chunk.bytes]) != chunk.hash {
                    return Err(RecordRefused::Forged);
                }
                let location = ChunkName { hash: chunk.hash, index: chunk.index }.location();
                let (digest, expiry) = (chunk.hash, chunk.expiry);
                let seq = expiry.step();
                Ok(Self(Arc::new(Checked { location, seq, digest, expiry, value: Value::Hashed(chunk) })))
            }
        }
    }

    fn check_signed(network: &Network, record: RecordBytes, now: UnixTime) -> Result<Self, RecordRefused> {
        let fields = record.fields().map_err(|_| RecordRefused::Forged)?;
        check_expiry(fields.expiry, now)?;
        fields.key.verify(&record_message(network, &record), &fields.signature).map_err(|_| RecordRefused::Forged)?;
        Ok(Self(Arc::new(Checked {
            location: signed_location(&fields.key),
            seq: fields.seq,
            digest: record.digest(),
            expiry: fields.expiry,
            value: Value::Signed(record),
        })))
    }

    /// The value.
    #[must_use]
    pub fn value(&self) -> &Value {
        &self.0.value
    }

    /// The value, taken out; copied only where somebody else holds it too.
    #[must_use]
    pub fn into_value(self) -> Value {
        Arc::unwrap_or_clone(self.0).value
    }

    /// Signed or hashed.
    #[must_use]
    pub fn kind(&self) -> ValueKind {
        self.0.value.kind()
    }

    /// Where it belongs.
    #[must_use]
    pub fn location(&self) -> Location {
        self.0.location
    }

    /// Sequence number; of a hashed value its expiry in steps, for nothing else of it can change.
    #[must_use]
    pub fn seq(&self) -> u64 {
        self.0.seq
    }

    /// BLAKE3 of the record's bytes, or the chunk's hash.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        self.0.digest
    }

    /// When it ends.
    #[must_use]
    pub fn expiry(&self) -> Expiry {
        self.0.expiry
    }

    /// Bytes that it takes.
    #[must_use]
    pub fn len_bytes(&self) -> usize {
        match &self.0.value {
            Value::Signed(_) => RECORD_LEN,
            Value::Hashed(chunk) => chunk.bytes.len(),
        }
    }

    /// Whether this value replaces the other at the same location: higher seq wins; equal seq with other bytes is
    /// settled by the greater digest, so that it resolves the same way everywhere. Of one chunk it is the later expiry.
    #[must_use]
    pub fn replaces(&self, other: &Self) -> bool {
        (self.0.seq, self.0.digest) > (other.0.seq, other.0.digest)
    }
}

impl PartialEq for VerifiedValue {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.0 == other.0
    }
}

impl Eq for VerifiedValue {}

fn check_expiry(expiry: Expiry, now: UnixTime) -> Result<(), RecordRefused> {
    let end = expiry.time().0;
    if end <= now.0 {
        Err(RecordRefused::Expired)
    } else if end > now.0.saturating_add(EXPIRY_MAX_S) {
        Err(RecordRefused::TooLong)
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::EXPIRY_STEP_S;
    use crate::wire::record::ChunkBytes;

    const NOW: UnixTime = UnixTime(100 * EXPIRY_STEP_S);

    fn chunk(bytes: Vec<u8>, steps: u64) -> ChunkBytes {
        let expiry = Expiry::at_least(UnixTime(NOW.0 + steps * EXPIRY_STEP_S));
        ChunkBytes { hash: blake3(&[&bytes]), index: 0, expiry, bytes }
    }

    fn check(chunk: ChunkBytes) -> Result<VerifiedValue, RecordRefused> {
        VerifiedValue::check(&Network::named("test", 0), Value::Hashed(chunk), NOW)
    }

    // [VAL-R-010] [VAL-R-015] [VAL-R-017]
    #[test]
    fn a_chunk_of_another_hash_of_no_size_and_of_a_wrong_time_is_refused_by_name() {
        let last = EXPIRY_MAX_S / EXPIRY_STEP_S;
        for (bytes, steps, refused) in [
            (vec![1; 100], 0, Some(RecordRefused::Expired)),
            (vec![1; 100], 1, None),
            (vec![1; 100], last, None),
            (vec![1; 100], last + 1, Some(RecordRefused::TooLong)),
            (Vec::new(), 1, Some(RecordRefused::Size)),
            (vec![1], 1, None),
            (vec![1; SEALED_CHUNK_LEN], 1, None),
            (vec![1; SEALED_CHUNK_LEN + 1], 1, Some(RecordRefused::Size)),
        ] {
            assert_eq!(check(chunk(bytes.clone(), steps)).err(), refused, "{} bytes, {steps}", bytes.len());
        }
        let mut forged = chunk(vec![1; 100], 1);
        forged.bytes[50] ^= 1;
        assert_eq!(check(forged).err(), Some(RecordRefused::Forged));
    }
}
