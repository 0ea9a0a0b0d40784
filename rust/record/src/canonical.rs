//! The canonical record: what hashes cover and what never changes, however a segment is compressed.
//!
//! Big-endian: length u32 (of what follows it), kind u8, version u8, session 16 bytes, channel u32, exchange u64, time u64
//! (microseconds of Unix time), body.

use model::{Exchange, SessionId};
use wire::{Malformed, Reader};

/// Bytes of a record before its body.
pub(crate) const HEADER_BYTES: usize = 42;
/// Longest body of a record, in bytes. Payload is cut into shorter pieces; evidence beyond this is refused.
pub(crate) const LONGEST_BODY: usize = 8 << 20;
const VERSION: u8 = 1;

/// Which of the two kinds of segment a record belongs to. They are kept apart so that each has its own retention and key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// Who, text, verdict, counts, times, hash of the payload.
    Evidence,
    /// The bytes delivered.
    Payload,
}

impl Kind {
    /// Both kinds, in the order in which they are listed.
    pub const ALL: [Self; 2] = [Self::Evidence, Self::Payload];

    /// The kind's name, as in folders and file names.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Evidence => "evidence",
            Self::Payload => "payload",
        }
    }
}

/// Which way recorded payload went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Direction {
    /// Released to the client, as delivered.
    ToClient,
    /// Forwarded to the target, as sent.
    ToTarget,
}

/// What a record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Content {
    /// The first record of every segment: a JSON object that says which segment this is.
    Header,
    /// A JSON object with the field `evidence`; see [`crate::evidence`].
    Evidence,
    /// Bytes that went one way.
    Payload(Direction),
}

impl Content {
    const fn code(self) -> u8 {
        match self {
            Self::Header => 1,
            Self::Evidence => 2,
            Self::Payload(Direction::ToClient) => 3,
            Self::Payload(Direction::ToTarget) => 4,
        }
    }

    const fn from_code(code: u8) -> Option<Self> {
        match code {
            1 => Some(Self::Header),
            2 => Some(Self::Evidence),
            3 => Some(Self::Payload(Direction::ToClient)),
            4 => Some(Self::Payload(Direction::ToTarget)),
            _ => None,
        }
    }
}

/// The fixed fields of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// What the body is.
    pub content: Content,
    /// The session, channel and exchange the record belongs to; exchange 0 is the session itself.
    pub exchange: Exchange,
    /// When, in microseconds of Unix time. Strictly rising within a session.
    pub time: u64,
}

/// Where in a session a record belongs: a channel and an exchange on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Place {
    /// The channel; 0 where the protocol has none.
    pub channel: u32,
    /// The exchange, from 1; 0 for the session itself.
    pub exchange: u64,
}

impl From<u64> for Place {
    fn from(exchange: u64) -> Self {
        Self { channel: 0, exchange }
    }
}

impl From<Exchange> for Place {
    fn from(exchange: Exchange) -> Self {
        Self { channel: exchange.channel, exchange: exchange.id }
    }
}

/// Appends a record whose body `write` appends; returns where the record starts in `out`.
pub(crate) fn append<E>(
    out: &mut Vec<u8>,
    head: &Head,
    write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
) -> Result<usize, E> {
    let start = out.len();
    out.extend_from_slice(&[0, 0, 0, 0, head.content.code(), VERSION]);
    out.extend_from_slice(&head.exchange.session.0);
    out.extend_from_slice(&head.exchange.channel.to_be_bytes());
    out.extend_from_slice(&head.exchange.id.to_be_bytes());
    out.extend_from_slice(&head.time.to_be_bytes());
    if let Err(error) = write(out) {
        out.truncate(start);
        return Err(error);
    }
    let length = u32::try_from(out.len() - start - 4).unwrap_or(u32::MAX);
    out[start..start + 4].copy_from_slice(&length.to_be_bytes());
    Ok(start)
}

/// Reads the record at the front of `reader`: its head and its body.
pub(crate) fn read<'a>(reader: &mut Reader<'a>) -> Result<(Head, &'a [u8]), Malformed> {
    let start = reader.offset();
    let length = reader.u32()? as usize;
    if length > LONGEST_BODY + HEADER_BYTES {
        return Err(Malformed::new("a record is longer than any of a trail", start));
    }
    let mut record = Reader::new(reader.bytes(length)?);
    let head = head(&mut record).map_err(|inner| Malformed::new(inner.what, start + 4 + inner.offset))?;
    Ok((head, record.rest()))
}

fn head(record: &mut Reader<'_>) -> Result<Head, Malformed> {
    let content = Content::from_code(record.u8()?).ok_or(record.malformed("a record is of an unknown kind"))?;
    if record.u8()? != VERSION {
        return Err(record.malformed("a record is of a later version than this program reads"));
    }
    let session = record.bytes(16)?.first_chunk::<16>().map(|id| SessionId(*id));
    let session = session.ok_or(record.malformed("a record has no session"))?;
    let channel = record.u32()?;
    let id = record.u64()?;
    Ok(Head { content, exchange: Exchange { session, channel, id }, time: record.u64()? })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_record_survives(
            code in 1_u8..5, session in any::<[u8; 16]>(), channel in any::<u32>(), id in any::<u64>(),
            time in any::<u64>(), body in prop::collection::vec(any::<u8>(), 0..300),
        ) {
            let exchange = Exchange { session: SessionId(session), channel, id };
            let head = Head { content: Content::from_code(code).unwrap(), exchange, time };
            let mut out = b"before".to_vec();
            let start = append(&mut out, &head, |out| { out.extend_from_slice(&body); Ok::<_, ()>(()) }).unwrap();
            prop_assert_eq!(start, 6);
            let mut reader = Reader::new(&out[6..]);
            prop_assert_eq!(read(&mut reader).unwrap(), (head, &body[..]));
            prop_assert!(reader.is_empty());
            prop_assert!(read(&mut Reader::new(&out[6..out.len() - 1])).is_err());
        }

        #[test]
        fn hostile_records_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            let _ = read(&mut Reader::new(&bytes));
        }
    }
}
