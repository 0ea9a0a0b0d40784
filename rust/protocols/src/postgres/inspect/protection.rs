//! What is protected: the classes of the manifest laid over a catalog, followed wherever the data flows.

use std::collections::HashMap;

use mask::{ClassSet, Classes};

use super::catalog::{Catalog, Oid, Relation, View};

/// Which classes a column carries.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Guard {
    /// The classes.
    pub classes: ClassSet,
    /// The values are those of one classified column, unchanged: its class's own mask fits. Otherwise they may be made
    /// of several, or be whole rows.
    pub traced: bool,
    /// A column of the system's own that holds values or texts of others.
    pub system: bool,
}

impl Guard {
    /// Adds what another carries; the sum is traced to no single column.
    fn carry(&mut self, more: &Self) {
        if !more.classes.is_empty() {
            self.classes = self.classes.union(&more.classes);
        }
        self.system |= more.system;
    }
}

/// Guards by column, and classes by relation.
#[derive(Debug, Default)]
pub struct Protection {
    columns: HashMap<(Oid, i16), Guard>,
    relations: HashMap<Oid, Guard>,
}

impl Protection {
    /// Lays `classes` over `catalog` for the target called `target`.
    #[must_use]
    pub fn new(catalog: &Catalog, classes: &Classes, target: &str) -> Self {
        let mut protection = Self::default();
        for relation in catalog.relations.values() {
            for column in &relation.columns {
                let found = classes.column(target, &relation.schema, &relation.name, &column.name);
                if !found.is_empty() {
                    let guard = Guard { classes: found, traced: true, system: false };
                    protection.columns.insert((relation.oid, column.number), guard);
                }
            }
        }
        if protection.columns.is_empty() {
            return protection;
        }
        protection.follow(catalog);
        protection.guard_system(catalog);
        protection.sum_up();
        protection
    }

    /// The guard of a column; `None` if it carries nothing protected.
    #[must_use]
    pub fn column(&self, relation: Oid, number: i16) -> Option<&Guard> {
        self.columns.get(&(relation, number))
    }

    /// What all columns of a relation carry together.
    #[must_use]
    pub fn relation(&self, relation: Oid) -> Option<&Guard> {
        self.relations.get(&relation)
    }

    /// Whether nothing on the target is protected.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.columns.is_empty()
    }

    /// Every class that something on the target carries.
    #[must_use]
    pub fn all(&self) -> Guard {
        let mut all = Guard::default();
        for guard in self.columns.values() {
            all.carry(guard);
        }
        all
    }

    /// Data flows through partitions, inheritance, typed tables, composite columns and views, over any number of them.
    fn follow(&mut self, catalog: &Catalog) {
        // Each round carries a class one step further; no chain is longer than there are relations.
        for _ in 0..=catalog.relations.len() {
            let before = self.weight();
            self.sum_up();
            for (child, parent) in &catalog.inherits {
                self.share_by_name(catalog, *child, *parent);
                self.share_by_name(catalog, *parent, *child);
            }
            for relation in catalog.relations.values() {
                self.follow_types(catalog, relation);
            }
            for (oid, view) in &catalog.views {
                self.follow_view(catalog, *oid, view);
            }
            if self.weight() == before {
                return;
            }
        }
    }

    /// Grows with every step, so that a round that changed nothing shows.
    fn weight(&self) -> (usize, usize) {
        let classes = self.columns.values().map(|guard| guard.classes.iter().count()).sum();
        let untraced = self.columns.values().filter(|guard| !guard.traced).count();
        (classes, untraced)
    }

    fn sum_up(&mut self) {
        self.relations.clear();
        for ((relation, _), guard) in &self.columns {
            self.relations.entry(*relation).or_default().carry(guard);
        }
    }

    fn add(&mut self, at: (Oid, i16), more: &Guard) {
        if more.classes.is_empty() {
            return;
        }
        match self.columns.get_mut(&at) {
            None => drop(self.columns.insert(at, more.clone())),
            Some(guard) => {
                guard.traced &= more.traced && guard.classes == more.classes;
                guard.classes = guard.classes.union(&more.classes);
            }
        }
    }

    fn share_by_name(&mut self, catalog: &Catalog, from: Oid, to: Oid) {
        let (Some(from), Some(to)) = (catalog.relations.get(&from), catalog.relations.get(&to)) else { return };
        for column in &from.columns {
            let Some(guard) = self.columns.get(&(from.oid, column.number)).cloned() else { continue };
            if let Some(same) = to.columns.iter().find(|other| other.name == column.name) {
                self.add((to.oid, same.number), &guard);
            }
        }
    }

    fn follow_types(&mut self, catalog: &Catalog, relation: &Relation) {
        if let Some(composite) = catalog.row_type(relation.of_type) {
            self.share_by_name(catalog, composite, relation.oid);
        }
        for column in &relation.columns {
            let Some(row) = catalog.row_type(column.type_oid) else { continue };
            if let Some(carried) = self.relations.get(&row).cloned() {
                self.add((relation.oid, column.number), &carried);
            }
        }
    }

    fn follow_view(&mut self, catalog: &Catalog, oid: Oid, view: &View) {
        let Some(relation) = catalog.relations.get(&oid) else { return };
        let any = self.used_by(view);
        for (place, column) in relation.columns.iter().enumerate() {
            let origin = view.columns.as_ref().and_then(|columns| columns.get(place));
            let carried = match origin {
                Some((table, number)) if *table != 0 && *number != 0 => self.columns.get(&(*table, *number)).cloned(),
                Some((table, _)) if *table != 0 => self.relations.get(table).cloned(),
                _ => Some(any.clone()),
            };
            if let Some(carried) = carried {
                self.add((oid, column.number), &carried);
            }
        }
    }

    /// What an expression of the view could carry: everything its rule mentions.
    fn used_by(&self, view: &View) -> Guard {
        if view.calls {
            return self.all();
        }
        let mut used = Guard::default();
        for (relation, number) in &view.uses {
            let carried =
                if *number == 0 { self.relations.get(relation) } else { self.columns.get(&(*relation, *number)) };
            if let Some(carried) = carried {
                used.carry(carried);
            }
        }
        used
    }

    /// The system's own columns that hold values of any table, or texts of other sessions.
    fn guard_system(&mut self, catalog: &Catalog) {
        for held in statement::catalog::HOLDINGS {
            let meant = |relation: &&Relation| held.schema.is_none_or(|schema| *relation.schema == *schema);
            for relation in catalog.namesakes(held.relation).filter(meant) {
                for column in &relation.columns {
                    if held.columns.is_empty() || held.columns.contains(&&*column.name) {
                        let guard = Guard { classes: ClassSet::default(), traced: false, system: true };
                        self.columns.entry((relation.oid, column.number)).or_insert(guard);
                    }
                }
            }
        }
    }
}
