//! `bauta relay store`: what the relay of this state keeps for others, as numbers; from the relay while it runs, else from its file.
//! Source: spec/cli.md §11.

use serde_json::Value::Null;

use super::VALUES;
use crate::cli::status::{in_words, rough};
use crate::cli::way::{folder, node_status, node_store};
use crate::cli::{Said, Told};
use crate::disk::{KindView, StateDir, StoreCounts, StoreView, StoreWrites, ValueStore};
use crate::net::Clock;
use crate::time::{Duration, UnixTime};

/// Until when values of which the text tells end.
const WITHIN_S: [u64; 4] = [6 * 3_600, 86_400, 7 * 86_400, 30 * 86_400];

/// Runs it.
pub(in crate::cli) async fn store(told: &Told) -> anyhow::Result<Said> {
    let settings = &told.settings;
    let state = StateDir::open(folder(settings, &settings.network()?)?)?;
    let path = state.path().join(VALUES);
    let now = Clock::unix();
    let said = Said::default().with("file", path.display().to_string());
    let view = match node_store(settings).await? {
        Some(view) => Some(view),
        None if !path.exists() => None,
        None => {
            // Not beside a relay that writes it.
            let _held = state.hold("relay")?;
            Some(ValueStore::view_of_file(&path, settings.quota(), now)?)
        }
    };
    let Some(view) = view else {
        return Ok(said.line("no relay of this state has kept anything yet").with("store", Null).with("writes", Null));
    };
    let object = serde_json::to_value(&view)?;
    let writes = node_status(settings).await?.and_then(|node| node.writes);
    let mut said = tell(said, &view, now).with("store", object);
    if let Some(writes) = &writes {
        said = said.line(format!("writes    {}", in_words(writes)));
    }
    Ok(said.with("writes", serde_json::to_value(writes)?))
}

fn tell(said: Said, view: &StoreView, now: UnixTime) -> Said {
    let full = |held: u64, max: u64| 100 * held / max.max(1);
    let mut said = said
        .line(format!("values    {} of {} ({} %)", view.values, view.values_max, full(view.values, view.values_max)))
        .line(format!("bytes     {} of {} ({} %)", view.bytes, view.bytes_max, full(view.bytes, view.bytes_max)))
        .line(format!("file      {} bytes", view.file_bytes));
    for (name, kind) in [("signed", &view.signed), ("hashed", &view.hashed)] {
        said = said.line(format!("{name}    {} values, {} bytes{}", kind.values, kind.bytes, ends(kind, now)));
    }
    if view.over + view.unknown > 0 {
        said =
            said.line(format!("          {} are over and not freed yet, {} cannot be told", view.over, view.unknown));
    }
    match &view.since_start {
        None => said.line("relay     none runs with this state, or it answers no commands: this is its file"),
        Some(counts) => since_start(said, counts),
    }
}

fn ends(kind: &KindView, now: UnixTime) -> String {
    let within = WITHIN_S.map(|seconds| {
        let ending = kind.ends.iter().filter(|step| step.at <= now.0.saturating_add(seconds)).map(|step| step.values);
        format!("{} within {}", ending.sum::<u64>(), rough(Duration::from_secs(seconds)))
    });
    if kind.values == 0 { String::new() } else { format!("; ending: {}", within.join(", ")) }
}

fn since_start(said: Said, counts: &StoreCounts) -> Said {
    let StoreCounts { evicted, refused_full, refused_disk, refused_denied, damaged, denied, writes } = counts;
    let writes = match writes {
        StoreWrites::Work => "are written",
        StoreWrites::DiskRefuses => "are refused by the disk, which is tried again; what is held is served",
        StoreWrites::Ended => "are refused since a fault of the program: start the relay again; what is held is served",
    };
    said.line(format!("new ones  {writes}"))
        .line(format!("started   since then {evicted} given up for others, {damaged} found damaged and dropped"))
        .line(format!("refused   {refused_full} for want of room, {refused_disk} by the disk, {refused_denied} by the denylist of {denied} names"))
}
