//! Single records through the client: get, put, delete, and what it remembers of those it has seen. It knows no files.

use super::{Client, ClientError, lock};
use crate::crypto::keys::IdentitySecret;
use crate::crypto::{CryptoRng, forget_past, random_bytes};
use crate::limits::{EXPIRY_STEP_S, HOLDERS, SEEN_SEQS_MAX, SEQ_FIRST_MAX, SEQ_STEP_MAX};
use crate::node::Operation;
use crate::record::{INDICES, Locator, Opened};
use crate::request::{Consistency, Counts, Refused, Sighting, Success};
use crate::time::Duration;
use crate::wire::record::Expiry;

/// A record that was found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Found {
    /// The payload, decrypted.
    pub payload: Vec<u8>,
    /// Its sequence number: what an update must name.
    pub seq: u64,
    /// Whether enough of the closest nodes signed that nothing newer is there.
    pub attested: bool,
    /// Its copies at each of its locations; all of them count with [`Consistency::Audit`] alone.
    pub seen: Vec<Sighting>,
    /// What was asked and what came back.
    pub counts: Counts,
}

/// A record that was stored.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Stored {
    /// Its sequence number.
    pub seq: u64,
    /// Holders that signed a receipt, for each location.
    pub copies: Vec<usize>,
    /// What was asked and what came back.
    pub counts: Counts,
}

/// The newest that a client has seen of a value.
#[derive(Clone, Copy)]
pub(super) struct Seen {
    seq: u64,
    /// The last end of all that was seen there, or sent and perhaps stored: what replaces it does not end before, or it would come back.
    expiry: Expiry,
}

/// How a record is got.
#[derive(Clone, Copy, Debug, Default)]
pub struct GetOptions {
    /// How many of the three locations must answer.
    pub consistency: Consistency,
    /// A value older than this is not taken: what the caller has seen before.
    pub seq_min: u64,
    /// Other than the usual 30 s.
    pub timeout: Option<Duration>,
}

/// How a record is put.
#[derive(Clone, Copy, Debug)]
pub struct PutOptions {
    /// The sequence number that is replaced, if any.
    pub previous: Option<u64>,
    /// The new number is greater than this one: of a value that has expired meanwhile, readers may remember the number.
    pub above: u64,
    /// How long it shall be kept, rounded up to six hours; not less than what this client has seen there.
    pub lifetime: Duration,
    /// Other than the usual 30 s.
    pub timeout: Option<Duration>,
}

impl Default for PutOptions {
    fn default() -> Self {
        // Four steps: a day.
        Self { previous: None, above: 0, lifetime: Duration::from_secs(4 * EXPIRY_STEP_S), timeout: None }
    }
}

impl Client {
    /// Gets and decrypts a record.
    ///
    /// # Errors
    /// [`ClientError::Refused`] tells apart not found, unreachable, damaged, older and privacy floor; [`ClientError::Deleted`].
    pub async fn get_record(&self, locator: &Locator, options: GetOptions) -> Result<Found, ClientError> {
        let GetOptions { consistency, seq_min, timeout } = options;
        let seq_min = self.seen(locator).map_or(seq_min, |seen| seen.seq.max(seq_min));
        let operation = Operation::RecordGet { places: locator.places(), consistency, seq_min };
        let (success, counts) = self.run(operation, timeout.unwrap_or(self.inner.timeout)).await?;
        match success {
            Success::Record { record, seq, attested, seen, .. } => {
                let expiry = record.fields().map_err(|_| ClientError::Unreadable)?.expiry;
                let opened = locator.open(&record).map_err(|_| ClientError::Unreadable)?;
                self.see(locator, Seen { seq, expiry });
                match opened {
                    Opened::Payload(payload) => Ok(Found { payload, seq, attested, seen, counts }),
                    Opened::Deleted => Err(ClientError::Deleted { seq, counts }),
                }
            }
            _ => Err(ClientError::Stopped),
        }
    }

    /// The sequence number of the value that a locator leads to now, if there is one: what an update must name.
    ///
    /// # Errors
    /// As [`Self::get_record`], but absence is `None`, and a deletion is a value that an update replaces.
    pub async fn current_seq(&self, locator: &Locator, options: GetOptions) -> Result<Option<u64>, ClientError> {
        match self.get_record(locator, options).await {
            Ok(found) => Ok(Some(found.seq)),
            Err(ClientError::Deleted { seq, .. }) => Ok(Some(seq)),
            Err(ClientError::Refused(Refused::NotFound, _)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Seals and stores a record at its three locations. `previous` is the sequence number that it replaces; without one,
    /// nothing may be there yet.
    ///
    /// # Errors
    /// [`ClientError::Refused`] with [`Refused::Conflict`] when something else is there, [`Refused::Partly`] when fewer copies
    /// than asked have a receipt, [`Refused::Unpaid`] when holders ask for more work than was done, [`Refused::Full`] when
    /// they have no room, [`Refused::NotSolved`] when there was no time for the work.
    pub async fn put_record(
        &self,
        author: &IdentitySecret,
        label: &[u8],
        payload: &[u8],
        options: PutOptions,
    ) -> Result<Stored, ClientError> {
        self.replace(author, label, Some(payload), options).await
    }

    /// Stores a record again as its author signed it, at those of its locations that have fewer copies than they should: anybody can
    /// who can read it. It ends when it would have.
    ///
    /// # Errors
    /// As [`Self::get_record`] and [`Self::put_record`]. Of a location where it was not found at all there is nothing to store: it has the
    /// copies that were seen, none.
    pub async fn put_again(&self, locator: &Locator, options: GetOptions) -> Result<Stored, ClientError> {
        let seq_min = self.seen(locator).map_or(options.seq_min, |seen| seen.seq.max(options.seq_min));
        let timeout = options.timeout.unwrap_or(self.inner.timeout);
        let get = Operation::RecordGet { places: locator.places(), consistency: Consistency::Audit, seq_min };
        let (Success::Record { seq, seen, records, .. }, counts) = self.run(get, timeout).await? else {
            return Err(ClientError::Stopped);
        };
        let mut copies: Vec<usize> = seen.iter().map(|place| place.until.len()).collect();
        let places = (0..).zip(locator.places().into_iter().zip(records)).zip(&copies);
        let lacking = places.filter(|(_, copies)| **copies < HOLDERS);
        let (at, records): (Vec<usize>, Vec<_>) =
            lacking.filter_map(|((at, (place, record)), _)| Some((at, (place, record?)))).unzip();
        if records.is_empty() {
            return Ok(Stored { seq, copies, counts });
        }
        match self.run(Operation::RecordPut { records, expected: Some(seq) }, timeout).await? {
            (Success::RecordStored { copies: stored }, counts) => {
                for (at, stored) in at.into_iter().zip(stored) {
                    copies.get_mut(at).into_iter().for_each(|copies| *copies = stored);
                }
                Ok(Stored { seq, copies, counts })
            }
            _ => Err(ClientError::Stopped),
        }
    }

    /// Deletes a record before its time is over: a newer value that says so takes its place, at all who keep it, until the old
    /// one would have ended. `previous` is the sequence number of what is deleted. Storers see an update like any other; chunks
    /// stay where they are until they expire, and nobody finds them.
    ///
    /// # Errors
    /// As [`Self::put_record`].
    pub async fn delete(
        &self,
        author: &IdentitySecret,
        label: &[u8],
        options: PutOptions,
    ) -> Result<Stored, ClientError> {
        self.replace(author, label, None, options).await
    }

    /// Stores a payload, or that it is deleted.
    async fn replace(
        &self,
        author: &IdentitySecret,
        label: &[u8],
        payload: Option<&[u8]>,
        options: PutOptions,
    ) -> Result<Stored, ClientError> {
        let locator = Locator::of_author(author, label)?;
        let expiry = self.expiry_there(&locator, options.lifetime);
        let (seq, records) = {
            let mut rng = lock(&self.inner.rng);
            let seq = next_seq(options.previous, options.above, &mut *rng);
            let network = self.inner.network;
            let mut seal = |index| match payload {
                Some(payload) => locator.seal(&network, author, index, (seq, expiry), payload, &mut *rng),
                None => locator.seal_deletion(&network, author, index, (seq, expiry), &mut *rng),
            };
            let records = INDICES.into_iter().map(&mut seal).collect::<Result<Vec<_>, _>>()?;
            forget_past(&mut rng);
            (seq, locator.places().into_iter().zip(records).collect())
        };
        // However it ends, copies may be kept till then.
        self.see(&locator, Seen { seq: 0, expiry });
        let operation = Operation::RecordPut { records, expected: Some(options.previous.unwrap_or(0)) };
        match self.run(operation, options.timeout.unwrap_or(self.inner.timeout)).await? {
            (Success::RecordStored { copies }, counts) => {
                self.see(&locator, Seen { seq, expiry });
                Ok(Stored { seq, copies, counts })
            }
            _ => Err(ClientError::Stopped),
        }
    }

    /// When a new value ends: after its lifetime, and not before anything that this client has seen there, or may have stored.
    fn expiry_there(&self, locator: &Locator, lifetime: Duration) -> Expiry {
        let asked = self.expiry(lifetime);
        self.seen(locator).map_or(asked, |seen| seen.expiry.max(asked))
    }

    /// The newest that this client has seen of a value: nothing older is taken any more.
    fn seen(&self, locator: &Locator) -> Option<Seen> {
        let [first, ..] = locator.locations();
        lock(&self.inner.seen).get(&first).copied()
    }

    fn see(&self, locator: &Locator, new: Seen) {
        let [first, ..] = locator.locations();
        let mut seen = lock(&self.inner.seen);
        if seen.len() < SEEN_SEQS_MAX || seen.contains_key(&first) {
            let newest = seen.entry(first).or_insert(new);
            *newest = Seen { seq: new.seq.max(newest.seq), expiry: new.expiry.max(newest.expiry) };
        }
    }
}

/// The number of a new value. A first one is random, so that none says how often its value has changed.
fn next_seq(previous: Option<u64>, above: u64, rng: &mut dyn CryptoRng) -> u64 {
    let step = u64::from(u16::from_be_bytes(random_bytes(rng))) + 1;
    debug_assert!(step <= SEQ_STEP_MAX);
    let first = u64::from(u32::from_be_bytes(random_bytes(rng))).min(SEQ_FIRST_MAX);
    previous.unwrap_or(first).max(above).saturating_add(step)
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::ChaCha20Rng;

    use super::*;
    use crate::client::ClientOptions;
    use crate::membership::fixture::network;
    use crate::net::Runtime;

    // [VAL-W-006]
    #[test]
    fn a_first_number_is_drawn_evenly_and_each_step_from_one_to_its_greatest() {
        let mut rng = ChaCha20Rng::seed_from_u64(1);
        let draw = |rng: &mut ChaCha20Rng, previous| (0..4_000).map(|_| next_seq(previous, 0, rng)).collect::<Vec<_>>();
        let firsts = draw(&mut rng, None);
        assert!(firsts.iter().all(|seq| (1..=SEQ_FIRST_MAX + SEQ_STEP_MAX).contains(seq)));
        // Every sixteenth of the range is met: the chance that one is not is 16 (15 / 16)^4,000.
        let parts: std::collections::BTreeSet<u64> = firsts.iter().map(|seq| seq >> 28).collect();
        assert!((0..16).all(|part| parts.contains(&part)));
        let steps: Vec<u64> = draw(&mut rng, Some(1_000)).into_iter().map(|seq| seq - 1_000).collect();
        assert!(steps.iter().all(|step| (1..=SEQ_STEP_MAX).contains(step)));
        let parts: std::collections::BTreeSet<u64> = steps.iter().map(|step| (step - 1) >> 12).collect();
        assert!((0..16).all(|part| parts.contains(&part)));
        assert!(next_seq(Some(5), 70_000, &mut rng) > 70_000, "and above what it has to be");
    }

    // [VAL-W-011]
    #[tokio::test]
    async fn what_a_put_that_failed_may_have_stored_is_outlived_by_what_replaces_it() {
        let home = tempfile::tempdir().unwrap();
        let runtime = Runtime::with_links_max(4).unwrap();
        let client =
            Client::start(&runtime, ClientOptions::new(network(), Vec::new(), home.path().join("state"))).unwrap();
        let author = IdentitySecret::from_bytes(&[7; 32]);
        let locator = Locator::of_author(&author, b"label").unwrap();
        let (long, short) = (Duration::from_secs(20 * EXPIRY_STEP_S), Duration::from_secs(EXPIRY_STEP_S));
        let least = client.expiry(long);
        let put = PutOptions { lifetime: long, ..PutOptions::default() };
        let failed = client.put_record(&author, b"label", b"x", put).await;
        assert!(matches!(failed, Err(ClientError::Refused(Refused::Unreachable, _))), "{failed:?}");
        assert!(client.expiry_there(&locator, short) >= least, "its deletion does not end before it");
        assert_eq!(client.seen(&locator).map(|seen| seen.seq), Some(0), "what is there is taken as before");
        client.close().await;
    }
}
