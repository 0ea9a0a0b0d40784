//! Reading a message's body from front to back.

use crate::Malformed;

/// A cursor over the body of one message. It never copies, never panics, and never believes a length that the bytes do
/// not back. Numbers are big-endian.
#[derive(Debug, Clone, Copy)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    /// A reader at the start of `bytes`.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// How many bytes have been read.
    #[must_use]
    pub const fn offset(&self) -> usize {
        self.at
    }

    /// How many bytes are left.
    #[must_use]
    pub const fn remaining(&self) -> usize {
        self.bytes.len() - self.at
    }

    /// Whether everything has been read.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.remaining() == 0
    }

    /// The error that says `what` is wrong here.
    #[must_use]
    pub const fn malformed(&self, what: &'static str) -> Malformed {
        Malformed::new(what, self.at)
    }

    fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], Malformed> {
        let found = self.bytes[self.at..].first_chunk::<N>().ok_or(Malformed::new(what, self.at))?;
        self.at += N;
        Ok(*found)
    }

    /// One byte.
    ///
    /// # Errors
    /// The body has ended.
    pub fn u8(&mut self) -> Result<u8, Malformed> {
        self.array::<1>("the message ends where a byte should be").map(|[byte]| byte)
    }

    /// An unsigned 16-bit number.
    ///
    /// # Errors
    /// The body ends within it.
    pub fn u16(&mut self) -> Result<u16, Malformed> {
        self.array("the message ends within a 16-bit number").map(u16::from_be_bytes)
    }

    /// An unsigned 32-bit number.
    ///
    /// # Errors
    /// The body ends within it.
    pub fn u32(&mut self) -> Result<u32, Malformed> {
        self.array("the message ends within a 32-bit number").map(u32::from_be_bytes)
    }

    /// An unsigned 64-bit number.
    ///
    /// # Errors
    /// The body ends within it.
    pub fn u64(&mut self) -> Result<u64, Malformed> {
        self.array("the message ends within a 64-bit number").map(u64::from_be_bytes)
    }

    /// A signed 16-bit number.
    ///
    /// # Errors
    /// The body ends within it.
    pub fn i16(&mut self) -> Result<i16, Malformed> {
        self.array("the message ends within a 16-bit number").map(i16::from_be_bytes)
    }

    /// A signed 32-bit number.
    ///
    /// # Errors
    /// The body ends within it.
    pub fn i32(&mut self) -> Result<i32, Malformed> {
        self.array("the message ends within a 32-bit number").map(i32::from_be_bytes)
    }

    /// The next `count` bytes.
    ///
    /// # Errors
    /// Fewer are left.
    pub fn bytes(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let found = self.bytes[self.at..].get(..count);
        let found = found.ok_or(self.malformed("a length points beyond the end of the message"))?;
        self.at += count;
        Ok(found)
    }

    /// A string that ends with a NUL byte, without that byte.
    ///
    /// # Errors
    /// No NUL byte is left.
    pub fn cstr(&mut self) -> Result<&'a [u8], Malformed> {
        let rest = &self.bytes[self.at..];
        let end = memchr::memchr(0, rest).ok_or(self.malformed("a string has no end"))?;
        self.at += end + 1;
        Ok(&rest[..end])
    }

    /// A value with a signed 32-bit length before it; a length of -1 is a value that is absent.
    ///
    /// # Errors
    /// The length is below -1 or points beyond the end.
    pub fn sized(&mut self) -> Result<Option<&'a [u8]>, Malformed> {
        let start = self.at;
        match self.i32()? {
            -1 => Ok(None),
            length => {
                let length = usize::try_from(length).map_err(|_| Malformed::new("a length is negative", start))?;
                self.bytes(length).map(Some)
            }
        }
    }

    /// An unsigned 16-bit count of items that take at least `least` bytes each, refused when that many cannot be there.
    ///
    /// # Errors
    /// The body ends within the count, or is too short for what it announces.
    pub fn count(&mut self, least: usize) -> Result<usize, Malformed> {
        let start = self.at;
        let count = usize::from(self.u16()?);
        if count.saturating_mul(least) > self.remaining() {
            return Err(Malformed::new("a count announces more than the message holds", start));
        }
        Ok(count)
    }

    /// Everything that is left, which may be nothing.
    pub fn rest(&mut self) -> &'a [u8] {
        let rest = &self.bytes[self.at..];
        self.at = self.bytes.len();
        rest
    }

    /// Checks that nothing is left.
    ///
    /// # Errors
    /// Bytes are left over.
    pub fn end(&self) -> Result<(), Malformed> {
        if self.is_empty() { Ok(()) } else { Err(self.malformed("the message goes on after its last field")) }
    }
}
