//! Masking without a gateway: the library's face.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::BytesMut;
use model::Cell;
use scan::Span;

use crate::classes::{Classes, Reveals};
use crate::detectors::Detectors;
use crate::typed::{TypedMask, Written};
use crate::types::TEXT;
use crate::value::Scratch;

/// What a [`Masker`] does with the values of one column.
#[derive(Debug, Clone)]
pub struct CellMask(Way);

#[derive(Debug, Clone)]
enum Way {
    Scan,
    Mask(TypedMask),
}

/// Masks texts, and rows of texts, as a manifest's classes say. Shared by threads.
#[derive(Debug)]
pub struct Masker {
    classes: Arc<Classes>,
    reveals: Reveals,
    detectors: Option<Arc<Detectors>>,
}

impl Masker {
    /// A masker with these built-in detectors and no classes: what is found becomes stars.
    ///
    /// # Errors
    /// A detector is unknown.
    pub fn builtin(detectors: &[&str]) -> Result<Self, scan::Problem> {
        let detectors: Vec<_> = detectors.iter().map(|name| (*name, None)).collect();
        let detectors = Some(Arc::new(Detectors::new(&detectors)?));
        Ok(Self { classes: Arc::default(), reveals: Reveals::default(), detectors })
    }

    /// A masker with a manifest's classes, of which some are revealed.
    ///
    /// # Errors
    /// A detector's pattern does not compile on this machine.
    pub fn from_classes(classes: Arc<Classes>, reveals: Reveals) -> Result<Self, scan::Problem> {
        let detectors = classes.detectors(&reveals)?;
        Ok(Self { classes, reveals, detectors })
    }

    /// Fills `spans` with what the detectors find in `value`; their names are [`Masker::detector`]'s.
    pub fn scan(&self, value: &[u8], spans: &mut Vec<Span>) {
        match &self.detectors {
            Some(detectors) => detectors.scanner().find(value, spans),
            None => spans.clear(),
        }
    }

    /// The name of the detector of a span.
    #[must_use]
    pub fn detector(&self, span: &Span) -> &'static str {
        self.detectors.as_ref().map_or("", |detectors| detectors.scanner().name(span.detector))
    }

    /// `value` with everything the detectors find masked; borrowed if they find nothing. JSON stays JSON.
    #[must_use]
    pub fn mask_bytes<'a>(&self, value: &'a [u8]) -> Cow<'a, [u8]> {
        let Some(detectors) = &self.detectors else { return Cow::Borrowed(value) };
        let mut out = BytesMut::new();
        match detectors.mask_text_deeply(value, &mut Scratch::default(), &mut out) {
            0 => Cow::Borrowed(value),
            _ => Cow::Owned(out.into()),
        }
    }

    /// What to do with columns of these names, each `column`, `table.column` or `schema.table.column`.
    #[must_use]
    pub fn columns(&self, names: &[&str]) -> Vec<CellMask> {
        let plan = |name: &&str| {
            let kind = self.classes.mask(&self.classes.column_named(name), &self.reveals);
            let mask = kind.map(|kind| TypedMask::for_type(kind, TEXT).unwrap_or_else(|| TypedMask::full(TEXT)));
            CellMask(mask.map_or(Way::Scan, Way::Mask))
        };
        names.iter().map(plan).collect()
    }

    /// One value of a column, masked; `None` is NULL and stays so.
    #[must_use]
    pub fn mask_cell<'a>(&self, column: &CellMask, value: Option<&'a [u8]>) -> Option<Cow<'a, [u8]>> {
        let value = value?;
        match &column.0 {
            Way::Scan => Some(self.mask_bytes(value)),
            Way::Mask(mask) => {
                let mut out = BytesMut::new();
                match mask.write(Cell::Text(value), &mut out) {
                    Written::Value => Some(Cow::Owned(out.into())),
                    Written::Null => None,
                }
            }
        }
    }

    /// Masks rows in place and gives the number of values that changed. A value beyond the last column is looked at by
    /// the detectors.
    pub fn mask_rows(&self, columns: &[CellMask], rows: &mut [Vec<Option<Cow<'_, [u8]>>>]) -> usize {
        let mut changed = 0;
        for row in rows {
            for (place, cell) in row.iter_mut().enumerate() {
                let column = columns.get(place).unwrap_or(&CellMask(Way::Scan));
                let masked = match self.mask_cell(column, cell.as_deref()) {
                    Some(Cow::Borrowed(_)) => continue,
                    Some(Cow::Owned(masked)) => Some(Cow::Owned(masked)),
                    None => None,
                };
                changed += usize::from(cell.is_some());
                *cell = masked;
            }
        }
        changed
    }
}
