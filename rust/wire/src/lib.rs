//! Bytes in and out without trust: a checked reader, a writer that patches its own lengths, and the limits both obey.
//!
//! Decoders answer in three ways only: a message, need more, or malformed. This crate gives them the last of these: every
//! read is checked against the bytes that are there, and nothing is allocated from a length that somebody announced.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod limits;
mod malformed;
mod reader;
mod writer;

pub use limits::{LONGEST_FRAME, Limits};
pub use malformed::Malformed;
pub use reader::Reader;
pub use writer::Writer;

#[cfg(test)]
mod tests;
