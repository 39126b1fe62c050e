//! `bauta watch`: each new version of what a link or a name leads to, asked for at Poisson times, so that they tell nothing.

use std::path::PathBuf;

use rand::rngs::ChaCha20Rng;
use serde_json::json;

use super::exit::Exit;
use super::files::Place;
use super::get::{fetch, link_of, own_seq, target_of};
use super::output::{print, say, warn};
use super::settings::show_duration;
use super::way::Way;
use super::{Said, Told, Usage, counts_json, explain};
use crate::client::{GetOptions, Opened, open};
use crate::content::ContentLink;
use crate::crypto::random_bytes;
use crate::limits::{WATCH_EVERY_MAX, WATCH_EVERY_MIN, WATCH_PAUSE_MEANS_MAX};
use crate::net::Entropy;
use crate::time::Duration;

/// What `watch` takes.
#[derive(clap::Args)]
pub(super) struct WatchArguments {
    /// A link (bauta1…), or a name of at most 64 bytes; `-` reads it from standard input.
    #[arg(value_name = "LINK|NAME")]
    target: String,
    /// Mean time between two questions; each pause is drawn anew.
    #[arg(long, value_name = "TIME", default_value = "1m")]
    every: String,
    /// End after so many versions.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// Write each version into this file, over the one before.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// Runs it, until Ctrl-C or as many versions as asked for.
pub(super) async fn watch(told: &Told, arguments: WatchArguments) -> anyhow::Result<Said> {
    let every = super::settings::duration(&arguments.every, WATCH_EVERY_MIN, WATCH_EVERY_MAX)
        .map_err(|bad| Usage(format!("--every {}: {bad}", arguments.every)))?;
    // Of a folder the publisher would choose the file, and each version replaces one.
    let place = arguments.output.as_deref().map(|path| Place::of(Some(path)));
    if matches!(place, Some(Place::Stdout | Place::Folder(_))) {
        return Err(Usage("watch prints a line for each version; -o names a file for the content".into()).into());
    }
    let network = told.settings.network()?;
    let link = link_of(&network, &target_of(&arguments.target)?)?;
    let mut rng = Entropy::from_system()?.generator();
    let own = own_seq(told, &network, &link)?;
    let way = Way::open(told).await?;
    say(&format!("watching, about every {}; Ctrl-C ends", show_duration(every)));
    let (mut newest, mut versions, mut failed, mut absence) = (None, 0, None, Absence::default());
    loop {
        let (consistency, timeout) = (told.settings.consistency, Some(told.settings.timeout));
        let options = GetOptions { consistency, seq_min: newest.unwrap_or(own), timeout };
        let asked = tokio::select! {
            asked = newer(&way, &link, newest, options) => asked,
            _ = tokio::signal::ctrl_c() => break,
        };
        match asked {
            Ok(Some(content)) => {
                (newest, versions) = (Some(content.seq), versions + 1);
                absence = Absence::default();
                let path = match &place {
                    Some(place) => fetch(&content, place, None, true).await?.path,
                    None => None,
                };
                tell(told, versions, &content, path.as_deref());
                explain::tell(told, &explain::story(told, &way));
            }
            Ok(None) => (),
            // It goes on: the next answer may be another.
            Err(error) => {
                if absence.is_news(Exit::of(&error), &format!("{error:#}")) {
                    warn(&format!("bauta: {error:#}"));
                }
                failed = Some(error);
            }
        }
        if arguments.count.is_some_and(|count| versions >= count) {
            break;
        }
        if tokio::time::timeout(pause(every, &mut rng), tokio::signal::ctrl_c()).await.is_ok() {
            break;
        }
    }
    way.close().await;
    match failed {
        // Not one question was answered: that is no good end.
        Some(error) if versions == 0 => Err(error),
        _ => Ok(Said::default()),
    }
}

/// That there is nothing, or nothing any more: said once, not at each look.
#[derive(Default)]
struct Absence {
    said: Option<String>,
}

impl Absence {
    /// Whether this failure is to be told. Of what is not there another reason is news, the numbers of the operation are not; other
    /// failures are told each time, and change nothing of it.
    fn is_news(&mut self, exit: Exit, message: &str) -> bool {
        if exit != Exit::NotFound {
            return true;
        }
        let reason = message.split(" (").next().map(str::to_owned);
        let is_news = self.said != reason;
        self.said = reason;
        is_news
    }
}

/// The root, if it is another than before. Chunks are moved only when there is a new version, or the guard would see the same burst at
/// each turn.
async fn newer(
    way: &Way,
    link: &ContentLink,
    newest: Option<u64>,
    options: GetOptions,
) -> anyhow::Result<Option<Opened<Way>>> {
    way.forget_trace();
    let is_newer = |seq: u64| newest.is_none_or(|newest| seq > newest);
    Ok(Some(open(way, link, options).await?).filter(|content| is_newer(content.seq)))
}

/// One line for each version; with `--json` one object on each.
fn tell(told: &Told, version: u64, content: &Opened<Way>, path: Option<&std::path::Path>) {
    let path = path.map(|path| path.display().to_string());
    if told.json {
        let object = json!({
            "version": version, "seq": content.seq, "file": content.name().as_str(), "bytes": content.len(),
            "attested": content.attested, "path": path, "counts": counts_json(&content.counts),
        });
        return print(&object.to_string());
    }
    let name = content.name().as_str();
    let at = path.map_or_else(String::new, |path| format!("  {path}"));
    let fresh = if content.attested { "" } else { "  (freshness not attested)" };
    print(&format!("version {version}  {} bytes  {name}{at}{fresh}", content.len()));
}

/// Exponentially distributed: the times of the questions are a Poisson process.
pub(super) fn pause(mean: Duration, rng: &mut ChaCha20Rng) -> Duration {
    // Evenly in (0, 1].
    let drawn = (f64::from(u32::from_be_bytes(random_bytes(rng))) + 1.0) / 4_294_967_296.0;
    mean.mul_f64((-drawn.ln()).min(f64::from(WATCH_PAUSE_MEANS_MAX)))
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;
    use crate::client::ClientError;
    use crate::request::{Counts, Refused};

    #[test]
    fn a_deletion_is_told_once_until_something_changes() {
        let deleted = |asked: usize| ClientError::Deleted { seq: 7, counts: Counts { asked, ..Counts::default() } };
        let absent = || ClientError::Refused(Refused::NotFound, Counts::default());
        let lost = || ClientError::Refused(Refused::Unreachable, Counts::default());
        let mut absence = Absence::default();
        let mut told = |error: ClientError| {
            let error = anyhow::Error::from(error);
            absence.is_news(Exit::of(&error), &format!("{error:#}"))
        };
        let looks = [
            (deleted(2), true),
            (deleted(3), false),
            (lost(), true),
            (lost(), true),
            (deleted(2), false),
            (absent(), true),
            (absent(), false),
            (deleted(2), true),
        ];
        for (error, is_told) in looks {
            let text = error.to_string();
            assert_eq!(told(error), is_told, "{text}");
        }
    }

    #[test]
    fn pauses_are_exponential_with_the_mean_that_was_asked_for_and_end() {
        let (mut rng, mean) = (ChaCha20Rng::seed_from_u64(1), Duration::from_secs(60));
        let drawn: Vec<Duration> = (0..20_000).map(|_| pause(mean, &mut rng)).collect();
        let found = drawn.iter().sum::<Duration>().as_secs_f64() / 20_000.0;
        assert!((58.0..62.0).contains(&found), "{found}");
        // Of an exponential distribution 36.8 % lie above the mean.
        let above = drawn.iter().filter(|pause| **pause > mean).count();
        assert!((7_100..7_620).contains(&above), "{above}");
        assert!(drawn.iter().all(|pause| *pause <= mean * WATCH_PAUSE_MEANS_MAX));
    }
}
