//! The fields of COPY's formats: where they are, what they spell, and how a changed one is written.

use std::ops::Range;

use bytes::{BufMut, BytesMut};
use model::Cell;

use crate::copy::{CopyError, CopyFormat};
use crate::plan::ColumnPlan;
use crate::value::{Change, Scratch};

/// A masked value; `None` is NULL.
pub(crate) type Masked<'a> = Option<&'a [u8]>;

/// What the plan makes of a field; `None` if it stays as it is.
pub(crate) fn apply<'a>(
    column: &ColumnPlan,
    place: usize,
    cell: Cell<'_>,
    scratch: &mut Scratch,
    buffer: &'a mut BytesMut,
) -> Result<Option<Masked<'a>>, CopyError> {
    buffer.clear();
    match column.apply(cell, scratch, buffer) {
        Change::None => Ok(None),
        Change::Value => Ok(Some(Some(&buffer[..]))),
        Change::Null => Ok(Some(None)),
        Change::Refused => Err(CopyError::Refused(place)),
    }
}

/// The fields of one line, and a buffer for what one of them spells.
#[derive(Debug, Default)]
pub(crate) struct Fields {
    ranges: Vec<Range<usize>>,
    line_end: usize,
    decoded: BytesMut,
}

impl Fields {
    /// Finds the fields of the line that begins at `at`; `false` if the line's end is not there yet.
    ///
    /// # Errors
    /// The line is not in this format.
    pub(crate) fn read(&mut self, format: &CopyFormat, data: &[u8], at: usize) -> Result<bool, CopyError> {
        self.ranges.clear();
        let mut start = at;
        loop {
            let (end, delimiter) = match format {
                CopyFormat::Text { delimiter, .. } => (text_end(data, start, *delimiter), *delimiter),
                CopyFormat::Csv { delimiter, quote, escape, .. } => {
                    (csv_end(data, start, *delimiter, *quote, *escape), *delimiter)
                }
                CopyFormat::Binary => return Err(CopyError::Malformed("binary data has no lines")),
            };
            let Some(end) = end else { return Ok(false) };
            self.ranges.push(start..end);
            if data[end] != delimiter {
                self.line_end = end + 1;
                return Ok(true);
            }
            start = end + 1;
        }
    }

    /// One past the line feed.
    pub(crate) fn line_end(&self) -> usize {
        self.line_end
    }

    /// How many fields the line has.
    pub(crate) fn len(&self) -> usize {
        self.ranges.len()
    }

    /// Where the field at `place` stands.
    pub(crate) fn range(&self, place: usize) -> Range<usize> {
        self.ranges.get(place).cloned().unwrap_or(0..0)
    }

    /// What the field at `place` spells.
    pub(crate) fn decode<'a>(&'a mut self, format: &CopyFormat, data: &'a [u8], place: usize) -> Cell<'a> {
        let raw = &data[self.range(place)];
        self.decoded.clear();
        match format {
            CopyFormat::Text { null, .. } | CopyFormat::Csv { null, .. } if raw == &null[..] => Cell::Null,
            CopyFormat::Text { .. } if raw.contains(&b'\\') => {
                unescape_text(raw, &mut self.decoded);
                Cell::Text(&self.decoded)
            }
            CopyFormat::Csv { quote, escape, .. } if raw.contains(quote) => {
                unquote(raw, *quote, *escape, &mut self.decoded);
                Cell::Text(&self.decoded)
            }
            CopyFormat::Text { .. } | CopyFormat::Csv { .. } | CopyFormat::Binary => Cell::Text(raw),
        }
    }
}

/// Appends a changed field as the format writes it.
pub(crate) fn encode(format: &CopyFormat, value: Masked<'_>, out: &mut BytesMut) {
    match (format, value) {
        (CopyFormat::Text { null, .. } | CopyFormat::Csv { null, .. }, None) => out.put_slice(null),
        (CopyFormat::Text { delimiter, .. }, Some(value)) => escape_text(value, *delimiter, out),
        (CopyFormat::Csv { quote, escape, .. }, Some(value)) => quoted(value, *quote, *escape, out),
        (CopyFormat::Binary, value) => encode_binary(value, out),
    }
}

/// Appends a changed field of the binary format with its length.
pub(crate) fn encode_binary(value: Masked<'_>, out: &mut BytesMut) {
    match value.and_then(|value| i32::try_from(value.len()).ok().map(|length| (value, length))) {
        Some((value, length)) => {
            out.put_i32(length);
            out.put_slice(value);
        }
        None => out.put_i32(-1),
    }
}

/// The length of the binary header, or `None` if it is not all there.
pub(crate) fn binary_header(data: &[u8]) -> Result<Option<usize>, CopyError> {
    const SIGNATURE: &[u8] = b"PGCOPY\n\xff\r\n\0";
    let known = data.len().min(SIGNATURE.len());
    if data[..known] != SIGNATURE[..known] {
        return Err(CopyError::Malformed("no signature"));
    }
    let Some((flags, rest)) = data.get(SIGNATURE.len()..).and_then(|rest| rest.split_at_checked(4)) else {
        return Ok(None);
    };
    // The upper half of the flags changes what follows; a reader that does not know them must stop.
    if flags[..2] != [0, 0] {
        return Err(CopyError::Malformed("unknown flags"));
    }
    let Some(length) = rest.first_chunk::<4>() else { return Ok(None) };
    let length = usize::try_from(i32::from_be_bytes(*length)).ok().filter(|length| *length <= 65_536);
    let length = length.ok_or(CopyError::Malformed("a header extension beyond measure"))? + SIGNATURE.len() + 8;
    Ok((data.len() >= length).then_some(length))
}

/// The end of a binary row whose `count` fields begin at `at`, or `None` if it is not all there.
pub(crate) fn binary_row_end(data: &[u8], mut at: usize, count: usize) -> Result<Option<usize>, CopyError> {
    for _ in 0..count {
        let Some(length) = data.get(at..).and_then(|rest| rest.first_chunk::<4>()) else { return Ok(None) };
        let length = i32::from_be_bytes(*length);
        let length = if length == -1 { Some(0) } else { usize::try_from(length).ok() };
        at += 4 + length.ok_or(CopyError::Malformed("a negative length"))?;
    }
    Ok((at <= data.len()).then_some(at))
}

/// The end of a text field: the next delimiter or line feed that no backslash stands before.
fn text_end(data: &[u8], start: usize, delimiter: u8) -> Option<usize> {
    let mut at = start;
    loop {
        at += memchr::memchr3(delimiter, b'\\', b'\n', data.get(at..)?)?;
        if data[at] != b'\\' {
            return Some(at);
        }
        at += 2;
    }
}

/// The end of a CSV field: the next delimiter or line feed outside quotes.
fn csv_end(data: &[u8], start: usize, delimiter: u8, quote: u8, escape: u8) -> Option<usize> {
    let mut at = start;
    let mut inside = false;
    loop {
        let byte = *data.get(at)?;
        if inside && byte == escape && escaped(data, at, quote, escape) {
            at += 2;
            continue;
        }
        if byte == quote {
            inside = !inside;
        } else if !inside && (byte == delimiter || byte == b'\n') {
            return Some(at);
        }
        at += 1;
    }
}

fn escaped(data: &[u8], at: usize, quote: u8, escape: u8) -> bool {
    data.get(at + 1).is_some_and(|next| *next == quote || *next == escape)
}

fn unquote(raw: &[u8], quote: u8, escape: u8, out: &mut BytesMut) {
    let mut inside = false;
    let mut at = 0;
    while let Some(byte) = raw.get(at) {
        if inside && *byte == escape && escaped(raw, at, quote, escape) {
            out.put_u8(raw[at + 1]);
            at += 2;
            continue;
        }
        if *byte == quote {
            inside = !inside;
        } else {
            out.put_u8(*byte);
        }
        at += 1;
    }
}

fn quoted(value: &[u8], quote: u8, escape: u8, out: &mut BytesMut) {
    out.put_u8(quote);
    for byte in value {
        if *byte == quote || *byte == escape {
            out.put_u8(escape);
        }
        out.put_u8(*byte);
    }
    out.put_u8(quote);
}

const CONTROLS: [(u8, u8); 6] = [(b'b', 8), (b'f', 12), (b'n', b'\n'), (b'r', b'\r'), (b't', b'\t'), (b'v', 11)];

fn unescape_text(raw: &[u8], out: &mut BytesMut) {
    let mut at = 0;
    while let Some(byte) = raw.get(at) {
        at += 1;
        let (b'\\', Some(next)) = (byte, raw.get(at)) else {
            out.put_u8(*byte);
            continue;
        };
        at += 1;
        let control = CONTROLS.iter().find(|(letter, _)| letter == next);
        out.put_u8(control.map_or(*next, |(_, control)| *control));
    }
}

fn escape_text(value: &[u8], delimiter: u8, out: &mut BytesMut) {
    for byte in value {
        let control = CONTROLS.iter().find(|(_, control)| control == byte);
        match control {
            Some((letter, _)) => out.put_slice(&[b'\\', *letter]),
            None if *byte == b'\\' || *byte == delimiter => out.put_slice(&[b'\\', *byte]),
            None => out.put_u8(*byte),
        }
    }
}
