//! `bauta get`: what a link or a name leads to, into a file, a folder or standard output.

use std::io::{BufRead, Read};
use std::path::PathBuf;

use super::exit::Exit;
use super::files::{self, Place};
use super::output::{print_bytes, progress, say, show, warn};
use super::way::{Way, folder};
use super::{Said, Told, Usage, counts_json, explain, published};
use crate::client::{Content, GetOptions};
use crate::content::{ContentLink, Target};
use crate::disk::StateDir;
use crate::limits::TARGET_LINE_LEN_MAX;
use crate::wire::network::Network;

/// What `get` takes.
#[derive(clap::Args)]
pub(super) struct GetArguments {
    /// A link (bauta1…), or a name of at most 64 bytes; `-` reads it from standard input, unseen by others on this machine.
    #[arg(value_name = "LINK|NAME")]
    target: String,
    /// Where it goes: a file, a folder, or `-` for standard output. The published name in the present folder without it.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Replace a file that is there.
    #[arg(long)]
    force: bool,
    /// How many of the root's three locations must answer: one, quorum or all.
    #[arg(long, value_name = "HOW")]
    consistency: Option<String>,
}

/// Runs it.
pub(super) async fn get(told: &Told, arguments: GetArguments) -> anyhow::Result<Said> {
    let place = Place::of(arguments.output.as_deref());
    if told.json && matches!(place, Place::Stdout) {
        return Err(Usage("--json and -o - both want standard output: choose a file for the content".into()).into());
    }
    let target = target_of(&arguments.target)?;
    let mut settings = told.settings.clone();
    if let Some(how) = &arguments.consistency {
        settings.set_flag("consistency", how)?;
    }
    let network = settings.network()?;
    let link = link_of(&network, &target)?;
    place.check(arguments.force)?;
    let told = Told { settings, ..*told };
    let seq_min = own_seq(&told, &network, &link)?;
    let way = Way::open(&told).await?;
    let (consistency, timeout) = (told.settings.consistency, Some(told.settings.timeout));
    let bar = progress("getting");
    let options = GetOptions { consistency, seq_min, timeout };
    let outcome = way.get(&link, options, |step| show(&bar, step)).await;
    bar.finish_and_clear();
    let explained = explain::story(&told, &way);
    way.close().await;
    let content = match outcome {
        Ok(content) => content,
        Err(error) => {
            if matches!(target, Target::Name(_)) && Exit::of(&error) == Exit::NotFound {
                say("this was taken as a name (links begin with bauta1)");
            }
            return Err(explain::tell_failure(&told, error, explained));
        }
    };
    let path = deliver(&place, &content, arguments.force)?;
    if !content.attested {
        warn("freshness is not attested: too few of the nodes that would know signed that nothing newer is there");
    }
    let shown = path.as_ref().map(|path| path.display().to_string());
    if let Some(path) = &shown {
        say(&format!("{path} ({} bytes)", content.bytes.len()));
    }
    explain::tell(&told, &explained);
    let said = explain::attach(Said::default(), explained);
    Ok(said
        .with("file", content.name.as_str())
        .with("bytes", content.bytes.len())
        .with("seq", content.seq)
        .with("attested", content.attested)
        .with("path", shown)
        .with("counts", counts_json(&content.counts)))
}

/// Reads the target; `-` takes it from the first line of standard input, where other users of the machine do not see it.
pub(super) fn target_of(argument: &str) -> anyhow::Result<Target> {
    if argument != "-" {
        return Ok(Target::parse(argument)?);
    }
    let mut line = String::new();
    let cap = u64::try_from(TARGET_LINE_LEN_MAX).unwrap_or(u64::MAX);
    std::io::stdin().lock().take(cap).read_line(&mut line).map_err(|why| Usage(format!("standard input: {why}")))?;
    Ok(Target::parse(line.trim_end_matches(['\r', '\n']))?)
}

/// The link that a target stands for.
pub(super) fn link_of(network: &Network, target: &Target) -> anyhow::Result<ContentLink> {
    match target {
        Target::Link(link) => {
            // Of another network: told before anything is opened.
            link.locator(network).map_err(crate::content::TargetRefused::Link)?;
            Ok(*link.clone())
        }
        Target::Name(name) => {
            let locator =
                name.locator(network).ok_or_else(|| anyhow::anyhow!("the name's key could not be derived"))?;
            Ok(ContentLink::new(network, locator))
        }
    }
}

/// The number that this user last published there, 0 for none: nothing older is taken.
pub(super) fn own_seq(told: &Told, network: &Network, link: &ContentLink) -> anyhow::Result<u64> {
    let state = StateDir::open(folder(&told.settings, network)?)?;
    Ok(published::known(&state, link.locator(network)?)?.stored)
}

/// Writes the content; the path, if it went to a file.
pub(super) fn deliver(place: &Place, content: &Content, force: bool) -> anyhow::Result<Option<PathBuf>> {
    match place.path(&content.name)? {
        None => {
            print_bytes(&content.bytes);
            Ok(None)
        }
        Some(path) => {
            files::write(&path, &content.bytes, force)?;
            Ok(Some(path))
        }
    }
}
