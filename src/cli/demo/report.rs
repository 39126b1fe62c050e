//! What the demo prints: the story, the table of who saw what, the checks; or all of it as JSON.

use serde_json::{Map, Value, json};

use super::exposure::Saw;
use super::{RELAYS_MIN, Story};
use crate::limits::CHUNK_HOLDERS;
use crate::membership::prefix_rule::PrefixRule;

/// Everything, for people.
pub(super) fn lines(story: &Story) -> Vec<String> {
    let mut lines = Vec::new();
    let mut out = |line: &str| lines.push(line.to_owned());
    out(&format!("file       {} ({} bytes)", story.name.as_str(), story.len));
    out(&format!("link       {}", story.published.link));
    out(&format!("network    {} relays, ready in {:.1} s", story.exposure.relays.len(), story.ready.as_secs_f64()));
    let copies = match story.published.chunks {
        0 => String::new(),
        chunks => format!("{chunks} chunks, {CHUNK_HOLDERS} receipts each; "),
    };
    let roots: Vec<String> = story.published.root_copies.iter().map(usize::to_string).collect();
    let (published, got) = (story.publish_time.as_secs_f64(), story.get_time.as_secs_f64());
    out(&format!("published  {copies}root with {} receipts ({published:.1} s)", roots.join(" + ")));
    let guard = if story.guard_stopped { ", the second client's guard among them" } else { "" };
    out(&format!("stopped    {} of {} holders{guard}", story.stopped.len(), story.holders));
    let fresh = if story.attested { "freshness attested" } else { "freshness not attested" };
    out(&format!("got        by the second client ({got:.1} s), {fresh}"));
    out("");
    table(story).iter().for_each(|line| out(line));
    out("");
    for check in &story.checks {
        out(&format!("  {}  {}", if check.held { "ok    " } else { "FAILED" }, check.what));
    }
    out("");
    if story.rule == PrefixRule::RelaxedForOneHost {
        out("note: this system has one loopback address; the /16 rule was relaxed by name (RelaxedForOneHost)");
    }
    out(&format!("seed {} · {:.1} s in all", story.seed, story.total.as_secs_f64()));
    lines
}

fn table(story: &Story) -> Vec<String> {
    debug_assert!(story.exposure.relays.len() >= RELAYS_MIN);
    let head = [
        "who saw what",
        "  relay         client's   circuits   requests   finds and   locations   encrypted   who with",
        "                address    passed     opened     stores      seen        values      what",
    ];
    let foot = [
        "  client's address: guards and bootstraps see it, and cells of one size besides",
        "  requests opened: an exit sees a location (a blinded key's hash), never who asks",
        "  who with what: whether a request came straight from a client, so that both could be joined; must be no",
    ];
    let rows = story.exposure.relays.iter().enumerate().map(|(index, saw)| row(index, saw));
    head.map(str::to_owned).into_iter().chain(rows).chain(foot.map(str::to_owned)).collect()
}

fn row(index: usize, saw: &Saw) -> String {
    let name = format!("{}{}", index + 1, if saw.runs { "" } else { " (stopped)" });
    let client = if saw.clients > 0 { "yes" } else { "-" };
    let joined = if saw.joined { "YES" } else { "no" };
    format!(
        "  {name:<13} {client:<10} {:<10} {:<10} {:<11} {:<11} {:<11} {joined}",
        saw.passed,
        saw.exited,
        saw.asked,
        saw.locations.len(),
        saw.values,
    )
}

/// Everything, for programs. Schema: spec/cli.md §3.
pub(super) fn object(story: &Story) -> Map<String, Value> {
    let relays: Vec<_> = story.exposure.relays.iter().map(relay_json).collect();
    let clients: Vec<_> = story
        .exposure
        .clients
        .iter()
        .map(|did| json!({"circuits": did.paths.len(), "peers": did.peers.len(), "guards_used": did.guards.len()}))
        .collect();
    let checks: Vec<_> = story.checks.iter().map(|check| json!({"check": check.what, "held": check.held})).collect();
    let told = json!({
        "file": story.name.as_str(),
        "bytes": story.len,
        "link": story.published.link.to_string(),
        "seed": story.seed,
        "prefix_rule": format!("{:?}", story.rule),
        "chunks": story.published.chunks,
        "chunk_copies": CHUNK_HOLDERS,
        "root_copies": story.published.root_copies,
        "holders": story.holders,
        "stopped": story.stopped.iter().map(|at| at + 1).collect::<Vec<_>>(),
        "guard_stopped": story.guard_stopped,
        "attested": story.attested,
        "elapsed_ready_s": story.ready.as_secs_f64(),
        "elapsed_publish_s": story.publish_time.as_secs_f64(),
        "elapsed_get_s": story.get_time.as_secs_f64(),
        "elapsed_total_s": story.total.as_secs_f64(),
        "relays": relays,
        "clients": clients,
        "checks": checks,
    });
    match told {
        Value::Object(object) => object,
        _ => Map::new(),
    }
}

fn relay_json(saw: &Saw) -> serde_json::Value {
    json!({
        "running": saw.runs,
        "saw_client_address": saw.clients > 0,
        "circuits_passed": saw.passed,
        "requests_opened": saw.exited,
        "finds_and_stores": saw.asked,
        "locations_seen": saw.locations.len(),
        "values_held": saw.values,
        "joined_who_and_what": saw.joined,
    })
}
