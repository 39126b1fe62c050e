//! `bauta get`: what a link or a name leads to, into a file, a folder or standard output.

use std::future::Future;
use std::io::{BufRead, Read};
use std::ops::Range;
use std::path::{Path, PathBuf};

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::exit::{Exit, Told as Judged};
use super::files::{self, Place, is_device};
use super::output::{print_bytes, progress, progress_bytes, say, show, warn};
use super::partial::Partial;
use super::way::{Way, folder};
use super::{Said, Told, Usage, counts_json, explain, published};
use crate::client::{ClientError, GetOptions, Opened, open};
use crate::content::{ContentKind, ContentLink, FolderIndex, FolderRefused, INDEX_HEAD_LEN, Target};
use crate::disk::StateDir;
use crate::limits::{CHUNK_LEN, GET_WHOLE_MAX, TARGET_LINE_LEN_MAX};
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
    /// Replace a file that is there; a folder never is.
    #[arg(long)]
    force: bool,
    /// Only these bytes of a file: `0-99` the first hundred, `1000-` from there to the end.
    #[arg(long, value_name = "FROM-TO")]
    range: Option<String>,
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
    let range = arguments.range.as_deref().map(range_of).transpose()?;
    let target = target_of(&arguments.target)?;
    let mut settings = told.settings.clone();
    if let Some(how) = &arguments.consistency {
        settings.set_flag("consistency", how)?;
    }
    let network = settings.network()?;
    let link = link_of(&network, &target)?;
    place.check(arguments.force)?;
    let told = Told { settings, tap: told.tap.clone(), ..*told };
    let seq_min = own_seq(&told, &network, &link)?;
    let way = Way::open(&told).await?;
    let (consistency, timeout) = (told.settings.consistency, Some(told.settings.timeout));
    let options = GetOptions { consistency, seq_min, timeout };
    let outcome = interruptible(async {
        let opened = open(&way, &link, options).await?;
        let got = fetch(&opened, &place, range.as_ref(), arguments.force).await?;
        Ok((opened, got))
    })
    .await;
    let explained = explain::story(&told, &way);
    way.close().await;
    let (opened, got) = match outcome {
        Ok(outcome) => outcome,
        Err(error) => {
            if matches!(target, Target::Name(_)) && Exit::of(&error) == Exit::NotFound {
                say("this was taken as a name (links begin with bauta1)");
            }
            return Err(explain::tell_failure(&told, error, explained));
        }
    };
    if !opened.attested {
        warn("freshness is not attested: too few of the nodes that would know signed that nothing newer is there");
    }
    if let Some(path) = &got.path {
        say(&format!("{} ({} bytes)", path.display(), got.len));
    }
    explain::tell(&told, &explained);
    let said = explain::attach(Said::default(), explained);
    Ok(said
        .with("file", opened.name().as_str())
        .with("folder", opened.kind() == ContentKind::Folder)
        .with("bytes", got.len)
        .with("bytes_resumed", got.resumed)
        .with("seq", opened.seq)
        .with("attested", opened.attested)
        .with("path", got.path.map(|path| path.display().to_string()))
        .with("counts", counts_json(&opened.counts)))
}

/// Content that has arrived.
pub(super) struct Got {
    /// The path, if it went to a file or folder.
    pub(super) path: Option<PathBuf>,
    /// Bytes of content.
    pub(super) len: u64,
    /// Those among them that an earlier attempt had brought.
    pub(super) resumed: u64,
}

/// Ctrl-C ends it in order: links are closed, and what has come stays.
async fn interruptible<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::select! {
        outcome = work => outcome,
        _ = tokio::signal::ctrl_c() => {
            Err(Judged::new(Exit::Interrupted, "interrupted; the same command goes on where it ended").into())
        }
    }
}

/// Brings the content to its place.
pub(super) async fn fetch(
    opened: &Opened<Way>,
    place: &Place,
    range: Option<&Range<u64>>,
    force: bool,
) -> anyhow::Result<Got> {
    let path = place.path(opened.name())?;
    let path = path.filter(|path| !is_device(path)).ok_or(path_of_stream(place));
    let is_folder = opened.kind() == ContentKind::Folder;
    let path = match (path, range) {
        (Ok(path), None) => path,
        _ if is_folder => {
            let why = "this is a folder: it goes into a folder whole, neither into a stream nor by ranges";
            return Err(Usage(why.into()).into());
        }
        (Ok(path), Some(range)) => return part(opened, range, &path, force).await,
        (Err(device), range) => {
            let range = range.cloned().unwrap_or(0..opened.len());
            let len = stream(opened, &range, device).await?;
            return Ok(Got { path: None, len, resumed: 0 });
        }
    };
    let len = opened.len();
    let index = if is_folder { Some(index_of(opened).await?) } else { None };
    // Nothing is made before the hashes have come: whoever names a length need not have anything.
    let mut download = opened.read(0..len).await?;
    let mut partial = match index {
        Some(index) => Partial::folder(&path, &opened.fingerprint, index)?,
        None => Partial::file(&path, &opened.fingerprint, len, force)?,
    };
    let resumed = partial.resume(&mut download, len).await?;
    if resumed > 0 {
        say(&format!("going on: {resumed} of {len} bytes are here already"));
    }
    let bar = progress("getting");
    show(&bar, download.progress());
    // What an earlier attempt had brought says nothing of the rate.
    bar.reset_eta();
    let outcome = loop {
        match download.next().await {
            Ok(Some(got)) => partial.write(got.offset, &got.bytes)?,
            Ok(None) => break Ok(()),
            Err(error) => break Err(error),
        }
        show(&bar, download.progress());
    };
    bar.finish_and_clear();
    if let Err(error) = outcome {
        say("what has come is kept beside the place; the same command goes on where it ended");
        return Err(error.into());
    }
    let path = partial.finish(force)?;
    Ok(Got { path: Some(path), len, resumed })
}

/// The index of a folder, checked: it decides which files are made. Most stand in the first chunk with their head, which is asked for once.
async fn index_of(opened: &Opened<Way>) -> anyhow::Result<FolderIndex> {
    let damaged = |why: FolderRefused| Judged::new(Exit::Damaged, &why.to_string());
    let first = u64::try_from(CHUNK_LEN).unwrap_or(u64::MAX).min(opened.len());
    let mut bytes = Vec::new();
    opened.reader(0..first).await?.read_to_end(&mut bytes).await.map_err(of_stream)?;
    let head_len = usize::try_from(INDEX_HEAD_LEN).unwrap_or(usize::MAX);
    let (head, _) = bytes.split_at_checked(head_len).ok_or_else(|| damaged(FolderRefused::Malformed))?;
    let end = INDEX_HEAD_LEN + FolderIndex::index_len(head).map_err(damaged)?;
    if end > first {
        opened.reader(first..end).await?.read_to_end(&mut bytes).await.map_err(of_stream)?;
    }
    let index = usize::try_from(end).ok().and_then(|end| bytes.get(head_len..end));
    let index = index.ok_or_else(|| damaged(FolderRefused::Malformed))?;
    Ok(FolderIndex::decode(index, opened.len()).map_err(damaged)?)
}

/// An error of the client comes through a stream as one of the system.
fn of_stream(error: std::io::Error) -> anyhow::Error {
    match error.downcast::<ClientError>() {
        Ok(error) => error.into(),
        Err(error) => error.into(),
    }
}

/// Into standard output, or a device, in order.
async fn stream(opened: &Opened<Way>, range: &Range<u64>, device: Option<PathBuf>) -> anyhow::Result<u64> {
    let mut reader = opened.reader(range.clone()).await?;
    let mut device = match &device {
        Some(path) => Some(tokio::fs::OpenOptions::new().write(true).open(path).await?),
        None => None,
    };
    let bar = progress_bytes("getting", range.end.min(opened.len()).saturating_sub(range.start));
    let (mut buffer, mut len) = (vec![0; CHUNK_LEN], 0);
    loop {
        let read = reader.read(&mut buffer).await.map_err(of_stream)?;
        let bytes = buffer.get(..read).unwrap_or_default();
        if bytes.is_empty() {
            break;
        }
        match &mut device {
            Some(device) => device.write_all(bytes).await?,
            None => print_bytes(bytes),
        }
        len += u64::try_from(read).unwrap_or(0);
        bar.set_position(len);
    }
    if let Some(device) = &mut device {
        device.flush().await?;
    }
    bar.finish_and_clear();
    Ok(len)
}

/// Some bytes of a file, into a file of their own.
async fn part(opened: &Opened<Way>, range: &Range<u64>, path: &Path, force: bool) -> anyhow::Result<Got> {
    let mut bytes = Vec::new();
    let most = GET_WHOLE_MAX;
    if range.end.min(opened.len()).saturating_sub(range.start) > most {
        return Err(Usage(format!("a range into a file has at most {most} bytes; `-o -` takes any")).into());
    }
    let mut reader = opened.reader(range.clone()).await?;
    reader.read_to_end(&mut bytes).await.map_err(of_stream)?;
    files::write(path, &bytes, force)?;
    Ok(Got { path: Some(path.to_owned()), len: u64::try_from(bytes.len()).unwrap_or(0), resumed: 0 })
}

/// What is written to and not replaced: `None` for standard output.
fn path_of_stream(place: &Place) -> Option<PathBuf> {
    match place {
        Place::File(path) => Some(path.clone()),
        Place::Stdout | Place::Folder(_) => None,
    }
}

/// `FROM-TO`, both among them as in HTTP; `FROM-` to the end.
fn range_of(text: &str) -> Result<Range<u64>, Usage> {
    let bad = || Usage(format!("--range {text}: not FROM-TO in bytes, such as 0-99 or 1000-"));
    let (from, to) = text.split_once('-').ok_or_else(bad)?;
    let start: u64 = from.parse().map_err(|_| bad())?;
    let end = match to {
        "" => u64::MAX,
        to => to.parse::<u64>().ok().and_then(|last| last.checked_add(1)).ok_or_else(bad)?,
    };
    if start < end { Ok(start..end) } else { Err(bad()) }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_name_their_last_byte_and_what_is_none_is_refused() {
        let read = |text| range_of(text).map_err(|_| ());
        assert_eq!(read("0-0"), Ok(0..1));
        assert_eq!(read("100-199"), Ok(100..200));
        assert_eq!(read("7-"), Ok(7..u64::MAX));
        for bad in ["", "-", "-5", "5", "9-8", "a-b", "1-2-3", "0-18446744073709551615", "1 -2"] {
            assert_eq!(read(bad), Err(()), "{bad}");
        }
    }
}
