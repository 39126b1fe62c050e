//! `bauta relay`: one relay with a listener, an identity that survives restarts, and an end that waits for its circuits.

mod commands;
mod denylist;
mod store;

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use clap::Subcommand;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

use super::identity::Identity;
use super::output::{print, say, warn};
use super::settings::{KEYS, Settings, quoted};
use super::way::folder;
use super::{Said, Told, Usage, files};
use crate::dht::repair::RepairTiming;
use crate::disk::{StateDir, ValueStore};
use crate::limits::RELAY_DRAIN_TIMEOUT;
use crate::membership::members::Members;
use crate::net::{LinkIdentity, NodeHandle, Runtime, ShellConfig, spawn_durable_node};
use crate::node::machine::DurableStore;
use crate::node::{Relay, RelayCommand, RelayConfig, RelayEvent};
use crate::wire::address::Address;
use crate::wire::contact::Contact;

pub(super) use self::store::store;

/// What it holds for others, in its state directory.
const VALUES: &str = "values.redb";

/// What `relay` takes.
#[derive(clap::Args)]
pub(super) struct RelayArguments {
    #[command(subcommand)]
    pub(super) command: RelayCommands,
}

#[derive(Subcommand)]
pub(super) enum RelayCommands {
    /// Run a relay until Ctrl-C or SIGTERM; it then takes no new circuits, waits for those it has, and ends within 10 s.
    Run {
        /// End also when standard input does: for whoever starts relays and may be gone.
        #[arg(long, hide = true)]
        until_stdin_closes: bool,
    },
    /// What the relay of this state keeps for others: how much, of what kind, until when, what was refused. No names.
    Store,
    /// Print a commented file of settings for a relay, or write it.
    Init {
        /// Where to, never over a file that is there; `-` for standard output, as without it.
        file: Option<PathBuf>,
    },
}

/// Prints the settings in force, each with what it does; those that are not set are commented out.
pub(super) fn init(settings: &Settings, file: Option<PathBuf>) -> anyhow::Result<Said> {
    let mut text = String::from(
        "# Settings of a bauta relay: bauta relay run --config THIS_FILE\n# Every key can also be given as BAUTA_KEY or --set KEY=VALUE.\n",
    );
    for key in &KEYS {
        let (name, value) = (key.name, (key.show)(settings));
        let is_set = settings.origins.contains_key(name);
        let value = match (name, value.as_str()) {
            ("network", "") => "64 hexadecimal digits".to_owned(),
            ("listen", "") => "0.0.0.0:4433".to_owned(),
            ("advertise", "") => "203.0.113.7:4433".to_owned(),
            // Relative, it would be another folder once the file stands elsewhere.
            ("state", shown) => std::path::absolute(shown)?.display().to_string(),
            _ => value,
        };
        let mark = if is_set { "" } else { "# " };
        let value = if name == "bootstraps" {
            let items: Vec<String> = settings.bootstraps.iter().map(|one| format!("\n    \"{one}\",")).collect();
            if items.is_empty() { "[]".to_owned() } else { format!("[{}\n]", items.concat()) }
        } else {
            quoted(&value)
        };
        text.push_str(&format!("\n# {}\n{mark}{name} = {value}\n", key.what));
    }
    match file.filter(|path| path != Path::new("-")) {
        None => Ok(Said::default().line(text.trim_end()).with("file", text)),
        Some(path) => {
            if path.symlink_metadata().is_ok() {
                return Err(Usage(format!("{}: is there already; remove it, or name another", path.display())).into());
            }
            files::write(&path, text.as_bytes(), false)?;
            let wanted = ["network", "difficulty", "bootstraps", "listen"];
            let missing: Vec<&str> = wanted.into_iter().filter(|key| !settings.origins.contains_key(key)).collect();
            let first =
                if missing.is_empty() { String::new() } else { format!("set {} in it, then ", missing.join(", ")) };
            say(&format!("{}: {first}`bauta relay run --config {0}`", path.display()));
            Ok(Said::default().with("path", path.display().to_string()))
        }
    }
}

/// Runs a relay to its end.
pub(super) async fn run(told: &Told, until_stdin_closes: bool) -> anyhow::Result<Said> {
    let settings = &told.settings;
    let network = settings.network()?;
    let state = StateDir::open(folder(settings, &network)?)?;
    let listen = settings.listen()?;
    // Two processes of one identity would prove it bad.
    let _held = state.hold("relay")?;
    let runtime = Runtime::start()?;
    let identity = Identity::open(&state, &network, &mut runtime.entropy().generator())?;
    identity.check_clock(runtime.clock().now().unix)?;
    let listener = bind(listen).await?;
    let bound = listener.local_addr()?;
    let address = Address(settings.advertise.unwrap_or(bound));
    let contact = Contact { id: identity.id(), link_key: identity.link_key(), address };
    let values = state.path().join(VALUES);
    let store = Arc::new(ValueStore::open(&values, network, settings.quota(), &mut runtime.entropy().generator())?);
    let denylist = denylist::Reader::new(told, Arc::clone(&store));
    denylist.read_first().await?;
    let mut handle = start(told, (&runtime, &store), &identity, &state, (listener, address))?;
    tell(told, &json!({ "contact": contact.to_string(), "listen": bound.to_string() }), &format!("contact {contact}"));
    let mut commands = commands::Commands::start(told, &runtime, &state, (contact, &store))?;
    let ended = serve(told, &mut handle, (&state, &mut commands, &denylist), contact, until_stdin_closes).await;
    commands.end().await;
    drain(&mut handle).await;
    handle.shutdown().await;
    ended?;
    say("ended");
    Ok(Said::default())
}

async fn bind(listen: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(listen).await.map_err(|why| {
        let todo = match why.kind() {
            ErrorKind::AddrInUse => "; end the program that listens there, or set another port",
            ErrorKind::AddrNotAvailable => {
                "; this machine has no such address: behind a router listen on 0.0.0.0, and set advertise"
            }
            ErrorKind::PermissionDenied => "; set a port above 1023",
            _ => "",
        };
        anyhow::anyhow!("listen = {listen}: {why}{todo}")
    })
}

fn start(
    told: &Told,
    (runtime, store): (&Arc<Runtime>, &Arc<ValueStore>),
    identity: &Identity,
    state: &StateDir,
    (listener, address): (TcpListener, Address),
) -> anyhow::Result<NodeHandle<Relay>> {
    let settings = &told.settings;
    let network = settings.network()?;
    let config = RelayConfig {
        network,
        identity: Arc::clone(&identity.secret),
        solution: identity.solution,
        link_key: identity.link_key(),
        address,
        family: settings.family,
        bootstraps: settings.bootstraps.iter().filter(|one| one.id != identity.id()).copied().collect(),
        stored: Members::default(),
        issued_before: identity.issued,
        rule: settings.rule,
        repair: RepairTiming::default(),
        witness: false,
    };
    let relay = Relay::new(config, runtime.entropy().generator(), runtime.clock().now());
    // Kept before anybody sees it: two descriptors of one number would prove this relay bad.
    Identity::remember_issued(state, relay.descriptor().issued)?;
    let mut shell = ShellConfig::new(network, LinkIdentity::Relay { secret: identity.link.clone() });
    shell.bind_ip = settings.bind.or_else(|| address.0.ip().is_loopback().then(|| address.0.ip()));
    (shell.listener, shell.tap) = (Some(listener), told.tap.clone());
    let store: Arc<dyn DurableStore<Relay>> = Arc::<ValueStore>::clone(store);
    Ok(spawn_durable_node(Arc::clone(runtime), relay, shell, store))
}

/// Until a signal, or the relay fails.
async fn serve(
    told: &Told,
    handle: &mut NodeHandle<Relay>,
    (state, commands, denylist): (&StateDir, &mut commands::Commands, &denylist::Reader),
    contact: Contact,
    until_stdin_closes: bool,
) -> anyhow::Result<()> {
    let is_first = told.settings.bootstraps.iter().all(|one| one.id == contact.id);
    let (mut terminate, mut hangup, mut ready) =
        (signal(SignalKind::terminate())?, signal(SignalKind::hangup())?, false);
    let mut stdin = Box::pin(stdin_closed(until_stdin_closes));
    loop {
        let event = tokio::select! {
            event = handle.events.recv() => event,
            _ = tokio::signal::ctrl_c() => return Ok(()),
            _ = terminate.recv() => return Ok(()),
            _ = hangup.recv() => {
                denylist.read_again().await;
                continue;
            }
            () = &mut stdin => return Ok(()),
            failed = commands.failed() => return Err(failed),
        };
        match event {
            None => anyhow::bail!("the relay failed; the log above says why"),
            Some(RelayEvent::Issued(issued)) => {
                let state = state.clone();
                let kept = tokio::task::spawn_blocking(move || Identity::remember_issued(&state, issued)).await;
                kept.context("the number of the descriptor was not kept")??;
            }
            Some(RelayEvent::Members(count)) => {
                commands.note_relays(count);
                // Alone, it waits; whoever is the first of a network has nobody to wait for.
                if !ready && (count > 1 || is_first) {
                    ready = true;
                    tell(told, &json!({ "ready": true }), "ready");
                }
                tell_members(told, count);
            }
            Some(RelayEvent::Writes(terms)) => commands.note_writes(terms),
            Some(RelayEvent::Repaired(counts)) => tracing::debug!(?counts, "copies were moved"),
            Some(RelayEvent::Looked { .. } | RelayEvent::Drained | RelayEvent::Sight(_)) => (),
        }
    }
}

fn tell(told: &Told, object: &serde_json::Value, line: &str) {
    if told.json { print(&object.to_string()) } else { print(line) }
}

fn tell_members(told: &Told, count: usize) {
    if told.json { print(&json!({ "relays": count }).to_string()) } else { say(&format!("{count} relays known")) }
}

/// Never, unless it was asked for.
async fn stdin_closed(is_wanted: bool) {
    if !is_wanted {
        return std::future::pending().await;
    }
    let (tell, told) = oneshot::channel::<()>();
    // A thread of its own: at its end tokio's runtime waits for reads, and this one ends only with whoever waits for us.
    std::thread::spawn(move || {
        // An error is an end as well.
        let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        drop(tell);
    });
    let _ = told.await;
}

/// New circuits are refused; those that are open may end, for as long as a stop may take.
async fn drain(handle: &mut NodeHandle<Relay>) {
    say("ending: no new circuits, waiting for those that are open");
    let drained = async {
        if handle.commands.send(RelayCommand::Drain).await.is_err() {
            return;
        }
        while let Some(event) = handle.events.recv().await {
            if event == RelayEvent::Drained {
                return;
            }
        }
    };
    if tokio::time::timeout(RELAY_DRAIN_TIMEOUT, drained).await.is_err() {
        warn("some circuits were still open");
    }
}
