//! Frames as far as a login needs them: bounded, and never allocated from an announced length.

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use model::{Fault, Whose};

/// The longest start-up packet taken, as PostgreSQL's own server does.
pub(super) const STARTUP_BYTES: usize = 10_000;

/// A message with its tag removed.
pub(super) struct Message {
    pub tag: u8,
    pub body: Bytes,
}

/// Takes an untagged start-up packet off the front, without its length; `None` if it is not all there yet.
pub(super) fn startup(input: &mut BytesMut) -> Result<Option<Bytes>, Fault> {
    let Some(announced) = input.first_chunk::<4>() else { return Ok(None) };
    let length = usize::try_from(u32::from_be_bytes(*announced)).unwrap_or(usize::MAX);
    if !(8..=STARTUP_BYTES).contains(&length) {
        return Err(Fault::protocol(Whose::Client, format!("a start-up packet cannot have {length} bytes"))
            .hint("this port speaks the PostgreSQL protocol"));
    }
    if input.len() < length {
        return Ok(None);
    }
    let mut packet = input.split_to(length).freeze();
    packet.advance(4);
    Ok(Some(packet))
}

/// Takes a tagged message off the front; `None` if it is not all there yet. `most` bounds its body, in bytes.
pub(super) fn message(input: &mut BytesMut, most: usize, whose: Whose) -> Result<Option<Message>, Fault> {
    let Some(&[tag, a, b, c, d]) = input.first_chunk::<5>() else { return Ok(None) };
    let length = usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap_or(usize::MAX);
    if length < 4 || length - 4 > most {
        let name = char::from(tag).escape_default();
        return Err(Fault::protocol(whose, format!("message '{name}' announces {length} bytes during login")));
    }
    if input.len() < 1 + length {
        return Ok(None);
    }
    let mut body = input.split_to(1 + length).freeze();
    body.advance(5);
    Ok(Some(Message { tag, body }))
}

/// Appends a message whose body `fill` writes. Bodies written during a login are far below the length field's range.
pub(super) fn put(output: &mut BytesMut, tag: u8, fill: impl FnOnce(&mut BytesMut)) {
    output.put_u8(tag);
    put_untagged(output, fill);
}

/// Appends a start-up packet, which has no tag.
pub(super) fn put_untagged(output: &mut BytesMut, fill: impl FnOnce(&mut BytesMut)) {
    let start = output.len();
    output.put_u32(0);
    fill(output);
    let length = u32::try_from(output.len() - start).unwrap_or(u32::MAX);
    output[start..start + 4].copy_from_slice(&length.to_be_bytes());
}

/// Appends a NUL-terminated string; a NUL inside would end it early, so what follows one is left out.
pub(super) fn put_cstr(output: &mut BytesMut, text: &[u8]) {
    let end = memchr::memchr(0, text).unwrap_or(text.len());
    output.put_slice(&text[..end]);
    output.put_u8(0);
}

/// Reads the fields of one body.
pub(super) struct Fields {
    rest: Bytes,
    whose: Whose,
    what: &'static str,
}

impl Fields {
    pub fn new(body: Bytes, whose: Whose, what: &'static str) -> Self {
        Self { rest: body, whose, what }
    }

    pub fn short(&self) -> Fault {
        Fault::protocol(self.whose, format!("{} ends early or is badly laid out", self.what))
    }

    pub fn u32(&mut self) -> Result<u32, Fault> {
        let bytes = self.rest.first_chunk::<4>().ok_or_else(|| self.short())?;
        let value = u32::from_be_bytes(*bytes);
        self.rest.advance(4);
        Ok(value)
    }

    pub fn u8(&mut self) -> Result<u8, Fault> {
        let value = *self.rest.first().ok_or_else(|| self.short())?;
        self.rest.advance(1);
        Ok(value)
    }

    pub fn cstr(&mut self) -> Result<Bytes, Fault> {
        let end = memchr::memchr(0, &self.rest).ok_or_else(|| self.short())?;
        let text = self.rest.split_to(end);
        self.rest.advance(1);
        Ok(text)
    }

    pub fn text(&mut self) -> Result<String, Fault> {
        let bytes = self.cstr()?;
        std::str::from_utf8(&bytes)
            .map(str::to_owned)
            .map_err(|_| Fault::protocol(self.whose, format!("{} holds text that is not UTF-8", self.what)))
    }

    /// Whatever is left.
    pub fn rest(&mut self) -> Bytes {
        self.rest.split_to(self.rest.len())
    }

    pub fn end(&self) -> Result<(), Fault> {
        if self.rest.is_empty() { Ok(()) } else { Err(self.short()) }
    }
}
