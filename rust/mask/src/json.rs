//! Masks inside JSON, token by token, so that what comes out is JSON again.
//!
//! A string, also the name of a member, is scanned as what it spells, escapes undone, and written back escaped where
//! something was masked. A number in which a detector finds something becomes 0, as numbers do under `full`. Everything
//! else is copied as it is. The server has already checked the structure, so telling tokens apart is enough.

use bytes::{BufMut, BytesMut};
use memchr::{memchr, memchr2, memmem};

use crate::detectors::Detectors;
use crate::value::Scratch;

/// The value is not made of JSON's tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NotJson;

/// Whether an escape could hide from a scanner of bytes what a string spells, and the text looks like JSON.
pub(crate) fn may_hide(value: &[u8]) -> bool {
    matches!(value.trim_ascii_start().first(), Some(b'{' | b'[' | b'"')) && memchr(b'\\', value).is_some()
}

/// Whether a look at the bytes as they are is enough to say that nothing can be found. Only `\u` can spell a digit, a
/// letter or `@`; every other escape spells one of `"\/` or a control character.
pub(crate) fn is_plain(value: &[u8]) -> bool {
    memmem::find(value, b"\\u").is_none()
}

/// Appends `value` with everything the detectors find masked and gives the number of tokens changed; appends nothing if
/// there is none.
///
/// # Errors
/// The value is not JSON. What was appended until then is taken back.
pub(crate) fn mask(
    detectors: &Detectors,
    value: &[u8],
    scratch: &mut Scratch,
    out: &mut BytesMut,
) -> Result<usize, NotJson> {
    let begun = out.len();
    let walked = walk(detectors, value, scratch, out);
    if walked.is_err() {
        out.truncate(begun);
    }
    walked
}

fn walk(detectors: &Detectors, value: &[u8], scratch: &mut Scratch, out: &mut BytesMut) -> Result<usize, NotJson> {
    let mut at = 0;
    let mut copied = 0;
    let mut changed = 0;
    while let Some(byte) = value.get(at) {
        let end = match byte {
            b' ' | b'\t' | b'\n' | b'\r' | b'{' | b'}' | b'[' | b']' | b',' | b':' => at + 1,
            b'"' => string_end(value, at)?,
            b'-' | b'0'..=b'9' => number_end(value, at)?,
            b't' | b'f' | b'n' => word_end(value, at)?,
            _ => return Err(NotJson),
        };
        let token = &value[at..end];
        let hit = match byte {
            b'"' => mask_string(detectors, &token[1..token.len() - 1], scratch),
            b'-' | b'0'..=b'9' => detectors.scanner().hits(token),
            _ => false,
        };
        if hit {
            changed += 1;
            out.put_slice(&value[copied..at]);
            match byte {
                b'"' => write_string(&scratch.masked, out),
                _ => out.put_u8(b'0'),
            }
            copied = end;
        }
        at = end;
    }
    if changed > 0 {
        out.put_slice(&value[copied..]);
    }
    Ok(changed)
}

/// Leaves in `scratch.masked` what the masked string spells, if something was masked.
fn mask_string(detectors: &Detectors, inside: &[u8], scratch: &mut Scratch) -> bool {
    scratch.masked.clear();
    if memchr(b'\\', inside).is_none() {
        return detectors.mask_text(inside, &mut scratch.spans, &mut scratch.masked) > 0;
    }
    scratch.decoded.clear();
    unescape(inside, &mut scratch.decoded);
    detectors.mask_text(&scratch.decoded, &mut scratch.spans, &mut scratch.masked) > 0
}

/// One past the closing quote of the string that begins at `start`.
fn string_end(value: &[u8], start: usize) -> Result<usize, NotJson> {
    let mut at = start + 1;
    while let Some(found) = value.get(at..).and_then(|rest| memchr2(b'"', b'\\', rest)) {
        at += found;
        if value[at] == b'"' {
            return Ok(at + 1);
        }
        at += 2;
    }
    Err(NotJson)
}

fn word_end(value: &[u8], start: usize) -> Result<usize, NotJson> {
    let word = [&b"true"[..], b"false", b"null"].into_iter().find(|word| value[start..].starts_with(word));
    word.map(|word| start + word.len()).ok_or(NotJson)
}

/// One past the number that begins at `start`. Signs only where JSON has them: `123-45-6789` is no number.
fn number_end(value: &[u8], start: usize) -> Result<usize, NotJson> {
    let belongs = |byte: &u8| byte.is_ascii_digit() || b"+-.eE".contains(byte);
    let length = value[start..].iter().position(|byte| !belongs(byte)).unwrap_or(value.len() - start);
    let number = &value[start..start + length];
    let misplaced = |pair: &[u8]| matches!(pair[1], b'+' | b'-') && !matches!(pair[0], b'e' | b'E');
    if number.windows(2).any(misplaced) { Err(NotJson) } else { Ok(start + length) }
}

/// Undoes the escapes of a string. A surrogate without its partner, or an escape JSON does not know, becomes U+FFFD.
fn unescape(inside: &[u8], out: &mut BytesMut) {
    let mut rest = inside;
    while let Some(place) = memchr(b'\\', rest) {
        out.put_slice(&rest[..place]);
        rest = &rest[place + 1..];
        let Some((escape, behind)) = rest.split_first() else { break };
        rest = behind;
        match escape {
            b'"' | b'\\' | b'/' => out.put_u8(*escape),
            b'b' => out.put_u8(8),
            b'f' => out.put_u8(12),
            b'n' => out.put_u8(b'\n'),
            b'r' => out.put_u8(b'\r'),
            b't' => out.put_u8(b'\t'),
            b'u' => {
                let (spelled, used) = code_point(rest);
                out.put_slice(spelled.encode_utf8(&mut [0; 4]).as_bytes());
                rest = &rest[used..];
            }
            _ => out.put_slice("\u{fffd}".as_bytes()),
        }
    }
    out.put_slice(rest);
}

/// The character spelled by the hexadecimal digits behind `\u`, and how many bytes spell it.
fn code_point(digits: &[u8]) -> (char, usize) {
    let unit = |digits: &[u8]| {
        let text = digits.get(..4).and_then(|digits| std::str::from_utf8(digits).ok())?;
        u32::from_str_radix(text, 16).ok().filter(|_| !text.starts_with('+'))
    };
    let Some(first) = unit(digits) else { return (char::REPLACEMENT_CHARACTER, 0) };
    if let (0xD800..=0xDBFF, Some(rest)) = (first, digits[4..].strip_prefix(b"\\u"))
        && let Some(second @ 0xDC00..=0xDFFF) = unit(rest)
    {
        let both = 0x10000 + ((first - 0xD800) << 10) + (second - 0xDC00);
        return (char::from_u32(both).unwrap_or(char::REPLACEMENT_CHARACTER), 10);
    }
    (char::from_u32(first).unwrap_or(char::REPLACEMENT_CHARACTER), 4)
}

/// Appends `text` as a JSON string.
fn write_string(text: &[u8], out: &mut BytesMut) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    out.put_u8(b'"');
    for byte in text {
        match byte {
            b'"' | b'\\' => out.put_slice(&[b'\\', *byte]),
            0..0x20 => {
                let spelled = [b'\\', b'u', b'0', b'0', b'0' + (byte >> 4), DIGITS[usize::from(byte & 15)]];
                out.put_slice(&spelled);
            }
            _ => out.put_u8(*byte),
        }
    }
    out.put_u8(b'"');
}
