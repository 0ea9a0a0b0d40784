//! Following what data-modifying statements put where, and what they return.

use super::ir::{Assignment, Body, Column, Context, Name, Query, Write};
use super::scope::{Item, Scope, Table};
use super::trace::Tracer;
use super::{Output, ir};

impl Query {
    /// Whether a statement of this query answers with rows.
    pub(super) fn returns_rows(&self) -> bool {
        match &self.body {
            Body::Write(write) => !write.returning.is_empty(),
            _ => true,
        }
    }
}

impl Tracer<'_> {
    pub(super) fn write(&mut self, write: &Write, loose: &[Context], parent: Option<&Scope<'_>>) -> Table {
        let target = self.stored(write.schema.as_deref(), &write.name);
        let mut scope = Scope::within(parent);
        let name = write.alias.as_ref().unwrap_or(&write.name);
        let mut after = target.clone();
        if let Some(source) = &write.source {
            self.insert(source, &write.columns, &target, &mut after, parent);
        }
        scope.items.push(item(name, &target, false));
        if write.excluded {
            scope.items.push(item("excluded", &after, true));
        }
        let mut star = target.clone();
        for from in &write.from {
            let table = self.from(from, &mut scope);
            star.append(table);
        }
        for assignment in &write.assignments {
            self.assign(assignment, &target, &mut after, &scope);
        }
        self.contexts(&write.contexts, &scope);
        self.returned(write, &target, after, star, scope, loose)
    }

    /// RETURNING sees the row as it became, which may hold what was not in these columns before.
    fn returned(
        &mut self,
        write: &Write,
        target: &Table,
        after: Table,
        mut star: Table,
        mut scope: Scope<'_>,
        loose: &[Context],
    ) -> Table {
        let name = write.alias.as_ref().unwrap_or(&write.name);
        for (field, became) in star.fields.iter_mut().zip(&after.fields).take(target.fields.len()) {
            field.carries = became.carries;
        }
        if let Some(rest) = after.rest {
            star.rest = Some(rest);
        }
        if write.merge {
            star = Table::opaque(star.all());
        }
        if let Some(first) = scope.items.first_mut() {
            first.table = after.clone();
        }
        scope.items.retain(|item| item.name.as_deref() != Some("excluded") || !item.qualified);
        if &**name != "old" && &**name != "new" {
            scope.items.push(item("old", target, true));
            scope.items.push(item("new", &after, true));
        }
        self.contexts(loose, &scope);
        self.targets(&write.returning, &star, &scope)
    }

    /// Puts the rows of a source into columns by position.
    fn insert(
        &mut self,
        source: &Query,
        columns: &[Name],
        target: &Table,
        after: &mut Table,
        parent: Option<&Scope<'_>>,
    ) {
        let table = self.query(source, parent);
        if target.rest.is_some() || table.rest.is_some() {
            // Which value goes where cannot be told.
            if !table.is_clean() {
                self.stores = true;
                after.fields.iter_mut().for_each(|field| field.carries = Output::Carries);
                after.rest = after.rest.map(|_| Output::Carries);
            }
            return;
        }
        let place = |place: usize| match columns.get(place) {
            Some(name) => target.fields.iter().position(|field| field.name.as_ref() == Some(name)),
            None => columns.is_empty().then_some(place),
        };
        for (number, field) in table.fields.iter().enumerate() {
            let Some(into) = place(number).and_then(|place| Some((place, target.fields.get(place)?))) else { continue };
            let (place, column) = into;
            if column.carries == Output::Clean {
                self.spare_inserted(source, number);
            }
            self.store(field.carries, place, column.carries, after);
        }
    }

    /// What a value does to the column it is put into.
    fn store(&mut self, value: Output, place: usize, column: Output, after: &mut Table) {
        if value == Output::Clean || value == column {
            return;
        }
        self.stores = true;
        // Not even its own column's mask fits what a value was turned into.
        if let Some(field) = after.fields.get_mut(place) {
            field.carries = Output::Carries;
        }
    }

    /// Literals of a source that go into an unprotected column are what they look like.
    fn spare_inserted(&mut self, source: &Query, place: usize) {
        match &source.body {
            Body::Values(columns) => {
                if let Some(column) = columns.get(place) {
                    self.release(column);
                }
            }
            Body::Select(select) if select.targets.iter().all(|target| target.form != ir::Form::Star) => {
                if let Some(target) = select.targets.get(place) {
                    self.release(&target.value);
                }
            }
            Body::Arms(arms) => {
                for arm in arms {
                    self.spare_inserted(arm, place);
                }
            }
            _ => {}
        }
    }

    fn assign(&mut self, assignment: &Assignment, target: &Table, after: &mut Table, scope: &Scope<'_>) {
        let value = self.context(&assignment.value, scope);
        let place = match &assignment.column {
            Column::Named(name) => target.fields.iter().position(|field| field.name.as_ref() == Some(name)),
            Column::Place(place) => Some(*place),
        };
        let column = place.and_then(|place| Some((place, target.fields.get(place)?.carries)));
        let Some((place, column)) = column else {
            self.meet(&assignment.value);
            self.stores |= value != Output::Clean;
            return;
        };
        if column != Output::Clean {
            self.meet(&assignment.value);
        }
        // A column put into itself stays what it was.
        let value = match assignment.value.leaves.as_slice() {
            [ir::Leaf::Column(path)] if assignment.plain => scope.column(path).carries(),
            _ => value,
        };
        self.store(value, place, column, after);
    }
}

fn item(name: &str, table: &Table, qualified: bool) -> Item {
    Item { name: Some(name.into()), table: table.clone(), stored: true, qualified }
}
