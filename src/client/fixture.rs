//! A network in memory for tests of transfers: what is put is there, and one holder's faults can be asked for. It knows neither members nor
//! circuits.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};

use rand::SeedableRng;
use rand::rngs::ChaCha20Rng;

use super::transfer::{Carrier, Sealing, Source, store};
use super::{ClientError, Found, GetOptions, PutOptions, Stored};
use crate::content::{ContentKind, ContentLink, FileName};
use crate::crypto::keys::IdentitySecret;
use crate::limits::{CHUNK_HOLDERS, HOLDERS, LOCATIONS};
use crate::membership::fixture::network;
use crate::net::Clock;
use crate::record::Locator;
use crate::request::{Counts, Refused, SealedChunk, Sighting};
use crate::time::{Duration, UnixTime};
use crate::wire::network::Network;
use crate::wire::record::Expiry;

/// What the network holds, and how it errs.
#[derive(Default)]
pub(crate) struct Held {
    /// By name: the bytes, and when each copy ends.
    pub(crate) chunks: BTreeMap<[u8; 32], (Vec<u8>, Vec<Expiry>)>,
    /// Names of chunks in the batches in which they were published.
    pub(crate) published: Vec<Vec<[u8; 32]>>,
    pub(crate) payload: Vec<u8>,
    pub(crate) seq: u64,
    pub(crate) places: Vec<Sighting>,
    pub(crate) unattested: bool,
    /// Names that no holder takes.
    pub(crate) refused: BTreeSet<[u8; 32]>,
    /// What every holder says of every chunk, whatever it has.
    pub(crate) claimed: Option<Expiry>,
    /// What each batch looked for, and what each stored.
    pub(crate) looks: Vec<Vec<[u8; 32]>>,
    pub(crate) puts: Vec<Vec<[u8; 32]>>,
    /// While chunks are looked for somebody replaces the root by one that says the same.
    pub(crate) updates: bool,
}

#[derive(Clone)]
pub(crate) struct Memory {
    network: Network,
    held: Arc<Mutex<Held>>,
}

pub(crate) fn author() -> IdentitySecret {
    IdentitySecret::from_bytes(&[7; 32])
}

/// So many steps from now.
pub(crate) fn steps_away(steps: u64) -> Expiry {
    Expiry::of_step(Expiry::at_least(Clock::unix()).step() + steps).unwrap()
}

impl Memory {
    /// With content of so many chunks, which ends in so many steps.
    pub(crate) async fn with(chunks: usize, steps: u64) -> (Self, ContentLink) {
        let memory = Self { network: network(), held: Arc::default() };
        let (locator, mut rng) = (Locator::of_author(&author(), b"kept").unwrap(), ChaCha20Rng::seed_from_u64(1));
        let mut sealing = Sealing::fresh(Some(author()), Duration::ZERO, UnixTime(0), &mut rng);
        sealing.expiry = steps_away(steps);
        let bytes: Vec<u8> = (0..chunks * crate::limits::CHUNK_LEN).map(|at| (at % 251).to_le_bytes()[0]).collect();
        let name = FileName::new("file").unwrap();
        let source = Source { name, kind: ContentKind::File, bytes: std::io::Cursor::new(bytes), len: None };
        let prepared = store(&memory, source, &sealing, &mut (), &|_| ()).await.unwrap();
        let lifetime = sealing.expiry.lifetime_from(Clock::unix());
        let put = PutOptions { lifetime, ..PutOptions::default() };
        let link = prepared.publish(&memory, &author(), b"kept", put).await.unwrap().link;
        let published = core::mem::take(&mut memory.held().puts);
        memory.held().published = published;
        assert_eq!(link.locator(&memory.network).unwrap().locations(), locator.locations());
        (memory, link)
    }

    /// Names of all chunks, batch after batch.
    pub(crate) fn names(&self) -> Vec<[u8; 32]> {
        self.held().published.concat()
    }

    pub(crate) fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap()
    }
}

fn failed(refused: Refused) -> ClientError {
    ClientError::Refused(refused, Counts { asked: 1, ..Counts::default() })
}

impl Carrier for Memory {
    fn network(&self) -> &Network {
        &self.network
    }

    async fn get_root(&self, _: &Locator, _: GetOptions) -> Result<Found, ClientError> {
        let held = self.held();
        let (payload, seen) = (held.payload.clone(), held.places.clone());
        Ok(Found { payload, seq: held.seq, attested: !held.unattested, seen, counts: Counts::default() })
    }

    async fn put_root(
        &self,
        _: &IdentitySecret,
        _: &[u8],
        payload: &[u8],
        options: PutOptions,
    ) -> Result<Stored, ClientError> {
        let mut held = self.held();
        if options.previous.unwrap_or(0) != held.seq {
            return Err(failed(Refused::Conflict { seq: held.seq }));
        }
        held.seq = held.seq.max(options.above) + 1;
        held.payload = payload.to_vec();
        let until = Expiry::at_least(UnixTime(Clock::unix().0 + options.lifetime.as_secs()));
        held.places = vec![Sighting { until: vec![until; HOLDERS], attested: true }; LOCATIONS];
        Ok(Stored { seq: held.seq, copies: vec![HOLDERS; LOCATIONS], counts: Counts::default() })
    }

    async fn put_root_again(&self, _: &Locator, _: GetOptions) -> Result<Stored, ClientError> {
        let mut held = self.held();
        for place in &mut held.places {
            if let Some(until) = place.until.first().copied() {
                place.until = vec![until; HOLDERS];
            }
        }
        let copies = held.places.iter().map(|place| place.until.len()).collect();
        Ok(Stored { seq: held.seq, copies, counts: Counts::default() })
    }

    async fn get_chunks(&self, hashes: Vec<[u8; 32]>) -> Result<Vec<Option<Vec<u8>>>, ClientError> {
        let held = self.held();
        Ok(hashes.iter().map(|hash| held.chunks.get(hash).map(|(bytes, _)| bytes.clone())).collect())
    }

    async fn put_chunks(&self, chunks: Vec<SealedChunk>, expiry: Expiry) -> Result<(), ClientError> {
        let mut held = self.held();
        if chunks.iter().any(|chunk| held.refused.contains(&chunk.hash)) {
            return Err(failed(Refused::Unreachable));
        }
        held.puts.push(chunks.iter().map(|chunk| chunk.hash).collect());
        for chunk in chunks {
            held.chunks.insert(chunk.hash, (chunk.bytes, vec![expiry; CHUNK_HOLDERS]));
        }
        Ok(())
    }

    async fn look_chunks(&self, hashes: Vec<[u8; 32]>) -> Result<Vec<Sighting>, ClientError> {
        let mut held = self.held();
        held.looks.push(hashes.clone());
        held.seq += u64::from(held.updates);
        held.updates = false;
        let seen = |hash| match (held.claimed, held.chunks.get(hash)) {
            (Some(end), _) => vec![end; CHUNK_HOLDERS],
            (None, Some((_, until))) => until.clone(),
            (None, None) => Vec::new(),
        };
        Ok(hashes.iter().map(|hash| Sighting { until: seen(hash), attested: true }).collect())
    }
}
