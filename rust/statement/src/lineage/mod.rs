//! Which outputs of a statement can carry protected values, which literals meet them, and where they go.
//!
//! Everything here errs towards protection. An output is [`Output::Clean`] only if the text proves that no protected
//! value can be in it, [`Output::Column`] only if it is that column unchanged, and [`Output::Carries`] otherwise.

mod build;
mod expression;
mod ir;
mod scope;
mod trace;
mod writes;

use std::collections::HashSet;

use crate::functions;
use crate::statement::{Detail, Statement};
pub(crate) use build::build;

/// A column of a relation, as the catalog knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Column<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its attribute number.
    pub number: i16,
    /// Whether its values are protected from this session.
    pub protected: bool,
}

/// A relation, as the catalog knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relation<'a> {
    /// Its OID.
    pub id: u32,
    /// Its columns in order, dropped ones left out.
    pub columns: Vec<Column<'a>>,
    /// Whether any of it is protected from this session. If it is but none of its columns is marked, all of them are
    /// taken to be.
    pub protected: bool,
}

/// What the names in a text stand for, on one target and for one session.
pub trait Names {
    /// The relation of this name; without a schema, as the session's search path finds it.
    fn relation(&self, schema: Option<&str>, name: &str) -> Option<Relation<'_>>;
}

/// What one output of a statement can carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Output {
    /// No protected value.
    Clean,
    /// A protected column, unchanged.
    Column {
        /// The relation's OID.
        relation: u32,
        /// The column's attribute number.
        number: i16,
    },
    /// Protected values, in whatever form.
    Carries,
}

/// What the outputs of a statement can carry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outputs {
    /// How many outputs there are cannot be told from the text; any of them may carry protected values.
    Unknown,
    /// One entry for each output, in order.
    Positions(Vec<Output>),
}

/// How a statement meets protected data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exposure {
    /// The protected relations it names, wherever it names them.
    pub touches: Vec<u32>,
    /// The relations it names that the catalog does not know.
    pub unknown: Vec<String>,
    /// What its outputs can carry.
    pub outputs: Outputs,
    /// It puts protected values, or what they were turned into, where they were not before: into other columns, or
    /// into a relation that it makes.
    pub stores: bool,
    /// Names written like columns (`t.name`) that no relation in scope has: the server then runs a function of that
    /// name on the row.
    pub attributes: Vec<String>,
}

/// The shape of what a statement sends back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// No rows.
    Nothing,
    /// The rows of its query.
    Query,
    /// Rows without values of tables.
    Clean,
    /// Rows that only the session's state explains.
    Unknown,
}

/// What tracing needs of a statement.
#[derive(Debug)]
pub(crate) struct Lineage {
    query: Option<Box<ir::Query>>,
    shape: Shape,
}

impl Lineage {
    /// Roughly what it occupies beyond its own size, in bytes.
    pub(crate) fn weight(&self) -> usize {
        self.query.as_ref().map_or(0, |query| query.weight())
    }
}

/// What tracing finds out about one statement.
pub(crate) struct Findings {
    pub exposure: Exposure,
    /// Places of literals, in bytes, that stand where nothing protected does.
    pub free: HashSet<u32, ahash::RandomState>,
    /// By number less one: which parameters may meet protected columns.
    pub parameters: Vec<bool>,
}

impl Statement {
    /// How this statement meets what `names` protects.
    #[must_use]
    pub fn exposure(&self, names: &dyn Names) -> Exposure {
        self.findings(names).exposure
    }

    /// Which of the parameters `$1`, `$2`, … may meet protected columns: be compared with them, assigned to them, or
    /// put through a function together with them.
    #[must_use]
    pub fn parameters_protected(&self, names: &dyn Names) -> Vec<bool> {
        self.findings(names).parameters
    }

    /// Whether executing it may answer with rows.
    #[must_use]
    pub fn returns_rows(&self) -> bool {
        match &self.detail {
            Detail::Explain { .. } => true,
            _ => match self.lineage.shape {
                Shape::Nothing => false,
                Shape::Clean => true,
                Shape::Unknown => !matches!(self.detail, Detail::Copy(_)),
                Shape::Query => self.lineage.query.as_ref().is_some_and(|query| query.returns_rows()),
            },
        }
    }

    pub(crate) fn findings(&self, names: &dyn Names) -> Findings {
        match &self.detail {
            Detail::Prepare { inner, .. } | Detail::DeclareCursor { inner, .. } => {
                let mut findings = inner.findings(names);
                findings.exposure.outputs = Outputs::Positions(Vec::new());
                findings
            }
            Detail::Explain { inner, .. } => {
                let mut findings = inner.findings(names);
                findings.exposure.outputs = self.plan();
                findings
            }
            _ => self.traced(names),
        }
    }

    /// What a plan shows: the text's own constants, and what planning made of them. Only a function that nobody
    /// reviewed can put anything else there.
    fn plan(&self) -> Outputs {
        let reviewed = self
            .unreviewed_functions()
            .all(|function| functions::is_writing(function.schema.as_deref(), &function.name));
        Outputs::Positions(vec![if reviewed && !self.hidden_sql { Output::Clean } else { Output::Carries }])
    }

    fn traced(&self, names: &dyn Names) -> Findings {
        let mut touches = Vec::new();
        let mut unknown = Vec::new();
        for relation in &self.relations {
            match names.relation(relation.schema.as_deref(), &relation.name) {
                Some(known) if known.protected || known.columns.iter().any(|column| column.protected) => {
                    touches.push(known.id);
                }
                Some(_) => {}
                None => unknown.push(relation.to_string()),
            }
        }
        touches.sort_unstable();
        touches.dedup();
        unknown.sort_unstable();
        unknown.dedup();
        let mut tracer = trace::Tracer::new(names, !touches.is_empty(), usize::from(self.parameters));
        let table = self.lineage.query.as_ref().map(|query| tracer.query(query, None));
        let outputs = match self.lineage.shape {
            Shape::Nothing => Outputs::Positions(Vec::new()),
            Shape::Clean | Shape::Unknown => Outputs::Unknown,
            Shape::Query => table.as_ref().map_or(Outputs::Unknown, |table| table.outputs()),
        };
        let made = matches!(self.detail, Detail::CreateAs { .. });
        let stores = tracer.stores || (made && table.as_ref().is_none_or(|table| !table.is_clean()));
        let (outputs, free, parameters, attributes) = tracer.finish(outputs);
        Findings { exposure: Exposure { touches, unknown, outputs, stores, attributes }, free, parameters }
    }
}
