//! `Node`: moves values between machines, has no rules of its own. Time, bytes and randomness in; a list of things to do out.

pub mod io;
pub mod machine;
