//! Arrays and rows inside a value: taken apart, each part looked at, put together again.

use bytes::{BufMut, BytesMut};
use model::Cell;

use crate::types::{Look, look};
use crate::value::{Change, Looking};

/// The value is not built as its type says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Malformed;

/// A reader that never looks past the end.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(Malformed)?;
        self.0 = rest;
        Ok(taken)
    }

    fn int(&mut self) -> Result<i32, Malformed> {
        let bytes = self.take(4)?.try_into().map_err(|_| Malformed)?;
        Ok(i32::from_be_bytes(bytes))
    }

    /// A length and as many bytes; `None` for NULL.
    fn part(&mut self) -> Result<Option<&'a [u8]>, Malformed> {
        match self.int()? {
            -1 => Ok(None),
            length => self.take(usize::try_from(length).map_err(|_| Malformed)?).map(Some),
        }
    }
}

/// Walks the binary format of an array. Appends the whole array, changed or not.
///
/// # Errors
/// The value is no array.
pub(crate) fn binary(
    looking: &mut Looking<'_>,
    element: u32,
    value: &[u8],
    depth: usize,
    out: &mut BytesMut,
) -> Result<Change, Malformed> {
    let mut reader = Reader(value);
    let dimensions = reader.int()?;
    reader.int()?;
    let announced = u32::from_be_bytes(reader.take(4)?.try_into().map_err(|_| Malformed)?);
    let dimensions = usize::try_from(dimensions).ok().filter(|count| *count <= 6).ok_or(Malformed)?;
    reader.take(dimensions * 8)?;
    out.put_slice(&value[..12 + dimensions * 8]);
    // The array names its elements' type itself; a type that is looked at is not given up for one that is not.
    let element = if look(announced) == Look::Never { element } else { announced };
    let mut changed = Change::None;
    while !reader.0.is_empty() {
        match part(looking, element, reader.part()?, depth, out) {
            Change::None => {}
            Change::Refused => return Ok(Change::Refused),
            Change::Value | Change::Null => changed = Change::Value,
        }
    }
    Ok(changed)
}

/// Walks the binary format of a row: the number of fields, then for each its type and value. Appends all of it.
///
/// # Errors
/// The value is no row.
pub(crate) fn record(
    looking: &mut Looking<'_>,
    value: &[u8],
    depth: usize,
    out: &mut BytesMut,
) -> Result<Change, Malformed> {
    let mut reader = Reader(value);
    let fields = reader.int()?;
    out.put_i32(fields);
    let mut changed = Change::None;
    for _ in 0..fields {
        let oid = reader.take(4)?;
        out.put_slice(oid);
        let oid = u32::from_be_bytes(oid.try_into().map_err(|_| Malformed)?);
        match part(looking, oid, reader.part()?, depth, out) {
            Change::None => {}
            Change::Refused => return Ok(Change::Refused),
            Change::Value | Change::Null => changed = Change::Value,
        }
    }
    if reader.0.is_empty() { Ok(changed) } else { Err(Malformed) }
}

/// Appends one part with its length, masked if something is found in it.
fn part(looking: &mut Looking<'_>, oid: u32, value: Option<&[u8]>, depth: usize, out: &mut BytesMut) -> Change {
    let Some(value) = value else {
        out.put_i32(-1);
        return Change::None;
    };
    let begun = out.len();
    out.put_i32(0);
    let change = looking.nested(oid, Cell::Binary(value), depth, out);
    match change {
        Change::None => out.put_slice(value),
        Change::Value | Change::Refused => {}
        Change::Null => {
            out[begun..begun + 4].copy_from_slice(&(-1i32).to_be_bytes());
            return change;
        }
    }
    // The whole message stays below what a length can say; that is checked where the frame is finished.
    let length = u32::try_from(out.len() - begun - 4).unwrap_or(u32::MAX);
    out[begun..begun + 4].copy_from_slice(&length.to_be_bytes());
    change
}

/// Walks the text format of an array, `{a,"b c",NULL}`, dimensions and bounds included. Appends the whole array.
///
/// # Errors
/// The value is no array.
pub(crate) fn text(
    looking: &mut Looking<'_>,
    element: u32,
    value: &[u8],
    depth: usize,
    out: &mut BytesMut,
) -> Result<Change, Malformed> {
    let mut at = bounds_end(value)?;
    out.put_slice(&value[..at]);
    let mut changed = Change::None;
    while let Some(byte) = value.get(at) {
        if matches!(byte, b'{' | b'}' | b',') {
            out.put_u8(*byte);
            at += 1;
            continue;
        }
        let end = element_end(value, at)?;
        let raw = &value[at..end];
        match element_text(looking, element, raw, depth, out) {
            Change::None => out.put_slice(raw),
            Change::Value => changed = Change::Value,
            Change::Null => {
                out.put_slice(b"NULL");
                changed = Change::Value;
            }
            Change::Refused => return Ok(Change::Refused),
        }
        at = end;
    }
    Ok(changed)
}

/// Where the braces begin: behind explicit bounds such as `[0:2]=`, if there are any.
fn bounds_end(value: &[u8]) -> Result<usize, Malformed> {
    let begin = value.iter().position(|byte| *byte == b'{').ok_or(Malformed)?;
    let bounds = |byte: &u8| byte.is_ascii_digit() || b"[]:=+-".contains(byte);
    if value[..begin].iter().all(bounds) { Ok(begin) } else { Err(Malformed) }
}

/// One past the element that begins at `start`.
fn element_end(value: &[u8], start: usize) -> Result<usize, Malformed> {
    let quoted = value[start] == b'"';
    let mut at = if quoted { start + 1 } else { start };
    while let Some(byte) = value.get(at) {
        match byte {
            b'\\' => at += 2,
            b'"' if quoted => return Ok(at + 1),
            b',' | b'}' | b'{' if !quoted => return Ok(at),
            _ => at += 1,
        }
    }
    Err(Malformed)
}

fn element_text(looking: &mut Looking<'_>, oid: u32, raw: &[u8], depth: usize, out: &mut BytesMut) -> Change {
    if raw == b"NULL" {
        return Change::None;
    }
    let mut plain = std::mem::take(&mut looking.scratch.element);
    plain.clear();
    let quoted = raw.strip_prefix(b"\"").and_then(|raw| raw.strip_suffix(b"\""));
    unescape(quoted.unwrap_or(raw), &mut plain);
    let mut masked = BytesMut::new();
    let change = looking.nested(oid, Cell::Text(&plain), depth, &mut masked);
    if change == Change::Value {
        write_quoted(&masked, out);
    }
    looking.scratch.element = plain;
    change
}

fn unescape(raw: &[u8], out: &mut BytesMut) {
    let mut bytes = raw.iter();
    while let Some(byte) = bytes.next() {
        let byte = if *byte == b'\\' { bytes.next().unwrap_or(byte) } else { byte };
        out.put_u8(*byte);
    }
}

fn write_quoted(text: &[u8], out: &mut BytesMut) {
    out.put_u8(b'"');
    for byte in text {
        if matches!(byte, b'"' | b'\\') {
            out.put_u8(b'\\');
        }
        out.put_u8(*byte);
    }
    out.put_u8(b'"');
}
