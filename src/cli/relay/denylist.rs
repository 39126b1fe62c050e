//! The file of what an operator does not have here: read at start and on SIGHUP. It must not know what is held.
//! Source: spec/dht.md §4.3.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;

use serde_json::json;

use crate::cli::output::{print, say, warn};
use crate::cli::{Told, Usage};
use crate::dht::denylist::Denylist;
use crate::disk::ValueStore;
use crate::limits::DENYLIST_LEN_MAX;
use crate::net::Clock;

/// Reads the file, and hands it to the store.
pub(super) struct Reader {
    path: Option<PathBuf>,
    store: Arc<ValueStore>,
    json: bool,
}

impl Reader {
    /// Without a path nothing is ever denied.
    pub(super) fn new(told: &Told, store: Arc<ValueStore>) -> Self {
        Self { path: told.settings.denylist.clone(), store, json: told.json }
    }

    /// Reads it before anything else is told of the relay.
    pub(super) async fn read_first(&self) -> anyhow::Result<()> {
        self.read(false).await
    }

    /// The list before stays when it cannot be read.
    async fn read(&self, is_event: bool) -> anyhow::Result<()> {
        let Some(path) = self.path.clone() else { return Ok(()) };
        let store = Arc::clone(&self.store);
        let read = tokio::task::spawn_blocking(move || {
            let list = read(&path)?;
            let names = list.len();
            anyhow::Ok((names, store.deny(Clock::unix(), list)))
        });
        let (names, dropped) = read.await.context("the denylist was not read")??;
        let list = format!("denylist: {names} names");
        let object = json!({ "denied": names, "dropped": dropped });
        match (dropped, self.json && is_event) {
            (None, _) => warn(&format!(
                "{list}; the disk refuses: what is held of them stays on it until it takes writes again, and is not served"
            )),
            (Some(_), true) => print(&object.to_string()),
            (Some(count), false) => say(&format!("{list}, {count} values dropped")),
        }
        Ok(())
    }

    /// On a signal: a list that is not taken ends nothing.
    pub(super) async fn read_again(&self) {
        match self.read(true).await {
            Ok(()) if self.path.is_none() => say("denylist: none is set"),
            Ok(()) => (),
            Err(error) => warn(&format!("denylist: {error:#}; the one before stays in force")),
        }
    }
}

fn read(path: &Path) -> anyhow::Result<Denylist> {
    let shown = path.display();
    let file = std::fs::File::open(path).map_err(|error| Usage(format!("{shown}: {error}")))?;
    let mut text = String::new();
    file.take(DENYLIST_LEN_MAX + 1).read_to_string(&mut text).map_err(|error| Usage(format!("{shown}: {error}")))?;
    if u64::try_from(text.len()).unwrap_or(u64::MAX) > DENYLIST_LEN_MAX {
        return Err(Usage(format!("{shown}: more than {DENYLIST_LEN_MAX} bytes")).into());
    }
    Denylist::parse(&text).map_err(|error| Usage(format!("{shown}: {error}")).into())
}
