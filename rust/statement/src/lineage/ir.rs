//! What remains of a statement's tree for tracing: names, where they stand, and nothing of how values are computed.
//!
//! An expression is flattened to its leaves, because a value computed from anything protected carries it, however it is
//! computed. That keeps statements small in the cache, and following them needs no deep recursion.

/// A name as the grammar normalised it.
pub(super) type Name = Box<str>;

/// The parts of a dotted name.
pub(super) type Path = Box<[Name]>;

/// A query, or a data-modifying statement in its place.
#[derive(Debug)]
pub(super) struct Query {
    pub ctes: Vec<Cte>,
    pub recursive: bool,
    pub body: Body,
    /// Expressions that concern the whole: ORDER BY, LIMIT.
    pub contexts: Vec<Context>,
}

#[derive(Debug)]
pub(super) struct Cte {
    pub name: Name,
    pub columns: Vec<Name>,
    pub query: Query,
    /// SEARCH and CYCLE add columns made of others.
    pub grows: bool,
}

#[derive(Debug)]
pub(super) enum Body {
    Select(Box<Select>),
    /// UNION and its kin; every arm may supply a row.
    Arms(Vec<Query>),
    /// One context per column, over all rows.
    Values(Vec<Context>),
    Write(Box<Write>),
    /// Nested too deeply to be followed.
    Opaque,
}

#[derive(Debug, Default)]
pub(super) struct Select {
    pub from: Vec<From>,
    pub targets: Vec<Target>,
    /// Everything that decides which rows there are, and in what order; one per atomic predicate.
    pub contexts: Vec<Context>,
}

#[derive(Debug)]
pub(super) struct Write {
    pub schema: Option<Name>,
    pub name: Name,
    pub alias: Option<Name>,
    /// The columns of an INSERT, if written.
    pub columns: Vec<Name>,
    /// What an INSERT inserts.
    pub source: Option<Query>,
    pub from: Vec<From>,
    pub assignments: Vec<Assignment>,
    pub contexts: Vec<Context>,
    pub returning: Vec<Target>,
    /// INSERT … ON CONFLICT knows the rejected row by this name.
    pub excluded: bool,
    /// MERGE: RETURNING * has an order of its own.
    pub merge: bool,
}

#[derive(Debug)]
pub(super) struct Assignment {
    pub column: Column,
    /// The value is a column and nothing else.
    pub plain: bool,
    pub value: Context,
}

/// A column that is assigned to.
#[derive(Debug)]
pub(super) enum Column {
    Named(Name),
    /// By position among the relation's columns.
    Place(usize),
}

#[derive(Debug)]
pub(super) struct Target {
    /// The name under which others see it; `None` if that takes the server to say.
    pub name: Option<Name>,
    pub form: Form,
    pub value: Context,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// `*` or `name.*`: the value's only leaf is that row.
    Star,
    /// A column and nothing else: the value's only leaf.
    Plain,
    /// Anything else.
    Computed,
    /// `(expression).*`: a number of columns that only the server knows.
    Expanded,
}

/// Expressions that stand together: what one of them carries, its literals meet.
#[derive(Debug, Default)]
pub(super) struct Context {
    pub leaves: Vec<Leaf>,
    /// Where literals stand in the text, in bytes.
    pub literals: Vec<u32>,
    pub parameters: Vec<u16>,
}

#[derive(Debug)]
pub(super) enum Leaf {
    /// A column, or a row by the name of its relation.
    Column(Path),
    /// All columns: `*` or `name.*`.
    Row(Path),
    /// A query's value.
    Query(Box<Query>),
    /// Whether a query has rows.
    Exists(Box<Query>),
    /// What a function that nobody reviewed may find.
    Function,
}

#[derive(Debug)]
pub(super) enum From {
    Relation {
        schema: Option<Name>,
        name: Name,
        alias: Alias,
    },
    Query {
        query: Box<Query>,
        alias: Alias,
        lateral: bool,
    },
    /// A function, XMLTABLE or JSON_TABLE in the place of a relation.
    Function {
        value: Context,
        alias: Alias,
    },
    Sample {
        of: Box<From>,
        value: Context,
    },
    Join(Box<Join>),
    /// What this crate does not know.
    Opaque,
}

#[derive(Debug)]
pub(super) struct Join {
    pub first: From,
    pub steps: Vec<Step>,
}

/// One JOIN of a chain that leans to the left.
#[derive(Debug)]
pub(super) struct Step {
    pub right: From,
    pub natural: bool,
    pub using: Vec<Name>,
    pub using_alias: Option<Name>,
    pub on: Vec<Context>,
    pub alias: Alias,
}

#[derive(Debug, Default)]
pub(super) struct Alias {
    pub name: Option<Name>,
    pub columns: Vec<Name>,
}

impl Context {
    fn weight(&self) -> usize {
        let leaf = |leaf: &Leaf| match leaf {
            Leaf::Column(path) | Leaf::Row(path) => path.iter().map(|name| 16 + name.len()).sum(),
            Leaf::Query(query) | Leaf::Exists(query) => query.weight(),
            Leaf::Function => 0,
        };
        size_of::<Self>()
            + self.leaves.iter().map(|inner| size_of::<Leaf>() + leaf(inner)).sum::<usize>()
            + self.literals.len() * 4
            + self.parameters.len() * 2
    }
}

fn contexts(contexts: &[Context]) -> usize {
    contexts.iter().map(Context::weight).sum()
}

fn targets(targets: &[Target]) -> usize {
    targets.iter().map(|target| size_of::<Target>() + target.value.weight()).sum()
}

impl From {
    fn weight(&self) -> usize {
        size_of::<Self>()
            + match self {
                Self::Relation { name, alias, .. } => name.len() + 48 * (1 + alias.columns.len()),
                Self::Query { query, alias, .. } => query.weight() + 48 * alias.columns.len(),
                Self::Function { value, alias } => value.weight() + 48 * alias.columns.len(),
                Self::Sample { of, value } => of.weight() + value.weight(),
                Self::Join(join) => join.first.weight() + join.steps.iter().map(Step::weight).sum::<usize>(),
                Self::Opaque => 0,
            }
    }
}

impl Step {
    fn weight(&self) -> usize {
        self.right.weight()
            + contexts(&self.on)
            + size_of::<Self>()
            + 48 * (self.using.len() + self.alias.columns.len())
    }
}

impl Query {
    /// Roughly what it occupies, in bytes.
    pub fn weight(&self) -> usize {
        let from = |from: &[From]| from.iter().map(From::weight).sum::<usize>();
        let body = match &self.body {
            Body::Select(select) => from(&select.from) + targets(&select.targets) + contexts(&select.contexts),
            Body::Arms(arms) => arms.iter().map(Self::weight).sum(),
            Body::Values(columns) => contexts(columns),
            Body::Write(write) => {
                size_of::<Write>()
                    + from(&write.from)
                    + write.source.as_ref().map_or(0, Self::weight)
                    + write.assignments.iter().map(|assignment| 48 + assignment.value.weight()).sum::<usize>()
                    + contexts(&write.contexts)
                    + targets(&write.returning)
                    + 48 * write.columns.len()
            }
            Body::Opaque => 0,
        };
        let ctes = self.ctes.iter().map(|cte| size_of::<Cte>() + 48 * cte.columns.len() + cte.query.weight());
        size_of::<Self>() + body + ctes.sum::<usize>() + contexts(&self.contexts)
    }
}
