//! What happens to a column, from everything that is known about it and the session.

use std::sync::Arc;

use crate::classes::{ClassSet, Classes, Reveals, Unclassified, UnclassifiedColumn};
use crate::detectors::Detectors;
use crate::plan::{ColumnPlan, Opaque};
use crate::typed::TypedMask;

/// The classes, what one session's rules reveal of them, and what its target does with the rest. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Planner {
    classes: Arc<Classes>,
    reveals: Reveals,
    unclassified: Arc<Unclassified>,
    detectors: Option<Arc<Detectors>>,
    opaque: Opaque,
}

impl Planner {
    /// For one session on one target.
    ///
    /// # Errors
    /// A detector's pattern does not compile on this machine.
    pub fn new(
        classes: Arc<Classes>,
        reveals: Reveals,
        unclassified: Arc<Unclassified>,
        opaque: Opaque,
    ) -> Result<Self, scan::Problem> {
        let detectors = classes.detectors(&reveals)?;
        Ok(Self { classes, reveals, unclassified, detectors, opaque })
    }

    /// The detectors that are not revealed, for errors, notices and COPY; `None` if there are none.
    #[must_use]
    pub fn detectors(&self) -> Option<&Arc<Detectors>> {
        self.detectors.as_ref()
    }

    /// Whether some class of the column is not revealed.
    #[must_use]
    pub fn protects(&self, classes: &ClassSet) -> bool {
        self.classes.mask(classes, &self.reveals).is_some()
    }

    /// A column delivered as it stands in its table. `oid` is its type, for a domain the base type. A mask that has no
    /// value of the type refuses.
    #[must_use]
    pub fn column(&self, classes: &ClassSet, schema: &str, table: &str, column: &str, oid: u32) -> ColumnPlan {
        match self.classes.mask(classes, &self.reveals) {
            Some(kind) => TypedMask::for_type(kind, oid).map_or(ColumnPlan::Refuse, ColumnPlan::Mask),
            None if !classes.is_empty() => ColumnPlan::Pass,
            None => self.rest(self.unclassified.column(schema, table, column), oid),
        }
    }

    /// A value made of columns of these classes, of which a kept part could be the wrong part: masked in full while any
    /// of them is not revealed, otherwise like any value made of unclassified columns.
    #[must_use]
    pub fn derived(&self, classes: &ClassSet, oid: u32) -> ColumnPlan {
        if self.protects(classes) { ColumnPlan::Mask(TypedMask::full(oid)) } else { self.clean(oid) }
    }

    /// A value that carries nothing of any classified column.
    #[must_use]
    pub fn clean(&self, oid: u32) -> ColumnPlan {
        self.rest(self.unclassified.derived(), oid)
    }

    /// A value of which nothing is known but that it may carry protected data.
    #[must_use]
    pub fn hidden(&self, oid: u32) -> ColumnPlan {
        ColumnPlan::Mask(TypedMask::full(oid))
    }

    fn rest(&self, way: UnclassifiedColumn, oid: u32) -> ColumnPlan {
        match (way, &self.detectors) {
            (UnclassifiedColumn::Pass, _) | (UnclassifiedColumn::Scan, None) => ColumnPlan::Pass,
            (UnclassifiedColumn::Scan, Some(detectors)) => ColumnPlan::scan(detectors, oid, self.opaque),
            (UnclassifiedColumn::Mask, _) => ColumnPlan::Mask(TypedMask::full(oid)),
            (UnclassifiedColumn::Refuse, _) => ColumnPlan::Refuse,
        }
    }
}
