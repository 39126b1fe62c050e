//! The command's side: finds a running node of the same user, asks it one thing.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::net::UnixStream;
use tokio::time::timeout;

use super::wire::{self, Answer, Demands, How, Opening, Reply, Request, VERSION};
use crate::client::{ClientError, Ending, GetOptions};
use crate::limits::GATEWAY_SILENCE_MAX;
use crate::node::BuiltPath;
use crate::request::Counts;

/// Why a running node did not do it.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// It said why.
    #[error("{message} (told by the running node)")]
    Refused {
        /// How the request ended.
        ending: Ending,
        /// In the node's words.
        message: String,
        /// The numbers of the operation.
        counts: Option<Counts>,
    },
    /// The connection broke.
    #[error("the running node cannot be asked, or went away: {0}")]
    Gone(io::Error),
}

impl From<CallError> for ClientError {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Refused { ending, message, counts } => Self::ByNode { ending, message, counts },
            CallError::Gone(_) => Self::ByNode { ending: Ending::Failed, message: error.to_string(), counts: None },
        }
    }
}

/// A running node that can be asked.
#[derive(Clone, Debug)]
pub struct Caller {
    path: PathBuf,
    demands: Demands,
    /// [`GATEWAY_SILENCE_MAX`], but for tests.
    pub(super) silence_max: Duration,
}

impl Caller {
    /// The node of this user that answers at this socket; `None` when nobody is there.
    ///
    /// # Errors
    /// When somebody may be there and cannot be asked, or is another user: then nothing may go around it unasked.
    pub async fn find(path: &Path, demands: Demands) -> Result<Option<Self>, CallError> {
        match connect(path).await {
            Ok(_) => Ok(Some(Self { path: path.to_owned(), demands, silence_max: GATEWAY_SILENCE_MAX })),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
                Ok(None)
            }
            Err(error) => Err(CallError::Gone(error)),
        }
    }

    /// Asks one thing, and waits for what comes of it.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn ask(&self, request: Request) -> (Result<Answer, CallError>, Vec<BuiltPath>) {
        match self.exchange(request).await {
            Ok((Ok(answer), paths)) => (Ok(answer), paths),
            Ok((Err(failure), paths)) => {
                let counts = failure.counts.map(wire::counts_in);
                (Err(CallError::Refused { ending: failure.ending, message: failure.message, counts }), paths)
            }
            Err(error) => (Err(CallError::Gone(error)), Vec::new()),
        }
    }

    async fn exchange(&self, request: Request) -> io::Result<(Result<Answer, wire::Failure>, Vec<BuiltPath>)> {
        let mut stream = connect(&self.path).await?;
        let opening = Opening { version: VERSION, demands: self.demands, request };
        timeout(self.silence_max, wire::send(&mut stream, &opening)).await??;
        loop {
            match timeout(self.silence_max, wire::receive::<Reply>(&mut stream)).await?? {
                Reply::Alive => (),
                Reply::Done(result, paths) => {
                    return Ok((*result, paths.iter().filter_map(wire::WirePath::read).collect()));
                }
            }
        }
    }
}

/// What another user has put there is told nothing.
async fn connect(path: &Path) -> io::Result<UnixStream> {
    let stream = UnixStream::connect(path).await?;
    let ours = stream.peer_cred()?.uid() == rustix::process::geteuid().as_raw();
    if ours { Ok(stream) } else { Err(io::Error::other("the socket belongs to another user")) }
}

impl From<GetOptions> for How {
    fn from(options: GetOptions) -> Self {
        Self {
            consistency: Self::number(options.consistency),
            seq_min: options.seq_min,
            timeout_us: options.timeout.map(|time| u64::try_from(time.as_micros()).unwrap_or(u64::MAX)),
        }
    }
}
