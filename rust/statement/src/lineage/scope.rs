//! What names mean at one place of a query.

use super::ir::Name;
use super::{Output, Outputs};

/// A column of a relation in scope.
#[derive(Debug, Clone)]
pub(super) struct Field {
    /// `None` if only the server knows its name.
    pub name: Option<Name>,
    pub carries: Output,
}

/// The columns of a relation in scope.
#[derive(Debug, Clone)]
pub(super) struct Table {
    pub fields: Vec<Field>,
    /// What columns may carry that are not among the fields; `None` if there are no more.
    pub rest: Option<Output>,
}

/// What a value computed from both carries.
pub(super) fn join(one: Output, other: Output) -> Output {
    if one == other { one } else { Output::Carries }
}

/// What a value computed from something carries.
pub(super) fn computed(from: Output) -> Output {
    if from == Output::Clean { Output::Clean } else { Output::Carries }
}

impl Table {
    /// A table of which nothing is known.
    pub fn opaque(carries: Output) -> Self {
        Self { fields: Vec::new(), rest: Some(carries) }
    }

    pub fn is_clean(&self) -> bool {
        self.all() == Output::Clean
    }

    /// What a value made of the whole row carries.
    pub fn all(&self) -> Output {
        let fields = self.fields.iter().map(|field| field.carries);
        fields.chain(self.rest).fold(Output::Clean, |sum, carries| join(sum, computed(carries)))
    }

    pub fn outputs(&self) -> Outputs {
        match self.rest {
            None => Outputs::Positions(self.fields.iter().map(|field| field.carries).collect()),
            Some(_) => Outputs::Unknown,
        }
    }

    /// Names the first columns anew.
    pub fn rename(&mut self, names: &[Name]) {
        for (place, name) in names.iter().enumerate() {
            match self.fields.get_mut(place) {
                Some(field) => field.name = Some(name.clone()),
                // More names than columns are known: the server knows better how many there are.
                None => {
                    let Some(rest) = self.rest else { break };
                    self.fields.push(Field { name: Some(name.clone()), carries: rest });
                }
            }
        }
    }

    pub fn append(&mut self, other: Self) {
        // Behind columns of unknown number, places mean nothing; names still do.
        self.fields.extend(other.fields);
        self.rest = match (self.rest, other.rest) {
            (Some(one), Some(other)) => Some(join(one, other)),
            (one, other) => one.or(other),
        };
    }

    /// The same columns as rows of either.
    pub fn unite(&mut self, other: &Self) {
        if self.rest.is_none() && other.rest.is_none() && self.fields.len() == other.fields.len() {
            for (field, other) in self.fields.iter_mut().zip(&other.fields) {
                field.carries = join(field.carries, other.carries);
            }
        } else {
            let all = join(self.all(), other.all());
            self.fields.iter_mut().for_each(|field| field.carries = join(field.carries, all));
            self.rest = Some(all);
        }
    }

    /// What a column of this name carries: exactly, or possibly.
    fn find(&self, name: &str) -> Found {
        let mut exact = None;
        let mut possible = self.rest;
        for field in &self.fields {
            match &field.name {
                Some(known) if **known == *name => {
                    exact = Some(exact.map_or(field.carries, |sum| join(sum, field.carries)))
                }
                Some(_) => {}
                None => possible = Some(possible.map_or(field.carries, |sum| join(sum, computed(field.carries)))),
            }
        }
        match (exact, possible) {
            (Some(carries), _) => Found::Exactly(carries),
            (None, Some(carries)) => Found::Possibly(computed(carries)),
            (None, None) => Found::Not,
        }
    }
}

enum Found {
    Exactly(Output),
    Possibly(Output),
    Not,
}

/// A relation in scope under a name.
#[derive(Debug)]
pub(super) struct Item {
    pub name: Option<Name>,
    pub table: Table,
    /// It has the columns that every relation of the server has.
    pub stored: bool,
    /// Its columns are found only together with its name.
    pub qualified: bool,
}

/// The relations in scope, and those around them.
#[derive(Default)]
pub(super) struct Scope<'a> {
    pub items: Vec<Item>,
    /// Outputs of the query itself, which ORDER BY and GROUP BY may name.
    pub outputs: Vec<Field>,
    pub parent: Option<&'a Scope<'a>>,
    /// A join merges columns of one name, so that a name may stand for those of both sides.
    pub merges: bool,
}

/// Columns every stored relation has, and that hold no values of rows.
const SYSTEM_COLUMNS: &[&str] = &["cmax", "cmin", "ctid", "oid", "tableoid", "xmax", "xmin"];

/// What a name turned out to be.
pub(super) enum Meaning {
    /// Something that carries this.
    Carries(Output),
    /// `relation.name` without a column of that name: a function of the row.
    Attribute(Output),
    /// Nothing in scope.
    Nothing,
}

impl<'a> Scope<'a> {
    pub fn within(parent: Option<&'a Scope<'a>>) -> Self {
        Self { parent, ..Self::default() }
    }

    fn chain(&self) -> impl Iterator<Item = &Scope<'a>> {
        std::iter::successors(Some(self), |scope| scope.parent)
    }

    /// What a dotted name means as a value.
    pub fn column(&self, path: &[Name]) -> Meaning {
        match path {
            [] => Meaning::Nothing,
            [name] => self.unqualified(name),
            [.., relation, name] => self.qualified(relation, name, path.len() > 2),
        }
    }

    fn unqualified(&self, name: &str) -> Meaning {
        let mut possible: Option<Output> = None;
        for scope in self.chain() {
            match scope.here(name) {
                Found::Exactly(carries) => {
                    // Something nearer may have been meant, whose columns' names are not known.
                    return Meaning::Carries(possible.map_or(carries, |near| join(near, computed(carries))));
                }
                Found::Possibly(carries) => possible = Some(possible.map_or(carries, |sum| join(sum, carries))),
                Found::Not => {}
            }
        }
        if let Some(row) = self.row(name) {
            possible = Some(possible.map_or(row, |sum| join(sum, row)));
        }
        if possible.is_none()
            && SYSTEM_COLUMNS.contains(&name)
            && self.chain().any(|scope| scope.items.iter().any(|item| item.stored))
        {
            return Meaning::Carries(Output::Clean);
        }
        possible.map_or(Meaning::Nothing, Meaning::Carries)
    }

    fn here(&self, name: &str) -> Found {
        let mut exact: Option<Output> = None;
        let mut possible: Option<Output> = None;
        for item in self.items.iter().filter(|item| !item.qualified) {
            match item.table.find(name) {
                Found::Exactly(carries) => exact = Some(exact.map_or(carries, |sum| join(sum, carries))),
                Found::Possibly(carries) => possible = Some(possible.map_or(carries, |sum| join(sum, carries))),
                Found::Not => {}
            }
        }
        if let Some(carries) = exact {
            let other = possible.filter(|_| self.merges);
            return Found::Exactly(other.map_or(carries, |other| join(carries, other)));
        }
        let named = |field: &&Field| field.name.as_deref() == Some(name);
        if let Some(output) = self.outputs.iter().find(named) {
            return Found::Exactly(possible.map_or(output.carries, |sum| join(sum, computed(output.carries))));
        }
        possible.map_or(Found::Not, Found::Possibly)
    }

    fn qualified(&self, relation: &str, name: &str, dotted: bool) -> Meaning {
        for scope in self.chain() {
            let mut sum: Option<Meaning> = None;
            for item in scope.items.iter().filter(|item| item.name.as_deref() == Some(relation)) {
                let meaning = match item.table.find(name) {
                    Found::Exactly(carries) | Found::Possibly(carries) => Meaning::Carries(carries),
                    Found::Not if item.stored && SYSTEM_COLUMNS.contains(&name) => Meaning::Carries(Output::Clean),
                    Found::Not => Meaning::Attribute(item.table.all()),
                };
                sum = Some(match (sum, meaning) {
                    (None, meaning) => meaning,
                    (Some(one), other) => Meaning::Carries(join(computed(one.carries()), computed(other.carries()))),
                });
            }
            match sum {
                // Of two relations of one name in different schemas, the nearer may not be the one meant.
                Some(meaning) if !dotted => return meaning,
                Some(Meaning::Carries(carries)) if scope.parent.is_none() => return Meaning::Carries(carries),
                Some(meaning) => {
                    let outer = scope.parent.map(|parent| parent.qualified(relation, name, dotted));
                    return match outer {
                        None | Some(Meaning::Nothing) => meaning,
                        Some(outer) => Meaning::Carries(join(meaning.carries(), computed(outer.carries()))),
                    };
                }
                None => {}
            }
        }
        Meaning::Nothing
    }

    /// What the whole row of a relation of this name carries.
    fn row(&self, relation: &str) -> Option<Output> {
        self.chain().find_map(|scope| {
            let mut rows = scope.items.iter().filter(|item| item.name.as_deref() == Some(relation));
            let first = rows.next()?.table.all();
            Some(rows.fold(first, |sum, item| join(sum, item.table.all())))
        })
    }

    /// The columns that `relation.*` stands for.
    pub fn star(&self, relation: &str) -> Option<Table> {
        self.chain().find_map(|scope| {
            let mut items = scope.items.iter().filter(|item| item.name.as_deref() == Some(relation));
            let first = items.next()?;
            Some(if items.next().is_some() { Table::opaque(Output::Carries) } else { first.table.clone() })
        })
    }
}

impl Meaning {
    pub fn carries(&self) -> Output {
        match self {
            Self::Carries(carries) => *carries,
            Self::Attribute(_) | Self::Nothing => Output::Carries,
        }
    }
}
