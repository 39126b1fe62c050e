//! Values that prove themselves: checked when they come in, sealed and opened by who holds the link. Source: spec/values.md.

mod locator;
mod verified;

pub use locator::{INDICES, Locator, Opened, Place, SealRefused};
pub use verified::{RecordRefused, VerifiedValue, record_message};
