//! `bauta status`: what this machine knows and keeps. It reads; it sends nothing and dials nobody.

use serde_json::json;

use super::settings::show_duration;
use super::way::{folder, node_status};
use super::{Said, Told};
use crate::client::stored_membership;
use crate::crypto::keys::NodeKey;
use crate::disk::{Keyring, StateDir};
use crate::gateway::Writes;
use crate::limits::EFFORT_MAX;
use crate::net::Clock;
use crate::node::Kept;
use crate::time::Duration;
use crate::wire::hex;

/// Name of the guards' file, as the client has it.
pub(super) const GUARDS: &str = crate::client::KEPT_FILE;

/// Runs it.
pub(super) async fn status(told: &Told) -> anyhow::Result<Said> {
    let settings = &told.settings;
    let keys = Keyring::open(&settings.state)?.names()?;
    let mut said = Said::default()
        .line(format!("bauta     {}", env!("CARGO_PKG_VERSION")))
        .line(format!("state     {}", settings.state.display()))
        .line(format!("keys      {}", keys.len()))
        .with("version", env!("CARGO_PKG_VERSION"))
        .with("state", settings.state.display().to_string())
        .with("keys", keys.len());
    let Ok(network) = settings.network() else {
        return Ok(said.line("network   none is set (--config FILE)").with("network", serde_json::Value::Null));
    };
    let state = StateDir::open(folder(settings, &network)?)?;
    let now = Clock::unix();
    let id = hex::encode(&network.id);
    let bootstraps = settings.bootstraps.len();
    said = said.line(format!("network   {id}")).line(format!("          {bootstraps} nodes to start from"));
    said = said.with("network", id).with("bootstraps", bootstraps);
    said = match node_status(settings).await? {
        Some(node) => {
            said = said
                .line(format!(
                    "node      process {} for {}, {}",
                    node.pid,
                    rough(Duration::from_secs(node.uptime_s)),
                    node.contact
                ))
                .line(format!("          {} relays known, {} values held for others", node.relays, node.values));
            if let Some(writes) = &node.writes {
                said = said.line(format!("          {}", in_words(writes)));
            }
            said.with("node", serde_json::to_value(node)?)
        }
        None => said
            .line("node      none runs with this state: commands join, act and leave")
            .with("node", serde_json::Value::Null),
    };
    let members = stored_membership(&state, &network, now);
    said = match members {
        Some((count, left)) => said
            .line(format!("relays    {count} known, for another {}", rough(left)))
            .with("relays", json!({ "known": count, "serves_s": left.as_secs() })),
        None => said
            .line("relays    none known: the next command asks the nodes to start from")
            .with("relays", serde_json::Value::Null),
    };
    let kept: Kept = state.read(GUARDS)?.unwrap_or_default();
    let mut guards = Vec::new();
    for (number, guard) in (1..).zip(&kept.guards.guards) {
        let key = NodeKey(guard.key);
        let age = Duration::from_secs(now.0.saturating_sub(guard.sampled));
        let is = if guard.down { "down when last dialled" } else { "up when last dialled" };
        let is = if guard.confirmed { is } else { "not used yet" };
        said = said.line(format!("guard {number}   {key:?}, drawn {} ago, {is}", rough(age)));
        guards.push(json!({
            "key": hex::encode(&guard.key), "drawn": guard.sampled, "used": guard.confirmed, "down": guard.down,
        }));
    }
    if guards.is_empty() {
        said = said.line("guards    none drawn yet: the first command does");
    }
    Ok(said.with("guards", guards))
}

/// What a relay asks of anonymous writes, and what of its hour they have used.
pub(super) fn in_words(writes: &Writes) -> String {
    let Writes { effort, full_permille, hour_bytes, hour_bytes_max, scarce } = writes;
    let asks = match effort {
        0 => "asks writers for no work".to_owned(),
        effort => format!("asks writers for work, step {effort} of {EFFORT_MAX}"),
    };
    let most = if *scarce { format!(" of {hour_bytes_max}") } else { ", all that came".to_owned() };
    format!("{}.{} % full, {asks}; {hour_bytes} bytes taken in this hour{most}", full_permille / 10, full_permille % 10)
}

/// To a whole minute, hour or day.
pub(super) fn rough(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let unit = [86_400, 3_600, 60].into_iter().find(|unit| seconds >= 2 * unit).unwrap_or(1);
    show_duration(Duration::from_secs(seconds - seconds % unit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_writers_are_asked_for_is_said_in_one_line() {
        let mut writes = Writes { effort: 0, full_permille: 7, hour_bytes: 5, hour_bytes_max: 9, scarce: false };
        assert_eq!(
            in_words(&writes),
            "0.7 % full, asks writers for no work; 5 bytes taken in this hour, all that came"
        );
        (writes.effort, writes.full_permille, writes.scarce) = (2, 913, true);
        let words = "91.3 % full, asks writers for work, step 2 of 3; 5 bytes taken in this hour of 9";
        assert_eq!(in_words(&writes), words);
    }
}
