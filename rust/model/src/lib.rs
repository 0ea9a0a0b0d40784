//! The nouns that every layer shares: who asks, what is asked of whom, and what went wrong.
//!
//! This crate holds plain values only. It knows no protocol, opens nothing and decides nothing.

mod facts;
mod fault;
mod identity;
mod session;

pub use facts::{Fact, FactKind, FactValue, Facts, Phase};
pub use fault::{Fault, FaultKind, Whose};
pub use identity::{Principal, Target};
pub use session::{Exchange, SessionId};

/// One value of a row as the target sent it: absent, or bytes in the column's text or binary format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cell<'a> {
    /// SQL NULL, or the protocol's equivalent.
    Null,
    /// The value in its text representation.
    Text(&'a [u8]),
    /// The value in its binary representation.
    Binary(&'a [u8]),
}
