//! A relay's own client, a separate identity, and the socket at which commands of the same user reach it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::task::JoinSet;

use crate::cli::output::say;
use crate::cli::way::{does, options};
use crate::cli::{Told, keep};
use crate::client::{Client, ClientOptions};
use crate::disk::{StateDir, ValueStore};
use crate::gateway::{Facts, SOCKET, Status, Writes, serve};
use crate::limits::BOOTSTRAPS_AGREE_MIN;
use crate::net::{Clock, Runtime};
use crate::node::WriteTerms;
use crate::wire::contact::Contact;

/// What of a relay's process answers commands; nothing, where it shall not or cannot.
pub(super) struct Commands {
    running: Option<(Client, JoinSet<std::io::Result<()>>)>,
    relays: Arc<AtomicUsize>,
    writes: Arc<Mutex<Option<Writes>>>,
}

impl Commands {
    /// Starts the client and listens.
    pub(super) fn start(
        told: &Told,
        runtime: &Arc<Runtime>,
        state: &StateDir,
        (contact, store): (Contact, &Arc<ValueStore>),
    ) -> anyhow::Result<Self> {
        let settings = &told.settings;
        let (relays, writes) = (Arc::new(AtomicUsize::new(0)), Arc::new(Mutex::new(None)));
        if !settings.answer_commands {
            return Ok(Self { running: None, relays, writes });
        }
        if settings.bootstraps.len() < BOOTSTRAPS_AGREE_MIN {
            say("fewer than two nodes to start from: this relay runs no client, so commands do not use it");
            return Ok(Self { running: None, relays, writes });
        }
        let client = Client::start(runtime, ClientOptions { tap: told.tap.clone(), ..options(settings)? })?;
        let (clock, known, held, seen) = (runtime.clock(), Arc::clone(&relays), Arc::clone(store), Arc::clone(store));
        let terms = Arc::clone(&writes);
        let started = clock.instant();
        let status = move || Status {
            pid: std::process::id(),
            uptime_s: started.until(clock.instant()).as_secs(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            contact: contact.to_string(),
            relays: known.load(Ordering::Relaxed),
            values: held.len(),
            writes: *terms.lock().unwrap_or_else(PoisonError::into_inner),
        };
        let store = Arc::new(move || seen.view(Clock::unix()).map_err(|error| error.to_string()));
        let facts = Facts { client: client.clone(), does: does(settings), status: Box::new(status), store };
        let at = state.path().join(SOCKET);
        let mut task = JoinSet::new();
        task.spawn(async move { serve(&at, facts).await });
        task.spawn(keep::serve(client.clone(), settings.clone(), state.clone()));
        Ok(Self { running: Some((client, task)), relays, writes })
    }

    /// So many relays are known now.
    pub(super) fn note_relays(&self, count: usize) {
        self.relays.store(count, Ordering::Relaxed);
    }

    /// This is asked of anonymous writes now.
    pub(super) fn note_writes(&self, terms: WriteTerms) {
        *self.writes.lock().unwrap_or_else(PoisonError::into_inner) = Some(terms.into());
    }

    /// Why commands cannot be answered any more; never, when all is well.
    pub(super) async fn failed(&mut self) -> anyhow::Error {
        let Some((_, task)) = &mut self.running else { return std::future::pending().await };
        match task.join_next().await {
            Some(Ok(Err(error))) => anyhow::Error::new(error).context("the socket for commands cannot be used"),
            _ => anyhow::anyhow!("commands are not answered any more"),
        }
    }

    /// Ends the client and removes the socket.
    pub(super) async fn end(self) {
        if let Some((client, mut task)) = self.running {
            task.shutdown().await;
            client.close().await;
        }
    }
}
