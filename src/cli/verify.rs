//! `bauta verify`: how many live copies each part of a publication has, and until when, by the signed words of its holders. Nothing is
//! written anywhere. Source: spec/cli.md §12.

use serde_json::{Value, json};

use super::exit::{Exit, Told as Judged};
use super::get::{link_of, own_seq, target_of};
use super::output::{print, progress, show, warn};
use super::status::rough;
use super::way::Way;
use super::{Said, Told, counts_json, explain};
use crate::client::{Audit, AuditOptions, Health, audit};
use crate::content::{ContentKind, GroupAudit};
use crate::limits::{AUDIT_GROUPS_SHOWN_MAX, CHUNK_HOLDERS, HOLDERS};
use crate::net::{Clock, Entropy};
use crate::request::Sighting;
use crate::sim::report::{Cell, Table};
use crate::time::{Duration, UnixTime};
use crate::wire::record::Expiry;

/// What `verify` takes.
#[derive(clap::Args)]
pub(super) struct VerifyArguments {
    /// A link (bauta1…), or a name of at most 64 bytes; `-` reads it from standard input, unseen by others on this machine.
    #[arg(value_name = "LINK|NAME")]
    target: String,
    /// Ask about so many chunks, by fours drawn at random, instead of all. What leads to them is read whole all the same.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    sample: Option<u64>,
}

/// Runs it.
pub(super) async fn verify(told: &Told, arguments: VerifyArguments) -> anyhow::Result<Said> {
    let network = told.settings.network()?;
    let link = link_of(&network, &target_of(&arguments.target)?)?;
    let seq_min = own_seq(told, &network, &link)?;
    let options = AuditOptions { sample: arguments.sample, seq_min, timeout: Some(told.settings.timeout) };
    let mut rng = Entropy::from_system()?.generator();
    let way = Way::open(told).await?;
    let bar = progress("asking");
    let outcome = audit(&way, &link, options, &mut rng, &|step| show(&bar, step)).await;
    bar.finish_and_clear();
    let explained = explain::story(told, &way);
    way.close().await;
    let audit = match outcome {
        Ok(audit) => audit,
        Err(error) => return Err(explain::tell_failure(told, error.into(), explained)),
    };
    if !audit.attested {
        warn("freshness is not attested: too few of the nodes that would know signed that nothing newer is there");
    }
    explain::tell(told, &explained);
    let said = explain::attach(object(&audit), explained);
    let lines = lines(&audit, Clock::unix());
    let exit = match audit.health() {
        Health::Well => return Ok(Said { lines, ..said }),
        Health::Wanting => Exit::Partly,
        Health::Untold => Exit::Unreachable,
    };
    if !told.json {
        lines.iter().for_each(|line| print(line));
    }
    Err(Judged::with(exit, &verdict(&audit), said.object).into())
}

/// In a sentence.
pub(super) fn verdict(audit: &Audit) -> String {
    let roots = audit.root.iter().filter(|place| place.attested && place.until.len() < HOLDERS).count();
    let wanting: usize = audit.groups.iter().map(|group| group.wanting.len()).sum();
    let untold: usize = audit.groups.iter().map(|group| group.untold).sum();
    match (audit.health(), lost(audit)) {
        (Health::Well, _) => {
            format!("all that was looked for has its copies: {HOLDERS} of each root, {CHUNK_HOLDERS} of each chunk")
        }
        (Health::Untold, _) => format!(
            "too few holders answered to tell: of {untold} chunks, or of the root, there may be fewer copies than there should be"
        ),
        (Health::Wanting, 0) => format!(
            "fewer copies than there should be: at {roots} of 3 locations of the root, of {wanting} chunks (and of {untold} chunks too few holders answered to tell)"
        ),
        (Health::Wanting, lost) => format!(
            "content is lost: of {lost} groups too few chunks are left to bring them back, and nothing makes them again but publishing anew; copies are wanting at {roots} of 3 locations of the root, of {wanting} chunks"
        ),
    }
}

/// Groups that no reader brings back any more.
fn lost(audit: &Audit) -> usize {
    audit.groups.iter().filter(|group| group.is_lost()).count()
}

fn lines(audit: &Audit, now: UnixTime) -> Vec<String> {
    let what = if audit.kind == ContentKind::Folder { "folder" } else { "file" };
    let copies: Vec<String> = audit.root.iter().map(|place| place.until.len().to_string()).collect();
    let mut lines = vec![
        format!("{what:<9} {} ({} bytes)", audit.name.as_str(), audit.len),
        format!("root      {} copies at its three locations, {}", copies.join(" + "), ends(audit.root_end(), now)),
    ];
    if audit.chunks == 0 {
        lines.push("chunks    none: the content stands in the root".to_owned());
    } else {
        let found: usize = audit.groups.iter().map(|group| group.found).sum();
        lines.push(format!("chunks    {} of {} looked for, {found} found", audit.looked(), audit.chunks));
        lines.push(match audit.readable_until() {
            Some(until) => format!("readable  for {}, if nobody looks after it", left(until, now)),
            None => "readable  not told: not all was looked for, or found".to_owned(),
        });
        lines.push(String::new());
        lines.extend(table(&audit.groups, now));
    }
    lines.push(String::new());
    lines.push(verdict(audit));
    lines
}

/// The groups, or where there are many the weakest of them.
fn table(groups: &[GroupAudit], now: UnixTime) -> Vec<String> {
    let mut shown: Vec<&GroupAudit> = groups.iter().collect();
    if shown.len() > AUDIT_GROUPS_SHOWN_MAX {
        shown.sort_by_key(|group| (group.spare(), group.copies_min, group.first_end));
        shown.truncate(AUDIT_GROUPS_SHOWN_MAX);
    }
    let title = if shown.len() < groups.len() {
        format!("the weakest {} of {} groups (--json has all)", shown.len(), groups.len())
    } else {
        "groups of chunks; those of level 0 are content, of others hashes".to_owned()
    };
    let columns = [
        "level",
        "group",
        "chunks",
        "looked for",
        "found",
        "needed",
        "may be lost",
        "fewest copies",
        "usual copies",
        "first ends",
        "readable for",
    ];
    let mut table = Table::new("groups", &title, &columns);
    for group in shown {
        let count = |count: Option<usize>| count.map_or(Cell::Nothing, Cell::count);
        let time = |end: Option<Expiry>| end.map_or(Cell::Nothing, |end| Cell::Text(left(end.time(), now)));
        table.row(vec![
            Cell::Whole(group.level.into()),
            Cell::Whole(group.number),
            Cell::count(group.chunks),
            Cell::count(group.looked),
            Cell::count(group.found),
            Cell::count(group.needed),
            count(group.spare()),
            Cell::count(group.copies_min),
            Cell::count(group.copies_median),
            time(group.first_end),
            time(group.until),
        ]);
    }
    table.lines()
}

fn ends(end: Option<UnixTime>, now: UnixTime) -> String {
    end.map_or_else(|| "none of this version".to_owned(), |end| format!("ending in {}", left(end, now)))
}

fn left(end: UnixTime, now: UnixTime) -> String {
    rough(Duration::from_secs(end.0.saturating_sub(now.0)))
}

fn object(audit: &Audit) -> Said {
    let end = |end: Option<Expiry>| end.map(|end| end.time().0);
    let place = |place: &Sighting| {
        let first = place.until.iter().min().copied();
        json!({ "copies": place.until.len(), "attested": place.attested, "ends": end(first) })
    };
    let group = |group: &GroupAudit| {
        json!({
            "level": group.level, "group": group.number, "chunks": group.chunks, "looked": group.looked,
            "found": group.found, "needed": group.needed, "spare": group.spare(), "lost": group.is_lost(),
            "wanting": group.wanting.len(), "untold": group.untold, "copies_min": group.copies_min,
            "copies_median": group.copies_median, "first_ends": end(group.first_end), "until": end(group.until),
        })
    };
    let health = match audit.health() {
        Health::Well => "well",
        Health::Untold => "untold",
        Health::Wanting => "wanting",
    };
    Said::default()
        .with("file", audit.name.as_str())
        .with("folder", audit.kind == ContentKind::Folder)
        .with("bytes", audit.len)
        .with("seq", audit.seq)
        .with("attested", audit.attested)
        .with("health", health)
        .with("root", audit.root.iter().map(place).collect::<Value>())
        .with("chunks", audit.chunks)
        .with("looked", audit.looked())
        .with("lost", lost(audit))
        .with("groups", audit.groups.iter().map(group).collect::<Value>())
        .with("readable_until", audit.readable_until().map(|until| until.0))
        .with("counts", counts_json(&audit.counts))
}
