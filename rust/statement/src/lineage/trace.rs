//! Following what queries select from, and what their outputs are made of.

use std::collections::HashSet;

use super::ir::{Alias, Body, Context, Cte, Form, From, Join, Leaf, Name, Query, Select, Step, Target};
use super::scope::{Field, Item, Meaning, Scope, Table, computed, join};
use super::{Names, Output, Outputs};

/// How much tracing one statement may take. Recursive queries within recursive queries, and stars upon stars, could
/// otherwise take forever.
const STEPS: usize = 200_000;

/// Rounds after which a recursive query is taken to carry everything in every column.
const ROUNDS: usize = 6;

/// What was seen of one parameter.
#[derive(Clone, Copy, Default)]
struct Parameter {
    free: bool,
    met: bool,
    pending: u32,
}

/// Traces one statement.
pub(super) struct Tracer<'n> {
    pub(super) names: &'n dyn Names,
    /// The statement names a protected relation somewhere; if not, literals are only what they look like.
    touches: bool,
    steps: usize,
    /// Common table expressions in scope, innermost last.
    ctes: Vec<(Name, Table)>,
    /// How many queries stand around the one at hand.
    depth: usize,
    /// Something protected decided which rows the query at hand has.
    tests: bool,
    /// See [`super::Exposure::stores`].
    pub(super) stores: bool,
    free: HashSet<u32, ahash::RandomState>,
    met: HashSet<u32, ahash::RandomState>,
    /// Literals of inner queries' outputs: what becomes of them is decided further out, if at all.
    pending: HashSet<u32, ahash::RandomState>,
    parameters: Vec<Parameter>,
    attributes: Vec<String>,
}

/// Everything found: outputs, free literals, protected parameters, attributes.
type Finished = (Outputs, HashSet<u32, ahash::RandomState>, Vec<bool>, Vec<String>);

impl<'n> Tracer<'n> {
    pub(super) fn new(names: &'n dyn Names, touches: bool, parameters: usize) -> Self {
        Self {
            names,
            touches,
            steps: STEPS,
            ctes: Vec::new(),
            depth: 0,
            tests: false,
            stores: false,
            free: HashSet::default(),
            met: HashSet::default(),
            pending: HashSet::default(),
            parameters: vec![Parameter::default(); parameters],
            attributes: Vec::new(),
        }
    }

    /// What was found, or the worst if tracing took too long.
    pub(super) fn finish(mut self, outputs: Outputs) -> Finished {
        let touches = self.touches;
        if self.steps == 0 {
            return (Outputs::Unknown, HashSet::default(), vec![touches; self.parameters.len()], self.attributes);
        }
        let (met, pending) = (self.met, self.pending);
        self.free.retain(|literal| !met.contains(literal) && !pending.contains(literal));
        let meets = |seen: &Parameter| touches && (seen.met || seen.pending > 0 || !seen.free);
        let parameters = self.parameters.iter().map(meets).collect();
        self.attributes.sort_unstable();
        self.attributes.dedup();
        (outputs, self.free, parameters, self.attributes)
    }

    /// Takes a step; `false` once there have been too many.
    pub(super) fn step(&mut self) -> bool {
        self.steps = self.steps.saturating_sub(1);
        self.steps > 0
    }

    fn seen(&mut self, context: &Context, note: impl Fn(&mut Parameter)) {
        for parameter in &context.parameters {
            if let Some(seen) = self.parameters.get_mut(usize::from(*parameter).wrapping_sub(1)) {
                note(seen);
            }
        }
    }

    /// The literals and parameters of a context met something protected.
    pub(super) fn meet(&mut self, context: &Context) {
        self.met.extend(&context.literals);
        self.seen(context, |seen| seen.met = true);
    }

    /// They met nothing protected.
    fn spare(&mut self, context: &Context) {
        self.free.extend(&context.literals);
        self.seen(context, |seen| seen.free = true);
    }

    /// They go somewhere that is not known yet.
    fn suspend(&mut self, context: &Context) {
        self.pending.extend(&context.literals);
        self.seen(context, |seen| seen.pending += 1);
    }

    /// They went where nothing is protected.
    pub(super) fn release(&mut self, context: &Context) {
        for literal in &context.literals {
            self.pending.remove(literal);
        }
        self.seen(context, |seen| seen.pending = seen.pending.saturating_sub(1));
    }

    /// What a value made of this context carries.
    pub(super) fn context(&mut self, context: &Context, scope: &Scope<'_>) -> Output {
        let mut sum = Output::Clean;
        for leaf in &context.leaves {
            sum = join(sum, computed(self.leaf(leaf, scope)));
        }
        if sum == Output::Clean {
            self.spare(context);
        } else {
            self.meet(context);
        }
        sum
    }

    fn leaf(&mut self, leaf: &Leaf, scope: &Scope<'_>) -> Output {
        if !self.step() {
            return Output::Carries;
        }
        match leaf {
            Leaf::Column(path) => self.column(path, scope),
            Leaf::Row(path) => match path.last() {
                Some(relation) => scope.star(relation).map_or(Output::Carries, |table| table.all()),
                None => scope.items.iter().fold(Output::Clean, |sum, item| join(sum, item.table.all())),
            },
            Leaf::Query(query) => {
                let (table, tests) = self.inner(query, scope);
                if tests { Output::Carries } else { table.all() }
            }
            Leaf::Exists(query) => {
                let (_, tests) = self.inner(query, scope);
                if tests { Output::Carries } else { Output::Clean }
            }
            Leaf::Function => Output::Carries,
        }
    }

    /// A query in an expression: its value, and whether which rows it has shows something protected.
    fn inner(&mut self, query: &Query, scope: &Scope<'_>) -> (Table, bool) {
        let outer = std::mem::replace(&mut self.tests, false);
        let table = self.query(query, Some(scope));
        let tests = std::mem::replace(&mut self.tests, outer);
        (table, tests)
    }

    fn column(&mut self, path: &[Name], scope: &Scope<'_>) -> Output {
        match scope.column(path) {
            Meaning::Carries(carries) => carries,
            Meaning::Attribute(row) => {
                if let Some(name) = path.last() {
                    self.attributes.push(name.to_string());
                }
                // A reviewed function shows no more than the row has; any other may show anything.
                let known = path.last().is_some_and(|name| crate::functions::is_reviewed(None, name));
                if known { computed(row) } else { Output::Carries }
            }
            Meaning::Nothing => Output::Carries,
        }
    }

    /// The columns of a query.
    pub(super) fn query(&mut self, query: &Query, parent: Option<&Scope<'_>>) -> Table {
        if !self.step() {
            return Table::opaque(Output::Carries);
        }
        let outer = self.ctes.len();
        self.depth += 1;
        for cte in &query.ctes {
            let table = self.cte(cte, query.recursive, &query.ctes, parent);
            self.ctes.push((cte.name.clone(), table));
        }
        let table = self.body(query, parent);
        self.depth -= 1;
        self.ctes.truncate(outer);
        table
    }

    fn body(&mut self, query: &Query, parent: Option<&Scope<'_>>) -> Table {
        let table = match &query.body {
            Body::Select(select) => return self.select(select, &query.contexts, parent),
            Body::Write(write) => return self.write(write, &query.contexts, parent),
            Body::Opaque => {
                self.tests = true;
                Table::opaque(Output::Carries)
            }
            Body::Arms(arms) => {
                let mut arms = arms.iter();
                let first = arms.next().map(|arm| self.query(arm, parent));
                let mut table = first.unwrap_or_else(|| Table::opaque(Output::Carries));
                for arm in arms {
                    let arm = self.query(arm, parent);
                    table.unite(&arm);
                }
                table
            }
            Body::Values(columns) => self.values(columns, parent),
        };
        let mut scope = Scope::within(parent);
        scope.outputs.clone_from(&table.fields);
        self.contexts(&query.contexts, &scope);
        table
    }

    fn values(&mut self, columns: &[Context], parent: Option<&Scope<'_>>) -> Table {
        let scope = Scope::within(parent);
        let mut fields = Vec::with_capacity(columns.len());
        for (place, column) in columns.iter().enumerate() {
            let carries = self.context(column, &scope);
            if self.depth > 1 {
                self.suspend(column);
            }
            fields.push(Field { name: Some(format!("column{}", place + 1).into()), carries });
        }
        Table { fields, rest: None }
    }

    /// Traces contexts that decide which rows there are.
    pub(super) fn contexts(&mut self, contexts: &[Context], scope: &Scope<'_>) {
        for context in contexts {
            if self.context(context, scope) != Output::Clean {
                self.tests = true;
            }
        }
    }

    fn select(&mut self, select: &Select, loose: &[Context], parent: Option<&Scope<'_>>) -> Table {
        let mut scope = Scope::within(parent);
        let mut star = Table { fields: Vec::new(), rest: None };
        for from in &select.from {
            let table = self.from(from, &mut scope);
            star.append(table);
        }
        let table = self.targets(&select.targets, &star, &scope);
        scope.outputs.clone_from(&table.fields);
        self.contexts(&select.contexts, &scope);
        self.contexts(loose, &scope);
        table
    }

    pub(super) fn targets(&mut self, targets: &[Target], star: &Table, scope: &Scope<'_>) -> Table {
        let mut table = Table { fields: Vec::new(), rest: None };
        for target in targets {
            if !self.step() {
                return Table::opaque(Output::Carries);
            }
            match (target.form, target.value.leaves.as_slice()) {
                (Form::Star, [Leaf::Row(path)]) => {
                    let expanded = match path.last() {
                        None => Some(star.clone()),
                        Some(relation) => scope.star(relation),
                    };
                    let expanded = expanded.unwrap_or_else(|| Table::opaque(Output::Carries));
                    self.steps = self.steps.saturating_sub(expanded.fields.len());
                    table.append(expanded);
                }
                (Form::Plain, [Leaf::Column(path)]) => {
                    let carries = self.column(path, scope);
                    table.fields.push(Field { name: target.name.clone(), carries });
                }
                (Form::Computed, _) => {
                    let carries = self.context(&target.value, scope);
                    table.fields.push(Field { name: target.name.clone(), carries });
                }
                _ => {
                    let carries = self.context(&target.value, scope);
                    table.append(Table::opaque(carries));
                }
            }
            if self.depth > 1 {
                self.suspend(&target.value);
            }
        }
        table
    }

    fn cte(&mut self, cte: &Cte, recursive: bool, all: &[Cte], parent: Option<&Scope<'_>>) -> Table {
        let outer = self.ctes.len();
        if recursive {
            // What comes later in the list can be named already, but is not known yet.
            for later in all.iter().skip_while(|later| !std::ptr::eq(*later, cte)).skip(1) {
                self.ctes.push((later.name.clone(), Table::opaque(Output::Carries)));
            }
        }
        let mut table = match &cte.query.body {
            Body::Arms(arms) if recursive => self.recursive(cte, arms, parent),
            _ => {
                if recursive {
                    // It cannot name itself without arms; if it does, the server refuses it.
                    self.ctes.push((cte.name.clone(), Table::opaque(Output::Carries)));
                }
                self.query(&cte.query, parent)
            }
        };
        self.ctes.truncate(outer);
        table.rename(&cte.columns);
        if cte.grows {
            let all = table.all();
            table.append(Table::opaque(all));
        }
        table
    }

    /// Goes round until a round adds nothing.
    fn recursive(&mut self, cte: &Cte, arms: &[Query], parent: Option<&Scope<'_>>) -> Table {
        let outer = self.ctes.len();
        let mut table = match arms.first() {
            Some(arm) => self.query(arm, parent),
            None => Table::opaque(Output::Carries),
        };
        for _ in 0..ROUNDS {
            let mut known = table.clone();
            known.rename(&cte.columns);
            self.ctes.push((cte.name.clone(), known));
            let next = self.query(&cte.query, parent);
            self.ctes.truncate(outer);
            if next.outputs() == table.outputs() && next.rest == table.rest {
                return next;
            }
            table = next;
        }
        for field in &mut table.fields {
            field.carries = Output::Carries;
        }
        table.rest = table.rest.map(|_| Output::Carries);
        table
    }

    /// Puts a FROM item into scope. Returns the columns that `*` takes from it.
    pub(super) fn from(&mut self, from: &From, scope: &mut Scope<'_>) -> Table {
        let (mut table, alias, stored, fallback) = match from {
            From::Relation { schema, name, alias } => {
                let (table, stored) = self.relation(schema.as_deref(), name);
                (table, alias, stored, Some(name))
            }
            From::Query { query, alias, lateral } => {
                let table = if *lateral { self.query(query, Some(scope)) } else { self.query(query, scope.parent) };
                (table, alias, false, None)
            }
            From::Function { value, alias } => (self.function(value, alias, scope), alias, false, None),
            From::Sample { of, value } => {
                let table = self.from(of, scope);
                self.contexts(std::slice::from_ref(value), scope);
                return table;
            }
            From::Join(join) => return self.join(join, scope),
            From::Opaque => {
                self.tests = true;
                let table = Table::opaque(Output::Carries);
                scope.items.push(Item { name: None, table: table.clone(), stored: false, qualified: false });
                return table;
            }
        };
        table.rename(&alias.columns);
        let name = alias.name.as_ref().or(fallback).cloned();
        scope.items.push(Item { name, table: table.clone(), stored, qualified: false });
        table
    }

    /// What a relation's name stands for, and whether it is stored in the server.
    fn relation(&mut self, schema: Option<&str>, name: &str) -> (Table, bool) {
        if schema.is_none()
            && let Some((_, table)) = self.ctes.iter().rev().find(|(cte, _)| **cte == *name)
        {
            return (table.clone(), false);
        }
        (self.stored(schema, name), true)
    }

    /// A relation of the catalog.
    pub(super) fn stored(&mut self, schema: Option<&str>, name: &str) -> Table {
        let Some(relation) = self.names.relation(schema, name) else { return Table::opaque(Output::Carries) };
        self.steps = self.steps.saturating_sub(relation.columns.len() / 8);
        let marked = relation.columns.iter().any(|column| column.protected);
        let fields = relation.columns.iter().map(|column| {
            let protected = column.protected || (relation.protected && !marked);
            let carries = Output::Column { relation: relation.id, number: column.number };
            Field { name: Some(column.name.into()), carries: if protected { carries } else { Output::Clean } }
        });
        Table { fields: fields.collect(), rest: None }
    }

    fn function(&mut self, value: &Context, alias: &Alias, scope: &Scope<'_>) -> Table {
        let carries = self.context(value, scope);
        let mut table = Table::opaque(carries);
        // A function of one column names it after itself, so the alias may be the column's name.
        let name = alias.columns.first().or(alias.name.as_ref()).cloned();
        if let Some(name) = name {
            table.fields.push(Field { name: Some(name), carries });
        }
        table
    }

    fn join(&mut self, chain: &Join, scope: &mut Scope<'_>) -> Table {
        let first = scope.items.len();
        let mut star = self.from(&chain.first, scope);
        for step in &chain.steps {
            if !self.step() {
                return Table::opaque(Output::Carries);
            }
            let right = self.from(&step.right, scope);
            star = merge(star, right, step, scope);
            self.contexts(&step.on, scope);
            if let Some(name) = &step.alias.name {
                star.rename(&step.alias.columns);
                scope.items.truncate(first);
                scope.items.push(Item {
                    name: Some(name.clone()),
                    table: star.clone(),
                    stored: false,
                    qualified: false,
                });
            }
        }
        star
    }
}

/// The columns of a join: those it merges first, then the others of either side.
fn merge(left: Table, right: Table, step: &Step, scope: &mut Scope<'_>) -> Table {
    scope.merges |= step.natural || !step.using.is_empty();
    let using: Vec<Name> = if step.natural {
        if left.rest.is_some() || right.rest.is_some() {
            let all = join(left.all(), right.all());
            return Table::opaque(all);
        }
        let both = |field: &Field| {
            let name = field.name.clone()?;
            right.fields.iter().any(|other| other.name.as_ref() == Some(&name)).then_some(name)
        };
        left.fields.iter().filter_map(both).collect()
    } else {
        step.using.clone()
    };
    if using.is_empty() {
        let mut table = left;
        table.append(right);
        return table;
    }
    let merged = |name: &Name| {
        let here = |table: &Table| {
            let found = table.fields.iter().find(|field| field.name.as_ref() == Some(name));
            found.map_or(table.rest.unwrap_or(Output::Carries), |field| field.carries)
        };
        Field { name: Some(name.clone()), carries: join(here(&left), here(&right)) }
    };
    let mut table = Table { fields: using.iter().map(merged).collect(), rest: None };
    if let Some(name) = &step.using_alias {
        scope.items.push(Item { name: Some(name.clone()), table: table.clone(), stored: false, qualified: true });
    }
    for mut side in [left, right] {
        side.fields.retain(|field| field.name.as_ref().is_none_or(|name| !using.contains(name)));
        table.append(side);
    }
    table
}
