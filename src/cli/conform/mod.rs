//! `bauta conform`: checks one node against the rules of the specification, as its client and fellow relay, or as whom it dials.
//! Source: spec/cli.md §15.

mod listen;
mod table;

use std::net::SocketAddr;
use std::path::PathBuf;

use serde_json::{Value, json};

use self::table::Progress;
use super::exit::{Exit, Told as Judged};
use super::settings::Settings;
use super::{Said, Told, Usage};
use crate::conform::{CHECKS, Check, Finding, conform as check, listen as listening};
use crate::crypto::keys::DhKey;
use crate::net::Entropy;
use crate::probe::Target;
use crate::wire::hex;

/// What `conform` takes.
#[derive(clap::Args)]
#[command(group(clap::ArgGroup::new("way").required(true).args(["addr", "listen", "list"])))]
pub(super) struct ConformArguments {
    /// The node: where it listens.
    #[arg(long, value_name = "IP:PORT")]
    addr: Option<String>,
    /// The other way round: listens here, as relays of a network of its own, and checks the client or relay that dials.
    #[arg(long, value_name = "IP:PORT", conflicts_with_all = ["key", "network"])]
    listen: Option<String>,
    /// How long `--listen` waits for what is to be seen; up to 1440, and parts of a minute.
    #[arg(long, value_name = "M", default_value = "5", conflicts_with = "addr")]
    minutes: String,
    /// Where `--listen` writes the settings for who is checked; they are printed all the same.
    #[arg(long, value_name = "FILE", requires = "listen", conflicts_with = "addr")]
    settings: Option<PathBuf>,
    /// Checks these rules alone.
    #[arg(long, value_name = "ID[,ID]", value_delimiter = ',')]
    only: Vec<String>,
    /// Lists the rules that can be checked; nothing is sent.
    #[arg(long)]
    list: bool,
    /// The node's link key, 64 hexadecimal digits; without it that of the bootstrap with this address.
    #[arg(long, value_name = "K")]
    key: Option<String>,
    /// The network's id, 64 hexadecimal digits; without it the setting.
    #[arg(long, value_name = "N")]
    network: Option<String>,
    /// For a node that is not on loopback: say that it is yours.
    #[arg(long)]
    i_own_this_host: bool,
}

/// Runs it.
pub(super) async fn conform(told: &Told, arguments: ConformArguments) -> anyhow::Result<Said> {
    if arguments.list {
        return Ok(list());
    }
    let (of_dialler, of_dialled): (Vec<&str>, Vec<&str>) =
        (listening::rules().map(|(rule, _)| rule).collect(), of_a_node().map(|(rule, _)| rule).collect());
    let (known, others, other_way) = match &arguments.listen {
        Some(_) => (of_dialler, of_dialled, "it is about who is dialled: --addr checks it"),
        None => (of_dialled, of_dialler, "it is about who dials: --listen checks it"),
    };
    if let Some(rule) = arguments.only.iter().find(|rule| !known.contains(&rule.as_str())) {
        let no_rule = "is no rule that can be checked from outside (`bauta conform --list` has those)";
        let why = if others.contains(&rule.as_str()) { other_way } else { no_rule };
        return Err(Usage(format!("--only {}: {why}", rule.escape_debug())).into());
    }
    if let Some(given) = &arguments.listen {
        return listen::run(told, given, &arguments).await;
    }
    let mut settings = told.settings.clone();
    if let Some(network) = &arguments.network {
        settings.set_flag("network", network)?;
    }
    let target = target(&settings, &arguments)?;
    let checks: Vec<&'static Check> = Check::of(&arguments.only).collect();
    let mut rng = Entropy::from_system()?.generator();
    let (mut progress, mut seen) = (Progress::of(checks.len()), Vec::new());
    let mut tell = |finding: &Finding| {
        progress.say(finding);
        seen.push(finding.clone());
    };
    let checked = tokio::select! {
        checked = check(target, settings.bind, checks, &mut rng, &mut tell) => Some(checked),
        _ = tokio::signal::ctrl_c() => None,
    };
    let found = checked.transpose().map_err(|why| {
        let why = format!("{why}: check --addr, key, network and difficulty, and that the node runs");
        anyhow::Error::from(Judged::new(Exit::Unreachable, &why))
    })?;
    let is_partial = found.is_none();
    table::judge(told, !arguments.only.is_empty(), is_partial, &found.unwrap_or(seen))
}

fn of_a_node() -> impl Iterator<Item = (&'static str, &'static str)> {
    CHECKS.iter().flat_map(|check| check.rules.iter().map(|rule| (*rule, check.what)))
}

/// Where to dial or listen, if that is allowed.
fn address(flag: &str, given: &str, is_own: bool, why_not: &str) -> Result<SocketAddr, Usage> {
    let shown = given.escape_debug();
    let address: SocketAddr =
        given.parse().map_err(|_| Usage(format!("{flag} {shown}: is not IP:PORT; names are not looked up")))?;
    if address.ip().is_loopback() || is_own {
        return Ok(address);
    }
    Err(Usage(format!("{flag} {shown}: is not on loopback: {why_not}")))
}

fn list() -> Said {
    let dialled = of_a_node().map(|(rule, what)| (rule, "--addr", what));
    let mut rules: Vec<_> = dialled.chain(listening::rules().map(|(rule, what)| (rule, "--listen", what))).collect();
    rules.sort_unstable();
    let lines = rules.iter().map(|(rule, with, what)| format!("{rule:<12} {with:<10} {what}")).collect();
    let object = rules.iter().map(|(rule, with, what)| json!({ "rule": rule, "with": with, "what": what }));
    Said { lines, ..Said::default().with("rules", object.collect::<Value>()) }
}

/// Whom, if that is allowed and enough is known.
fn target(settings: &Settings, arguments: &ConformArguments) -> anyhow::Result<Target> {
    let given = arguments.addr.as_deref().unwrap_or_default();
    let why = "half of the checks are wrong on purpose, so say --i-own-this-host if the node is yours";
    let address = address("--addr", given, arguments.i_own_this_host, why)?;
    let shown = given.escape_debug();
    let network = settings.network()?;
    let listed = settings.bootstraps.iter().find(|one| one.address.0 == address).map(|one| one.link_key);
    let link_key = match &arguments.key {
        Some(key) => DhKey(hex::decode(key).map_err(|_| Usage("--key: is not 64 hexadecimal digits".to_owned()))?),
        None => listed.ok_or_else(|| {
            let what = "give --key LINK-KEY, the last part of the contact that `bauta relay run` prints";
            Usage(format!("--addr {shown}: no bootstrap in the settings has this address: {what}"))
        })?,
    };
    Ok(Target { address, link_key, network })
}
