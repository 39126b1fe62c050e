//! `--keylog`: for which networks, and with which words. Source: spec/link.md §8.

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;

use super::Usage;
use super::output::warn;
use super::settings::Settings;
use super::way::folder_name;
use crate::client::stored_difficulty;
use crate::disk::StateDir;
use crate::net::{KeyLog, Tap};

/// The key log of a command in the network of its settings. `is_told`: whoever started it has warned of the same file.
pub(super) fn of(settings: &Settings, path: Option<&Path>, is_told: bool) -> anyhow::Result<Option<Arc<dyn Tap>>> {
    if path.is_some() {
        check(settings)?;
    }
    open(path, is_told)
}

/// That of a network which this process makes itself, on loopback.
pub(super) fn of_own_network(path: Option<&Path>) -> anyhow::Result<Option<Arc<dyn Tap>>> {
    open(path, false)
}

fn open(path: Option<&Path>, is_told: bool) -> anyhow::Result<Option<Arc<dyn Tap>>> {
    let Some(path) = path else { return Ok(None) };
    let shown = path.display();
    let log = KeyLog::open(path).with_context(|| format!("--keylog {shown}"))?;
    if !is_told {
        warn(&format!(
            "bauta: WARNING: the keys of all links are appended to {shown}. Whoever reads that file reads what was sent over them: nobody in this \
             test network is anonymous towards them"
        ));
    }
    Ok(Some(Arc::new(log)))
}

/// With which difficulty this user was in the network before, if he was; makes no folder.
fn kept_difficulty(settings: &Settings) -> anyhow::Result<Option<u8>> {
    let folder = settings.state.join(folder_name(&settings.network()?));
    if !folder.try_exists()? {
        return Ok(None);
    }
    Ok(stored_difficulty(&StateDir::open(folder)?)?)
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
    if let Some(other) = settings.other_difficulty() {
        return refused(&format!("`difficulty` is 0 here, and {other} where the network is named"));
    }
    match kept_difficulty(settings) {
        Ok(None | Some(0)) => (),
        Ok(Some(other)) => {
            return refused(&format!("`difficulty` is 0, but a membership of this network was kept with {other}"));
        }
        Err(error) => return refused(&format!("whether this network is one cannot be told: {error}")),
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

#[cfg(test)]
mod tests {
    use super::*;

    // [LINK-W-052]
    #[test]
    fn a_network_in_which_this_user_was_with_another_price_gets_no_key_log() {
        let folder = tempfile::tempdir().unwrap();
        let text =
            format!("network = \"{}\"\nstate = \"{}\"\n", "ab".repeat(32), folder.path().join("state").display());
        let settings = Settings::of_text(&text).unwrap();
        assert!(check(&settings).is_ok() && !settings.state.exists(), "nothing is made by looking");
        StateDir::open(&settings.state).unwrap();
        let state = StateDir::open(settings.state.join(folder_name(&settings.network().unwrap()))).unwrap();
        assert!(check(&settings).is_ok());
        for (difficulty, said) in [(0_u8, None), (8, Some("was kept with 8"))] {
            // As a membership is kept, spec/state.md §7: two times, the difficulty, descriptors.
            state.write("members", &(1_u64, 2_u64, difficulty, Vec::<Vec<u8>>::new())).unwrap();
            let checked = check(&settings).map_err(|Usage(why)| why);
            assert_eq!(checked.is_ok(), said.is_none());
            assert!(said.is_none_or(|said| checked.unwrap_err().contains(said)));
        }
        std::fs::write(state.path().join("members"), b"damaged").unwrap();
        assert!(check(&settings).is_err_and(|Usage(why)| why.contains("cannot be told")));
    }
}
