//! `--keylog`: for which networks, and with which words. Source: spec/link.md §8.

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;

use super::Usage;
use super::output::warn;
use super::settings::Settings;
use crate::net::{KeyLog, Tap};

/// The key log of a command in the network of its settings.
pub(super) fn of(settings: &Settings, path: Option<&Path>) -> anyhow::Result<Option<Arc<dyn Tap>>> {
    if path.is_some() {
        check(settings)?;
    }
    of_own_network(path)
}

/// That of a network which this process makes itself, on loopback.
pub(super) fn of_own_network(path: Option<&Path>) -> anyhow::Result<Option<Arc<dyn Tap>>> {
    let Some(path) = path else { return Ok(None) };
    let shown = path.display();
    let log = KeyLog::open(path).with_context(|| format!("--keylog {shown}"))?;
    warn(&format!(
        "bauta: WARNING: the keys of all links are appended to {shown}. Whoever reads that file reads what was sent over them: nobody in this \
         test network is anonymous towards them"
    ));
    Ok(Some(Arc::new(log)))
}

/// A network that others may be in is refused by name.
fn check(settings: &Settings) -> Result<(), Usage> {
    let refused = |why: &str| {
        Err(Usage(format!(
            "--keylog: {why}. Keys are logged of test networks alone: difficulty 0, and every address on this machine"
        )))
    };
    if settings.network.is_none() {
        return refused("`network` is not set");
    }
    if settings.difficulty != 0 {
        return refused("`difficulty` is not 0");
    }
    let away = |ip: IpAddr| !ip.is_loopback();
    let addresses = [
        ("bootstraps", settings.bootstraps.iter().any(|one| away(one.address.0.ip()))),
        ("listen", settings.listen.is_some_and(|listen| away(listen.ip()))),
        ("advertise", settings.advertise.is_some_and(|advertise| away(advertise.ip()))),
        ("bind", settings.bind.is_some_and(away)),
    ];
    match addresses.into_iter().find(|(_, is_away)| *is_away) {
        Some((key, _)) => refused(&format!("`{key}` names an address that is not loopback")),
        None => Ok(()),
    }
}
