//! `bauta conform --listen`: relays of a network of its own, and the settings that lead a client or relay to them.

use super::table::{self, Progress};
use super::{ConformArguments, address};
use crate::cli::exit::{Exit, Told as Judged};
use crate::cli::fuzz::minutes;
use crate::cli::output::{say, warn};
use crate::cli::{Said, Told, files};
use crate::conform::Finding;
use crate::conform::listen::{PLAYS, SIGHTS, Stage, listen};
use crate::limits::CONFORM_MINUTES_MAX;
use crate::net::Entropy;
use crate::wire::hex;

/// Listens, and tells what came of it.
pub(super) async fn run(told: &Told, given: &str, arguments: &ConformArguments) -> anyhow::Result<Said> {
    let why = "whoever dials is told wrong things on purpose, so say --i-own-this-host if that is meant";
    let address = address("--listen", given, arguments.i_own_this_host, why)?;
    let time = minutes(&arguments.minutes, CONFORM_MINUTES_MAX)?;
    if let Some(path) = &arguments.settings {
        files::check_new(path)?;
    }
    let mut rng = Entropy::from_system()?.generator();
    let stage = Stage::open(address, &mut rng).await.map_err(|why| {
        let why = format!(
            "--listen {}: cannot listen there, or on a loopback network beside it: {why}",
            given.escape_debug()
        );
        Judged::new(Exit::Failed, &why)
    })?;
    let settings = settings_for(&stage);
    if let Some(path) = &arguments.settings {
        files::write(path, settings.as_bytes(), false)?;
        say(&format!("point the client or relay at this network: --config {}", path.display()));
    }
    settings.lines().for_each(warn);
    say(
        "have it get and publish something again and again; what it is told is wrong on purpose, so it will not succeed",
    );
    say("LINK-W-030 shows on a link that rests for half a minute: of a client that runs on, not of commands that end");
    let rules = &arguments.only;
    let of = |of: &[&str]| rules.is_empty() || of.iter().any(|rule| rules.iter().any(|one| one == rule));
    let plays = PLAYS.iter().filter(|one| of(one.rules)).count();
    let mut progress = Progress::of(plays + SIGHTS.iter().filter(|one| of(one.rules)).count());
    let stop = async {
        // An error says that there is no such signal here: then its time ends it.
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    let mut tell = |finding: &Finding| progress.say(finding);
    let found = listen(stage, rules, time, stop, &mut rng, &mut tell).await.ok_or_else(|| {
        let why = "nobody came: point a client or relay at these settings, and run it meanwhile";
        Judged::new(Exit::Unreachable, why)
    })?;
    table::judge(told, !rules.is_empty(), false, &found)
}

/// The lines of a settings file.
fn settings_for(stage: &Stage) -> String {
    let nodes: Vec<String> = stage.entrances().iter().map(|one| format!("    \"{one}\",\n")).collect();
    format!(
        "# Written by `bauta conform --listen`: relays that are wrong on purpose, until that command ends.\nnetwork = \"{}\"\ndifficulty = 0\n\
         bootstraps = [\n{}]\n# Of nobody else: what it holds of this network is of no use in another.\nstate = \"checked\"\n",
        hex::encode(&stage.network().id),
        nodes.concat(),
    )
}
