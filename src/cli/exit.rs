//! Exit codes, decided here alone. Source: spec/cli.md §1.

use serde_json::{Map, Value};

use super::files::FileError;
use super::output::print;
use super::settings::SettingsError;
use super::{Said, Usage, demo};
use crate::client::{ClientError, Ending};
use crate::content::{KeyRefused, NameRefused, TargetRefused};
use crate::disk::KeyringError;
use crate::gateway::CallError;
use crate::request::Counts;

/// How a command ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(super) enum Exit {
    Done = 0,
    Failed = 1,
    Usage = 2,
    NotFound = 3,
    Unreachable = 4,
    Damaged = 5,
    Conflict = 6,
    Partly = 7,
    PrivacyFloor = 8,
    NotOffered = 89,
    Interrupted = 130,
}

impl Exit {
    /// The number that the shell sees.
    pub(super) const fn code(self) -> u8 {
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
            Self::NotOffered => 89,
            // As shells have it of a program that Ctrl-C ended.
            Self::Interrupted => 130,
        }
    }

    /// The word in JSON.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Usage => "usage",
            Self::NotFound => "not found",
            Self::Unreachable => "unreachable",
            Self::Damaged => "damaged",
            Self::Conflict => "conflict",
            Self::Partly => "partly stored",
            Self::PrivacyFloor => "privacy floor",
            Self::NotOffered => "not offered",
            Self::Interrupted => "interrupted",
        }
    }

    /// What an ending of the client comes to.
    pub(super) const fn of_ending(ending: Ending) -> Self {
        match ending {
            Ending::Failed => Self::Failed,
            Ending::Usage => Self::Usage,
            Ending::NotFound => Self::NotFound,
            Ending::Unreachable => Self::Unreachable,
            Ending::Damaged => Self::Damaged,
            Ending::Conflict => Self::Conflict,
            Ending::Partly => Self::Partly,
            Ending::PrivacyFloor => Self::PrivacyFloor,
        }
    }

    /// What any error comes to.
    pub(super) fn of(error: &anyhow::Error) -> Self {
        if let Some(told) = error.downcast_ref::<Told>() {
            return told.exit;
        }
        if let Some(error) = error.downcast_ref::<ClientError>() {
            return Self::of_ending(error.ending());
        }
        if let Some(CallError::Refused { ending, .. }) = error.downcast_ref::<CallError>() {
            return Self::of_ending(*ending);
        }
        let is_usage = error.is::<demo::Usage>()
            || error.is::<Usage>()
            || error.is::<SettingsError>()
            || error.is::<TargetRefused>()
            || error.is::<NameRefused>()
            || error.is::<KeyRefused>()
            || error.downcast_ref::<FileError>().is_some_and(FileError::is_usage)
            || matches!(
                error.downcast_ref::<KeyringError>(),
                Some(KeyringError::Name(_) | KeyringError::Missing(_) | KeyringError::Taken(_))
            );
        if is_usage { Self::Usage } else { Self::Failed }
    }
}

/// An end that a command has judged itself.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(super) struct Told {
    exit: Exit,
    message: String,
    /// What else stands in the object of `--json`.
    pub(super) object: Map<String, Value>,
}

impl Told {
    pub(super) fn new(exit: Exit, message: &str) -> Self {
        Self::with(exit, message, Map::new())
    }

    pub(super) fn with(exit: Exit, message: &str, object: Map<String, Value>) -> Self {
        Self { exit, message: message.to_owned(), object }
    }
}

/// The end of a command that has something to say all the same: its lines are printed for people, its object goes with the error.
pub(super) fn fails(json: bool, exit: Exit, message: &str, said: Said) -> anyhow::Error {
    if !json {
        said.lines.iter().for_each(|line| print(line));
    }
    Told::with(exit, message, said.object).into()
}

/// The numbers of an operation that failed, if the error has them.
pub(super) fn counts_of(error: &anyhow::Error) -> Option<Counts> {
    match (error.downcast_ref::<ClientError>(), error.downcast_ref::<CallError>()) {
        (Some(ClientError::Refused(_, counts) | ClientError::Deleted { counts, .. }), _) => Some(*counts),
        (_, Some(CallError::Refused { counts, .. })) => *counts,
        _ => None,
    }
}
