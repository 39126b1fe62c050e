//! Questions and answers between the two ends of a link, in one to 64 cells. Source: spec/messages.md.
//!
//! First cell: length u32, then bytes; later cells: bytes; the last is padded with zeros.

use super::cell::{Cell, CircuitId, Command};
use super::codec::{Malformed, Reader, put_list};
use super::contact::Contact;
use super::descriptor::{Fingerprint, SignedDescriptor};
use super::payment::{Account, Payment};
use super::record::{Value, ValueKind};
use super::statement::{Nonce, Statement};
use crate::crypto::keys::NodeKey;
use crate::keyspace::{Id, Location};
use crate::limits::{BODY_LEN, BUCKET_SIZE, FINGERPRINTS_MAX, KEY_LEN, MEMBERS_PAGE_MAX, MESSAGE_LEN_MAX};

/// A question.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Ask {
    /// What have you at this location, and whom do you know closer? Relays only.
    Find {
        /// Kind of the value.
        kind: ValueKind,
        /// Where.
        location: Location,
        /// For the statement.
        nonce: Nonce,
        /// Whether the value itself is wanted too.
        want_value: bool,
    },
    /// Keep this value. Relays only.
    Store {
        /// For the receipt.
        nonce: Nonce,
        /// Compare-and-swap: the sequence number that must be held, 0 for none.
        expected: Option<u64>,
        /// The value.
        value: Value,
        /// On whose account.
        account: Account,
    },
    /// Which relays do you know, in the order of keys after this one? Anybody.
    Members {
        /// The last key of the page before.
        after: Option<NodeKey>,
    },
    /// Which relays do you know between these keys that I do not? Relays only; always one cell.
    Differences {
        /// After this key.
        after: Option<NodeKey>,
        /// Up to this key, itself included; `None`: up to the last.
        until: Option<NodeKey>,
        /// Of the fingerprints, drawn for this question.
        salt: u64,
        /// Of all descriptors that the asker has between the two keys; strictly ascending.
        held: Vec<Fingerprint>,
    },
}

/// An answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Answer {
    /// To [`Ask::Find`].
    Found {
        /// The storer's word.
        statement: Statement,
        /// Closest contacts it knows, at most 20.
        contacts: Vec<Contact>,
        /// The value, where it was wanted and is there.
        value: Option<Value>,
    },
    /// To [`Ask::Store`].
    Stored {
        /// The storer's receipt, or why not.
        statement: Statement,
    },
    /// To [`Ask::Members`] and [`Ask::Differences`].
    Members {
        /// One page.
        descriptors: Vec<SignedDescriptor>,
        /// Whether more follow.
        more: bool,
        /// Whether the answerer counts as settled: it has met most of those that run.
        settled: bool,
    },
    /// The asker may not ask this, or the node is too busy.
    Refused,
}

fn put_option<T>(out: &mut Vec<u8>, option: Option<&T>, put: impl FnOnce(&mut Vec<u8>, &T)) {
    out.push(u8::from(option.is_some()));
    if let Some(value) = option {
        put(out, value);
    }
}

fn option<'a, T>(
    reader: &mut Reader<'a>,
    read: impl FnOnce(&mut Reader<'a>) -> Result<T, Malformed>,
) -> Result<Option<T>, Malformed> {
    if reader.flag()? { read(reader).map(Some) } else { Ok(None) }
}

/// An option of a key, under the name that says for what.
fn key(reader: &mut Reader<'_>, is_there: &'static str, name: &'static str) -> Result<Option<NodeKey>, Malformed> {
    option(reader.field(is_there), |reader| reader.field(name).array().map(NodeKey))
}

impl Ask {
    /// A question that a live relay answers with one cell and no news: the members after the last key there can be.
    #[must_use]
    pub fn sign_of_life() -> Self {
        Self::Members { after: Some(NodeKey([0xff; KEY_LEN])) }
    }

    /// Encodes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        match self {
            Self::Find { kind, location, nonce, want_value } => {
                out.extend_from_slice(&[1, kind.encode()]);
                out.extend_from_slice(&location.0);
                out.extend_from_slice(&nonce.0);
                out.push(u8::from(*want_value));
            }
            Self::Store { nonce, expected, value, account } => {
                match account {
                    Account::Anonymous(None) => out.push(2),
                    Account::Anonymous(Some(payment)) => {
                        out.push(5);
                        payment.encode(&mut out);
                    }
                    Account::Upkeep => out.push(6),
                }
                out.extend_from_slice(&nonce.0);
                put_option(&mut out, expected.as_ref(), |out, seq| out.extend_from_slice(&seq.to_be_bytes()));
                value.encode(&mut out);
            }
            Self::Members { after } => {
                out.push(3);
                put_option(&mut out, after.as_ref(), |out, key| out.extend_from_slice(&key.0));
            }
            Self::Differences { after, until, salt, held } => {
                out.push(4);
                put_option(&mut out, after.as_ref(), |out, key| out.extend_from_slice(&key.0));
                put_option(&mut out, until.as_ref(), |out, key| out.extend_from_slice(&key.0));
                out.extend_from_slice(&salt.to_be_bytes());
                put_list(&mut out, held, |out, one| out.extend_from_slice(&one.0));
            }
        }
        out
    }

    /// Decodes all of `bytes`.
    ///
    /// # Errors
    /// [`Malformed`] for an unknown kind, a field out of bounds, or bytes left over.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        Self::read(Reader::new(bytes))
    }

    /// As [`Self::decode`], all that the reader has.
    ///
    /// # Errors
    /// As [`Self::decode`].
    pub fn read(mut reader: Reader<'_>) -> Result<Self, Malformed> {
        let kind = reader.field("question").u8()?;
        reader.say(|| Self::words(kind).to_owned());
        let ask = match kind {
            1 => Self::Find {
                kind: ValueKind::decode(&mut reader)?,
                location: Id(reader.field("location").array()?),
                nonce: Nonce(reader.field("nonce").array()?),
                want_value: reader.field("value wanted").flag()?,
            },
            2 => Self::decode_store(&mut reader, Account::Anonymous(None))?,
            3 => Self::Members { after: key(&mut reader, "after a key", "after")? },
            4 => Self::decode_differences(&mut reader)?,
            5 => {
                let payment = reader.within("payment", Payment::decode)?;
                Self::decode_store(&mut reader, Account::Anonymous(Some(payment)))?
            }
            6 => Self::decode_store(&mut reader, Account::Upkeep)?,
            _ => return Err(Malformed::Value),
        };
        reader.finish()?;
        Ok(ask)
    }

    fn words(kind: u8) -> &'static str {
        match kind {
            1 => "Find",
            2 => "Store, nothing paid",
            3 => "Members",
            4 => "Differences",
            5 => "Store, paid for",
            6 => "Store, upkeep",
            _ => "unknown",
        }
    }

    fn decode_store(reader: &mut Reader<'_>, account: Account) -> Result<Self, Malformed> {
        let nonce = Nonce(reader.field("nonce").array()?);
        let expected = option(reader.field("a number is expected"), |reader| reader.field("number expected").u64())?;
        Ok(Self::Store { nonce, expected, value: reader.within("value", Value::decode)?, account })
    }

    fn decode_differences(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let (after, until) = (key(reader, "after a key", "after")?, key(reader, "until a key", "until")?);
        let salt = reader.field("salt").u64()?;
        let fingerprint = |reader: &mut Reader<'_>| reader.field("fingerprint").array().map(Fingerprint);
        let held = reader.field("held").list(FINGERPRINTS_MAX, fingerprint)?;
        let is_range = until.is_none_or(|until| after.is_none_or(|after| after < until));
        let ascends = held.is_sorted_by(|one, next| one < next);
        if is_range && ascends { Ok(Self::Differences { after, until, salt, held }) } else { Err(Malformed::Value) }
    }
}

impl Answer {
    /// Encodes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        match self {
            Self::Refused => out.push(0),
            Self::Found { statement, contacts, value } => {
                out.push(1);
                statement.encode(&mut out);
                put_list(&mut out, contacts, |out, contact| contact.encode(out));
                put_option(&mut out, value.as_ref(), |out, value| value.encode(out));
            }
            Self::Stored { statement } => {
                out.push(2);
                statement.encode(&mut out);
            }
            Self::Members { descriptors, more, settled } => {
                out.push(3);
                put_list(&mut out, descriptors, |out, descriptor| out.extend_from_slice(descriptor.as_bytes()));
                out.extend_from_slice(&[u8::from(*more), u8::from(*settled)]);
            }
        }
        out
    }

    /// Decodes all of `bytes`.
    ///
    /// # Errors
    /// [`Malformed`] for an unknown kind, a field out of bounds, or bytes left over.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        Self::read(Reader::new(bytes))
    }

    /// As [`Self::decode`], all that the reader has.
    ///
    /// # Errors
    /// As [`Self::decode`].
    pub fn read(mut reader: Reader<'_>) -> Result<Self, Malformed> {
        let kind = reader.field("answer").u8()?;
        reader.say(|| Self::words(kind).to_owned());
        let answer = match kind {
            0 => Self::Refused,
            1 => Self::Found {
                statement: reader.within("statement", Statement::decode)?,
                contacts: reader.field("contacts").list(BUCKET_SIZE, Contact::decode)?,
                value: option(reader.field("value follows"), |reader| reader.within("value", Value::decode))?,
            },
            2 => Self::Stored { statement: reader.within("statement", Statement::decode)? },
            3 => Self::Members {
                descriptors: reader.field("descriptors").list(MEMBERS_PAGE_MAX, SignedDescriptor::decode)?,
                more: reader.field("more follow").flag()?,
                settled: reader.field("settled").flag()?,
            },
            _ => return Err(Malformed::Value),
        };
        reader.finish()?;
        Ok(answer)
    }

    fn words(kind: u8) -> &'static str {
        match kind {
            0 => "Refused",
            1 => "Found",
            2 => "Stored",
            3 => "Members",
            _ => "unknown",
        }
    }

    /// The last key of a membership page, if the page is one: keys ascend, all after the last of the page before, so that
    /// pages come to an end. `None` otherwise, and for an empty page that promises more.
    #[must_use]
    pub fn page_end(descriptors: &[SignedDescriptor], more: bool, after: Option<NodeKey>) -> Option<Option<NodeKey>> {
        let keys: Vec<NodeKey> = descriptors.iter().map(|one| one.claim().0).collect();
        let ascends = after.iter().chain(&keys).is_sorted_by(|a, b| a < b);
        (ascends && (!more || !keys.is_empty())).then(|| keys.last().copied())
    }
}

/// Cuts an encoded message into cells; `None` when it is longer than a message may be.
#[must_use]
pub fn cells_of(circuit: CircuitId, command: Command, message: &[u8]) -> Option<Vec<Cell>> {
    if message.len() > MESSAGE_LEN_MAX {
        return None;
    }
    let framed = [&u32::try_from(message.len()).ok()?.to_be_bytes(), message].concat();
    let cells = framed.chunks(BODY_LEN).map(|part| {
        let mut cell = Cell::new(circuit, command);
        cell.body_mut().iter_mut().zip(part).for_each(|(to, from)| *to = *from);
        cell
    });
    Some(cells.collect())
}

/// Joins the cells of one message. Memory grows with what has come, never with what was announced.
#[derive(Default, Debug)]
pub struct Assembler {
    len: Option<usize>,
    bytes: Vec<u8>,
}

impl Assembler {
    /// Takes the next body; `Some` once the message is complete. After that the assembler is empty again.
    ///
    /// # Errors
    /// [`Malformed`] when the length is over its cap or the padding is not zeros.
    pub fn push(&mut self, body: &[u8; BODY_LEN]) -> Result<Option<Vec<u8>>, Malformed> {
        let mut reader = Reader::new(body);
        let len = match self.len {
            Some(len) => len,
            None => {
                let len = usize::try_from(reader.u32()?).map_err(|_| Malformed::Value)?;
                if len > MESSAGE_LEN_MAX {
                    return Err(Malformed::Value);
                }
                *self.len.insert(len)
            }
        };
        let room = if self.bytes.is_empty() { BODY_LEN - 4 } else { BODY_LEN };
        let missing = len.saturating_sub(self.bytes.len());
        self.bytes.extend_from_slice(reader.bytes(missing.min(room))?);
        if missing > room {
            return Ok(None);
        }
        reader.finish_padded()?;
        self.len = None;
        Ok(Some(core::mem::take(&mut self.bytes)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::limits::{RECORD_LEN, SEALED_CHUNK_LEN};
    use crate::wire::record::{ChunkBytes, Expiry, RecordBytes};

    proptest! {
        // [MSG-W-003]
        #[test]
        fn a_message_of_any_length_is_joined_as_it_was_cut(len in 0..=MESSAGE_LEN_MAX) {
            let message: Vec<u8> = (0..len).map(|i| u8::try_from(i % 251).unwrap()).collect();
            let cells = cells_of(CircuitId(1), Command::Ask, &message).unwrap();
            prop_assert_eq!(cells.len(), (len + 4).div_ceil(BODY_LEN));
            let mut assembler = Assembler::default();
            let (last, first) = cells.split_last().unwrap();
            for cell in first {
                prop_assert_eq!(assembler.push(cell.body()), Ok(None));
            }
            prop_assert_eq!(assembler.push(last.body()), Ok(Some(message)));
        }

        #[test]
        fn what_decodes_encodes_to_the_same_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            if let Ok(ask) = Ask::decode(&bytes) {
                prop_assert_eq!(ask.encode(), bytes.clone());
            }
            if let Ok(answer) = Answer::decode(&bytes) {
                prop_assert_eq!(answer.encode(), bytes);
            }
        }
    }

    // [MSG-W-020] [MSG-R-032]
    #[test]
    fn questions_survive_the_wire() {
        let chunk = ChunkBytes { hash: [1; 32], index: 1, expiry: Expiry::from_wire([0, 1, 2]), bytes: vec![5; 100] };
        let nonce = Nonce([1; 16]);
        for ask in [
            Ask::Find { kind: ValueKind::Hashed, location: Id([2; 20]), nonce, want_value: true },
            store(Some(9), &chunk, Account::Anonymous(None)),
            store(None, &chunk, Account::Anonymous(Some(Payment { effort: 3, hour: 9, counter: 7 }))),
            store(Some(0), &chunk, Account::Upkeep),
            Ask::Members { after: Some(NodeKey([3; 32])) },
            Ask::Members { after: None },
            differences(Some(1), Some(2), &[[0, 0, 1], [0, 1, 0]]),
            differences(None, None, &[]),
        ] {
            assert_eq!(Ask::decode(&ask.encode()), Ok(ask));
        }
    }

    fn store(expected: Option<u64>, chunk: &ChunkBytes, account: Account) -> Ask {
        Ask::Store { nonce: Nonce([1; 16]), expected, value: Value::Hashed(chunk.clone()), account }
    }

    #[test]
    fn what_was_paid_for_a_value_takes_no_cell_more() {
        let chunk = ChunkBytes {
            hash: [1; 32],
            index: 0,
            expiry: Expiry::from_wire([0, 1, 2]),
            bytes: vec![5; SEALED_CHUNK_LEN],
        };
        let record = Value::Signed(RecordBytes(Box::new([7; RECORD_LEN])));
        for (value, cells) in [(record, 1), (Value::Hashed(chunk), 33)] {
            let paid = Account::Anonymous(Some(Payment { effort: 1, hour: 1, counter: 1 }));
            for account in [Account::Anonymous(None), paid, Account::Upkeep] {
                let ask = Ask::Store { nonce: Nonce([1; 16]), expected: Some(1), value: value.clone(), account };
                assert_eq!(cells_of(CircuitId(1), Command::Ask, &ask.encode()).unwrap().len(), cells);
            }
        }
    }

    fn differences(after: Option<u8>, until: Option<u8>, held: &[[u8; 3]]) -> Ask {
        let key = |first: u8| NodeKey([first; 32]);
        let held = held.iter().map(|one| Fingerprint(*one)).collect();
        Ask::Differences { after: after.map(key), until: until.map(key), salt: 7, held }
    }

    // [MSG-R-008]
    #[test]
    fn a_question_for_differences_between_no_keys_or_with_fingerprints_out_of_order_is_refused() {
        for ask in [
            differences(Some(2), Some(2), &[]),
            differences(Some(3), Some(2), &[]),
            differences(None, None, &[[0, 0, 2], [0, 0, 1]]),
            differences(None, None, &[[0, 0, 2], [0, 0, 2]]),
        ] {
            assert_eq!(Ask::decode(&ask.encode()), Err(Malformed::Value));
        }
    }

    // [MSG-R-008]
    #[test]
    fn the_longest_question_for_differences_is_one_cell_and_a_longer_one_is_refused() {
        let most = u32::try_from(FINGERPRINTS_MAX).unwrap();
        let held = |count: u32| (0..count).map(|one| one.to_be_bytes()[1..].try_into().unwrap()).collect::<Vec<_>>();
        let ask = differences(Some(1), Some(2), &held(most));
        assert_eq!(cells_of(CircuitId(1), Command::Ask, &ask.encode()).unwrap().len(), 1);
        assert_eq!(Ask::decode(&ask.encode()), Ok(ask));
        assert_eq!(Ask::decode(&differences(Some(1), Some(2), &held(most + 1)).encode()), Err(Malformed::Value));
    }

    // [MSG-R-004]
    #[test]
    fn an_announced_length_over_the_cap_and_dirty_padding_are_refused() {
        let mut body = [0; BODY_LEN];
        body[..4].copy_from_slice(&u32::MAX.to_be_bytes());
        assert_eq!(Assembler::default().push(&body), Err(Malformed::Value));
        body[..4].copy_from_slice(&1_u32.to_be_bytes());
        body[9] = 1;
        assert_eq!(Assembler::default().push(&body), Err(Malformed::Trailing));
        assert!(cells_of(CircuitId(1), Command::Ask, &vec![0; MESSAGE_LEN_MAX + 1]).is_none());
    }
}
