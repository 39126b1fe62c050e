//! `bauta demo`: a whole network on this machine, from publishing to who saw what; it checks itself before it says so.

mod exposure;
mod report;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use rand::rngs::ChaCha20Rng;
use rand::{Rng, SeedableRng};
use tokio::io::AsyncReadExt;

use self::exposure::{Did, Exposure};
use super::exit::{Exit, fails};
use super::local::{LOCAL_RELAYS_MAX, LocalNetwork, LocalOptions};
use super::output::{progress, say, show, stopwatch};
use super::{Said, input};
use crate::client::{Client, ClientOptions, Content, GetOptions, PublishOptions, Published};
use crate::content::{ContentKind, ContentLink, FileName};
use crate::crypto::keys::NodeKey;
use crate::limits::{GET_WHOLE_MAX, SIGNERS};
use crate::membership::prefix_rule::PrefixRule;
use crate::net::{Runtime, Tap};
use crate::wire::network::Network;

/// Who is told the keys of links.
type Told = Option<Arc<dyn Tap>>;

/// What is published when no file is given.
const TEXT: &[u8] = include_bytes!("text.txt");
const TEXT_NAME: &str = "bauta.txt";
/// Fewer relays could not keep hops and holders apart once a third has stopped.
const RELAYS_MIN: usize = 12;
const BOOTSTRAPS: usize = 3;
/// Everybody knows everybody within this time, or something is wrong.
const READY_TIMEOUT: Duration = Duration::from_secs(20);

/// What the demo takes.
#[derive(clap::Args)]
pub(super) struct DemoArguments {
    /// The file to publish, at most 64 MiB; a text that comes with the program if none is given.
    file: Option<PathBuf>,
    /// Relays in the network, 12 to 160.
    #[arg(long, default_value_t = 24, value_name = "N")]
    nodes: usize,
    /// The relays' identities follow from this number; who holds, and so who is stopped, does not. Drawn afresh if not given.
    #[arg(long, value_name = "S")]
    seed: Option<u64>,
}

/// The command was used wrongly.
#[derive(Debug, thiserror::Error)]
pub(super) enum Usage {
    /// Too few or too many relays.
    #[error("--nodes takes {RELAYS_MIN} to {LOCAL_RELAYS_MAX}")]
    Nodes,
    /// A folder, or more than is compared in memory.
    #[error("the demo takes one file of at most {GET_WHOLE_MAX} bytes")]
    File,
}

/// What the demo did, for both reports.
struct Story {
    name: FileName,
    len: usize,
    seed: u64,
    rule: PrefixRule,
    ready: Duration,
    published: Published,
    publish_time: Duration,
    stopped: Vec<usize>,
    holders: usize,
    guard_stopped: bool,
    get_time: Duration,
    attested: bool,
    total: Duration,
    checks: Vec<Check>,
    exposure: Exposure,
}

/// One thing that the run itself checked.
struct Check {
    what: &'static str,
    held: bool,
}

/// Runs the demo.
pub(super) fn run(arguments: DemoArguments, json: bool, tap: Told) -> anyhow::Result<Said> {
    let tokio = super::runtime()?;
    let (name, content) = match &arguments.file {
        Some(path) => tokio.block_on(whole(path))?,
        None => (FileName::new(TEXT_NAME)?, TEXT.to_vec()),
    };
    if arguments.nodes < RELAYS_MIN || arguments.nodes > LOCAL_RELAYS_MAX {
        return Err(Usage::Nodes.into());
    }
    let story = tokio.block_on(async {
        tokio::select! {
            story = play(&arguments, (name, content), tap) => story,
            // Leaving in order removes the clients' temporary folder.
            _ = tokio::signal::ctrl_c() => Err(anyhow::anyhow!("interrupted")),
        }
    })?;
    let said = Said { lines: report::lines(&story), object: report::object(&story) };
    let failed: Vec<&str> = story.checks.iter().filter(|check| !check.held).map(|check| check.what).collect();
    if failed.is_empty() {
        return Ok(said);
    }
    Err(fails(json, Exit::Failed, &format!("the run did not hold: {}", failed.join("; ")), said))
}

/// A file that fits in memory: the demo compares what comes back.
async fn whole(path: &std::path::Path) -> anyhow::Result<(FileName, Vec<u8>)> {
    let mut input = input::open(path, None)?;
    if input.kind == ContentKind::Folder || input.len.is_none_or(|len| len > GET_WHOLE_MAX) {
        return Err(Usage::File.into());
    }
    let mut bytes = Vec::new();
    input.bytes.read_to_end(&mut bytes).await?;
    Ok((input.name, bytes))
}

async fn play(arguments: &DemoArguments, (name, content): (FileName, Vec<u8>), tap: Told) -> anyhow::Result<Story> {
    let start = stopwatch();
    let runtime = Runtime::start().context("no runtime")?;
    let seed = arguments.seed.unwrap_or_else(|| runtime.entropy().generator().next_u64());
    let mut rng = ChaCha20Rng::seed_from_u64(seed);
    let states =
        tempfile::Builder::new().prefix("bauta-demo-").tempdir().context("no folder for the clients' state")?;
    let mut network = start_network(&runtime, arguments.nodes, seed, &tap).await?;
    let ready = start.elapsed();
    say(&format!("{} relays know each other ({:.1} s)", arguments.nodes, ready.as_secs_f64()));

    let client = |number: u8| {
        let mut options =
            ClientOptions::new(network.network, network.bootstraps(), states.path().join(format!("client-{number}")));
        (options.rule, options.bind_ip, options.witness) = (network.rule, network.client_ip(number), true);
        options.tap = tap.clone();
        Client::start(&runtime, options)
    };
    let (publisher, getter) = (client(1)?, client(2)?);

    let at = stopwatch();
    let bar = progress("publishing");
    let published = publisher
        .publish(&name, content.clone(), PublishOptions::default(), |step| show(&bar, step))
        .await
        .context("publishing failed")?;
    bar.finish_and_clear();
    let publish_time = at.elapsed();
    say(&format!("published {} bytes ({:.1} s)", content.len(), publish_time.as_secs_f64()));

    // What the publisher did is complete, and it has nothing more to do.
    let publisher_did = Did::of(&publisher);
    publisher.stop();
    let guard = getter.guard().await?;
    let holders = (0..network.relays.len()).filter(|at| network.relays.get(*at).is_some_and(|one| one.values() > 0));
    let holders: Vec<usize> = holders.collect();
    let stopped = choose_stopped(&network, &holders, &getter.guard_sample(), guard, &mut rng);
    let guard_stopped = stopped.iter().any(|at| network.relays.get(*at).is_some_and(|relay| relay.key == guard));
    for at in &stopped {
        network.stop(*at).await;
    }
    say(&format!("stopped {} of the {} relays that hold it", stopped.len(), holders.len()));

    let (got, get_time) = get_back(&getter, &published).await?;

    let is_same = got.bytes == content && got.name == name;
    let exposure = Exposure::gather(&network, vec![publisher_did, Did::of(&getter)]);
    let mut checks = vec![Check { what: "what came back is what was published", held: is_same }];
    checks.extend(exposure.checks(&network));
    let story = Story {
        name,
        len: content.len(),
        seed,
        rule: network.rule,
        ready,
        published,
        publish_time,
        stopped,
        holders: holders.len(),
        guard_stopped,
        get_time,
        attested: got.attested,
        total: start.elapsed(),
        checks,
        exposure,
    };
    Ok(story)
}

/// The second client has nothing but the link.
async fn get_back(getter: &Client, published: &Published) -> anyhow::Result<(Content, Duration)> {
    let at = stopwatch();
    let link: ContentLink = published.link.to_string().parse()?;
    let bar = progress("getting");
    let got = getter.get(&link, GetOptions::default(), |step| show(&bar, step)).await.context("getting failed")?;
    bar.finish_and_clear();
    let get_time = at.elapsed();
    say(&format!("got {} bytes back ({:.1} s)", got.bytes.len(), get_time.as_secs_f64()));
    Ok((got, get_time))
}

async fn start_network(runtime: &Arc<Runtime>, relays: usize, seed: u64, tap: &Told) -> anyhow::Result<LocalNetwork> {
    let network = Network::named(&format!("bauta demo {seed}"), 0);
    let options = LocalOptions {
        bootstraps: BOOTSTRAPS,
        witness: true,
        tap: tap.clone(),
        ..LocalOptions::new(network, relays, seed)
    };
    let mut local = LocalNetwork::start(runtime, &options).await.context("no sockets on loopback")?;
    if local.rule == PrefixRule::RelaxedForOneHost {
        say(
            "this system has only 127.0.0.1: the rule that no two hops share an IPv4 /16 is relaxed (RelaxedForOneHost)",
        );
    }
    let ready = tokio::time::timeout(READY_TIMEOUT, local.ready()).await;
    ready.context("the relays did not find each other in time")?;
    Ok(local)
}

/// A third of the holders, the second client's guard first among them if it is one; never its whole sample, never the last
/// bootstrap.
fn choose_stopped(
    network: &LocalNetwork,
    holders: &[usize],
    sample: &[NodeKey],
    guard: NodeKey,
    rng: &mut ChaCha20Rng,
) -> Vec<usize> {
    let key_of = |at: usize| network.relays.get(at).map(|relay| relay.key);
    let mut order: Vec<(bool, u64, usize)> =
        holders.iter().map(|at| (key_of(*at) != Some(guard), rng.next_u64(), *at)).collect();
    order.sort_unstable();
    let mut stopped: Vec<usize> = Vec::new();
    let wanted = holders.len().div_ceil(3);
    for (_, _, at) in order {
        let is_last_of = |group: &[NodeKey]| {
            let is_left = |key: &NodeKey| stopped.iter().chain([&at]).all(|gone| key_of(*gone) != Some(*key));
            !group.is_empty() && !group.iter().any(is_left)
        };
        let bootstraps: Vec<NodeKey> = (0..BOOTSTRAPS).filter_map(key_of).collect();
        if stopped.len() < wanted && !is_last_of(sample) && !is_last_of(&bootstraps) {
            stopped.push(at);
        }
    }
    debug_assert!(network.relays.len() - stopped.len() >= SIGNERS);
    stopped
}
