//! A storer's signed word on one location: evidence of a find, receipt of a store. 145 bytes. Source: spec/evidence.md §1.

use super::codec::{Malformed, Reader};
use super::network::Network;
use crate::crypto::Forged;
use crate::crypto::hash::blake3;
use crate::crypto::keys::{IdentitySecret, NodeKey, Signature};
use crate::keyspace::Location;
use crate::limits::{NONCE_LEN, REPLAY_BUCKET_S};
use crate::time::UnixTime;

/// Bytes of an encoded statement.
pub const STATEMENT_LEN: usize = 145;

/// A number used once, per circuit and location: a statement made for another question is worth nothing.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Nonce(pub [u8; NONCE_LEN]);

impl Nonce {
    /// The nonce of one slot of a batch. Storers that hold two chunks of one batch must not see one number twice: it would tell
    /// them that both belong to one file.
    #[must_use]
    pub fn of_slot(&self, slot: usize) -> Self {
        let slot = u64::try_from(slot).unwrap_or(u64::MAX).to_be_bytes();
        let digest = blake3(&[b"bauta/1 slot nonce", &self.0, &slot]);
        Self(*digest.first_chunk::<NONCE_LEN>().unwrap_or(&self.0))
    }

    /// Whether a holder may leave it to others to send the value that is asked for with it (spec/dht.md §7.5).
    #[must_use]
    pub const fn may_be_passed_on(&self) -> bool {
        self.0[NONCE_LEN - 1] & 1 == 1
    }

    /// The same nonce as one with which the value itself must come, if it is there.
    #[must_use]
    pub const fn insisting(mut self) -> Self {
        self.0[NONCE_LEN - 1] &= !1;
        self
    }
}

/// What was asked of the storer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Operation {
    /// To say what it has.
    Find,
    /// To keep a value.
    Store,
}

/// What the storer says.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Verdict {
    /// It has no value there.
    Absent,
    /// It has the value named by seq and digest.
    Present,
    /// It now keeps the value named by seq and digest.
    Stored,
    /// It keeps another value, named by seq and digest, that is newer or not the expected one.
    Conflict,
    /// It has no room.
    Full,
    /// It knows enough members closer to the location.
    NotCloseEnough,
    /// The value is not valid, or over its time.
    Invalid,
    /// It asks for an effort (spec/dht.md §8), named in the place of the sequence number, and nothing sufficient was paid.
    Unpaid,
}

impl Verdict {
    const ALL: [Self; 8] = [
        Self::Absent,
        Self::Present,
        Self::Stored,
        Self::Conflict,
        Self::Full,
        Self::NotCloseEnough,
        Self::Invalid,
        Self::Unpaid,
    ];

    /// As spec/evidence.md §1 calls it.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::Absent => "absent",
            Self::Present => "present",
            Self::Stored => "stored",
            Self::Conflict => "conflict",
            Self::Full => "full",
            Self::NotCloseEnough => "not close enough",
            Self::Invalid => "invalid",
            Self::Unpaid => "unpaid",
        }
    }

    fn to_wire(self) -> u8 {
        match self {
            Self::Absent => 0,
            Self::Present => 1,
            Self::Stored => 2,
            Self::Conflict => 3,
            Self::Full => 4,
            Self::NotCloseEnough => 5,
            Self::Invalid => 6,
            Self::Unpaid => 7,
        }
    }
}

/// What a statement is about; both sides know it, so it does not travel with it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Question {
    /// The asker's nonce.
    pub nonce: Nonce,
    /// What was asked.
    pub operation: Operation,
    /// Where.
    pub location: Location,
}

/// A statement whose signature nobody has checked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Statement {
    /// Who signs.
    pub signer: NodeKey,
    /// What it says.
    pub verdict: Verdict,
    /// Sequence number of the value meant, 0 for none. Of a hashed value the step at which the copy that is held ends; of
    /// [`Verdict::Unpaid`] the effort that is asked for.
    pub seq: u64,
    /// BLAKE3 of the value meant, zeros for none.
    pub digest: [u8; 32],
    /// The signer's estimate of the number of relays.
    pub relays_estimate: u32,
    /// When, rounded down to ten minutes.
    pub time: UnixTime,
    /// Over all of it and the question.
    pub signature: Signature,
}

/// What a storer is about to sign.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Saying {
    /// What it says.
    pub verdict: Verdict,
    /// Sequence number of the value meant.
    pub seq: u64,
    /// BLAKE3 of the value meant.
    pub digest: [u8; 32],
    /// Estimate of the number of relays.
    pub relays_estimate: u32,
}

impl Statement {
    /// Signs a saying about a question.
    #[must_use]
    pub fn sign(
        network: &Network,
        secret: &IdentitySecret,
        question: &Question,
        saying: &Saying,
        now: UnixTime,
    ) -> Self {
        let mut statement = Self {
            signer: secret.public(),
            verdict: saying.verdict,
            seq: saying.seq,
            digest: saying.digest,
            relays_estimate: saying.relays_estimate,
            time: now.rounded(REPLAY_BUCKET_S),
            signature: Signature([0; 64]),
        };
        statement.signature = secret.sign(&statement.message(network, question));
        statement
    }

    /// Checks the signature against the question that was asked, and the time.
    ///
    /// # Errors
    /// [`Forged`] whatever the reason.
    pub fn verify(&self, network: &Network, question: &Question, now: UnixTime) -> Result<(), Forged> {
        let (time, present) = (self.time.0, now.rounded(REPLAY_BUCKET_S).0);
        if time.abs_diff(present) > REPLAY_BUCKET_S {
            return Err(Forged);
        }
        self.signer.verify(&self.message(network, question), &self.signature)
    }

    fn message(&self, network: &Network, question: &Question) -> Vec<u8> {
        let mut out = b"bauta/1 evidence".to_vec();
        out.extend_from_slice(&network.id);
        out.extend_from_slice(&self.signer.0);
        out.extend_from_slice(&question.nonce.0);
        out.push(match question.operation {
            Operation::Find => 0,
            Operation::Store => 1,
        });
        out.extend_from_slice(&question.location.0);
        self.encode_said(&mut out);
        out
    }

    fn encode_said(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.time.to_wire().to_be_bytes());
        out.push(self.verdict.to_wire());
        out.extend_from_slice(&self.seq.to_be_bytes());
        out.extend_from_slice(&self.digest);
        out.extend_from_slice(&self.relays_estimate.to_be_bytes());
    }

    /// Appends the 145 bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.signer.0);
        self.encode_said(out);
        out.extend_from_slice(&self.signature.0);
    }

    /// Reads the 145 bytes.
    ///
    /// # Errors
    /// [`Malformed`] for an unknown verdict.
    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let signer = NodeKey(reader.field("signer").array()?);
        let time = UnixTime::from_wire(reader.field("time").u32()?);
        reader.say(|| time.to_utc());
        let verdict = reader.field("verdict").u8()?;
        let verdict = Verdict::ALL.into_iter().find(|known| known.to_wire() == verdict).ok_or(Malformed::Value)?;
        reader.say(|| verdict.words().to_owned());
        Ok(Self {
            signer,
            time,
            verdict,
            seq: reader.field("sequence number").u64()?,
            digest: reader.field("digest").array()?,
            relays_estimate: reader.field("relays estimated").u32()?,
            signature: Signature(reader.field("signature").array()?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keyspace::Id;

    // [REQ-W-022]
    #[test]
    fn the_slots_of_a_batch_have_nonces_that_share_nothing() {
        let nonce = Nonce([7; NONCE_LEN]);
        let all: std::collections::BTreeSet<_> = (0..4).map(|slot| nonce.of_slot(slot)).chain([nonce]).collect();
        assert_eq!(all.len(), 5);
    }

    // [EVID-W-002] [EVID-R-003] [CRYPTO-W-005] [VER-R-007]
    #[test]
    fn a_statement_holds_for_its_question_its_network_and_its_time_alone() {
        let network = Network::named("test", 0);
        let secret = IdentitySecret::from_bytes(&[3; 32]);
        let question = Question { nonce: Nonce([1; NONCE_LEN]), operation: Operation::Find, location: Id([2; 20]) };
        let saying = Saying { verdict: Verdict::Present, seq: 5, digest: [7; 32], relays_estimate: 24 };
        let now = UnixTime(1_000_000);
        let signed = Statement::sign(&network, &secret, &question, &saying, now);
        let mut bytes = Vec::new();
        signed.encode(&mut bytes);
        assert_eq!(bytes.len(), STATEMENT_LEN);
        let statement = Statement::decode(&mut Reader::new(&bytes)).unwrap();
        assert_eq!(statement, signed);
        assert!(statement.verify(&network, &question, now).is_ok());

        let others = [
            Question { nonce: Nonce([9; NONCE_LEN]), ..question },
            Question { operation: Operation::Store, ..question },
            Question { location: Id([9; 20]), ..question },
        ];
        for other in others {
            assert_eq!(statement.verify(&network, &other, now), Err(Forged));
        }
        assert_eq!(statement.verify(&Network::named("other", 0), &question, now), Err(Forged));
        assert_eq!(statement.verify(&network, &question, UnixTime(1_000_000 + 3 * REPLAY_BUCKET_S)), Err(Forged));
        for at in 0..STATEMENT_LEN {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1;
            let held =
                Statement::decode(&mut Reader::new(&flipped)).map(|s| s.verify(&network, &question, now).is_ok());
            assert_ne!(held, Ok(true), "byte {at}");
        }
    }
}
