//! Scopes: what names of columns mean within one query.

use pg_query::protobuf as pb;

use super::Output;
use crate::kinds::strings;

/// What one value can carry, and whether that is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Trace {
    pub output: Output,
    pub protected: bool,
}

impl Trace {
    pub const CLEAN: Self = Self { output: Output::Clean, protected: false };
    pub const CARRIES: Self = Self { output: Output::Carries, protected: true };

    /// Of a value that can be either.
    pub fn or(self, other: Self) -> Self {
        if self == other {
            return self;
        }
        Self::of(self.protected || other.protected)
    }

    /// Of a value worked out from others.
    pub const fn of(protected: bool) -> Self {
        if protected { Self::CARRIES } else { Self::CLEAN }
    }
}

/// One entry of a FROM list.
#[derive(Debug, Clone)]
pub(super) struct Source {
    /// The name by which its columns are qualified; empty if none.
    pub alias: String,
    /// The schema, where a relation is named by it.
    pub schema: String,
    /// Its columns; `None` if they cannot be told.
    pub columns: Option<Vec<(String, Trace)>>,
    /// What a column not listed carries, for a source whose columns cannot be told.
    pub other: Trace,
}

impl Source {
    /// A source whose columns cannot be told.
    pub fn opaque(alias: &str, other: Trace) -> Self {
        Self { alias: alias.to_owned(), schema: String::new(), columns: None, other }
    }

    /// What its whole row carries.
    pub fn whole(&self) -> Trace {
        match &self.columns {
            Some(columns) => Trace::of(columns.iter().any(|(_, trace)| trace.protected)),
            None => self.other,
        }
    }

    /// Gives it the name and column names of an alias.
    pub fn renamed(mut self, alias: Option<&pb::Alias>) -> Self {
        let Some(alias) = alias else { return self };
        self.alias.clone_from(&alias.aliasname);
        self.schema.clear();
        if let Some(columns) = &mut self.columns {
            for (column, name) in columns.iter_mut().zip(strings(&alias.colnames)) {
                name.clone_into(&mut column.0);
            }
        }
        self
    }

    fn column(&self, name: &str) -> Option<Trace> {
        match &self.columns {
            Some(columns) => {
                let mut found = columns.iter().filter(|(known, _)| known == name).map(|(_, trace)| *trace);
                let first = found.next()?;
                Some(found.fold(first, Trace::or))
            }
            None => None,
        }
    }
}

/// The names visible in one query, and in those around it.
#[derive(Debug, Clone, Default)]
pub(super) struct Scope<'s> {
    pub sources: Vec<Source>,
    pub outer: Option<&'s Scope<'s>>,
}

/// The server's own columns: none of anybody's values.
const SYSTEM: [&str; 6] = ["ctid", "xmin", "xmax", "cmin", "cmax", "tableoid"];

impl Scope<'_> {
    /// What a reference to a column carries.
    pub fn reference(&self, fields: &[&str]) -> Trace {
        match fields {
            [name] => self.unqualified(name),
            [.., qualifier, name] => self.qualified(qualifier, name),
            [] => Trace::CARRIES,
        }
    }

    fn unqualified(&self, name: &str) -> Trace {
        let found = self.sources.iter().filter_map(|source| source.column(name));
        let opaque = self.sources.iter().filter(|source| source.columns.is_none()).map(|source| source.other);
        // A column's name hides a whole row's; a source of unknown columns may have one of any name.
        if let Some(known) = found.chain(opaque).reduce(Trace::or) {
            return known;
        }
        if let Some(row) = self.sources.iter().find(|source| source.alias == name) {
            return Trace::of(row.whole().protected);
        }
        match self.outer {
            _ if SYSTEM.contains(&name) => Trace::CLEAN,
            Some(outer) => outer.unqualified(name),
            None => Trace::CARRIES,
        }
    }

    fn qualified(&self, qualifier: &str, name: &str) -> Trace {
        let named = self.sources.iter().filter(|source| source.alias == qualifier);
        let traces = named.map(|source| match source.column(name) {
            Some(trace) => trace,
            None if source.columns.is_none() => source.other,
            None if SYSTEM.contains(&name) => Trace::CLEAN,
            // A function of the row, or a field of a composite column.
            None => Trace::of(source.whole().protected),
        });
        match traces.reduce(Trace::or) {
            Some(trace) => trace,
            None => match self.outer {
                Some(outer) => outer.qualified(qualifier, name),
                // The qualifier may be a composite column: what it carries, its fields carry.
                None => Trace::of(self.unqualified(qualifier).protected),
            },
        }
    }

    /// Every column of every source, or of one; `None` if they cannot be told.
    pub fn star(&self, qualifier: Option<&str>) -> Option<Vec<(String, Trace)>> {
        let mut columns = Vec::new();
        let mut any = false;
        for source in &self.sources {
            if qualifier.is_none_or(|qualifier| source.alias == qualifier) {
                any = true;
                columns.extend(source.columns.clone()?);
            }
        }
        any.then_some(columns)
    }

    /// Whether anything visible here is protected.
    pub fn protects(&self) -> bool {
        self.sources.iter().any(|source| source.whole().protected) || self.outer.is_some_and(Scope::protects)
    }
}
