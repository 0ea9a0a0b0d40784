//! The one ordered path of every request: understand, decide, hold, forward, mask, record, release.
//!
//! A [`Session`] is sans-io: the relay gives it bytes from either side and events, it fills an [`Outbox`] and asks for
//! what only the relay or Python can do. Whatever it puts into `Outbox::client` is already in the trail.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod counts;
mod dam;
mod hold;
mod judge;
mod pace;
mod release;
mod rules;
mod session;
#[cfg(test)]
mod tests;
mod watch;

pub use counts::Counts;
pub use judge::explain;
pub use pace::Pace;
pub use rules::{Rules, check, facts};
pub use session::{Appetite, Ask, Decision, End, Event, HoldRequest, Origin, Outbox, Session, Setup};
pub use watch::Observer;
