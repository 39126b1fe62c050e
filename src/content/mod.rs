//! Files as encrypted chunks under a signed root, and the links that name them. Pure: bytes in, values out; it knows neither
//! files nor circuits. Source: spec/content.md.

mod chunk;
mod key_text;
mod link;
mod name;
mod root;

pub use chunk::{ChunkRefused, PublicationSecret, open_chunk, seal_chunk};
pub use key_text::{AuthorKey, KeyRefused};
pub use link::{ContentLink, LinkRefused};
pub use name::{Name, Target, TargetRefused};
pub use root::{Body, FileName, NameRefused, Root, RootRefused, decode_hashes, encode_hashes};
