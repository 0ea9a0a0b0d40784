//! The target's catalog: its relations, their columns, and how data flows from one to another.
//!
//! Facts only, the same for every session of a target. Which of them are protected is worked out in `protection`.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::protection::Protection;

/// Object identifier, as the server numbers relations and types.
pub type Oid = u32;

/// One column of a relation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: Box<str>,
    /// Attribute number, from 1.
    pub number: i16,
    /// OID of its type.
    pub type_oid: Oid,
}

/// A table, view, materialised view, foreign table, partition or composite type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relation {
    /// Its OID.
    pub oid: Oid,
    /// Its schema.
    pub schema: Box<str>,
    /// Its name.
    pub name: Box<str>,
    /// `r`, `v`, `m`, `f`, `p`, `c` …, as in pg_class.
    pub kind: u8,
    /// The composite type a typed table is made of, 0 if none.
    pub of_type: Oid,
    /// Columns that were not dropped, by number.
    pub columns: Vec<Column>,
}

/// A type that is made of others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Type {
    /// The relation whose row it is, 0 if none.
    pub row_of: Oid,
    /// Its element type (arrays) or base type (domains), 0 if none.
    pub made_of: Oid,
    /// `E` enum, `S` string, … as in `pg_type.typcategory`.
    pub category: u8,
}

/// Where a column of a view comes from, as the server itself says; zeros where it cannot say.
pub type ViewColumn = (Oid, i16);

/// What a view rests on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct View {
    /// Relations and columns (0: the whole row) its rule mentions.
    pub uses: Vec<(Oid, i16)>,
    /// It calls a function whose body may read anything.
    pub calls: bool,
    /// Origin of each of its columns; `None` if the server would not describe it.
    pub columns: Option<Vec<ViewColumn>>,
}

/// The target's catalog at one moment.
#[derive(Debug, Default)]
pub struct Catalog {
    /// Tells catalogs apart; grows.
    pub epoch: u64,
    /// Relations by OID.
    pub relations: HashMap<Oid, Relation>,
    /// Relations by name, over all schemas.
    pub by_name: HashMap<Box<str>, Vec<Oid>>,
    /// Pairs of child and parent: partitions and inheritance.
    pub inherits: Vec<(Oid, Oid)>,
    /// Views and materialised views.
    pub views: HashMap<Oid, View>,
    /// Types that are rows, arrays, domains, enums or strings of their own.
    pub types: HashMap<Oid, Type>,
    /// The search path of a new session of this credential.
    pub search_path: Vec<String>,
    /// The role's name, for `"$user"`.
    pub user: String,
    protection: Mutex<Option<(u64, Arc<Protection>)>>,
}

impl Catalog {
    /// Gives the catalog its place in time and its index by name.
    #[must_use]
    pub fn finish(mut self) -> Self {
        static EPOCHS: AtomicU64 = AtomicU64::new(1);
        self.epoch = EPOCHS.fetch_add(1, Ordering::Relaxed);
        for relation in self.relations.values() {
            self.by_name.entry(relation.name.clone()).or_default().push(relation.oid);
        }
        self
    }

    /// The relation called `name` in `schema`, or in the first schema of `path` that has one.
    #[must_use]
    pub fn find(&self, schema: Option<&str>, name: &str, path: &[String]) -> Option<&Relation> {
        let named = self.by_name.get(name)?;
        let within = |schema: &str| {
            named
                .iter()
                .filter_map(|oid| self.relations.get(oid))
                .find(|relation| *relation.schema == *schema && relation.kind != b'c')
        };
        match schema {
            Some(schema) => within(schema),
            None => within("pg_catalog").or_else(|| path.iter().find_map(|schema| within(schema))),
        }
    }

    /// All relations called `name`, whatever their schema.
    pub fn namesakes(&self, name: &str) -> impl Iterator<Item = &Relation> {
        self.by_name.get(name).into_iter().flatten().filter_map(|oid| self.relations.get(oid))
    }

    /// The relation whose row, or an array or domain of whose rows, a type holds.
    #[must_use]
    pub fn row_type(&self, type_oid: Oid) -> Option<Oid> {
        let mut at = type_oid;
        // Domains over arrays over domains end soon; a hostile cycle must too.
        for _ in 0..8 {
            let found = self.types.get(&at)?;
            if found.row_of != 0 {
                return Some(found.row_of);
            }
            at = found.made_of;
        }
        None
    }

    /// What is protected under the rules numbered `generation`, worked out by `make` the first time.
    pub fn protection(&self, generation: u64, make: impl FnOnce() -> Protection) -> Arc<Protection> {
        let mut slot = self.protection.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((known, protection)) = &*slot {
            if *known == generation {
                return Arc::clone(protection);
            }
        }
        let protection = Arc::new(make());
        *slot = Some((generation, Arc::clone(&protection)));
        protection
    }
}
