//! What becomes of each column of a result.

use std::sync::Arc;

use mask::{ColumnPlan, CopyFormat, CopyRewriter, MaskKind, Opaque, RowPlan, TypedMask, UnclassifiedColumn};
use model::{Fault, FaultKind, Whose};
use serde_json::{Value, json};
use statement::{Output, Outputs};

use super::protection::Guard;
use super::{Inspector, Meaning, Origin};
use crate::postgres::message::Field;

/// The largest row of COPY data that is looked at whole, in bytes.
const COPY_ROW: usize = 16 << 20;

/// The plan for a result.
#[derive(Debug)]
pub enum Planned {
    /// How its rows are rewritten.
    Rows(Arc<RowPlan>),
    /// It may not be delivered.
    Refused(Fault),
    /// It names a relation that the catalog does not know: ask for a fresh one.
    Unknown,
}

/// Why a column has no plan.
enum Stop {
    Refused(Fault),
    Unknown,
}

impl Inspector {
    /// Plans a result from its description. With `may_survey`, an unknown relation asks for a fresh catalog; without, it
    /// is taken to carry everything protected.
    #[must_use]
    pub fn plan(&self, fields: &[Field<'_>], meaning: Option<&Meaning>, may_survey: bool) -> Planned {
        let total = fields.len();
        let columns = fields.iter().enumerate().map(|(place, field)| {
            let column = Origin::from(field);
            self.column(column, place, total, meaning, may_survey).map_err(|stop| match stop {
                Stop::Refused(fault) => Stop::Refused(naming(fault, field.name)),
                Stop::Unknown => Stop::Unknown,
            })
        });
        match columns.collect::<Result<Vec<_>, _>>() {
            Ok(columns) => Planned::Rows(Arc::new(RowPlan::new(columns))),
            Err(Stop::Refused(fault)) => Planned::Refused(fault),
            Err(Stop::Unknown) => Planned::Unknown,
        }
    }

    /// Whether a result of these origins could be delivered, asked before execution.
    ///
    /// # Errors
    /// A column that may not be delivered has no mask of its type.
    pub fn plan_origins(&self, origins: &[Origin], meaning: Option<&Meaning>) -> Result<(), Fault> {
        for (place, origin) in origins.iter().enumerate() {
            if let Err(Stop::Refused(fault)) = self.column(*origin, place, origins.len(), meaning, false) {
                return if self.observes() { Ok(()) } else { Err(fault) };
            }
        }
        Ok(())
    }

    /// The plan for data of COPY TO STDOUT: the protected is refused before, the rest is looked at.
    #[must_use]
    pub fn copy_plan(&self, format: u8, columns: u16, meaning: Option<&Meaning>) -> CopyRewriter {
        let known =
            meaning.and_then(|meaning| meaning.copied.as_deref()).filter(|known| known.len() == usize::from(columns));
        let plans = (0..usize::from(columns)).map(|place| match known.and_then(|known| known.get(place)) {
            Some(origin) => {
                self.column(*origin, place, usize::from(columns), meaning, false).unwrap_or(ColumnPlan::Refuse)
            }
            None => self.look_at(mask::types::TEXT, self.view.unclassified.derived()),
        });
        let format = match (format, meaning.and_then(|meaning| meaning.format.clone())) {
            (1, _) => CopyFormat::Binary,
            (_, Some(format)) => format,
            (_, None) => CopyFormat::text(),
        };
        CopyRewriter::new(RowPlan::new(plans.collect()), format, COPY_ROW)
    }

    fn column(
        &self,
        origin: Origin,
        place: usize,
        total: usize,
        meaning: Option<&Meaning>,
        may_survey: bool,
    ) -> Result<ColumnPlan, Stop> {
        if origin.table == 0 {
            return self.derived(origin, meaning.map(|meaning| meaning.output(place, total)), meaning);
        }
        let Some(catalog) = &self.catalog else {
            return Ok(self.look_at(origin.type_oid, self.view.unclassified.derived()));
        };
        let Some(relation) = catalog.relations.get(&origin.table) else {
            if may_survey {
                return Err(Stop::Unknown);
            }
            return self.guarded(&self.protection.all(), origin.type_oid);
        };
        if origin.attribute == 0 {
            return match self.protection.relation(origin.table) {
                Some(guard) => self.guarded(&guard.untraced(), origin.type_oid),
                None => Ok(self.look_at(origin.type_oid, self.view.unclassified.derived())),
            };
        }
        if let Some(guard) = self.protection.column(origin.table, origin.attribute) {
            return self.guarded(guard, origin.type_oid);
        }
        let named = relation.columns.iter().find(|column| column.number == origin.attribute);
        let Some(column) = named else {
            // The server's own columns (ctid and its like) have negative numbers and hold nothing of anybody's.
            return if origin.attribute < 0 { Ok(ColumnPlan::Pass) } else { self.fresh(origin, may_survey) };
        };
        Ok(self.look_at(origin.type_oid, self.view.unclassified.column(&relation.schema, &relation.name, &column.name)))
    }

    /// A column the catalog does not know yet, of a relation it knows.
    fn fresh(&self, origin: Origin, may_survey: bool) -> Result<ColumnPlan, Stop> {
        if may_survey { Err(Stop::Unknown) } else { self.guarded(&self.protection.all(), origin.type_oid) }
    }

    /// A value that the server cannot trace to a column.
    fn derived(&self, origin: Origin, output: Option<Output>, meaning: Option<&Meaning>) -> Result<ColumnPlan, Stop> {
        let all;
        let guard = match (output, meaning) {
            (Some(Output::Clean), _) => None,
            (Some(Output::Column { relation, number }), _) => self.protection.column(relation, number).cloned(),
            (_, Some(meaning)) => meaning.touched.clone(),
            (_, None) => {
                all = self.protection.all();
                (!self.protection.is_empty()).then_some(all)
            }
        };
        match guard {
            Some(guard) => self.guarded(&guard.untraced(), origin.type_oid),
            None => Ok(self.look_at(origin.type_oid, self.view.unclassified.derived())),
        }
    }

    /// Whether a guard keeps anything from this session.
    #[must_use]
    pub fn hides(&self, guard: &Guard) -> bool {
        guard.system || self.view.classes.mask(&guard.classes, &self.view.reveals).is_some()
    }

    fn guarded(&self, guard: &Guard, type_oid: u32) -> Result<ColumnPlan, Stop> {
        let kind = match self.view.classes.mask(&guard.classes, &self.view.reveals) {
            Some(kind) if guard.traced => kind,
            Some(_) => &MaskKind::Full,
            None if guard.system => &MaskKind::Full,
            None => return Ok(ColumnPlan::Pass),
        };
        // A type nobody knows a mask for is still a type that can be absent, but only a known column may become so.
        TypedMask::for_type(kind, self.masked_type(type_oid)).map(ColumnPlan::Mask).ok_or_else(|| {
            let names: Vec<&str> = guard.classes.iter().map(|class| self.view.classes.name(class)).collect();
            let of = if names.is_empty() {
                "the system's own data".to_owned()
            } else {
                format!("class {}", names.join(", "))
            };
            let message = format!("a value of {of} would have a type that no mask fits");
            Stop::Refused(
                Fault::new(Whose::Policy, FaultKind::Denied, message)
                    .hint("select the column itself, or ask for a rule that reveals the class"),
            )
        })
    }

    /// String types of extensions are masked as text; everything else as the type it is.
    fn masked_type(&self, type_oid: u32) -> u32 {
        let own = self.catalog.as_ref().and_then(|catalog| catalog.types.get(&type_oid));
        match own {
            Some(own) if own.category == b'S' && type_oid >= FIRST_OWN => mask::types::TEXT,
            _ => type_oid,
        }
    }

    fn look_at(&self, type_oid: u32, unclassified: UnclassifiedColumn) -> ColumnPlan {
        match unclassified {
            UnclassifiedColumn::Pass => ColumnPlan::Pass,
            UnclassifiedColumn::Refuse => ColumnPlan::Refuse,
            UnclassifiedColumn::Mask => TypedMask::for_type(&MaskKind::Full, self.masked_type(type_oid))
                .map_or(ColumnPlan::Refuse, ColumnPlan::Mask),
            UnclassifiedColumn::Scan => match &self.view.detectors {
                None => ColumnPlan::Pass,
                Some(detectors) if self.is_row(type_oid) => ColumnPlan::scan_composite(detectors, Opaque::Scan),
                Some(detectors) => ColumnPlan::scan(detectors, self.masked_type(type_oid), Opaque::Scan),
            },
        }
    }

    fn is_row(&self, type_oid: u32) -> bool {
        let own = self.catalog.as_ref().and_then(|catalog| catalog.types.get(&type_oid));
        own.is_some_and(|own| own.row_of != 0)
    }
}

impl Inspector {
    /// What becomes of each output of a statement, as far as the text tells: a list of objects with `output`, and `masked`
    /// by which class and why.
    #[must_use]
    pub fn explain(&self, meaning: &Meaning) -> Value {
        let Outputs::Positions(outputs) = &meaning.outputs else {
            return match &meaning.touched {
                Some(guard) => {
                    json!([{"output": "*", "masked": self.class_names(guard), "why": "cannot be traced to its columns"}])
                }
                None => json!([]),
            };
        };
        (1..).zip(outputs).filter_map(|(place, output)| self.explain_output(place, *output, meaning)).collect()
    }

    fn explain_output(&self, place: usize, output: Output, meaning: &Meaning) -> Option<Value> {
        let told = |guard: &Guard, why: String| json!({"output": place, "masked": self.class_names(guard), "why": why});
        match output {
            Output::Clean => None,
            Output::Carries => {
                meaning.touched.as_ref().map(|guard| told(guard, "worked out from protected columns".to_owned()))
            }
            Output::Column { relation, number } => {
                let guard = self.protection.column(relation, number).filter(|guard| self.hides(guard))?;
                let known = self.catalog.as_ref().and_then(|catalog| catalog.relations.get(&relation))?;
                let column = known.columns.iter().find(|column| column.number == number)?;
                Some(told(guard, format!("column {}.{}.{}", known.schema, known.name, column.name)))
            }
        }
    }

    fn class_names(&self, guard: &Guard) -> Vec<String> {
        let names = guard.classes.iter().map(|class| self.view.classes.name(class).to_owned());
        if guard.system { vec!["system".to_owned()] } else { names.collect() }
    }
}

/// The first OID that a server gives to objects of its users.
const FIRST_OWN: u32 = 16384;

impl Guard {
    /// The same classes on a value that is not simply the column's.
    #[must_use]
    pub fn untraced(&self) -> Self {
        Self { traced: false, ..self.clone() }
    }
}

fn naming(mut fault: Fault, column: &[u8]) -> Fault {
    fault.message = format!("column \"{}\": {}", String::from_utf8_lossy(column), fault.message);
    fault
}
