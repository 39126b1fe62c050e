//! Links: one Noise handshake, then cells. Pure.

pub mod flow;
