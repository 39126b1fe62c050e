//! What stands inside the onion: the routing block, the client's request to the exit, the exit's answer.
//! Source: spec/onion.md §3 and spec/requests.md.

use super::codec::{Malformed, Reader, padded, put_list};
use super::descriptor::SignedDescriptor;
use super::payment::Payment;
use super::record::{ChunkName, Expiry, RecordBytes, ValueKind};
use super::statement::{Nonce, Statement};
use crate::keyspace::{Id, Location};
use crate::limits::{
    ANSWER_DESCRIPTORS_MAX, BATCH_CHUNKS, LOOK_SIGNERS, RECORD_LEN, REQUEST_LEN_MAX, ROUTING_LEN, SEALED_CHUNK_LEN,
    SIGNERS,
};
use crate::time::UnixTime;

/// What a relay learns from its layer of a build packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Routing {
    /// Pass the rest on.
    Forward {
        /// To the relay of this id; if it is not known, the circuit ends.
        next: Id,
        /// Suite byte of the next cell.
        suite: u8,
        /// Onion-key hint byte of the next cell.
        hint: u8,
        /// When the packet was made, rounded to ten minutes.
        time: UnixTime,
    },
    /// The rest is a request to this relay.
    Exit {
        /// When the packet was made, rounded to ten minutes.
        time: UnixTime,
    },
}

impl Routing {
    /// The 32 bytes: kind, next id, time u32, suite, hint, five zeros.
    #[must_use]
    pub fn encode(&self) -> [u8; ROUTING_LEN] {
        let (kind, next, time, suite, hint) = match self {
            Self::Forward { next, suite, hint, time } => (1, next.0, time, *suite, *hint),
            Self::Exit { time } => (2, [0; 20], time, 0, 0),
        };
        let time = time.to_wire().to_be_bytes();
        let mut out = [0; ROUTING_LEN];
        let bytes = core::iter::once(kind).chain(next).chain(time).chain([suite, hint]);
        out.iter_mut().zip(bytes).for_each(|(to, from)| *to = from);
        out
    }

    /// Reads the 32 bytes.
    ///
    /// # Errors
    /// [`Malformed`] for an unknown kind or any unused byte that is not zero.
    pub fn decode(bytes: &[u8; ROUTING_LEN]) -> Result<Self, Malformed> {
        Self::read(Reader::new(bytes))
    }

    /// As [`Self::decode`], all that the reader has.
    ///
    /// # Errors
    /// As [`Self::decode`].
    pub fn read(mut reader: Reader<'_>) -> Result<Self, Malformed> {
        let kind = reader.field("routing").u8()?;
        reader.say(|| if kind == 2 { "exit".to_owned() } else { "forward".to_owned() });
        let next = Id(reader.field("next relay").array()?);
        let time = UnixTime::from_wire(reader.field("time").u32()?);
        reader.say(|| time.to_utc());
        let (suite, hint) = (reader.field("next suite").u8()?, reader.field("next onion-key hint").u8()?);
        reader.finish_padded()?;
        match kind {
            1 => Ok(Self::Forward { next, suite, hint, time }),
            2 if next == Id([0; 20]) && suite == 0 && hint == 0 => Ok(Self::Exit { time }),
            _ => Err(Malformed::Value),
        }
    }

    /// When the packet was made.
    #[must_use]
    pub fn time(&self) -> UnixTime {
        match self {
            Self::Forward { time, .. } | Self::Exit { time } => *time,
        }
    }
}

/// What a client asks of an exit. Fits a build packet, whatever the path's length.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ExitRequest {
    /// Look a signed value up.
    Find {
        /// Where.
        location: Location,
        /// For the statements.
        nonce: Nonce,
    },
    /// Store a signed value with the closest nodes.
    Put {
        /// For the receipts.
        nonce: Nonce,
        /// Compare-and-swap: the sequence number that must be held, 0 for none.
        expected: Option<u64>,
        /// The record; its location follows from it.
        record: RecordBytes,
        /// What was paid, if its place is paid for.
        payment: Option<Payment>,
    },
    /// Fetch up to four chunks; four slots come back, filled or not.
    FetchChunks {
        /// For the statements about those that are not there.
        nonce: Nonce,
        /// Which.
        chunks: Vec<ChunkName>,
    },
    /// Store up to four chunks; four slots follow in forward cells, filled or not.
    PutChunks {
        /// For the receipts.
        nonce: Nonce,
        /// When they end.
        expiry: Expiry,
        /// Which, each with the length of its bytes.
        chunks: Vec<(ChunkName, u32)>,
        /// What was paid for each of them; empty where nothing was for any.
        payments: Vec<Option<Payment>>,
    },
    /// Ask who has up to four chunks; nothing but statements comes back, in as many cells as to [`Self::Find`].
    Look {
        /// For the statements.
        nonce: Nonce,
        /// Which.
        chunks: Vec<ChunkName>,
    },
}

impl ExitRequest {
    /// Encodes; never longer than a request may be.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(REQUEST_LEN_MAX);
        match self {
            Self::Find { location, nonce } => {
                out.push(1);
                out.extend_from_slice(&location.0);
                out.extend_from_slice(&nonce.0);
            }
            Self::Put { nonce, expected, record, payment } => {
                out.push(if payment.is_some() { 6 } else { 2 });
                if let Some(payment) = payment {
                    payment.encode(&mut out);
                }
                out.extend_from_slice(&nonce.0);
                out.push(u8::from(expected.is_some()));
                out.extend_from_slice(&expected.unwrap_or(0).to_be_bytes());
                out.extend_from_slice(&record.0[..]);
            }
            Self::FetchChunks { nonce, chunks } => {
                out.push(3);
                out.extend_from_slice(&nonce.0);
                put_list(&mut out, chunks, |out, name| name.encode(out));
            }
            Self::PutChunks { nonce, expiry, chunks, payments } => {
                out.push(if payments.is_empty() { 4 } else { 7 });
                out.extend_from_slice(&nonce.0);
                out.extend_from_slice(&expiry.to_wire());
                put_list(&mut out, chunks, |out, (name, len)| {
                    name.encode(out);
                    out.extend_from_slice(&len.to_be_bytes());
                });
                payments.iter().for_each(|payment| Payment::encode_option(payment.as_ref(), &mut out));
            }
            Self::Look { nonce, chunks } => {
                out.push(5);
                out.extend_from_slice(&nonce.0);
                put_list(&mut out, chunks, |out, name| name.encode(out));
            }
        }
        out
    }

    /// Decodes all of `bytes`.
    ///
    /// # Errors
    /// [`Malformed`] for an unknown kind, a field out of bounds, no chunk at all, or bytes left over.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        Self::read(Reader::new(bytes))
    }

    /// As [`Self::decode`], all that the reader has.
    ///
    /// # Errors
    /// As [`Self::decode`].
    pub fn read(mut reader: Reader<'_>) -> Result<Self, Malformed> {
        let kind = reader.field("request").u8()?;
        reader.say(|| Self::words(kind).to_owned());
        let request = match kind {
            1 => Self::Find {
                location: Id(reader.field("location").array()?),
                nonce: Nonce(reader.field("nonce").array()?),
            },
            2 => Self::decode_put(&mut reader, None)?,
            3 => Self::FetchChunks {
                nonce: Nonce(reader.field("nonce").array()?),
                chunks: reader.field("chunks").list(BATCH_CHUNKS, ChunkName::decode)?,
            },
            4 => Self::decode_put_chunks(&mut reader, false)?,
            5 => Self::Look {
                nonce: Nonce(reader.field("nonce").array()?),
                chunks: reader.field("chunks").list(BATCH_CHUNKS, ChunkName::decode)?,
            },
            6 => {
                let payment = reader.within("payment", Payment::decode)?;
                Self::decode_put(&mut reader, Some(payment))?
            }
            7 => Self::decode_put_chunks(&mut reader, true)?,
            _ => return Err(Malformed::Value),
        };
        reader.finish()?;
        match &request {
            Self::FetchChunks { chunks, .. } | Self::Look { chunks, .. } if !are_distinct(chunks.iter()) => {
                Err(Malformed::Value)
            }
            Self::PutChunks { chunks, .. } if !are_distinct(chunks.iter().map(|(name, _)| name)) => {
                Err(Malformed::Value)
            }
            _ => Ok(request),
        }
    }

    fn words(kind: u8) -> &'static str {
        match kind {
            1 => "Find",
            2 => "Put, nothing paid",
            3 => "FetchChunks",
            4 => "PutChunks, nothing paid",
            5 => "Look",
            6 => "Put, paid for",
            7 => "PutChunks, paid for",
            _ => "unknown",
        }
    }

    fn decode_put(reader: &mut Reader<'_>, payment: Option<Payment>) -> Result<Self, Malformed> {
        let nonce = Nonce(reader.field("nonce").array()?);
        let is_expected = reader.field("a number is expected").flag()?;
        let expected = match (is_expected, reader.field("number expected").u64()?) {
            (true, seq) => Some(seq),
            (false, 0) => None,
            (false, _) => return Err(Malformed::Value),
        };
        Ok(Self::Put { nonce, expected, record: reader.within("record", RecordBytes::read)?, payment })
    }

    fn decode_put_chunks(reader: &mut Reader<'_>, is_paid: bool) -> Result<Self, Malformed> {
        let (nonce, expiry) = (Nonce(reader.field("nonce").array()?), Expiry::read(reader)?);
        let chunk = |reader: &mut Reader<'_>| Ok((ChunkName::decode(reader)?, chunk_len(reader)?));
        let chunks = reader.field("chunks").list(BATCH_CHUNKS, chunk)?;
        let paid = if is_paid { chunks.len() } else { 0 };
        let payment = |_| reader.within("payment", Payment::decode_option);
        let payments: Vec<_> = (0..paid).map(payment).collect::<Result<_, _>>()?;
        // Where nothing is paid it is the other kind: one request has one encoding.
        if is_paid && payments.iter().all(Option::is_none) {
            return Err(Malformed::Value);
        }
        Ok(Self::PutChunks { nonce, expiry, chunks, payments })
    }

    /// Puts in what was paid for what it stores, slot by slot; it is unpaid where all are `None`.
    pub fn pay(&mut self, paid: Vec<Option<Payment>>) {
        match self {
            Self::Put { payment, .. } => *payment = paid.into_iter().next().flatten(),
            Self::PutChunks { payments, .. } if paid.iter().any(Option::is_some) => *payments = paid,
            Self::PutChunks { payments, .. } => payments.clear(),
            Self::Find { .. } | Self::FetchChunks { .. } | Self::Look { .. } => (),
        }
    }
}

/// At least one, and none twice: one question must not make an exit ask the same holder many times.
pub(crate) fn are_distinct<'a, T: Ord + 'a>(names: impl Iterator<Item = &'a T>) -> bool {
    let mut seen = std::collections::BTreeSet::new();
    let mut names = names.peekable();
    names.peek().is_some() && names.all(|name| seen.insert(name))
}

fn chunk_len(reader: &mut Reader<'_>) -> Result<u32, Malformed> {
    let len = reader.field("length").u32()?;
    let in_bounds = usize::try_from(len).is_ok_and(|len| len > 0 && len <= SEALED_CHUNK_LEN);
    if in_bounds { Ok(len) } else { Err(Malformed::Value) }
}

/// What the exit answers for one location, or for one chunk slot. Padded with zeros to the length its place has.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ExitAnswer {
    /// The value: a record's or a chunk's bytes.
    pub value: Option<Vec<u8>>,
    /// Statements of the closest nodes, or receipts, at most eight.
    pub statements: Vec<Statement>,
    /// Descriptors of the newest signers, at most five.
    pub descriptors: Vec<SignedDescriptor>,
}

impl ExitAnswer {
    /// The same with at most so many statements, and no descriptor of a signer who is left out.
    #[must_use]
    pub fn with_statements_max(mut self, max: usize) -> Self {
        self.statements.truncate(max);
        let is_signer = |one: &SignedDescriptor| self.statements.iter().any(|said| said.signer == one.claim().0);
        self.descriptors.retain(is_signer);
        self
    }

    /// Of what holders said of a chunk as many words as fit, the first ones; nothing else.
    #[must_use]
    pub fn looked(mut self) -> Self {
        self.statements.truncate(LOOK_SIGNERS);
        Self { value: None, statements: self.statements, descriptors: Vec::new() }
    }

    /// Encodes, padded to `len` bytes; `None` when it does not fit.
    #[must_use]
    pub fn encode(&self, len: usize) -> Option<Vec<u8>> {
        let mut out = Vec::with_capacity(len);
        let value = self.value.as_deref().unwrap_or_default();
        out.push(u8::from(self.value.is_some()));
        out.extend_from_slice(&u32::try_from(value.len()).ok()?.to_be_bytes());
        out.extend_from_slice(value);
        put_list(&mut out, &self.statements, |out, statement| statement.encode(out));
        put_list(&mut out, &self.descriptors, |out, descriptor| out.extend_from_slice(descriptor.as_bytes()));
        padded(out, len)
    }

    /// Decodes a padded answer whose value is of this kind.
    ///
    /// # Errors
    /// [`Malformed`] for lengths out of bounds or padding that is not zeros.
    pub fn decode(bytes: &[u8], kind: ValueKind) -> Result<Self, Malformed> {
        Self::read(Reader::new(bytes), kind)
    }

    /// As [`Self::decode`], all that the reader has.
    ///
    /// # Errors
    /// As [`Self::decode`].
    pub fn read(mut reader: Reader<'_>, kind: ValueKind) -> Result<Self, Malformed> {
        let has_value = reader.field("value follows").flag()?;
        let len = usize::try_from(reader.field("length").u32()?).map_err(|_| Malformed::Value)?;
        let allowed = match kind {
            _ if !has_value => len == 0,
            ValueKind::Signed => len == RECORD_LEN,
            ValueKind::Hashed => len <= SEALED_CHUNK_LEN,
        };
        if !allowed {
            return Err(Malformed::Value);
        }
        let value = if has_value { Some(reader.field("value").bytes(len)?.to_vec()) } else { None };
        let answer = Self {
            value,
            statements: reader.field("statements").list(SIGNERS, Statement::decode)?,
            descriptors: reader.field("descriptors").list(ANSWER_DESCRIPTORS_MAX, SignedDescriptor::decode)?,
        };
        reader.finish_padded()?;
        Ok(answer)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::limits::{ANSWER_LEN, CIRCUIT_DATA_LEN_MAX, HOLDERS, LOOK_SLOT_LEN, SLOT_LEN};
    use crate::wire::descriptor::DESCRIPTOR_LEN;
    use crate::wire::statement::STATEMENT_LEN;

    const HEAD: usize = 1 + 4 + 2 + 2;
    const _: () =
        assert!(HEAD + RECORD_LEN + SIGNERS * STATEMENT_LEN + ANSWER_DESCRIPTORS_MAX * DESCRIPTOR_LEN <= ANSWER_LEN);
    const _: () = assert!(HEAD + SEALED_CHUNK_LEN <= SLOT_LEN);
    const _: () = assert!(HEAD + LOOK_SIGNERS * STATEMENT_LEN <= LOOK_SLOT_LEN);
    const _: () = assert!(HEAD + HOLDERS * (STATEMENT_LEN + DESCRIPTOR_LEN) <= CIRCUIT_DATA_LEN_MAX);

    proptest! {
        #[test]
        fn what_decodes_encodes_to_the_same_bytes(bytes in proptest::collection::vec(0..5_u8, 0..120)) {
            if let Ok(request) = ExitRequest::decode(&bytes) {
                prop_assert_eq!(request.encode(), bytes.clone());
            }
            if let Ok(answer) = ExitAnswer::decode(&bytes, ValueKind::Hashed) {
                prop_assert_eq!(answer.encode(bytes.len()), Some(bytes));
            }
        }
    }

    // [ONION-R-016] [VER-R-006]
    #[test]
    fn routing_blocks_survive_the_wire_and_dirty_ones_are_refused() {
        let time = UnixTime(600);
        // Which suite the next relay understands is not this one's to judge.
        let forward = |suite| Routing::Forward { next: Id([4; 20]), suite, hint: 9, time };
        for routing in [forward(1), forward(200), Routing::Exit { time }] {
            let bytes = routing.encode();
            assert_eq!(Routing::decode(&bytes), Ok(routing));
            for (at, bit) in [(0, 0x80), (31, 1), (27, 1)] {
                let mut dirty = bytes;
                dirty[at] ^= bit;
                assert!(Routing::decode(&dirty).is_err());
            }
        }
    }

    // [REQ-W-003] [REQ-R-004]
    #[test]
    fn the_longest_requests_fit_a_build_packet() {
        let name = |hash| ChunkName { hash: [hash; 32], index: 1 };
        let names: Vec<ChunkName> = (0..BATCH_CHUNKS).map(|n| name(u8::try_from(n).unwrap())).collect();
        let named: Vec<_> = names.iter().map(|name| (*name, 65_552)).collect();
        let paid = Some(Payment { effort: 3, hour: 500_000, counter: u32::MAX });
        let payments = vec![paid, None, paid, paid];
        let expiry = Expiry::from_wire([0, 0, 9]);
        let nonce = Nonce([0; 16]);
        let record = RecordBytes(Box::new([7; RECORD_LEN]));
        for request in [
            ExitRequest::Find { location: Id([1; 20]), nonce },
            ExitRequest::Put { nonce, expected: Some(3), record: record.clone(), payment: None },
            ExitRequest::Put { nonce, expected: Some(3), record, payment: paid },
            ExitRequest::FetchChunks { nonce, chunks: names.clone() },
            ExitRequest::PutChunks { nonce, expiry, chunks: named.clone(), payments: vec![] },
            ExitRequest::PutChunks { nonce, expiry, chunks: named.clone(), payments },
            ExitRequest::Look { nonce, chunks: names.clone() },
        ] {
            let bytes = request.encode();
            assert!(bytes.len() <= REQUEST_LEN_MAX);
            assert_eq!(ExitRequest::decode(&bytes), Ok(request));
        }
        for nothing in [ExitRequest::FetchChunks { nonce, chunks: vec![] }, ExitRequest::Look { nonce, chunks: vec![] }]
        {
            assert_eq!(ExitRequest::decode(&nothing.encode()), Err(Malformed::Value));
        }
        let unpaid = ExitRequest::PutChunks { nonce, expiry, chunks: named, payments: vec![None; BATCH_CHUNKS] };
        assert_eq!(ExitRequest::decode(&unpaid.encode()), Err(Malformed::Value));
        let twice = ExitRequest::Look { nonce, chunks: vec![names[0], names[0]] };
        assert_eq!(ExitRequest::decode(&twice.encode()), Err(Malformed::Value));
    }
}
