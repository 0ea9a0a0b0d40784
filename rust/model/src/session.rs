//! Names for sessions and for the exchanges within them.

use std::fmt;
use std::str::FromStr;

/// A session's id: 48 bits of Unix milliseconds, then 80 random bits, so that ids sort by time.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub [u8; 16]);

/// Crockford's base 32: no letter that is mistaken for a digit.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

impl SessionId {
    /// An id from a time in Unix milliseconds and ten random bytes.
    #[must_use]
    pub fn new(unix_millis: u64, random: [u8; 10]) -> Self {
        let mut bytes = [0; 16];
        bytes[..6].copy_from_slice(&unix_millis.to_be_bytes()[2..]);
        bytes[6..].copy_from_slice(&random);
        Self(bytes)
    }

    /// When the session began, in Unix milliseconds.
    #[must_use]
    pub fn unix_millis(&self) -> u64 {
        self.0[..6].iter().fold(0, |millis, byte| millis << 8 | u64::from(*byte))
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = u128::from_be_bytes(self.0);
        for place in (0..26).rev() {
            let digit = (value >> (place * 5)) & 31;
            write!(f, "{}", char::from(ALPHABET[digit as usize]))?;
        }
        Ok(())
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SessionId({self})")
    }
}

impl FromStr for SessionId {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.len() != 26 {
            return Err("a session id has 26 characters");
        }
        let mut value: u128 = 0;
        for (place, byte) in text.bytes().enumerate() {
            let digit = ALPHABET.iter().position(|known| *known == byte.to_ascii_lowercase());
            let digit = digit.ok_or("a session id has only the digits and letters of Crockford's base 32")?;
            if place == 0 && digit > 7 {
                return Err("a session id begins with a digit from 0 to 7");
            }
            value = value << 5 | digit as u128;
        }
        Ok(Self(value.to_be_bytes()))
    }
}

/// One request and everything that answers it, named within the whole trail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Exchange {
    /// The session.
    pub session: SessionId,
    /// The channel within the session; 0 where the protocol has no channels.
    pub channel: u32,
    /// Counts from 1 within the session.
    pub id: u64,
}

impl fmt::Display for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.session, self.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_survives_its_text() {
        let id = SessionId::new(1_795_000_000_123, [7, 0, 255, 1, 2, 3, 4, 5, 6, 9]);
        assert_eq!(id.to_string().len(), 26);
        assert_eq!(id.to_string().parse::<SessionId>(), Ok(id));
        assert_eq!(id.unix_millis(), 1_795_000_000_123);
    }

    #[test]
    fn text_that_is_no_id_is_refused() {
        for text in ["", "zzzzzzzzzzzzzzzzzzzzzzzzzz", "0123", "0000000000000000000000000!"] {
            assert!(text.parse::<SessionId>().is_err(), "{text}");
        }
    }
}
