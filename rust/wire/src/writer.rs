//! Writing messages whose lengths are known only once they are written.

use bytes::{BufMut, BytesMut};

use crate::{LONGEST_FRAME, Malformed};

/// What a growing buffer needs beyond `bytes::BufMut`. Whatever fails leaves the buffer as it was.
pub trait Writer {
    /// Appends `text` and the NUL byte that ends it.
    ///
    /// # Errors
    /// The text has a NUL byte within, which would let it end early.
    fn put_cstr(&mut self, text: &[u8]) -> Result<(), Malformed>;

    /// Appends a value with a signed 32-bit length before it; `None` is written as the length -1.
    ///
    /// # Errors
    /// The value is longer than [`LONGEST_FRAME`].
    fn put_sized(&mut self, value: Option<&[u8]>) -> Result<(), Malformed>;

    /// Appends a message: `tag`, a 32-bit length that counts itself and the body, and the body that `body` writes.
    ///
    /// # Errors
    /// `body` failed, or wrote more than [`LONGEST_FRAME`].
    fn framed(&mut self, tag: u8, body: impl FnOnce(&mut BytesMut) -> Result<(), Malformed>) -> Result<(), Malformed>;

    /// Like [`Writer::framed`], but without a tag, as in the first message of a connection.
    ///
    /// # Errors
    /// `body` failed, or wrote more than [`LONGEST_FRAME`].
    fn framed_untagged(&mut self, body: impl FnOnce(&mut BytesMut) -> Result<(), Malformed>) -> Result<(), Malformed>;
}

impl Writer for BytesMut {
    fn put_cstr(&mut self, text: &[u8]) -> Result<(), Malformed> {
        if let Some(offset) = memchr::memchr(0, text) {
            return Err(Malformed::new("a string has a NUL byte within", offset));
        }
        self.put_slice(text);
        self.put_u8(0);
        Ok(())
    }

    fn put_sized(&mut self, value: Option<&[u8]>) -> Result<(), Malformed> {
        let Some(value) = value else {
            self.put_i32(-1);
            return Ok(());
        };
        self.put_u32(length_field(value.len())?);
        self.put_slice(value);
        Ok(())
    }

    fn framed(&mut self, tag: u8, body: impl FnOnce(&mut BytesMut) -> Result<(), Malformed>) -> Result<(), Malformed> {
        let start = self.len();
        self.put_u8(tag);
        let done = self.framed_untagged(body);
        if done.is_err() {
            self.truncate(start);
        }
        done
    }

    fn framed_untagged(&mut self, body: impl FnOnce(&mut BytesMut) -> Result<(), Malformed>) -> Result<(), Malformed> {
        let start = self.len();
        self.put_u32(0);
        let done = body(self).and_then(|()| patch(self, start));
        if done.is_err() {
            self.truncate(start);
        }
        done
    }
}

/// Writes the length of everything from `start` on into the four bytes at `start`.
fn patch(out: &mut BytesMut, start: usize) -> Result<(), Malformed> {
    let length = length_field(out.len().saturating_sub(start))?;
    let field = out.get_mut(start..start + 4).ok_or(Malformed::new("a message's writer took bytes back", start))?;
    field.copy_from_slice(&length.to_be_bytes());
    Ok(())
}

fn length_field(length: usize) -> Result<u32, Malformed> {
    match u32::try_from(length) {
        Ok(field) if length <= LONGEST_FRAME => Ok(field),
        _ => Err(Malformed::new("a message would be longer than one gibibyte", 0)),
    }
}
