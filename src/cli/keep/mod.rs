//! `bauta keep`: what shall not end by itself. A running node looks after it in the background, or this command does, once.
//! Source: spec/cli.md §13.

mod list;
mod round;

use clap::Subcommand;
use serde_json::{Value, json};

pub(super) use self::list::Entry;
use self::list::{By, Last, Paths, id_of};
pub(super) use self::round::serve;
use self::round::{Done, look_after, signer_of};
use super::exit::{Exit, Told as Judged};
use super::get::{link_of, target_of};
use super::output::{print, progress, say, show, warn};
use super::settings::show_duration;
use super::status::rough;
use super::way::{Way, demands, does, folder};
use super::{Said, Told, Usage};
use crate::content::{AuthorKey, ContentLink, Target};
use crate::disk::{Keyring, StateDir};
use crate::net::{Clock, Entropy};
use crate::sim::report::{Cell, Table};
use crate::time::{Duration, UnixTime};
use crate::wire::hex;
use crate::wire::network::Network;

/// What `keep` takes.
#[derive(clap::Args)]
pub(super) struct KeepArguments {
    #[command(subcommand)]
    command: KeepCommand,
}

#[derive(Subcommand)]
enum KeepCommand {
    /// Have something looked after from now on: lost copies are stored again, and what a key of yours signs is prolonged.
    Add {
        /// A link (bauta1…), or a name of at most 64 bytes; `-` reads it from standard input.
        #[arg(value_name = "LINK|NAME")]
        target: String,
        /// For how long it is prolonged each time, such as 12h or 7d: at most 29d, as `ttl` without it.
        #[arg(long, value_name = "TIME")]
        ttl: Option<String>,
    },
    /// List what is looked after: until when it is kept, and how it was when last looked at. Nothing is sent.
    List,
    /// Look after something no longer. What is stored stays until it expires.
    Remove {
        /// The link, the name, or what `list` calls it.
        #[arg(value_name = "LINK|NAME|ID")]
        target: String,
    },
    /// Look after everything once, now: for whoever has no node running.
    Now,
}

impl KeepArguments {
    /// Whether it asks the network.
    pub(super) const fn opens_links(&self) -> bool {
        matches!(self.command, KeepCommand::Now)
    }
}

/// Runs it.
pub(super) async fn keep(told: &Told, arguments: KeepArguments) -> anyhow::Result<Said> {
    let network = told.settings.network()?;
    let state = StateDir::open(folder(&told.settings, &network)?)?;
    match arguments.command {
        KeepCommand::Add { target, ttl } => add(told, (&state, &network), &target, ttl.as_deref()),
        KeepCommand::List => list(told, &state),
        KeepCommand::Remove { target } => remove((&state, &network), &target),
        KeepCommand::Now => now(told, (&state, &network)).await,
    }
}

fn add(told: &Told, (state, network): (&StateDir, &Network), target: &str, ttl: Option<&str>) -> anyhow::Result<Said> {
    let mut settings = told.settings.clone();
    ttl.map_or(Ok(()), |ttl| settings.set_flag("ttl", ttl))?;
    let target = target_of(target)?;
    let link = link_of(network, &target)?;
    let lasts = show_duration(settings.ttl);
    let (by, by_whom, note) = match target {
        Target::Name(name) => {
            let note = format!("it is prolonged by {lasts} at a time; whoever can guess the name can replace it");
            (By::Name(name.as_str().to_owned().into()), "name", note)
        }
        Target::Link(_) => match key_of(told, network, &link)? {
            Some((name, false)) => {
                let note = format!("it is prolonged by {lasts} at a time, with your key {name}");
                (By::Key(name), "key", note)
            }
            Some((name, true)) => {
                let note = format!(
                    "your key {name} is sealed: a running node stores lost copies again, and `bauta keep now` prolongs it by {lasts}"
                );
                (By::Key(name), "sealed key", note)
            }
            None => {
                let note = "no key of yours signs it: lost copies are stored again until its root ends, and nothing prolongs that";
                (By::Nobody, "none", note.to_owned())
            }
        },
    };
    let paths = Paths { demands: demands(&settings), by_node: settings.use_node };
    let entry = Entry::new(link.to_string(), by, settings.ttl.as_secs(), paths, Clock::unix());
    let id = entry.id();
    list::add(state, entry)?;
    say(&note);
    Ok(Said::default().line(&id).with("id", id).with("prolonged_by", by_whom).with("ttl_s", settings.ttl.as_secs()))
}

/// The name of the key that signs what a link leads to, if it is one of this user's; whether it is sealed.
fn key_of(told: &Told, network: &Network, link: &ContentLink) -> anyhow::Result<Option<(String, bool)>> {
    let (keyring, author) = (Keyring::open(&told.settings.state)?, link.locator(network)?.author());
    for name in keyring.names()? {
        let key = keyring.get(&name)?;
        if key.public() == *author {
            return Ok(Some((name, matches!(key, AuthorKey::Sealed(_)))));
        }
    }
    Ok(None)
}

fn remove((state, network): (&StateDir, &Network), target: &str) -> anyhow::Result<Said> {
    // A name may look like an ID.
    let id = target.to_lowercase();
    if hex::decode::<8>(&id).is_ok() && list::remove(state, &id)? {
        return Ok(removed(id));
    }
    let id = id_of(&link_of(network, &target_of(target)?)?.to_string());
    if list::remove(state, &id)? {
        return Ok(removed(id));
    }
    Err(Usage("that is not kept: `bauta keep list` shows what is".into()).into())
}

fn removed(id: String) -> Said {
    say("looked after no longer; what is stored stays until it expires");
    Said::default().with("id", id)
}

fn list(told: &Told, state: &StateDir) -> anyhow::Result<Said> {
    let (entries, now) = (list::read(state)?, Clock::unix());
    if entries.is_empty() {
        say("nothing is kept yet; `bauta keep add LINK` has something looked after");
    }
    let objects: Value = entries.iter().map(|entry| object(entry, now)).collect();
    let said = Said { lines: table(&entries, now), ..Said::default() }.with("kept", objects);
    let complaints = entries.iter().map(|entry| entry.complaint(now).map(str::to_owned)).collect();
    judged(told, said, &entries, complaints)
}

/// The end of a command that shows entries: an error where one of them needs somebody.
fn judged(told: &Told, said: Said, entries: &[Entry], complaints: Vec<Option<String>>) -> anyhow::Result<Said> {
    for entry in entries.iter().filter(|entry| entry.is_slow()) {
        warn(&format!(
            "warning: {} ({}): {} bytes may take longer to prolong than half of the time it gains: choose a longer --ttl",
            entry.id(),
            shown(entry),
            entry.len
        ));
    }
    let complaints: Vec<String> = entries
        .iter()
        .zip(complaints)
        .filter_map(|(entry, why)| Some(format!("{} ({}): {}", entry.id(), shown(entry), why?)))
        .collect();
    let Some(first) = complaints.first() else { return Ok(said) };
    if !told.json {
        said.lines.iter().for_each(|line| print(line));
    }
    complaints.iter().skip(1).for_each(|complaint| warn(&format!("warning: {complaint}")));
    let message = format!("{} of {} need somebody to see to them: {first}", complaints.len(), entries.len());
    Err(Judged::with(Exit::Partly, &message, said.object).into())
}

/// Once over all of it. What fails does not keep the rest from being looked after, and is told in the end, noted or not.
async fn now(told: &Told, (state, network): (&StateDir, &Network)) -> anyhow::Result<Said> {
    let mut entries = list::read(state)?;
    // Passphrases are asked for before anything is sent.
    let mut signers = Vec::new();
    for entry in &entries {
        signers.push(signer_of(&told.settings, network, entry, true).await);
    }
    let mut rng = Entropy::from_system()?.generator();
    let (mut objects, mut complaints) = (Vec::new(), Vec::new());
    let way = Way::open(told).await?;
    for (entry, signer) in entries.iter_mut().zip(signers) {
        let bar = progress("keeping");
        let looked = match unmet(&way, told, entry) {
            Some(less) => Err(Judged::new(Exit::PrivacyFloor, &less).into()),
            None => look_after(&way, (state, &told.settings), entry, signer, &mut rng, &|step| show(&bar, step)).await,
        };
        bar.finish_and_clear();
        let now = Clock::unix();
        let more = match looked {
            Ok(Done { stored, missing, renewed }) => {
                say(&format!("{} ({}): {}", entry.id(), shown(entry), told_of(stored, missing, renewed)));
                complaints.push(entry.complaint(now).map(str::to_owned));
                json!({ "stored": stored, "missing": missing, "renewed": renewed })
            }
            Err(error) => {
                complaints.push(Some(format!("{error:#}")));
                json!({ "error": format!("{error:#}") })
            }
        };
        objects.push(merged(object(entry, now), more));
    }
    way.close().await;
    let now = Clock::unix();
    let said = Said { lines: table(&entries, now), ..Said::default() }.with("kept", objects);
    judged(told, said, &entries, complaints)
}

/// What the way at hand does less than was demanded when an entry was added.
fn unmet(way: &Way, told: &Told, entry: &Entry) -> Option<String> {
    let less = match way {
        Way::Own(_) => entry.paths.demands.unmet_by(&does(&told.settings)),
        Way::Node(_) if !entry.paths.by_node => Some("a running node carries this".to_owned()),
        Way::Node(_) => entry.paths.demands.unmet_by(&demands(&told.settings)),
    }?;
    Some(format!("it was added with stronger settings: {less}; say them again"))
}

fn told_of(stored: u64, missing: u64, renewed: bool) -> String {
    let prolonged = if renewed { "prolonged; " } else { "" };
    match (stored, missing) {
        (0, 0) => format!("{prolonged}nothing had to be stored again"),
        (stored, 0) => format!("{prolonged}{stored} chunks were stored again"),
        (stored, missing) => format!("{prolonged}{stored} chunks were stored again, {missing} are wanting still"),
    }
}

fn shown(entry: &Entry) -> &str {
    if entry.file.is_empty() { "not looked at yet" } else { &entry.file }
}

fn prolonged_by(entry: &Entry) -> String {
    match &entry.by {
        By::Nobody => "-".to_owned(),
        By::Key(name) => format!("key {name}"),
        By::Name(_) => "name".to_owned(),
    }
}

fn table(entries: &[Entry], now: UnixTime) -> Vec<String> {
    if entries.is_empty() {
        return Vec::new();
    }
    let ago = |at: u64| if at == 0 { "-".to_owned() } else { rough(Duration::from_secs(now.0.saturating_sub(at))) };
    let left = |at: u64| if at == 0 { "-".to_owned() } else { rough(Duration::from_secs(at.saturating_sub(now.0))) };
    let columns = ["id", "file", "prolonged by", "added ago", "looked ago", "lasts", "how it is"];
    let mut table = Table::new("kept", "what is kept", &columns);
    for entry in entries {
        let how = match entry.last {
            Last::Never => "not looked at yet".to_owned(),
            Last::Failed(code) => format!("failed with {code}"),
            last => last.name().to_owned(),
        };
        let cells = [
            entry.id(),
            entry.file.clone(),
            prolonged_by(entry),
            ago(entry.added),
            ago(entry.looked),
            left(entry.until),
            how,
        ];
        table.row(cells.into_iter().map(Cell::Text).collect());
    }
    table.lines()
}

fn object(entry: &Entry, now: UnixTime) -> Value {
    let at = |at: u64| if at == 0 { Value::Null } else { at.into() };
    let (by, key) = match &entry.by {
        By::Nobody => ("none", None),
        By::Key(name) => ("key", Some(name)),
        By::Name(_) => ("name", None),
    };
    json!({
        "id": entry.id(), "file": at_name(&entry.file), "prolonged_by": by, "key": key, "ttl_s": entry.lifetime_s,
        "bytes": entry.fingerprint.map(|_| entry.len), "added": entry.added, "looked": at(entry.looked), "until": at(entry.until), "due": entry.due,
        "state": entry.last.name(), "complaint": entry.complaint(now),
    })
}

fn merged(mut object: Value, more: Value) -> Value {
    if let (Some(object), Value::Object(more)) = (object.as_object_mut(), more) {
        object.extend(more);
    }
    object
}

fn at_name(file: &str) -> Value {
    if file.is_empty() { Value::Null } else { file.into() }
}
