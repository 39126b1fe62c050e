//! Looking after what is to be kept, one thing at a time: in the foreground, or by a running node at times that tell nothing.
//! Source: spec/content.md §10.

use rand::rngs::ChaCha20Rng;

use super::list::{self, By, Entry, Last};
use crate::cli::exit::{Exit, Told};
use crate::cli::published::Numbers;
use crate::cli::settings::Settings;
use crate::cli::watch::pause;
use crate::cli::way::does;
use crate::cli::{ask, published};
use crate::client::{Carrier, Client, Extension, GetOptions, Opened, Prepared, Progress, PutOptions, Tended, Upkeep};
use crate::content::{AuthorKey, ContentLink, Name};
use crate::crypto::keys::IdentitySecret;
use crate::disk::{Keyring, KeyringError, StateDir, StateError};
use crate::limits::{HOLDERS, KEEP_EVERY, KEPT_LEN_MAX};
use crate::net::{Clock, Entropy};
use crate::record::Locator;
use crate::request::{Consistency, Sighting};
use crate::time::{Duration, UnixTime};
use crate::wire::network::Network;
use crate::wire::record::Expiry;

/// Held by who looks after something, so that no two do.
const ROLE: &str = "upkeep";

/// What a look has done.
#[derive(Default)]
pub(super) struct Done {
    pub(super) stored: u64,
    pub(super) missing: u64,
    pub(super) renewed: bool,
}

/// Why something is not looked after although it is there.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub(super) enum Declined {
    /// Whoever can update it would decide what this machine moves and signs.
    #[error(
        "something else stands there than what was to be kept, and it was not put there from here: `bauta keep add` again keeps that"
    )]
    Changed,
    /// Over the cap.
    #[error("{0} bytes are more than is looked after of one publication, {KEPT_LEN_MAX}")]
    TooLong(u64),
}

/// Who signs something anew.
pub(super) enum Signer {
    /// Whoever has this key.
    Author(Box<IdentitySecret>),
    /// Nobody here, or nobody who is there to open the key.
    Nobody,
    /// The key is not in the keyring any more: what a reader can do is done.
    KeyGone,
}

/// Who signs anew what is kept; nobody where the key is sealed and nobody is there to open it.
pub(super) async fn signer_of(
    settings: &Settings,
    network: &Network,
    entry: &Entry,
    asks: bool,
) -> anyhow::Result<Signer> {
    let author = |secret| Signer::Author(Box::new(secret));
    let (keys, network, by) = (settings.state.clone(), *network, entry.by.clone());
    aside(move || match by {
        By::Nobody => Ok(Signer::Nobody),
        By::Name(name) => Ok(Name::new(&name)?.author(&network).map_or(Signer::Nobody, author)),
        By::Key(name) => match Keyring::open(&keys)?.get(&name) {
            Ok(AuthorKey::Open(secret)) => Ok(author(secret)),
            Ok(sealed) if asks => Ok(author(ask::secret_of(sealed, &name)?)),
            Ok(AuthorKey::Sealed(_)) => Ok(Signer::Nobody),
            Err(KeyringError::Missing(_)) => Ok(Signer::KeyGone),
            Err(error) => Err(error.into()),
        },
    })
    .await
}

/// What waits for a lock or derives a key does so where nothing else of this process waits for it.
async fn aside<T: Send + 'static>(work: impl FnOnce() -> anyhow::Result<T> + Send + 'static) -> anyhow::Result<T> {
    tokio::task::spawn_blocking(work).await?
}

/// As [`aside`], on the state directory.
async fn on_disk<T: Send + 'static>(
    state: &StateDir,
    work: impl FnOnce(&StateDir) -> Result<T, StateError> + Send + 'static,
) -> anyhow::Result<T> {
    let state = state.clone();
    aside(move || Ok(work(&state)?)).await
}

/// Looks after one thing, and notes in the list what became of it; also that its author's key could not be had. The entry is taken as the
/// list has it by now.
pub(super) async fn look_after<C: Carrier>(
    carrier: &C,
    (state, settings): (&StateDir, &Settings),
    entry: &mut Entry,
    signer: anyhow::Result<Signer>,
    rng: &mut ChaCha20Rng,
    progress: &(dyn Fn(Progress) + Send + Sync),
) -> anyhow::Result<Done> {
    let _held = state.hold(ROLE).map_err(|error| match error {
        StateError::Held(_) => anyhow::anyhow!("another process looks after what is kept at this moment"),
        error => error.into(),
    })?;
    let link = entry.link.clone();
    let current = on_disk(state, move |state| list::find(state, &link)).await?;
    let Some(current) = current.filter(|current| current.by == entry.by) else {
        anyhow::bail!("it was changed or removed meanwhile");
    };
    *entry = current;
    let is_key_gone = matches!(signer, Ok(Signer::KeyGone));
    let outcome = match signer {
        Ok(signer) => tend_to(carrier, (state, settings), entry, signer, rng, progress).await,
        Err(error) => Err(error),
    };
    let now = Clock::unix();
    let done = match outcome {
        Ok((tended, done)) => {
            let last = match state_of(&tended, &done) {
                Last::Well if is_key_gone => Last::KeyGone,
                last => last,
            };
            // What was only said to last counts as it was seen.
            let is_sure = done.missing == 0 && untold(&tended) == 0;
            let until = if is_sure { tended.until } else { tended.audit.readable_until() };
            entry.looked(now, last, until, rng);
            Ok(done)
        }
        Err(error) => {
            let last = match error.downcast_ref::<Declined>() {
                Some(Declined::Changed) => Last::Changed,
                Some(Declined::TooLong(_)) => Last::TooLong,
                None => Last::Failed(Exit::of(&error).code()),
            };
            entry.looked(now, last, None, rng);
            Err(error)
        }
    };
    note(state, entry).await?;
    done
}

async fn note(state: &StateDir, entry: &Entry) -> anyhow::Result<()> {
    let looked = entry.clone();
    on_disk(state, move |state| list::note(state, &looked)).await
}

async fn known_of(state: &StateDir, locator: &Locator) -> anyhow::Result<Numbers> {
    let locator = locator.clone();
    on_disk(state, move |state| published::known(state, &locator)).await
}

async fn tend_to<C: Carrier>(
    carrier: &C,
    (state, settings): (&StateDir, &Settings),
    entry: &mut Entry,
    signer: Signer,
    rng: &mut ChaCha20Rng,
    progress: &(dyn Fn(Progress) + Send + Sync),
) -> anyhow::Result<(Tended, Done)> {
    let link: ContentLink = entry.link.parse()?;
    let locator = link.locator(carrier.network())?;
    let known = known_of(state, locator).await?;
    let upkeep = Upkeep::open(carrier, &link, known.stored, Some(settings.timeout)).await?;
    accept(entry, &upkeep.opened, known)?;
    let stored_for = (entry.stored_for > 0).then(|| Expiry::at_least(UnixTime(entry.stored_for)));
    let by = Duration::from_secs(entry.lifetime_s);
    let extension = matches!(signer, Signer::Author(_)).then_some(Extension { by, stored_for });
    let goal = upkeep.goal(Clock::unix(), extension);
    if let Some(until) = goal.until.filter(|_| goal.renews) {
        // Interrupted, the next turn goes on for the same end.
        entry.stored_for = entry.stored_for.max(until.time().0);
        note(state, entry).await?;
    }
    let mut tended = upkeep.tend(goal, rng, progress).await?;
    let mut done = Done { stored: tended.stored, missing: tended.missing, renewed: false };
    if let (Signer::Author(author), Some(renewal)) = (signer, tended.renewal.take()) {
        let audited = (tended.audit.seq, known);
        renew(carrier, (state, settings), (&author, locator), audited, renewal).await?;
        done.renewed = true;
    }
    Ok((tended, done))
}

/// Whether this is what its user wants kept: what stood there first, or what was published from here since.
fn accept<C: Carrier>(entry: &mut Entry, opened: &Opened<C>, known: Numbers) -> Result<(), Declined> {
    let is_own = known.stored > 0 && known.stored == opened.seq;
    if !is_own && entry.fingerprint.is_some_and(|known| known != opened.fingerprint) {
        return Err(Declined::Changed);
    }
    opened.name().as_str().clone_into(&mut entry.file);
    (entry.fingerprint, entry.len) = (Some(opened.fingerprint), opened.len());
    if opened.len() > KEPT_LEN_MAX { Err(Declined::TooLong(opened.len())) } else { Ok(()) }
}

/// Signs the root anew, hours after it was got: only if it is still what was looked at. An update or a deletion of its own user stays.
async fn renew<C: Carrier>(
    carrier: &C,
    (state, settings): (&StateDir, &Settings),
    (author, locator): (&IdentitySecret, &Locator),
    (seq, known): (u64, Numbers),
    (prepared, until): (Prepared, Expiry),
) -> anyhow::Result<()> {
    let timeout = Some(settings.timeout);
    let get = GetOptions { consistency: Consistency::All, seq_min: known.stored, timeout };
    let found = carrier.get_root(locator, get).await?;
    if found.seq != seq || known_of(state, locator).await? != known {
        return Err(
            Told::new(Exit::Conflict, "conflict: it was updated meanwhile, and is not prolonged as it was").into()
        );
    }
    if !found.attested {
        let message =
            "unreachable: too few nodes signed that nothing newer is there, and what may be old is not prolonged";
        return Err(Told::new(Exit::Unreachable, message).into());
    }
    let now = published::present();
    if until.time() <= now {
        return Err(
            Told::new(Exit::Unreachable, "unreachable: storing its chunks took longer than they were to last").into()
        );
    }
    let (place, wished) = (locator.clone(), until.lifetime_from(now));
    let lifetime = on_disk(state, move |state| published::about_to_send(state, &place, Some(seq), wished, now)).await?;
    let put = PutOptions { previous: Some(seq), above: known.sent, lifetime, timeout };
    let stored = prepared.publish(carrier, author, locator.label(), put).await?;
    let (place, numbers) = (locator.clone(), Numbers { stored: stored.seq, sent: stored.seq, until: 0 });
    on_disk(state, move |state| published::remember(state, &place, numbers)).await
}

fn untold(tended: &Tended) -> usize {
    tended.audit.groups.iter().map(|group| group.untold).sum()
}

/// How it is after that.
fn state_of(tended: &Tended, done: &Done) -> Last {
    let is_told = |place: &Sighting| place.attested || place.until.len() >= HOLDERS;
    if done.missing > 0 || !tended.root_is_whole {
        Last::Wanting
    } else if untold(tended) > 0 || !(done.renewed || tended.audit.root.iter().all(is_told)) {
        Last::Untold
    } else {
        Last::Well
    }
}

/// Of what is due that which ends first; what was never seen before all.
fn next_due(entries: Vec<Entry>, now: UnixTime) -> (Option<Entry>, usize) {
    let due: Vec<Entry> = entries.into_iter().filter(|entry| entry.due <= now.0).collect();
    let count = due.len();
    (due.into_iter().min_by_key(|entry| (entry.until, entry.due)), count)
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
    let entries = on_disk(state, list::read).await?;
    let (entry, due) = next_due(entries, Clock::unix());
    let Some(mut entry) = entry else { return Ok(1) };
    if !entry.paths.by_node || entry.paths.demands.unmet_by(&does(settings)).is_some() {
        entry.last = Last::WeakerPaths;
        entry.put_off(Clock::unix(), rng);
        note(state, &entry).await?;
        return Ok(due.saturating_sub(1));
    }
    let signer = signer_of(settings, client.network(), &entry, false).await;
    look_after(client, (state, settings), &mut entry, signer, rng, &|_| ()).await?;
    Ok(due.saturating_sub(1))
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;
    use crate::cli::keep::list::Paths;
    use crate::cli::settings::Given;
    use crate::client::ClientOptions;
    use crate::client::fixture::{Memory, author};
    use crate::content::{Body, FileName, Layout, Root};
    use crate::crypto::hash::blake3;
    use crate::gateway::Demands;
    use crate::net::Runtime;

    const DEMANDS: Demands = Demands { hops_min: 3, stagger_min_us: 0, distinct: true, bind: None };
    const DAY: u64 = 86_400;

    // [CONT-W-040]
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
        let paths = |demands| Paths { demands, by_node: true };
        let usual = paths(does(&settings));
        let long = paths(Demands { hops_min: settings.hops + 1, ..usual.demands });
        let apart = Paths { by_node: false, ..usual.clone() };
        list::add(&state, Entry::new(link(b"one"), By::Key("gone".into()), 86_400, usual.clone(), early)).unwrap();
        list::add(&state, Entry::new(link(b"other"), By::Nobody, 86_400, usual, now)).unwrap();
        list::add(&state, Entry::new(link(b"third"), By::Nobody, 86_400, long, now)).unwrap();
        list::add(&state, Entry::new(link(b"fourth"), By::Nobody, 86_400, apart, now)).unwrap();
        let mut rng = ChaCha20Rng::seed_from_u64(1);
        // In a network in which nobody is; with a key that is not there any more a reader's part is tried.
        for _ in 0..2 {
            assert!(look_after_one(&client, (&state, &settings), &mut rng).await.is_err());
        }
        // What shall go over longer paths, or without the node, the node does not touch.
        for left in [1, 0] {
            assert_eq!(look_after_one(&client, (&state, &settings), &mut rng).await.unwrap(), left);
        }
        let all = list::read(&state).unwrap();
        let lasts: Vec<Last> = all.iter().map(|entry| entry.last).collect();
        assert_eq!(lasts, [Last::Failed(4), Last::Failed(4), Last::WeakerPaths, Last::WeakerPaths]);
        assert_eq!((all[2].looked, all[3].looked), (0, 0));
        assert!(all.iter().all(|entry| entry.due > now.0 && entry.until == 0));
        assert_eq!(look_after_one(&client, (&state, &settings), &mut rng).await.unwrap(), 1, "nothing is due");
        client.close().await;
    }

    #[test]
    fn of_what_is_due_that_comes_first_which_ends_first_and_what_is_not_due_does_not_come() {
        let paths = Paths { demands: DEMANDS, by_node: true };
        let entry = |due, until| {
            let new = Entry::new(format!("bauta1{due}"), By::Nobody, 1, paths.clone(), UnixTime(0));
            Entry { due, until, ..new }
        };
        let entries = || vec![entry(50, 300), entry(20, 900), entry(101, 200), entry(100, 0)];
        let at = |now| {
            let (next, due) = next_due(entries(), UnixTime(now));
            (next.map(|entry| entry.due), due)
        };
        assert_eq!(at(101), (Some(100), 4), "what was never seen before all");
        assert_eq!(at(99), (Some(50), 2));
        assert_eq!(at(20), (Some(20), 1));
        assert_eq!(at(19), (None, 0));
    }

    struct Kept {
        memory: Memory,
        state: StateDir,
        settings: Settings,
        entry: Entry,
        _home: tempfile::TempDir,
    }

    impl Kept {
        /// Nine chunks that end in a day, to be kept for eight.
        async fn new() -> Self {
            let (memory, link) = Memory::with(9, 4).await;
            let home = tempfile::tempdir().unwrap();
            let file = home.path().join("settings.toml");
            let path = home.path().join("state");
            std::fs::write(&file, format!("state = {:?}\n", path.display().to_string())).unwrap();
            let given = Given { config: Some(file), sets: Vec::new(), flags: Vec::new() };
            let (settings, state) = (Settings::gather(&given).unwrap(), StateDir::open(path).unwrap());
            let paths = Paths { demands: DEMANDS, by_node: true };
            let entry = Entry::new(link.to_string(), By::Key("mine".into()), 8 * DAY, paths, Clock::unix());
            list::add(&state, entry.clone()).unwrap();
            Self { memory, state, settings, entry, _home: home }
        }

        async fn look_after(&mut self) -> anyhow::Result<Done> {
            let (place, mut rng) = ((&self.state, &self.settings), ChaCha20Rng::seed_from_u64(1));
            let signer = Ok(Signer::Author(Box::new(author())));
            look_after(&self.memory, place, &mut self.entry, signer, &mut rng, &|_| ()).await
        }

        fn locator(&self) -> Locator {
            Locator::of_author(&author(), b"kept").unwrap()
        }
    }

    // [CONT-W-039]
    #[tokio::test]
    async fn what_was_updated_or_may_have_been_during_a_turn_is_not_signed_as_it_was_before() {
        let mut kept = Kept::new().await;
        let before = kept.memory.held().seq;
        kept.memory.held().updates = true;
        assert!(kept.look_after().await.is_err());
        assert_eq!((kept.entry.last, kept.memory.held().seq), (Last::Failed(6), before + 1));
        kept.memory.held().unattested = true;
        assert!(kept.look_after().await.is_err());
        assert_eq!((kept.entry.last, kept.memory.held().seq), (Last::Failed(4), before + 1));
        kept.memory.held().unattested = false;
        // Its user has sent something of which nothing is to be seen yet.
        let (author, locator, place) = (author(), kept.locator(), (&kept.state, &kept.settings));
        let known = published::known(&kept.state, &locator).unwrap();
        published::remember(&kept.state, &locator, Numbers { sent: 99, ..known }).unwrap();
        let audited = (before + 1, known);
        let stale = renew(&kept.memory, place, (&author, &locator), audited, prepared(&kept).await).await;
        assert_eq!(Exit::of(&stale.unwrap_err()), Exit::Conflict);
        assert!(kept.look_after().await.unwrap().renewed);
        assert!(kept.memory.held().seq > 99, "above all that was sent");
        assert_eq!(kept.entry.last, Last::Well);
    }

    async fn prepared(kept: &Kept) -> (Prepared, Expiry) {
        let link: ContentLink = kept.entry.link.parse().unwrap();
        let upkeep = Upkeep::open(&kept.memory, &link, 0, None).await.unwrap();
        let extension = Extension { by: Duration::from_secs(8 * DAY), stored_for: None };
        let goal = upkeep.goal(Clock::unix(), Some(extension));
        upkeep.tend(goal, &mut ChaCha20Rng::seed_from_u64(1), &|_| ()).await.unwrap().renewal.unwrap()
    }

    // [CONT-W-037]
    #[tokio::test]
    async fn what_somebody_else_has_changed_is_left_alone_until_its_user_wants_it_and_what_was_changed_from_here_is_not()
     {
        let mut kept = Kept::new().await;
        kept.look_after().await.unwrap();
        let (other, _) = Memory::with(8, 4).await;
        let payload = other.held().payload.clone();
        {
            let mut held = kept.memory.held();
            held.puts.clear();
            held.looks.clear();
            held.chunks.extend(other.held().chunks.clone());
            (held.payload, held.seq) = (payload, held.seq + 1);
        }
        let refused = kept.look_after().await.map(drop).unwrap_err();
        assert!(refused.is::<Declined>(), "{refused}");
        assert_eq!(kept.entry.last, Last::Changed);
        assert!(kept.memory.held().puts.is_empty() && kept.memory.held().looks.is_empty());
        // An update from here is what its user wants.
        let numbers = Numbers { stored: kept.memory.held().seq, sent: 0, until: 0 };
        published::remember(&kept.state, &kept.locator(), numbers).unwrap();
        kept.look_after().await.unwrap();
        assert_eq!(kept.entry.last, Last::Well);
        // Somebody else's is taken once that is said.
        kept.memory.held().seq += 1;
        let mut root = Root::decode(&kept.memory.held().payload).unwrap();
        root.name = FileName::new("another").unwrap();
        kept.memory.held().payload = root.encode().unwrap();
        kept.look_after().await.map(drop).unwrap_err();
        list::add(&kept.state, kept.entry.clone()).unwrap();
        kept.look_after().await.unwrap();
        assert_eq!((kept.entry.last, kept.entry.file.as_str()), (Last::Well, "another"));
    }

    // [CONT-W-037]
    #[tokio::test]
    async fn one_byte_more_than_is_looked_after_is_declined() {
        let mut kept = Kept::new().await;
        let mut root = Root::decode(&kept.memory.held().payload).unwrap();
        for (len, is_declined) in [(KEPT_LEN_MAX, false), (KEPT_LEN_MAX + 1, true)] {
            let Body::Chunks(chunks) = &mut root.body else { panic!("it has chunks") };
            chunks.len = len;
            let top = *Layout::of(len).unwrap().levels().last().unwrap();
            chunks.hashes = (0..top.chunks()).map(|number| blake3(&[&number.to_be_bytes()])).collect();
            kept.memory.held().payload = root.encode().unwrap();
            kept.entry.fingerprint = None;
            let link: ContentLink = kept.entry.link.parse().unwrap();
            let opened = Upkeep::open(&kept.memory, &link, 0, None).await.unwrap().opened;
            let accepted = accept(&mut kept.entry, &opened, Numbers::default());
            assert_eq!(accepted == Err(Declined::TooLong(len)), is_declined, "{accepted:?}");
        }
    }

    #[tokio::test]
    async fn a_turn_that_was_interrupted_goes_on_for_the_same_end_and_stores_what_is_wanting_alone() {
        let mut kept = Kept::new().await;
        let names = kept.memory.names();
        let last: Vec<[u8; 32]> = names.last().copied().into_iter().collect();
        kept.memory.held().refused.extend(last.clone());
        kept.memory.held().updates = true;
        // One batch finds nobody, and then the root was replaced.
        kept.look_after().await.map(drop).unwrap_err();
        let begun = list::read(&kept.state).unwrap()[0].stored_for;
        assert!(begun > Clock::unix().0 + 7 * DAY);
        kept.memory.held().refused.clear();
        kept.memory.held().puts.clear();
        let done = kept.look_after().await.unwrap();
        assert!(done.renewed && done.stored <= 4 && done.missing == 0, "{}", done.stored);
        assert!(kept.memory.held().puts.iter().flatten().any(|name| last.contains(name)));
        assert_eq!((kept.entry.stored_for, kept.entry.until), (begun, begun));
    }
}
