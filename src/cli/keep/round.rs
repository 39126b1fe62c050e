//! Looking after what is to be kept, one thing at a time: in the foreground, or by a running node at times that tell nothing.
//! Source: spec/content.md §10.

use rand::rngs::ChaCha20Rng;

use super::list::{self, By, Entry, Last};
use crate::cli::exit::Exit;
use crate::cli::settings::Settings;
use crate::cli::watch::pause;
use crate::cli::{ask, published};
use crate::client::{Carrier, Client, Progress, PutOptions, Tended, UpkeepOptions, tend};
use crate::content::{AuthorKey, ContentLink, Name};
use crate::crypto::keys::IdentitySecret;
use crate::disk::{Keyring, StateDir, StateError};
use crate::limits::{HOLDERS, KEEP_EVERY};
use crate::net::{Clock, Entropy};
use crate::request::Sighting;
use crate::time::{Duration, UnixTime};
use crate::wire::network::Network;

/// Held by who looks after something, so that no two do.
const ROLE: &str = "upkeep";

/// What a look has done.
#[derive(Default)]
pub(super) struct Done {
    pub(super) stored: u64,
    pub(super) missing: u64,
    pub(super) renewed: bool,
}

/// Who signs anew what is kept; nobody where the key is sealed and nobody is there to open it.
pub(super) fn author_of(
    settings: &Settings,
    network: &Network,
    entry: &Entry,
    asks: bool,
) -> anyhow::Result<Option<IdentitySecret>> {
    match &entry.by {
        By::Nobody => Ok(None),
        By::Name(name) => Ok(Name::new(name)?.author(network)),
        By::Key(name) => match Keyring::open(&settings.state)?.get(name)? {
            AuthorKey::Open(secret) => Ok(Some(secret)),
            sealed if asks => Ok(Some(ask::secret_of(sealed, name)?)),
            AuthorKey::Sealed(_) => Ok(None),
        },
    }
}

/// Looks after one thing, and notes in the list what became of it; also that its author's key could not be had.
pub(super) async fn look_after<C: Carrier>(
    carrier: &C,
    (state, settings): (&StateDir, &Settings),
    entry: &mut Entry,
    author: anyhow::Result<Option<IdentitySecret>>,
    rng: &mut ChaCha20Rng,
    progress: &(dyn Fn(Progress) + Send + Sync),
) -> anyhow::Result<Done> {
    let _held = state.hold(ROLE).map_err(|error| match error {
        StateError::Held(_) => anyhow::anyhow!("another process looks after what is kept at this moment"),
        error => error.into(),
    })?;
    let outcome = match author {
        Ok(author) => tend_to(carrier, (state, settings), entry, author, rng, progress).await,
        Err(error) => Err(error),
    };
    let now = Clock::unix();
    let done = match outcome {
        Ok((tended, done)) => {
            tended.audit.name.as_str().clone_into(&mut entry.file);
            let until = if done.missing == 0 { tended.until } else { tended.audit.readable_until() };
            entry.looked(now, state_of(&tended, &done), until, rng);
            Ok(done)
        }
        Err(error) => {
            entry.looked(now, Last::Failed(Exit::of(&error).code()), None, rng);
            Err(error)
        }
    };
    list::note(state, entry)?;
    done
}

async fn tend_to<C: Carrier>(
    carrier: &C,
    (state, settings): (&StateDir, &Settings),
    entry: &Entry,
    author: Option<IdentitySecret>,
    rng: &mut ChaCha20Rng,
    progress: &(dyn Fn(Progress) + Send + Sync),
) -> anyhow::Result<(Tended, Done)> {
    let link: ContentLink = entry.link.parse()?;
    let locator = link.locator(carrier.network())?;
    let known = published::known(state, locator)?;
    let extend = author.is_some().then(|| Duration::from_secs(entry.lifetime_s));
    let timeout = Some(settings.timeout);
    let options = UpkeepOptions { now: Clock::unix(), extend, seq_min: known.stored, timeout };
    let mut tended = tend(carrier, &link, options, rng, progress).await?;
    let mut done = Done { stored: tended.stored, missing: tended.missing, renewed: false };
    if let (Some(author), Some((prepared, lifetime))) = (author, tended.renewal.take()) {
        let previous = Some(tended.audit.seq);
        let lifetime = published::about_to_send(state, locator, previous, lifetime, published::present())?;
        let put = PutOptions { previous, above: known.sent, lifetime, timeout };
        let stored = prepared.publish(carrier, &author, locator.label(), put).await?;
        published::remember(state, locator, published::Numbers { stored: stored.seq, sent: stored.seq, until: 0 })?;
        done.renewed = true;
    }
    Ok((tended, done))
}

/// How it is after that.
fn state_of(tended: &Tended, done: &Done) -> Last {
    let untold: usize = tended.audit.groups.iter().map(|group| group.untold).sum();
    let is_told = |place: &Sighting| place.attested || place.until.len() >= HOLDERS;
    if done.missing > 0 || !tended.root_is_whole {
        Last::Wanting
    } else if untold > 0 || !(done.renewed || tended.audit.root.iter().all(is_told)) {
        Last::Untold
    } else {
        Last::Well
    }
}

/// What has been due for longest.
fn next_due(entries: Vec<Entry>, now: UnixTime) -> (Option<Entry>, usize) {
    let due: Vec<Entry> = entries.into_iter().filter(|entry| entry.due <= now.0).collect();
    let count = due.len();
    (due.into_iter().min_by_key(|entry| entry.due), count)
}

/// As long as a node runs: one thing that is due after the other, at Poisson times, through the node's client.
pub(in crate::cli) async fn serve(client: Client, settings: Settings, state: StateDir) -> std::io::Result<()> {
    let mut rng = Entropy::from_system().map_err(std::io::Error::other)?.generator();
    let mut due = 1;
    loop {
        let mean = KEEP_EVERY / u32::try_from(due).unwrap_or(1).max(1);
        let never = std::future::pending::<()>();
        let _ = tokio::time::timeout(pause(mean, &mut rng), never).await;
        due = match look_after_one(&client, (&state, &settings), &mut rng).await {
            Ok(due) => due,
            Err(error) => {
                tracing::warn!(error = format!("{error:#}"), "something that is to be kept could not be looked after");
                1
            }
        };
    }
}

/// The first of what is due; how much more is.
async fn look_after_one(
    client: &Client,
    (state, settings): (&StateDir, &Settings),
    rng: &mut ChaCha20Rng,
) -> anyhow::Result<usize> {
    let (entry, due) = next_due(list::read(state)?, Clock::unix());
    let Some(mut entry) = entry else { return Ok(1) };
    let author = author_of(settings, client.network(), &entry, false);
    look_after(client, (state, settings), &mut entry, author, rng, &|_| ()).await?;
    Ok(due.saturating_sub(1))
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;
    use crate::cli::settings::Given;
    use crate::client::ClientOptions;
    use crate::net::Runtime;
    use crate::record::Locator;

    #[tokio::test]
    async fn what_a_node_cannot_look_after_is_noted_and_does_not_keep_it_from_the_rest() {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("settings.toml");
        let state = home.path().join("state");
        std::fs::write(&file, format!("state = {:?}\n", state.display().to_string())).unwrap();
        let settings = Settings::gather(&Given { config: Some(file), sets: Vec::new(), flags: Vec::new() }).unwrap();
        let (network, state) = (Network::named("kept", 0), StateDir::open(state).unwrap());
        let runtime = Runtime::with_links_max(4).unwrap();
        let options = ClientOptions::new(network, Vec::new(), home.path().join("client"));
        let client = Client::start(&runtime, options).unwrap();
        let locator = |label: &[u8]| Locator::of_author(&IdentitySecret::from_bytes(&[1; 32]), label).unwrap();
        let link = |label: &[u8]| ContentLink::new(&network, locator(label)).to_string();
        let now = Clock::unix();
        let early = UnixTime(now.0 - 9);
        list::add(&state, Entry::new(link(b"one"), By::Key("gone".into()), 86_400, early)).unwrap();
        list::add(&state, Entry::new(link(b"other"), By::Nobody, 86_400, now)).unwrap();
        let mut rng = ChaCha20Rng::seed_from_u64(1);
        // A key that is not there any more; then a network in which nobody is.
        for _ in 0..2 {
            assert!(look_after_one(&client, (&state, &settings), &mut rng).await.is_err());
        }
        let all = list::read(&state).unwrap();
        assert_eq!(all.iter().map(|entry| entry.last).collect::<Vec<_>>(), [Last::Failed(2), Last::Failed(4)]);
        assert!(all.iter().all(|entry| entry.due > now.0 && entry.until == 0));
        assert_eq!(look_after_one(&client, (&state, &settings), &mut rng).await.unwrap(), 1, "nothing is due");
        client.close().await;
    }

    #[test]
    fn what_has_been_due_for_longest_comes_first_and_what_is_not_due_does_not_come() {
        let entry = |due| Entry { due, ..Entry::new(format!("bauta1{due}"), By::Nobody, 1, UnixTime(0)) };
        let entries = || vec![entry(50), entry(20), entry(101), entry(100)];
        let at = |now| {
            let (next, due) = next_due(entries(), UnixTime(now));
            (next.map(|entry| entry.due), due)
        };
        assert_eq!(at(100), (Some(20), 3));
        assert_eq!(at(20), (Some(20), 1));
        assert_eq!(at(19), (None, 0));
    }
}
