//! One value under the detectors: looked at as its type and format demand, nested values included.

use bytes::{BufMut, BytesMut};
use model::Cell;
use scan::Span;

use crate::array;
use crate::detectors::Detectors;
use crate::json;
use crate::plan::Opaque;
use crate::types::{Look, look};

/// How deep rows and arrays may stand in each other. Of deeper ones nothing is shown.
const DEPTH: usize = 16;

/// Buffers kept from value to value, so that rows cost no allocation.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    pub(crate) spans: Vec<Span>,
    pub(crate) decoded: BytesMut,
    pub(crate) masked: BytesMut,
    pub(crate) nested: BytesMut,
    pub(crate) element: BytesMut,
}

/// What became of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    /// Nothing was found and nothing appended.
    None,
    /// The masked value was appended.
    Value,
    /// NULL stands for it; nothing was appended.
    Null,
    /// The plan refuses values of unknown format.
    Refused,
}

impl Change {
    fn of(hits: usize) -> Self {
        if hits > 0 { Self::Value } else { Self::None }
    }
}

/// The detectors at work on one value of a column.
pub(crate) struct Looking<'a> {
    pub(crate) detectors: &'a Detectors,
    pub(crate) opaque: Opaque,
    pub(crate) scratch: &'a mut Scratch,
}

impl Looking<'_> {
    /// Looks at a value of the type `oid`.
    pub(crate) fn value(&mut self, oid: u32, cell: Cell<'_>, out: &mut BytesMut) -> Change {
        self.nested(oid, cell, DEPTH, out)
    }

    pub(crate) fn nested(&mut self, oid: u32, cell: Cell<'_>, depth: usize, out: &mut BytesMut) -> Change {
        let (value, binary) = match cell {
            Cell::Null => return Change::None,
            Cell::Text(value) => (value, false),
            Cell::Binary(value) => (value, true),
        };
        let look = look(oid);
        if look == Look::Never || (self.nothing_in(look, value) && !(binary && look == Look::Opaque)) {
            return Change::None;
        }
        match (look, binary) {
            (Look::Never, _) => Change::None,
            (Look::Text, _) => Change::of(self.detectors.mask_text_deeply(value, self.scratch, out)),
            (Look::Json(versioned), _) => self.json(versioned && binary, value, out),
            (Look::Elements(element), false) => self.array_text(element, value, depth, out),
            (Look::Elements(element), true) => self.array_binary(element, value, depth, out),
            (Look::Fields, true) => self.record_binary(value, depth, out),
            (Look::Fields | Look::Opaque, false) => self.stars(value, out),
            (Look::Opaque, true) => self.opaque(value, out),
        }
    }

    /// Whether a cheap look at the bytes tells that there is nothing in the value, however it is read.
    fn nothing_in(&self, look: Look, value: &[u8]) -> bool {
        let as_it_is = match look {
            Look::Text => json::is_plain(value) || !json::may_hide(value),
            Look::Json(_) | Look::Elements(_) | Look::Fields => json::is_plain(value),
            Look::Never | Look::Opaque => true,
        };
        as_it_is && !self.detectors.scanner().may_hit(value)
    }

    fn stars(&mut self, value: &[u8], out: &mut BytesMut) -> Change {
        Change::of(self.detectors.star_text(value, &mut self.scratch.spans, out))
    }

    fn opaque(&mut self, value: &[u8], out: &mut BytesMut) -> Change {
        match self.opaque {
            Opaque::Scan => self.stars(value, out),
            Opaque::Null => Change::Null,
            Opaque::Refuse => Change::Refused,
        }
    }

    fn json(&mut self, versioned: bool, value: &[u8], out: &mut BytesMut) -> Change {
        let begun = out.len();
        let text = if versioned { value.strip_prefix(&[1]) } else { Some(value) };
        if versioned {
            out.put_u8(1);
        }
        let masked = text.map(|text| json::mask(self.detectors, text, self.scratch, out));
        match masked {
            Some(Ok(0)) => {
                out.truncate(begun);
                Change::None
            }
            Some(Ok(_)) => Change::Value,
            // What is no JSON, or of a later version, cannot be told to be harmless.
            Some(Err(json::NotJson)) | None => {
                out.truncate(begun);
                out.put_slice(if versioned { b"\x01\"****\"" } else { b"\"****\"" });
                Change::Value
            }
        }
    }

    fn array_text(&mut self, element: u32, value: &[u8], depth: usize, out: &mut BytesMut) -> Change {
        let begun = out.len();
        let walked = deeper(depth).and_then(|depth| array::text(self, element, value, depth, out));
        self.settle(walked, begun, out)
    }

    fn array_binary(&mut self, element: u32, value: &[u8], depth: usize, out: &mut BytesMut) -> Change {
        let begun = out.len();
        let walked = deeper(depth).and_then(|depth| array::binary(self, element, value, depth, out));
        self.settle(walked, begun, out)
    }

    fn record_binary(&mut self, value: &[u8], depth: usize, out: &mut BytesMut) -> Change {
        let begun = out.len();
        let walked = deeper(depth).and_then(|depth| array::record(self, value, depth, out));
        self.settle(walked, begun, out)
    }

    /// A value that is not built as its type says, or too deep, may hold anything: nothing of it is shown.
    fn settle(&self, walked: Result<Change, array::Malformed>, begun: usize, out: &mut BytesMut) -> Change {
        let change = walked.unwrap_or(match self.opaque {
            Opaque::Refuse => Change::Refused,
            Opaque::Scan | Opaque::Null => Change::Null,
        });
        if change != Change::Value {
            out.truncate(begun);
        }
        change
    }
}

fn deeper(depth: usize) -> Result<usize, array::Malformed> {
    depth.checked_sub(1).ok_or(array::Malformed)
}
