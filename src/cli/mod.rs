//! The command line: parse, call, print. Everything it does can be done with the library; exit codes are decided here alone.

mod ask;
mod conform;
mod decode;
mod delete;
mod demo;
mod devnet;
mod doctor;
mod exit;
mod explain;
mod files;
mod fuzz;
mod get;
mod identity;
mod input;
mod keep;
#[doc(hidden)]
pub mod kept_files;
mod keylog;
mod keys;
pub mod local;
mod manual;
mod output;
mod partial;
mod publish;
mod published;
mod relay;
mod resume;
mod settings;
mod settings_list;
mod sim;
mod status;
mod verify;
mod visible;
mod watch;
mod way;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Parser, Subcommand};
use serde_json::{Map, Value, json};

use self::exit::{Exit, counts_of};
use self::settings::{Given, Settings};
use crate::limits::BLOCKING_THREADS_MAX;
use crate::net::Tap;
use crate::request::Counts;

#[derive(Parser)]
#[command(
    name = "bauta",
    version,
    about = "Publish and retrieve content without revealing who asked",
    after_help = "Exit codes: 0 done, 1 failed, 2 usage, 3 not found (attested), 4 unreachable, 5 damaged, 6 conflict, \
                  7 partly stored, 8 privacy floor not met, 89 not offered by the node that was checked, 130 interrupted.",
    max_term_width = 100
)]
struct Arguments {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Command,
}

/// Options of every command, before or behind its name.
#[derive(clap::Args)]
struct Common {
    /// File of settings; without it $XDG_CONFIG_HOME/bauta/config.toml, if it is there.
    #[arg(long, global = true, value_name = "FILE", help_heading = "Everywhere")]
    config: Option<PathBuf>,
    /// State directory: guards, keys, identity.
    #[arg(long, global = true, value_name = "DIR", help_heading = "Everywhere")]
    state: Option<PathBuf>,
    /// One setting, over file and environment; may be given again. `bauta settings` lists them.
    #[arg(long = "set", global = true, value_name = "KEY=VALUE", help_heading = "Everywhere")]
    sets: Vec<String>,
    /// One JSON object on standard output instead of text.
    #[arg(long, global = true, help_heading = "Everywhere")]
    json: bool,
    /// Say who saw what: each hop of each circuit, what it learned, which rules held.
    #[arg(long, global = true, help_heading = "Everywhere")]
    explain: bool,
    /// Append the keys of all links to this file, for looking at the traffic of a test network: whoever has it reads everything.
    /// Refused for any network but one on this machine.
    #[arg(long, global = true, value_name = "FILE", help_heading = "Everywhere")]
    keylog: Option<PathBuf>,
    /// No steps and no bars on standard error; errors and warnings stay.
    #[arg(long, short, global = true, help_heading = "Everywhere")]
    quiet: bool,
}

#[derive(Subcommand)]
enum Command {
    /// Start a whole private network on this machine, publish a file through it, stop some of the nodes that hold it, get it
    /// back with another client, and show who saw what.
    Demo(demo::DemoArguments),
    /// Run a private network on this machine until Ctrl-C, for the commands below.
    Devnet(devnet::DevnetArguments),
    /// Run a relay of a network, or make its file of settings.
    Relay(relay::RelayArguments),
    /// Publish a file; its link is printed.
    Publish(publish::PublishArguments),
    /// Get what a link or a name leads to.
    Get(get::GetArguments),
    /// Ask how many live copies each part of a publication has, and until when. Its content is not fetched, and nothing is changed.
    Verify(verify::VerifyArguments),
    /// Have publications looked after, so that they do not end by themselves; list them, or look after them now.
    Keep(keep::KeepArguments),
    /// Put a file under a name that people can say. Whoever can guess the name can read and replace it.
    Put(publish::PutArguments),
    /// Delete what stands under a key of yours or a name, before its time is over.
    Delete(delete::DeleteArguments),
    /// Print each new version of what a link or a name leads to, asking at random times.
    Watch(watch::WatchArguments),
    /// Keys to publish under: what they sign can be updated.
    Key(keys::KeyArguments),
    /// Say wrong things to one node of yours, from a seed, while an honest client asks it: what it does that it must not is
    /// written as a script that runs again.
    Fuzz(fuzz::FuzzArguments),
    /// What this machine knows: network, guards, keys, a running node. Nothing is sent.
    Status,
    /// Find out what is wrong: state, bootstraps, clock, membership, guard, a whole lookup; each finding says what to do.
    Doctor,
    /// List all settings with the values in force and where those come from.
    Settings,
    /// Run a scenario of the simulator: whole networks in virtual time, or how keys spread over nodes. Nothing is sent.
    Sim(sim::SimArguments),
    /// Check one live node, or whoever dials, against the rules of the specification: by what it does when told right and wrong things.
    Conform(conform::ConformArguments),
    /// Take a message of the protocol apart: each byte, which field it belongs to, and what it says. Nothing is sent.
    Decode(decode::DecodeArguments),
    /// Print completions for a shell.
    Completions(manual::CompletionsArguments),
    /// Write the man pages into a folder.
    Man(manual::ManArguments),
}

impl Command {
    /// Whether there are keys to log.
    const fn opens_links(&self) -> bool {
        match self {
            Self::Demo(_) | Self::Devnet(_) | Self::Publish(_) | Self::Get(_) | Self::Verify(_) | Self::Put(_) => true,
            Self::Delete(_) | Self::Watch(_) | Self::Doctor => true,
            // Its links are those of nodes that do not exist; no log is kept of them.
            Self::Conform(_) | Self::Fuzz(_) => false,
            Self::Relay(arguments) => matches!(arguments.command, relay::RelayCommands::Run { .. }),
            Self::Keep(arguments) => arguments.opens_links(),
            Self::Key(_) | Self::Status | Self::Settings | Self::Sim(_) | Self::Decode(_) => false,
            Self::Completions(_) | Self::Man(_) => false,
        }
    }

    /// Whether it is a relay of `devnet --processes`.
    const fn is_of_devnet(&self) -> bool {
        matches!(self, Self::Relay(relay) if matches!(relay.command, relay::RelayCommands::Run { until_stdin_closes: true }))
    }

    /// Whether it says itself what to do where a node cannot be reached.
    const fn has_own_hints(&self) -> bool {
        matches!(self, Self::Doctor | Self::Conform(_) | Self::Fuzz(_))
    }
}

/// The command was used wrongly.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Usage(String);

/// What every command is told.
struct Told {
    settings: Settings,
    /// Who is told the keys of links.
    tap: Option<Arc<dyn Tap>>,
    json: bool,
    explain: bool,
}

/// What a command has to say at its end: lines for people, or one object.
#[derive(Default)]
struct Said {
    lines: Vec<String>,
    object: Map<String, Value>,
}

impl Said {
    fn line(mut self, line: impl Into<String>) -> Self {
        self.lines.push(line.into());
        self
    }

    fn with(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.object.insert(key.to_owned(), value.into());
        self
    }
}

fn counts_json(counts: &Counts) -> Value {
    let Counts { asked, valid, empty, invalid, timed_out } = counts;
    json!({ "asked": asked, "valid": valid, "empty": empty, "invalid": invalid, "timed_out": timed_out })
}

/// Parses, runs, prints; gives the exit code.
#[must_use]
pub fn main() -> ExitCode {
    let words: Vec<std::ffi::OsString> = std::env::args_os().collect();
    let arguments = match parse(&words) {
        Ok(arguments) => arguments,
        Err(error) => return print_misread(&error, &words),
    };
    output::start(arguments.common.quiet);
    let (json, has_own_hints) = (arguments.common.json, arguments.command.has_own_hints());
    let exit = match run(arguments) {
        Ok(said) => print_said(said, json),
        Err(error) => print_error(&error, json, has_own_hints),
    };
    if exit == Exit::Done && !output::is_complete() {
        output::warn("bauta: standard output could not be written");
        return ExitCode::from(Exit::Failed.code());
    }
    ExitCode::from(exit.code())
}

/// `--set` may stand on both sides of the command: clap keeps one side alone, so they are gathered before.
fn parse(words: &[std::ffi::OsString]) -> Result<Arguments, clap::Error> {
    let mut arguments = Arguments::try_parse_from(words)?;
    // Accepted as they stand, so `--set` is always the option: no other takes a value that begins with a dash.
    let mut words = words.iter().take_while(|word| *word != "--").filter_map(|word| word.to_str());
    arguments.common.sets.clear();
    while let Some(word) = words.next() {
        let value = if word == "--set" { words.next() } else { word.strip_prefix("--set=") };
        arguments.common.sets.extend(value.map(str::to_owned));
    }
    Ok(arguments)
}

/// Of every command that has one.
fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().max_blocking_threads(BLOCKING_THREADS_MAX).enable_all().build()
}

fn run(Arguments { common, command }: Arguments) -> anyhow::Result<Said> {
    let state = common.state.map(|path| ("state", path.display().to_string()));
    let given = Given { config: common.config, sets: common.sets, flags: state.into_iter().collect() };
    // These need no settings, and wrong ones must not keep anybody from reading about them.
    let keylog = common.keylog.as_deref();
    if keylog.is_some() && !command.opens_links() {
        return Err(Usage("--keylog: this command opens no links; there would be no keys in the file".into()).into());
    }
    let command = match command {
        Command::Completions(arguments) => return manual::completions(&arguments),
        Command::Man(arguments) => return manual::pages(&arguments),
        Command::Demo(arguments) => return demo::run(arguments, common.json, keylog::of_own_network(keylog)?),
        Command::Sim(arguments) => return sim::run(arguments, common.json),
        Command::Decode(arguments) => return decode::run(&arguments, common.json),
        command => command,
    };
    let settings = Settings::gather(&given)?;
    // A devnet is one of its own, whatever the settings say of another.
    let tap = match &command {
        Command::Devnet(_) => keylog::of_own_network(keylog)?,
        command => keylog::of(&settings, keylog, command.is_of_devnet())?,
    };
    let told = Told { settings, tap, json: common.json, explain: common.explain };
    let tokio = runtime()?;
    match command {
        Command::Devnet(arguments) => tokio.block_on(devnet::run(&told, arguments, keylog)),
        Command::Relay(relay::RelayArguments { command }) => match command {
            relay::RelayCommands::Run { until_stdin_closes } => tokio.block_on(relay::run(&told, until_stdin_closes)),
            relay::RelayCommands::Store => tokio.block_on(relay::store(&told)),
            relay::RelayCommands::Init { file } => relay::init(&told.settings, file),
        },
        Command::Publish(arguments) => tokio.block_on(publish::publish(&told, arguments)),
        Command::Get(arguments) => tokio.block_on(get::get(&told, arguments)),
        Command::Verify(arguments) => tokio.block_on(verify::verify(&told, arguments)),
        Command::Keep(arguments) => tokio.block_on(keep::keep(&told, arguments)),
        Command::Put(arguments) => tokio.block_on(publish::put(&told, arguments)),
        Command::Delete(arguments) => tokio.block_on(delete::delete(&told, arguments)),
        Command::Watch(arguments) => tokio.block_on(watch::watch(&told, arguments)),
        Command::Key(arguments) => keys::run(&told, arguments),
        Command::Fuzz(arguments) => tokio.block_on(fuzz::fuzz(&told, arguments)),
        Command::Status => tokio.block_on(status::status(&told)),
        Command::Doctor => tokio.block_on(doctor::doctor(&told)),
        Command::Conform(arguments) => tokio.block_on(conform::conform(&told, arguments)),
        Command::Settings => Ok(settings_list::list(&told.settings)),
        Command::Completions(_) | Command::Man(_) | Command::Demo(_) | Command::Sim(_) | Command::Decode(_) => {
            Ok(Said::default())
        }
    }
}

fn print_said(said: Said, json: bool) -> Exit {
    if !json {
        said.lines.iter().for_each(|line| output::print(line));
        return Exit::Done;
    }
    if !said.object.is_empty() {
        let mut object = said.object;
        object.insert("outcome".into(), Exit::Done.name().into());
        object.insert("exit_code".into(), Exit::Done.code().into());
        output::print(&visible::visible_json(&Value::Object(object).to_string()));
    }
    Exit::Done
}

/// Words that are no command, or that ask for help.
fn print_misread(error: &clap::Error, words: &[std::ffi::OsString]) -> ExitCode {
    let _ = error.print();
    // Help and version are asked for; they are no error.
    let exit = if error.use_stderr() { Exit::Usage } else { Exit::Done };
    if exit == Exit::Usage && words.iter().any(|word| word == "--json") {
        print_object(exit, &error.to_string(), Map::new(), None);
    }
    ExitCode::from(exit.code())
}

/// What programs are told of an error.
fn print_object(exit: Exit, error: &str, mut object: Map<String, Value>, counts: Option<Counts>) {
    object.insert("outcome".into(), exit.name().into());
    object.insert("exit_code".into(), exit.code().into());
    object.insert("error".into(), error.into());
    object.entry("counts").or_insert_with(|| counts.as_ref().map(counts_json).into());
    output::print(&visible::visible_json(&Value::Object(object).to_string()));
}

/// One line for people; for programs the same in the object, which then stands alone on standard output all the same.
fn print_error(error: &anyhow::Error, json: bool, has_own_hints: bool) -> Exit {
    let exit = Exit::of(error);
    // What a file or a peer has put into a name must not drive the terminal.
    let shown = visible::visible(&format!("{error:#}"));
    let hint = if exit == Exit::Unreachable && !has_own_hints { "; `bauta doctor` says more" } else { "" };
    output::warn(&format!("bauta: {shown}{hint}"));
    if json {
        let object = error.downcast_ref::<exit::Told>().map(|told| told.object.clone()).unwrap_or_default();
        print_object(exit, &shown, object, counts_of(error));
    }
    exit
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn parsed(words: &[&str]) -> Arguments {
        let words: Vec<_> = std::iter::once("bauta").chain(words.iter().copied()).map(Into::into).collect();
        parse(&words).unwrap_or_else(|error| unreachable!("{error}"))
    }

    #[test]
    fn as_many_threads_wait_for_files_as_may_and_no_more() {
        let (together, now, most) = (Barrier::new(BLOCKING_THREADS_MAX), AtomicUsize::new(0), AtomicUsize::new(0));
        let shared = Arc::new((together, now, most));
        let wait = |shared: Arc<(Barrier, AtomicUsize, AtomicUsize)>| {
            let (together, now, most) = &*shared;
            most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            together.wait();
            now.fetch_sub(1, Ordering::SeqCst);
        };
        let tokio = runtime().unwrap();
        let waiting = (0..8 * BLOCKING_THREADS_MAX).map(|_| Arc::clone(&shared));
        let tasks: Vec<_> = waiting.map(|shared| tokio.spawn_blocking(move || wait(shared))).collect();
        tasks.into_iter().for_each(|task| tokio.block_on(task).unwrap());
        assert_eq!(shared.2.load(Ordering::SeqCst), BLOCKING_THREADS_MAX);
    }

    #[test]
    fn options_of_every_command_stand_before_or_behind_it() {
        for words in [&["--json", "--state", "s", "status"][..], &["status", "--json", "--state", "s"]] {
            let common = parsed(words).common;
            assert!(common.json && common.state == Some(PathBuf::from("s")));
        }
        let sets = parsed(&["--set", "hops=4", "status", "--set=ttl=1d", "--set", "hops=5"]).common.sets;
        assert_eq!(sets, ["hops=4", "ttl=1d", "hops=5"]);
    }

    #[test]
    fn the_arguments_are_consistent() {
        use clap::CommandFactory;
        Arguments::command().debug_assert();
    }
}
