//! The one error of this crate.

use std::fmt;

use model::{Fault, Whose};

/// Bytes that break their format: what was expected, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed {
    /// What is wrong, as the end of a sentence: "the message ends within a 16-bit number".
    pub what: &'static str,
    /// Offset in bytes from the start of the message's body.
    pub offset: usize,
}

impl Malformed {
    /// `what` is wrong at `offset` bytes from the start of the message's body.
    #[must_use]
    pub const fn new(what: &'static str, offset: usize) -> Self {
        Self { what, offset }
    }

    /// The fault that ends the session: `whose` bytes these were, and in which `message`.
    #[must_use]
    pub fn fault(self, whose: Whose, message: &str) -> Fault {
        Fault::protocol(whose, format!("malformed {message} message: {self}"))
    }
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (at byte {})", self.what, self.offset)
    }
}

impl std::error::Error for Malformed {}
