//! Messages: what the bodies say. Views into the bytes; nothing is copied until somebody keeps it.
//!
//! Source of every layout: PostgreSQL documentation, chapter "Frontend/Backend Protocol", "Message Formats".

use bytes::{BufMut, BytesMut};
use model::{Fault, Whose};
use wire::{Malformed, Reader};

/// Whether a Describe or Close names a prepared statement or a portal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    /// `S`
    Statement,
    /// `P`
    Portal,
}

/// Parse: prepare `text` under `name`.
#[derive(Debug, PartialEq, Eq)]
pub struct Parse<'a> {
    /// Empty for the unnamed statement.
    pub name: &'a [u8],
    /// The statement's text.
    pub text: &'a [u8],
}

/// Bind: make a portal from a prepared statement.
#[derive(Debug, PartialEq, Eq)]
pub struct Bind<'a> {
    /// Empty for the unnamed portal.
    pub portal: &'a [u8],
    /// Empty for the unnamed statement.
    pub statement: &'a [u8],
    /// Parameter formats, parameters and result formats, checked but not taken apart.
    pub values: &'a [u8],
}

/// The values of a Bind: formats of the parameters and the parameters themselves.
#[derive(Debug)]
pub struct Parameters<'a> {
    formats: Vec<i16>,
    values: Vec<Option<&'a [u8]>>,
}

impl<'a> Parameters<'a> {
    /// Takes apart what [`Bind::values`] holds.
    ///
    /// # Errors
    /// A count or a length that the bytes present do not bear out.
    pub fn read(values: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(values);
        let formats = formats(&mut reader)?;
        let count = reader.u16()?;
        let mut parameters = Vec::with_capacity(usize::from(count).min(values.len() / 4));
        for _ in 0..count {
            parameters.push(reader.sized()?);
        }
        Ok(Self { formats, values: parameters })
    }

    /// Each parameter with its format code (0 text, 1 binary).
    pub fn iter(&self) -> impl Iterator<Item = (i16, Option<&'a [u8]>)> + '_ {
        self.values.iter().enumerate().map(|(place, value)| (self.format(place), *value))
    }

    fn format(&self, place: usize) -> i16 {
        match self.formats.len() {
            0 => 0,
            1 => self.formats[0],
            _ => self.formats.get(place).copied().unwrap_or(0),
        }
    }
}

/// Execute: run a portal for at most `most` rows (0: all).
#[derive(Debug, PartialEq, Eq)]
pub struct Execute<'a> {
    /// Empty for the unnamed portal.
    pub portal: &'a [u8],
    /// 0 means all rows.
    pub most: i32,
}

/// One column of a RowDescription.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field<'a> {
    /// The label, as the statement names it. Means nothing for protection.
    pub name: &'a [u8],
    /// OID of the relation the value comes from, 0 if the server cannot say.
    pub table: u32,
    /// Attribute number in that relation, 0 if none.
    pub attribute: i16,
    /// OID of the value's type.
    pub type_oid: u32,
    /// 0 text, 1 binary. Always 0 in a description of a statement.
    pub format: i16,
}

fn fault(malformed: Malformed, tag: u8, whose: Whose) -> Fault {
    malformed.fault(whose, &format!("message {}", super::frame::show(tag)))
}

/// Query: the statement's text without its terminator.
///
/// # Errors
/// The client broke the protocol.
pub fn query(body: &[u8]) -> Result<&[u8], Fault> {
    let mut reader = Reader::new(body);
    let text = reader.cstr().and_then(|text| reader.end().map(|()| text));
    text.map_err(|malformed| fault(malformed, b'Q', Whose::Client))
}

/// Parse.
///
/// # Errors
/// The client broke the protocol.
pub fn parse(body: &[u8]) -> Result<Parse<'_>, Fault> {
    let read = || {
        let mut reader = Reader::new(body);
        let name = reader.cstr()?;
        let text = reader.cstr()?;
        let types = reader.u16()?;
        reader.bytes(usize::from(types) * 4)?;
        reader.end()?;
        Ok(Parse { name, text })
    };
    read().map_err(|malformed| fault(malformed, b'P', Whose::Client))
}

/// Bind.
///
/// # Errors
/// The client broke the protocol.
pub fn bind(body: &[u8]) -> Result<Bind<'_>, Fault> {
    let read = || {
        let mut reader = Reader::new(body);
        let portal = reader.cstr()?;
        let statement = reader.cstr()?;
        let values = reader.rest();
        let mut reader = Reader::new(values);
        formats_skip(&mut reader)?;
        for _ in 0..reader.u16()? {
            reader.sized()?;
        }
        formats_skip(&mut reader)?;
        reader.end()?;
        Ok(Bind { portal, statement, values })
    };
    read().map_err(|malformed| fault(malformed, b'B', Whose::Client))
}

/// Execute.
///
/// # Errors
/// The client broke the protocol.
pub fn execute(body: &[u8]) -> Result<Execute<'_>, Fault> {
    let read = || {
        let mut reader = Reader::new(body);
        let portal = reader.cstr()?;
        let most = reader.i32()?;
        reader.end()?;
        Ok(Execute { portal, most })
    };
    read().map_err(|malformed| fault(malformed, b'E', Whose::Client))
}

/// Describe and Close.
///
/// # Errors
/// The client broke the protocol.
pub fn subject(tag: u8, body: &[u8]) -> Result<(Subject, &[u8]), Fault> {
    let read = || {
        let mut reader = Reader::new(body);
        let subject = match reader.u8()? {
            b'S' => Subject::Statement,
            b'P' => Subject::Portal,
            _ => return Err(Malformed::new("neither a statement nor a portal", 0)),
        };
        let name = reader.cstr()?;
        reader.end()?;
        Ok((subject, name))
    };
    read().map_err(|malformed| fault(malformed, tag, Whose::Client))
}

/// RowDescription.
///
/// # Errors
/// The target broke the protocol.
pub fn row_description(body: &[u8]) -> Result<Vec<Field<'_>>, Fault> {
    let read = || {
        let mut reader = Reader::new(body);
        let count = reader.u16()?;
        let mut fields = Vec::with_capacity(usize::from(count).min(body.len() / 19));
        for _ in 0..count {
            let name = reader.cstr()?;
            let (table, attribute, type_oid) = (reader.u32()?, reader.i16()?, reader.u32()?);
            reader.bytes(6)?;
            let format = reader.i16()?;
            fields.push(Field { name, table, attribute, type_oid, format });
        }
        reader.end()?;
        Ok(fields)
    };
    read().map_err(|malformed| fault(malformed, b'T', Whose::Target))
}

/// A pair of strings: ParameterStatus.
///
/// # Errors
/// The target broke the protocol.
pub fn parameter_status(body: &[u8]) -> Result<(&[u8], &[u8]), Fault> {
    let read = || {
        let mut reader = Reader::new(body);
        let pair = (reader.cstr()?, reader.cstr()?);
        reader.end()?;
        Ok(pair)
    };
    read().map_err(|malformed| fault(malformed, b'S', Whose::Target))
}

/// NotificationResponse: process id, channel, payload.
///
/// # Errors
/// The target broke the protocol.
pub fn notification(body: &[u8]) -> Result<(u32, &[u8], &[u8]), Fault> {
    let read = || {
        let mut reader = Reader::new(body);
        let parts = (reader.u32()?, reader.cstr()?, reader.cstr()?);
        reader.end()?;
        Ok(parts)
    };
    read().map_err(|malformed| fault(malformed, b'A', Whose::Target))
}

/// CommandComplete: the tag.
///
/// # Errors
/// The target broke the protocol.
pub fn command_complete(body: &[u8]) -> Result<&[u8], Fault> {
    let mut reader = Reader::new(body);
    let tag = reader.cstr().and_then(|tag| reader.end().map(|()| tag));
    tag.map_err(|malformed| fault(malformed, b'C', Whose::Target))
}

/// CopyOutResponse and CopyInResponse: the overall format (0 text, 1 binary) and the number of columns.
///
/// # Errors
/// The target broke the protocol.
pub fn copy_response(tag: u8, body: &[u8]) -> Result<(u8, u16), Fault> {
    let read = || {
        let mut reader = Reader::new(body);
        let parts = (reader.u8()?, reader.u16()?);
        reader.bytes(usize::from(parts.1) * 2)?;
        reader.end()?;
        Ok(parts)
    };
    read().map_err(|malformed| fault(malformed, tag, Whose::Target))
}

/// ReadyForQuery: `I` idle, `T` in a transaction block, `E` in a failed one.
///
/// # Errors
/// The target broke the protocol.
pub fn ready_for_query(body: &[u8]) -> Result<u8, Fault> {
    match body {
        [status @ (b'I' | b'T' | b'E')] => Ok(*status),
        _ => Err(Fault::protocol(Whose::Target, "message 'Z' has no known transaction status")),
    }
}

/// The fields of an ErrorResponse or NoticeResponse: a code byte and its text.
///
/// # Errors
/// The target broke the protocol.
pub fn report(tag: u8, body: &[u8]) -> Result<Vec<(u8, &[u8])>, Fault> {
    let read = || {
        let mut reader = Reader::new(body);
        let mut fields = Vec::with_capacity(12);
        loop {
            match reader.u8()? {
                0 => break,
                code => fields.push((code, reader.cstr()?)),
            }
        }
        reader.end()?;
        Ok(fields)
    };
    read().map_err(|malformed| fault(malformed, tag, Whose::Target))
}

/// Appends a message whose body `fill` writes.
pub fn write(out: &mut BytesMut, tag: u8, fill: impl FnOnce(&mut BytesMut)) {
    out.put_u8(tag);
    let start = out.len();
    out.put_u32(0);
    fill(out);
    let length = u32::try_from(out.len() - start).unwrap_or(u32::MAX);
    out[start..start + 4].copy_from_slice(&length.to_be_bytes());
}

/// Appends a string and its terminator; a NUL within the string ends it early.
pub fn put_cstr(out: &mut BytesMut, text: &[u8]) {
    let end = memchr::memchr(0, text).unwrap_or(text.len());
    out.put_slice(&text[..end]);
    out.put_u8(0);
}

/// Appends an ErrorResponse (`E`) or NoticeResponse (`N`) of these fields.
pub fn write_report(out: &mut BytesMut, tag: u8, fields: &[(u8, &[u8])]) {
    write(out, tag, |out| {
        for (code, text) in fields {
            out.put_u8(*code);
            put_cstr(out, text);
        }
        out.put_u8(0);
    });
}

/// Appends a Describe of a portal.
pub fn write_describe_portal(out: &mut BytesMut, portal: &[u8]) {
    write(out, b'D', |out| {
        out.put_u8(b'P');
        put_cstr(out, portal);
    });
}

/// Appends a Describe of a prepared statement.
pub fn write_describe_statement(out: &mut BytesMut, statement: &[u8]) {
    write(out, b'D', |out| {
        out.put_u8(b'S');
        put_cstr(out, statement);
    });
}

/// Appends a Close of a prepared statement.
pub fn write_close_statement(out: &mut BytesMut, statement: &[u8]) {
    write(out, b'C', |out| {
        out.put_u8(b'S');
        put_cstr(out, statement);
    });
}

/// Appends a simple Query.
pub fn write_query(out: &mut BytesMut, text: &[u8]) {
    write(out, b'Q', |out| put_cstr(out, text));
}

/// Appends a Parse without parameter types.
pub fn write_parse(out: &mut BytesMut, name: &[u8], text: &[u8]) {
    write(out, b'P', |out| {
        put_cstr(out, name);
        put_cstr(out, text);
        out.put_u16(0);
    });
}

fn formats(reader: &mut Reader<'_>) -> Result<Vec<i16>, Malformed> {
    let count = reader.u16()?;
    let bytes = reader.bytes(usize::from(count) * 2)?;
    Ok(bytes.chunks_exact(2).map(|pair| i16::from_be_bytes([pair[0], pair[1]])).collect())
}

fn formats_skip(reader: &mut Reader<'_>) -> Result<(), Malformed> {
    let count = reader.u16()?;
    reader.bytes(usize::from(count) * 2).map(drop)
}
