//! Publications that go on after an interruption: their keys, and which batches are stored. Source: spec/state.md §11.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::published::present;
use super::settings::Settings;
use crate::client::{Journal, Sealing};
use crate::content::PublicationSecret;
use crate::crypto::hash::blake3;
use crate::crypto::keys::IdentitySecret;
use crate::disk::{StateDir, StateError, TransferLog, forget_old_transfers};
use crate::limits::EXPIRY_STEP_S;
use crate::net::Entropy;
use crate::time::{Duration, UnixTime};
use crate::wire::hex;
use crate::wire::record::Expiry;

/// In the folder of the network.
const FOLDER: &str = "transfers";

/// What stands before a log.
#[derive(Serialize, Deserialize)]
pub(super) struct Header {
    secret: zeroize::Zeroizing<[u8; 32]>,
    /// Of a key that is made for this once; an author's own is not kept here.
    author: Option<zeroize::Zeroizing<[u8; 32]>>,
    expiry: [u8; 3],
    begun: u64,
}

/// A publication, fresh or going on.
pub(super) struct Resumed {
    pub(super) sealing: Sealing,
    /// Whether an earlier attempt had begun it.
    pub(super) goes_on: bool,
    log: Option<TransferLog>,
    nothing: (),
}

impl Resumed {
    /// Goes on with what was begun under the same name for the same time, unless `restart`; without a name nothing is kept.
    pub(super) fn open(
        state: &StateDir,
        settings: &Settings,
        author: &Option<IdentitySecret>,
        name: Option<Vec<u8>>,
        restart: bool,
    ) -> anyhow::Result<Self> {
        let (now, mut rng) = (present(), Entropy::from_system()?.generator());
        let fresh = Sealing::fresh(author.clone(), settings.ttl, now, &mut rng);
        let Some(name) = name else { return Ok(Self { sealing: fresh, goes_on: false, log: None, nothing: () }) };
        let dir = StateDir::open(state.path().join(FOLDER))?;
        forget_old_transfers(&dir, |header: &Header| is_running(header, now).then_some(u64::MAX - header.begun))?;
        let by = author.as_ref().map_or([0; 32], |author| author.public().0);
        let name = hex::encode(&blake3(&[b"bauta/1 transfer", &by, &name]));
        // Ends are rounded to steps: what was begun in the step before ends one too early. No more may be missing, and none too much.
        let short = EXPIRY_STEP_S.min(settings.ttl.as_secs() / 4);
        let wanted = now.0.saturating_add(settings.ttl.as_secs());
        let fits = wanted.saturating_sub(short)..=wanted.saturating_add(2 * EXPIRY_STEP_S);
        let is_good = |header: &Header| {
            let is_long_enough = fits.contains(&Expiry::from_wire(header.expiry).time().0);
            !restart && is_running(header, now) && is_long_enough && header.author.is_some() == author.is_none()
        };
        let begin = || Header {
            secret: zeroize::Zeroizing::new(*fresh.secret.as_bytes()),
            author: author.is_none().then(|| fresh.author.to_bytes()),
            expiry: fresh.expiry.to_wire(),
            begun: now.0,
        };
        let opened = TransferLog::open(&dir, name.get(..32).unwrap_or_default(), is_good, begin);
        let (log, header) = opened.map_err(|error| match error {
            StateError::Held(_) => anyhow::anyhow!("another process is publishing the same at this moment"),
            error => error.into(),
        })?;
        let sealing = Sealing {
            secret: PublicationSecret::from_bytes(*header.secret),
            author: header.author.map_or(fresh.author, |seed| IdentitySecret::from_bytes(&seed)),
            expiry: Expiry::from_wire(header.expiry),
        };
        let goes_on = sealing.secret != fresh.secret;
        Ok(Self { sealing, goes_on, log: Some(log), nothing: () })
    }

    /// Batches that are stored already.
    pub(super) fn stored(&self) -> usize {
        self.log.as_ref().map_or(0, TransferLog::len)
    }

    pub(super) fn journal(&mut self) -> &mut dyn Journal {
        match &mut self.log {
            Some(log) => log,
            None => &mut self.nothing,
        }
    }

    /// For how long the root is kept: as long as its chunks.
    pub(super) fn lifetime(&self, now: UnixTime) -> Duration {
        self.sealing.expiry.lifetime_from(now)
    }

    /// It is not published. With nothing stored there is nothing to go on with.
    pub(super) fn failed(self) {
        if self.stored() == 0 {
            self.done();
        }
    }

    /// It is published: nothing is left to go on with.
    pub(super) fn done(self) {
        if let Some(Err(error)) = self.log.map(TransferLog::remove) {
            tracing::warn!(%error, "the log of this transfer stays");
        }
    }
}

fn is_running(header: &Header, now: UnixTime) -> bool {
    Expiry::from_wire(header.expiry).time() > now
}

/// What tells a publication of this path from others; none for standard input.
pub(super) fn name_of(path: &Path, parts: &[&[u8]]) -> Option<Vec<u8>> {
    let path = path.canonicalize().ok().filter(|_| path != Path::new("-"))?;
    let mut name = Vec::new();
    for part in parts.iter().copied().chain([path.as_os_str().as_encoded_bytes()]) {
        name.extend(blake3(&[part]));
    }
    Some(name)
}
