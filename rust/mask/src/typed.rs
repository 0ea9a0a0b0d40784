//! A mask made ready for one type of column.

use bytes::{BufMut, BytesMut};
use model::Cell;

use crate::kind::{MaskKind, Pseudonym, STARS};
use crate::numbers::{hex, parse, spell_uuid, versioned};
use crate::types::{self, Family};

/// A mask for the values of one type. Gives values of that type, valid in the text and in the binary format.
#[derive(Debug, Clone)]
pub struct TypedMask {
    family: Family,
    way: Way,
}

#[derive(Debug, Clone)]
enum Way {
    Null,
    Fixed { text: Box<[u8]>, binary: Box<[u8]> },
    Keep(MaskKind),
    Pseudonym(Pseudonym),
}

/// What a mask made of a cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Written {
    /// NULL; nothing was appended.
    Null,
    /// The value was appended.
    Value,
}

impl TypedMask {
    /// The mask `kind` for the type `oid`; for a domain the caller gives its base type, for an extension's type what it
    /// behaves like. `None` if the pair has no valid value: a mistake of the manifest for a column that a class names,
    /// a refusal for one that is derived.
    #[must_use]
    pub fn for_type(kind: &MaskKind, oid: u32) -> Option<Self> {
        let family = types::family(oid);
        let way = match kind {
            MaskKind::Null => Some(Way::Null),
            MaskKind::Full => Some(neutral(family)),
            MaskKind::Replace(text) => parse(family, text).map(fixed),
            MaskKind::KeepFirst(_) | MaskKind::KeepLast(_) => keeps(family).then(|| Way::Keep(kind.clone())),
            MaskKind::Hmac(pseudonym) => hides(family).then(|| Way::Pseudonym(pseudonym.clone())),
        };
        way.map(|way| Self { family, way })
    }

    /// The mask that shows nothing, which every type has: for what is derived from protected data, where keeping some
    /// characters could keep the wrong ones.
    #[must_use]
    pub fn full(oid: u32) -> Self {
        let family = types::family(oid);
        Self { family, way: neutral(family) }
    }

    /// Whether every value becomes NULL.
    #[must_use]
    pub fn is_null(&self) -> bool {
        matches!(self.way, Way::Null)
    }

    /// Appends what stands for `cell`, without a length. NULL stays NULL.
    pub(crate) fn write(&self, cell: Cell<'_>, out: &mut BytesMut) -> Written {
        let (value, binary) = match cell {
            Cell::Null => return Written::Null,
            Cell::Text(value) => (value, false),
            Cell::Binary(value) => (value, true),
        };
        match &self.way {
            Way::Null => return Written::Null,
            Way::Fixed { text, binary: encoded } => out.put_slice(if binary { encoded } else { text }),
            Way::Keep(kind) => self.keep(kind, value, out),
            Way::Pseudonym(pseudonym) => self.hide(pseudonym, value, binary, out),
        }
        Written::Value
    }

    fn keep(&self, kind: &MaskKind, value: &[u8], out: &mut BytesMut) {
        match self.family {
            // One character is shorter than twice one: nothing may be kept of it, and there is room for one star.
            Family::Char => out.put_u8(b'*'),
            _ => kind.write_piece(self.unpadded(value), out),
        }
    }

    fn hide(&self, pseudonym: &Pseudonym, value: &[u8], binary: bool, out: &mut BytesMut) {
        match self.family {
            Family::Uuid => {
                let tag = uuid_tag(pseudonym, value, binary);
                if binary { out.put_slice(&tag) } else { out.put_slice(&spell_uuid(&tag)) }
            }
            Family::Bytes => {
                let tag = bytes_tag(pseudonym, value, binary);
                if binary { out.put_slice(&tag[..16]) } else { out.put_slice(&hex(&tag[..16])) }
            }
            Family::Json | Family::Jsonb => {
                let versioned = binary && self.family == Family::Jsonb;
                if versioned {
                    out.put_u8(1);
                }
                let text = if versioned { value.get(1..).unwrap_or_default() } else { value };
                out.put_u8(b'"');
                pseudonym.write(&pseudonym.tag([text]), out);
                out.put_u8(b'"');
            }
            _ => pseudonym.write(&pseudonym.tag([self.unpadded(value)]), out),
        }
    }

    /// Without the blanks that pad bpchar: they are not part of its value.
    fn unpadded<'a>(&self, value: &'a [u8]) -> &'a [u8] {
        match self.family {
            Family::Padded => value.trim_ascii_end(),
            _ => value,
        }
    }
}

fn fixed((text, binary): (Vec<u8>, Vec<u8>)) -> Way {
    Way::Fixed { text: text.into(), binary: binary.into() }
}

/// What `full` gives. The types a value cannot be invented for have NULL.
fn neutral(family: Family) -> Way {
    let both = |value: &[u8]| (value.to_vec(), value.to_vec());
    let found = match family {
        Family::Text | Family::Padded | Family::Name | Family::Xml => Some(both(STARS)),
        Family::Char => Some(both(b"*")),
        Family::Json => Some(both(b"\"****\"")),
        Family::Jsonb => Some((b"\"****\"".to_vec(), versioned(b"\"****\""))),
        Family::Uuid => Some((spell_uuid(&[0; 16]).to_vec(), vec![0; 16])),
        Family::Bytes => Some((b"\\x".to_vec(), vec![])),
        Family::Int2 | Family::Int4 | Family::Int8 | Family::Oid => parse(family, "0"),
        Family::Numeric | Family::Float4 | Family::Float8 => parse(family, "0"),
        // Address family (2 is IPv4), bits of the mask, whether it is a network, bytes, address.
        Family::Inet => Some((b"0.0.0.0".to_vec(), vec![2, 32, 0, 4, 0, 0, 0, 0])),
        Family::Cidr => Some((b"0.0.0.0/32".to_vec(), vec![2, 32, 1, 4, 0, 0, 0, 0])),
        Family::Macaddr => Some((b"00:00:00:00:00:00".to_vec(), vec![0; 6])),
        Family::Macaddr8 => Some((b"00:00:00:00:00:00:00:00".to_vec(), vec![0; 8])),
        // No dimensions, no NULLs, the element's type.
        Family::Array(element) => Some((b"{}".to_vec(), [&[0; 8], &element.to_be_bytes()[..]].concat())),
        Family::Bool | Family::Other => None,
    };
    found.map_or(Way::Null, fixed)
}

fn keeps(family: Family) -> bool {
    matches!(family, Family::Text | Family::Padded | Family::Name | Family::Char)
}

fn hides(family: Family) -> bool {
    let text = matches!(family, Family::Text | Family::Padded | Family::Name | Family::Xml);
    text || matches!(family, Family::Json | Family::Jsonb | Family::Uuid | Family::Bytes)
}

/// A UUID of version 8 (RFC 9562) made of the tag of the UUID's sixteen bytes, so that both formats agree.
fn uuid_tag(pseudonym: &Pseudonym, value: &[u8], binary: bool) -> [u8; 16] {
    let spelled = std::str::from_utf8(value).ok().filter(|_| !binary).and_then(|text| parse(Family::Uuid, text));
    let full = match &spelled {
        Some((_, bytes)) => pseudonym.tag([&bytes[..]]),
        None => pseudonym.tag([value]),
    };
    let mut tag = [0; 16];
    tag.copy_from_slice(&full[..16]);
    tag[6] = tag[6] & 0x0f | 0x80;
    tag[8] = tag[8] & 0x3f | 0x80;
    tag
}

/// The tag of the bytes themselves, whichever way they are spelled.
fn bytes_tag(pseudonym: &Pseudonym, value: &[u8], binary: bool) -> [u8; 32] {
    match value.strip_prefix(b"\\x") {
        Some(digits) if !binary => {
            pseudonym.tag(digits.chunks(128).map(unhex).collect::<Vec<_>>().iter().map(|v| &v[..]))
        }
        _ if !binary => pseudonym.tag([&unescape_octal(value)[..]]),
        _ => pseudonym.tag([value]),
    }
}

fn unhex(digits: &[u8]) -> Vec<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok()).unwrap_or(0);
    digits.chunks(2).map(|pair| digit(pair[0]) << 4 | pair.get(1).map_or(0, |byte| digit(*byte))).collect()
}

/// `bytea_output = escape`: a backslash is doubled, other bytes may be a backslash and three octal digits.
fn unescape_octal(value: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value;
    while let Some((first, behind)) = rest.split_first() {
        let octal = |byte: u8| (b'0'..=b'7').contains(&byte).then(|| byte - b'0');
        rest = behind;
        match (first, behind) {
            (b'\\', [b'\\', after @ ..]) => {
                bytes.push(b'\\');
                rest = after;
            }
            (b'\\', [high @ b'0'..=b'3', middle, low, after @ ..]) => {
                let digits = octal(*high).zip(octal(*middle)).zip(octal(*low));
                bytes.push(digits.map_or(0, |((high, middle), low)| high << 6 | middle << 3 | low));
                rest = after;
            }
            _ => bytes.push(*first),
        }
    }
    bytes
}
