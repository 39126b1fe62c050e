//! `bauta devnet`: a network on this machine, left running until Ctrl-C, and the file of settings that commands take.

mod processes;

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use rand::Rng;
use tokio::signal::unix::{SignalKind, signal};

use super::local::{LOCAL_RELAYS_MAX, LocalNetwork, LocalOptions};
use super::output::{print, say};
use super::{Said, Told, Usage, files};
use crate::disk::{StateDir, StateError};
use crate::limits::DEVNET_READY_TIMEOUT;
use crate::membership::prefix_rule::PrefixRule;
use crate::net::{Entropy, Runtime};
use crate::wire::contact::Contact;
use crate::wire::hex;
use crate::wire::network::Network;

/// Fewer relays could not make a path and keep holders apart.
const RELAYS_MIN: usize = 12;

/// What `devnet` takes.
#[derive(clap::Args)]
pub(super) struct DevnetArguments {
    /// Relays, 12 to 160.
    #[arg(long, default_value_t = 24, value_name = "N")]
    nodes: usize,
    /// Folder of client.toml and of the clients' state; made if it is not there.
    #[arg(long, default_value = "bauta-devnet", value_name = "DIR")]
    dir: PathBuf,
    /// One process for each relay; one that ends is started again.
    #[arg(long)]
    processes: bool,
}

/// Runs it until Ctrl-C or SIGTERM.
pub(super) async fn run(told: &Told, arguments: DevnetArguments, keylog: Option<&Path>) -> anyhow::Result<Said> {
    if arguments.nodes < RELAYS_MIN || arguments.nodes > LOCAL_RELAYS_MAX {
        return Err(Usage(format!("--nodes takes {RELAYS_MIN} to {LOCAL_RELAYS_MAX}")).into());
    }
    let dir = &arguments.dir;
    // What is in it is believed by the commands that take it: it is this user's alone. A second network would take the first
    // one's place.
    let _held = StateDir::open(dir)?.hold("devnet").map_err(|why| match why {
        StateError::Held(_) => {
            let shown = dir.display();
            anyhow::anyhow!("{shown}: another devnet runs in this folder; end it first, or name another with --dir")
        }
        why => why.into(),
    })?;
    let number = Entropy::from_system()?.generator().next_u64();
    let network = Network::named(&format!("bauta devnet {number}"), 0);
    let mut terminate = signal(SignalKind::terminate())?;
    let stopped = async {
        tokio::select! {
            _ = tokio::signal::ctrl_c() => (),
            _ = terminate.recv() => (),
        }
    };
    if arguments.processes {
        processes::run(told, &arguments, keylog, network, stopped).await
    } else {
        in_one(told, &arguments, (network, number), stopped).await
    }
}

async fn in_one(
    told: &Told,
    arguments: &DevnetArguments,
    (network, seed): (Network, u64),
    stopped: impl Future<Output = ()>,
) -> anyhow::Result<Said> {
    let runtime = Runtime::start()?;
    let options = LocalOptions { tap: told.tap.clone(), ..LocalOptions::new(network, arguments.nodes, seed) };
    let mut local = LocalNetwork::start(&runtime, &options).await.context("no sockets on loopback")?;
    let ready = tokio::time::timeout(DEVNET_READY_TIMEOUT, local.ready()).await;
    ready.context("the relays did not find each other in time")?;
    let settings = Written { network, bootstraps: local.bootstraps(), rule: local.rule, bind: local.client_ip(1) };
    announce(told, &arguments.dir, &settings)?;
    stopped.await;
    say("ending");
    for index in 0..local.relays.len() {
        local.stop(index).await;
    }
    Ok(Said::default())
}

/// What the file for commands says.
struct Written {
    network: Network,
    bootstraps: Vec<Contact>,
    rule: PrefixRule,
    bind: Option<IpAddr>,
}

/// Writes the file, then says that all is ready: whoever waits for the line finds the file.
fn announce(told: &Told, dir: &Path, settings: &Written) -> anyhow::Result<()> {
    let path = dir.join("client.toml");
    let nodes: Vec<String> = settings.bootstraps.iter().map(|one| format!("    \"{one}\",\n")).collect();
    let mut text = format!(
        "# Written by `bauta devnet`: a network on this machine, until that command ends.\nnetwork = \"{}\"\ndifficulty = 0\nbootstraps = [\n{}]\n\
         # Guards and keys of clients of this network.\nstate = \"client\"\n",
        hex::encode(&settings.network.id),
        nodes.concat(),
    );
    match (settings.rule, settings.bind) {
        (PrefixRule::RelaxedForOneHost, _) => {
            say(
                "this system has only 127.0.0.1: the rule that no two hops share an IPv4 /16 is relaxed (RelaxedForOneHost)",
            );
            text.push_str(
                "# This system has one loopback address: nothing can keep relays apart.\nprefix_rule = \"one-host\"\n",
            );
        }
        (PrefixRule::Distinct, Some(ip)) => {
            text.push_str(&format!("# Clients have a loopback network of their own.\nbind = \"{ip}\"\n"));
        }
        (PrefixRule::Distinct, None) => (),
    }
    files::write(&path, text.as_bytes(), true)?;
    let shown = path.display();
    say(&format!("in another terminal: bauta --config {shown} publish FILE   (Ctrl-C here ends the network)"));
    if told.json {
        print(&serde_json::json!({ "ready": true, "config": shown.to_string() }).to_string());
    } else {
        print("ready");
    }
    Ok(())
}
