//! Who saw what: each circuit that was built, what each of its hops could learn, and which rules it kept.
//! Source: spec/cli.md §6.

use serde_json::{Value, json};

use super::exit::{Exit, Told as Judged, counts_of};
use super::output::warn;
use super::way::{Trace, Way};
use super::{Said, Told, counts_json};
use crate::node::{BuiltPath, Carries};
use crate::wire::contact::Contact;
use crate::wire::hex;

/// Bytes of an id that are shown: enough to tell nodes apart.
const SHOWN_LEN: usize = 4;

/// An explanation, in both forms.
pub(super) struct Story {
    lines: Vec<String>,
    object: Value,
}

/// What there is to say so far; nothing unless it was asked for.
pub(super) fn story(told: &Told, way: &Way) -> Option<Story> {
    if !told.explain {
        return None;
    }
    let trace = way.trace();
    Some(Story { lines: lines(&trace), object: object(&trace) })
}

/// For people, on standard error; with `--json` it stands in the object.
pub(super) fn tell(told: &Told, story: &Option<Story>) {
    if let (Some(story), false) = (story, told.json) {
        story.lines.iter().for_each(|line| warn(line));
    }
}

/// The same for an operation that failed: the error to go on with.
pub(super) fn tell_failure(told: &Told, error: anyhow::Error, story: Option<Story>) -> anyhow::Error {
    tell(told, &story);
    let Some(story) = story.filter(|_| told.json) else { return error };
    let counts = counts_of(&error).as_ref().map(counts_json);
    let object = Said::default().with("explain", story.object).with("counts", counts).object;
    Judged::with(Exit::of(&error), &format!("{error:#}"), object).into()
}

/// For programs.
pub(super) fn attach(said: Said, story: Option<Story>) -> Said {
    match story {
        Some(story) => said.with("explain", story.object),
        None => said,
    }
}

fn node(contact: &Contact) -> String {
    let id = contact.id.0.first_chunk::<SHOWN_LEN>().map(|id| hex::encode(id)).unwrap_or_default();
    format!("{id} at {}", contact.address.0)
}

fn carried(carries: Carries) -> (&'static str, String) {
    match carries {
        Carries::Find => ("find", "one location, and the sealed record that came back".into()),
        Carries::Put => ("put", "one location, and the sealed record to be stored there".into()),
        Carries::Fetch(count) => ("fetch", format!("the hashes of {count} sealed chunks, and those")),
        Carries::Look(count) => ("look", format!("the hashes of {count} sealed chunks, and who signed to have them")),
        Carries::Store(count) => ("store", format!("{count} sealed chunks to be stored")),
    }
}

/// Whether all rules held that can be read off a path.
fn rules(path: &BuiltPath) -> [(&'static str, bool); 3] {
    let hops = &path.hops;
    let pairs =
        || hops.iter().enumerate().flat_map(|(at, one)| hops.iter().skip(at + 1).map(move |other| (one, other)));
    let nets_differ = pairs().all(|(one, other)| one.address.wide_prefix() != other.address.wide_prefix());
    [
        ("at least three hops", hops.len() >= crate::limits::HOPS_CLIENT_MIN),
        ("no relay twice", pairs().all(|(one, other)| one.id != other.id)),
        ("no two hops in one IPv4 /16 or IPv6 /32", nets_differ),
    ]
}

fn lines(Trace { circuits, bootstraps_asked, by_node }: &Trace) -> Vec<String> {
    let mut lines = vec!["who saw what".to_owned()];
    lines.push(match (by_node, bootstraps_asked) {
        (true, _) => "  a running node of yours did it; its guard and others saw your address before".to_owned(),
        (false, 0) => "  the relays were known from before: no node to start from was asked".to_owned(),
        (false, asked) => format!(
            "  {asked} nodes to start from were asked for all relays: they saw your address, and when; not what for"
        ),
    });
    for (number, path) in (1..).zip(circuits) {
        let (what, learned) = carried(path.carries);
        lines.push(format!("  circuit {number}: {what}"));
        let last = path.hops.len().saturating_sub(1);
        for (at, hop) in path.hops.iter().enumerate() {
            let saw = match at {
                0 => "your address, how many circuits and cells, and so the kind of request and a file's size; not what for".to_owned(),
                at if at == last => format!("{learned}, and the hop before it; not you"),
                1 => "its two neighbours; neither you nor what for".to_owned(),
                _ => "its two neighbours".to_owned(),
            };
            let role = match at {
                0 => "guard",
                at if at == last => "exit",
                _ => "hop",
            };
            lines.push(format!("    {role:<6} {:<34} saw {saw}", node(hop)));
        }
    }
    lines.push("  storers near a location saw its exit, and sealed values; not you, nor (unless they have the link, or guess the name) what is in them".to_owned());
    for (at, (rule, _)) in circuits.first().map(rules).into_iter().flatten().enumerate() {
        let held = circuits.iter().all(|path| rules(path).get(at).is_some_and(|(_, held)| *held));
        lines.push(format!("  {}  {rule}, in all {} circuits", if held { "held  " } else { "BROKEN" }, circuits.len()));
    }
    lines
}

fn object(Trace { circuits, bootstraps_asked, by_node }: &Trace) -> Value {
    let circuit = |path: &BuiltPath| {
        let (what, _) = carried(path.carries);
        let hops: Vec<Value> = path
            .hops
            .iter()
            .map(|hop| json!({ "id": hex::encode(&hop.id.0), "address": hop.address.0.to_string() }))
            .collect();
        let rules: Vec<Value> = rules(path).iter().map(|(rule, held)| json!({ "rule": rule, "held": held })).collect();
        json!({ "carries": what, "hops": hops, "rules": rules })
    };
    let circuits: Vec<Value> = circuits.iter().map(circuit).collect();
    json!({ "by_node": by_node, "bootstraps_asked": bootstraps_asked, "circuits": circuits })
}
