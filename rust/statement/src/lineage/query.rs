//! Queries: from FROM lists to outputs.

use pg_query::protobuf as pb;
use pg_query::{Node, NodeEnum};

use super::scope::{Scope, Source, Trace};
use super::{Names, Output, Outputs};
use crate::kinds::strings;

/// Queries within queries are followed so far; the parser's own bound on depth lies beyond it.
const DEEPEST: usize = 64;

/// A common table expression in sight.
#[derive(Debug, Clone)]
struct Cte {
    name: String,
    source: Source,
}

/// Traces the outputs of one statement.
pub(super) struct Tracer<'n> {
    pub names: &'n dyn Names,
    ctes: Vec<Cte>,
    depth: usize,
}

/// Names and traces of a query's outputs; `None` if they cannot be told.
type Columns = Option<Vec<(String, Trace)>>;

impl<'n> Tracer<'n> {
    pub fn new(names: &'n dyn Names) -> Self {
        Self { names, ctes: Vec::new(), depth: 0 }
    }

    /// The outputs of a statement.
    pub fn outputs(&mut self, root: &NodeEnum) -> Outputs {
        match self.statement(root, None) {
            Some(columns) => Outputs::Positions(columns.into_iter().map(|(_, trace)| trace.output).collect()),
            None => Outputs::Unknown,
        }
    }

    fn statement(&mut self, root: &NodeEnum, outer: Option<&Scope<'_>>) -> Columns {
        match root {
            NodeEnum::SelectStmt(select) => self.select(select, outer),
            NodeEnum::InsertStmt(stmt) => self.change(
                stmt.with_clause.as_ref(),
                stmt.relation.as_ref(),
                &[],
                None,
                stmt.returning_clause.as_ref(),
            ),
            NodeEnum::UpdateStmt(stmt) => self.change(
                stmt.with_clause.as_ref(),
                stmt.relation.as_ref(),
                &stmt.from_clause,
                None,
                stmt.returning_clause.as_ref(),
            ),
            NodeEnum::DeleteStmt(stmt) => self.change(
                stmt.with_clause.as_ref(),
                stmt.relation.as_ref(),
                &stmt.using_clause,
                None,
                stmt.returning_clause.as_ref(),
            ),
            NodeEnum::MergeStmt(stmt) => self.change(
                stmt.with_clause.as_ref(),
                stmt.relation.as_ref(),
                &[],
                stmt.source_relation.as_deref(),
                stmt.returning_clause.as_ref(),
            ),
            _ => None,
        }
    }

    /// Traces a query; common table expressions it defines are in sight only within.
    pub fn select(&mut self, select: &pb::SelectStmt, outer: Option<&Scope<'_>>) -> Columns {
        if self.depth >= DEEPEST {
            return None;
        }
        self.depth += 1;
        let seen = self.ctes.len();
        self.define(select.with_clause.as_ref(), outer);
        let columns = self.body(select, outer);
        self.ctes.truncate(seen);
        self.depth -= 1;
        columns
    }

    fn body(&mut self, select: &pb::SelectStmt, outer: Option<&Scope<'_>>) -> Columns {
        if let (Some(left), Some(right)) = (&select.larg, &select.rarg) {
            let (left, right) = (self.select(left, outer)?, self.select(right, outer)?);
            return either(left, &right);
        }
        if !select.values_lists.is_empty() {
            return self.values(&select.values_lists, outer);
        }
        let scope = Scope { sources: self.from(&select.from_clause, outer)?, outer };
        self.targets(&select.target_list, &scope)
    }

    fn values(&mut self, lists: &[Node], outer: Option<&Scope<'_>>) -> Columns {
        let scope = Scope { sources: Vec::new(), outer };
        let mut columns: Columns = None;
        for list in lists {
            let Some(NodeEnum::List(list)) = &list.node else { return None };
            let row: Vec<(String, Trace)> = (1..)
                .zip(&list.items)
                .map(|(place, item)| (format!("column{place}"), self.expression(item, &scope)))
                .collect();
            columns = Some(match columns {
                None => row,
                Some(columns) => either(columns, &row)?,
            });
        }
        columns
    }

    fn targets(&mut self, targets: &[Node], scope: &Scope<'_>) -> Columns {
        let mut columns = Vec::with_capacity(targets.len());
        for target in targets {
            let Some(NodeEnum::ResTarget(target)) = &target.node else { return None };
            let value = target.val.as_deref()?;
            match star(value) {
                Some(qualifiers) => columns.extend(scope.star(qualifiers.last().map(String::as_str))?),
                None => columns.push((self.label(target, value), self.expression(value, scope))),
            }
        }
        Some(columns)
    }

    /// The name of an output, as far as other parts of the text could use it.
    fn label(&self, target: &pb::ResTarget, value: &Node) -> String {
        if !target.name.is_empty() {
            return target.name.clone();
        }
        match &value.node {
            Some(NodeEnum::ColumnRef(column)) => strings(&column.fields).last().map(|name| (*name).to_owned()),
            Some(NodeEnum::FuncCall(call)) => strings(&call.funcname).last().map(|name| (*name).to_owned()),
            _ => None,
        }
        .unwrap_or_default()
    }

    /// What is in sight inside a query; `None` if that cannot be told.
    pub fn sources(&mut self, select: &pb::SelectStmt, outer: &Scope<'_>) -> Option<Vec<Source>> {
        if select.larg.is_some() || select.with_clause.is_some() || self.depth >= DEEPEST {
            return None;
        }
        self.depth += 1;
        let sources = self.from(&select.from_clause, Some(outer));
        self.depth -= 1;
        sources
    }

    /// The sources of a FROM list. Each can see those before it, as LATERAL allows.
    fn from(&mut self, items: &[Node], outer: Option<&Scope<'_>>) -> Option<Vec<Source>> {
        let mut sources: Vec<Source> = Vec::new();
        for item in items {
            let before = Scope { sources: sources.clone(), outer };
            let more = self.item(item, &before)?;
            sources.extend(more);
        }
        Some(sources)
    }

    fn item(&mut self, item: &Node, before: &Scope<'_>) -> Option<Vec<Source>> {
        if self.depth >= DEEPEST {
            return None;
        }
        let source = match item.node.as_ref()? {
            NodeEnum::RangeVar(relation) => self.relation(relation),
            NodeEnum::RangeSubselect(select) => {
                let Some(NodeEnum::SelectStmt(query)) = select.subquery.as_deref().and_then(|node| node.node.as_ref())
                else {
                    return None;
                };
                let columns = self.select(query, Some(before));
                let other = Trace::of(columns.is_none());
                Source { alias: String::new(), schema: String::new(), columns, other }.renamed(select.alias.as_ref())
            }
            NodeEnum::JoinExpr(join) => return self.join(join, before),
            NodeEnum::RangeTableSample(sample) => return self.item(sample.relation.as_deref()?, before),
            NodeEnum::RangeFunction(function) => {
                let alias = function.alias.as_ref().map_or("", |alias| alias.aliasname.as_str());
                Source::opaque(alias, Trace::of(self.any(item, before)))
            }
            // XMLTABLE, JSON_TABLE and what may come.
            _ => Source::opaque("", Trace::of(self.any(item, before))),
        };
        Some(vec![source])
    }

    fn join(&mut self, join: &pb::JoinExpr, before: &Scope<'_>) -> Option<Vec<Source>> {
        self.depth += 1;
        let left = join.larg.as_deref().and_then(|left| self.item(left, before));
        let joined = left.and_then(|mut left| {
            let both = Scope { sources: [before.sources.clone(), left.clone()].concat(), outer: before.outer };
            left.extend(self.item(join.rarg.as_deref()?, &both)?);
            Some(left)
        });
        self.depth -= 1;
        let joined = joined?;
        if join.alias.is_none() && join.using_clause.is_empty() && !join.is_natural {
            return Some(joined);
        }
        let protected = joined.iter().any(|source| source.whole().protected);
        if let Some(alias) = &join.alias {
            return Some(vec![Source::opaque(&alias.aliasname, Trace::of(protected))]);
        }
        // Merged columns come first in `*`, so that positions can no longer be told; names still can.
        let mut sources = joined;
        sources.push(Source::opaque("", Trace { output: Output::Carries, protected: false }));
        if let Some(alias) = &join.join_using_alias {
            sources.push(Source::opaque(&alias.aliasname, Trace::of(protected)));
        }
        Some(sources)
    }

    fn relation(&self, relation: &pb::RangeVar) -> Source {
        let name = relation.relname.as_str();
        let cte = self.ctes.iter().rev().find(|cte| relation.schemaname.is_empty() && cte.name == name);
        if let Some(cte) = cte {
            let mut source = cte.source.clone();
            name.clone_into(&mut source.alias);
            return source.renamed(relation.alias.as_ref());
        }
        let schema = (!relation.schemaname.is_empty()).then_some(relation.schemaname.as_str());
        let source = match self.names.relation(schema, name) {
            None => Source::opaque(name, Trace::CARRIES),
            Some(known) => {
                let columns = known.columns.iter().map(|column| {
                    let output = Output::Column { relation: known.id, number: column.number };
                    (column.name.to_owned(), Trace { output, protected: column.protected })
                });
                let columns = Some(columns.collect());
                Source { alias: name.to_owned(), schema: relation.schemaname.clone(), columns, other: Trace::CARRIES }
            }
        };
        source.renamed(relation.alias.as_ref())
    }

    /// Brings common table expressions into sight, one after the other.
    fn define(&mut self, with: Option<&pb::WithClause>, outer: Option<&Scope<'_>>) {
        let Some(with) = with else { return };
        for node in &with.ctes {
            let Some(NodeEnum::CommonTableExpr(cte)) = &node.node else { continue };
            let query = cte.ctequery.as_deref().and_then(|node| node.node.as_ref());
            let columns = match query {
                // What a recursive query hands itself is not followed.
                Some(_) if with.recursive => None,
                Some(query) => self.statement(query, outer),
                None => None,
            };
            let mut source = match columns {
                Some(columns) => Source {
                    alias: cte.ctename.clone(),
                    schema: String::new(),
                    columns: Some(columns),
                    other: Trace::CARRIES,
                },
                None => Source::opaque(&cte.ctename, self.opaque_query(query)),
            };
            if let Some(columns) = &mut source.columns {
                for (column, name) in columns.iter_mut().zip(strings(&cte.aliascolnames)) {
                    name.clone_into(&mut column.0);
                }
            }
            self.ctes.push(Cte { name: cte.ctename.clone(), source });
        }
    }

    /// A query that is not followed carries everything protected that it names.
    fn opaque_query(&self, query: Option<&NodeEnum>) -> Trace {
        let Some(query) = query else { return Trace::CARRIES };
        let statement = crate::build::statement(query);
        let hidden = |relation: &crate::RelationRef| {
            let schema = relation.schema.as_deref();
            let cte = self.ctes.iter().find(|cte| schema.is_none() && *cte.name == *relation.name);
            match (cte, self.names.relation(schema, &relation.name)) {
                (Some(cte), _) => cte.source.whole().protected,
                (None, Some(known)) => known.protected,
                (None, None) => true,
            }
        };
        Trace::of(statement.relations.iter().any(hidden))
    }

    fn change(
        &mut self,
        with: Option<&pb::WithClause>,
        relation: Option<&pb::RangeVar>,
        from: &[Node],
        merged: Option<&Node>,
        returning: Option<&pb::ReturningClause>,
    ) -> Columns {
        let Some(returning) = returning else { return Some(Vec::new()) };
        let seen = self.ctes.len();
        self.define(with, None);
        let columns = self.returning(relation?, from, merged, returning);
        self.ctes.truncate(seen);
        columns
    }

    fn returning(
        &mut self,
        relation: &pb::RangeVar,
        from: &[Node],
        merged: Option<&Node>,
        returning: &pb::ReturningClause,
    ) -> Columns {
        let target = self.relation(relation);
        let mut sources = vec![target.clone()];
        sources.extend(self.from(from, None)?);
        if let Some(merged) = merged {
            // `*` of a MERGE names the source's columns first.
            let mut joined = self.item(merged, &Scope::default())?;
            joined.extend(sources);
            sources = joined;
        }
        let mut scope = Scope { sources, outer: None };
        if returning.exprs.iter().any(is_star) {
            self.targets(&returning.exprs, &scope)
        } else {
            // The row before and the row after have names of their own.
            let named = returning.options.iter().filter_map(|option| match &option.node {
                Some(NodeEnum::ReturningOption(option)) => Some(option.value.clone()),
                _ => None,
            });
            for name in ["old".to_owned(), "new".to_owned()].into_iter().chain(named) {
                scope.sources.push(Source { alias: name, ..target.clone() });
            }
            self.targets(&returning.exprs, &scope)
        }
    }
}

/// A value that can come from either query, position by position; `None` if they do not match.
fn either(left: Vec<(String, Trace)>, right: &[(String, Trace)]) -> Columns {
    if left.len() != right.len() {
        return None;
    }
    Some(left.into_iter().zip(right).map(|((name, left), (_, right))| (name, left.or(*right))).collect())
}

/// The qualifiers of a `*`; `None` for anything else.
fn star(value: &Node) -> Option<Vec<String>> {
    let Some(NodeEnum::ColumnRef(column)) = &value.node else { return None };
    let last = column.fields.last()?;
    matches!(last.node, Some(NodeEnum::AStar(_)))
        .then(|| strings(&column.fields).into_iter().map(str::to_owned).collect())
}

fn is_star(target: &Node) -> bool {
    matches!(&target.node, Some(NodeEnum::ResTarget(target)) if target.val.as_deref().is_some_and(|value| star(value).is_some()))
}
