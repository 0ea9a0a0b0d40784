//! What detectors find inside a text, and what stands for it.

use bytes::{BufMut, BytesMut};
use scan::{Scanner, Span};

use crate::json;
use crate::kind::MaskKind;
use crate::value::Scratch;

/// A scanner with the mask of each of its detectors: that of the class that lists the detector. A detector of no class
/// puts stars in place of each byte.
#[derive(Debug)]
pub struct Detectors {
    scanner: Scanner,
    /// By the scanner's `DetectorId`.
    masks: Vec<Option<MaskKind>>,
}

impl Detectors {
    /// Detectors and their masks. Of a detector named twice the first mask counts.
    ///
    /// # Errors
    /// A detector is unknown.
    pub fn new(detectors: &[(&str, Option<MaskKind>)]) -> Result<Self, scan::Problem> {
        let names: Vec<&str> = detectors.iter().map(|(name, _)| *name).collect();
        let scanner = Scanner::new(&names)?;
        let mask_of =
            |name: &&str| detectors.iter().find(|(known, _)| known == name).and_then(|(_, mask)| mask.clone());
        let masks = scanner.detectors().iter().map(mask_of).collect();
        Ok(Self { scanner, masks })
    }

    /// The scanner.
    #[must_use]
    pub fn scanner(&self) -> &Scanner {
        &self.scanner
    }

    /// The detector of the first thing found in `value`, for telling what a literal or parameter looks like.
    #[must_use]
    pub fn name_of_hit(&self, value: &[u8]) -> Option<&'static str> {
        if !self.scanner.hits(value) {
            return None;
        }
        let mut spans = Vec::new();
        self.scanner.find(value, &mut spans);
        spans.first().map(|span| self.scanner.name(span.detector))
    }

    /// `value` with `<us_ssn>` and its like in place of what is found, for the trail; `None` if nothing is.
    #[must_use]
    pub fn placeholders(&self, value: &[u8]) -> Option<Vec<u8>> {
        self.replaced(value, |span, _, out| {
            out.put_u8(b'<');
            out.put_slice(self.scanner.name(span.detector).as_bytes());
            out.put_u8(b'>');
        })
    }

    /// `value` with every span masked as its class says; `None` if nothing is found.
    #[must_use]
    pub fn masked(&self, value: &[u8]) -> Option<Vec<u8>> {
        self.replaced(value, |span, piece, out| self.write_span(span, piece, out))
    }

    fn replaced(&self, value: &[u8], write: impl Fn(&Span, &[u8], &mut BytesMut)) -> Option<Vec<u8>> {
        if !self.scanner.may_hit(value) {
            return None;
        }
        let mut spans = Vec::new();
        self.scanner.find(value, &mut spans);
        let mut out = BytesMut::new();
        splice(value, &spans, &mut out, write);
        (!spans.is_empty()).then(|| out.to_vec())
    }

    /// Appends `value` with every span masked and gives their number; appends nothing if there is none.
    pub(crate) fn mask_text(&self, value: &[u8], spans: &mut Vec<Span>, out: &mut BytesMut) -> usize {
        self.scanner.find(value, spans);
        if !spans.is_empty() {
            splice(value, spans, out, |span, piece, out| self.write_span(span, piece, out));
        }
        spans.len()
    }

    /// The same with a star for each byte, for values whose syntax around the text is not known.
    pub(crate) fn star_text(&self, value: &[u8], spans: &mut Vec<Span>, out: &mut BytesMut) -> usize {
        self.scanner.find(value, spans);
        if !spans.is_empty() {
            splice(value, spans, out, |_, piece, out| out.put_bytes(b'*', piece.len()));
        }
        spans.len()
    }

    /// Masks a text that may itself spell JSON with escapes, which would hide what they spell.
    pub(crate) fn mask_text_deeply(&self, value: &[u8], scratch: &mut Scratch, out: &mut BytesMut) -> usize {
        if !json::may_hide(value) {
            return self.mask_text(value, &mut scratch.spans, out);
        }
        let mut unhidden = std::mem::take(&mut scratch.nested);
        unhidden.clear();
        let hidden = json::mask(self, value, scratch, &mut unhidden).unwrap_or(0);
        let plain = if hidden > 0 { &unhidden[..] } else { value };
        let open = self.mask_text(plain, &mut scratch.spans, out);
        if open == 0 && hidden > 0 {
            out.put_slice(plain);
        }
        scratch.nested = unhidden;
        hidden + open
    }

    fn write_span(&self, span: &Span, piece: &[u8], out: &mut BytesMut) {
        let mask = self.masks.get(usize::from(span.detector.0)).and_then(Option::as_ref);
        match mask {
            Some(mask) if !span.mixed => mask.write_piece(piece, out),
            _ => out.put_bytes(b'*', piece.len()),
        }
    }
}

fn splice(value: &[u8], spans: &[Span], out: &mut BytesMut, write: impl Fn(&Span, &[u8], &mut BytesMut)) {
    let mut copied = 0;
    for span in spans {
        out.put_slice(&value[copied..span.start]);
        write(span, &value[span.start..span.end], out);
        copied = span.end;
    }
    out.put_slice(&value[copied..]);
}

/// The free text of an error or notice with everything the detectors find masked; `None` if they find nothing.
#[must_use]
pub fn scrub(text: &str, detectors: &Detectors) -> Option<String> {
    let masked = detectors.masked(text.as_bytes())?;
    // Spans can begin or end inside a character only if a detector took a byte of it for a letter; then all is hidden.
    Some(String::from_utf8(masked).unwrap_or_else(|_| String::from("****")))
}
