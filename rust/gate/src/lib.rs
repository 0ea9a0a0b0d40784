//! The one ordered path of every request: understand, decide, hold, forward, mask, record, release.
//!
//! A [`Session`] is sans-io: the relay gives it bytes from either side and events, it fills an [`Outbox`] and asks for
//! what only the relay or Python can do. Whatever it puts into `Outbox::client` is already in the trail.

mod session;

pub use session::{Appetite, Ask, Decision, End, Event, HoldRequest, Outbox, Session, Setup};
