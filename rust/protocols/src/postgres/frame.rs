//! Framing: where a message begins and ends. A tag byte, then a length that counts itself but not the tag.

use model::{Fault, FaultKind, Whose};

/// Bytes of the tag and the length.
pub const HEAD: usize = 5;

/// PostgreSQL itself refuses to build a message of this size or more.
const LARGEST: usize = 1 << 30;

/// The head of one message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// The message's type.
    pub tag: u8,
    /// Bytes of the body, which follows the head.
    pub body: usize,
}

impl Head {
    /// Bytes of the whole message.
    #[must_use]
    pub const fn whole(self) -> usize {
        HEAD + self.body
    }
}

/// Reads the head at the start of `input`; `None` while fewer than [`HEAD`] bytes are there.
///
/// # Errors
/// `whose` sent a length below four or of a GiB and more.
pub fn head(input: &[u8], whose: Whose) -> Result<Option<Head>, Fault> {
    let Some((head, _)) = input.split_first_chunk::<HEAD>() else { return Ok(None) };
    let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
    if !(4..LARGEST).contains(&length) {
        return Err(Fault::protocol(whose, format!("message {} announces {length} bytes", show(head[0]))));
    }
    Ok(Some(Head { tag: head[0], body: length - 4 }))
}

/// The fault for a message that is larger than `limit` allows.
#[must_use]
pub fn oversized(head: Head, limit: usize, whose: Whose) -> Fault {
    let message = format!("message {} has {} bytes; the limit is {limit}", show(head.tag), head.body);
    Fault::new(whose, FaultKind::TooLarge, message)
        .hint("limits.message and limits.statement in the manifest set the limits")
}

/// A tag as a person reads it.
#[must_use]
pub fn show(tag: u8) -> String {
    if tag.is_ascii_graphic() { format!("'{}'", char::from(tag)) } else { format!("0x{tag:02x}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_needs_five_bytes() {
        for cut in 0..HEAD {
            assert_eq!(head(&b"Q\0\0\0\x05"[..cut], Whose::Client), Ok(None));
        }
        let found = head(b"Q\0\0\0\x05\0", Whose::Client).unwrap();
        assert_eq!(found, Some(Head { tag: b'Q', body: 1 }));
    }

    #[test]
    fn impossible_lengths_are_faults() {
        for length in [0u32, 3, 1 << 30, u32::MAX] {
            let mut bytes = vec![b'D'];
            bytes.extend(length.to_be_bytes());
            assert!(head(&bytes, Whose::Target).is_err(), "{length}");
        }
    }
}
