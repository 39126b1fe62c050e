//! Values that prove themselves: checked when they come in, sealed and opened by who holds the link. Source: spec/values.md.

mod verified;

pub use verified::{RecordRefused, VerifiedValue, record_message};
