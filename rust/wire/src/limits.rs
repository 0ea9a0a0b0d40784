//! How much of anything is taken from the outside.

use crate::Malformed;

/// No frame is written or believed beyond this, in bytes: one gibibyte, the bound of PostgreSQL's own messages. Lengths
/// that would wrap a 32-bit field are how one message is smuggled inside another.
pub const LONGEST_FRAME: usize = 1 << 30;

/// The bounds a listener sets for what its clients and targets may send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Longest message once a session is open, in bytes of its body.
    pub message_bytes: usize,
    /// Longest message before the client has proved its identity, in bytes of its body.
    pub login_bytes: usize,
    /// Longest text of a statement, in bytes.
    pub statement_bytes: usize,
}

impl Limits {
    /// Refuses a `length` that a frame announces beyond `most`, before anything is allocated for it.
    ///
    /// # Errors
    /// The length is beyond `most` or beyond [`LONGEST_FRAME`].
    pub const fn check(length: usize, most: usize) -> Result<(), Malformed> {
        if length > most || length > LONGEST_FRAME {
            return Err(Malformed::new("the message is longer than the limit", 0));
        }
        Ok(())
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self { message_bytes: 64 << 20, login_bytes: 16 << 10, statement_bytes: 1 << 20 }
    }
}
