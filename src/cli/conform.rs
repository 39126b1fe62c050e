//! `bauta conform`: checks one node against the rules of the specification, as its client and fellow relay. Source: spec/cli.md §15.

use std::net::SocketAddr;

use serde_json::{Map, Value, json};

use super::exit::{Exit, Told as Judged};
use super::output::{print, say};
use super::settings::Settings;
use super::{Said, Told, Usage};
use crate::conform::{CHECKS, Check, Finding, Verdict, conform as check};
use crate::crypto::keys::DhKey;
use crate::net::Entropy;
use crate::probe::Target;
use crate::wire::hex;

/// What `conform` takes.
#[derive(clap::Args)]
pub(super) struct ConformArguments {
    /// The node: where it listens.
    #[arg(long, value_name = "IP:PORT", required_unless_present = "list")]
    addr: Option<String>,
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
    let unknown = arguments.only.iter().find(|rule| !CHECKS.iter().any(|check| check.rules.contains(&rule.as_str())));
    if let Some(rule) = unknown {
        let why = "is no rule that can be checked from outside (`bauta conform --list` has those)";
        return Err(Usage(format!("--only {}: {why}", rule.escape_debug())).into());
    }
    if arguments.list {
        return Ok(list());
    }
    let mut settings = told.settings.clone();
    if let Some(network) = &arguments.network {
        settings.set_flag("network", network)?;
    }
    let target = target(&settings, &arguments)?;
    let checks: Vec<&'static Check> = Check::of(&arguments.only).collect();
    let (mut done, count) = (0, checks.len());
    let mut rng = Entropy::from_system()?.generator();
    let mut tell = |finding: &Finding| {
        done += 1;
        say(&format!("{done} of {count}: {}: {}", finding.what, word(&finding.verdict)));
    };
    let findings = check(target, settings.bind, checks, &mut rng, &mut tell).await.map_err(|why| {
        let why = format!("{why}: check --addr, key, network and difficulty, and that the node runs");
        anyhow::Error::from(Judged::new(Exit::Unreachable, &why))
    })?;
    judge(told, &arguments, &rows(&findings))
}

/// Whom, if that is allowed and enough is known.
fn target(settings: &Settings, arguments: &ConformArguments) -> anyhow::Result<Target> {
    let given = arguments.addr.as_deref().unwrap_or_default();
    let shown = given.escape_debug();
    let address: SocketAddr =
        given.parse().map_err(|_| Usage(format!("--addr {shown}: is not IP:PORT; names are not looked up")))?;
    if !address.ip().is_loopback() && !arguments.i_own_this_host {
        let why = "is not on loopback: half of the checks are wrong on purpose, so say --i-own-this-host if the node is yours";
        return Err(Usage(format!("--addr {shown}: {why}")).into());
    }
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

/// One rule and what came of it.
struct Row {
    rule: &'static str,
    what: &'static str,
    verdict: Verdict,
}

fn rows(findings: &[Finding]) -> Vec<Row> {
    let of = |finding: &Finding| {
        let (what, verdict) = (finding.what, finding.verdict.clone());
        finding.rules.iter().map(move |rule| Row { rule, what, verdict: verdict.clone() }).collect::<Vec<_>>()
    };
    let mut rows: Vec<Row> = findings.iter().flat_map(of).collect();
    rows.sort_by_key(|row| row.rule);
    rows
}

fn word(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Pass => "pass",
        Verdict::Fail(_) => "FAIL",
        Verdict::NotOffered(_) => "not offered",
        Verdict::NotSeen(_) => "not seen",
    }
}

fn seen(verdict: &Verdict) -> Option<&str> {
    match verdict {
        Verdict::Pass => None,
        Verdict::Fail(seen) | Verdict::NotOffered(seen) | Verdict::NotSeen(seen) => Some(seen),
    }
}

fn list() -> Said {
    let mut rules: Vec<(&str, &str)> =
        CHECKS.iter().flat_map(|check| check.rules.iter().map(|rule| (*rule, check.what))).collect();
    rules.sort_unstable();
    let lines = rules.iter().map(|(rule, what)| format!("{rule:<12} {what}")).collect();
    let object = rules.iter().map(|(rule, what)| json!({ "rule": rule, "what": what })).collect::<Value>();
    Said { lines, ..Said::default().with("rules", object) }
}

fn judge(told: &Told, arguments: &ConformArguments, rows: &[Row]) -> anyhow::Result<Said> {
    let count = |wanted: &str| rows.iter().filter(|row| word(&row.verdict) == wanted).count();
    let (passed, failed, not_offered, not_seen) =
        (count("pass"), count("FAIL"), count("not offered"), count("not seen"));
    let mut lines: Vec<String> = Vec::new();
    for row in rows {
        lines.push(format!("{:<12} {:<12} {}", row.rule, word(&row.verdict), row.what));
        lines.extend(seen(&row.verdict).map(|seen| format!("{:<12} {:<12}   {seen}", "", "")));
    }
    lines.push(String::new());
    lines.push(format!("{passed} pass, {failed} fail, {not_offered} not offered, {not_seen} not seen"));
    let said = Said { lines, object: object(rows) };
    let Some((exit, message)) = ending(rows, !arguments.only.is_empty()) else { return Ok(said) };
    if !told.json {
        said.lines.iter().for_each(|line| print(line));
    }
    Err(Judged::with(exit, &message, said.object).into())
}

/// How it ends, unless all is well.
fn ending(rows: &[Row], was_named: bool) -> Option<(Exit, String)> {
    let those = |is_it: fn(&Verdict) -> bool| {
        let names: Vec<&str> = rows.iter().filter(|row| is_it(&row.verdict)).map(|row| row.rule).collect();
        (!names.is_empty()).then(|| names.join(", "))
    };
    if let Some(names) = those(|verdict| matches!(verdict, Verdict::Fail(_))) {
        return Some((Exit::Failed, format!("rules that do not hold: {names}")));
    }
    if !was_named {
        return None;
    }
    let not_offered = those(|verdict| matches!(verdict, Verdict::NotOffered(_)));
    let not_seen = those(|verdict| matches!(verdict, Verdict::NotSeen(_)));
    not_offered
        .map(|names| (Exit::NotOffered, format!("it does not offer what these are about: {names}")))
        .or(not_seen.map(|names| (Exit::Unreachable, format!("these were not to be seen: {names}"))))
}

fn object(rows: &[Row]) -> Map<String, Value> {
    let row = |row: &Row| {
        let verdict = word(&row.verdict).to_lowercase();
        json!({ "rule": row.rule, "what": row.what, "verdict": verdict, "seen": seen(&row.verdict) })
    };
    let mut object = Map::new();
    object.insert("rules".into(), rows.iter().map(row).collect::<Value>());
    object
}
