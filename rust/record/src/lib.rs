//! The trail: append before release.
//!
//! What a client received is a prefix of what the trail holds. A session writes through its [`SessionTrail`]; when a write
//! returns, the kernel has the bytes, and [`Trail::durable`] says whether the disk has them too. Nothing is released
//! before that, so the cost of a record is part of every answer: a small record is one hash, one hand-made frame and one
//! copy into the page cache, without a compressor, a call to the kernel or an allocation that lasts.
//!
//! The store holds two kinds of append-only segments, *evidence* and *payload*, each a sequence of zstd frames with
//! checksums. Hashes cover the canonical records inside, so a sealed segment may be compressed again without touching
//! its seal. Whoever cannot write the trail may not release: every failure is a fault, and is told until it is over.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod canonical;
mod chain;
mod clock;
pub mod compact;
pub mod evidence;
mod flush;
mod frame;
pub mod read;
mod recover;
mod scan;
mod scratch;
mod segment;
mod session;
mod spool;
mod summary;
mod trail;
mod verify;
mod window;
mod xxh64;

pub use canonical::{Content, Direction, Kind, Place};
pub use flush::Position;
pub use recover::{Recovery, Torn};
pub use segment::SegmentName;
pub use session::{Batch, Digest, Results, SessionTrail};
pub use spool::{Refused, Spool, SpoolSpace};
pub use trail::{Counts, Durability, Trail, TrailSettings};

#[cfg(test)]
mod fault_tests;
#[cfg(test)]
mod tests;
