//! What came of the rules: a line for each, an object, an exit code.

use serde_json::{Map, Value, json};

use crate::cli::exit::{Exit, fails};
use crate::cli::output::say;
use crate::cli::{Said, Told};
use crate::conform::{Finding, Verdict};

/// One rule and what came of it.
struct Row {
    rule: &'static str,
    what: &'static str,
    verdict: Verdict,
}

/// What is told while it goes on.
pub(super) struct Progress {
    done: usize,
    count: usize,
}

impl Progress {
    pub(super) const fn of(count: usize) -> Self {
        Self { done: 0, count }
    }

    /// One more.
    pub(super) fn say(&mut self, finding: &Finding) {
        self.done += 1;
        say(&format!("{} of {}: {}: {}", self.done, self.count, finding.what, word(&finding.verdict)));
    }
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

/// The table, and how the command ends by it.
pub(super) fn judge(told: &Told, is_named: bool, is_partial: bool, findings: &[Finding]) -> anyhow::Result<Said> {
    let rows = &rows(findings)[..];
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
    let said = Said { lines, object: object(rows) }.with("partial", is_partial);
    let interrupted = || is_partial.then(|| (Exit::Failed, "interrupted: the report is partial".to_owned()));
    match ending(rows, is_named && !is_partial).or_else(interrupted) {
        None => Ok(said),
        Some((exit, message)) => Err(fails(told.json, exit, &message, said)),
    }
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
