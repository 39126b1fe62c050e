//! `bauta doctor`: tries one thing after the other, from the state directory to a whole lookup, and says of each what to do.

use std::collections::BTreeSet;

use serde_json::json;

use super::exit::{Exit, fails};
use super::output::say;
use super::status::rough;
use super::way::{Way, folder, node_status, own_client};
use super::{Said, Told, explain};
use crate::client::{Client, ClientError, GetOptions};
use crate::crypto::keys::IdentitySecret;
use crate::disk::{Keyring, StateDir};
use crate::limits::{DESCRIPTOR_RENEW_S, GUARDS, JOIN_TIME_MAX, JOIN_TIMEOUT};
use crate::net::{Clock, DownKind, Entropy};
use crate::node::{Joined, Kept};
use crate::record::Locator;
use crate::request::{Consistency, Refused};
use crate::time::{Duration, Instant};
use crate::wire::network::{Network, VERSIONS};

/// Relays below which paths are hard to find and easy to guess.
const RELAYS_FEW: usize = 12;
/// Seconds by which no descriptor's number should lie ahead.
const AHEAD_S: u64 = 60;

/// One thing that was tried.
struct Finding {
    what: &'static str,
    /// How it counts when it failed; `Done` for a mere warning or when all is well.
    exit: Exit,
    is_fine: bool,
    found: String,
    todo: String,
}

/// All of them, so far.
#[derive(Default)]
struct Findings(Vec<Finding>);

impl Findings {
    fn fine(&mut self, what: &'static str, found: impl Into<String>) {
        self.0.push(Finding { what, exit: Exit::Done, is_fine: true, found: found.into(), todo: String::new() });
    }

    fn warn(&mut self, what: &'static str, found: impl Into<String>, todo: &str) {
        self.bad(what, Exit::Done, found, todo);
    }

    fn bad(&mut self, what: &'static str, exit: Exit, found: impl Into<String>, todo: &str) {
        self.0.push(Finding { what, exit, is_fine: false, found: found.into(), todo: todo.to_owned() });
    }

    /// The first that is not just a warning decides.
    fn exit(&self) -> Exit {
        self.0.iter().map(|finding| finding.exit).find(|exit| *exit != Exit::Done).unwrap_or(Exit::Done)
    }
}

/// Runs it.
pub(super) async fn doctor(told: &Told) -> anyhow::Result<Said> {
    let mut findings = Findings::default();
    findings.fine("version", format!("{}, protocol {} to {}", env!("CARGO_PKG_VERSION"), VERSIONS.0, VERSIONS.1));
    let keys = Keyring::open(&told.settings.state)?.names()?.len();
    findings.fine("state", format!("{}, this user's alone; keys kept: {keys}", told.settings.state.display()));
    let network = told.settings.network()?;
    let nets: BTreeSet<_> = told.settings.bootstraps()?.iter().map(|one| one.address.wide_prefix()).collect();
    let count = told.settings.bootstraps.len();
    if nets.len() < 2 {
        let todo = "add nodes of other operators and networks: two that lie alike choose what you see";
        findings.warn("bootstraps", format!("{count}, all in one /16"), todo);
    } else {
        findings.fine("bootstraps", format!("{count}, in {} networks", nets.len()));
    }
    match node_status(&told.settings).await {
        Ok(Some(node)) => {
            findings.fine("node", format!("process {} runs, {} relays known; commands use it", node.pid, node.relays))
        }
        Ok(None) => findings.fine("node", "none runs: commands join, act and leave"),
        Err(error) => {
            findings.warn("node", format!("{error:#}"), "end it and start it again, or `--set use_node=false`")
        }
    }
    say("asking the nodes to start from: they see this machine's address, and that it is active");
    let client = own_client(told, true)?;
    membership(&client, &mut findings).await;
    guards(told, &client, &network, &mut findings)?;
    let explained = if findings.exit() == Exit::Done { lookup(told, &client, &mut findings).await } else { None };
    client.close().await;
    report(told, &findings, explained)
}

/// Bootstraps, what they told, what the clock makes of it.
async fn membership(client: &Client, findings: &mut Findings) {
    // A guard is there once the membership has come; without one the time ends. Over a slow link pages may come for long.
    let patience = JOIN_TIMEOUT + Duration::from_secs(2);
    let mut entered = tokio::time::timeout(patience, client.guard()).await;
    for _ in 0..JOIN_TIME_MAX.as_secs() / patience.as_secs() {
        if entered.is_ok() || client.joined().is_some() {
            break;
        }
        say("they still tell what they know: the link is slow, or they have much to do");
        entered = tokio::time::timeout(patience, client.guard()).await;
    }
    let Some(joined) = client.joined() else {
        let todo = "check that this machine is online and that a firewall lets it dial those addresses";
        return findings.bad("reachability", Exit::Unreachable, "no node to start from has answered in time", todo);
    };
    let ends = client.link_ends();
    let strangers = ends.get(&DownKind::Identity).or(ends.get(&DownKind::Handshake)).copied().unwrap_or(0);
    if joined.members.is_empty() {
        if strangers > 0 || joined.agreed > 0 {
            let now = Clock::unix().0;
            let found =
                format!("nodes answer, but what they sign does not hold at this clock's time ({now} s since 1970)");
            let todo =
                "set this machine's clock; if it is right, the keys in the configuration are not of this network";
            return findings.bad("clock", Exit::Unreachable, found, todo);
        }
        let found = format!("{} of {} nodes to start from told all they know", joined.whole, joined.asked);
        let todo = "two are needed: check the network, or get a newer list of nodes to start from";
        return findings.bad("reachability", Exit::Unreachable, found, todo);
    }
    findings
        .fine("reachability", format!("{} of {} nodes to start from told all they know", joined.whole, joined.asked));
    relays(&joined, findings);
    match entered {
        Ok(Ok(_)) => (),
        _ => findings.bad(
            "guard",
            Exit::Unreachable,
            "none of your guards answers",
            "wait: they are few on purpose, and come back; nothing goes around them",
        ),
    }
}

fn relays(joined: &Joined, findings: &mut Findings) {
    let now = Clock::unix();
    let members = &joined.members;
    let nets: BTreeSet<_> = members.iter().map(|one| one.address.wide_prefix()).collect();
    let found =
        format!("{} relays in {} networks; {} of {} told alike", members.len(), nets.len(), joined.agreed, joined.told);
    if nets.len() < RELAYS_FEW {
        findings.warn("membership", found, "in so small a network a path hides little");
    } else {
        findings.fine("membership", found);
    }
    let newest = members.iter().map(|one| u64::from(one.issued)).max().unwrap_or(0);
    if newest > now.0 + AHEAD_S {
        let found = format!("relays signed {} ahead of it", rough(Duration::from_secs(newest - now.0)));
        findings.warn("clock", found, "set this machine's clock; a few minutes do no harm, more do");
    } else if now.0.saturating_sub(newest) > DESCRIPTOR_RENEW_S + 3_600 {
        let found = format!("the newest relay signed {} ago", rough(Duration::from_secs(now.0 - newest)));
        findings.warn("clock", found, "set this machine's clock, or wait for a relay to start again");
    } else {
        findings.fine("clock", "agrees with what relays signed, as far as that shows");
    }
    let behind = members.iter().filter(|one| one.versions.1 < VERSIONS.0 || one.versions.0 > VERSIONS.1).count();
    let newer = members.iter().filter(|one| one.versions.1 > VERSIONS.1).count();
    match (behind, newer) {
        (0, 0) => findings.fine("versions", "all relays speak this version"),
        (0, newer) => {
            findings.warn("versions", format!("{newer} relays speak a later one too"), "get a newer bauta soon")
        }
        (behind, _) => {
            findings.warn("versions", format!("{behind} relays speak none in common"), "get a newer bauta");
        }
    }
}

fn guards(told: &Told, client: &Client, network: &Network, findings: &mut Findings) -> anyhow::Result<()> {
    let state = StateDir::open(folder(&told.settings, network)?)?;
    let kept: Kept = state.read(super::status::GUARDS)?.unwrap_or_default();
    let sample: Vec<_> = kept.guards.guards.iter().map(|guard| guard.key).collect();
    let Some(used) = client.guards_used().last().copied() else { return Ok(()) };
    let number = sample.iter().position(|key| *key == used.0).map_or(0, |at| at + 1);
    let found = format!("number {number} of {} is in use", sample.len());
    if sample.len() < GUARDS {
        findings.warn("guard", found, "the network has too few relays in networks of their own for a whole sample");
    } else if number > 1 {
        findings.warn("guard", found, "the one before is down; your client goes back to it once it answers");
    } else {
        findings.fine("guard", found);
    }
    Ok(())
}

/// Looks for something that is not there: the whole way, and the evidence.
async fn lookup(told: &Told, client: &Client, findings: &mut Findings) -> Option<explain::Story> {
    let mut rng = match Entropy::from_system() {
        Ok(entropy) => entropy.generator(),
        Err(error) => {
            findings.bad(
                "lookup",
                Exit::Failed,
                error.to_string(),
                "the system gives no randomness: nothing can be done",
            );
            return None;
        }
    };
    let locator = Locator::of_author(&IdentitySecret::generate(&mut rng), b"doctor").ok()?;
    let clock = Clock::start();
    let options = GetOptions { consistency: Consistency::Quorum, seq_min: 0, timeout: Some(told.settings.timeout) };
    let outcome = client.get_record(&locator, options).await;
    let took = format!("{:.0} ms", 1e3 * Instant::ZERO.until(clock.instant()).as_secs_f64());
    let explained = explain::story(told, &Way::Own(client.clone()));
    match outcome {
        Err(ClientError::Refused(Refused::NotFound, counts)) => {
            findings.fine("lookup", format!("{} hops, absence attested, {took} ({counts})", told.settings.hops));
        }
        Err(error) => {
            let todo = "see which: `bauta get` ends with the same code; `--explain` shows the circuits";
            findings.bad("lookup", Exit::of_ending(error.ending()), format!("{error} ({took})"), todo);
        }
        Ok(_) => {
            let todo = "somebody answers for what cannot be there: report this";
            findings.bad("lookup", Exit::Damaged, "a value where none can be", todo);
        }
    }
    explained
}

fn report(told: &Told, findings: &Findings, explained: Option<explain::Story>) -> anyhow::Result<Said> {
    let mut said = Said::default();
    let mut list = Vec::new();
    for Finding { what, exit, is_fine, found, todo } in &findings.0 {
        let mark = match (is_fine, exit) {
            (true, _) => "ok  ",
            (false, Exit::Done) => "warn",
            (false, _) => "BAD ",
        };
        said = said.line(format!("{mark}  {what:<12}  {found}"));
        if !todo.is_empty() {
            said = said.line(format!("                    {todo}"));
        }
        list.push(json!({ "what": what, "state": mark.trim().to_lowercase(), "found": found, "todo": todo }));
    }
    explain::tell(told, &explained);
    let said = explain::attach(said, explained).with("findings", list);
    match findings.exit() {
        Exit::Done => Ok(said),
        exit => Err(fails(told.json, exit, "something is wrong: see what it found", said)),
    }
}
