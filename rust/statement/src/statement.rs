//! The products of understanding: a text and its statements.

use std::fmt;
use std::ops::{BitOr, BitOrAssign, Range};
use std::sync::{Arc, OnceLock};

use model::{Fact, FactKind, FactValue, Facts, Phase};

use crate::lineage::Lineage;

/// The rights that a statement needs, in the words of a rule's `allow` presets.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Rights(u16);

impl Rights {
    /// Nothing.
    pub const NONE: Self = Self(0);
    /// Reading, and what comes with it: cursors, transaction control, listed settings.
    pub const READ: Self = Self(1);
    /// INSERT, UPDATE, DELETE, MERGE, row locks, sequences, NOTIFY.
    pub const WRITE: Self = Self(1 << 1);
    /// Changing what exists, or maintaining it.
    pub const DDL: Self = Self(1 << 2);
    /// COPY … FROM.
    pub const COPY_IN: Self = Self(1 << 3);
    /// COPY … TO.
    pub const COPY_OUT: Self = Self(1 << 4);
    /// CALL and DO.
    pub const CALL: Self = Self(1 << 5);
    /// Changing a setting: see [`crate::settings::verdict`] for whether `read` covers this one.
    pub const SETTING: Self = Self(1 << 6);
    /// What no preset gives: the statement is not understood.
    pub const NEVER: Self = Self(1 << 7);

    const NAMES: [(Self, &'static str); 8] = [
        (Self::READ, "read"),
        (Self::WRITE, "write"),
        (Self::DDL, "ddl"),
        (Self::COPY_IN, "copy_in"),
        (Self::COPY_OUT, "copy_out"),
        (Self::CALL, "call"),
        (Self::SETTING, "setting"),
        (Self::NEVER, "never"),
    ];

    /// Whether all of `other` is in `self`.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// What of `self` is not in `granted`.
    #[must_use]
    pub const fn beyond(self, granted: Self) -> Self {
        Self(self.0 & !granted.0)
    }

    /// Whether nothing is needed.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The names of the rights in the set, as rules write them.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        Self::NAMES.into_iter().filter(move |(right, _)| self.contains(*right)).map(|(_, name)| name)
    }
}

impl BitOr for Rights {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl std::ops::BitAnd for Rights {
    type Output = Self;

    fn bitand(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}

impl BitOrAssign for Rights {
    fn bitor_assign(&mut self, other: Self) {
        self.0 |= other.0;
    }
}

impl fmt::Debug for Rights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.names()).finish()
    }
}

/// What a statement does to a relation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Access {
    /// Reads its rows or refers to it.
    Read,
    /// Changes its rows or its definition.
    Write,
}

/// A relation as the text names it. Names of common table expressions are not relations.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RelationRef {
    /// The schema, if written.
    pub schema: Option<Box<str>>,
    /// The name.
    pub name: Box<str>,
    /// What is done to it.
    pub access: Access,
}

/// A function as the text names it, be it a plain call, an aggregate, a table function, a sampling method, or an
/// operator or attribute written so that a function of that name is what runs.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct FunctionRef {
    /// The schema, if written.
    pub schema: Option<Box<str>>,
    /// The name.
    pub name: Box<str>,
}

pub(crate) fn dotted(schema: Option<&str>, name: &str) -> Arc<str> {
    match schema {
        Some(schema) => format!("{schema}.{name}").into(),
        None => name.into(),
    }
}

impl fmt::Display for RelationRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&dotted(self.schema.as_deref(), &self.name))
    }
}

impl fmt::Display for FunctionRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&dotted(self.schema.as_deref(), &self.name))
    }
}

/// What a statement does to the session's transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Transaction {
    /// Nothing.
    #[default]
    None,
    /// Begins one.
    Begin,
    /// Ends it, keeping its work. `chain`: and begins the next.
    Commit {
        /// AND CHAIN.
        chain: bool,
    },
    /// Ends it, discarding its work. `chain`: and begins the next.
    Rollback {
        /// AND CHAIN.
        chain: bool,
    },
    /// Sets a savepoint.
    Savepoint,
    /// Forgets a savepoint.
    Release,
    /// Goes back to a savepoint, which also ends the aborted state.
    RollbackTo,
    /// Prepares it for two-phase commit, which ends it for the session.
    Prepare,
    /// Commits or rolls back one prepared earlier, outside any transaction.
    Prepared,
}

/// Where COPY's bytes come from or go to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CopyEnd {
    /// The client, through the protocol.
    Client,
    /// A file of the server.
    File,
    /// A program run by the server.
    Program,
}

/// What COPY copies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CopySource {
    /// A relation; no columns written means all.
    Relation {
        /// The relation.
        relation: RelationRef,
        /// The columns in the order written.
        columns: Vec<Box<str>>,
    },
    /// The result of a statement.
    Query,
}

/// The parts of a COPY.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copy {
    /// COPY … FROM, into the database.
    pub inwards: bool,
    /// What.
    pub source: CopySource,
    /// `text`, `csv`, `binary`, or whatever else the text says.
    pub format: Box<str>,
    /// The other options as written, without their quotes, names in lower case.
    pub options: Vec<(Box<str>, Box<str>)>,
    /// The other end.
    pub end: CopyEnd,
}

/// What is particular to one kind of statement.
#[derive(Debug, Default)]
#[allow(missing_docs, reason = "the fields are the grammar's own nouns, and each variant says what they are")]
pub enum Detail {
    /// Nothing particular.
    #[default]
    None,
    /// COPY.
    Copy(Copy),
    /// SET, also SET TIME ZONE, SET ROLE, SET SESSION AUTHORIZATION, and each part of SET TRANSACTION. `values` are as
    /// written; empty means DEFAULT.
    Set { name: Box<str>, values: Vec<Box<str>>, local: bool },
    /// RESET name; `None` is RESET ALL.
    Reset { name: Option<Box<str>> },
    /// SHOW name; `all` is SHOW ALL.
    Show { name: Box<str> },
    /// PREPARE name AS inner.
    Prepare { name: Box<str>, inner: Box<Statement> },
    /// EXECUTE name.
    Execute { name: Box<str> },
    /// DEALLOCATE name; `None` is all.
    Deallocate { name: Option<Box<str>> },
    /// DECLARE name CURSOR FOR inner.
    DeclareCursor { name: Box<str>, hold: bool, binary: bool, inner: Box<Statement> },
    /// FETCH from a cursor.
    Fetch { cursor: Box<str> },
    /// MOVE in a cursor.
    Move { cursor: Box<str> },
    /// CLOSE a cursor; `None` is all.
    CloseCursor { cursor: Option<Box<str>> },
    /// EXPLAIN inner.
    Explain { analyze: bool, inner: Box<Statement> },
    /// DO: a body in a procedural language, which nobody here reads.
    Do,
    /// CALL of a procedure.
    Call { procedure: FunctionRef },
    /// CREATE VIEW, CREATE MATERIALIZED VIEW, CREATE TABLE AS, SELECT INTO. `executes`: AS EXECUTE of a prepared statement.
    CreateAs { relation: RelationRef, executes: bool },
    /// DISCARD; `all` also deallocates, closes, resets and unlistens.
    Discard { all: bool },
    /// LISTEN on a channel.
    Listen { channel: Box<str> },
    /// UNLISTEN; `None` is all.
    Unlisten { channel: Option<Box<str>> },
    /// NOTIFY on a channel.
    Notify { channel: Box<str> },
}

/// One statement of a text.
#[derive(Debug)]
pub struct Statement {
    /// Where it stands in the text, in bytes.
    pub span: Range<usize>,
    /// What it is, as the fact `sql.kind` says it: `select`, `insert`, `create_table`, `set`, …
    pub kind: &'static str,
    /// The rights it needs.
    pub rights: Rights,
    /// The relations it names, each pair of name and access once.
    pub relations: Vec<RelationRef>,
    /// The functions it names, each once.
    pub functions: Vec<FunctionRef>,
    /// Names of fields taken from values (`(x).name`): the server runs a function of that name on a value without such a
    /// field.
    pub fields: Vec<Box<str>>,
    /// What outside the database it touches: `files`, `programs`, `large_objects`, `dblink`, `servers`, `extensions`,
    /// `replication`, `configuration`, `processes`.
    pub server_io: Vec<&'static str>,
    /// It hands the server SQL in a string or a body, where nobody here reads it.
    pub hidden_sql: bool,
    /// It discards data or definitions at large: DROP, TRUNCATE, DELETE or UPDATE of every row, ALTER … DROP.
    pub destructive: bool,
    /// Executing it may change something.
    pub writes: bool,
    /// What it does to the transaction.
    pub transaction: Transaction,
    /// What is particular to its kind.
    pub detail: Detail,
    /// Settings it changes by calling `set_config` with a constant name; the value is `None` if it is no constant.
    pub settings: Vec<(Box<str>, Option<Box<str>>)>,
    /// The highest `$n` in it; 0 if none.
    pub parameters: u16,
    /// Its string literals are or contain passwords or connection strings.
    pub(crate) secrets: bool,
    pub(crate) lineage: Lineage,
}

/// A text that was understood. No statements means an empty text.
#[derive(Debug)]
pub struct Text {
    /// The text.
    pub sql: Arc<str>,
    /// Its statements, in order.
    pub statements: Vec<Statement>,
    pub(crate) shape: OnceLock<Box<str>>,
    /// Roughly what it occupies, in bytes.
    pub(crate) weight: usize,
}

/// The facts that rules may use about a statement.
pub const FACTS: &[Fact] = &[
    Fact {
        name: "sql.kind",
        kind: FactKind::Text,
        phase: Phase::Statement,
        help: "what the statement is: select, insert, copy, create_table, …",
    },
    Fact {
        name: "sql.tables",
        kind: FactKind::Texts,
        phase: Phase::Statement,
        help: "the relations it names, with their schema if known",
    },
    Fact {
        name: "sql.functions",
        kind: FactKind::Texts,
        phase: Phase::Statement,
        help: "the functions it names, as written",
    },
    Fact {
        name: "sql.destructive",
        kind: FactKind::Bool,
        phase: Phase::Statement,
        help: "DROP, TRUNCATE, ALTER … DROP, or UPDATE or DELETE of every row",
    },
    Fact {
        name: "sql.server_io",
        kind: FactKind::Bool,
        phase: Phase::Statement,
        help: "it touches the server's files, programs, large objects, dblink or the like",
    },
];

impl Statement {
    /// The facts of this statement.
    #[must_use]
    pub fn facts(&self) -> Facts {
        let mut tables: Vec<Arc<str>> =
            self.relations.iter().map(|relation| dotted(relation.schema.as_deref(), &relation.name)).collect();
        tables.sort_unstable();
        tables.dedup();
        let mut facts = Facts::new();
        facts.set("sql.kind", FactValue::Text(self.kind.into()));
        facts.set("sql.tables", FactValue::Texts(tables.into()));
        let functions = self.functions.iter().map(|function| dotted(function.schema.as_deref(), &function.name));
        facts.set("sql.functions", FactValue::Texts(functions.collect()));
        facts.set("sql.destructive", FactValue::Bool(self.destructive));
        facts.set("sql.server_io", FactValue::Bool(!self.server_io.is_empty()));
        facts
    }

    /// The functions that `read` does not come with: not on the reviewed list.
    pub fn unreviewed_functions(&self) -> impl Iterator<Item = &FunctionRef> {
        self.functions
            .iter()
            .filter(|function| !crate::functions::is_reviewed(function.schema.as_deref(), &function.name))
    }
}

impl Text {
    /// The statements' common shape in hexadecimal: the same for texts that differ only in literals.
    #[must_use]
    pub fn shape(&self) -> &str {
        self.shape.get_or_init(|| crate::parser::fingerprint(&self.sql).into())
    }

    /// Roughly how much memory it takes, in bytes.
    #[must_use]
    pub const fn weight(&self) -> usize {
        self.weight
    }
}
