//! Exit codes, decided here alone. Source: spec/cli.md §1.

use serde_json::{Map, Value};

use super::files::FileError;
use super::settings::SettingsError;
use super::way::WayError;
use super::{Usage, demo};
use crate::client::ClientError;
use crate::content::{KeyRefused, NameRefused, TargetRefused};
use crate::disk::KeyringError;
use crate::request::{Counts, Refused};

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
}

impl Exit {
    const ALL: [Self; 9] = [
        Self::Done,
        Self::Failed,
        Self::Usage,
        Self::NotFound,
        Self::Unreachable,
        Self::Damaged,
        Self::Conflict,
        Self::Partly,
        Self::PrivacyFloor,
    ];

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
        }
    }

    /// The way back.
    pub(super) fn of_code(code: u8) -> Self {
        Self::ALL.into_iter().find(|exit| exit.code() == code).unwrap_or(Self::Failed)
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
        }
    }

    /// What an error of the client comes to.
    pub(super) const fn of_client(error: &ClientError) -> Self {
        match error {
            ClientError::Refused(refused, _) => match refused {
                Refused::NotFound => Self::NotFound,
                Refused::Unreachable => Self::Unreachable,
                Refused::Damaged | Refused::Older { .. } => Self::Damaged,
                Refused::Conflict { .. } => Self::Conflict,
                Refused::Partly { .. } => Self::Partly,
                Refused::PrivacyFloor(_) | Refused::GuardsGone => Self::PrivacyFloor,
            },
            ClientError::Root(_) | ClientError::Chunk(_) | ClientError::Unreadable => Self::Damaged,
            ClientError::Seal(_)
            | ClientError::Name(_)
            | ClientError::Link(_)
            | ClientError::Hops(_)
            | ClientError::Stagger(_) => Self::Usage,
            ClientError::State(_) | ClientError::Stopped => Self::Failed,
        }
    }

    /// What any error comes to.
    pub(super) fn of(error: &anyhow::Error) -> Self {
        if let Some(told) = error.downcast_ref::<Told>() {
            return told.exit;
        }
        if let Some(error) = error.downcast_ref::<ClientError>() {
            return Self::of_client(error);
        }
        if let Some(WayError::Node { exit, .. }) = error.downcast_ref::<WayError>() {
            return *exit;
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
    message: &'static str,
    /// What else stands in the object of `--json`.
    pub(super) object: Map<String, Value>,
}

impl Told {
    pub(super) fn new(exit: Exit, message: &'static str) -> Self {
        Self::with(exit, message, Map::new())
    }

    pub(super) const fn with(exit: Exit, message: &'static str, object: Map<String, Value>) -> Self {
        Self { exit, message, object }
    }
}

/// The numbers of an operation that failed, if the error has them.
pub(super) fn counts_of(error: &anyhow::Error) -> Option<Counts> {
    match (error.downcast_ref::<ClientError>(), error.downcast_ref::<WayError>()) {
        (Some(ClientError::Refused(_, counts)), _) => Some(*counts),
        (_, Some(WayError::Node { counts, .. })) => *counts,
        _ => None,
    }
}
