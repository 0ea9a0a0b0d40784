//! Lineage: which outputs of a statement can carry protected values.
//!
//! The trace is cautious. It follows plain scopes (relations, joins, sub-selects, common table expressions, VALUES, set
//! operations) by name; whatever it does not model carries everything its names could mean. An expression is clean only if
//! every column in it is known and unprotected.

mod expression;
mod query;
mod scope;

use pg_query::NodeEnum;

use crate::statement::Statement;
use query::Tracer;

/// The tree that the trace reads, kept for statements that can have outputs.
#[derive(Debug, Default)]
pub(crate) struct Lineage {
    root: Option<Box<NodeEnum>>,
    weight: usize,
}

/// Keeps what the trace of a statement needs.
pub(crate) fn build(root: &NodeEnum, bytes: usize) -> Lineage {
    let traced = matches!(
        root,
        NodeEnum::SelectStmt(_)
            | NodeEnum::InsertStmt(_)
            | NodeEnum::UpdateStmt(_)
            | NodeEnum::DeleteStmt(_)
            | NodeEnum::MergeStmt(_)
    );
    // A node of the tree takes some hundred bytes and stands for a few of the text.
    if traced {
        Lineage { root: Some(Box::new(root.clone())), weight: bytes.saturating_mul(60) }
    } else {
        Lineage::default()
    }
}

impl Lineage {
    pub(crate) const fn weight(&self) -> usize {
        self.weight
    }

    pub(crate) fn root(&self) -> Option<&NodeEnum> {
        self.root.as_deref()
    }
}

/// One column of a relation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its attribute number.
    pub number: i16,
    /// Whether it carries values that are protected from whoever asks.
    pub protected: bool,
}

/// One relation, as the target's catalog knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relation<'a> {
    /// Its OID.
    pub id: u32,
    /// Its columns in order.
    pub columns: Vec<Column<'a>>,
    /// Whether any column is protected.
    pub protected: bool,
}

/// The target's catalog, as names of a text see it.
pub trait Names {
    /// The relation a name means; `None` if the catalog knows none.
    fn relation(&self, schema: Option<&str>, name: &str) -> Option<Relation<'_>>;
}

/// What one output can carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output {
    /// No protected value.
    Clean,
    /// The values of this column, unchanged.
    Column {
        /// The relation's OID.
        relation: u32,
        /// The attribute number.
        number: i16,
    },
    /// Perhaps any value of the protected relations the statement touches.
    Carries,
}

/// What the outputs of a statement can carry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outputs {
    /// Their number or order cannot be told from the text.
    Unknown,
    /// Each of them, in order.
    Positions(Vec<Output>),
}

/// What a statement has to do with protected relations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exposure {
    /// The protected relations it names anywhere, by OID, each once.
    pub touches: Vec<u32>,
    /// Relations it names that the catalog does not know.
    pub unknown: Vec<String>,
    /// Its outputs.
    pub outputs: Outputs,
}

impl Statement {
    /// What the statement has to do with the protected relations among `names`.
    #[must_use]
    pub fn exposure(&self, names: &dyn Names) -> Exposure {
        let mut exposure = Exposure { touches: Vec::new(), unknown: Vec::new(), outputs: Outputs::Unknown };
        for relation in &self.relations {
            match names.relation(relation.schema.as_deref(), &relation.name) {
                Some(known) if known.protected && !exposure.touches.contains(&known.id) => {
                    exposure.touches.push(known.id)
                }
                Some(_) => {}
                None => exposure.unknown.push(relation.to_string()),
            }
        }
        if let Some(root) = self.lineage.root() {
            exposure.outputs = Tracer::new(names).outputs(root);
        }
        exposure
    }

    /// Whether an INSERT, UPDATE, DELETE or MERGE has a RETURNING list.
    #[must_use]
    pub fn returns_rows(&self) -> bool {
        let returning = match self.lineage.root() {
            Some(NodeEnum::InsertStmt(stmt)) => &stmt.returning_clause,
            Some(NodeEnum::UpdateStmt(stmt)) => &stmt.returning_clause,
            Some(NodeEnum::DeleteStmt(stmt)) => &stmt.returning_clause,
            Some(NodeEnum::MergeStmt(stmt)) => &stmt.returning_clause,
            _ => return true,
        };
        returning.is_some()
    }
}
