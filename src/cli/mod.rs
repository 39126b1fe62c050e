//! The command line: parse, call, print. Everything it does can be done with the library; exit codes are decided here alone.

mod demo;
pub mod local;
mod output;
#[allow(dead_code)]
mod settings;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::client::ClientError;
use crate::request::Refused;

#[derive(Parser)]
#[command(
    name = "bauta",
    version,
    about = "Publish and retrieve content without revealing who asked",
    max_term_width = 100
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Start a whole private network on this machine, publish a file through it, stop some of the nodes that hold it, get it
    /// back with another client, and show who saw what.
    Demo(demo::DemoArguments),
}

/// Exit codes, the same for every command (spec/cli.md §1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
enum Exit {
    Done = 0,
    Failed = 1,
    Usage = 2,
    NotFound = 3,
    Unreachable = 4,
    Damaged = 5,
    Conflict = 6,
    Partly = 7,
    PrivacyFloor = 8,
}

impl Exit {
    const fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::NotFound => 3,
            Self::Unreachable => 4,
            Self::Damaged => 5,
            Self::Conflict => 6,
            Self::Partly => 7,
            Self::PrivacyFloor => 8,
        }
    }

    fn of(error: &anyhow::Error) -> Self {
        match error.downcast_ref::<ClientError>() {
            Some(ClientError::Refused(refused, _)) => match refused {
                Refused::NotFound => Self::NotFound,
                Refused::Unreachable => Self::Unreachable,
                Refused::Damaged | Refused::Older { .. } => Self::Damaged,
                Refused::Conflict { .. } => Self::Conflict,
                Refused::Partly { .. } => Self::Partly,
                Refused::PrivacyFloor(_) | Refused::GuardsGone => Self::PrivacyFloor,
            },
            Some(ClientError::Root(_) | ClientError::Chunk(_) | ClientError::Unreadable) => Self::Damaged,
            Some(
                ClientError::Seal(_)
                | ClientError::Name(_)
                | ClientError::Link(_)
                | ClientError::Hops(_)
                | ClientError::Stagger(_),
            ) => Self::Usage,
            Some(ClientError::State(_) | ClientError::Stopped) | None => {
                if error.is::<demo::Usage>() {
                    Self::Usage
                } else {
                    Self::Failed
                }
            }
        }
    }
}

/// Parses, runs, prints; gives the exit code.
#[must_use]
pub fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help and version are asked for; they are no error.
            let exit = if error.use_stderr() { Exit::Usage } else { Exit::Done };
            let _ = error.print();
            return ExitCode::from(exit.code());
        }
    };
    output::start_logging();
    let result = match arguments.command {
        Command::Demo(demo) => demo::run(demo),
    };
    match result {
        Ok(()) if !output::is_complete() => {
            output::say("bauta: standard output could not be written");
            ExitCode::from(Exit::Failed.code())
        }
        Ok(()) => ExitCode::from(Exit::Done.code()),
        Err(error) => {
            output::say(&format!("bauta: {error:#}"));
            ExitCode::from(Exit::of(&error).code())
        }
    }
}
