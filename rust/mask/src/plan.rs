//! What happens to each column of a result.

use std::sync::Arc;

use bytes::BytesMut;
use model::Cell;

use crate::detectors::Detectors;
use crate::typed::{TypedMask, Written};
use crate::types::{Look, RECORD, look};
use crate::value::{Change, Looking, Scratch};

/// What happens to a scanned value whose binary format is not known (types of extensions, composite types under their
/// own names).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Opaque {
    /// Its bytes are scanned as they are, and each byte found is overwritten with a star. Lengths inside stay right.
    #[default]
    Scan,
    /// It becomes NULL.
    Null,
    /// The row is refused.
    Refuse,
}

/// A column under the detectors.
#[derive(Debug, Clone)]
pub struct ScanColumn {
    pub(crate) detectors: Arc<Detectors>,
    pub(crate) oid: u32,
    pub(crate) opaque: Opaque,
}

/// What happens to the values of one column.
#[derive(Debug, Clone)]
pub enum ColumnPlan {
    /// They are delivered as they are.
    Pass,
    /// Each becomes what the mask gives.
    Mask(TypedMask),
    /// What detectors find in them is masked. Made by [`ColumnPlan::scan`].
    Scan(ScanColumn),
    /// No row with this column may be delivered.
    Refuse,
}

impl ColumnPlan {
    /// Detectors on a column of the type `oid` (the base type of a domain); [`ColumnPlan::Pass`] for types that hold no
    /// text. For a composite type the caller may give [`crate::types::RECORD`], whose fields tell their own types.
    #[must_use]
    pub fn scan(detectors: &Arc<Detectors>, oid: u32, opaque: Opaque) -> Self {
        match look(oid) {
            Look::Never => Self::Pass,
            _ => Self::Scan(ScanColumn { detectors: Arc::clone(detectors), oid, opaque }),
        }
    }

    /// Detectors on a column of a composite type.
    #[must_use]
    pub fn scan_composite(detectors: &Arc<Detectors>, opaque: Opaque) -> Self {
        Self::scan(detectors, RECORD, opaque)
    }

    /// Appends what stands for `cell`, if it changes.
    pub(crate) fn apply(&self, cell: Cell<'_>, scratch: &mut Scratch, out: &mut BytesMut) -> Change {
        match self {
            Self::Refuse => Change::Refused,
            Self::Pass => Change::None,
            _ if cell == Cell::Null => Change::None,
            Self::Mask(mask) => match mask.write(cell, out) {
                Written::Value => Change::Value,
                Written::Null => Change::Null,
            },
            Self::Scan(scan) => {
                Looking { detectors: &scan.detectors, opaque: scan.opaque, scratch }.value(scan.oid, cell, out)
            }
        }
    }
}

/// What happens to the columns of a result, in order.
#[derive(Debug, Clone)]
pub struct RowPlan {
    columns: Vec<ColumnPlan>,
    passes: bool,
    refused: Option<usize>,
}

impl RowPlan {
    /// A plan for rows of exactly these columns.
    #[must_use]
    pub fn new(columns: Vec<ColumnPlan>) -> Self {
        let passes = columns.iter().all(|column| matches!(column, ColumnPlan::Pass));
        let refused = columns.iter().position(|column| matches!(column, ColumnPlan::Refuse));
        Self { columns, passes, refused }
    }

    /// The columns.
    #[must_use]
    pub fn columns(&self) -> &[ColumnPlan] {
        &self.columns
    }

    /// Whether every row is delivered as it is, so that nobody need look at it.
    #[must_use]
    pub fn passes(&self) -> bool {
        self.passes
    }

    /// The first column because of which no row may be delivered, counted from 0.
    #[must_use]
    pub fn refused(&self) -> Option<usize> {
        self.refused
    }
}
