//! A devnet of one process for each relay: identities made here, relays run by `bauta relay run`, started again when they end.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::Context as _;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::{DevnetArguments, Written, announce};
use crate::cli::identity::Identity;
use crate::cli::output::say;
use crate::cli::way::folder_name;
use crate::cli::{Said, Told, files};
use crate::crypto::{CryptoRng, random_bytes};
use crate::disk::StateDir;
use crate::limits::{DEVNET_LINES_MAX, DEVNET_READY_TIMEOUT, DEVNET_RESTARTS_MAX, RELAY_STOP_TIMEOUT};
use crate::membership::prefix_rule::PrefixRule;
use crate::net::Entropy;
use crate::wire::address::Address;
use crate::wire::contact::Contact;
use crate::wire::hex;
use crate::wire::network::Network;

const BOOTSTRAPS: usize = 3;
/// Second byte of the clients' loopback address.
const CLIENT_NET: u8 = 221;
/// Where relays listen: below what systems hand out by themselves (Linux from 32,768), so that while a relay is started again
/// no connection that somebody opens meanwhile takes its port.
const PORT_FIRST: u16 = 12_000;
const PORTS: u16 = 16_000;
const PORTS_TRIED_MAX: usize = 64;

/// One relay, before it runs.
#[derive(Clone)]
struct Plan {
    number: usize,
    contact: Contact,
    config: PathBuf,
}

/// What a relay's keeper tells.
enum News {
    Relays { number: usize, count: usize },
    Running { number: usize, pid: u32 },
    Failed { number: usize, why: String },
}

/// Runs it until it is stopped.
pub(super) async fn run(
    told: &Told,
    arguments: &DevnetArguments,
    keylog: Option<&Path>,
    network: Network,
    stopped: impl Future<Output = ()>,
) -> anyhow::Result<Said> {
    let plans = plan(arguments, &network)?;
    let contacts: Vec<Contact> = plans.iter().map(|plan| plan.contact).collect();
    let bootstraps: Vec<Contact> = contacts.iter().take(BOOTSTRAPS).copied().collect();
    for plan in &plans {
        write_config(plan, &network, &bootstraps)?;
    }
    let keylog = keylog.map(std::path::absolute).transpose()?;
    let program = std::env::current_exe().context("where this program is cannot be found out")?;
    let (news_in, mut news) = mpsc::channel(DEVNET_LINES_MAX);
    let mut keepers = JoinSet::new();
    for plan in plans {
        keepers.spawn(keep((program.clone(), keylog.clone()), plan, news_in.clone()));
    }
    let bind = Some(IpAddr::V4(Ipv4Addr::new(127, CLIENT_NET, 0, 1)));
    let settings = Written { network, bootstraps, rule: PrefixRule::Distinct, bind };
    let mut watched =
        Watched { dir: arguments.dir.clone(), known: vec![0; contacts.len()], pids: vec![0; contacts.len()] };
    let ready = tokio::time::timeout(DEVNET_READY_TIMEOUT, watched.until_ready(&mut news)).await;
    ready.context("the relays did not find each other in time")??;
    announce(told, &arguments.dir, &settings)?;
    tokio::pin!(stopped);
    loop {
        tokio::select! {
            () = &mut stopped => break,
            one = news.recv() => match one {
                Some(News::Failed { number, why }) => anyhow::bail!("relay {number}: {why}"),
                Some(one) => watched.take(one)?,
                None => break,
            },
        }
    }
    say("ending");
    // Each relay ends when its standard input does; its keeper holds the other end.
    drop(news);
    keepers.shutdown().await;
    Ok(Said::default())
}

/// A port that is free on the addresses of so many relays. Binds nothing for long.
fn free_port(relays: usize, rng: &mut dyn CryptoRng) -> anyhow::Result<u16> {
    for _ in 0..PORTS_TRIED_MAX {
        let drawn = u16::from_be_bytes(random_bytes(rng));
        let port = PORT_FIRST + drawn % PORTS;
        let listeners: std::io::Result<Vec<TcpListener>> =
            (1..=relays).map(|number| TcpListener::bind((ip(number), port))).collect();
        match listeners {
            Ok(_) => return Ok(port),
            Err(error) if error.kind() == ErrorKind::AddrInUse => (),
            Err(error) => {
                let why = "127.1.0.1 and its like cannot be used: --processes needs all of 127.0.0.0/8 (Linux)";
                return Err(error).context(why);
            }
        }
    }
    anyhow::bail!("no port is free on all addresses, of {PORTS_TRIED_MAX} that were tried")
}

/// Each relay has a loopback /16 of its own.
fn ip(number: usize) -> Ipv4Addr {
    Ipv4Addr::new(127, u8::try_from(number).unwrap_or(u8::MAX), 0, 1)
}

fn plan(arguments: &DevnetArguments, network: &Network) -> anyhow::Result<Vec<Plan>> {
    let mut rng = Entropy::from_system()?.generator();
    let port = free_port(arguments.nodes, &mut rng)?;
    let mut plans = Vec::new();
    for number in 1..=arguments.nodes {
        let address = SocketAddr::from((ip(number), port));
        let folder = arguments.dir.join(format!("relay-{number}"));
        let identity =
            Identity::open(&StateDir::open(folder.join("state").join(folder_name(network)))?, network, &mut rng)?;
        let contact = Contact { id: identity.id(), link_key: identity.link_key(), address: Address(address) };
        plans.push(Plan { number, contact, config: folder.join("relay.toml") });
    }
    Ok(plans)
}

fn write_config(plan: &Plan, network: &Network, bootstraps: &[Contact]) -> anyhow::Result<()> {
    let nodes: Vec<String> = bootstraps.iter().map(|one| format!("    \"{one}\",\n")).collect();
    let text = format!(
        "# Written by `bauta devnet --processes`.\nnetwork = \"{}\"\nbootstraps = [\n{}]\nlisten = \"{}\"\nstate = \"state\"\nanswer_commands = false\n",
        hex::encode(&network.id),
        nodes.concat(),
        plan.contact.address.0,
    );
    Ok(files::write(&plan.config, text.as_bytes(), true)?)
}

/// Runs one relay again and again.
async fn keep((program, keylog): (PathBuf, Option<PathBuf>), plan: Plan, news: mpsc::Sender<News>) {
    let number = plan.number;
    for _ in 0..DEVNET_RESTARTS_MAX {
        match run_once((&program, keylog.as_deref()), &plan, &news).await {
            Ok(()) => say(&format!("relay {number} ended; it is started again")),
            Err(why) => return drop(news.send(News::Failed { number, why: format!("{why:#}") }).await),
        }
        if news.is_closed() {
            return;
        }
    }
    let why = format!("ended {DEVNET_RESTARTS_MAX} times");
    let _ = news.send(News::Failed { number, why }).await;
}

async fn run_once(
    (program, keylog): (&Path, Option<&Path>),
    plan: &Plan,
    news: &mpsc::Sender<News>,
) -> anyhow::Result<()> {
    let mut command = Command::new(program);
    command.args(["relay", "run", "--until-stdin-closes", "--json", "--quiet", "--config"]).arg(&plan.config);
    if let Some(path) = keylog {
        command.arg("--keylog").arg(path);
    }
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit());
    let variables =
        std::env::vars_os().map(|(name, _)| name).filter(|name| name.to_string_lossy().starts_with("BAUTA_"));
    for name in variables.filter(|name| name != "BAUTA_LOG") {
        command.env_remove(name);
    }
    let mut child = command.kill_on_drop(true).spawn().context("a relay's process cannot be started")?;
    let number = plan.number;
    let _ = news.send(News::Running { number, pid: child.id().unwrap_or(0) }).await;
    let out = child.stdout.take().context("no pipe from the relay")?;
    let mut lines = BufReader::new(out).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let value: serde_json::Value = serde_json::from_str(&line).unwrap_or_default();
        let count =
            value.get("relays").and_then(serde_json::Value::as_u64).and_then(|count| usize::try_from(count).ok());
        if let Some(count) = count
            && news.send(News::Relays { number, count }).await.is_err()
        {
            break;
        }
    }
    end(child).await
}

/// Its standard output has ended, so it has, or is about to.
async fn end(mut child: Child) -> anyhow::Result<()> {
    drop(child.stdin.take());
    let status = tokio::time::timeout(RELAY_STOP_TIMEOUT, child.wait()).await;
    let status = status.context("a relay's process does not end")??;
    if status.success() { Ok(()) } else { anyhow::bail!("its process ended with {status}") }
}

/// How far the network is.
struct Watched {
    dir: PathBuf,
    /// By relay: how many it knows, itself among them.
    known: Vec<usize>,
    pids: Vec<u32>,
}

impl Watched {
    async fn until_ready(&mut self, news: &mut mpsc::Receiver<News>) -> anyhow::Result<()> {
        while self.known.iter().any(|count| *count < self.known.len()) {
            match news.recv().await {
                Some(News::Failed { number, why }) => anyhow::bail!("relay {number}: {why}"),
                Some(one) => self.take(one)?,
                None => anyhow::bail!("all relays have ended"),
            }
        }
        Ok(())
    }

    fn take(&mut self, one: News) -> anyhow::Result<()> {
        match one {
            News::Relays { number, count } => {
                self.known.get_mut(number.saturating_sub(1)).into_iter().for_each(|known| *known = count);
            }
            News::Running { number, pid } => {
                self.pids.get_mut(number.saturating_sub(1)).into_iter().for_each(|held| *held = pid);
                let lines: Vec<String> =
                    (1..).zip(&self.pids).map(|(number, pid)| format!("{number} {pid}\n")).collect();
                files::write(&self.dir.join("processes.txt"), lines.concat().as_bytes(), true)?;
            }
            News::Failed { .. } => (),
        }
        Ok(())
    }
}
