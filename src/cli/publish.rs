//! `bauta publish` and `bauta put`: a file or folder under a key of its own, a kept key, or a name. The link, or nothing, on stdout.

use std::path::PathBuf;

use super::exit::{Exit, Told as Judged};
use super::input::{self, Input};
use super::output::{progress, say, show, warn};
use super::settings::Settings;
use super::way::{Way, folder};
use super::{Said, Told, Usage, ask, counts_json, explain, files, published, resume};
use crate::client::{ClientError, GetOptions, Published, PutOptions, store};
use crate::content::{ContentKind, ContentLink, FileName, Name};
use crate::crypto::keys::IdentitySecret;
use crate::disk::{Keyring, StateDir};
use crate::limits::{CHUNK_HOLDERS, LABEL_LEN_MAX};
use crate::record::Locator;
use crate::request::Consistency;

/// What `publish` takes.
#[derive(clap::Args)]
pub(super) struct PublishArguments {
    /// The file or folder, at most 64 GiB; `-` for standard input.
    file: PathBuf,
    /// Sign with this key of yours, so that the content can be updated under the same link. Without it a key is made for this
    /// once and thrown away.
    #[arg(long, value_name = "NAME")]
    key: Option<String>,
    /// What it is under that key: each label has a link of its own. Readers of the link see the label.
    #[arg(long, value_name = "LABEL", requires = "key")]
    label: Option<String>,
    /// The name under which readers get it, instead of the file's own.
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    #[command(flatten)]
    lifetime: Lifetime,
    /// Begin anew, although an interrupted publication of the same could go on.
    #[arg(long)]
    restart: bool,
}

/// What `put` takes.
#[derive(clap::Args)]
pub(super) struct PutArguments {
    /// A name that people can say, at most 64 bytes.
    name: String,
    /// The file; standard input without it.
    file: Option<PathBuf>,
    #[command(flatten)]
    lifetime: Lifetime,
    /// Begin anew, although an interrupted publication of the same could go on.
    #[arg(long)]
    restart: bool,
}

#[derive(clap::Args)]
struct Lifetime {
    /// How long it is kept, such as 12h or 7d: at most 29d, to the next step of 6h; a day without it. `bauta keep` prolongs it.
    #[arg(long, value_name = "TIME")]
    ttl: Option<String>,
}

impl Lifetime {
    fn apply(&self, settings: &mut Settings) -> anyhow::Result<()> {
        Ok(self.ttl.as_ref().map_or(Ok(()), |ttl| settings.set_flag("ttl", ttl))?)
    }
}

/// What is published, and as whom.
struct Work {
    input: Input,
    author: Option<IdentitySecret>,
    label: Vec<u8>,
    /// What tells this publication from others, so that it can go on; none for what cannot be read twice.
    resume_as: Option<Vec<u8>>,
    restart: bool,
}

/// Runs `publish`.
pub(super) async fn publish(told: &Told, arguments: PublishArguments) -> anyhow::Result<Said> {
    let mut settings = told.settings.clone();
    arguments.lifetime.apply(&mut settings)?;
    let label = label_of(arguments.label)?;
    let author = match &arguments.key {
        Some(name) => Some(ask::secret_of(Keyring::open(&settings.state)?.get(name)?, name)?),
        None => None,
    };
    let input = input::open(&arguments.file, arguments.name.as_deref())?;
    let told = Told { settings, tap: told.tap.clone(), ..*told };
    let is_update_possible = author.is_some();
    let resume_as = resume::name_of(&arguments.file, &[input.name.as_str().as_bytes(), &label]);
    let work = Work { input, author, label, resume_as, restart: arguments.restart };
    let (mut said, published) = carry(&told, work).await?;
    if !is_update_possible {
        say("published under a key that is thrown away: it cannot be updated (--key keeps one)");
    }
    let link = published.link.to_string();
    said = said.line(&link).with("link", link);
    Ok(said)
}

/// Runs `put`.
pub(super) async fn put(told: &Told, arguments: PutArguments) -> anyhow::Result<Said> {
    let mut settings = told.settings.clone();
    arguments.lifetime.apply(&mut settings)?;
    let name = Name::new(&arguments.name)?;
    let network = settings.network()?;
    // Readers who give no place for it get a file of the name, if it can be one.
    let usual = FileName::new(name.as_str()).is_ok();
    let published_as = if usual { name.as_str() } else { "content" };
    let path = arguments.file.unwrap_or_else(|| PathBuf::from("-"));
    let mut input = input::open(&path, Some(published_as))?;
    if path.as_os_str() == "-" {
        input = input::not_empty(input).await?;
    }
    warn(&format!(
        "warning: whoever can guess the name \"{}\" can read this, replace it, and tell at a storer that somebody asks for it",
        name.as_str()
    ));
    let author = name.author(&network).ok_or_else(|| anyhow::anyhow!("the name's key could not be derived"))?;
    let told = Told { settings, tap: told.tap.clone(), ..*told };
    let resume_as = resume::name_of(&path, &[name.as_str().as_bytes()]);
    let work = Work { input, author: Some(author), label: Vec::new(), resume_as, restart: arguments.restart };
    let (said, published) = carry(&told, work).await?;
    say(&format!("put under \"{}\"", name.as_str()));
    Ok(said.with("name", name.as_str()).with("link", published.link.to_string()))
}

/// Publishes, as an update of what is there. However it ends, the network is left in order: what bootstraps told is kept.
async fn carry(told: &Told, work: Work) -> anyhow::Result<(Said, Published)> {
    let way = Way::open(told).await?;
    let outcome = carry_over(told, &way, work).await;
    let explained = explain::story(told, &way);
    way.close().await;
    match outcome {
        Ok((said, published)) => {
            explain::tell(told, &explained);
            Ok((explain::attach(said, explained), published))
        }
        Err(error) => Err(explain::tell_failure(told, error, explained)),
    }
}

async fn carry_over(told: &Told, way: &Way, work: Work) -> anyhow::Result<(Said, Published)> {
    let network = told.settings.network()?;
    let state = StateDir::open(folder(&told.settings, &network)?)?;
    let has_author = work.author.is_some();
    if let Some(author) = &work.author {
        // What cannot be read is told before anything is sent.
        published::known(&state, &Locator::of_author(author, &work.label)?)?;
    }
    let mut journal = resume::Resumed::open(&state, &told.settings, &work.author, work.resume_as, work.restart)?;
    let (name, kind) = (work.input.name.clone(), work.input.kind);
    if journal.stored() > 0 {
        say(&format!("going on: {} batches of chunks are stored already (--restart begins anew)", journal.stored()));
    }
    let bar = progress("publishing");
    let sealing = journal.sealing.clone();
    let step = |step| show(&bar, step);
    let prepared = tokio::select! {
        prepared = store(way, work.input, &sealing, journal.journal(), &step) => prepared.map_err(input_failure),
        _ = tokio::signal::ctrl_c() => {
            let message = "interrupted; the same command goes on where it ended, if it reads a file or folder";
            Err(Judged::new(Exit::Interrupted, message).into())
        }
    };
    bar.finish_and_clear();
    let prepared = match prepared {
        Ok(prepared) => prepared,
        Err(error) => {
            journal.failed();
            return Err(error);
        }
    };
    let locator = Locator::of_author(&sealing.author, &work.label)?;
    let (put, is_update) = root_of(told, way, &state, (&locator, has_author), &journal).await?;
    let published = match prepared.publish(way, &sealing.author, &work.label, put).await {
        Ok(published) => published,
        Err(error) => {
            journal.failed();
            return Err(error.into());
        }
    };
    journal.done();
    if has_author {
        let numbers = published::Numbers { stored: published.seq, sent: published.seq, until: 0 };
        published::remember(&state, &locator, numbers)?;
    }
    Ok((tell(told, (&name, kind), &published, is_update), published))
}

/// How the root is put: what it replaces, and how long it is kept; whether something is there already.
async fn root_of(
    told: &Told,
    way: &Way,
    state: &StateDir,
    (locator, has_author): (&Locator, bool),
    journal: &resume::Resumed,
) -> anyhow::Result<(PutOptions, bool)> {
    let network = told.settings.network()?;
    let link = ContentLink::new(&network, locator.clone());
    let (timeout, mut put) = (Some(told.settings.timeout), PutOptions::default());
    put.lifetime = journal.lifetime(published::present());
    if !has_author {
        if journal.goes_on {
            // An earlier attempt may have left its root at some holders: this one replaces it.
            let get = GetOptions { consistency: Consistency::All, seq_min: 0, timeout };
            put.previous = way.current_seq(&network, &link, get).await.ok().flatten();
        }
        return Ok((put, false));
    }
    // An own number that is newer than what the network shows: somebody serves an old value.
    let known = published::known(state, locator)?;
    let get = GetOptions { consistency: Consistency::Quorum, seq_min: known.stored, timeout };
    let current = way.current_seq(&network, &link, get).await?;
    // Not found at two locations, it may still be at the third: the own number may be replaced there.
    put.previous = current.or((known.stored > 0).then_some(known.stored));
    put.above = known.sent;
    put.lifetime = published::about_to_send(state, locator, put.previous, put.lifetime, published::present())?;
    Ok((put, current.is_some()))
}

/// What the stream said of its own: a file that changed, a disk that fails.
fn input_failure(error: ClientError) -> anyhow::Error {
    match error {
        ClientError::Source(why) => match why.downcast::<files::FileError>() {
            Ok(error) => error.into(),
            Err(why) => ClientError::Source(why).into(),
        },
        error => error.into(),
    }
}

fn tell(told: &Told, (name, kind): (&FileName, ContentKind), published: &Published, is_update: bool) -> Said {
    let len = published.len;

    let roots: Vec<String> = published.root_copies.iter().map(usize::to_string).collect();
    let what = if is_update { "updated" } else { "published" };
    say(&format!(
        "{what} {} ({len} bytes){}, the root at three locations with {} receipts; kept for {} at least",
        name.as_str(),
        if published.chunks == 0 {
            String::new()
        } else {
            format!(": {} chunks with {CHUNK_HOLDERS} receipts each", published.chunks)
        },
        roots.join(" + "),
        super::settings::show_duration(told.settings.ttl),
    ));
    Said::default()
        .with("file", name.as_str())
        .with("folder", kind == ContentKind::Folder)
        .with("bytes", len)
        .with("updated", is_update)
        .with("seq", published.seq)
        .with("chunks", published.chunks)
        .with("chunk_copies", CHUNK_HOLDERS)
        .with("root_copies", published.root_copies.clone())
        .with("ttl_s", told.settings.ttl.as_secs())
        .with("counts", counts_json(&published.counts))
}

/// A label's bytes; none is the empty one.
pub(super) fn label_of(given: Option<String>) -> anyhow::Result<Vec<u8>> {
    let label = given.unwrap_or_default().into_bytes();
    if label.len() > LABEL_LEN_MAX {
        return Err(Usage(format!("a label has at most {LABEL_LEN_MAX} bytes")).into());
    }
    Ok(label)
}

/// The link of an author's label.
pub(super) fn link_of(told: &Told, author: &IdentitySecret, label: &[u8]) -> anyhow::Result<ContentLink> {
    Ok(ContentLink::new(&told.settings.network()?, Locator::of_author(author, label)?))
}
