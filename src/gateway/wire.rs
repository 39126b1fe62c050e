//! Requests and replies between a command and a running node, and how they are framed. Source: spec/gateway.md §2.

use std::io;
use std::net::IpAddr;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use zeroize::Zeroizing;

use crate::client::Ending;
use crate::disk::StoreView;
use crate::limits::GATEWAY_FRAME_LEN_MAX;
use crate::node::{BuiltPath, Carries, WriteTerms};
use crate::request::{Consistency, Counts, Sighting};
use crate::wire::codec::Reader;
use crate::wire::contact::Contact;
use crate::wire::record::Expiry;

/// The version of these shapes; another one is refused.
pub(super) const VERSION: u8 = 5;

/// What a command demands of paths: a node that does less refuses, it never does less silently.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Demands {
    /// Relays in every path, at least.
    pub hops_min: usize,
    /// Time over which circuits are staggered, at least; microseconds.
    pub stagger_min_us: u64,
    /// Whether addresses must keep hops apart.
    pub distinct: bool,
    /// The address from which links must be dialled, if it matters.
    pub bind: Option<IpAddr>,
}

impl Demands {
    /// What somebody who does so much falls short of, in words; `None` when all is met.
    #[must_use]
    pub fn unmet_by(&self, does: &Self) -> Option<String> {
        if does.hops_min < self.hops_min {
            Some(format!("its paths have {} hops, {} were asked for", does.hops_min, self.hops_min))
        } else if does.stagger_min_us < self.stagger_min_us {
            Some("it staggers circuits less than asked for".to_owned())
        } else if self.bind.is_some() && self.bind != does.bind {
            Some("it dials from another address than `bind` says".to_owned())
        } else if self.distinct && !does.distinct {
            Some("it relaxes the rule that keeps hops apart".to_owned())
        } else {
            None
        }
    }
}

/// What a command asks of a node.
#[derive(Serialize, Deserialize)]
pub enum Request {
    /// How the node is.
    Status,
    /// What its relay keeps for others.
    Store,
    /// As [`crate::client::Client::put_record`].
    PutRecord {
        /// Seed of the author's key.
        author: Zeroizing<[u8; 32]>,
        /// Its label.
        label: Vec<u8>,
        /// What it shall say.
        payload: Vec<u8>,
        /// The sequence number that is replaced.
        previous: Option<u64>,
        /// The new one is greater than this.
        above: u64,
        /// Seconds for which it is kept.
        lifetime_s: u64,
    },
    /// As [`crate::client::Client::delete`].
    Delete {
        /// Seed of the author's key.
        author: Zeroizing<[u8; 32]>,
        /// Its label.
        label: Vec<u8>,
        /// The sequence number that is replaced.
        previous: Option<u64>,
        /// The new one is greater than this.
        above: u64,
        /// Seconds for which the deletion is kept, at least.
        lifetime_s: u64,
    },
    /// As [`crate::client::Client::get_record`], of the record that a link leads to.
    GetRecord {
        /// The link, as text.
        link: String,
        /// How it is got.
        how: How,
    },
    /// As [`crate::client::Client::put_again`], of the record that a link leads to.
    PutAgain {
        /// The link, as text.
        link: String,
        /// How it is got.
        how: How,
    },
    /// As [`crate::client::Carrier::get_chunks`].
    GetChunks {
        /// Up to four.
        hashes: Vec<[u8; 32]>,
    },
    /// As [`crate::client::Carrier::put_chunks`].
    PutChunks {
        /// Up to four, sealed.
        chunks: Vec<Vec<u8>>,
        /// When they end, as on the wire.
        expiry: [u8; 3],
    },
    /// As [`crate::client::Carrier::look_chunks`].
    LookChunks {
        /// Up to four.
        hashes: Vec<[u8; 32]>,
    },
    /// As [`crate::client::Client::current_seq`], of the record that a link leads to.
    CurrentSeq {
        /// The link, as text.
        link: String,
        /// How it is got.
        how: How,
    },
}

/// As [`crate::client::GetOptions`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct How {
    /// 0 one, 1 quorum, 2 all, 3 audit.
    pub consistency: u8,
    /// Nothing older is taken.
    pub seq_min: u64,
    /// Microseconds, if other than the node's.
    pub timeout_us: Option<u64>,
}

/// The first frame of a connection.
#[derive(Serialize, Deserialize)]
pub(super) struct Opening {
    pub(super) version: u8,
    pub(super) demands: Demands,
    pub(super) request: Request,
}

/// A frame of the node.
#[derive(Serialize, Deserialize)]
pub(super) enum Reply {
    /// It is at work, and has nothing new to say.
    Alive,
    /// The last frame: what came of it, and the circuits that were built for it.
    Done(Box<Result<Answer, Failure>>, Vec<WirePath>),
}

/// What came of a request.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Answer {
    /// Of [`Request::Status`].
    Status(Status),
    /// Of [`Request::Store`].
    Store(StoreView),
    /// Of [`Request::PutRecord`], [`Request::PutAgain`] and [`Request::Delete`].
    Stored {
        /// Sequence number of what was stored.
        seq: u64,
        /// Receipts at each location.
        copies: Vec<usize>,
        /// What was asked.
        counts: [usize; 5],
    },
    /// Of [`Request::GetRecord`].
    Record {
        /// What it says.
        payload: Vec<u8>,
        /// Its sequence number.
        seq: u64,
        /// Whether its freshness is attested.
        attested: bool,
        /// Its copies at each location.
        seen: Vec<Seen>,
        /// What was asked.
        counts: [usize; 5],
    },
    /// Of [`Request::GetChunks`].
    Chunks(Vec<Option<Vec<u8>>>),
    /// Of [`Request::PutChunks`].
    ChunksStored,
    /// Of [`Request::LookChunks`].
    ChunksSeen(Vec<Seen>),
    /// Of [`Request::CurrentSeq`].
    Seq(Option<u64>),
}

/// As [`Sighting`]: when copies end, as on the wire; whether that is attested.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Seen(Vec<[u8; 3]>, bool);

impl From<Sighting> for Seen {
    fn from(sighting: Sighting) -> Self {
        Self(sighting.until.into_iter().map(Expiry::to_wire).collect(), sighting.attested)
    }
}

impl From<Seen> for Sighting {
    fn from(Seen(until, attested): Seen) -> Self {
        Self { until: until.into_iter().map(Expiry::from_wire).collect(), attested }
    }
}

/// How a node is.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Status {
    /// Its process.
    pub pid: u32,
    /// Seconds since it started.
    pub uptime_s: u64,
    /// The program's version.
    pub version: String,
    /// How its relay is reached, as text.
    pub contact: String,
    /// Relays that its relay knows, itself among them.
    pub relays: usize,
    /// Values that it holds for others.
    pub values: usize,
    /// What it asks of anonymous writes; `None` until its store has said how full it is.
    pub writes: Option<Writes>,
}

/// As [`WriteTerms`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Writes {
    /// Step of the ladder, 0 to 3.
    pub effort: u8,
    /// How full the store is, in thousandths.
    pub full_permille: u64,
    /// Bytes that were taken in this hour.
    pub hour_bytes: u64,
    /// Bytes that are taken in an hour at most, where storage is scarce.
    pub hour_bytes_max: u64,
    /// Whether it is.
    pub scarce: bool,
}

impl From<WriteTerms> for Writes {
    fn from(WriteTerms { effort, full_permille, hour_bytes, hour_bytes_max, is_scarce }: WriteTerms) -> Self {
        Self { effort, full_permille, hour_bytes, hour_bytes_max, scarce: is_scarce }
    }
}

/// Why nothing came of it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Failure {
    pub(super) ending: Ending,
    pub(super) message: String,
    pub(super) counts: Option<[usize; 5]>,
}

/// A circuit: its contacts, 71 bytes each, and what it carried.
#[derive(Serialize, Deserialize)]
pub(super) struct WirePath {
    hops: Vec<Vec<u8>>,
    carries: u8,
    chunks: usize,
}

impl How {
    pub(super) fn consistency(self) -> Option<Consistency> {
        let all = [Consistency::One, Consistency::Quorum, Consistency::All, Consistency::Audit];
        all.into_iter().nth(usize::from(self.consistency))
    }

    pub(super) const fn number(consistency: Consistency) -> u8 {
        match consistency {
            Consistency::One => 0,
            Consistency::Quorum => 1,
            Consistency::All => 2,
            Consistency::Audit => 3,
        }
    }
}

pub(super) const fn counts_out(counts: Counts) -> [usize; 5] {
    [counts.asked, counts.valid, counts.empty, counts.invalid, counts.timed_out]
}

/// Numbers of an operation, as they stand in an [`Answer`].
#[must_use]
pub const fn counts_in([asked, valid, empty, invalid, timed_out]: [usize; 5]) -> Counts {
    Counts { asked, valid, empty, invalid, timed_out }
}

impl From<&BuiltPath> for WirePath {
    fn from(path: &BuiltPath) -> Self {
        let bytes = |hop: &Contact| {
            let mut bytes = Vec::new();
            hop.encode(&mut bytes);
            bytes
        };
        let (carries, chunks) = match path.carries {
            Carries::Find => (0, 0),
            Carries::Put => (1, 0),
            Carries::Fetch(chunks) => (2, chunks),
            Carries::Store(chunks) => (3, chunks),
            Carries::Look(chunks) => (4, chunks),
        };
        Self { hops: path.hops.iter().map(bytes).collect(), carries, chunks }
    }
}

impl WirePath {
    pub(super) fn read(&self) -> Option<BuiltPath> {
        let carries = match self.carries {
            0 => Carries::Find,
            1 => Carries::Put,
            2 => Carries::Fetch(self.chunks),
            3 => Carries::Store(self.chunks),
            4 => Carries::Look(self.chunks),
            _ => return None,
        };
        let hop = |bytes: &Vec<u8>| {
            let mut reader = Reader::new(bytes);
            let hop = Contact::decode(&mut reader).ok()?;
            reader.finish().ok().map(|()| hop)
        };
        let hops: Option<Vec<Contact>> = self.hops.iter().map(hop).collect();
        Some(BuiltPath { operation: 0, hops: hops?, carries })
    }
}

/// Writes one frame: u32 length, postcard.
pub(super) async fn send(to: &mut (impl AsyncWrite + Unpin), value: &impl Serialize) -> io::Result<()> {
    let bytes = Zeroizing::new(postcard::to_allocvec(value).map_err(io::Error::other)?);
    let len = u32::try_from(bytes.len()).ok().filter(|_| bytes.len() <= GATEWAY_FRAME_LEN_MAX);
    let len = len.ok_or_else(|| io::Error::other("too much for one frame"))?;
    to.write_all(&len.to_be_bytes()).await?;
    to.write_all(&bytes).await?;
    to.flush().await
}

/// Reads one frame; nothing is reserved before its length is bounded, and then no more than has come.
pub(super) async fn receive<T: DeserializeOwned>(from: &mut (impl AsyncRead + Unpin)) -> io::Result<T> {
    let len = usize::try_from(from.read_u32().await?).unwrap_or(usize::MAX);
    if len > GATEWAY_FRAME_LEN_MAX {
        return Err(io::Error::other("a frame over its bound"));
    }
    let mut bytes = Zeroizing::new(Vec::new());
    from.take(u64::try_from(len).unwrap_or(u64::MAX)).read_to_end(&mut bytes).await?;
    match postcard::take_from_bytes(&bytes) {
        Ok((value, [])) if bytes.len() == len => Ok(value),
        _ => Err(io::Error::other("a frame that is none")),
    }
}
