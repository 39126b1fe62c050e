//! Files and folders as encrypted chunks under a signed root, and the links that name them. Pure: bytes in, values out; it knows
//! neither files nor circuits. Source: spec/content.md.

mod audit;
mod chunk;
mod fetch;
mod file_name;
mod folder;
mod grouping;
mod key_text;
mod layout;
mod link;
mod name;
mod parity;
mod root;
mod taken;

pub use audit::{Audited, GroupAudit};
pub use chunk::{ChunkAt, ChunkRefused, PublicationSecret, open_chunk, seal_chunk};
pub use fetch::{Fetch, FetchBatch, FetchRefused, Piece};
pub use file_name::{FileName, NameRefused};
pub use folder::{Entry, EntryKind, FolderIndex, FolderRefused, INDEX_HEAD_LEN, check_path};
pub use grouping::{GroupContent, Grouping, SealingRefused};
pub use key_text::{AuthorKey, KeyRefused};
pub use layout::{Group, Layout, Level, TooLong, Wanted, padded, parity_for};
pub use link::{ContentLink, LinkRefused};
pub use name::{Name, Target, TargetRefused};
pub use parity::{ParityRefused, protect, rebuild};
pub use root::{Body, Chunks, ContentKind, Root, RootRefused};
